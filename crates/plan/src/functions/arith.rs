//! `+ - * / %`, unary minus and abs over numbers, checked as PostgreSQL checks them: integers never wrap, numerics never
//! lose leading digits, floats say when they leave their range. Loops are branch-free; a bad row is found by a second look.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{
    ArrowNativeTypeOp, ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    i256,
};

use super::bind::{self, Arith};
use super::error::{EvalError, EvalResult};
use super::temporal;
use super::udf::{Args, Bound, Builtin};

/// The least integer that has 39 digits: numerics stay below.
pub const DECIMAL_END: i128 = 10i128.pow(38);

macro_rules! operator {
    ($name:ident, $frozen:literal, $op:expr) => {
        /// The operator as a function.
        pub static $name: Builtin = Builtin {
            name: $frozen,
            aliases: &[],
            bind: |types| match types {
                [l, r] => bind::arith($op, l, r),
                _ => Err(EvalError::undefined(concat!($frozen, " takes two arguments"))),
            },
            refine: None,
            kernel: |args| binary($op, args),
            safe: false,
        };
    };
}
operator!(ADD, "pg_add", Arith::Add);
operator!(SUB, "pg_sub", Arith::Sub);
operator!(MUL, "pg_mul", Arith::Mul);
operator!(DIV, "pg_div", Arith::Div);
operator!(MOD, "mod", Arith::Mod);

/// Unary minus.
pub static NEG: Builtin = Builtin { name: "pg_neg", aliases: &[], bind: bind_unary, refine: None, kernel: negate, safe: false };

/// abs(number).
pub static ABS: Builtin = Builtin { name: "abs", aliases: &[], bind: bind_abs, refine: None, kernel: absolute, safe: false };

fn bind_unary(types: &[DataType]) -> EvalResult<Bound> {
    match types {
        [t] if bind::is_number(t) || matches!(t, DataType::Interval(_)) => Ok(Bound { args: vec![t.clone()], ret: t.clone() }),
        [t] if bind::is_unknown(t) => Ok(Bound { args: vec![DataType::Float64], ret: DataType::Float64 }),
        _ => Err(EvalError::undefined(format!("operator does not exist: - {}", bind_names(types)))),
    }
}

fn bind_abs(types: &[DataType]) -> EvalResult<Bound> {
    match types {
        [t] if bind::is_number(t) || bind::is_unknown(t) => bind_unary(types),
        _ => Err(EvalError::undefined(format!("function abs({}) does not exist", bind_names(types)))),
    }
}

pub(super) fn bind_names(types: &[DataType]) -> String {
    types.iter().map(crate::pgtypes::type_name).collect::<Vec<_>>().join(", ")
}

fn binary(op: Arith, args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (l, r) = (args.col(0)?.array.data_type(), args.col(1)?.array.data_type());
    match (l, r) {
        (DataType::Int16, DataType::Int16) => integer::<Int16Type>(op, args, "smallint"),
        (DataType::Int32, DataType::Int32) => integer::<Int32Type>(op, args, "integer"),
        (DataType::Int64, DataType::Int64) => integer::<Int64Type>(op, args, "bigint"),
        (DataType::Float32, DataType::Float32) => float::<Float32Type>(op, args),
        (DataType::Float64, DataType::Float64) => float::<Float64Type>(op, args),
        (DataType::Decimal128(_, a), DataType::Decimal128(_, b)) => numeric(op, args, *a, *b),
        (DataType::Null, _) | (_, DataType::Null) => Ok(args.all_null()),
        _ => temporal::binary(op, args),
    }
}

/// What integers need beyond arrow's native operations.
trait Int: ArrowNativeTypeOp {
    fn overflowing(self, op: Arith, other: Self) -> (Self, bool);
}

macro_rules! int {
    ($t:ty) => {
        impl Int for $t {
            #[inline(always)]
            fn overflowing(self, op: Arith, other: Self) -> (Self, bool) {
                match op {
                    Arith::Add => self.overflowing_add(other),
                    Arith::Sub => self.overflowing_sub(other),
                    Arith::Mul => self.overflowing_mul(other),
                    Arith::Div if other == 0 => (0, true),
                    Arith::Div => self.overflowing_div(other),
                    Arith::Mod if other == 0 => (0, true),
                    Arith::Mod => (self.wrapping_rem(other), false),
                }
            }
        }
    };
}
int!(i16);
int!(i32);
int!(i64);

fn integer<T: ArrowPrimitiveType>(op: Arith, args: &Args<'_>, name: &str) -> EvalResult<ArrayRef>
where
    T::Native: Int,
{
    let why = |_: T::Native, y: T::Native| {
        if matches!(op, Arith::Div | Arith::Mod) && y.is_zero() {
            EvalError::division_by_zero()
        } else {
            EvalError::out_of_range(name)
        }
    };
    // one loop per operator: the choice is made outside of it
    match op {
        Arith::Add => args.map2::<T, T, T>(|x, y| x.overflowing(Arith::Add, y), why),
        Arith::Sub => args.map2::<T, T, T>(|x, y| x.overflowing(Arith::Sub, y), why),
        Arith::Mul => args.map2::<T, T, T>(|x, y| x.overflowing(Arith::Mul, y), why),
        Arith::Div => args.map2::<T, T, T>(|x, y| x.overflowing(Arith::Div, y), why),
        Arith::Mod => args.map2::<T, T, T>(|x, y| x.overflowing(Arith::Mod, y), why),
    }
}

/// What floats need beyond arrow's native operations.
trait Real: Copy + PartialOrd {
    const ZERO: Self;
    const NAN: Self;
    fn finite(self) -> bool;
    fn nan(self) -> bool;
    fn nil(self) -> bool;
    fn raw(self, op: Arith, other: Self) -> Self;
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const NAN: Self = <$t>::NAN;
            fn finite(self) -> bool {
                self.is_finite()
            }
            fn nan(self) -> bool {
                self.is_nan()
            }
            fn nil(self) -> bool {
                self == 0.0
            }
            #[inline(always)]
            fn raw(self, op: Arith, other: Self) -> Self {
                match op {
                    Arith::Add => self + other,
                    Arith::Sub => self - other,
                    Arith::Mul => self * other,
                    Arith::Div | Arith::Mod => self / other,
                }
            }
        }
    };
}
real!(f32);
real!(f64);

/// The result, and whether it left the range: infinite out of finite operands, zero out of a product or quotient of others,
/// or a division by zero. NaN is always the one NaN whose sign is positive, which is the greatest in every order.
#[inline(always)]
fn checked<F: Real>(op: Arith, x: F, y: F) -> (F, bool) {
    let v = x.raw(op, y);
    let zero = v == F::ZERO;
    let bad = match op {
        Arith::Add | Arith::Sub => !v.finite() && x.finite() && y.finite(),
        Arith::Mul => (!v.finite() && x.finite() && y.finite()) | (zero & (x != F::ZERO) & (y != F::ZERO)),
        Arith::Div | Arith::Mod => {
            (y == F::ZERO && !x.nan()) | (!v.finite() && x.finite() && y.finite()) | (zero & (x != F::ZERO) & y.finite())
        }
    };
    (if v.nan() { F::NAN } else { v }, bad)
}

fn float<T: ArrowPrimitiveType>(op: Arith, args: &Args<'_>) -> EvalResult<ArrayRef>
where
    T::Native: Real,
{
    let why = |x: T::Native, y: T::Native| {
        if matches!(op, Arith::Div | Arith::Mod) && y.nil() {
            EvalError::division_by_zero()
        } else if x.raw(op, y).nil() {
            EvalError::new("22003", "value out of range: underflow")
        } else {
            EvalError::new("22003", "value out of range: overflow")
        }
    };
    match op {
        Arith::Add => args.map2::<T, T, T>(|x, y| checked(Arith::Add, x, y), why),
        Arith::Sub => args.map2::<T, T, T>(|x, y| checked(Arith::Sub, x, y), why),
        Arith::Mul => args.map2::<T, T, T>(|x, y| checked(Arith::Mul, x, y), why),
        Arith::Div | Arith::Mod => args.map2::<T, T, T>(|x, y| checked(Arith::Div, x, y), why),
    }
}

/// 10^n for 0..=38; beyond that a numeric has no digits left.
pub fn pow10(n: i8) -> i128 {
    10i128.pow(u32::from(n.clamp(0, 38).unsigned_abs()))
}

/// `value / 10^digits`, half away from zero.
pub fn drop_digits(value: i128, digits: i8) -> i128 {
    if digits <= 0 {
        return value;
    }
    let unit = pow10(digits);
    let (q, r) = (value / unit, value % unit);
    q + if r.unsigned_abs() >= unit.unsigned_abs().div_ceil(2) { value.signum() } else { 0 }
}

/// The same number at another scale, rounded half away from zero; `None` when it has no room.
pub fn rescale(value: i128, from: i8, to: i8) -> Option<i128> {
    let v = if to >= from { value.checked_mul(pow10(to - from))? } else { drop_digits(value, from - to) };
    (v.unsigned_abs() < DECIMAL_END.unsigned_abs()).then_some(v)
}

fn numeric(op: Arith, args: &Args<'_>, ls: i8, rs: i8) -> EvalResult<ArrayRef> {
    let out = bind::scale_of(args.ret);
    let why = |_: i128, y: i128| {
        if matches!(op, Arith::Div | Arith::Mod) && y == 0 {
            EvalError::division_by_zero()
        } else {
            EvalError::numeric_overflow()
        }
    };
    let or_bad = |v: Option<i128>| match v {
        Some(v) => (v, v.unsigned_abs() >= DECIMAL_END.unsigned_abs()),
        None => (0, true),
    };
    let (lift_l, lift_r) = (pow10(ls.max(rs) - ls), pow10(ls.max(rs) - rs));
    let aligned = move |x: i128, y: i128| Some((x.checked_mul(lift_l)?, y.checked_mul(lift_r)?));
    match op {
        Arith::Add | Arith::Sub => args.map2::<Decimal128Type, Decimal128Type, Decimal128Type>(
            |x, y| or_bad(aligned(x, y).and_then(|(x, y)| if op == Arith::Add { x.checked_add(y) } else { x.checked_sub(y) })),
            why,
        ),
        Arith::Mul => {
            let drop = ls.saturating_add(rs) - out;
            args.map2::<Decimal128Type, Decimal128Type, Decimal128Type>(|x, y| or_bad(multiply(x, y, drop)), why)
        }
        Arith::Div => {
            let lift = out + rs - ls;
            args.map2::<Decimal128Type, Decimal128Type, Decimal128Type>(|x, y| or_bad(divide(x, y, lift)), why)
        }
        Arith::Mod => args.map2::<Decimal128Type, Decimal128Type, Decimal128Type>(
            |x, y| or_bad(if y == 0 { None } else { aligned(x, y).map(|(x, y)| x % y) }),
            why,
        ),
    }
}

fn multiply(x: i128, y: i128, drop: i8) -> Option<i128> {
    match x.checked_mul(y) {
        Some(v) => Some(drop_digits(v, drop)),
        None => wide_quotient(i256::from_i128(x).checked_mul(i256::from_i128(y))?, i256::from_i128(pow10(drop))),
    }
}

/// `x * 10^lift / y`, half away from zero. `lift` may be negative by construction only down to 0.
pub fn divide(x: i128, y: i128, lift: i8) -> Option<i128> {
    if y == 0 {
        return None;
    }
    match x.checked_mul(pow10(lift)).filter(|_| lift <= 38) {
        Some(n) => {
            let (q, r) = (n.checked_div(y)?, n.checked_rem(y)?);
            let up = r.unsigned_abs() >= y.unsigned_abs() - r.unsigned_abs();
            Some(q + if up && r != 0 { n.signum() * y.signum() } else { 0 })
        }
        None => {
            let mut n = i256::from_i128(x).checked_mul(i256::from_i128(pow10(lift.min(38))))?;
            if lift > 38 {
                n = n.checked_mul(i256::from_i128(pow10(lift - 38)))?;
            }
            wide_quotient(n, i256::from_i128(y))
        }
    }
}

/// `n / d` of 256-bit integers, half away from zero, when it fits 128 bits.
fn wide_quotient(n: i256, d: i256) -> Option<i128> {
    let (q, r) = (n.checked_div(d)?, n.checked_rem(d)?);
    let (r, whole) = (r.wrapping_abs(), d.wrapping_abs());
    let negative = n.is_negative() != d.is_negative();
    let step = if r >= whole.wrapping_sub(r) && r != i256::ZERO { if negative { -1 } else { 1 } } else { 0 };
    q.to_i128()?.checked_add(step)
}

macro_rules! by_number {
    ($args:expr, $int:expr, $float:expr, $decimal:expr) => {
        match $args.col(0)?.array.data_type() {
            DataType::Int16 => $args.map1::<Int16Type, Int16Type>($int, |_| EvalError::out_of_range("smallint")),
            DataType::Int32 => $args.map1::<Int32Type, Int32Type>($int, |_| EvalError::out_of_range("integer")),
            DataType::Int64 => $args.map1::<Int64Type, Int64Type>($int, |_| EvalError::out_of_range("bigint")),
            DataType::Float32 => $args.map1::<Float32Type, Float32Type>($float, |_| EvalError::numeric_overflow()),
            DataType::Float64 => $args.map1::<Float64Type, Float64Type>($float, |_| EvalError::numeric_overflow()),
            DataType::Decimal128(..) => $args.map1::<Decimal128Type, Decimal128Type>($decimal, |_| EvalError::numeric_overflow()),
            DataType::Null => Ok($args.all_null()),
            other => Err(EvalError::internal(format!("no number: {other}"))),
        }
    };
}

fn negate(args: &Args<'_>) -> EvalResult<ArrayRef> {
    if let DataType::Interval(_) = args.col(0)?.array.data_type() {
        return temporal::negate(args);
    }
    // A numeric has no least value that overflows; what stands under a NULL may be anything.
    by_number!(args, |x| x.overflowing_neg(), |x| (if x.is_nan() { x } else { -x }, false), |x| (x.wrapping_neg(), false))
}

fn absolute(args: &Args<'_>) -> EvalResult<ArrayRef> {
    by_number!(args, |x| x.overflowing_abs(), |x| (x.abs(), false), |x| (x.wrapping_abs(), false))
}

/// Key by which floats compare as in PostgreSQL under any bitwise order: one zero, one NaN.
pub static FLOAT_KEY: Builtin = Builtin {
    name: "pg_float_key",
    aliases: &[],
    bind: |types| match types {
        [t] if bind::is_float(t) => Ok(Bound { args: vec![t.clone()], ret: t.clone() }),
        _ => Err(EvalError::undefined("pg_float_key takes a float")),
    },
    refine: None,
    kernel: |args| match args.col(0)?.array.data_type() {
        DataType::Float32 => args.map1::<Float32Type, Float32Type>(
            |x| (if x.is_nan() { f32::NAN } else { x + 0.0 }, false),
            |_| EvalError::numeric_overflow(),
        ),
        _ => args.map1::<Float64Type, Float64Type>(
            |x| (if x.is_nan() { f64::NAN } else { x + 0.0 }, false),
            |_| EvalError::numeric_overflow(),
        ),
    },
    safe: true,
};

/// An array reference to a boxed array, for callers that build their own.
pub(super) fn boxed<A: arrow::array::Array + 'static>(array: A) -> ArrayRef {
    Arc::new(array)
}
