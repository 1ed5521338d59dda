//! Rows from doors other than SQL: one body of records is one commit, with a receipt.
//!
//! Invariant: a producer's append is stored once (I2): a retry is answered with the first receipt, also where the rows would by
//! now collide with the ones that it stored itself, or be refused by rules that came later ([`super::again`]). Columns are found by name; one that the rows do not have takes its DEFAULT,
//! evaluated for each row as INSERT does. Cost: one commit; against a table as often again as a concurrent commit was first.

use super::{Session, again, guard::Guard, intake::Intake, rows, sift::Sifted, txn::Mode};
use crate::{
    catalog::{Relation, rights::Privileges, ty},
    core::NotCommitted,
    error::{Error, Result},
    syntax,
};
use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use regauge_log::{Committed, ProducerSeq};
use regauge_types::Lsn;
use std::{collections::HashMap, sync::Arc};

/// Where rows of one partition went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedRows {
    /// The partition.
    pub partition: u32,
    /// Offset of the first row.
    pub first_offset: u64,
    /// How many follow each other.
    pub n_rows: u64,
}

/// What an append is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The commit; 0 when there were no rows.
    pub lsn: Lsn,
    /// It had been stored before.
    pub duplicate: bool,
    /// Where the rows are.
    pub placed: Vec<PlacedRows>,
    /// Rows that are stored, now or before.
    pub n_rows: usize,
    /// Bad records that are stored beside the stream, now or before.
    pub n_dead: usize,
}

impl Session {
    /// Appends rows to a stream, or inserts them into a table, as one commit of its own.
    pub async fn append_records(&mut self, name: &str, rows: RecordBatch, producer: Option<ProducerSeq>) -> Result<Receipt> {
        let relation = self.takes_records(name)?;
        let on_error = self.on_error(&relation, None)?;
        self.append_intake(name, Intake::of_rows(rows, on_error, "records"), producer).await
    }

    /// The same of records that a door has read.
    pub async fn append_intake(&mut self, name: &str, intake: Intake, producer: Option<ProducerSeq>) -> Result<Receipt> {
        let relation = self.takes_records(name)?;
        if let Some(producer) = &producer
            && let Some(receipt) = self.stored_before(name, producer, Some(intake.n_records)).await?
        {
            return Ok(receipt);
        }
        let rows = self.with_defaults(&relation, intake.rows.clone()).await?;
        let mut txn = self.fresh(Mode::Autocommit, self.seen.lsn);
        let guard = self.guard();
        let sifting = self.sifted(&mut txn, &relation, Intake { rows, ..intake }, producer.as_ref());
        let sifted = guard.run(Box::pin(sifting)).await?;
        let producer = producer.map(|p| ProducerSeq { id: self.producer_name(p.id), ..p });
        let committed = self.append_again(&guard, &relation, &sifted, producer.clone()).await?;
        if let (Some(producer), Some(first)) = (&producer, committed.as_ref().filter(|c| c.duplicate)) {
            // Sent twice side by side.
            again::is_of(&self.core.judged.catalog(), &relation, producer, first)?;
            let receipt = self.receipt(&relation, first);
            self.committed(committed);
            return Ok(receipt);
        }
        let topic = relation.topic();
        let placed = committed.iter().flat_map(|c| &c.placed).filter(|p| Some(p.topic) == topic);
        let placed = placed.map(|p| PlacedRows { partition: p.partition, first_offset: p.first_offset, n_rows: p.n_rows });
        let receipt = Receipt {
            lsn: committed.as_ref().map_or(Lsn::ZERO, |c| c.lsn),
            duplicate: committed.as_ref().is_some_and(|c| c.duplicate),
            placed: placed.collect(),
            n_rows: sifted.rows.num_rows(),
            n_dead: sifted.n_dead(),
        };
        self.committed(committed);
        Ok(receipt)
    }

    /// The relation that records are for, if the session's role may INSERT into it.
    pub fn takes_records(&self, name: &str) -> Result<Arc<Relation>> {
        self.relation_for(name, Privileges::INSERT)
            .map_err(|e| if e.hint.is_some() { e } else { e.hint("SHOW TABLES and SHOW STREAMS list what takes records") })
    }

    /// Writes what was sifted as a transaction of its own, again where another commit was first.
    ///
    /// # Errors
    /// 40001 where the relation itself was changed: its name may mean something else by now.
    pub(super) async fn append_again(
        &mut self,
        guard: &Guard,
        relation: &Arc<Relation>,
        sifted: &Sifted,
        producer: Option<ProducerSeq>,
    ) -> Result<Option<Committed>> {
        let mut at_least = self.seen.lsn;
        for _ in 0..=self.core.config.limits.autocommit_retries {
            let mut txn = self.fresh(Mode::Autocommit, at_least);
            let committed = match self.core.append_sifted(&mut txn, relation, sifted) {
                Ok(()) => self.commit_within(guard, &txn, producer.clone()).await,
                // A key that is taken may be so by a commit that comes to nothing.
                Err(error) => Err(self.durably(guard, &txn, error).await),
            };
            match committed {
                Ok(committed) => return Ok(committed),
                Err(NotCommitted::Conflict { lsn: Lsn::ZERO, error }) | Err(NotCommitted::Failed(error)) => {
                    return Err(self.quiet(error));
                }
                Err(NotCommitted::Conflict { lsn, .. }) => at_least = at_least.max(lsn),
            }
        }
        Err(Error::conflict("could not serialize access: too many concurrent updates"))
    }

    /// Adds the columns that the rows lack and that have a DEFAULT.
    pub(super) async fn with_defaults(&mut self, relation: &Relation, rows: RecordBatch) -> Result<RecordBatch> {
        let missing: Vec<_> = relation
            .columns
            .iter()
            .filter_map(|c| Some((c, c.absent().filter(|_| rows.column_by_name(&c.name).is_none())?)))
            .collect();
        let n = i64::try_from(rows.num_rows()).unwrap_or(i64::MAX);
        if missing.is_empty() || n == 0 {
            return Ok(rows);
        }
        let items: Vec<String> = missing
            .iter()
            .map(|(c, default)| format!("CAST(({default}) AS {}) AS {}", ty::name(&c.ty), syntax::quote(&c.name)))
            .collect();
        let query = syntax::query(&format!("SELECT {} FROM \"__rows\"", items.join(", ")))?;
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let numbers = Arc::new(Int64Array::from_iter_values(0..n));
        let numbered = RecordBatch::try_new(schema, vec![numbers]).map_err(Error::arrow)?;
        let own = HashMap::from([("__rows".to_owned(), rows::provider(&numbered))]);
        let mut txn = self.fresh(Mode::Autocommit, self.seen.lsn);
        let (schema, batches) = self.compute(&mut txn, query, own, None).await?;
        let defaults = rows::one(&schema, &batches)?;
        let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
        fields.extend(schema.fields().iter().cloned());
        let columns = rows.columns().iter().chain(defaults.columns()).cloned().collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(Error::arrow)
    }
}
