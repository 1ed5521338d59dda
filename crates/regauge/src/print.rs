//! Answers as people read them.

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    util::{
        display::{ArrayFormatter, FormatOptions},
        pretty::pretty_format_batches_with_schema,
    },
};
use futures::TryStreamExt;
use regauge_views::{CopyOut, Error, Response, Subscription};
use std::io::Write;

/// Prints one answer; rows are read to their end.
pub async fn response(response: Response) -> anyhow::Result<()> {
    match response {
        Response::Rows(rows) => {
            let (schema, notices) = (rows.schema.clone(), rows.notices.clone());
            let batches: Vec<RecordBatch> = rows.collect().await.map_err(explain)?;
            table(schema, &batches)?;
            notices.iter().for_each(|n| eprintln!("{}: {}", if n.is_warning() { "warning" } else { "notice" }, n.message));
        }
        Response::Command { tag, notices } => {
            println!("{tag}");
            notices.iter().for_each(|n| eprintln!("{}: {}", if n.is_warning() { "warning" } else { "notice" }, n.message));
        }
        Response::CopyOut(copy) => drop(copied(*copy, std::io::stdout()).await?),
        Response::Subscription(changes) => subscription(changes).await?,
        Response::CopyIn(_) => anyhow::bail!("COPY FROM STDIN has nobody here who sends rows"),
    }
    Ok(())
}

/// Lines of a COPY, as they come; how many rows they were.
pub async fn copied(mut copy: CopyOut, mut out: impl Write) -> anyhow::Result<usize> {
    let mut n = 0;
    out.write_all(&copy.header().unwrap_or_default())?;
    while let Some(batch) = copy.stream.try_next().await.map_err(explain)? {
        for line in copy.lines(&batch).map_err(explain)? {
            out.write_all(&line)?;
        }
        n += batch.num_rows();
    }
    out.flush()?;
    Ok(n)
}

/// Rows as a table.
pub fn table(schema: SchemaRef, batches: &[RecordBatch]) -> anyhow::Result<()> {
    let n: usize = batches.iter().map(RecordBatch::num_rows).sum();
    println!("{}\n({n} rows)", pretty_format_batches_with_schema(schema, batches)?);
    Ok(())
}

/// Changes as lines with tabs, as they come, until the process is stopped.
async fn subscription(mut changes: Subscription) -> anyhow::Result<()> {
    line(changes.schema.fields().iter().map(|f| f.name().as_str()))?;
    let options = FormatOptions::default();
    while let Some(batch) = changes.stream.try_next().await.map_err(explain)? {
        let columns = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options)).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            line(cells.iter().map(String::as_str))?;
        }
    }
    Ok(())
}

/// A line with tabs, at once. A reader that went away ends the process quietly, as with any filter.
pub fn line<'a>(cells: impl Iterator<Item = &'a str>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", cells.collect::<Vec<_>>().join("\t"))?;
    Ok(out.flush()?)
}

/// Message, code, detail and hint in one text.
pub fn explain(error: Error) -> anyhow::Error {
    let mut text = format!("{} ({})", error.message, error.sqlstate);
    if let Some(detail) = &error.detail {
        text += &format!("\ndetail: {detail}");
    }
    if let Some(hint) = error.advice() {
        text += &format!("\nhint: {hint}");
    }
    anyhow::anyhow!(text)
}
