//! A plan's canonical bytes: what CREATE stores and the fingerprint names.
//!
//! One plan has exactly one encoding (`from_bytes(to_bytes(p)) == p`, and bytes that decode encode to themselves). The
//! table stands in `docs/formats.md`, chapter FlowPlan; a change of meaning takes a new [`FORMAT_VERSION`].

use std::collections::BTreeSet;

use regauge_types::{ColumnId, TopicId, VersionNo, ViewId};

use super::codec::{Bad, Reader, Writer};
use super::op::{AggCall, AggFunc, AsOfMatch, JoinKind, Op, OrderKey, SetOpKind};
use super::spread::Spread;
use super::window_bytes::{read_call, write_call};
use super::{FlowPlan, Node, OutputColumn, SourceId, ValidationError};

/// Fifth byte of the encoding.
pub const FORMAT_VERSION: u8 = 1;
const MAGIC: &[u8; 4] = b"RGFP";
/// Tag of a recursion.
const RECURSIVE: u8 = 41;

/// Why bytes are no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanBytesError {
    /// Not a plan at all.
    #[error("these bytes are not a plan")]
    NotAPlan,
    /// Written by a release that this one does not know.
    #[error("the plan's format is not known to this release version={version}")]
    Version {
        /// What the bytes say.
        version: u8,
    },
    /// Malformed.
    #[error("malformed plan: {what} offset={offset}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where, from the start of the bytes.
        offset: usize,
    },
    /// Well-formed, but no sound plan.
    #[error("unsound plan: {0}")]
    Invalid(#[from] ValidationError),
}

impl From<Bad> for PlanBytesError {
    fn from(b: Bad) -> Self {
        PlanBytesError::Malformed { what: b.what, offset: b.offset + MAGIC.len() + 1 }
    }
}

impl FlowPlan {
    /// The canonical encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Writer(MAGIC.to_vec());
        w.u8(FORMAT_VERSION);
        write_nodes(&mut w, &self.nodes);
        w.len(self.root);
        w.len(self.output.len());
        for c in &self.output {
            w.bytes(c.name.as_bytes());
            w.ty(&c.ty);
        }
        w.option(self.key.as_deref(), |w, k| w.positions(k));
        w.0
    }

    /// Reads and validates; never panics, whatever the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<FlowPlan, PlanBytesError> {
        FlowPlan::with_host_functions(bytes).map(|(plan, _)| plan)
    }

    /// The same, and the keys of the program's functions that it calls ([`crate::host`]).
    ///
    /// # Errors
    /// Those of [`FlowPlan::from_bytes`].
    pub fn with_host_functions(bytes: &[u8]) -> Result<(FlowPlan, BTreeSet<String>), PlanBytesError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(PlanBytesError::NotAPlan)?;
        let (&version, body) = rest.split_first().ok_or(PlanBytesError::NotAPlan)?;
        if version != FORMAT_VERSION {
            return Err(PlanBytesError::Version { version });
        }
        let mut r = Reader::new(body);
        let plan = read_plan(&mut r)?;
        if !r.is_empty() {
            r.bad("bytes after the end")?;
        }
        plan.validate()?;
        Ok((plan, r.host))
    }
}

fn write_nodes(w: &mut Writer, nodes: &[Node]) {
    w.len(nodes.len());
    for n in nodes {
        write_op(w, &n.op);
        w.positions(&n.inputs);
        w.len(n.types.len());
        n.types.iter().for_each(|t| w.ty(t));
        w.flag(n.append_only);
    }
}

/// Nodes; those of a step hold no further recursion, which bounds the depth of whatever bytes.
fn read_nodes(r: &mut Reader<'_>, of_step: bool) -> Result<Vec<Node>, Bad> {
    r.list(|r| {
        let op = match r.peek() {
            Some(RECURSIVE) if of_step => return r.bad("a recursion within a step"),
            Some(RECURSIVE) => read_recursive(r)?,
            _ => read_op(r)?,
        };
        Ok(Node { op, inputs: r.list(Reader::position)?, types: r.list(Reader::ty)?, append_only: r.flag()? })
    })
}

fn read_recursive(r: &mut Reader<'_>) -> Result<Op, Bad> {
    r.u8()?;
    let (distinct, limits) = super::recursive::read(r)?;
    let nodes = read_nodes(r, true)?;
    let step = Box::new(FlowPlan { nodes, root: r.position()?, output: vec![], key: None });
    Ok(Op::Recursive { step, distinct, limits })
}

fn read_plan(r: &mut Reader<'_>) -> Result<FlowPlan, Bad> {
    let nodes = read_nodes(r, false)?;
    let root = r.position()?;
    let output = r.list(|r| Ok(OutputColumn { name: r.string()?, ty: r.ty()? }))?;
    let key = r.option(|r| r.list(Reader::position))?;
    Ok(FlowPlan { nodes, root, output, key })
}

fn write_order(w: &mut Writer, order: &[OrderKey]) {
    w.len(order.len());
    for k in order {
        w.len(k.column);
        w.flag(k.descending);
        w.flag(k.nulls_first);
    }
}

fn read_order(r: &mut Reader<'_>) -> Result<Vec<OrderKey>, Bad> {
    r.list(|r| Ok(OrderKey { column: r.position()?, descending: r.flag()?, nulls_first: r.flag()? }))
}

fn write_op(w: &mut Writer, op: &Op) {
    match op {
        Op::Source { id, columns } => {
            w.u8(1);
            match id {
                SourceId::Topic(t) => {
                    w.u8(1);
                    w.u64(t.0.into());
                }
                SourceId::Version(v, n) => {
                    w.u8(2);
                    w.u64(v.0.into());
                    w.u64(n.0.into());
                }
                SourceId::Watermark(t) => {
                    w.u8(20);
                    w.u64(t.0.into());
                }
            }
            w.len(columns.len());
            columns.iter().for_each(|c| w.u64(c.0.into()));
        }
        Op::Rows { rows } => {
            w.u8(2);
            w.len(rows.len());
            for row in rows {
                w.len(row.len());
                row.iter().for_each(|v| w.value(v));
            }
        }
        Op::Map { filter, exprs } => {
            w.u8(3);
            w.option(filter.as_ref(), |w, s| w.scalar(s));
            w.option(exprs.as_ref(), |w, s| w.scalars(s));
        }
        Op::Join { kind, on, nulls_equal, residual } => {
            w.u8(4);
            w.u8(match kind {
                JoinKind::Inner => 1,
                JoinKind::Left => 2,
                JoinKind::Right => 3,
                JoinKind::Full => 4,
                JoinKind::LeftSemi => 5,
                JoinKind::LeftAnti => 6,
            });
            w.len(on.len());
            for (a, b) in on {
                w.len(*a);
                w.len(*b);
            }
            w.flag(*nulls_equal);
            w.option(residual.as_ref(), |w, s| w.scalar(s));
        }
        Op::Aggregate { keys, aggs } => {
            w.u8(5);
            w.positions(keys);
            w.len(aggs.len());
            aggs.iter().for_each(|a| write_agg(w, a));
        }
        Op::Distinct => w.u8(6),
        Op::TopK { partition, order, limit, offset, row_number } => {
            w.u8(7);
            w.positions(partition);
            write_order(w, order);
            w.u64(*limit);
            w.u64(*offset);
            w.flag(*row_number);
        }
        Op::Union => w.u8(8),
        Op::SetOp { kind, all } => {
            w.u8(9);
            w.u8(match kind {
                SetOpKind::Intersect => 1,
                SetOpKind::Except => 2,
            });
            w.flag(*all);
        }
        Op::Temporal { from, until, by } => {
            w.u8(32);
            for side in [from, until] {
                w.len(side.len());
                for (column, inclusive) in side {
                    w.len(*column);
                    w.flag(*inclusive);
                }
            }
            w.positions(by);
        }
        Op::AsOf { outer, on, moment, matching } => {
            w.u8(30);
            w.flag(*outer);
            w.len(on.len());
            for (a, b) in on.iter().chain([moment]) {
                w.len(*a);
                w.len(*b);
            }
            w.u8(match matching {
                AsOfMatch::AtOrBefore => 1,
                AsOfMatch::Before => 2,
                AsOfMatch::AtOrAfter => 3,
                AsOfMatch::After => 4,
            });
        }
        Op::Tumble { ts, size_us, offset_us } => {
            w.u8(10);
            w.len(*ts);
            w.i64(*size_us);
            w.i64(*offset_us);
        }
        Op::Hop { ts, slide_us, size_us, offset_us } => {
            w.u8(11);
            w.len(*ts);
            w.i64(*slide_us);
            w.i64(*size_us);
            w.i64(*offset_us);
        }
        Op::Window { partition, order, calls } => {
            w.u8(12);
            w.positions(partition);
            write_order(w, order);
            w.len(calls.len());
            calls.iter().for_each(|c| write_call(w, c));
        }
        Op::FlatMap { keep, lists, outer } => {
            w.u8(40);
            super::rows::write(w, keep, lists, *outer);
        }
        Op::Recursive { step, distinct, limits } => {
            w.u8(RECURSIVE);
            super::recursive::write(w, *distinct, *limits);
            write_nodes(w, &step.nodes);
            w.len(step.root);
        }
        Op::Given { input } => {
            w.u8(42);
            w.len(*input);
        }
        Op::Session { partition, ts, gap_us, on_close } => {
            w.u8(20);
            w.positions(partition);
            w.len(*ts);
            w.i64(*gap_us);
            w.flag(*on_close);
        }
        Op::Cumulate { ts, step_us, size_us, offset_us } => {
            w.u8(21);
            w.len(*ts);
            w.i64(*step_us);
            w.i64(*size_us);
            w.i64(*offset_us);
        }
        Op::Close { keys, aggs, key, plus_us } => {
            w.u8(22);
            w.positions(keys);
            w.len(aggs.len());
            aggs.iter().for_each(|a| write_agg(w, a));
            w.len(*key);
            w.i64(*plus_us);
        }
    }
}

fn read_op(r: &mut Reader<'_>) -> Result<Op, Bad> {
    Ok(match r.u8()? {
        1 => {
            let id = match r.u8()? {
                1 => SourceId::Topic(TopicId(number(r)?)),
                2 => SourceId::Version(ViewId(number(r)?), VersionNo(number(r)?)),
                20 => SourceId::Watermark(TopicId(number(r)?)),
                _ => return r.bad("unknown source"),
            };
            Op::Source { id, columns: r.list(|r| Ok(ColumnId(number(r)?)))? }
        }
        2 => Op::Rows { rows: r.list(|r| r.list(Reader::value))? },
        3 => Op::Map { filter: r.option(Reader::scalar)?, exprs: r.option(|r| r.list(Reader::scalar))? },
        4 => {
            let kind = match r.u8()? {
                1 => JoinKind::Inner,
                2 => JoinKind::Left,
                3 => JoinKind::Right,
                4 => JoinKind::Full,
                5 => JoinKind::LeftSemi,
                6 => JoinKind::LeftAnti,
                _ => return r.bad("unknown join"),
            };
            let on = r.list(|r| Ok((r.position()?, r.position()?)))?;
            Op::Join { kind, on, nulls_equal: r.flag()?, residual: r.option(Reader::scalar)? }
        }
        5 => Op::Aggregate { keys: r.list(Reader::position)?, aggs: r.list(read_agg)? },
        6 => Op::Distinct,
        7 => Op::TopK {
            partition: r.list(Reader::position)?,
            order: read_order(r)?,
            limit: r.u64()?,
            offset: r.u64()?,
            row_number: r.flag()?,
        },
        8 => Op::Union,
        9 => {
            let kind = match r.u8()? {
                1 => SetOpKind::Intersect,
                2 => SetOpKind::Except,
                _ => return r.bad("unknown set operation"),
            };
            Op::SetOp { kind, all: r.flag()? }
        }
        10 => Op::Tumble { ts: r.position()?, size_us: r.i64()?, offset_us: r.i64()? },
        11 => Op::Hop { ts: r.position()?, slide_us: r.i64()?, size_us: r.i64()?, offset_us: r.i64()? },
        12 => Op::Window { partition: r.list(Reader::position)?, order: read_order(r)?, calls: r.list(read_call)? },
        32 => {
            let mut side = || r.list(|r| Ok((r.position()?, r.flag()?)));
            let (from, until) = (side()?, side()?);
            Op::Temporal { from, until, by: r.list(Reader::position)? }
        }
        30 => {
            let outer = r.flag()?;
            let on = r.list(|r| Ok((r.position()?, r.position()?)))?;
            let moment = (r.position()?, r.position()?);
            let matching = match r.u8()? {
                1 => AsOfMatch::AtOrBefore,
                2 => AsOfMatch::Before,
                3 => AsOfMatch::AtOrAfter,
                4 => AsOfMatch::After,
                _ => return r.bad("unknown match"),
            };
            Op::AsOf { outer, on, moment, matching }
        }
        40 => {
            let (keep, lists, outer) = super::rows::read(r)?;
            Op::FlatMap { keep, lists, outer }
        }
        42 => Op::Given { input: r.position()? },
        20 => Op::Session { partition: r.list(Reader::position)?, ts: r.position()?, gap_us: r.i64()?, on_close: r.flag()? },
        21 => Op::Cumulate { ts: r.position()?, step_us: r.i64()?, size_us: r.i64()?, offset_us: r.i64()? },
        22 => Op::Close { keys: r.list(Reader::position)?, aggs: r.list(read_agg)?, key: r.position()?, plus_us: r.i64()? },
        _ => return r.bad("unknown operator"),
    })
}

/// An id of whatever width the types crate gives it.
fn number<T: TryFrom<u64>>(r: &mut Reader<'_>) -> Result<T, Bad> {
    let v = r.u64()?;
    T::try_from(v).or_else(|_| r.bad("id out of range"))
}

/// An aggregate's number.
pub(super) fn agg_tag(f: AggFunc) -> u8 {
    match f {
        AggFunc::Count => 1,
        AggFunc::Sum => 2,
        AggFunc::Avg => 3,
        AggFunc::Min => 4,
        AggFunc::Max => 5,
        AggFunc::BoolAnd => 6,
        AggFunc::BoolOr => 7,
        AggFunc::StringAgg => 8,
        AggFunc::ArrayAgg => 9,
        AggFunc::BitAnd => 40,
        AggFunc::BitOr => 41,
        AggFunc::BitXor => 42,
        AggFunc::PercentileCont => 43,
        AggFunc::PercentileDisc => 44,
        AggFunc::Mode => 45,
        AggFunc::Spread(s) => s.tag(),
    }
}

/// The aggregate of a number.
pub(super) fn agg_of(tag: u8) -> Option<AggFunc> {
    Some(match tag {
        1 => AggFunc::Count,
        2 => AggFunc::Sum,
        3 => AggFunc::Avg,
        4 => AggFunc::Min,
        5 => AggFunc::Max,
        6 => AggFunc::BoolAnd,
        7 => AggFunc::BoolOr,
        8 => AggFunc::StringAgg,
        9 => AggFunc::ArrayAgg,
        40 => AggFunc::BitAnd,
        41 => AggFunc::BitOr,
        42 => AggFunc::BitXor,
        43 => AggFunc::PercentileCont,
        44 => AggFunc::PercentileDisc,
        45 => AggFunc::Mode,
        tag => AggFunc::Spread(Spread::of_tag(tag)?),
    })
}

fn write_agg(w: &mut Writer, a: &AggCall) {
    w.u8(agg_tag(a.func));
    w.positions(&a.args);
    w.flag(a.distinct);
    w.option(a.filter, Writer::len);
    write_order(w, &a.order);
    w.ty(&a.output);
    if has_direct(a.func) {
        w.len(a.direct.len());
        a.direct.iter().for_each(|v| w.value(v));
    }
}

/// Whether constants are given directly.
fn has_direct(f: AggFunc) -> bool {
    matches!(f, AggFunc::PercentileCont | AggFunc::PercentileDisc)
}

fn read_agg(r: &mut Reader<'_>) -> Result<AggCall, Bad> {
    let Some(func) = agg_of(r.u8()?) else { return r.bad("unknown aggregate") };
    Ok(AggCall {
        func,
        args: r.list(Reader::position)?,
        distinct: r.flag()?,
        filter: r.option(Reader::position)?,
        order: read_order(r)?,
        output: r.ty()?,
        direct: if has_direct(func) { r.list(Reader::value)? } else { vec![] },
    })
}
