//! `now()`, and `current_timestamp`, `transaction_timestamp()` by other names: the moment at which a statement is planned, as PostgreSQL's
//! timestamptz (microseconds). DataFusion's own has nanoseconds, which is no type here.
//!
//! It is a literal in every plan that runs: who plans gives the moment (`SessionState::mark_start_execution`). Views refuse it.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    signature: Signature,
    aliases: Vec<String>,
}

/// `now()`.
pub(crate) fn now() -> Arc<ScalarUDF> {
    let aliases = vec!["current_timestamp".to_owned(), "transaction_timestamp".to_owned()];
    Arc::new(ScalarUDF::from(Now { signature: Signature::nullary(Volatility::Stable), aliases }))
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        "now"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(crate::pgtypes::timestamptz())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("now() was planned without a moment")
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(moment) = info.query_execution_start_time() else { return Ok(ExprSimplifyResult::Original(args)) };
        let literal = ScalarValue::TimestampMicrosecond(Some(moment.timestamp_micros()), Some("UTC".into()));
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(literal, None)))
    }
}
