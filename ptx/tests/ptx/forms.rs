//! Rarer forms of memory, of warps and of tensor cores, each against what the PTX ISA says of it.

use lae_ptx::*;

use crate::warp::{STORE, configs, each, run, warp};

#[test]
fn hints_change_nothing() {
    let load = |form: &str| warp(&format!("mov.b64 %rd6, 7; {form}; {STORE}"));
    for form in [
        "ld.cg.global.u32 %r9, [%rd3]",
        "ld.global.acquire.gpu.b32 %r9, [%rd3]",
        "ld.global.volatile.u32 %r9, [%rd3]",
        "ld.mmio.relaxed.sys.global.u32 %r9, [%rd3]",
        "ld.weak.global.u32 %r9, [%rd3]",
        "ld.global.u32 %r9, [%rd3].unified",
        "ld.global.nc.L1::no_allocate.L2::128B.u32 %r9, [%rd3]",
        "ld.global.L1::evict_last.L2::cache_hint.u32 %r9, [%rd3], %rd6",
        "ld.global.L1::evict_unchanged.u32 %r9, [%rd3]",
        "ldu.global.b32 %r9, [%rd3]",
        "st.global.release.gpu.b32 [%rd4], %r1; ld.global.u32 %r9, [%rd4]",
        "st.global.L1::evict_last.L2::cache_hint.b32 [%rd4], %r1, %rd6; ld.global.u32 %r9, [%rd4]",
        "st.relaxed.cta.shared::cta.u32 [tile], %r1; mov.u32 %r9, %r1",
        "prefetch.global.L1 [%rd3]; prefetch.global.L2::evict_last [%rd3]; prefetchu.L1 [%rd3]; mov.u32 %r9, %r1",
        "applypriority.global.L2::evict_normal [%rd3], 128; createpolicy.fractional.L2::evict_first.b64 %rd7; mov.u32 %r9, %r1",
        "fence.proxy.alias; fence.proxy.async; fence.proxy.async.shared::cta; fence.mbarrier_init.release.cluster; mov.u32 %r9, %r1",
        "fence.acquire.sync_restrict::shared::cluster.cluster; fence.sc.cluster; fence.release.gpu; mov.u32 %r9, %r1",
        "pmevent 1; pmevent.mask 3; griddepcontrol.wait; griddepcontrol.launch_dependents; mov.u32 %r9, %r1",
        "setmaxnreg.inc.sync.aligned.u32 64; mov.u32 %r9, %r1",
    ] {
        assert_eq!(load(form), each(|i| i), "{form}");
    }
}

#[test]
fn discarded_bytes_hold_nothing() {
    let body = |read: &str| {
        format!(
            "setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; discard.global.L2 [%rd1+128], 128; ld.global.u32 %r9, [%rd1+{read}]; {STORE}"
        )
    };
    assert_eq!(run(&Config::default(), 32, |i| i, &body("256")).unwrap().0[0], 64);
    assert_eq!(run(&Config::default(), 32, |i| i, &body("124")).unwrap().0[0], 31);
    let f = run(&Config::default(), 32, |i| i, &body("252")).unwrap_err();
    assert_eq!(f.kind.name(), "uninitialised", "{f}");
    let wrong = "discard.global.L2 [%rd1+64], 128;";
    assert_eq!(run(&Config::default(), 32, |i| i, wrong).unwrap_err().kind.name(), "misaligned");
}

#[test]
fn atomics_of_all_kinds() {
    // One lane at a time, so that the order does not matter.
    let one = |form: &str| {
        let body = format!("setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; mov.b64 %rd6, 7; mov.b32 %r5, 0x40004000; {form}");
        let all: Vec<_> = configs().iter().map(|c| run(c, 32, |i| i + 1, &body).unwrap_or_else(|f| panic!("{f}")).1).collect();
        all.iter().for_each(|x| assert_eq!(*x, all[0]));
        all[0].clone()
    };
    for form in [
        "atom.global.cta.add.u32 %r9, [%rd1], 5",
        "atom.global.sys.add.u32 %r9, [%rd1], 5",
        "atom.add.acq_rel.gpu.s32 %r9, [%rd1], 5",
        "atom.acquire.gpu.add.u32 %r9, [%rd1], 5",
        "atom.global.gpu.acq_rel.add.u32 %r9, [%rd1], 5",
        "atom.relaxed.cluster.global.add.u32 %r9, [%rd1], 5",
        "atom.global.add.L2::cache_hint.u32 %r9, [%rd1], 5, %rd6",
        "red.global.release.gpu.add.u32 [%rd1], 5",
        "red.global.add.L2::cache_hint.u32 [%rd1], 5, %rd6",
    ] {
        assert_eq!(one(&format!("{form};"))[0], 6, "{form}");
    }
    // Vectors: each component for itself.
    let x = one("mov.b32 %r6, 0x3f800000; st.global.v4.b32 [%rd1], {%r6, %r6, %r6, %r6}; atom.global.v2.f32.add {%r7, %r8}, [%rd1], {%r6, %r6};
        red.global.add.v4.f32 [%rd1], {%r6, %r6, %r6, %r6};");
    assert_eq!(x[..4], [3f32.to_bits(), 3f32.to_bits(), 2f32.to_bits(), 2f32.to_bits()]);
    let pair = "st.global.v2.b32 [%rd1], {%r6, %r6};";
    let x = one(&format!(
        "mov.b32 %r6, 0x3c003c00; {pair} atom.global.v2.f16x2.max.noftz {{%r7, %r8}}, [%rd1], {{%r5, %r6}}; st.global.v2.b32 [%rd1+8], {{%r7, %r8}};"
    ));
    assert_eq!(x[..4], [0x4000_4000, 0x3c00_3c00, 0x3c00_3c00, 0x3c00_3c00]);
    let x = one(&format!("mov.b32 %r6, 0x3f803f80; {pair} red.global.v2.bf16x2.add.noftz [%rd1], {{%r6, %r6}};"));
    assert_eq!(x[..2], [0x4000_4000; 2]);
    let eight = "{%h1, %h1, %h1, %h1, %h1, %h1, %h1, %h2}";
    let start =
        "mov.b32 %r6, 0x3c003c00; st.global.v4.b32 [%rd1], {%r6, %r6, %r6, %r6}; mov.b16 %h1, 0x3800; mov.b16 %h2, 0x4400;";
    let x = one(&format!("{start} red.global.v8.f16.min.noftz [%rd1], {eight};"));
    assert_eq!(x[..4], [0x3800_3800, 0x3800_3800, 0x3800_3800, 0x3c00_3800]);
    let x = one(&format!("{start} red.global.v8.f16.add.noftz [%rd1], {eight};"));
    assert_eq!(x[..4], [0x3e00_3e00, 0x3e00_3e00, 0x3e00_3e00, 0x4500_3e00]);
    let x =
        one(&format!("{start} atom.global.v2.f16.max.noftz {{%h3, %h4}}, [%rd1], {{%h1, %h2}}; st.global.u16 [%rd1+8], %h3;"));
    assert_eq!((x[0], x[2]), (0x4400_3c00, 0x3c00_3c00));
}

#[test]
fn copies_with_a_predicate() {
    let body = |p: &str| {
        format!(
            "mov.b64 %rd6, 7; mad.wide.u32 %rd7, %r1, 16, %rd1; mov.u32 %r5, tile; mad.lo.u32 %r5, %r1, 16, %r5;
            setp.lt.u32 %p1, %r1, 4; cp.async.cg.shared.global.L2::cache_hint [%r5], [%rd7], 16, {p}, %rd6;
            cp.async.wait_all; ld.shared.u32 %r9, [%r5+4]; {STORE}"
        )
    };
    assert_eq!(warp(&body("%p1")), each(|i| if i < 4 { 0 } else { 4 * i + 1 }));
    assert_eq!(warp(&body("!%p1")), each(|i| if i < 4 { 4 * i + 1 } else { 0 }));
}

#[test]
fn one_lane_is_elected() {
    let y = warp(&format!("elect.sync %r8|%p1, -1; selp.u32 %r9, 100, 0, %p1; add.u32 %r9, %r9, %r8; {STORE}"));
    assert_eq!(y, each(|i| if i == 0 { 100 } else { 0 }));
    let y = warp(&format!(
        "mov.u32 %r9, 0; setp.lt.u32 %p2, %r1, 8; @%p2 bra A; elect.sync _|%p1, 0xffffff00; selp.u32 %r9, 1, 0, %p1; A: {STORE}"
    ));
    assert_eq!(y, each(|i| (i == 8) as u32));
}

#[test]
fn matrices_to_shared_memory() {
    // What ldmatrix takes apart, stmatrix puts together again.
    for trans in ["", ".trans"] {
        let y = warp(&format!(
            "mov.u32 %r5, tile; mad.lo.u32 %r6, %r1, 16, %r5; mad.wide.u32 %rd7, %r1, 16, %rd1;
            ld.global.v4.u32 {{%r10, %r11, %r12, %r13}}, [%rd7]; st.shared.v4.u32 [%r6], {{%r10, %r11, %r12, %r13}}; bar.warp.sync -1;
            ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {{%r10, %r11, %r12, %r13}}, [%r6];
            stmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 [%r6+1024], {{%r10, %r11, %r12, %r13}}; bar.warp.sync -1;
            ld.shared.u32 %r9, [%r6+1032]; {STORE}"
        ));
        assert_eq!(y, each(|i| 4 * i + 2), "{trans}");
    }
    // A generic address; one matrix, transposed: row j receives the lower halves of lanes 4·k + j/2 …
    let y = warp(&format!(
        "mov.u64 %rd6, tile; cvta.shared.u64 %rd6, %rd6; and.b32 %r5, %r1, 7; mad.wide.u32 %rd7, %r5, 16, %rd6; add.u32 %r10, %r1, 0x10000;
        stmatrix.sync.aligned.m8n8.x1.trans.b16 [%rd7], {{%r10}}; bar.warp.sync -1; mad.wide.u32 %rd7, %r1, 4, %rd6; ld.u32 %r9, [%rd7]; {STORE}"
    ));
    // Element (i, j) of the transpose is element (j, i): lane 4·j + i/2, half i mod 2.
    let element = |i: u32, j: u32| if i.is_multiple_of(2) { 4 * j + i / 2 } else { 1 };
    assert_eq!(y, each(|lane| element(lane / 4, lane % 4 * 2) | element(lane / 4, lane % 4 * 2 + 1) << 16));
    // A store that nobody has waited for races.
    let f = run(
        &Config::default(),
        64,
        |i| i,
        "mov.u32 %r5, tile; and.b32 %r6, %r1, 31; mad.lo.u32 %r5, %r6, 16, %r5;
        stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r5], {%r1, %r1, %r1, %r1};",
    )
    .unwrap_err();
    assert_eq!(f.kind.name(), "race");
}

#[test]
fn carries_of_64_bits() {
    // ((2⁶⁴ − 1) + 1, carry), then a difference that borrows.
    let y = warp(&format!(
        "mov.b64 %rd6, -1; add.cc.u64 %rd7, %rd6, 1; addc.u64 %rd8, 0, 0; cvt.u32.u64 %r9, %rd8; st.global.u32 [%rd4], %r9;
        mov.b64 %rd6, 0; sub.cc.u64 %rd7, %rd6, 1; subc.u64 %rd8, 5, 0; cvt.u32.u64 %r8, %rd8; mad.lo.u32 %r9, %r8, 10, %r9; {STORE}"
    ));
    assert_eq!(y, each(|_| 41));
    // (2⁶⁴ − 1)² in two words, plus 1 in the lower one: 2¹²⁸ − 2⁶⁵ + 2.
    let y = warp(&format!(
        "mov.b64 %rd6, -1; mad.lo.cc.u64 %rd7, %rd6, %rd6, 1; madc.hi.u64 %rd8, %rd6, %rd6, 7; cvt.u32.u64 %r8, %rd7; cvt.u32.u64 %r9, %rd8;
        mad.lo.u32 %r9, %r8, 100, %r9; {STORE}"
    ));
    assert_eq!(y, each(|_| 205));
    let y = warp(&format!(
        "mov.b64 %rd6, -1; mad.lo.cc.s64 %rd7, %rd6, 3, 3; madc.hi.cc.s64 %rd8, %rd6, 3, 0; addc.u64 %rd9, 0, 0; cvt.u32.u64 %r8, %rd8;
        cvt.u32.u64 %r9, %rd9; mad.lo.u32 %r9, %r8, 10, %r9; {STORE}"
    ));
    assert_eq!(y, each(|_| 1));
}

/// Draws without end.
fn draws(seed: u32) -> impl FnMut() -> u32 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.wrapping_mul(0x9e37_79b9)
    }
}

/// Runs a body on registers that it loads itself from x, of these words.
fn words(x: &[u32], body: &str) -> Vec<u32> {
    let all: Vec<_> = configs()
        .iter()
        .map(|c| run(c, 32, |i| x.get(i as usize).copied().unwrap_or(0), body).unwrap_or_else(|f| panic!("{f}\n{body}")).0)
        .collect();
    all.iter().for_each(|y| assert_eq!(*y, all[0]));
    all[0].clone()
}

/// A list of registers.
fn list(prefix: &str, from: usize, n: usize) -> String {
    format!("{{{}}}", (from..from + n).map(|k| format!("%{prefix}{k}")).collect::<Vec<_>>().join(", "))
}

/// Products of integers and bits: the fragments are loaded lane by lane as the ISA lays them out.
#[test]
fn products_of_integers() {
    for (form, bits, m, k) in [
        ("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32", 8, 8, 16),
        ("mma.sync.aligned.m16n8k16.row.col.s32.u8.s8.s32", 8, 16, 16),
        ("mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.u8.s32", 8, 16, 32),
        ("mma.sync.aligned.m8n8k32.row.col.s32.s4.u4.s32", 4, 8, 32),
        ("mma.sync.aligned.m16n8k32.row.col.s32.s4.s4.s32", 4, 16, 32),
        ("mma.sync.aligned.m16n8k64.row.col.satfinite.s32.u4.u4.s32", 4, 16, 64),
        ("mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.xor.popc", 1, 8, 128),
        ("mma.sync.aligned.m16n8k128.row.col.s32.b1.b1.s32.and.popc", 1, 16, 128),
        ("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.xor.popc", 1, 16, 256),
    ] {
        let types: Vec<&str> = form.split(".s32.").nth(1).unwrap().split('.').collect();
        let (a, b) = (types[0], types[1]);
        let each = 32 / bits;
        let mut next = draws(7 + k as u32);
        let mut matrix = |rows: usize, columns: usize| -> Vec<Vec<u32>> {
            (0..rows).map(|_| (0..columns).map(|_| next() >> 9 & ((1u32 << bits) - 1)).collect()).collect()
        };
        let (ma, mb) = (matrix(m, k), matrix(8, k));
        // Row g of A and column g of B lie along k: words of the lanes 4·g + t.
        let pack = |row: &[u32], word: usize| (0..each).fold(0u32, |x, e| x | row[word * each + e] << (e * bits));
        let (na, nb, nc) = (m * k / 32 / each, 8 * k / 32 / each, m / 4);
        let mut x = vec![0; 1024];
        for lane in 0..32 {
            let (g, t) = (lane / 4, lane % 4);
            for r in 0..na {
                x[32 * r + lane] = pack(&ma[g + 8 * (r % (m / 8))], t + 4 * (r / (m / 8)));
            }
            for r in 0..nb {
                x[32 * (na + r) + lane] = pack(&mb[g], t + 4 * r);
            }
            for r in 0..nc {
                x[32 * (na + nb + r) + lane] = (1000 * r + lane) as u32;
            }
        }
        let total = na + nb + nc;
        let load: String = (0..total).map(|r| format!("ld.global.u32 %r{}, [%rd3+{}];\n", 10 + r, 128 * r)).collect();
        let store: String = (0..nc).map(|r| format!("st.global.u32 [%rd4+{}], %r{};\n", 128 * r, 2 + r)).collect();
        let (d, ra, rb, rc) = (list("r", 2, nc), list("r", 10, na), list("r", 10 + na, nb), list("r", 10 + na + nb, nc));
        let y = words(&x, &format!("{load}{form} {d}, {ra}, {rb}, {rc};\n{store}"));
        let number = |x: u32, ty: &str| if ty.starts_with('s') { ((x << (32 - bits)) as i32) >> (32 - bits) } else { x as i32 };
        for lane in 0..32 {
            for r in 0..nc {
                let (i, j) = (lane / 4 + 8 * (r / 2), lane % 4 * 2 + r % 2);
                let sum: i32 = (0..k)
                    .map(|q| match () {
                        _ if form.contains("xor") => (ma[i][q] ^ mb[j][q]) as i32,
                        _ if form.contains("and") => (ma[i][q] & mb[j][q]) as i32,
                        _ => number(ma[i][q], a) * number(mb[j][q], b),
                    })
                    .sum();
                assert_eq!(y[32 * r + lane] as i32, sum + (1000 * r + lane) as i32, "{form} ({i}, {j})");
            }
        }
    }
}

#[test]
fn products_of_eight_bits_and_doubles() {
    // e4m3: 1, 2, −1, 0.5 by turns; e5m2 likewise.
    const E4M3: [(u32, f64); 4] = [(0x38, 1.0), (0x40, 2.0), (0xb8, -1.0), (0x30, 0.5)];
    const E5M2: [(u32, f64); 4] = [(0x3c, 1.0), (0x40, 2.0), (0xbc, -1.0), (0x38, 0.5)];
    for (form, k, half) in [
        ("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32", 32, false),
        ("mma.sync.aligned.m16n8k16.row.col.f32.e4m3.e4m3.f32", 16, false),
        ("mma.sync.aligned.m16n8k32.row.col.f16.e5m2.e5m2.f16", 32, true),
        ("mma.sync.aligned.m16n8k16.row.col.f16.e5m2.e4m3.f16", 16, true),
    ] {
        let types: Vec<&str> = form.split('.').collect();
        let (a, b) = (types[7], types[8]);
        let code = |ty: &str, i: usize, q: usize| (if ty == "e4m3" { E4M3 } else { E5M2 })[(3 * i + 5 * q + i * q / 3) % 4];
        let (na, nb, nc) = (k / 8, k / 16, if half { 2 } else { 4 });
        let mut x = vec![0; 1024];
        for lane in 0..32 {
            let (g, t) = (lane / 4, lane % 4);
            let pack = |ty: &str, row: usize, word: usize| (0..4).fold(0, |x, e| x | code(ty, row, 4 * word + e).0 << (8 * e));
            (0..na).for_each(|r| x[32 * r + lane] = pack(a, g + 8 * (r % 2), t + 4 * (r / 2)));
            (0..nb).for_each(|r| x[32 * (na + r) + lane] = pack(b, g, t + 4 * r));
        }
        let load: String = (0..na + nb).map(|r| format!("ld.global.u32 %r{}, [%rd3+{}];\n", 10 + r, 128 * r)).collect();
        let store: String = (0..nc).map(|r| format!("st.global.u32 [%rd4+{}], %r{};\n", 128 * r, 2 + r)).collect();
        let zero: String = (0..nc).map(|r| format!("mov.b32 %r{}, 0;\n", 20 + r)).collect();
        let body = format!(
            "{load}{zero}{form} {}, {}, {}, {};\n{store}",
            list("r", 2, nc),
            list("r", 10, na),
            list("r", 10 + na, nb),
            list("r", 20, nc)
        );
        for tensor in [Tensor::Ideal, Tensor::Ampere, Tensor::Hopper] {
            let config = Config { tensor, ..Config::default() };
            let (y, _) = run(&config, 32, |i| x[i as usize], &body).unwrap_or_else(|f| panic!("{f}"));
            for (lane, r) in (0..32).flat_map(|lane| (0..nc).map(move |r| (lane, r))) {
                let want = |i: usize, j: usize| (0..k).map(|q| code(a, i, q).1 * code(b, j, q).1).sum::<f64>();
                let (t, g) = (lane % 4, lane / 4);
                if half {
                    for e in 0..2 {
                        let h = num::half::widen(y[32 * r + lane] >> (16 * e) & 0xffff, num::half::Half::F16);
                        assert_eq!(f32::from_bits(h) as f64, want(g + 8 * r, 2 * t + e), "{form}");
                    }
                } else {
                    assert_eq!(f32::from_bits(y[32 * r + lane]) as f64, want(g + 8 * (r / 2), 2 * t + r % 2), "{form}");
                }
            }
        }
    }
    // f64: A is i + k/4, B is 1 + k·j; every lane holds one element of a register.
    for (form, m, k) in [
        ("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64", 8, 4),
        ("mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64", 16, 4),
        ("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64", 16, 8),
        ("mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64", 16, 16),
    ] {
        let (na, nb, nc) = (m * k / 32, k / 4, m / 4);
        let element = |to: usize, row: &str, along: &str, scale: &str| {
            format!("cvt.rn.f64.u32 %e{to}, {row}; cvt.rn.f64.u32 %f64a, {along}; fma.rn.f64 %e{to}, %f64a, {scale}, %e{to};\n")
        };
        let mut body =
            String::from(".reg .f64 %e<40>, %f64a; .reg .b32 %g, %t, %v, %u; shr.u32 %g, %r1, 2; and.b32 %t, %r1, 3;\n");
        for r in 0..na {
            body += &format!("add.u32 %v, %g, {}; add.u32 %u, %t, {};\n", 8 * (r % (m / 8)), 4 * (r / (m / 8)));
            body += &element(8 + r, "%v", "%u", "0d3FD0000000000000");
        }
        for r in 0..nb {
            body += &format!("add.u32 %u, %t, {}; mul.lo.u32 %u, %u, %g; mov.u32 %v, 1;\n", 4 * r);
            body += &element(20 + r, "%v", "%u", "0d3FF0000000000000");
        }
        for r in 0..nc {
            body += &format!("mov.f64 %e{}, 0d3FF0000000000000;\n", 30 + r);
        }
        body += &format!("{form} {}, {}, {}, {};\n", list("e", 0, nc), list("e", 8, na), list("e", 20, nb), list("e", 30, nc));
        for r in 0..nc {
            body += &format!("cvt.rn.f32.f64 %f1, %e{r}; st.global.f32 [%rd4+{}], %f1;\n", 128 * r);
        }
        let y = warp_words(&body);
        for (lane, r) in (0..32).flat_map(|lane| (0..nc).map(move |r| (lane, r))) {
            let (i, j) = (lane / 4 + 8 * (r / 2), lane % 4 * 2 + r % 2);
            let want: f64 = 1.0 + (0..k).map(|q| (i as f64 + q as f64 / 4.0) * (1.0 + (q * j) as f64)).sum::<f64>();
            assert_eq!(f32::from_bits(y[32 * r + lane]) as f64, want, "m{m}n8k{k} ({i}, {j})");
        }
    }
}

/// All words of y, x[i] = i.
fn warp_words(body: &str) -> Vec<u32> {
    let x: Vec<u32> = (0..1024).collect();
    words(&x, body)
}

/// What the test below executes, and more layouts.
const WMMA: [&str; 18] = [
    "wmma.load.a.sync.aligned.row.m16n16k16.global.s8",
    "wmma.load.b.sync.aligned.col.m32n8k16.global.u8",
    "wmma.load.c.sync.aligned.row.m8n32k16.global.s32",
    "wmma.store.d.sync.aligned.col.m16n16k16.global.s32",
    "wmma.mma.sync.aligned.row.col.m16n16k16.s32.s8.s8.s32",
    "wmma.load.a.sync.aligned.row.m8n8k32.global.s4",
    "wmma.load.b.sync.aligned.col.m8n8k32.global.s4",
    "wmma.load.c.sync.aligned.row.m8n8k32.global.s32",
    "wmma.mma.sync.aligned.row.col.m8n8k32.s32.s4.s4.s32",
    "wmma.load.a.sync.aligned.row.m8n8k128.global.b1",
    "wmma.load.b.sync.aligned.col.m8n8k128.global.b1",
    "wmma.mma.xor.popc.sync.aligned.row.col.m8n8k128.s32.b1.b1.s32",
    "wmma.store.d.sync.aligned.row.m8n8k128.global.s32",
    "wmma.load.a.sync.aligned.row.m8n8k4.global.f64",
    "wmma.load.b.sync.aligned.col.m8n8k4.global.f64",
    "wmma.load.c.sync.aligned.row.m8n8k4.global.f64",
    "wmma.mma.sync.aligned.row.col.m8n8k4.rn.f64.f64.f64.f64",
    "wmma.store.d.sync.aligned.row.m8n8k4.global.f64",
];

/// `wmma` of integers, bits and f64: a product of matrices in memory, in every layout.
#[test]
fn wmma_products() {
    let mut executed = String::new();
    for (shape, ty, [m, n, k], bits) in [
        ("m16n16k16", "s8", [16, 16, 16], 8),
        ("m32n8k16", "u8", [32, 8, 16], 8),
        ("m8n32k16", "s8", [8, 32, 16], 8),
        ("m8n8k32", "s4", [8, 8, 32], 4),
        ("m8n8k128", "b1", [8, 8, 128], 1),
    ] {
        for layout in 0..if bits == 8 { 8 } else { 2 } {
            let (a_row, b_row, c_row) = (
                bits < 8 || layout & 1 == 0,
                bits == 8 && layout & 2 != 0,
                layout & 4 == 0 && bits == 8 || bits < 8 && layout == 0,
            );
            let mut next = draws(layout + bits);
            let value = |x: u32| (x >> 7) & ((1u32 << bits) - 1);
            let a: Vec<Vec<u32>> = (0..m).map(|_| (0..k).map(|_| value(next())).collect()).collect();
            let b: Vec<Vec<u32>> = (0..k).map(|_| (0..n).map(|_| value(next())).collect()).collect();
            // Strides are larger than need be; A begins at word 0, B at word 256, C at word 512 of x.
            let (ka, nb) = (if bits == 8 { 48 } else { k }, if bits == 8 { 48 } else { k });
            let mut x = vec![0u32; 1024];
            let mut put = |from: usize, at: usize, v: u32| {
                let bit = at * bits as usize;
                x[from + bit / 32] |= v << (bit % 32);
            };
            for q in 0..k {
                (0..m).for_each(|i| put(0, if a_row { i * ka + q } else { q * ka + i }, a[i][q]));
                (0..n).for_each(|j| put(384, if b_row { q * nb + j } else { j * nb + q }, b[q][j]));
            }
            let c = |i: usize, j: usize| (100 * i + j) as u32;
            let lc = if c_row { n } else { m };
            for i in 0..m {
                (0..n).for_each(|j| x[768 + if c_row { i * lc + j } else { j * lc + i }] = c(i, j));
            }
            let word = |row: bool| if row { "row" } else { "col" };
            let (la, lb, lcw) = (word(a_row), word(b_row), word(c_row));
            let (na, nbr, nc) = (m * k * bits as usize / 1024, n * k * bits as usize / 1024, m * n / 32);
            let mma = match bits {
                1 => format!("wmma.mma.xor.popc.sync.aligned.row.col.{shape}.s32.b1.b1.s32"),
                _ => format!("wmma.mma.sync.aligned.{la}.{lb}.{shape}.s32.{ty}.{ty}.s32"),
            };
            let body = format!(
                "wmma.load.a.sync.aligned.{la}.{shape}.global.{ty} {}, [%rd1], {ka};
                wmma.load.b.sync.aligned.{lb}.{shape}.global.{ty} {}, [%rd1+1536], {nb};
                wmma.load.c.sync.aligned.{lcw}.{shape}.global.s32 {}, [%rd1+3072], {lc};
                {mma} {}, {}, {}, {};
                wmma.store.d.sync.aligned.{lcw}.{shape}.global.s32 [%rd2], {}, {lc};",
                list("r", 2, na),
                list("r", 6, nbr),
                list("r", 10, nc),
                list("r", 20, nc),
                list("r", 2, na),
                list("r", 6, nbr),
                list("r", 10, nc),
                list("r", 20, nc),
            );
            executed += &body;
            let y = words(&x, &body);
            let number = |x: u32| if ty.starts_with('s') { ((x << (32 - bits)) as i32) >> (32 - bits) } else { x as i32 };
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let one = |q: usize| if bits == 1 { (a[i][q] ^ b[q][j]) as i32 } else { number(a[i][q]) * number(b[q][j]) };
                let want = (0..k).map(one).sum::<i32>() + c(i, j) as i32;
                assert_eq!(y[if c_row { i * lc + j } else { j * lc + i }] as i32, want, "{body} ({i}, {j})");
            }
        }
    }
    // f64: x holds 1, 2, 3 … as f64.
    let store = "cvt.rn.f64.u32 %d1, %r5; mad.wide.u32 %rd6, %r5, 8, %rd1; add.f64 %d1, %d1, 0d3FF0000000000000; st.global.f64 [%rd6], %d1;";
    let fill = format!("mov.u32 %r5, %r1; {store} add.u32 %r5, %r1, 32; {store} bar.warp.sync -1;");
    for (a_row, b_row) in [(true, false), (false, true), (true, true), (false, false)] {
        let word = |row: bool| if row { "row" } else { "col" };
        let body = format!(
            ".reg .f64 %e<8>; {fill} wmma.load.a.sync.aligned.{}.m8n8k4.global.f64 {{%e1}}, [%rd1];
            wmma.load.b.sync.aligned.{}.m8n8k4.global.f64 {{%e2}}, [%rd1];
            wmma.load.c.sync.aligned.row.m8n8k4.global.f64 {{%e3, %e6}}, [%rd1]; wmma.mma.sync.aligned.{}.{}.m8n8k4.rn.f64.f64.f64.f64 {{%e4, %e5}}, {{%e1}}, {{%e2}}, {{%e3, %e6}};
            wmma.store.d.sync.aligned.row.m8n8k4.global.f64 [%rd2], {{%e4, %e5}};",
            word(a_row),
            word(b_row),
            word(a_row),
            word(b_row),
        );
        let y = warp_words(&body);
        executed += &body;
        let at = |row: bool, i: usize, j: usize, rows: usize, columns: usize| {
            (if row { i * columns + j } else { j * rows + i } + 1) as f64
        };
        for (i, j) in (0..8).flat_map(|i| (0..8).map(move |j| (i, j))) {
            let sum: f64 = (0..4).map(|q| at(a_row, i, q, 8, 4) * at(b_row, q, j, 4, 8)).sum();
            let want = sum + at(true, i, j, 8, 8);
            let at = 2 * (8 * i + j);
            assert_eq!(f64::from_bits(y[at] as u64 | (y[at + 1] as u64) << 32), want, "{a_row} {b_row} ({i}, {j})");
        }
    }
    WMMA.iter().for_each(|form| assert!(executed.contains(form), "{form}"));
}

/// Sums of f16 into f32 and the other way round.
#[test]
fn wmma_with_two_types_of_sums() {
    // x[i] holds 1 and 2 as f16: A and B are made of them, C is 3 in either type.
    let regs = |from: usize| list("r", from, 8);
    let load =
        |what: &str, to: usize| format!("wmma.load.{what}.sync.aligned.row.m16n16k16.global.f16 {}, [%rd1], 16;\n", regs(to));
    let three = |half: bool| {
        let v = if half { "0x42004200" } else { "0x40400000" };
        (18..26).map(|r| format!("mov.b32 %r{r}, {v};\n")).collect::<String>()
    };
    let run = |d: &str, c: &str| {
        let n = |t: &str| if t == "f16" { 4 } else { 8 };
        words(
            &vec![0x4000_3c00; 1024],
            &format!(
                "{}{}{}wmma.mma.sync.aligned.row.row.m16n16k16.{d}.{c} {}, {}, {}, {};\nwmma.store.d.sync.aligned.row.m16n16k16.global.{d} [%rd2], {}, 16;",
                load("a", 2),
                load("b", 10),
                three(c == "f16"),
                list("r", 2, n(d)),
                regs(2),
                regs(10),
                list("r", 18, n(c)),
                list("r", 2, n(d)),
            ),
        )
    };
    // Rows of A are 1 2 1 2 …; column j of B is all 1 or all 2: sums 24 and 48, and 3.
    assert_eq!(run("f32", "f16")[..2], [27f32.to_bits(), 51f32.to_bits()]);
    assert_eq!(run("f16", "f32")[..2], [0x5260_4ec0, 0x5260_4ec0]);
    assert_eq!(run("f16", "f16")[..2], [0x5260_4ec0, 0x5260_4ec0]);
}

#[test]
fn what_the_driver_provides() {
    // The workspace of the grid is zero at the start of each launch, and lies where %envreg1 and %envreg2 say.
    let y = warp(&format!(
        "mov.u32 %r5, %envreg1; mov.u32 %r6, %envreg2; mov.b64 %rd6, {{%r6, %r5}}; ld.u32 %r9, [%rd6+4]; bar.warp.sync -1;
        atom.add.u32 %r8, [%rd6+4], 1; {STORE}"
    ));
    assert_eq!(y, each(|_| 0));
    let y = warp(&format!(
        "mov.u32 %r5, %reserved_smem_offset_1; mov.u32 %r6, %reserved_smem_offset_end; sub.u32 %r9, %r6, %r5; add.u32 %r5, %r5, %r1;
        st.shared.u8 [%r5], %r1; {STORE}"
    ));
    assert_eq!(y, each(|_| 512));
    let y = warp(&format!(
        "mov.u32 %r9, %cluster_nctarank; mov.u32 %r8, %cluster_ctaid.x; add.u32 %r9, %r9, %r8; mov.u32 %r8, %pm3; add.u32 %r9, %r9, %r8; {STORE}"
    ));
    assert_eq!(y, each(|_| 1));
    let y = warp(&format!(
        "mov.pred %p1, %is_explicit_cluster; selp.u32 %r9, 1, 0, %p1; mov.u32 %r8, %clock_hi; add.u32 %r9, %r9, %r8; {STORE}"
    ));
    assert_eq!(y, each(|_| 0));
}

#[test]
fn memory_in_128_bits() {
    let y = warp(&format!(
        ".reg .b128 %q<2>; mad.wide.u32 %rd6, %r1, 16, %rd1; ld.global.b128 %q0, [%rd6]; mov.b128 {{%rd7, %rd8}}, %q0;
        mov.b128 %q1, {{%rd8, %rd7}}; mov.u32 %r5, tile; mad.lo.u32 %r5, %r1, 16, %r5; st.shared.b128 [%r5], %q1; ld.shared.u32 %r9, [%r5+4]; {STORE}"
    ));
    assert_eq!(y, each(|i| 4 * i + 3));
}
