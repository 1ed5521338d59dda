//! Rows out of a row: what an [`Op::FlatMap`](super::Op::FlatMap) unfolds, its bytes, its soundness and its text.
//!
//! A list is either an array that an expression gives, or a call of a function that gives one. The call is kept apart from scalars
//! because its array is never a value of a row: it may hold arrays (`regexp_matches`), which no column can, and whoever runs it
//! may make it in pieces (`generate_series`).

use arrow::datatypes::DataType;

use super::codec::{Bad, Reader, Writer};
use super::explain::text;
use super::types::is_supported;
use super::validate::{check_scalar, ok};
use crate::pgtypes::list_of;
use crate::scalar::Scalar;

/// One list of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsOf {
    /// A function by its frozen name that gives a list of `item`; none: the one argument is the list.
    pub func: Option<String>,
    /// Over the input.
    pub args: Vec<Scalar>,
    /// The type of an element.
    pub item: DataType,
}

impl RowsOf {
    /// The list as an expression.
    pub fn scalar(&self) -> Option<Scalar> {
        match &self.func {
            None => self.args.first().cloned(),
            Some(func) => Some(Scalar::Call { func: func.clone(), args: self.args.clone(), ty: list_of(self.item.clone()) }),
        }
    }

    /// The same over columns that stand elsewhere.
    pub fn map_columns(self, f: &impl Fn(usize) -> Scalar) -> RowsOf {
        RowsOf { args: self.args.into_iter().map(|a| a.map_columns(f)).collect(), ..self }
    }
}

pub(super) fn write(w: &mut Writer, keep: &[usize], lists: &[RowsOf], outer: bool) {
    w.positions(keep);
    w.len(lists.len());
    for l in lists {
        w.option(l.func.as_ref(), |w, f| w.bytes(f.as_bytes()));
        w.scalars(&l.args);
        w.ty(&l.item);
    }
    w.flag(outer);
}

pub(super) fn read(r: &mut Reader<'_>) -> Result<(Vec<usize>, Vec<RowsOf>, bool), Bad> {
    let keep = r.list(Reader::position)?;
    let lists = r.list(|r| Ok(RowsOf { func: r.option(Reader::string)?, args: r.list(Reader::scalar)?, item: r.ty()? }))?;
    Ok((keep, lists, r.flag()?))
}

pub(super) fn check(keep: &[usize], lists: &[RowsOf], input: &[DataType]) -> Result<(), &'static str> {
    ok(keep.iter().all(|c| *c < input.len()), "a kept column is out of bounds")?;
    ok(!lists.is_empty(), "there is no list to unfold")?;
    for l in lists {
        l.args.iter().try_for_each(|a| check_scalar(a, input))?;
        ok(is_supported(&l.item), "a type is not supported")?;
        if l.func.is_none() {
            let list = matches!(l.args.as_slice(), [a] if a.data_type(input) == Some(list_of(l.item.clone())));
            ok(list, "what is unfolded is no list of its elements")?;
        }
    }
    Ok(())
}

pub(super) fn describe(keep: &[usize], lists: &[RowsOf], outer: bool) -> String {
    let list = |l: &RowsOf| {
        let args: Vec<String> = l.args.iter().map(text).collect();
        l.func.as_ref().map_or_else(|| args.join(", "), |f| format!("{f}({})", args.join(", ")))
    };
    let kept: Vec<String> = keep.iter().map(|c| format!("${c}")).collect();
    let lists: Vec<String> = lists.iter().map(list).collect();
    format!("FlatMap{} keep=[{}] lists=[{}]", if outer { " outer" } else { "" }, kept.join(", "), lists.join(", "))
}
