//! `t.*::text`, `t.* IS NULL` and `t.* = u.*` as `(t.*)::text` and so on: behind a star that begins an item or an argument sqlparser expects
//! nothing more. And `(t).*` as `t.*`. Linear.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Takes brackets away from names before stars, and puts some around stars that something follows.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let tokens = bare(tokens);
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

/// `(t).*` as `t.*`, where an item begins.
fn bare(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let places: Vec<usize> = (0..tokens.len()).filter(|i| !matches!(tokens[*i].token, Token::Whitespace(_))).collect();
    let at = |n: usize| places.get(n).map(|i| &tokens[*i].token);
    let begins = |token: Option<&Token>| match token {
        Some(Token::Comma | Token::LParen) => true,
        Some(Token::Word(w)) => {
            w.quote_style.is_none()
                && matches!(w.keyword, Keyword::SELECT | Keyword::DISTINCT | Keyword::ALL | Keyword::RETURNING)
        }
        _ => false,
    };
    let mut gone = vec![];
    for (n, _) in places.iter().enumerate().skip(5).filter(|(n, _)| at(*n) == Some(&Token::Mul)) {
        let named = at(n - 1) == Some(&Token::Period)
            && at(n - 2) == Some(&Token::RParen)
            && matches!(at(n - 3), Some(Token::Word(_)))
            && at(n - 4) == Some(&Token::LParen);
        if named && begins(at(n - 5)) {
            gone.extend([places[n - 4], places[n - 2]]);
        }
    }
    if gone.is_empty() {
        return tokens;
    }
    tokens.into_iter().enumerate().filter(|(i, _)| gone.binary_search(i).is_err()).map(|(_, t)| t).collect()
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
            ("SELECT (t).*, ( \"T\" ) . * FROM t", "SELECT t.*, \"T\".* FROM t"),
        ] {
            assert_eq!(read(sql), expected);
        }
    }
}
