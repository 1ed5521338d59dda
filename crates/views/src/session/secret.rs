//! CREATE, ALTER and DROP SECRET, SHOW SECRETS, and the value of one for a role that may use it.
//!
//! Invariant: a value is in the statement's tree, in its transaction, and in its file, encrypted; events and catalog have the file's
//! name. Nothing is written before the commit.

use super::{Session, show::texts, txn::Txn};
use crate::{
    catalog::{
        Catalog, Event, Name, Who, Wish,
        rights::{Object, Privileges},
        secret::parts,
    },
    error::{Error, Result, sqlstate as code},
    response::Response,
    secrets::SecretValue,
};
use regauge_plan::parse::{RelationName, SECRET_OPTION, Secret};
use regauge_types::ErrorKind;
use std::collections::BTreeMap;

impl Session {
    pub(super) fn set_secret(
        &mut self,
        txn: &mut Txn,
        name: &RelationName,
        alter: bool,
        leniently: bool,
        value: &Secret,
    ) -> Result<Vec<String>> {
        let who = self.who(Some(txn))?;
        let name = match alter {
            true => match self.the_secret(&txn.catalog, &who, name) {
                Err(error) if leniently && error.kind == ErrorKind::NotFound => {
                    return Ok(vec![format!("secret \"{name}\" does not exist, skipping")]);
                }
                found => {
                    let found = found?;
                    who.own_secret(&found)?;
                    found
                }
            },
            false => {
                let name = self.new_name(txn, name)?;
                if txn.catalog.secret(&name).is_some() {
                    if leniently {
                        return Ok(vec![format!("secret \"{name}\" already exists, skipping")]);
                    }
                    let error = Error::new(ErrorKind::Conflict, "42710", format!("secret \"{name}\" already exists"));
                    return Err(error.hint("ALTER SECRET .. AS gives it another value"));
                }
                name
            }
        };
        let value = SecretValue::new(value.0.clone());
        let file = self.core.secrets.new_name(&value)?;
        txn.secrets.insert(file.clone(), value);
        txn.wish(Wish::Secret { name, file })?;
        Ok(vec![])
    }

    pub(super) fn drop_secrets(
        &mut self,
        txn: &mut Txn,
        names: &[RelationName],
        if_exists: bool,
        cascade: bool,
    ) -> Result<Vec<String>> {
        let who = self.who(Some(txn))?;
        let mut said = vec![];
        for name in names {
            match self.the_secret(&txn.catalog, &who, name) {
                Ok(found) => {
                    if !who.owns_schema(&found.schema) {
                        who.own_secret(&found)?;
                    }
                    for event in txn.wish(Wish::DropSecret { name: found, cascade })? {
                        if let Event::SinkDropped { sink } = event {
                            let name = txn.base.sinks().find(|s| s.id == sink).map(|s| s.name.to_string());
                            said.extend(name.map(|name| format!("drop cascades to sink {name}")));
                        }
                    }
                }
                Err(error) if if_exists && error.kind == ErrorKind::NotFound => {
                    said.push(format!("secret \"{name}\" does not exist, skipping"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(said)
    }

    /// The secret that a name means.
    pub(super) fn the_secret(&self, catalog: &Catalog, who: &Who, name: &RelationName) -> Result<Name> {
        let schemas = match &name.schema {
            Some(schema) => {
                if catalog.has_schema(schema) {
                    who.schema(schema, Privileges::USAGE)?;
                }
                vec![schema.clone()]
            }
            None => self.path(catalog, who),
        };
        let mut names = schemas.into_iter().map(|schema| Name { schema, name: name.name.clone() });
        names.find(|name| catalog.secret(name).is_some()).ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound, code::UNDEFINED_OBJECT, format!("secret \"{name}\" does not exist"));
            error.hint("SHOW SECRETS lists those that one may use")
        })
    }

    pub(super) fn show_secrets(&self) -> Result<Response> {
        let catalog = self.catalog();
        let owner = |name: &Name| catalog.rights.name(catalog.rights.owner(&Object::Secret(name.clone())));
        let rows: Vec<_> = catalog
            .secrets()
            .map(|(name, _)| vec![Some(name.schema.clone()), Some(name.name.clone()), Some(owner(name))])
            .collect();
        texts(&["schema", "name", "owner"], &rows, "SHOW")
    }

    /// Secrets that options of a sink name: each must be there, and the role may use it; they are named in full from now on.
    pub(super) fn named_secrets(&self, txn: &Txn, options: &mut BTreeMap<String, String>) -> Result<()> {
        let who = self.who(Some(txn))?;
        for (_, value) in options.iter_mut().filter(|(option, _)| option.ends_with(SECRET_OPTION)) {
            let mut parts = parts(value);
            let name = parts.pop().unwrap_or_default();
            let given = RelationName { schema: parts.pop(), name, version: None };
            if !parts.is_empty() {
                return Err(Error::invalid(code::SYNTAX, "improper qualified name of a secret"));
            }
            let found = self.the_secret(&txn.catalog, &who, &given)?;
            who.secret(&found)?;
            *value = found.quoted();
        }
        Ok(())
    }
}
