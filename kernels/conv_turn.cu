// conv2d_turn: filters as the gradient of the input reads them, in f32 or bf16.     twin: src/ops/conv_wgmma.rs
// computes  w'[c, tap', k] = w[k, tap, c], where tap' counts the taps of phase (0, 0), then of (0, 1), (1, 0), (1, 1), those of a phase
//           from the last to the first in both directions
// shapes    w K·R·S·C   w' C·R·S·K
// grid      x: 32 filters   y: 32 channels   z: a tap          32×8 threads
// memory    w and w' once; 4.2 kB shared, in bf16 half of it
// numerics  exact
#include "conv.cuh"

// Taps of one axis with number 0 mod `stride`, and of those with number 1.
__device__ inline int taps_of(int phase, int kernel, int stride) { return (kernel - phase + stride - 1) / stride; }
// Taps of earlier phases.
__device__ inline int before(int phase, int kernel, int stride) { return phase ? taps_of(0, kernel, stride) : 0; }

template <class Value> __device__ inline void turn(Value *__restrict__ turned, const Value *__restrict__ w, const Conv &z) {
    __shared__ Value tile[32][33];
    int first_k = blockIdx.x * 32, first_c = blockIdx.y * 32, r = blockIdx.z / z.s, s = blockIdx.z % z.s;
    int c = first_c + threadIdx.x;
#pragma unroll
    for (int i = threadIdx.y; i < 32; i += 8)
        if (first_k + i < z.k && c < z.c) tile[i][threadIdx.x] = w[((first_k + i) * z.r * z.s + blockIdx.z) * z.c + c];
    __syncthreads();
    int a = r % z.stride_h, b = s % z.stride_w, across = taps_of(b, z.s, z.stride_w), down = taps_of(a, z.r, z.stride_h);
    int tap = before(a, z.r, z.stride_h) * z.s + down * before(b, z.s, z.stride_w) +
              (down - 1 - r / z.stride_h) * across + (across - 1 - s / z.stride_w);
    int k = first_k + threadIdx.x;
#pragma unroll
    for (int i = threadIdx.y; i < 32; i += 8)
        if (first_c + i < z.c && k < z.k) turned[((first_c + i) * z.r * z.s + tap) * z.k + k] = tile[threadIdx.x][i];
}

#define TURN(NAME, VALUE)                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256)                                                                            \
        conv2d_turn_##NAME(VALUE *__restrict__ turned, const VALUE *__restrict__ w, Conv z) {                                    \
        turn(turned, w, z);                                                                                                      \
    }
TURN(f32, float)
TURN(bf16, unsigned short)
