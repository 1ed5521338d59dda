//! `string_agg` that gives text. DataFusion's gives its large text, which no SQL type stands for, and knows constant delimiters only; the
//! work is left to it, or to its `array_agg` where the delimiter varies, and the result is taken over at the end.
//!
//! ```text
//!   string_agg(s, ',' ORDER BY k)      string_agg                        what DataFusion has
//!   string_agg(s, d ORDER BY k)        array_agg((s, d) ORDER BY k)      each s behind its own d, but for the first
//! ```
//! Of bytea it is one of hexadecimal digits, which order as the bytes do (`crate::bind`'s rule for equal values makes it that).
//!
//! The rule [`super::semantics`] makes the order total and says which of the two it is. A NULL text is left out with its delimiter; a NULL
//! delimiter is none. Views do not come here: they have an operator of their own.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::array_agg::ArrayAgg;
use datafusion::functions_aggregate::string_agg::StringAgg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::arith::bind_names;
use super::bind::is_unknown;
use super::error::{EvalError, EvalResult};

/// The function for DataFusion.
#[derive(Debug)]
pub struct PgStringAgg {
    inner: StringAgg,
    /// Of texts and their delimiters.
    pairs: ArrayAgg,
    is_varying: bool,
    signature: Signature,
}

impl PgStringAgg {
    fn new(is_varying: bool) -> PgStringAgg {
        PgStringAgg {
            inner: StringAgg::new(),
            pairs: ArrayAgg::default(),
            is_varying,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl Default for PgStringAgg {
    fn default() -> PgStringAgg {
        PgStringAgg::new(false)
    }
}

/// The function for a delimiter that is no constant.
pub(super) fn varying() -> Arc<AggregateUDF> {
    static VARYING: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Arc::new(AggregateUDF::new_from_impl(PgStringAgg::new(true))));
    Arc::clone(&VARYING)
}

impl PartialEq for PgStringAgg {
    fn eq(&self, other: &Self) -> bool {
        self.is_varying == other.is_varying
    }
}
impl Eq for PgStringAgg {}
impl Hash for PgStringAgg {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
        self.is_varying.hash(state);
    }
}

/// What DataFusion's own function calls its result.
fn inner_field(name: &str) -> FieldRef {
    Arc::new(Field::new(name, DataType::LargeUtf8, true))
}

/// Both arguments, as texts that may be NULL.
fn pair_fields() -> Fields {
    Fields::from(vec![Field::new("text", DataType::Utf8, true), Field::new("delimiter", DataType::Utf8, true)])
}

fn pair_field() -> FieldRef {
    Arc::new(Field::new("pair", DataType::Struct(pair_fields()), true))
}

impl AggregateUDFImpl for PgStringAgg {
    fn name(&self) -> &str {
        "string_agg"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(if types.contains(&DataType::Binary) { DataType::Binary } else { DataType::Utf8 })
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        // until a rule makes texts of them
        if types.len() == 2 && types.contains(&DataType::Binary) && types.iter().all(|t| *t == DataType::Binary || is_unknown(t))
        {
            return Ok(types.to_vec());
        }
        if types.len() != 2 || !types.iter().all(is_unknown) {
            return Err(EvalError::undefined(format!("function string_agg({}) does not exist", bind_names(types))).into());
        }
        Ok(vec![DataType::Utf8; 2])
    }
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        if self.is_varying {
            let pair = [pair_field()];
            let list = Arc::new(Field::new_list(args.name, Field::new_list_field(pair[0].data_type().clone(), true), true));
            return self.pairs.state_fields(StateFieldsArgs { input_fields: &pair, return_field: list, ..args });
        }
        self.inner.state_fields(StateFieldsArgs { return_field: inner_field(args.name), ..args })
    }
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        if !self.is_varying {
            let inner = self.inner.accumulator(AccumulatorArgs { return_field: inner_field(args.name), ..args })?;
            return Ok(Box::new(Text(inner)));
        }
        let fields = [pair_field()];
        // the order of different pairs is one of their own parts, which the list of them cannot know
        let by = |(at, part): (usize, SortOptions)| Part { at, by: part };
        let order = match args.is_distinct {
            false => vec![],
            true => {
                let part = |s: &datafusion::physical_expr::PhysicalSortExpr| {
                    let at = args.exprs.iter().position(|e| e.eq(&s.expr));
                    at.map(|at| (at, s.options)).ok_or_else(|| EvalError::internal("an order of string_agg is no argument"))
                };
                args.order_bys.iter().map(part).collect::<EvalResult<Vec<_>>>()?
            }
        };
        let list = Arc::new(Field::new_list(args.name, Field::new_list_field(fields[0].data_type().clone(), true), true));
        let pairs = self.pairs.accumulator(AccumulatorArgs {
            return_field: list,
            exprs: &args.exprs[..1],
            expr_fields: &fields,
            order_bys: if args.is_distinct { &[] } else { args.order_bys },
            ..args
        })?;
        Ok(Box::new(Varying { pairs, order: order.into_iter().map(by).collect() }))
    }
}

fn text_of(text: String) -> DfResult<ScalarValue> {
    if i32::try_from(text.len()).is_err() {
        return Err(EvalError::new("54000", "string_agg: a text exceeds 2 GiB").into());
    }
    Ok(ScalarValue::Utf8(Some(text)))
}

#[derive(Debug)]
struct Text(Box<dyn Accumulator>);

impl Accumulator for Text {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.0.update_batch(values)
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        match self.0.evaluate()? {
            ScalarValue::LargeUtf8(Some(text)) => text_of(text),
            ScalarValue::LargeUtf8(None) => Ok(ScalarValue::Utf8(None)),
            other => Ok(other),
        }
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.0.size()
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.0.state()
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.0.merge_batch(states)
    }
}

/// A part of a pair that pairs are ordered by.
#[derive(Debug, Clone, Copy)]
struct Part {
    at: usize,
    by: SortOptions,
}

/// A list of pairs, joined at the end.
#[derive(Debug)]
struct Varying {
    pairs: Box<dyn Accumulator>,
    /// Of different pairs; all others come in order.
    order: Vec<Part>,
}

impl Varying {
    /// The rows of a list of pairs in the order that they are joined in.
    fn rows(&self, pairs: &StructArray) -> Vec<usize> {
        let columns = [pairs.column(0).as_string::<i32>(), pairs.column(1).as_string::<i32>()];
        let mut rows: Vec<usize> = (0..pairs.len()).filter(|row| columns[0].is_valid(*row)).collect();
        let compare = |a: usize, b: usize, part: &Part| {
            let column = columns[part.at.min(1)];
            let of = |row: usize| column.is_valid(row).then(|| column.value(row));
            match (of(a), of(b)) {
                (Some(a), Some(b)) if part.by.descending => b.cmp(a),
                (Some(a), Some(b)) => a.cmp(b),
                (a, b) if part.by.nulls_first => a.is_some().cmp(&b.is_some()),
                (a, b) => b.is_some().cmp(&a.is_some()),
            }
        };
        if !self.order.is_empty() {
            rows.sort_by(|a, b| {
                let parts = self.order.iter().map(|part| compare(*a, *b, part));
                parts.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
            });
        }
        rows
    }
}

impl Accumulator for Varying {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let [text, delimiter, order @ ..] = values else {
            return Err(EvalError::internal("string_agg without a delimiter").into());
        };
        let pairs = StructArray::try_new(pair_fields(), vec![Arc::clone(text), Arc::clone(delimiter)], None)?;
        let mut given: Vec<ArrayRef> = vec![Arc::new(pairs)];
        if self.order.is_empty() {
            given.extend(order.iter().cloned());
        }
        self.pairs.update_batch(&given)
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let ScalarValue::List(list) = self.pairs.evaluate()? else {
            return Err(EvalError::internal("string_agg of what is no list").into());
        };
        if list.is_null(0) {
            return Ok(ScalarValue::Utf8(None));
        }
        let pairs = list.value(0);
        let pairs = pairs.as_struct();
        let (texts, delimiters) = (pairs.column(0).as_string::<i32>(), pairs.column(1).as_string::<i32>());
        let mut joined: Option<String> = None;
        for row in self.rows(pairs) {
            match &mut joined {
                None => joined = Some(texts.value(row).to_owned()),
                Some(so_far) => {
                    if delimiters.is_valid(row) {
                        so_far.push_str(delimiters.value(row));
                    }
                    so_far.push_str(texts.value(row));
                }
            }
        }
        joined.map_or(Ok(ScalarValue::Utf8(None)), text_of)
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.pairs.size() + self.order.capacity() * size_of::<Part>()
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.pairs.state()
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.pairs.merge_batch(states)
    }
}
