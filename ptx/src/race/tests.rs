use super::*;

const LANES: u32 = u32::MAX;

fn by(touch: Touch, warp: u32, pc: u32, base: u64, pieces: &[(i32, u32)], bytes: u32) -> WarpAccess<'_> {
    WarpAccess { touch, warp, pc, base, pieces, bytes }
}

/// Offsets of 32 consecutive words, one for each lane.
fn row() -> Vec<(i32, u32)> {
    (0..32).map(|i| (4 * i, 1 << i)).collect()
}
fn one(lane: u32) -> [(i32, u32); 1] {
    [(0, 1 << lane)]
}

#[test]
fn a_barrier_orders_and_its_absence_does_not() {
    for (first, second, races) in [
        (Touch::Read, Touch::Read, false),
        (Touch::Read, Touch::Write, true),
        (Touch::Write, Touch::Read, true),
        (Touch::Write, Touch::Write, true),
        (Touch::Atomic, Touch::Atomic, false),
        (Touch::Atomic, Touch::Read, true),
        (Touch::Read, Touch::Atomic, true),
        (Touch::Write, Touch::Atomic, true),
        (Touch::StrongRead, Touch::Write, true),
        (Touch::StrongRead, Touch::StrongWrite, false),
        (Touch::StrongRead, Touch::Atomic, false),
        (Touch::StrongRead, Touch::Read, false),
        (Touch::StrongWrite, Touch::StrongRead, false),
    ] {
        for barrier in [false, true] {
            let mut s = SharedRaces::new(4096, 4, 2, (0, true));
            s.begin(7);
            s.touch(&by(first, 0, 11, 128, &row(), 4)).unwrap();
            if barrier {
                s.barrier();
            }
            let got = s.touch(&by(second, 1, 22, 128, &row(), 4));
            assert_eq!(got.is_err(), races && !barrier, "{first:?}, {second:?}, {barrier}");
            if let Err(c) = got {
                let want = Access { touch: first, block: 7, warp: 0, lane: 0, pc: 11 };
                assert_eq!((c.at, c.first, c.second), (128, want, Access { touch: second, warp: 1, pc: 22, ..want }));
            }
        }
    }
    // Other words, other pieces of wide accesses.
    let mut s = SharedRaces::new(4096, 4, 2, (0, true));
    s.touch(&by(Touch::Write, 0, 0, 0, &[(0, 1), (16, 2)], 16)).unwrap();
    s.touch(&by(Touch::Write, 1, 0, 32, &[(0, 1)], 16)).unwrap();
    assert_eq!(s.touch(&by(Touch::Read, 1, 0, 0, &[(28, 4)], 4)).unwrap_err().at, 28);
}

#[test]
fn many_readers_one_writer() {
    // Three warps read; the second of them writes without a barrier: a race with the others. After it, none.
    for barrier in [false, true] {
        let mut s = SharedRaces::new(64, 4, 3, (0, true));
        for w in [0, 2, 1] {
            s.touch(&by(Touch::Read, w, w, 0, &one(3), 4)).unwrap();
        }
        if barrier {
            s.barrier();
        }
        assert_eq!(s.touch(&by(Touch::Write, 1, 9, 0, &one(3), 4)).is_err(), !barrier);
    }
    // The writer alone read: fine.
    let mut s = SharedRaces::new(64, 4, 3, (0, true));
    s.touch(&by(Touch::Read, 1, 0, 0, &one(3), 4)).unwrap();
    s.touch(&by(Touch::Write, 1, 0, 0, &one(3), 4)).unwrap();
}

#[test]
fn lanes_of_a_warp() {
    let fresh = || SharedRaces::new(256, 4, 1, (0, true));
    // Lane 1 reads what lane 0 wrote: ordered by a sync with both, also in two steps, not by one without.
    for (masks, ordered) in [
        (vec![], false),
        (vec![LANES], true),
        (vec![0b11], true),
        (vec![0b101, 0b110], true),
        (vec![0b110, 0b101], false),
        (vec![0b1100], false),
    ] {
        let mut s = fresh();
        s.sync(0, 0b1, LANES);
        s.touch(&by(Touch::Write, 0, 0, 0, &one(0), 4)).unwrap();
        masks.iter().for_each(|&m| s.sync(0, m, LANES));
        assert_eq!(s.touch(&by(Touch::Read, 0, 1, 0, &one(1), 4)).is_ok(), ordered, "{masks:?}");
        // The other way round: read, then write by another lane.
        let mut s = fresh();
        s.touch(&by(Touch::Read, 0, 0, 0, &[(0, 0b1)], 4)).unwrap();
        masks.iter().for_each(|&m| s.sync(0, m, LANES));
        let got = s.touch(&by(Touch::Write, 0, 1, 0, &one(1), 4));
        assert_eq!(got.is_ok(), ordered, "{masks:?}");
        if let Err(c) = got {
            assert_eq!((c.first.lane, c.second.lane), (0, 1));
        }
    }
    // Lanes that have exited need not take part.
    let mut s = fresh();
    s.touch(&by(Touch::Write, 0, 0, 0, &one(0), 4)).unwrap();
    s.sync(0, 0b11, 0b11);
    s.touch(&by(Touch::Read, 0, 1, 0, &one(1), 4)).unwrap();
    // A lane sees its own write; a broadcast is read by lanes that do not.
    let mut s = fresh();
    s.touch(&by(Touch::Write, 0, 0, 0, &one(5), 4)).unwrap();
    s.touch(&by(Touch::Read, 0, 1, 0, &one(5), 4)).unwrap();
    assert_eq!(s.touch(&by(Touch::Read, 0, 2, 0, &[(0, LANES)], 4)).unwrap_err().second.lane, 0);
    // Two lanes write one word with one instruction.
    assert!(fresh().touch(&by(Touch::Write, 0, 0, 0, &[(0, 0b110)], 4)).is_err());
    assert!(fresh().touch(&by(Touch::Atomic, 0, 0, 0, &[(0, 0b110)], 4)).is_ok());
}

#[test]
fn named_barriers() {
    // Warps 0 and 1 meet at barrier 1; warp 2 does not.
    let run = |reader: u32, meet: bool| {
        let mut s = SharedRaces::new(64, 4, 3, (0, true));
        s.touch(&by(Touch::Write, 0, 0, 0, &one(0), 4)).unwrap();
        if meet {
            s.arrive(1, 0);
            s.arrive(1, 1);
            s.leave(1, 0);
            s.leave(1, 1);
        }
        s.touch(&by(Touch::Read, reader, 1, 0, &one(0), 4)).is_ok()
    };
    assert_eq!([run(1, true), run(2, true), run(1, false)], [true, false, false]);
    // What happens after the barrier is not ordered by it.
    let mut s = SharedRaces::new(64, 4, 3, (0, true));
    s.arrive(1, 0);
    s.arrive(1, 1);
    s.leave(1, 1);
    s.touch(&by(Touch::Write, 0, 0, 0, &one(0), 4)).unwrap();
    assert!(s.touch(&by(Touch::Read, 1, 1, 0, &one(0), 4)).is_err());
    // Through a third warp; and a reader of before the barrier, found by a writer after it.
    for through in [false, true] {
        let mut s = SharedRaces::new(64, 4, 3, (0, true));
        s.touch(&by(Touch::Read, 0, 0, 0, &one(0), 4)).unwrap();
        s.touch(&by(Touch::Read, 1, 0, 0, &one(1), 4)).unwrap();
        s.arrive(1, 0);
        s.arrive(1, 1);
        s.leave(1, 1);
        if through {
            s.arrive(2, 1);
            s.leave(2, 2);
        }
        assert_eq!(s.touch(&by(Touch::Write, 2, 0, 0, &one(1), 4)).is_ok(), through);
    }
}

#[test]
fn copies_in_flight() {
    let mut s = SharedRaces::new(256, 4, 2, (0, true));
    s.touch(&by(Touch::Copy, 0, 5, 0, &[(0, 1)], 16)).unwrap();
    // A barrier does not finish a copy.
    s.barrier();
    for (touch, warp) in [(Touch::Read, 1), (Touch::Read, 0), (Touch::Write, 0), (Touch::Atomic, 1)] {
        let mut s = SharedRaces::new(256, 4, 2, (0, true));
        s.touch(&by(Touch::Copy, 0, 5, 0, &[(0, 1)], 16)).unwrap();
        s.barrier();
        // Not even its own lane may look.
        let c = s.touch(&by(touch, warp, 6, 4, &one(0), 4)).unwrap_err();
        assert_eq!((c.first.touch, c.first.pc, c.at), (Touch::Copy, 5, 4));
    }
    s.touch(&by(Touch::Arrived, 0, 7, 0, &[(0, 1)], 16)).unwrap();
    // Its own lane may; the others need a barrier.
    s.touch(&by(Touch::Read, 0, 8, 4, &one(0), 4)).unwrap();
    assert!(s.touch(&by(Touch::Read, 1, 8, 8, &one(0), 4)).is_err());
    s.barrier();
    s.touch(&by(Touch::Read, 1, 8, 4, &one(0), 4)).unwrap();
    // A copy into what others still read, without and with a barrier.
    s.touch(&by(Touch::Read, 1, 8, 0, &one(0), 4)).unwrap();
    assert!(s.touch(&by(Touch::Copy, 0, 9, 0, &[(0, 1)], 16)).is_err());
    s.barrier();
    s.touch(&by(Touch::Copy, 0, 9, 0, &[(0, 1)], 16)).unwrap();
}

#[test]
fn locks_in_shared_memory() {
    for fences in [false, true] {
        let mut s = SharedRaces::new(64, 4, 2, (0, true));
        for w in 0..2 {
            s.touch(&by(Touch::Atomic, w, 0, 32, &one(0), 4)).unwrap();
            let got =
                s.touch(&by(Touch::Read, w, 1, 0, &one(0), 4)).and_then(|()| s.touch(&by(Touch::Write, w, 2, 0, &one(0), 4)));
            assert_eq!(got.is_ok(), fences || w == 0);
            if fences {
                s.fence(w);
            }
            s.touch(&by(Touch::Atomic, w, 3, 32, &one(0), 4)).unwrap();
        }
    }
}

/// A flag that one polls and the other resets with an ordinary write: that needs an order, by whatever means.
#[test]
fn polls_before_an_ordinary_write() {
    // Another poll or a strong write in between hides nothing.
    for between in [None, Some(Touch::StrongRead), Some(Touch::StrongWrite), Some(Touch::Read)] {
        let mut s = SharedRaces::new(64, 4, 3, (0, true));
        s.touch(&by(Touch::StrongRead, 0, 1, 0, &one(3), 4)).unwrap();
        if let Some(touch) = between {
            s.touch(&by(touch, 1, 2, 0, &one(0), 4)).unwrap();
        }
        let c = s.touch(&by(Touch::Write, 1, 3, 0, &one(0), 4)).unwrap_err();
        assert_eq!((c.hazard(), c.first.touch, c.first.warp, c.first.lane), ("write after read", Touch::StrongRead, 0, 3));
    }
    // Lanes of a warp, a partial barrier, a lock.
    let mut s = SharedRaces::new(64, 4, 3, (0, true));
    s.touch(&by(Touch::StrongRead, 0, 1, 0, &one(3), 4)).unwrap();
    s.touch(&by(Touch::StrongRead, 1, 1, 4, &one(3), 4)).unwrap();
    s.touch(&by(Touch::StrongRead, 2, 1, 8, &one(3), 4)).unwrap();
    s.sync(0, 0b1001, LANES);
    s.touch(&by(Touch::Write, 0, 2, 0, &one(0), 4)).unwrap();
    s.arrive(1, 1);
    s.leave(1, 0);
    s.touch(&by(Touch::Write, 0, 3, 4, &one(0), 4)).unwrap();
    assert!(s.touch(&by(Touch::Write, 0, 4, 8, &one(0), 4)).is_err());
    // Between blocks: by an acknowledgement, or not at all.
    for acknowledged in [false, true] {
        let mut g = GlobalRaces::new(vec![64], 4, 2);
        let (mut reader, mut writer) = (GlobalClocks::new(0, 1), GlobalClocks::new(1, 1));
        g.touch(&mut reader, 0, &by(Touch::StrongRead, 0, 1, 0, &one(0), 4)).unwrap();
        if acknowledged {
            reader.fence(0);
            g.touch(&mut reader, 0, &by(Touch::StrongWrite, 0, 2, 32, &one(0), 4)).unwrap();
            g.touch(&mut writer, 0, &by(Touch::StrongRead, 0, 3, 32, &one(0), 4)).unwrap();
            writer.fence(0);
        }
        assert_eq!(g.touch(&mut writer, 0, &by(Touch::Write, 0, 4, 0, &one(0), 4)).is_ok(), acknowledged);
    }
}

#[test]
fn blocks_of_a_grid() {
    for (first, second, races) in [
        (Touch::Write, Touch::Write, true),
        (Touch::Write, Touch::Read, true),
        (Touch::Read, Touch::Write, true),
        (Touch::Read, Touch::Read, false),
        (Touch::Atomic, Touch::Atomic, false),
        (Touch::Atomic, Touch::Read, true),
        (Touch::StrongRead, Touch::Write, true),
        (Touch::StrongRead, Touch::StrongWrite, false),
        (Touch::StrongRead, Touch::Read, false),
    ] {
        let mut g = GlobalRaces::new(vec![0, 4096], 4, 2);
        for (block, touch) in [(0, first), (1, second)] {
            let mut me = GlobalClocks::new(block, 1);
            let got = g.touch(&mut me, 1, &by(touch, 0, 30 + block, 256, &row(), 4));
            assert_eq!(got.is_err(), races && block == 1, "{first:?}, {second:?}");
            if let Err(c) = got {
                assert_eq!((c.first.block, c.second.block, c.first.pc, c.second.pc, c.at), (0, 1, 30, 31, 256));
            }
        }
    }
    // Read by three blocks, written by the one that read last.
    let mut g = GlobalRaces::new(vec![64], 4, 3);
    for block in 0..3 {
        let mut me = GlobalClocks::new(block, 1);
        g.touch(&mut me, 0, &by(Touch::Read, 0, 0, 0, &one(0), 4)).unwrap();
        if block == 2 {
            assert_eq!(g.touch(&mut me, 0, &by(Touch::Write, 0, 0, 0, &one(0), 4)).unwrap_err().first.block, 0);
        }
    }
    // Within a block: warps need a barrier, as in shared memory.
    for barrier in [false, true] {
        let mut g = GlobalRaces::new(vec![64], 4, 1);
        let mut me = GlobalClocks::new(0, 2);
        g.touch(&mut me, 0, &by(Touch::Write, 0, 0, 0, &one(0), 4)).unwrap();
        if barrier {
            me.barrier();
        }
        assert_eq!(g.touch(&mut me, 0, &by(Touch::Read, 1, 0, 0, &one(0), 4)).is_ok(), barrier);
    }
}

/// Every block writes a partial result; the last to draw a ticket adds them up.
#[test]
fn last_block() {
    #[derive(Clone, Copy, Debug)]
    struct Pattern {
        fence: bool,
        barrier: bool,
        late: bool,
        ticket: bool,
    }
    let run = |p: Pattern| {
        let mut g = GlobalRaces::new(vec![4096, 4], 4, 4);
        for block in 0..4 {
            let mut me = GlobalClocks::new(block, 2);
            // Both warps write; warp 0 draws the ticket.
            for warp in 0..2 {
                g.touch(&mut me, 0, &by(Touch::Write, warp, 0, 256 * block as u64 + 128 * warp as u64, &row(), 4))?;
            }
            if p.barrier {
                me.barrier();
            }
            if p.fence {
                me.fence(0);
            }
            if p.late {
                g.touch(&mut me, 0, &by(Touch::Write, 0, 0, 256 * block as u64, &row(), 4))?;
            }
            if p.ticket {
                g.touch(&mut me, 1, &by(Touch::Atomic, 0, 1, 0, &one(0), 4))?;
            }
            me.barrier();
            if block == 3 {
                for warp in 0..8 {
                    g.touch(&mut me, 0, &by(Touch::Read, warp % 2, 2, 128 * warp as u64, &row(), 4))?;
                }
            }
        }
        Ok::<(), Box<Conflict>>(())
    };
    let right = Pattern { fence: true, barrier: true, late: false, ticket: true };
    assert_eq!(run(right), Ok(()));
    for wrong in [
        Pattern { fence: false, ..right },
        Pattern { barrier: false, ..right },
        Pattern { late: true, ..right },
        Pattern { ticket: false, ..right },
    ] {
        let c = run(wrong).expect_err(&format!("{wrong:?}"));
        assert_eq!((c.hazard(), c.second.block), ("read after write", 3), "{wrong:?}");
    }
}
