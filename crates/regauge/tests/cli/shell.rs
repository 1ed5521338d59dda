//! `regauge sql` over a folder and over the server that holds it: the same statements, the same rows.

use crate::{server::Server, sql, text, with_input};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

fn both(test: impl Fn(&Path)) {
    for through_server in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert!(sql(&data, "CREATE TABLE t (k INT PRIMARY KEY, v TEXT)").status.success());
        let server = through_server.then(|| Server::start(&data));
        test(&data);
        if let Some(server) = server {
            assert_eq!(server.stop(), Some(0));
        }
    }
}

#[test]
fn copy_reads_rows_from_standard_input() {
    both(|data| {
        let data = data.to_str().unwrap();
        let copied = with_input(&["sql", "--data", data, "-c", "COPY t FROM STDIN (FORMAT csv)"], b"1,a\n2,\"b\nc\"\n");
        assert!(copied.status.success() && text(&copied.stdout).contains("COPY 2"), "{}", text(&copied.stderr));
        let wrong = with_input(&["sql", "--data", data, "-c", "COPY t FROM STDIN (FORMAT csv)"], b"3,a\nx,b\n");
        assert_eq!(wrong.status.code(), Some(1));
        assert!(text(&wrong.stderr).contains("22P02") && text(&wrong.stderr).contains("line 2"), "{}", text(&wrong.stderr));
        let script =
            b"BEGIN;\nCOPY t FROM STDIN;\n7\tseven\n\\.\nSELECT v FROM t\n WHERE k = 7;\nROLLBACK;\nSELECT count(*) FROM t;\n";
        let run = with_input(&["sql", "--data", data], script);
        let shown = text(&run.stdout);
        assert!(run.status.success() && shown.contains("seven") && shown.contains("| 2 "), "{shown}{}", text(&run.stderr));
    });
}

#[test]
fn errors_are_told_alike() {
    both(|data| {
        let wrong = sql(data, "SELECT * FROM nothing_here");
        assert_eq!(wrong.status.code(), Some(1));
        assert!(text(&wrong.stderr).contains("42P01"), "{}", text(&wrong.stderr));
        let duplicate = sql(data, "INSERT INTO t VALUES (1, 'a'), (1, 'b')");
        let error = text(&duplicate.stderr);
        assert!(error.contains("23505") && error.contains("detail: Key (k)=(1)"), "{error}");
    });
}

#[test]
fn a_subscription_is_printed_as_it_comes() {
    both(|data| {
        sql(data, "INSERT INTO t VALUES (1, 'one'), (2, NULL)");
        let mut child = Command::new(env!("CARGO_BIN_EXE_regauge"))
            .args(["sql", "-c", "SUBSCRIBE TO t", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || lines.next().unwrap().unwrap();
        assert_eq!(next(), "epoch\tdiff\tk\tv");
        let mut rows = vec![next(), next()];
        rows.sort();
        assert!(rows[0].ends_with("\t1\t1\tone") && rows[1].ends_with("\t1\t2\t"), "{rows:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn copy_reads_and_writes_files_of_this_machine() {
    both(|data| {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        std::fs::write(file("in it's.csv"), "k,v\n1,a\n2,\"b\nc\"\n").unwrap();
        let path = file("in it's.csv").display().to_string().replace('\'', "''");
        let read = sql(data, &format!("COPY t (k, v) FROM '{path}' WITH (FORMAT csv, HEADER)"));
        assert!(read.status.success() && text(&read.stdout).contains("COPY 2"), "{}", text(&read.stderr));
        let out = file("out.csv");
        let written = sql(data, &format!("\\copy (SELECT k, v FROM t ORDER BY k) to '{}' csv", out.display()));
        assert!(written.status.success() && text(&written.stdout).contains("COPY"), "{}", text(&written.stderr));
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "1,a\n2,\"b\nc\"\n");
        let there = sql(data, "COPY t TO STDOUT");
        assert!(there.status.success() && text(&there.stdout).starts_with("1\ta\n"), "{}", text(&there.stderr));
        // A file is written once there are rows for it, and read from where it is.
        let wrong = sql(data, &format!("COPY nowhere TO '{}'", out.display()));
        assert!(wrong.status.code() == Some(1) && text(&wrong.stderr).contains("42P01"), "{}", text(&wrong.stderr));
        assert!(std::fs::read_to_string(&out).unwrap().starts_with("1,a"));
        let missing = sql(data, "COPY t FROM 'nowhere/at/all.csv'");
        assert!(
            missing.status.code() == Some(1) && text(&missing.stderr).contains("nowhere/at/all.csv"),
            "{}",
            text(&missing.stderr)
        );
    });
}

/// Runs a file of statements.
fn file(data: &Path, script: &str, more: &[&str]) -> Output {
    let path = data.with_file_name("script.sql");
    std::fs::write(&path, script).unwrap();
    Command::new(env!("CARGO_BIN_EXE_regauge")).args(["sql", "--data"]).arg(data).args(more).arg(&path).output().unwrap()
}

#[test]
fn a_file_runs_statement_by_statement_and_names_the_line_of_an_error() {
    both(|data| {
        let script = "-- rows follow, as in a dump;\nCOPY t FROM stdin;\n1\tone; two\n\\.\nINSERT INTO t\n  VALUES (2, ';');\n\n\
                      SELECT 1 / (k - 1)\n FROM t;\nINSERT INTO t VALUES (3, 'c');";
        let run = file(data, script, &[]);
        let error = text(&run.stderr);
        assert_eq!(run.status.code(), Some(3), "{error}");
        assert!(error.contains("script.sql:8: ") && error.contains("22012"), "{error}");
        let stored = |n: u32| {
            let counted = sql(data, "SELECT count(*) FROM t");
            assert!(text(&counted.stdout).contains(&format!("| {n} ")), "{}", text(&counted.stdout));
        };
        stored(2);
        // As one transaction nothing of it is stored, or all.
        let run = file(data, "DELETE FROM t;\nSELECT nothing;", &["-1"]);
        assert!(run.status.code() == Some(3) && text(&run.stderr).contains("script.sql:2: "), "{}", text(&run.stderr));
        stored(2);
        let run = file(data, "DELETE FROM t; INSERT INTO t VALUES (9, 'z');", &["--single-transaction"]);
        assert!(run.status.success(), "{}", text(&run.stderr));
        stored(1);
        let run = with_input(&["sql", "--data", data.to_str().unwrap()], b"SELECT 1;\n\\x\n");
        assert!(run.status.code() == Some(3) && text(&run.stderr).contains("line 2: "), "{}", text(&run.stderr));
    });
}
