//! A typed constant of SQL: what a literal in a [`Scalar`](crate::scalar::Scalar), a row of `VALUES` or a column's
//! DEFAULT holds. Equality is equality of the stored bits (so a plan that holds NaN equals itself); SQL's equality is
//! the evaluator's business. Knows Arrow's types and DataFusion's `ScalarValue` (for conversion), nothing of names.

use std::hash::{Hash, Hasher};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::scalar::ScalarValue;

/// A constant and its SQL type; NULL is typed as well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Value {
    /// The Arrow type, one of those that [`crate::flowplan::types::is_supported`] accepts.
    pub ty: DataType,
    /// The content; fits `ty` (see [`Value::fits`]).
    pub datum: Datum,
}

/// The content of a [`Value`], without its type.
#[derive(Debug, Clone)]
pub enum Datum {
    /// NULL of any type.
    Null,
    /// Boolean.
    Bool(bool),
    /// Int16, Int32 or Int64.
    Int(i64),
    /// Float32 (widened) or Float64.
    Float(f64),
    /// Decimal128: the unscaled integer; precision and scale stand in the type.
    Decimal(i128),
    /// Utf8; of jsonb and json their text.
    Text(String),
    /// Binary; the 16 bytes of a uuid.
    Bytes(Vec<u8>),
    /// Date32: days since 1970-01-01.
    Date(i32),
    /// Time64: microseconds since midnight.
    Time(i64),
    /// Timestamp: microseconds since 1970-01-01 00:00 (UTC for timestamptz).
    Timestamp(i64),
    /// Interval of months, days and nanoseconds.
    Interval {
        /// Whole months.
        months: i32,
        /// Whole days.
        days: i32,
        /// Nanoseconds.
        nanos: i64,
    },
    /// The elements of an array, all of its item's type.
    List(Vec<Value>),
}

impl PartialEq for Datum {
    fn eq(&self, other: &Self) -> bool {
        use Datum::*;
        match (self, other) {
            (Null, Null) => true,
            (Bool(a), Bool(b)) => a == b,
            (Int(a), Int(b)) | (Time(a), Time(b)) | (Timestamp(a), Timestamp(b)) => a == b,
            (Float(a), Float(b)) => a.to_bits() == b.to_bits(),
            (Decimal(a), Decimal(b)) => a == b,
            (Text(a), Text(b)) => a == b,
            (Bytes(a), Bytes(b)) => a == b,
            (Date(a), Date(b)) => a == b,
            (Interval { months: m, days: d, nanos: n }, Interval { months: m2, days: d2, nanos: n2 }) => {
                (m, d, n) == (m2, d2, n2)
            }
            (List(a), List(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Datum {}

impl Hash for Datum {
    fn hash<H: Hasher>(&self, state: &mut H) {
        use Datum::*;
        std::mem::discriminant(self).hash(state);
        match self {
            Null => {}
            Bool(v) => v.hash(state),
            Int(v) | Time(v) | Timestamp(v) => v.hash(state),
            Float(v) => v.to_bits().hash(state),
            Decimal(v) => v.hash(state),
            Text(v) => v.hash(state),
            Bytes(v) => v.hash(state),
            Date(v) => v.hash(state),
            Interval { months, days, nanos } => (months, days, nanos).hash(state),
            List(v) => v.hash(state),
        }
    }
}

impl Value {
    /// NULL of the given type.
    pub fn null(ty: DataType) -> Value {
        Value { ty, datum: Datum::Null }
    }
    /// A boolean.
    pub fn bool(v: bool) -> Value {
        Value { ty: DataType::Boolean, datum: Datum::Bool(v) }
    }
    /// A bigint.
    pub fn int8(v: i64) -> Value {
        Value { ty: DataType::Int64, datum: Datum::Int(v) }
    }
    /// An int.
    pub fn int4(v: i32) -> Value {
        Value { ty: DataType::Int32, datum: Datum::Int(v.into()) }
    }
    /// A double precision.
    pub fn float8(v: f64) -> Value {
        Value { ty: DataType::Float64, datum: Datum::Float(v) }
    }
    /// A text.
    pub fn text(v: impl Into<String>) -> Value {
        Value { ty: DataType::Utf8, datum: Datum::Text(v.into()) }
    }
    /// Is it NULL?
    pub fn is_null(&self) -> bool {
        matches!(self.datum, Datum::Null)
    }

    /// Does the content have the shape and the range of the type? Hostile bytes are judged by it.
    pub fn fits(&self) -> bool {
        match (&self.datum, &self.ty) {
            (Datum::Null, _) => true,
            (Datum::Bool(_), DataType::Boolean)
            | (Datum::Int(_), DataType::Int64)
            | (Datum::Float(_), DataType::Float64)
            | (Datum::Text(_), DataType::Utf8)
            | (Datum::Text(_), DataType::LargeUtf8 | DataType::Utf8View)
            | (Datum::Bytes(_), DataType::Binary)
            | (Datum::Date(_), DataType::Date32)
            | (Datum::Timestamp(_), DataType::Timestamp(TimeUnit::Microsecond, _))
            | (Datum::Interval { .. }, DataType::Interval(IntervalUnit::MonthDayNano)) => true,
            (Datum::Bytes(v), DataType::FixedSizeBinary(16)) => v.len() == 16,
            (Datum::Int(v), DataType::Int32) => i32::try_from(*v).is_ok(),
            (Datum::Int(v), DataType::Int16) => i16::try_from(*v).is_ok(),
            (Datum::Float(v), DataType::Float32) => {
                #[expect(clippy::cast_possible_truncation, reason = "the round trip is what is judged")]
                let narrow = *v as f32;
                v.is_nan() || f64::from(narrow) == *v
            }
            (Datum::Decimal(v), DataType::Decimal128(p, _)) => {
                10u128.checked_pow(u32::from(*p)).is_none_or(|bound| v.unsigned_abs() < bound)
            }
            (Datum::List(items), DataType::List(item)) => items.iter().all(|v| v.ty == *item.data_type() && v.fits()),
            (Datum::Time(v), DataType::Time64(TimeUnit::Microsecond)) => (0..=86_400_000_000).contains(v),
            _ => false,
        }
    }

    /// From DataFusion's constant; `None` for a type that SQL here does not have.
    pub fn from_scalar(v: &ScalarValue) -> Option<Value> {
        use ScalarValue as S;
        let ty = match v.data_type() {
            DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
            ty => ty,
        };
        if !crate::flowplan::types::is_supported(&ty) {
            return None;
        }
        if v.is_null() {
            return Some(Value::null(ty));
        }
        let datum = match v {
            S::Boolean(Some(v)) => Datum::Bool(*v),
            S::Int16(Some(v)) => Datum::Int((*v).into()),
            S::Int32(Some(v)) => Datum::Int((*v).into()),
            S::Int64(Some(v)) => Datum::Int(*v),
            S::Float32(Some(v)) => Datum::Float((*v).into()),
            S::Float64(Some(v)) => Datum::Float(*v),
            S::Decimal128(Some(v), _, _) => Datum::Decimal(*v),
            S::Utf8(Some(v)) | S::Utf8View(Some(v)) | S::LargeUtf8(Some(v)) => Datum::Text(v.clone()),
            S::FixedSizeBinary(16, Some(v)) => Datum::Bytes(v.clone()),
            S::Binary(Some(v)) | S::BinaryView(Some(v)) | S::LargeBinary(Some(v)) => Datum::Bytes(v.clone()),
            S::Date32(Some(v)) => Datum::Date(*v),
            S::Time64Microsecond(Some(v)) => Datum::Time(*v),
            S::TimestampMicrosecond(Some(v), _) => Datum::Timestamp(*v),
            S::List(list) if list.len() == 1 => {
                let items = list.value(0);
                let item = |i| ScalarValue::try_from_array(&items, i).ok().and_then(|v| Value::from_scalar(&v));
                Datum::List((0..items.len()).map(item).collect::<Option<_>>()?)
            }
            S::IntervalMonthDayNano(Some(v)) => Datum::Interval { months: v.months, days: v.days, nanos: v.nanoseconds },
            _ => return None,
        };
        Some(Value { ty, datum })
    }

    /// The element `at` of an array; `None` for types that we do not have, and beyond its end.
    pub fn of_array(array: &dyn Array, at: usize) -> Option<Value> {
        if at >= array.len() {
            return None;
        }
        Value::from_scalar(&ScalarValue::try_from_array(array, at).ok()?)
    }

    /// To DataFusion's constant of the same type; `None` when the content does not fit the type.
    pub fn to_scalar(&self) -> Option<ScalarValue> {
        use ScalarValue as S;
        if !self.fits() {
            return None;
        }
        Some(match (&self.datum, &self.ty) {
            (Datum::Null, ty) => S::try_from(ty).ok()?,
            (Datum::Bool(v), _) => S::Boolean(Some(*v)),
            (Datum::Int(v), DataType::Int16) => S::Int16(Some(i16::try_from(*v).ok()?)),
            (Datum::Int(v), DataType::Int32) => S::Int32(Some(i32::try_from(*v).ok()?)),
            (Datum::Int(v), _) => S::Int64(Some(*v)),
            (Datum::Float(v), DataType::Float32) => {
                #[expect(clippy::cast_possible_truncation, reason = "`fits` has judged the range")]
                let narrow = *v as f32;
                S::Float32(Some(narrow))
            }
            (Datum::Float(v), _) => S::Float64(Some(*v)),
            (Datum::Decimal(v), DataType::Decimal128(p, s)) => S::Decimal128(Some(*v), *p, *s),
            (Datum::Text(v), DataType::LargeUtf8) => S::LargeUtf8(Some(v.clone())),
            (Datum::Text(v), DataType::Utf8View) => S::Utf8View(Some(v.clone())),
            (Datum::Text(v), _) => S::Utf8(Some(v.clone())),
            (Datum::Bytes(v), DataType::FixedSizeBinary(n)) => S::FixedSizeBinary(*n, Some(v.clone())),
            (Datum::Bytes(v), _) => S::Binary(Some(v.clone())),
            (Datum::Date(v), _) => S::Date32(Some(*v)),
            (Datum::Time(v), _) => S::Time64Microsecond(Some(*v)),
            (Datum::Timestamp(v), DataType::Timestamp(_, tz)) => S::TimestampMicrosecond(Some(*v), tz.clone()),
            (Datum::List(items), DataType::List(item)) => {
                let items = items.iter().map(Value::to_scalar).collect::<Option<Vec<_>>>()?;
                S::List(ScalarValue::new_list_nullable(&items, item.data_type()))
            }
            (Datum::Interval { months, days, nanos }, _) => {
                S::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(*months, *days, *nanos)))
            }
            _ => return None,
        })
    }

    /// An array of `n` copies; `None` when the content does not fit the type.
    pub fn to_array(&self, n: usize) -> Option<ArrayRef> {
        self.to_scalar()?.to_array_of_size(n).ok()
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.datum, &self.ty) {
            (Datum::Null, _) => write!(f, "null"),
            (Datum::Bool(v), _) => write!(f, "{v}"),
            (Datum::Int(v), _) => write!(f, "{v}"),
            (Datum::Float(v), _) => write!(f, "{v:?}"),
            (Datum::Decimal(v), DataType::Decimal128(_, scale)) => f.write_str(&decimal_text(*v, *scale)),
            (Datum::Decimal(v), _) => write!(f, "{v}"),
            (Datum::Text(v), _) => write!(f, "'{}'", v.replace('\'', "''")),
            (Datum::Bytes(v), _) => {
                f.write_str("'\\x")?;
                v.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
                f.write_str("'")
            }
            (Datum::Date(v), _) => write!(f, "date {v}"),
            (Datum::Time(v), _) => write!(f, "time {v}us"),
            (Datum::Timestamp(v), _) => write!(f, "timestamp {v}us"),
            (Datum::Interval { months, days, nanos }, _) => {
                write!(f, "interval {months} months {days} days {nanos}ns")
            }
            (Datum::List(items), _) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "array[{}]", items.join(", "))
            }
        }
    }
}

fn decimal_text(unscaled: i128, scale: i8) -> String {
    let Ok(scale) = usize::try_from(scale) else { return format!("{unscaled}e{}", -i16::from(scale)) };
    if scale == 0 {
        return unscaled.to_string();
    }
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if unscaled < 0 { "-" } else { "" })
}
