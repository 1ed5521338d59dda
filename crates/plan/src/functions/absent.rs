//! A scalar subquery without a row is NULL, whatever it selects: `(SELECT 7 FROM nb WHERE false) IS NULL` is true.
//!
//! DataFusion takes such a value to be NULL only if the selected expression may be, and folds the test away; so what cannot be NULL
//! is selected through a function that says nothing about it. The function has no name that SQL can call, computes nothing, and
//! is left out when a plan is lowered. Idempotent: what it wraps may be NULL.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Subquery, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

const NAME: &str = "\u{1}absent";

/// Whether it is the function, which gives back its only argument.
pub(crate) fn is_absent(f: &ScalarUDF) -> bool {
    f.name() == NAME
}

/// The rule that puts it in.
#[derive(Debug)]
pub(crate) struct AbsentRows;

impl AnalyzerRule for AbsentRows {
    fn name(&self) -> &str {
        "absent_rows"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|p| {
            let changed = p.map_expressions(|e| e.transform_up(may_be_absent))?;
            if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
        })?;
        Ok(rewritten.data)
    }
}

fn may_be_absent(e: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarSubquery(query) = e else { return Ok(Transformed::no(e)) };
    let selected = query.subquery.schema().columns();
    let ([column], false) = (selected.as_slice(), query.subquery.schema().fields().iter().any(|f| f.is_nullable())) else {
        return Ok(Transformed::no(Expr::ScalarSubquery(query)));
    };
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(Absent { signature: Signature::any(1, Volatility::Immutable) })));
    let call = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&FUNCTION), vec![Expr::Column(column.clone())]));
    let named = call.alias_qualified(column.relation.clone(), column.name.clone());
    let plan = LogicalPlan::Projection(Projection::try_new(vec![named], query.subquery)?);
    Ok(Transformed::yes(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..query })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Absent {
    signature: Signature,
}

impl ScalarUDFImpl for Absent {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [ty] => Ok(ty.clone()),
            _ => internal_err!("one argument"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(value) => Ok(value),
            None => internal_err!("one argument"),
        }
    }
}
