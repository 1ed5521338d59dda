//! `U&'d\0061t'` and `U&"d\0061t"`, with or without `UESCAPE '!'`: strings and names whose characters are written by their numbers.
//!
//! The dialect leaves U, & and the quoted text as three tokens; where nothing stands between them they are one. Linear.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use super::{Result, position};
use crate::error::PlanError;
use crate::functions::unistr::unescape;

/// Reads them.
///
/// # Errors
/// 42601 for an escape that is none.
pub(super) fn rewrite(sql: &str, tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    if !tokens.iter().any(|t| t.token == Token::Ampersand) {
        return Ok(tokens);
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.as_slice();
    while let [first, more @ ..] = rest {
        let Some((quoted, behind)) = begins(first, more) else {
            out.push(first.clone());
            rest = more;
            continue;
        };
        let wrong = |message: String| PlanError::Syntax {
            sqlstate: "42601",
            message,
            position: position(sql, first.span.start.line, first.span.start.column),
            hint: None,
        };
        // Behind a line's end the string goes on, and so do its escapes.
        let (parts, behind) = match quoted {
            Token::SingleQuotedString(_) => parts(behind),
            _ => (vec![], behind),
        };
        let (escape, behind) = match escape(behind) {
            Some((text, behind)) => {
                let mut chars = text.chars();
                let one = chars.next().filter(|c| chars.next().is_none() && may_escape(*c));
                (one.ok_or_else(|| wrong("invalid Unicode escape character".to_owned()))?, behind)
            }
            None => ('\\', behind),
        };
        let read = |text: &str| -> Result<String> {
            let mut out = String::with_capacity(text.len());
            unescape(text, escape, false, &mut out).map_err(|e| wrong(e.message))?;
            Ok(out)
        };
        let token = match quoted {
            Token::SingleQuotedString(text) => {
                let whole = std::iter::once(text.as_str()).chain(parts).collect::<String>();
                Token::SingleQuotedString(read(&whole)?)
            }
            Token::Word(w) => Token::Word(Word { value: read(&w.value)?, quote_style: Some('"'), keyword: Keyword::NoKeyword }),
            other => other.clone(),
        };
        out.push(TokenWithSpan { token, span: first.span });
        rest = behind;
    }
    Ok(out)
}

/// The quoted text of such a string or name, and what is behind it.
fn begins<'a>(first: &TokenWithSpan, more: &'a [TokenWithSpan]) -> Option<(&'a Token, &'a [TokenWithSpan])> {
    let [and, quoted, behind @ ..] = more else { return None };
    let is_u = matches!(&first.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("u"));
    let close = first.span.end == and.span.start && and.span.end == quoted.span.start;
    let is_quoted = matches!(&quoted.token, Token::SingleQuotedString(_) | Token::Word(Word { quote_style: Some('"'), .. }));
    (is_u && and.token == Token::Ampersand && close && is_quoted).then_some((&quoted.token, behind))
}

/// Strings that follow, each on a line of its own, and what is behind them.
fn parts(mut rest: &[TokenWithSpan]) -> (Vec<&str>, &[TokenWithSpan]) {
    let mut parts = vec![];
    loop {
        let blanks = rest.iter().take_while(|t| matches!(t.token, Token::Whitespace(_))).count();
        let new_line = rest.iter().take(blanks).any(|t| match &t.token {
            Token::Whitespace(Whitespace::Newline) => true,
            Token::Whitespace(Whitespace::SingleLineComment { comment, .. }) => comment.ends_with('\n'),
            _ => false,
        });
        match rest.get(blanks).map(|t| &t.token) {
            Some(Token::SingleQuotedString(text)) if new_line => parts.push(text.as_str()),
            _ => return (parts, rest),
        }
        rest = rest.get(blanks + 1..).unwrap_or_default();
    }
}

/// The text of UESCAPE, if that follows, and what is behind it.
fn escape(rest: &[TokenWithSpan]) -> Option<(&str, &[TokenWithSpan])> {
    let skip = |tokens: &mut &[TokenWithSpan]| {
        while let [first, more @ ..] = *tokens
            && matches!(first.token, Token::Whitespace(_))
        {
            *tokens = more;
        }
    };
    let mut rest = rest;
    skip(&mut rest);
    let [word, more @ ..] = rest else { return None };
    if !matches!(&word.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("uescape")) {
        return None;
    }
    rest = more;
    skip(&mut rest);
    match rest {
        [TokenWithSpan { token: Token::SingleQuotedString(text), .. }, behind @ ..] => Some((text, behind)),
        _ => None,
    }
}

fn may_escape(c: char) -> bool {
    !(c.is_ascii_hexdigit() || c.is_ascii_whitespace() || matches!(c, '+' | '\'' | '"'))
}

#[cfg(test)]
mod tests {
    use crate::parse::{ParseLimits, Statement, parse};

    fn read(sql: &str) -> Result<String, String> {
        match parse(sql, &ParseLimits::default()) {
            Ok(all) => match all.as_slice() {
                [Statement::Query(q)] => Ok(q.to_string()),
                other => Err(format!("{other:?}")),
            },
            Err(e) => Err(e.to_string()),
        }
    }

    #[test]
    fn characters_are_read_by_their_numbers() {
        // as PostgreSQL reads them
        for (sql, same) in [
            (r"SELECT U&'d\0061t\+000061' AS x", "SELECT 'data' AS x"),
            (r"SELECT u&'\\ \D83D\DE00' AS x", "SELECT '\\ \u{1f600}' AS x"),
            (r#"SELECT U&"d\0061t" FROM t"#, r#"SELECT "dat" FROM t"#),
            ("SELECT U&'d\\0061'\n '\\0062' -- x\n 'c' AS x", "SELECT 'dabc' AS x"),
            ("SELECT U&'d!0061t!!' UESCAPE '!' AS x", "SELECT 'dat!' AS x"),
            ("SELECT U & 'x' AS x FROM t", "SELECT U & 'x' AS x FROM t"),
        ] {
            assert_eq!(read(sql).as_deref(), Ok(same), "{sql}");
        }
        for sql in [r"SELECT U&'\00'", r"SELECT U&'\D83D'", "SELECT U&'x' UESCAPE 'a'", r"SELECT U&'\0000'"] {
            assert!(read(sql).is_err(), "{sql}");
        }
    }
}
