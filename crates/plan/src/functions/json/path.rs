//! `jsonb_path_exists`, `_match`, `_query`, `_query_array`, `_query_first`, `@?` and `@@`: see [`crate::pgtypes::json::path`]. A path is
//! text here; it is read once a batch where it is a constant.

use std::cell::RefCell;
use std::rc::Rc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;

use super::super::arith::{bind_names, boxed};
use super::super::bind::{is_jsonb, is_unknown};
use super::super::error::{EvalError, EvalResult};
use super::super::udf::{Args, Bound, Builtin};
use super::{column, lists, texts, tree};
use crate::pgtypes::json::Json;
use crate::pgtypes::json::path::{Path, Run, compile};
use crate::pgtypes::{jsonb, list_of};

fn bind(name: &str, types: &[DataType], ret: DataType) -> EvalResult<Bound> {
    let sound = match types {
        [of, path, rest @ ..] if rest.len() <= 2 => {
            (is_jsonb(of) || is_unknown(of))
                && is_unknown(path)
                && rest.first().is_none_or(|v| is_jsonb(v) || is_unknown(v))
                && rest.get(1).is_none_or(|s| *s == DataType::Boolean || is_unknown(s))
        }
        _ => false,
    };
    if !sound {
        return Err(EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types))));
    }
    let all = [jsonb(), DataType::Utf8, jsonb(), DataType::Boolean];
    Ok(Bound { args: all[..types.len()].to_vec(), ret })
}

macro_rules! entry {
    ($static:ident, $name:literal, $shown:literal, $ret:expr, $kernel:expr) => {
        #[doc = concat!("`", $shown, "`")]
        pub static $static: Builtin = Builtin {
            name: $name,
            aliases: &[],
            bind: |types| bind($shown, types, $ret),
            refine: None,
            kernel: $kernel,
            safe: false,
        };
    };
}

entry!(EXISTS, "jsonb_path_exists", "jsonb_path_exists", DataType::Boolean, |args| answers(args, false, |found| Ok(Some(
    !found.is_empty()
))));
entry!(MATCH, "jsonb_path_match", "jsonb_path_match", DataType::Boolean, |args| answers(args, false, |found| match found {
    [Json::Bool(b)] => Ok(Some(*b)),
    [Json::Null] => Ok(None),
    _ => Err(EvalError::new("22038", "single boolean result is expected")),
}));
entry!(EXISTS_OP, "pg_json_path_exists", "@?", DataType::Boolean, |args| answers(args, true, |found| Ok(Some(
    !found.is_empty()
))));
entry!(MATCH_OP, "pg_json_path_match", "@@", DataType::Boolean, |args| answers(args, true, |found| match found {
    [Json::Bool(b)] => Ok(Some(*b)),
    _ => Ok(None),
}));
entry!(QUERY, "pg_jsonb_path_query", "jsonb_path_query", list_of(jsonb()), |args| {
    lists(args, |i, out| {
        found(args, i, false, |items| {
            for item in items {
                let mut text = String::new();
                item.write(&mut text);
                out.push(Some(text.into()));
            }
            Ok(())
        })
        .map(drop)
    })
});
entry!(QUERY_ARRAY, "jsonb_path_query_array", "jsonb_path_query_array", jsonb(), |args| {
    texts_of(args, |items, out| {
        out.push('[');
        for (nth, item) in items.iter().enumerate() {
            if nth > 0 {
                out.push_str(", ");
            }
            item.write(out);
        }
        out.push(']');
        true
    })
});
entry!(QUERY_FIRST, "jsonb_path_query_first", "jsonb_path_query_first", jsonb(), |args| {
    texts_of(args, |items, out| items.first().inspect(|item| item.write(out)).is_some())
});

thread_local! {
    /// The path that was read last: rows of a batch often share one.
    static LAST: RefCell<Option<(String, Rc<Path>)>> = const { RefCell::new(None) };
}

fn compiled(text: &str) -> EvalResult<Rc<Path>> {
    LAST.with(|last| {
        if let Some((known, path)) = &*last.borrow()
            && known == text
        {
            return Ok(Rc::clone(path));
        }
        let path = Rc::new(compile(text)?);
        *last.borrow_mut() = Some((text.to_owned(), Rc::clone(&path)));
        Ok(path)
    })
}

/// Gives a row's items to `f`; `None` where an error of the value's shape is to be silent.
fn found<T>(args: &Args<'_>, row: usize, silent: bool, f: impl FnOnce(&[Json<'_>]) -> EvalResult<T>) -> EvalResult<Option<T>> {
    let ((of, s), (path, sp)) = (texts(args, 0)?, args.texts(1)?);
    let path = compiled(path.value(row * sp))?;
    let root = tree(of.value(row * s))?;
    let variables = match args.cols.get(2) {
        Some(_) => {
            let (of, s) = texts(args, 2)?;
            Some(tree(of.value(row * s))?)
        }
        None => None,
    };
    if !matches!(variables, None | Some(Json::Object(_))) {
        return Err(EvalError::new("22023", "\"vars\" argument is not an object"));
    }
    let silent = silent || args.cols.get(3).is_some_and(|c| c.array.as_boolean().value(row * c.step));
    let items = match Run::new(&path, &root, variables.as_ref()).items() {
        Ok(items) => items,
        Err(e) if silent && e.sqlstate.starts_with("22") => return Ok(None),
        Err(e) => return Err(e),
    };
    let items: Vec<Json<'_>> = items.into_iter().map(std::borrow::Cow::into_owned).collect();
    f(&items).map(Some)
}

fn answers(args: &Args<'_>, silent: bool, f: impl Fn(&[Json<'_>]) -> EvalResult<Option<bool>>) -> EvalResult<ArrayRef> {
    let nulls = args.nulls();
    let answer = |i: usize| match nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
        true => Ok(found(args, i, silent, &f)?.flatten()),
        false => Ok(None),
    };
    Ok(boxed((0..args.n).map(answer).collect::<EvalResult<BooleanArray>>()?))
}

fn texts_of(args: &Args<'_>, f: impl Fn(&[Json<'_>], &mut String) -> bool) -> EvalResult<ArrayRef> {
    let nulls = args.nulls();
    column(args.ret, args.n, |i, out| {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return Ok(false);
        }
        Ok(found(args, i, false, |items| Ok(f(items, out)))?.unwrap_or(false))
    })
}
