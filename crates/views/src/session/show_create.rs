//! SHOW CREATE: the statement that makes a relation as it is now.
//!
//! Invariant: what it says can be run in an empty instance, given what the relation reads, and makes the same columns, key,
//! conditions and query. Sequences of columns come with them; where they stand does not.

use super::show::texts;
use crate::{
    catalog::{Catalog, Column, Kind, Made, Relation, dead, ty},
    error::Result,
    response::Response,
};
use std::collections::BTreeMap;

pub(super) fn show(catalog: &Catalog, relation: &Relation) -> Result<Response> {
    let text = text(catalog, relation);
    texts(&["name", "create_sql"], &[vec![Some(relation.name.to_string()), Some(text)]], "SHOW")
}

fn quoted(name: &str) -> String {
    crate::catalog::retext::identifier(name)
}

fn text(catalog: &Catalog, relation: &Relation) -> String {
    // Dead letters are made with their stream, and not without it.
    if let Some(stream) = dead::of(relation).and_then(|id| catalog.get(id)) {
        return text(catalog, stream);
    }
    let name = format!("{}.{}", quoted(&relation.name.schema), quoted(&relation.name.name));
    let columns = || relation.columns.iter().map(|c| quoted(&c.name)).collect::<Vec<_>>().join(", ");
    match &relation.kind {
        Kind::View { definition } => format!("CREATE VIEW {name} ({}) AS\n{};", columns(), definition.sql),
        Kind::Materialized { .. } => {
            let (sql, mut options) = relation.routed().map(|v| (v.definition.sql.clone(), v.options.clone())).unwrap_or_default();
            options.remove("async");
            format!("CREATE MATERIALIZED VIEW {name} ({}){} AS\n{sql};", columns(), with(&options))
        }
        Kind::Table { key } => {
            let mut parts: Vec<String> = relation.columns.iter().map(|c| column(catalog, c)).collect();
            if !key.is_empty() {
                let of: Vec<String> = key.iter().filter_map(|at| relation.columns.get(*at)).map(|c| quoted(&c.name)).collect();
                parts.push(format!("PRIMARY KEY ({})", of.join(", ")));
            }
            parts.extend(checks(relation));
            format!("CREATE TABLE {name} (\n    {}\n);", parts.join(",\n    "))
        }
        Kind::Stream { partition_by, partitions, watermark } => {
            let mut parts: Vec<String> = relation.columns.iter().map(|c| column(catalog, c)).collect();
            parts.extend(checks(relation));
            if let Some(w) = watermark
                && let Some(of) = relation.columns.iter().find(|c| c.id == w.column)
            {
                parts.push(format!("WATERMARK FOR {} AS {}", quoted(&of.name), w.sql));
            }
            let by: Vec<String> =
                partition_by.iter().filter_map(|at| relation.columns.get(*at)).map(|c| quoted(&c.name)).collect();
            let by = if by.is_empty() { String::new() } else { format!(" PARTITION BY ({})", by.join(", ")) };
            let mut options = relation.options.clone();
            options.insert("partitions".to_owned(), partitions.to_string());
            format!("CREATE STREAM {name} (\n    {}\n){by}{};", parts.join(",\n    "), with(&options))
        }
    }
}

fn checks(relation: &Relation) -> impl Iterator<Item = String> + '_ {
    relation.checks.iter().map(|c| format!("CONSTRAINT {} CHECK ({})", quoted(&c.name), c.sql))
}

fn with(options: &BTreeMap<String, String>) -> String {
    if options.is_empty() {
        return String::new();
    }
    let each: Vec<String> = options.iter().map(|(n, v)| format!("{n} = '{}'", v.replace('\'', "''"))).collect();
    format!(" WITH ({})", each.join(", "))
}

fn column(catalog: &Catalog, c: &Column) -> String {
    let ty = ty::written(&c.ty, c.chars_max);
    let mut text = format!("{} {ty}", quoted(&c.name));
    match &c.made {
        Made::Given => {}
        Made::Computed(sql) => text = format!("{text} GENERATED ALWAYS AS ({sql}) STORED"),
        Made::Counted { sequence, always, serial } => {
            let spec = catalog.sequence(*sequence).map(|s| s.spec.clone());
            let options = match spec {
                Some(s) => {
                    format!(" (INCREMENT BY {} MINVALUE {} MAXVALUE {} START WITH {})", s.increment, s.min, s.max, s.start)
                }
                None => String::new(),
            };
            let how = if *always && !*serial { "ALWAYS" } else { "BY DEFAULT" };
            text = format!("{text} GENERATED {how} AS IDENTITY{options}");
        }
    }
    if c.not_null {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = &c.default {
        text = format!("{text} DEFAULT {default}");
    }
    text
}
