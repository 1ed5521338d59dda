//! An Arrow IPC stream as one batch.
//!
//! Invariant: memory stays a small multiple of the body: compressed bodies, which could unpack to any size, are refused before
//! Arrow's reader sees them. What the bytes claim beyond that, Arrow checks; a panic of its reader is caught by the caller.

use arrow::{
    array::RecordBatch,
    compute::concat_batches,
    ipc::{reader::StreamReader, root_as_message},
};
use regauge_views::{Error, error::sqlstate as code};

pub(super) fn read(bytes: &[u8]) -> Result<RecordBatch, Error> {
    refuse_compressed(bytes)?;
    let broken = |e: arrow::error::ArrowError| Error::invalid(code::BAD_COPY, format!("not an Arrow IPC stream: {e}"));
    let reader = StreamReader::try_new(bytes, None).map_err(broken)?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(broken)?;
    concat_batches(&schema, &batches).map_err(broken)
}

/// Walks over the messages: `[ff ff ff ff] length (4 bytes) metadata, body`.
fn refuse_compressed(mut rest: &[u8]) -> Result<(), Error> {
    let broken = || Error::invalid(code::BAD_COPY, "not an Arrow IPC stream: it ends within a message");
    while !rest.is_empty() {
        if rest.starts_with(&[0xff; 4]) {
            rest = &rest[4..];
        }
        let (len, after) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| broken())?;
        if len == 0 {
            return Ok(());
        }
        let metadata = after.get(..len).ok_or_else(broken)?;
        let message =
            root_as_message(metadata).map_err(|e| Error::invalid(code::BAD_COPY, format!("not an Arrow IPC stream: {e}")))?;
        let dictionary = message.header_as_dictionary_batch().and_then(|d| d.data());
        let batch = message.header_as_record_batch().or(dictionary);
        if batch.is_some_and(|b| b.compression().is_some()) {
            return Err(Error::unsupported("compressed Arrow bodies are not taken").hint("write the stream without compression"));
        }
        let body = usize::try_from(message.bodyLength()).map_err(|_| broken())?;
        rest = after.get(len..).and_then(|r| r.get(body..)).ok_or_else(broken)?;
    }
    Ok(())
}
