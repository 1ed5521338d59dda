//! As-of join: each left row with the right row nearest to its moment.
//!
//! ```text
//!   order of time ──▶ (of nearness: latest first where the right row lies at or before the left one's moment)
//!   left    l1   l2      l3    l4        a left row's partner is the first right row at or behind it: r1 of l1, r2 of l2 and l3
//!   right      r1      x     r2          when x comes, the left rows between its neighbour before (r1) and itself change: l2
//! ```
//! State: both sides as [`Timeline`]s by key and moment. At the end of an epoch the right moments that changed are gone through from the
//! last one down: what the left rows up to the neighbour before met when the epoch began, and what they meet now, is found among the
//! moment's own rows or is what the changed moment behind it gave, or a row that lasts. Then the left rows that changed and whose
//! partner did not.
//!
//! Invariant: a left row is sent for one of its two reasons only: its first right row is either one that lasts, or one whose moment
//! changed. Cost: O(log rows) for each change and for each left row whose partner changes; nothing else is looked at.
//! A row with a NULL key or moment meets nothing, and is not kept.

use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use regauge_plan::flowplan::AsOfMatch;
use regauge_state::timeline::{after, group_of};
use regauge_state::{GroupIndex, Segments, Timeline, canonical_floats, canonical_keys};
use regauge_types::Delta;
use regauge_types::hash::hash_columns;
use regauge_types::key::{KeyOrder, encode_exact, encode_ordered};

use super::parts::{ROWS_MAX, batch, diffs_of, emit, has_null, row_number, schema_of, take_all};
use crate::image::{Home, Image, rows_by_bucket, types_of};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};

/// Which part of an epoch's end comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// More may come.
    Open,
    /// Right moments that changed.
    Rights,
    /// Left rows that changed.
    Lefts,
}

/// A changed right moment, and the first right row at or behind it, as it was and as it is.
struct Turned {
    /// Group and moment.
    moment: Box<[u8]>,
    before: Option<u32>,
    now: Option<u32>,
}

/// Left rows whose partner changes.
struct Affected {
    from: Vec<u8>,
    to: Vec<u8>,
    before: Option<u32>,
    now: Option<u32>,
}

/// See the module's header.
pub struct AsOf {
    outer: bool,
    inclusive: bool,
    latest_first: bool,
    keys: [Vec<usize>; 2],
    moments: [usize; 2],
    index: GroupIndex,
    /// Rows of both sides in each group.
    n_members: Segments<u32>,
    sides: [Timeline; 2],
    stage: Stage,
    turned: Option<Turned>,
    affected: Option<Affected>,
    /// Groups that lost rows in this epoch.
    lost: Vec<u32>,
    schema: SchemaRef,
    n_left: usize,
    stats: OpStats,
}

impl AsOf {
    /// Over inputs of these types; `output` are the left one's and the right one's.
    pub fn new(
        outer: bool,
        on: &[(usize, usize)],
        moment: (usize, usize),
        matching: AsOfMatch,
        inputs: [&[DataType]; 2],
        output: &[DataType],
    ) -> Result<Self, FlowError> {
        let keys = [on.iter().map(|(l, _)| *l).collect(), on.iter().map(|(_, r)| *r).collect::<Vec<_>>()];
        let types: Vec<DataType> = on.iter().map(|(l, _)| inputs[0][*l].clone()).collect();
        Ok(AsOf {
            outer,
            inclusive: matches!(matching, AsOfMatch::AtOrBefore | AsOfMatch::AtOrAfter),
            latest_first: matches!(matching, AsOfMatch::AtOrBefore | AsOfMatch::Before),
            keys,
            moments: [moment.0, moment.1],
            index: GroupIndex::new(&types)?,
            n_members: Segments::default(),
            sides: [Timeline::new(inputs[0])?, Timeline::new(inputs[1])?],
            stage: Stage::Open,
            turned: None,
            affected: None,
            lost: Vec::new(),
            schema: schema_of(output),
            n_left: inputs[0].len(),
            stats: OpStats::default(),
        })
    }

    /// The place in the order from which on a left row's partner is looked for.
    fn place(&self, moment: &[u8]) -> Vec<u8> {
        if self.inclusive { moment.to_vec() } else { after(moment) }
    }

    /// Takes up the next right moment that changed; false when there is none.
    fn turn(&mut self) -> bool {
        let Some(key) = self.sides[1].next_changed() else { return false };
        let rights = &self.sides[1];
        let Some(standing) = rights.get(&key) else { return true };
        let (moment, group) = (rights.moment(&key, standing), group_of(&key));
        if self.turned.as_ref().is_some_and(|t| *t.moment == *moment) {
            return true;
        }
        let behind = self.turned.as_ref().filter(|t| group_of(&t.moment) == group);
        let (mut before, mut now) = (None, None);
        let mut place = moment.to_vec();
        loop {
            self.stats.touched += 1;
            match rights.first_from(group, &place) {
                None => break,
                // What comes from there on was found already.
                Some((k, _)) if behind.is_some_and(|t| k.starts_with(&t.moment)) => {
                    before = before.or(behind.and_then(|t| t.before));
                    now = now.or(behind.and_then(|t| t.now));
                    break;
                }
                Some((k, s)) => {
                    before = before.or((s.before > 0).then_some(s.slot));
                    now = now.or((s.now > 0).then_some(s.slot));
                    if before.is_some() && now.is_some() {
                        break;
                    }
                    place.clear();
                    place.extend_from_slice(k);
                    place.push(0);
                }
            }
        }
        if before != now {
            let neighbour = rights.last_before(group, moment).map(|(k, s)| rights.moment(k, s));
            let from = match neighbour {
                Some(m) if self.inclusive => after(m),
                Some(m) => m.to_vec(),
                None => group.to_be_bytes().to_vec(),
            };
            let to = if self.inclusive { after(moment) } else { moment.to_vec() };
            self.affected = Some(Affected { from, to, before, now });
        }
        self.turned = Some(Turned { moment: moment.into(), before, now });
        true
    }

    /// Changes of left rows whose partner changed, as many as there is room for.
    fn pass_on(&mut self, rows: &mut Vec<(u32, Option<u32>, i64)>) {
        let Some(mut affected) = self.affected.take() else { return };
        let mut rest = None;
        for (key, l) in self.sides[0].range(&affected.from, &affected.to) {
            if rows.len() >= ROWS_MAX {
                rest = Some(key.to_vec());
                break;
            }
            self.stats.touched += 1;
            rows.extend((l.before != 0).then_some((l.slot, affected.before, -l.before)));
            rows.extend((l.now != 0).then_some((l.slot, affected.now, l.now)));
        }
        if let Some(from) = rest {
            affected.from = from;
            self.affected = Some(affected);
        }
    }

    /// The change of the next left row that changed; `None` when there is none.
    fn left(&mut self) -> Option<Option<(u32, Option<u32>, i64)>> {
        let key = self.sides[0].next_changed()?;
        let Some(l) = self.sides[0].get(&key) else { return Some(None) };
        if l.before == l.now {
            return Some(None);
        }
        self.stats.touched += 1;
        let place = self.place(self.sides[0].moment(&key, l));
        let change = |partner| Some((l.slot, partner, l.now - l.before));
        Some(match self.sides[1].first_from(group_of(&key), &place) {
            None => change(None),
            Some((_, r)) if r.lasts() => change(Some(r.slot)),
            // Its moment changed, and the row was sent then.
            Some(_) => None,
        })
    }

    fn send(&mut self, mut rows: Vec<(u32, Option<u32>, i64)>, out: &mut Out) -> Result<(), FlowError> {
        if !self.outer {
            rows.retain(|(_, right, _)| right.is_some());
        }
        let lefts: Vec<u32> = rows.iter().map(|r| r.0).collect();
        let rights: Vec<u32> = rows.iter().filter_map(|r| r.1).collect();
        let mut columns = self.sides[0].gather(&lefts);
        let partners = self.sides[1].gather(&rights);
        if rights.len() == rows.len() {
            columns.extend(partners);
        } else {
            let mut n = 0;
            let places: UInt32Array = rows
                .iter()
                .map(|(_, right, _)| {
                    right.map(|_| {
                        n += 1;
                        n - 1
                    })
                })
                .collect();
            for column in partners {
                columns.push(take(column.as_ref(), &places, None)?);
            }
        }
        self.stats.rows_out += rows.len() as u64;
        emit(out, &self.schema, columns, rows.len(), Some(rows.iter().map(|r| r.2).collect()))
    }

    /// Left rows that can meet nothing go out at once, or nowhere.
    fn alone(&mut self, columns: &[ArrayRef], rows: Vec<u32>, diffs: Vec<i64>, out: &mut Out) -> Result<(), FlowError> {
        if !self.outer || rows.is_empty() {
            return Ok(());
        }
        let n = rows.len();
        let mut columns = take_all(columns, &UInt32Array::from(rows))?;
        let rest = self.schema.fields().iter().skip(self.n_left);
        columns.extend(rest.map(|f| arrow::array::new_null_array(f.data_type(), n)));
        self.stats.rows_out += n as u64;
        emit(out, &self.schema, columns, n, Some(diffs))
    }

    fn forget(&mut self) -> Result<(), FlowError> {
        let mut gone = Vec::new();
        for group in std::mem::take(&mut self.lost) {
            let n = &mut self.n_members[group as usize];
            *n -= 1;
            if *n == 0 {
                gone.push(group);
            }
        }
        Ok(self.index.forget(&gone)?)
    }
}

impl Operator for AsOf {
    fn push(&mut self, input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        let n = delta.n_rows();
        self.stats.rows_in += n as u64;
        self.stats.touched += n as u64;
        // Floats that are equal have one form in a view.
        let columns: Vec<ArrayRef> = delta.rows.columns().iter().map(canonical_floats).collect();
        let moment = columns[self.moments[input]].clone();
        let keys = canonical_keys(self.keys[input].iter().map(|c| &columns[*c]));
        let diffs = diffs_of(&delta);
        let diff = |row: usize| diffs.map_or(1, |d| d[row]);
        let (mut alone, mut alone_diffs) = (vec![], vec![]);
        let mut groups = Vec::new();
        let meets = |row: usize| !moment.is_null(row) && !has_null(&keys, row);
        let met: Vec<usize> = (0..n).filter(|row| meets(*row)).collect();
        let (columns_met, keys_met, moment_met) = if met.len() == n {
            (columns.clone(), keys.clone(), moment.clone())
        } else {
            for row in (0..n).filter(|row| !meets(*row)) {
                alone.push(row_number(row));
                alone_diffs.push(diff(row));
            }
            let places: UInt32Array = met.iter().map(|row| row_number(*row)).collect();
            (take_all(&columns, &places)?, take_all(&keys, &places)?, take(moment.as_ref(), &places, None)?)
        };
        let n_met = met.len();
        self.index.intern(&keys_met, &hash_columns(&keys_met, n_met)?, &mut groups, &mut Vec::new())?;
        self.n_members.grow(self.index.n_ids(), 0);
        let order = KeyOrder { descending: self.latest_first, ..KeyOrder::default() };
        let moments = encode_ordered(&[moment_met], &[order], n_met)?;
        let rests = encode_exact(&columns_met, n_met)?;
        for (i, group) in groups.iter().enumerate() {
            let (at, rest) = (moments.get(i), rests.get(i));
            if self.sides[input].add(*group, at, rest, &columns_met, row_number(i), diff(met[i]))? {
                self.n_members[*group as usize] += 1;
            }
        }
        if input == 0 { self.alone(&columns, alone, alone_diffs, out) } else { Ok(()) }
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        if self.stage == Stage::Open {
            for side in &mut self.sides {
                let gone = side.seal().map_err(|multiplicity| FlowError::Negative { operator: "as-of join", multiplicity })?;
                self.lost.extend(gone);
            }
            self.stage = Stage::Rights;
        }
        let (mut rows, mut looked) = (Vec::new(), 0);
        while rows.len() < ROWS_MAX && looked < ROWS_MAX {
            looked += 1;
            if self.affected.is_some() {
                self.pass_on(&mut rows);
            } else if self.stage == Stage::Rights {
                if !self.turn() {
                    (self.stage, self.turned) = (Stage::Lefts, None);
                }
            } else {
                match self.left() {
                    Some(change) => rows.extend(change),
                    None => {
                        self.send(rows, out)?;
                        for side in &mut self.sides {
                            self.lost.extend(side.settle());
                        }
                        self.forget()?;
                        self.stage = Stage::Open;
                        return Ok(Finish::Done);
                    }
                }
            }
        }
        self.send(rows, out)?;
        Ok(Finish::More)
    }

    fn routing(&self, input: usize) -> Routing {
        if self.keys[input].is_empty() { Routing::One } else { Routing::Hash(self.keys[input].clone()) }
    }

    fn stats(&self) -> OpStats {
        let [left, right] = &self.sides;
        let bytes = self.index.n_bytes() + self.n_members.n_bytes() + left.n_bytes() + right.n_bytes();
        OpStats { state_rows: (left.n_rows() + right.n_rows()) as u64, state_bytes: bytes as u64, ..self.stats.clone() }
    }

    fn save(&self, _home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        for (part, (side, keys)) in (0u32..).zip(self.sides.iter().zip(&self.keys)) {
            let rows: Vec<(u32, i64)> = side.iter().map(|(_, s)| (s.slot, s.now)).collect();
            rows_by_bucket(part, &rows, |slots| side.gather(slots), keys, to)?;
        }
        Ok(())
    }

    /// Its rows come again; which of them meet was sent, and is not looked for.
    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        let types = types_of(&self.schema);
        for image in images {
            let (side, types) = match image.part {
                0 => (0, &types[..self.n_left]),
                1 => (1, &types[self.n_left..]),
                part => return Err(FlowError::Image(format!("a join has no side {part}"))),
            };
            let (columns, copies) = image.read().numbered(types)?;
            let n = copies.len();
            let rows = Delta::new(batch(&schema_of(types), columns, n)?, Int64Array::from(copies));
            self.push(side, rows, &mut Out::default())?;
        }
        for side in &mut self.sides {
            let gone = side.seal().map_err(|multiplicity| FlowError::Negative { operator: "as-of join", multiplicity })?;
            self.lost.extend(gone);
            self.lost.extend(side.settle());
        }
        self.stats = OpStats::default();
        self.forget()
    }
}
