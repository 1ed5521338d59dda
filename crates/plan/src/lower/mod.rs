//! DataFusion's optimised logical plan to a [`FlowPlan`]: one operator of relational algebra per file, each resting on
//! the multiset semantics in `crate::flowplan::Op`.
//!
//! Invariant: node types equal the logical plan's types; every column is found by position. What has no incremental operator is
//! refused by name with what to write instead. Cost linear in the plan.

mod aggregate;
mod asof;
mod builder;
mod finality;
mod flat_map;
mod join;
mod key;
mod leaf;
pub(crate) mod over;
mod recursive;
mod scalar;
mod setop;
mod temporal;
mod topk;
mod window;

pub(crate) use builder::{Builder, Rel};
pub(crate) use scalar::output_type;

use datafusion::logical_expr::{Distinct, LogicalPlan};

use crate::bind::asof::AsOfNode;
use crate::bind::setop::SetOpNode;
use crate::bind::temporal::TemporalNode;
use crate::bind::window::WindowNode;
use crate::error::PlanError;
use crate::flowplan::{FlowPlan, OutputColumn, RecursionLimits};
use crate::scalar::Scalar;

type Result<T> = std::result::Result<T, PlanError>;

/// Lowers a whole query. Output names are the plan's; the caller knows better ones.
pub(crate) fn lower(plan: &LogicalPlan, limits: RecursionLimits) -> Result<FlowPlan> {
    lower_with(plan, limits, false, false)
}

/// The same. `without_late` leaves late records of streams with a watermark out; `emit_final` sends final rows only.
pub(crate) fn lower_with(plan: &LogicalPlan, limits: RecursionLimits, without_late: bool, emit_final: bool) -> Result<FlowPlan> {
    let mut b = Builder { limits, without_late, ..Builder::default() };
    let rel = b.lower(plan)?;
    let root = b.materialize(rel)?;
    let key = b.keys.get(root).cloned().flatten();
    let types = b.types(root).to_vec();
    let output = plan.schema().fields().iter().zip(types);
    let output = output.map(|(f, ty)| OutputColumn { name: f.name().clone(), ty }).collect();
    let plan = FlowPlan { root, output, key, ..b.plan };
    let mut plan = compact(plan);
    if emit_final {
        plan = finality::last(&plan, &b.clocks, without_late)?;
    }
    for node in &mut plan.nodes {
        let op = std::mem::replace(&mut node.op, crate::flowplan::Op::Distinct);
        node.op = over::unbounded(op);
    }
    plan.validate()?;
    Ok(plan)
}

impl Builder {
    /// One node of the logical plan, its columns in the order of its schema.
    pub(crate) fn lower(&mut self, plan: &LogicalPlan) -> Result<Rel> {
        stacker::maybe_grow(256 << 10, 4 << 20, || self.lower_node(plan))
    }

    fn lower_node(&mut self, plan: &LogicalPlan) -> Result<Rel> {
        match plan {
            LogicalPlan::Projection(p) => {
                let input = self.lower(&p.input)?;
                let exprs = p.expr.iter().map(|e| scalar::lower(e, p.input.schema())).collect::<Result<Vec<_>>>()?;
                self.project(input, exprs)
            }
            LogicalPlan::Filter(f) => {
                let input = self.lower(&f.input)?;
                let predicate = scalar::lower(&f.predicate, f.input.schema())?;
                self.filter(input, predicate)
            }
            LogicalPlan::SubqueryAlias(a) => self.lower(&a.input),
            // An order that no LIMIT reads has no meaning for a multiset.
            LogicalPlan::Sort(s) if s.fetch.is_none() => self.lower(&s.input),
            LogicalPlan::TableScan(s) => self.scan(s),
            LogicalPlan::EmptyRelation(e) => self.empty(e),
            LogicalPlan::Values(v) => self.values(v),
            LogicalPlan::Join(j) => self.join(j),
            LogicalPlan::Aggregate(a) => self.aggregate(a),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let rel = self.lower(input)?;
                self.distinct(rel)
            }
            LogicalPlan::Union(u) => self.union(u),
            LogicalPlan::Limit(l) => self.limit(l),
            LogicalPlan::Window(w) => self.over(w),
            LogicalPlan::Extension(x) => {
                let node = x.node.as_any();
                if let Some(w) = node.downcast_ref::<WindowNode>() {
                    self.time_window(w)
                } else if let Some(a) = node.downcast_ref::<AsOfNode>() {
                    self.asof(a)
                } else if let Some(t) = node.downcast_ref::<TemporalNode>() {
                    self.temporal(t)
                } else if let Some(s) = node.downcast_ref::<SetOpNode>() {
                    self.set_operation(s)
                } else {
                    Err(PlanError::internal(format!("an unknown operator: {}", x.node.name())))
                }
            }
            LogicalPlan::Subquery(_) => Err(PlanError::unsupported(
                "this correlated subquery cannot be maintained incrementally",
                "rewrite it as a join, or correlate by equality only",
            )),
            LogicalPlan::Unnest(u) => self.unnest(u),
            LogicalPlan::RecursiveQuery(r) => self.recursion(r),
            other => Err(PlanError::unsupported(
                format!(
                    "this part of the query cannot be maintained incrementally: {}",
                    first_line(&other.display().to_string())
                ),
                "",
            )),
        }
    }

    fn distinct(&mut self, rel: Rel) -> Result<Rel> {
        let node = self.materialize_wide(rel)?;
        let node = self.unique(node)?;
        Ok(self.rel(node))
    }

    /// Every row once; nothing to do where a key says so already.
    fn unique(&mut self, node: usize) -> Result<usize> {
        if self.keys.get(node).is_some_and(Option::is_some) {
            return Ok(node);
        }
        self.push(crate::flowplan::Op::Distinct, vec![node])
    }
}

/// A first line for messages.
pub(crate) fn first_line(s: &str) -> String {
    s.lines().next().unwrap_or_default().chars().take(200).collect()
}

/// Drops nodes that the root does not reach, keeping the order.
fn compact(mut plan: FlowPlan) -> FlowPlan {
    let mut used = vec![false; plan.nodes.len()];
    let mut todo = vec![plan.root];
    while let Some(i) = todo.pop() {
        if !std::mem::replace(&mut used[i], true) {
            todo.extend(plan.nodes[i].inputs.iter().copied());
        }
    }
    let mut place = vec![0; used.len()];
    let mut n = 0;
    for (i, u) in used.iter().enumerate() {
        place[i] = n;
        n += usize::from(*u);
    }
    let mut i = 0;
    plan.nodes.retain(|_| {
        i += 1;
        used[i - 1]
    });
    for node in &mut plan.nodes {
        node.inputs.iter_mut().for_each(|i| *i = place[*i]);
    }
    plan.root = place[plan.root];
    plan
}

/// Columns of a node, as scalars.
pub(crate) fn columns(n: usize) -> Vec<Scalar> {
    (0..n).map(Scalar::Column).collect()
}
