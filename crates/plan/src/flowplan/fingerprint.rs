//! The name of a plan by its content.

use super::FlowPlan;

/// blake3 of a plan's canonical bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl FlowPlan {
    /// The plan's fingerprint: equal plans have equal ones, and only they (up to a collision of blake3).
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(*blake3::hash(&self.to_bytes()).as_bytes())
    }
}

/// Which values built-in functions give: counted up when one of them gives another for the same arguments. 1: until 2026-11-27, when
/// logarithms and powers of numerics, to_char and NULLIF changed. 2: until 2026-11-28, when exact keys of arrays of floats, intervals and jsonb came to order by value first.
const FUNCTIONS: u32 = 3;

impl Fingerprint {
    /// The name of what this build computes by the plan: a checkpoint of a build whose functions gave other values is not gone on from,
    /// since a row that is retracted would not be the one that was added.
    #[must_use]
    pub fn of_state(self) -> [u8; 32] {
        state(self, FUNCTIONS)
    }
}

fn state(plan: Fingerprint, functions: u32) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&plan.0).update(&functions.to_le_bytes());
    *hasher.finalize().as_bytes()
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{FUNCTIONS, Fingerprint, state};

    #[test]
    fn state_is_named_by_plan_and_functions() {
        let (one, other) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        assert_eq!(one.of_state(), state(one, FUNCTIONS));
        assert_ne!(one.of_state(), other.of_state());
        assert_ne!(one.of_state(), state(one, FUNCTIONS + 1));
        assert_ne!(one.of_state(), one.0);
    }
}
