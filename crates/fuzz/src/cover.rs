//! Which edges of our crates an execution took: counters that LLVM's SanitizerCoverage puts into code that was built for it
//! (`-Cpasses=sancov-module`, in the stable compiler). Each piece of code that was compiled so announces its counters before `main`.
//!
//! Cost: one pass per execution over the blocks of counters in which anything was ever counted; the rest, most of it,
//! is looked at now and then ([`Cover::widen`]).

use std::{
    slice,
    sync::{Mutex, PoisonError},
};

/// Where counters are: address and number, of each piece.
static PIECES: Mutex<Vec<(usize, usize)>> = Mutex::new(vec![]);

/// # Safety
/// Called by code that was built with counters, once, with the first one and the one behind the last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let (start, stop) = (start as usize, stop as usize);
    let mut pieces = PIECES.lock().unwrap_or_else(PoisonError::into_inner);
    if stop > start && !pieces.iter().any(|(known, _)| *known == start) {
        pieces.push((start, stop - start));
    }
}

/// Counters that are looked at together.
const BLOCK: usize = 256;

/// Some of the counters.
#[derive(Clone, Copy)]
struct Block {
    start: usize,
    len: usize,
    /// Of the first of them, among all.
    at: usize,
}

impl Block {
    fn counters(&self) -> &'static mut [u8] {
        // SAFETY: counters are statics of this program; whoever counts at the same time adds to a byte or loses an addition.
        unsafe { slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(self.start), self.len) }
    }
}

/// What was ever seen: of each edge, in which ranges of how often.
pub struct Cover {
    seen: Vec<u8>,
    n_edges: u64,
    /// Where anything was ever counted.
    live: Vec<Block>,
    rest: Vec<Block>,
}

impl Cover {
    /// Of all counters of this program.
    pub fn new() -> Cover {
        let pieces = PIECES.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rest, mut at) = (vec![], 0);
        for (start, n) in pieces.iter() {
            for from in (0..*n).step_by(BLOCK) {
                let len = BLOCK.min(n - from);
                rest.push(Block { start: start + from, len, at });
                at += len;
            }
        }
        Cover { seen: vec![0; at], n_edges: 0, live: vec![], rest }
    }

    /// Begins an execution.
    pub fn clear(&self) {
        self.live.iter().for_each(|block| block.counters().fill(0));
    }

    /// Ends one: whether it took an edge that none took before, or took one so often as none did; as far as it went where any went that was
    /// looked at as a whole.
    pub fn take(&mut self) -> bool {
        let mut is_new = false;
        for block in &self.live {
            let counters = block.counters();
            if counters.iter().fold(0, |any, count| any | count) == 0 {
                continue;
            }
            for (count, known) in counters.iter().zip(&mut self.seen[block.at..]) {
                let range = range_of(*count);
                if range & !*known != 0 {
                    self.n_edges += u64::from(*known == 0);
                    *known |= range;
                    is_new = true;
                }
            }
        }
        is_new
    }

    /// Looks at all counters: whether executions since it was last asked went where none went before. What they took there is told by
    /// [`Cover::take`] when they are run once more.
    pub fn widen(&mut self) -> bool {
        let n = self.live.len();
        let (live, rest) = self.rest.iter().partition(|block| block.counters().iter().fold(0, |any, count| any | count) != 0);
        self.live.extend::<Vec<Block>>(live);
        self.rest = rest;
        self.live.len() > n
    }

    /// Edges that were taken so far.
    pub fn n_edges(&self) -> u64 {
        self.n_edges
    }
}

/// How often, as one of eight ranges, one bit each.
fn range_of(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..8 => 8,
        8..16 => 16,
        16..32 => 32,
        32..128 => 64,
        _ => 128,
    }
}
