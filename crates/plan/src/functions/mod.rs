//! PostgreSQL's functions, operators, casts and aggregates, implemented once for batch queries and for views.
//!
//! ```text
//!   SQL ──planner──▶ calls of ours ──semantics──▶ PostgreSQL's types ──▶ optimiser ──guard──▶ batch
//!                                                                            └── lowering ──▶ Scalar ──▶ crate::eval
//! ```
//!
//! [`install`] puts all of it into a DataFusion session; a planner of views asks for the parts. Names are frozen: stored
//! plans call functions by them. Volatile and stable functions are not here.

mod abbreviations;
mod absent;
pub mod aggregates;
mod any_value;
pub mod arith;
mod array_agg;
pub(crate) mod array_cast;
mod array_extreme;
pub mod assign;
pub mod bind;
pub mod bits;
mod branches;
pub mod bytes;
pub mod cast;
mod coalesce;
pub mod compare;
pub mod contain;
mod digest;
pub(crate) mod equality;
pub mod error;
pub mod exact_sum;
pub mod extract;
#[cfg(test)]
mod extremes;
mod float_orders;
mod forms;
pub mod fractions;
pub mod guard;
mod hash_text;
pub mod json;
pub mod kept;
mod like;
pub mod like_any;
pub mod list_more;
pub mod lists;
pub mod math;
mod moment;
pub mod moments;
mod more;
mod normal;
mod number_template;
pub mod numbers;
mod octets;
pub(crate) mod only_row;
pub mod open;
mod ordered_set;
pub(crate) mod over;
pub(crate) mod over_exec;
mod pattern;
mod periods;
pub mod planner;
pub mod precision;
mod quantified;
pub mod regexp;
pub mod row_limit;
pub(crate) mod row_text;
pub(crate) mod rows;
pub mod semantics;
pub mod series;
mod series_exec;
pub mod set_element;
pub mod set_slice;
pub mod slice;
mod spread;
pub mod string_agg;
pub mod strings;
pub mod template;
pub mod temporal;
pub mod text;
mod twice;
pub mod udf;
pub(crate) mod unistr;
mod uuid;
pub mod zone;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::planner::{ExprPlanner, TypePlanner};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{AggregateUDF, Expr, ExprSchemable, LogicalPlan, ScalarUDF};
use datafusion::optimizer::{Analyzer, AnalyzerRule};

pub(crate) use absent::is_absent;
pub use cast::{cast_expr, cast_target};
pub use error::{EvalError, EvalResult};
pub use udf::Builtin;

pub(crate) use branches::retyped;
pub use moment::clock_timestamp;
pub(crate) use moment::{now, statement_timestamp};
pub(crate) use semantics::is_percentile;
pub(crate) use series_exec::unfold as unfold_series;
pub(crate) use uuid::gen_random_uuid;

use aggregates::{PgTotal, Total};
use udf::PgFunction;

/// Every scalar function that is ours.
pub fn builtins() -> impl Iterator<Item = &'static Builtin> {
    [BUILTINS, json::BUILTINS, more::BUILTINS].into_iter().flatten().copied()
}

/// Those that have no list of their own.
static BUILTINS: &[&Builtin] = &[
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
    &math::EXP,
    &math::LN,
    &math::LOG10,
    &math::LOG,
    &math::POWER,
    &math::SIGN,
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
    &strings::LENGTH,
    &strings::OCTET_LENGTH,
    &strings::BIT_LENGTH,
    &strings::OVERLAY,
    &strings::SUBSTRING,
    &strings::TO_HEX,
    &strings::QUOTE_IDENT,
    &strings::QUOTE_LITERAL,
    &strings::QUOTE_NULLABLE,
    &strings::FORMAT,
    &strings::NUM_NULLS,
    &strings::NUM_NONNULLS,
    &strings::PG_TYPEOF,
    &bytes::MD5,
    &bytes::SHA224,
    &bytes::SHA256,
    &bytes::SHA384,
    &bytes::SHA512,
    &bytes::ENCODE,
    &bytes::DECODE,
    &numbers::CBRT,
    &numbers::SIN,
    &numbers::COS,
    &numbers::TAN,
    &numbers::COT,
    &numbers::ASIN,
    &numbers::ACOS,
    &numbers::ATAN,
    &numbers::ATAN2,
    &numbers::SINH,
    &numbers::COSH,
    &numbers::TANH,
    &numbers::ASINH,
    &numbers::ACOSH,
    &numbers::ATANH,
    &numbers::DEGREES,
    &numbers::RADIANS,
    &numbers::SIND,
    &numbers::COSD,
    &numbers::TAND,
    &numbers::ASIND,
    &numbers::ACOSD,
    &numbers::ATAND,
    &numbers::GCD,
    &numbers::LCM,
    &numbers::DIV,
    &numbers::FACTORIAL,
    &numbers::WIDTH_BUCKET,
    &numbers::MIN_SCALE,
    &zone::TIMEZONE,
    &precision::PRECISE,
    &moments::DATE_BIN,
    &moments::MAKE_DATE,
    &moments::MAKE_TIME,
    &moments::MAKE_TIMESTAMP,
    &moments::MAKE_TIMESTAMPTZ,
    &moments::MAKE_INTERVAL,
    &moments::ISFINITE,
    &moments::JUSTIFY_DAYS,
    &moments::JUSTIFY_HOURS,
    &moments::JUSTIFY_INTERVAL,
    &moments::AGE,
    &template::TO_CHAR,
    &number_template::TO_NUMBER,
    &template::TO_DATE,
    &template::TO_TIMESTAMP,
    &regexp::REGEX_MATCH,
    &regexp::REGEX_IMATCH,
    &regexp::LIKE,
    &regexp::ILIKE,
    &regexp::SIMILAR,
    &regexp::REGEXP_LIKE,
    &regexp::REGEXP_MATCH,
    &regexp::REGEXP_MATCHES,
    &regexp::REGEXP_SPLIT,
    &regexp::REGEXP_REPLACE,
    &regexp::REGEXP_COUNT,
    &regexp::REGEXP_SUBSTR,
    &series::SERIES,
    &lists::ARRAY_LENGTH,
    &lists::ARRAY_UPPER,
    &lists::ARRAY_LOWER,
    &lists::CARDINALITY,
    &lists::ARRAY_NDIMS,
    &lists::ELEMENT,
    &lists::SUBSCRIPTS,
    &lists::TRIM_ARRAY,
    &lists::ARRAY_POSITION,
    &lists::ARRAY_POSITIONS,
    &lists::ARRAY_REMOVE,
    &lists::ARRAY_REPLACE,
    &lists::ARRAY_APPEND,
    &lists::ARRAY_PREPEND,
    &lists::ARRAY_CAT,
    &lists::ARRAYS_CAT,
    &lists::ARRAY_TO_STRING,
    &lists::STRING_TO_ARRAY,
    &lists::ANY_EQ,
    &lists::ANY_NE,
    &lists::ANY_LT,
    &lists::ANY_LE,
    &lists::ANY_GT,
    &lists::ANY_GE,
    &lists::ALL_EQ,
    &lists::ALL_NE,
    &lists::ALL_LT,
    &lists::ALL_LE,
    &lists::ALL_GT,
    &lists::ALL_GE,
    &compare::GREATEST,
    &compare::LEAST,
    &compare::NULLIF,
    &assign::ASSIGN,
    &only_row::ONLY_ROW,
    &crate::bind::asof::ASOF,
    &rows::MARK,
    &rows::ARRAY,
    &rows::PLACES,
    &rows::FULL,
    &rows::FILLED,
    &slice::SLICE,
    &contain::CONTAINS,
    &contain::OVERLAP,
    &like_any::ANY_LIKE,
    &like_any::ALL_LIKE,
    &like_any::ANY_ILIKE,
    &like_any::ALL_ILIKE,
    &like_any::ANY_REGEX,
    &like_any::ALL_REGEX,
    &like_any::ANY_IREGEX,
    &like_any::ALL_IREGEX,
];

/// DataFusion's own functions that are immutable and answer as PostgreSQL's; a view may call these and ours, nothing else.
pub const BORROWED: &[&str] = &["coalesce", "pi", "make_array"];

/// Aggregates of DataFusion that answer as PostgreSQL's.
pub const BORROWED_AGGREGATES: &[&str] = &["count", "min", "max", "bool_and", "bool_or", "string_agg", "array_agg"];

/// What a plain SELECT has of DataFusion's functions beside ours: those that syntax becomes. The others are not PostgreSQL's, or
/// have types or values of their own.
const KEPT: &[&str] = &["pi", "random", "make_array", "array_slice", "named_struct", "struct", "get_field"];

/// What a plain SELECT has of DataFusion's aggregates beside ours.
const KEPT_AGGREGATES: &[&str] =
    &["count", "min", "max", "bool_and", "bool_or", "array_agg", "bit_and", "bit_or", "bit_xor", "grouping"];

/// Whether SQL's `name` (lowercase) is an aggregate.
pub(crate) fn is_aggregate(name: &str) -> bool {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let ours =
            aggregates().into_iter().flat_map(|f| f.aliases().iter().cloned().chain([f.name().to_owned()]).collect::<Vec<_>>());
        ours.chain(KEPT_AGGREGATES.iter().map(|name| (*name).to_owned())).collect()
    });
    NAMES.contains(name)
}

/// Whether SQL's `name` (lowercase) is a function of a window alone.
pub(crate) fn is_window(name: &str) -> bool {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| over::functions().iter().map(|f| f.name().to_owned()).collect());
    NAMES.contains(name)
}

/// Whether SQL's `name` (lowercase) is a function that gives one value for one row, whatever the other rows are.
pub fn is_scalar(name: &str) -> bool {
    static NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        let ours = builtins().flat_map(|def| std::iter::once(&def.name).chain(def.aliases)).copied();
        // lists that stand for rows where SQL calls them
        let rows =
            ["elements", "each", "object_keys", "_to_table", "regexp_matches", "generate_", "unnest", "path_query", "record"];
        let ours = ours.filter(move |name| !rows.iter().any(|part| name.contains(part)));
        ours.chain(["coalesce", "now", "current_timestamp", "transaction_timestamp", "statement_timestamp", "gen_random_uuid"])
            .collect()
    });
    NAMES.contains(name) && !is_aggregate(name)
}

/// Names of all functions and aggregates that SQL may call; those that stand for operators and other syntax are not among them.
pub fn offered() -> Vec<String> {
    let scalars = builtins().flat_map(|def| std::iter::once(&def.name).chain(def.aliases));
    let scalars = scalars
        .filter(|name| !(name.starts_with("pg_") || name.starts_with("regauge_")) || **name == "pg_typeof")
        .map(|name| (*name).to_owned());
    let ours =
        aggregates().into_iter().flat_map(|f| f.aliases().iter().cloned().chain([f.name().to_owned()]).collect::<Vec<_>>());
    let kept = KEPT_AGGREGATES.iter().map(|name| (*name).to_owned());
    let mut all: Vec<String> = scalars
        .chain(ours)
        .chain(kept)
        .chain(["clock_timestamp", "coalesce", "now", "statement_timestamp", "gen_random_uuid"].map(str::to_owned))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

struct Registry {
    scalars: Vec<Arc<ScalarUDF>>,
    by_name: HashMap<&'static str, (usize, &'static Builtin)>,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let made =
        |def: &'static Builtin| if def.name == crate::host::VOLATILE { PgFunction::unfolded(def) } else { PgFunction::new(def) };
    let scalars = builtins().map(|def| Arc::new(ScalarUDF::new_from_impl(made(def)))).collect();
    let names = |def: &'static Builtin| std::iter::once(def.name).chain(def.aliases.iter().copied());
    let by_name = builtins().enumerate().flat_map(|(i, def)| names(def).map(move |name| (name, (i, def)))).collect();
    Registry { scalars, by_name }
});

/// All scalar functions for a registry of DataFusion; they go by the names of DataFusion's own, which they replace.
pub fn scalars() -> Vec<Arc<ScalarUDF>> {
    REGISTRY.scalars.clone()
}

/// `sum`, `avg`, `string_agg`, and the statistical ones for a registry of DataFusion.
pub fn aggregates() -> Vec<Arc<AggregateUDF>> {
    let mut all = [Total::Sum, Total::Avg].map(|t| Arc::new(AggregateUDF::new_from_impl(PgTotal::new(t)))).to_vec();
    all.push(Arc::new(AggregateUDF::new_from_impl(string_agg::PgStringAgg::default())));
    all.push(Arc::new(AggregateUDF::new_from_impl(any_value::AnyValue::new())));
    all.extend(spread::all());
    all.extend(ordered_set::all());
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
    static DEFAULTS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
        let mut all = vec![Arc::new(coalesce::udf())];
        all.extend(SessionStateDefaults::default_scalar_functions());
        all
    });
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

/// Types that functions of ours give to parameters among their arguments.
pub(crate) fn open_parameters(plan: &LogicalPlan) -> HashMap<String, DataType> {
    let mut found = HashMap::new();
    // the closures never fail, so neither does the traversal
    let _ = plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let _ = node.apply_expressions(|e| {
            e.apply(|e| {
                if let Expr::ScalarFunction(f) = e
                    && let Some(pg) = f.func.inner().downcast_ref::<PgFunction>()
                {
                    let open = |e: &Expr| match e {
                        Expr::Placeholder(p) if p.field.is_none() => Some(p.id.clone()),
                        _ => None,
                    };
                    if f.args.iter().any(|a| open(a).is_some()) {
                        let ty = |e: &Expr| if open(e).is_some() { Ok(DataType::Null) } else { e.get_type(&schema) };
                        let bound = f
                            .args
                            .iter()
                            .map(ty)
                            .collect::<Result<Vec<_>, _>>()
                            .ok()
                            .and_then(|types| (pg.def.bind)(&types).ok());
                        for (arg, ty) in f.args.iter().zip(bound.map(|b| b.args).unwrap_or_default()) {
                            if let Some(name) = open(arg).filter(|_| ty != DataType::Null) {
                                found.entry(name).or_insert(ty);
                            }
                        }
                    }
                }
                Ok(TreeNodeRecursion::Continue)
            })
        });
        Ok(TreeNodeRecursion::Continue)
    });
    found
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
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![
        Arc::new(crate::bind::WholeRows),
        Arc::new(crate::bind::Unnest),
        Arc::new(crate::bind::Recursion),
        Arc::new(semantics::PgSemantics),
    ];
    rules.push(Arc::new(crate::bind::EqualValues { is_batch: false }));
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(absent::AbsentRows));
    rules
}

/// Analyzer rules for DataFusion's executor, which knows no INTERSECT and EXCEPT of ours.
pub fn batch_analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = analyzer_rules();
    rules[4] = Arc::new(crate::bind::EqualValues { is_batch: true });
    rules.insert(5, Arc::new(crate::bind::setop::SpellOut));
    rules.insert(6, Arc::new(crate::bind::asof::SpellOut));
    rules.insert(7, Arc::new(like::LikeCalls));
    rules.push(Arc::new(float_orders::FloatOrders));
    rules
}

/// Puts functions, planners, rules and guards into a session for batch queries. The session's configuration must parse
/// decimals as decimals (`datafusion.sql_parser.parse_float_as_decimal`) and strings as Utf8
/// (`datafusion.sql_parser.map_string_types_to_utf8view = false`), which this sets, too.
pub fn install(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let config = builder.config().get_or_insert_default();
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    builder.scalar_functions().get_or_insert_default().retain(|f| KEPT.contains(&f.name()));
    builder.aggregate_functions().get_or_insert_default().retain(|f| KEPT_AGGREGATES.contains(&f.name()));
    builder.scalar_functions().get_or_insert_default().extend(scalars());
    builder.scalar_functions().get_or_insert_default().push(Arc::new(coalesce::udf()));
    builder.scalar_functions().get_or_insert_default().extend([moment::now(), moment::statement_timestamp(), gen_random_uuid()]);
    builder.aggregate_functions().get_or_insert_default().extend(aggregates());
    builder.window_functions().get_or_insert_default().extend(over::functions().into_iter().map(Arc::new));
    builder
        .with_expr_planners(expr_planners())
        .with_type_planner(type_planner())
        .with_analyzer_rules(batch_analyzer_rules())
        .with_optimizer_rules(crate::bind::optimizer::rules())
        .with_query_planner(Arc::new(guard::GuardedQueryPlanner))
}
