//! Functions of `pg_catalog` that know the catalog and the session: computed row by row over plain values.
//!
//! They are stable, not immutable: they answer by the catalog of their statement. A NULL that PostgreSQL's strict functions
//! answer with NULL does so here. What a function is asked about and does not find is NULL, as there.

mod arrays;
mod objects;
mod privileges;
mod session;
mod text;

use super::{
    facts::Facts,
    shape::{Cell, Ty, array},
};
use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::DataType,
};
use regauge_plan::functions::cast::text_column;
use regauge_views::{Error, read::system::SystemFunction};
use std::sync::Arc;

pub use objects::index_def;
pub use session::pid;

/// The marker around a subquery whose rows become an array; never called.
pub const ARRAY_OF_ROWS: &str = "pg_array_of_rows";

/// The type of a function's result.
#[derive(Clone, Copy, Debug)]
pub enum Ret {
    /// Always this.
    Is(Ty),
    /// That of its first argument.
    First,
    /// Of the elements of its first argument.
    Element,
    /// An array of its first argument's type.
    Rows,
    /// An array of this.
    ListOf(Ty),
}

/// A failure of a function: SQLSTATE and message.
pub type Fault = (&'static str, String);

/// A function.
pub struct Function {
    pub name: &'static str,
    pub ret: Ret,
    /// Any NULL argument makes the result NULL.
    pub strict: bool,
    pub body: fn(&Facts, &[Cell]) -> Result<Cell, Fault>,
}

const PARTS: &[&[Function]] =
    &[objects::FUNCTIONS, privileges::FUNCTIONS, session::FUNCTIONS, text::FUNCTIONS, arrays::FUNCTIONS];

/// A function by name.
pub fn find(name: &str) -> Option<&'static Function> {
    PARTS.iter().flat_map(|p| p.iter()).find(|f| f.name == name)
}

/// Whether a call of this name, without a schema, is meant for us. Names that ordinary statements use too are left to them.
pub fn is_system(name: &str) -> bool {
    find(name).is_some() && !arrays::SHARED.contains(&name)
}

/// All functions, bound to what their statement sees.
pub fn all(facts: &Facts) -> Vec<Arc<dyn SystemFunction>> {
    let facts = Arc::new(facts.clone());
    let mut all: Vec<Arc<dyn SystemFunction>> = PARTS.iter().flat_map(|p| p.iter()).map(|f| bound(f, &facts)).collect();
    all.push(bound(&MARKER, &facts));
    all
}

static MARKER: Function = Function {
    name: ARRAY_OF_ROWS,
    ret: Ret::Rows,
    strict: false,
    body: |_, _| Err(("XX000", "a marker was called".to_owned())),
};

fn bound(function: &'static Function, facts: &Arc<Facts>) -> Arc<dyn SystemFunction> {
    Arc::new(Call { function, facts: facts.clone() })
}

struct Call {
    function: &'static Function,
    facts: Arc<Facts>,
}

impl SystemFunction for Call {
    fn name(&self) -> &str {
        self.function.name
    }

    fn returns(&self, args: &[DataType]) -> DataType {
        let text = || DataType::Utf8;
        match self.function.ret {
            Ret::Is(ty) => ty.arrow(),
            Ret::ListOf(ty) => DataType::new_list(ty.arrow(), true),
            Ret::First => args.first().cloned().filter(|t| *t != DataType::Null).unwrap_or_else(text),
            Ret::Rows => DataType::new_list(args.first().cloned().unwrap_or_else(text), true),
            Ret::Element => match args.first() {
                Some(DataType::List(item)) => item.data_type().clone(),
                _ => text(),
            },
        }
    }

    fn call(&self, args: &[ArrayRef], rows: usize, ty: &DataType) -> Result<ArrayRef, Error> {
        let mut cells = Vec::with_capacity(rows);
        for row in 0..rows {
            let values: Vec<Cell> = args.iter().map(|c| cell(c, row)).collect();
            let null = self.function.strict && values.contains(&Cell::Null);
            cells.push(if null { Cell::Null } else { (self.function.body)(&self.facts, &values).map_err(fault)? });
        }
        Ok(array(ty, cells.iter()))
    }
}

fn fault((sqlstate, message): Fault) -> Error {
    Error::new(regauge_types::ErrorKind::Invalid, sqlstate, message)
}

/// A value out of an array.
fn cell(array: &ArrayRef, row: usize) -> Cell {
    use arrow::datatypes::{Int16Type, Int32Type, Int64Type};
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int16 => Cell::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(row).to_owned()),
        DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row).to_owned()),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Cell::List((0..items.len()).map(|i| cell(&items, i)).collect())
        }
        DataType::Null => Cell::Null,
        _ => match text_column(&array.slice(row, 1)) {
            Ok(text) => text.as_string_opt::<i32>().map_or(Cell::Null, |t| Cell::Text(t.value(0).to_owned())),
            Err(_) => Cell::Null,
        },
    }
}

/// The text of a value, as PostgreSQL's output functions write it.
fn text_of(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Bool(b) => if *b { "t" } else { "f" }.to_owned(),
        Cell::Int(i) => i.to_string(),
        Cell::Text(s) => s.clone(),
        Cell::List(items) => {
            let item = |c: &Cell| match c {
                Cell::Null => "NULL".to_owned(),
                other => text_of(other),
            };
            format!("{{{}}}", items.iter().map(item).collect::<Vec<_>>().join(","))
        }
    }
}

/// The n-th argument as a number; text is read as one.
fn int(args: &[Cell], at: usize) -> Option<i64> {
    match args.get(at)? {
        Cell::Int(v) => Some(*v),
        Cell::Text(s) => s.trim().parse().ok(),
        _ => None,
    }
}

/// The n-th argument as text.
fn text(args: &[Cell], at: usize) -> Option<String> {
    match args.get(at)? {
        Cell::Null => None,
        other => Some(text_of(other)),
    }
}
