//! A scalar subquery without a row is NULL, whatever it selects: `(SELECT 7 FROM nb WHERE false) IS NULL` is true.
//!
//! DataFusion takes such a value to be NULL only if the selected expression may be, and folds the test away; so what cannot be NULL
//! is selected through a function that says nothing about it. The function has no name that SQL can call, computes nothing, and
//! is left out when a plan is lowered. Idempotent: what it wraps may be NULL.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Limit, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Sort, Subquery,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;

const NAME: &str = "\u{1}absent";

/// Whether it is the function, which gives back its first argument.
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
    let fields = query.subquery.schema().fields();
    if fields.len() != 1 || fields[0].is_nullable() {
        return Ok(Transformed::no(Expr::ScalarSubquery(query)));
    }
    let subquery = Arc::new(selected(Arc::unwrap_or_clone(query.subquery))?);
    Ok(Transformed::yes(Expr::ScalarSubquery(Subquery { subquery, ..query })))
}

/// Puts the function around what is selected, below the LIMIT and ORDER BY that decorrelation wants on top.
fn selected(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::Limit(l) => {
            let input = Arc::new(selected(Arc::unwrap_or_clone(l.input))?);
            LogicalPlan::Limit(Limit { input, ..l })
        }
        LogicalPlan::Sort(s) => {
            let input = Arc::new(selected(Arc::unwrap_or_clone(s.input))?);
            LogicalPlan::Sort(Sort { input, ..s })
        }
        LogicalPlan::Projection(p) if p.expr.len() == 1 => {
            let column = p.schema.columns().remove(0);
            // a constant alone would be folded, and could not be NULL again
            let beside = p.input.schema().columns().into_iter().next().map(Expr::Column);
            let what = p.expr.into_iter().next().map(Expr::unalias);
            LogicalPlan::Projection(Projection::try_new(vec![named(what.into_iter().chain(beside).collect(), column)], p.input)?)
        }
        other => {
            let column = other.schema().columns().remove(0);
            let what = Expr::Column(column.clone());
            LogicalPlan::Projection(Projection::try_new(vec![named(vec![what], column)], Arc::new(other))?)
        }
    })
}

fn named(args: Vec<Expr>, column: Column) -> Expr {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(Absent { signature: Signature::variadic_any(Volatility::Immutable) })));
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&FUNCTION), args)).alias_qualified(column.relation, column.name)
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
            [ty, ..] => Ok(ty.clone()),
            [] => internal_err!("no argument"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(value) => Ok(value),
            None => internal_err!("no argument"),
        }
    }
}
