//! Loops over long slices, in parallel, with the same bits at any thread count: work is cut by sizes alone and partial sums are
//! combined in the order of a fixed tree. Nothing here allocates.

use rayon::prelude::*;

use super::real::Real;

/// Values per task: 64 KiB of f32, small enough to balance, large enough to hide the cost of a task.
pub const GRAIN: usize = 16 * 1024;

/// `y[i] = f(x[i])`. `f` is copied into each task (write `move |x| …`): what it holds then stays in registers, and the loop
/// becomes SIMD, which loads through a reference may prevent.
pub fn map<T: Real>(y: &mut [T], x: &[T], f: impl Fn(T) -> T + Sync + Send + Copy) {
    y.par_chunks_mut(GRAIN).zip(x.par_chunks(GRAIN)).for_each(move |(y, x)| {
        let f = f;
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x));
    });
}

/// `y[i] = f(a[i], b[i])`, as [`map`].
pub fn map2<T: Real>(y: &mut [T], a: &[T], b: &[T], f: impl Fn(T, T) -> T + Sync + Send + Copy) {
    y.par_chunks_mut(GRAIN).zip(a.par_chunks(GRAIN)).zip(b.par_chunks(GRAIN)).for_each(move |((y, a), b)| {
        let f = f;
        y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b));
    });
}

/// Σ f(i) over `0..n`, pairwise: leaves of `leaf` terms are summed by `f(start, end)`, then added up a fixed binary tree.
pub fn tree_sum(n: usize, leaf: usize, f: &(impl Fn(usize, usize) -> f64 + Sync)) -> f64 {
    fn go(lo: usize, hi: usize, leaf: usize, f: &(impl Fn(usize, usize) -> f64 + Sync)) -> f64 {
        let leaves = (hi - lo).div_ceil(leaf);
        if leaves <= 1 {
            return f(lo, hi);
        }
        let mid = lo + leaves / 2 * leaf;
        let (a, b) = rayon::join(|| go(lo, mid, leaf, f), || go(mid, hi, leaf, f));
        a + b
    }
    if n == 0 { 0.0 } else { go(0, n, leaf.max(1), f) }
}

/// `Σ g(a[i], b[i])` in f64.
pub fn sum2<T: Real>(a: &[T], b: &[T], g: impl Fn(T, T) -> T + Sync) -> f64 {
    tree_sum(a.len(), GRAIN, &|lo, hi| {
        // Sixteen lanes of short sums: as accurate as pairwise summation and open to SIMD.
        let (mut total, a, b) = (0.0, &a[lo..hi], &b[lo..hi]);
        for (a, b) in a.chunks(1024).zip(b.chunks(1024)) {
            let mut lane = [T::ZERO; 16];
            let (ac, bc) = (a.chunks_exact(16), b.chunks_exact(16));
            let tail: T = ac.remainder().iter().zip(bc.remainder()).map(|(&a, &b)| g(a, b)).sum();
            for (a, b) in ac.zip(bc) {
                for i in 0..16 {
                    lane[i] += g(a[i], b[i]);
                }
            }
            total += lane.iter().map(|x| x.f64()).sum::<f64>() + tail.f64();
        }
        total
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_the_thread_count() {
        let x: Vec<f32> = (0..300_001u64).map(|i| ((i * 7919) % 10_007) as f32 * 1e-3 - 5.0).collect();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| sum2(&x, &x, |a, b| a * b))
        };
        let one = run(1);
        assert!((2..5).all(|t| run(t).to_bits() == one.to_bits()));
        let exact: f64 = x.iter().map(|&a| a as f64 * a as f64).sum();
        assert!((one - exact).abs() < 1e-6 * exact, "{one} {exact}");
    }
}
