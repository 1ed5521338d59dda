//! Every system relation: its shape, and how its rows are made.

mod attribute;
mod class;
mod cluster;
mod constraint;
pub mod described;
mod empty;
mod information;
pub mod live;
mod namespace;
mod overviews;
mod privileges;
mod roles;
mod running;
mod sinks;
mod types;

use super::{
    facts::Facts,
    shape::{self, Cell, Columns},
};
use arrow::array::RecordBatch;
use live::Live;
use regauge_views::read::names::Scope;

/// A system relation.
pub struct System {
    pub schema: &'static str,
    pub name: &'static str,
    pub oid: i64,
    pub columns: Columns,
    pub rows: fn(&Facts, &Live) -> Vec<Vec<Cell>>,
}

/// `columns![oid: Oid, relname: Name]`
macro_rules! columns {
    ($($name:ident: $ty:ident),* $(,)?) => { &[$((stringify!($name), $crate::pg_catalog::shape::Ty::$ty)),*] };
}
pub(crate) use columns;

/// Relations of `pg_catalog`.
macro_rules! catalog {
    ($name:literal, $oid:literal, $rows:expr, [$($columns:tt)*]) => {
        $crate::pg_catalog::relations::System {
            schema: "pg_catalog",
            name: $name,
            oid: $oid,
            columns: $crate::pg_catalog::relations::columns![$($columns)*],
            rows: $rows,
        }
    };
}
pub(crate) use catalog;

const PARTS: &[&[System]] = &[
    namespace::RELATIONS,
    class::RELATIONS,
    attribute::RELATIONS,
    types::RELATIONS,
    constraint::RELATIONS,
    described::RELATIONS,
    cluster::RELATIONS,
    overviews::RELATIONS,
    roles::RELATIONS,
    privileges::RELATIONS,
    empty::RELATIONS,
    information::RELATIONS,
    live::RELATIONS,
    running::RELATIONS,
    sinks::RELATIONS,
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static System> {
    PARTS.iter().flat_map(|part| part.iter())
}

/// One of them.
pub fn find(schema: &str, name: &str) -> Option<&'static System> {
    all().find(|s| s.schema == schema && s.name == name)
}

/// Its rows now.
pub fn rows(scope: &Scope, live: &Live, schema: &str, name: &str) -> Option<RecordBatch> {
    let system = find(schema, name)?;
    let rows = (system.rows)(&Facts::new(scope), live);
    match shape::batch(system.columns, &rows) {
        Ok(batch) => Some(batch),
        Err(error) => {
            tracing::error!(%error, schema, name, "a system relation has no rows");
            None
        }
    }
}
