//! JSON: what text is JSON, jsonb's canonical text, and finding a value within a text.
//!
//! ```text
//!   text ──tree::parse──▶ Json ──write──▶ jsonb: keys by length, then bytes, the last of equal ones; numbers without exponents; `", "`, `": "`
//!   json keeps the text that was written
//!   stored text ──slice──▶ the part of it that a key or a place means, without parsing the rest
//! ```
//! Numbers are never doubles: they keep their digits. Text nested deeper than [`DEPTH_MAX`] is refused (54001) before any stack could
//! end; a number whose exponent stands for more than [`EXPANDED_MAX`] digits is refused (22003), where PostgreSQL goes on to 131,072.

mod number;
pub mod path;
pub mod slice;
mod tree;

pub use number::canonical_number;
pub use tree::{Json, parse, sort_keys, write_text};

use crate::functions::error::{EvalError, EvalResult};

/// Arrays and objects within each other.
pub const DEPTH_MAX: usize = 512;
/// Digits that an exponent stands for.
pub const EXPANDED_MAX: usize = 1_000;

/// jsonb's text of a JSON text.
///
/// # Errors
/// 22P02 for what is no JSON, 22P05 for `\u0000`, 22003 for a number that is too long, 54001 for too many levels.
pub fn canonical(text: &str) -> EvalResult<String> {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    parse(text, true)?.write(&mut out);
    Ok(out)
}

/// Is it JSON?
///
/// # Errors
/// 22P02, 54001.
pub fn check(text: &str) -> EvalResult<()> {
    parse(text, false).map(drop)
}

fn bad(detail: &str) -> EvalError {
    EvalError::new("22P02", format!("invalid input syntax for type json: {detail}"))
}

fn too_deep() -> EvalError {
    EvalError::new("54001", format!("stack depth limit exceeded: JSON has more than {DEPTH_MAX} levels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jsonb_is_printed_as_postgres_prints_it() {
        for (text, shown) in [
            (r#"{"bb":1,"a":2,"a":3,"":null}"#, r#"{"": null, "a": 3, "bb": 1}"#),
            ("[1e2,1.50,-0,-0.0,1E-3,1.5e1,1.50e1,12e-1]", "[100, 1.50, 0, 0.0, 0.001, 15, 15.0, 1.2]"),
            (r#" "\u00e9\/\u0041\ud83d\ude00\n\u001f" "#, "\"é/A😀\\n\\u001f\""),
            ("[ ]", "[]"),
            ("{ }", "{}"),
            (" true ", "true"),
            ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
            ("0e10", "0"),
            ("0.0e-2", "0.000"),
        ] {
            assert_eq!(canonical(text).unwrap(), shown);
            assert_eq!(canonical(shown).unwrap(), shown);
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "tru",
            "nullx",
            "01",
            "1.",
            ".5",
            "-",
            "1e",
            "+1",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"a\nb\"",
            "1 2",
            "[1]]",
            "'a'",
            "NaN",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\u0041\"",
        ] {
            assert_eq!(canonical(text).unwrap_err().sqlstate, "22P02", "{text}");
            assert_eq!(check(text).is_err(), !text.contains("\\ud"), "{text}");
        }
        assert_eq!(canonical("\"\\u0000\"").unwrap_err().sqlstate, "22P05");
        assert!(check("\"\\u0000\"").is_ok());
        assert_eq!(canonical("1e2000").unwrap_err().sqlstate, "22003");
        assert_eq!(canonical("1e-99999999999999999999").unwrap_err().sqlstate, "22003");
    }

    #[test]
    fn a_text_of_many_levels_is_refused_and_no_stack_ends() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(canonical(&nested(DEPTH_MAX)).is_ok());
        for n in [DEPTH_MAX + 1, 10_000, 1_000_000] {
            assert_eq!(canonical(&nested(n)).unwrap_err().sqlstate, "54001");
            assert_eq!(check(&"{\"a\":".repeat(n)).unwrap_err().sqlstate, "54001");
        }
    }
}
