//! The relations of a run, and its views: each with the rows that it must have, as plain Rust over the model.
//!
//! A view is judged twice: by what the model says, and by its own query run as a plain SELECT at the same epoch, which takes another way
//! through the system (no incremental operator).

use crate::model::{ACCOUNTS, All, BRANCHES};
use std::collections::{BTreeMap, BTreeSet};

/// What is made first.
pub const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS accounts (id INT PRIMARY KEY, branch INT, balance BIGINT)",
    "CREATE TABLE IF NOT EXISTS items (id INT PRIMARY KEY, owner INT, kind TEXT, qty INT)",
    "CREATE TABLE IF NOT EXISTS bag (owner INT, x INT)",
    "CREATE STREAM IF NOT EXISTS marks (client INT, seq INT)",
    "CREATE STREAM IF NOT EXISTS events (client INT, batch INT, i INT, val BIGINT)",
];

/// The accounts, empty; their total stays 0.
pub fn accounts() -> String {
    let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {}, 0)", id % BRANCHES)).collect();
    format!("INSERT INTO accounts VALUES {} ON CONFLICT (id) DO NOTHING", rows.join(", "))
}

/// A view.
pub struct Query {
    /// For people; part of its name.
    pub name: &'static str,
    /// What it is.
    pub sql: &'static str,
    /// Its rows, in any order, columns joined by `|`.
    pub rows: Option<fn(&All) -> Vec<String>>,
}

impl Query {
    /// Views that it reads.
    pub fn bases(&self) -> &'static [&'static str] {
        if self.name == "richest" { &["by_branch", "total"] } else { &[] }
    }
}

/// Views that are always there.
pub const FIXED: &[Query] = &[
    Query { name: "progress", sql: "SELECT client, max(seq) AS n, count(*) AS k FROM marks GROUP BY client", rows: None },
    Query { name: "total", sql: "SELECT sum(balance)::bigint AS total FROM accounts", rows: Some(|_| vec!["0".to_owned()]) },
    Query {
        name: "by_branch",
        sql: "SELECT branch, sum(balance)::bigint AS total, count(*) AS n FROM accounts GROUP BY branch",
        rows: Some(by_branch),
    },
];

/// Views that come and go.
pub const VIEWS: &[Query] = &[
    Query {
        name: "by_kind",
        sql: "SELECT kind, count(*) AS n, sum(qty)::bigint AS s, min(qty) AS lo, max(qty) AS hi FROM items GROUP BY kind",
        rows: Some(by_kind),
    },
    Query {
        name: "joined",
        sql: "SELECT i.id, i.qty, a.balance FROM items i JOIN accounts a ON i.qty = a.id",
        rows: Some(|all| {
            let hit = all.items().filter(|(_, _, _, qty)| (0..ACCOUNTS).contains(qty));
            hit.map(|(id, _, _, qty)| format!("{id}|{qty}|{}", all.balance(qty))).collect()
        }),
    },
    Query {
        name: "kinds",
        sql: "SELECT DISTINCT owner, kind FROM items",
        rows: Some(|all| {
            let all: BTreeSet<String> = all.items().map(|(_, owner, kind, _)| format!("{owner}|{kind}")).collect();
            all.into_iter().collect()
        }),
    },
    Query {
        name: "top",
        sql: "SELECT id, qty FROM items ORDER BY qty DESC, id LIMIT 4",
        rows: Some(|all| {
            let mut items: Vec<(i64, i64)> = all.items().map(|(id, _, _, qty)| (-qty, id)).collect();
            items.sort_unstable();
            items.iter().take(4).map(|(qty, id)| format!("{id}|{}", -qty)).collect()
        }),
    },
    Query {
        name: "bags",
        sql: "SELECT x, count(*) AS n, count(DISTINCT owner) AS owners FROM bag GROUP BY x",
        rows: Some(|all| {
            let mut by: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
            for (_, x, n) in all.bag() {
                let of = by.entry(x).or_default();
                *of = (of.0 + n, of.1 + 1);
            }
            by.into_iter().map(|(x, (n, owners))| format!("{x}|{n}|{owners}")).collect()
        }),
    },
    Query {
        name: "missing",
        sql: "SELECT id FROM items WHERE NOT EXISTS (SELECT 1 FROM bag WHERE bag.x = items.qty)",
        rows: Some(|all| {
            let bag = all.bag_values();
            all.items().filter(|(_, _, _, qty)| !bag.contains(qty)).map(|(id, ..)| id.to_string()).collect()
        }),
    },
    Query {
        name: "outer_joined",
        sql: "SELECT a.id, i.id AS item FROM accounts a LEFT JOIN items i ON i.qty = a.id AND i.kind = 'a'",
        rows: Some(|all| {
            let mut rows = vec![];
            for account in 0..ACCOUNTS {
                let hit: Vec<i64> =
                    all.items().filter(|(_, _, kind, qty)| *qty == account && *kind == "a").map(|(id, ..)| id).collect();
                rows.extend(hit.iter().map(|id| format!("{account}|{id}")));
                if hit.is_empty() {
                    rows.push(format!("{account}|NULL"));
                }
            }
            rows
        }),
    },
    Query {
        name: "negative",
        sql: "SELECT id, -balance AS debt FROM accounts WHERE balance < 0",
        rows: Some(|all| {
            let owed = (0..ACCOUNTS).map(|id| (id, -all.balance(id))).filter(|(_, debt)| *debt > 0);
            owed.map(|(id, debt)| format!("{id}|{debt}")).collect()
        }),
    },
    Query {
        name: "ranked",
        sql: "SELECT id, kind, row_number() OVER (PARTITION BY kind ORDER BY qty, id) AS r FROM items",
        rows: Some(ranked),
    },
    Query {
        name: "either",
        sql: "SELECT qty AS x FROM items WHERE qty >= 0 UNION ALL SELECT x FROM bag",
        rows: Some(|all| {
            let mut rows: Vec<String> =
                all.items().filter(|(_, _, _, qty)| *qty >= 0).map(|(_, _, _, qty)| qty.to_string()).collect();
            for (_, x, n) in all.bag() {
                rows.extend((0..n).map(|_| x.to_string()));
            }
            rows
        }),
    },
    Query {
        name: "richest",
        sql: "SELECT b.branch, b.total, t.total AS whole FROM by_branch b CROSS JOIN total t WHERE b.total > 0",
        rows: Some(|all| by_branch(all).into_iter().filter_map(rich).collect()),
    },
    Query {
        name: "evented",
        sql: "SELECT client, batch, count(*) AS n, sum(val)::bigint AS s FROM events GROUP BY client, batch",
        rows: None,
    },
    Query {
        name: "excepted",
        sql: "SELECT DISTINCT qty FROM items EXCEPT SELECT x FROM bag",
        rows: Some(|all| {
            let bag = all.bag_values();
            let all: BTreeSet<i64> = all.items().map(|(_, _, _, qty)| qty).filter(|qty| !bag.contains(qty)).collect();
            all.iter().map(ToString::to_string).collect()
        }),
    },
];

fn by_branch(all: &All) -> Vec<String> {
    let of = |branch: i64| (0..ACCOUNTS).filter(move |id| id % BRANCHES == branch);
    (0..BRANCHES).map(|b| format!("{b}|{}|{}", of(b).map(|id| all.balance(id)).sum::<i64>(), of(b).count())).collect()
}

fn rich(row: String) -> Option<String> {
    let mut cells = row.split('|');
    let (branch, total) = (cells.next()?, cells.next()?);
    (!total.starts_with('-') && total != "0").then(|| format!("{branch}|{total}|0"))
}

fn by_kind(all: &All) -> Vec<String> {
    let mut by: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (_, _, kind, qty) in all.items() {
        by.entry(kind).or_default().push(qty);
    }
    let row = |(kind, of): (&str, Vec<i64>)| {
        let (lo, hi) = (of.iter().min().copied().unwrap_or(0), of.iter().max().copied().unwrap_or(0));
        format!("{kind}|{}|{}|{lo}|{hi}", of.len(), of.iter().sum::<i64>())
    };
    by.into_iter().map(row).collect()
}

fn ranked(all: &All) -> Vec<String> {
    let mut by: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    for (id, _, kind, qty) in all.items() {
        by.entry(kind).or_default().push((qty, id));
    }
    let mut rows = vec![];
    for (kind, mut of) in by {
        of.sort_unstable();
        rows.extend(of.iter().enumerate().map(|(r, (_, id))| format!("{id}|{kind}|{}", r + 1)));
    }
    rows
}
