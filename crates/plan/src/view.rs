//! Planning of views: the crate's front door.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast;

use crate::catalog::CatalogView;
use crate::error::PlanError;
use crate::flowplan::{FlowPlan, RecursionLimits};
use crate::parse::STACK_BYTES;
use crate::value::Value;
use crate::{bind, local, lower};

/// How a view is planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// `CREATE VIEW v (a, b)`: new names for the first columns.
    pub columns: Vec<String>,
    /// When a recursion is given up.
    pub recursion: RecursionLimits,
    /// Records that came late are left out: every stream that has a watermark is read WHERE NOT _late.
    pub without_late: bool,
    /// EMIT FINAL: a group of a window is sent once, when its window closes.
    pub emit_final: bool,
}

/// A plan and what the user should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedView {
    /// The plan.
    pub plan: FlowPlan,
    /// Notices, as PostgreSQL's NOTICE.
    pub notices: Vec<String>,
}

/// Plans a query for incremental maintenance: same text, same catalog, same plan.
pub fn plan_view(query: &ast::Query, catalog: &dyn CatalogView, options: &PlanOptions) -> Result<FlowPlan, PlanError> {
    plan_view_with_notices(query, catalog, options).map(|p| p.plan)
}

/// As [`plan_view`], with notices.
pub fn plan_view_with_notices(
    query: &ast::Query,
    catalog: &dyn CatalogView,
    options: &PlanOptions,
) -> Result<PlannedView, PlanError> {
    guarded(|| {
        // The same rows whoever makes it: a view counts in universal time.
        let _utc = local::enter(local::Zone::UTC);
        let bound = bind::bind_view(query, catalog)?;
        let mut plan = lower::lower_with(&bound.plan, options.recursion, options.without_late, options.emit_final)?;
        let names = output_names(bound.names, &options.columns)?;
        if names.len() != plan.output.len() {
            return Err(PlanError::internal("the plan's columns differ from the query's"));
        }
        for (column, name) in plan.output.iter_mut().zip(names) {
            column.name = name;
        }
        Ok(PlannedView { plan, notices: bound.notices })
    })
}

/// On a stack that is deep enough, and with a panic of the planner's libraries as an error: the planner keeps no state that a
/// panic could leave half changed.
pub(crate) fn guarded<T>(f: impl FnOnce() -> Result<T, PlanError>) -> Result<T, PlanError> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stacker::grow(STACK_BYTES, f)));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(PlanError::internal(format!("the planner panicked: {}", text.unwrap_or("no message"))))
    })
}

fn output_names(mut names: Vec<String>, renamed: &[String]) -> Result<Vec<String>, PlanError> {
    if names.is_empty() {
        return Err(PlanError::unsupported("a materialized view without columns is not offered", "name at least one column"));
    }
    if renamed.len() > names.len() {
        return Err(PlanError::invalid("42601", "CREATE VIEW specifies more column names than columns"));
    }
    for (name, new) in names.iter_mut().zip(renamed) {
        name.clone_from(new);
    }
    if let Some((_, twice)) = names.iter().enumerate().find(|(i, n)| names[..*i].contains(n)) {
        return Err(PlanError::invalid("42701", format!("column \"{twice}\" specified more than once"))
            .with_hint("give one of them another name with AS"));
    }
    Ok(names)
}

/// A constant expression (a DEFAULT, a literal) as a value of type `ty`.
pub fn constant(e: &ast::Expr, ty: &DataType) -> Result<Value, PlanError> {
    guarded(|| bind::constant(e, ty))
}
