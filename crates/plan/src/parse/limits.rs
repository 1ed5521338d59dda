//! Bounds on a statement, judged by one pass over its bytes before any tree is built: a tree too deep would overflow the
//! stack in the parser, in the planner, or when it is dropped.
//!
//! The pass knows only strings, quoted names, comments, words and brackets. Where it may misjudge (it does not know every
//! literal form), the parser's own recursion counter still stands behind it. Cost: one look at each byte, no allocation
//! beyond one counter per open bracket.

use crate::error::PlanError;

/// How much one text may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseLimits {
    /// Bytes of the text.
    pub bytes_max: usize,
    /// Words, numbers, strings and symbols.
    pub tokens_max: usize,
    /// Open brackets (and CASEs) at once.
    pub nesting_max: usize,
    /// Operators in one operand chain (`a + b + ..`, `a AND b ..`): each makes the tree one deeper.
    pub chain_max: usize,
    /// The same without AND and OR. The binder asks for the type of every prefix of such a chain, so its cost grows with the
    /// cube of the length (measured, debug build: 100 operators 0.9 s, 200 operators 6.8 s).
    pub arithmetic_max: usize,
    /// JOINs, commas of FROM excluded, and set operations at one level.
    pub joins_max: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        ParseLimits {
            bytes_max: 16 << 20,
            tokens_max: 2_000_000,
            nesting_max: 100,
            chain_max: 1_000,
            arithmetic_max: 100,
            joins_max: 200,
        }
    }
}

/// Operators since the level's last separator. ORs nest around ANDs around the rest, so their depths add up.
#[derive(Default, Clone, Copy)]
struct Level {
    or: usize,
    and: usize,
    other: usize,
    joins: usize,
}

impl Level {
    fn reset_chain(&mut self) {
        (self.or, self.and, self.other) = (0, 0, 0);
    }
    fn depth(&self) -> usize {
        self.or + self.and + self.other
    }
}

/// Refuses text beyond the limits, or with a NUL in it.
pub(super) fn check(sql: &str, limits: &ParseLimits) -> Result<(), PlanError> {
    let b = sql.as_bytes();
    let over = |what, limit| Err(PlanError::TooComplex { what, limit });
    if b.len() > limits.bytes_max {
        return over("statement is too long", limits.bytes_max);
    }
    if let Some(at) = b.iter().position(|c| *c == 0) {
        let position = Some(sql.get(..at).map_or(at, |s| s.chars().count()) + 1);
        return Err(nul(position));
    }
    let mut levels = vec![Level::default()];
    let (mut i, mut tokens) = (0, 0usize);
    // `int[][]..` is a tree as deep as it has brackets, though none is open within another
    let mut pairs = 0usize;
    while i < b.len() {
        let start = i;
        let c = b[i];
        i += 1;
        if c.is_ascii_whitespace() {
            continue;
        }
        let Some(level) = levels.last_mut() else { break };
        match c {
            b']' => pairs += 1,
            b'[' | b'0'..=b'9' => {}
            _ => pairs = 0,
        }
        match c {
            b'-' if b.get(i) == Some(&b'-') => {
                i += b[i..].iter().position(|c| *c == b'\n').unwrap_or(b.len() - i);
                continue;
            }
            b'/' if b.get(i) == Some(&b'*') => {
                i = skip_comment(b, start);
                continue;
            }
            b'\'' | b'"' => i = skip_quoted(b, start, false),
            b'$' => i = skip_dollar(b, start),
            b'(' | b'[' | b'{' => levels.push(Level::default()),
            b')' | b']' | b'}' => {
                if levels.len() > 1 {
                    levels.pop();
                }
            }
            b',' => level.reset_chain(),
            b';' => levels = vec![Level::default()],
            c if c.is_ascii_alphabetic() || c == b'_' || c >= 0x80 => {
                while b.get(i).is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_' || *c == b'$' || *c >= 0x80) {
                    i += 1;
                }
                if (c | 0x20) == b'e' && i == start + 1 && b.get(i) == Some(&b'\'') {
                    let open = i;
                    i = skip_quoted(b, open, true);
                    if let Some(at) = escaped_nul(&b[open..i]) {
                        let position = Some(sql.get(..open + at).map_or(open, |s| s.chars().count()) + 1);
                        return Err(nul(position));
                    }
                } else {
                    word(&sql.as_bytes()[start..i], &mut levels);
                }
            }
            c if c.is_ascii_digit() || c == b'.' => {
                while b.get(i).is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'.') {
                    i += 1;
                }
            }
            _ => level.other += 1,
        }
        tokens += 1;
        if tokens > limits.tokens_max {
            return over("statement has too many words and symbols", limits.tokens_max);
        }
        if levels.len() > limits.nesting_max + 1 || pairs > limits.nesting_max {
            return over("statement is nested too deeply", limits.nesting_max);
        }
        if let Some(level) = levels.last() {
            if level.depth() > limits.chain_max {
                return over("a chain of operators is too long", limits.chain_max);
            }
            if level.other > limits.arithmetic_max {
                return over("a chain of operators is too long", limits.arithmetic_max);
            }
            if level.joins > limits.joins_max {
                return over("statement has too many joins or set operations", limits.joins_max);
            }
        }
    }
    Ok(())
}

fn word(w: &[u8], levels: &mut Vec<Level>) {
    let is = |s: &str| w.eq_ignore_ascii_case(s.as_bytes());
    // CASE .. END nests like brackets do.
    if is("case") {
        levels.push(Level::default());
        return;
    }
    if is("end") && levels.len() > 1 {
        levels.pop();
        return;
    }
    let Some(level) = levels.last_mut() else { return };
    if is("or") {
        level.or += 1;
        (level.and, level.other) = (0, 0);
    } else if is("and") {
        level.and += 1;
        level.other = 0;
    } else if ["not", "is", "like", "ilike", "in", "between", "collate", "similar", "at"].iter().any(|k| is(k)) {
        level.other += 1;
    } else if ["join", "union", "except", "intersect"].iter().any(|k| is(k)) {
        level.joins += 1;
        level.reset_chain();
    } else if ["select", "where", "having", "on", "when", "then", "else", "values", "from"].iter().any(|k| is(k)) {
        level.reset_chain();
    }
}

fn nul(position: Option<usize>) -> PlanError {
    PlanError::Syntax {
        sqlstate: "22021",
        message: "invalid byte sequence for encoding \"UTF8\": 0x00".into(),
        position,
        hint: Some("remove the NUL character; bytea can hold it as '\\x00'".into()),
    }
}

/// Where an escape of a string with backslashes stands for a NUL: up to three octal digits, or `x` and up to two hexadecimal ones.
fn escaped_nul(literal: &[u8]) -> Option<usize> {
    let mut i = 0;
    while i + 1 < literal.len() {
        if literal[i] != b'\\' {
            i += 1;
            continue;
        }
        let (digits, most, is_digit): (usize, usize, fn(&u8) -> bool) = match literal[i + 1] {
            b'0'..=b'7' => (i + 1, 3, |c| (b'0'..=b'7').contains(c)),
            b'x' => (i + 2, 2, u8::is_ascii_hexdigit),
            _ => {
                i += 2;
                continue;
            }
        };
        let n = literal[digits..].iter().take(most).take_while(|c| is_digit(c)).count();
        if n > 0 && literal[digits..digits + n].iter().all(|c| *c == b'0') {
            return Some(i);
        }
        i = digits + n;
    }
    None
}

/// Past the closing quote; a doubled quote stands for itself.
fn skip_quoted(b: &[u8], open: usize, backslash: bool) -> usize {
    let quote = b[open];
    let mut i = open + 1;
    while i < b.len() {
        if backslash && b[i] == b'\\' {
            i += 2;
        } else if b[i] == quote {
            if b.get(i + 1) != Some(&quote) {
                return i + 1;
            }
            i += 2;
        } else {
            i += 1;
        }
    }
    b.len()
}

/// Past a nested comment.
fn skip_comment(b: &[u8], open: usize) -> usize {
    let (mut i, mut depth) = (open, 0usize);
    while i + 1 < b.len() {
        match (b[i], b[i + 1]) {
            (b'/', b'*') => {
                depth += 1;
                i += 2;
            }
            (b'*', b'/') => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    b.len()
}

/// Past `$tag$ .. $tag$`, or past the `$` of a parameter.
fn skip_dollar(b: &[u8], open: usize) -> usize {
    let tag_end = b[open + 1..].iter().position(|c| !(c.is_ascii_alphanumeric() || *c == b'_')).map(|n| open + 1 + n);
    match tag_end {
        Some(end) if b[end] == b'$' && !b[open + 1].is_ascii_digit() => {
            let tag = &b[open..=end];
            let body = &b[end + 1..];
            body.windows(tag.len()).position(|w| w == tag).map_or(b.len(), |n| end + 1 + n + tag.len())
        }
        _ => open + 1,
    }
}
