//! Schema `regauge`: what the instance knows of its own views and topics at this moment.

use super::System;
use crate::pg_catalog::{
    facts::Facts,
    shape::{Cell, NULL, row},
};
use regauge_types::TopicId;
use regauge_views::{
    Instance,
    catalog::{Function, Kind, ObjectId, Relation, dead, function::ParamSpec},
    overview::Overview,
};
use std::sync::Arc;

/// Where the facts of the moment come from. It does not keep the instance alive.
#[derive(Clone)]
pub struct Live {
    pub(super) overview: Overview,
}

impl Live {
    pub fn new(instance: &Instance) -> Live {
        Live { overview: Overview::new(instance) }
    }
}

macro_rules! regauge {
    ($name:literal, $oid:literal, $rows:expr, [$($columns:tt)*]) => {
        $crate::pg_catalog::relations::System {
            schema: "regauge",
            name: $name,
            oid: $oid,
            columns: $crate::pg_catalog::relations::columns![$($columns)*],
            rows: $rows,
        }
    };
}
pub(super) use regauge;

pub const RELATIONS: &[System] = &[
    regauge!("views", 14001, views, [
        schema: Text, name: Text, kind: Text, routed_version: Int4, versions: Int4, definition: Text, state: Text, error: Text,
    ]),
    regauge!("versions", 14002, versions, [
        schema: Text, view: Text, version: Int4, routed: Bool, state: Text, epoch: Int8, error: Text, fingerprint: Text,
        definition: Text, error_rows: Int8,
    ]),
    regauge!("functions", 14020, functions, [
        schema: Text, name: Text, arguments: Text, returns: Text, strict: Bool, body: Text,
    ]),
    regauge!("producers", 14026, producers, [
        producer: Text, schema: Text, name: Text, incarnation: Int8, next_sequence: Int8, consumed: Int8, stored: Int8,
        dead_lettered: Int8, skipped: Int8,
    ]),
    regauge!("topics", 14003, topics, [
        topic: Int4, schema: Text, name: Text, kind: Text, partitions: Int4, consumed: Int8, stored: Int8, dead_lettered: Int8,
        skipped: Int8,
    ]),
];

fn relations(facts: &Facts) -> impl Iterator<Item = &Arc<Relation>> {
    facts.scope.catalog.relations()
}

fn views(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let of = |r: &Arc<Relation>| {
        let (schema, name) = (r.name.schema.as_str(), r.name.name.as_str());
        match &r.kind {
            Kind::View { definition } => {
                let sql = Some(definition.sql.as_str()).filter(|sql| !sql.is_empty());
                Some(row![schema, name, r.kind_name(), NULL, NULL, sql])
            }
            Kind::Materialized { versions, routed } => {
                let sql = r.routed().map(|v| v.definition.sql.as_str()).filter(|sql| !sql.is_empty());
                let report = live.overview.versions().report(r.view()?, *routed);
                let (state, error) = (report.state, facts.told(r.id, report.error));
                Some(row![schema, name, r.kind_name(), i64::from(routed.0), versions.len(), sql, state, error])
            }
            _ => None,
        }
    };
    relations(facts).filter_map(of).collect()
}

fn versions(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for r in relations(facts) {
        let (Kind::Materialized { versions, routed }, Some(view)) = (&r.kind, r.view()) else { continue };
        for (no, version) in versions {
            let report = live.overview.versions().report(view, *no);
            let epoch = report.upper.and_then(|e| i64::try_from(e.0).ok());
            let open = !version.definition.sql.is_empty();
            let fingerprint: String = version.fingerprint.iter().map(|b| format!("{b:02x}")).collect();
            rows.push(row![
                r.name.schema.as_str(),
                r.name.name.as_str(),
                i64::from(no.0),
                no == routed,
                report.state,
                epoch,
                facts.told(r.id, report.error),
                open.then_some(fingerprint),
                open.then_some(version.definition.sql.as_str()),
                report.n_errors,
            ]);
        }
    }
    rows
}

fn functions(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let shown = |params: &[ParamSpec]| {
        let one = |p: &ParamSpec| {
            let name = p.name.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
            let default = p.default.as_ref().map(|sql| format!(" DEFAULT {sql}")).unwrap_or_default();
            format!("{name}{}{default}", p.ty)
        };
        params.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let of = |f: &Arc<Function>| {
        let is_value = matches!(f.spec.returns.as_slice(), [ParamSpec { name: None, .. }]);
        let returns = shown(&f.spec.returns);
        let returns = if is_value { returns } else { format!("TABLE({returns})") };
        let arguments = shown(&f.spec.params);
        // Its body names what others need not know of.
        let body = facts.who().owns_function(f).then(|| f.spec.body.clone());
        row![f.name.schema.as_str(), f.name.name.as_str(), arguments, returns, f.spec.strict, body]
    };
    facts.scope.catalog.functions().map(of).collect()
}

/// The ledger of each (I12): dead letters are the records of the stream beside it.
fn topics(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let ledger = live.overview.ledger();
    let of = |r: &Arc<Relation>| {
        let ObjectId::Topic(id) = r.id else { return None };
        let partitions = match &r.kind {
            Kind::Stream { partitions, .. } => *partitions,
            _ => 1,
        };
        let (schema, name) = (r.name.schema.as_str(), r.name.name.as_str());
        let own = ledger.topic(TopicId(id));
        let beside = dead::beside(&facts.whole, r).and_then(|beside| beside.topic());
        let dead = beside.map_or(0, |topic| ledger.topic(topic).stored);
        let consumed = own.stored.saturating_add(dead).saturating_add(own.skipped);
        let kind = r.kind_name();
        let (consumed, stored, dead, skipped) = (int(consumed), int(own.stored), int(dead), int(own.skipped));
        Some(row![i64::from(id), schema, name, kind, i64::from(partitions), consumed, stored, dead, skipped])
    };
    relations(facts).filter_map(of).collect()
}

/// What each producer that is remembered has sent to each topic; all of them for superusers.
fn producers(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let ledger = live.overview.ledger();
    let who = facts.who();
    // Each role has its own producers, and is shown those by the names that it gave them.
    let prefix = format!("{}/", who.session.0);
    let mut rows = vec![];
    for producer in &ledger.producers {
        let id = producer.id.as_str();
        let Some(shown) = (if who.is_superuser() { Some(id) } else { id.strip_prefix(&prefix) }) else { continue };
        for r in relations(facts).filter(|r| dead::of(r).is_none()) {
            let Some(topic) = r.topic() else { continue };
            let tally = |topic| producer.topics.get(&topic).copied().unwrap_or_default();
            let beside = dead::beside(&facts.whole, r).and_then(|beside| beside.topic());
            let (own, dead) = (tally(topic), beside.map_or(0, |topic| tally(topic).stored));
            let consumed = own.stored.saturating_add(dead).saturating_add(own.skipped);
            if consumed == 0 {
                continue;
            }
            let (schema, name) = (r.name.schema.as_str(), r.name.name.as_str());
            rows.push(row![
                shown,
                schema,
                name,
                int(producer.incarnation),
                int(producer.next),
                int(consumed),
                int(own.stored),
                int(dead),
                int(own.skipped),
            ]);
        }
    }
    rows
}

fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
