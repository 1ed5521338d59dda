//! GROUPING SETS, ROLLUP and CUBE: the union of one aggregate for each set, over one input. `grouping()` is a constant of each.
//!
//! A column that a set does not group by is NULL in its rows. The empty set has one row, also over no input; a set that is
//! written twice counts twice. Cost: one aggregate a set; in a view they share their input.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, Limit, LogicalPlan, Projection, Union, lit};
use datafusion::sql::sqlparser::ast;

use crate::error::PlanError;
use crate::functions;
use crate::parse::DISTINCT_SETS;

/// As many as PostgreSQL takes.
const SETS_MAX: usize = 4096;

/// ROLLUP and CUBE of a query's own GROUP BY as GROUPING SETS, before binding: DataFusion takes neither keys in brackets nor one
/// key twice. Those within GROUPING SETS give their sets to it; GROUP BY DISTINCT leaves each set once.
pub(super) fn name_sets(query: &mut ast::Query) -> std::result::Result<(), PlanError> {
    let mut bodies = vec![query.body.as_mut()];
    while let Some(body) = bodies.pop() {
        match body {
            ast::SetExpr::SetOperation { left, right, .. } => bodies.extend([left.as_mut(), right.as_mut()]),
            ast::SetExpr::Select(s) => {
                let ast::GroupByExpr::Expressions(keys, _) = &mut s.group_by else { continue };
                bracketed(keys);
                let is_mark = |e: &ast::Expr| matches!(e, ast::Expr::Identifier(i) if i.value == DISTINCT_SETS);
                let is_distinct = keys.iter().any(is_mark);
                keys.retain(|e| !is_mark(e));
                for e in keys.iter_mut() {
                    if let Some(sets) = sets_of(e)? {
                        *e = ast::Expr::GroupingSets(sets);
                    }
                }
                if keys.iter().any(is_sets) {
                    keys.iter_mut().for_each(|e| spell_positions(e, &s.projection));
                }
                one_list(keys)?;
                if let ([ast::Expr::GroupingSets(sets)], true) = (keys.as_mut_slice(), is_distinct) {
                    each_once(sets);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The sets of GROUPING SETS, ROLLUP or CUBE; `None` for a plain key.
fn sets_of(e: &ast::Expr) -> std::result::Result<Option<Vec<Vec<ast::Expr>>>, PlanError> {
    Ok(Some(match e {
        ast::Expr::Rollup(keys) => (0..=keys.len()).rev().map(|n| keys[..n].concat()).collect(),
        ast::Expr::Cube(keys) => {
            if keys.len() > 12 {
                return Err(too_many());
            }
            let chosen = |bits: usize| {
                let these = keys.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
                these.flat_map(|(_, keys)| keys.iter().cloned()).collect()
            };
            (0..1usize << keys.len()).rev().map(chosen).collect()
        }
        ast::Expr::GroupingSets(sets) => {
            let mut all = vec![];
            for set in sets {
                let within = if let [one] = set.as_slice() { within_sets(one) } else { None };
                match within.map(|e| sets_of(&e)).transpose()?.flatten() {
                    Some(more) => all.extend(more),
                    None => all.push(set.clone()),
                }
                if all.len() > SETS_MAX {
                    return Err(too_many());
                }
            }
            all
        }
        _ => return Ok(None),
    }))
}

/// ROLLUP or CUBE within GROUPING SETS, which sqlparser takes for a function.
fn within_sets(e: &ast::Expr) -> Option<ast::Expr> {
    let ast::Expr::Function(f) = e else { return None };
    let [name] = f.name.0.as_slice() else { return None };
    let name = name.as_ident().filter(|name| name.quote_style.is_none())?;
    let ast::FunctionArguments::List(list) = &f.args else { return None };
    let key = |arg: &ast::FunctionArg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Tuple(keys))) => Some(keys.clone()),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Nested(key))) => Some(vec![(**key).clone()]),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(key)) => Some(vec![key.clone()]),
        _ => None,
    };
    let keys = list.args.iter().map(key).collect::<Option<Vec<_>>>()?;
    match name.value.to_lowercase().as_str() {
        "rollup" => Some(ast::Expr::Rollup(keys)),
        "cube" => Some(ast::Expr::Cube(keys)),
        _ => None,
    }
}

/// Takes away sets that stand there already, in whatever order their keys are.
fn each_once(sets: &mut Vec<Vec<ast::Expr>>) {
    let mut seen = std::collections::HashSet::new();
    sets.retain(|set| {
        let mut keys: Vec<String> = set.iter().map(ToString::to_string).collect();
        keys.sort_unstable();
        keys.dedup();
        seen.insert(keys)
    });
}

/// `GROUP BY (a, b)` is `GROUP BY a, b`.
fn bracketed(keys: &mut Vec<ast::Expr>) {
    if keys.iter().any(|e| matches!(e, ast::Expr::Tuple(_))) {
        let flat = |e| if let ast::Expr::Tuple(all) = e { all } else { vec![e] };
        *keys = std::mem::take(keys).into_iter().flat_map(flat).collect();
    }
}

fn is_sets(e: &ast::Expr) -> bool {
    matches!(e, ast::Expr::Rollup(_) | ast::Expr::Cube(_) | ast::Expr::GroupingSets(_))
}

/// A position in the select list as what stands there: within sets DataFusion would take it for a number. Behind a star nobody knows
/// yet what stands where; there it stays.
fn spell_positions(e: &mut ast::Expr, items: &[ast::SelectItem]) {
    match e {
        ast::Expr::Rollup(sets) | ast::Expr::Cube(sets) | ast::Expr::GroupingSets(sets) => {
            sets.iter_mut().flatten().for_each(|e| spell_positions(e, items));
        }
        ast::Expr::Value(v) => {
            let ast::Value::Number(digits, _) = &v.value else { return };
            let Some(at) = digits.to_string().parse::<usize>().ok().and_then(|n| n.checked_sub(1)) else { return };
            let item = |i: &ast::SelectItem| match i {
                ast::SelectItem::UnnamedExpr(e) | ast::SelectItem::ExprWithAlias { expr: e, .. } => Some(e.clone()),
                _ => None,
            };
            if let Some(found) = items.iter().take(at + 1).map(item).collect::<Option<Vec<_>>>().filter(|all| all.len() > at) {
                *e = found[at].clone();
            }
        }
        _ => {}
    }
}

/// `k, GROUPING SETS (..)` as one list of sets. Beside a plain key DataFusion groups by what the key determines, in every set.
fn one_list(keys: &mut Vec<ast::Expr>) -> std::result::Result<(), PlanError> {
    let is_set = |e: &ast::Expr| matches!(e, ast::Expr::GroupingSets(_));
    // A position in the select list is known for what it is only outside of sets.
    let has_position = keys.iter().any(|e| matches!(e, ast::Expr::Value(_)));
    if keys.len() < 2 || has_position || !keys.iter().any(is_set) {
        return Ok(());
    }
    let mut sets: Vec<Vec<ast::Expr>> = vec![vec![]];
    for e in keys.drain(..) {
        let choices = if let ast::Expr::GroupingSets(choices) = e { choices } else { vec![vec![e]] };
        if sets.len().saturating_mul(choices.len()) > SETS_MAX {
            return Err(too_many());
        }
        sets = sets.iter().flat_map(|set| choices.iter().map(|more| [set.as_slice(), more.as_slice()].concat())).collect();
    }
    keys.push(ast::Expr::GroupingSets(sets));
    Ok(())
}

fn too_many() -> PlanError {
    PlanError::invalid("54001", format!("too many grouping sets present (maximum {SETS_MAX})"))
}

/// Keys are known before anything is aggregated.
pub(crate) fn no_aggregate_among_keys(a: &Aggregate) -> Result<()> {
    let mut found = false;
    for key in &a.group_expr {
        key.apply(|e| {
            found |= matches!(e, Expr::AggregateFunction(_));
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    if found { Err(PlanError::invalid("42803", "aggregate functions are not allowed in GROUP BY").into()) } else { Ok(()) }
}

/// An aggregate whose columns are all of a query further out belongs to that one, which then has groups. Ours would be computed where it
/// stands, so it is refused.
///
/// # Errors
/// 0A000.
pub(super) fn no_aggregate_of_others(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let LogicalPlan::Aggregate(a) = node else { return Ok(TreeNodeRecursion::Continue) };
        for call in &a.aggr_expr {
            let Expr::AggregateFunction(f) = call.clone().unalias() else { continue };
            let (mut outer, mut own) = (false, false);
            let filter = f.params.filter.iter().map(|e| e.as_ref());
            let order = f.params.order_by.iter().map(|s| &s.expr);
            for part in f.params.args.iter().chain(filter).chain(order) {
                part.apply(|e| {
                    match e {
                        Expr::OuterReferenceColumn(..) => outer = true,
                        Expr::Column(_) | Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => own = true,
                        _ => {}
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
            if outer && !own {
                let message = format!("{} in a subquery, over columns of the outer query alone, is not offered", f.func.name());
                let hint = "it belongs to the outer query: aggregate there, in a query around which the subquery stands";
                return Err(PlanError::unsupported(message, hint).into());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// Which fractions of a percentile are wanted is said for a group, not for a row.
///
/// # Errors
/// 42803 for a column there that is no key.
pub(crate) fn direct_of_groups(a: &Aggregate) -> Result<()> {
    let keys: Vec<&Expr> = match a.group_expr.as_slice() {
        [Expr::GroupingSet(sets)] => sets.distinct_expr(),
        keys => keys.iter().collect(),
    };
    for call in &a.aggr_expr {
        let Expr::AggregateFunction(f) = call.clone().unalias() else { continue };
        if !functions::is_percentile(f.func.name()) {
            continue;
        }
        for direct in f.params.args.iter().skip(1).filter(|direct| !keys.contains(direct)) {
            let is_key = |c: &Column| keys.iter().any(|key| matches!(key, Expr::Column(key) if key == c));
            if let Some(c) = direct.column_refs().into_iter().find(|c| !is_key(c)) {
                let message =
                    format!("column \"{}\" must appear in the GROUP BY clause or be used in an aggregate function", c.name);
                return Err(PlanError::invalid("42803", message)
                    .with_hint("the fractions are constants, or keys of GROUP BY")
                    .into());
            }
        }
    }
    Ok(())
}

/// Whether it groups by several sets of keys.
pub(super) fn has_sets(a: &Aggregate) -> bool {
    matches!(a.group_expr.as_slice(), [Expr::GroupingSet(_)])
}

/// The same without sets; `spare` begins names that nothing has. The aggregate's own column of DataFusion that tells the sets apart is left
/// out: nobody has read it yet.
pub(super) fn spell_out(a: Aggregate, spare: &str) -> Result<LogicalPlan> {
    let [Expr::GroupingSet(grouping)] = a.group_expr.as_slice() else { return Ok(LogicalPlan::Aggregate(a)) };
    let keys: Vec<Expr> = grouping.distinct_expr().into_iter().cloned().collect();
    let columns = a.schema.columns();
    let key_columns = &columns[..keys.len().min(columns.len())];
    let call_columns = &columns[columns.len().saturating_sub(a.aggr_expr.len())..];
    let mut arms = vec![];
    for set in sets(grouping)? {
        arms.push(Arc::new(arm(&a, &keys, key_columns, call_columns, &set, spare)?));
    }
    // The arms and the union have names of their own: rules that look at unions know no qualified ones.
    let fields = key_columns.iter().chain(call_columns).enumerate().map(|(i, c)| {
        let field = a.schema.field_from_column(c)?;
        Ok((None, Arc::new(field.as_ref().clone().with_nullable(true).with_name(name(spare, i)))))
    });
    let schema = DFSchema::new_with_metadata(fields.collect::<Result<Vec<_>>>()?, Default::default())?;
    let union = LogicalPlan::Union(Union { inputs: arms, schema: Arc::new(schema) });
    let out =
        key_columns.iter().chain(call_columns).enumerate().map(|(i, c)| {
            Expr::Column(Column::new_unqualified(name(spare, i))).alias_qualified(c.relation.clone(), c.name.clone())
        });
    Ok(LogicalPlan::Projection(Projection::try_new(out.collect(), Arc::new(union))?))
}

fn name(spare: &str, i: usize) -> String {
    format!("{spare}_{i}")
}

fn sets(grouping: &GroupingSet) -> Result<Vec<Vec<Expr>>> {
    let sets: Vec<Vec<Expr>> = match grouping {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        // Spelt out before; a plan made otherwise may have them.
        GroupingSet::Rollup(keys) => (0..=keys.len()).rev().map(|n| keys[..n].to_vec()).collect(),
        GroupingSet::Cube(_) => return Err(PlanError::unsupported("this CUBE is not offered", "write GROUPING SETS").into()),
    };
    if sets.len() > SETS_MAX { Err(too_many().into()) } else { Ok(sets) }
}

fn arm(
    a: &Aggregate,
    keys: &[Expr],
    key_columns: &[Column],
    call_columns: &[Column],
    set: &[Expr],
    spare: &str,
) -> Result<LogicalPlan> {
    let group: Vec<Expr> = keys.iter().filter(|k| set.contains(k)).cloned().collect();
    let mut calls: Vec<Expr> = a.aggr_expr.iter().filter(|e| grouping_args(e).is_none()).cloned().collect();
    if group.is_empty() && calls.is_empty() {
        let count = functions::aggregate("count").ok_or_else(|| PlanError::internal("no count"))?;
        calls.push(count.call(vec![lit(1i64)]).alias(spare));
    }
    let total = group.is_empty();
    let mut grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(&a.input), group, calls)?);
    if total {
        // It has one row anyhow. DataFusion would push a condition on the keys, which are constants here, below the aggregate,
        // which then has its row all the same.
        grouped = LogicalPlan::Limit(Limit { skip: None, fetch: Some(Box::new(lit(1i64))), input: Arc::new(grouped) });
    }
    let mut out = vec![];
    for (key, c) in keys.iter().zip(key_columns) {
        let e = if set.contains(key) { Expr::Column(c.clone()) } else { lit(ScalarValue::Null) };
        out.push(e.alias(name(spare, out.len())));
    }
    for (e, c) in a.aggr_expr.iter().zip(call_columns) {
        let e = match grouping_args(e) {
            None => Expr::Column(c.clone()),
            Some(args) => lit(bits(args, keys, set)?),
        };
        out.push(e.alias(name(spare, out.len())));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(out, Arc::new(grouped))?))
}

/// The arguments, if the call is `grouping(..)`.
fn grouping_args(e: &Expr) -> Option<&[Expr]> {
    match e {
        Expr::Alias(a) => grouping_args(&a.expr),
        Expr::AggregateFunction(f) if f.func.name() == "grouping" => Some(&f.params.args),
        _ => None,
    }
}

/// A bit for each argument, the last one's lowest: 1 where the set does not group by it.
fn bits(args: &[Expr], keys: &[Expr], set: &[Expr]) -> Result<i64> {
    let wrong = "arguments to GROUPING must be grouping expressions of the associated query level";
    if args.len() > 31 {
        return Err(PlanError::invalid("54023", "GROUPING must have fewer than 32 arguments").into());
    }
    args.iter().try_fold(0i64, |bits, arg| {
        if !keys.contains(arg) {
            return Err(PlanError::invalid("42803", wrong).into());
        }
        Ok(bits << 1 | i64::from(!set.contains(arg)))
    })
}
