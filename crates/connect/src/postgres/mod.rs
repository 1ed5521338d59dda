//! Tables of a PostgreSQL server as a target: rows and mark in one transaction.
//!
//! ```text
//!   BEGIN; SELECT .. FROM regauge_sinks FOR UPDATE   our incarnation? the mark that we build on? else nothing happens
//!   COPY into a stage; DELETE, INSERT .. ON CONFLICT
//!   UPDATE regauge_sinks SET version, epoch; COMMIT
//! ```
//! Guarantee: [`crate::target::Target`]'s. The row lock on the record orders all writers of a sink: a zombie's transaction either commits
//! before the next incarnation is taken, or finds it and does nothing. Rows that somebody else writes into the table are not noticed,
//! except where they stand in the way; a whole (after a restart, for one) puts them right. Cost: what the changes cost, and a whole
//! moves every row once.

pub mod settings;
pub mod sql;
mod tls;

pub use settings::Settings;

use crate::{
    error::Fault,
    protocol::{Mark, Record},
    rows,
    secret::{self, Secrets},
    target::{Cuts, Rows, Target, Write},
};
use arrow::array::{Array, AsArray, RecordBatch};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::SinkExt;
use regauge_plan::functions::cast::text_column;
use regauge_types::{Delta, Env};
use regauge_views::{
    catalog::Sink,
    follow::{Feed, Source},
};
use sql::{Mode, Table};
use std::{sync::Arc, time::Duration};
use tokio_postgres::{Client, Transaction};

/// The connector's name.
pub const CONNECTOR: &str = "postgres";

/// Bytes of COPY that are sent at once.
const PART_BYTES: usize = 64 << 10;

/// Everything that a target of this kind may be cut at, in order.
pub const STEPS: [&str; 10] =
    ["connected", "claiming", "claimed", "begun", "staged", "applied", "recorded", "committing", "committed", "answered"];

/// See the module's header.
pub struct Postgres {
    settings: Settings,
    secrets: Secrets,
    env: Env,
    /// By which the target knows the sink.
    id: String,
    /// For people.
    name: String,
    client: Option<Client>,
    cuts: Arc<dyn Cuts>,
}

/// What the server says, without what we sent.
fn told(error: &tokio_postgres::Error) -> Fault {
    Fault::Refused(match error.as_db_error() {
        Some(db) => {
            let detail = db.detail().map(|d| format!(": {d}")).unwrap_or_default();
            format!("{}{detail} ({})", db.message(), db.code().code())
        }
        None => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(inner) = source {
                text = format!("{text}: {inner}");
                source = inner.source();
            }
            text
        }
    })
}

fn refused(error: tokio_postgres::Error) -> Fault {
    told(&error)
}

fn number(text: i64) -> Result<u64, Fault> {
    u64::try_from(text)
        .map_err(|_| Fault::Hopeless("the record of this sink in the target is damaged: a number is below zero".into()))
}

fn signed(n: u64) -> Result<i64, Fault> {
    i64::try_from(n).map_err(|_| Fault::Hopeless("a number is too large for the target's record".into()))
}

impl Postgres {
    /// Of a sink.
    #[must_use]
    pub fn new(feed: &Feed, sink: &Sink, settings: Settings, cuts: Arc<dyn Cuts>) -> Postgres {
        Postgres {
            settings,
            secrets: Secrets::of(feed, sink),
            env: feed.env().clone(),
            id: feed.name_of(sink),
            name: sink.name.to_string(),
            client: None,
            cuts,
        }
    }

    async fn connect(&self) -> Result<Client, Fault> {
        let Settings { host, port, user, database, .. } = &self.settings;
        let mut config = tokio_postgres::Config::new();
        config.host(host).port(*port).user(user).dbname(database).application_name(format!("regauge sink {}", self.name));
        config.connect_timeout(Duration::from_secs(10)).keepalives_idle(Duration::from_secs(30));
        // A lock that a lost connection of ours holds goes with its transaction.
        config.options("-c lock_timeout=10s -c idle_in_transaction_session_timeout=60s -c timezone=UTC -c datestyle=ISO,MDY -c intervalstyle=postgres");
        let password = self.secrets.resolve("password")?;
        if let Some(password) = &password {
            config.password(password);
        }
        let connected = tls::connect(config, &self.settings, &self.env).await;
        connected.map_err(|fault| secret::hidden(fault, &[password.as_deref()]))
    }

    /// A connection that lives, as far as can be told.
    async fn client(&mut self) -> Result<Client, Fault> {
        match self.client.take() {
            Some(client) if !client.is_closed() => Ok(client),
            _ => self.connect().await,
        }
    }

    /// The record, the row locked; none: there is no row.
    async fn record(&self, txn: &Transaction<'_>, table: &Table) -> Result<Option<(Record, String)>, Fault> {
        let query = format!("SELECT incarnation, version, epoch, target FROM {} WHERE sink = $1 FOR UPDATE", table.record);
        let Some(row) = txn.query_opt(&query, &[&self.id]).await.map_err(refused)? else { return Ok(None) };
        let get = |at: usize| row.try_get::<_, Option<i64>>(at).map_err(refused);
        let incarnation = number(get(0)?.unwrap_or(-1))?;
        let mark = match (get(1)?, get(2)?) {
            (Some(version), Some(epoch)) => {
                let version = u32::try_from(version).map_err(|_| Fault::Hopeless("the target's record is damaged".into()))?;
                Some(Mark { version, epoch: number(epoch)? })
            }
            _ => None,
        };
        Ok(Some((Record { incarnation, mark }, row.try_get(3).map_err(refused)?)))
    }

    async fn asked(&self, client: &mut Client, mine: Option<u64>, source: &Source) -> Result<Record, Fault> {
        let table = Table::new(&self.settings, source);
        let txn = client.transaction().await.map_err(refused)?;
        if mine.is_some() {
            // The lock waits for what a lost connection of ours may still be doing.
            let found = self.record(&txn, &table).await?;
            txn.rollback().await.map_err(refused)?;
            return Ok(found.map(|(record, _)| record).unwrap_or_default());
        }
        // Two sinks that begin at once would both make the record's table, and one of them would fail.
        txn.execute("SELECT pg_advisory_xact_lock(hashtext('regauge_sinks'))", &[]).await.map_err(refused)?;
        txn.batch_execute(&sql::create_record(&table.record)).await.map_err(refused)?;
        let found = self.record(&txn, &table).await?;
        let there = txn.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table.name]).await.map_err(refused)?;
        let there: bool = there.try_get(0).map_err(refused)?;
        let mut mark = found.as_ref().filter(|(_, target)| *target == table.name).and_then(|(record, _)| record.mark);
        if !there {
            mark = None;
            let version =
                txn.query_one("SELECT current_setting('server_version_num')::int8 / 10000", &[]).await.map_err(refused)?;
            let version: i64 = version.try_get(0).map_err(refused)?;
            txn.batch_execute(&table.create(u32::try_from(version).unwrap_or(0))).await.map_err(refused)?;
        } else if mark.is_none() {
            self.take_over(&txn, &table).await?;
        }
        txn.batch_execute(&table.check()).await.map_err(refused)?;
        let incarnation = found.map_or(0, |(record, _)| record.incarnation) + 1;
        let (version, epoch) = (mark.map(|m| i64::from(m.version)), mark.map(|m| signed(m.epoch)).transpose()?);
        let insert = format!(
            "INSERT INTO {} AS r (sink, name, target, incarnation, version, epoch) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (sink) DO \
             UPDATE SET name = $2, target = $3, incarnation = $4, version = $5, epoch = $6",
            table.record
        );
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&self.id, &self.name, &table.name, &signed(incarnation)?, &version, &epoch];
        txn.execute(&insert, &values).await.map_err(refused)?;
        self.cuts.pass("claiming")?;
        txn.commit().await.map_err(refused)?;
        self.cuts.pass("claimed")?;
        Ok(Record { incarnation, mark })
    }

    /// A table that nothing of this sink is in: it must be empty and nobody else's, unless it was said that it goes.
    async fn take_over(&self, txn: &Transaction<'_>, table: &Table) -> Result<(), Fault> {
        let other = format!("SELECT name FROM {} WHERE target = $1 AND sink <> $2 AND epoch IS NOT NULL LIMIT 1", table.record);
        let other = txn.query_opt(&other, &[&table.name, &self.id]).await.map_err(refused)?;
        if self.settings.replace {
            let fence = format!(
                "UPDATE {} SET incarnation = incarnation + 1, version = NULL, epoch = NULL WHERE target = $1 AND sink <> $2",
                table.record
            );
            txn.execute(&fence, &[&table.name, &self.id]).await.map_err(refused)?;
            return Ok(());
        }
        let hint = "give another table, or existing = 'replace' if its rows may go";
        if let Some(other) = other {
            let name: String = other.try_get(0).map_err(refused)?;
            return Err(Fault::Refused(format!("the table {} was written by another sink, {name}; {hint}", table.name)));
        }
        let full = txn.query_opt(&format!("SELECT FROM {} LIMIT 1", table.name), &[]).await.map_err(refused)?;
        match full {
            None => Ok(()),
            Some(_) => Err(Fault::Refused(format!("the table {} holds rows already; {hint}", table.name))),
        }
    }

    async fn written(&self, client: &mut Client, write: &Write<'_>) -> Result<(), Fault> {
        let table = Table::new(&self.settings, write.source);
        let txn = client.transaction().await.map_err(refused)?;
        let record = self.record(&txn, &table).await?.map(|(record, _)| record).unwrap_or_default();
        if record.incarnation > write.mine {
            return Err(Fault::Fenced { found: record.incarnation, mine: write.mine });
        }
        if record.incarnation != write.mine || record.mark != write.from {
            return Err(Fault::Moved);
        }
        self.cuts.pass("begun")?;
        if write.rows.n_rows() > 0 || matches!(write.rows, Rows::Whole(_)) {
            self.apply(&txn, &table, write).await?;
        }
        self.cuts.pass("applied")?;
        let update = format!(
            "UPDATE {} SET version = $3, epoch = $4, n_rows = n_rows + $5, committed_at = now() WHERE sink = $1 AND incarnation = $2",
            table.record
        );
        let n_rows = i64::try_from(write.rows.n_rows()).unwrap_or(i64::MAX);
        let (mine, version, epoch) = (signed(write.mine)?, i64::from(write.to.version), signed(write.to.epoch)?);
        let n = txn.execute(&update, &[&self.id, &mine, &version, &epoch, &n_rows]).await.map_err(refused)?;
        if n != 1 {
            return Err(Fault::Moved);
        }
        self.cuts.pass("recorded")?;
        let commit = txn.commit();
        if let Err(killed) = self.cuts.pass("committing") {
            // The word is out, and nobody will hear the answer.
            let _ = tokio::time::timeout(Duration::from_micros(300), commit).await;
            return Err(killed);
        }
        commit.await.map_err(refused)?;
        self.cuts.pass("committed")
    }

    async fn apply(&self, txn: &Transaction<'_>, table: &Table, write: &Write<'_>) -> Result<(), Fault> {
        let schema = write.source.relation.schema();
        let key = write.source.key.clone().unwrap_or_default();
        if table.mode != Mode::Append {
            txn.batch_execute(&table.stage()).await.map_err(refused)?;
        }
        let whole = matches!(write.rows, Rows::Whole(_));
        if whole && table.mode == Mode::Append {
            txn.batch_execute(&table.empty()).await.map_err(refused)?;
        }
        let mut copy = Copy::begin(txn, table).await?;
        match (write.rows, table.mode) {
            (Rows::Whole(batches), Mode::Keyed) => {
                for batch in batches {
                    copy.rows(&rows::conform(batch, &schema)?, &Extra::Upsert(true)).await?;
                }
            }
            (Rows::Whole(batches), Mode::Append) => {
                for batch in batches {
                    copy.rows(&rows::conform(batch, &schema)?, &Extra::None).await?;
                }
            }
            (Rows::Whole(batches), Mode::Counted) => copy.counted(&rows::counted_whole(batches, &schema)?).await?,
            (Rows::Changes(epochs), Mode::Keyed) => {
                let net = rows::keyed(epochs, &schema, &key)?;
                copy.rows(&net.deletes, &Extra::Upsert(false)).await?;
                copy.rows(&net.upserts, &Extra::Upsert(true)).await?;
            }
            (Rows::Changes(epochs), Mode::Append) => {
                for (_, delta) in epochs {
                    copy.rows(&rows::conform(&delta.rows, &schema)?, &Extra::None).await?;
                }
            }
            (Rows::Changes(epochs), Mode::Counted) => copy.counted(&rows::counted(epochs, &schema)?).await?,
        }
        copy.end().await?;
        self.cuts.pass("staged")?;
        for statement in if whole { table.replace() } else { table.change() } {
            txn.batch_execute(&statement).await.map_err(refused)?;
        }
        if !whole
            && let Some(wrong) = table.wrong()
            && txn.query_opt(&wrong, &[]).await.map_err(refused)?.is_some()
        {
            let what = format!("rows of {} were changed by somebody else: there would be less than none of one", table.name);
            return Err(Fault::Refused(format!("{what}; ALTER SINK .. PAUSE, then DELETE FROM regauge_sinks writes it anew")));
        }
        Ok(())
    }
}

#[async_trait]
impl Target for Postgres {
    async fn ask(&mut self, mine: Option<u64>, source: &Source) -> Result<Record, Fault> {
        // After a fault the connection is not trusted: a new one sees what is committed.
        let mut client = self.client().await?;
        self.cuts.pass("connected")?;
        let record = self.asked(&mut client, mine, source).await?;
        self.client = Some(client);
        self.cuts.pass("answered")?;
        Ok(record)
    }

    async fn write(&mut self, write: Write<'_>) -> Result<(), Fault> {
        let mut client = self.client().await?;
        self.written(&mut client, &write).await?;
        // After a fault it is gone, and with it the transaction.
        self.client = Some(client);
        Ok(())
    }
}

/// What a staged row has besides its columns.
enum Extra {
    None,
    Upsert(bool),
    Counted(Vec<String>, Delta),
}

/// Rows on their way into the stage.
struct Copy {
    sink: std::pin::Pin<Box<tokio_postgres::CopyInSink<Bytes>>>,
    buffer: BytesMut,
}

impl Copy {
    async fn begin(txn: &Transaction<'_>, table: &Table) -> Result<Copy, Fault> {
        let sink = txn.copy_in(table.copy().as_str()).await.map_err(refused)?;
        Ok(Copy { sink: Box::pin(sink), buffer: BytesMut::new() })
    }

    async fn counted(&mut self, delta: &Delta) -> Result<(), Fault> {
        let names = rows::row_names(&delta.rows)?;
        self.rows(&delta.rows, &Extra::Counted(names, delta.clone())).await
    }

    async fn rows(&mut self, rows: &RecordBatch, extra: &Extra) -> Result<(), Fault> {
        let columns = rows.columns().iter().map(text_column).collect::<Result<Vec<_>, _>>();
        let columns = columns.map_err(|e| Fault::Hopeless(format!("a column has no form as text: {e}")))?;
        let mut line = vec![];
        for row in 0..rows.num_rows() {
            line.clear();
            for (at, column) in columns.iter().enumerate() {
                let texts = column.as_string::<i32>();
                sql::copy_field((!texts.is_null(row)).then(|| texts.value(row)), at == 0, &mut line);
            }
            let first = columns.is_empty();
            match extra {
                Extra::None => {}
                Extra::Upsert(comes) => sql::copy_field(Some(if *comes { "t" } else { "f" }), first, &mut line),
                Extra::Counted(names, delta) => {
                    sql::copy_field(names.get(row).map(String::as_str), first, &mut line);
                    sql::copy_field(Some(&delta.diff(row).to_string()), false, &mut line);
                }
            }
            line.push(b'\n');
            self.buffer.extend_from_slice(&line);
            if self.buffer.len() >= PART_BYTES {
                self.send().await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), Fault> {
        self.sink.send(self.buffer.split().freeze()).await.map_err(refused)
    }

    async fn end(mut self) -> Result<(), Fault> {
        if !self.buffer.is_empty() {
            self.send().await?;
        }
        self.sink.as_mut().finish().await.map(|_| ()).map_err(refused)
    }
}
