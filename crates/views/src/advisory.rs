//! Advisory locks: numbers that sessions agree on and that mean nothing to the instance (`pg_advisory_lock` and its kin), tables
//! among those who say LOCK TABLE, and rows among those who say FOR UPDATE.
//!
//! ```text
//!   lock ─▶ nobody holds or awaits what it conflicts with? ─▶ held, by the session or by the transaction
//!                    └─ else it stands in line: granted in the order of arrival, or left when its future is dropped
//! ```
//! Invariant: of two sessions that hold one key neither holds it exclusively. A session is never in its own way: it takes again what
//! it holds, and gives back as often. Who would wait in a circle is told at once instead of waiting. Nothing of this outlives the process,
//! which is all that an advisory lock promises. Cost: one mutex for the whole instance, held for a walk over one key's holders; a
//! wait walks everybody who waits. It does not know: transactions, statements, clocks.

use parking_lot::Mutex;
use regauge_types::TopicId;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::oneshot;

/// What is locked. Numbers of 64 bits and pairs of 32 bits are different keys, whatever their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `pg_advisory_lock(bigint)`.
    One(i64),
    /// `pg_advisory_lock(int, int)`.
    Pair(i32, i32),
    /// LOCK TABLE.
    Table(TopicId),
    /// FOR UPDATE: a table's key by its hash. Of two keys with one hash one is taken for the other while both are locked.
    Row(TopicId, u64),
}

/// Whether others may hold it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Nobody else.
    Exclusive,
    /// Others who share.
    Shared,
}

impl Mode {
    fn conflicts(self, other: Mode) -> bool {
        self == Mode::Exclusive || other == Mode::Exclusive
    }
}

/// A session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(u64);

/// How long a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the session gives it back, or ends.
    Unlocked,
    /// Until this transaction ends.
    End(Scope),
}

/// A transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(u64);

/// Why a lock is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Waiting would never end.
    Deadlock,
    /// [`HELD_MAX`] are held.
    Full,
}

/// What the instance remembers of locks that are held, over all sessions: some 30 MB.
pub const HELD_MAX: usize = 65_536;

/// All advisory locks of an instance.
#[derive(Debug, Default)]
pub struct Locks {
    table: Mutex<Table>,
    numbers: AtomicU64,
    /// Transactions that hold something: most hold nothing, and end without the mutex.
    n_scopes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    /// How often each session holds a key.
    held: BTreeMap<Key, BTreeMap<(Owner, Mode), u32>>,
    /// How often of that for the session itself.
    kept: HashMap<Owner, BTreeMap<(Key, Mode), u32>>,
    /// Of transactions, in the order in which they were taken.
    scopes: HashMap<Scope, (Owner, Taken)>,
    /// In the order of arrival.
    waiting: Vec<Waiting>,
    /// Entries of `held` and of `scopes`.
    n_entries: usize,
}

/// What a transaction took, each once: it does not give back by itself.
#[derive(Debug, Default)]
struct Taken {
    order: Vec<(Key, Mode)>,
    has: BTreeSet<(Key, Mode)>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    owner: Owner,
    key: Key,
    mode: Mode,
    until: Until,
    granted: oneshot::Sender<()>,
}

impl Locks {
    /// A session that holds nothing yet.
    pub fn owner(&self) -> Owner {
        Owner(self.number())
    }

    /// A transaction that holds nothing yet; what its session holds for itself is held as long.
    pub fn scope(self: &Arc<Self>, own: Option<Arc<Own>>) -> Held {
        Held { locks: self.clone(), scope: Scope(self.number()), ended: Arc::default(), _own: own }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes a lock if that needs no waiting.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub fn try_lock(&self, owner: Owner, key: Key, mode: Mode, until: Until) -> Result<bool, Refused> {
        let mut table = self.table.lock();
        let free = table.is_free(owner, key, mode, table.waiting.len());
        if free && table.n_entries >= HELD_MAX {
            return Err(Refused::Full);
        }
        if free {
            table.grant(owner, key, mode, until);
        }
        self.n_scopes.store(table.scopes.len(), Ordering::SeqCst);
        Ok(free)
    }

    /// Holds a row if nobody else does, as far as there is room: half of [`HELD_MAX`] is for rows. Whether nobody else holds it. Who does not
    /// have to hold it is judged by its commit alone where there is no room.
    ///
    /// # Errors
    /// [`Refused::Full`], of one that has to.
    pub fn try_row(&self, owner: Owner, key: Key, mode: Mode, until: Until, has_to: bool) -> Result<bool, Refused> {
        let mut table = self.table.lock();
        let free = table.is_free(owner, key, mode, 0);
        let full = table.n_entries >= HELD_MAX / 2;
        if free && full && has_to {
            return Err(Refused::Full);
        }
        if free && !full {
            table.grant(owner, key, mode, until);
        }
        self.n_scopes.store(table.scopes.len(), Ordering::SeqCst);
        Ok(free)
    }

    /// How many rows of a table are held.
    #[must_use]
    pub fn n_rows(&self, topic: TopicId) -> usize {
        self.table.lock().held.range(Key::Row(topic, 0)..=Key::Row(topic, u64::MAX)).count()
    }

    /// Takes a lock, waiting for it. Dropping the future leaves the line.
    ///
    /// # Errors
    /// [`Refused::Deadlock`] when those who are in its way wait for this session; [`Refused::Full`].
    pub async fn lock(self: &Arc<Self>, owner: Owner, key: Key, mode: Mode, until: Until) -> Result<(), Refused> {
        if self.try_lock(owner, key, mode, until)? {
            return Ok(());
        }
        let (granted, heard) = oneshot::channel();
        let number = self.number();
        {
            let mut table = self.table.lock();
            table.waiting.push(Waiting { number, owner, key, mode, until, granted });
            if table.waits_for_itself(owner) {
                table.waiting.retain(|w| w.number != number);
                return Err(Refused::Deadlock);
            }
            // What was in the way may have gone between the two.
            table.serve(key);
        }
        let mut place = Place { locks: self.clone(), number, owner, key, mode, until, over: false };
        // The other end is in the table until it is granted, and nobody but the place takes it out.
        let _ = heard.await;
        place.over = true;
        self.n_scopes.store(self.table.lock().scopes.len(), Ordering::SeqCst);
        Ok(())
    }

    /// Gives back what the session itself holds, once; whether it held it.
    pub fn unlock(&self, owner: Owner, key: Key, mode: Mode) -> bool {
        let mut table = self.table.lock();
        let had = table.unlock(owner, key, mode);
        if had {
            table.serve(key);
        }
        had
    }

    /// Gives back all that the session itself holds; its transactions keep theirs.
    pub fn unlock_all(&self, owner: Owner) {
        let mut table = self.table.lock();
        let kept = table.kept.remove(&owner).unwrap_or_default();
        for ((key, mode), n) in kept {
            (0..n).for_each(|_| table.release(owner, key, mode));
            table.serve(key);
        }
    }

    fn shrink(&self, scope: Scope, len: usize) {
        if self.n_scopes.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut table = self.table.lock();
        let Some((owner, taken)) = table.scopes.get_mut(&scope) else { return };
        let (owner, gone) = (*owner, taken.order.split_off(len.min(taken.order.len())));
        for one in &gone {
            taken.has.remove(one);
        }
        if taken.order.is_empty() {
            table.scopes.remove(&scope);
        }
        table.n_entries -= gone.len();
        for (key, mode) in &gone {
            table.release(owner, *key, *mode);
        }
        for key in gone.into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>() {
            table.serve(key);
        }
        self.n_scopes.store(table.scopes.len(), Ordering::SeqCst);
    }

    /// Gives back what a transaction took after its end: work of it that was cut off may still have been under way.
    pub fn end(&self, scope: Scope) {
        self.shrink(scope, 0);
    }
}

/// What a transaction holds; dropped with it.
#[derive(Debug)]
pub struct Held {
    locks: Arc<Locks>,
    /// The transaction.
    pub scope: Scope,
    /// Whether it has ended. Who takes a lock for it looks at this afterwards, and gives back what nobody else would.
    pub ended: Arc<AtomicBool>,
    /// Dropped after what the transaction holds.
    _own: Option<Arc<Own>>,
}

/// What a session holds for itself: given back when nobody has this any more, that is when the session has ended, and with it the last
/// commit of its that was under way. Who gets one of its locks sees what it has committed, whether or not anybody waited for that.
#[derive(Debug)]
pub struct Own {
    locks: Arc<Locks>,
    owner: Owner,
}

impl Own {
    /// A session's, which holds nothing yet.
    pub fn new(locks: Arc<Locks>, owner: Owner) -> Arc<Own> {
        Arc::new(Own { locks, owner })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.locks.unlock_all(self.owner);
    }
}

impl Held {
    /// How much it has taken so far.
    #[must_use]
    pub fn n_taken(&self) -> usize {
        self.locks.table.lock().scopes.get(&self.scope).map_or(0, |(_, taken)| taken.order.len())
    }

    /// Gives back what it took after it had so much: ROLLBACK TO.
    pub fn truncate(&self, len: usize) {
        self.locks.shrink(self.scope, len);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        self.truncate(0);
    }
}

/// A place in the line.
struct Place {
    locks: Arc<Locks>,
    number: u64,
    owner: Owner,
    key: Key,
    mode: Mode,
    until: Until,
    over: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut table = self.locks.table.lock();
        let n = table.waiting.len();
        table.waiting.retain(|w| w.number != self.number);
        if table.waiting.len() == n {
            // It was granted, and nobody was there any more to hear of it.
            table.take_back(self.owner, self.key, self.mode, self.until);
        }
        table.serve(self.key);
    }
}

impl Table {
    fn holds(&self, owner: Owner, key: Key) -> bool {
        self.held.get(&key).is_some_and(|all| all.keys().any(|(of, _)| *of == owner))
    }

    /// Whether nobody else is in the way: of those who wait, the first so many are before it.
    fn is_free(&self, owner: Owner, key: Key, mode: Mode, before: usize) -> bool {
        self.in_the_way(owner, key, mode, before).next().is_none()
    }

    fn in_the_way(&self, owner: Owner, key: Key, mode: Mode, before: usize) -> impl Iterator<Item = Owner> + '_ {
        let holders = self.held.get(&key).into_iter().flat_map(|all| all.keys());
        let holders = holders.filter(move |(of, held)| *of != owner && held.conflicts(mode)).map(|(of, _)| *of);
        // Who holds the key already does not stand in line behind those who wait for it.
        let before = if self.holds(owner, key) { 0 } else { before };
        let ahead = self.waiting.iter().take(before);
        let ahead = ahead.filter(move |w| w.key == key && w.owner != owner && w.mode.conflicts(mode)).map(|w| w.owner);
        holders.chain(ahead)
    }

    fn grant(&mut self, owner: Owner, key: Key, mode: Mode, until: Until) {
        match until {
            Until::Unlocked => {
                let n = self.kept.entry(owner).or_default().entry((key, mode)).or_default();
                let Some(more) = n.checked_add(1) else { return };
                *n = more;
            }
            Until::End(scope) => {
                let (_, taken) = self.scopes.entry(scope).or_insert_with(|| (owner, Taken::default()));
                if !taken.has.insert((key, mode)) {
                    return;
                }
                taken.order.push((key, mode));
                self.n_entries += 1;
            }
        }
        let n = self.held.entry(key).or_default().entry((owner, mode)).or_default();
        self.n_entries += usize::from(*n == 0);
        *n = n.saturating_add(1);
    }

    /// Takes a grant back.
    fn take_back(&mut self, owner: Owner, key: Key, mode: Mode, until: Until) {
        match until {
            Until::Unlocked => drop(self.unlock(owner, key, mode)),
            Until::End(scope) => {
                let Some((_, taken)) = self.scopes.get_mut(&scope) else { return };
                if let Some(at) = taken.order.iter().rposition(|of| *of == (key, mode)) {
                    taken.order.remove(at);
                    taken.has.remove(&(key, mode));
                    self.n_entries -= 1;
                    self.release(owner, key, mode);
                }
            }
        }
    }

    fn unlock(&mut self, owner: Owner, key: Key, mode: Mode) -> bool {
        let Some(kept) = self.kept.get_mut(&owner) else { return false };
        let Some(n) = kept.get_mut(&(key, mode)) else { return false };
        *n -= 1;
        if *n == 0 {
            kept.remove(&(key, mode));
        }
        if kept.is_empty() {
            self.kept.remove(&owner);
        }
        self.release(owner, key, mode);
        true
    }

    fn release(&mut self, owner: Owner, key: Key, mode: Mode) {
        let Some(all) = self.held.get_mut(&key) else { return };
        if let Some(n) = all.get_mut(&(owner, mode)) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                all.remove(&(owner, mode));
                self.n_entries -= 1;
            }
        }
        if all.is_empty() {
            self.held.remove(&key);
        }
    }

    /// Grants a key to those who wait for it and need not any more.
    fn serve(&mut self, key: Key) {
        let mut at = 0;
        while let Some(w) = self.waiting.get(at) {
            if w.key != key || !self.is_free(w.owner, key, w.mode, at) {
                at += 1;
                continue;
            }
            let w = self.waiting.remove(at);
            self.grant(w.owner, w.key, w.mode, w.until);
            // Who has gone meanwhile takes it back when it is their turn: their place is dropped after this.
            let _ = w.granted.send(());
        }
    }

    /// Whether those who are in a session's way wait, at last, for that session.
    fn waits_for_itself(&self, owner: Owner) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![owner]);
        while let Some(of) = next.pop() {
            for (at, w) in self.waiting.iter().enumerate().filter(|(_, w)| w.owner == of) {
                for other in self.in_the_way(of, w.key, w.mode, at) {
                    if other == owner {
                        return true;
                    }
                    if seen.insert(other) {
                        next.push(other);
                    }
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mode::{Exclusive, Shared};
    use futures::FutureExt;

    const KEY: Key = Key::One(7);
    const KEPT: Until = Until::Unlocked;

    fn took(locks: &Locks, owner: Owner, key: Key, mode: Mode, until: Until) -> bool {
        locks.try_lock(owner, key, mode, until).unwrap()
    }

    #[test]
    fn a_key_is_held_by_one_or_shared_and_given_back_as_often_as_taken() {
        let locks = Arc::new(Locks::default());
        let (a, b) = (locks.owner(), locks.owner());
        assert!(took(&locks, a, KEY, Exclusive, KEPT) && took(&locks, a, KEY, Exclusive, KEPT));
        assert!(took(&locks, a, KEY, Shared, KEPT) && !took(&locks, b, KEY, Shared, KEPT));
        assert!(took(&locks, b, Key::Pair(0, 7), Exclusive, KEPT), "another key");
        assert!(locks.unlock(a, KEY, Exclusive) && !took(&locks, b, KEY, Shared, KEPT));
        assert!(locks.unlock(a, KEY, Exclusive) && !locks.unlock(a, KEY, Exclusive));
        assert!(took(&locks, b, KEY, Shared, KEPT) && !took(&locks, b, KEY, Exclusive, KEPT));
        locks.unlock_all(a);
        assert!(took(&locks, b, KEY, Exclusive, KEPT));
    }

    #[test]
    fn what_a_transaction_took_ends_with_it_and_not_before() {
        let locks = Arc::new(Locks::default());
        let (a, b) = (locks.owner(), locks.owner());
        let held = locks.scope(None);
        let (scope, until) = (held.scope, Until::End(held.scope));
        assert!(took(&locks, a, KEY, Exclusive, until) && !locks.unlock(a, KEY, Exclusive));
        let mark = held.n_taken();
        assert!(took(&locks, a, Key::One(8), Exclusive, until));
        locks.unlock_all(a);
        held.truncate(mark);
        assert!(took(&locks, b, Key::One(8), Exclusive, KEPT) && !took(&locks, b, KEY, Exclusive, KEPT));
        assert!(took(&locks, a, KEY, Exclusive, until), "again");
        assert_eq!(held.n_taken(), mark);
        let ended = held.ended.clone();
        drop(held);
        assert!(took(&locks, b, KEY, Exclusive, KEPT));
        // What is taken for a transaction that has ended is given back by who took it.
        assert!(took(&locks, a, Key::One(9), Exclusive, until) && ended.load(Ordering::SeqCst));
        locks.end(scope);
        assert!(took(&locks, b, Key::One(9), Exclusive, KEPT));
    }

    #[test]
    fn no_more_than_so_many_are_held_and_none_is_forgotten() {
        let locks = Arc::new(Locks::default());
        let (a, b) = (locks.owner(), locks.owner());
        let held = locks.scope(None);
        for n in 0_i64.. {
            // An entry of the key, and one of the transaction.
            match locks.try_lock(a, Key::One(n), Exclusive, if n % 2 == 0 { KEPT } else { Until::End(held.scope) }) {
                Ok(true) => {}
                refused => {
                    assert_eq!((refused, n > 40_000), (Err(Refused::Full), true));
                    break;
                }
            }
        }
        assert_eq!(locks.try_lock(b, Key::One(-1), Exclusive, KEPT), Err(Refused::Full));
        drop(held);
        assert!(took(&locks, b, Key::One(-1), Exclusive, KEPT));
        locks.unlock_all(a);
        locks.unlock_all(b);
        assert_eq!(locks.table.lock().n_entries, 0);
    }

    #[test]
    fn who_waits_is_served_in_order_and_leaves_without_a_trace() {
        let locks = Arc::new(Locks::default());
        let (a, b, c, d) = (locks.owner(), locks.owner(), locks.owner(), locks.owner());
        assert!(took(&locks, a, KEY, Shared, KEPT));
        let mut of_b = Box::pin(locks.lock(b, KEY, Exclusive, KEPT));
        assert_eq!(of_b.as_mut().now_or_never(), None);
        // A reader does not pass a writer who waits.
        let mut of_c = Box::pin(locks.lock(c, KEY, Shared, KEPT));
        assert_eq!(of_c.as_mut().now_or_never(), None);
        assert!(!took(&locks, d, KEY, Shared, KEPT));
        assert!(locks.unlock(a, KEY, Shared));
        assert_eq!(of_b.as_mut().now_or_never(), Some(Ok(())));
        assert_eq!(of_c.as_mut().now_or_never(), None);
        drop(of_c);
        assert!(locks.unlock(b, KEY, Exclusive) && took(&locks, d, KEY, Exclusive, KEPT), "nobody waits any more");
        // Granted to somebody who has gone before hearing of it.
        let mut of_a = Box::pin(locks.lock(a, KEY, Exclusive, KEPT));
        assert_eq!(of_a.as_mut().now_or_never(), None);
        assert!(locks.unlock(d, KEY, Exclusive));
        drop(of_a);
        assert!(took(&locks, b, KEY, Exclusive, KEPT));
    }

    #[test]
    fn a_circle_is_a_deadlock_at_once() {
        let locks = Arc::new(Locks::default());
        let (a, b, c) = (locks.owner(), locks.owner(), locks.owner());
        let key = Key::One;
        for (owner, no) in [(a, 1), (b, 2), (c, 3)] {
            assert!(took(&locks, owner, key(no), Exclusive, KEPT));
        }
        let mut of_a = Box::pin(locks.lock(a, key(2), Exclusive, KEPT));
        let mut of_b = Box::pin(locks.lock(b, key(3), Exclusive, KEPT));
        assert_eq!(of_a.as_mut().now_or_never(), None);
        assert_eq!(of_b.as_mut().now_or_never(), None);
        assert_eq!(locks.lock(c, key(1), Exclusive, KEPT).now_or_never(), Some(Err(Refused::Deadlock)));
        locks.unlock_all(c);
        assert_eq!(of_b.as_mut().now_or_never(), Some(Ok(())));
        locks.unlock_all(b);
        assert_eq!(of_a.as_mut().now_or_never(), Some(Ok(())));
    }
}
