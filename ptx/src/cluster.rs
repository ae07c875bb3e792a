//! Clusters of one block, as every block here is: its barrier in two halves (`barrier.cluster`), and addresses of blocks by their
//! rank (`mapa`, `getctarank`), of which there is rank 0.

use super::fault::{FaultKind, Raised, raise};
use super::lanes::lanes_of;
use super::op::{Cluster, Rare};
use super::rare::{assign, initialised, value};
use super::state::{Exec, Flow, Group, Issue, Regs, State, Warp};

/// Under which name the race check knows the barrier: no address in shared memory.
const BARRIER: u32 = 1 << 28;

impl Exec<'_> {
    pub fn cluster(&mut self, w: &mut Warp, r: &mut Regs, i: Issue, x: (&Rare, Cluster), rest: Group) -> Raised<Flow> {
        let (x, what) = x;
        let Issue { pc, frame, m, .. } = i;
        let leave = |w: &mut Warp, state: State| {
            if rest.mask != 0 {
                w.groups.push(rest);
            }
            w.groups.push(Group { frame, pc: pc as u32, mask: m, state, turn: 0 });
            Ok(Flow::Leave)
        };
        let lane = m.trailing_zeros();
        match what {
            Cluster::Map => {
                initialised(r, &x.reads, m, "an operand of mapa")?;
                for lane in lanes_of(m) {
                    let rank = value(r, x.reads[1], lane);
                    if rank != 0 {
                        let why = format!("block {rank} of a cluster that has one block");
                        return raise(FaultKind::Operand { why }, lane as u32);
                    }
                    assign(r, x.writes[0], lane, value(r, x.reads[0], lane));
                }
            }
            Cluster::Rank => lanes_of(m).for_each(|lane| assign(r, x.writes[0], lane, 0)),
            Cluster::Arrive { aligned, .. } | Cluster::Wait { aligned, .. } if aligned && m != w.live => {
                return leave(w, State::Parked);
            }
            Cluster::Arrive { release, .. } => {
                let c = &mut self.units.cluster;
                let arrived = c.arrived.entry(w.index).or_insert((0, 0));
                if arrived.0 & m != 0 {
                    let why = "barrier.cluster.arrive twice without barrier.cluster.wait between".into();
                    return raise(FaultKind::Barrier { why }, lane);
                }
                *arrived = (arrived.0 | m, c.phase);
                c.count += m.count_ones();
                if release && let Some(watch) = &mut self.watch {
                    watch.mbarrier_arrive(BARRIER, w.index);
                }
                self.cluster_recount();
            }
            Cluster::Wait { acquire, .. } => {
                let c = &mut self.units.cluster;
                let (arrived, phase) = c.arrived.get(&w.index).copied().unwrap_or((0, 0));
                if arrived & m != m {
                    let why = "barrier.cluster.wait without barrier.cluster.arrive before".into();
                    return raise(FaultKind::Barrier { why }, lane);
                }
                if phase == c.phase {
                    return leave(w, State::Cluster { phase });
                }
                c.arrived.insert(w.index, (arrived & !m, phase));
                if acquire && let Some(watch) = &mut self.watch {
                    watch.mbarrier_wait(BARRIER, w.index, w.live);
                }
            }
        }
        Ok(Flow::Next)
    }

    /// Ends the phase of the cluster's barrier if all threads that are left have arrived.
    pub fn cluster_recount(&mut self) {
        let c = &mut self.units.cluster;
        if c.count > 0 && c.count >= self.live {
            c.count = 0;
            c.phase += 1;
            if let Some(watch) = &mut self.watch {
                watch.mbarrier_complete(BARRIER);
            }
        }
    }
}
