//! The oracle itself, tested: PostgreSQL on both sides agrees, and PostgreSQL with a planted fault on
//! one side is found out and shrunk to something small.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::Result;
use regauge_oracle::answer::{Answer, Failure, Kind, Row};
use regauge_oracle::case::Case;
use regauge_oracle::generate::Sizes;
use regauge_oracle::postgres::{Server, connect, unique};
use regauge_oracle::prove::{Proof, Wish, prove};
use regauge_oracle::run::Maker;
use regauge_oracle::system::{Dialect, Postgres, System};

/// What an incremental engine gets wrong when it gets something wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// A deleted row stays.
    KeepsDeleted,
    /// Duplicates are lost.
    LosesDuplicates,
    /// A NULL is shown as an empty text.
    NullIsEmpty,
    /// The last commit is not seen.
    Stale,
    /// A read that must fail gives no rows instead.
    SwallowsErrors,
    /// A failed transaction leaves its first statement behind.
    HalfCommit,
    /// After a restart a row is there twice.
    Doubles,
    /// A row that an UPDATE replaced is still there beside the new one.
    LosesRetraction,
    /// The first commit after a restart reaches no view.
    LosesLateDelta,
    /// A commit of several statements is applied twice.
    AppliesTwice,
    /// A bigint is an integer.
    NarrowsType,
    /// Rows and answers are right; what a replay gives is not the same again.
    DigestDrifts,
    /// AS OF an epoch it answers with what is there now.
    PastIsNow,
    /// AS OF an epoch it answers with the one before.
    PastIsNeighbour,
    /// It refuses an epoch that it has.
    PastIsGone,
}

struct Faulty {
    inner: Postgres,
    fault: Fault,
    restarted: bool,
    held: Vec<Vec<String>>,
    /// Since the last restart.
    commits: usize,
    updated: bool,
    /// Answers before the last commit, by query.
    before: HashMap<String, Vec<Row>>,
    number: usize,
    /// The last epoch that was given, and what was answered at each, by relation.
    epoch: u64,
    answered: HashMap<(u64, String), Result<Answer, Failure>>,
}

struct FaultyMaker(Fault);

impl Maker for FaultyMaker {
    type Made = Faulty;

    async fn make(&self, _case: &Case, server: u16) -> Result<Faulty> {
        let schema = format!("tested_{}", unique());
        let inner = Postgres::new(connect(server).await?, &schema).await?;
        Ok(Faulty {
            inner,
            fault: self.0,
            restarted: false,
            held: Vec::new(),
            commits: 0,
            updated: false,
            before: HashMap::new(),
            number: unique(),
            epoch: 0,
            answered: HashMap::new(),
        })
    }
}

impl System for Faulty {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn commit(&mut self, statements: &[String]) -> Result<Result<(), Failure>> {
        let mut statements = statements.to_vec();
        self.commits += 1;
        self.updated = statements.iter().any(|sql| sql.starts_with("UPDATE"));
        match self.fault {
            Fault::LosesLateDelta if self.restarted && self.commits == 1 => return Ok(Ok(())),
            Fault::AppliesTwice if statements.len() > 1 => {
                let done = self.inner.commit(&statements).await?;
                for statement in &statements {
                    self.inner.run(statement).await?.ok();
                }
                return Ok(done);
            }
            Fault::KeepsDeleted => statements.retain(|sql| !sql.starts_with("DELETE")),
            Fault::Stale => {
                self.held.push(statements);
                if self.held.len() < 2 {
                    return Ok(Ok(()));
                }
                statements = self.held.remove(0);
            }
            Fault::HalfCommit => {
                let done = self.inner.commit(&statements).await?;
                if done.is_err() && statements.len() > 1 {
                    self.inner.run(&statements[0]).await?.ok();
                }
                return Ok(done);
            }
            _ => {}
        }
        self.inner.commit(&statements).await
    }

    async fn run(&mut self, statement: &str) -> Result<Result<(), Failure>> {
        self.inner.run(statement).await
    }

    async fn copy(&mut self, statement: &str, data: &str) -> Result<Result<(), Failure>> {
        self.inner.copy(statement, data).await
    }

    async fn query(&mut self, sql: &str) -> Result<Result<Answer, Failure>> {
        let mut answer = self.inner.query(sql).await?;
        match (self.fault, &mut answer) {
            (Fault::LosesDuplicates, Ok(answer)) => {
                answer.rows.sort();
                answer.rows.dedup();
            }
            (Fault::NullIsEmpty, Ok(answer)) => {
                for cell in answer.rows.iter_mut().flatten().filter(|cell| cell.is_none()) {
                    *cell = Some(String::new());
                }
            }
            (Fault::SwallowsErrors, Err(_)) => {
                answer = Ok(Answer { columns: Vec::new(), rows: Vec::new() });
            }
            (Fault::LosesRetraction, Ok(answer)) => {
                let rows = answer.rows.clone();
                if self.updated {
                    let before = self.before.get(sql).into_iter().flatten();
                    answer.rows.extend(before.filter(|row| !rows.contains(row)).cloned());
                }
                self.before.insert(sql.to_string(), rows);
            }
            (Fault::NarrowsType, Ok(answer)) => {
                for (_, kind) in answer.columns.iter_mut().filter(|(_, kind)| kind.name() == "int8") {
                    *kind = Kind::of("int4");
                }
            }
            (Fault::Doubles, Ok(answer)) if self.restarted => {
                let first = answer.rows.first().cloned();
                answer.rows.extend(first);
            }
            _ => {}
        }
        Ok(answer)
    }

    async fn epoch(&mut self) -> Result<Option<u64>> {
        // what everything is now
        let listed = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = current_schema()::regnamespace";
        let names = self.inner.query(listed).await?.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        self.epoch += 1;
        for name in names.rows.into_iter().flatten().flatten() {
            let answer = self.inner.query(&format!("SELECT * FROM {name}")).await?;
            self.answered.insert((self.epoch, name), answer);
        }
        Ok(Some(self.epoch))
    }

    async fn as_of(&mut self, of: &[&str], at: u64) -> Result<Option<Result<Answer, Failure>>> {
        let told = |at: u64| self.answered.get(&(at, of[0].to_owned())).cloned();
        let answer = match self.fault {
            Fault::PastIsNow => Some(self.inner.query(&format!("SELECT * FROM {}", of[0])).await?),
            Fault::PastIsNeighbour => told(at - 1).or_else(|| told(at)),
            Fault::PastIsGone => Some(Err(Failure { sqlstate: "72000".to_owned(), message: String::new() })),
            _ => told(at),
        };
        Ok(answer)
    }

    async fn restart(&mut self, workers: usize) -> Result<()> {
        self.restarted = true;
        self.commits = 0;
        self.inner.restart(workers).await
    }

    async fn digest(&mut self, view: &str) -> Result<Option<String>> {
        let mut digest = match self.inner.query(&format!("SELECT * FROM {view}")).await? {
            Ok(mut answer) => {
                answer.rows.sort();
                let mut hasher = DefaultHasher::new();
                answer.rows.hash(&mut hasher);
                format!("{:x}", hasher.finish())
            }
            Err(failure) => failure.sqlstate,
        };
        if self.fault == Fault::DigestDrifts {
            digest = format!("{digest} {}", self.number);
        }
        Ok(Some(digest))
    }
}

fn proof(server: u16, fault: Fault, views: usize) -> Proof {
    let sizes = Sizes { views: 8, commits: 8, batch_max: 300 };
    let wish = Wish { views, seed: 1000, workers: None, sizes, threads: 2, differences_max: 1 };
    prove(&wish, server, &FaultyMaker(fault)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_agrees_with_itself_and_every_planted_fault_is_found() {
    let server = Server::start().await.unwrap();
    let port = server.port();
    tokio::task::spawn_blocking(move || {
        let sound = proof(port, Fault::None, 160);
        println!("PostgreSQL on both sides: {sound}");
        assert_eq!(sound.differences, Vec::<String>::new());
        assert!(
            sound.views >= 160 && sound.failing_answers > 0 && sound.digests > 0 && sound.past > 0,
            "{sound} {}",
            sound.details()
        );
        for fault in [
            Fault::KeepsDeleted,
            Fault::LosesDuplicates,
            Fault::NullIsEmpty,
            Fault::Stale,
            Fault::SwallowsErrors,
            Fault::HalfCommit,
            Fault::Doubles,
            Fault::LosesRetraction,
            Fault::LosesLateDelta,
            Fault::AppliesTwice,
            Fault::NarrowsType,
            Fault::DigestDrifts,
            Fault::PastIsNow,
            Fault::PastIsNeighbour,
            Fault::PastIsGone,
        ] {
            let found = proof(port, fault, 160);
            assert!(!found.differences.is_empty(), "not found: {fault:?}, {found}");
        }
    })
    .await
    .unwrap();
}
