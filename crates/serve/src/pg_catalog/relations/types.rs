//! `pg_type`, `pg_collation` and `pg_enum`, `pg_range`.

use super::{System, catalog, live::Live};
use crate::pg_catalog::{
    facts::Facts,
    oids,
    shape::{Cell, NULL, row},
    types::{TYPES, Type},
};

pub const RELATIONS: &[System] = &[
    catalog!("pg_type", 1247, rows, [
        oid: Oid, typname: Name, typnamespace: Oid, typowner: Oid, typlen: Int2, typbyval: Bool, typtype: Char,
        typcategory: Char, typispreferred: Bool, typisdefined: Bool, typdelim: Char, typrelid: Oid, typsubscript: Text,
        typelem: Oid, typarray: Oid, typinput: Text, typoutput: Text, typreceive: Text, typsend: Text, typmodin: Text,
        typmodout: Text, typanalyze: Text, typalign: Char, typstorage: Char, typnotnull: Bool, typbasetype: Oid,
        typtypmod: Int4, typndims: Int4, typcollation: Oid, typdefaultbin: Text, typdefault: Text, typacl: Acls,
    ]),
    catalog!("pg_collation", 3456, |_, _| vec![
        row![oids::COLLATION, "default", oids::PG_CATALOG, oids::OWNER, "d", true, -1i64, "", "", NULL, NULL, NULL],
        row![950i64, "C", oids::PG_CATALOG, oids::OWNER, "c", true, -1i64, "C", "C", NULL, NULL, NULL],
    ], [
        oid: Oid, collname: Name, collnamespace: Oid, collowner: Oid, collprovider: Char, collisdeterministic: Bool,
        collencoding: Int4, collcollate: Text, collctype: Text, colliculocale: Text, collicurules: Text, collversion: Text,
    ]),
];

fn rows(_: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let arrays = TYPES.iter().filter(|t| t.array != 0).map(|t| {
        let name = format!("_{}", t.name);
        one(t.array, &name, -1, t.kind, "A", t.oid, 0, "array_in", textual(t))
    });
    let plain = TYPES.iter().map(|t| {
        let input = match t.name {
            "name" | "text" | "varchar" | "bpchar" | "date" | "time" | "timestamp" | "timestamptz" | "interval" | "numeric"
            | "json" | "jsonb" | "uuid" | "record" | "timetz" => format!("{}_in", t.name),
            other => format!("{other}in"),
        };
        one(t.oid, t.name, t.len, t.kind, t.category, t.element, t.array, &input, textual(t))
    });
    plain.chain(arrays).collect()
}

fn textual(t: &Type) -> bool {
    t.category == "S"
}

#[expect(clippy::too_many_arguments, reason = "columns of one row")]
fn one(
    oid: i64,
    name: &str,
    len: i64,
    kind: &str,
    category: &str,
    elem: i64,
    array: i64,
    input: &str,
    textual: bool,
) -> Vec<Cell> {
    let function = |suffix: &str| input.strip_suffix("in").map(|stem| format!("{stem}{suffix}"));
    row![
        oid,
        name,
        oids::PG_CATALOG,
        oids::OWNER,
        len,
        len > 0 && len <= 8,
        kind,
        category,
        matches!(name, "bool" | "float8" | "text" | "timestamptz" | "interval" | "inet" | "varbit"),
        true,
        ",",
        0i64,
        if category == "A" { "array_subscript_handler" } else { "-" },
        elem,
        array,
        input,
        function("out"),
        function("recv"),
        function("send"),
        "-",
        "-",
        "-",
        "i",
        if len < 0 { "x" } else { "p" },
        false,
        0i64,
        -1i64,
        0i64,
        if textual { oids::COLLATION } else { 0 },
        NULL,
        NULL,
        NULL,
    ]
}
