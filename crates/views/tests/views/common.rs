//! An instance in a folder of its own, and answers as text.

use arrow::{array::RecordBatch, util::display::array_value_to_string};
use regauge_views::{Config, Error, Instance, Response, Session, SessionOptions};
use tempfile::TempDir;

/// How old a checkpoint becomes before the next one is taken unasked: older than any test.
pub const ONLY_WHEN_ASKED: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

pub struct Site {
    pub dir: TempDir,
    pub instance: Option<Instance>,
    workers: usize,
    checkpoints: bool,
}

pub fn site() -> Site {
    site_with(2)
}

pub fn site_with(workers: usize) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site { dir, instance: None, workers, checkpoints: false };
    site.open();
    site
}

/// With checkpoints, which are taken when they are asked for.
pub fn site_with_checkpoints(workers: usize) -> Site {
    let mut site = site_with(workers);
    site.reopen_with(workers, true);
    site
}

impl Site {
    fn open(&mut self) {
        let mut config = Config::new(self.dir.path()).workers(self.workers);
        // a machine may be slow
        config.limits.causal_timeout = std::time::Duration::from_secs(120);
        config.checkpoints.enabled = self.checkpoints;
        config.checkpoints.every = ONLY_WHEN_ASKED;
        self.instance = Some(Instance::open(config).unwrap());
    }

    /// As [`Site::reopen`], with so many workers, with checkpoints or without.
    pub fn reopen_with(&mut self, workers: usize, checkpoints: bool) {
        (self.workers, self.checkpoints) = (workers, checkpoints);
        self.reopen();
    }

    pub fn instance(&self) -> &Instance {
        self.instance.as_ref().unwrap()
    }

    /// Lets go of the instance without a word, and opens the folder again.
    pub fn reopen(&mut self) {
        self.instance = None;
        self.open();
    }

    pub fn session(&self) -> Session {
        self.instance.as_ref().unwrap().session(SessionOptions::default()).unwrap()
    }
}

/// Runs a text that must succeed; rows of its last statement, values joined by `|`, or its tag.
pub async fn run(session: &mut Session, sql: &str) -> Vec<String> {
    match attempt(session, sql).await {
        Ok(rows) => rows,
        Err(error) => panic!("{sql}\n  failed: {error}"),
    }
}

/// As [`run`], and may fail.
pub async fn attempt(session: &mut Session, sql: &str) -> Result<Vec<String>, Error> {
    let mut last = vec![];
    for response in session.execute(sql).await? {
        last = answer(response).await?;
    }
    Ok(last)
}

pub async fn answer(response: Response) -> Result<Vec<String>, Error> {
    match response {
        Response::Rows(rows) => Ok(lines(&rows.collect().await?)),
        Response::Command { tag, .. } => Ok(vec![tag]),
        Response::CopyIn(_) => Ok(vec!["COPY IN".to_owned()]),
        Response::CopyOut(_) => Ok(vec!["COPY OUT".to_owned()]),
        Response::Subscription(_) => Ok(vec!["SUBSCRIPTION".to_owned()]),
    }
}

/// The code that a text fails with.
pub async fn code(session: &mut Session, sql: &str) -> &'static str {
    match attempt(session, sql).await {
        Ok(rows) => panic!("{sql}\n  should have failed and gave {rows:?}"),
        Err(error) => error.sqlstate,
    }
}

pub fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let line = |b: &RecordBatch, row: usize| {
        let cell =
            |c: &arrow::array::ArrayRef| if c.is_null(row) { "NULL".to_owned() } else { array_value_to_string(c, row).unwrap() };
        b.columns().iter().map(cell).collect::<Vec<_>>().join("|")
    };
    batches.iter().flat_map(|b| (0..b.num_rows()).map(move |row| line(b, row))).collect()
}

/// A number from the environment, where `cargo xtask soak` gives other ones than CI.
pub fn size(name: &str, or: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
}
