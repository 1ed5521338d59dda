//! Values of a Bind to arrays of one element, by the parameter's type: text by PostgreSQL's input functions, binary by its receive
//! functions. A value that its type cannot hold here (numeric's NaN, 40 digits) is an error, never another value.

use super::{
    encode::{EPOCH_DAYS, EPOCH_US},
    message::utf8,
};
use arrow::{
    array::{Array, ArrayRef, StringArray, new_empty_array, new_null_array},
    compute::concat,
    datatypes::DataType,
};
use bytes::{Buf, Bytes};
use regauge_plan::flowplan::types::sql_name;
use regauge_plan::functions::cast::cast_column;
use regauge_types::arrays;
use regauge_views::{
    Datum, Error, Result, Value,
    error::sqlstate as code,
    pgtypes::{
        calendar::{DATE_INFINITY, DATE_MINUS_INFINITY, TS_INFINITY, TS_MINUS_INFINITY},
        parse_text, type_name,
    },
};
use std::sync::Arc;

/// A parameter's value.
pub fn value(ty: &DataType, bytes: Option<&Bytes>, binary: bool) -> Result<ArrayRef> {
    if let (DataType::List(_), Some(bytes)) = (ty, bytes) {
        return if binary { elements(ty, arrays::leaf(ty), bytes.clone()) } else { list(ty, text(bytes)?) };
    }
    let value = match bytes {
        None if ty.is_nested() => return Ok(new_null_array(ty, 1)),
        None => Value::null(ty.clone()),
        Some(bytes) if binary => Value { ty: ty.clone(), datum: binary_value(ty, bytes)? },
        Some(bytes) => {
            let text = text(bytes)?;
            parse_text(ty, text).map_err(|e| Error::from_eval(&e))?
        }
    };
    value
        .to_array(1)
        .ok_or_else(|| Error::invalid(code::NUMERIC_OUT_OF_RANGE, format!("value out of range for {}", type_name(ty))))
}

/// A value of a COPY in the binary format.
pub fn received(ty: &DataType, bytes: Option<&Bytes>) -> Result<ArrayRef> {
    value(ty, bytes, true)
}

/// An array of its text.
fn list(ty: &DataType, text: &str) -> Result<ArrayRef> {
    let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
    cast_column(&text, ty).map_err(|e| Error::from_eval(&e))
}

/// An array of its binary form: dimensions, flags, the elements' type, then for each dimension its length and first number, then the
/// elements, each with its size.
fn elements(ty: &DataType, item: &DataType, mut rest: Bytes) -> Result<ArrayRef> {
    let wrong = || Error::invalid("22P03", "incorrect binary data format for an array");
    let word = |rest: &mut Bytes| if rest.len() < 4 { Err(wrong()) } else { Ok(rest.get_i32()) };
    let n_dimensions = word(&mut rest)?;
    let (_, of) = (word(&mut rest)?, word(&mut rest)?);
    let n_dimensions = usize::try_from(n_dimensions).ok().filter(|n| *n <= arrays::DIMS_MAX).ok_or_else(wrong)?;
    let mut dims = Vec::with_capacity(n_dimensions);
    for _ in 0..n_dimensions {
        let (n, _) = (word(&mut rest)?, word(&mut rest)?);
        dims.push(usize::try_from(n).map_err(|_| wrong())?);
    }
    // a length of zero leaves no dimensions
    let n = if dims.is_empty() { Some(0) } else { dims.iter().try_fold(1_usize, |n, dim| n.checked_mul(*dim)) };
    let n = n.filter(|n| *n <= rest.len()).ok_or_else(wrong)?;
    if n == 0 {
        dims.clear();
    }
    if !dims.is_empty() && n_dimensions != arrays::depth(ty) {
        let message = format!("an array of {n_dimensions} dimensions is none of type {} here", sql_name(ty));
        return Err(
            Error::unsupported(message).hint("declare the column with as many pairs of brackets as its arrays have dimensions")
        );
    }
    let mut values = Vec::with_capacity(n);
    for _ in 0..n {
        let len = word(&mut rest)?;
        values.push(match usize::try_from(len) {
            Err(_) => new_null_array(item, 1),
            Ok(len) if len <= rest.len() => value(item, Some(&widened(rest.split_to(len), of == 26)), true)?,
            Ok(_) => return Err(wrong()),
        });
    }
    if !rest.is_empty() {
        return Err(wrong());
    }
    let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
    let values = if values.is_empty() { new_empty_array(item) } else { concat(&values).map_err(Error::arrow)? };
    arrays::build(ty, values, &[Some(dims)]).map_err(Error::arrow)
}

/// An oid as the bigint that it is here.
pub fn widened(bytes: Bytes, is_oid: bool) -> Bytes {
    match <[u8; 4]>::try_from(&*bytes) {
        Ok(four) if is_oid => Bytes::copy_from_slice(&u64::from(u32::from_be_bytes(four)).to_be_bytes()),
        _ => bytes,
    }
}

/// Text without NUL: no text of ours holds one.
fn text(bytes: &[u8]) -> Result<&str> {
    if bytes.contains(&0) {
        return Err(Error::invalid(code::NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\": 0x00")
            .hint("text holds no NUL; bytea does"));
    }
    utf8(bytes)
}

fn binary_value(ty: &DataType, bytes: &Bytes) -> Result<Datum> {
    let mut rest = bytes.clone();
    let wrong = || Error::invalid("22P03", format!("incorrect binary data format for {}", type_name(ty)));
    let sized = |len: usize| if bytes.len() == len { Ok(()) } else { Err(wrong()) };
    Ok(match ty {
        DataType::Boolean => {
            sized(1)?;
            Datum::Bool(rest.get_u8() != 0)
        }
        DataType::Int16 => {
            sized(2)?;
            Datum::Int(rest.get_i16().into())
        }
        DataType::Int32 => {
            sized(4)?;
            Datum::Int(rest.get_i32().into())
        }
        DataType::Int64 => {
            sized(8)?;
            Datum::Int(rest.get_i64())
        }
        DataType::Float32 => {
            sized(4)?;
            Datum::Float(rest.get_f32().into())
        }
        DataType::Float64 => {
            sized(8)?;
            Datum::Float(rest.get_f64())
        }
        DataType::Decimal128(precision, scale) => Datum::Decimal(numeric(rest, *precision, *scale)?),
        DataType::Utf8 => Datum::Text(text(bytes)?.to_owned()),
        DataType::Binary => Datum::Bytes(bytes.to_vec()),
        DataType::FixedSizeBinary(16) => {
            sized(16)?;
            Datum::Bytes(bytes.to_vec())
        }
        DataType::Utf8View => parse_text(ty, text(bytes)?).map_err(|e| Error::from_eval(&e))?.datum,
        DataType::LargeUtf8 => match bytes.split_first() {
            Some((1, text_of)) => parse_text(ty, text(text_of)?).map_err(|e| Error::from_eval(&e))?.datum,
            Some((version, _)) => {
                return Err(Error::invalid("XX000", format!("unsupported jsonb version number {version}")));
            }
            None => return Err(wrong()),
        },
        DataType::Date32 => {
            sized(4)?;
            Datum::Date(match rest.get_i32() {
                infinite @ (DATE_INFINITY | DATE_MINUS_INFINITY) => infinite,
                days => days.checked_add(EPOCH_DAYS).ok_or_else(|| Error::invalid("22008", "date out of range"))?,
            })
        }
        DataType::Time64(_) => {
            sized(8)?;
            Datum::Time(rest.get_i64())
        }
        DataType::Timestamp(..) => {
            sized(8)?;
            Datum::Timestamp(match rest.get_i64() {
                infinite @ (TS_INFINITY | TS_MINUS_INFINITY) => infinite,
                us => us.checked_add(EPOCH_US).ok_or_else(|| Error::invalid("22008", "timestamp out of range"))?,
            })
        }
        DataType::Interval(_) => {
            sized(16)?;
            let (us, days, months) = (rest.get_i64(), rest.get_i32(), rest.get_i32());
            let nanos = us.checked_mul(1000).ok_or_else(|| Error::invalid("22008", "interval out of range"))?;
            Datum::Interval { months, days, nanos }
        }
        other => return Err(Error::unsupported(format!("type {} has no binary form here", type_name(other)))),
    })
}

/// Digits to the base of 10,000 into a decimal of this scale, rounded half away from zero as PostgreSQL rounds.
fn numeric(bytes: Bytes, precision: u8, scale: i8) -> Result<i128> {
    let wrong = || Error::invalid("22P03", "incorrect binary data format for numeric");
    let over = || Error::invalid(code::NUMERIC_OUT_OF_RANGE, "numeric field overflow");
    if bytes.len() < 8 {
        return Err(wrong());
    }
    let mut head = bytes.clone();
    let (n, weight, sign) = (head.get_u16(), i32::from(head.get_i16()), head.get_u16());
    if head.len() != 2 + 2 * usize::from(n) {
        return Err(wrong());
    }
    if !matches!(sign, 0 | 0x4000) {
        return Err(Error::unsupported("numeric NaN and infinity are not offered"));
    }
    let digits = head.split_off(2);
    // The value is the digits as one whole number, times 10 to the power of this.
    let mut power = (weight + 1 - i32::from(n)) * 4 + i32::from(scale);
    let mut value = 0i128;
    for pair in digits.chunks(2) {
        let digit = u16::from_be_bytes([pair[0], pair[1]]);
        if digit > 9999 {
            return Err(wrong());
        }
        // Digits far beyond the scale only decide the rounding of the last one kept.
        match value.checked_mul(10_000).and_then(|v| v.checked_add(digit.into())) {
            Some(next) => value = next,
            None if power < 0 => {
                power += 4;
                continue;
            }
            None => return Err(over()),
        }
    }
    let value = if power >= 0 {
        let factor = u32::try_from(power).ok().and_then(|p| 10i128.checked_pow(p));
        if value == 0 { Some(0) } else { factor.and_then(|f| value.checked_mul(f)) }.ok_or_else(over)?
    } else {
        match u32::try_from(-power).ok().and_then(|p| 10i128.checked_pow(p)) {
            Some(divisor) => {
                let (quotient, rest) = (value / divisor, value % divisor);
                quotient + i128::from(rest >= divisor - rest)
            }
            None => 0,
        }
    };
    let bound = 10i128.checked_pow(precision.into()).unwrap_or(i128::MAX);
    if value >= bound {
        return Err(over());
    }
    Ok(if sign == 0 { value } else { -value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(head: [u16; 4], digits: &[u16], precision: u8, scale: i8) -> Result<i128> {
        let words: Vec<u8> = head.iter().chain(digits).flat_map(|w| w.to_be_bytes()).collect();
        numeric(Bytes::from(words), precision, scale)
    }

    #[test]
    fn an_array_of_several_dimensions_is_read_as_it_was_written_and_another_is_refused() {
        let ty = arrays::nest(DataType::Int32, 2);
        let words = |words: &[i32]| Bytes::from(words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>());
        let read = |bytes: &[i32]| value(&ty, Some(&words(bytes)), true);
        let shown = |array: ArrayRef| {
            let text = regauge_plan::functions::cast::text_column(&array).expect("it has a text");
            arrow::array::AsArray::as_string::<i32>(&text).value(0).to_owned()
        };
        assert_eq!(shown(read(&[2, 1, 23, 2, 1, 2, 1, 4, 1, -1, 4, 3, 4, 4]).expect("a square")), "{{1,NULL},{3,4}}");
        assert_eq!(shown(read(&[0, 0, 23]).expect("an empty one")), "{}");
        assert_eq!(shown(value(&ty, Some(&Bytes::from_static(b"{{1,NULL},{3,4}}")), false).expect("text")), "{{1,NULL},{3,4}}");
        for wrong in
            [vec![1, 0, 23, 1, 1, 4, 1], vec![2, 0, 23, 2, 1, i32::MAX, 1], vec![7, 0, 23], vec![-1, 0, 23], vec![2, 0, 23, 1]]
        {
            assert!(read(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_numeric_reads_as_its_digits_say() {
        assert_eq!(decoded([3, 1, 0, 2], &[1, 2345, 6700], 38, 2).expect("fits"), 1_234_567);
        assert_eq!(decoded([3, 1, 0x4000, 2], &[1, 2345, 6789], 38, 2).expect("rounded"), -1_234_568);
        assert_eq!(decoded([0, 0, 0, 0], &[], 38, 16).expect("zero"), 0);
        assert_eq!(decoded([1, 0xffff, 0, 4], &[5000], 38, 0).expect("half away"), 1);
        assert_eq!(decoded([1, 0xfffe, 0, 8], &[9999], 38, 2).expect("less than half"), 0);
        assert_eq!(decoded([1, 9, 0, 0], &[1], 38, 16).expect_err("too large").sqlstate, code::NUMERIC_OUT_OF_RANGE);
        assert_eq!(decoded([1, 0, 0, 0], &[100], 2, 0).expect_err("precision").sqlstate, code::NUMERIC_OUT_OF_RANGE);
        assert!(decoded([2, 0, 0, 0], &[1], 38, 0).is_err() && decoded([1, 0, 0, 0], &[10_000], 38, 0).is_err());
        assert!(decoded([0, 0, 0xc000, 0], &[], 38, 0).is_err());
    }

    #[test]
    fn a_binary_value_of_another_size_is_refused() {
        for ty in [DataType::Boolean, DataType::Int16, DataType::Int32, DataType::Int64, DataType::Float64, DataType::Date32] {
            let error = value(&ty, Some(&Bytes::from_static(b"123")), true).expect_err("three bytes");
            assert_eq!(error.sqlstate, "22P03", "{ty}");
        }
    }
}
