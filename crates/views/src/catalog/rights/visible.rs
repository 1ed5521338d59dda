//! The catalog as a role is shown it: what it has no right on is not there, and how a view is made is told to its owner alone.
//!
//! `pg_catalog`, `information_schema`, `regauge.*`, SHOW and the listings over HTTP are made from this value, so that none of them
//! has to remember it. Cost: for a superuser none; else a copy of the maps for each statement that asks.

use super::{Object, Who};
use crate::catalog::{Catalog, Definition, Kind, ObjectId, PUBLIC, Relation, dead};
use std::sync::Arc;

impl Catalog {
    /// See the module's header.
    #[must_use]
    pub fn shown_to(self: &Arc<Catalog>, who: &Who) -> Arc<Catalog> {
        if who.is_superuser() {
            return self.clone();
        }
        let knows = |object: Object| who.rights.knows(who.role, &object);
        let mut shown = Catalog::clone(self);
        shown.schemas.retain(|schema| knows(Object::Schema(schema.clone())));
        let public = knows(Object::Schema(PUBLIC.to_owned()));
        let reachable = |schema: &str| if schema == PUBLIC { public } else { knows(Object::Schema(schema.to_owned())) };
        shown.relations.retain(|_, r| knows(dead::object(r)) && reachable(&r.name.schema));
        shown.functions.retain(|name, all| {
            all.retain(|f| knows(f.object()));
            !all.is_empty() && reachable(&name.schema)
        });
        shown.sinks.retain(|_, s| who.owns_sink(s));
        shown.secrets.retain(|name, _| reachable(&name.schema) && knows(Object::Secret(name.clone())));
        for (id, relation) in &mut shown.relations {
            if !who.rights.owns(who.role, &Object::Relation(*id)) {
                close(Arc::make_mut(relation));
            }
        }
        let there = |id: &ObjectId| shown.relations.contains_key(id);
        shown.names.retain(|_, id| there(id));
        shown.comments.retain(|(id, _), _| there(id));
        shown.sequences.retain(|id, s| knows(Object::Sequence(*id)) || s.spec.owner.is_some_and(|(of, _)| there(&of)));
        Arc::new(shown)
    }
}

/// Leaves out how it is made, and of what.
fn close(relation: &mut Relation) {
    let empty = |definition: &mut Definition| {
        definition.sql.clear();
        definition.depends_on.clear();
    };
    match &mut relation.kind {
        Kind::View { definition } => empty(definition),
        Kind::Materialized { versions, .. } => {
            for version in versions.values_mut() {
                let version = Arc::make_mut(version);
                empty(&mut version.definition);
                version.plan = Arc::from([]);
                version.fingerprint = [0; 32];
            }
        }
        Kind::Table { .. } | Kind::Stream { .. } => {}
    }
}
