//! Settings of PostgreSQL with the values that they take: what a client sets is judged, and shown, as PostgreSQL does.
//!
//! ```text
//!   SET work_mem = '65536'  ─▶  kind, unit, range  ─▶  kept and shown as 64MB
//! ```
//! Most of them steer a planner, a buffer or a lock that is not here: they are taken, and change nothing. Those that mean something are
//! read by [`super::variables`], which knows what each is for; this file knows their forms alone.

use crate::error::{Error, Result, sqlstate as code};

/// What values a setting takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bool,
    /// Within a range, in a unit.
    Int(Unit, i64, i64),
    Real(f64, f64),
    /// The same in milliseconds.
    RealMs(f64, f64),
    Enum(&'static [&'static str]),
}

/// What a number without a unit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Kilobytes,
    /// Of 8 kB.
    Pages,
    Milliseconds,
    Seconds,
    Bytes,
}

use Kind::{Bool, Enum, Int, Real, RealMs};

/// The greatest value of PostgreSQL's integers.
const INT_MAX: i64 = 2_147_483_647;

/// Name, kind, default as it is shown: PostgreSQL's, but for the isolation, which is snapshot isolation always; and three of RisingWave's,
/// whose scripts begin with them: a session sees its own writes here whatever they say.
pub(super) const TYPED: &[(&str, Kind, &str)] = &[
    ("allow_in_place_tablespaces", Bool, "off"),
    ("allow_system_table_mods", Bool, "off"),
    ("array_nulls", Bool, "on"),
    ("backend_flush_after", Int(Unit::Pages, 0, 256), "0"),
    ("backslash_quote", Enum(&["safe_encoding", "on", "off"]), "safe_encoding"),
    ("check_function_bodies", Bool, "on"),
    ("client_connection_check_interval", Int(Unit::Milliseconds, 0, INT_MAX), "0"),
    (
        "client_min_messages",
        Enum(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]),
        "notice",
    ),
    ("commit_delay", Int(Unit::Count, 0, 100_000), "0"),
    ("commit_siblings", Int(Unit::Count, 0, 1_000), "5"),
    ("compute_query_id", Enum(&["auto", "regress", "on", "off"]), "auto"),
    ("constraint_exclusion", Enum(&["partition", "on", "off"]), "partition"),
    ("cpu_index_tuple_cost", Real(0.0, f64::MAX), "0.005"),
    ("cpu_operator_cost", Real(0.0, f64::MAX), "0.0025"),
    ("cpu_tuple_cost", Real(0.0, f64::MAX), "0.01"),
    ("cursor_tuple_fraction", Real(0.0, 1.0), "0.1"),
    ("deadlock_timeout", Int(Unit::Milliseconds, 1, INT_MAX), "1s"),
    ("debug_discard_caches", Int(Unit::Count, 0, 0), "0"),
    ("debug_parallel_query", Enum(&["off", "on", "regress"]), "off"),
    ("debug_pretty_print", Bool, "on"),
    ("debug_print_parse", Bool, "off"),
    ("debug_print_plan", Bool, "off"),
    ("debug_print_rewritten", Bool, "off"),
    ("default_statistics_target", Int(Unit::Count, 1, 10_000), "100"),
    ("default_toast_compression", Enum(&["pglz", "lz4"]), "pglz"),
    ("default_transaction_deferrable", Bool, "off"),
    (
        "default_transaction_isolation",
        Enum(&["serializable", "repeatable read", "read committed", "read uncommitted"]),
        "repeatable read",
    ),
    ("default_transaction_read_only", Bool, "off"),
    ("effective_cache_size", Int(Unit::Pages, 1, INT_MAX), "4GB"),
    ("effective_io_concurrency", Int(Unit::Count, 0, 1_000), "1"),
    ("enable_async_append", Bool, "on"),
    ("enable_bitmapscan", Bool, "on"),
    ("enable_gathermerge", Bool, "on"),
    ("enable_hashagg", Bool, "on"),
    ("enable_hashjoin", Bool, "on"),
    ("enable_incremental_sort", Bool, "on"),
    ("enable_indexonlyscan", Bool, "on"),
    ("enable_indexscan", Bool, "on"),
    ("enable_material", Bool, "on"),
    ("enable_memoize", Bool, "on"),
    ("enable_mergejoin", Bool, "on"),
    ("enable_nestloop", Bool, "on"),
    ("enable_parallel_append", Bool, "on"),
    ("enable_parallel_hash", Bool, "on"),
    ("enable_partition_pruning", Bool, "on"),
    ("enable_partitionwise_aggregate", Bool, "off"),
    ("enable_partitionwise_join", Bool, "off"),
    ("enable_presorted_aggregate", Bool, "on"),
    ("enable_seqscan", Bool, "on"),
    ("enable_sort", Bool, "on"),
    ("enable_tidscan", Bool, "on"),
    ("escape_string_warning", Bool, "on"),
    ("extra_float_digits", Int(Unit::Count, -15, 3), "1"),
    ("force_parallel_mode", Enum(&["off", "on", "regress"]), "off"),
    ("from_collapse_limit", Int(Unit::Count, 1, INT_MAX), "8"),
    ("geqo", Bool, "on"),
    ("geqo_effort", Int(Unit::Count, 1, 10), "5"),
    ("geqo_generations", Int(Unit::Count, 0, INT_MAX), "0"),
    ("geqo_pool_size", Int(Unit::Count, 0, INT_MAX), "0"),
    ("geqo_seed", Real(0.0, 1.0), "0"),
    ("geqo_selection_bias", Real(1.5, 2.0), "2"),
    ("geqo_threshold", Int(Unit::Count, 2, INT_MAX), "12"),
    ("gin_fuzzy_search_limit", Int(Unit::Count, 0, INT_MAX), "0"),
    ("gin_pending_list_limit", Int(Unit::Kilobytes, 64, INT_MAX), "4MB"),
    ("hash_mem_multiplier", Real(1.0, 1000.0), "2"),
    (
        "icu_validation_level",
        Enum(&["disabled", "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]),
        "warning",
    ),
    ("idle_in_transaction_session_timeout", Int(Unit::Milliseconds, 0, INT_MAX), "0"),
    ("idle_session_timeout", Int(Unit::Milliseconds, 0, INT_MAX), "0"),
    ("ignore_checksum_failure", Bool, "off"),
    ("jit", Bool, "on"),
    ("jit_above_cost", Real(-1.0, f64::MAX), "100000"),
    ("jit_dump_bitcode", Bool, "off"),
    ("jit_expressions", Bool, "on"),
    ("jit_inline_above_cost", Real(-1.0, f64::MAX), "500000"),
    ("jit_optimize_above_cost", Real(-1.0, f64::MAX), "500000"),
    ("jit_tuple_deforming", Bool, "on"),
    ("join_collapse_limit", Int(Unit::Count, 1, INT_MAX), "8"),
    ("lo_compat_privileges", Bool, "off"),
    ("lock_timeout", Int(Unit::Milliseconds, 0, INT_MAX), "0"),
    ("log_duration", Bool, "off"),
    ("log_error_verbosity", Enum(&["terse", "default", "verbose"]), "default"),
    ("log_executor_stats", Bool, "off"),
    ("log_lock_waits", Bool, "off"),
    ("log_min_duration_sample", Int(Unit::Milliseconds, -1, INT_MAX), "-1"),
    ("log_min_duration_statement", Int(Unit::Milliseconds, -1, INT_MAX), "-1"),
    (
        "log_min_error_statement",
        Enum(&["debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log", "fatal", "panic"]),
        "error",
    ),
    (
        "log_min_messages",
        Enum(&["debug5", "debug4", "debug3", "debug2", "debug1", "info", "notice", "warning", "error", "log", "fatal", "panic"]),
        "warning",
    ),
    ("log_parameter_max_length", Int(Unit::Bytes, -1, 1_073_741_823), "-1"),
    ("log_parameter_max_length_on_error", Int(Unit::Count, -1, 1_073_741_823), "0"),
    ("log_parser_stats", Bool, "off"),
    ("log_planner_stats", Bool, "off"),
    ("log_replication_commands", Bool, "off"),
    ("log_statement", Enum(&["none", "ddl", "mod", "all"]), "none"),
    ("log_statement_sample_rate", Real(0.0, 1.0), "1"),
    ("log_statement_stats", Bool, "off"),
    ("log_temp_files", Int(Unit::Kilobytes, -1, INT_MAX), "-1"),
    ("log_transaction_sample_rate", Real(0.0, 1.0), "0"),
    ("logical_decoding_work_mem", Int(Unit::Kilobytes, 64, INT_MAX), "64MB"),
    ("maintenance_io_concurrency", Int(Unit::Count, 0, 1_000), "10"),
    ("maintenance_work_mem", Int(Unit::Kilobytes, 1_024, INT_MAX), "64MB"),
    ("max_parallel_maintenance_workers", Int(Unit::Count, 0, 1_024), "2"),
    ("max_parallel_workers", Int(Unit::Count, 0, 1_024), "8"),
    ("max_parallel_workers_per_gather", Int(Unit::Count, 0, 1_024), "2"),
    ("max_stack_depth", Int(Unit::Kilobytes, 100, INT_MAX), "2MB"),
    ("min_parallel_index_scan_size", Int(Unit::Pages, 0, 715_827_882), "512kB"),
    ("min_parallel_table_scan_size", Int(Unit::Pages, 0, 715_827_882), "8MB"),
    ("parallel_leader_participation", Bool, "on"),
    ("parallel_setup_cost", Real(0.0, f64::MAX), "1000"),
    ("parallel_tuple_cost", Real(0.0, f64::MAX), "0.1"),
    ("password_encryption", Enum(&["md5", "scram-sha-256"]), "scram-sha-256"),
    ("plan_cache_mode", Enum(&["auto", "force_generic_plan", "force_custom_plan"]), "auto"),
    ("query_mode", Enum(&["auto", "local", "distributed"]), "auto"),
    ("quote_all_identifiers", Bool, "off"),
    ("random_page_cost", Real(0.0, f64::MAX), "4"),
    ("recursive_worktable_factor", Real(0.001, 1000000.0), "10"),
    ("regauge.linearizable", Bool, "off"),
    ("row_security", Bool, "on"),
    ("rw_implicit_flush", Bool, "on"),
    ("seq_page_cost", Real(0.0, f64::MAX), "1"),
    ("session_replication_role", Enum(&["origin", "replica", "local"]), "origin"),
    ("statement_timeout", Int(Unit::Milliseconds, 0, INT_MAX), "0"),
    ("stats_fetch_consistency", Enum(&["none", "cache", "snapshot"]), "cache"),
    ("streaming_parallelism", Int(Unit::Count, 0, INT_MAX), "0"),
    ("synchronize_seqscans", Bool, "on"),
    ("synchronous_commit", Enum(&["local", "remote_write", "remote_apply", "on", "off"]), "on"),
    ("tcp_keepalives_count", Int(Unit::Count, 0, INT_MAX), "0"),
    ("tcp_keepalives_idle", Int(Unit::Seconds, 0, INT_MAX), "0"),
    ("tcp_keepalives_interval", Int(Unit::Seconds, 0, INT_MAX), "0"),
    ("tcp_user_timeout", Int(Unit::Milliseconds, 0, INT_MAX), "0"),
    ("temp_buffers", Int(Unit::Pages, 100, 1_073_741_823), "8MB"),
    ("temp_file_limit", Int(Unit::Kilobytes, -1, INT_MAX), "-1"),
    ("trace_notify", Bool, "off"),
    ("trace_sort", Bool, "off"),
    ("track_activities", Bool, "on"),
    ("track_counts", Bool, "on"),
    ("track_functions", Enum(&["none", "pl", "all"]), "none"),
    ("track_io_timing", Bool, "off"),
    ("track_wal_io_timing", Bool, "off"),
    ("transaction_deferrable", Bool, "off"),
    (
        "transaction_isolation",
        Enum(&["serializable", "repeatable read", "read committed", "read uncommitted"]),
        "repeatable read",
    ),
    ("transaction_read_only", Bool, "off"),
    ("transform_null_equals", Bool, "off"),
    ("update_process_title", Bool, "on"),
    ("vacuum_buffer_usage_limit", Int(Unit::Kilobytes, 0, 16_777_216), "256kB"),
    ("vacuum_cost_delay", RealMs(0.0, 100.0), "0"),
    ("vacuum_cost_limit", Int(Unit::Count, 1, 10_000), "200"),
    ("vacuum_cost_page_dirty", Int(Unit::Count, 0, 10_000), "20"),
    ("vacuum_cost_page_hit", Int(Unit::Count, 0, 10_000), "1"),
    ("vacuum_cost_page_miss", Int(Unit::Count, 0, 10_000), "2"),
    ("vacuum_failsafe_age", Int(Unit::Count, 0, 2_100_000_000), "1600000000"),
    ("vacuum_freeze_min_age", Int(Unit::Count, 0, 1_000_000_000), "50000000"),
    ("vacuum_freeze_table_age", Int(Unit::Count, 0, 2_000_000_000), "150000000"),
    ("vacuum_multixact_failsafe_age", Int(Unit::Count, 0, 2_100_000_000), "1600000000"),
    ("vacuum_multixact_freeze_min_age", Int(Unit::Count, 0, 1_000_000_000), "5000000"),
    ("vacuum_multixact_freeze_table_age", Int(Unit::Count, 0, 2_000_000_000), "150000000"),
    ("wal_compression", Enum(&["pglz", "lz4", "zstd", "on", "off"]), "off"),
    ("wal_init_zero", Bool, "on"),
    ("wal_recycle", Bool, "on"),
    ("wal_sender_timeout", Int(Unit::Milliseconds, 0, INT_MAX), "1min"),
    ("wal_skip_threshold", Int(Unit::Kilobytes, 0, INT_MAX), "2MB"),
    ("work_mem", Int(Unit::Kilobytes, 64, INT_MAX), "4MB"),
    ("xmlbinary", Enum(&["base64", "hex"]), "base64"),
    ("xmloption", Enum(&["content", "document"]), "content"),
    ("zero_damaged_pages", Bool, "off"),
];

/// Settings that only superusers change.
pub(super) const OF_SUPERUSERS: &[&str] = &[
    "allow_in_place_tablespaces",
    "allow_system_table_mods",
    "backtrace_functions",
    "commit_delay",
    "compute_query_id",
    "deadlock_timeout",
    "debug_discard_caches",
    "dynamic_library_path",
    "extension_destdir",
    "ignore_checksum_failure",
    "jit_dump_bitcode",
    "lc_messages",
    "lo_compat_privileges",
    "log_duration",
    "log_error_verbosity",
    "log_executor_stats",
    "log_lock_waits",
    "log_min_duration_sample",
    "log_min_duration_statement",
    "log_min_error_statement",
    "log_min_messages",
    "log_parameter_max_length",
    "log_parser_stats",
    "log_planner_stats",
    "log_replication_commands",
    "log_statement",
    "log_statement_sample_rate",
    "log_statement_stats",
    "log_temp_files",
    "log_transaction_sample_rate",
    "max_stack_depth",
    "session_preload_libraries",
    "session_replication_role",
    "temp_file_limit",
    "track_activities",
    "track_counts",
    "track_functions",
    "track_io_timing",
    "track_wal_io_timing",
    "update_process_title",
    "wal_compression",
    "wal_consistency_checking",
    "wal_init_zero",
    "wal_recycle",
    "zero_damaged_pages",
];

/// The kind and default of a setting that is listed here.
pub(super) fn find(name: &str) -> Option<(Kind, &'static str)> {
    TYPED.binary_search_by(|(known, ..)| known.cmp(&name)).ok().map(|at| (TYPED[at].1, TYPED[at].2))
}

/// The value as PostgreSQL shows it.
///
/// # Errors
/// 22023 for a value that the setting does not take.
pub(super) fn canonical(name: &str, kind: Kind, value: &str) -> Result<String> {
    let invalid = || Error::invalid(code::INVALID_PARAMETER, format!("invalid value for parameter \"{name}\": \"{value}\""));
    match kind {
        Bool => match regauge_plan::pgtypes::parse_bool(value) {
            Ok(on) => Ok(if on { "on" } else { "off" }.to_owned()),
            Err(_) => Err(Error::invalid(code::INVALID_PARAMETER, format!("parameter \"{name}\" requires a Boolean value"))),
        },
        Enum(words) => {
            let word = value.trim().to_lowercase();
            let word = match word.as_str() {
                "true" | "yes" | "1" if words.contains(&"on") => "on",
                "false" | "no" | "0" if words.contains(&"off") => "off",
                other => other,
            };
            let known = words.iter().find(|known| **known == word);
            known.map(|w| (*w).to_owned()).ok_or_else(|| invalid().hint(format!("Available values: {}.", words.join(", "))))
        }
        Int(unit, min, max) => {
            let number = in_unit(value, unit).map_err(|units| match units {
                Some(units) => invalid().hint(format!("Valid units for this parameter are {units}.")),
                None => invalid(),
            })?;
            if number < min as f64 || number > max as f64 {
                return Err(outside(name, &format!("{number}"), unit, &min.to_string(), &max.to_string()));
            }
            #[expect(clippy::cast_possible_truncation, reason = "judged above")]
            Ok(shown(number as i64, unit))
        }
        Real(min, max) | RealMs(min, max) => {
            let ms = matches!(kind, RealMs(..));
            let number = match (ms, value.trim().parse::<f64>()) {
                (_, Ok(number)) => number,
                (true, Err(_)) => exactly_in_unit(value, Unit::Milliseconds).map_err(|_| invalid())?,
                (false, Err(_)) => return Err(invalid()),
            };
            if number.is_nan() {
                return Err(invalid());
            }
            if number < min || number > max {
                let unit = if ms { Unit::Milliseconds } else { Unit::Count };
                return Err(outside(name, &six(number), unit, &six(min), &six(max)));
            }
            Ok(if ms && number > 0.0 { whole_of(number) } else { six(number) })
        }
    }
}

fn outside(name: &str, value: &str, unit: Unit, min: &str, max: &str) -> Error {
    let unit = match unit {
        Unit::Count => "",
        Unit::Kilobytes => " kB",
        Unit::Pages => " 8kB",
        Unit::Milliseconds => " ms",
        Unit::Seconds => " s",
        Unit::Bytes => " B",
    };
    let message = format!("{value}{unit} is outside the valid range for parameter \"{name}\" ({min} .. {max})");
    Error::invalid(code::INVALID_PARAMETER, message)
}

/// A number with six digits, as C's %g writes it.
fn six(number: f64) -> String {
    let rounded = format!("{number:.5e}").parse().unwrap_or(number);
    #[expect(clippy::cast_possible_truncation, reason = "six digits are what a real shows")]
    if rounded >= 1e38 { "1.79769e+308".to_owned() } else { regauge_plan::pgtypes::float4_text(rounded as f32) }
}

/// Names of units and how many of the base each is, the greatest first.
fn units(unit: Unit) -> &'static [(&'static str, f64)] {
    const KB: [(&str, f64); 5] = [("TB", 1_073_741_824.0), ("GB", 1_048_576.0), ("MB", 1024.0), ("kB", 1.0), ("B", 1.0 / 1024.0)];
    const PAGES: [(&str, f64); 5] =
        [("TB", 134_217_728.0), ("GB", 131_072.0), ("MB", 128.0), ("kB", 0.125), ("B", 0.125 / 1024.0)];
    const MS: [(&str, f64); 6] =
        [("d", 86_400_000.0), ("h", 3_600_000.0), ("min", 60_000.0), ("s", 1000.0), ("ms", 1.0), ("us", 0.001)];
    const S: [(&str, f64); 6] = [("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 0.001), ("us", 0.000_001)];
    const B: [(&str, f64); 5] =
        [("TB", 1_099_511_627_776.0), ("GB", 1_073_741_824.0), ("MB", 1_048_576.0), ("kB", 1024.0), ("B", 1.0)];
    match unit {
        Unit::Seconds => &S,
        Unit::Bytes => &B,
        Unit::Count => &[],
        Unit::Kilobytes => &KB,
        Unit::Pages => &PAGES,
        Unit::Milliseconds => &MS,
    }
}

/// Milliseconds in the greatest unit that shows them whole.
fn whole_of(ms: f64) -> String {
    let units = units(Unit::Milliseconds);
    let whole = units.iter().find(|(_, factor)| ((ms / factor).round() / (ms / factor) - 1.0).abs() <= 1e-8);
    let (name, factor) = whole.or(units.last()).copied().unwrap_or(("ms", 1.0));
    format!("{}{name}", six(ms / factor))
}

/// A number in the unit's base, rounded.
fn in_unit(value: &str, unit: Unit) -> Result<f64, Option<&'static str>> {
    exactly_in_unit(value, unit).map(f64::round_ties_even)
}

/// A number in the unit's base. The error names the units there are, if it is the unit that is wrong.
fn exactly_in_unit(value: &str, unit: Unit) -> Result<f64, Option<&'static str>> {
    let text = value.trim();
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (number, rest) = match hex {
        Some(hex) => {
            let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            (i64::from_str_radix(&hex[..end], 16).ok().map(|n| n as f64), &hex[end..])
        }
        None => {
            let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
            // an exponent belongs to the number, a unit that begins with e there is none
            let end = match text[end..].strip_prefix(['e', 'E']) {
                Some(power) if unit == Unit::Count => text.len() - power.trim_start_matches(|c: char| c.is_ascii_digit()).len(),
                _ => end,
            };
            (text[..end].parse::<f64>().ok(), &text[end..])
        }
    };
    let number = number.ok_or(None)?;
    let rest = rest.trim_start();
    let names = match unit {
        Unit::Milliseconds | Unit::Seconds => Some("\"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\""),
        Unit::Kilobytes | Unit::Pages | Unit::Bytes => Some("\"B\", \"kB\", \"MB\", \"GB\", and \"TB\""),
        Unit::Count => None,
    };
    let factor = match rest {
        "" => 1.0,
        name => units(unit).iter().find(|(known, _)| *known == name).ok_or(names)?.1,
    };
    Ok(number * factor)
}

/// A number with the greatest unit that shows it whole.
fn shown(number: i64, unit: Unit) -> String {
    if number <= 0 {
        return number.to_string();
    }
    for (name, factor) in units(unit) {
        let each = number as f64 / factor;
        if each >= 1.0 && each.fract() == 0.0 {
            return format!("{each}{name}");
        }
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> std::result::Result<String, String> {
        let (kind, _) = find(name).expect("known");
        canonical(name, kind, value).map_err(|e| e.message)
    }

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_values() {
        assert!(TYPED.is_sorted_by_key(|(name, ..)| *name));
        for (name, kind, default) in TYPED {
            assert_eq!(canonical(name, *kind, default).expect("its default").as_str(), *default, "{name}");
        }
    }

    #[test]
    fn values_are_shown_and_refused_as_postgres_does() {
        // SET and SHOW of PostgreSQL 15
        for (name, value, shown) in [
            ("work_mem", "65536", "64MB"),
            ("work_mem", "1.5GB", "1536MB"),
            ("work_mem", "0x100", "256kB"),
            ("effective_cache_size", "8kB", "8kB"),
            ("lock_timeout", "90s", "90s"),
            ("lock_timeout", "60000", "1min"),
            ("random_page_cost", "1.10", "1.1"),
            ("jit_above_cost", "1e3", "1000"),
            ("jit", "tr", "on"),
            ("synchronous_commit", "yes", "on"),
            ("vacuum_cost_delay", "2", "2ms"),
            ("vacuum_cost_delay", "0.5ms", "500us"),
            ("tcp_keepalives_idle", "2min", "2min"),
            ("log_parameter_max_length", "2048", "2kB"),
        ] {
            assert_eq!(set(name, value).as_deref(), Ok(shown), "{name} {value}");
        }
        for (name, value, message) in [
            ("work_mem", "10", "10 kB is outside the valid range for parameter \"work_mem\" (64 .. 2147483647)"),
            ("work_mem", "10XB", "invalid value for parameter \"work_mem\": \"10XB\""),
            ("jit", "maybe", "parameter \"jit\" requires a Boolean value"),
            ("synchronous_commit", "maybe", "invalid value for parameter \"synchronous_commit\": \"maybe\""),
            ("random_page_cost", "-1", "-1 is outside the valid range for parameter \"random_page_cost\" (0 .. 1.79769e+308)"),
        ] {
            assert_eq!(set(name, value).as_ref().map_err(String::as_str), Err(message), "{name} {value}");
        }
    }
}
