//! An instance with relations of every kind, and answers as text.

use arrow::{array::RecordBatch, util::display::array_value_to_string};
use regauge_views::{Config, Error, Instance, Response, Session, SessionOptions};
use tempfile::TempDir;

pub struct Site {
    _dir: TempDir,
    _instance: Instance,
}

pub async fn site() -> (Site, Session) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path()).workers(1);
    // a machine may be slow
    config.limits.causal_timeout = std::time::Duration::from_secs(120);
    let instance = Instance::open(config).unwrap();
    regauge_serve::pg_catalog::install(&instance);
    let mut session = instance.session(SessionOptions::default()).unwrap();
    for sql in [
        "CREATE TABLE friends (user_id bigint, friend_id bigint, note varchar(20) DEFAULT 'x', weight numeric(10,2), \
         PRIMARY KEY (user_id, friend_id))",
        "CREATE STREAM messages (sender bigint NOT NULL, body text, sent_at timestamptz)",
        "CREATE VIEW v AS SELECT sender, count(*) AS n FROM messages GROUP BY sender",
        "CREATE MATERIALIZED VIEW mv AS SELECT sender, count(*) AS n FROM messages GROUP BY sender",
    ] {
        run(&mut session, sql).await;
    }
    (Site { _dir: dir, _instance: instance }, session)
}

/// Runs a text that must succeed; rows of its last statement, values joined by `|`, or its tag.
pub async fn run(session: &mut Session, sql: &str) -> Vec<String> {
    match attempt(session, sql).await {
        Ok(rows) => rows,
        Err(error) => panic!("{sql}\n  failed: {error}"),
    }
}

/// As [`run`], and may fail.
pub async fn attempt(session: &mut Session, sql: &str) -> Result<Vec<String>, Error> {
    let mut last = vec![];
    for response in session.execute(sql).await? {
        last = match response {
            Response::Rows(rows) => lines(&rows.collect().await?),
            Response::Command { tag, .. } => vec![tag],
            _ => panic!("no rows: {sql}"),
        };
    }
    Ok(last)
}

pub fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let line = |b: &RecordBatch, row: usize| {
        let cell = |c: &arrow::array::ArrayRef| {
            let null = c.is_null(row) || *c.data_type() == arrow::datatypes::DataType::Null;
            if null { "NULL".to_owned() } else { array_value_to_string(c, row).unwrap() }
        };
        b.columns().iter().map(cell).collect::<Vec<_>>().join("|")
    };
    batches.iter().flat_map(|b| (0..b.num_rows()).map(move |row| line(b, row))).collect()
}

/// Texts of a file: `--- name` begins one.
pub fn texts(file: &'static str) -> Vec<(&'static str, &'static str)> {
    let blocks = file.split("--- ").skip(1).filter_map(|b| b.split_once('\n'));
    blocks.map(|(name, text)| (name, text.trim().trim_end_matches(';'))).collect()
}

/// A text with the oids of this instance in the place of `{relation}`.
pub async fn filled(session: &mut Session, text: &str) -> String {
    let mut text = text.to_owned();
    for name in ["friends", "messages", "v", "mv", "friends_pkey"] {
        let oid = run(session, &format!("SELECT oid FROM pg_catalog.pg_class WHERE relname = '{name}'")).await;
        text = text.replace(&format!("{{{name}}}"), &oid[0]);
    }
    text
}
