//! WITH before INSERT, UPDATE, DELETE and MERGE, and those within WITH: one statement of several parts, each with a name, and a last one.
//!
//! ```text
//!   WITH gone AS (DELETE .. RETURNING ..), n AS (SELECT .. FROM gone) INSERT ..
//!   parts: gone = Delete, n = Query; body: Insert
//! ```
//! A WITH that only reads stays the query's own. As in PostgreSQL only the outermost WITH of a statement may hold what writes.

use crate::walk::Visit;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Query, SetExpr, Visitor};

use super::dml::{delete_of, insert_of, update_of};
use super::statement::Statement;
use super::{Result, fold};
use crate::error::PlanError;

/// A statement of several parts that see the same rows: those from before the statement, and what earlier parts give.
#[derive(Debug, Clone, PartialEq)]
pub struct With {
    /// In the order of the text.
    pub parts: Vec<Part>,
    /// What the statement is: a query, INSERT, UPDATE, DELETE or MERGE.
    pub body: Statement,
}

/// `name (columns) AS (statement)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What later parts call its rows.
    pub name: String,
    /// New names for its first columns.
    pub columns: Vec<String>,
    /// A query, INSERT, UPDATE or DELETE.
    pub work: Statement,
}

/// The statement that a text which sqlparser takes for a query is.
pub(super) fn statement(mut query: Box<Query>) -> Result<Statement> {
    let within = query.with.iter().flat_map(|w| &w.cte_tables).any(|c| writes(&c.query.body));
    if !within && !writes(&query.body) {
        at_the_top(query.as_ref())?;
        return Ok(Statement::Query(query));
    }
    let Some(with) = query.with.take() else { return work(query) };
    let parts = parts(with)?;
    let body = work(query)?;
    Ok(Statement::With(Box::new(With { parts, body })))
}

/// The parts of a WITH, each as the statement that it is.
pub(super) fn parts(with: ast::With) -> Result<Vec<Part>> {
    let ast::With { with_token, recursive, cte_tables } = with;
    let mut parts: Vec<Part> = vec![];
    for cte in cte_tables {
        let name = fold(&cte.alias.name);
        if parts.iter().any(|p| p.name == name) {
            return Err(PlanError::invalid("42712", format!("WITH query name \"{name}\" specified more than once")));
        }
        let mut columns: Vec<String> = cte.alias.columns.iter().map(|c| fold(&c.name)).collect();
        let work = match writes(&cte.query.body) {
            true => work(cte.query)?,
            false if recursive => {
                columns.clear();
                let all = select_all(&cte.alias.name)?;
                let with = ast::With { with_token: with_token.clone(), recursive, cte_tables: vec![cte] };
                Statement::Query(Box::new(Query { with: Some(with), ..all }))
            }
            false => Statement::Query(cte.query),
        };
        if let Statement::Query(q) = &work {
            at_the_top(q.as_ref())?;
        }
        parts.push(Part { name, columns, work });
    }
    Ok(parts)
}

fn select_all(name: &ast::Ident) -> Result<Query> {
    super::parse_query(&format!("SELECT * FROM {name}"), &super::ParseLimits::default()).map(|q| *q)
}

/// Whether a query's body is a statement that writes.
fn writes(body: &SetExpr) -> bool {
    matches!(body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

/// A query without WITH, or the statement that its body is.
fn work(query: Box<Query>) -> Result<Statement> {
    if query.with.is_some() && writes(&query.body) {
        return Err(nested());
    }
    let statement = match *query.body {
        SetExpr::Insert(ast::Statement::Insert(i)) => Statement::Insert(Box::new(insert_of(i)?)),
        SetExpr::Update(ast::Statement::Update(u)) => Statement::Update(Box::new(update_of(u)?)),
        SetExpr::Delete(ast::Statement::Delete(d)) => Statement::Delete(Box::new(delete_of(d)?)),
        SetExpr::Merge(_) => return Err(super::no_merge()),
        body => {
            let query = Query { body: Box::new(body), ..*query };
            at_the_top(&query)?;
            return Ok(Statement::Query(Box::new(query)));
        }
    };
    Ok(statement)
}

fn nested() -> PlanError {
    PlanError::unsupported(
        "WITH clause containing a data-modifying statement must be at the top level",
        "move it into the first WITH of the statement",
    )
}

/// Refuses writing statements anywhere within a query.
fn at_the_top(query: &Query) -> Result<()> {
    struct V;
    impl Visitor for V {
        type Break = ();
        fn pre_visit_query(&mut self, q: &Query) -> ControlFlow<()> {
            if writes(&q.body) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    if query.visit(&mut V).is_break() { Err(nested()) } else { Ok(()) }
}
