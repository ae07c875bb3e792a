// conv2d_wgrad: gradient of the filters of a convolution, or its partial sums.
//                                                    twin: src/ops/conv2d.rs, src/ops/conv_transpose2d.rs, src/ops/conv_launch.rs
// computes  dw[split][k,r,s,c] = Σ_npq dy[n,p,q,k] · x[n, p·stride−pad+r·dil, …, c]      over the `span` pixels npq of the split;
//           `sum_splits` adds the splits
// shapes    x N·H·W·C   dy N·P·Q·K   dw splits·K·R·S·C      contiguous, 16-byte aligned; C and K multiples of 4, any for `scalar`
// grid      x: tiles of (filters)x(taps and channels)   y: splits of the pixels   64 to 256 threads, the table below
// memory    dy once per column of tiles, x once per row of tiles and tap, through L2; dw written once; 11 to 48 kB shared
// numerics  f32, or tf32 factors; sums in f32 along n, p, q; same bits every run
//
// Tiles of 16 and 32 rows are for few filters. Tiles of 48 columns hold the 4×4 taps of three channels: first and last layers.
#include "conv_gemm.cuh"

#define WGRAD(NAME, BM, BN, THREADS, BLOCKS, V, ...)                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) conv2d_wgrad_##NAME(                                           \
        const float *__restrict__ x, const float *__restrict__ dy, float *__restrict__ dw, Conv z) {                             \
        wgrad<__VA_ARGS__, BM, BN, THREADS, V>(x, dy, dw, z);                                                                    \
    }

//    name              rows cols threads blocks V engine: results of a thread (Simt), of a warp (Tensor), terms
WGRAD(128x128_f32,        128, 128, 256, 2, 4, Simt<8, 8>)
WGRAD(64x64_f32,           64,  64, 128, 4, 4, Simt<8, 4>)
WGRAD(32x64_f32,           32,  64,  64, 8, 4, Simt<8, 4>)
WGRAD(16x64_f32,           16,  64,  64, 8, 4, Simt<4, 4>)
WGRAD(64x64_scalar_f32,    64,  64, 128, 4, 1, Simt<8, 4>)
WGRAD(64x48_scalar_f32,    64,  48,  96, 5, 1, Simt<8, 4>)
WGRAD(8x48_scalar_f32,      8,  48,  96, 6, 1, Simt<1, 4>)
WGRAD(128x128_tf32,       128, 128, 128, 2, 4, Tensor<64, 64, 1>)
WGRAD(64x64_tf32,          64,  64, 128, 4, 4, Tensor<32, 32, 1>)
WGRAD(128x128_3xtf32,     128, 128, 128, 2, 4, Tensor<64, 64, 3>)
WGRAD(64x64_3xtf32,        64,  64, 128, 4, 4, Tensor<32, 32, 3>)
