//! A column of texts or bytes: by their place in a dictionary while they repeat; else their lengths as differences, then all their bytes.
//!
//! Parquet's RLE_DICTIONARY and DELTA_LENGTH_BYTE_ARRAY. In the latter the bytes of many rows are copied at once, as they lie in Arrow; one by one,
//! with their lengths between them, they took longer to copy than to compress, and were compressed worse.
//! A dictionary that has become as large as a page is closed: what follows stands for itself.

use super::{
    deltas::{self, MINI_32},
    pages::{Chunk, Levels, PAGE_BYTES, PAGE_ROWS, Pages},
    words::Words,
};
use arrow::{
    array::{Array, ArrayRef, AsArray},
    buffer::NullBuffer,
    datatypes::DataType,
};
use parquet::{basic::Encoding, errors::ParquetError, schema::types::ColumnDescPtr};
use zstd::bulk::Compressor;

/// See the module.
pub(super) struct Texts {
    pages: Pages,
    levels: Levels,
    words: Option<Words>,
    /// No word is looked up any more.
    closed: bool,
    lengths: Vec<i64>,
    /// A gap for what stands before the texts, and the texts of the open page.
    page: Vec<u8>,
    gap: usize,
    head: Vec<u8>,
}

/// Some values of a column as they lie in Arrow: where each begins, and where the last one ends; the bytes; which rows have one.
#[derive(Clone, Copy)]
struct Values<'a> {
    ends: &'a [i32],
    bytes: &'a [u8],
    nulls: Option<&'a NullBuffer>,
}

impl<'a> Values<'a> {
    fn place(&self, i: usize) -> usize {
        usize::try_from(self.ends[i]).unwrap_or(0)
    }

    fn get(&self, i: usize) -> &'a [u8] {
        &self.bytes[self.place(i)..self.place(i + 1)]
    }

    /// Which of `n` rows from `at` on have a value, if not all have one.
    fn nulls(&self, at: usize, n: usize) -> Option<NullBuffer> {
        self.nulls.map(|nulls| nulls.slice(at, n)).filter(|nulls| nulls.null_count() > 0)
    }
}

impl Texts {
    /// Whether columns of the type are such ones.
    pub(super) fn hold(ty: &DataType) -> bool {
        matches!(ty, DataType::Utf8 | DataType::Binary)
    }

    /// A column whose texts `repeat` begins with a dictionary.
    pub(super) fn new(column: ColumnDescPtr, repeat: bool) -> Texts {
        Texts {
            pages: if repeat { Pages::compressed(column) } else { Pages::new(column) },
            levels: Levels::default(),
            words: repeat.then(Words::default),
            closed: !repeat,
            lengths: Vec::new(),
            page: Vec::new(),
            gap: 0,
            head: Vec::new(),
        }
    }

    /// Bytes of the chunk so far, about.
    pub(super) fn len(&self) -> usize {
        self.pages.len() + self.page.len() + self.lengths.len() + self.words.as_ref().map_or(0, Words::len)
    }

    pub(super) fn memory(&self) -> usize {
        let lengths = self.lengths.capacity() * size_of::<i64>();
        let words = self.words.as_ref().map_or(0, Words::memory);
        self.pages.len() + self.page.capacity() + lengths + self.head.capacity() + words
    }

    pub(super) fn push(&mut self, column: &ArrayRef, packer: &mut Compressor<'static>) -> Result<(), ParquetError> {
        let values = if let Some(texts) = column.as_string_opt::<i32>() {
            Values { ends: texts.value_offsets(), bytes: texts.value_data(), nulls: texts.nulls() }
        } else if let Some(bytes) = column.as_binary_opt::<i32>() {
            Values { ends: bytes.value_offsets(), bytes: bytes.value_data(), nulls: bytes.nulls() }
        } else {
            return Err(ParquetError::General(format!("texts were expected, not {}", column.data_type())));
        };
        let n = values.ends.len().saturating_sub(1);
        let mut at = 0;
        while at < n {
            at += match self.words.as_mut().filter(|_| !self.closed) {
                Some(words) => {
                    let n = (n - at).min(PAGE_ROWS - self.levels.n_rows());
                    let taken = words.push((at..at + n).map(|i| values.get(i)), values.nulls(at, n).as_ref());
                    self.levels.push(taken, values.nulls(at, taken).as_ref());
                    self.closed = taken < n || words.are_many();
                    if self.closed || self.levels.n_rows() == PAGE_ROWS {
                        self.end_page(packer)?;
                    }
                    taken
                }
                None => {
                    let fit = self.fit(&values, at);
                    if fit == 0 {
                        self.end_page(packer)?;
                    }
                    self.take(&values, at, fit);
                    fit
                }
            };
        }
        Ok(())
    }

    /// How many values from `at` on the open page has room for.
    fn fit(&self, values: &Values<'_>, at: usize) -> usize {
        let room = values.place(at) + PAGE_BYTES.saturating_sub(self.page.len() - self.gap);
        let fit = values.ends[at + 1..].partition_point(|end| usize::try_from(*end).is_ok_and(|end| end <= room));
        // One too large for every page has its own.
        fit.max(usize::from(self.levels.n_rows() == 0)).min(PAGE_ROWS - self.levels.n_rows())
    }

    fn take(&mut self, values: &Values<'_>, at: usize, n: usize) {
        if n == 0 {
            return;
        }
        if self.levels.n_rows() == 0 {
            // Enough for two bytes a length, if all the page's rows come at once.
            self.gap = 32 + 2 * n;
            self.page.resize(self.gap, 0);
        }
        let nulls = values.nulls(at, n);
        match &nulls {
            None => {
                self.page.extend_from_slice(&values.bytes[values.place(at)..values.place(at + n)]);
                self.lengths.extend(values.ends[at..=at + n].windows(2).map(|pair| i64::from(pair[1]) - i64::from(pair[0])));
            }
            // Where there is no value there may be bytes.
            Some(nulls) => {
                for i in nulls.valid_indices() {
                    self.page.extend_from_slice(values.get(at + i));
                    self.lengths.push(i64::from(values.ends[at + i + 1]) - i64::from(values.ends[at + i]));
                }
            }
        }
        self.levels.push(n, nulls.as_ref());
    }

    fn end_page(&mut self, packer: &mut Compressor<'static>) -> Result<(), ParquetError> {
        let n_rows = self.levels.n_rows();
        if n_rows == 0 {
            return Ok(());
        }
        self.head.clear();
        if self.pages.is_nullable() {
            self.levels.encode(&mut self.head);
        }
        self.levels.clear();
        // A page of words has no texts, and one of texts no words.
        if let Some(words) = self.words.as_mut().filter(|_| self.gap == 0) {
            words.encode(&mut self.head);
            return self.pages.add(&self.head, Encoding::RLE_DICTIONARY, n_rows, packer);
        }
        deltas::encode(&self.lengths, MINI_32, &mut self.head);
        let encoding = Encoding::DELTA_LENGTH_BYTE_ARRAY;
        match self.gap.checked_sub(self.head.len()) {
            Some(begin) => {
                self.page[begin..self.gap].copy_from_slice(&self.head);
                self.pages.add(&self.page[begin..], encoding, n_rows, packer)?;
            }
            None => {
                self.page.splice(..self.gap, self.head.iter().copied());
                self.pages.add(&self.page, encoding, n_rows, packer)?;
            }
        }
        self.page.clear();
        self.lengths.clear();
        self.gap = 0;
        Ok(())
    }

    pub(super) fn close(mut self, packer: &mut Compressor<'static>) -> Result<Chunk, ParquetError> {
        self.end_page(packer)?;
        let dictionary = self.words.map(Words::into_dictionary);
        self.pages.close(None, dictionary, packer)
    }
}
