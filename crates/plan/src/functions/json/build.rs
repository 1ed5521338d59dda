//! Making: any value as JSON, objects and arrays of values, and what the aggregates are made of (see `bind::json`).
//!
//! PostgreSQL's blanks are kept: `json_build_object` writes `{"a" : 1}`, `json_agg` `[1, 2]`, `json_object_agg` `{ "a" : 1 }`,
//! `row_to_json` and `to_json` none.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, TimestampMicrosecondType};

use super::super::arith::bind_names;
use super::super::bind::{is_json, is_text, is_unknown};
use super::super::cast::{Writer, writer};
use super::super::error::{EvalError, EvalResult};
use super::super::lists::Lists;
use super::super::udf::{Args, Bound, Builtin};
use super::{Texts, column, invalid, path_of, strict};
use crate::pgtypes::json::{canonical, write_text};
use crate::pgtypes::{format, json, jsonb, list_of};

macro_rules! entry {
    ($static:ident, $name:literal, $bind:expr, $safe:literal, $kernel:expr) => {
        #[doc = concat!("`", $name, "`")]
        pub static $static: Builtin =
            Builtin { name: $name, aliases: &[], bind: $bind, refine: None, kernel: $kernel, safe: $safe };
    };
}

fn undefined(name: &str, types: &[DataType]) -> EvalError {
    EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)))
}

/// Writes a column's slots as JSON; NULL is `null`.
fn json_writer(array: &ArrayRef) -> EvalResult<Writer<'_>> {
    let write = some_writer(array)?;
    Ok(Box::new(move |i, out| if array.is_null(i) { out.push_str("null") } else { write(i, out) }))
}

fn some_writer(array: &ArrayRef) -> EvalResult<Writer<'_>> {
    let quoted = |out: &mut String, write: &dyn Fn(&mut String)| {
        let mut text = String::new();
        write(&mut text);
        write_text(out, &text);
    };
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, out| out.push_str("null")),
        DataType::Boolean => {
            let v = array.as_boolean();
            Box::new(move |i, out| out.push_str(if v.value(i) { "true" } else { "false" }))
        }
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) => writer(array)?,
        DataType::Float32 => {
            let v = array.as_primitive::<Float32Type>().values();
            let write = writer(array)?;
            Box::new(move |i, out| if v[i].is_finite() { write(i, out) } else { quoted(out, &|t| write(i, t)) })
        }
        DataType::Float64 => {
            let v = array.as_primitive::<Float64Type>().values();
            let write = writer(array)?;
            Box::new(move |i, out| if v[i].is_finite() { write(i, out) } else { quoted(out, &|t| write(i, t)) })
        }
        DataType::Utf8 => {
            let v = array.as_string::<i32>();
            Box::new(move |i, out| write_text(out, v.value(i)))
        }
        DataType::LargeUtf8 | DataType::Utf8View => {
            let v = Texts::of(array).ok_or_else(|| EvalError::internal("JSON expected"))?;
            Box::new(move |i, out| out.push_str(v.value(i)))
        }
        DataType::Date32 => {
            let v = array.as_primitive::<Date32Type>().values();
            Box::new(move |i, out| quoted(out, &|t| format::write_date(t, v[i])))
        }
        DataType::Timestamp(_, zone) => {
            let zoned = zone.is_some();
            let v = array.as_primitive_opt::<TimestampMicrosecondType>();
            let v = v.ok_or_else(|| EvalError::internal("microseconds expected"))?.values();
            Box::new(move |i, out| quoted(out, &|t| write_moment(t, v[i], zoned)))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let write = json_writer(list.values())?;
            Box::new(move |i, out| {
                let offsets = list.value_offsets();
                let place = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
                out.push('[');
                for (nth, at) in (place(i)..place(i + 1)).enumerate() {
                    if nth > 0 {
                        out.push(',');
                    }
                    write(at, out);
                }
                out.push(']');
            })
        }
        _ => {
            let write = writer(array)?;
            Box::new(move |i, out| quoted(out, &|t| write(i, t)))
        }
    })
}

/// As XML Schema writes moments: `2026-01-02T03:04:05+00:00`.
fn write_moment(out: &mut String, us: i64, zoned: bool) {
    let mut text = String::new();
    format::write_timestamp(&mut text, us, zoned);
    let (day, rest) = text.split_once(' ').unwrap_or((&text, ""));
    out.push_str(day);
    if !rest.is_empty() {
        let (rest, era) = rest.strip_suffix(" BC").map_or((rest, ""), |rest| (rest, " BC"));
        // hours and minutes always, as XML has it
        let whole = zoned && rest.len() - rest.rfind(['+', '-']).unwrap_or(0) == 3;
        let _ = write!(out, "T{rest}{}{era}", if whole { ":00" } else { "" });
    }
}

fn known(ty: &DataType) -> DataType {
    if *ty == DataType::Null { DataType::Utf8 } else { ty.clone() }
}

/// Appends JSON as a type's text: jsonb is made canonical.
fn settle(ret: &DataType, made: &str, out: &mut String) -> EvalResult<bool> {
    if *ret == DataType::LargeUtf8 {
        out.push_str(&canonical(made)?);
    } else {
        out.push_str(made);
    }
    Ok(true)
}

fn bind_any(name: &str, types: &[DataType], ret: DataType) -> EvalResult<Bound> {
    match types {
        [ty] => Ok(Bound { args: vec![known(ty)], ret }),
        _ => Err(undefined(name, types)),
    }
}

/// A value as JSON.
fn to_json(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let col = args.col(0)?;
    let write = some_writer(&col.array)?;
    let settled = *col.array.data_type() == DataType::LargeUtf8 || *args.ret != DataType::LargeUtf8;
    strict(args, |i, out| {
        if settled {
            write(i * col.step, out);
            return Ok(true);
        }
        let mut made = String::new();
        write(i * col.step, &mut made);
        settle(args.ret, &made, out)
    })
}

entry!(TO_JSON, "to_json", |types| bind_any("to_json", types, json()), true, to_json);
entry!(TO_JSONB, "to_jsonb", |types| bind_any("to_jsonb", types, jsonb()), false, to_json);
entry!(
    ARRAY_TO_JSON,
    "array_to_json",
    |types| match types {
        [DataType::List(_)] => bind_any("array_to_json", types, json()),
        _ => Err(undefined("array_to_json", types)),
    },
    true,
    to_json
);

fn bind_all(types: &[DataType], ret: DataType) -> EvalResult<Bound> {
    Ok(Bound { args: types.iter().map(known).collect(), ret })
}

/// What no key can be is refused when it is called: a refusal to bind would be one of the function.
fn check_keys<'t>(types: impl IntoIterator<Item = &'t DataType>) -> EvalResult<()> {
    if types.into_iter().any(|t| is_json(t) || t.is_nested()) {
        return Err(invalid("key value must be scalar, not array, composite, or json"));
    }
    Ok(())
}

/// Writers of all arguments.
fn writers<'a>(args: &'a Args<'_>) -> EvalResult<Vec<(Writer<'a>, usize)>> {
    args.cols.iter().map(|col| Ok((json_writer(&col.array)?, col.step))).collect()
}

/// `{k: v, ..}` with what stands behind a key.
fn object(args: &Args<'_>, colon: &str, comma: &str) -> EvalResult<ArrayRef> {
    if args.cols.len() % 2 == 1 {
        return Err(invalid("argument list must have even number of elements"));
    }
    check_keys(args.cols.iter().step_by(2).map(|c| c.array.data_type()))?;
    let keys = args.cols.iter().step_by(2).map(|c| Ok((key_writer(&c.array)?, c))).collect::<EvalResult<Vec<_>>>()?;
    let writers = writers(args)?;
    let binary = *args.ret == DataType::LargeUtf8;
    column(args.ret, args.n, |i, out| {
        let mut made = String::from("{");
        for (at, (key, col)) in keys.iter().enumerate() {
            if col.is_null(i) {
                return Err(invalid(if binary {
                    format!("argument {}: key must not be null", 2 * at + 1)
                } else {
                    format!("argument {} cannot be null", 2 * at + 1)
                }));
            }
            if at > 0 {
                made.push_str(comma);
            }
            let mut text = String::new();
            key(i * col.step, &mut text);
            write_text(&mut made, &text);
            made.push_str(colon);
            let (value, step) = &writers[2 * at + 1];
            value(i * step, &mut made);
        }
        made.push('}');
        settle(args.ret, &made, out)
    })
}

/// A key's text: `true` for booleans, other values by their output functions.
fn key_writer(array: &ArrayRef) -> EvalResult<Writer<'_>> {
    if let Some(v) = array.as_boolean_opt() {
        return Ok(Box::new(move |i, out| out.push_str(if v.value(i) { "true" } else { "false" })));
    }
    writer(array)
}

fn array(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let writers = writers(args)?;
    column(args.ret, args.n, |i, out| {
        let mut made = String::from("[");
        for (at, (write, step)) in writers.iter().enumerate() {
            if at > 0 {
                made.push_str(", ");
            }
            write(i * step, &mut made);
        }
        made.push(']');
        settle(args.ret, &made, out)
    })
}

entry!(OBJECT_JSON, "json_build_object", |types| bind_all(types, json()), false, |args| object(args, " : ", ", "));
entry!(OBJECT_JSONB, "jsonb_build_object", |types| bind_all(types, jsonb()), false, |args| object(args, ": ", ", "));
entry!(ARRAY_JSON, "json_build_array", |types| bind_all(types, json()), false, array);
entry!(ARRAY_JSONB, "jsonb_build_array", |types| bind_all(types, jsonb()), false, array);
// a row's names and values in turn, once a plan knows them (see `bind::whole_row`)
entry!(ROW_JSON, "pg_row_json", |types| bind_row(types, json()), false, |args| object(args, ":", ","));
entry!(ROW_JSONB, "pg_row_jsonb", |types| bind_row(types, jsonb()), false, |args| object(args, ":", ","));

/// Before its columns are written out a row is one argument of no type.
fn bind_row(types: &[DataType], ret: DataType) -> EvalResult<Bound> {
    if types.len() == 1 { Ok(Bound { args: types.to_vec(), ret }) } else { bind_all(types, ret) }
}

fn bind_list(name: &str, types: &[DataType], ret: DataType) -> EvalResult<Bound> {
    match types {
        [ty @ DataType::List(_)] => Ok(Bound { args: vec![ty.clone()], ret }),
        [DataType::Null] => Ok(Bound { args: vec![list_of(DataType::Utf8)], ret }),
        _ => Err(undefined(name, types)),
    }
}

/// The array that `array_agg` made as that of `json_agg`.
fn list(args: &Args<'_>, comma: &str) -> EvalResult<ArrayRef> {
    let list = Lists::new(args, 0)?;
    let write = json_writer(list.list.values())?;
    // arrays stand on lines of their own, as rows do
    let of_arrays = list.list.values().data_type().is_nested();
    strict(args, |i, out| {
        let mut made = String::from("[");
        for (nth, at) in list.range(i).enumerate() {
            if nth > 0 {
                made.push_str(comma);
                if of_arrays && list.list.values().is_valid(at) {
                    made.push_str("\n ");
                }
            }
            write(at, &mut made);
        }
        made.push(']');
        settle(args.ret, &made, out)
    })
}

entry!(LIST_JSON, "pg_json_list", |types| bind_list("json_agg", types, json()), false, |args| list(args, ", "));
entry!(LIST_JSONB, "pg_jsonb_list", |types| bind_list("jsonb_agg", types, jsonb()), false, |args| list(args, ", "));
entry!(ROWS_JSON, "pg_json_rows", |types| bind_list("json_agg", types, json()), false, |args| list(args, ", \n "));

/// A key and its value as the text of one field of an object.
fn member(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (key_col, value_col) = (args.col(0)?, args.col(1)?);
    check_keys([key_col.array.data_type()])?;
    let (key, value) = (key_writer(&key_col.array)?, json_writer(&value_col.array)?);
    column(args.ret, args.n, |i, out| {
        if key_col.is_null(i) {
            return Err(invalid("field name must not be null"));
        }
        let mut text = String::new();
        key(i * key_col.step, &mut text);
        write_text(out, &text);
        out.push_str(" : ");
        value(i * value_col.step, out);
        Ok(true)
    })
}

fn bind_member(name: &str, types: &[DataType]) -> EvalResult<Bound> {
    match types {
        [_, _] => bind_all(types, DataType::Utf8),
        _ => Err(undefined(name, types)),
    }
}

entry!(MEMBER_JSON, "pg_json_member", |types| bind_member("json_object_agg", types), false, member);
entry!(MEMBER_JSONB, "pg_jsonb_member", |types| bind_member("jsonb_object_agg", types), false, member);

/// Fields that [`member`] made as an object.
fn members(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let list = Lists::new(args, 0)?;
    strict(args, |i, out| {
        let mut made = String::from("{ ");
        for (nth, field) in path_of(&list, i)?.into_iter().flatten().enumerate() {
            if nth > 0 {
                made.push_str(", ");
            }
            made.push_str(field);
        }
        made.push_str(" }");
        settle(args.ret, &made, out)
    })
}

entry!(MEMBERS_JSON, "pg_json_members", |types| bind_list("json_object_agg", types, json()), false, members);
entry!(MEMBERS_JSONB, "pg_jsonb_members", |types| bind_list("jsonb_object_agg", types, jsonb()), false, members);

fn bind_texts(name: &str, types: &[DataType], ret: DataType) -> EvalResult<Bound> {
    let texts = |ty: &DataType| is_unknown(ty) || matches!(ty, DataType::List(of) if is_text(of.data_type()));
    match types {
        [_] | [_, _] if types.iter().all(texts) => Ok(Bound { args: vec![list_of(DataType::Utf8); types.len()], ret }),
        _ => Err(undefined(name, types)),
    }
}

/// `json_object`: keys and values in turn in one array, or in two.
fn of_texts(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let first = Lists::new(args, 0)?;
    let second = if args.cols.len() > 1 { Some(Lists::new(args, 1)?) } else { None };
    strict(args, |i, out| {
        let first = path_of(&first, i)?;
        let pairs: Vec<(Option<&str>, Option<&str>)> = match &second {
            None if first.len() % 2 == 1 => return Err(EvalError::new("2202E", "array must have even number of elements")),
            None => first.chunks(2).map(|pair| (pair[0], pair[1])).collect(),
            Some(second) => {
                let second = path_of(second, i)?;
                if first.len() != second.len() {
                    return Err(EvalError::new("2202E", "mismatched array dimensions"));
                }
                first.into_iter().zip(second).collect()
            }
        };
        let mut made = String::from("{");
        for (nth, (key, value)) in pairs.into_iter().enumerate() {
            if nth > 0 {
                made.push_str(", ");
            }
            let key = key.ok_or_else(|| EvalError::new("22004", "null value not allowed for object key"))?;
            write_text(&mut made, key);
            made.push_str(" : ");
            match value {
                Some(value) => write_text(&mut made, value),
                None => made.push_str("null"),
            }
        }
        made.push('}');
        settle(args.ret, &made, out)
    })
}

entry!(OF_TEXTS_JSON, "json_object", |types| bind_texts("json_object", types, json()), false, of_texts);
entry!(OF_TEXTS_JSONB, "jsonb_object", |types| bind_texts("jsonb_object", types, jsonb()), false, of_texts);
