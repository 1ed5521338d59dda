//! `a JOIN b JOIN c ON p ON q`, whose inner join comes first, as `a JOIN (b JOIN c ON p) ON q`: a condition belongs to the last join that
//! has none yet. CROSS and NATURAL joins take none. Linear.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// A join that waits for its condition.
struct Open {
    depth: usize,
    /// The place of its word JOIN.
    at: usize,
    /// Another join has begun on its right side.
    holds: bool,
}

fn keyword(t: &TokenWithSpan) -> Option<Keyword> {
    match &t.token {
        Token::Word(w) if w.quote_style.is_none() => Some(w.keyword),
        _ => None,
    }
}

/// Puts brackets around right sides that are joins.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if tokens.iter().filter(|t| keyword(t) == Some(Keyword::JOIN)).take(2).count() < 2 {
        return tokens;
    }
    let (mut depth, mut open): (usize, Vec<Open>) = (0, vec![]);
    // Behind which words a bracket opens, and before which one closes.
    let (mut opens, mut closes) = (vec![], vec![]);
    for (i, t) in tokens.iter().enumerate() {
        match &t.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth = depth.saturating_sub(1);
                while open.pop_if(|o| o.depth > depth).is_some() {}
            }
            Token::SemiColon => (depth, open) = (0, vec![]),
            _ => {}
        }
        let here = |open: &[Open]| open.last().is_some_and(|o| o.depth == depth);
        match keyword(t) {
            Some(Keyword::JOIN) => {
                if let Some(outer) = open.last_mut().filter(|o| o.depth == depth) {
                    outer.holds = true;
                }
                if takes_condition(&tokens[..i]) {
                    open.push(Open { depth, at: i, holds: false });
                }
            }
            Some(Keyword::ON | Keyword::USING) if here(&open) => {
                if let Some(join) = open.pop().filter(|join| join.holds) {
                    opens.push(join.at);
                    closes.push(i);
                }
            }
            // another relation, or another clause: what waits still has no condition
            Some(Keyword::WHERE | Keyword::GROUP | Keyword::ORDER | Keyword::HAVING | Keyword::SELECT) => {
                while open.pop_if(|o| o.depth >= depth).is_some() {}
            }
            _ => {}
        }
    }
    if opens.is_empty() {
        return tokens;
    }
    opens.sort_unstable();
    closes.sort_unstable();
    let mut out = Vec::with_capacity(tokens.len() + 2 * opens.len());
    for (i, t) in tokens.into_iter().enumerate() {
        let span = t.span;
        if closes.binary_search(&i).is_ok() {
            out.push(TokenWithSpan { token: Token::RParen, span });
        }
        out.push(t);
        if opens.binary_search(&i).is_ok() {
            out.push(TokenWithSpan { token: Token::LParen, span });
        }
    }
    out
}

/// Whether the join whose other words stand last here is neither CROSS nor NATURAL.
fn takes_condition(before: &[TokenWithSpan]) -> bool {
    let mut words = before.iter().rev().filter(|t| !matches!(t.token, Token::Whitespace(_))).map(keyword);
    let kind = |word: &Option<Keyword>| {
        matches!(word, Some(Keyword::INNER | Keyword::LEFT | Keyword::RIGHT | Keyword::FULL | Keyword::OUTER | Keyword::ASOF))
    };
    let first = words.find(|word| !kind(word)).flatten();
    !matches!(first, Some(Keyword::CROSS | Keyword::NATURAL))
}

#[cfg(test)]
mod tests {
    use crate::parse::{ParseLimits, parse_query};

    #[test]
    fn a_condition_belongs_to_the_last_join_without_one() {
        let read = |sql: &str| parse_query(sql, &ParseLimits::default()).expect("reads").to_string();
        for (sql, expected) in [
            ("SELECT 1 FROM a JOIN b JOIN c ON p ON q", "SELECT 1 FROM a JOIN (b JOIN c ON p) ON q"),
            ("SELECT 1 FROM a LEFT JOIN b CROSS JOIN c ON q", "SELECT 1 FROM a LEFT JOIN (b CROSS JOIN c) ON q"),
            (
                "SELECT 1 FROM a JOIN b NATURAL JOIN c JOIN d USING (k) ON q",
                "SELECT 1 FROM a JOIN (b NATURAL JOIN c JOIN d USING(k)) ON q",
            ),
            (
                "SELECT 1 FROM a JOIN b FULL JOIN c JOIN d ON p ON q ON r",
                "SELECT 1 FROM a JOIN (b FULL JOIN (c JOIN d ON p) ON q) ON r",
            ),
            ("SELECT 1 FROM a JOIN b ON p JOIN c ON q", "SELECT 1 FROM a JOIN b ON p JOIN c ON q"),
            ("SELECT 1 FROM a NATURAL JOIN b JOIN c ON q", "SELECT 1 FROM a NATURAL JOIN b JOIN c ON q"),
            (
                "SELECT 1 FROM a JOIN (SELECT 1 FROM b JOIN c ON p) AS s ON q",
                "SELECT 1 FROM a JOIN (SELECT 1 FROM b JOIN c ON p) AS s ON q",
            ),
        ] {
            assert_eq!(read(sql), expected, "{sql}");
        }
        assert!(parse_query("SELECT 1 FROM a JOIN b JOIN c ON p ON q ON r", &ParseLimits::default()).is_err());
    }
}
