//! Changes of an input: bits, bytes, numbers at their limits, pieces taken out, doubled, moved, taken from another input or from words that
//! the target knows.

/// Numbers from a seed (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap_or(0)
    }
}

/// Numbers at which lengths and counts go wrong.
const LIMITS: &[u64] = &[
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x0100_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// An input, changed in some places; never longer than `max`.
pub fn mutate(dice: &mut Dice, input: &[u8], other: &[u8], words: &[&str], max: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 << dice.below(4) {
        once(dice, &mut bytes, other, words);
    }
    bytes.truncate(max);
    bytes
}

fn once(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    let len = bytes.len();
    let at = dice.below(len + 1);
    let piece = |dice: &mut Dice, of: &[u8]| {
        let from = dice.below(of.len() + 1);
        let wide = 1 << dice.below(9);
        let n = dice.below((of.len() - from).min(wide) + 1);
        of[from..from + n].to_vec()
    };
    match dice.below(if words.is_empty() { 11 } else { 15 }) {
        0 | 1 if at < len => bytes[at] ^= 1 << dice.below(8),
        2 if at < len => bytes[at] = dice.next() as u8,
        3 if at < len => bytes[at] = bytes[at].wrapping_add([1, 255, 16, 240][dice.below(4)]),
        4 | 5 => {
            // a number at its limit, or a little off, of any width and order
            let width = [1, 2, 4, 8][dice.below(4)];
            let near = LIMITS[dice.below(LIMITS.len())].wrapping_add(dice.below(5) as u64).wrapping_sub(2);
            let value = if dice.below(2) == 0 { near } else { len as u64 + dice.below(9) as u64 - 4_u64.min(len as u64) };
            let le = value.to_le_bytes();
            let mut number = le[..width].to_vec();
            if dice.below(2) == 0 {
                number.reverse();
            }
            let end = (at + width).min(len);
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        6 => {
            let wide = 1 << dice.below(9);
            let n = dice.below((len - at).min(wide) + 1);
            drop(bytes.drain(at..at + n));
        }
        7 => {
            let own = piece(dice, bytes);
            drop(bytes.splice(at..at, own));
        }
        8 => {
            let own = piece(dice, bytes);
            let end = (at + own.len()).min(len);
            bytes[at..end].copy_from_slice(&own[..end - at]);
        }
        9 => {
            let others = piece(dice, other);
            drop(bytes.splice(at..at, others));
        }
        10 => {
            // the head of one and the tail of the other
            let from = dice.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        11..15 => {
            let word = words[dice.below(words.len())].as_bytes();
            let over = if dice.below(3) == 0 { dice.below((len - at).min(12) + 1) } else { 0 };
            drop(bytes.splice(at..at + over, word.iter().copied()));
        }
        _ => bytes.push(dice.next() as u8),
    }
}
