//! Rows to messages: the values of a batch in PostgreSQL's text or binary form, straight into the output buffer.
//!
//! Cost: one dispatch per value, no allocation for integers, booleans, texts and bytes; other types use one scratch text. Text
//! forms are those of `pgtypes`; binary ones are PostgreSQL's send functions. Knows neither sockets nor sessions.

use super::{
    back::sized,
    types::{Scalar, Shape, Type, native},
};
use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
        Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, RecordBatch, StringArray,
        Time64MicrosecondArray, TimestampMicrosecondArray,
    },
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    },
};
use bytes::{BufMut, BytesMut};
use regauge_plan::{
    functions::cast::text_column,
    local::{self, Zone},
};
use regauge_types::arrays;
use regauge_views::{
    Datum, Error, Result, Value,
    error::sqlstate as code,
    pgtypes::{
        calendar::{DATE_INFINITY, DATE_MINUS_INFINITY, TS_INFINITY, TS_MINUS_INFINITY},
        write_value,
    },
};
use std::fmt::Write;

/// From 1970-01-01, where our days and microseconds begin, to 2000-01-01, where PostgreSQL's do.
pub const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub const EPOCH_US: i64 = 946_684_800_000_000;
/// No message is longer; the protocol's lengths end at 1 GiB.
const ROW_BYTES_MAX: usize = 0x3fff_ffff;

/// A batch whose columns are ready to be written, row by row.
pub struct Encoder {
    columns: Vec<(ArrayRef, Kind, bool)>,
    n_rows: usize,
    scratch: String,
    zone: Zone,
}

/// How a column's values are read.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Scalar(Scalar),
    List(Scalar),
}

impl Encoder {
    /// Makes a batch's columns native; moments are shown in this zone.
    pub fn new(batch: &RecordBatch, shapes: &[Shape], zone: Zone) -> Result<Encoder> {
        let _zone = local::enter(zone);
        let columns = batch.columns().iter().zip(shapes).map(|(column, shape)| {
            let ty = native(column.data_type());
            let column = match column.data_type() {
                own if *own == ty => column.clone(),
                // a row goes as text
                DataType::List(_) | DataType::Struct(_) if ty == DataType::Utf8 => {
                    text_column(column).map_err(|e| Error::from_eval(&e))?
                }
                _ => cast(column, &ty).map_err(Error::arrow)?,
            };
            let told = if shape.ty == Type::Array(Scalar::Oid) { shape.ty } else { Type::of(&ty) };
            if shape.binary && told == Type::Array(Scalar::Oid) {
                are_oids(&column, &shape.name)?;
            }
            let kind = match told {
                Type::Scalar(scalar) => Kind::Scalar(scalar),
                Type::Array(scalar) => Kind::List(scalar),
            };
            Ok((column, kind, shape.binary))
        });
        Ok(Encoder { columns: columns.collect::<Result<_>>()?, n_rows: batch.num_rows(), scratch: String::new(), zone })
    }

    /// Rows of the batch.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Writes one row as a message; one that is too long is not written.
    pub fn row(&mut self, row: usize, out: &mut BytesMut) -> Result<()> {
        self.row_as(b'D', &[], row, out)
    }

    /// The same as a piece of a COPY in the binary format, behind what stands before it.
    pub fn tuple(&mut self, before: &[u8], row: usize, out: &mut BytesMut) -> Result<()> {
        self.row_as(b'd', before, row, out)
    }

    fn row_as(&mut self, kind: u8, before: &[u8], row: usize, out: &mut BytesMut) -> Result<()> {
        let _zone = local::enter(self.zone);
        let start = out.len();
        let Encoder { columns, scratch, .. } = self;
        super::back::message(out, kind, |out| {
            out.put_slice(before);
            out.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
            for (column, kind, binary) in columns {
                if column.is_null(row) {
                    out.put_i32(-1);
                } else {
                    sized(out, false, |out| value(out, column.as_ref(), *kind, row, *binary, scratch));
                }
            }
        });
        let len = out.len() - start;
        if len > ROW_BYTES_MAX {
            out.truncate(start);
            return Err(Error::invalid(code::LIMIT_EXCEEDED, format!("a row is too large to be sent bytes={len}"))
                .hint("select fewer or smaller columns"));
        }
        Ok(())
    }
}

/// An array of bigint that was told to be one of oids holds numbers of 32 bits: others cannot be written as such.
fn are_oids(column: &ArrayRef, name: &str) -> Result<()> {
    let all = column.as_list_opt::<i32>().map(|lists| lists.values().as_primitive::<Int64Type>());
    if all.is_some_and(|all| all.iter().flatten().any(|n| u32::try_from(n).is_err())) {
        let message = format!("OID out of range column=\"{name}\"");
        return Err(Error::invalid(code::NUMERIC_OUT_OF_RANGE, message).hint("ask for the array as text: (..)::text"));
    }
    Ok(())
}

fn value(out: &mut BytesMut, column: &dyn Array, kind: Kind, row: usize, binary: bool, scratch: &mut String) {
    match (kind, binary) {
        (Kind::Scalar(scalar), false) => text(out, column, scalar, row, scratch),
        (Kind::Scalar(scalar), true) => binary_value(out, column, scalar, row),
        (Kind::List(scalar), false) => list_text(out, column.as_list(), scalar, row, scratch),
        (Kind::List(scalar), true) => list_binary(out, column.as_list(), scalar, row),
    }
}

fn text(out: &mut BytesMut, column: &dyn Array, scalar: Scalar, row: usize, scratch: &mut String) {
    // Writing into memory cannot fail.
    let _ = match scalar {
        Scalar::Int2 => write!(out, "{}", at::<Int16Array>(column).value(row)),
        Scalar::Int4 => write!(out, "{}", at::<Int32Array>(column).value(row)),
        Scalar::Int8 | Scalar::Oid => write!(out, "{}", at::<Int64Array>(column).value(row)),
        Scalar::Text => {
            out.put_slice(at::<StringArray>(column).value(row).as_bytes());
            Ok(())
        }
        Scalar::Json => {
            out.put_slice(column.as_string_view().value(row).as_bytes());
            Ok(())
        }
        Scalar::Jsonb => {
            out.put_slice(column.as_string::<i64>().value(row).as_bytes());
            Ok(())
        }
        _ => {
            scratch.clear();
            write_value(scratch, &Value { ty: column.data_type().clone(), datum: datum(column, scalar, row) });
            out.put_slice(scratch.as_bytes());
            Ok(())
        }
    };
}

/// The value in the form that `pgtypes` writes.
fn datum(column: &dyn Array, scalar: Scalar, row: usize) -> Datum {
    match scalar {
        Scalar::Bool => Datum::Bool(column.as_boolean().value(row)),
        Scalar::Int2 => Datum::Int(column.as_primitive::<Int16Type>().value(row).into()),
        Scalar::Int4 => Datum::Int(column.as_primitive::<Int32Type>().value(row).into()),
        Scalar::Int8 | Scalar::Oid => Datum::Int(column.as_primitive::<Int64Type>().value(row)),
        Scalar::Float4 => Datum::Float(column.as_primitive::<Float32Type>().value(row).into()),
        Scalar::Float8 => Datum::Float(column.as_primitive::<Float64Type>().value(row)),
        Scalar::Numeric => Datum::Decimal(column.as_primitive::<Decimal128Type>().value(row)),
        Scalar::Text => Datum::Text(column.as_string::<i32>().value(row).to_owned()),
        Scalar::Bytea => Datum::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        Scalar::Uuid => Datum::Bytes(column.as_fixed_size_binary().value(row).to_vec()),
        Scalar::Json => Datum::Text(column.as_string_view().value(row).to_owned()),
        Scalar::Jsonb => Datum::Text(column.as_string::<i64>().value(row).to_owned()),
        Scalar::Date => Datum::Date(column.as_primitive::<Date32Type>().value(row)),
        Scalar::Time => Datum::Time(column.as_primitive::<Time64MicrosecondType>().value(row)),
        Scalar::Timestamp | Scalar::Timestamptz => Datum::Timestamp(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        Scalar::Interval => {
            let v = column.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Datum::Interval { months: v.months, days: v.days, nanos: v.nanoseconds }
        }
    }
}

fn binary_value(out: &mut BytesMut, column: &dyn Array, scalar: Scalar, row: usize) {
    match scalar {
        Scalar::Bool => out.put_u8(u8::from(at::<BooleanArray>(column).value(row))),
        Scalar::Int2 => out.put_i16(at::<Int16Array>(column).value(row)),
        Scalar::Int4 => out.put_i32(at::<Int32Array>(column).value(row)),
        Scalar::Int8 => out.put_i64(at::<Int64Array>(column).value(row)),
        // Numbers of 32 bits, as the catalogs make them.
        Scalar::Oid => out.put_u32(u32::try_from(at::<Int64Array>(column).value(row)).unwrap_or(0)),
        Scalar::Float4 => out.put_f32(at::<Float32Array>(column).value(row)),
        Scalar::Float8 => out.put_f64(at::<Float64Array>(column).value(row)),
        Scalar::Numeric => {
            let column = at::<Decimal128Array>(column);
            numeric(out, column.value(row), column.scale());
        }
        Scalar::Text => out.put_slice(at::<StringArray>(column).value(row).as_bytes()),
        Scalar::Bytea => out.put_slice(at::<BinaryArray>(column).value(row)),
        Scalar::Uuid => out.put_slice(column.as_fixed_size_binary().value(row)),
        Scalar::Json => out.put_slice(column.as_string_view().value(row).as_bytes()),
        // the version of its form, then its text
        Scalar::Jsonb => {
            out.put_u8(1);
            out.put_slice(column.as_string::<i64>().value(row).as_bytes());
        }
        Scalar::Date => out.put_i32(match at::<Date32Array>(column).value(row) {
            infinite @ (DATE_INFINITY | DATE_MINUS_INFINITY) => infinite,
            days => days.saturating_sub(EPOCH_DAYS),
        }),
        Scalar::Time => out.put_i64(at::<Time64MicrosecondArray>(column).value(row)),
        Scalar::Timestamp | Scalar::Timestamptz => out.put_i64(match at::<TimestampMicrosecondArray>(column).value(row) {
            infinite @ (TS_INFINITY | TS_MINUS_INFINITY) => infinite,
            us => us.saturating_sub(EPOCH_US),
        }),
        Scalar::Interval => {
            let v = at::<IntervalMonthDayNanoArray>(column).value(row);
            out.put_i64(v.nanoseconds / 1000);
            out.put_i32(v.days);
            out.put_i32(v.months);
        }
    }
}

/// Digits to the base of 10,000, the point standing between two of them: count, weight of the first, sign, digits after the point
/// as people see them.
fn numeric(out: &mut BytesMut, unscaled: i128, scale: i8) {
    let scale = u32::from(scale.unsigned_abs());
    let (whole, fraction) = split(unscaled.unsigned_abs(), scale);
    let mut digits: Vec<u16> = fours(whole);
    let weight = digits.len();
    // Digits after the point come in fours from the point on; the last four may be filled up.
    let rest = scale % 4;
    let (fraction, last) = (fraction / 10u128.pow(rest), fraction % 10u128.pow(rest));
    let mut after = fours(fraction);
    let places = usize::try_from(scale / 4).unwrap_or(0);
    digits.extend(std::iter::repeat_n(0, places.saturating_sub(after.len())));
    digits.append(&mut after);
    if rest > 0 {
        digits.push(u16::try_from(last * 10u128.pow(4 - rest)).unwrap_or(0));
    }
    let leading = digits.iter().take_while(|d| **d == 0).count();
    let trailing = digits[leading..].iter().rev().take_while(|d| **d == 0).count();
    let kept = &digits[leading..digits.len() - trailing];
    let signed = |n: usize| i16::try_from(n).unwrap_or(i16::MAX);
    out.put_i16(signed(kept.len()));
    out.put_i16(if kept.is_empty() { 0 } else { signed(weight) - signed(leading) - 1 });
    out.put_u16(if unscaled < 0 { 0x4000 } else { 0 });
    out.put_i16(i16::try_from(scale).unwrap_or(0));
    kept.iter().for_each(|d| out.put_u16(*d));
}

fn split(value: u128, scale: u32) -> (u128, u128) {
    match 10u128.checked_pow(scale) {
        Some(one) => (value / one, value % one),
        None => (0, value),
    }
}

/// A whole number's digits to the base of 10,000, without zeros in front.
fn fours(mut value: u128) -> Vec<u16> {
    let mut digits = Vec::with_capacity(10);
    while value > 0 {
        digits.push(u16::try_from(value % 10_000).unwrap_or(0));
        value /= 10_000;
    }
    digits.reverse();
    digits
}

fn list_text(out: &mut BytesMut, column: &ListArray, scalar: Scalar, row: usize, scratch: &mut String) {
    let items = column.value(row);
    out.put_u8(b'{');
    if let Some(lists) = items.as_list_opt::<i32>() {
        for i in 0..lists.len() {
            if i > 0 {
                out.put_u8(b',');
            }
            list_text(out, lists, scalar, i, scratch);
        }
        return out.put_u8(b'}');
    }
    let mut item = BytesMut::new();
    for i in 0..items.len() {
        if i > 0 {
            out.put_u8(b',');
        }
        if items.is_null(i) {
            out.put_slice(b"NULL");
            continue;
        }
        item.clear();
        text(&mut item, items.as_ref(), scalar, i, scratch);
        quoted(out, &item);
    }
    out.put_u8(b'}');
}

/// An element of an array's text, in quotes where it could be mistaken.
fn quoted(out: &mut BytesMut, item: &[u8]) {
    let special = |b: &u8| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || b.is_ascii_whitespace() || *b == 0x0b;
    if !item.is_empty() && !item.iter().any(special) && !item.eq_ignore_ascii_case(b"null") {
        return out.put_slice(item);
    }
    out.put_u8(b'"');
    for b in item {
        if matches!(b, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*b);
    }
    out.put_u8(b'"');
}

fn list_binary(out: &mut BytesMut, column: &ListArray, scalar: Scalar, row: usize) {
    let (levels, leaves) = arrays::levels(column);
    let (dims, places) = arrays::shape(&levels, row);
    let int = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    out.put_i32(int(dims.len()));
    out.put_i32(i32::from(places.clone().any(|i| leaves.is_null(i))));
    out.put_u32(scalar.oid());
    for n in dims {
        out.put_i32(int(n));
        out.put_i32(1);
    }
    for i in places {
        if leaves.is_null(i) {
            out.put_i32(-1);
        } else {
            sized(out, false, |out| binary_value(out, leaves.as_ref(), scalar, i));
        }
    }
}

/// The array that its kind promises: [`Encoder::new`] has made it native.
fn at<T: 'static>(column: &dyn Array) -> &T {
    column.as_any().downcast_ref::<T>().unwrap_or_else(|| unreachable!("column was made native type={}", column.data_type()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;

    fn encoded(unscaled: i128, scale: i8) -> Vec<i16> {
        let mut out = BytesMut::new();
        numeric(&mut out, unscaled, scale);
        out.chunks(2).map(|b| i16::from_be_bytes([b[0], b[1]])).collect()
    }

    #[test]
    fn a_numeric_is_cut_into_fours_around_its_point() {
        assert_eq!(encoded(0, 2), [0, 0, 0, 2]);
        assert_eq!(encoded(1_234_567, 2), [3, 1, 0, 2, 1, 2345, 6700]);
        assert_eq!(encoded(-5, 5), [1, -2, 0x4000, 5, 5000]);
        assert_eq!(encoded(100_000_000, 0), [1, 2, 0, 0, 1]);
        let max = 10i128.pow(38) - 1;
        assert_eq!(encoded(max, 0)[..4], [10, 9, 0, 0]);
        assert_eq!(encoded(max, 38)[..4], [10, -1, 0, 38]);
        assert_eq!(encoded(max, 38)[13], 9900);
        assert_eq!(encoded(1, 38), [1, -10, 0, 38, 100]);
    }

    #[test]
    fn an_array_of_several_dimensions_is_written_with_the_length_of_each() {
        let leaves: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![Some(1), None, Some(3), Some(4)]));
        let shapes = [Some(vec![2, 2]), Some(vec![])];
        let column = arrays::build(&arrays::nest(DataType::Int32, 2), leaves, &shapes).expect("a square");
        let schema = Arc::new(Schema::new(vec![Field::new("l", column.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![column]).expect("batch");
        let written = |binary: bool, row: usize| {
            let mut shapes = Shape::of(&schema);
            shapes.iter_mut().for_each(|shape| shape.binary = binary);
            let mut out = BytesMut::new();
            Encoder::new(&batch, &shapes, Zone::UTC).expect("native").row(row, &mut out).expect("small");
            out[11..].to_vec()
        };
        assert_eq!(written(false, 0), b"{{1,NULL},{3,4}}");
        assert_eq!(written(false, 1), b"{}");
        let words = |bytes: Vec<u8>| bytes.chunks(4).map(|w| i32::from_be_bytes(w.try_into().expect("4"))).collect::<Vec<_>>();
        assert_eq!(words(written(true, 0)), [2, 1, 23, 2, 1, 2, 1, 4, 1, -1, 4, 3, 4, 4]);
        assert_eq!(words(written(true, 1)), [0, 0, 23]);
    }

    #[test]
    fn an_array_quotes_what_could_be_mistaken() {
        let mut builder = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
        builder.append_value([Some("a"), None, Some(""), Some("nUll"), Some("b c"), Some("q\"\\")]);
        let column: ArrayRef = Arc::new(builder.finish());
        let schema = Arc::new(Schema::new(vec![Field::new("l", column.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![column]).expect("batch");
        let mut out = BytesMut::new();
        Encoder::new(&batch, &Shape::of(&schema), Zone::UTC).expect("native").row(0, &mut out).expect("small");
        assert_eq!(&out[11..], br#"{a,NULL,"","nUll","b c","q\"\\"}"#);
    }
}
