//! `/metrics`: Prometheus text, from counters that are there anyway. A scrape takes no lock for long and reads no rows.

use super::{Shared, guard::Caller};
use axum::{
    Extension,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use regauge_types::env::OpenMode;
use regauge_views::{Instance, catalog::Kind};
use std::{
    fmt::Write,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// What the door counts itself.
#[derive(Default)]
pub(super) struct Counters {
    appends: AtomicU64,
    append_rows: AtomicU64,
    /// Answers by the first digit of their status, 2 to 5.
    answers: [AtomicU64; 4],
}

impl Counters {
    pub(super) fn appended(&self, rows: u64) {
        self.appends.fetch_add(1, Ordering::Relaxed);
        self.append_rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        self.answers[class].fetch_add(1, Ordering::Relaxed);
    }
}

/// A view's version, as metrics and the overview show it.
pub(super) struct VersionFigures {
    pub(super) view: String,
    pub(super) version: u32,
    pub(super) state: String,
    pub(super) epoch: Option<u64>,
    pub(super) n_rows: Option<usize>,
    pub(super) error: Option<String>,
    pub(super) n_errors: i64,
}

/// All versions of the materialized views that a caller is shown.
pub(super) fn versions(instance: &Instance, caller: &Caller) -> Vec<VersionFigures> {
    let whole = instance.catalog();
    let (who, catalog) = instance.shown_to(&caller.0);
    let mut out = Vec::new();
    for relation in catalog.relations() {
        let (Kind::Materialized { versions, .. }, Some(view)) = (&relation.kind, relation.view()) else { continue };
        for no in versions.keys() {
            let report = instance.versions().report(view, *no);
            out.push(VersionFigures {
                view: relation.name.to_string(),
                version: no.0,
                state: report.state,
                epoch: report.upper.map(|e| e.0),
                n_rows: report.n_rows,
                error: report.error.map(|e| if who.tells(&whole, relation.id) { e } else { "a row has an error".to_owned() }),
                n_errors: report.n_errors,
            });
        }
    }
    out
}

/// Text in the making: each metric with its help and type before its samples.
#[derive(Default)]
struct Page(String);

impl Page {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let mut text = String::new();
        for (at, (label, v)) in labels.iter().enumerate() {
            let escaped = v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(text, "{}{label}=\"{escaped}\"", if at == 0 { "{" } else { "," });
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(self.0, "{name}{text} {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.metric(name, kind, help);
        self.sample(name, &[], value);
    }
}

pub(super) async fn metrics(State(door): State<Shared>, Extension(caller): Extension<Caller>) -> Response {
    let instance = &door.instance;
    let durable = instance.log().durable().0;
    let counters = &door.counters;
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut page = Page::default();
    page.single("regauge_commits_total", "counter", "Durable commits of the journal since it was made.", durable);
    page.single("regauge_epoch", "gauge", "The last epoch that every readable view shows.", instance.versions().visible().0);
    page.single("regauge_sessions", "gauge", "Open sessions, over all doors.", instance.sessions());
    let (made, found) = instance.plans();
    page.metric("regauge_plans_total", "counter", "Queries of statements that were planned, and whose plan was found.");
    page.sample("regauge_plans_total", &[("how", "made")], made);
    page.sample("regauge_plans_total", &[("how", "found")], found);
    page.single("regauge_http_appends_total", "counter", "Bodies of records stored over HTTP.", load(&counters.appends));
    page.single("regauge_http_append_rows_total", "counter", "Records stored over HTTP.", load(&counters.append_rows));
    page.metric("regauge_http_answers_total", "counter", "Answers over HTTP by class of status.");
    for (class, counter) in ["2xx", "3xx", "4xx", "5xx"].iter().zip(&counters.answers) {
        page.sample("regauge_http_answers_total", &[("class", class)], load(counter));
    }
    if let Some(bytes) = journal_bytes(instance) {
        page.single("regauge_journal_bytes", "gauge", "Bytes of the journal's files.", bytes);
    }
    versions_of(&mut page, instance, &caller, durable);
    process(&mut page, instance);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page.0).into_response()
}

fn versions_of(page: &mut Page, instance: &Instance, caller: &Caller, durable: u64) {
    let versions = versions(instance, caller);
    let labels: Vec<String> = versions.iter().map(|v| v.version.to_string()).collect();
    page.metric(
        "regauge_view_up",
        "gauge",
        "1 if the version answers reads, 0 if it is being built, has failed, or a row of it has.",
    );
    for (v, no) in versions.iter().zip(&labels) {
        let up = u8::from(v.error.is_none() && v.epoch.is_some());
        page.sample("regauge_view_up", &[("view", &v.view), ("version", no), ("state", &v.state)], up);
    }
    page.metric("regauge_view_lag_commits", "gauge", "Durable commits that the version does not show yet.");
    for (v, no) in versions.iter().zip(&labels) {
        if let Some(epoch) = v.epoch {
            page.sample("regauge_view_lag_commits", &[("view", &v.view), ("version", no)], durable.saturating_sub(epoch));
        }
    }
    page.metric("regauge_view_error_rows", "gauge", "Rows of the version that fail; while there are any, reads of it do.");
    for (v, no) in versions.iter().zip(&labels) {
        page.sample("regauge_view_error_rows", &[("view", &v.view), ("version", no)], v.n_errors);
    }
    page.metric("regauge_view_stored_rows", "gauge", "Rows in the version's published layers, not yet merged ones included.");
    for (v, no) in versions.iter().zip(&labels) {
        if let Some(n) = v.n_rows {
            page.sample("regauge_view_stored_rows", &[("view", &v.view), ("version", no)], n);
        }
    }
}

fn journal_bytes(instance: &Instance) -> Option<u64> {
    let config = instance.config();
    let dir = config.dir.join("journal");
    let names = config.env.disk.list(&dir).ok()?;
    let len = |name: &String| config.env.disk.open(&dir.join(name), OpenMode::Read).and_then(|f| f.len()).unwrap_or(0);
    Some(names.iter().filter(|n| n.ends_with(".rgj")).map(len).sum())
}

/// What Linux says of this process; left out elsewhere.
fn process(page: &mut Page, instance: &Instance) {
    const TICKS_PER_S: f64 = 100.0; // USER_HZ, the same on every Linux that we run on
    const PAGE_BYTES: u64 = 4096;
    let read = |path: &str| {
        let file = instance.config().env.disk.open(Path::new(path), OpenMode::Read).ok()?;
        let mut bytes = vec![0; 4096];
        let n = file.read_at(&mut bytes, 0).ok()?;
        bytes.truncate(n);
        String::from_utf8(bytes).ok()
    };
    // The command's name stands in parentheses and may hold anything; utime and stime are the 12th and 13th fields after it.
    let ticks = read("/proc/self/stat").and_then(|stat| {
        let fields: Vec<u64> =
            stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
        (fields.len() == 2).then(|| fields.iter().sum::<u64>())
    });
    if let Some(ticks) = ticks {
        #[allow(clippy::cast_precision_loss, reason = "exact for two million years of CPU time")]
        let seconds = ticks as f64 / TICKS_PER_S;
        page.single("process_cpu_seconds_total", "counter", "CPU time, user and system.", seconds);
    }
    let resident = read("/proc/self/statm").and_then(|m| m.split_whitespace().nth(1)?.parse::<u64>().ok());
    if let Some(pages) = resident {
        page.single("process_resident_memory_bytes", "gauge", "Resident memory.", pages * PAGE_BYTES);
    }
}
