//! Whole numbers as the differences of neighbours, each block of them in as many bits as its widest needs: Parquet's DELTA_BINARY_PACKED.
//!
//! ```text
//!   page:   numbers a block, miniblocks a block (4), numbers in all, the first number (zigzag)        all as LEB128
//!   block:  least difference (zigzag LEB128), bits of each miniblock (4 bytes), miniblocks
//! ```
//!
//! A difference is stored above the least of its block; both may wrap around, as they do when they are added again. The library has an encoder
//! of its own, which takes each number through several calls; here a block is a few loops over an array.

use crate::format::wire::put_u64;

/// Miniblocks of a block.
const MINIBLOCKS: usize = 4;

/// Numbers of a miniblock of 64-bit numbers; the lengths of texts, which are 32-bit numbers, have half. It is what the library writes, and so what is read fastest.
pub(super) const MINI_64: usize = 64;
pub(super) const MINI_32: usize = 32;

/// Appends `numbers` in miniblocks of `mini`, which is a multiple of 32 and at most [`MINI_64`].
/// With [`MINI_32`] no two numbers may be further apart than 31 bits: readers add in 32.
pub(super) fn encode(numbers: &[i64], mini: usize, out: &mut Vec<u8>) {
    put_u64(out, (mini * MINIBLOCKS) as u64);
    put_u64(out, MINIBLOCKS as u64);
    put_u64(out, numbers.len() as u64);
    let Some((&first, rest)) = numbers.split_first() else { return put_u64(out, 0) };
    put_u64(out, zigzag(first));
    let mut last = first;
    let mut differences = [0_i64; MINI_64 * MINIBLOCKS];
    for block in rest.chunks(mini * MINIBLOCKS) {
        let differences = &mut differences[..block.len()];
        for (difference, number) in differences.iter_mut().zip(block) {
            *difference = number.wrapping_sub(last);
            last = *number;
        }
        let least = differences.iter().copied().fold(i64::MAX, i64::min);
        put_u64(out, zigzag(least));
        let widths_at = out.len();
        out.extend_from_slice(&[0; MINIBLOCKS]);
        for (i, differences) in differences.chunks_mut(mini).enumerate() {
            let mut all = 0;
            for difference in &mut *differences {
                *difference = difference.wrapping_sub(least);
                all |= difference.cast_unsigned();
            }
            let width = u64::BITS - all.leading_zeros();
            // At most 64.
            out[widths_at + i] = u8::try_from(width).unwrap_or(64);
            let n_bytes = mini * width as usize / 8;
            let end = out.len() + n_bytes;
            pack(differences.iter().map(|d| d.cast_unsigned()), width, out);
            // The last miniblock is as long as the others.
            out.resize(end, 0);
        }
    }
}

/// The lowest `width` bits of each number, which has no higher ones, one behind the other from the lowest bit on; the last byte is filled up with zeros.
pub(super) fn pack(numbers: impl ExactSizeIterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    out.reserve(numbers.len() * width as usize / 8 + 8);
    let (mut word, mut n_bits) = (0_u64, 0_u32);
    for number in numbers {
        word |= number << n_bits;
        n_bits += width;
        if n_bits >= u64::BITS {
            out.extend_from_slice(&word.to_le_bytes());
            n_bits -= u64::BITS;
            // What of the number did not go into the word; a shift by all 64 bits, when none is left, gives none.
            word = number.checked_shr(width - n_bits).unwrap_or(0);
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..n_bits.div_ceil(8) as usize]);
}

/// Small numbers of either sign as small ones.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)]
mod tests {
    use super::*;

    /// As the format's description says it, one bit after the other.
    fn decode(bytes: &[u8]) -> (Vec<i64>, usize) {
        let mut at = 0;
        let mut number = || {
            let (mut value, mut shift) = (0_u64, 0);
            loop {
                let byte = bytes[at];
                at += 1;
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return (value, at);
                }
            }
        };
        let signed = |v: u64| (v >> 1).cast_signed() ^ -(v & 1).cast_signed();
        let (block, minis, n, first) = (number().0 as usize, number().0 as usize, number().0 as usize, number());
        let (mut last, mut at) = (signed(first.0), first.1);
        let mut numbers: Vec<i64> = if n > 0 { vec![last] } else { vec![] };
        while numbers.len() < n {
            let (mut least, mut shift) = (0_u64, 0);
            loop {
                least |= u64::from(bytes[at] & 0x7f) << shift;
                shift += 7;
                at += 1;
                if bytes[at - 1] < 0x80 {
                    break;
                }
            }
            let widths = &bytes[at..at + minis];
            at += minis;
            for width in widths {
                if numbers.len() == n {
                    assert_eq!(*width, 0, "a miniblock without numbers takes no room");
                    continue;
                }
                let mini = block / minis;
                for i in 0..mini {
                    let mut value = 0_u64;
                    for bit in 0..usize::from(*width) {
                        let place = i * usize::from(*width) + bit;
                        value |= u64::from(bytes[at + place / 8] >> (place % 8) & 1) << bit;
                    }
                    if numbers.len() < n {
                        last = last.wrapping_add(signed(least)).wrapping_add(value.cast_signed());
                        numbers.push(last);
                    }
                }
                at += mini * usize::from(*width) / 8;
            }
        }
        (numbers, at)
    }

    #[test]
    fn numbers_come_back_whatever_lies_between_them() {
        let scattered = |n: i64| regauge_types::hash::hash_bytes(&n.to_le_bytes()).cast_signed();
        for n in [0, 1, 2, 32, 33, 64, 65, 128, 129, 256, 257, 258, 1000] {
            for shift in 0..64 {
                let numbers: Vec<i64> = (0..n).map(|i| scattered(i) >> shift).collect();
                let mut bytes = vec![7];
                encode(&numbers, MINI_64, &mut bytes);
                assert_eq!(decode(&bytes[1..]), (numbers, bytes.len() - 1), "n={n} shift={shift}");
            }
            let ends: Vec<i64> = [i64::MIN, i64::MAX, 0, -1].into_iter().cycle().take(n as usize).collect();
            let lengths: Vec<i64> = (0..n).map(|i| scattered(i).rem_euclid(1 << (i % 30))).collect();
            for (numbers, mini) in [(ends, MINI_64), (lengths, MINI_32)] {
                let mut bytes = Vec::new();
                encode(&numbers, mini, &mut bytes);
                assert_eq!(decode(&bytes), (numbers, bytes.len()), "n={n} mini={mini}");
            }
        }
    }

    #[test]
    fn equal_steps_take_no_bits() {
        let mut bytes = Vec::new();
        encode(&(0..100_000).map(|n| n * 3 - 7).collect::<Vec<i64>>(), MINI_64, &mut bytes);
        assert!(bytes.len() < 100_000 / 256 * 6, "{} bytes", bytes.len());
    }
}
