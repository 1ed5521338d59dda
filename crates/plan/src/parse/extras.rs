//! Words of PostgreSQL that sqlparser does not read where they stand, taken out of the tokens before it does.
//!
//! ```text
//!   FROM ONLY t, UPDATE ONLY (t), ALTER TABLE ONLY t   ─▶  the same without ONLY: no table has others below it
//!   FOR NO KEY UPDATE, FOR KEY SHARE                    ─▶  FOR UPDATE, FOR SHARE, which mean the same here
//!   FOR UPDATE .. LIMIT 1                                ─▶  LIMIT 1 FOR UPDATE ..
//!   INSERT INTO t OVERRIDING SYSTEM VALUE VALUES ..    ─▶  the clause's mark at the end of the statement
//! ```
//! Linear. An INSERT within WITH takes no OVERRIDING: its mark would stand where no statement ends.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::statement::Overriding;

/// Characters that no statement has a use for.
const SYSTEM: Token = Token::Char('\u{3}');
const USER: Token = Token::Char('\u{4}');

/// What a mark at the end of an INSERT says.
pub(super) fn overriding(mark: &Token) -> Option<Overriding> {
    match mark {
        m if *m == SYSTEM => Some(Overriding::System),
        m if *m == USER => Some(Overriding::User),
        _ => None,
    }
}

fn is(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Takes the words out.
pub(super) fn rewrite(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    for t in tokens.iter_mut().filter(|t| t.token == SYSTEM || t.token == USER) {
        t.token = Token::Char('\u{2}');
    }
    if !tokens.iter().any(|t| ["only", "overriding", "for"].iter().any(|word| is(&t.token, word))) {
        return tokens;
    }
    let mut tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let (mut i, mut depth, mut begin, mut mark, mut n_turned) = (0, 0_usize, 0, None, 0);
    // Closing brackets of `ONLY (t)`, by their places.
    let mut dropped: Vec<usize> = vec![];
    while let Some(t) = tokens.get(i).cloned() {
        let at = |i: usize| tokens.get(i).map_or(&Token::EOF, |t| &t.token);
        match &t.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::SemiColon | Token::EOF => {
                out.extend(mark.take().map(|token| TokenWithSpan { token, span: t.span }));
                (begin, depth) = (i + 1, 0);
            }
            token if is(token, "for") => {
                let weaker = match () {
                    () if is(at(i + 1), "no") && is(at(i + 2), "key") && is(at(i + 3), "update") => 2,
                    () if is(at(i + 1), "key") && is(at(i + 2), "share") => 1,
                    () => 0,
                };
                if n_turned < TURNS_MAX
                    && let Some((behind, end)) = limited(&tokens, i)
                {
                    n_turned += 1;
                    // Once the limit stands first there is nothing behind the clause to be moved any more.
                    let turned = tokens[behind..end].iter().chain(&tokens[i..behind]).cloned().collect::<Vec<_>>();
                    tokens.splice(i..end, turned);
                    continue;
                }
                out.push(t.clone());
                i += 1 + weaker;
                continue;
            }
            token if is(token, "only") && i > 0 && names_relation(at(i - 1)) => match (at(i + 1), closing(&tokens, i + 1)) {
                (Token::LParen, Some(close)) => {
                    dropped.push(close);
                    i += 2;
                    continue;
                }
                (Token::Word(_), _) => {
                    i += 1;
                    continue;
                }
                _ => {}
            },
            token if is(token, "overriding") && depth == 0 && is(at(begin), "insert") && is(at(i + 2), "value") => {
                let which = match at(i + 1) {
                    word if is(word, "system") => Some(SYSTEM),
                    word if is(word, "user") => Some(USER),
                    _ => None,
                };
                if which.is_some() && mark.is_none() {
                    mark = which;
                    i += 3;
                    continue;
                }
            }
            _ => {}
        }
        if dropped.contains(&i) {
            dropped.retain(|place| *place != i);
        } else {
            out.push(t.clone());
        }
        i += 1;
    }
    // Tokens end without one of their own that says so.
    if let (Some(token), Some(last)) = (mark, tokens.last()) {
        out.push(TokenWithSpan { token, span: last.span });
    }
    out
}

/// So many locking clauses of a text may stand before a limit; each looks through what follows it.
const TURNS_MAX: usize = 64;

/// Where a locking clause at this place ends, if LIMIT, OFFSET or FETCH follows it, and where that ends.
fn limited(tokens: &[TokenWithSpan], from: usize) -> Option<(usize, usize)> {
    let is_at = |i: usize, words: &[&str]| tokens.get(i).is_some_and(|t| words.iter().any(|word| is(&t.token, word)));
    let mut behind = from;
    while is_at(behind, &["for"]) {
        let mut i = behind + 1;
        if is_at(i, &["no"]) && is_at(i + 1, &["key"]) && is_at(i + 2, &["update"]) {
            i += 3;
        } else if is_at(i, &["key"]) && is_at(i + 1, &["share"]) {
            i += 2;
        } else if is_at(i, &["update", "share"]) {
            i += 1;
        } else {
            break;
        }
        if is_at(i, &["of"]) {
            i += 2;
            while matches!(tokens.get(i).map(|t| &t.token), Some(Token::Comma | Token::Period)) {
                i += 2;
            }
        }
        if is_at(i, &["nowait"]) {
            i += 1;
        } else if is_at(i, &["skip"]) && is_at(i + 1, &["locked"]) {
            i += 2;
        }
        behind = i;
    }
    if behind == from || !is_at(behind, &["limit", "offset", "fetch"]) {
        return None;
    }
    let mut depth = 0_usize;
    for (i, t) in tokens.iter().enumerate().skip(behind) {
        match &t.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return Some((behind, i)),
            Token::RParen => depth -= 1,
            Token::SemiColon | Token::EOF if depth == 0 => return Some((behind, i)),
            // what may follow a query: another one, or clauses of the statement around it
            word if depth == 0
                && ["union", "intersect", "except", "returning", "on", "as", "for"].iter().any(|w| is(word, w)) =>
            {
                return Some((behind, i));
            }
            _ => {}
        }
    }
    Some((behind, tokens.len()))
}

/// Whether a relation's name follows this word.
fn names_relation(before: &Token) -> bool {
    ["update", "from", "join", "table", "truncate", "using"].iter().any(|word| is(before, word)) || *before == Token::Comma
}

/// Where `(name)` or `(schema.name)` ends that begins here.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let word = |i: usize| matches!(tokens.get(i).map(|t| &t.token), Some(Token::Word(_)));
    let mut at = open + 1;
    loop {
        if !word(at) {
            return None;
        }
        match tokens.get(at + 1).map(|t| &t.token) {
            Some(Token::Period) => at += 2,
            Some(Token::RParen) => return Some(at + 1),
            _ => return None,
        }
    }
}
