//! Which operator two types mean, and what type comes out: PostgreSQL's resolution over the types that SQL here has.
//! `Null` stands for an untyped NULL and text, where no operator takes text, for a literal of unknown type; such an
//! operand takes the type that the other one asks for. Pure functions of types.

use arrow::datatypes::DataType;

use super::error::{EvalError, EvalResult};
use super::udf::Bound;
use crate::pgtypes::{self, NUMERIC_PRECISION, NUMERIC_SCALE, type_name};

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arith {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
}

impl Arith {
    /// Its sign.
    pub fn sign(self) -> &'static str {
        match self {
            Arith::Add => "+",
            Arith::Sub => "-",
            Arith::Mul => "*",
            Arith::Div => "/",
            Arith::Mod => "%",
        }
    }
}

/// Is it an integer type?
pub fn is_int(ty: &DataType) -> bool {
    matches!(ty, DataType::Int16 | DataType::Int32 | DataType::Int64)
}
/// Is it numeric(p,s)?
pub fn is_decimal(ty: &DataType) -> bool {
    matches!(ty, DataType::Decimal128(..))
}
/// Is it jsonb?
pub fn is_jsonb(ty: &DataType) -> bool {
    *ty == DataType::LargeUtf8
}
/// Is it json or jsonb?
pub fn is_json(ty: &DataType) -> bool {
    matches!(ty, DataType::LargeUtf8 | DataType::Utf8View)
}
/// Is it uuid?
pub fn is_uuid(ty: &DataType) -> bool {
    *ty == DataType::FixedSizeBinary(16)
}
/// Is it real or double precision?
pub fn is_float(ty: &DataType) -> bool {
    matches!(ty, DataType::Float32 | DataType::Float64)
}
/// Is it a number?
pub fn is_number(ty: &DataType) -> bool {
    is_int(ty) || is_decimal(ty) || is_float(ty)
}
/// Is it text?
pub fn is_text(ty: &DataType) -> bool {
    *ty == DataType::Utf8
}
/// May it be a literal whose type is not known yet?
pub fn is_unknown(ty: &DataType) -> bool {
    is_text(ty) || *ty == DataType::Null
}
/// Is it timestamp or timestamptz?
pub fn is_timestamp(ty: &DataType) -> bool {
    matches!(ty, DataType::Timestamp(..))
}
fn is_interval(ty: &DataType) -> bool {
    matches!(ty, DataType::Interval(_))
}
fn is_time(ty: &DataType) -> bool {
    matches!(ty, DataType::Time64(_))
}

/// Scale of a numeric type; integers have 0.
pub fn scale_of(ty: &DataType) -> i8 {
    match ty {
        DataType::Decimal128(_, s) => *s,
        _ => 0,
    }
}

/// numeric of full precision and this scale.
pub fn decimal(scale: i8) -> DataType {
    DataType::Decimal128(NUMERIC_PRECISION, scale)
}

/// What a number of this type is as a numeric of its own digits; none for one that has any number of them.
pub fn digits_of(ty: &DataType) -> Option<DataType> {
    match ty {
        DataType::Decimal128(_, s) => Some(decimal(*s)),
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(decimal(0)),
        _ => None,
    }
}

/// Integers as numeric, numerics as they are.
pub fn as_decimal(ty: &DataType) -> DataType {
    if is_decimal(ty) { ty.clone() } else { decimal(0) }
}

/// The number type in which two numbers are computed; for numerics without regard to scale.
pub fn common_number(l: &DataType, r: &DataType) -> DataType {
    use DataType::*;
    if l == r {
        return l.clone();
    }
    if is_float(l) || is_float(r) {
        return Float64;
    }
    if is_decimal(l) || is_decimal(r) {
        let scale = scale_of(l).max(scale_of(r));
        return decimal(scale);
    }
    if *l == Int64 || *r == Int64 { Int64 } else { Int32 }
}

fn undefined(op: Arith, l: &DataType, r: &DataType) -> EvalError {
    EvalError::undefined(format!("operator does not exist: {} {} {}", type_name(l), op.sign(), type_name(r)))
}

/// Resolves `l op r`.
///
/// # Errors
/// 42883 when there is no such operator.
pub fn arith(op: Arith, l: &DataType, r: &DataType) -> EvalResult<Bound> {
    match (is_unknown(l), is_unknown(r)) {
        (true, true) => {
            if *l == DataType::Null && *r == DataType::Null {
                return arith(op, &DataType::Int32, &DataType::Int32);
            }
            Err(undefined(op, l, r))
        }
        (true, false) => arith(op, &meant(op, r), r),
        (false, true) => arith(op, l, &meant(op, l)),
        (false, false) => known(op, l, r),
    }
}

/// The type of an unknown operand beside one of type `other`.
fn meant(op: Arith, other: &DataType) -> DataType {
    match other {
        t if is_timestamp(t) && op == Arith::Sub => t.clone(),
        t if is_timestamp(t) || is_time(t) => pgtypes::interval(),
        DataType::Date32 if op == Arith::Sub => DataType::Date32,
        DataType::Date32 => pgtypes::interval(),
        t if is_interval(t) && matches!(op, Arith::Mul | Arith::Div) => DataType::Float64,
        DataType::Decimal128(..) => pgtypes::numeric(),
        t => t.clone(),
    }
}

fn known(op: Arith, l: &DataType, r: &DataType) -> EvalResult<Bound> {
    use Arith::*;
    use DataType::*;
    let bound = |a: &DataType, b: &DataType, ret: DataType| Ok(Bound { args: vec![a.clone(), b.clone()], ret });
    let span = pgtypes::interval();
    if is_number(l) && is_number(r) {
        let common = common_number(l, r);
        if is_decimal(&common) {
            let (a, b) = (as_decimal(l), as_decimal(r));
            let ret = decimal(result_scale(op, scale_of(&a), scale_of(&b)));
            return bound(&a, &b, ret);
        }
        if is_float(&common) && op == Mod {
            return Err(undefined(op, l, r));
        }
        return bound(&common, &common, common.clone());
    }
    match (op, l, r) {
        (Add | Sub, Date32, i) if is_int(i) => bound(l, &Int32, Date32),
        (Add, i, Date32) if is_int(i) => bound(&Int32, r, Date32),
        (Sub, Date32, Date32) => bound(l, r, Int32),
        (Add | Sub, Date32, Interval(_)) => bound(&pgtypes::timestamp(), &span, pgtypes::timestamp()),
        (Add, Interval(_), Date32) => bound(&span, &pgtypes::timestamp(), pgtypes::timestamp()),
        (Add, Date32, Time64(_)) => bound(&pgtypes::timestamp(), r, pgtypes::timestamp()),
        (Add, Time64(_), Date32) => bound(l, &pgtypes::timestamp(), pgtypes::timestamp()),
        (Add, Timestamp(..), Time64(_)) => bound(&micros(l), r, micros(l)),
        (Add, Time64(_), Timestamp(..)) => bound(l, &micros(r), micros(r)),
        (Add | Sub, Timestamp(..), Interval(_)) => bound(&micros(l), &span, micros(l)),
        (Add, Interval(_), Timestamp(..)) => bound(&span, &micros(r), micros(r)),
        (Sub, Timestamp(..) | Date32, Timestamp(..) | Date32) => {
            let common = if is_zoned(l) || is_zoned(r) { pgtypes::timestamptz() } else { pgtypes::timestamp() };
            bound(&common, &common, span.clone())
        }
        (Add | Sub, Interval(_), Interval(_)) => bound(&span, &span, span.clone()),
        (Mul | Div, Interval(_), n) if is_number(n) => bound(&span, &Float64, span.clone()),
        (Mul, n, Interval(_)) if is_number(n) => bound(&Float64, &span, span.clone()),
        (Add | Sub, Time64(_), Interval(_)) => bound(&pgtypes::time(), &span, pgtypes::time()),
        (Add, Interval(_), Time64(_)) => bound(&span, &pgtypes::time(), pgtypes::time()),
        // a time is an interval where it cannot be one
        (Sub, Interval(_), Time64(_)) => bound(&span, &span, span.clone()),
        (Sub, Timestamp(..), Time64(_)) => bound(&micros(l), &span, micros(l)),
        (Sub, Date32, Time64(_)) => bound(&pgtypes::timestamp(), &span, pgtypes::timestamp()),
        (Mul | Div, Time64(_), n) if is_number(n) => bound(&span, &Float64, span.clone()),
        (Mul, n, Time64(_)) if is_number(n) => bound(&Float64, &span, span.clone()),
        (Sub, Time64(_), Time64(_)) => bound(&pgtypes::time(), &pgtypes::time(), span.clone()),
        _ => Err(undefined(op, l, r)),
    }
}

fn is_zoned(ty: &DataType) -> bool {
    matches!(ty, DataType::Timestamp(_, Some(_)))
}

fn micros(ty: &DataType) -> DataType {
    if is_zoned(ty) { pgtypes::timestamptz() } else { pgtypes::timestamp() }
}

/// Fractional digits of a numeric result. Where PostgreSQL grows without bound, 38 digits must be shared out: a product keeps
/// all digits up to 16, a quotient has at least 16.
pub fn result_scale(op: Arith, l: i8, r: i8) -> i8 {
    let widest = NUMERIC_SCALE.max(l).max(r);
    match op {
        Arith::Add | Arith::Sub | Arith::Mod => l.max(r),
        Arith::Mul => l.saturating_add(r).min(widest),
        Arith::Div => widest,
    }
}

/// The type in which two values are compared or united (CASE, COALESCE, greatest, IN).
///
/// # Errors
/// 42883 when there is none.
pub fn common(l: &DataType, r: &DataType) -> EvalResult<DataType> {
    let text = |t: &DataType| if is_text(t) { DataType::Utf8 } else { t.clone() };
    if l == r {
        return Ok(text(l));
    }
    if is_unknown(l) {
        return Ok(text(if is_text(l) && *r == DataType::Null { l } else { r }));
    }
    if is_unknown(r) {
        return Ok(l.clone());
    }
    if is_number(l) && is_number(r) {
        return Ok(common_number(l, r));
    }
    let moment = |t: &DataType| is_timestamp(t) || *t == DataType::Date32;
    if moment(l) && moment(r) {
        return Ok(if is_zoned(l) || is_zoned(r) { pgtypes::timestamptz() } else { pgtypes::timestamp() });
    }
    if let (DataType::List(a), DataType::List(b)) = (l, r) {
        same_dimensions(l, r)?;
        return common(a.data_type(), b.data_type()).map(pgtypes::list_of);
    }
    if (is_time(l) && is_interval(r)) || (is_interval(l) && is_time(r)) || (is_interval(l) && is_interval(r)) {
        return Ok(pgtypes::interval());
    }
    Err(EvalError::undefined(format!("operator does not exist: {} = {}", type_name(l), type_name(r))))
}

/// Arrays of one type have one number of dimensions here.
///
/// # Errors
/// 0A000.
pub fn same_dimensions(l: &DataType, r: &DataType) -> EvalResult<()> {
    let (a, b) = (regauge_types::arrays::depth(l), regauge_types::arrays::depth(r));
    if a == b || a == 0 || b == 0 {
        return Ok(());
    }
    Err(EvalError::new("0A000", format!("arrays of {a} and of {b} dimensions have no common type here")))
}

/// The type in which two values become one column: as [`common`], but that real stays real beside numbers that are exact, while they are
/// compared as doubles.
///
/// # Errors
/// 42883 when there is none.
pub fn united(l: &DataType, r: &DataType) -> EvalResult<DataType> {
    let exact = |t: &DataType| is_int(t) || is_decimal(t);
    match (l, r) {
        (DataType::Float32, other) | (other, DataType::Float32) if exact(other) => Ok(DataType::Float32),
        (DataType::List(_), DataType::List(_)) if same_dimensions(l, r).is_err() => same_dimensions(l, r).map(|()| l.clone()),
        (DataType::List(a), DataType::List(b)) => united(a.data_type(), b.data_type()).map(pgtypes::list_of),
        _ => common(l, r),
    }
}

/// [`common`], or [`united`], over several.
///
/// # Errors
/// 42804 when they do not match.
pub fn common_all<'a>(types: impl IntoIterator<Item = &'a DataType>, what: &str) -> EvalResult<DataType> {
    // a time is an interval beside one for operators alone, and nothing that gives either of them
    let are_compared = matches!(what, "comparison" | "IN" | "BETWEEN" | "NULLIF" | "CASE/WHEN");
    let clash = |a: &DataType, b: &DataType| !are_compared && is_time(a) != is_time(b) && is_interval(a) != is_interval(b);
    let mut found = DataType::Null;
    for ty in types {
        let both = match (&found, ty) {
            (a, b) if clash(a, b) => None,
            (a, b) if !are_compared => united(a, b).ok(),
            (a, b) => common(a, b).ok(),
        };
        same_dimensions(&found, ty)?;
        found = both.ok_or_else(|| {
            EvalError::new("42804", format!("{what} types {} and {} cannot be matched", type_name(&found), type_name(ty)))
        })?;
    }
    Ok(if found == DataType::Null { DataType::Utf8 } else { found })
}

/// May a value of type `from` become `to` without being asked? (PostgreSQL's implicit casts, and NULL.)
pub fn implicit(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    from == to
        || *from == Null
        || (is_text(from) && is_text(to))
        || (is_interval(from) && is_interval(to))
        || (is_time(from) && (is_time(to) || is_interval(to)))
        || match (from, to) {
            (Int16, Int32 | Int64) | (Int32, Int64) => true,
            (f, t) if is_int(f) && (is_decimal(t) || is_float(t)) => true,
            (f, t) if is_decimal(f) && (is_decimal(t) || is_float(t)) => true,
            (Float32, Float64) => true,
            (Date32 | Timestamp(..), Timestamp(..)) => true,
            (List(f), List(t)) => implicit(f.data_type(), t.data_type()),
            _ => false,
        }
}
