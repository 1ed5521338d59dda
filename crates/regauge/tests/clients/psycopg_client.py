"""psycopg 3 against the server that the environment names: types, copies, pipelines, transactions, cancelling."""

import datetime
import decimal
import threading

import psycopg
from psycopg import errors, rows

UTC = datetime.timezone.utc
c = psycopg.connect(autocommit=True)
assert c.info.server_version == 160006 and c.info.parameter_status("TimeZone") == "UTC"

# Every type, there and back, in both formats.
c.execute(
    "CREATE TABLE p (id BIGINT PRIMARY KEY, n NUMERIC(10,2), s TEXT, ts TIMESTAMPTZ, d DATE, b BYTEA, iv INTERVAL, t TIME,"
    " f DOUBLE PRECISION, bo BOOLEAN, i2 SMALLINT, f4 REAL, plain TIMESTAMP, i4 INT)"
)
row = (
    1,
    decimal.Decimal("-12.34"),
    "it's \u20ac",
    datetime.datetime(2020, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    datetime.date(1, 1, 1),
    b"\0\1\xff",
    datetime.timedelta(days=-3, seconds=5, microseconds=1),
    datetime.time(23, 59, 59, 999999),
    -1e-300,
    True,
    -7,
    1.5,
    datetime.datetime(1969, 7, 20, 20, 17),
    2**31 - 1,
)
holes = ", ".join(["%s"] * len(row))
c.execute(f"INSERT INTO p VALUES ({holes})", row)
c.execute("INSERT INTO p (id) VALUES (%b)", (2,))
for binary in (False, True):
    cursor = c.cursor(binary=binary)
    assert cursor.execute("SELECT * FROM p WHERE id = %s", (1,)).fetchone() == row
    assert cursor.execute("SELECT * FROM p WHERE id = %s", (2,)).fetchone() == (2,) + (None,) * (len(row) - 1)
    got = cursor.execute("SELECT array_agg(id ORDER BY id), sum(n), avg(i2), count(*) FROM p").fetchone()
    assert got == ([1, 2], decimal.Decimal("-12.34"), decimal.Decimal(-7), 2), got

# Many rows: executemany, COPY, a pipeline; prepared by psycopg after five times.
cursor = c.cursor()
cursor.executemany("INSERT INTO p (id, s) VALUES (%s, %s)", [(i, f"v{i}") for i in range(10, 110)])
with cursor.copy("COPY p (id, s) FROM STDIN") as copy:
    for i in range(200, 1200):
        copy.write_row((i, f"tab\t{i}"))
kinds = ["bigint", "numeric", "text", "timestamptz", "date", "bytea", "interval", "time", "float8", "bool", "int2", "float4",
         "timestamp", "int4"]
c.execute("CREATE TABLE copied AS SELECT * FROM p WHERE false")
with cursor.copy("COPY copied FROM STDIN (FORMAT BINARY)") as copy:
    copy.set_types(kinds)
    copy.write_row(row)
    copy.write_row((2,) + (None,) * (len(row) - 1))
with cursor.copy("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT (FORMAT BINARY)") as copy:
    copy.set_types(kinds)
    assert list(copy.rows()) == [row, (2,) + (None,) * (len(row) - 1)]
try:
    with cursor.copy("COPY copied (id, i4) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["bigint", "int8"])
        copy.write_row((3, 4))
    raise AssertionError("eight bytes for four")
except errors.InvalidBinaryRepresentation:
    pass
assert c.execute("SELECT count(*) FROM copied").fetchone() == (2,)
with psycopg.connect(autocommit=True) as listener:
    listener.execute("LISTEN news")
    c.execute("SELECT pg_notify('news', 'one')")
    c.execute("NOTIFY news, 'two'")
    assert [n.payload for n in listener.notifies(timeout=60, stop_after=2)] == ["one", "two"]
with c.pipeline():
    for i in range(2000, 2010):
        c.execute("INSERT INTO p (id) VALUES (%s)", (i,))
named = c.cursor(row_factory=rows.dict_row).execute("SELECT count(*), max(id) AS m FROM p").fetchone()
assert named == {"count": 2 + 100 + 1000 + 10, "m": 2009}, named
for i in range(200, 220):
    assert c.execute("SELECT s FROM p WHERE id = %s", (i,)).fetchone() == (f"tab\t{i}",)

# Errors have their classes, and leave nothing.
for sql, error in [
    ("SELECT * FROM nowhere", errors.UndefinedTable),
    ("INSERT INTO p (id) VALUES (1)", errors.UniqueViolation),
    ("SELECT 1 / 0", errors.DivisionByZero),
    ("SELECT 'x'::int", errors.InvalidTextRepresentation),
    ("SELEC", errors.SyntaxError),
]:
    try:
        c.execute(sql)
        raise AssertionError(sql)
    except error as e:
        assert e.diag.message_primary and e.diag.severity == "ERROR"

# What an error is about, in fields.
c.execute("CREATE TABLE told (id INT PRIMARY KEY, n INT CHECK (n > 0), s TEXT NOT NULL)")
c.execute("INSERT INTO told VALUES (1, 1, 'x')")
for values, error, column, constraint in [
    ((1, 1, "y"), errors.UniqueViolation, None, "told_pkey"),
    ((2, 0, "y"), errors.CheckViolation, None, "told_n_check"),
    ((2, 1, None), errors.NotNullViolation, "s", None),
]:
    try:
        c.execute("INSERT INTO told VALUES (%s, %s, %s)", values)
        raise AssertionError(values)
    except error as e:
        assert (e.diag.schema_name, e.diag.table_name) == ("public", "told"), e.diag.table_name
        assert (e.diag.column_name, e.diag.constraint_name) == (column, constraint), e.diag.constraint_name
        assert e.diag.message_detail, values
try:
    c.execute("SELECT nothing FROM told")
    raise AssertionError("a column that is not there")
except errors.UndefinedColumn as e:
    assert e.diag.statement_position == "8"

# A setting of one's own that is over is empty, as is one that was set to NULL.
with c.transaction():
    c.execute("SELECT set_config('app.once', 'x', true)")
assert c.execute("SELECT current_setting('app.once')").fetchone() == ("",)
c.execute("SELECT set_config('app.never', NULL, false)")
assert c.execute("SELECT current_setting('app.never')").fetchone() == ("",)

# Ten thousand rows in one INSERT, with parameters, literals and what is the same in each row.
c.execute("CREATE TABLE batch (id INT PRIMARY KEY, n NUMERIC(8,2), at TIMESTAMPTZ, word TEXT DEFAULT 'none')")
rows_of = [(i, decimal.Decimal(i) / 4) for i in range(5000)]
holes = ", ".join(["(%s, %s, now(), DEFAULT)"] * len(rows_of))
c.execute(f"INSERT INTO batch VALUES {holes}", [value for row in rows_of for value in row])
literals = ", ".join(f"({i}, {i}.25, current_timestamp, 'w{i}')" for i in range(5000, 15000))
c.execute(f"INSERT INTO batch VALUES {literals}")
got = c.execute("SELECT count(*), sum(n), count(DISTINCT at), count(*) FILTER (WHERE word = 'none') FROM batch").fetchone()
assert got == (15000, sum(n for _, n in rows_of) + sum(i for i in range(5000, 15000)) + 2500, 2, 5000), got
try:
    with c.transaction():
        c.execute("INSERT INTO p (id) VALUES (5000)")
        c.execute("INSERT INTO p (id) VALUES (1)")
except errors.UniqueViolation:
    pass
assert c.execute("SELECT count(*) FROM p WHERE id = 5000").fetchone() == (0,)
try:
    with cursor.copy("COPY p (id, i4) FROM STDIN") as copy:
        copy.write("6000\tx\n" * 10)
    raise AssertionError("COPY of nonsense")
except errors.InvalidTextRepresentation:
    pass
try:
    with cursor.copy("COPY p (id) FROM STDIN") as copy:
        copy.write_row((6000,))
        raise KeyError("changed my mind")
except KeyError:
    pass
assert c.execute("SELECT count(*) FROM p WHERE id = 6000").fetchone() == (0,)

# Cursors on the server: described by protocol, read in portions, scrolled, kept beyond their transaction.
c.execute("CREATE TABLE many (id INT PRIMARY KEY, s TEXT)")
with c.cursor().copy("COPY many FROM STDIN") as copy:
    for i in range(5000):
        copy.write_row((i, f"v{i}"))
for binary in (False, True):
    with c.transaction(), c.cursor("portions", binary=binary) as named:
        named.itersize = 700
        named.execute("SELECT id, s FROM many WHERE id >= %s ORDER BY id", (10,))
        assert [column.name for column in named.description] == ["id", "s"]
        assert named.fetchone() == (10, "v10") and named.fetchmany(2) == [(11, "v11"), (12, "v12")]
        assert [row[0] for row in named] == list(range(13, 5000))
with c.transaction(), c.cursor("there and back", scrollable=True) as named:
    named.execute("SELECT id FROM many ORDER BY id")
    named.scroll(4000)
    assert named.fetchone() == (4000,)
    named.scroll(0, mode="absolute")
    assert named.fetchone() == (0,)
    named.scroll(-1)
    assert named.fetchone() == (0,)
held = c.cursor("held", withhold=True)
held.execute("SELECT id FROM many ORDER BY id")
c.execute("DELETE FROM many WHERE id > 1")
assert len(held.fetchall()) == 5000
held.close()
with c.transaction():
    c.execute("DECLARE mine CURSOR FOR SELECT id FROM many ORDER BY id")
    assert c.cursor("mine").fetchall() == [(0,), (1,)]

# A statement that would take for ever is cancelled from another thread.
# A request that comes before the statement runs means nothing, so there are several; each is over when cancel() returns.
done = threading.Event()

def cancel():
    while not done.wait(0.2):
        c.cancel()

thread = threading.Thread(target=cancel)
thread.start()
try:
    c.execute("SELECT count(*) FROM p a, p b, p c, p d")
    raise AssertionError("not cancelled")
except errors.QueryCanceled:
    pass
finally:
    done.set()
    thread.join()
assert c.execute("SELECT 1").fetchone() == (1,)

# Changes stream until the client has seen enough.
with psycopg.connect(autocommit=True) as other:
    seen = []
    for change in other.cursor().stream("SUBSCRIBE p"):
        seen.append(change)
        if len(seen) == 5:
            other.cancel()
            break
assert len(seen) == 5
print("ok")
