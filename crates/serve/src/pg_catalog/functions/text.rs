//! Functions over text that only catalogue readers use, or that need what DataFusion's do not do.

use super::{Fault, Function, Ret, int, text};
use crate::pg_catalog::{
    facts::Facts,
    shape::{Cell, Ty},
};

const fn f(name: &'static str, ret: Ty, body: fn(&Facts, &[Cell]) -> Result<Cell, Fault>) -> Function {
    Function { name, ret: Ret::Is(ret), strict: true, body }
}

pub const FUNCTIONS: &[Function] = &[
    f("pg_size_pretty", Ty::Text, |_, a| Ok(int(a, 0).map(pretty).into())),
    f("like_escape", Ty::Text, |_, a| {
        let escape = text(a, 1).and_then(|e| e.chars().next());
        Ok(text(a, 0).map(|p| with_backslash(&p, escape)).into())
    }),
];

fn pretty(bytes: i64) -> String {
    let mut value = bytes;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if value.unsigned_abs() < 10 * 1024 || unit == "TB" {
            return format!("{value} {unit}");
        }
        value = (value + 512) / 1024;
    }
    format!("{bytes} bytes")
}

/// A LIKE pattern with another escape character, as one with a backslash. `None`: there is no escape character.
fn with_backslash(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            out.push('\\');
            out.extend(chars.next());
        } else if c == '\\' {
            out.push_str("\\\\");
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_their_meaning_under_another_escape() {
        assert_eq!(with_backslash("pg/_%", Some('/')), "pg\\_%");
        assert_eq!(with_backslash("a\\b//", Some('/')), "a\\\\b\\/");
        assert_eq!(with_backslash("100\\%", None), "100\\\\%");
    }

    #[test]
    fn sizes_are_rounded_as_postgres_does() {
        assert_eq!(pretty(0), "0 bytes");
        assert_eq!(pretty(10_240), "10 kB");
        assert_eq!(pretty(7_634_479), "7456 kB");
    }
}
