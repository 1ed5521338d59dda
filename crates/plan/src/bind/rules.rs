//! Which of DataFusion's rules run, and with which settings.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use datafusion::sql::planner::ParserOptions;
use datafusion::sql::sqlparser::ast;

use super::provider::Mode;
use super::reducers::Reducers;
use crate::error::PlanError;
use crate::parse::types;

/// The settings of binding and optimising; the same everywhere, whatever a session sets.
pub(crate) fn config() -> ConfigOptions {
    let mut c = ConfigOptions::new();
    c.sql_parser.parse_float_as_decimal = true;
    c.sql_parser.map_string_types_to_utf8view = false;
    c.sql_parser.support_varchar_with_length = true;
    c.execution.time_zone = Some("UTC".into());
    c.optimizer.skip_failed_rules = false;
    // That a column is never NULL is said of EXISTS before its join is made, and not behind it.
    c.execution.skip_physical_aggregate_schema_check = true;
    c.optimizer.max_passes = 3;
    // Otherwise a scalar subquery stays an expression; here it must become a join.
    c.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    // Joins drop rows with a NULL key themselves; a filter below each would cost one more operator per epoch.
    c.optimizer.filter_null_join_keys = false;
    c
}

/// Literals with a point are exact, text is Utf8.
pub(super) fn parser_options() -> ParserOptions {
    ParserOptions::from(&config().sql_parser)
}

/// Types the raw plan.
pub(super) fn analyze(plan: LogicalPlan, config: &ConfigOptions, mode: Mode) -> Result<LogicalPlan, PlanError> {
    let analyzer = Analyzer::with_rules(match mode {
        Mode::View => crate::functions::analyzer_rules(),
        Mode::Batch => crate::functions::batch_analyzer_rules(),
    });
    Ok(analyzer.execute_and_check(plan, config, |_, _| {})?)
}

/// What is wrong under retractions: it turns Limit over Sort into a Sort with a fetch, and copies limits below unions and into scans.
const LEFT_OUT: &str = "push_down_limit";

/// Optimises an analysed plan. No clock reaches it.
pub(super) fn optimize(plan: LogicalPlan, mut config: ConfigOptions) -> Result<LogicalPlan, PlanError> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> =
        super::optimizer::rules().into_iter().filter(|r| r.name() != LEFT_OUT).collect();
    // Behind the rule that moves conditions down, before the one that leaves out columns.
    let at = rules.iter().position(|r| r.name() == "optimize_projections").unwrap_or(rules.len());
    rules.insert(at, Arc::new(Reducers));
    let optimizer = Optimizer::with_rules(rules);
    let run = |plan, config: &ConfigOptions| {
        let context = OptimizerContext::new_with_config_options(Arc::new(config.clone())).without_query_execution_start_time();
        optimizer.optimize(plan, &context, |_, _| {})
    };
    match run(plan.clone(), &config) {
        // A column and its cast in one GROUP BY have one name in DataFusion, and a rule that moves both fails. The plan is sound
        // without that rule.
        Err(e) if e.to_string().contains("unique expression names") => {
            config.optimizer.skip_failed_rules = true;
            Ok(run(plan, &config)?)
        }
        done => Ok(done?),
    }
}

/// A cast in a parsed expression.
pub(crate) fn cast_ast(e: ast::Expr, ty: &DataType) -> Result<ast::Expr, PlanError> {
    let text = format!("SELECT CAST(NULL AS {})", crate::flowplan::types::sql_name(ty));
    let mut q = crate::parse::parse_query(&text, &crate::parse::ParseLimits::default())?;
    if let ast::SetExpr::Select(s) = q.body.as_mut()
        && let Some(ast::SelectItem::UnnamedExpr(ast::Expr::Cast { expr, .. })) = s.projection.first_mut()
    {
        **expr = e;
        if let Some(ast::SelectItem::UnnamedExpr(cast)) = s.projection.pop() {
            return Ok(cast);
        }
    }
    Err(PlanError::internal(format!("no cast to {}", types::timestamptz())))
}
