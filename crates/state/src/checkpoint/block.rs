//! The content of a block: tables, each an Arrow IPC stream of one batch.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | number of tables |
//! | 8 + n | of each: its length, then its stream (version 5, buffers in zstd) |
//!
//! Decoding expects bytes that a checksum has vouched for; others are an error, too, as far as Arrow checks them.

use super::CheckpointError;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::{
    CompressionType,
    reader::StreamReader,
    writer::{IpcWriteOptions, StreamWriter},
};

/// Tables as bytes.
pub fn encode(tables: &[RecordBatch]) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = u32::try_from(tables.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    for table in tables {
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD))?;
        let at = bytes.len();
        bytes.extend_from_slice(&[0; 8]);
        let mut writer = StreamWriter::try_new_with_options(&mut bytes, &table.schema(), options)?;
        writer.write(table)?;
        writer.finish()?;
        drop(writer);
        let len = (bytes.len() - at - 8) as u64;
        bytes[at..at + 8].copy_from_slice(&len.to_le_bytes());
    }
    Ok(bytes)
}

/// Tables from bytes.
pub fn decode(bytes: &[u8]) -> Result<Vec<RecordBatch>, CheckpointError> {
    let broken = || ArrowError::ParseError("a block ends early".to_owned());
    let (n, mut rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
    let mut tables = Vec::new();
    for _ in 0..u32::from_le_bytes(*n) {
        let (len, behind) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| broken())?;
        let (own, behind) = behind.split_at_checked(len).ok_or_else(broken)?;
        rest = behind;
        let mut reader = StreamReader::try_new(own, None)?;
        tables.push(reader.next().ok_or_else(broken)??);
    }
    if rest.is_empty() { Ok(tables) } else { Err(broken().into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn tables_read_back_as_they_were_and_nothing_else_does() {
        let column = |n: i64| Arc::new(Int64Array::from_iter_values(0..n)) as ArrayRef;
        let text = Arc::new(StringArray::from(vec![Some("ä"), None, Some("")])) as ArrayRef;
        let tables: Vec<RecordBatch> = vec![
            RecordBatch::try_from_iter([("a", column(3)), ("b", text)]).unwrap(),
            RecordBatch::try_from_iter([("a", column(0))]).unwrap(),
            RecordBatch::try_from_iter([("a", column(10_000))]).unwrap(),
        ];
        let bytes = encode(&tables).unwrap();
        assert_eq!(bytes, encode(&tables).unwrap(), "the same bytes each time");
        assert!(bytes.len() < 40_000, "numbers are compressed: {}", bytes.len());
        assert_eq!(decode(&bytes).unwrap(), tables);
        assert_eq!(decode(&encode(&[]).unwrap()).unwrap(), vec![]);
        assert!((0..bytes.len()).step_by(97).all(|n| decode(&bytes[..n]).is_err()));
        assert!(decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
