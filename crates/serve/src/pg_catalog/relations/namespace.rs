//! `pg_namespace`.

use super::{System, catalog};
use crate::pg_catalog::{
    oids,
    shape::{NULL, row},
};

pub const RELATIONS: &[System] = &[catalog!(
    "pg_namespace",
    2615,
    |facts, _| facts.schemas().iter().map(|s| row![oids::schema(s), s.as_str(), oids::OWNER, NULL]).collect(),
    [oid: Oid, nspname: Name, nspowner: Oid, nspacl: Acls]
)];
