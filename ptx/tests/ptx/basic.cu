// Typical kernels, as nvcc compiles them. basic.ptx is made from this file:
//   nvcc -ptx -arch=sm_80 -O3 -lineinfo -fmad=false -std=c++17 basic.cu -o basic.ptx
#include <stdint.h>

extern "C" __global__ void saxpy(int n, float a, const float* __restrict__ x, float* __restrict__ y) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = fmaf(a, x[i], y[i]);
}

struct Sizes {
    int n, h, w, c;
    float scale;
};

// NHWC, half-pixel centres, edges clamped.
extern "C" __global__ void __launch_bounds__(256) bilinear(Sizes z, const float* __restrict__ x, float* __restrict__ y) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= z.n * z.h * z.w * z.c) return;
    int c = i % z.c, q = i / z.c % z.w, p = i / z.c / z.w % z.h, n = i / z.c / z.w / z.h;
    float sy = fmaxf((p + 0.5f) * z.scale - 0.5f, 0.f), sx = fmaxf((q + 0.5f) * z.scale - 0.5f, 0.f);
    int y0 = (int)sy, x0 = (int)sx;
    float fy = sy - y0, fx = sx - x0;
    int h = z.h / 2, w = z.w / 2;
    int y1 = min(y0 + 1, h - 1), x1 = min(x0 + 1, w - 1);
    const float* b = x + (size_t)n * h * w * z.c + c;
    float top = b[(y0 * w + x0) * z.c] * (1 - fx) + b[(y0 * w + x1) * z.c] * fx;
    float bottom = b[(y1 * w + x0) * z.c] * (1 - fx) + b[(y1 * w + x1) * z.c] * fx;
    y[i] = top * (1 - fy) + bottom * fy;
}

extern "C" __global__ void reduce(int n, const float* x, float* y) {
    __shared__ float s[32];
    float v = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) v += x[i];
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x < 32) {
        v = threadIdx.x < blockDim.x / 32 ? s[threadIdx.x] : 0;
        for (int o = 16; o; o >>= 1) v += __shfl_down_sync(~0u, v, o);
        if (!threadIdx.x) y[blockIdx.x] = v;
    }
}

// C[M][N] = Aᵀ·B, A [K][M], B [K][N]; tiles of 64 × 64, k in steps of 16.
extern "C" __global__ void __launch_bounds__(256) gemm(int M, int N, int K, const float* __restrict__ A, const float* __restrict__ B, float* __restrict__ C) {
    __shared__ float4 As[16][16], Bs[16][16];
    int t = threadIdx.x, tx = t % 16, ty = t / 16;
    float acc[4][4] = {};
    for (int k0 = 0; k0 < K; k0 += 16) {
        As[ty][tx] = *(const float4*)(A + (size_t)(k0 + ty) * M + blockIdx.y * 64 + tx * 4);
        Bs[ty][tx] = *(const float4*)(B + (size_t)(k0 + ty) * N + blockIdx.x * 64 + tx * 4);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < 16; k++) {
            float4 a = As[k][ty], b = Bs[k][tx];
            float aa[4] = {a.x, a.y, a.z, a.w}, bb[4] = {b.x, b.y, b.z, b.w};
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) acc[i][j] = fmaf(aa[i], bb[j], acc[i][j]);
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; i++)
        *(float4*)(C + (size_t)(blockIdx.y * 64 + ty * 4 + i) * N + blockIdx.x * 64 + tx * 4) =
            make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
}

// Division of every kind, and the library's functions.
extern "C" __global__ void division(int n, const int* a, const int* b, int* q, int* r, float* f, unsigned* u, long long* l) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    q[i] = a[i] / b[i];
    r[i] = a[i] % b[i];
    f[i] = (float)a[i] / (float)b[i];
    u[i] = (unsigned)a[i] / (unsigned)b[i];
    l[i] = (long long)a[i] * 1000003 / b[i];
}

extern "C" __global__ void functions(int n, const float* x, float* y) {
    int i = threadIdx.x;
    if (i >= n) return;
    float v = x[i];
    y[i * 8 + 0] = expf(v);
    y[i * 8 + 1] = logf(fabsf(v) + 1e-3f);
    y[i * 8 + 2] = sinf(v);
    y[i * 8 + 3] = tanhf(v);
    y[i * 8 + 4] = powf(fabsf(v), 0.3f);
    y[i * 8 + 5] = sqrtf(fabsf(v));
    y[i * 8 + 6] = log1pf(expf(-fabsf(v)));
    y[i * 8 + 7] = (float)(double)v * rsqrtf(fabsf(v) + 1);
}

// A function that is not inlined, called with an address of local memory.
__device__ __noinline__ float polynomial(float a, const float* b) {
    for (int i = 0; i < 3; i++) a = a * b[i] + 1;
    return a;
}
extern "C" __global__ void calls(float* x) {
    float c[8];
    for (int i = 0; i < 8; i++) c[i] = x[i * 32 + threadIdx.x];
    float v = x[threadIdx.x];
    if (threadIdx.x & 1) v = polynomial(v, c + ((int)c[0] & 3));
    x[threadIdx.x] = v;
}
__device__ __noinline__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
extern "C" __global__ void recursion(int* y) { y[threadIdx.x] = fibonacci(threadIdx.x & 7); }

__constant__ float table[16];
__device__ float total[4] = {1, 2, 3, 4};
extern "C" __global__ void variables(float* x) {
    extern __shared__ float dynamic[];
    dynamic[threadIdx.x] = table[threadIdx.x & 15];
    __syncthreads();
    x[threadIdx.x] = dynamic[threadIdx.x ^ 1] + total[1 + (threadIdx.x & 1)];
    atomicAdd(&total[0], 1.0f);
    switch (threadIdx.x) {
        case 0: x[64] = 3; break;
        case 1: x[65] = 5; break;
        case 2: x[66] = 8; break;
        case 3: x[67] = 1; break;
        default: atomicAdd((int*)&x[68], 3);
    }
}

// Lanes take turns at a lock: no progress unless the holder runs.
extern "C" __global__ void lock(int* mutex, volatile int* count) {
    bool done = false;
    while (!done) {
        if (atomicCAS(mutex, 0, 1) == 0) {
            __threadfence();
            *count = *count + 1;
            __threadfence();
            atomicExch(mutex, 0);
            done = true;
        }
    }
}
