//! Barriers in shared memory (`mbarrier`). All of an mbarrier's state lies in its 64 bits, as on hardware; what they are is the
//! emulator's affair, as the ISA leaves it open. An arrival releases what its warp did, a wait that finds the phase ended
//! acquires it.

use super::access::{Request, Resolved, Target};
use super::fault::{FaultKind, Place, Raised, raise};
use super::lanes::{lanes_of, put_p};
use super::observe::AccessKind;
use super::op::{Mbarrier, Rare};
use super::phase::{MOST, Word};
use super::race::{Teller, Touch};
use super::rare::{addresses, assign, initialised, value};
use super::state::{Exec, Flow, Group, InFlight, Issue, Landing, Regs, State, Warp};

const BYTES: u32 = 8;

impl Exec<'_> {
    /// Whether a phase of this parity has ended or may end now, or the mbarrier is gone: then a wait looks again.
    pub fn phase_over(&self, at: u32, parity: bool) -> bool {
        self.landings.iter().any(|l| l.reaches(at))
            || self.units.transfers.iter().any(|t| t.reaches(at))
            || Word::unpack(self.shared.get(at as usize, 8)).is_none_or(|w| w.parity != parity)
    }

    /// What an mbarrier waits for, for a report.
    pub fn about_mbarrier(&self, at: u32) -> String {
        match Word::unpack(self.shared.get(at as usize, 8)) {
            Some(Word { pending, bytes: 0, .. }) => format!(" ({pending} arrivals are missing)"),
            Some(Word { pending, bytes, .. }) if bytes < 0 => {
                format!(" ({pending} arrivals are missing, and {} bytes more have come than were expected)", -bytes)
            }
            Some(Word { pending, bytes, .. }) => format!(" ({pending} arrivals and {bytes} bytes are missing)"),
            None => String::new(),
        }
    }

    pub fn misuse<T>(&self, why: String, at: usize, lane: usize) -> Raised<T> {
        let at = Place { address: at as u64, about: self.about_shared(at as u64) };
        raise(FaultKind::Mbarrier { why, at }, lane as u32)
    }

    pub fn word(&self, at: usize, lane: usize) -> Raised<Word> {
        match Word::unpack(self.shared.get(at, 8)) {
            Some(w) if self.shared.is_known(at, 8) => Ok(w),
            _ => self.misuse("it was not initialised, or something else was written there".into(), at, lane),
        }
    }

    fn set_word(&mut self, at: usize, w: Word) {
        self.shared.set(at, 8, w.pack(), true);
    }

    /// `count` arrivals of one lane, or the bytes that came; ends the phase if nothing is missing any more.
    pub fn settle(&mut self, at: usize, mut w: Word) {
        if w.advance()
            && let Some(watch) = &mut self.watch
        {
            watch.mbarrier_complete(at as u32);
        }
        self.set_word(at, w);
    }

    pub fn mbarrier(&mut self, w: &mut Warp, r: &mut Regs, i: Issue, x: (&Rare, Mbarrier), rest: Group) -> Raised<Flow> {
        let (x, what) = x;
        let Issue { pc, frame, mut m, .. } = i;
        // If the launch goes on after a fault, lanes without an mbarrier do without the instruction; what they wait for is over.
        let (bank, slot) = x.reads[0];
        if let Err(e) = initialised(r, &x.reads[..1], m, "an address") {
            self.admit(e, w.index, pc)?;
            m &= !r.taint(bank, slot);
        }
        initialised(r, &x.reads[1..], m, "an operand of an mbarrier").or_else(|e| self.admit(e, w.index, pc))?;
        let a = addresses(r, x, m)?;
        let mut targets = [(Target::Shared, 0); 32];
        for lane in lanes_of(m) {
            let want = Request { space: x.space, bytes: BYTES, write: true };
            let found = self.resolve(w, frame, want, a[lane], lane as u32).and_then(|t| match t.0 {
                Target::Shared => Ok(t),
                _ => raise(FaultKind::Operand { why: "an mbarrier lies in shared memory".into() }, lane as u32),
            });
            match found {
                Ok(target) => targets[lane] = target,
                Err(e) => {
                    self.admit(e, w.index, pc)?;
                    m &= !(1 << lane);
                }
            }
        }
        let lost = i.m & !m;
        let plain = matches!(what, Mbarrier::Init | Mbarrier::Inval);
        let resolved = Resolved { warp: w.index, pc, m, bytes: BYTES, targets: &targets };
        self.tell(&resolved, &a, if plain { AccessKind::Write } else { AccessKind::Atomic })?;
        self.watch(&resolved, if plain { Touch::Write } else { Touch::Atomic }, &|_, _| true)?;
        let at = targets.map(|t| t.1);
        if let Some(watch) = &mut self.watch
            && what != Mbarrier::Init
        {
            let who = |lane: usize| Teller { warp: w.index, lane: lane as u32, pc: pc as u32 };
            let found = lanes_of(m).try_for_each(|lane| watch.mbarrier_use(who(lane), at[lane] as u32));
            self.shared_race(found)?;
        }
        let operand = |r: &Regs, lane: usize| x.reads.get(1).map_or(0, |&o| value(r, o, lane));
        match what {
            Mbarrier::Init => {
                for lane in lanes_of(m) {
                    let count = operand(r, lane) as u32;
                    if !(1..=MOST).contains(&count) {
                        let found = self.misuse(format!("{count} arrivals; it must be 1 to {MOST}"), at[lane], lane);
                        found.or_else(|e| self.admit(e, w.index, pc))?;
                        continue;
                    }
                    if self.shared.is_known(at[lane], 8)
                        && Word::unpack(self.shared.get(at[lane], 8)).is_some()
                        && m.count_ones() == 1
                    {
                        let found = self.misuse("it was initialised already, and not invalidated since".into(), at[lane], lane);
                        found.or_else(|e| self.admit(e, w.index, pc))?;
                    }
                    self.set_word(at[lane], Word { pending: count, expected: count, bytes: 0, parity: false });
                    if let Some(watch) = &mut self.watch {
                        let who = Teller { warp: w.index, lane: lane as u32, pc: pc as u32 };
                        watch.mbarrier_init(who, at[lane] as u32);
                    }
                }
            }
            Mbarrier::Inval => {
                for lane in lanes_of(m) {
                    self.word(at[lane], lane).map(|_| ()).or_else(|e| self.admit(e, w.index, pc))?;
                    self.shared.forget(at[lane], 8);
                }
            }
            Mbarrier::Arrive { complete, drop, transactions, release } => {
                lanes_of(lost).for_each(|lane| assign(r, x.writes[0], lane, 0));
                for lane in lanes_of(m) {
                    let n = operand(r, lane) as u32;
                    let (count, bytes) = if transactions { (1, n as i32) } else { (n, 0) };
                    let state = self.word(at[lane], lane).map(Word::pack);
                    let done = state.and_then(|state| {
                        self.arrive(w.index, at[lane], lane, (count, bytes), (complete, drop, release)).map(|()| state)
                    });
                    let state = match done {
                        Ok(state) => state,
                        Err(e) => self.admit(e, w.index, pc).map(|()| 0)?,
                    };
                    assign(r, x.writes[0], lane, state);
                }
            }
            Mbarrier::Transactions { done } => {
                for lane in lanes_of(m) {
                    let n = operand(r, lane) as u32 as i32;
                    let word = self.word(at[lane], lane).and_then(|mut word| {
                        word.bytes += if done { -n } else { n };
                        if word.bytes.unsigned_abs() > MOST {
                            return self.misuse(format!("it waits for {} bytes", word.bytes), at[lane], lane);
                        }
                        Ok(word)
                    });
                    let word = match word {
                        Ok(word) => word,
                        Err(e) => {
                            self.admit(e, w.index, pc)?;
                            continue;
                        }
                    };
                    if done {
                        self.settle(at[lane], word);
                    } else {
                        self.set_word(at[lane], word);
                    }
                }
            }
            Mbarrier::Copies { counted } => {
                let mut list = [0; 32];
                for lane in lanes_of(m) {
                    let word = self.word(at[lane], lane).and_then(|mut word| {
                        word.pending += !counted as u32;
                        if word.pending > MOST {
                            return self.misuse(format!("it waits for more than {MOST} arrivals"), at[lane], lane);
                        }
                        Ok(word)
                    });
                    match word {
                        Ok(word) => {
                            list[lane] = at[lane] as u32;
                            self.set_word(at[lane], word);
                        }
                        Err(e) => {
                            self.admit(e, w.index, pc)?;
                            m &= !(1 << lane);
                        }
                    }
                }
                // The lanes' earlier copies go with the arrival.
                let mut copies = Vec::new();
                for c in &mut w.copies {
                    if c.lanes & m != 0 {
                        copies.push(InFlight { lanes: c.lanes & m, ..c.clone() });
                        c.lanes &= !m;
                    }
                }
                w.copies.retain(|c| c.lanes != 0);
                self.landings.push(Landing { warp: w.index, copies, lanes: m, at: list });
            }
            Mbarrier::Wait { parity, blocks, acquire } => {
                if !self.landings.is_empty() {
                    self.land(pc, |l| lanes_of(m).any(|lane| l.reaches(at[lane] as u32)))?;
                }
                let (mut over, mut passed) = (0u32, lost);
                let mut waits: Vec<(u32, bool, u32)> = Vec::new();
                for lane in lanes_of(m) {
                    let asked = match (parity, Word::unpack(operand(r, lane))) {
                        (true, _) => Ok(operand(r, lane) & 1 == 1),
                        (false, Some(state)) => Ok(state.parity),
                        (false, None) => self.misuse("what it is asked for is no state of an mbarrier".into(), at[lane], lane),
                    };
                    let found = self.word(at[lane], lane).and_then(|word| {
                        let asked = asked?;
                        // Bulk copies arrive when nothing else will let the phase end.
                        if word.parity == asked && self.units.transfers.iter().any(|t| t.reaches(at[lane] as u32)) {
                            self.land_bulk(at[lane] as u32, lane)?;
                            return Ok((self.word(at[lane], lane)?, asked));
                        }
                        Ok((word, asked))
                    });
                    let (word, asked) = match found {
                        Ok(found) => found,
                        Err(e) => {
                            self.admit(e, w.index, pc)?;
                            passed |= 1 << lane;
                            continue;
                        }
                    };
                    if word.parity != asked {
                        over |= 1 << lane;
                        continue;
                    }
                    match waits.iter_mut().find(|(a, p, _)| (*a as usize, *p) == (at[lane], asked)) {
                        Some((_, _, lanes)) => *lanes |= 1 << lane,
                        None => waits.push((at[lane] as u32, asked, 1 << lane)),
                    }
                }
                if acquire && let Some(watch) = &mut self.watch {
                    let mut seen = Vec::new();
                    for lane in lanes_of(over) {
                        if !seen.contains(&at[lane]) {
                            watch.mbarrier_wait(at[lane] as u32, w.index, w.live);
                            seen.push(at[lane]);
                        }
                    }
                }
                over |= passed;
                let done = if blocks { over } else { i.m };
                let (bank, slot) = x.writes[0];
                put_p(&mut r.p[slot as usize], done, over);
                r.set_taint(bank, slot, done, 0);
                if waits.is_empty() {
                    return Ok(Flow::Next);
                }
                if blocks {
                    for (at, parity, mask) in waits {
                        let state = State::Phase { at, parity };
                        w.groups.push(Group { frame, pc: pc as u32, mask, state, turn: 0 });
                    }
                } else {
                    // Whoever is waited for must run: this group comes last, and its warp makes way.
                    w.turn += 1;
                    self.give_way = true;
                }
                if rest.mask | done != 0 {
                    w.groups.push(Group { mask: rest.mask | done, turn: w.turn, ..rest });
                }
                return Ok(Flow::Leave);
            }
        }
        Ok(Flow::Next)
    }

    /// An arrival of `count`, with `bytes` more to wait for.
    fn arrive(
        &mut self,
        warp: u32,
        at: usize,
        lane: usize,
        (count, bytes): (u32, i32),
        (complete, drop, release): (bool, bool, bool),
    ) -> Raised {
        let mut word = self.word(at, lane)?;
        if count == 0 || count > word.pending {
            let why = format!("{count} arrivals at once, where {} are missing", word.pending);
            return self.misuse(why, at, lane);
        }
        if !complete && count == word.pending && word.bytes == 0 {
            return self.misuse("an arrival with .noComplete completes the phase".into(), at, lane);
        }
        if release && let Some(watch) = &mut self.watch {
            watch.mbarrier_arrive(at as u32, warp);
        }
        word.bytes += bytes;
        word.pending -= count;
        if drop {
            word.expected = word.expected.saturating_sub(count);
        }
        self.settle(at, word);
        Ok(())
    }

    /// Lets the copies arrive that some mbarriers wait for, then their lanes. What a warp copied before comes with it. `pc` is the
    /// instruction that waits.
    pub fn land(&mut self, pc: usize, which: impl Fn(&Landing) -> bool) -> Raised {
        let list = std::mem::take(&mut self.landings);
        let last = |warp: u32| list.iter().rposition(|l| l.warp == warp && which(l));
        let until: Vec<Option<usize>> = list.iter().map(|l| last(l.warp)).collect();
        for (k, (l, until)) in list.into_iter().zip(until).enumerate() {
            if until.is_none_or(|until| k > until) {
                self.landings.push(l);
                continue;
            }
            for c in &l.copies {
                self.copies_arrive(l.warp, c, c.lanes)?;
            }
            for lane in lanes_of(l.lanes) {
                let found = self.arrive(l.warp, l.at[lane] as usize, lane, (1, 0), (true, false, true));
                found.or_else(|e| self.admit(e, l.warp, pc))?;
            }
        }
        Ok(())
    }
}

impl Landing {
    /// Whether a lane arrives at this mbarrier.
    fn reaches(&self, at: u32) -> bool {
        lanes_of(self.lanes).any(|lane| self.at[lane] == at)
    }
}
