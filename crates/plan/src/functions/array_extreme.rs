//! `min` and `max` of arrays of several dimensions in plain SELECT, where DataFusion compares none. They go by the keys that all else goes
//! by ([`regauge_types::key`]), so the order is PostgreSQL's: elements first, then dimensions. Views have an operator of their own.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::arith::bind_names;
use super::error::EvalError;

/// The function, under the name of the one that it stands for.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    is_max: bool,
    signature: Signature,
}

/// `min`, or `max`, of such arrays.
pub(super) fn of_arrays(is_max: bool) -> Arc<AggregateUDF> {
    fn made(is_max: bool) -> Arc<AggregateUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::new_from_impl(Extreme { is_max, signature }))
    }
    static BOTH: LazyLock<[Arc<AggregateUDF>; 2]> = LazyLock::new(|| [made(false), made(true)]);
    Arc::clone(&BOTH[usize::from(is_max)])
}

impl AggregateUDFImpl for Extreme {
    fn name(&self) -> &str {
        if self.is_max { "max" } else { "min" }
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        match types {
            [_] => Ok(types.to_vec()),
            _ => Err(EvalError::undefined(format!("function {}({}) does not exist", self.name(), bind_names(types))).into()),
        }
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        types.first().cloned().ok_or_else(|| EvalError::undefined("an aggregate takes one argument").into())
    }
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let ty = args.input_fields.first().map_or(DataType::Null, |f| f.data_type().clone());
        Ok(vec![Arc::new(Field::new(format!("{}[{}]", args.name, self.name()), ty, true))])
    }
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let none = ScalarValue::try_from(args.return_field.data_type())?;
        Ok(Box::new(Best { is_max: self.is_max, key: vec![], value: none }))
    }
}

/// The best value so far and its key; NULL before there is one.
#[derive(Debug)]
struct Best {
    is_max: bool,
    key: Vec<u8>,
    value: ScalarValue,
}

impl Accumulator for Best {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let column = values.first().ok_or_else(|| EvalError::internal("an aggregate takes one argument"))?;
        let keys = regauge_types::key::encode(std::slice::from_ref(column), column.len());
        let keys = keys.map_err(|e| EvalError::new("0A000", e.to_string()))?;
        let mut best: Option<usize> = None;
        for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
            let so_far = match best {
                Some(best) => keys.get(best),
                None if self.value.is_null() => {
                    best = Some(row);
                    continue;
                }
                None => &self.key,
            };
            let is_better = if self.is_max { keys.get(row) > so_far } else { keys.get(row) < so_far };
            best = if is_better { Some(row) } else { best };
        }
        if let Some(row) = best {
            self.key = keys.get(row).to_vec();
            self.value = ScalarValue::try_from_array(column, row)?;
        }
        Ok(())
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.value.clone())
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.key.capacity() + self.value.size()
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![self.value.clone()])
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.update_batch(states)
    }
}
