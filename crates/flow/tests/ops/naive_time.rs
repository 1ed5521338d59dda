//! The oracle's windows that grow and sessions, in the plainest way.

use std::collections::BTreeMap;

use crate::value::*;

/// A row once for every window that begins with the last start at or before it and ends behind it.
pub fn cumulate(input: &Bag, ts: usize, step: i64, size: i64, offset: i64) -> Bag {
    let (step, size, offset) = (i128::from(step), i128::from(size), i128::from(offset));
    let mut out = Bag::new();
    for (row, n) in input.iter().filter(|(row, _)| row[ts] != V::Null) {
        let t = as_int(&row[ts]);
        let start = t - (t - offset).rem_euclid(size);
        let mut end = start + step;
        while end <= start + size {
            if t < end {
                add(&mut out, row.iter().cloned().chain([V::Int(start), V::Int(end)]).collect(), *n);
            }
            end += step;
        }
    }
    out
}

/// Each row with the bounds of its session.
pub fn sessions(input: &Bag, partition: &[usize], ts: usize, gap: i64) -> Bag {
    let mut parts: BTreeMap<Row, Vec<(i128, Row, i64)>> = BTreeMap::new();
    for (row, n) in input.iter().filter(|(row, _)| row[ts] != V::Null) {
        let key = partition.iter().map(|c| row[*c].clone()).collect();
        parts.entry(key).or_default().push((as_int(&row[ts]), row.clone(), *n));
    }
    let mut out = Bag::new();
    for (_, mut rows) in parts {
        rows.sort();
        let mut from = 0;
        for i in 0..rows.len() {
            let is_last = i + 1 == rows.len() || rows[i + 1].0 - rows[i].0 >= i128::from(gap);
            if is_last {
                let (start, end) = (rows[from].0, rows[i].0 + i128::from(gap));
                for (_, row, n) in &rows[from..=i] {
                    add(&mut out, row.iter().cloned().chain([V::Int(start), V::Int(end)]).collect(), *n);
                }
                from = i + 1;
            }
        }
    }
    out
}

/// The greatest value of the only column.
pub fn greatest(input: &Bag) -> Option<i128> {
    input.keys().filter(|row| row[0] != V::Null).map(|row| as_int(&row[0])).max()
}

/// Rows whose column plus something does not lie behind a watermark; none without one.
pub fn closed(rows: Bag, column: usize, plus: i64, mark: Option<i128>) -> Bag {
    let Some(mark) = mark else { return Bag::new() };
    rows.into_iter().filter(|(row, _)| as_int(&row[column]) + i128::from(plus) <= mark).collect()
}
