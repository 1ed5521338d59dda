//! What JSON asks of a query's text: whole rows and function aliases as values, and aggregates made of `array_agg`.
//!
//! ```text
//!   row_to_json(t), json_agg(t)               f(t.*)        the row's columns are written out once they are known (`whole_row`)
//!   e ->> 'x' FROM jsonb_array_elements(..) e e.value ->> 'x'
//!   json_agg(x ORDER BY y)                    pg_json_list(array_agg(x ORDER BY y))
//!   json_object_agg(k, v)                     pg_json_members(array_agg(pg_json_member(k, v)))
//! ```
//! So views keep the lists that they can keep already, and DISTINCT, FILTER, ORDER BY and OVER mean what they mean there. Knows no types
//! and no columns: an alias of FROM that is also a column's name is taken for the row.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, JoinOperator, ObjectName, Query, SelectItem, SetExpr,
    TableFactor, TableWithJoins, Value, VisitorMut,
};

use super::names::row::unless_empty;
use super::series::function_name;
use super::spelling::{call, fields};
use super::{json_record, rows_from};
use crate::error::PlanError;
use crate::parse::fold;

/// What an alias of FROM stands for where it stands alone.
#[derive(Clone)]
enum Alias {
    /// A relation's row; whether an outer join may have left it empty.
    Row(bool),
    /// The column of this name.
    Column(Ident),
}

/// Rewrites aliases in a query and in all within it.
///
/// # Errors
/// 0A000 for functions in FROM that need types of rows.
pub(super) fn aliases(query: &mut Query) -> Result<(), PlanError> {
    struct V(Vec<Vec<(String, Alias)>>);
    impl V {
        fn find(&self, name: &str) -> Option<&Alias> {
            self.0.iter().rev().flatten().find(|(alias, _)| alias == name).map(|(_, kind)| kind)
        }
        fn column(&self, e: &Expr) -> Option<Expr> {
            let Expr::Identifier(i) = e else { return None };
            match self.find(&fold(i))? {
                Alias::Column(column) => Some(Expr::CompoundIdentifier(vec![i.clone(), column.clone()])),
                Alias::Row(_) => None,
            }
        }
    }
    impl VisitorMut for V {
        type Break = PlanError;
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<PlanError> {
            // as it is written: what stands for another call comes from here on
            if let TableFactor::UNNEST { array_exprs, .. } = factor {
                array_exprs.iter_mut().for_each(|e| *e = super::spelling::flat(super::spelling::take(e)));
            }
            for spelt in [json_record::spelt, rows_from::spelt] {
                match spelt(factor) {
                    Ok(Some(query)) => *factor = query,
                    Ok(None) => {}
                    Err(error) => return ControlFlow::Break(error),
                }
            }
            match factor {
                TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                    let name = function_name(name).unwrap_or_default();
                    refused(&name).map_or(ControlFlow::Continue(()), ControlFlow::Break)
                }
                _ => ControlFlow::Continue(()),
            }
        }
        fn pre_visit_query(&mut self, q: &mut Query) -> ControlFlow<PlanError> {
            let mut frame = vec![];
            of_body(&q.body, &mut frame);
            self.0.push(frame);
            name_items(&mut q.body, self);
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<PlanError> {
            self.0.pop();
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
            if let Some(within) = within_query(e) {
                *e = within;
            }
            if let Expr::Function(f) = e {
                let empty = |name: &str| match self.find(name) {
                    Some(Alias::Row(empty)) => Some(*empty),
                    _ => None,
                };
                if let Some(guarded) = whole_rows(f, empty) {
                    *e = guarded;
                }
            }
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
            if let Some(column) = self.column(e) {
                *e = column;
            }
            ControlFlow::Continue(())
        }
    }
    /// An alias in a select list keeps its name.
    fn name_items(body: &mut SetExpr, aliases: &V) {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                name_items(left, aliases);
                name_items(right, aliases);
            }
            SetExpr::Select(s) => {
                for item in &mut s.projection {
                    if let SelectItem::UnnamedExpr(e @ Expr::Identifier(_)) = item
                        && let Some(expr) = aliases.column(e)
                        && let Expr::Identifier(alias) = e
                    {
                        *item = SelectItem::ExprWithAlias { expr, alias: alias.clone() };
                    }
                }
            }
            _ => {}
        }
    }
    match VisitMut::visit(query, &mut V(vec![])) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// What is said of functions whose rows have types that the query gives.
pub(super) fn refused(name: &str) -> Option<PlanError> {
    matches!(
        name,
        "json_populate_record"
            | "jsonb_populate_record"
            | "json_populate_recordset"
            | "jsonb_populate_recordset"
            | "json_to_record"
            | "jsonb_to_record"
            | "json_to_recordset"
            | "jsonb_to_recordset"
    )
    .then(|| {
        PlanError::unsupported(
            format!("{name} is not offered"),
            "name the fields: (j ->> 'a')::int AS a; rows out of an array: FROM jsonb_array_elements(j) AS e",
        )
    })
}

fn of_body(body: &SetExpr, frame: &mut Vec<(String, Alias)>) {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            of_body(left, frame);
            of_body(right, frame);
        }
        SetExpr::Select(s) => {
            s.from.iter().for_each(|from| of_joins(from, frame));
        }
        _ => {}
    }
}

fn of_joins(from: &TableWithJoins, frame: &mut Vec<(String, Alias)>) {
    let begin = frame.len();
    of_factor(&from.relation, frame);
    let filled = |rows: &mut [(String, Alias)]| {
        for (_, alias) in rows {
            if let Alias::Row(empty) = alias {
                *empty = true;
            }
        }
    };
    for join in &from.joins {
        let right = frame.len();
        of_factor(&join.relation, frame);
        match &join.join_operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => filled(&mut frame[right..]),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => filled(&mut frame[begin..right]),
            JoinOperator::FullOuter(_) => filled(&mut frame[begin..]),
            _ => {}
        }
    }
}

fn of_factor(factor: &TableFactor, frame: &mut Vec<(String, Alias)>) {
    match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            let name = alias.as_ref().map(|a| &a.name).or(name.0.last().and_then(|part| part.as_ident()));
            frame.extend(name.map(|name| (fold(name), Alias::Row(false))));
        }
        TableFactor::Derived { alias: Some(alias), .. } => frame.push((fold(&alias.name), Alias::Row(false))),
        TableFactor::Table { name, alias: Some(alias), args: Some(_), .. }
        | TableFactor::Function { name, alias: Some(alias), .. } => {
            let of = function_name(name).unwrap_or_default();
            if columns_of(&of, vec![]).is_some_and(|columns| columns.len() == 1) {
                let column = alias.columns.first().map_or_else(|| Ident::new("value"), |c| c.name.clone());
                frame.push((fold(&alias.name), Alias::Column(column)));
            }
        }
        TableFactor::NestedJoin { table_with_joins, .. } => of_joins(table_with_joins, frame),
        _ => {}
    }
}

/// The array functions whose elements are a set-returning function's columns, and what those are called; `None` for others.
pub(super) fn columns_of(name: &str, args: Vec<Expr>) -> Option<Vec<(&'static str, Expr)>> {
    Some(match name {
        "json_array_elements" => vec![("value", call("pg_json_elements", args))],
        "jsonb_array_elements" => vec![("value", call("pg_jsonb_elements", args))],
        "json_array_elements_text" => vec![("value", call("pg_json_elements_text", args))],
        "jsonb_array_elements_text" => vec![("value", call("pg_jsonb_elements_text", args))],
        "json_each" => vec![("key", call("pg_json_keys", args.clone())), ("value", call("pg_json_values", args))],
        "jsonb_each" => vec![("key", call("pg_jsonb_keys", args.clone())), ("value", call("pg_jsonb_values", args))],
        "json_each_text" => vec![("key", call("pg_json_keys", args.clone())), ("value", call("pg_json_values_text", args))],
        "jsonb_each_text" => {
            vec![("key", call("pg_jsonb_keys", args.clone())), ("value", call("pg_jsonb_values_text", args))]
        }
        _ => return None,
    })
}

fn name_of(f: &Function) -> Option<String> {
    function_name(&f.name)
}

/// `to_json((SELECT t FROM (SELECT a, b) AS t))` is `(SELECT to_json(t) FROM (SELECT a, b) AS t)`.
fn within_query(e: &Expr) -> Option<Expr> {
    let Expr::Function(f) = e else { return None };
    if !matches!(name_of(f)?.as_str(), "row_to_json" | "to_json" | "to_jsonb") {
        return None;
    }
    let FunctionArguments::List(list) = &f.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))] = list.args.as_slice() else { return None };
    let mut arg = arg;
    while let Expr::Nested(inner) = arg {
        arg = inner;
    }
    let Expr::Subquery(query) = arg else { return None };
    let mut query = query.clone();
    let SetExpr::Select(s) = query.body.as_mut() else { return None };
    let mut frame = vec![];
    s.from.iter().for_each(|from| of_joins(from, &mut frame));
    let [SelectItem::UnnamedExpr(row @ Expr::Identifier(_))] = s.projection.as_mut_slice() else { return None };
    let Expr::Identifier(i) = &*row else { return None };
    if s.distinct.is_some() || !frame.iter().any(|(name, alias)| *name == fold(i) && matches!(alias, Alias::Row(_))) {
        return None;
    }
    let mut f = f.clone();
    if let FunctionArguments::List(list) = &mut f.args {
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(row.clone()))];
    }
    *row = Expr::Function(f);
    Some(Expr::Subquery(query))
}

/// Names `f1`, `f2` and so on with a row's values in turn; `None` for what is no row constructor.
fn members_of(row: &Expr) -> Option<Vec<Expr>> {
    let values = fields(row)?;
    let named = |(at, value): (usize, Expr)| {
        let name = Expr::value(Value::SingleQuotedString(format!("f{}", at + 1)));
        let value = members_of(&value).map_or(value, |members| call("pg_row_json", members));
        [name, value]
    };
    Some(values.into_iter().enumerate().flat_map(named).collect())
}

/// Whether an argument is a row as an object, which `json_agg` writes on a line of its own.
fn is_object(arg: &FunctionArg) -> bool {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) = arg else { return false };
    match e {
        Expr::Function(f) => matches!(name_of(f).as_deref(), Some("pg_row_json" | "pg_row_jsonb")),
        Expr::Case { else_result: Some(value), .. } => is_object(&FunctionArg::Unnamed(FunctionArgExpr::Expr((**value).clone()))),
        _ => false,
    }
}

/// `f(t)` where t is a relation becomes `f(t.*)`; where an outer join may have left the row empty, it is given back as NULL then.
/// `empty`: of a relation's name, whether that may be.
fn whole_rows(f: &mut Function, empty: impl Fn(&str) -> Option<bool>) -> Option<Expr> {
    let name = name_of(f)?;
    let alone = matches!(name.as_str(), "row_to_json" | "to_json" | "to_jsonb" | "json_agg" | "jsonb_agg");
    let within = matches!(
        name.as_str(),
        "json_build_object"
            | "jsonb_build_object"
            | "json_build_array"
            | "jsonb_build_array"
            | "json_object_agg"
            | "jsonb_object_agg"
    );
    if !(alone || within) {
        return None;
    }
    let FunctionArguments::List(list) = &mut f.args else { return None };
    let mut guarded = None;
    for arg in &mut list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) = arg else { continue };
        let jsonb = name.contains("jsonb");
        let object = if jsonb { "pg_row_jsonb" } else { "pg_row_json" };
        if let Some(members) = members_of(e) {
            let row = call(object, members);
            if matches!(name.as_str(), "row_to_json" | "to_json" | "to_jsonb") {
                return Some(row);
            }
            *e = row;
            continue;
        }
        let Expr::Identifier(i) = &*e else { continue };
        let Some(empty) = empty(&fold(i)) else { continue };
        let of = ObjectName::from(vec![i.clone()]);
        let star = FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(of.clone()));
        let row = || Expr::QualifiedWildcard(of.clone(), AttachedToken::empty());
        match (alone, name.ends_with("_agg")) {
            (true, false) => {
                *arg = star;
                guarded = empty.then(row);
            }
            (true, true) if !empty => *arg = star,
            _ => {
                let value = with_args(object, vec![star]);
                *e = if empty { unless_empty(row(), value) } else { value };
            }
        }
    }
    guarded.map(|row| unless_empty(row, Expr::Function(f.clone())))
}

fn with_args(name: &str, args: Vec<FunctionArg>) -> Expr {
    let mut e = call(name, vec![]);
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut e {
        list.args = args;
    }
    e
}

/// Functions of JSON that are spelt otherwise; `None` for all others.
///
/// # Errors
/// 0A000 for those that need types of rows.
pub(super) fn function(f: &mut Function) -> Result<Option<Expr>, PlanError> {
    let Some(name) = name_of(f) else { return Ok(None) };
    let jsonb = name.starts_with("jsonb");
    match name.as_str() {
        name if refused(name).is_some() => return refused(name).map_or(Ok(None), Err),
        "row_to_json" | "to_json" | "to_jsonb" => {
            let star = matches!(&f.args, FunctionArguments::List(l) if matches!(l.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_))]));
            if star {
                f.name = ObjectName::from(vec![Ident::new(if name == "to_jsonb" { "pg_row_jsonb" } else { "pg_row_json" })]);
            } else if name == "row_to_json" {
                return Err(PlanError::unsupported(
                    "row_to_json takes a relation of FROM here",
                    "json_build_object('name', value, ..) makes an object of values",
                ));
            }
            return Ok(None);
        }
        "json_agg" | "jsonb_agg" => {}
        "json_object_agg" | "jsonb_object_agg" => {}
        _ => return Ok(None),
    }
    let FunctionArguments::List(list) = &mut f.args else { return Ok(None) };
    let outer = match (name.as_str(), list.args.as_mut_slice()) {
        ("json_agg" | "jsonb_agg", [arg]) => {
            let star = matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(_)));
            if star {
                let row = with_args(if jsonb { "pg_row_jsonb" } else { "pg_row_json" }, vec![arg.clone()]);
                *arg = FunctionArg::Unnamed(FunctionArgExpr::Expr(row));
            }
            let object = star || is_object(arg);
            if let (false, FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = (object, arg) {
                *value = call(crate::functions::list_more::UNJOINED_NAME, vec![super::spelling::take(value)]);
            }
            match (jsonb, object) {
                (true, _) => "pg_jsonb_list",
                (false, true) => "pg_json_rows",
                (false, false) => "pg_json_list",
            }
        }
        ("json_object_agg" | "jsonb_object_agg", [_, _]) => {
            let args = std::mem::take(&mut list.args);
            let member = with_args(if jsonb { "pg_jsonb_member" } else { "pg_json_member" }, args);
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(member))];
            if jsonb { "pg_jsonb_members" } else { "pg_json_members" }
        }
        _ => return Ok(None),
    };
    f.name = ObjectName::from(vec![Ident::new("array_agg")]);
    Ok(Some(call(outer, vec![Expr::Function(f.clone())])))
}
