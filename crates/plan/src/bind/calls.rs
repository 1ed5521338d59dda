//! What stands around a call's arguments, judged by the kind of the function before anything is bound: DataFusion takes FILTER, DISTINCT and
//! the others where they mean nothing, and leaves them out.
//!
//! | function | `*` | DISTINCT, ORDER BY, FILTER | WITHIN GROUP | OVER |
//! |---|---|---|---|---|
//! | of a row (`abs`) | 42883; 42809 where it may have no argument | 42809 | 42883 | 42809 |
//! | of the grammar (`coalesce`) | 42601 | 42601 | 42601 | 42601 |
//! | of a window (`lag`) | as it is | elsewhere | 42809, but for ranks of a row that is given | wanted: 42809 |
//! | of an ordered set (`mode`) | | 42601, FILTER as it is | wanted, one order: 42883 | 0A000 |
//! | aggregate | 42883, but for `count` | as they are | 42883; 42809 if its arguments were as many | as it is |
//!
//! `f(DISTINCT *)` is 42601 for all. A function that is not known here stays, so what a user has made is not judged.

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
};

use super::series;
use crate::error::PlanError;
use crate::flowplan::Spread;
use crate::functions;

/// What kind of function a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    OfRow,
    OfGrammar,
    OfWindow,
    OrderedSet,
    /// How many arguments it takes.
    Aggregate(usize),
}

/// Functions that PostgreSQL's grammar knows by itself.
const OF_GRAMMAR: [&str; 5] = ["coalesce", "nullif", "greatest", "least", "grouping"];
/// Those that say where a row would stand: WITHIN GROUP.
pub(super) const RANKS: [&str; 4] = ["rank", "dense_rank", "percent_rank", "cume_dist"];
const ORDERED_SETS: [&str; 3] = ["percentile_cont", "percentile_disc", "mode"];
/// Functions of a row that may have no argument.
const WITHOUT_ARGUMENTS: [&str; 8] = [
    "now",
    "pi",
    "random",
    "gen_random_uuid",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "make_interval",
];

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        name if OF_GRAMMAR.contains(&name) => Kind::OfGrammar,
        name if functions::is_window(name) => Kind::OfWindow,
        name if ORDERED_SETS.contains(&name) => Kind::OrderedSet,
        "string_agg" | "json_object_agg" | "jsonb_object_agg" => Kind::Aggregate(2),
        "json_agg" | "jsonb_agg" | "every" => Kind::Aggregate(1),
        name if functions::is_aggregate(name) => Kind::Aggregate(Spread::of(name).map_or(1, Spread::n_args)),
        name if WITHOUT_ARGUMENTS.contains(&name) || functions::builtin(name).is_some() => Kind::OfRow,
        _ => return None,
    })
}

/// Whether SQL's `name` (lowercase) is an aggregate, those that are spelt by others among them.
pub(super) fn is_aggregate(name: &str) -> bool {
    matches!(kind(name), Some(Kind::Aggregate(_) | Kind::OrderedSet))
}

/// Whether SQL's `name` (lowercase) gives one value for one row.
pub(super) fn is_of_row(name: &str) -> bool {
    matches!(kind(name), Some(Kind::OfRow | Kind::OfGrammar))
}

/// Refuses a call with parts that its function does not take; see the module's header.
///
/// # Errors
/// 42601, 42809, 42883, 0A000.
pub(super) fn check(f: &Function) -> Result<(), PlanError> {
    let Some(name) = series::function_name(&f.name) else { return Ok(()) };
    let call = Call::of(f);
    if call.star && (call.treatment || call.ordered) {
        let at = if call.treatment { "*" } else { "ORDER" };
        return Err(PlanError::syntax(format!("syntax error at or near \"{at}\"")).with_hint("count(*) counts all rows"));
    }
    // functions that give rows are in no list of those of a row
    match kind(&name).or_else(|| series::is_set_returning(&f.name).then_some(Kind::OfRow)) {
        Some(Kind::OfRow) => of_row(&name, f, &call),
        Some(Kind::OfGrammar) => of_grammar(&name, f, &call),
        Some(Kind::OfWindow) => of_window(&name, f, &call),
        Some(Kind::OrderedSet) => ordered_set(&name, f, &call),
        Some(Kind::Aggregate(n_args)) => aggregate(&name, n_args, f, &call),
        None => Ok(()),
    }
}

/// What stands within the brackets of a call.
struct Call {
    n_args: usize,
    star: bool,
    distinct: bool,
    /// DISTINCT or ALL.
    treatment: bool,
    ordered: bool,
}

impl Call {
    fn of(f: &Function) -> Call {
        let FunctionArguments::List(list) = &f.args else {
            return Call { n_args: 0, star: false, distinct: false, treatment: false, ordered: false };
        };
        let is_star = |arg: &FunctionArg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
        let star = list.args.iter().any(is_star);
        Call {
            n_args: if star { 0 } else { list.args.len() },
            star,
            distinct: list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
            treatment: list.duplicate_treatment.is_some(),
            ordered: list.clauses.iter().any(|c| matches!(c, FunctionArgumentClause::OrderBy(_))),
        }
    }
}

fn of_row(name: &str, f: &Function, call: &Call) -> Result<(), PlanError> {
    let wrong = |what: &str| {
        let error = PlanError::invalid("42809", format!("{what} specified, but {name} is not an aggregate function"));
        Err(error.with_hint("only aggregates look at more than one row; call it with plain arguments"))
    };
    match () {
        () if !f.within_group.is_empty() => Err(undefined(name, "WITHIN GROUP")),
        () if call.star && !WITHOUT_ARGUMENTS.contains(&name) => Err(undefined(name, "*")),
        () if call.star => wrong(&format!("{name}(*)")),
        () if call.distinct => wrong("DISTINCT"),
        () if call.ordered => wrong("ORDER BY"),
        () if f.filter.is_some() => wrong("FILTER"),
        () if f.over.is_some() => {
            let message = format!("OVER specified, but {name} is not a window function nor an aggregate function");
            Err(PlanError::invalid("42809", message).with_hint("leave OVER out; docs/functions.md lists what has windows"))
        }
        () => Ok(()),
    }
}

fn of_grammar(name: &str, f: &Function, call: &Call) -> Result<(), PlanError> {
    let near = match () {
        () if call.n_args == 0 && !call.star => ")",
        () if name == "nullif" && call.n_args == 1 => ")",
        () if name == "nullif" && call.n_args > 2 => ",",
        () if call.star => "*",
        () if call.treatment => "DISTINCT",
        () if call.ordered => "ORDER",
        () if !f.within_group.is_empty() => "WITHIN",
        () if f.filter.is_some() => "FILTER",
        () if f.over.is_some() => "OVER",
        () => return Ok(()),
    };
    Err(PlanError::syntax(format!("syntax error at or near \"{near}\"")))
}

fn of_window(name: &str, f: &Function, call: &Call) -> Result<(), PlanError> {
    let ranks = RANKS.contains(&name);
    match (f.within_group.is_empty(), f.over.is_some()) {
        (false, _) if ranks && call.distinct => Err(PlanError::syntax("cannot use DISTINCT with WITHIN GROUP")),
        (false, _) if ranks && call.ordered => Err(PlanError::syntax("cannot use multiple ORDER BY clauses with WITHIN GROUP")),
        (false, true) if ranks => Err(no_over(name)),
        (false, _) if !ranks => Err(PlanError::invalid("42809", format!("window function {name} cannot have WITHIN GROUP"))),
        (true, true) if ranks && call.n_args > 0 => {
            Err(PlanError::invalid("42809", format!("WITHIN GROUP is required for ordered-set aggregate {name}")))
        }
        // without a window they are elements of an ordered list here
        (true, false) if !matches!(name, "first_value" | "last_value") => {
            let error = PlanError::invalid("42809", format!("window function {name} requires an OVER clause"));
            Err(error.with_hint(format!("{name}(..) OVER (ORDER BY ..)")))
        }
        _ => Ok(()),
    }
}

fn ordered_set(name: &str, f: &Function, call: &Call) -> Result<(), PlanError> {
    match () {
        () if f.within_group.is_empty() => Ok(()),
        () if call.distinct => Err(PlanError::syntax("cannot use DISTINCT with WITHIN GROUP")),
        () if call.ordered => Err(PlanError::syntax("cannot use multiple ORDER BY clauses with WITHIN GROUP")),
        () if f.within_group.len() > 1 => {
            let message = format!("function {name} does not exist over {} orders", f.within_group.len());
            Err(PlanError::invalid("42883", message).with_hint("WITHIN GROUP (ORDER BY x) takes one expression"))
        }
        () if f.over.is_some() => Err(no_over(name)),
        () => Ok(()),
    }
}

fn aggregate(name: &str, n_args: usize, f: &Function, call: &Call) -> Result<(), PlanError> {
    match () {
        () if !f.within_group.is_empty() && call.n_args + f.within_group.len() == n_args => {
            let message = format!("{name} is not an ordered-set aggregate, so it cannot have WITHIN GROUP");
            Err(PlanError::invalid("42809", message).with_hint(format!("{name}(.. ORDER BY ..)")))
        }
        () if !f.within_group.is_empty() => Err(undefined(name, "WITHIN GROUP")),
        () if call.star && name != "count" => Err(undefined(name, "*")),
        () if name != "count" || call.star => Ok(()),
        () if call.n_args == 0 => {
            Err(PlanError::invalid("42809", "count(*) must be used to call a parameterless aggregate function"))
        }
        () if call.n_args > 1 && !call.distinct => {
            let error = PlanError::invalid("42883", format!("function count does not exist for {} arguments", call.n_args));
            Err(error.with_hint("count(DISTINCT a, b) counts pairs; count(*) FILTER (WHERE a IS NOT NULL AND b IS NOT NULL)"))
        }
        () => Ok(()),
    }
}

fn undefined(name: &str, with: &str) -> PlanError {
    PlanError::invalid("42883", format!("function {name} does not exist with {with}"))
}

fn no_over(name: &str) -> PlanError {
    let message = format!("OVER is not supported for ordered-set aggregate {name}");
    PlanError::unsupported(message, "aggregate in a subquery with GROUP BY, and join with it")
}
