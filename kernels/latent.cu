// The latent loss, equations 3 and 4; a warp per row.                   twin: src/ops/latent.rs
#include "lae.cuh"
#include "math.cuh"

struct Latent {
    unsigned rows, units; // units: even
    unsigned distance;    // 0: |a - target|, 1: (a - target)², 2: cross entropy of the label on act_0 - act_1
};

// latent_loss_fwd
// computes  act = (mean |z| of the first half, of the second)
//           partial[block] = sum over eight rows of w · (D(act_0 - l) + D(act_1 - (1 - l))), D(e) = |e| or e²; or of
//           w · (softplus(x) - l x), x = act_0 - act_1; sum_fwd adds them up
// shapes    z rows × units   label l, weight w rows (null: 1)   act rows × 2   partial one f64 per block
// grid      x: 8 rows per block                                         256 threads, a warp per row
// memory    z, label read once, act written once
// numerics  means in f64 by halves of a warp, rounded to f32 as the host does; rows in f64
extern "C" __global__ void __launch_bounds__(256)
    latent_loss_fwd_f32(double *__restrict__ partial, float *__restrict__ act, const float *__restrict__ z,
                        const float *__restrict__ label, const float *__restrict__ weight, Latent p) {
    unsigned row = blockIdx.x * 8 + threadIdx.x / 32, half = p.units / 2;
    double term = 0;
    if (row < p.rows) {
        z += size_t(row) * p.units;
        double t = 0, f = 0;
        for (unsigned c = threadIdx.x % 32; c < half; c += 32) {
            t += fabsf(z[c]);
            f += fabsf(z[half + c]);
        }
        t = warp_sum(t);
        f = warp_sum(f);
        if (threadIdx.x % 32 == 0) {
            float l = label[row], a = float(t / half), b = float(f / half);
            act[2 * size_t(row)] = a;
            act[2 * size_t(row) + 1] = b;
            float first = a - l, second = b - (1 - l);
            if (p.distance == 2) {
                float x = a - b;
                term = (x > 0 ? x : 0) + log1pf(exp_f32(-fabsf(x))) - l * x;
            } else {
                term = p.distance ? __fadd_rn(first * first, second * second) : fabsf(first) + fabsf(second);
            }
            if (weight) term *= weight[row];
        }
    }
    term = block_sum(term);
    if (threadIdx.x == 0) partial[blockIdx.x] = term;
}

__device__ inline float sign(float x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

// latent_loss_bwd
// computes  dz_c = w · dy / rows · 2 / units · D'(act - target) · sign(z_c), target l in the first half, 1 - l in the second
//           D'(e) = sign(e) or 2 e; of the cross entropy sigmoid(act_0 - act_1) - l, with the other sign in the second half
// shapes    dy 1   z, dz rows × units   act rows × 2   label l, weight w rows (null: 1)
// grid      x: 8 rows per block                                         256 threads, a warp per row
// memory    z, act, label read once, dz written once
// numerics  sign(0) = 0; factors in f64, rounded once
// measured  H200: 8.0 µs (64×128, when there were neither weights nor squares; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    latent_loss_bwd_f32(float *__restrict__ dz, const float *__restrict__ z, const float *__restrict__ act,
                        const float *__restrict__ label, const float *__restrict__ weight, const float *__restrict__ dy,
                        Latent p) {
    unsigned row = blockIdx.x * 8 + threadIdx.x / 32, half = p.units / 2;
    if (row >= p.rows) return;
    z += size_t(row) * p.units;
    dz += size_t(row) * p.units;
    float k = float(double(dy[0]) / p.rows * 2 / p.units), l = label[row];
    if (weight) k *= weight[row];
    float first = act[2 * size_t(row)] - l, second = act[2 * size_t(row) + 1] - (1 - l);
    if (p.distance == 2) {
        first = sigmoid_f32(act[2 * size_t(row)] - act[2 * size_t(row) + 1]) - l;
        second = -first;
    } else {
        first = p.distance ? first + first : sign(first);
        second = p.distance ? second + second : sign(second);
    }
    first *= k;
    second *= k;
    for (unsigned c = threadIdx.x % 32; c < p.units; c += 32) dz[c] = (c < half ? first : second) * sign(z[c]);
}
