//! Longer and shorter ways to say the same, turned into one when a query is read: `TABLE t` is `SELECT * FROM t`, `FETCH FIRST n ROWS
//! ONLY` is `LIMIT n`, `GROUP BY ()` is the one empty grouping set.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, GroupByExpr, LimitClause, Query, Select, SetExpr, Value, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// Rewrites all queries of a statement, query or expression.
pub(super) fn unify<T: VisitMut>(tree: &mut T) {
    struct Forms;
    impl VisitorMut for Forms {
        type Break = ();
        fn pre_visit_query(&mut self, q: &mut Query) -> ControlFlow<()> {
            tables(&mut q.body);
            limit(q);
            ControlFlow::Continue(())
        }
        fn pre_visit_select(&mut self, s: &mut Select) -> ControlFlow<()> {
            if let GroupByExpr::Expressions(keys, _) = &mut s.group_by {
                for e in keys.iter_mut().filter(|e| matches!(e, Expr::Tuple(all) if all.is_empty())) {
                    *e = Expr::GroupingSets(vec![vec![]]);
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(tree, &mut Forms);
}

fn tables(body: &mut SetExpr) {
    let mut todo = vec![body];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_mut(), right.as_mut()]),
            SetExpr::Table(t) => {
                let parts: Vec<&str> = t.schema_name.iter().chain(&t.table_name).map(String::as_str).collect();
                let text = format!("SELECT * FROM {}", parts.join("."));
                let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&text).and_then(|mut p| p.parse_query());
                if let Ok(query) = parsed {
                    *body = *query.body;
                }
            }
            _ => {}
        }
    }
}

/// WITH TIES and PERCENT stay, and are refused.
fn limit(q: &mut Query) {
    if q.fetch.as_ref().is_none_or(|f| f.with_ties || f.percent) {
        return;
    }
    let LimitClause::LimitOffset { limit: slot @ None, .. } =
        q.limit_clause.get_or_insert(LimitClause::LimitOffset { limit: None, offset: None, limit_by: vec![] })
    else {
        return;
    };
    let n = q.fetch.take().and_then(|f| f.quantity);
    *slot = Some(n.unwrap_or_else(|| Expr::value(Value::Number("1".to_owned(), false))));
}
