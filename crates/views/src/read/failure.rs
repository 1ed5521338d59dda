//! What went wrong while planning or running a query, as an [`Error`] with PostgreSQL's code.
//!
//! The innermost error speaks: contexts, shared and collected errors are opened until one is found that is ours, Arrow's or a
//! name that was not found.

use crate::error::{Error, sqlstate as code};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use regauge_plan::{PlanError, functions::EvalError};
use regauge_types::ErrorKind;

impl Error {
    /// Translates what DataFusion says.
    #[allow(clippy::needless_pass_by_value, reason = "goes to map_err")]
    #[must_use]
    pub fn from_datafusion(error: DataFusionError) -> Error {
        translate(&error)
    }

    /// What PostgreSQL says of a value that does not exist, or of operands that no operator takes.
    #[must_use]
    pub fn from_eval(error: &EvalError) -> Error {
        let kind = match error.sqlstate {
            code::FEATURE_NOT_SUPPORTED => ErrorKind::Unsupported,
            code::INTERNAL => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        };
        if let Some((code, told)) = PlanError::of_types(error.sqlstate, &error.message) {
            return Error::new(kind, code, told).hint("add explicit casts");
        }
        let told = Error::new(kind, error.sqlstate, error.message.clone());
        match regauge_plan::wasm::hint(error).or_else(|| regauge_plan::host::hint(error)) {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }
}

fn translate(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translate(inner),
        DataFusionError::Shared(inner) => translate(inner),
        DataFusionError::Collection(all) => all.first().map_or_else(|| Error::internal("empty error"), translate),
        DataFusionError::External(inner) => external(inner.as_ref()),
        DataFusionError::ArrowError(inner, _) => arrow(inner),
        DataFusionError::SQL(inner, _) => Error::invalid(code::SYNTAX, inner.to_string()),
        DataFusionError::NotImplemented(what) => Error::unsupported(what.clone()),
        DataFusionError::ResourcesExhausted(what) => Error::new(ErrorKind::Exhausted, code::OUT_OF_MEMORY, what.clone())
            .hint("ask for less at once, or raise the limit on memory per query"),
        DataFusionError::SchemaError(inner, _) => schema(inner),
        DataFusionError::Plan(what) => PlanError::from_planning(what).into(),
        DataFusionError::Execution(what) | DataFusionError::Internal(what) if PlanError::of_fault(what).is_some() => {
            PlanError::of_fault(what).map_or_else(|| Error::internal(what.clone()), Error::from)
        }
        DataFusionError::Execution(what) => execution(what),
        other => Error::internal(other.to_string()),
    }
}

fn external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.clone();
    }
    if let Some(value) = error.downcast_ref::<EvalError>() {
        return Error::from_eval(value);
    }
    if let Some(plan) = error.downcast_ref::<PlanError>() {
        return plan.clone().into();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return translate(inner);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return arrow(inner);
    }
    if let Some(log) = error.downcast_ref::<regauge_log::LogError>() {
        return Error::from_log_ref(log);
    }
    Error::internal(error.to_string())
}

fn arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => Error::invalid(code::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(what) => Error::invalid(code::NUMERIC_OUT_OF_RANGE, what.clone()),
        ArrowError::CastError(what) | ArrowError::ParseError(what) => Error::invalid(code::INVALID_TEXT, what.clone()),
        ArrowError::ExternalError(inner) => external(inner.as_ref()),
        ArrowError::NotYetImplemented(what) => Error::unsupported(what.clone()),
        other => execution(&other.to_string()),
    }
}

fn schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let there = |r: &str| valid_fields.iter().any(|v| v.relation.as_ref().is_some_and(|v| v.table() == r));
            if let Some(foreign) = field.relation.as_ref().filter(|r| !there(r.table())) {
                let message = format!("missing FROM-clause entry for table \"{foreign}\"");
                return Error::new(ErrorKind::NotFound, code::UNDEFINED_TABLE, message);
            }
            let error =
                Error::new(ErrorKind::NotFound, code::UNDEFINED_COLUMN, format!("column \"{}\" does not exist", field.name()));
            let names: Vec<String> = valid_fields.iter().take(20).map(|f| f.name().to_owned()).collect();
            if names.is_empty() { error } else { error.hint(format!("columns here are {}", names.join(", "))) }
        }
        SchemaError::AmbiguousReference { field } => {
            Error::invalid("42702", format!("column reference \"{}\" is ambiguous", field.name()))
                .hint("write the relation before it")
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            Error::invalid("42712", format!("table name \"{qualifier}\" specified more than once"))
                .hint("give one of them an alias")
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Error::invalid(code::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"))
        }
    }
}

/// Kernels and functions say only text.
fn execution(what: &str) -> Error {
    let lower = what.to_lowercase();
    let sqlstate = if lower.contains("divide by zero") || lower.contains("division by zero") {
        code::DIVISION_BY_ZERO
    } else if lower.contains("overflow") || lower.contains("out of range") {
        code::NUMERIC_OUT_OF_RANGE
    } else if lower.contains("cast") || lower.contains("parse") || lower.contains("invalid input") {
        code::INVALID_TEXT
    } else if lower.contains("more than one row") {
        code::CARDINALITY
    } else {
        return Error::internal(what.to_owned());
    };
    Error::invalid(sqlstate, what.to_owned())
}
