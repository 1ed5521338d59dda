//! `sum` and `avg` with PostgreSQL's result types: exact integers in 128 bits, numerics, and doubles through
//! [`ExactSum`], so that no order of rows and no split into partitions changes a bit of the result. Range is judged once, at
//! the end. count, min, max, bool_and, bool_or and array_agg are DataFusion's, which behave as PostgreSQL's (min and max order
//! NaN last), and [`super::string_agg`] nearly is; the rule [`super::semantics`] makes the order of array_agg and string_agg total.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType,
};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::arith::{DECIMAL_END, bind_names, divide};
use super::bind::{decimal, is_decimal, is_float, is_int, is_unknown, scale_of};
use super::error::{EvalError, EvalResult};
use super::exact_sum::ExactSum;
use crate::pgtypes::{self, NUMERIC_SCALE};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Total {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
}

impl Total {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Total::Sum => "sum",
            Total::Avg => "avg",
        }
    }

    /// The result's type over an argument of this type.
    ///
    /// # Errors
    /// 42883 when there is none.
    pub fn result_type(self, arg: &DataType) -> EvalResult<DataType> {
        let undefined = || {
            let message = format!("function {}({}) does not exist", self.name(), bind_names(std::slice::from_ref(arg)));
            EvalError::undefined(message)
        };
        Ok(match (self, arg) {
            (Total::Sum, DataType::Int16 | DataType::Int32) => DataType::Int64,
            (Total::Sum, DataType::Int64) => decimal(0),
            (Total::Sum, DataType::Float32) => DataType::Float32,
            (_, t) if is_float(t) => DataType::Float64,
            (Total::Sum, DataType::Decimal128(_, s)) => decimal(*s),
            (Total::Avg, t) if is_int(t) || is_decimal(t) => decimal(NUMERIC_SCALE.max(scale_of(t))),
            (_, DataType::Interval(_)) => pgtypes::interval(),
            (_, t) if is_unknown(t) => DataType::Float64,
            _ => return Err(undefined()),
        })
    }
}

/// `sum` or `avg` for DataFusion.
#[derive(Debug)]
pub struct PgTotal {
    total: Total,
    signature: Signature,
}

impl PgTotal {
    /// The function.
    pub fn new(total: Total) -> PgTotal {
        PgTotal { total, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl PartialEq for PgTotal {
    fn eq(&self, other: &Self) -> bool {
        self.total == other.total
    }
}
impl Eq for PgTotal {}
impl Hash for PgTotal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.total.hash(state);
    }
}

fn first(types: &[DataType]) -> DfResult<&DataType> {
    types.first().ok_or_else(|| EvalError::undefined("an aggregate takes one argument").into())
}

impl AggregateUDFImpl for PgTotal {
    fn name(&self) -> &str {
        self.total.name()
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(self.total.result_type(first(arg_types)?)?)
    }
    fn coerce_types(&self, arg_types: &[DataType]) -> DfResult<Vec<DataType>> {
        let ty = first(arg_types)?;
        self.total.result_type(ty)?;
        if arg_types.len() != 1 {
            let message = format!("function {}({}) does not exist", self.total.name(), bind_names(arg_types));
            return Err(EvalError::undefined(message).into());
        }
        Ok(vec![if is_unknown(ty) { DataType::Float64 } else { ty.clone() }])
    }
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        if args.is_distinct {
            let ty = args.input_fields.first().map_or(DataType::Null, |f| f.data_type().clone());
            let list = DataType::List(Arc::new(Field::new_list_field(ty, true)));
            return Ok(vec![Arc::new(Field::new(format!("{}[distinct]", args.name), list, true))]);
        }
        Ok(vec![Arc::new(Field::new(format!("{}[totals]", args.name), DataType::Binary, true))])
    }
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let ty = args.expr_fields.first().map_or(DataType::Null, |f| f.data_type().clone());
        let totals =
            TotalsAccumulator { total: self.total, totals: Totals::new(&ty), ret: args.return_field.data_type().clone(), ty };
        if args.is_distinct {
            return Ok(Box::new(DistinctAccumulator { seen: HashSet::new(), totals }));
        }
        Ok(Box::new(totals))
    }
}

/// Count and exact total of the values of one group, order-free and retractable.
#[derive(Debug, Clone)]
struct Totals {
    count: i64,
    sum: Sum,
}

#[derive(Debug, Clone)]
enum Sum {
    /// Integers and unscaled numerics; `None` once 128 bits were passed.
    Whole(Option<i128>),
    Float(ExactSum),
    Interval {
        months: i64,
        days: i64,
        nanos: i128,
    },
}

impl Totals {
    fn new(ty: &DataType) -> Totals {
        let sum = match ty {
            t if is_float(t) => Sum::Float(ExactSum::new()),
            DataType::Interval(_) => Sum::Interval { months: 0, days: 0, nanos: 0 },
            _ => Sum::Whole(Some(0)),
        };
        Totals { count: 0, sum }
    }

    fn add(&mut self, values: &ArrayRef, diff: i64) {
        if *values.data_type() == DataType::Null {
            return;
        }
        let n = i64::try_from(values.len() - values.null_count()).unwrap_or(i64::MAX);
        self.count += n * diff;
        match &mut self.sum {
            Sum::Whole(total) => {
                let batch: Option<i128> = match values.data_type() {
                    DataType::Int16 => Some(values.as_primitive::<Int16Type>().iter().flatten().map(i128::from).sum()),
                    DataType::Int32 => Some(values.as_primitive::<Int32Type>().iter().flatten().map(i128::from).sum()),
                    DataType::Int64 => Some(values.as_primitive::<Int64Type>().iter().flatten().map(i128::from).sum()),
                    _ => values.as_primitive::<Decimal128Type>().iter().flatten().try_fold(0i128, i128::checked_add),
                };
                *total = total.zip(batch).and_then(|(t, b)| t.checked_add(b.checked_mul(diff.into())?));
            }
            Sum::Float(total) => match values.data_type() {
                DataType::Float32 => {
                    values.as_primitive::<Float32Type>().iter().flatten().for_each(|v| total.add(v.into(), diff));
                }
                _ => values.as_primitive::<Float64Type>().iter().flatten().for_each(|v| total.add(v, diff)),
            },
            Sum::Interval { months, days, nanos } => {
                for v in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
                    *months += i64::from(v.months) * diff;
                    *days += i64::from(v.days) * diff;
                    *nanos += i128::from(v.nanoseconds) * i128::from(diff);
                }
            }
        }
    }

    /// Count, then the sum's own bytes; an overflowed integer has none.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.count.to_le_bytes().to_vec();
        match &self.sum {
            Sum::Whole(total) => out.extend(total.iter().flat_map(|t| t.to_le_bytes())),
            Sum::Float(total) => out.extend(total.to_bytes()),
            Sum::Interval { months, days, nanos } => {
                out.extend(months.to_le_bytes());
                out.extend(days.to_le_bytes());
                out.extend(nanos.to_le_bytes());
            }
        }
        out
    }

    fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let (count, rest) = bytes.split_first_chunk::<8>()?;
        self.count += i64::from_le_bytes(*count);
        match &mut self.sum {
            Sum::Whole(total) => {
                let other = if rest.is_empty() { None } else { Some(i128::from_le_bytes(rest.try_into().ok()?)) };
                *total = total.zip(other).and_then(|(a, b)| a.checked_add(b));
            }
            Sum::Float(total) => total.merge(&ExactSum::from_bytes(rest)?),
            Sum::Interval { months, days, nanos } => {
                let (m, rest) = rest.split_first_chunk::<8>()?;
                let (d, rest) = rest.split_first_chunk::<8>()?;
                *months += i64::from_le_bytes(*m);
                *days += i64::from_le_bytes(*d);
                *nanos += i128::from_le_bytes(rest.try_into().ok()?);
            }
        }
        Some(())
    }

    fn evaluate(&self, total: Total, ty: &DataType, ret: &DataType) -> EvalResult<ScalarValue> {
        if self.count == 0 {
            return ScalarValue::try_from(ret).map_err(|e| EvalError::internal(e.strip_backtrace()));
        }
        match &self.sum {
            Sum::Whole(sum) => {
                let sum = sum.ok_or_else(EvalError::numeric_overflow)?;
                let scale = scale_of(ret);
                let value = match total {
                    Total::Sum => sum,
                    Total::Avg => divide(sum, self.count.into(), scale - scale_of(ty)).ok_or_else(EvalError::numeric_overflow)?,
                };
                if *ret == DataType::Int64 {
                    let value = i64::try_from(value).map_err(|_| EvalError::out_of_range("bigint"))?;
                    return Ok(ScalarValue::Int64(Some(value)));
                }
                if value.unsigned_abs() >= DECIMAL_END.unsigned_abs() {
                    return Err(EvalError::numeric_overflow());
                }
                Ok(ScalarValue::Decimal128(Some(value), pgtypes::NUMERIC_PRECISION, scale))
            }
            Sum::Float(sum) => {
                let overflow = || EvalError::new("22003", "value out of range: overflow");
                if sum.overflows() {
                    return Err(overflow());
                }
                #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is no count")]
                let value = match total {
                    Total::Sum => sum.value(),
                    Total::Avg => sum.value() / self.count as f64,
                };
                if *ret == DataType::Float32 {
                    #[expect(clippy::cast_possible_truncation, reason = "an infinite result is judged")]
                    let narrow = value as f32;
                    if narrow.is_infinite() && value.is_finite() {
                        return Err(overflow());
                    }
                    return Ok(ScalarValue::Float32(Some(narrow)));
                }
                Ok(ScalarValue::Float64(Some(value)))
            }
            Sum::Interval { months, days, nanos } => {
                let range = || EvalError::new("22008", "interval out of range");
                let (months, days) = (i32::try_from(*months), i32::try_from(*days));
                let nanos = i64::try_from(*nanos).map_err(|_| range())?;
                let sum = IntervalMonthDayNano::new(months.map_err(|_| range())?, days.map_err(|_| range())?, nanos);
                #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is no count")]
                let value = match total {
                    Total::Sum => sum,
                    Total::Avg => super::temporal::scaled(sum, |x| x / self.count as f64)?,
                };
                Ok(ScalarValue::IntervalMonthDayNano(Some(value)))
            }
        }
    }
}

#[derive(Debug)]
struct TotalsAccumulator {
    total: Total,
    totals: Totals,
    ty: DataType,
    ret: DataType,
}

fn argument(values: &[ArrayRef]) -> DfResult<&ArrayRef> {
    values.first().ok_or_else(|| EvalError::internal("an aggregate without argument").into())
}

impl Accumulator for TotalsAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.totals.add(argument(values)?, 1);
        Ok(())
    }
    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.totals.add(argument(values)?, -1);
        Ok(())
    }
    fn supports_retract_batch(&self) -> bool {
        true
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.totals.evaluate(self.total, &self.ty, &self.ret)?)
    }
    fn size(&self) -> usize {
        let heap = if let Sum::Float(sum) = &self.totals.sum { sum.heap_bytes() } else { 0 };
        size_of::<Self>() + heap
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.totals.to_bytes()))])
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        for bytes in argument(states)?.as_binary::<i32>().iter().flatten() {
            self.totals.merge(bytes).ok_or_else(|| EvalError::internal("bad state of an aggregate"))?;
        }
        Ok(())
    }
}

/// `sum(DISTINCT x)`: the set first, the total at the end.
#[derive(Debug)]
struct DistinctAccumulator {
    seen: HashSet<ScalarValue>,
    totals: TotalsAccumulator,
}

impl Accumulator for DistinctAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let array = argument(values)?;
        for i in (0..array.len()).filter(|i| array.is_valid(*i)) {
            self.seen.insert(ScalarValue::try_from_array(array, i)?);
        }
        Ok(())
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let mut totals = Totals::new(&self.totals.ty);
        for value in &self.seen {
            totals.add(&value.to_array()?, 1);
        }
        Ok(totals.evaluate(self.totals.total, &self.totals.ty, &self.totals.ret)?)
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.seen.capacity() * size_of::<ScalarValue>()
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let ty = &self.totals.ty;
        let array = if self.seen.is_empty() {
            arrow::array::new_empty_array(ty)
        } else {
            ScalarValue::iter_to_array(self.seen.iter().cloned())?
        };
        Ok(vec![SingleRowListArrayBuilder::new(array).build_list_scalar()])
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        for list in argument(states)?.as_list::<i32>().iter().flatten() {
            self.update_batch(&[list])?;
        }
        Ok(())
    }
}
