//! Whole-number functions (`gcd`, `lcm`, `div`, `factorial`, `width_bucket`), digits of numerics, and what is computed in double
//! precision whatever comes in: roots of the third order and the trigonometric and hyperbolic functions.

use std::f64::consts::{FRAC_PI_4, PI};

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};

use super::arith::{DECIMAL_END, pow10};
use super::bind::{self, decimal};
use super::error::{EvalError, EvalResult};
use super::forms::{Form, K, bind_forms, builtin};
use super::lists;
use super::udf::{Args, Bound, Builtin};

const ONE: &[Form] = &[(&[K::Float], K::Float)];

macro_rules! real {
    ($static:ident, $name:literal, $f:expr) => {
        builtin!($static, $name, [], ONE, false, |a| {
            let (v, s) = a.lanes::<Float64Type>(0)?;
            let f: fn(f64) -> EvalResult<f64> = $f;
            a.rows::<Float64Type>(|i| f(v[i * s]))
        });
    };
}

fn out_of_range() -> EvalError {
    EvalError::new("22003", "input is out of range")
}

fn finite(x: f64, f: fn(f64) -> f64) -> EvalResult<f64> {
    if x.is_infinite() { Err(out_of_range()) } else { Ok(f(x)) }
}

fn unit(x: f64, f: fn(f64) -> f64) -> EvalResult<f64> {
    if x.abs() > 1.0 { Err(out_of_range()) } else { Ok(f(x)) }
}

fn overflows(x: f64, v: f64) -> EvalResult<f64> {
    if v.is_infinite() && x.is_finite() { Err(EvalError::new("22003", "value out of range: overflow")) } else { Ok(v) }
}

real!(CBRT, "cbrt", |x| Ok(x.cbrt()));
real!(SIN, "sin", |x| finite(x, f64::sin));
real!(COS, "cos", |x| finite(x, f64::cos));
real!(TAN, "tan", |x| finite(x, f64::tan));
real!(COT, "cot", |x| finite(x, |x| 1.0 / x.tan()));
real!(ASIN, "asin", |x| unit(x, f64::asin));
real!(ACOS, "acos", |x| unit(x, f64::acos));
real!(ATAN, "atan", |x| Ok(x.atan()));
real!(SINH, "sinh", |x| Ok(x.sinh()));
real!(COSH, "cosh", |x| Ok(x.cosh()));
real!(TANH, "tanh", |x| Ok(x.tanh()));
real!(ASINH, "asinh", |x| Ok(x.asinh()));
real!(ACOSH, "acosh", |x| if x < 1.0 { Err(out_of_range()) } else { Ok(x.acosh()) });
real!(ATANH, "atanh", |x| if x.abs() == 1.0 { Ok(x * f64::INFINITY) } else { unit(x, f64::atanh) });
real!(DEGREES, "degrees", |x| overflows(x, x.to_degrees()));
real!(RADIANS, "radians", |x| Ok(x.to_radians()));
real!(SIND, "sind", |x| finite(x, |x| exact_degrees(x, f64::sin)));
real!(COSD, "cosd", |x| finite(x, |x| exact_degrees(90.0 - x, f64::sin)));
real!(TAND, "tand", |x| finite(x, |x| exact_degrees(x, f64::sin) / exact_degrees(90.0 - x, f64::sin)));
real!(COTD, "cotd", |x| finite(x, |x| exact_degrees(90.0 - x, f64::sin) / exact_degrees(x, f64::sin)));
real!(ASIND, "asind", |x| unit(x, |x| if x < 0.0 { -asin_degrees(-x) } else { asin_degrees(x) }));
real!(ACOSD, "acosd", |x| unit(x, |x| if x < 0.0 { 90.0 + asin_degrees(-x) } else { acos_degrees(x) }));
real!(ATAND, "atand", |x| Ok(x.atan() / FRAC_PI_4 * 45.0));

/// Of 0 to 1, exact at one half, as PostgreSQL has it.
fn asin_degrees(x: f64) -> f64 {
    if x <= 0.5 { x.asin() / 0.5f64.asin() * 30.0 } else { 90.0 - x.acos() / 0.5f64.acos() * 60.0 }
}

fn acos_degrees(x: f64) -> f64 {
    if x <= 0.5 { 90.0 - x.asin() / 0.5f64.asin() * 30.0 } else { x.acos() / 0.5f64.acos() * 60.0 }
}

/// The sine of degrees, exact where PostgreSQL's is: at multiples of 30 degrees that have a short value.
fn exact_degrees(x: f64, sin: fn(f64) -> f64) -> f64 {
    let turn = x.rem_euclid(360.0);
    match turn {
        0.0 | 180.0 => 0.0,
        90.0 => 1.0,
        270.0 => -1.0,
        30.0 | 150.0 => 0.5,
        210.0 | 330.0 => -0.5,
        turn => sin(turn * PI / 180.0),
    }
}

builtin!(ATAN2, "atan2", [], &[(&[K::Float, K::Float], K::Float)], true, |a| {
    let ((y, sy), (x, sx)) = (a.lanes::<Float64Type>(0)?, a.lanes::<Float64Type>(1)?);
    a.rows::<Float64Type>(|i| Ok(y[i * sy].atan2(x[i * sx])))
});

builtin!(ATAN2D, "atan2d", [], &[(&[K::Float, K::Float], K::Float)], true, |a| {
    let ((y, sy), (x, sx)) = (a.lanes::<Float64Type>(0)?, a.lanes::<Float64Type>(1)?);
    a.rows::<Float64Type>(|i| Ok(y[i * sy].atan2(x[i * sx]) / FRAC_PI_4 * 45.0))
});

/// Two integers, or two numerics of one scale.
fn bind_whole(name: &str, types: &[DataType]) -> EvalResult<Bound> {
    let forms: &[Form] = &[(&[K::Int, K::Int], K::Int), (&[K::Big, K::Big], K::Big), (&[K::Num, K::Num], K::Num)];
    let bound = bind_forms(name, types, forms)?;
    if !bind::is_decimal(&bound.ret) {
        return Ok(bound);
    }
    let scale = bound.args.iter().map(bind::scale_of).max().unwrap_or(0);
    Ok(Bound { args: vec![decimal(scale); 2], ret: decimal(scale) })
}

fn whole(a: &Args<'_>, f: fn(u128, u128) -> Option<u128>) -> EvalResult<ArrayRef> {
    let of = |x: i128, y: i128| f(x.unsigned_abs(), y.unsigned_abs()).and_then(|v| i128::try_from(v).ok());
    match a.ret {
        DataType::Int32 => {
            let ((x, sx), (y, sy)) = (a.lanes::<Int32Type>(0)?, a.lanes::<Int32Type>(1)?);
            a.rows::<Int32Type>(|i| {
                let v = of(x[i * sx].into(), y[i * sy].into()).and_then(|v| i32::try_from(v).ok());
                v.ok_or_else(|| EvalError::out_of_range("integer"))
            })
        }
        DataType::Int64 => {
            let ((x, sx), (y, sy)) = (a.lanes::<Int64Type>(0)?, a.lanes::<Int64Type>(1)?);
            a.rows::<Int64Type>(|i| {
                let v = of(x[i * sx].into(), y[i * sy].into()).and_then(|v| i64::try_from(v).ok());
                v.ok_or_else(|| EvalError::out_of_range("bigint"))
            })
        }
        _ => {
            let ((x, sx), (y, sy)) = (a.lanes::<Decimal128Type>(0)?, a.lanes::<Decimal128Type>(1)?);
            a.rows::<Decimal128Type>(|i| {
                of(x[i * sx], y[i * sy]).filter(|v| *v < DECIMAL_END).ok_or_else(EvalError::numeric_overflow)
            })
        }
    }
}

fn gcd(mut x: u128, mut y: u128) -> u128 {
    while y != 0 {
        (x, y) = (y, x % y);
    }
    x
}

/// gcd(x, y)
pub static GCD: Builtin = Builtin {
    name: "gcd",
    aliases: &[],
    bind: |types| bind_whole("gcd", types),
    refine: None,
    kernel: |a| whole(a, |x, y| Some(gcd(x, y))),
    safe: false,
};

/// lcm(x, y)
pub static LCM: Builtin = Builtin {
    name: "lcm",
    aliases: &[],
    bind: |types| bind_whole("lcm", types),
    refine: None,
    kernel: |a| whole(a, |x, y| if x == 0 || y == 0 { Some(0) } else { (x / gcd(x, y)).checked_mul(y) }),
    safe: false,
};

/// div(numeric, numeric): the whole quotient, towards zero.
pub static DIV: Builtin = Builtin {
    name: "div",
    aliases: &[],
    bind: |types| {
        let bound = bind_forms("div", types, &[(&[K::Num, K::Num], K::Whole)])?;
        let scale = bound.args.iter().map(bind::scale_of).max().unwrap_or(0);
        Ok(Bound { args: vec![decimal(scale); 2], ret: decimal(0) })
    },
    refine: None,
    kernel: |a| {
        let ((x, sx), (y, sy)) = (a.lanes::<Decimal128Type>(0)?, a.lanes::<Decimal128Type>(1)?);
        a.rows::<Decimal128Type>(|i| x[i * sx].checked_div(y[i * sy]).ok_or_else(EvalError::division_by_zero))
    },
    safe: false,
};

builtin!(FACTORIAL, "factorial", [], &[(&[K::Big], K::Whole)], false, |a| {
    let (v, s) = a.lanes::<Int64Type>(0)?;
    a.rows::<Decimal128Type>(|i| {
        let n = v[i * s];
        if n < 0 {
            return Err(EvalError::new("22003", "factorial of a negative number is undefined"));
        }
        let product = (1..=i128::from(n.min(40))).try_fold(1i128, i128::checked_mul);
        product.filter(|v| *v < DECIMAL_END).ok_or_else(EvalError::numeric_overflow)
    })
});

/// width_bucket(x, low, high, n)
pub static WIDTH_BUCKET: Builtin = Builtin {
    name: "width_bucket",
    aliases: &[],
    bind: |types| {
        if types.len() == 2 {
            return lists::bind_buckets(types);
        }
        let forms: &[Form] = &[(&[K::Num, K::Num, K::Num, K::Int], K::Int), (&[K::Float, K::Float, K::Float, K::Int], K::Int)];
        let mut bound = bind_forms("width_bucket", types, forms)?;
        if bound.args[..3].iter().all(bind::is_decimal) {
            let scale = bound.args.iter().map(bind::scale_of).max().unwrap_or(0);
            bound.args[..3].fill(decimal(scale));
        }
        Ok(bound)
    },
    refine: None,
    kernel: |a| {
        if a.cols.len() == 2 {
            return lists::buckets(a);
        }
        let (n, sn) = a.lanes::<Int32Type>(3)?;
        if let Ok((x, sx)) = a.lanes::<Decimal128Type>(0) {
            let ((low, sl), (high, sh)) = (a.lanes::<Decimal128Type>(1)?, a.lanes::<Decimal128Type>(2)?);
            return a.rows::<Int32Type>(|i| {
                let (x, low, high, n) = (x[i * sx], low[i * sl], high[i * sh], n[i * sn]);
                judge_buckets(n, low == high)?;
                let (below, beyond) = if low < high { (x < low, x >= high) } else { (x > low, x <= high) };
                if below {
                    return Ok(0);
                }
                if beyond {
                    return n.checked_add(1).ok_or_else(|| EvalError::out_of_range("integer"));
                }
                let (past, width) = x.checked_sub(low).zip(high.checked_sub(low)).ok_or_else(EvalError::numeric_overflow)?;
                let at = past.checked_mul(n.into()).ok_or_else(EvalError::numeric_overflow)? / width;
                i32::try_from(at + 1).map_err(|_| EvalError::out_of_range("integer"))
            });
        }
        let ((x, sx), (low, sl), (high, sh)) =
            (a.lanes::<Float64Type>(0)?, a.lanes::<Float64Type>(1)?, a.lanes::<Float64Type>(2)?);
        a.rows::<Int32Type>(|i| {
            let (x, low, high, n) = (x[i * sx], low[i * sl], high[i * sh], n[i * sn]);
            if x.is_nan() || low.is_nan() || high.is_nan() {
                return Err(EvalError::new("2201G", "operand, lower bound, and upper bound cannot be NaN"));
            }
            if low.is_infinite() || high.is_infinite() {
                return Err(EvalError::new("2201G", "lower and upper bounds must be finite"));
            }
            judge_buckets(n, low == high)?;
            let (x, from, to) = if low < high { (x, low, high) } else { (-x, -low, -high) };
            if x < from {
                return Ok(0);
            }
            if x >= to {
                return n.checked_add(1).ok_or_else(|| EvalError::out_of_range("integer"));
            }
            #[expect(clippy::cast_possible_truncation, reason = "below n, which is an integer")]
            let at = (f64::from(n) * ((x - from) / (to - from))) as i32;
            Ok(at.min(n - 1) + 1)
        })
    },
    safe: false,
};

fn judge_buckets(n: i32, empty: bool) -> EvalResult<()> {
    if n <= 0 {
        return Err(EvalError::new("2201G", "count must be greater than zero"));
    }
    if empty {
        return Err(EvalError::new("2201G", "lower bound cannot equal upper bound"));
    }
    Ok(())
}

builtin!(MIN_SCALE, "min_scale", [], &[(&[K::Num], K::Int)], true, |a| {
    let (v, s) = a.lanes::<Decimal128Type>(0)?;
    let scale = bind::scale_of(a.col(0)?.array.data_type());
    a.rows::<Int32Type>(|i| {
        let zeros = (1..=scale).take_while(|n| v[i * s] % pow10(*n) == 0).count();
        Ok(i32::from(scale) - i32::try_from(zeros).unwrap_or(0))
    })
});

builtin!(SCALE, "scale", [], &[(&[K::Num], K::Int)], true, |a| {
    let scale = i32::from(bind::scale_of(a.col(0)?.array.data_type()));
    a.rows::<Int32Type>(|_| Ok(scale))
});

/// A scale belongs to the type here, so the number stays as it is.
pub static TRIM_SCALE: Builtin = Builtin {
    name: "trim_scale",
    aliases: &[],
    bind: |types| {
        let bound = bind_forms("trim_scale", types, &[(&[K::Num], K::Num)])?;
        Ok(Bound { ret: bound.args.first().cloned().unwrap_or(bound.ret), args: bound.args })
    },
    refine: None,
    kernel: |a| super::compare::expand(a.col(0)?, a.n),
    safe: true,
};
