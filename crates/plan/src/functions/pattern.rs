//! PostgreSQL's regular expressions and the patterns of SIMILAR TO, written anew for the `regex` crate.
//!
//! Not the same as in PostgreSQL: of several matches at one place the first alternative wins, not the longest; back references and
//! look-around do not exist and are refused (0A000). Letters in classes (`\w`, `[[:alpha:]]`) are those of ASCII, as in PostgreSQL
//! where the collation is C. Cost of a match: linear in pattern times text, whatever the pattern.

use regex::{Regex, RegexBuilder};

use super::error::{EvalError, EvalResult};

/// A compiled program larger than this is refused.
const BYTES_MAX: usize = 16 << 20;

/// What the letters of a flags argument ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags {
    /// `g`: all matches.
    pub(super) global: bool,
    fold: bool,
    literal: bool,
    expanded: bool,
    /// `.` and complements leave out line feeds.
    lines_in_classes: bool,
    /// `^` and `$` match at line feeds.
    lines_in_anchors: bool,
}

impl Flags {
    /// # Errors
    /// 22023 for a letter that is none.
    pub(super) fn parse(letters: &str) -> EvalResult<Flags> {
        let mut flags = Flags::default();
        for c in letters.chars() {
            match c {
                'g' => flags.global = true,
                'i' => flags.fold = true,
                'c' => flags.fold = false,
                'q' => flags.literal = true,
                'x' => flags.expanded = true,
                't' => flags.expanded = false,
                'n' | 'm' => (flags.lines_in_classes, flags.lines_in_anchors) = (true, true),
                'p' => (flags.lines_in_classes, flags.lines_in_anchors) = (true, false),
                'w' => (flags.lines_in_classes, flags.lines_in_anchors) = (false, true),
                's' => (flags.lines_in_classes, flags.lines_in_anchors) = (false, false),
                'e' => flags.literal = false,
                other => {
                    return Err(EvalError::new("22023", format!("invalid regular expression option: \"{other}\"")));
                }
            }
        }
        Ok(flags)
    }

    pub(super) fn folding(mut self, fold: bool) -> Flags {
        self.fold |= fold;
        self
    }
}

/// Compiles a regular expression.
///
/// # Errors
/// 2201B for one that is none, 0A000 for what is not offered.
pub(super) fn compile(pattern: &str, flags: Flags) -> EvalResult<Regex> {
    let (pattern, flags) = directed(pattern, flags)?;
    let text = if flags.literal { regex::escape(pattern) } else { translated(pattern, flags)? };
    build(&text, flags)
}

fn build(text: &str, flags: Flags) -> EvalResult<Regex> {
    RegexBuilder::new(text)
        .case_insensitive(flags.fold)
        .multi_line(flags.lines_in_anchors)
        .dot_matches_new_line(!flags.lines_in_classes)
        .ignore_whitespace(flags.expanded && !flags.literal)
        .size_limit(BYTES_MAX)
        .build()
        .map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => EvalError::new("54000", "regular expression is too complex"),
            e => {
                let why = e.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                bad(&why)
            }
        })
}

fn bad(why: &str) -> EvalError {
    EvalError::new("2201B", format!("invalid regular expression: {why}"))
}

/// `***=` makes the rest literal, `***:` says what is so anyway, `(?i)` and its kin in front set flags.
fn directed(pattern: &str, mut flags: Flags) -> EvalResult<(&str, Flags)> {
    let mut rest = pattern;
    if let Some(literal) = rest.strip_prefix("***=") {
        flags.literal = true;
        return Ok((literal, flags));
    }
    rest = rest.strip_prefix("***:").unwrap_or(rest);
    if let Some(options) = rest.strip_prefix("(?")
        && let Some((letters, behind)) = options.split_once(')')
        && !letters.is_empty()
        && letters.bytes().all(|b| b.is_ascii_lowercase())
    {
        let own = Flags::parse(letters).map_err(|_| bad("invalid embedded option"))?;
        let global = flags.global;
        flags = Flags { global, ..Flags { fold: own.fold || (flags.fold && !letters.contains('c')), ..own } };
        rest = behind;
    }
    Ok((rest, flags))
}

/// Into the syntax of the `regex` crate.
fn translated(pattern: &str, flags: Flags) -> EvalResult<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    // Nothing stands here yet that a quantifier could repeat.
    let mut bare = true;
    while let Some(c) = chars.next() {
        let opens = matches!(c, '(' | '|');
        match c {
            '\\' => {
                let c = chars.next().ok_or_else(|| bad("invalid escape \\ sequence"))?;
                escape(c, false, &mut out)?;
            }
            '[' => bracket(&mut chars, flags, &mut out)?,
            '(' => {
                out.push('(');
                if chars.peek() == Some(&'?') {
                    chars.next();
                    match chars.next() {
                        Some(':') => out.push_str("?:"),
                        Some('=' | '!' | '<') => {
                            return Err(EvalError::new("0A000", "look-around in a regular expression is not offered"));
                        }
                        _ => return Err(bad("quantifier operand invalid")),
                    }
                }
            }
            '*' | '+' | '?' if bare => return Err(bad("quantifier operand invalid")),
            '{' if !chars.peek().is_some_and(char::is_ascii_digit) => out.push_str("\\{"),
            '{' if bare => return Err(bad("quantifier operand invalid")),
            '}' if !inside_braces(&out) => out.push_str("\\}"),
            ']' => out.push_str("\\]"),
            c => out.push(c),
        }
        bare = opens || (c == '^' && bare);
    }
    Ok(out)
}

/// Whether a `{` is open at the end.
fn inside_braces(out: &str) -> bool {
    let open = out.rfind('{').filter(|at| !out[..*at].ends_with('\\'));
    open.is_some_and(|at| out[at + 1..].bytes().all(|b| b.is_ascii_digit() || b == b','))
}

const DIGITS: &str = "0-9";
const SPACES: &str = r" \t\n\r\x0B\x0C";
const WORDS: &str = "A-Za-z0-9_";

/// What follows a backslash.
fn escape(c: char, bracket: bool, out: &mut String) -> EvalResult<()> {
    let class = match c {
        'd' | 'D' => DIGITS,
        's' | 'S' => SPACES,
        'w' | 'W' => WORDS,
        _ => "",
    };
    if !class.is_empty() {
        match (bracket, c.is_ascii_uppercase()) {
            (true, false) => out.push_str(class),
            (true, true) => out.push_str(&format!("[^{class}]")),
            (false, negated) => out.push_str(&format!("[{}{class}]", if negated { "^" } else { "" })),
        }
        return Ok(());
    }
    match c {
        'm' if !bracket => out.push_str(r"\b{start}"),
        'M' if !bracket => out.push_str(r"\b{end}"),
        'y' if !bracket => out.push_str(r"(?-u:\b)"),
        'Y' if !bracket => out.push_str(r"(?:\B)"),
        'A' if !bracket => out.push_str(r"\A"),
        'Z' if !bracket => out.push_str(r"\z"),
        'a' => out.push_str(r"\x07"),
        'b' => out.push_str(r"\x08"),
        'B' => out.push_str(r"\\"),
        'e' => out.push_str(r"\x1B"),
        'f' | 'n' | 'r' | 't' | 'v' | 'x' | 'u' | 'U' => {
            out.push('\\');
            out.push(c);
        }
        '1'..='9' if !bracket => {
            return Err(EvalError::new("0A000", "back references in a regular expression are not offered"));
        }
        '0' => out.push_str(r"\x00"),
        c if c.is_ascii_alphanumeric() => return Err(bad("invalid escape \\ sequence")),
        c => push_plain(c, out),
    }
    Ok(())
}

fn push_plain(c: char, out: &mut String) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '_' && c != ' ' && !c.is_ascii_control() {
        out.push('\\');
    } else if c == ' ' {
        out.push_str(r"\x20");
        return;
    }
    out.push(c);
}

/// A bracket expression, behind its `[`.
fn bracket(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, flags: Flags, out: &mut String) -> EvalResult<()> {
    let open = || bad("brackets [] not balanced");
    // `[[:<:]]` and `[[:>:]]` are the ends of a word
    let ahead: String = chars.clone().take(6).collect();
    if ahead == "[:<:]]" || ahead == "[:>:]]" {
        out.push_str(if ahead.contains('<') { r"\b{start}" } else { r"\b{end}" });
        chars.nth(5);
        return Ok(());
    }
    out.push('[');
    if chars.peek() == Some(&'^') {
        chars.next();
        out.push('^');
        if flags.lines_in_classes {
            out.push_str(r"\n");
        }
    }
    let mut first = true;
    loop {
        let c = chars.next().ok_or_else(open)?;
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(());
            }
            '[' if matches!(chars.peek(), Some(':' | '.' | '=')) => {
                let kind = chars.next().ok_or_else(open)?;
                let mut name = String::new();
                loop {
                    let c = chars.next().ok_or_else(open)?;
                    if c == kind && chars.peek() == Some(&']') {
                        chars.next();
                        break;
                    }
                    name.push(c);
                }
                match kind {
                    ':' => out.push_str(&format!("[:{name}:]")),
                    _ => name.chars().for_each(|c| push_plain(c, out)),
                }
            }
            '\\' => escape(chars.next().ok_or_else(open)?, true, out)?,
            // `-` between two characters is a range, at either end itself
            '-' if !first && chars.peek().is_some_and(|c| *c != ']') => out.push('-'),
            c => push_plain(c, out),
        }
        first = false;
    }
}

/// Compiles a pattern of SIMILAR TO, which is always matched whole. `None` for the escape means that there is none.
///
/// # Errors
/// As [`compile`].
pub(super) fn similar(pattern: &str, escape_char: Option<char>) -> EvalResult<Regex> {
    similar_in(pattern, escape_char, false)
}

/// The same, with the part between two separators (escape character, double quote) as its group: the part before it is as short as can be.
///
/// # Errors
/// As [`compile`]; 2200C for another number of separators.
pub(super) fn similar_part(pattern: &str, escape_char: Option<char>) -> EvalResult<Regex> {
    similar_in(pattern, escape_char, true)
}

fn similar_in(pattern: &str, escape_char: Option<char>, parts: bool) -> EvalResult<Regex> {
    let mut out = String::from(r"\A(?:");
    let mut chars = pattern.chars();
    let mut in_bracket = false;
    let mut n_separators = 0;
    while let Some(c) = chars.next() {
        if Some(c) == escape_char {
            match chars.next() {
                Some('"') if parts && !in_bracket => {
                    n_separators += 1;
                    match n_separators {
                        1 => {
                            // quantifiers before it turn over: the least they can
                            out.insert(r"\A(?:".len() - 1, 'U');
                            out.push_str(")(");
                        }
                        2 => out.push_str(")(?:"),
                        _ => {
                            let message = "SQL regular expression may not contain more than two escape-double-quote separators";
                            return Err(EvalError::new("2200C", message));
                        }
                    }
                }
                Some(c) => push_plain(c, &mut out),
                None => return Err(EvalError::new("22025", "invalid escape sequence")),
            }
        } else if in_bracket {
            match c {
                ']' => {
                    in_bracket = false;
                    out.push(']');
                }
                '\\' | '[' | '&' | '~' => {
                    // a class within keeps its bracket
                    let class = c == '[' && chars.as_str().starts_with(':');
                    out.push_str(if class { "" } else { "\\" });
                    out.push(c);
                    if class {
                        let rest = chars.as_str();
                        let end = rest.find(":]").ok_or_else(|| bad("brackets [] not balanced"))? + 2;
                        out.push_str(&rest[..end]);
                        chars = rest[end..].chars();
                    }
                }
                c => out.push(c),
            }
        } else {
            match c {
                '%' => out.push_str(".*"),
                '_' => out.push('.'),
                '[' => {
                    in_bracket = true;
                    out.push('[');
                    if let Some(rest) = chars.as_str().strip_prefix('^') {
                        out.push('^');
                        chars = rest.chars();
                    }
                    if let Some(rest) = chars.as_str().strip_prefix(']') {
                        out.push_str("\\]");
                        chars = rest.chars();
                    }
                }
                '(' => out.push_str("(?:"),
                '|' | ')' | '*' | '+' | '?' | '{' | '}' => out.push(c),
                c => push_plain(c, &mut out),
            }
        }
    }
    out.push_str(r")\z");
    build(&out, Flags::default())
}

/// The last pattern compiled: neighbours often share one.
pub(super) struct Known<T> {
    last: std::cell::RefCell<Option<(String, EvalResult<std::rc::Rc<T>>)>>,
}

impl<T> Known<T> {
    pub(super) fn new() -> Known<T> {
        Known { last: std::cell::RefCell::new(None) }
    }

    /// What `make` gives for this key; asked once per run of equal keys.
    pub(super) fn get(&self, key: &str, make: impl FnOnce() -> EvalResult<T>) -> EvalResult<std::rc::Rc<T>> {
        let mut last = self.last.borrow_mut();
        if let Some((known, made)) = &*last
            && known == key
        {
            return made.clone();
        }
        let made = make().map(std::rc::Rc::new);
        *last = Some((key.to_owned(), made.clone()));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::{Flags, compile, similar};

    #[test]
    fn a_pattern_means_what_postgres_means() {
        for (pattern, flags, text, hit) in [
            ("^b.d$", "", "b\nd", true),
            ("^b.d$", "n", "b\nd", false),
            (r"\yfoo\y", "", "a foo b", true),
            (r"\mfoo", "", "afoo", false),
            ("[[:digit:]]+", "", "a1", true),
            ("[]a]", "", "]", true),
            ("[a&&b]", "", "&", true),
            ("a{,2}", "", "a{,2}", true),
            ("(?i)ABC", "", "abc", true),
            ("***=a.c", "", "abc", false),
            (r"\w", "", "ü", false),
            ("a.c", "q", "abc", false),
            ("a b", "x", "ab", true),
        ] {
            let re = compile(pattern, Flags::parse(flags).expect("flags")).expect(pattern);
            assert_eq!(re.is_match(text), hit, "{pattern} {flags} {text:?}");
        }
        for (pattern, code) in [("*a", "2201B"), ("(", "2201B"), (r"(a)\1", "0A000"), ("a(?=b)", "0A000"), ("[", "2201B")] {
            assert_eq!(compile(pattern, Flags::default()).expect_err(pattern).sqlstate, code, "{pattern}");
        }
    }

    #[test]
    fn similar_to_matches_the_whole_text() {
        for (pattern, text, hit) in [
            ("abc", "abc", true),
            ("a", "abc", false),
            ("%(b|d)%", "abc", true),
            ("(b|c)%", "abc", false),
            (r"a\%", "a%", true),
            ("[a-c]{3}", "abc", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(similar(pattern, Some('\\')).expect(pattern).is_match(text), hit, "{pattern} {text}");
        }
    }
}
