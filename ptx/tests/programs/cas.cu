// Atomic operations that the hardware lacks, as the programming guide, CUDA's headers and others write them.
// nvcc -ptx -arch=sm_80 -lineinfo -fmad=false cas.cu -o cas.ptx
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// B.5 of the programming guide.
__device__ double add_double(double* address, double val) {
    unsigned long long* p = (unsigned long long*)address;
    unsigned long long old = *p, assumed;
    do {
        assumed = old;
        old = atomicCAS(p, assumed, __double_as_longlong(val + __longlong_as_double(assumed)));
    } while (assumed != old);
    return __longlong_as_double(old);
}
extern "C" __global__ void guide_double(double* x, double* y) { y[blockIdx.x * blockDim.x + threadIdx.x] = add_double(x, 1.0); }

__device__ float multiply(float* address, float val) {
    int* p = (int*)address;
    int old = *p, assumed;
    do {
        assumed = old;
        old = atomicCAS(p, assumed, __float_as_int(val * __int_as_float(assumed)));
    } while (assumed != old);
    return __int_as_float(old);
}
extern "C" __global__ void product(float* x) { multiply(x, 1.0009765625f); }

// Half of a word.
extern "C" __global__ void half_of_a_word(unsigned* word) {
    unsigned old = *word, assumed;
    do {
        assumed = old;
        unsigned high = (assumed >> 16) + 1;
        old = atomicCAS(word, assumed, (assumed & 0xffff) | high << 16);
    } while (assumed != old);
}

extern "C" __global__ void shared_maximum(const float* x, float* y) {
    __shared__ unsigned long long best;
    if (threadIdx.x == 0) best = 0;
    __syncthreads();
    float v = x[threadIdx.x];
    unsigned long long old = best, assumed;
    do {
        assumed = old;
        unsigned long long mine = (unsigned long long)__float_as_uint(v) << 32 | threadIdx.x;
        old = atomicCAS(&best, assumed, mine > assumed ? mine : assumed);
    } while (assumed != old);
    __syncthreads();
    if (threadIdx.x == 0) y[0] = __uint_as_float(best >> 32);
}

// CUDA's own header, below sm_90.
extern "C" __global__ void header_bf16(__nv_bfloat16* x) { atomicAdd(x, __float2bfloat16(1.0f)); }
extern "C" __global__ void header_bf16x2(__nv_bfloat162* x) { atomicAdd(x, __float2bfloat162_rn(1.0f)); }

// Not the idiom: what was read is used for something else.
extern "C" __global__ void also_stored(int* x, int* y) {
    int old = *x, assumed;
    y[blockIdx.x * blockDim.x + threadIdx.x] = old;
    do {
        assumed = old;
        old = atomicCAS(x, assumed, assumed + 1);
    } while (assumed != old);
}
extern "C" __global__ void also_decides(int* x, int* y) {
    int old = *x, assumed;
    if (old < 1000000) {
        do {
            assumed = old;
            old = atomicCAS(x, assumed, assumed + 1);
        } while (assumed != old);
    }
}
extern "C" __global__ void also_written(int* x) {
    if (blockIdx.x == 1 && threadIdx.x == 0) *x = 7;
    int old = *x, assumed;
    do {
        assumed = old;
        old = atomicCAS(x, assumed, assumed + 1);
    } while (assumed != old);
}
