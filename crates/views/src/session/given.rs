//! Statements that are planned once, whatever the values in them are.
//!
//! ```text
//!   prepared:    UPDATE t SET n = n + $1 WHERE id = $2      with 5 and 17
//!   or a text:   UPDATE t SET n = n + 5 WHERE id = 17       its numbers and strings taken out where a column tells their type
//!     ─▶ the plan of the text with $1, $2 that the session has kept, its parameters' slots filled; else planned now, and kept
//!     ─▶ values back in their places, planned for them: what cannot be planned without values, or whose plan is running already
//! ```
//! Only where a value can change nothing but which rows are found and what is written: beside a comparison (`=`, `<`, BETWEEN, IN) in WHERE, and as what
//! UPDATE assigns, or adds to or takes from a column. Everywhere else (LIMIT, SELECT items, arguments of functions, GROUP BY) a statement is planned
//! with its values, because types and answers may follow from them. The idea is PostgreSQL's generic plan; ours is never a worse one, because
//! without statistics no value makes another.

use super::{Session, prepare::placeholder};
use crate::{
    catalog::Relation,
    error::{Error, Result},
    read::planner::param_type,
    syntax,
};
use arrow::{array::ArrayRef, datatypes::DataType};
use datafusion::{scalar::ScalarValue, sql::sqlparser::ast};
use regauge_plan::parse::Statement;
use std::{fmt::Write as _, sync::Arc};

/// A statement with more values than this is planned with them.
const PARAMS_MAX: usize = 64;
/// A longer string stays where it is.
const VALUE_BYTES_MAX: usize = 4096;

/// The values of the statement at hand.
#[derive(Debug)]
pub(super) struct Given {
    /// What its plan is kept by. Two statements may have one key, so they are compared as well.
    pub(super) key: String,
    /// With parameters in the places of the values.
    pub(super) statement: Arc<Statement>,
    pub(super) types: Arc<[DataType]>,
    pub(super) values: Vec<ScalarValue>,
    /// The same as they stand in a text, in the order of the parameters; of a prepared statement they are written when that is needed.
    written: Vec<ast::Expr>,
}

impl Given {
    /// A prepared statement's, by its text.
    pub(super) fn of_prepared(text: &str, statement: &Arc<Statement>, types: &[DataType], values: &[ArrayRef]) -> Result<Given> {
        let values = values.iter().map(|v| ScalarValue::try_from_array(v, 0)).collect::<Result<_, _>>();
        let values = values.map_err(Error::from_datafusion)?;
        Ok(Given { key: key(text, types), statement: statement.clone(), types: types.into(), values, written: vec![] })
    }

    /// Puts the values into their places.
    ///
    /// # Errors
    /// A value that has no text form.
    pub(super) fn fill(&self, query: &mut ast::Query) -> Result<()> {
        let mut written = self.written.clone();
        if written.is_empty() {
            let mut casts = syntax::Casts::default();
            for (value, ty) in self.values.iter().zip(self.types.iter()) {
                let value = value.to_array().map_err(Error::from_datafusion)?;
                written.push(super::prepare::literal(&value, ty, &mut casts)?);
            }
        }
        regauge_plan::walk::expressions_mut(query, &mut |expr| {
            if let Some(value) = placeholder(expr).and_then(|no| written.get(no)) {
                *expr = value.clone();
            }
        });
        Ok(())
    }
}

/// Apart from all keys that are texts of statements, which hold no such character where they begin.
fn key(text: &str, types: &[DataType]) -> String {
    let mut key = "\u{1}".to_owned();
    for ty in types {
        let _ = write!(key, "{ty},");
    }
    key + text
}

/// Whether the parameters of a prepared statement are all where their values change no plan.
pub(super) fn is_open(statement: &Statement, types: &[DataType]) -> bool {
    if types.is_empty() || types.len() > PARAMS_MAX || types.iter().any(|ty| param_type(ty).is_none()) {
        return false;
    }
    let Some(mut places) = Places::of(statement) else { return false };
    let mut n_there = 0;
    for condition in places.condition.iter_mut() {
        compared(condition, &mut |_, value| n_there += usize::from(placeholder(value).is_some()));
    }
    for (_, value) in &mut places.assigned {
        added(value, &mut |_, value| n_there += usize::from(placeholder(value).is_some()));
    }
    let mut n = 0;
    super::prepare::each_expr(&mut statement.clone(), &mut |e| n += usize::from(placeholder(e).is_some()));
    n > 0 && n == n_there
}

/// The parts of a statement where a value may be open: what is compared in WHERE, and what is assigned.
struct Places {
    condition: Option<ast::Expr>,
    assigned: Vec<(String, ast::Expr)>,
}

impl Places {
    fn of(statement: &Statement) -> Option<Places> {
        match statement {
            Statement::Query(query) => {
                let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
                (query.locks.is_empty() && query.with.is_none())
                    .then(|| Places { condition: select.selection.clone(), assigned: vec![] })
            }
            Statement::Update(update) => {
                let value = |a: &regauge_plan::parse::Assignment| Some((a.column.clone(), a.value.clone()?));
                let assigned = update.assignments.iter().filter_map(value).collect();
                update.from.is_empty().then(|| Places { condition: update.selection.clone(), assigned })
            }
            Statement::Delete(delete) if delete.using.is_empty() => {
                Some(Places { condition: delete.selection.clone(), assigned: vec![] })
            }
            _ => None,
        }
    }
}

/// Visits the values of comparisons, each with what it is compared with, through AND, OR, NOT and brackets.
fn compared(condition: &mut ast::Expr, visit: &mut dyn FnMut(&ast::Expr, &mut ast::Expr)) {
    use ast::BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
    match condition {
        ast::Expr::BinaryOp { left, op: And | Or, right } => {
            compared(left, visit);
            compared(right, visit);
        }
        ast::Expr::BinaryOp { left, op: Eq | NotEq | Lt | LtEq | Gt | GtEq, right } => match (is_value(left), is_value(right)) {
            (false, true) => visit(left, right),
            (true, false) => visit(right, left),
            _ => {}
        },
        ast::Expr::Between { expr, low, high, .. } if !is_value(expr) => {
            for end in [low, high] {
                if is_value(end) {
                    visit(expr, end);
                }
            }
        }
        ast::Expr::InList { expr, list, .. } if !is_value(expr) => {
            for one in list.iter_mut().filter(|one| is_value(one)) {
                visit(expr, one);
            }
        }
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Not, expr } | ast::Expr::Nested(expr) => compared(expr, visit),
        _ => {}
    }
}

/// Visits what is assigned, if that is a value, or what it adds to or takes from a column; then with the column.
fn added(value: &mut ast::Expr, visit: &mut dyn FnMut(Option<&ast::Expr>, &mut ast::Expr)) {
    use ast::BinaryOperator::{Minus, Plus};
    if is_value(value) {
        return visit(None, value);
    }
    match value {
        ast::Expr::BinaryOp { left, op: Plus | Minus, right } if is_value(right) && column(left).is_some() => {
            visit(Some(left), right);
        }
        ast::Expr::BinaryOp { left, op: Plus, right } if is_value(left) && column(right).is_some() => visit(Some(right), left),
        ast::Expr::Nested(value) => added(value, visit),
        _ => {}
    }
}

/// A parameter, a string or a number.
fn is_value(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Value(value) => {
            matches!(value.value, ast::Value::Placeholder(_) | ast::Value::Number(..) | ast::Value::SingleQuotedString(_))
        }
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => {
            matches!(expr.as_ref(), ast::Expr::Value(value) if matches!(value.value, ast::Value::Number(..)))
        }
        _ => false,
    }
}

/// The name of a column, with or without its relation's.
fn column(expr: &ast::Expr) -> Option<String> {
    let ident = match expr {
        ast::Expr::Identifier(ident) => ident,
        ast::Expr::CompoundIdentifier(parts) => parts.last()?,
        _ => return None,
    };
    Some(super::point::named(ident))
}

impl Session {
    /// A statement over one relation with parameters in the places of its numbers and strings, and what they are; `None` where there are none, or a column does not
    /// tell their type.
    pub(super) fn opened(&self, statement: &Statement) -> Option<Given> {
        let relation = self.only_relation(statement)?;
        let mut opened = statement.clone();
        let (mut types, mut values, mut written) = (vec![], vec![], vec![]);
        let mut take = |ty: &DataType, expr: &mut ast::Expr| {
            if types.len() == PARAMS_MAX {
                return;
            }
            let Some(value) = value_of(expr, ty) else { return };
            types.push(ty.clone());
            values.push(value);
            let param = ast::Value::Placeholder(format!("${}", types.len()));
            written.push(std::mem::replace(expr, ast::Expr::Value(param.into())));
        };
        let type_of = |name: &str| relation.position(name).map(|at| relation.columns[at].ty.clone());
        let condition = match &mut opened {
            Statement::Query(query) => match query.body.as_mut() {
                ast::SetExpr::Select(select) => select.selection.as_mut(),
                _ => None,
            },
            Statement::Update(update) => {
                for assignment in &mut update.assignments {
                    let Some(value) = &mut assignment.value else { continue };
                    let ty = type_of(&assignment.column);
                    added(value, &mut |beside, value| match beside {
                        None => drop(ty.as_ref().map(|ty| take(ty, value))),
                        // a sum has the type of the wider of the two, and a number that is written is an integer at least
                        Some(beside) => {
                            let ty = column(beside).and_then(|name| type_of(&name));
                            let ty = ty.filter(|ty| matches!(ty, DataType::Int32 | DataType::Int64));
                            if let Some(ty) = ty.filter(|_| value_of(value, &DataType::Int32).is_some()) {
                                take(&ty, value);
                            }
                        }
                    });
                }
                update.selection.as_mut()
            }
            Statement::Delete(delete) => delete.selection.as_mut(),
            _ => None,
        };
        if let Some(condition) = condition {
            compared(condition, &mut |beside, value| {
                if let Some(ty) = column(beside).and_then(|name| type_of(&name)) {
                    take(&ty, value);
                }
            });
        }
        if types.is_empty() {
            return None;
        }
        let key = key(&wording(&opened)?, &types);
        Some(Given { key, statement: Arc::new(opened), types: types.into(), values, written })
    }

    /// The relation that a statement is over, if it is one and no other is joined with it.
    fn only_relation(&self, statement: &Statement) -> Option<Arc<Relation>> {
        let (schema, name) = match statement {
            Statement::Query(query) => {
                let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
                let [from] = select.from.as_slice() else { return None };
                let ast::TableFactor::Table { name, args: None, alias, .. } = &from.relation else { return None };
                if alias.as_ref().is_some_and(|a| !a.columns.is_empty())
                    || !from.joins.is_empty()
                    || !query.locks.is_empty()
                    || query.with.is_some()
                {
                    return None;
                }
                let parts = name.0.iter().map(|p| p.as_ident().map(super::point::named)).collect::<Option<Vec<_>>>()?;
                match <[String; 1]>::try_from(parts) {
                    Ok([name]) => (None, name),
                    Err(parts) => {
                        let [schema, name] = <[String; 2]>::try_from(parts).ok()?;
                        (Some(schema), name)
                    }
                }
            }
            Statement::Update(update) if update.from.is_empty() => (update.table.schema.clone(), update.table.name.clone()),
            Statement::Delete(delete) if delete.using.is_empty() => (delete.table.schema.clone(), delete.table.name.clone()),
            _ => return None,
        };
        self.scope(None).relation(schema.as_deref(), &name).ok().cloned()
    }
}

/// A number or string that is written, as a value of a column's type; `None` if it is not one as it stands.
fn value_of(expr: &ast::Expr, ty: &DataType) -> Option<ScalarValue> {
    let (negative, value) = match expr {
        ast::Expr::Value(value) => (false, &value.value),
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match expr.as_ref() {
            ast::Expr::Value(value) => (true, &value.value),
            _ => return None,
        },
        _ => return None,
    };
    match (value, ty) {
        (ast::Value::SingleQuotedString(text), DataType::Utf8) if !negative && text.len() <= VALUE_BYTES_MAX => {
            Some(ScalarValue::Utf8(Some(text.clone())))
        }
        (ast::Value::Number(digits, _), DataType::Int16 | DataType::Int32 | DataType::Int64) => {
            let n: i64 = digits.parse().ok()?;
            let n = if negative { -n } else { n };
            match ty {
                DataType::Int16 => i16::try_from(n).ok().map(|n| ScalarValue::Int16(Some(n))),
                DataType::Int32 => i32::try_from(n).ok().map(|n| ScalarValue::Int32(Some(n))),
                _ => Some(ScalarValue::Int64(Some(n))),
            }
        }
        _ => None,
    }
}

/// A statement's text, near enough to find another by that is the same: how strings are written in it does not always tell them apart.
fn wording(statement: &Statement) -> Option<String> {
    fn add(text: &mut String, what: &str, part: Option<&dyn std::fmt::Display>) {
        if let Some(part) = part {
            let _ = write!(text, " {what} {part}");
        }
    }
    let relation = |name: &regauge_plan::parse::RelationName, alias: Option<&str>| {
        format!("{:?}.{} AS {:?}", name.schema, syntax::quote(&name.name), alias)
    };
    match statement {
        Statement::Query(query) => Some(query.to_string()),
        Statement::Update(update) => {
            let mut text = format!("UPDATE {}", relation(&update.table, update.alias.as_deref()));
            for assignment in &update.assignments {
                let value = assignment.value.as_ref().map(|v| v as &dyn std::fmt::Display);
                add(&mut text, &format!("SET {} =", syntax::quote(&assignment.column)), value.or(Some(&"DEFAULT")));
            }
            add(&mut text, "WHERE", update.selection.as_ref().map(|e| e as _));
            update.returning.iter().for_each(|item| add(&mut text, "RETURNING", Some(item)));
            Some(text)
        }
        Statement::Delete(delete) => {
            let mut text = format!("DELETE {}", relation(&delete.table, delete.alias.as_deref()));
            add(&mut text, "WHERE", delete.selection.as_ref().map(|e| e as _));
            delete.returning.iter().for_each(|item| add(&mut text, "RETURNING", Some(item)));
            Some(text)
        }
        _ => None,
    }
}
