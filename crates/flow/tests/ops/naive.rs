//! The oracle: a FlowPlan over multisets of rows, recomputed from scratch, one row at a time, in the plainest way.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use regauge_plan::flowplan::*;
use regauge_plan::scalar::{CompareOp, IsTest, Scalar};
use regauge_plan::value::Datum;

use crate::value::*;

/// Errors by SQLSTATE.
pub type Errors = BTreeMap<String, i64>;

pub fn literal(d: &Datum) -> V {
    match d {
        Datum::Null => V::Null,
        Datum::Bool(b) => V::Bool(*b),
        Datum::Int(i) => V::Int((*i).into()),
        Datum::Float(x) => float(*x),
        Datum::Text(t) => V::Text(t.clone()),
        Datum::Timestamp(t) => V::Int((*t).into()),
        other => panic!("no test literal {other:?}"),
    }
}

fn eval(s: &Scalar, row: &[V]) -> Result<V, String> {
    Ok(match s {
        Scalar::Column(i) => row[*i].clone(),
        Scalar::Literal(v) => literal(&v.datum),
        Scalar::Compare { op, left, right } => {
            let (l, r) = (eval(left, row)?, eval(right, row)?);
            if l == V::Null || r == V::Null {
                return Ok(V::Null);
            }
            let o = l.cmp(&r);
            V::Bool(match op {
                CompareOp::Eq => o == Ordering::Equal,
                CompareOp::Ne => o != Ordering::Equal,
                CompareOp::Lt => o == Ordering::Less,
                CompareOp::Le => o != Ordering::Greater,
                CompareOp::Gt => o == Ordering::Greater,
                CompareOp::Ge => o != Ordering::Less,
                _ => panic!("not used in tests"),
            })
        }
        Scalar::Is { test: IsTest::Null, negated, arg } => V::Bool((eval(arg, row)? == V::Null) != *negated),
        Scalar::Cast { arg, to: DataType::Int64 } => match eval(arg, row)? {
            V::Text(t) => V::Int(t.parse::<i64>().map_err(|_| "22P02".to_string())?.into()),
            V::Null => V::Null,
            other => other,
        },
        other => panic!("not used in tests: {other:?}"),
    })
}

pub fn order_rows(rows: &mut [Row], order: &[OrderKey], tie: impl Fn(&Row) -> Row) {
    rows.sort_by(|a, b| {
        for k in order {
            let (x, y) = (&a[k.column], &b[k.column]);
            let o = match (x == &V::Null, y == &V::Null) {
                (true, true) => Ordering::Equal,
                (true, false) => {
                    if k.nulls_first {
                        Ordering::Less
                    } else {
                        Ordering::Greater
                    }
                }
                (false, true) => {
                    if k.nulls_first {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    }
                }
                _ => {
                    if k.descending {
                        y.cmp(x)
                    } else {
                        x.cmp(y)
                    }
                }
            };
            if o != Ordering::Equal {
                return o;
            }
        }
        tie(a).cmp(&tie(b))
    });
}

fn copies(bag: &Bag) -> Vec<Row> {
    bag.iter().flat_map(|(r, n)| (0..*n).map(move |_| r.clone())).collect()
}

fn round_div(a: i128, b: i128) -> i128 {
    let (q, r) = (a / b, a % b);
    if 2 * r.abs() >= b { q + a.signum() } else { q }
}

/// Over unscaled numerics with two digits: sixteen digits, half away from zero; a root to the nearest.
fn spread_of(spread: Spread, x: &[i128]) -> V {
    let n = x.len() as i128;
    let is_sample = matches!(spread, Spread::VarSamp | Spread::DevSamp);
    if is_sample && n == 1 {
        return V::Null;
    }
    let above = n * x.iter().map(|v| v * v).sum::<i128>() - x.iter().sum::<i128>().pow(2);
    let below = n * if is_sample { n - 1 } else { n };
    if matches!(spread, Spread::VarSamp | Spread::VarPop) {
        return V::Int(round_div(above * 10i128.pow(12), below));
    }
    // the nearest to the root of what is cut off at 32 digits
    let square = above / below * 10i128.pow(28) + above % below * 10i128.pow(28) / below;
    let mut root = (square as f64).sqrt() as i128;
    while root * root > square {
        root -= 1;
    }
    while (root + 1) * (root + 1) <= square {
        root += 1;
    }
    V::Int(if square - root * root > root { root + 1 } else { root })
}

pub fn aggregate(call: &AggCall, input: &[DataType], rows: &[Row]) -> Result<V, String> {
    let mut rows: Vec<Row> = rows
        .iter()
        .filter(|r| call.filter.is_none_or(|f| r[f] == V::Bool(true)))
        .filter(|r| call.args.is_empty() || call.func == AggFunc::ArrayAgg || r[call.args[0]] != V::Null)
        .cloned()
        .collect();
    let args = |r: &Row| call.args.iter().map(|a| r[*a].clone()).collect::<Row>();
    order_rows(&mut rows, &call.order, args);
    if call.distinct {
        let mut seen = std::collections::BTreeSet::new();
        rows.retain(|r| seen.insert(args(r)));
    }
    if let [_, second] = call.args[..]
        && matches!(call.func, AggFunc::Spread(_))
    {
        rows.retain(|r| r[second] != V::Null);
    }
    let n = rows.len() as i128;
    if matches!(call.func, AggFunc::Count | AggFunc::Spread(Spread::Count)) {
        return Ok(V::Int(n));
    }
    if n == 0 {
        return Ok(V::Null);
    }
    let firsts: Vec<V> = rows.iter().map(|r| r[call.args[0]].clone()).collect();
    Ok(match call.func {
        AggFunc::Count => unreachable!(),
        AggFunc::Min => firsts.into_iter().min().unwrap(),
        AggFunc::Max => firsts.into_iter().max().unwrap(),
        AggFunc::BoolAnd => V::Bool(firsts.iter().all(|v| *v == V::Bool(true))),
        AggFunc::BoolOr => V::Bool(firsts.contains(&V::Bool(true))),
        AggFunc::Sum | AggFunc::Avg if input[call.args[0]] == DataType::Float64 => {
            let sum: f64 = firsts.iter().map(as_f64).sum();
            float(if call.func == AggFunc::Sum { sum } else { sum / n as f64 })
        }
        AggFunc::Sum => {
            let sum: i128 = firsts.iter().map(as_int).sum();
            if call.output == DataType::Int64 && i64::try_from(sum).is_err() {
                return Err("22003".into());
            }
            V::Int(sum)
        }
        AggFunc::Avg => {
            let scale = if let DataType::Decimal128(_, s) = input[call.args[0]] { s } else { 0 };
            V::Int(round_div(firsts.iter().map(as_int).sum::<i128>() * 10i128.pow((16 - scale) as u32), n))
        }
        AggFunc::ArrayAgg => V::List(firsts),
        AggFunc::BitAnd => V::Int(firsts.iter().map(as_int).reduce(|a, b| a & b).unwrap()),
        AggFunc::BitOr => V::Int(firsts.iter().map(as_int).reduce(|a, b| a | b).unwrap()),
        AggFunc::BitXor => V::Int(firsts.iter().map(as_int).reduce(|a, b| a ^ b).unwrap()),
        AggFunc::Spread(spread) => spread_of(spread, &firsts.iter().map(as_int).collect::<Vec<_>>()),
        AggFunc::Mode => {
            let times = |v: &V| firsts.iter().filter(|x| *x == v).count();
            let most = firsts.iter().map(times).max().unwrap();
            firsts.iter().find(|v| times(v) == most).unwrap().clone()
        }
        AggFunc::PercentileCont | AggFunc::PercentileDisc => {
            let at = |v: &regauge_plan::value::Value| match v.datum {
                Datum::Float(f) if call.func == AggFunc::PercentileDisc => {
                    firsts[((f * n as f64).ceil() as usize).max(1) - 1].clone()
                }
                Datum::Float(f) => {
                    let place = f * (n - 1) as f64;
                    let (low, high) = (as_f64(&firsts[place.floor() as usize]), as_f64(&firsts[place.ceil() as usize]));
                    let share = place - place.floor();
                    float(if share == 0.0 { low } else { low + share * (high - low) })
                }
                _ => V::Null,
            };
            match call.output {
                DataType::List(_) => V::List(call.direct.iter().map(at).collect()),
                _ => at(&call.direct[0]),
            }
        }
        AggFunc::StringAgg => {
            let mut text = String::new();
            for (i, r) in rows.iter().enumerate() {
                if let (true, V::Text(s)) = (i > 0, &r[call.args[1]]) {
                    text.push_str(s);
                }
                if let V::Text(t) = &r[call.args[0]] {
                    text.push_str(t);
                }
            }
            V::Text(text)
        }
    })
}

#[allow(clippy::too_many_arguments)] // the parts of a join, as the plan names them
fn join(
    kind: JoinKind,
    on: &[(usize, usize)],
    nulls_equal: bool,
    residual: Option<&Scalar>,
    widths: [usize; 2],
    l: &Bag,
    r: &Bag,
    errors: &mut Errors,
) -> Bag {
    let mut out = Bag::new();
    let mut matched_right: BTreeMap<Row, bool> = BTreeMap::new();
    for (a, n) in l {
        let mut matched = false;
        for (b, m) in r {
            let keys = on.iter().all(|(i, j)| a[*i] == b[*j] && (nulls_equal || a[*i] != V::Null));
            if !keys {
                continue;
            }
            let pair: Row = a.iter().chain(b).cloned().collect();
            let holds = match residual.map(|s| eval(s, &pair)) {
                None => true,
                Some(Ok(v)) => v == V::Bool(true),
                Some(Err(state)) => {
                    *errors.entry(state).or_insert(0) += n * m;
                    false
                }
            };
            if holds {
                matched = true;
                matched_right.insert(b.clone(), true);
                if !matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti) {
                    add(&mut out, pair, n * m);
                }
            }
        }
        match kind {
            JoinKind::Left | JoinKind::Full if !matched => {
                add(&mut out, a.iter().cloned().chain(vec![V::Null; widths[1]]).collect(), *n)
            }
            JoinKind::LeftSemi if matched => add(&mut out, a.clone(), *n),
            JoinKind::LeftAnti if !matched => add(&mut out, a.clone(), *n),
            _ => {}
        }
    }
    if matches!(kind, JoinKind::Right | JoinKind::Full) {
        for (b, m) in r.iter().filter(|(b, _)| !matched_right.contains_key(*b)) {
            add(&mut out, vec![V::Null; widths[0]].into_iter().chain(b.clone()).collect(), *m);
        }
    }
    out
}

fn windows(input: &Bag, ts: usize, slide: i64, size: i64, offset: i64) -> Bag {
    let mut out = Bag::new();
    for (row, n) in input {
        let V::Int(t) = row[ts] else { continue };
        let (slide, size, offset) = (i128::from(slide), i128::from(size), i128::from(offset));
        let far = (t.abs() + size) / slide + 2;
        for k in -far..=far {
            let start = offset + k * slide;
            if start <= t && t < start + size {
                add(&mut out, row.iter().cloned().chain([V::Int(start), V::Int(start + size)]).collect(), *n);
            }
        }
    }
    out
}

/// The plan's answer over these sources, and its errors.
pub fn evaluate(plan: &FlowPlan, sources: &BTreeMap<SourceId, Bag>) -> (Bag, Errors) {
    let mut errors = Errors::new();
    let mut bags: Vec<Bag> = Vec::new();
    for node in &plan.nodes {
        let input = |i: usize| &bags[node.inputs[i]];
        let types = |i: usize| plan.nodes[node.inputs[i]].types.as_slice();
        let mut out = Bag::new();
        match &node.op {
            Op::Source { id, .. } => out = sources.get(id).cloned().unwrap_or_default(),
            Op::Rows { rows } => rows.iter().for_each(|r| add(&mut out, r.iter().map(|v| literal(&v.datum)).collect(), 1)),
            Op::Map { filter, exprs } => {
                for (row, n) in input(0) {
                    let computed = (|| {
                        if let Some(f) = filter
                            && eval(f, row)? != V::Bool(true)
                        {
                            return Ok(None);
                        }
                        exprs.as_ref().map_or(Ok(row.clone()), |e| e.iter().map(|e| eval(e, row)).collect()).map(Some)
                    })();
                    match computed {
                        Ok(Some(row)) => add(&mut out, row, *n),
                        Ok(None) => {}
                        Err(state) => *errors.entry(state).or_insert(0) += n,
                    }
                }
            }
            Op::Join { kind, on, nulls_equal, residual } => {
                out = join(
                    *kind,
                    on,
                    *nulls_equal,
                    residual.as_ref(),
                    [types(0).len(), types(1).len()],
                    input(0),
                    input(1),
                    &mut errors,
                );
            }
            Op::Aggregate { keys, aggs } => {
                let mut groups: BTreeMap<Row, Vec<Row>> = BTreeMap::new();
                if keys.is_empty() {
                    groups.insert(vec![], vec![]);
                }
                for row in copies(input(0)) {
                    groups.entry(keys.iter().map(|k| row[*k].clone()).collect()).or_default().push(row);
                }
                for (key, rows) in groups {
                    let values: Result<Row, String> = aggs.iter().map(|a| aggregate(a, types(0), &rows)).collect();
                    match values {
                        Ok(values) => add(&mut out, key.into_iter().chain(values).collect(), 1),
                        Err(state) => *errors.entry(state).or_insert(0) += 1,
                    }
                }
            }
            Op::Distinct => input(0).keys().for_each(|r| add(&mut out, r.clone(), 1)),
            Op::TopK { partition, order, limit, offset, row_number } => {
                let mut parts: BTreeMap<Row, Vec<Row>> = BTreeMap::new();
                for row in copies(input(0)) {
                    parts.entry(partition.iter().map(|k| row[*k].clone()).collect()).or_default().push(row);
                }
                for (_, mut rows) in parts {
                    order_rows(&mut rows, order, Row::clone);
                    for (i, mut row) in rows.into_iter().enumerate() {
                        let i = i as u64;
                        if i >= *offset && i - offset < *limit {
                            row.extend(row_number.then_some(V::Int(i128::from(i) + 1)));
                            add(&mut out, row, 1);
                        }
                    }
                }
            }
            Op::Window { partition, order, calls } => {
                let mut parts: BTreeMap<Row, Vec<Row>> = BTreeMap::new();
                for row in copies(input(0)) {
                    parts.entry(partition.iter().map(|k| row[*k].clone()).collect()).or_default().push(row);
                }
                for (_, mut rows) in parts {
                    order_rows(&mut rows, order, Row::clone);
                    for (row, values) in rows.iter().zip(crate::naive_over::results(&rows, types(0), order, calls)) {
                        match values {
                            Ok(values) => add(&mut out, row.iter().cloned().chain(values).collect(), 1),
                            Err(state) => *errors.entry(state).or_insert(0) += 1,
                        }
                    }
                }
            }
            Op::Union => (0..node.inputs.len()).for_each(|i| input(i).iter().for_each(|(r, n)| add(&mut out, r.clone(), *n))),
            Op::SetOp { kind, all } => {
                for (row, n) in input(0) {
                    let m = input(1).get(row).copied().unwrap_or(0);
                    let k = match (kind, all) {
                        (SetOpKind::Intersect, true) => (*n).min(m),
                        (SetOpKind::Intersect, false) => i64::from(m > 0),
                        (SetOpKind::Except, true) => (n - m).max(0),
                        (SetOpKind::Except, false) => i64::from(m == 0),
                    };
                    if k > 0 {
                        add(&mut out, row.clone(), k);
                    }
                }
            }
            Op::Temporal { from, until, .. } => {
                let now = input(1).keys().map(|r| r[0].clone()).max();
                for (row, n) in input(0) {
                    let come = from.iter().all(|(c, inclusive)| {
                        let v = &row[*c];
                        v != &V::Null && now.as_ref().is_some_and(|now| if *inclusive { v <= now } else { v < now })
                    });
                    let stays = until.iter().all(|(c, inclusive)| {
                        let v = &row[*c];
                        v != &V::Null && now.as_ref().is_none_or(|now| if *inclusive { now <= v } else { now < v })
                    });
                    if come && stays {
                        add(&mut out, row.clone(), *n);
                    }
                }
            }
            Op::AsOf { outer, on, moment: (ml, mr), matching } => {
                let rights = copies(input(1));
                for (l, n) in input(0) {
                    let fits = |r: &Row| {
                        let known = |v: &V| v != &V::Null;
                        let stands = match matching {
                            AsOfMatch::AtOrBefore => r[*mr] <= l[*ml],
                            AsOfMatch::Before => r[*mr] < l[*ml],
                            AsOfMatch::AtOrAfter => r[*mr] >= l[*ml],
                            AsOfMatch::After => r[*mr] > l[*ml],
                        };
                        let equal = on.iter().all(|(a, b)| known(&l[*a]) && l[*a] == r[*b]);
                        known(&l[*ml]) && known(&r[*mr]) && stands && equal
                    };
                    let mut found: Vec<Row> = rights.iter().filter(|r| fits(r)).cloned().collect();
                    let descending = matches!(matching, AsOfMatch::AtOrBefore | AsOfMatch::Before);
                    order_rows(&mut found, &[OrderKey { column: *mr, descending, nulls_first: false }], Row::clone);
                    match found.into_iter().next() {
                        Some(r) => add(&mut out, l.iter().cloned().chain(r).collect(), *n),
                        None if *outer => {
                            let nulls = types(1).iter().map(|_| V::Null);
                            add(&mut out, l.iter().cloned().chain(nulls).collect(), *n);
                        }
                        None => {}
                    }
                }
            }
            Op::Tumble { ts, size_us, offset_us } => out = windows(input(0), *ts, *size_us, *size_us, *offset_us),
            Op::Hop { ts, slide_us, size_us, offset_us } => out = windows(input(0), *ts, *slide_us, *size_us, *offset_us),
            Op::FlatMap { .. } | Op::Recursive { .. } | Op::Given { .. } => panic!("judged in their own tests"),
            Op::Cumulate { ts, step_us, size_us, offset_us } => {
                out = crate::naive_time::cumulate(input(0), *ts, *step_us, *size_us, *offset_us);
            }
            Op::Session { partition, ts, gap_us, on_close } => {
                let all = crate::naive_time::sessions(input(0), partition, *ts, *gap_us);
                let mark = (1..node.inputs.len()).map(|i| crate::naive_time::greatest(input(i))).min().flatten();
                out = if *on_close { crate::naive_time::closed(all, types(0).len() + 1, 0, mark) } else { all };
            }
            Op::Close { keys, aggs, key, plus_us } => {
                let mark = (1..node.inputs.len()).map(|i| crate::naive_time::greatest(input(i))).min().flatten();
                let rows = crate::naive_time::closed(input(0).clone(), keys[*key], *plus_us, mark);
                let mut plan = FlowPlan { nodes: vec![], root: 1, output: vec![], key: None };
                let id = SourceId::Topic(regauge_types::TopicId(0));
                let columns = (0..types(0).len()).map(|c| regauge_types::ColumnId(c as u32)).collect();
                plan.push(Op::Source { id, columns }, vec![], (types(0).to_vec(), true)).unwrap();
                plan.push(Op::Aggregate { keys: keys.clone(), aggs: aggs.clone() }, vec![0], (vec![], true)).unwrap();
                let (groups, failed) = evaluate(&plan, &BTreeMap::from([(id, rows)]));
                out = groups;
                failed.into_iter().for_each(|(state, n)| *errors.entry(state).or_insert(0) += n);
            }
        }
        bags.push(out);
    }
    errors.retain(|_, n| *n != 0);
    (bags.swap_remove(plan.root), errors)
}
