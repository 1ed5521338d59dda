//! TUMBLE and HOP: relations with window columns, as a node of the logical plan.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::logical_plan::UserDefinedLogicalNodeCore;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use datafusion::sql::sqlparser::ast::{self, TableFactor};

use super::provider::Mode;
use super::window_batch;
use crate::error::PlanError;
use crate::flowplan::types::MAX_HOP_WINDOWS;
use crate::interval;

const START: &str = "window_start";
const END: &str = "window_end";

/// Widths in microseconds; `slide_us: None` is TUMBLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowNode {
    pub input: LogicalPlan,
    /// A column of the input.
    pub ts: Expr,
    pub size_us: i64,
    pub slide_us: Option<i64>,
    pub offset_us: i64,
    schema: DFSchemaRef,
}

impl WindowNode {
    fn schema_over(input: &LogicalPlan, ts: &Expr) -> DfResult<DFSchemaRef> {
        use datafusion::logical_expr::ExprSchemable;
        let ty = ts.get_type(input.schema())?;
        if !matches!(ty, DataType::Timestamp(TimeUnit::Microsecond, _)) {
            let ty = crate::flowplan::types::sql_name(&ty);
            return Err(PlanError::invalid("42804", format!("a window's column must be a timestamp, not {ty}")).into());
        }
        let mut fields: Vec<_> = input.schema().iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        let qualifier = fields.first().and_then(|(q, _)| q.clone());
        for name in [START, END] {
            fields.push((qualifier.clone(), Arc::new(Field::new(name, ty.clone(), true))));
        }
        Ok(Arc::new(DFSchema::new_with_metadata(fields, Default::default())?))
    }
}

impl Hash for WindowNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.ts.hash(state);
        (self.size_us, self.slide_us, self.offset_us).hash(state);
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "TimeWindow"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }
    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }
    fn expressions(&self) -> Vec<Expr> {
        vec![self.ts.clone()]
    }
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::from([START.to_owned(), END.to_owned()])
    }
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let Expr::Column(ts) = &self.ts else { return None };
        let ts = self.input.schema().maybe_index_of_column(ts)?;
        let width = self.input.schema().fields().len();
        let mut needed: Vec<usize> = output_columns.iter().copied().filter(|c| *c < width).chain([ts]).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeWindow: ts={} size_us={} slide_us={:?} offset_us={}", self.ts, self.size_us, self.slide_us, self.offset_us)
    }
    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let (Some(ts), Some(input)) = (exprs.pop(), inputs.pop()) else {
            return Err(DataFusionError::Internal("a window has one column and one input".into()));
        };
        let schema = WindowNode::schema_over(&input, &ts)?;
        Ok(WindowNode { input, ts, schema, ..self.clone() })
    }
}

/// `TUMBLE(t, ts, size [, offset])` and `HOP(t, ts, slide, size [, offset])`.
#[derive(Debug)]
pub(crate) struct WindowFunctions(pub Mode);

impl RelationPlanner for WindowFunctions {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> DfResult<RelationPlanning> {
        let function = match &relation {
            TableFactor::Table { name, args: Some(_), .. } => name.to_string().to_lowercase(),
            _ => return Ok(RelationPlanning::Original(Box::new(relation))),
        };
        match (function.as_str(), relation) {
            ("tumble" | "hop", TableFactor::Table { args: Some(args), alias, .. }) => {
                let node = plan_window(&function, args.args, context)?;
                let plan = match self.0 {
                    Mode::View => LogicalPlan::Extension(Extension { node: Arc::new(node) }),
                    Mode::Batch => window_batch::spell_out(node)?,
                };
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            ("session" | "cumulate", _) => {
                Err(PlanError::unsupported(format!("{} is not offered yet", function.to_uppercase()), "use TUMBLE or HOP").into())
            }
            (_, relation) => Ok(RelationPlanning::Original(Box::new(relation))),
        }
    }
}

fn usage(function: &str) -> PlanError {
    let usage = if function == "tumble" {
        "TUMBLE(relation, timestamp_column, INTERVAL '1 hour' [, offset])"
    } else {
        "HOP(relation, timestamp_column, slide, size [, offset]), as HOP(t, ts, INTERVAL '5 minutes', INTERVAL '1 hour')"
    };
    PlanError::invalid("42601", format!("{} is not used as it should be", function.to_uppercase()))
        .with_hint(format!("write {usage}"))
}

fn plan_window(function: &str, args: Vec<ast::FunctionArg>, context: &mut dyn RelationPlannerContext) -> DfResult<WindowNode> {
    let wrong = || DataFusionError::from(usage(function));
    let mut exprs = vec![];
    for arg in args {
        match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => exprs.push(e),
            _ => return Err(wrong()),
        }
    }
    let n_widths = if function == "tumble" { 1 } else { 2 };
    if exprs.len() < 2 + n_widths || exprs.len() > 3 + n_widths {
        return Err(wrong());
    }
    let input = context.plan(relation_argument(exprs.remove(0)).ok_or_else(wrong)?)?;
    let ts = context.sql_to_expr(descriptor(exprs.remove(0)), input.schema())?;
    if !matches!(ts, Expr::Column(_)) {
        return Err(PlanError::unsupported(
            format!("{} takes a plain column", function.to_uppercase()),
            "compute the timestamp in a view or a subquery first",
        )
        .into());
    }
    let mut widths = vec![];
    for e in &exprs {
        widths.push(interval::micros(e).ok_or_else(|| {
            DataFusionError::from(PlanError::unsupported(
                format!("not a fixed interval: {e}"),
                "write a constant such as INTERVAL '1 hour'; months have no fixed length",
            ))
        })?);
    }
    let (size_us, slide_us, offset) = match (function, widths.as_slice()) {
        ("tumble", [size, rest @ ..]) => (*size, None, rest.first()),
        (_, [slide, size, rest @ ..]) => (*size, Some(*slide), rest.first()),
        _ => return Err(wrong()),
    };
    let step = slide_us.unwrap_or(size_us);
    if size_us <= 0 || step <= 0 {
        return Err(PlanError::invalid("22023", "a window's size and slide must be above zero").into());
    }
    if size_us / step > MAX_HOP_WINDOWS {
        return Err(PlanError::TooComplex { what: "too many windows of one row", limit: 10_000 }.into());
    }
    let offset_us = offset.copied().unwrap_or(0).rem_euclid(step);
    let schema = WindowNode::schema_over(&input, &ts)?;
    Ok(WindowNode { input, ts, size_us, slide_us, offset_us, schema })
}

/// A relation's name or a subquery.
fn relation_argument(e: ast::Expr) -> Option<TableFactor> {
    let name = match e {
        ast::Expr::Identifier(i) => vec![i],
        ast::Expr::CompoundIdentifier(parts) => parts,
        ast::Expr::Subquery(subquery) => {
            return Some(TableFactor::Derived { lateral: false, subquery, alias: None, sample: None });
        }
        _ => return None,
    };
    Some(TableFactor::Table {
        name: ast::ObjectName::from(name),
        alias: None,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    })
}

/// `DESCRIPTOR(ts)` or a plain column.
fn descriptor(e: ast::Expr) -> ast::Expr {
    if let ast::Expr::Function(f) = &e
        && f.name.to_string().eq_ignore_ascii_case("descriptor")
        && let ast::FunctionArguments::List(l) = &f.args
        && let [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(column))] = l.args.as_slice()
    {
        return column.clone();
    }
    e
}
