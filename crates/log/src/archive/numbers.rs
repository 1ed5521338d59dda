//! A column of 64-bit whole numbers or moments, as differences.

use super::{
    deltas::{self, MINI_64},
    pages::{Chunk, Levels, PAGE_ROWS, Pages},
};
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, TimeUnit};
use parquet::{basic::Encoding, errors::ParquetError, file::statistics::ValueStatistics, schema::types::ColumnDescPtr};
use zstd::bulk::Compressor;

/// See the module.
pub(super) struct Numbers {
    pages: Pages,
    levels: Levels,
    /// Of the page that is open, without those of rows that have none.
    values: Vec<i64>,
    range: Option<(i64, i64)>,
    n_nulls: u64,
    scratch: Vec<u8>,
}

impl Numbers {
    /// Whether columns of the type are such ones: in Arrow they are 8 bytes each, in Parquet INT64.
    pub(super) fn hold(ty: &DataType) -> bool {
        // Parquet has no seconds: what the library makes of them is its own affair.
        matches!(ty, DataType::Int64 | DataType::Time64(_))
            || matches!(ty, DataType::Timestamp(unit, _) if *unit != TimeUnit::Second)
    }

    pub(super) fn new(column: ColumnDescPtr) -> Numbers {
        Numbers {
            pages: Pages::new(column),
            levels: Levels::default(),
            values: Vec::new(),
            range: None,
            n_nulls: 0,
            scratch: Vec::new(),
        }
    }

    /// Bytes of the chunk so far, about.
    pub(super) fn len(&self) -> usize {
        self.pages.len() + self.values.len() * 4
    }

    pub(super) fn memory(&self) -> usize {
        self.pages.len() + self.values.capacity() * size_of::<i64>() + self.scratch.capacity()
    }

    pub(super) fn push(&mut self, column: &ArrayRef, packer: &mut Compressor<'static>) -> Result<(), ParquetError> {
        let data = column.to_data();
        let numbers = data.buffer::<i64>(0);
        let mut at = 0;
        while at < column.len() {
            let n = (column.len() - at).min(PAGE_ROWS - self.levels.n_rows());
            let numbers = &numbers[at..at + n];
            let nulls = column.nulls().map(|nulls| nulls.slice(at, n)).filter(|nulls| nulls.null_count() > 0);
            match &nulls {
                None => self.values.extend_from_slice(numbers),
                Some(nulls) => self.values.extend(nulls.valid_indices().map(|i| numbers[i])),
            }
            self.levels.push(n, nulls.as_ref());
            at += n;
            if self.levels.n_rows() >= PAGE_ROWS {
                self.end_page(packer)?;
            }
        }
        Ok(())
    }

    fn end_page(&mut self, packer: &mut Compressor<'static>) -> Result<(), ParquetError> {
        if self.levels.n_rows() == 0 {
            return Ok(());
        }
        if let Some(first) = self.values.first() {
            let range = self.range.unwrap_or((*first, *first));
            self.range = Some(self.values.iter().fold(range, |(least, greatest), v| (least.min(*v), greatest.max(*v))));
        }
        self.scratch.clear();
        if self.pages.is_nullable() {
            self.levels.encode(&mut self.scratch);
        }
        deltas::encode(&self.values, MINI_64, &mut self.scratch);
        self.pages.add(&self.scratch, Encoding::DELTA_BINARY_PACKED, self.levels.n_rows(), packer)?;
        self.n_nulls += self.levels.n_nulls() as u64;
        self.levels.clear();
        self.values.clear();
        Ok(())
    }

    pub(super) fn close(mut self, packer: &mut Compressor<'static>) -> Result<Chunk, ParquetError> {
        self.end_page(packer)?;
        let (least, greatest) = self.range.unzip();
        let statistics = ValueStatistics::new(least, greatest, None, Some(self.n_nulls), false);
        self.pages.close(Some(statistics.with_backwards_compatible_min_max(true).into()), None, packer)
    }
}
