//! A call with OVER as DataFusion carries it: one window function of ours for each of PostgreSQL's functions and aggregates, with
//! PostgreSQL's types, that holds the frame as it was written.
//!
//! DataFusion binds and types these calls and never runs them: views lower them to an operator, plain SELECTs to
//! [`super::over_exec`]. Its own frames know neither EXCLUDE nor PostgreSQL's offsets, so calls get its simplest one; ours comes
//! in as a mark among the PARTITION BY expressions (see [`crate::bind::frames`]) and is taken out of there.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunction};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::planner::RawWindowExpr;
use datafusion::logical_expr::{
    Expr, PartitionEvaluator, Signature, Volatility, WindowFrame, WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};
use datafusion::scalar::ScalarValue;

use super::aggregates::Total;
use super::arith::bind_names;
use super::bind::{self, is_text, is_unknown};
use super::error::{EvalError, EvalResult};
use super::spread;
use crate::bind::frames::WrittenFrame;
use crate::error::PlanError;
use crate::flowplan::{AggFunc, Spread, Units, WindowFunc};
use crate::lower::output_type;

/// A function and its frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PgWindow {
    pub func: WindowFunc,
    /// `None`: the default.
    pub frame: Option<WrittenFrame>,
    /// The last argument is the call's FILTER: DataFusion has none for what is no aggregate of its own.
    pub is_filtered: bool,
    /// Tells calls apart by their frames, too.
    name: String,
    signature: Signature,
}

/// The functions that are no aggregates, for DataFusion's registry.
pub(crate) fn functions() -> Vec<WindowUDF> {
    use WindowFunc::{CumeDist, DenseRank, FirstValue, Lag, LastValue, Lead, NthValue, Ntile, PercentRank, Rank, RowNumber};
    let all = [RowNumber, Rank, DenseRank, PercentRank, CumeDist, Ntile, Lag, Lead, FirstValue, LastValue, NthValue];
    all.into_iter().map(|f| WindowUDF::new_from_impl(PgWindow::new(f, None, false))).collect()
}

/// `row_number` over the default frame.
pub(crate) fn row_number() -> WindowUDF {
    plain(WindowFunc::RowNumber)
}

/// A function over the default frame.
pub(crate) fn plain(func: WindowFunc) -> WindowUDF {
    WindowUDF::new_from_impl(PgWindow::new(func, None, false))
}

/// Any of them over the default frame.
pub(crate) fn function(func: WindowFunc) -> Arc<WindowUDF> {
    Arc::new(WindowUDF::new_from_impl(PgWindow::new(func, None, false)))
}

fn aggregate(name: &str) -> Option<AggFunc> {
    Some(match name {
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
        "any_value" => AggFunc::Min,
        name => AggFunc::Spread(Spread::of(name)?),
    })
}

/// The call with our function in it; one of a function that is not ours comes back as it was.
pub(super) fn plan(mut call: RawWindowExpr) -> DfResult<Result<Expr, RawWindowExpr>> {
    let frame = WrittenFrame::take(&mut call.partition_by)?;
    let func = match &call.func_def {
        WindowFunctionDefinition::WindowUDF(f) => f.inner().downcast_ref::<PgWindow>().map(|f| f.func),
        WindowFunctionDefinition::AggregateUDF(f) => match f.name() {
            // DataFusion has these as aggregates, too
            "first_value" => Some(WindowFunc::FirstValue),
            "last_value" => Some(WindowFunc::LastValue),
            "nth_value" => Some(WindowFunc::NthValue),
            name => aggregate(name).map(WindowFunc::Agg),
        },
    };
    let is_plain = frame.is_none();
    let Some(func) = func else {
        return if is_plain { Ok(Err(call)) } else { Err(not_offered(call.func_def.name()).into()) };
    };
    let frame = frame.or_else(|| WrittenFrame::unmarked(&call.window_frame, !call.order_by.is_empty()));
    let refused = |what: &str| DataFusionError::from(PlanError::unsupported(what, ""));
    if call.distinct {
        return Err(refused("DISTINCT is not implemented for window functions"));
    }
    if call.filter.is_some() && !matches!(func, WindowFunc::Agg(_)) {
        return Err(refused("FILTER is not implemented for non-aggregate window functions"));
    }
    if call.null_treatment.is_some() {
        return Err(PlanError::unsupported(
            "IGNORE NULLS and RESPECT NULLS are not offered",
            "NULLs are values here, as in PostgreSQL; filter them out in a subquery",
        )
        .into());
    }
    if let Some(frame) = &frame {
        let wrong = |m: &str| DataFusionError::from(PlanError::invalid("42P20", m));
        if frame.units == Units::Groups && call.order_by.is_empty() {
            return Err(wrong("GROUPS mode requires an ORDER BY clause"));
        }
        if frame.units == Units::Range && frame.has_offset() && call.order_by.len() != 1 {
            return Err(wrong("RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column"));
        }
    }
    let mut args = call.args;
    if func == WindowFunc::Agg(AggFunc::Count) {
        // count(*) comes as the count of everything or of a constant
        #[expect(deprecated, reason = "what DataFusion's planner gives")]
        args.retain(|a| !matches!(a, Expr::Wildcard { .. }));
        if matches!(args.as_slice(), [Expr::Literal(v, _)] if !v.is_null()) {
            args.clear();
        }
    }
    let is_filtered = call.filter.is_some();
    args.extend(call.filter.map(|f| *f));
    let udf = Arc::new(WindowUDF::new_from_impl(PgWindow::new(func, frame, is_filtered)));
    let mut made = WindowFunction::new(WindowFunctionDefinition::WindowUDF(udf), args);
    made.params.partition_by = call.partition_by;
    made.params.order_by = call.order_by;
    made.params.window_frame = WindowFrame::new(None);
    Ok(Ok(Expr::from(made)))
}

pub(crate) fn not_offered(name: &str) -> PlanError {
    PlanError::unsupported(
        format!("{name} is not offered as a window function"),
        "the aggregates are count, sum, avg, min, max, bool_and, bool_or, bit_and, bit_or, bit_xor, string_agg, array_agg, the \
         variances, corr and regr_*",
    )
}

impl PgWindow {
    fn new(func: WindowFunc, frame: Option<WrittenFrame>, is_filtered: bool) -> PgWindow {
        let filter = if is_filtered { " filtered" } else { "" };
        let name = match &frame {
            None => format!("{}{filter}", func.name()),
            Some(f) => format!("{}{filter} {f}", func.name()),
        };
        PgWindow { func, frame, is_filtered, name, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// Whether it looks at a row before or behind, with a default where there is none.
    pub(super) fn is_neighbour(&self) -> bool {
        matches!(self.func, WindowFunc::Lag | WindowFunc::Lead)
    }

    /// The types that arguments are cast to, and the result's.
    fn bound(&self, types: &[DataType]) -> EvalResult<(Vec<DataType>, DataType)> {
        let Some((filter, args)) = types.split_last().filter(|_| self.is_filtered) else { return self.call(types) };
        if *filter != DataType::Boolean && !is_unknown(filter) {
            let ty = crate::pgtypes::type_name(filter);
            return Err(EvalError::new("42804", format!("argument of FILTER must be type boolean, not type {ty}")));
        }
        let (mut args, output) = self.call(args)?;
        args.push(DataType::Boolean);
        Ok((args, output))
    }

    fn call(&self, types: &[DataType]) -> EvalResult<(Vec<DataType>, DataType)> {
        let name = self.func.name();
        let undefined = || EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)));
        let (least, most) = self.func.n_args();
        if !(least..=most).contains(&types.len()) {
            return Err(undefined());
        }
        // An integer. Asked before types are settled a literal is a bigint yet; what is one then is refused by `lower::over`.
        let int4 = |ty: &DataType| matches!(ty, DataType::Int16 | DataType::Int32 | DataType::Int64) || is_unknown(ty);
        let int = |ty: &DataType| if *ty == DataType::Int64 { DataType::Int64 } else { DataType::Int32 };
        let value = |ty: &DataType| if is_unknown(ty) { DataType::Utf8 } else { ty.clone() };
        Ok(match (self.func, types) {
            (WindowFunc::RowNumber | WindowFunc::Rank | WindowFunc::DenseRank, _) => (vec![], DataType::Int64),
            (WindowFunc::PercentRank | WindowFunc::CumeDist, _) => (vec![], DataType::Float64),
            (WindowFunc::Ntile, [n]) if int4(n) => (vec![int(n)], DataType::Int32),
            (WindowFunc::Lag | WindowFunc::Lead, [v]) => (vec![value(v)], value(v)),
            (WindowFunc::Lag | WindowFunc::Lead, [v, n]) if int4(n) => (vec![value(v), int(n)], value(v)),
            (WindowFunc::Lag | WindowFunc::Lead, [v, n, default]) if int4(n) => {
                let common = if is_unknown(v) || is_unknown(default) || v == default {
                    value(if is_unknown(v) { default } else { v })
                } else {
                    bind::united(v, default).map_err(|_| undefined())?
                };
                (vec![common.clone(), int(n), common.clone()], common)
            }
            (WindowFunc::FirstValue | WindowFunc::LastValue, [v]) => (vec![value(v)], value(v)),
            (WindowFunc::NthValue, [v, n]) if int4(n) => (vec![value(v), int(n)], value(v)),
            (WindowFunc::Agg(AggFunc::Count), types) => (types.iter().map(value).collect(), DataType::Int64),
            (WindowFunc::Agg(AggFunc::Sum), [t]) => {
                let output = Total::Sum.result_type(t)?;
                (vec![if is_unknown(t) { output.clone() } else { t.clone() }], output)
            }
            (WindowFunc::Agg(AggFunc::Avg), [t]) => {
                let output = Total::Avg.result_type(t)?;
                (vec![if is_unknown(t) { output.clone() } else { t.clone() }], output)
            }
            (WindowFunc::Agg(AggFunc::Min | AggFunc::Max), [t]) if *t != DataType::Boolean => (vec![value(t)], value(t)),
            (WindowFunc::Agg(AggFunc::BoolAnd | AggFunc::BoolOr), [t]) if *t == DataType::Boolean || is_unknown(t) => {
                (vec![DataType::Boolean], DataType::Boolean)
            }
            (WindowFunc::Agg(AggFunc::BitAnd | AggFunc::BitOr | AggFunc::BitXor), [t]) if bind::is_int(t) => {
                (vec![t.clone()], t.clone())
            }
            (WindowFunc::Agg(AggFunc::Spread(s)), types) => spread::bind(s, types)?,
            (WindowFunc::Agg(AggFunc::StringAgg), [t, s]) if [t, s].iter().all(|t| is_text(t) || is_unknown(t)) => {
                (vec![DataType::Utf8, DataType::Utf8], DataType::Utf8)
            }
            (WindowFunc::Agg(AggFunc::ArrayAgg), [t]) if crate::flowplan::types::is_supported(&value(t)) => {
                let item = value(t);
                let list = DataType::List(Arc::new(Field::new_list_field(item.clone(), true)));
                (vec![item], super::lists::check_depth(list)?)
            }
            _ => return Err(undefined()),
        })
    }
}

impl WindowUDFImpl for PgWindow {
    fn name(&self) -> &str {
        &self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(self.bound(types)?.0)
    }
    fn field(&self, args: WindowUDFFieldArgs) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.input_fields().iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(args.name(), output_type(&self.bound(&types)?.1), true)))
    }
    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> DfResult<Box<dyn PartitionEvaluator>> {
        Err(EvalError::internal("window functions run through our own operator").into())
    }
}

/// The literal in a mark: `nullif('..', '')`, folded or not.
pub(crate) fn mark_of(e: &Expr) -> Option<&str> {
    match e {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "nullif" => mark_of(args.first()?),
        _ => None,
    }
}
