//! TUMBLE, HOP, CUMULATE and SESSION: relations with window columns, as a node of the logical plan.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::logical_plan::UserDefinedLogicalNodeCore;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use datafusion::sql::sqlparser::ast::{self, TableFactor};

use super::provider::Mode;
use super::{session_batch, window_batch};
use crate::error::PlanError;
use crate::flowplan::types::MAX_HOP_WINDOWS;
use crate::interval;

const START: &str = "window_start";
const END: &str = "window_end";

/// The columns that a window function adds, behind its relation's.
pub(crate) const BOUNDS: [&str; 2] = [START, END];

/// Which windows; all widths in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Tumble { size: i64, offset: i64 },
    Hop { slide: i64, size: i64, offset: i64 },
    Cumulate { step: i64, size: i64, offset: i64 },
    Session { gap: i64 },
}

/// Windows over a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WindowNode {
    pub input: LogicalPlan,
    /// A column of the input.
    pub ts: Expr,
    pub kind: Kind,
    /// Of a session: columns of the input.
    pub partition: Vec<Expr>,
    schema: DFSchemaRef,
}

impl WindowNode {
    /// `qualifier`: of the bounds; as the input's first column if it is not settled yet.
    fn schema_over(input: &LogicalPlan, ts: &Expr, qualifier: Option<Option<TableReference>>) -> DfResult<DFSchemaRef> {
        use datafusion::logical_expr::ExprSchemable;
        let ty = ts.get_type(input.schema())?;
        if !matches!(ty, DataType::Timestamp(TimeUnit::Microsecond, _)) {
            let ty = crate::flowplan::types::sql_name(&ty);
            return Err(PlanError::invalid("42804", format!("a window's column must be a timestamp, not {ty}")).into());
        }
        let mut fields: Vec<_> = input.schema().iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        let qualifier = qualifier.unwrap_or_else(|| fields.first().and_then(|(q, _)| q.clone()));
        for name in BOUNDS {
            fields.push((qualifier.clone(), Arc::new(Field::new(name, ty.clone(), true))));
        }
        Ok(Arc::new(DFSchema::new_with_metadata(fields, Default::default())?))
    }
}

impl Hash for WindowNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        (&self.ts, &self.kind, &self.partition).hash(state);
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
        std::iter::once(&self.ts).chain(&self.partition).cloned().collect()
    }
    /// A row that a predicate takes away may hold a session together: only whole partitions may go before.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let bounds = HashSet::from([START.to_owned(), END.to_owned()]);
        if !matches!(self.kind, Kind::Session { .. }) {
            return bounds;
        }
        let of_partition = |name: &str| self.partition.iter().any(|e| matches!(e, Expr::Column(c) if c.name == name));
        let columns = self.input.schema().fields().iter().map(|f| f.name().clone());
        bounds.into_iter().chain(columns.filter(|name| !of_partition(name))).collect()
    }
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let place = |e: &Expr| match e {
            Expr::Column(column) => self.input.schema().maybe_index_of_column(column),
            _ => None,
        };
        let used = self.expressions().iter().map(place).collect::<Option<Vec<usize>>>()?;
        let width = self.input.schema().fields().len();
        let mut needed: Vec<usize> = output_columns.iter().copied().filter(|c| *c < width).chain(used).collect();
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeWindow: ts={} {:?}", self.ts, self.kind)?;
        self.partition.iter().try_for_each(|e| write!(f, " partition={e}"))
    }
    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let mut exprs = exprs.into_iter();
        let (Some(ts), Some(input)) = (exprs.next(), inputs.pop()) else {
            return Err(DataFusionError::Internal("a window has a column and an input".into()));
        };
        // The optimiser may have taken the input's first column away, and what stands above knows the bounds by their names.
        let qualifier = self.schema.iter().last().map(|(q, _)| q.cloned());
        let schema = WindowNode::schema_over(&input, &ts, qualifier)?;
        Ok(WindowNode { input, ts, kind: self.kind, partition: exprs.collect(), schema })
    }
}

/// `TUMBLE(t, ts, size [, offset])`, `HOP(t, ts, slide, size [, offset])`, `CUMULATE(t, ts, step, size [, offset])` and
/// `SESSION(t, ts, gap [, PARTITION BY k, ...])`, whose PARTITION BY the parser has taken out.
#[derive(Debug)]
pub(crate) struct WindowFunctions(pub Mode);

impl RelationPlanner for WindowFunctions {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> DfResult<RelationPlanning> {
        let function = match &relation {
            TableFactor::Table { name, args: Some(_), .. } => Function::of(&name.to_string()),
            _ => None,
        };
        match (function, relation) {
            (Some(function), TableFactor::Table { args: Some(args), alias, .. }) => {
                let node = plan_window(function, args.args, context)?;
                let plan = match (self.0, node.kind) {
                    (Mode::View, _) => LogicalPlan::Extension(Extension { node: Arc::new(node) }),
                    (Mode::Batch, Kind::Session { gap }) => session_batch::spell_out(node, gap)?,
                    (Mode::Batch, _) => window_batch::spell_out(node)?,
                };
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            (_, relation) => Ok(RelationPlanning::Original(Box::new(relation))),
        }
    }
}

/// The functions that give windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Tumble,
    Hop,
    Cumulate,
    Session,
}

impl Function {
    /// By its name in any case.
    pub(crate) fn of(name: &str) -> Option<Function> {
        match name.to_lowercase().as_str() {
            "tumble" => Some(Function::Tumble),
            "hop" => Some(Function::Hop),
            "cumulate" => Some(Function::Cumulate),
            "session" => Some(Function::Session),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Function::Tumble => "TUMBLE",
            Function::Hop => "HOP",
            Function::Cumulate => "CUMULATE",
            Function::Session => "SESSION",
        }
    }

    fn usage(self) -> PlanError {
        let usage = match self {
            Function::Tumble => "TUMBLE(relation, timestamp_column, INTERVAL '1 hour' [, offset])",
            Function::Hop => {
                "HOP(relation, timestamp_column, slide, size [, offset]), as HOP(t, ts, INTERVAL '5 minutes', INTERVAL '1 hour')"
            }
            Function::Cumulate => {
                "CUMULATE(relation, timestamp_column, step, size [, offset]), as CUMULATE(t, ts, INTERVAL '1 hour', INTERVAL '1 day')"
            }
            Function::Session => "SESSION(relation, timestamp_column, INTERVAL '10 minutes' [, PARTITION BY column, ...])",
        };
        PlanError::invalid("42601", format!("{} is not used as it should be", self.name())).with_hint(format!("write {usage}"))
    }

    /// The windows of these widths.
    fn kind(self, widths: &[i64]) -> Option<Result<Kind, PlanError>> {
        let above_zero = |kind, ok: bool, what: &str| {
            if ok { Ok(kind) } else { Err(PlanError::invalid("22023", format!("{what} must be above zero"))) }
        };
        let shift = |rest: &[i64], by: i64| rest.first().map_or(0, |offset| offset.rem_euclid(by.max(1)));
        Some(match (self, widths) {
            (Function::Tumble, [size, rest @ ..]) if rest.len() <= 1 => {
                above_zero(Kind::Tumble { size: *size, offset: shift(rest, *size) }, *size > 0, "a window's size")
            }
            (Function::Hop, [slide, size, rest @ ..]) if rest.len() <= 1 => {
                let kind = Kind::Hop { slide: *slide, size: *size, offset: shift(rest, *slide) };
                above_zero(kind, *slide > 0 && *size > 0, "a window's size and slide")
            }
            (Function::Cumulate, [step, size, rest @ ..]) if rest.len() <= 1 => {
                let kind = Kind::Cumulate { step: *step, size: *size, offset: shift(rest, *size) };
                above_zero(kind, *step > 0 && *size > 0, "a window's size and step").and_then(|kind| {
                    if size % step == 0 {
                        return Ok(kind);
                    }
                    Err(PlanError::invalid("22023", "the size of CUMULATE must be a multiple of its step")
                        .with_hint("the widest window is a whole number of steps wide"))
                })
            }
            (Function::Session, [gap]) => above_zero(Kind::Session { gap: *gap }, *gap > 0, "a session's gap"),
            _ => return None,
        })
    }
}

fn plan_window(
    function: Function,
    args: Vec<ast::FunctionArg>,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<WindowNode> {
    let wrong = || DataFusionError::from(function.usage());
    let mut exprs = vec![];
    for arg in args {
        match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => exprs.push(e),
            _ => return Err(wrong()),
        }
    }
    if exprs.len() < 3 {
        return Err(wrong());
    }
    let keys = if function == Function::Session { exprs.split_off(3) } else { vec![] };
    let input = context.plan(relation_argument(exprs.remove(0)).ok_or_else(wrong)?)?;
    let mut column = |e: ast::Expr| {
        let e = context.sql_to_expr(e, input.schema())?;
        if matches!(e, Expr::Column(_)) {
            return Ok(e);
        }
        Err(DataFusionError::from(PlanError::unsupported(
            format!("{} takes a plain column", function.name()),
            "compute it in a view or a subquery first",
        )))
    };
    let ts = column(descriptor(exprs.remove(0)))?;
    let mut partition: Vec<Expr> = vec![];
    for key in keys {
        let key = column(key)?;
        if !partition.contains(&key) {
            partition.push(key);
        }
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
    let kind = function.kind(&widths).ok_or_else(wrong)??;
    let n_windows = match kind {
        Kind::Tumble { .. } | Kind::Session { .. } => 1,
        Kind::Hop { slide: step, size, .. } | Kind::Cumulate { step, size, .. } => size / step,
    };
    if n_windows > MAX_HOP_WINDOWS {
        return Err(PlanError::TooComplex { what: "too many windows of one row", limit: 10_000 }.into());
    }
    let schema = WindowNode::schema_over(&input, &ts, None)?;
    Ok(WindowNode { input, ts, kind, partition, schema })
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
