//! The frame of each row as positions.
//!
//! A frame without exclusion is one stretch; taking the current row or its peers out leaves two, and giving the current row back
//! three. Bounds of ranges with offsets are found by bisection among the partition's values: PostgreSQL's in_range, where NULLs lie
//! infinitely far from values and are peers of each other, and NaN is above everything.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::column;
use super::places::Places;
use crate::flowplan::{Bound, Exclude, Frame, OrderKey, Units};
use crate::functions::temporal::{self, interval_key};
use crate::functions::{EvalError, EvalResult};
use crate::value::{Datum, Value};

/// See the module's header.
pub(super) struct Frames<'a> {
    places: &'a Places,
    start: Ends,
    end: Ends,
    exclude: Exclude,
    /// Rows whose bound does not exist.
    pub errors: Vec<(usize, EvalError)>,
}

/// One bound of all rows.
enum Ends {
    PartStart,
    PartEnd,
    PeersStart,
    PeersEnd,
    Each(Vec<u32>),
}

impl<'a> Frames<'a> {
    /// For functions that do not look.
    pub fn none(places: &'a Places) -> Frames<'a> {
        Frames { places, start: Ends::PartStart, end: Ends::PartEnd, exclude: Exclude::NoOthers, errors: vec![] }
    }

    pub fn new(frame: &Frame, order: &[OrderKey], columns: &[ArrayRef], places: &'a Places) -> EvalResult<Frames<'a>> {
        let mut errors = vec![];
        let start = ends(&frame.start, true, frame.units, order, columns, places, &mut errors)?;
        let end = ends(&frame.end, false, frame.units, order, columns, places, &mut errors)?;
        Ok(Frames { places, start, end, exclude: frame.exclude, errors })
    }

    fn at(&self, ends: &Ends, row: usize) -> usize {
        match ends {
            Ends::PartStart => self.places.part_of(row).0,
            Ends::PartEnd => self.places.part_of(row).1,
            Ends::PeersStart => self.places.peers_of(row).0,
            Ends::PeersEnd => self.places.peers_of(row).1,
            Ends::Each(all) => all[row] as usize,
        }
    }

    /// The frame before anything is taken out: start, and end excluded; end is never below start.
    #[inline]
    pub fn whole(&self, row: usize) -> (usize, usize) {
        let start = self.at(&self.start, row);
        (start, self.at(&self.end, row).max(start))
    }

    /// Whether each frame is the partition from its start on, up to somewhere.
    pub fn is_prefix(&self) -> bool {
        matches!(self.start, Ends::PartStart) && self.exclude == Exclude::NoOthers
    }

    /// Whether nothing is taken out.
    pub fn is_one(&self) -> bool {
        self.exclude == Exclude::NoOthers
    }

    /// The stretches that a row's frame consists of, ascending; some may be empty. The bounds of the first and of the last do not go
    /// back from row to row of a partition; the middle one is the row alone or empty.
    #[inline]
    pub fn ranges(&self, row: usize) -> [(usize, usize); 3] {
        let (start, end) = self.whole(row);
        let without = |a: usize, b: usize| [(start, end.min(a).max(start)), (start.max(b).min(end), end)];
        match self.exclude {
            Exclude::NoOthers => [(start, end), (end, end), (end, end)],
            Exclude::CurrentRow => {
                let [a, b] = without(row, row + 1);
                [a, (b.0, b.0), b]
            }
            Exclude::Group => {
                let (a, b) = self.places.peers_of(row);
                let [a, b] = without(a, b);
                [a, (b.0, b.0), b]
            }
            Exclude::Ties => {
                let (a, b) = self.places.peers_of(row);
                let [a, b] = without(a, b);
                let own = if (start..end).contains(&row) { (row, row + 1) } else { (row, row) };
                [a, own, b]
            }
        }
    }

    pub fn part_of(&self, row: usize) -> u32 {
        self.places.part[row]
    }
}

fn ends(
    bound: &Bound,
    is_start: bool,
    units: Units,
    order: &[OrderKey],
    columns: &[ArrayRef],
    places: &Places,
    errors: &mut Vec<(usize, EvalError)>,
) -> EvalResult<Ends> {
    let (offset, before) = match bound {
        Bound::UnboundedPreceding => return Ok(Ends::PartStart),
        Bound::UnboundedFollowing => return Ok(Ends::PartEnd),
        Bound::CurrentRow => {
            return Ok(match (units, is_start) {
                (Units::Rows, true) => Ends::Each((0..places.n_rows()).map(super::index).collect()),
                (Units::Rows, false) => Ends::Each((1..=places.n_rows()).map(super::index).collect()),
                (_, true) => Ends::PeersStart,
                (_, false) => Ends::PeersEnd,
            });
        }
        Bound::Preceding(v) => (v, true),
        Bound::Following(v) => (v, false),
    };
    let n = places.n_rows();
    match units {
        Units::Rows => {
            let by = count(offset)?;
            let of = |row: usize| {
                let (first, end) = places.part_of(row);
                let own = row + usize::from(!is_start);
                let at = if before { own.saturating_sub(by) } else { own.saturating_add(by) };
                super::index(at.clamp(first, end))
            };
            Ok(Ends::Each((0..n).map(of).collect()))
        }
        Units::Groups => {
            let by = count(offset)?;
            let of = |row: usize| {
                let (first, end) = places.groups_of(row);
                let own = places.group[row] as usize + usize::from(!is_start);
                let at = if before { own.saturating_sub(by) } else { own.saturating_add(by) };
                super::index(places.groups[at.clamp(first, end)])
            };
            Ok(Ends::Each((0..n).map(of).collect()))
        }
        Units::Range => {
            let [key] = order else { return Err(EvalError::internal("a range with an offset has one order column")) };
            let keys = Keys::new(column(columns, key.column)?, key.descending)?;
            let mut all = vec![0u32; n];
            for w in places.parts.windows(2) {
                let (first, end) = (w[0], w[1]);
                // Values stand together, NULLs before or behind them.
                let from = (first..end).find(|row| !keys.is_null(*row)).unwrap_or(end);
                let to = (from..end).find(|row| keys.is_null(*row)).unwrap_or(end);
                for (row, out) in (first..end).zip(&mut all[first..end]) {
                    if keys.is_null(row) {
                        let (a, b) = places.peers_of(row);
                        *out = super::index(if is_start { a } else { b });
                        continue;
                    }
                    let at = match keys.moved(row, offset, before != key.descending, is_start) {
                        Ok(bound) => {
                            let inside = |v: &i128| if is_start { *v < bound } else { *v <= bound };
                            from + keys.values[from..to].partition_point(inside)
                        }
                        Err(e) => {
                            errors.push((row, e));
                            row
                        }
                    };
                    *out = super::index(at);
                }
            }
            Ok(Ends::Each(all))
        }
    }
}

fn count(offset: &Value) -> EvalResult<usize> {
    match offset.datum {
        Datum::Int(n) => usize::try_from(n).map_err(|_| EvalError::internal("a frame's offset is negative")),
        _ => Err(EvalError::internal("a frame's offset is no integer")),
    }
}

/// The order column as numbers that ascend in the order.
struct Keys<'a> {
    column: &'a ArrayRef,
    values: Vec<i128>,
    descending: bool,
}

/// Bits of a float as a number that orders as PostgreSQL orders floats.
fn float_key(x: f64) -> i128 {
    let x = if x.is_nan() { f64::NAN.abs() } else { x + 0.0 };
    let bits = x.to_bits().cast_signed();
    i128::from(if bits < 0 { bits ^ i64::MAX } else { bits })
}

impl<'a> Keys<'a> {
    fn new(column: &'a ArrayRef, descending: bool) -> EvalResult<Keys<'a>> {
        macro_rules! int {
            ($t:ty) => {
                column.as_primitive::<$t>().values().iter().map(|v| i128::from(*v)).collect()
            };
        }
        let mut values: Vec<i128> = match column.data_type() {
            DataType::Int16 => int!(Int16Type),
            DataType::Int32 => int!(Int32Type),
            DataType::Int64 => int!(Int64Type),
            DataType::Decimal128(..) => int!(Decimal128Type),
            DataType::Float32 => column.as_primitive::<Float32Type>().values().iter().map(|v| float_key((*v).into())).collect(),
            DataType::Float64 => column.as_primitive::<Float64Type>().values().iter().map(|v| float_key(*v)).collect(),
            // days as microseconds: what an offset is added to is a timestamp
            DataType::Date32 => (0..column.len()).map(|row| date(column, row).map_or(0, i128::from)).collect(),
            DataType::Time64(_) => int!(Time64MicrosecondType),
            DataType::Timestamp(..) => int!(TimestampMicrosecondType),
            DataType::Interval(_) => {
                column.as_primitive::<IntervalMonthDayNanoType>().values().iter().map(|v| interval_key(*v)).collect()
            }
            other => return Err(EvalError::internal(format!("a range with an offset over {other}"))),
        };
        if descending {
            values.iter_mut().for_each(|v| *v = -*v);
        }
        Ok(Keys { column, values, descending })
    }

    fn is_null(&self, row: usize) -> bool {
        self.column.is_null(row)
    }

    /// The row's value moved by the offset, down if `minus`; among `values`.
    fn moved(&self, row: usize, offset: &Value, minus: bool, is_start: bool) -> EvalResult<i128> {
        let sign = |v: i128| if minus { -v } else { v };
        let own = if self.descending { -self.values[row] } else { self.values[row] };
        let at = match (&offset.datum, self.column.data_type()) {
            (Datum::Int(by), _) => own + sign(i128::from(*by)),
            (Datum::Decimal(by), _) => own.saturating_add(sign(*by)),
            (Datum::Float(by), ty) => {
                let base = if *ty == DataType::Float32 {
                    f64::from(self.column.as_primitive::<Float32Type>().value(row))
                } else {
                    self.column.as_primitive::<Float64Type>().value(row)
                };
                let sum = if minus { base - by } else { base + by };
                if sum.is_nan() && !base.is_nan() {
                    // an infinite value moved infinitely far the other way: everything is in range
                    let low = is_start != self.descending;
                    float_key(if low { f64::NEG_INFINITY } else { f64::INFINITY })
                } else {
                    float_key(sum)
                }
            }
            (Datum::Interval { months, days, nanos }, ty) => {
                let by = IntervalMonthDayNano::new(*months, *days, *nanos);
                match ty {
                    DataType::Interval(_) => own + sign(interval_key(by)),
                    // a time of day knows no days
                    DataType::Time64(_) => own + sign(i128::from(nanos / 1000)),
                    _ => i128::from(temporal::moved(timestamp(self.column, row), by, minus)?),
                }
            }
            _ => return Err(EvalError::internal("a frame's offset does not fit its column")),
        };
        Ok(if self.descending { -at } else { at })
    }
}

fn date(column: &ArrayRef, row: usize) -> EvalResult<i64> {
    temporal::date_to_timestamp(column.as_primitive::<Date32Type>().value(row))
}

/// A timestamp, or a date as one.
fn timestamp(column: &ArrayRef, row: usize) -> i64 {
    match column.data_type() {
        DataType::Date32 => date(column, row).unwrap_or(0),
        _ => column.as_primitive::<TimestampMicrosecondType>().value(row),
    }
}
