//! What a floor above adds for statements that ask about the instance itself: functions and syntax of `pg_catalog`, which know
//! relations, settings and the session.
//!
//! Invariant: a statement that the dialect does not claim is planned as if there were none. The floor above knows syntax and
//! arrays; that a function is DataFusion's is known here only.

use super::names::Scope;
use crate::error::Result;
use arrow::{
    array::ArrayRef,
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{DataFusionError, Result as DfResult, ScalarValue},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
    },
    sql::sqlparser::ast,
};
use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Functions and syntax of system statements.
pub trait SystemDialect: Send + Sync {
    /// Whether the query asks about the instance; if so it is rewritten into what can be planned. Rewriting twice changes
    /// nothing more.
    fn rewrite(&self, query: &mut ast::Query, scope: &Scope) -> Result<bool>;

    /// Functions that only such a query has. They take the place of others of their names.
    fn functions(&self, scope: &Scope) -> Vec<Arc<dyn SystemFunction>>;

    /// The function that stands for `ARRAY(SELECT ..)`: its argument is the subquery.
    fn array_of_rows(&self) -> &'static str;
}

/// A function of any number of arguments, of any types. It is stable: it answers by what its statement sees.
pub trait SystemFunction: Send + Sync {
    /// By which it is called.
    fn name(&self) -> &str;

    /// The type of its result.
    fn returns(&self, args: &[DataType]) -> DataType;

    /// One value of type `ty`, which is what [`SystemFunction::returns`] said, for each of the `rows`.
    fn call(&self, args: &[ArrayRef], rows: usize, ty: &DataType) -> Result<ArrayRef>;
}

/// The function as the planner wants it.
pub(super) fn planned(function: Arc<dyn SystemFunction>) -> Arc<ScalarUDF> {
    let kinds = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
    let signature = Signature::one_of(kinds, Volatility::Stable);
    Arc::new(ScalarUDF::new_from_impl(Planned { function, signature }))
}

struct Planned {
    function: Arc<dyn SystemFunction>,
    signature: Signature,
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planned").field("function", &self.function.name()).finish_non_exhaustive()
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Planned) -> bool {
        Arc::ptr_eq(&self.function, &other.function)
    }
}

impl Eq for Planned {}

impl Hash for Planned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name().hash(state);
    }
}

impl ScalarUDFImpl for Planned {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        Ok(self.function.returns(args))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.function.name(), self.function.returns(&types), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|a| a.to_array(rows)).collect::<DfResult<Vec<ArrayRef>>>()?;
        let ty = args.return_field.data_type();
        let out = self.function.call(&columns, rows, ty).map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(if constant { ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?) } else { ColumnarValue::Array(out) })
    }
}
