//! `substring(x SIMILAR p ESCAPE e)`, which sqlparser does not read, becomes `substring(x FROM p FOR e)`, by which PostgreSQL means the
//! same. Works on tokens; linear. Without its ESCAPE the call is left alone, and is the syntax error that it is in PostgreSQL.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// A bracket that is open.
struct Bracket {
    /// It holds the arguments of `substring`.
    is_substring: bool,
    /// Where its SIMILAR stands that waits for an ESCAPE.
    similar: Option<usize>,
}

fn is(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Rewrites the calls.
pub(super) fn rewrite(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    for (place, word) in places(&tokens) {
        if let Some(t) = tokens.get_mut(place) {
            t.token = Token::make_keyword(word);
        }
    }
    tokens
}

/// The tokens that become another word.
fn places(tokens: &[TokenWithSpan]) -> Vec<(usize, &'static str)> {
    let mut found = vec![];
    if !tokens.iter().any(|t| is(&t.token, "similar")) {
        return found;
    }
    let mut open: Vec<Bracket> = vec![];
    let mut written = tokens.iter().enumerate().filter(|(_, t)| !matches!(t.token, Token::Whitespace(_))).peekable();
    let mut before: Option<&Token> = None;
    while let Some((at, t)) = written.next() {
        let token = &t.token;
        match token {
            Token::LParen => {
                open.push(Bracket { is_substring: before.is_some_and(|b| is(b, "substring")), similar: None });
            }
            Token::RParen => {
                open.pop();
            }
            Token::SemiColon => open.clear(),
            word => {
                let Some(bracket) = open.last_mut().filter(|b| b.is_substring) else {
                    before = Some(token);
                    continue;
                };
                // `x SIMILAR TO p` is a condition.
                let is_condition = written.peek().is_some_and(|(_, next)| is(&next.token, "to"));
                if is(word, "similar") && !is_condition {
                    bracket.similar = Some(at);
                } else if is(word, "escape")
                    && let Some(similar) = bracket.similar.take()
                {
                    found.extend([(similar, "FROM"), (at, "FOR")]);
                }
            }
        }
        before = Some(token);
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::parse::{ParseLimits, Statement, parse};

    fn read(sql: &str) -> Option<String> {
        let mut statements = parse(sql, &ParseLimits::default()).ok()?;
        match statements.pop() {
            Some(Statement::Query(query)) => Some(query.to_string()),
            _ => None,
        }
    }

    #[test]
    fn a_call_with_similar_is_the_one_with_from_and_for() {
        for (similar, from) in [
            ("SELECT substring(a SIMILAR b ESCAPE c)", "SELECT substring(a FROM b FOR c)"),
            (
                "SELECT substring (a || x similar 'p' || q escape '#') FROM t",
                "SELECT substring(a || x FROM 'p' || q FOR '#') FROM t",
            ),
            (
                "SELECT substring(substring(a SIMILAR b ESCAPE c) SIMILAR (d) ESCAPE e)",
                "SELECT substring(substring(a FROM b FOR c) FROM (d) FOR e)",
            ),
        ] {
            let expected = read(from);
            assert!(expected.is_some(), "{from}");
            assert_eq!(read(similar), expected, "{similar}");
        }
    }

    #[test]
    fn what_is_no_such_call_is_left_alone() {
        for sql in ["SELECT a SIMILAR TO b ESCAPE 'c'", "SELECT upper(CASE WHEN a SIMILAR TO b ESCAPE 'c' THEN d END)"] {
            assert!(read(sql).is_some_and(|read| read.contains("SIMILAR TO")), "{sql}");
        }
        for sql in ["SELECT substring(a SIMILAR b)", "SELECT upper(a SIMILAR b ESCAPE c)", "SELECT substring(a ESCAPE c)"] {
            assert_eq!(read(sql), None, "{sql}");
        }
    }
}
