//! Queries in brackets as operands, where sqlparser knows but SELECT and WITH behind the bracket: they become the query of FROM.
//!
//! ```text
//!   x < ANY ((SELECT 5) INTERSECT (SELECT 6))   ─▶   x < ANY (SELECT * FROM ((SELECT 5) INTERSECT (SELECT 6)) AS bracketed)
//!   x IN (VALUES (1)), SELECT (VALUES (1))      ─▶   x IN (SELECT * FROM (VALUES (1)) AS bracketed)
//! ```
//! Behind FROM, EXISTS, AS, ARRAY and where a statement begins sqlparser reads such queries itself, and they stay. Linear.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The alias, which nothing names.
const ALIAS: &str = "bracketed";

fn is(token: Option<&Token>, words: &[&str]) -> bool {
    matches!(token, Some(Token::Word(w)) if w.quote_style.is_none() && words.iter().any(|word| w.value.eq_ignore_ascii_case(word)))
}

/// Rewrites a text's tokens.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let tokens = match concerns(&tokens) {
        true => tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect::<Vec<_>>(),
        false => return tokens,
    };
    let at = |i: usize| tokens.get(i).map(|t| &t.token);
    let closes = closings(&tokens);
    // Brackets whose query is put into FROM.
    let mut wrapped = vec![false; tokens.len()];
    // Brackets within which a bracket is an operand: those of operands, of calls, of rows.
    let mut holds = vec![false; tokens.len()];
    // Of the brackets that are open, whether FROM's list is being read.
    let mut lists = vec![false];
    for (open, here) in tokens.iter().enumerate() {
        match Some(&here.token) {
            Some(Token::LParen) => {}
            Some(Token::RParen) => {
                if lists.len() > 1 {
                    lists.pop();
                }
                continue;
            }
            Some(Token::SemiColon) => {
                lists = vec![false];
                continue;
            }
            word => {
                // `IS DISTINCT FROM`
                let compares = open.checked_sub(1).is_some_and(|i| is(at(i), &["distinct"]))
                    && open.checked_sub(2).is_some_and(|i| is(at(i), &["is", "not"]));
                if let Some(list) = lists.last_mut().filter(|_| !compares) {
                    if is(word, &["from", "using", "join"]) {
                        *list = true;
                    } else if is(word, &["select", "where", "group", "order", "having", "returning", "set", "on"]) {
                        *list = false;
                    }
                }
                continue;
            }
        }
        let in_list = lists.last() == Some(&true);
        lists.push(false);
        let before = |n: usize| open.checked_sub(n).and_then(at);
        let quantified = match before(1) {
            all if is(all, &["all"]) => !is(before(2), &["union", "intersect", "except"]),
            word => is(word, &["any", "some"]),
        };
        let operator = matches!(
            before(1),
            Some(
                Token::Eq
                    | Token::Neq
                    | Token::Lt
                    | Token::Gt
                    | Token::LtEq
                    | Token::GtEq
                    | Token::Plus
                    | Token::Minus
                    | Token::Mul
                    | Token::Div
                    | Token::Mod
                    | Token::StringConcat
            )
        );
        let begins_operand = quantified
            || operator
            || is(before(1), &["select", "where", "and", "or", "not", "when", "then", "else", "on", "having"]);
        let listed = match before(1) {
            Some(Token::Comma) => !in_list,
            Some(Token::LParen) => holds[open - 1],
            _ => false,
        };
        let called = match before(1) {
            Some(Token::Word(w)) => {
                w.keyword == Keyword::NoKeyword && !is(before(2), &["into"])
                    || is(before(1), &["coalesce", "nullif", "greatest", "least", "values"])
            }
            _ => false,
        };
        holds[open] = begins_operand || listed || called;
        wrapped[open] = match at(open + 1) {
            // a column may be called so; behind IN the binder knows no query but SELECT
            word if is(word, &["values"]) && at(open + 2) == Some(&Token::LParen) => {
                begins_operand || listed || is(before(1), &["in"])
            }
            Some(Token::LParen) => (begins_operand || listed) && is_of_queries(&tokens, &closes, open),
            _ => false,
        };
    }
    if !wrapped.contains(&true) {
        return tokens;
    }
    let mut out = Vec::with_capacity(tokens.len() + 16);
    let mut ends = vec![false; tokens.len()];
    for (open, _) in wrapped.iter().enumerate().filter(|(_, wrapped)| **wrapped) {
        if let Some(close) = closes[open] {
            ends[close] = true;
        }
    }
    for (i, t) in tokens.into_iter().enumerate() {
        let span = t.span;
        let word = |token: Token| TokenWithSpan { token, span };
        if ends[i] {
            out.extend([Token::RParen, Token::make_keyword("AS"), Token::make_word(ALIAS, None)].map(word));
        }
        out.push(t);
        if wrapped[i] {
            let words = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM"), Token::LParen];
            out.extend(words.map(word));
        }
    }
    out
}

/// Whether there are two brackets side by side, or VALUES in one.
fn concerns(tokens: &[TokenWithSpan]) -> bool {
    let mut behind_bracket = false;
    tokens.iter().map(|t| &t.token).filter(|t| !matches!(t, Token::Whitespace(_))).any(|t| {
        let found = behind_bracket && (*t == Token::LParen || is(Some(t), &["values"]));
        behind_bracket = *t == Token::LParen;
        found
    })
}

/// Where each bracket closes.
fn closings(tokens: &[TokenWithSpan]) -> Vec<Option<usize>> {
    let mut closes = vec![None; tokens.len()];
    let mut open = vec![];
    for (i, t) in tokens.iter().enumerate() {
        match &t.token {
            Token::LParen => open.push(i),
            Token::RParen => {
                if let Some(open) = open.pop() {
                    closes[open] = Some(i);
                }
            }
            Token::SemiColon => open.clear(),
            _ => {}
        }
    }
    closes
}

/// Whether a bracket holds a query that begins with one in brackets, and goes on behind that.
fn is_of_queries(tokens: &[TokenWithSpan], closes: &[Option<usize>], open: usize) -> bool {
    let at = |i: usize| tokens.get(i).map(|t| &t.token);
    let first = (open + 1..).find(|i| at(*i) != Some(&Token::LParen)).unwrap_or(open);
    // brackets in brackets: no deeper than a statement may be nested
    let begins = is(at(first), &["select", "with", "values"]);
    let next = closes.get(open + 1).copied().flatten().and_then(|close| at(close + 1));
    begins && closes[open].is_some() && is(next, &["union", "intersect", "except", "order", "limit", "offset", "fetch"])
}

#[cfg(test)]
mod tests {
    use crate::parse::{ParseLimits, parse_query};

    fn read(sql: &str) -> String {
        parse_query(sql, &ParseLimits::default()).expect("reads").to_string()
    }

    #[test]
    fn a_set_operation_of_queries_in_brackets_is_an_operand() {
        let read_as = "(SELECT * FROM ((SELECT 5) INTERSECT (SELECT 5)) AS bracketed)";
        assert!(read("SELECT 1 < ANY ((SELECT 5) INTERSECT (SELECT 5))").contains(read_as));
        for sql in [
            "SELECT (((SELECT 1) UNION (SELECT 2)))",
            "SELECT 1 + ((SELECT 1) LIMIT 1)",
            "SELECT (VALUES (1)), 2 < ALL (VALUES (1), (2))",
            "SELECT coalesce((VALUES (1)), 2), a IS DISTINCT FROM b, (VALUES (1))",
            "VALUES (((SELECT 1) UNION (SELECT 2)), 3)",
        ] {
            assert!(read(sql).contains("bracketed"), "{sql}");
        }
    }

    #[test]
    fn what_the_parser_reads_by_itself_stays() {
        for sql in [
            "((SELECT 1) UNION ALL (SELECT 2)) INTERSECT (SELECT 3)",
            "SELECT * FROM ((SELECT 1) UNION (SELECT 2)) AS q",
            "SELECT 1 IN ((SELECT 1) UNION (SELECT 2))",
            "SELECT * FROM (VALUES (1)) AS v",
        ] {
            assert_eq!(read(sql).matches("bracketed").count(), 0, "{sql}");
        }
    }
}
