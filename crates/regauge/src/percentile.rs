//! Percentiles of times that were measured.

use std::time::Duration;

/// The `p`-th percentile in milliseconds; 0 when there is nothing.
pub fn percentile_ms(times: &[Duration], p: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * p / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |d| d.as_secs_f64() * 1e3)
}
