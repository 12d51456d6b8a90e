//! Telling what deflate can shrink from what it cannot, so that no time goes into the latter: images, archives, keys and
//! weights are compressed or random already.

/// What is judged at a time. Smaller ones cost more in new starts than they save, larger ones hide too much.
const PIECE: usize = 4 << 10;

/// Words remembered, in the hope to meet them again.
const WORDS: usize = 16 << 10;

/// What deflate would make of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gain {
    /// They get smaller, or may.
    Some,
    /// All byte values are as frequent as in random data, and next to no word comes twice: there is neither a repetition
    /// to refer to nor a value worth a shorter code.
    None,
}

/// The runs of a block: cut where the [`Gain`] changes.
pub(super) struct Runs<'a> {
    rest: &'a [u8],
    /// The gain of the next piece, where it was judged already.
    next: Option<Gain>,
    seen: Seen,
}

impl<'a> Runs<'a> {
    /// Those of `block`.
    pub fn of(block: &'a [u8]) -> Runs<'a> {
        Runs { rest: block, next: None, seen: Seen(vec![0; WORDS]) }
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = (Gain, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut pieces = self.rest.chunks(PIECE);
        let first = pieces.next()?;
        let gain = self.next.take().unwrap_or_else(|| self.seen.judge(first));
        let mut length = first.len();
        for piece in pieces {
            let other = self.seen.judge(piece);
            if other != gain {
                self.next = Some(other);
                break;
            }
            length += piece.len();
        }
        let (run, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some((gain, run))
    }
}

/// The last word of each hash.
struct Seen(Vec<u32>);

impl Seen {
    fn judge(&mut self, piece: &[u8]) -> Gain {
        // A shorter one tells too little, and the start of a new stream costs too much.
        if piece.len() < PIECE || !evenly_spread(piece) || self.repeats(piece) > PIECE / 128 {
            return Gain::Some;
        }
        Gain::None
    }

    /// How many of the four-byte words came before.
    fn repeats(&mut self, piece: &[u8]) -> usize {
        let mut repeats = 0;
        let mut word = 0;
        for byte in piece {
            word = word << 8 | u32::from(*byte);
            let hash = word.wrapping_mul(0x9e37_79b1) as usize >> 18;
            if let Some(last) = self.0.get_mut(hash) {
                repeats += usize::from(*last == word);
                *last = word;
            }
        }
        repeats
    }
}

/// Whether a code for single bytes could save no more than a hundredth: the sum of the squares of the 256 counts, which
/// is the least where all are equal, is near that of random bytes.
fn evenly_spread(piece: &[u8]) -> bool {
    // Four counters side by side do not wait for each other.
    let mut counts = [[0_u32; 256]; 4];
    for quad in piece.chunks(4) {
        for (count, byte) in counts.iter_mut().zip(quad) {
            count[usize::from(*byte)] += 1;
        }
    }
    let [a, b, c, d] = counts;
    let total = |n: usize| u64::from(a[n] + b[n] + c[n] + d[n]);
    let squares: u64 = (0..256).map(|n| total(n) * total(n)).sum();
    let length = piece.len() as u64;
    squares <= length + length * length / 256 * 103 / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes without pattern, the same every time (xorshift).
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn runs(block: &[u8]) -> Vec<(Gain, usize)> {
        Runs::of(block).map(|(gain, run)| (gain, run.len())).collect()
    }

    #[test]
    fn noise_has_no_gain_and_text_has() {
        let text = b"the quick brown fox ".repeat(5000);
        assert_eq!(runs(&noise(1 << 20)), [(Gain::None, 1 << 20)]);
        assert_eq!(runs(&text), [(Gain::Some, text.len())]);
        assert_eq!(runs(&[]), []);
    }

    #[test]
    fn a_block_is_cut_where_the_gain_changes() {
        let block = [vec![7; 2 * PIECE], noise(3 * PIECE), vec![8; PIECE], noise(100)].concat();
        let expected = [(Gain::Some, 2 * PIECE), (Gain::None, 3 * PIECE), (Gain::Some, PIECE + 100)];
        assert_eq!(runs(&block), expected);
        let joined: Vec<u8> = Runs::of(&block).flat_map(|(_, run)| run.to_vec()).collect();
        assert_eq!(joined, block);
    }

    #[test]
    fn even_counts_alone_are_no_noise() {
        let counter: Vec<u8> = (0..=255).cycle().take(4 * PIECE).collect();
        assert_eq!(runs(&counter), [(Gain::Some, 4 * PIECE)]);
        // A repetition further back than a piece, as far as deflate sees.
        let twice = noise(2 * PIECE).repeat(2);
        assert_eq!(runs(&twice), [(Gain::None, 2 * PIECE), (Gain::Some, 2 * PIECE)]);
    }

    #[test]
    fn a_skew_that_is_worth_a_code_is_a_gain() {
        let skewed: Vec<u8> = noise(4 * PIECE).into_iter().map(|byte| byte & 0x7f).collect();
        assert_eq!(runs(&skewed), [(Gain::Some, 4 * PIECE)]);
    }
}
