//! SQL types on the wire: which number, size and modifier a column of ours has, and what a client's number means to us.
//!
//! Invariant: [`Shape::of`] and [`super::encode`] agree on the Arrow type that a column has once it is made native. A column
//! whose type SQL does not have goes as text. Modifiers: numeric's precision and scale; varchar's length is not kept by plans, so
//! such a column is text.

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, TimeUnit};

/// A type of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// boolean
    Bool,
    /// smallint
    Int2,
    /// integer
    Int4,
    /// bigint
    Int8,
    /// oid: a bigint of the catalogs, see [`Shape::of_prepared`]
    Oid,
    /// real
    Float4,
    /// double precision
    Float8,
    /// numeric
    Numeric,
    /// text
    Text,
    /// bytea
    Bytea,
    /// uuid
    Uuid,
    /// json
    Json,
    /// jsonb
    Jsonb,
    /// date
    Date,
    /// time
    Time,
    /// timestamp
    Timestamp,
    /// timestamptz
    Timestamptz,
    /// interval
    Interval,
}

/// A type of the wire, or an array of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A plain type.
    Scalar(Scalar),
    /// An array.
    Array(Scalar),
}

/// Number of the type, of its array, and its size in bytes (-1: varies).
const fn numbers(scalar: Scalar) -> (u32, u32, i16) {
    match scalar {
        Scalar::Bool => (16, 1000, 1),
        Scalar::Int2 => (21, 1005, 2),
        Scalar::Int4 => (23, 1007, 4),
        Scalar::Int8 => (20, 1016, 8),
        Scalar::Oid => (26, 1028, 4),
        Scalar::Float4 => (700, 1021, 4),
        Scalar::Float8 => (701, 1022, 8),
        Scalar::Numeric => (1700, 1231, -1),
        Scalar::Text => (25, 1009, -1),
        Scalar::Bytea => (17, 1001, -1),
        Scalar::Uuid => (2950, 2951, 16),
        Scalar::Json => (114, 199, -1),
        Scalar::Jsonb => (3802, 3807, -1),
        Scalar::Date => (1082, 1182, 4),
        Scalar::Time => (1083, 1183, 8),
        Scalar::Timestamp => (1114, 1115, 8),
        Scalar::Timestamptz => (1184, 1185, 8),
        Scalar::Interval => (1186, 1187, 16),
    }
}

impl Scalar {
    /// PostgreSQL's number of it.
    #[must_use]
    pub fn oid(self) -> u32 {
        numbers(self).0
    }
}

impl Type {
    /// PostgreSQL's number of it.
    #[must_use]
    pub fn oid(self) -> u32 {
        match self {
            Type::Scalar(scalar) => numbers(scalar).0,
            Type::Array(scalar) => numbers(scalar).1,
        }
    }

    /// Bytes, or -1.
    #[must_use]
    pub fn size(self) -> i16 {
        match self {
            Type::Scalar(scalar) => numbers(scalar).2,
            Type::Array(_) => -1,
        }
    }

    /// The type of a column.
    #[must_use]
    pub fn of(ty: &DataType) -> Type {
        match ty {
            // of any number of dimensions
            DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => match Type::of(item.data_type()) {
                Type::Scalar(scalar) | Type::Array(scalar) => Type::Array(scalar),
            },
            other => Type::Scalar(scalar(other)),
        }
    }
}

fn scalar(ty: &DataType) -> Scalar {
    match ty {
        DataType::Boolean => Scalar::Bool,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => Scalar::Int2,
        DataType::UInt16 | DataType::Int32 => Scalar::Int4,
        DataType::UInt32 | DataType::Int64 => Scalar::Int8,
        DataType::Float16 | DataType::Float32 => Scalar::Float4,
        DataType::Float64 => Scalar::Float8,
        DataType::UInt64 | DataType::Decimal128(..) => Scalar::Numeric,
        DataType::FixedSizeBinary(16) => Scalar::Uuid,
        DataType::LargeUtf8 => Scalar::Jsonb,
        DataType::Utf8View => Scalar::Json,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Scalar::Bytea,
        DataType::Date32 | DataType::Date64 => Scalar::Date,
        DataType::Time32(_) | DataType::Time64(_) => Scalar::Time,
        DataType::Timestamp(_, None) => Scalar::Timestamp,
        DataType::Timestamp(_, Some(_)) => Scalar::Timestamptz,
        DataType::Interval(_) => Scalar::Interval,
        DataType::Dictionary(_, value) => scalar(value),
        _ => Scalar::Text,
    }
}

/// The Arrow type that values of a column are encoded from.
#[must_use]
pub fn native(ty: &DataType) -> DataType {
    match Type::of(ty) {
        Type::Scalar(Scalar::Numeric) if matches!(ty, DataType::UInt64) => DataType::Decimal128(20, 0),
        Type::Scalar(Scalar::Numeric) => ty.clone(),
        Type::Scalar(Scalar::Timestamptz) if matches!(ty, DataType::Timestamp(TimeUnit::Microsecond, _)) => ty.clone(),
        Type::Scalar(scalar) => arrow_of(scalar),
        Type::Array(_) => match ty {
            DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
                DataType::List(Field::new("item", native(item.data_type()), true).into())
            }
            other => other.clone(),
        },
    }
}

/// The Arrow type of a scalar; numeric is the one without precision.
fn arrow_of(scalar: Scalar) -> DataType {
    match scalar {
        Scalar::Bool => DataType::Boolean,
        Scalar::Int2 => DataType::Int16,
        Scalar::Int4 => DataType::Int32,
        Scalar::Int8 | Scalar::Oid => DataType::Int64,
        Scalar::Float4 => DataType::Float32,
        Scalar::Float8 => DataType::Float64,
        Scalar::Numeric => regauge_views::pgtypes::numeric(),
        Scalar::Text => DataType::Utf8,
        Scalar::Bytea => DataType::Binary,
        Scalar::Uuid => regauge_views::pgtypes::uuid(),
        Scalar::Json => regauge_views::pgtypes::json(),
        Scalar::Jsonb => regauge_views::pgtypes::jsonb(),
        Scalar::Date => DataType::Date32,
        Scalar::Time => DataType::Time64(TimeUnit::Microsecond),
        Scalar::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Scalar::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Scalar::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
    }
}

const SCALARS: [Scalar; 17] = [
    Scalar::Bool,
    Scalar::Int2,
    Scalar::Int4,
    Scalar::Int8,
    Scalar::Float4,
    Scalar::Float8,
    Scalar::Numeric,
    Scalar::Text,
    Scalar::Bytea,
    Scalar::Uuid,
    Scalar::Json,
    Scalar::Jsonb,
    Scalar::Date,
    Scalar::Time,
    Scalar::Timestamp,
    Scalar::Timestamptz,
    Scalar::Interval,
];

/// What a client's number of a parameter's type means; `None` leaves it to the statement.
#[must_use]
pub fn parameter(oid: u32) -> Option<DataType> {
    let scalar = match oid {
        16 => Scalar::Bool,
        21 => Scalar::Int2,
        23 => Scalar::Int4,
        20 => Scalar::Int8,
        700 => Scalar::Float4,
        701 => Scalar::Float8,
        1700 => Scalar::Numeric,
        // text, varchar, bpchar, name
        25 | 1043 | 1042 | 19 => Scalar::Text,
        17 => Scalar::Bytea,
        2950 => Scalar::Uuid,
        114 => Scalar::Json,
        3802 => Scalar::Jsonb,
        1082 => Scalar::Date,
        1083 => Scalar::Time,
        1114 => Scalar::Timestamp,
        1184 => Scalar::Timestamptz,
        1186 => Scalar::Interval,
        // arrays, those of varchar among them
        1015 => return Some(regauge_views::pgtypes::list_of(DataType::Utf8)),
        array => {
            let scalar = SCALARS.iter().find(|scalar| numbers(**scalar).1 == array)?;
            return Some(regauge_views::pgtypes::list_of(arrow_of(*scalar)));
        }
    };
    Some(arrow_of(scalar))
}

/// A column of an answer.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// PostgreSQL's modifier of the type; -1 for none.
    pub modifier: i32,
    /// Values go in their binary form.
    pub binary: bool,
}

/// The number by which a parameter's type is told.
#[must_use]
pub fn told(ty: &DataType, is_oid: bool) -> u32 {
    match Type::of(ty) {
        Type::Scalar(Scalar::Int8) if is_oid => Type::Scalar(Scalar::Oid).oid(),
        Type::Array(Scalar::Int8) if is_oid => Type::Array(Scalar::Oid).oid(),
        other => other.oid(),
    }
}

impl Shape {
    /// Columns of a prepared statement. The catalogs hold no array of bigint but arrays of oids: those are told to be what
    /// they are, because asyncpg knows no other array before it has asked the catalogs for it, and asks for oids then.
    #[must_use]
    pub fn of_prepared(schema: &Schema, reads_catalogs_only: bool) -> Vec<Shape> {
        let mut shapes = Shape::of(schema);
        let arrays = shapes.iter_mut().filter(|shape| reads_catalogs_only && shape.ty == Type::Array(Scalar::Int8));
        arrays.for_each(|shape| shape.ty = Type::Array(Scalar::Oid));
        shapes
    }

    /// Columns of an answer, all as text.
    #[must_use]
    pub fn of(schema: &Schema) -> Vec<Shape> {
        let shape = |field: &arrow::datatypes::FieldRef| Shape {
            name: field.name().clone(),
            ty: Type::of(field.data_type()),
            modifier: modifier(field.data_type()),
            binary: false,
        };
        schema.fields().iter().map(shape).collect()
    }
}

fn modifier(ty: &DataType) -> i32 {
    match ty {
        // numeric without precision
        ty if *ty == regauge_views::pgtypes::numeric() => -1,
        DataType::Decimal128(precision, scale) => ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4,
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_a_client_names_comes_back_under_the_same_number() {
        for oid in [
            16, 21, 23, 20, 700, 701, 1700, 25, 17, 1082, 1083, 1114, 1184, 1186, 2950, 114, 3802, 1007, 1009, 1016, 1231, 2951,
            199, 3807,
        ] {
            let ty = parameter(oid).expect("known");
            assert_eq!((Type::of(&ty).oid(), native(&ty)), (oid, ty));
        }
        assert_eq!(parameter(0), None);
        assert_eq!(modifier(&DataType::Decimal128(10, 2)), (10 << 16 | 2) + 4);
    }
}
