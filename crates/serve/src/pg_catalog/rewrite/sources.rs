//! What stands in FROM: relations of `pg_catalog` by their bare names, and functions that give many rows.
//!
//! `FROM unnest(a) AS x` becomes `FROM (SELECT unnest(a) AS x) AS x`, which may look at the queries around it, and at what
//! stands before it in the same FROM where it is LATERAL.

use super::{arrays, concern, tree};
use regauge_plan::sqlparser::{
    ast::{Expr, FunctionArg, FunctionArgExpr, Ident, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, Visitor},
    dialect::PostgreSqlDialect,
    parser::Parser,
};
use regauge_plan::walk::Visit;
use std::{collections::HashSet, ops::ControlFlow};

/// `pg_class` is `pg_catalog.pg_class`, whatever the search path says.
pub fn qualify(factor: &mut TableFactor, with: &HashSet<String>) {
    if let TableFactor::Table { name, args: None, .. } = factor
        && let [bare] = tree::parts(name).as_slice()
        && concern::is_bare_relation(bare, with)
    {
        *name = tree::object_name(&["pg_catalog", bare]);
    }
}

/// A function after another item of FROM may look at it.
pub fn mark_lateral(select: &mut Select) {
    let mut first = true;
    for item in &mut select.from {
        let joined = item.joins.iter_mut().map(|j| &mut j.relation);
        for factor in std::iter::once(&mut item.relation).chain(joined) {
            if !first && rows_of(factor).is_some_and(|rows| rows.arrays.iter().any(names_columns)) {
                derive(factor, true);
            }
            first = false;
        }
    }
}

/// A function in FROM becomes a subquery.
pub fn of_function(factor: &mut TableFactor) {
    derive(factor, false);
}

/// Relations that the planner knows as functions: windows of time.
const WINDOWS: &[&str] = &["tumble", "hop", "session", "cumulate"];

struct Rows {
    arrays: Vec<Expr>,
    /// One row with the function's value, instead of a row for each element.
    plain: bool,
    ordinality: bool,
    name: String,
    alias: Option<TableAlias>,
}

fn rows_of(factor: &TableFactor) -> Option<Rows> {
    let plain = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    let of = |name: Vec<String>, args: Vec<Expr>, ordinality: bool, alias: &Option<TableAlias>| {
        let last = name.last()?.clone();
        let mut plain = false;
        let arrays = if last == "unnest" {
            args
        } else if let Some(array) = arrays::array_of(&name, args.clone()) {
            vec![array]
        } else {
            plain = !WINDOWS.contains(&last.as_str());
            plain.then(|| vec![tree::call(&last, args)])?
        };
        Some(Rows { arrays, plain, ordinality, name: last, alias: alias.clone() })
    };
    match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
            let args = args.args.iter().map(plain).collect::<Option<_>>()?;
            of(tree::parts(name), args, *with_ordinality, alias)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => {
            let args = args.iter().map(plain).collect::<Option<_>>()?;
            of(tree::parts(name), args, *with_ordinality, alias)
        }
        TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } => {
            of(vec!["unnest".to_owned()], array_exprs.clone(), *with_ordinality, alias)
        }
        _ => None,
    }
}

fn derive(factor: &mut TableFactor, lateral: bool) {
    let Some(rows) = rows_of(factor) else { return };
    let Some(mut subquery) = template() else { return };
    let SetExpr::Select(select) = subquery.body.as_mut() else { return };
    let table = rows.alias.as_ref().map_or_else(|| Ident::new(&rows.name), |a| a.name.clone());
    let named: Vec<Ident> = rows.alias.iter().flat_map(|a| &a.columns).map(|c| c.name.clone()).collect();
    let single = rows.arrays.len() == 1;
    let default = |at: usize| if single { table.clone() } else { Ident::new(format!("unnest_{}", at + 1)) };
    let first = rows.arrays.first().cloned();
    let n = rows.arrays.len();
    select.projection.clear();
    for (at, array) in rows.arrays.into_iter().enumerate() {
        let alias = named.get(at).cloned().unwrap_or_else(|| default(at));
        let expr = if rows.plain { array } else { tree::call("unnest", vec![array]) };
        select.projection.push(SelectItem::ExprWithAlias { expr, alias });
    }
    if let (true, Some(first)) = (rows.ordinality, first) {
        let alias = named.get(n).cloned().unwrap_or_else(|| Ident::new("ordinality"));
        let numbers = tree::call("unnest", vec![tree::call("pg_subscripts", vec![first])]);
        select.projection.push(SelectItem::ExprWithAlias { expr: numbers, alias });
    }
    let alias = Some(TableAlias { explicit: true, name: table, columns: vec![], at: None });
    *factor = TableFactor::Derived { lateral, subquery: Box::new(subquery), alias, sample: None };
}

fn template() -> Option<Query> {
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql("SELECT 1").ok()?;
    parser.parse_query().ok().map(|q| *q)
}

fn names_columns(e: &Expr) -> bool {
    struct V;
    impl Visitor for V {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &Expr) -> ControlFlow<()> {
            match e {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    e.visit(&mut V).is_break()
}
