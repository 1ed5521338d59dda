//! A read of everything that matters at one epoch, and what must hold of it.
//!
//! I4: marks, tables and views are of one epoch, so all of them are what the model has for the marks. I7: the epoch is not before what
//! the client has seen. I3: a view is what the model says, and what its own query says as a plain SELECT. I2: batches are whole, and once.

use crate::{
    client::rows_of,
    model::{ACCOUNTS, Vector},
    past::{Question, Told},
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
    /// Views at all.
    pub with_views: bool,
}

/// Why a read says nothing.
pub enum Failure {
    /// A statement failed.
    Error(String, Box<Error>),
    /// It says something wrong.
    Wrong(String),
}

/// Rows, sorted; `None` of what is rightly refused because it is of the past.
type Found = Option<Vec<String>>;

/// What was read of one epoch.
pub struct Seen {
    marks: Vec<String>,
    progress: Found,
    /// Views, and what their queries say as plain SELECTs.
    views: Vec<(&'static Query, String, Found, Found)>,
    tables: Vec<(&'static str, Found)>,
    /// Batches, where they were asked for.
    pub events: Found,
}

/// Reads, judges, notes what the epoch held, and says which transactions it holds.
pub async fn read(shared: &Shared, session: &mut Session, wanted: &Wanted) -> Result<Vector, Failure> {
    let mut reading = Reading { session, past: None };
    reading.ask("BEGIN READ ONLY").await?;
    let seen = reading.see(wanted).await?;
    let epoch = reading.ask("SHOW regauge.epoch").await?.concat();
    reading.ask("COMMIT").await?;
    let seen = seen.ok_or_else(|| Failure::Wrong("no marks".to_owned()))?;
    shared.count_n("views-compared", seen.views.len() as u64);
    let vector = judge(shared, &seen, wanted).map_err(Failure::Wrong)?;
    let epoch = epoch.parse::<u64>().map_err(|_| Failure::Wrong(format!("the epoch of a transaction is {epoch}")))?;
    shared.tell(&format!("read at {vector:?} epoch {epoch}"));
    let told = Told { vector: vector.clone(), events: seen.events };
    lock(&shared.past).note(epoch, told).map_err(Failure::Wrong)?;
    Ok(vector)
}

/// Reads an epoch of the past; `None` if it is rightly refused.
pub async fn read_past(session: &mut Session, question: Question<'_>, wanted: &Wanted) -> Result<Option<Seen>, Failure> {
    Reading { session, past: Some(question) }.see(wanted).await
}

/// Which transactions an epoch holds, of which this was seen; or what is wrong with it.
pub fn judge(shared: &Shared, seen: &Seen, wanted: &Wanted) -> Result<Vector, String> {
    let marks = &seen.marks;
    if let Some(progress) = &seen.progress
        && progress != marks
    {
        return Err(format!("I4: the view of marks says {progress:?}, the marks say {marks:?}"));
    }
    let (vector, counts) = vector_of(marks, wanted.floor.len())?;
    let all = lock(&shared.model).at(&vector, &counts, &wanted.floor)?;
    for (name, found) in &seen.tables {
        let Some(found) = found else { continue };
        let expected = sorted(match *name {
            "accounts" => (0..ACCOUNTS).map(|id| format!("{id}|{}", all.balance(id))).collect(),
            "items" => all.items().map(|(id, owner, kind, qty)| format!("{id}|{owner}|{kind}|{qty}")).collect(),
            _ => all.bag().flat_map(|(owner, x, n)| (0..n).map(move |_| format!("{owner}|{x}"))).collect(),
        });
        if *found != expected {
            return Err(format!("I3: {name} at {vector:?} is {} ", differ(found, &expected)));
        }
    }
    for (query, name, view, plain) in &seen.views {
        if let (Some(view), Some(rows)) = (view, query.rows) {
            let expected = sorted(rows(&all));
            if *view != expected {
                return Err(format!("I3: view {name} at {vector:?} is {}", differ(view, &expected)));
            }
        }
        if let (Some(view), Some(plain)) = (view, plain)
            && view != plain
        {
            return Err(format!("I3: view {name} at {vector:?} and its query: {}", differ(view, plain)));
        }
    }
    if let Some(events) = &seen.events {
        batches(shared, events, wanted)?;
    }
    Ok(vector)
}

/// One statement on its own about a view, which is served from the newest epoch that the view has: only what the session has seen, or was told
/// of by a token, makes it wait for a later one.
pub async fn glance(shared: &Shared, session: &mut Session, floor: &Vector) -> Result<Vector, Failure> {
    let progress = Reading { session, past: None }.ask("SELECT * FROM progress").await?;
    let (vector, counts) = vector_of(&progress, floor.len()).map_err(Failure::Wrong)?;
    shared.tell(&format!("glance at {vector:?}"));
    lock(&shared.model).at(&vector, &counts, floor).map_err(Failure::Wrong)?;
    Ok(vector)
}

struct Reading<'a> {
    session: &'a mut Session,
    /// Else it is what is there now.
    past: Option<Question<'a>>,
}

impl Reading<'_> {
    async fn ask(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        rows_of(self.session, sql).await.map(sorted).map_err(|error| Failure::Error(sql.to_owned(), Box::new(error)))
    }

    /// Rows of a statement that reads these views.
    async fn rows(&mut self, of: &[&str], sql: &str) -> Result<Found, Failure> {
        match self.past {
            Some(question) => Ok(question.rows(self.session, of, sql).await?.map(sorted)),
            None => self.ask(sql).await.map(Some),
        }
    }

    /// Everything that is wanted; `None` if it is of the past and rightly refused.
    async fn see(&mut self, wanted: &Wanted) -> Result<Option<Seen>, Failure> {
        let Some(marks) = self.rows(&[], "SELECT client, max(seq), count(*) FROM marks GROUP BY client").await? else {
            return Ok(None);
        };
        let progress = if wanted.with_views { self.rows(&["progress"], "SELECT * FROM progress").await? } else { None };
        let fixed = FIXED.iter().filter(|_| wanted.whole && wanted.with_views).map(|query| (query.name.to_owned(), query));
        let chosen = wanted.views.iter().map(|(name, at)| (name.clone(), &VIEWS[*at]));
        let mut views = vec![];
        for (name, query) in fixed.chain(chosen).collect::<Vec<_>>() {
            let of: Vec<&str> = query.bases().iter().copied().chain([name.as_str()]).collect();
            let view = self.rows(&of, &format!("SELECT * FROM {name}")).await?;
            let plain = self.rows(query.bases(), query.sql).await?;
            views.push((query, name, view, plain));
        }
        let of_tables = [
            ("accounts", "SELECT id, balance FROM accounts"),
            ("items", "SELECT id, owner, kind, qty FROM items"),
            ("bag", "SELECT owner, x FROM bag"),
        ];
        let mut tables = vec![];
        for (name, sql) in of_tables.into_iter().take(if wanted.whole { 3 } else { 1 }) {
            tables.push((name, self.rows(&[], sql).await?));
        }
        let events = match wanted.whole {
            true => self.rows(&[], "SELECT client, batch, count(*), sum(val) FROM events GROUP BY client, batch").await?,
            false => None,
        };
        Ok(Some(Seen { marks, progress, views, tables, events }))
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
