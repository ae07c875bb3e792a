// The sum of the products of two values of one shape.                   twin: src/ops/dot.rs
#include "lae.cuh"

// dot_fwd
// computes  partial[block] = this block's share of sum a·b; sum_fwd adds them up
// shapes    a, b any shape, as `count` values   partial one f64 per block
// grid      x: 4096 values per block, at most 1024 blocks               256 threads
// memory    a, b read once
// numerics  four products in f32, the rest in f64; order fixed by `count`
extern "C" __global__ void __launch_bounds__(256)
    dot_fwd_f32(double *__restrict__ partial, const float *__restrict__ a, const float *__restrict__ b, unsigned count) {
    sum_terms(partial, count, [=](size_t i) {
        return each(load4(a, i, count), load4(b, i, count), [](float a, float b) { return a * b; });
    });
}

// dot_bwd
// computes  da = dy·b   db = dy·a; a gradient that nobody wants is null, and so is what only it needs
// shapes    dy 1   a, b, da, db any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    a, b read once, da, db written once
// numerics  one product
// measured  H200: 10.1 µs, 1661 GB/s (32×16×16×128; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    dot_bwd_f32(float *__restrict__ da, float *__restrict__ db, const float *__restrict__ a, const float *__restrict__ b,
                const float *__restrict__ dy, unsigned count) {
    size_t i = my_four();
    if (i >= count) return;
    float d = dy[0];
    if (da) store4(da, i, count, each(load4(b, i, count), [=](float b) { return d * b; }));
    if (db) store4(db, i, count, each(load4(a, i, count), [=](float a) { return d * a; }));
}
