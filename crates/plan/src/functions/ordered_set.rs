//! percentile_cont, percentile_disc and mode for DataFusion: they gather a group's values, order them as keys of ours order, and take
//! what [`super::fractions`] points at. Ties and partitions change nothing, because only the multiset of values counts.
//!
//! The value comes first, as DataFusion hands over WITHIN GROUP, then the fraction or the array of fractions.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;
use regauge_types::forms::canonical;
use regauge_types::key::{KeyOrder, encode_ordered};

use super::arith::bind_names;
use super::bind::{is_number, is_unknown};
use super::cast::cast_column;
use super::error::{EvalError, EvalResult};
use super::fractions::{self, Place};
use crate::flowplan::AggFunc;
use crate::lower::output_type;

/// All of them, for a registry of DataFusion.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let of = |func| AggregateUDF::new_from_impl(PgOrderedSet { func, signature: Signature::user_defined(Volatility::Immutable) });
    [AggFunc::PercentileCont, AggFunc::PercentileDisc, AggFunc::Mode].map(|func| Arc::new(of(func))).to_vec()
}

#[derive(Debug)]
struct PgOrderedSet {
    func: AggFunc,
    signature: Signature,
}

impl PartialEq for PgOrderedSet {
    fn eq(&self, other: &Self) -> bool {
        self.func == other.func
    }
}
impl Eq for PgOrderedSet {}
impl Hash for PgOrderedSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.func.hash(state);
    }
}

fn list_of(item: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item.clone(), true)))
}

impl PgOrderedSet {
    /// Types of arguments and result.
    fn bind(&self, types: &[DataType]) -> EvalResult<(Vec<DataType>, DataType)> {
        let name = self.func.name();
        let undefined =
            |shown: &[DataType]| EvalError::undefined(format!("function {name}({}) does not exist", bind_names(shown)));
        let value = match types.first() {
            Some(t @ DataType::Interval(_)) if self.func == AggFunc::PercentileCont => t.clone(),
            Some(t) if self.func == AggFunc::PercentileCont && (is_number(t) || is_unknown(t)) => DataType::Float64,
            Some(t) if self.func != AggFunc::PercentileCont && !t.is_nested() => output_type(t),
            _ => return Err(undefined(types)),
        };
        match (self.func, types) {
            (AggFunc::Mode, [_]) => Ok((vec![value.clone()], value)),
            (AggFunc::PercentileCont | AggFunc::PercentileDisc, [_, f]) => {
                if matches!(f, DataType::List(item) if is_number(item.data_type()) || is_unknown(item.data_type())) {
                    return Ok((vec![value.clone(), list_of(&DataType::Float64)], list_of(&value)));
                }
                if is_number(f) || is_unknown(f) {
                    return Ok((vec![value.clone(), DataType::Float64], value));
                }
                // as PostgreSQL names them: the direct argument first
                Err(undefined(&[f.clone(), types[0].clone()]))
            }
            _ => Err(undefined(types)),
        }
    }
}

impl AggregateUDFImpl for PgOrderedSet {
    fn name(&self) -> &str {
        self.func.name()
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(self.bind(types)?.1)
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(self.bind(types)?.0)
    }
    fn supports_within_group_clause(&self) -> bool {
        true
    }
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let field = |at: usize, ty: DataType| Arc::new(Field::new(format!("{}[{at}]", args.name), ty, true));
        let types: Vec<DataType> = args.input_fields.iter().map(|f| f.data_type().clone()).collect();
        let values = field(0, list_of(types.first().unwrap_or(&DataType::Null)));
        Ok(std::iter::once(values).chain(types.into_iter().skip(1).map(|ty| field(1, ty))).collect())
    }
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let Some(ordered) = args.order_bys.first() else {
            let message = format!("WITHIN GROUP is required for ordered-set aggregate {}", self.func.name());
            return Err(EvalError::new("42809", message).into());
        };
        let types: Vec<DataType> = args.expr_fields.iter().map(|f| f.data_type().clone()).collect();
        let (wanted, _) = self.bind(&types)?;
        Ok(Box::new(Gathered {
            func: self.func,
            given: types,
            ty: wanted.into_iter().next().unwrap_or(DataType::Null),
            order: KeyOrder {
                descending: ordered.options.descending,
                nulls_first: ordered.options.nulls_first,
                exact: self.func != AggFunc::Mode,
            },
            values: vec![],
            direct: None,
        }))
    }
}

/// The values of a group, NULLs left out, and what was given directly.
#[derive(Debug)]
struct Gathered {
    func: AggFunc,
    given: Vec<DataType>,
    /// What the values are taken as.
    ty: DataType,
    order: KeyOrder,
    values: Vec<ArrayRef>,
    direct: Option<ScalarValue>,
}

/// A fraction of a direct argument.
fn fraction(array: &Float64Array, at: usize) -> EvalResult<Option<f64>> {
    array.is_valid(at).then(|| fractions::check(array.value(at))).transpose()
}

impl Gathered {
    /// The values in order.
    fn sorted(&self) -> DfResult<ArrayRef> {
        let pieces: Vec<&dyn Array> = self.values.iter().map(AsRef::as_ref).collect();
        let all = if pieces.is_empty() { arrow::array::new_empty_array(&self.given[0]) } else { concat(&pieces)? };
        let all = if *all.data_type() == self.ty { all } else { cast_column(&all, &self.ty)? };
        // mode counts values, whatever their form
        let all = if self.func == AggFunc::Mode { canonical(&all) } else { all };
        let keys = encode_ordered(std::slice::from_ref(&all), &[self.order], all.len());
        let keys = keys.map_err(|e| EvalError::new("0A000", e.to_string()))?;
        let n = u32::try_from(all.len()).map_err(|_| EvalError::new("54000", "too many rows of one group"))?;
        let mut rows: Vec<u32> = (0..n).collect();
        rows.sort_unstable_by(|a, b| keys.get(*a as usize).cmp(keys.get(*b as usize)));
        Ok(take(all.as_ref(), &UInt32Array::from(rows), None)?)
    }

    /// The fractions, and whether they came as an array.
    fn fractions(&self) -> DfResult<(Vec<Option<f64>>, bool)> {
        let Some(direct) = &self.direct else { return Ok((vec![None], matches!(self.given.get(1), Some(DataType::List(_))))) };
        let array = direct.to_array()?;
        let (items, is_list) = match array.data_type() {
            DataType::List(_) if array.is_null(0) => return Ok((vec![], true)),
            DataType::List(_) => (array.as_list::<i32>().value(0), true),
            _ => (array, false),
        };
        let items = cast_column(&items, &DataType::Float64)?;
        let items = items.as_primitive::<Float64Type>();
        Ok(((0..items.len()).map(|at| fraction(items, at)).collect::<EvalResult<_>>()?, is_list))
    }

    fn at(&self, sorted: &ArrayRef, places: &[Option<Place>]) -> DfResult<ArrayRef> {
        let rows = |of: fn(&Place) -> u64| {
            places.iter().map(|p| p.as_ref().and_then(|p| u32::try_from(of(p)).ok())).collect::<UInt32Array>()
        };
        let low = take(sorted.as_ref(), &rows(|p| p.low), None)?;
        if self.func != AggFunc::PercentileCont {
            return Ok(low);
        }
        let high = take(sorted.as_ref(), &rows(|p| p.high), None)?;
        let shares: Vec<f64> = places.iter().map(|p| p.map_or(0.0, |p| p.share)).collect();
        Ok(fractions::between(&low, &high, &shares)?)
    }
}

/// The first row of the longest run of equal values.
fn longest_run(sorted: &ArrayRef) -> DfResult<Option<Place>> {
    let bounds = crate::over::starts(&crate::over::boundaries(std::slice::from_ref(sorted), sorted.len())?);
    let mut best: Option<(usize, usize)> = None;
    for run in bounds.windows(2) {
        if best.is_none_or(|(length, _)| run[1] - run[0] > length) {
            best = Some((run[1] - run[0], run[0]));
        }
    }
    Ok(best.map(|(_, at)| Place { low: at as u64, high: at as u64, share: 0.0 }))
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let Some(first) = values.first() else { return Ok(()) };
        if self.direct.is_none()
            && let Some(direct) = values.get(1).filter(|d| !d.is_empty())
        {
            self.direct = Some(ScalarValue::try_from_array(direct, 0)?);
        }
        let there: UInt32Array = (0..first.len()).filter(|i| first.is_valid(*i)).filter_map(|i| u32::try_from(i).ok()).collect();
        if !there.is_empty() && *first.data_type() != DataType::Null {
            self.values.push(take(first.as_ref(), &there, None)?);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let sorted = self.sorted()?;
        if self.func == AggFunc::Mode {
            let place = longest_run(&sorted)?;
            return ScalarValue::try_from_array(&self.at(&sorted, &[place])?, 0);
        }
        let (fractions, is_list) = self.fractions()?;
        let n = sorted.len() as u64;
        let place = |f: &Option<f64>| {
            f.filter(|_| n > 0).map(|f| match self.func {
                AggFunc::PercentileCont => fractions::continuous(f, n),
                _ => fractions::discrete(f, n),
            })
        };
        let places: Vec<Option<Place>> = fractions.iter().map(place).collect();
        let items = self.at(&sorted, &places)?;
        if !is_list {
            return ScalarValue::try_from_array(&items, 0);
        }
        let field = Arc::new(Field::new_list_field(self.ty.clone(), true));
        let is_null = n == 0 || self.direct.as_ref().is_none_or(ScalarValue::is_null);
        let nulls = is_null.then(|| arrow::buffer::NullBuffer::new_null(1));
        let list = ListArray::try_new(field, OffsetBuffer::from_lengths([items.len()]), items, nulls)?;
        Ok(ScalarValue::List(Arc::new(list)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.iter().map(|v| v.get_array_memory_size()).sum::<usize>()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let pieces: Vec<&dyn Array> = self.values.iter().map(AsRef::as_ref).collect();
        let all = if pieces.is_empty() { arrow::array::new_empty_array(&self.given[0]) } else { concat(&pieces)? };
        let values = SingleRowListArrayBuilder::new(all).build_list_scalar();
        let direct = match (self.given.get(1), self.direct.take()) {
            (None, _) => None,
            (Some(_), Some(direct)) => Some(direct),
            (Some(ty), None) => Some(ScalarValue::try_from(ty)?),
        };
        Ok(std::iter::once(values).chain(direct).collect())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let Some(lists) = states.first() else { return Ok(()) };
        let lists = lists.as_list::<i32>();
        for row in 0..lists.len() {
            let values = lists.value(row);
            if values.is_empty() {
                continue;
            }
            let direct = states.get(1).map(|d| ScalarValue::try_from_array(d, row)).transpose()?;
            if self.direct.is_none() {
                self.direct = direct;
            }
            self.values.push(values);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgtypes;

    #[test]
    fn types_are_those_of_postgres() {
        let of = |func| PgOrderedSet { func, signature: Signature::user_defined(Volatility::Immutable) };
        let result = |func, types: &[DataType]| of(func).bind(types).map(|(_, ty)| ty);
        let (cont, disc) = (AggFunc::PercentileCont, AggFunc::PercentileDisc);
        assert_eq!(result(cont, &[DataType::Int32, DataType::Float64]).unwrap(), DataType::Float64);
        assert_eq!(result(cont, &[pgtypes::interval(), DataType::Float64]).unwrap(), pgtypes::interval());
        assert_eq!(result(disc, &[DataType::Utf8, DataType::Float64]).unwrap(), DataType::Utf8);
        assert_eq!(result(disc, &[DataType::Date32, list_of(&DataType::Float64)]).unwrap(), list_of(&DataType::Date32));
        assert_eq!(result(cont, &[DataType::Date32, DataType::Float64]).unwrap_err().sqlstate, "42883");
        assert_eq!(result(AggFunc::Mode, &[DataType::Boolean]).unwrap(), DataType::Boolean);
    }
}
