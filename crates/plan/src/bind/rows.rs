//! Rows as syntax, before anything is bound: functions that give rows in FROM read the relations before them (LATERAL is implied), and
//! what stands in VALUES keeps its own type until all rows are known. And series in a bound plan: they stay calls.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr as DfExpr, LogicalPlan, ScalarUDF};
use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, Ident, JoinOperator, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    TableWithJoins,
};

use super::series::{function_name, is_set_returning};
use super::{json, spelling};
use crate::error::PlanError;
use crate::functions::rows::MARKED;
use crate::functions::series::SERIES;
use crate::functions::udf::PgFunction;

/// Rewrites the bodies of one query; queries within it have been or will be visited themselves.
pub(super) fn spell(body: &mut SetExpr) {
    let mut todo = vec![body];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                todo.push(left);
                todo.push(right);
            }
            SetExpr::Select(s) => s.from.iter_mut().for_each(lateral),
            SetExpr::Values(v) if v.rows.len() > 1 => {
                open_literals(v);
                v.rows.iter_mut().flat_map(|r| r.content.iter_mut()).for_each(keep_type);
            }
            _ => {}
        }
    }
}

fn lateral(t: &mut TableWithJoins) {
    unfold(&mut t.relation);
    for join in &mut t.joins {
        // The side that is filled up reads nothing of the other; it is planned by itself.
        let alone =
            matches!(join.join_operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_));
        if !alone {
            unfold(&mut join.relation);
        }
    }
}

/// A call in FROM becomes UNNEST of the array it stands for, which the binder takes to be lateral.
fn unfold(t: &mut TableFactor) {
    let (name, args, alias, with_ordinality) = match t {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } if is_set_returning(name) => {
            (name.clone(), args.args.clone(), alias.clone(), *with_ordinality)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } if is_set_returning(name) => {
            (name.clone(), args.clone(), alias.clone(), *with_ordinality)
        }
        TableFactor::NestedJoin { table_with_joins, .. } => return lateral(table_with_joins),
        _ => return,
    };
    let Some(name) = function_name(&name) else { return };
    let unnamed = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    let Some(args) = args.iter().map(unnamed).collect::<Option<Vec<_>>>() else { return };
    let (fixed, array_exprs): (Vec<_>, Vec<_>) = match json::columns_of(&name, args.clone()) {
        Some(columns) => columns.into_iter().unzip(),
        None => match spelling::array_of(&name, args.clone()) {
            Some(array) => (vec![], vec![array]),
            None if name == "unnest" => (vec![], args.into_iter().map(spelling::flat).collect()),
            None => (vec![], args),
        },
    };
    if array_exprs.is_empty() {
        return;
    }
    let mut alias = alias.unwrap_or_else(|| TableAlias { explicit: false, name: Ident::new(&name), columns: vec![], at: None });
    // columns that have names of their own keep them, whatever the alias is
    let fixed = fixed.into_iter().skip(alias.columns.len());
    alias.columns.extend(fixed.map(|name| TableAliasColumnDef { name: Ident::new(name), data_type: None }).collect::<Vec<_>>());
    let alias = Some(alias);
    *t = TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_offset_alias: None, with_ordinality };
}

/// A literal whose type is open has that of the other rows where they all name one and the same: the binder would take both for text.
fn open_literals(values: &mut ast::Values) {
    let is_open = |e: &Expr| matches!(e, Expr::Value(v) if matches!(v.value, ast::Value::SingleQuotedString(_)));
    let is_null = |e: &Expr| matches!(e, Expr::Value(v) if v.value == ast::Value::Null);
    let named = |e: &Expr| match e {
        Expr::Interval(_) => Some(ast::DataType::Interval { fields: None, precision: None }),
        Expr::Cast { data_type, array: false, .. } => Some(data_type.clone()),
        Expr::TypedString(typed) => Some(typed.data_type.clone()),
        _ => None,
    };
    let n = values.rows.iter().map(|row| row.content.len()).max().unwrap_or(0);
    for at in 0..n {
        let column = || values.rows.iter().filter_map(|row| row.content.get(at));
        let mut types = column().filter(|e| !is_open(e) && !is_null(e)).map(named);
        let Some(Some(first)) = types.next() else { continue };
        if !column().any(is_open) || types.any(|ty| ty.as_ref() != Some(&first)) {
            continue;
        }
        for e in values.rows.iter_mut().filter_map(|row| row.content.get_mut(at)).filter(|e| is_open(e)) {
            let text = std::mem::replace(e, Expr::value(ast::Value::Null));
            *e = spelling::cast(text, first.clone());
        }
    }
}

/// Marks what has a type of its own; literals and parameters take theirs from the column.
fn keep_type(e: &mut Expr) {
    if matches!(e, Expr::Cast { .. } | Expr::Function(_) | Expr::BinaryOp { .. }) && !e.to_string().contains('$') {
        *e = spelling::call(MARKED, vec![std::mem::replace(e, Expr::value(ast::Value::Null))]);
    }
}

/// A view's series of constants stays a call: as a constant it would stand in the plan, element by element.
pub(super) fn unfolded(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|e| {
            let name = names.save(&e);
            let e = e.transform_up(|e| match e {
                DfExpr::ScalarFunction(mut f) if f.name() == SERIES.name => {
                    f.func = Arc::new(ScalarUDF::new_from_impl(PgFunction::unfolded(&SERIES)));
                    Ok(Transformed::yes(DfExpr::ScalarFunction(f)))
                }
                e => Ok(Transformed::no(e)),
            })?;
            Ok(e.update_data(|e| name.restore(e)))
        })
    })?;
    Ok(plan.data)
}
