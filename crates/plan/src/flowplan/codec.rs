//! The alphabet of canonical bytes: varints, strings, types, values, scalars. One encoding per value and no slack, so
//! that decoding and encoding again gives the same bytes. The reader trusts nothing: lengths are bounded by what is
//! left of the input, depth by [`MAX_SCALAR_DEPTH`], and every tag is checked. The table stands in `docs/formats.md`.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use regauge_types::arrays::{DIMS_MAX, nest};

use super::validate::MAX_SCALAR_DEPTH;
use crate::host;
use crate::scalar::{CompareOp, IsTest, Scalar};
use crate::value::{Datum, Value};

/// What is wrong with the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad plan bytes: {what} offset={offset}")]
pub(super) struct Bad {
    pub what: &'static str,
    pub offset: usize,
}

type Read<T> = Result<T, Bad>;

#[derive(Default)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn u8(&mut self, v: u8) {
        self.0.push(v);
    }
    pub fn flag(&mut self, v: bool) {
        self.0.push(v.into());
    }
    pub fn u64(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push((v & 0x7f) as u8 | 0x80);
            v >>= 7;
        }
        self.0.push((v & 0x7f) as u8);
    }
    pub fn len(&mut self, v: usize) {
        self.u64(v as u64);
    }
    pub fn i64(&mut self, v: i64) {
        self.u64(((v << 1) ^ (v >> 63)).cast_unsigned());
    }
    pub fn bytes(&mut self, v: &[u8]) {
        self.len(v.len());
        self.0.extend_from_slice(v);
    }
    pub fn positions(&mut self, v: &[usize]) {
        self.len(v.len());
        v.iter().for_each(|p| self.len(*p));
    }
    pub fn option<T>(&mut self, v: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(v.is_some());
        if let Some(v) = v {
            write(self, v);
        }
    }

    pub fn ty(&mut self, ty: &DataType) {
        match ty {
            DataType::Boolean => self.u8(1),
            DataType::Int16 => self.u8(2),
            DataType::Int32 => self.u8(3),
            DataType::Int64 => self.u8(4),
            DataType::Float32 => self.u8(5),
            DataType::Float64 => self.u8(6),
            DataType::Decimal128(p, s) => {
                self.u8(7);
                self.u8(*p);
                self.u8(s.cast_unsigned());
            }
            DataType::Utf8 => self.u8(8),
            DataType::Binary => self.u8(9),
            DataType::Date32 => self.u8(10),
            DataType::Time64(_) => self.u8(11),
            DataType::Timestamp(_, None) => self.u8(12),
            DataType::Timestamp(_, Some(_)) => self.u8(13),
            DataType::Interval(_) => self.u8(14),
            DataType::FixedSizeBinary(16) => self.u8(80),
            DataType::LargeUtf8 => self.u8(81),
            DataType::Utf8View => self.u8(82),
            DataType::List(item) => {
                self.u8(15);
                self.ty(item.data_type());
            }
            // `validate` lets no other type into a plan; 0 is refused by the reader.
            _ => self.u8(0),
        }
    }

    pub fn value(&mut self, v: &Value) {
        self.ty(&v.ty);
        self.datum(&v.datum);
    }

    fn datum(&mut self, datum: &Datum) {
        match datum {
            Datum::Null => self.u8(0),
            Datum::Bool(b) => {
                self.u8(1);
                self.flag(*b);
            }
            Datum::Int(v) => {
                self.u8(2);
                self.i64(*v);
            }
            Datum::Float(v) => {
                self.u8(3);
                self.0.extend_from_slice(&v.to_bits().to_le_bytes());
            }
            Datum::Decimal(v) => {
                self.u8(4);
                self.0.extend_from_slice(&v.to_le_bytes());
            }
            Datum::Text(v) => {
                self.u8(5);
                self.bytes(v.as_bytes());
            }
            Datum::Bytes(v) => {
                self.u8(6);
                self.bytes(v);
            }
            Datum::Date(v) => {
                self.u8(7);
                self.i64((*v).into());
            }
            Datum::Time(v) => {
                self.u8(8);
                self.i64(*v);
            }
            Datum::Timestamp(v) => {
                self.u8(9);
                self.i64(*v);
            }
            Datum::Interval { months, days, nanos } => {
                self.u8(10);
                self.i64((*months).into());
                self.i64((*days).into());
                self.i64(*nanos);
            }
            Datum::List(items) => {
                self.u8(40);
                self.len(items.len());
                items.iter().for_each(|v| self.datum(&v.datum));
            }
        }
    }

    pub fn scalars(&mut self, v: &[Scalar]) {
        self.len(v.len());
        v.iter().for_each(|s| self.scalar(s));
    }

    pub fn scalar(&mut self, s: &Scalar) {
        match s {
            Scalar::Column(i) => {
                self.u8(1);
                self.len(*i);
            }
            Scalar::Literal(v) => {
                self.u8(2);
                self.value(v);
            }
            Scalar::Call { func, args, ty } => {
                self.u8(3);
                self.bytes(func.as_bytes());
                self.ty(ty);
                self.scalars(args);
            }
            Scalar::Compare { op, left, right } => {
                self.u8(4);
                self.u8(match op {
                    CompareOp::Eq => 1,
                    CompareOp::Ne => 2,
                    CompareOp::Lt => 3,
                    CompareOp::Le => 4,
                    CompareOp::Gt => 5,
                    CompareOp::Ge => 6,
                    CompareOp::Distinct => 7,
                    CompareOp::NotDistinct => 8,
                });
                self.scalar(left);
                self.scalar(right);
            }
            Scalar::And(v) => {
                self.u8(5);
                self.scalars(v);
            }
            Scalar::Or(v) => {
                self.u8(6);
                self.scalars(v);
            }
            Scalar::Not(v) => {
                self.u8(7);
                self.scalar(v);
            }
            Scalar::Is { test, negated, arg } => {
                self.u8(8);
                self.u8(match test {
                    IsTest::Null => 1,
                    IsTest::True => 2,
                    IsTest::False => 3,
                    IsTest::Unknown => 4,
                });
                self.flag(*negated);
                self.scalar(arg);
            }
            Scalar::Case { branches, otherwise, ty } => {
                self.u8(9);
                self.ty(ty);
                self.len(branches.len());
                for (c, r) in branches {
                    self.scalar(c);
                    self.scalar(r);
                }
                self.option(otherwise.as_deref(), |w, s| w.scalar(s));
            }
            Scalar::Coalesce(v) => {
                self.u8(10);
                self.scalars(v);
            }
            Scalar::Cast { arg, to } => {
                self.u8(11);
                self.ty(to);
                self.scalar(arg);
            }
            Scalar::InList { arg, list, negated } => {
                self.u8(12);
                self.flag(*negated);
                self.scalar(arg);
                self.scalars(list);
            }
            Scalar::Like { arg, pattern, escape, case_insensitive, negated } => {
                self.u8(13);
                self.flag(*negated);
                self.flag(*case_insensitive);
                self.option(*escape, |w, c| w.u64(u32::from(c).into()));
                self.scalar(arg);
                self.scalar(pattern);
            }
        }
    }
}

pub(super) struct Reader<'a> {
    all: &'a [u8],
    at: usize,
    /// Keys of the program's functions that were met.
    pub host: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    pub fn new(all: &'a [u8]) -> Self {
        Reader { all, at: 0, host: BTreeSet::new() }
    }
    pub fn bad<T>(&self, what: &'static str) -> Read<T> {
        Err(Bad { what, offset: self.at })
    }
    /// The next byte, which stays.
    pub fn peek(&self) -> Option<u8> {
        self.all.get(self.at).copied()
    }
    pub fn is_empty(&self) -> bool {
        self.at == self.all.len()
    }
    pub fn take(&mut self, n: usize) -> Read<&'a [u8]> {
        match self.all.get(self.at..).and_then(|rest| rest.get(..n)) {
            Some(v) => {
                self.at += n;
                Ok(v)
            }
            None => self.bad("input ends early"),
        }
    }
    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut a = [0; N];
        a.copy_from_slice(self.take(N)?);
        Ok(a)
    }
    pub fn u8(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }
    pub fn flag(&mut self) -> Read<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => self.bad("a flag is neither 0 nor 1"),
        }
    }
    pub fn u64(&mut self) -> Read<u64> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.u8()?;
            if shift == 63 && b > 1 {
                return self.bad("varint above 64 bits");
            }
            v |= u64::from(b & 0x7f) << shift;
            if b & 0x80 == 0 {
                return if b == 0 && shift > 0 { self.bad("overlong varint") } else { Ok(v) };
            }
        }
        self.bad("varint above 64 bits")
    }
    pub fn position(&mut self) -> Read<usize> {
        let v = self.u64()?;
        usize::try_from(v).or_else(|_| self.bad("position above the address space"))
    }
    /// A number of elements, each of at least one byte: bounded by what is left.
    pub fn count(&mut self) -> Read<usize> {
        let n = self.position()?;
        if n > self.all.len() - self.at { self.bad("count above the bytes left") } else { Ok(n) }
    }
    pub fn i64(&mut self) -> Read<i64> {
        let v = self.u64()?;
        Ok((v >> 1).cast_signed() ^ -((v & 1).cast_signed()))
    }
    fn i32(&mut self) -> Read<i32> {
        let v = self.i64()?;
        i32::try_from(v).or_else(|_| self.bad("integer above 32 bits"))
    }
    pub fn string(&mut self) -> Read<String> {
        let n = self.count()?;
        let v = self.take(n)?;
        std::str::from_utf8(v).map(str::to_owned).or_else(|_| self.bad("text is not UTF-8"))
    }
    pub fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let n = self.count()?;
        (0..n).map(|_| read(self)).collect()
    }
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    pub fn ty(&mut self) -> Read<DataType> {
        Ok(match self.u8()? {
            15 => {
                let mut dims = 1;
                let mut tag = self.u8()?;
                while tag == 15 {
                    dims += 1;
                    if dims > DIMS_MAX {
                        return self.bad("a list of too many lists");
                    }
                    tag = self.u8()?;
                }
                nest(self.scalar_ty(tag)?, dims)
            }
            tag => self.scalar_ty(tag)?,
        })
    }

    fn scalar_ty(&mut self, tag: u8) -> Read<DataType> {
        Ok(match tag {
            1 => DataType::Boolean,
            2 => DataType::Int16,
            3 => DataType::Int32,
            4 => DataType::Int64,
            5 => DataType::Float32,
            6 => DataType::Float64,
            7 => {
                let (p, s) = (self.u8()?, self.u8()?.cast_signed());
                let ty = DataType::Decimal128(p, s);
                return if super::types::is_supported(&ty) { Ok(ty) } else { self.bad("bad precision or scale") };
            }
            8 => DataType::Utf8,
            9 => DataType::Binary,
            10 => DataType::Date32,
            11 => DataType::Time64(TimeUnit::Microsecond),
            12 => DataType::Timestamp(TimeUnit::Microsecond, None),
            13 => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            14 => DataType::Interval(IntervalUnit::MonthDayNano),
            80 => DataType::FixedSizeBinary(16),
            81 => DataType::LargeUtf8,
            82 => DataType::Utf8View,
            _ => return self.bad("unknown type"),
        })
    }

    pub fn value(&mut self) -> Read<Value> {
        let ty = self.ty()?;
        let datum = self.datum_of(&ty)?;
        let v = Value { ty, datum };
        if v.fits() { Ok(v) } else { self.bad("a constant does not fit its type") }
    }

    /// The content of a constant; as deep as its type is.
    fn datum_of(&mut self, ty: &DataType) -> Read<Datum> {
        match (ty, self.peek()) {
            (DataType::List(item), Some(40)) => {
                self.u8()?;
                let one = |r: &mut Self| Ok(Value { ty: item.data_type().clone(), datum: r.datum_of(item.data_type())? });
                Ok(Datum::List(self.list(one)?))
            }
            _ => self.datum(),
        }
    }

    /// The content of a constant that is no list.
    fn datum(&mut self) -> Read<Datum> {
        Ok(match self.u8()? {
            0 => Datum::Null,
            1 => Datum::Bool(self.flag()?),
            2 => Datum::Int(self.i64()?),
            3 => Datum::Float(f64::from_bits(u64::from_le_bytes(self.array()?))),
            4 => Datum::Decimal(i128::from_le_bytes(self.array()?)),
            5 => Datum::Text(self.string()?),
            6 => {
                let n = self.count()?;
                Datum::Bytes(self.take(n)?.to_vec())
            }
            7 => Datum::Date(self.i32()?),
            8 => Datum::Time(self.i64()?),
            9 => Datum::Timestamp(self.i64()?),
            10 => Datum::Interval { months: self.i32()?, days: self.i32()?, nanos: self.i64()? },
            _ => return self.bad("unknown constant"),
        })
    }

    pub fn scalar(&mut self) -> Read<Scalar> {
        self.scalar_at(0)
    }

    fn scalar_at(&mut self, depth: usize) -> Read<Scalar> {
        if depth >= MAX_SCALAR_DEPTH {
            return self.bad("expression too deep");
        }
        let d = depth + 1;
        Ok(match self.u8()? {
            1 => Scalar::Column(self.position()?),
            2 => Scalar::Literal(self.value()?),
            3 => {
                let (func, ty) = (self.string()?, self.ty()?);
                let args = self.list(|r| r.scalar_at(d))?;
                if let Some(Scalar::Literal(Value { datum: Datum::Text(key), .. })) = args.first()
                    && [host::NAME, host::FOLD].contains(&func.as_str())
                {
                    self.host.insert(key.clone());
                }
                Scalar::Call { func, ty, args }
            }
            4 => {
                let op = match self.u8()? {
                    1 => CompareOp::Eq,
                    2 => CompareOp::Ne,
                    3 => CompareOp::Lt,
                    4 => CompareOp::Le,
                    5 => CompareOp::Gt,
                    6 => CompareOp::Ge,
                    7 => CompareOp::Distinct,
                    8 => CompareOp::NotDistinct,
                    _ => return self.bad("unknown comparison"),
                };
                Scalar::Compare { op, left: self.boxed(d)?, right: self.boxed(d)? }
            }
            5 => Scalar::And(self.list(|r| r.scalar_at(d))?),
            6 => Scalar::Or(self.list(|r| r.scalar_at(d))?),
            7 => Scalar::Not(self.boxed(d)?),
            8 => {
                let test = match self.u8()? {
                    1 => IsTest::Null,
                    2 => IsTest::True,
                    3 => IsTest::False,
                    4 => IsTest::Unknown,
                    _ => return self.bad("unknown test"),
                };
                Scalar::Is { test, negated: self.flag()?, arg: self.boxed(d)? }
            }
            9 => {
                let ty = self.ty()?;
                let branches = self.list(|r| Ok((r.scalar_at(d)?, r.scalar_at(d)?)))?;
                Scalar::Case { branches, otherwise: self.option(|r| r.boxed(d))?, ty }
            }
            10 => Scalar::Coalesce(self.list(|r| r.scalar_at(d))?),
            11 => {
                let to = self.ty()?;
                Scalar::Cast { arg: self.boxed(d)?, to }
            }
            12 => {
                let negated = self.flag()?;
                Scalar::InList { arg: self.boxed(d)?, list: self.list(|r| r.scalar_at(d))?, negated }
            }
            13 => {
                let (negated, case_insensitive) = (self.flag()?, self.flag()?);
                let escape = self.option(|r| {
                    let c = r.u64()?;
                    u32::try_from(c).ok().and_then(char::from_u32).map_or_else(|| r.bad("bad character"), Ok)
                })?;
                Scalar::Like { arg: self.boxed(d)?, pattern: self.boxed(d)?, escape, case_insensitive, negated }
            }
            _ => return self.bad("unknown expression"),
        })
    }

    fn boxed(&mut self, depth: usize) -> Read<Box<Scalar>> {
        self.scalar_at(depth).map(Box::new)
    }
}
