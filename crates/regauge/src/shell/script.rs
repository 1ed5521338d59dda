//! A script: lines in, one statement after the other out, each with the line that it begins in.
//!
//! ```text
//!   lines ─▶ lexer ─▶ statement up to its `;` │ \command up to the end of its line
//!              └ knows strings, "names", $tag$ bodies, comments and parentheses, and nothing else of SQL
//! ```
//! Cost: one statement is in memory, and each byte is looked at once. Rows of a COPY .. FROM STDIN are the lines that follow it up
//! to `\.`, as psql has it and pg_dump writes it.

use std::io::{BufRead, Result};

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A statement.
    Statement {
        /// The line that it begins in, from 1.
        line: usize,
        /// It, with its semicolon.
        text: String,
    },
    /// A line that begins with a backslash; `exit` and `quit` mean `\q`.
    Command {
        /// Which line.
        line: usize,
        /// It.
        text: String,
    },
}

/// Where the lexer stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    /// In '..', where a backslash may escape.
    Text { escapes: bool },
    /// In "..".
    Name,
    /// In $tag$ .. $tag$.
    Dollar(String),
    /// In so many /* */.
    Comment(usize),
}

/// Lines that are being read.
pub struct Script<R> {
    lines: R,
    line: usize,
    state: State,
    /// Parentheses that are open, and BEGIN ATOMIC and CASE in a function's body.
    open: usize,
    blocks: usize,
    /// The first words of the statement, as many as tell that it creates a function.
    head: Vec<String>,
    /// What of the last line is still to be looked at.
    rest: String,
    /// The statement so far, and where it began.
    text: String,
    began: Option<usize>,
}

impl<R: BufRead> Script<R> {
    pub fn new(lines: R) -> Script<R> {
        let (rest, text) = (String::new(), String::new());
        Script { lines, line: 0, state: State::Plain, open: 0, blocks: 0, head: vec![], rest, text, began: None }
    }

    /// What comes next; `ask` hears before each line whether a statement has begun.
    pub fn next(&mut self, ask: &mut dyn FnMut(bool) -> Result<()>) -> Result<Option<Piece>> {
        loop {
            if self.rest.is_empty() {
                ask(self.began.is_some())?;
                if self.lines.read_line(&mut self.rest)? == 0 {
                    return Ok(self.statement());
                }
                self.line += 1;
            }
            let line = std::mem::take(&mut self.rest);
            let command = match line.trim() {
                "exit" | "quit" => Some("\\q"),
                line => line.starts_with('\\').then_some(line),
            };
            if let Some(command) = command.filter(|_| self.began.is_none() && self.state == State::Plain) {
                self.text.clear();
                return Ok(Some(Piece::Command { line: self.line, text: command.to_owned() }));
            }
            if let Some(end) = self.scan(&line) {
                self.text += &line[..end];
                self.rest = line[end..].to_owned();
                // What follows on the line is looked at once a statement is asked for; a line's end alone is nothing.
                if self.rest.trim().is_empty() {
                    self.rest.clear();
                }
                if let Some(piece) = self.statement() {
                    return Ok(Some(piece));
                }
            } else {
                self.text += &line;
            }
        }
    }

    /// The next line of a COPY's rows; none behind `\.`.
    pub fn row(&mut self) -> Result<Vec<u8>> {
        let mut line = std::mem::take(&mut self.rest);
        if line.is_empty() && self.lines.read_line(&mut line)? > 0 {
            self.line += 1;
        }
        Ok(if line.trim_end() == "\\." { vec![] } else { line.into_bytes() })
    }

    /// An error on a terminal: what is left of the line is forgotten.
    pub fn forget(&mut self) {
        self.rest.clear();
    }

    /// What has been read, if it is more than comments.
    fn statement(&mut self) -> Option<Piece> {
        (self.state, self.open, self.blocks) = (State::Plain, 0, 0);
        self.head.clear();
        let text = std::mem::take(&mut self.text);
        let line = self.began.take()?;
        (text.trim() != ";").then(|| Piece::Statement { line, text: text.trim().to_owned() })
    }

    /// Goes over a line; the end of the statement in it, if it ends there.
    fn scan(&mut self, line: &str) -> Option<usize> {
        let bytes = line.as_bytes();
        let at = |i: usize| bytes.get(i).copied().unwrap_or_default();
        let mut i = 0;
        while i < bytes.len() {
            let (byte, next) = (bytes[i], at(i + 1));
            match &mut self.state {
                State::Plain => {
                    match (byte, next) {
                        (b'-', b'-') => return None,
                        (b'/', b'*') => {
                            self.state = State::Comment(1);
                            i += 2;
                            continue;
                        }
                        _ if byte.is_ascii_whitespace() => {}
                        _ => _ = self.began.get_or_insert(self.line),
                    }
                    let before = i.checked_sub(1).map_or(b' ', at);
                    if is_word(byte) && !is_word(before) && before != b'.' && before != b'$' {
                        let end = bytes[i..].iter().position(|b| !is_word(*b)).map_or(bytes.len(), |n| i + n);
                        self.word(&line[i..end]);
                    }
                    match byte {
                        b'\'' => {
                            let alone = i < 2 || !is_word(at(i - 2));
                            self.state = State::Text { escapes: matches!(before, b'e' | b'E') && alone };
                        }
                        b'"' => self.state = State::Name,
                        b'$' if !is_word(before) => {
                            if let Some(tag) = tag(&line[i..]) {
                                i += tag.len() - 1;
                                self.state = State::Dollar(tag.to_owned());
                            }
                        }
                        b'(' => self.open += 1,
                        b')' => self.open = self.open.saturating_sub(1),
                        b';' if self.open == 0 && self.blocks == 0 => return Some(i + 1),
                        _ => {}
                    }
                }
                State::Text { escapes: true } if byte == b'\\' => i += 1,
                State::Text { .. } if byte == b'\'' && next == b'\'' => i += 1,
                State::Text { .. } if byte == b'\'' => self.state = State::Plain,
                State::Name if byte == b'"' => self.state = State::Plain,
                State::Dollar(tag) if bytes[i..].starts_with(tag.as_bytes()) => {
                    i += tag.len() - 1;
                    self.state = State::Plain;
                }
                State::Comment(n) if (byte, next) == (b'*', b'/') => {
                    self.state = if *n > 1 { State::Comment(*n - 1) } else { State::Plain };
                    i += 1;
                }
                State::Comment(n) if (byte, next) == (b'/', b'*') => {
                    *n += 1;
                    i += 1;
                }
                _ => {}
            }
            i += 1;
        }
        None
    }
}

impl<R> Script<R> {
    /// A word of SQL: BEGIN ATOMIC .. END is one statement's body, and CASE has an END as well.
    fn word(&mut self, word: &str) {
        let word = word.to_ascii_lowercase();
        let creates = match self.head.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["create", kind, ..] if *kind != "or" => matches!(*kind, "function" | "procedure"),
            ["create", "or", "replace", kind] => matches!(*kind, "function" | "procedure"),
            _ => false,
        };
        match word.as_str() {
            "begin" if creates => self.blocks += 1,
            "case" if self.blocks > 0 => self.blocks += 1,
            "end" => self.blocks = self.blocks.saturating_sub(1),
            _ => {}
        }
        if self.head.len() < 4 {
            self.head.push(word);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The tag that a text begins with: `$$`, `$name$`.
fn tag(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 1;
    let name = &text[1..end];
    let fits = name.bytes().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
    fits.then(|| &text[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<(usize, String)> {
        let mut script = Script::new(text.as_bytes());
        let mut found = vec![];
        while let Some(piece) = script.next(&mut |_| Ok(())).unwrap() {
            let (Piece::Statement { line, text } | Piece::Command { line, text }) = piece;
            found.push((line, text));
        }
        found
    }

    #[test]
    fn statements_end_at_semicolons_that_are_sql() {
        let body = "CREATE OR REPLACE FUNCTION f(a int) RETURNS int BEGIN ATOMIC SELECT CASE WHEN a > 1\nTHEN 2 END; END;";
        let behind = format!("{body} SELECT 1;");
        let cases: [(&str, &[(usize, &str)]); 14] = [
            (behind.as_str(), &[(1, body), (2, "SELECT 1;")]),
            (
                "BEGIN; SELECT CASE a WHEN 1 THEN 2 END; END;",
                &[(1, "BEGIN;"), (1, "SELECT CASE a WHEN 1 THEN 2 END;"), (1, "END;")],
            ),
            ("SELECT 1; SELECT 2", &[(1, "SELECT 1;"), (1, "SELECT 2")]),
            ("\n-- a; b\n\nSELECT 1\n;\nSELECT 2;", &[(4, "-- a; b\n\nSELECT 1\n;"), (6, "SELECT 2;")]),
            ("SELECT 'a;''b;\n;', \"c;\"\"d\";x", &[(1, "SELECT 'a;''b;\n;', \"c;\"\"d\";"), (2, "x")]),
            (r"SELECT E'\';', e'\\'; x", &[(1, r"SELECT E'\';', e'\\';"), (1, "x")]),
            (r"SELECT 'x\'; SELECT 'y';", &[(1, r"SELECT 'x\';"), (1, "SELECT 'y';")]),
            ("SELECT type'a\\'; x", &[(1, "SELECT type'a\\';"), (1, "x")]),
            ("SELECT $$;'$$, $a_1$;$$;$a_1$;\nx", &[(1, "SELECT $$;'$$, $a_1$;$$;$a_1$;"), (2, "x")]),
            ("SELECT $1;x$1;", &[(1, "SELECT $1;"), (1, "x$1;")]),
            ("/* ; /* ; */ ; */ SELECT /* ' */ 1;x", &[(1, "/* ; /* ; */ ; */ SELECT /* ' */ 1;"), (1, "x")]),
            ("SELECT (1;2); x", &[(1, "SELECT (1;2);"), (1, "x")]),
            (" ;; \n-- nothing\n/* at\nall */\n", &[]),
            (
                "SELECT 1;\n\\copy t from x.csv\nSELECT\n\\x;",
                &[(1, "SELECT 1;"), (2, "\\copy t from x.csv"), (3, "SELECT\n\\x;")],
            ),
        ];
        for (text, wanted) in cases {
            let wanted: Vec<(usize, String)> = wanted.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
            assert_eq!(pieces(text), wanted, "{text}");
        }
    }

    #[test]
    fn rows_of_a_copy_follow_their_statement() {
        let mut script = Script::new("COPY t FROM STDIN;\n1;\t'\n\\.\nSELECT 1;".as_bytes());
        let next = |script: &mut Script<&[u8]>| script.next(&mut |_| Ok(())).unwrap();
        assert!(matches!(next(&mut script), Some(Piece::Statement { line: 1, .. })));
        assert_eq!(script.row().unwrap(), b"1;\t'\n");
        assert_eq!(script.row().unwrap(), b"");
        assert_eq!(next(&mut script), Some(Piece::Statement { line: 4, text: "SELECT 1;".to_owned() }));
        assert_eq!(next(&mut script), None);
    }
}
