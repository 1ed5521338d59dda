//! Opening a data folder for a command, with an answer to "who has it" when it is taken.

use crate::{print, running::Running};
use anyhow::{Context, bail};
use regauge_views::{Config, Error, Instance, error::sqlstate as code, secrets::SecretKey};
use std::path::Path;

/// Threads of the engine that a command takes when it is not told.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Opens it in this process.
pub async fn open(data: &Path, workers: usize) -> anyhow::Result<Instance> {
    open_with(Config::new(data).workers(workers)).await
}

/// Opens one that has more to be said of it.
pub async fn open_with(mut config: Config) -> anyhow::Result<Instance> {
    if let (None, Some(file)) = (&config.secret_key, std::env::var_os(SECRET_KEY_FILE)) {
        config.secret_key = Some(secret_key(Path::new(&file))?);
    }
    let data = config.dir.clone();
    let opened = tokio::task::spawn_blocking(move || Instance::open(config)).await?;
    let instance = opened.map_err(|error| print::explain(with_holder(error, &data)))?;
    regauge_connect::install(&instance);
    Ok(instance)
}

/// Names the file of [`secret_key`].
const SECRET_KEY_FILE: &str = "REGAUGE_SECRET_KEY_FILE";

/// The key that values of secrets are encrypted with, out of a file that nobody else may read.
pub fn secret_key(file: &Path) -> anyhow::Result<SecretKey> {
    use std::os::unix::fs::PermissionsExt;
    let shown = file.display();
    let mode =
        std::fs::metadata(file).with_context(|| format!("cannot read the file of the key file={shown}"))?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("the file of the key can be read by others file={shown} mode={:o}\nhint: chmod 600 {shown}", mode & 0o777);
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the file of the key file={shown}"))?;
    SecretKey::parse(&text).with_context(|| {
        format!("the file of the key does not hold 64 digits of hexadecimal file={shown}\nhint: openssl rand -hex 32 makes one")
    })
}

/// Says which server has the folder, if it is one.
fn with_holder(error: Error, data: &Path) -> Error {
    if error.sqlstate != code::IN_USE {
        return error;
    }
    match Running::find(data) {
        Some(running) => {
            let detail = format!("a server has it pid={} pg={}", running.pid, running.pg);
            error.detail(detail).hint(format!("ask the server, or stop it: kill {}", running.pid))
        }
        None => error
            .hint("another regauge command has it open: wait for it or stop it; or start `regauge serve`, which many can share"),
    }
}
