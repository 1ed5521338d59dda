//! `information_schema`: the standard's view of the same facts. Views of every kind are `VIEW`s in `tables`, except materialized
//! ones, which PostgreSQL leaves out of the standard's schema; tables and streams are `BASE TABLE`s.

use super::{System, columns, live::Live};
use crate::pg_catalog::{
    facts::{Column, Facts, Object},
    shape::{Cell, NULL, row},
    types,
};
use regauge_views::{
    catalog::{Check, Kind, Made, Sequence, rights},
    read::names::DATABASE,
};

macro_rules! standard {
    ($name:literal, $oid:literal, $rows:expr, [$($columns:tt)*]) => {
        System { schema: "information_schema", name: $name, oid: $oid, columns: columns![$($columns)*], rows: $rows }
    };
}

pub const RELATIONS: &[System] = &[
    standard!("information_schema_catalog_name", 13100, |_, _| vec![row![DATABASE]], [catalog_name: Name]),
    standard!("schemata", 13101, schemata, [
        catalog_name: Name, schema_name: Name, schema_owner: Name, default_character_set_catalog: Name,
        default_character_set_schema: Name, default_character_set_name: Name, sql_path: Text,
    ]),
    standard!("tables", 13102, tables, [
        table_catalog: Name, table_schema: Name, table_name: Name, table_type: Text, self_referencing_column_name: Name,
        reference_generation: Text, user_defined_type_catalog: Name, user_defined_type_schema: Name,
        user_defined_type_name: Name, is_insertable_into: Text, is_typed: Text, commit_action: Text,
    ]),
    standard!("columns", 13103, all_columns, [
        table_catalog: Name, table_schema: Name, table_name: Name, column_name: Name, ordinal_position: Int4,
        column_default: Text, is_nullable: Text, data_type: Text, character_maximum_length: Int4, character_octet_length: Int4,
        numeric_precision: Int4, numeric_precision_radix: Int4, numeric_scale: Int4, datetime_precision: Int4,
        interval_type: Text, interval_precision: Int4, character_set_catalog: Name, character_set_schema: Name,
        character_set_name: Name, collation_catalog: Name, collation_schema: Name, collation_name: Name, domain_catalog: Name,
        domain_schema: Name, domain_name: Name, udt_catalog: Name, udt_schema: Name, udt_name: Name, scope_catalog: Name,
        scope_schema: Name, scope_name: Name, maximum_cardinality: Int4, dtd_identifier: Name, is_self_referencing: Text,
        is_identity: Text, identity_generation: Text, identity_start: Text, identity_increment: Text, identity_maximum: Text,
        identity_minimum: Text, identity_cycle: Text, is_generated: Text, generation_expression: Text, is_updatable: Text,
    ]),
    standard!("views", 13104, views, [
        table_catalog: Name, table_schema: Name, table_name: Name, view_definition: Text, check_option: Text,
        is_updatable: Text, is_insertable_into: Text, is_trigger_updatable: Text, is_trigger_deletable: Text,
        is_trigger_insertable_into: Text,
    ]),
    standard!("table_constraints", 13105, table_constraints, [
        constraint_catalog: Name, constraint_schema: Name, constraint_name: Name, table_catalog: Name, table_schema: Name,
        table_name: Name, constraint_type: Text, is_deferrable: Text, initially_deferred: Text, enforced: Text,
        nulls_distinct: Text,
    ]),
    standard!("key_column_usage", 13106, key_columns, [
        constraint_catalog: Name, constraint_schema: Name, constraint_name: Name, table_catalog: Name, table_schema: Name,
        table_name: Name, column_name: Name, ordinal_position: Int4, position_in_unique_constraint: Int4,
    ]),
    standard!("constraint_column_usage", 13107, constraint_columns, [
        table_catalog: Name, table_schema: Name, table_name: Name, column_name: Name, constraint_catalog: Name,
        constraint_schema: Name, constraint_name: Name,
    ]),
    standard!("constraint_table_usage", 13108, |facts, _| {
        keyed(facts).map(|o| row![DATABASE, o.schema.as_str(), o.name.as_str(), DATABASE, o.schema.as_str(), pkey(o)]).collect()
    }, [
        table_catalog: Name, table_schema: Name, table_name: Name, constraint_catalog: Name, constraint_schema: Name,
        constraint_name: Name,
    ]),
    standard!("referential_constraints", 13109, |_, _| vec![], [
        constraint_catalog: Name, constraint_schema: Name, constraint_name: Name, unique_constraint_catalog: Name,
        unique_constraint_schema: Name, unique_constraint_name: Name, match_option: Text, update_rule: Text, delete_rule: Text,
    ]),
    standard!("check_constraints", 13110, |facts, _| {
        checks(facts).map(|(o, c)| row![DATABASE, o.schema.as_str(), c.name.as_str(), format!("({})", c.sql)]).collect()
    }, [
        constraint_catalog: Name, constraint_schema: Name, constraint_name: Name, check_clause: Text,
    ]),
    standard!("routines", 13111, |_, _| vec![], [
        specific_catalog: Name, specific_schema: Name, specific_name: Name, routine_catalog: Name, routine_schema: Name,
        routine_name: Name, routine_type: Text, data_type: Text, type_udt_name: Name, routine_body: Text,
        routine_definition: Text, external_language: Text, is_deterministic: Text, security_type: Text,
    ]),
    standard!("parameters", 13112, |_, _| vec![], [
        specific_catalog: Name, specific_schema: Name, specific_name: Name, ordinal_position: Int4, parameter_mode: Text,
        is_result: Text, as_locator: Text, parameter_name: Name, data_type: Text, udt_name: Name, parameter_default: Text,
    ]),
    standard!("sequences", 13113, sequences, [
        sequence_catalog: Name, sequence_schema: Name, sequence_name: Name, data_type: Text, numeric_precision: Int4,
        numeric_precision_radix: Int4, numeric_scale: Int4, start_value: Text, minimum_value: Text, maximum_value: Text,
        increment: Text, cycle_option: Text,
    ]),
    standard!("triggers", 13114, |_, _| vec![], [
        trigger_catalog: Name, trigger_schema: Name, trigger_name: Name, event_manipulation: Text, event_object_catalog: Name,
        event_object_schema: Name, event_object_table: Name, action_order: Int4, action_condition: Text,
        action_statement: Text, action_orientation: Text, action_timing: Text,
    ]),
    standard!("domains", 13115, |_, _| vec![], [
        domain_catalog: Name, domain_schema: Name, domain_name: Name, data_type: Text, domain_default: Text, udt_name: Name,
    ]),
    standard!("element_types", 13116, |_, _| vec![], [
        object_catalog: Name, object_schema: Name, object_name: Name, object_type: Text, collection_type_identifier: Name,
        data_type: Text, udt_name: Name,
    ]),
    standard!("view_table_usage", 13119, view_usage, [
        view_catalog: Name, view_schema: Name, view_name: Name, table_catalog: Name, table_schema: Name, table_name: Name,
    ]),
    standard!("character_sets", 13122, |_, _| vec![row![NULL, NULL, "UTF8", "UCS", "UTF8", DATABASE, "pg_catalog", "C"]], [
        character_set_catalog: Name, character_set_schema: Name, character_set_name: Name, character_repertoire: Name,
        form_of_use: Name, default_collate_catalog: Name, default_collate_schema: Name, default_collate_name: Name,
    ]),
];

fn schemata(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let owner = |s: &str| facts.owner_name(Some(&rights::Object::Schema(s.to_owned())));
    facts.schemas().iter().map(|s| row![DATABASE, s.as_str(), owner(s)]).collect()
}

/// What the standard counts as a table.
fn shown(facts: &Facts) -> impl Iterator<Item = &Object> {
    facts.objects().iter().filter(|o| matches!(o.kind, "r" | "v"))
}

fn keyed(facts: &Facts) -> impl Iterator<Item = &Object> {
    facts.users().filter(|o| !o.key.is_empty())
}

fn pkey(o: &Object) -> String {
    regauge_views::catalog::key_constraint(&o.name)
}

fn yes(b: bool) -> &'static str {
    if b { "YES" } else { "NO" }
}

fn writable(o: &Object) -> bool {
    o.kind == "r" && o.relation.is_some()
}

fn tables(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let of = |o: &Object| {
        let kind = if o.kind == "r" { "BASE TABLE" } else { "VIEW" };
        row![DATABASE, o.schema.as_str(), o.name.as_str(), kind, NULL, NULL, NULL, NULL, NULL, yes(writable(o)), "NO", NULL,]
    };
    shown(facts).map(of).collect()
}

fn all_columns(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    shown(facts).flat_map(|o| o.columns.iter().enumerate().map(move |(at, c)| column(o, at, c))).collect()
}

fn column(o: &Object, at: usize, c: &Column) -> Vec<Cell> {
    let is_array = types::element(c.type_oid).is_some();
    let data_type = if is_array { "ARRAY".to_owned() } else { types::format(c.type_oid, None) };
    let modifier = (c.typmod >= 4).then_some(c.typmod - 4);
    let chars = modifier.filter(|_| matches!(c.type_oid, 1042 | 1043));
    let octets = match c.type_oid {
        25 => Some(1 << 30),
        1042 | 1043 => Some(chars.map_or(1 << 30, |n| n * 4)),
        _ => None,
    };
    let (precision, radix, scale) = match c.type_oid {
        21 => (Some(16), Some(2), Some(0)),
        23 => (Some(32), Some(2), Some(0)),
        20 => (Some(64), Some(2), Some(0)),
        700 => (Some(24), Some(2), None),
        701 => (Some(53), Some(2), None),
        1700 => (modifier.map(|m| (m >> 16) & 0xffff), Some(10), modifier.map(|m| m & 0xffff)),
        _ => (None, None, None),
    };
    let moment = match c.type_oid {
        1082 => Some(0i64),
        1083 | 1114 | 1184 | 1186 => Some(6),
        _ => None,
    };
    let udt = types::by_oid(c.type_oid).map(|t| t.name.to_owned());
    let udt = udt.or_else(|| types::element(c.type_oid).map(|t| format!("_{}", t.name)));
    row![
        DATABASE,
        o.schema.as_str(),
        o.name.as_str(),
        c.name.as_str(),
        at + 1,
        c.default.clone(),
        yes(!c.not_null),
        data_type,
        chars,
        octets,
        precision,
        radix,
        scale,
        moment,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        NULL,
        DATABASE,
        "pg_catalog",
        udt,
        NULL,
        NULL,
        NULL,
        NULL,
        (at + 1).to_string(),
        "NO",
        yes(!c.identity.is_empty()),
        match c.identity {
            "a" => Some("ALWAYS"),
            "d" => Some("BY DEFAULT"),
            _ => None,
        },
        NULL,
        NULL,
        NULL,
        NULL,
        "NO",
        if c.computed.is_some() { "ALWAYS" } else { "NEVER" },
        c.computed.clone(),
        yes(writable(o)),
    ]
}

fn views(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let views = facts.objects().iter().filter(|o| o.kind == "v");
    let of =
        |o: &Object| row![DATABASE, o.schema.as_str(), o.name.as_str(), o.definition(), "NONE", "NO", "NO", "NO", "NO", "NO"];
    views.map(of).collect()
}

fn table_constraints(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let of = |o: &Object| {
        let (schema, name) = (o.schema.as_str(), o.name.as_str());
        row![DATABASE, schema, pkey(o), DATABASE, schema, name, "PRIMARY KEY", "NO", "NO", "YES", NULL]
    };
    let mut rows: Vec<Vec<Cell>> = keyed(facts).map(of).collect();
    rows.extend(checks(facts).map(|(o, c)| {
        let (schema, name) = (o.schema.as_str(), o.name.as_str());
        row![DATABASE, schema, c.name.as_str(), DATABASE, schema, name, "CHECK", "NO", "NO", "YES", NULL]
    }));
    rows
}

fn checks(facts: &Facts) -> impl Iterator<Item = (&Object, &Check)> {
    facts.users().flat_map(|o| o.relation.iter().flat_map(|r| r.checks.iter()).map(move |c| (o, c)))
}

fn sequences(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    // Those of identity columns are the columns', as in PostgreSQL.
    let of_identity = |id: u32| {
        let columns = facts.scope.catalog.relations().flat_map(|r| r.columns.iter());
        let is = |c: &regauge_views::catalog::Column| matches!(c.made, Made::Counted { sequence, serial: false, .. } if sequence == id);
        columns.into_iter().any(is)
    };
    let of = |s: &Sequence| {
        let (spec, ty) = (&s.spec, super::described::type_of(s));
        row![
            DATABASE,
            s.name.schema.as_str(),
            s.name.name.as_str(),
            types::format(ty, None),
            i64::from(spec.bits),
            2i64,
            0i64,
            spec.start.to_string(),
            spec.min.to_string(),
            spec.max.to_string(),
            spec.increment.to_string(),
            yes(spec.cycle),
        ]
    };
    facts.scope.catalog.sequences().filter(|s| !of_identity(s.id)).map(|s| of(s)).collect()
}

fn key_columns(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let of = |o: &Object| {
        let (schema, name, pkey) = (o.schema.clone(), o.name.clone(), pkey(o));
        let columns: Vec<String> = o.key.iter().filter_map(|at| Some(o.columns.get(*at)?.name.clone())).collect();
        let columns = columns.into_iter().enumerate();
        columns.map(move |(at, column)| {
            row![DATABASE, schema.as_str(), pkey.as_str(), DATABASE, schema.as_str(), name.as_str(), column, at + 1, NULL]
        })
    };
    keyed(facts).flat_map(of).collect()
}

fn constraint_columns(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let of = |o: &Object| {
        let (schema, name, pkey) = (o.schema.clone(), o.name.clone(), pkey(o));
        let columns: Vec<String> = o.key.iter().filter_map(|at| Some(o.columns.get(*at)?.name.clone())).collect();
        columns
            .into_iter()
            .map(move |column| row![DATABASE, schema.as_str(), name.as_str(), column, DATABASE, schema.as_str(), pkey.as_str()])
    };
    keyed(facts).flat_map(of).collect()
}

fn view_usage(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for view in facts.users() {
        let Some(Kind::View { definition }) = view.relation.as_ref().map(|r| &r.kind) else { continue };
        for used in definition.depends_on.iter().filter_map(|id| facts.scope.catalog.get(*id)) {
            let (schema, name) = (used.name.schema.as_str(), used.name.name.as_str());
            rows.push(row![DATABASE, view.schema.as_str(), view.name.as_str(), DATABASE, schema, name]);
        }
    }
    rows
}
