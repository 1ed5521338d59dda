//! `pg_attribute` and `pg_attrdef`: columns of relations and indexes, and their defaults.

use super::{System, catalog, live::Live};
use crate::pg_catalog::{
    facts::{Facts, Object},
    oids,
    shape::{Cell, NULL, row},
    types,
};

pub const RELATIONS: &[System] = &[
    catalog!("pg_attribute", 1249, attributes, [
        attrelid: Oid, attname: Name, atttypid: Oid, attstattarget: Int4, attlen: Int2, attnum: Int2, attndims: Int4,
        attcacheoff: Int4, atttypmod: Int4, attbyval: Bool, attalign: Char, attstorage: Char, attcompression: Char,
        attnotnull: Bool, atthasdef: Bool, atthasmissing: Bool, attidentity: Char, attgenerated: Char, attisdropped: Bool,
        attislocal: Bool, attinhcount: Int4, attcollation: Oid, attacl: Acls, attoptions: Texts, attfdwoptions: Texts,
        attmissingval: Texts,
    ]),
    catalog!("pg_attrdef", 2604, defaults, [oid: Oid, adrelid: Oid, adnum: Int2, adbin: Text]),
];

fn attributes(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    facts.objects().iter().flat_map(of).collect()
}

fn of(o: &Object) -> impl Iterator<Item = Vec<Cell>> + '_ {
    o.columns.iter().enumerate().map(move |(at, c)| {
        let len = types::by_oid(c.type_oid).map_or(-1, |t| t.len);
        let storage = match (len, c.type_oid) {
            (0.., _) => "p",
            (_, 1700) => "m",
            _ => "x",
        };
        let textual = matches!(c.type_oid, 25 | 1042 | 1043);
        row![
            o.oid,
            c.name.as_str(),
            c.type_oid,
            -1i64,
            len,
            at + 1,
            0i64,
            -1i64,
            c.typmod,
            (0..=8).contains(&len),
            "i",
            storage,
            "",
            c.not_null,
            c.default.is_some() || c.computed.is_some(),
            false,
            c.identity,
            if c.computed.is_some() { "s" } else { "" },
            false,
            true,
            0i64,
            if textual { oids::COLLATION } else { 0 },
            NULL,
            NULL,
            NULL,
            NULL,
        ]
    })
}

fn defaults(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let of = |o: &Object| {
        let oid = o.oid;
        let columns = o.columns.clone().into_iter().enumerate();
        columns.filter_map(move |(at, c)| {
            let attnum = i64::try_from(at + 1).unwrap_or(i64::MAX);
            Some(row![oids::default(oid, attnum), oid, attnum, c.default.or(c.computed)?])
        })
    };
    facts.users().flat_map(of).collect()
}
