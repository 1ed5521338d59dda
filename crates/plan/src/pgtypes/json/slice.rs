//! Parts of a text that is known to be JSON (stored json, jsonb): where a value ends, an object's fields, an array's items. Nothing is
//! parsed that is not asked for; no recursion. Of text that is no JSON it gives some part, and never panics.

use std::borrow::Cow;

use super::tree::decoded;
use crate::functions::error::EvalResult;

/// What kind of value a text holds, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true`, `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    Text,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// Of a value without blanks before it.
    pub fn of(value: &str) -> Kind {
        match value.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::Text,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            _ => Kind::Null,
        }
    }

    /// What `typeof` says.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "boolean",
            Kind::Number => "number",
            Kind::Text => "string",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }

    /// An array or an object?
    pub fn is_container(self) -> bool {
        matches!(self, Kind::Array | Kind::Object)
    }
}

/// The value without blanks around it.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))
}

/// Behind the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Behind the value that begins at `at`.
fn value_end(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at),
        Some(b'{' | b'[') => {
            let (mut at, mut depth) = (at, 0_usize);
            while at < bytes.len() {
                match bytes[at] {
                    b'"' => at = string_end(bytes, at),
                    b'{' | b'[' => {
                        depth += 1;
                        at += 1;
                    }
                    b'}' | b']' => {
                        depth -= 1;
                        at += 1;
                        if depth == 0 {
                            return at;
                        }
                    }
                    _ => at += 1,
                }
            }
            bytes.len()
        }
        _ => {
            let rest = bytes.get(at..).unwrap_or(&[]);
            at + rest.iter().position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(rest.len())
        }
    }
}

/// The parts of a container: of an object with their keys as written, of an array without.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    text: &'a str,
    at: usize,
    object: bool,
}

/// The parts of an array or an object; none of a scalar.
pub fn parts(container: &str) -> Parts<'_> {
    let container = trimmed(container);
    let kind = Kind::of(container);
    Parts { text: container, at: if kind.is_container() { 1 } else { container.len() }, object: kind == Kind::Object }
}

impl<'a> Iterator for Parts<'a> {
    /// The key between its quotes (empty in an array), and the value.
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let bytes = self.text.as_bytes();
        let blanks = |mut at: usize, mark: u8| {
            while bytes.get(at).is_some_and(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r') || *b == mark) {
                at += 1;
            }
            at
        };
        let mut at = blanks(self.at, b',');
        if matches!(bytes.get(at), None | Some(b'}' | b']')) {
            self.at = bytes.len();
            return None;
        }
        let mut key = "";
        if self.object {
            let end = string_end(bytes, at);
            key = self.text.get(at + 1..end.saturating_sub(1)).unwrap_or("");
            at = blanks(end, b':');
        }
        // at least one byte further, whatever stands there
        let end = value_end(bytes, at).max(at + 1).min(bytes.len());
        self.at = end;
        Some((key, self.text.get(at..end).unwrap_or("")))
    }
}

/// An object's value of a key; of equal keys the last.
pub fn field<'a>(container: &'a str, key: &str) -> Option<&'a str> {
    let mut parts = parts(container);
    if !parts.object {
        return None;
    }
    let mut found = None;
    for (raw, value) in &mut parts {
        let same = raw == key || raw.contains('\\') && decoded(raw).is_ok_and(|k| k == key);
        if same {
            found = Some(value);
        }
    }
    found
}

/// An array's item by its place; below zero counted from the end.
pub fn item(container: &str, place: i64) -> Option<&str> {
    let parts = parts(container);
    if parts.object {
        return None;
    }
    let place = match usize::try_from(place) {
        Ok(place) => place,
        Err(_) => parts.clone().count().checked_sub(usize::try_from(place.unsigned_abs()).ok()?)?,
    };
    let mut parts = parts;
    parts.nth(place).map(|(_, value)| value)
}

/// The value that a path leads to: keys of objects, places of arrays.
pub fn at_path<'a, 'p>(text: &'a str, path: impl IntoIterator<Item = &'p str>) -> Option<&'a str> {
    let mut at = trimmed(text);
    for step in path {
        at = match Kind::of(at) {
            Kind::Object => field(at, step)?,
            Kind::Array => item(at, place(step)?)?,
            _ => return None,
        };
    }
    Some(at)
}

/// A step of a path as a place.
pub fn place(step: &str) -> Option<i64> {
    step.trim_start().parse::<i32>().ok().map(i64::from)
}

/// A key as text.
///
/// # Errors
/// 22P05, 22P02.
pub fn key_text(raw: &str) -> EvalResult<Cow<'_, str>> {
    decoded(raw)
}

/// A value as text: a string without quotes and escapes, other values as they are written; `None` for `null`.
///
/// # Errors
/// 22P05 for `\u0000`, 22P02 for half a surrogate pair.
pub fn as_text(value: &str) -> EvalResult<Option<Cow<'_, str>>> {
    Ok(match Kind::of(value) {
        Kind::Null => None,
        Kind::Text => Some(decoded(value.get(1..value.len().saturating_sub(1)).unwrap_or(""))?),
        _ => Some(Cow::Borrowed(value)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_value_as_it_is_written() {
        let text = r#" {"a" : [1, {"b\"": "x\ny" } ,3], "a2":null, "e": {}, "n": 1.50 } "#;
        assert_eq!(at_path(text, ["a", "1", "b\""]), Some(r#""x\ny""#));
        assert_eq!(at_path(text, ["a", "-1"]), Some("3"));
        assert_eq!(at_path(text, ["a", "-4"]), None);
        assert_eq!(at_path(text, ["a", "x"]), None);
        assert_eq!(at_path(text, ["n"]), Some("1.50"));
        assert_eq!(at_path(text, ["n", "x"]), None);
        assert_eq!(field("{\"k\": 1, \"k\": 2}", "k"), Some("2"));
        assert_eq!(as_text("\"x\\ny\"").unwrap().as_deref(), Some("x\ny"));
        assert_eq!(as_text("null").unwrap(), None);
        assert_eq!(parts("[1, [2, 3], \"]\"]").map(|p| p.1).collect::<Vec<_>>(), ["1", "[2, 3]", "\"]\""]);
        assert_eq!(parts("{}").count() + parts("[ ]").count() + parts("5").count(), 0);
    }

    #[test]
    fn of_text_that_is_no_json_nothing_panics() {
        for bad in ["", "{", "[", "{\"", "{\"a", "{\"a\"", "{\"a\":", "[,", "[}", "{1:2}", "\"\\", "[\"\\", "]", "{é:é}", "[é"]
        {
            parts(bad).for_each(drop);
            let _ = (field(bad, "a"), item(bad, 0), item(bad, -1), as_text(bad));
        }
    }
}
