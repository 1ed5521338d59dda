//! Matching: LIKE, SIMILAR TO, `~` and its kin as functions, and `regexp_match`, `regexp_replace` and the rest of that family. What a
//! pattern means stands in [`super::pattern`] and [`crate::eval::like`].

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type};
use regex::{Captures, Regex};

use super::arith::boxed;
use super::error::{EvalError, EvalResult};
use super::forms::{Form, K, bind_forms, builtin};
use super::lists::texts_of;
use super::pattern::{Flags, Known, compile, similar, similar_part};
use super::udf::{Args, Bound, Builtin, text_array};
use crate::eval::LikePattern;
use crate::pgtypes::list_of;

const TWO: &[Form] = &[(&[K::Text, K::Text], K::Bool)];
const THREE: &[Form] = &[(&[K::Text, K::Text, K::Text], K::Bool)];

builtin!(REGEX_MATCH, "pg_regex_match", [], TWO, false, |a| matched(a, false));
builtin!(REGEX_IMATCH, "pg_regex_imatch", [], TWO, false, |a| matched(a, true));
builtin!(
    REGEXP_LIKE,
    "regexp_like",
    [],
    &[(&[K::Text, K::Text], K::Bool), (&[K::Text, K::Text, K::Text], K::Bool)],
    false,
    |a| { matched(a, false) }
);
builtin!(LIKE, "pg_like", [], THREE, false, |a| like(a, false));
builtin!(ILIKE, "pg_ilike", [], THREE, false, |a| like(a, true));
builtin!(SIMILAR, "pg_similar", [], THREE, false, |a| {
    let ((text, st), (pattern, sp), (escape, se)) = (a.texts(0)?, a.texts(1)?, a.texts(2)?);
    let known = Known::new();
    a.rows_bool(|i| {
        let (pattern, escape) = (pattern.value(i * sp), escape_of(escape.value(i * se))?);
        let key = format!("{}{pattern}", escape.map_or('\0', |c| c));
        Ok(known.get(&key, || similar(pattern, escape))?.is_match(text.value(i * st)))
    })
});

/// A single character, or none at all.
fn escape_of(text: &str) -> EvalResult<Option<char>> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (c, None) => Ok(c),
        _ => Err(EvalError::new("22025", "invalid escape string")),
    }
}

fn like(a: &Args<'_>, fold: bool) -> EvalResult<ArrayRef> {
    let ((text, st), (pattern, sp), (escape, se)) = (a.texts(0)?, a.texts(1)?, a.texts(2)?);
    let known = Known::new();
    a.rows_bool(|i| {
        let (pattern, escape) = (pattern.value(i * sp), escape_of(escape.value(i * se))?);
        let key = format!("{}{pattern}", escape.map_or('\0', |c| c));
        known.get(&key, || Ok(LikePattern::new(pattern, escape, fold)))?.matches(text.value(i * st))
    })
}

/// The regular expression of a row, flags included.
struct Patterns<'a> {
    pattern: (&'a arrow::array::StringArray, usize),
    flags: Option<(&'a arrow::array::StringArray, usize)>,
    fold: bool,
    known: Known<(Regex, Flags)>,
}

impl<'a> Patterns<'a> {
    fn new(a: &'a Args<'_>, pattern: usize, flags: Option<usize>) -> EvalResult<Patterns<'a>> {
        let flags = flags.filter(|at| *at < a.cols.len()).map(|at| a.texts(at)).transpose()?;
        Ok(Patterns { pattern: a.texts(pattern)?, flags, fold: false, known: Known::new() })
    }

    fn of(&self, row: usize) -> EvalResult<std::rc::Rc<(Regex, Flags)>> {
        let pattern = self.pattern.0.value(row * self.pattern.1);
        let flags = self.flags.map_or("", |(f, s)| f.value(row * s));
        self.known.get(&format!("{flags}\0{pattern}"), || {
            let flags = Flags::parse(flags)?.folding(self.fold);
            Ok((compile(pattern, flags)?, flags))
        })
    }
}

fn no_global(flags: Flags, function: &str) -> EvalResult<()> {
    if flags.global {
        return Err(EvalError::new("22023", format!("{function} does not support the \"global\" option")));
    }
    Ok(())
}

fn matched(a: &Args<'_>, fold: bool) -> EvalResult<ArrayRef> {
    let (text, st) = a.texts(0)?;
    let patterns = Patterns { fold, ..Patterns::new(a, 1, Some(2))? };
    a.rows_bool(|i| {
        let re = patterns.of(i)?;
        no_global(re.1, "regexp_like()")?;
        Ok(re.0.is_match(text.value(i * st)))
    })
}

/// The groups of a match, or the whole of it where the pattern has none.
fn groups<'t>(found: &Captures<'t>) -> Vec<Option<&'t str>> {
    if found.len() == 1 {
        return vec![found.get(0).map(|m| m.as_str())];
    }
    found.iter().skip(1).map(|m| m.map(|m| m.as_str())).collect()
}

fn bind_texts(name: &str, types: &[DataType], ret: DataType) -> EvalResult<Bound> {
    let forms: &[Form] = &[(&[K::Text, K::Text], K::Text), (&[K::Text, K::Text, K::Text], K::Text)];
    Ok(Bound { ret, ..bind_forms(name, types, forms)? })
}

/// regexp_match(text, pattern [, flags])
pub static REGEXP_MATCH: Builtin = Builtin {
    name: "regexp_match",
    aliases: &[],
    bind: |types| bind_texts("regexp_match", types, list_of(DataType::Utf8)),
    refine: None,
    kernel: |a| {
        let ((text, st), patterns, nulls) = (a.texts(0)?, Patterns::new(a, 1, Some(2))?, a.nulls());
        texts_of(a.n, a.ret, |i, out| {
            if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                return Ok(false);
            }
            let re = patterns.of(i)?;
            no_global(re.1, "regexp_match()")?;
            let found = re.0.captures(text.value(i * st));
            found.iter().flat_map(groups).for_each(out);
            Ok(found.is_some())
        })
    },
    safe: false,
};

/// regexp_split_to_array(text, pattern [, flags])
pub static REGEXP_SPLIT: Builtin = Builtin {
    name: "regexp_split_to_array",
    aliases: &[],
    bind: |types| bind_texts("regexp_split_to_array", types, list_of(DataType::Utf8)),
    refine: None,
    kernel: |a| {
        let ((text, st), patterns, nulls) = (a.texts(0)?, Patterns::new(a, 1, Some(2))?, a.nulls());
        texts_of(a.n, a.ret, |i, out| {
            if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                return Ok(false);
            }
            let (re, text) = (patterns.of(i)?, text.value(i * st));
            no_global(re.1, "regexp_split_to_array()")?;
            let mut from = 0;
            for m in re.0.find_iter(text) {
                // An empty match divides characters, but nothing at either end.
                if m.is_empty() && (m.start() == 0 || m.start() >= text.len()) {
                    continue;
                }
                out(Some(&text[from..m.start()]));
                from = m.end();
            }
            out(Some(&text[from..]));
            Ok(true)
        })
    },
    safe: false,
};

/// The matches of regexp_matches, each an array, as an array.
pub static REGEXP_MATCHES: Builtin = Builtin {
    name: "pg_regexp_matches",
    aliases: &[],
    bind: |types| bind_texts("regexp_matches", types, list_of(list_of(DataType::Utf8))),
    refine: None,
    kernel: |a| {
        let ((text, st), patterns, nulls) = (a.texts(0)?, Patterns::new(a, 1, Some(2))?, a.nulls());
        let mut rows: Vec<Option<Vec<Vec<Option<&str>>>>> = Vec::with_capacity(a.n);
        for i in 0..a.n {
            if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                rows.push(None);
                continue;
            }
            let re = patterns.of(i)?;
            let most = if re.1.global { usize::MAX } else { 1 };
            rows.push(Some(re.0.captures_iter(text.value(i * st)).take(most).map(|found| groups(&found)).collect()));
        }
        let mut all = arrow::array::ListBuilder::new(arrow::array::ListBuilder::new(arrow::array::StringBuilder::new()));
        for row in rows {
            for found in row.iter().flatten() {
                found.iter().for_each(|text| all.values().values().append_option(*text));
                all.values().append(true);
            }
            all.append(row.is_some());
        }
        Ok(boxed(all.finish()))
    },
    safe: false,
};

builtin!(
    REGEXP_REPLACE,
    "regexp_replace",
    [],
    &[
        (&[K::Text, K::Text, K::Text], K::Text),
        (&[K::Text, K::Text, K::Text, K::Text], K::Text),
        (&[K::Text, K::Text, K::Text, K::Int], K::Text),
        (&[K::Text, K::Text, K::Text, K::Int, K::Int], K::Text),
        (&[K::Text, K::Text, K::Text, K::Int, K::Int, K::Text], K::Text),
    ],
    false,
    |a| {
        let ((text, st), (new, sn)) = (a.texts(0)?, a.texts(2)?);
        let counted = a.cols.len() > 3 && a.col(3)?.array.as_string_opt::<i32>().is_none();
        let patterns = Patterns::new(a, 1, Some(if counted { 5 } else { 3 }))?;
        let start = if counted { Some(a.lanes::<Int32Type>(3)?) } else { None };
        let nth = if counted && a.cols.len() > 4 { Some(a.lanes::<Int32Type>(4)?) } else { None };
        a.rows_text(|i, out| {
            let (re, text) = (patterns.of(i)?, text.value(i * st));
            let skip = skipped(text, start.map_or(1, |(v, s)| v[i * s]))?;
            let nth = nth.map(|(v, s)| v[i * s]);
            if nth.is_some_and(|n| n < 0) {
                return Err(EvalError::new("22023", format!("invalid value for parameter \"n\": {}", nth.unwrap_or_default())));
            }
            let all = nth.map_or(re.1.global, |n| n == 0);
            let wanted = nth.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(1);
            let mut from = 0;
            for (count, found) in (1..).zip(re.0.captures_iter(&text[skip..])) {
                if !all && count > wanted {
                    break;
                }
                if let Some(whole) = found.get(0).filter(|_| all || count == wanted) {
                    out.push_str(&text[from..skip + whole.start()]);
                    replacement(new.value(i * sn), &found, out);
                    from = skip + whole.end();
                }
            }
            out.push_str(&text[from..]);
            Ok(())
        })
    }
);

/// Bytes before the n-th character.
fn skipped(text: &str, start: i32) -> EvalResult<usize> {
    let at = usize::try_from(start).ok().filter(|n| *n > 0);
    let at = at.ok_or_else(|| EvalError::new("22023", format!("invalid value for parameter \"start\": {start}")))?;
    Ok(text.char_indices().nth(at - 1).map_or(text.len(), |(at, _)| at))
}

/// `\1` is a group, `\&` the whole match, `\\` a backslash.
fn replacement(new: &str, found: &Captures<'_>, out: &mut String) {
    let mut chars = new.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(d @ '1'..='9') => {
                let group = d.to_digit(10).and_then(|d| usize::try_from(d).ok()).and_then(|d| found.get(d));
                out.push_str(group.map_or("", |m| m.as_str()));
            }
            Some('&') => out.push_str(found.get(0).map_or("", |m| m.as_str())),
            Some('\\') | None => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
        }
    }
}

const COUNTED: &[Form] =
    &[(&[K::Text, K::Text], K::Int), (&[K::Text, K::Text, K::Int], K::Int), (&[K::Text, K::Text, K::Int, K::Text], K::Int)];

builtin!(REGEXP_COUNT, "regexp_count", [], COUNTED, false, |a| {
    let ((text, st), patterns) = (a.texts(0)?, Patterns::new(a, 1, Some(3))?);
    let start = if a.cols.len() > 2 { Some(a.lanes::<Int32Type>(2)?) } else { None };
    a.rows::<Int32Type>(|i| {
        let (re, text) = (patterns.of(i)?, text.value(i * st));
        no_global(re.1, "regexp_count()")?;
        let skip = skipped(text, start.map_or(1, |(v, s)| v[i * s]))?;
        i32::try_from(re.0.find_iter(&text[skip..]).count()).map_err(|_| EvalError::out_of_range("integer"))
    })
});

const NTH: &[Form] = &[
    (&[K::Text, K::Text], K::Text),
    (&[K::Text, K::Text, K::Int], K::Text),
    (&[K::Text, K::Text, K::Int, K::Int], K::Text),
    (&[K::Text, K::Text, K::Int, K::Int, K::Text], K::Text),
    (&[K::Text, K::Text, K::Int, K::Int, K::Text, K::Int], K::Text),
];

builtin!(REGEXP_SUBSTR, "regexp_substr", [], NTH, false, |a| {
    let ((text, st), patterns, nulls) = (a.texts(0)?, Patterns::new(a, 1, Some(4))?, a.nulls());
    let number = |at: usize| if a.cols.len() > at { a.lanes::<Int32Type>(at).map(Some) } else { Ok(None) };
    let (start, nth, group) = (number(2)?, number(3)?, number(5)?);
    text_array(a.n, |i, out| {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return Ok(false);
        }
        let (re, text) = (patterns.of(i)?, text.value(i * st));
        no_global(re.1, "regexp_substr()")?;
        let value = |n: Option<(&[i32], usize)>, otherwise: i32| n.map_or(otherwise, |(v, s)| v[i * s]);
        let skip = skipped(text, value(start, 1))?;
        let wrong = |what: &str, n: i32| EvalError::new("22023", format!("invalid value for parameter \"{what}\": {n}"));
        let (nth, group) = (value(nth, 1), value(group, 0));
        let nth_at = usize::try_from(nth).ok().filter(|n| *n > 0).ok_or_else(|| wrong("n", nth))?;
        let group_at = usize::try_from(group).map_err(|_| wrong("subexpr", group))?;
        let found = re.0.captures_iter(&text[skip..]).nth(nth_at - 1);
        match found.as_ref().and_then(|found| found.get(group_at)) {
            Some(m) => {
                out.push_str(m.as_str());
                Ok(true)
            }
            None => Ok(false),
        }
    })
});

const PLACED: &[Form] = &[
    (&[K::Text, K::Text], K::Int),
    (&[K::Text, K::Text, K::Int], K::Int),
    (&[K::Text, K::Text, K::Int, K::Int], K::Int),
    (&[K::Text, K::Text, K::Int, K::Int, K::Int], K::Int),
    (&[K::Text, K::Text, K::Int, K::Int, K::Int, K::Text], K::Int),
    (&[K::Text, K::Text, K::Int, K::Int, K::Int, K::Text, K::Int], K::Int),
];

builtin!(REGEXP_INSTR, "regexp_instr", [], PLACED, false, |a| {
    let ((text, st), patterns) = (a.texts(0)?, Patterns::new(a, 1, Some(5))?);
    let number = |at: usize| if a.cols.len() > at { a.lanes::<Int32Type>(at).map(Some) } else { Ok(None) };
    let (start, nth, end, group) = (number(2)?, number(3)?, number(4)?, number(6)?);
    a.rows::<Int32Type>(|i| {
        let (re, text) = (patterns.of(i)?, text.value(i * st));
        no_global(re.1, "regexp_instr()")?;
        let value = |n: Option<(&[i32], usize)>, otherwise: i32| n.map_or(otherwise, |(v, s)| v[i * s]);
        let skip = skipped(text, value(start, 1))?;
        let wrong = |what: &str, n: i32| EvalError::new("22023", format!("invalid value for parameter \"{what}\": {n}"));
        let (nth, end, group) = (value(nth, 1), value(end, 0), value(group, 0));
        let nth_at = usize::try_from(nth).ok().filter(|n| *n > 0).ok_or_else(|| wrong("n", nth))?;
        if !matches!(end, 0 | 1) {
            return Err(wrong("endoption", end));
        }
        let group_at = usize::try_from(group).map_err(|_| wrong("subexpr", group))?;
        let found = re.0.captures_iter(&text[skip..]).nth(nth_at - 1);
        let Some(m) = found.as_ref().and_then(|found| found.get(group_at)) else { return Ok(0) };
        let bytes = skip + if end == 1 { m.end() } else { m.start() };
        i32::try_from(text[..bytes].chars().count() + 1).map_err(|_| EvalError::out_of_range("integer"))
    })
});

/// `substring(text from pattern)`: the first group of the first match, or the match itself.
pub(super) fn substring(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let ((text, st), patterns, nulls) = (a.texts(0)?, Patterns::new(a, 1, None)?, a.nulls());
    text_array(a.n, |i, out| {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return Ok(false);
        }
        let re = patterns.of(i)?;
        let found = re.0.captures(text.value(i * st));
        let part = found.as_ref().and_then(|found| if found.len() > 1 { found.get(1) } else { found.get(0) });
        out.push_str(part.map_or("", |m| m.as_str()));
        Ok(part.is_some())
    })
}

/// `substring(text from pattern for escape)`: the part of a text which a pattern of SIMILAR TO describes between two separators, an escape
/// character and a double quote each; the whole text without them.
pub(super) fn substring_similar(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let ((text, st), (pattern, sp), (escape, se)) = (a.texts(0)?, a.texts(1)?, a.texts(2)?);
    let (known, nulls) = (Known::new(), a.nulls());
    text_array(a.n, |i, out| {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return Ok(false);
        }
        let (pattern, escape) = (pattern.value(i * sp), escape_of(escape.value(i * se))?);
        let key = format!("{}{pattern}", escape.map_or('\0', |c| c));
        let re = known.get(&key, || similar_part(pattern, escape))?;
        let found = re.captures(text.value(i * st));
        let part = found.as_ref().and_then(|found| found.get(1).or_else(|| found.get(0)));
        out.push_str(part.map_or("", |m| m.as_str()));
        Ok(part.is_some())
    })
}
