//! Words of GROUP BY and FROM that sqlparser does not read, put another way in the tokens.
//!
//! ```text
//!   GROUP BY DISTINCT a, ROLLUP (b)                 ─▶  GROUP BY "mark", a, ROLLUP (b)      (`crate::bind::grouping` takes the mark away)
//!   GROUP BY ALL a, ROLLUP (b)                      ─▶  GROUP BY a, ROLLUP (b)
//!   GROUPING SETS (GROUPING SETS (a, b), c)         ─▶  GROUPING SETS (a, b, c): sets of sets are sets
//!   trim(from x), trim(both from x)                 ─▶  trim(both ' ' from x)
//!   FROM ROWS FROM (f(1), g(2)) WITH ORDINALITY     ─▶  FROM regauge_rows_from(f(1), g(2)) WITH ORDINALITY
//! ```
//! Linear.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// The key that stands for DISTINCT.
pub(crate) const DISTINCT_SETS: &str = "\u{1}distinct sets";

/// The function that stands for ROWS FROM.
pub(crate) const ROWS_FROM: &str = "regauge_rows_from";

fn is(token: Option<&Token>, word: &str) -> bool {
    matches!(token, Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// What an open bracket holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// Sets of GROUPING SETS.
    Sets,
    /// The same within others: the bracket itself has gone.
    Inner,
    /// Anything else; whether FROM is the clause that is being read.
    Other { from: bool },
}

/// Whether a key of GROUP BY begins here. ALL by itself means other systems' all columns.
fn begins_key(token: Option<&Token>) -> bool {
    match token {
        word if is(word, "emit") => false,
        Some(Token::Word(w)) if w.quote_style.is_none() => !matches!(
            w.keyword,
            Keyword::HAVING
                | Keyword::ORDER
                | Keyword::LIMIT
                | Keyword::OFFSET
                | Keyword::FETCH
                | Keyword::WINDOW
                | Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::FOR
                | Keyword::AS
                | Keyword::ON
                | Keyword::RETURNING
                | Keyword::QUALIFY
                | Keyword::WITH
        ),
        Some(Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::LParen) => true,
        _ => false,
    }
}

/// Rewrites a text's tokens.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let concerns = |t: &TokenWithSpan| ["rows", "sets", "group", "trim"].iter().any(|word| is(Some(&t.token), word));
    if !tokens.iter().any(concerns) {
        return tokens;
    }
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut open = vec![Open::Other { from: false }];
    let mut i = 0;
    while let Some(t) = tokens.get(i) {
        let at = |i: usize| tokens.get(i).map(|t| &t.token);
        let here = i;
        let before = |n: usize| here.checked_sub(n).and_then(at);
        i += 1;
        match &t.token {
            Token::LParen => open.push(Open::Other { from: false }),
            Token::RParen => {
                let closed = if open.len() > 1 { open.pop() } else { None };
                if closed == Some(Open::Inner) {
                    continue;
                }
            }
            Token::SemiColon => open = vec![Open::Other { from: false }],
            word if is(Some(word), "grouping") && is(at(i), "sets") && at(i + 1) == Some(&Token::LParen) => {
                if matches!(open.last(), Some(Open::Sets | Open::Inner)) {
                    open.push(Open::Inner);
                    i += 2;
                    continue;
                }
                out.extend(tokens[i - 1..i + 2].iter().cloned());
                open.push(Open::Sets);
                i += 2;
                continue;
            }
            word if is(Some(word), "trim") && at(i) == Some(&Token::LParen) => {
                let side = ["both", "leading", "trailing"].into_iter().find(|side| is(at(i + 1), side));
                let from = i + 1 + usize::from(side.is_some());
                if is(at(from), "from") {
                    let blank = Token::SingleQuotedString(" ".into());
                    let words = [t.token.clone(), Token::LParen, Token::make_keyword(side.unwrap_or("both")), blank];
                    out.extend(words.map(|token| TokenWithSpan { token, span: t.span }));
                    open.push(Open::Other { from: false });
                    i = from;
                    continue;
                }
            }
            word if is(Some(word), "by") && is(before(1), "group") => match at(i) {
                next if is(next, "distinct") => {
                    out.push(t.clone());
                    let mark = Word { value: DISTINCT_SETS.into(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
                    out.extend([Token::Word(mark), Token::Comma].map(|token| TokenWithSpan { token, span: t.span }));
                    i += 1;
                    continue;
                }
                next if is(next, "all") && begins_key(at(i + 1)) => {
                    out.push(t.clone());
                    i += 1;
                    continue;
                }
                _ => {}
            },
            word if is(Some(word), "rows") && is(at(i), "from") && at(i + 1) == Some(&Token::LParen) => {
                let in_from = open.last() == Some(&Open::Other { from: true });
                let begins = match before(1) {
                    Some(Token::Comma) => in_from,
                    Some(Token::LParen) => is(before(2), "from") || is(before(2), "join") || before(2) == Some(&Token::LParen),
                    word => is(word, "from") || is(word, "join") || is(word, "lateral"),
                };
                if begins {
                    let name = Token::make_word(ROWS_FROM, None);
                    out.push(TokenWithSpan { token: name, span: t.span });
                    i += 1;
                    continue;
                }
            }
            Token::Word(w) if w.quote_style.is_none() => {
                if let Some(Open::Other { from }) = open.last_mut() {
                    match w.keyword {
                        // not that of IS DISTINCT FROM
                        Keyword::FROM => *from |= !is(before(1), "distinct"),
                        Keyword::SELECT
                        | Keyword::WHERE
                        | Keyword::GROUP
                        | Keyword::ORDER
                        | Keyword::HAVING
                        | Keyword::RETURNING => {
                            *from = false;
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        out.push(t.clone());
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::parse::{ParseLimits, parse_query};

    fn read(sql: &str) -> String {
        parse_query(sql, &ParseLimits::default()).expect("reads").to_string()
    }

    #[test]
    fn sets_of_sets_are_sets() {
        let flat = read("SELECT 1 FROM t GROUP BY GROUPING SETS (GROUPING SETS (a, (b, c)), d)");
        assert_eq!(flat, read("SELECT 1 FROM t GROUP BY GROUPING SETS (a, (b, c), d)"));
    }

    #[test]
    fn columns_called_rows_stay() {
        for sql in ["SELECT rows FROM (SELECT 1 AS rows) AS t", "SELECT a, rows FROM (SELECT 1 AS a, 2 AS rows) AS t"] {
            assert_eq!(read(sql), sql);
        }
        assert!(read("SELECT 1 FROM a, ROWS FROM (f(1), g(2)) AS r").contains("regauge_rows_from(f(1), g(2)) AS r"));
    }
}
