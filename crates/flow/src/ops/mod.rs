//! The incremental operators: plain structs over Arrow deltas, without timely, files or clocks.
//!
//! Each file is one operator with the algebra it rests on. Common to all: the output summed up to an epoch is the operator's
//! function of the input summed up to it, whatever the batching; linear operators and joins answer within the epoch, the others
//! once at its end with consolidated changes, in pieces of at most 8,192 rows. What comes in must already be exchanged by
//! [`Operator::routing`](crate::operator::Operator::routing); an operator with `Routing::One` is finished only on the worker
//! that `One` names (a global aggregate has a row before any input, and it must be one row).
//! A retraction of a row that was never inserted is found at the end of the epoch where the operator keeps counts, and fails it
//! ([`FlowError::Negative`]): a wrong answer is worse than none.

mod accumulate;
mod aggregate;
mod asof;
mod close;
pub(crate) mod dirty;
mod distinct;
mod flat_map;
mod grouped;
mod join;
mod linear;
mod map;
mod marks;
mod members;
mod over;
pub(crate) mod parts;
mod reach;
mod recursive;
mod sequences;
pub mod serial;
mod session;
mod set_op;
mod shown;
mod temporal;
mod top_k;
mod window;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use regauge_plan::flowplan::{FlowPlan, Op};
use regauge_plan::value::Value;
use regauge_types::Delta;

pub use aggregate::Aggregate;
pub use asof::AsOf;
pub use close::Close;
pub use distinct::Distinct;
pub use flat_map::FlatMap;
pub use join::{Join, JoinSpec};
pub use linear::{Constant, Union};
pub use map::Map;
pub use over::Over;
pub use recursive::Recursive;
pub use serial::Serial;
pub use session::Session;
pub use set_op::SetOp;
pub use temporal::Temporal;
pub use top_k::TopK;
pub use window::Window;

use crate::operator::{FlowError, Operator};
use crate::spill::Spills;

/// The operator of one node of a validated plan. A source is the runtime's affair and refused.
pub fn build(plan: &FlowPlan, node: usize) -> Result<Box<dyn Operator>, FlowError> {
    let broken = |what: &str| FlowError::Plan(format!("{what} node={node}"));
    let this = plan.nodes.get(node).ok_or_else(|| broken("no such node"))?;
    let inputs: Option<Vec<_>> = this.inputs.iter().map(|i| plan.nodes.get(*i)).collect();
    let inputs = inputs.ok_or_else(|| broken("no such input"))?;
    let types: Vec<&[DataType]> = inputs.iter().map(|n| n.types.as_slice()).collect();
    let append_only: Vec<bool> = inputs.iter().map(|n| n.append_only).collect();
    let output = this.types.as_slice();
    Ok(match (&this.op, types.as_slice()) {
        (Op::Rows { rows }, []) => Box::new(Constant::new(constant(rows, output)?)),
        (Op::Map { filter, exprs }, [input]) => Box::new(Map::new(filter.as_ref(), exprs.as_deref(), input, output)?),
        (Op::Join { kind, on, nulls_equal, residual }, [left, right]) => Box::new(Join::new(&JoinSpec {
            kind: *kind,
            on,
            nulls_equal: *nulls_equal,
            residual: residual.as_ref(),
            types: [left, right],
            append_only: [append_only[0], append_only[1]],
        })?),
        (Op::AsOf { outer, on, moment, matching }, [left, right]) => {
            Box::new(AsOf::new(*outer, on, *moment, *matching, [left, right], output)?)
        }
        (Op::Temporal { from, until, by }, [rows, _]) => Box::new(Temporal::new(from, until, by, rows, append_only[0])?),
        (Op::Aggregate { keys, aggs }, [input]) => Box::new(Aggregate::new(keys, aggs, input, output, append_only[0])?),
        (Op::Distinct, [_]) => Box::new(Distinct::new(output, append_only[0])?),
        (Op::TopK { partition, order, limit, offset, row_number }, [input]) => {
            Box::new(TopK::new(partition, order, *limit, *offset, *row_number, input, output, append_only[0])?)
        }
        (Op::Window { partition, order, calls }, [input]) => Box::new(Over::new(partition, order, calls, input, output)?),
        (Op::Union, [_, ..]) => Box::new(Union::new(output)),
        (Op::SetOp { kind, all }, [_, _]) => Box::new(SetOp::new(*kind, *all, output)?),
        (Op::Tumble { ts, size_us, offset_us }, [_]) => Box::new(Window::new(*ts, *size_us, *size_us, *offset_us, output)?),
        (Op::Hop { ts, slide_us, size_us, offset_us }, [_]) => {
            Box::new(Window::new(*ts, *slide_us, *size_us, *offset_us, output)?)
        }
        (Op::FlatMap { keep, lists, outer }, [input]) => Box::new(FlatMap::new(keep, lists, *outer, input, output)?),
        (Op::Recursive { step, distinct, limits }, inputs) => {
            Box::new(Recursive::new(step, *distinct, *limits, output, inputs.len())?)
        }
        (Op::Cumulate { ts, step_us, size_us, offset_us }, [_]) => {
            Box::new(Window::cumulate(*ts, *step_us, *size_us, *offset_us, output)?)
        }
        (Op::Session { partition, ts, gap_us, on_close }, [input, marks @ ..]) => {
            let marks = on_close.then_some(marks.len());
            Box::new(Session::new(partition, *ts, *gap_us, marks, input, output)?)
        }
        (Op::Close { keys, aggs, key, plus_us }, [input, marks @ ..]) => {
            Box::new(Close::new(keys, aggs, (*key, *plus_us), marks.len(), input, output, append_only[0])?)
        }
        (Op::Source { .. }, _) => return Err(broken("a source is not an operator")),
        _ => return Err(broken("an operator with a wrong number of inputs")),
    })
}

/// As [`build`], of a node whose state may be larger than memory; `None` for any other.
pub fn build_spilling(plan: &FlowPlan, node: usize) -> Result<Option<Box<dyn Spills>>, FlowError> {
    let Some(this) = plan.nodes.get(node) else { return Ok(None) };
    let inputs: Option<Vec<_>> = this.inputs.iter().map(|i| plan.nodes.get(*i)).collect();
    let inputs = inputs.unwrap_or_default();
    let types: Vec<&[DataType]> = inputs.iter().map(|n| n.types.as_slice()).collect();
    Ok(match (&this.op, inputs.as_slice()) {
        (Op::Join { kind, on, nulls_equal, residual }, [left, right]) if !on.is_empty() => {
            Some(Box::new(Join::new(&JoinSpec {
                kind: *kind,
                on,
                nulls_equal: *nulls_equal,
                residual: residual.as_ref(),
                types: [types[0], types[1]],
                append_only: [left.append_only, right.append_only],
            })?))
        }
        (Op::Aggregate { keys, aggs }, [input]) if !keys.is_empty() => {
            Some(Box::new(Aggregate::new(keys, aggs, &input.types, &this.types, input.append_only)?))
        }
        (Op::TopK { partition, order, limit, offset, row_number }, [input]) if !partition.is_empty() => {
            let (input, append_only) = (&input.types, input.append_only);
            Some(Box::new(TopK::new(partition, order, *limit, *offset, *row_number, input, &this.types, append_only)?))
        }
        (Op::Distinct, [input]) if !this.types.is_empty() => Some(Box::new(Distinct::new(&this.types, input.append_only)?)),
        _ => None,
    })
}

/// Constant rows as one delta.
fn constant(rows: &[Vec<Value>], types: &[DataType]) -> Result<Delta, FlowError> {
    let broken = || FlowError::Plan("constant rows do not have their types".into());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(types.len());
    for (i, ty) in types.iter().enumerate() {
        let values: Option<Vec<ArrayRef>> = rows.iter().map(|row| row.get(i)?.to_array(1)).collect();
        let values = values.ok_or_else(broken)?;
        let parts: Vec<&dyn Array> = values.iter().map(|v| v.as_ref()).collect();
        columns.push(if parts.is_empty() { new_empty_array(ty) } else { concat(&parts)? });
    }
    Ok(Delta::ones(parts::batch(&parts::schema_of(types), columns, rows.len())?))
}
