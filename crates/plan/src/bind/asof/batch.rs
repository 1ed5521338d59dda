//! ASOF JOIN for DataFusion's executor.
//!
//! ```text
//!   right side, numbered so that of two candidates the better one has the greater number
//!   left rows ∪ numbered right rows  ─▶  greatest number so far, by key, in the order of time  ─▶  left rows ⋈ right rows by number
//! ```
//! At one moment the right rows stand before the left ones where the moment itself matches, else behind. Cost: two sorts and a hash
//! join, whatever the sizes of the keys' groups.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, ExprSchemable, Filter, Join, JoinConstraint, LogicalPlan, LogicalPlanBuilder, Projection, SortExpr,
    Union, WindowFunctionDefinition, WindowUDF, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use super::{AsOfNode, Parts};
use crate::bind::ast::MARK;
use crate::flowplan::{AggFunc, AsOfMatch, WindowFunc};
use crate::functions::over;

/// Puts DataFusion's operators in the place of [`AsOfNode`], once the types are settled.
#[derive(Debug)]
pub(crate) struct SpellOut;

impl AnalyzerRule for SpellOut {
    fn name(&self) -> &str {
        "spell_out_asof_joins"
    }
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| match &plan {
            LogicalPlan::Extension(x) => match x.node.as_any().downcast_ref::<AsOfNode>() {
                Some(node) => Ok(Transformed::yes(spell_out(node)?)),
                None => Ok(Transformed::no(plan)),
            },
            _ => Ok(Transformed::no(plan)),
        });
        Ok(rewritten?.data)
    }
}

/// A name that no query has.
fn name(what: &str, i: usize) -> String {
    format!("{MARK}{what}{i}")
}

fn own(what: &str, i: usize) -> Expr {
    Expr::Column(Column::new_unqualified(name(what, i)))
}

fn project(input: LogicalPlan, exprs: Vec<Expr>) -> DfResult<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
}

fn windowed(
    input: LogicalPlan,
    udf: WindowUDF,
    args: Vec<Expr>,
    by: Vec<Expr>,
    order: Vec<SortExpr>,
    as_: &str,
) -> DfResult<LogicalPlan> {
    let call = WindowFunctionDefinition::WindowUDF(Arc::new(udf));
    let call = Expr::from(WindowFunction::new(call, args)).partition_by(by).order_by(order).build()?.alias(as_);
    LogicalPlanBuilder::from(input).window(vec![call])?.build()
}

/// The columns under names of ours, keys and moment behind them.
fn side(plan: &LogicalPlan, what: &str, keys: Vec<Expr>, moment: Expr) -> DfResult<LogicalPlan> {
    let columns = plan.schema().columns().into_iter().enumerate();
    let mut exprs: Vec<Expr> = columns.map(|(i, c)| Expr::Column(c).alias(name(what, i))).collect();
    exprs.extend(keys.into_iter().enumerate().map(|(i, k)| k.alias(name("asof_key", i))));
    exprs.push(moment.alias(name("asof_ts", 0)));
    project(plan.clone(), exprs)
}

fn spell_out(node: &AsOfNode) -> DfResult<LogicalPlan> {
    let Parts { on, moment, matching } = node.parts()?;
    let (n_keys, n_left, n_right) = (on.len(), node.left.schema().fields().len(), node.right.schema().fields().len());
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = on.into_iter().unzip();
    let keys = || (0..n_keys).map(|i| own("asof_key", i)).collect::<Vec<_>>();
    let forward = matches!(matching, AsOfMatch::AtOrBefore | AsOfMatch::Before);
    let inclusive = matches!(matching, AsOfMatch::AtOrBefore | AsOfMatch::AtOrAfter);
    let (of_right, of_left) = if inclusive { (0i32, 1i32) } else { (1, 0) };
    let ts = own("asof_ts", 0);

    // What has no key or no moment is nobody's partner.
    let right = side(&node.right, "asof_r", right_keys, moment.1)?;
    let present = keys().into_iter().chain([ts.clone()]).map(Expr::is_not_null);
    let present = conjunction(present).unwrap_or_else(|| lit(true));
    let right = LogicalPlan::Filter(Filter::try_new(present, Arc::new(right))?);
    // Of rows that tie the first by the whole row is the better one.
    let mut order = vec![SortExpr::new(ts.clone(), forward, false)];
    order.extend((0..n_right).map(|i| SortExpr::new(own("asof_r", i), false, true)));
    let number = name("asof_n", 0);
    let right = windowed(right, over::row_number(), vec![], vec![], order, &number)?;

    let left = side(&node.left, "asof_l", left_keys, moment.0)?;
    let shared = |side: i32, number: Expr| {
        let mut exprs = keys();
        exprs.push(ts.clone().is_null().alias(name("asof_open", 0)));
        exprs.push(ts.clone());
        exprs.push(lit(side).alias(name("asof_side", 0)));
        exprs.push(number.alias(name("asof_n", 1)));
        exprs
    };
    let mut from_left: Vec<Expr> = (0..n_left).map(|i| own("asof_l", i)).collect();
    let mut from_right = vec![];
    for i in 0..n_left {
        let ty = own("asof_l", i).get_type(left.schema())?;
        from_right.push(lit(ScalarValue::try_from(&ty)?).alias(name("asof_l", i)));
    }
    from_left.extend(shared(of_left, lit(ScalarValue::Int64(None))));
    from_right.extend(shared(of_right, own("asof_n", 0)));
    let inputs = vec![Arc::new(project(left, from_left)?), Arc::new(project(right.clone(), from_right)?)];
    let all = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);

    let by = keys().into_iter().chain([own("asof_open", 0)]).collect();
    let order = vec![SortExpr::new(ts, forward, false), SortExpr::new(own("asof_side", 0), true, false)];
    let best = name("asof_best", 0);
    let all = windowed(all, over::plain(WindowFunc::Agg(AggFunc::Max)), vec![own("asof_n", 1)], by, order, &best)?;
    let lefts = LogicalPlan::Filter(Filter::try_new(own("asof_side", 0).eq(lit(of_left)), Arc::new(all))?);
    let mut kept: Vec<Expr> = (0..n_left).map(|i| own("asof_l", i)).collect();
    kept.push(own("asof_best", 0));
    let lefts = project(lefts, kept)?;

    let kind = if node.outer { JoinType::Left } else { JoinType::Inner };
    let on = vec![(own("asof_best", 0), own("asof_n", 0))];
    let (constraint, nulls) = (JoinConstraint::On, NullEquality::NullEqualsNothing);
    let joined = Join::try_new(Arc::new(lefts), Arc::new(right), on, None, kind, constraint, nulls, false)?;
    let shown = |plan: &LogicalPlan, what: &'static str| {
        let columns = plan.schema().columns().into_iter().enumerate();
        columns.map(move |(i, c)| own(what, i).alias_qualified(c.relation, c.name)).collect::<Vec<_>>()
    };
    let out = [shown(&node.left, "asof_l"), shown(&node.right, "asof_r")].concat();
    project(LogicalPlan::Join(joined), out)
}
