//! `regauge sql` over a folder and over the server that holds it: the same statements, the same rows.

use crate::{server::Server, sql, text, with_input};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
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
