//! The analyzer rule that gives a plan PostgreSQL's types: it runs before DataFusion's type coercion and leaves it
//! nothing to do. Integer literals become `integer` where they fit, string literals take the type that stands beside
//! them, operands are cast by PostgreSQL's implicit casts only, casts become ours, floats and intervals are compared by
//! keys that order as PostgreSQL does, orders within string_agg and array_agg become total, and the branches of a set
//! operation take common types.
//!
//! Invariant: every expression is rewritten bottom-up against the schema of its inputs, whose types were already settled.
//! Running it twice changes nothing.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRewriter};
use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::{AggregateFunction, Between, BinaryExpr, Case, Cast, InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, WindowFunctionDefinition, lit, not,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;
use regauge_types::arrays::{depth, leaf, nest};

use super::bind::{self, is_decimal, is_int, is_text};
use super::cast::{self, cast_expr, cast_value};
use super::error::{EvalError, EvalResult};
use super::over::PgWindow;
use super::udf::PgFunction;
use super::{arith, array_agg, array_extreme, branches, equality, function, list_more, lists, planner, quantified, text};
use crate::flowplan::Spread;
use crate::pgtypes::type_name;
use crate::value::Value;

/// The rule. See the module's header.
#[derive(Debug, Default)]
pub struct PgSemantics;

impl AnalyzerRule for PgSemantics {
    fn name(&self) -> &str {
        "pg_semantics"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        settle(plan)
    }
}

/// Inputs first, then the queries within the node's expressions (which may name the inputs' columns), then the expressions.
pub(crate) fn settle(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let settled = plan.transform_up(|node| {
        let outer = merge_schema(&node.inputs());
        let node = node.map_subqueries(|query| Ok(Transformed::yes(settle(outer_types(query, &outer)?)?)))?.data;
        analyze_node(node)
    })?;
    Ok(settled.data)
}

/// A correlated query's outer columns carry the types that they had when the query was bound: now they get the settled ones.
fn outer_types(query: LogicalPlan, outer: &DFSchema) -> DfResult<LogicalPlan> {
    let retype = |e: Expr| {
        e.transform(|e| match &e {
            Expr::OuterReferenceColumn(_, column) => match outer.field_from_column(column) {
                Ok(field) => Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column.clone()))),
                // It belongs to a query further out or further in.
                Err(_) => Ok(Transformed::no(e)),
            },
            _ => Ok(Transformed::no(e)),
        })
    };
    let retyped = query.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Subquery(mut query) => {
            let columns = std::mem::take(&mut query.outer_ref_columns);
            query.outer_ref_columns = columns.into_iter().map(|e| Ok(retype(e)?.data)).collect::<DfResult<_>>()?;
            Ok(Transformed::yes(LogicalPlan::Subquery(query)))
        }
        plan => plan.map_expressions(retype),
    })?;
    Ok(retyped.data)
}

fn analyze_node(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    if let LogicalPlan::Aggregate(a) = &plan {
        crate::bind::no_aggregate_among_keys(a)?;
        crate::bind::direct_of_groups(a)?;
    }
    // LIMIT counts in bigint, whatever else is said about numbers
    if matches!(plan, LogicalPlan::Limit(_)) {
        return Ok(Transformed::no(plan));
    }
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let mut rewriter = Rewriter { schema: &schema };
    let names = NamePreserver::new(&plan);
    let is_sort = matches!(plan, LogicalPlan::Sort(_));
    let plan = plan
        .map_expressions(|expr| {
            let name = names.save(&expr);
            let mut rewritten = expr.rewrite(&mut rewriter)?;
            // whose order DataFusion does not know
            if is_sort && depth(&rewriter.type_of(&rewritten.data)?) > 1 {
                rewritten = Transformed::yes(rewriter.key(rewritten.data)?);
            }
            Ok(rewritten.update_data(|e| name.restore(e)))
        })?
        .data;
    let plan = match plan {
        LogicalPlan::Values(v) => unify_rows(v.values, &v.schema)?,
        plan => plan,
    };
    Ok(Transformed::yes(branches::unify(plan.recompute_schema()?)?))
}

/// Rows of VALUES take one type for each column, as the arms of a UNION do.
fn unify_rows(mut rows: Vec<Vec<Expr>>, schema: &DFSchema) -> DfResult<LogicalPlan> {
    let none = DFSchema::empty();
    // a bare NULL has been given a type by the binder, which is none of its own
    let several = rows.len() > 1;
    let bare: Vec<Vec<bool>> = rows.iter().map(|r| r.iter().map(|e| is_null(e, several)).collect()).collect();
    rows.iter_mut().flatten().for_each(|e| *e = super::rows::unmarked(std::mem::take(e)));
    for i in 0..schema.fields().len() {
        let types = rows.iter().zip(&bare).filter_map(|(r, bare)| Some((r.get(i)?, *bare.get(i)?)));
        let own = |(e, bare): (&Expr, bool)| if bare { Ok(DataType::Null) } else { e.get_type(&none) };
        let types = types.map(own).collect::<DfResult<Vec<_>>>()?;
        let ty = bind::common_all(&types, "VALUES")?;
        for row in &mut rows {
            if let Some(e) = row.get_mut(i) {
                *e = coerce(std::mem::take(e), &ty, &none)?;
            }
        }
    }
    let plan = LogicalPlanBuilder::values(rows)?.build()?;
    let names = schema.fields().iter().zip(plan.schema().fields());
    if names.clone().all(|(want, have)| want.name() == have.name()) {
        return Ok(plan);
    }
    let renamed: Vec<Expr> = names.map(|(want, have)| Expr::Column(Column::from_name(have.name())).alias(want.name())).collect();
    LogicalPlanBuilder::from(plan).project(renamed)?.build()
}

/// A NULL that nobody gave a type: among several rows a cast that somebody wrote is marked, and the binder's is not.
fn is_null(e: &Expr, several: bool) -> bool {
    match e {
        Expr::Literal(value, _) => value.is_null() && (several || value.data_type() == DataType::Null),
        Expr::Alias(a) => is_null(&a.expr, several),
        Expr::Cast(c) => several && is_null(&c.expr, several),
        _ => false,
    }
}

pub(super) struct Rewriter<'a> {
    schema: &'a DFSchema,
}

impl TreeNodeRewriter for Rewriter<'_> {
    type Node = Expr;

    fn f_down(&mut self, expr: Expr) -> DfResult<Transformed<Expr>> {
        match expr {
            e @ (Expr::AggregateFunction(_) | Expr::WindowFunction(_)) => Ok(Transformed::yes(planner::casts_unnamed(e)?)),
            e => Ok(Transformed::no(e)),
        }
    }

    fn f_up(&mut self, expr: Expr) -> DfResult<Transformed<Expr>> {
        Ok(Transformed::yes(self.rewrite(expr)?))
    }
}

impl Rewriter<'_> {
    pub(super) fn type_of(&self, e: &Expr) -> DfResult<DataType> {
        e.get_type(self.schema)
    }

    /// A cast that is allowed.
    pub(super) fn coerced(&self, expr: Expr, to: &DataType) -> DfResult<Expr> {
        coerce(expr, to, self.schema)
    }

    /// An expression whose parts are settled already.
    pub(super) fn expression(&self, expr: Expr) -> DfResult<Expr> {
        self.rewrite(expr)
    }

    fn rewrite(&self, expr: Expr) -> DfResult<Expr> {
        crate::halt::check()?;
        match expr {
            Expr::Literal(value, None) => literal(value),
            Expr::Cast(Cast { expr, field }) => {
                let from = self.type_of(&expr)?;
                // what DataFusion counts by within its own rewrites (GROUPING) has no type of SQL
                let foreign = |ty: &DataType| ty.is_unsigned_integer() || ty.is_nested() && !matches!(ty, DataType::List(_));
                if foreign(&from) || foreign(field.data_type()) {
                    return Ok(Expr::Cast(Cast { expr, field }));
                }
                // `::numeric` without a scale keeps the digits that there are.
                let kept = (*field.data_type() == crate::pgtypes::numeric()).then(|| bind::digits_of(&from)).flatten();
                // an array stays of as many dimensions as it has, whatever the cast says
                let field = match (depth(&from), depth(field.data_type())) {
                    (own, named) if own > 0 && named > 0 && own != named => {
                        let ty = nest(leaf(field.data_type()).clone(), own);
                        Arc::new(field.as_ref().clone().with_data_type(ty))
                    }
                    _ => field,
                };
                match kept {
                    Some(ty) if ty == from => Ok(*expr),
                    Some(ty) => explicit_cast(*expr, &from, &Arc::new(arrow::datatypes::Field::new("", ty, true))),
                    None => explicit_cast(*expr, &from, &field),
                }
            }
            Expr::Negative(e) => self.call(&arith::NEG, vec![*e]),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => self.binary(*left, op, *right),
            Expr::Between(Between { expr, negated, low, high }) => {
                let [e, low, high] = self.unite([*expr, *low, *high], "BETWEEN").map_err(uncompared)?.map(|e| self.key(e));
                Ok(Expr::Between(Between { expr: Box::new(e?), negated, low: Box::new(low?), high: Box::new(high?) }))
            }
            Expr::InList(InList { expr, list, negated }) => {
                let mut all = vec![*expr];
                all.extend(list);
                let mut all = self
                    .unite_all(all, "IN")
                    .map_err(uncompared)?
                    .into_iter()
                    .map(|e| self.key(e))
                    .collect::<DfResult<Vec<_>>>()?;
                let expr = all.remove(0);
                Ok(in_list(expr, all, negated))
            }
            Expr::InSubquery(of) => self.in_query(of),
            Expr::Case(case) => self.case(case),
            Expr::ScalarFunction(ScalarFunction { func, mut args }) => {
                if let Some(literal) = super::open::inner(&func, &mut args) {
                    return Ok(literal);
                }
                if let Some(pg) = func.inner().downcast_ref::<PgFunction>() {
                    if pg.def.name == super::assign::ASSIGN.name {
                        return super::assign::settled(args, self);
                    }
                    lists::refuse_deep(pg.def.name, &args.iter().map(|a| self.type_of(a)).collect::<DfResult<Vec<_>>>()?)?;
                    if let ("array_cat", true) = (pg.def.name, self.are_deep(&args)?) {
                        return self.call(&lists::ARRAYS_CAT, args);
                    }
                    if let (list_more::FLAT_NAME, false, [_]) = (pg.def.name, self.are_deep(&args)?, args.as_slice()) {
                        return Ok(args.swap_remove(0));
                    }
                    if let (list_more::UNJOINED_NAME, false, [_]) = (pg.def.name, self.are_nested(&args)?, args.as_slice()) {
                        return Ok(args.swap_remove(0));
                    }
                    return match quantified::spelt_out(pg.def.name, &args, self)? {
                        Some(spelt_out) => self.rewrite(spelt_out),
                        None if pg.def.name == "pg_typeof" && args.iter().all(is_unknown_literal) => Ok(lit("unknown")),
                        None => self.call(pg.def, args),
                    };
                }
                match func.name() {
                    "coalesce" | "nvl" => Ok(func.call(self.unite_all(args, "COALESCE")?)),
                    "make_array" if self.are_nested(&args)? => self.call(&list_more::ARRAYS, args),
                    "make_array" => {
                        let types = args.iter().map(|a| self.type_of(a)).collect::<DfResult<Vec<_>>>()?;
                        let is_one = types.windows(2).all(|pair| pair[0] == pair[1]);
                        let args = if is_one { args } else { self.unite_all(args, "ARRAY")? };
                        Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
                    }
                    _ => Ok(Expr::ScalarFunction(ScalarFunction { func, args })),
                }
            }
            Expr::AggregateFunction(mut f) => {
                // the fractions of a percentile are of the whole, not of a row
                let of_rows = if is_percentile(f.func.name()) { 1 } else { f.params.args.len() };
                f.params.filter = f.params.filter.map(|e| self.truth(*e, "FILTER")).transpose()?.map(Box::new);
                of_distinct(&mut f)?;
                let order = f.params.order_by.iter_mut().map(|s| &mut s.expr);
                guard(f.params.filter.as_deref(), f.params.args.iter_mut().take(of_rows).chain(order));
                self.numbers_only(&f)?;
                if f.func.name() == "array_agg" && self.are_nested(&f.params.args)? && !array_agg::is_free(&f.params.args) {
                    f.func = array_agg::of_arrays();
                }
                if let "min" | "max" = f.func.name()
                    && self.are_deep(&f.params.args)?
                {
                    f.func = array_extreme::of_arrays(f.func.name() == "max");
                }
                if !f.params.distinct {
                    for s in &mut f.params.order_by {
                        if depth(&self.type_of(&s.expr)?) > 1 {
                            s.expr = self.key(std::mem::take(&mut s.expr))?;
                        }
                    }
                }
                // DataFusion hands the order's columns to all of them
                if !sees_order(f.func.name()) {
                    f.params.order_by.clear();
                }
                Ok(Expr::AggregateFunction(total_order(f)))
            }
            Expr::WindowFunction(mut w) => {
                if matches!(&w.fun, WindowFunctionDefinition::WindowUDF(f) if f.inner().downcast_ref::<PgWindow>().is_some_and(PgWindow::is_neighbour))
                    && let [value, _, default] = w.params.args.as_slice()
                {
                    self.texts_alone(&[value.clone(), default.clone()], "function does not exist: lag or lead")
                        .map_err(uncompared)?;
                }
                w.params.filter = w.params.filter.map(|e| self.truth(*e, "FILTER")).transpose()?.map(Box::new);
                guard(w.params.filter.as_deref(), w.params.args.iter_mut());
                if let WindowFunctionDefinition::WindowUDF(f) = &w.fun
                    && f.inner().downcast_ref::<PgWindow>().is_some_and(|pg| pg.is_filtered)
                    && let Some((filter, args)) = w.params.args.split_last_mut()
                {
                    *filter = self.truth(std::mem::take(filter), "FILTER")?;
                    guard(Some(filter), args.iter_mut());
                }
                Ok(Expr::WindowFunction(w))
            }
            other => Ok(other),
        }
    }

    /// Whether one of them is an array.
    fn are_nested(&self, args: &[Expr]) -> DfResult<bool> {
        Ok(args.iter().map(|a| self.type_of(a)).collect::<DfResult<Vec<_>>>()?.iter().any(|ty| depth(ty) > 0))
    }

    /// Whether one of them is an array of several dimensions.
    fn are_deep(&self, args: &[Expr]) -> DfResult<bool> {
        Ok(args.iter().map(|a| self.type_of(a)).collect::<DfResult<Vec<_>>>()?.iter().any(|ty| depth(ty) > 1))
    }

    /// Aggregates of numbers take a literal whose type is open, and no text that is there; booleans have no least and no greatest.
    fn numbers_only(&self, f: &AggregateFunction) -> DfResult<()> {
        let name = f.func.name();
        if let ("min" | "max", [arg]) = (name, f.params.args.as_slice())
            && self.type_of(arg)? == DataType::Boolean
        {
            return Err(EvalError::undefined(format!("function {name}(boolean) does not exist")).into());
        }
        if !matches!(name, "sum" | "avg" | "percentile_cont") && Spread::of(name).is_none() {
            return Ok(());
        }
        for arg in f.params.args.iter().filter(|a| !is_unknown_literal(a)) {
            if is_text(&self.type_of(arg)?) {
                let types = f.params.args.iter().map(|a| Ok(type_name(&self.type_of(a)?))).collect::<DfResult<Vec<_>>>()?;
                return Err(EvalError::undefined(format!("function {name}({}) does not exist", types.join(", "))).into());
            }
        }
        Ok(())
    }

    /// Calls one of our functions with its arguments cast as its binding asks.
    fn call(&self, def: &'static super::udf::Builtin, args: Vec<Expr>) -> DfResult<Expr> {
        let types = args.iter().map(|a| self.type_of(a)).collect::<DfResult<Vec<_>>>()?;
        let bound = (def.bind)(&types)?;
        let any_to_text = def.name == text::CONCAT_OP.name;
        let args = args
            .into_iter()
            .zip(types.iter().zip(&bound.args))
            .map(|(arg, (from, to))| {
                if any_to_text && from != to && !is_text(from) && *from != DataType::Null {
                    return explicit_cast(arg, from, &Arc::new(arrow::datatypes::Field::new("", to.clone(), true)));
                }
                // an element is put into an array as a value into a column: what may not was refused when the call was bound
                let assigned = matches!(def.name, super::set_element::NAME | super::set_slice::NAME);
                if assigned && !is_unknown_literal(&arg) && !super::assign::assignable(from, to) {
                    let (wants, is) = (type_name(to), type_name(from));
                    let message = format!("subscripted assignment requires type {wants} but expression is of type {is}");
                    return Err(EvalError::new("42804", message).into());
                }
                if !assigned && !is_unknown_literal(&arg) && !bind::implicit(from, to) {
                    let names = types.iter().map(type_name).collect::<Vec<_>>();
                    if matches!(def.name, "greatest" | "least") {
                        let message = format!("{} types {} cannot be matched", def.name.to_uppercase(), names.join(" and "));
                        return Err(EvalError::new("42804", message).into());
                    }
                    let what = match (operator_sign(def.name), &names[..]) {
                        (Some(sign), [l, r]) => format!("operator does not exist: {l} {sign} {r}"),
                        _ => format!("function {}({}) does not exist", def.name, names.join(", ")),
                    };
                    return Err(EvalError::undefined(what).into());
                }
                coerce(arg, to, self.schema)
            })
            .collect::<DfResult<Vec<_>>>()?;
        Ok(function(def).call(args))
    }

    fn binary(&self, left: Expr, op: Operator, right: Expr) -> DfResult<Expr> {
        let def = match op {
            Operator::Plus => Some(&arith::ADD),
            Operator::Minus => Some(&arith::SUB),
            Operator::Multiply => Some(&arith::MUL),
            Operator::Divide => Some(&arith::DIV),
            Operator::Modulo => Some(&arith::MOD),
            Operator::StringConcat => Some(&text::CONCAT_OP),
            _ => None,
        };
        let (l, r) = (self.type_of(&left)?, self.type_of(&right)?);
        let original = |left, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)));
        if l.is_nested() || r.is_nested() {
            // beside an array a literal whose type is open is an array
            let as_other = |e: Expr, other: &DataType| match other {
                DataType::List(_) if is_unknown_literal(&e) => coerce(e, other, self.schema),
                _ => Ok(e),
            };
            let (left, right) = (as_other(left, &r)?, as_other(right, &l)?);
            let (l, r) = (self.type_of(&left)?, self.type_of(&right)?);
            if is_comparison(op) && depth(&l) > 0 && depth(&r) > 0 {
                bind::same_dimensions(&l, &r)?;
            }
            let are_alike = l == r;
            let of_time = |ty: &DataType| matches!(ty, DataType::List(item) if item.data_type().is_temporal());
            if !are_alike && is_comparison(op) && (of_time(&l) || of_time(&r)) {
                let what = format!("operator does not exist: {} {op} {}", type_name(&l), type_name(&r));
                return Err(EvalError::undefined(what).into());
            }
            return Ok(match are_alike && is_comparison(op) {
                true => original(self.key(left)?, self.key(right)?),
                false => original(left, right),
            });
        }
        if let Some(def) = def {
            return self.call(def, vec![left, right]);
        }
        let comparison = op.supports_propagation() && !matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom);
        if comparison && [&l, &r].iter().any(|t| **t == DataType::Utf8View) {
            let what = format!("operator does not exist: {} {op} {}", type_name(&l), type_name(&r));
            return Err(EvalError::undefined(what).into());
        }
        match op {
            op if is_comparison(op) => {
                let [left, right] =
                    self.unite([left, right], "comparison").map_err(|e| match EvalError::from_datafusion(&e).sqlstate {
                        "42804" => {
                            EvalError::undefined(format!("operator does not exist: {} {op} {}", type_name(&l), type_name(&r)))
                                .into()
                        }
                        _ => e,
                    })?;
                Ok(original(self.key(left)?, self.key(right)?))
            }
            Operator::And | Operator::Or => {
                let of = op.to_string();
                Ok(original(self.truth(left, &of)?, self.truth(right, &of)?))
            }
            _ => Ok(original(left, right)),
        }
    }

    /// What is looked for in a query's rows has their type. A query's texts are no numbers, and days are moments beside moments, in the unit
    /// that moments have here.
    fn in_query(&self, of: InSubquery) -> DfResult<Expr> {
        let InSubquery { expr, mut subquery, negated } = of;
        let ty = self.type_of(&expr)?;
        let inner = subquery.subquery.schema().fields().first().map_or(DataType::Null, |f| f.data_type().clone());
        let is_open = ty == DataType::Null || inner == DataType::Null || is_unknown_literal(&expr);
        if is_open || ty == inner || ty.is_nested() && inner.is_nested() {
            return Ok(Expr::InSubquery(InSubquery { expr, subquery, negated }));
        }
        let common = bind::common(&ty, &inner).ok().filter(|_| is_text(&ty) == is_text(&inner));
        let Some(common) = common else {
            let what = format!("operator does not exist: {} = {}", type_name(&ty), type_name(&inner));
            return Err(EvalError::undefined(what).into());
        };
        if !matches!(common, DataType::Timestamp(..)) {
            return Ok(Expr::InSubquery(InSubquery { expr, subquery, negated }));
        }
        if inner != common {
            let plan = Arc::unwrap_or_clone(subquery.subquery);
            let columns = plan.schema().columns();
            let cast = columns
                .first()
                .map(|c| Ok::<_, DataFusionError>(coerce(Expr::Column(c.clone()), &common, plan.schema())?.alias(&c.name)));
            let cast = cast.transpose()?.into_iter().collect::<Vec<_>>();
            subquery.subquery = Arc::new(LogicalPlanBuilder::from(plan).project(cast)?.build()?);
        }
        Ok(Expr::InSubquery(InSubquery { expr: Box::new(coerce(*expr, &common, self.schema)?), subquery, negated }))
    }

    /// A boolean: no number is one without a cast.
    fn truth(&self, e: Expr, of: &str) -> DfResult<Expr> {
        let ty = e.get_type(self.schema)?;
        if ty != DataType::Boolean && !is_unknown_literal(&e) && ty != DataType::Null {
            let message = format!("argument of {of} must be type boolean, not type {}", type_name(&ty));
            return Err(EvalError::new("42804", message).into());
        }
        coerce(e, &DataType::Boolean, self.schema)
    }

    fn case(&self, case: Case) -> DfResult<Expr> {
        let Case { expr, when_then_expr, else_expr } = case;
        let (mut whens, mut thens): (Vec<Expr>, Vec<Expr>) = when_then_expr.into_iter().map(|(w, t)| (*w, *t)).unzip();
        let mut base = None;
        match expr {
            Some(e) => {
                let mut all = vec![*e];
                all.append(&mut whens);
                let mut all = self
                    .unite_all(all, "CASE/WHEN")
                    .map_err(uncompared)?
                    .into_iter()
                    .map(|e| self.key(e))
                    .collect::<DfResult<Vec<_>>>()?;
                base = Some(Box::new(all.remove(0)));
                whens = all;
            }
            None => {
                whens = whens.into_iter().map(|w| self.truth(w, "CASE/WHEN")).collect::<DfResult<_>>()?;
            }
        }
        let n = thens.len();
        thens.extend(else_expr.map(|e| *e));
        let mut thens = self.unite_all(thens, "CASE")?;
        let else_expr = if thens.len() > n { thens.pop().map(Box::new) } else { None };
        let when_then_expr = whens.into_iter().zip(thens).map(|(w, t)| (Box::new(w), Box::new(t))).collect();
        Ok(Expr::Case(Case { expr: base, when_then_expr, else_expr }))
    }

    fn unite<const N: usize>(&self, exprs: [Expr; N], what: &str) -> DfResult<[Expr; N]> {
        let all = self.unite_all(exprs.into(), what)?;
        all.try_into().map_err(|_| EvalError::internal("operands were lost").into())
    }

    /// Casts all to their common type. A literal that fits the type of a column beside it exactly is cast alone.
    fn unite_all(&self, exprs: Vec<Expr>, what: &str) -> DfResult<Vec<Expr>> {
        let types = exprs.iter().map(|e| self.type_of(e)).collect::<DfResult<Vec<_>>>()?;
        if types.iter().any(DataType::is_nested) {
            // beside an array a literal whose type is open is an array
            let list = types.iter().find(|ty| matches!(ty, DataType::List(_))).cloned();
            if let Some(list) = &list {
                types.iter().try_for_each(|ty| bind::same_dimensions(list, ty))?;
            }
            let as_list = |e: Expr| match &list {
                Some(list) if is_unknown_literal(&e) => coerce(e, list, self.schema),
                _ => Ok(e),
            };
            return exprs.into_iter().map(as_list).collect();
        }
        self.texts_alone(&exprs, what)?;
        let known: Vec<&DataType> = exprs.iter().zip(&types).filter(|(e, _)| !is_unknown_literal(e)).map(|(_, t)| t).collect();
        let mut ty = bind::common_all(if known.is_empty() { types.iter().collect() } else { known }, what)?;
        if let Some(column) = column_type_for_literals(&exprs, &types) {
            ty = column;
        }
        exprs.into_iter().map(|e| coerce(e, &ty, self.schema)).collect()
    }

    /// Text that is no literal does not match numbers; literals take what the others have.
    fn texts_alone(&self, exprs: &[Expr], what: &str) -> DfResult<()> {
        let known = exprs.iter().filter(|e| !is_unknown_literal(e));
        let known = known.map(|e| self.type_of(e)).collect::<DfResult<Vec<_>>>()?;
        let other = known.iter().find(|t| !is_text(t) && **t != DataType::Null && !t.is_nested());
        match other.filter(|_| known.iter().any(is_text)) {
            Some(other) => {
                let message = format!("{what} types text and {} cannot be matched", type_name(other));
                Err(EvalError::new("42804", message).into())
            }
            None => Ok(()),
        }
    }

    /// What is compared in the place of a float, an interval, a jsonb or an array.
    fn key(&self, e: Expr) -> DfResult<Expr> {
        let Some(def) = equality::key_of(&self.type_of(&e)?) else { return Ok(e) };
        let harmless = |v: f64| !v.is_nan() && v.to_bits() != (-0.0f64).to_bits();
        let plain = match &e {
            Expr::Literal(ScalarValue::Float64(v), _) => v.is_none_or(harmless),
            Expr::Literal(ScalarValue::Float32(v), _) => v.is_none_or(|v| harmless(v.into())),
            Expr::ScalarFunction(f) => f.func.name() == def.name,
            _ => false,
        };
        Ok(if plain { e } else { function(def).call(vec![e]) })
    }
}

/// Whether the order of rows can change what an aggregate gives.
fn sees_order(name: &str) -> bool {
    const BLIND: [&str; 10] = ["count", "min", "max", "sum", "avg", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor"];
    !BLIND.contains(&name) && Spread::of(name).is_none()
}

/// What has no common type has no operator between it.
fn uncompared(e: DataFusionError) -> DataFusionError {
    let told = EvalError::from_datafusion(&e);
    match told.sqlstate {
        "42804" => EvalError::undefined(format!("operator does not exist: {}", told.message)).into(),
        _ => e,
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator::*;
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn operator_sign(name: &str) -> Option<&'static str> {
    Some(match name {
        "pg_add" => "+",
        "pg_sub" => "-",
        "pg_mul" => "*",
        "pg_div" => "/",
        "mod" => "%",
        "pg_concat" => "||",
        name => return super::bits::sign(name),
    })
}

/// A string literal without a cast: its type is whatever the place needs.
pub(crate) fn is_unknown_literal(e: &Expr) -> bool {
    matches!(e, Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, _))
}

/// Where numbers of one kind and literals meet, the columns' own type, if every literal has exactly such a value.
fn column_type_for_literals(exprs: &[Expr], types: &[DataType]) -> Option<DataType> {
    let mut column = None;
    for (e, ty) in exprs.iter().zip(types) {
        if !matches!(e, Expr::Literal(..)) {
            if column.is_some_and(|c| c != ty) {
                return None;
            }
            column = Some(ty);
        }
    }
    let ty = column.filter(|t| is_int(t) || is_decimal(t))?;
    let fits = |e: &Expr, t: &DataType| match e {
        Expr::Literal(v, _) if v.is_null() || is_unknown_literal(e) => true,
        Expr::Literal(v, _) if (is_int(t) || is_decimal(t)) => {
            Value::from_scalar(v).is_some_and(|v| bind::scale_of(&v.ty) <= bind::scale_of(ty) && cast_value(&v, ty).is_ok())
        }
        Expr::Literal(..) => false,
        _ => true,
    };
    exprs.iter().zip(types).all(|(e, t)| fits(e, t)).then(|| ty.clone())
}

fn literal(value: ScalarValue) -> DfResult<Expr> {
    let value = match value {
        ScalarValue::Int64(Some(v)) => match i32::try_from(v) {
            Ok(v) => ScalarValue::Int32(Some(v)),
            Err(_) => ScalarValue::Int64(Some(v)),
        },
        ScalarValue::UInt64(Some(v)) => ScalarValue::Decimal128(Some(v.into()), 20, 0),
        ScalarValue::Decimal128(Some(v), _, s) if s < 0 => {
            let lifted = 10i128.checked_pow(u32::from(s.unsigned_abs())).and_then(|p| v.checked_mul(p));
            let v = lifted.filter(|v| v.unsigned_abs() < arith::DECIMAL_END.unsigned_abs());
            ScalarValue::Decimal128(Some(v.ok_or_else(EvalError::numeric_overflow)?), 38, 0)
        }
        ScalarValue::Decimal256(..) => return Err(EvalError::numeric_overflow().into()),
        ScalarValue::TimestampNanosecond(Some(ns), tz) => ScalarValue::TimestampMicrosecond(Some(ns.div_euclid(1000)), tz),
        v => v,
    };
    Ok(lit(value))
}

/// An implicit cast: the caller has judged that it is allowed.
pub(super) fn coerce(expr: Expr, to: &DataType, schema: &DFSchema) -> DfResult<Expr> {
    let from = expr.get_type(schema)?;
    if from == *to {
        return Ok(expr);
    }
    // who has no type yet takes this one
    if matches!(&expr, Expr::Placeholder(p) if p.field.is_none()) {
        return Ok(expr);
    }
    explicit_cast(expr, &from, &Arc::new(arrow::datatypes::Field::new("", to.clone(), true)))
}

/// A cast that somebody wrote. Constants are cast now; what cannot be cast is left to the rows that reach it, except for
/// string literals, which PostgreSQL reads when it parses.
fn explicit_cast(expr: Expr, from: &DataType, field: &arrow::datatypes::FieldRef) -> DfResult<Expr> {
    let to = field.data_type();
    if let Expr::Literal(value, _) = &expr {
        if value.is_null() {
            return Ok(lit(ScalarValue::try_from(to)?));
        }
        if from == to {
            return Ok(Expr::Cast(Cast { expr: Box::new(expr), field: Arc::clone(field) }));
        }
        // a plan's own constants hold no arrays: those are made where they are needed
        if let Some(value) = Value::from_scalar(value).filter(|_| !to.is_nested()) {
            match constant(&value, to) {
                Ok(v) => return Ok(typed(v)),
                Err(e) if is_text(from) => return Err(e.into()),
                Err(_) => {}
            }
        }
    }
    if from == to {
        return Ok(expr);
    }
    if !cast::can_fail(from, to)? && plain(from, to) {
        return Ok(Expr::Cast(Cast {
            expr: Box::new(expr),
            field: Arc::new(arrow::datatypes::Field::new("", to.clone(), true)),
        }));
    }
    Ok(cast_expr(expr, to.clone()))
}

fn constant(value: &Value, to: &DataType) -> EvalResult<ScalarValue> {
    let cast = cast_value(value, to)?;
    cast.to_scalar().ok_or_else(|| EvalError::internal("constant does not fit its type"))
}

/// A constant whose type must not be taken for a literal's: a cast around text and bigint keeps them what they are.
fn typed(value: ScalarValue) -> Expr {
    let fits_int4 = matches!(value, ScalarValue::Int64(Some(v)) if i32::try_from(v).is_ok());
    if fits_int4 || matches!(value, ScalarValue::Utf8(Some(_))) {
        let field = Arc::new(arrow::datatypes::Field::new("", value.data_type(), true));
        return Expr::Cast(Cast { expr: Box::new(lit(value)), field });
    }
    lit(value)
}

/// Casts where Arrow's kernel and PostgreSQL agree on every value: DataFusion may see through them.
fn plain(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    matches!((from, to), (Int16, Int32 | Int64 | Float64) | (Int32, Int64 | Float64) | (Float32, Float64))
        || (is_text(from) && is_text(to))
}

/// What FILTER leaves out is not computed: an argument, or an order, that may fail is asked only where the filter holds. Both, since with
/// DISTINCT the order is by an argument.
fn guard<'a>(filter: Option<&Expr>, args: impl Iterator<Item = &'a mut Expr>) {
    let Some(filter) = filter else { return };
    for arg in args {
        let fails = arg.exists(|e| Ok(matches!(e, Expr::ScalarFunction(_) | Expr::Cast(_)))).unwrap_or(true);
        let guarded = matches!(&*arg, Expr::Case(c) if c.when_then_expr.first().is_some_and(|(when, _)| **when == *filter));
        if fails && !guarded {
            let then = Box::new(std::mem::take(arg));
            *arg = Expr::Case(Case::new(None, vec![(Box::new(filter.clone()), then)], None));
        }
    }
}

/// Whether the second argument of the aggregate of this name says which fractions.
pub(crate) fn is_percentile(name: &str) -> bool {
    matches!(name, "percentile_cont" | "percentile_disc")
}

/// Whether an aggregate's result depends on the order within its call.
fn is_list(name: &str) -> bool {
    matches!(name, "string_agg" | "array_agg")
}

/// The order of different values is one of their own; an aggregate that gives no list needs none.
///
/// # Errors
/// 42P10.
fn of_distinct(f: &mut AggregateFunction) -> DfResult<()> {
    let AggregateFunction { func, params } = f;
    if !params.distinct || params.order_by.is_empty() || is_percentile(func.name()) || func.name() == "mode" {
        return Ok(());
    }
    let is_arg = |e: &Expr| !matches!(e, Expr::Literal(..)) && params.args.contains(e);
    if !params.order_by.iter().all(|s| is_arg(&s.expr)) {
        let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
        return Err(EvalError::new("42P10", message).into());
    }
    if !is_list(func.name()) {
        params.order_by.clear();
    }
    let mut seen: Vec<Expr> = vec![];
    params.order_by.retain(|s| {
        let is_new = !seen.contains(&s.expr);
        seen.push(s.expr.clone());
        is_new
    });
    Ok(())
}

/// Ties in the order of string_agg and array_agg are broken by the whole value, so that every run agrees. A delimiter that varies is a part
/// of it, and of another function.
fn total_order(mut f: AggregateFunction) -> AggregateFunction {
    if !is_list(f.func.name()) {
        return f;
    }
    if f.func.name() == "string_agg" && f.params.args.get(1).is_some_and(|d| !matches!(d, Expr::Literal(..))) {
        f.func = super::string_agg::varying();
    }
    let missing: Vec<Expr> = f
        .params
        .args
        .iter()
        .filter(|a| !matches!(a, Expr::Literal(..)) && !f.params.order_by.iter().any(|s| s.expr == **a))
        .cloned()
        .collect();
    f.params.order_by.extend(missing.into_iter().map(|a| a.sort(true, false)));
    f
}

/// `expr IN (list)`. Only constants stay a list: DataFusion intersects the lists of `a IN (b, c) AND a IN (d, e)` by how they are
/// written, which is wrong for what has no value yet and for NULL.
fn in_list(expr: Expr, list: Vec<Expr>, negated: bool) -> Expr {
    let (list, rest): (Vec<Expr>, Vec<Expr>) = list.into_iter().partition(is_constant);
    let mut any: Vec<Expr> = rest.into_iter().map(|e| expr.clone().eq(e)).collect();
    if any.is_empty() {
        return Expr::InList(InList { expr: Box::new(expr), list, negated });
    }
    if !list.is_empty() {
        any.push(Expr::InList(InList { expr: Box::new(expr), list, negated: false }));
    }
    let any = balanced(any);
    if negated { not(any) } else { any }
}

/// Joined by OR, as flat as can be: a list may be long.
fn balanced(mut all: Vec<Expr>) -> Expr {
    while all.len() > 1 {
        let mut pairs = all.into_iter();
        let mut joined = vec![];
        while let Some(a) = pairs.next() {
            joined.push(match pairs.next() {
                Some(b) => a.or(b),
                None => a,
            });
        }
        all = joined;
    }
    all.pop().unwrap_or_else(|| lit(false))
}

fn is_constant(e: &Expr) -> bool {
    match e {
        Expr::Literal(value, _) => !value.is_null(),
        Expr::Cast(Cast { expr, .. }) => is_constant(expr),
        _ => false,
    }
}
