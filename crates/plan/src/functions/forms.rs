//! Overloads of a function by a table: which argument types it takes, and what comes out of each. The overload with the most
//! arguments that need no cast wins, the first one among equals, as PostgreSQL resolves a call closely enough for the functions
//! here. Pure functions of types.

use arrow::datatypes::DataType;

use super::arith::bind_names;
use super::bind::{self, is_text, is_unknown};
use super::error::{EvalError, EvalResult};
use super::udf::Bound;
use crate::pgtypes;

/// A type within an overload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum K {
    Text,
    Int,
    Big,
    Float,
    /// numeric of the argument's own scale; as a result: without a scale.
    Num,
    /// numeric without digits after the point.
    Whole,
    Stamp,
    Zoned,
    Date,
    Time,
    Span,
    Bytes,
    Bool,
    Json,
    Jsonb,
}

/// An overload.
pub(super) type Form = (&'static [K], K);

impl K {
    pub(super) fn ty(self) -> DataType {
        match self {
            K::Text => DataType::Utf8,
            K::Int => DataType::Int32,
            K::Big => DataType::Int64,
            K::Float => DataType::Float64,
            K::Num => pgtypes::numeric(),
            K::Whole => bind::decimal(0),
            K::Stamp => pgtypes::timestamp(),
            K::Zoned => pgtypes::timestamptz(),
            K::Date => DataType::Date32,
            K::Time => pgtypes::time(),
            K::Span => pgtypes::interval(),
            K::Bytes => DataType::Binary,
            K::Bool => DataType::Boolean,
            K::Json => pgtypes::json(),
            K::Jsonb => pgtypes::jsonb(),
        }
    }

    /// The type that an argument of type `have` is cast to.
    fn argument(self, have: &DataType) -> DataType {
        match self {
            K::Num | K::Whole if bind::is_int(have) || bind::is_decimal(have) => bind::as_decimal(have),
            kind => kind.ty(),
        }
    }

    /// How well an argument fits: 4 as it is, 2 by an implicit cast or as an unknown literal, 1 if only as an integer that is too wide
    /// (a bare one is a bigint until types are settled; then a real one is refused), `None` not at all.
    fn takes(self, have: &DataType) -> Option<u8> {
        let want = self.argument(have);
        if want == *have || (is_text(&want) && is_text(have)) {
            return Some(4);
        }
        // an unknown literal is text before it is anything else
        if *have == DataType::Null || bind::implicit(have, &want) || (is_unknown(have) && !is_text(&want)) {
            return Some(2);
        }
        (bind::is_int(have) && bind::is_int(&want)).then_some(1)
    }
}

/// Binds a call to the overload that fits best.
///
/// # Errors
/// 42883 when none fits.
pub(super) fn bind_forms(name: &str, types: &[DataType], forms: &[Form]) -> EvalResult<Bound> {
    let mut best: Option<(u32, &Form)> = None;
    for form in forms.iter().filter(|(args, _)| args.len() == types.len()) {
        let fits: Option<u32> = form.0.iter().zip(types).map(|(want, have)| want.takes(have).map(u32::from)).sum();
        if let Some(fits) = fits
            && best.is_none_or(|(best, _)| fits > best)
        {
            best = Some((fits, form));
        }
    }
    match best {
        Some((_, (args, ret))) => {
            Ok(Bound { args: args.iter().zip(types).map(|(k, have)| k.argument(have)).collect(), ret: ret.ty() })
        }
        None => Err(EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)))),
    }
}

/// A static table entry with overloads.
macro_rules! builtin {
    ($static:ident, $name:literal, [$($alias:literal),*], $forms:expr, $safe:literal, $kernel:expr) => {
        #[doc = concat!("`", $name, "`")]
        pub static $static: $crate::functions::udf::Builtin = $crate::functions::udf::Builtin {
            name: $name,
            aliases: &[$($alias),*],
            bind: |types| $crate::functions::forms::bind_forms($name, types, $forms),
            refine: None,
            kernel: $kernel,
            safe: $safe,
        };
    };
}
pub(super) use builtin;
