//! Versions that do not keep up: how long the others wait for them, and when they are fed alone.
//!
//! One that is slow by itself is left behind after [`PATIENCE`], with all that read it. Where most are late it is the machine that does not keep
//! up: feeding each alone would only be more work, so they are waited for as long as any of them comes forward (and for [`PATIENCE_WITH_ALL`] where
//! none does), and the next epoch has all that came meanwhile, in which a row costs less. Both are tested by `faults.rs` of
//! this crate.

use super::Driver;
use crate::version::{life::Fact, registry::Key};
use regauge_types::{Epoch, Lsn};
use std::{sync::atomic::Ordering, time::Duration};

/// How long one epoch waits for a version that does not keep up.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// How long it waits in all where the others do not keep up either, and none of them comes forward.
pub(super) const PATIENCE_WITH_ALL: Duration = Duration::from_secs(2);

impl Driver {
    /// Waits for versions that have too many epochs before them; leaves behind who does not come.
    pub(super) fn hold_for_slow(&mut self) {
        let wanted = self.versions.cuts().before_last(self.limits.epochs_in_flight);
        let keys: Vec<Key> = self.running.iter().filter(|(_, r)| !r.alone).map(|(k, _)| *k).collect();
        // of all together
        let mut patience = PATIENCE_WITH_ALL.as_millis() / PATIENCE.as_millis();
        let mut stood = self.stand(&keys);
        for key in keys.iter().copied() {
            let Ok(trace) = self.versions.reader(key) else { continue };
            if Lsn::from(trace.upper()) >= wanted || self.running.get(&key).is_none_or(|r| r.alone) {
                continue;
            }
            let came = loop {
                let came = trace.wait(wanted.into(), PATIENCE).map(Lsn::from);
                if self.stop.load(Ordering::Acquire) {
                    return;
                }
                let stand = self.stand(&keys);
                patience = patience.saturating_sub(u128::from(stand == stood));
                stood = stand;
                if !matches!(came, Ok(upper) if upper < wanted && patience > 0 && self.others_are_late(key, wanted)) {
                    break came;
                }
            };
            match came {
                Ok(upper) if upper < wanted => {
                    tracing::warn!(view = %key.0, version = %key.1, %upper, "version cannot keep up and is left behind");
                    self.leave_behind(key);
                }
                Ok(_) => {}
                Err(failure) => self.tell(key, &Fact::Broke { why: failure.to_string() }),
            }
        }
    }

    /// Where these versions stand.
    fn stand(&self, keys: &[Key]) -> Vec<Epoch> {
        keys.iter().map(|key| self.versions.reader(*key).map_or(Epoch(0), |trace| trace.upper())).collect()
    }

    /// Whether half of those that do not read this version are not there either: then it is the machine that does not keep up, and
    /// to feed each of them alone would only be more work. Who waits meets the next epoch with all that has come meanwhile, and a row costs less in a
    /// larger epoch.
    fn others_are_late(&self, key: Key, wanted: Lsn) -> bool {
        let reading = self.readers_of(key);
        let others = self.running.iter().filter(|(other, r)| !r.alone && !reading.contains(other));
        let is_late = |other: &Key| {
            self.versions.reader(*other).is_ok_and(|trace| trace.failure().is_none() && Lsn::from(trace.upper()) < wanted)
        };
        let (n, n_late) = others.fold((0, 0), |(n, late), (other, _)| (n + 1, late + usize::from(is_late(other))));
        n > 0 && 2 * n_late >= n
    }

    /// It and all that read it, directly or not, of those that are not fed alone.
    fn readers_of(&self, key: Key) -> Vec<Key> {
        let (mut all, mut at) = (vec![key], 0);
        while let Some(key) = all.get(at).copied() {
            let reading = self.running.iter().filter(|(other, r)| r.reads.contains(&key) && !r.alone && !all.contains(other));
            let reading: Vec<Key> = reading.map(|(other, _)| *other).collect();
            all.extend(reading);
            at += 1;
        }
        all
    }

    /// Leaves a version behind, and with it all that read it, directly or not: it will be fed what it misses in one piece, and at an epoch
    /// within that they would show it as it was before, beside what else they read as it is.
    fn leave_behind(&mut self, key: Key) {
        for key in self.readers_of(key) {
            if let Some(fed) = self.running.get(&key).map(|r| r.fed) {
                self.tell(key, &Fact::FellBehind { fed: fed.into() });
            }
        }
    }
}
