//! One notion of equality: where a plan groups, joins or tells rows apart by values of a type whose equal values may be written differently
//! (jsonb `1` and `1.0`, interval `1 day` and `24:00:00`, arrays of them), it does so by a key that equal values share.
//!
//! ```text
//!   GROUP BY j                           GROUP BY key(j), j shown as of_exact(min(exact(j)))         DISTINCT, UNION likewise
//!   l JOIN r ON l.j = r.j, USING, IN     key(l.j) = key(r.j)
//!   l INTERSECT [ALL] r, EXCEPT          l (once, or its copies numbered by key) with a match in r, or without, by keys
//!   count(DISTINCT j), sum(DISTINCT i)   count(DISTINCT key(j)), sum(DISTINCT canonical(i))
//!   array_agg(DISTINCT j)                once(array_agg(j)), which is in order
//!   string_agg(bytes, bytes)             decode(string_agg(encode(..), encode(..))): by hexadecimal digits
//! ```
//! Which of several equal values is shown is a function of the rows: the least by how it is written. So a view, its rebuild and a plain
//! SELECT agree, and PostgreSQL leaves it open. Types are settled before; running it twice changes nothing. Other types pay nothing.
//!
//! DataFusion's executor (`is_batch`) also needs keys for floats, and where our own operators know the order of values: min, max and
//! the order of array_agg and string_agg. It does not know windows: those are ours in both, and compare by [`regauge_types::key`].

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinConstraint, JoinType, NullEquality};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, Join, LogicalPlan, Operator, Projection, RecursiveQuery, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;
use regauge_types::forms::has_forms;

use super::ast::MARK;
use super::setop::SetOpNode;
use super::unnest::numbered;
use crate::error::PlanError;
use crate::flowplan::SetOpKind;
use crate::functions::bytes::{DECODE, ENCODE};
use crate::functions::equality::{CANONICAL, ONCE, exact, key_of, of_exact};
use crate::functions::{EvalError, aggregate, function};
use crate::value::Datum;

/// The rule. See the module's header.
#[derive(Debug)]
pub(crate) struct EqualValues {
    pub is_batch: bool,
}

impl AnalyzerRule for EqualValues {
    fn name(&self) -> &str {
        "equal_values"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(|node| self.node(node))?.data)
    }
}

fn project(exprs: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
}

fn column(name: String) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// An expression under the name of a column that is known above.
fn named(e: Expr, c: &Column) -> Expr {
    e.alias_qualified(c.relation.clone(), c.name.clone())
}

fn canonical(e: Expr) -> Expr {
    function(&CANONICAL).call(vec![e])
}

/// An argument of `string_agg` of bytea as a text of hexadecimal digits.
fn digits(e: &Expr, schema: &datafusion::common::DFSchema) -> Result<Expr> {
    let hex = |bytes: &[u8]| lit(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
    match e {
        Expr::Literal(value, _) if value.is_null() => Ok(lit(ScalarValue::Utf8(None))),
        Expr::Literal(ScalarValue::Binary(Some(bytes)), _) => Ok(hex(bytes)),
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => match crate::pgtypes::parse_text(&DataType::Binary, text)?.datum {
            Datum::Bytes(bytes) => Ok(hex(&bytes)),
            _ => Err(EvalError::internal("bytes were expected").into()),
        },
        e if e.get_type(schema)? == DataType::Binary => Ok(function(&ENCODE).call(vec![e.clone(), lit("hex")])),
        _ => Err(EvalError::undefined("function string_agg(text, bytea) does not exist").into()),
    }
}

impl EqualValues {
    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let node = self.in_subqueries(node)?;
        Ok(match node.data {
            LogicalPlan::Aggregate(a) => self.aggregate(a)?,
            LogicalPlan::Distinct(Distinct::All(input)) if self.concerns(&input) => {
                let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
                self.aggregate(Aggregate::try_new(input, columns, vec![])?)?
            }
            LogicalPlan::Join(j) => self.join(j)?,
            LogicalPlan::RecursiveQuery(r) if r.is_distinct && self.concerns(&r.static_term) => self.recursion(r)?,
            LogicalPlan::Extension(x) => match x.node.as_any().downcast_ref::<SetOpNode>() {
                Some(s) if s.left.schema().fields().iter().any(|f| has_forms(f.data_type())) => {
                    Transformed::yes(set_operation(s)?)
                }
                _ => Transformed::no(LogicalPlan::Extension(x)),
            },
            other => Transformed::no(other),
        })
    }

    /// What equal values of this type share, if that is not the value: for a float's key, which is a float, no further one.
    fn key(&self, e: Expr, ty: &DataType) -> Option<Expr> {
        let def = key_of(ty).filter(|_| has_forms(ty) || (self.is_batch && ty.is_floating()))?;
        let is_key = matches!(&e, Expr::ScalarFunction(f) if f.func.name() == def.name);
        (!is_key).then(|| function(def).call(vec![e]))
    }

    fn concerns(&self, plan: &LogicalPlan) -> bool {
        plan.schema().fields().iter().any(|f| has_forms(f.data_type()) || (self.is_batch && f.data_type().is_floating()))
    }

    /// `x IN (SELECT y ..)` where it is left to DataFusion, which makes a join of it.
    fn in_subqueries(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        node.map_expressions(|e| {
            if !e.exists(|e| Ok(matches!(e, Expr::InSubquery(_))))? {
                return Ok(Transformed::no(e));
            }
            let name = names.save(&e);
            let changed = e.transform_up(|e| {
                let Expr::InSubquery(InSubquery { expr, mut subquery, negated }) = e else { return Ok(Transformed::no(e)) };
                let asked = self.key(expr.as_ref().clone(), &expr.get_type(&schema)?);
                let own = subquery.subquery.schema().columns().into_iter().zip(subquery.subquery.schema().fields()).next();
                let own = own.and_then(|(c, f)| Some(named(self.key(Expr::Column(c.clone()), f.data_type())?, &c)));
                let (Some(asked), Some(own)) = (asked, own) else {
                    return Ok(Transformed::no(Expr::InSubquery(InSubquery { expr, subquery, negated })));
                };
                subquery.subquery = Arc::new(project(vec![own], Arc::unwrap_or_clone(subquery.subquery))?);
                Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr: Box::new(asked), subquery, negated })))
            })?;
            Ok(changed.update_data(|e| name.restore(e)))
        })
    }

    fn aggregate(&self, a: Aggregate) -> Result<Transformed<LogicalPlan>> {
        if a.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            return Ok(Transformed::no(LogicalPlan::Aggregate(a)));
        }
        let schema = a.input.schema();
        let shown = a.schema.columns();
        // what is written twice is one column
        let mut keys: Vec<&Expr> = vec![];
        for e in &a.group_expr {
            if !keys.contains(&e) {
                keys.push(e);
            }
        }
        if shown.len() != keys.len() + a.aggr_expr.len() {
            return Err(PlanError::internal("an aggregate whose columns are not its keys and calls").into());
        }
        let (mut group, mut least, mut calls, mut out, mut changed) = (vec![], vec![], vec![], vec![], false);
        for (i, (e, c)) in keys.iter().copied().zip(&shown).enumerate() {
            let ty = e.get_type(schema)?;
            let bare = e.clone().unalias();
            let Some(key) = self.key(bare.clone(), &ty) else {
                group.push(e.clone());
                out.push(Expr::Column(c.clone()));
                continue;
            };
            changed = true;
            let (key_name, form) = (format!("{MARK}k{i}"), format!("{MARK}f{i}"));
            group.push(key.alias(&key_name));
            // a float's key is a float
            let value = if has_forms(&ty) {
                least.push(call("min", exact(bare))?.alias(&form));
                of_exact(column(form), &ty)?
            } else {
                column(key_name)
            };
            out.push(named(value, c));
        }
        for (e, c) in a.aggr_expr.iter().zip(shown.iter().skip(keys.len())) {
            match self.call(e, schema)? {
                Some((inner, above)) => {
                    changed = true;
                    calls.push(named(inner, c));
                    out.push(match above {
                        Above::Nothing => Expr::Column(c.clone()),
                        Above::OfExact(ty) => named(of_exact(Expr::Column(c.clone()), &ty)?, c),
                        Above::OfDigits => named(function(&DECODE).call(vec![Expr::Column(c.clone()), lit("hex")]), c),
                        Above::Once => named(function(&ONCE).call(vec![Expr::Column(c.clone())]), c),
                    });
                }
                None => {
                    calls.push(e.clone());
                    out.push(Expr::Column(c.clone()));
                }
            }
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Aggregate(a)));
        }
        calls.extend(least);
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(a.input, group, calls)?);
        Ok(Transformed::yes(project(out, grouped)?))
    }

    /// A call of an aggregate as one that knows equal values, and what stands above it; `None` if it may stay.
    fn call(&self, e: &Expr, schema: &datafusion::common::DFSchema) -> Result<Option<(Expr, Above)>> {
        let Expr::AggregateFunction(f) = e.clone().unalias() else { return Ok(None) };
        let name = f.func.name().to_owned();
        let Some(first) = f.params.args.first().cloned() else { return Ok(None) };
        let ty = first.get_type(schema)?;
        let forms = has_forms(&ty);
        let with = |mut f: AggregateFunction, arg: Expr| {
            f.params.args[0] = arg;
            Expr::AggregateFunction(f)
        };
        match name.as_str() {
            "min" | "max" | "any_value" if forms && self.is_batch => {
                let AggregateFunction { params, .. } = f;
                let plain = if name == "max" { "max" } else { "min" };
                let Expr::AggregateFunction(mut call) = call(plain, exact(first))? else { return Ok(None) };
                call.params.filter = params.filter;
                Ok(Some((Expr::AggregateFunction(call), Above::OfExact(ty))))
            }
            "count" if f.params.distinct && f.params.args.len() == 1 => {
                Ok(self.key(first, &ty).map(|key| (with(f, key), Above::Nothing)))
            }
            "sum" | "avg" if f.params.distinct && forms => {
                if matches!(&first, Expr::ScalarFunction(f) if f.func.name() == CANONICAL.name) {
                    return Ok(None);
                }
                Ok(Some((with(f, canonical(first)), Above::Nothing)))
            }
            "array_agg" if f.params.distinct && forms && f.params.order_by.iter().all(|s| s.expr == first) => {
                let mut f = f;
                f.params.distinct = false;
                self.ordered(&mut f, schema)?;
                Ok(Some((Expr::AggregateFunction(f), Above::Once)))
            }
            "string_agg" if f.params.args.iter().map(|e| e.get_type(schema)).any(|ty| matches!(ty, Ok(DataType::Binary))) => {
                let mut f = f;
                let written = std::mem::take(&mut f.params.args);
                f.params.args = written.iter().map(|e| digits(e, schema)).collect::<Result<_>>()?;
                for s in &mut f.params.order_by {
                    if let Some(at) = written.iter().position(|e| *e == s.expr) {
                        s.expr = f.params.args[at].clone();
                    }
                }
                self.ordered(&mut f, schema)?;
                Ok(Some((Expr::AggregateFunction(f), Above::OfDigits)))
            }
            "array_agg" | "string_agg" => {
                let mut f = f;
                Ok(self.ordered(&mut f, schema)?.then(|| (Expr::AggregateFunction(f), Above::Nothing)))
            }
            _ => Ok(None),
        }
    }

    /// Gives the executor the order of values, and within equal ones that of how they are written; whether anything changed.
    fn ordered(&self, f: &mut AggregateFunction, schema: &datafusion::common::DFSchema) -> Result<bool> {
        if !self.is_batch || f.params.distinct {
            return Ok(false);
        }
        let mut forms = vec![];
        let mut changed = false;
        for s in &mut f.params.order_by {
            let ty = s.expr.get_type(schema)?;
            let Some(key) = self.key(s.expr.clone(), &ty) else { continue };
            if has_forms(&ty) {
                forms.push(exact(s.expr.clone()).sort(true, false));
            }
            s.expr = key;
            changed = true;
        }
        f.params.order_by.extend(forms);
        Ok(changed)
    }

    fn join(&self, mut j: Join) -> Result<Transformed<LogicalPlan>> {
        let mut changed = false;
        for (l, r) in &mut j.on {
            for (e, schema) in [(l, j.left.schema()), (r, j.right.schema())] {
                let ty = e.get_type(schema)?;
                if let Some(key) = self.key(e.clone(), &ty) {
                    (*e, changed) = (key, true);
                }
            }
        }
        if changed {
            // what was merged by USING has been by now, and its keys are no columns any more
            j.join_constraint = JoinConstraint::On;
        }
        let plan = LogicalPlan::Join(j);
        Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
    }

    /// UNION: rows take one form as they enter, since what comes of a row is not undone when an equal one is found.
    fn recursion(&self, mut r: RecursiveQuery) -> Result<Transformed<LogicalPlan>> {
        let mut changed = false;
        for term in [&mut r.static_term, &mut r.recursive_term] {
            let done = |i: usize| match term.as_ref() {
                LogicalPlan::Projection(p) => {
                    matches!(&p.expr[i].clone().unalias(), Expr::ScalarFunction(f) if f.func.name() == CANONICAL.name)
                }
                _ => false,
            };
            let fields = term.schema().fields().iter().zip(term.schema().columns()).enumerate();
            let out: Vec<Expr> = fields
                .map(|(i, (f, c))| {
                    let of = has_forms(f.data_type()) || (self.is_batch && f.data_type().is_floating());
                    if of && !done(i) {
                        changed = true;
                        named(canonical(Expr::Column(c.clone())), &c)
                    } else {
                        Expr::Column(c)
                    }
                })
                .collect();
            if changed {
                *term = Arc::new(project(out, term.as_ref().clone())?);
            }
        }
        let plan = LogicalPlan::RecursiveQuery(r);
        Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
    }
}

/// What makes the value of what an aggregate gives.
enum Above {
    Nothing,
    OfExact(DataType),
    OfDigits,
    Once,
}

fn call(name: &str, arg: Expr) -> Result<Expr> {
    let f = aggregate(name).ok_or_else(|| PlanError::internal(format!("no aggregate {name}")))?;
    Ok(f.call(vec![arg]))
}

/// Left rows that have a match, or none. The left rows' own forms are shown.
fn set_operation(s: &SetOpNode) -> Result<LogicalPlan> {
    let shown = s.columns();
    let as_named = |plan: &LogicalPlan, name: &dyn Fn(usize) -> Column| {
        let columns = plan.schema().columns().into_iter().enumerate();
        project(columns.map(|(i, c)| named(Expr::Column(c), &name(i))).collect(), plan.clone())
    };
    let own = |i: usize| shown[i].clone();
    let other = |i: usize| Column::new_unqualified(format!("{MARK}r{i}"));
    let (mut left, mut right) = (as_named(&s.left, &own)?, as_named(&s.right, &other)?);
    let types: Vec<DataType> = left.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    let is_batch = EqualValues { is_batch: true };
    let (copy, other_copy) = (format!("{MARK}copy"), format!("{MARK}other"));
    let mut same: Vec<Expr> = vec![];
    for (i, ty) in types.iter().enumerate() {
        let side = |c: Column| {
            let e = Expr::Column(c);
            is_batch.key(e.clone(), ty).unwrap_or(e)
        };
        same.push(binary(side(own(i)), Operator::IsNotDistinctFrom, side(other(i))));
    }
    if s.all {
        let columns = |plan: &LogicalPlan| plan.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
        let (of_left, of_right) = (columns(&left), columns(&right));
        left = numbered(left, of_left, vec![], &copy)?;
        right = numbered(right, of_right, vec![], &other_copy)?;
        same.push(binary(column(copy), Operator::Eq, column(other_copy)));
    } else {
        let columns = shown.iter().cloned().map(Expr::Column).collect();
        left = is_batch.aggregate(Aggregate::try_new(Arc::new(left), columns, vec![])?)?.data;
    }
    let kind = if s.kind == SetOpKind::Intersect { JoinType::LeftSemi } else { JoinType::LeftAnti };
    let (constraint, nulls) = (JoinConstraint::On, NullEquality::NullEqualsNothing);
    let joined = Join::try_new(Arc::new(left), Arc::new(right), vec![], conjunction(same), kind, constraint, nulls, false)?;
    project(shown.iter().cloned().map(Expr::Column).collect(), LogicalPlan::Join(joined))
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}
