//! The long proofs by hand: the same test binary that `cargo test --workspace` runs, with other
//! sizes. Sizes travel in the environment, because the test harness owns the arguments; the binary
//! is selected with `--workspace`, because `-p` would unify features otherwise and build arrow again.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{needs, soak, step};

/// `slt [--bless] [FILE..]`: the SQL text files, all or some.
pub fn slt(root: &Path, args: &[String]) -> Result<()> {
    let (flags, files): (Vec<&String>, Vec<&String>) = args.iter().partition(|arg| arg.starts_with('-'));
    let mut env = needs::install_for_tests()?.env();
    for flag in flags {
        match flag.as_str() {
            "--bless" => env.push(("REGAUGE_SLT_BLESS", "1".into())),
            other => bail!("unknown flag `{other}`: usage: cargo xtask slt [--bless] [FILE..]"),
        }
    }
    if !files.is_empty() {
        let names: Vec<&str> = files.iter().map(|file| file.as_str()).collect();
        env.push(("REGAUGE_SLT_FILES", names.join(",")));
    }
    run(root, &[], "slt::", &env)
}

/// `oracle [--optimised] [--views N] [--seed S] [--workers W]`: random views against PostgreSQL; for the long runs with [`soak::SOAK`],
/// which has first to be built.
pub fn oracle(root: &Path, args: &[String]) -> Result<()> {
    let mut env = needs::install_for_tests()?.env();
    let (profile, args) = match args {
        [flag, rest @ ..] if flag == "--optimised" => (soak::SOAK, rest),
        all => (&[][..], all),
    };
    for (name, value) in oracle_sizes(args)? {
        env.push((name, value.to_string()));
    }
    let last = std::env::temp_dir().join(format!("regauge-oracle-{}", std::process::id()));
    env.push(("REGAUGE_ORACLE_LAST_LINE", last.display().to_string()));
    let done = run(root, profile, "random::", &env);
    if let Ok(line) = std::fs::read_to_string(&last) {
        println!("{line}");
        std::fs::remove_file(&last)?;
    }
    done
}

/// `equalities [--cases N] [--seed S]`: queries that must give the same rows whatever the data is, without another database.
pub fn equalities(root: &Path, args: &[String]) -> Result<()> {
    const USAGE: &str = "usage: cargo xtask equalities [--cases N] [--seed S]";
    let mut env = needs::install_for_tests()?.env();
    for pair in args.chunks(2) {
        let [flag, value] = pair else { bail!(USAGE) };
        let name = match flag.as_str() {
            "--cases" => "REGAUGE_EQUALITIES_CASES",
            "--seed" => "REGAUGE_EQUALITIES_SEED",
            _ => bail!(USAGE),
        };
        env.push((name, value.parse::<u64>().context(USAGE)?.to_string()));
    }
    run(root, &[], "equalities::queries", &env)
}

/// `kill [--cycles N]`: `kill -9` of the real server in the middle of appends.
pub fn kill(root: &Path, args: &[String]) -> Result<()> {
    let cycles = match args {
        [] => "200",
        [flag, n] if flag == "--cycles" && n.parse::<u64>().is_ok() => n,
        _ => bail!("usage: cargo xtask kill [--cycles N]"),
    };
    let args = ["test", "--workspace", "--test", "cli", "--", "kill::", "--nocapture"];
    step::cargo(root, &args, &[("REGAUGE_KILL_CYCLES", cycles.to_string())])
}

fn oracle_sizes(args: &[String]) -> Result<Vec<(&'static str, u64)>> {
    let mut sizes = Vec::new();
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let name = match flag.as_str() {
            "--views" => "REGAUGE_ORACLE_VIEWS",
            "--seed" => "REGAUGE_ORACLE_SEED",
            "--workers" => "REGAUGE_ORACLE_WORKERS",
            other => bail!("unknown flag `{other}`: usage: cargo xtask oracle [--optimised] --views N --seed S [--workers W]"),
        };
        let value = rest.next().with_context(|| format!("{flag} needs a number"))?;
        let value = value.parse().with_context(|| format!("{flag} is not a number: {value}"))?;
        sizes.push((name, value));
    }
    Ok(sizes)
}

fn run(root: &Path, profile: &[&str], filter: &str, env: &[(&'static str, String)]) -> Result<()> {
    let of = ["--test", "oracle", "--", filter, "--nocapture", "--include-ignored"];
    step::cargo(root, &[&["test", "--workspace"], profile, &of].concat(), env)
}

#[cfg(test)]
mod tests {
    use super::oracle_sizes;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| (*arg).to_string()).collect()
    }

    #[test]
    fn oracle_sizes_are_numbers_with_a_known_flag() {
        let sizes = oracle_sizes(&strings(&["--seed", "7", "--views", "500"]));
        assert_eq!(sizes.ok(), Some(vec![("REGAUGE_ORACLE_SEED", 7), ("REGAUGE_ORACLE_VIEWS", 500)]));
        for bad in [&["--views"][..], &["--views", "many"], &["--fast", "1"]] {
            assert!(oracle_sizes(&strings(bad)).is_err(), "{bad:?} was taken");
        }
    }
}
