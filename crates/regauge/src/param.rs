//! A parameter of a statement: what stands for `$1`.

use crate::{Error, Result};
use arrow::{array::ArrayRef, datatypes::DataType};
use regauge_views::{Datum, Value, error::sqlstate as code, pgtypes};

/// A parameter. Text takes the type that the statement wants in its place (a date, a timestamp, a numeric, ..), as a literal in
/// quotes does; the others are what they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// NULL, of the type that the statement wants.
    Null,
    /// boolean
    Bool(bool),
    /// integer
    Int4(i32),
    /// bigint
    Int8(i64),
    /// double precision
    Float8(f64),
    /// A literal in quotes.
    Text(String),
    /// bytea
    Bytes(Vec<u8>),
}

impl Param {
    /// Its type, where it is not the statement's to say.
    pub(crate) fn own_type(&self) -> Option<DataType> {
        match self {
            Param::Null | Param::Text(_) => None,
            Param::Bool(_) => Some(DataType::Boolean),
            Param::Int4(_) => Some(DataType::Int32),
            Param::Int8(_) => Some(DataType::Int64),
            Param::Float8(_) => Some(DataType::Float64),
            Param::Bytes(_) => Some(DataType::Binary),
        }
    }

    /// An array of one, of type `ty`, for place `at` (from 1). Errors: 22P02 and kin for a text that is none of the type's.
    pub(crate) fn to_array(&self, ty: &DataType, at: usize) -> Result<ArrayRef> {
        let value = match self {
            Param::Null => Value::null(ty.clone()),
            Param::Text(text) => pgtypes::parse_text(ty, text)
                .map_err(|e| Error::invalid(e.sqlstate, e.message).detail(format!("in parameter ${at}")))?,
            Param::Bool(v) => Value::bool(*v),
            Param::Int4(v) => Value::int4(*v),
            Param::Int8(v) => Value::int8(*v),
            Param::Float8(v) => Value::float8(*v),
            Param::Bytes(v) => Value { ty: DataType::Binary, datum: Datum::Bytes(v.clone()) },
        };
        value.to_array(1).ok_or_else(|| {
            let message = format!("parameter ${at} does not fit the type {}", pgtypes::type_name(ty));
            Error::invalid(code::DATATYPE_MISMATCH, message)
        })
    }
}

impl From<bool> for Param {
    fn from(v: bool) -> Param {
        Param::Bool(v)
    }
}

impl From<i32> for Param {
    fn from(v: i32) -> Param {
        Param::Int4(v)
    }
}

impl From<i64> for Param {
    fn from(v: i64) -> Param {
        Param::Int8(v)
    }
}

impl From<f64> for Param {
    fn from(v: f64) -> Param {
        Param::Float8(v)
    }
}

impl From<&str> for Param {
    fn from(v: &str) -> Param {
        Param::Text(v.to_owned())
    }
}

impl From<String> for Param {
    fn from(v: String) -> Param {
        Param::Text(v)
    }
}

impl From<Vec<u8>> for Param {
    fn from(v: Vec<u8>) -> Param {
        Param::Bytes(v)
    }
}

impl<T: Into<Param>> From<Option<T>> for Param {
    fn from(v: Option<T>) -> Param {
        v.map_or(Param::Null, Into::into)
    }
}
