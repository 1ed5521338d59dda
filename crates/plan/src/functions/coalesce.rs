//! COALESCE as DataFusion computes it, of the types that PostgreSQL gives it: a literal whose type is open takes the others', which
//! DataFusion would refuse (`coalesce(at, '2024-01-01')`).
//!
//! While a query is bound its type is found here; the rule [`super::semantics`] writes the casts.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::functions::core::coalesce::CoalesceFunc;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use super::bind::{common_all, is_unknown};

#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Coalesce(CoalesceFunc);

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::new_from_impl(Coalesce::default())
}

/// What all have in common; texts count where there is nothing else, since they may be literals.
fn type_of<'a>(types: impl Iterator<Item = &'a DataType> + Clone) -> DfResult<DataType> {
    let known: Vec<&DataType> = types.clone().filter(|ty| !is_unknown(ty)).collect();
    if known.is_empty() {
        return Ok(types.into_iter().find(|ty| **ty != DataType::Null).cloned().unwrap_or(DataType::Null));
    }
    if let [first, rest @ ..] = known.as_slice()
        && rest.iter().all(|ty| ty == first)
    {
        return Ok((*first).clone());
    }
    common_all(known, "COALESCE").map_err(DataFusionError::from)
}

impl ScalarUDFImpl for Coalesce {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn signature(&self) -> &Signature {
        self.0.signature()
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        type_of(types.iter())
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let nullable = args.arg_fields.iter().all(|f| f.is_nullable());
        let ty = type_of(args.arg_fields.iter().map(|f| f.data_type()))?;
        Ok(Arc::new(Field::new(self.name(), ty, nullable)))
    }
    /// What may be a literal stays as it is: the rule reads it.
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        if types.is_empty() {
            return self.0.coerce_types(types);
        }
        let all = type_of(types.iter())?;
        Ok(types.iter().map(|ty| if is_unknown(ty) { ty.clone() } else { all.clone() }).collect())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        self.0.invoke_with_args(args)
    }
    fn simplify(&self, args: Vec<Expr>, context: &SimplifyContext) -> DfResult<ExprSimplifyResult> {
        self.0.simplify(args, context)
    }
    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.0.conditional_arguments(args)
    }
    fn short_circuits(&self) -> bool {
        self.0.short_circuits()
    }
}
