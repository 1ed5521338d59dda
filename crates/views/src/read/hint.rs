//! Conditions that a scan of a table looks at before it copies rows: of `WHERE id % 8000 = 1` the column `id` is read, and the other
//! columns of the few rows that are left.
//!
//! A hint and nothing more: DataFusion's filter stands above the scan and decides. So a row is left out only where a condition is
//! false, which says the same of the whole filter. Conditions are looked at in the order in which the filter has them, and the first one that
//! fails for any row of a page ends it: the filter meets that row, and says so, or one before it is false there, too. What does not answer
//! by the row's values and the statement's parameters alone (subqueries, functions that are not immutable) is no hint.

use crate::table::runs::Runs;
use arrow::{
    array::{Array, AsArray, RecordBatch},
    buffer::BooleanBuffer,
    datatypes::{DataType, SchemaRef},
};
use datafusion::{
    common::{DFSchema, tree_node::TreeNode},
    logical_expr::{Expr, Volatility, execution_props::ExecutionProps, physical_planning_context::PhysicalPlanningContext},
    physical_expr::{PhysicalExpr, create_physical_expr},
};
use regauge_plan::params;
use std::sync::Arc;

/// One condition over some columns.
#[derive(Clone, Debug)]
pub(super) struct Hint {
    condition: Arc<dyn PhysicalExpr>,
    columns: Vec<usize>,
    schema: SchemaRef,
}

/// Whether a filter may be one.
pub(super) fn may_be(filter: &Expr) -> bool {
    let plain = |e: &Expr| match e {
        param if params::is_param(param) => true,
        Expr::ScalarFunction(f) => f.func.signature().volatility == Volatility::Immutable,
        Expr::Column(_)
        | Expr::Literal(..)
        | Expr::BinaryExpr(_)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_)
        | Expr::Between(_)
        | Expr::InList(_)
        | Expr::Like(_)
        | Expr::Case(_)
        | Expr::Cast(_)
        | Expr::TryCast(_) => true,
        _ => false,
    };
    !filter.exists(|e| Ok(!plain(e))).unwrap_or(true)
}

impl Hint {
    /// A filter over a relation's columns, as the statement evaluates it.
    pub(super) fn new(filter: &Expr, schema: &SchemaRef, props: &ExecutionProps) -> Option<Hint> {
        if !may_be(filter) {
            return None;
        }
        let mut columns = vec![];
        for column in filter.column_refs() {
            columns.push(schema.index_of(&column.name).ok()?);
        }
        columns.sort_unstable();
        columns.dedup();
        let schema = Arc::new(schema.project(&columns).ok()?);
        let names = DFSchema::try_from(schema.as_ref().clone()).ok()?;
        let condition = create_physical_expr(filter, &names, props, &PhysicalPlanningContext::default()).ok()?;
        let is_boolean = condition.data_type(&schema).is_ok_and(|ty| ty == DataType::Boolean);
        (is_boolean && !columns.is_empty()).then_some(Hint { condition, columns, schema })
    }

    /// Where the condition is not false.
    fn keep(&self, rows: &RecordBatch) -> Option<BooleanBuffer> {
        let values = self.condition.evaluate(rows).and_then(|v| v.into_array(rows.num_rows())).ok()?;
        let values = values.as_boolean();
        let is_false = !values.values();
        Some(!&match values.nulls() {
            Some(nulls) => &is_false & nulls.inner(),
            None => is_false,
        })
    }
}

/// The rows of a page that are worth copying.
pub(super) fn worth_copying(hints: &[Hint], mut rows: Runs) -> Runs {
    for hint in hints {
        let keep = rows.lent(&hint.schema, &hint.columns).ok().and_then(|some| hint.keep(&some));
        match keep {
            None => break,
            Some(keep) if keep.count_set_bits() == rows.n_rows() => {}
            Some(keep) => rows = rows.filter(&keep),
        }
    }
    rows
}
