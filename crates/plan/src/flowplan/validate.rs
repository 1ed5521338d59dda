//! Is a stored plan sound? Positions in bounds, types as the operators derive them, depth bounded, properties not
//! claimed beyond what follows from the inputs. What passes here never makes an operator index out of bounds; it does not
//! say that the plan answers the user's question.

use arrow::datatypes::{DataType, TimeUnit};

use super::op::{AggCall, AggFunc, Op, OrderKey};
use super::types::{MAX_HOP_WINDOWS, is_supported};
use super::window_bytes::check_call;
use super::{FlowPlan, Node};
use crate::scalar::{IsTest, Scalar};
use crate::value::{Datum, Value};

/// Deepest nesting of a scalar expression; bounds recursion wherever plans are read, compiled or printed. An AND of many
/// arms is one level.
pub const MAX_SCALAR_DEPTH: usize = 256;
/// Most nodes of a plan.
pub const MAX_NODES: usize = 10_000;

/// What is unsound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidationError {
    /// A rule about the plan as a whole.
    #[error("{what}")]
    Plan {
        /// What is wrong.
        what: &'static str,
    },
    /// A rule about one node.
    #[error("{what} node={node}")]
    Node {
        /// Which node.
        node: usize,
        /// What is wrong.
        what: &'static str,
    },
}

impl FlowPlan {
    /// Checks soundness; cost linear in the plan.
    pub fn validate(&self) -> Result<(), ValidationError> {
        let plan = |ok: bool, what| if ok { Ok(()) } else { Err(ValidationError::Plan { what }) };
        plan(self.nodes.len() <= MAX_NODES, "too many nodes")?;
        for (i, node) in self.nodes.iter().enumerate() {
            self.check_node(i, node).map_err(|what| ValidationError::Node { node: i, what })?;
            plan(!matches!(node.op, Op::Given { .. }), "an input of a step outside of a recursion")?;
        }
        let root = self.nodes.get(self.root).ok_or(ValidationError::Plan { what: "the root is no node" })?;
        let output: Vec<_> = self.output.iter().map(|c| &c.ty).collect();
        plan(output == root.types.iter().collect::<Vec<_>>(), "output differs from the root's types")?;
        let in_output = |k: &Vec<usize>| k.iter().all(|c| *c < output.len());
        plan(self.key.as_ref().is_none_or(in_output), "the key names a column that is not there")
    }

    pub(super) fn check_node(&self, index: usize, node: &Node) -> Result<(), &'static str> {
        if node.inputs.iter().any(|i| *i >= index) {
            return Err("an input does not stand before its user");
        }
        if !node.types.iter().all(is_supported) {
            return Err("a type is not supported");
        }
        let inputs: Vec<&Node> = node.inputs.iter().map(|i| &self.nodes[*i]).collect();
        let types: Vec<&[DataType]> = inputs.iter().map(|n| n.types.as_slice()).collect();
        let flags: Vec<bool> = inputs.iter().map(|n| n.append_only).collect();
        check_op(&node.op, &types)?;
        match node.op.output_types(&types, &node.types) {
            Some(derived) if derived == node.types => {}
            Some(_) => return Err("types differ from what the operator makes"),
            None => return Err("wrong number of inputs or a column out of bounds"),
        }
        if let Op::Rows { rows } = &node.op {
            let row_fits = |row: &Vec<Value>| {
                row.len() == node.types.len() && row.iter().zip(&node.types).all(|(v, t)| v.ty == *t && v.fits())
            };
            ok(rows.iter().all(row_fits), "a constant row does not fit the types")?;
        }
        ok(!node.append_only || node.op.append_only(&flags, true), "append-only is claimed beyond the inputs")
    }
}

pub(super) fn ok(condition: bool, what: &'static str) -> Result<(), &'static str> {
    if condition { Ok(()) } else { Err(what) }
}

fn check_op(op: &Op, inputs: &[&[DataType]]) -> Result<(), &'static str> {
    let n_inputs = inputs.len();
    let arity = match op {
        Op::Source { .. } | Op::Rows { .. } => n_inputs == 0,
        Op::Map { .. } | Op::Aggregate { .. } | Op::Distinct | Op::TopK { .. } | Op::Window { .. } => n_inputs == 1,
        Op::Tumble { .. } | Op::Hop { .. } | Op::Cumulate { .. } => n_inputs == 1,
        Op::Session { on_close, .. } => {
            if *on_close {
                n_inputs >= 2
            } else {
                n_inputs == 1
            }
        }
        Op::Close { .. } => n_inputs >= 2,
        Op::Join { .. } | Op::SetOp { .. } | Op::AsOf { .. } | Op::Temporal { .. } => n_inputs == 2,
        Op::Union | Op::Recursive { .. } => n_inputs >= 1,
        Op::FlatMap { .. } => n_inputs == 1,
        Op::Given { .. } => n_inputs == 0,
    };
    ok(arity, "wrong number of inputs")?;
    match (op, inputs) {
        (Op::Map { filter, exprs }, [input]) => {
            filter.iter().try_for_each(|f| check_boolean(f, input))?;
            exprs.iter().flatten().try_for_each(|e| check_scalar(e, input))
        }
        (Op::Join { on, residual, .. }, [l, r]) => {
            let pair_fits = |(a, b): &(usize, usize)| l.get(*a).is_some_and(|t| r.get(*b) == Some(t));
            ok(on.iter().all(pair_fits), "a join key is out of bounds or its sides differ in type")?;
            residual.iter().try_for_each(|s| check_boolean(s, &[*l, *r].concat()))
        }
        (Op::AsOf { on, moment, .. }, [l, r]) => {
            let pair_fits = |(a, b): &(usize, usize)| l.get(*a).is_some_and(|t| r.get(*b) == Some(t));
            ok(on.iter().chain([moment]).all(pair_fits), "a join key is out of bounds or its sides differ in type")
        }
        (Op::Temporal { from, until, by }, [rows, clock]) => {
            let timestamptz = crate::pgtypes::timestamptz();
            let moments = from.iter().chain(until).all(|(c, _)| rows.get(*c) == Some(&timestamptz));
            ok(moments && **clock == [timestamptz], "a moment is no timestamp with time zone")?;
            ok(by.iter().all(|c| *c < rows.len()), "a column is out of bounds")
        }
        (Op::Aggregate { keys, aggs }, [input]) => {
            ok(keys.iter().all(|k| *k < input.len()), "a group key is out of bounds")?;
            aggs.iter().try_for_each(|a| check_agg(a, input))
        }
        (Op::TopK { partition, order, .. }, [input]) => {
            ok(partition.iter().all(|k| *k < input.len()), "a partition column is out of bounds")?;
            check_order(order, input)
        }
        (Op::Window { partition, order, calls }, [input]) => {
            ok(partition.iter().all(|k| *k < input.len()), "a partition column is out of bounds")?;
            check_order(order, input)?;
            calls.iter().try_for_each(|c| check_call(c, order, input))
        }
        (Op::Union | Op::SetOp { .. }, [first, rest @ ..]) => ok(rest.iter().all(|r| r == first), "the inputs differ in type"),
        (Op::Tumble { ts, size_us, offset_us }, [input]) => {
            check_ts(*ts, input)?;
            ok(*size_us > 0 && (0..*size_us).contains(offset_us), "a bad window")
        }
        (Op::Hop { ts, slide_us, size_us, offset_us }, [input]) => {
            check_ts(*ts, input)?;
            ok(*slide_us > 0 && *size_us > 0 && (0..*slide_us).contains(offset_us), "a bad window")?;
            ok(size_us / slide_us <= MAX_HOP_WINDOWS, "too many windows of one row")
        }
        (Op::FlatMap { keep, lists, .. }, [input]) => super::rows::check(keep, lists, input),
        (Op::Recursive { step, .. }, inputs) => {
            ok(step.nodes.len() <= MAX_NODES, "too many nodes")?;
            super::recursive::check(step, inputs)
        }
        (Op::Cumulate { ts, step_us, size_us, offset_us }, [input]) => {
            check_ts(*ts, input)?;
            ok(*step_us > 0 && *size_us > 0 && size_us % step_us == 0 && (0..*size_us).contains(offset_us), "a bad window")?;
            ok(size_us / step_us <= MAX_HOP_WINDOWS, "too many windows of one row")
        }
        (Op::Session { partition, ts, gap_us, .. }, [input, marks @ ..]) => {
            ok(partition.iter().all(|k| *k < input.len()), "a partition column is out of bounds")?;
            check_ts(*ts, input)?;
            ok(*gap_us > 0, "a session's gap is not above zero")?;
            check_marks(marks)
        }
        (Op::Close { keys, aggs, key, plus_us }, [input, marks @ ..]) => {
            ok(keys.iter().all(|k| *k < input.len()), "a group key is out of bounds")?;
            aggs.iter().try_for_each(|a| check_agg(a, input))?;
            check_ts(*keys.get(*key).ok_or("no such key")?, input)?;
            ok(*plus_us >= 0, "a group closes before its key")?;
            check_marks(marks)
        }
        _ => Ok(()),
    }
}

fn check_ts(ts: usize, input: &[DataType]) -> Result<(), &'static str> {
    let good = matches!(input.get(ts), Some(DataType::Timestamp(TimeUnit::Microsecond, _)));
    ok(good, "the window's column is no timestamp")
}

/// Watermarks are one column each.
fn check_marks(marks: &[&[DataType]]) -> Result<(), &'static str> {
    let timestamp = |m: &&[DataType]| matches!(m, [DataType::Timestamp(TimeUnit::Microsecond, _)]);
    ok(marks.iter().all(timestamp), "a watermark is no timestamp")
}

fn check_order(order: &[OrderKey], input: &[DataType]) -> Result<(), &'static str> {
    ok(order.iter().all(|k| k.column < input.len()), "an order key is out of bounds")
}

fn check_agg(a: &AggCall, input: &[DataType]) -> Result<(), &'static str> {
    let n = a.args.len();
    let count_fits = n == a.func.n_args() || (n == 0 && a.func == AggFunc::Count);
    ok(count_fits, "an aggregate has the wrong number of arguments")?;
    ok(a.args.iter().all(|c| *c < input.len()), "an aggregate's argument is out of bounds")?;
    let filter_fits = a.filter.is_none_or(|c| input.get(c) == Some(&DataType::Boolean));
    ok(filter_fits, "an aggregate's filter is no boolean column")?;
    check_order(&a.order, input)?;
    if a.func.is_ordered_set() {
        check_ordered_set(a)?;
    }
    ok(is_supported(&a.output), "a type is not supported")
}

/// WITHIN GROUP: one order, by the argument; fractions are fractions, one unless all are asked for.
fn check_ordered_set(a: &AggCall) -> Result<(), &'static str> {
    let ordered = matches!(a.order.as_slice(), [k] if a.args == [k.column]);
    ok(ordered && !a.distinct, "an aggregate within a group has one order, by its argument")?;
    let is_fraction = |v: &Value| match v.datum {
        Datum::Null => v.ty == DataType::Float64,
        Datum::Float(f) => v.ty == DataType::Float64 && (0.0..=1.0).contains(&f),
        _ => false,
    };
    let is_list = matches!(a.output, DataType::List(_));
    let count = if a.func == AggFunc::Mode { a.direct.is_empty() } else { is_list || a.direct.len() == 1 };
    ok(count && a.direct.iter().all(is_fraction), "bad fractions of an aggregate")
}

fn check_boolean(s: &Scalar, input: &[DataType]) -> Result<(), &'static str> {
    check_scalar(s, input)?;
    ok(s.data_type(input) == Some(DataType::Boolean), "a condition is not boolean")
}

/// Bounds, depth, and the types that can be judged without knowing functions.
pub(crate) fn check_scalar(s: &Scalar, input: &[DataType]) -> Result<(), &'static str> {
    check_scalar_at(s, input, 0)
}

fn check_scalar_at(s: &Scalar, input: &[DataType], depth: usize) -> Result<(), &'static str> {
    ok(depth < MAX_SCALAR_DEPTH, "an expression is too deep")?;
    s.children().into_iter().try_for_each(|c| check_scalar_at(c, input, depth + 1))?;
    let ty = |s: &Scalar| s.data_type(input);
    let boolean = |s: &Scalar| ty(s) == Some(DataType::Boolean);
    match s {
        Scalar::Column(i) => ok(*i < input.len(), "a column is out of bounds"),
        Scalar::Literal(v) => ok(is_supported(&v.ty) && v.fits(), "a constant does not fit its type"),
        Scalar::Call { ty, .. } => ok(is_supported(ty), "a type is not supported"),
        Scalar::Cast { to, .. } => ok(is_supported(to), "a type is not supported"),
        Scalar::Compare { left, right, .. } => ok(ty(left) == ty(right), "compared values differ in type"),
        Scalar::And(v) | Scalar::Or(v) => ok(!v.is_empty() && v.iter().all(boolean), "a logical operand is not boolean"),
        Scalar::Not(v) => ok(boolean(v), "a logical operand is not boolean"),
        Scalar::Is { test, arg, .. } => ok(*test == IsTest::Null || boolean(arg), "a tested operand is not boolean"),
        Scalar::Case { branches, otherwise, ty: to } => {
            let arms = branches.iter().all(|(c, r)| boolean(c) && ty(r).as_ref() == Some(to));
            let last = otherwise.as_ref().is_none_or(|o| ty(o).as_ref() == Some(to));
            ok(!branches.is_empty() && arms && last && is_supported(to), "the arms of a case differ in type")
        }
        Scalar::Coalesce(v) => ok(!v.is_empty() && v.iter().all(|a| ty(a) == ty(&v[0])), "the arms of a coalesce differ in type"),
        Scalar::InList { arg, list, .. } => {
            let want = ty(arg);
            ok(list.iter().all(|i| ty(i) == want), "the items of a list differ in type")
        }
        Scalar::Like { arg, pattern, .. } => {
            let text = |s: &Scalar| ty(s) == Some(DataType::Utf8);
            ok(text(arg) && text(pattern), "like is for text")
        }
    }
}
