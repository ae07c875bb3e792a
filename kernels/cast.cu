// The same values in another type. Each kernel is the other's backward.   twin: src/ops/cast.rs
#include "lae.cuh"

// Two f32 as two bf16: `low` in the lower half of the word, which comes first in memory.
__device__ inline unsigned pack(float low, float high) {
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

// cast_f32_bf16
// computes  y[i] = x[i] rounded
// shapes    x, y any shape, as `count` values
// grid      x: 1024 values per block                                     256 threads, 4 values each
// memory    x read once, y written once: 16 bytes in and 8 out per thread
// numerics  nearest, ties to even, ±∞ beyond the largest finite bf16: the host's bits; any NaN becomes 0x7fff
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    cast_f32_bf16(unsigned short *__restrict__ y, const float *__restrict__ x, unsigned count) {
    size_t i = my_four();
    if (i >= count) return;
    float4 v = load4(x, i, count);
    uint2 p = {pack(v.x, v.y), pack(v.z, v.w)};
    if (count - i >= 4) {
        *reinterpret_cast<uint2 *>(y + i) = p;
        return;
    }
    y[i] = p.x;
    if (count - i > 1) y[i + 1] = p.x >> 16;
    if (count - i > 2) y[i + 2] = p.y;
}

// cast_bf16_f32
// computes  y[i] = x[i]
// shapes    x, y any shape, as `count` values
// grid      x: 1024 values per block                                     256 threads, 4 values each
// memory    x read once, y written once: 8 bytes in and 16 out per thread
// numerics  exact
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    cast_bf16_f32(float *__restrict__ y, const unsigned short *__restrict__ x, unsigned count) {
    size_t i = my_four();
    if (i >= count) return;
    uint2 p;
    if (count - i >= 4) {
        p = *reinterpret_cast<const uint2 *>(x + i);
    } else {
        p.x = x[i] | (count - i > 1 ? unsigned(x[i + 1]) << 16 : 0);
        p.y = count - i > 2 ? x[i + 2] : 0;
    }
    auto low = [](unsigned w) { return __uint_as_float(w << 16); };
    auto high = [](unsigned w) { return __uint_as_float(w & 0xffff0000u); };
    store4(y, i, count, {low(p.x), high(p.x), low(p.y), high(p.y)});
}
