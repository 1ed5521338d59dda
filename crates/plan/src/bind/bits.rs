//! Bit strings as literals: `x'1F'`, `b'101'`. There is no type of them here, so that they are taken under a cast alone: to integer and
//! bigint (as two's complement, zeros before it) and to text. It becomes a cast of a string, which is read when the statement is planned.

use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{CastKind, DataType, Expr, Value};

use super::spelling::{cast, is_text, text};
use crate::error::PlanError;
use crate::functions::planner::PgTypePlanner;
use crate::pgtypes::type_name;

type Result<T> = std::result::Result<T, PlanError>;

/// 0A000 of a bit string by itself.
pub(super) fn not_offered() -> PlanError {
    PlanError::unsupported(
        "bit strings are not offered",
        "use an integer with & | # << >> (x'1F'::int is one), or bytea ('\\x1f'::bytea)",
    )
}

/// What the cast of a bit string's literal becomes; `None` for another expression.
///
/// # Errors
/// 22P02 for a digit that is none, 22003 for more bits than the integer has, 42846 for a type that PostgreSQL has no cast to, 0A000 for
/// the types of bit strings.
pub(super) fn under_cast(e: &Expr) -> Result<Option<Expr>> {
    let Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, array: false, .. } = e else {
        return Ok(None);
    };
    let Some(bits) = literal(expr)? else { return Ok(None) };
    let value = match data_type {
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => number(&bits, 32, "integer")?,
        DataType::BigInt(_) | DataType::Int8(_) => number(&bits, 64, "bigint")?,
        DataType::Bit(_) | DataType::BitVarying(_) | DataType::VarBit(_) => return Err(not_offered()),
        ty if is_text(ty) => bits,
        ty => {
            let known = PgTypePlanner.plan_type_field(ty)?;
            let name = known.map_or_else(|| ty.to_string().to_lowercase(), |field| type_name(field.data_type()));
            return Err(PlanError::invalid("42846", format!("cannot cast type bit to {name}")));
        }
    };
    Ok(Some(cast(text(&value), data_type.clone())))
}

/// The zeros and ones of a literal.
fn literal(e: &Expr) -> Result<Option<String>> {
    let value = match e {
        Expr::Nested(inner) => return literal(inner),
        Expr::Value(v) => &v.value,
        _ => return Ok(None),
    };
    let (digits, radix, width, kind) = match value {
        Value::HexStringLiteral(digits) => (digits, 16, 4, "hexadecimal"),
        Value::SingleQuotedByteStringLiteral(digits) => (digits, 2, 1, "binary"),
        _ => return Ok(None),
    };
    let mut bits = String::with_capacity(digits.len() * width);
    for c in digits.chars() {
        let Some(digit) = c.to_digit(radix) else {
            return Err(PlanError::invalid("22P02", format!("\"{c}\" is not a valid {kind} digit")));
        };
        bits.push_str(&format!("{digit:0width$b}"));
    }
    Ok(Some(bits))
}

/// The integer of so many bits that these are the last ones of.
fn number(bits: &str, width: usize, name: &str) -> Result<String> {
    if bits.len() > width {
        return Err(PlanError::invalid("22003", format!("{name} out of range")));
    }
    let unsigned = bits.bytes().fold(0_u64, |n, bit| n << 1 | u64::from(bit == b'1'));
    let n = i64::from_be_bytes(unsigned.to_be_bytes());
    let n = if width == 32 && n > i64::from(i32::MAX) { n - (1 << 32) } else { n };
    Ok(n.to_string())
}

#[cfg(test)]
mod tests {
    use super::under_cast;
    use crate::parse::parse_expr;

    fn spelt(sql: &str) -> Result<Option<String>, &'static str> {
        let e = parse_expr(sql).expect(sql);
        under_cast(&e).map(|e| e.map(|e| e.to_string())).map_err(|e| e.sqlstate())
    }

    #[test]
    fn a_literal_under_a_cast_is_the_integer_of_its_bits() {
        for (sql, value) in [
            ("x'1F'::int", "CAST('31' AS INT)"),
            ("CAST((b'101') AS integer)", "CAST('5' AS INTEGER)"),
            ("b''::int", "CAST('0' AS INT)"),
            ("x'7fffffff'::int", "CAST('2147483647' AS INT)"),
            ("x'80000000'::int", "CAST('-2147483648' AS INT)"),
            ("X'FFFFFFFF'::bigint", "CAST('4294967295' AS BIGINT)"),
            ("x'ffffffffffffffff'::bigint", "CAST('-1' AS BIGINT)"),
            ("x'1F'::text", "CAST('00011111' AS TEXT)"),
        ] {
            assert_eq!(spelt(sql), Ok(Some(value.to_owned())), "{sql}");
        }
        assert_eq!(spelt("'1F'::int"), Ok(None));
        assert_eq!(spelt("x'1F'"), Ok(None));
        assert_eq!(spelt("TRY_CAST(x'1F' AS int)"), Ok(None));
    }

    #[test]
    fn what_is_no_integer_is_refused_as_postgresql_does() {
        for (sql, sqlstate) in [
            ("x'1G'::int", "22P02"),
            ("b'12'::int", "22P02"),
            ("x'000000001'::int", "22003"),
            ("x'10000000000000000'::bigint", "22003"),
            ("x'1F'::smallint", "42846"),
            ("x'1F'::bytea", "42846"),
            ("x'1F'::numeric(5, 2)", "42846"),
            ("x'1F'::bit(8)", "0A000"),
        ] {
            assert_eq!(spelt(sql), Err(sqlstate), "{sql}");
        }
    }
}
