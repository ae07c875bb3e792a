//! The run loop: one group of lanes through its micro-ops, until it blocks, splits, returns or meets other lanes.

use super::alu::*;
use super::decode::Program;
use super::fault::{FaultKind, Raised, raise};
use super::mem::{Bytes, Global};
use super::num::approx::Approx;
use super::num::mma::Tensor;
use super::observe::Observer;
use super::op::{Bank, Code, Extra, Num, Op, cold_table, hot_table};
use super::simd::Level;
use super::state::{Barrier, Frame, Group, L, Regs, Shape, State, W, Warp};

/// Everything that a running block may touch besides its warps.
pub(crate) struct Exec<'a> {
    pub program: &'a Program,
    pub global: &'a mut Global,
    pub shape: Shape,
    pub shared: Bytes,
    pub barriers: [Barrier; 16],
    /// Threads of the block that have not exited.
    pub live: u32,
    pub initcheck: bool,
    pub tf32check: bool,
    pub late_copies: bool,
    pub approx: Approx,
    pub tensor: Tensor,
    pub counters: bool,
    /// Executions of every op, and the lanes that took part.
    pub tally: Vec<[u64; 2]>,
    pub executed: u64,
    pub budget: u64,
    /// Which span a memory instruction touched last.
    pub hints: Vec<u16>,
    pub watch: Option<Box<super::watch::Watch>>,
    pub observer: Option<&'a mut dyn Observer>,
    /// Memory instructions until the next pre-emption; 0: never.
    pub preempt: Option<super::schedule::Preempt>,
    pub level: Level,
    /// [`BITS`], where the compiler does not see what they are.
    pub bits: [u32; 32],
}

/// What a special op did with the group.
pub(crate) enum Flow {
    Next,
    /// The group was put back (or has ended).
    Leave,
}

/// Instructions that a warp may run while others wait: long enough to be cheap, short enough that spinning ends.
const SLICE: u64 = 1 << 18;
/// The same for a group of a warp whose other groups could run.
const GROUP_SLICE: u64 = 1 << 12;

impl Exec<'_> {
    /// Runs a warp until all its groups wait or are gone, or its slice is over.
    pub fn warp(&mut self, w: &mut Warp) -> Raised {
        let start = self.executed;
        loop {
            self.wake(w);
            let Some(i) = pick(w) else { return Ok(()) };
            let group = w.groups.swap_remove(i);
            let level = self.level;
            level.run(self, w, group)?;
            if self.executed - start > SLICE || self.preempt.as_mut().is_some_and(|p| p.take()) {
                return Ok(());
            }
        }
    }

    /// Groups whose barrier phase is over go on.
    fn wake(&mut self, w: &mut Warp) {
        for g in &mut w.groups {
            if let State::Barrier { id, phase } = g.state
                && self.barriers[id as usize].phase != phase
            {
                let result = self.barriers[id as usize].result;
                let op = &self.program.ops[g.pc as usize];
                super::sync::deliver(op, &mut w.frames[g.frame as usize].regs, g.mask, result);
                g.state = State::Ready;
                g.pc += 1;
            }
        }
    }
}

/// Merges groups that stand at the same place, and chooses the next one: the deepest call first, then the lowest address, which
/// lets lanes meet again where the compiler laid out the join.
fn pick(w: &mut Warp) -> Option<usize> {
    if w.groups.len() > 1 {
        let mut i = 0;
        while i < w.groups.len() {
            let mut k = i + 1;
            while k < w.groups.len() {
                let (a, b) = (w.groups[i], w.groups[k]);
                let barrier = |s| matches!(s, State::Barrier { .. });
                if (a.frame, a.pc) == (b.frame, b.pc) && !barrier(a.state) && !barrier(b.state) {
                    w.groups[i].mask |= b.mask;
                    w.groups[i].turn = a.turn.min(b.turn);
                    // Whoever waited for more lanes looks again.
                    w.groups[i].state = State::Ready;
                    w.groups.swap_remove(k);
                } else {
                    k += 1;
                }
            }
            i += 1;
        }
    }
    let frames = &w.frames;
    let ready = w.groups.iter().enumerate().filter(|(_, g)| g.state == State::Ready);
    // A group that ran its slice while others could run lets each of them run once.
    let starved = w.turn;
    ready.min_by_key(|(_, g)| (g.turn >= starved && starved > 0, !frames[g.frame as usize].depth, g.pc)).map(|(i, _)| i)
}

/// `d = f(sources)` over 32 lanes, by shape; lanes outside the mask keep their value. Sources are copied first: then the compiler
/// sees that nothing overlaps, and keeps everything in vector registers.
macro_rules! lanes {
    (w_w $r:ident $op:ident $m:ident |$a:ident| $e:expr) => {
        lanes!(@ w $r $op $m [x w a $a] $e)
    };
    (w_ww $r:ident $op:ident $m:ident |$a:ident, $b:ident| $e:expr) => {
        lanes!(@ w $r $op $m [x w a $a, y w b $b] $e)
    };
    (w_www $r:ident $op:ident $m:ident |$a:ident, $b:ident, $c:ident| $e:expr) => {
        lanes!(@ w $r $op $m [x w a $a, y w b $b, z w c $c] $e)
    };
    (w_l $r:ident $op:ident $m:ident |$a:ident| $e:expr) => {
        lanes!(@ w $r $op $m [x l a $a] $e)
    };
    (l_l $r:ident $op:ident $m:ident |$a:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x l a $a] $e)
    };
    (l_ll $r:ident $op:ident $m:ident |$a:ident, $b:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x l a $a, y l b $b] $e)
    };
    (l_lll $r:ident $op:ident $m:ident |$a:ident, $b:ident, $c:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x l a $a, y l b $b, z l c $c] $e)
    };
    (l_lw $r:ident $op:ident $m:ident |$a:ident, $b:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x l a $a, y w b $b] $e)
    };
    (l_w $r:ident $op:ident $m:ident |$a:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x w a $a] $e)
    };
    (l_ww $r:ident $op:ident $m:ident |$a:ident, $b:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x w a $a, y w b $b] $e)
    };
    (l_wwl $r:ident $op:ident $m:ident |$a:ident, $b:ident, $c:ident| $e:expr) => {
        lanes!(@ l $r $op $m [x w a $a, y w b $b, z l c $c] $e)
    };
    // Bank of the result; for each source the name of its copy, its bank, the field of the op, the variable of the expression.
    (@ $d:ident $r:ident $op:ident $m:ident [$($x:ident $bank:ident $field:ident $a:ident),+] $e:expr) => {{
        $(let $x = $r.$bank[$op.$field as usize].0;)+
        let d = &mut $r.$d[$op.d as usize].0;
        if $m == !0 {
            for i in 0..32 {
                $(let $a = $x[i];)+
                d[i] = $e;
            }
        } else {
            for i in 0..32 {
                $(let $a = $x[i];)+
                d[i] = if $m >> i & 1 != 0 { $e } else { d[i] };
            }
        }
    }};
}

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

/// The bit of each lane. Comparisons select from a copy of it in memory: as constants, each lane's bit would be made its own way,
/// and the compiler would not see that all lanes do alike.
pub(crate) const BITS: [u32; 32] = {
    let mut b = [0; 32];
    let mut i = 0;
    while i < 32 {
        b[i] = 1 << i;
        i += 1;
    }
    b
};

/// All bits that any lane has.
#[inline(always)]
pub(crate) fn union(mut t: [u32; 32]) -> u32 {
    for half in [16, 8, 4, 2, 1] {
        for i in 0..half {
            t[i] |= t[i + half];
        }
    }
    t[0]
}

/// A comparison over 32 lanes, as a mask. The relation is chosen outside the loop.
macro_rules! relation {
    ($bits:ident $x:expr, |$i:ident| $a:expr, $b:expr) => {{
        macro_rules! each {
            (|$p:ident, $q:ident| $e:expr) => {{
                let mut t = [0; 32];
                for $i in 0..32 {
                    let ($p, $q) = ($a, $b);
                    t[$i] = if $e { $bits[$i] } else { 0 };
                }
                union(t)
            }};
        }
        match $x {
            0 => each!(|p, q| p == q),
            1 => each!(|p, q| p != q),
            2 => each!(|p, q| p < q),
            3 => each!(|p, q| p <= q),
            4 => each!(|p, q| p > q),
            _ => each!(|p, q| p >= q),
        }
    }};
}

/// The same for floats: `ne` is false for NaN, and from 6 on come the relations that are true for it, `num` and `nan`.
macro_rules! float_relation {
    ($bits:ident $x:expr, |$i:ident| $a:expr, $b:expr) => {{
        let mut nan = 0u32;
        if $x == 1 || $x >= 6 {
            let mut t = [0; 32];
            for $i in 0..32 {
                let (p, q) = ($a, $b);
                t[$i] = if p.is_nan() || q.is_nan() { $bits[$i] } else { 0 };
            }
            nan = union(t);
        }
        match $x {
            1 => relation!($bits 1, |$i| $a, $b) & !nan,
            0..=5 => relation!($bits $x, |$i| $a, $b),
            12 => !nan,
            13 => nan,
            x => relation!($bits x - 6, |$i| $a, $b) | nan,
        }
    }};
}

/// Registers as slices, so that the compiler keeps at hand where they lie.
struct Banks<'a> {
    w: &'a mut [W],
    l: &'a mut [L],
    p: &'a mut [u32],
}

/// A stretch of plain arithmetic; the tally is empty if nobody counts.
#[inline(always)]
fn arithmetic(ops: &[Op], alike: &[u16], tally: &mut [[u64; 2]], regs: &mut Regs, active: u32, bits: &[u32; 32]) {
    let r = Banks { w: &mut regs.w, l: &mut regs.l, p: &mut regs.p };
    let mut rest = ops;
    while let Some(op) = rest.first() {
        let at = ops.len() - rest.len();
        let m = active & (r.p[op.pred as usize] ^ op.neg);
        let these;
        (these, rest) = rest.split_at((alike[at] as usize).min(rest.len()));
        for [warps, lanes] in tally.iter_mut().skip(at).take(these.len()) {
            *warps += 1;
            *lanes += m.count_ones() as u64;
        }
        macro_rules! dispatch {
            ($($shape:ident { $($name:ident |$($v:ident),*| $e:expr;)* })*) => {
                match op.code {
                    $($(Code::$name => for op in these { lanes!($shape r op m |$($v),*| $e) },)*)*
                    Code::Selp32 => {
                        let (a, b, p) = (r.w[op.a as usize].0, r.w[op.b as usize].0, r.p[op.c as usize]);
                        let d = &mut r.w[op.d as usize].0;
                        for i in 0..32 {
                            let v = if p >> i & 1 != 0 { a[i] } else { b[i] };
                            d[i] = if m >> i & 1 != 0 { v } else { d[i] };
                        }
                    }
                    Code::SetpS32 => {
                        let (a, b) = (&r.w[op.a as usize].0, &r.w[op.b as usize].0);
                        let t = relation!(bits op.x, |i| a[i] as i32, b[i] as i32);
                        put_p(&mut r.p[op.d as usize], m, t);
                    }
                    Code::SetpU32 => {
                        let (a, b) = (&r.w[op.a as usize].0, &r.w[op.b as usize].0);
                        let t = relation!(bits op.x, |i| a[i], b[i]);
                        put_p(&mut r.p[op.d as usize], m, t);
                    }
                    Code::SetpF => {
                        let (a, b) = (&r.w[op.a as usize].0, &r.w[op.b as usize].0);
                        let t = float_relation!(bits op.x, |i| f(a[i]), f(b[i]));
                        put_p(&mut r.p[op.d as usize], m, t);
                    }
                    Code::PredAnd => { let t = r.p[op.a as usize] & r.p[op.b as usize]; put_p(&mut r.p[op.d as usize], m, t) }
                    Code::PredOr => { let t = r.p[op.a as usize] | r.p[op.b as usize]; put_p(&mut r.p[op.d as usize], m, t) }
                    Code::PredXor => { let t = r.p[op.a as usize] ^ r.p[op.b as usize]; put_p(&mut r.p[op.d as usize], m, t) }
                    Code::PredNot => { let t = !r.p[op.a as usize]; put_p(&mut r.p[op.d as usize], m, t) }
                    Code::PredMov => { let t = r.p[op.a as usize]; put_p(&mut r.p[op.d as usize], m, t) }
                    Code::Nop => {}
                    _ => unreachable!("{:?} is in no stretch of plain arithmetic", op.code),
                }
            };
        }
        hot_table!(dispatch);
    }
}

/// Runs a group. Compiled once for every instruction set, by [`super::simd`].
#[inline(always)]
pub(crate) fn run(x: &mut Exec, w: &mut Warp, group: Group) -> Raised {
    let program = x.program;
    let ops = program.ops.as_slice();
    let (frame, active) = (group.frame, group.mask);
    let mut pc = group.pc as usize;
    // Another group of this frame that stands further down: stop there and merge.
    let (mut watch, mut others) = (usize::MAX, false);
    for g in &w.groups {
        others |= g.state == State::Ready;
        if g.frame == frame && g.pc as usize > pc && !matches!(g.state, State::Barrier { .. }) {
            watch = watch.min(g.pc as usize);
        }
    }
    let slice = if others { GROUP_SLICE } else { SLICE }.min(x.budget.saturating_sub(x.executed) + 1);
    let (counters, mut n) = (x.counters, 0u64);
    let mut regs = std::mem::take(&mut w.frames[frame as usize].regs);
    let r = &mut regs;
    let put_back = |pc: usize, mask: u32, turn: u64| Group { frame, pc: pc as u32, mask, state: State::Ready, turn };

    let mut tally = std::mem::take(&mut x.tally);

    let outcome = loop {
        if pc >= watch {
            w.groups.push(put_back(pc, active, group.turn));
            break Ok(());
        }
        // Arithmetic up to the next instruction of another kind; one at a time while taint must be followed.
        let stretch = (program.plain[pc] as usize).min(watch - pc);
        if stretch > 0 {
            let end = if r.tainted { pc + 1 } else { pc + stretch };
            n += (end - pc) as u64;
            if r.tainted
                && let Err(e) = propagate(program, r, &ops[pc], active & (r.p[ops[pc].pred as usize] ^ ops[pc].neg), active)
            {
                break Err(e);
            }
            let tally = if counters { &mut tally[pc..end] } else { &mut [] };
            arithmetic(&ops[pc..end], &program.alike[pc..end], tally, r, active, &x.bits);
            pc = end;
            continue;
        }
        let op = &ops[pc];
        let m = active & (r.p[op.pred as usize] ^ op.neg);
        n += 1;
        if counters {
            tally[pc][0] += 1;
            tally[pc][1] += m.count_ones() as u64;
        }
        if r.tainted
            && let Err(e) = propagate(program, r, op, m, active)
        {
            break Err(e);
        }
        // A random schedule stops warps behind memory instructions.
        macro_rules! yield_if_due {
            () => {
                if x.preempt.as_ref().is_some_and(|p| p.due) {
                    w.groups.push(put_back(pc + 1, active, group.turn));
                    break Ok(());
                }
            };
        }
        // The fast path declines whatever is unusual.
        macro_rules! memory {
            ($fast:expr) => {
                match $fast {
                    Ok(true) => {
                        x.tick();
                        yield_if_due!();
                    }
                    Ok(false) => match x.access(w, r, frame, op, pc, m) {
                        Ok(()) => yield_if_due!(),
                        Err(e) => break Err(e),
                    },
                    Err(e) => break Err(e),
                }
            };
        }
        match op.code {
            Code::Bra => {
                let target = op.imm as usize;
                if m == active {
                    let back = target <= pc;
                    pc = target;
                    // A loop may run for ever: look up now and then.
                    if back && n > slice {
                        w.turn += 1;
                        w.groups.push(put_back(pc, active, w.turn));
                        break Ok(());
                    }
                    continue;
                }
                if m != 0 {
                    w.groups.push(put_back(target, m, group.turn));
                    w.groups.push(put_back(pc + 1, active & !m, group.turn));
                    break Ok(());
                }
            }
            Code::LdShared => memory!(x.load_shared(r, op, m, pc, w.index)),
            Code::StShared => memory!(x.store_shared(r, op, m, pc, w.index)),
            Code::LdGlobal => memory!(x.load_global(r, op, m, pc, w.index)),
            Code::StGlobal => memory!(x.store_global(r, op, m, pc, w.index)),
            _ => match x.special(w, r, frame, op, pc, m, active) {
                Ok(Flow::Next) => yield_if_due!(),
                Ok(Flow::Leave) => break Ok(()),
                Err(e) => break Err(e),
            },
        }
        pc += 1;
    };
    x.tally = tally;
    x.executed += n;
    w.at = (pc as u32, frame);
    // The frame may have been left for good and taken again meanwhile: then its registers are the new ones.
    let home = &mut w.frames[frame as usize];
    if home.regs.p.is_empty() {
        home.regs = regs;
    }
    if outcome.is_ok() && x.executed > x.budget {
        return raise(FaultKind::Budget { limit: x.budget }, None);
    }
    outcome
}

#[inline(always)]
fn put_p(d: &mut u32, m: u32, t: u32) {
    *d = *d & !m | t & m;
}

/// Carries taint from sources to result, for the codes that have neither memory nor other lanes in them.
#[cold]
#[inline(never)]
fn propagate(program: &Program, r: &mut Regs, op: &Op, m: u32, active: u32) -> Raised {
    r.heal();
    let guard = r.tp[op.pred as usize] & active;
    if guard != 0 {
        let used_as = if op.code == Code::Bra { "a branch condition" } else { "the guard of an instruction" };
        return raise(FaultKind::Uninitialised { used_as }, guard.trailing_zeros());
    }
    let shape = match op.code {
        Code::Num => Some(program.nums[op.imm as usize].shape()),
        c => c.shape(),
    };
    if let Some(s) = shape {
        let t = s.s.iter().zip([op.a, op.b, op.c]).fold(0, |t, (&bank, slot)| t | r.taint(bank, slot));
        r.set_taint(s.d, op.d, m, t);
        return Ok(());
    }
    use Bank::{L, P, W};
    let two = |r: &Regs, bank| r.taint(bank, op.a) | r.taint(bank, op.b);
    match op.code {
        Code::Selp32 | Code::Selp64 => {
            let bank = if op.code == Code::Selp32 { W } else { L };
            let p = r.p[op.c as usize];
            let t = r.taint(bank, op.a) & p | r.taint(bank, op.b) & !p | r.tp[op.c as usize];
            r.set_taint(bank, op.d, m, t);
        }
        Code::SetpS32 | Code::SetpU32 | Code::SetpF | Code::SetpS16 | Code::SetpH | Code::SetpBf => {
            let t = two(r, W);
            r.set_taint(P, op.d, m, t);
        }
        Code::SetpS64 | Code::SetpU64 | Code::SetpD => {
            let t = two(r, L);
            r.set_taint(P, op.d, m, t);
        }
        // A known false makes an `and` known, a known true an `or`.
        Code::PredAnd | Code::PredOr => {
            let (a, b) = (op.a as usize, op.b as usize);
            let flip = if op.code == Code::PredOr { !0 } else { 0 };
            let decided = !(r.p[a] ^ flip) & !r.tp[a] | !(r.p[b] ^ flip) & !r.tp[b];
            let t = two(r, P) & !decided;
            r.set_taint(P, op.d, m, t);
        }
        Code::PredXor => {
            let t = two(r, P);
            r.set_taint(P, op.d, m, t);
        }
        Code::PredNot | Code::PredMov => {
            let t = r.taint(P, op.a);
            r.set_taint(P, op.d, m, t);
        }
        Code::Lop3 => {
            let t = two(r, W) | r.taint(W, op.c);
            r.set_taint(W, op.d, m, t);
        }
        Code::AddC | Code::SubC | Code::MadLoC | Code::MadHiC => {
            let mut t = two(r, W) | if op.x & 1 != 0 { r.tp[op.imm as usize] } else { 0 };
            if matches!(op.code, Code::MadLoC | Code::MadHiC) {
                t |= r.taint(W, op.c);
            }
            r.set_taint(W, op.d, m, t);
            if op.x & 2 != 0 {
                r.set_taint(P, op.imm as u16, m, t);
            }
        }
        Code::Bfi32 | Code::Bfi64 | Code::BfeU64 | Code::BfeS64 => {
            let bank = if op.code == Code::Bfi32 { W } else { L };
            let second = if matches!(op.code, Code::Bfi32 | Code::Bfi64) { r.taint(bank, op.b) } else { 0 };
            let t = r.taint(bank, op.a) | second | r.taint(W, op.c) | r.taint(W, op.x);
            r.set_taint(bank, op.d, m, t);
        }
        Code::Pack16 => {
            let t = two(r, W);
            r.set_taint(W, op.d, m, t);
        }
        Code::Pack16x4 => {
            let t = two(r, W) | r.taint(W, op.c) | r.taint(W, op.x);
            r.set_taint(L, op.d, m, t);
        }
        Code::Unpack16 | Code::Unpack32 | Code::Unpack16x4 => {
            let t = r.taint(if op.code == Code::Unpack16 { W } else { L }, op.a);
            r.set_taint(W, op.d, m, t);
            r.set_taint(W, op.b, m, t);
            if op.code == Code::Unpack16x4 {
                r.set_taint(W, op.c, m, t);
                r.set_taint(W, op.x, m, t);
            }
        }
        Code::Clock => r.set_taint(if op.x == 1 { L } else { W }, op.d, m, 0),
        Code::ActiveMask => r.set_taint(W, op.d, m, 0),
        Code::IsSpace => {
            let t = r.taint(L, op.a);
            r.set_taint(P, op.d, m, t);
        }
        // Memory, and instructions across lanes, see to it themselves.
        _ => {}
    }
    Ok(())
}

/// Arithmetic that is compiled once.
fn cold(x: &Exec, r: &mut Regs, op: &Op, m: u32) -> bool {
    macro_rules! dispatch {
        ($($shape:ident { $($name:ident |$($v:ident),*| $e:expr;)* })*) => {
            match op.code {
                $($(Code::$name => lanes!($shape r op m |$($v),*| $e),)*)*
                _ => return uncommon(x, r, op, m),
            }
        };
    }
    cold_table!(dispatch);
    true
}

fn uncommon(x: &Exec, r: &mut Regs, op: &Op, m: u32) -> bool {
    let (a, b, c) = (op.a as usize, op.b as usize, op.c as usize);
    let (program, bits) = (x.program, &x.bits);
    match op.code {
        Code::Num => {
            let (dw, dl);
            match &program.nums[op.imm as usize] {
                Num::W1(f) => dw = Some(f(&r.w[a].0, x.approx)),
                Num::W2(f) => dw = Some(f(&r.w[a].0, &r.w[b].0, x.approx)),
                Num::W3(f) => dw = Some(f(&r.w[a].0, &r.w[b].0, &r.w[c].0)),
                Num::WfromL(f) => dw = Some(f(&r.l[a].0)),
                _ => dw = None,
            }
            match &program.nums[op.imm as usize] {
                Num::LfromW(f) => dl = Some(f(&r.w[a].0)),
                Num::L1(f) => dl = Some(f(&r.l[a].0)),
                Num::L2(f) => dl = Some(f(&r.l[a].0, &r.l[b].0)),
                Num::L3(f) => dl = Some(f(&r.l[a].0, &r.l[b].0, &r.l[c].0)),
                _ => dl = None,
            }
            if let Some(o) = dw {
                put_w(&mut r.w[op.d as usize], m, &o);
            }
            if let Some(o) = dl {
                put_l(&mut r.l[op.d as usize], m, &o);
            }
        }
        Code::Selp64 => {
            let p = r.p[c];
            let o = std::array::from_fn(|i| if p >> i & 1 != 0 { r.l[a].0[i] } else { r.l[b].0[i] });
            put_l(&mut r.l[op.d as usize], m, &o);
        }
        Code::SetpS64 | Code::SetpU64 | Code::SetpD => {
            let (p, q) = (&r.l[a].0, &r.l[b].0);
            let t = match op.code {
                Code::SetpS64 => relation!(bits op.x, |i| p[i] as i64, q[i] as i64),
                Code::SetpU64 => relation!(bits op.x, |i| p[i], q[i]),
                _ => float_relation!(bits op.x, |i| d(p[i]), d(q[i])),
            };
            put_p(&mut r.p[op.d as usize], m, t);
        }
        Code::SetpS16 => {
            let (p, q) = (&r.w[a].0, &r.w[b].0);
            let t = relation!(bits op.x, |i| s16(p[i]), s16(q[i]));
            put_p(&mut r.p[op.d as usize], m, t);
        }
        Code::SetpH | Code::SetpBf => {
            use super::num::half::{Half, widen};
            let kind = if op.code == Code::SetpH { Half::F16 } else { Half::Bf16 };
            let (p, q) = (&r.w[a].0, &r.w[b].0);
            let t = float_relation!(bits op.x, |i| f(widen(p[i] & 0xffff, kind)), f(widen(q[i] & 0xffff, kind)));
            put_p(&mut r.p[op.d as usize], m, t);
        }
        Code::Lop3 => {
            let o = std::array::from_fn(|i| lop3(r.w[a].0[i], r.w[b].0[i], r.w[c].0[i], op.x as u32));
            put_w(&mut r.w[op.d as usize], m, &o);
        }
        Code::AddC | Code::SubC | Code::MadLoC | Code::MadHiC => {
            let flag = op.imm as usize;
            let (mut o, mut carry) = ([0; 32], 0u32);
            for i in 0..32 {
                let (p, q) = (r.w[a].0[i], r.w[b].0[i]);
                let c_in = (op.x & 1 != 0 && r.p[flag] >> i & 1 != 0) as u64;
                let sum = match op.code {
                    Code::AddC => p as u64 + q as u64 + c_in,
                    // The flag is a borrow.
                    Code::SubC => (p as u64).wrapping_sub(q as u64).wrapping_sub(c_in),
                    _ => {
                        let signed = op.x & 4 != 0;
                        let product = if signed { (p as i32 as i64 * q as i32 as i64) as u64 } else { p as u64 * q as u64 };
                        let part = if op.code == Code::MadLoC { product as u32 } else { (product >> 32) as u32 };
                        part as u64 + r.w[c].0[i] as u64 + c_in
                    }
                };
                o[i] = sum as u32;
                carry |= ((sum >> 32 != 0) as u32) << i;
            }
            put_w(&mut r.w[op.d as usize], m, &o);
            if op.x & 2 != 0 {
                put_p(&mut r.p[flag], m, carry);
            }
        }
        Code::Bfi32 => {
            let o = std::array::from_fn(|i| bfi_b32(r.w[a].0[i], r.w[b].0[i], r.w[c].0[i], r.w[op.x as usize].0[i]));
            put_w(&mut r.w[op.d as usize], m, &o);
        }
        Code::Bfi64 | Code::BfeU64 | Code::BfeS64 => {
            let o = std::array::from_fn(|i| {
                let (v, pos, len) = (r.l[a].0[i], r.w[c].0[i], r.w[op.x as usize].0[i]);
                match op.code {
                    Code::Bfi64 => bfi_b64(v, r.l[b].0[i], pos, len),
                    Code::BfeU64 => bfe_u64(v, pos, len),
                    _ => bfe_s64(v, pos, len),
                }
            });
            put_l(&mut r.l[op.d as usize], m, &o);
        }
        Code::Pack16 => {
            let o = std::array::from_fn(|i| r.w[a].0[i] & 0xffff | r.w[b].0[i] << 16);
            put_w(&mut r.w[op.d as usize], m, &o);
        }
        Code::Pack16x4 => {
            let part = |slot: usize, i: usize| (r.w[slot].0[i] & 0xffff) as u64;
            let o = std::array::from_fn(|i| part(a, i) | part(b, i) << 16 | part(c, i) << 32 | part(op.x as usize, i) << 48);
            put_l(&mut r.l[op.d as usize], m, &o);
        }
        Code::Unpack16 => {
            let v = r.w[a].0;
            put_w(&mut r.w[op.d as usize], m, &v.map(|v| v & 0xffff));
            put_w(&mut r.w[b], m, &v.map(|v| v >> 16));
        }
        Code::Unpack32 => {
            let v = r.l[a].0;
            put_w(&mut r.w[op.d as usize], m, &v.map(|v| v as u32));
            put_w(&mut r.w[b], m, &v.map(|v| (v >> 32) as u32));
        }
        Code::Unpack16x4 => {
            let v = r.l[a].0;
            for (k, slot) in [op.d as usize, b, c, op.x as usize].into_iter().enumerate() {
                put_w(&mut r.w[slot], m, &v.map(|v| (v >> (16 * k)) as u32 & 0xffff));
            }
        }
        Code::ActiveMask | Code::Clock | Code::IsSpace => return false,
        _ => return false,
    }
    true
}

impl Exec<'_> {
    /// Everything that is not in the hot table.
    #[inline(never)]
    #[allow(clippy::too_many_arguments)]
    pub fn special(&mut self, w: &mut Warp, r: &mut Regs, frame: u32, op: &Op, pc: usize, m: u32, active: u32) -> Raised<Flow> {
        if cold(self, r, op, m) {
            return Ok(Flow::Next);
        }
        if m == 0 {
            return Ok(Flow::Next);
        }
        let rest = Group { frame, pc: pc as u32 + 1, mask: active & !m, state: State::Ready, turn: 0 };
        match op.code {
            Code::LdLocal
            | Code::LdGeneric
            | Code::LdParam
            | Code::LdKernelParam
            | Code::StLocal
            | Code::StGeneric
            | Code::StParam
            | Code::LdStrong
            | Code::StStrong => {
                self.access(w, r, frame, op, pc, m)?;
            }
            Code::Atom => self.atom(w, r, frame, op, pc, m)?,
            Code::Fence => {
                if let Some(o) = &mut self.observer {
                    o.fence(w.index, m, op.x != 0);
                }
                if let Some(watch) = &mut self.watch {
                    watch.fence(w.index, op.x != 0);
                }
            }
            Code::IsSpace => {
                let mut t = 0;
                for i in 0..32 {
                    let space = self.global.space(r.l[op.a as usize].0[i]);
                    let is = match op.x {
                        0 => space == super::mem::Window::Shared,
                        1 => space == super::mem::Window::Local,
                        2 => false,
                        _ => space == super::mem::Window::Global,
                    };
                    t |= (is as u32) << i;
                }
                put_p(&mut r.p[op.d as usize], m, t);
            }
            Code::ActiveMask => put_w(&mut r.w[op.d as usize], m, &[m; 32]),
            Code::Clock => {
                // Time is instructions.
                let now = self.executed + pc as u64;
                if op.x == 1 {
                    put_l(&mut r.l[op.d as usize], m, &[now; 32]);
                } else {
                    put_w(&mut r.w[op.d as usize], m, &[now as u32; 32]);
                }
            }
            Code::Trap => {
                let Extra::Text(why) = &self.program.extras[op.x as usize] else { unreachable!("a trap has a text") };
                return raise(FaultKind::Trap { why: why.clone() }, m.trailing_zeros());
            }
            Code::Exit => {
                self.exit(w, m);
                if rest.mask != 0 {
                    w.groups.push(rest);
                }
                return Ok(Flow::Leave);
            }
            Code::Call => {
                if rest.mask != 0 {
                    w.groups.push(rest);
                }
                self.call(w, frame, op, pc, m)?;
                return Ok(Flow::Leave);
            }
            Code::Ret => {
                if rest.mask != 0 {
                    w.groups.push(rest);
                }
                self.ret(w, frame, m);
                return Ok(Flow::Leave);
            }
            Code::CpAsync => self.level.copy_begin(self, w, r, op, pc, m)?,
            Code::CpCommit => {
                for i in lanes_of(m) {
                    w.commits[i] += 1;
                }
            }
            Code::CpWait => self.level.copy_wait(self, w, op.imm, m)?,
            _ => return self.together(w, r, frame, op, pc, m, rest),
        }
        Ok(Flow::Next)
    }

    /// Lanes end.
    fn exit(&mut self, w: &mut Warp, m: u32) {
        w.live &= !m;
        self.live -= m.count_ones();
        for f in &mut w.frames {
            f.mask &= !m;
        }
        // Those that waited for these lanes look again.
        for g in &mut w.groups {
            if g.state == State::Parked {
                g.state = State::Ready;
            }
        }
        self.recount();
    }

    fn call(&mut self, w: &mut Warp, frame: u32, op: &Op, pc: usize, m: u32) -> Raised {
        let program = self.program;
        let Extra::Call(call) = &program.extras[op.x as usize] else { unreachable!("a call is described") };
        let callee = &program.functions[call.function as usize];
        let ret = pc as u32 + 1;
        let same = |f: &Frame| f.mask != 0 && f.parent == frame && f.ret == ret && f.depth > 0;
        let at = match w.frames.iter().position(same) {
            Some(i) => i,
            None => {
                let caller = &w.frames[frame as usize];
                let depth = caller.depth + 1;
                if depth > 1000 {
                    return raise(FaultKind::StackOverflow, m.trailing_zeros());
                }
                let local = (caller.local + program.functions[caller.function as usize].local).next_multiple_of(16);
                let i = match w.frames.iter().position(|f| f.mask == 0) {
                    Some(i) => i,
                    None => {
                        w.frames.push(Frame::new());
                        w.frames.len() - 1
                    }
                };
                w.local.grow((local + callee.local).next_multiple_of(16) as usize * 32);
                let f = &mut w.frames[i];
                (f.parent, f.depth, f.ret, f.call, f.local) = (frame, depth, ret, op.x, local);
                f.enter(call.function, callee, &self.shape, w.index, self.initcheck);
                i
            }
        };
        let from_size = program.functions[w.frames[frame as usize].function as usize].params as usize;
        let (from, to) = two(&mut w.frames, frame as usize, at);
        to.mask |= m;
        for &(a, b, bytes) in &call.args {
            for lane in lanes_of(m) {
                let (a, b) = (lane * from_size + a as usize, lane * callee.params as usize + b as usize);
                copy_bytes(&from.params, a, &mut to.params, b, bytes as usize);
            }
        }
        w.groups.push(Group { frame: at as u32, pc: callee.start, mask: m, state: State::Ready, turn: 0 });
        Ok(())
    }

    fn ret(&mut self, w: &mut Warp, frame: u32, m: u32) {
        let program = self.program;
        let f = &mut w.frames[frame as usize];
        f.mask &= !m;
        let (parent, ret, call) = (f.parent, f.ret, f.call);
        let Extra::Call(call) = &program.extras[call as usize] else { unreachable!("a call is described") };
        let from_size = program.functions[call.function as usize].params as usize;
        let to_size = program.functions[w.frames[parent as usize].function as usize].params as usize;
        let (from, to) = two(&mut w.frames, frame as usize, parent as usize);
        for &(a, b, bytes) in &call.rets {
            for lane in lanes_of(m) {
                let (a, b) = (lane * to_size + a as usize, lane * from_size + b as usize);
                copy_bytes(&from.params, b, &mut to.params, a, bytes as usize);
            }
        }
        w.groups.push(Group { frame: parent, pc: ret, mask: m, state: State::Ready, turn: 0 });
    }
}

fn copy_bytes(from: &Bytes, a: usize, to: &mut Bytes, b: usize, len: usize) {
    for i in 0..len {
        to.set(b + i, 1, from.get(a + i, 1), from.is_known(a + i, 1));
    }
}

/// Two different elements, both mutable.
fn two<T>(v: &mut [T], a: usize, b: usize) -> (&mut T, &mut T) {
    let [a, b] = v.get_disjoint_mut([a, b]).expect("caller and callee are two frames");
    (a, b)
}

/// The lanes of a mask.
pub(crate) fn lanes_of(m: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |i| m >> i & 1 != 0)
}
