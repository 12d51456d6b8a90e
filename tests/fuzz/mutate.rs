//! Random numbers that can be repeated, and changes of bytes.

/// A generator (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64, n: u64) -> Random {
        let mut random = Random(seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { usize::try_from(self.next() % bound as u64).unwrap() }
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn choose<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Changes some bytes: single ones, runs, cuts, repeats, and pieces that mean something (`words`).
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>, words: &[&[u8]]) {
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(64)).min(bytes.len());
        match random.below(8) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random
                        .choose(&[&0_u8, &b'0', &b'7', &b' ', &0x7f, &0x80, &0xff, &b'/', &b'.'])
                        .to_owned();
                }
            }
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            5 => {
                let word = random.choose(words);
                bytes.splice(at..at, word.iter().copied());
            }
            6 => {
                let word = random.choose(words);
                let end = (at + word.len()).min(bytes.len());
                bytes.splice(at..end, word.iter().copied());
            }
            _ if random.one_in(8) => bytes.truncate(at),
            _ => bytes[at..end].fill(random.choose(&[&0_u8, &b'9', &0xff]).to_owned()),
        }
    }
}
