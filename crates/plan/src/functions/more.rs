//! The list of what came after [`super::BUILTINS`].

use super::udf::Builtin;
use super::{equality, hash_text, list_more, normal, numbers, octets, periods, regexp, unistr};

/// All of them.
pub(super) static BUILTINS: &[&Builtin] = &[
    &super::set_element::SET_ELEMENT,
    &super::set_slice::SET_SLICE,
    &super::row_text::ROW_TEXT,
    &list_more::ARRAY_DIMS,
    &list_more::ARRAY_FILL,
    &hash_text::HASHTEXT,
    &hash_text::HASHTEXTEXTENDED,
    &octets::GET_BYTE,
    &octets::SET_BYTE,
    &octets::GET_BIT,
    &octets::SET_BIT,
    &octets::BIT_COUNT,
    &octets::CONVERT_FROM,
    &octets::CONVERT_TO,
    &numbers::COTD,
    &numbers::ATAN2D,
    &numbers::SCALE,
    &numbers::TRIM_SCALE,
    &periods::OVERLAP,
    &regexp::REGEXP_INSTR,
    &unistr::UNISTR,
    &normal::NORMALIZE,
    &normal::IS_NORMALIZED,
    &equality::LIST_KEY,
    &equality::EXACT,
    &equality::OF_EXACT,
    &equality::CANONICAL,
    &equality::ONCE,
    &crate::wasm::CALL,
    &crate::wasm::FOLD_CALL,
    &crate::host::CALL,
    &crate::host::VOLATILE_CALL,
    &crate::host::FOLD_CALL,
];
