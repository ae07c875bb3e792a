// y = x Wᵀ + b and its gradients, for matrices of a few hundred rows: heads and latent codes. There is little work, so what counts
// is enough blocks and whole cache lines, not tiles in shared memory.

struct Linear {
    unsigned n, c, k;  // n rows of c values in, k values out
    unsigned chunk;    // wgrad: rows that one block adds up
};

constexpr unsigned ROWS = 8;

// linear_fwd: y = x Wᵀ + b.                                            twin: src/ops/linear.rs
// computes  y[n,k] = Σ_c x[n,c] w[k,c] + b[k]      b may be null
// shapes    x N·C   w K·C   b K   y N·K      contiguous
// grid      x: 8 outputs k, a warp each   y: 8 rows n                  256 threads; a lane takes every 32nd c
// memory    w read once per 8 rows, x once per 8 outputs through L1, y written once
// numerics  fused multiply-add along c in each lane, then a butterfly of lanes: same bits every run
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    linear_fwd_f32(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ w, const float *__restrict__ b,
                   Linear z) {
    unsigned lane = threadIdx.x % 32, k = blockIdx.x * 8 + threadIdx.x / 32, first = blockIdx.y * ROWS;
    if (k >= z.k) return;
    w += (size_t)k * z.c;
    const float *row[ROWS];
    float sum[ROWS] = {};
    // Rows past the end repeat the last one and are not written.
    #pragma unroll
    for (unsigned i = 0; i < ROWS; i++) row[i] = x + (size_t)min(first + i, z.n - 1) * z.c;
    unsigned count = (z.c + 31 - lane) / 32;
    #pragma unroll 4   // counted, so that the loads of four steps can be under way
    for (unsigned i = 0, c = lane; i < count; i++, c += 32) {
        float f = w[c];
        #pragma unroll
        for (unsigned i = 0; i < ROWS; i++) sum[i] = fmaf(row[i][c], f, sum[i]);
    }
    #pragma unroll
    for (unsigned i = 0; i < ROWS; i++) {
        #pragma unroll
        for (unsigned far = 16; far > 0; far /= 2) sum[i] += __shfl_xor_sync(~0u, sum[i], far);
        if (lane == i && first + i < z.n) y[(size_t)(first + i) * z.k + k] = b ? sum[i] + b[k] : sum[i];
    }
}

// Both gradients are out[a,c] = Σ_r p[a,r] q[r,c]: a thread owns one c of eight rows a, so that q streams by once and p is the
// same word for a whole warp. p[a,r] lies at a·step_a + r·step_r.
__device__ __forceinline__ void product(float *out, const float *p, unsigned step_a, unsigned step_r, const float *q,
                                        unsigned rows, unsigned begin, unsigned end, unsigned width) {
    unsigned c = blockIdx.x * 128 + threadIdx.x, first = blockIdx.y * ROWS;
    if (c >= width) return;
    const float *row[ROWS];
    float sum[ROWS] = {};
    #pragma unroll
    for (unsigned i = 0; i < ROWS; i++) row[i] = p + (size_t)min(first + i, rows - 1) * step_a;
    unsigned r = begin;   // no sum is empty
    do {
        float f = q[(size_t)r * width + c];
        #pragma unroll
        for (unsigned i = 0; i < ROWS; i++) sum[i] = fmaf(row[i][(size_t)r * step_r], f, sum[i]);
    } while (++r < end);
    // No block is without a first row.
    #pragma unroll
    for (unsigned i = 0; i < ROWS; i++) {
        if (i == 0 || first + i < rows) out[(size_t)(first + i) * width + c] = sum[i];
    }
}

// linear_dgrad: gradient of the input.                                 twin: src/ops/linear.rs
// computes  dx[n,c] = Σ_k dy[n,k] w[k,c]
// shapes    dy N·K   w K·C   dx N·C      contiguous
// grid      x: 128 columns c   y: 8 rows n                             128 threads, 8 values each
// memory    w read once per 8 rows, dy once per 128 columns, dx written once
// numerics  fused multiply-add, k ascending: same bits every run
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(128)
    linear_dgrad_f32(float *__restrict__ dx, const float *__restrict__ dy, const float *__restrict__ w, Linear z) {
    product(dx, dy, z.k, 1, w, z.n, 0, z.k, z.c);
}

// linear_wgrad: gradient of the matrix, by stretches of the batch.     twin: src/ops/linear.rs
// computes  dw[s,k,c] = Σ_n dy[n,k] x[n,c]      n in the s-th stretch of `chunk` rows
// shapes    dy N·K   x N·C   dw S·K·C      contiguous; S = 1 is the gradient itself, else sum_splits adds them
// grid      x: 128 columns c   y: 8 rows k   z: stretches              128 threads, 8 values each
// memory    x read once per 8 rows, dy once per 128 columns, dw written once
// numerics  fused multiply-add, n ascending: same bits every run
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(128)
    linear_wgrad_f32(float *__restrict__ dw, const float *__restrict__ dy, const float *__restrict__ x, Linear z) {
    unsigned begin = blockIdx.z * z.chunk;
    product(dw + (size_t)blockIdx.z * z.k * z.c, dy, 1, z.k, x, z.k, begin, min(begin + z.chunk, z.n), z.c);
}
