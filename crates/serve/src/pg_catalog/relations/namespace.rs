//! `pg_namespace`.

use super::{System, catalog};
use crate::pg_catalog::{
    facts::Facts,
    oids,
    shape::{Cell, row},
};
use regauge_views::catalog::{RoleId, rights::Object};

pub const RELATIONS: &[System] = &[catalog!(
    "pg_namespace",
    2615,
    |facts, _| facts.schemas().iter().map(|s| schema(facts, s)).collect(),
    [oid: Oid, nspname: Name, nspowner: Oid, nspacl: Acls]
)];

fn schema(facts: &Facts, name: &str) -> Vec<Cell> {
    // Everybody may look into the system's own.
    let system = ["pg_catalog", "information_schema", "regauge"].contains(&name);
    let object = Some(Object::Schema(name.to_owned())).filter(|_| !system);
    let first = facts.who().rights.name(RoleId::BOOTSTRAP);
    let open = system.then(|| vec![format!("{first}=UC/{first}"), format!("=U/{first}")]);
    row![oids::schema(name), name, facts.owner(object.as_ref()), facts.acl(object.as_ref()).or(open)]
}
