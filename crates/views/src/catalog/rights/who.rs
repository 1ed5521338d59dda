//! Whose rights a statement is judged by: the one place that says yes or no to a role.
//!
//! ```text
//!   a name in a query ─▶ Who::read       SELECT, and what a view reads by its owner's rights
//!   a statement       ─▶ Who::relation   INSERT, UPDATE, .. · Who::own  ALTER, DROP, .. · Who::schema  CREATE, USAGE
//!   an error's text   ─▶ Who::tells      whether values of rows may be in it
//! ```
//! Invariant: a view is read by its owner's rights as they are now, whether it is kept up or not: if its owner may no longer read what
//! it reads, nobody reads it, though it is maintained on (a GRANT brings it back at once). Cost: nothing where there are no roles
//! but the first; else the lists of the relations that a view reads, each once.

use super::{Object, Privileges, Rights, RoleId, denied};
use crate::{
    catalog::{Catalog, Function, Name, ObjectId, Relation, Sequence, Sink, dead},
    error::Result,
};
use std::{collections::BTreeSet, sync::Arc};

/// See the module's header.
#[derive(Clone, Debug)]
pub struct Who {
    /// As they are at the statement.
    pub rights: Arc<Rights>,
    /// `current_user`.
    pub role: RoleId,
    /// `session_user`.
    pub session: RoleId,
    /// Relations that the statement has been judged for before their rows are looked for.
    pub judged: BTreeSet<ObjectId>,
    /// Within a stored definition: its names were found when it was made.
    pub within: bool,
    /// Views are looked into, so what they read is judged by this role.
    pub opened: bool,
}

impl Default for Who {
    /// The instance itself.
    fn default() -> Who {
        Who::new(Arc::default(), RoleId::BOOTSTRAP)
    }
}

impl Who {
    /// A role.
    #[must_use]
    pub fn new(rights: Arc<Rights>, role: RoleId) -> Who {
        Who { rights, role, session: role, judged: BTreeSet::new(), within: false, opened: false }
    }

    /// Who reads what a view reads.
    #[must_use]
    pub fn owner_of(&self, view: ObjectId) -> Who {
        let role = if self.opened { self.role } else { self.rights.owner(&Object::Relation(view)) };
        Who { role, within: true, judged: BTreeSet::new(), ..self.clone() }
    }

    /// Whether nothing is denied.
    #[must_use]
    pub fn is_superuser(&self) -> bool {
        self.rights.is_superuser(self.role)
    }

    /// Judges privileges on a relation.
    pub fn relation(&self, relation: &Relation, privileges: Privileges) -> Result<()> {
        let object = dead::object(relation);
        if self.rights.may(self.role, privileges, &object) {
            return Ok(());
        }
        let missing = privileges.without(self.rights.privileges(self.role, &object));
        Err(denied::privilege(&self.rights, self.role, missing, relation.kind_name(), &relation.name.name))
    }

    /// Judges that there is some right on a relation.
    pub fn knows(&self, relation: &Relation) -> Result<()> {
        match self.rights.knows(self.role, &dead::object(relation)) {
            true => Ok(()),
            false => self.relation(relation, Privileges::SELECT),
        }
    }

    /// Judges the reading of a relation's rows.
    pub fn read(&self, catalog: &Catalog, relation: &Relation) -> Result<()> {
        if self.rights.is_alone() {
            return Ok(());
        }
        if !self.judged.contains(&relation.id) {
            self.relation(relation, Privileges::SELECT)?;
        }
        self.behind(catalog, relation, &mut BTreeSet::new())
    }

    /// Judges what a view reads, by its owner's rights.
    fn behind(&self, catalog: &Catalog, view: &Relation, seen: &mut BTreeSet<ObjectId>) -> Result<()> {
        let owner = self.owner_of(view.id).role;
        for source in view.reads().filter_map(|id| catalog.get(id)) {
            if !self.rights.may(owner, Privileges::SELECT, &dead::object(source)) {
                // Who does not know the source is not told its name.
                let told = if self.rights.knows(self.role, &dead::object(source)) { source } else { view };
                let detail = format!(
                    "{} {} is read with the rights of its owner {}",
                    view.kind_name(),
                    view.name,
                    self.rights.name(owner)
                );
                let word = told.kind_name();
                let error = denied::privilege(&self.rights, owner, Privileges::SELECT, word, &told.name.name).detail(detail);
                return Err(if told.id == view.id { error.hint("its owner needs SELECT on what it reads") } else { error });
            }
            if seen.insert(source.id) {
                self.behind(catalog, source, seen)?;
            }
        }
        Ok(())
    }

    /// Judges privileges on a schema.
    pub fn schema(&self, schema: &str, privileges: Privileges) -> Result<()> {
        let object = Object::Schema(schema.to_owned());
        if self.rights.may(self.role, privileges, &object) {
            return Ok(());
        }
        Err(denied::privilege(&self.rights, self.role, privileges, "schema", schema))
    }

    /// Judges privileges on the database.
    pub fn database(&self, privileges: Privileges) -> Result<()> {
        if self.rights.may(self.role, privileges, &Object::Database) {
            return Ok(());
        }
        Err(denied::privilege(&self.rights, self.role, privileges, "database", crate::read::names::DATABASE))
    }

    /// Judges that one of these privileges is held on a sequence.
    pub fn sequence(&self, sequence: &Sequence, one_of: Privileges) -> Result<()> {
        let object = Object::Sequence(sequence.id);
        if one_of.each().any(|(privilege, ..)| self.rights.may(self.role, privilege, &object)) {
            return Ok(());
        }
        let missing = one_of.each().last().map_or(one_of, |(privilege, ..)| privilege);
        Err(denied::privilege(&self.rights, self.role, missing, "sequence", &sequence.name.name))
    }

    /// Judges that a relation is the role's own.
    pub fn own(&self, relation: &Relation) -> Result<()> {
        match self.rights.owns(self.role, &dead::object(relation)) {
            true => Ok(()),
            false => Err(denied::ownership(relation.kind_name(), &relation.name.name)),
        }
    }

    /// Judges that a sequence is the role's own.
    pub fn own_sequence(&self, sequence: &Sequence) -> Result<()> {
        match self.rights.owns(self.role, &Object::Sequence(sequence.id)) {
            true => Ok(()),
            false => Err(denied::ownership("sequence", &sequence.name.name)),
        }
    }

    /// Whether a function is the role's own.
    #[must_use]
    pub fn owns_function(&self, function: &Function) -> bool {
        self.rights.owns(self.role, &function.object())
    }

    /// Judges that a role may call a function.
    pub fn execute(&self, function: &Function) -> Result<()> {
        if self.rights.may(self.role, Privileges::EXECUTE, &function.object()) {
            return Ok(());
        }
        Err(denied::privilege(&self.rights, self.role, Privileges::EXECUTE, "function", &function.name.name))
    }

    /// Judges that a role may use a secret's value.
    pub fn secret(&self, name: &Name) -> Result<()> {
        if self.rights.may(self.role, Privileges::USAGE, &Object::Secret(name.clone())) {
            return Ok(());
        }
        Err(denied::privilege(&self.rights, self.role, Privileges::USAGE, "secret", &name.name))
    }

    /// Judges that a secret is the role's own.
    pub fn own_secret(&self, name: &Name) -> Result<()> {
        match self.rights.owns(self.role, &Object::Secret(name.clone())) {
            true => Ok(()),
            false => Err(denied::ownership("secret", &name.name)),
        }
    }

    /// Judges that a function is the role's own.
    pub fn own_function(&self, function: &Function) -> Result<()> {
        if self.owns_function(function) { Ok(()) } else { Err(denied::ownership("function", &function.name.name)) }
    }

    /// Whether a sink is the role's own.
    #[must_use]
    pub fn owns_sink(&self, sink: &Sink) -> bool {
        self.rights.has(self.role, sink.spec.owner)
    }

    /// Whether a schema is the role's own.
    #[must_use]
    pub fn owns_schema(&self, schema: &str) -> bool {
        self.rights.owns(self.role, &Object::Schema(schema.to_owned()))
    }

    /// Judges that a schema is the role's own.
    pub fn own_schema(&self, schema: &str) -> Result<()> {
        if self.owns_schema(schema) { Ok(()) } else { Err(denied::ownership("schema", schema)) }
    }

    /// Whether errors may tell values of rows that a relation is made of: it may read all of them.
    #[must_use]
    pub fn tells(&self, catalog: &Catalog, id: ObjectId) -> bool {
        fn all(who: &Who, catalog: &Catalog, id: ObjectId, seen: &mut BTreeSet<ObjectId>) -> bool {
            let Some(relation) = catalog.get(id) else { return true };
            let mut sources = relation.reads().peekable();
            if sources.peek().is_none() {
                return who.rights.may(who.role, Privileges::SELECT, &dead::object(relation));
            }
            sources.all(|source| !seen.insert(source) || all(who, catalog, source, seen))
        }
        self.is_superuser() || all(self, catalog, id, &mut BTreeSet::new())
    }

    /// The schemas of a search path in which names are found: those that the role may use.
    #[must_use]
    pub fn path(&self, catalog: &Catalog, path: Vec<String>) -> Vec<String> {
        if self.rights.is_alone() {
            return path;
        }
        let may = |schema: &String| {
            !catalog.has_schema(schema) || self.rights.may(self.role, Privileges::USAGE, &Object::Schema(schema.clone()))
        };
        path.into_iter().filter(may).collect()
    }
}
