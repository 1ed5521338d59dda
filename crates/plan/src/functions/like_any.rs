//! `text LIKE ANY (array)`, `text ~ ALL (array)` and their kin, where the array is not written out: syntax makes these calls
//! (`crate::bind`), and NOT LIKE and `!~` of them by De Morgan's rule.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use regex::Regex;

use regauge_types::arrays::leaf;

use super::arith::{bind_names, boxed};
use super::bind::is_unknown;
use super::error::{EvalError, EvalResult};
use super::lists::{Lists, alike, item};
use super::pattern::{Flags, compile};
use super::udf::{Args, Bound, Builtin};
use crate::eval::LikePattern;

/// What a pattern is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Like,
    Regex,
}

enum Pattern {
    Like(LikePattern),
    Regex(Regex),
}

impl Pattern {
    fn new(pattern: &str, kind: Kind, fold: bool) -> EvalResult<Pattern> {
        Ok(match kind {
            Kind::Like => Pattern::Like(LikePattern::new(pattern, Some('\\'), fold)),
            Kind::Regex => Pattern::Regex(compile(pattern, Flags::parse("")?.folding(fold))?),
        })
    }

    fn matches(&self, text: &str) -> EvalResult<bool> {
        match self {
            Pattern::Like(pattern) => pattern.matches(text),
            Pattern::Regex(pattern) => Ok(pattern.is_match(text)),
        }
    }
}

macro_rules! matching {
    ($static:ident, $name:literal, $kind:ident, $fold:literal, $all:literal) => {
        #[doc = concat!("`", $name, "(text, patterns)`")]
        pub static $static: Builtin = Builtin {
            name: $name,
            aliases: &[],
            bind,
            refine: None,
            kernel: |a| matched(a, Kind::$kind, $fold, $all),
            safe: false,
        };
    };
}
matching!(ANY_LIKE, "pg_any_like", Like, false, false);
matching!(ALL_LIKE, "pg_all_like", Like, false, true);
matching!(ANY_ILIKE, "pg_any_ilike", Like, true, false);
matching!(ALL_ILIKE, "pg_all_ilike", Like, true, true);
matching!(ANY_REGEX, "pg_any_regex", Regex, false, false);
matching!(ALL_REGEX, "pg_all_regex", Regex, false, true);
matching!(ANY_IREGEX, "pg_any_iregex", Regex, true, false);
matching!(ALL_IREGEX, "pg_all_iregex", Regex, true, true);

fn bind(types: &[DataType]) -> EvalResult<Bound> {
    let text = |ty: &DataType| is_unknown(ty);
    match types {
        [value, list] if text(value) && (text(list) || item(list).is_some_and(|of| text(leaf(of)))) => {
            Ok(Bound { args: vec![DataType::Utf8, alike(DataType::Utf8, list)], ret: DataType::Boolean })
        }
        [_, list] if item(list).is_none() => Err(EvalError::new("42809", "op ANY/ALL (array) requires array on right side")),
        _ => Err(EvalError::undefined(format!("operator does not exist: {}", bind_names(types).replace(", ", " ~~ ")))),
    }
}

/// True or false as soon as a pattern decides, else NULL where a pattern or the text is NULL.
fn matched(a: &Args<'_>, kind: Kind, fold: bool, all: bool) -> EvalResult<ArrayRef> {
    let ((text, step), list) = (a.texts(0)?, Lists::new(a, 1)?.leaves());
    let patterns = list.list.values().as_string_opt::<i32>();
    let patterns = patterns.ok_or_else(|| EvalError::internal("patterns that are no texts"))?;
    let mut known: HashMap<&str, Pattern> = HashMap::new();
    let mut answers = Vec::with_capacity(a.n);
    for i in 0..a.n {
        if list.is_null(i) {
            answers.push(None);
            continue;
        }
        let mut answer = Some(all);
        for at in list.range(i) {
            if text.is_null(i * step) || patterns.is_null(at) {
                answer = None;
                continue;
            }
            let pattern = patterns.value(at);
            if !known.contains_key(pattern) {
                known.insert(pattern, Pattern::new(pattern, kind, fold)?);
            }
            if known[pattern].matches(text.value(i * step))? != all {
                answer = Some(!all);
                break;
            }
        }
        answers.push(answer);
    }
    Ok(boxed(BooleanArray::from(answers)))
}
