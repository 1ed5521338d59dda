//! `WITH (on_error = 'divert')`: rows of a materialized view that fail are set aside, where `<view>_errors` shows them.
//!
//! `<view>_errors` is a plain view that CREATE makes beside the materialized one, in the same commit; it goes with it, and not without it.
//! Its text reads [`SCHEMA`]`.<view>`, a name that only reads understand: the rows set aside of the version that answers, at the
//! statement's epoch (I4). Not offered: materialized views over it.

use super::{Catalog, Column, ColumnSpec, DefinitionSpec, Kind, Name, ObjectId, PUBLIC, Relation};
use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use regauge_types::ColumnId;
use std::{collections::BTreeSet, sync::Arc};

/// The option.
pub const OPTION: &str = "on_error";
/// Its value for setting rows aside.
pub const DIVERT: &str = "divert";
/// The schema in which a materialized view's name stands for its rows set aside.
pub const SCHEMA: &str = "regauge_errors";

const COLUMNS: [(&str, DataType); 5] = [
    ("sqlstate", DataType::Utf8),
    ("message", DataType::Utf8),
    ("met_in", DataType::Utf8),
    ("subject", DataType::Utf8),
    ("n_rows", DataType::Int64),
];

/// Columns of rows set aside.
pub fn schema() -> SchemaRef {
    let fields: Vec<Field> = COLUMNS.into_iter().map(|(name, ty)| Field::new(name, ty, true)).collect();
    Arc::new(Schema::new(fields))
}

/// The name of the view over a view's rows set aside.
pub fn name(view: &Name) -> Name {
    Name { schema: view.schema.clone(), name: format!("{}_errors", view.name) }
}

/// Its columns.
pub fn columns() -> Vec<ColumnSpec> {
    let column = |(id, (name, ty)): (u32, (&str, DataType))| {
        let (id, name) = (ColumnId(id), name.to_owned());
        ColumnSpec::of(&Column::plain(id, name, ty))
    };
    (1..).zip(COLUMNS).map(column).collect()
}

/// Its definition.
pub fn definition(view: ObjectId, name: &Name) -> DefinitionSpec {
    let columns: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let whole = if name.schema == PUBLIC { name.name.clone() } else { format!("{}.{}", name.schema, name.name) };
    let sql = format!("SELECT {} FROM {SCHEMA}.{}", columns.join(", "), crate::syntax::quote(&whole));
    DefinitionSpec { sql, search_path: vec![PUBLIC.to_owned()], time_zone: "UTC".to_owned(), depends_on: vec![view] }
}

/// Whether a relation is the view over the rows set aside of another.
pub fn is_of(relation: &Relation, of: &Relation) -> bool {
    let Kind::View { definition: made } = &relation.kind else { return false };
    of.routed().is_some_and(|v| v.diverts()) && relation.name == name(&of.name) && made.sql == definition(of.id, &of.name).sql
}

/// The materialized view that a name within [`SCHEMA`] stands for.
pub fn find<'a>(catalog: &'a Catalog, schema: Option<&str>, name: &str) -> Option<&'a Arc<Relation>> {
    if schema != Some(SCHEMA) {
        return None;
    }
    // A view of another schema stands there under its whole name.
    let elsewhere = || name.split_once('.').map(|(schema, name)| Name { schema: schema.to_owned(), name: name.to_owned() });
    let relation = catalog.find(&Name::public(name)).or_else(|| catalog.find(&elsewhere()?))?;
    relation.routed().is_some_and(|v| v.diverts()).then_some(relation)
}

/// One of these relations that shows rows set aside of another of them.
pub fn among<'a>(catalog: &'a Catalog, ids: &BTreeSet<ObjectId>) -> Option<&'a Arc<Relation>> {
    let all: Vec<&Arc<Relation>> = ids.iter().filter_map(|id| catalog.get(*id)).collect();
    all.iter().find(|r| all.iter().any(|of| is_of(r, of))).copied()
}

/// What `on_error` said; none for the usual way.
pub fn option(value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("fail") => Ok(false),
        Some(DIVERT) => Ok(true),
        Some(other) => Err(Error::unsupported(format!("on_error = '{other}' is not offered")).hint(
            "on_error = 'fail' makes reads fail while a row does; on_error = 'divert' sets such rows aside in <view>_errors",
        )),
    }
}
