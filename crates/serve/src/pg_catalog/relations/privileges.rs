//! What was granted: `pg_default_acl`, and the standard's `table_privileges`, `role_table_grants`, `usage_privileges`. Shown are grants by and
//! to roles that the user is a member of, and to PUBLIC, as the standard says.

use super::{System, catalog, columns, live::Live};
use crate::pg_catalog::{
    facts::{Facts, Object, acl_text},
    oids,
    shape::{Cell, row},
};
use regauge_views::{
    catalog::rights::{AclItem, RoleId},
    read::names::DATABASE,
};

macro_rules! grants {
    ($name:literal, $oid:literal, $rows:expr) => {
        System {
            schema: "information_schema",
            name: $name,
            oid: $oid,
            columns: columns![
                grantor: Name, grantee: Name, table_catalog: Name, table_schema: Name, table_name: Name, privilege_type: Text,
                is_grantable: Text, with_hierarchy: Text
            ],
            rows: $rows,
        }
    };
}

pub const RELATIONS: &[System] = &[
    catalog!("pg_default_acl", 826, defaults, [
        oid: Oid, defaclrole: Oid, defaclnamespace: Oid, defaclobjtype: Char, defaclacl: Acls,
    ]),
    grants!("table_privileges", 13117, |facts, _| on_tables(facts, true)),
    grants!("role_table_grants", 13118, |facts, _| on_tables(facts, false)),
    System {
        schema: "information_schema",
        name: "usage_privileges",
        oid: 13123,
        columns: columns![
            grantor: Name, grantee: Name, object_catalog: Name, object_schema: Name, object_name: Name, object_type: Text,
            privilege_type: Text, is_grantable: Text
        ],
        rows: on_sequences,
    },
];

fn defaults(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let rights = &facts.who().rights;
    let mut rows = vec![];
    for (at, ((role, schema, kind), acl)) in rights.defaults().enumerate() {
        let items: Vec<String> = acl.iter().map(|item| acl_text(rights, item)).collect();
        let schema = schema.as_deref().map_or(0, oids::schema);
        rows.push(row![at + 1, oids::role(*role), schema, kind.letter(), items]);
    }
    rows
}

fn yes(b: bool) -> &'static str {
    if b { "YES" } else { "NO" }
}

/// Items of an object that concern the user, one privilege each.
fn items(facts: &Facts, o: &Object, public: bool) -> Vec<(AclItem, &'static str, bool)> {
    let who = facts.who();
    let mine = |id: RoleId| who.rights.is_true_member(who.role, id) || who.is_superuser();
    let Some(object) = &o.rights else { return vec![] };
    let owner = who.rights.owner(object);
    let acl = who.rights.acl(object);
    let concerns = |i: &&AclItem| mine(i.grantor) || mine(i.grantee) || public && i.grantee == RoleId::PUBLIC;
    let each = |i: &AclItem| {
        let item = *i;
        // What an owner has it may always grant.
        item.privileges.each().map(move |(one, _, word)| (item, word, item.grantable.has(one) || item.grantee == owner))
    };
    acl.iter().filter(concerns).flat_map(each).filter(|(i, ..)| public || i.grantee != RoleId::PUBLIC).collect()
}

fn on_tables(facts: &Facts, public: bool) -> Vec<Vec<Cell>> {
    let rights = &facts.who().rights;
    let mut rows = vec![];
    for o in facts.users().filter(|o| o.kind != "m") {
        for (item, word, grantable) in items(facts, o, public) {
            let (grantor, grantee) = (rights.name(item.grantor), rights.name(item.grantee));
            let (schema, name) = (o.schema.as_str(), o.name.as_str());
            rows.push(row![grantor, grantee, DATABASE, schema, name, word, yes(grantable), yes(word == "SELECT")]);
        }
    }
    rows
}

fn on_sequences(facts: &Facts, _: &Live) -> Vec<Vec<Cell>> {
    let rights = &facts.who().rights;
    let mut rows = vec![];
    for o in facts.objects().iter().filter(|o| o.kind == "S") {
        for (item, word, grantable) in items(facts, o, true).into_iter().filter(|(_, word, _)| *word == "USAGE") {
            let (grantor, grantee) = (rights.name(item.grantor), rights.name(item.grantee));
            let (schema, name) = (o.schema.as_str(), o.name.as_str());
            rows.push(row![grantor, grantee, DATABASE, schema, name, "SEQUENCE", word, yes(grantable)]);
        }
    }
    rows
}
