//! Expressions over the columns in scope. Each knows its type, its size and whether both systems
//! compute the same bits.

use super::data::{self, sql_type};
use super::{Col, Ty, functions};
use crate::rng::Rng;

/// An expression with its type.
#[derive(Debug, Clone)]
pub struct Expr {
    /// In brackets where needed.
    pub sql: String,
    /// Its type; a numeric's scale is a bound.
    pub ty: Ty,
    /// Absolute values stay below ten to this power.
    pub digits: u8,
    /// Both systems compute the same bits.
    pub exact: bool,
}

/// An integer of so many digits always fits.
pub(super) const INT_DIGITS: u8 = 9;
pub(super) const BIGINT_DIGITS: u8 = 18;
/// Digits before and behind the point together; regauge's widest is 38, sums add 6.
pub(super) const NUMERIC_DIGITS: u8 = 26;
/// Small values, or a sum in another order differs by more than the tolerance.
pub(super) const DOUBLE_DIGITS: u8 = 6;

impl Expr {
    fn exact(sql: String, ty: Ty, digits: u8) -> Self {
        Self { sql, ty, digits, exact: true }
    }
}

/// A column as an expression.
pub fn column(col: &Col) -> Expr {
    Expr { sql: col.name.clone(), ty: col.ty, digits: col.digits, exact: col.exact }
}

/// The exact columns of a type in scope.
pub fn columns_of(scope: &[Col], ty: Ty) -> Vec<&Col> {
    scope.iter().filter(|col| col.exact && col.ty.class() == ty.class()).collect()
}

/// An exact expression of this type.
pub fn value(rng: &mut Rng, scope: &[Col], ty: Ty, depth: usize) -> Expr {
    if depth == 0 || rng.percent(35) {
        return leaf(rng, scope, ty);
    }
    if rng.percent(25) {
        return functions::call(rng, scope, ty, depth - 1);
    }
    if rng.percent(22) {
        return any_type(rng, scope, ty, depth - 1);
    }
    match ty.class() {
        // In brackets: comparisons do not associate.
        Ty::Bool => Expr::exact(format!("({})", predicate(rng, scope, depth)), Ty::Bool, 0),
        Ty::Int | Ty::BigInt => integer(rng, scope, ty, depth - 1),
        Ty::Numeric(_) => numeric(rng, scope, depth - 1),
        Ty::Double => double(rng, scope, depth - 1),
        Ty::Text | Ty::Array => text(rng, scope, depth - 1),
        Ty::Timestamp => timestamp(rng, scope, depth - 1),
        Ty::Span => span(rng, scope, depth - 1),
        // What else takes a jsonb sees how it is written.
        Ty::Json | Ty::Date | Ty::Zoned | Ty::Bytes | Ty::Uuid => any_type(rng, scope, ty, depth - 1),
    }
}

/// A column where there is one, else a literal.
pub(super) fn leaf(rng: &mut Rng, scope: &[Col], ty: Ty) -> Expr {
    let columns = columns_of(scope, ty);
    if let Some(col) = rng.pick(&columns)
        && rng.percent(85)
    {
        return column(col);
    }
    if rng.percent(6) {
        return Expr::exact(format!("CAST(NULL AS {})", sql_type(ty)), ty, 1);
    }
    match ty {
        Ty::Bool => Expr::exact(["true", "false"][rng.below(2)].into(), ty, 0),
        Ty::Int => Expr::exact(format!("({})", rng.range(-3, 9)), ty, 1),
        Ty::BigInt => Expr::exact(format!("CAST({} AS bigint)", rng.range(-3, 99)), ty, 2),
        Ty::Numeric(_) => {
            Expr::exact(format!("CAST({}.{} AS numeric(12,2))", rng.range(0, 9), rng.below(100)), Ty::Numeric(2), 2)
        }
        Ty::Double => Expr::exact(format!("CAST({}.5 AS double precision)", rng.range(0, 9)), ty, 2),
        Ty::Text | Ty::Array => Expr::exact(["'a'", "''", "'ab'", "'x y'", "'Z'"][rng.below(5)].into(), Ty::Text, 0),
        Ty::Timestamp => Expr::exact(format!("TIMESTAMP '2026-01-01 0{}:30:00'", rng.below(10)), ty, 0),
        Ty::Span => Expr::exact(data::span(rng.below(12)), ty, 0),
        Ty::Json => Expr::exact(data::json(rng.below(15)), ty, 0),
        Ty::Date => Expr::exact(data::date(rng.below(12)), ty, 0),
        Ty::Zoned => Expr::exact(data::zoned(rng.below(12)), ty, 0),
        Ty::Bytes => Expr::exact(data::bytes(rng.below(8)), ty, 0),
        Ty::Uuid => Expr::exact(data::uuid(rng.below(8)), ty, 0),
    }
}

/// The guards and choosers that exist for every type.
fn any_type(rng: &mut Rng, scope: &[Col], ty: Ty, depth: usize) -> Expr {
    let a = value(rng, scope, ty, depth);
    let b = value(rng, scope, ty, depth);
    let sql = match rng.below(5) {
        0 | 1 => {
            let when = predicate(rng, scope, depth);
            format!("CASE WHEN {when} THEN {} ELSE {} END", a.sql, b.sql)
        }
        2 => format!("COALESCE({}, {})", a.sql, b.sql),
        3 => {
            let when = predicate(rng, scope, depth);
            format!("CASE WHEN {when} THEN {} END", a.sql)
        }
        _ => format!("NULLIF({}, {})", a.sql, b.sql),
    };
    Expr::exact(sql, wider(a.ty, b.ty), a.digits.max(b.digits))
}

fn wider(a: Ty, b: Ty) -> Ty {
    match (a, b) {
        (Ty::Numeric(a), Ty::Numeric(b)) => Ty::Numeric(a.max(b)),
        _ => a,
    }
}

fn integer(rng: &mut Rng, scope: &[Col], ty: Ty, depth: usize) -> Expr {
    let max = if ty == Ty::Int { INT_DIGITS } else { BIGINT_DIGITS };
    let a = value(rng, scope, ty, depth);
    let b = value(rng, scope, ty, depth);
    let (sql, digits) = match rng.below(12) {
        0 | 1 => (format!("({} + {})", a.sql, b.sql), a.digits.max(b.digits) + 1),
        2 => (format!("({} - {})", a.sql, b.sql), a.digits.max(b.digits) + 1),
        3 => (format!("({} * {})", a.sql, b.sql), a.digits + b.digits),
        4 => (format!("({} / NULLIF({}, 0))", a.sql, b.sql), a.digits),
        5 => (format!("({} % NULLIF({}, 0))", a.sql, b.sql), a.digits),
        6 => (format!("(- {})", a.sql), a.digits),
        7 => (format!("abs({})", a.sql), a.digits),
        // A guard: the division must not see the rows where it would fail.
        8 => (format!("CASE WHEN {1} <> 0 THEN {0} / {1} ELSE {0} END", a.sql, b.sql), a.digits),
        9 => (format!("greatest({}, {})", a.sql, b.sql), a.digits.max(b.digits)),
        10 if ty == Ty::Int => {
            let text = value(rng, scope, Ty::Text, depth);
            (format!("length({})", text.sql), 4)
        }
        10 => {
            let small = value(rng, scope, Ty::Int, depth);
            (format!("CAST({} AS bigint)", small.sql), small.digits)
        }
        _ if ty == Ty::Int => {
            let flag = predicate(rng, scope, depth);
            (format!("CAST(({flag}) AS integer)"), 1)
        }
        _ => {
            let small = value(rng, scope, Ty::Int, depth);
            let digits = small.digits.max(a.digits) + 1;
            (format!("({} + {})", small.sql, a.sql), digits)
        }
    };
    if digits > max { leaf(rng, scope, ty) } else { Expr::exact(sql, ty, digits) }
}

fn numeric(rng: &mut Rng, scope: &[Col], depth: usize) -> Expr {
    let a = value(rng, scope, Ty::Numeric(2), depth);
    let b = value(rng, scope, Ty::Numeric(2), depth);
    let (Ty::Numeric(scale_a), Ty::Numeric(scale_b)) = (a.ty, b.ty) else {
        return a;
    };
    let scale = scale_a.max(scale_b);
    let (sql, scale, digits) = match rng.below(7) {
        0 | 1 => (format!("({} + {})", a.sql, b.sql), scale, a.digits.max(b.digits) + 1),
        2 => (format!("({} - {})", a.sql, b.sql), scale, a.digits.max(b.digits) + 1),
        3 => (format!("({} * {})", a.sql, b.sql), scale_a + scale_b, a.digits + b.digits),
        4 => (format!("abs({})", a.sql), scale_a, a.digits),
        5 => {
            let small = value(rng, scope, Ty::Int, depth);
            let digits = small.digits.max(a.digits) + 1;
            (format!("({} + {})", a.sql, small.sql), scale_a, digits)
        }
        _ => {
            let small = value(rng, scope, Ty::Int, depth);
            (format!("CAST({} AS numeric(12,2))", small.sql), 2, small.digits)
        }
    };
    if scale > 8 || digits + scale > NUMERIC_DIGITS {
        return leaf(rng, scope, Ty::Numeric(2));
    }
    Expr::exact(sql, Ty::Numeric(scale), digits)
}

fn double(rng: &mut Rng, scope: &[Col], depth: usize) -> Expr {
    let a = value(rng, scope, Ty::Double, depth);
    let b = value(rng, scope, Ty::Double, depth);
    let sum = a.digits.max(b.digits) + 1;
    let (sql, digits) = match rng.below(6) {
        0 => (format!("({} + {})", a.sql, b.sql), sum),
        1 => (format!("({} - {})", a.sql, b.sql), sum),
        2 => (format!("({} * {})", a.sql, b.sql), a.digits + b.digits),
        3 => (format!("abs({})", a.sql), a.digits),
        4 => {
            let small = value(rng, scope, Ty::Int, depth);
            (format!("CAST({} AS double precision)", small.sql), small.digits)
        }
        _ => (format!("(- {})", a.sql), a.digits),
    };
    if digits > DOUBLE_DIGITS {
        return leaf(rng, scope, Ty::Double);
    }
    // One IEEE operation on equal bits gives equal bits.
    Expr::exact(sql, Ty::Double, digits)
}

/// A quotient of numerics: its number of digits differs, so it is shown and nothing more.
pub fn quotient(rng: &mut Rng, scope: &[Col]) -> Expr {
    let a = value(rng, scope, Ty::Numeric(2), 1);
    let b = value(rng, scope, Ty::Numeric(2), 0);
    let sql = format!("{} / NULLIF({}, 0)", a.sql, b.sql);
    Expr { sql, ty: Ty::Numeric(16), digits: a.digits + 4, exact: false }
}

fn text(rng: &mut Rng, scope: &[Col], depth: usize) -> Expr {
    let a = value(rng, scope, Ty::Text, depth);
    let sql = match rng.below(10) {
        0 | 1 => {
            let b = value(rng, scope, Ty::Text, depth);
            format!("({} || {})", a.sql, b.sql)
        }
        2 => format!("substr({}, {}, {})", a.sql, rng.range(1, 3), rng.range(0, 3)),
        3 => format!("replace({}, 'a', 'zz')", a.sql),
        4 => {
            let small = value(rng, scope, Ty::Int, depth);
            format!("CAST({} AS text)", small.sql)
        }
        5 => format!("left({}, {})", a.sql, rng.range(0, 3)),
        6 => format!("trim({})", a.sql),
        7 => {
            let flag = predicate(rng, scope, depth);
            format!("CASE WHEN {flag} THEN {} ELSE 'no' END", a.sql)
        }
        8 => super::json::text(rng, scope, depth.saturating_sub(1)),
        // Beyond ASCII the two differ by decision (docs/sql-differences.md).
        _ => format!("upper(replace({}, 'ü', 'u'))", a.sql),
    };
    Expr::exact(sql, Ty::Text, 0)
}

fn timestamp(rng: &mut Rng, scope: &[Col], depth: usize) -> Expr {
    let a = value(rng, scope, Ty::Timestamp, depth);
    let sql = match rng.below(4) {
        0 => format!("({} + INTERVAL '90 minutes')", a.sql),
        1 => format!("({} - INTERVAL '1 day')", a.sql),
        2 => format!("date_trunc('hour', {})", a.sql),
        _ => format!("date_trunc('day', {})", a.sql),
    };
    Expr::exact(sql, Ty::Timestamp, 0)
}

/// Equal for equal intervals, whatever their form.
fn span(rng: &mut Rng, scope: &[Col], depth: usize) -> Expr {
    let (a, b) = (value(rng, scope, Ty::Span, depth), value(rng, scope, Ty::Span, depth));
    let sql = match rng.below(4) {
        0 => format!("({} + {})", a.sql, b.sql),
        1 => format!("({} - {})", a.sql, b.sql),
        2 => format!("(- {})", a.sql),
        _ => format!("greatest({}, {})", a.sql, b.sql),
    };
    Expr::exact(sql, Ty::Span, 0)
}

/// A condition.
pub fn predicate(rng: &mut Rng, scope: &[Col], depth: usize) -> String {
    if depth > 0 && rng.percent(30) {
        let a = predicate(rng, scope, depth - 1);
        let b = predicate(rng, scope, depth - 1);
        return match rng.below(5) {
            0 | 1 => format!("({a} AND {b})"),
            2 | 3 => format!("({a} OR {b})"),
            _ => format!("(NOT {a})"),
        };
    }
    let types = present(scope);
    let ty = rng.pick(&types).copied().unwrap_or(Ty::Int);
    let inner = depth.saturating_sub(1);
    let a = leaf(rng, scope, ty).sql;
    match rng.below(15) {
        0 => format!("{a} IS NULL"),
        1 => format!("{a} IS NOT NULL"),
        2 => {
            let b = value(rng, scope, ty, inner).sql;
            format!("{a} IS DISTINCT FROM {b}")
        }
        3 => {
            let (b, c) = (leaf(rng, scope, ty).sql, leaf(rng, scope, ty).sql);
            format!("{a} IN ({b}, {c})")
        }
        4 => {
            let (b, c) = (leaf(rng, scope, ty).sql, leaf(rng, scope, ty).sql);
            format!("{a} BETWEEN {b} AND {c}")
        }
        5 if ty == Ty::Text => {
            let pattern = ["a%", "%b", "_", "%a%", "A%c", "%\\%"][rng.below(6)];
            format!("{a} LIKE '{pattern}'")
        }
        6 if ty == Ty::Bool => format!("{a} IS NOT TRUE"),
        7 if ty == Ty::Int => {
            // A guard again: true only where the division is defined.
            let b = leaf(rng, scope, Ty::Int).sql;
            format!("({b} <> 0 AND {a} / {b} >= 1)")
        }
        8 => super::json::predicate(rng, scope, inner),
        9 | 10 => functions::condition(rng, scope, inner),
        _ => {
            let operator = ["=", "<>", "<", "<=", ">", ">="][rng.below(6)];
            let b = value(rng, scope, ty, inner).sql;
            format!("{a} {operator} {b}")
        }
    }
}

/// The types that have an exact column.
pub fn present(scope: &[Col]) -> Vec<Ty> {
    scope.iter().filter(|col| col.exact && col.ty != Ty::Array).map(|col| col.ty).collect()
}

/// An expression that may fail, for the top of a view that nothing reads.
pub fn risky(rng: &mut Rng, scope: &[Col]) -> Expr {
    // Columns only: PostgreSQL folds a failing constant at CREATE already.
    let mut one = |ty: Ty| rng.pick(&columns_of(scope, ty)).map(|col| col.name.clone());
    let (a, b) = (one(Ty::Int).unwrap_or_default(), one(Ty::Int).unwrap_or_default());
    let text = one(Ty::Text);
    let (sql, ty) = match rng.below(6) {
        0 | 1 => (format!("{a} / {b}"), Ty::Int),
        2 => (format!("{a} % {b}"), Ty::Int),
        3 => (format!("{a} * 1000000000"), Ty::Int),
        4 if text.is_some() => (format!("CAST({} AS integer)", text.unwrap_or_default()), Ty::Int),
        _ => (format!("CASE WHEN {b} > 0 THEN {a} / ({b} - 1) ELSE 0 END"), Ty::Int),
    };
    Expr::exact(sql, ty, INT_DIGITS)
}
