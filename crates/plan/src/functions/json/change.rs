//! Changing: `||`, `-`, `#-`, `jsonb_set`, `jsonb_insert`, `json[b]_strip_nulls`, `jsonb_pretty`. The value is parsed, changed as a tree
//! and written; PostgreSQL's rules for places beyond an array's ends and paths that lead nowhere.

use std::borrow::Cow;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type};

use super::super::bind::{is_int, is_jsonb, is_unknown};
use super::super::error::{EvalError, EvalResult};
use super::super::forms::{K, builtin};
use super::super::lists::Lists;
use super::super::udf::{Args, Bound, Builtin};
use super::{invalid, path_of, strict, texts, tree};
use crate::pgtypes::json::{Json, parse, sort_keys};
use crate::pgtypes::{jsonb, list_of, type_name};

macro_rules! entry {
    ($static:ident, $name:literal, $bind:expr, $safe:literal, $kernel:expr) => {
        #[doc = concat!("`", $name, "`")]
        pub static $static: Builtin =
            Builtin { name: $name, aliases: &[], bind: $bind, refine: None, kernel: $kernel, safe: $safe };
    };
}

fn undefined(sign: &str, types: &[DataType]) -> EvalError {
    EvalError::undefined(format!(
        "operator does not exist: {}",
        types.iter().map(type_name).collect::<Vec<_>>().join(&format!(" {sign} "))
    ))
}

/// Or text whose type is open.
fn jsonbs(types: &[DataType]) -> bool {
    types.iter().any(is_jsonb) && types.iter().all(|t| is_jsonb(t) || is_unknown(t))
}

entry!(
    CONCAT,
    "pg_jsonb_concat",
    |types| match types {
        [_, _] if jsonbs(types) => Ok(Bound { args: vec![jsonb(), jsonb()], ret: jsonb() }),
        _ => Err(undefined("||", types)),
    },
    false,
    |args| {
        let ((l, sl), (r, sr)) = (texts(args, 0)?, texts(args, 1)?);
        strict(args, |i, out| {
            joined(tree(l.value(i * sl))?, tree(r.value(i * sr))?).write(out);
            Ok(true)
        })
    }
);

/// Fields together, the right one's where both have a key; otherwise the items of both, a value that is no array being one.
fn joined<'a>(l: Json<'a>, r: Json<'a>) -> Json<'a> {
    match (l, r) {
        (Json::Object(mut fields), Json::Object(more)) => {
            fields.extend(more);
            sort_keys(&mut fields);
            Json::Object(fields)
        }
        (l, r) => {
            let items = |v| if let Json::Array(items) = v { items } else { vec![v] };
            let mut all = items(l);
            all.extend(items(r));
            Json::Array(all)
        }
    }
}

entry!(
    DELETE,
    "pg_jsonb_delete",
    |types| match types {
        [of, what] if is_jsonb(of) => {
            let what = match what {
                t if is_int(t) => DataType::Int32,
                DataType::List(item) if is_unknown(item.data_type()) => list_of(DataType::Utf8),
                t if is_unknown(t) => DataType::Utf8,
                _ => return Err(undefined("-", types)),
            };
            Ok(Bound { args: vec![jsonb(), what], ret: jsonb() })
        }
        _ => Err(undefined("-", types)),
    },
    false,
    |args| {
        let (of, s) = texts(args, 0)?;
        if let Ok((places, sp)) = args.lanes::<Int32Type>(1) {
            return strict(args, |i, out| {
                without_item(tree(of.value(i * s))?, places[i * sp].into())?.write(out);
                Ok(true)
            });
        }
        if args.col(1)?.array.as_list_opt::<i32>().is_some() {
            let list = Lists::new(args, 1)?;
            return strict(args, |i, out| {
                let keys: Vec<&str> = path_of(&list, i)?.into_iter().flatten().collect();
                without(tree(of.value(i * s))?, |key| keys.contains(&key))?.write(out);
                Ok(true)
            });
        }
        let (keys, sk) = args.texts(1)?;
        strict(args, |i, out| {
            let gone = keys.value(i * sk);
            without(tree(of.value(i * s))?, |key| key == gone)?.write(out);
            Ok(true)
        })
    }
);

/// Without fields of these keys, or without strings that are such.
fn without<'a>(of: Json<'a>, gone: impl Fn(&str) -> bool) -> EvalResult<Json<'a>> {
    Ok(match of {
        Json::Object(mut fields) => {
            fields.retain(|(key, _)| !gone(key));
            Json::Object(fields)
        }
        Json::Array(mut items) => {
            items.retain(|item| !matches!(item, Json::Text(t) if gone(t)));
            Json::Array(items)
        }
        _ => return Err(invalid("cannot delete from scalar")),
    })
}

/// The place of an item; below zero counted from the end.
fn within(place: i64, len: usize) -> Option<usize> {
    match usize::try_from(place) {
        Ok(place) => (place < len).then_some(place),
        Err(_) => len.checked_sub(usize::try_from(place.unsigned_abs()).ok()?),
    }
}

fn without_item(of: Json<'_>, place: i64) -> EvalResult<Json<'_>> {
    match of {
        Json::Array(mut items) => {
            if let Some(at) = within(place, items.len()) {
                items.remove(at);
            }
            Ok(Json::Array(items))
        }
        Json::Object(_) => Err(invalid("cannot delete from object using integer index")),
        _ => Err(invalid("cannot delete from scalar")),
    }
}

/// What happens where a path ends.
enum Change<'c, 'a> {
    Delete,
    /// Puts a value in the place of another, or where there is none if `create`.
    Set {
        value: &'c Json<'a>,
        create: bool,
    },
    /// Puts a value beside an item, or where an object has no such key.
    Insert {
        value: &'c Json<'a>,
        after: bool,
    },
}

impl<'a> Change<'_, 'a> {
    /// The value that is put where there is none.
    fn new_value(&self) -> Option<Json<'a>> {
        match self {
            Change::Set { value, create: true } | Change::Insert { value, .. } => Some((*value).clone()),
            _ => None,
        }
    }
}

/// Changes what the path leads to; `at` counts its steps for messages.
fn change<'a>(of: Json<'a>, path: &[&'a str], at: usize, how: &Change<'_, 'a>) -> EvalResult<Json<'a>> {
    let Some((step, rest)) = path.split_first() else { return Ok(of) };
    let last = rest.is_empty();
    Ok(match of {
        Json::Object(mut fields) => {
            match fields.iter().position(|(key, _)| key == step) {
                Some(found) if !last => {
                    let inner = std::mem::replace(&mut fields[found].1, Json::Null);
                    fields[found].1 = change(inner, rest, at + 1, how)?;
                }
                Some(found) => match how {
                    Change::Delete => drop(fields.remove(found)),
                    Change::Set { value, .. } => fields[found].1 = (*value).clone(),
                    Change::Insert { .. } => {
                        return Err(invalid(
                            "cannot replace existing key: try using the function jsonb_set to replace key value",
                        ));
                    }
                },
                None if last => {
                    if let Some(value) = how.new_value() {
                        fields.push((Cow::Borrowed(step), value));
                        sort_keys(&mut fields);
                    }
                }
                None => {}
            }
            Json::Object(fields)
        }
        Json::Array(mut items) => {
            let message = || format!("path element at position {at} is not an integer: \"{step}\"");
            let place: i32 = step.trim_start().parse().map_err(|_| EvalError::new("22P02", message()))?;
            match within(place.into(), items.len()) {
                Some(found) if !last => {
                    let inner = std::mem::replace(&mut items[found], Json::Null);
                    items[found] = change(inner, rest, at + 1, how)?;
                }
                Some(found) => match how {
                    Change::Delete => drop(items.remove(found)),
                    Change::Set { value, .. } => items[found] = (*value).clone(),
                    Change::Insert { value, after } => items.insert(found + usize::from(*after), (*value).clone()),
                },
                None if last => {
                    if let Some(value) = how.new_value() {
                        items.insert(if place < 0 { 0 } else { items.len() }, value);
                    }
                }
                None => {}
            }
            Json::Array(items)
        }
        scalar => scalar,
    })
}

/// A path without NULLs.
fn whole<'a>(path: Vec<Option<&'a str>>) -> EvalResult<Vec<&'a str>> {
    let step = |(at, step): (usize, Option<&'a str>)| {
        step.ok_or_else(|| EvalError::new("22004", format!("path element at position {} is null", at + 1)))
    };
    path.into_iter().enumerate().map(step).collect()
}

fn steps(ty: &DataType) -> bool {
    is_unknown(ty) || matches!(ty, DataType::List(of) if is_unknown(of.data_type()))
}

entry!(
    DELETE_PATH,
    "pg_jsonb_delete_path",
    |types| match types {
        [of, path] if is_jsonb(of) && steps(path) => {
            Ok(Bound { args: vec![jsonb(), list_of(DataType::Utf8)], ret: jsonb() })
        }
        _ => Err(undefined("#-", types)),
    },
    false,
    |args| {
        let ((of, s), list) = (texts(args, 0)?, Lists::new(args, 1)?);
        strict(args, |i, out| {
            let of = tree(of.value(i * s))?;
            if !matches!(of, Json::Array(_) | Json::Object(_)) {
                return Err(invalid("cannot delete path in scalar"));
            }
            change(of, &whole(path_of(&list, i)?)?, 1, &Change::Delete)?.write(out);
            Ok(true)
        })
    }
);

fn bind_change(name: &str, types: &[DataType]) -> EvalResult<Bound> {
    let sound = |of: &DataType, path: &DataType, value: &DataType| {
        (is_jsonb(of) || is_unknown(of)) && steps(path) && (is_jsonb(value) || is_unknown(value))
    };
    let args = vec![jsonb(), list_of(DataType::Utf8), jsonb()];
    match types {
        [of, path, value] if sound(of, path, value) => Ok(Bound { args, ret: jsonb() }),
        [of, path, value, flag] if sound(of, path, value) && (*flag == DataType::Boolean || is_unknown(flag)) => {
            Ok(Bound { args: args.into_iter().chain([DataType::Boolean]).collect(), ret: jsonb() })
        }
        _ => {
            let names = types.iter().map(type_name).collect::<Vec<_>>().join(", ");
            Err(EvalError::undefined(format!("function {name}({names}) does not exist")))
        }
    }
}

fn changed(args: &Args<'_>, insert: bool) -> EvalResult<ArrayRef> {
    let ((of, s), list, (value, sv)) = (texts(args, 0)?, Lists::new(args, 1)?, texts(args, 2)?);
    let flag = args.cols.get(3).map(|c| (c.array.as_boolean(), c.step));
    strict(args, |i, out| {
        let flag = flag.map(|(f, s)| f.value(i * s));
        let (of, value) = (tree(of.value(i * s))?, parse(value.value(i * sv), true)?);
        if !matches!(of, Json::Array(_) | Json::Object(_)) {
            return Err(invalid("cannot set path in scalar"));
        }
        let how = if insert {
            Change::Insert { value: &value, after: flag.unwrap_or(false) }
        } else {
            Change::Set { value: &value, create: flag.unwrap_or(true) }
        };
        change(of, &whole(path_of(&list, i)?)?, 1, &how)?.write(out);
        Ok(true)
    })
}

entry!(SET, "jsonb_set", |types| bind_change("jsonb_set", types), false, |args| changed(args, false));
entry!(INSERT, "jsonb_insert", |types| bind_change("jsonb_insert", types), false, |args| changed(args, true));

builtin!(STRIP_JSON, "json_strip_nulls", [], &[(&[K::Json], K::Json)], false, strip);
builtin!(STRIP_JSONB, "jsonb_strip_nulls", [], &[(&[K::Jsonb], K::Jsonb)], false, strip);
builtin!(PRETTY, "jsonb_pretty", [], &[(&[K::Jsonb], K::Text)], false, |args| {
    let (of, s) = texts(args, 0)?;
    strict(args, |i, out| {
        tree(of.value(i * s))?.write_pretty(out, 0);
        Ok(true)
    })
});

/// Without the fields that are null; json without its blanks.
fn strip(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (of, s) = texts(args, 0)?;
    let jsonb = *args.ret == DataType::LargeUtf8;
    strict(args, |i, out| {
        let stripped = stripped(parse(of.value(i * s), jsonb)?);
        if jsonb {
            stripped.write(out)
        } else {
            stripped.write_compact(out)
        }
        Ok(true)
    })
}

fn stripped(of: Json<'_>) -> Json<'_> {
    match of {
        Json::Object(fields) => {
            let some = fields.into_iter().filter(|(_, value)| *value != Json::Null);
            Json::Object(some.map(|(key, value)| (key, stripped(value))).collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(stripped).collect()),
        scalar => scalar,
    }
}
