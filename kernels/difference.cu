// Distances between two values of one shape: L1, MSE, SSE.              twin: src/ops/difference.rs
#include "lae.cuh"

// Sums of l1 and mse, and the gradients, over f32 or bf16, by the kernel's name.
template <class S> __device__ void l1(double *partial, const S *a, const S *b, unsigned count) {
    sum_terms(partial, count, [=](size_t i) {
        return each(load4(a, i, count), load4(b, i, count), [](float a, float b) { return fabsf(a - b); });
    });
}
template <class S> __device__ void mse(double *partial, const S *a, const S *b, unsigned count) {
    sum_terms(partial, count, [=](size_t i) {
        return each(load4(a, i, count), load4(b, i, count), [](float a, float b) { return (a - b) * (a - b); });
    });
}

// l1_fwd
// computes  partial[block] = this block's share of sum |a - b|; sum_fwd adds them up
// shapes    a, b any shape, as `count` values   partial one f64 per block
// grid      x: 4096 values per block, at most 1024 blocks               256 threads
// memory    a, b read once
// numerics  four terms in f32, the rest in f64; order fixed by `count`
extern "C" __global__ void __launch_bounds__(256)
    l1_fwd_f32(double *__restrict__ partial, const float *__restrict__ a, const float *__restrict__ b, unsigned count) {
    l1(partial, a, b, count);
}

extern "C" __global__ void __launch_bounds__(256)
    l1_fwd_bf16(double *__restrict__ partial, const Bf16 *__restrict__ a, const Bf16 *__restrict__ b, unsigned count) {
    l1(partial, a, b, count);
}

// mse_fwd
// computes  partial[block] = this block's share of sum (a - b)²; sum_fwd adds them up
// shapes    a, b any shape, as `count` values   partial one f64 per block
// grid      x: 4096 values per block, at most 1024 blocks               256 threads
// memory    a, b read once
// numerics  four terms in f32, the rest in f64; order fixed by `count`
extern "C" __global__ void __launch_bounds__(256)
    mse_fwd_f32(double *__restrict__ partial, const float *__restrict__ a, const float *__restrict__ b, unsigned count) {
    mse(partial, a, b, count);
}

extern "C" __global__ void __launch_bounds__(256)
    mse_fwd_bf16(double *__restrict__ partial, const Bf16 *__restrict__ a, const Bf16 *__restrict__ b, unsigned count) {
    mse(partial, a, b, count);
}

struct Difference {
    unsigned count, divisor;
};

// da = slope(a - b, dy / divisor), db = -da.
template <class S, class F>
__device__ void difference_bwd(S *__restrict__ da, S *__restrict__ db, const S *__restrict__ a, const S *__restrict__ b,
                               const float *__restrict__ dy, Difference p, F slope) {
    size_t i = my_four();
    if (i >= p.count) return;
    float k = dy[0] / float(p.divisor);
    float4 d = each(load4(a, i, p.count), load4(b, i, p.count), [=](float a, float b) { return slope(a - b, k); });
    if (da) store4(da, i, p.count, d);
    if (db) store4(db, i, p.count, each(d, [](float d) { return -d; }));
}

// l1_bwd
// computes  da = sign(a - b) · dy / divisor   db = -da; either may be absent (null); sign(0) = 0
// shapes    dy 1   a, b, da, db any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    a, b read once, da, db written once
// numerics  one quotient
// measured  H200: 8.2 µs, 770 GB/s (32×64×64×3; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    l1_bwd_f32(float *__restrict__ da, float *__restrict__ db, const float *__restrict__ a, const float *__restrict__ b,
               const float *__restrict__ dy, Difference p) {
    difference_bwd(da, db, a, b, dy, p, [](float d, float k) { return d > 0 ? k : d < 0 ? -k : 0; });
}

extern "C" __global__ void __launch_bounds__(256)
    l1_bwd_bf16(Bf16 *__restrict__ da, Bf16 *__restrict__ db, const Bf16 *__restrict__ a, const Bf16 *__restrict__ b,
               const float *__restrict__ dy, Difference p) {
    difference_bwd(da, db, a, b, dy, p, [](float d, float k) { return d > 0 ? k : d < 0 ? -k : 0; });
}

// mse_bwd
// computes  da = 2 (a - b) · dy / divisor   db = -da; either may be absent (null)
// shapes    dy 1   a, b, da, db any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    a, b read once, da, db written once
// numerics  a difference, a quotient and a product
extern "C" __global__ void __launch_bounds__(256)
    mse_bwd_f32(float *__restrict__ da, float *__restrict__ db, const float *__restrict__ a, const float *__restrict__ b,
                const float *__restrict__ dy, Difference p) {
    difference_bwd(da, db, a, b, dy, p, [](float d, float k) { return d * (k + k); });
}

extern "C" __global__ void __launch_bounds__(256)
    mse_bwd_bf16(Bf16 *__restrict__ da, Bf16 *__restrict__ db, const Bf16 *__restrict__ a, const Bf16 *__restrict__ b,
                const float *__restrict__ dy, Difference p) {
    difference_bwd(da, db, a, b, dy, p, [](float d, float k) { return d * (k + k); });
}
