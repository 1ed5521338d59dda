//! A view over a history that is there: from the statement to the moment that the view can be read, with the state that live needs.
//!
//! Each run works on a copy of the data folder (sealed files as links, the rest copied), so that all runs begin alike.

use super::{
    data,
    events::Events,
    inputs::{Inputs, Scratch, wait_visible},
    meter::{Meter, between, peak_bytes, threads},
    queries::query,
};
use crate::print;
use anyhow::Context;
use parquet::arrow::ArrowWriter;
use regauge_views::{Config, Instance, Response, SessionOptions};
use serde_json::{Value, json};
use std::{fs::File, path::Path};

pub async fn run(dir: &Path, name: &str, answer: Option<&Path>, workers: Option<usize>) -> anyhow::Result<Value> {
    let query = query(name)?;
    let (n, more) = data::sizes(dir)?;
    let scratch = Scratch::new(Some(dir))?;
    let copy = scratch.path().join("log");
    copy_folder(&dir.join("log"), &copy)?;
    let config = Config::new(&copy);
    let config = workers.map_or(config.clone(), |n| config.workers(n));
    let mut inputs = Inputs::open_with(config).await?;
    inputs.prepare(query).await?;
    let (before, meter) = (threads(), Meter::start());
    inputs.create(name, query.ours).await?;
    let cost = meter.stop();
    let (peak, spent) = (peak_bytes(), between(&before, &threads()));
    if let Some(file) = answer {
        let committed = inputs.commit(&Events::from(n).next(more)?)?;
        wait_visible(inputs.trace(name)?.as_ref(), committed.lsn)?;
        write_answer(&inputs.instance, name, file).await?;
    }
    Ok(json!({
        "bench": "rebuild", "query": name, "events": n, "workers": workers, "cost": cost.json(), "peak_bytes": peak, "threads": spent,
        "cpu_s_per_million": cost.cpu_s_per_million(n),
    }))
}

/// What a view shows, as Parquet, read through SQL like any client's.
async fn write_answer(instance: &Instance, view: &str, file: &Path) -> anyhow::Result<()> {
    let mut session = instance.session(SessionOptions::default()).map_err(print::explain)?;
    // this session has seen nothing: without a token, or this, it may read an epoch before
    session.execute("FLUSH").await.map_err(print::explain)?;
    let mut responses = session.execute(&format!("SELECT * FROM {view}")).await.map_err(print::explain)?;
    let Some(Response::Rows(rows)) = responses.pop() else { anyhow::bail!("SELECT gave no rows") };
    let file = File::create(file).with_context(|| format!("cannot write file={}", file.display()))?;
    let batches = rows.collect().await.map_err(print::explain)?;
    let schema = batches.first().map(|b| b.schema()).context("the view is empty")?;
    let mut writer = ArrowWriter::try_new(file, schema, None)?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(())
}

/// A data folder again. Archived segments and journal files other than the last are never written again, so links do.
pub fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    let last = std::fs::read_dir(from.join("journal"))?.flatten().map(|e| e.path());
    let last = last.filter(|p| p.extension().is_some_and(|e| e == "rgj")).max();
    copy(from, to, &|path| {
        let sealed = path.extension().is_some_and(|e| e == "parquet" || e == "rgj");
        sealed && Some(path) != last.as_deref()
    })
}

fn copy(from: &Path, to: &Path, is_sealed: &dyn Fn(&Path) -> bool) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&source, &target, is_sealed)?;
        } else if is_sealed(&source) {
            std::fs::hard_link(&source, &target)?;
        } else {
            std::fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
