//! `WITH (recursion_steps = .., recursion_rows = ..)`: when a recursion of a materialized view is given up.

use crate::error::{Error, Result, sqlstate as code};
use regauge_plan::flowplan::RecursionLimits;
use std::collections::BTreeMap;

/// Takes the options out of those of a view.
pub fn option(options: &mut BTreeMap<String, String>) -> Result<RecursionLimits> {
    let mut limits = RecursionLimits::default();
    for (name, limit) in [("recursion_steps", &mut limits.steps), ("recursion_rows", &mut limits.rows)] {
        let Some(text) = options.remove(name) else { continue };
        // a level is counted in 32 bits
        *limit = text.parse().ok().filter(|n| (1..=1 << 31).contains(n)).ok_or_else(|| {
            Error::invalid(code::INVALID_PARAMETER, format!("{name} is not a number from 1 to 2147483648 {name}={text}"))
        })?;
    }
    Ok(limits)
}
