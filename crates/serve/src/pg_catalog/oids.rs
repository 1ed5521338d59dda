//! Oids out of our ids: stable under rename, the same after a restart, never given twice.
//!
//! ```text
//!   16384 + 8 n       topic n (a table or a stream)       + 1 its key's index    + 2 its key's constraint
//!   16384 + 8 n + 4   view n                              + 1 its rule
//!   16384 + 8 n + 6   sequence n
//!   2^29 + oid * 256 + n   a condition of a table
//!   2^30 + oid * 2048 + attnum   a default
//! ```
//! PostgreSQL's own objects have the oids that they have there, since clients know some by heart.

use regauge_views::catalog::{ObjectId, RoleId};

/// Schema `pg_catalog`.
pub const PG_CATALOG: i64 = 11;
/// Schema `public`.
pub const PUBLIC: i64 = 2200;
/// Schema `information_schema`.
pub const INFORMATION_SCHEMA: i64 = 13_000;
/// Schema `regauge`.
pub const REGAUGE: i64 = 13_001;
/// The database.
pub const DATABASE: i64 = 5;
/// The user that owns everything.
pub const OWNER: i64 = 10;
/// Access method `heap`.
pub const HEAP: i64 = 2;
/// Access method `btree`.
pub const BTREE: i64 = 403;
/// Collation `default`.
pub const COLLATION: i64 = 100;
/// Tablespace `pg_default`.
pub const TABLESPACE: i64 = 1663;

const FIRST: i64 = 16_384;

/// Of a relation.
pub fn relation(id: ObjectId) -> i64 {
    match id {
        ObjectId::Topic(n) => FIRST + 8 * i64::from(n),
        ObjectId::View(n) => FIRST + 8 * i64::from(n) + 4,
    }
}

/// Of the index of a table's key.
pub fn key_index(table: i64) -> i64 {
    table + 1
}

/// Of the constraint of a table's key.
pub fn key_constraint(table: i64) -> i64 {
    table + 2
}

/// Of a sequence. `nextval` knows it too.
pub fn sequence(id: u32) -> i64 {
    regauge_views::catalog::Sequence::oid_of(id)
}

/// Of the rule by which a view is what its query gives.
pub fn rule(view: i64) -> i64 {
    view + 1
}

/// Of a table's n-th condition.
pub fn check(table: i64, n: usize) -> i64 {
    (1 << 29) + table * 256 + i64::try_from(n).unwrap_or(255).min(255)
}

/// Of a relation's n-th index, besides that of its key.
pub fn index(relation: i64, n: usize) -> i64 {
    (1 << 28) + relation * 64 + i64::try_from(n).unwrap_or(63).min(63)
}

/// Of a column's default.
pub fn default(relation: i64, attnum: i64) -> i64 {
    (1 << 30) + relation * 2048 + attnum
}

/// Of a role.
pub fn role(id: RoleId) -> i64 {
    match id {
        RoleId::PUBLIC => 0,
        RoleId::BOOTSTRAP => OWNER,
        RoleId(n) => FIRST + 8 * i64::from(n) + 7,
    }
}

/// Of a schema. Schemas have no ids of their own; another name gets an oid that its letters make.
pub fn schema(name: &str) -> i64 {
    match name {
        "pg_catalog" => PG_CATALOG,
        "public" => PUBLIC,
        "information_schema" => INFORMATION_SCHEMA,
        "regauge" => REGAUGE,
        other => 100_000_000 + other.bytes().fold(7_i64, |h, b| (h * 31 + i64::from(b)) % 99_999_989),
    }
}
