//! What was found in a launch that goes on after a finding, and what is known and meant ([`Suppression`]).

use std::collections::HashMap;

use super::fault::{Details, Fault, FaultKind, Raise};
use super::module::Module;
use super::program::Program;
use super::suppress::Suppression;

/// A finding, and how often the launch came by it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The first time.
    pub fault: Fault,
    pub times: u64,
}

/// Where a fault was raised.
#[derive(Clone, Copy)]
pub(crate) struct Where {
    pub block: [u32; 3],
    pub warp: Option<u32>,
    pub pc: usize,
    pub executed: u64,
}

/// What makes two faults one finding: the kind, the instruction and, of a race, the other instruction.
type Key = (&'static str, u32, u32);

#[derive(Clone, Copy)]
enum Known {
    Finding(usize),
    Suppressed(usize),
}

pub(crate) struct Findings<'a> {
    module: &'a Module,
    program: &'a Program,
    kernel: &'a str,
    suppressions: &'a [Suppression],
    /// By suppression: faults that it covered.
    pub suppressed: Vec<u64>,
    /// Findings after which the launch ends; 0: the first ends it, and is no part of the list.
    most: usize,
    pub list: Vec<Finding>,
    known: HashMap<Key, Known>,
}

impl<'a> Findings<'a> {
    pub fn new(
        module: &'a Module,
        program: &'a Program,
        kernel: &'a str,
        suppressions: &'a [Suppression],
        most: usize,
    ) -> Findings<'a> {
        let suppressed = vec![0; suppressions.len()];
        Findings { module, program, kernel, suppressions, suppressed, most, list: Vec::new(), known: HashMap::new() }
    }

    /// Whether the race of these two instructions is known; then it is counted.
    pub fn knows_race(&mut self, first: u32, second: u32) -> bool {
        self.count(("race", second, first))
    }

    fn count(&mut self, key: Key) -> bool {
        match self.known.get(&key) {
            Some(Known::Finding(i)) => self.list[*i].times += 1,
            Some(Known::Suppressed(i)) => self.suppressed[*i] += 1,
            None => return false,
        }
        true
    }

    /// Whether the launch goes on after a fault: it is known and meant, or is kept in the list. `other` is the other instruction
    /// of a race.
    pub fn goes_on(&mut self, raise: &Raise, at: Where, thread: Option<[u32; 3]>, other: u32) -> bool {
        let recoverable = !raise.kind.ends_a_launch();
        let key = (raise.kind.name(), at.pc as u32, other);
        if !recoverable || self.count(key) {
            return recoverable;
        }
        let fault = fault(self.module, self.program, self.kernel, raise.kind.clone(), raise.lane, at, thread);
        if let Some(i) = self.suppressions.iter().position(|s| s.covers(&fault)) {
            self.suppressed[i] += 1;
            self.known.insert(key, Known::Suppressed(i));
            return true;
        }
        if self.list.len() < self.most {
            self.known.insert(key, Known::Finding(self.list.len()));
            self.list.push(Finding { fault, times: 1 });
        }
        self.list.len() < self.most
    }
}

/// What was raised, with all that tells where.
pub(crate) fn fault(
    module: &Module,
    program: &Program,
    kernel: &str,
    kind: FaultKind,
    lane: Option<u32>,
    at: Where,
    thread: Option<[u32; 3]>,
) -> Fault {
    Fault::from(Details {
        kind: name_sites(kind, program, module),
        kernel: kernel.to_string(),
        block: Some(at.block),
        thread,
        lane: at.warp.zip(lane),
        site: at.warp.and_then(|_| module.site(program, at.pc)),
        executed: at.executed,
    })
}

/// Replaces op numbers in a report of several places, written `@123`, by the instructions.
fn name_sites(kind: FaultKind, program: &Program, module: &Module) -> FaultKind {
    let name = |line: String| match line.split_once('@') {
        Some((before, pc)) => match pc.parse().ok().and_then(|pc| module.site(program, pc)) {
            Some(site) => format!("{before}{site}"),
            None => line,
        },
        None => line,
    };
    let all = |lines: Vec<String>| lines.into_iter().map(name).collect();
    match kind {
        FaultKind::Deadlock { waits } => FaultKind::Deadlock { waits: all(waits) },
        FaultKind::BlockDeadlock { waits } => FaultKind::BlockDeadlock { waits: all(waits) },
        FaultKind::Race { hazard, at, sides } => FaultKind::Race { hazard, at, sides: all(sides) },
        FaultKind::DivergentBarrier { waits } => FaultKind::DivergentBarrier { waits: all(waits) },
        k => k,
    }
}
