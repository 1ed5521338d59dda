//! Temporal filters: `WHERE ts > now() - INTERVAL '1 hour'` in a view, as a node of the logical plan.
//!
//! In a view `now()` is the greatest commit clock in the cut. A conjunct of WHERE (or HAVING) that compares an expression with `now()`, plus
//! or minus a constant interval, says from when or until when a row is there; so such conjuncts leave their filter and become a node,
//! as near to the rows as joins allow, since what has gone is nowhere kept above. Everywhere else [`super::check`] refuses `now()`.
//!
//! Invariant: the node hands its input's columns through. An interval has a fixed length: a day is 24 hours, months are refused.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, JoinType, ScalarValue};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::{Between, Cast, ScalarFunction};
use datafusion::logical_expr::logical_plan::UserDefinedLogicalNodeCore;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Extension, Filter, LogicalPlan, Operator};

use crate::error::PlanError;
use crate::functions::arith;
use crate::value::{Datum, Value};

/// Rows for which all conditions are true, each a comparison with `now()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemporalNode {
    pub input: LogicalPlan,
    conditions: Vec<Expr>,
}

/// `moment - offset_us <op> now()`
pub(crate) struct Condition {
    pub moment: Expr,
    pub op: Operator,
    pub offset_us: i64,
}

/// Takes temporal conjuncts out of filters; in views only.
pub(super) fn place(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    let placed = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Filter(f) if says_now(&f.predicate) => Ok(Transformed::yes(taken(f)?)),
        plan => Ok(Transformed::no(plan)),
    })?;
    Ok(placed.data)
}

fn taken(f: Filter) -> DfResult<LogicalPlan> {
    let (mut temporal, mut rest) = (vec![], vec![]);
    for e in split_conjunction_owned(f.predicate).into_iter().flat_map(bounds) {
        let takes = condition(&e).is_some() && !reads_outside(&e, f.input.schema())?;
        if takes { temporal.push(e) } else { rest.push(e) }
    }
    let mut plan = Arc::unwrap_or_clone(f.input);
    for e in temporal {
        plan = sink(plan, e)?;
    }
    match conjunction(rest) {
        Some(rest) => Ok(LogicalPlan::Filter(Filter::try_new(rest, Arc::new(plan))?)),
        None => Ok(plan),
    }
}

/// BETWEEN as its two comparisons, where `now()` is in it.
fn bounds(e: Expr) -> Vec<Expr> {
    match e {
        Expr::Between(Between { expr, negated: false, low, high }) if says_now(&expr) || says_now(&low) || says_now(&high) => {
            vec![expr.as_ref().clone().gt_eq(*low), expr.lt_eq(*high)]
        }
        e => vec![e],
    }
}

/// A condition as near to the rows as it may stand: below filters and on the side of a join that it reads, where that side's rows
/// are not filled up.
fn sink(plan: LogicalPlan, e: Expr) -> DfResult<LogicalPlan> {
    let of = |plan: &LogicalPlan| e.column_refs().iter().all(|c| plan.schema().maybe_index_of_column(c).is_some());
    match plan {
        LogicalPlan::Filter(f) => {
            let input = sink(Arc::unwrap_or_clone(f.input), e)?;
            Ok(LogicalPlan::Filter(Filter::try_new(f.predicate, Arc::new(input))?))
        }
        LogicalPlan::Join(mut j) if matches!(j.join_type, JoinType::Inner | JoinType::Left) && of(&j.left) => {
            j.left = Arc::new(sink(Arc::unwrap_or_clone(j.left), e)?);
            Ok(LogicalPlan::Join(j))
        }
        LogicalPlan::Join(mut j) if j.join_type == JoinType::Inner && of(&j.right) && j.right.all_out_ref_exprs().is_empty() => {
            j.right = Arc::new(sink(Arc::unwrap_or_clone(j.right), e)?);
            Ok(LogicalPlan::Join(j))
        }
        LogicalPlan::Extension(x) if x.node.as_any().is::<TemporalNode>() => {
            let Some(node) = x.node.as_any().downcast_ref::<TemporalNode>() else { return Ok(LogicalPlan::Extension(x)) };
            let mut node = node.clone();
            node.conditions.push(e);
            Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
        }
        input => {
            let node = TemporalNode { input, conditions: vec![e] };
            Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
        }
    }
}

fn is_now(e: &Expr) -> bool {
    matches!(e, Expr::ScalarFunction(f) if f.func.name() == "now")
}

fn says_now(e: &Expr) -> bool {
    e.exists(|e| Ok(is_now(e))).unwrap_or(false)
}

fn reads_outside(e: &Expr, schema: &DFSchema) -> DfResult<bool> {
    let foreign = e.column_refs().iter().any(|c| schema.maybe_index_of_column(c).is_none());
    let query = e.exists(|e| {
        let query = matches!(e, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_));
        Ok(query || matches!(e, Expr::OuterReferenceColumn(..)))
    })?;
    Ok(foreign || query)
}

/// A comparison with `now()` by itself on one side.
fn condition(e: &Expr) -> Option<Condition> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = e else { return None };
    if !matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq | Operator::Eq) {
        return None;
    }
    let (moment, op, now) = match (says_now(left), says_now(right)) {
        (false, true) => (left, *op, right),
        (true, false) => (right, op.swap()?, left),
        _ => return None,
    };
    Some(Condition { moment: moment.as_ref().clone(), op, offset_us: distance(now)? })
}

/// How far an expression lies from `now()`, in microseconds.
fn distance(e: &Expr) -> Option<i64> {
    match e {
        e if is_now(e) => Some(0),
        Expr::Alias(a) => distance(&a.expr),
        Expr::ScalarFunction(ScalarFunction { func, args }) => match args.as_slice() {
            [a, b] if func.name() == arith::SUB.name => distance(a)?.checked_sub(length(b)?),
            [a, b] if func.name() == arith::ADD.name && says_now(a) => distance(a)?.checked_add(length(b)?),
            [a, b] if func.name() == arith::ADD.name => length(a)?.checked_add(distance(b)?),
            _ => None,
        },
        _ => None,
    }
}

/// A constant interval's length in microseconds; none for one with months.
fn length(e: &Expr) -> Option<i64> {
    const DAY_US: i64 = 86_400_000_000;
    let value = match e {
        Expr::Literal(v, _) => Value::from_scalar(v)?,
        Expr::Cast(Cast { expr, field }) if *field.data_type() == DataType::Interval(IntervalUnit::MonthDayNano) => {
            let Expr::Literal(v, _) = expr.as_ref() else { return None };
            crate::functions::cast::cast_value(&Value::from_scalar(v)?, field.data_type()).ok()?
        }
        _ => return None,
    };
    match value.datum {
        Datum::Interval { months: 0, days, nanos } => i64::from(days).checked_mul(DAY_US)?.checked_add(nanos / 1000),
        _ => None,
    }
}

impl TemporalNode {
    /// The conditions, taken apart; once types are settled `moment` is a timestamptz.
    pub fn parts(&self) -> Result<Vec<Condition>, PlanError> {
        let odd = |e: &Expr| PlanError::internal(format!("a temporal condition was lost: {e}"));
        self.conditions.iter().map(|e| condition(e).ok_or_else(|| odd(e))).collect()
    }
}

impl Hash for TemporalNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.conditions.hash(state);
    }
}

impl PartialOrd for TemporalNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for TemporalNode {
    fn name(&self) -> &str {
        "Temporal"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }
    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }
    fn expressions(&self) -> Vec<Expr> {
        self.conditions.clone()
    }
    /// Nothing: filters stand below, so that less is kept here.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let read = self.conditions.iter().flat_map(Expr::column_refs).filter_map(|c| schema.maybe_index_of_column(c));
        let mut needed: Vec<usize> = output_columns.iter().copied().chain(read).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions: Vec<String> = self.conditions.iter().map(ToString::to_string).collect();
        write!(f, "Temporal: {}", conditions.join(" AND "))
    }
    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
            return Err(DataFusionError::Internal("a temporal filter has one input".into()));
        };
        // Rules that keep the names of columns give conditions one, too.
        Ok(TemporalNode { input, conditions: exprs.into_iter().map(Expr::unalias).collect() })
    }
}

/// `e - offset`, of a timestamptz.
pub(crate) fn earlier(e: Expr, offset_us: i64) -> Expr {
    const DAY_US: i64 = 86_400_000_000;
    if offset_us == 0 {
        return e;
    }
    let days = i32::try_from(offset_us / DAY_US).unwrap_or(i32::MAX);
    let nanoseconds = (offset_us % DAY_US) * 1000;
    let interval = arrow::datatypes::IntervalMonthDayNano { months: 0, days, nanoseconds };
    let interval = Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), None);
    crate::functions::function(&arith::SUB).call(vec![e, interval])
}
