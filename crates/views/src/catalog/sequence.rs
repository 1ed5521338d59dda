//! Sequences as the catalog has them: what they count, and up to which number they may have given.
//!
//! Invariant: a number is given only after the commit that reserves it is durable, so after a crash none is given again; numbers
//! that were reserved and not given are left out then. It does not know who has been given which.

use super::{Name, ObjectId};
use crate::error::{Error, Result, sqlstate as code};
use regauge_plan::parse;
use serde::{Deserialize, Serialize};

/// What a sequence counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceSpec {
    /// Bits of its type: 16, 32 or 64.
    pub bits: u8,
    /// Not 0.
    pub increment: i64,
    /// Least number.
    pub min: i64,
    /// Greatest number.
    pub max: i64,
    /// First number.
    pub start: i64,
    /// Begin again behind the last one.
    #[serde(default)]
    pub cycle: bool,
    /// The relation and the id of the column that it belongs to, and goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<(ObjectId, u32)>,
}

impl SequenceSpec {
    /// PostgreSQL's defaults for what a statement does not say.
    pub fn of(spec: &parse::SequenceSpec, name: &str) -> Result<SequenceSpec> {
        let bad = |message: String| Err(Error::invalid(code::INVALID_PARAMETER, message));
        let bits = spec.bits.unwrap_or(64);
        let (least, greatest) = match bits {
            16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
            32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        let increment = spec.increment.unwrap_or(1);
        if increment == 0 {
            return bad("INCREMENT must not be zero".to_owned());
        }
        let up = increment > 0;
        let min = spec.min.unwrap_or(if up { 1 } else { least });
        let max = spec.max.unwrap_or(if up { greatest } else { -1 });
        if min < least {
            return bad(format!("MINVALUE ({min}) is out of range for sequence \"{name}\""));
        }
        if max > greatest {
            return bad(format!("MAXVALUE ({max}) is out of range for sequence \"{name}\""));
        }
        if min >= max {
            return bad(format!("MINVALUE ({min}) must be less than MAXVALUE ({max})"));
        }
        let start = spec.start.unwrap_or(if up { min } else { max });
        if start < min {
            return bad(format!("START value ({start}) cannot be less than MINVALUE ({min})"));
        }
        if start > max {
            return bad(format!("START value ({start}) cannot be greater than MAXVALUE ({max})"));
        }
        Ok(SequenceSpec { bits, increment, min, max, start, cycle: spec.cycle, owner: None })
    }

    /// The number behind another; none: the sequence is at its end.
    #[must_use]
    pub fn after(&self, last: Option<i64>) -> Option<i64> {
        let Some(last) = last else { return Some(self.start) };
        let next = last.checked_add(self.increment).filter(|n| (self.min..=self.max).contains(n));
        let first = if self.increment > 0 { self.min } else { self.max };
        next.or(self.cycle.then_some(first))
    }
}

/// A sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Stable under rename, never used again.
    pub id: u32,
    /// Its name; no relation of the schema has it.
    pub name: Name,
    /// What it counts.
    pub spec: SequenceSpec,
    /// The last number that may have been given.
    pub reserved: Option<i64>,
    /// How often that was set.
    pub n_reserved: u64,
}

impl Sequence {
    /// The number by which clients know it: no relation has it.
    #[must_use]
    pub fn oid_of(id: u32) -> i64 {
        16_384 + 8 * i64::from(id) + 6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(given: parse::SequenceSpec) -> SequenceSpec {
        SequenceSpec::of(&given, "s").expect("sound")
    }

    #[test]
    fn a_sequence_ends_or_begins_again() {
        let three = spec(parse::SequenceSpec { max: Some(3), ..Default::default() });
        assert_eq!((three.after(None), three.after(Some(2)), three.after(Some(3))), (Some(1), Some(3), None));
        let round = SequenceSpec { cycle: true, ..three };
        assert_eq!(round.after(Some(3)), Some(1));
        let down = spec(parse::SequenceSpec { increment: Some(-2), min: Some(-4), ..Default::default() });
        assert_eq!((down.after(None), down.after(Some(-1)), down.after(Some(-3))), (Some(-1), Some(-3), None));
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        for given in [
            parse::SequenceSpec { increment: Some(0), ..Default::default() },
            parse::SequenceSpec { min: Some(5), max: Some(5), ..Default::default() },
            parse::SequenceSpec { start: Some(0), ..Default::default() },
            parse::SequenceSpec { bits: Some(16), max: Some(40_000), ..Default::default() },
        ] {
            assert!(SequenceSpec::of(&given, "s").is_err(), "{given:?}");
        }
    }
}
