// sum_fwd: the second half of every sum, and of every loss.            twin: src/ops/sum.rs
// computes  y = sum of partial[i] / divisor
// shapes    y 1   partial `count`, f64
// grid      one block                                                  256 threads
// memory    partial read once
// numerics  f64, order fixed by `count`
#include "lae.cuh"

struct Sum {
    unsigned count, divisor;
};

extern "C" __global__ void __launch_bounds__(256) sum_fwd_f32(float *__restrict__ y, const double *__restrict__ partial, Sum p) {
    double sum = 0;
    stride(threadIdx.x, p.count, 256, [&](unsigned i) { sum += partial[i]; });
    sum = block_sum(sum);
    if (threadIdx.x == 0) y[0] = float(sum / p.divisor);
}
