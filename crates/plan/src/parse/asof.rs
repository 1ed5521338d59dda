//! `a ASOF [LEFT] JOIN b ON ..`, which sqlparser reads in one other dialect's form only: the words are put into that form, and
//! the kind of join becomes the function in MATCH_CONDITION, where binding finds it (`crate::bind::asof`).
//!
//! ```text
//!   a ASOF LEFT JOIN b ON a.k = b.k AND b.ts <= a.ts
//!   a LEFT ASOF JOIN b MATCH_CONDITION (b.ts <= a.ts) ON a.k = b.k
//!        ─▶   a ASOF JOIN b MATCH_CONDITION (regauge_asof_left(..)) ON ..
//! ```
//! What is in that form already stays, so text made from a syntax tree reads the same again. Linear in the tokens.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Whitespace, Word};

use super::Result;
use crate::error::PlanError;

/// The function that stands for an ASOF JOIN.
pub(crate) const INNER: &str = "regauge_asof";
/// For an ASOF LEFT JOIN.
pub(crate) const LEFT: &str = "regauge_asof_left";

/// An ASOF JOIN whose condition is yet to come.
struct Open {
    depth: usize,
    function: &'static str,
}

pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    if !tokens.iter().any(|t| is_word(&t.token, "asof")) {
        return Ok(tokens);
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 16);
    let (mut open, mut depth, mut at): (Vec<Open>, usize, usize) = (vec![], 0, 0);
    while let Some(t) = tokens.get(at) {
        if let Some((outer, behind)) = words(&tokens, at) {
            out.extend([word("ASOF", Keyword::ASOF), blank(), word("JOIN", Keyword::JOIN), blank()]);
            open.push(Open { depth, function: if outer { LEFT } else { INNER } });
            at = behind;
            continue;
        }
        match &t.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let own = open.last().is_some_and(|o| o.depth == depth);
        if own && is_word(&t.token, "using") {
            return Err(PlanError::unsupported("ASOF JOIN .. USING is not offered", "write ON a.k = b.k AND b.ts <= a.ts"));
        }
        if own && is_word(&t.token, "on") {
            let function = open.pop().map_or(INNER, |o| o.function);
            let call = [word("MATCH_CONDITION", Keyword::MATCH_CONDITION), symbol(Token::LParen), word(function, Keyword::NoKeyword)];
            out.extend(call.into_iter().flat_map(|t| [t, blank()]));
            out.extend([symbol(Token::RParen), blank()]);
        }
        if own && is_word(&t.token, "match_condition") {
            let function = open.pop().map_or(INNER, |o| o.function);
            let mut inside = (at + 1..tokens.len()).filter(|i| !is_space(&tokens[*i]));
            let (first, second) = (inside.next(), inside.next());
            let known = |i: usize| is_word(&tokens[i].token, INNER) || is_word(&tokens[i].token, LEFT);
            let close = first.filter(|i| tokens[*i].token == Token::LParen).and_then(|i| closing(&tokens, i));
            if let (Some(first), Some(close), false) = (first, close, second.is_some_and(known)) {
                out.extend([t.clone(), blank(), symbol(Token::LParen), word(function, Keyword::NoKeyword)]);
                out.extend(tokens[first..=close].iter().cloned());
                out.push(symbol(Token::RParen));
                at = close + 1;
                continue;
            }
        }
        if open.last().is_some_and(|o| depth < o.depth) || (t.token == Token::SemiColon && !open.is_empty()) {
            break;
        }
        out.push(t.clone());
        at += 1;
    }
    if open.is_empty() { Ok(out) } else { Err(PlanError::syntax("ASOF JOIN without its condition").with_hint("write ON a.k = b.k AND b.ts <= a.ts")) }
}

/// `ASOF [INNER | LEFT [OUTER]] JOIN` or `[INNER | LEFT [OUTER]] ASOF JOIN` at a place: whether it is a LEFT one, and where what follows
/// starts.
fn words(tokens: &[TokenWithSpan], at: usize) -> Option<(bool, usize)> {
    let mut rest = (at..tokens.len()).filter(|i| !is_space(&tokens[*i])).peekable();
    if rest.peek() != Some(&at) {
        return None;
    }
    let (mut asof, mut outer) = (false, false);
    loop {
        let i = rest.next()?;
        let t = &tokens[i].token;
        if is_word(t, "asof") && !asof {
            asof = true;
        } else if is_word(t, "left") && !outer {
            outer = true;
        } else if is_word(t, "join") {
            return asof.then_some((outer, i + 1));
        } else if !(is_word(t, "inner") && !outer || is_word(t, "outer") && outer) {
            return None;
        }
    }
}

/// The bracket that closes the one at `open`.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    tokens.iter().enumerate().skip(open).find_map(|(i, t)| {
        match t.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth == 0).then_some(i)
    })
}

fn is_word(t: &Token, s: &str) -> bool {
    matches!(t, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(s))
}

fn is_space(t: &TokenWithSpan) -> bool {
    matches!(t.token, Token::Whitespace(_))
}

fn symbol(token: Token) -> TokenWithSpan {
    TokenWithSpan { token, span: Span::empty() }
}

fn blank() -> TokenWithSpan {
    symbol(Token::Whitespace(Whitespace::Space))
}

fn word(value: &str, keyword: Keyword) -> TokenWithSpan {
    symbol(Token::Word(Word { value: value.to_owned(), quote_style: None, keyword }))
}
