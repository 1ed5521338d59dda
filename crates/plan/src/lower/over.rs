//! Functions with OVER: windows of one partitioning and order are one operator, its arguments columns of the map below.

use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, Window, WindowFunctionDefinition};
use datafusion::sql::sqlparser::ast as sql;

use super::topk::order_key;
use super::{Builder, Rel, Result, first_line, scalar};
use crate::bind::constant_of;
use crate::bind::frames::{WrittenBound, WrittenFrame};
use crate::error::PlanError;
use crate::flowplan::types::sql_name;
use crate::flowplan::window_bytes::{is_offset, offset_type};
use crate::flowplan::{AggFunc, Arg, Bound, Frame, Op, OrderKey, Units, WindowCall, WindowFunc};
use crate::functions::arith::rescale;
use crate::functions::over::{PgWindow, not_offered};
use crate::scalar::Scalar;
use crate::value::{Datum, Value};
use arrow::datatypes::DataType;

/// What a logical Window does, its columns those that `place` gave.
pub(crate) struct Spec {
    pub partition: Vec<usize>,
    pub order: Vec<OrderKey>,
    pub calls: Vec<WindowCall>,
}

/// Gives an expression a column, or says that it is a constant.
pub(crate) type Place<'a> = dyn FnMut(&Expr) -> Result<Arg> + 'a;

/// Reads a logical Window.
pub(crate) fn spec(w: &Window, place: &mut Place<'_>) -> Result<Spec> {
    let schema = w.input.schema();
    let n_input = schema.fields().len();
    let first = w.window_expr.first().ok_or_else(|| PlanError::internal("a window without calls"))?;
    let params = &window_function(first)?.params;
    let mut partition = vec![];
    for e in &params.partition_by {
        if let Arg::Column(c) = place(e)? {
            partition.push(c);
        }
    }
    partition.sort_unstable();
    partition.dedup();
    let order = orders(&params.order_by, place)?;
    let mut calls = vec![];
    for (i, e) in w.window_expr.iter().enumerate() {
        let output = w.schema.fields().get(n_input + i).map(|f| f.data_type().clone());
        let output = scalar::output_type(&output.ok_or_else(|| PlanError::internal("a window without its columns"))?);
        calls.push(call(window_function(e)?, output, schema, &order, place)?);
    }
    Ok(Spec { partition, order, calls })
}

fn orders(order_by: &[SortExpr], place: &mut Place<'_>) -> Result<Vec<OrderKey>> {
    let mut order: Vec<OrderKey> = vec![];
    for s in order_by {
        // A constant orders nothing, and a repeated key decides nothing.
        if let Arg::Column(c) = place(&s.expr)?
            && order.iter().all(|k| k.column != c)
        {
            order.push(order_key(c, s));
        }
    }
    Ok(order)
}

fn window_function(e: &Expr) -> Result<&WindowFunction> {
    match e {
        Expr::Alias(a) => window_function(&a.expr),
        Expr::WindowFunction(f) => Ok(f),
        other => Err(PlanError::internal(format!("no window function: {}", first_line(&other.to_string())))),
    }
}

/// Our function in a call.
pub(crate) fn ours(f: &WindowFunction) -> Option<&PgWindow> {
    match &f.fun {
        WindowFunctionDefinition::WindowUDF(udf) => udf.inner().downcast_ref::<PgWindow>(),
        WindowFunctionDefinition::AggregateUDF(_) => None,
    }
}

/// Whether all calls of a logical Window are ours.
pub(crate) fn all_ours(w: &Window) -> bool {
    w.window_expr.iter().all(|e| window_function(e).is_ok_and(|f| ours(f).is_some()))
}

/// Whether one is.
pub(crate) fn any_ours(w: &Window) -> bool {
    w.window_expr.iter().any(|e| window_function(e).is_ok_and(|f| ours(f).is_some()))
}

fn call(
    f: &WindowFunction,
    output: DataType,
    schema: &DFSchema,
    order: &[OrderKey],
    place: &mut Place<'_>,
) -> Result<WindowCall> {
    let pg = ours(f).ok_or_else(|| not_offered(f.fun.name()))?;
    let params = &f.params;
    let (filter, given) = match params.args.split_last() {
        Some((filter, args)) if pg.is_filtered => (Some(filter), args),
        _ => (None, params.args.as_slice()),
    };
    let is_count = |i: usize| match pg.func {
        WindowFunc::Ntile => i == 0,
        WindowFunc::Lag | WindowFunc::Lead | WindowFunc::NthValue => i == 1,
        _ => false,
    };
    let mut args = vec![];
    for (i, e) in given.iter().enumerate() {
        if is_count(i) && e.get_type(schema)? == DataType::Int64 {
            let types = given.iter().map(|e| Ok(sql_name(&e.get_type(schema)?))).collect::<Result<Vec<_>>>()?;
            let message = format!("function {}({}) does not exist", pg.func.name(), types.join(", "));
            return Err(PlanError::invalid("42883", message).with_hint("add explicit casts"));
        }
        args.push(typed(place(e)?, pg.func, i, &output));
    }
    // count of a constant that is not NULL counts rows
    if pg.func == WindowFunc::Agg(AggFunc::Count) && matches!(args.as_slice(), [Arg::Constant(v)] if !v.is_null()) {
        args.clear();
    }
    let filter = match filter {
        None => None,
        Some(e) => match place(e)? {
            Arg::Column(c) => Some(c),
            Arg::Constant(Value { datum: Datum::Bool(true), .. }) => None,
            Arg::Constant(_) => {
                return Err(PlanError::unsupported("a constant FILTER is not offered for window functions", "leave it out"));
            }
        },
    };
    let frame = match &pg.frame {
        Some(written) if pg.func.looks_at_frame() => {
            let frame = frame(written, &params.order_by, schema)?;
            if order.is_empty() && frame.units != Units::Rows { of_peers(frame)? } else { frame }
        }
        _ => Frame::default(),
    };
    Ok(WindowCall { func: pg.func, args, filter, frame, output })
}

/// An untyped NULL among the arguments takes the type that stands there.
fn typed(arg: Arg, func: WindowFunc, i: usize, output: &DataType) -> Arg {
    let ty = match (func, i) {
        (WindowFunc::Ntile, _) | (WindowFunc::Lag | WindowFunc::Lead | WindowFunc::NthValue, 1) => DataType::Int32,
        (WindowFunc::Lag | WindowFunc::Lead | WindowFunc::NthValue | WindowFunc::FirstValue | WindowFunc::LastValue, _) => {
            output.clone()
        }
        _ => return arg,
    };
    match arg {
        Arg::Constant(v) if v.is_null() => Arg::Constant(Value::null(ty)),
        arg => arg,
    }
}

fn frame(written: &WrittenFrame, order_by: &[SortExpr], schema: &DFSchema) -> Result<Frame> {
    let column = match order_by {
        [s] if written.units == Units::Range => Some(s.expr.get_type(schema)?),
        _ => None,
    };
    let bound = |b: &WrittenBound, is_start: bool| -> Result<Bound> {
        Ok(match b {
            WrittenBound::UnboundedPreceding => Bound::UnboundedPreceding,
            WrittenBound::CurrentRow => Bound::CurrentRow,
            WrittenBound::UnboundedFollowing => Bound::UnboundedFollowing,
            // A fraction below the column's scale: a start before and an end behind reach as far as whole steps do.
            WrittenBound::Preceding(text) => Bound::Preceding(offset(text, written.units, column.as_ref(), is_start, !is_start)?),
            WrittenBound::Following(text) => Bound::Following(offset(text, written.units, column.as_ref(), is_start, is_start)?),
        })
    };
    let (start, end) = (bound(&written.start, true)?, bound(&written.end, false)?);
    Ok(Frame { units: written.units, start, end, exclude: written.exclude })
}

/// The frame where nothing but constants orders: all rows of a partition are peers, so that an offset outwards holds them all.
fn of_peers(frame: Frame) -> Result<Frame> {
    let is_zero = |v: &Value| match v.datum {
        Datum::Int(n) => n == 0,
        Datum::Decimal(n) => n == 0,
        Datum::Float(x) => x == 0.0,
        Datum::Interval { months, days, nanos } => (months, days, nanos) == (0, 0, 0),
        _ => false,
    };
    let bound = |b: Bound, outwards: Bound| match (b, &outwards) {
        (Bound::Preceding(_), Bound::UnboundedPreceding) | (Bound::Following(_), Bound::UnboundedFollowing) => Ok(outwards),
        (Bound::Preceding(v) | Bound::Following(v), _) if is_zero(&v) => Ok(Bound::CurrentRow),
        (Bound::Preceding(_) | Bound::Following(_), _) => Err(PlanError::unsupported(
            "a frame that begins behind the current row or ends before it is not offered where ORDER BY is a constant",
            "order by a column, or leave ORDER BY out and count in ROWS",
        )),
        (other, _) => Ok(other),
    };
    let Frame { units, start, end, exclude } = frame;
    let start = bound(start, Bound::UnboundedPreceding)?;
    Ok(Frame { units, start, end: bound(end, Bound::UnboundedFollowing)?, exclude })
}

/// The offset of a bound, of the type that its unit counts in.
fn offset(text: &str, units: Units, column: Option<&DataType>, is_start: bool, up: bool) -> Result<Value> {
    let value = constant(text, units, column)?;
    let which = if is_start { "starting" } else { "ending" };
    if value.is_null() {
        return Err(PlanError::invalid("22004", format!("frame {which} offset must not be null")));
    }
    if units != Units::Range {
        let name = if units == Units::Rows { "ROWS" } else { "GROUPS" };
        let Datum::Int(n) = value.datum else {
            let ty = sql_name(&value.ty);
            return Err(PlanError::invalid("42804", format!("argument of {name} must be type bigint, not type {ty}")));
        };
        if n < 0 {
            return Err(PlanError::invalid("22013", format!("frame {which} offset must not be negative")));
        }
        return Ok(Value::int8(n));
    }
    let column = column.ok_or_else(|| PlanError::internal("a range with an offset has one order column"))?;
    let refused = |with: String| {
        let column = sql_name(column);
        PlanError::unsupported(
            format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {column}{with}"),
            "Cast the offset value to an appropriate type.",
        )
    };
    let ty = offset_type(column).ok_or_else(|| refused(String::new()))?;
    let wrong = || refused(format!(" and offset type {}", sql_name(&value.ty)));
    let datum = match (&value.datum, &ty) {
        (Datum::Int(n), DataType::Int64) => Datum::Int(*n),
        (Datum::Int(n), DataType::Decimal128(_, s)) => Datum::Decimal(rescale((*n).into(), 0, *s).ok_or_else(wrong)?),
        (Datum::Decimal(n), DataType::Decimal128(_, s)) => Datum::Decimal(scaled(*n, &value.ty, *s, up).ok_or_else(wrong)?),
        #[expect(clippy::cast_precision_loss, reason = "as PostgreSQL's cast to double precision")]
        (Datum::Int(n), DataType::Float64) => Datum::Float(*n as f64),
        (Datum::Decimal(_), DataType::Float64) => {
            let text = value.to_string();
            Datum::Float(text.parse().map_err(|_| wrong())?)
        }
        (Datum::Float(x), DataType::Float64) => Datum::Float(*x),
        (Datum::Text(t), DataType::Interval(_)) => {
            crate::pgtypes::parse_text(&ty, t).map_err(|e| PlanError::invalid(e.sqlstate, e.message))?.datum
        }
        (d @ Datum::Interval { .. }, DataType::Interval(_)) => d.clone(),
        _ => return Err(wrong()),
    };
    let value = Value { ty, datum };
    let clock = matches!((&value.datum, column), (Datum::Interval { nanos, .. }, DataType::Time64(_)) if *nanos < 0);
    if clock || !is_offset(&value) {
        return Err(PlanError::invalid("22013", "invalid preceding or following size in window function"));
    }
    Ok(value)
}

/// A bound's offset as it was written. A text without a type is read as what the frame counts in.
fn constant(text: &str, units: Units, column: Option<&DataType>) -> Result<Value> {
    let written = crate::parse::parse_expr(text)?;
    let mut bare = &written;
    while let sql::Expr::Nested(inner) = bare {
        bare = inner;
    }
    let sql::Expr::Value(sql::ValueWithSpan { value: sql::Value::SingleQuotedString(text), .. }) = bare else {
        return constant_of(written);
    };
    let ty = match column.filter(|_| units == Units::Range).map(offset_type) {
        // with as many digits as there are: those below the column's scale are rounded when the bound is known
        Some(Some(DataType::Decimal128(..))) => crate::pgtypes::numeric(),
        Some(Some(ty)) => ty,
        Some(None) => return constant_of(written),
        None => DataType::Int64,
    };
    crate::pgtypes::parse_text(&ty, text).map_err(|e| PlanError::invalid(e.sqlstate, e.message))
}

/// A numeric at another scale, rounded up or down where digits are lost.
fn scaled(n: i128, ty: &DataType, to: i8, up: bool) -> Option<i128> {
    let DataType::Decimal128(_, from) = ty else { return None };
    if *from <= to {
        return rescale(n, *from, to);
    }
    let unit = 10i128.checked_pow(u32::try_from(from - to).ok()?)?;
    Some(n.div_euclid(unit) + i128::from(up && n.rem_euclid(unit) != 0))
}

impl Builder {
    pub(super) fn over(&mut self, w: &Window) -> Result<Rel> {
        let rel = self.lower(&w.input)?;
        let width = rel.exprs.len();
        let schema = w.input.schema();
        let mut exprs = super::columns(width);
        let spec = spec(w, &mut |e| {
            Ok(match scalar::lower(e, schema)? {
                Scalar::Literal(v) => Arg::Constant(v),
                e => Arg::Column(exprs.iter().position(|x| *x == e).unwrap_or_else(|| {
                    exprs.push(e);
                    exprs.len() - 1
                })),
            })
        })?;
        let rel = if exprs.len() == width { rel } else { self.project(rel, exprs)? };
        let node = self.materialize_wide(rel)?;
        let n_input = self.types(node).len();
        let n_calls = spec.calls.len();
        let number = matches!(spec.calls.as_slice(), [c] if c.func == WindowFunc::RowNumber);
        let Spec { partition, order, calls } = spec;
        let op = if number {
            // A filter above may bound it: then it is a top-k (`bound_row_number`), otherwise a window in the end.
            Op::TopK { partition, order, limit: u64::MAX, offset: 0, row_number: true }
        } else {
            Op::Window { partition, order, calls }
        };
        let node = self.push(op, vec![node])?;
        let mut rel = self.rel(node);
        let results = rel.exprs.split_off(n_input);
        rel.exprs.truncate(width);
        rel.exprs.extend(results);
        debug_assert_eq!(rel.exprs.len(), width + n_calls);
        Ok(rel)
    }
}

/// A row number that nothing bounds is a window's: that keeps positions without comparing whole partitions.
pub(super) fn unbounded(op: Op) -> Op {
    match op {
        Op::TopK { partition, order, limit: u64::MAX, offset: 0, row_number: true } => {
            let call = WindowCall {
                func: WindowFunc::RowNumber,
                args: vec![],
                filter: None,
                frame: Frame::default(),
                output: DataType::Int64,
            };
            Op::Window { partition, order, calls: vec![call] }
        }
        op => op,
    }
}
