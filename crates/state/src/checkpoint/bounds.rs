//! Whether an Arrow IPC stream asks for no more than it brings: looked at before Arrow reads it, which takes its lengths for true.
//!
//! ```text
//!   [ffffffff | length | metadata .. | body ..]  ..  [ffffffff | 0]     each length within what follows it; each buffer within its body
//! ```
//! A compressed buffer names its length before compression, and that much is reserved: it is held against what the blocks of its frame can
//! give (zstd: 128 KiB a block at most; LZ4: 255 times). So what is reserved is bounded by what is there, also where a checksum vouches for bytes that lie.
//! Not looked at: whether buffers are as long as their columns; Arrow compares that, or asserts it.

use arrow::ipc::{CompressionType, MessageHeader, RecordBatch, root_as_message};

/// What a block of zstd gives at most (RFC 8878, Block_Maximum_Size).
const ZSTD_BLOCK_MAX: u64 = 128 << 10;
const ZSTD_MAGIC: u32 = 0xfd2f_b528;
/// What a byte of LZ4 gives at most, and what a block begins with at most.
const LZ4_RATIO_MAX: u64 = 255;
/// No batch of ours has more rows.
const ROWS_MAX: i64 = 1 << 31;

/// Why not.
pub(super) type Unsound = &'static str;

/// See the module's header.
pub(super) fn check(mut stream: &[u8]) -> Result<(), Unsound> {
    loop {
        let (length, rest) = stream.split_first_chunk::<4>().ok_or("a message ends early")?;
        let (length, rest) = match u32::from_le_bytes(*length) {
            u32::MAX => rest.split_first_chunk::<4>().ok_or("a message ends early")?,
            // Streams before version 5 have no mark; ours have.
            _ => return Err("a message does not begin as one"),
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| "a message is too long")?;
        if length == 0 {
            return if rest.is_empty() { Ok(()) } else { Err("there are bytes behind the end") };
        }
        let (metadata, rest) = rest.split_at_checked(length).ok_or("metadata end early")?;
        let message = root_as_message(metadata).map_err(|_| "metadata do not read")?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| "the length of a body")?;
        let (body, rest) = rest.split_at_checked(body).ok_or("a body ends early")?;
        stream = rest;
        match message.header_type() {
            MessageHeader::Schema => {}
            MessageHeader::RecordBatch => batch(&message.header_as_record_batch().ok_or("a batch does not read")?, body)?,
            _ => return Err("a message of another kind"),
        }
    }
}

fn batch(batch: &RecordBatch<'_>, body: &[u8]) -> Result<(), Unsound> {
    let is_length = |n: i64| (0..=ROWS_MAX).contains(&n);
    if !is_length(batch.length()) {
        return Err("the number of rows");
    }
    // A list's items are more than its rows, and no more than there are bits.
    let mut given = body.len() as u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let place = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
        let bytes = place.and_then(|(at, n)| body.get(at..at.checked_add(n)?)).ok_or("the place of a buffer")?;
        if let Some(compression) = batch.compression().filter(|_| !bytes.is_empty()) {
            given = given.saturating_add(uncompressed(bytes, compression.codec())?);
        }
    }
    for node in batch.nodes().into_iter().flatten() {
        let fits = node.length() <= batch.length() || u64::try_from(node.length()).is_ok_and(|n| n / 8 <= given);
        if !is_length(node.length()) || !fits || !(0..=node.length()).contains(&node.null_count()) {
            return Err("the length of a column");
        }
    }
    let views = batch.variadicBufferCounts().into_iter().flatten();
    let n_buffers = batch.buffers().map_or(0, |b| b.len()) as i64;
    if views.into_iter().any(|n| !(0..=n_buffers).contains(&n)) {
        return Err("the number of a column's buffers");
    }
    Ok(())
}

/// The length that a buffer has uncompressed, as it says, if its bytes can give that.
fn uncompressed(bytes: &[u8], codec: CompressionType) -> Result<u64, Unsound> {
    let (length, frame) = bytes.split_first_chunk::<8>().ok_or("a compressed buffer is too short")?;
    let length = match i64::from_le_bytes(*length) {
        // as it is
        -1 => return Ok(0),
        length => u64::try_from(length).map_err(|_| "the length of a compressed buffer")?,
    };
    let most = match codec {
        CompressionType::ZSTD => zstd_most(frame).ok_or("a compressed buffer does not read")?,
        CompressionType::LZ4_FRAME => (frame.len() as u64).saturating_mul(LZ4_RATIO_MAX),
        _ => return Err("a compression of another kind"),
    };
    if length <= most { Ok(length) } else { Err("a compressed buffer says that it is longer than it can be") }
}

/// The most that a frame of zstd can give: that of its blocks.
fn zstd_most(frame: &[u8]) -> Option<u64> {
    let (magic, rest) = frame.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*magic) != ZSTD_MAGIC {
        return None;
    }
    let (descriptor, rest) = rest.split_first()?;
    let single = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let mut rest = rest.get(usize::from(!single) + dictionary + content..)?;
    let mut most = 0u64;
    loop {
        let ([a, b, c], behind) = rest.split_first_chunk::<3>()?;
        let header = u32::from_le_bytes([*a, *b, *c, 0]);
        let (is_last, size) = (header & 1 != 0, header >> 3);
        let (n_bytes, gives) = match header >> 1 & 3 {
            0 => (size, u64::from(size)),
            1 => (1, u64::from(size)),
            2 => (size, ZSTD_BLOCK_MAX),
            _ => return None,
        };
        most = most.saturating_add(gives.min(ZSTD_BLOCK_MAX));
        rest = behind.get(usize::try_from(n_bytes).ok()?..)?;
        if is_last {
            return Some(most);
        }
    }
}
