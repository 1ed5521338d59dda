//! `string_agg` that gives text. DataFusion's gives its large text, which no SQL type stands for; the work is left to it and the
//! result is taken over at the end.
//!
//! The rule [`super::semantics`] makes the order total. The delimiter must be a constant in a plain query; it does not know views,
//! which have an operator of their own.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::string_agg::StringAgg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature};
use datafusion::scalar::ScalarValue;

use super::error::EvalError;

/// The function for DataFusion.
#[derive(Debug, Default)]
pub struct PgStringAgg {
    inner: StringAgg,
}

impl PartialEq for PgStringAgg {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for PgStringAgg {}
impl Hash for PgStringAgg {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

/// What DataFusion's own function calls its result.
fn inner_field(name: &str) -> FieldRef {
    Arc::new(Field::new(name, DataType::LargeUtf8, true))
}

impl AggregateUDFImpl for PgStringAgg {
    fn name(&self) -> &str {
        "string_agg"
    }
    fn signature(&self) -> &Signature {
        self.inner.signature()
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        self.inner.state_fields(StateFieldsArgs { return_field: inner_field(args.name), ..args })
    }
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let inner = self.inner.accumulator(AccumulatorArgs { return_field: inner_field(args.name), ..args })?;
        Ok(Box::new(Text(inner)))
    }
}

#[derive(Debug)]
struct Text(Box<dyn Accumulator>);

impl Accumulator for Text {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.0.update_batch(values)
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(match self.0.evaluate()? {
            ScalarValue::LargeUtf8(Some(text)) if i32::try_from(text.len()).is_err() => {
                return Err(EvalError::new("54000", "string_agg: a text exceeds 2 GiB").into());
            }
            ScalarValue::LargeUtf8(text) => ScalarValue::Utf8(text),
            other => other,
        })
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
