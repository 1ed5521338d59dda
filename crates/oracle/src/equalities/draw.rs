//! Tables, their changes, and conditions over columns.

use std::fmt::Write as _;

use crate::rng::Rng;

/// A type of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ty {
    Int,
    Big,
    Num,
    Text,
    Bool,
    Time,
}

impl Ty {
    fn name(self) -> &'static str {
        match self {
            Ty::Int => "integer",
            Ty::Big => "bigint",
            Ty::Num => "numeric(10,2)",
            Ty::Text => "text",
            Ty::Bool => "boolean",
            Ty::Time => "timestamp",
        }
    }

    /// A constant of few, so that rows meet.
    pub fn constant(self, rng: &mut Rng) -> String {
        match self {
            Ty::Int => rng.range(-3, 6).to_string(),
            Ty::Big => format!("CAST({} AS bigint)", rng.range(-2, 4)),
            Ty::Num => format!("CAST({}.{} AS numeric(10,2))", rng.range(-2, 4), ["00", "50", "25"][rng.below(3)]),
            Ty::Text => ["'a'", "'b'", "'ab'", "''", "'B'", "'a_%'"][rng.below(6)].into(),
            Ty::Bool => ["true", "false"][rng.below(2)].into(),
            Ty::Time => format!("TIMESTAMP '2026-01-01 0{}:{}0:00'", rng.below(4), rng.below(6)),
        }
    }
}

/// A column as a query names it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub name: String,
    pub ty: Ty,
}

/// A table: `id` and some columns.
#[derive(Debug)]
pub(super) struct Table {
    pub name: String,
    pub columns: Vec<Column>,
}

impl Table {
    pub fn create(&self) -> String {
        let mut sql = format!("CREATE TABLE {} (id integer PRIMARY KEY", self.name);
        for column in &self.columns {
            let _ = write!(sql, ", {} {}", column.name, column.ty.name());
        }
        sql + ")"
    }
}

/// Two or three tables; each has two integers, a text, and others.
pub(super) fn tables(rng: &mut Rng) -> Vec<Table> {
    let column = |name: String, ty| Column { name, ty };
    (0..2 + rng.below(2))
        .map(|t| {
            let mut columns = vec![column("a".into(), Ty::Int), column("b".into(), Ty::Int), column("s".into(), Ty::Text)];
            for i in 0..1 + rng.below(4) {
                let ty = [Ty::Big, Ty::Num, Ty::Bool, Ty::Time][rng.below(4)];
                columns.push(column(format!("x{i}"), ty));
            }
            Table { name: format!("t{t}"), columns }
        })
        .collect()
}

fn value(rng: &mut Rng, ty: Ty) -> String {
    if rng.percent(20) { "NULL".into() } else { ty.constant(rng) }
}

/// Some commits.
pub(super) fn changes(rng: &mut Rng, tables: &[Table]) -> Vec<String> {
    (0..1 + rng.below(4))
        .map(|_| {
            let table = &tables[rng.below(tables.len())];
            let column = &table.columns[rng.below(table.columns.len())];
            let name = &table.name;
            match rng.below(6) {
                0 => format!("DELETE FROM {name} WHERE id % {} = {}", 2 + rng.below(4), rng.below(2)),
                1 => {
                    let to = value(rng, column.ty);
                    format!("UPDATE {name} SET {} = {to} WHERE id % {} = 0", column.name, 1 + rng.below(5))
                }
                2 if column.ty == Ty::Int => format!("UPDATE {name} SET {0} = {0} + 1 WHERE {0} < 5", column.name),
                _ => {
                    let most = if rng.percent(10) { 300 } else { 12 };
                    let rows: Vec<String> = (0..1 + rng.below(most))
                        .map(|_| {
                            let mut row = format!("({}", rng.below(400));
                            for column in &table.columns {
                                let _ = write!(row, ", {}", value(rng, column.ty));
                            }
                            row + ")"
                        })
                        .collect();
                    format!("INSERT INTO {name} VALUES {} ON CONFLICT DO NOTHING", rows.join(", "))
                }
            }
        })
        .collect()
}

fn of(rng: &mut Rng, columns: &[Column], ty: Ty) -> Option<String> {
    let fitting: Vec<&Column> = columns.iter().filter(|c| c.ty == ty).collect();
    Some(fitting.get(rng.below(fitting.len()))?.name.clone())
}

/// An expression of a type; it never fails.
pub(super) fn expression(rng: &mut Rng, columns: &[Column], ty: Ty, depth: usize) -> String {
    let leaf = |rng: &mut Rng| match of(rng, columns, ty) {
        Some(column) if rng.percent(75) => column,
        _ => ty.constant(rng),
    };
    if depth == 0 || rng.percent(40) {
        return leaf(rng);
    }
    let below = |rng: &mut Rng, ty| expression(rng, columns, ty, depth - 1);
    match (ty, rng.below(5)) {
        (_, 0) => {
            let (p, a, b) = (condition(rng, columns, depth - 1), below(rng, ty), below(rng, ty));
            format!("CASE WHEN {p} THEN {a} ELSE {b} END")
        }
        (_, 1) => format!("COALESCE({}, {})", below(rng, ty), below(rng, ty)),
        (_, 2) => format!("NULLIF({}, {})", below(rng, ty), below(rng, ty)),
        (Ty::Int, 3) => format!("length({})", below(rng, Ty::Text)),
        (Ty::Int, _) => format!("({} % 7 {} {} % 5)", below(rng, ty), ["+", "-", "*"][rng.below(3)], below(rng, ty)),
        (Ty::Big | Ty::Num, _) => format!("(- {})", below(rng, ty)),
        (Ty::Text, _) => format!("({} || {})", below(rng, ty), below(rng, ty)),
        (Ty::Bool, _) => format!("({})", condition(rng, columns, depth - 1)),
        (Ty::Time, _) => format!("({} + INTERVAL '{} minutes')", below(rng, ty), 10 * rng.below(9)),
    }
}

/// A condition over these columns; it never fails.
pub(super) fn condition(rng: &mut Rng, columns: &[Column], depth: usize) -> String {
    let ty = match columns.get(rng.below(columns.len())) {
        Some(column) => column.ty,
        None => Ty::Int,
    };
    let e = |rng: &mut Rng| expression(rng, columns, ty, depth.min(2));
    if depth > 0 {
        match rng.below(10) {
            0 | 1 => return format!("({} AND {})", condition(rng, columns, depth - 1), condition(rng, columns, depth - 1)),
            2 | 3 => return format!("({} OR {})", condition(rng, columns, depth - 1), condition(rng, columns, depth - 1)),
            4 => return format!("(NOT {})", condition(rng, columns, depth - 1)),
            5 => {
                let test = ["IS NULL", "IS NOT TRUE", "IS FALSE", "IS NOT NULL", "IS UNKNOWN"][rng.below(5)];
                return format!("(({}) {test})", condition(rng, columns, depth - 1));
            }
            _ => {}
        }
    }
    match rng.below(8) {
        0 => format!("({} IS {}NULL)", e(rng), ["", "NOT "][rng.below(2)]),
        1 => {
            let list: Vec<String> = (0..1 + rng.below(4)).map(|_| if rng.percent(10) { "NULL".into() } else { e(rng) }).collect();
            format!("({} {}IN ({}))", e(rng), ["", "NOT "][rng.below(2)], list.join(", "))
        }
        2 => format!("({} {}BETWEEN {} AND {})", e(rng), ["", "NOT "][rng.below(2)], e(rng), e(rng)),
        3 if ty == Ty::Text => {
            format!("({} {}LIKE {})", e(rng), ["", "NOT "][rng.below(2)], ["'a%'", "'%b'", "'_'", "''"][rng.below(4)])
        }
        4 => format!("({} IS {}DISTINCT FROM {})", e(rng), ["", "NOT "][rng.below(2)], e(rng)),
        _ => format!("({} {} {})", e(rng), ["=", "<>", "<", "<=", ">", ">="][rng.below(6)], e(rng)),
    }
}
