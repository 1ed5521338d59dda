//! A flow's state at the end of one epoch, gathered from all its workers while they go on.
//!
//! ```text
//!   save(E) then feed(E):   each stage of each worker, as it closes E ─▶ images ─▶ [`Saving`] ─▶ whoever waits, on another thread
//! ```
//! Invariant: what is gathered is the state when exactly the epochs up to E are in: a stage hands it over after it has closed E and before
//! it takes a row of what follows. A node that did nothing since the save before says so and copies nothing. Cost to the workers: a copy
//! of what is kept, between two epochs of the flow; other flows wait for it, too. A save that fails is an error of whoever asked for
//! it and of nobody else. It does not know files.

use crate::image::Image;
use parking_lot::{Condvar, Mutex};
use regauge_state::trace::RowError;
use regauge_types::Delta;
use std::{collections::BTreeMap, time::Duration};

/// What a node of a plan holds on one worker.
#[derive(Clone, Debug)]
pub struct NodeImages {
    /// The plan's node.
    pub node: usize,
    /// The worker.
    pub worker: usize,
    /// Its images; `None` if they are those of the save before.
    pub images: Option<Vec<Image>>,
}

#[derive(Default)]
struct State {
    left: usize,
    nodes: Vec<NodeImages>,
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
    pub(super) fn give(&self, given: Result<Vec<NodeImages>, String>) {
        let mut state = self.state.lock();
        state.left = state.left.saturating_sub(1);
        match given {
            Ok(nodes) => state.nodes.extend(nodes),
            Err(why) => drop(state.failed.get_or_insert(why)),
        }
        self.moved.notify_all();
    }

    /// All of it, or why there is none; `None` if it is not complete in time. It is handed out once.
    pub fn wait(&self, time: Duration) -> Option<Result<Vec<NodeImages>, String>> {
        let mut state = self.state.lock();
        self.moved.wait_while_for(&mut state, |s| s.left > 0 && s.failed.is_none(), time);
        if let Some(why) = &state.failed {
            return Some(Err(why.clone()));
        }
        (state.left == 0).then(|| Ok(std::mem::take(&mut state.nodes)))
    }
}

/// What a flow is started with instead of its past.
#[derive(Clone, Debug, Default)]
pub struct Restore {
    /// Images of each node, of all workers that saved them.
    pub images: BTreeMap<usize, Vec<Image>>,
    /// What its trace held.
    pub rows: Vec<Delta>,
    /// Rows that failed.
    pub errors: Vec<(RowError, i64)>,
}
