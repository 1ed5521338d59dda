//! What PostgreSQL keeps for a whole cluster: the database, roles, tablespaces, settings, access methods, and this session.

use super::{System, catalog, live::Live};
use crate::pg_catalog::{
    facts::Facts,
    oids,
    shape::{Cell, NULL, row},
};
use regauge_views::{catalog::rights::Object, read::names::DATABASE};

pub const RELATIONS: &[System] = &[
    catalog!("pg_database", 1262, |facts, _| vec![
        row![oids::DATABASE, DATABASE, facts.owner(Some(&Object::Database)), 6i64, "c", false, true, -1i64, 0i64, 0i64, oids::TABLESPACE, "C", "C", NULL, NULL, NULL, facts.acl(Some(&Object::Database))],
    ], [
        oid: Oid, datname: Name, datdba: Oid, encoding: Int4, datlocprovider: Char, datistemplate: Bool, datallowconn: Bool,
        datconnlimit: Int4, datfrozenxid: Int8, datminmxid: Int8, dattablespace: Oid, datcollate: Text, datctype: Text,
        daticulocale: Text, daticurules: Text, datcollversion: Text, datacl: Acls,
    ]),
    catalog!("pg_tablespace", 1213, |_, _| vec![
        row![oids::TABLESPACE, "pg_default", oids::OWNER, NULL, NULL],
        row![1664i64, "pg_global", oids::OWNER, NULL, NULL],
    ], [oid: Oid, spcname: Name, spcowner: Oid, spcacl: Acls, spcoptions: Texts]),
    catalog!("pg_am", 2601, |_, _| vec![
        row![oids::HEAP, "heap", "heap_tableam_handler", "t"],
        row![oids::BTREE, "btree", "bthandler", "i"],
    ], [oid: Oid, amname: Name, amhandler: Text, amtype: Char]),
    catalog!("pg_language", 2612, |_, _| vec![
        row![14i64, "sql", oids::OWNER, false, true, 0i64, 0i64, 0i64, NULL, 2612i64],
    ], [
        oid: Oid, lanname: Name, lanowner: Oid, lanispl: Bool, lanpltrusted: Bool, lanplcallfoid: Oid, laninline: Oid,
        lanvalidator: Oid, lanacl: Acls, tableoid: Oid,
    ]),
    catalog!("pg_settings", 12003, settings, [
        name: Text, setting: Text, unit: Text, category: Text, short_desc: Text, extra_desc: Text, context: Text, vartype: Text,
        source: Text, min_val: Text, max_val: Text, enumvals: Texts, boot_val: Text, reset_val: Text, sourcefile: Text,
        sourceline: Int4, pending_restart: Bool,
    ]),
    // Those that DECLARE has opened; what the protocol binds is not told here.
    catalog!("pg_cursors", 12025, |facts, _| {
        let open = facts.scope.about.cursors.iter();
        open.map(|c| row![c.name.as_str(), c.statement.as_str(), c.holdable, false, c.scrollable, c.created_us]).collect()
    }, [
        name: Text, statement: Text, is_holdable: Bool, is_binary: Bool, is_scrollable: Bool, creation_time: Time,
    ]),
    catalog!("pg_stat_user_tables", 12005, table_statistics, [
        relid: Oid, schemaname: Name, relname: Name, seq_scan: Int8, seq_tup_read: Int8, idx_scan: Int8, idx_tup_fetch: Int8,
        n_tup_ins: Int8, n_tup_upd: Int8, n_tup_del: Int8, n_live_tup: Int8, n_dead_tup: Int8, last_vacuum: Time,
        last_analyze: Time,
    ]),
    catalog!("pg_stat_activity", 12004, |facts, _| vec![{
        let name = facts.scope.about.settings.get("application_name").cloned();
        let session = &facts.who();
        row![oids::DATABASE, DATABASE, crate::pg_catalog::functions::pid(), NULL, oids::role(session.session),
             session.rights.name(session.session), name, NULL, NULL,
             NULL, NULL, NULL, NULL, NULL, NULL, NULL, "active", NULL, NULL, NULL, NULL, "client backend"]
    }], [
        datid: Oid, datname: Name, pid: Int4, leader_pid: Int4, usesysid: Oid, usename: Name, application_name: Text,
        client_addr: Text, client_hostname: Text, client_port: Int4, backend_start: Time, xact_start: Time, query_start: Time,
        state_change: Time, wait_event_type: Text, wait_event: Text, state: Text, backend_xid: Int8, backend_xmin: Int8,
        query_id: Int8, query: Text, backend_type: Text,
    ]),
];

/// Tables, with counts that nobody keeps yet: unknown, not zero.
fn table_statistics(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    facts.users().filter(|o| o.kind == "r").map(|o| row![o.oid, o.schema.as_str(), o.name.as_str()]).collect()
}

fn settings(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let one = |(name, value): (&String, &String)| {
        let vartype = if matches!(value.as_str(), "on" | "off") { "bool" } else { "string" };
        row![
            name.as_str(),
            value.as_str(),
            NULL,
            "Client Connection Defaults",
            "",
            NULL,
            "user",
            vartype,
            "default",
            NULL,
            NULL,
            NULL,
            value.as_str(),
            value.as_str(),
            NULL,
            NULL,
            false,
        ]
    };
    facts.scope.about.settings.iter().map(one).collect()
}
