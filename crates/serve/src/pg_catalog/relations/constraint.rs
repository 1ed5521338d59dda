//! `pg_index` and `pg_constraint`: the primary key of a table, indexes that were made, and conditions.

use super::{System, catalog, live::Live};
use crate::pg_catalog::{
    facts::{Facts, Object},
    oids,
    shape::{Cell, NULL, row},
};
use regauge_views::catalog::retext;

pub const RELATIONS: &[System] = &[
    catalog!("pg_index", 2610, indexes, [
        indexrelid: Oid, indrelid: Oid, indnatts: Int2, indnkeyatts: Int2, indisunique: Bool, indnullsnotdistinct: Bool,
        indisprimary: Bool, indisexclusion: Bool, indimmediate: Bool, indisclustered: Bool, indisvalid: Bool,
        indcheckxmin: Bool, indisready: Bool, indislive: Bool, indisreplident: Bool, indkey: Int2s, indcollation: Oids,
        indclass: Oids, indoption: Int2s, indexprs: Text, indpred: Text,
    ]),
    catalog!("pg_constraint", 2606, constraints, [
        oid: Oid, conname: Name, connamespace: Oid, contype: Char, condeferrable: Bool, condeferred: Bool, convalidated: Bool,
        conrelid: Oid, contypid: Oid, conindid: Oid, conparentid: Oid, confrelid: Oid, confupdtype: Char, confdeltype: Char,
        confmatchtype: Char, conislocal: Bool, coninhcount: Int2, connoinherit: Bool, conkey: Int2s, confkey: Int2s,
        conpfeqop: Oids, conppeqop: Oids, conffeqop: Oids, confdelsetcols: Int2s, conexclop: Oids, conbin: Text,
    ]),
];

fn keyed(facts: &Facts) -> impl Iterator<Item = &Object> {
    facts.users().filter(|o| !o.key.is_empty())
}

fn attnums(o: &Object) -> Vec<usize> {
    o.key.iter().map(|at| at + 1).collect()
}

fn indexes(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let indexes = facts.objects().iter().filter_map(|o| Some((o, o.index_of?)));
    indexes
        .map(|(o, of)| {
            let (n, n_keys) = (o.key.len(), o.made.as_ref().map_or(o.key.len(), |made| made.columns.len()));
            let is_key = o.made.is_none();
            let option = |at: usize| o.made.as_ref().and_then(|made| made.columns.get(at));
            let options = (0..n_keys).map(|at| option(at).map_or(0, |c| i64::from(c.descending) + 2 * i64::from(c.nulls_first)));
            row![
                o.oid,
                of,
                n,
                n_keys,
                is_key,
                false,
                is_key,
                false,
                true,
                false,
                true,
                false,
                true,
                true,
                false,
                attnums(o),
                vec![0i64; n_keys],
                vec![0i64; n_keys],
                options.collect::<Vec<i64>>(),
                NULL,
                NULL,
            ]
        })
        .collect()
}

fn constraints(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let mut rows = keys(facts);
    for o in facts.users() {
        for (n, check) in o.relation.iter().flat_map(|r| r.checks.iter()).enumerate() {
            let read = |(at, c): (usize, &crate::pg_catalog::facts::Column)| {
                retext::reads_column(&check.sql, &c.name).unwrap_or(false).then_some(at + 1)
            };
            let columns: Vec<usize> = o.columns.iter().enumerate().filter_map(read).collect();
            let (oid, schema) = (oids::check(o.oid, n), oids::schema(&o.schema));
            let none = 0i64;
            rows.push(row![
                oid,
                check.name.as_str(),
                schema,
                "c",
                false,
                false,
                true,
                o.oid,
                none,
                none,
                none,
                none,
                " ",
                " ",
                " ",
                true,
                none,
                false,
                columns,
            ]);
        }
    }
    rows
}

fn keys(facts: &Facts) -> Vec<Vec<Cell>> {
    keyed(facts)
        .map(|o| {
            row![
                oids::key_constraint(o.oid),
                regauge_views::catalog::key_constraint(&o.name),
                oids::schema(&o.schema),
                "p",
                false,
                false,
                true,
                o.oid,
                0i64,
                oids::key_index(o.oid),
                0i64,
                0i64,
                " ",
                " ",
                " ",
                true,
                0i64,
                true,
                attnums(o),
            ]
        })
        .collect()
}
