//! CREATE, ALTER, DROP and SHOW SINK.
//!
//! Invariant: no text that is stored or shown holds a password: a connector refuses options that do. A secret is named, and its value
//! asked for by who connects.

use super::{Session, show::texts, txn::Txn};
use crate::{
    catalog::{Kind, Name, Sink, SinkSpec, Wish},
    error::{Error, Result, sqlstate as code},
    response::Response,
};
use regauge_plan::parse::{RelationName, SECRET_OPTION, SinkChange, SinkDdl};
use regauge_types::ErrorKind;
use std::{collections::BTreeMap, sync::Arc};

/// Columns of SHOW SINKS.
pub(super) const SHOWN: [&str; 7] = ["schema", "name", "relation", "connector", "state", "epoch", "error"];

impl Session {
    pub(super) fn sink(&mut self, txn: &mut Txn, ddl: &SinkDdl) -> Result<Response> {
        match ddl {
            SinkDdl::Create { name, if_not_exists, of, options } => self.create_sink(txn, name, *if_not_exists, of, options),
            SinkDdl::Alter { name, if_exists, change } => self.alter_sink(txn, name, *if_exists, change),
            SinkDdl::Drop { names, if_exists } => {
                let mut notices = vec![];
                for name in names {
                    match self.own_sink(txn, name)? {
                        Some(sink) => drop(txn.wish(Wish::DropSink { sink: sink.id })?),
                        None if *if_exists => notices.push(format!("sink \"{name}\" does not exist, skipping")),
                        None => return Err(no_sink(name)),
                    }
                }
                Ok(Response::told("DROP SINK", notices))
            }
            SinkDdl::ShowCreate { name } => {
                let sink = self.own_sink(txn, name)?.ok_or_else(|| no_sink(name))?;
                let of = txn.catalog.get(sink.spec.of).ok_or_else(|| Error::internal("a sink without a relation"))?;
                let text = create_sql(&sink, &of.name);
                texts(&["name", "create_sql"], &[vec![Some(sink.name.to_string()), Some(text)]], "SHOW")
            }
            SinkDdl::Show => {
                let who = self.who(Some(txn))?;
                let mut rows = vec![];
                for sink in txn.catalog.sinks().filter(|s| who.owns_sink(s)) {
                    let status = self.core.sinks.status(sink.id).unwrap_or_default();
                    rows.push(vec![
                        Some(sink.name.schema.clone()),
                        Some(sink.name.name.clone()),
                        txn.catalog.get(sink.spec.of).map(|r| r.name.to_string()),
                        Some(sink.spec.connector().to_owned()),
                        Some(status.state.to_owned()).filter(|s| !s.is_empty()),
                        status.epoch.map(|e| e.to_string()),
                        status.error,
                    ]);
                }
                texts(&SHOWN, &rows, "SHOW")
            }
        }
    }

    fn create_sink(
        &mut self,
        txn: &mut Txn,
        name: &RelationName,
        if_not_exists: bool,
        of: &RelationName,
        options: &[(String, String)],
    ) -> Result<Response> {
        let name = self.new_name(txn, name)?;
        if if_not_exists && txn.catalog.sinks().any(|s| s.name == name) {
            return Ok(Response::noticed("CREATE SINK", format!("sink \"{name}\" already exists, skipping")));
        }
        let relation = self.target(txn, of)?;
        if let Kind::View { .. } = relation.kind {
            let error = Error::unsupported(format!("\"{}\" is a plain view: it has no changes of its own", relation.name));
            return Err(error.hint("CREATE MATERIALIZED VIEW .. AS the same query, and CREATE SINK .. FROM that"));
        }
        let mut options: BTreeMap<String, String> = options.iter().cloned().collect();
        self.judge_options(txn, &relation, &mut options)?;
        let spec = SinkSpec { of: relation.id, options, owner: txn.role, paused: false };
        txn.wish(Wish::Sink { name, spec })?;
        Ok(Response::command("CREATE SINK"))
    }

    fn judge_options(
        &self,
        txn: &Txn,
        relation: &crate::catalog::Relation,
        options: &mut BTreeMap<String, String>,
    ) -> Result<()> {
        let judgement = self.core.sinks.judge(relation, options)?;
        self.named_secrets(txn, options)?;
        options.extend(judgement.fixed);
        match judgement.guarded.first() {
            Some(option) if !self.who(Some(txn))?.is_superuser() => {
                let message = format!("permission denied to set option \"{option}\" of a sink");
                Err(Error::new(ErrorKind::Denied, "42501", message)
                    .detail("It names a file or a variable of the server.")
                    .hint("a superuser creates such a sink"))
            }
            _ => Ok(()),
        }
    }

    fn alter_sink(&mut self, txn: &mut Txn, name: &RelationName, if_exists: bool, change: &SinkChange) -> Result<Response> {
        let Some(sink) = self.own_sink(txn, name)? else {
            if if_exists {
                return Ok(Response::noticed("ALTER SINK", format!("sink \"{name}\" does not exist, skipping")));
            }
            return Err(no_sink(name));
        };
        let mut spec = sink.spec.clone();
        match change {
            SinkChange::Pause => spec.paused = true,
            SinkChange::Resume => spec.paused = false,
            SinkChange::Set(options) => {
                if let Some((_, connector)) = options.iter().find(|(n, _)| n == "connector")
                    && connector != spec.connector()
                {
                    let error = Error::unsupported("a sink's connector cannot be changed");
                    return Err(error.hint("DROP SINK, then CREATE SINK"));
                }
                spec.options.extend(options.iter().cloned());
            }
            SinkChange::Reset(names) => names.iter().for_each(|n| drop(spec.options.remove(n))),
        }
        if matches!(change, SinkChange::Set(_) | SinkChange::Reset(_)) {
            let relation = txn.catalog.get(spec.of).cloned().ok_or_else(|| Error::internal("a sink without a relation"))?;
            self.judge_options(txn, &relation, &mut spec.options)?;
        }
        txn.wish(Wish::AlterSink { sink: sink.id, spec })?;
        Ok(Response::command("ALTER SINK"))
    }

    /// A sink that the session's role may change; none: there is none of this name.
    fn own_sink(&self, txn: &Txn, name: &RelationName) -> Result<Option<Arc<Sink>>> {
        let who = self.who(Some(txn))?;
        let path = self.path(&txn.catalog, &who);
        let found = txn.catalog.resolve_sink(name.schema.as_deref(), &name.name, &path).cloned();
        match &found {
            Some(sink) if !who.owns_sink(sink) => Err(crate::catalog::rights::denied::ownership("sink", &sink.name.name)),
            _ => Ok(found),
        }
    }
}

fn no_sink(name: &RelationName) -> Error {
    let error = Error::new(ErrorKind::NotFound, code::UNDEFINED_OBJECT, format!("sink \"{name}\" does not exist"));
    error.hint("SHOW SINKS lists them; IF EXISTS takes no notice")
}

fn create_sql(sink: &Sink, of: &Name) -> String {
    let quoted = crate::catalog::retext::identifier;
    let whole = |name: &Name| format!("{}.{}", quoted(&name.schema), quoted(&name.name));
    let option = |(name, value): (&String, &String)| match name.strip_suffix(SECRET_OPTION) {
        Some(name) => format!("{name} = SECRET {value}"),
        None => format!("{name} = '{}'", value.replace('\'', "''")),
    };
    let options: Vec<String> = sink.spec.options.iter().map(option).collect();
    format!("CREATE SINK {} FROM {} WITH (\n    {}\n);", whole(&sink.name), whole(of), options.join(",\n    "))
}
