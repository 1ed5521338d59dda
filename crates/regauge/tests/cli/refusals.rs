//! What the machine may be like: each with its exit code, its message and what to do.

use crate::{regauge, server::Server, sql, text};
use std::net::TcpListener;

#[test]
fn a_folder_in_use_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let held = regauge_views::Instance::open(regauge_views::Config::new(dir.path())).unwrap();
    let second = sql(dir.path(), "SELECT 1");
    let error = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(error.contains("55006") && error.contains("in use") && error.contains("hint:"), "{error}");
    drop(held);
}

#[test]
fn a_second_server_of_a_folder_says_which_one_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = Server::start(dir.path());
    let second = regauge(&["serve", "--pg-port", "0", "--http-port", "0", "--data", dir.path().to_str().unwrap()]);
    let error = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(error.contains("55006") && error.contains(&format!("pid={}", first.child.id())), "{error}");
    assert_eq!(first.sql("SELECT 1"), serde_json::json!([[1]]), "the first one goes on");
    assert_eq!(first.stop(), Some(0));
    assert!(!dir.path().join("serve.json").exists());
}

#[test]
fn a_port_in_use_is_refused_before_the_folder_is_touched() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (ports, option) in
        [(["--pg-port", "0", "--http-port", &port], "--http-port"), (["--pg-port", &port, "--http-port", "0"], "--pg-port")]
    {
        let mut args = vec!["serve", "--data", data.to_str().unwrap()];
        args.extend_from_slice(&ports);
        let refused = regauge(&args);
        let error = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{error}");
        assert!(
            error.contains(&port) && error.contains("hint:") && error.contains("0 "),
            "the port and what to do, {option}: {error}"
        );
        assert!(!data.exists());
    }
}

#[test]
fn a_folder_of_a_newer_release_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(sql(dir.path(), "SELECT 1").status.success());
    let format = dir.path().join("FORMAT");
    let before = std::fs::read_to_string(&format).unwrap();
    let newer = regauge_log::folder::format_text(regauge_log::folder::FORMAT_VERSION + 1, regauge_types::DataSetId([7; 16]));
    std::fs::write(&format, &newer).unwrap();
    let refused = sql(dir.path(), "SELECT 1");
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{error}");
    assert!(error.contains("newer format") && error.contains("hint:"), "{error}");
    let both = format!("found={} supported={}", regauge_log::folder::FORMAT_VERSION + 1, regauge_log::folder::FORMAT_VERSION);
    assert!(error.contains(&both), "{error}");
    assert_eq!(std::fs::read_to_string(&format).unwrap(), newer);
    std::fs::write(&format, before).unwrap();
    assert!(sql(dir.path(), "SELECT 1").status.success());
}
