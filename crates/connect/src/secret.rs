//! Where a secret's name becomes the secret: the one place, asked each time a target is connected to, so that a changed password is
//! found without a restart. Nothing is kept, and no error tells what was read, nor what a target makes of it.

use crate::error::Fault;
use regauge_views::{
    catalog::{Sink, SinkSpec},
    follow::Feed,
};
use std::path::Path;

/// A password is no longer than this.
const BYTES_MAX: u64 = 64 << 10;
/// What stands in the place of a secret. A value shorter than [`SHORT`] is no secret, and would be found everywhere.
const HIDDEN: &str = "..";
const SHORT: usize = 4;

/// The secrets of one sink, by its options.
pub struct Secrets {
    feed: Feed,
    spec: SinkSpec,
}

impl Secrets {
    /// Of a sink.
    #[must_use]
    pub fn of(feed: &Feed, sink: &Sink) -> Secrets {
        Secrets { feed: feed.clone(), spec: sink.spec.clone() }
    }

    /// The secret that `<name>_secret`, `<name>_file` or `<name>_env` names; none: there is none.
    pub fn resolve(&self, name: &str) -> Result<Option<String>, Fault> {
        if let Some(value) = self.feed.secret(&self.spec, name)? {
            return Ok(Some(value.reveal().to_owned()));
        }
        if let Some(path) = self.spec.options.get(&format!("{name}_file")) {
            let bytes = self.feed.env().disk.read_all(Path::new(path), BYTES_MAX);
            let bytes =
                bytes.map_err(|e| Fault::Refused(format!("cannot read the file of option \"{name}_file\": {}", e.kind())))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| Fault::Refused(format!("the file of option \"{name}_file\" is not text")))?;
            return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
        }
        if let Some(variable) = self.spec.options.get(&format!("{name}_env")) {
            let found = std::env::var(variable);
            return found.map(Some).map_err(|_| Fault::Refused(format!("the variable of option \"{name}_env\" is not set")));
        }
        Ok(None)
    }
}

/// A fault without what it repeats of secrets: a target may answer with what it was sent.
pub fn hidden(fault: Fault, secrets: &[Option<&str>]) -> Fault {
    let Fault::Refused(mut text) = fault else { return fault };
    for secret in secrets.iter().copied().flatten().filter(|s| s.len() >= SHORT) {
        text = text.replace(secret, HIDDEN);
    }
    Fault::Refused(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_repeats_what_it_was_sent_is_not_repeated() {
        let fault = Fault::Refused("401: no such token hunter2, hunter2".to_owned());
        assert_eq!(hidden(fault.clone(), &[None, Some("hunter2")]), Fault::Refused("401: no such token .., ..".to_owned()));
        assert_eq!(hidden(fault.clone(), &[Some("to")]), fault);
        assert_eq!(hidden(Fault::Moved, &[Some("moved")]), Fault::Moved);
    }
}
