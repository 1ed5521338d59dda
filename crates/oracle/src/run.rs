//! Runs a case through PostgreSQL and the system under test and compares every live view after every
//! step, and some earlier epochs again, AS OF, with what PostgreSQL said then. The first difference ends the case.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::answer::{Answer, Failure, difference};
use crate::case::{Case, Step};
use crate::rng::Rng;
use crate::system::System;

/// What happened in a case.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Views that were created and compared.
    pub views: usize,
    /// Refused at CREATE with `0A000`, by message; what reads them could not be tried.
    pub refused: Vec<String>,
    /// Commits after which the views were compared.
    pub epochs: usize,
    /// Answers compared.
    pub answers: usize,
    /// Of these, reads that failed in both systems.
    pub failing_answers: usize,
    /// Reads that failed in both systems before, and answer again: the cause was retracted.
    pub healed: usize,
    /// Commits that failed in both systems.
    pub failing_commits: usize,
    /// Restarts.
    pub restarts: usize,
    /// Answers AS OF an earlier epoch, compared with what PostgreSQL said then.
    pub past: usize,
    /// Such questions that were refused, rightly.
    pub gone: usize,
    /// Of the answers, those to the view's query as a plain SELECT, which the batch engine gives.
    pub selects: usize,
    /// Such SELECTs that were refused with `0A000`, by message.
    pub refused_selects: Vec<String>,
    /// Views that PostgreSQL could not answer within its time: compared no more, but for their digests.
    pub unanswered: usize,
    /// The first one.
    pub difference: Option<Difference>,
    /// Digests of the live views at the end, by name.
    pub digests: BTreeMap<String, String>,
    /// Time spent waiting for PostgreSQL and for the system under test.
    pub waited: [Duration; 2],
}

/// Where the two systems disagree.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The step after which it shows.
    pub step: usize,
    /// The view, unless a statement itself differs.
    pub view: Option<usize>,
    /// Expected and got.
    pub what: String,
}

/// When to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// After every step: each commit is seen as an epoch of its own.
    EveryStep,
    /// At the end only: nobody waits in between, so epochs hold as many commits as they like.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Live,
    Refused,
}

/// Rows of an answer beyond which it is not kept for later.
const KEPT_ROWS_MAX: usize = 1000;
/// Epochs that are kept for later.
const KEPT_MAX: usize = 30;

/// What PostgreSQL says to a statement beyond its `statement_timeout`; regauge's reads have none here.
const OUT_OF_TIME: &str = "57014";

/// What PostgreSQL said when an epoch was the last one.
struct Told {
    epoch: u64,
    answers: Vec<(Relation, Result<Answer, Failure>)>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Table(usize),
    /// As it was created the so-manieth time.
    View(usize, usize),
}

/// Runs the case.
///
/// # Errors
/// When PostgreSQL is gone, or refuses a statement that the generator holds to be valid. That the
/// tested system is gone is a difference, not an error.
pub async fn run(case: &Case, expected: &mut impl System, tested: &mut impl System, pace: Pace) -> Result<Outcome> {
    let n = case.views.len();
    let mut run = Run {
        case,
        states: vec![State::Absent; n],
        failing: vec![false; n],
        unanswered: vec![false; n],
        created: vec![0; n],
        past: Vec::new(),
        chance: Rng::new(case.seed),
        outcome: Outcome::default(),
    };
    for table in &case.tables {
        let create = table.create(expected.dialect());
        valid(expected.run(&create).await?, &create)?;
        let create = table.create(tested.dialect());
        let got = tested.run(&create).await;
        if let Some(what) = run.statement(&Ok(()), &got) {
            run.differ(0, None, format!("{create}: {what}"));
            return Ok(run.outcome);
        }
    }
    for (at, step) in case.steps.iter().enumerate() {
        run.step(at, step, expected, tested, pace).await?;
        if run.outcome.difference.is_some() {
            return Ok(run.outcome);
        }
    }
    let last = case.steps.len().saturating_sub(1);
    if pace == Pace::End {
        run.compare(last, None, expected, tested).await?;
    }
    run.digests(last, tested).await;
    Ok(run.outcome)
}

struct Run<'a> {
    case: &'a Case,
    states: Vec<State>,
    /// Views whose last read failed.
    failing: Vec<bool>,
    /// Views that PostgreSQL has no time for.
    unanswered: Vec<bool>,
    /// How often each view was created.
    created: Vec<usize>,
    past: Vec<Told>,
    chance: Rng,
    outcome: Outcome,
}

impl Run<'_> {
    async fn step(
        &mut self,
        at: usize,
        step: &Step,
        expected: &mut impl System,
        tested: &mut impl System,
        pace: Pace,
    ) -> Result<()> {
        let mut only = None;
        match step {
            Step::Create(view) => {
                if !self.create(at, *view, expected, tested).await? {
                    return Ok(());
                }
                only = Some(*view);
            }
            Step::Drop(view) => {
                if self.states[*view] != State::Live {
                    return Ok(());
                }
                self.states[*view] = State::Absent;
                let drop = self.case.views[*view].drop(expected.dialect());
                valid(expected.run(&drop).await?, &drop)?;
                let drop = self.case.views[*view].drop(tested.dialect());
                let got = tested.run(&drop).await;
                if let Some(what) = self.statement(&Ok(()), &got) {
                    self.differ(at, None, format!("{drop}: {what}"));
                }
            }
            Step::Commit(changes) => {
                let statements: Vec<String> = changes.iter().map(|change| change.sql()).collect();
                let want = timed(&mut self.outcome.waited[0], expected.commit(&statements)).await?;
                let got = timed(&mut self.outcome.waited[1], tested.commit(&statements)).await;
                self.outcome.epochs += 1;
                self.outcome.failing_commits += usize::from(want.is_err());
                if let Some(what) = self.statement(&want, &got) {
                    self.differ(at, None, format!("{}: {what}", shorten(&statements.join("; "))));
                }
            }
            Step::Restart(workers) => {
                expected.restart(*workers).await?;
                self.outcome.restarts += 1;
                if let Err(error) = timed(&mut self.outcome.waited[1], tested.restart(*workers)).await {
                    self.differ(at, None, format!("restart with {workers} workers: {error:#}"));
                }
            }
        }
        if self.outcome.difference.is_none() && pace == Pace::EveryStep {
            let epoch = match timed(&mut self.outcome.waited[1], tested.epoch()).await {
                Ok(epoch) => epoch,
                Err(error) => {
                    self.differ(at, None, format!("no epoch: {error:#}"));
                    return Ok(());
                }
            };
            let answers = self.compare(at, only, expected, tested).await?;
            if let Some(epoch) = epoch.filter(|_| self.outcome.difference.is_none()) {
                self.ask_again(at, tested).await;
                if only.is_none() {
                    self.keep(epoch, answers, expected).await?;
                }
            }
        }
        Ok(())
    }

    /// Keeps what PostgreSQL says now.
    async fn keep(
        &mut self,
        epoch: u64,
        mut answers: Vec<(Relation, Result<Answer, Failure>)>,
        expected: &mut impl System,
    ) -> Result<()> {
        for (at, table) in self.case.tables.iter().enumerate() {
            let sql = format!("SELECT * FROM {}", table.name);
            answers.push((Relation::Table(at), timed(&mut self.outcome.waited[0], expected.query(&sql)).await?));
        }
        answers.retain(|(_, answer)| answer.as_ref().map_or(0, |answer| answer.rows.len()) <= KEPT_ROWS_MAX);
        if self.past.len() == KEPT_MAX {
            self.past.remove(0);
        }
        self.past.push(Told { epoch, answers });
        Ok(())
    }

    /// Asks for two earlier epochs again: the last one before this, and any.
    async fn ask_again(&mut self, step: usize, tested: &mut impl System) {
        let case = self.case;
        let any = self.chance.below(self.past.len());
        let mut chosen = vec![self.past.len().saturating_sub(1), any];
        chosen.dedup();
        for told in chosen.into_iter().filter_map(|at| self.past.get(at)) {
            for (relation, want) in &told.answers {
                let (view, of, inexact) = match *relation {
                    Relation::Table(at) => (None, vec![case.tables[at].name.as_str()], &[][..]),
                    // another one of the same name did not exist then
                    Relation::View(at, nth) if self.states[at] != State::Live || self.created[at] != nth => continue,
                    Relation::View(at, _) => (Some(at), reads(case, at), case.views[at].inexact.as_slice()),
                };
                let got = timed(&mut self.outcome.waited[1], tested.as_of(&of, told.epoch)).await;
                let got = match got {
                    Ok(None) => {
                        self.outcome.gone += 1;
                        continue;
                    }
                    Ok(Some(got)) => Ok(got),
                    Err(error) => Err(error),
                };
                self.outcome.past += 1;
                let refused = match &got {
                    Ok(Err(got)) if ["72000", "22023", "42P01", "0A000"].contains(&got.sqlstate.as_str()) => {
                        Some(got.to_string())
                    }
                    _ => None,
                };
                if let Some(what) = refused.or_else(|| answers(want, &got, inexact)) {
                    let what = format!("{} AS OF EPOCH {}: {what}", of[0], told.epoch);
                    self.outcome.difference = Some(Difference { step, view, what });
                    return;
                }
            }
        }
    }

    /// False when the view was not created.
    async fn create(&mut self, at: usize, view: usize, expected: &mut impl System, tested: &mut impl System) -> Result<bool> {
        let made = &self.case.views[view];
        // What reads a refused view cannot be tried.
        if made.uses.iter().any(|used| self.states[*used] != State::Live) {
            self.states[view] = State::Refused;
            return Ok(false);
        }
        let create = made.create(expected.dialect());
        valid(expected.run(&create).await?, &create)?;
        let create = made.create(tested.dialect());
        let got = timed(&mut self.outcome.waited[1], tested.run(&create)).await;
        if let Ok(Err(failure)) = &got
            && failure.sqlstate == "0A000"
        {
            self.states[view] = State::Refused;
            self.outcome.refused.push(failure.message.clone());
            // the schedule may bring it again
            let drop = made.drop(expected.dialect());
            valid(expected.run(&drop).await?, &drop)?;
            return Ok(false);
        }
        self.outcome.views += 1;
        self.states[view] = State::Live;
        self.created[view] += 1;
        if let Some(what) = self.statement(&Ok(()), &got) {
            self.differ(at, Some(view), format!("{create}: {what}"));
            return Ok(false);
        }
        Ok(true)
    }

    /// Compares one view, or all that live; what PostgreSQL said.
    async fn compare(
        &mut self,
        at: usize,
        only: Option<usize>,
        expected: &mut impl System,
        tested: &mut impl System,
    ) -> Result<Vec<(Relation, Result<Answer, Failure>)>> {
        let mut said = Vec::new();
        for view in 0..self.states.len() {
            if self.states[view] != State::Live || self.unanswered[view] || only.is_some_and(|only| only != view) {
                continue;
            }
            let sql = format!("SELECT * FROM {}", self.case.views[view].name);
            let want = timed(&mut self.outcome.waited[0], expected.query(&sql)).await?;
            if want.as_ref().is_err_and(|failure| failure.sqlstate == OUT_OF_TIME) {
                self.outcome.unanswered += usize::from(!std::mem::replace(&mut self.unanswered[view], true));
                continue;
            }
            let got = timed(&mut self.outcome.waited[1], tested.query(&sql)).await;
            self.outcome.answers += 1;
            self.outcome.failing_answers += usize::from(want.is_err());
            self.outcome.healed += usize::from(self.failing[view] && want.is_ok());
            self.failing[view] = want.is_err();
            if let Some(what) = answers(&want, &got, &self.case.views[view].inexact) {
                self.differ(at, Some(view), what);
                return Ok(said);
            }
            // a view that is new for certain, one that was compared before now and then
            if only.is_some() || self.chance.percent(33) {
                self.select(at, view, &want, tested).await;
                if self.outcome.difference.is_some() {
                    return Ok(said);
                }
            }
            said.push((Relation::View(view, self.created[view]), want));
        }
        Ok(said)
    }

    /// Asks for a view's query as a SELECT: other operators than the view's, and the same answer.
    async fn select(&mut self, at: usize, view: usize, want: &Result<Answer, Failure>, tested: &mut impl System) {
        let made = &self.case.views[view];
        let sql = made.sql.render(tested.dialect());
        let got = timed(&mut self.outcome.waited[1], tested.query(&sql)).await;
        if let Ok(Err(failure)) = &got
            && failure.sqlstate == "0A000"
        {
            self.outcome.refused_selects.push(failure.message.clone());
            return;
        }
        self.outcome.answers += 1;
        self.outcome.selects += 1;
        if let Some(what) = answers(want, &got, &made.inexact) {
            self.differ(at, Some(view), format!("as a plain SELECT: {what}"));
        }
    }

    async fn digests(&mut self, at: usize, tested: &mut impl System) {
        for view in 0..self.states.len() {
            if self.states[view] != State::Live {
                continue;
            }
            let name = &self.case.views[view].name;
            match tested.digest(name).await {
                Ok(Some(digest)) => {
                    self.outcome.digests.insert(name.clone(), digest);
                }
                Ok(None) => {}
                Err(error) => {
                    self.differ(at, Some(view), format!("no digest: {error:#}"));
                    return;
                }
            }
        }
    }

    /// How two results of one statement differ.
    fn statement(&self, want: &Result<(), Failure>, got: &Result<Result<(), Failure>>) -> Option<String> {
        match (want, got) {
            (_, Err(error)) => Some(format!("the system is gone: {error:#}")),
            (Ok(()), Ok(Ok(()))) => None,
            (Err(want), Ok(Err(got))) if want.sqlstate == got.sqlstate => None,
            (Err(want), Ok(Err(got))) => Some(format!("expected {want}, got {got}")),
            (Ok(()), Ok(Err(got))) => Some(format!("expected success, got {got}")),
            (Err(want), Ok(Ok(()))) => Some(format!("expected {want}, got success")),
        }
    }

    fn differ(&mut self, step: usize, view: Option<usize>, what: String) {
        self.outcome.difference = Some(Difference { step, view, what });
    }
}

/// A view and all views that it reads, directly or not.
fn reads(case: &Case, view: usize) -> Vec<&str> {
    let (mut all, mut at) = (vec![view], 0);
    while let Some(&next) = all.get(at) {
        let used = case.views[next].uses.iter().copied().filter(|used| !all.contains(used)).collect::<Vec<_>>();
        all.extend(used);
        at += 1;
    }
    all.into_iter().map(|view| case.views[view].name.as_str()).collect()
}

async fn timed<T>(total: &mut Duration, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let done = work.await;
    *total += start.elapsed();
    done
}

/// How two answers differ. That both fail is agreement: which failing row is met first is open.
fn answers(want: &Result<Answer, Failure>, got: &Result<Result<Answer, Failure>>, inexact: &[bool]) -> Option<String> {
    match (want, got) {
        (_, Err(error)) => Some(format!("the system is gone: {error:#}")),
        (Ok(want), Ok(Ok(got))) => difference(want, got, inexact),
        (Err(_), Ok(Err(_))) => None,
        (Ok(want), Ok(Err(got))) => Some(format!("expected {} rows, got {got}", want.rows.len())),
        (Err(want), Ok(Ok(got))) => Some(format!("expected {want}, got {} rows", got.rows.len())),
    }
}

fn valid(result: Result<(), Failure>, sql: &str) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(failure) => bail!("refused, and it should be valid: {failure}\n{sql}"),
    }
}

fn shorten(sql: &str) -> String {
    let mut text: String = sql.chars().take(300).collect();
    if text.len() < sql.len() {
        text.push_str(" ...");
    }
    text
}

/// Runs a case on a system made for it, in a schema of its own.
///
/// # Errors
/// As `run`, and when the system under test does not even start.
pub async fn run_fresh(case: &Case, server: u16, maker: &impl Maker, pace: Pace) -> Result<Outcome> {
    let client = crate::postgres::connect(server).await?;
    let schema = format!("case_{}_{}", case.seed, crate::postgres::unique());
    let mut expected = crate::system::Postgres::new(client, &schema).await?;
    let mut tested = maker.make(case, server).await.context("the tested system does not start")?;
    let outcome = run(case, &mut expected, &mut tested, pace).await;
    expected.run(&format!("DROP SCHEMA {schema} CASCADE")).await?.ok();
    outcome
}

/// Runs a case on the tested system alone, nobody asking in between, and gives the digests of the views that live at the end.
/// Whether they are right is for a run beside PostgreSQL to say; here they must only be the same again.
///
/// # Errors
/// When the system is gone, or refuses what is no matter of a commit.
pub async fn replay(case: &Case, server: u16, maker: &impl Maker) -> Result<BTreeMap<String, String>> {
    let mut system = maker.make(case, server).await.context("the tested system does not start")?;
    let dialect = system.dialect();
    let mut live = vec![false; case.views.len()];
    for table in &case.tables {
        valid(system.run(&table.create(dialect)).await?, &table.name)?;
    }
    for step in &case.steps {
        match step {
            Step::Create(view) if case.views[*view].uses.iter().all(|used| live[*used]) => {
                match system.run(&case.views[*view].create(dialect)).await? {
                    Err(failure) if failure.sqlstate != "0A000" => bail!("{}: {failure}", case.views[*view].name),
                    done => live[*view] = done.is_ok(),
                }
            }
            Step::Drop(view) if live[*view] => {
                live[*view] = false;
                valid(system.run(&case.views[*view].drop(dialect)).await?, &case.views[*view].name)?;
            }
            Step::Create(_) | Step::Drop(_) => {}
            // Whether it fails was compared in the first run; if it failed otherwise here, contents differ.
            Step::Commit(changes) => {
                let statements: Vec<String> = changes.iter().map(|change| change.sql()).collect();
                system.commit(&statements).await?.ok();
            }
            Step::Restart(workers) => system.restart(*workers).await?,
        }
    }
    let mut digests = BTreeMap::new();
    for (view, _) in case.views.iter().zip(live).filter(|(_, live)| *live) {
        if let Some(digest) = system.digest(&view.name).await? {
            digests.insert(view.name.clone(), digest);
        }
    }
    Ok(digests)
}

/// Makes the system under test, empty.
#[expect(async_fn_in_trait, reason = "each case runs on a thread of its own: no Send is needed")]
pub trait Maker: Sync {
    /// What it makes.
    type Made: System;
    /// An empty system with the case's number of workers; `server` is PostgreSQL's port.
    async fn make(&self, case: &Case, server: u16) -> Result<Self::Made>;
}
