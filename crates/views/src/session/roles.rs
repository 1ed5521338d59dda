//! CREATE ROLE, GRANT and their kin: names become roles and objects, a password becomes its verifier, `catalog::rights` decides.
//!
//! Invariant: a password is in the statement's tree and in no other place: not in the session's kept texts, not in the catalog, not in
//! an error.

use super::{
    Session,
    rights::{no_schema, object, tag},
    txn::Txn,
};
use crate::{
    catalog::{
        Catalog, Event, Name, ObjectId, Relation, RoleId, Who, Wish, dead,
        rights::{
            Change, Kind, Object, denied,
            grants::{self, Grant},
            owned,
            roles::{self, Attributes, Decided},
            scram::{ITERATIONS, SALT_BYTES, Verifier},
        },
    },
    error::{Error, Result, sqlstate as code},
    read::names::DATABASE,
    response::Response,
};
use arrow::datatypes::{DataType, TimeUnit};
use regauge_plan::{
    Datum,
    parse::{self, GrantKind, GrantOn, Rights, RoleName, RoleOptions, Secret},
    pgtypes::parse_text,
};
use regauge_types::ErrorKind;
use std::sync::Arc;

impl Session {
    pub(super) fn rights(&mut self, txn: &mut Txn, rights: &Rights) -> Result<Response> {
        let who = self.who(Some(txn))?;
        let mut notices = vec![];
        let mut take = |txn: &mut Txn, decided: Decided| {
            let (changes, said) = decided;
            notices.extend(said);
            txn.extend(changes.into_iter().map(|change| Event::Rights { change }).collect())
        };
        match rights {
            Rights::CreateRole { name, options, within, members, admins } => {
                let attributes = self.attributes(options, &mut take, txn)?;
                let members: Vec<(String, bool)> =
                    members.iter().map(|m| (m.clone(), false)).chain(admins.iter().map(|m| (m.clone(), true))).collect();
                let decided = roles::create(&txn.catalog, &who, name, &attributes, within, &members)?;
                take(txn, decided)?;
            }
            Rights::AlterRole { name, options } => {
                let attributes = self.attributes(options, &mut take, txn)?;
                let decided = roles::alter(&txn.catalog, &who, role(&txn.catalog, &who, name)?, &attributes)?;
                take(txn, decided)?;
            }
            Rights::RenameRole { name, to } => {
                let decided = roles::rename(&txn.catalog, &who, role(&txn.catalog, &who, name)?, to)?;
                take(txn, decided)?;
            }
            Rights::DropRole { names, if_exists } => {
                for name in names {
                    match role(&txn.catalog, &who, name) {
                        Ok(id) => {
                            let decided = roles::drop(&txn.catalog, &who, id)?;
                            take(txn, decided)?;
                        }
                        Err(error) if *if_exists && error.sqlstate == code::UNDEFINED_OBJECT => {
                            take(txn, (vec![], vec![format!("{}, skipping", error.message)]))?;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Rights::Member { revoke, roles: of, members, admin } => {
                for of in of {
                    let of = roles::find(&txn.catalog.rights, of)?;
                    for member in members {
                        let member = role(&txn.catalog, &who, member)?;
                        let decided = roles::member(&txn.catalog, &who, *revoke, of, member, *admin)?;
                        take(txn, decided)?;
                    }
                }
            }
            Rights::Grant { grant, on } => {
                let objects = self.objects(&txn.catalog, &who, on)?;
                let grant = granted(&txn.catalog, &who, grant)?;
                for object in objects {
                    let decided = grants::on(&txn.catalog, &who, &grant, &object)?;
                    take(txn, decided)?;
                }
            }
            Rights::Default { of, schemas, grant, kind } => {
                let grant = granted(&txn.catalog, &who, grant)?;
                let of: Vec<RoleId> = if of.is_empty() { vec![who.role] } else { several(&txn.catalog, &who, of)? };
                for role in of {
                    let within: Vec<Option<&str>> =
                        if schemas.is_empty() { vec![None] } else { schemas.iter().map(|s| Some(s.as_str())).collect() };
                    for schema in within {
                        if let Some(schema) = schema.filter(|s| !txn.catalog.has_schema(s)) {
                            return Err(no_schema(schema));
                        }
                        let decided = grants::default(&txn.catalog, &who, &grant, role, schema, kind_of(*kind))?;
                        take(txn, decided)?;
                    }
                }
            }
            Rights::Reassign { of, to } => {
                let to = role(&txn.catalog, &who, to)?;
                for of in several(&txn.catalog, &who, of)? {
                    let decided = owned::reassign(&txn.catalog, &who, of, to)?;
                    take(txn, decided)?;
                }
            }
            Rights::DropOwned { of, cascade } => {
                let mut said = vec![];
                for of in several(&txn.catalog, &who, of)? {
                    self.drop_owned(txn, &who, of, *cascade, &mut said)?;
                }
                take(txn, (vec![], said))?;
            }
            Rights::SetSecret { name, alter, leniently, value } => {
                let said = self.set_secret(txn, name, *alter, *leniently, value)?;
                take(txn, (vec![], said))?;
            }
            Rights::DropSecret { names, if_exists, cascade } => {
                let said = self.drop_secrets(txn, names, *if_exists, *cascade)?;
                take(txn, (vec![], said))?;
            }
            Rights::Owner { on, to } => {
                let to = role(&txn.catalog, &who, to)?;
                for object in self.objects(&txn.catalog, &who, on)? {
                    let decided = owned::give(&txn.catalog, &who, &object, to)?;
                    take(txn, decided)?;
                }
            }
        }
        Ok(Response::told(tag(rights), notices))
    }

    /// ALTER .. OWNER TO of a relation.
    pub(super) fn give(&mut self, txn: &mut Txn, id: ObjectId, to: &RoleName) -> Result<()> {
        let who = self.who(Some(txn))?;
        let to = role(&txn.catalog, &who, to)?;
        txn.catalog.get(id).map_or(Ok(()), |r| dead::no_rights_of_its_own(r))?;
        let (changes, _) = owned::give(&txn.catalog, &who, &Object::Relation(id), to)?;
        txn.extend(changes.into_iter().map(|change| Event::Rights { change }).collect())
    }

    /// CREATE SCHEMA .. AUTHORIZATION: who gets it.
    pub(super) fn give_schema(&mut self, txn: &mut Txn, name: &str, to: &RoleName) -> Result<()> {
        let who = self.who(Some(txn))?;
        let to = role(&txn.catalog, &who, to)?;
        if !who.rights.is_member(who.role, to) {
            let message = format!("must be member of role \"{}\"", who.rights.name(to));
            return Err(denied::error(message));
        }
        let change = Change::Owner { object: Object::Schema(name.to_owned()), role: to };
        txn.extend(vec![Event::Rights { change }])
    }

    fn drop_owned(&mut self, txn: &mut Txn, who: &Who, of: RoleId, cascade: bool, said: &mut Vec<String>) -> Result<()> {
        let objects = owned::dropped(&txn.catalog, who, of)?;
        let back = owned::taken_back(&txn.catalog, of);
        txn.extend(back.into_iter().map(|change| Event::Rights { change }).collect())?;
        let relations: Vec<ObjectId> =
            objects.iter().filter_map(|o| if let Object::Relation(id) = o { Some(*id) } else { None }).collect();
        // What stands beside another goes with it, and not by itself.
        let relations: Vec<ObjectId> = relations.into_iter().filter(|id| !owned::is_aside(&txn.catalog, *id)).collect();
        for event in txn.wish(Wish::Drop { objects: relations, cascade })? {
            self.forget(txn, &event, said, &[]);
        }
        for object in objects {
            match object {
                Object::Sequence(sequence) if txn.catalog.sequence(sequence).is_some_and(|s| s.spec.owner.is_none()) => {
                    txn.wish(Wish::DropSequence { sequence })?;
                }
                Object::Schema(name) if txn.catalog.has_schema(&name) => {
                    for event in txn.wish(Wish::DropSchema { name, cascade })? {
                        self.forget(txn, &event, said, &[]);
                    }
                }
                Object::Secret(name) if txn.catalog.secret(&name).is_some() => {
                    txn.wish(Wish::DropSecret { name, cascade })?;
                }
                Object::Function { name, params }
                    if txn.catalog.functions_named(&name).iter().any(|f| f.spec.params.len() == params) =>
                {
                    txn.wish(Wish::DropFunction { name, params })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn objects(&self, catalog: &Catalog, who: &Who, on: &GrantOn) -> Result<Vec<Object>> {
        let path = self.path(catalog, who);
        let schema = |name: &String| match catalog.has_schema(name) {
            true => Ok(name.clone()),
            false => Err(no_schema(name)),
        };
        match on {
            GrantOn::Relations(names) => names.iter().map(|name| object(catalog, &path, name, false)).collect(),
            GrantOn::Sequences(names) => names.iter().map(|name| object(catalog, &path, name, true)).collect(),
            GrantOn::Secrets(names) => {
                let object = |name| Ok(Object::Secret(self.the_secret(catalog, who, name)?));
                names.iter().map(object).collect()
            }
            GrantOn::Functions(names) => {
                names.iter().map(|named| self.the_function(catalog, who, named).map(|f| f.object())).collect()
            }
            GrantOn::Schemas(names) => names.iter().map(|name| Ok(Object::Schema(schema(name)?))).collect(),
            GrantOn::Database(names) => names
                .iter()
                .map(|name| match name == DATABASE {
                    true => Ok(Object::Database),
                    false => {
                        let message = format!("database \"{name}\" does not exist");
                        Err(Error::new(ErrorKind::NotFound, "3D000", message).hint(format!("the database is {DATABASE}")))
                    }
                })
                .collect(),
            GrantOn::All { kind, schemas } => {
                let schemas = schemas.iter().map(schema).collect::<Result<Vec<_>>>()?;
                let here = |name: &Name| schemas.contains(&name.schema);
                Ok(match kind {
                    Some(GrantKind::Relations) => {
                        let own = |r: &&Arc<Relation>| here(&r.name) && dead::of(r).is_none();
                        catalog.relations().filter(own).map(|r| Object::Relation(r.id)).collect()
                    }
                    Some(GrantKind::Sequences) => {
                        catalog.sequences().filter(|s| here(&s.name)).map(|s| Object::Sequence(s.id)).collect()
                    }
                    Some(GrantKind::Functions) => catalog.functions().filter(|f| here(&f.name)).map(|f| f.object()).collect(),
                    Some(GrantKind::Schemas) | None => vec![],
                })
            }
        }
    }

    fn attributes(
        &self,
        options: &RoleOptions,
        take: &mut impl FnMut(&mut Txn, Decided) -> Result<()>,
        txn: &mut Txn,
    ) -> Result<Attributes> {
        let verifier = match &options.password {
            None => None,
            Some(None) => Some(None),
            Some(Some(Secret(text))) if text.is_empty() => {
                take(txn, (vec![], vec!["empty string is not a valid password, clearing password".to_owned()]))?;
                Some(None)
            }
            Some(Some(Secret(text))) if text.starts_with("md5") && text.len() == 35 => {
                let error = Error::unsupported("passwords hashed with md5 are not taken");
                return Err(error.hint("give the password itself, or a verifier that begins with SCRAM-SHA-256$"));
            }
            // Hashed by the client, as psql's \password does.
            Some(Some(Secret(text))) if Verifier::parse(text).is_some() => Some(Some(text.clone())),
            Some(Some(Secret(text))) => {
                let mut salt = [0; SALT_BYTES];
                self.core.config.env.random.fill(&mut salt);
                Some(Some(Verifier::new(text, &salt, ITERATIONS).to_string()))
            }
        };
        let valid_until_us = options.valid_until.as_deref().map(moment).transpose()?;
        Ok(Attributes {
            superuser: options.superuser,
            inherit: options.inherit,
            createrole: options.createrole,
            createdb: options.createdb,
            login: options.login,
            verifier,
            valid_until_us,
        })
    }
}

/// The moment of VALID UNTIL; none for ever.
fn moment(text: &str) -> Result<Option<i64>> {
    if text.eq_ignore_ascii_case("infinity") {
        return Ok(None);
    }
    let ty = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    match parse_text(&ty, text).map(|value| value.datum) {
        Ok(Datum::Timestamp(us)) => Ok(Some(us)),
        _ => Err(Error::invalid("22007", format!("invalid input syntax for type timestamp with time zone: \"{text}\""))),
    }
}

/// The role that a name stands for.
fn role(catalog: &Catalog, who: &Who, name: &RoleName) -> Result<RoleId> {
    match name {
        RoleName::Named(name) => roles::find(&catalog.rights, name),
        RoleName::Current => Ok(who.role),
        RoleName::Session => Ok(who.session),
        RoleName::Public => Err(denied::no_role("public")),
    }
}

fn several(catalog: &Catalog, who: &Who, names: &[RoleName]) -> Result<Vec<RoleId>> {
    names.iter().map(|name| role(catalog, who, name)).collect()
}

fn granted(catalog: &Catalog, who: &Who, grant: &parse::Grant) -> Result<Grant> {
    let grantee = |name: &RoleName| match name {
        RoleName::Public => Ok(RoleId::PUBLIC),
        other => role(catalog, who, other),
    };
    Ok(Grant {
        revoke: grant.revoke,
        words: grant.privileges.clone(),
        roles: grant.roles.iter().map(grantee).collect::<Result<_>>()?,
        option: grant.option,
        cascade: grant.cascade,
    })
}

fn kind_of(kind: GrantKind) -> Kind {
    match kind {
        GrantKind::Relations => Kind::Relation,
        GrantKind::Sequences => Kind::Sequence,
        GrantKind::Schemas => Kind::Schema,
        GrantKind::Functions => Kind::Function,
    }
}
