//! `nextval`, `currval`, `lastval` and `setval` as functions of one statement: they know its names and its session.
//!
//! A sequence is named by text, as `regclass` reads it, or by a number: its oid, or below zero its id, which is what a column's
//! own default says. They are volatile: a plan with one of them is not kept, and each row gets a number of its own.

use crate::{
    catalog::{Catalog, Sequence, Who, rights::Privileges},
    error::{Error, Result},
    read::names::Scope,
    sequences::Mine,
};
use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    common::{DataFusionError, Result as DfResult},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility},
    sql::sqlparser::ast::{self, Visitor},
};
use regauge_plan::walk::Visit;
use std::{
    hash::{Hash, Hasher},
    ops::ControlFlow,
    sync::Arc,
};

const NAMES: [&str; 4] = ["nextval", "currval", "lastval", "setval"];

/// Functions that a query calls, bound to its scope.
pub(crate) fn functions(query: &ast::Query, scope: &Scope) -> Vec<Arc<ScalarUDF>> {
    struct V;
    impl Visitor for V {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            let ast::Expr::Function(f) = e else { return ControlFlow::Continue(()) };
            let name = f.name.0.last().and_then(|p| p.as_ident()).map(|i| i.value.to_lowercase());
            match name {
                Some(name) if NAMES.contains(&name.as_str()) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let Some(mine) = scope.about.sequences.clone().filter(|_| query.visit(&mut V).is_break()) else { return vec![] };
    let kinds = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
    let bound = |name: &'static str| Call {
        name,
        catalog: scope.catalog.clone(),
        search_path: scope.search_path.clone(),
        who: scope.who.clone(),
        mine: mine.clone(),
        signature: Signature::one_of(kinds.clone(), Volatility::Volatile),
    };
    NAMES.into_iter().map(|name| Arc::new(ScalarUDF::new_from_impl(bound(name)))).collect()
}

#[derive(Debug)]
struct Call {
    name: &'static str,
    catalog: Arc<Catalog>,
    search_path: Vec<String>,
    who: Arc<Who>,
    mine: Arc<Mine>,
    signature: Signature,
}

impl PartialEq for Call {
    fn eq(&self, other: &Call) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.mine, &other.mine)
    }
}

impl Eq for Call {}

impl Hash for Call {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        let fits = match self.name {
            "lastval" => args.is_empty(),
            "setval" => matches!(args.len(), 2 | 3),
            _ => args.len() == 1,
        };
        if fits {
            return Ok(DataType::Int64);
        }
        let types: Vec<String> = args.iter().map(crate::catalog::ty::name).collect();
        let message = format!("function {}({}) does not exist", self.name, types.join(", "));
        Err(external(Error::invalid("42883", message).hint("nextval('s'), currval('s'), setval('s', 1), lastval()")))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let n = args.number_rows;
        let columns = args.args.iter().map(|a| a.to_array(n)).collect::<DfResult<Vec<ArrayRef>>>()?;
        let numbers = self.numbers(&columns, n).map_err(external)?;
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl Call {
    fn numbers(&self, args: &[ArrayRef], n: usize) -> Result<Int64Array> {
        let sequences = match args.first() {
            Some(first) => (0..n).map(|row| self.sequence(first, row)).collect::<Result<Vec<_>>>()?,
            None => vec![None; n],
        };
        if let Some(named) = args.first() {
            self.judge(named, &sequences)?;
        }
        if self.name == "nextval"
            && let Some(Some(one)) = sequences.first()
            && sequences.iter().all(|s| *s == Some(*one))
        {
            return Ok(self.mine.next(&self.catalog, *one, n)?.into());
        }
        let mut numbers = Vec::with_capacity(n);
        for (row, sequence) in sequences.into_iter().enumerate() {
            numbers.push(match (self.name, sequence) {
                ("lastval", _) => Some(self.mine.last(&self.catalog)?),
                (_, None) => None,
                ("nextval", Some(id)) => self.mine.next(&self.catalog, id, 1)?.pop(),
                ("currval", Some(id)) => Some(self.mine.current(&self.catalog, id)?),
                (_, Some(id)) => match integer(args.get(1), row)? {
                    None => None,
                    Some(value) => Some(self.mine.set(&self.catalog, id, value, called(args.get(2), row))?),
                },
            });
        }
        Ok(numbers.into())
    }

    /// Each sequence once. A column's own is named by a number below zero: an identity column counts for whoever may insert.
    fn judge(&self, named: &ArrayRef, sequences: &[Option<u32>]) -> Result<()> {
        let one_of = match self.name {
            "nextval" => Privileges::USAGE.with(Privileges::UPDATE),
            "setval" => Privileges::UPDATE,
            _ => Privileges::SELECT.with(Privileges::USAGE),
        };
        let mut last = None;
        for id in sequences.iter().flatten() {
            if last.replace(*id) == Some(*id) {
                continue;
            }
            let Some(sequence) = self.catalog.sequence(*id) else { continue };
            let by_number = named.data_type().is_numeric();
            if !(by_number && self.catalog.is_identity(*id)) {
                self.who.sequence(sequence, one_of)?;
            }
        }
        Ok(())
    }

    fn sequence(&self, of: &ArrayRef, row: usize) -> Result<Option<u32>> {
        if of.is_null(row) {
            return Ok(None);
        }
        let cast = |to: &DataType| arrow::compute::cast(&of.slice(row, 1), to).map_err(Error::arrow);
        if *of.data_type() == DataType::Utf8 {
            let text = cast(&DataType::Utf8)?;
            let text = text.as_string::<i32>().value(0).to_owned();
            let parts = crate::catalog::secret::parts(&text);
            let (schema, name) = match parts.as_slice() {
                [name] => (None, name.as_str()),
                [.., schema, name] => (Some(schema.as_str()), name.as_str()),
                [] => (None, ""),
            };
            let found = self.catalog.resolve_sequence(schema, name, &self.search_path);
            return found.map(|s| Some(s.id)).ok_or_else(|| match self.catalog.resolve(schema, name, &self.search_path) {
                Some(_) => Error::invalid("42809", format!("\"{name}\" is not a sequence")),
                None => Error::no_relation(&text).hint("CREATE SEQUENCE makes one"),
            });
        }
        let number = cast(&DataType::Int64)?;
        let number = number.as_primitive::<Int64Type>().value(0);
        let found = self.catalog.sequences().find(|s| i64::from(s.id) == -number || Sequence::oid_of(s.id) == number);
        found.map(|s| Some(s.id)).ok_or_else(|| Error::no_relation(number))
    }
}

fn integer(column: Option<&ArrayRef>, row: usize) -> Result<Option<i64>> {
    let Some(column) = column.filter(|c| !c.is_null(row)) else { return Ok(None) };
    let value = arrow::compute::cast(&column.slice(row, 1), &DataType::Int64).map_err(Error::arrow)?;
    Ok(Some(value.as_primitive::<Int64Type>().value(0)))
}

fn called(column: Option<&ArrayRef>, row: usize) -> bool {
    column.and_then(|c| c.as_boolean_opt()).is_none_or(|c| c.is_null(row) || c.value(row))
}
