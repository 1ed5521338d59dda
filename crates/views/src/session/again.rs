//! A producer's append that came before: it is answered as it was stored, whatever holds now.
//!
//! The log knows a repetition only where it would order it. By then the records have been read and judged by the columns, rules and keys of
//! now, and may be refused though they are stored. So who has a sequence asks first; the log asks again when it orders, for those that come side by
//! side. Invariant: rights are judged before anything is said; a sequence that stands for another relation's records is an error, never
//! an answer (I2). What is said of a repetition comes from its receipt: names are trusted, contents are not compared. Cost: a look under the log's lock.

use super::{Session, append::PlacedRows, append::Receipt, txn::Mode};
use crate::{
    catalog::{Catalog, Kind, Relation, dead},
    error::{Error, Result, sqlstate as code},
    response::Response,
};
use regauge_log::{Committed, ProducerSeq, Skip};
use regauge_plan::parse::Statement;
use regauge_types::{CATALOG_TOPIC, ErrorKind, TopicId};

/// What a receipt says of a relation.
struct Stored {
    n_rows: u64,
    n_dead: u64,
    placed: Vec<PlacedRows>,
}

impl Session {
    /// What a producer's append into a relation was answered with, if it came before; counts that it came again. `n_records`: how many came
    /// now, where that is known. The session must be one that may INSERT there.
    ///
    /// # Errors
    /// 55P02 when the sequence stands for records of another relation, and what the log says of a producer that may not send it.
    pub async fn stored_before(&mut self, name: &str, producer: &ProducerSeq, n_records: Option<u64>) -> Result<Option<Receipt>> {
        let relation = self.takes_records(name)?;
        let producer = ProducerSeq { id: self.producer_name(producer.id.clone()), ..producer.clone() };
        let Some(committed) = self.repeated(&relation, producer, n_records).await? else { return Ok(None) };
        let receipt = self.receipt(&relation, &committed);
        self.committed(Some(committed));
        Ok(Some(receipt))
    }

    /// The same of INSERT .. WITH SEQUENCE. One with RETURNING is not among them: its rows are those that it computes.
    pub(super) async fn inserted_before(&mut self, statement: &Statement) -> Result<Option<Response>> {
        let Statement::Insert(insert) = statement else { return Ok(None) };
        let Some(producer) = self.producer(statement)?.filter(|_| insert.returning.is_empty()) else { return Ok(None) };
        let txn = self.fresh(Mode::Autocommit, self.seen.lsn);
        if self.reads_only(&txn) {
            return Ok(None);
        }
        self.judge(Some(&txn), statement)?;
        let relation = self.target(&txn, &insert.table)?;
        if !matches!(relation.kind, Kind::Stream { .. }) {
            return Ok(None);
        }
        let Some(committed) = self.repeated(&relation, producer, None).await? else { return Ok(None) };
        let n_rows = self.receipt(&relation, &committed).n_rows;
        self.committed(Some(committed));
        Ok(Some(Response::command(format!("INSERT 0 {n_rows}"))))
    }

    async fn repeated(&self, relation: &Relation, producer: ProducerSeq, n_records: Option<u64>) -> Result<Option<Committed>> {
        let Some(topic) = relation.topic() else { return Ok(None) };
        let (log, asked) = (self.core.log.clone(), producer.clone());
        let found = tokio::task::spawn_blocking(move || log.find(&asked)).await;
        let Some(committed) = found.map_err(|_| Error::internal("looking for a sequence panicked"))?.map_err(Error::from_log)?
        else {
            return Ok(None);
        };
        let catalog = self.core.judged.catalog();
        is_of(&catalog, relation, &producer, &committed)?;
        let stored = stored(&catalog, relation, &committed);
        let n_rows = n_records.unwrap_or(stored.n_rows + stored.n_dead);
        if n_rows == 0 {
            return Ok(Some(committed));
        }
        let log = self.core.log.clone();
        let skipped = tokio::task::spawn_blocking(move || log.skip(&producer, &[Skip { topic, n_rows }])).await;
        skipped.map_err(|_| Error::internal("counting a repetition panicked"))?.map_err(Error::from_log)
    }

    /// What a repetition is answered with.
    pub(super) fn receipt(&self, relation: &Relation, committed: &Committed) -> Receipt {
        let Stored { n_rows, n_dead, placed } = stored(&self.core.judged.catalog(), relation, committed);
        let rows = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Receipt { lsn: committed.lsn, duplicate: committed.duplicate, placed, n_rows: rows(n_rows), n_dead: rows(n_dead) }
    }
}

fn dead_of(catalog: &Catalog, relation: &Relation) -> Option<TopicId> {
    dead::beside(catalog, relation).and_then(|dead| dead.topic())
}

/// Whether a receipt is one of records for a relation; one without records is any relation's.
pub(super) fn is_of(catalog: &Catalog, relation: &Relation, producer: &ProducerSeq, committed: &Committed) -> Result<()> {
    let own = [relation.topic(), dead_of(catalog, relation), Some(CATALOG_TOPIC)];
    if committed.placed.iter().all(|placed| own.contains(&Some(placed.topic))) {
        return Ok(());
    }
    let message = format!("sequence {} of this producer stands for records of another relation", producer.sequence);
    Err(Error::new(ErrorKind::Conflict, code::CANT_CHANGE_NOW, message)
        .hint("one sequence is one append, whatever it goes to: send this one under the next sequence"))
}

fn stored(catalog: &Catalog, relation: &Relation, committed: &Committed) -> Stored {
    let of = |topic: Option<TopicId>| committed.placed.iter().filter(move |placed| topic == Some(placed.topic));
    let rows = |topic: Option<TopicId>| of(topic).map(|placed| placed.n_rows).sum();
    let placed = of(relation.topic());
    let placed = placed.map(|p| PlacedRows { partition: p.partition, first_offset: p.first_offset, n_rows: p.n_rows }).collect();
    let dead = dead_of(catalog, relation);
    Stored { n_rows: rows(relation.topic()), n_dead: if dead.is_some() { rows(dead) } else { 0 }, placed }
}
