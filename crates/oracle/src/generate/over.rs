//! Functions with OVER. Where a result depends on the order of rows the order is total up to equal rows; functions of ranks and aggregates
//! over ranges and groups of peers are drawn over any order.

use super::query::{Maker, Query};
use super::{Col, Ty};
use crate::case::Text;

/// A call: its text before OVER, and what it gives.
struct Call {
    head: String,
    frame: String,
    col: Col,
}

impl Maker<'_> {
    /// A query whose rows have one to four window functions behind their columns, sometimes filtered by them.
    pub(super) fn over(&mut self, depth: usize) -> Query {
        let (inner, cols, rows, uses) = self.derived(depth);
        let alias = self.alias();
        let scope: Vec<Col> = cols.iter().map(|c| Col { name: format!("{alias}.{}", c.name), ..c.clone() }).collect();
        let names: Vec<String> = scope.iter().map(|c| c.name.clone()).collect();
        let by =
            if self.rng.percent(70) { format!("PARTITION BY {} ", names[self.rng.below(names.len())]) } else { String::new() };
        let is_total = self.rng.percent(55);
        // One order column, for ranges with offsets.
        let lone = self.rng.below(scope.len());
        let words = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"];
        let order = if is_total { self.order(&names) } else { format!("{}{}", names[lone], words[self.rng.below(4)]) };
        let order = if !is_total && self.rng.percent(12) { String::new() } else { format!("ORDER BY {order}") };
        let (mut given, mut all) = (names.clone(), cols);
        let named = self.rng.percent(25);
        for at in 0..1 + self.rng.below(4) {
            let call =
                if is_total { self.by_position(&scope, at) } else { self.by_peers(&scope, &scope[lone], !order.is_empty(), at) };
            let over = match (named, call.frame.is_empty()) {
                (true, true) => "w".to_owned(),
                (true, false) => format!("(w {})", call.frame),
                _ => format!("({by}{order} {})", call.frame),
            };
            given.push(format!("{} OVER {over} AS {}", call.head, call.col.name));
            all.push(call.col);
        }
        let window = if named { format!(" WINDOW w AS ({by}{order})") } else { String::new() };
        let sql = Text::same(format!("SELECT {} FROM (", given.join(", "))).and(&inner).with(&format!(") AS {alias}{window}"));
        let numbers: Vec<&Col> = all.iter().filter(|c| c.exact && c.ty == Ty::BigInt && c.name.starts_with('w')).collect();
        let sql = match self.rng.pick(&numbers) {
            Some(col) if self.rng.percent(30) => {
                let (outer, bound) = (self.alias(), self.rng.range(1, 4));
                let compare = ["<=", "=", ">"][self.rng.below(3)];
                let filter = format!(") AS {outer} WHERE {outer}.{} {compare} {bound}", col.name);
                Text::same("SELECT * FROM (").and(&sql).with(&filter)
            }
            _ => sql,
        };
        Query { sql, cols: all, rows, uses }
    }

    fn col(at: usize, ty: Ty, digits: u8, exact: bool) -> Col {
        Col { name: format!("w{at}"), ty, digits, exact, distinct: 4.0 }
    }

    /// Over a total order: everything.
    fn by_position(&mut self, scope: &[Col], at: usize) -> Call {
        let of = scope[self.rng.below(scope.len())].clone();
        let name = of.name.clone();
        let value = Col { name: format!("w{at}"), ..of };
        let plain = |head: String, col: Col| Call { head, frame: String::new(), col };
        match self.rng.below(12) {
            0 => plain("row_number()".into(), Self::col(at, Ty::BigInt, 6, true)),
            1 => plain(format!("ntile({})", self.rng.range(1, 5)), Self::col(at, Ty::Int, 2, true)),
            2 | 3 => {
                let word = ["lag", "lead"][self.rng.below(2)];
                let head = match self.rng.below(4) {
                    0 => format!("{word}({name})"),
                    1 => format!("{word}({name}, {})", self.rng.range(-1, 4)),
                    2 => format!("{word}({name}, {}, {name})", self.rng.range(0, 4)),
                    _ => format!("{word}({name}, 2, NULL)"),
                };
                plain(head, value)
            }
            4 => {
                let word = ["first_value", "last_value"][self.rng.below(2)];
                Call { head: format!("{word}({name})"), frame: told_of_ties(self.frame(true, None)), col: value }
            }
            5 => {
                let head = format!("nth_value({name}, {})", self.rng.range(1, 4));
                Call { head, frame: told_of_ties(self.frame(true, None)), col: value }
            }
            6 => {
                let (head, ty) = if value.ty == Ty::Text && self.rng.percent(50) {
                    (format!("string_agg({name}, ',')"), Ty::Text)
                } else {
                    (format!("array_agg({name})"), Ty::Array)
                };
                Call { head, frame: self.near_frame(), col: Self::col(at, ty, 0, true) }
            }
            7 => self.ranking(at),
            _ => self.aggregate_over(scope, at, true, None),
        }
    }

    /// Over any order: what does not tell peers apart.
    fn by_peers(&mut self, scope: &[Col], lone: &Col, ordered: bool, at: usize) -> Call {
        match self.rng.below(10) {
            0..=3 => self.ranking(at),
            _ => self.aggregate_over(scope, at, false, ordered.then_some(lone)),
        }
    }

    fn ranking(&mut self, at: usize) -> Call {
        let (head, col) = match self.rng.below(4) {
            0 => ("rank()", Self::col(at, Ty::BigInt, 6, true)),
            1 => ("dense_rank()", Self::col(at, Ty::BigInt, 6, true)),
            2 => ("percent_rank()", Self::col(at, Ty::Double, 1, false)),
            _ => ("cume_dist()", Self::col(at, Ty::Double, 1, false)),
        };
        Call { head: head.into(), frame: String::new(), col }
    }

    /// `rows`: frames may count rows.
    fn aggregate_over(&mut self, scope: &[Col], at: usize, rows: bool, lone: Option<&Col>) -> Call {
        let (head, ty, digits, exact) = self.plain_call(scope);
        let frame = self.frame(rows, lone);
        Call { head, frame, col: Self::col(at, ty, digits, exact) }
    }

    /// A frame of a few rows. Lists over frames that grow with the partition have as many items as the square of its rows, which
    /// neither system is asked to hold.
    fn near_frame(&mut self) -> String {
        let (back, ahead) = (self.rng.below(6), self.rng.below(6));
        let units = ["ROWS", "GROUPS"][self.rng.below(2)];
        let exclude = ["", "", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES"][self.rng.below(5)];
        format!("{units} BETWEEN {back} PRECEDING AND {ahead} FOLLOWING{exclude}")
    }

    /// A frame, or nothing. `lone` is the one order column, where there is one.
    fn frame(&mut self, rows: bool, lone: Option<&Col>) -> String {
        if self.rng.percent(25) {
            return String::new();
        }
        let step: Option<Vec<&str>> = lone.filter(|c| c.exact).and_then(|c| match c.ty {
            Ty::Int | Ty::BigInt => Some(vec!["0", "1", "2", "10"]),
            Ty::Numeric(_) => Some(vec!["0", "1", "0.25", "2.5"]),
            Ty::Double => Some(vec!["0", "1", "0.5"]),
            Ty::Timestamp | Ty::Date | Ty::Zoned => {
                Some(vec!["INTERVAL '1 hour'", "INTERVAL '1 day'", "INTERVAL '2 months'", "'30 minutes'"])
            }
            _ => None,
        });
        let counts = vec!["0", "1", "2", "5"];
        let (units, steps) = match (rows, self.rng.below(3)) {
            (true, 0 | 1) => ("ROWS", Some(counts)),
            // GROUPS asks for an order
            (_, 2) if rows || lone.is_some() => ("GROUPS", Some(counts)),
            _ => ("RANGE", step),
        };
        let rank = |b: &str| match b {
            "UNBOUNDED PRECEDING" => 0,
            "CURRENT ROW" => 2,
            "UNBOUNDED FOLLOWING" => 4,
            b if b.ends_with("PRECEDING") => 1,
            _ => 3,
        };
        let mut bounds: Vec<String> = (0..2)
            .map(|_| match (&steps, self.rng.below(5)) {
                (Some(steps), 0 | 1) => format!("{} PRECEDING", steps[self.rng.below(steps.len())]),
                (Some(steps), 2) => format!("{} FOLLOWING", steps[self.rng.below(steps.len())]),
                (_, 3) => "CURRENT ROW".to_owned(),
                _ => ["UNBOUNDED PRECEDING", "UNBOUNDED FOLLOWING"][self.rng.below(2)].to_owned(),
            })
            .collect();
        bounds.sort_by_key(|b| rank(b));
        if bounds[0] == "UNBOUNDED FOLLOWING" {
            bounds[0] = "CURRENT ROW".into();
        }
        if bounds[1] == "UNBOUNDED PRECEDING" {
            bounds[1] = "CURRENT ROW".into();
        }
        let exclude =
            ["", "", "", " EXCLUDE CURRENT ROW", " EXCLUDE GROUP", " EXCLUDE TIES", " EXCLUDE NO OTHERS"][self.rng.below(7)];
        format!("{units} BETWEEN {} AND {}{exclude}", bounds[0], bounds[1])
    }
}

/// The frame without EXCLUDE TIES if the current row may lie outside of it: PostgreSQL's first_value, last_value and nth_value take the
/// current row for one of the frame then, and answer NULL.
fn told_of_ties(frame: String) -> String {
    let aside = frame.contains(" FOLLOWING AND ") || frame.contains(" PRECEDING EXCLUDE");
    if aside { frame.replace(" EXCLUDE TIES", "") } else { frame }
}
