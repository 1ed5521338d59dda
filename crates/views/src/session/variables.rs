//! Settings of a session: those that PostgreSQL's drivers set, and ours.
//!
//! A setting with a meaning here is checked when it is set; one that only clients care about is kept and given back; an unknown
//! one without a dot is refused, as in PostgreSQL. SET LOCAL holds until the transaction ends.

use super::settings::{self, TYPED};
use crate::{
    config::Limits,
    error::{Error, Result, sqlstate as code},
};
use regauge_plan::local::{self, Zone};
use regauge_types::ErrorKind;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Name, default, whether it may be set: those without a kind of [`settings`].
const KNOWN: &[(&str, &str, bool)] = &[
    ("application_name", "", true),
    ("archive_mode", "off", false),
    ("autovacuum", "off", false),
    ("backtrace_functions", "", true),
    ("block_size", "8192", false),
    ("bytea_output", "hex", true),
    ("client_encoding", "UTF8", true),
    ("cluster_name", "", false),
    ("createrole_self_grant", "", true),
    ("data_checksums", "on", false),
    ("data_directory_mode", "0700", false),
    ("datestyle", "ISO, MDY", true),
    ("debug_assertions", "off", false),
    ("default_table_access_method", "heap", true),
    ("default_tablespace", "", true),
    ("default_text_search_config", "pg_catalog.simple", true),
    ("dynamic_library_path", "$libdir", true),
    ("event_source", "PostgreSQL", false),
    ("extension_destdir", "", true),
    ("external_pid_file", "", false),
    ("fsync", "on", false),
    ("full_page_writes", "on", false),
    ("hot_standby", "off", false),
    ("huge_pages", "off", false),
    ("in_hot_standby", "off", false),
    ("integer_datetimes", "on", false),
    ("intervalstyle", "postgres", true),
    ("is_superuser", "on", false),
    ("lc_collate", "C", false),
    ("lc_ctype", "C", false),
    ("lc_messages", "C", true),
    ("lc_monetary", "C", true),
    ("lc_numeric", "C", true),
    ("lc_time", "C", true),
    ("listen_addresses", "", false),
    ("local_preload_libraries", "", true),
    ("log_timezone", "UTC", false),
    ("logging_collector", "off", false),
    ("max_connections", "0", false),
    ("max_function_args", "100", false),
    ("max_identifier_length", "63", false),
    ("max_index_keys", "32", false),
    ("max_locks_per_transaction", "64", false),
    ("max_prepared_transactions", "0", false),
    ("max_replication_slots", "0", false),
    ("max_wal_senders", "0", false),
    ("port", "0", false),
    ("primary_conninfo", "", false),
    ("regauge.causal_timeout", "1min", true),
    ("regauge.producer", "", true),
    ("regauge.user", "", true),
    ("restrict_nonsystem_relation_kind", "", true),
    ("role", "none", true),
    ("search_path", "\"$user\", public", true),
    ("server_encoding", "UTF8", false),
    ("server_version", "16.6", false),
    ("server_version_num", "160006", false),
    ("session_authorization", "regauge", true),
    ("session_preload_libraries", "", true),
    ("shared_preload_libraries", "", false),
    ("ssl", "off", false),
    ("standard_conforming_strings", "on", true),
    ("superuser_reserved_connections", "0", false),
    ("synchronous_standby_names", "", false),
    ("temp_tablespaces", "", true),
    ("timezone", "UTC", true),
    ("timezone_abbreviations", "Default", true),
    ("track_commit_timestamp", "off", false),
    ("unix_socket_directories", "", false),
    ("wal_consistency_checking", "", true),
    ("wal_level", "minimal", false),
];

/// Settings that PostgreSQL reads when it starts.
const OF_THE_START: &[&str] = &[
    "archive_mode",
    "cluster_name",
    "data_directory",
    "event_source",
    "external_pid_file",
    "hot_standby",
    "huge_pages",
    "listen_addresses",
    "logging_collector",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_wal_senders",
    "port",
    "shared_preload_libraries",
    "superuser_reserved_connections",
    "track_commit_timestamp",
    "unix_socket_directories",
    "wal_level",
];

/// Settings that PostgreSQL reads from its file.
const OF_THE_FILE: &[&str] =
    &["autovacuum", "fsync", "full_page_writes", "log_timezone", "primary_conninfo", "ssl", "synchronous_standby_names"];

/// What is known of the server that a session is at: shown, and not to be set.
pub(super) type Facts = Arc<BTreeMap<String, String>>;

/// A session's settings.
#[derive(Clone)]
pub(super) struct Variables {
    /// What the client brought when it connected: RESET goes back to it.
    brought: BTreeMap<String, String>,
    set: BTreeMap<String, String>,
    local: BTreeMap<String, Option<String>>,
    /// As it was before the transaction changed something.
    before: Option<BTreeMap<String, String>>,
    facts: Facts,
    /// Names of one's own (`app.user`) that were ever set: once it is over they are empty, not unknown, as in PostgreSQL.
    once: BTreeSet<String>,
    causal_timeout: Duration,
    /// [`Variables::all`], made when first asked for after a change.
    shared: OnceLock<Arc<BTreeMap<String, String>>>,
    planning: OnceLock<[u8; 32]>,
    /// [`Variables::search_path`], made when first asked for after a change: each look-up asks.
    path: OnceLock<Vec<String>>,
}

impl Variables {
    pub(super) fn new(limits: &Limits, facts: Facts, user: &str, superuser: bool) -> Variables {
        let superuser = if superuser { "on" } else { "off" };
        let own = [("session_authorization", user), ("is_superuser", superuser)];
        let mut brought: BTreeMap<String, String> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        if limits.linearizable {
            brought.insert("regauge.linearizable".to_owned(), "on".to_owned());
        }
        Variables {
            set: brought.clone(),
            brought,
            local: BTreeMap::new(),
            before: None,
            facts,
            once: BTreeSet::new(),
            causal_timeout: limits.causal_timeout,
            shared: OnceLock::new(),
            planning: OnceLock::new(),
            path: OnceLock::new(),
        }
    }

    /// Something changes: what was made of the settings is made anew.
    fn touched(&mut self) {
        (self.shared, self.planning, self.path) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
    }

    /// A setting that was set, by the name that it is kept under; its default is the caller's to know.
    pub(super) fn own(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        let name = canonical(name);
        let known = self.set.get(&name).or_else(|| self.facts.get(&name)).cloned();
        known.or_else(|| default_of(&name)).or_else(|| self.once.contains(&name).then(String::new))
    }

    pub(super) fn all(&self) -> BTreeMap<String, String> {
        let known = KNOWN.iter().map(|(n, v, _)| (*n, *v)).chain(TYPED.iter().map(|(n, _, v)| (*n, *v)));
        let mut all: BTreeMap<String, String> = known.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        all.extend(self.once.iter().map(|n| (n.clone(), String::new())));
        all.extend(self.facts.iter().chain(&self.set).map(|(n, v)| (n.clone(), v.clone())));
        all
    }

    /// All of them, for a statement that may ask for them.
    pub(super) fn shared(&self) -> Arc<BTreeMap<String, String>> {
        self.shared.get_or_init(|| Arc::new(self.all())).clone()
    }

    /// Of those that were set and that a plan may depend on. A name for the application is given by most drivers, each its own.
    pub(super) fn planning(&self) -> [u8; 32] {
        *self.planning.get_or_init(|| {
            let mut hash = blake3::Hasher::new();
            for (name, value) in self.set.iter().filter(|(name, _)| *name != "application_name") {
                for part in [name, value] {
                    hash.update(&part.len().to_le_bytes()).update(part.as_bytes());
                }
            }
            *hash.finalize().as_bytes()
        })
    }

    /// Sets it, or back to its default.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        self.touched();
        let (name, value) = judged(name, value)?;
        self.name(&name);
        if local {
            self.local.entry(name.clone()).or_insert_with(|| self.set.get(&name).cloned());
        }
        match value.or_else(|| self.brought.get(&name).cloned()) {
            Some(value) => self.set.insert(name, value),
            None => self.set.remove(&name),
        };
        Ok(())
    }

    /// One of one's own has been set, if only for a statement: it is empty from now on, not unknown.
    pub(super) fn name(&mut self, name: &str) {
        let name = canonical(name);
        if name.contains('.') && default_of(&name).is_none() {
            self.touched();
            self.once.insert(name);
        }
    }

    /// Sets it, and makes that what RESET goes back to.
    pub(super) fn configure(&mut self, name: &str, value: &str) -> Result<()> {
        self.set(name, Some(value), false)?;
        self.brought.insert(canonical(name), value.to_owned());
        Ok(())
    }

    /// RESET ALL: who the session is stays, as in PostgreSQL.
    pub(super) fn reset_settings(&mut self) {
        let kept = |name: &&str| Some(((*name).to_owned(), self.set.get(*name)?.clone()));
        let kept: Vec<_> = ["role", "session_authorization", "is_superuser"].iter().filter_map(kept).collect();
        self.reset_all();
        self.set.extend(kept);
    }

    pub(super) fn reset_all(&mut self) {
        self.touched();
        self.set = self.brought.clone();
    }

    /// A transaction changes something: ROLLBACK takes it back.
    pub(super) fn within_transaction(&mut self) {
        self.before.get_or_insert_with(|| self.set.clone());
    }

    /// Nothing that the transaction has set holds any more.
    pub(super) fn roll_back(&mut self) {
        self.local.clear();
        if let Some(before) = self.before.take() {
            self.touched();
            self.set = before;
        }
    }

    /// What SET LOCAL set is over.
    pub(super) fn end_transaction(&mut self) {
        self.before = None;
        if !self.local.is_empty() {
            self.touched();
        }
        for (name, before) in std::mem::take(&mut self.local) {
            match before {
                Some(value) => self.set.insert(name, value),
                None => self.set.remove(&name),
            };
        }
    }

    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        self.set.get("statement_timeout").and_then(|v| duration(v)).filter(|d| !d.is_zero())
    }

    pub(super) fn lock_timeout(&self) -> Option<Duration> {
        self.set.get("lock_timeout").and_then(|v| duration(v)).filter(|d| !d.is_zero())
    }

    pub(super) fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.set.get("idle_in_transaction_session_timeout").and_then(|v| duration(v)).filter(|d| !d.is_zero())
    }

    pub(super) fn causal_timeout(&self) -> Duration {
        self.set.get("regauge.causal_timeout").and_then(|v| duration(v)).unwrap_or(self.causal_timeout)
    }

    /// Whether a read shows whatever anybody was told to be written before it began.
    pub(super) fn linearizable(&self) -> bool {
        self.set.get("regauge.linearizable").is_some_and(|v| v == "on")
    }

    pub(super) fn time_zone(&self) -> String {
        self.get("timezone").unwrap_or_else(|| "UTC".to_owned())
    }

    /// The zone that times are read and shown in.
    pub(super) fn zone(&self) -> Zone {
        self.set.get("timezone").and_then(|name| local::setting(name)).map_or(Zone::UTC, |(zone, _)| zone)
    }

    /// Shown as `is_superuser`.
    pub(super) fn tell_superuser(&mut self, superuser: bool) {
        self.touched();
        self.set.insert("is_superuser".to_owned(), if superuser { "on" } else { "off" }.to_owned());
    }

    /// The search path as it is written, `$user` left out.
    pub(super) fn search_path(&self) -> &[String] {
        self.path.get_or_init(|| self.search_path_of(|| None))
    }

    /// The search path; `user` is the schema that `$user` stands for, if there is one. An empty one is none: names need their schema.
    pub(super) fn search_path_of(&self, user: impl Fn() -> Option<String>) -> Vec<String> {
        let path = self.get("search_path").unwrap_or_default();
        let names = path.split(',').map(|s| s.trim().trim_matches(['"', '\'']).to_owned());
        let own = |s: String| if s == "$user" { user() } else { Some(s) };
        names.filter(|s| !s.is_empty()).filter_map(own).collect()
    }
}

/// A setting by the name that it is kept under, and a value for it as it is shown; an error for what it cannot be.
pub(super) fn judged(name: &str, value: Option<&str>) -> Result<(String, Option<String>)> {
    let name = canonical(name);
    let kind = settings::find(&name).map(|(kind, _)| kind);
    match KNOWN.iter().find(|(known, ..)| *known == name) {
        None if kind.is_some() => {}
        Some((_, _, true)) => {}
        Some(_) => return Err(fixed(&name)),
        None if name == "data_directory" => return Err(fixed(&name)),
        None if name.contains('.') && !name.starts_with("regauge.") => {}
        None => return Err(unknown(&name)),
    }
    let value = value.map(|value| {
        let shown = match kind {
            Some(kind) => settings::canonical(&name, kind, value)?,
            None => canonical_value(&name, value)?,
        };
        check(&name, &shown).map(|()| shown)
    });
    Ok((name, value.transpose()?))
}

fn fixed(name: &str) -> Error {
    let when = match name {
        name if OF_THE_START.contains(&name) => " without restarting the server",
        name if OF_THE_FILE.contains(&name) => " now",
        _ => "",
    };
    Error::invalid(code::CANT_CHANGE_NOW, format!("parameter \"{name}\" cannot be changed{when}"))
}

/// The value of a setting that nobody has set.
pub(super) fn default_of(name: &str) -> Option<String> {
    let typed = settings::find(name).map(|(_, default)| default);
    typed.or_else(|| KNOWN.iter().find(|(known, ..)| *known == name).map(|(_, value, _)| *value)).map(str::to_owned)
}

/// No setting is called so.
pub(super) fn unknown(name: &str) -> Error {
    let message = format!("unrecognized configuration parameter \"{name}\"");
    Error::new(ErrorKind::NotFound, code::UNDEFINED_OBJECT, message).hint("SHOW ALL lists them")
}

/// How PostgreSQL writes a setting's name.
pub(super) fn shown_name(name: &str) -> &str {
    match name {
        "timezone" => "TimeZone",
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        other => other,
    }
}

fn canonical(name: &str) -> String {
    match name.to_lowercase().as_str() {
        "time zone" | "time_zone" => "timezone".to_owned(),
        other => other.to_owned(),
    }
}

/// The value of a setting without a kind as it is shown.
fn canonical_value(name: &str, value: &str) -> Result<String> {
    match name {
        "timezone" => local::setting(value).map(|(_, shown)| shown).ok_or_else(|| {
            let message = format!("invalid value for parameter \"TimeZone\": \"{value}\"");
            Error::invalid(code::INVALID_PARAMETER, message).hint("a name of the IANA data, as 'Europe/Berlin', or an offset")
        }),
        "default_table_access_method" if value != "heap" => {
            Err(Error::invalid(code::INVALID_PARAMETER, format!("invalid value for parameter \"{name}\": \"{value}\"")))
        }
        _ => Ok(value.to_owned()),
    }
}

fn check(name: &str, value: &str) -> Result<()> {
    let bad = || Error::invalid(code::INVALID_PARAMETER, format!("invalid value for parameter \"{name}\": \"{value}\""));
    match name {
        "regauge.causal_timeout" => {
            duration(value).map(|_| ()).ok_or_else(|| bad().hint("write a number of milliseconds, or '5s', '100ms', '1min'"))
        }
        "transaction_isolation" | "default_transaction_isolation" if value.eq_ignore_ascii_case("serializable") => {
            let error = Error::unsupported("SERIALIZABLE is not offered: transactions are snapshot isolation");
            Err(error.hint("use REPEATABLE READ, and UPDATE the rows that a decision rests on"))
        }
        "standard_conforming_strings" if !["on", "true", "yes", "1"].contains(&value.to_lowercase().as_str()) => {
            Err(bad().hint("a backslash is an escape in E'..' only"))
        }
        "client_encoding" if !["utf8", "unicode"].contains(&encoding(value).as_str()) => Err(bad().hint("only UTF8 is offered")),
        "datestyle" if value.split(',').any(|part| !DATE_STYLES.contains(&part.trim().to_lowercase().as_str())) => {
            Err(not_offered(name, value, "dates are shown in ISO 8601, and read with the month before the day: write 2026-01-31"))
        }
        "intervalstyle" if !value.eq_ignore_ascii_case("postgres") => {
            Err(not_offered(name, value, "intervals are shown as postgres does"))
        }
        "array_nulls" if value == "off" => {
            Err(not_offered(name, value, "NULL within an array's text is NULL; write \"NULL\" for the word"))
        }
        "transform_null_equals" if value == "on" => Err(not_offered(name, value, "write IS NULL")),
        "password_encryption" if value == "md5" => Err(not_offered(name, value, "passwords are kept for SCRAM-SHA-256")),
        "timezone_abbreviations" if !value.eq_ignore_ascii_case("default") => {
            Err(not_offered(name, value, "abbreviations are PostgreSQL's default ones"))
        }
        "lc_monetary" | "lc_numeric" | "lc_time" if !LOCALES.contains(&value.to_lowercase().as_str()) => {
            Err(bad().hint("numbers and dates are shown in one way, that of the locale C"))
        }
        "bytea_output" if !value.eq_ignore_ascii_case("hex") => Err(not_offered(name, value, "bytea is shown in hex")),
        "extra_float_digits" if value.trim().parse::<i32>().is_ok_and(|digits| digits < 1) => {
            Err(not_offered(name, value, "floats are shown with the digits that tell them apart; cast to numeric to round"))
        }
        _ => Ok(()),
    }
}

/// The name of an encoding, of which letters and digits count: `'utf-8'` with its quotes is what asyncpg sends.
fn encoding(value: &str) -> String {
    value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase()
}

/// ISO, and the one order of day and month that texts are read in.
const DATE_STYLES: [&str; 5] = ["iso", "mdy", "us", "noneuropean", "default"];

/// Those that show numbers, names of days and money as C does.
const LOCALES: [&str; 6] = ["", "c", "posix", "c.utf-8", "c.utf8", "en_us.utf-8"];

/// PostgreSQL knows the value and we do not act on it: better said than ignored.
fn not_offered(name: &str, value: &str, hint: &str) -> Error {
    Error::unsupported(format!("parameter \"{name}\" cannot be \"{value}\" here")).hint(hint)
}

/// `250`, `250ms`, `5s`, `1min`, `2h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit_ms = match text[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(unit_ms)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_ones_own_is_empty_once_it_was_set() {
        let mut variables = Variables::new(&Limits::default(), Facts::default(), "regauge", true);
        assert_eq!(variables.get("own.name"), None);
        variables.name("own.name");
        assert_eq!(variables.get("own.name").as_deref(), Some(""));
        variables.name("statement_timeouts");
        assert_eq!(variables.get("statement_timeouts"), None);
    }

    #[test]
    fn local_settings_end_with_the_transaction() {
        let mut variables = Variables::new(&Limits::default(), Facts::default(), "regauge", true);
        variables.set("statement_timeout", Some("5s"), false).expect("known");
        variables.set("statement_timeout", Some("1min"), true).expect("known");
        assert_eq!(variables.statement_timeout(), Some(Duration::from_secs(60)));
        variables.end_transaction();
        assert_eq!(variables.statement_timeout(), Some(Duration::from_secs(5)));
        assert!(variables.set("statement_timeout", Some("soon"), false).is_err());
        assert!(variables.set("no_such_thing", Some("1"), false).is_err());
    }
}
