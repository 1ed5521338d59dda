//! A table's section of a checkpoint: its rows, and behind them those that were written since.
//!
//! Invariant: the blocks, taken in in the order in which they stand, are the table at the checkpoint's commit. Cost: the keys that were
//! written since the checkpoint before; now and then, amortised, all rows. A head's lock is held for one page at a time.

use super::{
    is_much, kind, of_table,
    take::{Job, failed},
};
use crate::{
    error::{Error, Result},
    judge::SharedHead,
    table::writes::{Key as RowKey, RowRef, gather},
};
use arrow::{
    array::{ArrayRef, BinaryArray, RecordBatch},
    datatypes::SchemaRef,
};
use regauge_state::checkpoint::{Block, Label, Section, Writer, encode};
use regauge_types::TopicId;
use std::sync::Arc;

/// Rows that are read under one lock.
const PAGE_ROWS: usize = 8192;

/// Writes a section.
pub(super) struct Writing<'a, 'w> {
    pub job: &'a Job,
    pub writer: &'a mut Writer<'w>,
}

const fn label(kind: u8) -> Label {
    Label { kind, node: 0, worker: 0, part: 0, of: 256 }
}

impl Writing<'_, '_> {
    pub fn section(&mut self, topic: TopicId, head: &SharedHead, copies: bool) -> Result<Section> {
        let name = of_table(topic);
        let job = self.job;
        let last = job.last.as_deref();
        let before = last.and_then(|last| Some((last.lsn, last.section(&name)?)));
        // what was written behind the checkpoint before must all be remembered
        let before = before.filter(|(lsn, _)| head.read().tracked().is_some_and(|since| since <= *lsn));
        if head.read().tracked().is_none() {
            head.write().track(job.at, copies);
        }
        let mut blocks = vec![];
        if let Some((_, before)) = before {
            for block in &before.blocks {
                blocks.push(self.writer.keep(block).map_err(failed)?);
            }
            self.changes(head, &mut blocks)?;
            let of = |base: bool| blocks.iter().filter(|b| (b.label.kind == kind::HEAD) == base).map(|b| b.place.len).sum();
            if !is_much(of(true), of(false)) {
                return Ok(Section { name, fingerprint: [0; 32], blocks });
            }
            blocks.clear();
        }
        self.all(head, &mut blocks)?;
        Ok(Section { name, fingerprint: [0; 32], blocks })
    }

    fn all(&mut self, head: &SharedHead, blocks: &mut Vec<Block>) -> Result<()> {
        let mut after: Option<RowKey> = None;
        loop {
            self.job.wanted()?;
            let ((page, last), schema) = {
                let head = head.read();
                (head.page(self.job.at, after.as_ref(), PAGE_ROWS, |_| false), head.schema().clone())
            };
            let Some(last) = last else { return Ok(()) };
            after = Some(last);
            let batch = page.all(&schema)?;
            blocks.push(self.writer.put(label(kind::HEAD), &encode(&[batch]).map_err(failed)?).map_err(failed)?);
        }
    }

    fn changes(&mut self, head: &SharedHead, blocks: &mut Vec<Block>) -> Result<()> {
        let changed = head.read().changed(self.job.at);
        for some in changed.chunks(PAGE_ROWS) {
            self.job.wanted()?;
            let (schema, now): (SchemaRef, Vec<Option<RowRef>>) = {
                let head = head.read();
                (head.schema().clone(), some.iter().map(|(key, _)| head.get(key, self.job.at).cloned()).collect())
            };
            let gone = some.iter().zip(&now).filter(|(_, now)| now.is_none()).map(|(of, _)| of);
            let gone = match gone.clone().any(|(_, before)| before.is_some()) {
                // a row without a key that came and went since is not there to go
                true => {
                    let rows: Vec<RowRef> = gone.filter_map(|(_, before)| before.clone()).collect();
                    let rows = rows.iter().map(|row| under(row, &schema)).collect::<Result<Vec<RowRef>>>()?;
                    gather(&schema, rows.iter().map(Some))?
                }
                false => keys(gone.map(|(key, _)| key))?,
            };
            let come = gather(&schema, now.iter().flatten().map(Some))?;
            let bytes = encode(&[gone, come]).map_err(failed)?;
            blocks.push(self.writer.put(label(kind::HEAD_CHANGED), &bytes).map_err(failed)?);
        }
        Ok(())
    }
}

/// A row under the columns of now.
fn under(row: &RowRef, schema: &SchemaRef) -> Result<RowRef> {
    if row.batch.schema() == *schema {
        return Ok(row.clone());
    }
    let one = row.batch.slice(row.at, 1);
    let batch = crate::table::head::by_ids(&one, schema).map_err(Error::arrow)?;
    Ok(RowRef { batch: Arc::new(batch), at: 0 })
}

fn keys<'a>(keys: impl Iterator<Item = &'a RowKey>) -> Result<RecordBatch> {
    let keys: ArrayRef = Arc::new(BinaryArray::from_iter_values(keys));
    RecordBatch::try_from_iter([(KEY, keys)]).map_err(Error::arrow)
}

/// The one column of keys that are gone; no column of a table has the type and no identity.
pub(super) const KEY: &str = "key";
