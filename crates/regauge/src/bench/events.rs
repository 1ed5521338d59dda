//! Nexmark events as Arrow batches: person, auction and bid as 1 : 3 : 46, 10,000 events a second of event time from 2026-01-01.

use anyhow::Context;
use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use nexmark::{EventGenerator, config::NexmarkConfig, event::Event};
use std::sync::Arc;

/// 2026-01-01 00:00:00 UTC.
const BASE_MS: u64 = 1_767_225_600_000;

/// The streams, in the order of [`Events::next`].
pub const STREAMS: [&str; 3] = ["person", "auction", "bid"];

/// The inputs' definitions.
pub const INPUTS: &str = "
CREATE STREAM person (id BIGINT, name TEXT, email_address TEXT, credit_card TEXT, city TEXT, state TEXT, date_time TIMESTAMP, extra TEXT);
CREATE STREAM auction (id BIGINT, item_name TEXT, description TEXT, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP,
    expires TIMESTAMP, seller BIGINT, category BIGINT, extra TEXT);
CREATE STREAM bid (auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, date_time TIMESTAMP, extra TEXT);
";

/// Events from some number on.
pub struct Events(EventGenerator);

enum Column {
    Int(Int64Builder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
}

struct Rows(Vec<(&'static str, Column)>);

impl Rows {
    fn new(columns: &[(&'static str, char)]) -> Rows {
        let column = |kind: char| match kind {
            'i' => Column::Int(Int64Builder::new()),
            'm' => Column::Time(TimestampMicrosecondBuilder::new()),
            _ => Column::Text(StringBuilder::new()),
        };
        Rows(columns.iter().map(|(name, kind)| (*name, column(*kind))).collect())
    }

    fn row<'a>(&mut self, values: impl IntoIterator<Item = Cell<'a>>) {
        for ((_, column), value) in self.0.iter_mut().zip(values) {
            match (column, value) {
                (Column::Int(b), Cell::Int(v)) => b.append_value(i64::try_from(v).unwrap_or(i64::MAX)),
                (Column::Text(b), Cell::Text(v)) => b.append_value(v),
                (Column::Time(b), Cell::Ms(v)) => b.append_value(i64::try_from(v).unwrap_or(i64::MAX / 1000) * 1000),
                _ => unreachable!("cells are written in the order of the columns"),
            }
        }
    }

    fn finish(self) -> anyhow::Result<RecordBatch> {
        let mut fields = vec![];
        let mut arrays: Vec<ArrayRef> = vec![];
        for (name, column) in self.0 {
            let (ty, array): (DataType, ArrayRef) = match column {
                Column::Int(mut b) => (DataType::Int64, Arc::new(b.finish())),
                Column::Text(mut b) => (DataType::Utf8, Arc::new(b.finish())),
                Column::Time(mut b) => (DataType::Timestamp(TimeUnit::Microsecond, None), Arc::new(b.finish())),
            };
            fields.push(Field::new(name, ty, true));
            arrays.push(array);
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }
}

enum Cell<'a> {
    Int(usize),
    Text(&'a str),
    Ms(u64),
}

fn empty() -> [Rows; 3] {
    [
        Rows::new(&[
            ("id", 'i'),
            ("name", 't'),
            ("email_address", 't'),
            ("credit_card", 't'),
            ("city", 't'),
            ("state", 't'),
            ("date_time", 'm'),
            ("extra", 't'),
        ]),
        Rows::new(&[
            ("id", 'i'),
            ("item_name", 't'),
            ("description", 't'),
            ("initial_bid", 'i'),
            ("reserve", 'i'),
            ("date_time", 'm'),
            ("expires", 'm'),
            ("seller", 'i'),
            ("category", 'i'),
            ("extra", 't'),
        ]),
        Rows::new(&[
            ("auction", 'i'),
            ("bidder", 'i'),
            ("price", 'i'),
            ("channel", 't'),
            ("url", 't'),
            ("date_time", 'm'),
            ("extra", 't'),
        ]),
    ]
}

impl Events {
    /// From event number `first` on.
    pub fn from(first: usize) -> Events {
        let config = NexmarkConfig { base_time: BASE_MS, ..NexmarkConfig::default() };
        Events(EventGenerator::new(config).with_offset(first as u64))
    }

    /// The event time of the next event, as a literal of SQL has it.
    pub fn first_time_text(mut self) -> anyhow::Result<String> {
        let events = self.next(1)?;
        let first = events.iter().find(|rows| rows.num_rows() > 0).context("events without an end")?;
        let time = first.column_by_name("date_time").context("events without a time")?;
        Ok(array_value_to_string(time, 0)?)
    }

    /// The next `n` events, one batch for each of [`STREAMS`].
    pub fn next(&mut self, n: usize) -> anyhow::Result<[RecordBatch; 3]> {
        let mut rows = empty();
        for event in self.0.by_ref().take(n) {
            match event {
                Event::Person(e) => rows[0].row([
                    Cell::Int(e.id),
                    Cell::Text(&e.name),
                    Cell::Text(&e.email_address),
                    Cell::Text(&e.credit_card),
                    Cell::Text(&e.city),
                    Cell::Text(&e.state),
                    Cell::Ms(e.date_time),
                    Cell::Text(&e.extra),
                ]),
                Event::Auction(e) => rows[1].row([
                    Cell::Int(e.id),
                    Cell::Text(&e.item_name),
                    Cell::Text(&e.description),
                    Cell::Int(e.initial_bid),
                    Cell::Int(e.reserve),
                    Cell::Ms(e.date_time),
                    Cell::Ms(e.expires),
                    Cell::Int(e.seller),
                    Cell::Int(e.category),
                    Cell::Text(&e.extra),
                ]),
                Event::Bid(e) => rows[2].row([
                    Cell::Int(e.auction),
                    Cell::Int(e.bidder),
                    Cell::Int(e.price),
                    Cell::Text(&e.channel),
                    Cell::Text(&e.url),
                    Cell::Ms(e.date_time),
                    Cell::Text(&e.extra),
                ]),
            }
        }
        let [person, auction, bid] = rows;
        Ok([person.finish()?, auction.finish()?, bid.finish()?])
    }
}

/// Schemas of [`STREAMS`].
pub fn schemas() -> anyhow::Result<[SchemaRef; 3]> {
    let batches = Events::from(0).next(0).context("schemas of the events")?;
    Ok(batches.map(|b| b.schema()))
}
