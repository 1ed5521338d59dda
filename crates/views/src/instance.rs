//! An instance: one data folder, opened. There is no clean-shutdown state: opening is recovery.
//!
//! ```text
//!   open: log ─▶ fold topic 0 (catalog) ─▶ fold each table's topic (heads) ─▶ judge ─▶ driver installs the stored plans
//! ```
//! Cost of opening: reading the tables' topics once, and in the background the history of every view. Dropping an instance, in
//! whatever state, loses nothing acknowledged.

use crate::{
    catalog::{self, Catalog, Kind, ObjectId, RoleId, Who},
    checkpoint::{self, Board, Status, found::Found, keeper::Keeper},
    config::Config,
    core::Core,
    driver::{Driver, Parts, clock},
    error::{Error, Result, sqlstate as code},
    event_time::{Times, layout},
    judge::{Judged, SharedHead},
    read::{Pins, Planner, names::SystemRelations, system::SystemDialect},
    session::{Session, SessionOptions},
    table::{
        head::Head,
        layout::Changes,
        writes::{RowRef, keys_of},
    },
    token::Mint,
    version::{Versions, trace::Dataflows},
};
use arrow::{array::AsArray, datatypes::Int64Type};
use parking_lot::{Mutex, RwLock};
use regauge_log::{Definition, Log, LogError, ScanColumn, ScanSpec, TopicSpec, Transaction};
use regauge_state::checkpoint::Store;
use regauge_types::{CATALOG_TOPIC, ErrorKind, Lsn, SchemaId, TopicId, env::Joining};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// An open data folder. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct Instance {
    core: Arc<Core>,
    board: Arc<Board>,
    _running: Arc<Running>,
}

/// The driver's thread, ended with the last instance.
struct Running {
    log: Log,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<Box<dyn Joining>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.log.wake();
        if let Some(thread) = self.thread.lock().take()
            && let Err(panic) = thread.join()
        {
            // It was told of when it happened.
            tracing::debug!(%panic, "the epoch driver panicked");
        }
    }
}

impl Instance {
    /// Opens a data folder, or makes one.
    pub fn open(config: Config) -> Result<Instance> {
        let flows = crate::version::engine::start(&config)?;
        Instance::open_with(config, flows)
    }

    /// As [`Instance::open`], with the dataflows run by somebody else.
    pub fn open_with(config: Config, flows: Arc<dyn Dataflows>) -> Result<Instance> {
        let log = open_log(&config)?;
        let mint = Mint::open(&config.env, &config.dir)?;
        if !log.topics().iter().any(|t| t.id == CATALOG_TOPIC) {
            log.commit(Transaction { define: vec![Definition::Topic(catalog_topic())], ..Transaction::default() })
                .map_err(Error::from_log)?;
        }
        let mut catalog = fold_catalog(&log, log.durable())?;
        crate::backup::settle(&config.env, &config.dir, &log, &mut catalog)?;
        upgrade_streams(&log, &catalog)?;
        let at = log.durable();
        let board = Arc::new(Board::default());
        tracing::info!(lsn = %at, "log is open; the newest checkpoint is verified");
        let (store, found) = open_checkpoint(&config, &log, at, &board)?;
        let from = found.as_ref().map(Found::at).unwrap_or_default();
        tracing::info!(checkpoint = %from, "tables are read");
        let heads = fold_heads(&log, &catalog, found.as_ref(), at)?;
        let known = found.as_ref().map(|f| (f.times.clone(), f.at())).unwrap_or_default();
        let times = Times::of_log(&log, &catalog, known, at)?;
        let judged = Arc::new(Judged::new(catalog.clone(), heads, times.clone(), at));
        log.set_judge(judged.clone());
        let pins = Pins::new(at);
        let versions = Arc::new(Versions::new(log.clone(), flows, at));
        let stop = Arc::new(AtomicBool::new(false));
        let parts = Parts {
            log: log.clone(),
            env: config.env.clone(),
            judged: judged.clone(),
            pins: pins.clone(),
            versions: versions.clone(),
            limits: config.limits.clone(),
            stop: stop.clone(),
            board: board.clone(),
        };
        tracing::info!("views are begun");
        let checkpoints = store.clone();
        let keeper = store.map(|store| {
            let last = found.as_ref().map(|f| f.manifest());
            Keeper::new(config.checkpoints, config.env.clone(), store, last, board.clone(), log.written_bytes())
        });
        let driver = Driver::new(parts, catalog, times, at, (found, keeper));
        let told = versions.clone();
        let thread = config.env.threads.spawn("regauge-epochs", Box::new(move || crate::driver::end::run(driver, &told)));
        let thread =
            thread.map_err(|e| Error::new(ErrorKind::Exhausted, code::OUT_OF_MEMORY, format!("cannot start a thread: {e}")))?;
        let planner = Planner::new(crate::read::planner::default_state(config.env.clock.clone()), config.limits.clone());
        let sequences = Arc::new(crate::sequences::Sequences::new(log.clone(), judged.clone()));
        let secrets = crate::secrets::Secrets::of(config.env.clone(), &config.dir, config.secret_key.clone());
        if let Err(error) = secrets.retain(&judged.catalog().secrets().map(|(_, file)| file.to_owned()).collect()) {
            tracing::warn!(%error, "values that no secret has any more may still be there");
        }
        let core = Arc::new(Core {
            functions: parking_lot::Mutex::new(config.functions.clone()),
            secrets: Arc::new(secrets),
            sequences,
            advisory: Arc::default(),
            channels: crate::notify::Channels::default(),
            facts: parking_lot::RwLock::default(),
            ids: Arc::new(catalog::Ids::behind(&judged.catalog())),
            config,
            log,
            judged,
            pins,
            planner,
            plans: Arc::default(),
            mint,
            versions,
            sinks: Arc::default(),
            culprits: Arc::default(),
            sessions: AtomicUsize::new(0),
            checkpoints,
        });
        let running = Running { log: core.log.clone(), stop, thread: Mutex::new(Some(thread)) };
        let instance = Instance { core, board, _running: Arc::new(running) };
        for function in &instance.config().functions {
            instance.core.register(function)?;
        }
        Ok(instance)
    }

    /// What SHOW is to tell of the program, under a name of PostgreSQL's settings: `port`, for one. Sessions that open later know it.
    pub fn tell(&self, setting: &str, value: impl Into<String>) {
        self.core.facts.write().insert(setting.to_owned(), value.into());
    }

    /// Makes a function of the program one that SQL can call, from now on and as long as the instance is open. Blocks for a commit if the
    /// catalog does not know it yet. Views that wait for it are not begun by this: register before opening, in [`Config::functions`].
    ///
    /// Errors: 22023 for a name or version that cannot be one, 42723 for a name that is taken, 0A000 for a type that is no column's.
    pub fn register(&self, function: regauge_plan::host::HostFunction) -> Result<()> {
        let function = regauge_plan::host::keep(function);
        self.core.register(&function)?;
        self.core.functions.lock().push(function);
        Ok(())
    }

    /// Opens a session.
    pub fn session(&self, options: SessionOptions) -> Result<Session> {
        if options.database != crate::read::names::DATABASE {
            let message = format!("database \"{}\" does not exist", options.database);
            return Err(Error::new(ErrorKind::NotFound, "3D000", message)
                .hint(format!("the database is {}", crate::read::names::DATABASE)));
        }
        let login = self.catalog().rights.named(&options.user).ok_or_else(|| {
            let message = format!("role \"{}\" does not exist", options.user);
            Error::new(ErrorKind::Denied, "28000", message)
                .hint(format!("connect as regauge and CREATE ROLE {} LOGIN", options.user))
        })?;
        Ok(Session::new(self.core.clone(), options, login))
    }

    /// The catalog now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.core.judged.catalog()
    }

    /// By whose rights a role asks, and the catalog that it is shown. A role that is not there has what everybody has.
    #[must_use]
    pub fn shown_to(&self, role: &str) -> (Who, Arc<Catalog>) {
        let catalog = self.catalog();
        let id = catalog.rights.named(role).unwrap_or(RoleId::PUBLIC);
        let who = Who::new(catalog.rights.clone(), id);
        let shown = catalog.shown_to(&who);
        (who, shown)
    }

    /// What it was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// How many sessions are open, over all doors.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.core.sessions.load(Ordering::Relaxed)
    }

    /// How often a statement's query was planned since the instance was opened, and how often a plan of it was found.
    #[must_use]
    pub fn plans(&self) -> (u64, u64) {
        self.core.plans.counts()
    }

    /// Why nothing more will come of this instance, see [`crate::driver::end`]; `None` as long as all is well. What is acknowledged is in the
    /// folder, and there when it is opened again.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.core.versions.ended()
    }

    /// Waits for [`Instance::failure`]: for ever, if all goes well.
    pub async fn until_failed(&self) -> Error {
        self.core.versions.until_ended().await
    }

    /// What there is to be told of checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> Status {
        self.board.status()
    }

    /// Takes a checkpoint now, of an empty commit that it makes; blocks until it is there. Whether it came in time and to something.
    pub fn checkpoint(&self, time: Duration) -> Result<bool> {
        let before = self.board.status().n_taken;
        let wish = self.board.ask();
        self.core.log.commit(Transaction::default()).map_err(Error::from_log)?;
        Ok(self.board.wait(wish, time) && self.board.status().n_taken > before)
    }

    /// The log, for those who measure it.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.core.log
    }

    /// Where connectors register, and sinks tell of themselves.
    #[must_use]
    pub fn sinks(&self) -> &Arc<crate::sinks::Sinks> {
        &self.core.sinks
    }

    /// What a backup is taken of.
    #[must_use]
    pub fn backup_parts(&self) -> crate::backup::Parts {
        self.core.backup_parts()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn board(&self) -> &Arc<Board> {
        &self.board
    }

    pub(crate) fn judged(&self) -> &Arc<Judged> {
        &self.core.judged
    }

    /// Versions of views, for those who watch them.
    #[must_use]
    pub fn versions(&self) -> &Arc<Versions> {
        &self.core.versions
    }

    /// Gives a schema whose relations are made from the catalog when they are asked for (`pg_catalog`, for one).
    pub fn add_system_schema(&self, schema: &str, relations: SystemRelations) {
        self.core.planner.add_system_schema(schema, relations);
    }

    /// Gives functions and syntax for statements that ask about the instance itself.
    pub fn set_system_dialect(&self, dialect: Arc<dyn SystemDialect>) {
        self.core.planner.set_system_dialect(dialect);
    }
}

/// How long a folder that is in use is waited for: who let go of it a moment ago may have a reader on its way out.
const LETTING_GO: Duration = Duration::from_secs(3);

/// And how often at least it is asked for: on a machine that stands still for a while, the reader stood still as long.
const LETTING_GO_ATTEMPTS_MIN: u32 = 100;

fn open_log(config: &Config) -> Result<Log> {
    let clock = &config.env.clock;
    let begun = clock.steady();
    let mut attempts = 0_u32;
    loop {
        attempts = attempts.saturating_add(1);
        let is_over = || attempts >= LETTING_GO_ATTEMPTS_MIN && clock.steady().saturating_sub(begun) >= LETTING_GO;
        match Log::open(config.env.clone(), &config.dir, config.log.clone()) {
            Err(LogError::InUse { .. }) if !is_over() => clock.sleep(Duration::from_millis(10)),
            opened => return opened.map_err(Error::from_log),
        }
    }
}

fn catalog_topic() -> TopicSpec {
    TopicSpec {
        id: CATALOG_TOPIC,
        name: "regauge.catalog".to_owned(),
        partitions: 1,
        partition_by: vec![],
        schema_id: SchemaId(1),
        schema: catalog::topic_schema(),
    }
}

/// All user columns of a topic and the lsn of each row, in order, of the commits after one up to another.
fn scan_all(log: &Log, topic: TopicId, after: Lsn, up_to: Lsn) -> Result<(arrow::datatypes::SchemaRef, regauge_log::Scan)> {
    let spec = log.topics().into_iter().find(|t| t.id == topic);
    let spec = spec.ok_or_else(|| corrupt(format!("topic is in the catalog and not in the log topic={topic}")))?;
    let id =
        |field: &arrow::datatypes::FieldRef| field.metadata().get(regauge_types::COLUMN_ID_KEY).and_then(|id| id.parse().ok());
    let mut columns = vec![ScanColumn::Lsn];
    for field in spec.schema.fields() {
        let id = id(field).ok_or_else(|| corrupt(format!("column has no id topic={topic} column={}", field.name())))?;
        columns.push(ScanColumn::User(regauge_types::ColumnId(id)));
    }
    let scan = log.scan(&ScanSpec { after, ..ScanSpec::all(topic, columns, up_to) }).map_err(Error::from_log)?;
    Ok((spec.schema, scan))
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, "RG006", message).hint("keep the folder as it is and restore from a backup")
}

/// Rows of a scan that begins with the lsn, as (lsn of each row, the rest).
fn split_lsn(rows: &arrow::array::RecordBatch) -> Result<(Vec<Lsn>, arrow::array::RecordBatch)> {
    let lsns = rows.column(0).as_primitive_opt::<Int64Type>().ok_or_else(|| Error::internal("lsn column is not bigint"))?;
    let lsns = lsns.values().iter().map(|l| Lsn(l.cast_unsigned())).collect();
    let rest = rows.project(&(1..rows.num_columns()).collect::<Vec<_>>()).map_err(Error::arrow)?;
    Ok((lsns, rest))
}

fn fold_catalog(log: &Log, up_to: Lsn) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    let (_, scan) = scan_all(log, CATALOG_TOPIC, Lsn::ZERO, up_to)?;
    for batch in scan {
        let batch = batch.map_err(Error::from_log)?;
        let (lsns, rows) = split_lsn(&batch.rows)?;
        let events = catalog::decode(&rows).map_err(corrupt)?;
        for (lsn, event) in lsns.into_iter().zip(events) {
            catalog.apply_all(lsn, &[event]).map_err(|e| corrupt(e.to_string()))?;
        }
    }
    Ok(catalog)
}

/// Streams with a watermark whose topics were made before these said which records are late get the columns for it.
fn upgrade_streams(log: &Log, catalog: &Catalog) -> Result<()> {
    for spec in log.topics() {
        let relation = catalog.get(ObjectId::Topic(spec.id.0)).filter(|r| layout::clock(r).is_some());
        let Some(schema) = relation.map(|r| layout::topic_schema(r)) else { continue };
        if schema.fields().len() != spec.schema.fields().len() {
            let define = vec![Definition::Schema { topic: spec.id, id: SchemaId(spec.schema_id.0 + 1), schema }];
            log.commit(Transaction { define, ..Transaction::default() }).map_err(Error::from_log)?;
        }
    }
    Ok(())
}

/// The folder of checkpoints, if they are on, and the one to begin with. What is wrong with them is no reason not to open.
fn open_checkpoint(config: &Config, log: &Log, at: Lsn, board: &Board) -> Result<(Option<Store>, Option<Found>)> {
    if !config.checkpoints.enabled {
        return Ok((None, None));
    }
    board.tell(|s| s.enabled = true);
    let clock_of = |lsn| clock::of(log, lsn);
    match checkpoint::found::open(config, log.dataset(), (log.source().first(), at), clock_of, board) {
        Ok((store, mut found)) => {
            if let Some(found) = &mut found {
                found.reads_later = config.memory_bytes.is_some();
            }
            Ok((Some(store), found))
        }
        Err(error) => {
            tracing::warn!(%error, "checkpoints cannot be read; versions are rebuilt, and none are taken");
            board.tell(|s| s.damaged.push(error.to_string()));
            Ok((None, None))
        }
    }
}

fn fold_heads(log: &Log, catalog: &Catalog, found: Option<&Found>, up_to: Lsn) -> Result<HashMap<TopicId, SharedHead>> {
    let mut heads = HashMap::new();
    for relation in catalog.relations() {
        let (Kind::Table { key }, Some(topic)) = (&relation.kind, relation.topic()) else { continue };
        let schema = relation.schema();
        let known = match found {
            Some(found) => found.head(topic, key, &schema)?.map(|head| (head, found.at())),
            None => None,
        };
        let (mut head, after) = known.unwrap_or_else(|| (Head::new(schema.clone()), Lsn::ZERO));
        let (_, scan) = scan_all(log, topic, after, up_to)?;
        for batch in scan {
            let batch = batch.map_err(Error::from_log)?;
            let (lsns, rows) = split_lsn(&batch.rows)?;
            apply(&mut head, key, &lsns, &Changes::read(&rows, &schema).map_err(|e| corrupt(e.to_string()))?)?;
        }
        heads.insert(topic, Arc::new(RwLock::new(head)));
    }
    Ok(heads)
}

/// As [`apply`], of a table whose rows may repeat: a row that goes is any of its copies.
fn apply_copies(head: &mut Head, lsns: &[Lsn], changes: &Changes, after: &Arc<arrow::array::RecordBatch>) -> Result<()> {
    use crate::table::{
        layout::Op,
        writes::{copies, whole_rows},
    };
    let (come, gone) = (copies(&changes.after)?, whole_rows(&changes.before)?);
    for (at, (come, gone)) in come.into_iter().zip(gone).enumerate() {
        let op = changes.op(at).ok_or_else(|| corrupt(format!("unknown change lsn={}", lsns[at])))?;
        if op != Op::Insert {
            let copy = head.alike(&gone, lsns[at]).into_iter().next();
            let copy = copy.ok_or_else(|| corrupt(format!("a row that is not there was deleted lsn={}", lsns[at])))?;
            head.load(lsns[at], copy, None);
        }
        if op != Op::Delete {
            head.load(lsns[at], come, Some(RowRef { batch: after.clone(), at }));
        }
    }
    Ok(())
}

fn apply(head: &mut Head, key: &[usize], lsns: &[Lsn], changes: &Changes) -> Result<()> {
    use crate::table::layout::Op;
    let after = Arc::new(changes.after.clone());
    if key.is_empty() {
        return apply_copies(head, lsns, changes, &after);
    }
    let (after_keys, before_keys) = (keys_of(key, &changes.after)?, keys_of(key, &changes.before)?);
    for (at, (after_key, before_key)) in after_keys.into_iter().zip(before_keys).enumerate() {
        let op = changes.op(at).ok_or_else(|| corrupt(format!("unknown change lsn={}", lsns[at])))?;
        match op {
            Op::Insert | Op::Update => head.load(lsns[at], after_key, Some(RowRef { batch: after.clone(), at })),
            Op::Delete => head.load(lsns[at], before_key, None),
        }
    }
    Ok(())
}
