//! Which words of global memory some blocks read and wrote: whether others depend on them, and what is to be taken over.

/// A bit for each word of each buffer that may be written to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Footprint {
    read: Vec<Vec<u64>>,
    written: Vec<Vec<u64>>,
}

impl Footprint {
    /// For buffers of these sizes in bytes; 0: nothing of the buffer is recorded.
    pub fn new(bytes: &[u64]) -> Footprint {
        let none: Vec<Vec<u64>> = bytes.iter().map(|n| vec![0; n.div_ceil(256) as usize]).collect();
        Footprint { read: none.clone(), written: none }
    }

    #[inline(always)]
    pub fn set(&mut self, buffer: usize, read: bool, word: usize) {
        let side = if read { &mut self.read } else { &mut self.written };
        side[buffer][word / 64] |= 1 << (word % 64);
    }

    /// Records what 64 words of a buffer, from number 64·`n` on, have to say.
    pub fn add(&mut self, buffer: usize, read: bool, n: usize, bits: u64) {
        let side = if read { &mut self.read } else { &mut self.written };
        side[buffer][n] |= bits;
    }

    /// Records an access of `bytes` bytes at each of the pieces, offsets from `first`.
    #[inline(always)]
    pub fn touch(&mut self, buffer: usize, read: bool, first: u64, pieces: &[(i32, u32)], bytes: u32) {
        if self.read[buffer].is_empty() {
            return;
        }
        for &(offset, _) in pieces {
            let at = first.wrapping_add_signed(offset as i64);
            for word in at / 4..(at + bytes as u64).div_ceil(4) {
                self.set(buffer, read, word as usize);
            }
        }
    }

    /// Whether one side wrote a word that the other touched.
    pub fn meets(&self, o: &Footprint) -> bool {
        let meet = |a: &Vec<Vec<u64>>, b: &Vec<Vec<u64>>| a.iter().zip(b).any(|(a, b)| a.iter().zip(b).any(|(a, b)| a & b != 0));
        meet(&self.written, &o.written) || meet(&self.written, &o.read) || meet(&self.read, &o.written)
    }

    /// Calls `f` with the buffer, the first byte and the number of bytes of each run of words that were written.
    pub fn runs(&self, mut f: impl FnMut(usize, usize, usize)) {
        for (buffer, bits) in self.written.iter().enumerate() {
            let (mut from, words) = (None, 64 * bits.len());
            let mut i = 0;
            while i <= words {
                // Whole words of the map go by at once where nothing begins or ends.
                if i % 64 == 0 && i < words && bits[i / 64] == if from.is_some() { !0 } else { 0 } {
                    i += 64;
                    continue;
                }
                let set = i < words && bits[i / 64] >> (i % 64) & 1 == 1;
                match from {
                    None if set => from = Some(i),
                    Some(start) if !set => {
                        f(buffer, 4 * start, 4 * (i - start));
                        from = None;
                    }
                    _ => {}
                }
                i += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_meetings() {
        let mut f = Footprint::new(&[4096, 0, 1000]);
        for word in (3..70).chain([72]).chain(128..256).chain([1023]) {
            f.set(0, false, word);
        }
        f.touch(2, false, 996, &[(0, 1), (-4, 2)], 4);
        f.touch(1, false, 0, &[(0, 1)], 4);
        let mut runs = Vec::new();
        f.runs(|b, at, len| runs.push((b, at, len)));
        assert_eq!(runs, [(0, 12, 268), (0, 288, 4), (0, 512, 512), (0, 4092, 4), (2, 992, 8)]);
        let mut g = Footprint::new(&[4096, 0, 1000]);
        g.touch(0, true, 0, &[(0, 1)], 12);
        assert!(!f.meets(&g) && !g.meets(&f));
        g.touch(0, true, 12, &[(0, 1)], 1);
        assert!(f.meets(&g) && g.meets(&f));
    }
}
