//! Which edges of our crates an execution took: counters that LLVM's SanitizerCoverage puts into code that was built for it
//! (`-Cpasses=sancov-module`, in the stable compiler). Each piece of code that was compiled so announces its counters before `main`.
//!
//! Cost: one pass over all counters per execution, 32 at a time; most are 0.

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

/// What was ever seen: of each edge, in which ranges of how often.
#[derive(Default)]
pub struct Cover {
    seen: Vec<u8>,
    n_edges: u64,
}

impl Cover {
    /// Begins an execution.
    pub fn clear() {
        for counters in pieces() {
            counters.fill(0);
        }
    }

    /// Ends one: whether it took an edge that none took before, or took one so often as none did.
    pub fn take(&mut self) -> bool {
        let mut is_new = false;
        let mut at = 0;
        for counters in pieces() {
            let n = counters.len();
            if self.seen.len() < at + n {
                self.seen.resize(at + n, 0);
            }
            let seen = &mut self.seen[at..at + n];
            at += n;
            let mut look = |from: usize, some: &[u8]| {
                for (count, known) in some.iter().zip(&mut seen[from..]) {
                    let range = range_of(*count);
                    if range & !*known != 0 {
                        self.n_edges += u64::from(*known == 0);
                        *known |= range;
                        is_new = true;
                    }
                }
            };
            // SAFETY: any eight bytes are a number.
            let (head, words, _) = unsafe { counters.align_to::<u64>() };
            look(0, head);
            let mut from = head.len();
            for four in words.chunks(4) {
                let end = from + four.len() * 8;
                if four.iter().fold(0, |any, word| any | word) != 0 {
                    look(from, &counters[from..end]);
                }
                from = end;
            }
            look(from, &counters[from..]);
        }
        is_new
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

fn pieces() -> impl Iterator<Item = &'static mut [u8]> {
    let pieces = PIECES.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // SAFETY: counters are statics of this program; whoever counts at the same time adds to a byte or loses an addition.
    pieces.into_iter().map(|(start, n)| unsafe { slice::from_raw_parts_mut(std::ptr::with_exposed_provenance_mut(start), n) })
}
