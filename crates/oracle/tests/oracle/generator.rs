//! The generator: what it draws is the same for ever, and leaves no operator out.

use regauge_oracle::case::Step;
use regauge_oracle::generate::{Sizes, case};
use regauge_oracle::system::Dialect;

const SIZES: Sizes = Sizes { views: 8, commits: 10, batch_max: 1_000 };

fn scripts(dialect: Dialect) -> String {
    (0..50).map(|seed| case(seed, &SIZES).script(dialect)).collect()
}

#[test]
fn a_seed_draws_the_same_case_again() {
    for seed in [1, 7, u64::MAX] {
        let (one, two) = (case(seed, &SIZES), case(seed, &SIZES));
        assert_eq!(one.script(Dialect::Regauge), two.script(Dialect::Regauge));
        assert_eq!(one.workers, two.workers);
    }
}

#[test]
fn no_operator_and_no_kind_of_change_is_left_out() {
    let script = scripts(Dialect::Regauge);
    for word in [
        " JOIN ",
        " LEFT JOIN ",
        " RIGHT JOIN ",
        " FULL JOIN ",
        "WHERE EXISTS (",
        "WHERE NOT EXISTS (",
        " IN (SELECT ",
        " NOT IN (SELECT ",
        "SELECT DISTINCT ",
        " UNION ALL ",
        " UNION SELECT",
        " INTERSECT SELECT",
        " INTERSECT ALL ",
        " EXCEPT SELECT",
        " EXCEPT ALL ",
        " LIMIT ",
        " OFFSET ",
        "row_number() OVER (PARTITION BY",
        "TUMBLE(",
        "HOP(",
        "WITH ",
        " GROUP BY ",
        " HAVING ",
        " FILTER (WHERE ",
        "count(DISTINCT ",
        "sum(",
        "avg(",
        "min(",
        "max(",
        "bool_and(",
        "bool_or(",
        "string_agg(",
        "array_agg(",
        "CASE WHEN ",
        "COALESCE(",
        "NULLIF(",
        " LIKE ",
        " IS DISTINCT FROM ",
        " BETWEEN ",
        "CREATE STREAM ",
        "DROP MATERIALIZED VIEW ",
        "DELETE FROM ",
        "UPDATE ",
        "ON CONFLICT (id) DO UPDATE",
        "ON CONFLICT (id) DO NOTHING",
        "-- restart with ",
        "numeric(12,2)",
        "double precision",
        "timestamp",
        "boolean",
        "bigint",
    ] {
        assert!(script.contains(word), "never drawn: {word}");
    }
}

#[test]
fn views_come_before_the_data_in_the_middle_and_read_each_other() {
    let (mut first, mut later, mut nested, mut together) = (0, 0, 0, 0);
    for seed in 0..50 {
        let case = case(seed, &SIZES);
        let commit = case.steps.iter().position(|step| matches!(step, Step::Commit(_))).unwrap();
        for (at, step) in case.steps.iter().enumerate() {
            match step {
                Step::Create(_) if at < commit => first += 1,
                Step::Create(_) => later += 1,
                Step::Commit(changes) if changes.len() > 1 => together += 1,
                _ => {}
            }
        }
        nested += case.views.iter().filter(|view| !view.uses.is_empty()).count();
    }
    assert!(first > 50 && later > 50 && nested > 50 && together > 50);
}
