//! `pg_class`: tables and streams are `r`, views `v`, materialized views `m`, indexes `i`.

use super::{System, catalog};
use crate::pg_catalog::{
    facts::{Facts, Object},
    oids,
    shape::{Cell, NULL, row},
};

pub const RELATIONS: &[System] = &[catalog!("pg_class", 1259, rows, [
    oid: Oid, relname: Name, relnamespace: Oid, reltype: Oid, reloftype: Oid, relowner: Oid, relam: Oid, relfilenode: Oid,
    reltablespace: Oid, relpages: Int4, reltuples: Real, relallvisible: Int4, reltoastrelid: Oid, relhasindex: Bool,
    relisshared: Bool, relpersistence: Char, relkind: Char, relnatts: Int2, relchecks: Int2, relhasrules: Bool,
    relhastriggers: Bool, relhassubclass: Bool, relrowsecurity: Bool, relforcerowsecurity: Bool, relispopulated: Bool,
    relreplident: Char, relispartition: Bool, relrewrite: Oid, relfrozenxid: Int8, relminmxid: Int8, relacl: Acls,
    reloptions: Texts, relpartbound: Text,
])];

fn rows(facts: &Facts, _: &super::live::Live) -> Vec<Vec<Cell>> {
    facts.objects().iter().map(|o| row_of(facts, o)).collect()
}

fn row_of(facts: &Facts, o: &Object) -> Vec<Cell> {
    let am = match o.kind {
        "r" | "m" => oids::HEAP,
        "i" => oids::BTREE,
        _ => 0,
    };
    let indexed = facts.is_indexed(o);
    let is_view = o.kind == "v" || o.kind == "m";
    let replica = if o.kind == "r" || o.kind == "m" { "d" } else { "n" };
    row![
        o.oid,
        o.name.as_str(),
        oids::schema(&o.schema),
        0i64,
        0i64,
        facts.owner(o.rights.as_ref()),
        am,
        o.oid,
        0i64,
        0i64,
        -1i64,
        0i64,
        0i64,
        indexed,
        false,
        "p",
        o.kind,
        o.columns.len(),
        o.relation.as_ref().filter(|_| o.index_of.is_none()).map_or(0, |r| r.checks.len()),
        is_view,
        false,
        false,
        false,
        false,
        true,
        replica,
        false,
        0i64,
        0i64,
        0i64,
        facts.acl(o.rights.as_ref().filter(|_| o.index_of.is_none())),
        NULL,
        NULL,
    ]
}
