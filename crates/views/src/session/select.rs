//! SELECT, and the running of queries that other statements are made of.
//!
//! A text that was planned before and whose meaning has not changed runs its kept plan: same catalog, no function that depends
//! on the moment. Cost of a kept plan: none of the planning.

use super::{Session, txn::Txn};
use crate::{
    catalog::{Catalog, ObjectId, RoleId},
    error::{Error, Result},
    read::{names::Scope, past, planner},
    response::{Response, Rows},
};
use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{catalog::TableProvider, physical_plan::ExecutionPlan, sql::sqlparser::ast};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use regauge_types::Lsn;
use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Arc, Weak},
};

/// Plans kept, of a session and again of all together.
const PLANS_KEPT: usize = 512;
/// A longer text is planned each time.
const TEXT_BYTES_MAX: usize = 4096;

/// A plan with what must hold for it to be used again.
#[derive(Clone)]
pub(super) struct Kept {
    /// This one and no other: a commit that comes to nothing gives its number to the next. A change of rights makes another, too.
    catalog: Weak<Catalog>,
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

impl Kept {
    /// A transaction that changed the catalog has plans of its own.
    fn holds(&self, txn: &Txn, scope: &Scope) -> bool {
        txn.events.is_empty()
            && std::ptr::eq(self.catalog.as_ptr(), Arc::as_ptr(&txn.catalog))
            && self.role == scope.who.role
            && txn.rights_are(&scope.who.rights)
            && self.search_path == scope.search_path
            && self.time_zone == scope.time_zone
    }
}

/// Plans of a session by text, and those of all sessions behind them.
pub(super) struct Plans {
    own: Lately<String, Kept>,
    all: Arc<SharedPlans>,
}

/// Plans of all sessions of an instance: by text, role and settings. A session of one statement (each call over HTTP is one) finds
/// what another has planned.
#[derive(Default)]
pub struct SharedPlans(Mutex<Lately<SharedKey, Kept>>);

/// Text, role and [`About::planning`](crate::read::names::About::planning). `search_path` and time zone are among the settings, and
/// [`Kept::holds`] judges them once more: a definition has its own.
type SharedKey = (String, RoleId, [u8; 32]);

impl Plans {
    pub(super) fn new(all: &Arc<SharedPlans>) -> Plans {
        Plans { own: Lately::default(), all: Arc::clone(all) }
    }

    /// A plan of this text that still holds.
    pub(super) fn get(&mut self, text: Option<&str>, txn: &Txn, scope: &Scope) -> Option<Kept> {
        let text = text.filter(|text| text.len() <= TEXT_BYTES_MAX)?;
        if let Some(kept) = self.own.get(text).filter(|kept| kept.holds(txn, scope)) {
            return Some(kept.clone());
        }
        if !scope.own.is_empty() {
            return None;
        }
        let key = (text.to_owned(), scope.who.role, scope.about.planning);
        let kept = self.all.0.lock().get(&key).filter(|kept| kept.holds(txn, scope)).cloned()?;
        self.own.put(text.to_owned(), kept.clone());
        Some(kept)
    }

    fn put(&mut self, text: Option<&str>, txn: &Txn, settings: Option<[u8; 32]>, kept: &Kept) {
        let Some(text) = text.filter(|t| t.len() <= TEXT_BYTES_MAX && txn.events.is_empty()) else { return };
        self.own.put(text.to_owned(), kept.clone());
        if let Some(settings) = settings {
            self.all.0.lock().put((text.to_owned(), kept.role, settings), kept.clone());
        }
    }

    /// A setting has changed. What all sessions have is found by their settings.
    pub(super) fn clear(&mut self) {
        self.own = Lately::default();
    }
}

/// What was used of late: two halves, the older of which goes when the younger is full. Cost: one or two look-ups.
struct Lately<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Lately<K, V> {
    fn default() -> Self {
        Lately { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Lately<K, V> {
    fn get<Q: ?Sized + Eq + Hash>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.put(key, value);
        }
        self.young.get(key)
    }

    fn put(&mut self, key: K, value: V) {
        if self.young.len() >= PLANS_KEPT / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
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
        let settings = scope.own.is_empty().then_some(scope.about.planning);
        let mut logical = Box::pin(self.core.planner.plan(query, scope)).await?;
        if let Some(output) = output {
            logical = planner::renamed(logical, output)?;
        }
        let plan = self.core.planner.physical(&logical).await?;
        let keep = fresh && planner::is_immutable(&logical) && planner::runs_apart(&plan);
        let kept = Kept { catalog: Arc::downgrade(&txn.catalog), role, search_path, time_zone, uses, plan, as_of };
        if keep {
            self.plans.put(text, txn, settings, &kept);
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

#[cfg(test)]
mod tests {
    use super::{Lately, PLANS_KEPT};

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut all = Lately::default();
        for n in 0..10 * PLANS_KEPT {
            all.put(n, n);
            assert_eq!(all.get(&0), Some(&0), "behind {n}");
            assert!(all.young.len() + all.old.len() <= PLANS_KEPT);
        }
        assert!(all.get(&1).is_none() && all.get(&(10 * PLANS_KEPT - 1)).is_some());
    }
}
