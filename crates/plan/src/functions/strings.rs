//! Functions of text that came later than [`super::text`], and those over values of any type: `overlay`, `format`, quoting,
//! `num_nulls`, `pg_typeof`.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Int32Type, Int64Type};

use super::arith::{bind_names, boxed};
use super::bind::is_unknown;
use super::bytes::binary;
use super::cast;
use super::error::{EvalError, EvalResult};
use super::forms::{Form, K, builtin};
use super::octets;
use super::regexp;
use super::text;
use super::udf::{Args, Bound, Builtin, text_array};
use crate::pgtypes::type_name;

builtin!(
    OVERLAY,
    "overlay",
    [],
    &[
        (&[K::Text, K::Text, K::Int], K::Text),
        (&[K::Text, K::Text, K::Int, K::Int], K::Text),
        (&[K::Bytes, K::Bytes, K::Int], K::Bytes),
        (&[K::Bytes, K::Bytes, K::Int, K::Int], K::Bytes),
    ],
    false,
    |a| {
        if octets::is_bytes(a) {
            return octets::overlay(a);
        }
        let ((s, ss), (new, sn), (from, sf)) = (a.texts(0)?, a.texts(1)?, a.lanes::<Int32Type>(2)?);
        let count = if a.cols.len() > 3 { Some(a.lanes::<Int32Type>(3)?) } else { None };
        a.rows_text(|i, out| {
            let (s, new, from) = (s.value(i * ss), new.value(i * sn), i64::from(from[i * sf]));
            if from <= 0 {
                return Err(EvalError::new("22011", "negative substring length not allowed"));
            }
            let len = text::chars(s);
            let count = count.map_or_else(|| text::chars(new), |(n, s)| n[i * s].into());
            out.push_str(text::slice(s, 0, (from - 1).min(len)));
            out.push_str(new);
            out.push_str(text::slice(s, (from - 1 + count).clamp(0, len), len));
            Ok(())
        })
    }
);
builtin!(
    SUBSTRING,
    "substring",
    [],
    &[
        (&[K::Text, K::Text], K::Text),
        (&[K::Text, K::Int], K::Text),
        (&[K::Text, K::Int, K::Int], K::Text),
        (&[K::Bytes, K::Int], K::Bytes),
        (&[K::Bytes, K::Int, K::Int], K::Bytes),
        (&[K::Text, K::Text, K::Text], K::Text)
    ],
    false,
    |a| match a.cols.len() {
        _ if a.texts(1).is_err() => (text::SUBSTR.kernel)(a),
        3 => regexp::substring_similar(a),
        _ => regexp::substring(a),
    }
);

const MEASURED: &[Form] = &[(&[K::Text], K::Int), (&[K::Bytes], K::Int)];

fn measured(a: &Args<'_>, of_text: fn(&str) -> usize, of_bytes: fn(&[u8]) -> usize) -> EvalResult<ArrayRef> {
    let int = |n: usize| i32::try_from(n).map_err(|_| EvalError::out_of_range("integer"));
    if let Ok((s, ss)) = a.texts(0) {
        return a.rows::<Int32Type>(|i| int(of_text(s.value(i * ss))));
    }
    let (b, sb) = binary(a, 0)?;
    a.rows::<Int32Type>(|i| int(of_bytes(b.value(i * sb))))
}

const LENGTHS: &[Form] = &[(&[K::Text], K::Int), (&[K::Bytes], K::Int), (&[K::Bytes, K::Text], K::Int)];

builtin!(LENGTH, "length", ["char_length", "character_length"], LENGTHS, false, |a| {
    if a.cols.len() > 1 {
        return octets::length_in(a);
    }
    measured(a, |s| if s.is_ascii() { s.len() } else { s.chars().count() }, <[u8]>::len)
});
builtin!(OCTET_LENGTH, "octet_length", [], MEASURED, true, |a| measured(a, str::len, <[u8]>::len));
builtin!(BIT_LENGTH, "bit_length", [], MEASURED, true, |a| measured(a, |s| s.len() * 8, |b| b.len() * 8));

builtin!(TO_HEX, "to_hex", [], &[(&[K::Int], K::Text), (&[K::Big], K::Text)], true, |a| {
    if let Ok((v, s)) = a.lanes::<Int32Type>(0) {
        return a.rows_text(|i, out| {
            out.push_str(&format!("{:x}", v[i * s]));
            Ok(())
        });
    }
    let (v, s) = a.lanes::<Int64Type>(0)?;
    a.rows_text(|i, out| {
        out.push_str(&format!("{:x}", v[i * s]));
        Ok(())
    })
});

/// Words that PostgreSQL 15 does not take as a name without quotes everywhere.
const KEYWORDS: &str = " all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both \
    case cast char character check coalesce collate collation column concurrently constraint create cross current_catalog \
    current_date current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc \
    distinct do else end except exists extract false fetch float for foreign freeze from full grant greatest group grouping having \
    ilike in initially inner inout int integer intersect interval into is isnull join lateral leading least left like limit \
    localtime localtimestamp national natural nchar none normalize not notnull null nullif numeric offset on only or order out \
    outer overlaps overlay placing position precision primary real references returning right row select session_user setof \
    similar smallint some substring symmetric table tablesample then time timestamp to trailing treat trim true union unique user \
    using values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest \
    xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable ";

fn push_ident(name: &str, out: &mut String) {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !KEYWORDS.contains(&format!(" {name} "));
    if plain {
        out.push_str(name);
    } else {
        out.push('"');
        out.push_str(&name.replace('"', "\"\""));
        out.push('"');
    }
}

fn push_literal(text: &str, out: &mut String) {
    if text.contains('\\') {
        out.push('E');
    }
    out.push('\'');
    out.push_str(&text.replace('\\', "\\\\").replace('\'', "''"));
    out.push('\'');
}

builtin!(QUOTE_IDENT, "quote_ident", [], &[(&[K::Text], K::Text)], true, |a| {
    let (s, ss) = a.texts(0)?;
    a.rows_text(|i, out| {
        push_ident(s.value(i * ss), out);
        Ok(())
    })
});

/// One argument of any type, as text.
fn bind_one(name: &str, types: &[DataType]) -> EvalResult<Bound> {
    match types {
        [ty] => Ok(Bound { args: vec![if is_unknown(ty) { DataType::Utf8 } else { ty.clone() }], ret: DataType::Utf8 }),
        _ => Err(EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)))),
    }
}

/// quote_literal(any)
pub static QUOTE_LITERAL: Builtin = Builtin {
    name: "quote_literal",
    aliases: &[],
    bind: |types| bind_one("quote_literal", types),
    refine: None,
    kernel: |a| quoted(a, false),
    safe: true,
};

/// quote_nullable(any): NULL is the word.
pub static QUOTE_NULLABLE: Builtin = Builtin {
    name: "quote_nullable",
    aliases: &[],
    bind: |types| bind_one("quote_nullable", types),
    refine: None,
    kernel: |a| quoted(a, true),
    safe: true,
};

fn quoted(a: &Args<'_>, nullable: bool) -> EvalResult<ArrayRef> {
    let col = a.col(0)?;
    let write = cast::writer(&col.array)?;
    text_array(a.n, |i, out| {
        if col.is_null(i) {
            out.push_str(if nullable { "NULL" } else { "" });
            return Ok(nullable);
        }
        let mut value = String::new();
        write(i * col.step, &mut value);
        push_literal(&value, out);
        Ok(true)
    })
}

/// format(text, any, ...)
pub static FORMAT: Builtin = Builtin {
    name: "format",
    aliases: &[],
    bind: |types| match types.first() {
        Some(first) if is_unknown(first) => {
            let text = |t: &DataType| if is_unknown(t) { DataType::Utf8 } else { t.clone() };
            Ok(Bound { args: types.iter().map(text).collect(), ret: DataType::Utf8 })
        }
        _ => Err(EvalError::undefined(format!("function format({}) does not exist", bind_names(types)))),
    },
    refine: None,
    kernel: |a| {
        let (templates, st) = a.texts(0)?;
        let writers = a.cols.iter().map(|c| cast::writer(&c.array)).collect::<EvalResult<Vec<_>>>()?;
        text_array(a.n, |i, out| {
            if templates.is_null(i * st) {
                return Ok(false);
            }
            let value = |at: usize| -> EvalResult<Option<String>> {
                let too_few = || EvalError::new("22023", "too few arguments for format()");
                let col = a.cols.get(at).filter(|_| at > 0).ok_or_else(too_few)?;
                let mut text = String::new();
                if col.is_null(i) {
                    return Ok(None);
                }
                writers[at](i * col.step, &mut text);
                Ok(Some(text))
            };
            formatted(templates.value(i * st), value, out)?;
            Ok(true)
        })
    },
    safe: false,
};

/// `%[n$][-][width]type`, where width may be `*` or `*n$`.
fn formatted(template: &str, value: impl Fn(usize) -> EvalResult<Option<String>>, out: &mut String) -> EvalResult<()> {
    let bad = |message: &str| EvalError::new("22023", message.to_owned());
    let mut rest = template;
    let mut next = 1;
    while let Some((before, spec)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(behind) = spec.strip_prefix('%') {
            out.push('%');
            rest = behind;
            continue;
        }
        let mut spec = Spec(spec);
        let position = spec.position()?;
        let mut left = false;
        while spec.take('-') {
            left = true;
        }
        let width = if spec.take('*') {
            let at = spec.position()?.unwrap_or(next);
            next = at + 1;
            match value(at)? {
                None => 0,
                Some(text) => text.parse::<i64>().map_err(|_| bad("format() width is no integer"))?,
            }
        } else {
            spec.number()?.unwrap_or(0)
        };
        let kind = spec.0.chars().next().ok_or_else(|| bad("unterminated format() type specifier"))?;
        rest = &spec.0[kind.len_utf8()..];
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(bad(&format!("unrecognized format() type specifier \"{kind}\"")));
        }
        let at = position.unwrap_or(next);
        next = at + 1;
        let mut text = String::new();
        match (kind, value(at)?) {
            ('s', v) => text.push_str(&v.unwrap_or_default()),
            ('I', Some(v)) => push_ident(&v, &mut text),
            ('I', None) => return Err(EvalError::new("22004", "null values cannot be formatted as an SQL identifier")),
            (_, Some(v)) => push_literal(&v, &mut text),
            (_, None) => text.push_str("NULL"),
        }
        let missing = usize::try_from(width.unsigned_abs()).unwrap_or(0).saturating_sub(text.chars().count());
        if missing > 1 << 28 {
            return Err(bad("number is out of range"));
        }
        let fill = std::iter::repeat_n(' ', missing);
        if left || width < 0 {
            out.push_str(&text);
            out.extend(fill);
        } else {
            out.extend(fill);
            out.push_str(&text);
        }
    }
    out.push_str(rest);
    Ok(())
}

/// What is left of a format specifier.
struct Spec<'a>(&'a str);

impl Spec<'_> {
    fn take(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn number(&mut self) -> EvalResult<Option<i64>> {
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.0.split_at(digits);
        if number.is_empty() {
            return Ok(None);
        }
        self.0 = rest;
        let number = number.parse::<i32>().map_err(|_| EvalError::new("22003", "number is out of range"))?;
        Ok(Some(number.into()))
    }

    /// `n$`, where it stands.
    fn position(&mut self) -> EvalResult<Option<usize>> {
        let before = self.0;
        match self.number()? {
            Some(n) if self.take('$') => match usize::try_from(n) {
                Ok(n) if n > 0 => Ok(Some(n)),
                _ => Err(EvalError::new("22023", "format specifies argument 0, but arguments are numbered from 1")),
            },
            _ => {
                self.0 = before;
                Ok(None)
            }
        }
    }
}

fn bind_counted(types: &[DataType]) -> EvalResult<Bound> {
    if types.is_empty() {
        return Err(EvalError::undefined("function num_nulls() does not exist"));
    }
    let text = |t: &DataType| if is_unknown(t) { DataType::Utf8 } else { t.clone() };
    Ok(Bound { args: types.iter().map(text).collect(), ret: DataType::Int32 })
}

fn counted(a: &Args<'_>, nulls: bool) -> EvalResult<ArrayRef> {
    let count = |i: usize| a.cols.iter().filter(|c| c.is_null(i) == nulls).count();
    let counts = (0..a.n).map(|i| i32::try_from(count(i)).unwrap_or(i32::MAX));
    Ok(boxed(arrow::array::Int32Array::from_iter_values(counts)))
}

/// num_nulls(any, ...)
pub static NUM_NULLS: Builtin =
    Builtin { name: "num_nulls", aliases: &[], bind: bind_counted, refine: None, kernel: |a| counted(a, true), safe: true };

/// num_nonnulls(any, ...)
pub static NUM_NONNULLS: Builtin =
    Builtin { name: "num_nonnulls", aliases: &[], bind: bind_counted, refine: None, kernel: |a| counted(a, false), safe: true };

/// pg_typeof(any), as text. A literal whose type is open is judged by [`super::semantics`].
pub static PG_TYPEOF: Builtin = Builtin {
    name: "pg_typeof",
    aliases: &[],
    bind: |types| match types {
        [ty] => Ok(Bound { args: vec![ty.clone()], ret: DataType::Utf8 }),
        _ => Err(EvalError::undefined(format!("function pg_typeof({}) does not exist", bind_names(types)))),
    },
    refine: None,
    kernel: |a| {
        let name = type_name(a.col(0)?.array.data_type());
        Ok(boxed(arrow::array::StringArray::from(vec![name; a.n])))
    },
    safe: true,
};
