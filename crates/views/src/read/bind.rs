//! Choosing the epoch of a statement, and binding everything it uses to it.
//!
//! ```text
//!   in a transaction, or WITH that writes
//!                              the transaction's snapshot: a boundary reserved at its first read, all views waited for
//!   tables and streams only    the last durable commit (nothing to wait for)
//!   with views                 the last epoch that all of them have in common, if the session has seen no more; else wait
//!   a write's own look-ups     the last judged commit: it becomes durable before the write does
//!   AS OF EPOCH n              that epoch, see [`super::past`]
//! ```

use super::Reading;
use crate::{
    catalog::ObjectId,
    core::Core,
    error::{Error, Result},
    session::txn::{Mode, Txn},
};
use regauge_types::{VersionNo, ViewId};
use std::{collections::BTreeSet, time::Duration};

impl Core {
    /// Binds a statement that uses these relations. `settled` demands durable facts, as rows that are sent at once need.
    pub async fn bind(&self, txn: &mut Txn, uses: &BTreeSet<ObjectId>, settled: bool, timeout: Duration) -> Result<Reading> {
        let versions = Core::versions_of(&txn.catalog, uses);
        self.wait_durable(txn.at_least.min(self.judged.last()), timeout).await?;
        if txn.snapshot.is_none() {
            let streams = uses.iter().any(|id| txn.catalog.get(*id).is_some_and(|r| r.kind_name() == "stream"));
            if txn.mode == Mode::Explicit || txn.before.is_some() {
                txn.snapshot = Some(self.pin(|| self.versions.boundary().max(txn.at_least)));
            } else if versions.is_empty() && (settled || streams) {
                txn.snapshot = Some(self.pin(|| self.log.durable()));
            } else if versions.is_empty() {
                txn.snapshot = Some(self.pin(|| self.judged.last()));
            } else {
                self.bind_freshest(txn, &versions, timeout).await?;
            }
        }
        let Some(pin) = txn.snapshot.clone() else {
            return Err(Error::internal("transaction without a snapshot"));
        };
        let missing: Vec<_> = versions.iter().filter(|v| !txn.versions.contains_key(v)).copied().collect();
        if !missing.is_empty() {
            let rows = self.versions.at(&missing, pin.at(), timeout).await?;
            txn.versions.extend(rows);
        }
        let reading = Reading {
            at: pin.at(),
            judged: self.judged.clone(),
            log: self.log.clone(),
            own: txn.before.as_ref().unwrap_or(&txn.tables).clone(),
            versions: txn.versions.clone(),
            pin: Some(pin),
        };
        self.refuse_errored(&reading, &versions).await?;
        Ok(reading)
    }

    /// No version that a statement uses may have rows that fail; which record it is may have to be looked for in the log.
    pub(super) async fn refuse_errored(&self, reading: &Reading, versions: &[(ViewId, VersionNo)]) -> Result<()> {
        let errored = |key: &(ViewId, VersionNo)| Some((*key, reading.versions.get(key).filter(|r| !r.errors().is_empty())?));
        let Some((key, rows)) = versions.iter().find_map(errored) else { return Ok(()) };
        let (culprits, reading, rows) = (self.culprits.clone(), reading.clone(), rows.clone());
        let refusal = tokio::task::spawn_blocking(move || culprits.refusal(&reading, key, rows.errors())).await;
        Err(refusal.unwrap_or_else(|_| Error::internal("looking for the record of an error panicked")))
    }

    /// The epoch may be forgotten by the heads between being chosen and being pinned: then another one is chosen.
    async fn bind_freshest(&self, txn: &mut Txn, versions: &[(ViewId, VersionNo)], timeout: Duration) -> Result<()> {
        loop {
            let (at, rows) = self.versions.freshest(versions, txn.at_least, timeout).await?;
            if let Some(pin) = self.pins.pin(at) {
                txn.snapshot = Some(pin);
                txn.versions = rows;
                return Ok(());
            }
        }
    }
}
