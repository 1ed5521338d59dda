//! The text of a path as a tree.

use super::super::{Json, canonical_number, parse as parse_json};
use super::{Compare, Expr, Path, Step, Test};
use crate::functions::error::{EvalError, EvalResult};

/// Parentheses and filters within each other.
const DEPTH_MAX: usize = 100;

/// Reads a path.
///
/// # Errors
/// 42601 for what is no path, 0A000 for what is not offered.
pub fn compile(text: &str) -> EvalResult<Path> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let strict = match () {
        () if reader.word("strict") => true,
        () => {
            reader.word("lax");
            false
        }
    };
    let root = reader.any()?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(reader.bad());
    }
    Ok(Path { strict, root })
}

fn not_offered(what: &str) -> EvalError {
    EvalError::new("0A000", format!("{what} is not offered in a jsonpath"))
}

/// Either what gives values or what holds: known when it was read.
enum Either {
    Value(Expr),
    Test(Test),
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn bad(&self) -> EvalError {
        if self.rest().is_empty() {
            return EvalError::new("42601", "syntax error at end of jsonpath input");
        }
        let near: String = self.rest().chars().take(20).collect();
        EvalError::new("42601", format!("syntax error at or near \"{near}\" of jsonpath input"))
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        self.blanks();
        let here = self.rest().starts_with(symbol);
        if here {
            self.at += symbol.len();
        }
        here
    }

    fn wanted(&mut self, symbol: &str) -> EvalResult<()> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.bad()) }
    }

    /// A name that stands here.
    fn name(&mut self) -> Option<&'a str> {
        self.blanks();
        let rest = self.rest();
        let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
        let name = &rest[..len];
        let sound = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if sound {
            self.at += len;
        }
        sound.then_some(name)
    }

    /// This word and no longer one.
    fn word(&mut self, word: &str) -> bool {
        let from = self.at;
        let found = self.name() == Some(word);
        if !found {
            self.at = from;
        }
        found
    }

    fn string(&mut self) -> EvalResult<Option<String>> {
        self.blanks();
        let rest = self.rest();
        if !rest.starts_with('"') {
            return Ok(None);
        }
        let mut end = 1;
        let bytes = rest.as_bytes();
        while bytes.get(end).is_some_and(|b| *b != b'"') {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let text = rest.get(..=end).ok_or_else(|| self.bad())?;
        let Ok(Json::Text(value)) = parse_json(text, true) else { return Err(self.bad()) };
        self.at += text.len();
        Ok(Some(value.into_owned()))
    }

    fn digits(&mut self) -> Option<i64> {
        self.blanks();
        let rest = self.rest();
        let len = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let value = rest[..len].parse().ok()?;
        self.at += len;
        Some(value)
    }

    fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> EvalResult<T>) -> EvalResult<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(EvalError::new("54001", "stack depth limit exceeded: a jsonpath is nested too deeply"));
        }
        let read = f(self);
        self.depth -= 1;
        read
    }

    fn any(&mut self) -> EvalResult<Expr> {
        Ok(match self.or()? {
            Either::Value(e) => e,
            Either::Test(t) => Expr::Holds(Box::new(t)),
        })
    }

    fn test(&mut self) -> EvalResult<Test> {
        match self.or()? {
            Either::Test(t) => Ok(t),
            Either::Value(_) => Err(self.bad()),
        }
    }

    fn or(&mut self) -> EvalResult<Either> {
        self.nested(|r| {
            let mut left = r.and()?;
            while r.symbol("||") {
                let (Either::Test(a), Either::Test(b)) = (left, r.and()?) else { return Err(r.bad()) };
                left = Either::Test(Test::Or(Box::new(a), Box::new(b)));
            }
            Ok(left)
        })
    }

    fn and(&mut self) -> EvalResult<Either> {
        let mut left = self.compared()?;
        while self.symbol("&&") {
            let (Either::Test(a), Either::Test(b)) = (left, self.compared()?) else { return Err(self.bad()) };
            left = Either::Test(Test::And(Box::new(a), Box::new(b)));
        }
        Ok(left)
    }

    fn compared(&mut self) -> EvalResult<Either> {
        let left = self.unary()?;
        self.blanks();
        let rest = self.rest();
        let ops = [
            ("==", Compare::Eq),
            ("!=", Compare::Ne),
            ("<>", Compare::Ne),
            ("<=", Compare::Le),
            (">=", Compare::Ge),
            ("<", Compare::Lt),
            (">", Compare::Gt),
        ];
        let left = match left {
            Either::Test(t) => {
                if !self.word("is") {
                    return Ok(Either::Test(t));
                }
                return if self.word("unknown") { Ok(Either::Test(Test::IsUnknown(Box::new(t)))) } else { Err(self.bad()) };
            }
            Either::Value(e) => e,
        };
        if let Some((sign, op)) = ops.iter().find(|(sign, _)| rest.starts_with(sign)) {
            self.at += sign.len();
            let Either::Value(right) = self.unary()? else { return Err(self.bad()) };
            return Ok(Either::Test(Test::Compare(*op, left, right)));
        }
        if rest.starts_with(['+', '-', '*', '/', '%']) {
            return Err(not_offered("arithmetic"));
        }
        if self.word("starts") {
            if !self.word("with") {
                return Err(self.bad());
            }
            let Either::Value(right) = self.unary()? else { return Err(self.bad()) };
            return Ok(Either::Test(Test::StartsWith(left, right)));
        }
        if self.word("like_regex") {
            let pattern = self.string()?.ok_or_else(|| self.bad())?;
            let flags = if self.word("flag") { self.string()?.ok_or_else(|| self.bad())? } else { String::new() };
            return Ok(Either::Test(Test::Like(left, Box::new(pattern_of(&pattern, &flags)?))));
        }
        Ok(Either::Value(left))
    }

    fn unary(&mut self) -> EvalResult<Either> {
        if self.symbol("!") {
            return self.nested(|r| {
                r.wanted("(")?;
                let inner = r.test()?;
                r.wanted(")")?;
                Ok(Either::Test(Test::Not(Box::new(inner))))
            });
        }
        if self.word("exists") {
            self.wanted("(")?;
            let inner = self.any()?;
            self.wanted(")")?;
            return Ok(Either::Test(Test::Exists(inner)));
        }
        if self.symbol("(") {
            let inner = self.or()?;
            self.wanted(")")?;
            return match inner {
                Either::Value(e) => self.steps(e).map(Either::Value),
                Either::Test(t) => {
                    self.blanks();
                    if self.rest().starts_with(['.', '[', '?']) {
                        return self.steps(Expr::Holds(Box::new(t))).map(Either::Value);
                    }
                    Ok(Either::Test(t))
                }
            };
        }
        let primary = self.primary()?;
        self.steps(primary).map(Either::Value)
    }

    fn primary(&mut self) -> EvalResult<Expr> {
        if self.symbol("$") {
            if let Some(name) = self.string()? {
                return Ok(Expr::Variable(name));
            }
            let rest = self.rest();
            let named = rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            return Ok(match named.then(|| self.name()).flatten() {
                Some(name) => Expr::Variable(name.to_owned()),
                None => Expr::Root,
            });
        }
        if self.symbol("@") {
            return Ok(Expr::Current);
        }
        if let Some(text) = self.string()? {
            return Ok(Expr::Value(Json::Text(text.into())));
        }
        for (word, value) in [("true", Json::Bool(true)), ("false", Json::Bool(false)), ("null", Json::Null)] {
            if self.word(word) {
                return Ok(Expr::Value(value));
            }
        }
        self.blanks();
        let rest = self.rest();
        let len = rest
            .char_indices()
            .find(|(i, c)| {
                let exponent = *i > 0 && matches!(rest.as_bytes()[i - 1], b'e' | b'E');
                !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || matches!(c, '-' | '+') && (*i == 0 || exponent))
            })
            .map_or(rest.len(), |(i, _)| i);
        let number = rest[..len].trim_start_matches('+');
        match parse_json(number, true) {
            Ok(Json::Number(_)) => {
                self.at += len;
                Ok(Expr::Value(Json::Number(canonical_number(number)?.into_owned().into())))
            }
            _ if rest.starts_with(['+', '-']) => Err(not_offered("arithmetic")),
            _ => Err(self.bad()),
        }
    }

    fn steps(&mut self, from: Expr) -> EvalResult<Expr> {
        let mut steps = vec![];
        loop {
            if self.symbol(".**") {
                steps.push(self.deep()?);
            } else if self.symbol(".*") {
                steps.push(Step::AnyKey);
            } else if self.symbol(".") {
                steps.push(self.key()?);
            } else if self.symbol("[") {
                steps.push(self.items()?);
            } else if self.symbol("?") {
                self.wanted("(")?;
                steps.push(Step::Filter(self.test()?));
                self.wanted(")")?;
            } else {
                return Ok(if steps.is_empty() { from } else { Expr::Steps(Box::new(from), steps) });
            }
        }
    }

    fn deep(&mut self) -> EvalResult<Step> {
        if !self.symbol("{") {
            return Ok(Step::Deep(0, usize::MAX));
        }
        let level = |r: &mut Self| -> EvalResult<usize> {
            if r.word("last") {
                return Ok(usize::MAX);
            }
            let n = r.digits().ok_or_else(|| r.bad())?;
            usize::try_from(n).map_err(|_| r.bad())
        };
        let from = level(self)?;
        let to = if self.word("to") { level(self)? } else { from };
        self.wanted("}")?;
        Ok(Step::Deep(from, to))
    }

    fn key(&mut self) -> EvalResult<Step> {
        if let Some(key) = self.string()? {
            return Ok(Step::Key(key));
        }
        let name = self.name().ok_or_else(|| self.bad())?;
        if !self.symbol("(") {
            return Ok(Step::Key(name.to_owned()));
        }
        let step = match name {
            "size" => Step::Size,
            "type" => Step::Type,
            "double" | "ceiling" | "floor" | "abs" | "datetime" | "keyvalue" => return Err(not_offered(&format!(".{name}()"))),
            _ => return Err(self.bad()),
        };
        self.wanted(")")?;
        Ok(step)
    }

    fn items(&mut self) -> EvalResult<Step> {
        if self.symbol("*") {
            self.wanted("]")?;
            return Ok(Step::AnyItem);
        }
        let place = |r: &mut Self| -> EvalResult<i64> {
            if r.word("last") {
                let back = if r.symbol("-") { r.digits().ok_or_else(|| r.bad())? } else { 0 };
                return Ok(-1 - back.min(i64::MAX - 1));
            }
            r.digits()
                .ok_or_else(|| if r.rest().starts_with(['$', '@', '-', '(']) { not_offered("a computed place") } else { r.bad() })
        };
        let mut places = vec![];
        loop {
            let from = place(self)?;
            let to = if self.word("to") { place(self)? } else { from };
            places.push((from, to));
            if !self.symbol(",") {
                break;
            }
        }
        self.wanted("]")?;
        Ok(Step::Items(places))
    }
}

fn pattern_of(pattern: &str, flags: &str) -> EvalResult<regex::Regex> {
    let mut builder =
        if flags.contains('q') { regex::RegexBuilder::new(&regex::escape(pattern)) } else { regex::RegexBuilder::new(pattern) };
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            's' => builder.dot_matches_new_line(true),
            'm' => builder.multi_line(true),
            'x' => return Err(EvalError::new("0A000", "XQuery \"x\" flag (expanded regular expressions) is not implemented")),
            'q' => &mut builder,
            other => {
                let message = format!(
                    "invalid input syntax for type jsonpath: unrecognized flag character \"{other}\" in LIKE_REGEX predicate"
                );
                return Err(EvalError::new("42601", message));
            }
        };
    }
    builder.size_limit(1 << 20).build().map_err(|e| EvalError::new("2201B", format!("invalid regular expression: {e}")))
}
