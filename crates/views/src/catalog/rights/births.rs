//! What a new thing is given when it is made: an owner, and the privileges that ALTER DEFAULT PRIVILEGES said.
//!
//! Pure. What the first superuser makes without default privileges has no event of its own: nothing is said of it.

use super::{Acl, Change, Kind, Object, Rights, RoleId, acl, plain};
use crate::catalog::{Catalog, Event, ObjectId, dead};

/// Changes that go with events by which a role makes things.
pub(crate) fn births(catalog: &Catalog, role: RoleId, events: &[Event]) -> Vec<Event> {
    let rights = &catalog.rights;
    let mut all = vec![];
    for event in events.iter().filter(|event| !dead::makes(event)) {
        let Some((object, schema)) = made(event) else { continue };
        // One that is replaced keeps its owner and its privileges.
        if let Object::Function { name, params } = &object
            && catalog.functions_named(name).iter().any(|f| f.spec.params.len() == *params)
        {
            continue;
        }
        if matches!(&object, Object::Secret(name) if catalog.secret(name).is_some()) {
            continue;
        }
        let owner = match event {
            // A column's sequence is its relation's, whoever adds the column.
            Event::SequenceCreated { spec, .. } => match spec.owner {
                Some((of, _)) if catalog.get(of).is_some() => rights.owner(&Object::Relation(of)),
                _ => role,
            },
            _ => role,
        };
        if owner != RoleId::BOOTSTRAP {
            all.push(Event::Rights { change: Change::Owner { object: object.clone(), role: owner } });
        }
        if let Some(acl) = given(rights, owner, schema, object.kind()) {
            all.push(Event::Rights { change: Change::Privileges { object, acl: Some(acl) } });
        }
    }
    all
}

fn made(event: &Event) -> Option<(Object, Option<&str>)> {
    Some(match event {
        Event::TableCreated { topic, name, .. } | Event::StreamCreated { topic, name, .. } => {
            (Object::Relation(ObjectId::Topic(*topic)), Some(&name.schema))
        }
        Event::ViewCreated { view, name, .. } | Event::MaterializedViewCreated { view, name } => {
            (Object::Relation(ObjectId::View(*view)), Some(&name.schema))
        }
        Event::SequenceCreated { sequence, name, .. } => (Object::Sequence(*sequence), Some(&name.schema)),
        Event::FunctionCreated { name, spec } => {
            (Object::Function { name: name.clone(), params: spec.params.len() }, Some(&name.schema))
        }
        Event::SecretSet { name, .. } => (Object::Secret(name.clone()), Some(&name.schema)),
        Event::SchemaCreated { schema } => (Object::Schema(schema.clone()), None),
        _ => return None,
    })
}

/// Default privileges of all schemas, and those of this one besides.
fn given(rights: &Rights, owner: RoleId, schema: Option<&str>, kind: Kind) -> Option<Acl> {
    let everywhere = rights.default_of(&(owner, None, kind));
    let here = schema.and_then(|schema| rights.default_of(&(owner, Some(schema.to_owned()), kind)));
    if everywhere.is_none() && here.is_none() {
        return None;
    }
    let plain = plain(kind, owner);
    let mut all = everywhere.cloned().unwrap_or_else(|| plain.clone());
    for item in here.into_iter().flatten() {
        all = acl::merged(&all, item);
    }
    (all != plain).then_some(all)
}
