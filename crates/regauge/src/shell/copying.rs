//! COPY between a relation and a file of this machine: the client reads and writes the file, the server sees STDIN and STDOUT.
//!
//! `COPY t FROM '/path/file.csv' WITH (FORMAT csv)`, and psql's `\copy t from file.csv csv`. The server itself opens no files for
//! anybody, so over the wire such a path is refused.

use anyhow::{Context, bail};
use std::{
    fs::File,
    io::{Read, Write},
    path::PathBuf,
};

/// Bytes that are sent at once.
const CHUNK: usize = 64 << 10;

/// Which way rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    In,
    Out,
}

/// What a statement says about rows that go over the client.
#[derive(Debug, PartialEq, Eq)]
pub struct Copy {
    pub way: Way,
    /// A file of this machine; none for STDIN and STDOUT.
    pub file: Option<PathBuf>,
    /// The statement as the server has it.
    pub text: String,
}

/// Gives the rows of a COPY; nothing at their end.
pub trait Rows {
    fn next(&mut self) -> std::io::Result<Vec<u8>>;
}

/// All of a file, or of standard input.
pub struct Whole<R>(pub R);

impl<R: Read> Rows for Whole<R> {
    fn next(&mut self) -> std::io::Result<Vec<u8>> {
        let mut chunk = vec![0; CHUNK];
        let n = self.0.read(&mut chunk)?;
        chunk.truncate(n);
        Ok(chunk)
    }
}

impl<R: std::io::BufRead> Rows for super::script::Script<R> {
    fn next(&mut self) -> std::io::Result<Vec<u8>> {
        self.row()
    }
}

impl Copy {
    /// Reads a statement; `None` for one that is no COPY of the client's.
    pub fn read(statement: &str) -> anyhow::Result<Option<Copy>> {
        let is_command = statement.starts_with('\\');
        let text = statement.strip_prefix('\\').unwrap_or(statement);
        let tokens = tokens(text);
        let word = |at: usize| tokens.get(at).map(|t| t.text.to_ascii_lowercase()).unwrap_or_default();
        if word(0) != "copy" {
            return Ok(None);
        }
        let Some(at) = (1..tokens.len()).find(|at| matches!(word(*at).as_str(), "from" | "to")) else { return Ok(None) };
        let way = if word(at) == "from" { Way::In } else { Way::Out };
        let Some(target) = tokens.get(at + 1) else { return Ok(None) };
        let stand_in = if way == Way::In { "STDIN" } else { "STDOUT" };
        let replaced = |length: usize| format!("{}{stand_in}{}", &text[..target.at], &text[target.at + length..]);
        match (target.text, target.text.to_ascii_lowercase().as_str()) {
            (_, "stdin" | "stdout") => Ok(Some(Copy { way, file: None, text: text.to_owned() })),
            (_, "pstdin" | "pstdout") if is_command => Ok(Some(Copy { way, file: None, text: replaced(target.text.len()) })),
            (_, "program") => {
                bail!("COPY {stand_in} PROGRAM is not offered\nhint: let the program write a file, or pipe it into -c")
            }
            (quoted, _) if quoted.starts_with('\'') => {
                let path = quoted.trim_matches('\'').replace("''", "'");
                Ok(Some(Copy { way, file: Some(path.into()), text: replaced(quoted.len()) }))
            }
            _ if is_command => {
                // psql takes a name without quotes up to the next blank.
                let rest = text[target.at..].trim_end_matches(';');
                let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
                Ok(Some(Copy { way, file: Some(rest[..length].into()), text: replaced(length) }))
            }
            _ => Ok(None),
        }
    }

    /// The file, opened to be read.
    pub fn open(path: &PathBuf) -> anyhow::Result<File> {
        File::open(path).with_context(|| format!("cannot read file={}", path.display()))
    }
}

/// Where rows of a COPY go to: a file that is made once there are rows to come, or standard output.
pub struct Out(Option<PathBuf>);

impl Out {
    pub fn new(file: Option<PathBuf>) -> Out {
        Out(file)
    }

    /// Makes it.
    pub fn open(&self) -> anyhow::Result<Box<dyn Write>> {
        Ok(match &self.0 {
            Some(path) => {
                let file = File::create(path).with_context(|| format!("cannot write file={}", path.display()))?;
                Box::new(std::io::BufWriter::new(file))
            }
            None => Box::new(std::io::stdout()),
        })
    }

    /// Whether it is a file, so that standard output is free for a word about it.
    pub fn is_file(&self) -> bool {
        self.0.is_some()
    }
}

struct Token<'a> {
    at: usize,
    text: &'a str,
}

/// Words and strings outside of parentheses and comments.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let mut found = vec![];
    let (mut at, mut open) = (0, 0usize);
    while at < bytes.len() {
        let rest = &text[at..];
        let length = match bytes[at] {
            b'-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            quote @ (b'\'' | b'"') => quoted(rest, quote),
            byte if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => {
                let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$');
                rest.find(end).unwrap_or(rest.len())
            }
            byte => {
                match byte {
                    b'(' => open += 1,
                    b')' => open = open.saturating_sub(1),
                    _ if !byte.is_ascii_whitespace() && open == 0 => found.push(Token { at, text: &rest[..1] }),
                    _ => {}
                }
                at += 1;
                continue;
            }
        };
        if open == 0 && !rest.starts_with("--") && !rest.starts_with("/*") {
            found.push(Token { at, text: &rest[..length] });
        }
        at += length;
    }
    found
}

/// The length of a string or a quoted name; its quotes may be doubled within.
fn quoted(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match (bytes[at] == quote, bytes.get(at + 1) == Some(&quote)) {
            (true, true) => at += 2,
            (true, false) => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(statement: &str) -> Option<(Way, Option<String>, String)> {
        let copy = Copy::read(statement).unwrap()?;
        Some((copy.way, copy.file.map(|f| f.display().to_string()), copy.text))
    }

    #[test]
    fn a_copy_with_a_file_becomes_one_over_the_client() {
        let cases = [
            ("COPY t FROM '/a/b.csv' WITH (FORMAT csv)", Way::In, Some("/a/b.csv"), "COPY t FROM STDIN WITH (FORMAT csv)"),
            ("copy \"from\" (a, \"to\")\nfrom 'it''s';", Way::In, Some("it's"), "copy \"from\" (a, \"to\")\nfrom STDIN;"),
            ("COPY (SELECT a FROM t) TO 'x' (HEADER)", Way::Out, Some("x"), "COPY (SELECT a FROM t) TO STDOUT (HEADER)"),
            ("-- from 'x'\nCOPY s.t TO stdout", Way::Out, None, "-- from 'x'\nCOPY s.t TO stdout"),
            ("COPY t FROM STDIN;", Way::In, None, "COPY t FROM STDIN;"),
            ("\\copy t from data/x.csv csv header", Way::In, Some("data/x.csv"), "copy t from STDIN csv header"),
            ("\\copy t to 'a b.csv';", Way::Out, Some("a b.csv"), "copy t to STDOUT;"),
            ("\\copy t from pstdin", Way::In, None, "copy t from STDIN"),
        ];
        for (statement, way, file, text) in cases {
            assert_eq!(read(statement), Some((way, file.map(str::to_owned), text.to_owned())), "{statement}");
        }
        for other in ["SELECT 1", "COPY t FROM nowhere", "\\q", "COPY t", "INSERT INTO copy SELECT a FROM 'x'", ""] {
            assert_eq!(read(other), None, "{other}");
        }
        assert!(Copy::read("COPY t FROM PROGRAM 'rm'").is_err());
    }
}
