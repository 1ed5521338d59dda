//! Runs a file. What must not matter is varied: whether the views stood before the data or were built
//! after it, whether the system was restarted, how many workers it has.

use anyhow::{Result, anyhow, bail};

use super::file::{Block, Expected, File};
use crate::answer::{Answer, Failure, difference};
use crate::system::{Dialect, System};

/// How a file is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Views where they stand in the file: before the data.
    Live,
    /// All data first, then the views: each is built from history. Only results after the
    /// last statement are checked.
    Rebuilt,
    /// As `Live`, with a restart before every result that something was written before: another one would find what this one found.
    Restored,
    /// As `Live`, with this many workers.
    Workers(usize),
}

impl Way {
    /// The four ways of every file.
    pub const ALL: [Self; 4] = [Self::Live, Self::Rebuilt, Self::Restored, Self::Workers(4)];

    /// Workers at the start.
    #[must_use]
    pub fn workers(self) -> usize {
        match self {
            Self::Workers(n) => n,
            _ => 2,
        }
    }
}

/// Everything in which the system does not answer as the file says.
///
/// # Errors
/// When the system itself is gone.
pub async fn check(file: &File, way: Way, system: &mut impl System) -> Result<Vec<String>> {
    let (mut wrong, mut is_fresh) = (Vec::new(), false);
    for at in order(file, way) {
        let block = &file.blocks[at];
        let is_result = matches!(block, Block::Result { .. });
        if is_result && way == Way::Restored && !is_fresh {
            system.restart(way.workers()).await?;
        }
        // what only reads leaves it so
        let only_reads = matches!(block, Block::Query { .. } | Block::Shows { .. } | Block::Comment(_));
        is_fresh = is_result || is_fresh && only_reads;
        if let Some(what) = check_block(block, system).await? {
            wrong.push(what);
        }
    }
    Ok(wrong)
}

/// The blocks in the order of a way.
fn order(file: &File, way: Way) -> Vec<usize> {
    let all = 0..file.blocks.len();
    if way != Way::Rebuilt {
        return all.collect();
    }
    let (mut first, mut views, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for at in all {
        match &file.blocks[at] {
            Block::View { .. } => views.push(at),
            Block::Result { .. } => results.push(at),
            Block::Statement { .. } | Block::Copy { .. } | Block::Returning { .. } => {
                // What was true before this statement need not be true at the end.
                results.clear();
                first.push(at);
            }
            Block::Refused { .. } | Block::Ours { .. } => first.push(at),
            Block::Query { .. } | Block::Shows { .. } | Block::Comment(_) => {}
        }
    }
    first.into_iter().chain(views).chain(results).collect()
}

async fn check_block(block: &Block, system: &mut impl System) -> Result<Option<String>> {
    Ok(match block {
        Block::Comment(_) => None,
        Block::Statement { sql, fails } => {
            let got = execute(sql, system).await?;
            outcome(&sql.join("; "), fails.as_deref(), got)
        }
        Block::Copy { sql, data, fails } => outcome(sql, fails.as_deref(), system.copy(sql, data).await?),
        Block::Ours { .. } | Block::Shows { .. } if system.dialect() == Dialect::Postgres => None,
        Block::Ours { sql, fails } => outcome(sql, fails.as_deref(), system.run(sql).await?),
        Block::Refused { words, sql } => match (system.dialect(), system_refuses(sql, system).await?) {
            (Dialect::Postgres, _) => None,
            (_, Some(said)) if said.contains(words.as_str()) => None,
            (_, said) => Some(format!("{sql}: expected a refusal with `{words}`, got {said:?}")),
        },
        Block::View { .. } => match system.run(&create(block, system.dialect())).await? {
            Ok(()) => None,
            Err(failure) => Some(format!("{}: {failure}", create(block, system.dialect()))),
        },
        Block::Result { name, expected } => {
            let got = system.query(&format!("SELECT * FROM {name}")).await?;
            differs(expected, &got).map(|what| format!("{name}: {what}"))
        }
        Block::Query { sql, expected } | Block::Shows { sql, expected } | Block::Returning { sql, expected } => {
            let got = system.query(sql).await?;
            differs(expected, &got).map(|what| format!("{sql}: {what}"))
        }
    })
}

fn outcome(sql: &str, fails: Option<&str>, got: Result<(), Failure>) -> Option<String> {
    match (fails, got) {
        (None, Ok(())) => None,
        (Some(code), Err(failure)) if code == failure.sqlstate => None,
        (None, Err(failure)) => Some(format!("{sql}: {failure}")),
        (Some(code), got) => Some(format!("{sql}: expected {code}, got {got:?}")),
    }
}

async fn execute(sql: &[String], system: &mut impl System) -> Result<Result<(), Failure>> {
    match sql {
        [one] => system.run(&in_words_of(system.dialect(), one)).await,
        many => {
            let many: Vec<String> = many.iter().map(|one| in_words_of(system.dialect(), one)).collect();
            system.commit(&many).await
        }
    }
}

async fn system_refuses(sql: &str, system: &mut impl System) -> Result<Option<String>> {
    if system.dialect() == Dialect::Postgres {
        return Ok(None);
    }
    Ok(system.run(sql).await?.err().map(|failure| failure.to_string()))
}

/// A stream is a table for PostgreSQL, a materialized view a view.
fn in_words_of(dialect: Dialect, sql: &str) -> String {
    match dialect {
        Dialect::Postgres => sql.replacen("CREATE STREAM", "CREATE TABLE", 1).replacen("DROP STREAM", "DROP TABLE", 1).replacen(
            "DROP MATERIALIZED VIEW",
            "DROP VIEW",
            1,
        ),
        Dialect::Regauge => sql.to_string(),
    }
}

fn create(block: &Block, dialect: Dialect) -> String {
    match (block, dialect) {
        (Block::View { name, sql, postgres }, Dialect::Postgres) => {
            format!("CREATE VIEW {name} AS {}", postgres.as_ref().unwrap_or(sql))
        }
        (Block::View { name, sql, .. }, Dialect::Regauge) => {
            format!("CREATE MATERIALIZED VIEW {name} AS {sql}")
        }
        _ => String::new(),
    }
}

fn differs(expected: &Expected, got: &Result<Answer, Failure>) -> Option<String> {
    match (expected, got) {
        (Expected::Nothing, _) => Some("not blessed: run `cargo xtask slt --bless`".into()),
        (Expected::Fails(message), Err(failure)) if failure.message.contains(message) => None,
        (Expected::Fails(message), got) => Some(format!(
            "expected an error with `{message}`, got {}",
            got.as_ref().map_or_else(ToString::to_string, |a| format!("{} rows", a.rows.len()))
        )),
        (Expected::Rows { .. }, Err(failure)) => Some(format!("expected rows, got {failure}")),
        (Expected::Rows { answer, inexact }, Ok(got)) => difference(answer, got, inexact),
    }
}

/// The file with every expectation as PostgreSQL answers it. `indexes`: statements that it alone is given before it is first asked for a
/// result, so that it need not read a whole table for each row of another; what it answers is the same without them.
///
/// # Errors
/// When PostgreSQL does not do what a statement block says: then the file is wrong.
pub async fn bless(file: &File, postgres: &mut impl System, indexes: &[&str]) -> Result<File> {
    let mut blessed = file.clone();
    // Without statistics PostgreSQL plans queries over what was loaded in bulk as if it were a few rows: TPC-H took it minutes.
    let is_large = file.blocks.iter().any(|block| matches!(block, Block::Copy { .. }));
    let mut is_analyzed = !is_large;
    let mut indexes = indexes.iter();
    for block in &mut blessed.blocks {
        if is_large && !matches!(block, Block::Result { .. }) {
            is_analyzed = false;
        } else if !is_analyzed {
            is_analyzed = true;
            for sql in indexes.by_ref().copied().chain(["ANALYZE"]) {
                postgres.run(sql).await?.map_err(|failure| anyhow!("{sql}: {failure}"))?;
            }
        }
        let sql = match block {
            Block::Result { name, .. } => format!("SELECT * FROM {name}"),
            Block::Query { sql, .. } | Block::Returning { sql, .. } => sql.clone(),
            other => {
                if let Some(what) = check_block(other, postgres).await? {
                    bail!("PostgreSQL: {what}");
                }
                continue;
            }
        };
        let answer = postgres.query(&sql).await?;
        if let Block::Result { expected, .. } | Block::Query { expected, .. } | Block::Returning { expected, .. } = block {
            let marks = match expected {
                Expected::Rows { inexact, .. } => inexact.clone(),
                _ => Vec::new(),
            };
            *expected = match answer {
                Ok(answer) => Expected::Rows { answer, inexact: marks },
                Err(failure) => Expected::Fails(failure.message),
            };
        }
    }
    Ok(blessed)
}
