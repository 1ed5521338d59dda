//! Options of a sink, read one by one; what is left over is unknown.

use regauge_types::ErrorKind;
use regauge_views::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Options, and which of them a connector knows.
pub struct Options<'a> {
    given: &'a BTreeMap<String, String>,
    known: BTreeSet<&'static str>,
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, "22023", message)
}

impl<'a> Options<'a> {
    /// Nothing is known yet but the connector.
    #[must_use]
    pub fn new(given: &'a BTreeMap<String, String>) -> Options<'a> {
        Options { given, known: BTreeSet::from(["connector"]) }
    }

    /// An option that may be given.
    pub fn text(&mut self, name: &'static str) -> Option<&'a str> {
        self.known.insert(name);
        self.given.get(name).map(String::as_str)
    }

    /// An option that must be given.
    pub fn required(&mut self, name: &'static str) -> Result<&'a str> {
        let text = self.text(name).filter(|t| !t.is_empty());
        text.ok_or_else(|| invalid(format!("option \"{name}\" is missing")).hint(format!("WITH (.., {name} = '..')")))
    }

    /// A number within bounds.
    pub fn number(&mut self, name: &'static str, default: u64, least: u64, most: u64) -> Result<u64> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|n| (least..=most).contains(n));
        number.ok_or_else(|| invalid(format!("option \"{name}\" is not a number from {least} to {most} {name}={text}")))
    }

    /// One of some words, the first by default.
    pub fn word(&mut self, name: &'static str, words: &[&'static str]) -> Result<&'static str> {
        let text = self.text(name);
        let found = words.iter().find(|w| text.is_none_or(|t| t == **w));
        found.copied().ok_or_else(|| invalid(format!("option \"{name}\" is one of {}", words.join(", "))))
    }

    /// A secret is named, never written down: an option that holds one is refused.
    pub fn secret(&mut self, name: &'static str, by: &[&'static str]) -> Result<()> {
        self.known.extend(by);
        if self.given.contains_key(name) {
            let error = invalid(format!("option \"{name}\" would be kept in the catalog for all to see"));
            return Err(
                error.hint(format!("CREATE SECRET s AS '..', and write {name} = SECRET s; {} are the other ways", by.join(", ")))
            );
        }
        if by.iter().filter(|b| self.given.contains_key(**b)).count() > 1 {
            return Err(invalid(format!("only one of {} can be given", by.join(", "))));
        }
        Ok(())
    }

    /// A text that may be a secret: given as it is, or as `SECRET name`; none: it is one.
    pub fn text_or_secret(&mut self, name: &'static str, secret: &'static str) -> Result<Option<&'a str>> {
        let (text, named) = (self.text(name), self.text(secret));
        match (text, named) {
            (Some(_), Some(_)) => Err(invalid(format!("only one of {name}, {secret} can be given"))),
            (None, Some(_)) => Ok(None),
            _ => self.required(name).map(Some),
        }
    }

    /// Refuses what no one asked for; answers those that were given among some.
    pub fn finish(self, guarded: &[&str]) -> Result<BTreeSet<String>> {
        if let Some(unknown) = self.given.keys().find(|name| !self.known.contains(name.as_str())) {
            let known: Vec<&str> = self.known.iter().copied().collect();
            return Err(invalid(format!("unknown option \"{unknown}\"")).hint(format!("known are {}", known.join(", "))));
        }
        Ok(self.given.keys().filter(|name| guarded.contains(&name.as_str())).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(options: &[(&str, &str)]) -> BTreeMap<String, String> {
        options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_nobody_knows_is_refused_and_what_is_guarded_is_told() {
        let all = given(&[("connector", "x"), ("port", "5"), ("password_file", "/p")]);
        let mut options = Options::new(&all);
        assert_eq!(options.number("port", 1, 1, 9).expect("a number"), 5);
        options.secret("password", &["password_file", "password_env"]).expect("named");
        assert_eq!(options.finish(&["password_file"]).expect("known").len(), 1);
        assert!(Options::new(&all).finish(&[]).is_err());
    }

    #[test]
    fn a_password_in_the_clear_is_refused() {
        let all = given(&[("password", "hunter2")]);
        let error = Options::new(&all).secret("password", &["password_file"]).expect_err("refused");
        assert!(!error.message.contains("hunter2"));
    }
}
