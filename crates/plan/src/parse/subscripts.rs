//! `SET a[2] = x` of UPDATE and of ON CONFLICT DO UPDATE, which sqlparser does not read: it becomes `SET a = pg_set_element(a, 2, (x))`, and
//! `SET a[2:3] = x` becomes `SET a = pg_set_slice(a, 2, 3, (x))`. Several of one column are done one after the other.
//!
//! A slice without one of its bounds and a subscript of a subscript stay as they are, and are no syntax here. Linear.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::functions::{set_element, set_slice};

fn is(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Spells the assignments out.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let any = |word: &str| tokens.iter().any(|t| is(&t.token, word));
    if !(tokens.iter().any(|t| t.token == Token::LBracket) && any("update") && any("set")) {
        return tokens;
    }
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 8);
    // Depths of brackets at which lists of assignments are open, each with whether an assignment may begin here.
    let (mut depth, mut lists): (usize, Vec<usize>) = (0, vec![]);
    let (mut i, mut begins) = (0, false);
    // Where values end that brackets were opened for.
    let mut ends: Vec<usize> = vec![];
    while let Some(t) = tokens.get(i) {
        let symbol = |token: Token| TokenWithSpan { token, span: t.span };
        while ends.last() == Some(&i) {
            ends.pop();
            out.extend([symbol(Token::RParen), symbol(Token::RParen)]);
        }
        let here = lists.last() == Some(&depth);
        match &t.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => {
                depth = depth.saturating_sub(1);
                lists.retain(|of| *of <= depth);
            }
            Token::SemiColon => {
                lists.clear();
                depth = 0;
            }
            token if is(token, "set") => {
                lists.push(depth);
                begins = true;
                out.push(t.clone());
                i += 1;
                continue;
            }
            token if here && ["where", "from", "returning"].iter().any(|word| is(token, word)) => drop(lists.pop()),
            Token::Word(_) if begins => {
                if let Some((close, end, colon)) = subscripted(&tokens, i) {
                    let name = if colon.is_some() { set_slice::NAME } else { set_element::NAME };
                    let name = Word { value: name.to_owned(), quote_style: None, keyword: Keyword::NoKeyword };
                    out.extend([t.clone(), symbol(Token::Eq), symbol(Token::Word(name)), symbol(Token::LParen)]);
                    out.extend([t.clone(), symbol(Token::Comma)]);
                    let places = tokens[i + 2..close].iter().enumerate().map(|(n, t)| match colon {
                        Some(colon) if n + i + 2 == colon => TokenWithSpan { token: Token::Comma, span: t.span },
                        _ => t.clone(),
                    });
                    out.extend(places);
                    out.extend([symbol(Token::Comma), symbol(Token::LParen)]);
                    ends.push(end);
                    (i, begins) = (close + 2, false);
                    continue;
                }
            }
            _ => {}
        }
        begins = t.token == Token::Comma && lists.last() == Some(&depth);
        out.push(t.clone());
        i += 1;
    }
    if let Some(last) = tokens.last() {
        for _ in ends {
            out.extend([Token::RParen, Token::RParen].map(|token| TokenWithSpan { token, span: last.span }));
        }
    }
    out
}

/// The array that an assignment to an element reads is the target's, whatever else has a column of that name.
pub(super) fn qualify(value: &mut ast::Expr, target: &Option<ast::Ident>) {
    let Some(target) = target else { return };
    if let Some(of) = changed(value)
        && let ast::Expr::Identifier(column) = of
    {
        *of = ast::Expr::CompoundIdentifier(vec![target.clone(), column.clone()]);
    }
}

/// The array that an assignment to an element or to a slice changes.
fn changed(value: &mut ast::Expr) -> Option<&mut ast::Expr> {
    let ast::Expr::Function(call) = value else { return None };
    if ![set_element::NAME, set_slice::NAME].contains(&call.name.to_string().as_str()) {
        return None;
    }
    let ast::FunctionArguments::List(list) = &mut call.args else { return None };
    match list.args.first_mut() {
        Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(of))) => Some(of),
        _ => None,
    }
}

/// Of two assignments to elements of one column the second changes what the first has made; says whether they are such.
pub(super) fn onto(before: &mut ast::Expr, value: &mut ast::Expr) -> bool {
    if changed(before).is_none() {
        return false;
    }
    let Some(of) = changed(value) else { return false };
    *of = before.clone();
    std::mem::swap(before, value);
    true
}

/// Of `name[place] = value`: where the bracket closes, where the value ends, and where the colon of a slice stands.
fn subscripted(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, usize, Option<usize>)> {
    let token = |i: usize| tokens.get(i).map(|t| &t.token);
    if token(at + 1) != Some(&Token::LBracket) {
        return None;
    }
    let mut depth = 0_usize;
    let close = (at + 1..tokens.len()).find(|i| {
        match token(*i) {
            Some(Token::LBracket | Token::LParen) => depth += 1,
            Some(Token::RBracket | Token::RParen) => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })?;
    let mut colons = (at + 2..close).filter(|i| token(*i) == Some(&Token::Colon));
    let colon = colons.next();
    let bounded = colon.is_none_or(|colon| colon > at + 2 && colon + 1 < close && colons.next().is_none());
    if !bounded || close == at + 2 || token(close + 1) != Some(&Token::Eq) {
        return None;
    }
    let mut depth = 0_usize;
    for (i, t) in tokens.iter().enumerate().skip(close + 2) {
        match &t.token {
            Token::LBracket | Token::LParen => depth += 1,
            Token::RBracket | Token::RParen if depth == 0 => return Some((close, i, colon)),
            Token::RBracket | Token::RParen => depth -= 1,
            Token::Comma | Token::SemiColon if depth == 0 => return Some((close, i, colon)),
            // IS DISTINCT FROM goes on
            word if is(word, "from") && tokens.get(i - 1).is_some_and(|t| is(&t.token, "distinct")) => {}
            word if depth == 0 && ["where", "from", "returning"].iter().any(|w| is(word, w)) => return Some((close, i, colon)),
            _ => {}
        }
    }
    Some((close, tokens.len(), colon))
}
