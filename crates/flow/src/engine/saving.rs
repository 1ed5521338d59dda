//! A flow's state at the end of one epoch, gathered from all its workers while they go on.
//!
//! ```text
//!   save(E) then feed(E):   each stage of each worker, as it closes E ─▶ images ─▶ [`Saving`] ─▶ whoever waits, on another thread
//! ```
//! Invariant: what is gathered is the state when exactly the epochs up to E are in: a stage hands it over after it has closed E and before
//! it takes a row of what follows. Most operators remember what changed since the save before, and hand over that; the first time they are
//! copied bucket by bucket between epochs ([`super::Engine::prepare`]), remembering what changes meanwhile, so the end of E waits for
//! changes only. Those that do not remember are copied whole if they did anything. A save that fails is an error of whoever asked for it
//! and of nobody else. It does not know files.

use crate::image::{Image, Of, Step};
use crate::spill::Copied;
use parking_lot::{Condvar, Mutex};
use regauge_state::trace::RowError;
use regauge_types::{Delta, Epoch};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// What a node says of its state.
#[derive(Clone, Debug)]
pub enum Given {
    /// It is that of the save before; said by nodes that do not remember changes.
    Same,
    /// This, whatever was before.
    Whole(Vec<Image>),
    /// This, whatever was before; it is more than there is memory for.
    Copied(Arc<Copied>),
    /// That of the save before on all workers, with these changes of this one.
    Changes(Vec<Image>),
}

/// What a node of a plan holds on one worker.
#[derive(Clone, Debug)]
pub struct NodeImages {
    /// The plan's node.
    pub node: usize,
    /// The worker.
    pub worker: usize,
    /// Its state.
    pub given: Given,
}

/// What one stage of one worker hands over.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub nodes: Vec<NodeImages>,
    /// Of the stage that has the output: what it published since the save before, if that is known.
    pub rows: Option<Option<Vec<Delta>>>,
    /// Which worker did nothing else, and for how long.
    pub pause: (usize, Duration),
}

/// A flow's state.
#[derive(Debug, Default)]
pub struct Saved {
    /// Of all nodes that keep something.
    pub nodes: Vec<NodeImages>,
    /// How the output differs from the save before; `None`: read all of it.
    pub rows: Option<Vec<Delta>>,
    /// For how long each worker did nothing else at the epoch's end.
    pub pauses: BTreeMap<usize, Duration>,
}

#[derive(Default)]
struct State {
    left: usize,
    saved: Saved,
    is_all_new: bool,
    failed: Option<String>,
}

/// See the module's header.
pub struct Saving {
    /// Names this save; ascends.
    pub(super) no: u64,
    /// The last save of the flow that is kept by whoever asks: what did not change since need not be given again.
    pub(super) base: Option<u64>,
    state: Mutex<State>,
    moved: Condvar,
}

impl Saving {
    pub(super) fn new(no: u64, base: Option<u64>, n_stages: usize) -> Saving {
        Saving { no, base, state: Mutex::new(State { left: n_stages, ..State::default() }), moved: Condvar::new() }
    }

    /// One stage of one worker has handed its part over.
    pub(super) fn give(&self, given: Result<Part, String>) {
        let mut state = self.state.lock();
        state.left = state.left.saturating_sub(1);
        match given {
            Ok(Part { nodes, rows, pause }) => {
                state.saved.nodes.extend(nodes);
                *state.saved.pauses.entry(pause.0).or_default() += pause.1;
                match rows {
                    Some(Some(rows)) => state.saved.rows.get_or_insert_default().extend(rows),
                    Some(None) => state.is_all_new = true,
                    None => {}
                }
            }
            Err(why) => drop(state.failed.get_or_insert(why)),
        }
        self.moved.notify_all();
    }

    /// All of it, or why there is none; `None` if it is not complete in time. It is handed out once.
    pub fn wait(&self, time: Duration) -> Option<Result<Saved, String>> {
        let mut state = self.state.lock();
        self.moved.wait_while_for(&mut state, |s| s.left > 0 && s.failed.is_none(), time);
        if let Some(why) = &state.failed {
            return Some(Err(why.clone()));
        }
        (state.left == 0).then(|| {
            let saved = std::mem::take(&mut state.saved);
            Ok(if state.is_all_new { Saved { rows: None, ..saved } } else { saved })
        })
    }
}

/// Copies of a flow that are begun ahead of its first save.
#[derive(Default)]
pub struct Preparing {
    left: AtomicUsize,
}

impl Preparing {
    pub(super) fn new(n_stages: usize) -> Preparing {
        Preparing { left: AtomicUsize::new(n_stages) }
    }

    /// One stage of one worker is through, or will never be.
    pub(super) fn done(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a save would wait for changes only.
    pub fn is_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

/// An image that is read when it is needed: there may not be memory for all at once.
#[derive(Clone)]
pub struct Later {
    /// Whose it is.
    pub of: Of,
    /// What it says of those before it.
    pub step: Step,
    /// Reads it.
    pub read: Arc<dyn Fn() -> Result<Image, String> + Send + Sync>,
}

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Later").field("of", &self.of).field("step", &self.step).finish_non_exhaustive()
    }
}

/// What a flow is started with instead of its past.
#[derive(Clone, Debug, Default)]
pub struct Restore {
    /// Images of each node, of all workers that saved them.
    pub images: BTreeMap<usize, Vec<Image>>,
    /// Of other nodes likewise, not read yet.
    pub later: BTreeMap<usize, Vec<Later>>,
    /// What its trace held.
    pub rows: Vec<Delta>,
    /// Rows that failed.
    pub errors: Vec<(RowError, i64)>,
    /// The epoch that it is of, if its past goes on behind that; none: it has all of its past.
    pub at: Option<Epoch>,
}
