//! What outlives a machine: the model, what each client remembers, and the run's ledger of what happened.

use crate::{
    baton,
    bugs::Bug,
    disk::WorldDisk,
    model::{Model, Vector},
    past::Past,
    scenario::Draw,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

/// What a client remembers from one machine to the next.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Its chance.
    pub draw: Draw,
    /// What it has seen, as the system says it, and as the model does.
    pub token: Option<String>,
    /// By client.
    pub floor: Vector,
    /// Its views by number of their query: true when it is certain that they are there.
    pub views: BTreeMap<usize, bool>,
}

/// See the module's header. Nothing that hands on the baton is called while something here is locked.
pub struct Shared {
    /// What must be there.
    pub model: Mutex<Model>,
    /// By client.
    pub memory: Mutex<Vec<Memory>>,
    /// The last token that somebody gave away, with what it stands for.
    pub post: Mutex<Option<(String, Vector)>>,
    /// What epochs held.
    pub past: Mutex<Past>,
    /// How many commits back AS OF EPOCH reads, at least.
    pub kept: u64,
    /// Whether the relations are there.
    pub is_set_up: AtomicBool,
    /// The disk.
    pub disk: std::sync::Arc<WorldDisk>,
    /// What is planted in a test of the harness.
    pub bug: Option<Bug>,
    counts: Mutex<BTreeMap<String, u64>>,
    violations: Mutex<Vec<String>>,
    told: bool,
}

/// A lock whose holder panicked holds what it held.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Nothing has happened.
    pub fn new(seed: u64, clients: usize, kept: u64, bug: Option<Bug>, told: bool) -> Shared {
        let memory = |at: usize| Memory {
            draw: Draw(seed.wrapping_mul(31).wrapping_add(at as u64 + 1)),
            token: None,
            floor: vec![0; clients],
            views: BTreeMap::new(),
        };
        Shared {
            model: Mutex::new(Model::new(clients)),
            memory: Mutex::new((0..clients).map(memory).collect()),
            post: Mutex::new(None),
            past: Mutex::default(),
            kept,
            is_set_up: AtomicBool::new(false),
            disk: WorldDisk::new(seed, bug),
            bug,
            counts: Mutex::default(),
            violations: Mutex::default(),
            told,
        }
    }

    /// One more of something.
    pub fn count(&self, what: &str) {
        self.count_n(what, 1);
    }

    /// So many more of something.
    pub fn count_n(&self, what: &str, n: u64) {
        *lock(&self.counts).entry(what.to_owned()).or_default() += n;
    }

    /// How many of something.
    pub fn counted(&self, what: &str) -> u64 {
        lock(&self.counts).get(what).copied().unwrap_or(0)
    }

    /// All counts.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.counts).clone()
    }

    /// A promise was broken.
    pub fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        self.tell(&format!("VIOLATION {what}"));
        lock(&self.violations).push(what.replace('\n', " "));
    }

    /// Broken promises.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    /// Puts a line into the trace, and on standard error if that is wanted.
    pub fn tell(&self, line: &str) {
        baton::note(baton::word(line.as_bytes()));
        if self.told {
            eprintln!("@{} {line}", baton::now_ns() / 1000);
        }
    }
}
