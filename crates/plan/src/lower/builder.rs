//! The plan under construction. A [`Rel`] is a node with a map not yet made: filters and projections collect there and
//! become one `Map` (or none) where an operator needs real columns.
//!
//! Invariant: nodes are never changed once they stand, as several may read them, and no two are the same operator over the same
//! inputs. A look-up is linear in the nodes so far; what the root does not reach is dropped at the end.

use arrow::datatypes::DataType;

use super::finality::Clocks;
use super::{Result, columns, key};
use crate::error::PlanError;
use crate::flowplan::types::is_supported;
use crate::flowplan::{FlowPlan, Node, Op, RecursionLimits};
use crate::scalar::Scalar;
use crate::value::Value;

/// Rows of `node` for which all of `filter` is true, then `exprs` of them; both over the node's columns.
#[derive(Debug, Clone)]
pub(crate) struct Rel {
    pub node: usize,
    pub filter: Vec<Scalar>,
    pub exprs: Vec<Scalar>,
}

/// Nodes so far; `keys[i]` are columns of node i that are unique together.
#[derive(Debug)]
pub(crate) struct Builder {
    pub plan: FlowPlan,
    pub keys: Vec<Option<Vec<usize>>>,
    /// Recursions whose terms are being lowered, the innermost last.
    pub(super) open: Vec<super::recursive::Open>,
    /// Of every recursion.
    pub limits: RecursionLimits,
    /// Records that came late are left out, of every stream that has a watermark.
    pub without_late: bool,
    /// The time columns of streams that were read.
    pub clocks: Clocks,
}

impl Default for Builder {
    fn default() -> Self {
        let plan = FlowPlan { nodes: vec![], root: 0, output: vec![], key: None };
        Builder {
            plan,
            keys: vec![],
            open: vec![],
            limits: RecursionLimits::default(),
            without_late: false,
            clocks: Clocks::default(),
        }
    }
}

impl Builder {
    pub fn types(&self, node: usize) -> &[DataType] {
        self.plan.nodes.get(node).map_or(&[], |n| n.types.as_slice())
    }

    /// All columns of a node.
    pub fn rel(&self, node: usize) -> Rel {
        Rel { node, filter: vec![], exprs: columns(self.types(node).len()) }
    }

    /// An operator over nodes: the node that is the same operator over the same nodes already, or a new one. So what a query
    /// says twice (a WITH query read twice, most often) is computed once.
    pub fn push(&mut self, op: Op, inputs: Vec<usize>) -> Result<usize> {
        self.push_given(op, inputs, vec![], false, None)
    }

    /// The same for a source or constant rows, whose types and key come from outside.
    pub fn push_given(
        &mut self,
        op: Op,
        inputs: Vec<usize>,
        types: Vec<DataType>,
        append_only: bool,
        known_key: Option<Vec<usize>>,
    ) -> Result<usize> {
        let given = |n: &Node| !inputs.is_empty() || (n.types == types && n.append_only == append_only);
        if let Some(same) = self.plan.nodes.iter().position(|n| n.inputs == inputs && n.op == op && given(n)) {
            return Ok(same);
        }
        let key = key::derive(self, &op, &inputs).or(known_key);
        let refused = |t: &DataType| {
            PlanError::unsupported(
                format!("type {} is not offered in a view", crate::flowplan::types::sql_name(t)),
                "cast the column to a supported type",
            )
        };
        let node = self
            .plan
            .push(op, inputs, (types, append_only))
            .ok_or_else(|| PlanError::internal("an operator does not fit its inputs"))?;
        if let Some(t) = self.types(node).iter().find(|t| !is_supported(t)) {
            return Err(refused(t));
        }
        self.keys.push(key);
        Ok(node)
    }

    /// Makes the pending map real: the node has exactly the columns of `exprs`.
    pub fn materialize(&mut self, rel: Rel) -> Result<usize> {
        let rel = self.bound_row_number(rel)?;
        let width = self.types(rel.node).len();
        let identity = rel.exprs.len() == width && rel.exprs.iter().enumerate().all(|(i, e)| *e == Scalar::Column(i));
        if identity && rel.filter.is_empty() {
            return Ok(rel.node);
        }
        if rel.filter.is_empty()
            && let Some(rows) = self.constant_rows(&rel)
        {
            let types = rel.exprs.iter().filter_map(|e| e.data_type(&[])).collect();
            return self.push_given(Op::Rows { rows }, vec![], types, true, None);
        }
        let filter = Scalar::all(order_conjuncts(rel.filter));
        let exprs = (!identity).then_some(rel.exprs);
        self.push(Op::Map { filter, exprs }, vec![rel.node])
    }

    /// Constants over constant rows are constant rows.
    fn constant_rows(&self, rel: &Rel) -> Option<Vec<Vec<Value>>> {
        let Op::Rows { rows } = &self.plan.nodes.get(rel.node)?.op else { return None };
        let constant = |e: &Scalar| if let Scalar::Literal(v) = e { Some(v.clone()) } else { None };
        let row: Vec<Value> = rel.exprs.iter().map(constant).collect::<Option<_>>()?;
        Some(vec![row; rows.len()])
    }

    /// The same, but never without columns: a batch of none would have to carry its length elsewhere.
    pub fn materialize_wide(&mut self, mut rel: Rel) -> Result<usize> {
        if rel.exprs.is_empty() {
            if rel.filter.is_empty() && !self.types(rel.node).is_empty() {
                return Ok(rel.node);
            }
            rel.exprs = vec![Scalar::Literal(Value::bool(true))];
        }
        self.materialize(rel)
    }

    /// `exprs` over the relation's columns.
    pub fn project(&mut self, rel: Rel, exprs: Vec<Scalar>) -> Result<Rel> {
        let mut uses = vec![0usize; rel.exprs.len()];
        for e in &exprs {
            e.walk(&mut |s| {
                if let Scalar::Column(i) = s
                    && let Some(n) = uses.get_mut(*i)
                {
                    *n += 1;
                }
            });
        }
        let repeated = rel.exprs.iter().zip(&uses).any(|(e, n)| *n > 1 && !is_plain(e));
        let too_deep = || exprs.iter().any(|e| depth(e) + rel.exprs.iter().map(depth).max().unwrap_or(0) > 100);
        // What is computed once stays computed once.
        let rel = if repeated || too_deep() {
            let node = self.materialize_wide(rel)?;
            self.rel(node)
        } else {
            rel
        };
        let exprs = exprs.into_iter().map(|e| substitute(e, &rel.exprs)).collect();
        Ok(Rel { exprs, ..rel })
    }

    /// Keeps rows for which the predicate over the relation's columns is true.
    pub fn filter(&mut self, rel: Rel, predicate: Scalar) -> Result<Rel> {
        let mut computed = false;
        predicate.walk(&mut |s| {
            if let Scalar::Column(i) = s {
                computed |= rel.exprs.get(*i).is_some_and(|e| !is_plain(e));
            }
        });
        let mut rel = if computed {
            let node = self.materialize_wide(rel)?;
            self.rel(node)
        } else {
            rel
        };
        let predicate = substitute(predicate, &rel.exprs);
        match predicate {
            Scalar::And(v) => rel.filter.extend(v),
            p => rel.filter.push(p),
        }
        Ok(rel)
    }
}

/// Copying it costs nothing.
fn is_plain(e: &Scalar) -> bool {
    matches!(e, Scalar::Column(_) | Scalar::Literal(_))
}

fn depth(e: &Scalar) -> usize {
    1 + e.children().into_iter().map(depth).max().unwrap_or(0)
}

/// `e` over the columns that `exprs` compute, as an expression over what they are computed from.
pub(super) fn substitute(e: Scalar, exprs: &[Scalar]) -> Scalar {
    e.map_columns(&|i| exprs.get(i).cloned().unwrap_or(Scalar::Column(usize::MAX)))
}

/// Conjuncts that cannot fail come first: the optimiser merges filters of different levels in an order of its own, and
/// `WHERE x <> 0` inside must guard `1 / x` outside. Among themselves both kinds keep their order.
fn order_conjuncts(conjuncts: Vec<Scalar>) -> Vec<Scalar> {
    let (fallible, safe): (Vec<_>, Vec<_>) = conjuncts.into_iter().partition(Scalar::can_fail);
    safe.into_iter().chain(fallible).collect()
}
