"""asyncpg against the server that the environment names: types that it asks the catalogs for, arrays, cursors, copies."""

import asyncio
import datetime
import decimal
import io
import uuid

import asyncpg

UTC = datetime.timezone.utc
MOMENT = datetime.datetime(2020, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


async def main():
    c = await asyncpg.connect(server_settings={"client_encoding": "utf-8", "application_name": "test"})
    assert c.get_server_version()[:2] == (16, 0)
    assert await c.fetchval("SHOW application_name") == "test"

    # Every type, there and back, arrays among them: each needs the catalogs first.
    await c.execute(
        "CREATE TABLE p (id BIGINT PRIMARY KEY, n NUMERIC(10,2), s TEXT, ts TIMESTAMPTZ, d DATE, b BYTEA, iv INTERVAL, t TIME,"
        " f DOUBLE PRECISION, bo BOOLEAN, i2 SMALLINT, f4 REAL, plain TIMESTAMP, i4 INT, u UUID, j JSON, jb JSONB, v VARCHAR(10),"
        " ia INT[], ta TEXT[], na NUMERIC(10,2)[], tsa TIMESTAMPTZ[], ba BIGINT[], boa BOOLEAN[], ua UUID[], da DATE[], fa FLOAT8[])"
    )
    row = (
        1, decimal.Decimal("-12.34"), "it's \u20ac", MOMENT, datetime.date(1, 1, 1), b"\0\1\xff",
        datetime.timedelta(days=-3, seconds=5, microseconds=1), datetime.time(23, 59, 59, 999999), -1e-300, True, -7, 1.5,
        datetime.datetime(1969, 7, 20, 20, 17), 2**31 - 1, uuid.UUID(int=5), '{"a": 1}', '{"b": [1]}', "short",
        [1, 2, None], ["a", "b,c", None, '"'], [decimal.Decimal("1.50")], [MOMENT], [1, 2**40], [True, None],
        [uuid.UUID(int=7)], [datetime.date(2020, 1, 1)], [1.5, None],
    )
    holes = ", ".join(f"${i + 1}" for i in range(len(row)))
    assert await c.execute(f"INSERT INTO p VALUES ({holes})", *row) == "INSERT 0 1"
    assert tuple(await c.fetchrow("SELECT * FROM p WHERE id = $1", 1)) == row

    # Arrays as parameters.
    assert await c.fetchval("SELECT count(*) FROM p WHERE id = ANY($1)", [1, 2, 2**40]) == 1
    assert await c.fetchval("SELECT count(*) FROM p WHERE s = ANY($1::text[])", ["nobody"]) == 0
    unnested = await c.fetch("SELECT * FROM unnest($1::int[], $2::text[]) AS u(a, b)", [1, 2], ["x", None])
    assert [tuple(r) for r in unnested] == [(1, "x"), (2, None)]
    await c.execute("INSERT INTO p (id, s) SELECT * FROM unnest($1::bigint[], $2::text[])", [10, 11], ["a", "b"])

    # Many rows, transactions within transactions, cursors.
    await c.executemany("INSERT INTO p (id, s) VALUES ($1, $2)", [(i, f"v{i}") for i in range(100, 200)])
    try:
        async with c.transaction():
            await c.execute("INSERT INTO p (id) VALUES (5000)")
            try:
                async with c.transaction():
                    await c.execute("INSERT INTO p (id) VALUES (5000)")
                raise AssertionError("a key twice")
            except asyncpg.UniqueViolationError as e:
                assert (e.schema_name, e.table_name, e.constraint_name) == ("public", "p", "p_pkey")
                assert e.detail == "Key (id)=(5000) already exists."
            assert await c.fetchval("SELECT count(*) FROM p WHERE id = 5000") == 1
            raise KeyError("roll back")
    except KeyError:
        pass
    assert await c.fetchval("SELECT count(*) FROM p WHERE id = 5000") == 0
    for level in ("repeatable_read", "read_committed"):
        async with c.transaction(isolation=level, readonly=True):
            assert await c.fetchval("SELECT 1") == 1
    async with c.transaction():
        seen = [r["id"] async for r in c.cursor("SELECT id FROM p ORDER BY id", prefetch=7)]
        assert seen == [1, 10, 11, *range(100, 200)], seen
        cursor = await c.cursor("SELECT id FROM p ORDER BY id")
        assert [r[0] for r in await cursor.fetch(3)] == [1, 10, 11]
        assert [r[0] for r in await cursor.fetch(2)] == [100, 101]
    prepared = await c.prepare("SELECT id, ta FROM p WHERE id = $1")
    assert [p.name for p in prepared.get_parameters()] == ["int8"]
    assert [(a.name, a.type.name) for a in prepared.get_attributes()] == [("id", "int8"), ("ta", "text[]")]

    # COPY as CSV, and in binary as asyncpg sends records.
    copied = await c.copy_to_table("p", source=io.BytesIO(b"400,a\n401,b\n"), columns=["id", "s"], format="csv")
    assert copied == "COPY 2"
    output = io.BytesIO()
    await c.copy_from_query("SELECT id, s FROM p WHERE id > $1 ORDER BY id", 399, output=output, format="csv")
    assert output.getvalue() == b"400,a\n401,b\n"
    assert await c.copy_records_to_table("p", records=[(500, "x"), (501, None)], columns=["id", "s"]) == "COPY 2"
    assert await c.copy_records_to_table("p", records=[(502, *row[1:])]) == "COPY 1"
    assert tuple(await c.fetchrow("SELECT * FROM p WHERE id = 502")) == (502, *row[1:])
    try:
        await c.copy_records_to_table("p", records=[(503, "x"), (500, "twice")], columns=["id", "s"])
        raise AssertionError("a key twice")
    except asyncpg.UniqueViolationError:
        pass
    assert await c.fetchval("SELECT count(*) FROM p WHERE id = 503") == 0
    binary = io.BytesIO()
    await c.copy_from_query("SELECT * FROM p WHERE id = 502", output=binary, format="binary")
    await c.execute("DELETE FROM p WHERE id = 502")
    binary.seek(0)
    assert await c.copy_to_table("p", source=binary, format="binary") == "COPY 1"
    assert tuple(await c.fetchrow("SELECT * FROM p WHERE id = 502")) == (502, *row[1:])

    # Notes, between statements and while nothing is asked.
    notes = asyncio.Queue()
    await c.add_listener("news", lambda _c, pid, channel, payload: notes.put_nowait((channel, payload)))
    other = await asyncpg.connect()
    await other.execute("SELECT pg_notify($1, $2)", "news", "first")
    await other.execute("NOTIFY news, 'second'")
    assert [await asyncio.wait_for(notes.get(), 60) for _ in range(2)] == [("news", "first"), ("news", "second")]
    await other.close()
    await c.reset()

    # A statement that takes too long is cancelled, and the connection goes on; a pool resets its connections.
    try:
        await c.fetchval("SELECT pg_sleep(600)", timeout=0.2)
        raise AssertionError("it was not cancelled")
    except asyncio.TimeoutError:
        assert await c.fetchval("SELECT 2") == 2
    async with asyncpg.create_pool(min_size=2, max_size=4) as pool:
        assert await asyncio.gather(*[pool.fetchval("SELECT $1::int + 1", i) for i in range(10)]) == list(range(1, 11))
    await c.close()


asyncio.run(main())
print("ok")
