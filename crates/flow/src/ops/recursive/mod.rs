//! WITH RECURSIVE: the rows of a base and all that a step makes of them, kept up under insertions and retractions.
//!
//! ```text
//!   base ──▶ arrive at level 0 ─┐                      the lowest level that has changes is settled,
//!   tables ─▶ step ─▶ arrive ◀──┼── step ◀── settled   what changed of its rows goes through the step,
//!                 at level + 1  └──▶ pending levels    and arrives one level up
//! ```
//! Rows within the step carry their *level*: how many steps made them. So a derivation is known by the level it comes from, and a row
//! stands at the least level that has a derivation of it (UNION), or at every level, as often as it is derived there (UNION ALL).
//! That is differential dataflow's collection over (epoch, iteration), McSherry et al., "Differential Dataflow", CIDR 2013, with one
//! epoch open at a time; why it and not delete-and-rederive: `docs/rfcs/2026-11-26-recursion.md`.
//!
//! Invariants: a level is settled when nothing below it is pending, so all it rests on is final; what a level sends arrives above it; a
//! row's derivations are of lower levels than its own, so rows of a cycle never hold each other up. Between epochs nothing is
//! pending. Levels end at `limits.steps`: rows that stand beyond are errors, with a diff, and are not stepped further.
//! Cost: the rows whose level, or multiplicity, changes and what the step makes of them; not what is stored. All on one worker. The
//! end of an epoch is cut into calls of about 8,192 rows, so a recursion that goes on starves nobody.

mod all;
mod once;
mod step;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use regauge_plan::eval::EvalError;
use regauge_plan::flowplan::{FlowPlan, RecursionLimits};
use regauge_types::Delta;

use super::parts::{ROWS_MAX, batch, schema_of};
use crate::image::{Home, Image};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};
use all::All;
use once::Once;
use step::Step;

/// What rows of a recursion do with what arrives.
trait Rows: Send {
    /// Derivations: rows without their level, of these levels, with these diffs.
    fn arrive(&mut self, rows: Delta, levels: &[u32]) -> Result<(), FlowError>;
    /// Settles some of the lowest pending level: what changed, with its levels behind it; `None` when nothing is pending.
    fn settle(&mut self, out: &mut Out) -> Result<Option<Delta>, FlowError>;
    /// The lowest level that may still change.
    fn settling(&self) -> u32;
    /// Sends what the epoch has changed, as far as it was not sent by `settle`.
    fn send(&mut self, out: &mut Out) -> Result<Finish, FlowError>;
    /// Counters.
    fn stats(&self) -> OpStats;
    /// What it keeps between epochs, in images of parts below [`step::PARTS`].
    fn save(&self, to: &mut Vec<Image>) -> Result<(), FlowError>;
    /// Takes them in.
    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError>;
}

/// See the module's header.
pub struct Recursive {
    rows: Box<dyn Rows>,
    step: Step,
    schema: SchemaRef,
    /// The step has seen the end of its other inputs.
    begun: bool,
    rows_in: u64,
}

impl Recursive {
    /// Over a base of these types.
    pub fn new(
        plan: &FlowPlan,
        distinct: bool,
        limits: RecursionLimits,
        types: &[DataType],
        n_inputs: usize,
    ) -> Result<Self, FlowError> {
        let ends = Ends::of(limits);
        let rows: Box<dyn Rows> = if distinct { Box::new(Once::new(types, ends)?) } else { Box::new(All::new(types, ends)) };
        Ok(Recursive { rows, step: Step::new(plan, n_inputs)?, schema: schema_of(types), begun: false, rows_in: 0 })
    }

    /// What the step has made arrives.
    fn take(&mut self, made: &mut Out, out: &mut Out) -> Result<(), FlowError> {
        out.errors.append(&mut made.errors);
        for delta in made.deltas.drain(..) {
            let odd = || FlowError::Plan("a step's row without its level".into());
            let (level, columns) = delta.rows.columns().split_last().ok_or_else(odd)?;
            let level = level.as_primitive_opt::<Int64Type>().filter(|l| l.null_count() == 0).ok_or_else(odd)?;
            let next = |l: &i64| u32::try_from(l.checked_add(1)?).ok().filter(|l| *l > self.rows.settling());
            let levels: Option<Vec<u32>> = level.values().iter().map(next).collect();
            let levels = levels.ok_or_else(|| FlowError::Plan("a step goes down".into()))?;
            let rows = batch(&self.schema, columns.to_vec(), delta.n_rows())?;
            self.rows.arrive(delta.with_rows(rows), &levels)?;
        }
        Ok(())
    }
}

impl Operator for Recursive {
    fn push(&mut self, input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        let n = delta.n_rows();
        self.rows_in += n as u64;
        if n == 0 {
            return Ok(());
        }
        if input == 0 {
            let rows = batch(&self.schema, delta.rows.columns().to_vec(), n)?;
            return self.rows.arrive(delta.with_rows(rows), &vec![0; n]);
        }
        let mut made = Out::default();
        self.step.push(input, delta, &mut made)?;
        self.take(&mut made, out)
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        let mut made = Out::default();
        if !self.begun {
            self.begun = true;
            self.step.finish(&mut made)?;
            self.take(&mut made, out)?;
        }
        let mut n_rows = 0;
        while n_rows < ROWS_MAX {
            let Some(changed) = self.rows.settle(out)? else {
                let sent = self.rows.send(out)?;
                self.begun = sent == Finish::More;
                return Ok(sent);
            };
            // A level costs something even if nothing comes of it.
            n_rows += changed.n_rows() + 32;
            if !changed.is_empty() {
                self.step.push(0, changed, &mut made)?;
                self.step.finish(&mut made)?;
                self.take(&mut made, out)?;
            }
        }
        Ok(Finish::More)
    }

    fn routing(&self, _input: usize) -> Routing {
        Routing::One
    }

    fn stats(&self) -> OpStats {
        let (rows, step) = (self.rows.stats(), self.step.stats());
        OpStats {
            rows_in: self.rows_in,
            rows_out: rows.rows_out,
            touched: rows.touched + step.touched,
            state_rows: rows.state_rows + step.state_rows,
            state_bytes: rows.state_bytes + step.state_bytes,
            ..OpStats::default()
        }
    }

    fn save(&self, _home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        self.rows.save(to)?;
        self.step.save(to)
    }

    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        let (own, of_step): (Vec<&Image>, Vec<&Image>) = images.iter().copied().partition(|i| i.part < step::PARTS);
        self.rows.restore(&own)?;
        self.step.restore(&of_step)
    }
}

/// Where a recursion is given up.
#[derive(Debug, Clone, Copy)]
struct Ends {
    steps: u32,
    rows: u64,
}

impl Ends {
    fn of(limits: RecursionLimits) -> Ends {
        Ends { steps: u32::try_from(limits.steps).unwrap_or(u32::MAX).min(u32::MAX - 2), rows: limits.rows }
    }

    /// The error of a row that stands beyond the last level.
    fn beyond(&self) -> EvalError {
        EvalError::new("54000", format!("recursion did not end after {} steps", self.steps))
    }

    fn check(&self, n_rows: u64) -> Result<(), FlowError> {
        if n_rows > self.rows { Err(FlowError::Recursion { rows_max: self.rows }) } else { Ok(()) }
    }
}

/// Rows with a column of levels behind them.
fn leveled(schema: &SchemaRef, mut columns: Vec<ArrayRef>, levels: Vec<i64>, diffs: Vec<i64>) -> Result<Delta, FlowError> {
    let n = levels.len();
    columns.push(std::sync::Arc::new(Int64Array::from(levels)));
    let rows: RecordBatch = batch(schema, columns, n)?;
    Ok(if diffs.iter().all(|d| *d == 1) { Delta::ones(rows) } else { Delta::new(rows, Int64Array::from(diffs)) })
}

/// Types of rows with their level.
fn with_level(types: &[DataType]) -> SchemaRef {
    let types: Vec<DataType> = types.iter().cloned().chain([DataType::Int64]).collect();
    schema_of(&types)
}
