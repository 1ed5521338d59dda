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

mod spilled;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::filter;
use arrow::datatypes::{DataType, SchemaRef};
use regauge_plan::eval::{Predicate, compile_predicate};
use regauge_plan::flowplan::JoinKind;
use regauge_plan::scalar::Scalar;
use regauge_state::{Bits, Incoming, JoinSide, N_BUCKETS, Placed, ProbeAt, Segments, canonical_floats};
use regauge_types::Delta;
use regauge_types::hash::hash_columns;
use regauge_types::key::encode;
use std::collections::HashMap;

use super::dirty::Dirty;
use super::parts::{ROWS_MAX, Touched, all_rows, batch, diffs_of, emit, has_null, schema_of, take_all};
use crate::image::{Home, IMAGE_ROWS, Image, Step, changed, gone_keys, int64, table};
use crate::operator::{Finish, FlowError, Mine, OpStats, Operator, Out, Routing};
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
    dirty: Dirty,
    /// Slots below this one were there when changes were taken last: on an append-only side the others are new.
    taken: usize,
    /// Rows of a side that grows which a run has, too: they need not be written when they are taken out.
    stored: Bits,
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
            Ok(Side {
                store,
                on: on[i].clone(),
                types: types[i].to_vec(),
                preserved: preserved[i].then(Preserved::default),
                dirty: Dirty::default(),
                taken: 0,
                stored: Bits::default(),
            })
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
            side.dirty.mark(placed.iter().map(|p| p.slot));
            drop_cancelled(side, incoming, &placed)?;
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
        self.sides[1].dirty.mark(placed.iter().map(|p| p.slot));
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
        drop_cancelled(&mut self.sides[1], &incoming, &placed)?;
        self.probe(1, &[], keys, hashes, &changed, Some(&steps), &mut [], out)
    }
}

/// Frees the slots among `placed` whose weight came to zero.
fn drop_cancelled(side: &mut Side, incoming: &Incoming<'_>, placed: &[Placed]) -> Result<(), FlowError> {
    let Side { store, dirty, .. } = side;
    if !store.is_retractable() {
        return Ok(());
    }
    let mut zero: Vec<(u32, u32)> = placed.iter().filter(|p| store.weight(p.slot) == 0).map(|p| (p.slot, p.row)).collect();
    zero.sort_unstable();
    zero.dedup_by_key(|(slot, _)| *slot);
    let (slots, rows): (Vec<u32>, Vec<u32>) = zero.into_iter().unzip();
    let of_rows = |hashes: &[u64]| rows.iter().map(|row| hashes[*row as usize]).collect::<Vec<u64>>();
    store.remove_all(&slots, &of_rows(incoming.key_hashes), &of_rows(incoming.row_hashes));
    dirty.gone(&slots, || take_all(incoming.columns, &UInt32Array::from(rows)))
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
            let Side { store, preserved: Some(preserved), dirty, .. } = &mut self.sides[input] else { continue };
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
            dirty.mark(slots.iter().copied());
            let gone: Vec<u32> = slots.into_iter().filter(|slot| store.weight(*slot) == 0).collect();
            dirty.gone(&gone, || Ok::<_, FlowError>(store.gather(&gone)))?;
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
            state_bytes: self.sides.iter().map(|s| (s.store.n_bytes() + own(s) + s.dirty.n_bytes()) as u64).sum(),
            ..self.stats.clone()
        }
    }

    fn save(&self, _home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        for (part, side) in (0u32..).zip(&self.sides) {
            for bucket in 0..N_BUCKETS {
                for slots in side.store.bucket(bucket).chunks(IMAGE_ROWS) {
                    to.push(Image::new(part, bucket, side.tables(slots)?));
                }
            }
        }
        Ok(())
    }

    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        images.iter().try_for_each(|image| self.read(image, &|_| true)?.put(self).map(drop))
    }

    fn track(&mut self) -> bool {
        for side in &mut self.sides {
            side.dirty.start();
            side.taken = side.store.n_slots();
        }
        true
    }

    fn save_bucket(&self, bucket: usize, to: &mut Vec<Image>) -> Result<(), FlowError> {
        for (part, side) in (0u32..).zip(&self.sides) {
            let mut slots = side.store.bucket(bucket);
            // of an append-only side what came behind is new, and new rows are added: they must not be here, too
            slots.retain(|slot| side.store.is_retractable() || (*slot as usize) < side.taken);
            for slots in slots.chunks(IMAGE_ROWS) {
                to.push(Image::new(part, bucket, side.tables(slots)?));
            }
        }
        Ok(())
    }

    fn save_changes(&mut self, to: &mut Vec<Image>) -> Result<(), FlowError> {
        for (part, side) in (0u32..).zip(&mut self.sides) {
            let (slots, gone) = side.dirty.take();
            gone_keys(part, gone, to)?;
            let n_old = if side.store.is_retractable() { 0 } else { slots.partition_point(|s| (*s as usize) < side.taken) };
            let (old, new) = slots.split_at(n_old);
            for (of, slots) in changed(old, side.store.n_rows(), |bucket| side.store.bucket(bucket)) {
                to.push(Image { of, ..Image::change(part + ALIKE, Step::Changed, side.tables(&slots)?) });
            }
            for (of, slots) in changed(new, side.store.n_rows(), |bucket| side.store.bucket(bucket)) {
                to.push(Image { of, ..Image::change(part, Step::Changed, side.tables(&slots)?) });
            }
            side.taken = side.store.n_slots();
        }
        Ok(())
    }

    fn restore_changes(&mut self, images: &[&Image], mine: &Mine<'_>) -> Result<(), FlowError> {
        images.iter().try_for_each(|image| self.read(image, mine)?.put(self).map(drop))
    }
}

/// Behind the numbers of the two sides, the parts that say what equal rows of an append-only side have now: they are not new rows.
const ALIKE: u32 = 2;

/// Rows of a side that are read back.
struct Stored {
    side: usize,
    step: Step,
    is_alike: bool,
    columns: Vec<ArrayRef>,
    rows: Vec<u32>,
    key_hashes: Vec<u64>,
    row_hashes: Vec<u64>,
    weights: Vec<i64>,
    matches: Vec<i64>,
    sent: Vec<i64>,
}

impl Side {
    fn tables(&self, slots: &[u32]) -> Result<Vec<RecordBatch>, FlowError> {
        let number = |of: &dyn Fn(u32) -> i64| int64(slots.iter().map(|slot| of(*slot)));
        let kept =
            |of: fn(&Preserved) -> &Segments<i64>| number(&|slot| self.preserved.as_ref().map_or(0, |p| of(p)[slot as usize]));
        let numbers = vec![number(&|slot| self.store.weight(slot)), kept(|p| &p.matches), kept(|p| &p.sent)];
        Ok(vec![table(self.store.gather(slots), slots.len())?, table(numbers, slots.len())?])
    }

    /// What is kept of a row at these slots.
    fn set(&mut self, slots: impl IntoIterator<Item = u32>, matches: i64, sent: i64) {
        let Some(preserved) = &mut self.preserved else { return };
        preserved.matches.grow(self.store.n_slots(), 0);
        preserved.sent.grow(self.store.n_slots(), 0);
        for slot in slots {
            preserved.matches[slot as usize] = matches;
            preserved.sent[slot as usize] = sent;
        }
    }
}

impl Join {
    fn read(&self, image: &Image, mine: &Mine<'_>) -> Result<Stored, FlowError> {
        let no_side = || FlowError::Image(format!("a join has no part {}", image.part));
        let is_alike = image.part >= ALIKE;
        let at = usize::try_from(image.part % ALIKE).ok().filter(|_| image.part < 2 * ALIKE).ok_or_else(no_side)?;
        let keys_only = self.keys_only && at == 1;
        let side = &self.sides[at];
        if side.store.is_retractable() && is_alike || !side.store.is_retractable() && image.step == Step::Gone {
            return Err(no_side());
        }
        let own: Vec<DataType>;
        let types = if keys_only {
            own = side.on.iter().map(|c| side.types[*c].clone()).collect();
            &own
        } else {
            &side.types
        };
        let mut tables = image.read();
        let (columns, n) = tables.table(types)?;
        let [weights, matches, sent] =
            if image.step == Step::Gone { [vec![0; n], vec![0; n], vec![0; n]] } else { tables.numbers()? };
        let keys: Vec<ArrayRef> = if keys_only { columns.clone() } else { side.on.iter().map(|c| columns[*c].clone()).collect() };
        let key_hashes = hash_columns(&keys, n)?;
        let row_hashes = if side.store.is_retractable() { hash_columns(&columns, n)? } else { Vec::new() };
        let rows = all_rows(n).into_iter().filter(|row| mine(key_hashes[*row as usize])).collect();
        Ok(Stored { side: at, step: image.step, is_alike, columns, rows, key_hashes, row_hashes, weights, matches, sent })
    }
}

impl Stored {
    /// The slots of the rows.
    fn put(self, join: &mut Join) -> Result<Vec<u32>, FlowError> {
        let Stored { side, step, is_alike, columns, rows, key_hashes, row_hashes, mut weights, matches, sent } = self;
        let side = &mut join.sides[side];
        if is_alike {
            // each chain is walked once, however many rows share its key
            let encoded = encode(&columns, key_hashes.len())?;
            let by_row: HashMap<&[u8], u32> = rows.iter().map(|row| (encoded.get(*row as usize), *row)).collect();
            let mut keys: Vec<u64> = rows.iter().map(|row| key_hashes[*row as usize]).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                for slots in side.store.chain(key).chunks(IMAGE_ROWS) {
                    let stored = encode(&side.store.gather(slots), slots.len())?;
                    for (i, slot) in slots.iter().enumerate() {
                        if let Some(row) = by_row.get(stored.get(i)) {
                            side.set([*slot], matches[*row as usize], sent[*row as usize]);
                        }
                    }
                }
            }
            return Ok(vec![]);
        }
        if step != Step::Whole && side.store.is_retractable() {
            // a row may have gone more than once since the last save
            let mut seen = Bits::default();
            for row in &rows {
                let at = *row as usize;
                let slot = side.store.slot_of(&columns, *row, row_hashes[at]);
                weights[at] -= slot.filter(|slot| seen.insert(*slot)).map_or(0, |slot| side.store.weight(slot));
            }
        }
        let diffs = side.store.is_retractable().then_some(weights.as_slice());
        let incoming = Incoming { columns: &columns, rows: &rows, key_hashes: &key_hashes, row_hashes: &row_hashes, diffs };
        let mut placed = Vec::with_capacity(rows.len());
        side.store.apply(&incoming, &mut placed)?;
        for p in &placed {
            side.set([p.slot], matches[p.row as usize], sent[p.row as usize]);
        }
        drop_cancelled(side, &incoming, &placed)?;
        Ok(placed.into_iter().map(|p| p.slot).collect())
    }
}
