//! The operator that holds another one within a budget; see the module's header.

use super::{
    Account, Budget, Copied, Kind, Need, Settles, Spills,
    deferred::{Batch, Deferred},
    part::{Make, Part},
};
use crate::image::{Home, Image};
use crate::operator::{Finish, FlowError, Mine, OpStats, Operator, Out, Routing};
use arrow::array::UInt32Array;
use regauge_state::{
    checkpoint::encode,
    spill::{KeptWriter, SpillError},
};
use regauge_types::Delta;
use regauge_types::hash::BUCKETS;
use std::sync::Arc;

/// Rows after which it is looked how much is held: at most this many, and one for so many bytes of the budget.
const LOOK_ROWS: usize = 16_384;
const LOOK_BYTES: usize = 1024;
/// Buckets of runs that are merged when something was taken out, and at the end of each epoch.
const MERGED_EVICTING: usize = 160;
const MERGED_ENDING: usize = 2;

/// How far the end of an epoch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Rows that wait are worked off.
    Waiting,
    /// Every key is looked at, bucket by bucket: up to here; whether this one is in.
    Buckets(usize, bool),
    /// The operator's own.
    Own,
}

/// See the module's header.
pub struct Spilling {
    inner: Box<dyn Spills>,
    parts: Vec<Part>,
    deferred: Deferred,
    budget: Arc<Budget>,
    account: Account,
    /// Nothing was there before this epoch.
    is_first: bool,
    /// Something was taken out in the middle of the first epoch.
    has_spilled: bool,
    ending: Ending,
    n_unseen: usize,
    /// Rows after which it is looked how much is held.
    look_rows: usize,
}

impl Spilling {
    /// Of operators that `make` makes.
    pub fn new(make: Make, budget: &Arc<Budget>) -> Result<Spilling, FlowError> {
        let inner = make()?;
        let parts = (0..inner.n_parts()).map(|no| Part::new(&*inner, no, &make)).collect();
        Ok(Spilling {
            inner,
            parts,
            deferred: Deferred::default(),
            account: budget.account(false),
            budget: Arc::clone(budget),
            is_first: true,
            has_spilled: false,
            ending: Ending::Waiting,
            n_unseen: 0,
            look_rows: (budget.bytes() / LOOK_BYTES).clamp(1, LOOK_ROWS),
        })
    }

    fn is_on(&self) -> bool {
        self.parts.iter().any(|p| p.is_on)
    }

    /// The rows whose keys are here, and which of them wait.
    fn waits(&mut self, input: usize, hashes: &[u64]) -> Vec<bool> {
        let mut waits = vec![false; hashes.len()];
        for (no, part) in self.parts.iter_mut().enumerate() {
            if matches!(self.inner.need(input, no), Need::Read | Need::Write) {
                for (hash, waits) in hashes.iter().zip(&mut waits) {
                    *waits |= !part.is_here(*hash);
                }
            }
        }
        waits
    }

    /// Rows whose keys are here.
    fn pass(&mut self, (input, rows, hashes): Batch, out: &mut Out) -> Result<(), FlowError> {
        for (no, part) in self.parts.iter_mut().enumerate() {
            match self.inner.need(input, no) {
                Need::Write => hashes.iter().for_each(|hash| part.writes(*hash)),
                Need::Add => hashes.iter().for_each(|hash| part.adds(*hash)),
                Need::No | Need::Read => {}
            }
        }
        self.inner.push(input, rows, out)
    }

    /// Some of the rows that wait; whether there were any.
    fn work_off(&mut self, out: &mut Out) -> Result<bool, FlowError> {
        let batches = self.deferred.next()?;
        if batches.is_empty() {
            return Ok(false);
        }
        for (no, part) in self.parts.iter_mut().enumerate() {
            let mut missing: Vec<u64> = vec![];
            for (input, _, hashes) in &batches {
                if matches!(self.inner.need(*input, no), Need::Read | Need::Write) {
                    missing.extend(hashes.iter().filter(|hash| !part.is_here(**hash)));
                }
            }
            missing.sort_unstable();
            missing.dedup();
            if !missing.is_empty() {
                part.fetch(&mut *self.inner, &missing, true)?;
            }
        }
        for batch in batches {
            self.n_unseen += batch.1.n_rows();
            self.pass(batch, out)?;
        }
        Ok(true)
    }

    /// Tells the budget what is held; how much is to be kept, if that is too much.
    fn look(&mut self) -> Option<usize> {
        self.n_unseen = 0;
        let in_use = self.inner.in_use();
        self.account.set(in_use);
        self.account.excess()
    }

    /// Takes out what is too much, if it is time to look: in the first epoch anything, later what the epoch's end has no interest in.
    fn keep_within(&mut self) -> Result<(), FlowError> {
        if self.n_unseen < self.look_rows {
            return Ok(());
        }
        let Some(keep) = self.look() else { return Ok(()) };
        if self.is_first {
            self.inner.untouch();
            self.has_spilled = true;
        }
        self.evict(keep, self.is_first)
    }

    /// Takes out until this much is left; all that may go between epochs, or only what nothing of the epoch hangs on.
    fn evict(&mut self, keep: usize, all: bool) -> Result<(), FlowError> {
        if !all && !(0..self.parts.len()).any(|no| self.inner.settles(no) == Settles::Never) {
            return Ok(());
        }
        let in_use = self.inner.in_use();
        #[allow(clippy::cast_precision_loss)]
        let share = 1.0 - keep.min(in_use) as f64 / in_use.max(1) as f64;
        self.inner.lend(true)?;
        for (no, part) in self.parts.iter_mut().enumerate() {
            if !all && self.inner.settles(no) != Settles::Never {
                continue;
            }
            part.evict(&mut *self.inner, share, &self.budget.scratch)?;
            part.merge(MERGED_EVICTING, &self.budget.scratch)?;
        }
        self.inner.lend(false)?;
        self.account.set(self.inner.in_use());
        tracing::debug!(in_use, keep, now = self.inner.in_use(), "state is spilled");
        Ok(())
    }

    /// Keys of a bucket that the end of an epoch looks at, all that there are: only in the first epoch, before which nothing was sent.
    fn touch_bucket(&mut self, bucket: usize) -> Result<(), FlowError> {
        for (no, part) in self.parts.iter_mut().enumerate() {
            let settles = self.inner.settles(no);
            if settles != Settles::Never {
                part.fetch_bucket(&mut *self.inner, bucket)?;
            }
            if settles == Settles::Writes {
                part.wrote_bucket(bucket);
            }
        }
        self.inner.touch(bucket)
    }

    fn end(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        match self.ending {
            Ending::Waiting => {
                if self.work_off(out)? {
                    self.keep_within()?;
                    return Ok(Finish::More);
                }
                self.ending = Ending::Own;
                let settles = (0..self.parts.len()).any(|no| self.inner.settles(no) != Settles::Never);
                if self.has_spilled && settles {
                    self.inner.untouch();
                    self.ending = Ending::Buckets(0, false);
                }
            }
            Ending::Buckets(BUCKETS, _) => self.ending = Ending::Own,
            Ending::Buckets(bucket, false) => {
                self.touch_bucket(bucket)?;
                self.ending = Ending::Buckets(bucket, true);
            }
            Ending::Buckets(bucket, true) => {
                if self.inner.finish(out)? == Finish::Done {
                    if let Some(keep) = self.look() {
                        self.evict(keep, true)?;
                    }
                    self.ending = Ending::Buckets(bucket + 1, false);
                }
            }
            Ending::Own => {
                if self.inner.finish(out)? == Finish::Done {
                    (self.is_first, self.has_spilled, self.ending) = (false, false, Ending::Waiting);
                    if let Some(keep) = self.look() {
                        self.evict(keep, true)?;
                    }
                    for part in &mut self.parts {
                        part.merge(MERGED_ENDING, &self.budget.scratch)?;
                    }
                    return Ok(Finish::Done);
                }
            }
        }
        Ok(Finish::More)
    }

    /// The blocks of all buckets, each handed on as it is read.
    fn blocks(&self, mut each: impl FnMut(Image) -> Result<(), FlowError>) -> Result<(), FlowError> {
        for bucket in 0..BUCKETS {
            for (no, part) in (0u32..).zip(&self.parts) {
                for tables in part.tables(&*self.inner, bucket)? {
                    each(Image::new(no, bucket, tables))?;
                }
            }
        }
        Ok(())
    }
}

impl Operator for Spilling {
    fn push(&mut self, input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        self.n_unseen += delta.n_rows();
        if !self.is_on() {
            self.inner.push(input, delta, out)?;
            return self.keep_within();
        }
        let hashes = self.inner.hashes(input, &delta)?;
        let waits = self.waits(input, &hashes);
        if !waits.contains(&true) {
            self.pass((input, delta, hashes), out)?;
            return self.keep_within();
        }
        let (wait, go): (Vec<u32>, Vec<u32>) = (0u32..).take(hashes.len()).partition(|row| waits[*row as usize]);
        let of = |rows: &[u32]| rows.iter().map(|row| hashes[*row as usize]).collect::<Vec<u64>>();
        let (waiting, of_waiting, of_going) = (delta.take(&UInt32Array::from(wait.clone()))?, of(&wait), of(&go));
        self.deferred.put(input, waiting, &of_waiting);
        if !go.is_empty() {
            self.pass((input, delta.take(&UInt32Array::from(go))?, of_going), out)?;
        }
        self.keep_within()?;
        if self.deferred.n_bytes() > self.account.waiting_max() {
            while self.work_off(out)? {
                self.keep_within()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        self.end(out)
    }

    fn routing(&self, input: usize) -> Routing {
        self.inner.routing(input)
    }

    fn stats(&self) -> OpStats {
        let inner = self.inner.stats();
        let parts = self.parts.iter().map(Part::n_bytes).fold((0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2));
        let resident = if self.is_on() { parts.0 + self.deferred.n_bytes() } else { 0 };
        OpStats { state_bytes: inner.state_bytes + resident as u64, spilled_bytes: parts.1, spilled_rows: parts.2, ..inner }
    }

    fn is_within_budget(&self) -> bool {
        true
    }

    fn save(&self, home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        if !self.is_on() {
            return self.inner.save(home, to);
        }
        self.blocks(|image| {
            to.push(image);
            Ok(())
        })
    }

    fn copy(&self) -> Result<Option<Copied>, FlowError> {
        if !self.is_on() {
            return Ok(None);
        }
        let mut writer = KeptWriter::begin(&self.budget.scratch)?;
        self.blocks(|image| {
            let bytes = encode(&image.tables).map_err(|e| FlowError::Image(e.to_string()))?;
            let bucket = image.bucket().unwrap_or_default();
            Ok(writer.put((image.part, bucket), &bytes)?)
        })?;
        Ok(Some(writer.finish()?))
    }

    /// Bucket by bucket, and what is too much goes out again between them.
    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        self.is_first = false;
        self.inner.restore(&[])?;
        let mut images: Vec<(usize, &Image)> = images.iter().map(|i| (i.bucket().map_or(0, usize::from), *i)).collect();
        images.sort_by_key(|(bucket, _)| *bucket);
        for of_bucket in images.chunk_by(|a, b| a.0 == b.0) {
            for (_, image) in of_bucket {
                let part = usize::try_from(image.part).ok().filter(|p| *p < self.parts.len());
                let part = part.ok_or_else(|| FlowError::Image(format!("no part {}", image.part)))?;
                self.inner.admit(part, &image.tables, false)?;
            }
            if self.is_on() {
                for part in &mut self.parts {
                    part.note_bucket(&*self.inner, of_bucket[0].0)?;
                }
            }
            if let Some(keep) = self.look() {
                self.evict(keep, true)?;
            }
        }
        Ok(())
    }

    fn restore_changes(&mut self, images: &[&Image], mine: &Mine<'_>) -> Result<(), FlowError> {
        if !self.is_on() {
            self.inner.restore_changes(images, mine)?;
            return self.look().map_or(Ok(()), |keep| self.evict(keep, true));
        }
        for image in images {
            let (no, hashes) = self.inner.changed_keys(image)?;
            let mut mine: Vec<u64> = hashes.into_iter().filter(|hash| mine(*hash)).collect();
            mine.sort_unstable();
            mine.dedup();
            let Some(part) = self.parts.get_mut(no) else { return Err(FlowError::Image(format!("no part {no}"))) };
            if self.inner.kind(no) == Kind::Grows {
                mine.iter().for_each(|hash| part.adds(*hash));
            } else {
                let missing: Vec<u64> = mine.iter().copied().filter(|hash| !part.is_here(*hash)).collect();
                part.fetch(&mut *self.inner, &missing, true)?;
                mine.iter().for_each(|hash| part.writes(*hash));
            }
            let only = |hash: u64| mine.binary_search(&hash).is_ok();
            self.inner.restore_changes(&[image], &only)?;
            if let Some(keep) = self.look() {
                self.evict(keep, true)?;
            }
        }
        Ok(())
    }
}

impl From<SpillError> for FlowError {
    fn from(error: SpillError) -> FlowError {
        FlowError::Spill(Box::new(error))
    }
}
