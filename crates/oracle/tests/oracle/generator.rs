//! The generator: what it draws is the same for ever, and leaves no operator out.

use regauge_oracle::case::{Change, Step};
use regauge_oracle::generate::{Sizes, case};
use regauge_oracle::system::Dialect;

const SIZES: Sizes = Sizes { views: 8, commits: 10, batch_max: 1_000 };

fn scripts(dialect: Dialect) -> String {
    (0..1000).map(|seed| case(seed, &SIZES).script(dialect)).collect()
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
        "rank() OVER ",
        "dense_rank() OVER ",
        "percent_rank() OVER ",
        "cume_dist() OVER ",
        "ntile(",
        "lag(",
        "lead(",
        "first_value(",
        "last_value(",
        "nth_value(",
        " WINDOW w AS (",
        "ROWS BETWEEN ",
        "GROUPS BETWEEN ",
        "RANGE BETWEEN INTERVAL ",
        " EXCLUDE CURRENT ROW",
        " EXCLUDE GROUP",
        " EXCLUDE TIES",
        "WITH RECURSIVE ",
        "generate_series(",
        "string_to_table(",
        "regexp_split_to_table(",
        " WITH ORDINALITY AS ",
        "TUMBLE(",
        "HOP(",
        "CUMULATE(",
        "SESSION(",
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
        "variance(",
        "var_pop(",
        "stddev(",
        "stddev_samp(",
        "variance(DISTINCT ",
        "corr(",
        "covar_pop(",
        "regr_count(",
        "regr_slope(",
        "regr_intercept(",
        "bit_and(",
        "bit_xor(",
        "mode() WITHIN GROUP (ORDER BY ",
        "percentile_cont(0.5) WITHIN GROUP",
        "percentile_disc(0.25) WITHIN GROUP",
        "percentile_cont(ARRAY[",
        "percentile_disc(ARRAY[",
        "CASE WHEN ",
        "COALESCE(",
        "NULLIF(",
        " LIKE ",
        " IS DISTINCT FROM ",
        " BETWEEN ",
        "CREATE STREAM ",
        "DROP MATERIALIZED VIEW ",
        "array_agg(DISTINCT ",
        "string_agg(DISTINCT ",
        "sum(DISTINCT ",
        "DELETE FROM ",
        " SET id = id + ",
        ") SELECT id + ",
        "UPDATE ",
        "ON CONFLICT (id) DO UPDATE",
        "ON CONFLICT (id) DO NOTHING",
        "-- restart with ",
        "numeric(12,2)",
        "double precision",
        "timestamp",
        "boolean",
        "bigint",
        "INTERVAL '29 days 24 hours'",
        "CAST('1.00' AS jsonb)",
        "CAST('-0' AS double precision)",
        "DATE '",
        "TIMESTAMPTZ '",
        " bytea",
        " uuid",
        " AT TIME ZONE 'Europe/Berlin'",
        " SIMILAR TO ",
        "regexp_replace(",
        "to_char(",
        " OVERLAPS ",
        " = ANY (ARRAY[",
        "jsonb_agg(",
        "jsonb_object_agg(",
        "GROUPING(",
        " USING (",
        "(VALUES (",
        "unnest(ARRAY[",
        " LEFT JOIN LATERAL generate_series(",
        " - INTERVAL '1 hours' AND ",
        "ln(abs(",
        "string_to_array(",
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

#[test]
fn schedules_have_batches_of_all_sizes_restarts_with_other_workers_and_views_that_come_again() {
    let sizes = Sizes { batch_max: 10_000, ..SIZES };
    let (mut largest, mut single, mut workers, mut again) = (0, 0, [0; 5], 0);
    for seed in 0..100 {
        let case = case(seed, &sizes);
        let mut created = vec![0; case.views.len()];
        workers[case.workers] += 1;
        for step in &case.steps {
            match step {
                Step::Create(view) => created[*view] += 1,
                Step::Restart(n) => workers[*n] += 1,
                Step::Commit(changes) => {
                    for change in changes {
                        if let Change::Insert { rows, .. } = change {
                            largest = largest.max(rows.len());
                            single += usize::from(rows.len() == 1);
                        }
                    }
                }
                Step::Drop(_) => {}
            }
        }
        again += created.iter().filter(|n| **n > 1).count();
    }
    assert!(largest >= 10_000 && single > 20 && workers[1..].iter().all(|n| *n > 5) && again > 0);
}
