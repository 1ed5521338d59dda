//! A JSON text as a tree, and back. Strings are without their escapes; they borrow from the text where it has none.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{DEPTH_MAX, bad, canonical_number, too_deep};
use crate::functions::error::{EvalError, EvalResult};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number's digits.
    Number(Cow<'a, str>),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object; of jsonb in the order of its keys, each once.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// jsonb's order of keys: shorter ones first.
pub fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// Brings an object's fields into jsonb's order; of equal keys the last stays.
pub fn sort_keys(fields: &mut Vec<(Cow<'_, str>, Json<'_>)>) {
    if fields.windows(2).all(|pair| key_order(&pair[0].0, &pair[1].0) == Ordering::Less) {
        return;
    }
    fields.reverse();
    fields.sort_by(|a, b| key_order(&a.0, &b.0));
    fields.dedup_by(|later, kept| later.0 == kept.0);
}

/// Reads a text; with `jsonb` its numbers and keys become canonical and `\u0000` is refused.
///
/// # Errors
/// As [`super::canonical`].
pub fn parse(text: &str, jsonb: bool) -> EvalResult<Json<'_>> {
    let mut parser = Parser { text, at: 0, jsonb };
    let value = parser.value(0, "JSON value")?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(bad(&format!("Expected end of input, but found \"{}\".", parser.token())));
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    jsonb: bool,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// What stands here, for a message.
    fn token(&self) -> &'a str {
        let rest = &self.text[self.at..];
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+') || !c.is_ascii();
        let end = match rest.find(|c| !word(c)) {
            Some(0) => rest.chars().next().map_or(0, char::len_utf8),
            Some(end) => end,
            None => rest.len(),
        };
        &rest[..rest.floor_char_boundary(end.min(60))]
    }

    fn expected(&self, what: &str) -> EvalError {
        if self.at >= self.text.len() {
            return bad("The input string ended unexpectedly.");
        }
        let token = self.token();
        let symbol =
            token.starts_with(['{', '}', '[', ']', ',', ':', '"', '-']) || token.starts_with(|c: char| c.is_ascii_digit());
        if symbol || matches!(token, "true" | "false" | "null") {
            return bad(&format!("Expected {what}, but found \"{token}\"."));
        }
        bad(&format!("Token \"{token}\" is invalid."))
    }

    fn value(&mut self, depth: usize, what: &str) -> EvalResult<Json<'a>> {
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let word = self.token();
                let value = match word {
                    "null" => Json::Null,
                    "true" => Json::Bool(true),
                    "false" => Json::Bool(false),
                    _ => return Err(self.expected(what)),
                };
                self.at += word.len();
                Ok(value)
            }
        }
    }

    fn array(&mut self, depth: usize) -> EvalResult<Json<'a>> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        self.at += 1;
        let mut items = vec![];
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth, if items.is_empty() { "array element or \"]\"" } else { "JSON value" })?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return Err(self.expected("\",\" or \"]\"")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> EvalResult<Json<'a>> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        self.at += 1;
        let mut fields = vec![];
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(fields));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.expected(if fields.is_empty() { "string or \"}\"" } else { "string" }));
            }
            let key = self.string()?;
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.expected("\":\""));
            }
            self.at += 1;
            fields.push((key, self.value(depth, "JSON value")?));
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.expected("\",\" or \"}\"")),
            }
        }
        self.at += 1;
        if self.jsonb {
            sort_keys(&mut fields);
        }
        Ok(Json::Object(fields))
    }

    fn number(&mut self) -> EvalResult<Json<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut at = start + usize::from(bytes[start] == b'-');
        let whole = digits(at);
        let mut sound = whole > at && !(bytes[at] == b'0' && whole > at + 1);
        at = whole;
        if bytes.get(at) == Some(&b'.') {
            let end = digits(at + 1);
            sound &= end > at + 1;
            at = end;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let from = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let end = digits(from);
            sound &= end > from;
            at = end;
        }
        let ends = bytes
            .get(at)
            .is_none_or(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b']' | b'}' | b'[' | b'{' | b'"'));
        if !sound || !ends {
            return Err(bad(&format!("Token \"{}\" is invalid.", self.token())));
        }
        self.at = at;
        let text = &self.text[start..at];
        Ok(Json::Number(if self.jsonb { canonical_number(text)? } else { Cow::Borrowed(text) }))
    }

    fn string(&mut self) -> EvalResult<Cow<'a, str>> {
        let bytes = self.text.as_bytes();
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            match bytes.get(self.at) {
                None => return Err(bad(&format!("Token \"{}\" is invalid.", shown(&self.text[start - 1..])))),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(b) if *b < 0x20 => return Err(bad(&format!("Character with value 0x{b:02x} must be escaped."))),
                Some(_) => self.at += 1,
            }
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        if escaped { unescape(raw, self.jsonb) } else { Ok(Cow::Borrowed(raw)) }
    }
}

fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(60)]
}

/// A string without its escapes. Only with `decode` is judged what the numbers of characters stand for.
fn unescape(raw: &str, decode: bool) -> EvalResult<Cow<'_, str>> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let Some(code) = behind.chars().next() else { return Err(bad("The input string ended unexpectedly.")) };
        rest = &behind[code.len_utf8()..];
        out.push(match code {
            '"' | '\\' | '/' => code,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => character(&mut rest, decode)?,
            other => return Err(bad(&format!("Escape sequence \"\\{other}\" is invalid."))),
        });
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn character(rest: &mut &str, decode: bool) -> EvalResult<char> {
    let unit = hex(rest)?;
    if !decode {
        return Ok(char::REPLACEMENT_CHARACTER);
    }
    if unit == 0 {
        return Err(EvalError::new("22P05", "unsupported Unicode escape sequence: \\u0000 cannot be converted to text."));
    }
    let low_first = || bad("Unicode low surrogate must follow a high surrogate.");
    let code = match unit {
        0xdc00..=0xdfff => return Err(low_first()),
        0xd800..=0xdbff => {
            *rest = rest.strip_prefix("\\u").ok_or_else(low_first)?;
            let low = hex(rest)?;
            if !(0xdc00..=0xdfff).contains(&low) {
                return Err(low_first());
            }
            0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
        }
        unit => unit,
    };
    char::from_u32(code).ok_or_else(low_first)
}

fn hex(rest: &mut &str) -> EvalResult<u32> {
    let digits = rest.get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
    let unit = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
    let unit = unit.ok_or_else(|| bad("\"\\u\" must be followed by four hexadecimal digits."))?;
    *rest = &rest[4..];
    Ok(unit)
}

/// Text that stands within a JSON string, unescaped.
///
/// # Errors
/// 22P05 for `\u0000`, 22P02 for half a surrogate pair.
pub(super) fn decoded(raw: &str) -> EvalResult<Cow<'_, str>> {
    if raw.contains('\\') { unescape(raw, true) } else { Ok(Cow::Borrowed(raw)) }
}

/// Appends a text as a JSON string.
pub fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, b) in text.bytes().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.push_str(&text[from..at]);
        from = at + 1;
        match b {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            b => {
                use std::fmt::Write;
                // writing to a String cannot fail
                let _ = write!(out, "\\u{b:04x}");
            }
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}

impl Json<'_> {
    /// Appends jsonb's text.
    pub fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Json::Number(n) => out.push_str(n),
            Json::Text(t) => write_text(out, t),
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Object(fields) => {
                out.push('{');
                for (i, (key, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    write_text(out, key);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Appends it without blanks.
    pub fn write_compact(&self, out: &mut String) {
        match self {
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_compact(out);
                }
                out.push(']');
            }
            Json::Object(fields) => {
                out.push('{');
                for (i, (key, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_text(out, key);
                    out.push(':');
                    value.write_compact(out);
                }
                out.push('}');
            }
            scalar => scalar.write(out),
        }
    }

    /// Appends it over several lines, as `jsonb_pretty` does.
    pub fn write_pretty(&self, out: &mut String, level: usize) {
        let line = |out: &mut String, level: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n("    ", level));
        };
        match self {
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    line(out, level + 1);
                    item.write_pretty(out, level + 1);
                }
                line(out, level);
                out.push(']');
            }
            Json::Object(fields) => {
                out.push('{');
                for (i, (key, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    line(out, level + 1);
                    write_text(out, key);
                    out.push_str(": ");
                    value.write_pretty(out, level + 1);
                }
                line(out, level);
                out.push('}');
            }
            scalar => scalar.write(out),
        }
    }

    /// `typeof`.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Number(_) => "number",
            Json::Text(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }
    }
}
