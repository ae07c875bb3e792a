// Dropout: random values are zeroed, the others scaled.                 twin: src/ops/dropout.rs
// Values are all f32 or all bf16, by the kernel's name.
#include "lae.cuh"
#include "philox.cuh"

struct Dropout {
    unsigned count, key0, key1;
    unsigned drop; // of 2^24
    float scale;
};

// y[i..i+4] = x[i..i+4] · scale where the draw of value i at this step is `drop` or more, else 0.
template <class S> __device__ void mask(S *__restrict__ y, const S *__restrict__ x, const float *__restrict__ step, Dropout p) {
    size_t i = my_four();
    if (i >= p.count) return;
    uint4 bits = philox(p.key0, p.key1, {unsigned(i / 4), 0, unsigned(step[0]), 0});
    float4 v = load4(x, i, p.count);
    v.x = bits.x >> 8 < p.drop ? 0 : v.x * p.scale;
    v.y = bits.y >> 8 < p.drop ? 0 : v.y * p.scale;
    v.z = bits.z >> 8 < p.drop ? 0 : v.z * p.scale;
    v.w = bits.w >> 8 < p.drop ? 0 : v.w * p.scale;
    store4(y, i, p.count, v);
}

// dropout_fwd
// computes  y[i] = draw(step, i) < drop ? 0 : x[i] · scale, scale = 1 / (1 - drop / 2^24)
// shapes    x, y any shape, as `count` values   step 1, a whole number
// grid      x: 1024 values per block                                    256 threads, 4 values each: one draw of the generator
// memory    x read once, y written once; the mask is never in memory
// numerics  the host's bits: one rounding
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    dropout_fwd_f32(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ step, Dropout p) {
    mask(y, x, step, p);
}

extern "C" __global__ void __launch_bounds__(256)
    dropout_fwd_bf16(Bf16 *__restrict__ y, const Bf16 *__restrict__ x, const float *__restrict__ step, Dropout p) {
    mask(y, x, step, p);
}

// dropout_bwd
// computes  dx[i] = draw(step, i) < drop ? 0 : dy[i] · scale
// shapes    dx, dy any shape, as `count` values   step 1, a whole number
// grid      x: 1024 values per block                                    256 threads, 4 values each: one draw of the generator
// memory    dy read once, dx written once; the mask is drawn again
// numerics  the host's bits: one rounding
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    dropout_bwd_f32(float *__restrict__ dx, const float *__restrict__ dy, const float *__restrict__ step, Dropout p) {
    mask(dx, dy, step, p);
}

extern "C" __global__ void __launch_bounds__(256)
    dropout_bwd_bf16(Bf16 *__restrict__ dx, const Bf16 *__restrict__ dy, const float *__restrict__ step, Dropout p) {
    mask(dx, dy, step, p);
}
