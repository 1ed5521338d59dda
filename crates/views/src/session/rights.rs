//! What a statement needs before it runs, and for whom: the one door that every statement goes through (I15).
//!
//! ```text
//!   statement ─▶ needs (every kind of statement, none left out) ─▶ judged by Who ─▶ the statement's own code
//!                                    rows that a query reads are judged where its names are found, see read::planner
//! ```
//! Invariant: [`needs`] matches every statement by name, so one that is added does not compile before somebody has said what it
//! needs. A role is looked up anew for each statement: what was revoked, and a role that was dropped, holds no longer than
//! that. Cost: a few look-ups in maps.

use super::{Session, txn::Txn};
use crate::{
    catalog::{
        Catalog, Event, Kind, Name, Relation, RoleId, Who,
        rights::{Object, Privileges, denied},
    },
    error::{Error, Result, sqlstate as code},
};
use datafusion::sql::sqlparser::ast::{self, Visitor};
use regauge_plan::parse::{Alter, Ddl, Insert, Merge, MergeAction, RelationName, Rights, SinkDdl, Statement};
use regauge_plan::walk::Visit;
use regauge_types::ErrorKind;
use std::{ops::ControlFlow, sync::Arc};

/// One right that a statement needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need<'a> {
    /// Privileges on a relation.
    Hold(Privileges, &'a RelationName),
    /// To read all rows, of a view by its owner's rights.
    Read(&'a RelationName),
    /// Any right.
    Know(&'a RelationName),
    /// To be told how it is made: of a table that is any right, of a view ownership.
    Open(&'a RelationName),
    /// Ownership.
    Own(&'a RelationName),
    /// Ownership of the relation or of its schema.
    Drop(&'a RelationName),
    /// The same of a sequence.
    DropSequence(&'a RelationName),
    /// Ownership of a schema.
    OwnSchema(&'a str),
    /// USAGE of the schema that is named.
    Enter(&'a RelationName),
    /// CREATE in the schema that a new thing gets.
    Make(&'a RelationName),
    /// CREATE in the schema that a relation is in.
    MakeBeside(&'a RelationName),
    /// CREATE in a schema.
    MakeIn(&'a str),
    /// CREATE in the database.
    MakeSchema,
}

/// What a statement needs. Rows that its queries read are not among it: they are judged by the names in them. Statements about
/// roles and privileges are judged by `catalog::rights`, which decides them.
pub(super) fn needs(statement: &Statement) -> Vec<Need<'_>> {
    match statement {
        // Its key's index is looked for by name, so PostgreSQL asks for USAGE too.
        Statement::CreateTable(create) => {
            let keyed = !create.primary_key.is_empty() || create.key.is_some();
            let alike = create.likes.iter().map(|like| Need::Hold(Privileges::SELECT, &like.table));
            let enter = keyed.then_some(Need::Enter(&create.name));
            std::iter::once(Need::Make(&create.name)).chain(enter).chain(alike).collect()
        }
        Statement::CreateView(create) => vec![Need::Make(&create.name)],
        Statement::Ddl(ddl) => of_ddl(ddl),
        Statement::Drop { names, .. } => names.iter().map(Need::Drop).collect(),
        Statement::Insert(insert) => vec![Need::Hold(of_insert(insert), &insert.table)],
        Statement::Update(update) => {
            let mut reads = Reads::of(&update.table, update.alias.as_deref());
            for value in update.assignments.iter().filter_map(|a| a.value.as_ref()).chain(&update.selection) {
                reads.look(value);
            }
            update.from.iter().for_each(|from| reads.look(from));
            reads.items(&update.returning);
            vec![Need::Hold(reads.besides(Privileges::UPDATE), &update.table)]
        }
        Statement::Delete(delete) => {
            let mut reads = Reads::of(&delete.table, delete.alias.as_deref());
            delete.selection.iter().for_each(|selection| reads.look(selection));
            delete.using.iter().for_each(|using| reads.look(using));
            reads.items(&delete.returning);
            vec![Need::Hold(reads.besides(Privileges::DELETE), &delete.table)]
        }
        Statement::Merge(merge) => vec![Need::Hold(of_merge(merge), &merge.table)],
        Statement::With(with) => with.parts.iter().map(|p| &p.work).chain([&with.body]).flat_map(needs).collect(),
        Statement::Copy(copy) => vec![Need::Hold(Privileges::INSERT, &copy.table)],
        Statement::Subscribe(subscribe) => vec![Need::Read(&subscribe.name)],
        Statement::Describe { name } => vec![Need::Know(name)],
        Statement::ExplainView { name, .. } => vec![Need::Own(name)],
        // A watermark is a record of the stream: who appends records can move it by one of them.
        Statement::AdvanceWatermark { stream, .. } => vec![Need::Hold(Privileges::INSERT, stream)],
        Statement::ExplainQuery { as_view, .. } => as_view.iter().map(|create| Need::Make(&create.name)).collect(),
        Statement::ExplainChange(change) => needs(change),
        Statement::Lock { names, .. } => names.iter().map(|name| Need::Hold(Privileges::SELECT, name)).collect(),
        // Judged where their names are found.
        Statement::Query(_) | Statement::CopyTo(_) | Statement::Declare { .. } => vec![],
        // Judged when they are executed, as the statements that they keep.
        Statement::Prepare { .. } | Statement::Execute { .. } => vec![],
        Statement::Rights(rights) if matches!(rights.as_ref(), Rights::SetSecret { alter: false, .. }) => match rights.as_ref() {
            Rights::SetSecret { name, .. } => vec![Need::Make(name)],
            _ => vec![],
        },
        // Judged by what decides them.
        Statement::Rights(_) | Statement::Set { .. } | Statement::Reset { .. } => vec![],
        // Of the session alone.
        Statement::Fetch { .. }
        | Statement::Close { .. }
        | Statement::Begin { .. }
        | Statement::Commit
        | Statement::Rollback
        | Statement::Chain { .. }
        | Statement::Nothing { .. }
        | Statement::Savepoint { .. }
        | Statement::Release { .. }
        | Statement::RollbackTo { .. }
        | Statement::Show { .. }
        | Statement::Discard
        | Statement::DiscardSequences
        | Statement::Deallocate { .. }
        | Statement::Listen { .. }
        | Statement::Unlisten { .. }
        | Statement::Notify { .. } => vec![],
        // Judged where it is done: for superusers.
        Statement::Backup { .. } => vec![],
        // Lists what the role is shown; waits for everything and tells nothing of it.
        Statement::ShowObjects { .. } | Statement::ShowSecrets | Statement::Flush => vec![],
    }
}

fn of_ddl(ddl: &Ddl) -> Vec<Need<'_>> {
    match ddl {
        Ddl::CreateSchema { .. } => vec![Need::MakeSchema],
        Ddl::DropSchema { names, .. } => names.iter().map(|name| Need::OwnSchema(name)).collect(),
        Ddl::Alter { name, actions, .. } => {
            let mut needs = vec![Need::Own(name)];
            for action in actions {
                match action {
                    Alter::Rename(_) => needs.push(Need::MakeBeside(name)),
                    Alter::SetSchema(schema) => needs.push(Need::MakeIn(schema)),
                    // It may make a stream beside it.
                    Alter::OnError(_) => needs.push(Need::MakeBeside(name)),
                    // Whether the new owner may have it is judged with the change itself.
                    Alter::Owner(_)
                    | Alter::BackfillRate(_)
                    | Alter::RenameColumn { .. }
                    | Alter::AddColumn { .. }
                    | Alter::DropColumn { .. }
                    | Alter::Default { .. }
                    | Alter::NotNull { .. }
                    | Alter::AddCheck(_)
                    | Alter::DropConstraint { .. } => {}
                }
            }
            needs
        }
        Ddl::Comment { name, .. } | Ddl::Refresh { name } => vec![Need::Own(name)],
        Ddl::ShowCreate { name, .. } => vec![Need::Open(name)],
        Ddl::Truncate { names, restart } => {
            // Sequences that begin anew are the table's own.
            let owned = names.iter().filter(|_| *restart).map(Need::Own);
            names.iter().map(|name| Need::Hold(Privileges::TRUNCATE, name)).chain(owned).collect()
        }
        Ddl::CreateIndex(create) => vec![Need::Own(&create.on)],
        // Whose it is, is judged where it is found.
        Ddl::DropIndex { names, .. } => names.iter().map(Need::Enter).collect(),
        Ddl::Sink(sink) => match sink {
            SinkDdl::Create { name, of, .. } => vec![Need::Make(name), Need::Read(of)],
            // Whose it is, is judged where it is found.
            SinkDdl::Alter { name, .. } | SinkDdl::ShowCreate { name } => vec![Need::Enter(name)],
            SinkDdl::Drop { names, .. } => names.iter().map(Need::Enter).collect(),
            SinkDdl::Show => vec![],
        },
        Ddl::CreateSequence { name, .. } => vec![Need::Make(name)],
        Ddl::RestartSequence { name, .. } => vec![Need::DropSequence(name)],
        Ddl::DropSequence { names, .. } => names.iter().map(Need::DropSequence).collect(),
        Ddl::CreateFunction(create) => vec![Need::Make(&create.name)],
        // Which one is meant is seen where it is dropped, and judged there.
        Ddl::DropFunction { functions, .. } => functions.iter().map(|f| Need::Enter(&f.name)).collect(),
    }
}

fn of_insert(insert: &Insert) -> Privileges {
    let mut needed = Privileges::INSERT;
    let mut reads = Reads::of(&insert.table, insert.alias.as_deref());
    reads.items(&insert.returning);
    if let Some(conflict) = &insert.on_conflict {
        // The key that decides is read.
        reads.any |= !conflict.columns.is_empty();
        if let Some((assignments, condition)) = &conflict.update {
            needed = needed.with(Privileges::UPDATE);
            reads.any |= condition.is_some();
            for value in assignments.iter().filter_map(|a| a.value.as_ref()) {
                reads.look(value);
            }
        }
    }
    reads.besides(needed)
}

fn of_merge(merge: &Merge) -> Privileges {
    let mut reads = Reads::of(&merge.table, merge.alias.as_deref());
    reads.look(&merge.on);
    // Where only the source is in sight, a query can name the table again.
    let mut below = Reads { names_only: true, ..Reads::of(&merge.table, None) };
    below.look(&merge.source);
    let mut needed = Privileges::NONE;
    for clause in &merge.clauses {
        let looks = if clause.matched { &mut reads } else { &mut below };
        clause.expressions().for_each(|e| looks.look(e));
        needed = needed.with(match &clause.action {
            MergeAction::Nothing => Privileges::NONE,
            MergeAction::Update(_) => Privileges::UPDATE,
            MergeAction::Delete => Privileges::DELETE,
            MergeAction::Insert { .. } => Privileges::INSERT,
        });
    }
    reads.any |= below.any || needed.is_empty();
    reads.besides(needed)
}

/// Whether a change reads columns of what it changes, or names it again: PostgreSQL asks for SELECT then.
struct Reads<'a> {
    table: &'a str,
    alias: Option<&'a str>,
    /// Its columns are not in sight.
    names_only: bool,
    any: bool,
}

impl<'a> Reads<'a> {
    fn of(table: &'a RelationName, alias: Option<&'a str>) -> Reads<'a> {
        Reads { table: &table.name, alias, names_only: false, any: false }
    }

    fn look(&mut self, part: &impl Visit) {
        let _ = part.visit(self);
    }

    fn items(&mut self, items: &[ast::SelectItem]) {
        for item in items {
            self.any |= matches!(item, ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..));
            self.look(item);
        }
    }

    fn besides(&self, needed: Privileges) -> Privileges {
        if self.any { needed.with(Privileges::SELECT) } else { needed }
    }
}

impl Visitor for Reads<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        let fold = regauge_plan::parse::fold;
        match expr {
            _ if self.names_only => {}
            ast::Expr::Identifier(_) => self.any = true,
            // A column of another relation of the statement says so.
            ast::Expr::CompoundIdentifier(parts) => {
                let of = parts.iter().rev().nth(1).map(fold);
                self.any |= of.is_none_or(|of| of == self.table || Some(of.as_str()) == self.alias || of == "excluded");
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ast::ObjectName) -> ControlFlow<()> {
        let last = name.0.last().and_then(|part| part.as_ident()).map(regauge_plan::parse::fold);
        self.any |= last.is_none_or(|last| last == self.table);
        ControlFlow::Continue(())
    }
}

/// Why a role cannot be worn.
fn unworn(message: String) -> Error {
    denied::error(message).hint("RESET ROLE")
}

impl Session {
    /// Who asks, and the rights as they are now: those of the transaction, if it has changed some itself.
    pub(super) fn who(&self, txn: Option<&Txn>) -> Result<Who> {
        let own = txn.or(self.txn.as_ref()).filter(|t| t.events.iter().any(|e| matches!(e, Event::Rights { .. })));
        let rights = own.map_or_else(|| self.core.judged.catalog().rights.clone(), |txn| txn.catalog.rights.clone());
        if rights.role(self.login).is_none() {
            let message = format!("role \"{}\" does not exist any more", self.options.user);
            return Err(Error::new(ErrorKind::Denied, "28000", message).hint("connect as another role"));
        }
        let session = match self.variables.own("session_authorization") {
            Some(name) if name != self.options.user && !name.is_empty() => {
                let session = rights.named(name).ok_or_else(|| denied::no_role(name))?;
                if session != self.login && !rights.is_superuser(self.login) {
                    return Err(denied::error("permission denied to set session authorization"));
                }
                session
            }
            _ => self.login,
        };
        let role = match self.variables.own("role") {
            Some(name) if name != "none" => {
                let role = rights.named(name).ok_or_else(|| denied::no_role(name))?;
                if !rights.is_member(session, role) {
                    return Err(unworn(format!("permission denied to set role \"{name}\"")));
                }
                role
            }
            _ => session,
        };
        Ok(Who { session, ..Who::new(rights, role) })
    }

    /// The same where there is no answer to give: nobody in particular, when the role is gone.
    pub(super) fn who_at_all(&self, txn: Option<&Txn>) -> Who {
        self.who(txn).unwrap_or_else(|_| Who::new(self.core.judged.catalog().rights.clone(), RoleId::PUBLIC))
    }

    /// Which key a table has already is told to who may read it (I15).
    pub(super) fn quiet(&self, mut error: Error) -> Error {
        let Some(subject) = error.subject.as_ref().filter(|_| error.sqlstate == code::UNIQUE) else { return error };
        let catalog = self.txn.as_ref().map_or_else(|| self.core.judged.catalog(), |txn| txn.catalog.clone());
        let relation = catalog.resolve(Some(subject.relation.schema.as_str()), &subject.relation.name, &[]);
        let who = self.who_at_all(self.txn.as_ref());
        if relation.is_none_or(|relation| who.relation(relation, Privileges::SELECT).is_err()) {
            error.detail = None;
        }
        error
    }

    /// The role of a session that has not taken another; none if there is more to be asked.
    pub(super) fn plain_role(&self) -> Option<RoleId> {
        let is = |name: &str, value: &str| self.variables.own(name).is_none_or(|v| v == value);
        (is("role", "none") && is("session_authorization", &self.options.user)).then_some(self.login)
    }

    /// The search path of a role: its own schema for `$user`, and no schema that it may not use.
    pub(super) fn path(&self, catalog: &Catalog, who: &Who) -> Vec<String> {
        let path = self.variables.search_path_of(|| Some(who.rights.name(who.role)).filter(|name| catalog.has_schema(name)));
        who.path(catalog, path)
    }

    /// Refuses a statement that its role may not run.
    pub(super) fn judge(&self, txn: Option<&Txn>, statement: &Statement) -> Result<Who> {
        let who = self.who(txn)?;
        if who.rights.is_alone() {
            return Ok(who);
        }
        let catalog = txn.or(self.txn.as_ref()).map_or_else(|| self.core.judged.catalog(), |t| t.catalog.clone());
        let path = self.path(&catalog, &who);
        let judge = Judge { catalog: &catalog, who: &who, path: &path };
        needs(statement).iter().try_for_each(|need| judge.need(need))?;
        if let Statement::CreateView(create) = statement
            && create.or_replace
            && let Some(name) = judge.new_name(&create.name)
            && let Some(there) = catalog.find(&name)
        {
            who.own(there)?;
        }
        Ok(who)
    }

    /// A relation that a door other than SQL names, if the session's role has these privileges on it.
    pub fn relation_for(&self, name: &str, privileges: Privileges) -> Result<Arc<Relation>> {
        let who = self.who(None)?;
        let catalog = self.whole_catalog();
        let relation = catalog.named(name).cloned().ok_or_else(|| Error::no_relation(name))?;
        who.schema(&relation.name.schema, Privileges::USAGE)?;
        who.relation(&relation, privileges)?;
        Ok(relation)
    }

    /// A producer's name as the log knows it: each role has its own, so that none can take another's place.
    pub(super) fn producer_name(&self, name: String) -> String {
        if self.login == RoleId::BOOTSTRAP { name } else { format!("{}/{name}", self.login.0) }
    }
}

struct Judge<'a> {
    catalog: &'a Catalog,
    who: &'a Who,
    path: &'a [String],
}

impl Judge<'_> {
    /// A relation; none: the statement itself says that it is not there.
    fn relation(&self, name: &RelationName) -> Result<Option<&Arc<Relation>>> {
        self.within(name)?;
        Ok(self.catalog.resolve(name.schema.as_deref(), &name.name, self.path))
    }

    /// A schema that is named must be open to the role.
    fn within(&self, name: &RelationName) -> Result<()> {
        match &name.schema {
            Some(schema) if self.catalog.has_schema(schema) => self.who.schema(schema, Privileges::USAGE),
            _ => Ok(()),
        }
    }

    fn new_name(&self, name: &RelationName) -> Option<Name> {
        let schema = name.schema.clone().or_else(|| self.path.iter().find(|s| self.catalog.has_schema(s)).cloned())?;
        Some(Name { schema, name: name.name.clone() })
    }

    fn make_in(&self, schema: &str) -> Result<()> {
        if self.catalog.has_schema(schema) { self.who.schema(schema, Privileges::CREATE) } else { Ok(()) }
    }

    fn need(&self, need: &Need<'_>) -> Result<()> {
        match need {
            Need::Hold(privileges, name) => match self.relation(name)? {
                Some(relation) => self.who.relation(relation, *privileges),
                None => Ok(()),
            },
            Need::Read(name) => match self.relation(name)? {
                Some(relation) => self.who.read(self.catalog, relation),
                None => Ok(()),
            },
            Need::Know(name) => match self.relation(name)? {
                Some(relation) => self.who.knows(relation),
                None => Ok(()),
            },
            Need::Open(name) => match self.relation(name)? {
                Some(relation) if matches!(relation.kind, Kind::Table { .. } | Kind::Stream { .. }) => self.who.knows(relation),
                Some(relation) => self.who.own(relation),
                None => Ok(()),
            },
            Need::Own(name) => match self.relation(name)? {
                Some(relation) => self.who.own(relation),
                None => Ok(()),
            },
            Need::Drop(name) => match self.relation(name)? {
                Some(relation) if !self.who.owns_schema(&relation.name.schema) => self.who.own(relation),
                _ => Ok(()),
            },
            Need::DropSequence(name) => {
                self.within(name)?;
                match self.catalog.resolve_sequence(name.schema.as_deref(), &name.name, self.path) {
                    Some(sequence) if !self.who.owns_schema(&sequence.name.schema) => self.who.own_sequence(sequence),
                    _ => Ok(()),
                }
            }
            Need::OwnSchema(schema) => {
                if self.catalog.has_schema(schema) {
                    self.who.own_schema(schema)
                } else {
                    Ok(())
                }
            }
            Need::Enter(name) => self.within(name),
            Need::Make(name) => {
                let schema = name.schema.as_ref().or_else(|| self.path.iter().find(|s| self.catalog.has_schema(s)));
                schema.map_or(Ok(()), |schema| self.make_in(schema))
            }
            Need::MakeBeside(name) => match self.relation(name)? {
                Some(relation) => self.make_in(&relation.name.schema),
                None => Ok(()),
            },
            Need::MakeIn(schema) => self.make_in(schema),
            Need::MakeSchema => self.who.database(Privileges::CREATE),
        }
    }
}

/// The object that a name stands for in GRANT and OWNER TO.
pub(super) fn object(catalog: &Catalog, path: &[String], name: &RelationName, sequence: bool) -> Result<Object> {
    let schema = name.schema.as_deref();
    if let Some(schema) = schema.filter(|s| !catalog.has_schema(s)) {
        return Err(no_schema(schema));
    }
    if let Some(relation) = catalog.resolve(schema, &name.name, path) {
        if sequence {
            return Err(Error::invalid(code::WRONG_OBJECT, format!("\"{}\" is not a sequence", name.name)));
        }
        crate::catalog::dead::no_rights_of_its_own(relation)?;
        return Ok(Object::Relation(relation.id));
    }
    let found = catalog.resolve_sequence(schema, &name.name, path);
    found.map(|s| Object::Sequence(s.id)).ok_or_else(|| Error::no_relation(name).hint("SHOW OBJECTS lists what there is"))
}

/// A schema that is not there.
pub(super) fn no_schema(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, code::INVALID_SCHEMA, format!("schema \"{name}\" does not exist")).hint("\\dn lists schemas")
}

/// The command's tag.
pub(super) fn tag(rights: &Rights) -> &'static str {
    match rights {
        Rights::CreateRole { .. } => "CREATE ROLE",
        Rights::AlterRole { .. } | Rights::RenameRole { .. } => "ALTER ROLE",
        Rights::DropRole { .. } => "DROP ROLE",
        Rights::Member { revoke: false, .. } => "GRANT ROLE",
        Rights::Member { .. } => "REVOKE ROLE",
        Rights::Grant { grant, .. } => {
            if grant.revoke {
                "REVOKE"
            } else {
                "GRANT"
            }
        }
        Rights::Default { .. } => "ALTER DEFAULT PRIVILEGES",
        Rights::Reassign { .. } => "REASSIGN OWNED",
        Rights::DropOwned { .. } => "DROP OWNED",
        Rights::Owner { on: regauge_plan::parse::GrantOn::Sequences(_), .. } => "ALTER SEQUENCE",
        Rights::Owner { on: regauge_plan::parse::GrantOn::Functions(_), .. } => "ALTER FUNCTION",
        Rights::Owner { on: regauge_plan::parse::GrantOn::Secrets(_), .. } => "ALTER SECRET",
        Rights::Owner { .. } => "ALTER SCHEMA",
        Rights::SetSecret { alter: false, .. } => "CREATE SECRET",
        Rights::SetSecret { .. } => "ALTER SECRET",
        Rights::DropSecret { .. } => "DROP SECRET",
    }
}
