//! One partition's rows become one Parquet object.
//!
//! Invariant: rows are in offset order without a gap; a row group never spans a multiple of [`BLOCK_ROWS`] offsets, so that
//! the splits of a scan never share one; the same rows in the same batches give the same bytes.
//! Cost: rows wait here in parts until there is a batch of them, then in Parquet's own pages until the row group ends; row
//! groups leave for the store at once, but for the last block. It does not know commits, only rows with their lsn.

use super::{
    columns::{N_SYSTEM, stored_schema, to_stored},
    crc::Crc,
    encoder::Encoder,
    encodings::{self, Choice},
    manifest::SegmentInfo,
    objects::{Objects, Upload, broken},
    pages::ZSTD_LEVEL,
    rows::{self, CommitRows},
};
use crate::{error::LogError, model::Part};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{Int64Type, SchemaRef},
};
use parquet::{
    basic::{Compression, ZstdLevel},
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
    },
    schema::types::ColumnPath,
};
use regauge_types::{Hlc, Lsn, SchemaId};
use std::sync::Arc;

/// Rows are encoded this many at a time, so that a commit of one row costs no Parquet batch of its own.
const BATCH_ROWS: usize = 8192;

/// Commits of this many rows are encoded each for itself: to copy them together would cost more than it saves.
const ALONE_ROWS: usize = 256;

/// Fewer rows are encoded at a time when they are large.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Metadata key in the footer: the CRC-32C of each column chunk, 8 hex digits each, row group by row group.
pub(crate) const CRCS_KEY: &str = "regauge.crc32c";

/// What bounds the row groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowGroupLimits {
    /// Offsets per block; a row group ends where a block ends.
    pub(crate) block_rows: u64,
    /// Encoded bytes.
    pub(crate) bytes: usize,
}

/// See the module.
pub(crate) struct SegmentWriter {
    info: SegmentInfo,
    schema: SchemaRef,
    limits: RowGroupLimits,
    /// From the first rows on: they decide the encodings.
    parquet: Option<Encoder>,
    upload: Upload,
    file_crc: Crc,
    /// Per column chunk of the row groups so far.
    crcs: Vec<u32>,
    n_row_groups: usize,
    waiting: Vec<CommitRows>,
    n_waiting: usize,
    waiting_bytes: usize,
    /// Bytes held by Parquet's encoders, as of the last encoding.
    encoder_bytes: usize,
    /// Offset after the last row given to Parquet.
    encoded_to: u64,
}

fn encoding(source: impl std::fmt::Display) -> LogError {
    broken(format!("rows cannot be encoded: {source}"))
}

impl SegmentWriter {
    /// A segment for rows like those of `part`, from `first_offset` on.
    pub(crate) fn begin(
        objects: &Objects,
        part: &Part,
        first_offset: u64,
        nonce: u64,
        limits: RowGroupLimits,
    ) -> Result<SegmentWriter, LogError> {
        let info = SegmentInfo {
            topic: part.topic,
            partition: part.partition,
            schema_id: part.schema_id,
            first_offset,
            rows: 0,
            first_lsn: Lsn::ZERO,
            last_lsn: Lsn::ZERO,
            first_hlc: Hlc::ZERO,
            last_hlc: Hlc::ZERO,
            bytes: 0,
            crc: 0,
            footer_bytes: 0,
            footer_crc: 0,
            nonce,
        };
        let schema = stored_schema(&part.rows.schema());
        let upload = objects.upload(&info.path());
        Ok(SegmentWriter {
            encoded_to: info.first_offset,
            info,
            schema,
            limits,
            parquet: None,
            upload,
            file_crc: Crc::default(),
            crcs: Vec::new(),
            n_row_groups: 0,
            waiting: Vec::new(),
            n_waiting: 0,
            waiting_bytes: 0,
            encoder_bytes: 0,
        })
    }

    /// The schema of its rows.
    pub(crate) fn schema_id(&self) -> SchemaId {
        self.info.schema_id
    }

    /// The offset that must come next.
    pub(crate) fn end_offset(&self) -> u64 {
        self.info.end_offset()
    }

    /// Bytes held in memory, about.
    pub(crate) fn memory(&self) -> usize {
        self.encoder_bytes + self.waiting_bytes
    }

    /// Takes a commit's rows; they follow the last ones.
    pub(crate) fn push(&mut self, part: Part, lsn: Lsn, hlc: Hlc) -> Result<(), LogError> {
        let n = part.rows.num_rows();
        if n == 0 {
            return Ok(());
        }
        if self.info.rows == 0 {
            (self.info.first_lsn, self.info.first_hlc) = (lsn, hlc);
        }
        if part.first_offset != self.end_offset() || lsn < self.info.last_lsn || hlc < self.info.last_hlc {
            let (topic, partition) = (part.topic, part.partition);
            return Err(broken(format!(
                "commits are out of order topic={topic} partition={partition} lsn={lsn} offset={}",
                part.first_offset
            )));
        }
        (self.info.last_lsn, self.info.last_hlc) = (lsn, hlc);
        self.info.rows += n as u64;
        self.n_waiting += n;
        self.waiting_bytes += slice_bytes(&part.rows) + size_of::<CommitRows>();
        self.waiting.push(CommitRows::new(part, lsn, hlc));
        let full = self.n_waiting >= BATCH_ROWS || self.waiting_bytes >= WAITING_BYTES_MAX;
        if full { self.encode() } else { Ok(()) }
    }

    /// Gives all waiting rows to Parquet.
    pub(crate) fn encode(&mut self) -> Result<(), LogError> {
        let waiting = std::mem::take(&mut self.waiting);
        let n_waiting = std::mem::take(&mut self.n_waiting);
        self.waiting_bytes = 0;
        // The first rows are looked at together, because they decide the encodings.
        let alone = self.parquet.is_some() && n_waiting >= waiting.len() * ALONE_ROWS;
        for runs in waiting.chunks(if alone { 1 } else { waiting.len().max(1) }) {
            let batch = self.stored_batch(runs)?;
            self.write_stored(&batch)?;
        }
        Ok(())
    }

    /// Takes rows of an older segment as they are stored; they follow the last ones, and none may be waiting.
    pub(crate) fn push_stored(&mut self, columns: Vec<ArrayRef>) -> Result<(), LogError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(encoding)?;
        let n_user = self.schema.fields().len() - N_SYSTEM;
        let ends = |i: usize| -> Option<(u64, u64)> {
            let numbers = batch.column(n_user + i).as_primitive_opt::<Int64Type>()?.values();
            Some((u64::try_from(*numbers.first()?).ok()?, u64::try_from(*numbers.last()?).ok()?))
        };
        let n = batch.num_rows() as u64;
        let (Some((first, last)), Some(lsns), Some(hlcs)) = (ends(0), ends(1), ends(2)) else { return Ok(()) };
        let follows = self.waiting.is_empty() && first == self.end_offset() && last == first + n - 1;
        if !follows || lsns.0 < self.info.last_lsn.0 || hlcs.0 < self.info.last_hlc.0 {
            let (topic, partition) = (self.info.topic, self.info.partition);
            return Err(broken(format!("rows of a segment are out of order topic={topic} partition={partition} offset={first}")));
        }
        if self.info.rows == 0 {
            (self.info.first_lsn, self.info.first_hlc) = (Lsn(lsns.0), Hlc(hlcs.0));
        }
        (self.info.last_lsn, self.info.last_hlc) = (Lsn(lsns.1), Hlc(hlcs.1));
        self.info.rows += n;
        self.write_stored(&batch)
    }

    fn write_stored(&mut self, batch: &RecordBatch) -> Result<(), LogError> {
        if self.parquet.is_none() {
            let choices = encodings::choose(batch);
            let properties = properties(&self.info, &self.schema, &choices);
            self.parquet = Some(Encoder::new(Arc::clone(&self.schema), properties, choices).map_err(encoding)?);
        }
        let mut at = 0;
        while at < batch.num_rows() {
            let left = batch.num_rows() - at;
            let to_block_end = self.limits.block_rows - self.encoded_to % self.limits.block_rows;
            let n = left.min(usize::try_from(to_block_end).unwrap_or(left)).min(BATCH_ROWS);
            let Some(parquet) = &mut self.parquet else { return Err(broken("segment has no encoder")) };
            parquet.write(&batch.slice(at, n)).map_err(encoding)?;
            at += n;
            self.encoded_to += n as u64;
            self.encoder_bytes = parquet.memory();
            if self.encoded_to.is_multiple_of(self.limits.block_rows) || parquet.len() >= self.limits.bytes {
                self.end_row_group()?;
            }
        }
        Ok(())
    }

    fn stored_batch(&self, runs: &[CommitRows]) -> Result<RecordBatch, LogError> {
        let n_user = self.schema.fields().len() - N_SYSTEM;
        if let Some(bad) = runs.iter().find(|run| run.rows.num_columns() != n_user) {
            return Err(broken(format!("rows do not have their schema's columns topic={} lsn={}", self.info.topic, bad.lsn)));
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(n_user + N_SYSTEM);
        for i in 0..n_user {
            columns.push(to_stored(&rows::user_column(runs, i).map_err(encoding)?));
        }
        columns.push(rows::offsets(runs)?);
        columns.push(rows::lsns(runs)?);
        columns.push(rows::clocks(runs)?);
        columns.push(rows::causes(runs));
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(encoding)
    }

    /// Ends the row group, if one is open, and sends its bytes on.
    pub(crate) fn end_row_group(&mut self) -> Result<(), LogError> {
        let Some(parquet) = &mut self.parquet else { return Ok(()) };
        parquet.end_row_group().map_err(encoding)?;
        self.encoder_bytes = 0;
        let sink = parquet.sink();
        let mut crcs = Vec::new();
        for group in parquet.row_groups().iter().skip(self.n_row_groups) {
            self.n_row_groups += 1;
            for chunk in group.columns() {
                let (start, len) = chunk.byte_range();
                let from = start.checked_sub(sink.start()).and_then(|v| usize::try_from(v).ok());
                let to = from.zip(usize::try_from(len).ok()).and_then(|(from, len)| from.checked_add(len));
                let range = from.zip(to).filter(|(_, to)| *to <= sink.len());
                let (from, to) = range.ok_or_else(|| broken("column chunk lies outside of its row group"))?;
                crcs.push(sink.crc(from..to));
            }
        }
        self.crcs.append(&mut crcs);
        self.send_full()
    }

    /// Counts what is in the sink, and sends on what is full of it.
    fn send_full(&mut self) -> Result<(), LogError> {
        let Some(parquet) = &mut self.parquet else { return Ok(()) };
        let sink = parquet.sink_mut();
        self.info.bytes = sink.start() + sink.len() as u64;
        sink.sum(&mut self.file_crc);
        sink.take_full().into_iter().try_for_each(|block| self.upload.write(block.into()))
    }

    /// Ends the object; it is durable when this returns.
    pub(crate) fn finish(mut self) -> Result<SegmentInfo, LogError> {
        self.encode()?;
        self.end_row_group()?;
        let crcs = self.crcs.iter().map(|crc| format!("{crc:08x}")).collect::<String>();
        let Some(parquet) = &mut self.parquet else { return Err(broken("segment has no rows")) };
        let footer_at = parquet.sink().len();
        parquet.finish(KeyValue::new(CRCS_KEY.to_owned(), crcs)).map_err(encoding)?;
        let sink = parquet.sink();
        self.info.footer_bytes = (sink.len() - footer_at) as u64;
        self.info.footer_crc = sink.crc(footer_at..sink.len());
        self.send_full()?;
        let rest = self.parquet.take().map(|mut parquet| parquet.sink_mut().take_all());
        rest.unwrap_or_default().into_iter().try_for_each(|block| self.upload.write(block.into()))?;
        self.info.crc = self.file_crc.finish();
        self.upload.finish()?;
        Ok(self.info)
    }
}

/// What the rows need of their memory, which may be a small part of a batch that was cut up.
fn slice_bytes(rows: &RecordBatch) -> usize {
    rows.columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size()))
        .sum()
}

fn properties(info: &SegmentInfo, schema: &SchemaRef, choices: &[Choice]) -> WriterProperties {
    let constant = |key: &str, value: String| KeyValue::new(format!("regauge.{key}"), value);
    let n_user = schema.fields().len() - N_SYSTEM;
    // Parquet counts leaves here, so a nested column before ours would shift the number: then the hint is left out.
    let flat = schema.fields().iter().all(|field| !field.data_type().is_nested());
    let sorted = i32::try_from(n_user).ok().filter(|_| flat);
    let mut builder = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by("regauge".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default()))
        .set_dictionary_enabled(true)
        // Row groups are ended by hand.
        .set_max_row_group_row_count(None)
        // Chunk statistics prune row groups; a page index would cost a second read for each footer.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_sorting_columns(sorted.map(|column_idx| vec![SortingColumn { column_idx, descending: false, nulls_first: false }]))
        .set_key_value_metadata(Some(vec![
            constant("topic", info.topic.to_string()),
            constant("partition", info.partition.to_string()),
            constant("schema", info.schema_id.to_string()),
        ]));
    // Of texts nobody asks for the least and the greatest, and to find them each is compared twice.
    for texts in schema.fields().iter().filter(|f| f.data_type().is_string() || f.data_type().is_binary()) {
        builder = builder.set_column_statistics_enabled(ColumnPath::new(vec![texts.name().clone()]), EnabledStatistics::None);
    }
    encodings::set(builder, schema, choices).build()
}
