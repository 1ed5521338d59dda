//! DROP: what goes with what, and in which order.
//!
//! Cost: DROP .. CASCADE visits every relation per level.

use super::{Catalog, Event, ObjectId, Relation, Sink, dead, diverted, late};
use crate::error::{Error, Result, sqlstate as code};
use regauge_types::ErrorKind;
use std::collections::BTreeSet;

/// Dependants go first, so that every prefix of the events leaves no view without what it reads.
pub(super) fn drops(catalog: &Catalog, objects: &[ObjectId], cascade: bool) -> Result<Vec<Event>> {
    let wanted: BTreeSet<ObjectId> = objects.iter().copied().collect();
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut stack: Vec<(ObjectId, bool)> = objects.iter().rev().map(|id| (*id, false)).collect();
    while let Some((id, children_done)) = stack.pop() {
        let Some(relation) = catalog.get(id) else { continue };
        if children_done {
            order.extend(catalog.sinks_of(id).map(|s| Event::SinkDropped { sink: s.id }));
            order.push(Event::Dropped { object: id, name: relation.name.clone() });
            continue;
        }
        if !seen.insert(id) {
            continue;
        }
        stack.push((id, true));
        if let Some(whole) = relation.depends_on().filter_map(|of| catalog.get(of)).find(|of| is_beside(relation, of))
            && !seen.contains(&whole.id)
            && !wanted.contains(&whole.id)
        {
            return Err(belongs(relation, whole));
        }
        if let Some(sink) = catalog.sinks_of(id).next()
            && !cascade
        {
            return Err(followed(relation, sink));
        }
        for dependant in catalog.dependants(id) {
            if !cascade && !wanted.contains(&dependant.id) && !is_beside(dependant, relation) {
                return Err(in_use(relation, dependant));
            }
            stack.push((dependant.id, false));
        }
    }
    Ok(order)
}

/// Whether a relation was made with another and goes with it.
pub(super) fn is_beside(relation: &Relation, of: &Relation) -> bool {
    diverted::is_of(relation, of) || late::is_of(relation, of) || dead::is_of(relation, of)
}

fn in_use(relation: &Relation, dependant: &Relation) -> Error {
    let message = format!("cannot drop {} {} because other objects depend on it", relation.kind_name(), relation.name);
    Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
        .detail(format!("{} {} depends on {} {}", dependant.kind_name(), dependant.name, relation.kind_name(), relation.name))
        .hint("use DROP ... CASCADE to drop the dependent objects too")
}

fn followed(relation: &Relation, sink: &Sink) -> Error {
    let message = format!("cannot drop {} {} because other objects depend on it", relation.kind_name(), relation.name);
    Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
        .detail(format!("sink {} depends on {} {}", sink.name, relation.kind_name(), relation.name))
        .hint("use DROP ... CASCADE to drop the dependent objects too")
}

fn belongs(relation: &Relation, whole: &Relation) -> Error {
    let (kind, of) = (relation.kind_name(), whole.kind_name());
    let message = format!("cannot drop {kind} {} because {of} {} requires it", relation.name, whole.name);
    Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message).hint(format!(
        "DROP {} {} drops both",
        of.to_uppercase(),
        whole.name
    ))
}
