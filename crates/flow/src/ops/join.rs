//! Equi-joins with a residual condition: inner, left, right, full, semi, anti; retractions on both sides.
//!
//! ```text
//!   push(left, dA):   out += dA x B          then  A += dA        B and A as they stand: whatever the order of arrival,
//!   push(right, dB):  out += A x dB          then  B += dB        the sum telescopes to  A' x B' - A x B
//! ```
//!
//! Pairs stream within the epoch. What depends on having *no* match (padded rows of outer joins) or *some* (semi, anti) cannot:
//! each stored row of a preserved side keeps its number of matches, and rows touched in an epoch send the difference to what
//! they have sent before at its end, so a match that comes and goes within an epoch is not seen, and a rebuild never pads a
//! row that a later batch matches.
//!
//! Invariants: between epochs every row in state has a non-zero weight; `matches[slot]` is the weight of the other side's rows
//! that match the row; floats are stored and sent in canonical form; `sent[slot]` is what the output holds of the row itself (padded or semi/anti). NULL keys match nothing
//! unless `nulls_equal`: such rows are never stored. Errors of the residual are pairs, too: their diffs multiply likewise.
//! Cost: one look-up a row, and the pairs; state is proportional to the rows stored. Semi and anti joins without a residual store
//! of the right side only the keys, and look at left rows only when a key appears or vanishes.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::filter;
use arrow::datatypes::{DataType, SchemaRef};
use regauge_plan::eval::{Predicate, compile_predicate};
use regauge_plan::flowplan::JoinKind;
use regauge_plan::scalar::Scalar;
use regauge_state::{Incoming, JoinSide, N_BUCKETS, Placed, ProbeAt, Segments, canonical_floats};
use regauge_types::Delta;
use regauge_types::hash::hash_columns;

use super::parts::{ROWS_MAX, Touched, all_rows, batch, diffs_of, emit, has_null, schema_of, take_all};
use crate::image::{Home, IMAGE_ROWS, Image, int64, table};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};
use crate::show;

/// What is kept of a side whose rows go out by having matches or none.
#[derive(Debug, Default)]
struct Preserved {
    matches: Segments<i64>,
    sent: Segments<i64>,
    touched: Touched,
}

struct Side {
    store: JoinSide,
    on: Vec<usize>,
    types: Vec<DataType>,
    preserved: Option<Preserved>,
}

/// What a join is made of; `append_only` is each input's property.
pub struct JoinSpec<'a> {
    /// Which rows without a match are kept.
    pub kind: JoinKind,
    /// Equal columns, (left, right).
    pub on: &'a [(usize, usize)],
    /// Whether NULL keys match each other.
    pub nulls_equal: bool,
    /// Further condition over left then right columns.
    pub residual: Option<&'a Scalar>,
    /// Column types of each input.
    pub types: [&'a [DataType]; 2],
    /// Which inputs never retract.
    pub append_only: [bool; 2],
}

/// See the module's header.
pub struct Join {
    kind: JoinKind,
    nulls_equal: bool,
    residual: Option<Predicate>,
    /// The right side holds keys only, and a left row has a match or not.
    keys_only: bool,
    sides: [Side; 2],
    pair_schema: SchemaRef,
    left_schema: SchemaRef,
    stats: OpStats,
}

/// Pairs of a delta's rows with stored slots of the other side.
struct Pairs {
    rows: Vec<u32>,
    slots: Vec<u32>,
    columns: Option<Vec<ArrayRef>>,
}

impl Join {
    /// An empty join.
    pub fn new(spec: &JoinSpec<'_>) -> Result<Self, FlowError> {
        let JoinSpec { kind, on, nulls_equal, residual, types, append_only } = *spec;
        let is_half = matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti);
        let keys_only = is_half && residual.is_none();
        let on = [on.iter().map(|p| p.0).collect::<Vec<_>>(), on.iter().map(|p| p.1).collect::<Vec<_>>()];
        let preserved =
            [is_half || matches!(kind, JoinKind::Left | JoinKind::Full), matches!(kind, JoinKind::Right | JoinKind::Full)];
        let side = |i: usize| -> Result<Side, FlowError> {
            let store = if keys_only && i == 1 {
                let types: Vec<DataType> = on[1].iter().map(|c| types[1][*c].clone()).collect();
                JoinSide::new(&types, (0..types.len()).collect(), false)?
            } else {
                JoinSide::new(types[i], on[i].clone(), append_only[i])?
            };
            Ok(Side { store, on: on[i].clone(), types: types[i].to_vec(), preserved: preserved[i].then(Preserved::default) })
        };
        let all = [types[0], types[1]].concat();
        Ok(Join {
            kind,
            nulls_equal,
            residual: residual.map(|r| compile_predicate(r, &all)).transpose()?,
            keys_only,
            sides: [side(0)?, side(1)?],
            pair_schema: schema_of(&all),
            left_schema: schema_of(types[0]),
            stats: OpStats::default(),
        })
    }

    fn is_half(&self) -> bool {
        matches!(self.kind, JoinKind::LeftSemi | JoinKind::LeftAnti)
    }

    /// How often the output holds the row itself, which has this weight and this many matches.
    fn own_multiplicity(kind: JoinKind, weight: i64, matches: i64) -> i64 {
        if (matches > 0) == (kind == JoinKind::LeftSemi) { weight } else { 0 }
    }

    /// Sends rows of `side` themselves: as they are for semi and anti, padded for outer joins.
    fn send_own(
        &mut self,
        side: usize,
        mut columns: Vec<ArrayRef>,
        n: usize,
        diffs: Option<Vec<i64>>,
        out: &mut Out,
    ) -> Result<(), FlowError> {
        self.stats.rows_out += n as u64;
        if self.is_half() {
            return emit(out, &self.left_schema, columns, n, diffs);
        }
        let nulls: Vec<ArrayRef> = self.sides[1 - side].types.iter().map(|ty| new_null_array(ty, n)).collect();
        let columns = if side == 0 {
            columns.extend(nulls);
            columns
        } else {
            [nulls, columns].concat()
        };
        emit(out, &self.pair_schema, columns, n, diffs)
    }

    /// The columns of pairs, left then right. `input` is the side the delta came from.
    fn pair_columns(&self, input: usize, delta: &[ArrayRef], rows: &[u32], slots: &[u32]) -> Result<Vec<ArrayRef>, FlowError> {
        let own = take_all(delta, &UInt32Array::from(rows.to_vec()))?;
        let stored = self.sides[1 - input].store.gather(slots);
        Ok(if input == 0 { [own, stored].concat() } else { [stored, own].concat() })
    }

    /// Verifies keys and residual of candidate pairs.
    #[allow(clippy::too_many_arguments)]
    fn verify(
        &self,
        input: usize,
        delta: &[ArrayRef],
        keys: &[ArrayRef],
        diffs: Option<&[i64]>,
        mut rows: Vec<u32>,
        mut slots: Vec<u32>,
        out: &mut Out,
    ) -> Result<Pairs, FlowError> {
        let other = &self.sides[1 - input].store;
        other.retain_same_key(keys, self.nulls_equal, &mut rows, &mut slots);
        if rows.is_empty() {
            return Ok(Pairs { rows, slots, columns: None });
        }
        let Some(residual) = &self.residual else {
            let columns = if self.is_half() { None } else { Some(self.pair_columns(input, delta, &rows, &slots)?) };
            return Ok(Pairs { rows, slots, columns });
        };
        let columns = self.pair_columns(input, delta, &rows, &slots)?;
        let selected = residual.select(&batch(&self.pair_schema, columns.clone(), rows.len())?);
        for (pair, error) in selected.errors {
            let diff = diffs.map_or(1, |d| d[rows[pair] as usize]) * other.weight(slots[pair]);
            if diff != 0 {
                out.error(error, show::row("row", &columns, pair), diff);
            }
        }
        let keep = BooleanArray::new(selected.rows, None);
        if keep.true_count() == rows.len() {
            return Ok(Pairs { rows, slots, columns: Some(columns) });
        }
        let columns: Result<Vec<ArrayRef>, _> = columns.iter().map(|c| filter(c.as_ref(), &keep)).collect();
        let chosen = |of: &[u32]| of.iter().enumerate().filter(|(i, _)| keep.value(*i)).map(|(_, v)| *v).collect::<Vec<u32>>();
        Ok(Pairs { rows: chosen(&rows), slots: chosen(&slots), columns: Some(columns?) })
    }

    /// Joins rows of a delta with the other side: sends pairs, counts matches on both sides.
    /// `found[row]`, where asked for, becomes the weight of the row's matches.
    #[allow(clippy::too_many_arguments)]
    fn probe(
        &mut self,
        input: usize,
        delta: &[ArrayRef],
        keys: &[ArrayRef],
        hashes: &[u64],
        probing: &[u32],
        diffs: Option<&[i64]>,
        found: &mut [i64],
        out: &mut Out,
    ) -> Result<(), FlowError> {
        let mut at = ProbeAt::default();
        loop {
            let (mut rows, mut slots) = (Vec::new(), Vec::new());
            let done = self.sides[1 - input].store.probe(hashes, probing, &mut at, ROWS_MAX, &mut rows, &mut slots);
            self.stats.touched += slots.len() as u64;
            let pairs = self.verify(input, delta, keys, diffs, rows, slots, out)?;
            let diff_of = |row: u32| diffs.map_or(1, |d| d[row as usize]);
            let other = &mut self.sides[1 - input];
            if !found.is_empty() {
                for (row, slot) in pairs.rows.iter().zip(&pairs.slots) {
                    let weight = other.store.weight(*slot);
                    found[*row as usize] += if self.keys_only { i64::from(weight > 0) } else { weight };
                }
            }
            if let Some(preserved) = &mut other.preserved {
                for (row, slot) in pairs.rows.iter().zip(&pairs.slots) {
                    preserved.matches[*slot as usize] += diff_of(*row);
                    preserved.touched.mark(*slot);
                }
            }
            if let (false, Some(columns)) = (self.is_half(), pairs.columns) {
                self.send_pairs(input, columns, &pairs.rows, &pairs.slots, diffs, out)?;
            }
            if done {
                return Ok(());
            }
        }
    }

    fn send_pairs(
        &mut self,
        input: usize,
        columns: Vec<ArrayRef>,
        rows: &[u32],
        slots: &[u32],
        diffs: Option<&[i64]>,
        out: &mut Out,
    ) -> Result<(), FlowError> {
        let store = &self.sides[1 - input].store;
        if diffs.is_none() && !store.is_retractable() {
            self.stats.rows_out += rows.len() as u64;
            return emit(out, &self.pair_schema, columns, rows.len(), None);
        }
        let mut products: Vec<i64> =
            rows.iter().zip(slots).map(|(r, s)| diffs.map_or(1, |d| d[*r as usize]) * store.weight(*s)).collect();
        let mut columns = columns;
        if products.contains(&0) {
            // A preserved row at weight zero waits for the epoch's end; it has no pairs any more.
            let keep: BooleanArray = products.iter().map(|p| Some(*p != 0)).collect();
            columns = columns.iter().map(|c| filter(c.as_ref(), &keep)).collect::<Result<_, _>>()?;
            products.retain(|p| *p != 0);
        }
        self.stats.rows_out += products.len() as u64;
        let n = products.len();
        emit(out, &self.pair_schema, columns, n, Some(products))
    }

    /// Puts rows into their side's state and sets up what is kept of them.
    fn store(&mut self, input: usize, incoming: &Incoming<'_>, found: &[i64]) -> Result<(), FlowError> {
        let side = &mut self.sides[input];
        let mut placed: Vec<Placed> = Vec::with_capacity(incoming.rows.len());
        side.store.apply(incoming, &mut placed)?;
        if let Some(preserved) = &mut side.preserved {
            preserved.matches.grow(side.store.n_slots(), 0);
            preserved.sent.grow(side.store.n_slots(), 0);
            for p in &placed {
                if p.created {
                    preserved.matches[p.slot as usize] = found[p.row as usize];
                    preserved.sent[p.slot as usize] = 0;
                }
                preserved.touched.mark(p.slot);
            }
        } else {
            drop_cancelled(&mut side.store, incoming, &placed);
        }
        Ok(())
    }

    /// The right input of a semi or anti join without residual: only keys that appear or vanish go on to the left rows.
    fn push_keys(
        &mut self,
        keys: &[ArrayRef],
        hashes: &[u64],
        rows: &[u32],
        diffs: Option<&[i64]>,
        out: &mut Out,
    ) -> Result<(), FlowError> {
        let mut placed = Vec::with_capacity(rows.len());
        let incoming = Incoming { columns: keys, rows, key_hashes: hashes, row_hashes: hashes, diffs };
        self.sides[1].store.apply(&incoming, &mut placed)?;
        let mut by_slot: Vec<(u32, u32, i64)> =
            placed.iter().map(|p| (p.slot, p.row, diffs.map_or(1, |d| d[p.row as usize]))).collect();
        by_slot.sort_unstable();
        let (mut changed, mut steps) = (Vec::new(), vec![0i64; hashes.len()]);
        for of_slot in by_slot.chunk_by(|a, b| a.0 == b.0) {
            let (slot, row, _) = of_slot[0];
            let after = self.sides[1].store.weight(slot);
            let before = after - of_slot.iter().map(|(_, _, diff)| diff).sum::<i64>();
            let step = i64::from(after > 0) - i64::from(before > 0);
            if step != 0 {
                changed.push(row);
                steps[row as usize] = step;
            }
        }
        drop_cancelled(&mut self.sides[1].store, &incoming, &placed);
        self.probe(1, &[], keys, hashes, &changed, Some(&steps), &mut [], out)
    }
}

/// Frees the slots among `placed` whose weight came to zero.
fn drop_cancelled(store: &mut JoinSide, incoming: &Incoming<'_>, placed: &[Placed]) {
    if !store.is_retractable() {
        return;
    }
    let mut zero: Vec<(u32, u32)> = placed.iter().filter(|p| store.weight(p.slot) == 0).map(|p| (p.slot, p.row)).collect();
    zero.sort_unstable();
    zero.dedup_by_key(|(slot, _)| *slot);
    for (slot, row) in zero {
        store.remove(slot, incoming.key_hashes[row as usize], incoming.row_hashes[row as usize]);
    }
}

impl Operator for Join {
    fn push(&mut self, input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        let n = delta.n_rows();
        self.stats.rows_in += n as u64;
        // One form for each value that is equal: whatever zero or NaN a retraction brings, it meets the row that it means, and
        // what goes out does not depend on which of them came first.
        let columns: Vec<ArrayRef> = delta.rows.columns().iter().map(canonical_floats).collect();
        let columns = columns.as_slice();
        let diffs = diffs_of(&delta);
        let keys: Vec<ArrayRef> = self.sides[input].on.iter().map(|c| columns[*c].clone()).collect();
        let may_skip = diffs.is_some() || (!self.nulls_equal && keys.iter().any(|k| k.null_count() > 0));
        let (rows, without_key) = if may_skip {
            let alive = all_rows(n).into_iter().filter(|row| diffs.is_none_or(|d| d[*row as usize] != 0));
            alive.partition(|row| self.nulls_equal || !has_null(&keys, *row as usize))
        } else {
            (all_rows(n), Vec::new())
        };
        if !without_key.is_empty() && self.sides[input].preserved.is_some() && self.kind != JoinKind::LeftSemi {
            let own_diffs = diffs.map(|d| without_key.iter().map(|row| d[*row as usize]).collect());
            let n = without_key.len();
            let own = take_all(columns, &UInt32Array::from(without_key))?;
            self.send_own(input, own, n, own_diffs, out)?;
        }
        let hashes = hash_columns(&keys, n)?;
        self.stats.touched += rows.len() as u64;
        if self.keys_only && input == 1 {
            return self.push_keys(&keys, &hashes, &rows, diffs, out);
        }
        let mut found = if self.sides[input].preserved.is_some() { vec![0; n] } else { Vec::new() };
        self.probe(input, columns, &keys, &hashes, &rows, diffs, &mut found, out)?;
        let row_hashes = if self.sides[input].store.is_retractable() { hash_columns(columns, n)? } else { Vec::new() };
        self.store(input, &Incoming { columns, rows: &rows, key_hashes: &hashes, row_hashes: &row_hashes, diffs }, &found)
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        for input in 0..2 {
            let kind = self.kind;
            let Side { store, preserved: Some(preserved), .. } = &mut self.sides[input] else { continue };
            let (_, slots) = preserved.touched.next(ROWS_MAX);
            if slots.is_empty() {
                continue;
            }
            let (mut changed, mut diffs) = (Vec::new(), Vec::new());
            for slot in &slots {
                let s = *slot as usize;
                if store.weight(*slot) < 0 {
                    return Err(FlowError::Negative { operator: "join", multiplicity: store.weight(*slot) });
                }
                let now = Self::own_multiplicity(kind, store.weight(*slot), preserved.matches[s]);
                if now != preserved.sent[s] {
                    changed.push(*slot);
                    diffs.push(now - preserved.sent[s]);
                    preserved.sent[s] = now;
                }
            }
            let columns = store.gather(&changed);
            let gone: Vec<u32> = slots.into_iter().filter(|slot| store.weight(*slot) == 0).collect();
            store.forget(&gone)?;
            self.send_own(input, columns, changed.len(), Some(diffs), out)?;
            return Ok(Finish::More);
        }
        Ok(Finish::Done)
    }

    fn routing(&self, input: usize) -> Routing {
        if self.sides[input].on.is_empty() { Routing::One } else { Routing::Hash(self.sides[input].on.clone()) }
    }

    fn stats(&self) -> OpStats {
        let own =
            |side: &Side| side.preserved.as_ref().map_or(0, |p| p.matches.n_bytes() + p.sent.n_bytes() + p.touched.n_bytes());
        OpStats {
            state_rows: self.sides.iter().map(|s| s.store.n_rows() as u64).sum(),
            state_bytes: self.sides.iter().map(|s| (s.store.n_bytes() + own(s)) as u64).sum(),
            ..self.stats.clone()
        }
    }

    fn save(&self, _home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        for (part, side) in (0u32..).zip(&self.sides) {
            for bucket in 0..N_BUCKETS {
                for slots in side.store.bucket(bucket).chunks(IMAGE_ROWS) {
                    let number = |of: &dyn Fn(u32) -> i64| int64(slots.iter().map(|slot| of(*slot)));
                    let kept = |of: fn(&Preserved) -> &Segments<i64>| {
                        number(&|slot| side.preserved.as_ref().map_or(0, |p| of(p)[slot as usize]))
                    };
                    let numbers = vec![number(&|slot| side.store.weight(slot)), kept(|p| &p.matches), kept(|p| &p.sent)];
                    let rows = table(side.store.gather(slots), slots.len())?;
                    to.push(Image::new(part, bucket, vec![rows, table(numbers, slots.len())?]));
                }
            }
        }
        Ok(())
    }

    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        for image in images {
            let no_side = || FlowError::Image(format!("a join has no side {}", image.part));
            let at = usize::try_from(image.part).ok().filter(|at| *at < 2).ok_or_else(no_side)?;
            let keys_only = self.keys_only && at == 1;
            let side = &mut self.sides[at];
            let own: Vec<DataType>;
            let types = if keys_only {
                own = side.on.iter().map(|c| side.types[*c].clone()).collect();
                &own
            } else {
                &side.types
            };
            let mut tables = image.read();
            let (columns, n) = tables.table(types)?;
            let [weights, matches, sent] = tables.numbers()?;
            let keys: Vec<ArrayRef> =
                if keys_only { columns.clone() } else { side.on.iter().map(|c| columns[*c].clone()).collect() };
            let key_hashes = hash_columns(&keys, n)?;
            let row_hashes = if side.store.is_retractable() { hash_columns(&columns, n)? } else { Vec::new() };
            let diffs = side.store.is_retractable().then_some(weights.as_slice());
            let rows = all_rows(n);
            let incoming = Incoming { columns: &columns, rows: &rows, key_hashes: &key_hashes, row_hashes: &row_hashes, diffs };
            let mut placed = Vec::with_capacity(n);
            side.store.apply(&incoming, &mut placed)?;
            if let Some(preserved) = &mut side.preserved {
                preserved.matches.grow(side.store.n_slots(), 0);
                preserved.sent.grow(side.store.n_slots(), 0);
                for p in placed {
                    preserved.matches[p.slot as usize] = matches[p.row as usize];
                    preserved.sent[p.slot as usize] = sent[p.row as usize];
                }
            }
        }
        Ok(())
    }
}
