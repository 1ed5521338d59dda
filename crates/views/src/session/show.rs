//! SHOW, SET, RESET, DISCARD and FLUSH.

use super::{Session, ddl::is_kind};
use crate::{
    catalog::Kind,
    error::{Error, Result, sqlstate as code},
    response::{Response, Rows},
};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use regauge_plan::parse::ObjectKind;
use regauge_types::ErrorKind;
use std::sync::Arc;

/// What stands for an error that tells rows which the reader may not read.
pub(super) const HIDDEN: &str = "a row of it has an error";

/// Rows of text columns.
pub(super) fn texts(columns: &[&str], rows: &[Vec<Option<String>>], tag: &str) -> Result<Response> {
    let fields: Vec<Field> = columns.iter().map(|c| Field::new(*c, DataType::Utf8, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let column = |at: usize| rows.iter().map(|row| row.get(at).cloned().flatten()).collect::<StringArray>();
    let arrays: Vec<ArrayRef> = (0..columns.len()).map(|at| Arc::new(column(at)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(schema.clone(), arrays).map_err(Error::arrow)?;
    Ok(Response::Rows(Rows::ready(schema, vec![batch], tag)))
}

impl Session {
    pub(super) fn show(&self, name: &str) -> Result<Response> {
        match name {
            "all" => {
                let rows: Vec<_> = self.variables.all().into_iter().map(|(n, v)| vec![Some(n), Some(v)]).collect();
                texts(&["name", "setting"], &rows, "SHOW")
            }
            "regauge.token" => texts(&["regauge.token"], &[vec![Some(self.token())]], "SHOW"),
            "regauge.epoch" => {
                let schema = Arc::new(Schema::new(vec![Field::new("regauge.epoch", DataType::Int64, true)]));
                let epoch = i64::try_from(self.core.versions.visible().0).unwrap_or(i64::MAX);
                let batch =
                    RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![epoch]))]).map_err(Error::arrow)?;
                Ok(Response::Rows(Rows::ready(schema, vec![batch], "SHOW")))
            }
            _ => match self.variable(name) {
                Some(value) => texts(&[name], &[vec![Some(value)]], "SHOW"),
                None => {
                    let message = format!("unrecognized configuration parameter \"{name}\"");
                    Err(Error::new(ErrorKind::NotFound, code::UNDEFINED_OBJECT, message).hint("SHOW ALL lists them"))
                }
            },
        }
    }

    pub(super) fn show_objects(&self, kind: ObjectKind) -> Result<Response> {
        let (catalog, whole, who) = (self.catalog(), self.whole_catalog(), self.who_at_all(None));
        let relations = catalog.relations().filter(|r| is_kind(r, kind));
        if kind != ObjectKind::MaterializedView {
            let rows: Vec<_> = relations
                .map(|r| vec![Some(r.name.schema.clone()), Some(r.name.name.clone()), Some(r.kind_name().to_owned())])
                .collect();
            return texts(&["schema", "name", "kind"], &rows, "SHOW");
        }
        let mut rows = Vec::new();
        for relation in relations {
            let (Kind::Materialized { versions, routed }, Some(view)) = (&relation.kind, relation.view()) else { continue };
            for no in versions.keys() {
                let report = self.core.versions.report(view, *no);
                let state = if no == routed { report.state } else { format!("{} (not routed to)", report.state) };
                rows.push(vec![
                    Some(relation.name.schema.clone()),
                    Some(relation.name.name.clone()),
                    Some(no.to_string()),
                    Some(state),
                    report.upper.map(|e| e.to_string()),
                    report.error.map(|e| if who.tells(&whole, relation.id) { e } else { HIDDEN.to_owned() }),
                ]);
            }
        }
        texts(&["schema", "name", "version", "state", "epoch", "error"], &rows, "SHOW")
    }

    pub(super) async fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<Response> {
        if name == "regauge.token" {
            let text = value.ok_or_else(|| Error::invalid(code::INVALID_PARAMETER, "a token is taken in, never taken back"))?;
            self.set_token(text).await?;
            if let Some(txn) = self.txn.as_mut().filter(|t| t.snapshot.is_none()) {
                txn.at_least = txn.at_least.max(self.seen.lsn);
            }
        } else {
            self.set_variable(name, value, local)?;
            self.plans.clear();
        }
        Ok(Response::command("SET"))
    }

    /// Sets it; a role that the session may not have is refused at once.
    fn set_variable(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        if !["role", "session_authorization"].contains(&name) {
            return self.variables.set(name, value, local);
        }
        let before = self.variables.clone();
        self.variables.set(name, value, local)?;
        if name == "session_authorization" {
            // Another session user begins without a role.
            self.variables.set("role", None, local)?;
        }
        match self.who(None) {
            Ok(who) => {
                self.variables.tell_superuser(who.is_superuser());
                Ok(())
            }
            Err(error) => {
                self.variables = before;
                // As PostgreSQL says it of a value that a setting cannot have.
                let sqlstate = if error.sqlstate == code::UNDEFINED_OBJECT { code::INVALID_PARAMETER } else { error.sqlstate };
                Err(Error { sqlstate, ..error })
            }
        }
    }

    pub(super) fn reset(&mut self, name: Option<&str>) -> Result<Response> {
        match name {
            Some(name) => self.set_variable(name, None, false)?,
            None => self.variables.reset_settings(),
        }
        self.plans.clear();
        Ok(Response::command("RESET"))
    }

    pub(super) fn discard(&mut self) -> Result<Response> {
        if self.txn.as_ref().is_some_and(|t| t.mode == super::txn::Mode::Explicit) {
            return Err(Error::invalid(code::ACTIVE_TRANSACTION, "DISCARD ALL cannot run inside a transaction block"));
        }
        self.variables.reset_all();
        self.plans.clear();
        let _ = self.deallocate(None);
        self.close_cursor(None)?;
        Ok(Response::command("DISCARD ALL"))
    }

    /// Waits until every readable view shows what is durable now.
    pub(super) async fn flush(&mut self) -> Result<Response> {
        let at = self.core.log.durable().max(self.seen.lsn);
        let guard = self.guard();
        guard.run(self.core.versions.until_all_reach(at, self.variables.causal_timeout())).await?;
        Ok(Response::command("FLUSH"))
    }
}
