//! Strings that follow each other: across a line's end they are one string, as in standard SQL; on one line they are a mistake, where
//! sqlparser would take the second for a name.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

use super::{Result, position};
use crate::error::PlanError;

/// Joins strings. Linear.
///
/// # Errors
/// 42601 for two strings on one line.
pub(super) fn joined(sql: &str, tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let string = |t: &TokenWithSpan| matches!(t.token, Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_));
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // Where the last string stands in what is out, and whether a line has ended since.
    let mut last: Option<(usize, bool)> = None;
    for t in tokens {
        match (&t.token, last) {
            (Token::Whitespace(space), Some((at, ended))) => {
                let ends = matches!(space, Whitespace::Newline | Whitespace::SingleLineComment { .. });
                // A comment in brackets is none of the blanks that may stand between parts of a string.
                let comment = matches!(space, Whitespace::MultiLineComment(_));
                last = (!comment).then_some((at, ended || ends));
                out.push(t);
            }
            (Token::SingleQuotedString(more), Some((at, true))) => {
                if let Some(Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s)) = out.get_mut(at).map(|t| &mut t.token)
                {
                    s.push_str(more);
                }
            }
            (Token::SingleQuotedString(_), Some((_, false))) => {
                return Err(PlanError::Syntax {
                    sqlstate: "42601",
                    message: format!("syntax error at or near \"{}\"", t.token),
                    position: position(sql, t.span.start.line, t.span.start.column),
                    hint: Some("strings are joined by ||, or by a line's end between them".into()),
                });
            }
            _ => {
                last = string(&t).then_some((out.len(), false));
                out.push(t);
            }
        }
    }
    Ok(out)
}
