//! What epochs held, and the same asked again later: AS OF EPOCH, by another client, in another life, with other workers.
//!
//! ```text
//!   a read transaction ── epoch n, marks (one number per client), batches ──▶ noted
//!   later: the same statements AS OF EPOCH n ──▶ equal to what was noted, and to the model at those numbers
//!                                            └─▶ or refused: n is older than what is promised to be kept, and the refusal says what is there
//!   or a commit between two that were noted: tables and streams are what the model says at its marks, which lie between the marks noted
//! ```
//! Two readers of one epoch must have seen the same, whatever lay between them (I5): an epoch is a commit's number, which a power cut does not
//! give to another one once somebody has seen it. It does not know how the past is kept.

use crate::{
    bugs::Bug,
    client::rows_of,
    model::Vector,
    reader::{self, Failure, Wanted},
    scenario::Draw,
    shared::{Shared, lock},
};
use regauge_views::{Error, Instance, Session, catalog::Kind};
use std::collections::BTreeMap;

/// What an epoch held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Transactions, by client.
    pub vector: Vector,
    /// Batches, where they were read.
    pub events: Option<Vec<String>>,
}

/// What all epochs held that somebody has read.
#[derive(Debug, Default)]
pub struct Past {
    epochs: BTreeMap<u64, Told>,
}

/// An epoch of the past, and what is known of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The epoch: a commit.
    pub at: u64,
    /// What somebody saw there; of a commit between two epochs that somebody saw nothing is noted.
    told: Option<Told>,
    /// At least these transactions are in it.
    floor: Vector,
    /// And not more than these.
    ceiling: Vector,
}

impl Past {
    /// Somebody has read an epoch; says what is wrong with that.
    pub fn note(&mut self, epoch: u64, told: Told) -> Result<(), String> {
        let Some(before) = self.epochs.get_mut(&epoch) else {
            self.epochs.insert(epoch, told);
            return Ok(());
        };
        let same_events = before.events.is_none() || told.events.is_none() || before.events == told.events;
        if before.vector != told.vector || !same_events {
            return Err(format!("I5: epoch {epoch} showed {before:?} to one reader and {told:?} to another"));
        }
        before.events = before.events.take().or(told.events);
        Ok(())
    }

    /// An epoch that was noted, late ones rather, or a commit between two of them.
    pub fn draw(&self, draw: &mut Draw) -> Option<Asked> {
        let n = self.epochs.len() as u64;
        let back = usize::try_from(draw.wide(n)).unwrap_or(1);
        let (&at, told) = self.epochs.iter().rev().nth(back.checked_sub(1)?)?;
        if let Some((&next, above)) = self.epochs.range(at + 1..).next()
            && next > at + 1
            && draw.one_in(3)
        {
            let between = at + 1 + draw.below(next - at - 1);
            return Some(Asked { at: between, told: None, floor: told.vector.clone(), ceiling: above.vector.clone() });
        }
        Some(Asked::of(at, told))
    }

    /// The last ones that were noted.
    pub fn last(&self, n: usize) -> Vec<Asked> {
        self.epochs.iter().rev().take(n).map(|(at, told)| Asked::of(*at, told)).collect()
    }
}

impl Asked {
    fn of(at: u64, told: &Told) -> Asked {
        Asked { at, told: Some(told.clone()), floor: told.vector.clone(), ceiling: told.vector.clone() }
    }
}

/// Statements AS OF an epoch.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    shared: &'a Shared,
    instance: &'a Instance,
    at: u64,
}

/// Asks again for what an epoch held: these views (names, and their queries) of it as well if it is one that was noted.
pub async fn ask(
    shared: &Shared,
    instance: &Instance,
    session: &mut Session,
    asked: &Asked,
    views: Vec<(String, usize)>,
    whole: bool,
) -> Result<(), Failure> {
    let question = Question { shared, instance, at: asked.at };
    let at = asked.at;
    let with_views = asked.told.is_some();
    let wanted =
        Wanted { floor: asked.floor.clone(), views: if with_views { views } else { vec![] }, sent: vec![], whole, with_views };
    let wrong = |why: String| Failure::Wrong(format!("AS OF EPOCH {at}: {why}"));
    let seen = match reader::read_past(session, question, &wanted).await {
        Ok(Some(seen)) => seen,
        Ok(None) => return Ok(()),
        Err(Failure::Wrong(why)) => return Err(wrong(why)),
        Err(error) => return Err(error),
    };
    let vector = reader::judge(shared, &seen, &wanted).map_err(wrong)?;
    shared.tell(&format!("epoch {at} again: {vector:?}"));
    if vector.iter().zip(&asked.ceiling).any(|(found, most)| found > most) {
        return Err(wrong(format!("it is at {vector:?}, and must be at {:?} at most", asked.ceiling)));
    }
    let events = asked.told.as_ref().and_then(|told| told.events.as_ref());
    if let (Some(before), Some(now)) = (events, &seen.events)
        && before != now
    {
        return Err(wrong(format!("I3: batches were {before:?} and are {now:?}")));
    }
    shared.count(if asked.told.is_some() { "past-as-it-was" } else { "past-between" });
    if at <= instance.versions().opened().0 {
        shared.count("past-of-an-earlier-life");
    }
    Ok(())
}

impl Question<'_> {
    /// Rows of a statement that reads these views; `None` where it is rightly refused.
    pub async fn rows(&self, session: &mut Session, of: &[&str], sql: &str) -> Result<Option<Vec<String>>, Failure> {
        let at = self.at;
        let answer = match self.shared.bug {
            Some(Bug::PastIsNow) => rows_of(session, sql).await,
            Some(Bug::PastIsNeighbour) => match rows_of(session, &as_of(sql, at.saturating_sub(1))).await {
                Err(_) => rows_of(session, &as_of(sql, at)).await,
                neighbour => neighbour,
            },
            _ => rows_of(session, &as_of(sql, at)).await,
        };
        match answer {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if ["72000", "42P01", "22023"].contains(&error.sqlstate) => {
                self.judge_refusal(of, &error)
                    .map_err(|why| Failure::Wrong(format!("{sql} is refused and {why}: {} {error}", error.sqlstate)))?;
                self.shared.count(if of.is_empty() { "past-gone" } else { "past-gone-of-views" });
                if at < self.instance.versions().opened().0 {
                    self.shared.count("past-of-an-earlier-life");
                }
                Ok(None)
            }
            Err(error) => Err(Failure::Error(sql.to_owned(), Box::new(error))),
        }
    }

    /// Whether it may be refused, and the refusal says what is there.
    fn judge_refusal(&self, of: &[&str], error: &Error) -> Result<(), String> {
        let at = self.at;
        // A view has a past since it has epochs in common with the others.
        let since = of.iter().map(|name| since(self.instance, name)).max_by_key(|since| since.unwrap_or(u64::MAX));
        let is_younger = since.is_some_and(|since| since.is_none_or(|since| at < since));
        let versions = self.instance.versions();
        // Not what is shown: it goes back where a view comes in that is behind, and what was forgotten before stays so.
        let last = self.instance.log().durable().0;
        let is_gone = at < versions.opened().0 || at + self.shared.kept < last;
        match error.sqlstate {
            "42P01" if is_younger => Ok(()),
            "72000" => {
                let text = error.to_string();
                let digits = text.split("read is ").nth(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
                let oldest = digits.flatten().and_then(|digits| digits.parse::<u64>().ok());
                match () {
                    () if oldest.is_none_or(|oldest| oldest <= at) => Err("names no later epoch".to_owned()),
                    () if is_gone || is_younger => Ok(()),
                    () => Err(format!(
                        "{} commits are kept: opened at {}, at {last} now, views since {since:?}",
                        self.shared.kept,
                        versions.opened()
                    )),
                }
            }
            _ => Err("somebody has read it".to_owned()),
        }
    }
}

fn as_of(sql: &str, at: u64) -> String {
    format!("{sql} AS OF EPOCH {at}")
}

/// Since when a view has epochs in common with the others; `None` while it has none.
fn since(instance: &Instance, name: &str) -> Option<u64> {
    let catalog = instance.catalog();
    let relation = catalog.relations().find(|relation| relation.name.name == name)?;
    let Kind::Materialized { routed, .. } = &relation.kind else { return None };
    instance.versions().report(relation.view()?, *routed).since.map(|since| since.0)
}

/// Asks for the last epochs again, at the end of a run.
pub async fn ask_last(
    shared: &Shared,
    instance: &Instance,
    session: &mut Session,
    views: &[(String, usize)],
) -> Result<(), Failure> {
    let last = lock(&shared.past).last(12);
    for asked in &last {
        ask(shared, instance, session, asked, views.to_vec(), true).await?;
    }
    Ok(())
}
