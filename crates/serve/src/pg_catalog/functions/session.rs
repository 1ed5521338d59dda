//! Functions about the session and the server.

use super::{Fault, Function, Ret, text};
use crate::pg_catalog::{
    facts::{Facts, name_parts},
    shape::{Cell, Ty},
};
use regauge_views::read::names::DATABASE;

const fn f(name: &'static str, ret: Ty, body: fn(&Facts, &[Cell]) -> Result<Cell, Fault>) -> Function {
    Function { name, ret: Ret::Is(ret), strict: true, body }
}

pub const FUNCTIONS: &[Function] = &[
    f("version", Ty::Text, |facts, _| {
        let settings = &facts.scope.about.settings;
        let version = settings.get("server_version").map_or("", String::as_str);
        Ok(format!("PostgreSQL {version} (regauge {})", env!("CARGO_PKG_VERSION")).into())
    }),
    f("current_database", Ty::Name, |_, _| Ok(DATABASE.into())),
    f("current_catalog", Ty::Name, |_, _| Ok(DATABASE.into())),
    f("current_schema", Ty::Name, |facts, _| {
        let schemas = facts.schemas();
        Ok(facts.scope.search_path.iter().find(|s| schemas.contains(s)).cloned().into())
    }),
    Function {
        name: "current_schemas",
        ret: Ret::ListOf(Ty::Name),
        strict: true,
        body: |facts, a| {
            let schemas = facts.schemas();
            let implicit = a.first() == Some(&Cell::Bool(true));
            let path = if implicit { facts.path() } else { facts.scope.search_path.clone() };
            Ok(path.into_iter().filter(|s| schemas.contains(s)).collect::<Vec<_>>().into())
        },
    },
    f("current_user", Ty::Name, |facts, _| Ok(facts.user().into())),
    f("current_role", Ty::Name, |facts, _| Ok(facts.user().into())),
    f("session_user", Ty::Name, |facts, _| Ok(facts.scope.about.session_user.as_str().into())),
    f("user", Ty::Name, |facts, _| Ok(facts.user().into())),
    f("current_setting", Ty::Text, |facts, a| {
        let name = text(a, 0).unwrap_or_default().to_lowercase();
        match (facts.scope.about.settings.get(&name), a.get(1)) {
            (Some(value), _) => Ok(value.as_str().into()),
            (None, Some(Cell::Bool(true))) => Ok(Cell::Null),
            (None, _) => Err(("42704", format!("unrecognized configuration parameter \"{name}\""))),
        }
    }),
    f("pg_backend_pid", Ty::Int4, |_, _| Ok(pid().into())),
    f("pg_is_in_recovery", Ty::Bool, |_, _| Ok(false.into())),
    // Nobody has temporary tables.
    f("pg_is_other_temp_schema", Ty::Bool, |_, _| Ok(false.into())),
    f("pg_my_temp_schema", Ty::Oid, |_, _| Ok(0i64.into())),
    f("pg_is_wal_replay_paused", Ty::Bool, |_, _| Ok(false.into())),
    f("pg_encoding_to_char", Ty::Name, |_, a| Ok(if a.first() == Some(&Cell::Int(6)) { "UTF8" } else { "" }.into())),
    f("pg_char_to_encoding", Ty::Int4, |_, a| {
        let utf8 = text(a, 0).is_some_and(|n| n.eq_ignore_ascii_case("utf8") || n.eq_ignore_ascii_case("utf-8"));
        Ok(if utf8 { 6i64 } else { -1 }.into())
    }),
    f("getdatabaseencoding", Ty::Name, |_, _| Ok("UTF8".into())),
    f("pg_client_encoding", Ty::Name, |_, _| Ok("UTF8".into())),
    f("pg_tablespace_location", Ty::Text, |_, _| Ok("".into())),
    f("inet_server_addr", Ty::Text, |_, _| Ok(Cell::Null)),
    f("inet_server_port", Ty::Int4, |_, _| Ok(Cell::Null)),
    f("inet_client_addr", Ty::Text, |_, _| Ok(Cell::Null)),
    f("inet_client_port", Ty::Int4, |_, _| Ok(Cell::Null)),
    // Nobody has counted bytes per relation yet: unknown, not zero.
    f("pg_table_size", Ty::Int8, |_, _| Ok(Cell::Null)),
    f("pg_relation_size", Ty::Int8, |_, _| Ok(Cell::Null)),
    f("pg_total_relation_size", Ty::Int8, |_, _| Ok(Cell::Null)),
    f("pg_indexes_size", Ty::Int8, |_, _| Ok(Cell::Null)),
    f("pg_database_size", Ty::Int8, |_, _| Ok(Cell::Null)),
    f("pg_tablespace_size", Ty::Int8, |_, _| Ok(Cell::Null)),
    // Nobody has counted scans either.
    f("pg_stat_get_numscans", Ty::Int8, |_, _| Ok(Cell::Null)),
    f("parse_ident", Ty::Texts, |_, a| Ok(text(a, 0).map(|t| name_parts(&t)).into())),
    f("txid_current", Ty::Int8, |_, _| Ok(Cell::Null)),
];

/// What `pg_backend_pid` says: there is one process for all sessions.
pub fn pid() -> i64 {
    i64::from(std::process::id() & 0x7fff_ffff)
}
