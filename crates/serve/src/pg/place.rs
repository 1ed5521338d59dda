//! Where in a statement's text an error is: the names of columns, relations and functions that are not there.
//!
//! The planner says which name it does not know and not where it stands. A name that the text has once can only stand there; one
//! that it has several times, or that comes from elsewhere (a view, a function's body), gets no place. As in PostgreSQL it is where
//! the chain of names begins (`t.x`), counted in characters from 1, and only of statements that read and write rows.
//! Cost: one walk over the text of a statement that has failed.

use regauge_views::{Error, error::sqlstate as code};

/// The error with its place, if it has none and the text tells one.
pub fn placed(mut error: Error, sql: &str) -> Error {
    let names = [code::UNDEFINED_COLUMN, code::UNDEFINED_TABLE, "42702", "42883"];
    if error.position.is_none() && names.contains(&error.sqlstate) {
        error.position = name_of(&error.message).and_then(|name| place_of(name, sql));
    }
    error
}

/// The name that a message is about, without what qualifies it.
fn name_of(message: &str) -> Option<&str> {
    let name = match message.split('"').nth(1) {
        Some(quoted) => quoted,
        None => message.strip_prefix("function ")?.split([' ', '(']).next()?,
    };
    name.rsplit('.').next().filter(|name| !name.is_empty())
}

fn place_of(name: &str, sql: &str) -> Option<u32> {
    let words = words(sql);
    if !["select", "insert", "update", "delete", "with", "values"].contains(&words.first()?.name.as_str()) {
        return None;
    }
    let mut found = words.iter().enumerate().filter(|(_, word)| word.name == name);
    let (mut at, _) = found.next()?;
    if found.next().is_some() {
        return None;
    }
    while at > 0 && words[at].goes_on {
        at -= 1;
    }
    u32::try_from(sql[..words[at].start].chars().count() + 1).ok()
}

/// A name, or a word of the language.
struct Word {
    /// As it is folded, or what stands within its quotes.
    name: String,
    /// Where it begins, in bytes.
    start: usize,
    /// A point stands between it and the word before.
    goes_on: bool,
}

/// Words outside of literals and comments.
fn words(sql: &str) -> Vec<Word> {
    let mut words = vec![];
    let mut at = 0;
    // Since the last word nothing but a point has come.
    let mut goes_on = false;
    while let Some(c) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let start = at;
        at += match c {
            '\'' => literal(rest, '\''),
            '"' => literal(rest, '"'),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '$' => dollar(rest).unwrap_or(1),
            _ if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(rest.len())
            }
            _ => c.len_utf8(),
        };
        let text = &sql[start..at];
        let name = match c {
            '"' => Some(text.trim_matches('"').replace("\"\"", "\"")),
            _ if c.is_alphabetic() || c == '_' => Some(text.to_lowercase()),
            _ => None,
        };
        if let Some(name) = name {
            words.push(Word { name, start, goes_on: std::mem::take(&mut goes_on) });
        } else if c == '.' {
            goes_on = !words.is_empty();
        } else if !c.is_whitespace() {
            goes_on = false;
        }
    }
    words
}

/// Bytes of what stands between two quotes, which are doubled within.
fn literal(text: &str, quote: char) -> usize {
    let mut inner = text[1..].char_indices().peekable();
    while let Some((at, c)) = inner.next() {
        if c == quote && inner.next_if(|(_, next)| *next == quote).is_none() {
            return at + 2;
        }
    }
    text.len()
}

/// Bytes of a text between two `$tag$`.
fn dollar(text: &str) -> Option<usize> {
    let tag = &text[..text[1..].find('$')? + 2];
    let is_tag =
        tag[1..tag.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_') && !tag[1..].starts_with(char::is_numeric);
    is_tag.then(|| text[tag.len()..].find(tag).map_or(text.len(), |end| end + 2 * tag.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(message: &str, sql: &str) -> Option<u32> {
        placed(Error::invalid(code::UNDEFINED_COLUMN, message), sql).position
    }

    #[test]
    fn a_name_that_stands_once_has_its_place() {
        let x = "column \"x\" does not exist";
        assert_eq!(at(x, "SELECT x FROM t"), Some(8));
        assert_eq!(at(x, "SELECT 'x', \"x\" /* x */ -- x\n FROM t WHERE $$ x $$ = $q$x$q$"), Some(13));
        assert_eq!(at(x, "SELECT é, X FROM t"), Some(11));
        assert_eq!(at(x, "SELECT 1 FROM t WHERE t . x = 1"), Some(23));
        assert_eq!(at(x, "SELECT 1 FROM t WHERE t.x = 1"), Some(23));
        assert_eq!(at("function nofn does not exist", "SELECT nofn(1)"), Some(8));
        assert_eq!(at("relation \"a.b\" does not exist", "SELECT * FROM a.b"), Some(15));
    }

    #[test]
    fn what_may_stand_elsewhere_has_none() {
        let x = "column \"x\" does not exist";
        for sql in [
            "SELECT x FROM t WHERE x = 1",
            "SELECT y FROM v",
            "ALTER TABLE t DROP COLUMN x",
            "",
            "'",
            "\"",
            "$",
            "$a$",
            "/*",
            "$1",
        ] {
            assert_eq!(at(x, sql), None, "{sql}");
        }
        assert_eq!(at("column does not exist", "SELECT x"), None);
    }
}
