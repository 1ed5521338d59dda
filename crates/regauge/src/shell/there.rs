//! Statements of a server, over the Postgres wire. Values come as text.

use super::copying::{Copy, Out, Rows, Way};
use crate::{print, running::Running};
use anyhow::{Context, anyhow};
use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use bytes::Bytes;
use futures::{SinkExt, TryStreamExt, pin_mut};
use std::{io::Write, sync::Arc};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage, SimpleQueryRow};

/// A connection to a server on this machine.
pub struct Connection {
    client: Client,
}

impl Connection {
    pub async fn open(running: &Running) -> anyhow::Result<Connection> {
        let (user, password) = running.login()?;
        let mut config = Config::new();
        let address = match running.pg.ip() {
            ip if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.to_string(),
            ip => ip.to_string(),
        };
        config.host(address).port(running.pg.port()).user(user).password(password).dbname("regauge");
        config.application_name("regauge sql");
        let refused = || format!("cannot connect to the server that holds the data folder pid={} pg={}", running.pid, running.pg);
        let (client, mut connection) = config.connect(NoTls).await.map_err(explain).with_context(refused)?;
        tokio::spawn(async move {
            loop {
                match std::future::poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notice(notice))) => eprintln!("notice: {}", notice.message()),
                    Some(Ok(_)) => {}
                    // What it was doing has got the error.
                    Some(Err(_)) | None => return,
                }
            }
        });
        Ok(Connection { client })
    }

    /// Runs a text and prints each answer as it comes. Only a COPY that is a text of its own can be answered by this client.
    pub async fn execute(&mut self, text: &str, copy: &mut dyn Rows, out: &Out) -> anyhow::Result<()> {
        match Copy::read(text)?.map(|copy| copy.way) {
            Some(Way::In) => self.copy_in(text, copy).await,
            Some(Way::Out) => self.copy_out(text, out).await,
            None => self.simple(text).await,
        }
    }

    async fn copy_in(&mut self, text: &str, copy: &mut dyn Rows) -> anyhow::Result<()> {
        let sink = self.client.copy_in::<_, Bytes>(text).await.map_err(explain)?;
        pin_mut!(sink);
        loop {
            let bytes = copy.next()?;
            if bytes.is_empty() {
                break;
            }
            if sink.send(bytes.into()).await.is_err() {
                // The server has refused a row; what it says about it comes with the end.
                break;
            }
        }
        let n = sink.finish().await.map_err(explain)?;
        println!("COPY {n}");
        Ok(())
    }

    async fn copy_out(&mut self, text: &str, out: &Out) -> anyhow::Result<()> {
        let pieces = self.client.copy_out(text).await.map_err(explain)?;
        pin_mut!(pieces);
        let mut file = out.open()?;
        while let Some(piece) = pieces.try_next().await.map_err(explain)? {
            file.write_all(&piece)?;
        }
        file.flush()?;
        if out.is_file() {
            println!("COPY");
        }
        Ok(())
    }

    async fn simple(&mut self, text: &str) -> anyhow::Result<()> {
        let messages = self.client.simple_query_raw(text).await.map_err(explain)?;
        pin_mut!(messages);
        let live = first_word(text).eq_ignore_ascii_case("subscribe");
        let mut table: Option<Table> = None;
        while let Some(message) = messages.try_next().await.map_err(explain)? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    let names: Vec<String> = columns.iter().map(|c| c.name().to_owned()).collect();
                    if live {
                        print::line(names.iter().map(String::as_str))?;
                    }
                    table = Some(Table { names, rows: vec![] });
                }
                SimpleQueryMessage::Row(row) if live => print::line((0..row.len()).map(|at| row.get(at).unwrap_or("")))?,
                SimpleQueryMessage::Row(row) => {
                    if let Some(table) = &mut table {
                        table.rows.push(row);
                    }
                }
                SimpleQueryMessage::CommandComplete(n) => match table.take() {
                    Some(table) => table.print()?,
                    None => println!("ok{}", if n > 0 { format!(", {n} rows") } else { String::new() }),
                },
                _ => {}
            }
        }
        Ok(())
    }
}

struct Table {
    names: Vec<String>,
    rows: Vec<SimpleQueryRow>,
}

impl Table {
    fn print(self) -> anyhow::Result<()> {
        let fields: Vec<Field> = self.names.iter().map(|n| Field::new(n, DataType::Utf8, true)).collect();
        let column = |at| Arc::new(self.rows.iter().map(|row| row.get(at)).collect::<StringArray>()) as ArrayRef;
        let schema = Arc::new(Schema::new(fields));
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), (0..self.names.len()).map(column).collect(), &options)?;
        print::table(schema, &[batch])
    }
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// Message, code, detail and hint in one text, as for a statement in this process.
fn explain(error: tokio_postgres::Error) -> anyhow::Error {
    let Some(db) = error.as_db_error() else { return anyhow!(error) };
    let part = |name: &str, text: Option<&str>| text.map(|t| format!("\n{name}: {t}")).unwrap_or_default();
    anyhow!("{} ({}){}{}", db.message(), db.code().code(), part("detail", db.detail()), part("hint", db.hint()))
}
