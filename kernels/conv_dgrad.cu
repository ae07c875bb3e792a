#include "conv_gemm.cuh"

#define DGRAD(NAME, BM, BN, THREADS, BLOCKS, V, ...)                                                                           \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) conv2d_dgrad_##NAME(                                                 \
        const float *__restrict__ dy, const float *__restrict__ w, const float *__restrict__ bias, float *__restrict__ dx, Conv z) { \
        dgrad<__VA_ARGS__, BM, BN, THREADS, V>(dy, w, bias, dx, z);                                                            \
    }

DGRAD(128x64_f32, 128, 64, 128, 3, 4, Simt<8, 8>)
DGRAD(128x32_f32, 128, 32, 128, 3, 4, Simt<8, 4>)
DGRAD(128x16_f32, 128, 16, 128, 4, 4, Simt<4, 4>)
DGRAD(128x8_f32, 128, 8, 128, 4, 4, Simt<2, 4>)
DGRAD(128x3_f32, 128, 3, 64, 8, 4, Simt<2, 3>)
DGRAD(32x64_f32, 32, 64, 64, 6, 4, Simt<4, 8>)
DGRAD(128x64_scalar_f32, 128, 64, 128, 2, 1, Simt<8, 8>)
DGRAD(128x8_scalar_f32, 128, 8, 128, 3, 1, Simt<2, 4>)
DGRAD(128x128_tf32, 128, 128, 256, 1, 4, Tensor<64, 32, 1>)
DGRAD(128x64_tf32, 128, 64, 128, 3, 4, Tensor<64, 32, 1>)
DGRAD(128x32_tf32, 128, 32, 128, 4, 4, Tensor<32, 32, 1>)
DGRAD(32x64_tf32, 32, 64, 64, 8, 4, Tensor<32, 32, 1>)
DGRAD(128x128_3xtf32, 128, 128, 256, 1, 4, Tensor<64, 32, 3>)
DGRAD(128x64_3xtf32, 128, 64, 128, 3, 4, Tensor<64, 32, 3>)
DGRAD(128x32_3xtf32, 128, 32, 128, 4, 4, Tensor<32, 32, 3>)
DGRAD(32x64_3xtf32, 32, 64, 64, 8, 4, Tensor<32, 32, 3>)
