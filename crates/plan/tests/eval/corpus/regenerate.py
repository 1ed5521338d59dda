#!/usr/bin/env python3
"""Asks a real PostgreSQL for type and value of every expression in exprs.txt over every row of rows.txt.

Writes expected.txt: for each expression a line `= expression`, a line `: type` (or `: !SQLSTATE message` when PostgreSQL refuses
to parse it), and a line for each row: the text, \\N, or `!SQLSTATE message`. The committed file is from PostgreSQL 15.18,
encoding UTF8, locale C.UTF-8, time zone UTC. Usage: regenerate.py PSQL_ARGS... (an empty database; a superuser is not needed).
"""
import pathlib, subprocess, sys

here = pathlib.Path(__file__).parent
lines = [l for l in (here / "rows.txt").read_text().split("\n") if l and not l.startswith("#")]
columns = lines[0].split("\t")
quote = lambda s: "'" + s.replace("'", "''") + "'"
exprs = [l for l in (here / "exprs.txt").read_text().split("\n") if l]
sql = ["set client_min_messages = error; set timezone = 'UTC'; set standard_conforming_strings = on;",
       "create temp table t (id int, " + ", ".join(columns) + ");"]
for n, line in enumerate(lines[1:]):
    values = ["null" if v == "\\N" else quote(v) for v in line.split("\t")]
    sql.append(f"insert into t values ({n}, " + ", ".join(values) + ");")
sql.append("""
create function pg_temp.ty(e text) returns text language plpgsql as $$ declare r text; v record; begin
  execute 'create temp view probe as select ' || e || ' as v from t';
  select format_type(atttypid, -1) into r from pg_attribute where attrelid = 'probe'::regclass and attname = 'v';
  execute 'drop view probe'; return r;
exception when others then return '!' || sqlstate || ' ' || sqlerrm; end $$;
create function pg_temp.val(e text, k int) returns text language plpgsql as $$ declare r text; begin
  execute 'select v from (select ' || e || ' as v from t where id = $1) x' into r using k; return coalesce(r, '\\N');
exception when others then return '!' || sqlstate || ' ' || sqlerrm; end $$;
""")
for e in exprs:
    sql.append(f"select {quote('= ' + e)}; select ': ' || pg_temp.ty({quote(e)});")
    for k in range(len(lines) - 1):
        sql.append(f"select replace(pg_temp.val({quote(e)}, {k}), E'\\n', ' ');")
out = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *sys.argv[1:]], input="\n".join(sql), text=True,
                     capture_output=True)
if out.returncode:
    sys.exit(out.stderr)
(here / "expected.txt").write_text(out.stdout)
