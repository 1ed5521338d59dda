//! regauge as a system under test: a real instance in a temporary folder, spoken to as a user speaks.

use anyhow::{Context, Result, anyhow, bail};
use regauge_types::{Delta, Digest};
use regauge_views::{Config, Instance, Response, Session, SessionOptions, catalog::Kind};
use std::time::Duration;
use tempfile::TempDir;

use crate::answer::{Answer, Failure};
use crate::case::Case;
use crate::run::Maker;
use crate::system::{Dialect, System};
use crate::text::{cell, kind};

/// How views answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Views {
    /// CREATE MATERIALIZED VIEW: by incremental operators.
    Maintained,
    /// CREATE VIEW: by the batch engine at each read.
    AtRead,
}

/// An instance with one session.
pub struct Regauge {
    // Fields drop in this order: the session, the instance, its folder.
    open: Option<(Session, Instance)>,
    folder: TempDir,
    views: Views,
    keeping: Keeping,
    seed: u64,
    n_commits: u64,
    n_opened: u64,
    /// A checkpoint is taken after so many commits, if any is.
    every: Option<u64>,
    /// Whether openings have budgets of memory in turn.
    budgets: bool,
}

/// Where a restart finds what there was: a function of the seed, so that a failing one fails again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// In the log: everything is rebuilt.
    Log,
    /// In the last checkpoint and the log behind it; one is taken after so many commits.
    Checkpoints(u64),
    /// In turn in a checkpoint and in the log, so that checkpoints meet a log that went on without them.
    InTurn(u64),
}

impl Keeping {
    /// One third of all seeds each.
    #[must_use]
    pub fn of(seed: u64) -> Keeping {
        match seed % 3 {
            0 => Keeping::Log,
            1 => Keeping::Checkpoints(3 + seed / 3 % 3),
            _ => Keeping::InTurn(2 + seed / 3 % 4),
        }
    }

    /// The commits between two checkpoints of an instance that was opened as the `n`th.
    fn every(self, n: u64) -> Option<u64> {
        match self {
            Keeping::Log => None,
            Keeping::Checkpoints(every) => Some(every),
            Keeping::InTurn(every) => n.is_multiple_of(2).then_some(every),
        }
    }
}

/// The bytes of memory that views may hold in an instance that was opened as the `n`th: as much as they need, next to nothing, or a little,
/// in turn, so that checkpoints of each kind are opened by the others. Whatever spills must answer as what does not.
fn memory_of(seed: u64, n: u64) -> Option<usize> {
    match (seed / 3 + n) % 3 {
        0 => None,
        1 => Some(1),
        _ => Some(30_000),
    }
}

/// Longer than any checkpoint of a test takes.
const LONG: Duration = Duration::from_secs(300);

impl Regauge {
    /// An empty instance; `seed` says how it finds its state again.
    ///
    /// # Errors
    /// When it does not open.
    pub fn new(workers: usize, views: Views, seed: u64) -> Result<Self> {
        Self::made(workers, views, seed, false)
    }

    /// The same, with budgets of memory in turn that nearly all state is beyond.
    ///
    /// # Errors
    /// When it does not open.
    pub fn within_budgets(workers: usize, views: Views, seed: u64) -> Result<Self> {
        Self::made(workers, views, seed, true)
    }

    fn made(workers: usize, views: Views, seed: u64, budgets: bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("regauge-tested-").tempdir()?;
        let keeping = if views == Views::Maintained { Keeping::of(seed) } else { Keeping::Log };
        let mut system = Self { open: None, folder, views, keeping, seed, n_commits: 0, n_opened: 0, every: None, budgets };
        system.reopen(workers)?;
        Ok(system)
    }

    fn reopen(&mut self, workers: usize) -> Result<()> {
        self.open = None;
        let mut config = Config::new(self.folder.path()).workers(workers);
        // Unoptimised, beside other tests, an epoch over every view may take its time; what is asked here is whether it is right.
        config.limits.causal_timeout = Duration::from_secs(120);
        self.every = self.keeping.every(self.n_opened);
        self.n_opened += 1;
        config.checkpoints.enabled = self.every.is_some();
        let spills = self.budgets && self.views == Views::Maintained;
        config.memory_bytes = if spills { memory_of(self.seed, self.n_opened) } else { None };
        // what is published stays in memory and is beyond such a budget by itself
        config.limits.refuses_beyond_memory = false;
        let instance = Instance::open(config).map_err(|error| anyhow!("does not open: {error}"))?;
        let session = instance.session(SessionOptions::default()).map_err(|error| anyhow!("no session: {error}"))?;
        let status = instance.checkpoints();
        if !status.damaged.is_empty() {
            bail!("a checkpoint cannot be read: {}", status.damaged.join("; "));
        }
        // a version that came after the checkpoint is rebuilt, and so is what reads it; nothing else has a reason to be
        let expected =
            |why: &String| why.starts_with("it is not in the checkpoint") || why.starts_with("a version that it reads");
        if let Some(why) = status.opened.values().filter_map(|o| o.as_ref().err()).find(|why| !expected(why)) {
            bail!("a version is not restored: {why}");
        }
        self.open = Some((session, instance));
        Ok(())
    }

    /// Takes a checkpoint now and then.
    async fn checkpoint(&mut self) -> Result<()> {
        self.n_commits += 1;
        if self.every.is_none_or(|every| !self.n_commits.is_multiple_of(every)) {
            return Ok(());
        }
        let instance = self.open.as_ref().map(|(_, instance)| instance.clone()).context("the instance is closed")?;
        let taken =
            tokio::task::spawn_blocking(move || instance.checkpoint(LONG).map(|done| (done, instance.checkpoints()))).await?;
        match taken.map_err(|error| anyhow!("no checkpoint: {error}"))? {
            (true, _) => Ok(()),
            (false, status) => bail!("no checkpoint: {status:?}"),
        }
    }

    fn session(&mut self) -> Result<&mut Session> {
        self.open.as_mut().map(|(session, _)| session).context("the instance is closed")
    }

    async fn execute(&mut self, sql: &str) -> Result<Result<Vec<Response>, Failure>> {
        Ok(self.session()?.execute(sql).await.map_err(failure))
    }
}

fn failure(error: regauge_views::Error) -> Failure {
    let parts = [Some(error.message), error.detail, error.hint];
    let message = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    Failure { sqlstate: error.sqlstate.to_string(), message }
}

impl System for Regauge {
    fn dialect(&self) -> Dialect {
        Dialect::Regauge
    }

    async fn commit(&mut self, statements: &[String]) -> Result<Result<(), Failure>> {
        self.checkpoint().await?;
        if let [one] = statements {
            return self.run(one).await;
        }
        if let Err(failure) = self.execute("BEGIN").await? {
            return Ok(Err(failure));
        }
        for statement in statements {
            if let Err(failure) = self.execute(statement).await? {
                self.execute("ROLLBACK").await?.map_err(|f| anyhow!("ROLLBACK fails: {f}"))?;
                return Ok(Err(failure));
            }
        }
        let done = self.execute("COMMIT").await?;
        Ok(done.map(|_| ()))
    }

    async fn run(&mut self, statement: &str) -> Result<Result<(), Failure>> {
        let statement = match self.views {
            Views::Maintained => statement.to_string(),
            Views::AtRead => statement.replacen("CREATE MATERIALIZED VIEW", "CREATE VIEW", 1).replacen(
                "DROP MATERIALIZED VIEW",
                "DROP VIEW",
                1,
            ),
        };
        let responses = match self.execute(&statement).await? {
            Ok(responses) => responses,
            Err(failure) => return Ok(Err(failure)),
        };
        // Rows come as they are computed: an error among them is the statement's.
        for response in responses {
            if let Response::Rows(rows) = response
                && let Err(error) = rows.collect().await
            {
                return Ok(Err(failure(error)));
            }
        }
        Ok(Ok(()))
    }

    async fn copy(&mut self, statement: &str, data: &str) -> Result<Result<(), Failure>> {
        let responses = match self.execute(statement).await? {
            Ok(responses) => responses,
            Err(failure) => return Ok(Err(failure)),
        };
        let Some(Response::CopyIn(mut copy)) = responses.into_iter().next() else {
            bail!("a COPY that takes no rows: {statement}");
        };
        // In pieces, as a wire would bring them: a record may span two.
        for piece in data.as_bytes().chunks(7) {
            if let Err(error) = copy.push(piece) {
                return Ok(Err(failure(error)));
            }
        }
        Ok(self.session()?.finish_copy(*copy).await.map(|_| ()).map_err(failure))
    }

    async fn query(&mut self, sql: &str) -> Result<Result<Answer, Failure>> {
        let responses = match self.execute(sql).await? {
            Ok(responses) => responses,
            Err(failure) => return Ok(Err(failure)),
        };
        let Some(Response::Rows(rows)) = responses.into_iter().next() else {
            bail!("a query without rows: {sql}");
        };
        let schema = rows.schema.clone();
        let batches = match rows.collect().await {
            Ok(batches) => batches,
            Err(error) => return Ok(Err(failure(error))),
        };
        let mut answer = Answer { columns: Vec::new(), rows: Vec::new() };
        for field in schema.fields() {
            answer.columns.push((field.name().clone(), kind(field.data_type())?));
        }
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let cells = batch.columns().iter().map(|column| cell(column, row));
                answer.rows.push(cells.collect::<Result<_>>()?);
            }
        }
        Ok(Ok(answer))
    }

    async fn restart(&mut self, workers: usize) -> Result<()> {
        self.reopen(workers)
    }

    /// The multiset digest of the rows; a view that fails has its SQLSTATE in its place.
    async fn digest(&mut self, view: &str) -> Result<Option<String>> {
        let responses = match self.execute(&format!("SELECT * FROM {view}")).await? {
            Ok(responses) => responses,
            Err(failure) => return Ok(Some(format!("error {}", failure.sqlstate))),
        };
        let mut digest = Digest::default();
        for response in responses {
            let Response::Rows(rows) = response else { continue };
            let batches = match rows.collect().await {
                Ok(batches) => batches,
                Err(error) => return Ok(Some(format!("error {}", failure(error).sqlstate))),
            };
            for batch in batches {
                digest.add_delta(&Delta::ones(batch))?;
            }
        }
        Ok(Some(digest.to_string()))
    }

    async fn epoch(&mut self) -> Result<Option<u64>> {
        self.execute("FLUSH").await?.map_err(|failure| anyhow!("FLUSH: {failure}"))?;
        let shown = self.query("SHOW regauge.epoch").await?.map_err(|failure| anyhow!("no epoch: {failure}"))?;
        let epoch = shown.rows.concat().into_iter().flatten().next().context("no epoch")?;
        Ok(Some(epoch.parse()?))
    }

    async fn as_of(&mut self, of: &[&str], at: u64) -> Result<Option<Result<Answer, Failure>>> {
        let name = of.first().context("nothing to ask for")?;
        let answer = self.query(&format!("SELECT * FROM {name} AS OF EPOCH {at}")).await?;
        match answer {
            Err(failure) if failure.sqlstate == "72000" && self.is_gone(of, at, &failure) => Ok(None),
            answer => Ok(Some(answer)),
        }
    }
}

impl Regauge {
    /// Whether an epoch may be gone, and the refusal names a later one: it is of an earlier opening, or a view is readable since a later one.
    /// No case has as many commits as are kept.
    fn is_gone(&self, of: &[&str], at: u64, failure: &Failure) -> bool {
        let Some((_, instance)) = &self.open else { return false };
        let digits = failure.message.split("read is ").nth(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        let oldest = digits.flatten().and_then(|digits| digits.parse::<u64>().ok());
        let catalog = instance.catalog();
        let is_younger = |name: &&str| {
            let relation = catalog.relations().find(|relation| relation.name.name == **name);
            let version = relation.and_then(|relation| match &relation.kind {
                Kind::Materialized { routed, .. } => Some((relation.view()?, *routed)),
                _ => None,
            });
            version.is_some_and(|(view, no)| instance.versions().report(view, no).since.is_none_or(|since| at < since.0))
        };
        oldest.is_some_and(|oldest| at < oldest) && (at < instance.versions().opened().0 || of.iter().any(is_younger))
    }
}

/// Makes empty instances.
pub struct RegaugeMaker(
    /// How their views answer.
    pub Views,
);

impl Maker for RegaugeMaker {
    type Made = Regauge;

    async fn make(&self, case: &Case, _server: u16) -> Result<Regauge> {
        Regauge::within_budgets(case.workers, self.0, case.seed)
    }
}
