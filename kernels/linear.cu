// y = x Wᵀ + b and its gradients, for matrices of a few hundred rows: heads and latent codes. Such a product is bound by latency,
// so its speed is the number of loads under way in all blocks. A block therefore has few results, and its warps share out the
// terms of each sum, not the results: a block reads each operand once.
#include "vec4.cuh"

struct Linear {
    unsigned n, c, k;  // n rows of c values in, k values out
    unsigned chunk;    // wgrad: rows that one block adds up
    unsigned vec;      // fwd, 4: pointers and c allow float4, else 1
};

constexpr unsigned ROWS = 8, OUTPUTS = 4;

// Sums of each lane's 32 values over the warp: lane i returns the sum of value i. In each of five rounds a lane keeps half of its
// values and hands the other half to its partner, which keeps that half.
__device__ __forceinline__ float transpose_sum(float (&v)[32]) {
    unsigned lane = threadIdx.x % 32;
    #pragma unroll
    for (unsigned half = 16; half > 0; half /= 2) {
        bool high = lane & half;
        #pragma unroll
        for (unsigned i = 0; i < half; i++) {
            float keep = high ? v[i + half] : v[i], give = high ? v[i] : v[i + half];
            v[i] = keep + __shfl_xor_sync(~0u, give, half);
        }
    }
    return v[0];
}

// Products of 8 rows of x and 4 rows of w, as far as there are `rows` and `outputs`: value 4·row + output.
template <typename V>
__device__ __forceinline__ void products(float (&sum)[32], const float *x, const float *w, unsigned rows, unsigned outputs,
                                         unsigned c) {
    unsigned wide = c / (sizeof(V) / 4);
    #pragma unroll 2
    for (unsigned j = threadIdx.x; j < wide; j += 128) {
        V a[ROWS], b[OUTPUTS];
        #pragma unroll
        for (unsigned o = 0; o < OUTPUTS; o++) b[o] = o < outputs ? ((const V *)w)[(size_t)o * wide + j] : V{};
        #pragma unroll
        for (unsigned i = 0; i < ROWS; i++) a[i] = i < rows ? ((const V *)x)[(size_t)i * wide + j] : V{};
        #pragma unroll
        for (unsigned i = 0; i < ROWS; i++) {
            #pragma unroll
            for (unsigned o = 0; o < OUTPUTS; o++) sum[i * OUTPUTS + o] = inner(a[i], b[o], sum[i * OUTPUTS + o]);
        }
    }
}

// linear_fwd: y = x Wᵀ + b.                                            twin: src/ops/linear.rs
// computes  y[n,k] = Σ_c x[n,c] w[k,c] + b[k]      b may be null
// shapes    x N·C   w K·C   b K   y N·K      contiguous
// grid      x: 4 outputs k   y: 8 rows n                               128 threads, each with every 128th c (or four) of all 32
// memory    w read once per 8 rows, x once per 4 outputs, y written once; float4 where C % 4 == 0
// numerics  fused multiply-add along c in each thread, then lanes by halves, then four warps in order: same bits every run
extern "C" __global__ void __launch_bounds__(128)
    linear_fwd_f32(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ w, const float *__restrict__ b,
                   Linear z) {
    __shared__ float part[4][32];
    unsigned t = threadIdx.x, k = blockIdx.x * OUTPUTS, n = blockIdx.y * ROWS;
    unsigned rows = min(ROWS, z.n - n), outputs = min(OUTPUTS, z.k - k);
    x += (size_t)n * z.c, w += (size_t)k * z.c;
    float sum[32] = {};
    if (z.vec == 4) products<float4>(sum, x, w, rows, outputs, z.c);
    else products<float>(sum, x, w, rows, outputs, z.c);
    part[t / 32][t % 32] = transpose_sum(sum);
    __syncthreads();
    unsigned row = t / OUTPUTS, o = t % OUTPUTS;
    if (row >= rows || o >= outputs) return;
    float total = ((part[0][t] + part[1][t]) + part[2][t]) + part[3][t];
    y[(size_t)(n + row) * z.k + k + o] = b ? total + b[k + o] : total;
}

// Both gradients are out[a,c] = Σ_r p[a,r] q[r,c], for eight rows a and 32 columns c a block. A warp takes every eighth r of them
// all, a lane one column; p[a,r] is the same for a whole warp and comes from shared memory, 256 values of r at a time. In memory
// it lies at a + r·step (TURNED) or at a·step + r.
constexpr unsigned DEPTH = 256;

template <bool TURNED>
__device__ __forceinline__ void product(float *out, const float *p, unsigned step, const float *q, unsigned rows, unsigned begin,
                                        unsigned end, unsigned width) {
    constexpr unsigned PITCH = TURNED ? ROWS : ROWS + 1;   // neighbours of p meet no bank twice
    __shared__ float factor[DEPTH * PITCH], part[8][ROWS][32];
    unsigned t = threadIdx.x, warp = t / 32, lane = t % 32, c = blockIdx.x * 32 + lane, first = blockIdx.y * ROWS;
    rows = min(ROWS, rows - first);
    p += (size_t)first * (TURNED ? 1 : step);
    float sum[ROWS] = {};
    for (unsigned from = begin; from < end; from += DEPTH) {
        unsigned depth = min(DEPTH, end - from);
        __syncthreads();   // no thread still reads the values of the round before
        for (unsigned i = t; i < DEPTH * ROWS; i += 256) {
            unsigned a = TURNED ? i % ROWS : i / DEPTH, r = TURNED ? i / ROWS : i % DEPTH;
            size_t at = TURNED ? (size_t)(from + r) * step + a : (size_t)a * step + from + r;
            if (r < depth) factor[r * PITCH + a] = a < rows ? p[at] : 0;
        }
        __syncthreads();
        if (c < width) {
            #pragma unroll 4   // so that four loads are under way
            for (unsigned i = 0, count = (depth + 7 - warp) / 8; i < count; i++) {
                unsigned r = i * 8 + warp;
                float f = q[(size_t)(from + r) * width + c];
                #pragma unroll
                for (unsigned a = 0; a < ROWS; a++) sum[a] = fmaf(factor[r * PITCH + a], f, sum[a]);
            }
        }
    }
    #pragma unroll
    for (unsigned a = 0; a < ROWS; a++) part[warp][a][lane] = sum[a];
    __syncthreads();
    if (warp >= rows || c >= width) return;
    float total = 0;
    #pragma unroll
    for (unsigned i = 0; i < 8; i++) total += part[i][warp][lane];
    out[(size_t)(first + warp) * width + c] = total;
}

// linear_dgrad: gradient of the input.                                 twin: src/ops/linear.rs
// computes  dx[n,c] = Σ_k dy[n,k] w[k,c]
// shapes    dy N·K   w K·C   dx N·C      contiguous
// grid      x: 32 columns c   y: 8 rows n                              256 threads: a warp takes every eighth k
// memory    w read once per 8 rows, dy once per 32 columns, dx written once; 17 kB shared
// numerics  fused multiply-add, k ascending in each warp, then the warps in order: same bits every run
extern "C" __global__ void __launch_bounds__(256)
    linear_dgrad_f32(float *__restrict__ dx, const float *__restrict__ dy, const float *__restrict__ w, Linear z) {
    product<false>(dx, dy, z.k, w, z.n, 0, z.k, z.c);
}

// linear_wgrad: gradient of the matrix, by stretches of the batch.     twin: src/ops/linear.rs
// computes  dw[s,k,c] = Σ_n dy[n,k] x[n,c]      n in the s-th stretch of `chunk` rows
// shapes    dy N·K   x N·C   dw S·K·C      contiguous; S = 1 is the gradient itself, else sum_splits adds them
// grid      x: 32 columns c   y: 8 rows k   z: stretches               256 threads: a warp takes every eighth n
// memory    x read once per 8 rows, dy once per 32 columns, dw written once; 17 kB shared
// numerics  fused multiply-add, n ascending in each warp, then the warps in order: same bits every run
extern "C" __global__ void __launch_bounds__(256)
    linear_wgrad_f32(float *__restrict__ dw, const float *__restrict__ dy, const float *__restrict__ x, Linear z) {
    unsigned begin = blockIdx.z * z.chunk;
    product<true>(dw + (size_t)blockIdx.z * z.k * z.c, dy, z.k, x, z.k, begin, min(begin + z.chunk, z.n), z.c);
}
