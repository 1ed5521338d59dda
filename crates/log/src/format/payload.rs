//! Rows of a part as bytes: few rows as tight as can be, many as one Arrow record batch message without its schema.
//!
//! The schema stands once in the topic's definition; a message with its schema costs 1,168 bytes for one row (`measured.md`), a row some tens. Which
//! encoding a part has stands beside it, so the threshold may change at any time.
//!
//! A message's flatbuffer is verified and every length in it is compared with what is there before arrow sees it: arrow slices buffers by the lengths it
//! reads and panics where they do not fit. What arrow itself checks (offsets, utf-8, null counts) comes back as an error.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::RecordBatchDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow::ipc::{CompressionType, MetadataVersion, root_as_message};

use super::wire::{Input, Malformed, put_len};
use super::{list, small};
use crate::LogError;

/// As in `small`.
pub const ROWS: u8 = 0;
/// One Arrow IPC record batch message: length-prefixed metadata, then the body.
pub const ARROW: u8 = 1;

/// Buffers within a message's body begin at multiples of this. 16 is what the widest values (decimals, intervals) need; arrow's default of 64 is for SIMD on
/// mapped files, and ours are copied.
const ALIGNMENT: usize = 16;
/// A decompressed message is at most this many times as long as its bytes: lz4's own bound.
const RATIO_MAX: u64 = 255;

/// Encodes rows whose schema was checked. Returns the encoding and the bytes, in pieces: what was not compressed is the rows' own memory.
pub fn encode(rows: &RecordBatch, small_rows: usize, compress: bool) -> Result<(u8, Vec<Buffer>), LogError> {
    let internal = |e: &dyn std::fmt::Display| LogError::Internal { reason: format!("rows could not be encoded: {e}") };
    if rows.num_rows() < small_rows.min(small::ROWS_MAX) {
        let mut out = Vec::new();
        small::encode(rows, &mut out).map_err(|e| internal(&e))?;
        return Ok((ROWS, vec![Buffer::from(out)]));
    }
    let compression = compress.then_some(CompressionType::LZ4_FRAME);
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
        .and_then(|o| o.try_with_compression(compression))
        .map_err(|e| internal(&e))?;
    let rows = &flat(rows).map_err(|e| internal(&e))?;
    // Of arrow's encoders the one of streams alone hands out the columns' memory uncopied. Its stream begins with a schema, here one without columns.
    let stream = StreamEncoder::try_new_with_options(&Schema::empty(), options).and_then(|mut encoder| encoder.encode(rows));
    let stream = Stream(stream.map_err(|e| internal(&e))?.into());
    let pieces = stream.only_batch().ok_or_else(|| internal(&"not one message of a schema and one of rows"))?;
    Ok((ARROW, pieces))
}

/// Messages of an Arrow stream, each: 4 bytes that say so, length of the metadata, metadata, body.
struct Stream(VecDeque<Buffer>);

impl Stream {
    /// A payload of the second of two messages. `None` if there are others, or it is none of rows: a dictionary, which flat columns do not have.
    fn only_batch(mut self) -> Option<Vec<Buffer>> {
        self.metadata()?;
        let metadata = self.metadata()?;
        let message = root_as_message(&metadata).ok()?;
        message.header_as_record_batch()?;
        let body_len = self.0.iter().map(Buffer::len).sum();
        if usize::try_from(message.bodyLength()) != Ok(body_len) {
            return None;
        }
        let mut head = Vec::with_capacity(metadata.len() + 20);
        put_len(&mut head, metadata.len());
        head.extend_from_slice(&metadata);
        put_len(&mut head, body_len);
        Some(std::iter::once(Buffer::from(head)).chain(self.0).collect())
    }

    fn metadata(&mut self) -> Option<Vec<u8>> {
        let [_, _, _, _, len @ ..] = self.take(8)?.try_into().ok().map(|prefix: [u8; 8]| prefix)?;
        self.take(usize::try_from(i32::from_le_bytes(len)).ok()?)
    }

    fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        let mut taken = Vec::with_capacity(n);
        while taken.len() < n {
            let piece = self.0.pop_front()?;
            let wanted = piece.len().min(n - taken.len());
            taken.extend_from_slice(&piece[..wanted]);
            if wanted < piece.len() {
                self.0.push_front(piece.slice(wanted));
            }
        }
        Some(taken)
    }
}

/// Decodes what [`encode`] made of `n_rows` rows of `schema`.
pub fn decode(encoding: u8, payload: &[u8], schema: &SchemaRef, n_rows: u64) -> Result<RecordBatch, Malformed> {
    let n_rows = usize::try_from(n_rows).map_err(|_| Malformed::new(format!("impossible number of rows n_rows={n_rows}")))?;
    let rows = match encoding {
        ROWS => small::decode(payload, schema, n_rows)?,
        ARROW => decode_arrow(payload, schema, n_rows)?,
        other => return Err(Malformed::new(format!("unknown encoding of rows encoding={other}"))),
    };
    if rows.num_rows() != n_rows {
        return Err(Malformed::new(format!("number of rows differs expected={n_rows} found={}", rows.num_rows())));
    }
    Ok(rows)
}

fn decode_arrow(payload: &[u8], schema: &SchemaRef, n_rows: usize) -> Result<RecordBatch, Malformed> {
    let mut input = Input::new(payload);
    let metadata = input.bytes()?;
    let body = input.bytes()?;
    input.end()?;
    let message = root_as_message(metadata).map_err(|e| Malformed::new(format!("arrow message is malformed: {e}")))?;
    let batch = message.header_as_record_batch().ok_or_else(|| Malformed::new("arrow message is not a record batch"))?;
    if message.version() != MetadataVersion::V5 {
        return Err(Malformed::new("arrow message is of another version"));
    }
    check_lengths(&batch, body, &flat_schema(schema), n_rows)?;
    let body = Buffer::from(body);
    let none = HashMap::new();
    RecordBatchDecoder::try_new(&body, batch, flat_schema(schema), &none, &message.version())
        .and_then(RecordBatchDecoder::read_record_batch)
        .and_then(|rows| as_views(rows, schema))
        .map_err(|e| Malformed::new(format!("arrow batch is malformed: {e}")))
}

/// What a column's type is in a message.
fn flat_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::List(_) => DataType::Binary,
        other => other.clone(),
    }
}

/// The schema that a message has: views of text stand in it as text, arrays as bytes, so that every column has the buffers of its type and no others.
fn flat_schema(schema: &SchemaRef) -> SchemaRef {
    if schema.fields().iter().all(|f| flat_type(f.data_type()) == *f.data_type()) {
        return SchemaRef::clone(schema);
    }
    let flat = |f: &FieldRef| f.as_ref().clone().with_data_type(flat_type(f.data_type()));
    let fields: Vec<Field> = schema.fields().iter().map(flat).collect();
    SchemaRef::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn flat(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    recast(rows, &flat_schema(rows.schema_ref()))
}

fn as_views(rows: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    recast(&rows, schema)
}

fn recast(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if rows.schema_ref() == schema {
        return Ok(rows.clone());
    }
    let columns = rows.columns().iter().zip(schema.fields());
    let malformed = |e: Malformed| ArrowError::ParseError(e.to_string());
    let columns = columns.map(|(c, f)| match (c.data_type(), f.data_type()) {
        (from, to) if from == to => Ok(Arc::clone(c)),
        (DataType::List(_), _) => list::flat(c).map_err(malformed),
        (_, to @ DataType::List(_)) => list::unflat(c, to).map_err(malformed),
        (_, to) => cast(c, to),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

/// Whether buffers of bits are as long as their columns, and those of numbers hold whole numbers: arrow panics where they do not.
fn have_lengths(batch: &arrow::ipc::RecordBatch<'_>, schema: &Schema, lengths: &[u64], n_rows: usize) -> bool {
    let bits = n_rows.div_ceil(8) as u64;
    let mut at = 0;
    for (field, node) in schema.fields().iter().zip(batch.nodes().into_iter().flatten()) {
        // how many buffers there are, and how long a number is in the second
        let (n, width) = match field.data_type() {
            DataType::Null => (0, None),
            DataType::Utf8 | DataType::Binary => (3, Some(4)),
            DataType::LargeUtf8 | DataType::LargeBinary => (3, Some(8)),
            other => (2, other.primitive_width().map(|width| width as u64)),
        };
        let Some(own) = lengths.get(at..at + n) else { return false };
        at += n;
        let is_short = |buffer: usize| own.get(buffer).is_some_and(|length| *length < bits);
        if (node.null_count() > 0 && is_short(0)) || (*field.data_type() == DataType::Boolean && is_short(1)) {
            return false;
        }
        if own.get(1).zip(width).is_some_and(|(length, width)| !length.is_multiple_of(width)) {
            return false;
        }
    }
    true
}

fn check_lengths(batch: &arrow::ipc::RecordBatch<'_>, body: &[u8], schema: &Schema, n_rows: usize) -> Result<(), Malformed> {
    let bad = |what: &str| Err(Malformed::new(format!("arrow message contradicts itself: {what}")));
    if usize::try_from(batch.length()) != Ok(n_rows) {
        return bad("number of rows");
    }
    if batch.variadicBufferCounts().is_some_and(|counts| !counts.is_empty()) {
        return bad("variadic buffers of flat columns");
    }
    let nodes = batch.nodes().into_iter().flatten();
    let mut n_nodes = 0;
    for node in nodes {
        n_nodes += 1;
        if usize::try_from(node.length()) != Ok(n_rows) || !(0..=node.length()).contains(&node.null_count()) {
            return bad("length of a column");
        }
    }
    if n_nodes != schema.fields().len() {
        return bad("number of columns");
    }
    let mut decompressed = 0_u64;
    let mut lengths = vec![];
    for buffer in batch.buffers().into_iter().flatten() {
        // Arrow panics where offsets of texts do not lie at a multiple of their size.
        if usize::try_from(buffer.offset()).is_ok_and(|at| at % ALIGNMENT != 0) {
            return bad("place of a buffer");
        }
        let range = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let Some(bytes) = range.and_then(|(at, len)| body.get(at..at.checked_add(len)?)) else {
            return bad("place of a buffer");
        };
        let mut length = bytes.len() as u64;
        if batch.compression().is_some() && !bytes.is_empty() {
            let Some(declared) = bytes.first_chunk().map(|b| i64::from_le_bytes(*b)) else {
                return bad("length of a compressed buffer");
            };
            match u64::try_from(declared) {
                Ok(len) => (length, decompressed) = (len, decompressed.saturating_add(len)),
                Err(_) if declared == -1 => length -= 8,
                Err(_) => return bad("length of a compressed buffer"),
            }
        }
        lengths.push(length);
    }
    if !have_lengths(batch, schema, &lengths, n_rows) {
        return bad("length of a buffer");
    }
    if batch.compression().is_some_and(|c| c.codec() != CompressionType::LZ4_FRAME) {
        return bad("compression that is never written");
    }
    if decompressed > (body.len() as u64).saturating_mul(RATIO_MAX) {
        return bad("decompressed length");
    }
    Ok(())
}
