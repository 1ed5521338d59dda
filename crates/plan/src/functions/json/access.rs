//! Reading: `-> ->> #> #>>`, subscripts, paths, `typeof`, lengths, `? ?| ?&`, and the key by which jsonb is compared.

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};
use arrow::datatypes::{DataType, Int32Type};

use super::super::arith::{bind_names, boxed};
use super::super::bind::{is_int, is_json, is_jsonb, is_unknown};
use super::super::error::{EvalError, EvalResult};
use super::super::forms::{K, builtin};
use super::super::lists::Lists;
use super::super::udf::{Args, Bound, Builtin};
use super::{Texts, invalid, path_of, strict, texts};
use crate::pgtypes::json::slice::{self, Kind};
use crate::pgtypes::{json, jsonb, list_of};

fn undefined(sign: &str, types: &[DataType]) -> EvalError {
    match types {
        [l, r] => EvalError::undefined(format!(
            "operator does not exist: {} {sign} {}",
            crate::pgtypes::type_name(l),
            crate::pgtypes::type_name(r)
        )),
        types => EvalError::undefined(format!("function {sign}({}) does not exist", bind_names(types))),
    }
}

/// A json or jsonb, and a key or a place.
fn bind_step(sign: &str, types: &[DataType], ret: fn(&DataType) -> DataType) -> EvalResult<Bound> {
    match types {
        [of, step] if is_json(of) => {
            let step = match step {
                t if is_int(t) => DataType::Int32,
                t if is_unknown(t) => DataType::Utf8,
                _ => return Err(undefined(sign, types)),
            };
            Ok(Bound { args: vec![of.clone(), step], ret: ret(of) })
        }
        // a parameter, or NULL
        [DataType::Null, step] if is_unknown(step) || is_int(step) => bind_step(sign, &[jsonb(), step.clone()], ret),
        _ => Err(undefined(sign, types)),
    }
}

/// A json or jsonb, and an array of steps.
fn bind_path(sign: &str, types: &[DataType], ret: fn(&DataType) -> DataType) -> EvalResult<Bound> {
    let steps = |ty: &DataType| is_unknown(ty) || matches!(ty, DataType::List(of) if is_unknown(of.data_type()));
    match types {
        [of, path] if is_json(of) && steps(path) => Ok(Bound { args: vec![of.clone(), list_of(DataType::Utf8)], ret: ret(of) }),
        _ => Err(undefined(sign, types)),
    }
}

fn same(of: &DataType) -> DataType {
    of.clone()
}
fn text(_: &DataType) -> DataType {
    DataType::Utf8
}

macro_rules! entry {
    ($static:ident, $name:literal, $bind:expr, $safe:literal, $kernel:expr) => {
        #[doc = concat!("`", $name, "`")]
        pub static $static: Builtin =
            Builtin { name: $name, aliases: &[], bind: $bind, refine: None, kernel: $kernel, safe: $safe };
    };
}

entry!(ARROW, "pg_json_get", |types| bind_step("->", types, same), true, |args| step(args, false, true));
entry!(LONG_ARROW, "pg_json_get_text", |types| bind_step("->>", types, text), false, |args| step(args, true, true));
entry!(HASH_ARROW, "pg_json_path", |types| bind_path("#>", types, same), true, |args| walk(args, false));
entry!(HASH_LONG_ARROW, "pg_json_path_text", |types| bind_path("#>>", types, text), false, |args| walk(args, true));

/// Appends what was found.
fn give(found: Option<&str>, as_text: bool, out: &mut String) -> EvalResult<bool> {
    let Some(found) = found else { return Ok(false) };
    if !as_text {
        out.push_str(found);
        return Ok(true);
    }
    Ok(slice::as_text(found)?.inspect(|t| out.push_str(t)).is_some())
}

/// `of -> step`; with `scalars` a jsonb that stands alone is an array of itself, as it is to the operator and not to a subscript.
pub(in crate::functions) fn step(args: &Args<'_>, as_text: bool, scalars: bool) -> EvalResult<ArrayRef> {
    let (of, s) = texts(args, 0)?;
    if let Ok((steps, ss)) = args.lanes::<Int32Type>(1) {
        let alone = |text: &str| scalars && matches!(of, Texts::Jsonb(_)) && !text.starts_with(['[', '{']);
        return strict(args, |i, out| {
            let (text, step) = (of.value(i * s), steps[i * ss]);
            let found = if alone(text) { matches!(step, 0 | -1).then_some(text) } else { slice::item(text, step.into()) };
            give(found, as_text, out)
        });
    }
    let (steps, ss) = args.texts(1)?;
    strict(args, |i, out| give(slice::field(of.value(i * s), steps.value(i * ss)), as_text, out))
}

fn walk(args: &Args<'_>, as_text: bool) -> EvalResult<ArrayRef> {
    let ((of, s), list) = (texts(args, 0)?, Lists::new(args, 1)?);
    strict(args, |i, out| {
        let path = path_of(&list, i)?;
        let Some(path) = path.into_iter().collect::<Option<Vec<_>>>() else { return Ok(false) };
        give(slice::at_path(of.value(i * s), path), as_text, out)
    })
}

fn bind_steps(name: &str, types: &[DataType], of: DataType, ret: DataType) -> EvalResult<Bound> {
    match types {
        [first, steps @ ..] if (*first == of || is_unknown(first)) && !steps.is_empty() && steps.iter().all(is_unknown) => {
            Ok(Bound { args: std::iter::once(of).chain(steps.iter().map(|_| DataType::Utf8)).collect(), ret })
        }
        _ => Err(undefined(name, types)),
    }
}

fn steps(args: &Args<'_>, as_text: bool) -> EvalResult<ArrayRef> {
    let (of, s) = texts(args, 0)?;
    let steps = (1..args.cols.len()).map(|at| args.texts(at)).collect::<EvalResult<Vec<_>>>()?;
    strict(args, |i, out| {
        let path = steps.iter().map(|(step, s)| step.value(i * s));
        give(slice::at_path(of.value(i * s), path), as_text, out)
    })
}

entry!(EXTRACT_PATH_JSON, "json_extract_path", |types| bind_steps("json_extract_path", types, json(), json()), true, |args| {
    steps(args, false)
});
entry!(
    EXTRACT_PATH_JSONB,
    "jsonb_extract_path",
    |types| bind_steps("jsonb_extract_path", types, jsonb(), jsonb()),
    true,
    |args| steps(args, false)
);
entry!(
    EXTRACT_PATH_TEXT_JSON,
    "json_extract_path_text",
    |types| bind_steps("json_extract_path_text", types, json(), DataType::Utf8),
    false,
    |args| steps(args, true)
);
entry!(
    EXTRACT_PATH_TEXT_JSONB,
    "jsonb_extract_path_text",
    |types| bind_steps("jsonb_extract_path_text", types, jsonb(), DataType::Utf8),
    false,
    |args| steps(args, true)
);

builtin!(TYPEOF_JSON, "json_typeof", [], &[(&[K::Json], K::Text)], true, kind);
builtin!(TYPEOF_JSONB, "jsonb_typeof", [], &[(&[K::Jsonb], K::Text)], true, kind);
builtin!(LENGTH_JSON, "json_array_length", [], &[(&[K::Json], K::Int)], false, length);
builtin!(LENGTH_JSONB, "jsonb_array_length", [], &[(&[K::Jsonb], K::Int)], false, length);

fn kind(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (of, s) = texts(args, 0)?;
    strict(args, |i, out| {
        out.push_str(Kind::of(slice::trimmed(of.value(i * s))).name());
        Ok(true)
    })
}

fn length(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (of, s) = texts(args, 0)?;
    args.rows::<Int32Type>(|i| {
        let of = slice::trimmed(of.value(i * s));
        match Kind::of(of) {
            Kind::Array => i32::try_from(slice::parts(of).count()).map_err(|_| EvalError::out_of_range("integer")),
            Kind::Object => Err(invalid("cannot get array length of a non-array")),
            _ => Err(invalid("cannot get array length of a scalar")),
        }
    })
}

/// Is the text a key of the object, an item of the array, or the value itself?
fn exists(of: &str, key: &str) -> bool {
    let is = |value: &str| Kind::of(value) == Kind::Text && slice::as_text(value).is_ok_and(|t| t.as_deref() == Some(key));
    match Kind::of(of) {
        Kind::Object => slice::field(of, key).is_some(),
        Kind::Array => slice::parts(of).any(|(_, value)| is(value)),
        _ => is(of),
    }
}

entry!(
    EXISTS,
    "pg_json_exists",
    |types| match types {
        [of, key] if is_jsonb(of) && is_unknown(key) => {
            Ok(Bound { args: vec![jsonb(), DataType::Utf8], ret: DataType::Boolean })
        }
        _ => Err(undefined("?", types)),
    },
    true,
    |args| {
        let ((of, s), (key, sk)) = (texts(args, 0)?, args.texts(1)?);
        args.rows_bool(|i| Ok(exists(of.value(i * s), key.value(i * sk))))
    }
);

fn bind_exists(sign: &str, types: &[DataType]) -> EvalResult<Bound> {
    match types.first() {
        Some(of) if is_jsonb(of) => bind_path(sign, types, |_| DataType::Boolean),
        _ => Err(undefined(sign, types)),
    }
}

/// NULL is no key.
fn exists_of(args: &Args<'_>, all: bool) -> EvalResult<ArrayRef> {
    let ((of, s), list) = (texts(args, 0)?, Lists::new(args, 1)?);
    args.rows_bool(|i| {
        let keys = path_of(&list, i)?;
        let of = of.value(i * s);
        let mut keys = keys.into_iter().flatten();
        Ok(if all { keys.all(|key| exists(of, key)) } else { keys.any(|key| exists(of, key)) })
    })
}

entry!(EXISTS_ANY, "pg_json_exists_any", |types| bind_exists("?|", types), true, |args| exists_of(args, false));
entry!(EXISTS_ALL, "pg_json_exists_all", |types| bind_exists("?&", types), true, |args| exists_of(args, true));

entry!(
    KEY,
    "pg_jsonb_key",
    |types| match types {
        [of] if is_jsonb(of) => Ok(Bound { args: vec![jsonb()], ret: DataType::Binary }),
        _ => Err(EvalError::undefined("pg_jsonb_key takes a jsonb")),
    },
    true,
    |args| {
        let (of, s) = texts(args, 0)?;
        let Texts::Jsonb(of) = of else { return Err(EvalError::internal("pg_jsonb_key takes a jsonb")) };
        let mut out = BinaryBuilder::new();
        let mut key = vec![];
        for i in 0..args.n {
            if of.is_null(i * s) {
                out.append_null();
                continue;
            }
            key.clear();
            regauge_types::jsonb::put_order(of.value(i * s), &mut key);
            out.append_value(&key);
        }
        let out = out.finish();
        debug_assert!(out.as_any().is::<arrow::array::BinaryArray>());
        Ok(boxed(out))
    }
);

/// A column of jsonb as what it is compared by.
pub(in crate::functions) fn keys(column: &ArrayRef) -> Option<ArrayRef> {
    let of = column.as_string_opt::<i64>()?;
    let mut out = BinaryBuilder::new();
    let mut key = vec![];
    for text in of {
        key.clear();
        text.inspect(|t| regauge_types::jsonb::put_order(t, &mut key));
        out.append_option(text.map(|_| &key));
    }
    Some(boxed(out.finish()))
}
