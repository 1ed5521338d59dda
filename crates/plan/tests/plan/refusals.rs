//! What is refused, with which code and which hint.

use crate::fixture::plan;

const TABLE: &[(&str, &str, &str)] = &[
    ("SELECT now() FROM orders", "RG003", "timestamp column"),
    ("SELECT random() FROM orders", "RG003", "store the value"),
    ("SELECT clock_timestamp() FROM orders", "RG003", "timestamp column"),
    ("SELECT id, current_timestamp AS t FROM orders", "RG003", "timestamp column"),
    ("SELECT * FROM nowhere", "42P01", "SHOW TABLES"),
    ("SELECT nothing FROM orders", "42703", "columns here"),
    ("SELECT id FROM orders o JOIN customers c ON o.customer = c.id", "42702", "qualify"),
    ("SELECT no_such_function(id) FROM orders", "42883", ""),
    ("SELECT id, count(*) FROM orders", "42803", "GROUP BY"),
    ("SELECT id, count(DISTINCT qty) OVER (ORDER BY id) AS n FROM orders", "0A000", ""),
    ("SELECT id, median(qty) OVER (ORDER BY id) AS n FROM orders", "0A000", "the aggregates are"),
    ("SELECT id, sum(qty) OVER (ORDER BY id ROWS -1 PRECEDING) AS n FROM orders", "22013", ""),
    ("SELECT id FROM orders WHERE rank() OVER (ORDER BY id) = 1", "42P20", "subquery"),
    ("WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT DISTINCT x + 1 FROM r WHERE x < 9) SELECT x FROM r", "0A000", "joins"),
    ("WITH RECURSIVE r AS (SELECT 1 AS x UNION ALL SELECT x * 1.5 FROM r WHERE x < 9) SELECT x FROM r", "42804", "Cast"),
    ("WITH RECURSIVE r AS (SELECT 1 AS x UNION SELECT a.x + b.x FROM r a, r b) SELECT x FROM r", "42P19", ""),
    ("SELECT first_value(score) FROM customers", "42601", "first_value(x ORDER BY y)"),
    ("SELECT percentile_cont(score) WITHIN GROUP (ORDER BY score) FROM customers", "42803", "GROUP BY"),
    ("SELECT score, percentile_cont(score) WITHIN GROUP (ORDER BY score) FROM customers GROUP BY score", "0A000", "ARRAY[..]"),
    ("SELECT abs(qty) FILTER (WHERE qty > 1) FROM orders", "42809", "plain arguments"),
    ("SELECT count(DISTINCT *) FROM orders", "42601", "counts all rows"),
    ("SELECT DISTINCT ON (id) id FROM orders LIMIT (SELECT 1)", "0A000", "row_number"),
    ("SELECT percentile_disc(2) WITHIN GROUP (ORDER BY score) FROM customers", "22003", ""),
    ("SELECT a FROM friends INTERSECT SELECT a, b FROM friends", "42601", ""),
    ("SELECT a FROM friends EXCEPT SELECT paid FROM orders", "42804", "casts"),
    ("SELECT * FROM TUMBLE(orders, qty, INTERVAL '1 hour')", "42804", ""),
    ("SELECT * FROM TUMBLE(clicks, at, INTERVAL '1 month')", "0A000", "months"),
    ("SELECT * FROM TUMBLE(clicks, at)", "42601", "write TUMBLE"),
    ("SELECT * FROM HOP(clicks, at, INTERVAL '1 us', INTERVAL '1 hour')", "54001", ""),
    ("SELECT * FROM SESSION(clicks, at)", "42601", "PARTITION BY"),
    ("SELECT * FROM SESSION(clicks, at, INTERVAL '0 hours')", "22023", ""),
    ("SELECT * FROM SESSION(clicks, at, INTERVAL '1 hour', PARTITION BY who + 1)", "0A000", "in a view or a subquery"),
    ("SELECT * FROM SESSION(clicks, ms, INTERVAL '1 hour')", "42804", ""),
    ("SELECT * FROM CUMULATE(clicks, at, INTERVAL '7 minutes', INTERVAL '1 hour')", "22023", "whole number of steps"),
    ("SELECT * FROM CUMULATE(clicks, at, INTERVAL '1 hour')", "42601", "write CUMULATE"),
    ("SELECT who, count(*) AS n FROM clicks GROUP BY who EMIT FINAL", "0A000", "CREATE MATERIALIZED VIEW"),
    ("SELECT * FROM (SELECT who FROM clicks EMIT ON WINDOW CLOSE) c", "0A000", "CREATE MATERIALIZED VIEW"),
    ("SELECT id FROM orders FOR UPDATE", "0A000", "snapshot"),
    ("SELECT id FROM orders LIMIT -1", "2201W", ""),
    ("SELECT $1 FROM orders", "42P02", ""),
    ("SELECT a, a FROM friends", "42701", "AS"),
];

#[test]
fn what_cannot_be_maintained_is_refused_with_what_to_write_instead() {
    let mut wrong = vec![];
    for (sql, sqlstate, hint) in TABLE {
        match plan(sql) {
            Ok(p) => wrong.push(format!("{sql}\n  planned:\n{}", p.explain())),
            Err(e) => {
                let found = e.hint().unwrap_or_default();
                if e.sqlstate() != *sqlstate || !found.contains(hint) {
                    wrong.push(format!("{sql}\n  expected {sqlstate} [{hint}]\n  got {} {e} [{found}]", e.sqlstate()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
