"""The peers' side of `cargo xtask bench`: the same work on the same data, in a process of its own, one line of JSON.

  peer.py duckdb   DIR SQL                       CREATE TABLE .. AS over DIR/parquet with two threads
  peer.py check    DIR SQL OURS.parquet          does OURS hold what DuckDB answers over DIR/parquet and DIR/more?
  peer.py tpch     DIR                           all views of DIR/work.json after its refreshes; are they DIR/*.answer.parquet?
  peer.py postgres BIN ROWS SECONDS              prepared point look-ups with pgbench against a server started here
  peer.py rows     DIR                           the events of DIR/parquet in their order, in two parts: DIR/rows/part-{0,1}.rows
  peer.py same     DIR SQL THEIRS.csv            does THEIRS hold what DuckDB answers over DIR/parquet?
  peer.py count    DIR SQL                       rows that DuckDB answers over DIR/parquet
  peer.py measured COMMAND ..                    runs it; its line and what its process cost
  peer.py wire     BIN REGAUGE ROWS SECONDS      the same look-ups against `REGAUGE serve`

CPU seconds are user and system time of all threads (getrusage), peak memory is the kernel's high-water mark.
"""

import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

STREAMS = ("person", "auction", "bid")


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def connect(directory, folders):
    import duckdb

    db = duckdb.connect()
    db.execute("SET threads = 2")
    for stream in STREAMS:
        files = [os.path.join(directory, folder, stream + ".parquet") for folder in folders]
        db.execute(f"CREATE VIEW {stream} AS SELECT * FROM read_parquet({files!r})")
    return duckdb.__version__, db


def run_duckdb(directory, sql):
    version, db = connect(directory, ["parquet"])
    wall, used = time.monotonic(), cpu()
    db.execute(f"CREATE TABLE answer AS {sql}")
    wall, used = time.monotonic() - wall, cpu() - used
    rows = db.execute("SELECT count(*) FROM answer").fetchone()[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"version": version, "cpu_s": used, "wall_s": wall, "peak_bytes": peak, "rows": rows}


def check(directory, sql, ours):
    _, db = connect(directory, ["parquet", "more"])
    db.execute(f"CREATE TABLE theirs AS {sql}")
    db.execute(f"CREATE TABLE ours AS SELECT * FROM read_parquet('{ours}')")
    return compared(db)


def same(directory, sql, csv):
    """Every value is quoted in the file, NULL is \\N; the types are those of DuckDB's answer, by position."""
    _, db = connect(directory, ["parquet"])
    db.execute(f"CREATE TABLE theirs AS {sql}")
    types = {f"c{at}": row[1] for at, row in enumerate(db.execute("DESCRIBE theirs").fetchall())}
    dialect = "auto_detect = false, header = false, delim = ',', quote = '\"', escape = '\"', nullstr = '\\N', allow_quoted_nulls = false"
    db.execute(f"CREATE TABLE ours AS SELECT * FROM read_csv('{csv}', columns = {types!r}, {dialect})")
    return compared(db)


def compared(db):
    """Both ways EXCEPT ALL, by position; doubles to three decimals, because two engines need not round an average alike."""

    def columns(table):
        described = db.execute(f"DESCRIBE {table}").fetchall()
        return ", ".join(f'round("{n}", 3)' if t == "DOUBLE" else f'"{n}"' for n, t, *_ in described)

    mine, other = f"SELECT {columns('ours')} FROM ours", f"SELECT {columns('theirs')} FROM theirs"
    missing = db.execute(f"SELECT count(*) FROM ({other} EXCEPT ALL {mine})").fetchone()[0]
    extra = db.execute(f"SELECT count(*) FROM ({mine} EXCEPT ALL {other})").fetchone()[0]
    rows = db.execute("SELECT count(*) FROM theirs").fetchone()[0]
    return {"rows": rows, "missing": missing, "extra": extra, "equal": missing == 0 and extra == 0 and rows > 0}


FRAME_EVENTS = 1_000
# events of one cycle: a person, three auctions, then bids
CYCLE = 50


def write_rows(directory):
    """The events in the order in which they were made: frames of a thousand, in turn to one file and the other.

    A frame is bytes u32, events u32, number of the first event u64; an event is its kind u8 (person, auction, bid), its numbers and times
    (milliseconds) i64, the lengths of its texts u32, its texts; all little endian. That the streams were put together rightly is seen by
    their times, which never go back.
    """
    _, db = connect(directory, ["parquet"])
    streams = (
        ("id, epoch_ms(date_time), name, email_address, credit_card, city, state, extra FROM person", 2),
        (
            "id, initial_bid, reserve, epoch_ms(date_time), epoch_ms(expires), seller, category, item_name, description, extra"
            " FROM auction",
            7,
        ),
        ("auction, bidder, price, epoch_ms(date_time), channel, url, extra FROM bid", 4),
    )
    time_at = (2, 4, 4)

    def encoded(kind, text, n_numbers):
        rows = db.cursor().execute(f"SELECT {text}")
        n_texts = len(rows.description) - n_numbers
        head = struct.Struct(f"<B{n_numbers}q{n_texts}I")
        while batch := rows.fetchmany(10_000):
            for row in batch:
                texts = [value.encode() for value in row[n_numbers:]]
                yield row[time_at[kind] - 1], head.pack(kind, *row[:n_numbers], *map(len, texts)) + b"".join(texts)

    sources = [encoded(kind, text, n_numbers) for kind, (text, n_numbers) in enumerate(streams)]
    with open(os.path.join(directory, "sizes.json")) as file:
        n = json.load(file)["events"]
    made = os.path.join(directory, "rows.part")
    shutil.rmtree(made, ignore_errors=True)
    os.makedirs(made)
    parts = [open(os.path.join(made, f"part-{part}.rows"), "wb") for part in (0, 1)]
    last = 0
    for first in range(0, n, FRAME_EVENTS):
        events = []
        for number in range(first, min(first + FRAME_EVENTS, n)):
            at = number % CYCLE
            time_ms, event = next(sources[0 if at == 0 else 1 if at < 4 else 2])
            if time_ms < last:
                raise SystemExit(f"event {number} is earlier than the one before it")
            last = time_ms
            events.append(event)
        frame = b"".join(events)
        parts[first // FRAME_EVENTS % 2].write(struct.pack("<IIQ", len(frame), len(events), first) + frame)
    if any(next(source, None) is not None for source in sources):
        raise SystemExit("there are more events than sizes.json says")
    for part in parts:
        part.close()
    shutil.rmtree(os.path.join(directory, "rows"), ignore_errors=True)
    os.rename(made, os.path.join(directory, "rows"))
    return {"events": n}


def count(directory, sql):
    _, db = connect(directory, ["parquet"])
    return {"rows": db.execute(f"SELECT count(*) FROM ({sql})").fetchone()[0]}


def measured(command):
    """CPU seconds and peak memory of a child by getrusage, beside the line that it printed."""
    wall = time.monotonic()
    out = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    wall = time.monotonic() - wall
    if out.returncode != 0:
        raise SystemExit(f"ended with {out.returncode}: {command[0]}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = {"cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall, "peak_bytes": used.ru_maxrss * 1024}
    return {**json.loads(out.stdout.splitlines()[-1]), "process": process}


TPCH = ("region", "nation", "part", "supplier", "partsupp", "customer", "orders", "lineitem")


def run_tpch(directory):
    """The tables in DuckDB's own format, the same refreshes, then each query as CREATE TABLE .. AS, and ours beside its answer."""
    import duckdb

    with open(os.path.join(directory, "work.json")) as file:
        work = json.load(file)
    db = duckdb.connect()
    db.execute("SET threads = 2")
    for table in TPCH:
        db.execute(f"CREATE TABLE {table} AS SELECT * FROM read_parquet('{os.path.join(directory, table)}.parquet')")
    for statements in work["refreshes"]:
        for statement in statements:
            db.execute(statement)
    views, wrong = [], []
    for view in work["views"]:
        name = view["name"]
        if view["head"] != name:
            # no table of that form of columns: what query 15 reads is a view here, and its work counts there
            db.execute(f"CREATE VIEW {view['head']} AS {view['sql']}")
            db.execute(f"CREATE TABLE answer_{name} AS SELECT * FROM {name}")
        else:
            wall, used = time.monotonic(), cpu()
            db.execute(f"CREATE TABLE answer_{name} AS {view['sql']}")
            views.append({"name": name, "wall_s": time.monotonic() - wall, "cpu_s": cpu() - used})
        db.execute(f"CREATE TABLE ours_{name} AS SELECT * FROM read_parquet('{os.path.join(directory, name)}.answer.parquet')")

        def columns(table):
            described = db.execute(f"DESCRIBE {table}").fetchall()
            # quotients have other scales there, some are doubles: three decimals of both
            inexact = lambda t: t == "DOUBLE" or t.startswith("DECIMAL")
            return ", ".join(f'round("{n}"::DOUBLE, 2)' if inexact(t) else f'"{n}"' for n, t, *_ in described)

        mine, other = f"SELECT {columns('ours_' + name)} FROM ours_{name}", f"SELECT {columns('answer_' + name)} FROM answer_{name}"
        missing = db.execute(f"SELECT count(*) FROM ({other} EXCEPT ALL {mine})").fetchone()[0]
        extra = db.execute(f"SELECT count(*) FROM ({mine} EXCEPT ALL {other})").fetchone()[0]
        rows = db.execute(f"SELECT count(*) FROM answer_{name}").fetchone()[0]
        if missing or extra:
            wrong.append({"name": name, "rows": rows, "missing": missing, "extra": extra})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"version": duckdb.__version__, "views": views, "wrong": wrong, "equal": not wrong, "peak_bytes": peak}


def ticks_of(pid):
    """CPU seconds of a process and of its children that have ended."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return sum(int(fields[at]) for at in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")


def find(binaries, name):
    """A program of PostgreSQL: beside the others, where they are linked to, or on the path."""
    linked = os.path.dirname(os.path.realpath(os.path.join(binaries, "initdb")))
    places = [os.path.join(folder, name) for folder in (binaries, linked)]
    return next((place for place in places if os.path.exists(place)), shutil.which(name) or name)


def run_wire(binaries, regauge, rows, seconds):
    """The same look-ups by the same client, asked of our server over the Postgres wire."""
    folder = tempfile.mkdtemp(prefix="regauge-bench-wire-")
    serve = [regauge, "serve", "--data", os.path.join(folder, "data"), "--pg-port", "0", "--http-port", "0"]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = next((line for line in server.stdout if " psql " in line), None)
        if line is None:
            raise SystemExit("regauge serve did not start")
        words = line.split()
        os.environ["PGPASSFILE"] = words[0].split("=", 1)[1]
        to = ["-h", "127.0.0.1", "-p", words[words.index("-p") + 1], "-U", "regauge"]
        psql = [find(binaries, "psql"), *to, "regauge", "-q", "-v", "ON_ERROR_STOP=1"]
        subprocess.run([*psql, "-c", "CREATE TABLE kv (k bigint PRIMARY KEY, v text)"], check=True)
        lines = "".join(f"{k}\tvalue of {k:08}\n" for k in range(rows))
        subprocess.run([*psql, "-c", "COPY kv FROM STDIN"], input=lines, text=True, check=True)
        return pgbench(find(binaries, "pgbench"), to, "regauge", folder, rows, seconds, server.pid)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def run_postgres(binaries, rows, seconds):
    folder = tempfile.mkdtemp(prefix="regauge-bench-postgres-")
    os.chmod(folder, 0o755)
    who = {"user": "postgres"} if os.geteuid() == 0 else {}
    if who:
        shutil.chown(folder, "postgres")
    program = lambda name: find(binaries, name)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    data = os.path.join(folder, "data")
    server = None
    try:
        subprocess.run([program("initdb"), "-D", data, "-A", "trust", "-U", "bench"], check=True, cwd=folder, **quiet, **who)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
        server = subprocess.Popen([program("postgres"), *options], cwd=folder, **quiet, **who)
        to = ["-h", "127.0.0.1", "-p", str(port), "-U", "bench"]
        for _ in range(100):
            if subprocess.run([program("psql"), *to, "postgres", "-c", "SELECT 1"], **quiet).returncode == 0:
                break
            time.sleep(0.1)
        load = (
            "CREATE TABLE kv (k bigint PRIMARY KEY, v text);"
            f"INSERT INTO kv SELECT g, 'value of ' || lpad(g::text, 8, '0') FROM generate_series(0, {rows} - 1) g;"
        )
        subprocess.run([program("psql"), *to, "postgres", "-q", "-c", load], check=True, **quiet)
        subprocess.run([program("psql"), *to, "postgres", "-q", "-c", "VACUUM ANALYZE kv"], check=True, **quiet)
        answer = pgbench(program("pgbench"), to, "postgres", folder, rows, seconds, server.pid)
        version = subprocess.run([program("postgres"), "--version"], capture_output=True, text=True).stdout.strip()
        return {"version": version, **answer}
    finally:
        if server:
            server.terminate()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def pgbench(program, to, database, folder, rows, seconds, server_pid):
    """One client, prepared statements; CPU of the server per request."""
    script = os.path.join(folder, "lookup.sql")
    with open(script, "w") as out:
        out.write(f"\\set key random(0, {rows} - 1)\nSELECT v FROM kv WHERE k = :key;\n")
    command = [program, *to, "-n", "-M", "prepared", "-c", "1", "-T", str(seconds), "-f", script, database]
    before = ticks_of(server_pid)
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode != 0:
        raise SystemExit(f"pgbench failed: {out.stderr}")
    time.sleep(0.3)
    used = ticks_of(server_pid) - before
    requests = int(next(line for line in out.stdout.splitlines() if "actually processed" in line).split(":")[1].split("/")[0])
    return {"requests": requests, "cpu_us": used * 1e6 / max(requests, 1), "wall_us": seconds * 1e6 / max(requests, 1)}


def main():
    command, *rest = sys.argv[1:]
    if command == "duckdb":
        answer = run_duckdb(*rest)
    elif command == "check":
        answer = check(*rest)
    elif command == "same":
        answer = same(*rest)
    elif command == "count":
        answer = count(*rest)
    elif command == "rows":
        answer = write_rows(*rest)
    elif command == "measured":
        answer = measured(rest)
    elif command == "tpch":
        answer = run_tpch(*rest)
    elif command == "postgres":
        answer = run_postgres(rest[0], int(rest[1]), int(rest[2]))
    elif command == "wire":
        answer = run_wire(rest[0], rest[1], int(rest[2]), int(rest[3]))
    else:
        raise SystemExit(__doc__)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
