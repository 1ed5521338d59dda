//! Arrays to text and back, and to arrays of another element type: PostgreSQL's array literals (`{1,NULL,"a b"}`,
//! `{{1,2},{3,4}}`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringBuilder};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;
use regauge_types::arrays::{DIMS_MAX, build, depth, leaf};

use super::arith::boxed;
use super::cast::{CAST, Writer, writer};
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, Picks};
use super::udf::{Args, call};
use crate::flowplan::types::sql_name;

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

/// Texts as arrays, of as many dimensions as the type has.
pub(super) fn from_text(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (texts, step) = args.texts(0)?;
    let nulls: Option<NullBuffer> = args.nulls();
    let wanted = depth(args.ret);
    let mut values = StringBuilder::new();
    let (mut shapes, mut len) = (Vec::with_capacity(args.n), 0usize);
    for i in 0..args.n {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            shapes.push(None);
            continue;
        }
        let read = parse(texts.value(i * step))?;
        let n = read.dims.len();
        if n > 0 && n != wanted {
            let (dims, ty) = (if n == 1 { "dimension" } else { "dimensions" }, sql_name(args.ret));
            return Err(EvalError::new("0A000", format!("an array of {n} {dims} is none of type {ty} here")));
        }
        len += read.elements.len();
        read.elements.into_iter().for_each(|element| values.append_option(element));
        shapes.push(Some(read.dims));
        if i32::try_from(len).is_err() {
            return Err(EvalError::new("54000", "arrays of one batch are too large"));
        }
    }
    let values: ArrayRef = boxed(values.finish());
    let values = elements(&values, leaf(args.ret))?;
    Ok(build(args.ret, values, &shapes)?)
}

fn malformed(text: &str) -> EvalError {
    EvalError::new("22P02", format!("malformed array literal: \"{text}\""))
}

/// An array literal: the lengths of its dimensions, none of an empty one, and its elements in order, `None` for NULL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) dims: Vec<usize>,
    pub(super) elements: Vec<Option<String>>,
}

/// How many dimensions a literal says that it has: brackets before anything else. 0 of an empty one, and of what is none.
pub(crate) fn dimensions(text: &str) -> usize {
    // as PostgreSQL has it: other blanks belong to an element
    let blank = |c: char| c.is_ascii_whitespace();
    let mut rest = text.trim_start_matches(blank);
    let mut n = 0;
    while let Some(inner) = rest.strip_prefix('{') {
        (n, rest) = (n + 1, inner.trim_start_matches(blank));
    }
    if n == 1 && rest.starts_with('}') { 0 } else { n }
}

/// Reads an array literal.
pub(super) fn parse(text: &str) -> EvalResult<Literal> {
    let bad = || malformed(text);
    let n_dims = dimensions(text);
    if n_dims > DIMS_MAX {
        let message = format!("number of array dimensions ({n_dims}) exceeds the maximum allowed ({DIMS_MAX})");
        return Err(EvalError::new("54000", message));
    }
    let mut rest = Rest { chars: text.trim().chars().peekable(), text };
    let mut out = Literal { dims: vec![], elements: vec![] };
    if rest.chars.next() != Some('{') {
        return Err(bad());
    }
    if n_dims == 0 {
        rest.blanks();
        return if rest.chars.next() == Some('}') && rest.chars.next().is_none() { Ok(out) } else { Err(bad()) };
    }
    // Of each open bracket, how many items are behind it so far; and how many a closed one of the same depth had.
    let (mut open, mut lengths) = (vec![0usize], vec![None; n_dims]);
    loop {
        rest.blanks();
        // an item: a bracket, or an element where brackets are as deep as they get
        if open.len() < n_dims {
            if rest.chars.next() != Some('{') {
                return Err(bad());
            }
            open.push(0);
            continue;
        }
        out.elements.push(rest.element()?);
        // behind it a comma, or brackets that close
        loop {
            if let Some(n) = open.last_mut() {
                *n += 1;
            }
            rest.blanks();
            match rest.chars.next() {
                Some(',') => break,
                Some('}') => {
                    let n = open.pop().ok_or_else(bad)?;
                    if *lengths[open.len()].get_or_insert(n) != n {
                        return Err(bad());
                    }
                    if open.is_empty() {
                        out.dims = lengths.into_iter().flatten().collect();
                        return if rest.chars.next().is_none() { Ok(out) } else { Err(bad()) };
                    }
                }
                _ => return Err(bad()),
            }
        }
    }
}

/// What is left of a literal.
struct Rest<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    text: &'a str,
}

impl Rest<'_> {
    fn blanks(&mut self) {
        while self.chars.next_if(char::is_ascii_whitespace).is_some() {}
    }

    /// An element up to what stands behind it; `None` for NULL.
    fn element(&mut self) -> EvalResult<Option<String>> {
        let bad = || malformed(self.text);
        let mut element = String::new();
        if self.chars.next_if_eq(&'"').is_some() {
            loop {
                match self.chars.next().ok_or_else(bad)? {
                    '"' => return Ok(Some(element)),
                    '\\' => element.push(self.chars.next().ok_or_else(bad)?),
                    c => element.push(c),
                }
            }
        }
        // blanks at the end of a bare element do not belong to it
        let mut kept = 0;
        while let Some(c) = self.chars.next_if(|c| !matches!(c, ',' | '}')) {
            match c {
                '{' | '"' => return Err(bad()),
                '\\' => {
                    element.push(self.chars.next().ok_or_else(bad)?);
                    kept = element.len();
                }
                c => {
                    element.push(c);
                    if !c.is_ascii_whitespace() {
                        kept = element.len();
                    }
                }
            }
        }
        element.truncate(kept);
        match element.is_empty() {
            true => Err(bad()),
            false => Ok((!element.eq_ignore_ascii_case("null")).then_some(element)),
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
        let of = |text: &str| parse(text).map(|read| (read.dims, read.elements));
        assert_eq!(of("{1,2}"), Ok((vec![2], vec![some("1"), some("2")])));
        let odd = vec![some("a b"), None, some("NULL"), some("x\"y,"), some("{")];
        assert_eq!(of(r#" { a b , NULL,"NULL", "x\"y,", \{ } "#), Ok((vec![5], odd)));
        assert_eq!(of(" { } "), Ok((vec![], vec![])));
        assert_eq!(of("{\"\"}"), Ok((vec![1], vec![some("")])));
        let square = vec![some("1"), some("2"), None, some("}")];
        assert_eq!(of("{{1,2},{NULL,\"}\"}}"), Ok((vec![2, 2], square.clone())));
        assert_eq!(of(" { { { 1 } , { 2 } } , {{NULL},{\"}\"} } } "), Ok((vec![2, 2, 1], square)));
        for bad in ["", "1,2", "{1", "{1,}", "{,}", "{\"a\"b}", "{a}b}", "{a\"b\"}", "{1}x", "{1,{2}}", "{{1},2}"] {
            assert!(of(bad).is_err_and(|e| e.sqlstate == "22P02"), "{bad}");
        }
        for ragged in ["{{1,2},{3}}", "{{},{}}", "{{1},{}}", "{{{1}},{{2},{3}}}", "{{1}", "{{1}}}", "{{1},}"] {
            assert!(of(ragged).is_err_and(|e| e.sqlstate == "22P02"), "{ragged}");
        }
        assert!(of("{{{{{{{1}}}}}}}").is_err_and(|e| e.sqlstate == "54000"));
    }
}
