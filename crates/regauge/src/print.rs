//! Answers as people read them.

use arrow::{array::RecordBatch, util::pretty::pretty_format_batches_with_schema};
use regauge_views::{Error, Response};

/// Prints one answer; rows are read to their end.
pub async fn response(response: Response) -> anyhow::Result<()> {
    match response {
        Response::Rows(rows) => {
            let (schema, notices) = (rows.schema.clone(), rows.notices.clone());
            let batches: Vec<RecordBatch> = rows.collect().await.map_err(explain)?;
            let n: usize = batches.iter().map(RecordBatch::num_rows).sum();
            println!("{}\n({n} rows)", pretty_format_batches_with_schema(schema, &batches)?);
            notices.iter().for_each(|n| eprintln!("notice: {n}"));
        }
        Response::Command { tag, notices } => {
            println!("{tag}");
            notices.iter().for_each(|n| eprintln!("notice: {n}"));
        }
        Response::CopyIn(_) => anyhow::bail!("COPY FROM STDIN needs a client that sends rows; it comes with the Postgres wire"),
        Response::Subscription(_) => anyhow::bail!("SUBSCRIBE needs a client that stays; it comes with the Postgres wire"),
    }
    Ok(())
}

/// Message, code, detail and hint in one text.
pub fn explain(error: Error) -> anyhow::Error {
    let mut text = format!("{} ({})", error.message, error.sqlstate);
    if let Some(detail) = &error.detail {
        text += &format!("\ndetail: {detail}");
    }
    if let Some(hint) = &error.hint {
        text += &format!("\nhint: {hint}");
    }
    anyhow::anyhow!(text)
}
