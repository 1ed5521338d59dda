//! SELECT, and the running of queries that other statements are made of.
//!
//! A text that was planned before and whose meaning has not changed runs its kept plan: same catalog, no function that depends
//! on the moment. Cost of a kept plan: none of the planning.

use super::{Session, txn::Txn};
use crate::{
    catalog::{ObjectId, RoleId},
    error::{Error, Result},
    read::{names::Scope, past, planner},
    response::{Response, Rows},
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{catalog::TableProvider, physical_plan::ExecutionPlan, sql::sqlparser::ast};
use futures::{StreamExt, TryStreamExt};
use regauge_types::Lsn;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Plans kept per session.
const PLANS_KEPT: usize = 256;

/// A plan with what must hold for it to be used again.
#[derive(Clone)]
pub(super) struct Kept {
    /// A change of rights changes it too.
    catalog: Lsn,
    /// By whose rights it was planned.
    role: RoleId,
    search_path: Vec<String>,
    time_zone: String,
    /// What it reads.
    pub(super) uses: BTreeSet<ObjectId>,
    /// It.
    pub(super) plan: Arc<dyn ExecutionPlan>,
    /// The epoch that it is to be read at, if not the newest.
    pub(super) as_of: Option<Lsn>,
}

/// Plans by text.
#[derive(Default)]
pub(super) struct PlanCache(HashMap<String, Kept>);

impl PlanCache {
    /// A plan of this text that still holds. A transaction that changed the catalog has plans of its own.
    pub(super) fn get(&self, text: Option<&str>, txn: &Txn, scope: &Scope) -> Option<Kept> {
        let kept = self.0.get(text?)?;
        let holds = txn.events.is_empty()
            && kept.catalog == txn.catalog.changed()
            && kept.role == scope.who.role
            && txn.rights_are(&scope.who.rights)
            && kept.search_path == scope.search_path
            && kept.time_zone == scope.time_zone;
        holds.then(|| kept.clone())
    }

    pub(super) fn put(&mut self, text: Option<&str>, txn: &Txn, kept: &Kept) {
        let Some(text) = text.filter(|t| t.len() <= 4096 && txn.events.is_empty()) else { return };
        if self.0.len() >= PLANS_KEPT {
            self.0.clear();
        }
        self.0.insert(text.to_owned(), kept.clone());
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Session {
    pub(super) async fn select(&mut self, txn: &mut Txn, query: &ast::Query, text: Option<&str>) -> Result<Response> {
        if !query.locks.is_empty() {
            return Box::pin(self.select_locked(txn, query)).await;
        }
        let scope = self.scope(Some(txn));
        let kept = self.planned(txn, query.clone(), scope, text, None).await?;
        let reading = self.bind_kept(txn, &kept, true).await?;
        let schema = planner::shown(&kept.plan.schema());
        let stream = self.core.planner.run(&kept.plan, reading)?.map_err(Error::from_datafusion).boxed();
        Ok(Response::Rows(Rows { schema, stream, tag: "SELECT".to_owned(), notices: vec![] }))
    }

    /// Plans a query, or finds its plan again. With `output`, its columns are cast to those by position.
    pub(super) async fn planned(
        &mut self,
        txn: &Txn,
        query: ast::Query,
        scope: Scope,
        text: Option<&str>,
        output: Option<&SchemaRef>,
    ) -> Result<Kept> {
        if let Some(kept) = self.plans.get(text, txn, &scope) {
            return Ok(kept);
        }
        let uses = self.core.planner.uses(&query, &scope)?;
        let as_of = past::as_of(&query, &scope, &self.core.planner)?;
        let (search_path, role, time_zone) = (scope.search_path.clone(), scope.who.role, scope.time_zone.clone());
        let fresh = txn.rights_are(&scope.who.rights);
        let mut logical = Box::pin(self.core.planner.plan(query, scope)).await?;
        if let Some(output) = output {
            logical = planner::renamed(logical, output)?;
        }
        let keep = fresh && planner::is_immutable(&logical);
        let plan = self.core.planner.physical(&logical).await?;
        let kept = Kept { catalog: txn.catalog.changed(), role, search_path, time_zone, uses, plan, as_of };
        if keep {
            self.plans.put(text, txn, &kept);
        }
        Ok(kept)
    }

    /// Runs a query to its end, over tables as the judge has them where that is enough.
    pub(super) async fn collect(&mut self, txn: &mut Txn, kept: &Kept) -> Result<Vec<RecordBatch>> {
        let reading = self.bind_kept(txn, kept, false).await?;
        let stream = self.core.planner.run(&kept.plan, reading)?;
        stream.try_collect().await.map_err(Error::from_datafusion)
    }

    /// The same, in the order in which the rows are written.
    pub(super) async fn collect_in_order(&mut self, txn: &mut Txn, kept: &Kept) -> Result<Vec<RecordBatch>> {
        let reading = self.bind_kept(txn, kept, false).await?;
        let stream = self.core.planner.run_in_order(&kept.plan, reading)?;
        stream.try_collect().await.map_err(Error::from_datafusion)
    }

    /// Evaluates a query over relations of the statement's own.
    pub(super) async fn compute(
        &mut self,
        txn: &mut Txn,
        query: ast::Query,
        own: HashMap<String, Arc<dyn TableProvider>>,
        output: Option<&SchemaRef>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let mut scope = self.scope(Some(txn));
        scope.own.extend(own);
        let kept = self.planned(txn, query, scope, None, output).await?;
        let batches = self.collect(txn, &kept).await?;
        Ok((planner::shown(&kept.plan.schema()), batches))
    }
}
