//! `EMIT FINAL` and `EMIT ON WINDOW CLOSE` at the end of a materialized view's query, which sqlparser would take for an alias: the
//! words go, and [`MARK`] stands where they stood, a token that ends every query.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Result;
use crate::error::PlanError;

/// A character that no statement has a use for.
pub(super) const MARK: Token = Token::Char('\u{1}');

/// The words where they do not belong.
pub(super) fn misplaced() -> PlanError {
    PlanError::unsupported(
        "EMIT FINAL stands at the end of a materialized view's query",
        "write CREATE MATERIALIZED VIEW v WITH (late = 'divert') AS SELECT .. EMIT FINAL, and SELECT from v",
    )
}

/// Puts marks in the place of the words. Linear.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let is = |t: &Token, s: &str| matches!(t, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(s));
    if !tokens.iter().any(|t| is(&t.token, "emit") || t.token == MARK) {
        return Ok(tokens);
    }
    let places: Vec<usize> = (0..tokens.len()).filter(|i| !matches!(tokens[*i].token, Token::Whitespace(_))).collect();
    let at = |n: usize| places.get(n).map_or(&Token::EOF, |i| &tokens[*i].token);
    let mut out = Vec::with_capacity(tokens.len());
    let (mut n, mut next) = (0, 0);
    while let Some(place) = places.get(n).copied() {
        out.extend(tokens[next..place].iter().cloned());
        let n_words = match () {
            () if !is(at(n), "emit") => 0,
            () if is(at(n + 1), "final") => 2,
            () if is(at(n + 1), "on") && is(at(n + 2), "window") && is(at(n + 3), "close") => 4,
            () => 0,
        };
        let ends = matches!(at(n + n_words), Token::EOF | Token::SemiColon | Token::RParen) || is(at(n + n_words), "with");
        let token = tokens[place].clone();
        if n_words == 0 || !ends {
            // what a text itself has of these is as wrong as any other character
            let token = if token.token == MARK { TokenWithSpan { token: Token::Char('\u{2}'), ..token } } else { token };
            out.push(token);
            (n, next) = (n + 1, place + 1);
            continue;
        }
        if *at(n + n_words) == Token::RParen {
            return Err(misplaced());
        }
        out.push(TokenWithSpan { token: MARK, ..token });
        next = places.get(n + n_words - 1).map_or(tokens.len(), |i| i + 1);
        n += n_words;
    }
    out.extend(tokens[next..].iter().cloned());
    Ok(out)
}
