//! Functions with OVER, computed in columns: rows sorted by partition and order come in, one column a call comes out.
//!
//! ```text
//!   rows    a1 a2 a2 a3 | b1 | c1 c1            parts  0 4 5 7
//!           peers ─┘                            peers  0 1 3 4 5 7      (first rows of the groups; a part starts one)
//! ```
//! Views maintain partitions by it and plain SELECTs run through it, so that both give the same rows, types and errors.
//! Invariant: a result depends on its partition alone. Cost: O(n) for numbers, counts, exact sums and values; O(n log n) for
//! min and max of frames that do not start with the partition; sums of floats move with the frame. It does not know how rows
//! were sorted, nor where they come from.

mod extreme;
mod frame;
mod kept;
mod list;
mod number;
mod places;
mod total;
mod value;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use crate::flowplan::{AggFunc, Arg, Frame, OrderKey, WindowCall, WindowFunc};
use crate::functions::{EvalError, EvalResult};
use frame::Frames;
pub use places::{boundaries, starts};

/// Rows in order. See the module's header.
#[derive(Debug)]
pub struct Sorted<'a> {
    /// The input's columns.
    pub columns: &'a [ArrayRef],
    /// The first row of each part, ascending from 0, then the number of rows.
    pub parts: &'a [usize],
    /// What stands before each part where it is the rear of a partition: for functions that number rows.
    pub before: Option<&'a [Before]>,
}

/// What of a partition stands before a part of it that starts with a group of peers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// Rows.
    pub rows: usize,
    /// Groups of peers.
    pub groups: usize,
}

/// A column of results, and the rows that have none.
pub type Computed = (ArrayRef, Vec<(usize, EvalError)>);

/// What calls give.
#[derive(Debug)]
pub struct Evaluated {
    /// A column for each call.
    pub columns: Vec<ArrayRef>,
    /// Rows without results, ascending, each with the leftmost call's error.
    pub errors: Vec<(usize, EvalError)>,
}

/// The calls over rows in order.
///
/// # Errors
/// When the calls do not fit the columns; never by what the columns hold.
pub fn evaluate(calls: &[WindowCall], order: &[OrderKey], rows: &Sorted<'_>) -> EvalResult<Evaluated> {
    let n = rows.parts.last().copied().unwrap_or(0);
    if u32::try_from(n).is_err() {
        return Err(EvalError::new("54000", format!("too many rows in window functions n={n}")));
    }
    let places = places::Places::new(rows, order, n)?;
    let no_frame = Frames::none(&places);
    let mut frames: Vec<(&Frame, Frames<'_>)> = vec![];
    for call in calls.iter().filter(|c| c.func.looks_at_frame()) {
        if frames.iter().all(|(f, _)| *f != &call.frame) {
            frames.push((&call.frame, Frames::new(&call.frame, order, rows.columns, &places)?));
        }
    }
    let (mut columns, mut errors) = (Vec::with_capacity(calls.len()), vec![]);
    for call in calls {
        let known = frames.iter().find(|(f, _)| call.func.looks_at_frame() && *f == &call.frame);
        let frame = known.map_or(&no_frame, |(_, frame)| frame);
        let (column, failed) = one(call, rows, &places, frame, n)?;
        columns.push(column);
        errors.extend(failed);
        errors.extend(frame.errors.iter().cloned());
    }
    // stable: of a row's errors the leftmost call's is first
    errors.sort_by_key(|(row, _)| *row);
    errors.dedup_by_key(|(row, _)| *row);
    Ok(Evaluated { columns, errors })
}

fn one(call: &WindowCall, rows: &Sorted<'_>, places: &places::Places, frame: &Frames<'_>, n: usize) -> EvalResult<Computed> {
    let arg = |i: usize| argument(call, i, rows.columns, n);
    match call.func {
        WindowFunc::RowNumber | WindowFunc::Rank | WindowFunc::DenseRank | WindowFunc::PercentRank | WindowFunc::CumeDist => {
            Ok((number::number(call.func, places), vec![]))
        }
        WindowFunc::Ntile => number::ntile(&arg(0)?, places),
        WindowFunc::Lag | WindowFunc::Lead => {
            let offset = if call.args.len() > 1 { Some(arg(1)?) } else { None };
            let default = if call.args.len() > 2 { Some(arg(2)?) } else { None };
            value::neighbour(call.func == WindowFunc::Lag, &arg(0)?, offset.as_ref(), default.as_ref(), places)
        }
        WindowFunc::FirstValue => value::first(&arg(0)?, frame, n),
        WindowFunc::LastValue => value::last(&arg(0)?, frame, n),
        WindowFunc::NthValue => value::nth(&arg(0)?, &arg(1)?, frame, n),
        WindowFunc::Agg(f) => {
            let args = (0..call.args.len()).map(arg).collect::<EvalResult<Vec<_>>>()?;
            let filter = match call.filter {
                Some(f) => Some(column(rows.columns, f)?),
                None => None,
            };
            aggregate(f, call, &args, filter, frame, n)
        }
    }
}

fn aggregate(
    f: AggFunc,
    call: &WindowCall,
    args: &[ArrayRef],
    filter: Option<&ArrayRef>,
    frame: &Frames<'_>,
    n: usize,
) -> EvalResult<Computed> {
    let nulls = args.first().filter(|_| f != AggFunc::ArrayAgg);
    let part = TakingPart::new(nulls, filter, n)?;
    let first = || args.first().ok_or_else(|| EvalError::internal("an aggregate without argument"));
    match f {
        AggFunc::Count => Ok((total::count(&part, frame, n), vec![])),
        AggFunc::Sum | AggFunc::Avg if !matches!(call.output, DataType::Interval(_)) => {
            total::total(f == AggFunc::Avg, first()?, &call.output, &part, frame, n)
        }
        AggFunc::BoolAnd | AggFunc::BoolOr => Ok((total::bools(f == AggFunc::BoolAnd, first()?, &part, frame, n)?, vec![])),
        AggFunc::Min | AggFunc::Max => Ok((extreme::extreme(f == AggFunc::Max, first()?, &part, frame, n)?, vec![])),
        AggFunc::StringAgg => {
            let [text, separator] = args else { return Err(EvalError::internal("string_agg takes two arguments")) };
            Ok((list::strings(text, separator, &part, frame, n)?, vec![]))
        }
        AggFunc::ArrayAgg => Ok((list::arrays(first()?, &call.output, &part, frame, n)?, vec![])),
        AggFunc::Sum | AggFunc::Avg | AggFunc::BitAnd | AggFunc::BitOr | AggFunc::BitXor | AggFunc::Spread(_) => {
            kept::kept(call, f, args, &part, frame, n)
        }
        AggFunc::PercentileCont | AggFunc::PercentileDisc | AggFunc::Mode => {
            Err(EvalError::internal("no window function is an ordered-set aggregate"))
        }
    }
}

fn column(columns: &[ArrayRef], i: usize) -> EvalResult<&ArrayRef> {
    columns.get(i).ok_or_else(|| EvalError::internal("a window function's column is out of bounds"))
}

/// An argument as a column.
fn argument(call: &WindowCall, i: usize, columns: &[ArrayRef], n: usize) -> EvalResult<ArrayRef> {
    match call.args.get(i) {
        Some(Arg::Column(c)) => column(columns, *c).cloned(),
        Some(Arg::Constant(v)) => v.to_array(n).ok_or_else(|| EvalError::internal("constant does not fit its type")),
        None => Err(EvalError::internal("a window function lacks an argument")),
    }
}

/// Which rows an aggregate sees: those that pass its FILTER and whose first argument is not NULL.
struct TakingPart(Option<Vec<bool>>);

impl TakingPart {
    fn new(nulls: Option<&ArrayRef>, filter: Option<&ArrayRef>, n: usize) -> EvalResult<TakingPart> {
        let nulls = nulls.filter(|a| a.null_count() > 0 || *a.data_type() == DataType::Null);
        if nulls.is_none() && filter.is_none() {
            return Ok(TakingPart(None));
        }
        let filter =
            filter.map(|f| f.as_boolean_opt().ok_or_else(|| EvalError::internal("a filter is no boolean"))).transpose()?;
        let valid = |row: usize| nulls.is_none_or(|a| *a.data_type() != DataType::Null && a.is_valid(row));
        let passes = |row: usize| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        Ok(TakingPart(Some((0..n).map(|row| valid(row) && passes(row)).collect())))
    }

    #[inline]
    fn has(&self, row: usize) -> bool {
        self.0.as_ref().is_none_or(|all| all[row])
    }
}

/// A row's position as an index of arrow's.
#[inline]
fn index(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}
