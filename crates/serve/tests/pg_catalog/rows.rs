//! What the answers hold.

use crate::common::{attempt, filled, run, site, texts};

/// The n-th text of psql under a name.
fn psql(name: &str, n: usize) -> &'static str {
    let all = texts(include_str!("texts/psql15.sql"));
    all.into_iter().filter(|(of, _)| *of == name).nth(n).unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn d_lists_relations_of_every_kind() {
    let (_site, mut s) = site().await;
    let all = [
        "public|friends|table|regauge",
        "public|messages|table|regauge",
        "public|mv|materialized view|regauge",
        "public|v|view|regauge",
    ];
    assert_eq!(run(&mut s, psql("\\d", 0)).await, all);
    assert_eq!(run(&mut s, psql("\\dt", 0)).await, all[..2]);
    assert_eq!(run(&mut s, psql("\\dm", 0)).await, all[2..3]);
    assert_eq!(run(&mut s, psql("\\dv", 0)).await, all[3..]);
    assert_eq!(run(&mut s, psql("\\di", 0)).await, ["public|friends_pkey|index|regauge|friends"]);
    assert_eq!(run(&mut s, psql("\\df", 0)).await, [""; 0]);
    assert_eq!(run(&mut s, psql("\\dn", 0)).await, ["public|regauge", "regauge|regauge"]);
    assert_eq!(run(&mut s, psql("\\l", 0)).await, ["regauge|regauge|UTF8|C|C|NULL|libc|NULL"]);
    assert_eq!(run(&mut s, psql("\\du", 0)).await, ["regauge|true|true|true|true|true|-1|NULL|[]|false|true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn d_of_a_table_tells_columns_key_and_defaults() {
    let (_site, mut s) = site().await;
    let at = "SELECT oid FROM pg_class WHERE relname = 'friends'";
    let oid = run(&mut s, at).await.remove(0);
    assert_eq!(run(&mut s, psql("\\d friends", 0)).await, [format!("{oid}|public|friends")]);
    let about = filled(&mut s, psql("\\d friends", 1)).await;
    assert_eq!(run(&mut s, &about).await, ["0|r|true|false|false|false|false|false|false||0||p|d|heap"]);
    let columns = filled(&mut s, psql("\\d friends", 2)).await;
    let expected = [
        "user_id|bigint|NULL|true|NULL||",
        "friend_id|bigint|NULL|true|NULL||",
        "note|character varying(20)|'x'|false|NULL||",
        "weight|numeric(10,2)|NULL|false|NULL||",
    ];
    assert_eq!(run(&mut s, &columns).await, expected);
    let indexes = filled(&mut s, psql("\\d friends", 3)).await;
    let pkey =
        "CREATE UNIQUE INDEX friends_pkey ON public.friends USING btree (user_id, friend_id)|PRIMARY KEY (user_id, friend_id)";
    assert_eq!(run(&mut s, &indexes).await, [format!("friends_pkey|true|true|false|true|{pkey}|p|false|false|false|0")]);
    for n in 4..9 {
        let none = filled(&mut s, psql("\\d friends", n)).await;
        assert_eq!(run(&mut s, &none).await, [""; 0], "{none}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_tell_their_definition() {
    let (_site, mut s) = site().await;
    let sql = "SELECT sender, count(*) AS n FROM messages GROUP BY sender";
    for view in ["v", "mv"] {
        let text = format!("SELECT pg_catalog.pg_get_viewdef('{view}'::regclass, true)");
        assert_eq!(run(&mut s, &text).await, [format!(" {sql};")]);
    }
    assert_eq!(run(&mut s, "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'").await, [format!("v|{sql}")]);
    assert_eq!(run(&mut s, "SELECT matviewname, ispopulated FROM pg_matviews").await, ["mv|true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn information_schema_tells_tables_and_columns() {
    let (_site, mut s) = site().await;
    let tables = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    assert_eq!(run(&mut s, tables).await, ["friends|BASE TABLE", "messages|BASE TABLE", "v|VIEW"]);
    let columns = "SELECT column_name, data_type, is_nullable, column_default, character_maximum_length, numeric_precision, \
                   numeric_scale, udt_name FROM information_schema.columns WHERE table_name = 'friends' ORDER BY ordinal_position";
    let expected = [
        "user_id|bigint|NO|NULL|NULL|64|0|int8",
        "friend_id|bigint|NO|NULL|NULL|64|0|int8",
        "note|character varying|YES|'x'|20|NULL|NULL|varchar",
        "weight|numeric|YES|NULL|NULL|10|2|numeric",
    ];
    assert_eq!(run(&mut s, columns).await, expected);
    let key = "SELECT kcu.column_name FROM information_schema.table_constraints tc JOIN information_schema.key_column_usage kcu \
               ON tc.constraint_name = kcu.constraint_name AND tc.table_schema = kcu.table_schema \
               WHERE tc.constraint_type = 'PRIMARY KEY' AND tc.table_name = 'friends' ORDER BY kcu.ordinal_position";
    assert_eq!(run(&mut s, key).await, ["user_id", "friend_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_tells_whether_it_is_an_array_by_the_name_of_its_input_function() {
    let (_site, mut s) = site().await;
    let arrays =
        "SELECT typname FROM pg_type WHERE typinput = 'pg_catalog.array_in'::regproc AND typname IN ('_int8', 'int8') ORDER BY 1";
    assert_eq!(run(&mut s, arrays).await, ["_int8"]);
    assert_eq!(run(&mut s, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_index_keys'").await, ["32"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_know_the_session() {
    let (_site, mut s) = site().await;
    let version = run(&mut s, "select pg_catalog.version()").await;
    assert!(version[0].starts_with("PostgreSQL 16.6"), "{version:?}");
    assert_eq!(
        run(&mut s, "SELECT current_schema(), current_database(), current_user, session_user").await,
        ["public|regauge|regauge|regauge"]
    );
    assert_eq!(run(&mut s, "SELECT current_schema").await, ["public"]);
    assert_eq!(run(&mut s, "SELECT current_schemas(true)").await, ["[pg_catalog, public]"]);
    run(&mut s, "SET application_name = 'me'").await;
    assert_eq!(run(&mut s, "SELECT current_setting('application_name'), current_setting('no.such', true)").await, ["me|NULL"]);
    assert_eq!(attempt(&mut s, "SELECT current_setting('nope')").await.unwrap_err().sqlstate, "42704");
    assert_eq!(
        run(&mut s, "SELECT to_regclass('nope'), 'friends'::regclass, 'int4'::regtype::oid, 1043::regtype").await,
        ["NULL|friends|23|character varying"]
    );
    assert_eq!(attempt(&mut s, "SELECT 'nope'::regclass").await.unwrap_err().sqlstate, "42P01");
    assert_eq!(
        run(&mut s, "SELECT format_type(1700, 655366), format_type(1009, NULL), pg_get_userbyid(10)").await,
        ["numeric(10,2)|text[]|regauge"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_the_catalog_shows_in_the_next_statement_and_in_the_transaction_itself() {
    let (_site, mut s) = site().await;
    let count = "SELECT count(*) FROM pg_class WHERE relname = 'newcomer'";
    assert_eq!(run(&mut s, count).await, ["0"]);
    run(&mut s, "BEGIN").await;
    run(&mut s, "CREATE TABLE newcomer (id INT PRIMARY KEY)").await;
    assert_eq!(run(&mut s, count).await, ["1"]);
    run(&mut s, "ROLLBACK").await;
    assert_eq!(run(&mut s, count).await, ["0"]);
    run(&mut s, "CREATE TABLE newcomer (id INT PRIMARY KEY)").await;
    assert_eq!(run(&mut s, count).await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_the_catalogue_and_settings_are_of_the_moment() {
    let (_site, mut s) = site().await;
    run(&mut s, "CREATE VIEW mine AS SELECT setting FROM pg_settings WHERE name = 'application_name'").await;
    for name in ["one", "two"] {
        run(&mut s, &format!("SET application_name = '{name}'")).await;
        for text in ["SELECT setting FROM mine", "SELECT setting FROM pg_settings WHERE name = 'application_name'"] {
            assert_eq!(run(&mut s, text).await, [name], "{text}");
        }
    }
    assert_eq!(run(&mut s, "SELECT application_name, state FROM pg_stat_activity").await, ["two|active"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_system_relation_can_be_read_and_has_the_columns_that_it_lists() {
    let (_site, mut s) = site().await;
    let all = run(
        &mut s,
        "SELECT n.nspname || '.' || c.relname, c.relnatts FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname <> 'public' ORDER BY 1",
    )
    .await;
    assert!(all.len() > 80, "{}", all.len());
    for line in all {
        let (name, n) = line.split_once('|').unwrap();
        let listed = run(&mut s, &format!("SELECT count(*) FROM pg_attribute WHERE attrelid = '{name}'::regclass")).await;
        assert_eq!(listed, [n], "{name}");
        run(&mut s, &format!("SELECT * FROM {name}")).await;
    }
    let twice = "SELECT oid FROM pg_class GROUP BY oid HAVING count(*) > 1";
    assert_eq!(run(&mut s, twice).await, [""; 0], "oids are unique");
}

/// The text of another client under a name.
async fn other(s: &mut regauge_views::Session, name: &str) -> Vec<String> {
    let all = texts(include_str!("texts/others.sql"));
    let text = all.into_iter().find(|(of, _)| *of == name).unwrap().1;
    let text = filled(s, text).await;
    run(s, &text).await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_clients_are_told_keys_columns_and_tables() {
    let (_site, mut s) = site().await;
    assert_eq!(other(&mut s, "pgjdbc getTables").await, ["NULL|public|friends|TABLE|NULL|||||"]);
    assert_eq!(
        other(&mut s, "pgjdbc getPrimaryKeys").await,
        ["regauge|public|friends|user_id|1|friends_pkey", "regauge|public|friends|friend_id|2|friends_pkey"]
    );
    assert_eq!(
        other(&mut s, "pgjdbc getColumns").await[2],
        "regauge|public|friends|note|1043|false|24|-1|-1|3|NULL|NULL|'x'|NULL|0|b"
    );
    assert_eq!(other(&mut s, "Django constraints").await, ["friends_pkey|[user_id, friend_id]|p|NULL|NULL"]);
    assert_eq!(other(&mut s, "Rails primary keys").await, ["user_id", "friend_id"]);
    assert_eq!(other(&mut s, "PostgREST-like lateral").await, ["friends|1|1", "friends|2|2"]);
    assert_eq!(other(&mut s, "Grafana tables").await, ["friends", "messages"]);
    assert_eq!(
        other(&mut s, "Grafana columns").await,
        ["user_id|bigint", "friend_id|bigint", "note|character varying", "weight|numeric"]
    );
    let shown = other(&mut s, "Grafana schemas").await;
    assert!(["friends", "messages", "v"].iter().all(|t| shown.iter().any(|s| s == t)), "{shown:?}");
    assert_eq!(other(&mut s, "Grafana version").await, ["1600"]);
    assert_eq!(other(&mut s, "pgjdbc type by oid").await, ["true|pg_catalog|varchar"]);
    assert_eq!(other(&mut s, "tokio-postgres type").await, ["varchar|b|0|NULL|0|pg_catalog|0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn subqueries_of_system_statements_keep_sqls_rules() {
    let (_site, mut s) = site().await;
    let many = "SELECT (SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid) FROM pg_class c WHERE c.relname = 'friends'";
    assert!(attempt(&mut s, many).await.unwrap_err().message.contains("more than one row"));
    let latest = "SELECT (SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid ORDER BY attnum DESC LIMIT 1), \
                  (SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 100), \
                  ARRAY(SELECT attname FROM pg_attribute a WHERE a.attrelid = c.oid AND attnum > 100), \
                  c.oid IN (SELECT conrelid FROM pg_constraint), \
                  c.oid + 1 NOT IN (SELECT conrelid FROM pg_constraint), \
                  EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid) \
                  FROM pg_class c WHERE c.relname IN ('friends', 'messages') ORDER BY c.relname";
    assert_eq!(run(&mut s, latest).await, ["weight|NULL|[]|true|true|true", "sent_at|NULL|[]|false|true|false"]);
    let nested = "SELECT ARRAY(SELECT a.attname || '/' || (SELECT t.typname FROM pg_type t WHERE t.oid = a.atttypid AND \
                  a.attrelid = c.oid) FROM pg_attribute a WHERE a.attrelid = c.oid ORDER BY a.attnum) \
                  FROM pg_class c WHERE c.relname = 'v'";
    assert_eq!(run(&mut s, nested).await, ["[sender/int8, n/int8]"]);
    let left = "SELECT c.relname, k FROM pg_class c LEFT JOIN pg_constraint o ON o.conrelid = c.oid \
                LEFT JOIN LATERAL unnest(o.conkey) AS k ON true WHERE c.relname IN ('friends', 'v') ORDER BY 1, 2";
    assert_eq!(run(&mut s, left).await, ["friends|1", "friends|2", "v|NULL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_regauge_tells_views_versions_and_topics_of_the_moment() {
    let (_site, mut s) = site().await;
    assert_eq!(
        run(&mut s, "SELECT name, kind, versions FROM regauge.views ORDER BY 1").await,
        ["mv|materialized view|1", "v|view|NULL"]
    );
    let state = "SELECT view, version, routed, state, error FROM regauge.versions";
    assert_eq!(run(&mut s, state).await, ["mv|1|true|live|NULL"]);
    assert_eq!(
        run(&mut s, "SELECT name, kind, partitions FROM regauge.topics ORDER BY name").await,
        ["friends|table|1", "messages|stream|1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_regauge_tells_rows_that_fail_until_they_heal() {
    let (_site, mut s) = site().await;
    run(&mut s, "CREATE MATERIALIZED VIEW part AS SELECT 100 / friend_id AS p FROM friends").await;
    run(&mut s, "CREATE MATERIALIZED VIEW whole AS SELECT sum(p) AS s FROM part").await;
    run(&mut s, "INSERT INTO friends VALUES (1, 0, 'a', 1), (2, 0, 'b', 2), (3, 5, 'c', 3)").await;
    run(&mut s, "FLUSH").await;
    let states = "SELECT name, state, error FROM regauge.views WHERE kind = 'materialized view' ORDER BY name";
    let told = "division by zero row=(0) n_rows=2";
    let below = "division by zero in view \"part\" row=(0) n_rows=2";
    assert_eq!(
        run(&mut s, states).await,
        ["mv|live|NULL".to_owned(), format!("part|errored|{told}"), format!("whole|errored|{below}")]
    );
    let versions = "SELECT view, state, error, error_rows FROM regauge.versions WHERE error_rows > 0 ORDER BY view";
    assert_eq!(run(&mut s, versions).await, [format!("part|errored|{told}|2"), format!("whole|errored|{below}|2")]);
    let errors = "SELECT view, version, sqlstate, message, met_in, subject, n_rows FROM regauge.errors ORDER BY view";
    assert_eq!(
        run(&mut s, errors).await,
        ["part|1|22012|division by zero|part|row=(0)|2", "whole|1|22012|division by zero|part|row=(0)|2"]
    );
    run(&mut s, "DELETE FROM friends WHERE friend_id = 0").await;
    run(&mut s, "FLUSH").await;
    assert_eq!(run(&mut s, errors).await, [""; 0]);
    assert_eq!(run(&mut s, states).await, ["mv|live|NULL", "part|live|NULL", "whole|live|NULL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_regauge_tells_operators_lag_epochs_partitions_and_the_catalogs_history() {
    let (_site, mut s) = site().await;
    run(&mut s, "CREATE STREAM wide (k bigint, v bigint) WITH (partitions = 3)").await;
    run(&mut s, "INSERT INTO messages VALUES (1, 'a', NULL), (1, 'b', NULL), (2, 'c', NULL)").await;
    run(&mut s, "INSERT INTO wide SELECT g, g FROM (VALUES (1), (2), (3), (4), (5)) AS x (g)").await;
    run(&mut s, "FLUSH").await;
    let operators = "SELECT operator, rows_in, state_rows, busy_us >= 0 FROM regauge.operators WHERE view = 'mv' AND \
                     operator = 'Aggregate'";
    assert_eq!(run(&mut s, operators).await, ["Aggregate|3|2|true"]);
    let lag = "SELECT view, version, epoch = durable, commits, lag_ms FROM regauge.lag";
    assert_eq!(run(&mut s, lag).await, ["mv|1|true|0|0"]);
    let epochs = "SELECT max(e.epoch) = (SELECT max(durable) FROM regauge.lag), bool_and(visible), min(commits) > 0 FROM \
                  regauge.epochs e";
    assert_eq!(run(&mut s, epochs).await, ["true|true|true"]);
    let partitions = "SELECT name, count(*), sum(next_offset) FROM regauge.partitions GROUP BY name ORDER BY name";
    assert_eq!(run(&mut s, partitions).await, ["friends|1|0", "messages|1|3", "wide|3|5"]);
    let ends = "SELECT p.partition, p.next_offset = (SELECT count(*) FROM wide WHERE _partition = p.partition) FROM \
                regauge.partitions p WHERE name = 'wide' ORDER BY 1";
    assert_eq!(run(&mut s, ends).await, ["0|true", "1|true", "2|true"]);
    run(&mut s, "DROP STREAM wide").await;
    let events = "SELECT event, name FROM regauge.catalog_events WHERE name = 'wide' ORDER BY lsn";
    assert_eq!(run(&mut s, events).await, ["stream_created|wide", "dropped|wide"]);
    let moments = "SELECT count(*) > 6, bool_and(committed_at > TIMESTAMPTZ '2020-01-01 00:00:00+00'), bool_and(lsn > 0), \
                   bool_and(body LIKE '{%}') FROM regauge.catalog_events";
    assert_eq!(run(&mut s, moments).await, ["true|true|true|true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_regauge_tells_watermarks_late_records_and_what_final_views_still_hold() {
    let (_site, mut s) = site().await;
    run(&mut s, "CREATE STREAM ticks (k bigint, at timestamp, WATERMARK FOR at AS at - INTERVAL '5 seconds')").await;
    for (name, late, end) in [("d", "divert", ""), ("f", "drop", "EMIT FINAL"), ("c", "correct", "")] {
        let sql = format!(
            "CREATE MATERIALIZED VIEW {name} WITH (late = '{late}') AS SELECT window_end, count(*) AS n \
             FROM TUMBLE(ticks, at, INTERVAL '10 seconds') GROUP BY window_start, window_end {end}"
        );
        run(&mut s, &sql).await;
    }
    let partitions = "SELECT name, partition, watermark, late_rows FROM regauge.partitions ORDER BY name";
    let none = "friends|0|NULL|NULL";
    assert_eq!(run(&mut s, partitions).await, [none, "messages|0|NULL|NULL", "ticks|0|NULL|0"]);
    let values: Vec<String> =
        (0..60).map(|i| format!("({i}, timestamp '2026-01-01 00:00:00' + {i} * INTERVAL '1 second')")).collect();
    run(&mut s, &format!("INSERT INTO ticks VALUES {}", values.join(", "))).await;
    run(&mut s, "INSERT INTO ticks VALUES (1, '2026-01-01 00:00:01'), (2, '2026-01-01 00:00:02')").await;
    run(&mut s, "FLUSH").await;
    assert_eq!(run(&mut s, partitions).await, [none, "messages|0|NULL|NULL", "ticks|0|2026-01-01T00:00:54Z|2"]);
    let late = "SELECT view, version, stream, late, n_rows FROM regauge.late ORDER BY view";
    assert_eq!(run(&mut s, late).await, ["d|1|ticks|divert|2", "f|1|ticks|drop|2"]);
    // consumed = stored + set aside, by count
    assert_eq!(run(&mut s, "SELECT sum(n) FROM d").await, ["60"]);
    assert_eq!(run(&mut s, "SELECT sum(n) FROM c").await, ["62"]);
    assert_eq!(run(&mut s, "SELECT count(*) FROM d_late").await, ["2"]);
    assert_eq!(run(&mut s, "SELECT count(*), sum(n) FROM f").await, ["5|50"]);
    let state = "SELECT view, state_rows FROM regauge.operators WHERE operator IN ('Aggregate', 'Close') ORDER BY view";
    assert_eq!(run(&mut s, state).await, ["c|6", "d|6", "f|1", "mv|0"], "one window is open");
}
