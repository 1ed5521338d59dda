//! Variances, covariances, correlation and linear regression for DataFusion: PostgreSQL's names and types over [`super::kept`], so that
//! no order of rows and no split into partitions changes a bit of a result. A window frame of DataFusion's never meets them: calls
//! with OVER go by [`super::over`].

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::arith::bind_names;
use super::bind::{as_decimal, decimal, is_decimal, is_int, is_number, is_unknown, scale_of};
use super::cast::cast_column;
use super::error::{EvalError, EvalResult};
use super::kept::{Keeper, Kept, Lanes};
use crate::flowplan::{AggFunc, Spread};
use crate::pgtypes::NUMERIC_SCALE;

/// All of them, for a registry of DataFusion.
pub(super) fn all() -> Vec<Arc<AggregateUDF>> {
    let of = |(spread, alias): (Spread, Option<&str>)| {
        Arc::new(AggregateUDF::new_from_impl(PgSpread {
            spread,
            aliases: alias.into_iter().map(str::to_owned).collect(),
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    };
    Spread::all().map(of).collect()
}

/// Types of arguments and result.
///
/// # Errors
/// 42883 when there is no such function.
pub(super) fn bind(spread: Spread, types: &[DataType]) -> EvalResult<(Vec<DataType>, DataType)> {
    if types.len() != spread.n_args() || !types.iter().all(|t| is_number(t) || is_unknown(t)) {
        return Err(EvalError::undefined(format!("function {}({}) does not exist", spread.name(), bind_names(types))));
    }
    Ok(match types {
        [ty] if is_int(ty) || is_decimal(ty) => {
            let ty = as_decimal(ty);
            let scale = NUMERIC_SCALE.max(scale_of(&ty));
            (vec![ty], decimal(scale))
        }
        _ if spread == Spread::Count => (vec![DataType::Float64; 2], DataType::Int64),
        _ => (vec![DataType::Float64; types.len()], DataType::Float64),
    })
}

#[derive(Debug)]
struct PgSpread {
    spread: Spread,
    aliases: Vec<String>,
    signature: Signature,
}

impl PartialEq for PgSpread {
    fn eq(&self, other: &Self) -> bool {
        self.spread == other.spread
    }
}
impl Eq for PgSpread {}
impl Hash for PgSpread {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spread.hash(state);
    }
}

impl AggregateUDFImpl for PgSpread {
    fn name(&self) -> &str {
        self.spread.name()
    }
    fn aliases(&self) -> &[String] {
        &self.aliases
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(bind(self.spread, types)?.1)
    }
    /// Over no rows a count is 0.
    fn default_value(&self, ty: &DataType) -> DfResult<ScalarValue> {
        if self.spread == Spread::Count { Ok(ScalarValue::Int64(Some(0))) } else { ScalarValue::try_from(ty) }
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(bind(self.spread, types)?.0)
    }
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        if !args.is_distinct {
            return Ok(vec![Arc::new(Field::new(format!("{}[sums]", args.name), DataType::Binary, true))]);
        }
        let list = |(at, field): (usize, &FieldRef)| {
            let ty = DataType::List(Arc::new(Field::new_list_field(field.data_type().clone(), true)));
            Arc::new(Field::new(format!("{}[{at}]", args.name), ty, true))
        };
        Ok(args.input_fields.iter().enumerate().map(list).collect())
    }
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let given: Vec<DataType> = args.expr_fields.iter().map(|f| f.data_type().clone()).collect();
        let (types, output) = bind(self.spread, &given)?;
        let keeper = Keeper::new(AggFunc::Spread(self.spread), &types, &output);
        let keeper = keeper.ok_or_else(|| EvalError::internal("an aggregate over odd types"))?;
        if args.is_distinct {
            return Ok(Box::new(DistinctRows { rows: HashSet::new(), given, types, keeper }));
        }
        Ok(Box::new(Sums { kept: keeper.empty(), types, keeper }))
    }
}

/// The columns as the keeper reads them.
fn columns(values: &[ArrayRef], types: &[DataType]) -> EvalResult<Vec<ArrayRef>> {
    values.iter().zip(types).map(|(v, ty)| if v.data_type() == ty { Ok(Arc::clone(v)) } else { cast_column(v, ty) }).collect()
}

fn add(kept: &mut Kept, columns: &[ArrayRef]) -> EvalResult<()> {
    let (lanes, Some(first)) = (Lanes::new(columns)?, columns.first()) else { return Ok(()) };
    for row in (0..first.len()).filter(|row| first.is_valid(*row)) {
        kept.add(&lanes, row, 1);
    }
    Ok(())
}

fn result(keeper: &Keeper, kept: &Kept) -> DfResult<ScalarValue> {
    let value = keeper.value(kept)?;
    ScalarValue::try_from_array(&keeper.array(std::iter::once(value))?, 0)
}

#[derive(Debug)]
struct Sums {
    keeper: Keeper,
    kept: Kept,
    types: Vec<DataType>,
}

impl Accumulator for Sums {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        Ok(add(&mut self.kept, &columns(values, &self.types)?)?)
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        result(&self.keeper, &self.kept)
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.kept.heap_bytes()
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.kept.to_bytes()))])
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let bad = || EvalError::internal("bad state of an aggregate");
        let states = states.first().ok_or_else(bad)?;
        for bytes in states.as_binary::<i32>().iter().flatten() {
            self.kept.merge(bytes).ok_or_else(bad)?;
        }
        Ok(())
    }
}

/// `variance(DISTINCT x)`: the set first, the sums at the end.
#[derive(Debug)]
struct DistinctRows {
    rows: HashSet<Vec<ScalarValue>>,
    given: Vec<DataType>,
    types: Vec<DataType>,
    keeper: Keeper,
}

impl DistinctRows {
    fn columns(&self) -> DfResult<Vec<ArrayRef>> {
        let column = |(at, ty): (usize, &DataType)| {
            if self.rows.is_empty() {
                return Ok(arrow::array::new_empty_array(ty));
            }
            ScalarValue::iter_to_array(self.rows.iter().filter_map(|row| row.get(at).cloned()))
        };
        self.given.iter().enumerate().map(column).collect()
    }
}

impl Accumulator for DistinctRows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let values = columns(values, &self.given)?;
        for row in 0..values.first().map_or(0, |v| v.len()) {
            self.rows.insert(values.iter().map(|v| ScalarValue::try_from_array(v, row)).collect::<DfResult<_>>()?);
        }
        Ok(())
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let mut kept = self.keeper.empty();
        add(&mut kept, &columns(&self.columns()?, &self.types)?)?;
        result(&self.keeper, &kept)
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.rows.capacity() * self.types.len() * size_of::<ScalarValue>()
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(self.columns()?.into_iter().map(|array| SingleRowListArrayBuilder::new(array).build_list_scalar()).collect())
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let lists: Vec<_> = states.iter().map(|s| s.as_list::<i32>()).collect();
        for row in 0..lists.first().map_or(0, |l| l.len()) {
            let values: Vec<ArrayRef> = lists.iter().map(|l| l.value(row)).collect();
            self.update_batch(&values)?;
        }
        Ok(())
    }
}
