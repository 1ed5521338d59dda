//! Arrays to text and back, and to arrays of another element type: PostgreSQL's array literals (`{1,NULL,"a b"}`), of one dimension.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

use super::arith::boxed;
use super::cast::{CAST, Writer, writer};
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, Picks};
use super::udf::{Args, call};

/// Elements of another type, in the same arrays.
pub(super) fn between(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let DataType::List(field) = args.ret else { return Err(EvalError::internal("an array was expected")) };
    let list = Lists::new(args, 0)?;
    let mut picks = Picks::new(args.n);
    for i in 0..args.n {
        list.range(i).try_for_each(|at| picks.push(at))?;
        picks.end(!list.is_null(i))?;
    }
    // Only elements that an array holds are cast: what stands between arrays may be anything.
    let own = super::lists::item(list.list.data_type()).cloned().unwrap_or(DataType::Null);
    let plain = picks.finish(list.list.values(), &crate::pgtypes::list_of(own))?;
    let Some(plain) = plain.as_list_opt::<i32>() else { return Err(EvalError::internal("an array was expected")) };
    let values = elements(plain.values(), field.data_type())?;
    let list = ListArray::try_new(Arc::clone(field), plain.offsets().clone(), values, plain.nulls().cloned())?;
    Ok(boxed(list))
}

fn elements(values: &ArrayRef, to: &DataType) -> EvalResult<ArrayRef> {
    let n = values.len();
    let value = call(&CAST, &[ColumnarValue::Array(Arc::clone(values))], n, to)?;
    value.into_array(n).map_err(|e| EvalError::internal(e.strip_backtrace()))
}

/// Texts as arrays.
pub(super) fn from_text(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let DataType::List(field) = args.ret else { return Err(EvalError::internal("an array was expected")) };
    let (texts, step) = args.texts(0)?;
    let nulls: Option<NullBuffer> = args.nulls();
    let mut values = StringBuilder::new();
    let (mut offsets, mut len) = (vec![0i32], 0usize);
    for i in 0..args.n {
        if nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
            for element in parse(texts.value(i * step))? {
                values.append_option(element);
                len += 1;
            }
        }
        offsets.push(i32::try_from(len).map_err(|_| EvalError::new("54000", "arrays of one batch are too large"))?);
    }
    let values: ArrayRef = boxed(values.finish());
    let values = elements(&values, field.data_type())?;
    Ok(boxed(ListArray::try_new(Arc::clone(field), OffsetBuffer::new(offsets.into()), values, nulls)?))
}

fn malformed(text: &str) -> EvalError {
    EvalError::new("22P02", format!("malformed array literal: \"{text}\""))
}

/// The elements of an array literal; `None` for NULL.
pub(super) fn parse(text: &str) -> EvalResult<Vec<Option<String>>> {
    let bad = || malformed(text);
    let inner = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(bad)?;
    let mut out = vec![];
    if inner.trim().is_empty() {
        return Ok(out);
    }
    let mut chars = inner.chars().peekable();
    loop {
        while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
            chars.next();
        }
        let mut element = String::new();
        let mut quoted = false;
        // blanks at the end of a bare element do not belong to it
        let mut kept = 0;
        let ended = loop {
            match chars.next() {
                None => break true,
                Some(',') => break false,
                Some('{') => return Err(EvalError::new("0A000", "arrays of several dimensions are not offered")),
                Some('}') => return Err(bad()),
                Some('"') if element.is_empty() && !quoted => {
                    quoted = true;
                    loop {
                        match chars.next().ok_or_else(bad)? {
                            '"' => break,
                            '\\' => element.push(chars.next().ok_or_else(bad)?),
                            c => element.push(c),
                        }
                    }
                    kept = element.len();
                }
                Some(c) if quoted && !c.is_ascii_whitespace() => return Err(bad()),
                Some(_) if quoted => {}
                Some('\\') => {
                    element.push(chars.next().ok_or_else(bad)?);
                    kept = element.len();
                }
                Some(c) => {
                    element.push(c);
                    if !c.is_ascii_whitespace() {
                        kept = element.len();
                    }
                }
            }
        };
        element.truncate(kept);
        if element.is_empty() && !quoted {
            return Err(bad());
        }
        let null = !quoted && element.eq_ignore_ascii_case("null");
        out.push((!null).then_some(element));
        if ended {
            return Ok(out);
        }
    }
}

/// The output function of arrays.
pub(super) fn list_writer(list: &ListArray) -> EvalResult<Writer<'_>> {
    let values = list.values();
    let write = writer(values)?;
    let nested = matches!(values.data_type(), DataType::List(_));
    Ok(Box::new(move |row, out| {
        let offsets = list.value_offsets();
        let place = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
        out.push('{');
        let mut text = String::new();
        for (nth, at) in (place(row)..place(row + 1)).enumerate() {
            if nth > 0 {
                out.push(',');
            }
            if values.is_null(at) {
                out.push_str("NULL");
                continue;
            }
            text.clear();
            write(at, &mut text);
            let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace() || c == '\x0b';
            if !nested && (text.is_empty() || text.contains(special) || text.eq_ignore_ascii_case("null")) {
                out.push('"');
                for c in text.chars() {
                    if matches!(c, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(c);
                }
                out.push('"');
            } else {
                out.push_str(&text);
            }
        }
        out.push('}');
    }))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_array_literal_is_read_as_postgres_reads_it() {
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(parse("{1,2}"), Ok(vec![some("1"), some("2")]));
        assert_eq!(
            parse(r#" { a b , NULL,"NULL", "x\"y,", \{ } "#),
            Ok(vec![some("a b"), None, some("NULL"), some("x\"y,"), some("{")])
        );
        assert_eq!(parse("{}"), Ok(vec![]));
        assert_eq!(parse("{\"\"}"), Ok(vec![some("")]));
        for bad in ["", "1,2", "{1", "{1,}", "{,}", "{\"a\"b}", "{a}b}"] {
            assert!(parse(bad).is_err_and(|e| e.sqlstate == "22P02"), "{bad}");
        }
        assert!(parse("{{1}}").is_err_and(|e| e.sqlstate == "0A000"));
    }
}
