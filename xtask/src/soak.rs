//! Attacks by the hour: each runs for its share of the time, and ends with one line: name, cases, faults injected, violations.
//!
//! An attack is a command that ends with a line `NAME: cases=N .. faults=N violations=N`, or a test whose size is taken from the environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{needs, step};

const USAGE: &str = "usage: cargo xtask soak [--only sim|kill|views] [--minutes N] [--seed S]";
/// Attacks that can be run for a time.
const ATTACKS: &[&str] = &["sim", "kill", "views"];

/// `sim ..`: the simulation, with its own words.
pub fn sim(root: &Path, args: &[String]) -> Result<()> {
    let program = build(root)?;
    step::wait(Command::new(program).arg("many").args(args), "regauge-sim")
}

/// `soak [--only NAME] [--minutes N] [--seed S]`.
pub fn run(root: &Path, args: &[String]) -> Result<()> {
    let wish = Wish::of(args)?;
    let attacks: Vec<&str> =
        ATTACKS.iter().copied().filter(|name| wish.only.as_deref().is_none_or(|only| only == *name)).collect();
    let share = wish.minutes.div_ceil(attacks.len() as u64).max(1);
    let mut lines = vec![];
    for name in attacks {
        println!("== {name}: {share} min");
        lines.push(match name {
            "sim" => simulated(root, share, wish.seed)?,
            "kill" => again(share, 1, |_| step::cargo(root, &["xtask", "kill", "--cycles", "50"], &[]), ("kill", 50, 50)),
            _ => {
                needs::install_for_tests()?;
                let views =
                    |seed: u64| step::cargo(root, &["xtask", "oracle", "--views", "200", "--seed", &seed.to_string()], &[]);
                again(share, wish.seed, views, ("views", 200, 0))
            }
        });
    }
    println!();
    lines.iter().for_each(|(line, _)| println!("{line}"));
    if lines.iter().any(|(_, kept)| !kept) {
        bail!("a promise was broken");
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Wish {
    only: Option<String>,
    minutes: u64,
    seed: u64,
}

impl Wish {
    fn of(args: &[String]) -> Result<Wish> {
        let mut wish = Wish { only: None, minutes: 10, seed: 1 };
        for pair in args.chunks(2) {
            let [flag, value] = pair else { bail!(USAGE) };
            match flag.as_str() {
                "--only" if ATTACKS.contains(&value.as_str()) => wish.only = Some(value.clone()),
                "--minutes" => wish.minutes = value.parse().context(USAGE)?,
                "--seed" => wish.seed = value.parse().context(USAGE)?,
                _ => bail!(USAGE),
            }
        }
        Ok(wish)
    }
}

/// Builds the simulation, optimised, and says where it is.
fn build(root: &Path) -> Result<PathBuf> {
    step::cargo(root, &["build", "--release", "--workspace", "--bin", "regauge-sim"], &[])?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/regauge-sim"))
}

fn simulated(root: &Path, minutes: u64, seed: u64) -> Result<(String, bool)> {
    let program = build(root)?;
    let mut command = Command::new(program);
    command.args(["many", "--minutes", &minutes.to_string(), "--seed", &seed.to_string()]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot run regauge-sim")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    print!("{text}");
    let last = text.lines().rev().find(|line| line.starts_with("sim: ")).unwrap_or("sim: came to no end");
    Ok((last.to_owned(), output.status.success()))
}

/// Repeats an attack that has a size of its own until the time is up.
fn again(minutes: u64, seed: u64, attack: impl Fn(u64) -> Result<()>, (name, cases, faults): (&str, u64, u64)) -> (String, bool) {
    let (begun, mut n, mut failed) = (Instant::now(), 0, 0);
    while n == 0 || begun.elapsed() < Duration::from_secs(60 * minutes) {
        if let Err(error) = attack(seed + n) {
            println!("{name} with seed {}: {error:#}", seed + n);
            failed += 1;
        }
        n += 1;
    }
    (format!("{name}: cases={} faults={} violations={failed}", n * cases, n * faults), failed == 0)
}

#[cfg(test)]
mod tests {
    use super::Wish;

    fn wish(text: &str) -> Option<Wish> {
        Wish::of(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).ok()
    }

    #[test]
    fn a_soak_is_told_what_to_attack_and_for_how_long() {
        let wanted = Wish { only: Some("sim".to_owned()), minutes: 3, seed: 7 };
        assert_eq!(wish("--only sim --minutes 3 --seed 7"), Some(wanted));
        for bad in ["--only everything", "--minutes", "--minutes soon", "--fast 1"] {
            assert_eq!(wish(bad), None, "{bad} was taken");
        }
    }
}
