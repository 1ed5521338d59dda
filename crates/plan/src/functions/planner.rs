//! Where SQL's syntax becomes our functions, before DataFusion judges types by its own rules: arithmetic operators, `||`,
//! EXTRACT, SUBSTRING, POSITION; casts within aggregate calls; and SQL's type names.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Like, Placeholder};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawAggregateExpr, RawBinaryExpr, RawWindowExpr, TypePlanner,
};
use datafusion::logical_expr::{Expr, ExprSchemable, SortExpr};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{BinaryOperator, DataType as SqlType, ExactNumberInfo, TimezoneInfo};
use regauge_types::arrays::{depth, leaf};

use super::bind::{is_int, is_jsonb, is_number};
use super::error::EvalError;
use super::{arith, bits, contain, equality, extract, function, json, lists, math, over, regexp, strings, text};
use crate::pgtypes;

/// Plans operators and special syntax as PostgreSQL's functions.
#[derive(Debug)]
pub struct PgExprPlanner;

impl ExprPlanner for PgExprPlanner {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> DfResult<PlannerResult<RawBinaryExpr>> {
        if let Some(planned) = matching(&expr) {
            return Ok(PlannerResult::Planned(planned));
        }
        if let Some(def) = contain::operator(&expr.op)
            && [&expr.left, &expr.right].into_iter().any(|e| e.get_type(schema).is_ok_and(|t| t.is_nested()))
        {
            let turned = expr.op == BinaryOperator::ArrowAt;
            let args = if turned { vec![expr.right, expr.left] } else { vec![expr.left, expr.right] };
            return Ok(PlannerResult::Planned(function(def).call(args)));
        }
        let jsonb = |e: &Expr| e.get_type(schema).is_ok_and(|t| is_jsonb(&t));
        if let Some(planned) = json_operator(&expr, &jsonb) {
            return Ok(PlannerResult::Planned(planned));
        }
        if let Some(def) = bits::operator(&expr.op) {
            let left = typed_like(expr.left, &expr.right, schema);
            // a shift counts in integers, whatever it shifts
            let right = if bits::is_shift(def) { expr.right } else { typed_like(expr.right, &left, schema) };
            return Ok(PlannerResult::Planned(function(def).call(vec![left, right])));
        }
        let def = match expr.op {
            BinaryOperator::Plus => &arith::ADD,
            BinaryOperator::Minus => &arith::SUB,
            BinaryOperator::Multiply => &arith::MUL,
            BinaryOperator::Divide => &arith::DIV,
            BinaryOperator::Modulo => &arith::MOD,
            BinaryOperator::PGExp => &math::POWER,
            BinaryOperator::StringConcat => &text::CONCAT_OP,
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => {
                let RawBinaryExpr { op, left, right } = expr;
                let left = known_beside(left, &right, schema)?;
                let right = known_beside(right, &left, schema)?;
                let (left, right) = of_dimensions(left, right, schema);
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }));
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let nested = |e: &Expr| e.get_type(schema).is_ok_and(|t| t.is_nested());
        if nested(&expr.left) || nested(&expr.right) {
            if expr.op == BinaryOperator::StringConcat {
                let open =
                    |e: &Expr| super::semantics::is_unknown_literal(e) || matches!(e, Expr::Placeholder(p) if p.field.is_none());
                let def = match (nested(&expr.left), nested(&expr.right)) {
                    (true, false) if !open(&expr.right) => &lists::ARRAY_APPEND,
                    (false, true) if !open(&expr.left) => &lists::ARRAY_PREPEND,
                    _ => &lists::ARRAY_CAT,
                };
                return Ok(PlannerResult::Planned(function(def).call(vec![expr.left, expr.right])));
            }
            return Ok(PlannerResult::Original(expr));
        }
        let left = typed_like(expr.left, &expr.right, schema);
        let right = typed_like(expr.right, &left, schema);
        Ok(PlannerResult::Planned(function(def).call(vec![left, right])))
    }

    fn plan_position(&self, args: Vec<Expr>) -> DfResult<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(function(&text::STRPOS).call(args)))
    }

    fn plan_extract(&self, args: Vec<Expr>) -> DfResult<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(function(&extract::EXTRACT).call(args)))
    }

    fn plan_aggregate(&self, expr: RawAggregateExpr) -> DfResult<PlannerResult<RawAggregateExpr>> {
        let RawAggregateExpr { func, args, distinct, filter, order_by, null_treatment } = expr;
        let args = args.into_iter().map(casts_named).collect::<DfResult<_>>()?;
        let filter = filter.map(|e| casts_named(*e).map(Box::new)).transpose()?;
        let order_by = order_by.into_iter().map(|s| Ok(SortExpr { expr: casts_named(s.expr)?, ..s })).collect::<DfResult<_>>()?;
        Ok(PlannerResult::Original(RawAggregateExpr { func, args, distinct, filter, order_by, null_treatment }))
    }

    fn plan_window(&self, mut expr: RawWindowExpr) -> DfResult<PlannerResult<RawWindowExpr>> {
        expr.args = expr.args.into_iter().map(casts_named).collect::<DfResult<_>>()?;
        // Two calls may differ by a cast in their OVER or FILTER clause alone.
        expr.partition_by = expr.partition_by.into_iter().map(casts_named).collect::<DfResult<_>>()?;
        let named = |s: SortExpr| Ok(SortExpr { expr: casts_named(s.expr)?, ..s });
        expr.order_by = expr.order_by.into_iter().map(named).collect::<DfResult<_>>()?;
        expr.filter = expr.filter.map(|e| casts_named(*e).map(Box::new)).transpose()?;
        Ok(match over::plan(expr)? {
            Ok(call) => PlannerResult::Planned(call),
            Err(other) => PlannerResult::Original(other),
        })
    }

    fn plan_substring(&self, args: Vec<Expr>) -> DfResult<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(function(&strings::SUBSTRING).call(args)))
    }
}

/// The operators of json and jsonb, and those that arrays share with them.
fn json_operator(expr: &RawBinaryExpr, jsonb: &dyn Fn(&Expr) -> bool) -> Option<Expr> {
    let (left, right) = (expr.left.clone(), expr.right.clone());
    let def = match expr.op {
        BinaryOperator::Arrow => &json::access::ARROW,
        BinaryOperator::LongArrow => &json::access::LONG_ARROW,
        BinaryOperator::HashArrow => &json::access::HASH_ARROW,
        BinaryOperator::HashLongArrow => &json::access::HASH_LONG_ARROW,
        BinaryOperator::Question => &json::access::EXISTS,
        BinaryOperator::QuestionPipe => &json::access::EXISTS_ANY,
        BinaryOperator::QuestionAnd => &json::access::EXISTS_ALL,
        BinaryOperator::HashMinus => &json::change::DELETE_PATH,
        BinaryOperator::AtArrow => &json::contains::CONTAINS,
        BinaryOperator::ArrowAt => return Some(function(&json::contains::CONTAINS).call(vec![right, left])),
        BinaryOperator::AtQuestion => &json::path::EXISTS_OP,
        BinaryOperator::AtAt => &json::path::MATCH_OP,
        BinaryOperator::Minus if jsonb(&left) => &json::change::DELETE,
        BinaryOperator::StringConcat if jsonb(&left) || jsonb(&right) => &json::change::CONCAT,
        _ => return None,
    };
    Some(function(def).call(vec![left, right]))
}

/// `~` and its kin, `~~` and its kin (LIKE by other names), `^@`.
fn matching(expr: &RawBinaryExpr) -> Option<Expr> {
    let (left, right) = (expr.left.clone(), expr.right.clone());
    let regex = |def, negated| {
        let matched = function(def).call(vec![left.clone(), right.clone()]);
        if negated { Expr::Not(Box::new(matched)) } else { matched }
    };
    let like = |negated, case_insensitive| {
        let (expr, pattern) = (Box::new(left.clone()), Box::new(right.clone()));
        Expr::Like(Like { negated, expr, pattern, escape_char: None, case_insensitive })
    };
    Some(match expr.op {
        BinaryOperator::PGRegexMatch => regex(&regexp::REGEX_MATCH, false),
        BinaryOperator::PGRegexIMatch => regex(&regexp::REGEX_IMATCH, false),
        BinaryOperator::PGRegexNotMatch => regex(&regexp::REGEX_MATCH, true),
        BinaryOperator::PGRegexNotIMatch => regex(&regexp::REGEX_IMATCH, true),
        BinaryOperator::PGLikeMatch => like(false, false),
        BinaryOperator::PGILikeMatch => like(false, true),
        BinaryOperator::PGNotLikeMatch => like(true, false),
        BinaryOperator::PGNotILikeMatch => like(true, true),
        BinaryOperator::PGStartsWith => regex(&text::STARTS_WITH, false),
        _ => return None,
    })
}

/// DataFusion gives a cast its argument's name, and calls that differ by a cast alone one name, which one plan may not hold
/// twice. Within calls casts get a name of their own, until `semantics` has made them functions.
fn casts_named(e: Expr) -> DfResult<Expr> {
    let named = e.transform_up(|e| {
        let Expr::Cast(cast) = &e else { return Ok(Transformed::no(e)) };
        let name = format!("CAST({} AS {})", cast.expr.schema_name(), cast.field.data_type());
        Ok(Transformed::yes(e.alias(name)))
    })?;
    Ok(named.data)
}

/// Takes the names away again.
pub(super) fn casts_unnamed(e: Expr) -> DfResult<Expr> {
    let unnamed = e.transform_up(|e| match e {
        Expr::Alias(alias) if matches!(*alias.expr, Expr::Cast(_)) => Ok(Transformed::yes(*alias.expr)),
        e => Ok(Transformed::no(e)),
    })?;
    Ok(unnamed.data)
}

/// A string literal beside a type that DataFusion would not compare with text is read as that type at once.
fn known_beside(expr: Expr, other: &Expr, schema: &DFSchema) -> DfResult<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = &expr else { return Ok(expr) };
    match other.get_type(schema) {
        Ok(
            ty @ (DataType::Interval(_)
            | DataType::Time64(_)
            | DataType::Boolean
            | DataType::Binary
            | DataType::FixedSizeBinary(16)
            | DataType::LargeUtf8),
        ) => {
            let value = pgtypes::parse_text(&ty, text)?;
            let value = value.to_scalar().ok_or_else(|| EvalError::internal("constant does not fit its type"))?;
            Ok(Expr::Literal(value, None))
        }
        Ok(ty @ DataType::List(_)) => Ok(super::open::literal(expr, ty)),
        _ => Ok(expr),
    }
}

/// Arrays that have not as many dimensions as each other are compared by their keys.
fn of_dimensions(left: Expr, right: Expr, schema: &DFSchema) -> (Expr, Expr) {
    let [Ok(l), Ok(r)] = [&left, &right].map(|e| e.get_type(schema)) else { return (left, right) };
    let alike = leaf(&l) == leaf(&r) || is_int(leaf(&l)) && is_int(leaf(&r));
    if !alike || depth(&l) == depth(&r) || !l.is_nested() || !r.is_nested() {
        return (left, right);
    }
    let key = |e: Expr| function(&equality::LIST_KEY).call(vec![e]);
    (key(left), key(right))
}

/// A parameter without a type takes that of the number beside it.
fn typed_like(expr: Expr, other: &Expr, schema: &DFSchema) -> Expr {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let ty = other.get_type(schema).ok().filter(is_number);
            let field = ty.map(|ty| Arc::new(Field::new(&id, ty, true)));
            Expr::Placeholder(Placeholder { id, field })
        }
        expr => expr,
    }
}

/// SQL's type names as our Arrow types.
#[derive(Debug)]
pub struct PgTypePlanner;

impl TypePlanner for PgTypePlanner {
    fn plan_type_field(&self, sql_type: &SqlType) -> DfResult<Option<arrow::datatypes::FieldRef>> {
        let numeric = |info: &ExactNumberInfo| match info {
            ExactNumberInfo::None => vec![],
            ExactNumberInfo::Precision(p) => vec![i64::try_from(*p).unwrap_or(i64::MAX)],
            ExactNumberInfo::PrecisionAndScale(p, s) => vec![i64::try_from(*p).unwrap_or(i64::MAX), *s],
        };
        let ty = match sql_type {
            SqlType::Boolean | SqlType::Bool => pgtypes::type_by_name("bool", &[]),
            SqlType::SmallInt(_) | SqlType::Int2(_) => pgtypes::type_by_name("int2", &[]),
            SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => pgtypes::type_by_name("int4", &[]),
            SqlType::BigInt(_) | SqlType::Int8(_) => pgtypes::type_by_name("int8", &[]),
            SqlType::Real | SqlType::Float4 => pgtypes::type_by_name("float4", &[]),
            SqlType::Float(ExactNumberInfo::Precision(p)) if *p < 25 => pgtypes::type_by_name("float4", &[]),
            SqlType::Float(_) | SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 => {
                pgtypes::type_by_name("float8", &[])
            }
            SqlType::Numeric(info) | SqlType::Decimal(info) | SqlType::Dec(info) => {
                pgtypes::type_by_name("numeric", &numeric(info))
            }
            SqlType::Text | SqlType::Varchar(_) | SqlType::CharacterVarying(_) | SqlType::CharVarying(_) | SqlType::String(_) => {
                pgtypes::type_by_name("text", &[])
            }
            SqlType::Bytea => pgtypes::type_by_name("bytea", &[]),
            SqlType::Uuid => pgtypes::type_by_name("uuid", &[]),
            SqlType::JSON => pgtypes::type_by_name("json", &[]),
            SqlType::JSONB => pgtypes::type_by_name("jsonb", &[]),
            SqlType::Date => pgtypes::type_by_name("date", &[]),
            SqlType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => pgtypes::type_by_name("time", &[]),
            SqlType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => pgtypes::type_by_name("timestamp", &[]),
            SqlType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => pgtypes::type_by_name("timestamptz", &[]),
            SqlType::Interval { .. } => pgtypes::type_by_name("interval", &[]),
            SqlType::Array(_) => return Ok(None),
            SqlType::Custom(name, _) if !crate::parse::types::is_of_postgres(&name.to_string()) => {
                Err(EvalError::new("42704", format!("type \"{name}\" does not exist")))
            }
            other => Err(EvalError::new("0A000", format!("type {other} is not supported"))),
        }?;
        Ok(Some(Arc::new(Field::new("", ty, true))))
    }
}
