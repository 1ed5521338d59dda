//! The command line of `cargo xtask bench`.

use super::flink::NAME;
use anyhow::{Context, Result, bail};

/// How it is used.
pub const USAGE: &str =
    "bench [--events N] [--live-events N] [--runs N] [--only WORD,..] [--peers flink] [--binary PATH] [--json]";

/// What to measure and how much of it.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// Events of the rebuild.
    pub events: usize,
    /// Events of each live run.
    pub live_events: usize,
    /// Runs of each measurement; medians are shown.
    pub runs: usize,
    /// Only these; all when empty.
    pub only: Vec<String>,
    /// Flink too, beside the peers that are always there.
    pub flink: bool,
    /// This binary instead of a release build; its path stands in the table, because it need not be one.
    pub binary: Option<String>,
    /// One line of JSON instead of tables.
    pub json: bool,
}

impl Options {
    pub fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options {
            events: 10_000_000,
            live_events: 1_000_000,
            runs: 3,
            only: vec![],
            flink: false,
            binary: None,
            json: false,
        };
        let mut rest = args.iter();
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{flag} needs a value\nusage: cargo xtask {USAGE}"));
            match flag.as_str() {
                "--events" => options.events = number(flag, value()?)?,
                "--live-events" => options.live_events = number(flag, value()?)?,
                "--runs" => options.runs = number(flag, value()?)?.max(1),
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--peers" => options.flink = peers(value()?)?,
                "--binary" => options.binary = Some(value()?.clone()),
                "--json" => options.json = true,
                other => bail!("unknown flag `{other}`\nusage: cargo xtask {USAGE}"),
            }
        }
        if !options.flink && options.only.iter().any(|part| part == NAME) {
            bail!("`--only {NAME}` is of the peer that `--peers {NAME}` brings");
        }
        Ok(options)
    }

    /// Whether this part, for this query (if it has any), was asked for. `--only q4` means all parts of q4, `--only live` all
    /// queries live, `--only live,q4` q4 live.
    pub fn wants(&self, part: &str, query: &str) -> bool {
        let is_query = |word: &&String| word.starts_with('q');
        let (queries, parts): (Vec<&String>, Vec<&String>) = self.only.iter().partition(is_query);
        let part_fits = if parts.is_empty() { queries.is_empty() || !query.is_empty() } else { parts.iter().any(|p| *p == part) };
        part_fits && (query.is_empty() || queries.is_empty() || queries.iter().any(|q| *q == query))
    }
}

/// Whether Flink is among these; DuckDB and PostgreSQL, which are always asked, may be named.
pub fn peers(names: &str) -> Result<bool> {
    let mut flink = false;
    for name in names.split(',') {
        match name {
            NAME => flink = true,
            "duckdb" | "postgres" => {}
            other => bail!("no such peer `{other}`; there are duckdb and postgres, which are always asked, and {NAME}"),
        }
    }
    Ok(flink)
}

fn number(flag: &str, value: &str) -> Result<usize> {
    value.replace('_', "").parse().with_context(|| format!("{flag} is not a number: {value}"))
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn parse(words: &[&str]) -> anyhow::Result<Options> {
        Options::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_selects_parts_and_queries() {
        let wants = |only: &str, part: &str, query: &str| parse(&["--only", only]).map(|o| o.wants(part, query)).ok();
        assert_eq!(wants("q4", "live", "q4"), Some(true));
        assert_eq!(wants("q4", "live", "q7"), Some(false));
        assert_eq!(wants("q4", "append", ""), Some(false));
        assert_eq!(wants("live,q4", "rebuild", "q4"), Some(false));
        assert_eq!(wants("append", "append", ""), Some(true));
        assert_eq!(wants("append", "live", "q4"), Some(false));
        assert_eq!(parse(&[]).map(|o| o.wants("rebuild", "q0")).ok(), Some(true));
    }

    #[test]
    fn flink_is_asked_only_when_named() {
        assert_eq!(parse(&[]).map(|o| o.flink).ok(), Some(false));
        assert_eq!(
            parse(&["--peers", "duckdb,flink", "--only", "flink,q4"]).map(|o| o.flink && o.wants("flink", "q4")).ok(),
            Some(true)
        );
        assert!(parse(&["--peers", "flnk"]).is_err());
        assert!(parse(&["--only", "flink"]).is_err());
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        assert_eq!(parse(&["--events", "1_000_000"]).map(|o| o.events).ok(), Some(1_000_000));
        for bad in [&["--events"][..], &["--events", "many"], &["--fast"]] {
            assert!(parse(bad).is_err(), "{bad:?} was taken");
        }
    }
}
