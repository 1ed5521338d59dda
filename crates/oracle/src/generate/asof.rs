//! ASOF joins: each row with the nearest one of another relation. PostgreSQL asks for it by LATERAL with an order and LIMIT 1; ties go to
//! the first by all columns, which therefore are exact.

use super::expr;
use super::query::{Maker, Query, ROWS_MAX};
use super::{Col, Rel, Ty};
use crate::case::Text;

impl Maker<'_> {
    /// `left ASOF [LEFT] JOIN right ON [a = b AND ..] m <= n`
    pub(super) fn as_of(&mut self, depth: usize) -> Query {
        let left = self.item(depth);
        let (sql, cols, rows, uses) = self.derived(depth.saturating_sub(1));
        let right = self.named(Rel { sql: Text::same("(").and(&sql).with(")"), cols, rows, uses });
        if left.rows * right.rows > ROWS_MAX {
            return self.project(0);
        }
        let mut moments: Vec<(Col, Col)> = Vec::new();
        for l in left.scope.iter().filter(|col| col.exact && !matches!(col.ty, Ty::Array | Ty::Bool)) {
            moments.extend(expr::columns_of(&right.scope, l.ty).into_iter().map(|r| (l.clone(), r.clone())));
        }
        let Some((l, r)) = self.rng.pick(&moments).cloned() else { return self.project(0) };
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..[0, 1, 1, 1, 2][self.rng.below(5)] {
            keys.extend(self.key(&left, &right).map(|(key, _)| key).filter(|key| !keys.contains(key)));
        }
        let (sign, mirrored, order) =
            [("<=", ">=", " DESC"), ("<", ">", " DESC"), (">=", "<=", ""), (">", "<", "")][self.rng.below(4)];
        let compared = if self.rng.percent(70) {
            format!("{} {sign} {}", r.name, l.name)
        } else {
            format!("{} {mirrored} {}", l.name, r.name)
        };
        keys.push(compared);
        let condition = keys.join(" AND ");
        let outer = if self.rng.percent(60) { "LEFT " } else { "" };
        let ours = Text::same(format!(" ASOF {outer}JOIN ")).and(&right.sql).with(&format!(" ON {condition}"));
        let all: Vec<&str> = right.scope.iter().map(|col| col.name.as_str()).collect();
        let alias = all.first().and_then(|name| name.split('.').next()).unwrap_or_default();
        let postgres = Text::same(format!(" {outer}JOIN LATERAL (SELECT * FROM ")).and(&right.sql).with(&format!(
            " WHERE {condition} ORDER BY {}{order}, {} LIMIT 1) AS {alias} ON true",
            r.name,
            all.join(", ")
        ));
        let scope: Vec<Col> = left.scope.iter().chain(&right.scope).cloned().collect();
        let outputs = self.outputs(&scope, false);
        let (head, cols) = Self::select("SELECT", &outputs, left.rows);
        let filter = self.filter(&scope, 30);
        let sql = Text::same(head).with(" FROM ").and(&left.sql).and(&Text::either(ours, postgres)).with(&filter);
        Query { sql, cols, rows: left.rows, uses: left.uses.into_iter().chain(right.uses).collect() }
    }
}
