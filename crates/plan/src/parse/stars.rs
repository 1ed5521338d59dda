//! `t.*::text`, `t.* IS NULL` and `t.* = u.*` as `(t.*)::text` and so on: behind a star that begins an item or an argument sqlparser expects
//! nothing more. Linear.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Puts brackets around stars that something follows.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let goes_on = |token: &Token| match token {
        Token::DoubleColon | Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => true,
        Token::Word(w) => w.quote_style.is_none() && w.keyword == Keyword::IS,
        _ => false,
    };
    let is_blank = |t: &TokenWithSpan| matches!(t.token, Token::Whitespace(_));
    let found = |i: usize| {
        i > 1
            && tokens[i].token == Token::Mul
            && tokens[i - 1].token == Token::Period
            && tokens[i + 1..].iter().find(|t| !is_blank(t)).is_some_and(|t| goes_on(&t.token))
    };
    let stars: Vec<usize> = (0..tokens.len()).filter(|i| found(*i)).collect();
    if stars.is_empty() {
        return tokens;
    }
    // Where the names before each star begin: words with points between them.
    let begin = |star: usize| {
        let mut at = star - 1;
        while at > 0 && matches!(tokens[at - 1].token, Token::Word(_)) {
            at -= 1;
            if at > 0 && tokens[at - 1].token == Token::Period { at -= 1 } else { break }
        }
        at
    };
    let begins: Vec<usize> = stars.iter().map(|star| begin(*star)).collect();
    let mut out = Vec::with_capacity(tokens.len() + 2 * stars.len());
    for (i, t) in tokens.into_iter().enumerate() {
        let span = t.span;
        if begins.binary_search(&i).is_ok() {
            out.push(TokenWithSpan { token: Token::LParen, span });
        }
        out.push(t);
        if stars.binary_search(&i).is_ok() {
            out.push(TokenWithSpan { token: Token::RParen, span });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::parse::{ParseLimits, parse_query};

    #[test]
    fn a_star_may_be_followed() {
        let read = |sql: &str| parse_query(sql, &ParseLimits::default()).expect("reads").to_string();
        for (sql, expected) in [
            ("SELECT md5(t.*::text), s.t.* IS NULL FROM t", "SELECT md5((t.*)::TEXT), (s.t.*) IS NULL FROM t"),
            ("SELECT t.*, 2.5 FROM t", "SELECT t.*, 2.5 FROM t"),
        ] {
            assert_eq!(read(sql), expected);
        }
    }
}
