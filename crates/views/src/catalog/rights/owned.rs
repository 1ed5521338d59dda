//! What belongs to a role, or names it: OWNER TO, REASSIGN OWNED, DROP OWNED, and why a role cannot be dropped.
//!
//! Pure. What was made with a relation goes with it: the sequences of its columns, and the views beside a materialized one.

use super::{Change, Object, Privileges, RoleId, Who, acl, denied, grants::called, roles::Decided};
use crate::{
    catalog::{Catalog, ObjectId, PUBLIC, dead, drops::is_beside},
    error::{Error, Result, sqlstate as code},
};
use regauge_types::ErrorKind;

/// Everything that has an owner, what has been there longest first.
fn all(catalog: &Catalog) -> Vec<Object> {
    let mut all: Vec<Object> = catalog.schemas().map(|s| Object::Schema(s.to_owned())).collect();
    all.push(Object::Schema(PUBLIC.to_owned()));
    all.push(Object::Database);
    all.extend(catalog.relations().filter(|r| dead::of(r).is_none()).map(|r| Object::Relation(r.id)));
    all.extend(catalog.sequences().map(|s| Object::Sequence(s.id)));
    all.extend(catalog.functions().map(|f| f.object()));
    all.extend(catalog.secrets().map(|(name, _)| Object::Secret(name.clone())));
    all
}

/// What a role owns.
#[must_use]
pub fn owned(catalog: &Catalog, role: RoleId) -> Vec<Object> {
    all(catalog).into_iter().filter(|object| catalog.rights.owner(object) == role).collect()
}

/// Why a role cannot be dropped, a line each.
#[must_use]
pub fn uses(catalog: &Catalog, role: RoleId) -> Vec<String> {
    let rights = &catalog.rights;
    let mut lines = vec![];
    for object in all(catalog) {
        let (word, name) = called(catalog, &object);
        let named = rights.acls.get(&object).is_some_and(|acl| acl.iter().any(|i| i.grantee == role || i.grantor == role));
        if rights.owner(&object) == role {
            lines.push(format!("owner of {word} {name}"));
        } else if named {
            lines.push(format!("privileges for {word} {name}"));
        }
    }
    lines.extend(catalog.sinks().filter(|s| s.spec.owner == role).map(|s| format!("owner of sink {}", s.name)));
    for ((of, schema, kind), acl) in rights.defaults() {
        let within = schema.as_ref().map_or_else(String::new, |s| format!(" in schema {s}"));
        let what = format!("default privileges on new {}s belonging to role {}{within}", kind.word(), rights.name(*of));
        if *of == role {
            lines.push(format!("owner of {what}"));
        } else if acl.iter().any(|i| i.grantee == role) {
            lines.push(format!("privileges for {what}"));
        }
    }
    lines
}

/// Whether a view was made with another and goes with it.
#[must_use]
pub fn is_aside(catalog: &Catalog, id: ObjectId) -> bool {
    let Some(relation) = catalog.get(id) else { return false };
    relation.reads().filter_map(|of| catalog.get(of)).any(|of| is_beside(relation, of))
}

/// An object and what goes with it.
fn whole(catalog: &Catalog, object: &Object) -> Vec<Object> {
    let mut all = vec![object.clone()];
    let Object::Relation(id) = object else { return all };
    let Some(relation) = catalog.get(*id) else { return all };
    let beside = |r: &&std::sync::Arc<crate::catalog::Relation>| is_beside(r, relation) && dead::of(r).is_none();
    all.extend(catalog.dependants(*id).filter(beside).map(|r| Object::Relation(r.id)));
    let of = |owner: Option<(ObjectId, u32)>| owner.is_some_and(|(of, _)| of == *id);
    all.extend(catalog.sequences().filter(|s| of(s.spec.owner)).map(|s| Object::Sequence(s.id)));
    all
}

fn given(catalog: &Catalog, object: Object, to: RoleId) -> Vec<Change> {
    let rights = &catalog.rights;
    let old = rights.owner(&object);
    if old == to {
        return vec![];
    }
    let acl = rights.granted(&object).map(|acl| acl::inherited(&acl, old, to));
    let mut changes = vec![Change::Owner { object: object.clone(), role: to }];
    if acl.is_some() {
        changes.push(Change::Privileges { object, acl });
    }
    changes
}

/// OWNER TO.
pub fn give(catalog: &Catalog, who: &Who, object: &Object, to: RoleId) -> Result<Decided> {
    let rights = &catalog.rights;
    if let Object::Sequence(id) = object
        && let Some((of, _)) = catalog.sequence(*id).and_then(|s| s.spec.owner)
        && let Some(relation) = catalog.get(of)
    {
        let (_, name) = called(catalog, object);
        return Err(Error::unsupported(format!("cannot change owner of sequence \"{name}\""))
            .detail(format!("Sequence \"{name}\" is linked to table \"{}\".", relation.name.name)));
    }
    if rights.owner(object) == to {
        return Ok((vec![], vec![]));
    }
    if !who.is_superuser() {
        if !who.rights.owns(who.role, object) {
            let (word, name) = called(catalog, object);
            return Err(denied::error(format!("must be owner of {word} {name}")));
        }
        if !who.rights.is_member(who.role, to) {
            return Err(denied::error(format!("must be member of role \"{}\"", rights.name(to))));
        }
        let there = Who { role: to, ..who.clone() };
        match object {
            Object::Relation(id) => {
                catalog.get(*id).map_or(Ok(()), |r| there.schema(&r.name.schema, Privileges::CREATE))?;
            }
            Object::Sequence(id) => {
                catalog.sequence(*id).map_or(Ok(()), |s| there.schema(&s.name.schema, Privileges::CREATE))?;
            }
            Object::Function { name, .. } | Object::Secret(name) => there.schema(&name.schema, Privileges::CREATE)?,
            Object::Schema(_) | Object::Database => who.database(Privileges::CREATE)?,
        }
    }
    Ok((whole(catalog, object).into_iter().flat_map(|object| given(catalog, object, to)).collect(), vec![]))
}

/// REASSIGN OWNED of one role.
pub fn reassign(catalog: &Catalog, who: &Who, of: RoleId, to: RoleId) -> Result<Decided> {
    let rights = &catalog.rights;
    if !who.rights.has(who.role, of) || !who.rights.has(who.role, to) {
        return Err(denied::error("permission denied to reassign objects"));
    }
    if of == RoleId::BOOTSTRAP {
        let message = format!(
            "cannot reassign ownership of objects owned by role {} because they are required by the database system",
            rights.name(of)
        );
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message).hint("ALTER .. OWNER TO gives one away"));
    }
    Ok((owned(catalog, of).into_iter().flat_map(|object| given(catalog, object, to)).collect(), vec![]))
}

/// What DROP OWNED drops; what it takes back is in [`taken_back`].
pub fn dropped(catalog: &Catalog, who: &Who, of: RoleId) -> Result<Vec<Object>> {
    if !who.rights.has(who.role, of) {
        return Err(denied::error("permission denied to drop objects"));
    }
    if of == RoleId::BOOTSTRAP {
        let message = format!(
            "cannot drop objects owned by role {} because they are required by the database system",
            catalog.rights.name(of)
        );
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message));
    }
    Ok(owned(catalog, of).into_iter().filter(|o| *o != Object::Database && *o != Object::Schema(PUBLIC.to_owned())).collect())
}

/// Privileges that a role has by name, or gave, and its default privileges.
#[must_use]
pub fn taken_back(catalog: &Catalog, of: RoleId) -> Vec<Change> {
    let rights = &catalog.rights;
    let mut changes = vec![];
    for (object, acl) in &rights.acls {
        let rest: Vec<_> = acl.iter().filter(|i| i.grantee != of && i.grantor != of).copied().collect();
        if rest.len() != acl.len() && rights.owner(object) != of {
            changes.push(Change::Privileges { object: object.clone(), acl: Some(rest) });
        }
    }
    for ((role, schema, kind), acl) in rights.defaults() {
        let rest: Vec<_> = acl.iter().filter(|i| i.grantee != of).copied().collect();
        if *role == of || rest.len() != acl.len() {
            let acl = (*role != of && !rest.is_empty()).then_some(rest);
            changes.push(Change::Default { role: *role, schema: schema.clone(), kind: *kind, acl });
        }
    }
    changes
}
