//! What a floor above adds for statements that ask about the instance itself: functions and syntax of `pg_catalog`, which know
//! relations, settings and the session.
//!
//! Invariant: a statement that the dialect does not claim is planned as if there were none.

use super::names::Scope;
use crate::error::Result;
use datafusion::{logical_expr::ScalarUDF, sql::sqlparser::ast};
use std::sync::Arc;

/// Functions and syntax of system statements.
pub trait SystemDialect: Send + Sync {
    /// Whether the query asks about the instance; if so it is rewritten into what can be planned. Rewriting twice changes
    /// nothing more.
    fn rewrite(&self, query: &mut ast::Query, scope: &Scope) -> Result<bool>;

    /// Functions that only such a query has. They take the place of others of their names.
    fn functions(&self, scope: &Scope) -> Vec<Arc<ScalarUDF>>;

    /// The function that stands for `ARRAY(SELECT ..)`: its argument is the subquery.
    fn array_of_rows(&self) -> &'static str;
}
