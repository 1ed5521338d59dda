//! EMIT FINAL: which plans can say that a row is final, and what they become.
//!
//! ```text
//!   Map ─ Aggregate keys=[.., window_end] ─ Map ─ TUMBLE | HOP | CUMULATE | SESSION over ts ─ Map ─ streams WHERE NOT _late
//!         │                                       │                                                 │ WATERMARK FOR ts
//!         └▶ Close: a group goes out once all watermarks have reached its end                       └▶ Watermark, beside each
//!                                                 └▶ sessions: only closed ones go on
//! ```
//! The proof: a record of a stream that is not late has a time at or above its partition's watermark, so at or above the least one, L. A
//! window [start, end) with end <= L gets none any more: no later record lies in it, nor, since sessions of records a gap apart
//! are two, does it lengthen a session that ends there. So a group whose key fixes such an end is complete, its row is final, and
//! nothing of it need be kept. Whatever stands between that would mix groups, or records of relations that can change, is refused
//! with what to write instead. The watermark at an epoch is a function of the log's prefix, so the rows are, too.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DataType, TimeUnit};
use regauge_types::{ColumnId, TopicId};

use super::Result;
use crate::error::PlanError;
use crate::flowplan::{FlowPlan, Node, Op, SourceId};
use crate::scalar::Scalar;

/// The time column of each stream that has a watermark.
pub(crate) type Clocks = BTreeMap<TopicId, ColumnId>;

/// A window's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Start,
    End,
}

/// What was proven.
struct Proof {
    /// The node that groups.
    group: usize,
    /// Its keys.
    keys: Vec<usize>,
    /// Which of them says when a group closes, and how long after it.
    key: usize,
    plus_us: i64,
    /// The node of the windows.
    window: usize,
    topics: BTreeSet<TopicId>,
}

/// The plan that sends final rows only, if that can be proven.
pub(super) fn last(plan: &FlowPlan, clocks: &Clocks, without_late: bool) -> Result<FlowPlan> {
    if !without_late {
        return Err(refused(
            "late records would still change the rows",
            "write WITH (late = 'divert') or WITH (late = 'drop') after the view's name",
        ));
    }
    rewritten(plan, &prove(plan, clocks)?)
}

fn refused(why: &str, hint: &str) -> PlanError {
    PlanError::unsupported(format!("EMIT FINAL is not possible: {why}"), hint)
}

const GROUP: &str = "write SELECT .., window_end, count(*) FROM TUMBLE(stream, time, INTERVAL '1 hour') GROUP BY .., window_start, window_end; \
                     what is to be joined, sorted or grouped further goes into a view over that one";

fn node(plan: &FlowPlan, at: usize) -> Result<&Node> {
    plan.nodes.get(at).ok_or_else(|| PlanError::internal("a plan without the node that it names"))
}

fn only_input(node: &Node) -> Result<usize> {
    node.inputs.first().copied().ok_or_else(|| PlanError::internal("an operator without an input"))
}

fn prove(plan: &FlowPlan, clocks: &Clocks) -> Result<Proof> {
    let mut group = plan.root;
    let keys = loop {
        let this = node(plan, group)?;
        match &this.op {
            Op::Map { .. } => group = only_input(this)?,
            Op::Aggregate { keys, .. } => break keys.clone(),
            Op::Distinct => break (0..this.types.len()).collect(),
            _ => {
                return Err(refused(
                    "it takes one grouping of windows, with nothing but columns and conditions around it",
                    GROUP,
                ));
            }
        }
    };
    let below = only_input(node(plan, group)?)?;
    let mut closes: Option<(usize, i64, usize)> = None;
    for (key, column) in keys.iter().enumerate() {
        let Some((edge, window)) = edge(plan, below, *column)? else { continue };
        match (&node(plan, window)?.op, edge) {
            (_, Edge::End) => closes = Some((key, 0, window)),
            (Op::Tumble { size_us, .. } | Op::Hop { size_us, .. } | Op::Cumulate { size_us, .. }, Edge::Start) => {
                closes = closes.or(Some((key, *size_us, window)));
            }
            _ => {}
        }
    }
    let Some((key, plus_us, window)) = closes else {
        return Err(refused("no column of the GROUP BY says when a group is over", GROUP));
    };
    let this = node(plan, window)?;
    let (Op::Tumble { ts, .. } | Op::Hop { ts, .. } | Op::Cumulate { ts, .. } | Op::Session { ts, .. }) = &this.op else {
        return Err(PlanError::internal("windows that are none"));
    };
    let mut topics = BTreeSet::new();
    streams(plan, only_input(this)?, *ts, clocks, &mut topics)?;
    Ok(Proof { group, keys, key, plus_us, window, topics })
}

/// Which edge of which windows a column is.
fn edge(plan: &FlowPlan, mut at: usize, mut column: usize) -> Result<Option<(Edge, usize)>> {
    loop {
        let this = node(plan, at)?;
        match &this.op {
            Op::Map { exprs, .. } => {
                match exprs.as_ref().map_or(Some(&Scalar::Column(column)), |exprs| exprs.get(column)) {
                    Some(Scalar::Column(c)) => column = *c,
                    _ => return Ok(None),
                }
                at = only_input(this)?;
            }
            Op::Tumble { .. } | Op::Hop { .. } | Op::Cumulate { .. } | Op::Session { .. } => {
                let edges = [Edge::Start, Edge::End];
                let behind = column.checked_sub(this.types.len().saturating_sub(2));
                return Ok(behind.and_then(|n| edges.get(n)).map(|edge| (*edge, at)));
            }
            _ => return Ok(None),
        }
    }
}

/// The streams whose records are windowed, each by the column that its watermark is for.
fn streams(plan: &FlowPlan, at: usize, ts: usize, clocks: &Clocks, topics: &mut BTreeSet<TopicId>) -> Result<()> {
    let this = node(plan, at)?;
    match &this.op {
        Op::Map { exprs: None, .. } => streams(plan, only_input(this)?, ts, clocks, topics),
        Op::Map { exprs: Some(exprs), .. } => match exprs.get(ts) {
            Some(Scalar::Column(c)) => streams(plan, only_input(this)?, *c, clocks, topics),
            _ => Err(refused(
                "the windows are over a computed time, and the watermark is for a column",
                "window the column that the stream's WATERMARK FOR names",
            )),
        },
        Op::Union => this.inputs.iter().try_for_each(|input| streams(plan, *input, ts, clocks, topics)),
        Op::Source { id: SourceId::Topic(topic), columns } => {
            let Some(clock) = clocks.get(topic) else {
                return Err(refused(
                    "a relation that it reads has no watermark",
                    "it reads streams: CREATE STREAM s (.., WATERMARK FOR ts AS ts - INTERVAL '5 seconds')",
                ));
            };
            if columns.get(ts) != Some(clock) {
                return Err(refused(
                    "the windows are over another column than the stream's watermark",
                    "window the column that the stream's WATERMARK FOR names",
                ));
            }
            topics.insert(*topic);
            Ok(())
        }
        Op::Source { .. } => Err(refused(
            "it reads a materialized view, whose rows may change",
            "read the stream itself, or leave EMIT FINAL out: the view then follows the one that it reads",
        )),
        _ => Err(refused("rows are joined or grouped before they are windowed", GROUP)),
    }
}

/// The same plan with what closes in the place of what corrects itself; watermarks stand first.
fn rewritten(plan: &FlowPlan, proof: &Proof) -> Result<FlowPlan> {
    let misfit = || PlanError::internal("an operator does not fit its inputs");
    let mut new = FlowPlan { nodes: vec![], root: 0, output: plan.output.clone(), key: plan.key.clone() };
    let mut marks = vec![];
    for topic in &proof.topics {
        let source = Op::Source { id: SourceId::Watermark(*topic), columns: vec![ColumnId(0)] };
        let ty = DataType::Timestamp(TimeUnit::Microsecond, None);
        marks.push(new.push(source, vec![], (vec![ty], false)).ok_or_else(misfit)?);
    }
    for (at, old) in plan.nodes.iter().enumerate() {
        let mut inputs: Vec<usize> = old.inputs.iter().map(|i| i + marks.len()).collect();
        let op = match &old.op {
            Op::Session { partition, ts, gap_us, .. } if at == proof.window => {
                inputs.extend(&marks);
                Op::Session { partition: partition.clone(), ts: *ts, gap_us: *gap_us, on_close: true }
            }
            op if at == proof.group => {
                inputs.extend(&marks);
                let aggs = if let Op::Aggregate { aggs, .. } = op { aggs.clone() } else { vec![] };
                Op::Close { keys: proof.keys.clone(), aggs, key: proof.key, plus_us: proof.plus_us }
            }
            op => op.clone(),
        };
        new.push(op, inputs, (old.types.clone(), old.append_only)).ok_or_else(misfit)?;
    }
    new.root = plan.root + marks.len();
    Ok(new)
}
