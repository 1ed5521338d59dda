//! The pages of one column chunk that we encode ourselves, and what stands before the values in each: which rows have one.
//!
//! Pages are version 1, so their definition levels are compressed with the values. Whether a chunk is compressed at all is seen by its first page:
//! numbers in few bits and what was compressed before it came do not get smaller, and a reader would pay for it each time.
//! It never knows what the values are.

use super::blocks::Blocks;
use crate::format::wire::put_u64;
use arrow::{array::BooleanBufferBuilder, buffer::NullBuffer};
use bytes::{Buf, Bytes};
use parquet::{
    basic::{Compression, Encoding, PageType, ZstdLevel},
    column::{
        page::{CompressedPage, Page, PageWriter},
        writer::ColumnCloseResult,
    },
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, PageEncodingStats},
        reader::{ChunkReader, Length},
        statistics::Statistics,
        writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite},
    },
    schema::types::ColumnDescPtr,
};
use std::{io::Read, vec::IntoIter};
use zstd::bulk::Compressor;

/// The level of zstd everywhere in the archive.
pub(super) const ZSTD_LEVEL: i32 = 1;

/// Most rows of a page. Numbers of a page are held as they are until it is full: half a MiB.
pub(super) const PAGE_ROWS: usize = 1 << 16;

/// A first page of this many bytes says whether the chunk gets smaller.
const TELLING_BYTES: usize = 4096;

/// A page ends when its values have this many bytes.
pub(super) const PAGE_BYTES: usize = 1 << 20;

/// See the module.
pub(super) struct Pages {
    column: ColumnDescPtr,
    sink: TrackedWrite<Blocks>,
    /// `None` until the first page was seen.
    compression: Option<Compression>,
    /// How many pages have each encoding.
    n_pages: Vec<(Encoding, i32)>,
    n_rows: usize,
    uncompressed: usize,
}

/// The values that data pages have by their place.
pub(super) struct Dictionary {
    /// PLAIN.
    pub(super) page: Vec<u8>,
    pub(super) n_values: usize,
}

impl Pages {
    pub(super) fn new(column: ColumnDescPtr) -> Pages {
        let sink = TrackedWrite::new(Blocks::default());
        Pages { column, sink, compression: None, n_pages: Vec::new(), n_rows: 0, uncompressed: 0 }
    }

    /// Pages that are compressed whatever the first one is like: a dictionary comes that will be smaller.
    pub(super) fn compressed(column: ColumnDescPtr) -> Pages {
        Pages { compression: Some(packed()), ..Pages::new(column) }
    }

    /// Bytes of the pages so far.
    pub(super) fn len(&self) -> usize {
        self.sink.bytes_written()
    }

    /// Whether rows may lack a value; then each page begins with its levels.
    pub(super) fn is_nullable(&self) -> bool {
        self.column.max_def_level() > 0
    }

    /// A page of `n_rows` rows: its levels and values.
    pub(super) fn add(
        &mut self,
        page: &[u8],
        encoding: Encoding,
        n_rows: usize,
        packer: &mut Compressor<'static>,
    ) -> Result<(), ParquetError> {
        let data = Page::DataPage {
            buf: self.pack(page, packer)?,
            num_values: count(n_rows)?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written = SerializedPageWriter::new(&mut self.sink).write_page(CompressedPage::new(data, page.len()))?;
        self.uncompressed += written.uncompressed_size;
        self.n_rows += n_rows;
        match self.n_pages.iter_mut().find(|(of, _)| *of == encoding) {
            Some((_, n)) => *n += 1,
            None => self.n_pages.push((encoding, 1)),
        }
        Ok(())
    }

    fn pack(&mut self, page: &[u8], packer: &mut Compressor<'static>) -> Result<Bytes, ParquetError> {
        if self.compression == Some(Compression::UNCOMPRESSED) {
            return Ok(Bytes::copy_from_slice(page));
        }
        let mut small = Vec::with_capacity(zstd::zstd_safe::compress_bound(page.len()));
        packer.compress_to_buffer(page, &mut small)?;
        // a small page, such as one of NULLs alone, says nothing of the ones that follow
        if self.compression.is_none() && page.len() >= TELLING_BYTES && small.len() > page.len() / 10 * 9 {
            self.compression = Some(Compression::UNCOMPRESSED);
            return Ok(Bytes::copy_from_slice(page));
        }
        self.compression = Some(packed());
        Ok(small.into())
    }

    /// Ends the chunk; a dictionary comes before its pages.
    pub(super) fn close(
        mut self,
        statistics: Option<Statistics>,
        dictionary: Option<Dictionary>,
        packer: &mut Compressor<'static>,
    ) -> Result<Chunk, ParquetError> {
        let mut encodings = vec![Encoding::RLE];
        let mut stats = Vec::new();
        let mut front = TrackedWrite::new(Blocks::default());
        let has_dictionary = dictionary.is_some();
        if let Some(dictionary) = dictionary {
            let buf = self.pack(&dictionary.page, packer)?;
            let encoding = Encoding::PLAIN;
            let page = Page::DictionaryPage { buf, num_values: count(dictionary.n_values)?, encoding, is_sorted: false };
            let page = CompressedPage::new(page, dictionary.page.len());
            self.uncompressed += SerializedPageWriter::new(&mut front).write_page(page)?.uncompressed_size;
            encodings.push(encoding);
            stats.push(PageEncodingStats { page_type: PageType::DICTIONARY_PAGE, encoding, count: 1 });
        }
        for (encoding, count) in self.n_pages {
            encodings.push(encoding);
            stats.push(PageEncodingStats { page_type: PageType::DATA_PAGE, encoding, count });
        }
        let bytes = front.bytes_written() + self.sink.bytes_written();
        let mut metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(self.compression.unwrap_or(Compression::UNCOMPRESSED))
            .set_encodings(encodings)
            .set_page_encoding_stats(stats)
            .set_total_compressed_size(size(bytes)?)
            .set_total_uncompressed_size(size(self.uncompressed)?)
            .set_num_values(size(self.n_rows)?)
            .set_dictionary_page_offset(has_dictionary.then_some(0))
            .set_data_page_offset(size(front.bytes_written())?);
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes as u64,
            rows_written: self.n_rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        let front = front.into_inner()?.take_all();
        let pieces = front.into_iter().chain(self.sink.into_inner()?.take_all()).map(Bytes::from).collect();
        Ok(Chunk { pieces: Pieces(pieces), close })
    }
}

fn packed() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).unwrap_or_default())
}

fn count(n: usize) -> Result<u32, ParquetError> {
    u32::try_from(n).map_err(|_| ParquetError::General(format!("page has too many values: {n}")))
}

fn size(n: usize) -> Result<i64, ParquetError> {
    i64::try_from(n).map_err(|_| ParquetError::General(format!("column chunk is too large: {n}")))
}

/// A column chunk that is complete.
pub(super) struct Chunk {
    pieces: Pieces,
    close: ColumnCloseResult,
}

impl Chunk {
    /// Puts it behind the chunks before it.
    pub(super) fn append_to(self, group: &mut SerializedRowGroupWriter<'_, Blocks>) -> Result<(), ParquetError> {
        group.append_column(&self.pieces, self.close)
    }
}

/// The bytes of a chunk, in pieces.
struct Pieces(Vec<Bytes>);

impl Length for Pieces {
    fn len(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }
}

impl ChunkReader for Pieces {
    type T = PiecesReader;

    fn get_read(&self, start: u64) -> Result<PiecesReader, ParquetError> {
        let mut reader = PiecesReader { piece: Bytes::new(), rest: self.0.clone().into_iter() };
        std::io::copy(&mut reader.by_ref().take(start), &mut std::io::sink())?;
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// A place in the bytes of a chunk.
struct PiecesReader {
    piece: Bytes,
    rest: IntoIter<Bytes>,
}

impl Read for PiecesReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while self.piece.is_empty() {
            let Some(next) = self.rest.next() else { return Ok(0) };
            self.piece = next;
        }
        let n = out.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

/// Which rows of a page have a value.
#[derive(Default)]
pub(super) struct Levels {
    n_rows: usize,
    n_nulls: usize,
    /// Of all rows, from the first one without a value on.
    bits: Option<BooleanBufferBuilder>,
}

impl Levels {
    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(super) fn n_nulls(&self) -> usize {
        self.n_nulls
    }

    /// Adds `n` rows.
    pub(super) fn push(&mut self, n: usize, nulls: Option<&NullBuffer>) {
        match nulls.filter(|nulls| nulls.null_count() > 0) {
            None => {
                if let Some(bits) = &mut self.bits {
                    bits.append_n(n, true);
                }
            }
            Some(nulls) => {
                let n_rows = self.n_rows;
                let bits = self.bits.get_or_insert_with(|| {
                    let mut bits = BooleanBufferBuilder::new(n_rows + n);
                    bits.append_n(n_rows, true);
                    bits
                });
                bits.append_buffer(nulls.inner());
                self.n_nulls += nulls.null_count();
            }
        }
        self.n_rows += n;
    }

    /// Appends the definition levels as a page has them: their length in 4 bytes, then one run of equal ones, or one of a bit each.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        let begun = out.len();
        out.extend_from_slice(&[0; 4]);
        match &mut self.bits {
            Some(bits) if self.n_nulls < self.n_rows => {
                put_u64(out, (self.n_rows.div_ceil(8) as u64) << 1 | 1);
                out.extend_from_slice(bits.as_slice());
            }
            _ => {
                put_u64(out, (self.n_rows as u64) << 1);
                out.push(u8::from(self.n_nulls == 0));
            }
        }
        let len = u32::try_from(out.len() - begun - 4).unwrap_or(u32::MAX);
        out[begun..begun + 4].copy_from_slice(&len.to_le_bytes());
    }

    pub(super) fn clear(&mut self) {
        *self = Levels::default();
    }
}
