//! `a ASOF [LEFT] JOIN b ON a.k = b.k AND b.ts <= a.ts`: a node of the logical plan.
//!
//! ```text
//!   syntax   a ASOF JOIN b MATCH_CONDITION (regauge_asof ..) ON c       (as crate::parse::asof gives it)
//!     mark   a JOIN b ON regauge_asof(c)                                 names are bound as in any join
//!    place   AsOfNode { a, b, conjuncts of c }                           before anything else looks at the join
//!            ├─ lower::asof      one operator                            views
//!            └─ batch            two windows and a join                  plain SELECT
//! ```
//! Invariant: the conjuncts are equalities between the sides and exactly one of `<`, `<=`, `>`, `>=` between them. The right side keeps
//! all its columns, whatever is read above: rows that tie are told apart by the whole row.

mod batch;
mod mark;

pub(crate) use batch::SpellOut;
pub(crate) use mark::ASOF;
pub(super) use mark::mark;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, JoinType};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::logical_plan::UserDefinedLogicalNodeCore;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{BinaryExpr, Expr, Extension, Join, LogicalPlan, Operator, build_join_schema};

use crate::error::PlanError;
use crate::flowplan::AsOfMatch;

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AsOfNode {
    pub left: LogicalPlan,
    pub right: LogicalPlan,
    /// LEFT: rows of the left side without a partner stay.
    pub outer: bool,
    /// Over left then right.
    conditions: Vec<Expr>,
    schema: DFSchemaRef,
}

/// A node's condition, taken apart: expressions over the left side and over the right one.
pub(crate) struct Parts {
    pub on: Vec<(Expr, Expr)>,
    pub moment: (Expr, Expr),
    pub matching: AsOfMatch,
}

fn refused() -> PlanError {
    PlanError::unsupported(
        "an ASOF JOIN takes equalities between its sides and one comparison of them by <, <=, > or >=",
        "write ON a.k = b.k AND b.ts <= a.ts, and put other conditions into WHERE of a subquery",
    )
}

fn correlated() -> PlanError {
    PlanError::unsupported(
        "an ASOF JOIN that reads a query around it is not offered",
        "put the outer condition into WHERE above the join",
    )
}

/// Makes nodes of the joins that [`mark()`] marked, subqueries included.
pub(super) fn place(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    let placed = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Join(j) if marked(&j).is_some() => {
            let node = AsOfNode::of(j)?;
            Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
        }
        plan => Ok(Transformed::no(plan)),
    })?;
    Ok(placed.data)
}

fn marked(j: &Join) -> Option<&Expr> {
    match j.filter.as_ref()? {
        Expr::ScalarFunction(f) if f.func.name() == ASOF.name => f.args.first(),
        _ => None,
    }
}

impl AsOfNode {
    fn of(j: Join) -> Result<AsOfNode, PlanError> {
        let condition = marked(&j).cloned().ok_or_else(refused)?;
        let outer = j.join_type == JoinType::Left;
        let (left, right) = (Arc::unwrap_or_clone(j.left), Arc::unwrap_or_clone(j.right));
        let reads_outside = |e: &Expr| {
            e.exists(|e| {
                let query = matches!(e, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_));
                Ok(query || matches!(e, Expr::OuterReferenceColumn(..)))
            })
        };
        if reads_outside(&condition)? || !left.all_out_ref_exprs().is_empty() || !right.all_out_ref_exprs().is_empty() {
            return Err(correlated());
        }
        let conditions = split_conjunction_owned(condition);
        let schema = schema_over(&left, &right, outer)?;
        let node = AsOfNode { left, right, outer, conditions, schema };
        node.parts()?;
        Ok(node)
    }

    /// The condition, taken apart.
    pub fn parts(&self) -> Result<Parts, PlanError> {
        let (l, r) = (self.left.schema(), self.right.schema());
        let (mut on, mut moment) = (vec![], None);
        for e in &self.conditions {
            let Expr::BinaryExpr(BinaryExpr { left, op, right }) = e else { return Err(refused()) };
            let (a, b, op) = if is_of(left, l) && is_of(right, r) {
                (left, right, *op)
            } else if is_of(right, l) && is_of(left, r) {
                (right, left, op.swap().ok_or_else(refused)?)
            } else {
                return Err(refused());
            };
            let (a, b) = (a.as_ref().clone(), b.as_ref().clone());
            // Said of the left side here, of the right one there.
            let matching = match op {
                Operator::Eq => {
                    on.push((a, b));
                    continue;
                }
                Operator::GtEq => AsOfMatch::AtOrBefore,
                Operator::Gt => AsOfMatch::Before,
                Operator::LtEq => AsOfMatch::AtOrAfter,
                Operator::Lt => AsOfMatch::After,
                _ => return Err(refused()),
            };
            if moment.replace(((a, b), matching)).is_some() {
                return Err(refused());
            }
        }
        let (moment, matching) = moment.ok_or_else(refused)?;
        Ok(Parts { on, moment, matching })
    }
}

/// Whether an expression reads columns, and all of them of this schema.
fn is_of(e: &Expr, schema: &DFSchema) -> bool {
    let columns = e.column_refs();
    !columns.is_empty() && columns.iter().all(|c| schema.maybe_index_of_column(c).is_some())
}

fn schema_over(left: &LogicalPlan, right: &LogicalPlan, outer: bool) -> DfResult<DFSchemaRef> {
    let kind = if outer { JoinType::Left } else { JoinType::Inner };
    Ok(Arc::new(build_join_schema(left.schema(), right.schema(), &kind)?))
}

impl Hash for AsOfNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.left.hash(state);
        self.right.hash(state);
        self.outer.hash(state);
        self.conditions.hash(state);
    }
}

impl PartialOrd for AsOfNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for AsOfNode {
    fn name(&self) -> &str {
        "AsOf"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }
    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }
    fn expressions(&self) -> Vec<Expr> {
        self.conditions.clone()
    }
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let (l, r) = (self.left.schema(), self.right.schema());
        let n_left = l.fields().len();
        let read = self.conditions.iter().flat_map(Expr::column_refs).filter_map(|c| l.maybe_index_of_column(c));
        let mut left: Vec<usize> = output_columns.iter().copied().filter(|c| *c < n_left).chain(read).collect();
        left.sort_unstable();
        left.dedup();
        Some(vec![left, (0..r.fields().len()).collect()])
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions: Vec<String> = self.conditions.iter().map(ToString::to_string).collect();
        write!(f, "AsOf: outer={} {}", self.outer, conditions.join(" AND "))
    }
    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let [left, right] =
            <[LogicalPlan; 2]>::try_from(inputs).map_err(|_| DataFusionError::Internal("an ASOF join has two inputs".into()))?;
        let schema = schema_over(&left, &right, self.outer)?;
        // Rules that keep the names of columns give conditions one, too.
        let conditions = exprs.into_iter().map(Expr::unalias).collect();
        Ok(AsOfNode { left, right, outer: self.outer, conditions, schema })
    }
}
