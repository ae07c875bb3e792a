//! The driver over cudarc, against a driver without a GPU that runs its work as late as is legal (tests/fake/libcuda.c). What it
//! shows: arguments arrive as the kernel reads them, nothing depends on luck of timing, errors come back in words. What it cannot
//! show, that a real GPU agrees, is the matter of tests/real_gpu.rs.
#![cfg(all(target_os = "linux", feature = "cuda"))]

mod fake;

use fake::in_process;
use lae_engine::core::launch::Operands;
use lae_engine::core::op::MAX;
use lae_engine::device::cuda::Cuda;
use lae_engine::device::{Arg, Driver, Hopper, Launch, Mem, Precision, Span, TensorMap, kernels};
use lae_engine::ptx::tensor_map::{Cut, ElementType, Swizzle};

/// `struct Fill` of kernels/fill.cu.
fn fill(y: Span, count: u32, value: f32) -> Launch {
    let kernel = kernels::find("fill_fwd_f32").expect("built");
    let sizes = [count.to_ne_bytes(), value.to_ne_bytes()].concat();
    Launch { kernel, grid: [1, 1, 1], block: [256, 1, 1], shared: 0, args: vec![Arg::Write(y), Arg::Value(sizes.into())] }
}

fn all(mem: Mem, len: usize) -> Span {
    Span::whole(mem, len)
}

fn read(d: &Cuda, s: Span) -> Vec<f32> {
    let mut bytes = vec![0; s.len];
    d.download(s, &mut bytes).unwrap();
    bytes.chunks(4).map(|b| f32::from_ne_bytes(b.try_into().unwrap())).collect()
}

fn blocks(sizes: &[usize]) -> Vec<(String, usize)> {
    sizes.iter().enumerate().map(|(i, n)| (format!("block {i}"), *n)).collect()
}

/// The calls so far, by the fake's log.
fn calls(word: &str) -> usize {
    let log = std::fs::read_to_string(std::env::var("FAKE_LOG").unwrap()).unwrap();
    log.lines().filter(|l| *l == word).count()
}

fn built() -> bool {
    if kernels::KERNELS.is_empty() {
        eprintln!("SKIP: this build has no kernels: {}", kernels::BUILD_REPORT);
    }
    !kernels::KERNELS.is_empty()
}

/// Numbers that show where each byte came from.
fn pattern(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2654435761).wrapping_add(seed) >> 13) as u8).collect()
}

#[test]
fn memory_goes_up_and_down() {
    in_process("memory_goes_up_and_down", &[], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[100, 0, 4000])).unwrap();
        assert_eq!(calls("cuMemAlloc_v2"), 1, "one allocation for all blocks");
        let (a, b) = (pattern(100, 1), pattern(4000, 2));
        d.upload(all(mem[0], 100), &a).unwrap();
        d.upload(all(mem[2], 4000), &b).unwrap();
        d.upload(Span { mem: mem[2], offset: 16, len: 4, unit: 4 }, &[1, 2, 3, 4]).unwrap();
        let (mut x, mut y) = (vec![0; 100], vec![0; 4000]);
        d.download(all(mem[0], 100), &mut x).unwrap();
        d.download(all(mem[2], 4000), &mut y).unwrap();
        assert!(x == a && y[..16] == b[..16] && y[16..20] == [1, 2, 3, 4] && y[20..] == b[20..]);
        d.free(&mem);
        assert_eq!(calls("cuMemFree_v2"), 1);
        assert_eq!(calls("a stream that waits for the default stream"), 0);
        drop(d);
        assert_eq!((calls("cuMemHostAlloc"), calls("cuMemFreeHost")), (3, 3), "staging memory is given back");
        assert_eq!(calls("cuMemAlloc_v2"), calls("cuMemFree_v2"));
        assert_eq!(calls("cuDevicePrimaryCtxRelease_v2"), 1);
    });
}

/// Many more pieces than there are slots, with nothing waiting in between: a missing wait shows as bytes of a later piece.
#[test]
fn uploads_overtake_neither_each_other_nor_kernels() {
    if !built() {
        return;
    }
    in_process("uploads_overtake_neither_each_other_nor_kernels", &[], || {
        let d = Cuda::new(0).unwrap();
        let values = |bytes: &[u8]| bytes.chunks(4).map(|b| f32::from_ne_bytes(b.try_into().unwrap())).collect::<Vec<f32>>();
        let mem = d.alloc(&blocks(&[40 * 64, 18 << 20])).unwrap();
        let small = pattern(40 * 64, 1);
        for (i, piece) in small.chunks(64).enumerate() {
            d.upload(Span { mem: mem[0], offset: 64 * i, len: 64, unit: 4 }, piece).unwrap();
        }
        // One that takes three slots, a kernel over its begin, an upload over the kernel's begin.
        let large = pattern(18 << 20, 2);
        d.upload(all(mem[1], 18 << 20), &large).unwrap();
        d.launch(&fill(Span { mem: mem[1], offset: 0, len: 1024, unit: 4 }, 256, 7.0)).unwrap();
        d.upload(Span { mem: mem[1], offset: 0, len: 4, unit: 4 }, &9.0f32.to_ne_bytes()).unwrap();
        let (mut a, mut b) = (vec![0; 40 * 64], vec![0; 18 << 20]);
        d.download(all(mem[0], 40 * 64), &mut a).unwrap();
        d.download(all(mem[1], 18 << 20), &mut b).unwrap();
        assert!(a == small);
        let head = values(&b[..1024]);
        assert!(head[0] == 9.0 && head[1..].iter().all(|v| *v == 7.0), "{head:?}");
        assert!(b[1024..] == large[1024..]);
        assert_eq!(calls("cuMemHostAlloc"), 8, "staging memory is bounded");
    });
}

#[test]
fn memory_is_given_back_when_the_work_on_it_is_done() {
    if !built() {
        return;
    }
    in_process("memory_is_given_back_when_the_work_on_it_is_done", &[], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[64])).unwrap();
        d.launch(&fill(all(mem[0], 64), 16, 1.0)).unwrap();
        d.free(&mem);
        d.sync().unwrap();
    });
}

#[test]
fn launches_arrive_as_the_kernel_reads_them() {
    if !built() {
        return;
    }
    in_process("launches_arrive_as_the_kernel_reads_them", &[], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[64, 64])).unwrap();
        d.upload(all(mem[0], 64), &[0; 64]).unwrap();
        d.upload(all(mem[1], 64), &[0; 64]).unwrap();
        d.launch(&fill(Span { mem: mem[1], offset: 8, len: 20, unit: 4 }, 5, 2.5)).unwrap();
        assert_eq!(read(&d, all(mem[0], 64)), [0.0; 16]);
        let mut want = [0.0; 16];
        want[2..7].fill(2.5);
        assert_eq!(read(&d, all(mem[1], 64)), want);
        d.launch(&fill(all(mem[1], 64), 16, -1.0)).unwrap();
        assert_eq!(read(&d, all(mem[1], 64)), [-1.0; 16]);
        assert_eq!(calls("cuModuleLoadDataEx"), 1, "a module is loaded once");
        // Shared memory beyond 48 KiB is asked for, once; beyond the GPU's (100 KiB here), refused before the driver hears of it.
        let mut l = fill(all(mem[1], 64), 16, 3.0);
        for shared in [40 << 10, 99 << 10, 60 << 10] {
            l.shared = shared;
            d.launch(&l).unwrap();
        }
        assert_eq!(calls("cuFuncSetAttribute"), 1);
        l.shared = 101 << 10;
        let e = d.launch(&l).unwrap_err().to_string();
        assert_eq!(e, "kernel fill_fwd_f32: takes 103424 bytes of shared memory, cuda:0 (sm_90) has 102400");
    });
}

#[test]
fn recordings_replay_and_do_not_run_by_themselves() {
    if !built() {
        return;
    }
    in_process("recordings_replay_and_do_not_run_by_themselves", &[], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[64, 64])).unwrap();
        d.upload(all(mem[0], 64), &[0; 64]).unwrap();
        // Not launched before: the module must be loaded outside the capture.
        let half = Span { mem: mem[0], offset: 32, len: 32, unit: 4 };
        let recorded =
            d.record(&mut || d.launch(&fill(all(mem[0], 64), 16, 1.0)).and_then(|()| d.launch(&fill(half, 8, 2.0)))).unwrap();
        assert_eq!(read(&d, all(mem[0], 64)), [0.0; 16]);
        let want: Vec<f32> = [[1.0f32; 8], [2.0; 8]].concat();
        for _ in 0..2 {
            recorded.replay().unwrap();
            assert_eq!(read(&d, all(mem[0], 64)), want);
            d.upload(all(mem[0], 64), &[0; 64]).unwrap();
        }
        // What may not happen while launches are recorded; afterwards the driver works on.
        let during =
            |what: &dyn Fn() -> lae_engine::error::Result<()>| d.record(&mut || what()).map(|_| ()).unwrap_err().to_string();
        assert!(during(&|| d.upload(all(mem[0], 4), &[0; 4])).contains("an upload while launches are recorded"));
        assert!(during(&|| d.download(all(mem[0], 4), &mut [0; 4])).contains("a download while"));
        assert!(during(&|| d.alloc(&blocks(&[4])).map(|_| ())).contains("memory asked for while"));
        assert!(during(&|| recorded.replay()).contains("a replay while"));
        assert!(during(&|| d.record(&mut || Ok(())).map(|_| ())).contains("a recording while"));
        let gone = Span { mem: Mem(999), offset: 0, len: 4, unit: 4 };
        assert!(during(&|| d.launch(&fill(gone, 1, 0.0))).contains("was given back"));
        recorded.replay().unwrap();
        assert_eq!(read(&d, all(mem[0], 64)), want);
        // A recording does not outlive what it points at.
        d.free(&mem);
        assert!(recorded.replay().unwrap_err().to_string().contains("which was given back"));
    });
}

#[test]
fn spans_are_checked() {
    in_process("spans_are_checked", &[], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[64, 64])).unwrap();
        let refused = |s: Span| d.upload(s, &vec![0; s.len]).unwrap_err().to_string();
        assert!(refused(Span { mem: mem[0], offset: 0, len: 65, unit: 4 }).contains("beyond its block of 64 bytes"));
        assert!(refused(Span { mem: mem[0], offset: 61, len: 4, unit: 4 }).contains("beyond its block"));
        assert!(refused(Span { mem: mem[0], offset: usize::MAX, len: 4, unit: 4 }).contains("beyond its block"));
        assert!(d.upload(all(mem[0], 64), &[0; 63]).unwrap_err().to_string().contains("an upload of 63 bytes"));
        assert!(d.download(all(mem[0], 64), &mut [0; 65]).unwrap_err().to_string().contains("a download of 65 bytes"));
        d.free(&mem[..1]);
        assert_eq!(calls("cuMemFree_v2"), 0, "the other block is still used");
        assert!(refused(all(mem[0], 64)).contains("was given back"));
        d.upload(all(mem[1], 64), &[1; 64]).unwrap();
        let again = d.alloc(&blocks(&[64])).unwrap();
        assert!(!mem.contains(&again[0]), "numbers are not used twice");
    });
}

#[test]
fn too_much_memory_says_how_much() {
    in_process("too_much_memory_says_how_much", &[], || {
        let d = Cuda::new(0).unwrap();
        let e = d.alloc(&blocks(&[2 << 30])).unwrap_err().to_string();
        let want =
            "device cuda:0: 2048 MiB of GPU memory asked for, 1024 of 3072 free: CUDA_ERROR_OUT_OF_MEMORY (2): halve train.batch";
        assert!(e.starts_with(want), "{e}");
        assert!(d.alloc(&blocks(&[1 << 20])).is_ok());
    });
}

#[test]
fn a_fault_shows_at_the_next_wait() {
    if !built() {
        return;
    }
    in_process("a_fault_shows_at_the_next_wait", &[("FAKE_FAULT", "1")], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[64])).unwrap();
        d.launch(&fill(all(mem[0], 64), 16, 1.0)).unwrap();
        let e = d.sync().unwrap_err().to_string();
        assert!(e.contains("CUDA_ERROR_ILLEGAL_ADDRESS (700)") && e.contains("LAE_EAGER=1 names the layer"), "{e}");
    });
}

#[test]
fn an_error_while_memory_is_given_back_is_kept() {
    in_process("an_error_while_memory_is_given_back_is_kept", &[("FAKE_FAIL", "cuMemFree_v2:400:1")], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[64])).unwrap();
        d.free(&mem);
        let e = d.sync().unwrap_err().to_string();
        assert!(e.contains("earlier work: CUDA_ERROR_INVALID_HANDLE (400)"), "{e}");
        d.sync().unwrap();
    });
}

#[test]
fn ptx_that_is_refused_says_why() {
    if !built() {
        return;
    }
    in_process("ptx_that_is_refused_says_why", &[("FAKE_PTX", "222")], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[64])).unwrap();
        let e = d.launch(&fill(all(mem[0], 64), 16, 1.0)).unwrap_err().to_string();
        let want = [
            "the driver refused fill on sm_90; PTX: CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222): update the driver",
            "the fake does not",
        ];
        assert!(want.iter().all(|w| e.contains(w)), "{e}");
    });
}

/// PTX that is not of this build goes the way of the build's own: loaded once, its entry found by name, its limits checked.
#[test]
fn registered_kernels_are_loaded_from_their_ptx() {
    in_process("registered_kernels_are_loaded_from_their_ptx", &[], || {
        let head = ".version 8.0\n.target sm_80\n.address_size 64\n";
        let entry = ".visible .entry outside_fwd_f32(.param .u64 y) .maxntid 64, 1, 1 { ret; }";
        kernels::register("outside", &format!("{head}{entry}")).unwrap();
        let kernel = kernels::find("outside_fwd_f32").unwrap();
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[64])).unwrap();
        let l = Launch { kernel, grid: [1; 3], block: [64, 1, 1], shared: 0, args: vec![Arg::Write(all(mem[0], 64))] };
        d.launch(&l).unwrap();
        d.launch(&l).unwrap();
        d.sync().unwrap();
        assert_eq!((calls("cuModuleLoadDataEx"), calls("PTX"), calls("cuLaunchKernel")), (1, 1, 2));
        let refused = d.launch(&Launch { block: [65, 1, 1], ..l }).unwrap_err().to_string();
        assert!(refused.contains("outside_fwd_f32") && refused.contains("at most 64"), "{refused}");
    });
}

/// A kernel for Hopper with a tensor map by value.
fn map_kernel() -> &'static kernels::Kernel {
    let head = ".version 8.0\n.target sm_90a\n.address_size 64\n";
    let entry = ".visible .entry map_fwd_f32(.param .align 64 .b8 m[128], .param .u64 y) .maxntid 64, 1, 1 { ret; }";
    kernels::register("map", &format!("{head}{entry}")).unwrap();
    kernels::find("map_fwd_f32").unwrap()
}

fn map(cut: Cut) -> TensorMap {
    TensorMap {
        element: ElementType::Tf32,
        address: 0,
        dims: vec![8, 6, 5, 2],
        strides: vec![32, 192, 960],
        cut,
        steps: vec![1, 2, 2, 1],
        swizzle: Swizzle::B128,
        nan: false,
    }
}

fn im2col() -> TensorMap {
    map(Cut::Im2col { lower: vec![-1, -2], upper: vec![0, 1], channels: 32, pixels: 128 })
}

#[test]
fn tensor_maps_are_made_by_the_driver() {
    // With machine code for sm_90a in the build, a GPU of that kind runs it, and no other does.
    let kernel = map_kernel();
    let launch = |map: TensorMap, s: Span| {
        let args = vec![Arg::Map { span: s, map: Box::new(map), write: false }, Arg::Write(s)];
        Launch { kernel, grid: [1; 3], block: [64, 1, 1], shared: 0, args }
    };
    if !kernels::hopper() {
        return eprintln!("SKIP: this build has no kernels for sm_90a: {}", kernels::BUILD_REPORT);
    }
    in_process("tensor_maps_are_made_by_the_driver", &[], || {
        let d = Cuda::new(0).unwrap();
        assert_eq!(d.sm_90a().unwrap(), Hopper::WhereFaster);
        let mem = d.alloc(&blocks(&[64, 1920])).unwrap();
        d.launch(&launch(im2col(), all(mem[1], 1920))).unwrap();
        d.launch(&launch(map(Cut::Tiled(vec![32, 1, 64, 1])), all(mem[1], 1920))).unwrap();
        d.sync().unwrap();
        // TFLOAT32 is 11, four dimensions, 128-byte swizzle 3.
        let rest = "8 6 5 2 20 c0 3c0";
        assert_eq!(calls(&format!("103040b {rest} 20 80 0 0 2 10000fffeffff 0")), 1, "im2col");
        assert_eq!(calls(&format!("3040b {rest} 20 1 40 1 2 0 0")), 1, "a box");
        assert_eq!(calls("the map's address is memory"), 2);
        assert_eq!((calls("cuTensorMapEncodeIm2col"), calls("cuTensorMapEncodeTiled")), (1, 1));
        // In a recording as well, and then the memory counts as used.
        let recorded = d.record(&mut || d.launch(&launch(im2col(), all(mem[1], 1920)))).unwrap();
        recorded.replay().unwrap();
        d.free(&mem);
        assert!(recorded.replay().unwrap_err().to_string().contains("which was given back"));
        // What is wrong with a map is said before the driver hears of it.
        let mem = d.alloc(&blocks(&[2000])).unwrap();
        let refused = |change: &dyn Fn(&mut TensorMap), s: Span| {
            let mut m = im2col();
            change(&mut m);
            d.launch(&launch(m, s)).unwrap_err().to_string()
        };
        let s = all(mem[0], 2000);
        let rows = [
            (refused(&|m| m.strides[0] = 24, s), "a tensor map: stride 0 is 24 bytes; it must be a multiple of 16"),
            (refused(&|m| m.steps[2] = 9, s), "a tensor map: step 2 is 9"),
            (refused(&|m| m.dims[3] = 4, s), "the tensor has 3840 bytes, the memory 2000"),
            (refused(&|_| (), Span { offset: 8, len: 1920, ..s }), "begins 8 bytes into its block, which is no multiple of 16"),
        ];
        for (error, want) in rows {
            assert!(error.starts_with("kernel map_fwd_f32: argument 0, a tensor map: ") && error.contains(want), "{error}");
        }
        assert!(refused(&|m| m.steps[2] = 9, s).ends_with("precision f32, take a kernel without tensor maps"));
    });
}

#[test]
fn a_map_that_the_driver_refuses_is_shown() {
    let kernel = map_kernel();
    if !kernels::hopper() {
        return;
    }
    in_process("a_map_that_the_driver_refuses_is_shown", &[("FAKE_FAIL", "cuTensorMapEncodeIm2col:1")], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[1920])).unwrap();
        let s = all(mem[0], 1920);
        let args = vec![Arg::Map { span: s, map: Box::new(im2col()), write: false }, Arg::Write(s)];
        let e = d.launch(&Launch { kernel, grid: [1; 3], block: [64, 1, 1], shared: 0, args }).unwrap_err().to_string();
        assert!(e.starts_with("kernel map_fwd_f32: the driver refused the tensor map TensorMap { element: Tf32"), "{e}");
        assert!(e.ends_with("CUDA_ERROR_INVALID_VALUE (1)"), "{e}");
    });
}

#[test]
fn kernels_for_hopper_run_on_nothing_else() {
    let kernel = map_kernel();
    for (settings, why) in [
        (("FAKE_ARCH", "100"), "they run on sm_90 and on nothing else; cuda:0 is sm_100"),
        (("FAKE_ARCH", "80"), "they run on sm_90 and on nothing else; cuda:0 is sm_80"),
        (("LAE_SM90A", "off"), if kernels::hopper() { "LAE_SM90A=off" } else { kernels::NO_HOPPER }),
    ] {
        in_process("kernels_for_hopper_run_on_nothing_else", &[settings], || {
            if std::env::var(settings.0).is_ok_and(|v| v == settings.1) {
                let d = Cuda::new(0).unwrap();
                assert_eq!(d.sm_90a().unwrap_err(), why);
                let mem = d.alloc(&blocks(&[1920])).unwrap();
                let s = all(mem[0], 1920);
                let args = vec![Arg::Map { span: s, map: Box::new(im2col()), write: false }, Arg::Write(s)];
                let e = d.launch(&Launch { kernel, grid: [1; 3], block: [64, 1, 1], shared: 0, args }).unwrap_err().to_string();
                assert_eq!(e, format!("kernel map_fwd_f32: is compiled for sm_90a: {why}"));
            }
        });
    }
}

#[test]
fn a_wish_for_kernels_is_heard_or_refused() {
    if !kernels::hopper() {
        return;
    }
    in_process("a_wish_for_kernels_is_heard_or_refused", &[("LAE_SM90A", "always")], || {
        if std::env::var("LAE_SM90A").is_ok_and(|v| v == "always") {
            assert_eq!(Cuda::new(0).unwrap().sm_90a().unwrap(), Hopper::WherePossible);
        }
    });
    in_process("a_wish_for_kernels_is_heard_or_refused", &[("LAE_SM90A", "on")], || {
        if std::env::var("LAE_SM90A").is_ok_and(|v| v == "on") {
            let e = Cuda::new(0).err().expect("refused").to_string();
            assert!(e.contains("LAE_SM90A") && e.contains("\"on\" is not one of off, always"), "{e}");
        }
    });
}

#[test]
fn a_launch_that_fails_names_its_kernel() {
    if !built() {
        return;
    }
    in_process("a_launch_that_fails_names_its_kernel", &[("FAKE_FAIL", "cuLaunchKernel:701")], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[64])).unwrap();
        let e = d.launch(&fill(all(mem[0], 64), 16, 1.0)).unwrap_err().to_string();
        assert!(
            e.starts_with("kernel fill_fwd_f32: grid [1, 1, 1], blocks [256, 1, 1]: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"),
            "{e}"
        );
        // In a recording as well; the capture is ended, and the stream works on.
        let e = d.record(&mut || d.launch(&fill(all(mem[0], 64), 16, 1.0))).map(|_| ()).unwrap_err().to_string();
        assert!(e.starts_with("kernel fill_fwd_f32"), "{e}");
        d.upload(all(mem[0], 64), &[0; 64]).unwrap();
        assert_eq!(read(&d, all(mem[0], 64)), [0.0; 16]);
    });
}

#[test]
fn launches_that_no_gpu_takes() {
    if !built() {
        return;
    }
    let l = fill(all(Mem(1), 64), 16, 1.0);
    l.check().unwrap();
    let with = |change: &dyn Fn(&mut Launch)| {
        let mut l = l.clone();
        change(&mut l);
        l.check().unwrap_err().to_string()
    };
    let rows = [
        (with(&|l| l.args.truncate(1)), "takes 2 arguments, got 1"),
        (with(&|l| l.args[1] = Arg::Value([0; 12].into())), "argument 1 takes 8 bytes, got 12"),
        (with(&|l| l.args.swap(0, 1)), "argument 1 is a value aligned to 4 bytes, got a pointer"),
        (with(&|l| l.args[0] = Arg::Read(Span { mem: Mem(1), offset: 6, len: 4, unit: 4 })), "argument 0 points between values"),
        (with(&|l| l.args[0] = Arg::Write(Span { mem: Mem(1), offset: 5, len: 4, unit: 2 })), "argument 0 points between values"),
        (with(&|l| l.block = [257, 1, 1]), "blocks [257, 1, 1] have 257 threads; at most 256, and 64 along z"),
        (with(&|l| l.block = [1, 1, 65]), "have 65 threads; at most 256, and 64 along z"),
        (with(&|l| l.block = [u32::MAX; 3]), "threads; at most 256"),
        (with(&|l| l.block = [0, 1, 1]), "has no threads"),
        (with(&|l| l.grid = [1, 65536, 1]), "is larger than 2147483647 x 65535 x 65535 blocks"),
        (with(&|l| l.grid = [1 << 31, 1, 1]), "is larger than"),
        (with(&|l| l.grid = [1, 1, 0]), "has no threads"),
        (with(&|l| l.shared = (227 << 10) + 1), "takes 232449 bytes of shared memory; no GPU gives a block more than 232448"),
        (with(&|l| l.shared = u32::MAX), "bytes of shared memory; no GPU"),
    ];
    for (error, want) in rows {
        assert!(error.starts_with("kernel fill_fwd_f32: ") && error.contains(want), "{error}");
    }
}

/// The builder that ops use sees the types, and so the alignment that a value is made with.
#[test]
fn a_value_of_another_alignment_is_another_struct() {
    if !built() {
        return;
    }
    in_process("a_value_of_another_alignment_is_another_struct", &[], || {
        let d = Cuda::new(0).unwrap();
        let mem = d.alloc(&blocks(&[64])).unwrap();
        let gpu = Operands {
            driver: &d,
            precision: Precision::F32,
            at: "lae.encoder.2",
            xs: &[],
            ys: &[],
            x: [None; MAX],
            y: [None; MAX],
            dy: None,
            out: [None; MAX],
            scratch: None,
        };
        let y = all(mem[0], 64);
        let call = || gpu.call("fill_fwd_f32").unwrap().elements(16).write(y);
        let e = call().value(&0u64).go().unwrap_err().to_string();
        assert_eq!(e, "lae.encoder.2: kernel fill_fwd_f32: argument 1 is aligned to 4 bytes in the kernel, to 8 here");
        let e = call().grid([1 << 40, 1, 1]).value(&[16u32, 0]).go().unwrap_err().to_string();
        assert!(e.starts_with("lae.encoder.2: kernel fill_fwd_f32: grid [4294967295, 1, 1] is larger than"), "{e}");
        call().value(&[16, 2.5f32.to_bits()]).go().unwrap();
        assert_eq!(read(&d, y), [2.5; 16]);
        assert!(gpu.call("no_such_kernel").err().unwrap().to_string().contains("this build has no kernel no_such_kernel"));
    });
}
