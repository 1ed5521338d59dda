//! What is told of relations: comments, sequences, and which view reads what (`pg_description`, `pg_sequence`, `pg_sequences`,
//! `pg_rewrite`, `pg_depend`).

use super::{System, catalog, live::Live};
use crate::pg_catalog::{
    facts::{Facts, Object},
    oids,
    shape::{Cell, NULL, row},
    types,
};
use regauge_views::catalog::{Kind, Sequence, rights};

pub const RELATIONS: &[System] = &[
    catalog!("pg_description", 2609, comments, [objoid: Oid, classoid: Oid, objsubid: Int4, description: Text]),
    catalog!("pg_sequence", 2224, |facts, _| facts.scope.catalog.sequences().map(|s| sequence(s)).collect(), [
        seqrelid: Oid, seqtypid: Oid, seqstart: Int8, seqincrement: Int8, seqmax: Int8, seqmin: Int8, seqcache: Int8,
        seqcycle: Bool,
    ]),
    catalog!("pg_sequences", 12020, sequences, [
        schemaname: Name, sequencename: Name, sequenceowner: Name, data_type: Text, start_value: Int8, min_value: Int8,
        max_value: Int8, increment_by: Int8, cycle: Bool, cache_size: Int8, last_value: Int8,
    ]),
    catalog!("pg_rewrite", 2618, rules, [
        oid: Oid, rulename: Name, ev_class: Oid, ev_type: Char, ev_enabled: Char, is_instead: Bool, ev_qual: Text,
        ev_action: Text,
    ]),
    catalog!("pg_depend", 2608, dependencies, [
        classid: Oid, objid: Oid, objsubid: Int4, refclassid: Oid, refobjid: Oid, refobjsubid: Int4, deptype: Char,
    ]),
];

/// Class of relations.
const PG_CLASS: i64 = 1259;
/// Class of rules.
const PG_REWRITE: i64 = 2618;

fn comments(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let of = |o: &Object| {
        let whole = o.comment.iter().map(|text| row![o.oid, PG_CLASS, 0i64, text.as_str()]);
        let columns = o.columns.iter().enumerate();
        let columns = columns.filter_map(|(at, c)| Some(row![o.oid, PG_CLASS, at + 1, c.comment.as_deref()?]));
        whole.chain(columns).collect::<Vec<_>>()
    };
    facts.users().flat_map(of).collect()
}

/// The type of a sequence's numbers.
pub fn type_of(s: &Sequence) -> i64 {
    match s.spec.bits {
        16 => 21,
        32 => 23,
        _ => 20,
    }
}

fn sequence(s: &Sequence) -> Vec<Cell> {
    let spec = &s.spec;
    row![oids::sequence(s.id), type_of(s), spec.start, spec.increment, spec.max, spec.min, 1i64, spec.cycle]
}

fn sequences(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let of = |s: &Sequence| {
        let (name, spec) = (&s.name, &s.spec);
        row![
            name.schema.as_str(),
            name.name.as_str(),
            facts.owner_name(Some(&rights::Object::Sequence(s.id))),
            types::format(type_of(s), None),
            spec.start,
            spec.min,
            spec.max,
            spec.increment,
            spec.cycle,
            1i64,
            s.reserved,
        ]
    };
    facts.scope.catalog.sequences().map(|s| of(s)).collect()
}

fn views(facts: &Facts) -> impl Iterator<Item = &Object> {
    facts.users().filter(|o| o.kind == "v" || o.kind == "m")
}

fn rules(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    views(facts).map(|o| row![oids::rule(o.oid), "_RETURN", o.oid, "1", "O", true, NULL, NULL]).collect()
}

fn dependencies(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for view in views(facts) {
        let Some(relation) = &view.relation else { continue };
        let reads = match &relation.kind {
            Kind::View { definition } => definition.depends_on.clone(),
            Kind::Materialized { .. } => relation.routed().map(|v| v.definition.depends_on.clone()).unwrap_or_default(),
            _ => vec![],
        };
        // The rule is a part of its view.
        rows.push(row![PG_REWRITE, oids::rule(view.oid), 0i64, PG_CLASS, view.oid, 0i64, "i"]);
        for id in reads.into_iter().filter(|id| facts.scope.catalog.get(*id).is_some()) {
            rows.push(row![PG_REWRITE, oids::rule(view.oid), 0i64, PG_CLASS, oids::relation(id), 0i64, "n"]);
        }
    }
    for s in facts.scope.catalog.sequences() {
        if let Some((owner, column)) = s.spec.owner
            && let Some(relation) = facts.scope.catalog.get(owner)
            && let Some(at) = relation.columns.iter().position(|c| c.id.0 == column)
        {
            rows.push(row![PG_CLASS, oids::sequence(s.id), 0i64, PG_CLASS, oids::relation(owner), at + 1, "a"]);
        }
    }
    rows
}
