//! One scalar function: how its argument types bind, and the kernel over columns. A [`Builtin`] is a static table entry;
//! [`PgFunction`] puts it under DataFusion's trait, so that batch queries and the evaluator of views call the same code.
//!
//! Invariant: a kernel's result for a row depends on that row only, and a kernel that meets a row it cannot compute returns
//! an error for the whole call; who needs the other rows calls again without it (`crate::eval`). Values under a NULL are
//! never judged. With no rows nothing fails.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray, new_empty_array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::error::{EvalError, EvalResult};
use crate::pgtypes::type_name;

/// Types a function was bound for.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The types that the arguments must be cast to.
    pub args: Vec<DataType>,
    /// The result's type.
    pub ret: DataType,
}

/// 42883 of types that a call of `name` is not for.
pub(crate) fn unfit(name: &str, types: &[DataType]) -> EvalError {
    let types: Vec<String> = types.iter().map(type_name).collect();
    EvalError::undefined(format!("function {name}({}) does not exist", types.join(", ")))
}

/// One argument: a whole column (`step` 1) or one value for all rows (`step` 0).
#[derive(Debug)]
pub struct Col {
    /// The values; a single one for a constant.
    pub array: ArrayRef,
    /// Row `i` stands at `i * step`.
    pub step: usize,
}

/// What a kernel gets.
#[derive(Debug)]
pub struct Args<'a> {
    /// The arguments, of the types that were bound.
    pub cols: Vec<Col>,
    /// Rows to compute.
    pub n: usize,
    /// The result's type.
    pub ret: &'a DataType,
}

/// Narrows a result type by constant arguments.
pub type Refine = fn(&DataType, &[Option<&ScalarValue>]) -> DataType;

/// An entry of the table of functions.
#[derive(Debug)]
pub struct Builtin {
    /// Its frozen name.
    pub name: &'static str,
    /// Other names in SQL.
    pub aliases: &'static [&'static str],
    /// Binds argument types; idempotent. `Null` and, before unknown literals were resolved, text may stand anywhere.
    pub bind: fn(&[DataType]) -> EvalResult<Bound>,
    /// Narrows the result's type by constant arguments (`round(x, 2)`).
    pub refine: Option<Refine>,
    /// The work.
    pub kernel: fn(&Args<'_>) -> EvalResult<ArrayRef>,
    /// No row of any input fails.
    pub safe: bool,
}

/// A [`Builtin`] as DataFusion sees it.
#[derive(Debug)]
pub struct PgFunction {
    /// The entry.
    pub def: &'static Builtin,
    signature: Signature,
    aliases: Vec<String>,
}

impl PgFunction {
    /// Wraps an entry.
    pub fn new(def: &'static Builtin) -> PgFunction {
        PgFunction {
            def,
            signature: Signature::user_defined(Volatility::Immutable),
            aliases: def.aliases.iter().map(|a| (*a).to_string()).collect(),
        }
    }
}

impl PgFunction {
    /// The same as one whose calls no optimiser computes before they are run.
    pub fn unfolded(def: &'static Builtin) -> PgFunction {
        PgFunction { signature: Signature::user_defined(Volatility::Volatile), ..PgFunction::new(def) }
    }
}

impl PartialEq for PgFunction {
    fn eq(&self, other: &Self) -> bool {
        self.def.name == other.def.name
    }
}
impl Eq for PgFunction {}
impl Hash for PgFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.def.name.hash(state);
    }
}

impl ScalarUDFImpl for PgFunction {
    fn name(&self) -> &str {
        self.def.name
    }
    fn aliases(&self) -> &[String] {
        &self.aliases
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, arg_types: &[DataType]) -> DfResult<DataType> {
        Ok((self.def.bind)(arg_types)?.ret)
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let mut ret = (self.def.bind)(&types)?.ret;
        if let Some(refine) = self.def.refine {
            ret = refine(&ret, args.scalar_arguments);
        }
        Ok(Arc::new(Field::new(self.def.name, ret, true)))
    }
    /// A time where an interval is wanted stays one, and a uuid where a text is: DataFusion knows no such casts and would refuse the call.
    /// The rule [`super::semantics`] writes them, or refuses.
    fn coerce_types(&self, arg_types: &[DataType]) -> DfResult<Vec<DataType>> {
        let wanted = (self.def.bind)(arg_types)?.args;
        let is_left = |have: &DataType, want: &DataType| {
            matches!((have, want), (DataType::Time64(_), DataType::Interval(_)) | (DataType::FixedSizeBinary(_), DataType::Utf8))
        };
        Ok(wanted.into_iter().zip(arg_types).map(|(want, have)| if is_left(have, &want) { have.clone() } else { want }).collect())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let _zone = crate::local::enter_option(args.config_options.execution.time_zone.as_deref());
        Ok(call(self.def, &args.args, args.number_rows, args.return_field.data_type())?)
    }
}

/// Calls a kernel over columnar values: constants stay constants, no rows give no errors.
///
/// # Errors
/// Those of the kernel: some row cannot be computed.
pub fn call(def: &Builtin, args: &[ColumnarValue], n_rows: usize, ret: &DataType) -> EvalResult<ColumnarValue> {
    if n_rows == 0 {
        return Ok(ColumnarValue::Array(new_empty_array(ret)));
    }
    let constant =
        !args.is_empty() && def.name != crate::host::VOLATILE && args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    let cols = args.iter().map(Col::new).collect::<EvalResult<Vec<_>>>()?;
    let args = Args { cols, n: if constant { 1 } else { n_rows }, ret };
    let array = (def.kernel)(&args)?;
    debug_assert_eq!(array.data_type(), ret, "{}", def.name);
    if constant {
        let value = ScalarValue::try_from_array(&array, 0).map_err(|e| EvalError::internal(e.strip_backtrace()))?;
        return Ok(ColumnarValue::Scalar(value));
    }
    Ok(ColumnarValue::Array(array))
}

impl Col {
    fn new(value: &ColumnarValue) -> EvalResult<Col> {
        let (array, step) = match value {
            ColumnarValue::Array(a) => (Arc::clone(a), 1),
            ColumnarValue::Scalar(s) => (s.to_array().map_err(|e| EvalError::internal(e.strip_backtrace()))?, 0),
        };
        let array = match array.data_type() {
            DataType::BinaryView | DataType::LargeBinary => arrow::compute::cast(&array, &DataType::Binary)?,
            _ => array,
        };
        Ok(Col { array, step })
    }

    /// Is row `i` NULL?
    pub fn is_null(&self, i: usize) -> bool {
        self.array.is_null(i * self.step)
    }
}

impl Args<'_> {
    /// The values of a primitive argument and their step.
    ///
    /// # Errors
    /// XX000 when the argument has another type: the planner broke its word.
    pub fn lanes<T: ArrowPrimitiveType>(&self, i: usize) -> EvalResult<(&[T::Native], usize)> {
        let col = self.col(i)?;
        match col.array.as_primitive_opt::<T>() {
            Some(a) => Ok((a.values(), col.step)),
            None => Err(EvalError::internal(format!("argument {i} has type {}", col.array.data_type()))),
        }
    }

    /// A text argument and its step.
    ///
    /// # Errors
    /// XX000 when the argument has another type.
    pub fn texts(&self, i: usize) -> EvalResult<(&StringArray, usize)> {
        let col = self.col(i)?;
        match col.array.as_string_opt::<i32>() {
            Some(a) => Ok((a, col.step)),
            None => Err(EvalError::internal(format!("argument {i} has type {}", col.array.data_type()))),
        }
    }

    /// Argument `i` of `function`, a constant text.
    ///
    /// # Errors
    /// XX000 when it is none.
    pub(crate) fn word(&self, i: usize, function: &str) -> EvalResult<&str> {
        let texts = self.texts(i)?.0;
        if texts.is_empty() || texts.is_null(0) {
            return Err(EvalError::internal(format!("argument {i} of {function} is no constant")));
        }
        Ok(texts.value(0))
    }

    /// Argument `i`.
    ///
    /// # Errors
    /// XX000 when there is none.
    pub fn col(&self, i: usize) -> EvalResult<&Col> {
        self.cols.get(i).ok_or_else(|| EvalError::internal(format!("argument {i} is missing")))
    }

    /// Rows where some argument is NULL.
    pub fn nulls(&self) -> Option<NullBuffer> {
        let mut all: Option<NullBuffer> = None;
        for col in &self.cols {
            if col.step == 0 {
                if col.array.is_null(0) {
                    return Some(NullBuffer::new_null(self.n));
                }
            } else {
                all = NullBuffer::union(all.as_ref(), col.array.logical_nulls().as_ref());
            }
        }
        all.filter(|n| n.null_count() > 0)
    }

    /// A column of NULLs of the result's type.
    pub fn all_null(&self) -> ArrayRef {
        new_null_array(self.ret, self.n)
    }

    fn finish<O: ArrowPrimitiveType>(&self, values: Vec<O::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
        let array = PrimitiveArray::<O>::new(values.into(), nulls);
        if array.data_type() == self.ret { Arc::new(array) } else { Arc::new(array.with_data_type(self.ret.clone())) }
    }

    /// A strict function of one primitive. `f` computes every slot, also those under NULL, and says whether the value is bad;
    /// `why` is asked only for rows that count.
    ///
    /// # Errors
    /// `why` of the first bad row.
    pub fn map1<A: ArrowPrimitiveType, O: ArrowPrimitiveType>(
        &self,
        f: impl Fn(A::Native) -> (O::Native, bool),
        why: impl Fn(A::Native) -> EvalError,
    ) -> EvalResult<ArrayRef> {
        let (a, sa) = self.lanes::<A>(0)?;
        let nulls = self.nulls();
        let mut bad = false;
        let values: Vec<O::Native> = (0..self.n)
            .map(|i| {
                let (v, b) = f(a[i * sa]);
                bad |= b;
                v
            })
            .collect();
        if bad {
            let valid = |i: &usize| nulls.as_ref().is_none_or(|n| n.is_valid(*i));
            if let Some(i) = (0..self.n).filter(valid).find(|i| f(a[i * sa]).1) {
                return Err(why(a[i * sa]));
            }
        }
        Ok(self.finish::<O>(values, nulls))
    }

    /// A strict function of two primitives; see [`Args::map1`]. The loops are branch-free, so that they vectorise.
    ///
    /// # Errors
    /// `why` of the first bad row.
    pub fn map2<A: ArrowPrimitiveType, B: ArrowPrimitiveType, O: ArrowPrimitiveType>(
        &self,
        f: impl Fn(A::Native, B::Native) -> (O::Native, bool),
        why: impl Fn(A::Native, B::Native) -> EvalError,
    ) -> EvalResult<ArrayRef> {
        let ((a, sa), (b, sb)) = (self.lanes::<A>(0)?, self.lanes::<B>(1)?);
        let nulls = self.nulls();
        let mut bad = false;
        let mut see = |(v, is_bad): (O::Native, bool)| {
            bad |= is_bad;
            v
        };
        let values: Vec<O::Native> = match (sa, sb) {
            (1, 1) => a.iter().zip(b).map(|(x, y)| see(f(*x, *y))).collect(),
            (1, _) => a.iter().map(|x| see(f(*x, b[0]))).collect(),
            (_, 1) => b.iter().map(|y| see(f(a[0], *y))).collect(),
            _ => (0..self.n).map(|_| see(f(a[0], b[0]))).collect(),
        };
        if bad {
            let valid = |i: &usize| nulls.as_ref().is_none_or(|n| n.is_valid(*i));
            if let Some(i) = (0..self.n).filter(valid).find(|i| f(a[i * sa], b[i * sb]).1) {
                return Err(why(a[i * sa], b[i * sb]));
            }
        }
        Ok(self.finish::<O>(values, nulls))
    }

    /// A strict function, row by row: `f` sees only rows without NULL arguments.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn rows<O: ArrowPrimitiveType>(&self, f: impl Fn(usize) -> EvalResult<O::Native>) -> EvalResult<ArrayRef> {
        let nulls = self.nulls();
        let mut values = Vec::with_capacity(self.n);
        for i in 0..self.n {
            values.push(if nulls.as_ref().is_none_or(|n| n.is_valid(i)) { f(i)? } else { O::Native::default() });
        }
        Ok(self.finish::<O>(values, nulls))
    }

    /// A strict function to boolean, row by row.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn rows_bool(&self, f: impl Fn(usize) -> EvalResult<bool>) -> EvalResult<ArrayRef> {
        let nulls = self.nulls();
        let mut values = arrow::array::BooleanBufferBuilder::new(self.n);
        for i in 0..self.n {
            crate::halt::check()?;
            values.append(nulls.as_ref().is_none_or(|n| n.is_valid(i)) && f(i)?);
        }
        Ok(Arc::new(arrow::array::BooleanArray::new(values.finish(), nulls)))
    }

    /// A strict function to text: `f` appends the row's text to the buffer, so that rows cost no allocation.
    ///
    /// # Errors
    /// Those of `f`; 54000 when all the texts together pass [`TEXT_MAX`].
    pub fn rows_text(&self, f: impl Fn(usize, &mut String) -> EvalResult<()>) -> EvalResult<ArrayRef> {
        let nulls = self.nulls();
        text_array(
            self.n,
            |i, buffer| {
                if nulls.as_ref().is_none_or(|n| n.is_valid(i)) { f(i, buffer).map(|()| true) } else { Ok(false) }
            },
        )
    }
}

/// Most bytes of the texts that one call makes for all rows of a batch: what functions make is not counted by a query's budget.
pub const TEXT_MAX: usize = 512 << 20;

/// Builds a text column: `f` appends a row's text and says whether the row is not NULL.
///
/// # Errors
/// Those of `f`; 54000 when all the texts together pass [`TEXT_MAX`].
pub fn text_array(n: usize, f: impl Fn(usize, &mut String) -> EvalResult<bool>) -> EvalResult<ArrayRef> {
    let too_long = || EvalError::new("54000", "the texts of one batch exceed 512 MiB");
    let mut buffer = String::new();
    let mut offsets: Vec<i32> = Vec::with_capacity(n + 1);
    let mut valid = arrow::array::BooleanBufferBuilder::new(n);
    offsets.push(0);
    for i in 0..n {
        crate::halt::check()?;
        valid.append(f(i, &mut buffer)?);
        if buffer.len() > TEXT_MAX {
            return Err(too_long());
        }
        offsets.push(i32::try_from(buffer.len()).map_err(|_| too_long())?);
    }
    let nulls = Some(NullBuffer::new(valid.finish())).filter(|n| n.null_count() > 0);
    let offsets = arrow::buffer::OffsetBuffer::new(offsets.into());
    Ok(Arc::new(StringArray::new(offsets, arrow::buffer::Buffer::from(buffer.into_bytes()), nulls)))
}
