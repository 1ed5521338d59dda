//! Rounding, roots, powers and logarithms over doubles and numerics. A numeric argument gives a numeric; its root is exact
//! to the last digit, its logarithms, powers and exponentials go through pairs of doubles and are good to about 29 digits.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, i256};
use datafusion::scalar::ScalarValue;

use super::arith::{DECIMAL_END, bind_names, drop_digits, pow10, rescale};
use super::bind::{self, decimal, is_decimal, is_float, is_int, is_unknown, scale_of};
use super::error::{EvalError, EvalResult};
use super::twice::Pair;
use super::udf::{Args, Bound, Builtin};
use crate::pgtypes::NUMERIC_SCALE;

fn no_function(name: &str, types: &[DataType]) -> EvalError {
    EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)))
}

/// Doubles in, double out; a numeric in, a numeric of this scale out.
fn bind_real(name: &str, types: &[DataType], scale: fn(i8) -> i8) -> EvalResult<Bound> {
    if types.iter().any(|t| !(bind::is_number(t) || is_unknown(t))) {
        return Err(no_function(name, types));
    }
    if types.iter().any(is_decimal) && !types.iter().any(is_float) {
        let args = types.iter().map(|t| if is_unknown(t) { decimal(NUMERIC_SCALE) } else { bind::as_decimal(t) });
        let widest = types.iter().map(scale_of).max().unwrap_or(0);
        return Ok(Bound { args: args.collect(), ret: decimal(scale(widest)) });
    }
    Ok(Bound { args: vec![DataType::Float64; types.len()], ret: DataType::Float64 })
}

fn fine(s: i8) -> i8 {
    s.max(NUMERIC_SCALE)
}

macro_rules! unary {
    ($static:ident, $name:literal, $aliases:expr, $scale:expr, $float:expr, $decimal:expr) => {
        #[doc = concat!($name, "(x)")]
        pub static $static: Builtin = Builtin {
            name: $name,
            aliases: $aliases,
            bind: |types| match types {
                [_] => bind_real($name, types, $scale),
                _ => Err(no_function($name, types)),
            },
            refine: None,
            kernel: |args| match args.col(0)?.array.data_type() {
                DataType::Float64 => {
                    let (v, s) = args.lanes::<Float64Type>(0)?;
                    let f: fn(f64) -> EvalResult<f64> = $float;
                    args.rows::<Float64Type>(|i| f(v[i * s]))
                }
                DataType::Null => Ok(args.all_null()),
                ty => {
                    let (v, s) = args.lanes::<Decimal128Type>(0)?;
                    let (from, to) = (scale_of(ty), scale_of(args.ret));
                    let f: fn(i128, i8, i8) -> EvalResult<i128> = $decimal;
                    args.rows::<Decimal128Type>(|i| f(v[i * s], from, to))
                }
            },
            safe: false,
        };
    };
}

unary!(CEIL, "ceil", &["ceiling"], |_| 0, |x| Ok(x.ceil()), |x, s, _| {
    Ok(x.div_euclid(pow10(s)) + i128::from(x.rem_euclid(pow10(s)) != 0))
});
unary!(FLOOR, "floor", &[], |_| 0, |x| Ok(x.floor()), |x, s, _| Ok(x.div_euclid(pow10(s))));
unary!(SQRT, "sqrt", &[], fine, |x| if x < 0.0 { Err(bad_root()) } else { Ok(x.sqrt()) }, decimal_sqrt);
unary!(EXP, "exp", &[], fine, |x| ranged(x.exp(), x.is_finite(), true), |x, s, to| Pair::decimal(x, s).exp().to_decimal(to));
unary!(LN, "ln", &[], fine, natural_log, |x, s, to| above_zero(x, s)?.ln().to_decimal(to));
unary!(LOG10, "log10", &[], fine, |x| natural_log(x).map(|_| x.log10()), |x, s, to| above_zero(x, s)?.log10().to_decimal(to));
unary!(SIGN, "sign", &[], |_| 0, |x| Ok(if x == 0.0 || x.is_nan() { 0.0 } else { x.signum() }), |x, _, _| { Ok(x.signum()) });

fn bad_root() -> EvalError {
    EvalError::new("2201F", "cannot take square root of a negative number")
}

fn ranged(v: f64, finite_input: bool, judge_zero: bool) -> EvalResult<f64> {
    if v.is_infinite() && finite_input {
        return Err(EvalError::new("22003", "value out of range: overflow"));
    }
    if v == 0.0 && finite_input && judge_zero {
        return Err(EvalError::new("22003", "value out of range: underflow"));
    }
    Ok(v)
}

fn no_logarithm(of: &str) -> EvalError {
    EvalError::new("2201E", format!("cannot take logarithm of {of}"))
}

fn natural_log(x: f64) -> EvalResult<f64> {
    if x == 0.0 {
        Err(no_logarithm("zero"))
    } else if x < 0.0 {
        Err(no_logarithm("a negative number"))
    } else {
        Ok(x.ln())
    }
}

/// The double nearest to `x / 10^scale`.
pub fn decimal_to_f64(x: i128, scale: i8) -> f64 {
    // both are exact doubles: one correctly rounded division
    if x.unsigned_abs() <= 1 << 53 && scale <= 22 {
        #[expect(clippy::cast_precision_loss, reason = "at most 2^53 and 10^22, which are exact")]
        return x as f64 / pow10(scale) as f64;
    }
    let mut text = String::new();
    crate::pgtypes::format::write_decimal(&mut text, x, scale);
    text.parse().unwrap_or(f64::NAN)
}

/// A numeric that has a logarithm.
fn above_zero(x: i128, scale: i8) -> EvalResult<Pair> {
    match x {
        1.. => Ok(Pair::decimal(x, scale)),
        0 => Err(no_logarithm("zero")),
        _ => Err(no_logarithm("a negative number")),
    }
}

pub(super) fn decimal_sqrt(x: i128, from: i8, to: i8) -> EvalResult<i128> {
    if x < 0 {
        return Err(bad_root());
    }
    // sqrt(x / 10^from) = sqrt(x * 10^(2 to - from)) / 10^to; one more digit decides the rounding
    let lift = 2 * i32::from(to) - i32::from(from);
    let mut wide = i256::from_i128(x);
    let ten = i256::from_i128(10);
    for _ in 0..lift.max(0) {
        wide = wide.checked_mul(ten).ok_or_else(EvalError::numeric_overflow)?;
    }
    for _ in lift.min(0)..0 {
        wide = wide.wrapping_div(ten);
    }
    let (mut low, mut high) = (0i128, DECIMAL_END);
    while high - low > 1 {
        let mid = low + (high - low) / 2;
        let square = i256::from_i128(mid).wrapping_mul(i256::from_i128(mid));
        if square <= wide { low = mid } else { high = mid }
    }
    let rest = wide.wrapping_sub(i256::from_i128(low).wrapping_mul(i256::from_i128(low)));
    Ok(low + i128::from(rest > i256::from_i128(low)))
}

/// power(x, y)
pub static POWER: Builtin = Builtin {
    name: "power",
    aliases: &["pow"],
    bind: |types| match types {
        [_, _] => bind_real("power", types, fine),
        _ => Err(no_function("power", types)),
    },
    refine: None,
    kernel: |args| match (args.col(0)?.array.data_type(), args.col(1)?.array.data_type()) {
        (DataType::Float64, _) => {
            let ((a, sa), (b, sb)) = (args.lanes::<Float64Type>(0)?, args.lanes::<Float64Type>(1)?);
            args.rows::<Float64Type>(|i| power(a[i * sa], b[i * sb]))
        }
        (a_ty, b_ty) => {
            let ((a, sa), (b, sb)) = (args.lanes::<Decimal128Type>(0)?, args.lanes::<Decimal128Type>(1)?);
            let (from, exponent, to) = (scale_of(a_ty), scale_of(b_ty), scale_of(args.ret));
            args.rows::<Decimal128Type>(|i| {
                let (x, y) = (a[i * sa], b[i * sb]);
                match whole_power(x, from, y, exponent, to) {
                    Some(v) => Ok(v),
                    None => decimal_power((x, from), (y, exponent), to),
                }
            })
        }
    },
    safe: false,
};

/// Exact power for a small whole exponent, where the digits have room.
fn whole_power(x: i128, from: i8, y: i128, y_scale: i8, to: i8) -> Option<i128> {
    let n = y / pow10(y_scale);
    if y % pow10(y_scale) != 0 || !(0..=38).contains(&n) {
        return None;
    }
    let n = u32::try_from(n).ok()?;
    let digits = i8::try_from(i32::from(from) * i32::try_from(n).ok()?).ok().filter(|d| *d <= 38)?;
    rescale(x.checked_pow(n)?, digits, to)
}

/// Any other power of a numeric; both with their scales.
fn decimal_power(x: (i128, i8), y: (i128, i8), to: i8) -> EvalResult<i128> {
    let unit = pow10(y.1);
    if x.0 == 0 {
        return if y.0 < 0 { Err(no_power_of_zero()) } else { Ok(0) };
    }
    if x.0 < 0 && y.0 % unit != 0 {
        return Err(complex());
    }
    let size = i128::try_from(x.0.unsigned_abs()).map_err(|_| EvalError::numeric_overflow())?;
    let power = Pair::decimal(y.0, y.1).times(Pair::decimal(size, x.1).ln()).exp().to_decimal(to)?;
    Ok(if x.0 < 0 && y.0 / unit % 2 != 0 { -power } else { power })
}

fn no_power_of_zero() -> EvalError {
    EvalError::new("2201F", "zero raised to a negative power is undefined")
}

fn complex() -> EvalError {
    EvalError::new("2201F", "a negative number raised to a non-integer power yields a complex result")
}

fn power(x: f64, y: f64) -> EvalResult<f64> {
    if x == 0.0 && y < 0.0 {
        return Err(no_power_of_zero());
    }
    if x < 0.0 && x.is_finite() && y.is_finite() && y.fract() != 0.0 {
        return Err(complex());
    }
    ranged(x.powf(y), x.is_finite() && y.is_finite(), x != 0.0)
}

/// log(x) to base 10, log(b, x) of numerics.
pub static LOG: Builtin = Builtin {
    name: "log",
    aliases: &[],
    bind: |types| match types {
        [_] => bind_real("log", types, fine),
        [_, _] if !types.iter().any(is_float) => {
            let numeric = |t: &DataType| if is_unknown(t) { decimal(NUMERIC_SCALE) } else { bind::as_decimal(t) };
            Ok(Bound { args: types.iter().map(numeric).collect(), ret: decimal(NUMERIC_SCALE) })
        }
        _ => Err(no_function("log", types)),
    },
    refine: None,
    kernel: |args| {
        if args.cols.len() == 1 {
            return (LOG10.kernel)(args);
        }
        let (s0, s1) = (scale_of(args.col(0)?.array.data_type()), scale_of(args.col(1)?.array.data_type()));
        let ((b, sb), (x, sx)) = (args.lanes::<Decimal128Type>(0)?, args.lanes::<Decimal128Type>(1)?);
        args.rows::<Decimal128Type>(|i| {
            let (base, arg) = (above_zero(b[i * sb], s0)?, above_zero(x[i * sx], s1)?);
            if b[i * sb] == pow10(s0) {
                return Err(EvalError::division_by_zero());
            }
            arg.ln().over(base.ln()).to_decimal(scale_of(args.ret))
        })
    },
    safe: false,
};

/// round(x), round(numeric, n)
pub static ROUND: Builtin = Builtin {
    name: "round",
    aliases: &[],
    bind: |types| bind_round("round", types),
    refine: Some(refine_round),
    kernel: |args| rounded(args, f64::round_ties_even, drop_digits),
    safe: false,
};

/// trunc(x), trunc(numeric, n)
pub static TRUNC: Builtin = Builtin {
    name: "trunc",
    aliases: &[],
    bind: |types| bind_round("trunc", types),
    refine: Some(refine_round),
    kernel: |args| rounded(args, f64::trunc, |x, n| if n <= 0 { x } else { x / pow10(n) }),
    safe: false,
};

fn bind_round(name: &str, types: &[DataType]) -> EvalResult<Bound> {
    match types {
        [_] => bind_real(name, types, |_| 0),
        [x, n] if (is_int(n) || is_unknown(n)) && (is_decimal(x) || is_int(x) || is_unknown(x)) => {
            let x = if is_unknown(x) { decimal(NUMERIC_SCALE) } else { bind::as_decimal(x) };
            Ok(Bound { ret: decimal(scale_of(&x)), args: vec![x, DataType::Int32] })
        }
        _ => Err(no_function(name, types)),
    }
}

/// A constant number of digits is the result's scale, as it is the scale of PostgreSQL's value.
fn refine_round(ret: &DataType, constants: &[Option<&ScalarValue>]) -> DataType {
    let n = match constants.get(1) {
        Some(Some(ScalarValue::Int32(Some(n)))) => i64::from(*n),
        Some(Some(ScalarValue::Int64(Some(n)))) => *n,
        _ => return ret.clone(),
    };
    decimal(i8::try_from(n.clamp(0, 30)).unwrap_or(0))
}

fn rounded(args: &Args<'_>, float: fn(f64) -> f64, drop: fn(i128, i8) -> i128) -> EvalResult<ArrayRef> {
    let ty = args.col(0)?.array.data_type();
    if *ty == DataType::Float64 {
        return args.map1::<Float64Type, Float64Type>(|x| (float(x), false), |_| EvalError::numeric_overflow());
    }
    let (x, sx) = args.lanes::<Decimal128Type>(0)?;
    let (from, to) = (scale_of(ty), scale_of(args.ret));
    let digits = if args.cols.len() > 1 { Some(args.lanes::<Int32Type>(1)?) } else { None };
    args.rows::<Decimal128Type>(|i| {
        let n = digits.map_or(0, |(n, sn)| n[i * sn]);
        let cut = i8::try_from(i32::from(from).saturating_sub(n).clamp(0, 39)).unwrap_or(39);
        // 10^39 is beyond every numeric: what is left is 0 (or, rounded, still 0)
        let kept = if cut > 38 { 0 } else { drop(x[i * sx], cut) };
        let left = from - cut;
        let v = if left >= to {
            Some(drop(kept, left - to))
        } else {
            let lift = i32::from(to) - i32::from(left);
            if kept == 0 {
                Some(0)
            } else {
                u32::try_from(lift).ok().and_then(|l| 10i128.checked_pow(l)).and_then(|p| kept.checked_mul(p))
            }
        };
        v.filter(|v| v.unsigned_abs() < DECIMAL_END.unsigned_abs()).ok_or_else(EvalError::numeric_overflow)
    })
}
