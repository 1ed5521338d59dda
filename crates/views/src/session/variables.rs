//! Settings of a session: those that PostgreSQL's drivers set, and ours.
//!
//! A setting with a meaning here is checked when it is set; one that only clients care about is kept and given back; an unknown
//! one without a dot is refused, as in PostgreSQL. SET LOCAL holds until the transaction ends.

use crate::{
    config::Limits,
    error::{Error, Result, sqlstate as code},
};
use regauge_types::ErrorKind;
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Name, default, whether it may be set.
const KNOWN: &[(&str, &str, bool)] = &[
    ("application_name", "", true),
    ("bytea_output", "hex", true),
    ("client_encoding", "UTF8", true),
    ("client_min_messages", "notice", true),
    ("datestyle", "ISO, MDY", true),
    ("default_table_access_method", "heap", false),
    ("default_tablespace", "", true),
    ("default_transaction_deferrable", "off", true),
    ("default_transaction_isolation", "repeatable read", true),
    ("default_transaction_read_only", "off", true),
    ("extra_float_digits", "1", true),
    ("idle_in_transaction_session_timeout", "0", true),
    ("in_hot_standby", "off", false),
    ("integer_datetimes", "on", false),
    ("intervalstyle", "postgres", true),
    ("is_superuser", "on", false),
    ("lock_timeout", "0", true),
    ("max_identifier_length", "63", false),
    ("max_index_keys", "32", false),
    ("regauge.causal_timeout", "5s", true),
    ("regauge.producer", "", true),
    ("regauge.user", "", true),
    ("role", "none", true),
    ("search_path", "\"$user\", public", true),
    ("server_encoding", "UTF8", false),
    ("server_version", "16.6", false),
    ("server_version_num", "160006", false),
    ("session_authorization", "regauge", true),
    ("standard_conforming_strings", "on", true),
    ("statement_timeout", "0", true),
    ("timezone", "UTC", true),
    ("transaction_deferrable", "off", true),
    ("transaction_isolation", "repeatable read", true),
    ("transaction_read_only", "off", true),
    ("xmloption", "content", true),
];

/// A session's settings.
#[derive(Clone)]
pub(super) struct Variables {
    /// What the client brought when it connected: RESET goes back to it.
    brought: BTreeMap<String, String>,
    set: BTreeMap<String, String>,
    local: BTreeMap<String, Option<String>>,
    causal_timeout: Duration,
    /// [`Variables::all`], made when first asked for after a change.
    shared: OnceLock<Arc<BTreeMap<String, String>>>,
}

impl Variables {
    pub(super) fn new(limits: &Limits, user: &str, superuser: bool) -> Variables {
        let superuser = if superuser { "on" } else { "off" };
        let own = [("session_authorization", user), ("is_superuser", superuser)];
        let brought: BTreeMap<String, String> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Variables {
            set: brought.clone(),
            brought,
            local: BTreeMap::new(),
            causal_timeout: limits.causal_timeout,
            shared: OnceLock::new(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        let name = canonical(name);
        let default = || KNOWN.iter().find(|(known, ..)| *known == name).map(|(_, value, _)| (*value).to_owned());
        self.set.get(&name).cloned().or_else(default)
    }

    pub(super) fn all(&self) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = KNOWN.iter().map(|(n, v, _)| ((*n).to_owned(), (*v).to_owned())).collect();
        all.extend(self.set.clone());
        all
    }

    /// All of them, for a statement that may ask for them.
    pub(super) fn shared(&self) -> Arc<BTreeMap<String, String>> {
        self.shared.get_or_init(|| Arc::new(self.all())).clone()
    }

    /// Sets it, or back to its default.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        self.shared = OnceLock::new();
        let name = canonical(name);
        match KNOWN.iter().find(|(known, ..)| *known == name) {
            Some((_, _, true)) => {}
            Some(_) => {
                return Err(Error::invalid(code::CANT_CHANGE_NOW, format!("parameter \"{name}\" cannot be changed")));
            }
            None if name.contains('.') && !name.starts_with("regauge.") => {}
            None => {
                let message = format!("unrecognized configuration parameter \"{name}\"");
                return Err(Error::new(ErrorKind::NotFound, code::UNDEFINED_OBJECT, message).hint("SHOW ALL lists them"));
            }
        }
        if let Some(value) = value {
            check(&name, value)?;
        }
        if local {
            self.local.entry(name.clone()).or_insert_with(|| self.set.get(&name).cloned());
        }
        match value.map(str::to_owned).or_else(|| self.brought.get(&name).cloned()) {
            Some(value) => self.set.insert(name, value),
            None => self.set.remove(&name),
        };
        Ok(())
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
        self.shared = OnceLock::new();
        self.set = self.brought.clone();
    }

    /// What SET LOCAL set is over.
    pub(super) fn end_transaction(&mut self) {
        if !self.local.is_empty() {
            self.shared = OnceLock::new();
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

    pub(super) fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.set.get("idle_in_transaction_session_timeout").and_then(|v| duration(v)).filter(|d| !d.is_zero())
    }

    pub(super) fn causal_timeout(&self) -> Duration {
        self.set.get("regauge.causal_timeout").and_then(|v| duration(v)).unwrap_or(self.causal_timeout)
    }

    pub(super) fn time_zone(&self) -> String {
        self.get("timezone").unwrap_or_else(|| "UTC".to_owned())
    }

    /// Shown as `is_superuser`.
    pub(super) fn tell_superuser(&mut self, superuser: bool) {
        self.shared = OnceLock::new();
        self.set.insert("is_superuser".to_owned(), if superuser { "on" } else { "off" }.to_owned());
    }

    /// The search path as it is written, `$user` left out.
    pub(super) fn search_path(&self) -> Vec<String> {
        self.search_path_of(|| None)
    }

    /// The search path; `user` is the schema that `$user` stands for, if there is one.
    pub(super) fn search_path_of(&self, user: impl Fn() -> Option<String>) -> Vec<String> {
        let path = self.get("search_path").unwrap_or_default();
        let names = path.split(',').map(|s| s.trim().trim_matches(['"', '\'']).to_owned());
        let own = |s: String| if s == "$user" { user() } else { Some(s) };
        let mut names: Vec<String> = names.filter(|s| !s.is_empty()).filter_map(own).collect();
        if names.is_empty() {
            names.push(crate::catalog::PUBLIC.to_owned());
        }
        names
    }
}

fn canonical(name: &str) -> String {
    match name.to_lowercase().as_str() {
        "time zone" | "time_zone" => "timezone".to_owned(),
        other => other.to_owned(),
    }
}

fn check(name: &str, value: &str) -> Result<()> {
    let bad = || Error::invalid(code::INVALID_PARAMETER, format!("invalid value for parameter \"{name}\": \"{value}\""));
    match name {
        "statement_timeout" | "regauge.causal_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
            duration(value).map(|_| ()).ok_or_else(|| bad().hint("write a number of milliseconds, or '5s', '100ms', '1min'"))
        }
        "transaction_isolation" | "default_transaction_isolation" if value.eq_ignore_ascii_case("serializable") => {
            let error = Error::unsupported("SERIALIZABLE is not offered: transactions are snapshot isolation");
            Err(error.hint("use REPEATABLE READ, and UPDATE the rows that a decision rests on"))
        }
        "standard_conforming_strings" if !["on", "true", "yes", "1"].contains(&value.to_lowercase().as_str()) => {
            Err(bad().hint("a backslash is an escape in E'..' only"))
        }
        "client_encoding" if !["utf8", "utf-8", "unicode"].contains(&value.to_lowercase().as_str()) => {
            Err(bad().hint("only UTF8 is offered"))
        }
        "timezone" if !UTC.contains(&value.to_lowercase().as_str()) => {
            Err(not_offered(name, value, "times are shown and read in UTC; AT TIME ZONE computes others"))
        }
        "datestyle" if value.split(',').any(|part| !DATE_STYLES.contains(&part.trim().to_lowercase().as_str())) => {
            Err(not_offered(name, value, "dates are shown in ISO 8601"))
        }
        "intervalstyle" if !value.eq_ignore_ascii_case("postgres") => {
            Err(not_offered(name, value, "intervals are shown as postgres does"))
        }
        "bytea_output" if !value.eq_ignore_ascii_case("hex") => Err(not_offered(name, value, "bytea is shown in hex")),
        "extra_float_digits" if value.trim().parse::<i32>().is_ok_and(|digits| digits < 1) => {
            Err(not_offered(name, value, "floats are shown with the digits that tell them apart; cast to numeric to round"))
        }
        _ => Ok(()),
    }
}

/// Names of the one time zone.
const UTC: [&str; 9] = ["utc", "etc/utc", "gmt", "etc/gmt", "uct", "etc/uct", "zulu", "universal", "default"];
/// ISO, and orders of day and month, which it does not have.
const DATE_STYLES: [&str; 9] = ["iso", "mdy", "dmy", "ymd", "us", "euro", "european", "noneuropean", "default"];

/// PostgreSQL knows the value and we do not act on it: better said than ignored.
fn not_offered(name: &str, value: &str, hint: &str) -> Error {
    Error::unsupported(format!("parameter \"{name}\" cannot be \"{value}\" here")).hint(hint)
}

/// `250`, `250ms`, `5s`, `1min`, `2h`.
fn duration(text: &str) -> Option<Duration> {
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
    fn local_settings_end_with_the_transaction() {
        let mut variables = Variables::new(&Limits::default(), "regauge", true);
        variables.set("statement_timeout", Some("5s"), false).expect("known");
        variables.set("statement_timeout", Some("1min"), true).expect("known");
        assert_eq!(variables.statement_timeout(), Some(Duration::from_secs(60)));
        variables.end_transaction();
        assert_eq!(variables.statement_timeout(), Some(Duration::from_secs(5)));
        assert!(variables.set("statement_timeout", Some("soon"), false).is_err());
        assert!(variables.set("no_such_thing", Some("1"), false).is_err());
    }
}
