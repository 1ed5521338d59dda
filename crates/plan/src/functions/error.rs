//! The failure of one expression for one row: PostgreSQL's SQLSTATE and message. It travels through DataFusion as
//! [`DataFusionError::External`] and is found again by [`EvalError::from_datafusion`], whatever wrapped it on the way.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// Why a row's value does not exist. Equal causes are equal values, so that errors can be counted with diffs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// Five characters of SQLSTATE.
    pub sqlstate: &'static str,
    /// PostgreSQL's words for it.
    pub message: String,
}

/// Shorthand of kernels.
pub type EvalResult<T> = Result<T, EvalError>;

impl EvalError {
    /// An error of this class.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> EvalError {
        EvalError { sqlstate, message: message.into() }
    }
    /// 22012
    pub fn division_by_zero() -> EvalError {
        EvalError::new("22012", "division by zero")
    }
    /// 22003, `integer out of range` and its kin.
    pub fn out_of_range(what: &str) -> EvalError {
        EvalError::new("22003", format!("{what} out of range"))
    }
    /// 22003 of numeric arithmetic.
    pub fn numeric_overflow() -> EvalError {
        EvalError::new("22003", "value overflows numeric format")
    }
    /// 22P02, text that is no value of the type.
    pub fn invalid_text(ty: &str, text: &str) -> EvalError {
        EvalError::new("22P02", format!("invalid input syntax for type {ty}: \"{text}\""))
    }
    /// 42883, no such operator or function for these types.
    pub fn undefined(what: impl Into<String>) -> EvalError {
        EvalError::new("42883", what)
    }
    /// XX000, a broken promise of our own planner.
    pub fn internal(what: impl Into<String>) -> EvalError {
        EvalError::new("XX000", what)
    }

    /// The cause inside an error of DataFusion; errors of its own functions become 22000.
    pub fn from_datafusion(error: &DataFusionError) -> EvalError {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(e) = cause {
            if let Some(found) = e.downcast_ref::<EvalError>() {
                return found.clone();
            }
            if let Some(DataFusionError::External(inner)) = e.downcast_ref::<DataFusionError>()
                && let Some(found) = inner.downcast_ref::<EvalError>()
            {
                return found.clone();
            }
            if let Some(found) = e.downcast_ref::<ArrowError>().and_then(EvalError::from_arrow) {
                return found;
            }
            cause = e.source();
        }
        EvalError::new("22000", error.strip_backtrace())
    }

    fn from_arrow(error: &ArrowError) -> Option<EvalError> {
        match error {
            ArrowError::DivideByZero => Some(EvalError::division_by_zero()),
            ArrowError::ArithmeticOverflow(_) => Some(EvalError::out_of_range("value")),
            ArrowError::ExternalError(e) => match e.downcast_ref::<DataFusionError>() {
                Some(inner) => Some(EvalError::from_datafusion(inner)),
                None => e.downcast_ref::<EvalError>().cloned(),
            },
            _ => None,
        }
    }
}

impl From<EvalError> for DataFusionError {
    fn from(e: EvalError) -> DataFusionError {
        DataFusionError::External(Box::new(e))
    }
}

impl From<ArrowError> for EvalError {
    fn from(e: ArrowError) -> EvalError {
        EvalError::from_arrow(&e).unwrap_or_else(|| EvalError::new("22000", e.to_string()))
    }
}
