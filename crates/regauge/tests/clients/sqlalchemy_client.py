"""SQLAlchemy over psycopg: the engine's own questions at connecting, Core, reflection, a session of the ORM."""

import datetime
import decimal

import sqlalchemy as sa
from sqlalchemy import orm

engine = sa.create_engine("postgresql+psycopg://", isolation_level="REPEATABLE READ")
meta = sa.MetaData()
people = sa.Table(
    "people",
    meta,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("born", sa.Date),
    sa.Column("balance", sa.Numeric(12, 2)),
    sa.Column("seen", sa.DateTime(timezone=True)),
    sa.Column("active", sa.Boolean),
    sa.Column("score", sa.Float),
)
meta.create_all(engine)
meta.create_all(engine)  # what is there is found, and not made again

noon = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)
with engine.begin() as c:
    rows = [
        {"id": i, "name": f"n{i}", "born": datetime.date(1990, 1, i), "balance": decimal.Decimal(i) / 4, "seen": noon, "active": i % 2 == 0, "score": i / 8}
        for i in range(1, 21)
    ]
    c.execute(sa.insert(people), rows)
with engine.connect() as c:
    assert c.execute(sa.select(sa.func.count()).select_from(people)).scalar() == 20
    row = c.execute(sa.select(people).where(people.c.id == 7)).one()
    assert row == (7, "n7", datetime.date(1990, 1, 7), decimal.Decimal("1.75"), noon, False, 0.875), row
    few = c.execute(sa.select(people.c.name).where(people.c.id.in_([1, 2, 3])).order_by(people.c.name.desc()).limit(2)).scalars().all()
    assert few == ["n3", "n2"], few
    grouped = c.execute(sa.select(people.c.active, sa.func.sum(people.c.balance)).group_by(people.c.active).order_by(people.c.active))
    assert grouped.all() == [(False, decimal.Decimal("25.00")), (True, decimal.Decimal("27.50"))]

with engine.begin() as c:
    changed = c.execute(sa.update(people).where(people.c.id <= 2).values(balance=people.c.balance + 1).returning(people.c.id))
    assert sorted(changed.scalars()) == [1, 2]
    assert c.execute(sa.delete(people).where(people.c.id == 20)).rowcount == 1
try:
    with engine.begin() as c:
        c.execute(sa.insert(people), {"id": 100, "name": "lost"})
        c.execute(sa.insert(people), {"id": 1, "name": "double"})
    raise AssertionError("a duplicate was taken")
except sa.exc.IntegrityError:
    pass
with engine.connect() as c:
    assert c.execute(sa.select(people.c.id).where(people.c.id == 100)).first() is None

# Rows that are streamed: a cursor of the server.
with engine.connect() as c:
    streamed = c.execution_options(stream_results=True, max_row_buffer=3).execute(sa.select(people.c.id).order_by(people.c.id))
    assert [list(part) for part in streamed.partitions(7)][0] == [(i,) for i in range(1, 8)]
with engine.connect().execution_options(yield_per=4) as c:
    ids = c.execute(sa.select(people.c.id).where(people.c.id > 5).order_by(people.c.id)).scalars().all()
    assert ids == list(range(6, 20)), ids

inspector = sa.inspect(engine)
assert "people" in inspector.get_table_names(), inspector.get_table_names()
columns = {column["name"]: column for column in inspector.get_columns("people")}
assert list(columns) == [column.name for column in people.columns]
assert isinstance(columns["born"]["type"], sa.Date) and isinstance(columns["active"]["type"], sa.Boolean)
assert inspector.get_pk_constraint("people")["constrained_columns"] == ["id"]


class Base(orm.DeclarativeBase):
    pass


class Person(Base):
    __table__ = people


with orm.Session(engine) as session:
    person = session.get(Person, 3)
    person.name = "renamed"
    session.add(Person(id=30, name="new"))
    session.commit()
with orm.Session(engine) as session:
    assert session.get(Person, 3).name == "renamed" and session.get(Person, 30).born is None
    assert session.scalars(sa.select(Person.name).order_by(Person.id.desc()).limit(1)).one() == "new"
print("ok")
