//! Where a secret's name becomes the secret: the one place, asked each time a target is connected to, so that a changed password is
//! found without a restart. Nothing is kept, and no error tells what was read.

use crate::error::Fault;
use regauge_types::Env;
use std::{collections::BTreeMap, path::Path};

/// A password is no longer than this.
const BYTES_MAX: u64 = 64 << 10;

/// The secret that `<name>_file` or `<name>_env` names; none: there is none.
pub fn resolve(env: &Env, options: &BTreeMap<String, String>, name: &str) -> Result<Option<String>, Fault> {
    if let Some(path) = options.get(&format!("{name}_file")) {
        let bytes = env.disk.read_all(Path::new(path), BYTES_MAX);
        let bytes = bytes.map_err(|e| Fault::Refused(format!("cannot read the file of option \"{name}_file\": {}", e.kind())))?;
        let text =
            String::from_utf8(bytes).map_err(|_| Fault::Refused(format!("the file of option \"{name}_file\" is not text")))?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if let Some(variable) = options.get(&format!("{name}_env")) {
        let found = std::env::var(variable);
        return found.map(Some).map_err(|_| Fault::Refused(format!("the variable of option \"{name}_env\" is not set")));
    }
    Ok(None)
}
