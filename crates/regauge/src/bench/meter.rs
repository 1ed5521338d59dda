//! What a stretch of work cost: CPU time of the whole process (every thread, user and system), wall time, peak memory.
//!
//! Peak memory is the kernel's high-water mark (`VmHWM`), which exists on Linux only; elsewhere it is null, never a guess.

use cpu_time::ProcessTime;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// From here on.
pub struct Meter {
    cpu: ProcessTime,
    wall: Instant,
    stolen: Option<Duration>,
}

/// Up to here.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Of all threads.
    pub cpu: Duration,
    /// On the clock.
    pub wall: Duration,
    /// What this machine's host gave to others meanwhile, of all cores, as far as it says so; whatever is measured stood still then. Linux only.
    pub stolen: Option<Duration>,
}

impl Meter {
    pub fn start() -> Meter {
        Meter { cpu: ProcessTime::now(), wall: Instant::now(), stolen: stolen() }
    }

    pub fn stop(&self) -> Cost {
        let stolen = stolen().zip(self.stolen).map(|(now, before)| now.saturating_sub(before));
        Cost { cpu: self.cpu.elapsed(), wall: self.wall.elapsed(), stolen }
    }
}

impl Cost {
    /// CPU seconds for a million of `n`.
    pub fn cpu_s_per_million(&self, n: usize) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / n.max(1) as f64
    }

    /// As fields of a report.
    pub fn json(&self) -> Value {
        let stolen = self.stolen.map(|s| s.as_secs_f64());
        json!({ "cpu_s": self.cpu.as_secs_f64(), "wall_s": self.wall.as_secs_f64(), "stolen_s": stolen })
    }
}

/// Since the machine was started: the eighth number of the first line of /proc/stat, in hundredths of a second.
fn stolen() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: u64 = text.lines().next()?.split_whitespace().nth(8)?.parse().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// A line of /proc/self/status, in bytes.
fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|l| l.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Most memory that the process ever had.
pub fn peak_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// Memory that the process has now.
pub fn resident_bytes() -> Option<u64> {
    status("VmRSS:")
}

/// CPU seconds of each thread that is alive, summed by name (digits at the end left out). Linux only; empty elsewhere.
pub fn threads() -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).ok();
        let (Some(name), Some(times)) = (read("comm"), read("schedstat")) else { continue };
        let name = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
        let ns: f64 = times.split_whitespace().next().and_then(|t| t.parse().ok()).unwrap_or(0.0);
        *sums.entry(name).or_default() += ns / 1e9;
    }
    sums
}

/// What threads did between two looks.
pub fn between(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Value {
    let spent = after.iter().map(|(name, s)| (name.clone(), json!(s - before.get(name).copied().unwrap_or(0.0))));
    Value::Object(spent.collect())
}
