//! Memory: bytes that know which of them were written, and the global address space.
//!
//! Global addresses are made up: allocations lie 16 MiB apart and no address is used twice, so that a pointer that strays, by
//! a wrong stride or after a free, meets nothing. A kernel sees only the spans that its launch names.

use super::fault::{FaultKind, Place, Raised, raise};

/// Uninitialised memory holds this pattern: a NaN as f32, far out of range as an index.
pub(crate) const POISON: u32 = 0x7fc0_dead;
/// Where global memory begins: above 4 GiB, so that a truncated pointer is never valid.
const BASE: u64 = 0x10_0000_0000;
const GUARD: u64 = 16 << 20;
/// Windows of the generic address space.
pub(crate) const SHARED_WINDOW: u64 = 0x7f01_0000_0000;
pub(crate) const LOCAL_WINDOW: u64 = 0x7f02_0000_0000;
pub(crate) const PARAM_WINDOW: u64 = 0x7f03_0000_0000;
/// Functions have addresses of their own, which hold no memory.
const FUNCTION_WINDOW: u64 = 0x7f04_0000_0000;
pub(crate) const WINDOW: u64 = 1 << 32;

/// The address of a function, by its number in the module.
pub(crate) fn function_address(function: u32) -> u64 {
    FUNCTION_WINDOW + 16 * (function as u64 + 1)
}

/// The number of the function that has this address, if any can.
pub(crate) fn function_at(address: u64) -> Option<u32> {
    let at = address.wrapping_sub(FUNCTION_WINDOW);
    ((16..WINDOW).contains(&at) && at.is_multiple_of(16)).then(|| (at / 16 - 1) as u32)
}

/// The part of the generic address space that an address lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Global,
    Shared,
    Local,
    Param,
}

/// Bytes, and one bit for each that says whether it was ever written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes {
    pub data: Vec<u8>,
    known: Vec<u64>,
    /// How many bytes were not written. While 0, no check reads `known`.
    pub unknown: usize,
}

impl Bytes {
    /// Nothing written.
    pub fn unknown(len: usize) -> Bytes {
        let mut b = Bytes { data: vec![0; len], known: vec![0; len.div_ceil(64)], unknown: len };
        fill(&mut b.data, 0);
        b
    }

    /// Everything written, with zeros.
    pub fn zeros(len: usize) -> Bytes {
        Bytes { data: vec![0; len], known: vec![!0; len.div_ceil(64)], unknown: 0 }
    }

    /// Grows to `len`, the new bytes unknown.
    pub fn grow(&mut self, len: usize) {
        let old = self.data.len();
        if len > old {
            self.data.resize(len, 0);
            self.known.resize(len.div_ceil(64), 0);
            // Bits beyond the old end were set by `zeros`; clear them without counting.
            for i in old..len {
                self.known[i / 64] &= !(1 << (i % 64));
            }
            self.unknown += len - old;
            fill(&mut self.data[old..], old);
        }
    }

    /// Makes all bytes unknown again.
    pub fn reset(&mut self) {
        self.known.fill(0);
        self.unknown = self.data.len();
        fill(&mut self.data, 0);
    }

    #[inline(always)]
    pub fn forget(&mut self, at: usize, len: usize) {
        self.each_word(at, len, |word, bits, unknown| {
            *unknown += (*word & bits).count_ones() as usize;
            *word &= !bits;
        });
        fill(&mut self.data[at..at + len], at);
    }

    #[inline(always)]
    pub fn mark(&mut self, at: usize, len: usize) {
        if self.unknown > 0 {
            self.each_word(at, len, |word, bits, unknown| {
                *unknown -= (!*word & bits).count_ones() as usize;
                *word |= bits;
            });
        }
    }

    /// Marks as unknown without touching the data: what a tainted store leaves.
    #[inline(always)]
    pub fn unmark(&mut self, at: usize, len: usize) {
        self.each_word(at, len, |word, bits, unknown| {
            *unknown += (*word & bits).count_ones() as usize;
            *word &= !bits;
        });
    }

    #[inline(always)]
    pub fn is_known(&self, at: usize, len: usize) -> bool {
        if self.unknown == 0 {
            return true;
        }
        // An aligned access lies within one word.
        if len <= 64 && at % 64 + len <= 64 {
            let bits = (!0u64 >> (64 - len)) << (at % 64);
            return self.known[at / 64] & bits == bits;
        }
        (at..at + len).all(|i| self.known[i / 64] >> (i % 64) & 1 != 0)
    }

    /// A bit for each byte from `at` to the end of its 64: whether it was written.
    #[inline(always)]
    pub fn known_from(&self, at: usize) -> u64 {
        self.known[at / 64] >> (at % 64)
    }

    #[inline(always)]
    fn each_word(&mut self, at: usize, len: usize, f: impl Fn(&mut u64, u64, &mut usize)) {
        // An aligned access lies within one word.
        if at % 64 + len <= 64 && len > 0 {
            return f(&mut self.known[at / 64], (!0u64 >> (64 - len)) << (at % 64), &mut self.unknown);
        }
        let (mut i, end) = (at, at + len);
        while i < end {
            let n = (64 - i % 64).min(end - i);
            let bits = (!0u64 >> (64 - n)) << (i % 64);
            f(&mut self.known[i / 64], bits, &mut self.unknown);
            i += n;
        }
    }

    /// Takes a range over from a copy.
    pub fn take(&mut self, from: &Bytes, at: usize, len: usize) {
        self.data[at..at + len].copy_from_slice(&from.data[at..at + len]);
        if from.is_known(at, len) {
            return self.mark(at, len);
        }
        for i in at..at + len {
            if from.is_known(i, 1) { self.mark(i, 1) } else { self.unmark(i, 1) }
        }
    }

    /// Up to 8 bytes, little-endian.
    #[inline(always)]
    pub fn get(&self, at: usize, len: usize) -> u64 {
        match len {
            4 => u32::from_le_bytes(self.data[at..at + 4].try_into().expect("four bytes")) as u64,
            8 => u64::from_le_bytes(self.data[at..at + 8].try_into().expect("eight bytes")),
            2 => u16::from_le_bytes(self.data[at..at + 2].try_into().expect("two bytes")) as u64,
            _ => self.data[at] as u64,
        }
    }

    /// Writes and marks (or, with `known` false, unmarks) up to 8 bytes.
    #[inline(always)]
    pub fn set(&mut self, at: usize, len: usize, value: u64, known: bool) {
        self.data[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        if known {
            self.mark(at, len);
        } else {
            self.unmark(at, len);
        }
    }
}

fn fill(data: &mut [u8], at: usize) {
    let pattern = POISON.to_le_bytes();
    if at.is_multiple_of(4) && data.len().is_multiple_of(4) {
        data.as_chunks_mut::<4>().0.fill(pattern);
        return;
    }
    for (i, b) in data.iter_mut().enumerate() {
        *b = pattern[(at + i) % 4];
    }
}

/// One allocation.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    pub name: String,
    pub lo: u64,
    pub len: u64,
    pub bytes: Bytes,
    pub freed: bool,
    /// A kernel allocated it.
    pub heap: bool,
}

/// What a launch may touch.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub lo: u64,
    pub hi: u64,
    pub buffer: usize,
    pub write: bool,
    /// For messages: `argument 2`, `variable gvar`.
    pub what: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Global {
    /// Sorted by address.
    pub buffers: Vec<Buffer>,
    next: u64,
    /// What the current launch may touch.
    pub spans: Vec<Span>,
}

/// A checked warp access: every active lane lies in this buffer, at `address − base`.
#[derive(Clone, Copy)]
pub(crate) struct Hit {
    pub buffer: usize,
    pub base: u64,
}

impl Global {
    /// A copy of what the launch may touch; other memory has its place, and no contents.
    pub fn fork(&self) -> Global {
        let copy = |(i, b): (usize, &Buffer)| {
            let named = self.spans.iter().any(|s| s.buffer == i);
            Buffer {
                name: String::new(),
                lo: b.lo,
                len: b.len,
                freed: b.freed,
                heap: b.heap,
                bytes: if named { b.bytes.clone() } else { Bytes::default() },
            }
        };
        Global { buffers: self.buffers.iter().enumerate().map(copy).collect(), next: self.next, spans: self.spans.clone() }
    }

    pub fn new() -> Global {
        Global { buffers: Vec::new(), next: BASE, spans: Vec::new() }
    }

    pub fn alloc(&mut self, name: &str, bytes: Bytes) -> u64 {
        let lo = self.next;
        let len = bytes.data.len() as u64;
        self.next = (lo + len + GUARD).next_multiple_of(GUARD);
        self.buffers.push(Buffer { name: name.to_string(), lo, len, bytes, freed: false, heap: false });
        lo
    }

    /// The last allocation that begins at or below `address`.
    fn below(&self, address: u64) -> Option<usize> {
        self.buffers.partition_point(|b| b.lo <= address).checked_sub(1)
    }

    /// The live allocation that holds the range, as index and offset; else why not.
    pub fn range(&self, address: u64, len: u64) -> Result<(usize, usize), String> {
        let Some(i) = self.below(address) else { return Err(format!("{address:#x} is no address of this machine")) };
        let b = &self.buffers[i];
        let at = address - b.lo;
        if at > b.len {
            return Err(format!("{address:#x} lies in no allocation; {} bytes past the end of `{}`", at - b.len, b.name));
        }
        if b.freed {
            return Err(format!("`{}` was freed", b.name));
        }
        if len > b.len - at {
            return Err(format!("{len} bytes at offset {at} exceed `{}`, which has {} bytes", b.name, b.len));
        }
        Ok((i, at as usize))
    }

    /// Checks one lane's access. `len` is a power of two.
    pub fn locate(&self, address: u64, len: u32, write: bool, lane: u32) -> Raised<(usize, usize)> {
        if address.is_multiple_of(len as u64) {
            let mut inside = self.spans.iter().filter(|s| s.lo <= address && address < s.hi && len as u64 <= s.hi - address);
            if let Some(s) = inside.find(|s| s.write || !write) {
                return Ok((s.buffer, (address - self.buffers[s.buffer].lo) as usize));
            }
        }
        raise(self.explain(address, len, write), lane)
    }

    /// Checks a read of `len` bytes by one lane, unaligned and across spans if need be.
    pub fn locate_bytes(&self, address: u64, len: u32, lane: u32) -> Raised<(usize, usize)> {
        let whole = |s: &&Span| s.lo <= address && address < s.hi && len as u64 <= s.hi - address;
        if let Some(s) = self.spans.iter().find(whole) {
            return Ok((s.buffer, (address - self.buffers[s.buffer].lo) as usize));
        }
        for k in 0..len as u64 {
            self.locate(address + k, 1, false, lane)?;
        }
        self.locate(address, 1, false, lane)
    }

    /// Checks the access of a whole warp at once. None if the lanes lie in different spans or one of them is wrong: the caller
    /// then asks lane by lane.
    #[inline(always)]
    pub fn hit(&self, lo: u64, hi: u64, len: u32, write: bool, hint: &mut u16) -> Option<Hit> {
        let fits = |s: &Span| s.lo <= lo && hi < s.hi && len as u64 <= s.hi - hi && (s.write || !write);
        let span = match self.spans.get(*hint as usize) {
            Some(s) if fits(s) => s,
            _ => {
                let i = self.spans.iter().position(fits)?;
                *hint = i as u16;
                &self.spans[i]
            }
        };
        Some(Hit { buffer: span.buffer, base: self.buffers[span.buffer].lo })
    }

    pub fn space(&self, address: u64) -> Window {
        match address.wrapping_sub(SHARED_WINDOW) / WINDOW {
            0 => Window::Shared,
            n if n == (LOCAL_WINDOW - SHARED_WINDOW) / WINDOW => Window::Local,
            n if n == (PARAM_WINDOW - SHARED_WINDOW) / WINDOW => Window::Param,
            _ => Window::Global,
        }
    }

    /// Why an access failed.
    #[cold]
    pub fn explain(&self, address: u64, len: u32, write: bool) -> FaultKind {
        let at = Place { address, about: self.about(address) };
        if address < 1 << 16 {
            return FaultKind::Null { write, address };
        }
        if let Ok((..)) = self.range(address, 1)
            && !address.is_multiple_of(len as u64)
        {
            return FaultKind::Misaligned { space: "global", bytes: len, at };
        }
        if let Some(i) = self.below(address)
            && address - self.buffers[i].lo < self.buffers[i].len
        {
            if self.buffers[i].freed {
                return FaultKind::UseAfterFree { write, at };
            }
            if write && self.spans.iter().any(|s| s.lo <= address && address < s.hi && len as u64 <= s.hi - address) {
                return FaultKind::ReadOnly { at };
            }
        }
        FaultKind::OutOfBounds { space: "global", write, bytes: len, at }
    }

    /// The address in words: its span, or the nearest one, or its allocation.
    pub fn about(&self, address: u64) -> String {
        if (FUNCTION_WINDOW..FUNCTION_WINDOW + WINDOW).contains(&address) {
            return "among the addresses of functions".into();
        }
        let size = |s: &Span| format!("{} (`{}`, {} bytes)", s.what, self.buffers[s.buffer].name, s.hi - s.lo);
        if let Some(s) = self.spans.iter().find(|s| s.lo <= address && address < s.hi) {
            return format!("offset {} of {}", address - s.lo, size(s));
        }
        let inside = self.below(address).map(|i| &self.buffers[i]).filter(|b| address - b.lo < b.len);
        if let Some(b) = inside
            && !self.spans.iter().any(|s| self.buffers[s.buffer].lo == b.lo)
        {
            let state = if b.freed { "which was freed" } else { "which is no argument of this launch" };
            return format!("offset {} of `{}` ({} bytes), {state}", address - b.lo, b.name, b.len);
        }
        let distance = |s: &&Span| if address < s.lo { s.lo - address } else { address - s.hi };
        match self.spans.iter().min_by_key(distance) {
            Some(s) if address < s.lo => format!("{} bytes before {}", s.lo - address, size(s)),
            Some(s) if distance(&s) == 0 => format!("at the end of {}", size(s)),
            Some(s) => format!("{} bytes past the end of {}", address - s.hi, size(s)),
            None => "the launch names no memory".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_know_what_was_written() {
        let mut b = Bytes::unknown(200);
        assert_eq!((b.unknown, b.get(4, 4)), (200, POISON as u64));
        b.set(60, 8, 7, true);
        assert!(b.is_known(60, 8) && !b.is_known(60, 9) && !b.is_known(59, 1));
        assert_eq!(b.unknown, 192);
        b.unmark(64, 2);
        assert!(b.is_known(60, 4) && !b.is_known(60, 8));
        b.mark(0, 200);
        assert_eq!(b.unknown, 0);
        b.forget(10, 1);
        assert!(b.is_known(0, 10) && !b.is_known(10, 1) && b.unknown == 1);
        b.grow(300);
        assert!(!b.is_known(299, 1) && b.unknown == 101);
    }

    #[test]
    fn bytes_in_spans() {
        let mut g = Global::new();
        let lo = g.alloc("x", Bytes::zeros(64));
        let span = |from, to| Span { lo: lo + from, hi: lo + to, buffer: 0, write: false, what: "argument".into() };
        g.spans = vec![span(0, 24), span(24, 30)];
        let at = |from, len| g.locate_bytes(lo + from, len, 0).ok();
        assert_eq!(at(16, 8), Some((0, 16)));
        // Across the seam of two spans, up to the last byte, and one too many.
        assert_eq!(at(16, 14), Some((0, 16)));
        assert_eq!(at(16, 15), None);
        assert_eq!(at(30, 1), None);
    }
}
