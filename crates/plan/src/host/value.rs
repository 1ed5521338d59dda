//! Values on their way to a closure of the program and back.
//!
//! ```text
//!   boolean                     Bool        real, double precision      Float
//!   smallint, integer, bigint   Int         text, and types that do not travel by themselves, as their text   Text
//!   date (days), timestamp and timestamptz (microseconds), since 1970-01-01    Int       bytea    Bytes
//! ```
//! What comes back is judged: a number or moment that its type does not have is an error of the row, as is text with a zero byte; there is
//! one NaN.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Float32Array, Float64Array, PrimitiveBuilder, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::compute::unary;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use super::blame;
use crate::functions::error::{EvalError, EvalResult};
use crate::pgtypes::{calendar, type_name};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum HostValue<'a> {
    /// NULL.
    Null,
    /// boolean
    Bool(bool),
    /// smallint, integer, bigint; date as days, timestamps as microseconds, since 1970-01-01.
    Int(i64),
    /// real, double precision
    Float(f64),
    /// text, and the text of whatever has no form of its own here.
    Text(Cow<'a, str>),
    /// bytea
    Bytes(Cow<'a, [u8]>),
}

/// The value of a column at a place.
pub(super) fn value(array: &ArrayRef, at: usize) -> EvalResult<HostValue<'_>> {
    fn of<T: ArrowPrimitiveType>(array: &ArrayRef, at: usize) -> T::Native {
        array.as_primitive::<T>().value(at)
    }
    if array.data_type() == &DataType::Null || array.is_null(at) {
        return Ok(HostValue::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => HostValue::Bool(array.as_boolean().value(at)),
        DataType::Int16 => HostValue::Int(of::<Int16Type>(array, at).into()),
        DataType::Int32 => HostValue::Int(of::<Int32Type>(array, at).into()),
        DataType::Date32 => HostValue::Int(of::<Date32Type>(array, at).into()),
        DataType::Int64 => HostValue::Int(of::<Int64Type>(array, at)),
        DataType::Timestamp(..) => HostValue::Int(of::<TimestampMicrosecondType>(array, at)),
        DataType::Float32 => HostValue::Float(of::<Float32Type>(array, at).into()),
        DataType::Float64 => HostValue::Float(of::<Float64Type>(array, at)),
        DataType::Utf8 => HostValue::Text(array.as_string::<i32>().value(at).into()),
        DataType::Binary => HostValue::Bytes(array.as_binary::<i32>().value(at).into()),
        other => return Err(EvalError::internal(format!("a rust function is given {other}"))),
    })
}

/// Values as a column of a type, which is one that travels.
pub(super) fn column(function: &str, ty: &DataType, values: Vec<HostValue<'_>>) -> EvalResult<ArrayRef> {
    let unfit =
        |value: &HostValue<'_>| blame("38000", function, format!("gave {value:?} for a result of type {}", type_name(ty)));
    let range = || blame("22003", function, format!("gave a value that is out of range for type {}", type_name(ty)));
    fn primitive<T: ArrowPrimitiveType>(
        values: &[HostValue<'_>],
        each: impl Fn(&HostValue<'_>) -> EvalResult<T::Native>,
    ) -> EvalResult<ArrayRef> {
        let mut all = PrimitiveBuilder::<T>::with_capacity(values.len());
        for value in values {
            all.append_option(if *value == HostValue::Null { None } else { Some(each(value)?) });
        }
        Ok(Arc::new(all.finish()))
    }
    let int = |value: &HostValue<'_>| if let HostValue::Int(n) = value { Ok(*n) } else { Err(unfit(value)) };
    let float = |value: &HostValue<'_>| match value {
        HostValue::Float(v) => Ok(*v),
        HostValue::Int(n) => Ok(*n as f64),
        other => Err(unfit(other)),
    };
    let values = values.as_slice();
    let made = match ty {
        DataType::Boolean => {
            let mut all = BooleanBuilder::with_capacity(values.len());
            for value in values {
                match value {
                    HostValue::Null => all.append_null(),
                    HostValue::Bool(b) => all.append_value(*b),
                    other => return Err(unfit(other)),
                }
            }
            Arc::new(all.finish())
        }
        DataType::Int16 => primitive::<Int16Type>(values, |v| i16::try_from(int(v)?).map_err(|_| range()))?,
        DataType::Int32 => primitive::<Int32Type>(values, |v| i32::try_from(int(v)?).map_err(|_| range()))?,
        DataType::Date32 => primitive::<Date32Type>(values, |v| i32::try_from(int(v)?).map_err(|_| range()))?,
        DataType::Int64 => primitive::<Int64Type>(values, int)?,
        DataType::Timestamp(_, zone) => {
            let plain = primitive::<TimestampMicrosecondType>(values, int)?;
            let plain: TimestampMicrosecondArray = plain.as_primitive().clone();
            Arc::new(plain.with_timezone_opt(zone.clone()))
        }
        #[allow(clippy::cast_possible_truncation, reason = "the nearest that there is, as a cast of SQL gives")]
        DataType::Float32 => primitive::<Float32Type>(values, |v| Ok(float(v)? as f32))?,
        DataType::Float64 => primitive::<Float64Type>(values, float)?,
        DataType::Utf8 => {
            let mut all = StringBuilder::new();
            for value in values {
                match value {
                    HostValue::Null => all.append_null(),
                    HostValue::Text(text) => all.append_value(text),
                    other => return Err(unfit(other)),
                }
            }
            Arc::new(all.finish())
        }
        DataType::Binary => {
            let mut all = BinaryBuilder::new();
            for value in values {
                match value {
                    HostValue::Null => all.append_null(),
                    HostValue::Bytes(bytes) => all.append_value(bytes),
                    other => return Err(unfit(other)),
                }
            }
            Arc::new(all.finish())
        }
        other => return Err(EvalError::internal(format!("a rust function gives {other}"))),
    };
    judged(function, ty, values.len(), made)
}

/// A column that a closure gave, if it is what it should be.
pub(super) fn judged(function: &str, ty: &DataType, n: usize, array: ArrayRef) -> EvalResult<ArrayRef> {
    let broken = |what: String| Err(blame("38000", function, what));
    if array.data_type() != ty {
        return broken(format!("gave a column of {}, and {ty} was wanted", array.data_type()));
    }
    if array.len() != n {
        return broken(format!("gave {} values for {n} rows", array.len()));
    }
    Ok(match ty {
        DataType::Date32 => {
            let infinite = |days: i32| [calendar::DATE_INFINITY, calendar::DATE_MINUS_INFINITY].contains(&days);
            let days = array.as_primitive::<Date32Type>();
            if days.iter().flatten().any(|days| !infinite(days) && !calendar::is_date(days.into())) {
                return Err(blame("22008", function, "gave a date out of range"));
            }
            array
        }
        DataType::Timestamp(..) => {
            let infinite = |us: i64| [calendar::TS_INFINITY, calendar::TS_MINUS_INFINITY].contains(&us);
            let moments = array.as_primitive::<TimestampMicrosecondType>();
            if moments.iter().flatten().any(|us| !infinite(us) && !calendar::is_timestamp(us)) {
                return Err(blame("22008", function, "gave a timestamp out of range"));
            }
            array
        }
        DataType::Utf8 if array.as_string::<i32>().iter().flatten().any(|text| text.contains('\0')) => {
            return Err(blame("22021", function, "gave text with a zero byte in it"));
        }
        DataType::Float32 => {
            let one: Float32Array = unary(array.as_primitive::<Float32Type>(), |v: f32| if v.is_nan() { f32::NAN } else { v });
            Arc::new(one)
        }
        DataType::Float64 => {
            let one: Float64Array = unary(array.as_primitive::<Float64Type>(), |v: f64| if v.is_nan() { f64::NAN } else { v });
            Arc::new(one)
        }
        _ => array,
    })
}
