//! Python environments in the user's cache folder, made once, and
//! again when the list of packages has changed. Only PyPI's ordinary client is asked, for exactly these.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::step;

const DRIVERS: [&str; 3] = ["psycopg[binary]==3.3.*", "sqlalchemy==2.1.*", "asyncpg==0.32.*"];

/// Exact where it matters: what dbt asks of a server changes with its versions.
const DBT: [&str; 2] = ["dbt-core==1.11.*", "dbt-postgres==1.11.*"];

/// Whether environments can be made here: Debian keeps a part of `venv` in a package of its own.
pub fn can_make() -> bool {
    step::quiet(Command::new("python3").args(["-c", "import ensurepip, venv"]))
}

/// The interpreter of the environment with the drivers.
pub fn with_drivers() -> Result<PathBuf> {
    environment("python", "REGAUGE_PYTHON", &DRIVERS)
}

/// The interpreter of the environment with dbt: of its own, because dbt brings an older driver and 60 packages.
pub fn with_dbt() -> Result<PathBuf> {
    environment("dbt", "REGAUGE_DBT_PYTHON", &DBT)
}

fn environment(name: &str, variable: &str, packages: &[&str]) -> Result<PathBuf> {
    if let Some(python) = std::env::var_os(variable) {
        return Ok(python.into());
    }
    let folder = cache()?.join("regauge").join(name);
    let (python, list) = (folder.join("bin").join("python"), folder.join("drivers.txt"));
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&list).is_ok_and(|have| have == wanted) && python.is_file() {
        return Ok(python);
    }
    println!("the tests need Python packages: {} in {}", packages.join(" "), folder.display());
    step::wait(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder), "python3 -m venv")?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
    step::wait(&mut pip, &format!("pip install {}", packages.join(" ")))
        .with_context(|| format!("without PyPI: make an environment with these yourself, and set {variable} to its python"))?;
    // Last, so that an installation that was cut off is begun again.
    std::fs::write(&list, wanted).with_context(|| format!("cannot write {}", list.display()))?;
    Ok(python)
}

fn cache() -> Result<PathBuf> {
    let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    given.or_else(home).context("no folder for caches: set HOME or XDG_CACHE_HOME")
}
