//! What a query may hold in memory: a limit of its own, and one that all queries of an instance share.
//!
//! Invariant: what is reserved here is reserved in both, or in neither; what is left of a query goes back to both when it ends,
//! because its reservations are given back as they are dropped. Nothing spills: a query that needs more fails, alone and typed.
//! Operators of views do not count here, their budget is another one.

use datafusion::{
    common::Result,
    execution::memory_pool::{GreedyMemoryPool, MemoryLimit, MemoryPool, MemoryReservation},
};
use std::{fmt, sync::Arc};

/// One query's budget.
#[derive(Debug)]
pub(super) struct Budget {
    own: GreedyMemoryPool,
    own_bytes: usize,
    shared: Arc<GreedyMemoryPool>,
}

impl Budget {
    /// At most `own_bytes`, and no more than is left of what all share.
    pub(super) fn new(own_bytes: usize, shared: Arc<GreedyMemoryPool>) -> Budget {
        Budget { own: GreedyMemoryPool::new(own_bytes), own_bytes, shared }
    }
}

impl MemoryPool for Budget {
    fn name(&self) -> &'static str {
        "memory of a query"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.shared.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.shared.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional)?;
        self.shared.try_grow(reservation, additional).inspect_err(|_| self.own.shrink(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.own_bytes)
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} of {} bytes", self.name(), self.own.reserved(), self.own_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};
    use std::sync::Arc;

    #[test]
    fn both_limits_hold_and_a_refusal_reserves_in_neither() {
        let shared = Arc::new(GreedyMemoryPool::new(150));
        let budget = || -> Arc<dyn MemoryPool> { Arc::new(Budget::new(100, Arc::clone(&shared))) };
        let (a, b) = (budget(), budget());
        let (mine, other) = (MemoryConsumer::new("a").register(&a), MemoryConsumer::new("b").register(&b));
        assert!(mine.try_grow(101).is_err(), "its own limit");
        mine.try_grow(100).unwrap();
        assert!(other.try_grow(51).is_err(), "what all share");
        assert_eq!((b.reserved(), shared.reserved()), (0, 100));
        other.try_grow(50).unwrap();
        drop(mine);
        assert_eq!((a.reserved(), shared.reserved()), (0, 50));
    }
}
