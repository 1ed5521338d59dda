//! Changes of the catalog by several transactions at once: whether one that was decided on an older catalog still says the same.
//!
//! It does if what it touches, and what its definitions read, is as it was; if nothing has come that reads what it renames, alters
//! or drops; and if names are still free, which [`Catalog::apply_all`] sees. Pure. Cost: relations that it touches, and one pass
//! over all for those that it changes.

use super::{
    Catalog, Event, Name, ObjectId, Wish, dead, diverted,
    rights::{Change, Object},
};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
};

/// Identities that were given to transactions, committed or not: no two make things under the same one.
#[derive(Debug, Default)]
pub struct Ids {
    topic: AtomicU32,
    view: AtomicU32,
    sequence: AtomicU32,
    sink: AtomicU32,
}

impl Ids {
    /// Behind those of a catalog.
    #[must_use]
    pub fn behind(catalog: &Catalog) -> Ids {
        Ids {
            topic: AtomicU32::new(catalog.last_topic),
            view: AtomicU32::new(catalog.last_view),
            sequence: AtomicU32::new(catalog.last_sequence),
            sink: AtomicU32::new(catalog.last_sink),
        }
    }

    /// A catalog in which the wish is given identities that nobody else has been given.
    #[must_use]
    pub fn claim(&self, catalog: &Catalog, wish: &Wish) -> Catalog {
        let (topics, views, sequences) = match wish {
            Wish::Table { sequences, .. } => (1, 0, sequences.len()),
            Wish::Stream { sequences, options, .. } => (1 + usize::from(options.contains_key(dead::OPTION)), 0, sequences.len()),
            Wish::OnError { .. } => (1, 0, 0),
            Wish::View { .. } => (0, 1, 0),
            Wish::Materialized { version, late, .. } => {
                let diverts = version.options.get(diverted::OPTION).is_some_and(|v| v == diverted::DIVERT);
                (0, 1 + usize::from(diverts) + usize::from(!late.is_empty()), 0)
            }
            Wish::Sequence { .. } => (0, 0, 1),
            Wish::Alter { change: super::Change::Add { sequence: Some(_), .. }, .. } => (0, 0, 1),
            _ => (0, 0, 0),
        };
        let mut next = catalog.clone();
        let claim = |counter: &AtomicU32, last: &mut u32, n: usize| {
            if n > 0 {
                *last = counter.fetch_add(u32::try_from(n).unwrap_or(u32::MAX), Ordering::Relaxed);
            }
        };
        claim(&self.topic, &mut next.last_topic, topics);
        claim(&self.view, &mut next.last_view, views);
        claim(&self.sequence, &mut next.last_sequence, sequences);
        claim(&self.sink, &mut next.last_sink, usize::from(matches!(wish, Wish::Sink { .. })));
        next
    }
}

/// Whether events that were decided on `base` mean the same on `now`.
#[must_use]
pub fn still_holds(base: &Catalog, now: &Catalog, events: &[Event]) -> bool {
    let made = made(events);
    let known = |id: &ObjectId| !made.contains(id);
    let (mut touched, mut changed) = (BTreeSet::new(), BTreeSet::new());
    let mut names: Vec<&Name> = vec![];
    let mut roles_hold = true;
    for event in events {
        if let Event::TableCreated { name, .. }
        | Event::StreamCreated { name, .. }
        | Event::ViewCreated { name, .. }
        | Event::MaterializedViewCreated { name, .. }
        | Event::Renamed { name, .. }
        | Event::SequenceCreated { name, .. }
        | Event::SecretSet { name, .. }
        | Event::FunctionCreated { name, .. }
        | Event::SinkCreated { name, .. } = event
        {
            names.push(name);
        }
        match event {
            Event::ViewCreated { definition, .. } => touched.extend(definition.depends_on.iter().copied()),
            Event::ViewReplaced { view, definition, .. } => {
                changed.insert(ObjectId::View(*view));
                touched.extend(definition.depends_on.iter().copied());
            }
            Event::VersionAdded { view, spec, .. } => {
                touched.insert(ObjectId::View(*view));
                touched.extend(spec.definition.depends_on.iter().copied());
            }
            Event::Routed { view, .. } | Event::VersionRetired { view, .. } | Event::BackfillPaced { view, .. } => {
                touched.insert(ObjectId::View(*view));
            }
            Event::OnErrorSet { topic, .. } => drop(changed.insert(ObjectId::Topic(*topic))),
            Event::Dropped { object, .. } | Event::Renamed { object, .. } | Event::Altered { object, .. } => {
                changed.insert(*object);
            }
            Event::Redefined { object, .. } | Event::Commented { object, .. } => drop(touched.insert(*object)),
            Event::TableCreated { .. }
            | Event::StreamCreated { .. }
            | Event::MaterializedViewCreated { .. }
            | Event::SchemaCreated { .. }
            | Event::SchemaDropped { .. }
            | Event::SequenceCreated { .. }
            | Event::SequenceDropped { .. }
            | Event::ModuleAdded { .. }
            | Event::SequenceReserved { .. } => {}
            Event::SecretSet { name, .. } | Event::SecretDropped { name } => {
                let used = |of: &Catalog| of.sinks_with(name).map(|s| s.id).collect::<BTreeSet<_>>();
                if base.secret(name) != now.secret(name) || used(base) != used(now) {
                    return false;
                }
            }
            Event::FunctionCreated { name, .. } | Event::FunctionDropped { name, .. } => {
                if base.functions_named(name) != now.functions_named(name) {
                    return false;
                }
            }
            Event::IndexCreated { object, .. } | Event::IndexDropped { object, .. } => drop(changed.insert(*object)),
            Event::SinkCreated { spec, .. } => {
                if spec.secrets().any(|(_, name)| base.secret(&name).is_some() && now.secret(&name).is_none()) {
                    return false;
                }
                touched.insert(spec.of);
            }
            Event::SinkAltered { sink, .. } | Event::SinkDropped { sink } => {
                if let Event::SinkAltered { spec, .. } = event
                    && spec.secrets().any(|(_, name)| base.secret(&name).is_some() && now.secret(&name).is_none())
                {
                    return false;
                }
                let of = |catalog: &Catalog| catalog.sinks.get(sink).cloned();
                if of(base) != of(now) && of(base).is_some() {
                    return false;
                }
            }
            // What was decided about roles and privileges rests on all of them; a new thing's owner must be there.
            Event::Rights { change } => match change {
                Change::Owner { object, role } if is_new(object, &made) => roles_hold &= now.rights.role(*role).is_some(),
                Change::Privileges { object, .. } if is_new(object, &made) => {
                    roles_hold &= base.rights.defaults().eq(now.rights.defaults());
                }
                _ => roles_hold &= base.rights == now.rights,
            },
        }
    }
    if !roles_hold {
        return false;
    }
    let schema_made = |schema: &str| events.iter().any(|e| matches!(e, Event::SchemaCreated { schema: made } if made == schema));
    if names.iter().any(|n| !now.has_schema(&n.schema) && !schema_made(&n.schema)) {
        return false;
    }
    let sink_taken = |n: &Name| now.sinks().any(|s| s.name == *n) && !base.sinks().any(|s| s.name == *n);
    if names.iter().any(|n| sink_taken(n)) {
        return false;
    }
    let taken = |n: &Name| now.sequences().any(|s| s.name == *n) && !base.sequences().any(|s| s.name == *n);
    if names.iter().any(|n| taken(n)) {
        return false;
    }
    let same = |id: &ObjectId| {
        let object = Object::Relation(*id);
        base.get(*id) == now.get(*id) && base.rights.owner(&object) == now.rights.owner(&object)
    };
    let readers = |of: &Catalog, id: ObjectId| {
        (of.dependants(id).map(|r| r.id).collect::<BTreeSet<_>>(), of.sinks_of(id).map(|s| s.id).collect::<BTreeSet<_>>())
    };
    touched.iter().chain(&changed).filter(|id| known(id)).all(same)
        && changed.iter().filter(|id| known(id)).all(|id| readers(base, *id) == readers(now, *id))
}

/// Whether the events make it: a relation, or a sequence or schema beside it, which have names of their own to keep.
fn is_new(object: &Object, made: &BTreeSet<ObjectId>) -> bool {
    matches!(object, Object::Relation(id) if made.contains(id))
}

/// Relations that the events make themselves.
fn made(events: &[Event]) -> BTreeSet<ObjectId> {
    let of = |event: &Event| match event {
        Event::TableCreated { topic, .. } | Event::StreamCreated { topic, .. } => Some(ObjectId::Topic(*topic)),
        Event::ViewCreated { view, .. } | Event::MaterializedViewCreated { view, .. } => Some(ObjectId::View(*view)),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}
