//! Syntax of PostgreSQL's catalogue readers into what the ordinary planner plans; one rule a file.
//!
//! Only a query that [`concern`]s the system is touched. The rules know syntax, not whole texts: each holds for any query. Columns
//! get their names first, since PostgreSQL names them after what was written.

mod arrays;
mod casts;
mod concern;
mod names;
mod operators;
mod sources;
mod tree;

use regauge_plan::sqlparser::ast::{Expr, Query, Select, TableFactor, VisitorMut};
use regauge_plan::walk::VisitMut;
use regauge_views::read::names::Scope;
use std::{collections::HashSet, ops::ControlFlow};

/// Rewrites a query that asks about the instance; says whether it does.
pub fn rewrite(query: &mut Query, scope: &Scope) -> bool {
    let with = concern::named_here(query);
    if !concern::concerns(query, &with) {
        return false;
    }
    regauge_plan::batch::name_columns(query);
    let _ = VisitMut::visit(query, &mut Rules { with, _scope: scope });
    true
}

struct Rules<'a> {
    /// Names that WITH gives.
    with: HashSet<String>,
    _scope: &'a Scope,
}

impl VisitorMut for Rules<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        sources::mark_lateral(select);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        casts::show(&mut select.projection);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        sources::qualify(factor, &self.with);
        sources::of_function(factor);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
        operators::rewrite(e);
        names::rewrite(e);
        arrays::rewrite(e);
        casts::rewrite(e);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regauge_plan::sqlparser::{dialect::PostgreSqlDialect, parser::Parser};
    use regauge_views::catalog::Catalog;

    fn scope() -> Scope {
        Scope {
            who: std::sync::Arc::default(),
            made: std::sync::Arc::default(),
            catalog: std::sync::Arc::new(Catalog::default()),
            search_path: vec!["public".to_owned()],
            time_zone: "UTC".to_owned(),
            system_columns: false,
            own: std::collections::HashMap::new(),
            about: std::sync::Arc::default(),
            params: std::sync::Arc::default(),
        }
    }

    fn query(sql: &str) -> Query {
        *Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).and_then(|mut p| p.parse_query()).expect("parses")
    }

    fn rewritten(sql: &str) -> String {
        let mut q = query(sql);
        rewrite(&mut q, &scope());
        let once = q.to_string();
        rewrite(&mut q, &scope());
        assert_eq!(once, q.to_string(), "rewriting twice");
        once
    }

    #[test]
    fn ordinary_statements_are_left_alone() {
        for sql in [
            "SELECT a, count(*) FROM t WHERE a = ANY(ARRAY[1, 2]) GROUP BY a",
            "SELECT x COLLATE \"C\", format('%s', 1) FROM t",
            "WITH pg_class AS (SELECT 1 AS a) SELECT a FROM pg_class",
            "SELECT array_to_string(a, ',') FROM t",
        ] {
            let mut q = query(sql);
            assert!(!rewrite(&mut q, &scope()), "{sql}");
            assert_eq!(q, query(sql));
        }
    }

    #[test]
    fn rules_hold_for_any_query() {
        let pairs = [
            ("SELECT oid FROM pg_class", "SELECT oid FROM pg_catalog.pg_class"),
            (
                "SELECT a FROM pg_catalog.t WHERE a OPERATOR(pg_catalog.~) '^x$' COLLATE pg_catalog.default",
                "SELECT a FROM pg_catalog.t WHERE a ~ '^x$'",
            ),
            ("SELECT a FROM pg_catalog.t WHERE k = ANY (ARRAY['r', 'p'])", "SELECT a FROM pg_catalog.t WHERE k IN ('r', 'p')"),
            ("SELECT a FROM pg_catalog.t WHERE 'd' = ANY (k)", "SELECT a FROM pg_catalog.t WHERE pg_any('d', k)"),
            ("SELECT a::regclass::text AS b FROM pg_catalog.t", "SELECT regclass_text(a) AS b FROM pg_catalog.t"),
            ("SELECT a::regclass AS b FROM pg_catalog.t", "SELECT regclass_text(a) AS b FROM pg_catalog.t"),
            (
                "SELECT a FROM pg_catalog.t WHERE c = 'pg_class'::regclass",
                "SELECT a FROM pg_catalog.t WHERE c = regclass('pg_class')",
            ),
            (
                "SELECT a FROM pg_catalog.t WHERE b LIKE 'x/_' ESCAPE '/'",
                "SELECT a FROM pg_catalog.t WHERE b LIKE like_escape('x/_', '/')",
            ),
        ];
        for (from, to) in pairs {
            assert_eq!(rewritten(from), to);
        }
    }
}
