// conv2d_fprop: 2-D convolution as a product of matrices.        twin: src/ops/conv2d.rs, tiles chosen in src/ops/conv_launch.rs
// computes  y[n,p,q,k] = Σ_rsc x[n, p·stride−pad+r·dil, …, c] · w[k,r,s,c] + b[k]
// shapes    x N·H·W·C   w K·R·S·C   b K or null   y N·P·Q·K      contiguous, 16-byte aligned; C and K multiples of 4 (K also
//           3 or less), any of both for `scalar`
// grid      x: tiles of (pixels)x(filters), as the name says             64 or 128 threads, the table below
// memory    x once per column of tiles and tap, w once per row of tiles, through L2; y written once; 18 to 48 kB shared
// numerics  f32, or tf32 factors; sums in f32 along r, s, c; same bits every run
// measured  H200: 15.6, 18.3, 19.0 TMAC/s in f32 (encoder.2, vgg.2, encoder.12; docs/gpu-runs.md)
//
// `scalar` copies single values. The first layer, C = 3, takes it on purpose: rows of four channels would multiply a quarter of
// zeros, while in the order (r, s, c) the 48 values under a 4×4 filter are three full steps, and the 27 under a 3×3 filter two.
#include "conv_gemm.cuh"

#define FPROP(NAME, BM, BN, THREADS, BLOCKS, V, ...)                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) conv2d_fprop_##NAME(                                           \
        const float *__restrict__ x, const float *__restrict__ w, const float *__restrict__ bias,                                \
        float *__restrict__ y, Conv z) {                                                                                         \
        fprop<__VA_ARGS__, BM, BN, THREADS, V>(x, w, bias, y, z);                                                                \
    }

//    name              rows cols threads blocks V engine: results of a thread (Simt), of a warp (Tensor), terms
FPROP(128x64_f32,         128,  64, 128, 3, 4, Simt<8, 8>)
FPROP(128x32_f32,         128,  32, 128, 3, 4, Simt<8, 4>)
FPROP(128x16_f32,         128,  16, 128, 4, 4, Simt<4, 4>)
FPROP(128x8_f32,          128,   8, 128, 4, 4, Simt<2, 4>)
FPROP(128x3_f32,          128,   3,  64, 8, 4, Simt<2, 3>)
FPROP(32x64_f32,           32,  64,  64, 6, 4, Simt<4, 8>)
FPROP(128x64_scalar_f32,  128,  64, 128, 2, 1, Simt<8, 8>)
FPROP(128x8_scalar_f32,   128,   8, 128, 3, 1, Simt<2, 4>)
FPROP(128x128_tf32,       128, 128, 128, 2, 4, Tensor<64, 64, 1>)
FPROP(128x64_tf32,        128,  64, 128, 3, 4, Tensor<64, 32, 1>)
FPROP(128x32_tf32,        128,  32, 128, 4, 4, Tensor<32, 32, 1>)
FPROP(32x64_tf32,          32,  64,  64, 8, 4, Tensor<32, 32, 1>)
FPROP(128x128_3xtf32,     128, 128, 128, 2, 4, Tensor<64, 64, 3>)
FPROP(128x64_3xtf32,      128,  64, 128, 3, 4, Tensor<64, 32, 3>)
FPROP(128x32_3xtf32,      128,  32, 128, 4, 4, Tensor<32, 32, 3>)
FPROP(32x64_3xtf32,        32,  64,  64, 8, 4, Tensor<32, 32, 3>)
