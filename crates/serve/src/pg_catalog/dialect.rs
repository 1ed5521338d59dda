//! The hook of the planner: [`super::rewrite`] for syntax, [`super::functions`] for functions.

use super::{facts::Facts, functions, rewrite};
use regauge_plan::sqlparser::ast;
use regauge_views::{
    Result,
    read::{
        names::Scope,
        system::{SystemDialect, SystemFunction},
    },
};
use std::sync::Arc;

/// PostgreSQL's catalogue as the planner's dialect.
pub struct Dialect;

impl SystemDialect for Dialect {
    fn rewrite(&self, query: &mut ast::Query, scope: &Scope) -> Result<bool> {
        Ok(rewrite::rewrite(query, scope))
    }

    fn functions(&self, scope: &Scope) -> Vec<Arc<dyn SystemFunction>> {
        functions::all(&Facts::new(scope))
    }

    fn array_of_rows(&self) -> &'static str {
        functions::ARRAY_OF_ROWS
    }
}
