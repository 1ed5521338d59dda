//! Accumulators: what an aggregate keeps of each group, in plain columns indexed by the group's id.
//!
//! Contract. `update` adds rows with diffs; the state is a function of the multiset of rows in the group, never of their order,
//! so a retraction undoes an insertion exactly, and batches of one epoch may come in any order (counts may be negative in
//! between). NULL arguments and rows that fail FILTER were taken out before, except for array_agg, which keeps NULLs. `values`
//! reads without changing anything; a value that does not exist (overflow) is an error of its group, and heals when the cause
//! is retracted.

mod bools;
mod dedup;
mod extreme;
mod kept;
mod lists;
mod ordered_set;
mod sums;
mod total;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use regauge_plan::eval::EvalError;
use regauge_plan::flowplan::{AggCall, AggFunc};
use regauge_plan::functions::kept::Keeper;
use regauge_state::Segments;
use std::sync::Arc;

use crate::image::{Tables, int64, table};
use crate::operator::FlowError;

/// Rows for one accumulator; all slices and arrays have the same length.
pub(super) struct Rows<'a> {
    /// The group of each row.
    pub groups: &'a [u32],
    /// The call's arguments, then its ORDER BY columns.
    pub args: &'a [ArrayRef],
    /// Diffs; `None` is +1 each.
    pub diffs: Option<&'a [i64]>,
}

impl Rows<'_> {
    /// The diff of a row.
    #[inline]
    pub(super) fn diff(&self, row: usize) -> i64 {
        self.diffs.map_or(1, |d| d[row])
    }
}

/// One value a group, NULL where there is none, and errors by position.
pub(super) type Values = (ArrayRef, Vec<(usize, EvalError)>);

/// State of one aggregate call for all groups. See the module's header.
pub(super) trait Accumulator: Send {
    /// Makes room for ids below `n_ids`.
    fn resize(&mut self, n_ids: usize);
    /// Adds rows.
    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError>;
    /// The call's value in each of `groups`.
    fn values(&self, groups: &[u32]) -> Result<Values, FlowError>;
    /// From now on groups are cleared that still have rows; their rows only come.
    fn closes(&mut self) {}
    /// Until the second call, with `false`, groups are cleared that still have rows: what is restored is replaced.
    fn recalls(&mut self, _on: bool) -> Result<(), FlowError> {
        Ok(())
    }
    /// Forgets a group that has no rows any more.
    fn clear(&mut self, group: u32) -> Result<(), FlowError>;
    /// An epoch has ended.
    fn settle(&mut self) {}
    /// Appends what it keeps of some groups, for each piece of them apart: tables that name groups by their places in the piece.
    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError>;
    /// Reads what [`Accumulator::save`] wrote of one piece, for groups that have these ids now and are empty.
    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError>;
    /// Whether each table that it saves has a row for each group, in order.
    fn is_flat(&self) -> bool {
        true
    }
    /// Bytes of memory held.
    fn n_bytes(&self) -> usize;
}

/// Appends a table for each piece.
fn each(
    pieces: &[&[u32]],
    to: &mut [Vec<RecordBatch>],
    make: impl Fn(&[u32]) -> Result<RecordBatch, FlowError>,
) -> Result<(), FlowError> {
    pieces.iter().zip(to).try_for_each(|(groups, to)| {
        to.push(make(groups)?);
        Ok(())
    })
}

/// The accumulator of a call over arguments of these types (then the types of its ORDER BY columns).
pub(super) fn accumulator(call: &AggCall, args: &[DataType], append_only: bool) -> Result<Box<dyn Accumulator>, FlowError> {
    let first = args.first().cloned().unwrap_or(DataType::Null);
    // MIN and MAX do not change by DISTINCT; under DISTINCT the inner accumulator sees values appear and vanish.
    let distinct = call.distinct && !call.args.is_empty() && !matches!(call.func, AggFunc::Min | AggFunc::Max);
    let keeper = Keeper::new(call.func, &args[..call.args.len().min(args.len())], &call.output);
    if let Some(keeper) = keeper {
        let states: Box<dyn Accumulator> = Box::new(kept::States::new(keeper));
        return if distinct { Ok(Box::new(dedup::Dedup::new(states, call.args.len(), args)?)) } else { Ok(states) };
    }
    let inner: Box<dyn Accumulator> = match call.func {
        AggFunc::Count => Box::new(Count::default()),
        AggFunc::Sum | AggFunc::Avg => total::total(call.func == AggFunc::Avg, &first, &call.output)?,
        AggFunc::Min | AggFunc::Max => extreme::extreme(call.func == AggFunc::Max, &first, append_only)?,
        AggFunc::BoolAnd | AggFunc::BoolOr => Box::new(bools::Bools::new(call.func == AggFunc::BoolAnd)),
        AggFunc::StringAgg | AggFunc::ArrayAgg => Box::new(lists::Lists::new(call, args)?),
        AggFunc::PercentileCont | AggFunc::PercentileDisc | AggFunc::Mode => {
            Box::new(ordered_set::OrderedSet::new(call, &first)?)
        }
        AggFunc::BitAnd | AggFunc::BitOr | AggFunc::BitXor | AggFunc::Spread(_) => {
            return Err(FlowError::Plan(format!("{} over type {first}", call.func.name())));
        }
    };
    if distinct { Ok(Box::new(dedup::Dedup::new(inner, call.args.len(), args)?)) } else { Ok(inner) }
}

/// count(x), and count(*) with a filter: the sum of the diffs. A plain count(*) needs none: it is the number of the group's rows.
#[derive(Debug, Default)]
struct Count {
    counts: Segments<i64>,
}

impl Accumulator for Count {
    fn resize(&mut self, n_ids: usize) {
        self.counts.grow(n_ids, 0);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        match rows.diffs {
            None => rows.groups.iter().for_each(|g| self.counts[*g as usize] += 1),
            Some(diffs) => rows.groups.iter().zip(diffs).for_each(|(g, d)| self.counts[*g as usize] += d),
        }
        Ok(())
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        let values: Int64Array = groups.iter().map(|g| self.counts[*g as usize]).collect::<Vec<i64>>().into();
        Ok((Arc::new(values), Vec::new()))
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.counts[group as usize] = 0;
        Ok(())
    }

    fn n_bytes(&self) -> usize {
        self.counts.n_bytes()
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        each(pieces, to, |groups| table(vec![int64(groups.iter().map(|g| self.counts[*g as usize]))], groups.len()))
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        let [counts] = from.numbers()?;
        groups.iter().zip(counts).for_each(|(g, n)| self.counts[*g as usize] = n);
        Ok(())
    }
}
