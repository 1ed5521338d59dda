//! A query of WITH that has the name of one of a query around it. DataFusion refuses the second one, so it gets a name of its own, and so do
//! the relations that mean it.
//!
//! ```text
//!   WITH x AS (..) SELECT .. FROM (WITH x AS (SELECT .. FROM x) SELECT .. FROM x) q
//!                                       │                │                     └─ the inner one: FROM "x\u{1}1" AS x
//!                                       │                └─ still the outer one, unless RECURSIVE
//!                                       └─ "x\u{1}1"
//! ```
//! Two of one name in one WITH stay as they are: they are refused.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, Ident, Query, TableAlias, TableFactor, VisitorMut,
};

use super::ast::MARK;
use super::window::Function as Window;
use crate::parse::fold;

/// Tells the names of all queries of WITH apart that see each other. Linear in the query, for each level of WITH in WITH.
pub(super) fn rename(query: &mut Query) {
    let mut shadows = Shadows::default();
    let _ = VisitMut::visit(query, &mut shadows);
}

#[derive(Default)]
struct Shadows {
    /// Names that are seen, each with what it is called now; the innermost one last.
    seen: Vec<(String, String)>,
    /// Of the queries around: how many were seen before each, and its WITH, which is done before what may name it.
    around: Vec<(usize, Option<ast::With>)>,
    n_renamed: usize,
}

impl Shadows {
    fn with(&mut self, with: &mut ast::With) {
        let n_around = self.seen.len();
        for cte in &mut with.cte_tables {
            if with.recursive {
                self.see(cte, n_around);
                let _ = VisitMut::visit(&mut cte.query, self);
            } else {
                let _ = VisitMut::visit(&mut cte.query, self);
                self.see(cte, n_around);
            }
        }
    }

    fn see(&mut self, cte: &mut ast::Cte, n_around: usize) {
        let name = fold(&cte.alias.name);
        if self.seen[..n_around].iter().any(|(seen, _)| *seen == name) {
            self.n_renamed += 1;
            let own = format!("{name}{MARK}{}", self.n_renamed);
            cte.alias.name = Ident::with_quote('"', own.clone());
            self.seen.push((name, own));
        } else {
            self.seen.push((name.clone(), name));
        }
    }

    /// What a name is called now, if that is something else.
    fn renamed(&self, name: &Ident) -> Option<Ident> {
        let name = fold(name);
        let (_, now) = self.seen.iter().rev().find(|(seen, _)| *seen == name)?;
        (*now != name).then(|| Ident::with_quote('"', now.clone()))
    }
}

impl VisitorMut for Shadows {
    type Break = ();

    fn pre_visit_query(&mut self, q: &mut Query) -> ControlFlow<()> {
        let n_seen = self.seen.len();
        let mut with = q.with.take();
        if let Some(with) = &mut with {
            self.with(with);
        }
        self.around.push((n_seen, with));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, q: &mut Query) -> ControlFlow<()> {
        if let Some((n_seen, with)) = self.around.pop() {
            self.seen.truncate(n_seen);
            q.with = with;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, args, .. } = factor else { return ControlFlow::Continue(()) };
        let called = match args {
            None => match name.0.as_mut_slice() {
                [ast::ObjectNamePart::Identifier(one)] => one,
                _ => return ControlFlow::Continue(()),
            },
            // a relation that is an argument: TUMBLE(x, ..)
            Some(args) if Window::of(&name.to_string()).is_some() => match args.args.first_mut() {
                Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(one)))) => one,
                _ => return ControlFlow::Continue(()),
            },
            Some(_) => return ControlFlow::Continue(()),
        };
        if let Some(now) = self.renamed(called) {
            let before = std::mem::replace(called, now);
            if alias.is_none() {
                *alias = Some(TableAlias { explicit: true, name: before, columns: vec![], at: None });
            }
        }
        ControlFlow::Continue(())
    }
}
