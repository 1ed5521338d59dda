//! Whether an Arrow IPC stream asks for no more than it brings: looked at before Arrow reads it, which takes its lengths for true.
//!
//! ```text
//!   [ffffffff | length | metadata .. | body ..]  ..  [ffffffff | 0]     each length within what follows it; each buffer within its body
//! ```
//! A compressed buffer names its length before compression, and that much is reserved: it is held against what the blocks of its frame can
//! give (zstd: 128 KiB a block at most; LZ4: its frame says how much, and 255 times at most). A few bytes may still give much: what all buffers
//! of a file's block together ask for has a limit as well ([`UNFOLDED_MAX`]), also where a checksum vouches for bytes that lie.
//! Not looked at: whether buffers are as long as their columns; Arrow compares that, or asserts it.

use arrow::ipc::{CompressionType, MessageHeader, RecordBatch, root_as_message};

/// What a block of zstd gives at most (RFC 8878, Block_Maximum_Size).
const ZSTD_BLOCK_MAX: u64 = 128 << 10;
const ZSTD_MAGIC: u32 = 0xfd2f_b528;
/// What a byte of LZ4 gives at most.
const LZ4_RATIO_MAX: u64 = 255;
const LZ4_MAGIC: u32 = 0x184d_2204;
/// What compressed buffers of one block may ask for together, in bytes; with the block itself less than 512 MiB. [`super::block`] does not
/// compress what comes near it.
pub(super) const UNFOLDED_MAX: u64 = 448 << 20;
/// No batch of ours has more rows.
const ROWS_MAX: i64 = 1 << 31;

/// Why not.
pub(super) type Unsound = &'static str;

/// See the module's header. `left`: what may still be asked for.
pub(super) fn check(mut stream: &[u8], left: &mut u64) -> Result<(), Unsound> {
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
            MessageHeader::RecordBatch => {
                batch(&message.header_as_record_batch().ok_or("a batch does not read")?, body, left)?;
            }
            _ => return Err("a message of another kind"),
        }
    }
}

fn batch(batch: &RecordBatch<'_>, body: &[u8], left: &mut u64) -> Result<(), Unsound> {
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
            let (length, reserved) = uncompressed(bytes, compression.codec())?;
            given = given.saturating_add(length);
            *left = left.checked_sub(reserved).ok_or("compressed buffers ask for more than a block may")?;
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

/// The length that a buffer has uncompressed, as it says, if its bytes can give that; what reading it may reserve.
fn uncompressed(bytes: &[u8], codec: CompressionType) -> Result<(u64, u64), Unsound> {
    let (length, frame) = bytes.split_first_chunk::<8>().ok_or("a compressed buffer is too short")?;
    let length = match i64::from_le_bytes(*length) {
        // as it is
        -1 => return Ok((0, 0)),
        // no frame is looked at
        0 => return Ok((0, 0)),
        length => u64::try_from(length).map_err(|_| "the length of a compressed buffer")?,
    };
    let unread = "a compressed buffer does not read";
    let (most, reserved) = match codec {
        // what is beyond the length is not unfolded
        CompressionType::ZSTD => (zstd_most(frame).ok_or(unread)?, length),
        // it is, up to the frame's end, and room for it is doubled
        CompressionType::LZ4_FRAME => {
            let most = lz4_most(frame).ok_or(unread)?;
            (most, most.saturating_mul(2))
        }
        _ => return Err("a compression of another kind"),
    };
    if length <= most { Ok((length, reserved)) } else { Err("a compressed buffer says that it is longer than it can be") }
}

/// The most that a frame of LZ4 can give: that of its blocks.
fn lz4_most(frame: &[u8]) -> Option<u64> {
    let (magic, rest) = frame.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*magic) != LZ4_MAGIC {
        return None;
    }
    let ([flags, size], _) = rest.split_first_chunk::<2>()?;
    let has = |bit: u8| usize::from(flags >> bit & 1);
    let block_max: u64 = match size >> 4 & 7 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return None,
    };
    // flags, sizes, the content's length, a dictionary's number, a check
    let mut rest = rest.get(2 + 8 * has(3) + 4 * has(0) + 1..)?;
    let mut most = 0u64;
    loop {
        let (head, behind) = rest.split_first_chunk::<4>()?;
        let head = u32::from_le_bytes(*head);
        let size = u64::from(head & 0x7fff_ffff);
        if head == 0 {
            // its end, and a check
            return (behind.len() == 4 * has(2)).then_some(most);
        }
        let gives = if head >> 31 == 1 { size } else { size.saturating_mul(LZ4_RATIO_MAX) };
        most = most.saturating_add(gives.min(block_max));
        rest = behind.get(usize::try_from(size).ok()?.checked_add(4 * has(4))?..)?;
    }
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
