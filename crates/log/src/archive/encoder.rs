//! Batches become row groups: each column by the library's encoder, or by one of ours where that is cheaper.
//!
//! Ours are for what most of a log is: numbers as differences and texts, in columns that are not nested. The library takes these value by value
//! through an index of the rows that have one, and copies each page four times on its way.

use super::{
    blocks::Blocks,
    encodings::Choice,
    numbers::Numbers,
    pages::{Chunk, ZSTD_LEVEL},
    texts::Texts,
};
use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::SchemaRef,
};
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves},
    },
    errors::ParquetError,
    file::{
        metadata::{KeyValue, RowGroupMetaData},
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::ColumnDescPtr,
};
use zstd::bulk::Compressor;

/// The encoder of one object.
pub(super) struct Encoder {
    schema: SchemaRef,
    choices: Vec<Choice>,
    file: SerializedFileWriter<Blocks>,
    library: ArrowRowGroupWriterFactory,
    packer: Compressor<'static>,
    /// The columns of the open row group, a nested one by its leaves.
    open: Option<Vec<Column>>,
}

enum Column {
    Library(Box<ArrowColumnWriter>),
    Numbers(Numbers),
    Texts(Texts),
}

enum Done {
    Library(ArrowColumnChunk),
    Ours(Chunk),
}

impl Encoder {
    /// `choices` has one for each column of the schema.
    pub(super) fn new(schema: SchemaRef, properties: WriterProperties, choices: Vec<Choice>) -> Result<Encoder, ParquetError> {
        let options = ArrowWriterOptions::new().with_properties(properties);
        // It writes the schema's metadata as every reader of Arrow wants it.
        let writer = ArrowWriter::try_new_with_options(Blocks::default(), schema.clone(), options)?;
        let (file, library) = writer.into_serialized_writer()?;
        Ok(Encoder { schema, choices, file, library, packer: Compressor::new(ZSTD_LEVEL)?, open: None })
    }

    /// Rows that follow the last ones, in the same row group.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), ParquetError> {
        let mut open = self.open.take().map_or_else(|| self.begin(), Ok)?;
        let mut columns = open.iter_mut();
        let missing = || ParquetError::General("a column has no encoder".to_owned());
        for (field, array) in self.schema.fields().iter().zip(rows.columns()) {
            // Where a type of ours stands alone it is a column of its own.
            if is_leaf(array) {
                columns.next().ok_or_else(missing)?.push(field, array, &mut self.packer)?;
                continue;
            }
            for leaf in compute_leaves(field, array)? {
                match columns.next() {
                    Some(Column::Library(writer)) => writer.write(&leaf)?,
                    _ => return Err(missing()),
                }
            }
        }
        self.open = Some(open);
        Ok(())
    }

    fn begin(&self) -> Result<Vec<Column>, ParquetError> {
        let writers = self.library.create_column_writers(self.file.flushed_row_groups().len())?;
        let columns = self.file.schema_descr();
        let column = |(leaf, writer)| {
            let root = columns.get_column_root_idx(leaf);
            let choice = self.choices.get(root).copied().unwrap_or(Choice::Dictionary);
            Column::new(choice, self.schema.field(root).data_type(), columns.column(leaf), writer)
        };
        Ok(writers.into_iter().enumerate().map(column).collect())
    }

    /// Bytes of the open row group in memory.
    pub(super) fn memory(&self) -> usize {
        self.open.iter().flatten().map(Column::memory).sum()
    }

    /// Bytes of the open row group as they will be written, about.
    pub(super) fn len(&self) -> usize {
        self.open.iter().flatten().map(Column::len).sum()
    }

    /// Ends the row group, if one is open. All its bytes are in the sink afterwards.
    pub(super) fn end_row_group(&mut self) -> Result<(), ParquetError> {
        if let Some(open) = self.open.take() {
            let mut group = self.file.next_row_group()?;
            for column in open {
                column.close(&mut self.packer)?.append_to(&mut group)?;
            }
            group.close()?;
        }
        // The library buffers a few bytes of its own above the sink.
        Ok(self.file.flush()?)
    }

    /// The row groups that have ended.
    pub(super) fn row_groups(&self) -> &[RowGroupMetaData] {
        self.file.flushed_row_groups()
    }

    pub(super) fn sink(&self) -> &Blocks {
        self.file.inner()
    }

    pub(super) fn sink_mut(&mut self) -> &mut Blocks {
        self.file.inner_mut()
    }

    /// Writes the footer, with one more pair in its metadata. No row group may be open.
    pub(super) fn finish(&mut self, pair: KeyValue) -> Result<(), ParquetError> {
        self.file.append_key_value_metadata(pair);
        self.file.finish()?;
        Ok(self.file.flush()?)
    }
}

fn is_leaf(array: &ArrayRef) -> bool {
    !array.data_type().is_nested()
}

impl Column {
    fn new(choice: Choice, ty: &arrow::datatypes::DataType, column: ColumnDescPtr, writer: ArrowColumnWriter) -> Column {
        match choice {
            Choice::Differences if Numbers::hold(ty) => Column::Numbers(Numbers::new(column)),
            Choice::Plain | Choice::Dictionary if Texts::hold(ty) => {
                Column::Texts(Texts::new(column, choice == Choice::Dictionary))
            }
            _ => Column::Library(Box::new(writer)),
        }
    }

    fn push(
        &mut self,
        field: &arrow::datatypes::Field,
        array: &ArrayRef,
        packer: &mut Compressor<'static>,
    ) -> Result<(), ParquetError> {
        match self {
            Column::Library(writer) => compute_leaves(field, array)?.iter().try_for_each(|leaf| writer.write(leaf)),
            Column::Numbers(numbers) => numbers.push(array, packer),
            Column::Texts(texts) => texts.push(array, packer),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Column::Library(writer) => writer.memory_size(),
            Column::Numbers(numbers) => numbers.memory(),
            Column::Texts(texts) => texts.memory(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Column::Library(writer) => writer.get_estimated_total_bytes(),
            Column::Numbers(numbers) => numbers.len(),
            Column::Texts(texts) => texts.len(),
        }
    }

    fn close(self, packer: &mut Compressor<'static>) -> Result<Done, ParquetError> {
        Ok(match self {
            Column::Library(writer) => Done::Library(writer.close()?),
            Column::Numbers(numbers) => Done::Ours(numbers.close(packer)?),
            Column::Texts(texts) => Done::Ours(texts.close(packer)?),
        })
    }
}

impl Done {
    fn append_to(self, group: &mut SerializedRowGroupWriter<'_, Blocks>) -> Result<(), ParquetError> {
        match self {
            Done::Library(chunk) => chunk.append_to_row_group(group),
            Done::Ours(chunk) => chunk.append_to(group),
        }
    }
}
