#include "conv_gemm.cuh"

#define WGRAD(NAME, BM, BN, THREADS, BLOCKS, V, ...)                                                                           \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)                                                                      \
        conv2d_wgrad_##NAME(const float *__restrict__ x, const float *__restrict__ dy, float *__restrict__ dw, Conv z) {       \
        wgrad<__VA_ARGS__, BM, BN, THREADS, V>(x, dy, dw, z);                                                                  \
    }

WGRAD(128x128_f32, 128, 128, 256, 2, 4, Simt<8, 8>)
WGRAD(64x64_f32, 64, 64, 128, 4, 4, Simt<8, 4>)
WGRAD(32x64_f32, 32, 64, 64, 8, 4, Simt<8, 4>)
WGRAD(16x64_f32, 16, 64, 64, 8, 4, Simt<4, 4>)
WGRAD(64x64_scalar_f32, 64, 64, 128, 4, 1, Simt<8, 4>)
WGRAD(64x48_scalar_f32, 64, 48, 96, 5, 1, Simt<8, 4>)
WGRAD(8x48_scalar_f32, 8, 48, 96, 6, 1, Simt<1, 4>)
WGRAD(128x128_tf32, 128, 128, 256, 2, 4, Tensor<64, 32, 1>)
WGRAD(64x64_tf32, 64, 64, 128, 4, 4, Tensor<32, 32, 1>)
WGRAD(128x128_3xtf32, 128, 128, 256, 1, 4, Tensor<64, 32, 3>)
WGRAD(64x64_3xtf32, 64, 64, 128, 4, 4, Tensor<32, 32, 3>)
