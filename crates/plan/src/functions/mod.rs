//! PostgreSQL's functions, operators, casts and aggregates, implemented once for batch queries and for views.
//!
//! ```text
//!   SQL ──planner──▶ calls of ours ──semantics──▶ PostgreSQL's types ──▶ optimiser ──guard──▶ batch
//!                                                                            └── lowering ──▶ Scalar ──▶ crate::eval
//! ```
//!
//! [`install`] puts all of it into a DataFusion session; a planner of views asks for the parts. Names are frozen: stored
//! plans call functions by them. Volatile and stable functions are not here.

mod absent;
pub mod aggregates;
pub mod arith;
pub mod bind;
mod branches;
pub mod cast;
pub mod compare;
pub mod error;
pub mod exact_sum;
pub mod extract;
#[cfg(test)]
mod extremes;
pub mod guard;
pub mod math;
mod moment;
pub(crate) mod only_row;
pub(crate) mod over;
pub(crate) mod over_exec;
pub mod planner;
pub mod semantics;
pub mod string_agg;
pub mod temporal;
pub mod text;
pub mod udf;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::execution::SessionStateDefaults;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::planner::{ExprPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::optimizer::{Analyzer, AnalyzerRule};

pub(crate) use absent::is_absent;
pub use cast::{cast_expr, cast_target};
pub use error::{EvalError, EvalResult};
pub use udf::Builtin;

pub(crate) use branches::retyped;

use aggregates::{PgTotal, Total};
use udf::PgFunction;

/// Every scalar function that is ours.
pub static BUILTINS: &[&Builtin] = &[
    &arith::ADD,
    &arith::SUB,
    &arith::MUL,
    &arith::DIV,
    &arith::MOD,
    &arith::NEG,
    &arith::ABS,
    &arith::FLOAT_KEY,
    &temporal::INTERVAL_KEY,
    &extract::EXTRACT,
    &extract::DATE_PART,
    &extract::DATE_TRUNC,
    &math::CEIL,
    &math::FLOOR,
    &math::ROUND,
    &math::TRUNC,
    &math::SQRT,
    &math::CBRT,
    &math::EXP,
    &math::LN,
    &math::LOG10,
    &math::LOG,
    &math::POWER,
    &math::SIGN,
    &math::SIN,
    &math::COS,
    &math::TAN,
    &math::ATAN,
    &math::DEGREES,
    &math::RADIANS,
    &text::LENGTH,
    &text::OCTET_LENGTH,
    &text::ASCII,
    &text::CHR,
    &text::UPPER,
    &text::LOWER,
    &text::INITCAP,
    &text::REVERSE,
    &text::SUBSTR,
    &text::LEFT,
    &text::RIGHT,
    &text::REPEAT,
    &text::BTRIM,
    &text::LTRIM,
    &text::RTRIM,
    &text::REPLACE,
    &text::TRANSLATE,
    &text::STRPOS,
    &text::STARTS_WITH,
    &text::SPLIT_PART,
    &text::LPAD,
    &text::RPAD,
    &text::CONCAT_OP,
    &text::CONCAT,
    &text::CONCAT_WS,
    &compare::GREATEST,
    &compare::LEAST,
    &compare::NULLIF,
    &only_row::ONLY_ROW,
];

/// DataFusion's own functions that are immutable and answer as PostgreSQL's; a view may call these and ours, nothing else.
pub const BORROWED: &[&str] = &["coalesce", "bit_length", "to_hex", "pi"];

/// Aggregates of DataFusion that answer as PostgreSQL's.
pub const BORROWED_AGGREGATES: &[&str] = &["count", "min", "max", "bool_and", "bool_or", "string_agg", "array_agg"];

struct Registry {
    scalars: Vec<Arc<ScalarUDF>>,
    by_name: HashMap<&'static str, (usize, &'static Builtin)>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let scalars = BUILTINS.iter().map(|def| Arc::new(ScalarUDF::new_from_impl(PgFunction::new(def)))).collect();
    let names = |def: &'static Builtin| std::iter::once(def.name).chain(def.aliases.iter().copied());
    let by_name = BUILTINS.iter().enumerate().flat_map(|(i, def)| names(def).map(move |name| (name, (i, *def)))).collect();
    Registry { scalars, by_name }
});

/// All scalar functions for a registry of DataFusion; they go by the names of DataFusion's own, which they replace.
pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    REGISTRY.scalars.clone()
}

/// `sum`, `avg` and `string_agg` for a registry of DataFusion.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let mut all = [Total::Sum, Total::Avg].map(|t| Arc::new(AggregateUDF::new_from_impl(PgTotal::new(t)))).to_vec();
    all.push(Arc::new(AggregateUDF::new_from_impl(string_agg::PgStringAgg::default())));
    all
}

/// The entry of a name or alias (lowercase).
pub fn builtin(name: &str) -> Option<&'static Builtin> {
    REGISTRY.by_name.get(name).map(|(_, def)| *def)
}

/// The DataFusion function of a name or alias: ours, or one of [`BORROWED`].
pub fn scalar(name: &str) -> Option<Arc<ScalarUDF>> {
    if let Some((i, _)) = REGISTRY.by_name.get(name) {
        return Some(Arc::clone(&REGISTRY.scalars[*i]));
    }
    static DEFAULTS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(SessionStateDefaults::default_scalar_functions);
    let borrowed = BORROWED.contains(&name);
    DEFAULTS.iter().find(|f| borrowed && f.name() == name).map(Arc::clone)
}

/// The aggregate of a name: ours, or one of [`BORROWED_AGGREGATES`].
pub fn aggregate(name: &str) -> Option<Arc<AggregateUDF>> {
    static DEFAULTS: LazyLock<Vec<Arc<AggregateUDF>>> = LazyLock::new(|| {
        let mut all = aggregates();
        all.extend(SessionStateDefaults::default_aggregate_functions());
        all
    });
    let ours = name == "sum" || name == "avg";
    let known = ours || BORROWED_AGGREGATES.contains(&name);
    DEFAULTS.iter().find(|f| known && f.name() == name).map(Arc::clone)
}

/// The function as DataFusion's.
pub(crate) fn function(def: &'static Builtin) -> Arc<ScalarUDF> {
    scalar(def.name).unwrap_or_else(|| Arc::new(ScalarUDF::new_from_impl(PgFunction::new(def))))
}

/// Planners of operators and special syntax: ours first, then DataFusion's.
pub fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut all: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(planner::PgExprPlanner)];
    all.extend(SessionStateDefaults::default_expr_planners());
    all
}

/// SQL's type names.
pub fn type_planner() -> Arc<dyn TypePlanner> {
    Arc::new(planner::PgTypePlanner)
}

/// Analyzer rules for views: ours, then DataFusion's own, then what stands on settled types.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> =
        vec![Arc::new(crate::bind::Unnest), Arc::new(semantics::PgSemantics)];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(absent::AbsentRows));
    rules
}

/// Analyzer rules for DataFusion's executor, which knows no INTERSECT and EXCEPT of ours.
pub fn batch_analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = analyzer_rules();
    rules.insert(2, Arc::new(crate::bind::setop::SpellOut));
    rules
}

/// Puts functions, planners, rules and guards into a session for batch queries. The session's configuration must parse
/// decimals as decimals (`datafusion.sql_parser.parse_float_as_decimal`) and strings as Utf8
/// (`datafusion.sql_parser.map_string_types_to_utf8view = false`), which this sets, too.
pub fn install(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let config = builder.config().get_or_insert_default();
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    builder.scalar_functions().get_or_insert_default().extend(scalars());
    builder.scalar_functions().get_or_insert_default().push(moment::now());
    builder.aggregate_functions().get_or_insert_default().extend(aggregates());
    builder.window_functions().get_or_insert_default().extend(over::functions().into_iter().map(Arc::new));
    builder
        .with_expr_planners(expr_planners())
        .with_type_planner(type_planner())
        .with_analyzer_rules(batch_analyzer_rules())
        .with_optimizer_rules(crate::bind::equijoin::optimizer_rules())
        .with_query_planner(Arc::new(guard::GuardedQueryPlanner))
}
