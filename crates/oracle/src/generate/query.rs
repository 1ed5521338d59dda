//! Queries: every operator, nested, each with the columns it gives.

use super::data::Source;
use super::expr::{self, Expr};
use super::{Col, Rel, Ty, functions};
use crate::case::{Text, Window, Windows};
use crate::rng::Rng;

/// A join may give so many rows, by estimate; PostgreSQL recomputes it after every commit.
pub(super) const ROWS_MAX: f64 = 40_000.0;

/// A query and what it gives.
#[derive(Debug, Clone)]
pub struct Query {
    /// A SELECT.
    pub sql: Text,
    /// Its columns.
    pub cols: Vec<Col>,
    /// About so many rows.
    pub rows: f64,
    /// The views that it reads.
    pub uses: Vec<usize>,
}

/// A relation in a FROM clause: its alias and its columns, qualified.
pub(super) struct Item {
    pub sql: Text,
    pub scope: Vec<Col>,
    pub rows: f64,
    pub uses: Vec<usize>,
}

/// Makes the query of one view.
pub struct Maker<'a> {
    /// Its own source of numbers.
    pub rng: Rng,
    tables: &'a [Source],
    bases: &'a [Rel],
    views: &'a [Rel],
    aliases: usize,
}

#[derive(Clone, Copy)]
enum Shape {
    Project,
    Join,
    Semi,
    Aggregate,
    Distinct,
    SetOp,
    Top,
    RowNumber,
    Over,
    Window,
    Shared,
    Product,
    Asked,
    Lateral,
    First,
    AsOf,
    Unfold,
    Recursive,
}

const SHAPES: &[(usize, Shape)] = &[
    (12, Shape::Project),
    (22, Shape::Join),
    (10, Shape::Semi),
    (22, Shape::Aggregate),
    (6, Shape::Distinct),
    (11, Shape::SetOp),
    (6, Shape::Top),
    (6, Shape::RowNumber),
    (12, Shape::Over),
    (7, Shape::Window),
    (3, Shape::Shared),
    (6, Shape::Product),
    (14, Shape::Asked),
    (6, Shape::Lateral),
    (4, Shape::First),
    (6, Shape::AsOf),
    (9, Shape::Unfold),
    (7, Shape::Recursive),
];

impl<'a> Maker<'a> {
    /// A maker that reads these relations.
    pub fn new(rng: Rng, tables: &'a [Source], bases: &'a [Rel], views: &'a [Rel]) -> Self {
        Self { rng, tables, bases, views, aliases: 0 }
    }

    /// A view's query, and whether reading it may fail.
    pub fn view(&mut self, depth: usize) -> (Query, bool) {
        if self.rng.percent(8) {
            return (self.risky(), true);
        }
        (self.query(depth), false)
    }

    fn query(&mut self, depth: usize) -> Query {
        match self.rng.weighted(SHAPES) {
            Shape::Project => self.project(depth),
            Shape::Join => self.join(depth),
            Shape::Semi => self.semi(depth),
            Shape::Aggregate => self.aggregate(depth),
            Shape::Distinct => self.distinct(depth),
            Shape::SetOp => self.set_op(depth),
            Shape::Top => self.top(depth),
            Shape::RowNumber => self.row_number(depth),
            Shape::Over => self.over(depth),
            Shape::Window => self.window(),
            Shape::Shared => self.shared(depth),
            Shape::Product => self.product(depth),
            Shape::Asked => self.asked(depth),
            Shape::Lateral => self.lateral(depth),
            Shape::First => self.first(depth),
            Shape::AsOf => self.as_of(depth),
            Shape::Unfold => self.unfold(depth),
            Shape::Recursive => self.recursive(depth),
        }
    }

    // -- what is read ----------------------------------------------------------------------------

    pub(super) fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("q{}", self.aliases)
    }

    pub(super) fn item(&mut self, depth: usize) -> Item {
        let rel = if depth > 0 && self.rng.percent(60) {
            let query = self.query(depth - 1);
            let sql = Text::same("(").and(&query.sql).with(")");
            Rel { sql, cols: query.cols, rows: query.rows, uses: query.uses }
        } else if self.rng.percent(6)
            && let Some(windowed) = self.windowed()
        {
            windowed
        } else if self.rng.percent(3) {
            self.values()
        } else if !self.views.is_empty() && self.rng.percent(30) {
            self.rng.pick(self.views).cloned().unwrap_or_else(|| self.bases[0].clone())
        } else {
            self.rng.pick(self.bases).cloned().unwrap_or_else(|| self.bases[0].clone())
        };
        self.named(rel)
    }

    /// Rows that stand in the query.
    fn values(&mut self) -> Rel {
        let n = 1 + self.rng.below(4);
        let row = |rng: &mut Rng| {
            let word = ["'a'", "'ab'", "NULL", "''"][rng.below(4)];
            format!("({}, CAST({word} AS text))", rng.range(-2, 6))
        };
        let rows: Vec<String> = (0..n).map(|_| row(&mut self.rng)).collect();
        let column = |name: &str, ty| Col { name: name.into(), ty, digits: 1, exact: true, distinct: 3.0 };
        let cols = vec![column("column1", Ty::Int), column("column2", Ty::Text)];
        Rel { sql: Text::same(format!("(VALUES {})", rows.join(", "))), cols, rows: 4.0, uses: Vec::new() }
    }

    pub(super) fn named(&mut self, rel: Rel) -> Item {
        let alias = self.alias();
        let qualify = |col: &Col| Col { name: format!("{alias}.{}", col.name), ..col.clone() };
        let scope = rel.cols.iter().map(qualify).collect();
        let sql = rel.sql.with(&format!(" AS {alias}"));
        Item { sql, scope, rows: rel.rows, uses: rel.uses }
    }

    // -- what is given ---------------------------------------------------------------------------

    /// Some expressions over the scope, and some columns as they are, the inexact ones among them.
    pub(super) fn outputs(&mut self, scope: &[Col], exact: bool) -> Vec<Expr> {
        let n = 1 + self.rng.below(4);
        let types = expr::present(scope);
        (0..n)
            .map(|_| {
                if let Some(col) = self.rng.pick(scope).cloned()
                    && self.rng.percent(50)
                    && (!exact || (col.exact && col.ty != Ty::Array))
                {
                    return expr::column(&col);
                }
                if !exact && self.rng.percent(4) {
                    return expr::quotient(&mut self.rng, scope);
                }
                if !exact && self.rng.percent(6) {
                    return functions::shown(&mut self.rng, scope);
                }
                let ty = self.rng.pick(&types).copied().unwrap_or(Ty::Int);
                expr::value(&mut self.rng, scope, ty, 2)
            })
            .collect()
    }

    /// `SELECT [DISTINCT] a AS c0, ...` and the columns; `rows` bounds the distinct values.
    pub(super) fn select(word: &str, outputs: &[Expr], rows: f64) -> (String, Vec<Col>) {
        let list: Vec<String> = outputs.iter().enumerate().map(|(at, e)| format!("{} AS c{at}", e.sql)).collect();
        let cols = outputs.iter().enumerate().map(|(at, e)| Col {
            name: format!("c{at}"),
            ty: e.ty,
            digits: e.digits,
            exact: e.exact,
            // Small domains are the rule; a guess on the low side keeps joins small.
            distinct: rows.clamp(1.0, 4.0),
        });
        (format!("{word} {}", list.join(", ")), cols.collect())
    }

    pub(super) fn filter(&mut self, scope: &[Col], percent: usize) -> String {
        if self.rng.percent(percent) { format!(" WHERE {}", expr::predicate(&mut self.rng, scope, 2)) } else { String::new() }
    }

    // -- the operators ---------------------------------------------------------------------------

    pub(super) fn project(&mut self, depth: usize) -> Query {
        let item = self.item(depth);
        let outputs = self.outputs(&item.scope, false);
        let (head, cols) = Self::select("SELECT", &outputs, item.rows);
        let filter = self.filter(&item.scope, 70);
        let sql = Text::same(head).with(" FROM ").and(&item.sql).with(&filter);
        Query { sql, cols, rows: item.rows, uses: item.uses }
    }

    /// An expression that may fail, seen by nobody else: over a base relation or a join of two, in the output or in an aggregate.
    fn risky(&mut self) -> Query {
        let base = |rng: &mut Rng, bases: &[Rel]| rng.pick(bases).cloned().unwrap_or_else(|| bases[0].clone());
        let mut item = {
            let rel = base(&mut self.rng, self.bases);
            self.named(rel)
        };
        if self.rng.percent(30) {
            let rel = base(&mut self.rng, self.bases);
            let right = self.named(rel);
            if let Some((on, rows)) = self.condition(&item, &right) {
                let word = ["JOIN", "LEFT JOIN"][self.rng.below(2)];
                let sql = item.sql.with(&format!(" {word} ")).and(&right.sql).with(&format!(" ON {on}"));
                let scope = item.scope.into_iter().chain(right.scope).collect();
                item = Item { sql, scope, rows: rows.max(item.rows), uses: Vec::new() };
            }
        }
        let failing = expr::risky(&mut self.rng, &item.scope);
        if self.rng.percent(35) {
            let mut outputs = self.keys(&item.scope);
            let n_keys = outputs.len();
            let word = ["sum", "count", "min", "max"][self.rng.below(4)];
            let ty = if matches!(word, "sum" | "count") { Ty::BigInt } else { Ty::Int };
            outputs.push(Expr { sql: format!("{word}({})", failing.sql), ty, ..failing });
            let (head, cols) = Self::select("SELECT", &outputs, item.rows);
            let mut tail = self.filter(&item.scope, 40);
            if n_keys > 0 {
                let positions: Vec<String> = (1..=n_keys).map(|at| at.to_string()).collect();
                tail = format!("{tail} GROUP BY {}", positions.join(", "));
            }
            let sql = Text::same(head).with(" FROM ").and(&item.sql).with(&tail);
            return Query { sql, cols, rows: item.rows, uses: item.uses };
        }
        let mut outputs = self.outputs(&item.scope, false);
        outputs.truncate(2);
        outputs.push(failing);
        let (head, cols) = Self::select("SELECT", &outputs, item.rows);
        let filter = self.filter(&item.scope, 50);
        let sql = Text::same(head).with(" FROM ").and(&item.sql).with(&filter);
        Query { sql, cols, rows: item.rows, uses: item.uses }
    }

    /// A pair of columns of one type, one from each side; the rows that an equality leaves.
    pub(super) fn key(&mut self, left: &Item, right: &Item) -> Option<(String, f64)> {
        let mut pairs = Vec::new();
        for a in left.scope.iter().filter(|col| col.exact && col.ty != Ty::Array) {
            for b in expr::columns_of(&right.scope, a.ty) {
                pairs.push((a.clone(), b.clone()));
            }
            // Keys of two integer types meet as the wider one.
            if a.ty == Ty::Int && self.rng.percent(20) {
                for b in expr::columns_of(&right.scope, Ty::BigInt) {
                    pairs.push((a.clone(), b.clone()));
                }
            }
        }
        let (a, b) = self.rng.pick(&pairs)?.clone();
        Some((format!("{} = {}", a.name, b.name), a.distinct.max(b.distinct).max(1.0)))
    }

    /// A join condition with its residual, and the estimated rows.
    fn condition(&mut self, left: &Item, right: &Item) -> Option<(String, f64)> {
        let (mut on, mut distinct) = self.key(left, right)?;
        // A second key where the first would let too many through, or just so.
        let rows = |distinct: f64| left.rows * right.rows / distinct;
        for _ in 0..3 {
            if rows(distinct) > ROWS_MAX || self.rng.percent(15) {
                let (more, fewer) = self.key(left, right)?;
                if !on.contains(&more) {
                    on = format!("{on} AND {more}");
                    distinct *= fewer;
                }
            }
        }
        if rows(distinct) > ROWS_MAX {
            return None;
        }
        let moment = |item: &Item| item.scope.iter().find(|c| c.ty == Ty::Timestamp && c.exact).map(|c| c.name.clone());
        if let (Some(l), Some(r)) = (moment(left), moment(right))
            && self.rng.percent(30)
        {
            let (back, ahead) = (self.rng.below(3), self.rng.below(3));
            on = format!("{on} AND {r} BETWEEN {l} - INTERVAL '{back} hours' AND {l} + INTERVAL '{ahead} hours'");
        }
        if self.rng.percent(40) {
            let both: Vec<Col> = left.scope.iter().chain(&right.scope).cloned().collect();
            let residual = expr::predicate(&mut self.rng, &both, 1);
            on = format!("{on} AND {residual}");
        }
        Some((on, rows(distinct)))
    }

    fn join(&mut self, depth: usize) -> Query {
        let mut left = self.item(depth);
        if self.rng.percent(8)
            && let Some(query) = self.join_using(depth)
        {
            return query;
        }
        let n = 1 + usize::from(self.rng.percent(25));
        let mut joined = false;
        for _ in 0..n {
            let right = self.item(depth.saturating_sub(1));
            let Some((on, rows)) = self.condition(&left, &right) else {
                continue;
            };
            let word = ["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"][self.rng.below(6)];
            let sql = left.sql.with(&format!(" {word} ")).and(&right.sql).with(&format!(" ON {on}"));
            let scope = left.scope.into_iter().chain(right.scope).collect();
            let uses = left.uses.into_iter().chain(right.uses).collect();
            left = Item { sql, scope, rows: rows.max(left.rows).max(right.rows), uses };
            joined = true;
        }
        if !joined {
            return self.project(0);
        }
        let outputs = self.outputs(&left.scope, false);
        let (head, cols) = Self::select("SELECT", &outputs, left.rows);
        let filter = self.filter(&left.scope, 30);
        let sql = Text::same(head).with(" FROM ").and(&left.sql).with(&filter);
        Query { sql, cols, rows: left.rows, uses: left.uses }
    }

    /// `left JOIN right USING (c)`, whose one column by that name is of both.
    fn join_using(&mut self, depth: usize) -> Option<Query> {
        let (left, right) = (self.item(depth), self.item(depth.saturating_sub(1)));
        let bare = |col: &Col| col.name.rsplit('.').next().unwrap_or_default().to_owned();
        let mut shared = vec![];
        for a in left.scope.iter().filter(|c| c.exact && c.ty != Ty::Array) {
            shared.extend(
                right.scope.iter().filter(|b| b.exact && b.ty == a.ty && bare(b) == bare(a)).map(|b| (a.clone(), b.clone())),
            );
        }
        let (a, b) = self.rng.pick(&shared)?.clone();
        let rows = left.rows * right.rows / a.distinct.max(b.distinct).max(1.0);
        if rows > ROWS_MAX {
            return None;
        }
        let word = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"][self.rng.below(4)];
        let name = bare(&a);
        let merged = Col { name: name.clone(), digits: a.digits.max(b.digits), ..a };
        let scope: Vec<Col> = std::iter::once(merged).chain(left.scope).chain(right.scope).collect();
        let rows = rows.max(left.rows).max(right.rows);
        let outputs = self.outputs(&scope, false);
        let (head, cols) = Self::select("SELECT", &outputs, rows);
        let filter = self.filter(&scope, 30);
        let sql = Text::same(head)
            .with(" FROM ")
            .and(&left.sql)
            .with(&format!(" {word} "))
            .and(&right.sql)
            .with(&format!(" USING ({name}){filter}"));
        Some(Query { sql, cols, rows, uses: left.uses.into_iter().chain(right.uses).collect() })
    }

    fn semi(&mut self, depth: usize) -> Query {
        let left = self.item(depth);
        let right = self.item(depth.saturating_sub(1));
        let Some((on, _)) = self.condition(&left, &right) else {
            return self.project(0);
        };
        let outputs = self.outputs(&left.scope, false);
        let (head, cols) = Self::select("SELECT", &outputs, left.rows);
        let not = if self.rng.percent(50) { "NOT " } else { "" };
        let sql = Text::same(head).with(" FROM ").and(&left.sql);
        // `a IN (SELECT b ..)` with the first key, or EXISTS with all of the condition.
        let key = on.split(" AND ").next().and_then(|key| key.split_once(" = "));
        let sql = match key {
            Some((a, b)) if self.rng.percent(35) => {
                // NOT IN is false for every row once the right side holds a NULL: filtered mostly.
                let filter = if !not.is_empty() && self.rng.percent(80) {
                    format!(" WHERE {b} IS NOT NULL")
                } else {
                    self.filter(&right.scope, 40)
                };
                let from = format!(" WHERE {a} {not}IN (SELECT {b} FROM ");
                sql.with(&from).and(&right.sql).with(&filter).with(")")
            }
            _ => {
                let from = format!(" WHERE {not}EXISTS (SELECT 1 FROM ");
                sql.with(&from).and(&right.sql).with(&format!(" WHERE {on})"))
            }
        };
        let uses = left.uses.into_iter().chain(right.uses).collect();
        Query { sql, cols, rows: left.rows, uses }
    }

    fn aggregate(&mut self, depth: usize) -> Query {
        let item = self.item(depth);
        let keys = self.keys(&item.scope);
        self.grouped(item, &keys)
    }

    fn keys(&mut self, scope: &[Col]) -> Vec<Expr> {
        let n = [0, 1, 1, 1, 2, 2, 3][self.rng.below(7)];
        let types = expr::present(scope);
        if types.is_empty() {
            return Vec::new();
        }
        let key = |rng: &mut Rng| {
            let ty = rng.pick(&types).copied().unwrap_or(Ty::Int);
            let columns = expr::columns_of(scope, ty);
            match rng.pick(&columns) {
                Some(col) if rng.percent(75) => expr::column(col),
                _ => expr::value(rng, scope, ty, 1),
            }
        };
        (0..n).map(|_| key(&mut self.rng)).collect()
    }

    fn grouped(&mut self, item: Item, keys: &[Expr]) -> Query {
        let mut outputs = keys.to_vec();
        for _ in 0..1 + self.rng.below(4) {
            outputs.push(self.call(&item.scope));
        }
        // Only columns: a constant among the keys of a set is a position.
        let plain = keys.iter().all(|k| item.scope.iter().any(|c| c.name == k.sql));
        let in_sets = !keys.is_empty() && plain && self.rng.percent(20);
        if let Some(key) = keys.first()
            && in_sets
            && self.rng.percent(40)
        {
            outputs.push(Expr { sql: format!("GROUPING({})", key.sql), ty: Ty::Int, digits: 1, exact: true });
        }
        let (head, cols) = Self::select("SELECT", &outputs, item.rows);
        let filter = self.filter(&item.scope, 30);
        let mut tail = filter;
        if in_sets {
            tail = format!("{tail} GROUP BY {}", self.sets(keys));
        } else if !keys.is_empty() {
            let positions: Vec<String> = (1..=keys.len()).map(|at| at.to_string()).collect();
            tail = format!("{tail} GROUP BY {}", positions.join(", "));
        }
        if self.rng.percent(20) {
            let bound = self.rng.range(0, 3);
            let condition =
                [format!("count(*) > {bound}"), format!("count(*) <> {bound}"), format!("{bound} < count(*) AND count(*) < 50")];
            tail = format!("{tail} HAVING {}", condition[self.rng.below(3)]);
        }
        let sql = Text::same(head).with(" FROM ").and(&item.sql).with(&tail);
        Query { sql, cols, rows: item.rows.min(400.0), uses: item.uses }
    }

    /// An aggregate call.
    fn call(&mut self, scope: &[Col]) -> Expr {
        if self.rng.percent(22)
            && let Some(drawn) = self.statistic(scope)
        {
            return self.filtered_call(scope, drawn);
        }
        let types = expr::present(scope);
        if self.rng.percent(5) {
            let drawn = self.json_list(scope);
            return self.filtered_call(scope, drawn);
        }
        let ty = self.rng.pick(&types).copied().unwrap_or(Ty::Int);
        let arg = expr::value(&mut self.rng, scope, ty, 1);
        // A bare literal has no type yet: `array_agg('x')` is not unique in PostgreSQL, and ORDER BY would not find it among the arguments.
        let a = &if arg.sql.starts_with('\'') { format!("{}::text", arg.sql) } else { arg.sql.clone() };
        let distinct = if self.rng.percent(15) { "DISTINCT " } else { "" };
        let (sql, ty, digits, exact) = match (arg.ty, self.rng.below(10)) {
            (_, 0) => ("count(*)".into(), Ty::BigInt, 6, true),
            (_, 1) => (format!("count({distinct}{a})"), Ty::BigInt, 6, true),
            (Ty::Bool, 2..=5) => (format!("bool_and({a})"), Ty::Bool, 0, true),
            (Ty::Bool, _) => (format!("bool_or({a})"), Ty::Bool, 0, true),
            (Ty::Text, 2 | 3) => {
                let order = self.order_within(scope, a, distinct);
                (format!("string_agg({distinct}{a}, ',' ORDER BY {order})"), Ty::Text, 0, true)
            }
            (_, 4) => {
                let order = self.order_within(scope, a, distinct);
                (format!("array_agg({distinct}{a} ORDER BY {order})"), Ty::Array, 0, true)
            }
            (Ty::Int, 5..=7) => (format!("sum({distinct}{a})"), Ty::BigInt, arg.digits + 6, true),
            (Ty::BigInt, 5..=7) => (format!("sum({distinct}{a})"), Ty::Numeric(0), arg.digits + 6, true),
            (Ty::Numeric(scale), 5..=7) => (format!("sum({distinct}{a})"), Ty::Numeric(scale), arg.digits + 6, true),
            (Ty::Double, 5..=7) => (format!("sum({distinct}{a})"), Ty::Double, 9, false),
            (Ty::Int | Ty::BigInt | Ty::Numeric(_), 8) => (format!("avg({distinct}{a})"), Ty::Numeric(16), arg.digits, false),
            (Ty::Double, 8) => (format!("avg({a})"), Ty::Double, 9, false),
            (Ty::Span, 5..=7) => (format!("sum({distinct}{a})"), Ty::Span, 0, true),
            // PostgreSQL has neither the least nor the greatest of these.
            (Ty::Json | Ty::Bytes | Ty::Uuid, _) => (format!("count(DISTINCT {a})"), Ty::BigInt, 6, true),
            (ty, n) => {
                let word = if n % 2 == 0 { "min" } else { "max" };
                (format!("{word}({a})"), ty, arg.digits, true)
            }
        };
        self.filtered_call(scope, Expr { sql, ty, digits, exact })
    }

    /// jsonb_agg and jsonb_object_agg, ordered by all that goes in; of equal keys the last one stays.
    fn json_list(&mut self, scope: &[Col]) -> Expr {
        let ty = [Ty::Int, Ty::Text, Ty::Bool][self.rng.below(3)];
        let word = |e: Expr| if e.sql.starts_with('\'') { format!("CAST({} AS text)", e.sql) } else { e.sql };
        let a = word(expr::value(&mut self.rng, scope, ty, 1));
        let sql = if self.rng.percent(50) {
            let order = self.order_within(scope, &a, "");
            format!("jsonb_agg({a} ORDER BY {order})")
        } else {
            let key = word(expr::value(&mut self.rng, scope, Ty::Text, 1));
            format!("jsonb_object_agg(COALESCE({key}, ''), {a} ORDER BY {a})")
        };
        Expr { sql, ty: Ty::Json, digits: 0, exact: true }
    }

    /// The call over some rows only, sometimes.
    fn filtered_call(&mut self, scope: &[Col], call: Expr) -> Expr {
        if !self.rng.percent(15) {
            return call;
        }
        Expr { sql: format!("{} FILTER (WHERE {})", call.sql, expr::predicate(&mut self.rng, scope, 1)), ..call }
    }

    /// Some columns of some rows, all exact: text, columns, rows, and the views read.
    pub(super) fn derived(&mut self, depth: usize) -> (Text, Vec<Col>, f64, Vec<usize>) {
        let item = self.item(depth);
        let outputs = self.outputs(&item.scope, true);
        let (head, cols) = Self::select("SELECT", &outputs, item.rows);
        let filter = self.filter(&item.scope, 30);
        (Text::same(head).with(" FROM ").and(&item.sql).with(&filter), cols, item.rows, item.uses)
    }

    /// An aggregate call that does not look at an order: text, type, digits, and whether it is exact.
    pub(super) fn plain_call(&mut self, scope: &[Col]) -> (String, Ty, u8, bool) {
        loop {
            let call = self.call(scope);
            if !["DISTINCT", "_agg(", "WITHIN GROUP"].iter().any(|word| call.sql.contains(word)) {
                return (call.sql, call.ty, call.digits, call.exact);
            }
        }
    }

    /// The order of a list: its own values last, so that what ties is equal wherever it stands.
    fn order_within(&mut self, scope: &[Col], arg: &str, distinct: &str) -> String {
        let mut words = || ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"][self.rng.below(4)];
        let last = format!("{arg}{}", words());
        let before = words();
        let exact: Vec<&Col> = scope.iter().filter(|col| col.exact && col.ty != Ty::Array).collect();
        match self.rng.pick(&exact) {
            // With DISTINCT only the values themselves may order.
            Some(col) if distinct.is_empty() && self.rng.percent(50) => format!("{}{before}, {last}", col.name),
            _ => last,
        }
    }

    fn distinct(&mut self, depth: usize) -> Query {
        let item = self.item(depth);
        let outputs = self.outputs(&item.scope, true);
        let (head, cols) = Self::select("SELECT DISTINCT", &outputs, item.rows);
        let filter = self.filter(&item.scope, 40);
        let sql = Text::same(head).with(" FROM ").and(&item.sql).with(&filter);
        Query { sql, cols, rows: item.rows, uses: item.uses }
    }

    fn set_op(&mut self, depth: usize) -> Query {
        let left = self.item(depth);
        let right = self.item(depth.saturating_sub(1));
        let outputs = self.outputs(&left.scope, true);
        let (head, mut cols) = Self::select("SELECT", &outputs, left.rows);
        let partners: Vec<Expr> = outputs.iter().map(|output| expr::value(&mut self.rng, &right.scope, output.ty, 1)).collect();
        let (other, others) = Self::select("SELECT", &partners, right.rows);
        for (col, other) in cols.iter_mut().zip(&others) {
            col.digits = col.digits.max(other.digits);
            if let (Ty::Numeric(a), Ty::Numeric(b)) = (col.ty, other.ty) {
                col.ty = Ty::Numeric(a.max(b));
            }
        }
        let words = ["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"];
        let word = words[self.rng.below(words.len())];
        let (filter_left, filter_right) = (self.filter(&left.scope, 40), self.filter(&right.scope, 40));
        let sql = Text::same(head)
            .with(" FROM ")
            .and(&left.sql)
            .with(&format!("{filter_left} {word} {other} FROM "))
            .and(&right.sql)
            .with(&filter_right);
        let uses = left.uses.into_iter().chain(right.uses).collect();
        Query { sql, cols, rows: left.rows + right.rows, uses }
    }

    /// All outputs as an order: total up to equal rows.
    pub(super) fn order(&mut self, names: &[String]) -> String {
        let mut names = names.to_vec();
        self.rng.shuffle(&mut names);
        let words = ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"];
        let keys: Vec<String> = names.iter().map(|name| format!("{name}{}", words[self.rng.below(4)])).collect();
        keys.join(", ")
    }

    fn top(&mut self, depth: usize) -> Query {
        let item = self.item(depth);
        let outputs = self.outputs(&item.scope, true);
        let (head, cols) = Self::select("SELECT", &outputs, item.rows);
        let names: Vec<String> = cols.iter().map(|col| col.name.clone()).collect();
        let order = self.order(&names);
        let filter = self.filter(&item.scope, 30);
        let limit = 1 + self.rng.below(6);
        let offset = if self.rng.percent(30) { format!(" OFFSET {}", self.rng.below(4)) } else { String::new() };
        let tail = format!("{filter} ORDER BY {order} LIMIT {limit}{offset}");
        let sql = Text::same(head).with(" FROM ").and(&item.sql).with(&tail);
        Query { sql, cols, rows: 6.0, uses: item.uses }
    }

    fn row_number(&mut self, depth: usize) -> Query {
        let item = self.item(depth);
        let outputs = self.outputs(&item.scope, true);
        let (head, mut cols) = Self::select("SELECT", &outputs, item.rows);
        let filter = self.filter(&item.scope, 30);
        let (inner, outer) = (self.alias(), self.alias());
        let names: Vec<String> = cols.iter().map(|col| format!("{inner}.{}", col.name)).collect();
        let by =
            if self.rng.percent(75) { format!("PARTITION BY {} ", names[self.rng.below(names.len())]) } else { String::new() };
        let order = self.order(&names);
        let limit = 1 + self.rng.below(3);
        let shown = self.rng.percent(60);
        let mut given: Vec<String> = cols.iter().map(|col| format!("{outer}.{}", col.name)).collect();
        if shown {
            given.push(format!("{outer}.rn"));
            cols.push(Col { name: "rn".into(), ty: Ty::BigInt, digits: 2, exact: true, distinct: 3.0 });
        }
        let compare = if self.rng.percent(30) { "=" } else { "<=" };
        let sql = Text::same(format!(
            "SELECT {} FROM (SELECT {}, row_number() OVER ({by}ORDER BY {order}) AS rn FROM (",
            given.join(", "),
            names.join(", ")
        ))
        .with(&head)
        .with(" FROM ")
        .and(&item.sql)
        .with(&format!("{filter}) AS {inner}) AS {outer} WHERE {outer}.rn {compare} {limit}"));
        Query { sql, cols, rows: item.rows, uses: item.uses }
    }

    /// A table or stream through windows, where one has an event time.
    fn windowed(&mut self) -> Option<Rel> {
        let timed: Vec<&Source> = self.tables.iter().filter(|source| source.cols.iter().any(|c| c.name == "at")).collect();
        let source = self.rng.pick(&timed).copied()?;
        let (kind, times) = match self.rng.below(10) {
            0 | 1 => {
                let (size_s, step_s) = [(3600, 900), (86_400, 43_200), (7200, 7200)][self.rng.below(3)];
                (Windows::Growing { size_s, step_s }, size_s / step_s)
            }
            2..=4 => {
                let by = self.rng.percent(70).then(|| source.cols[self.rng.below(source.cols.len())].name.clone());
                (Windows::Session { gap_s: [60, 900, 3600, 86_400][self.rng.below(4)], by }, 1)
            }
            _ => {
                let (size_s, slide_s) =
                    [(3600, 3600), (900, 900), (86_400, 86_400), (3600, 1800), (3600, 900), (7200, 3600)][self.rng.below(6)];
                (Windows::Sliding { size_s, slide_s }, size_s / slide_s)
            }
        };
        let window = Window { relation: source.table.name.clone(), time: "at".into(), kind };
        let mut rel = source.relation();
        rel.sql = Text::window(window);
        rel.rows *= f64::from(times);
        for name in ["window_start", "window_end"] {
            rel.cols.push(Col { name: name.into(), ty: Ty::Timestamp, digits: 0, exact: true, distinct: 12.0 });
        }
        Some(rel)
    }

    fn window(&mut self) -> Query {
        let Some(rel) = self.windowed() else {
            return self.aggregate(0);
        };
        let item = self.named(rel);
        let start = item.scope.iter().find(|col| col.name.ends_with(".window_start"));
        let mut keys: Vec<Expr> = start.map(expr::column).into_iter().collect();
        keys.extend(self.keys(&item.scope));
        keys.truncate(3);
        self.grouped(item, &keys)
    }

    /// A common table expression that is read twice.
    fn shared(&mut self, depth: usize) -> Query {
        let query = self.query(depth.saturating_sub(1));
        let name = self.alias();
        let rel = Rel { sql: Text::same(name.clone()), cols: query.cols, rows: query.rows, uses: Vec::new() };
        let (left, right) = (self.named(rel.clone()), self.named(rel));
        let Some((on, rows)) = self.condition(&left, &right) else {
            return self.project(0);
        };
        let scope: Vec<Col> = left.scope.iter().chain(&right.scope).cloned().collect();
        let outputs = self.outputs(&scope, false);
        let (head, cols) = Self::select("SELECT", &outputs, rows);
        let sql = Text::same(format!("WITH {name} AS ("))
            .and(&query.sql)
            .with(&format!(") {head} FROM "))
            .and(&left.sql)
            .with(" JOIN ")
            .and(&right.sql)
            .with(&format!(" ON {on}"));
        Query { sql, cols, rows, uses: query.uses }
    }
}
