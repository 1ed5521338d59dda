//! One column that is being filled, value by value, by PostgreSQL's input rules.

use arrow::{
    array::{
        ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, FixedSizeBinaryBuilder,
        Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder,
        LargeStringBuilder, StringBuilder, StringViewBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit},
};
use regauge_views::{Datum, Error, error::sqlstate as code, pgtypes::parse_text};
use std::sync::Arc;

/// A column's values so far.
pub(super) struct Cells {
    ty: DataType,
    builder: Builder,
}

enum Builder {
    Bool(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Json(StringViewBuilder),
    Jsonb(LargeStringBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
}

impl Cells {
    pub(super) fn new(ty: &DataType) -> Result<Cells, Error> {
        let builder = match ty {
            DataType::Boolean => Builder::Bool(BooleanBuilder::new()),
            DataType::Int16 => Builder::Int16(Int16Builder::new()),
            DataType::Int32 => Builder::Int32(Int32Builder::new()),
            DataType::Int64 => Builder::Int64(Int64Builder::new()),
            DataType::Float32 => Builder::Float32(Float32Builder::new()),
            DataType::Float64 => Builder::Float64(Float64Builder::new()),
            DataType::Decimal128(..) => Builder::Decimal(Decimal128Builder::new().with_data_type(ty.clone())),
            DataType::Utf8 => Builder::Text(StringBuilder::new()),
            DataType::Binary => Builder::Bytes(BinaryBuilder::new()),
            DataType::FixedSizeBinary(16) => Builder::Uuid(FixedSizeBinaryBuilder::new(16)),
            DataType::Utf8View => Builder::Json(StringViewBuilder::new()),
            DataType::LargeUtf8 => Builder::Jsonb(LargeStringBuilder::new()),
            DataType::Date32 => Builder::Date(Date32Builder::new()),
            DataType::Time64(TimeUnit::Microsecond) => Builder::Time(Time64MicrosecondBuilder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Builder::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(ty.clone()))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => Builder::Interval(IntervalMonthDayNanoBuilder::new()),
            other => return Err(Error::unsupported(format!("records cannot carry values of type {other}"))),
        };
        Ok(Cells { ty: ty.clone(), builder })
    }

    /// Whether the column holds text, which takes any value as it is written.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.builder, Builder::Text(_))
    }

    /// Whether the column holds JSON, which takes any value as the JSON it is.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.builder, Builder::Json(_) | Builder::Jsonb(_))
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        match &self.builder {
            Builder::Bool(b) => b.len(),
            Builder::Int16(b) => b.len(),
            Builder::Int32(b) => b.len(),
            Builder::Int64(b) => b.len(),
            Builder::Float32(b) => b.len(),
            Builder::Float64(b) => b.len(),
            Builder::Decimal(b) => b.len(),
            Builder::Text(b) => b.len(),
            Builder::Bytes(b) => b.len(),
            Builder::Uuid(b) => b.len(),
            Builder::Json(b) => b.len(),
            Builder::Jsonb(b) => b.len(),
            Builder::Date(b) => b.len(),
            Builder::Time(b) => b.len(),
            Builder::Timestamp(b) => b.len(),
            Builder::Interval(b) => b.len(),
        }
    }

    pub(super) fn push_null(&mut self) {
        match &mut self.builder {
            Builder::Bool(b) => b.append_null(),
            Builder::Int16(b) => b.append_null(),
            Builder::Int32(b) => b.append_null(),
            Builder::Int64(b) => b.append_null(),
            Builder::Float32(b) => b.append_null(),
            Builder::Float64(b) => b.append_null(),
            Builder::Decimal(b) => b.append_null(),
            Builder::Text(b) => b.append_null(),
            Builder::Bytes(b) => b.append_null(),
            Builder::Uuid(b) => b.append_null(),
            Builder::Json(b) => b.append_null(),
            Builder::Jsonb(b) => b.append_null(),
            Builder::Date(b) => b.append_null(),
            Builder::Time(b) => b.append_null(),
            Builder::Timestamp(b) => b.append_null(),
            Builder::Interval(b) => b.append_null(),
        }
    }

    /// A value's text.
    pub(super) fn push(&mut self, text: &str) -> Result<(), Error> {
        if text.contains('\0') {
            return Err(Error::invalid(code::NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\": 0x00"));
        }
        match &mut self.builder {
            Builder::Text(b) => {
                b.append_value(text);
                return Ok(());
            }
            Builder::Int64(b) => {
                if let Ok(value) = text.parse::<i64>() {
                    b.append_value(value);
                    return Ok(());
                }
            }
            _ => {}
        }
        let value = parse_text(&self.ty, text).map_err(|e| Error::from_eval(&e))?;
        self.push_datum(value.datum)
    }

    #[allow(clippy::cast_possible_truncation, reason = "a Float32 was widened by the parser")]
    fn push_datum(&mut self, datum: Datum) -> Result<(), Error> {
        match (&mut self.builder, datum) {
            (Builder::Bool(b), Datum::Bool(v)) => b.append_value(v),
            (Builder::Int16(b), Datum::Int(v)) => b.append_value(i16::try_from(v).map_err(|_| lost())?),
            (Builder::Int32(b), Datum::Int(v)) => b.append_value(i32::try_from(v).map_err(|_| lost())?),
            (Builder::Int64(b), Datum::Int(v)) => b.append_value(v),
            (Builder::Float32(b), Datum::Float(v)) => b.append_value(v as f32),
            (Builder::Float64(b), Datum::Float(v)) => b.append_value(v),
            (Builder::Decimal(b), Datum::Decimal(v)) => b.append_value(v),
            (Builder::Text(b), Datum::Text(v)) => b.append_value(v),
            (Builder::Bytes(b), Datum::Bytes(v)) => b.append_value(v),
            (Builder::Uuid(b), Datum::Bytes(v)) => b.append_value(v).map_err(|_| lost())?,
            (Builder::Json(b), Datum::Text(v)) => b.append_value(v),
            (Builder::Jsonb(b), Datum::Text(v)) => b.append_value(v),
            (Builder::Date(b), Datum::Date(v)) => b.append_value(v),
            (Builder::Time(b), Datum::Time(v)) => b.append_value(v),
            (Builder::Timestamp(b), Datum::Timestamp(v)) => b.append_value(v),
            (Builder::Interval(b), Datum::Interval { months, days, nanos }) => {
                b.append_value(IntervalMonthDayNano::new(months, days, nanos));
            }
            _ => return Err(lost()),
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> ArrayRef {
        match &mut self.builder {
            Builder::Bool(b) => Arc::new(b.finish()),
            Builder::Int16(b) => Arc::new(b.finish()),
            Builder::Int32(b) => Arc::new(b.finish()),
            Builder::Int64(b) => Arc::new(b.finish()),
            Builder::Float32(b) => Arc::new(b.finish()),
            Builder::Float64(b) => Arc::new(b.finish()),
            Builder::Decimal(b) => Arc::new(b.finish()),
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::Bytes(b) => Arc::new(b.finish()),
            Builder::Uuid(b) => Arc::new(b.finish()),
            Builder::Json(b) => Arc::new(b.finish()),
            Builder::Jsonb(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Time(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) => Arc::new(b.finish()),
            Builder::Interval(b) => Arc::new(b.finish()),
        }
    }
}

fn lost() -> Error {
    Error::internal("a value does not fit its own type")
}
