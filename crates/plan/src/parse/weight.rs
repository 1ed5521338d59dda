//! How many relations a query stands for, once its WITH queries and views are put in their places. Each place a name is used is planned
//! anew, so names that use one another twice double the plan at each step: forty short lines would fill any memory.

use crate::walk::Visit;
use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, SetExpr, TableFactor, Visitor};

use super::fold;
use crate::error::PlanError;

/// Most relations that a query may stand for.
pub const RELATIONS_MAX: u64 = 2_000;

/// Most columns of a target list, PostgreSQL's bound. A planner that looks through the list once for each of its columns takes minutes
/// for twenty thousand, and hears no cancel meanwhile.
pub const COLUMNS_MAX: usize = 1664;

/// The relations that `query` stands for; `weight` says how many a name in the catalog does (1, but for a plain view).
///
/// # Errors
/// 54001 beyond [`RELATIONS_MAX`] relations or WITH queries, 54011 for a target list beyond [`COLUMNS_MAX`].
pub fn relations(query: &Query, weight: &mut dyn FnMut(&ObjectName) -> u64) -> Result<u64, PlanError> {
    let mut counter = Counter { frames: vec![Frame::default()], names: 0, weight };
    if let ControlFlow::Break(beyond) = query.visit(&mut counter) {
        return Err(beyond.into());
    }
    Ok(counter.frames.first().map_or(0, |f| f.count))
}

/// What there is too much of.
enum Beyond {
    Relations,
    Names,
    Columns,
}

impl From<Beyond> for PlanError {
    fn from(beyond: Beyond) -> PlanError {
        let limit = usize::try_from(RELATIONS_MAX).unwrap_or(usize::MAX);
        match beyond {
            Beyond::Relations => PlanError::TooComplex {
                what: "the query stands for too many relations, with its views and WITH queries put in their places",
                limit,
            },
            Beyond::Names => PlanError::TooComplex { what: "the query has too many WITH queries", limit },
            Beyond::Columns => PlanError::invalid("54011", format!("target lists can have at most {COLUMNS_MAX} entries"))
                .with_hint("select fewer columns, or put many values into an array or jsonb"),
        }
    }
}

/// Whether a target list of a query without its subqueries is too long.
fn is_wide(body: &SetExpr) -> bool {
    let mut parts = vec![body];
    while let Some(part) = parts.pop() {
        match part {
            SetExpr::Select(select) if select.projection.len() > COLUMNS_MAX => return true,
            SetExpr::SetOperation { left, right, .. } => parts.extend([&**left, &**right]),
            SetExpr::Values(values) if values.rows.first().is_some_and(|row| row.len() > COLUMNS_MAX) => return true,
            // a query in parentheses is visited by itself
            _ => {}
        }
    }
    false
}

/// A query that is being counted.
#[derive(Default)]
struct Frame {
    /// Its WITH names that are known by now.
    known: HashMap<String, u64>,
    /// Those that follow, the last first: their queries are visited before the rest.
    awaited: Vec<String>,
    count: u64,
}

struct Counter<'a> {
    frames: Vec<Frame>,
    /// WITH queries, all together.
    names: u64,
    weight: &'a mut dyn FnMut(&ObjectName) -> u64,
}

impl Counter<'_> {
    fn add(&mut self, n: u64) -> ControlFlow<Beyond> {
        let Some(frame) = self.frames.last_mut() else { return ControlFlow::Continue(()) };
        frame.count = frame.count.saturating_add(n);
        if frame.count > RELATIONS_MAX { ControlFlow::Break(Beyond::Relations) } else { ControlFlow::Continue(()) }
    }
}

impl Visitor for Counter<'_> {
    type Break = Beyond;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Beyond> {
        if is_wide(&query.body) {
            return ControlFlow::Break(Beyond::Columns);
        }
        self.names += query.with.as_ref().map_or(0, |with| with.cte_tables.len() as u64);
        if self.names > RELATIONS_MAX {
            return ControlFlow::Break(Beyond::Names);
        }
        let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| fold(&cte.alias.name));
        let awaited = names.rev().collect();
        self.frames.push(Frame { awaited, ..Frame::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Beyond> {
        let Some(done) = self.frames.pop() else { return ControlFlow::Continue(()) };
        let Some(outer) = self.frames.last_mut() else { return ControlFlow::Continue(()) };
        match outer.awaited.pop() {
            Some(name) => {
                outer.known.insert(name, done.count.max(1));
                ControlFlow::Continue(())
            }
            None => self.add(done.count),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Beyond> {
        let TableFactor::Table { name, .. } = factor else { return ControlFlow::Continue(()) };
        let within = match name.0.as_slice() {
            [only] => only.as_ident().map(fold).and_then(|n| self.frames.iter().rev().find_map(|f| f.known.get(&n).copied())),
            _ => None,
        };
        let n = within.unwrap_or_else(|| (self.weight)(name));
        self.add(n)
    }
}

#[cfg(test)]
mod tests {
    use super::{RELATIONS_MAX, relations};
    use crate::parse::{ParseLimits, parse_query};

    fn count(sql: &str) -> Option<u64> {
        let query = parse_query(sql, &ParseLimits::default()).unwrap();
        relations(&query, &mut |name| if name.to_string() == "v" { 7 } else { 1 }).ok()
    }

    #[test]
    fn names_count_as_often_as_they_are_used() {
        assert_eq!(count("SELECT 1"), Some(0));
        assert_eq!(count("SELECT * FROM a, b JOIN v ON true WHERE EXISTS (SELECT 1 FROM c)"), Some(10));
        assert_eq!(
            count("WITH x AS (SELECT * FROM a, v), y AS (SELECT * FROM x, x AS z) SELECT * FROM y, (SELECT * FROM x) s"),
            Some(24)
        );
        // an inner name hides an outer one, and ends with its query
        assert_eq!(
            count("WITH x AS (SELECT * FROM v) SELECT * FROM (WITH x AS (SELECT * FROM a) SELECT * FROM x) s, x"),
            Some(8)
        );
        assert_eq!(count("WITH RECURSIVE r AS (SELECT 1 UNION SELECT n FROM r, a) SELECT * FROM r"), Some(2));
    }

    #[test]
    fn long_lists_are_refused_before_they_are_planned() {
        let limits = ParseLimits::default();
        let of = |sql: &str| relations(&parse_query(sql, &limits).unwrap(), &mut |_| 1).map_err(|e| e.sqlstate());
        let columns = |n: usize| vec!["1"; n].join(",");
        assert_eq!(of(&format!("SELECT {}", columns(1664))), Ok(0));
        assert_eq!(of(&format!("SELECT {}", columns(1665))), Err("54011"));
        assert_eq!(of(&format!("SELECT 1 UNION (SELECT * FROM (SELECT {}) s)", columns(1665))), Err("54011"));
        assert_eq!(of(&format!("VALUES ({})", columns(1665))), Err("54011"));
        let ctes: Vec<String> = (0..2_001).map(|i| format!("c{i} AS (SELECT 1)")).collect();
        assert_eq!(of(&format!("WITH {} SELECT 1", ctes.join(","))), Err("54001"));
    }

    #[test]
    fn doubling_is_refused() {
        let chain = |n: usize| {
            let ctes: Vec<String> = (0..n)
                .map(|i| {
                    if i == 0 {
                        "c0 AS (SELECT 1 AS x FROM t)".into()
                    } else {
                        format!("c{i} AS (SELECT 1 AS x FROM c{0} a, c{0} b)", i - 1)
                    }
                })
                .collect();
            format!("WITH {} SELECT count(*) FROM c{}", ctes.join(", "), n - 1)
        };
        assert_eq!(count(&chain(10)), Some(512));
        assert!(RELATIONS_MAX < 1 << 12 && count(&chain(13)).is_none());
        assert_eq!(count(&chain(64)), None);
    }
}
