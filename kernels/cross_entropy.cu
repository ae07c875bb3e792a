// Softmax cross entropy; a warp per row.                                twin: src/ops/cross_entropy.rs
#include "lae.cuh"
#include "math.cuh"

struct CrossEntropy {
    unsigned rows, classes;
};

// log of the sum of e^x_j over a row, shifted by the largest; on every lane.
__device__ inline float log_sum_exp(const float *__restrict__ x, unsigned classes) {
    unsigned lane = threadIdx.x % 32;
    float top = -INFINITY, sum = 0;
    for (unsigned j = lane; j < classes; j += 32) top = fmaxf(top, x[j]);
    top = warp_max(top);
    for (unsigned j = lane; j < classes; j += 32) sum += exp_f32(x[j] - top);
    return top + logf(__shfl_sync(~0u, warp_sum(sum), 0));
}

// cross_entropy_fwd
// computes  partial[block] = sum over eight rows of log sum e^x_j - x_label, NaN if a label is no class; sum_fwd adds them up
// shapes    x rows × classes   label rows   partial one f64 per block
// grid      x: 8 rows per block                                         256 threads, a warp per row
// memory    x, label read once (rows of more than 32 classes again, from L1)
// numerics  exponentials in f32 by halves of a warp, rows in f64
extern "C" __global__ void __launch_bounds__(256)
    cross_entropy_fwd_f32(double *__restrict__ partial, const float *__restrict__ x, const float *__restrict__ label,
                          CrossEntropy p) {
    unsigned row = blockIdx.x * 8 + threadIdx.x / 32;
    double term = 0;
    if (row < p.rows) {
        x += size_t(row) * p.classes;
        float lse = log_sum_exp(x, p.classes);
        if (threadIdx.x % 32 == 0) {
            unsigned l = unsigned(label[row]);
            term = l < p.classes ? lse - x[l] : NAN;
        }
    }
    term = block_sum(term);
    if (threadIdx.x == 0) partial[blockIdx.x] = term;
}

// cross_entropy_bwd
// computes  dx = (e^(x - log sum e^x_j) - [j = label]) · dy / rows. NaN in a row whose label is no class
// shapes    dy 1   x, dx rows × classes   label rows
// grid      x: 8 rows per block                                         256 threads, a warp per row
// memory    x, label read once (rows of more than 32 classes again, from L1), dx written once
// numerics  the host's exponential
// measured  H200: 7.0 µs (64×2; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    cross_entropy_bwd_f32(float *__restrict__ dx, const float *__restrict__ x, const float *__restrict__ label,
                          const float *__restrict__ dy, CrossEntropy p) {
    unsigned row = blockIdx.x * 8 + threadIdx.x / 32;
    if (row >= p.rows) return;
    x += size_t(row) * p.classes;
    dx += size_t(row) * p.classes;
    float lse = log_sum_exp(x, p.classes), k = dy[0] / float(p.rows);
    unsigned l = unsigned(label[row]);
    if (l >= p.classes) k = NAN;
    for (unsigned j = threadIdx.x % 32; j < p.classes; j += 32) {
        float d = exp_f32(x[j] - lse) * k;
        dx[j] = j == l ? d - k : d;
    }
}
