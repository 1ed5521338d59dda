//! Schema `regauge`, what goes on: errors of rows, operators, lag, epochs, where partitions end, and what happened to the catalog.

use super::{
    System,
    live::{Live, regauge},
};
use crate::pg_catalog::{
    facts::Facts,
    shape::{Cell, row},
};
use regauge_types::{TopicId, VersionNo, ViewId};
use regauge_views::{
    catalog::{
        Kind, ObjectId, Relation,
        late::{self, Late},
        rights::Object,
    },
    event_time::layout,
};
use std::sync::Arc;

pub const RELATIONS: &[System] = &[
    regauge!("errors", 14004, errors, [
        schema: Text, view: Text, version: Int4, sqlstate: Text, message: Text, met_in: Text, subject: Text, n_rows: Int8,
    ]),
    regauge!("operators", 14005, operators, [
        schema: Text, view: Text, version: Int4, node: Int4, operator: Text, rows_in: Int8, rows_out: Int8, touched: Int8,
        state_rows: Int8, state_bytes: Int8, busy_us: Int8, spilled_bytes: Int8,
    ]),
    regauge!("lag", 14006, lag, [
        schema: Text, view: Text, version: Int4, epoch: Int8, durable: Int8, commits: Int8, lag_ms: Int8,
    ]),
    regauge!("backfills", 14024, backfills, [
        schema: Text, view: Text, version: Int4, rows_done: Int8, rows_all: Int8, rows_per_s: Int8, eta_ms: Int8, rate: Int8,
    ]),
    regauge!("epochs", 14007, epochs, [epoch: Int8, commits: Int8, visible: Bool]),
    regauge!("partitions", 14008, partitions, [
        topic: Int4, schema: Text, name: Text, partition: Int4, next_offset: Int8, watermark: Time,
        late_rows: Int8,
    ]),
    regauge!("late", 14010, late, [
        schema: Text, view: Text, version: Int4, stream: Text, late: Text, n_rows: Int8,
    ]),
    regauge!("checkpoints", 14021, checkpoints, [
        checkpoint: Int8, lsn: Int8, taken: Int8, sections: Int8, bytes_written: Int8, bytes_reused: Int8, took_ms: Int8,
        pause_us: Int8, pause_p99_us: Int8, error: Text, damaged: Text,
    ]),
    regauge!("digests", 14023, digests, [
        schema: Text, view: Text, version: Int4, lsn: Int8, digest: Text,
    ]),
    regauge!("restored", 14022, restored, [
        schema: Text, view: Text, version: Int4, lsn: Int8, why: Text,
    ]),
    regauge!("catalog_events", 14009, catalog_events, [
        lsn: Int8, committed_at: Time, event: Text, name: Text, body: Text,
    ]),
];

fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Every version of every materialized view.
fn versions(facts: &Facts) -> Vec<(&Arc<Relation>, ViewId, VersionNo)> {
    let mut all = vec![];
    for relation in facts.scope.catalog.relations() {
        if let (Kind::Materialized { versions, .. }, Some(view)) = (&relation.kind, relation.view()) {
            all.extend(versions.keys().map(|no| (relation, view, *no)));
        }
    }
    all
}

fn errors(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let name = |view: ViewId| facts.scope.catalog.get(ObjectId::View(view.0)).map(|r| r.name.to_string());
    let mut rows = vec![];
    for (r, view, no) in versions(facts) {
        // Values of rows are told to who may read them.
        if !facts.who().tells(&facts.whole, r.id) {
            continue;
        }
        for (error, n) in live.overview.versions().errors(view, no) {
            let met_in = name(error.origin.map_or(view, |(view, _)| view));
            let (schema, of) = (r.name.schema.as_str(), r.name.name.as_str());
            rows.push(row![schema, of, i64::from(no.0), error.sqlstate, error.message, met_in, error.row, n]);
        }
    }
    rows
}

fn operators(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for (r, view, no) in versions(facts) {
        // Operators tell how it is made.
        if !facts.who().rights.owns(facts.who().role, &Object::Relation(r.id)) {
            continue;
        }
        for f in live.overview.versions().operators(view, no) {
            rows.push(row![
                r.name.schema.as_str(),
                r.name.name.as_str(),
                i64::from(no.0),
                f.node,
                f.operator,
                int(f.rows_in),
                int(f.rows_out),
                int(f.touched),
                int(f.state_rows),
                int(f.state_bytes),
                i64::try_from(f.busy.as_micros()).unwrap_or(i64::MAX),
                int(f.spilled_bytes),
            ]);
        }
    }
    rows
}

fn lag(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let of = |(r, view, no): (&Arc<Relation>, ViewId, VersionNo)| {
        let lag = live.overview.lag(view, no);
        let (schema, name) = (r.name.schema.as_str(), r.name.name.as_str());
        row![
            schema,
            name,
            i64::from(no.0),
            lag.map(|l| int(l.epoch.0)),
            lag.map(|l| int(l.durable.0)),
            lag.map(|l| int(l.commits)),
            lag.and_then(|l| l.ms).map(int),
        ]
    };
    versions(facts).into_iter().map(of).collect()
}

/// Versions that read their history.
fn backfills(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let of = |(r, view, no): (&Arc<Relation>, ViewId, VersionNo)| {
        let p = live.overview.versions().progress(view, no)?;
        let (schema, name) = (r.name.schema.as_str(), r.name.name.as_str());
        let eta = p.left.map(|left| i64::try_from(left.as_millis()).unwrap_or(i64::MAX));
        Some(row![schema, name, i64::from(no.0), int(p.done), int(p.all), int(p.rows_per_s), eta, p.rate.map(int)])
    };
    versions(facts).into_iter().filter_map(of).collect()
}

/// The last ones; the first that is remembered has an unknown number of commits.
fn epochs(_: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let (all, visible) = (live.overview.versions().boundaries(), live.overview.versions().visible());
    let commits = |i: usize| i.checked_sub(1).map(|before| int(all[i].0 - all[before].0));
    all.iter().enumerate().map(|(i, at)| row![int(at.0), commits(i), at.0 <= visible.0]).collect()
}

fn partitions(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let (mut rows, times) = (vec![], live.overview.times());
    for r in facts.scope.catalog.relations() {
        let ObjectId::Topic(topic) = r.id else { continue };
        let has_clock = layout::clock(r).is_some();
        for (partition, next) in (0u32..).zip(live.overview.next_offsets(TopicId(topic))) {
            let time = times.get(TopicId(topic), partition);
            let (watermark, n_late) = (time.mark, has_clock.then(|| int(time.n_late)));
            let (schema, name) = (r.name.schema.as_str(), r.name.name.as_str());
            rows.push(row![i64::from(topic), schema, name, i64::from(partition), int(next), watermark, n_late]);
        }
    }
    rows
}

/// What each view that leaves late records out has left out so far, by stream.
fn late(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let (mut rows, times) = (vec![], live.overview.times());
    for r in facts.scope.catalog.relations() {
        let Kind::Materialized { versions, .. } = &r.kind else { continue };
        for (no, version) in versions {
            let late = Late::of(version);
            for stream in late::streams_of(&facts.scope.catalog, version).into_iter().filter(|_| late != Late::Correct) {
                let n_rows = stream.topic().map_or(0, |topic| times.n_late(topic));
                let (schema, view) = (r.name.schema.as_str(), r.name.name.as_str());
                rows.push(row![schema, view, i64::from(no.0), stream.name.to_string(), late.name(), int(n_rows)]);
            }
        }
    }
    rows
}

/// One row while checkpoints are on.
fn checkpoints(_: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let Some(s) = live.overview.checkpoints() else { return vec![] };
    let damaged = (!s.damaged.is_empty()).then(|| s.damaged.join("; "));
    vec![row![
        s.last.map(|(no, _)| int(no)),
        s.last.map(|(_, lsn)| int(lsn.0)),
        int(s.n_taken),
        s.n_sections,
        int(s.n_bytes.0),
        int(s.n_bytes.1),
        i64::try_from(s.took.as_millis()).unwrap_or(i64::MAX),
        us(s.pause),
        us(s.pause_p99()),
        s.failed,
        damaged,
    ]]
}

fn us(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Of each version that is in the last checkpoint, for who may read it.
fn digests(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let digests = live.overview.checkpoints().unwrap_or_default().digests;
    let of = |(r, view, no): (&Arc<Relation>, ViewId, VersionNo)| {
        let (lsn, digest) = digests.get(&(view, no)).filter(|_| facts.who().tells(&facts.whole, r.id))?;
        let (schema, name) = (r.name.schema.as_str(), r.name.name.as_str());
        Some(row![schema, name, i64::from(no.0), int(lsn.0), digest.to_string()])
    };
    versions(facts).into_iter().filter_map(of).collect()
}

/// Where versions went on when the instance was opened from a checkpoint.
fn restored(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    let opened = live.overview.checkpoints().unwrap_or_default().opened;
    let of = |(r, view, no): (&Arc<Relation>, ViewId, VersionNo)| {
        let whence = opened.get(&(view, no))?;
        let (schema, name) = (r.name.schema.as_str(), r.name.name.as_str());
        Some(row![schema, name, i64::from(no.0), whence.as_ref().ok().map(|lsn| int(lsn.0)), whence.as_ref().err().cloned()])
    };
    versions(facts).into_iter().filter_map(of).collect()
}

/// All that happened, for superusers: names of things that are gone among it. Verifiers of passwords are left out for everybody.
fn catalog_events(facts: &Facts, live: &Live) -> Vec<Vec<Cell>> {
    if !facts.who().is_superuser() {
        return vec![];
    }
    let events = live.overview.catalog_events().unwrap_or_else(|error| {
        tracing::error!(%error, "the catalog's history cannot be read");
        vec![]
    });
    let us = |ms: u64| int(ms.saturating_mul(1000));
    events.into_iter().map(|e| row![int(e.lsn.0), us(e.committed_ms), e.kind, e.name, without_verifier(&e.body)]).collect()
}

/// An event's text with the value of `verifier` left out.
fn without_verifier(body: &str) -> String {
    const KEY: &str = "\"verifier\":\"";
    let Some((before, after)) = body.split_once(KEY) else { return body.to_owned() };
    match after.split_once('"') {
        Some((_, rest)) => format!("{before}{KEY}..\"{rest}"),
        None => before.to_owned(),
    }
}
