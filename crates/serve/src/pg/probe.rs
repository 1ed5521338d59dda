//! What a client's bytes are read as, without a session behind them: for the fuzzer, which has no other way to the messages that a client
//! may send after it was let in.

use super::{
    Options, decode,
    frame::{Fault, Wire},
    message::{self, Front},
};
use arrow::datatypes::{DataType, Field, TimeUnit};
use std::{io::Cursor, sync::Arc};

/// Reads messages until the bytes end or no longer are messages, values of Bind as each type; how many there were.
pub async fn messages(bytes: &[u8]) -> usize {
    let mut wire = Wire::new(Box::new(tokio::io::join(Cursor::new(bytes.to_vec()), tokio::io::sink())));
    let statement_bytes = Options::default().statement_bytes;
    let mut n = 0;
    loop {
        match wire.frame(|kind| message::bytes_max(kind, statement_bytes)).await {
            Ok(frame) => {
                n += 1;
                if let Ok(Front::Bind(bind)) = message::read(frame) {
                    bind.values.iter().for_each(values);
                }
            }
            Err(Fault::TooLarge { .. }) => n += 1,
            Err(Fault::Gone | Fault::Violation(_)) => return n,
        }
    }
}

fn values(value: &Option<bytes::Bytes>) {
    for ty in [
        DataType::Boolean,
        DataType::Int32,
        DataType::Int64,
        DataType::Float64,
        DataType::Decimal128(20, 4),
        DataType::Utf8,
        DataType::Binary,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))),
        DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        regauge_types::arrays::nest(DataType::Int32, 2),
    ] {
        for binary in [false, true] {
            let _ = decode::value(&ty, value.as_ref(), binary);
        }
    }
}
