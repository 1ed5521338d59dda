//! Queries in which one relation is asked for the rows of another: products, subqueries anywhere, LATERAL, DISTINCT ON, and the
//! sets of keys that an aggregate groups by.
//!
//! PostgreSQL runs a correlated subquery once for each row that asks, so what is drawn is bounded by the product of the two sides.

use super::expr::{self, Expr};
use super::query::{Item, Maker, Query, ROWS_MAX};
use super::{Col, Ty};
use crate::case::Text;

/// An expression that holds a query.
struct Asked {
    sql: Text,
    ty: Ty,
    digits: u8,
}

impl Maker<'_> {
    /// Two relations of which every row may meet every other.
    fn pair(&mut self, depth: usize) -> Option<(Item, Item)> {
        let left = self.item(depth);
        let right = self.item(depth.saturating_sub(1));
        (left.rows * right.rows <= ROWS_MAX).then_some((left, right))
    }

    /// A join by any condition, or by none. (PostgreSQL has no FULL JOIN without an equality.)
    pub(super) fn product(&mut self, depth: usize) -> Query {
        let Some((left, right)) = self.pair(depth) else { return self.project(0) };
        let scope: Vec<Col> = left.scope.iter().chain(&right.scope).cloned().collect();
        let condition = expr::predicate(&mut self.rng, &scope, 1);
        let (word, on) = match self.rng.below(8) {
            0 => ("CROSS JOIN", String::new()),
            1 => ("LEFT JOIN", " ON true".into()),
            2 | 3 => ("JOIN", format!(" ON {condition}")),
            4 | 5 => ("LEFT JOIN", format!(" ON {condition}")),
            _ => ("RIGHT JOIN", format!(" ON {condition}")),
        };
        let outputs = self.outputs(&scope, false);
        let rows = (left.rows * right.rows).max(left.rows).max(right.rows);
        let (head, cols) = Self::select("SELECT", &outputs, rows);
        let filter = self.filter(&scope, 30);
        let sql = Text::same(head)
            .with(" FROM ")
            .and(&left.sql)
            .with(&format!(" {word} "))
            .and(&right.sql)
            .with(&format!("{on}{filter}"));
        Query { sql, cols, rows, uses: left.uses.into_iter().chain(right.uses).collect() }
    }

    /// Subqueries in the select list and under AND, OR and NOT in WHERE.
    pub(super) fn asked(&mut self, depth: usize) -> Query {
        let Some((left, right)) = self.pair(depth) else { return self.project(0) };
        let (scope, mut uses, rows) = (left.scope, left.uses, left.rows);
        let outputs = self.outputs(&scope, false);
        let (head, mut cols) = Self::select("SELECT", &outputs, rows);
        let mut sql = Text::same(head);
        if self.rng.percent(60) {
            let asked = self.answer(&scope, &right);
            sql = sql.with(", ").and(&asked.sql).with(&format!(" AS c{}", cols.len()));
            cols.push(Col { name: format!("c{}", cols.len()), ty: asked.ty, digits: asked.digits, exact: true, distinct: 3.0 });
        }
        sql = sql.with(" FROM ").and(&left.sql);
        if self.rng.percent(60) {
            let truth = self.truth(&scope, &right);
            let other = expr::predicate(&mut self.rng, &scope, 1);
            sql = sql.with(" WHERE ");
            sql = match self.rng.below(6) {
                0 => sql.and(&truth),
                1 => sql.with("NOT ").and(&truth),
                2 => sql.and(&truth).with(&format!(" AND {other}")),
                3 => sql.and(&truth).with(&format!(" OR {other}")),
                4 => sql.with("NOT (").and(&truth).with(&format!(" OR {other})")),
                _ => sql.with(&format!("CASE WHEN {other} THEN ")).and(&truth).with(" ELSE false END"),
            };
        }
        uses.extend(right.uses);
        Query { sql, cols, rows, uses }
    }

    /// ` FROM right [WHERE condition on both]`
    fn asking(&mut self, scope: &[Col], right: &Item, percent: usize) -> Text {
        let from = Text::same(" FROM ").and(&right.sql);
        if !self.rng.percent(percent) {
            return from;
        }
        let both: Vec<Col> = scope.iter().chain(&right.scope).cloned().collect();
        from.with(&format!(" WHERE {}", expr::predicate(&mut self.rng, &both, 1)))
    }

    /// A condition in brackets.
    fn truth(&mut self, scope: &[Col], right: &Item) -> Text {
        let types = expr::present(scope);
        let ty = self.rng.pick(&types).copied().unwrap_or(Ty::Int);
        let x = expr::value(&mut self.rng, scope, ty, 1);
        let y = expr::value(&mut self.rng, &right.scope, ty, 1);
        let from = self.asking(scope, right, 60);
        let not = ["", "NOT "][self.rng.below(2)];
        let head = match self.rng.below(5) {
            0 => format!("({not}EXISTS (SELECT 1"),
            1 | 2 => format!("({} {not}IN (SELECT {}", x.sql, y.sql),
            _ => {
                let op = ["=", "<>", "<", "<=", ">", ">="][self.rng.below(6)];
                // PostgreSQL 15 has no least boolean, but compares booleans with ANY all the same.
                let some = ["ANY", "ALL"][self.rng.below(2)];
                format!("({} {op} {some} (SELECT {}", x.sql, y.sql)
            }
        };
        Text::same(head).and(&from).with("))")
    }

    /// A value or a condition.
    fn answer(&mut self, scope: &[Col], right: &Item) -> Asked {
        let types = expr::present(&right.scope);
        if types.is_empty() || self.rng.percent(35) {
            return Asked { sql: self.truth(scope, right), ty: Ty::Bool, digits: 0 };
        }
        let ty = self.rng.pick(&types).copied().unwrap_or(Ty::Int);
        let y = expr::value(&mut self.rng, &right.scope, ty, 1);
        let from = self.asking(scope, right, 80);
        let aggregate = |sql: String, ty: Ty, digits: u8| Asked {
            sql: Text::same(format!("(SELECT {sql}")).and(&from).with(")"),
            ty,
            digits,
        };
        match (ty, self.rng.below(6)) {
            (_, 0) => aggregate("count(*)".into(), Ty::BigInt, 6),
            (_, 1) => aggregate(format!("count(DISTINCT {})", y.sql), Ty::BigInt, 6),
            (Ty::Bool, 2 | 3) => aggregate(format!("bool_or({})", y.sql), Ty::Bool, 0),
            (Ty::Int, 2) => aggregate(format!("sum({})", y.sql), Ty::BigInt, y.digits + 6),
            (Ty::Json | Ty::Bytes | Ty::Uuid, 2 | 3) => aggregate(format!("count({})", y.sql), Ty::BigInt, 6),
            (ty, 2 | 3) => aggregate(format!("max({})", y.sql), y_type(&y, ty), y.digits),
            _ => {
                let word = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"][self.rng.below(4)];
                let offset = ["", " OFFSET 1"][self.rng.below(2)];
                let tail = format!(" ORDER BY {}{word} LIMIT 1{offset})", y.sql);
                // A bare constant would be a position, and orders nothing.
                let constant = !right.scope.iter().any(|c| y.sql.contains(&c.name));
                let tail = if constant { format!(" LIMIT 1{offset})") } else { tail };
                let sql = Text::same(format!("(SELECT {}", y.sql)).and(&from).with(&tail);
                Asked { sql, ty: y_type(&y, ty), digits: y.digits }
            }
        }
    }

    /// A subquery in FROM that reads the relation before it.
    pub(super) fn lateral(&mut self, depth: usize) -> Query {
        let Some((left, right)) = self.pair(depth) else { return self.project(0) };
        let both: Vec<Col> = left.scope.iter().chain(&right.scope).cloned().collect();
        let alias = self.alias();
        let inner = self.outputs(&both, true);
        let (head, inner_cols) = Self::select("SELECT", &inner, 4.0);
        let names: Vec<String> = inner_cols.iter().map(|c| c.name.clone()).collect();
        let from = self.asking(&left.scope, &right, 80);
        let limit = if self.rng.percent(50) {
            let order = self.order(&names);
            format!(" ORDER BY {order} LIMIT {}", 1 + self.rng.below(3))
        } else {
            String::new()
        };
        let (word, on) = if self.rng.percent(50) { (" CROSS JOIN", "") } else { (" LEFT JOIN", " ON true") };
        let scope: Vec<Col> = left
            .scope
            .iter()
            .cloned()
            .chain(inner_cols.into_iter().map(|c| Col { name: format!("{alias}.{}", c.name), ..c }))
            .collect();
        let outputs = self.outputs(&scope, false);
        let rows = (left.rows * right.rows).max(left.rows);
        let (outer, cols) = Self::select("SELECT", &outputs, rows);
        let filter = self.filter(&scope, 30);
        let sql = Text::same(outer)
            .with(" FROM ")
            .and(&left.sql)
            .with(&format!("{word} LATERAL ({head}"))
            .and(&from)
            .with(&format!("{limit}) AS {alias}{on}{filter}"));
        Query { sql, cols, rows, uses: left.uses.into_iter().chain(right.uses).collect() }
    }

    /// DISTINCT ON, in an order that is total.
    pub(super) fn first(&mut self, depth: usize) -> Query {
        let item = self.item(depth);
        let outputs = self.outputs(&item.scope, true);
        let (head, cols) = Self::select("SELECT", &outputs, item.rows);
        let filter = self.filter(&item.scope, 30);
        let alias = self.alias();
        let names: Vec<String> = cols.iter().map(|col| format!("{alias}.{}", col.name)).collect();
        let key = names[self.rng.below(names.len())].clone();
        let rest: Vec<String> = names.iter().filter(|n| **n != key).cloned().collect();
        let rest = if rest.is_empty() { String::new() } else { format!(", {}", self.order(&rest)) };
        let word = ["", " DESC"][self.rng.below(2)];
        let sql = Text::same(format!("SELECT DISTINCT ON ({key}) {} FROM ({head} FROM ", names.join(", ")))
            .and(&item.sql)
            .with(&format!("{filter}) AS {alias} ORDER BY {key}{word}{rest}"));
        Query { sql, cols, rows: item.rows, uses: item.uses }
    }

    /// Keys as sets.
    pub(super) fn sets(&mut self, keys: &[Expr]) -> String {
        let all: Vec<&str> = keys.iter().map(|k| k.sql.as_str()).collect();
        let list = all.join(", ");
        match self.rng.below(4) {
            0 => format!("ROLLUP ({list})"),
            1 => format!("CUBE ({list})"),
            2 => format!("GROUPING SETS (({list}), ({}), ())", all[0]),
            _ => format!("{}, ROLLUP ({list})", all[0]),
        }
    }
}

fn y_type(y: &Expr, ty: Ty) -> Ty {
    match (y.ty, ty) {
        (Ty::Array, ty) => ty,
        (own, _) => own,
    }
}
