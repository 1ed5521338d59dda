//! Roles and who is a member of which: `pg_roles`, `pg_authid`, `pg_user`, `pg_shadow`, `pg_group`, `pg_auth_members`. Names of roles are
//! told to everybody, as in PostgreSQL; verifiers of passwords to superusers ([`super::super::dialect`] keeps others out).

use super::{System, catalog, columns, live::Live};
use crate::pg_catalog::{
    facts::Facts,
    oids,
    shape::{Cell, NULL, row},
};
use regauge_views::catalog::rights::{Role, RoleId};

pub const RELATIONS: &[System] = &[
    catalog!("pg_roles", 12001, roles, [
        rolname: Name, rolsuper: Bool, rolinherit: Bool, rolcreaterole: Bool, rolcreatedb: Bool, rolcanlogin: Bool,
        rolreplication: Bool, rolconnlimit: Int4, rolpassword: Text, rolvaliduntil: Time, rolbypassrls: Bool,
        rolconfig: Texts, oid: Oid,
    ]),
    catalog!("pg_authid", 1260, authid, [
        oid: Oid, rolname: Name, rolsuper: Bool, rolinherit: Bool, rolcreaterole: Bool, rolcreatedb: Bool, rolcanlogin: Bool,
        rolreplication: Bool, rolbypassrls: Bool, rolconnlimit: Int4, rolpassword: Text, rolvaliduntil: Time,
    ]),
    catalog!("pg_user", 12002, |facts, _| users(facts, false), [
        usename: Name, usesysid: Oid, usecreatedb: Bool, usesuper: Bool, userepl: Bool, usebypassrls: Bool, passwd: Text,
        valuntil: Time, useconfig: Texts,
    ]),
    catalog!("pg_shadow", 12006, |facts, _| users(facts, true), [
        usename: Name, usesysid: Oid, usecreatedb: Bool, usesuper: Bool, userepl: Bool, usebypassrls: Bool, passwd: Text,
        valuntil: Time, useconfig: Texts,
    ]),
    catalog!("pg_group", 12007, groups, [groname: Name, grosysid: Oid, grolist: Oids]),
    catalog!("pg_auth_members", 1261, members, [
        oid: Oid, roleid: Oid, member: Oid, grantor: Oid, admin_option: Bool, inherit_option: Bool, set_option: Bool,
    ]),
    System {
        schema: "information_schema",
        name: "enabled_roles",
        oid: 13120,
        columns: columns![role_name: Name],
        rows: |facts, _| enabled(facts).map(|(_, role)| row![role.name.as_str()]).collect(),
    },
    System {
        schema: "information_schema",
        name: "applicable_roles",
        oid: 13121,
        columns: columns![grantee: Name, role_name: Name, is_grantable: Text],
        rows: applicable,
    },
];

fn all(facts: &Facts) -> impl Iterator<Item = (RoleId, &Role)> {
    facts.who().rights.roles()
}

/// Roles that the user is a member of, itself among them.
pub(super) fn enabled(facts: &Facts) -> impl Iterator<Item = (RoleId, &Role)> {
    let who = facts.who();
    all(facts).filter(|(id, _)| who.rights.is_true_member(who.role, *id))
}

fn roles(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let of = |(id, r): (RoleId, &Role)| {
        row![
            r.name.as_str(),
            r.superuser,
            r.inherit,
            r.createrole,
            r.createdb,
            r.login,
            false,
            -1i64,
            "********",
            r.valid_until_us,
            r.superuser,
            NULL,
            oids::role(id),
        ]
    };
    all(facts).map(of).collect()
}

fn authid(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let of = |(id, r): (RoleId, &Role)| {
        row![
            oids::role(id),
            r.name.as_str(),
            r.superuser,
            r.inherit,
            r.createrole,
            r.createdb,
            r.login,
            false,
            r.superuser,
            -1i64,
            r.verifier.as_deref(),
            r.valid_until_us,
        ]
    };
    all(facts).filter(|_| facts.who().is_superuser()).map(of).collect()
}

fn users(facts: &Facts, verifiers: bool) -> Vec<Vec<Cell>> {
    let superuser = facts.who().is_superuser();
    let of = |(id, r): (RoleId, &Role)| {
        let password = if verifiers { r.verifier.as_deref() } else { Some("********") };
        row![r.name.as_str(), oids::role(id), r.createdb, r.superuser, false, r.superuser, password, r.valid_until_us, NULL]
    };
    all(facts).filter(|(_, r)| r.login && (superuser || !verifiers)).map(of).collect()
}

fn groups(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let within =
        |of: RoleId| facts.who().rights.members().filter(move |(role, ..)| *role == of).map(|(_, member, _)| oids::role(member));
    all(facts)
        .filter(|(_, r)| !r.login)
        .map(|(id, r)| row![r.name.as_str(), oids::role(id), within(id).collect::<Vec<_>>()])
        .collect()
}

fn members(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let rights = &facts.who().rights;
    let of = |(at, (role, member, how)): (usize, (RoleId, RoleId, regauge_views::catalog::rights::Membership))| {
        let inherits = rights.role(member).is_some_and(|r| r.inherit);
        row![at + 1, oids::role(role), oids::role(member), oids::role(how.grantor), how.admin, inherits, true]
    };
    rights.members().enumerate().map(of).collect()
}

fn applicable(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let who = facts.who();
    let mine = |member: RoleId| who.rights.is_true_member(who.role, member);
    let yes = |b: bool| if b { "YES" } else { "NO" };
    let of = |(role, member, how): (RoleId, RoleId, regauge_views::catalog::rights::Membership)| {
        row![who.rights.name(member), who.rights.name(role), yes(how.admin)]
    };
    who.rights.members().filter(|(_, member, _)| mine(*member)).map(of).collect()
}
