//! An instance, its sinks, and how the target is compared with what it should hold.

use arrow::array::{Array, AsArray};
use parking_lot::Mutex;
use regauge_connect::{
    Runner,
    error::Fault,
    target::{Cuts, Uncut},
};
use regauge_plan::functions::cast::text_column;
use regauge_views::{Config, Error, Instance, Response, Session, SessionOptions, sinks::Status};
use std::{path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Changes that are made, one each 5 ms or slower, until a knife falls: it falls within a few, or, if it must, within a minute and more.
pub const CHANGES_MAX: usize = 15_000;

/// Ends the world where it is told to, once.
#[derive(Default)]
pub struct Knife(Mutex<Option<(&'static str, usize)>>);

impl Knife {
    /// At the n-th time, from 0, that a step is passed from now on.
    pub fn arm(&self, step: &'static str, nth: usize) {
        *self.0.lock() = Some((step, nth));
    }
}

impl Cuts for Knife {
    fn pass(&self, step: &'static str) -> Result<(), Fault> {
        let mut armed = self.0.lock();
        match &mut *armed {
            Some((at, 0)) if *at == step => {
                *armed = None;
                Err(Fault::Killed(step))
            }
            Some((at, n)) if *at == step => {
                *n -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

pub fn open(dir: &Path) -> Instance {
    open_with(dir, |_| {})
}

pub fn open_with(dir: &Path, change: impl FnOnce(&mut Config)) -> Instance {
    let mut config = Config::new(dir).workers(2);
    // a machine may be slow
    config.limits.causal_timeout = std::time::Duration::from_secs(120);
    change(&mut config);
    let instance = Instance::open(config).unwrap();
    regauge_connect::install(&instance);
    instance
}

pub fn run(instance: &Instance) -> Runner {
    run_cut(instance, Arc::new(Uncut))
}

pub fn run_cut(instance: &Instance, cuts: Arc<dyn Cuts>) -> Runner {
    Runner::start(instance, CancellationToken::new(), cuts)
}

pub fn session(instance: &Instance) -> Session {
    instance.session(SessionOptions::default()).unwrap()
}

pub async fn exec(instance: &Instance, sql: &str) {
    try_exec(instance, sql).await.unwrap_or_else(|e| panic!("{e:?}: {sql}"));
}

pub async fn try_exec(instance: &Instance, sql: &str) -> Result<Vec<Response>, Error> {
    session(instance).execute(sql).await
}

/// Rows of a query here, as text, sorted; of everything that was written before, whoever wrote it.
pub async fn rows(instance: &Instance, sql: &str) -> Vec<String> {
    let mut session = session(instance);
    session.execute("FLUSH").await.unwrap_or_else(|e| panic!("{e:?}: FLUSH before {sql}"));
    let Some(Response::Rows(rows)) = session.execute(sql).await.unwrap_or_else(|e| panic!("{e:?}: {sql}")).pop() else {
        panic!("no rows: {sql}")
    };
    let mut all = vec![];
    for batch in rows.collect().await.unwrap() {
        let columns: Vec<_> = batch.columns().iter().map(|c| text_column(c).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cell = |c: &arrow::array::ArrayRef| {
                let texts = c.as_string::<i32>();
                if texts.is_null(row) { "NULL".to_owned() } else { texts.value(row).to_owned() }
            };
            all.push(columns.iter().map(cell).collect::<Vec<_>>().join("|"));
        }
    }
    all.sort();
    all
}

/// The same there: every column is cast to text by the server.
pub async fn there(client: &tokio_postgres::Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{e:?}: {sql}"));
    let mut all = vec![];
    for message in messages {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            all.push((0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned()).collect::<Vec<_>>().join("|"));
        }
    }
    all.sort();
    all
}

pub fn sink_id(instance: &Instance, name: &str) -> u32 {
    instance.catalog().sinks().find(|s| s.name.name == name).unwrap().id
}

pub fn status(instance: &Instance, name: &str) -> Status {
    instance.sinks().status(sink_id(instance, name)).unwrap_or_default()
}

/// Waits until a sink's status is as wished; tells what it was when it never is.
pub async fn until(instance: &Instance, name: &str, what: impl Fn(&Status) -> bool) -> Status {
    for _ in 0..18_000 {
        let now = status(instance, name);
        if what(&now) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {:?}", status(instance, name));
}

/// Waits until the target has everything that is durable now.
pub async fn caught_up(instance: &Instance, name: &str) -> Status {
    let at = instance.log().durable().0;
    until(instance, name, |s| s.state == "running" && s.seen.is_some_and(|seen| seen >= at)).await
}

/// Numbers that are a function of their seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
