//! Independent pieces of work on several threads, their results in order.
//!
//! The calling thread works, too; whoever is done takes the next piece. A panic of a piece is an error of all. Cost: a thread each time, so it is for
//! work of milliseconds and more.

use crate::env::Threads;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

struct Shared<T, R> {
    waiting: VecDeque<(usize, T)>,
    done: Vec<(usize, R)>,
    panicked: bool,
}

fn work_off<T, R>(shared: &Mutex<Shared<T, R>>, work: &impl Fn(T) -> R) {
    loop {
        let Some((no, piece)) = shared.lock().waiting.pop_front() else { return };
        let Ok(result) = catch_unwind(AssertUnwindSafe(|| work(piece))) else {
            let mut shared = shared.lock();
            (shared.panicked, shared.waiting) = (true, VecDeque::new());
            return;
        };
        shared.lock().done.push((no, result));
    }
}

/// What `work` makes of each piece, by at most `n` threads at a time. A thread that cannot be had is done without.
///
/// Errors: a piece panicked; what others made is lost.
pub fn side_by_side<T, R>(
    threads: &Arc<dyn Threads>,
    n: usize,
    pieces: Vec<T>,
    work: impl Fn(T) -> R + Send + Sync + 'static,
) -> Result<Vec<R>, String>
where
    T: Send + 'static,
    R: Send + 'static,
{
    let n_others = n.min(pieces.len()).saturating_sub(1);
    let (waiting, done) = (pieces.into_iter().enumerate().collect(), Vec::new());
    let shared = Arc::new(Mutex::new(Shared { waiting, done, panicked: false }));
    let work = Arc::new(work);
    let mut others = Vec::with_capacity(n_others);
    for no in 0..n_others {
        let (shared, work) = (Arc::clone(&shared), Arc::clone(&work));
        let Ok(thread) = threads.spawn(&format!("regauge-piece-{no}"), Box::new(move || work_off(&shared, &*work))) else {
            break;
        };
        others.push(thread);
    }
    work_off(&shared, &*work);
    others.into_iter().try_for_each(|thread| thread.join())?;
    let mut shared = shared.lock();
    if shared.panicked {
        return Err("a piece of work panicked".to_owned());
    }
    let mut done = std::mem::take(&mut shared.done);
    done.sort_unstable_by_key(|(no, _)| *no);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_are_in_order_and_each_piece_is_done_once() {
        let threads = Env::real().threads;
        for (n, n_pieces) in [(0, 0), (1, 5), (2, 0), (2, 1), (3, 1000), (8, 3)] {
            let count = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&count);
            let work = move |piece: usize| {
                counted.fetch_add(1, Ordering::SeqCst);
                piece * 2
            };
            let results = side_by_side(&threads, n, (0..n_pieces).collect(), work).unwrap();
            assert_eq!(results, (0..n_pieces).map(|i| i * 2).collect::<Vec<_>>(), "n={n}");
            assert_eq!(count.load(Ordering::SeqCst), n_pieces);
        }
    }

    #[test]
    fn a_piece_that_panics_is_an_error() {
        let threads = Env::real().threads;
        for n in [1, 3] {
            let error = side_by_side(&threads, n, (0..100).collect(), |i| assert_ne!(i, 50)).unwrap_err();
            assert!(error.contains("panicked"), "{error}");
        }
    }
}
