//! Doubles in pairs, as the sum of a double and what it lacks: some 31 digits, for logarithms, powers and exponentials of numerics. Sums and
//! products without error are Dekker's and Knuth's, the rest as in Bailey's QD (Hida, Li, Bailey 2001). The first guess of
//! a logarithm is libm's; a step of Newton's takes it beyond the digits that are shown, which IEEE operations decide.

use super::arith::pow10;
use super::error::{EvalError, EvalResult};

/// `hi + lo`, where `lo` is at most half a unit of `hi`'s last place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    hi: f64,
    lo: f64,
}

const LN_2: Pair = Pair { hi: std::f64::consts::LN_2, lo: 2.319_046_813_846_299_6e-17 };
const LN_10: Pair = Pair { hi: std::f64::consts::LN_10, lo: -2.170_756_223_382_249_4e-16 };
/// Halvings of an exponent before its series, which are squarings behind it.
const HALVINGS: i32 = 9;
/// Terms of that series: each is below 2^-10 of the one before.
const TERMS: i32 = 10;

fn sum(a: f64, b: f64) -> Pair {
    let hi = a + b;
    let part = hi - a;
    Pair { hi, lo: (a - (hi - part)) + (b - part) }
}

/// A sum whose first part is the greater.
fn ordered(a: f64, b: f64) -> Pair {
    let hi = a + b;
    Pair { hi, lo: b - (hi - a) }
}

fn product(a: f64, b: f64) -> Pair {
    let hi = a * b;
    Pair { hi, lo: a.mul_add(b, -hi) }
}

impl Pair {
    fn of(v: f64) -> Pair {
        Pair { hi: v, lo: 0.0 }
    }

    fn whole(n: i128) -> Pair {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "what is lost is the other half")]
        let (hi, back) = (n as f64, (n as f64) as i128);
        #[expect(clippy::cast_precision_loss, reason = "what is below half a unit of the last place of a double")]
        let lo = n.wrapping_sub(back) as f64;
        ordered(hi, lo)
    }

    /// A numeric's digits.
    pub(super) fn decimal(n: i128, scale: i8) -> Pair {
        Pair::whole(n).over(Pair::whole(pow10(scale)))
    }

    /// As a numeric of a scale, half away from zero.
    ///
    /// # Errors
    /// 22003 beyond 38 digits.
    pub(super) fn to_decimal(self, scale: i8) -> EvalResult<i128> {
        let all = self.times(Pair::whole(pow10(scale)));
        if all.hi.is_nan() || all.hi.abs() >= 1e38 {
            return Err(EvalError::numeric_overflow());
        }
        let whole = all.hi.trunc();
        let rest = (all.hi - whole) + all.lo;
        #[expect(clippy::cast_possible_truncation, reason = "within the bounds of a numeric, and of half a unit of a double")]
        let (whole, rest) = (whole as i128, rest.round() as i128);
        let n = whole + rest;
        if n.unsigned_abs() < super::arith::DECIMAL_END.unsigned_abs() { Ok(n) } else { Err(EvalError::numeric_overflow()) }
    }

    pub(super) fn times(self, other: Pair) -> Pair {
        let p = product(self.hi, other.hi);
        ordered(p.hi, p.lo + (self.hi * other.lo + self.lo * other.hi))
    }

    fn plus(self, other: Pair) -> Pair {
        let (s, t) = (sum(self.hi, other.hi), sum(self.lo, other.lo));
        let s = ordered(s.hi, s.lo + t.hi);
        ordered(s.hi, s.lo + t.lo)
    }

    fn minus(self, other: Pair) -> Pair {
        self.plus(Pair { hi: -other.hi, lo: -other.lo })
    }

    pub(super) fn over(self, other: Pair) -> Pair {
        let first = self.hi / other.hi;
        let rest = self.minus(other.times(Pair::of(first)));
        let second = rest.hi / other.hi;
        let rest = rest.minus(other.times(Pair::of(second)));
        let third = rest.hi / other.hi;
        ordered(first, second).plus(Pair::of(third))
    }

    /// Nothing for what is below every digit, more than a numeric holds for what is beyond.
    pub(super) fn exp(self) -> Pair {
        if self.hi < -200.0 {
            return Pair::of(0.0);
        }
        if self.hi > 200.0 {
            return Pair::of(f64::MAX);
        }
        let twos = (self.hi / LN_2.hi).round();
        let scale = 0.5f64.powi(HALVINGS);
        let r = self.minus(LN_2.times(Pair::of(twos)));
        let r = Pair { hi: r.hi * scale, lo: r.lo * scale };
        // e^r - 1, so that no digit is lost beside the 1
        let (mut term, mut series) = (r, r);
        for n in 2..=TERMS {
            term = term.times(r).over(Pair::of(n.into()));
            series = series.plus(term);
        }
        for _ in 0..HALVINGS {
            series = Pair { hi: 2.0 * series.hi, lo: 2.0 * series.lo }.plus(series.times(series));
        }
        let e = series.plus(Pair::of(1.0));
        #[expect(clippy::cast_possible_truncation, reason = "at most some hundreds")]
        let scale = 2.0f64.powi(twos as i32);
        Pair { hi: e.hi * scale, lo: e.lo * scale }
    }

    /// Of what is above zero: a step of Newton's from the double's logarithm.
    pub(super) fn ln(self) -> Pair {
        let first = Pair::of(self.hi.ln());
        let back = Pair { hi: -first.hi, lo: -first.lo }.exp();
        first.plus(self.times(back).minus(Pair::of(1.0)))
    }

    pub(super) fn log10(self) -> Pair {
        self.ln().over(LN_10)
    }
}

#[cfg(test)]
mod tests {
    use super::Pair;

    #[test]
    fn thirty_digits_are_right() {
        let of = |n: i128, scale: i8| Pair::decimal(n, scale);
        for (got, expected) in [
            (of(1, 0).exp(), 271_828_182_845_904_523_536_028_747_135i128),
            (of(10, 0).ln(), 230_258_509_299_404_568_401_799_145_468),
            (of(2, 0).log10(), 30_102_999_566_398_119_521_373_889_472),
            (of(5, 1).times(of(2, 0).ln()).exp(), 141_421_356_237_309_504_880_168_872_421),
            (of(-25, 1).exp(), 8_208_499_862_389_879_516_952_867_447),
            (of(1000, 0).ln().over(of(10, 0).ln()), 300_000_000_000_000_000_000_000_000_000),
            (of(1, 20).ln(), -4_605_170_185_988_091_368_035_982_909_369),
            (of(123_456_789, 3).ln(), 1_172_364_648_718_588_098_113_995_898_391),
        ] {
            let got = got.to_decimal(29).expect("fits");
            assert!((got - expected).abs() <= 20, "{got} {expected}");
        }
        assert!(of(90, 0).exp().to_decimal(16).is_err());
        assert_eq!(of(-300, 0).exp().to_decimal(16).expect("fits"), 0);
    }
}
