// bf16 in memory: the upper half of an f32, two bytes. Values are widened as they are loaded and rounded once as they are stored, to
// the nearest, ties to even; whatever lies between is f32. A template over the type `S` of what is stored serves float and Bf16.
#pragma once

struct alignas(2) Bf16 {
    unsigned short bits;
};
// Four neighbours, which move as one word of eight bytes.
struct alignas(8) Bf16x4 {
    uint2 words;
};

// Two f32 as two bf16: `low` in the lower half of the word, which comes first in memory.
__device__ inline unsigned pack(float low, float high) {
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}
__device__ inline float lower(unsigned w) { return __uint_as_float(w << 16); }
__device__ inline float upper(unsigned w) { return __uint_as_float(w & 0xffff0000u); }

__device__ inline float widen(float x) { return x; }
__device__ inline float4 widen(float4 x) { return x; }
__device__ inline float widen(Bf16 x) { return lower(x.bits); }
__device__ inline float4 widen(Bf16x4 x) {
    return {lower(x.words.x), upper(x.words.x), lower(x.words.y), upper(x.words.y)};
}

__device__ inline void put(float &to, float v) { to = v; }
__device__ inline void put(float4 &to, float4 v) { to = v; }
__device__ inline void put(Bf16 &to, float v) { to.bits = (unsigned short)pack(v, 0); }
__device__ inline void put(Bf16x4 &to, float4 v) { to.words = {pack(v.x, v.y), pack(v.z, v.w)}; }
