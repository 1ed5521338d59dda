//! Secrets as the catalog has them: a name, and the file that holds the value. Sinks name the ones they use among their options.

use super::{Catalog, Event, Name, Sink, SinkSpec, retext::identifier};
use crate::error::{Error, Result, sqlstate as code};
use regauge_plan::parse::SECRET_OPTION;
use regauge_types::ErrorKind;
use std::{collections::BTreeMap, sync::Arc};

impl Name {
    /// As it is written in SQL, with its schema.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }
}

/// `a."B c"` as its parts, folded as SQL folds them.
#[must_use]
pub fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        let last = parts.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                parts[last].push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            c if quoted => parts[last].push(c),
            c => parts[last].extend(c.to_lowercase()),
        }
    }
    parts
}

impl SinkSpec {
    /// Secrets that its options name, by the option that the value is for.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, Name)> {
        self.options.iter().filter_map(|(option, value)| {
            let of = option.strip_suffix(SECRET_OPTION)?;
            match <[String; 2]>::try_from(parts(value)) {
                Ok([schema, name]) => Some((of, Name { schema, name })),
                Err(_) => None,
            }
        })
    }
}

impl Catalog {
    /// All secrets, with the names of the files that hold their values.
    pub fn secrets(&self) -> impl Iterator<Item = (&Name, &str)> {
        self.secrets.iter().map(|(name, file)| (name, file.as_str()))
    }

    /// The name of the file that holds a secret's value.
    #[must_use]
    pub fn secret(&self, name: &Name) -> Option<&str> {
        self.secrets.get(name).map(String::as_str)
    }

    /// Sinks that use a secret.
    pub fn sinks_with<'a>(&'a self, secret: &'a Name) -> impl Iterator<Item = &'a Arc<Sink>> {
        self.sinks().filter(move |sink| sink.spec.secrets().any(|(_, name)| name == *secret))
    }
}

/// CREATE SECRET and ALTER SECRET .. AS.
pub(super) fn set(catalog: &Catalog, name: Name, file: String) -> Result<Vec<Event>> {
    if !catalog.has_schema(&name.schema) {
        let message = format!("schema \"{}\" does not exist", name.schema);
        return Err(Error::new(ErrorKind::NotFound, code::INVALID_SCHEMA, message).hint("CREATE SCHEMA, or leave it out"));
    }
    Ok(vec![Event::SecretSet { name, file }])
}

/// DROP SECRET: the sinks that use it go with it, if that is said.
pub(super) fn drop(catalog: &Catalog, name: Name, cascade: bool) -> Result<Vec<Event>> {
    let used: BTreeMap<u32, &Arc<Sink>> = catalog.sinks_with(&name).map(|s| (s.id, s)).collect();
    if let Some((_, sink)) = used.first_key_value().filter(|_| !cascade) {
        let message = format!("cannot drop secret {name} because other objects depend on it");
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
            .detail(format!("sink {} depends on secret {name}", sink.name))
            .hint("use DROP ... CASCADE to drop the dependent objects too; ALTER SINK .. RESET (..) to use it no more"));
    }
    let sinks = used.into_keys().map(|sink| Event::SinkDropped { sink });
    Ok(sinks.chain([Event::SecretDropped { name: name.clone() }]).collect())
}
