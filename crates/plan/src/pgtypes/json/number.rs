//! A JSON number in the form that numeric prints: no exponent, no minus before zero, digits behind the point as written.

use std::borrow::Cow;

use super::EXPANDED_MAX;
use crate::functions::error::{EvalError, EvalResult};

/// The number without its exponent.
///
/// # Errors
/// 22003 for an exponent that stands for too many digits.
pub fn canonical_number(text: &str) -> EvalResult<Cow<'_, str>> {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        let zero = text.starts_with('-') && !text.bytes().any(|b| (b'1'..=b'9').contains(&b));
        return Ok(Cow::Borrowed(if zero { &text[1..] } else { text }));
    };
    let (sign, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let over = || EvalError::numeric_overflow();
    let shift: i64 = exponent.parse().map_err(|_| over())?;
    let expanded = i64::try_from(EXPANDED_MAX).unwrap_or(i64::MAX);
    let digits = format!("{whole}{fraction}");
    let zero = !digits.bytes().any(|b| b != b'0');
    if shift.abs() > expanded {
        // zero to whatever power has no digits that matter, but those behind the point
        return if zero && shift > 0 { Ok(Cow::Borrowed("0")) } else { Err(over()) };
    }
    let point = i64::try_from(whole.len()).map_err(|_| over())? + shift;
    let at = usize::try_from(point.max(0)).map_err(|_| over())?;
    let before = usize::try_from((-point).max(0)).map_err(|_| over())?;
    let padded = format!("{}{digits}{}", "0".repeat(before), "0".repeat(at.saturating_sub(digits.len())));
    let (whole, fraction) = padded.split_at(at);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if zero { "" } else { sign };
    Ok(Cow::Owned(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }))
}
