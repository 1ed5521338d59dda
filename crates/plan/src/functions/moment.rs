//! `now()`, and `current_timestamp`, `transaction_timestamp()` by other names: the moment at which a statement is planned, as PostgreSQL's
//! timestamptz (microseconds). DataFusion's own has nanoseconds, which is no type here.
//!
//! It is a literal in every plan that runs: who plans gives the moment (`SessionState::mark_start_execution`). Views refuse it.
//! `clock_timestamp()` is the moment at which it is called, once for each batch of rows: it reads the clock that it was made with, which
//! counts milliseconds.

use std::sync::Arc;

use std::hash::{Hash, Hasher};

use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use regauge_types::env::Clock;

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

struct ClockTimestamp {
    signature: Signature,
    /// None in a registry that only knows of it: views refuse it before it runs.
    clock: Option<Arc<dyn Clock>>,
}

/// `clock_timestamp()` by this clock.
pub fn clock_timestamp(clock: Option<Arc<dyn Clock>>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ClockTimestamp { signature: Signature::nullary(Volatility::Volatile), clock }))
}

impl std::fmt::Debug for ClockTimestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClockTimestamp")
    }
}

impl PartialEq for ClockTimestamp {
    fn eq(&self, other: &ClockTimestamp) -> bool {
        self.clock.is_some() == other.clock.is_some()
    }
}

impl Eq for ClockTimestamp {}

impl Hash for ClockTimestamp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.clock.is_some().hash(state);
    }
}

impl ScalarUDFImpl for ClockTimestamp {
    fn name(&self) -> &str {
        "clock_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(crate::pgtypes::timestamptz())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(clock) = &self.clock else { return internal_err!("clock_timestamp() was planned without a clock") };
        let us = i64::try_from(clock.wall_ms()).unwrap_or(i64::MAX / 1000).saturating_mul(1000);
        let moments = TimestampMicrosecondArray::from_value(us, args.number_rows).with_timezone("UTC");
        Ok(ColumnarValue::Array(Arc::new(moments)))
    }
}
