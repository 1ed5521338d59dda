//! What drivers and psql ask of `pg_catalog` and `information_schema`.
//!
//! ```text
//!   query ─▶ rewrite (one rule a file) ─▶ the ordinary planner, over relations made from the catalog ─▶ rows
//!                                          └─ functions that know the catalog and the session
//! ```
//! Relations are made when they are asked for ([`relations`]), from [`facts`]: the catalog of the statement and who asks. Nothing
//! is stored, so nothing can be out of date; oids are functions of ids that are never used again. Invariant: a query text is
//! never recognised as a whole; what a client may ask follows from relations, functions and syntax alone. Cost: a relation is made
//! anew for every statement that names it, which is some milliseconds for the largest.

mod dialect;
mod facts;
mod functions;
mod oids;
mod relations;
mod rewrite;
mod shape;
mod types;

use regauge_views::Instance;
use std::sync::Arc;

/// Schemas that are made here.
const SCHEMAS: [&str; 3] = ["pg_catalog", "information_schema", "regauge"];

/// Gives the instance the schemas `pg_catalog`, `information_schema` and `regauge`, and the functions and syntax that go with them.
pub fn install(instance: &Instance) {
    let live = relations::live::Live::new(instance);
    for schema in SCHEMAS {
        let live = live.clone();
        instance.add_system_schema(schema, Arc::new(move |scope, name| relations::rows(scope, &live, schema, name)));
    }
    instance.set_system_dialect(Arc::new(dialect::Dialect));
}
