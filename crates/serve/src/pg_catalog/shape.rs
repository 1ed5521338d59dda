//! The shape of a system relation, and rows as an Arrow batch.
//!
//! Arrow has no oid, "char" or name: they are bigint and text here, and `Ty` keeps what PostgreSQL calls them.

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Float32Builder, Int16Builder, Int32Builder, Int64Builder, ListBuilder, RecordBatch,
        RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::{DataType, Field, Schema, TimeUnit},
    error::ArrowError,
};
use std::sync::Arc;

/// A column's type as PostgreSQL has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    Bool,
    Char,
    Name,
    Text,
    Int2,
    Int4,
    Int8,
    Real,
    Oid,
    Time,
    Int2s,
    Oids,
    Texts,
    Chars,
    Acls,
}

impl Ty {
    /// In the engine.
    pub fn arrow(self) -> DataType {
        match self {
            Ty::Bool => DataType::Boolean,
            Ty::Char | Ty::Name | Ty::Text => DataType::Utf8,
            Ty::Int2 => DataType::Int16,
            Ty::Int4 => DataType::Int32,
            Ty::Int8 | Ty::Oid => DataType::Int64,
            Ty::Real => DataType::Float32,
            Ty::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Ty::Int2s => DataType::new_list(DataType::Int16, true),
            Ty::Oids => DataType::new_list(DataType::Int64, true),
            Ty::Texts | Ty::Chars | Ty::Acls => DataType::new_list(DataType::Utf8, true),
        }
    }

    /// The oid of PostgreSQL's type.
    pub fn oid(self) -> i64 {
        match self {
            Ty::Bool => 16,
            Ty::Char => 18,
            Ty::Name => 19,
            Ty::Text => 25,
            Ty::Int2 => 21,
            Ty::Int4 => 23,
            Ty::Int8 => 20,
            Ty::Real => 700,
            Ty::Oid => 26,
            Ty::Time => 1184,
            Ty::Int2s => 22,
            Ty::Oids => 30,
            Ty::Texts => 1009,
            Ty::Chars => 1002,
            Ty::Acls => 1034,
        }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Cell>),
}

impl From<bool> for Cell {
    fn from(v: bool) -> Cell {
        Cell::Bool(v)
    }
}
impl From<i64> for Cell {
    fn from(v: i64) -> Cell {
        Cell::Int(v)
    }
}
impl From<i32> for Cell {
    fn from(v: i32) -> Cell {
        Cell::Int(v.into())
    }
}
impl From<usize> for Cell {
    fn from(v: usize) -> Cell {
        Cell::Int(i64::try_from(v).unwrap_or(i64::MAX))
    }
}
impl From<&str> for Cell {
    fn from(v: &str) -> Cell {
        Cell::Text(v.to_owned())
    }
}
impl From<String> for Cell {
    fn from(v: String) -> Cell {
        Cell::Text(v)
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(v: Option<T>) -> Cell {
        v.map_or(Cell::Null, Into::into)
    }
}
impl<T: Into<Cell>> From<Vec<T>> for Cell {
    fn from(v: Vec<T>) -> Cell {
        Cell::List(v.into_iter().map(Into::into).collect())
    }
}

/// Values of one row.
macro_rules! row {
    ($($value:expr),* $(,)?) => { vec![$($crate::pg_catalog::shape::Cell::from($value)),*] };
}
pub(crate) use row;

/// NULL, for [`row`].
pub const NULL: Option<bool> = None;

/// Columns of a relation.
pub type Columns = &'static [(&'static str, Ty)];

/// Rows as a batch. A row is filled up with NULLs; a value of another type than its column's is NULL.
pub fn batch(columns: Columns, rows: &[Vec<Cell>]) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<Field> = columns.iter().map(|(name, ty)| Field::new(*name, ty.arrow(), true)).collect();
    let arrays: Vec<ArrayRef> = columns.iter().enumerate().map(|(at, (_, ty))| column(*ty, at, rows)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
}

fn column(ty: Ty, at: usize, rows: &[Vec<Cell>]) -> ArrayRef {
    array(&ty.arrow(), rows.iter().map(|row| row.get(at).unwrap_or(&Cell::Null)))
}

/// Values as an array of one of the types above.
pub fn array<'a>(ty: &DataType, cells: impl Iterator<Item = &'a Cell>) -> ArrayRef {
    let int = |c: &Cell| if let Cell::Int(v) = c { Some(*v) } else { None };
    macro_rules! ints {
        ($builder:ty) => {{
            let mut b = <$builder>::new();
            cells.for_each(|c| b.append_option(int(c).and_then(|v| v.try_into().ok())));
            Arc::new(b.finish())
        }};
    }
    match ty {
        DataType::Boolean => {
            let mut b = BooleanBuilder::new();
            cells.for_each(|c| b.append_option(if let Cell::Bool(v) = c { Some(*v) } else { None }));
            Arc::new(b.finish())
        }
        DataType::Int16 => ints!(Int16Builder),
        DataType::Int32 => ints!(Int32Builder),
        DataType::Int64 => ints!(Int64Builder),
        DataType::Float32 => {
            let mut b = Float32Builder::new();
            cells.for_each(|c| b.append_option(int(c).and_then(|v| i16::try_from(v).ok()).map(f32::from)));
            Arc::new(b.finish())
        }
        DataType::Timestamp(..) => {
            let mut b = TimestampMicrosecondBuilder::new().with_timezone("UTC");
            cells.for_each(|c| b.append_option(int(c)));
            Arc::new(b.finish())
        }
        DataType::List(item) => {
            let mut ends = vec![0_usize];
            let mut inner = Vec::new();
            let mut valid = Vec::new();
            for c in cells {
                if let Cell::List(items) = c {
                    inner.extend(items.iter());
                }
                valid.push(matches!(c, Cell::List(_)));
                ends.push(inner.len());
            }
            let lengths = ends.windows(2).map(|w| w[1] - w[0]);
            let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
            let values = array(item.data_type(), inner.into_iter());
            let list = arrow::array::ListArray::try_new(item.clone(), offsets, values, Some(valid.into()));
            list.map_or_else(|_| empty_list(), |l| Arc::new(l) as ArrayRef)
        }
        _ => {
            let mut b = StringBuilder::new();
            cells.for_each(|c| b.append_option(if let Cell::Text(v) = c { Some(v) } else { None }));
            Arc::new(b.finish())
        }
    }
}

fn empty_list() -> ArrayRef {
    Arc::new(ListBuilder::new(StringBuilder::new()).finish())
}
