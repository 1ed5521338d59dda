//! TLS with psql. The certificate is of `localhost` and 127.0.0.1, signed by itself, for these tests only: its key is no secret.

use crate::server::{binary, shown, start_with, text};
use std::{path::PathBuf, process::Stdio};

fn file(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/tls").join(name).display().to_string()
}

#[test]
fn beyond_this_machine_there_is_nothing_but_tls() {
    let dir = tempfile::tempdir().unwrap();
    let open = binary().args(["serve", "--host", "0.0.0.0", "--data"]).arg(dir.path()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(open.status.code(), Some(1));
    assert!(text(&open.stderr).contains("TLS") && text(&open.stderr).contains("--tls-cert"), "{}", shown(&open));
    let server = start_with(&["--host", "0.0.0.0", "--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")]);
    let psql = |mode: &str| {
        let mut command = server.client("psql");
        command.env("PGSSLMODE", mode).env("PGSSLROOTCERT", file("cert.pem"));
        command.args(["-X", "-A", "-t", "-c", "SELECT 1"]).output().expect("cannot run psql: `cargo xtask test` installs it")
    };
    let plain = psql("disable");
    assert!(!plain.status.success() && text(&plain.stderr).contains("without TLS"), "{}", shown(&plain));
    for mode in ["require", "verify-full"] {
        let secure = psql(mode);
        assert_eq!(text(&secure.stdout), "1\n", "{mode}: {}", shown(&secure));
    }
}

#[test]
fn a_certificate_without_its_key_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for (key, code) in [(Some(file("cert.pem")), 1), (None, 2)] {
        let mut command = binary();
        command.args(["serve", "--pg-port", "0", "--tls-cert", &file("cert.pem"), "--data"]).arg(dir.path());
        command.args(key.iter().flat_map(|key| ["--tls-key", key]));
        let refused = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(refused.status.code(), Some(code), "{}", shown(&refused));
    }
}
