//! The content of a block: tables, each an Arrow IPC stream of one batch.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | number of tables |
//! | 8 + n | of each: its length, then its stream (version 5, buffers in zstd; as they are where all tables together have more than 128 MiB) |
//!
//! Decoding expects bytes that a checksum has vouched for. Others are an error as well: what they ask for is held against what they bring
//! ([`super::bounds`]), and what Arrow asserts of them is caught. So a block makes a reader hold its own bytes and less than 512 MiB.

use super::{CheckpointError, bounds};
use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::{
    CompressionType,
    reader::StreamReader,
    writer::{IpcWriteOptions, StreamWriter},
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Tables that are larger are not compressed: a reader could not tell them from bytes that ask for all memory.
const COMPRESSED_MAX: usize = 128 << 20;

/// Tables as bytes.
pub fn encode(tables: &[RecordBatch]) -> Result<Vec<u8>, CheckpointError> {
    Ok(encode_with(tables, Some(CompressionType::ZSTD))?)
}

/// The same with another compression; [`decode`] reads any.
pub(crate) fn encode_with(tables: &[RecordBatch], compression: Option<CompressionType>) -> Result<Vec<u8>, ArrowError> {
    encode_up_to(COMPRESSED_MAX, tables, compression)
}

fn encode_up_to(most: usize, tables: &[RecordBatch], compression: Option<CompressionType>) -> Result<Vec<u8>, ArrowError> {
    let columns = tables.iter().flat_map(RecordBatch::columns);
    let n_bytes: usize = columns.map(|c| c.to_data().get_slice_memory_size().unwrap_or_else(|_| c.get_array_memory_size())).sum();
    let compression = compression.filter(|_| n_bytes <= most);
    let mut bytes = u32::try_from(tables.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    for table in tables {
        let options = IpcWriteOptions::default().try_with_compression(compression)?;
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
    let (mut streams, mut left) = (Vec::new(), bounds::UNFOLDED_MAX);
    for _ in 0..u32::from_le_bytes(*n) {
        let (len, behind) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| broken())?;
        let (own, behind) = behind.split_at_checked(len).ok_or_else(broken)?;
        rest = behind;
        bounds::check(own, &mut left)
            .map_err(|what| ArrowError::ParseError(format!("a block contradicts itself, or asks for too much: {what}")))?;
        streams.push(own);
    }
    if !rest.is_empty() {
        return Err(broken().into());
    }
    // All of it is looked at before anything is reserved.
    let table = |own| -> Result<RecordBatch, CheckpointError> {
        let read = || StreamReader::try_new(own, None)?.next().ok_or_else(broken)?;
        let asserted = |_| ArrowError::ParseError("a block does not have the columns that it says".to_owned());
        Ok(catch_unwind(AssertUnwindSafe(read)).map_err(asserted)??)
    };
    streams.into_iter().map(table).collect()
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

    #[test]
    fn what_compresses_best_reads_back_and_a_length_that_lies_is_refused_before_it_is_reserved() {
        let zeros = Arc::new(Int64Array::from_iter_values(std::iter::repeat_n(0, 3_000_000))) as ArrayRef;
        let texts = Arc::new(StringArray::from_iter_values(std::iter::repeat_n("the same", 100_000))) as ArrayRef;
        let empty = Arc::new(StringArray::from_iter_values(std::iter::repeat_n("", 100_000))) as ArrayRef;
        let table = RecordBatch::try_from_iter([("z", zeros)]).unwrap();
        let other = RecordBatch::try_from_iter([("t", texts), ("e", empty)]).unwrap();
        for compression in [None, Some(CompressionType::ZSTD), Some(CompressionType::LZ4_FRAME)] {
            let bytes = encode_with(&[table.clone(), other.clone()], compression).unwrap();
            assert_eq!(decode(&bytes).unwrap(), [table.clone(), other.clone()], "{compression:?}");
        }
        // The length before compression, wherever it stands.
        let bytes = encode(&[table]).unwrap();
        let said = 24_000_000i64.to_le_bytes();
        let places: Vec<usize> = (0..bytes.len() - 8).filter(|at| bytes[*at..at + 8] == said).collect();
        assert!(!places.is_empty(), "the length is there");
        for length in [i64::MAX, 1 << 46, -2, i64::MIN, 24_000_000 * 100] {
            let mut lying = bytes.clone();
            places.iter().for_each(|at| lying[*at..at + 8].copy_from_slice(&length.to_le_bytes()));
            assert!(decode(&lying).is_err(), "length={length}");
        }
    }

    /// A few kilobytes that unfold to more than all memory: zeros, once, and as often as a block likes.
    #[test]
    fn what_unfolds_to_too_much_is_refused_and_tables_that_are_large_are_not_compressed() {
        let zeros = Arc::new(Int64Array::from_iter_values(std::iter::repeat_n(0, 2 << 20))) as ArrayRef;
        let table = RecordBatch::try_from_iter([("z", zeros)]).unwrap();
        for (compression, ratio) in [(CompressionType::ZSTD, 1000), (CompressionType::LZ4_FRAME, 100)] {
            let one = encode_with(std::slice::from_ref(&table), Some(compression)).unwrap();
            assert!(one.len() * ratio < 16 << 20, "{compression:?}: {} bytes", one.len());
            let block = |n: u32| [n.to_le_bytes().as_slice(), &one[4..].repeat(n as usize)].concat();
            assert_eq!(decode(&block(2)).unwrap(), [table.clone(), table.clone()], "{compression:?}");
            for n in [33, 1000] {
                let error = decode(&block(n)).unwrap_err().to_string();
                assert!(error.contains("more than a block may"), "{compression:?} n={n}: {error}");
            }
            // a writer keeps away from that
            let tables = vec![table.clone(); 3];
            let bytes = encode_up_to(40 << 20, &tables, Some(compression)).unwrap();
            assert!(bytes.len() >= 48 << 20, "{} bytes", bytes.len());
            assert_eq!(decode(&bytes).unwrap(), tables);
        }
    }

    #[test]
    fn buffers_of_any_length_read_back_in_each_compression() {
        for n in [0, 1, 7, 1000, 8191, 8192, 8193, 40_000, 600_000] {
            let mixed = Arc::new(Int64Array::from_iter_values((0..n).map(|i| i * i % 1013))) as ArrayRef;
            let texts =
                Arc::new(StringArray::from_iter((0..n).map(|i| (i % 7 > 0).then(|| format!("{:x}", i * 7919))))) as ArrayRef;
            let table = RecordBatch::try_from_iter([("m", mixed), ("t", texts)]).unwrap();
            for compression in [CompressionType::ZSTD, CompressionType::LZ4_FRAME] {
                let bytes = encode_with(std::slice::from_ref(&table), Some(compression)).unwrap();
                assert_eq!(decode(&bytes).unwrap(), std::slice::from_ref(&table), "n={n} {compression:?}");
            }
        }
    }

    #[test]
    fn no_change_of_some_bytes_makes_it_panic_or_ask_for_more_than_is_there() {
        let column = Arc::new(Int64Array::from_iter((0..500).map(|n| (n % 3 > 0).then_some(n)))) as ArrayRef;
        let text = Arc::new(StringArray::from_iter((0..500).map(|n| (n % 5 > 0).then(|| format!("text {n}"))))) as ArrayRef;
        let flags = Arc::new(arrow::array::BooleanArray::from_iter((0..500).map(|n| Some(n % 2 > 0)))) as ArrayRef;
        let lists = arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>(
            (0..500).map(|n| Some((0..n % 4).map(Some).collect::<Vec<_>>())),
        );
        let columns = [("a", column), ("b", text), ("c", flags), ("l", Arc::new(lists) as ArrayRef)];
        let bytes = encode(&[RecordBatch::try_from_iter(columns).unwrap()]).unwrap();
        let mut seed = 1u64;
        let mut next = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % n
        };
        let (mut read, mut refused) = (0, 0);
        for _ in 0..3000 {
            let mut changed = bytes.clone();
            for _ in 0..1 + next(3) {
                let at = next(changed.len());
                match next(4) {
                    0 => changed[at] ^= 1 << next(8),
                    1 => changed[at] = [0, 1, 127, 128, 255][next(5)],
                    2 => changed.truncate(at.max(1)),
                    _ => {
                        let n = [i64::MAX, -1, 1 << 47, 0][next(4)].to_le_bytes();
                        let end = (at + 8).min(changed.len());
                        changed[at..end].copy_from_slice(&n[..end - at]);
                    }
                }
            }
            match decode(&changed) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 100 && read > 0, "read={read} refused={refused}");
    }
}
