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
