//! Opening a data folder for a command, with an answer to "who has it" when it is taken.

use crate::{print, running::Running};
use regauge_views::{Config, Error, Instance, error::sqlstate as code};
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
pub async fn open_with(config: Config) -> anyhow::Result<Instance> {
    let data = config.dir.clone();
    let opened = tokio::task::spawn_blocking(move || Instance::open(config)).await?;
    let instance = opened.map_err(|error| print::explain(with_holder(error, &data)))?;
    regauge_connect::install(&instance);
    Ok(instance)
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
