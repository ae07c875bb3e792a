//! The 64 bits of an mbarrier, and of the states that its arrivals return.

/// Most arrivals of a phase, and most bytes that it may wait for.
pub(crate) const MOST: u32 = (1 << 20) - 1;
/// The upper two bits of every mbarrier.
const TAG: u64 = 2;

/// The state of an mbarrier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word {
    /// Arrivals that this phase still waits for.
    pub pending: u32,
    /// Arrivals that the next phase will wait for.
    pub expected: u32,
    /// Bytes of asynchronous copies that this phase still waits for.
    pub bytes: i32,
    pub parity: bool,
}

impl Word {
    pub fn pack(self) -> u64 {
        let bytes = (self.bytes as u64) & 0x1f_ffff;
        TAG << 62 | (self.parity as u64) << 61 | bytes << 40 | (self.expected as u64) << 20 | self.pending as u64
    }

    /// None if the bits are no mbarrier's.
    pub fn unpack(x: u64) -> Option<Word> {
        let w = Word {
            pending: x as u32 & MOST,
            expected: (x >> 20) as u32 & MOST,
            bytes: (((x >> 40) as i32) << 11) >> 11,
            parity: x >> 61 & 1 == 1,
        };
        (x >> 62 == TAG).then_some(w)
    }

    /// Begins the next phase if this one waits for nothing any more.
    pub fn advance(&mut self) -> bool {
        let over = self.pending == 0 && self.bytes == 0;
        if over {
            (self.pending, self.parity) = (self.expected, !self.parity);
        }
        over
    }
}

/// `mbarrier.pending_count` of a state that an arrival returned.
pub(crate) fn pending(state: u64) -> u32 {
    state as u32 & MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_fits_64_bits() {
        for w in [
            Word { pending: 1, expected: MOST, bytes: 0, parity: false },
            Word { pending: MOST, expected: 7, bytes: -5, parity: true },
            Word { pending: 0, expected: 1, bytes: MOST as i32, parity: true },
        ] {
            assert_eq!(Word::unpack(w.pack()), Some(w));
            assert_eq!(pending(w.pack()), w.pending);
        }
        assert_eq!(Word::unpack(0), None);
        let mut w = Word { pending: 0, expected: 3, bytes: 16, parity: false };
        assert!(!w.advance());
        w.bytes = 0;
        assert!(w.advance() && w == Word { pending: 3, expected: 3, bytes: 0, parity: true });
    }
}
