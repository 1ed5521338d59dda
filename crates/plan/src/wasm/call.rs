//! `regauge_wasm(module, export, mode, NULL::result, arguments..)`: the call that bodies of WebAssembly functions are.
//!
//! Frozen: stored plans hold it. Module, export and mode (`strict` or `null`: whether the export is called with NULLs) are constants; the
//! fourth argument says the result's type and is never looked at. Arguments have types that travel, see [`super::abi`].

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use wasmi::{F32, F64, Val};

use super::abi::{Signature, way};
use super::instance::{Answer, Arg, Runner};
use super::{blame, module};
use crate::functions::error::{EvalError, EvalResult};
use crate::functions::udf::{Args, Bound, Builtin, unfit};
use crate::pgtypes::calendar;

/// Its frozen name.
pub const NAME: &str = "regauge_wasm";
/// Arguments before the function's own.
const LEADING: usize = 4;

pub(crate) static CALL: Builtin = Builtin { name: NAME, aliases: &[], bind, refine: None, kernel, safe: false };

fn bind(types: &[DataType]) -> EvalResult<Bound> {
    let [module, export, mode, ret, args @ ..] = types else { return Err(unfit(NAME, types)) };
    let words = [module, export, mode].iter().all(|ty| matches!(ty, DataType::Utf8 | DataType::Null));
    if !words || way(ret).is_none() || !args.iter().all(|ty| way(ty).is_some() || *ty == DataType::Null) {
        return Err(unfit(NAME, types));
    }
    let mut args = types.to_vec();
    args[..LEADING - 1].fill(DataType::Utf8);
    Ok(Bound { args, ret: ret.clone() })
}

fn kernel(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (hash, export, mode) = (args.word(0, NAME)?, args.word(1, NAME)?, args.word(2, NAME)?);
    let cols = args.cols.get(LEADING..).unwrap_or_default();
    let types: Vec<DataType> = cols.iter().map(|col| col.array.data_type().clone()).collect();
    let strict = mode == "strict";
    let signature = Signature::of(&types, args.ret, strict);
    let module = module::find(hash);
    let module = module.ok_or_else(|| blame("55000", export, format!("needs the module {hash}, which is not here any more")))?;
    let cannot = |what: &dyn std::fmt::Display| blame("38000", export, format!("cannot be run: {what}"));
    let shape = module.shape(export, &signature).map_err(|e| cannot(&e))?;
    let compiled = module.compiled().map_err(|e| cannot(&e))?;
    let mut runner = Runner::new(compiled, &signature, shape, export);
    let mut row = Vec::with_capacity(cols.len());
    let mut each = |i: usize| -> EvalResult<Answer> {
        row.clear();
        for col in cols {
            let arg = value(&col.array, i * col.step)?;
            if strict && matches!(arg, Arg::Null) {
                return Ok(Answer::Null);
            }
            row.push(arg);
        }
        runner.call(&row)
    };
    collected(args, export, &mut each)
}

/// The value of a column at a place.
pub(super) fn value(array: &ArrayRef, at: usize) -> EvalResult<Arg<'_>> {
    if array.data_type() == &DataType::Null || array.is_null(at) {
        return Ok(Arg::Null);
    }
    fn of<T: ArrowPrimitiveType>(array: &ArrayRef, at: usize) -> T::Native {
        array.as_primitive::<T>().value(at)
    }
    Ok(match array.data_type() {
        DataType::Boolean => Arg::Plain(Val::I32(i32::from(array.as_boolean().value(at)))),
        DataType::Int16 => Arg::Plain(Val::I32(of::<Int16Type>(array, at).into())),
        DataType::Int32 => Arg::Plain(Val::I32(of::<Int32Type>(array, at))),
        DataType::Date32 => Arg::Plain(Val::I32(of::<Date32Type>(array, at))),
        DataType::Int64 => Arg::Plain(Val::I64(of::<Int64Type>(array, at))),
        DataType::Timestamp(..) => Arg::Plain(Val::I64(of::<TimestampMicrosecondType>(array, at))),
        DataType::Float32 => Arg::Plain(Val::F32(F32::from_float(canonical32(of::<Float32Type>(array, at))))),
        DataType::Float64 => Arg::Plain(Val::F64(F64::from_float(canonical64(of::<Float64Type>(array, at))))),
        DataType::Utf8 => Arg::Bytes(array.as_string::<i32>().value(at).as_bytes()),
        DataType::Binary => Arg::Bytes(array.as_binary::<i32>().value(at)),
        other => return Err(EvalError::internal(format!("{NAME} is given {other}"))),
    })
}

/// The one NaN that there is.
fn canonical32(v: f32) -> f32 {
    if v.is_nan() { f32::NAN } else { v }
}

fn canonical64(v: f64) -> f64 {
    if v.is_nan() { f64::NAN } else { v }
}

/// The answers of all rows as a column of the result's type.
pub(super) fn collected(args: &Args<'_>, name: &str, each: &mut dyn FnMut(usize) -> EvalResult<Answer>) -> EvalResult<ArrayRef> {
    let bad = |ty: &str| blame("22003", name, format!("gave a value that is out of range for type {ty}"));
    let int = |answer: Answer| -> EvalResult<Option<i32>> {
        match answer {
            Answer::Plain(value) => Ok(value.i32()),
            _ => Ok(None),
        }
    };
    let long = |answer: Answer| if let Answer::Plain(value) = answer { value.i64() } else { None };
    Ok(match args.ret {
        DataType::Boolean => {
            let mut all = BooleanBuilder::with_capacity(args.n);
            for i in 0..args.n {
                all.append_option(int(each(i)?)?.map(|v| v != 0));
            }
            Arc::new(all.finish())
        }
        DataType::Int16 => {
            primitive::<Int16Type>(args.n, |i| int(each(i)?)?.map(|v| i16::try_from(v).map_err(|_| bad("smallint"))).transpose())?
        }
        DataType::Int32 => primitive::<Int32Type>(args.n, |i| int(each(i)?))?,
        DataType::Date32 => primitive::<Date32Type>(args.n, |i| {
            let infinite = |days: i32| [calendar::DATE_INFINITY, calendar::DATE_MINUS_INFINITY].contains(&days);
            let judged = |days: i32| {
                let there = infinite(days) || calendar::is_date(days.into());
                if there { Ok(days) } else { Err(blame("22008", name, "gave a date out of range")) }
            };
            int(each(i)?)?.map(judged).transpose()
        })?,
        DataType::Int64 => primitive::<Int64Type>(args.n, |i| Ok(long(each(i)?)))?,
        DataType::Timestamp(_, zone) => {
            let values = primitive::<TimestampMicrosecondType>(args.n, |i| {
                let infinite = |us: i64| [calendar::TS_INFINITY, calendar::TS_MINUS_INFINITY].contains(&us);
                let judged = |us: i64| {
                    let there = infinite(us) || calendar::is_timestamp(us);
                    if there { Ok(us) } else { Err(blame("22008", name, "gave a timestamp out of range")) }
                };
                long(each(i)?).map(judged).transpose()
            })?;
            let values: TimestampMicrosecondArray = values.as_primitive().clone();
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        DataType::Float32 => primitive::<Float32Type>(args.n, |i| {
            Ok(if let Answer::Plain(v) = each(i)? { v.f32().map(|v| canonical32(v.to_float())) } else { None })
        })?,
        DataType::Float64 => primitive::<Float64Type>(args.n, |i| {
            Ok(if let Answer::Plain(v) = each(i)? { v.f64().map(|v| canonical64(v.to_float())) } else { None })
        })?,
        DataType::Utf8 => {
            let mut all = StringBuilder::new();
            for i in 0..args.n {
                match each(i)? {
                    Answer::Bytes(bytes) => all.append_value(text(&bytes, name)?),
                    _ => all.append_null(),
                }
                room(all.values_slice().len())?;
            }
            Arc::new(all.finish())
        }
        DataType::Binary => {
            let mut all = BinaryBuilder::new();
            for i in 0..args.n {
                match each(i)? {
                    Answer::Bytes(bytes) => all.append_value(&bytes),
                    _ => all.append_null(),
                }
                room(all.values_slice().len())?;
            }
            Arc::new(all.finish())
        }
        other => return Err(EvalError::internal(format!("{NAME} gives {other}"))),
    })
}

fn primitive<T: ArrowPrimitiveType>(
    n: usize,
    mut each: impl FnMut(usize) -> EvalResult<Option<T::Native>>,
) -> EvalResult<ArrayRef> {
    let mut all = PrimitiveBuilder::<T>::with_capacity(n);
    for i in 0..n {
        all.append_option(each(i)?);
    }
    Ok(Arc::new(all.finish()))
}

fn text<'a>(bytes: &'a [u8], name: &str) -> EvalResult<&'a str> {
    let text = std::str::from_utf8(bytes).map_err(|_| blame("22021", name, "gave text that is not UTF-8"))?;
    if text.contains('\0') { Err(blame("22021", name, "gave text with a zero byte in it")) } else { Ok(text) }
}

/// A batch's texts are one buffer, of at most 2 GiB; the next one adds at most an instance's memory.
fn room(bytes: usize) -> EvalResult<()> {
    const FULL: usize = i32::MAX as usize - super::MEMORY_MAX;
    if bytes > FULL { Err(EvalError::new("54000", "text of one batch exceeds 2 GiB")) } else { Ok(()) }
}
