//! The same events twice: as Parquet for engines that read files, and as a data folder of ours, archived.
//!
//! ```text
//! DIR/parquet/{person,auction,bid}.parquet        events 0 .. N
//! DIR/more/{person,auction,bid}.parquet           events N .. N + M, for the check after a rebuild
//! DIR/log/                                        events 0 .. N, appended in commits of 10,000 and archived
//! DIR/sizes.json                                  N and M
//! ```

use super::{
    events::{Events, STREAMS, schemas},
    inputs::Inputs,
    meter::Meter,
};
use anyhow::Context;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use serde_json::{Value, json};
use std::{fs::File, path::Path};

const COMMIT_EVENTS: usize = 10_000;
/// Several row groups even for a million events, so that a peer with two threads has work for both.
const ROW_GROUP: usize = 131_072;

struct Files(Vec<ArrowWriter<File>>);

impl Files {
    fn create(dir: &Path) -> anyhow::Result<Files> {
        std::fs::create_dir_all(dir)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .build();
        let writer = |(name, schema)| {
            let file = File::create(dir.join(format!("{name}.parquet")))?;
            Ok(ArrowWriter::try_new(file, schema, Some(properties.clone()))?)
        };
        Ok(Files(STREAMS.into_iter().zip(schemas()?).map(writer).collect::<anyhow::Result<_>>()?))
    }

    fn write(&mut self, events: &[arrow::array::RecordBatch; 3]) -> anyhow::Result<()> {
        self.0.iter_mut().zip(events).try_for_each(|(file, rows)| file.write(rows).map_err(Into::into))
    }

    fn close(self) -> anyhow::Result<()> {
        self.0.into_iter().try_for_each(|file| file.close().map(drop).map_err(Into::into))
    }
}

pub async fn run(dir: &Path, n: usize, more: usize) -> anyhow::Result<Value> {
    anyhow::ensure!(!dir.join("log").exists(), "folder has a log already dir={}", dir.display());
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make folder={}", dir.display()))?;
    let meter = Meter::start();
    let mut files = Files::create(&dir.join("parquet"))?;
    let inputs = Inputs::open(&dir.join("log")).await?;
    let mut events = Events::from(0);
    let mut done = 0;
    while done < n {
        let take = COMMIT_EVENTS.min(n - done);
        let batches = events.next(take)?;
        files.write(&batches)?;
        inputs.commit(&batches)?;
        done += take;
        if done % 1_000_000 == 0 {
            eprintln!("{done} of {n} events written");
        }
    }
    files.close()?;
    inputs.log().archive_now()?;
    let mut files = Files::create(&dir.join("more"))?;
    files.write(&events.next(more)?)?;
    files.close()?;
    let sizes = json!({ "events": n, "more": more });
    std::fs::write(dir.join("sizes.json"), sizes.to_string())?;
    Ok(json!({ "bench": "data", "events": n, "more": more, "cost": meter.stop().json() }))
}

/// Numbers of events that a folder was written with: in the log, and more.
pub fn sizes(dir: &Path) -> anyhow::Result<(usize, usize)> {
    let path = dir.join("sizes.json");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("no data: run `bench data` first file={}", path.display()))?;
    let sizes: Value = serde_json::from_str(&text)?;
    let number = |name: &str| sizes[name].as_u64().and_then(|n| usize::try_from(n).ok()).context("sizes.json is not ours");
    Ok((number("events")?, number("more")?))
}
