//! INTERSECT and EXCEPT as a node of the logical plan, so that multiplicities are PostgreSQL's.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::logical_plan::UserDefinedLogicalNodeCore;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr, ExprFunctionExt, Extension, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::{self, TableFactor};

use crate::error::PlanError;
use crate::flowplan::SetOpKind;

/// Our relation's name for INTERSECT; `_all` is appended for ALL.
pub(super) const INTERSECT: &str = "__regauge_intersect";
/// For EXCEPT.
pub(super) const EXCEPT: &str = "__regauge_except";

/// The names are the left side's, without qualifiers. Once typed, left and right have equal types; before, the types mean
/// nothing ([`crate::functions`] settles them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetOpNode {
    pub kind: SetOpKind,
    pub all: bool,
    pub left: LogicalPlan,
    pub right: LogicalPlan,
    schema: DFSchemaRef,
}

impl SetOpNode {
    /// Its columns, as they are known above.
    pub(super) fn columns(&self) -> Vec<Column> {
        self.schema.columns()
    }

    fn new(kind: SetOpKind, all: bool, left: LogicalPlan, right: LogicalPlan) -> DfResult<SetOpNode> {
        let (n_left, n_right) = (left.schema().fields().len(), right.schema().fields().len());
        if n_left != n_right {
            let name = if kind == SetOpKind::Intersect { "INTERSECT" } else { "EXCEPT" };
            let message = format!("each {name} query must have the same number of columns left={n_left} right={n_right}");
            return Err(PlanError::invalid("42601", message).into());
        }
        let names: Vec<&String> = left.schema().fields().iter().map(|f| f.name()).collect();
        let mut fields = vec![];
        for (i, (name, field)) in names.iter().zip(left.schema().fields()).enumerate() {
            let repeated = names[..i].contains(name);
            let name = if repeated { format!("{name}\u{1}{i}") } else { (*name).clone() };
            fields.push((None, Arc::new(Field::new(name, field.data_type().clone(), true))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(SetOpNode { kind, all, left, right, schema })
    }

    /// The same over other inputs: the types are the left one's, the names stay, whatever a rule did to an input's.
    pub fn with_sides(&self, left: LogicalPlan, right: LogicalPlan) -> DfResult<SetOpNode> {
        let types: Vec<_> = left.schema().fields().iter().map(|f| f.data_type().clone()).collect();
        let schema = crate::functions::retyped(&self.schema, &types)?;
        Ok(SetOpNode { kind: self.kind, all: self.all, left, right, schema })
    }

    /// The same over inputs that have `n` columns more, the left one's names for them.
    pub(super) fn widened(&self, left: LogicalPlan, right: LogicalPlan, n: usize) -> DfResult<SetOpNode> {
        let mut fields: Vec<_> = self.schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        let more = left.schema().fields().iter().skip(left.schema().fields().len().saturating_sub(n));
        fields.extend(more.map(|f| (None, Arc::new(f.as_ref().clone().with_nullable(true)))));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(SetOpNode { kind: self.kind, all: self.all, left, right, schema })
    }
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
        self.with_sides(left, right)
    }
}

/// Puts DataFusion's operators in the place of [`SetOpNode`], once the types are settled.
#[derive(Debug)]
pub(crate) struct SpellOut;

impl AnalyzerRule for SpellOut {
    fn name(&self) -> &str {
        "spell_out_set_operations"
    }
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|plan| match &plan {
            LogicalPlan::Extension(x) => match x.node.as_any().downcast_ref::<SetOpNode>() {
                Some(node) => Ok(Transformed::yes(spell_out(node)?)),
                None => Ok(Transformed::no(plan)),
            },
            _ => Ok(Transformed::no(plan)),
        });
        Ok(rewritten?.data)
    }
}

/// The same in DataFusion's operators. With ALL the copies of a row are numbered first: then the n-th copy on the left has a
/// partner exactly when the right side has n copies.
fn spell_out(node: &SetOpNode) -> DfResult<LogicalPlan> {
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
        let call = WindowFunctionDefinition::WindowUDF(Arc::new(crate::functions::over::row_number()));
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
pub(crate) struct SetOperations;

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
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}
