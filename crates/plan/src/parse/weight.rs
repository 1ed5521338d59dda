//! How many relations a query stands for, once its WITH queries and views are put in their places. Each place a name is used is planned
//! anew, so names that use one another twice double the plan at each step: forty short lines would fill any memory.

use crate::walk::Visit;
use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, TableFactor, Visitor};

use super::fold;
use crate::error::PlanError;

/// Most relations that a query may stand for.
pub const RELATIONS_MAX: u64 = 2_000;

/// The relations that `query` stands for; `weight` says how many a name in the catalog does (1, but for a plain view).
///
/// # Errors
/// 54001 beyond [`RELATIONS_MAX`].
pub fn relations(query: &Query, weight: &mut dyn FnMut(&ObjectName) -> u64) -> Result<u64, PlanError> {
    let mut counter = Counter { frames: vec![Frame::default()], weight };
    if query.visit(&mut counter).is_break() {
        return Err(PlanError::TooComplex {
            what: "the query stands for too many relations, with its views and WITH queries put in their places",
            limit: usize::try_from(RELATIONS_MAX).unwrap_or(usize::MAX),
        });
    }
    Ok(counter.frames.first().map_or(0, |f| f.count))
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
    weight: &'a mut dyn FnMut(&ObjectName) -> u64,
}

impl Counter<'_> {
    fn add(&mut self, n: u64) -> ControlFlow<()> {
        let Some(frame) = self.frames.last_mut() else { return ControlFlow::Continue(()) };
        frame.count = frame.count.saturating_add(n);
        if frame.count > RELATIONS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Visitor for Counter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| fold(&cte.alias.name));
        let awaited = names.rev().collect();
        self.frames.push(Frame { awaited, ..Frame::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
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

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
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
