// The first pictures of a batch.                                        twin: src/ops/first.rs
#include "lae.cuh"

// first_fwd
// computes  y[i] = x[i]
// shapes    y the first n of the N pictures of x, as `count` values
// grid      x: 1024 values of y per block                               256 threads, 4 values each
// memory    x read once as far as y goes, y written once
// numerics  exact
// measured  H200: 4.7 µs (64 of 80×128; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    first_fwd_f32(float *__restrict__ y, const float *__restrict__ x, unsigned count) {
    map(y, x, count, [](float v) { return v; });
}

struct First {
    unsigned count, kept;
};

// first_bwd
// computes  dx[i] = dy[i] for i < kept, else 0
// shapes    dx N pictures, as `count` values; dy the first n of them, as `kept` values
// grid      x: 1024 values of dx per block                              256 threads, 4 values each
// memory    dy read once, dx written once
// numerics  exact
// measured  H200: 6.8 µs (64 of 80×128; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    first_bwd_f32(float *__restrict__ dx, const float *__restrict__ dy, First p) {
    size_t i = my_four();
    if (i >= p.count) return;
    store4(dx, i, p.count, i < p.kept ? load4(dy, i, p.kept) : float4{0, 0, 0, 0});
}
