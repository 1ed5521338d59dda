//! Attacks by the hour: each runs for its share of the time, and ends with one line: name, cases, faults injected, violations.
//!
//! ```text
//!   a test, under one seed after another, sized for its share ─▶ soak: cases=N faults=N faults:CLASS=N ..
//!   the simulation, the fuzzer, each with a clock of its own  ─▶ sim: cases=N ..     fuzz: cases=N edges=N ..
//! ```
//! A test that fails is a violation. One that cannot run here prints `soak: not run: why`. What injected nothing (of any class that it names)
//! proves nothing, nor does one that says nothing, nor a fuzzer that counts no edges: all of them end the command with an error.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{needs, step};

const USAGE: &str = "usage: cargo xtask soak [--only NAME] [--minutes N] [--seed S] [--dev]";

/// Attacks are on a release whose own crates have their assertions; what cargo is told for that. Dependencies are the release's,
/// and so is the folder: a release that is built meanwhile takes the place of the server that is attacked.
pub const SOAK: &[&str] = &["--release", "--config", ".cargo/soak.toml"];

/// Something that can be attacked for a time.
struct Attack {
    name: &'static str,
    act: Act,
}

enum Act {
    /// Seeds of the simulation.
    Sim,
    /// Tests, each by its binary and the beginning of its name, with the sizes of a round.
    Tests { of: &'static [(&'static str, &'static str)], sizes: &'static [(&'static str, Size)] },
    /// Decoders and parsers under changed input, led by the edges that it reaches.
    Fuzz,
}

/// How large a round is.
#[derive(Clone, Copy)]
enum Size {
    /// So much where there is a minute, less where there is less.
    Minute(u64),
    /// Every so-manieth of what there is; all of it where there is a minute.
    Every(u64),
}

impl Size {
    /// Less than this is no test.
    const LEAST: u64 = 6;

    fn within(self, seconds: u64) -> u64 {
        match self {
            Size::Minute(n) => (n * seconds.min(60) / 60).max(Size::LEAST.min(n)),
            Size::Every(n) => {
                if seconds < 60 {
                    n
                } else {
                    1
                }
            }
        }
    }
}

const ATTACKS: &[Attack] = &[
    Attack { name: "sim", act: Act::Sim },
    Attack { name: "money", act: Act::Tests { of: &[("cli", "money::")], sizes: &[("REGAUGE_MONEY_CYCLES", Size::Minute(12))] } },
    Attack {
        name: "kill",
        act: Act::Tests {
            of: &[("cli", "kill::"), ("cli", "backfill::")],
            sizes: &[("REGAUGE_KILL_CYCLES", Size::Minute(50)), ("REGAUGE_BACKFILL_KILLS", Size::Minute(5))],
        },
    },
    Attack { name: "power", act: Act::Tests { of: &[("cli", "power::")], sizes: &[("REGAUGE_POWER_CUTS", Size::Minute(20))] } },
    Attack {
        name: "crash_states",
        act: Act::Tests {
            of: &[("log", "crash::"), ("views", "checkpoint_crashes::")],
            sizes: &[("REGAUGE_CRASH_OPERATIONS", Size::Minute(2000)), ("REGAUGE_CRASH_STEP", Size::Every(9))],
        },
    },
    Attack {
        name: "disk_full",
        act: Act::Tests { of: &[("cli", "full_disk::")], sizes: &[("REGAUGE_FULL_ROUNDS", Size::Minute(10))] },
    },
    Attack {
        name: "bits",
        act: Act::Tests {
            of: &[
                ("log", "damage::"),
                ("log", "archive_faults::"),
                ("views", "checkpoint_files::a_damaged_byte"),
                ("views", "verify::a_changed_byte"),
            ],
            sizes: &[("REGAUGE_BITS_PLACES", Size::Minute(200))],
        },
    },
    Attack { name: "fuzz", act: Act::Fuzz },
    Attack {
        name: "views",
        act: Act::Tests { of: &[("oracle", "random::")], sizes: &[("REGAUGE_ORACLE_VIEWS", Size::Minute(200))] },
    },
];

/// `sim ..`: the simulation, with its own words.
pub fn sim(root: &Path, args: &[String]) -> Result<()> {
    let program = build(root, "regauge-sim", SOAK)?;
    step::wait(Command::new(program).arg("many").args(args), "regauge-sim")
}

/// `fuzz ..`: the fuzzer, with its own words.
pub fn fuzz(root: &Path, args: &[String]) -> Result<()> {
    let program = build_watched(root)?;
    step::wait(Command::new(program).args(args), "regauge-fuzz")
}

/// `soak [--only NAME] [--minutes N] [--seed S] [--dev]`.
pub fn run(root: &Path, args: &[String]) -> Result<()> {
    let wish = Wish::of(args)?;
    let attacks: Vec<&Attack> = ATTACKS.iter().filter(|a| wish.only.as_deref().is_none_or(|only| only == a.name)).collect();
    let share = (wish.minutes * 60).div_ceil(attacks.len() as u64).max(10);
    let (begun, mut sums) = (Instant::now(), vec![]);
    for attack in attacks {
        println!("== {}: {share} s from seed {}", attack.name, wish.seed);
        let (seconds, seed) = (share.to_string(), wish.seed.to_string());
        let sum = match attack.act {
            Act::Sim => {
                let mut command = Command::new(build(root, "regauge-sim", wish.profile())?);
                one(command.args(["many", "--seconds", &seconds, "--seed", &seed]), "sim: ")?
            }
            Act::Fuzz => {
                let mut command = Command::new(build_watched(root)?);
                let mut sum = one(command.args(["--seconds", &seconds, "--seed", &seed]), "fuzz: ")?;
                if sum.of("edges") == 0 {
                    sum.not_run.push("no edge was counted: nothing led it".to_owned());
                }
                sum
            }
            Act::Tests { of, sizes } => tests(root, of, sizes, share, &wish)?,
        };
        println!("{}", sum.line(attack.name));
        sums.push((attack.name, sum));
    }
    println!("\nsoak of {} s from seed {}", begun.elapsed().as_secs(), wish.seed);
    sums.iter().for_each(|(name, sum)| println!("{}", sum.line(name)));
    match () {
        () if sums.iter().any(|(_, sum)| sum.of("violations") > 0) => bail!("a promise was broken"),
        () if sums.iter().any(|(_, sum)| !sum.lacks().is_empty()) => bail!("not everything was run"),
        () => Ok(()),
    }
}

/// What an attack came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    /// Of each word that it told (`cases`, `faults`, `faults:CLASS`, `violations`, ..).
    counts: BTreeMap<String, u64>,
    /// Why a part was not run.
    not_run: Vec<String>,
}

impl Sum {
    fn of(&self, word: &str) -> u64 {
        self.counts.get(word).copied().unwrap_or(0)
    }

    fn add(&mut self, word: &str, n: u64) {
        *self.counts.entry(word.to_owned()).or_default() += n;
    }

    /// Why it proves nothing, or not everything.
    fn lacks(&self) -> Vec<String> {
        let nothing = |word: &&str| self.of(word) == 0;
        let of_all = ["cases", "faults"].iter().filter(|word| nothing(word)).map(|word| format!("no {word}"));
        let classes = self.counts.keys().filter_map(|word| Some((word.strip_prefix("faults:")?, self.of(word))));
        let of_classes = classes.filter(|(_, n)| *n == 0).map(|(class, _)| format!("nothing injected of {class}"));
        self.not_run.iter().cloned().chain(of_all).chain(of_classes).collect()
    }

    fn line(&self, name: &str) -> String {
        let mut line = format!("{name}: cases={} faults={}", self.of("cases"), self.of("faults"));
        for (word, n) in &self.counts {
            if !["cases", "faults", "violations"].contains(&word.as_str()) {
                line += &format!(" {}={n}", word.strip_prefix("faults:").unwrap_or(word));
            }
        }
        line += &format!(" violations={}", self.of("violations"));
        self.lacks().iter().for_each(|why| line += &format!(" NOT RUN: {why}"));
        line
    }

    /// Takes in a line `..cases=N faults=N violations=N`, or of what was not run.
    fn take(&mut self, line: &str) {
        if let Some(why) = line.strip_prefix("not run: ") {
            if !self.not_run.iter().any(|known| known == why) {
                self.not_run.push(why.to_owned());
            }
            return;
        }
        for (name, n) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
            if let Ok(n) = n.parse() {
                self.add(name, n);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Wish {
    only: Option<String>,
    minutes: u64,
    seed: u64,
    /// All but the fuzzer in the development build: slower, and there at once.
    dev: bool,
}

impl Wish {
    fn profile(&self) -> &'static [&'static str] {
        if self.dev { &[] } else { SOAK }
    }

    fn of(args: &[String]) -> Result<Wish> {
        let mut wish = Wish { only: None, minutes: 10, seed: 1, dev: false };
        let mut words = args.iter();
        while let Some(flag) = words.next() {
            if flag == "--dev" {
                wish.dev = true;
                continue;
            }
            let Some(value) = words.next() else { bail!(USAGE) };
            match flag.as_str() {
                "--only" if ATTACKS.iter().any(|a| a.name == value) => wish.only = Some(value.clone()),
                "--only" => {
                    let names: Vec<&str> = ATTACKS.iter().map(|a| a.name).collect();
                    bail!("no attack is called {value}: {}", names.join(", "))
                }
                "--minutes" => wish.minutes = value.parse().context(USAGE)?,
                "--seed" => wish.seed = value.parse().context(USAGE)?,
                _ => bail!(USAGE),
            }
        }
        Ok(wish)
    }
}

/// Builds a program and says where it is.
fn build(root: &Path, bin: &str, profile: &[&str]) -> Result<PathBuf> {
    step::cargo(root, &[&["build", "--workspace", "--bin", bin], profile].concat(), &[])?;
    Ok(target(root).join(if profile.is_empty() { "debug" } else { "release" }).join(bin))
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Builds the fuzzer with own crates that count the edges they take: this very program stands between cargo and rustc (see [`wrap`]).
fn build_watched(root: &Path) -> Result<PathBuf> {
    let me = std::env::current_exe().context("who am I")?;
    let env = [("RUSTC_WORKSPACE_WRAPPER", me.display().to_string())];
    step::cargo(root, &[&["build", "--workspace", "--bin", "regauge-fuzz"], SOAK].concat(), &env)?;
    Ok(target(root).join("release").join("regauge-fuzz"))
}

/// Called by cargo in rustc's place, for crates of this workspace: adds what makes LLVM count edges. All of it is in the stable compiler.
pub fn wrap(rustc: &str, args: &[String]) -> Result<()> {
    let mut command = Command::new(rustc);
    command.args(args);
    // build scripts are run by cargo, and have nobody who would count for them; who looks at the counters does not count
    let uncounted = |name: &str| name.starts_with("build_script") || name == "regauge_fuzz";
    if !args.windows(2).any(|pair| pair[0] == "--crate-name" && uncounted(&pair[1])) {
        command.args(["-Cpasses=sancov-module", "-Cllvm-args=-sanitizer-coverage-level=3"]);
        command.arg("-Cllvm-args=-sanitizer-coverage-inline-8bit-counters");
    }
    match command.status().context("cannot run rustc")?.code() {
        Some(0) => Ok(()),
        code => std::process::exit(code.unwrap_or(1)),
    }
}

/// Runs a program to its end and takes in its last line.
fn one(command: &mut Command, begins: &str) -> Result<Sum> {
    let mut sum = Sum::default();
    let (lines, ended_well) = lines_of(command)?;
    let last = lines.iter().rev().find_map(|line| line.strip_prefix(begins));
    sum.take(last.unwrap_or_default());
    // it says why before its last line
    if !ended_well && sum.of("violations") == 0 {
        sum.not_run.push("it ended with an error of its own".to_owned());
    }
    Ok(sum)
}

type Pairs = &'static [(&'static str, &'static str)];

/// Runs tests under one seed after another until the time is up.
fn tests(root: &Path, of: Pairs, sizes: &[(&str, Size)], seconds: u64, wish: &Wish) -> Result<Sum> {
    let found = if of.iter().any(|(binary, _)| *binary == "oracle") { needs::install_for_tests()?.env() } else { vec![] };
    // a tree that does not build breaks no promise
    let (profile, seed) = (wish.profile(), wish.seed);
    let mut build = [&["test", "--no-run", "--workspace"], profile].concat();
    for &(binary, _) in of {
        if !build.contains(&binary) {
            build.extend(["--test", binary]);
        }
    }
    step::cargo(root, &build, &found)?;
    let (mut sum, begun, mut n) = (Sum::default(), Instant::now(), 0);
    while n == 0 || begun.elapsed() < Duration::from_secs(seconds) {
        for &(binary, filter) in of {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new(cargo);
            command.args(["test", "-q", "--workspace"]).args(profile).args(["--test", binary, "--", filter]);
            command.args(["--nocapture", "--test-threads", "1", "--include-ignored"]);
            command.current_dir(root).env("REGAUGE_SEED", (seed + n).to_string());
            command.env("REGAUGE_ORACLE_SEED", (seed + n).to_string());
            command
                .envs(sizes.iter().map(|(name, size)| (name, size.within(seconds).to_string())))
                .envs(found.iter().map(|(name, value)| (name, value)));
            for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
                command.env_remove(name);
            }
            let (lines, kept) = lines_of(&mut command)?;
            let told: Vec<&str> = lines.iter().filter_map(|line| line.split_once("soak: ").map(|(_, rest)| rest)).collect();
            told.iter().for_each(|line| sum.take(line));
            if !kept {
                println!("{binary} {filter} failed under REGAUGE_SEED={}", seed + n);
                sum.add("violations", 1);
            } else if told.is_empty() {
                sum.take(&format!("not run: {binary} {filter} told no figures"));
            }
        }
        n += 1;
        // what cannot be run here cannot be run a second time
        if sum.of("cases") == 0 {
            break;
        }
    }
    Ok(sum)
}

/// Its lines, shown as they come, and whether it ended well.
fn lines_of(command: &mut Command) -> Result<(Vec<String>, bool)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start the attack")?;
    let mut lines = vec![];
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            lines.push(line);
        }
    }
    Ok((lines, child.wait()?.success()))
}

#[cfg(test)]
mod tests_of_words {
    use super::{Size, Sum, Wish};

    fn wish(text: &str) -> Option<Wish> {
        Wish::of(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).ok()
    }

    #[test]
    fn a_soak_is_told_what_to_attack_and_for_how_long() {
        assert_eq!(wish("--only kill").map(|w| w.profile()), Some(super::SOAK));
        assert_eq!(wish("--dev").map(|w| w.profile().len()), Some(0));
        let wanted = Wish { only: Some("sim".to_owned()), minutes: 3, seed: 7, dev: true };
        assert_eq!(wish("--only sim --dev --minutes 3 --seed 7"), Some(wanted));
        for bad in ["--only everything", "--minutes", "--minutes soon", "--fast 1"] {
            assert_eq!(wish(bad), None, "{bad} was taken");
        }
    }

    #[test]
    fn figures_are_summed_and_what_was_not_run_is_told() {
        let mut sum = Sum::default();
        ["cases=3 operations=9 faults=2 violations=0", "cases=4 faults=1 violations=1", "not run: no root", "not run: no root"]
            .iter()
            .for_each(|line| sum.take(line));
        assert_eq!(sum.line("power"), "power: cases=7 faults=3 operations=9 violations=1 NOT RUN: no root");
    }

    #[test]
    fn what_injected_nothing_of_a_class_is_told() {
        let mut sum = Sum::default();
        sum.take("cases=3 faults=2 faults:kill=2 faults:power=0");
        assert_eq!(sum.lacks(), ["nothing injected of power"]);
        sum.take("cases=1 faults=1 faults:kill=0 faults:power=1");
        assert_eq!(sum.line("sim"), "sim: cases=4 faults=3 kill=2 power=1 violations=0");
        assert_eq!(Sum::default().lacks(), ["no cases", "no faults"]);
    }

    #[test]
    fn a_round_is_as_large_as_its_share_and_no_larger_than_a_minutes() {
        let sizes = |seconds| [Size::Minute(50), Size::Minute(5), Size::Every(9)].map(|size| size.within(seconds));
        assert_eq!((sizes(5), sizes(30), sizes(600)), ([6, 5, 9], [25, 5, 9], [50, 5, 1]));
    }
}
