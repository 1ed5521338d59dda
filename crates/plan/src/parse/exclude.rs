//! `EXCLUDE CURRENT ROW | GROUP | TIES | NO OTHERS` behind a window's frame, which sqlparser does not know: the words go, and a literal that
//! says them stands first among the window's PARTITION BY expressions, where binding finds it (`crate::bind::frames`).

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

/// Starts the literal; the exclusion follows in upper case.
pub(crate) const EXCLUDE_MARK: &str = "\u{1}exclude ";

/// Puts literals in the place of exclusions. Linear, but for the windows that have one.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    if !tokens.iter().any(|t| is_word(&t.token, "exclude")) {
        return tokens;
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(t) = tokens.get(at) {
        if is_word(&t.token, "exclude")
            && let Some((what, behind)) = exclusion(&tokens, at + 1)
            && let Some((place, has_partition)) = window_start(&out)
        {
            let literal = Token::SingleQuotedString(format!("{EXCLUDE_MARK}{what}"));
            let words = if has_partition {
                vec![literal, Token::Comma]
            } else {
                vec![word("PARTITION", Keyword::PARTITION), word("BY", Keyword::BY), literal]
            };
            let spaced = words.into_iter().flat_map(|t| [blank(), TokenWithSpan { token: t, span: Span::empty() }]);
            let spaced: Vec<_> = spaced.chain([blank()]).collect();
            out.splice(place..place, spaced);
            at = behind;
            continue;
        }
        out.push(t.clone());
        at += 1;
    }
    out
}

fn is_word(t: &Token, s: &str) -> bool {
    matches!(t, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(s))
}

fn is_space(t: &TokenWithSpan) -> bool {
    matches!(t.token, Token::Whitespace(_))
}

fn blank() -> TokenWithSpan {
    let space = datafusion::sql::sqlparser::tokenizer::Whitespace::Space;
    TokenWithSpan { token: Token::Whitespace(space), span: Span::empty() }
}

fn word(value: &str, keyword: Keyword) -> Token {
    Token::Word(Word { value: value.to_owned(), quote_style: None, keyword })
}

/// The exclusion whose words start at `at`, and where what follows them starts; a closing bracket must follow.
fn exclusion(tokens: &[TokenWithSpan], at: usize) -> Option<(&'static str, usize)> {
    let mut rest = tokens.iter().enumerate().skip(at).filter(|(_, t)| !is_space(t));
    let (_, first) = rest.next()?;
    let what = if is_word(&first.token, "group") {
        "GROUP"
    } else if is_word(&first.token, "ties") {
        "TIES"
    } else {
        let (_, second) = rest.next()?;
        match () {
            () if is_word(&first.token, "current") && is_word(&second.token, "row") => "CURRENT ROW",
            () if is_word(&first.token, "no") && is_word(&second.token, "others") => "NO OTHERS",
            () => return None,
        }
    };
    let (behind, close) = rest.next()?;
    (close.token == Token::RParen).then_some((what, behind))
}

/// Where in the open bracket the literal goes, and whether there is a PARTITION BY, behind whose words it goes.
fn window_start(out: &[TokenWithSpan]) -> Option<(usize, bool)> {
    let mut depth = 0usize;
    let open = out.iter().enumerate().rev().find_map(|(i, t)| {
        match t.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return Some(i),
            Token::LParen => depth -= 1,
            _ => {}
        }
        None
    })?;
    let mut place = open + 1;
    let mut rest = out.iter().enumerate().skip(open + 1).filter(|(_, t)| !is_space(t)).peekable();
    let starts = |t: &Token| ["partition", "order", "rows", "range", "groups"].iter().any(|s| is_word(t, s));
    // The name of the window that this one builds on.
    if let Some((i, _)) = rest.next_if(|(_, t)| !starts(&t.token)) {
        place = i + 1;
    }
    if rest.next_if(|(_, t)| is_word(&t.token, "partition")).is_some() {
        let (by, _) = rest.next_if(|(_, t)| is_word(&t.token, "by"))?;
        return Some((by + 1, true));
    }
    rest.peek().filter(|(_, t)| starts(&t.token))?;
    Some((place, false))
}
