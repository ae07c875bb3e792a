//! Instructions that are too rare for codes and fields of their own ([`Rare`]).

use super::access::{Request, Target};
use super::fault::{FaultKind, Raised, raise};
use super::lanes::lanes_of;
use super::op::{Bank, Extra, Rare, What};
use super::state::{Exec, Flow, Group, Issue, Regs, Warp};

/// The value of a register in a lane.
pub(crate) fn value(r: &Regs, (bank, slot): (Bank, u16), lane: usize) -> u64 {
    match bank {
        Bank::W => r.w[slot as usize].0[lane] as u64,
        Bank::L => r.l[slot as usize].0[lane],
        Bank::P => (r.p[slot as usize] >> lane & 1) as u64,
    }
}

/// Writes a register in one lane, and takes its taint.
pub(crate) fn assign(r: &mut Regs, (bank, slot): (Bank, u16), lane: usize, v: u64) {
    if slot == super::op::SINK {
        return;
    }
    match bank {
        Bank::W => r.w[slot as usize].0[lane] = v as u32,
        Bank::L => r.l[slot as usize].0[lane] = v,
        Bank::P => r.p[slot as usize] = r.p[slot as usize] & !(1 << lane) | ((v & 1) as u32) << lane,
    }
    r.set_taint(bank, slot, 1 << lane, 0);
}

/// The addresses of the lanes; the address is what the instruction reads first.
pub(crate) fn addresses(r: &Regs, x: &Rare, m: u32) -> Raised<[u64; 32]> {
    let (bank, slot) = x.reads[0];
    let t = r.taint(bank, slot) & m;
    if t != 0 {
        return raise(FaultKind::Uninitialised { used_as: "an address" }, t.trailing_zeros());
    }
    let plus =
        |v: u64| if bank == Bank::L { v.wrapping_add(x.plus as u64) } else { (v as u32).wrapping_add(x.plus as u32) as u64 };
    Ok(std::array::from_fn(|i| plus(value(r, (bank, slot), i))))
}

/// Raises a fault if any of the registers holds no value in a lane of `m`.
pub(crate) fn initialised(r: &Regs, list: &[(Bank, u16)], m: u32, used_as: &'static str) -> Raised {
    let t = list.iter().fold(0, |t, &(bank, slot)| t | r.taint(bank, slot)) & m;
    if t != 0 { raise(FaultKind::Uninitialised { used_as }, t.trailing_zeros()) } else { Ok(()) }
}

impl Exec<'_> {
    /// Executes a [`Rare`] for a group of lanes; `rest` are those of the group that do not.
    pub fn rare(&mut self, w: &mut Warp, r: &mut Regs, i: Issue, rest: Group) -> Raised<Flow> {
        let program = self.program;
        let Extra::Rare(x) = &program.extras[i.op.x as usize] else { unreachable!("the instruction is described") };
        match x.what {
            What::Discard => self.discard(w, r, i, x)?,
            What::Wgmma(what) => return self.wgmma(w, r, i, (x, what), rest),
            What::Cluster(what) => return self.cluster(w, r, i, (x, what), rest),
            What::Bulk(what) => self.bulk(w, r, i, (x, what))?,
            What::ProxyFence { init } => {
                if let Some(watch) = &mut self.watch {
                    watch.proxy_fence(w.index, i.m, init);
                }
            }
            What::Mbarrier(what) => return self.mbarrier(w, r, i, (x, what), rest),
            What::Printf { .. } | What::Malloc { .. } | What::Free { .. } | What::Assert { .. } => self.provided(w, i, x.what)?,
        }
        Ok(Flow::Next)
    }

    fn discard(&mut self, w: &mut Warp, r: &mut Regs, i: Issue, x: &Rare) -> Raised {
        const BYTES: u32 = 128;
        let a = addresses(r, x, i.m)?;
        for lane in lanes_of(i.m) {
            let want = Request { space: x.space, bytes: BYTES, write: true };
            if let (Target::Buffer(b), at) = self.resolve(w, i.frame, want, a[lane], lane as u32)? {
                self.global.buffers[b].bytes.forget(at, BYTES as usize);
            }
        }
        Ok(())
    }
}
