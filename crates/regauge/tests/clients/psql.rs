//! psql against the binary.

use crate::server::{Server, binary, shown, start, text};
use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

const MISSING: &str = "cannot run psql: `cargo xtask test` installs it, or install the package postgresql-client";

/// Runs a script, unaligned and without headers; errors do not end it.
fn script(server: &Server, sql: &str) -> Output {
    let mut command = server.client("psql");
    let mut child = command
        .args(["-X", "-A", "-t", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(MISSING);
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_line_that_is_printed_connects_and_the_server_stops_when_told() {
    let mut server = start();
    let run = |line: &str| Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    let output = run(&format!("{} -X -A -t -c 'SELECT 40 + 2'", server.line));
    assert_eq!(text(&output.stdout), "42\n", "{MISSING}? {}", shown(&output));
    let file = std::fs::read_to_string(server.data().join("serve.json")).unwrap();
    let running: serde_json::Value = serde_json::from_str(&file).unwrap();
    assert_eq!(running["pg"], format!("127.0.0.1:{}", server.port));
    assert!(!file.contains(std::fs::read_to_string(server.data().join("passfile")).unwrap().rsplit(':').next().unwrap().trim()));
    let (data, dir) = (server.data(), tempfile::tempdir().unwrap());
    let port = server.port.to_string();
    let taken = output_of(binary().args(["serve", "--http-port", "0", "--pg-port", &port, "--data"]).arg(dir.path().join("d")));
    assert_eq!(taken.status.code(), Some(1));
    assert!(text(&taken.stderr).contains("in use") && text(&taken.stderr).contains("hint:"), "{}", shown(&taken));
    assert!(!dir.path().join("d").exists(), "a port in use leaves nothing behind");
    let busy = output_of(binary().args(["serve", "--http-port", "0", "--pg-port", "0", "--data"]).arg(&data));
    assert_eq!(busy.status.code(), Some(1), "a folder in use: {}", shown(&busy));
    assert!(server.stop().success());
}

fn output_of(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_session_of_psql_reads_as_it_would_on_postgres() {
    let server = start();
    let output = script(
        &server,
        r#"CREATE TABLE t (id INT PRIMARY KEY, n NUMERIC(6,2), s TEXT, at TIMESTAMPTZ);
INSERT INTO t VALUES (1, 1.5, 'one', '2020-02-29 12:00:00+02'), (2, NULL, E'a\tb', NULL) RETURNING id, n;
\copy t (id, s) from stdin csv
3,three
4,""
5,
\.
SELECT * FROM t ORDER BY id;
SELECT nothing FROM t;
BEGIN;
INSERT INTO t (id) VALUES (1);
SELECT 1;
ROLLBACK;
SELECT 1; SELECT 1/0; SELECT 2;
\echo :SERVER_VERSION_NUM
CREATE MATERIALIZED VIEW m AS SELECT s IS NULL AS empty, count(*) AS n FROM t GROUP BY s IS NULL;
SELECT * FROM m ORDER BY empty;
SELECT 'infinity'::timestamp, '1e300'::float8, '\x00ff'::bytea, '1 year 2 days 03:04:05.6'::interval, true, array_agg(id) FROM t WHERE id < 3;
"#,
    );
    let expected = "1|1.50\n2|\n1|1.50|one|2020-02-29 10:00:00+00\n2||a\tb|\n3||three|\n4|||\n5|||\n1\n2\n160006\nf|4\nt|1\n\
                    infinity|1e+300|\\x00ff|1 year 2 days 03:04:05.6|t|{1,2}\n";
    assert_eq!(text(&output.stdout), expected, "{}", shown(&output));
    let errors = text(&output.stderr);
    for error in
        ["column \"nothing\" does not exist", "duplicate key value", "current transaction is aborted", "division by zero"]
    {
        assert!(errors.contains(error), "{error}: {}", shown(&output));
    }
    let file = server.dir.path().join("bad.csv");
    std::fs::write(&file, "10,1.0,x,\n11,2.0\n").unwrap();
    let bad =
        server.client("psql").args(["-X", "-c", &format!("\\copy t from '{}' csv", file.display())]).output().expect(MISSING);
    assert!(
        text(&bad.stderr).contains("missing data for column \"s\"") && text(&bad.stderr).contains("line 2"),
        "{}",
        shown(&bad)
    );
    assert_eq!(text(&script(&server, "SELECT count(*) FROM t;").stdout), "5\n");
    let (whole, part) = (server.dir.path().join("whole.txt"), server.dir.path().join("part.csv"));
    let copies = format!(
        "\\copy t (id, s) to '{}'\n\\copy (SELECT id, n FROM t WHERE id < 3 ORDER BY id) to '{}' csv header\n",
        whole.display(),
        part.display()
    );
    let output = script(&server, &copies);
    assert_eq!(std::fs::read_to_string(&whole).unwrap(), "1\tone\n2\ta\\tb\n3\tthree\n4\t\n5\t\\N\n", "{}", shown(&output));
    assert_eq!(std::fs::read_to_string(&part).unwrap(), "id,n\n1,1.50\n2,\n", "{}", shown(&output));
}

#[test]
fn what_was_written_over_the_wire_is_there_when_the_server_is_gone() {
    let mut server = start();
    let made = script(&server, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1),(2),(3);");
    assert!(made.status.success(), "{}", shown(&made));
    let data = server.data();
    assert!(server.stop().success());
    assert!(!data.join("serve.json").exists());
    let read = binary().args(["sql", "--data"]).arg(&data).args(["-c", "SELECT count(*) FROM t"]).output().unwrap();
    assert!(text(&read.stdout).contains('3'), "{}", shown(&read));
}
