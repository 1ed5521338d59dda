//! A read of everything that matters at one epoch, and what must hold of it.
//!
//! I4: marks, tables and views are of one epoch, so all of them are what the model has for the marks. I7: the epoch is not before what
//! the client has seen. I3: a view is what the model says, and what its own query says as a plain SELECT. I2: batches are whole, and once.

use crate::{
    client::rows_of,
    model::{ACCOUNTS, Vector},
    queries::{FIXED, Query, VIEWS},
    shared::{Shared, lock},
};
use regauge_views::{Error, Session};
use std::collections::BTreeMap;

/// What is read, and what it must show.
pub struct Wanted {
    /// At least these transactions.
    pub floor: Vector,
    /// Names of views, and their queries.
    pub views: Vec<(String, usize)>,
    /// Clients whose batches must be there up to some number.
    pub sent: Vec<(usize, usize)>,
    /// Tables and fixed views, too.
    pub whole: bool,
}

/// Why a read says nothing.
pub enum Failure {
    /// A statement failed.
    Error(String, Box<Error>),
    /// It says something wrong.
    Wrong(String),
}

/// Reads, judges, and says which transactions the epoch holds.
pub async fn read(shared: &Shared, session: &mut Session, wanted: &Wanted) -> Result<Vector, Failure> {
    let mut reading = Reading { session };
    reading.ask("BEGIN READ ONLY").await?;
    let marks = reading.ask("SELECT client, max(seq), count(*) FROM marks GROUP BY client").await?;
    let progress = reading.ask("SELECT * FROM progress").await?;
    let mut found: Vec<(&Query, String, Vec<String>, Vec<String>)> = vec![];
    let fixed = FIXED.iter().filter(|_| wanted.whole).map(|query| (query.name.to_owned(), query));
    let chosen = wanted.views.iter().map(|(name, at)| (name.clone(), &VIEWS[*at]));
    for (name, query) in fixed.chain(chosen).collect::<Vec<_>>() {
        let view = reading.ask(&format!("SELECT * FROM {name}")).await?;
        let plain = reading.ask(query.sql).await?;
        found.push((query, name, view, plain));
    }
    let mut tables = vec![];
    if wanted.whole {
        for sql in ["SELECT id, balance FROM accounts", "SELECT id, owner, kind, qty FROM items", "SELECT owner, x FROM bag"] {
            tables.push(reading.ask(sql).await?);
        }
    } else {
        tables.push(reading.ask("SELECT id, balance FROM accounts").await?);
    }
    let events = match wanted.whole {
        true => Some(reading.ask("SELECT client, batch, count(*), sum(val) FROM events GROUP BY client, batch").await?),
        false => None,
    };
    reading.ask("COMMIT").await?;
    shared.count_n("views-compared", found.len() as u64);
    let wrong = |why: String| Failure::Wrong(why);
    if marks != progress {
        return Err(wrong(format!("I4: the view of marks says {progress:?}, the marks say {marks:?}")));
    }
    let n = wanted.floor.len();
    let (vector, counts) = vector_of(&marks, n).map_err(Failure::Wrong)?;
    shared.tell(&format!("read at {vector:?}"));
    let all = lock(&shared.model).at(&vector, &counts, &wanted.floor).map_err(Failure::Wrong)?;
    let accounts: Vec<String> = sorted((0..ACCOUNTS).map(|id| format!("{id}|{}", all.balance(id))).collect());
    let items = || sorted(all.items().map(|(id, owner, kind, qty)| format!("{id}|{owner}|{kind}|{qty}")).collect());
    let bag = || sorted(all.bag().flat_map(|(owner, x, n)| (0..n).map(move |_| format!("{owner}|{x}"))).collect());
    let expected = if wanted.whole { vec![accounts, items(), bag()] } else { vec![accounts] };
    for ((found, expected), name) in tables.iter().zip(&expected).zip(["accounts", "items", "bag"]) {
        if found != expected {
            return Err(wrong(format!("I3: {name} at {vector:?} is {} ", differ(found, expected))));
        }
    }
    for (query, name, view, plain) in &found {
        if let Some(rows) = query.rows {
            let expected = sorted(rows(&all));
            if *view != expected {
                return Err(wrong(format!("I3: view {name} at {vector:?} is {}", differ(view, &expected))));
            }
        }
        if view != plain {
            return Err(wrong(format!("I3: view {name} at {vector:?} and its query: {}", differ(view, plain))));
        }
    }
    if let Some(events) = events {
        batches(shared, &events, wanted).map_err(Failure::Wrong)?;
    }
    Ok(vector)
}

/// One statement on its own about a view, which is served from the newest epoch that the view has: only what the session has seen, or was told
/// of by a token, makes it wait for a later one.
pub async fn glance(shared: &Shared, session: &mut Session, floor: &Vector) -> Result<Vector, Failure> {
    let progress = Reading { session }.ask("SELECT * FROM progress").await?;
    let (vector, counts) = vector_of(&progress, floor.len()).map_err(Failure::Wrong)?;
    shared.tell(&format!("glance at {vector:?}"));
    lock(&shared.model).at(&vector, &counts, floor).map_err(Failure::Wrong)?;
    Ok(vector)
}

struct Reading<'a> {
    session: &'a mut Session,
}

impl Reading<'_> {
    async fn ask(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        rows_of(self.session, sql).await.map(sorted).map_err(|error| Failure::Error(sql.to_owned(), Box::new(error)))
    }
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_unstable();
    rows
}

/// Only what differs.
fn differ(found: &[String], expected: &[String]) -> String {
    let count = |rows: &[String]| {
        let mut by: BTreeMap<String, i64> = BTreeMap::new();
        rows.iter().for_each(|row| *by.entry(row.clone()).or_default() += 1);
        by
    };
    let (found, expected) = (count(found), count(expected));
    let less = |a: &BTreeMap<String, i64>, b: &BTreeMap<String, i64>| -> Vec<String> {
        a.iter().filter(|(row, n)| b.get(*row).copied().unwrap_or(0) < **n).map(|(row, _)| row.clone()).take(6).collect()
    };
    format!("too much {:?}, missing {:?}", less(&found, &expected), less(&expected, &found))
}

fn numbers(row: &str) -> Option<Vec<i64>> {
    row.split('|').map(|cell| cell.parse().ok()).collect()
}

fn vector_of(marks: &[String], n: usize) -> Result<(Vector, Vec<i64>), String> {
    let (mut vector, mut counts) = (vec![0; n], vec![0; n]);
    for row in marks {
        let cells = numbers(row).filter(|cells| cells.len() == 3).ok_or_else(|| format!("marks say {row}"))?;
        let client = usize::try_from(cells[0]).ok().filter(|c| *c < n).ok_or_else(|| format!("marks say {row}"))?;
        (vector[client], counts[client]) = (cells[1], cells[2]);
    }
    Ok((vector, counts))
}

/// Each producer's batches are there from the first to some one, whole and once.
fn batches(shared: &Shared, events: &[String], wanted: &Wanted) -> Result<(), String> {
    let mut by: BTreeMap<usize, BTreeMap<usize, (i64, i64)>> = BTreeMap::new();
    for row in events {
        let cells = numbers(row).filter(|cells| cells.len() == 4).ok_or_else(|| format!("events say {row}"))?;
        let at = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
        by.entry(at(cells[0])).or_default().insert(at(cells[1]), (cells[2], cells[3]));
    }
    let model = lock(&shared.model);
    for (client, found) in &by {
        let sent = model.clients.get(*client).map(|history| &history.sent).ok_or("batches of nobody")?;
        for (at, (no, batch)) in found.iter().enumerate() {
            if at != *no || sent.get(at) != Some(batch) {
                return Err(format!(
                    "I2: batch {client}/{no} is {batch:?} (rows, sum) and was {:?}, at place {at}",
                    sent.get(*no)
                ));
            }
        }
    }
    for (client, at_least) in &wanted.sent {
        let n = by.get(client).map_or(0, BTreeMap::len);
        if n < *at_least {
            return Err(format!("I1: {n} batches of client {client} are there and {at_least} were acknowledged"));
        }
    }
    Ok(())
}
