//! GROUP BY and aggregate calls; DISTINCT is a grouping without calls.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr};

use super::topk::order_key;
use super::{Builder, Rel, Result, columns, first_line, scalar};
use crate::error::PlanError;
use crate::flowplan::{AggCall, AggFunc, Op, Spread};
use crate::functions::cast::cast_column;
use crate::functions::fractions;
use crate::scalar::Scalar;
use crate::value::Value;

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
    let func = function(f, ty)?;
    let (given, direct) = match f.params.args.as_slice() {
        [value, fractions] if func.is_ordered_set() => (std::slice::from_ref(value), fractions_of(fractions)?),
        given => (given, vec![]),
    };
    let mut args = given.iter().map(|a| scalar::lower(a, schema)).collect::<Result<Vec<_>>>()?;
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
    let ordered = matches!(func, AggFunc::StringAgg | AggFunc::ArrayAgg) || func.is_ordered_set();
    let mut order = vec![];
    for s in f.params.order_by.iter().filter(|_| ordered) {
        // WITHIN GROUP orders what it hands over, perhaps as another type
        let column = match args.as_slice() {
            [value] if func.is_ordered_set() => *value,
            _ => columns.place(scalar::lower(&s.expr, schema)?),
        };
        order.push(order_key(column, s));
    }
    if func.is_ordered_set() && order.len() != 1 {
        let message = format!("WITHIN GROUP is required for ordered-set aggregate {}", func.name());
        return Err(PlanError::invalid("42809", message));
    }
    if f.params.distinct && order.iter().any(|k| !args.contains(&k.column)) {
        return Err(PlanError::invalid(
            "42P10",
            "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list",
        ));
    }
    // min(DISTINCT x) is min(x).
    let idempotent = matches!(func, AggFunc::Min | AggFunc::Max | AggFunc::BoolAnd | AggFunc::BoolOr);
    let idempotent = idempotent || matches!(func, AggFunc::BitAnd | AggFunc::BitOr);
    let distinct = f.params.distinct && !idempotent;
    Ok(AggCall { func, args, distinct, filter, order, direct, output: scalar::output_type(ty) })
}

/// The fractions of a percentile, which a view takes as constants.
fn fractions_of(e: &Expr) -> Result<Vec<Value>> {
    let odd = || {
        PlanError::unsupported(
            format!("the fractions of a percentile are constants in a view, not {}", first_line(&e.to_string())),
            "write numbers, or ARRAY[..] of numbers",
        )
    };
    let array = match e {
        Expr::Literal(v, _) => v.to_array()?,
        Expr::Cast(c) => return fractions_of(&c.expr),
        Expr::Alias(a) => return fractions_of(&a.expr),
        Expr::ScalarFunction(f) if f.func.name() == "make_array" => {
            return Ok(f.args.iter().map(fractions_of).collect::<Result<Vec<_>>>()?.concat());
        }
        Expr::ScalarFunction(f) if !f.args.is_empty() && crate::functions::cast_target(&f.func).is_some() => {
            return fractions_of(&f.args[0]);
        }
        _ => return Err(odd()),
    };
    let items = match array.data_type() {
        DataType::List(_) if array.is_null(0) => return Err(odd()),
        DataType::List(_) => array.as_list::<i32>().value(0),
        _ => array,
    };
    let items = cast_column(&items, &DataType::Float64).map_err(|e| PlanError::invalid(e.sqlstate, e.message))?;
    let fraction = |f: Option<f64>| match f.map(fractions::check).transpose() {
        Ok(Some(f)) => Ok(Value::float8(f)),
        Ok(None) => Ok(Value::null(DataType::Float64)),
        Err(e) => Err(PlanError::invalid(e.sqlstate, e.message)),
    };
    items.as_primitive::<Float64Type>().iter().map(fraction).collect()
}

fn function(f: &AggregateFunction, ty: &DataType) -> Result<AggFunc> {
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
        "bit_and" => AggFunc::BitAnd,
        "bit_or" => AggFunc::BitOr,
        "bit_xor" => AggFunc::BitXor,
        "percentile_cont" => AggFunc::PercentileCont,
        "percentile_disc" => AggFunc::PercentileDisc,
        "mode" => AggFunc::Mode,
        // one value that is there, and the same whatever the order of rows
        "any_value" if *ty == DataType::Boolean => AggFunc::BoolAnd,
        "any_value" => AggFunc::Min,
        _ => {
            if let Some(spread) = Spread::of(name) {
                return Ok(AggFunc::Spread(spread));
            }
            let hint = match name {
                "first_value" | "last_value" => {
                    "write row_number() OVER (PARTITION BY .. ORDER BY ..) AS rn in a subquery and WHERE rn = 1 around it"
                }
                _ => "the aggregates are listed in the handbook, chapter Aggregates",
            };
            return Err(PlanError::unsupported(format!("aggregate {name} is not offered in a view"), hint));
        }
    })
}
