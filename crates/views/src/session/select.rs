//! SELECT, and the running of queries that other statements are made of.
//!
//! A text that was planned before and whose meaning has not changed runs its kept plan: same catalog, no function that depends
//! on the moment. Cost of a kept plan: none of the planning.

use super::{Session, given::Given, prepare::PreparedBefore, txn::Txn};
use crate::{
    catalog::{Catalog, ObjectId, RoleId},
    error::{Error, Result},
    read::{names::Scope, past, planner},
    response::{Response, Rows},
};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
};
use datafusion::{catalog::TableProvider, physical_plan::ExecutionPlan, scalar::ScalarValue, sql::sqlparser::ast};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use regauge_plan::{
    params::{Filled, Slots},
    parse::Statement,
};
use regauge_types::Lsn;
use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// Plans kept, of a session and again of all together.
const PLANS_KEPT: usize = 512;
/// Plans with slots that are kept of one text while no session has them.
const OPEN_KEPT: usize = 8;
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
    /// Of one that is planned for any values.
    slots: Option<Open>,
    /// The right to run it with the values that it has now.
    filled: Option<Arc<Filled>>,
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

    /// Whether it is of the same statement.
    fn is_of(&self, given: &Given) -> bool {
        self.slots
            .as_ref()
            .is_some_and(|open| Arc::ptr_eq(&open.statement, &given.statement) || open.statement == given.statement)
    }

    /// The same with values in its slots, unless it runs already.
    fn with(&self, values: &[ScalarValue]) -> Option<Kept> {
        let filled = self.slots.as_ref()?.slots.fill(values)?;
        Some(Kept { filled: Some(Arc::new(filled)), ..self.clone() })
    }
}

/// A plan for any values.
#[derive(Clone)]
struct Open {
    /// What another session finds it by.
    key: SharedKey,
    /// What was planned.
    statement: Arc<Statement>,
    /// Where its values are.
    slots: Arc<Slots>,
}

/// Plans of a session by text, and those of all sessions behind them.
pub(super) struct Plans {
    own: Lately<String, Kept>,
    /// By text and the types that the client gave.
    pub(super) prepared: Lately<(String, Vec<Option<DataType>>), PreparedBefore>,
    all: Arc<SharedPlans>,
}

impl Drop for Plans {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Plans of all sessions of an instance: by text, role and settings. A session of one statement (each call over HTTP is one) finds
/// what another has planned.
#[derive(Default)]
pub struct SharedPlans {
    plans: Mutex<Lately<SharedKey, Kept>>,
    /// Those with slots, which one session has at a time: it gives them back when it ends.
    open: Mutex<Lately<SharedKey, Vec<Kept>>>,
    /// Statements that are to be planned with the values in them, as long as the catalog is this one.
    unfit: Mutex<Lately<SharedKey, Unfit>>,
    made: AtomicU64,
    found: AtomicU64,
}

/// The catalog under which it is so, and the statement.
type Unfit = (Weak<Catalog>, Arc<Statement>);

impl SharedPlans {
    /// How often a query was planned, and how often a plan of it was found.
    pub fn counts(&self) -> (u64, u64) {
        (self.made.load(Ordering::Relaxed), self.found.load(Ordering::Relaxed))
    }

    /// A plan with slots that no session has, that nobody runs and that will do.
    fn take(&self, key: &SharedKey, will_do: impl Fn(&Kept) -> bool) -> Option<Kept> {
        let mut open = self.open.lock();
        let all = open.get_mut(key)?;
        let at = all.iter().position(|kept| kept.slots.as_ref().is_some_and(|s| !s.slots.is_taken()) && will_do(kept))?;
        Some(all.swap_remove(at))
    }

    fn give_back(&self, kept: Kept) {
        // of a catalog that nobody has any more
        if kept.catalog.strong_count() == 0 {
            return;
        }
        let Some(key) = kept.slots.as_ref().map(|s| s.key.clone()) else { return };
        let mut open = self.open.lock();
        match open.get_mut(&key) {
            Some(all) => {
                all.retain(|other| other.catalog.strong_count() > 0);
                if all.len() < OPEN_KEPT {
                    all.push(kept);
                }
            }
            None => open.put(key, vec![kept]),
        }
    }
}

/// Text, role and [`About::planning`](crate::read::names::About::planning). `search_path` and time zone are among the settings, and
/// [`Kept::holds`] judges them once more: a definition has its own.
type SharedKey = (String, RoleId, [u8; 32]);

impl Plans {
    pub(super) fn new(all: &Arc<SharedPlans>) -> Plans {
        Plans { own: Lately::default(), prepared: Lately::default(), all: Arc::clone(all) }
    }

    /// A plan of this text that still holds.
    pub(super) fn get(&mut self, text: Option<&str>, txn: &Txn, scope: &Scope) -> Option<Kept> {
        let text = text.filter(|text| text.len() <= TEXT_BYTES_MAX)?;
        if let Some(kept) = self.own.get(text).filter(|kept| kept.holds(txn, scope)) {
            self.all.found.fetch_add(1, Ordering::Relaxed);
            return Some(kept.clone());
        }
        if !scope.own.is_empty() {
            return None;
        }
        let key = (text.to_owned(), scope.who.role, scope.about.planning);
        let kept = self.all.plans.lock().get(&key).filter(|kept| kept.holds(txn, scope)).cloned()?;
        self.all.found.fetch_add(1, Ordering::Relaxed);
        self.own.put(text.to_owned(), kept.clone());
        Some(kept)
    }

    /// A plan of this text that still holds and that nobody runs, with these values.
    fn open(&mut self, given: &Given, txn: &Txn, scope: &Scope) -> Option<Kept> {
        let will_do = |kept: &Kept| kept.is_of(given) && kept.holds(txn, scope);
        if self.own.get(&given.key).is_none_or(|kept| !will_do(kept)) {
            let key = (given.key.clone(), scope.who.role, scope.about.planning);
            let other = self.all.take(&key, will_do)?;
            self.own.put(given.key.clone(), other);
        }
        let kept = self.own.get(&given.key)?.with(&given.values)?;
        self.all.found.fetch_add(1, Ordering::Relaxed);
        Some(kept)
    }

    fn put(&mut self, text: Option<&str>, txn: &Txn, settings: Option<[u8; 32]>, kept: &Kept) {
        let Some(text) = text.filter(|t| t.len() <= TEXT_BYTES_MAX && txn.events.is_empty()) else { return };
        self.own.put(text.to_owned(), kept.clone());
        if let Some(settings) = settings {
            self.all.plans.lock().put((text.to_owned(), kept.role, settings), kept.clone());
        }
    }

    /// A setting has changed. What all sessions have is found by their settings.
    pub(super) fn clear(&mut self) {
        for kept in std::mem::take(&mut self.own).into_values().filter(|kept| kept.slots.is_some()) {
            self.all.give_back(kept);
        }
        self.prepared = Lately::default();
    }
}

/// What was used of late: two halves, the older of which goes when the younger is full. Cost: one or two look-ups.
pub(super) struct Lately<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K, V> Default for Lately<K, V> {
    fn default() -> Self {
        Lately { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Eq + Hash, V> Lately<K, V> {
    pub(super) fn get<Q: ?Sized + Eq + Hash>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.put(key, value);
        }
        self.young.get(key)
    }

    fn get_mut<Q: ?Sized + Eq + Hash>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        self.young.get_mut(key)
    }

    fn into_values(self) -> impl Iterator<Item = V> {
        self.young.into_values().chain(self.old.into_values())
    }

    pub(super) fn put(&mut self, key: K, value: V) {
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
        let stream = self.core.planner.run(&kept.plan, reading)?.map_err(Error::from_datafusion);
        let filled = kept.filled;
        let stream = stream.inspect(move |_| _ = &filled).boxed();
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
        if let Some(kept) = self.kept(text, txn, &scope) {
            return Ok(kept);
        }
        let Some(given) = self.given.take() else { return self.planned_anew(txn, query, scope, text, output).await };
        let open = match text {
            Some(_) => Box::pin(self.planned_open(txn, &query, &scope, output, &given)).await,
            None => None,
        };
        let mut query = query;
        let filled = given.fill(&mut query);
        self.given = Some(given);
        filled?;
        match open {
            Some(kept) => Ok(kept),
            None => self.planned_anew(txn, query, scope, None, output).await,
        }
    }

    /// A plan of this text that was kept and holds; of a statement with values one that nobody runs now, with these in their places.
    pub(super) fn kept(&mut self, text: Option<&str>, txn: &Txn, scope: &Scope) -> Option<Kept> {
        let Some(given) = &self.given else { return self.plans.get(text, txn, scope) };
        // of another query of the statement
        text?;
        self.plans.open(given, txn, scope)
    }

    /// Whether a statement is not known to need its values where it is planned.
    pub(super) fn is_fit(&self, given: &Given) -> bool {
        let scope = self.scope(None);
        let key = (given.key.clone(), scope.who.role, scope.about.planning);
        let mut unfit = self.plans.all.unfit.lock();
        let of_now = |catalog: &Weak<Catalog>| std::ptr::eq(catalog.as_ptr(), Arc::as_ptr(&scope.catalog));
        !unfit.get(&key).is_some_and(|(catalog, statement)| of_now(catalog) && *statement == given.statement)
    }

    /// Plans a query for whatever values its parameters have, and keeps that; `None` if there is no such plan, or it would not be kept.
    async fn planned_open(
        &mut self,
        txn: &Txn,
        query: &ast::Query,
        scope: &Scope,
        output: Option<&SchemaRef>,
        given: &Given,
    ) -> Option<Kept> {
        let is_kept = given.key.len() <= TEXT_BYTES_MAX && txn.events.is_empty() && scope.own.is_empty();
        let is_running = |kept: &Kept| kept.is_of(given) && kept.holds(txn, scope);
        if !is_kept || !txn.rights_are(&scope.who.rights) || self.plans.own.get(&given.key).is_some_and(is_running) {
            return None;
        }
        let key = (given.key.clone(), scope.who.role, scope.about.planning);
        let (statement, slots) = (given.statement.clone(), Slots::new(given.types.to_vec()));
        let open = Open { key: key.clone(), statement: statement.clone(), slots };
        let scope = Scope { params: given.types.clone(), ..scope.clone() };
        match Box::pin(self.planned_for(txn, query.clone(), scope, output, Some(open))).await {
            Ok((kept, true)) => {
                self.plans.own.put(given.key.clone(), kept.clone());
                kept.with(&given.values)
            }
            // cancelled, or out of something
            Err(error) if ["53", "57"].iter().any(|class| error.sqlstate.starts_with(class)) => None,
            _ => {
                self.plans.all.unfit.lock().put(key, (Arc::downgrade(&txn.catalog), statement));
                None
            }
        }
    }

    async fn planned_anew(
        &mut self,
        txn: &Txn,
        query: ast::Query,
        scope: Scope,
        text: Option<&str>,
        output: Option<&SchemaRef>,
    ) -> Result<Kept> {
        let settings = scope.own.is_empty().then_some(scope.about.planning);
        let (kept, keep) = self.planned_for(txn, query, scope, output, None).await?;
        if keep {
            self.plans.put(text, txn, settings, &kept);
        }
        Ok(kept)
    }

    /// A plan, and whether it may be kept.
    async fn planned_for(
        &mut self,
        txn: &Txn,
        query: ast::Query,
        scope: Scope,
        output: Option<&SchemaRef>,
        slots: Option<Open>,
    ) -> Result<(Kept, bool)> {
        self.plans.all.made.fetch_add(1, Ordering::Relaxed);
        let uses = self.core.planner.uses(&query, &scope)?;
        let as_of = past::as_of(&query, &scope, &self.core.planner)?;
        let (search_path, role, time_zone) = (scope.search_path.clone(), scope.who.role, scope.time_zone.clone());
        let fresh = txn.rights_are(&scope.who.rights);
        let mut logical = Box::pin(self.core.planner.plan(query, scope)).await?;
        if let Some(output) = output {
            logical = planner::renamed(logical, output)?;
        }
        let plan = self.core.planner.physical_with(&logical, slots.as_ref().map(|open| &open.slots)).await?;
        let keep = fresh && planner::is_immutable(&logical) && planner::runs_apart(&plan);
        let catalog = Arc::downgrade(&txn.catalog);
        Ok((Kept { catalog, role, search_path, time_zone, uses, plan, as_of, slots, filled: None }, keep))
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
