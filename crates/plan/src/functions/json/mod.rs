//! Functions and operators of json and jsonb: reading ([`access`]), making ([`build`]), changing ([`change`]), rows out of them
//! ([`rows`]), casts ([`casts`]).
//!
//! A kernel reads the stored text (see [`crate::pgtypes::json`]): what a key or a place leads to is a part of that text and is copied
//! once into the result's buffer. Only functions that change a value parse it. A part of jsonb's canonical text is canonical itself.
//!
//! Operators are functions whose names begin with `pg_`, as everywhere.

pub mod access;
pub mod build;
pub mod casts;
pub mod change;
pub mod contains;
pub mod path;
pub mod rows;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, ListArray, StringArray, StringViewArray, StringViewBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;

use super::error::{EvalError, EvalResult};
use super::udf::{Args, Builtin, text_array};
use crate::pgtypes::json::{Json, parse};

/// All of them.
pub static BUILTINS: &[&Builtin] = &[
    &access::ARROW,
    &access::LONG_ARROW,
    &access::HASH_ARROW,
    &access::HASH_LONG_ARROW,
    &access::EXTRACT_PATH_JSON,
    &access::EXTRACT_PATH_JSONB,
    &access::EXTRACT_PATH_TEXT_JSON,
    &access::EXTRACT_PATH_TEXT_JSONB,
    &access::TYPEOF_JSON,
    &access::TYPEOF_JSONB,
    &access::LENGTH_JSON,
    &access::LENGTH_JSONB,
    &access::EXISTS,
    &access::EXISTS_ANY,
    &access::EXISTS_ALL,
    &access::KEY,
    &build::TO_JSON,
    &build::TO_JSONB,
    &build::ARRAY_TO_JSON,
    &build::OBJECT_JSON,
    &build::OBJECT_JSONB,
    &build::ARRAY_JSON,
    &build::ARRAY_JSONB,
    &build::ROW_JSON,
    &build::ROW_JSONB,
    &build::LIST_JSON,
    &build::LIST_JSONB,
    &build::ROWS_JSON,
    &build::MEMBER_JSON,
    &build::MEMBER_JSONB,
    &build::MEMBERS_JSON,
    &build::MEMBERS_JSONB,
    &build::OF_TEXTS_JSON,
    &build::OF_TEXTS_JSONB,
    &change::CONCAT,
    &change::DELETE,
    &change::DELETE_PATH,
    &change::SET,
    &change::INSERT,
    &change::STRIP_JSON,
    &change::STRIP_JSONB,
    &change::PRETTY,
    &contains::CONTAINS,
    &path::EXISTS,
    &path::MATCH,
    &path::EXISTS_OP,
    &path::MATCH_OP,
    &path::QUERY,
    &path::QUERY_ARRAY,
    &path::QUERY_FIRST,
    &rows::KEYS_JSON,
    &rows::KEYS_JSONB,
    &rows::VALUES_JSON,
    &rows::VALUES_JSONB,
    &rows::VALUES_TEXT_JSON,
    &rows::VALUES_TEXT_JSONB,
    &rows::ELEMENTS_JSON,
    &rows::ELEMENTS_JSONB,
    &rows::ELEMENTS_TEXT_JSON,
    &rows::ELEMENTS_TEXT_JSONB,
];

/// A column of texts: text, json or jsonb.
#[derive(Clone, Copy)]
pub(super) enum Texts<'a> {
    Text(&'a StringArray),
    Json(&'a StringViewArray),
    Jsonb(&'a LargeStringArray),
}

impl<'a> Texts<'a> {
    /// A column that holds texts.
    pub(super) fn of(array: &'a ArrayRef) -> Option<Texts<'a>> {
        Some(match array.data_type() {
            DataType::Utf8 => Texts::Text(array.as_string()),
            DataType::Utf8View => Texts::Json(array.as_string_view()),
            DataType::LargeUtf8 => Texts::Jsonb(array.as_string()),
            _ => return None,
        })
    }

    /// The text of a slot.
    pub(super) fn value(self, i: usize) -> &'a str {
        match self {
            Texts::Text(a) => a.value(i),
            Texts::Json(a) => a.value(i),
            Texts::Jsonb(a) => a.value(i),
        }
    }
}

/// An argument of texts and its step.
pub(super) fn texts<'a>(args: &'a Args<'_>, at: usize) -> EvalResult<(Texts<'a>, usize)> {
    let col = args.col(at)?;
    let texts = Texts::of(&col.array);
    let texts = texts.ok_or_else(|| EvalError::internal(format!("argument {at} has type {}", col.array.data_type())))?;
    Ok((texts, col.step))
}

/// A column of texts of one of the three types, from texts that are known to be such.
pub(super) fn column(ty: &DataType, n: usize, f: impl Fn(usize, &mut String) -> EvalResult<bool>) -> EvalResult<ArrayRef> {
    match ty {
        DataType::Utf8 => text_array(n, f),
        DataType::LargeUtf8 => {
            let mut buffer = String::new();
            let mut offsets: Vec<i64> = Vec::with_capacity(n + 1);
            let mut valid = arrow::array::BooleanBufferBuilder::new(n);
            offsets.push(0);
            for i in 0..n {
                valid.append(f(i, &mut buffer)?);
                offsets.push(i64::try_from(buffer.len()).map_err(|_| too_large())?);
                limited(buffer.len())?;
            }
            let nulls = Some(NullBuffer::new(valid.finish())).filter(|n| n.null_count() > 0);
            let bytes = arrow::buffer::Buffer::from(buffer.into_bytes());
            Ok(Arc::new(LargeStringArray::new(OffsetBuffer::new(offsets.into()), bytes, nulls)))
        }
        DataType::Utf8View => {
            let mut builder = StringViewBuilder::with_capacity(n);
            let mut text = String::new();
            let mut total = 0;
            for i in 0..n {
                text.clear();
                if f(i, &mut text)? {
                    builder.append_value(&text);
                } else {
                    builder.append_null();
                }
                total += text.len();
                limited(total)?;
            }
            Ok(Arc::new(builder.finish()))
        }
        other => Err(EvalError::internal(format!("no texts of type {other}"))),
    }
}

fn too_large() -> EvalError {
    EvalError::new("54000", "JSON of one batch exceeds 2 GiB")
}

fn limited(bytes: usize) -> EvalResult<()> {
    if i32::try_from(bytes).is_ok() { Ok(()) } else { Err(too_large()) }
}

/// A strict function to one of the three types; `f` appends the row's text and says whether there is a value.
pub(super) fn strict(args: &Args<'_>, f: impl Fn(usize, &mut String) -> EvalResult<bool>) -> EvalResult<ArrayRef> {
    let nulls = args.nulls();
    let some = |i: usize| nulls.as_ref().is_none_or(|n| n.is_valid(i));
    column(args.ret, args.n, |i, out| if some(i) { f(i, out) } else { Ok(false) })
}

/// Arrays of texts of one of the three types: `f` gives a row's elements and says whether the row is not NULL.
pub(super) fn lists<'a>(
    args: &Args<'_>,
    f: impl Fn(usize, &mut Vec<Option<std::borrow::Cow<'a, str>>>) -> EvalResult<()>,
) -> EvalResult<ArrayRef> {
    let DataType::List(field) = args.ret else { return Err(EvalError::internal("an array was expected")) };
    let nulls = args.nulls();
    let mut elements = vec![];
    let mut offsets = vec![0];
    let mut bytes = 0;
    let mut counted = 0;
    for i in 0..args.n {
        if nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
            f(i, &mut elements)?;
        }
        bytes += elements[counted..].iter().flatten().map(|e| e.len()).sum::<usize>();
        counted = elements.len();
        limited(bytes)?;
        offsets.push(i32::try_from(elements.len()).map_err(|_| too_large())?);
    }
    let values = column(field.data_type(), elements.len(), |i, out| {
        let element = &elements[i];
        element.as_ref().inspect(|e| out.push_str(e));
        Ok(element.is_some())
    })?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), OffsetBuffer::new(offsets.into()), values, nulls)?))
}

/// The tree of a stored jsonb.
pub(super) fn tree(text: &str) -> EvalResult<Json<'_>> {
    parse(text, true)
}

/// The texts of an array argument's row; the place of the first NULL as error.
pub(super) fn path_of(list: &super::lists::Lists, row: usize) -> EvalResult<Vec<Option<&str>>> {
    let values = list.list.values();
    let values = values.as_string_opt::<i32>().ok_or_else(|| EvalError::internal("a path is an array of text"))?;
    Ok(list.range(row).map(|at| values.is_valid(at).then(|| values.value(at))).collect())
}

pub(super) fn invalid(message: impl Into<String>) -> EvalError {
    EvalError::new("22023", message)
}
