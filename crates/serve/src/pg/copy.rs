//! COPY TO STDOUT: rows go out as lines, or as tuples of the binary format, one message each. COPY FROM STDIN: the client's bytes go into the session's [`CopyIn`] until it says that they are all, or that they will not be.
//!
//! Invariant: after an error nothing is read on here; what the client still sends of the COPY is thrown away where it arrives, as
//! in PostgreSQL. Flush and Sync mean nothing while a COPY runs.

use super::{
    back, decode,
    encode::Encoder,
    frame::{Fault, Wire},
    message::{self, Front, violation},
    rows::Ended,
    types::Shape,
};
use futures::StreamExt;
use regauge_views::{COPY_SIGNATURE, CopyIn, CopyOut, Error, Response, Session, error::sqlstate as code};

/// Takes in the rows and writes them; the tag.
pub async fn run(session: &mut Session, wire: &mut Wire, mut copy: Box<CopyIn>, statement_bytes: usize) -> Result<String, Ended> {
    copy.receive_by(decode::received);
    back::copy_in(&mut wire.output, copy.n_columns(), copy.is_binary());
    wire.flush().await?;
    loop {
        let frame = match wire.frame(|kind| message::bytes_max(kind, statement_bytes)).await {
            Ok(frame) => frame,
            Err(Fault::TooLarge { len, .. }) => {
                let message = format!("a message is too long bytes={len}");
                return Err(Error::invalid(code::LIMIT_EXCEEDED, message).hint("send the rows in smaller pieces").into());
            }
            Err(_) => return Err(Ended::Gone),
        };
        match message::read(frame)? {
            Front::CopyData(bytes) => copy.push(&bytes)?,
            Front::CopyDone => {
                return match session.finish_copy(*copy).await? {
                    Response::Command { tag, notices } => {
                        notices.iter().for_each(|n| back::said(&mut wire.output, n));
                        Ok(tag)
                    }
                    _ => Err(Error::internal("COPY answered with something else than a tag").into()),
                };
            }
            Front::CopyFail(why) => {
                return Err(Error::invalid(code::QUERY_CANCELED, format!("COPY from stdin failed: {why}")).into());
            }
            Front::Sync | Front::Flush => {}
            Front::Terminate => return Err(Ended::Gone),
            _ => return Err(violation("unexpected message type during COPY from stdin").into()),
        }
    }
}

/// Sends rows; the tag.
pub async fn send(wire: &mut Wire, mut copy: Box<CopyOut>) -> Result<String, Ended> {
    if copy.form.binary {
        return send_tuples(wire, copy).await;
    }
    back::copy_out(&mut wire.output, copy.schema.fields().len(), false);
    if let Some(header) = copy.header() {
        back::copy_data(&mut wire.output, &header);
    }
    let mut n_rows = 0usize;
    while let Some(batch) = copy.stream.next().await {
        for line in copy.lines(&batch?)? {
            back::copy_data(&mut wire.output, &line);
            n_rows += 1;
            wire.relieve().await?;
        }
    }
    back::bare(&mut wire.output, b'c');
    Ok(format!("COPY {n_rows}"))
}

/// The head stands in the first message with the first row, or with the end where there is none: psycopg looks for it there.
async fn send_tuples(wire: &mut Wire, mut copy: Box<CopyOut>) -> Result<String, Ended> {
    let mut shapes = Shape::of(&copy.schema);
    shapes.iter_mut().for_each(|shape| shape.binary = true);
    back::copy_out(&mut wire.output, shapes.len(), true);
    // No flags, and nothing more in the head.
    let mut before = [&COPY_SIGNATURE[..], &[0; 8]].concat();
    let mut n_rows = 0usize;
    while let Some(batch) = copy.stream.next().await {
        let mut encoder = Encoder::new(&batch?, &shapes, copy.zone)?;
        for row in 0..encoder.n_rows() {
            encoder.tuple(&before, row, &mut wire.output)?;
            before.clear();
            n_rows += 1;
            wire.relieve().await?;
        }
    }
    before.extend((-1i16).to_be_bytes());
    back::copy_data(&mut wire.output, &before);
    back::bare(&mut wire.output, b'c');
    Ok(format!("COPY {n_rows}"))
}
