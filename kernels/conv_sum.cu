// Sums over pixels are cut into splits: here are the kernel that adds the splits, and the gradient of a bias.
#include "lae.cuh"

// sum_splits: partial sums added in the order of their numbers.                    twin: src/ops/conv_launch.rs
// computes  y[i] = Σ_split x[split][i]
// shapes    x splits × count   y count
// grid      x: 256 values per block                                   256 threads, 1 value each
// memory    x read once, y written once
// numerics  f32 sum from split 0 upwards: same bits every run
struct Splits {
    unsigned count, splits;
};
extern "C" __global__ void __launch_bounds__(256) sum_splits_f32(const float *__restrict__ x, float *__restrict__ y, Splits p) {
    unsigned i = blockIdx.x * 256 + threadIdx.x;
    if (i >= p.count) return;
    float sum = x[i];
#pragma unroll 8   // so that eight loads are under way; the sum is still taken one by one
    for (unsigned split = 1; split < p.splits; split++) sum += x[(size_t)split * p.count + i];
    y[i] = sum;
}

// bias_grad: sums of columns of f32 or bf16, first half.                                          twin: src/host/conv.rs, bias_grad
// computes  db[chunk][k] = Σ_row dy[row][k] over the `span` rows of the chunk; `sum_splits` adds the chunks
// shapes    dy rows × k (pixels × channels)   db chunks × k, or k where there is one chunk
// grid      x: one chunk of rows per block   y: up to 256 channels per block      256 threads: channels × lanes of rows
// memory    dy read once, neighbouring threads read neighbouring values whatever k is; 1 kB shared
// numerics  f32; a lane adds every lanes-th row in order, then the lanes are added in order: same bits every run
struct Columns {
    unsigned rows, k, span;
};
__device__ inline float real(float x) { return x; }
__device__ inline float real(unsigned short x) { return __uint_as_float((unsigned)x << 16); }   // bf16

template <class Value> __device__ inline void bias_grad(const Value *__restrict__ dy, float *__restrict__ db, const Columns &p) {
    __shared__ float sums[256];
    unsigned width = min(p.k, 256u), lanes = 256 / width;
    constexpr unsigned SECTOR = 32 / sizeof(Value);
    if (lanes > SECTOR) lanes &= ~(SECTOR - 1);   // a step of all lanes is a multiple of 32 bytes: no sector is read twice
    unsigned lane = threadIdx.x / width, column = threadIdx.x % width, k = blockIdx.y * 256 + column;
    unsigned first = blockIdx.x * p.span + lane, end = min(blockIdx.x * p.span + p.span, p.rows);
    float sum = 0;
    if (lane < lanes && k < p.k) {
        unsigned count = first < end ? (end - first + lanes - 1) / lanes : 0;   // a chunk may have fewer rows than lanes
        const Value *from = dy + (size_t)first * p.k + k;
#pragma unroll 8   // so that eight loads are under way; the sum is still taken one by one
        for (unsigned i = 0; i < count; i++) sum += real(from[(size_t)i * lanes * p.k]);
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (lane > 0 || k >= p.k) return;
    for (unsigned i = 1; i < lanes; i++) sum += sums[i * width + column];
    db[blockIdx.x * p.k + k] = sum;
}

#define BIAS_GRAD(NAME, VALUE)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(256)                                                                            \
        bias_grad_##NAME(const VALUE *__restrict__ dy, float *__restrict__ db, Columns p) {                                      \
        bias_grad(dy, db, p);                                                                                                    \
    }
BIAS_GRAD(f32, float)
BIAS_GRAD(bf16, unsigned short)
