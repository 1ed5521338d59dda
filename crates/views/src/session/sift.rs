//! Which rows fulfil their stream's rules, and which alone are to blame that not all do.
//!
//! Rules are judged over all rows at once, as where bad rows are refused. Only where that fails are the rows halved, until those to blame stand
//! alone: `k` bad ones among `n` cost some `k log n` judgements, of which those that need a plan come last; conditions answer for all rows in one.
//! Invariant: an error that is not of a row (SQLSTATE class 22 or 23, met by that row alone) fails the whole, as it did. The order of rows stays.

use super::{
    Session,
    intake::{self, DeadLetter, Intake, OnError, Raw},
    rows::{self, not_writable},
    txn::Txn,
};
use crate::{
    catalog::{Catalog, Kind, Made, Relation, dead},
    core::Core,
    error::{Error, Result, sqlstate as code},
    table::writes::{check_bytes, check_not_null, fit_chars},
};
use arrow::{array::RecordBatch, compute::concat_batches};
use regauge_log::{Append, ProducerSeq};
use regauge_types::TopicId;
use std::sync::Arc;

/// What one commit stores of an [`Intake`].
pub(super) struct Sifted {
    /// At full width, by all rules.
    pub rows: RecordBatch,
    /// Letters, and their topic.
    letters: Option<(TopicId, RecordBatch)>,
    n_records: u64,
}

impl Sifted {
    /// How many records are bad.
    pub fn n_dead(&self) -> usize {
        self.letters.as_ref().map_or(0, |(_, rows)| rows.num_rows())
    }

    /// What people are told.
    pub fn notice(&self, stream: &Relation) -> Option<String> {
        let (n, name) = (self.n_dead(), dead::name(&stream.name));
        (n > 0).then(|| format!("{n} bad record{} went to \"{name}\"", if n == 1 { "" } else { "s" }))
    }
}

/// Rules in the order in which they are judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Types, lengths, NOT NULL of what is given.
    Fit,
    /// Columns that are computed.
    Computed,
    /// CHECK.
    Check,
}

/// Rows that passed, in order, and those that did not.
#[derive(Default)]
struct Passed {
    batches: Vec<RecordBatch>,
    /// Which rows of what was judged.
    places: Vec<usize>,
    bad: Vec<(usize, Error)>,
}

impl Session {
    /// What becomes of bad records of a relation: what was wished, or what the stream says.
    pub fn on_error(&self, relation: &Relation, wished: Option<OnError>) -> Result<OnError> {
        on_error(&self.whole_catalog(), relation, wished)
    }

    /// Judges records by their relation's rules. Where bad ones are refused, the first one's error is the answer.
    pub(super) async fn sifted(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        intake: Intake,
        producer: Option<&ProducerSeq>,
    ) -> Result<Sifted> {
        let n_records = intake.n_records;
        if intake.on_error == OnError::Fail {
            let rows = rows::by_name(relation, &intake.rows)?;
            let rows = self.ruled(txn, relation, rows).await?;
            return Ok(Sifted { rows, letters: None, n_records });
        }
        let beside = dead::beside(&txn.catalog, relation).cloned();
        let beside = beside.ok_or_else(|| Error::conflict(format!("stream \"{}\" was changed meanwhile", relation.name)))?;
        let topic = beside.topic().ok_or_else(|| Error::internal("dead letters without a topic"))?;
        let (rows, more) = self.judged(txn, relation, &intake.rows, &intake.raws).await?;
        let mut all = intake.letters;
        all.extend(more);
        let letters = (!all.is_empty()).then(|| intake::letters(&beside, all, intake.door, producer)).transpose()?;
        if let Some(letters) = &letters {
            check_bytes(letters, self.core.config.limits.row_bytes)?;
        }
        Ok(Sifted { rows, letters: letters.map(|rows| (topic, rows)), n_records })
    }

    /// Rows at full width that fulfil all rules, and letters of those that do not.
    async fn judged(
        &mut self,
        txn: &mut Txn,
        relation: &Relation,
        given: &RecordBatch,
        raws: &[Raw],
    ) -> Result<(RecordBatch, Vec<DeadLetter>)> {
        // What is computed is NULL before it is.
        let mut bare = relation.clone();
        bare.columns.iter_mut().filter(|c| matches!(c.made, Made::Computed(_))).for_each(|c| c.not_null = false);
        let mut rows = given.clone();
        let mut places: Vec<usize> = (0..rows.num_rows()).collect();
        let mut letters = vec![];
        for rule in [Rule::Fit, Rule::Computed, Rule::Check] {
            let passed = self.halved(txn, if rule == Rule::Fit { &bare } else { relation }, rule, &rows).await?;
            for (at, error) in passed.bad {
                let raw = places.get(at).map(|row| raws.get(*row).cloned().unwrap_or_else(|| intake::raw_of(given, *row)));
                let raw = raw.ok_or_else(|| Error::internal("a bad row that nobody gave"))?;
                let column = error.column().map(str::to_owned);
                letters.push(DeadLetter { raw, error, column });
            }
            rows = concat_batches(&relation.schema(), &passed.batches).map_err(Error::arrow)?;
            places = passed.places.iter().filter_map(|at| places.get(*at).copied()).collect();
        }
        Ok((rows, letters))
    }

    async fn halved(&mut self, txn: &mut Txn, relation: &Relation, rule: Rule, rows: &RecordBatch) -> Result<Passed> {
        let mut passed = Passed::default();
        let mut parts = vec![(0, rows.num_rows())];
        while let Some((from, n)) = parts.pop() {
            if n == 0 {
                continue;
            }
            intake::check_room(passed.bad.len())?;
            // Here it hears that it is to end.
            tokio::task::yield_now().await;
            match self.by_rule(txn, relation, rule, rows.slice(from, n)).await {
                Ok((rows, broken)) => {
                    let mut bad = vec![false; n];
                    for (at, error) in broken {
                        if let Some(bad) = bad.get_mut(at) {
                            *bad = true;
                        }
                        passed.bad.push((from + at, error));
                    }
                    passed.places.extend((0..n).filter(|at| !bad[*at]).map(|at| from + at));
                    let kept = if bad.contains(&true) { intake::without(&rows, vec![], &bad)?.0 } else { rows };
                    passed.batches.push(kept);
                }
                Err(error) if !is_of_a_row(&error) => return Err(error),
                Err(error) if n == 1 => passed.bad.push((from, error)),
                Err(_) => parts.extend([(from + n / 2, n - n / 2), (from, n / 2)]),
            }
        }
        Ok(passed)
    }

    /// Rows that one rule lets pass, and rows that it breaks on one by one. An error is that of one of the rows, or of all.
    async fn by_rule(
        &mut self,
        txn: &mut Txn,
        relation: &Relation,
        rule: Rule,
        rows: RecordBatch,
    ) -> Result<(RecordBatch, Vec<(usize, Error)>)> {
        match rule {
            Rule::Fit => {
                let rows = fit_chars(relation, rows::by_name(relation, &rows)?)?;
                check_not_null(relation, &[], &rows)?;
                check_bytes(&rows, self.core.config.limits.row_bytes)?;
                Ok((rows, vec![]))
            }
            Rule::Computed if relation.columns.iter().any(|c| matches!(c.made, Made::Computed(_))) => {
                let rows = fit_chars(relation, self.computed(txn, relation, &rows).await?)?;
                check_not_null(relation, &[], &rows)?;
                Ok((rows, vec![]))
            }
            Rule::Computed => Ok((rows, vec![])),
            Rule::Check => {
                let broken = self.broken_checks(txn, relation, &rows).await?;
                Ok((rows, broken))
            }
        }
    }
}

impl Core {
    /// Puts what was sifted into a transaction: rows, letters, and how many records they are.
    pub(super) fn append_sifted(&self, txn: &mut Txn, relation: &Arc<Relation>, sifted: &Sifted) -> Result<()> {
        let (Kind::Stream { .. }, Some(topic)) = (&relation.kind, relation.topic()) else {
            return self.append_rows(txn, relation, sifted.rows.clone());
        };
        check_bytes(&sifted.rows, self.config.limits.row_bytes)?;
        self.append_stream(txn, relation, sifted.rows.clone())?;
        if let Some((topic, rows)) = &sifted.letters {
            txn.appends.push(Append { topic: *topic, partition: None, rows: rows.clone() });
        }
        txn.consume(topic, usize::try_from(sifted.n_records).unwrap_or(usize::MAX));
        Ok(())
    }
}

/// What becomes of bad records of a relation: what was wished, or what the stream says.
pub(super) fn on_error(catalog: &Catalog, relation: &Relation, wished: Option<OnError>) -> Result<OnError> {
    let of_stream = if dead::diverts(relation) { OnError::DeadLetter } else { OnError::Fail };
    let on_error = wished.unwrap_or(of_stream);
    if on_error == OnError::Fail || dead::beside(catalog, relation).is_some() {
        return Ok(on_error);
    }
    let message = format!("{} \"{}\" has no dead letters", relation.kind_name(), relation.name);
    let error = Error::invalid(code::WRONG_OBJECT, message);
    Err(match relation.kind {
        Kind::Stream { .. } => error.hint(format!("ALTER STREAM {} SET (on_error = 'dead_letter')", relation.name)),
        _ => error.hint("streams have them; what brings a bad row for a table is refused"),
    })
}

/// Refuses what would be written to dead letters by anybody but the doors.
pub(super) fn written_by_doors(relation: &Relation) -> Result<()> {
    if dead::of(relation).is_none() {
        return Ok(());
    }
    Err(not_writable(relation).hint("bad records of its stream go there by themselves"))
}

/// Whether it is a row's fault: data exceptions and violated constraints.
fn is_of_a_row(error: &Error) -> bool {
    error.sqlstate.starts_with("22") || error.sqlstate.starts_with("23")
}
