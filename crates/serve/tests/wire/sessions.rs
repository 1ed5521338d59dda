//! What a client brings, and what it is told.

use crate::{
    common::{code, rows, site, sqlstate},
    raw::{Raw, query},
};
use tokio_postgres::NoTls;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_brings_its_settings_and_reset_goes_back_to_them() {
    let site = site().await;
    let mut config = site.config();
    config.application_name("mine").options("-c statement_timeout=700s --search-path=other,public");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(rows(&client, "SHOW application_name").await, ["mine"]);
    assert_eq!(rows(&client, "SHOW statement_timeout").await, ["700s"]);
    client.batch_execute("SET statement_timeout = 0; SET application_name = 'other'").await.unwrap();
    client.batch_execute("RESET ALL").await.unwrap();
    assert_eq!(rows(&client, "SHOW statement_timeout").await, ["700s"]);
    for (options, expected) in [("-c nothing_like_it=1", "42704"), ("-z", "42601"), ("-c client_encoding=latin1", "22023")] {
        let mut config = site.config();
        config.options(options);
        let error = config.connect(NoTls).await.err().expect("refused");
        assert_eq!(sqlstate(&error), expected, "{options}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_database() {
    let site = site().await;
    let mut config = site.config();
    config.dbname("postgres");
    assert_eq!(sqlstate(&config.connect(NoTls).await.err().expect("refused")), "3D000");
    // Without a name it is the user's, as in PostgreSQL.
    let raw = Raw::admitted(&site).await;
    drop(raw);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_changes_is_reported() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    raw.send(&query("SET application_name = 'new'")).await;
    let answers = raw.until_ready().await;
    assert_eq!(answers[0], (b'S', b"application_name\0new\0".to_vec()));
    raw.send(&query("BEGIN; SET LOCAL application_name = 'local'; ROLLBACK")).await;
    let told: Vec<_> = raw.until_ready().await.into_iter().filter(|(letter, _)| *letter == b'S').map(|(_, body)| body).collect();
    assert_eq!(told, [b"application_name\0local\0".to_vec(), b"application_name\0new\0".to_vec()]);
    raw.send(&query("SET statement_timeout = 5")).await;
    assert_eq!(raw.letters().await, "CZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_ignored_is_refused() {
    let site = site().await;
    let client = site.client().await;
    for sql in [
        "SET DateStyle = 'German'",
        "SET DateStyle = 'ISO, DMY'",
        "SET IntervalStyle = 'iso_8601'",
        "SET bytea_output = 'escape'",
        "SET extra_float_digits = 0",
    ] {
        assert_eq!(code(&client, sql).await, "0A000", "{sql}");
    }
    for sql in ["SET TimeZone = 'Etc/UTC'", "SET TIME ZONE 'UTC'", "SET DateStyle = 'ISO, MDY'", "SET extra_float_digits = 3"] {
        assert_eq!(code(&client, sql).await, "00000", "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_and_the_place_of_an_error_reach_the_client() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    raw.send(&query("COMMIT")).await;
    assert_eq!(raw.letters().await, "NCZ");
    let client = site.client().await;
    let error = client.simple_query("SELECT 1 +").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "42601");
    assert!(error.position().is_some(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deallocate_takes_statements_back() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    for (sql, left) in [("DEALLOCATE a", "b"), ("DEALLOCATE ALL", ""), ("DISCARD ALL", "")] {
        for name in ["a", "b"] {
            raw.send(
                &[
                    crate::raw::message(b'C', format!("S{name}\0").as_bytes()),
                    crate::raw::parse(name, "SELECT 1"),
                    crate::raw::sync(),
                ]
                .concat(),
            )
            .await;
            assert_eq!(raw.letters().await, "31Z");
        }
        raw.send(&query(sql)).await;
        raw.until_ready().await;
        for name in ["a", "b"] {
            raw.send(&[crate::raw::bind("", name), crate::raw::sync()].concat()).await;
            assert_eq!(raw.letters().await, if left == name { "2Z" } else { "EZ" }, "{sql} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_search_path_finds_nothing_without_its_schema() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    for empty in ["SET search_path = ''", "SELECT pg_catalog.set_config('search_path', '', false)"] {
        client.batch_execute(empty).await.unwrap();
        assert_eq!(code(&client, "SELECT id FROM t").await, "42P01", "{empty}");
        assert_eq!(rows(&client, "SELECT id FROM public.t").await, ["1"]);
        assert_eq!(
            rows(&client, "SELECT current_schema(), (SELECT count(*) FROM pg_class WHERE relname = 't')").await,
            ["NULL|1"]
        );
        assert_eq!(code(&client, "CREATE TABLE u (id INT)").await, "3F000");
        client.batch_execute("CREATE VIEW public.v AS SELECT id + 1 AS n FROM public.t").await.unwrap();
        assert_eq!(rows(&client, "SELECT n FROM public.v").await, ["2"]);
        client.batch_execute("DROP VIEW public.v; RESET search_path").await.unwrap();
        assert_eq!(rows(&client, "SELECT id FROM t").await, ["1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_as_values_are_shown_as_texts_and_ordered_by_their_columns() {
    let site = site().await;
    let client = site.client().await;
    let of = "FROM (VALUES (9), (10)) AS v (a)";
    assert_eq!(rows(&client, &format!("SELECT (a, 'x') AS r {of}")).await, ["(9,x)", "(10,x)"]);
    assert_eq!(rows(&client, &format!("SELECT (a, 'x') AS r {of} ORDER BY r")).await, ["(9,x)", "(10,x)"]);
    assert_eq!(rows(&client, &format!("SELECT (a, 'x') AS r {of} ORDER BY r DESC")).await, ["(10,x)", "(9,x)"]);
    let distinct = "SELECT DISTINCT (a, 'x') AS r FROM (VALUES (9), (10), (9)) AS v (a)";
    assert_eq!(rows(&client, &format!("SELECT count(*) FROM ({distinct}) AS d")).await, ["2"]);
    assert_eq!(code(&client, &format!("{distinct} ORDER BY r")).await, "0A000", "their texts have another order");
}
