//! How values travel between SQL and a guest, and whether an export fits a function.
//!
//! ```text
//!   boolean, smallint, integer, date   i32        real               f32
//!   bigint, timestamp, timestamptz     i64        double precision   f64
//!   text, bytea                        i32 i32    where it begins and how long it is, in the guest's memory
//! ```
//! All other types travel as their text: the call casts them. A parameter of a function that is called on NULL has an i32 before it,
//! 1 for NULL. A result is its value alone, or with an i32 before it, 1 for NULL; of text and bytea it is (i32 i32) with -1 as
//! the first for NULL, or both in one i64, the place in the upper half, -1 for NULL.

use arrow::datatypes::{DataType, TimeUnit};
use wasmi::{FuncType, ValType};

use crate::error::PlanError;

/// How a type travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Plain(ValType),
    Bytes,
}

/// The way of a type; none of one that travels as its text.
pub(super) fn way(ty: &DataType) -> Option<Way> {
    Some(match ty {
        DataType::Boolean | DataType::Int16 | DataType::Int32 | DataType::Date32 => Way::Plain(ValType::I32),
        DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _) => Way::Plain(ValType::I64),
        DataType::Float32 => Way::Plain(ValType::F32),
        DataType::Float64 => Way::Plain(ValType::F64),
        DataType::Utf8 | DataType::Binary => Way::Bytes,
        _ => return None,
    })
}

/// The type that a value of a SQL type has in a call.
#[must_use]
pub fn carried(ty: &DataType) -> DataType {
    if way(ty).is_some() { ty.clone() } else { DataType::Utf8 }
}

/// How a result comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The value alone.
    Plain,
    /// Whether it is NULL, and the value.
    Flagged,
    /// Where it is and how long.
    Pair,
    /// Both in one.
    Packed,
}

/// Types of a function's parameters and result, as they travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    params: Vec<Way>,
    result: Way,
    strict: bool,
}

impl Signature {
    /// Of these types; those that do not travel by themselves travel as text.
    #[must_use]
    pub fn of(params: &[DataType], result: &DataType, strict: bool) -> Signature {
        let of = |ty: &DataType| way(ty).unwrap_or(Way::Bytes);
        Signature { params: params.iter().map(of).collect(), result: of(result), strict }
    }

    pub(super) fn params(&self) -> &[Way] {
        &self.params
    }

    pub(super) fn result(&self) -> Way {
        self.result
    }

    pub(super) fn strict(&self) -> bool {
        self.strict
    }

    /// Whether values are written into the guest's memory.
    pub(super) fn writes(&self) -> bool {
        self.params.contains(&Way::Bytes)
    }

    /// Whether memory is written or read.
    pub(super) fn touches_memory(&self) -> bool {
        self.writes() || self.result == Way::Bytes
    }

    fn wanted(&self) -> Vec<ValType> {
        let mut all = vec![];
        for way in &self.params {
            if !self.strict {
                all.push(ValType::I32);
            }
            match way {
                Way::Plain(ty) => all.push(*ty),
                Way::Bytes => all.extend([ValType::I32, ValType::I32]),
            }
        }
        all
    }

    fn shapes(&self) -> Vec<(Vec<ValType>, Shape)> {
        use ValType::{I32, I64};
        match self.result {
            Way::Plain(ty) => vec![(vec![ty], Shape::Plain), (vec![I32, ty], Shape::Flagged)],
            Way::Bytes => vec![(vec![I32, I32], Shape::Pair), (vec![I64], Shape::Packed)],
        }
    }

    /// How the results of an export of this type come; none if it does not fit.
    pub(super) fn fit(&self, ty: &FuncType) -> Option<Shape> {
        if ty.params() != self.wanted() {
            return None;
        }
        self.shapes().into_iter().find(|(results, _)| ty.results() == *results).map(|(_, shape)| shape)
    }

    /// Whether an export of this type takes the parameters and gives nothing.
    pub(super) fn is_step(&self, ty: &FuncType) -> bool {
        ty.params() == self.wanted() && ty.results().is_empty()
    }

    /// 42P13 of an export that is no step.
    pub(super) fn no_step(&self, export: &str, ty: &FuncType) -> PlanError {
        PlanError::invalid("42P13", format!("the export \"{export}\" has the type {}", shown(ty.params(), ty.results())))
            .with_hint(format!("a step of these types is {}", shown(&self.wanted(), &[])))
    }

    /// 42P13 of an export that does not fit.
    pub(super) fn misfit(&self, export: &str, ty: &FuncType) -> PlanError {
        let results: Vec<String> = self.shapes().iter().map(|(results, _)| shown(&self.wanted(), results)).collect();
        PlanError::invalid("42P13", format!("the export \"{export}\" has the type {}", shown(ty.params(), ty.results())))
            .with_hint(format!("the function's types want {}", results.join(" or ")))
    }
}

/// A type as WebAssembly's text format writes it.
fn shown(params: &[ValType], results: &[ValType]) -> String {
    let list = |word: &str, types: &[ValType]| {
        let names: Vec<&str> = types.iter().map(|ty| name(*ty)).collect();
        if names.is_empty() { String::new() } else { format!(" ({word} {})", names.join(" ")) }
    };
    format!("(func{}{})", list("param", params), list("result", results))
}

fn name(ty: ValType) -> &'static str {
    match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
        _ => "reference",
    }
}
