//! Calls with OVER, as a plan carries them: the function, its arguments, and the frame of rows it looks at.
//!
//! Rows of a partition stand in the operator's order; rows that tie in it are *peers*. A frame is a stretch of the partition that
//! goes with the current row; [`Exclude`] takes rows around the current one out of it again. Functions that number rows do not
//! look at their frame.

use arrow::datatypes::DataType;

use super::op::AggFunc;
use crate::value::Value;

/// One call of an [`Op::Window`](super::Op::Window).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowCall {
    /// Which function.
    pub func: WindowFunc,
    /// Its arguments; see [`WindowFunc`] for how many.
    pub args: Vec<Arg>,
    /// FILTER, for aggregates alone: a boolean column; only rows where it is true take part.
    pub filter: Option<usize>,
    /// The rows it looks at.
    pub frame: Frame,
    /// The result's type.
    pub output: DataType,
}

/// An argument: known before any row, or of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// A column of the input.
    Column(usize),
    /// The same for every row.
    Constant(Value),
}

/// The functions. Those from Lag on give values of the rows they name, NULLs included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowFunc {
    /// The position in the partition from 1; equal copies get different numbers. bigint, as the next two.
    RowNumber,
    /// The position of the first peer.
    Rank,
    /// The number of the group of peers, from 1.
    DenseRank,
    /// (rank - 1) / (rows - 1), 0 for a lone row. double precision, as the next.
    PercentRank,
    /// Rows up to the last peer / rows.
    CumeDist,
    /// One argument, integer: the number, from 1, of the part when the partition is cut into so many parts as equal as can be,
    /// the longer ones first. Read from the first row where it is not NULL; NULL before. Below 1 is an error (22014). integer.
    Ntile,
    /// Value, then perhaps an integer offset (1), then perhaps a default: the value of the row so many before, the default of the
    /// current row where there is none. NULL when the offset is.
    Lag,
    /// The same, after.
    Lead,
    /// The value of the frame's first row, NULL when it is empty.
    FirstValue,
    /// Of its last.
    LastValue,
    /// Value and an integer n: of its n-th, from 1. NULL when n is or there are fewer; n below 1 is an error (22016).
    NthValue,
    /// An aggregate over the frame's rows, in the partition's order.
    Agg(AggFunc),
}

impl WindowFunc {
    /// PostgreSQL's name.
    pub fn name(self) -> &'static str {
        match self {
            WindowFunc::RowNumber => "row_number",
            WindowFunc::Rank => "rank",
            WindowFunc::DenseRank => "dense_rank",
            WindowFunc::PercentRank => "percent_rank",
            WindowFunc::CumeDist => "cume_dist",
            WindowFunc::Ntile => "ntile",
            WindowFunc::Lag => "lag",
            WindowFunc::Lead => "lead",
            WindowFunc::FirstValue => "first_value",
            WindowFunc::LastValue => "last_value",
            WindowFunc::NthValue => "nth_value",
            WindowFunc::Agg(f) => f.name(),
        }
    }

    /// How many arguments it may have, from and to.
    pub fn n_args(self) -> (usize, usize) {
        match self {
            WindowFunc::RowNumber | WindowFunc::Rank | WindowFunc::DenseRank | WindowFunc::PercentRank | WindowFunc::CumeDist => {
                (0, 0)
            }
            WindowFunc::Ntile | WindowFunc::FirstValue | WindowFunc::LastValue => (1, 1),
            WindowFunc::Lag | WindowFunc::Lead => (1, 3),
            WindowFunc::NthValue => (2, 2),
            WindowFunc::Agg(AggFunc::Count) => (0, 1),
            WindowFunc::Agg(f) => (f.n_args(), f.n_args()),
        }
    }

    /// Whether its result depends on the frame.
    pub fn looks_at_frame(self) -> bool {
        matches!(self, WindowFunc::FirstValue | WindowFunc::LastValue | WindowFunc::NthValue | WindowFunc::Agg(_))
    }
}

/// From one bound to the other, both included; empty when the first lies behind the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What offsets and the current row count in.
    pub units: Units,
    /// Never [`Bound::UnboundedFollowing`].
    pub start: Bound,
    /// Never [`Bound::UnboundedPreceding`].
    pub end: Bound,
    /// What is taken out again.
    pub exclude: Exclude,
}

impl Default for Frame {
    /// RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW; without an order all rows are peers, so that is the partition.
    fn default() -> Self {
        Frame { units: Units::Range, start: Bound::UnboundedPreceding, end: Bound::CurrentRow, exclude: Exclude::NoOthers }
    }
}

/// What a frame counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Units {
    /// Single rows.
    Rows,
    /// Differences of the one order column; the current row stands for all its peers.
    Range,
    /// Groups of peers.
    Groups,
}

/// An end of a frame. Offsets are not NULL and not negative: a bigint for rows and groups; for a range what is added to the order
/// column: bigint for integers, numeric of the column's scale, double precision for floats, interval for dates and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// The partition's start.
    UnboundedPreceding,
    /// So much before the current row.
    Preceding(Value),
    /// The current row (rows), its first or last peer (range, groups).
    CurrentRow,
    /// So much after it.
    Following(Value),
    /// The partition's end.
    UnboundedFollowing,
}

/// Rows around the current one that are not of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exclude {
    /// None.
    NoOthers,
    /// The current row.
    CurrentRow,
    /// It and its peers.
    Group,
    /// Its peers, but not itself.
    Ties,
}
