//! Every text that psql 15 and SQLAlchemy 2.1 were seen to send to PostgreSQL 15 plans and runs here.

use crate::common::{attempt, filled, site, texts};

async fn all_run(file: &'static str, least: usize) {
    let (_site, mut session) = site().await;
    let texts = texts(file);
    assert!(texts.len() >= least, "{} texts", texts.len());
    let mut failures = vec![];
    for (name, text) in texts {
        let text = filled(&mut session, text).await;
        if let Err(error) = attempt(&mut session, &text).await {
            failures.push(format!("{name}: {error}\n{text}\n"));
            attempt(&mut session, "ROLLBACK").await.unwrap();
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_of_psql_runs() {
    all_run(include_str!("texts/psql15.sql"), 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_of_sqlalchemy_runs() {
    all_run(include_str!("texts/sqlalchemy_psycopg2.sql"), 30).await;
}
