//! The oracle of functions with OVER: for each row every row of its partition is asked whether it is of the frame.

use arrow::datatypes::DataType;
use regauge_plan::flowplan::*;
use regauge_plan::value::{Datum, Value};

use crate::naive::{aggregate, literal};
use crate::value::*;

/// A partition's rows in order, with their groups of peers.
struct Part<'a> {
    rows: &'a [Row],
    types: &'a [DataType],
    order: &'a [OrderKey],
    group: Vec<i128>,
}

/// For each row a value for each call, or the leftmost call's SQLSTATE.
pub fn results(rows: &[Row], types: &[DataType], order: &[OrderKey], calls: &[WindowCall]) -> Vec<Result<Row, String>> {
    let keys = |r: &Row| order.iter().map(|k| r[k.column].clone()).collect::<Row>();
    let mut group = vec![];
    for (i, row) in rows.iter().enumerate() {
        let g = if i == 0 { 0 } else { group[i - 1] + i128::from(keys(row) != keys(&rows[i - 1])) };
        group.push(g);
    }
    let part = Part { rows, types, order, group };
    (0..rows.len()).map(|i| calls.iter().map(|c| part.value(c, i)).collect()).collect()
}

fn count(v: &Value) -> i128 {
    let Datum::Int(n) = v.datum else { panic!("not a count: {v:?}") };
    n.into()
}

impl Part<'_> {
    /// Whether row j is at or behind the bound of row i (a start), or at or before it (an end).
    fn within(&self, bound: &Bound, is_start: bool, units: Units, i: usize, j: usize) -> bool {
        let (by, before) = match bound {
            Bound::UnboundedPreceding | Bound::UnboundedFollowing => return true,
            Bound::CurrentRow => (None, false),
            Bound::Preceding(v) => (Some(v), true),
            Bound::Following(v) => (Some(v), false),
        };
        let (own, other) = if units == Units::Rows { (i as i128, j as i128) } else { (self.group[i], self.group[j]) };
        let compare = |edge: i128| if is_start { other >= edge } else { other <= edge };
        match (units, by) {
            (_, None) => compare(own),
            (Units::Rows | Units::Groups, Some(v)) => compare(if before { own - count(v) } else { own + count(v) }),
            (Units::Range, Some(v)) => {
                let key = self.order[0];
                let (a, b) = (&self.rows[i][key.column], &self.rows[j][key.column]);
                if *a == V::Null {
                    return compare(own);
                }
                if *b == V::Null {
                    return if is_start { j > i } else { j < i };
                }
                let down = before != key.descending;
                let at_least = is_start != key.descending;
                match (a, &v.datum) {
                    (V::Float(_), Datum::Float(by)) => {
                        let base = as_f64(a);
                        let sum = if down { base - by } else { base + by };
                        if sum.is_nan() && !base.is_nan() {
                            // everything is in range, but NaN is above everything
                            return at_least || !as_f64(b).is_nan();
                        }
                        let edge = float(sum);
                        if at_least { *b >= edge } else { *b <= edge }
                    }
                    (V::Int(base), datum) => {
                        let by = match datum {
                            Datum::Int(n) => i128::from(*n),
                            Datum::Decimal(n) => *n,
                            Datum::Interval { months: 0, days, nanos } => {
                                i128::from(*days) * 86_400_000_000 + i128::from(*nanos) / 1000
                            }
                            other => panic!("no test offset {other:?}"),
                        };
                        let edge = V::Int(if down { base - by } else { base + by });
                        if at_least { *b >= edge } else { *b <= edge }
                    }
                    _ => panic!("no test range over {a:?}"),
                }
            }
        }
    }

    fn frame(&self, f: &Frame, i: usize) -> Vec<usize> {
        let inside = |j: &usize| {
            let of = |b: &Bound, is_start| self.within(b, is_start, f.units, i, *j);
            let out = match f.exclude {
                Exclude::NoOthers => false,
                Exclude::CurrentRow => *j == i,
                Exclude::Group => self.group[*j] == self.group[i],
                Exclude::Ties => self.group[*j] == self.group[i] && *j != i,
            };
            of(&f.start, true) && of(&f.end, false) && !out
        };
        (0..self.rows.len()).filter(inside).collect()
    }

    fn arg(&self, call: &WindowCall, at: usize, i: usize) -> V {
        match &call.args[at] {
            Arg::Column(c) => self.rows[i][*c].clone(),
            Arg::Constant(v) => literal(&v.datum),
        }
    }

    fn value(&self, call: &WindowCall, i: usize) -> Result<V, String> {
        let n = self.rows.len();
        let first_peer = || (0..n).position(|j| self.group[j] == self.group[i]).unwrap();
        let last_peer = || (0..n).rposition(|j| self.group[j] == self.group[i]).unwrap();
        let of = |j: Option<&usize>| j.map_or(V::Null, |j| self.arg(call, 0, *j));
        Ok(match call.func {
            WindowFunc::RowNumber => V::Int(i as i128 + 1),
            WindowFunc::Rank => V::Int(first_peer() as i128 + 1),
            WindowFunc::DenseRank => V::Int(self.group[i] + 1),
            WindowFunc::PercentRank => float(if n == 1 { 0.0 } else { first_peer() as f64 / (n - 1) as f64 }),
            WindowFunc::CumeDist => float((last_peer() + 1) as f64 / n as f64),
            WindowFunc::Ntile => {
                let Some(first) = (0..=i).find(|j| self.arg(call, 0, *j) != V::Null) else { return Ok(V::Null) };
                let parts = as_int(&self.arg(call, 0, first));
                if parts < 1 {
                    return Err("22014".into());
                }
                // one part after the other, the longer ones first
                let (mut left, mut tile) = (i - first, 1);
                loop {
                    let size = n as i128 / parts + i128::from(tile <= n as i128 % parts);
                    if (left as i128) < size {
                        break V::Int(tile);
                    }
                    left -= size as usize;
                    tile += 1;
                }
            }
            WindowFunc::Lag | WindowFunc::Lead => {
                let by = if call.args.len() > 1 { self.arg(call, 1, i) } else { V::Int(1) };
                if by == V::Null {
                    return Ok(V::Null);
                }
                let by = if call.func == WindowFunc::Lag { -as_int(&by) } else { as_int(&by) };
                match usize::try_from(i as i128 + by) {
                    Ok(j) if j < n => self.arg(call, 0, j),
                    _ if call.args.len() > 2 => self.arg(call, 2, i),
                    _ => V::Null,
                }
            }
            WindowFunc::FirstValue => of(self.frame(&call.frame, i).first()),
            WindowFunc::LastValue => of(self.frame(&call.frame, i).last()),
            WindowFunc::NthValue => match self.arg(call, 1, i) {
                V::Null => V::Null,
                k if as_int(&k) < 1 => return Err("22016".into()),
                k => of(self.frame(&call.frame, i).get(as_int(&k) as usize - 1)),
            },
            WindowFunc::Agg(func) => {
                let rows: Vec<Row> = self.frame(&call.frame, i).into_iter().map(|j| self.rows[j].clone()).collect();
                let args: Vec<usize> =
                    call.args.iter().map(|a| if let Arg::Column(c) = a { *c } else { panic!("a column") }).collect();
                if matches!(func, AggFunc::ArrayAgg | AggFunc::StringAgg) {
                    return Ok(self.list(func, call.filter, &args, rows));
                }
                let call = AggCall {
                    func,
                    args,
                    distinct: false,
                    filter: call.filter,
                    order: vec![],
                    direct: vec![],
                    output: call.output.clone(),
                };
                aggregate(&call, self.types, &rows)?
            }
        })
    }

    /// In the partition's order.
    fn list(&self, func: AggFunc, filter: Option<usize>, args: &[usize], mut rows: Vec<Row>) -> V {
        rows.retain(|r| filter.is_none_or(|f| r[f] == V::Bool(true)));
        if func == AggFunc::StringAgg {
            rows.retain(|r| r[args[0]] != V::Null);
        }
        if rows.is_empty() {
            return V::Null;
        }
        if func == AggFunc::ArrayAgg {
            return V::List(rows.into_iter().map(|r| r[args[0]].clone()).collect());
        }
        let mut out = String::new();
        for (i, r) in rows.iter().enumerate() {
            if let (true, V::Text(s)) = (i > 0, &r[args[1]]) {
                out.push_str(s);
            }
            if let V::Text(t) = &r[args[0]] {
                out.push_str(t);
            }
        }
        V::Text(out)
    }
}
