//! PostgreSQL's own views over its catalog: `pg_tables`, `pg_views`, `pg_matviews`, `pg_indexes`.

use super::{System, catalog};
use crate::pg_catalog::{
    functions,
    shape::{NULL, row},
};

pub const RELATIONS: &[System] = &[
    catalog!("pg_tables", 12010, |facts, _| {
        let tables = facts.objects().iter().filter(|o| o.kind == "r");
        tables.map(|o| row![o.schema.as_str(), o.name.as_str(), facts.owner_name(o.rights.as_ref()), NULL, !o.key.is_empty(), false, false, false]).collect()
    }, [
        schemaname: Name, tablename: Name, tableowner: Name, tablespace: Name, hasindexes: Bool, hasrules: Bool,
        hastriggers: Bool, rowsecurity: Bool,
    ]),
    catalog!("pg_views", 12011, |facts, _| {
        let views = facts.objects().iter().filter(|o| o.kind == "v");
        views.map(|o| row![o.schema.as_str(), o.name.as_str(), facts.owner_name(o.rights.as_ref()), o.definition()]).collect()
    }, [schemaname: Name, viewname: Name, viewowner: Name, definition: Text]),
    catalog!("pg_matviews", 12012, |facts, _| {
        let views = facts.objects().iter().filter(|o| o.kind == "m");
        views.map(|o| row![o.schema.as_str(), o.name.as_str(), facts.owner_name(o.rights.as_ref()), NULL, false, true, o.definition()]).collect()
    }, [
        schemaname: Name, matviewname: Name, matviewowner: Name, tablespace: Name, hasindexes: Bool, ispopulated: Bool,
        definition: Text,
    ]),
    catalog!("pg_indexes", 12013, |facts, _| {
        let indexes = facts.objects().iter().filter_map(|o| Some((o, facts.by_oid(o.index_of?)?)));
        indexes.map(|(o, table)| row![o.schema.as_str(), table.name.as_str(), o.name.as_str(), NULL, functions::index_def(o, table)]).collect()
    }, [schemaname: Name, tablename: Name, indexname: Name, tablespace: Name, indexdef: Text]),
];
