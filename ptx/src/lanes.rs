//! The 32 lanes of a warp: registers, masks, and how a result goes to the lanes of a mask.

pub(crate) type Lanes32 = [u32; 32];
pub(crate) type Lanes64 = [u64; 32];

/// A 32-bit register of a warp, on its own cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct W(pub Lanes32);

/// A 64-bit register of a warp.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct L(pub Lanes64);

/// The lanes of a mask, in rising order.
pub(crate) fn lanes_of(m: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |i| m >> i & 1 != 0)
}

/// Writes `o` to the lanes of `m`; the others keep their value.
#[inline(always)]
pub(crate) fn put_w(d: &mut W, m: u32, o: &[u32; 32]) {
    if m == !0 {
        d.0 = *o;
    } else {
        for i in 0..32 {
            d.0[i] = if m >> i & 1 != 0 { o[i] } else { d.0[i] };
        }
    }
}

/// [`put_w`] for a 64-bit register.
#[inline(always)]
pub(crate) fn put_l(d: &mut L, m: u32, o: &[u64; 32]) {
    if m == !0 {
        d.0 = *o;
    } else {
        for i in 0..32 {
            d.0[i] = if m >> i & 1 != 0 { o[i] } else { d.0[i] };
        }
    }
}

/// [`put_w`] for a predicate: lane i's value is bit i of `t`.
#[inline(always)]
pub(crate) fn put_p(d: &mut u32, m: u32, t: u32) {
    *d = *d & !m | t & m;
}

/// The bit of each lane. Comparisons read a run-time copy of it (`Exec::bits`): with the constant, LLVM treats each lane
/// separately and the loop is not vectorised.
pub(crate) const BITS: [u32; 32] = {
    let mut b = [0; 32];
    let mut i = 0;
    while i < 32 {
        b[i] = 1 << i;
        i += 1;
    }
    b
};

/// The bits of all lanes together. Halving the array, instead of folding it, lets the compiler use vector registers.
#[inline(always)]
pub(crate) fn union(mut t: [u32; 32]) -> u32 {
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            t[i] |= t[i + half];
        }
    }
    t[0]
}
