//! TUMBLE and HOP for DataFusion's executor: the windows that hold a row as a list, unnested. The arithmetic is the one that
//! `crate::flowplan::Op::Tumble` and `Op::Hop` define.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, PrimitiveBuilder, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use datafusion::common::Column;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};

use super::window::WindowNode;
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
    let udf = |ends| {
        let (size_us, step_us, offset_us) = (node.size_us, node.slide_us.unwrap_or(node.size_us), node.offset_us);
        ScalarUDF::new_from_impl(Windows {
            size_us,
            step_us,
            offset_us,
            ends,
            signature: Signature::any(1, Volatility::Immutable),
        })
    };
    let mut exprs: Vec<Expr> = node.input.schema().columns().into_iter().map(Expr::Column).collect();
    let starts = "\u{1}window_starts";
    exprs.push(udf(false).call(vec![node.ts.clone()]).alias(starts));
    let present = node.ts.clone().is_not_null();
    let unnested =
        LogicalPlanBuilder::from(node.input).filter(present)?.project(exprs)?.unnest_column(Column::from_name(starts))?;
    let unnested = unnested.build()?;
    let mut out: Vec<Expr> = unnested.schema().columns().into_iter().map(Expr::Column).collect();
    let Some(start) = out.pop() else { return Err(DataFusionError::Internal("a window without its start".into())) };
    let end = cast(udf(true).call(vec![start.clone()]), ty);
    out.push(start.alias_qualified(qualifier.clone(), "window_start"));
    out.push(end.alias_qualified(qualifier, "window_end"));
    LogicalPlanBuilder::from(unnested).project(out)?.build()
}

/// `ends: false`: the starts of the windows that hold a time, as a list. `ends: true`: a start's end.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Windows {
    size_us: i64,
    step_us: i64,
    offset_us: i64,
    ends: bool,
    signature: Signature,
}

fn beyond() -> DataFusionError {
    PlanError::invalid("22008", "timestamp out of range").into()
}

impl ScalarUDFImpl for Windows {
    fn name(&self) -> &str {
        if self.ends { "regauge_window_end" } else { "regauge_window_starts" }
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        let ty = args.first().cloned().unwrap_or(DataType::Null);
        Ok(if self.ends { ty } else { DataType::List(Arc::new(Field::new_list_field(ty, true))) })
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
        if self.ends {
            let ends = times.iter().map(|t| t.map(|t| t.checked_add(self.size_us).ok_or_else(beyond)).transpose());
            return Ok(ColumnarValue::Array(zone(ends.collect::<DfResult<TimestampMicrosecondArray>>()?)));
        }
        let values = PrimitiveBuilder::<TimestampMicrosecondType>::new().with_data_type(ts.data_type().clone());
        let mut lists = ListBuilder::new(values).with_field(Field::new_list_field(ts.data_type().clone(), true));
        for t in times.iter() {
            if let Some(t) = t {
                let mut start = last_start(t, self.step_us, self.offset_us).ok_or_else(beyond)?;
                let mut starts = vec![];
                while i128::from(t) < i128::from(start) + i128::from(self.size_us) {
                    starts.push(start);
                    start = start.checked_sub(self.step_us).ok_or_else(beyond)?;
                }
                starts.reverse();
                lists.values().append_slice(&starts);
            }
            lists.append(t.is_some());
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}
