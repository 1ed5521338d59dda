//! The commit clock as a source of views, and the commits that move it while nothing else does.
//!
//! `now()` in a view is the greatest commit clock in the cut. So each epoch brings one row with the clock of its last commit, and a version
//! begins with that of the commit it begins at; operators take the greatest. The row is a function of the log and of where an epoch
//! ends, nothing else: a rebuild, a restart or other boundaries see the same moment at the same commit (I9).
//!
//! On a quiet log time would stand still. While a version reads the clock, a commit without rows is written once the last one is
//! [`TICK`] old: an event of the log like any other, of some sixty bytes. Not promised: a tick each second to the millisecond.

use crate::{catalog, version::trace::Past};
use arrow::{
    array::{RecordBatch, TimestampMicrosecondArray},
    datatypes::{DataType, Schema, TimeUnit},
    error::ArrowError,
};
use regauge_log::{Log, Transaction};
use regauge_types::{ColumnId, Delta, Env, Hlc, Lsn};
use std::{sync::Arc, time::Duration};

/// Age of the last commit at which another one is written.
pub const TICK: Duration = Duration::from_secs(1);

/// The clock's row: a timestamptz.
pub fn delta(clock: Hlc) -> Result<Delta, ArrowError> {
    let ty = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![catalog::field("now", &ty, ColumnId(0))]));
    let us = i64::try_from(clock.ms()).unwrap_or(i64::MAX).saturating_mul(1000);
    let column = TimestampMicrosecondArray::from(vec![us]).with_timezone("UTC");
    Ok(Delta::ones(RecordBatch::try_new(schema, vec![Arc::new(column)])?))
}

/// The clock when a version begins.
pub struct ClockPast(pub Hlc);

impl Past for ClockPast {
    fn open(&self, worker: usize, _workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        if worker > 0 {
            return Box::new(std::iter::empty());
        }
        Box::new(std::iter::once(delta(self.0).map_err(|e| e.to_string())))
    }
}

/// The clock of a durable commit that the journal still holds.
pub fn of(log: &Log, at: Lsn) -> Result<Hlc, String> {
    if at == Lsn::ZERO {
        return Ok(Hlc::ZERO);
    }
    let mut commits = log.source().read(Lsn(at.0 - 1), at, None).map_err(|e| e.to_string())?;
    match commits.next() {
        Some(commit) => commit.map(|c| c.hlc).map_err(|e| e.to_string()),
        None => Err(format!("the clock of a commit is not known lsn={at}")),
    }
}

/// When the next tick is tried.
#[derive(Debug, Default)]
pub struct Ticking {
    tried: Option<Duration>,
}

impl Ticking {
    /// Writes a tick if the last commit is old. Where nothing can be written it is tried again a tick later.
    pub fn tick(&mut self, log: &Log, env: &Env) {
        let (now, tick_ms) = (env.clock.steady(), u64::try_from(TICK.as_millis()).unwrap_or(u64::MAX));
        if env.clock.wall_ms() < log.last_hlc().ms().saturating_add(tick_ms) || self.tried.is_some_and(|t| now < t + TICK) {
            return;
        }
        match log.commit(Transaction::default()) {
            Ok(_) => self.tried = None,
            Err(error) => {
                tracing::warn!(%error, "the clock's tick is not written");
                self.tried = Some(now);
            }
        }
    }
}
