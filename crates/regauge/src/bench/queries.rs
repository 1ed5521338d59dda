//! The Nexmark queries, in our words and in DuckDB's: the same rows of the same events.
//!
//! Where a query leaves room, both sides get the same form: q1's factor is a double (Nexmark has a decimal), q5 counts panes of two
//! seconds once and adds up five of them (Nexmark counts each bid five times), averages are doubles on both sides, q12 takes the
//! event's time (Nexmark takes the time at which it runs, which no replay can give again), q14's user function is an expression.

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

const Q9: &str = "SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra,
    auction, bidder, price, bid_date_time, bid_extra FROM (
    SELECT a.*, b.auction, b.bidder, b.price, b.date_time AS bid_date_time, b.extra AS bid_extra,
      row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.bidder, b.extra) AS k
    FROM auction a JOIN bid b ON a.id = b.auction WHERE b.date_time BETWEEN a.date_time AND a.expires) q WHERE k <= 1";
const Q14: &str = "SELECT auction, bidder, CAST(0.908 AS DOUBLE PRECISION) * price AS price,
    CASE WHEN extract(hour FROM date_time) >= 8 AND extract(hour FROM date_time) <= 18 THEN 'dayTime'
         WHEN extract(hour FROM date_time) <= 6 OR extract(hour FROM date_time) >= 20 THEN 'nightTime' ELSE 'otherTime' END AS kind,
    date_time, extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts
  FROM bid WHERE CAST(0.908 AS DOUBLE PRECISION) * price > 1000000 AND CAST(0.908 AS DOUBLE PRECISION) * price < 50000000";
const Q18: &str = "SELECT auction, bidder, price, channel, url, date_time, extra FROM (
    SELECT *, row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, price, channel, url, extra) AS k FROM bid) q
  WHERE k <= 1";
const Q19: &str = "SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC, bidder, date_time, channel, url, extra) AS k FROM bid) q
  WHERE k <= 10";
const Q20: &str = "SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time AS bid_date_time, b.extra AS bid_extra,
    a.item_name, a.description, a.initial_bid, a.reserve, a.date_time, a.expires, a.seller, a.category, a.extra
  FROM bid b JOIN auction a ON b.auction = a.id WHERE a.category = 10";
const Q22: &str = "SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2,
    split_part(url, '/', 6) AS dir3 FROM bid";

/// q15, q16 and q17 name the day of an event; the two sides name it with their own functions.
macro_rules! daily {
    ($of_day:literal, $of_minute:literal) => {
        [
            concat!(
                "SELECT ", $of_day, " AS day, count(*) AS total_bids, count(*) FILTER (WHERE price < 10000) AS rank1_bids,
    count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids, count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
    count(DISTINCT bidder) AS total_bidders, count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders,
    count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders,
    count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders, count(DISTINCT auction) AS total_auctions,
    count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions,
    count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions,
    count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions
  FROM bid GROUP BY ", $of_day
            ),
            concat!(
                "SELECT channel, ", $of_day, " AS day, max(", $of_minute, ") AS minute, count(*) AS total_bids,
    count(*) FILTER (WHERE price < 10000) AS rank1_bids, count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
    count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
    count(DISTINCT bidder) AS total_bidders, count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders,
    count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bidders,
    count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders, count(DISTINCT auction) AS total_auctions,
    count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions,
    count(DISTINCT auction) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_auctions,
    count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions
  FROM bid GROUP BY channel, ", $of_day
            ),
            concat!(
                "SELECT auction, ", $of_day, " AS day, count(*) AS total_bids, count(*) FILTER (WHERE price < 10000) AS rank1_bids,
    count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids, count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
    min(price) AS min_price, max(price) AS max_price, CAST(avg(price) AS DOUBLE PRECISION) AS avg_price,
    CAST(sum(price) AS BIGINT) AS sum_price
  FROM bid GROUP BY auction, ", $of_day
            ),
        ]
    };
}
const OURS_DAILY: [&str; 3] = daily!("to_char(date_time, 'YYYY-MM-DD')", "to_char(date_time, 'HH24:MI')");
const DUCKDB_DAILY: [&str; 3] = daily!("strftime(date_time, '%Y-%m-%d')", "strftime(date_time, '%H:%M')");

/// In the order of the table.
pub const QUERIES: [Query; 19] = [
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
    Query { name: "q9", setup: None, ours: Q9, duckdb: Q9 },
    Query {
        name: "q11",
        setup: None,
        ours: "SELECT bidder, count(*) AS n, window_start, window_end
  FROM SESSION(bid, date_time, INTERVAL '10 seconds', PARTITION BY bidder) GROUP BY bidder, window_start, window_end",
        duckdb: "SELECT bidder, count(*) AS n, min(date_time) AS window_start, max(date_time) + INTERVAL '10 seconds' AS window_end
  FROM (SELECT bidder, date_time, sum(opens) OVER (PARTITION BY bidder ORDER BY date_time ROWS UNBOUNDED PRECEDING) AS session
    FROM (SELECT bidder, date_time, CASE WHEN date_time - lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time)
                                          < INTERVAL '10 seconds' THEN 0 ELSE 1 END AS opens FROM bid) o) s GROUP BY bidder, session",
    },
    Query {
        name: "q12",
        setup: None,
        ours: "SELECT bidder, count(*) AS n, window_start, window_end FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
  GROUP BY bidder, window_start, window_end",
        duckdb: "SELECT bidder, count(*) AS n, w AS window_start, w + INTERVAL '10 seconds' AS window_end
  FROM (SELECT bidder, time_bucket(INTERVAL '10 seconds', date_time) AS w FROM bid) b GROUP BY bidder, w",
    },
    Query { name: "q14", setup: None, ours: Q14, duckdb: Q14 },
    Query { name: "q15", setup: None, ours: OURS_DAILY[0], duckdb: DUCKDB_DAILY[0] },
    Query { name: "q16", setup: None, ours: OURS_DAILY[1], duckdb: DUCKDB_DAILY[1] },
    Query { name: "q17", setup: None, ours: OURS_DAILY[2], duckdb: DUCKDB_DAILY[2] },
    Query { name: "q18", setup: None, ours: Q18, duckdb: Q18 },
    Query { name: "q19", setup: None, ours: Q19, duckdb: Q19 },
    Query { name: "q20", setup: None, ours: Q20, duckdb: Q20 },
    Query { name: "q22", setup: None, ours: Q22, duckdb: Q22 },
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
