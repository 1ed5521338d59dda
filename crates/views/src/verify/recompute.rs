//! Every view computed from the log alone, and compared with what comes of the newest checkpoint.
//!
//! Both instances stand at the last commit of the log: one has read the whole of it, the other the checkpoint and what follows. Rows are compared
//! as multisets, digests too; so are tables, which the one folds from their topics. A checkpoint whose rows do not have the digest that it names is
//! told; one that lacks a version says nothing about it. Neither instance writes to the disk, and time stands still for both. Cost: memory for
//! both, as two servers would take.

use super::{Overlay, Report};
use crate::{
    Config, Instance,
    catalog::{Kind, Relation},
    error::{Error, Result},
    version::registry::Key,
};
use regauge_log::{ScanColumn, ScanSpec};
use regauge_types::{Delta, Digest, Env, Epoch, Lsn, env::Clock};
use std::{path::Path, sync::Arc, time::Duration};

const CHECKPOINT: &str = "nothing is lost: stop the server, move the folder checkpoint elsewhere and start it; views are rebuilt from the log. Please report it";
const LOG: &str = "this is a fault of regauge or of the disk: keep the folder as it is and report it";
/// No checkpoint is taken.
const NEVER: Duration = Duration::from_secs(1 << 30);
/// A wait is looked at so often.
const LOOK: Duration = Duration::from_millis(200);

/// Wall time that stands before any commit, so that no view's clock moves.
struct Still(Arc<dyn Clock>);

impl Clock for Still {
    fn wall_ms(&self) -> u64 {
        0
    }

    fn steady(&self) -> Duration {
        self.0.steady()
    }

    fn sleep(&self, time: Duration) {
        self.0.sleep(time);
    }
}

fn open(env: &Env, dir: &Path, workers: usize, checkpoints: bool) -> Result<Instance> {
    let mut config = Config::new(dir).workers(workers);
    config.env = Env { disk: Arc::new(Overlay::new(env.disk.clone())), clock: Arc::new(Still(env.clock.clone())), ..env.clone() };
    config.log.archive.background = None;
    // a view that is held would be waited for without end
    config.limits.obeys_backfill_rates = false;
    config.checkpoints.enabled = checkpoints;
    (config.checkpoints.every, config.checkpoints.log_bytes) = (NEVER, u64::MAX / 8);
    Instance::open(config)
}

/// See the module's header. The folder must be open nowhere.
pub async fn recompute(env: &Env, dir: &Path, workers: usize, report: &mut Report) -> Result<()> {
    let fresh = open(env, dir, workers, false)?;
    let kept = open(env, dir, workers, true)?;
    let at = fresh.versions().opened();
    if kept.versions().opened() != at {
        return Err(Error::internal("two openings of the same folder stand at different commits"));
    }
    told(&kept, report);
    let catalog = fresh.catalog();
    for relation in catalog.relations() {
        match &relation.kind {
            Kind::Table { .. } => table(&fresh, &kept, relation, at, report)?,
            Kind::Stream { .. } => stream(&fresh, relation, at, report)?,
            Kind::Materialized { versions, .. } => {
                let Some(view) = relation.view() else { continue };
                for no in versions.keys() {
                    version(&fresh, &kept, relation, (view, *no), at.into(), report).await?;
                }
            }
            Kind::View { .. } => {}
        }
    }
    Ok(())
}

/// What opening from the checkpoint had to say.
fn told(kept: &Instance, report: &mut Report) {
    let status = kept.checkpoints();
    for damaged in status.damaged {
        // What the files' own pass has named is not named again.
        if !report.faults.iter().any(|f| f.what == damaged) {
            report.fault(damaged, CHECKPOINT);
        }
    }
    for ((view, no), whence) in status.opened {
        if let Err(why) = whence
            && !why.starts_with("it is not in the checkpoint")
            && !why.starts_with("a version that it reads is rebuilt")
            && !why.starts_with(crate::driver::RESUMED)
        {
            report.fault(format!("checkpoint has another state than it should: {why} view={view} version={no}"), CHECKPOINT);
        }
    }
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}

/// Rows of one that the other does not have, and the other way round: how many, one of them.
fn differences(a: &[Delta], b: &[Delta]) -> Result<Option<String>> {
    let Some(first) = a.first().or_else(|| b.first()) else { return Ok(None) };
    let all: Vec<Delta> = a.iter().cloned().chain(b.iter().map(Delta::negate)).collect();
    let sum = Delta::concat(&first.rows.schema(), &all).map_err(Error::arrow)?.consolidate().map_err(internal)?;
    if sum.is_empty() {
        return Ok(None);
    }
    let more: i64 = (0..sum.n_rows()).map(|row| sum.diff(row)).filter(|d| *d > 0).sum();
    let less: i64 = (0..sum.n_rows()).map(|row| sum.diff(row)).filter(|d| *d < 0).sum();
    let cell = |c: &arrow::array::ArrayRef| arrow::util::display::array_value_to_string(c, 0).unwrap_or_default();
    let row: Vec<String> = sum.rows.columns().iter().map(cell).collect();
    let row: String = row.join(", ").chars().take(240).collect();
    Ok(Some(format!("rows_of_the_log_only={more} rows_of_the_checkpoint_only={} for_example=({row})", less.unsigned_abs())))
}

fn digest(rows: &[Delta]) -> Result<Digest> {
    let mut digest = Digest::default();
    rows.iter().try_for_each(|delta| digest.add_delta(delta)).map_err(internal)?;
    Ok(digest)
}

fn n_rows(rows: &[Delta]) -> u64 {
    let sum: i64 = rows.iter().map(|d| (0..d.n_rows()).map(|row| d.diff(row)).sum::<i64>()).sum();
    u64::try_from(sum).unwrap_or(0)
}

async fn version(fresh: &Instance, kept: &Instance, relation: &Relation, key: Key, at: Epoch, report: &mut Report) -> Result<()> {
    let mut both = vec![];
    for instance in [fresh, kept] {
        if let Err(error) = instance.versions().until_readable(key.0, key.1).await {
            report.fault(format!("view cannot be computed: {error} view={} version={}", relation.name, key.1), LOG);
            return Ok(());
        }
        let trace = instance.versions().reader(key)?;
        while trace.wait(at, LOOK).map_err(internal)? < at {}
        let (rows, mut errors) = trace.state(at).map_err(internal)?;
        errors.sort_by_key(|(e, n)| (e.to_string(), *n));
        let errors: Vec<String> = errors.iter().map(|(e, n)| format!("{e} {} {n}", e.row)).collect();
        both.push((digest(&rows)?, rows, errors));
    }
    let [(log_digest, log_rows, log_errors), (own_digest, own_rows, own_errors)] = &both[..] else { return Ok(()) };
    report.counts.views += 1;
    report.counts.view_rows += n_rows(log_rows);
    let found = differences(log_rows, own_rows)?;
    if found.is_some() || log_digest != own_digest || log_errors != own_errors {
        let (name, no) = (&relation.name, key.1);
        let what = found.unwrap_or_else(|| "errors of rows or digests differ".to_owned());
        let text = "view is not what the log makes it";
        report.fault(
            format!("{text}: {what} view={name} version={no} lsn={at} digest_of_the_log={log_digest} digest={own_digest}"),
            CHECKPOINT,
        );
    }
    Ok(())
}

fn table(fresh: &Instance, kept: &Instance, relation: &Relation, at: Lsn, report: &mut Report) -> Result<()> {
    let Some(topic) = relation.topic() else { return Ok(()) };
    let rows = |instance: &Instance| -> Result<Vec<Delta>> {
        let head =
            instance.judged().head(topic).ok_or_else(|| Error::internal(format!("a table without a head topic={topic}")))?;
        let batches = head.read().scan(at, None)?;
        Ok(batches.into_iter().map(Delta::ones).collect())
    };
    let (log, own) = (rows(fresh)?, rows(kept)?);
    report.counts.tables += 1;
    report.counts.table_rows += n_rows(&log);
    if let Some(what) = differences(&log, &own)? {
        report.fault(format!("table is not what the log makes it: {what} table={} lsn={at}", relation.name), CHECKPOINT);
    }
    Ok(())
}

/// Every record decodes, and there are as many as the partitions' offsets say.
fn stream(fresh: &Instance, relation: &Relation, at: Lsn, report: &mut Report) -> Result<()> {
    let Some(topic) = relation.topic() else { return Ok(()) };
    let columns = crate::event_time::layout::topic_schema(relation);
    let id = |f: &arrow::datatypes::FieldRef| f.metadata().get(regauge_types::COLUMN_ID_KEY)?.parse().ok();
    let user = columns.fields().iter().filter_map(id).map(|id| ScanColumn::User(regauge_types::ColumnId(id)));
    let columns: Vec<ScanColumn> = std::iter::once(ScanColumn::Lsn).chain(user).collect();
    let mut records = 0;
    for batch in fresh.log().scan(&ScanSpec::all(topic, columns, at)).map_err(Error::from_log)? {
        match batch {
            Ok(batch) => records += batch.rows.num_rows() as u64,
            Err(error) => {
                report.fault(format!("{error} stream={}", relation.name), LOG);
                return Ok(());
            }
        }
    }
    report.counts.streams += 1;
    report.counts.records += records;
    let wanted: u64 = fresh.log().next_offsets(topic).iter().sum();
    if records != wanted {
        report.fault(
            format!(
                "stream has another number of records than its offsets say stream={} records={records} offsets={wanted}",
                relation.name
            ),
            LOG,
        );
    }
    Ok(())
}
