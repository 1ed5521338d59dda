//! TUMBLE, HOP and CUMULATE for DataFusion's executor: the windows that hold a row as a list, unnested. The arithmetic is the one
//! that `crate::flowplan::Op::Tumble`, `Op::Hop` and `Op::Cumulate` define.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, PrimitiveBuilder, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Column;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};

use super::window::{Kind, WindowNode};
use crate::error::PlanError;

/// Start of the last window at or before `ts`, for windows that start at `offset + k * step`; `None` beyond the range.
pub(crate) fn last_start(ts: i64, step: i64, offset: i64) -> Option<i64> {
    let back = (i128::from(ts) - i128::from(offset)).rem_euclid(i128::from(step));
    i64::try_from(i128::from(ts) - back).ok()
}

/// Rows with a NULL time are dropped, the others appear once per window.
pub(super) fn spell_out(node: WindowNode) -> DfResult<LogicalPlan> {
    let ty = node.ts.get_type(node.input.schema())?;
    let qualifier = node.input.schema().iter().next().and_then(|(q, _)| q.cloned());
    let widths = match node.kind {
        Kind::Tumble { size, offset } => (size, size, offset, None),
        Kind::Hop { slide, size, offset } => (size, slide, offset, None),
        Kind::Cumulate { step, size, offset } => (size, size, offset, Some(step)),
        Kind::Session { .. } => return Err(DataFusionError::Internal("a session has no list of windows".into())),
    };
    let (size_us, step_us, offset_us, grows_us) = widths;
    let udf = |gives| {
        let signature = Signature::any(1, Volatility::Immutable);
        ScalarUDF::new_from_impl(Windows { size_us, step_us, offset_us, grows_us, gives, signature })
    };
    let mut exprs: Vec<Expr> = node.input.schema().columns().into_iter().map(Expr::Column).collect();
    // Windows of one start differ in their ends: these are the list then.
    let listed = "\u{1}windows";
    let list = if grows_us.is_some() { Gives::Ends } else { Gives::Starts };
    exprs.push(udf(list).call(vec![node.ts.clone()]).alias(listed));
    let present = node.ts.clone().is_not_null();
    let unnested =
        LogicalPlanBuilder::from(node.input).filter(present)?.project(exprs)?.unnest_column(Column::from_name(listed))?;
    let unnested = unnested.build()?;
    let mut out: Vec<Expr> = unnested.schema().columns().into_iter().map(Expr::Column).collect();
    let Some(one) = out.pop() else { return Err(DataFusionError::Internal("a window without its bound".into())) };
    let (start, end) = match grows_us {
        Some(_) => (cast(udf(Gives::Start).call(vec![node.ts.clone()]), ty), one),
        None => (one.clone(), cast(udf(Gives::End).call(vec![one]), ty)),
    };
    out.push(start.alias_qualified(qualifier.clone(), "window_start"));
    out.push(end.alias_qualified(qualifier, "window_end"));
    LogicalPlanBuilder::from(unnested).project(out)?.build()
}

/// `ts + width`, refused beyond the range of timestamps.
pub(super) fn later(ts: Expr, width_us: i64) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let end = Windows { size_us: width_us, step_us: width_us, offset_us: 0, grows_us: None, gives: Gives::End, signature };
    ScalarUDF::new_from_impl(end).call(vec![ts])
}

/// What [`Windows`] gives of its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Gives {
    /// Of a time: the starts of the windows that hold it, as a list.
    Starts,
    /// Of a time: the ends of the windows that begin with the last one at or before it and hold it, as a list.
    Ends,
    /// Of a time: the last start at or before it.
    Start,
    /// Of a start: its end.
    End,
}

/// Bounds of windows.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Windows {
    size_us: i64,
    step_us: i64,
    offset_us: i64,
    /// CUMULATE: by how much windows of one start differ.
    grows_us: Option<i64>,
    gives: Gives,
    signature: Signature,
}

impl Windows {
    fn start(&self, ts: i64) -> DfResult<i64> {
        last_start(ts, self.step_us, self.offset_us).ok_or_else(beyond)
    }

    fn list(&self, ts: i64) -> DfResult<Vec<i64>> {
        let mut start = self.start(ts)?;
        if let Some(grows) = self.grows_us {
            let first = (i128::from(ts) - i128::from(start)) / i128::from(grows) + 1;
            let last = i128::from(self.size_us / grows);
            let end = |k: i128| i64::try_from(i128::from(start) + k * i128::from(grows)).map_err(|_| beyond());
            return (first..=last).map(end).collect();
        }
        let mut starts = vec![];
        while i128::from(ts) < i128::from(start) + i128::from(self.size_us) {
            starts.push(start);
            start = start.checked_sub(self.step_us).ok_or_else(beyond)?;
        }
        starts.reverse();
        Ok(starts)
    }
}

fn beyond() -> DataFusionError {
    PlanError::invalid("22008", "timestamp out of range").into()
}

impl ScalarUDFImpl for Windows {
    fn name(&self) -> &str {
        match self.gives {
            Gives::Starts => "regauge_window_starts",
            Gives::Ends => "regauge_window_ends",
            Gives::Start => "regauge_window_start",
            Gives::End => "regauge_window_end",
        }
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        let ty = args.first().cloned().unwrap_or(DataType::Null);
        Ok(match self.gives {
            Gives::Start | Gives::End => ty,
            Gives::Starts | Gives::Ends => DataType::List(Arc::new(Field::new_list_field(ty, true))),
        })
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [ts] = args.args.as_slice() else { return Err(DataFusionError::Internal("a window has one time".into())) };
        let ts = ts.to_array(args.number_rows)?;
        if !matches!(ts.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return Err(DataFusionError::Internal("a window's time is no timestamp".into()));
        }
        let times = ts.as_primitive::<TimestampMicrosecondType>();
        let zone = |a: TimestampMicrosecondArray| -> ArrayRef {
            let tz = if let DataType::Timestamp(_, tz) = ts.data_type() { tz.clone() } else { None };
            Arc::new(a.with_timezone_opt(tz))
        };
        if matches!(self.gives, Gives::Start | Gives::End) {
            let bound = |t: i64| match self.gives {
                Gives::Start => self.start(t),
                _ => t.checked_add(self.size_us).ok_or_else(beyond),
            };
            let bounds = times.iter().map(|t| t.map(bound).transpose());
            return Ok(ColumnarValue::Array(zone(bounds.collect::<DfResult<TimestampMicrosecondArray>>()?)));
        }
        let values = PrimitiveBuilder::<TimestampMicrosecondType>::new().with_data_type(ts.data_type().clone());
        let mut lists = ListBuilder::new(values).with_field(Field::new_list_field(ts.data_type().clone(), true));
        for t in times.iter() {
            if let Some(t) = t {
                lists.values().append_slice(&self.list(t)?);
            }
            lists.append(t.is_some());
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}
