//! Bound expressions of DataFusion to [`Scalar`]. The analyzer has put our functions in the place of DataFusion's arithmetic
//! and casts before; what it left and the evaluator does not know is refused by name.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{BinaryExpr, Case, InList, Like, ScalarFunction};
use datafusion::logical_expr::{Between, Expr, ExprSchemable, Operator};

use super::{Result, first_line};
use crate::error::PlanError;
use crate::flowplan::types::{is_supported, sql_name};
use crate::scalar::{CompareOp, IsTest, Scalar};
use crate::value::Value;

/// The plan's type for a bound type: an untyped NULL is text.
pub(crate) fn output_type(ty: &DataType) -> DataType {
    match ty {
        DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::List(item) => {
            let item = output_type(item.data_type());
            DataType::List(std::sync::Arc::new(arrow::datatypes::Field::new_list_field(item, true)))
        }
        ty => ty.clone(),
    }
}

/// Gives a NULL constant this type; leaves everything else.
pub(crate) fn typed(s: Scalar, ty: &DataType) -> Scalar {
    match s {
        Scalar::Literal(v) if v.is_null() => Scalar::Literal(Value::null(ty.clone())),
        s => s,
    }
}

/// Columns become positions of `schema`.
pub(crate) fn lower(e: &Expr, schema: &DFSchema) -> Result<Scalar> {
    stacker::maybe_grow(256 << 10, 4 << 20, || lower_expr(e, schema))
}

/// As [`lower`], for a list that is unfolded: a call may give what no column can hold.
pub(super) fn lower_list(e: &Expr, schema: &DFSchema) -> Result<Scalar> {
    match e {
        Expr::Alias(a) => lower_list(&a.expr, schema),
        Expr::ScalarFunction(f) if f.name() == crate::functions::rows::FULL_NAME || is_nested(e, schema) => {
            let args = f.args.iter().map(|a| lower_list(a, schema)).collect::<Result<_>>()?;
            Ok(Scalar::Call { func: f.name().to_owned(), args, ty: output_type(&e.get_type(schema)?) })
        }
        e => lower(e, schema),
    }
}

/// Whether it is an array of arrays.
fn is_nested(e: &Expr, schema: &DFSchema) -> bool {
    let of = |ty: &DataType| if let DataType::List(item) = ty { Some(item.data_type().clone()) } else { None };
    e.get_type(schema).ok().as_ref().and_then(of).as_ref().and_then(of).is_some()
}

fn lower_expr(e: &Expr, schema: &DFSchema) -> Result<Scalar> {
    let sub = |e: &Expr| lower(e, schema);
    let is = |test, negated, e: &Expr| Ok(Scalar::Is { test, negated, arg: Box::new(lower(e, schema)?) });
    match e {
        Expr::Alias(a) => sub(&a.expr),
        Expr::Column(c) => schema
            .maybe_index_of_column(c)
            .map(Scalar::Column)
            .ok_or_else(|| PlanError::internal(format!("no column {c} in the operator's input"))),
        Expr::Literal(v, _) => Value::from_scalar(v)
            .or_else(|| v.is_null().then(|| Value::null(output_type(&v.data_type()))))
            .filter(|v| is_supported(&v.ty))
            .map(Scalar::Literal)
            .ok_or_else(|| type_refused(&v.data_type())),
        Expr::BinaryExpr(b) => binary(b, schema),
        Expr::Not(e) => Ok(Scalar::Not(Box::new(sub(e)?))),
        Expr::IsNull(e) => is(IsTest::Null, false, e),
        Expr::IsNotNull(e) => is(IsTest::Null, true, e),
        Expr::IsTrue(e) => is(IsTest::True, false, e),
        Expr::IsNotTrue(e) => is(IsTest::True, true, e),
        Expr::IsFalse(e) => is(IsTest::False, false, e),
        Expr::IsNotFalse(e) => is(IsTest::False, true, e),
        Expr::IsUnknown(e) => is(IsTest::Unknown, false, e),
        Expr::IsNotUnknown(e) => is(IsTest::Unknown, true, e),
        Expr::Negative(inner) => {
            let ty = output_type(&inner.get_type(schema)?);
            Ok(Scalar::Call { func: "negate".into(), args: vec![sub(inner)?], ty })
        }
        Expr::Between(b) => between(b, schema),
        Expr::Case(c) => case(c, schema, e),
        Expr::Cast(c) => cast(sub(&c.expr)?, c.field.data_type(), &c.expr, schema),
        Expr::ScalarFunction(f) => call(f, e, schema),
        Expr::InList(l) => in_list(l, schema),
        Expr::Like(l) => like(l, schema),
        other => Err(refused(other)),
    }
}

fn type_refused(ty: &DataType) -> PlanError {
    PlanError::unsupported(format!("type {} is not offered in a view", sql_name(ty)), "cast to a supported type")
}

fn refused(e: &Expr) -> PlanError {
    let (what, hint) = match e {
        Expr::TryCast(_) => ("TRY_CAST", "write CAST, or CASE around it"),
        Expr::SimilarTo(_) => ("SIMILAR TO", "write LIKE or a regular expression"),
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
            ("a subquery in this place", "put EXISTS and IN (SELECT ..) directly into WHERE, joined by AND, or write a join")
        }
        Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(..) => {
            ("this correlated subquery", "rewrite it as a join, or correlate by equality only")
        }
        Expr::AggregateFunction(_) => ("an aggregate in this place", "compute it in a subquery first"),
        Expr::WindowFunction(_) => ("a window function in this place", "compute it in a subquery first"),
        Expr::GroupingSet(_) => ("GROUPING SETS, ROLLUP or CUBE", "write one GROUP BY per set and join them by UNION ALL"),
        Expr::Placeholder(_) => ("a parameter", "write the value itself"),
        Expr::Unnest(_) => ("unnest", "store one row per element"),
        _ => ("this expression", ""),
    };
    PlanError::unsupported(format!("{what} is not offered in a view: {}", first_line(&e.to_string())), hint)
}

fn binary(b: &BinaryExpr, schema: &DFSchema) -> Result<Scalar> {
    if let Operator::And | Operator::Or = b.op {
        // A chain is left-deep: walk down the left side instead of recursing.
        let mut arms = vec![lower(&b.right, schema)?];
        let mut left = b.left.as_ref();
        while let Expr::BinaryExpr(inner) = left {
            if inner.op != b.op {
                break;
            }
            arms.push(lower(&inner.right, schema)?);
            left = inner.left.as_ref();
        }
        arms.push(lower(left, schema)?);
        arms.reverse();
        let mut flat = vec![];
        for arm in arms {
            let arm = typed(arm, &DataType::Boolean);
            match (b.op, arm) {
                (Operator::And, Scalar::And(inner)) | (Operator::Or, Scalar::Or(inner)) => flat.extend(inner),
                (_, arm) => flat.push(arm),
            }
        }
        return Ok(if b.op == Operator::And { Scalar::And(flat) } else { Scalar::Or(flat) });
    }
    let op = match b.op {
        Operator::Eq => CompareOp::Eq,
        Operator::NotEq => CompareOp::Ne,
        Operator::Lt => CompareOp::Lt,
        Operator::LtEq => CompareOp::Le,
        Operator::Gt => CompareOp::Gt,
        Operator::GtEq => CompareOp::Ge,
        Operator::IsDistinctFrom => CompareOp::Distinct,
        Operator::IsNotDistinctFrom => CompareOp::NotDistinct,
        op => {
            let func = match op {
                Operator::Plus => "add",
                Operator::Minus => "subtract",
                Operator::Multiply => "multiply",
                Operator::Divide => "divide",
                Operator::Modulo => "modulo",
                Operator::StringConcat => "concat_op",
                _ => {
                    return Err(PlanError::unsupported(
                        format!("operator {op} is not offered in a view"),
                        "write a function or LIKE instead",
                    ));
                }
            };
            let ty = output_type(&Expr::BinaryExpr(b.clone()).get_type(schema)?);
            let args = vec![lower(&b.left, schema)?, lower(&b.right, schema)?];
            return Ok(Scalar::Call { func: func.into(), args, ty });
        }
    };
    let (lt, rt) = (output_type(&b.left.get_type(schema)?), output_type(&b.right.get_type(schema)?));
    compare(op, (lower(&b.left, schema)?, lt), (lower(&b.right, schema)?, rt))
}

fn compare(op: CompareOp, left: (Scalar, DataType), right: (Scalar, DataType)) -> Result<Scalar> {
    let ((l, lt), (r, rt)) = (left, right);
    let l = typed(l, &rt);
    let r = if matches!(&l, Scalar::Literal(v) if v.is_null()) { r } else { typed(r, &lt) };
    let same = lt == rt || matches!((&l, &r), (Scalar::Literal(a), _) | (_, Scalar::Literal(a)) if a.is_null());
    if !same {
        return Err(PlanError::invalid(
            "42883",
            format!("operator does not exist: {} compared with {}", sql_name(&lt), sql_name(&rt)),
        )
        .with_hint("add explicit casts"));
    }
    Ok(Scalar::Compare { op, left: Box::new(l), right: Box::new(r) })
}

fn between(b: &Between, schema: &DFSchema) -> Result<Scalar> {
    let ty = |e: &Expr| -> Result<DataType> { Ok(output_type(&e.get_type(schema)?)) };
    let (x, low, high) = (lower(&b.expr, schema)?, lower(&b.low, schema)?, lower(&b.high, schema)?);
    let (xt, lt, ht) = (ty(&b.expr)?, ty(&b.low)?, ty(&b.high)?);
    let both = Scalar::And(vec![
        compare(CompareOp::Ge, (x.clone(), xt.clone()), (low, lt))?,
        compare(CompareOp::Le, (x, xt), (high, ht))?,
    ]);
    Ok(if b.negated { Scalar::Not(Box::new(both)) } else { both })
}

fn case(c: &Case, schema: &DFSchema, whole: &Expr) -> Result<Scalar> {
    let ty = output_type(&whole.get_type(schema)?);
    let operand = match &c.expr {
        Some(e) => Some((lower(e, schema)?, output_type(&e.get_type(schema)?))),
        None => None,
    };
    let mut branches = vec![];
    for (when, then) in &c.when_then_expr {
        let condition = lower(when, schema)?;
        let condition = match &operand {
            Some(o) => compare(CompareOp::Eq, o.clone(), (condition, output_type(&when.get_type(schema)?)))?,
            None => typed(condition, &DataType::Boolean),
        };
        branches.push((condition, arm(lower(then, schema)?, &ty, then, schema)?));
    }
    let otherwise = match &c.else_expr {
        Some(e) => Some(Box::new(arm(lower(e, schema)?, &ty, e, schema)?)),
        None => None,
    };
    Ok(Scalar::Case { branches, otherwise, ty })
}

/// An arm of a CASE or COALESCE in the common type.
fn arm(s: Scalar, ty: &DataType, e: &Expr, schema: &DFSchema) -> Result<Scalar> {
    let s = typed(s, ty);
    let own = output_type(&e.get_type(schema)?);
    let null = matches!(&s, Scalar::Literal(v) if v.is_null());
    Ok(if own == *ty || null { s } else { Scalar::Cast { arg: Box::new(s), to: ty.clone() } })
}

fn cast(arg: Scalar, to: &DataType, e: &Expr, schema: &DFSchema) -> Result<Scalar> {
    let to = output_type(to);
    if !is_supported(&to) {
        return Err(type_refused(&to));
    }
    let arg = typed(arg, &to);
    if matches!(&arg, Scalar::Literal(v) if v.is_null()) || output_type(&e.get_type(schema)?) == to {
        return Ok(arg);
    }
    Ok(Scalar::Cast { arg: Box::new(arg), to })
}

fn call(f: &ScalarFunction, whole: &Expr, schema: &DFSchema) -> Result<Scalar> {
    if let (true, [arg, ..]) = (crate::functions::is_absent(&f.func), f.args.as_slice()) {
        return lower(arg, schema);
    }
    if let (Some(to), [arg]) = (crate::functions::cast_target(&f.func), f.args.as_slice()) {
        return cast(lower(arg, schema)?, to, arg, schema);
    }
    if f.name() == "make_array" && !f.args.is_empty() {
        return array(f, whole, schema);
    }
    if f.name() != "coalesce" && crate::functions::builtin(f.name()).is_none() && crate::functions::scalar(f.name()).is_none() {
        return Err(PlanError::unsupported(
            format!("function {} is not offered in a view", f.name()),
            "compute it before the row is inserted, or in the SELECT that reads the view",
        ));
    }
    if f.name() == crate::functions::list_more::UNJOINED_NAME {
        let what = "an aggregate of arrays that need not have the same dimensions is not offered in a view";
        return Err(PlanError::unsupported(what, "aggregate to_json(a), or the elements"));
    }
    let ty = output_type(&whole.get_type(schema)?);
    if !is_supported(&ty) {
        return Err(PlanError::unsupported(
            format!("function {} is not offered in a view: its result is {}", f.name(), sql_name(&ty)),
            "cast to a supported type, or use another function",
        ));
    }
    let mut args = f.args.iter().map(|a| lower(a, schema)).collect::<Result<Vec<_>>>()?;
    if f.name() == "coalesce" {
        args = args.into_iter().zip(&f.args).map(|(s, e)| arm(s, &ty, e, schema)).collect::<Result<_>>()?;
        return Ok(Scalar::Coalesce(args));
    }
    Ok(Scalar::Call { func: f.name().to_owned(), args, ty })
}

/// An array written out.
fn array(f: &ScalarFunction, whole: &Expr, schema: &DFSchema) -> Result<Scalar> {
    let ty = output_type(&whole.get_type(schema)?);
    let DataType::List(item) = &ty else { return Err(type_refused(&ty)) };
    if !is_supported(&ty) {
        return Err(type_refused(&ty));
    }
    let args = f.args.iter().map(|e| arm(lower(e, schema)?, item.data_type(), e, schema)).collect::<Result<_>>()?;
    Ok(Scalar::Call { func: crate::functions::rows::ARRAY.name.to_owned(), args, ty })
}

fn in_list(l: &InList, schema: &DFSchema) -> Result<Scalar> {
    let ty = output_type(&l.expr.get_type(schema)?);
    let arg = lower(&l.expr, schema)?;
    let list = l.list.iter().map(|e| arm(lower(e, schema)?, &ty, e, schema)).collect::<Result<Vec<_>>>()?;
    Ok(Scalar::InList { arg: Box::new(arg), list, negated: l.negated })
}

fn like(l: &Like, schema: &DFSchema) -> Result<Scalar> {
    let text = |e: &Expr| -> Result<Box<Scalar>> { Ok(Box::new(arm(lower(e, schema)?, &DataType::Utf8, e, schema)?)) };
    Ok(Scalar::Like {
        arg: text(&l.expr)?,
        pattern: text(&l.pattern)?,
        escape: Some(l.escape_char.unwrap_or('\\')),
        case_insensitive: l.case_insensitive,
        negated: l.negated,
    })
}
