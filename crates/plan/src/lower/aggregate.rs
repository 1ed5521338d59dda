//! GROUP BY and aggregate calls; DISTINCT is a grouping without calls.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr};

use super::topk::order_key;
use super::{Builder, Rel, Result, columns, first_line, scalar};
use crate::error::PlanError;
use crate::flowplan::{AggCall, AggFunc, Op};
use crate::scalar::Scalar;

impl Builder {
    /// Keys, arguments, filters and orders become columns of one map; the calls name them by position.
    pub(super) fn aggregate(&mut self, a: &Aggregate) -> Result<Rel> {
        let input = self.lower(&a.input)?;
        let schema = a.input.schema();
        let mut args = Columns::default();
        let mut keys = vec![];
        for e in &a.group_expr {
            if let Expr::GroupingSet(_) = e {
                return Err(PlanError::unsupported(
                    "GROUPING SETS, ROLLUP and CUBE are not offered in a view",
                    "write one GROUP BY per set and join them by UNION ALL",
                ));
            }
            keys.push(args.place(scalar::lower(e, schema)?));
        }
        if a.aggr_expr.is_empty() && !keys.is_empty() {
            // The keys alone: duplicates among them would be columns of the map only once.
            let rel = self.project(input, args.exprs)?;
            let node = self.materialize_wide(rel)?;
            let node = self.unique(node)?;
            let exprs = keys.into_iter().map(Scalar::Column).collect();
            return Ok(Rel { node, filter: vec![], exprs });
        }
        let n_keys = keys.len();
        let mut aggs = vec![];
        for (e, field) in a.aggr_expr.iter().zip(a.schema.fields().iter().skip(n_keys)) {
            aggs.push(call(e, field.data_type(), schema, &mut args)?);
        }
        let rel = self.project(input, args.exprs)?;
        let node = self.materialize_wide(rel)?;
        let node = self.push(Op::Aggregate { keys, aggs }, vec![node])?;
        Ok(Rel { node, filter: vec![], exprs: columns(self.types(node).len()) })
    }
}

/// Distinct expressions in order of first use.
#[derive(Default)]
struct Columns {
    exprs: Vec<Scalar>,
}

impl Columns {
    fn place(&mut self, e: Scalar) -> usize {
        self.exprs.iter().position(|x| *x == e).unwrap_or_else(|| {
            self.exprs.push(e);
            self.exprs.len() - 1
        })
    }
}

fn call(e: &Expr, ty: &DataType, schema: &DFSchema, columns: &mut Columns) -> Result<AggCall> {
    let f = match e {
        Expr::Alias(a) => return call(&a.expr, ty, schema, columns),
        Expr::AggregateFunction(f) => f,
        other => return Err(PlanError::internal(format!("no aggregate: {}", first_line(&other.to_string())))),
    };
    let func = function(f)?;
    let mut args = f.params.args.iter().map(|a| scalar::lower(a, schema)).collect::<Result<Vec<_>>>()?;
    if func == AggFunc::Count {
        // count(*) arrives as the count of a constant.
        if !f.params.distinct && matches!(args.as_slice(), [Scalar::Literal(v)] if !v.is_null()) {
            args.clear();
        }
        if args.len() > 1 {
            return Err(PlanError::unsupported(
                "count of several columns is not offered",
                "count a concatenation, or SELECT DISTINCT in a subquery and count its rows",
            ));
        }
    }
    let args: Vec<usize> = args.into_iter().map(|a| columns.place(a)).collect();
    let filter = match &f.params.filter {
        Some(e) => Some(columns.place(scalar::typed(scalar::lower(e, schema)?, &DataType::Boolean))),
        None => None,
    };
    let ordered = matches!(func, AggFunc::StringAgg | AggFunc::ArrayAgg);
    let mut order = vec![];
    for s in f.params.order_by.iter().filter(|_| ordered) {
        let column = columns.place(scalar::lower(&s.expr, schema)?);
        order.push(order_key(column, s));
    }
    if f.params.distinct && order.iter().any(|k| !args.contains(&k.column)) {
        return Err(PlanError::invalid(
            "42P10",
            "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list",
        ));
    }
    // min(DISTINCT x) is min(x).
    let idempotent = matches!(func, AggFunc::Min | AggFunc::Max | AggFunc::BoolAnd | AggFunc::BoolOr);
    let distinct = f.params.distinct && !idempotent;
    Ok(AggCall { func, args, distinct, filter, order, output: scalar::output_type(ty) })
}

fn function(f: &AggregateFunction) -> Result<AggFunc> {
    let name = f.func.name();
    Ok(match name {
        "count" => AggFunc::Count,
        "sum" => AggFunc::Sum,
        "avg" | "mean" => AggFunc::Avg,
        "min" => AggFunc::Min,
        "max" => AggFunc::Max,
        "bool_and" | "every" => AggFunc::BoolAnd,
        "bool_or" => AggFunc::BoolOr,
        "string_agg" => AggFunc::StringAgg,
        "array_agg" => AggFunc::ArrayAgg,
        _ => {
            let hint = match name {
                "first_value" | "last_value" => {
                    "write row_number() OVER (PARTITION BY .. ORDER BY ..) AS rn in a subquery and WHERE rn = 1 around it"
                }
                "stddev_pop" | "var_pop" | "var_samp" | "stddev_samp" => "write it with count(*), sum(x) and sum(x * x)",
                _ => "the aggregates are count, sum, avg, min, max, bool_and, bool_or, string_agg, array_agg",
            };
            return Err(PlanError::unsupported(format!("aggregate {name} is not offered in a view"), hint));
        }
    })
}
