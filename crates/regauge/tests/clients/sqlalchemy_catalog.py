"""SQLAlchemy's inspector and reflection against the server that the environment names."""

import sqlalchemy as sa

engine = sa.create_engine("postgresql+psycopg://")
with engine.connect() as connection:
    assert connection.execute(sa.text("SELECT 40 + 2")).scalar() == 42
    assert connection.get_isolation_level() == "REPEATABLE READ"
    with connection.begin_nested():
        assert connection.execute(sa.text("SELECT current_schema()")).scalar() == "public"

i = sa.inspect(engine)
assert i.get_schema_names() == ["information_schema", "public", "regauge"]
assert i.get_table_names() == ["friends", "messages"]
assert i.get_view_names() == ["v"]
assert i.get_materialized_view_names() == ["mv"]
assert i.has_table("friends") and not i.has_table("nothing")
columns = [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in i.get_columns("friends")]
assert columns == [
    ("user_id", "BIGINT", False, None),
    ("friend_id", "BIGINT", False, None),
    ("note", "VARCHAR(20)", True, "'x'"),
    ("weight", "NUMERIC(10, 2)", True, None),
], columns
assert [(c["name"], str(c["type"])) for c in i.get_columns("messages")] == [
    ("sender", "BIGINT"),
    ("body", "TEXT"),
    ("sent_at", "TIMESTAMP"),
]
key = i.get_pk_constraint("friends")
assert (key["name"], key["constrained_columns"]) == ("friends_pkey", ["user_id", "friend_id"]), key
for name in ("friends", "messages", "v", "mv"):
    assert i.get_indexes(name) == [] and i.get_foreign_keys(name) == [], name
    assert i.get_unique_constraints(name) == [] and i.get_check_constraints(name) == [], name
    assert i.get_table_comment(name) == {"text": None}, name
assert "SELECT sender, count(*) AS n FROM messages" in i.get_view_definition("v")
table = sa.Table("friends", sa.MetaData(), autoload_with=engine)
assert [c.name for c in table.primary_key] == ["user_id", "friend_id"]
metadata = sa.MetaData()
metadata.reflect(engine, views=True)
assert sorted(metadata.tables) == ["friends", "messages", "mv", "v"]
with engine.begin() as connection:
    connection.execute(table.insert().values(user_id=1, friend_id=2))
    assert connection.execute(sa.select(table.c.note)).scalar_one() == "x"
print("ok")
