//! `array_agg` of arrays: one dimension more. DataFusion's own gathers them; what it gathered is judged at the end, and is no array where
//! one of them is NULL, empty or of other dimensions than the rest. Views do not come here: they have an operator of their own.

use std::sync::{Arc, LazyLock};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::array_agg::ArrayAgg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::arith::bind_names;
use super::error::EvalError;
use super::list_more::{UNJOINED_NAME, accumulated};
use super::lists::check_depth;

/// The function of arrays.
#[derive(Debug)]
struct Joined {
    inner: ArrayAgg,
    signature: Signature,
}

impl PartialEq for Joined {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Joined {}
impl std::hash::Hash for Joined {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// It, under `array_agg`'s name.
pub(super) fn of_arrays() -> Arc<AggregateUDF> {
    static OF_ARRAYS: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(Joined { inner: ArrayAgg::default(), signature }))
    });
    Arc::clone(&OF_ARRAYS)
}

/// Whether what is gathered is a list of anything, not an array.
pub(super) fn is_free(args: &[Expr]) -> bool {
    matches!(args, [Expr::ScalarFunction(f)] if f.name() == UNJOINED_NAME)
}

impl AggregateUDFImpl for Joined {
    fn name(&self) -> &str {
        "array_agg"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        match types {
            [_] => Ok(types.to_vec()),
            _ => Err(EvalError::undefined(format!("function array_agg({}) does not exist", bind_names(types))).into()),
        }
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(check_depth(self.inner.return_type(types)?)?)
    }
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        Ok(Box::new(Judged(self.inner.accumulator(args)?)))
    }
}

#[derive(Debug)]
struct Judged(Box<dyn Accumulator>);

impl Accumulator for Judged {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.0.update_batch(values)
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let value = self.0.evaluate()?;
        if let ScalarValue::List(list) = &value {
            let list: ArrayRef = Arc::<arrow::array::ListArray>::clone(list);
            accumulated(&list)?;
        }
        Ok(value)
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.0.size()
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.0.state()
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.0.merge_batch(states)
    }
}

#[cfg(test)]
mod tests {
    use super::of_arrays;
    use arrow::datatypes::DataType;
    use regauge_types::arrays::{DIMS_MAX, nest};

    #[test]
    fn what_it_gives_has_one_dimension_more_up_to_the_most() {
        let of = |depth| of_arrays().return_type(&[nest(DataType::Int32, depth)]);
        assert_eq!(of(1).unwrap(), nest(DataType::Int32, 2));
        assert!(of(DIMS_MAX).is_err());
    }
}
