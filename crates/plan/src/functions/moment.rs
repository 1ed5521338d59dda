//! `now()`, and `current_timestamp`, `transaction_timestamp()` by other names: the moment at which the transaction began, as PostgreSQL's
//! timestamptz (microseconds). DataFusion's own has nanoseconds, which is no type here. `statement_timestamp()` is that of the statement.
//!
//! They are literals in every plan that runs: who plans says that it runs (`SessionState::mark_start_execution`), and the session which
//! transaction it is of ([`Moment`]); a plan of nobody's transaction has the moment of planning. Views refuse them.
//! `clock_timestamp()` is the moment at which it is called, once for each batch of rows: it reads the clock that it was made with.

use std::sync::Arc;

use std::hash::{Hash, Hasher};

use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use regauge_types::env::Clock;

use crate::local::Moment;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    signature: Signature,
    aliases: Vec<String>,
    /// The statement's moment, not its transaction's.
    of_statement: bool,
}

/// `now()`.
pub(crate) fn now() -> Arc<ScalarUDF> {
    let aliases = vec!["current_timestamp".to_owned(), "transaction_timestamp".to_owned()];
    Arc::new(ScalarUDF::from(Now { signature: Signature::nullary(Volatility::Stable), aliases, of_statement: false }))
}

/// `statement_timestamp()`.
pub(crate) fn statement_timestamp() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Now { signature: Signature::nullary(Volatility::Stable), aliases: vec![], of_statement: true }))
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        if self.of_statement { "statement_timestamp" } else { "now" }
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
        let begun = if self.of_statement { None } else { Moment::here() };
        let us = begun.unwrap_or_else(|| moment.timestamp_micros());
        let literal = ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into()));
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
        let us = i64::try_from(clock.wall_us()).unwrap_or(i64::MAX);
        let moments = TimestampMicrosecondArray::from_value(us, args.number_rows).with_timezone("UTC");
        Ok(ColumnarValue::Array(Arc::new(moments)))
    }
}
