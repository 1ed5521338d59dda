//! An instance with the Nexmark streams: appending events as one commit, and waiting for views.

use super::{
    events::{INPUTS, STREAMS},
    queries::Query,
};
use crate::print;
use anyhow::Context;
use arrow::array::RecordBatch;
use regauge_log::{Append, Committed, Log, Transaction};
use regauge_types::{Lsn, TopicId, VersionNo};
use regauge_views::{Config, Instance, Session, SessionOptions, version::trace::Trace};
use std::{path::Path, sync::Arc, time::Duration};

/// An open data folder with the three streams.
pub struct Inputs {
    pub instance: Instance,
    pub session: Session,
    topics: Vec<TopicId>,
    schemas: Vec<arrow::datatypes::SchemaRef>,
}

/// Where a bench keeps what it writes for itself; gone when dropped.
pub struct Scratch(std::path::PathBuf);

impl Scratch {
    /// A folder beside `near`, or among the temporary files.
    pub fn new(near: Option<&Path>) -> anyhow::Result<Scratch> {
        let name = format!("regauge-bench-{}", std::process::id());
        let dir = near.map_or_else(std::env::temp_dir, Path::to_path_buf).join(name);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make folder={}", dir.display()))?;
        Ok(Scratch(dir))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Inputs {
    /// Opens a folder; makes the streams if it is new.
    pub async fn open(dir: &Path) -> anyhow::Result<Inputs> {
        Inputs::open_with(Config::new(dir)).await
    }

    /// The same with a configuration.
    pub async fn open_with(config: Config) -> anyhow::Result<Inputs> {
        let instance = Instance::open(config).map_err(print::explain)?;
        let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
        if instance.catalog().relations().next().is_none() {
            execute(&mut session, INPUTS).await?;
        }
        let catalog = instance.catalog();
        let (mut topics, mut schemas) = (vec![], vec![]);
        for stream in STREAMS {
            let relation = catalog.relations().find(|r| r.name.name == stream).context("stream is missing")?;
            topics.push(relation.topic().context("stream without a topic")?);
            schemas.push(relation.schema());
        }
        Ok(Inputs { instance, session, topics, schemas })
    }

    /// These events as one commit's appends.
    pub fn transaction(&self, events: &[RecordBatch; 3]) -> anyhow::Result<Transaction> {
        let mut appends = vec![];
        for (at, rows) in events.iter().enumerate().filter(|(_, rows)| rows.num_rows() > 0) {
            let rows = RecordBatch::try_new(self.schemas[at].clone(), rows.columns().to_vec())?;
            appends.push(Append { topic: self.topics[at], partition: None, rows });
        }
        Ok(Transaction { appends, ..Transaction::default() })
    }

    /// Appends events as one commit and waits for the disk.
    pub fn commit(&self, events: &[RecordBatch; 3]) -> anyhow::Result<Committed> {
        Ok(self.instance.log().commit(self.transaction(events)?)?)
    }

    /// The log.
    pub fn log(&self) -> &Log {
        self.instance.log()
    }

    /// Makes what a query needs beside the streams.
    pub async fn prepare(&mut self, query: &Query) -> anyhow::Result<()> {
        match query.setup {
            Some(text) => execute(&mut self.session, text).await,
            None => Ok(()),
        }
    }

    /// Makes a materialized view and waits until it can be read.
    pub async fn create(&mut self, name: &str, query: &str) -> anyhow::Result<()> {
        execute(&mut self.session, &format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await
    }

    /// A view's output.
    pub fn trace(&self, view: &str) -> anyhow::Result<Arc<dyn Trace>> {
        let catalog = self.instance.catalog();
        let relation = catalog.relations().find(|r| r.name.name == view).context("view is missing")?;
        let id = relation.view().context("not a view")?;
        self.instance.versions().reader((id, self.routed(view)?)).map_err(print::explain)
    }

    /// The version that a view's readers see.
    pub fn routed(&self, view: &str) -> anyhow::Result<VersionNo> {
        let catalog = self.instance.catalog();
        let relation = catalog.relations().find(|r| r.name.name == view).context("view is missing")?;
        match &relation.kind {
            regauge_views::catalog::Kind::Materialized { routed, .. } => Ok(*routed),
            _ => anyhow::bail!("not a materialized view"),
        }
    }
}

/// Waits until a commit shows in a view.
pub fn wait_visible(trace: &dyn Trace, lsn: Lsn) -> anyhow::Result<()> {
    let reached = trace.wait(lsn.into(), Duration::from_secs(600))?;
    anyhow::ensure!(reached >= lsn.into(), "view did not reach the commit in ten minutes lsn={lsn}");
    Ok(())
}

/// Runs SQL for its effect.
pub async fn execute(session: &mut Session, text: &str) -> anyhow::Result<()> {
    session.execute(text).await.map(drop).map_err(print::explain)
}
