//! A second opinion that needs no other database: pairs of queries that must give the same rows whatever the data is.
//!
//! ```text
//! tables ─▶ rows FROM somewhere ─▶ two queries over them ─▶ two maintained views  ═  each other  ═  both as plain SELECTs
//! ```
//! After the ideas of ternary logic partitioning and NoREC (Rigger and Su, 2020): a condition divides rows into those for which it is
//! true, false and NULL; a filter counts what a CASE sums; and after what the standard says joins, sets, groups and windows stand for.
//! Views are made before, amid and behind the changes, and survive restarts. It shares no code with [`crate::generate`], so that a
//! blind spot of the one is not the other's.

mod draw;
mod pairs;

use anyhow::Result;

use crate::answer::difference;
use crate::regauge::{Regauge, Views};
use crate::rng::Rng;
use crate::system::System;

pub use pairs::Pair;

/// Which laws are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Laws {
    /// Those that hold.
    Sound,
    /// One that forgets rows for which the condition is NULL: the check must find it.
    Forgetful,
}

/// What one run saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Pairs of views that were made.
    pub pairs: usize,
    /// Times that a pair was compared.
    pub comparisons: usize,
    /// Of them with rows.
    pub with_rows: usize,
    /// Definitions that were refused, by message.
    pub refused: Vec<String>,
    /// What was not equal, with everything that leads there.
    pub differences: Vec<String>,
}

impl Seen {
    /// Adds another's.
    pub fn add(&mut self, other: Seen) {
        self.pairs += other.pairs;
        self.comparisons += other.comparisons;
        self.with_rows += other.with_rows;
        self.refused.extend(other.refused);
        self.differences.extend(other.differences);
    }
}

/// One case: tables, some pairs over them, changes between which the pairs are compared.
///
/// # Errors
/// When the system itself is gone.
pub async fn case(seed: u64, laws: Laws) -> Result<Seen> {
    let mut rng = Rng::new(seed);
    let mut seen = Seen::default();
    let workers = 1 + rng.below(3);
    let mut system = Regauge::new(workers, Views::Maintained, seed)?;
    let mut log: Vec<String> = vec![];
    let tables = draw::tables(&mut rng);
    for table in &tables {
        must(&mut system, &mut log, &mut seen, table.create()).await?;
    }
    let n_rounds = 3 + rng.below(3);
    let mut pairs: Vec<(String, Pair)> = vec![];
    for round in 0..n_rounds {
        for _ in 0..2 {
            let pair = match laws {
                Laws::Sound => pairs::draw(&mut rng, &tables),
                Laws::Forgetful => pairs::forgetful(&mut rng, &tables),
            };
            let name = format!("p{}", pairs.len());
            let mut made = true;
            for (side, sql) in [("l", &pair.left), ("r", &pair.right)] {
                let create = format!("CREATE MATERIALIZED VIEW {name}{side} AS {sql}");
                if let Err(failure) = system.run(&create).await? {
                    seen.refused.push(format!("{failure}: {sql}"));
                    made = false;
                    break;
                }
                log.push(create);
            }
            if made {
                seen.pairs += 1;
                pairs.push((name, pair));
            }
        }
        for change in draw::changes(&mut rng, &tables) {
            must(&mut system, &mut log, &mut seen, change).await?;
        }
        if round > 0 && rng.percent(20) {
            system.restart(1 + rng.below(3)).await?;
            log.push("-- restart".into());
        }
        for (name, pair) in &pairs {
            compare(&mut system, &mut seen, &log, (seed, name), pair).await?;
        }
        if !seen.differences.is_empty() {
            break;
        }
    }
    Ok(seen)
}

/// A statement without which the case makes no sense.
async fn must(system: &mut Regauge, log: &mut Vec<String>, seen: &mut Seen, sql: String) -> Result<()> {
    if let Err(failure) = system.run(&sql).await? {
        seen.differences.push(format!("{failure}: {sql}"));
    }
    log.push(sql);
    Ok(())
}

async fn compare(system: &mut Regauge, seen: &mut Seen, log: &[String], (seed, name): (u64, &str), pair: &Pair) -> Result<()> {
    let left = system.query(&format!("SELECT * FROM {name}l")).await?;
    let others = [
        ("the other view", format!("SELECT * FROM {name}r")),
        ("the view's query as a SELECT", pair.left.clone()),
        ("the other query as a SELECT", pair.right.clone()),
    ];
    for (what, sql) in others {
        let other = system.query(&sql).await?;
        seen.comparisons += 1;
        let differs = match (&left, &other) {
            (Ok(left), Ok(other)) => {
                seen.with_rows += usize::from(!left.rows.is_empty());
                difference(left, other, &[])
            }
            (left, other) => Some(format!("left: {:?}, other: {:?}", left.as_ref().err(), other.as_ref().err())),
        };
        if let Some(differs) = differs {
            let script = log.join(";\n");
            seen.differences
                .push(format!("seed={seed} {}: {what}: {differs}\n{}\n{}\n{script};", pair.law, pair.left, pair.right));
            return Ok(());
        }
    }
    Ok(())
}
