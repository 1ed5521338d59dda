//! One part of an operator: which of its keys are here, and the runs that have the others.
//!
//! Runs stand in the order in which they were written; four of the same level that follow each other are merged into one of the next, a few
//! buckets at a time, so a key is written again about once for each factor of four. Cost of a look-up: a word of each run's filter;
//! of a key that a run has: a block. It does not know when, nor how much is to be taken out.

use super::{
    Kind, Spills,
    residence::{CLEAN, COMPLETE, COPY, HOT, Residence},
};
use crate::operator::FlowError;
use crate::ops::parts::ROWS_MAX;
use arrow::array::RecordBatch;
use regauge_state::spill::{Pack, Run, RunWriter, Scratch};
use regauge_types::hash::BUCKETS;
use std::{collections::HashSet, sync::Arc};

/// Runs of one level that are merged.
const FAN: usize = 4;
/// Keys of a block whose entries are not rows of flat tables.
const KEYS: usize = 1024;
/// Buckets that are taken out at once where each time costs a walk over everything.
const BUCKETS_AT_ONCE: usize = 32;

/// Makes another operator of the same node, empty.
pub type Make = Arc<dyn Fn() -> Result<Box<dyn Spills>, FlowError> + Send + Sync>;

/// A key and the ids of its entries.
type Entries = (u64, Vec<u32>);

/// The first and the last hash of a bucket.
fn range(bucket: usize) -> (u64, u64) {
    let first = (bucket as u64) << 56;
    (first, first | (u64::MAX >> 8))
}

struct Merging {
    from: usize,
    n: usize,
    next: usize,
    writer: RunWriter,
}

/// See the module's header.
pub(super) struct Part {
    no: usize,
    kind: Kind,
    is_flat: bool,
    make: Make,
    runs: Vec<Arc<Run>>,
    merging: Option<Merging>,
    pub here: Residence,
    /// Something was taken out once.
    pub is_on: bool,
}

/// Takes what is read into an operator, much at a time.
struct Loader<'a> {
    part: (usize, bool),
    make: &'a Make,
    waiting: Vec<Pack>,
    n_waiting: usize,
}

impl Loader<'_> {
    fn add(&mut self, to: &mut dyn Spills, pack: &Pack, places: &[usize]) -> Result<(), FlowError> {
        let (no, is_flat) = self.part;
        if !is_flat {
            return narrow(self.make, no, pack, places)?.iter().try_for_each(|tables| to.admit(no, tables, true));
        }
        let picked = pack.pick(places)?;
        self.n_waiting += picked.n_rows();
        self.waiting.push(picked);
        if self.n_waiting >= ROWS_MAX { self.flush(to) } else { Ok(()) }
    }

    fn flush(&mut self, to: &mut dyn Spills) -> Result<(), FlowError> {
        let packs = std::mem::take(&mut self.waiting);
        self.n_waiting = 0;
        let all = Pack::merge(&packs)?;
        if all.tables.is_empty() { Ok(()) } else { to.admit(self.part.0, &all.tables, true) }
    }
}

/// The tables of some keys of a pack that is not flat: an operator of its own takes all in and gives those.
fn narrow(make: &Make, no: usize, pack: &Pack, places: &[usize]) -> Result<Vec<Vec<RecordBatch>>, FlowError> {
    if pack.tables.is_empty() {
        return Ok(vec![]);
    }
    if places.len() == pack.hashes.len() {
        return Ok(vec![pack.tables.clone()]);
    }
    let mut other = make()?;
    other.admit(no, &pack.tables, false)?;
    let wanted: HashSet<u64> = places.iter().map(|p| pack.hashes[*p]).collect();
    let mut ids = vec![];
    let mut buckets: Vec<u64> = pack.hashes.iter().map(|h| h >> 56).collect();
    buckets.dedup();
    for bucket in buckets {
        let all = other.entries(no, usize::try_from(bucket).unwrap_or(0))?;
        ids.extend(all.into_iter().filter(|(h, _)| wanted.contains(h)).map(|(_, id)| id));
    }
    if ids.is_empty() { Ok(vec![]) } else { other.tables_of(no, &[&ids]) }
}

/// Entries by key, ascending.
fn by_key(mut entries: Vec<(u64, u32)>) -> Vec<Entries> {
    entries.sort_unstable();
    entries.chunk_by(|a, b| a.0 == b.0).map(|all| (all[0].0, all.iter().map(|(_, id)| *id).collect())).collect()
}

/// Packs of keys of an operator, in order; a key without entries is one that went.
fn packs(of: &dyn Spills, no: usize, is_flat: bool, keys: &[Entries]) -> Result<Vec<Pack>, FlowError> {
    let pieces: Vec<&[Entries]> = keys.chunks(if is_flat { keys.len().max(1) } else { KEYS }).collect();
    let ids: Vec<Vec<u32>> = pieces.iter().map(|p| p.iter().flat_map(|(_, ids)| ids.iter().copied()).collect()).collect();
    let with_rows: Vec<&[u32]> = ids.iter().filter(|ids| !ids.is_empty()).map(Vec::as_slice).collect();
    let mut tables = of.tables_of(no, &with_rows)?.into_iter();
    let count = |ids: &Vec<u32>| u32::try_from(ids.len()).expect("ids are u32");
    let pack = |(piece, ids): (&&[Entries], &Vec<u32>)| Pack {
        hashes: piece.iter().map(|(hash, _)| *hash).collect(),
        counts: piece.iter().map(|(_, ids)| count(ids)).collect(),
        tables: if ids.is_empty() { vec![] } else { tables.next().unwrap_or_default() },
    };
    Ok(pieces.iter().zip(&ids).map(pack).collect())
}

impl Part {
    pub fn new(of: &dyn Spills, no: usize, make: &Make) -> Part {
        let (kind, is_flat, make) = (of.kind(no), of.is_flat(no), Arc::clone(make));
        Part { no, kind, is_flat, make, runs: vec![], merging: None, here: Residence::new(), is_on: false }
    }

    /// Whether all that there is of a key is in memory; then it was used.
    #[inline]
    pub fn is_here(&mut self, hash: u64) -> bool {
        match self.here.get(hash) {
            Some(flags) if flags & COMPLETE != 0 => {
                if flags & HOT == 0 {
                    self.here.put(hash, HOT, 0);
                }
                true
            }
            _ => !self.runs.iter().any(|run| run.may_have(hash)),
        }
    }

    /// Keys that are here go on to be changed.
    #[inline]
    pub fn writes(&mut self, hash: u64) {
        self.here.put(hash, COMPLETE | HOT, CLEAN);
    }

    /// Entries of a key are put beside what there is of it.
    #[inline]
    pub fn adds(&mut self, hash: u64) {
        self.here.put(hash, HOT, 0);
    }

    /// Reads keys that are not here, ascending, and takes them in; they count as used if they are `hot`.
    pub fn fetch(&mut self, to: &mut dyn Spills, hashes: &[u64], hot: bool) -> Result<(), FlowError> {
        let mut found = vec![false; hashes.len()];
        let mut loader = Loader { part: (self.no, self.is_flat), make: &self.make, waiting: vec![], n_waiting: 0 };
        for run in self.runs.iter().rev() {
            let is_wanted = |i: &usize| (self.kind == Kind::Grows || !found[*i]) && run.may_have(hashes[*i]);
            let wanted: Vec<u64> = (0..hashes.len()).filter(is_wanted).map(|i| hashes[i]).collect();
            run.look_up(wanted, |pack, places| {
                for place in places {
                    if let Ok(i) = hashes.binary_search(&pack.hashes[*place]) {
                        found[i] = true;
                    }
                }
                loader.add(to, pack, places)
            })?;
        }
        loader.flush(to)?;
        for (hash, found) in hashes.iter().zip(found) {
            let flags = COMPLETE | if hot { HOT } else { 0 } | if found { CLEAN | COPY } else { 0 };
            self.here.put(*hash, flags, 0);
        }
        Ok(())
    }

    /// Takes in all of a bucket; they do not count as used.
    pub fn fetch_bucket(&mut self, to: &mut dyn Spills, bucket: usize) -> Result<(), FlowError> {
        let (first, last) = range(bucket);
        let mut keys = vec![];
        for run in &self.runs {
            run.between::<FlowError>(first, last, |pack, places| {
                keys.extend(places.iter().map(|p| pack.hashes[*p]));
                Ok(())
            })?;
        }
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|hash| self.here.get(*hash).is_none_or(|flags| flags & COMPLETE == 0));
        self.fetch(to, &keys, false)
    }

    /// What ending an epoch changes in a bucket.
    pub fn wrote_bucket(&mut self, bucket: usize) {
        for (hash, _) in self.here.of_bucket(bucket) {
            self.here.put(hash, 0, CLEAN);
        }
    }

    /// Keys of a bucket that stand in the operator are here.
    pub fn note_bucket(&mut self, of: &dyn Spills, bucket: usize) -> Result<(), FlowError> {
        of.entries(self.no, bucket)?.into_iter().for_each(|(hash, _)| self.here.put(hash, COMPLETE, 0));
        Ok(())
    }

    /// Puts this share of its keys, those that were not used for longest, into a run, and takes them out.
    pub fn evict(&mut self, of: &mut dyn Spills, share: f64, scratch: &Scratch) -> Result<(), FlowError> {
        if of.n_entries(self.no) == 0 {
            return Ok(());
        }
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let quota = |n: usize| ((n as f64 * share).ceil() as usize).min(n);
        let mut writer = RunWriter::begin(scratch, quota(of.n_entries(self.no)) + KEYS)?;
        let at_once = if self.is_flat { 1 } else { BUCKETS_AT_ONCE };
        for first in (0..BUCKETS).step_by(at_once) {
            let (mut out, mut leaving, mut all_entries) = (vec![], vec![], vec![]);
            for bucket in first..first + at_once {
                let keys = by_key(of.entries(self.no, bucket)?);
                let known: Vec<(u64, u8)> = self.here.of_bucket(bucket);
                if keys.is_empty() && known.is_empty() {
                    continue;
                }
                let flags_of = |hash: u64| known.binary_search_by_key(&hash, |k| k.0).ok().map_or(0, |at| known[at].1);
                // keys that went: all that is left of them is that they went
                let has = |hash: u64| keys.binary_search_by_key(&hash, |k| k.0).is_ok();
                let went: Vec<(u64, u8)> = known.iter().copied().filter(|(hash, _)| !has(*hash)).collect();
                let mut order: Vec<usize> = (0..keys.len()).collect();
                order.sort_by_key(|i| (flags_of(keys[*i].0) & HOT != 0, keys[*i].1.first().copied()));
                order.truncate(quota(keys.len()));
                order.sort_unstable();
                let mut victims: Vec<(u64, u8, Vec<u32>)> = vec![];
                let mut order = order.into_iter().peekable();
                for (i, (hash, ids)) in keys.into_iter().enumerate() {
                    if order.next_if_eq(&i).is_some() {
                        victims.push((hash, flags_of(hash), ids));
                    } else {
                        self.here.put(hash, if self.is_on { 0 } else { COMPLETE }, HOT);
                    }
                }
                victims.extend(went.into_iter().map(|(hash, flags)| (hash, flags, vec![])));
                victims.sort_unstable();
                for (hash, flags, ids) in victims {
                    leaving.push(hash);
                    all_entries.extend(ids.iter().map(|id| (hash, *id)));
                    match self.kind {
                        Kind::Grows => {
                            let new: Vec<u32> = ids.into_iter().filter(|id| !of.is_stored(self.no, *id)).collect();
                            out.extend((!new.is_empty()).then_some((hash, new)));
                        }
                        Kind::Whole if ids.is_empty() => out.extend((flags & COPY != 0).then_some((hash, ids))),
                        Kind::Whole => out.extend((flags & CLEAN == 0).then_some((hash, ids))),
                    }
                }
            }
            if leaving.is_empty() {
                continue;
            }
            for pack in packs(of, self.no, self.is_flat, &out)? {
                writer.put(&pack, self.is_flat)?;
            }
            of.take_out(self.no, &all_entries)?;
            leaving.into_iter().for_each(|hash| self.here.remove(hash));
        }
        self.runs.extend(writer.finish(0)?.map(Arc::new));
        self.is_on = true;
        Ok(())
    }

    /// Merges some more buckets of runs, if there is anything to merge.
    pub fn merge(&mut self, n_buckets: usize, scratch: &Scratch) -> Result<(), FlowError> {
        let Some(mut merging) = self.merging.take().map_or_else(|| self.begin(scratch), |m| Ok(Some(m)))? else {
            return Ok(());
        };
        let runs = &self.runs[merging.from..merging.from + merging.n];
        let level = runs.iter().map(|r| r.level()).max().unwrap_or(0) + 1;
        let end = (merging.next + n_buckets).min(BUCKETS);
        for bucket in merging.next..end {
            let all = resolve(runs, self.kind, bucket, |_| true)?;
            for pack in self.put_together(bucket, all, merging.from > 0)? {
                merging.writer.put(&pack, self.is_flat)?;
            }
        }
        merging.next = end;
        if end < BUCKETS {
            self.merging = Some(merging);
            return Ok(());
        }
        let new = merging.writer.finish(level)?.map(Arc::new);
        drop(self.runs.splice(merging.from..merging.from + merging.n, new));
        Ok(())
    }

    fn begin(&self, scratch: &Scratch) -> Result<Option<Merging>, FlowError> {
        let levels: Vec<u32> = self.runs.iter().map(|r| r.level()).collect();
        let Some(from) = levels.windows(FAN).rposition(|w| w.iter().all(|l| *l == w[0])) else { return Ok(None) };
        let n_keys = self.runs[from..from + FAN].iter().map(|r| r.n_keys()).sum();
        Ok(Some(Merging { from, n: FAN, next: 0, writer: RunWriter::begin(scratch, n_keys)? }))
    }

    /// Picked keys of a bucket, each of which is in one pack only unless the part grows, as packs in order.
    fn put_together(&self, bucket: usize, all: Vec<(Arc<Pack>, Vec<usize>)>, with_gone: bool) -> Result<Vec<Pack>, FlowError> {
        if self.is_flat {
            let picked = all.iter().map(|(pack, places)| pack.pick(places)).collect::<Result<Vec<_>, _>>()?;
            let merged = Pack::merge(&picked)?;
            let there = |p: &usize| with_gone || merged.counts[*p] > 0;
            return Ok(vec![merged.pick(&(0..merged.hashes.len()).filter(there).collect::<Vec<_>>())?]);
        }
        let (mut other, mut gone) = ((self.make)()?, vec![]);
        for (pack, places) in &all {
            narrow(&self.make, self.no, pack, places)?.iter().try_for_each(|tables| other.admit(self.no, tables, false))?;
            gone.extend(places.iter().filter(|p| pack.counts[**p] == 0).map(|p| (pack.hashes[*p], vec![])));
        }
        let mut keys = by_key(other.entries(self.no, bucket)?);
        if with_gone {
            keys.extend(gone);
            keys.sort_unstable();
        }
        packs(&*other, self.no, false, &keys)
    }

    /// All of a bucket, wherever it is, as tables of images.
    pub fn tables(&self, of: &dyn Spills, bucket: usize) -> Result<Vec<Vec<RecordBatch>>, FlowError> {
        let mut entries = of.entries(self.no, bucket)?;
        if self.kind == Kind::Grows {
            entries.retain(|(_, id)| !of.is_stored(self.no, *id));
        }
        let is_elsewhere = |hash: u64| self.kind == Kind::Grows || self.here.get(hash).is_none();
        let elsewhere = resolve(&self.runs, self.kind, bucket, is_elsewhere)?;
        let here = packs(of, self.no, self.is_flat, &by_key(entries))?;
        let elsewhere = self.put_together(bucket, elsewhere, false)?;
        let whole = if self.is_flat { vec![Pack::merge(&[here, elsewhere].concat())?] } else { [here, elsewhere].concat() };
        Ok(whole.into_iter().map(|pack| pack.tables).filter(|tables| !tables.is_empty()).collect())
    }

    /// Bytes of memory beside the operator's, bytes on the disk, rows there.
    pub fn n_bytes(&self) -> (usize, u64, u64) {
        let here = self.here.n_bytes() + self.runs.iter().map(|r| r.n_bytes_here()).sum::<usize>();
        (here, self.runs.iter().map(|r| r.n_bytes()).sum(), self.runs.iter().map(|r| r.n_rows() as u64).sum())
    }
}

/// Packs, and places of keys within each.
type Places = Vec<(Arc<Pack>, Vec<usize>)>;

/// The packs of a bucket, and the keys of each that hold: of a key that is replaced the newest one only.
fn resolve(runs: &[Arc<Run>], kind: Kind, bucket: usize, is_wanted: impl Fn(u64) -> bool) -> Result<Places, FlowError> {
    let ((first, last), mut seen, mut all) = (range(bucket), HashSet::new(), vec![]);
    for run in runs.iter().rev() {
        run.between::<FlowError>(first, last, |pack, places| {
            let mut places = places.to_vec();
            places.retain(|p| is_wanted(pack.hashes[*p]) && (kind == Kind::Grows || seen.insert(pack.hashes[*p])));
            all.push((Arc::clone(pack), places));
            Ok(())
        })?;
    }
    all.retain(|(_, places)| !places.is_empty());
    Ok(all)
}
