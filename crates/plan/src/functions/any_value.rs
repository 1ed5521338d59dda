//! `any_value(x)`: of a group's values that are not NULL the least, so that every run and every view agrees. For booleans that is
//! their AND, by which views keep it; a plain SELECT compares values.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::min_max::Min;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use super::arith::bind_names;
use super::error::EvalError;
use crate::lower::output_type;

/// The function for DataFusion.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AnyValue {
    signature: Signature,
}

impl AnyValue {
    pub(super) fn new() -> AnyValue {
        AnyValue { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for AnyValue {
    fn name(&self) -> &str {
        "any_value"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        match types {
            [ty] if !ty.is_nested() => Ok(output_type(ty)),
            types => Err(EvalError::undefined(format!("function any_value({}) does not exist", bind_names(types))).into()),
        }
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(vec![self.return_type(types)?])
    }
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let ty = args.return_field.data_type().clone();
        Ok(vec![Arc::new(Field::new(format!("{}[value]", args.name), ty, true))])
    }
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Min::new().accumulator(args)
    }
}
