//! `ROWS '1' PRECEDING`: sqlparser takes a text as a frame's offset for an interval, and PostgreSQL for what the frame counts in. In brackets
//! it is a text to both (`crate::lower` gives it its type). Linear.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

fn keyword(t: Option<&TokenWithSpan>) -> Option<Keyword> {
    match t.map(|t| &t.token) {
        Some(Token::Word(w)) if w.quote_style.is_none() => Some(w.keyword),
        _ => None,
    }
}

/// Puts brackets around texts that are offsets, with or without a cast.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let bounds = |t: &TokenWithSpan| matches!(keyword(Some(t)), Some(Keyword::PRECEDING | Keyword::FOLLOWING));
    if !tokens.iter().any(bounds) {
        return tokens;
    }
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let is_offset = |i: usize| {
        let begins = matches!(
            i.checked_sub(1).and_then(|before| keyword(tokens.get(before))),
            Some(Keyword::ROWS | Keyword::RANGE | Keyword::GROUPS | Keyword::BETWEEN | Keyword::AND)
        );
        let cast = tokens.get(i + 1).is_some_and(|t| t.token == Token::DoubleColon);
        begins && (cast || tokens.get(i + 1).is_some_and(bounds))
    };
    let found: Vec<bool> =
        (0..tokens.len()).map(|i| matches!(tokens[i].token, Token::SingleQuotedString(_)) && is_offset(i)).collect();
    let mut out = Vec::with_capacity(tokens.len() + 4);
    for (t, is_offset) in tokens.into_iter().zip(found) {
        let span = t.span;
        match is_offset {
            true => out.extend([TokenWithSpan { token: Token::LParen, span }, t, TokenWithSpan { token: Token::RParen, span }]),
            false => out.push(t),
        }
    }
    out
}
