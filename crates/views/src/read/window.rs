//! What TUMBLE and HOP read. DataFusion finds the relations of a statement before it plans it, and does not look into the
//! arguments of table functions; so their inputs are named for it where it looks.
//!
//! ```text
//!   SELECT .. FROM TUMBLE(t, ..)   is asked for its names as      SELECT .. FROM t
//!                                  and planned as    WITH "__window_0" AS (SELECT 1 FROM t) SELECT .. FROM TUMBLE(t, ..)
//! ```
//! It does not know what a window is: the planner of views does.

use crate::{error::Result, syntax};
use datafusion::{
    common::TableReference,
    sql::sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, TableFactor, VisitMut, VisitorMut},
};
use std::ops::ControlFlow;

/// The same query with each window's input in the window's place; `None` when there is no window over a named relation.
pub(super) fn unwindowed(query: &ast::Query) -> Option<ast::Query> {
    struct Inputs(bool);
    impl VisitorMut for Inputs {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args: args @ Some(_), .. } = factor
                && is_window(name)
                && let Some(input) = args.as_ref().and_then(|a| a.args.first()).and_then(input)
            {
                *name = ast::ObjectName::from(input);
                *args = None;
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
    name.eq_ignore_ascii_case("tumble") || name.eq_ignore_ascii_case("hop")
}

fn input(arg: &FunctionArg) -> Option<Vec<ast::Ident>> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name))) => Some(vec![name.clone()]),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::CompoundIdentifier(parts))) => Some(parts.clone()),
        _ => None,
    }
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
