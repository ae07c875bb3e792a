// The same values in another type. Each kernel is the other's backward.   twin: src/ops/cast.rs
#include "lae.cuh"

// cast_f32_bf16
// computes  y[i] = x[i] rounded
// shapes    x, y any shape, as `count` values
// grid      x: 1024 values per block                                     256 threads, 4 values each
// memory    x read once, y written once: 16 bytes in and 8 out per thread
// numerics  nearest, ties to even, ±∞ beyond the largest finite bf16: the host's bits; any NaN becomes 0x7fff
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    cast_f32_bf16(Bf16 *__restrict__ y, const float *__restrict__ x, unsigned count) {
    size_t i = my_four();
    if (i < count) store4(y, i, count, load4(x, i, count));
}

// cast_bf16_f32
// computes  y[i] = x[i]
// shapes    x, y any shape, as `count` values
// grid      x: 1024 values per block                                     256 threads, 4 values each
// memory    x read once, y written once: 8 bytes in and 16 out per thread
// numerics  exact
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    cast_bf16_f32(float *__restrict__ y, const Bf16 *__restrict__ x, unsigned count) {
    size_t i = my_four();
    if (i < count) store4(y, i, count, load4(x, i, count));
}
