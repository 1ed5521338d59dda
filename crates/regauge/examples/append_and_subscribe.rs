//! Arrow batches in, changes out: a producer appends exactly once, a subscriber follows the view that is made of it.
//!
//! `cargo run --example append_and_subscribe [FOLDER]`
#![allow(clippy::print_stdout)]

use regauge::{
    Database, ProducerSeq, Result, Table,
    arrow::{
        array::{AsArray, Int32Array, RecordBatch, StringArray},
        datatypes::{DataType, Field, Int64Type, Schema},
    },
};
use std::{path::Path, sync::Arc};

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "data".to_owned());
    run(Path::new(&folder)).await
}

/// The example, in `folder`.
pub async fn run(folder: &Path) -> Result<()> {
    let db = Database::open(folder)?;
    let mut connection = db.connect()?;
    connection
        .batch(
            "CREATE STREAM IF NOT EXISTS readings (sensor TEXT, celsius INT);
             CREATE MATERIALIZED VIEW IF NOT EXISTS extremes AS
                 SELECT sensor, min(celsius) AS least, max(celsius) AS greatest, count(*) AS n FROM readings GROUP BY sensor",
        )
        .await?;
    let mut changes = db.connect()?.subscribe("SUBSCRIBE extremes").await?;

    let producer = |sequence| Some(ProducerSeq { id: "station 7".to_owned(), incarnation: 1, sequence });
    let morning = readings(&["hall", "hall", "roof"], &[19, 21, 4]);
    let first = connection.append("readings", morning.clone(), producer(0)).await?;
    // The answer was lost on its way, so the producer sends the same again: it is stored once.
    let repeated = connection.append("readings", morning, producer(0)).await?;
    println!("commit {} and again commit {}, duplicate: {}", first.lsn, repeated.lsn, repeated.duplicate);
    connection.append("readings", readings(&["roof"], &[-2]), producer(1)).await?;

    // An update is the old row with diff -1 and the new one with diff +1, of one epoch. How many appends an epoch takes is not promised, but what
    // the changes sum up to is: here four readings.
    let mut counted = 0;
    while counted < 4
        && let Some(batch) = changes.next_batch().await?
    {
        let number = |name: &str| batch[name].as_primitive::<Int64Type>().values().iter();
        counted += number("diff").zip(number("n")).map(|(diff, n)| diff * n).sum::<i64>();
        println!("{}", Table { schema: changes.schema.clone(), batches: vec![batch] });
    }
    Ok(())
}

fn readings(sensors: &[&str], celsius: &[i32]) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("sensor", DataType::Utf8, true), Field::new("celsius", DataType::Int32, true)]);
    let columns: Vec<regauge::arrow::array::ArrayRef> =
        vec![Arc::new(StringArray::from(sensors.to_vec())), Arc::new(Int32Array::from(celsius.to_vec()))];
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns of one length that fit their fields")
}
