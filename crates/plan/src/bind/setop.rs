//! INTERSECT and EXCEPT as a node of the logical plan, so that multiplicities are PostgreSQL's.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::logical_plan::UserDefinedLogicalNodeCore;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::type_coercion::binary::type_union_resolution;
use datafusion::logical_expr::{Expr, ExprFunctionExt, Extension, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition};
use datafusion::sql::sqlparser::ast::{self, TableFactor};

use super::provider::Mode;
use crate::error::PlanError;
use crate::flowplan::SetOpKind;

/// Our relation's name for INTERSECT; `_all` is appended for ALL.
pub(super) const INTERSECT: &str = "__regauge_intersect";
/// For EXCEPT.
pub(super) const EXCEPT: &str = "__regauge_except";

/// Left and right have equal types; the names are the left side's, without qualifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetOpNode {
    pub kind: SetOpKind,
    pub all: bool,
    pub left: LogicalPlan,
    pub right: LogicalPlan,
    schema: DFSchemaRef,
}

impl SetOpNode {
    fn new(kind: SetOpKind, all: bool, left: LogicalPlan, right: LogicalPlan) -> DfResult<SetOpNode> {
        let (n_left, n_right) = (left.schema().fields().len(), right.schema().fields().len());
        if n_left != n_right {
            let name = if kind == SetOpKind::Intersect { "INTERSECT" } else { "EXCEPT" };
            let message = format!("each {name} query must have the same number of columns left={n_left} right={n_right}");
            return Err(PlanError::invalid("42601", message).into());
        }
        let mut types = vec![];
        for (l, r) in left.schema().fields().iter().zip(right.schema().fields()) {
            let (lt, rt) = (l.data_type(), r.data_type());
            let common = if lt == rt { Some(lt.clone()) } else { type_union_resolution(&[lt.clone(), rt.clone()]) };
            types.push(common.ok_or_else(|| {
                let (a, b) = (crate::flowplan::types::sql_name(lt), crate::flowplan::types::sql_name(rt));
                DataFusionError::from(
                    PlanError::invalid("42804", format!("types {a} and {b} of column \"{}\" cannot be matched", l.name()))
                        .with_hint("add explicit casts"),
                )
            })?);
        }
        let names: Vec<String> = left.schema().fields().iter().map(|f| f.name().clone()).collect();
        let (left, right) = (cast_side(left, &types)?, cast_side(right, &types)?);
        let mut fields = vec![];
        for (i, (name, ty)) in names.iter().zip(&types).enumerate() {
            let repeated = names[..i].contains(name);
            let name = if repeated { format!("{name}\u{1}{i}") } else { name.clone() };
            fields.push((None, Arc::new(Field::new(name, ty.clone(), true))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(SetOpNode { kind, all, left, right, schema })
    }
}

fn cast_side(plan: LogicalPlan, types: &[arrow::datatypes::DataType]) -> DfResult<LogicalPlan> {
    if plan.schema().fields().iter().zip(types).all(|(f, t)| f.data_type() == t) {
        return Ok(plan);
    }
    let exprs: Vec<Expr> = plan
        .schema()
        .columns()
        .into_iter()
        .zip(plan.schema().fields().iter().zip(types))
        .enumerate()
        .map(|(i, (c, (f, ty)))| {
            let column = Expr::Column(c);
            let cast = if f.data_type() == ty { column } else { crate::bind::rules::cast(column, ty) };
            cast.alias(format!("{}\u{1}{i}", f.name()))
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

impl Hash for SetOpNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.kind, self.all).hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl PartialOrd for SetOpNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for SetOpNode {
    fn name(&self) -> &str {
        "SetOp"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }
    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }
    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetOp: {:?} all={}", self.kind, self.all)
    }
    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let [left, right] = <[LogicalPlan; 2]>::try_from(inputs)
            .map_err(|_| DataFusionError::Internal("a set operation has two inputs".into()))?;
        let mut node = SetOpNode::new(self.kind, self.all, left, right)?;
        // The names must not move when a rule rewrote an input.
        let fields = node.schema.fields().iter().zip(self.schema.fields());
        let fields = fields.map(|(new, old)| (None, Arc::new(Field::new(old.name(), new.data_type().clone(), true))));
        node.schema = Arc::new(DFSchema::new_with_metadata(fields.collect(), Default::default())?);
        Ok(node)
    }
}

/// The same in DataFusion's operators. With ALL the copies of a row are numbered first: then the n-th copy on the left has a
/// partner exactly when the right side has n copies.
fn spell_out(node: SetOpNode) -> DfResult<LogicalPlan> {
    let number = "\u{1}copy";
    let rename = |plan: LogicalPlan| -> DfResult<LogicalPlan> {
        let names = node.schema.fields().iter().map(|f| f.name().clone());
        let exprs = plan.schema().columns().into_iter().zip(names).map(|(c, n)| Expr::Column(c).alias(n));
        let exprs: Vec<_> = exprs.collect();
        LogicalPlanBuilder::from(plan).project(exprs)?.build()
    };
    let numbered = |plan: LogicalPlan| -> DfResult<LogicalPlan> {
        if !node.all {
            return Ok(plan);
        }
        let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let call = WindowFunctionDefinition::WindowUDF(Arc::new(crate::row_number::udwf()));
        let call = Expr::from(WindowFunction::new(call, vec![])).partition_by(columns).build()?.alias(number);
        LogicalPlanBuilder::from(plan).window(vec![call])?.build()
    };
    let (left, right) = (numbered(rename(node.left.clone())?)?, numbered(rename(node.right.clone())?)?);
    let joined = match node.kind {
        SetOpKind::Intersect => LogicalPlanBuilder::intersect(left, right, node.all)?,
        SetOpKind::Except => LogicalPlanBuilder::except(left, right, node.all)?,
    };
    let columns = joined.schema().columns();
    let kept = columns.into_iter().zip(node.schema.fields()).map(|(c, f)| Expr::Column(c).alias(f.name()));
    let kept: Vec<_> = kept.collect();
    LogicalPlanBuilder::from(joined).project(kept)?.build()
}

/// Plans the relations that [`super::ast::prepare`] put in.
#[derive(Debug)]
pub(crate) struct SetOperations(pub Mode);

impl RelationPlanner for SetOperations {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> DfResult<RelationPlanning> {
        let known = match &relation {
            TableFactor::Table { name, args: Some(_), .. } => match name.to_string().as_str() {
                "__regauge_intersect" => Some((SetOpKind::Intersect, false)),
                "__regauge_intersect_all" => Some((SetOpKind::Intersect, true)),
                "__regauge_except" => Some((SetOpKind::Except, false)),
                "__regauge_except_all" => Some((SetOpKind::Except, true)),
                _ => None,
            },
            _ => None,
        };
        let (Some((kind, all)), TableFactor::Table { args: Some(args), alias, .. }) = (known, relation.clone()) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let mut sides = vec![];
        for arg in args.args {
            let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Subquery(subquery))) = arg else {
                return Err(PlanError::syntax("a set operation takes queries").into());
            };
            let derived = TableFactor::Derived { lateral: false, subquery, alias: None, sample: None };
            sides.push(context.plan(derived)?);
        }
        let [left, right] = <[LogicalPlan; 2]>::try_from(sides)
            .map_err(|_| DataFusionError::from(PlanError::syntax("a set operation takes two queries")))?;
        let node = SetOpNode::new(kind, all, left, right)?;
        let plan = match self.0 {
            Mode::View => LogicalPlan::Extension(Extension { node: Arc::new(node) }),
            Mode::Batch => spell_out(node)?,
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}
