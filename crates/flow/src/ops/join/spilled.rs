//! Rows of a join's sides that are taken out and put back, by the hash of the columns that are equal.
//!
//! An append-only side of which nothing depends on matches only grows: its rows are written once, and read only for rows of the other side.
//! Of every other side a key's rows are replaced, because their weights or their numbers of matches change.

use super::{Join, Side};
use crate::image::{Image, Step};
use crate::operator::FlowError;
use crate::ops::parts::in_use;
use crate::spill::{Kind, Need, Settles, Spills};
use arrow::array::{ArrayRef, RecordBatch};
use regauge_state::canonical_floats;
use regauge_types::Delta;
use regauge_types::hash::hash_columns;

impl Side {
    fn grows(&self) -> bool {
        !self.store.is_retractable() && self.preserved.is_none()
    }
}

impl Spills for Join {
    fn n_parts(&self) -> usize {
        2
    }

    fn kind(&self, part: usize) -> Kind {
        if self.sides[part].grows() { Kind::Grows } else { Kind::Whole }
    }

    fn is_flat(&self, _part: usize) -> bool {
        true
    }

    fn need(&self, input: usize, part: usize) -> Need {
        let side = &self.sides[part];
        match (input == part, side.grows()) {
            (true, true) => Need::Add,
            (true, false) => Need::Write,
            // the numbers of matches of the other side's rows
            (false, _) if side.preserved.is_some() => Need::Write,
            (false, _) => Need::Read,
        }
    }

    fn settles(&self, part: usize) -> Settles {
        if self.sides[part].preserved.is_some() { Settles::Writes } else { Settles::Never }
    }

    fn hashes(&self, input: usize, delta: &Delta) -> Result<Vec<u64>, FlowError> {
        let keys: Vec<ArrayRef> = self.sides[input].on.iter().map(|c| canonical_floats(delta.rows.column(*c))).collect();
        Ok(hash_columns(&keys, delta.n_rows())?)
    }

    fn in_use(&self) -> usize {
        let own = |side: &Side| {
            let preserved = side.preserved.as_ref().map_or(0, |p| p.matches.n_bytes() + p.sent.n_bytes() + p.touched.n_bytes());
            in_use(side.store.n_bytes() + preserved + side.stored.n_bytes(), side.store.n_rows(), side.store.n_slots())
        };
        self.sides.iter().map(own).sum()
    }

    fn n_entries(&self, part: usize) -> usize {
        self.sides[part].store.n_rows()
    }

    fn entries(&self, part: usize, bucket: usize) -> Result<Vec<(u64, u32)>, FlowError> {
        let store = &self.sides[part].store;
        let slots = store.bucket(bucket);
        Ok(store.key_hashes(&slots)?.into_iter().zip(slots).collect())
    }

    fn is_stored(&self, part: usize, id: u32) -> bool {
        self.sides[part].stored.has(id)
    }

    fn tables_of(&self, part: usize, pieces: &[&[u32]]) -> Result<Vec<Vec<RecordBatch>>, FlowError> {
        pieces.iter().map(|slots| self.sides[part].tables(slots)).collect()
    }

    fn take_out(&mut self, part: usize, entries: &[(u64, u32)]) -> Result<(), FlowError> {
        let side = &mut self.sides[part];
        entries.iter().for_each(|(_, slot)| side.stored.remove(*slot));
        if side.store.is_retractable() {
            let slots: Vec<u32> = entries.iter().map(|(_, slot)| *slot).collect();
            return Ok(side.store.forget(&slots)?);
        }
        side.store.unlink(entries);
        Ok(())
    }

    fn admit(&mut self, part: usize, tables: &[RecordBatch], stored: bool) -> Result<(), FlowError> {
        let number = u32::try_from(part).map_err(|_| FlowError::Image(format!("a join has no part {part}")))?;
        let image = Image::change(number, Step::Whole, tables.to_vec());
        let slots = self.read(&image, &|_| true)?.put(self)?;
        let side = &mut self.sides[part];
        if stored && side.grows() {
            for slot in slots {
                side.stored.insert(slot);
            }
        }
        Ok(())
    }

    fn untouch(&mut self) {
        self.sides.iter_mut().filter_map(|s| s.preserved.as_mut()).for_each(|p| p.touched.forget());
    }

    fn touch(&mut self, bucket: usize) -> Result<(), FlowError> {
        for Side { store, preserved, .. } in &mut self.sides {
            let Some(preserved) = preserved else { continue };
            for slot in store.bucket(bucket) {
                preserved.touched.mark(slot);
            }
        }
        Ok(())
    }

    fn changed_keys(&self, image: &Image) -> Result<(usize, Vec<u64>), FlowError> {
        let stored = self.read(image, &|_| true)?;
        Ok((stored.side, stored.key_hashes))
    }
}
