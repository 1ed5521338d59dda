//! `array_agg` of arrays: one dimension more. DataFusion's own gathers them; what it gathered is judged at the end, and is no array where
//! one of them is NULL, empty or of other dimensions than the rest. Views do not come here: they have an operator of their own.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::array_agg::ArrayAgg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};
use datafusion::scalar::ScalarValue;
use regauge_types::key::{KeyOrder, encode_ordered};

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
        // different values are ordered by themselves, which DataFusion does not know of arrays
        let order = args.order_bys.first().filter(|_| args.is_distinct);
        let order =
            order.map(|s| KeyOrder { descending: s.options.descending, nulls_first: s.options.nulls_first, exact: false });
        Ok(Box::new(Judged { inner: self.inner.accumulator(args)?, order }))
    }
}

#[derive(Debug)]
struct Judged {
    inner: Box<dyn Accumulator>,
    /// Of different values.
    order: Option<KeyOrder>,
}

/// A list's arrays in an order.
fn sorted(list: &ListArray, order: KeyOrder) -> DfResult<ListArray> {
    let (field, offsets, items, nulls) = list.clone().into_parts();
    let keys = encode_ordered(std::slice::from_ref(&items), &[order], items.len());
    let keys = keys.map_err(|e| EvalError::new("0A000", e.to_string()))?;
    let mut places: Vec<usize> = (0..items.len()).collect();
    places.sort_by(|a, b| keys.get(*a).cmp(keys.get(*b)));
    let places = places.into_iter().map(|at| u32::try_from(at).unwrap_or(u32::MAX)).collect::<UInt32Array>();
    let items = arrow::compute::take(&items, &places, None)?;
    Ok(ListArray::try_new(field, offsets, items, nulls)?)
}

impl Accumulator for Judged {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.inner.update_batch(values)
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let ScalarValue::List(list) = self.inner.evaluate()? else {
            return Err(EvalError::internal("array_agg of what is no list").into());
        };
        let list = match self.order {
            Some(order) if list.is_valid(0) => Arc::new(sorted(&list, order)?),
            _ => list,
        };
        let judged: ArrayRef = Arc::<ListArray>::clone(&list);
        accumulated(&judged)?;
        Ok(ScalarValue::List(list))
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.inner.size()
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.inner.state()
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.inner.merge_batch(states)
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
