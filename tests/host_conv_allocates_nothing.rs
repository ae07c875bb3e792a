//! The convolutions allocate nothing once a thread has its buffers. A test binary of its own, because it counts for the whole
//! process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use lae_engine::host::conv;
use lae_engine::host::sizes::ConvSizes;
use lae_engine::host::winograd::{Pass, Winograd};

static CALLS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system allocator as it came; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_second_call_allocates_nothing() {
    let (n, h, w, c, k, r, s, p, q) = (4, 16, 16, 24, 40, 4, 4, 8, 8);
    let (stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, groups) = (2, 2, 1, 1, 1, 1, 1);
    let z = ConvSizes { n, h, w, c, k, r, s, p, q, stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, groups };
    second_call(z);
    let z = ConvSizes { c: 128, k: 64, r: 3, s: 3, p: 16, q: 16, stride_h: 1, stride_w: 1, ..z };
    assert!(Pass::of_fprop(&z, Winograd::Auto).is_some() && Pass::of_dgrad(&z, Winograd::Auto).is_some());
    second_call(z);
}

fn second_call(z: ConvSizes) {
    let k = z.k;
    let (mut x, mut f, mut y) = (vec![1.0; z.x().len()], vec![1.0; z.filters().len()], vec![1.0; z.y().len()]);
    let sizes = [conv::fprop_scratch(&z), conv::dgrad_scratch(&z), conv::wgrad_scratch(&z)];
    let mut scratch = vec![0.0; sizes.into_iter().max().unwrap()];
    let mut db = vec![0.0; k as usize];
    // One thread, so that no other can be late with making its buffers.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let counts: [usize; 2] = pool.install(|| {
        std::array::from_fn(|_| {
            let before = CALLS.load(Ordering::Relaxed);
            conv::fprop(&z, &x, &f, None, &mut y, &mut scratch);
            conv::dgrad(&z, &y, &f, None, &mut x, &mut scratch);
            conv::wgrad(&z, &x, &y, &mut f, &mut scratch);
            conv::bias_grad(k as usize, &y, &mut db, &mut scratch);
            CALLS.load(Ordering::Relaxed) - before
        })
    });
    assert!(counts[0] > 0, "the first call makes its buffers: is anything counted?");
    assert_eq!(counts[1], 0, "allocations of the second call");
}
