//! `gen_random_uuid()`: another value in each row of each run, so no view may call it. The randomness is DataFusion's.

use std::sync::Arc;

use arrow::array::{AsArray, FixedSizeBinaryBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, internal_err};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::error::EvalError;
use crate::pgtypes;

#[derive(Debug, PartialEq, Eq, Hash)]
struct GenRandomUuid {
    signature: Signature,
}

/// `gen_random_uuid()`.
pub(crate) fn gen_random_uuid() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(GenRandomUuid { signature: Signature::nullary(Volatility::Volatile) }))
}

impl ScalarUDFImpl for GenRandomUuid {
    fn name(&self) -> &str {
        "gen_random_uuid"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(pgtypes::uuid())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(texts) = SessionStateDefaults::default_scalar_functions().into_iter().find(|f| f.name() == "uuid") else {
            return internal_err!("no source of random uuids");
        };
        let n = args.number_rows;
        let return_field = Arc::new(Field::new("uuid", DataType::Utf8, false));
        let texts = texts.invoke_with_args(ScalarFunctionArgs { return_field, ..args })?.into_array(n)?;
        let Some(texts) = texts.as_string_opt::<i32>() else { return internal_err!("random uuids are no texts") };
        let mut uuids = FixedSizeBinaryBuilder::with_capacity(n, 16);
        for text in texts.iter().flatten() {
            uuids.append_value(pgtypes::uuid::parse(text)?)?;
        }
        let uuids = uuids.finish();
        if arrow::array::Array::len(&uuids) != n {
            return Err(EvalError::internal("random uuids were lost").into());
        }
        Ok(ColumnarValue::Array(Arc::new(uuids)))
    }
}
