//! The text format: blocks divided by empty lines. Parsing and printing are inverse, so that a
//! blessed file differs from the old one only where an answer differs.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use crate::answer::{Answer, Kind, Row};

/// A parsed file.
#[derive(Debug, Clone)]
pub struct File {
    /// In the order of the file.
    pub blocks: Vec<Block>,
}

/// A block, with the comment lines before it.
#[derive(Debug, Clone)]
pub enum Block {
    /// Lines that start with `#`.
    Comment(String),
    /// One transaction of one or more statements.
    Statement {
        /// In order, without the `;`.
        sql: Vec<String>,
        /// The SQLSTATE that it must fail with.
        fails: Option<String>,
    },
    /// COPY FROM STDIN with its rows.
    Copy {
        /// The statement.
        sql: String,
        /// The bytes, as lines.
        data: String,
        /// The SQLSTATE that it must fail with.
        fails: Option<String>,
    },
    /// A statement that PostgreSQL is not asked.
    Ours {
        /// The statement.
        sql: String,
        /// The SQLSTATE that it must fail with.
        fails: Option<String>,
    },
    /// A query that PostgreSQL is not asked: its answer is written by hand.
    Shows {
        /// The query.
        sql: String,
        /// By hand.
        expected: Expected,
    },
    /// A statement that writes and answers with rows.
    Returning {
        /// The statement.
        sql: String,
        /// Blessed.
        expected: Expected,
    },
    /// A view that regauge refuses with these words in its message or hint; PostgreSQL is not asked.
    Refused {
        /// A part of the message or the hint.
        words: String,
        /// The statement.
        sql: String,
    },
    /// A materialized view.
    View {
        /// Its name.
        name: String,
        /// Its query.
        sql: String,
        /// The same in PostgreSQL's words, where they differ.
        postgres: Option<String>,
    },
    /// What a view holds at this point.
    Result {
        /// The view.
        name: String,
        /// Blessed.
        expected: Expected,
    },
    /// A query and its answer at this point.
    Query {
        /// The query.
        sql: String,
        /// Blessed.
        expected: Expected,
    },
}

/// A blessed answer.
#[derive(Debug, Clone)]
pub enum Expected {
    /// Not blessed yet.
    Nothing,
    /// A read that fails, with a part of its message.
    Fails(String),
    /// Rows; `inexact` marks the columns written with `~`.
    Rows {
        /// Columns and rows.
        answer: Answer,
        /// By position.
        inexact: Vec<bool>,
    },
}

/// Reads a file.
///
/// # Errors
/// With the line of the first block that is none.
pub fn parse(text: &str) -> Result<File> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].trim().is_empty() {
            at += 1;
            continue;
        }
        let end = (at..lines.len()).find(|i| lines[*i].trim().is_empty()).unwrap_or(lines.len());
        blocks.push(block(&lines[at..end]).with_context(|| format!("block at line {}", at + 1))?);
        at = end;
    }
    Ok(File { blocks })
}

fn block(lines: &[&str]) -> Result<Block> {
    let (head, body) = lines.split_first().context("an empty block")?;
    let (word, rest) = head.split_once(' ').unwrap_or((head, ""));
    match word {
        _ if head.starts_with('#') => Ok(Block::Comment(lines.join("\n"))),
        "statement" => Ok(Block::Statement { sql: statements(&body.join("\n")), fails: fails(head, rest)? }),
        "ours" => Ok(Block::Ours { sql: body.join("\n"), fails: fails(head, rest)? }),
        "copy" => {
            let (sql, data) = divided(body, "====");
            let data = data.unwrap_or_default().iter().map(|line| format!("{line}\n")).collect();
            Ok(Block::Copy { sql: sql.join("\n"), data, fails: fails(head, rest)? })
        }
        "refused" => Ok(Block::Refused { words: rest.to_string(), sql: body.join("\n") }),
        "view" => {
            let (ours, postgres) = divided(body, "==== postgres");
            let postgres = postgres.map(|lines| lines.join("\n"));
            Ok(Block::View { name: rest.to_string(), sql: ours.join("\n"), postgres })
        }
        "result" => {
            let (none, rows) = divided(body, "----");
            if !none.is_empty() {
                bail!("a result has no query, only `----` and rows");
            }
            Ok(Block::Result { name: rest.to_string(), expected: expected(rows)? })
        }
        "query" | "shows" | "returning" => {
            let (sql, rows) = divided(body, "----");
            let (sql, expected) = (sql.join("\n"), expected(rows)?);
            Ok(match word {
                "query" => Block::Query { sql, expected },
                "shows" => Block::Shows { sql, expected },
                _ => Block::Returning { sql, expected },
            })
        }
        _ => bail!("unknown block `{head}`"),
    }
}

/// `ok`, or `error SQLSTATE`.
fn fails(head: &str, rest: &str) -> Result<Option<String>> {
    match rest.split_once(' ') {
        Some(("error", code)) => Ok(Some(code.trim().to_string())),
        None if rest == "ok" => Ok(None),
        _ => bail!("`ok` or `error SQLSTATE`, not `{head}`"),
    }
}

fn outcome(fails: Option<&String>) -> String {
    fails.map_or("ok".into(), |code| format!("error {code}"))
}

fn divided<'a>(lines: &'a [&'a str], mark: &str) -> (&'a [&'a str], Option<&'a [&'a str]>) {
    match lines.iter().position(|line| *line == mark) {
        Some(at) => (&lines[..at], Some(&lines[at + 1..])),
        None => (lines, None),
    }
}

/// Statements end with `;` at the end of a line.
fn statements(text: &str) -> Vec<String> {
    let parts = text.split(";\n").map(|part| part.trim().trim_end_matches(';').to_string());
    parts.filter(|part| !part.is_empty()).collect()
}

fn expected(lines: Option<&[&str]>) -> Result<Expected> {
    let Some((head, rows)) = lines.and_then(|lines| lines.split_first()) else {
        return Ok(Expected::Nothing);
    };
    if let Some(message) = head.strip_prefix("error: ") {
        return Ok(Expected::Fails(message.to_string()));
    }
    let head = head.strip_prefix("-- ").context("the first line names the columns: `-- a int4`")?;
    let mut columns = Vec::new();
    let mut inexact = Vec::new();
    for column in head.split(", ") {
        let (name, kind) = column.rsplit_once(' ').context("a column is a name and a type")?;
        inexact.push(kind.ends_with('~'));
        columns.push((name.to_string(), Kind::of(kind.trim_end_matches('~'))));
    }
    let rows = rows.iter().map(|line| row(line, columns.len())).collect::<Result<Vec<Row>>>()?;
    Ok(Expected::Rows { answer: Answer { columns, rows }, inexact })
}

fn row(line: &str, n_columns: usize) -> Result<Row> {
    let cells: Row = line
        .split(" | ")
        .map(|cell| match cell {
            "NULL" => None,
            "''" => Some(String::new()),
            text => Some(text.replace("\\n", "\n").replace("\\p", "|").replace("\\\\", "\\")),
        })
        .collect();
    if cells.len() != n_columns {
        bail!("a row of {} cells under {n_columns} columns: {line}", cells.len());
    }
    Ok(cells)
}

fn show(row: &Row) -> String {
    let cells = row.iter().map(|cell| match cell.as_deref() {
        None => "NULL".to_string(),
        Some("") => "''".to_string(),
        Some(text) => text.replace('\\', "\\\\").replace('|', "\\p").replace('\n', "\\n"),
    });
    cells.collect::<Vec<_>>().join(" | ")
}

/// Writes a file as `parse` reads it; rows are sorted as text.
#[must_use]
pub fn print(file: &File) -> String {
    let mut text = String::new();
    for (at, block) in file.blocks.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        print_block(&mut text, block);
    }
    text
}

fn print_block(text: &mut String, block: &Block) {
    let _ = match block {
        Block::Comment(lines) => writeln!(text, "{lines}"),
        Block::Statement { sql, fails } => {
            writeln!(text, "statement {}\n{};", outcome(fails.as_ref()), sql.join(";\n"))
        }
        Block::Ours { sql, fails } => writeln!(text, "ours {}\n{sql}", outcome(fails.as_ref())),
        Block::Copy { sql, data, fails } => {
            writeln!(text, "copy {}\n{sql}\n====\n{}", outcome(fails.as_ref()), data.trim_end_matches('\n'))
        }
        Block::Shows { sql, expected } => writeln!(text, "shows\n{sql}{}", print_expected(expected)),
        Block::Returning { sql, expected } => writeln!(text, "returning\n{sql}{}", print_expected(expected)),
        Block::Refused { words, sql } => writeln!(text, "refused {words}\n{sql}"),
        Block::View { name, sql, postgres } => {
            let other = postgres.as_ref().map_or(String::new(), |s| format!("\n==== postgres\n{s}"));
            writeln!(text, "view {name}\n{sql}{other}")
        }
        Block::Result { name, expected } => {
            writeln!(text, "result {name}{}", print_expected(expected))
        }
        Block::Query { sql, expected } => {
            writeln!(text, "query\n{sql}{}", print_expected(expected))
        }
    };
}

fn print_expected(expected: &Expected) -> String {
    match expected {
        Expected::Nothing => String::new(),
        Expected::Fails(message) => format!("\n----\nerror: {message}"),
        Expected::Rows { answer, inexact } => {
            let columns = answer.columns.iter().enumerate().map(|(at, (name, kind))| {
                let near = if inexact.get(at) == Some(&true) { "~" } else { "" };
                format!("{name} {}{near}", kind.name())
            });
            let mut rows: Vec<String> = answer.rows.iter().map(show).collect();
            rows.sort();
            let mut text = format!("\n----\n-- {}", columns.collect::<Vec<_>>().join(", "));
            for row in rows {
                let _ = write!(text, "\n{row}");
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, Expected, parse, print};

    const TEXT: &str = "# what it is\n# about\n\nstatement ok\nCREATE TABLE t (a int);\nINSERT INTO t \
                        VALUES (1);\n\nstatement error 23505\nINSERT INTO t VALUES (1);\n\nview v\n\
                        SELECT a\nFROM t\n==== postgres\nSELECT a FROM t\n\nresult v\n----\n-- a int4, \
                        b numeric~\n'' | 1.5\nNULL | a\\pb\n\nquery\nSELECT 1/0\n----\nerror: division\n\n\
                        refused write instead\nCREATE MATERIALIZED VIEW x AS SELECT random()\n\ncopy error 22P04\nCOPY t FROM STDIN\n\
                        ====\n1\n2\n\nours ok\nFLUSH\n\nshows\nSHOW x\n----\n-- x text\n1\n\nreturning\nDELETE FROM t RETURNING a\n\
                        ----\n-- a int4\n1\n";

    #[test]
    fn printing_is_the_inverse_of_parsing() {
        let file = parse(TEXT).expect("sound");
        assert_eq!(print(&file), TEXT);
        assert_eq!(file.blocks.len(), 11);
        let Block::Result { expected: Expected::Rows { answer, inexact }, .. } = &file.blocks[4] else {
            panic!("{:?}", file.blocks[4])
        };
        assert_eq!(inexact, &[false, true]);
        assert_eq!(answer.rows[1], [None, Some("a|b".to_string())]);
    }

    #[test]
    fn nonsense_is_an_error_with_its_line() {
        for (text, line) in [("wiev v\nSELECT 1", 1), ("# c\n\nquery\nSELECT 1\n----\n-- a int4\n1 | 2", 3)] {
            let error = parse(text).expect_err("nonsense").to_string();
            assert!(error.contains(&format!("line {line}")), "{error}");
        }
    }
}
