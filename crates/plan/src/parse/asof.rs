//! `a ASOF [LEFT] JOIN b ON ..`, which sqlparser reads in one other dialect's form only: the words are put into that form, and
//! the kind of join becomes the function in MATCH_CONDITION, where binding finds it (`crate::bind::asof`).
//!
//! ```text
//!   a ASOF LEFT JOIN b ON a.k = b.k AND b.ts <= a.ts
//!   a LEFT ASOF JOIN b MATCH_CONDITION (b.ts <= a.ts) ON a.k = b.k
//!        ─▶   a ASOF JOIN b MATCH_CONDITION (regauge_asof_left(..)) ON ..
//! ```
//! What is in that form already stays, so text made from a syntax tree reads the same again. Linear in the tokens.
//!
//! `a JOIN b FOR SYSTEM_TIME AS OF a.ts ON ..` becomes such a join, too, by a function of its own that names the moment: which column of
//! b it is compared with is not known here (`crate::bind::system_time`).

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Whitespace, Word};

use super::Result;
use crate::error::PlanError;

/// The function that stands for an ASOF JOIN.
pub(crate) const INNER: &str = "regauge_asof";
/// For an ASOF LEFT JOIN.
pub(crate) const LEFT: &str = "regauge_asof_left";

/// The function that stands for JOIN .. FOR SYSTEM_TIME AS OF.
pub(crate) const SYSTEM_TIME: &str = "regauge_system_time";
/// For LEFT JOIN .. FOR SYSTEM_TIME AS OF.
pub(crate) const SYSTEM_TIME_LEFT: &str = "regauge_system_time_left";

const HINT: &str = "write ON a.k = b.k AND b.ts <= a.ts";

/// A join whose condition is yet to come.
struct Open {
    depth: usize,
    function: &'static str,
    /// The function's argument.
    moment: Option<Vec<TokenWithSpan>>,
}

pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    if !tokens.iter().any(|t| is_word(&t.token, "asof") || is_word(&t.token, "system_time")) {
        return Ok(tokens);
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 16);
    let (mut open, mut depth, mut at): (Vec<Open>, usize, usize) = (vec![], 0, 0);
    while let Some(t) = tokens.get(at) {
        if let Some((outer, behind)) = words(&tokens, at) {
            out.extend([word("ASOF", Keyword::ASOF), blank(), word("JOIN", Keyword::JOIN), blank()]);
            open.push(Open { depth, function: if outer { LEFT } else { INNER }, moment: None });
            at = behind;
            continue;
        }
        if let Some(behind) = phrase(&tokens, at, &["for", "system_time", "as", "of"]) {
            let (moment, behind) = moment(&tokens, behind)?;
            let outer = system_time(&mut out)?;
            open.push(Open { depth, function: if outer { SYSTEM_TIME_LEFT } else { SYSTEM_TIME }, moment: Some(moment) });
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
            return Err(PlanError::unsupported("ASOF JOIN .. USING is not offered", HINT));
        }
        if own && is_word(&t.token, "on") {
            let (function, moment) = open.pop().map_or((INNER, None), |o| (o.function, o.moment));
            let call =
                [word("MATCH_CONDITION", Keyword::MATCH_CONDITION), symbol(Token::LParen), word(function, Keyword::NoKeyword)];
            out.extend(call.into_iter().flat_map(|t| [t, blank()]));
            if let Some(moment) = moment {
                out.push(symbol(Token::LParen));
                out.extend(moment);
                out.push(symbol(Token::RParen));
            }
            out.extend([symbol(Token::RParen), blank()]);
        }
        if own && is_word(&t.token, "match_condition") {
            let function = open.pop().map_or(INNER, |o| o.function);
            let mut inside = (at + 1..tokens.len()).filter(|i| !is_space(&tokens[*i]));
            let (first, second) = (inside.next(), inside.next());
            let known = |i: usize| [INNER, LEFT, SYSTEM_TIME, SYSTEM_TIME_LEFT].iter().any(|f| is_word(&tokens[i].token, f));
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
    if open.is_empty() { Ok(out) } else { Err(PlanError::syntax("ASOF JOIN without its condition").with_hint(HINT)) }
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

/// Where what follows these words starts, if they stand here.
fn phrase(tokens: &[TokenWithSpan], at: usize, words: &[&str]) -> Option<usize> {
    let mut rest = (at..tokens.len()).filter(|i| !is_space(&tokens[*i]));
    let mut behind = at;
    for (n, w) in words.iter().enumerate() {
        let i = rest.next().filter(|i| is_word(&tokens[*i].token, w) && (n > 0 || *i == at))?;
        behind = i + 1;
    }
    Some(behind)
}

/// A column's name, and where what follows it starts.
fn moment(tokens: &[TokenWithSpan], at: usize) -> Result<(Vec<TokenWithSpan>, usize)> {
    let mut rest = (at..tokens.len()).filter(|i| !is_space(&tokens[*i])).peekable();
    let (mut name, mut behind) = (vec![], at);
    loop {
        let part = rest.next().filter(|i| matches!(tokens[*i].token, Token::Word(_)));
        let Some(i) = part else {
            return Err(PlanError::unsupported(
                "FOR SYSTEM_TIME AS OF takes a column of the other side",
                "write a JOIN b FOR SYSTEM_TIME AS OF a.ts ON a.k = b.k, with a moment that is computed in a subquery",
            ));
        };
        name.push(tokens[i].clone());
        behind = behind.max(i + 1);
        match rest.next_if(|i| tokens[*i].token == Token::Period) {
            Some(i) => name.push(tokens[i].clone()),
            None => return Ok((name, behind)),
        }
    }
}

/// Makes an ASOF JOIN of the join whose right side's name stands last; whether it was a LEFT one.
fn system_time(out: &mut Vec<TokenWithSpan>) -> Result<bool> {
    let refused = || {
        PlanError::unsupported(
            "FOR SYSTEM_TIME AS OF is offered for the right side of a JOIN or LEFT JOIN",
            "write a JOIN b FOR SYSTEM_TIME AS OF a.ts ON a.k = b.k",
        )
    };
    let mut back = (0..out.len()).rev().filter(|i| !is_space(&out[*i])).peekable();
    let name = |t: &Token| *t == Token::Period || matches!(t, Token::Word(_)) && !is_word(t, "join");
    let mut first = None;
    while let Some(i) = back.next_if(|i| name(&out[*i].token)) {
        first = Some(i);
    }
    let join = back.next().filter(|i| is_word(&out[*i].token, "join")).ok_or_else(refused)?;
    let first = first.ok_or_else(refused)?;
    let mut start = join;
    start = back.next_if(|i| is_word(&out[*i].token, "outer")).unwrap_or(start);
    let left = back.next_if(|i| is_word(&out[*i].token, "left"));
    let inner = back.next_if(|i| is_word(&out[*i].token, "inner"));
    let others = ["right", "full", "cross", "natural", "asof", "outer"];
    if back.peek().is_some_and(|i| others.iter().any(|w| is_word(&out[*i].token, w))) {
        return Err(refused());
    }
    start = left.or(inner).unwrap_or(start);
    let named = out.split_off(first);
    out.truncate(start);
    out.extend([word("ASOF", Keyword::ASOF), blank(), word("JOIN", Keyword::JOIN), blank()]);
    out.extend(named);
    Ok(left.is_some())
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
