//! SHOW, SET, RESET, DISCARD and FLUSH.

use super::{Session, ddl::is_kind};
use crate::{
    catalog::Kind,
    error::{Error, Result, sqlstate as code},
    read::Pin,
    response::{Notice, Response, Rows},
};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use regauge_plan::parse::ObjectKind;
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
                // A transaction that has read stays where it is, whatever is shown meanwhile.
                let own = self.txn.as_ref().and_then(|txn| txn.snapshot.as_ref()).map(Pin::at);
                let epoch = own.unwrap_or_else(|| self.core.versions.visible().into());
                let epoch = i64::try_from(epoch.0).unwrap_or(i64::MAX);
                let batch =
                    RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![epoch]))]).map_err(Error::arrow)?;
                Ok(Response::Rows(Rows::ready(schema, vec![batch], "SHOW")))
            }
            "data_directory" if !self.who_at_all(None).is_superuser() => Err(crate::catalog::rights::denied::error(format!(
                "must be superuser or have privileges of pg_read_all_settings to examine \"{name}\""
            ))),
            _ => match self.variable(name) {
                Some(value) => texts(&[super::variables::shown_name(name)], &[vec![Some(value)]], "SHOW"),
                None => Err(super::variables::unknown(name)),
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
        } else if local && self.txn.is_none() {
            let mut tried = self.variables.clone();
            tried.set(name, value, false)?;
            self.variables.name(name);
            let warning = Notice::warning("25P01", "SET LOCAL can only be used in transaction blocks");
            return Ok(Response::noticed("SET", warning));
        } else {
            // These are of the transaction at hand, however they are set.
            let local = local || name.starts_with("transaction_");
            if local && self.txn.is_none() {
                self.variables.clone().set(name, value, false)?;
                return Ok(Response::command("SET"));
            }
            if self.txn.is_some() {
                self.variables.within_transaction();
            }
            self.set_variable(name, value, local)?;
            if name == "transaction_read_only"
                && let Some(txn) = &mut self.txn
            {
                txn.read_only = self.variables.get(name).map(|on| on == "on");
            }
            self.plans.clear();
        }
        Ok(Response::command("SET"))
    }

    /// Sets it; a role that the session may not have is refused at once.
    pub(super) fn set_variable(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        if super::settings::OF_SUPERUSERS.contains(&name) && !self.who(None)?.is_superuser() {
            return Err(crate::catalog::rights::denied::error(format!("permission denied to set parameter \"{name}\"")));
        }
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
        if self.txn.is_some() {
            self.variables.within_transaction();
        }
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
        self.counted.forget();
        self.calls.unlock_all();
        self.unlisten();
        Ok(Response::command("DISCARD ALL"))
    }

    /// Waits until every view shows what is durable now. Several statements in one text are one transaction: what stands before FLUSH is
    /// committed first, otherwise it would wait for everything but that.
    pub(super) async fn flush(&mut self) -> Result<Response> {
        if self.txn.as_ref().is_some_and(|t| t.mode == super::txn::Mode::Implicit) {
            self.commit().await?;
            self.begin(super::txn::Mode::Implicit);
        }
        let at = self.core.log.durable().max(self.seen.lsn);
        let (guard, timeout, versions) = (self.guard(), self.variables.causal_timeout(), self.core.versions.clone());
        let all = async {
            versions.until_all_reach(at, timeout).await?;
            versions.until_closed(at, timeout).await
        };
        guard.run(all).await?;
        Ok(Response::command("FLUSH"))
    }
}
