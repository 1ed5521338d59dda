//! What TUMBLE, HOP, CUMULATE and SESSION read. DataFusion finds the relations of a statement before it plans it, and does not look into the
//! arguments of table functions; so their inputs are named for it where it looks.
//!
//! ```text
//!   SELECT .. FROM TUMBLE(t, ..)   is asked for its names as      SELECT .. FROM t
//!                                  and planned as    WITH "__window_0" AS (SELECT 1 FROM t) SELECT .. FROM TUMBLE(t, ..)
//! ```
//! A subquery in the place of t likewise: the relations in it are those named.
//! It does not know what a window is: the planner of views does.

use crate::{error::Result, syntax};
use datafusion::{
    common::TableReference,
    sql::sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, TableFactor, VisitorMut},
};
use regauge_plan::walk::VisitMut;
use std::ops::ControlFlow;

/// The same query with each window's input in the window's place; `None` when there is no window over a relation or a subquery.
pub(super) fn unwindowed(query: &ast::Query) -> Option<ast::Query> {
    struct Inputs(bool);
    impl VisitorMut for Inputs {
        type Break = ();
        // What is put in is visited next: windows within a window's subquery are found.
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let Some(read) = input(factor) {
                *factor = read;
                self.0 = true;
            }
            ControlFlow::Continue(())
        }
    }
    let mut query = query.clone();
    let mut inputs = Inputs(false);
    let _: ControlFlow<()> = VisitMut::visit(&mut query, &mut inputs);
    inputs.0.then_some(query)
}

fn is_window(name: &ast::ObjectName) -> bool {
    let name = name.to_string();
    ["tumble", "hop", "cumulate", "session"].iter().any(|window| name.eq_ignore_ascii_case(window))
}

/// What a window is over: a named relation or a subquery, by the window's alias.
fn input(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Table { name, args: Some(args), alias, .. } = factor else { return None };
    if regauge_plan::batch::is_function_of_from(name) {
        return arguments(args, alias.as_ref());
    }
    if !is_window(name) {
        return None;
    }
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(over)) = args.args.first()? else { return None };
    let input = match over {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(parts) => parts.clone(),
        Expr::Subquery(subquery) => {
            return Some(TableFactor::Derived { lateral: false, subquery: subquery.clone(), alias: alias.clone(), sample: None });
        }
        _ => return None,
    };
    let mut read = factor.clone();
    if let TableFactor::Table { name, args, .. } = &mut read {
        *name = ast::ObjectName::from(input);
        *args = None;
    }
    Some(read)
}

/// A function reads what its arguments read.
fn arguments(args: &ast::TableFunctionArgs, alias: Option<&ast::TableAlias>) -> Option<TableFactor> {
    let mut query = syntax::query("SELECT 1").ok()?;
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        let expr = |arg: &FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(ast::SelectItem::UnnamedExpr(e.clone())),
            _ => None,
        };
        select.projection = args.args.iter().filter_map(expr).collect();
    }
    Some(TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: alias.cloned(), sample: None })
}

/// Names relations in a query that does not read them otherwise.
pub(super) fn mention(query: &mut ast::Query, relations: &[&TableReference]) -> Result<()> {
    for (i, relation) in relations.iter().enumerate() {
        let template =
            syntax::query(&format!("WITH \"__window_{i}\" AS (SELECT 1 FROM {}) SELECT 1", relation.to_quoted_string()))?;
        match (&mut query.with, template.with) {
            (Some(with), Some(mention)) => drop(with.cte_tables.splice(0..0, mention.cte_tables)),
            (with, mention) => *with = mention,
        }
    }
    Ok(())
}
