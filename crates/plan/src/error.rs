//! What planning refuses, for three readers: the kind for the caller, SQLSTATE and message for the client, the hint for
//! the person who types the next statement.

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;
use regauge_types::ErrorKind;

use crate::flowplan::{PlanBytesError, ValidationError};
use crate::functions::EvalError;

/// Why a statement was not planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The text is no statement (42601, or 22021 for a NUL).
    #[error("{message}")]
    Syntax {
        /// SQLSTATE.
        sqlstate: &'static str,
        /// What was expected and found.
        message: String,
        /// Where in the text, in characters from 1.
        position: Option<usize>,
        /// What to type instead.
        hint: Option<String>,
    },
    /// A limit on statements (54000, 54001).
    #[error("{what} limit={limit}")]
    TooComplex {
        /// Which limit.
        what: &'static str,
        /// Its value.
        limit: usize,
    },
    /// Understood, and not offered (0A000, RG003).
    #[error("{message}")]
    Unsupported {
        /// SQLSTATE.
        sqlstate: &'static str,
        /// What is not offered.
        message: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// Names, types or constants that do not fit (class 42 or 22).
    #[error("{message}")]
    Invalid {
        /// SQLSTATE.
        sqlstate: &'static str,
        /// What does not fit.
        message: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// A stored plan does not read back.
    #[error(transparent)]
    Bytes(#[from] PlanBytesError),
    /// A broken invariant of ours.
    #[error("planner: {message}")]
    Internal {
        /// What broke.
        message: String,
    },
}

impl PlanError {
    /// Not offered, SQLSTATE 0A000.
    pub fn unsupported(message: impl Into<String>, hint: impl Into<String>) -> PlanError {
        let hint = hint.into();
        let hint = (!hint.is_empty()).then_some(hint);
        PlanError::Unsupported { sqlstate: "0A000", message: message.into(), hint }
    }
    /// A statement that does not fit the catalog or the types.
    pub fn invalid(sqlstate: &'static str, message: impl Into<String>) -> PlanError {
        PlanError::Invalid { sqlstate, message: message.into(), hint: None }
    }
    /// A broken invariant.
    pub fn internal(message: impl Into<String>) -> PlanError {
        PlanError::Internal { message: message.into() }
    }
    /// A syntax error without a position.
    pub fn syntax(message: impl Into<String>) -> PlanError {
        PlanError::Syntax { sqlstate: "42601", message: message.into(), position: None, hint: None }
    }
    /// The same error with this hint.
    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> PlanError {
        if let PlanError::Syntax { hint, .. } | PlanError::Unsupported { hint, .. } | PlanError::Invalid { hint, .. } = &mut self
        {
            *hint = Some(text.into());
        }
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PlanError::Invalid { sqlstate: "42P01" | "42703" | "42883", .. } => ErrorKind::NotFound,
            PlanError::Invalid { sqlstate: "42501", .. } => ErrorKind::Denied,
            PlanError::Syntax { .. } | PlanError::Invalid { .. } => ErrorKind::Invalid,
            PlanError::TooComplex { .. } => ErrorKind::Exhausted,
            PlanError::Unsupported { .. } => ErrorKind::Unsupported,
            PlanError::Bytes(PlanBytesError::Version { .. }) => ErrorKind::Unsupported,
            PlanError::Bytes(_) => ErrorKind::Corrupt,
            PlanError::Internal { .. } => ErrorKind::Internal,
        }
    }
    /// PostgreSQL's code where one fits.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            PlanError::Syntax { sqlstate, .. }
            | PlanError::Unsupported { sqlstate, .. }
            | PlanError::Invalid { sqlstate, .. } => sqlstate,
            PlanError::TooComplex { what, .. } if what.starts_with("statement is too long") => "54000",
            PlanError::TooComplex { .. } => "54001",
            PlanError::Bytes(_) => "RG006",
            PlanError::Internal { .. } => "XX000",
        }
    }
    /// What to type next.
    pub fn hint(&self) -> Option<&str> {
        match self {
            PlanError::Syntax { hint, .. } | PlanError::Unsupported { hint, .. } | PlanError::Invalid { hint, .. } => {
                hint.as_deref()
            }
            PlanError::TooComplex { .. } => Some("split the statement, or put long lists into a table and join with it"),
            PlanError::Bytes(_) | PlanError::Internal { .. } => None,
        }
    }
    /// Where in the statement, in characters from 1.
    pub fn position(&self) -> Option<usize> {
        if let PlanError::Syntax { position, .. } = self { *position } else { None }
    }
}

impl From<ValidationError> for PlanError {
    fn from(e: ValidationError) -> Self {
        match e {
            ValidationError::Node { what: "an expression is too deep", .. } => {
                PlanError::TooComplex { what: "an expression is nested too deeply", limit: crate::flowplan::MAX_SCALAR_DEPTH }
            }
            e => PlanError::internal(e.to_string()),
        }
    }
}

impl From<PlanError> for DataFusionError {
    fn from(e: PlanError) -> Self {
        DataFusionError::External(Box::new(e))
    }
}

/// DataFusion's complaint in PostgreSQL's words. Its variants carry no codes, so a few of its sentences are recognised; what is
/// not is 42000.
impl From<DataFusionError> for PlanError {
    fn from(e: DataFusionError) -> Self {
        match e {
            DataFusionError::External(inner) => match inner.downcast::<PlanError>() {
                Ok(own) => *own,
                Err(other) => match other.downcast::<EvalError>() {
                    Ok(told) => from_eval_error(*told),
                    Err(other) => PlanError::invalid("42000", other.to_string()),
                },
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => PlanError::from(*inner),
            DataFusionError::Shared(inner) => PlanError::from_text(&inner.to_string()),
            DataFusionError::Collection(list) => {
                list.into_iter().next().map_or_else(|| PlanError::internal("no error in a list of errors"), PlanError::from)
            }
            DataFusionError::SchemaError(inner, _) => from_schema_error(&inner),
            DataFusionError::NotImplemented(m) => PlanError::unsupported(first_line(&m), ""),
            DataFusionError::Internal(m) => PlanError::of_fault(&m).unwrap_or_else(|| PlanError::internal(first_line(&m))),
            DataFusionError::Plan(m) => PlanError::from_text(&m),
            other => PlanError::from_text(&other.to_string()),
        }
    }
}

/// What our own rules of types say.
fn from_eval_error(e: EvalError) -> PlanError {
    let types = matches!(e.sqlstate, "42804" | "42883");
    match e.sqlstate {
        "42883" => of_binding(&e.message),
        "XX000" => PlanError::internal(e.message),
        "0A000" => PlanError::unsupported(e.message, ""),
        code => {
            let told = PlanError::invalid(code, e.message);
            if types { told.with_hint("add explicit casts") } else { told }
        }
    }
}

/// What our functions say of their arguments' types. DataFusion leaves the words alone, and loses the code.
fn of_binding(told: &str) -> PlanError {
    let code = match () {
        () if told.contains("must be type boolean") => "42804",
        () if told.ends_with("cannot be matched") && !told.starts_with("NULLIF") && !told.contains("does not exist") => "42804",
        () => "42883",
    };
    let (code, told) = PlanError::of_types(code, told).unwrap_or((code, told.to_owned()));
    PlanError::invalid(code, told).with_hint("add explicit casts")
}

fn from_schema_error(e: &SchemaError) -> PlanError {
    match e {
        SchemaError::AmbiguousReference { field } => {
            PlanError::invalid("42702", format!("column reference \"{}\" is ambiguous", field.name))
                .with_hint("qualify the column with its table's name or alias")
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            PlanError::invalid("42712", format!("table name \"{qualifier}\" specified more than once"))
                .with_hint("give one of them an alias")
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            PlanError::invalid("42701", format!("column \"{name}\" specified more than once"))
                .with_hint("give one of them another name with AS")
        }
        SchemaError::FieldNotFound { field, valid_fields } if is_foreign(field, valid_fields) => {
            let table = field.relation.as_ref().map(ToString::to_string).unwrap_or_default();
            PlanError::invalid("42P01", format!("missing FROM-clause entry for table \"{table}\""))
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let shown = crate::bind::ast::shown_name;
            let of = field.relation.as_ref().map_or(String::new(), |r| format!("{}.", shown(&r.to_string())));
            let e = PlanError::invalid("42703", format!("column \"{of}{}\" does not exist", shown(&field.name)));
            let mut names: Vec<_> = valid_fields.iter().map(|c| shown(&c.name).to_owned()).collect();
            names.truncate(12);
            if names.is_empty() { e } else { e.with_hint(format!("columns here: {}", names.join(", "))) }
        }
    }
}

/// Does a column name a relation that is not there at all?
fn is_foreign(field: &Column, valid: &[Column]) -> bool {
    field.relation.as_ref().is_some_and(|r| !valid.iter().any(|v| v.relation.as_ref().is_some_and(|v| v.table() == r.table())))
}

fn first_line(m: &str) -> String {
    m.split("\n\nbacktrace:").next().unwrap_or(m).lines().next().unwrap_or_default().to_owned()
}

impl PlanError {
    /// What DataFusion's planner says, in PostgreSQL's codes.
    #[must_use]
    pub fn from_planning(m: &str) -> PlanError {
        PlanError::from_text(m)
    }

    /// Code and words for what is said of functions that stand for syntax: nobody has written their names.
    #[must_use]
    pub fn of_types(code: &'static str, told: &str) -> Option<(&'static str, String)> {
        let begins = |names: &[&str]| names.iter().any(|name| told.starts_with(&format!("function {name}")));
        match () {
            () if code != "42883" => None,
            () if begins(&["pg_element(", "pg_slice("]) => {
                Some(("42804", "an array's subscripts are integers, and only arrays have them".to_owned()))
            }
            () if begins(&["pg_any_", "pg_all_"]) || told.starts_with("op ANY/ALL") => {
                Some(("42809", "op ANY/ALL (array) requires array on right side".to_owned()))
            }
            () => None,
        }
    }

    /// What DataFusion says as a fault of its own and is one of the statement.
    #[must_use]
    pub fn of_fault(m: &str) -> Option<PlanError> {
        if m.contains("user-defined coercion failed") && m.contains("External error: ") {
            return Some(PlanError::from_text(m));
        }
        if m.contains("Cannot access field at argument") {
            return Some(PlanError::invalid("42P01", "missing FROM-clause entry: the name before a column's is no relation"));
        }
        let message = "function unnest does not exist for this type";
        m.contains("trying to unnest on invalid data type")
            .then(|| PlanError::invalid("42883", message).with_hint("unnest takes an array"))
    }

    fn from_text(m: &str) -> PlanError {
        let line = first_line(m).trim_start_matches("Error during planning: ").to_owned();
        let low = line.to_lowercase();
        let has = |s: &str| low.contains(s);
        if let Some(at) = line.find("External error: ")
            && (has("no function matches") || has("coercion failed"))
        {
            // DataFusion wraps what our own binding says.
            let told = line[at + "External error: ".len()..].split(" No function matches").next().unwrap_or_default();
            return of_binding(told.trim_end_matches('.'));
        }
        if let Some(told) = told_of_query(&low, &line) {
            return told;
        }
        if has("table not found") || has("no table named") || (has("table ") && has(" not found")) {
            PlanError::invalid("42P01", line)
        } else if has("invalid function") {
            let name = line.split('\'').nth(1).unwrap_or_default();
            PlanError::invalid("42883", format!("function {name} does not exist"))
        } else if has("no function matches") || has("failed to coerce") || has("does not support") && has("function") {
            PlanError::invalid("42883", line).with_hint("add explicit casts")
        } else if has("cannot coerce")
            || has("cannot infer common")
            || has("common argument type")
            || has("type_coercion")
            || has("non-boolean predicate")
        {
            PlanError::invalid("42804", line).with_hint("add explicit casts")
        } else if has("must appear in the group by") || has("in group by") || has("could not be resolved from available columns")
        {
            PlanError::invalid("42803", line).with_hint("add the column to GROUP BY or put it into an aggregate")
        } else if has("aggregate") && has("where") {
            PlanError::invalid("42803", line)
        } else if has("same number of columns") || has("different number of columns") {
            PlanError::invalid("42601", line)
        } else if has("must be >= 0") || has("must be >=0") {
            let code = if has("offset") { "2201X" } else { "2201W" };
            PlanError::invalid(code, "LIMIT and OFFSET must not be negative")
        } else if has("unique expression names") {
            PlanError::invalid("42701", line).with_hint("give one of them another name with AS")
        } else if has("unsupported") || has("not supported") || has("not implemented") {
            PlanError::unsupported(line, "")
        } else {
            PlanError::invalid("42000", line)
        }
    }
}

/// Sentences about the parts of a query that do not fit each other.
fn told_of_query(low: &str, line: &str) -> Option<PlanError> {
    let has = |s: &str| low.contains(s);
    let number = || low.split(|c: char| !c.is_ascii_digit()).find(|s| !s.is_empty()).unwrap_or("0").to_owned();
    Some(if has("cannot find column with position") {
        PlanError::invalid("42P10", format!("GROUP BY position {} is not in select list", number()))
    } else if has("order by index starts") {
        PlanError::invalid("42P10", "ORDER BY position 0 is not in select list")
    } else if has("order by column out of bounds") {
        PlanError::invalid("42P10", format!("ORDER BY position {} is not in select list", number()))
    } else if has("for select distinct, order by") {
        PlanError::invalid("42P10", "for SELECT DISTINCT, ORDER BY expressions must appear in select list")
    } else if has("select distinct on expressions must match") {
        PlanError::invalid("42P10", "SELECT DISTINCT ON expressions must match initial ORDER BY expressions")
    } else if has("given as column alias") {
        PlanError::invalid("42P10", line)
    } else if has("aggregate function calls cannot be nested") {
        PlanError::invalid("42803", "aggregate function calls cannot be nested")
    } else if has("aggregate function calls cannot contain window function calls") {
        PlanError::invalid("42803", "aggregate function calls cannot contain window function calls")
    } else if has("window function calls cannot be nested") {
        PlanError::invalid("42P20", "window function calls cannot be nested")
    } else if has("only return one column") {
        PlanError::invalid("42601", "subquery must return only one column")
    } else if has("inconsistent data length across values") {
        PlanError::invalid("42601", "VALUES lists must all be the same length")
    } else if has("join condition must be boolean") {
        PlanError::invalid("42804", "argument of JOIN/ON must be type boolean").with_hint("compare it: ON a = b")
    } else if has("unary operator 'not' requires a boolean") {
        PlanError::invalid("42804", "argument of NOT must be type boolean").with_hint("compare it: NOT (a = b)")
    } else if has("filter with non-boolean predicate") {
        PlanError::invalid("42804", "argument of WHERE or HAVING must be type boolean").with_hint("compare it: WHERE a <> 0")
    } else if has("inconsistent data type across values") {
        PlanError::invalid("42804", "VALUES types cannot be matched").with_hint("cast them to one type in each column")
    } else if has("unary operator '-' only") || has("unary operator '+' only") {
        PlanError::invalid("42883", "operator does not exist: a sign before what is no number").with_hint("add explicit casts")
    } else if has("unnest() can only be applied") || has("unnest() requires exactly one") {
        PlanError::invalid("42883", "function unnest does not exist for these arguments").with_hint("unnest takes an array")
    } else if has("to grouping function is not in grouping columns") {
        PlanError::invalid("42803", "arguments to GROUPING must be grouping expressions of the associated query level")
    } else if has("invalid qualifier ") {
        let name = line.rsplit(' ').next().unwrap_or_default();
        PlanError::invalid("42P01", format!("missing FROM-clause entry for table \"{name}\""))
    } else if has("is distinct from boolean") || has("is not distinct from boolean") {
        PlanError::invalid("42804", "argument of IS TRUE, IS FALSE and IS UNKNOWN must be type boolean")
            .with_hint("compare it: (a <> 0) IS TRUE")
    } else if has("cannot access field at argument") {
        PlanError::invalid("42P01", "missing FROM-clause entry: the name before a column's is no relation")
    } else if has("common type to coerce") && has("like expression") {
        PlanError::invalid("42883", "operator does not exist: LIKE takes texts").with_hint("add explicit casts")
    } else if has("cast error: cannot cast string") {
        PlanError::invalid("22P02", line.rsplit("Cast error: ").next().unwrap_or_default())
            .with_hint("write the value in the form of the type that is expected")
    } else if has("can't cast to") && has("in insubquery") {
        PlanError::invalid("42883", "operator does not exist: no common type before IN and in its query")
            .with_hint("add explicit casts")
    } else if has("for comparison operation") && low.matches("struct(").count() > 1 {
        PlanError::invalid("42601", "unequal number of entries in row expressions").with_hint("write as many on both sides")
    } else if has("for bitwise operation") || has("for comparison operation") {
        let types = line.rsplit("operation ").next().unwrap_or_default();
        PlanError::invalid("42883", format!("operator does not exist: {types}")).with_hint("add explicit casts")
    } else if has("failed to unify argument types of make_array") {
        PlanError::invalid("42804", "ARRAY types cannot be matched").with_hint("add explicit casts")
    } else if has("expected limit to be") || has("expected offset to be") {
        PlanError::invalid("42804", "argument of LIMIT and OFFSET must be type bigint").with_hint("write a whole number")
    } else if has("select * with no tables") {
        PlanError::invalid("42601", "SELECT * with no tables specified is not valid")
    } else if has("the window ") && has(" is not defined") {
        PlanError::invalid("42704", line)
    } else if has("the window ") && has(" is defined multiple times") {
        PlanError::invalid("42P20", line)
    } else if has("within group is only supported") || has("within group") && has("not an ordered-set") {
        PlanError::invalid("42809", line)
    } else {
        return None;
    })
}
