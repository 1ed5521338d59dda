//! Reads columns of row groups out of a segment, verified before anything is parsed.
//!
//! Guarantees: a byte is decoded only after a checksum that covers it was right: the footer by the manifest, each column
//! chunk by the footer. So damage is `Corrupt` with object and offset, never other rows. Only the footer and the chunks
//! of the wanted columns are read; memory is one row group's chunks plus a batch.
//! Not guaranteed: that columns nobody asks for are sound ([`verify`] reads all of the object).
//! The Parquet decoder is nevertheless kept from taking the process down: a panic in it is `Corrupt`, too.

use super::{
    columns::{CAUSE, COMMIT_TS, LSN, N_SYSTEM, OFFSET, column_id},
    crc::{Crc, crc},
    manifest::SegmentInfo,
    objects::{Objects, corrupt, lsn_of},
    segment_write::CRCS_KEY,
};
use crate::error::LogError;
use arrow::{
    array::RecordBatch,
    datatypes::{Fields, SchemaRef},
};
use bytes::{Buf, Bytes};
use object_store::path::Path;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    errors::ParquetError,
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData},
        reader::{ChunkReader, Length},
        statistics::Statistics,
    },
};
use regauge_types::{ColumnId, Lsn};
use std::{ops::Range, panic::AssertUnwindSafe, sync::Arc};

/// See the module.
pub(crate) struct SegmentReader {
    pub(crate) info: SegmentInfo,
    path: Path,
    parquet: ArrowReaderMetadata,
    /// By row group, then by leaf column.
    crcs: Vec<u32>,
    pub(crate) groups: Vec<RowGroup>,
}

/// What is known of a row group without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowGroup {
    /// Offsets are `first_offset .. first_offset + rows`.
    pub(crate) first_offset: u64,
    pub(crate) rows: u64,
    /// Least and greatest.
    pub(crate) lsns: (Lsn, Lsn),
}

/// The tail of every Parquet file: length of the metadata, magic.
const TAIL_BYTES: usize = 8;

/// Runs the decoder; its errors and its panics become a text.
fn guarded<T>(decode: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match std::panic::catch_unwind(AssertUnwindSafe(decode)) {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(_) => Err("the decoder panicked".to_owned()),
    }
}

impl SegmentReader {
    /// Reads and checks the footer.
    pub(crate) fn open(objects: &Objects, info: &SegmentInfo) -> Result<SegmentReader, LogError> {
        let path = info.path();
        let footer_at = info.bytes.saturating_sub(info.footer_bytes);
        let footer = objects.range(&path, footer_at..info.bytes)?;
        if crc(&footer) != info.footer_crc {
            return Err(corrupt(&path, footer_at, "segment footer does not match its checksum"));
        }
        let parsed = guarded(|| parse_footer(&footer)).and_then(|metadata| {
            let crcs = chunk_crcs(&metadata)?;
            let groups = row_groups(&metadata, info)?;
            check_ranges(&metadata, footer_at)?;
            let parquet = guarded(|| ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()))?;
            check_columns(parquet.schema().fields())?;
            Ok((parquet, crcs, groups))
        });
        let (parquet, crcs, groups) = parsed.map_err(|what| corrupt(&path, footer_at, what))?;
        Ok(SegmentReader { info: info.clone(), path, parquet, crcs, groups })
    }

    /// All columns as they are stored: the user's, then ours.
    pub(crate) fn schema(&self) -> &SchemaRef {
        self.parquet.schema()
    }

    /// Position of a user's column, if the segment's schema has it.
    pub(crate) fn position(&self, id: ColumnId) -> Option<usize> {
        let fields = self.schema().fields();
        fields.iter().take(fields.len() - N_SYSTEM).position(|field| column_id(field) == Some(id))
    }

    /// Position of one of our columns.
    pub(crate) fn system_position(&self, name: &str) -> Option<usize> {
        let fields = self.schema().fields();
        let ours = fields.iter().skip(fields.len() - N_SYSTEM).position(|field| field.name() == name)?;
        Some(fields.len() - N_SYSTEM + ours)
    }

    /// Fetches, verifies and opens the columns at `positions` (ascending, at least one) of a row group.
    pub(crate) fn read(
        &self,
        objects: &Objects,
        group: usize,
        positions: &[usize],
        batch_rows: usize,
    ) -> Result<GroupRows, LogError> {
        let metadata = Arc::clone(self.parquet.metadata());
        let leaves: Vec<usize> = (0..metadata.file_metadata().schema_descr().num_columns())
            .filter(|leaf| positions.contains(&metadata.file_metadata().schema_descr().get_column_root_idx(*leaf)))
            .collect();
        let ranges: Vec<Range<u64>> = leaves.iter().map(|leaf| chunk_range(metadata.row_group(group), *leaf)).collect();
        let found = objects.ranges(&self.path, ranges.clone())?;
        let n_leaves = metadata.file_metadata().schema_descr().num_columns();
        let mut chunks = Vec::with_capacity(leaves.len());
        for ((leaf, range), bytes) in leaves.iter().zip(&ranges).zip(found) {
            if self.crcs.get(group * n_leaves + leaf) != Some(&crc(&bytes)) {
                return Err(corrupt(&self.path, range.start, "column chunk does not match its checksum"));
            }
            chunks.push((range.start, bytes));
        }
        let at = ranges.first().map_or(0, |r| r.start);
        let source = Chunks { chunks: chunks.into(), len: self.info.bytes };
        let reader = guarded(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(source, self.parquet.clone())
                .with_row_groups(vec![group])
                .with_projection(ProjectionMask::leaves(metadata.file_metadata().schema_descr(), leaves.iter().copied()))
                .with_batch_size(batch_rows)
                .build()
        })
        .map_err(|what| corrupt(&self.path, at, what))?;
        Ok(GroupRows { reader, path: self.path.clone(), at, left: self.groups.get(group).map_or(0, |g| g.rows) })
    }

    /// Bytes below an offset of this segment do not say what the footer or the manifest promised.
    pub(crate) fn corrupt(&self, what: &str) -> LogError {
        corrupt(&self.path, 0, what)
    }
}

/// The batches of a row group, in order; exactly as many rows as the footer says.
pub(crate) struct GroupRows {
    reader: ParquetRecordBatchReader,
    path: Path,
    at: u64,
    left: u64,
}

impl GroupRows {
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, LogError> {
        let reader = &mut self.reader;
        let batch = guarded(|| reader.next().transpose().map_err(ParquetError::from))
            .map_err(|what| corrupt(&self.path, self.at, what))?;
        let rows = batch.as_ref().map_or(0, |b| b.num_rows() as u64);
        match self.left.checked_sub(rows) {
            Some(left) if batch.is_some() || left == 0 => self.left = left,
            _ => return Err(corrupt(&self.path, self.at, "row group does not have the rows that its footer promises")),
        }
        Ok(batch)
    }
}

/// Reads a whole segment and compares it with the manifest; what an operator asks for, and `VERIFY`.
pub(crate) fn verify(objects: &Objects, info: &SegmentInfo) -> Result<(), LogError> {
    const STEP: u64 = 8 << 20;
    let path = info.path();
    let mut sum = Crc::default();
    let mut at = 0;
    while at < info.bytes {
        let to = info.bytes.min(at + STEP);
        sum.update(&objects.range(&path, at..to)?);
        at = to;
    }
    if sum.finish() != info.crc {
        return Err(corrupt(&path, 0, "segment does not match its checksum"));
    }
    SegmentReader::open(objects, info).map(|_| ())
}

fn parse_footer(footer: &Bytes) -> Result<ParquetMetaData, ParquetError> {
    let bad = || ParquetError::General("segment footer has no Parquet tail".to_owned());
    let (body, tail) = footer.split_last_chunk::<TAIL_BYTES>().ok_or_else(bad)?;
    let [a, b, c, d, magic @ ..] = *tail;
    let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| bad())?;
    if &magic != b"PAR1" || len > body.len() {
        return Err(bad());
    }
    ParquetMetaDataReader::decode_metadata(&body[body.len() - len..])
}

/// The checksums that the writer left in the footer.
fn chunk_crcs(metadata: &ParquetMetaData) -> Result<Vec<u32>, String> {
    let pairs = metadata.file_metadata().key_value_metadata();
    let text = pairs.and_then(|pairs| pairs.iter().find(|kv| kv.key == CRCS_KEY)).and_then(|kv| kv.value.as_deref());
    let text = text.ok_or("segment has no checksums")?.as_bytes();
    let crcs: Option<Vec<u32>> = text
        .chunks(8)
        .map(|hex| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok().filter(|_| hex.len() == 8))
        .collect();
    let wanted: usize = metadata.row_groups().iter().map(RowGroupMetaData::num_columns).sum();
    crcs.filter(|crcs| crcs.len() == wanted).ok_or_else(|| "segment has a wrong number of checksums".to_owned())
}

fn chunk_range(group: &RowGroupMetaData, leaf: usize) -> Range<u64> {
    let (start, len) = group.column(leaf).byte_range();
    start..start.saturating_add(len)
}

/// Every chunk must lie before the footer: the lengths bound what a read allocates.
fn check_ranges(metadata: &ParquetMetaData, footer_at: u64) -> Result<(), String> {
    let inside = metadata.row_groups().iter().all(|group| {
        (0..group.num_columns()).all(|leaf| guarded(|| Ok(chunk_range(group, leaf))).is_ok_and(|range| range.end <= footer_at))
    });
    if inside { Ok(()) } else { Err("a column chunk lies outside of the segment".to_owned()) }
}

fn check_columns(fields: &Fields) -> Result<(), String> {
    let ours = [OFFSET, LSN, COMMIT_TS, CAUSE];
    let first = fields.len().checked_sub(N_SYSTEM).ok_or("segment has too few columns")?;
    let same = fields.iter().skip(first).map(|field| field.name().as_str()).eq(ours);
    if same { Ok(()) } else { Err("segment does not end with the columns of the log".to_owned()) }
}

fn row_groups(metadata: &ParquetMetaData, info: &SegmentInfo) -> Result<Vec<RowGroup>, String> {
    let mut groups = Vec::with_capacity(metadata.num_row_groups());
    let mut first_offset = info.first_offset;
    for group in metadata.row_groups() {
        let rows = u64::try_from(group.num_rows()).map_err(|_| "row group has a negative number of rows")?;
        let lsn_column = group.num_columns().checked_sub(N_SYSTEM).map(|first| first + 1).ok_or("segment has too few columns")?;
        // Without statistics nothing is known, so nothing is pruned.
        let lsns = match group.column(lsn_column).statistics() {
            Some(Statistics::Int64(s)) => {
                s.min_opt().zip(s.max_opt()).and_then(|(min, max)| Some((lsn_of(*min)?, lsn_of(*max)?)))
            }
            _ => None,
        };
        groups.push(RowGroup { first_offset, rows, lsns: lsns.unwrap_or((info.first_lsn, info.last_lsn)) });
        first_offset = first_offset.checked_add(rows).ok_or("row groups have impossibly many rows")?;
    }
    if first_offset == info.end_offset() {
        Ok(groups)
    } else {
        Err("segment does not have the rows that the manifest promises".to_owned())
    }
}

/// Verified column chunks, posing as the whole file.
struct Chunks {
    /// Position in the file and bytes.
    chunks: Arc<[(u64, Bytes)]>,
    len: u64,
}

impl Chunks {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        self.chunks
            .iter()
            .find_map(|(at, bytes)| {
                let skip = usize::try_from(start.checked_sub(*at)?).ok()?;
                (skip <= bytes.len()).then(|| bytes.slice(skip..)).filter(|b| !b.is_empty())
            })
            .ok_or_else(|| ParquetError::EOF(format!("read outside of the fetched columns offset={start}")))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Chunks {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.from(start).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF(format!("read outside of the fetched columns offset={start} bytes={length}")));
        }
        Ok(bytes.slice(..length))
    }
}
