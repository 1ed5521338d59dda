//! The data set, carried in the binary as Parquet (`demo/flights`, with its source and licence).

use anyhow::Context;
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{concat_batches, partition};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Rows of the flights.
pub const FLIGHTS: usize = 336_776;

/// The days at the end that are played live.
const LIVE_DAYS: i64 = 14;

const FILES: [(&str, &[u8]); 5] = [
    ("airlines", include_bytes!("../../../../demo/flights/airlines.parquet")),
    ("airports", include_bytes!("../../../../demo/flights/airports.parquet")),
    ("planes", include_bytes!("../../../../demo/flights/planes.parquet")),
    ("weather", include_bytes!("../../../../demo/flights/weather.parquet")),
    ("flights", include_bytes!("../../../../demo/flights/flights.parquet")),
];

/// All rows of one of the files, in batches of 8,192.
pub fn table(name: &str) -> anyhow::Result<Vec<RecordBatch>> {
    let (_, bytes) = FILES.iter().find(|(file, _)| *file == name).context("no such file in the data set")?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from_static(bytes))?.with_batch_size(8192).build()?;
    Ok(reader.collect::<Result<_, _>>()?)
}

/// An hour of 2013.
pub struct Hour {
    /// `2013-12-24 14:00:00`.
    pub name: String,
    /// The flights that were to leave in it.
    pub flights: RecordBatch,
}

/// The flights: history in batches, then one batch for each hour that is played live. They are sorted by `time_hour`.
pub fn flights() -> anyhow::Result<(Vec<RecordBatch>, Vec<Hour>)> {
    let batches = table("flights")?;
    let schema = batches.first().context("no flights")?.schema();
    let all = concat_batches(&schema, &batches)?;
    let times = all.column_by_name("time_hour").context("no time_hour")?.clone();
    let micros = times.as_primitive::<TimestampMicrosecondType>().values();
    let last = *micros.last().context("no flights")?;
    let from = last - LIVE_DAYS * 86_400_000_000;
    let cut = micros.partition_point(|t| *t < from);
    let history = (0..cut).step_by(8192).map(|at| all.slice(at, 8192.min(cut - at))).collect();
    let (rest, times) = (all.slice(cut, all.num_rows() - cut), times.slice(cut, all.num_rows() - cut));
    let ranges = partition(std::slice::from_ref(&times))?.ranges();
    let hour = |r: std::ops::Range<usize>| {
        let name = array_value_to_string(&times, r.start)?.replace('T', " ");
        Ok(Hour { name, flights: rest.slice(r.start, r.len()) })
    };
    Ok((history, ranges.into_iter().map(hour).collect::<anyhow::Result<_>>()?))
}
