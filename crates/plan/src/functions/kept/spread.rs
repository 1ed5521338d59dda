//! Variances, covariances, correlation and linear regression from sums. Integers and numerics give numerics, from exact sums of values
//! and squares; everything else is double precision, from exact sums of values and of products, each product split into two doubles
//! that have no error together.
//!
//! ```text
//!   Sxx = sum(x^2) - sum(x)^2 / n        variance = Sxx / (n - 1)        slope = Sxy / Sxx        corr = Sxy / sqrt(Sxx * Syy)
//! ```
//! The difference is taken in twice the digits of a double, which leaves a double's worth of them unless the mean is 10^8 times the
//! spread.

use arrow::datatypes::i256;

use crate::flowplan::Spread;
use crate::functions::arith::DECIMAL_END;
use crate::functions::exact_sum::ExactSum;
use crate::functions::{EvalError, EvalResult};
use crate::value::Datum;

/// Sums of unscaled numerics. A square has up to 254 bits: its halves are added apart, so that no number of rows outgrows them.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    n: i64,
    sum: i256,
    squares_low: i256,
    squares_high: i256,
}

/// Digits behind the point that a quotient of 38 digits is worked out to.
const DIGITS_MAX: i32 = 76;

impl Whole {
    pub(super) fn add(&mut self, x: i128, diff: i64) {
        let (low, high) = match i64::try_from(x) {
            Ok(x) => ((i128::from(x) * i128::from(x)).unsigned_abs(), 0),
            Err(_) => i256::from_i128(x).wrapping_mul(i256::from_i128(x)).to_parts(),
        };
        let (x, low, high) = (i256::from_i128(x), i256::from_parts(low, 0), i256::from_i128(high));
        self.n += diff;
        for (sum, term) in [(&mut self.sum, x), (&mut self.squares_low, low), (&mut self.squares_high, high)] {
            *sum = match diff {
                1 => sum.wrapping_add(term),
                -1 => sum.wrapping_sub(term),
                _ => sum.wrapping_add(term.wrapping_mul(i256::from_i128(diff.into()))),
            };
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let sums = [self.sum, self.squares_low, self.squares_high];
        self.n.to_le_bytes().into_iter().chain(sums.into_iter().flat_map(|s| s.to_le_bytes())).collect()
    }

    pub(super) fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let (n, mut rest) = bytes.split_first_chunk::<8>()?;
        self.n += i64::from_le_bytes(*n);
        for sum in [&mut self.sum, &mut self.squares_low, &mut self.squares_high] {
            let (own, behind) = rest.split_first_chunk::<32>()?;
            *sum = sum.wrapping_add(i256::from_le_bytes(*own));
            rest = behind;
        }
        Some(())
    }

    /// At the scale `to`, of values at the scale `from`; NULL for too few rows.
    pub(super) fn value(&self, spread: Spread, from: i8, to: i8) -> EvalResult<Option<i128>> {
        let is_sample = matches!(spread, Spread::VarSamp | Spread::DevSamp);
        if self.n == 0 || (is_sample && self.n == 1) {
            return Ok(None);
        }
        let value = self.positive(spread, is_sample, from, to).ok_or_else(EvalError::numeric_overflow)?;
        if value.unsigned_abs() >= DECIMAL_END.unsigned_abs() { Err(EvalError::numeric_overflow()) } else { Ok(Some(value)) }
    }

    fn positive(&self, spread: Spread, is_sample: bool, from: i8, to: i8) -> Option<i128> {
        let n = i256::from_i128(self.n.into());
        let high = self.squares_high.checked_mul(i256::from_parts(0, 1))?;
        let squares = high.checked_add(self.squares_low)?;
        let above = squares.checked_mul(n)?.checked_sub(self.sum.checked_mul(self.sum)?)?;
        let below = n.checked_mul(if is_sample { n.wrapping_sub(i256::ONE) } else { n })?;
        let (from, to) = (2 * i32::from(from), i32::from(to));
        if matches!(spread, Spread::DevSamp | Spread::DevPop) {
            // the root has half the digits; what does not fit is worth nothing beside what does
            let (quotient, digits) = divided(above, below, 2 * to - from)?;
            let (mut root, at) = (root(quotient), (from + digits) / 2);
            // an odd number of digits, or fewer than asked for
            if (from + digits) % 2 != 0 {
                let (even, _) = divided(above, below, digits - 1)?;
                root = self::root(even);
            }
            for _ in at..to {
                root = root.checked_mul(10)?;
            }
            return Some(root);
        }
        let (quotient, digits) = divided(above, below, to + 1 - from)?;
        let last = to - from - digits;
        if last >= 0 {
            let lift = 10i128.checked_pow(u32::try_from(last).ok()?)?;
            return quotient.to_i128()?.checked_mul(lift);
        }
        // one digit more, or what squares of so many digits have behind the point
        let unit = i256::from_i128(10).checked_pow(u32::try_from(-last).ok()?)?;
        let up = quotient.wrapping_rem(unit).checked_mul(i256::from_i128(2))? >= unit;
        quotient.wrapping_div(unit).to_i128()?.checked_add(i128::from(up))
    }
}

/// A quotient of what is not negative with so many digits behind the point (or fewer, where they do not fit), cut off.
fn divided(above: i256, below: i256, digits: i32) -> Option<(i256, i32)> {
    let ten = i256::from_i128(10);
    let (mut quotient, mut rest) = (above.checked_div(below)?, above.checked_rem(below)?);
    let digits = digits.min(DIGITS_MAX);
    for _ in digits..0 {
        quotient = quotient.wrapping_div(ten);
    }
    let mut done = digits.min(0);
    while done < digits {
        let Some(more) = rest.checked_mul(ten) else { break };
        let Some(next) = quotient.checked_mul(ten).and_then(|q| q.checked_add(more.wrapping_div(below))) else { break };
        (quotient, rest) = (next, more.wrapping_rem(below));
        done += 1;
    }
    Some((quotient, done))
}

/// The root, rounded to the nearest.
fn root(x: i256) -> i128 {
    let square = |v: i128| i256::from_i128(v).wrapping_mul(i256::from_i128(v));
    // 2^127 squared is the first beyond 256 bits with a sign
    let (mut low, mut high) = (0i128, i128::MAX);
    while high - low > 1 {
        let mid = low + (high - low) / 2;
        if square(mid) <= x { low = mid } else { high = mid }
    }
    low.saturating_add(i128::from(x.wrapping_sub(square(low)) > i256::from_i128(low)))
}

/// Sums over pairs where neither is NULL; with one argument y is x.
#[derive(Debug, Clone, Default)]
pub struct Reals {
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
    if !high.is_finite() {
        return Double(high, 0.0);
    }
    let mut rest = sum.clone();
    rest.sub(high);
    Double(high, rest.value())
}

/// `n * products - a * b`: `n` times the sum of the products of what is left of a and b without their means.
fn about_means(n: f64, products: Double, a: Double, b: Double) -> f64 {
    let mut total = ExactSum::new();
    let mut add = |x: f64, y: f64, sign: f64| {
        let product = x * y;
        total.add(sign * product, 1);
        let rest = x.mul_add(y, -product);
        if rest.is_finite() {
            total.add(sign * rest, 1);
        }
    };
    add(n, products.0, 1.0);
    add(n, products.1, 1.0);
    for (x, y) in [(a.0, b.0), (a.0, b.1), (a.1, b.0)] {
        add(x, y, -1.0);
    }
    total.value()
}

/// One root of the product: where both are squares of one number it is that number, to the last bit, so that points on a line correlate with
/// 1 and not with its neighbour. A product beyond a double's range takes two.
fn root_of_product(a: f64, b: f64) -> f64 {
    let product = a * b;
    if product.is_normal() { product.sqrt() } else { a.sqrt() * b.sqrt() }
}

impl Reals {
    pub(super) fn add(&mut self, x: f64, y: f64, diff: i64) {
        self.n += diff;
        self.x.add(x, diff);
        self.y.add(y, diff);
        for (sum, a, b) in [(&mut self.xx, x, x), (&mut self.yy, y, y), (&mut self.xy, x, y)] {
            let product = a * b;
            sum.add(product, diff);
            let rest = a.mul_add(b, -product);
            if rest.is_finite() {
                sum.add(rest, diff);
            }
        }
    }

    fn parts(&mut self) -> [&mut ExactSum; 5] {
        [&mut self.x, &mut self.y, &mut self.xx, &mut self.yy, &mut self.xy]
    }

    /// The number of rows, then each sum behind its length.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.n.to_le_bytes().to_vec();
        for part in [&self.x, &self.y, &self.xx, &self.yy, &self.xy] {
            let bytes = part.to_bytes();
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        }
        out
    }

    pub(super) fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let (n, mut rest) = bytes.split_first_chunk::<8>()?;
        self.n += i64::from_le_bytes(*n);
        for part in self.parts() {
            let (len, behind) = rest.split_first_chunk::<8>()?;
            let (own, behind) = behind.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
            part.merge(&ExactSum::from_bytes(own)?);
            rest = behind;
        }
        Some(())
    }

    pub(super) fn n_bytes(&self) -> usize {
        let parts = [&self.x, &self.y, &self.xx, &self.yy, &self.xy];
        size_of::<Self>() + parts.iter().map(|s| s.heap_bytes()).sum::<usize>()
    }

    pub(super) fn value(&self, spread: Spread) -> EvalResult<Option<Datum>> {
        if spread == Spread::Count {
            return Ok(Some(Datum::Int(self.n)));
        }
        let value = self.real(spread);
        // of finite values a result that is none was too great on its way
        if value.is_some_and(|v| !v.is_finite()) && self.x.value().is_finite() && self.y.value().is_finite() {
            return Err(EvalError::new("22003", "value out of range: overflow"));
        }
        if self.x.overflows() || self.y.overflows() {
            return Err(EvalError::new("22003", "value out of range: overflow"));
        }
        Ok(value.map(Datum::Float))
    }

    fn real(&self, spread: Spread) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a count beyond 2^53 is no count")]
        let n = self.n as f64;
        if self.n == 0 {
            return None;
        }
        let (x, y) = (double(&self.x), double(&self.y));
        // One value does not deviate, however great its square is.
        let is_lone = self.n == 1 && x.0.is_finite() && y.0.is_finite();
        let about = |products: &ExactSum, a: Double, b: Double| {
            if is_lone { 0.0 } else { about_means(n, double(products), a, b) }
        };
        // not below zero, but for NaN
        let square = |v: f64| if v < 0.0 { 0.0 } else { v };
        // n times each, which is exact more often: a quotient of two needs no more
        let (n_sxx, n_syy) = (|| square(about(&self.xx, x, x)), || square(about(&self.yy, y, y)));
        let n_sxy = || about(&self.xy, x, y);
        let (sxx, syy, sxy) = (|| n_sxx() / n, || n_syy() / n, || n_sxy() / n);
        let sample = |v: f64| (self.n > 1).then(|| v / (n - 1.0));
        match spread {
            Spread::VarSamp => sample(sxx()),
            Spread::VarPop => Some(sxx() / n),
            Spread::DevSamp => sample(sxx()).map(f64::sqrt),
            Spread::DevPop => Some((sxx() / n).sqrt()),
            Spread::CovarSamp => sample(sxy()),
            Spread::CovarPop => Some(sxy() / n),
            Spread::Count => Some(n),
            Spread::Sxx => Some(sxx()),
            Spread::Syy => Some(syy()),
            Spread::Sxy => Some(sxy()),
            Spread::AvgX => Some(x.0 / n),
            Spread::AvgY => Some(y.0 / n),
            Spread::Corr => {
                let (sxx, syy) = (n_sxx(), n_syy());
                (sxx != 0.0 && syy != 0.0).then(|| (n_sxy() / root_of_product(sxx, syy)).clamp(-1.0, 1.0))
            }
            Spread::R2 => {
                let (a, b, ab) = (n_sxx(), n_syy(), n_sxy());
                let of = |a: f64, b: f64, ab: f64| ab * ab / (a * b);
                match () {
                    () if a == 0.0 => None,
                    () if b == 0.0 => Some(1.0),
                    () if (a * b).is_finite() && (ab * ab).is_finite() => Some(of(a, b, ab)),
                    () => Some(of(a / n, b / n, ab / n)),
                }
            }
            Spread::Slope => Some(n_sxx()).filter(|v| *v != 0.0).map(|sxx| n_sxy() / sxx),
            Spread::Intercept => Some(n_sxx()).filter(|v| *v != 0.0).map(|sxx| (y.0 - x.0 * (n_sxy() / sxx)) / n),
        }
    }
}
