// conv2d_dgrad: gradient of the input of a convolution; forward pass of the transposed convolution.
//                                                    twin: src/ops/conv2d.rs, src/ops/conv_transpose2d.rs, src/ops/conv_launch.rs
// computes  dx[n,h,w,c] = Σ_rsk dy[n,p,q,k] · w[k,r,s,c] + b[c]      over p·stride = h+pad−r·dil, …
// shapes    dy N·P·Q·K   w K·R·S·C   b C (or a divisor of it) or null   dx N·H·W·C      contiguous, 16-byte aligned; K and C
//           multiples of 4 (C also 3 or less), any of both for `scalar`
// grid      x: tiles of (pixels of a phase)x(channels)   y: stride² phases       64 or 128 threads, the table below
// memory    dy once per column of tiles and tap, w once per row of tiles, through L2; dx written once; 18 to 48 kB shared
// numerics  f32, or tf32 factors; sums in f32 along r, s, k; same bits every run
// measured  H200: 10.3 TMAC/s in f32 (decoder.4, the forward pass of a transposed convolution; docs/gpu-runs.md)
//
// With a stride of 2, a row of dx is reached by every second row of the filter only: even and odd rows and columns make four
// phases, each a dense convolution with a quarter of the taps. Nothing is multiplied that is not needed and nothing scattered.
#include "conv_gemm.cuh"

#define DGRAD(NAME, BM, BN, THREADS, BLOCKS, V, ...)                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) conv2d_dgrad_##NAME(                                           \
        const float *__restrict__ dy, const float *__restrict__ w, const float *__restrict__ bias,                               \
        float *__restrict__ dx, Conv z) {                                                                                        \
        dgrad<__VA_ARGS__, BM, BN, THREADS, V>(dy, w, bias, dx, z);                                                              \
    }

//    name              rows cols threads blocks V engine: results of a thread (Simt), of a warp (Tensor), terms
DGRAD(128x64_f32,         128,  64, 128, 3, 4, Simt<8, 8>)
DGRAD(128x32_f32,         128,  32, 128, 3, 4, Simt<8, 4>)
DGRAD(128x16_f32,         128,  16, 128, 4, 4, Simt<4, 4>)
DGRAD(128x8_f32,          128,   8, 128, 4, 4, Simt<2, 4>)
DGRAD(128x3_f32,          128,   3,  64, 8, 4, Simt<2, 3>)
DGRAD(32x64_f32,           32,  64,  64, 6, 4, Simt<4, 8>)
DGRAD(128x64_scalar_f32,  128,  64, 128, 2, 1, Simt<8, 8>)
DGRAD(128x8_scalar_f32,   128,   8, 128, 3, 1, Simt<2, 4>)
DGRAD(128x128_tf32,       128, 128, 128, 2, 4, Tensor<64, 64, 1>)
DGRAD(128x64_tf32,        128,  64, 128, 3, 4, Tensor<64, 32, 1>)
DGRAD(128x32_tf32,        128,  32, 128, 4, 4, Tensor<32, 32, 1>)
DGRAD(32x64_tf32,          32,  64,  64, 8, 4, Tensor<32, 32, 1>)
DGRAD(128x128_3xtf32,     128, 128, 128, 2, 4, Tensor<64, 64, 3>)
DGRAD(128x64_3xtf32,      128,  64, 128, 2, 4, Tensor<64, 32, 3>)
DGRAD(128x32_3xtf32,      128,  32, 128, 4, 4, Tensor<32, 32, 3>)
DGRAD(32x64_3xtf32,        32,  64,  64, 8, 4, Tensor<32, 32, 3>)
