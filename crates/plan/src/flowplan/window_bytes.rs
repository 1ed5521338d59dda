//! Calls with OVER in a plan's bytes, and whether a stored one is sound. The table stands in `docs/formats.md`, chapter FlowPlan.

use arrow::datatypes::{DataType, IntervalUnit};

use super::bytes::{agg_of, agg_tag};
use super::codec::{Bad, Reader, Writer};
use super::op::{AggFunc, OrderKey};
use super::spread::Spread;
use super::types::is_supported;
use super::validate::ok;
use super::window::{Arg, Bound, Exclude, Frame, Units, WindowCall, WindowFunc};
use crate::value::{Datum, Value};

pub(super) fn write_call(w: &mut Writer, c: &WindowCall) {
    match c.func {
        WindowFunc::RowNumber => w.u8(1),
        WindowFunc::Rank => w.u8(2),
        WindowFunc::DenseRank => w.u8(3),
        WindowFunc::PercentRank => w.u8(4),
        WindowFunc::CumeDist => w.u8(5),
        WindowFunc::Ntile => w.u8(6),
        WindowFunc::Lag => w.u8(7),
        WindowFunc::Lead => w.u8(8),
        WindowFunc::FirstValue => w.u8(9),
        WindowFunc::LastValue => w.u8(10),
        WindowFunc::NthValue => w.u8(11),
        WindowFunc::Agg(f) => {
            w.u8(12);
            w.u8(agg_tag(f));
        }
    }
    w.len(c.args.len());
    for arg in &c.args {
        match arg {
            Arg::Column(i) => {
                w.u8(1);
                w.len(*i);
            }
            Arg::Constant(v) => {
                w.u8(2);
                w.value(v);
            }
        }
    }
    w.option(c.filter, Writer::len);
    w.u8(match c.frame.units {
        Units::Rows => 1,
        Units::Range => 2,
        Units::Groups => 3,
    });
    write_bound(w, &c.frame.start);
    write_bound(w, &c.frame.end);
    w.u8(match c.frame.exclude {
        Exclude::NoOthers => 1,
        Exclude::CurrentRow => 2,
        Exclude::Group => 3,
        Exclude::Ties => 4,
    });
    w.ty(&c.output);
}

fn write_bound(w: &mut Writer, b: &Bound) {
    match b {
        Bound::UnboundedPreceding => w.u8(1),
        Bound::Preceding(v) => {
            w.u8(2);
            w.value(v);
        }
        Bound::CurrentRow => w.u8(3),
        Bound::Following(v) => {
            w.u8(4);
            w.value(v);
        }
        Bound::UnboundedFollowing => w.u8(5),
    }
}

pub(super) fn read_call(r: &mut Reader<'_>) -> Result<WindowCall, Bad> {
    let func = match r.u8()? {
        1 => WindowFunc::RowNumber,
        2 => WindowFunc::Rank,
        3 => WindowFunc::DenseRank,
        4 => WindowFunc::PercentRank,
        5 => WindowFunc::CumeDist,
        6 => WindowFunc::Ntile,
        7 => WindowFunc::Lag,
        8 => WindowFunc::Lead,
        9 => WindowFunc::FirstValue,
        10 => WindowFunc::LastValue,
        11 => WindowFunc::NthValue,
        12 => match agg_of(r.u8()?) {
            Some(f) => WindowFunc::Agg(f),
            None => return r.bad("unknown aggregate"),
        },
        _ => return r.bad("unknown window function"),
    };
    let args = r.list(|r| match r.u8()? {
        1 => Ok(Arg::Column(r.position()?)),
        2 => Ok(Arg::Constant(r.value()?)),
        _ => r.bad("unknown argument"),
    })?;
    let filter = r.option(Reader::position)?;
    let units = match r.u8()? {
        1 => Units::Rows,
        2 => Units::Range,
        3 => Units::Groups,
        _ => return r.bad("unknown units of a frame"),
    };
    let (start, end) = (read_bound(r)?, read_bound(r)?);
    let exclude = match r.u8()? {
        1 => Exclude::NoOthers,
        2 => Exclude::CurrentRow,
        3 => Exclude::Group,
        4 => Exclude::Ties,
        _ => return r.bad("unknown exclusion of a frame"),
    };
    Ok(WindowCall { func, args, filter, frame: Frame { units, start, end, exclude }, output: r.ty()? })
}

fn read_bound(r: &mut Reader<'_>) -> Result<Bound, Bad> {
    Ok(match r.u8()? {
        1 => Bound::UnboundedPreceding,
        2 => Bound::Preceding(r.value()?),
        3 => Bound::CurrentRow,
        4 => Bound::Following(r.value()?),
        5 => Bound::UnboundedFollowing,
        _ => return r.bad("unknown bound of a frame"),
    })
}

/// Is a call sound over an input of these types, in this order?
pub(super) fn check_call(c: &WindowCall, order: &[OrderKey], input: &[DataType]) -> Result<(), &'static str> {
    let (least, most) = c.func.n_args();
    ok((least..=most).contains(&c.args.len()), "a window function has the wrong number of arguments")?;
    let mut types = vec![];
    for arg in &c.args {
        types.push(match arg {
            Arg::Column(i) => input.get(*i).ok_or("a window function's argument is out of bounds")?,
            Arg::Constant(v) => {
                ok(is_supported(&v.ty) && v.fits(), "a constant does not fit its type")?;
                &v.ty
            }
        });
    }
    let fits = match (c.func, types.as_slice()) {
        (WindowFunc::Ntile, [n]) => **n == DataType::Int32 && c.output == DataType::Int32,
        (WindowFunc::Lag | WindowFunc::Lead, [value, rest @ ..]) => {
            let offset = rest.first().is_none_or(|n| **n == DataType::Int32);
            offset && rest.get(1).is_none_or(|default| default == value) && **value == c.output
        }
        (WindowFunc::FirstValue | WindowFunc::LastValue, [value]) => **value == c.output,
        (WindowFunc::NthValue, [value, n]) => **value == c.output && **n == DataType::Int32,
        (WindowFunc::RowNumber | WindowFunc::Rank | WindowFunc::DenseRank, []) => c.output == DataType::Int64,
        (WindowFunc::PercentRank | WindowFunc::CumeDist, []) => c.output == DataType::Float64,
        (WindowFunc::Agg(f), types) => aggregate_fits(f, types, &c.output),
        _ => false,
    };
    ok(fits, "a window function does not fit its types")?;
    ok(c.filter.is_none_or(|f| input.get(f) == Some(&DataType::Boolean)), "an aggregate's filter is no boolean column")?;
    ok(c.filter.is_none() || matches!(c.func, WindowFunc::Agg(_)), "a filter without an aggregate")?;
    let ends = c.frame.start != Bound::UnboundedFollowing && c.frame.end != Bound::UnboundedPreceding;
    ok(ends && is_supported(&c.output), "a bad frame")?;
    [&c.frame.start, &c.frame.end].into_iter().try_for_each(|b| check_bound(b, c.frame.units, order, input))
}

fn aggregate_fits(f: AggFunc, types: &[&DataType], output: &DataType) -> bool {
    use DataType::{Boolean, Decimal128, Float32, Float64, Int16, Int32, Int64, Interval, Utf8};
    match (f, types) {
        (AggFunc::Count, _) => *output == Int64,
        (AggFunc::Sum, [Int16 | Int32]) => *output == Int64,
        (AggFunc::Sum, [Int64]) => matches!(output, Decimal128(_, 0)),
        (AggFunc::Sum, [Decimal128(_, s)]) => matches!(output, Decimal128(_, o) if o == s),
        (AggFunc::Sum, [Float32]) => *output == Float32,
        (AggFunc::Avg, [Int16 | Int32 | Int64]) => matches!(output, Decimal128(_, o) if *o >= 0),
        (AggFunc::Avg, [Decimal128(_, s)]) => matches!(output, Decimal128(_, o) if o >= s),
        (AggFunc::Avg, [Float32]) | (AggFunc::Sum | AggFunc::Avg, [Float64]) => *output == Float64,
        (AggFunc::Sum | AggFunc::Avg, [t @ Interval(_)]) => *t == output,
        (AggFunc::BitAnd | AggFunc::BitOr | AggFunc::BitXor, [t @ (Int16 | Int32 | Int64)]) => *t == output,
        (AggFunc::Spread(s), [Decimal128(_, from)]) => s.n_args() == 1 && matches!(output, Decimal128(_, to) if to >= from),
        (AggFunc::Spread(Spread::Count), [Float64, Float64]) => *output == Int64,
        (AggFunc::Spread(s), [Float64]) => s.n_args() == 1 && *output == Float64,
        (AggFunc::Spread(_), [Float64, Float64]) => *output == Float64,
        (AggFunc::Min | AggFunc::Max, [t]) => *t == output,
        (AggFunc::BoolAnd | AggFunc::BoolOr, [Boolean]) => *output == Boolean,
        (AggFunc::StringAgg, [Utf8, Utf8]) => *output == Utf8,
        (AggFunc::ArrayAgg, [t]) => matches!(output, DataType::List(item) if item.data_type() == *t),
        _ => false,
    }
}

/// An offset has the type that its unit counts in, and is neither NULL nor negative.
fn check_bound(b: &Bound, units: Units, order: &[OrderKey], input: &[DataType]) -> Result<(), &'static str> {
    let (Bound::Preceding(v) | Bound::Following(v)) = b else { return Ok(()) };
    let ty = match units {
        Units::Rows => DataType::Int64,
        Units::Groups if order.is_empty() => return Err("groups without an order"),
        Units::Groups => DataType::Int64,
        Units::Range => {
            let [key] = order else { return Err("a range with an offset has one order column") };
            let column = input.get(key.column).ok_or("an order key is out of bounds")?;
            offset_type(column).ok_or("a range with an offset over this type")?
        }
    };
    let sound = v.fits() && v.ty == ty && is_offset(v);
    ok(sound, "a bad offset of a frame")
}

/// The type of a range's offset over an order column of this type.
pub(crate) fn offset_type(column: &DataType) -> Option<DataType> {
    Some(match column {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => DataType::Int64,
        DataType::Decimal128(_, s) => DataType::Decimal128(38, *s),
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Date32 | DataType::Time64(_) | DataType::Timestamp(..) | DataType::Interval(_) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        _ => return None,
    })
}

/// Neither NULL nor negative nor NaN.
pub(crate) fn is_offset(v: &Value) -> bool {
    match v.datum {
        Datum::Int(n) => n >= 0,
        Datum::Decimal(n) => n >= 0,
        Datum::Float(x) => x >= 0.0,
        Datum::Interval { months, days, nanos } => regauge_types::hash::interval_length_ns(months, days, nanos) >= 0,
        _ => false,
    }
}
