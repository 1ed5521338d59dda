//! Rows out of json and jsonb, as arrays that whoever wants rows unnests: `json[b]_object_keys`, `json[b]_each[_text]`,
//! `json[b]_array_elements[_text]`. Keys and values of an object stand in the same order.

use std::borrow::Cow;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::super::arith::bind_names;
use super::super::bind::is_unknown;
use super::super::error::{EvalError, EvalResult};
use super::super::udf::{Args, Bound, Builtin};
use super::{invalid, lists, texts};
use crate::pgtypes::json::slice::{self, Kind};
use crate::pgtypes::{json, jsonb, list_of};

fn bind(name: &str, types: &[DataType], of: DataType, ret: DataType) -> EvalResult<Bound> {
    match types {
        [ty] if *ty == of || is_unknown(ty) => Ok(Bound { args: vec![of], ret: list_of(ret) }),
        _ => Err(EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)))),
    }
}

macro_rules! entry {
    ($static:ident, $name:literal, $shown:literal, $of:ident, $ret:expr, $kernel:expr) => {
        #[doc = concat!("`", $shown, "`")]
        pub static $static: Builtin = Builtin {
            name: $name,
            aliases: &[],
            bind: |types| bind($shown, types, $of(), $ret),
            refine: None,
            kernel: $kernel,
            safe: false,
        };
    };
}

entry!(KEYS_JSON, "pg_json_keys", "json_object_keys", json, DataType::Utf8, |args| keys(args, "json_object_keys"));
entry!(KEYS_JSONB, "pg_jsonb_keys", "jsonb_object_keys", jsonb, DataType::Utf8, |args| keys(args, "jsonb_object_keys"));
entry!(VALUES_JSON, "pg_json_values", "json_each", json, json(), |args| values(args, "json_each", false));
entry!(VALUES_JSONB, "pg_jsonb_values", "jsonb_each", jsonb, jsonb(), |args| values(args, "jsonb_each", false));
entry!(VALUES_TEXT_JSON, "pg_json_values_text", "json_each_text", json, DataType::Utf8, |args| values(
    args,
    "json_each_text",
    true
));
entry!(VALUES_TEXT_JSONB, "pg_jsonb_values_text", "jsonb_each_text", jsonb, DataType::Utf8, |args| values(
    args,
    "jsonb_each_text",
    true
));
entry!(ELEMENTS_JSON, "pg_json_elements", "json_array_elements", json, json(), |args| elements(args, false));
entry!(ELEMENTS_JSONB, "pg_jsonb_elements", "jsonb_array_elements", jsonb, jsonb(), |args| elements(args, false));
entry!(ELEMENTS_TEXT_JSON, "pg_json_elements_text", "json_array_elements_text", json, DataType::Utf8, |args| elements(
    args, true
));
entry!(ELEMENTS_TEXT_JSONB, "pg_jsonb_elements_text", "jsonb_array_elements_text", jsonb, DataType::Utf8, |args| elements(
    args, true
));

/// A value as it is, or as text.
fn shown(value: &str, as_text: bool) -> EvalResult<Option<Cow<'_, str>>> {
    if as_text { slice::as_text(value) } else { Ok(Some(Cow::Borrowed(value))) }
}

fn object<'a>(text: &'a str, name: &str) -> EvalResult<slice::Parts<'a>> {
    match Kind::of(slice::trimmed(text)) {
        Kind::Object => Ok(slice::parts(text)),
        Kind::Array => Err(invalid(format!("cannot call {name} on an array"))),
        _ => Err(invalid(format!("cannot call {name} on a scalar"))),
    }
}

fn keys(args: &Args<'_>, name: &str) -> EvalResult<ArrayRef> {
    let (of, s) = texts(args, 0)?;
    lists(args, |i, out| {
        for (key, _) in object(of.value(i * s), name)? {
            out.push(Some(slice::key_text(key)?));
        }
        Ok(())
    })
}

fn values(args: &Args<'_>, name: &str, as_text: bool) -> EvalResult<ArrayRef> {
    let (of, s) = texts(args, 0)?;
    lists(args, |i, out| {
        for (_, value) in object(of.value(i * s), name)? {
            out.push(shown(value, as_text)?);
        }
        Ok(())
    })
}

fn elements(args: &Args<'_>, as_text: bool) -> EvalResult<ArrayRef> {
    let (of, s) = texts(args, 0)?;
    lists(args, |i, out| {
        let text = slice::trimmed(of.value(i * s));
        match Kind::of(text) {
            Kind::Array => {}
            Kind::Object => return Err(invalid("cannot extract elements from an object")),
            _ => return Err(invalid("cannot extract elements from a scalar")),
        }
        for (_, value) in slice::parts(text) {
            out.push(shown(value, as_text)?);
        }
        Ok(())
    })
}
