//! What a write is told when views hold nearly all the memory that they may: it waits a little, and beyond the budget it is refused.
//!
//! What spills sees to itself; this is for what cannot: published rows, and operators that keep everything in memory. Refusing comes before the
//! kernel ends the process. Statements that make less of it are never held up: DROP, DELETE, and whatever only reads.
//! [`decide`] is pure.

use crate::error::{Error, sqlstate as code};
use regauge_types::ErrorKind;
use std::time::Duration;

/// A budget below this is taken for this: next to it the memory of blocks and batches is more than that of the state.
const BYTES_MIN: usize = 16 << 20;
/// From this many hundredths of the budget on writes wait.
const SLOW_PERCENT: usize = 85;
/// The longest that a write waits.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// It goes on.
    None,
    /// It goes on after this.
    Wait(Duration),
    /// It fails.
    Refuse,
}

/// With so many bytes held, and so many that may be.
#[must_use]
pub fn decide(held: usize, budget: usize) -> Pressure {
    let budget = budget.max(BYTES_MIN);
    let slow = budget / 100 * SLOW_PERCENT;
    if held > budget {
        return Pressure::Refuse;
    }
    let part = held.saturating_sub(slow) as u128 * WAIT_MAX.as_micros() / (budget - slow).max(1) as u128;
    match u64::try_from(part).unwrap_or(u64::MAX) {
        0 => Pressure::None,
        us => Pressure::Wait(Duration::from_micros(us)),
    }
}

/// What a refused write is told.
#[must_use]
pub fn refused(held: usize, budget: usize) -> Error {
    let message = format!("views hold more memory than they may held={held} memory={budget}");
    Error::new(ErrorKind::Exhausted, code::OUT_OF_MEMORY, message)
        .hint("drop a view or delete rows (regauge.operators shows state_bytes), or start the server with a larger --memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_wait_longer_the_less_is_left_and_are_refused_beyond_it() {
        let budget = 1000 << 20;
        assert_eq!(decide(800 << 20, budget), Pressure::None);
        let wait = |held: usize| match decide(held << 20, budget) {
            Pressure::Wait(time) => time,
            other => panic!("{other:?}"),
        };
        assert!(wait(900) < wait(950) && wait(1000) <= WAIT_MAX, "{:?}", wait(950));
        assert_eq!(decide(1001 << 20, budget), Pressure::Refuse);
        assert_eq!(decide(1 << 20, 1), Pressure::None, "what is little is let be");
    }
}
