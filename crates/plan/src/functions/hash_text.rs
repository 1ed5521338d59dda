//! `hashtext` and `hashtextextended`: the numbers that PostgreSQL's hash indexes have for texts, which programs take as the numbers of
//! advisory locks. Not documented there, and the same in every release since 9.0, so that programs of several databases agree on a lock.
//!
//! The hash is Bob Jenkins' lookup3 (2006, in the public domain; burtleburtle.net/bob/hash/doobs.html) with PostgreSQL's start value, its words
//! read as little-endian ones read them.

use arrow::datatypes::{Int32Type, Int64Type};

use super::forms::{K, builtin};

builtin!(HASHTEXT, "hashtext", [], &[(&[K::Text], K::Int)], true, |a| {
    let (texts, s) = a.texts(0)?;
    a.rows::<Int32Type>(|i| Ok(hash(texts.value(i * s).as_bytes(), 0).1.cast_signed()))
});
builtin!(HASHTEXTEXTENDED, "hashtextextended", [], &[(&[K::Text, K::Big], K::Big)], true, |a| {
    let ((texts, s), (seeds, ss)) = (a.texts(0)?, a.lanes::<Int64Type>(1)?);
    a.rows::<Int64Type>(|i| {
        let (high, low) = hash(texts.value(i * s).as_bytes(), seeds[i * ss].cast_unsigned());
        Ok(((u64::from(high) << 32) | u64::from(low)).cast_signed())
    })
});

/// Two words of a hash, the second of which is the shorter hash.
fn hash(bytes: &[u8], seed: u64) -> (u32, u32) {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let start = 0x9e37_79b9_u32.wrapping_add(len).wrapping_add(3_923_095);
    let (mut a, mut b, mut c) = (start, start, start);
    let [high, low] = [seed >> 32, seed & 0xffff_ffff].map(|half| u32::try_from(half).unwrap_or(0));
    if seed != 0 {
        (a, b) = (a.wrapping_add(high), b.wrapping_add(low));
        (a, b, c) = mixed(a, b, c);
    }
    let (wholes, rest) = bytes.as_chunks::<12>();
    for whole in wholes {
        let [x, y, z] = words(whole);
        (a, b, c) = mixed(a.wrapping_add(x), b.wrapping_add(y), c.wrapping_add(z));
    }
    let mut last = [0; 12];
    last[..rest.len()].copy_from_slice(rest);
    let [x, y, z] = words(&last);
    // The third word leaves its lowest byte to the length.
    (a, b, c) = (a.wrapping_add(x), b.wrapping_add(y), c.wrapping_add(z << 8));
    for (n, m, k) in [(14, 11, 25), (16, 4, 14)] {
        c = (c ^ b).wrapping_sub(b.rotate_left(n));
        a = (a ^ c).wrapping_sub(c.rotate_left(m));
        b = (b ^ a).wrapping_sub(a.rotate_left(k));
    }
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    (b, c)
}

fn words(bytes: &[u8; 12]) -> [u32; 3] {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4), word(8)]
}

fn mixed(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for (n, m, k) in [(4, 6, 8), (16, 19, 4)] {
        a = a.wrapping_sub(c) ^ c.rotate_left(n);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(m);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(k);
        b = b.wrapping_add(a);
    }
    (a, b, c)
}
