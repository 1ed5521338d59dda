//! psycopg, SQLAlchemy and asyncpg against the binary, from the environment that `cargo xtask test` makes in the user's cache folder.

use crate::server::{Server, shown, start, text};
use std::path::PathBuf;

/// Runs one of the scripts beside this file; it ends with `ok`.
pub fn run(server: &Server, script: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let output = server.client(interpreter()).arg(file).output().expect("cannot run python");
    assert!(output.status.success() && text(&output.stdout).ends_with("ok\n"), "{}", shown(&output));
}

/// The interpreter whose environment holds the drivers.
fn interpreter() -> PathBuf {
    if let Some(python) = std::env::var_os("REGAUGE_PYTHON") {
        return python.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let python = cache.unwrap_or_default().join("regauge/python/bin/python");
    assert!(
        python.exists(),
        "no Python environment with the drivers: `cargo xtask test` makes it, or set REGAUGE_PYTHON to a python with psycopg[binary], \
         sqlalchemy and asyncpg; looked at {}",
        python.display()
    );
    python
}

#[test]
fn psycopg_reads_what_it_wrote() {
    run(&start(), "psycopg_client.py");
}

#[test]
fn sqlalchemy_connects_reflects_and_maps() {
    run(&start(), "sqlalchemy_client.py");
}

#[test]
fn asyncpg_asks_for_types_and_sends_arrays() {
    run(&start(), "asyncpg_client.py");
}
