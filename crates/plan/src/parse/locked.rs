//! FOR UPDATE and its kin below the top of a statement: each such query becomes a part of its own, before what reads its rows.
//!
//! ```text
//!   UPDATE jobs SET .. WHERE id = (SELECT id FROM jobs .. LIMIT 1 FOR UPDATE SKIP LOCKED)
//!   parts: __locked0 = SELECT id FROM jobs .. FOR UPDATE SKIP LOCKED;  body: UPDATE jobs SET .. WHERE id = (SELECT * FROM __locked0)
//! ```
//! So it runs once, as in PostgreSQL where it names no column of the query around it; one that does is refused, because there is no such
//! column in a part. A query of a view is no statement of these and keeps its clause, which is refused there.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Query, Visitor, VisitorMut};

use super::statement::Statement;
use super::with::{Part, With};
use super::{ParseLimits, Result, fold, parse_query};
use crate::error::PlanError;
use crate::walk::{Visit, VisitMut};

/// What a part of this kind is called; no other name is written so.
const NAME: &str = "__locked";

/// Queries that were taken out, as parts.
#[derive(Default)]
struct Hoist {
    parts: Vec<Part>,
    /// Queries around the one at hand.
    depth: usize,
    /// How many of these keep their clause: the statement itself has one.
    kept: usize,
    /// What WITH names in each of these, and where that stands.
    with: Vec<Vec<(String, usize)>>,
    failed: Option<PlanError>,
}

/// Where a query stands in its statement, which does not move while it is walked.
fn place(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}

impl Hoist {
    fn name(&self) -> String {
        format!("{NAME}{}", self.parts.len())
    }

    /// Whether a query reads what WITH names around it: before the statement that would be a table of that name, or nothing.
    fn reads_with(&self, query: &Query) -> bool {
        struct Names<'a>(&'a [&'a str]);
        impl Visitor for Names<'_> {
            type Break = ();
            fn pre_visit_relation(&mut self, name: &ast::ObjectName) -> ControlFlow<()> {
                let one = if let [part] = name.0.as_slice() { part.as_ident().map(fold) } else { None };
                if one.is_some_and(|one| self.0.contains(&one.as_str())) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }
        }
        let here = place(query);
        // Of a WITH that it is a part of itself it sees the parts before it.
        let seen = self.with.iter().flat_map(|all| all.iter().take_while(|(_, at)| *at != here)).map(|(name, _)| name.as_str());
        let seen: Vec<&str> = seen.collect();
        !seen.is_empty() && Visit::visit(query, &mut Names(&seen)).is_break()
    }

    fn out(&mut self, query: &mut Query) -> Result<()> {
        if self.reads_with(query) {
            let hint = "lock the rows in the part of WITH: WITH j AS (SELECT .. FOR UPDATE) ..";
            return Err(PlanError::unsupported("FOR UPDATE in a subquery that reads what WITH names around it", hint));
        }
        let reads = *parse_query("SELECT * FROM __locked", &ParseLimits::default())?;
        let mut taken = std::mem::replace(query, reads);
        // What is locked within it comes before it.
        let around = (std::mem::take(&mut self.depth), std::mem::replace(&mut self.kept, 1));
        let walked = VisitMut::visit(&mut taken, self);
        (self.depth, self.kept) = around;
        if walked.is_break() {
            return Ok(());
        }
        let name = self.name();
        if let ast::SetExpr::Select(select) = query.body.as_mut()
            && let Some(ast::TableFactor::Table { name: of, .. }) = select.from.first_mut().map(|f| &mut f.relation)
        {
            *of = ast::ObjectName::from(vec![ast::Ident::with_quote('"', &name)]);
        }
        self.parts.push(Part { name, columns: vec![], work: Statement::Query(Box::new(taken)) });
        Ok(())
    }
}

impl VisitorMut for Hoist {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if !query.locks.is_empty()
            && self.depth >= self.kept
            && let Err(error) = self.out(query)
        {
            self.failed = Some(error);
            return ControlFlow::Break(());
        }
        self.depth += 1;
        let parts = query.with.iter().flat_map(|w| &w.cte_tables);
        self.with.push(parts.map(|part| (fold(&part.alias.name), place(&part.query))).collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        self.with.pop();
        ControlFlow::Continue(())
    }
}

/// The statement with its locked subqueries as parts before it.
pub(super) fn hoist(statement: Statement) -> Result<Statement> {
    let mut hoist = Hoist::default();
    let statement = match statement {
        Statement::Prepare { name, types, statement } => {
            let statement = Box::new(self::hoist(*statement)?);
            return Ok(Statement::Prepare { name, types, statement });
        }
        Statement::With(with) => {
            let With { parts, body } = *with;
            for mut part in parts {
                part.work = hoist.of(part.work)?;
                hoist.parts.push(part);
            }
            let body = hoist.of(body)?;
            return Ok(Statement::With(Box::new(With { parts: hoist.parts, body })));
        }
        one => hoist.of(one)?,
    };
    if hoist.parts.is_empty() {
        return Ok(statement);
    }
    Ok(Statement::With(Box::new(With { parts: hoist.parts, body: statement })))
}

impl Hoist {
    /// One statement without those below its top.
    fn of(&mut self, mut statement: Statement) -> Result<Statement> {
        self.depth = 0;
        self.with.clear();
        self.kept = usize::from(matches!(statement, Statement::Query(_)));
        let _ = match &mut statement {
            Statement::Query(query) => VisitMut::visit(query.as_mut(), self),
            Statement::Insert(insert) => insert.source.iter_mut().try_for_each(|source| VisitMut::visit(source.as_mut(), self)),
            Statement::Update(update) => {
                let mut values = update.assignments.iter_mut().filter_map(|a| a.value.as_mut());
                match values.try_for_each(|value| VisitMut::visit(value, self)) {
                    ControlFlow::Continue(()) => match VisitMut::visit(&mut update.from, self) {
                        ControlFlow::Continue(()) => VisitMut::visit(&mut update.selection, self),
                        end => end,
                    },
                    end => end,
                }
            }
            Statement::Merge(merge) => match VisitMut::visit(&mut merge.source, self) {
                ControlFlow::Continue(()) => merge.expressions_mut().try_for_each(|e| VisitMut::visit(e, self)),
                end => end,
            },
            Statement::Delete(delete) => match VisitMut::visit(&mut delete.using, self) {
                ControlFlow::Continue(()) => VisitMut::visit(&mut delete.selection, self),
                end => end,
            },
            _ => ControlFlow::Continue(()),
        };
        self.failed.take().map_or(Ok(statement), Err)
    }
}
