//! The Nexmark queries, in our words and in DuckDB's: the same rows of the same events.
//!
//! Where a query leaves room, both sides get the same form: q1's factor is a double (Nexmark has a decimal), q5 counts panes of two
//! seconds once and adds up five of them (Nexmark counts each bid five times), q4's average is a double on both sides.

use serde_json::{Value, json};

/// A query.
pub struct Query {
    /// As Nexmark numbers it.
    pub name: &'static str,
    /// What must be there before; not timed, because a plain view holds nothing.
    pub setup: Option<&'static str>,
    /// The materialized view's query.
    pub ours: &'static str,
    /// Over Parquet, as views named as our streams.
    pub duckdb: &'static str,
}

const Q0: &str = "SELECT auction, bidder, price, date_time, extra FROM bid";
const Q1: &str = "SELECT auction, bidder, CAST(0.908 AS DOUBLE PRECISION) * price AS price, date_time, extra FROM bid";
const Q2: &str = "SELECT auction, price FROM bid WHERE auction % 123 = 0";
const Q3: &str = "SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON a.seller = p.id
  WHERE a.category = 10 AND (p.state = 'or' OR p.state = 'id' OR p.state = 'ca')";
const Q4: &str = "SELECT category, CAST(avg(final) AS DOUBLE PRECISION) AS price FROM (
    SELECT a.id, a.category, max(b.price) AS final FROM auction a JOIN bid b ON a.id = b.auction
    WHERE b.date_time BETWEEN a.date_time AND a.expires GROUP BY a.id, a.category) q GROUP BY category";

/// In the order of the table.
pub const QUERIES: [Query; 8] = [
    Query { name: "q0", setup: None, ours: Q0, duckdb: Q0 },
    Query { name: "q1", setup: None, ours: Q1, duckdb: Q1 },
    Query { name: "q2", setup: None, ours: Q2, duckdb: Q2 },
    Query { name: "q3", setup: None, ours: Q3, duckdb: Q3 },
    Query { name: "q4", setup: None, ours: Q4, duckdb: Q4 },
    Query {
        name: "q5",
        setup: Some(
            "CREATE VIEW q5_panes AS SELECT auction, window_start AS pane, count(*) AS n
  FROM TUMBLE(bid, date_time, INTERVAL '2 seconds') GROUP BY auction, window_start",
        ),
        ours: "WITH counts AS (
    SELECT auction, window_start, CAST(sum(n) AS BIGINT) AS num
    FROM HOP(q5_panes, pane, INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY auction, window_start)
  SELECT c.auction, c.num, c.window_start FROM counts c
  JOIN (SELECT window_start, max(num) AS most FROM counts GROUP BY window_start) m
    ON c.window_start = m.window_start AND c.num = m.most",
        duckdb: "WITH panes AS (
    SELECT auction, time_bucket(INTERVAL '2 seconds', date_time) AS pane, count(*) AS n FROM bid GROUP BY ALL),
  counts AS MATERIALIZED (
    SELECT auction, pane - k * INTERVAL '2 seconds' AS window_start, CAST(sum(n) AS BIGINT) AS num
    FROM panes, range(5) r(k) GROUP BY ALL)
  SELECT c.auction, c.num, c.window_start FROM counts c
  JOIN (SELECT window_start, max(num) AS most FROM counts GROUP BY window_start) m
    ON c.window_start = m.window_start AND c.num = m.most",
    },
    Query {
        name: "q7",
        setup: None,
        ours: "SELECT b.auction, b.price, b.bidder, b.date_time, b.extra FROM bid b
  JOIN (SELECT max(price) AS most, window_start, window_end FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
        GROUP BY window_start, window_end) m ON b.price = m.most
  WHERE b.date_time >= m.window_start AND b.date_time < m.window_end",
        duckdb: "SELECT b.auction, b.price, b.bidder, b.date_time, b.extra FROM bid b
  JOIN (SELECT max(price) AS most, time_bucket(INTERVAL '10 seconds', date_time) AS window_start,
               time_bucket(INTERVAL '10 seconds', date_time) + INTERVAL '10 seconds' AS window_end
        FROM bid GROUP BY ALL) m ON b.price = m.most
  WHERE b.date_time >= m.window_start AND b.date_time < m.window_end",
    },
    Query {
        name: "q8",
        setup: None,
        ours: "SELECT p.id, p.name, p.window_start FROM
    (SELECT id, name, window_start FROM TUMBLE(person, date_time, INTERVAL '10 seconds') GROUP BY id, name, window_start) p
  JOIN (SELECT seller, window_start FROM TUMBLE(auction, date_time, INTERVAL '10 seconds') GROUP BY seller, window_start) a
    ON p.id = a.seller AND p.window_start = a.window_start",
        duckdb: "SELECT p.id, p.name, p.window_start FROM
    (SELECT id, name, time_bucket(INTERVAL '10 seconds', date_time) AS window_start FROM person GROUP BY ALL) p
  JOIN (SELECT seller, time_bucket(INTERVAL '10 seconds', date_time) AS window_start FROM auction GROUP BY ALL) a
    ON p.id = a.seller AND p.window_start = a.window_start",
    },
];

/// One by its name.
pub fn query(name: &str) -> anyhow::Result<&'static Query> {
    let known = QUERIES.iter().map(|q| q.name).collect::<Vec<_>>().join(", ");
    QUERIES.iter().find(|q| q.name == name).ok_or_else(|| anyhow::anyhow!("no such query name={name}; there are {known}"))
}

/// All texts.
pub fn all() -> Value {
    QUERIES.iter().map(|q| json!({ "name": q.name, "ours": q.ours, "duckdb": q.duckdb })).collect()
}
