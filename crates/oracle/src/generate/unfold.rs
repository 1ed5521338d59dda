//! Queries that make rows of a row, and queries that feed on their own rows: arrays and series unfolded, graphs searched.
//!
//! Columns of tables are from small domains, so their rows are graphs with cycles; a search by UNION ends all the same, as nodes are
//! few. PostgreSQL goes through all edges at each step: in large tables the steps are counted.

use super::expr::{self, Expr};
use super::query::{Item, Maker, Query};
use super::{Col, Ty};
use crate::case::Text;

/// Rows beyond which a search is bounded.
const FREE_ROWS_MAX: f64 = 1_000.0;

fn of_type(item: &Item, ty: Ty) -> Vec<Col> {
    item.scope.iter().filter(|c| c.ty == ty && c.exact).cloned().collect()
}

impl Maker<'_> {
    /// `FROM item, generate_series(..)` and its kin.
    pub(super) fn unfold(&mut self, depth: usize) -> Query {
        let item = self.item(depth);
        let (ints, texts) = (of_type(&item, Ty::Int), of_type(&item, Ty::Text));
        let number = |of: &mut Self, cols: &[Col]| of.rng.pick(cols).cloned();
        let (call, ty, digits) = match self.rng.below(5) {
            0 | 1 if !ints.is_empty() => {
                let Some(c) = number(self, &ints) else { return self.project(0) };
                let from = self.rng.below(3);
                (format!("generate_series({from}, {} % 5)", c.name), Ty::Int, 1)
            }
            2 if !texts.is_empty() => {
                let Some(c) = number(self, &texts) else { return self.project(0) };
                (format!("string_to_table({}, 'b')", c.name), Ty::Text, c.digits)
            }
            3 if !texts.is_empty() => {
                let Some(c) = number(self, &texts) else { return self.project(0) };
                (format!("regexp_split_to_table({}, '[a ]')", c.name), Ty::Text, c.digits)
            }
            _ => {
                let (Some(a), Some(b)) = (number(self, &ints), number(self, &ints)) else { return self.project(0) };
                (format!("unnest(ARRAY[{}, {}, 1])", a.name, b.name), Ty::Int, a.digits.max(b.digits).max(1))
            }
        };
        let rows = item.rows * 2.0;
        let alias = self.alias();
        let element = |name: &str, ty, digits| Col { name: format!("{alias}.{name}"), ty, digits, exact: true, distinct: 4.0 };
        let mut scope = item.scope.clone();
        scope.push(element("v", ty, digits));
        let mut unfolded = format!("{call} AS {alias}(v)");
        if self.rng.percent(35) {
            scope.push(element("o", Ty::BigInt, 1));
            unfolded = format!("{call} WITH ORDINALITY AS {alias}(v, o)");
        }
        let (join, on) = [(", ", ""), (" CROSS JOIN ", ""), (" LEFT JOIN LATERAL ", " ON true"), (" LEFT JOIN ", " ON true")]
            [self.rng.below(4)];
        let outputs = self.outputs(&scope, false);
        let (head, cols) = Self::select("SELECT", &outputs, rows);
        let filter = self.filter(&scope, 30);
        let sql = Text::same(head).with(" FROM ").and(&item.sql).with(&format!("{join}{unfolded}{on}{filter}"));
        Query { sql, cols, rows, uses: item.uses }
    }

    /// What is reached from some nodes, with the number of steps or without.
    pub(super) fn recursive(&mut self, depth: usize) -> Query {
        let (starts, edges) = (self.item(depth.saturating_sub(1)), self.item(depth));
        let (nodes, ends) = (of_type(&starts, Ty::Int), of_type(&edges, Ty::Int));
        let (node, from, to) = (self.rng.pick(&nodes).cloned(), self.rng.pick(&ends).cloned(), self.rng.pick(&ends).cloned());
        let (Some(node), Some(from), Some(to)) = (node, from, to) else { return self.project(0) };
        let steps = self.rng.percent(50) || edges.rows > FREE_ROWS_MAX;
        let r = self.alias();
        let digits = node.digits.max(to.digits);
        let column = |name: &str, digits| Col { name: format!("{r}.{name}"), ty: Ty::Int, digits, exact: true, distinct: 4.0 };
        let (mut scope, mut own) = (vec![column("n", digits)], "n".to_owned());
        let (mut first, mut next, mut bound) = (node.name.clone(), to.name.clone(), vec![]);
        if steps {
            scope.push(column("h", 1));
            own = "n, h".into();
            first = format!("{first}, 0");
            next = format!("{next}, {r}.h + 1");
            bound.push(format!("{r}.h < {}", 1 + self.rng.below(4)));
        }
        if self.rng.percent(35) {
            bound.push(expr::predicate(&mut self.rng, &edges.scope, 1));
        }
        let word = if steps && self.rng.percent(20) { "LEFT JOIN" } else { "JOIN" };
        let bound = if bound.is_empty() { String::new() } else { format!(" WHERE {}", bound.join(" AND ")) };
        let filter = self.filter(&starts.scope, 50);
        let rows = (starts.rows + edges.rows).min(2_000.0);
        let outputs: Vec<Expr> =
            if self.rng.percent(40) { scope.iter().map(expr::column).collect() } else { self.outputs(&scope, false) };
        let (head, cols) = Self::select("SELECT", &outputs, rows);
        let sql = Text::same(format!("WITH RECURSIVE {r}({own}) AS (SELECT {first} FROM "))
            .and(&starts.sql)
            .with(&format!("{filter} UNION SELECT {next} FROM {r} {word} "))
            .and(&edges.sql)
            .with(&format!(" ON {} = {r}.n{bound}) {head} FROM {r}", from.name));
        Query { sql, cols, rows, uses: starts.uses.into_iter().chain(edges.uses).collect() }
    }
}
