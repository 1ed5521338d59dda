//! LIKE patterns, compiled once: the common shapes (exact, prefix, suffix, part) become one search of bytes, the rest a
//! match of characters that backtracks to the last `%` only, so that its cost is at most pattern times text.

use crate::functions::error::EvalError;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LikePattern {
    shape: Shape,
    fold: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Part(String),
    Tokens(Vec<Token>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// `%`
    Many,
    /// `_`
    One,
    Char(char),
    /// The escape character with nothing behind it: who comes so far with text left fails.
    Broken,
}

fn broken() -> EvalError {
    EvalError::new("22025", "LIKE pattern must not end with escape character")
}

impl LikePattern {
    /// Compiles a pattern; `fold` for ILIKE.
    pub fn new(pattern: &str, escape: Option<char>, fold: bool) -> LikePattern {
        let mut tokens = vec![];
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            let token = if Some(c) == escape {
                chars.next().map_or(Token::Broken, Token::Char)
            } else {
                match c {
                    '%' => Token::Many,
                    '_' => Token::One,
                    c => Token::Char(c),
                }
            };
            if token != Token::Many || tokens.last() != Some(&Token::Many) {
                tokens.push(token);
            }
        }
        if fold {
            for token in &mut tokens {
                if let Token::Char(c) = token {
                    *c = lower(*c);
                }
            }
        }
        LikePattern { shape: shape(tokens, fold), fold }
    }

    /// Whether it ends in its escape character.
    pub fn can_fail(&self) -> bool {
        matches!(&self.shape, Shape::Tokens(tokens) if tokens.last() == Some(&Token::Broken))
    }

    /// Does the whole text match?
    ///
    /// # Errors
    /// 22025 when the pattern ends in its escape character, and the text comes so far.
    pub fn matches(&self, text: &str) -> Result<bool, EvalError> {
        Ok(match &self.shape {
            Shape::Exact(s) => text == s,
            Shape::Prefix(s) => text.starts_with(s.as_str()),
            Shape::Suffix(s) => text.ends_with(s.as_str()),
            Shape::Part(s) => text.contains(s.as_str()),
            Shape::Tokens(tokens) => return walk(tokens, text, self.fold),
        })
    }
}

fn lower(c: char) -> char {
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn shape(tokens: Vec<Token>, fold: bool) -> Shape {
    let literal = |part: &[Token]| -> Option<String> {
        part.iter().map(|t| if let Token::Char(c) = t { Some(*c) } else { None }).collect()
    };
    if !fold {
        let found = match &tokens[..] {
            [Token::Many, inner @ .., Token::Many] => literal(inner).map(Shape::Part),
            [Token::Many, inner @ ..] => literal(inner).map(Shape::Suffix),
            [inner @ .., Token::Many] => literal(inner).map(Shape::Prefix),
            all => literal(all).map(Shape::Exact),
        };
        if let Some(shape) = found {
            return shape;
        }
    }
    Shape::Tokens(tokens)
}

fn walk(tokens: &[Token], text: &str, fold: bool) -> Result<bool, EvalError> {
    let mut at = 0;
    let mut rest = text;
    // where to resume: behind the last `%`, one character later
    let mut resume: Option<(usize, &str)> = None;
    loop {
        let next = rest.chars().next();
        match (tokens.get(at), next) {
            (Some(Token::Many), None) => return Ok(tokens[at..].iter().all(|t| *t == Token::Many)),
            (Some(Token::Many), Some(_)) => {
                at += 1;
                resume = Some((at, rest));
                continue;
            }
            (Some(Token::One), Some(c)) => {
                at += 1;
                rest = &rest[c.len_utf8()..];
                continue;
            }
            (Some(Token::Char(want)), Some(c)) if *want == if fold { lower(c) } else { c } => {
                at += 1;
                rest = &rest[c.len_utf8()..];
                continue;
            }
            (None, None) => return Ok(true),
            (Some(Token::Broken), Some(_)) => return Err(broken()),
            // PostgreSQL looks at what stands behind `%`, and any number of `_`, before it looks for it
            (Some(Token::Broken), None) if tokens[..at].iter().rev().find(|t| **t != Token::One) == Some(&Token::Many) => {
                return Err(broken());
            }
            _ => {}
        }
        let Some((behind, from)) = resume else { return Ok(false) };
        let Some(c) = from.chars().next() else { return Ok(false) };
        rest = &from[c.len_utf8()..];
        resume = Some((behind, rest));
        at = behind;
    }
}
