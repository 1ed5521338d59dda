//! Operators on the bits of integers: `&`, `|`, `#`, `~`, `<<` and `>>`. DataFusion's own bind a shift's two sides to one type and take
//! more types than PostgreSQL's, and views have none of them.
//!
//! A shift counts in integers, whatever it shifts, modulo the width that the machine shifts by: 32 bits, 64 of a bigint. A smallint is
//! shifted as an integer and cut off.

use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::bind::{common_number, is_int, is_text, is_unknown};
use super::error::{EvalError, EvalResult};
use super::udf::{Bound, Builtin};
use crate::pgtypes::type_name;

/// Syntax makes this call of `~`.
pub(crate) const NOT_NAME: &str = "pg_bit_not";

/// The function of an operator, if it is one of these but `~`.
pub(super) fn operator(op: &BinaryOperator) -> Option<&'static Builtin> {
    Some(match op {
        BinaryOperator::BitwiseAnd => &AND,
        BinaryOperator::BitwiseOr => &OR,
        BinaryOperator::PGBitwiseXor => &XOR,
        BinaryOperator::PGBitwiseShiftLeft => &SHIFT_LEFT,
        BinaryOperator::PGBitwiseShiftRight => &SHIFT_RIGHT,
        _ => return None,
    })
}

/// The operator of such a function.
pub(super) fn sign(name: &str) -> Option<&'static str> {
    let all = [(&AND, "&"), (&OR, "|"), (&XOR, "#"), (&SHIFT_LEFT, "<<"), (&SHIFT_RIGHT, ">>")];
    all.into_iter().find(|(def, _)| def.name == name).map(|(_, sign)| sign)
}

/// Whether it counts by how much it shifts.
pub(super) fn is_shift(def: &Builtin) -> bool {
    [SHIFT_LEFT.name, SHIFT_RIGHT.name].contains(&def.name)
}

fn undefined(name: &str, types: &[DataType]) -> EvalError {
    let sign = sign(name).unwrap_or("~");
    let types: Vec<String> = types.iter().map(type_name).collect();
    EvalError::undefined(format!("operator does not exist: {}", types.join(&format!(" {sign} "))))
}

fn not_unique(sign: &str) -> EvalError {
    EvalError::new("42725", format!("operator is not unique: unknown {sign} unknown"))
}

/// Two integers: the wider type of both.
fn bind_pair(name: &str, types: &[DataType]) -> EvalResult<Bound> {
    let ty = match types {
        [DataType::Null, DataType::Null] => return Err(not_unique(sign(name).unwrap_or_default())),
        [l, r] if is_int(l) && is_int(r) => common_number(l, r),
        [ty, open] | [open, ty] if is_int(ty) && is_unknown(open) => ty.clone(),
        _ => return Err(undefined(name, types)),
    };
    Ok(Bound { args: vec![ty.clone(), ty.clone()], ret: ty })
}

/// An integer by an integer. A bigint is refused once literals have their types: until then a small number looks like one.
fn bind_shift(name: &str, types: &[DataType]) -> EvalResult<Bound> {
    let ty = match types {
        [DataType::Null, DataType::Null] => return Err(not_unique(sign(name).unwrap_or_default())),
        [l, r] if is_int(l) && (is_int(r) || is_unknown(r)) => l.clone(),
        [l, r] if is_unknown(l) && is_int(r) => DataType::Int32,
        _ => return Err(undefined(name, types)),
    };
    Ok(Bound { args: vec![ty.clone(), DataType::Int32], ret: ty })
}

fn never<A, B>(_: A, _: B) -> EvalError {
    EvalError::internal("an operator on bits has failed")
}

/// By how many of 32 or 64 bits.
fn modulo(n: i32, width: i32) -> u32 {
    u32::try_from(n & (width - 1)).unwrap_or_default()
}

fn low(v: i32) -> i16 {
    let [a, b, ..] = v.to_le_bytes();
    i16::from_le_bytes([a, b])
}

macro_rules! pair {
    ($static:ident, $name:literal, $op:tt) => {
        #[doc = concat!("`", $name, "(a, b)`")]
        pub static $static: Builtin = Builtin {
            name: $name,
            aliases: &[],
            bind: |types| bind_pair($name, types),
            refine: None,
            kernel: |a| match a.ret {
                DataType::Int16 => a.map2::<Int16Type, Int16Type, Int16Type>(|x, y| (x $op y, false), never),
                DataType::Int32 => a.map2::<Int32Type, Int32Type, Int32Type>(|x, y| (x $op y, false), never),
                _ => a.map2::<Int64Type, Int64Type, Int64Type>(|x, y| (x $op y, false), never),
            },
            safe: true,
        };
    };
}
pair!(AND, "pg_bit_and", &);
pair!(OR, "pg_bit_or", |);
pair!(XOR, "pg_bit_xor", ^);

macro_rules! shift {
    ($static:ident, $name:literal, $shift:ident) => {
        #[doc = concat!("`", $name, "(a, n)`")]
        pub static $static: Builtin = Builtin {
            name: $name,
            aliases: &[],
            bind: |types| bind_shift($name, types),
            refine: None,
            kernel: |a| match a.ret {
                DataType::Int16 => {
                    a.map2::<Int16Type, Int32Type, Int16Type>(|x, n| (low(i32::from(x).$shift(modulo(n, 32))), false), never)
                }
                DataType::Int32 => a.map2::<Int32Type, Int32Type, Int32Type>(|x, n| (x.$shift(modulo(n, 32)), false), never),
                _ => a.map2::<Int64Type, Int32Type, Int64Type>(|x, n| (x.$shift(modulo(n, 64)), false), never),
            },
            safe: true,
        };
    };
}
shift!(SHIFT_LEFT, "pg_shift_left", wrapping_shl);
shift!(SHIFT_RIGHT, "pg_shift_right", wrapping_shr);

/// `pg_bit_not(a)`
pub static NOT: Builtin = Builtin {
    name: NOT_NAME,
    aliases: &[],
    bind: |types| match types {
        [ty] if is_int(ty) => Ok(Bound { args: vec![ty.clone()], ret: ty.clone() }),
        [ty] if is_unknown(ty) && !is_text(ty) => Err(EvalError::new("42725", "operator is not unique: ~ unknown")),
        [ty] => Err(EvalError::undefined(format!("operator does not exist: ~ {}", type_name(ty)))),
        _ => Err(undefined(NOT_NAME, types)),
    },
    refine: None,
    kernel: |a| match a.ret {
        DataType::Int16 => a.map1::<Int16Type, Int16Type>(|x| (!x, false), |x| never(x, x)),
        DataType::Int32 => a.map1::<Int32Type, Int32Type>(|x| (!x, false), |x| never(x, x)),
        _ => a.map1::<Int64Type, Int64Type>(|x| (!x, false), |x| never(x, x)),
    },
    safe: true,
};
