//! Functions of text. Positions count characters from 1, as in SQL; upper and lower map characters one by one, by Unicode.
//! Rows write into one buffer: no allocation per row.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Int32Type};

use super::arith::bind_names;
use super::bind::{is_int, is_text, is_unknown};
use super::cast;
use super::error::{EvalError, EvalResult};
use super::octets;
use super::udf::{Args, Bound, Builtin, TEXT_MAX, text_array};

const T: DataType = DataType::Utf8;
const I: DataType = DataType::Int32;
const B: DataType = DataType::Binary;

/// Binds to the first of `forms` that has as many arguments and takes these types.
fn bind_forms(name: &str, types: &[DataType], forms: &[&[DataType]], ret: DataType) -> EvalResult<Bound> {
    let takes = |want: &DataType, have: &DataType| match want {
        DataType::Utf8 => is_text(have) || *have == DataType::Null,
        DataType::Binary => *have == DataType::Binary || is_unknown(have),
        _ => is_int(have) || is_unknown(have),
    };
    forms
        .iter()
        .find(|f| f.len() == types.len() && f.iter().zip(types).all(|(w, h)| takes(w, h)))
        .map(|f| {
            let bytes = ret == T && f.first() == Some(&B);
            Bound { args: f.to_vec(), ret: if bytes { B } else { ret } }
        })
        .ok_or_else(|| EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types))))
}

macro_rules! function {
    ($static:ident, $name:literal, $aliases:expr, $forms:expr, $ret:expr, $safe:literal, $kernel:expr) => {
        #[doc = concat!("`", $name, "`")]
        pub static $static: Builtin = Builtin {
            name: $name,
            aliases: $aliases,
            bind: |types| bind_forms($name, types, $forms, $ret),
            refine: None,
            kernel: $kernel,
            safe: $safe,
        };
    };
}

function!(ASCII, "ascii", &[], &[&[T]], I, true, |a| int_of_text(a, |s| s.chars().next().map_or(0, |c| c as usize)));
function!(UPPER, "upper", &[], &[&[T]], T, true, |a| text_of_text(a, |s, out| case(s, out, true)));
function!(LOWER, "lower", &[], &[&[T]], T, true, |a| text_of_text(a, |s, out| case(s, out, false)));
function!(INITCAP, "initcap", &[], &[&[T]], T, true, |a| text_of_text(a, |s, out| {
    let mut inside = false;
    for c in s.chars() {
        out.push(one_case(c, !inside));
        inside = c.is_alphanumeric();
    }
}));
function!(REVERSE, "reverse", &[], &[&[T]], T, true, |a| text_of_text(a, |s, out| out.extend(s.chars().rev())));
function!(SUBSTR, "substr", &[], &[&[T, I], &[T, I, I], &[B, I], &[B, I, I]], T, false, substr);
function!(LEFT, "left", &[], &[&[T, I]], T, true, |a| text_and_int(a, |s, n, out| {
    let len = chars(s);
    let keep = if n >= 0 { n.min(len) } else { (len + n).max(0) };
    out.push_str(slice(s, 0, keep));
    Ok(())
}));
function!(RIGHT, "right", &[], &[&[T, I]], T, true, |a| text_and_int(a, |s, n, out| {
    let len = chars(s);
    let skip = if n >= 0 { (len - n).max(0) } else { (-n).min(len) };
    out.push_str(slice(s, skip, len));
    Ok(())
}));
function!(REPEAT, "repeat", &[], &[&[T, I]], T, false, |a| text_and_int(a, |s, n, out| {
    let times = usize::try_from(n).unwrap_or(0);
    if out.len().saturating_add(s.len().saturating_mul(times)) > TEXT_MAX {
        return Err(EvalError::new("54000", "requested length too large"));
    }
    out.extend(std::iter::repeat_n(s, times));
    Ok(())
}));
function!(BTRIM, "btrim", &["trim"], &[&[T], &[T, T], &[B, B]], T, true, |a| trim(a, true, true));
function!(LTRIM, "ltrim", &[], &[&[T], &[T, T], &[B, B]], T, true, |a| trim(a, true, false));
function!(RTRIM, "rtrim", &[], &[&[T], &[T, T], &[B, B]], T, true, |a| trim(a, false, true));
function!(REPLACE, "replace", &[], &[&[T, T, T]], T, true, |a| {
    let ((s, ss), (from, sf), (to, st)) = (a.texts(0)?, a.texts(1)?, a.texts(2)?);
    a.rows_text(|i, out| {
        let (s, from, to) = (s.value(i * ss), from.value(i * sf), to.value(i * st));
        if from.is_empty() {
            out.push_str(s);
            return Ok(());
        }
        let mut rest = 0;
        for (at, found) in s.match_indices(from) {
            out.push_str(&s[rest..at]);
            out.push_str(to);
            rest = at + found.len();
        }
        out.push_str(&s[rest..]);
        Ok(())
    })
});
function!(TRANSLATE, "translate", &[], &[&[T, T, T]], T, true, |a| {
    let ((s, ss), (from, sf), (to, st)) = (a.texts(0)?, a.texts(1)?, a.texts(2)?);
    a.rows_text(|i, out| {
        let (from, to) = (from.value(i * sf), to.value(i * st));
        for c in s.value(i * ss).chars() {
            match from.chars().position(|f| f == c) {
                None => out.push(c),
                Some(at) => out.extend(to.chars().nth(at)),
            }
        }
        Ok(())
    })
});
function!(STRPOS, "strpos", &["position"], &[&[T, T], &[B, B]], I, true, |a| {
    if octets::is_bytes(a) {
        return octets::position(a);
    }
    let ((s, ss), (p, sp)) = (a.texts(0)?, a.texts(1)?);
    a.rows::<Int32Type>(|i| {
        let s = s.value(i * ss);
        let at = s.find(p.value(i * sp)).map_or(0, |at| chars(&s[..at]) + 1);
        i32::try_from(at).map_err(|_| EvalError::out_of_range("integer"))
    })
});
function!(STARTS_WITH, "starts_with", &[], &[&[T, T]], DataType::Boolean, true, |a| {
    let ((s, ss), (p, sp)) = (a.texts(0)?, a.texts(1)?);
    a.rows_bool(|i| Ok(s.value(i * ss).starts_with(p.value(i * sp))))
});
function!(SPLIT_PART, "split_part", &[], &[&[T, T, I]], T, false, |a| {
    let ((s, ss), (d, sd), (n, sn)) = (a.texts(0)?, a.texts(1)?, a.lanes::<Int32Type>(2)?);
    a.rows_text(|i, out| split_part(s.value(i * ss), d.value(i * sd), n[i * sn], out))
});
function!(LPAD, "lpad", &[], &[&[T, I], &[T, I, T]], T, false, |a| pad(a, true));
function!(RPAD, "rpad", &[], &[&[T, I], &[T, I, T]], T, false, |a| pad(a, false));
function!(CHR, "chr", &[], &[&[I]], T, false, |a| {
    let (n, sn) = a.lanes::<Int32Type>(0)?;
    a.rows_text(|i, out| {
        let c = u32::try_from(n[i * sn]).ok().and_then(char::from_u32);
        match c {
            Some('\0') => Err(EvalError::new("54000", "null character not permitted")),
            Some(c) => {
                out.push(c);
                Ok(())
            }
            None if n[i * sn] < 0 => Err(EvalError::new("22023", "character number must be positive")),
            None => Err(EvalError::new("54000", format!("requested character not valid for encoding: {}", n[i * sn]))),
        }
    })
});

/// `a || b` with at least one text, or of two bytea.
pub static CONCAT_OP: Builtin = Builtin {
    name: "pg_concat",
    aliases: &[],
    bind: |types| match types {
        [l, r] if [l, r].contains(&&B) && [l, r].iter().all(|t| **t == B || is_unknown(t)) => {
            Ok(Bound { args: vec![B, B], ret: B })
        }
        [l, r] if is_unknown(l) || is_unknown(r) => Ok(Bound { args: vec![T, T], ret: T }),
        [l, r] => Err(EvalError::undefined(format!(
            "operator does not exist: {} || {}",
            crate::pgtypes::type_name(l),
            crate::pgtypes::type_name(r)
        ))),
        _ => Err(EvalError::undefined("|| takes two arguments")),
    },
    refine: None,
    kernel: |a| {
        if octets::is_bytes(a) {
            return octets::concat(a);
        }
        let ((l, sl), (r, sr)) = (a.texts(0)?, a.texts(1)?);
        a.rows_text(|i, out| {
            out.push_str(l.value(i * sl));
            out.push_str(r.value(i * sr));
            Ok(())
        })
    },
    safe: true,
};

pub(super) fn bind_any(types: &[DataType]) -> EvalResult<Bound> {
    let text = |t: &DataType| if is_unknown(t) { T } else { t.clone() };
    Ok(Bound { args: types.iter().map(text).collect(), ret: T })
}

/// concat(any, ...): NULLs are left out, never NULL.
pub static CONCAT: Builtin = Builtin {
    name: "concat",
    aliases: &[],
    bind: |types| match types {
        [] => Err(EvalError::undefined("function concat() does not exist")),
        types => bind_any(types),
    },
    refine: None,
    kernel: |a| {
        let writers: Vec<_> = a.cols.iter().map(|c| cast::writer(&c.array)).collect::<EvalResult<_>>()?;
        text_array(a.n, |i, out| {
            for (col, write) in a.cols.iter().zip(&writers) {
                if !col.is_null(i) {
                    write(i * col.step, out);
                }
            }
            Ok(true)
        })
    },
    safe: true,
};

/// concat_ws(separator, any, ...): NULL only when the separator is.
pub static CONCAT_WS: Builtin = Builtin {
    name: "concat_ws",
    aliases: &[],
    bind: |types| match types.first() {
        Some(t) if is_unknown(t) => bind_any(types),
        _ => Err(EvalError::undefined(format!("function concat_ws({}) does not exist", bind_names(types)))),
    },
    refine: None,
    kernel: |a| {
        let writers: Vec<_> = a.cols.iter().map(|c| cast::writer(&c.array)).collect::<EvalResult<_>>()?;
        text_array(a.n, |i, out| {
            let mut pairs = a.cols.iter().zip(&writers);
            let Some((separator, write_separator)) = pairs.next().filter(|(c, _)| !c.is_null(i)) else { return Ok(false) };
            let mut first = true;
            for (col, write) in pairs.filter(|(c, _)| !c.is_null(i)) {
                if !std::mem::take(&mut first) {
                    write_separator(i * separator.step, out);
                }
                write(i * col.step, out);
            }
            Ok(true)
        })
    },
    safe: true,
};

pub(super) fn chars(s: &str) -> i64 {
    i64::try_from(if s.is_ascii() { s.len() } else { s.chars().count() }).unwrap_or(i64::MAX)
}

/// Characters `from..to`, both within the text.
pub(super) fn slice(s: &str, from: i64, to: i64) -> &str {
    let byte = |n: i64| {
        let n = usize::try_from(n).unwrap_or(0);
        if s.is_ascii() { n.min(s.len()) } else { s.char_indices().nth(n).map_or(s.len(), |(at, _)| at) }
    };
    let (from, to) = (byte(from), byte(to));
    if from < to { &s[from..to] } else { "" }
}

fn one_case(c: char, upper: bool) -> char {
    let mut mapped = if upper { Ok(c.to_uppercase()) } else { Err(c.to_lowercase()) };
    let mut next = || match &mut mapped {
        Ok(u) => u.next(),
        Err(l) => l.next(),
    };
    match (next(), next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn case(s: &str, out: &mut String, upper: bool) {
    if s.is_ascii() {
        let start = out.len();
        out.push_str(s);
        if upper { out[start..].make_ascii_uppercase() } else { out[start..].make_ascii_lowercase() }
    } else {
        out.extend(s.chars().map(|c| one_case(c, upper)));
    }
}

fn int_of_text(a: &Args<'_>, f: impl Fn(&str) -> usize) -> EvalResult<ArrayRef> {
    let (s, ss) = a.texts(0)?;
    a.rows::<Int32Type>(|i| i32::try_from(f(s.value(i * ss))).map_err(|_| EvalError::out_of_range("integer")))
}

fn text_of_text(a: &Args<'_>, f: impl Fn(&str, &mut String)) -> EvalResult<ArrayRef> {
    let (s, ss) = a.texts(0)?;
    a.rows_text(|i, out| {
        f(s.value(i * ss), out);
        Ok(())
    })
}

fn text_and_int(a: &Args<'_>, f: impl Fn(&str, i64, &mut String) -> EvalResult<()>) -> EvalResult<ArrayRef> {
    let ((s, ss), (n, sn)) = (a.texts(0)?, a.lanes::<Int32Type>(1)?);
    a.rows_text(|i, out| f(s.value(i * ss), n[i * sn].into(), out))
}

fn substr(a: &Args<'_>) -> EvalResult<ArrayRef> {
    if octets::is_bytes(a) {
        return octets::substr(a);
    }
    let ((s, ss), (from, sf)) = (a.texts(0)?, a.lanes::<Int32Type>(1)?);
    let count = if a.cols.len() > 2 { Some(a.lanes::<Int32Type>(2)?) } else { None };
    a.rows_text(|i, out| {
        let s = s.value(i * ss);
        let from = i64::from(from[i * sf]);
        let to = match count {
            None => chars(s) + 1,
            Some((n, sn)) if n[i * sn] < 0 => {
                return Err(EvalError::new("22011", "negative substring length not allowed"));
            }
            Some((n, sn)) => from + i64::from(n[i * sn]),
        };
        out.push_str(slice(s, from.max(1) - 1, to.max(1) - 1));
        Ok(())
    })
}

fn trim(a: &Args<'_>, left: bool, right: bool) -> EvalResult<ArrayRef> {
    if octets::is_bytes(a) {
        return octets::trim(a, left, right);
    }
    let (s, ss) = a.texts(0)?;
    let set = if a.cols.len() > 1 { Some(a.texts(1)?) } else { None };
    a.rows_text(|i, out| {
        let mut s = s.value(i * ss);
        let set = set.map_or(" ", |(set, step)| set.value(i * step));
        if left {
            s = s.trim_start_matches(|c| set.contains(c));
        }
        if right {
            s = s.trim_end_matches(|c| set.contains(c));
        }
        out.push_str(s);
        Ok(())
    })
}

fn split_part(s: &str, delimiter: &str, n: i32, out: &mut String) -> EvalResult<()> {
    if n == 0 {
        return Err(EvalError::new("22023", "field position must not be zero"));
    }
    let nth = usize::try_from(n.unsigned_abs() - 1).unwrap_or(usize::MAX);
    let field = if delimiter.is_empty() {
        (nth == 0).then_some(s)
    } else if n > 0 {
        s.split(delimiter).nth(nth)
    } else {
        s.rsplit(delimiter).nth(nth)
    };
    out.push_str(field.unwrap_or(""));
    Ok(())
}

fn pad(a: &Args<'_>, left: bool) -> EvalResult<ArrayRef> {
    let ((s, ss), (n, sn)) = (a.texts(0)?, a.lanes::<Int32Type>(1)?);
    let fill = if a.cols.len() > 2 { Some(a.texts(2)?) } else { None };
    a.rows_text(|i, out| {
        let s = s.value(i * ss);
        let fill = fill.map_or(" ", |(f, sf)| f.value(i * sf));
        let want = i64::from(n[i * sn].max(0));
        if want > 1 << 28 {
            return Err(EvalError::new("54000", "requested length too large"));
        }
        let have = chars(s);
        let missing = usize::try_from((want - have).max(0)).unwrap_or(0);
        if left {
            out.extend(fill.chars().cycle().take(if fill.is_empty() { 0 } else { missing }));
        }
        out.push_str(slice(s, 0, want.min(have)));
        if !left {
            out.extend(fill.chars().cycle().take(if fill.is_empty() { 0 } else { missing }));
        }
        Ok(())
    })
}
