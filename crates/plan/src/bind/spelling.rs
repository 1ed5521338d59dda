//! Syntax that DataFusion has no place for, or takes for something else than PostgreSQL does, is written as calls of our functions
//! before anything is bound.
//!
//! ```text
//!   t AT TIME ZONE z            timezone(z, t)               x = ANY (array)       pg_any_eq(x, array), or IN where it is written out
//!   overlay(a placing b from c) overlay(a, b, c)             x SIMILAR TO p        pg_similar(x, p, '\')
//!   array[i]                    pg_element(array, i)         BETWEEN SYMMETRIC     both ways round
//!   ARRAY[a, b]                 make_array(a, b)             ARRAY(query), LIKE ANY (array): see `arrays`
//!   x IS NFC NORMALIZED         is_normalized(x, 'NFC')      x'1F'::int           31, as text under the cast: see `bits`
//!   x IS DISTINCT FROM 'text'   x IS DISTINCT FROM pg_unknown('text'), until types are settled
//!   generate_series(..)         unnest(pg_series(..)) in a select list; in FROM see `series`
//!   json_agg and its kin        see `json`
//!   date(x), int4(x)            CAST(x AS date), CAST(x AS int4): a type's name called as a function
//!   localtimestamp, age(t), numbers beyond numeric's 38 digits (double precision here)
//! ```
//! Knows no types: what they decide is decided by the functions.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    Ident, ObjectName, Query, Subscript, UnaryOperator, Value, VisitorMut,
};

use super::{arrays, bits, elsewhere, hypothetical, json, records};
use crate::error::PlanError;
use crate::functions::precision;
use crate::parse::{SYMMETRIC, fold};

/// Digits of a numeric.
const DIGITS_MAX: i64 = 38;

/// Rewrites all expressions of a query.
pub(super) fn spell(query: &mut Query) -> Result<(), PlanError> {
    struct Speller;
    impl VisitorMut for Speller {
        type Break = PlanError;
        fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
            // while an array is still written out
            let spelt = match e {
                Expr::AnyOp { left, compare_op, right, .. } => quantified(left, compare_op, right, false),
                Expr::AllOp { left, compare_op, right } => quantified(left, compare_op, right, true),
                Expr::Like { .. } | Expr::ILike { .. } => arrays::like(e),
                // before the literal by itself is refused
                Expr::Cast { .. } => match bits::under_cast(e) {
                    Ok(spelt) => spelt,
                    Err(e) => return ControlFlow::Break(e),
                },
                _ => None,
            };
            if let Some(spelt) = spelt {
                *e = spelt;
            }
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
            let wanted = crate::halt::check().map_err(|e| PlanError::from(DataFusionError::from(e)));
            match wanted.and_then(|()| respell(e)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => ControlFlow::Break(e),
            }
        }
    }
    match VisitMut::visit(query, &mut Speller) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// `name(args)`
pub(super) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

pub(super) fn text(s: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(s.to_owned()))
}

pub(super) fn cast(e: Expr, data_type: ast::DataType) -> Expr {
    Expr::Cast { kind: ast::CastKind::Cast, expr: Box::new(e), data_type, format: None, array: false }
}

pub(super) fn take(e: &mut Expr) -> Expr {
    std::mem::replace(e, Expr::value(Value::Null))
}

pub(super) fn not(e: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(e) }
}

pub(super) fn nested(e: Expr) -> Box<Expr> {
    Box::new(Expr::Nested(Box::new(e)))
}

fn respell(e: &mut Expr) -> Result<(), PlanError> {
    if let Expr::Cast { expr, data_type, array: false, .. } = e
        && is_text(data_type)
        && let Some(text) = records::text(expr)
    {
        **expr = text;
    }
    if let Expr::Cast { expr, data_type, array: false, .. } = e {
        of_dimensions(expr, data_type);
    }
    if let Expr::Function(f) = e {
        flatten(f);
    }
    let spelt = match e {
        Expr::AtTimeZone { timestamp, time_zone } => call("timezone", vec![take(time_zone), take(timestamp)]),
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![take(expr), take(overlay_what), take(overlay_from)];
            args.extend(overlay_for.as_deref_mut().map(take));
            call("overlay", args)
        }
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let escape = escape_char.take().map_or_else(|| text("\\"), Expr::Value);
            let similar = call("pg_similar", vec![take(expr), take(pattern), escape]);
            if *negated { not(similar) } else { similar }
        }
        Expr::IsNormalized { expr, form, negated } => {
            let form = form.map_or_else(|| "NFC".to_owned(), |form| form.to_string());
            let is_normalized = call("is_normalized", vec![take(expr), text(&form)]);
            if *negated { not(is_normalized) } else { is_normalized }
        }
        // `extract('year' FROM t)`
        Expr::Extract { field: ast::DateTimeField::Custom(name), .. } => {
            name.quote_style = None;
            return Ok(());
        }
        // DataFusion binds an array's elements where no outer column is known
        Expr::Array(list) if list.elem.iter().any(is_array) => {
            call(crate::functions::list_more::ARRAYS.name, std::mem::take(&mut list.elem))
        }
        Expr::Array(list) if !list.elem.is_empty() => call("make_array", std::mem::take(&mut list.elem)),
        Expr::CompoundFieldAccess { root, access_chain } => match access_chain.as_mut_slice() {
            [AccessExpr::Dot(Expr::Identifier(field))] => match column_of(root, field).or_else(|| field_of(root, field)) {
                Some(value) => value,
                None => {
                    return Err(PlanError::unsupported(
                        "a field of a row value is not offered",
                        "select the field's own expression; a relation's column is t.a or (t).a",
                    ));
                }
            },
            chain if is_subscripts(chain) => subscripted(take(root), chain),
            // `(t).a[1]`
            [AccessExpr::Dot(Expr::Identifier(field)), rest @ ..] if !rest.is_empty() => match column_of(root, field) {
                Some(column) => {
                    let mut of = Expr::CompoundFieldAccess { root: Box::new(column), access_chain: rest.to_vec() };
                    respell(&mut of)?;
                    of
                }
                None => return Ok(()),
            },
            _ => return Ok(()),
        },
        Expr::Between { expr, negated, low, high } => match unmarked(low) {
            true => {
                let between = |low: &Expr, high: &Expr| {
                    let (low, high) = (nested(low.clone()), nested(high.clone()));
                    nested(Expr::Between { expr: nested((**expr).clone()), negated: false, low, high })
                };
                let (up, down) = (between(low, high), between(high, low));
                let either = Expr::Nested(Box::new(Expr::BinaryOp { left: up, op: BinaryOperator::Or, right: down }));
                if *negated { not(either) } else { either }
            }
            false => return Ok(()),
        },
        Expr::IsNull(row) | Expr::IsNotNull(row) if fields(row).is_some() => {
            let is_null = matches!(e, Expr::IsNull(_));
            let (Expr::IsNull(row) | Expr::IsNotNull(row)) = &*e else { return Ok(()) };
            let test = |field: Expr| if is_null { Expr::IsNull(nested(field)) } else { Expr::IsNotNull(nested(field)) };
            let all = fields(row).unwrap_or_default().into_iter().map(test).reduce(|left, right| Expr::BinaryOp {
                left: Box::new(left),
                op: BinaryOperator::And,
                right: Box::new(right),
            });
            match all {
                Some(all) => Expr::Nested(Box::new(all)),
                None => return Ok(()),
            }
        }
        Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) if is_string(left) || is_string(right) => {
            for side in [left, right] {
                if is_string(side) {
                    **side = call(crate::functions::open::UNKNOWN.name, vec![take(side)]);
                }
            }
            return Ok(());
        }
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => match (fields(left), fields(right)) {
            (Some(l), Some(r)) if l.len() == 2 && r.len() == 2 => call("pg_periods_overlap", [l, r].concat()),
            _ => return Err(PlanError::syntax("wrong number of parameters on a side of OVERLAPS expression")),
        },
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr } => call(crate::functions::bits::NOT_NAME, vec![take(expr)]),
        Expr::Cast {
            expr, data_type: ast::DataType::Interval { fields: Some(fields), precision: None }, array: false, ..
        } if matches!(expr.as_ref(), Expr::Value(v) if matches!(v.value, Value::SingleQuotedString(_))) => {
            let Expr::Value(value) = expr.as_ref() else { return Ok(()) };
            super::interval::literal(&value.value, Some(super::interval::of_fields(fields)))?
        }
        // the types have no precision of their own: the cast rounds
        Expr::Cast { expr, data_type, array: false, .. } if precision::written(data_type) => match precision::taken(data_type)? {
            Some(digits) => call(precision::NAME, vec![cast(take(expr), data_type.clone()), number(digits)]),
            None => return Ok(()),
        },
        Expr::TypedString(typed) if precision::written(&typed.data_type) => {
            let digits = precision::taken(&mut typed.data_type)?;
            let value = cast(Expr::Value(typed.value.clone()), typed.data_type.clone());
            match digits {
                Some(digits) => call(precision::NAME, vec![value, number(digits)]),
                None => value,
            }
        }
        // a cast that somebody writes cuts off; DataFusion's text has no length
        Expr::Cast { expr, data_type, array: false, .. } => match length(data_type) {
            Some(n) => call("left", vec![cast(take(expr), ast::DataType::Text), number(n)]),
            None => return Ok(()),
        },
        // texts are ordered by their bytes, as "C" says
        Expr::Collate { expr, collation } => {
            let name = collation.0.last().and_then(|p| p.as_ident()).map(|i| i.value.clone()).unwrap_or_default();
            if !matches!(name.as_str(), "C" | "POSIX" | "default" | "ucs_basic") {
                let message = format!("collation \"{name}\" is not offered");
                return Err(PlanError::unsupported(message, "texts are ordered by their bytes: COLLATE \"C\""));
            }
            take(expr)
        }
        Expr::Floor { .. } | Expr::Ceil { .. } => match elsewhere::to_unit(e) {
            Some(spelt) => spelt,
            None => return Ok(()),
        },
        // as PostgreSQL's parser does: what has two signs has none
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match negated(expr) {
            Some(number) => number,
            None => return Ok(()),
        },
        Expr::UnaryOp { op: UnaryOperator::PGAbs, expr } => call("abs", vec![take(expr)]),
        Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr } => {
            call("sqrt", vec![cast(take(expr), ast::DataType::DoublePrecision)])
        }
        // DataFusion reads an interval's text by rules of its own
        // `SECOND (1)` and `HOUR TO SECOND (1)` round
        Expr::Interval(i)
            if matches!(i.value.as_ref(), Expr::Value(v) if matches!(v.value, Value::SingleQuotedString(_)))
                && (i.fractional_seconds_precision.is_some() && i.leading_precision.is_none()
                    || i.leading_precision.is_some()
                        && i.fractional_seconds_precision.is_none()
                        && matches!(i.leading_field, Some(ast::DateTimeField::Second))) =>
        {
            let digits = i.fractional_seconds_precision.take().or(i.leading_precision.take()).unwrap_or(6);
            let Expr::Value(value) = i.value.as_ref() else { return Ok(()) };
            let range = super::interval::of_units(i.leading_field.as_ref(), i.last_field.as_ref())?;
            let value = super::interval::literal(&value.value, range)?;
            call(precision::NAME, vec![value, number(i64::try_from(digits).unwrap_or(6))])
        }
        Expr::Interval(i) if i.leading_precision.is_some() || i.fractional_seconds_precision.is_some() => {
            return Err(PlanError::unsupported(
                "an interval's unit with a precision is not offered",
                "cast the interval: CAST(.. AS interval(n))",
            ));
        }
        Expr::Interval(i) => match i.value.as_mut() {
            Expr::Value(v) if matches!(v.value, Value::SingleQuotedString(_)) => {
                let value = std::mem::replace(&mut v.value, Value::Null);
                super::interval::literal(&value, super::interval::of_units(i.leading_field.as_ref(), i.last_field.as_ref())?)?
            }
            _ => return Ok(()),
        },
        Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr } => call("cbrt", vec![take(expr)]),
        Expr::UnaryOp { op: UnaryOperator::PGPrefixFactorial, .. } => {
            return Err(PlanError::invalid("42883", "operator does not exist: !! integer").with_hint("write factorial(n)"));
        }
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedByteStringLiteral(_) | Value::HexStringLiteral(_) => return Err(bits::not_offered()),
            Value::Number(digits, _) if beyond_numeric(&digits.to_string()) => {
                cast(text(&digits.to_string()), ast::DataType::DoublePrecision)
            }
            _ => return Ok(()),
        },
        Expr::Function(f) => {
            let known = json::function(f)?.or(arrays::of_query(f)?).or(hypothetical::spelt(f)?).or(elsewhere::spelt(f)?);
            match known.or_else(|| function(f)) {
                Some(e) => e,
                None => return Ok(()),
            }
        }
        _ => return Ok(()),
    };
    *e = spelt;
    Ok(())
}

fn is_string(e: &Expr) -> bool {
    matches!(e, Expr::Value(v) if matches!(v.value, Value::SingleQuotedString(_)))
}

/// The number that stands behind a minus.
fn negated(e: &Expr) -> Option<Expr> {
    match e {
        Expr::Nested(inner) => negated(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(v) if matches!(v.value, Value::Number(..)) => Some((**expr).clone()),
            _ => None,
        },
        _ => None,
    }
}

/// `(t).a` is `t.a`.
fn column_of(root: &Expr, field: &Ident) -> Option<Expr> {
    match root {
        Expr::Nested(inner) => column_of(inner, field),
        Expr::Identifier(of) => Some(Expr::CompoundIdentifier(vec![of.clone(), field.clone()])),
        _ => None,
    }
}

/// `(ROW(a, b)).f2` is `b`.
fn field_of(row: &Expr, field: &Ident) -> Option<Expr> {
    let at: usize = fold(field).strip_prefix('f')?.parse().ok()?;
    fields(row)?.get(at.checked_sub(1)?).map(|e| *nested(e.clone()))
}

fn number(n: i64) -> Expr {
    Expr::value(Value::Number(n.to_string(), false))
}

pub(super) fn is_text(ty: &ast::DataType) -> bool {
    use ast::DataType::{CharVarying, CharacterVarying, Text, Varchar};
    matches!(ty, Text | Varchar(_) | CharacterVarying(_) | CharVarying(_))
}

/// Rows among the arguments of functions that take any type, as texts.
fn rows_as_texts(name: &str, f: &mut Function) {
    let FunctionArguments::List(list) = &mut f.args else { return };
    if !matches!(name, "count" | "array_agg" | "concat" | "concat_ws" | "format") {
        return;
    }
    for arg in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) = arg
            && let Some(text) = records::text(e)
        {
            *e = text;
        }
    }
}

/// Whether it is seen to be an array, once what is within it is spelt.
fn is_array(e: &Expr) -> bool {
    match e {
        Expr::Nested(inner) => is_array(inner),
        Expr::Cast { data_type: ast::DataType::Array(_), array: false, .. } => true,
        Expr::Function(f) => match f.name.0.as_slice() {
            [one] => one
                .as_ident()
                .is_some_and(|i| matches!(i.value.as_str(), "make_array") || i.value == crate::functions::list_more::ARRAYS.name),
            _ => false,
        },
        _ => false,
    }
}

/// What is taken apart by `unnest` in a select list.
fn flatten(f: &mut Function) {
    let FunctionArguments::List(list) = &mut f.args else { return };
    if !matches!(f.name.0.as_slice(), [one] if one.as_ident().is_some_and(|i| fold(i) == "unnest")) {
        return;
    }
    if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] = list.args.as_mut_slice() {
        *array = flat(take(array));
    }
}

/// Whether all of it is places and slices in brackets.
fn is_subscripts(chain: &[AccessExpr]) -> bool {
    let one = |a: &AccessExpr| match a {
        AccessExpr::Subscript(Subscript::Index { .. } | Subscript::Slice { stride: None, .. }) => true,
        AccessExpr::Subscript(_) | AccessExpr::Dot(_) => false,
    };
    !chain.is_empty() && chain.iter().all(one)
}

/// `of[i][j]`, `of[i:j][k]`: with one slice among them all are, and `[k]` is `[1:k]`.
fn subscripted(of: Expr, chain: &mut [AccessExpr]) -> Expr {
    let is_slice = chain.iter().any(|a| matches!(a, AccessExpr::Subscript(Subscript::Slice { .. })));
    let bound = |e: &mut Option<Expr>, widest: i32| e.as_mut().map_or_else(|| number(widest.into()), take);
    let mut args = vec![of];
    for access in chain {
        match access {
            AccessExpr::Subscript(Subscript::Index { index }) => {
                args.extend(is_slice.then(|| number(1)));
                args.push(take(index));
            }
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, .. }) => {
                args.extend([bound(lower_bound, 1), bound(upper_bound, i32::MAX)]);
            }
            AccessExpr::Dot(_) => {}
        }
    }
    call(if is_slice { crate::functions::slice::NAME } else { "pg_element" }, args)
}

/// The array that `unnest` takes apart, whatever its dimensions.
pub(super) fn flat(array: Expr) -> Expr {
    call(crate::functions::list_more::FLAT_NAME, vec![array])
}

/// `'{{1,2},{3,4}}'::int[]` has two dimensions, whatever the type says.
fn of_dimensions(value: &Expr, ty: &mut ast::DataType) {
    let mut value = value;
    while let Expr::Nested(inner) = value {
        value = inner;
    }
    let Expr::Value(literal) = value else { return };
    let text = match &literal.value {
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text,
        Value::DollarQuotedString(text) => &text.value,
        _ => return,
    };
    let n = crate::functions::array_cast::dimensions(text);
    let ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(of, _)) = ty else { return };
    let mut element = of.as_ref();
    while let ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(of, _)) = element {
        element = of;
    }
    if (1..=regauge_types::arrays::DIMS_MAX).contains(&n) {
        let array = |of| ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(Box::new(of), None));
        *ty = (0..n).fold(element.clone(), |of, _| array(of));
    }
}

/// How many characters a text of this type may have.
fn length(ty: &ast::DataType) -> Option<i64> {
    use ast::DataType::{CharVarying, CharacterVarying, Varchar};
    let (Varchar(length) | CharacterVarying(length) | CharVarying(length)) = ty else { return None };
    match length {
        Some(ast::CharacterLength::IntegerLength { length, .. }) => i64::try_from(*length).ok(),
        _ => None,
    }
}

/// What a row constructor is made of: `(a, b)`, `ROW(a, b)`.
pub(super) fn fields(row: &Expr) -> Option<Vec<Expr>> {
    match row {
        Expr::Nested(inner) => fields(inner),
        Expr::Tuple(all) => Some(all.clone()),
        Expr::Function(f) if matches!(f.name.0.as_slice(), [one] if one.as_ident().is_some_and(|i| fold(i) == "row")) => {
            let FunctionArguments::List(list) = &f.args else { return None };
            let arg = |a: &FunctionArg| match a {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
                _ => None,
            };
            list.args.iter().map(arg).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
        }
        _ => None,
    }
}

/// `left op ANY (right)`, `left op ALL (right)` over an array; `None` for a subquery or another operator.
fn quantified(left: &mut Expr, op: &BinaryOperator, right: &mut Expr, all: bool) -> Option<Expr> {
    while let Expr::Nested(inner) = right {
        *right = take(inner);
    }
    if matches!(right, Expr::Subquery(_)) {
        return None;
    }
    if let Some(found) = arrays::like_operator(left, op, right, all).or_else(|| arrays::regex_operator(left, op, right, all)) {
        return Some(found);
    }
    let suffix = match op {
        BinaryOperator::Eq => "eq",
        BinaryOperator::NotEq => "ne",
        BinaryOperator::Lt => "lt",
        BinaryOperator::LtEq => "le",
        BinaryOperator::Gt => "gt",
        BinaryOperator::GtEq => "ge",
        _ => return None,
    };
    if let Expr::Array(list) = right
        && !list.elem.is_empty()
        && !list.elem.iter().any(|e| matches!(e, Expr::Array(_)))
        && (suffix, all) == if all { ("ne", true) } else { ("eq", false) }
    {
        return Some(Expr::InList { expr: nested(take(left)), list: std::mem::take(&mut list.elem), negated: all });
    }
    let name = format!("pg_{}_{suffix}", if all { "all" } else { "any" });
    Some(call(&name, vec![take(left), take(right)]))
}

/// Takes the mark away that the parser has left for SYMMETRIC, which stands at the left end of the lower bound.
fn unmarked(low: &mut Expr) -> bool {
    match low {
        Expr::UnaryOp { op, expr } if *op == SYMMETRIC => {
            *low = take(expr);
            true
        }
        Expr::BinaryOp { left, .. } => unmarked(left),
        Expr::Cast { expr, .. } | Expr::AtTimeZone { timestamp: expr, .. } | Expr::Collate { expr, .. } => unmarked(expr),
        _ => false,
    }
}

/// Whether a number has more digits than a numeric.
fn beyond_numeric(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let Ok(exponent) = exponent.parse::<i64>() else { return true };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let length = |s: &str| i64::try_from(s.len()).unwrap_or(i64::MAX);
    let significant = length(format!("{whole}{fraction}").trim_start_matches('0'));
    let scale = length(fraction).saturating_sub(exponent);
    let digits = if scale > 0 { significant.max(scale) } else { significant.saturating_sub(scale) };
    significant > 0 && digits > DIGITS_MAX
}

/// COALESCE with a literal that looks like an array, as the CASE that it means: the binder would take the literal for text.
fn coalesced(f: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &f.args else { return None };
    let arg = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    let mut args = list.args.iter().map(arg).collect::<Option<Vec<_>>>()?;
    let open = |e: &Expr| match e {
        Expr::Value(v) => matches!(&v.value, Value::SingleQuotedString(s) if s.starts_with('{') && s.ends_with('}')),
        _ => false,
    };
    let last = args.pop().filter(|last| open(last) && !args.is_empty() && !args.iter().any(open))?;
    let conditions = args.into_iter().map(|e| ast::CaseWhen { condition: Expr::IsNotNull(nested(e.clone())), result: e });
    Some(Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: conditions.collect(),
        else_result: Some(Box::new(last)),
    })
}

/// Functions that are not bound under their own names.
fn function(f: &mut Function) -> Option<Expr> {
    let name = match f.name.0.as_slice() {
        [one] => fold(one.as_ident()?),
        [schema, one] if fold(schema.as_ident()?) == "pg_catalog" => {
            let one = one.clone();
            f.name = ObjectName(vec![one.clone()]);
            fold(one.as_ident()?)
        }
        _ => return None,
    };
    rows_as_texts(&name, f);
    if name == "every" {
        f.name = ObjectName::from(vec![Ident::new("bool_and")]);
        return None;
    }
    if name == "count" {
        rows_there(f);
    }
    if name == "coalesce"
        && let Some(case) = coalesced(f)
    {
        return Some(case);
    }
    approximate(&name, f);
    let plain = f.over.is_none() && f.filter.is_none();
    let args = match &f.args {
        FunctionArguments::None => vec![],
        FunctionArguments::List(list) if list.clauses.is_empty() && list.duplicate_treatment.is_none() && plain => {
            let arg = |a: &FunctionArg| match a {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
                _ => None,
            };
            match list.args.iter().map(arg).collect::<Option<Vec<_>>>() {
                Some(args) => args,
                None => return named(&name, list),
            }
        }
        _ => return None,
    };
    let zoneless = ast::TimezoneInfo::None;
    Some(match (name.as_str(), args.len()) {
        ("current_timestamp", 1) => call(precision::NAME, std::iter::once(call("now", vec![])).chain(args).collect()),
        ("localtimestamp", 0 | 1) => cast(call("now", vec![]), ast::DataType::Timestamp(None, zoneless)),
        ("localtime", 0 | 1) => {
            cast(cast(call("now", vec![]), ast::DataType::Timestamp(None, zoneless)), ast::DataType::Time(None, zoneless))
        }
        ("make_interval", 0) => call("make_interval", vec![number(0)]),
        ("current_date", 0) => cast(call("now", vec![]), ast::DataType::Date),
        ("age", 1) => {
            let midnight = cast(cast(call("now", vec![]), ast::DataType::Date), ast::DataType::Timestamp(None, zoneless));
            call("age", std::iter::once(midnight).chain(args).collect())
        }
        (name, n) => match type_called(name).filter(|_| n == 1) {
            Some(ty) => cast(args.into_iter().next()?, ty),
            None => call("unnest", vec![array_of(name, args)?]),
        },
    })
}

/// The type whose name stands where a function's could: PostgreSQL takes such a call for a cast. Names that are words of its grammar
/// (`numeric`, `timestamp`, `interval`) are not among them.
fn type_called(name: &str) -> Option<ast::DataType> {
    use ast::DataType;
    Some(match name {
        "date" => DataType::Date,
        "timestamptz" => DataType::Timestamp(None, ast::TimezoneInfo::Tz),
        "text" => DataType::Text,
        "bool" => DataType::Bool,
        "int2" => DataType::Int2(None),
        "int4" => DataType::Int4(None),
        "int8" => DataType::Int8(None),
        "float4" => DataType::Float4,
        "float8" => DataType::Float8,
        "uuid" => DataType::Uuid,
        "json" => DataType::JSON,
        "jsonb" => DataType::JSONB,
        "bytea" => DataType::Bytea,
        _ => return None,
    })
}

/// `count(t.*)` counts the rows of t that an outer join has not made up; DataFusion counts them all.
fn rows_there(f: &mut Function) {
    let FunctionArguments::List(list) = &mut f.args else { return };
    let [FunctionArg::Unnamed(arg)] = list.args.as_mut_slice() else { return };
    let FunctionArgExpr::QualifiedWildcard(of) = &*arg else { return };
    let star = Expr::QualifiedWildcard(of.clone(), ast::helpers::attached_token::AttachedToken::empty());
    let is_there = Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![ast::CaseWhen { condition: Expr::IsNull(Box::new(star)), result: Expr::value(Value::Null) }],
        else_result: Some(Box::new(number(1))),
    };
    *arg = FunctionArgExpr::Expr(is_there);
}

/// What other systems estimate is exact here: `approx_count_distinct(x)` is `count(DISTINCT x)`, `approx_percentile(x, f)` is
/// `percentile_disc(f) WITHIN GROUP (ORDER BY x)`, so that it does not depend on order or workers. EXPLAIN shows what runs.
fn approximate(name: &str, f: &mut Function) {
    let FunctionArguments::List(list) = &mut f.args else { return };
    match (name, list.args.len()) {
        ("approx_count_distinct" | "approx_distinct", 1) => {
            f.name = ObjectName::from(vec![Ident::new("count")]);
            list.duplicate_treatment = Some(ast::DuplicateTreatment::Distinct);
        }
        ("approx_percentile", 2) => {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = &list.args[0] {
                let expr = value.clone();
                f.name = ObjectName::from(vec![Ident::new("percentile_disc")]);
                f.within_group = vec![ast::OrderByExpr {
                    expr,
                    options: ast::OrderByOptions { asc: None, nulls_first: None },
                    with_fill: None,
                }];
                list.args.remove(0);
            }
        }
        _ => {}
    }
}

/// `make_interval(days => 3)`: named arguments of the one function that lives by them.
fn named(name: &str, list: &FunctionArgumentList) -> Option<Expr> {
    const FIELDS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    if name != "make_interval" {
        return None;
    }
    let mut args: Vec<Expr> = FIELDS.iter().map(|_| Expr::value(Value::Number("0".to_owned(), false))).collect();
    for (at, arg) in list.args.iter().enumerate() {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => *args.get_mut(at)? = e.clone(),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), .. }
            | FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(e), .. } => {
                let field = fold(name);
                args[FIELDS.iter().position(|f| *f == field)?] = e.clone();
            }
            _ => return None,
        }
    }
    Some(call("make_interval", args))
}

/// The array whose elements a set-returning function gives; `None` for any other function.
pub(super) fn array_of(name: &str, args: Vec<Expr>) -> Option<Expr> {
    Some(match name {
        "generate_series" => call("pg_series", args),
        "generate_subscripts" => call("pg_subscripts", args),
        "regexp_matches" => call("pg_regexp_matches", args),
        "regexp_split_to_table" => call("regexp_split_to_array", args),
        "string_to_table" => call("string_to_array", args),
        "json_object_keys" => call("pg_json_keys", args),
        "jsonb_object_keys" => call("pg_jsonb_keys", args),
        "jsonb_path_query" => call("pg_jsonb_path_query", args),
        _ if args.len() <= 1 => match json::columns_of(name, args)?.as_mut_slice() {
            [(_, array)] => take(array),
            _ => return None,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::beyond_numeric;

    #[test]
    fn a_number_of_more_than_38_digits_is_none_of_numeric() {
        for within in ["0", "1", "1e5", "1.5e-10", "99999999999999999999999999999999999999", "0.00000001", "0e400", "1e37"] {
            assert!(!beyond_numeric(within), "{within}");
        }
        for beyond in ["1e38", "1e300", "1e-39", "100000000000000000000000000000000000000", "1e99999999999999999999"] {
            assert!(beyond_numeric(beyond), "{beyond}");
        }
    }
}
