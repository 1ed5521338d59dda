//! TPC-H: its 22 queries as maintained views over its data, through its refreshes and further updates, each answer PostgreSQL's.
//!
//! ```text
//! load ─ results ─▶ new orders ─ results ─▶ old orders go ─ results ─▶ updates of every table ─ results        in each of four ways
//! ```
//! Data and query templates are those of the crate `tpchgen` (the specification's generator and texts, filled in with parameters
//! under which a hundredth of scale factor 1 has answers). Nothing is kept in a file: PostgreSQL says what is right while the test runs.

mod data;
mod queries;

use regauge_oracle::answer::Answer;
use regauge_oracle::regauge::{Regauge, Views};
use regauge_oracle::slt::{Block, Expected, File};
use regauge_oracle::system::System as _;

use super::slt::answered_in_all_ways;

/// Statements of one commit.
fn commit(statements: &[&str]) -> Block {
    Block::Statement { sql: statements.iter().map(ToString::to_string).collect(), fails: None }
}

/// What every view holds at this point.
fn results() -> impl Iterator<Item = Block> {
    queries::ALL.iter().map(|query| Block::Result {
        name: query.name(),
        expected: Expected::Rows { answer: Answer::default(), inexact: query.inexact.to_vec() },
    })
}

fn file() -> File {
    let orders = data::Orders::new();
    let mut blocks: Vec<Block> = data::TABLES.iter().map(|table| commit(&[table])).collect();
    blocks.extend(queries::ALL.iter().flat_map(queries::Query::views));
    blocks.extend(data::small_tables());
    blocks.extend(orders.first());
    blocks.extend(results());
    blocks.extend(orders.second());
    blocks.extend(results());
    blocks.push(commit(&["DELETE FROM lineitem WHERE l_orderkey % 32 = 1", "DELETE FROM orders WHERE o_orderkey % 32 = 1"]));
    blocks.extend(results());
    blocks.extend(data::UPDATES.iter().map(|update| commit(&[update])));
    blocks.extend(results());
    File { blocks }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_22_queries_as_views_are_what_postgres_answers_through_refreshes_and_updates() {
    answered_in_all_ways("tpch", &file(), data::INDEXES).await;
}

/// What a product costs is seen at a hundred times the rows of these tests only: q17's was 24 GB at scale factor 1.
#[tokio::test(flavor = "multi_thread")]
async fn no_view_of_it_keeps_a_product() {
    let mut system = Regauge::new(1, Views::Maintained, 0).unwrap();
    for table in data::TABLES {
        system.run(table).await.unwrap().unwrap();
    }
    let mut explained = 0;
    for block in queries::ALL.iter().flat_map(queries::Query::views) {
        let Block::View { name, sql, .. } = block else { panic!("only views are expected") };
        system.run(&format!("CREATE MATERIALIZED VIEW {name} AS {sql}")).await.unwrap().unwrap();
        let bare = name.split_whitespace().next().unwrap();
        let plan = system.query(&format!("EXPLAIN MATERIALIZED VIEW {bare}")).await.unwrap().unwrap();
        let text = format!("{:?}", plan.rows);
        assert!(text.contains("Source topic"), "{name}: {text}");
        assert!(!text.contains("every row of one side"), "{name}: {text}");
        explained += 1;
    }
    assert_eq!(explained, 23, "22 queries, and the view that one of them reads");
}
