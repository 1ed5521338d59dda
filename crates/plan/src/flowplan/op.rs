//! The operators: for each one, what it makes of the multisets of rows that are its inputs.
//!
//! `m(r)` below is the multiplicity of row r. "Equal" between rows (distinct, set operations, group keys, ties) treats
//! NULL as equal to NULL, NaN as equal to NaN, -0 as equal to 0, `1 day` as equal to `24 hours`, jsonb `1` as equal to `1.0`.
//! Multisets of rows are by how a row is *shown*: an UPDATE of one equal value to another is a change. Nothing here depends on the order in which rows
//! arrived: where an order is left open the whole row decides.

use arrow::datatypes::DataType;
use regauge_types::ColumnId;
use regauge_types::key::KeyOrder;

use super::recursive::RecursionLimits;
use super::rows::RowsOf;
use super::spread::Spread;
use super::window::WindowCall;
use super::{FlowPlan, SourceId};
use crate::scalar::Scalar;
use crate::value::Value;

/// An operator on deltas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The rows of a topic or of a view's version, projected to these columns in this order (a column may be absent from
    /// old records: then its default). No inputs. Of a version the column ids are the positions of its output.
    Source {
        /// What is read.
        id: SourceId,
        /// Which columns, in output order. May be empty: rows without columns still have multiplicities.
        columns: Vec<ColumnId>,
    },
    /// Constant rows, each once per appearance (`VALUES`, `SELECT` without FROM). No inputs. They stand from the first epoch.
    Rows {
        /// Each as wide as the node's types.
        rows: Vec<Vec<Value>>,
    },
    /// One input. Keeps the rows for which `filter` is true (NULL drops the row), then computes `exprs` over the *input*
    /// row. `exprs: None` hands the row on as it is. Multiplicities carry over, and equal results add up. A row that fails in
    /// the filter yields an error and no row; columns are evaluated only for rows that passed.
    Map {
        /// A boolean over the input.
        filter: Option<Scalar>,
        /// The output columns over the input.
        exprs: Option<Vec<Scalar>>,
    },
    /// Two inputs, left and right. A pair (l, r) matches when for every `(a, b)` of `on` column a of l equals column b of r
    /// and `residual` over the concatenated row (l then r) is true. With `nulls_equal: false` a NULL on either side of a
    /// key pair matches nothing; with `true` NULL equals NULL. The types of a pair are equal. An empty `on` is a
    /// product: every pair meets, all on one worker; EXPLAIN warns of it. m(l, r) = m(l) * m(r).
    /// Output columns: l then r; for LeftSemi and LeftAnti l alone.
    Join {
        /// Which rows without a match are kept.
        kind: JoinKind,
        /// (left column, right column) pairs that must be equal.
        on: Vec<(usize, usize)>,
        /// Whether NULL keys match each other (IS NOT DISTINCT FROM).
        nulls_equal: bool,
        /// A further condition over l then r; part of the match, so an outer join keeps rows that fail it.
        residual: Option<Scalar>,
    },
    /// One input. Groups by the key columns (NULL is a group of its own). Output: the keys in this order, then one column per
    /// call. A group exists while its rows' multiplicities sum above 0, and has multiplicity 1. With no keys there is
    /// exactly one row, also over an empty input (count 0, the rest NULL), from the first epoch on.
    Aggregate {
        /// Columns of the input.
        keys: Vec<usize>,
        /// The calls.
        aggs: Vec<AggCall>,
    },
    /// One input. Every row with m > 0 has multiplicity 1.
    Distinct,
    /// One input. Within each partition (NULL is a partition of its own) rows stand in `order`; ties are broken by the
    /// whole row, columns ascending in position order with NULLs last; a row stands m times. Kept: positions
    /// `offset < p <= offset + limit`, counting from 1. With an empty partition there is one partition. With `row_number`
    /// a bigint column with p is appended (equal copies get different numbers).
    TopK {
        /// Columns that make the partition.
        partition: Vec<usize>,
        /// The order within it; may be empty (then the whole row is the order).
        order: Vec<OrderKey>,
        /// How many are kept; `u64::MAX` for all.
        limit: u64,
        /// How many are skipped first.
        offset: u64,
        /// Append the position.
        row_number: bool,
    },
    /// One input. Appends a column for each call with OVER. Within each partition (NULL is a partition of its own) rows stand in
    /// `order`; ties are broken by the whole row, columns ascending in position order with NULLs last, where a result depends on
    /// it; a row stands m times, and its copies may get different results. A row for which a call fails yields that error and no
    /// row (the leftmost call's).
    Window {
        /// Columns that make the partition; none: all rows are one.
        partition: Vec<usize>,
        /// The order within it; may be empty: then all rows are peers.
        order: Vec<OrderKey>,
        /// The calls.
        calls: Vec<WindowCall>,
    },
    /// One or more inputs of the same types: multiplicities add up (UNION ALL; UNION is Distinct over it).
    Union,
    /// Two inputs of the same types. Intersect: min(m1, m2) with `all`, otherwise 1 where both are > 0. Except: max(m1 - m2, 0)
    /// with `all`, otherwise 1 where m1 > 0 and m2 = 0.
    SetOp {
        /// Which one.
        kind: SetOpKind,
        /// Keep multiplicities.
        all: bool,
    },
    /// Two inputs, left and right. Each left row meets at most one right row: of those whose columns equal its own for every pair of
    /// `on` and whose moment stands to its own as `matching` says, the one nearest in time; of several at one moment the first by
    /// the whole row, columns ascending in position order with NULLs last. A NULL key or moment matches nothing. A left row without a
    /// match is kept with `outer`, right columns NULL. m(l, r) = m(l). Output columns: l then r.
    AsOf {
        /// Whether left rows without a match are kept.
        outer: bool,
        /// (left column, right column) pairs that must be equal; may be empty.
        on: Vec<(usize, usize)>,
        /// The moments: a left column and a right column of one type, any that has an order.
        moment: (usize, usize),
        /// Where the right moment stands.
        matching: AsOfMatch,
    },
    /// Two inputs: rows, and the commit clock (a source of `CLOCK_TOPIC`: one timestamptz; the greatest counts, and before any it is
    /// before everything). The rows for which every `from` has come and no `until` has passed, at the end of each epoch. Output columns: the
    /// rows'. A row of which one of these moments is NULL is never there.
    Temporal {
        /// Timestamptz columns of the rows, each `column <= clock` (true) or `column < clock` (false).
        from: Vec<(usize, bool)>,
        /// The same, each `clock <= column` (true) or `clock < column` (false).
        until: Vec<(usize, bool)>,
        /// Columns of the rows that a row is found by when it is taken back: its key, or all.
        by: Vec<usize>,
    },
    /// One input. Appends `window_start` and `window_end` (of the type of `ts`, a timestamp with or without time zone): the window
    /// `[start, start + size)` that holds ts, with start = offset + k * size, counted from 1970-01-01 00:00 (UTC). A row whose ts
    /// is NULL lies in no window and is dropped. A bound beyond the type's range is an error of the row (22008).
    Tumble {
        /// The event time's column.
        ts: usize,
        /// Width in microseconds, above 0.
        size_us: i64,
        /// Shift in microseconds, `0 <= offset < size`.
        offset_us: i64,
    },
    /// One input. As `Tumble`, once for every window `[start, start + size)` with start = offset + k * slide that holds ts. A row
    /// has about size / slide copies, at most [`super::types::MAX_HOP_WINDOWS`].
    Hop {
        /// The event time's column.
        ts: usize,
        /// Distance of window starts in microseconds, above 0.
        slide_us: i64,
        /// Width in microseconds, above 0.
        size_us: i64,
        /// Shift in microseconds, `0 <= offset < slide`.
        offset_us: i64,
    },
    /// One input. A row becomes as many rows as the longest of its lists has elements: its columns `keep`, then for each list the
    /// element of that place, NULL beyond the list's end. A list that is NULL has none. With `outer` a row whose lists have no element
    /// stands once, with NULLs. A list that cannot be made is an error of the row (the leftmost one's).
    FlatMap {
        /// Columns of the input.
        keep: Vec<usize>,
        /// At least one.
        lists: Vec<RowsOf>,
        /// Keep rows without elements.
        outer: bool,
    },
    /// The base, then the other inputs of the step: the rows of the base and all that `step` makes of them, of what it makes of those, and
    /// so on (`WITH RECURSIVE`). With `distinct` each row once, whatever made it (UNION); otherwise multiplicities add up over all
    /// levels (UNION ALL). A row that only more than `limits.steps` steps make is an error. See [`super::recursive`].
    Recursive {
        /// One step, over the rows with their level and the other inputs.
        step: Box<FlowPlan>,
        /// UNION.
        distinct: bool,
        /// When it is given up.
        limits: RecursionLimits,
    },
    /// Within a step: an input of the recursion. 0 are its rows, with their level as the last column.
    Given {
        /// Which.
        input: usize,
    },
    /// One input. As `Tumble` of `size`, but once for every window `[start, start + k * step)`, `0 < k * step <= size`, that holds
    /// ts: windows of one start that grow by `step` until they are `size` wide.
    Cumulate {
        /// The event time's column.
        ts: usize,
        /// By how much windows of one start differ, in microseconds, above 0; divides the size.
        step_us: i64,
        /// Width of the widest in microseconds; at most [`super::types::MAX_HOP_WINDOWS`] steps.
        size_us: i64,
        /// Shift in microseconds, `0 <= offset < size`.
        offset_us: i64,
    },
    /// Rows of each partition (NULL is a partition of its own) stand in sessions: a row stands in its predecessor's when its ts is
    /// less than that one's plus `gap`, else it begins one. Appends `window_start`, the least ts of its session, and `window_end`,
    /// the greatest plus `gap`, both of the type of ts. A row whose ts is NULL is dropped; one whose ts + gap is beyond the type's
    /// range is an error of the row (22008) and stands in no session.
    /// One input; with `on_close` further ones, each a watermark ([`SourceId::Watermark`]): then a row goes out once, when all
    /// watermarks have reached the end of its session, and is forgotten. Sound only where no row comes later whose ts lies below them.
    Session {
        /// Columns that make the partition.
        partition: Vec<usize>,
        /// The event time's column.
        ts: usize,
        /// In microseconds, above 0.
        gap_us: i64,
        /// Rows of closed sessions only.
        on_close: bool,
    },
    /// As `Aggregate`, of closed groups only: `key` is the place of a timestamp among the keys, and a group's row goes out once, when
    /// all watermarks have reached that key's value plus `plus_us`; then the group is forgotten. The first input are the rows, the
    /// further ones watermarks ([`SourceId::Watermark`]). Sound only where no row of the group comes later.
    Close {
        /// Columns of the first input; at least one.
        keys: Vec<usize>,
        /// The calls.
        aggs: Vec<AggCall>,
        /// Which of the keys says when a group closes; never NULL.
        key: usize,
        /// How long after it, in microseconds, not negative.
        plus_us: i64,
    },
}

/// Which rows a join keeps besides matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinKind {
    /// Matches only.
    Inner,
    /// And left rows without a match, m(l) times, right columns NULL.
    Left,
    /// And right rows without a match, left columns NULL.
    Right,
    /// Both.
    Full,
    /// Left rows with at least one match, m(l) times, left columns only.
    LeftSemi,
    /// Left rows without a match, m(l) times, left columns only. With `nulls_equal: false` a left row with a NULL key
    /// has no match and is kept (NOT EXISTS).
    LeftAnti,
}

/// Which right moment an as-of join looks for, seen from the left row's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsOfMatch {
    /// The last at or before it (`r <= l`).
    AtOrBefore,
    /// The last before it (`r < l`).
    Before,
    /// The first at or after it (`r >= l`).
    AtOrAfter,
    /// The first after it (`r > l`).
    After,
}

/// INTERSECT or EXCEPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetOpKind {
    /// INTERSECT
    Intersect,
    /// EXCEPT
    Except,
}

/// One aggregate call of an [`Op::Aggregate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggCall {
    /// Which function.
    pub func: AggFunc,
    /// Columns of the input; see [`AggFunc`] for how many.
    pub args: Vec<usize>,
    /// DISTINCT: each distinct argument tuple counts once (multiplicity 1).
    pub distinct: bool,
    /// FILTER: a boolean column; only rows where it is true take part.
    pub filter: Option<usize>,
    /// ORDER BY within the call (string_agg, array_agg); ties are broken by the arguments, ascending, NULLs last. The one order of
    /// WITHIN GROUP (percentile_cont, percentile_disc, mode), whose column is the argument.
    pub order: Vec<OrderKey>,
    /// Constants given directly: the fractions of percentile_cont and percentile_disc, double precision, NULL or from 0 to 1. With
    /// a list as output all of them, otherwise one.
    pub direct: Vec<Value>,
    /// The result's type.
    pub output: DataType,
}

/// The aggregate functions. All but Count and ArrayAgg ignore rows whose (first) argument is NULL and give NULL when
/// nothing took part. A row of multiplicity m takes part m times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggFunc {
    /// No argument: rows. One argument: rows where it is not NULL. Several: rows where not all are NULL... planned only
    /// with at most one, except DISTINCT over several which the planner refuses. Result bigint.
    Count,
    /// Exact sum: int2/int4 -> bigint, bigint -> numeric(38,0), numeric(p,s) -> numeric(38,s), float4/8 -> itself by an exact,
    /// order-free accumulator, interval -> itself. Out of range is an error of the group (22003, 22008).
    Sum,
    /// sum / count: integers and numerics -> numeric(38,16) rounded half away from zero, floats -> double, interval -> itself.
    Avg,
    /// The least; text as C, NaN above all floats.
    Min,
    /// The greatest.
    Max,
    /// AND of booleans.
    BoolAnd,
    /// OR of booleans.
    BoolOr,
    /// Two arguments: text and separator (the separator of the first row in order is not used; NULL separates by
    /// nothing). Rows stand in `order`.
    StringAgg,
    /// One argument, NULLs included; a list in `order`. NULL when no row took part.
    ArrayAgg,
    /// AND of an integer's bits.
    BitAnd,
    /// OR of them.
    BitOr,
    /// Exclusive OR of them.
    BitXor,
    /// Variances, correlation, regression.
    Spread(Spread),
    /// The value at a fraction of the rows in `order`, between two rows by linear interpolation: double precision or interval.
    PercentileCont,
    /// The first value in `order` whose position reaches the fraction of the rows.
    PercentileDisc,
    /// The most frequent value, of several the first in `order`.
    Mode,
}

impl AggFunc {
    /// PostgreSQL's name.
    pub fn name(self) -> &'static str {
        match self {
            AggFunc::Count => "count",
            AggFunc::Sum => "sum",
            AggFunc::Avg => "avg",
            AggFunc::Min => "min",
            AggFunc::Max => "max",
            AggFunc::BoolAnd => "bool_and",
            AggFunc::BoolOr => "bool_or",
            AggFunc::StringAgg => "string_agg",
            AggFunc::ArrayAgg => "array_agg",
            AggFunc::BitAnd => "bit_and",
            AggFunc::BitOr => "bit_or",
            AggFunc::BitXor => "bit_xor",
            AggFunc::Spread(s) => s.name(),
            AggFunc::PercentileCont => "percentile_cont",
            AggFunc::PercentileDisc => "percentile_disc",
            AggFunc::Mode => "mode",
        }
    }

    /// How many arguments it takes; count takes one or none.
    pub fn n_args(self) -> usize {
        match self {
            AggFunc::StringAgg => 2,
            AggFunc::Spread(s) => s.n_args(),
            _ => 1,
        }
    }

    /// Whether it looks at its rows in the order of WITHIN GROUP.
    pub fn is_ordered_set(self) -> bool {
        matches!(self, AggFunc::PercentileCont | AggFunc::PercentileDisc | AggFunc::Mode)
    }
}

/// One key of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OrderKey {
    /// The input's column.
    pub column: usize,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST. (SQL's default, NULLs last for ASC and first for DESC, is resolved by the planner.)
    pub nulls_first: bool,
}

impl OrderKey {
    /// How a key orders by it.
    pub fn key(&self) -> KeyOrder {
        KeyOrder { descending: self.descending, nulls_first: self.nulls_first, exact: false }
    }
}
