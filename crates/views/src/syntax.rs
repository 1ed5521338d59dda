//! Syntax that this crate writes itself: queries around the expressions of INSERT, UPDATE and DELETE.
//!
//! Trees are joined, texts are not: a user's expression is never printed and parsed again. Only names that we quote ourselves go
//! through text.

use crate::error::{Error, Result, sqlstate as code};
use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast;
use regauge_plan::parse::{ParseLimits, Statement, parse};
use std::collections::HashMap;

/// The one query of a text.
pub fn query(sql: &str) -> Result<ast::Query> {
    let mut statements = parse(sql, &ParseLimits::default()).map_err(Error::from)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok(*query),
        _ => Err(Error::invalid(code::SYNTAX, "a query was expected")),
    }
}

/// An expression of a text, for defaults that the catalog keeps as text.
pub fn expression(sql: &str) -> Result<ast::Expr> {
    let select = select_of(query(&format!("SELECT {sql}"))?)?;
    match select.projection.into_iter().next() {
        Some(ast::SelectItem::UnnamedExpr(expr)) => Ok(expr),
        _ => Err(Error::invalid(code::SYNTAX, "an expression was expected")),
    }
}

/// A name in quotes.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `SELECT items FROM from WHERE selection`; `from` is text of names that were quoted here.
pub fn select(items: Vec<ast::SelectItem>, from: &str, selection: Option<ast::Expr>) -> Result<ast::Query> {
    let mut query = query(&format!("SELECT 1 FROM {from}"))?;
    let ast::SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("template is no select"));
    };
    select.projection = items;
    select.selection = selection;
    Ok(query)
}

fn select_of(query: ast::Query) -> Result<ast::Select> {
    match *query.body {
        ast::SetExpr::Select(select) => Ok(*select),
        _ => Err(Error::internal("template is no select")),
    }
}

/// `relation.column AS alias`, all quoted.
#[must_use]
pub fn column_as(relation: &str, column: &str, alias: &str) -> ast::SelectItem {
    let expr = ast::Expr::CompoundIdentifier(vec![ident(relation), ident(column)]);
    ast::SelectItem::ExprWithAlias { expr, alias: ident(alias) }
}

/// `expr AS alias`.
#[must_use]
pub fn expr_as(expr: ast::Expr, alias: &str) -> ast::SelectItem {
    ast::SelectItem::ExprWithAlias { expr, alias: ident(alias) }
}

/// `relation.*`
pub fn all_of(relation: &str) -> ast::SelectItem {
    let name = ast::SelectItemQualifiedWildcardKind::ObjectName(ast::ObjectName::from(vec![ident(relation)]));
    ast::SelectItem::QualifiedWildcard(name, ast::WildcardAdditionalOptions::default())
}

/// A query without FOR UPDATE: its columns are the same.
pub fn unlocked(query: &ast::Query) -> ast::Query {
    ast::Query { locks: vec![], ..query.clone() }
}

/// A quoted identifier.
#[must_use]
pub fn ident(name: &str) -> ast::Ident {
    ast::Ident::with_quote('"', name)
}

/// NULL.
#[must_use]
pub fn null() -> ast::Expr {
    ast::Expr::Value(ast::Value::Null.into())
}

/// Whether an expression is the word DEFAULT.
#[must_use]
pub fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"))
}

/// `CAST(expr AS ty)`.
pub fn cast_to(expr: ast::Expr, ty: &DataType) -> Result<ast::Expr> {
    let mut cast = expression(&format!("CAST(NULL AS {})", crate::catalog::ty::name(ty)))?;
    if let ast::Expr::Cast { expr: inner, .. } = &mut cast {
        **inner = expr;
    }
    Ok(cast)
}

/// Casts of many expressions: each type is written once.
#[derive(Default)]
pub struct Casts(HashMap<DataType, ast::Expr>);

impl Casts {
    /// As [`cast_to`].
    pub fn to(&mut self, expr: ast::Expr, ty: &DataType) -> Result<ast::Expr> {
        let mut cast = match self.0.get(ty) {
            Some(known) => known.clone(),
            None => {
                let made = cast_to(null(), ty)?;
                self.0.insert(ty.clone(), made.clone());
                made
            }
        };
        if let ast::Expr::Cast { expr: inner, .. } = &mut cast {
            **inner = expr;
        }
        Ok(cast)
    }
}

/// `expr` as a value for a column: refused where PostgreSQL has no assignment cast.
pub fn assigned(expr: ast::Expr, ty: &DataType, column: &str) -> Result<ast::Expr> {
    let name = column.replace('\'', "''");
    let call = expression(&format!("pg_assign(NULL, CAST(NULL AS {}), '{name}')", crate::catalog::ty::name(ty)))?;
    Ok(with_first(call, expr))
}

/// A call with another first argument.
#[must_use]
pub fn with_first(mut call: ast::Expr, first: ast::Expr) -> ast::Expr {
    if let ast::Expr::Function(ast::Function { args: ast::FunctionArguments::List(list), .. }) = &mut call
        && let Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value))) = list.args.first_mut()
    {
        *value = first;
    }
    call
}

/// Whether an expression is a string or NULL, whose type is open.
#[must_use]
pub fn is_open(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Nested(inner) => is_open(inner),
        ast::Expr::Value(value) => matches!(
            value.value,
            ast::Value::SingleQuotedString(_)
                | ast::Value::EscapedStringLiteral(_)
                | ast::Value::DollarQuotedString(_)
                | ast::Value::Null
        ),
        _ => false,
    }
}
