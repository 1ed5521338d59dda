//! PostgreSQL's explicit casts between the types that SQL here has: which exist, which can fail, and the kernel. Integers
//! are widened to bigint and floats to double first, so that each pair of classes is written once.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::arith::{boxed, drop_digits, pow10, rescale};
use super::array_cast;
use super::bind::{is_decimal, is_float, is_int, is_json, is_text, is_timestamp, is_uuid, scale_of};
use super::error::{EvalError, EvalResult};
use super::json::{self, casts as json_casts};
use super::math::decimal_to_f64;
use super::temporal::{date_to_timestamp, timestamp_to_date};
use super::udf::{Args, Bound, Builtin, Col, call};
use crate::pgtypes::calendar::{self, DAY_US};
use crate::pgtypes::{self, format, parse, type_name};
use crate::value::{Datum, Value};

/// Entry for [`super::udf::call`]; the result's type says what to cast to.
pub static CAST: Builtin = Builtin {
    name: "pg_cast",
    aliases: &[],
    bind: |types| Ok(Bound { args: types.to_vec(), ret: types.first().cloned().unwrap_or(DataType::Null) }),
    refine: None,
    kernel: cast,
    safe: false,
};

/// May a cast from one type to another be written, and can a row of it fail?
///
/// # Errors
/// 42846 when there is no such cast.
pub fn can_fail(from: &DataType, to: &DataType) -> EvalResult<bool> {
    use DataType::*;
    if from == to || *from == Null {
        return Ok(false);
    }
    if let Some(fails) = json_casts::can_fail(from, to) {
        return Ok(fails);
    }
    let fails = match (from, to) {
        (List(f), List(t)) => return can_fail(f.data_type(), t.data_type()),
        (List(f), t) if is_text(t) => return can_fail(f.data_type(), t),
        (f, List(t)) if is_text(f) => return can_fail(f, t.data_type()).map(|_| true),
        (f, t) if is_text(f) && is_text(t) => false,
        (f, t) if is_text(t) && supported(f) => false,
        (f, t) if is_text(f) && supported(t) => true,
        (Int16, Int32 | Int64) | (Int32, Int64) => false,
        (f, t) if is_int(f) && is_int(t) => true,
        (f, t) if is_int(f) && is_float(t) => false,
        (f, Decimal128(p, s)) if is_int(f) => {
            let digits = match f {
                Int16 => 5,
                Int32 => 10,
                _ => 19,
            };
            i16::from(*p) - i16::from(*s) < digits
        }
        (Boolean, Int32) | (Int32, Boolean) | (Float32, Float64) => false,
        (f, t) if is_float(f) && (is_int(t) || is_decimal(t) || is_float(t)) => true,
        (f, t) if is_decimal(f) && (is_int(t) || *t == Float32) => true,
        (f, Float64) if is_decimal(f) => false,
        (Decimal128(p, s), Decimal128(q, t)) => *t < *s || i16::from(*q) - i16::from(*t) < i16::from(*p) - i16::from(*s),
        (Date32, t) if is_timestamp(t) => true,
        (f, t) if is_timestamp(f) && (*t == Date32 || is_timestamp(t) || matches!(t, Time64(_))) => false,
        (Time64(_), Interval(_)) | (Interval(_), Time64(_) | Interval(_)) => false,
        _ => {
            let message = format!("cannot cast type {} to {}", type_name(from), type_name(to));
            return Err(EvalError::new("42846", message));
        }
    };
    Ok(fails)
}

fn supported(ty: &DataType) -> bool {
    use DataType::*;
    is_int(ty)
        || is_float(ty)
        || is_decimal(ty)
        || is_text(ty)
        || is_json(ty)
        || is_uuid(ty)
        || matches!(ty, Boolean | Date32 | Binary | Time64(TimeUnit::Microsecond) | Timestamp(TimeUnit::Microsecond, _))
        || matches!(ty, Interval(arrow::datatypes::IntervalUnit::MonthDayNano))
}

/// Casts one constant.
///
/// # Errors
/// 42846 and whatever the cast raises.
pub fn cast_value(value: &Value, to: &DataType) -> EvalResult<Value> {
    can_fail(&value.ty, to)?;
    let internal = || EvalError::internal(format!("constant does not fit its type: {value}"));
    let scalar = value.to_scalar().ok_or_else(internal)?;
    match call(&CAST, &[ColumnarValue::Scalar(scalar)], 1, to)? {
        ColumnarValue::Scalar(s) => Value::from_scalar(&s).ok_or_else(internal),
        ColumnarValue::Array(_) => Err(internal()),
    }
}

fn cast(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let Col { array, step } = args.col(0)?;
    let (from, to) = (array.data_type(), args.ret);
    if *from == DataType::Null {
        return Ok(args.all_null());
    }
    if from == to {
        if *step == 1 {
            return Ok(Arc::clone(array));
        }
        let index = arrow::array::UInt32Array::from(vec![0; args.n]);
        return Ok(arrow::compute::take(array, &index, None)?);
    }
    if is_text(to) {
        return to_text(args);
    }
    if let DataType::List(_) = to {
        return if is_text(from) { array_cast::from_text(args) } else { array_cast::between(args) };
    }
    if is_text(from) {
        return from_text(args);
    }
    if is_json(from) {
        return json_casts::cast(args);
    }
    let widened = |ty: &DataType| -> EvalResult<Args<'_>> {
        let array = if array.data_type() == ty { Arc::clone(array) } else { arrow::compute::cast(array, ty)? };
        Ok(Args { cols: vec![Col { array, step: *step }], n: args.n, ret: args.ret })
    };
    match from {
        DataType::Int32 if *to == DataType::Boolean => {
            let (v, s) = args.lanes::<Int32Type>(0)?;
            args.rows_bool(|i| Ok(v[i * s] != 0))
        }
        f if is_int(f) => from_int(&widened(&DataType::Int64)?),
        DataType::Float32 if is_decimal(to) => {
            let (v, s) = args.lanes::<Float32Type>(0)?;
            float_to_decimal(args, |i| format!("{:.5e}", v[i * s]))
        }
        f if is_float(f) => from_float(&widened(&DataType::Float64)?),
        DataType::Decimal128(_, s) => from_decimal(args, *s),
        DataType::Boolean => {
            let v = array.as_boolean();
            args.rows::<Int32Type>(|i| Ok(i32::from(v.value(i * step))))
        }
        DataType::Date32 => {
            let (v, s) = args.lanes::<Date32Type>(0)?;
            let (zone, zoned) = (crate::local::here(), matches!(to, DataType::Timestamp(_, Some(_))));
            args.rows::<TimestampMicrosecondType>(|i| {
                let t = date_to_timestamp(v[i * s])?;
                if zoned { zone.instant(t) } else { Ok(t) }
            })
        }
        DataType::Timestamp(..) => from_timestamp(args),
        DataType::Time64(_) => {
            let (v, s) = args.lanes::<Time64MicrosecondType>(0)?;
            args.rows::<IntervalMonthDayNanoType>(|i| Ok(IntervalMonthDayNano::new(0, 0, v[i * s] * 1000)))
        }
        DataType::Interval(_) => {
            let (v, s) = args.lanes::<IntervalMonthDayNanoType>(0)?;
            args.rows::<Time64MicrosecondType>(|i| Ok((v[i * s].nanoseconds / 1000).rem_euclid(DAY_US)))
        }
        other => Err(EvalError::internal(format!("no cast from {other} to {to}"))),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the flag beside it says when it truncates")]
#[expect(clippy::cast_precision_loss, reason = "integers round to floats")]
fn from_int(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let range = |name: &'static str| move |_: i64| EvalError::out_of_range(name);
    match a.ret {
        DataType::Int16 => a.map1::<Int64Type, Int16Type>(|x| (x as i16, i64::from(x as i16) != x), range("smallint")),
        DataType::Int32 => a.map1::<Int64Type, Int32Type>(|x| (x as i32, i64::from(x as i32) != x), range("integer")),
        DataType::Int64 => a.map1::<Int64Type, Int64Type>(|x| (x, false), range("bigint")),
        DataType::Float32 => a.map1::<Int64Type, Float32Type>(|x| (x as f32, false), range("real")),
        DataType::Float64 => a.map1::<Int64Type, Float64Type>(|x| (x as f64, false), range("double precision")),
        DataType::Decimal128(p, s) => {
            let (unit, end) = (pow10(*s), 10i128.pow(u32::from(*p)));
            a.map1::<Int64Type, Decimal128Type>(
                |x| match i128::from(x).checked_mul(unit) {
                    Some(v) => (v, v >= end || v <= -end),
                    None => (0, true),
                },
                |_| EvalError::new("22003", "numeric field overflow"),
            )
        }
        other => Err(EvalError::internal(format!("no cast from integer to {other}"))),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the flag beside it says when it truncates")]
fn from_float(a: &Args<'_>) -> EvalResult<ArrayRef> {
    // the greatest double below 2^63 is far from it, so both ends are exact
    let within = |x: f64, low: f64, end: f64| !(x >= low && x < end);
    match a.ret {
        DataType::Int16 => a.map1::<Float64Type, Int16Type>(
            |x| (x.round_ties_even() as i16, within(x.round_ties_even(), -32768.0, 32768.0)),
            |_| EvalError::out_of_range("smallint"),
        ),
        DataType::Int32 => a.map1::<Float64Type, Int32Type>(
            |x| (x.round_ties_even() as i32, within(x.round_ties_even(), -2_147_483_648.0, 2_147_483_648.0)),
            |_| EvalError::out_of_range("integer"),
        ),
        DataType::Int64 => {
            let end = 9_223_372_036_854_775_808.0;
            a.map1::<Float64Type, Int64Type>(
                |x| (x.round_ties_even() as i64, within(x.round_ties_even(), -end, end)),
                |_| EvalError::out_of_range("bigint"),
            )
        }
        DataType::Float32 => a.map1::<Float64Type, Float32Type>(
            |x| {
                let v = x as f32;
                (v, (v.is_infinite() && x.is_finite()) || (v == 0.0 && x != 0.0))
            },
            |x| {
                let what = if x.abs() < 1.0 { "underflow" } else { "overflow" };
                EvalError::new("22003", format!("value out of range: {what}"))
            },
        ),
        DataType::Float64 => a.map1::<Float64Type, Float64Type>(|x| (x, false), |_| EvalError::out_of_range("float")),
        DataType::Decimal128(..) => {
            let (v, s) = a.lanes::<Float64Type>(0)?;
            float_to_decimal(a, |i| format!("{:.14e}", v[i * s]))
        }
        other => Err(EvalError::internal(format!("no cast from float to {other}"))),
    }
}

/// PostgreSQL goes through 15 (real: 6) significant digits.
fn float_to_decimal(a: &Args<'_>, digits: impl Fn(usize) -> String) -> EvalResult<ArrayRef> {
    let DataType::Decimal128(p, s) = a.ret else { return Err(EvalError::internal("numeric expected")) };
    a.rows::<Decimal128Type>(|i| {
        let text = digits(i);
        match text.trim_start_matches('-').chars().next() {
            Some('N') => Err(EvalError::new("0A000", "cannot convert NaN to numeric")),
            Some('i') => Err(EvalError::new("0A000", "cannot convert infinity to numeric")),
            _ => parse::parse_decimal(&text, *p, *s),
        }
    })
}

fn from_decimal(a: &Args<'_>, scale: i8) -> EvalResult<ArrayRef> {
    let (v, s) = a.lanes::<Decimal128Type>(0)?;
    match a.ret {
        DataType::Int16 => {
            a.rows::<Int16Type>(|i| i16::try_from(drop_digits(v[i * s], scale)).map_err(|_| EvalError::out_of_range("smallint")))
        }
        DataType::Int32 => {
            a.rows::<Int32Type>(|i| i32::try_from(drop_digits(v[i * s], scale)).map_err(|_| EvalError::out_of_range("integer")))
        }
        DataType::Int64 => {
            a.rows::<Int64Type>(|i| i64::try_from(drop_digits(v[i * s], scale)).map_err(|_| EvalError::out_of_range("bigint")))
        }
        DataType::Float64 => a.rows::<Float64Type>(|i| Ok(decimal_to_f64(v[i * s], scale))),
        DataType::Float32 => a.rows::<Float32Type>(|i| {
            let mut text = String::new();
            format::write_decimal(&mut text, v[i * s], scale);
            parse::parse_float4(&text)
        }),
        DataType::Decimal128(p, to) => {
            let end = 10i128.pow(u32::from(*p)).unsigned_abs();
            // a numeric without a scale keeps every digit, or says that it cannot
            let fine = (*p, *to) == (pgtypes::NUMERIC_PRECISION, pgtypes::NUMERIC_SCALE) && scale > *to;
            let unit = if fine { pow10(scale - *to) } else { 1 };
            a.rows::<Decimal128Type>(|i| {
                if fine && v[i * s] % unit != 0 {
                    let mut text = String::new();
                    format::write_decimal(&mut text, v[i * s], scale);
                    return Err(parse::too_fine(&text));
                }
                rescale(v[i * s], scale, *to)
                    .filter(|v| v.unsigned_abs() < end)
                    .ok_or_else(|| EvalError::new("22003", "numeric field overflow"))
            })
        }
        other => Err(EvalError::internal(format!("no cast from numeric to {other}"))),
    }
}

fn from_timestamp(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let (v, s) = a.lanes::<TimestampMicrosecondType>(0)?;
    let (zone, zoned) = (crate::local::here(), matches!(a.col(0)?.array.data_type(), DataType::Timestamp(_, Some(_))));
    let local = |t: i64| if zoned { zone.shown(t).0 } else { t };
    match a.ret {
        DataType::Date32 => a.rows::<Date32Type>(|i| timestamp_to_date(local(v[i * s]))),
        DataType::Time64(_) => {
            // an infinite moment has no time of day
            let nulls = a.nulls();
            let time = |i: usize| {
                let t = v[i * s];
                let known = nulls.as_ref().is_none_or(|n| n.is_valid(i))
                    && t != calendar::TS_INFINITY
                    && t != calendar::TS_MINUS_INFINITY;
                known.then(|| local(t).rem_euclid(DAY_US))
            };
            Ok(boxed((0..a.n).map(time).collect::<arrow::array::Time64MicrosecondArray>()))
        }
        DataType::Timestamp(_, Some(_)) if !zoned => a.rows::<TimestampMicrosecondType>(|i| zone.instant(v[i * s])),
        _ => a.rows::<TimestampMicrosecondType>(|i| Ok(local(v[i * s]))),
    }
}

fn from_text(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let (v, s) = a.texts(0)?;
    let text = |i: usize| v.value(i * s);
    let ty = a.ret;
    // the input function gives a Value; its number is taken out again
    let int = |i: usize| match parse::parse_text(ty, text(i))?.datum {
        Datum::Int(v) | Datum::Time(v) | Datum::Timestamp(v) => Ok(v),
        other => Err(EvalError::internal(format!("no integer: {other:?}"))),
    };
    let narrow = |_| EvalError::out_of_range("value");
    match ty {
        DataType::Boolean => a.rows_bool(|i| parse::parse_bool(text(i))),
        DataType::Int16 => a.rows::<Int16Type>(|i| i16::try_from(int(i)?).map_err(narrow)),
        DataType::Int32 => a.rows::<Int32Type>(|i| i32::try_from(int(i)?).map_err(narrow)),
        DataType::Int64 => a.rows::<Int64Type>(int),
        DataType::Float32 => a.rows::<Float32Type>(|i| parse::parse_float4(text(i))),
        DataType::Float64 => a.rows::<Float64Type>(|i| parse::parse_float8(text(i))),
        DataType::Decimal128(p, s) => a.rows::<Decimal128Type>(|i| parse::parse_numeric(text(i), *p, *s)),
        DataType::Date32 => a.rows::<Date32Type>(|i| match parse::parse_text(ty, text(i))?.datum {
            Datum::Date(d) => Ok(d),
            _ => Err(EvalError::internal("no date")),
        }),
        DataType::Time64(_) => a.rows::<Time64MicrosecondType>(int),
        DataType::Timestamp(..) => a.rows::<TimestampMicrosecondType>(int),
        DataType::Interval(_) => a.rows::<IntervalMonthDayNanoType>(|i| {
            let (months, days, nanos) = pgtypes::parse_interval(text(i))?;
            Ok(IntervalMonthDayNano::new(months, days, nanos))
        }),
        DataType::FixedSizeBinary(16) => {
            let mut builder = arrow::array::FixedSizeBinaryBuilder::with_capacity(a.n, 16);
            for i in 0..a.n {
                if a.col(0)?.is_null(i) {
                    builder.append_null();
                } else {
                    builder.append_value(pgtypes::uuid::parse(text(i))?)?;
                }
            }
            Ok(boxed(builder.finish()))
        }
        DataType::LargeUtf8 => json::strict(a, |i, out| {
            out.push_str(&pgtypes::json::canonical(text(i))?);
            Ok(true)
        }),
        DataType::Utf8View => json::strict(a, |i, out| {
            pgtypes::json::check(text(i))?;
            out.push_str(text(i));
            Ok(true)
        }),
        DataType::Binary => {
            let mut builder = arrow::array::BinaryBuilder::new();
            for i in 0..a.n {
                if a.col(0)?.is_null(i) {
                    builder.append_null();
                } else if let Datum::Bytes(b) = parse::parse_text(ty, text(i))?.datum {
                    builder.append_value(b);
                }
            }
            Ok(boxed(builder.finish()))
        }
        other => Err(EvalError::internal(format!("no cast from text to {other}"))),
    }
}

fn to_text(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let Col { array, step } = a.col(0)?;
    if let Some(v) = array.as_boolean_opt() {
        return a.rows_text(|i, out| {
            out.push_str(if v.value(i * step) { "true" } else { "false" });
            Ok(())
        });
    }
    let write = writer(array)?;
    a.rows_text(|i, out| {
        write(i * step, out);
        Ok(())
    })
}

/// Appends the text of a slot that is not NULL.
pub(super) type Writer<'a> = Box<dyn Fn(usize, &mut String) + 'a>;

/// The output function of a column's type.
pub(super) fn writer(array: &ArrayRef) -> EvalResult<Writer<'_>> {
    use std::fmt::Write;
    macro_rules! lanes {
        ($t:ty) => {{
            let Some(a) = array.as_primitive_opt::<$t>() else {
                return Err(EvalError::internal(format!("unexpected {}", array.data_type())));
            };
            a.values()
        }};
    }
    macro_rules! display {
        ($t:ty) => {{
            let v = lanes!($t);
            Box::new(move |i, out: &mut String| {
                // writing to a String cannot fail
                let _ = write!(out, "{}", v[i]);
            })
        }};
    }
    Ok(match array.data_type() {
        DataType::Boolean => {
            let v = array.as_boolean();
            Box::new(move |i, out| out.push(if v.value(i) { 't' } else { 'f' }))
        }
        DataType::Int16 => display!(Int16Type),
        DataType::Int32 => display!(Int32Type),
        DataType::Int64 => display!(Int64Type),
        DataType::Float32 => {
            let v = lanes!(Float32Type);
            Box::new(move |i, out| out.push_str(&pgtypes::float4_text(v[i])))
        }
        DataType::Float64 => {
            let v = lanes!(Float64Type);
            Box::new(move |i, out| out.push_str(&pgtypes::float8_text(v[i])))
        }
        ty @ DataType::Decimal128(..) => {
            let (v, scale) = (lanes!(Decimal128Type), scale_of(ty));
            Box::new(move |i, out| format::write_decimal(out, v[i], scale))
        }
        DataType::Date32 => {
            let v = lanes!(Date32Type);
            Box::new(move |i, out| format::write_date(out, v[i]))
        }
        DataType::Time64(_) => {
            let v = lanes!(Time64MicrosecondType);
            Box::new(move |i, out| format::write_time(out, v[i]))
        }
        DataType::Timestamp(_, tz) => {
            let (v, zoned) = (lanes!(TimestampMicrosecondType), tz.is_some());
            Box::new(move |i, out| format::write_timestamp(out, v[i], zoned))
        }
        DataType::Interval(_) => {
            let v = lanes!(IntervalMonthDayNanoType);
            Box::new(move |i, out| out.push_str(&pgtypes::format_interval(v[i].months, v[i].days, v[i].nanoseconds)))
        }
        DataType::Utf8 => {
            let v = array.as_string::<i32>();
            Box::new(move |i, out| out.push_str(v.value(i)))
        }
        DataType::LargeUtf8 => {
            let v = array.as_string::<i64>();
            Box::new(move |i, out| out.push_str(v.value(i)))
        }
        DataType::Utf8View => {
            let v = array.as_string_view();
            Box::new(move |i, out| out.push_str(v.value(i)))
        }
        DataType::FixedSizeBinary(16) => {
            let v = array.as_fixed_size_binary();
            Box::new(move |i, out| pgtypes::uuid::write(out, v.value(i)))
        }
        DataType::Binary => {
            let v = array.as_binary::<i32>();
            Box::new(move |i, out| format::write_bytes(out, v.value(i)))
        }
        DataType::List(_) => array_cast::list_writer(array.as_list::<i32>())?,
        DataType::Null => Box::new(|_, _| {}),
        other => return Err(EvalError::new("0A000", format!("type {other} has no text form"))),
    })
}

/// A column as PostgreSQL's text (`t` and `f` for booleans), NULLs kept.
///
/// # Errors
/// 0A000 for a type without text.
pub fn text_column(array: &ArrayRef) -> EvalResult<ArrayRef> {
    let write = writer(array)?;
    super::udf::text_array(array.len(), |i, out| {
        if array.is_null(i) {
            return Ok(false);
        }
        write(i, out);
        Ok(true)
    })
}

/// A column cast to another type, as PostgreSQL casts.
///
/// # Errors
/// 42846 where there is no such cast, and what a value raises.
pub fn cast_column(array: &ArrayRef, to: &DataType) -> EvalResult<ArrayRef> {
    can_fail(array.data_type(), to)?;
    let n = array.len();
    let value = call(&CAST, &[ColumnarValue::Array(Arc::clone(array))], n, to)?;
    value.into_array(n).map_err(|e| EvalError::internal(e.strip_backtrace()))
}

/// A cast as a function of DataFusion: the rule [`super::semantics`] puts it where DataFusion's own cast would behave
/// differently.
#[derive(Debug, PartialEq, Eq)]
pub struct PgCast {
    /// The target.
    pub to: DataType,
    signature: Signature,
}

impl Hash for PgCast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to.hash(state);
    }
}

/// `expr` cast to `to`.
pub fn cast_expr(expr: Expr, to: DataType) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::new_from_impl(PgCast { to, signature }).call(vec![expr])
}

/// The target, when the function is a cast.
pub fn cast_target(f: &ScalarUDF) -> Option<&DataType> {
    f.inner().downcast_ref::<PgCast>().map(|c| &c.to)
}

impl ScalarUDFImpl for PgCast {
    fn name(&self) -> &str {
        "pg_cast"
    }
    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        let of = args.first().map(|a| a.schema_name().to_string()).unwrap_or_default();
        Ok(format!("CAST({of} AS {})", self.to))
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        if let [from] = types {
            can_fail(from, &self.to)?;
        }
        Ok(self.to.clone())
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new("pg_cast", self.return_type(&types)?, true)))
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let _zone = crate::local::enter_option(args.config_options.execution.time_zone.as_deref());
        Ok(call(&CAST, &args.args, args.number_rows, &self.to)?)
    }
}

/// Does the timestamp lie in PostgreSQL's range? Used by readers of foreign data.
pub fn timestamp_in_range(us: i64) -> bool {
    us == calendar::TS_INFINITY || us == calendar::TS_MINUS_INFINITY || calendar::is_timestamp(us)
}
