//! The dependent join, spelt out: a correlated query for all values of its outer columns at once.
//!
//! ```text
//!   domain D = distinct values that the outer columns have          apply(q, D) = { (row of q for d, d) | d in D }
//!   apply(q, D) = q x D                          where q reads nothing of D
//!   apply(filter(q)), project, join, union ..    the operator over apply(its inputs), D's columns handed through
//!   apply(aggregate by g)                        aggregate by g and D; without g every d has a row: D left join that
//!   apply(order by s limit n)                    row_number() partitioned by D ordered by s, and its bounds as a filter
//! ```
//! After Neumann and Kemper, "Unnesting Arbitrary Queries" (BTW 2015). Invariant: the columns of q come first, in q's order and under
//! their names, D's after them under fresh names; rows that differ in D only are kept apart by every operator. A query may see how an outer
//! value is written (`extract(day from t.i)`), so D has a value that has forms once for each, as its exact key. Cost: the plan grows by one
//! copy of D for each leaf side that had none; a product of D with a side is a join as soon as a filter above it has an equality.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ExprSchema, JoinType, NullEquality};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::logical_plan::{FetchType, SkipType};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprFunctionExt, Extension, Join, Limit, LogicalPlan, Operator, SortExpr, Union, Values, Window,
    WindowFunctionDefinition, lit,
};
use regauge_types::forms::has_forms;

use super::build::{aggregate, all_same, binary, choose, column, columns, distinct, filter, function, join, named, project};
use super::guard::expr_may_fail;
use super::outer::{Outer, of_expr, of_plan, replace, same};
use super::recursion::Carried;
use super::{Unnester, refused};
use crate::bind::setop::SetOpNode;
use crate::error::PlanError;
use crate::functions::equality::{exact, of_exact};

/// The distinct values of some columns of a plan.
#[derive(Clone)]
pub(super) struct Domain {
    plan: LogicalPlan,
    outer: Vec<Column>,
    /// The type of an outer column that stands there as its exact key.
    exact: Vec<Option<DataType>>,
    names: Vec<String>,
    /// It goes down to the leaves, though nothing reads it: without it there is nothing to compute.
    to_leaves: bool,
    /// Rows of a recursion that have it already.
    carried: Option<Carried>,
}

impl Domain {
    /// What the domain has of the outer columns, in the order in which `apply` gives its columns.
    pub fn outer(&self) -> Vec<Expr> {
        self.outer.iter().zip(&self.exact).map(|(c, form)| asked(c, form.as_ref())).collect()
    }

    fn in_plan(&self, q: &LogicalPlan) -> Result<bool> {
        let has_it = self.carried.as_ref().map_or(Ok(false), |c| c.is_in(q))?;
        Ok(has_it || of_plan(q)?.iter().any(|(c, _)| self.has(c)))
    }

    /// The same within a recursion's term.
    pub fn carried(&self, carried: Carried) -> Domain {
        Domain { carried: Some(carried), ..self.clone() }
    }

    fn has(&self, c: &Column) -> bool {
        self.outer.iter().any(|o| same(o, c))
    }

    fn replaced(&self, e: Expr, d: &[Column]) -> Result<Expr> {
        let mut values = vec![];
        for (c, form) in d.iter().zip(&self.exact) {
            let c = Expr::Column(c.clone());
            values.push(match form {
                Some(ty) => of_exact(c, ty)?,
                None => c,
            });
        }
        replace(e, &|c| self.outer.iter().position(|o| same(o, c)).and_then(|i| values.get(i)).cloned())
    }
}

fn asked(c: &Column, form: Option<&DataType>) -> Expr {
    let c = Expr::Column(c.clone());
    if form.is_some() { exact(c) } else { c }
}

/// A plan and where the domain's columns stand in it.
pub(super) type Applied = (LogicalPlan, Vec<Column>);

impl Unnester {
    pub(super) fn domain(&mut self, base: &LogicalPlan, outer: Vec<Outer>) -> Result<Domain> {
        let outer: Vec<Column> = outer.into_iter().map(|(c, _)| c).collect();
        let names: Vec<String> = outer.iter().map(|_| self.name()).collect();
        let ty = |c: &Column| Ok::<_, DataFusionError>(base.schema().field_from_column(c)?.data_type().clone());
        let types = outer.iter().map(ty).collect::<Result<Vec<_>>>()?;
        let exact: Vec<Option<DataType>> = types.into_iter().map(|ty| has_forms(&ty).then_some(ty)).collect();
        let exprs = outer.iter().zip(&exact).zip(&names).map(|((c, form), n)| asked(c, form.as_ref()).alias(n)).collect();
        Ok(Domain { plan: distinct(project(base.clone(), exprs)?)?, outer, exact, names, to_leaves: false, carried: None })
    }

    /// One value if there is a row, none if not.
    pub(super) fn anybody(&mut self, base: &LogicalPlan) -> Result<Domain> {
        let name = self.name();
        let plan = distinct(project(base.clone(), vec![lit(true).alias(&name)])?)?;
        Ok(Domain { plan, outer: vec![], exact: vec![], names: vec![name], to_leaves: true, carried: None })
    }

    /// The domain under names of its own.
    fn copy(&mut self, dom: &Domain) -> Result<Applied> {
        let d: Vec<Column> = dom.names.iter().map(|_| column(&self.name())).collect();
        let exprs = dom.names.iter().zip(&d).map(|(n, c)| Expr::Column(column(n)).alias(&c.name)).collect();
        Ok((project(dom.plan.clone(), exprs)?, d))
    }

    /// See the module's header.
    pub(super) fn apply(&mut self, q: LogicalPlan, dom: &Domain) -> Result<Applied> {
        stacker::maybe_grow(256 << 10, 4 << 20, || {
            let reads = dom.in_plan(&q)? || (dom.to_leaves && passes(&q)?);
            if reads { self.apply_node(q, dom) } else { self.cross(q, dom) }
        })
    }

    fn cross(&mut self, q: LogicalPlan, dom: &Domain) -> Result<Applied> {
        let (copy, d) = self.copy(dom)?;
        Ok((join(q, copy, JoinType::Inner, vec![], vec![])?, d))
    }

    fn apply_node(&mut self, q: LogicalPlan, dom: &Domain) -> Result<Applied> {
        let kept = q.schema().columns();
        match q {
            LogicalPlan::Projection(p) => {
                let (input, d) = self.apply(Arc::unwrap_or_clone(p.input), dom)?;
                self.projection(p.expr, &kept, input, d, dom)
            }
            LogicalPlan::Filter(f) => {
                let (input, d) = self.apply(Arc::unwrap_or_clone(f.input), dom)?;
                let mut predicate = dom.replaced(f.predicate, &d)?;
                if dom.to_leaves
                    && let [asked] = d.as_slice()
                    && expr_may_fail(&predicate)?
                {
                    // The optimiser would move it below the domain, to rows for which nobody asks; not out of a function.
                    let one = choose(vec![(Expr::Column(asked.clone()), lit(1i64))], lit(0i64));
                    predicate = function(crate::functions::only_row::NAME, vec![one, predicate])?;
                }
                Ok((filter(input, predicate)?, d))
            }
            LogicalPlan::SubqueryAlias(a) => {
                let (input, d) = self.apply(Arc::unwrap_or_clone(a.input), dom)?;
                Ok((renamed(input, &kept, &d)?, d))
            }
            LogicalPlan::Subquery(s) => self.apply(Arc::unwrap_or_clone(s.subquery), dom),
            // An order that no LIMIT reads.
            LogicalPlan::Sort(s) if s.fetch.is_none() => self.apply(Arc::unwrap_or_clone(s.input), dom),
            LogicalPlan::Limit(l) => self.limit(l, dom),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let (input, d) = self.apply(Arc::unwrap_or_clone(input), dom)?;
                Ok((distinct(input)?, d))
            }
            LogicalPlan::Join(j) => self.apply_join(j, &kept, dom),
            LogicalPlan::Aggregate(a) => self.apply_aggregate(a, &kept, dom),
            LogicalPlan::Window(w) => self.apply_window(w, &kept, dom),
            LogicalPlan::Union(u) => self.apply_union(u, dom),
            LogicalPlan::Values(v) => self.apply_values(v, &kept, dom),
            LogicalPlan::Unnest(mut u) => {
                let input = std::mem::replace(&mut u.input, Arc::new(LogicalPlan::default()));
                let (input, d) = self.apply(Arc::unwrap_or_clone(input), dom)?;
                let mut out = columns(&kept);
                out.extend(columns(&d));
                Ok((project(Self::unfold(u, input)?, out)?, d))
            }
            LogicalPlan::RecursiveQuery(r) => self.apply_recursive(r, dom),
            LogicalPlan::TableScan(scan) => match dom.carried.as_ref().map(|c| c.scan(&scan)).transpose()?.flatten() {
                Some(step) => Ok(step),
                None => self.cross(LogicalPlan::TableScan(scan), dom),
            },
            LogicalPlan::Extension(x) => {
                if let Some(s) = x.node.as_any().downcast_ref::<SetOpNode>() {
                    return self.apply_set_operation(s, dom);
                }
                self.apply_other(LogicalPlan::Extension(x), &kept, dom)
            }
            other => self.apply_other(other, &kept, dom),
        }
    }

    fn projection(
        &mut self,
        exprs: Vec<Expr>,
        kept: &[Column],
        input: LogicalPlan,
        d: Vec<Column>,
        dom: &Domain,
    ) -> Result<Applied> {
        let mut out = vec![];
        for (e, c) in exprs.into_iter().zip(kept) {
            out.push(named(dom.replaced(e, &d)?, c));
        }
        out.extend(columns(&d));
        Ok((project(input, out)?, d))
    }

    fn apply_join(&mut self, j: Join, kept: &[Column], dom: &Domain) -> Result<Applied> {
        use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
        let (left_reads, right_reads) = (dom.to_leaves || dom.in_plan(&j.left)?, dom.to_leaves || dom.in_plan(&j.right)?);
        let (left, right) = match j.join_type {
            // A condition alone may stand on either side.
            Inner => (left_reads || !right_reads, right_reads),
            Left | LeftSemi | LeftAnti | LeftMark => (true, right_reads),
            Right | RightSemi | RightAnti | RightMark => (left_reads, true),
            Full => (true, true),
        };
        let (mut l, mut r) = (Arc::unwrap_or_clone(j.left), Arc::unwrap_or_clone(j.right));
        let (mut dl, mut dr) = (vec![], vec![]);
        if left {
            (l, dl) = self.apply(l, dom)?;
        }
        if right {
            (r, dr) = self.apply(r, dom)?;
        }
        let d = if left { dl.clone() } else { dr.clone() };
        let mut conditions = vec![];
        let mut on = vec![];
        for (a, b) in j.on {
            let (a, b) = (dom.replaced(a, &d)?, dom.replaced(b, &d)?);
            if j.null_equality == NullEquality::NullEqualsNull {
                conditions.push(binary(a, Operator::IsNotDistinctFrom, b));
            } else {
                on.push((a, b));
            }
        }
        if j.null_aware {
            return Err(refused("a NOT IN within a join that is correlated").into());
        }
        conditions.extend(j.filter.map(|f| dom.replaced(f, &d)).transpose()?);
        if left && right {
            conditions.extend(all_same(&columns(&dl), &dr));
        }
        let joined = join(l, r, j.join_type, on, conditions)?;
        let mut out = columns(kept);
        let d = match j.join_type {
            Full => {
                let both: Vec<Column> = dl.iter().map(|_| column(&self.name())).collect();
                for ((l, r), c) in dl.into_iter().zip(dr).zip(&both) {
                    out.push(function("coalesce", vec![Expr::Column(l), Expr::Column(r)])?.alias(&c.name));
                }
                both
            }
            Right | RightSemi | RightAnti | RightMark => {
                out.extend(columns(&dr));
                dr
            }
            _ => {
                out.extend(columns(&d));
                d
            }
        };
        Ok((project(joined, out)?, d))
    }

    fn apply_aggregate(&mut self, a: Aggregate, kept: &[Column], dom: &Domain) -> Result<Applied> {
        let (input, d) = self.apply(Arc::unwrap_or_clone(a.input), dom)?;
        let mut group = columns(&d);
        let (keys, calls) = kept.split_at(a.group_expr.len().min(kept.len()));
        for (e, c) in a.group_expr.into_iter().zip(keys) {
            if let Expr::GroupingSet(_) = e {
                return Err(refused("GROUPING SETS within a correlated subquery").into());
            }
            group.push(named(dom.replaced(e, &d)?, c));
        }
        let mut aggregates = vec![];
        let mut absent = vec![];
        for (e, c) in a.aggr_expr.into_iter().zip(calls) {
            absent.push(when_empty(&e, a.schema.field_from_column(c)?.data_type())?);
            aggregates.push(named(dom.replaced(e, &d)?, c));
        }
        let grouped = aggregate(input, group, aggregates)?;
        let mut out = columns(kept);
        if !keys.is_empty() {
            out.extend(columns(&d));
            return Ok((project(grouped, out)?, d));
        }
        // Without keys there is a row for every value, also where nothing was counted.
        let (all, every) = self.copy(dom)?;
        let joined = join(all, grouped, JoinType::Left, vec![], all_same(&columns(&every), &d))?;
        for ((e, c), absent) in out.iter_mut().zip(kept).zip(absent) {
            if let Some(value) = absent {
                *e = named(function("coalesce", vec![e.clone(), value])?, c);
            }
        }
        out.extend(columns(&every));
        Ok((project(joined, out)?, every))
    }

    /// LIMIT, over projections, over a sort.
    fn limit(&mut self, l: Limit, dom: &Domain) -> Result<Applied> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (l.get_skip_type()?, l.get_fetch_type()?) else {
            return Err(refused("LIMIT or OFFSET with an expression in a correlated subquery").into());
        };
        for e in l.skip.iter().chain(&l.fetch) {
            if !of_expr(e, &DFSchema::empty())?.is_empty() {
                return Err(refused("LIMIT or OFFSET by an outer column").into());
            }
        }
        self.first_rows(Arc::unwrap_or_clone(l.input), skip, fetch, dom)
    }

    fn first_rows(&mut self, q: LogicalPlan, skip: usize, fetch: Option<usize>, dom: &Domain) -> Result<Applied> {
        let kept = q.schema().columns();
        let (input, order) = match q {
            LogicalPlan::Projection(p) => {
                let (input, d) = self.first_rows(Arc::unwrap_or_clone(p.input), skip, fetch, dom)?;
                return self.projection(p.expr, &kept, input, d, dom);
            }
            LogicalPlan::SubqueryAlias(a) => {
                let (input, d) = self.first_rows(Arc::unwrap_or_clone(a.input), skip, fetch, dom)?;
                return Ok((renamed(input, &kept, &d)?, d));
            }
            LogicalPlan::Sort(s) if s.fetch.is_none() => (Arc::unwrap_or_clone(s.input), s.expr),
            other => (other, vec![]),
        };
        let (input, d) = self.apply(input, dom)?;
        let order = order.into_iter().map(|s| Ok(SortExpr { expr: dom.replaced(s.expr, &d)?, ..s }));
        let order = order.collect::<Result<Vec<_>>>()?;
        let number = self.name();
        let numbered = numbered(input, columns(&d), order, &number)?;
        let number = Expr::Column(column(&number));
        let first = i64::try_from(skip).unwrap_or(i64::MAX);
        let mut bounds = number.clone().gt(lit(first));
        if let Some(n) = fetch {
            let last = first.saturating_add(i64::try_from(n).unwrap_or(i64::MAX));
            bounds = bounds.and(number.lt_eq(lit(last)));
        }
        let mut out = columns(&kept);
        out.extend(columns(&d));
        Ok((project(filter(numbered, bounds)?, out)?, d))
    }

    fn apply_window(&mut self, w: Window, kept: &[Column], dom: &Domain) -> Result<Applied> {
        let n_input = w.input.schema().fields().len();
        let (input, d) = self.apply(Arc::unwrap_or_clone(w.input), dom)?;
        let mut calls = vec![];
        for (e, c) in w.window_expr.into_iter().zip(kept.iter().skip(n_input)) {
            let Expr::WindowFunction(mut f) = dom.replaced(e.unalias(), &d)? else {
                return Err(DataFusionError::Internal("a window without its function".into()));
            };
            f.params.partition_by.extend(columns(&d));
            calls.push(Expr::WindowFunction(f).alias_qualified(c.relation.clone(), c.name.clone()));
        }
        let windowed = LogicalPlan::Window(Window::try_new(calls, Arc::new(input))?);
        let mut out = columns(kept);
        out.extend(columns(&d));
        Ok((project(windowed, out)?, d))
    }

    fn apply_union(&mut self, u: Union, dom: &Domain) -> Result<Applied> {
        let (mut inputs, mut fields, mut d) = (vec![], vec![], vec![]);
        for input in u.inputs {
            let n = input.schema().fields().len();
            let (input, _) = self.apply(Arc::unwrap_or_clone(input), dom)?;
            if d.is_empty() {
                d = dom.names.iter().map(|_| column(&self.name())).collect();
                fields = u.schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
                let types = input.schema().fields().iter().skip(n);
                fields.extend(types.zip(&d).map(|(f, c)| (None, Arc::new(f.as_ref().clone().with_name(&c.name)))));
            }
            inputs.push(Arc::new(input));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok((LogicalPlan::Union(Union { inputs, schema }), d))
    }

    /// Each row is a projection of the domain.
    fn apply_values(&mut self, v: Values, kept: &[Column], dom: &Domain) -> Result<Applied> {
        let (mut inputs, mut first) = (vec![], None);
        for row in v.values {
            let (copy, d) = self.copy(dom)?;
            let (plan, d) = self.projection(row, kept, copy, d, dom)?;
            first.get_or_insert((Arc::clone(plan.schema()), d));
            inputs.push(Arc::new(plan));
        }
        let (schema, d) = first.ok_or_else(|| DataFusionError::Internal("VALUES without rows".into()))?;
        Ok((LogicalPlan::Union(Union { inputs, schema }), d))
    }

    fn apply_set_operation(&mut self, s: &SetOpNode, dom: &Domain) -> Result<Applied> {
        let (left, d) = self.apply(s.left.clone(), dom)?;
        let (right, _) = self.apply(s.right.clone(), dom)?;
        let node = s.widened(left, right, d.len())?;
        Ok((LogicalPlan::Extension(Extension { node: Arc::new(node) }), d))
    }

    /// An operator over one input that hands its columns through and reads no outer column itself.
    fn apply_other(&mut self, q: LogicalPlan, kept: &[Column], dom: &Domain) -> Result<Applied> {
        let what = q.display().to_string();
        let exprs = q.expressions();
        let [input] = <[&LogicalPlan; 1]>::try_from(q.inputs()).map_err(|_| DataFusionError::from(refused(&what)))?;
        for e in &exprs {
            if of_expr(e, input.schema())?.iter().any(|(c, _)| dom.has(c)) {
                return Err(refused(&what).into());
            }
        }
        let (input, d) = self.apply(input.clone(), dom)?;
        let q = q.with_new_exprs(exprs, vec![input])?;
        let mut out = columns(kept);
        out.extend(columns(&d));
        Ok((project(q, out)?, d))
    }
}

/// Whether a domain that nobody reads can go below this node.
fn passes(q: &LogicalPlan) -> Result<bool> {
    Ok(match q {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Distinct(Distinct::All(_))
        | LogicalPlan::Window(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::Unnest(_) => true,
        LogicalPlan::Sort(s) => s.fetch.is_none(),
        LogicalPlan::Join(j) => !j.null_aware,
        LogicalPlan::Aggregate(a) => !a.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))),
        LogicalPlan::Limit(l) => {
            matches!((l.get_skip_type()?, l.get_fetch_type()?), (SkipType::Literal(_), FetchType::Literal(_)))
        }
        LogicalPlan::Extension(x) => x.node.as_any().is::<SetOpNode>(),
        _ => false,
    })
}

/// The input's first columns under other names.
fn renamed(input: LogicalPlan, names: &[Column], d: &[Column]) -> Result<LogicalPlan> {
    let own = input.schema().columns().into_iter().zip(names);
    let mut out: Vec<Expr> = own.map(|(c, name)| named(Expr::Column(c), name)).collect();
    out.extend(columns(d));
    project(input, out)
}

/// The input's rows numbered from 1 within each partition.
pub(in crate::bind) fn numbered(
    input: LogicalPlan,
    partition: Vec<Expr>,
    order: Vec<SortExpr>,
    name: &str,
) -> Result<LogicalPlan> {
    let f = WindowFunctionDefinition::WindowUDF(Arc::new(crate::functions::over::row_number()));
    let call = Expr::from(WindowFunction::new(f, vec![])).partition_by(partition);
    // an empty order is none to be named
    let call = if order.is_empty() { call.build()? } else { call.order_by(order).build()? }.alias(name);
    Ok(LogicalPlan::Window(Window::try_new(vec![call], Arc::new(input))?))
}

/// What an aggregate is over no rows, if not NULL.
fn when_empty(e: &Expr, ty: &datafusion::arrow::datatypes::DataType) -> Result<Option<Expr>> {
    match e {
        Expr::Alias(a) => when_empty(&a.expr, ty),
        Expr::AggregateFunction(f) => {
            let value = f.func.default_value(ty)?;
            Ok((!value.is_null()).then(|| lit(value)))
        }
        _ => Err(PlanError::internal("an aggregate without its function").into()),
    }
}
