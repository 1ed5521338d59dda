//! One run: keys ascending by hash in blocks, written once, read by hash.

use super::{
    Filter, Pack, Scratch, SpillError,
    scratch::{At, Sheet, SheetWriter},
};
use parking_lot::Mutex;
use std::sync::Arc;

/// Rows of a block, but for those of its last key: what a look-up of one key reads.
const BLOCK_ROWS: usize = 1024;

#[derive(Debug)]
struct Block {
    first: u64,
    last: u64,
    at: At,
}

/// See the module's header.
pub struct Run {
    sheet: Sheet,
    blocks: Vec<Block>,
    filter: Filter,
    n_keys: usize,
    n_rows: usize,
    n_bytes: u64,
    level: u32,
    /// The block that was read last: those who go through a run ask for its keys piece by piece.
    last: Mutex<Option<(u64, Arc<Pack>)>>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("file", &self.sheet.path).field("keys", &self.n_keys).field("bytes", &self.n_bytes).finish()
    }
}

/// Writes a run.
pub struct RunWriter {
    writer: SheetWriter,
    blocks: Vec<Block>,
    filter: Filter,
    n_keys: usize,
    n_rows: usize,
    /// Flat packs that make no block yet.
    waiting: Vec<Pack>,
    n_waiting: usize,
}

impl RunWriter {
    /// Of at most about so many keys.
    pub fn begin(scratch: &Scratch, n_keys: usize) -> Result<RunWriter, SpillError> {
        let writer = SheetWriter::begin(scratch)?;
        Ok(RunWriter { writer, blocks: vec![], filter: Filter::new(n_keys), n_keys: 0, n_rows: 0, waiting: vec![], n_waiting: 0 })
    }

    /// Keys that follow those before: a block of them, or several where the pack is flat.
    pub fn put(&mut self, pack: &Pack, is_flat: bool) -> Result<(), SpillError> {
        if !is_flat {
            return self.block(pack);
        }
        if !pack.is_empty() {
            self.n_waiting += pack.n_rows().max(pack.hashes.len());
            self.waiting.push(pack.clone());
        }
        if self.n_waiting < BLOCK_ROWS { Ok(()) } else { self.work_off() }
    }

    /// What waits, as blocks.
    fn work_off(&mut self) -> Result<(), SpillError> {
        let pack = Pack::merge(&std::mem::take(&mut self.waiting))?;
        self.n_waiting = 0;
        let mut places = vec![];
        let mut n = 0;
        for (place, count) in pack.counts.iter().enumerate() {
            places.push(place);
            n += *count as usize;
            if n >= BLOCK_ROWS || places.len() >= BLOCK_ROWS {
                self.block(&pack.pick(&places)?)?;
                places.clear();
                n = 0;
            }
        }
        if places.is_empty() { Ok(()) } else { self.block(&pack.pick(&places)?) }
    }

    fn block(&mut self, pack: &Pack) -> Result<(), SpillError> {
        let (Some(first), Some(last)) = (pack.hashes.first(), pack.hashes.last()) else { return Ok(()) };
        let at = self.writer.put(&pack.encode()?)?;
        self.blocks.push(Block { first: *first, last: *last, at });
        pack.hashes.iter().for_each(|hash| self.filter.insert(*hash));
        self.n_keys += pack.hashes.len();
        self.n_rows += pack.n_rows();
        Ok(())
    }

    /// All keys are there; `None` if there were none. `level` is how often its rows were merged.
    pub fn finish(mut self, level: u32) -> Result<Option<Run>, SpillError> {
        self.work_off()?;
        self.writer.flush()?;
        let RunWriter { writer, mut blocks, filter, n_keys, n_rows, .. } = self;
        blocks.shrink_to_fit();
        let run = Run { sheet: writer.sheet, blocks, filter, n_keys, n_rows, n_bytes: writer.end, level, last: Mutex::default() };
        Ok((n_keys > 0).then_some(run))
    }
}

impl Run {
    /// Whether it may have this key.
    #[inline]
    #[must_use]
    pub fn may_have(&self, hash: u64) -> bool {
        self.filter.may_have(hash)
    }

    /// Hands the blocks that hold any of these hashes, ascending, to `each`, with the places of those among the block's keys; each
    /// block is read once. Hashes that it does not have are passed over.
    pub fn look_up<E: From<SpillError>>(
        &self,
        hashes: impl IntoIterator<Item = u64>,
        mut each: impl FnMut(&Arc<Pack>, &[usize]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut hashes = hashes.into_iter().peekable();
        let mut from = 0;
        while let Some(hash) = hashes.peek().copied() {
            from += self.blocks[from..].partition_point(|b| b.last < hash);
            let Some(block) = self.blocks.get(from) else { return Ok(()) };
            if block.first > hash {
                hashes.next();
                continue;
            }
            let pack = self.read(block)?;
            let (mut places, mut at) = (vec![], 0);
            while let Some(hash) = hashes.next_if(|h| *h <= block.last) {
                at += pack.hashes[at..].partition_point(|h| *h < hash);
                if pack.hashes.get(at) == Some(&hash) {
                    places.push(at);
                }
            }
            if !places.is_empty() {
                each(&pack, &places)?;
            }
            from += 1;
        }
        Ok(())
    }

    /// Its blocks with keys in this range, both ends in it, and the places of those keys.
    pub fn between<E: From<SpillError>>(
        &self,
        first: u64,
        last: u64,
        mut each: impl FnMut(&Arc<Pack>, &[usize]) -> Result<(), E>,
    ) -> Result<(), E> {
        let from = self.blocks.partition_point(|b| b.last < first);
        for block in self.blocks[from..].iter().take_while(|b| b.first <= last) {
            let pack = self.read(block)?;
            let (from, to) = (pack.hashes.partition_point(|h| *h < first), pack.hashes.partition_point(|h| *h <= last));
            let places: Vec<usize> = (from..to).collect();
            if !places.is_empty() {
                each(&pack, &places)?;
            }
        }
        Ok(())
    }

    fn read(&self, block: &Block) -> Result<Arc<Pack>, SpillError> {
        let mut last = self.last.lock();
        if let Some((_, pack)) = last.as_ref().filter(|(offset, _)| *offset == block.at.offset) {
            return Ok(Arc::clone(pack));
        }
        // before the next one comes: it may be large
        *last = None;
        let bytes = self.sheet.read(&block.at)?;
        let pack = Pack::decode(&bytes).ok_or_else(|| self.sheet.damaged(&block.at, "a block does not read"))?;
        let pack = Arc::new(pack);
        *last = Some((block.at.offset, Arc::clone(&pack)));
        Ok(pack)
    }

    /// Keys, those included that it says are gone.
    #[must_use]
    pub fn n_keys(&self) -> usize {
        self.n_keys
    }

    /// Rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Bytes on the disk.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Bytes of memory held.
    #[must_use]
    pub fn n_bytes_here(&self) -> usize {
        self.filter.n_bytes() + self.blocks.capacity() * size_of::<Block>()
    }

    /// How often its rows were merged.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.level
    }
}
