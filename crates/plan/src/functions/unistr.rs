//! `unistr(text)`: characters written as `\XXXX`, `\+XXXXXX`, `\uXXXX`, `\UXXXXXXXX`; `\\` is a backslash.

use super::error::{EvalError, EvalResult};
use super::forms::{K, builtin};

builtin!(UNISTR, "unistr", [], &[(&[K::Text], K::Text)], false, |a| {
    let (text, s) = a.texts(0)?;
    a.rows_text(|i, out| unescape(text.value(i * s), '\\', true, out))
});

fn wrong(what: &str) -> EvalError {
    EvalError::new("42601", what)
}

/// Reads a text whose characters may be written by their numbers, behind this character; `long` with `u` and `U`, too.
pub(crate) fn unescape(text: &str, escape: char, long: bool, out: &mut String) -> EvalResult<()> {
    let mut rest = text;
    let mut high: Option<u32> = None;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let unit = if c != escape {
            None
        } else if let Some(behind) = rest.strip_prefix(escape) {
            rest = behind;
            None
        } else {
            let (skip, n) = match rest.as_bytes().first() {
                Some(b'+') => (1, 6),
                Some(b'u') if long => (1, 4),
                Some(b'U') if long => (1, 8),
                _ => (0, 4),
            };
            let digits = rest.get(skip..skip + n).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
            let unit = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or_else(|| wrong("invalid Unicode escape"))?;
            rest = &rest[skip + n..];
            Some(unit)
        };
        let pair = || wrong("invalid Unicode surrogate pair");
        let code = match (high.take(), unit) {
            (None, None) => {
                out.push(c);
                continue;
            }
            (Some(_), None) => return Err(pair()),
            (Some(high), Some(low @ 0xdc00..=0xdfff)) => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
            (Some(_), Some(_)) | (None, Some(0xdc00..=0xdfff)) => return Err(pair()),
            (None, Some(first @ 0xd800..=0xdbff)) => {
                high = Some(first);
                continue;
            }
            (None, Some(unit)) => unit,
        };
        match char::from_u32(code) {
            Some(c) if c != '\0' => out.push(c),
            _ => return Err(wrong("invalid Unicode code point")),
        }
    }
    if high.is_some() { Err(wrong("invalid Unicode surrogate pair")) } else { Ok(()) }
}
