//! `row_number()` with PostgreSQL's result type: bigint, where DataFusion's is unsigned.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use datafusion::scalar::ScalarValue;

/// The function.
pub(crate) fn udwf() -> WindowUDF {
    WindowUDF::new_from_impl(RowNumber { signature: Signature::nullary(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowNumber {
    signature: Signature,
}

impl WindowUDFImpl for RowNumber {
    fn name(&self) -> &str {
        "row_number"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> DfResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Count(0)))
    }
    fn field(&self, args: WindowUDFFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Int64, true)))
    }
}

#[derive(Debug)]
struct Count(i64);

impl PartitionEvaluator for Count {
    fn is_causal(&self) -> bool {
        true
    }
    fn evaluate_all(&mut self, _: &[ArrayRef], num_rows: usize) -> DfResult<ArrayRef> {
        Ok(Arc::new(Int64Array::from_iter_values((1i64..).take(num_rows))))
    }
    fn evaluate(&mut self, _: &[ArrayRef], _: &Range<usize>) -> DfResult<ScalarValue> {
        self.0 += 1;
        Ok(ScalarValue::Int64(Some(self.0)))
    }
    fn supports_bounded_execution(&self) -> bool {
        true
    }
}
