//! MD5 (RFC 1321) and the SHA-2 family (FIPS 180-4). Their tables are fractions of roots of primes and of sines, and are computed
//! once, exactly. For the functions of these names in SQL; nothing of our own rests on them.

use std::sync::LazyLock;

use arrow::datatypes::i256;

const PRIMES: usize = 80;

/// The first 64 bits behind the point of the square and of the cube roots of the first 80 primes.
struct Roots {
    square: Vec<u64>,
    cube: Vec<u64>,
}

static ROOTS: LazyLock<Roots> = LazyLock::new(|| {
    let primes = (2u32..).filter(|n| (2..*n).all(|d| n % d != 0)).take(PRIMES);
    let (square, cube) = primes.map(|p| (root(p, 2), root(p, 3))).unzip();
    Roots { square, cube }
});

/// The fraction of the `power`-th root of `n`, cut after 64 bits.
fn root(n: u32, power: usize) -> u64 {
    let times = |x: i256, y: i256| x.wrapping_mul(y);
    let two = i256::from_i128(2);
    let mut target = i256::from_i128(n.into());
    for _ in 0..64 * power {
        target = times(target, two);
    }
    // the greatest number whose power does not pass n * 2^(64 * power)
    let mut found = 0i128;
    for bit in (0..70).rev() {
        let trial = found | 1 << bit;
        let wide = i256::from_i128(trial);
        if (1..power).fold(wide, |product, _| times(product, wide)) <= target {
            found = trial;
        }
    }
    (found.unsigned_abs() & u128::from(u64::MAX)).to_be_bytes()[8..].iter().fold(0, |v, b| v << 8 | u64::from(*b))
}

fn high(v: u64) -> u32 {
    u32::try_from(v >> 32).unwrap_or(0)
}

fn low(v: u64) -> u32 {
    u32::try_from(v & u64::from(u32::MAX)).unwrap_or(0)
}

/// The message, a one bit, zeros, and its length in bits at the end of the last block.
fn padded(message: &[u8], block: usize, length_bytes: usize, little: bool) -> Vec<u8> {
    let mut out = message.to_vec();
    out.push(0x80);
    while !(out.len() + length_bytes).is_multiple_of(block) {
        out.push(0);
    }
    let bits = message.len() as u128 * 8;
    if little {
        out.extend(&bits.to_le_bytes()[..length_bytes]);
    } else {
        out.extend(&bits.to_be_bytes()[16 - length_bytes..]);
    }
    out
}

/// MD5.
pub(super) fn md5(message: &[u8]) -> [u8; 16] {
    const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 2^32 and not negative")]
    static SINES: LazyLock<[u32; 64]> =
        LazyLock::new(|| std::array::from_fn(|i| ((i as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32));
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded(message, 64, 8, true).chunks_exact(64) {
        let word = |i: usize| u32::from_le_bytes([block[4 * i], block[4 * i + 1], block[4 * i + 2], block[4 * i + 3]]);
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64 {
            let (mixed, at) = match i / 16 {
                0 => ((b & c) | (!b & d), i),
                1 => ((d & b) | (!d & c), (5 * i + 1) % 16),
                2 => (b ^ c ^ d, (3 * i + 5) % 16),
                _ => (c ^ (b | !d), (7 * i) % 16),
            };
            let sum = a.wrapping_add(mixed).wrapping_add(SINES[i]).wrapping_add(word(at));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(TURNS[i / 16][i % 4]));
        }
        for (s, v) in state.iter_mut().zip([a, b, c, d]) {
            *s = s.wrapping_add(v);
        }
    }
    let mut out = [0; 16];
    out.chunks_exact_mut(4).zip(state).for_each(|(o, s)| o.copy_from_slice(&s.to_le_bytes()));
    out
}

/// SHA-224 and SHA-256.
pub(super) fn sha256(message: &[u8], bytes: usize) -> Vec<u8> {
    let start = |i: usize| if bytes == 28 { low(ROOTS.square[8 + i]) } else { high(ROOTS.square[i]) };
    let mut state: [u32; 8] = std::array::from_fn(start);
    for block in padded(message, 64, 8, false).chunks_exact(64) {
        let mut w = [0u32; 64];
        for i in 0..64 {
            w[i] = if i < 16 {
                u32::from_be_bytes([block[4 * i], block[4 * i + 1], block[4 * i + 2], block[4 * i + 3]])
            } else {
                let s0 = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ (w[i - 15] >> 3);
                let s1 = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ (w[i - 2] >> 10);
                w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1)
            };
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for (i, word) in w.iter().enumerate() {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let chosen = (e & f) ^ (!e & g);
            let t1 = h.wrapping_add(s1).wrapping_add(chosen).wrapping_add(high(ROOTS.cube[i])).wrapping_add(*word);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (s, v) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *s = s.wrapping_add(v);
        }
    }
    state.iter().flat_map(|s| s.to_be_bytes()).take(bytes).collect()
}

/// SHA-384 and SHA-512.
pub(super) fn sha512(message: &[u8], bytes: usize) -> Vec<u8> {
    let start = |i: usize| ROOTS.square[if bytes == 48 { 8 + i } else { i }];
    let mut state: [u64; 8] = std::array::from_fn(start);
    for block in padded(message, 128, 16, false).chunks_exact(128) {
        let mut w = [0u64; 80];
        for i in 0..80 {
            w[i] = if i < 16 {
                block[8 * i..8 * i + 8].iter().fold(0, |v, b| v << 8 | u64::from(*b))
            } else {
                let s0 = w[i - 15].rotate_right(1) ^ w[i - 15].rotate_right(8) ^ (w[i - 15] >> 7);
                let s1 = w[i - 2].rotate_right(19) ^ w[i - 2].rotate_right(61) ^ (w[i - 2] >> 6);
                w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1)
            };
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for (i, word) in w.iter().enumerate() {
            let s1 = e.rotate_right(14) ^ e.rotate_right(18) ^ e.rotate_right(41);
            let chosen = (e & f) ^ (!e & g);
            let t1 = h.wrapping_add(s1).wrapping_add(chosen).wrapping_add(ROOTS.cube[i]).wrapping_add(*word);
            let s0 = a.rotate_right(28) ^ a.rotate_right(34) ^ a.rotate_right(39);
            let t2 = s0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (s, v) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *s = s.wrapping_add(v);
        }
    }
    state.iter().flat_map(|s| s.to_be_bytes()).take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::{md5, sha256, sha512};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Vectors of RFC 1321 and FIPS 180-4.
    #[test]
    fn digests_are_those_of_the_standards() {
        assert_eq!(hex(&md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex(&md5(b"message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(hex(&sha256(b"abc", 32)), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hex(&sha256(b"abc", 28)), "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
        let long = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        assert_eq!(hex(&sha512(b"abc", 64)), long);
        let shorter = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
        assert_eq!(hex(&sha512(b"abc", 48)), shorter);
    }
}
