//! `GENERATED .. AS IDENTITY (START WITH 10 INCREMENT BY 5)`: sqlparser takes the options in one order, PostgreSQL (and what its pg_dump
//! writes) in any. They are put into that order.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The order in which sqlparser asks for them.
const ORDER: [&str; 6] = ["increment", "minvalue", "maxvalue", "start", "cache", "cycle"];

/// Options of columns in sqlparser's order. Linear in the text.
pub(super) fn rewrite(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut at = 0;
    while at < tokens.len() {
        let open = if word(&tokens[at]).as_deref() == Some("identity") { next(&tokens, at + 1) } else { None };
        if let Some(open) = open.filter(|open| tokens[*open].token == Token::LParen)
            && let Some(close) = (open..tokens.len()).find(|i| tokens[*i].token == Token::RParen)
            && let Some(options) = ordered(&tokens[open + 1..close])
        {
            tokens.splice(open + 1..close, options);
        }
        at += 1;
    }
    tokens
}

fn word(t: &TokenWithSpan) -> Option<String> {
    match &t.token {
        Token::Word(w) if w.quote_style.is_none() => Some(w.value.to_lowercase()),
        _ => None,
    }
}

fn next(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    (from..tokens.len()).find(|i| !matches!(tokens[*i].token, Token::Whitespace(_)))
}

/// `None` where something else stands there, which the parser will refuse.
fn ordered(tokens: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    let rank = |t: &TokenWithSpan| word(t).and_then(|w| ORDER.iter().position(|o| *o == w));
    let mut options: Vec<(usize, Vec<TokenWithSpan>)> = vec![];
    let mut at = 0;
    while at < tokens.len() {
        let named = match word(&tokens[at]).as_deref() {
            Some("no") => next(tokens, at + 1).and_then(|i| rank(&tokens[i])),
            _ => rank(&tokens[at]),
        };
        match (named, options.last_mut()) {
            (Some(rank), _) => {
                let mut option = vec![tokens[at].clone()];
                if word(&tokens[at]).as_deref() == Some("no") {
                    let end = next(tokens, at + 1)?;
                    option.extend_from_slice(&tokens[at + 1..=end]);
                    at = end;
                }
                options.push((rank, option));
            }
            (None, Some((_, option))) => option.push(tokens[at].clone()),
            (None, None) if matches!(tokens[at].token, Token::Whitespace(_)) => {}
            (None, None) => return None,
        }
        at += 1;
    }
    options.sort_by_key(|(rank, _)| *rank);
    let blank = |t: &TokenWithSpan| TokenWithSpan {
        token: Token::Whitespace(datafusion::sql::sqlparser::tokenizer::Whitespace::Space),
        span: t.span,
    };
    let spaced = options.into_iter().flat_map(|(_, option)| {
        let end = option.last().map(blank);
        option.into_iter().chain(end)
    });
    Some(spaced.collect())
}
