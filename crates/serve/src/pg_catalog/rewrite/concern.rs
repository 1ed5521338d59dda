//! Which queries ask about the instance: those that name a system schema, a relation of `pg_catalog`, one of its functions, or
//! a type or operator that only catalogue readers write.

use super::{casts, names, tree};
use crate::pg_catalog::{SCHEMAS, functions, relations};
use regauge_plan::sqlparser::ast::{BinaryOperator, Expr, ObjectName, Query, Visitor};
use regauge_plan::walk::Visit;
use std::{collections::HashSet, ops::ControlFlow};

/// Names that WITH gives anywhere in the query.
pub fn named_here(query: &Query) -> HashSet<String> {
    struct V(HashSet<String>);
    impl Visitor for V {
        type Break = ();
        fn pre_visit_query(&mut self, q: &Query) -> ControlFlow<()> {
            self.0.extend(q.with.iter().flat_map(|w| &w.cte_tables).map(|c| tree::fold(&c.alias.name)));
            ControlFlow::Continue(())
        }
    }
    let mut v = V(HashSet::new());
    let _ = query.visit(&mut v);
    v.0
}

/// Whether the query asks about the instance.
pub fn concerns(query: &Query, with: &HashSet<String>) -> bool {
    struct V<'a>(&'a HashSet<String>);
    impl Visitor for V<'_> {
        type Break = ();
        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
            let parts = tree::parts(name);
            let system = match parts.as_slice() {
                [name] => is_bare_relation(name, self.0) || is_call(name),
                [.., schema, _] => SCHEMAS.contains(&schema.as_str()),
                [] => false,
            };
            found(system)
        }
        fn pre_visit_expr(&mut self, e: &Expr) -> ControlFlow<()> {
            found(match e {
                Expr::Function(f) => match tree::parts(&f.name).as_slice() {
                    [name] => functions::is_system(name),
                    [.., schema, _] => SCHEMAS.contains(&schema.as_str()),
                    [] => false,
                },
                Expr::Identifier(i) => names::is_session_word(i),
                Expr::Cast { data_type, .. } => casts::is_system_type(data_type),
                Expr::BinaryOp { op: BinaryOperator::PGCustomBinaryOperator(_), .. } => true,
                _ => false,
            })
        }
    }
    query.visit(&mut V(with)).is_break()
}

/// A function of the session, in FROM.
fn is_call(name: &str) -> bool {
    name == "set_config" || ["pg_sleep", "pg_advisory_", "pg_try_advisory_"].iter().any(|front| name.starts_with(front))
}

/// A relation of `pg_catalog` by its bare name: `pg_catalog` comes before every other schema.
pub fn is_bare_relation(name: &str, with: &HashSet<String>) -> bool {
    name.starts_with("pg_") && !with.contains(name) && relations::find("pg_catalog", name).is_some()
}

fn found(yes: bool) -> ControlFlow<()> {
    if yes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
