//! Draws a case from a seed: tables with small domains (so that keys meet and groups collide), views
//! nested from every operator, and a schedule.
//!
//! What is drawn has exactly one right answer: wherever order matters the order is total; columns that
//! came out of an inexact computation are shown but never compared, grouped or computed with; integer
//! sizes are tracked so that an overflow happens only where one was meant; and an expression that may
//! fail stands only at the top of a view that nothing reads, because SQL does not say which rows an
//! inner expression is evaluated for.

mod asof;
mod data;
mod expr;
mod functions;
mod json;
mod over;
mod query;
mod related;
mod schedule;
mod statistic;
mod unfold;

use crate::case::{Case, Text, View};
use crate::rng::Rng;

/// A SQL type, as far as the generator tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ty {
    /// boolean
    Bool,
    /// integer
    Int,
    /// bigint
    BigInt,
    /// numeric with so many digits behind the point
    Numeric(u8),
    /// double precision
    Double,
    /// text
    Text,
    /// timestamp
    Timestamp,
    /// interval: equal values are written in several ways
    Span,
    /// jsonb, likewise
    Json,
    /// date
    Date,
    /// timestamptz
    Zoned,
    /// bytea
    Bytes,
    /// uuid
    Uuid,
    /// An array of anything: shown, never computed with.
    Array,
}

impl Ty {
    /// The same, whatever the scale.
    fn class(self) -> Self {
        match self {
            Self::Numeric(_) => Self::Numeric(0),
            other => other,
        }
    }
}

/// A column that an expression may name.
#[derive(Debug, Clone)]
struct Col {
    name: String,
    ty: Ty,
    /// Absolute values stay below ten to this power.
    digits: u8,
    /// Both systems compute the same bits.
    exact: bool,
    /// About so many distinct values: joins are kept from exploding by it.
    distinct: f64,
}

/// A relation that a query may read.
#[derive(Debug, Clone)]
struct Rel {
    sql: Text,
    cols: Vec<Col>,
    rows: f64,
    /// The views that it reads.
    uses: Vec<usize>,
}

/// How large the cases are.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Views per case.
    pub views: usize,
    /// Commits per case, about.
    pub commits: usize,
    /// The largest batch of rows in one statement.
    pub batch_max: usize,
}

/// The case that the seed names. One seed in sixteen has large batches (up to `batch_max` rows) and
/// fewer commits.
#[must_use]
pub fn case(seed: u64, sizes: &Sizes) -> Case {
    let mut rng = Rng::new(seed);
    let large = rng.below(16) == 0;
    let tables = data::tables(&mut rng, large);
    let bases: Vec<Rel> = tables.iter().map(data::Source::relation).collect();
    let mut any_risky = false;
    let mut views = Vec::new();
    let mut readable: Vec<Rel> = Vec::new();
    for at in 0..sizes.views {
        let mut maker = query::Maker::new(rng.fork(), &tables, &bases, &readable);
        let depth = [0, 1, 1, 2, 2, 3][maker.rng.below(6)];
        let (made, risky) = maker.view(depth);
        any_risky |= risky;
        let name = format!("v{at}");
        if !risky && made.rows < 20_000.0 {
            readable.push(Rel { sql: Text::same(name.clone()), cols: made.cols.clone(), rows: made.rows, uses: vec![at] });
        }
        let inexact = made.cols.iter().map(|col| !col.exact).collect();
        views.push(View { name, sql: made.sql, inexact, uses: made.uses });
    }
    let steps = schedule::steps(&mut rng, &tables, &views, any_risky, sizes, large);
    let workers = 1 + rng.below(3);
    Case { seed, tables: tables.into_iter().map(|t| t.table).collect(), views, steps, workers }
}
