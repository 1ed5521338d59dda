//! `SESSION(t, ts, gap, PARTITION BY k, ..)` and, as the standard's table functions and Flink write it, `SESSION(TABLE t PARTITION BY k, ..,
//! DESCRIPTOR(ts), gap)`: sqlparser knows no PARTITION BY among arguments. The words go, and the columns become the last arguments.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Arguments in one order: relation, time, gap, columns of the partition. Linear in the text for each level of sessions in sessions.
pub(super) fn rewrite(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut at = 0;
    while at < tokens.len() {
        let open = if is_word(&tokens[at], "session") { next(&tokens, at + 1) } else { None };
        if let Some(open) = open.filter(|open| tokens[*open].token == Token::LParen)
            && let Some(close) = closing(&tokens, open)
            && let Some(arguments) = ordered(&tokens[open + 1..close])
        {
            tokens.splice(open + 1..close, arguments);
        }
        at += 1;
    }
    tokens
}

fn is_word(t: &TokenWithSpan, s: &str) -> bool {
    matches!(&t.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(s))
}

/// The first token from a place on that is no space.
fn next(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    (from..tokens.len()).find(|i| !matches!(tokens[*i].token, Token::Whitespace(_)))
}

/// Where the bracket that opens at a place closes.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (i, t) in tokens.iter().enumerate().skip(open) {
        match t.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth -= 1;
                if depth == 0 {
                    return Some(i);
                }
            }
            _ => {}
        }
    }
    None
}

/// The arguments in order, if there is a PARTITION BY among them.
fn ordered(tokens: &[TokenWithSpan]) -> Option<Vec<TokenWithSpan>> {
    let arguments = split(tokens);
    let (i, words) = arguments.iter().enumerate().find_map(|(i, a)| Some((i, partition_by(a)?)))?;
    let (relation, keys) = (&arguments[i][..words.0], inner(&arguments[i][words.1..]));
    let mut out: Vec<&[TokenWithSpan]> = vec![];
    if next(relation, 0).is_some() {
        // What follows the relation's own columns are the time and the gap.
        let n = arguments.len();
        if i != 0 || n < 3 {
            return None;
        }
        out.extend([relation, arguments[n - 2], arguments[n - 1], keys]);
        out.extend(&arguments[1..n - 2]);
    } else {
        out.extend(&arguments[..i]);
        out.push(keys);
        out.extend(&arguments[i + 1..]);
    }
    let comma = TokenWithSpan { token: Token::Comma, span: tokens.first()?.span };
    Some(out.join(&comma))
}

/// Parts between the commas that stand in no bracket.
fn split(tokens: &[TokenWithSpan]) -> Vec<&[TokenWithSpan]> {
    let mut depth = 0usize;
    let outside = move |t: &TokenWithSpan| {
        match t.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        t.token == Token::Comma && depth == 0
    };
    tokens.split(outside).collect()
}

/// Where the words PARTITION BY begin in an argument, and where what follows them does.
fn partition_by(tokens: &[TokenWithSpan]) -> Option<(usize, usize)> {
    let mut depth = 0usize;
    for (i, t) in tokens.iter().enumerate() {
        match t.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth == 0 && is_word(t, "partition") => {
                return next(tokens, i + 1).filter(|by| is_word(&tokens[*by], "by")).map(|by| (i, by + 1));
            }
            _ => {}
        }
    }
    None
}

/// What stands in the bracket around all of it, or all of it.
fn inner(tokens: &[TokenWithSpan]) -> &[TokenWithSpan] {
    let open = next(tokens, 0).filter(|open| tokens[*open].token == Token::LParen);
    match open.and_then(|open| Some((open, closing(tokens, open)?))) {
        Some((open, close)) if next(tokens, close + 1).is_none() => &tokens[open + 1..close],
        _ => tokens,
    }
}
