//! Variances, covariances, correlation and linear regression for plain SELECT. Integers and numerics give numerics, from exact sums of
//! values and squares; everything else is double precision, from exact sums of values and of products, each product split into two
//! doubles that have no error together. So no order of rows and no split into partitions changes a bit of a result.
//!
//! ```text
//!   Sxx = sum(x^2) - sum(x)^2 / n        variance = Sxx / (n - 1)        slope = Sxy / Sxx        corr = Sxy / sqrt(Sxx * Syy)
//! ```
//! The difference is taken in twice the digits of a double, which leaves a double's worth of them unless the mean is 10^8 times the
//! spread. Views do not have these functions; DISTINCT within them is refused.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, i256};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::arith::{DECIMAL_END, bind_names, drop_digits};
use super::bind::{as_decimal, decimal, is_decimal, is_int, is_number, is_unknown, scale_of};
use super::cast::cast_column;
use super::error::{EvalError, EvalResult};
use super::exact_sum::ExactSum;
use super::math::decimal_sqrt;
use crate::pgtypes::NUMERIC_SCALE;

/// Name, how many arguments, and which of all.
const FUNCTIONS: &[(&str, &[&str], usize, Kind)] = &[
    ("var_samp", &["variance"], 1, Kind::VarSamp),
    ("var_pop", &[], 1, Kind::VarPop),
    ("stddev_samp", &["stddev"], 1, Kind::DevSamp),
    ("stddev_pop", &[], 1, Kind::DevPop),
    ("covar_samp", &[], 2, Kind::CovarSamp),
    ("covar_pop", &[], 2, Kind::CovarPop),
    ("corr", &[], 2, Kind::Corr),
    ("regr_count", &[], 2, Kind::Count),
    ("regr_sxx", &[], 2, Kind::Sxx),
    ("regr_syy", &[], 2, Kind::Syy),
    ("regr_sxy", &[], 2, Kind::Sxy),
    ("regr_avgx", &[], 2, Kind::AvgX),
    ("regr_avgy", &[], 2, Kind::AvgY),
    ("regr_r2", &[], 2, Kind::R2),
    ("regr_slope", &[], 2, Kind::Slope),
    ("regr_intercept", &[], 2, Kind::Intercept),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    VarSamp,
    VarPop,
    DevSamp,
    DevPop,
    CovarSamp,
    CovarPop,
    Corr,
    Count,
    Sxx,
    Syy,
    Sxy,
    AvgX,
    AvgY,
    R2,
    Slope,
    Intercept,
}

/// All of them, for a registry of DataFusion.
pub(super) fn all() -> Vec<Arc<datafusion::logical_expr::AggregateUDF>> {
    let of = |(name, aliases, n_args, kind): &(&'static str, &[&'static str], usize, Kind)| {
        Arc::new(datafusion::logical_expr::AggregateUDF::new_from_impl(PgSpread {
            name,
            aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
            n_args: *n_args,
            kind: *kind,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    };
    FUNCTIONS.iter().map(of).collect()
}

#[derive(Debug)]
struct PgSpread {
    name: &'static str,
    aliases: Vec<String>,
    n_args: usize,
    kind: Kind,
    signature: Signature,
}

impl PartialEq for PgSpread {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}
impl Eq for PgSpread {}
impl Hash for PgSpread {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl PgSpread {
    /// Types of arguments and result.
    fn bind(&self, types: &[DataType]) -> EvalResult<(Vec<DataType>, DataType)> {
        let undefined = || EvalError::undefined(format!("function {}({}) does not exist", self.name, bind_names(types)));
        if types.len() != self.n_args || !types.iter().all(|t| is_number(t) || is_unknown(t)) {
            return Err(undefined());
        }
        match types {
            [ty] if is_int(ty) || is_decimal(ty) => {
                let ty = as_decimal(ty);
                let scale = NUMERIC_SCALE.max(scale_of(&ty));
                Ok((vec![ty], decimal(scale)))
            }
            _ if self.kind == Kind::Count => Ok((vec![DataType::Float64; 2], DataType::Int64)),
            _ => Ok((vec![DataType::Float64; types.len()], DataType::Float64)),
        }
    }
}

impl AggregateUDFImpl for PgSpread {
    fn name(&self) -> &str {
        self.name
    }
    fn aliases(&self) -> &[String] {
        &self.aliases
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
    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[sums]", args.name), DataType::Binary, true))])
    }
    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            let message = format!("{}(DISTINCT ..) is not offered", self.name);
            return Err(EvalError::new("0A000", message).into());
        }
        let ty = args.expr_fields.first().map_or(DataType::Float64, |f| f.data_type().clone());
        let sums = match ty {
            DataType::Decimal128(..) => Sums::Whole { n: 0, sum: Some(0), squares: Some(i256::ZERO) },
            _ => Sums::Real(Box::default()),
        };
        Ok(Box::new(Spread { kind: self.kind, sums, ty, ret: args.return_field.data_type().clone() }))
    }
}

#[derive(Debug)]
struct Spread {
    kind: Kind,
    sums: Sums,
    ty: DataType,
    ret: DataType,
}

#[derive(Debug)]
enum Sums {
    /// Unscaled numerics; `None` once the digits ran out.
    Whole {
        n: i64,
        sum: Option<i128>,
        squares: Option<i256>,
    },
    Real(Box<Reals>),
}

/// Sums over pairs where neither is NULL; with one argument y is x.
#[derive(Debug, Default)]
struct Reals {
    n: i64,
    x: ExactSum,
    y: ExactSum,
    xx: ExactSum,
    yy: ExactSum,
    xy: ExactSum,
}

/// A number of twice a double's digits: the value is the sum of both.
#[derive(Clone, Copy)]
struct Double(f64, f64);

/// What a sum holds beyond its rounding.
fn double(sum: &ExactSum) -> Double {
    let high = sum.value();
    let mut rest = sum.clone();
    rest.sub(high);
    Double(high, if high.is_finite() { rest.value() } else { 0.0 })
}

/// `n * products - a * b`, divided by `n`: the sum of the products of what is left of a and b without their means.
fn about_means(n: f64, products: Double, a: Double, b: Double) -> f64 {
    let mut total = ExactSum::new();
    let mut add = |x: f64, y: f64, sign: f64| {
        let product = x * y;
        total.add(sign * product, 1);
        total.add(sign * x.mul_add(y, -product), 1);
    };
    add(n, products.0, 1.0);
    add(n, products.1, 1.0);
    for (x, y) in [(a.0, b.0), (a.0, b.1), (a.1, b.0)] {
        add(x, y, -1.0);
    }
    total.value() / n
}

impl Reals {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1;
        self.x.add(x, 1);
        self.y.add(y, 1);
        for (sum, a, b) in [(&mut self.xx, x, x), (&mut self.yy, y, y), (&mut self.xy, x, y)] {
            let product = a * b;
            sum.add(product, 1);
            let rest = a.mul_add(b, -product);
            if rest.is_finite() {
                sum.add(rest, 1);
            }
        }
    }

    fn parts(&mut self) -> [&mut ExactSum; 5] {
        [&mut self.x, &mut self.y, &mut self.xx, &mut self.yy, &mut self.xy]
    }

    fn evaluate(&self, kind: Kind) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is no count")]
        let n = self.n as f64;
        if self.n == 0 {
            return None;
        }
        let (x, y) = (double(&self.x), double(&self.y));
        // not below zero, but for NaN
        let square = |v: f64| if v < 0.0 { 0.0 } else { v };
        let sxx = || square(about_means(n, double(&self.xx), x, x));
        let syy = || square(about_means(n, double(&self.yy), y, y));
        let sxy = || about_means(n, double(&self.xy), x, y);
        let sample = |v: f64| (self.n > 1).then(|| v / (n - 1.0));
        match kind {
            Kind::VarSamp => sample(sxx()),
            Kind::VarPop => Some(sxx() / n),
            Kind::DevSamp => sample(sxx()).map(f64::sqrt),
            Kind::DevPop => Some((sxx() / n).sqrt()),
            Kind::CovarSamp => sample(sxy()),
            Kind::CovarPop => Some(sxy() / n),
            Kind::Count => Some(n),
            Kind::Sxx => Some(sxx()),
            Kind::Syy => Some(syy()),
            Kind::Sxy => Some(sxy()),
            Kind::AvgX => Some(self.x.value() / n),
            Kind::AvgY => Some(self.y.value() / n),
            Kind::Corr => {
                let (sxx, syy) = (sxx(), syy());
                (sxx != 0.0 && syy != 0.0).then(|| sxy() / (sxx * syy).sqrt())
            }
            Kind::R2 => {
                let (sxx, syy, sxy) = (sxx(), syy(), sxy());
                if sxx == 0.0 { None } else { Some(if syy == 0.0 { 1.0 } else { sxy * sxy / (sxx * syy) }) }
            }
            Kind::Slope => Some(sxx()).filter(|v| *v != 0.0).map(|sxx| sxy() / sxx),
            Kind::Intercept => {
                let mean = |v: Double| v.0 / n;
                Some(sxx()).filter(|v| *v != 0.0).map(|sxx| mean(y) - mean(x) * sxy() / sxx)
            }
        }
    }
}

/// Sums of numerics as a numeric of this scale; `None` for too few rows.
fn whole(kind: Kind, n: i64, sum: Option<i128>, squares: Option<i256>, from: i8, to: i8) -> EvalResult<Option<i128>> {
    let over = EvalError::numeric_overflow;
    let sample = matches!(kind, Kind::VarSamp | Kind::DevSamp);
    if n == 0 || (sample && n == 1) {
        return Ok(None);
    }
    let (sum, squares, n) = (i256::from_i128(sum.ok_or_else(over)?), squares.ok_or_else(over)?, i256::from_i128(n.into()));
    let below = if sample { n.wrapping_sub(i256::ONE) } else { n };
    let above = squares.checked_mul(n).zip(sum.checked_mul(sum)).and_then(|(a, b)| a.checked_sub(b)).ok_or_else(over)?;
    let below = n.checked_mul(below).ok_or_else(over)?;
    // twice the digits behind the point for a root
    let root = matches!(kind, Kind::DevSamp | Kind::DevPop);
    let mut scale = 2 * i32::from(from);
    let want = if root { (2 * i32::from(to)).min(36) } else { i32::from(to) + 1 };
    let mut above = above;
    let ten = i256::from_i128(10);
    while scale < want {
        above = above.checked_mul(ten).ok_or_else(over)?;
        scale += 1;
    }
    let quotient = above.checked_div(below).and_then(|q| q.to_i128()).ok_or_else(over)?;
    let scale = i8::try_from(scale).map_err(|_| over())?;
    let value = if root { decimal_sqrt(quotient, scale, to)? } else { drop_digits(quotient, scale - to) };
    if value.unsigned_abs() >= DECIMAL_END.unsigned_abs() { Err(over()) } else { Ok(Some(value)) }
}

impl Accumulator for Spread {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let lost = || EvalError::internal("an aggregate without arguments");
        let first = values.first().ok_or_else(lost)?;
        match &mut self.sums {
            Sums::Whole { n, sum, squares } => {
                for v in first.as_primitive::<Decimal128Type>().iter().flatten() {
                    *n += 1;
                    *sum = sum.and_then(|s| s.checked_add(v));
                    let square = i256::from_i128(v).checked_mul(i256::from_i128(v));
                    *squares = squares.zip(square).and_then(|(s, v)| s.checked_add(v));
                }
            }
            Sums::Real(reals) => {
                let lane = |array: &ArrayRef| cast_column(array, &DataType::Float64);
                // regr_slope(y, x): the first one is y
                let first = lane(first)?;
                let second = values.get(1).map(lane).transpose()?;
                let y = first.as_primitive::<Float64Type>();
                match &second {
                    None => y.iter().flatten().for_each(|v| reals.add(v, v)),
                    Some(second) => {
                        let x = second.as_primitive::<Float64Type>();
                        x.iter().zip(y).filter_map(|(x, y)| x.zip(y)).for_each(|(x, y)| reals.add(x, y));
                    }
                }
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        match &self.sums {
            Sums::Whole { n, sum, squares } => {
                let DataType::Decimal128(p, s) = self.ret else { return Err(EvalError::internal("numeric expected").into()) };
                Ok(ScalarValue::Decimal128(whole(self.kind, *n, *sum, *squares, scale_of(&self.ty), s)?, p, s))
            }
            Sums::Real(reals) if self.kind == Kind::Count => Ok(ScalarValue::Int64(Some(reals.n))),
            Sums::Real(reals) => Ok(ScalarValue::Float64(reals.evaluate(self.kind))),
        }
    }

    fn size(&self) -> usize {
        let heap = match &self.sums {
            Sums::Whole { .. } => 0,
            Sums::Real(r) => size_of::<Reals>() + [&r.x, &r.y, &r.xx, &r.yy, &r.xy].iter().map(|s| s.heap_bytes()).sum::<usize>(),
        };
        size_of::<Self>() + heap
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let mut out = vec![];
        match &mut self.sums {
            Sums::Whole { n, sum, squares } => {
                out.extend(n.to_le_bytes());
                if let Some((sum, squares)) = sum.zip(*squares) {
                    out.extend(sum.to_le_bytes());
                    out.extend(squares.to_le_bytes());
                }
            }
            Sums::Real(reals) => {
                out.extend(reals.n.to_le_bytes());
                for part in reals.parts() {
                    let bytes = part.to_bytes();
                    out.extend((bytes.len() as u64).to_le_bytes());
                    out.extend(bytes);
                }
            }
        }
        Ok(vec![ScalarValue::Binary(Some(out))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let bad = || EvalError::internal("bad state of an aggregate");
        let states = states.first().ok_or_else(bad)?;
        for bytes in states.as_binary::<i32>().iter().flatten() {
            self.sums.merge(bytes).ok_or_else(bad)?;
        }
        Ok(())
    }
}

impl Sums {
    fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let (count, mut rest) = bytes.split_first_chunk::<8>()?;
        let count = i64::from_le_bytes(*count);
        match self {
            Sums::Whole { n, sum, squares } => {
                *n += count;
                let other = match rest.split_first_chunk::<16>() {
                    Some((s, q)) => Some((i128::from_le_bytes(*s), i256::from_le_bytes(q.try_into().ok()?))),
                    None => None,
                };
                *sum = sum.zip(other).and_then(|(s, (o, _))| s.checked_add(o));
                *squares = squares.zip(other).and_then(|(s, (_, o))| s.checked_add(o));
            }
            Sums::Real(reals) => {
                reals.n += count;
                for part in reals.parts() {
                    let (len, behind) = rest.split_first_chunk::<8>()?;
                    let (own, behind) = behind.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
                    part.merge(&ExactSum::from_bytes(own)?);
                    rest = behind;
                }
            }
        }
        Some(())
    }
}
