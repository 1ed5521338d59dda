//! `ROWS FROM (f(..), g(..))`: functions that give rows, side by side, as UNNEST of the arrays they stand for: the shorter ones are filled
//! up with NULL. A function that gives one value gives one row, and may stand in FROM by itself.
//!
//! ```text
//!   ROWS FROM (generate_series(1, 3), json_each(j)) AS r(n)
//!        ─▶  UNNEST(pg_series(1, 3), pg_json_keys(j), pg_json_values(j)) AS r(n, key, value)
//!   FROM abs(-1) AS a
//!        ─▶  LATERAL (SELECT abs(-1) AS a) AS a
//! ```
//! The parser has made a function of it (`crate::parse::ROWS_FROM`).

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor,
};

use super::series::{self, function_name};
use super::{ast, calls, json, spelling};
use crate::error::PlanError;
use crate::parse::{ROWS_FROM, fold};

type Result<T> = std::result::Result<T, PlanError>;

/// The relation as UNNEST, if it is one of these.
///
/// # Errors
/// For what is no call, and functions that need types of rows.
pub(super) fn spelt(factor: &TableFactor) -> Result<Option<TableFactor>> {
    let (name, args, alias, with_ordinality) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => (name, &args.args, alias, *with_ordinality),
        TableFactor::Function { name, args, alias, with_ordinality, .. } => (name, args, alias, *with_ordinality),
        _ => return Ok(None),
    };
    match function_name(name) {
        Some(of) if of == ROWS_FROM => {}
        Some(of) if is_function(name) && !series::is_set_returning(name) => {
            return alone(&of, args, alias.as_ref(), with_ordinality).map(Some);
        }
        _ => return Ok(None),
    }
    let mut arrays: Vec<Expr> = vec![];
    let mut names: Vec<String> = vec![];
    let mut first = None;
    for arg in args {
        let (name, of) = columns(arg)?;
        first.get_or_insert(name);
        for (name, array) in of {
            names.push(name);
            arrays.push(array);
        }
    }
    let mut alias = match (alias, first) {
        (Some(alias), _) => {
            // one function of one column gives it the relation's name
            if let ([only], [_]) = (names.as_mut_slice(), args.as_slice()) {
                *only = fold(&alias.name);
            }
            alias.clone()
        }
        (None, Some(name)) => TableAlias { explicit: false, name: Ident::with_quote('"', name), columns: vec![], at: None },
        (None, None) => return Err(PlanError::syntax("ROWS FROM needs a function")),
    };
    let given = alias.columns.len();
    let rest = ast::told_apart(names).into_iter().skip(given);
    alias.columns.extend(rest.map(|name| TableAliasColumnDef { name: Ident::with_quote('"', name), data_type: None }));
    let alias = Some(alias);
    Ok(Some(TableFactor::UNNEST { alias, array_exprs: arrays, with_offset: false, with_offset_alias: None, with_ordinality }))
}

/// Whether a relation of this name with arguments is a function: one that gives rows, or one for each row.
pub(crate) fn is_function(name: &ObjectName) -> bool {
    series::is_set_returning(name) || function_name(name).is_some_and(|of| calls::is_of_row(&of))
}

/// A function of one row, which gives one.
fn alone(name: &str, args: &[FunctionArg], alias: Option<&TableAlias>, with_ordinality: bool) -> Result<TableFactor> {
    let Expr::Function(mut f) = spelling::call(name, vec![]) else {
        return Err(PlanError::internal("a call that is none"));
    };
    if let FunctionArguments::List(list) = &mut f.args {
        list.args = args.to_vec();
    }
    let mut subquery = crate::parse::parse_query("SELECT 1, 1::bigint AS ordinality", &crate::parse::ParseLimits::default())?;
    let shown = alias.map_or_else(|| name.to_owned(), |alias| fold(&alias.name));
    if let SetExpr::Select(s) = subquery.body.as_mut() {
        s.projection.truncate(if with_ordinality { 2 } else { 1 });
        if let Some(first) = s.projection.first_mut() {
            *first = SelectItem::ExprWithAlias { expr: Expr::Function(f), alias: Ident::with_quote('"', &shown) };
        }
    }
    let own = || TableAlias { explicit: false, name: Ident::with_quote('"', name), columns: vec![], at: None };
    Ok(TableFactor::Derived { lateral: true, subquery, alias: Some(alias.cloned().unwrap_or_else(own)), sample: None })
}

/// A function's name, and its columns as names and arrays.
fn columns(arg: &FunctionArg) -> Result<(String, Vec<(String, Expr)>)> {
    let odd = || PlanError::syntax(format!("not a function of ROWS FROM: {arg}"));
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(call @ Expr::Function(f))) = arg else { return Err(odd()) };
    let name = function_name(&f.name).ok_or_else(odd)?;
    if let Some(refused) = json::refused(&name) {
        return Err(refused);
    }
    let args = match &f.args {
        FunctionArguments::None => vec![],
        FunctionArguments::List(list) => {
            let unnamed = |a: &FunctionArg| match a {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
                _ => None,
            };
            list.args.iter().map(unnamed).collect::<Option<Vec<_>>>().unwrap_or_default()
        }
        FunctionArguments::Subquery(_) => return Err(odd()),
    };
    let one = |array: Expr| vec![(name.clone(), array)];
    let columns = if name == "unnest" {
        args.into_iter().map(|array| (name.clone(), spelling::flat(array))).collect()
    } else if let Some(columns) = json::columns_of(&name, args.clone()) {
        columns.into_iter().map(|(column, array)| (column.to_owned(), array)).collect()
    } else if let Some(array) = spelling::array_of(&name, args) {
        one(array)
    } else {
        one(spelling::call(crate::functions::rows::ARRAY.name, vec![call.clone()]))
    };
    Ok((name, columns))
}
