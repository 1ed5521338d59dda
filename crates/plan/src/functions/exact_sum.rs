//! An exact sum of doubles: a wide fixed-point integer that covers the whole range of `f64`, after Kulisch's long
//! accumulator. Values pass in with a multiplicity, the correctly rounded sum comes out.
//!
//! Invariant: the state is a function of the multiset of what was added and not of the order, so that retracting a value
//! gives back the bits that were there before it came, and two workers may be merged in any order. NaN and the
//! infinities are counted apart and leave as they came.
//!
//! Cost: an add touches three 64-bit limbs; a limb holds one 32-bit digit and 31 bits of deferred carries, so carries are
//! propagated once in 2^30 adds. Memory grows with the spread of the exponents seen: 8 bytes for each factor of 2^32, at
//! most 70 limbs. It does not know NULLs, SQL types or what an average is.
//!
//! ```text
//!   value = sum over i of limbs[i] * 2^(32 * (base + i) - 1074)
//!
//!   limbs   | digit  | digit  | digit  | top, signed |      normalised: digits in 0..2^32, top in -2^31..2^31,
//!             base     base+1   base+2   base+3             no limb that the sign of the one below already says
//! ```

/// Bit position of the least subnormal, negated: the binary point of the accumulator.
const POINT: i64 = 1074;
/// Bits of one digit.
const DIGIT: u32 = 32;
/// Adds after which carries must be propagated: each add changes a limb by less than 2^32, a limb holds 2^63.
const CARRY_EVERY: u32 = 1 << 30;
/// Most limbs a sum can have: 2,098 bits of doubles and 64 bits of multiplicity and of count, rounded up generously.
const MAX_LIMBS: usize = 80;

/// An order-free, retractable, exact sum of `f64`. See the module's header.
#[derive(Debug, Clone, Default)]
pub struct ExactSum {
    limbs: Vec<i64>,
    base: u16,
    pending: u32,
    specials: Option<Box<Specials>>,
}

/// Net counts of the values that have no place on the number line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Specials {
    nan: i64,
    positive: i64,
    negative: i64,
}

impl ExactSum {
    /// The empty sum, which is 0.
    pub fn new() -> ExactSum {
        ExactSum::default()
    }

    /// Adds `x` as often as `diff` says; a negative `diff` takes it away.
    pub fn add(&mut self, x: f64, diff: i64) {
        if !x.is_finite() {
            return self.add_special(x, diff);
        }
        let bits = x.to_bits();
        let biased = (bits >> 52) & 0x7ff;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, shift) = if biased == 0 { (fraction, 0) } else { (fraction | 1 << 52, biased - 1) };
        if mantissa == 0 || diff == 0 {
            return;
        }
        let negative = (bits >> 63 == 1) != (diff < 0);
        let times = diff.unsigned_abs();
        // shift is below 2046, so both halves of the product land within MAX_LIMBS
        let shift = u32::try_from(shift).expect("an exponent has 11 bits");
        if times == 1 {
            self.add_magnitude(mantissa, shift, negative);
        } else {
            let product = u128::from(mantissa) * u128::from(times);
            self.add_magnitude(low_64(product), shift, negative);
            self.add_magnitude(low_64(product >> 64), shift + 64, negative);
        }
    }

    /// Takes `x` away once.
    pub fn sub(&mut self, x: f64) {
        self.add(x, -1);
    }

    /// Adds everything that `other` holds.
    pub fn merge(&mut self, other: &ExactSum) {
        let mut other = other.clone();
        other.normalise();
        self.normalise();
        if !other.limbs.is_empty() {
            let low = usize::from(other.base);
            self.reserve(low, low + other.limbs.len());
            let at = low - usize::from(self.base);
            for (mine, theirs) in self.limbs[at..].iter_mut().zip(&other.limbs) {
                *mine += theirs;
            }
            self.normalise();
        }
        if let Some(theirs) = &other.specials {
            let mine = self.specials.get_or_insert_default();
            mine.nan += theirs.nan;
            mine.positive += theirs.positive;
            mine.negative += theirs.negative;
            self.drop_empty_specials();
        }
    }

    /// The sum, rounded once, to nearest with ties to even; 0 is always +0. NaN when a NaN or both infinities are in. An
    /// infinity without one among the inputs means that the sum leaves the range of doubles (see [`Self::overflows`]).
    pub fn value(&self) -> f64 {
        match self.specials.as_deref() {
            Some(s) if s.nan != 0 || (s.positive != 0 && s.negative != 0) => f64::NAN,
            Some(s) if s.positive != 0 => f64::INFINITY,
            Some(s) if s.negative != 0 => f64::NEG_INFINITY,
            _ => self.finite(),
        }
    }

    /// Is the sum of finite inputs beyond the greatest double? PostgreSQL raises 22003 then.
    pub fn overflows(&self) -> bool {
        self.specials.is_none() && self.finite().is_infinite()
    }

    /// Is it exactly 0, with no NaN or infinity in?
    pub fn is_zero(&self) -> bool {
        let mut copy = self.clone();
        copy.normalise();
        copy.limbs.is_empty() && copy.specials.is_none()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.limbs.capacity() * 8 + self.specials.as_ref().map_or(0, |_| size_of::<Specials>())
    }

    /// The state in a canonical form: equal sums give equal bytes. Little-endian: nan, +inf, -inf counts (i64), base (u16),
    /// then the limbs (i64).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut copy = self.clone();
        copy.normalise();
        let specials = copy.specials.as_deref().cloned().unwrap_or_default();
        let mut bytes = Vec::with_capacity(26 + 8 * copy.limbs.len());
        for count in [specials.nan, specials.positive, specials.negative] {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes.extend_from_slice(&copy.base.to_le_bytes());
        for limb in &copy.limbs {
            bytes.extend_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<ExactSum> {
        let mut words = bytes.get(..24)?.chunks_exact(8).map(|w| i64::from_le_bytes(w.try_into().unwrap_or_default()));
        let specials = Specials { nan: words.next()?, positive: words.next()?, negative: words.next()? };
        let base = u16::from_le_bytes(bytes.get(24..26)?.try_into().ok()?);
        let rest = bytes.get(26..)?;
        if rest.len() % 8 != 0 || usize::from(base) + rest.len() / 8 > MAX_LIMBS {
            return None;
        }
        let limbs: Vec<i64> = rest.chunks_exact(8).map(|w| i64::from_le_bytes(w.try_into().unwrap_or_default())).collect();
        if limbs.iter().any(|l| l.unsigned_abs() > 1 << DIGIT) {
            return None;
        }
        let mut sum = ExactSum { limbs, base, pending: 0, specials: Some(Box::new(specials)) };
        sum.drop_empty_specials();
        sum.normalise();
        Some(sum)
    }

    fn add_special(&mut self, x: f64, diff: i64) {
        let s = self.specials.get_or_insert_default();
        let count = if x.is_nan() {
            &mut s.nan
        } else if x > 0.0 {
            &mut s.positive
        } else {
            &mut s.negative
        };
        *count = count.wrapping_add(diff);
        self.drop_empty_specials();
    }

    fn drop_empty_specials(&mut self) {
        if self.specials.as_deref() == Some(&Specials::default()) {
            self.specials = None;
        }
    }

    /// Adds +-magnitude * 2^(shift - 1074).
    fn add_magnitude(&mut self, magnitude: u64, shift: u32, negative: bool) {
        if magnitude == 0 {
            return;
        }
        let low = (shift / DIGIT) as usize;
        self.reserve(low, low + 3);
        let at = low - usize::from(self.base);
        let wide = u128::from(magnitude) << (shift % DIGIT);
        let sign = if negative { -1 } else { 1 };
        for (i, limb) in self.limbs[at..at + 3].iter_mut().enumerate() {
            let digit = low_64(wide >> (32 * i)) & 0xffff_ffff;
            *limb += sign * i64::try_from(digit).expect("32 bits");
        }
        self.pending += 1;
        if self.pending >= CARRY_EVERY {
            self.normalise();
        }
    }

    /// Makes the limbs `low..high` exist.
    fn reserve(&mut self, low: usize, high: usize) {
        if self.limbs.is_empty() {
            self.base = u16::try_from(low).expect("at most MAX_LIMBS");
        }
        let base = usize::from(self.base);
        if low < base {
            self.limbs.splice(0..0, std::iter::repeat_n(0, base - low));
            self.base = u16::try_from(low).expect("at most MAX_LIMBS");
        }
        let needed = high - usize::from(self.base);
        if self.limbs.len() < needed {
            self.limbs.resize(needed, 0);
        }
    }

    /// Propagates carries and brings the limbs into the one form that the header draws.
    fn normalise(&mut self) {
        self.pending = 0;
        let Some(last) = self.limbs.len().checked_sub(1) else { return };
        for i in 0..last {
            let carry = self.limbs[i] >> DIGIT;
            self.limbs[i] &= 0xffff_ffff;
            self.limbs[i + 1] += carry;
        }
        let half = 1i64 << (DIGIT - 1);
        let mut top = self.limbs[last];
        while !(-half..half).contains(&top) {
            *self.limbs.last_mut().expect("not empty") = top & 0xffff_ffff;
            top >>= DIGIT;
            self.limbs.push(top);
        }
        // a top limb that only repeats the sign of the digit below it says nothing
        while let [.., digit, top] = self.limbs[..] {
            if top == 0 && digit < half {
                self.limbs.pop();
            } else if top == -1 && digit >= half {
                self.limbs.pop();
                *self.limbs.last_mut().expect("not empty") = digit - (1 << DIGIT);
            } else {
                break;
            }
        }
        let zeros = self.limbs.iter().take_while(|l| **l == 0).count();
        self.limbs.drain(..zeros);
        self.base = if self.limbs.is_empty() { 0 } else { self.base + u16::try_from(zeros).expect("few limbs") };
    }

    fn finite(&self) -> f64 {
        let mut copy = self.clone();
        copy.normalise();
        let Some(top) = copy.limbs.last() else { return 0.0 };
        let negative = *top < 0;
        if negative {
            copy.limbs.iter_mut().for_each(|l| *l = -*l);
            copy.normalise();
        }
        let magnitude = round(&copy.limbs, i64::from(copy.base) * i64::from(DIGIT) - POINT);
        if negative { -magnitude } else { magnitude }
    }
}

impl PartialEq for ExactSum {
    /// Equal as exact numbers (and in their counts of NaN and infinities).
    fn eq(&self, other: &ExactSum) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl Eq for ExactSum {}

/// The positive number `sum digits[i] * 2^(32 i + scale)`, normalised, rounded to the nearest double, ties to even.
fn round(digits: &[i64], scale: i64) -> f64 {
    let digit = |i: usize| digits.get(i).map_or(0, |d| d.unsigned_abs());
    let Some(last) = digits.len().checked_sub(1) else { return 0.0 };
    // the three highest digits hold at least 64 significant bits; what is below only matters as "something is there"
    let low = last.saturating_sub(2);
    let head = (low..=last).rev().fold(0u128, |acc, i| acc << DIGIT | u128::from(digit(i)));
    let sticky = digits[..low].iter().any(|d| *d != 0);
    let head_scale = scale + i64::from(DIGIT) * i64::try_from(low).expect("few limbs");
    let n_bits = i64::from(128 - head.leading_zeros());
    // the last bit of the result: 53 significant bits, but never below the least subnormal
    let unit = (head_scale + n_bits - 53).max(-POINT);
    let drop = unit - head_scale;
    let (kept, exact) = if drop <= 0 {
        (head << drop.unsigned_abs(), true)
    } else {
        let drop = u32::try_from(drop).expect("at most 128 bits");
        let kept = head.checked_shr(drop).unwrap_or(0);
        let rest = head - kept.checked_shl(drop).unwrap_or(0);
        let half = 1u128.checked_shl(drop - 1).unwrap_or(0);
        let up = rest > half || (rest == half && (sticky || kept & 1 == 1));
        (kept + u128::from(up), false)
    };
    debug_assert!(!exact || !sticky || drop == 0, "bits were dropped unseen");
    // kept is at most 2^53 and the unit at least the least subnormal: encode by hand, so that nothing rounds twice
    let kept = low_64(kept);
    if kept < 1 << 52 {
        return f64::from_bits(kept);
    }
    let (mantissa, unit) = if kept == 1 << 53 { (1 << 52, unit + 1) } else { (kept, unit) };
    let biased = unit + POINT + 1;
    if biased > 2046 {
        return f64::INFINITY;
    }
    f64::from_bits(u64::try_from(biased).expect("at least 1") << 52 | (mantissa & ((1 << 52) - 1)))
}

fn low_64(wide: u128) -> u64 {
    u64::try_from(wide & u128::from(u64::MAX)).expect("masked")
}
