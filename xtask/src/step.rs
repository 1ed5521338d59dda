//! A step: one child process, waited for, its failure an error that names the command; and the
//! times of the steps that ran.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The steps of one run and how long each took.
#[derive(Default)]
pub struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// Runs a step, says its name before and its time after, and stops the run when it fails.
    pub fn run(&mut self, name: &'static str, act: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("== {name}");
        let start = Instant::now();
        let result = act();
        let took = start.elapsed();
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("== {name}: {word} after {:.1} s", took.as_secs_f64());
        self.done.push((name, took));
        result.with_context(|| format!("step {name}"))
    }

    /// One line per step.
    pub fn print(&self) {
        println!("\nall green:");
        for (name, took) in &self.done {
            println!("  {name:<8} {:>8.1} s", took.as_secs_f64());
        }
        let total: Duration = self.done.iter().map(|(_, took)| *took).sum();
        println!("  {:<8} {:>8.1} s", "total", total.as_secs_f64());
    }
}

/// Runs cargo in the workspace with additional environment variables.
pub fn cargo(root: &Path, args: &[&str], env: &[(&'static str, String)]) -> Result<()> {
    // The cargo that started us, so that a toolchain override holds for the children.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root);
    for (name, value) in env {
        command.env(name, value);
    }
    // `cargo run` sets these for us; handed on they would make every build script of the child see
    // another package's name and rebuild.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    wait(&mut command, &format!("cargo {}", args.join(" ")))
}

/// Runs a command to its end with our output; an exit code other than 0 is an error.
pub fn wait(command: &mut Command, what: &str) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run: {what}"))?;
    if !status.success() {
        bail!("failed: {what}, {status}");
    }
    Ok(())
}

/// Whether a command runs and ends well; what it says is not shown.
pub fn quiet(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
