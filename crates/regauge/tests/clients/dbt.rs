//! `dbt` with dbt-postgres against the binary: a small project of a seed, views, a table and a materialized view, with its tests,
//! run twice, and its documentation. Not offered: incremental models and snapshots, which make temporary tables.
//! The second run swaps each relation for a new one under the name that others read.

use crate::server::{Server, shown, start_with, text};
use std::path::{Path, PathBuf};

/// The interpreter whose environment holds dbt.
fn interpreter() -> PathBuf {
    if let Some(python) = std::env::var_os("REGAUGE_DBT_PYTHON") {
        return python.into();
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let python = cache.unwrap_or_default().join("regauge/dbt/bin/python");
    assert!(
        python.exists(),
        "no Python environment with dbt: `cargo xtask test` makes it, or set REGAUGE_DBT_PYTHON to a python with dbt-core and \
         dbt-postgres; looked at {}",
        python.display()
    );
    python
}

/// Copies the project beside this file: dbt writes into its folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|e| (e.path(), e.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

fn password(server: &Server) -> String {
    let line = std::fs::read_to_string(server.data().join("passfile")).unwrap();
    line.trim().rsplit(':').next().unwrap().to_owned()
}

fn dbt(server: &Server, project: &Path, args: &[&str]) {
    let python = interpreter();
    let program = python.with_file_name("dbt");
    let mut command = server.client(program);
    command.args(args).args(["--project-dir", ".", "--profiles-dir", "."]).current_dir(project);
    command.env("REGAUGE_PASSWORD", password(server)).env("DBT_SEND_ANONYMOUS_USAGE_STATS", "false");
    let output = command.output().expect("cannot run dbt");
    assert!(output.status.success(), "dbt {args:?}: {}", shown(&output));
}

fn asked(server: &Server, sql: &str) -> String {
    let output = server.client("psql").args(["-X", "-q", "-A", "-t", "-c", sql]).output().expect("cannot run psql");
    assert!(output.status.success(), "{}", shown(&output));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn dbt_runs_a_small_project_again_and_again() {
    // dbt, and who asks here, open a connection for each thing they do.
    let server = start_with(&["--linearizable"]);
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("shop");
    copy(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/dbt"), &project);
    dbt(&server, &project, &["seed"]);
    dbt(&server, &project, &["run"]);
    dbt(&server, &project, &["test"]);
    let totals = "SELECT customer, orders, amount::numeric(10,2) FROM analytics.totals ORDER BY customer";
    assert_eq!(asked(&server, totals), "ada|2|15.00\nbob|1|5.00\ncy|1|99.00");
    let comment = "SELECT obj_description('analytics.stg_orders'::regclass, 'pg_class')";
    assert_eq!(asked(&server, comment), "Orders, in whole units; it's a view");
    // What is maintained follows the data between two runs, what is a table does not.
    asked(&server, "INSERT INTO analytics.raw_orders VALUES (5, 'bob', '2026-01-06', 700)");
    assert_eq!(asked(&server, totals), "ada|2|15.00\nbob|2|12.00\ncy|1|99.00");
    assert_eq!(asked(&server, "SELECT orders FROM analytics.customers WHERE customer = 'bob'"), "1");
    dbt(&server, &project, &["run"]);
    dbt(&server, &project, &["test"]);
    assert_eq!(asked(&server, "SELECT orders FROM analytics.customers WHERE customer = 'bob'"), "2");
    assert_eq!(asked(&server, totals), "ada|2|15.00\nbob|2|12.00\ncy|1|99.00");
    assert_eq!(asked(&server, "SELECT count(*) FROM analytics.big_customers"), "3");
    // Its documentation: every relation with its columns, types and comments.
    dbt(&server, &project, &["docs", "generate"]);
    let catalog: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(project.join("target/catalog.json")).unwrap()).unwrap();
    let nodes = catalog["nodes"].as_object().unwrap();
    assert_eq!(nodes.len(), 5, "{nodes:?}");
    let totals = &nodes["model.shop.totals"];
    assert_eq!(totals["metadata"]["type"], "MATERIALIZED VIEW");
    assert_eq!(totals["columns"]["orders"]["type"], "bigint");
    assert_eq!(nodes["model.shop.customers"]["metadata"]["comment"], "One row per customer");
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '%dbt_tmp%' OR relname LIKE '%dbt_backup%'";
    assert_eq!(asked(&server, left), "0");
}
