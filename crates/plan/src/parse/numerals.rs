//! Numbers that run into what follows them: `1abc`, `0x1F`, `1_000`. sqlparser takes the rest for a name, or reads numbers of other
//! bases; PostgreSQL 15 refuses all of them. Linear; knows nothing but tokens and where they stand.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{Result, position};
use crate::error::PlanError;

/// Refuses numbers with something behind them.
///
/// # Errors
/// 42601.
pub(super) fn check(sql: &str, tokens: &[TokenWithSpan]) -> Result<()> {
    for (at, t) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1);
        let (what, shown) = match &t.token {
            Token::Number(n, long) => match next.map(|next| &next.token) {
                Some(Token::Word(w)) if w.quote_style.is_none() => ("numeric literal", format!("{n}{}", w.value)),
                _ if *long => ("numeric literal", format!("{n}L")),
                _ if n.contains('_') => ("numeric literal", n.clone()),
                _ => continue,
            },
            // `0x1F`, not `X'1F'`.
            Token::HexStringLiteral(digits) if width(t) == Some(digits.len() + 2) => ("numeric literal", format!("0x{digits}")),
            Token::Placeholder(name) => match name.strip_prefix('$') {
                Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) && !rest.bytes().all(|b| b.is_ascii_digit()) => {
                    ("parameter", name.clone())
                }
                _ => continue,
            },
            _ => continue,
        };
        return Err(PlanError::Syntax {
            sqlstate: "42601",
            message: format!("trailing junk after {what} at or near \"{shown}\""),
            position: position(sql, t.span.start.line, t.span.start.column),
            hint: None,
        });
    }
    Ok(())
}

/// How many characters a token of one line has.
fn width(t: &TokenWithSpan) -> Option<usize> {
    let one_line = t.span.start.line == t.span.end.line;
    let n = t.span.end.column.checked_sub(t.span.start.column)?;
    usize::try_from(n).ok().filter(|_| one_line)
}

#[cfg(test)]
mod tests {
    use crate::parse::{ParseLimits, parse};

    #[test]
    fn numbers_with_something_behind_them_are_no_numbers() {
        let bad = [
            "0b11", "0x1F", "0o7", "1abc", "1_000", "123.5abc", "1e", "1e5x", "1.a", "0x", "1.5e+", "$1abc", "1e+ 5", ".5a",
            "1from t",
        ];
        for text in bad {
            let error = parse(&format!("SELECT {text}"), &ParseLimits::default()).expect_err(text);
            assert_eq!(error.sqlstate(), "42601", "{text}");
            assert!(error.to_string().contains("trailing junk"), "{text}: {error}");
        }
        for text in
            ["1 a", "1.e5", "1e5", "-1", "1 /* x */ a", "1+2", "x", "X'1F'", "1::int", "$1", "a1b", "1.5 AS b", "'0x1F'", "(1)"]
        {
            parse(&format!("SELECT {text}"), &ParseLimits::default()).expect(text);
        }
        parse("SELECT * FROM v@2 WHERE a IN (1,2)", &ParseLimits::default()).expect("a version");
    }
}
