//! Blocks that wait for each other: `programs/blocks.cu`, compiled, under every schedule, and with planted bugs.

use lae_ptx::{Arg, Config, Fault, FaultKind, Launch, Machine, Module, Report, Schedule};

fn module() -> Module {
    Module::parse("blocks.ptx", include_str!("programs/blocks.ptx")).unwrap()
}

fn schedules() -> impl Iterator<Item = Schedule> {
    [Schedule::Forward, Schedule::Reverse].into_iter().chain((0..4).map(Schedule::Random))
}

/// Memory of words on a machine.
struct Words<'a>(&'a mut Machine, Vec<u64>);

impl Words<'_> {
    fn update(&mut self, name: &str, words: &[i32]) -> Arg {
        let len = 4 * words.len() as u64;
        let addr = self.0.alloc(name, len);
        self.0.write(addr, bytemuck::cast_slice(words)).unwrap();
        self.1.push(addr);
        Arg::Update { addr, len }
    }

    fn get(&self, k: usize, n: usize) -> Vec<i32> {
        let bytes = self.0.bytes(self.1[k], 4 * n as u64).unwrap();
        bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect()
    }
}

fn run(m: &mut Machine, kernel: &str, blocks: u32, threads: u32, args: Vec<Arg>) -> Result<Report, Fault> {
    m.launch(&module(), kernel, &Launch { grid: [blocks, 1, 1], block: [threads, 1, 1], shared: 0, args, ..Launch::default() })
}

fn grid_sum(config: Config, kernel: &str, blocks: u32) -> Result<Report, Fault> {
    let mut machine = Machine::new(config);
    let mut w = Words(&mut machine, Vec::new());
    let n = blocks as usize;
    let x: Vec<i32> = (0..64 * blocks as i32).map(|i| i * 7 % 11).collect();
    let args = vec![w.update("x", &x), w.update("part", &vec![0; n]), w.update("y", &vec![0; n]), w.update("counter", &[0])];
    let report = run(w.0, kernel, blocks, 64, args)?;
    assert_eq!(w.get(2, n), vec![x.iter().sum::<i32>(); n]);
    Ok(report)
}

fn name(r: Result<Report, Fault>) -> &'static str {
    r.map_or_else(|f| f.kind.name(), |_| "none")
}

#[test]
fn a_grid_barrier() {
    for schedule in schedules() {
        let config = Config { schedule, ..Config::default() };
        grid_sum(config.clone(), "grid_sum_right", 300).unwrap_or_else(|f| panic!("{schedule:?}: {f}"));
        assert_eq!(name(grid_sum(config.clone(), "grid_sum_no_release", 8)), "race");
        assert_eq!(name(grid_sum(config.clone(), "grid_sum_no_acquire", 8)), "race");
        let fault = grid_sum(config, "grid_sum_one_too_many", 8).unwrap_err();
        let text = fault.to_string();
        assert!(matches!(fault.kind, FaultKind::BlockDeadlock { .. }), "{text}");
        assert!(text.contains("reads 0x8 again and again from offset 0 of argument 3 (`counter`, 4 bytes)"), "{text}");
        assert!(fault.executed < 1 << 20, "{text}");
    }
}

#[test]
fn a_grid_barrier_of_more_blocks_than_fit() {
    let config = Config { resident: Some(5), ..Config::default() };
    grid_sum(config.clone(), "grid_sum_right", 5).unwrap();
    let text = grid_sum(config, "grid_sum_right", 6).unwrap_err().to_string();
    assert!(text.contains("1 more blocks have not begun: the machine holds 5 of these at once"), "{text}");
    // As many as an H100 has: 132 multiprocessors with 32 blocks each.
    let config = Config { budget: 1 << 27, ..Config::default() };
    grid_sum(config, "grid_sum_right", 1056).unwrap();
}

fn look_back(config: Config, kernel: &str) -> Result<Report, Fault> {
    let mut machine = Machine::new(config);
    let mut w = Words(&mut machine, Vec::new());
    let x: Vec<i32> = (0..128 * 60).map(|i| i * 5 % 13 - 3).collect();
    let args = vec![w.update("x", &x), w.update("y", &vec![0; x.len()]), w.update("state", &[0; 120]), w.update("ticket", &[0])];
    let report = run(w.0, kernel, 60, 128, args)?;
    let mut sum = 0;
    let want: Vec<i32> = x.iter().map(|v| (sum += v, sum).1).collect();
    assert_eq!(w.get(1, x.len()), want);
    Ok(report)
}

#[test]
fn a_scan_that_looks_back() {
    for schedule in schedules() {
        let config = Config { schedule, ..Config::default() };
        look_back(config.clone(), "look_back_right").unwrap_or_else(|f| panic!("{schedule:?}: {f}"));
        look_back(config.clone(), "look_back_falling").unwrap_or_else(|f| panic!("{schedule:?}: {f}"));
        // What thread 127 has not written yet is read, or was of a run before.
        assert!(["race", "uninitialised"].contains(&name(look_back(config.clone(), "look_back_no_barrier"))));
        // Numbers are drawn falling: the blocks that have begun wait for those that have not.
        let few = Config { resident: Some(4), ..config };
        look_back(few.clone(), "look_back_right").unwrap_or_else(|f| panic!("{schedule:?}: {f}"));
        let text = look_back(few, "look_back_falling").unwrap_err().to_string();
        assert!(text.contains("56 more blocks have not begun") && text.contains("which no block has written"), "{text}");
    }
}

fn locked(config: Config, kernel: &str) -> Result<Report, Fault> {
    let mut machine = Machine::new(config);
    let mut w = Words(&mut machine, Vec::new());
    let args = vec![w.update("lock", &[0]), w.update("count", &[0])];
    let report = run(w.0, kernel, 6, 64, args)?;
    assert_eq!(w.get(1, 1), [6 * 64]);
    Ok(report)
}

#[test]
fn a_lock() {
    for schedule in schedules() {
        let config = Config { schedule, ..Config::default() };
        locked(config.clone(), "locked_right").unwrap_or_else(|f| panic!("{schedule:?}: {f}"));
        assert_eq!(name(locked(config.clone(), "locked_no_fence")), "race");
        let text = locked(config, "locked_for_ever").unwrap_err().to_string();
        assert!(text.contains("0x1 again and again") && text.contains("was the last to write"), "{text}");
    }
}

/// A kernel of one pointer, in %rd1; %r1 is the thread, %r2 the block.
fn by_hand(body: &str, blocks: u32, config: Config) -> Result<Vec<i32>, Fault> {
    let text = format!(
        ".version 8.0\n.target sm_80\n.address_size 64
        .visible .entry k(.param .u64 flags) {{
        .reg .pred %p<4>; .reg .b32 %r<8>; .reg .b64 %rd<4>;
        ld.param.u64 %rd1, [flags]; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x;
        {body}
        DONE: ret; }}"
    );
    let module = Module::parse("by_hand.ptx", &text).unwrap();
    let mut machine = Machine::new(config);
    let mut w = Words(&mut machine, Vec::new());
    let args = vec![w.update("flags", &[0; 64])];
    w.0.launch(&module, "k", &Launch { grid: [blocks, 1, 1], block: [1, 1, 1], shared: 0, args, ..Launch::default() })?;
    Ok(w.get(0, 64))
}

/// Every block waits for the flag of the block `%r3`, and then raises its own.
const CHAIN: &str = "
    mul.wide.u32 %rd2, %r2, 4; add.u64 %rd2, %rd1, %rd2;
    @%p1 bra FREE;
    mul.wide.u32 %rd3, %r3, 4; add.u64 %rd3, %rd1, %rd3;
SPIN:
    ld.acquire.gpu.global.u32 %r4, [%rd3];
    setp.eq.u32 %p2, %r4, 0;
    @%p2 bra SPIN;
FREE:
    mov.u32 %r5, 1;
    st.release.gpu.global.u32 [%rd2], %r5;";

#[test]
fn a_chain_of_blocks_in_both_directions() {
    for (first, step) in [(0, "sub.u32 %r3, %r2, 1;"), (63, "add.u32 %r3, %r2, 1;")] {
        let body = format!("setp.eq.u32 %p1, %r2, {first}; {step} {CHAIN}");
        for schedule in schedules() {
            let got = by_hand(&body, 64, Config { schedule, budget: 1 << 20, ..Config::default() });
            assert_eq!(got.unwrap_or_else(|f| panic!("{schedule:?}: {f}")), [1; 64]);
        }
    }
}

#[test]
fn blocks_that_wait_in_a_circle() {
    let body = format!("setp.eq.u32 %p1, %r2, 99; add.u32 %r3, %r2, 1; and.b32 %r3, %r3, 3; {CHAIN}");
    for schedule in schedules() {
        let text = by_hand(&body, 4, Config { schedule, ..Config::default() }).unwrap_err().to_string();
        for b in 0..4 {
            let waits = format!("block ({b},0,0), thread (0,0,0) reads 0x0 again and again");
            assert!(text.contains(&waits), "{text}");
        }
        assert!(
            text.contains("ld.acquire.gpu.global.u32")
                && text.contains("from offset 8 of argument 0 (`flags`, 256 bytes), which no block"),
            "{text}"
        );
    }
}

#[test]
fn a_loop_without_end_is_no_question_of_budget() {
    let start = std::time::Instant::now();
    let fault = by_hand("LOOP: bra LOOP;", 2, Config::default()).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::BlockDeadlock { .. }), "{fault}");
    assert!(fault.to_string().contains("block (1,0,0) repeats itself, and changes nothing"), "{fault}");
    assert!(start.elapsed().as_secs() < 20);
    // One that counts comes to an end, and goes on until it does.
    let body =
        "mov.u32 %r3, 0; LOOP: add.u32 %r3, %r3, 1; setp.lt.u32 %p1, %r3, 4000000; @%p1 bra LOOP; st.global.u32 [%rd1], %r3;";
    assert_eq!(by_hand(body, 1, Config::default()).unwrap()[0], 4_000_000);
}

/// A flag that is read by an ordinary load, which another block raises: a race, and with the check left out no hang.
#[test]
fn an_ordinary_load_in_a_loop() {
    let body = "
    setp.eq.u32 %p1, %r2, 0;
    @%p1 bra FIRST;
SPIN:
    ld.global.u32 %r3, [%rd1];
    setp.eq.u32 %p2, %r3, 0;
    @%p2 bra SPIN;
    bra DONE;
FIRST:
    mov.u32 %r3, 5;
    st.global.u32 [%rd1], %r3;";
    let mut config = Config { schedule: Schedule::Reverse, ..Config::default() };
    let race = by_hand(body, 2, config.clone()).unwrap_err();
    assert!(matches!(race.kind, FaultKind::Race { .. }), "{race}");
    config.checks.race = false;
    assert_eq!(by_hand(body, 2, config).unwrap()[0], 5);
}

/// C += A B of 32 × 48 × 64 in 4 slices of k, twice: the semaphores must be left as they were found.
fn split_k(config: Config, kernel: &str) -> Result<Report, Fault> {
    let mut machine = Machine::new(config);
    let (m, n, k, slices) = (32usize, 48usize, 64usize, 4u32);
    let mut place = |name: &str, words: Vec<f32>| {
        let len = 4 * words.len() as u64;
        let addr = machine.alloc(name, len);
        machine.write(addr, bytemuck::cast_slice(&words)).unwrap();
        (addr, len)
    };
    // Whole numbers, so that sums are exact in any order.
    let [a, b]: [Vec<f32>; 2] = [(m * k, 5), (k * n, 7)].map(|(len, p)| (0..len).map(|i| (i * 3 % p) as f32 - 2.0).collect());
    let (pa, pb) = (place("a", a.clone()), place("b", b.clone()));
    let (pc, ps) = (place("c", vec![0.0; m * n]), place("semaphores", vec![0.0; 6]));
    let read = |(addr, len)| Arg::Read { addr, len };
    let update = |(addr, len)| Arg::Update { addr, len };
    let numbers = [m as i32, n as i32, k as i32];
    let product = Arg::Struct {
        bytes: [vec![0; 32], bytemuck::cast_slice(&numbers).to_vec(), vec![0; 4]].concat(),
        pointers: vec![(0, read(pa)), (8, read(pb)), (16, update(pc)), (24, update(ps))],
    };
    let launch = Launch::new([3, 2, slices], [256, 1, 1], vec![product]);
    let mut report = Report::default();
    for _ in 0..2 {
        report = machine.launch(&module(), kernel, &launch)?;
        let c: Vec<f32> = machine.bytes(pc.0, pc.1).unwrap().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        for (i, got) in c.iter().enumerate() {
            let want: f32 = (0..k).map(|l| a[i / n * k + l] * b[l * n + i % n]).sum();
            assert_eq!(*got, want, "{i}");
        }
        assert!(machine.bytes(ps.0, ps.1).unwrap().iter().all(|b| *b == 0));
    }
    Ok(report)
}

#[test]
fn a_split_k_product_with_pointers_in_a_struct() {
    for schedule in schedules() {
        let config = Config { schedule, ..Config::default() };
        split_k(config.clone(), "split_k_right").unwrap_or_else(|f| panic!("{schedule:?}: {f}"));
        assert_eq!(name(split_k(config.clone(), "split_k_no_barrier")), "race");
        assert_eq!(name(split_k(config.clone(), "split_k_relaxed")), "race");
        let text = split_k(config, "split_k_waits_for_ever").unwrap_err().to_string();
        assert!(text.contains("reads 0x0 again and again") && text.contains("(`semaphores`, 24 bytes)"), "{text}");
    }
}
