// Batch normalisation, training and evaluation.                         twin: src/ops/batch_norm.rs
//
// Training takes three launches in each direction: shares of two sums per channel (one block per `split` pixels), their total and
// what follows from it, then one pass over the pixels. A sum over a channel is taken in f32 over the pixels of one thread (tens
// of them) and in f64 from there on, always in the same order.
//
// Values of pixels (x, y, dy, dx) are f32 or bf16, by the kernel's name; those of channels are f32, and so is all arithmetic.
//
// A ReLU or LeakyReLU that follows is done by the same kernels: forward multiplies y, and backward dy, by (y > 0 ? 1 : slope).
#include "lae.cuh"

struct BatchNorm {
    double eps;
    float momentum, slope; // slope of the activation's negative side, 1 for none
    unsigned pixels, channels;
    unsigned split, splits; // pixels per block, blocks along the pixels
};

// The first of this thread's V channels.
template <int V> __device__ unsigned my_channels() { return (blockIdx.x * blockDim.x + threadIdx.x) * V; }

// f(i) for every pixel of this thread but the first `skip`, where i is the place of its channels c..c+V there.
template <class F> __device__ void pixels(BatchNorm p, unsigned c, F f, unsigned skip = 0) {
    unsigned first = blockIdx.y * p.split, n = min(p.split, p.pixels - first);
    stride(threadIdx.y + skip * blockDim.y, n, blockDim.y, [&](unsigned i) { f(size_t(first + i) * p.channels + c); });
}

// partial[split][2][channels] = the block's two sums per channel, written by all threads: whole cache lines.
template <int V> __device__ void put_share(double *__restrict__ partial, BatchNorm p, double (&sums)[2 * V], double *shared) {
    column_sums(sums, shared);
    if (V > 1) __syncthreads();   // with V = 1 a thread reads only what it wrote itself
    unsigned t = threadIdx.y * blockDim.x + threadIdx.x, tile = blockDim.x * V, first = blockIdx.x * tile;
    for (unsigned q = 0; q < 2; q++)
        for (unsigned c = t; c < min(tile, p.channels - first); c += blockDim.x * blockDim.y)
            partial[size_t(2 * blockIdx.y + q) * p.channels + first + c] = shared[(q * V + c % V) * COLUMN + c / V];
}

// The two sums of channel c over all shares, on threads of row 0. Blocks of 8 channels × 32 rows.
__device__ inline void total(double (&sums)[2], const double *__restrict__ partial, BatchNorm p, unsigned c) {
    __shared__ double shared[2 * COLUMN];
    sums[0] = sums[1] = 0;
    if (c < p.channels)
        stride(threadIdx.y, p.splits, blockDim.y, [&](unsigned i) {
            sums[0] += partial[size_t(2 * i) * p.channels + c];
            sums[1] += partial[size_t(2 * i + 1) * p.channels + c];
        });
    column_sums(sums, shared);
}

template <int V, class S> __device__ void moments(double *__restrict__ partial, const S *__restrict__ x, BatchNorm p, double *shared) {
    unsigned c = my_channels<V>(), first = blockIdx.y * p.split + threadIdx.y;
    double sums[2 * V] = {};
    if (c < p.channels && threadIdx.y < min(p.split, p.pixels - blockIdx.y * p.split)) {
        Vec<V> shift = load<V>(x, size_t(first) * p.channels + c), s = {}, q = {};
        unsigned n = 1;
        auto add = [&](size_t i) {
            Vec<V> v = load<V>(x, i);
            for (int k = 0; k < V; k++) {
                float d = v[k] - shift[k];
                s[k] += d;
                q[k] = fmaf(d, d, q[k]);
            }
            n++;
        };
        pixels(p, c, add, 1);
        for (int k = 0; k < V; k++) {
            double a = shift[k], d = s[k];
            sums[k] = d + n * a;
            sums[V + k] = q[k] + a * (2 * d + n * a);
        }
    }
    put_share<V>(partial, p, sums, shared);
}

// batch_norm_train_sums_fwd
// computes  partial = per block and channel: sum x, sum x²
// shapes    x pixels × channels   partial splits × 2 × channels, f64
// grid      x: tiles of 32 groups of V channels, V = 4 where they divide by 4, else 1   y: `split` pixels per block    up to 256
// memory    x read once; 17 kB shared                                   threads: groups × pixels
// numerics  a thread subtracts its first pixel, sums in f32 and puts it back in f64: a large mean costs no digits
extern "C" __global__ void __launch_bounds__(256, 6) // left to itself, ptxas spills to fit eight blocks
    batch_norm_train_sums_fwd_f32(double *__restrict__ partial, const float *__restrict__ x, BatchNorm p) {
    __shared__ double shared[8 * COLUMN];
    if (p.channels % 4 == 0) moments<4>(partial, x, p, shared);
    else moments<1>(partial, x, p, shared);
}

extern "C" __global__ void __launch_bounds__(256, 6) // left to itself, ptxas spills to fit eight blocks
    batch_norm_train_sums_fwd_bf16(double *__restrict__ partial, const Bf16 *__restrict__ x, BatchNorm p) {
    __shared__ double shared[8 * COLUMN];
    if (p.channels % 4 == 0) moments<4>(partial, x, p, shared);
    else moments<1>(partial, x, p, shared);
}

// batch_norm_train_total_fwd
// computes  mean, rstd = 1 / sqrt(variance + eps) of the batch
//           running = (1 - momentum) running + momentum batch; its variance is the unbiased one
//           factors = (scale, offset) of y = (x - mean) scale + offset: what rounding took from the mean is in the offset
// shapes    partial splits × 2 × channels, f64   factors 2 × channels   the others `channels`
// grid      x: 8 channels per block                                     8 × 32 threads
// memory    partial read once
// numerics  f64, rounded once
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_train_total_fwd_f32(float *__restrict__ mean, float *__restrict__ rstd, float *__restrict__ running_mean,
                                   float *__restrict__ running_var, float *__restrict__ factors,
                                   const double *__restrict__ partial, const float *__restrict__ gamma,
                                   const float *__restrict__ beta, BatchNorm p) {
    unsigned c = my_channels<1>();
    double sums[2];
    total(sums, partial, p, c);
    if (threadIdx.y > 0 || c >= p.channels) return;
    double n = p.pixels, mu = sums[0] / n, var = fmax(sums[1] / n - mu * mu, 0.0), keep = 1 - double(p.momentum);
    double r = 1 / sqrt(var + p.eps), scale = gamma[c] * r;
    mean[c] = float(mu);
    rstd[c] = float(r);
    factors[c] = float(scale);
    factors[p.channels + c] = float(beta[c] - (mu - float(mu)) * scale);
    running_mean[c] = float(keep * running_mean[c] + p.momentum * mu);
    running_var[c] = float(keep * running_var[c] + p.momentum * (var * n / (n - 1)));
}

// v · (y > 0 ? 1 : slope)
template <int V> __device__ Vec<V> activated(Vec<V> v, Vec<V> y, BatchNorm p) {
    for (int k = 0; k < V; k++) v[k] *= y[k] > 0 ? 1 : p.slope;
    return v;
}

// dy at i, through the activation; y is null where there is none.
template <int V, class S>
__device__ Vec<V> load_dy(const S *__restrict__ dy, const S *__restrict__ y, size_t i, BatchNorm p) {
    Vec<V> d = load<V>(dy, i);
    return y ? activated<V>(d, load<V>(y, i), p) : d;
}

// y = (x - mean) · scale + offset, activated
template <int V, class S>
__device__ void normalise(S *__restrict__ y, const S *__restrict__ x, Vec<V> mean, Vec<V> scale, Vec<V> offset,
                          BatchNorm p) {
    if (my_channels<V>() >= p.channels) return;
    pixels(p, my_channels<V>(), [&](size_t i) {
        Vec<V> v = load<V>(x, i);
        for (int k = 0; k < V; k++) v[k] = fmaf(v[k] - mean[k], scale[k], offset[k]);
        store<V>(y, i, activated<V>(v, v, p));
    });
}

template <int V, class S>
__device__ void train_fwd(S *__restrict__ y, const S *__restrict__ x, const float *__restrict__ mean,
                          const float *__restrict__ factors, BatchNorm p) {
    Vec<V> v[3];
    load_shared<V, 3>(v, {mean, factors, factors + p.channels}, my_channels<V>(), p.channels);
    normalise<V>(y, x, v[0], v[1], v[2], p);
}

// batch_norm_train_fwd
// computes  y = (x - mean) · scale + offset, activated
// shapes    x, y pixels × channels   mean channels   factors (scale, offset) 2 × channels
// grid      x: tiles of 32 groups of V channels, V = 4 where they divide by 4, else 1   y: `split` pixels per block    up to 256
// memory    x read once, y written once, a channel's constants once per block      threads: groups × pixels
// numerics  a difference and one fused multiply-add
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_train_fwd_f32(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ mean,
                             const float *__restrict__ factors, BatchNorm p) {
    if (p.channels % 4 == 0) train_fwd<4>(y, x, mean, factors, p);
    else train_fwd<1>(y, x, mean, factors, p);
}

extern "C" __global__ void __launch_bounds__(256)
    batch_norm_train_fwd_bf16(Bf16 *__restrict__ y, const Bf16 *__restrict__ x, const float *__restrict__ mean,
                             const float *__restrict__ factors, BatchNorm p) {
    if (p.channels % 4 == 0) train_fwd<4>(y, x, mean, factors, p);
    else train_fwd<1>(y, x, mean, factors, p);
}

// gamma / sqrt(var + eps)
template <int V> __device__ Vec<V> eval_scale(Vec<V> gamma, Vec<V> var, BatchNorm p) {
    for (int k = 0; k < V; k++) gamma[k] /= sqrtf(var[k] + float(p.eps));
    return gamma;
}

template <int V, class S>
__device__ void eval_fwd(S *__restrict__ y, const S *__restrict__ x, const float *__restrict__ mean,
                         const float *__restrict__ var, const float *__restrict__ gamma, const float *__restrict__ beta,
                         BatchNorm p) {
    Vec<V> v[4];
    load_shared<V, 4>(v, {mean, var, gamma, beta}, my_channels<V>(), p.channels);
    normalise<V>(y, x, v[0], eval_scale<V>(v[2], v[1], p), v[3], p);
}

// batch_norm_eval_fwd
// computes  y = (x - mean) · gamma / sqrt(var + eps) + beta, with the running mean and variance, activated
// shapes    x, y pixels × channels   the others `channels`
// grid      x: tiles of 32 groups of V channels, V = 4 where they divide by 4, else 1   y: `split` pixels per block    up to 256
// memory    x read once, y written once, a channel's constants once per block      threads: groups × pixels
// numerics  a difference and one fused multiply-add
// measured  H200: 6.3 µs, 1333 GB/s (encoder.4; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_eval_fwd_f32(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ mean,
                            const float *__restrict__ var, const float *__restrict__ gamma, const float *__restrict__ beta,
                            BatchNorm p) {
    if (p.channels % 4 == 0) eval_fwd<4>(y, x, mean, var, gamma, beta, p);
    else eval_fwd<1>(y, x, mean, var, gamma, beta, p);
}

extern "C" __global__ void __launch_bounds__(256)
    batch_norm_eval_fwd_bf16(Bf16 *__restrict__ y, const Bf16 *__restrict__ x, const float *__restrict__ mean,
                            const float *__restrict__ var, const float *__restrict__ gamma, const float *__restrict__ beta,
                            BatchNorm p) {
    if (p.channels % 4 == 0) eval_fwd<4>(y, x, mean, var, gamma, beta, p);
    else eval_fwd<1>(y, x, mean, var, gamma, beta, p);
}

template <int V, class S>
__device__ void sums_bwd(double *__restrict__ partial, const S *__restrict__ x, const S *__restrict__ y,
                         const S *__restrict__ dy, const float *__restrict__ mean, BatchNorm p, double *shared) {
    unsigned c = my_channels<V>();
    double sums[2 * V] = {};
    Vec<V> mu[1];
    load_shared<V, 1>(mu, {mean}, c, p.channels);
    if (c < p.channels) {
        Vec<V> s = {}, q = {};
        pixels(p, c, [&](size_t i) {
            Vec<V> v = load<V>(x, i), d = load_dy<V>(dy, y, i, p);
            for (int k = 0; k < V; k++) {
                s[k] += d[k];
                q[k] = fmaf(d[k], v[k] - mu[0][k], q[k]);
            }
        });
        for (int k = 0; k < V; k++) {
            sums[k] = s[k];
            sums[V + k] = q[k];
        }
    }
    put_share<V>(partial, p, sums, shared);
}

// batch_norm_sums_bwd, of training and evaluation
// computes  partial = per block and channel: sum dy, sum dy (x - mean), dy through the activation (y null: none)
// shapes    x, y, dy pixels × channels   mean channels   partial splits × 2 × channels, f64
// grid      x: tiles of 32 groups of V channels, V = 4 where they divide by 4, else 1   y: `split` pixels per block    up to 256
// memory    x, y, dy read once; 17 kB shared                            threads: groups × pixels
// numerics  a thread's pixels in f32, the rest in f64
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_sums_bwd_f32(double *__restrict__ partial, const float *__restrict__ x, const float *__restrict__ y,
                            const float *__restrict__ dy, const float *__restrict__ mean, BatchNorm p) {
    __shared__ double shared[8 * COLUMN];
    if (p.channels % 4 == 0) sums_bwd<4>(partial, x, y, dy, mean, p, shared);
    else sums_bwd<1>(partial, x, y, dy, mean, p, shared);
}

extern "C" __global__ void __launch_bounds__(256)
    batch_norm_sums_bwd_bf16(double *__restrict__ partial, const Bf16 *__restrict__ x, const Bf16 *__restrict__ y,
                            const Bf16 *__restrict__ dy, const float *__restrict__ mean, BatchNorm p) {
    __shared__ double shared[8 * COLUMN];
    if (p.channels % 4 == 0) sums_bwd<4>(partial, x, y, dy, mean, p, shared);
    else sums_bwd<1>(partial, x, y, dy, mean, p, shared);
}

// batch_norm_train_total_bwd
// computes  dbeta = sum dy   dgamma = rstd · sum dy (x - mean); either may be absent (null), and so may
//           factors = (a, b, k) of dx = a dy + b (x - mean) + k: a = gamma rstd   b = -a rstd dgamma / n   k = -a dbeta / n
// shapes    partial splits × 2 × channels, f64   factors 3 × channels   the others `channels`
// grid      x: 8 channels per block                                     8 × 32 threads
// memory    partial read once
// numerics  f64, rounded once
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_train_total_bwd_f32(float *__restrict__ dgamma, float *__restrict__ dbeta, float *__restrict__ factors,
                                   const double *__restrict__ partial, const float *__restrict__ gamma,
                                   const float *__restrict__ rstd, BatchNorm p) {
    unsigned c = my_channels<1>();
    double sums[2];
    total(sums, partial, p, c);
    if (threadIdx.y > 0 || c >= p.channels) return;
    double r = rstd[c], db = sums[0], dg = sums[1] * r, a = gamma[c] * r, n = p.pixels;
    if (dgamma) dgamma[c] = float(dg);
    if (dbeta) dbeta[c] = float(db);
    if (factors) {
        factors[c] = float(a);
        factors[p.channels + c] = float(-a * r * dg / n);
        factors[2 * p.channels + c] = float(-a * db / n);
    }
}

template <int V, class S>
__device__ void train_bwd(S *__restrict__ dx, const S *__restrict__ x, const S *__restrict__ y,
                          const S *__restrict__ dy, const float *__restrict__ mean, const float *__restrict__ factors,
                          BatchNorm p) {
    unsigned c = my_channels<V>();
    Vec<V> f[4];
    load_shared<V, 4>(f, {mean, factors, factors + p.channels, factors + 2 * p.channels}, c, p.channels);
    if (c >= p.channels) return;
    Vec<V> mu = f[0], a = f[1], b = f[2], t = f[3];
    pixels(p, c, [&](size_t i) {
        Vec<V> v = load<V>(x, i), d = load_dy<V>(dy, y, i, p);
        for (int k = 0; k < V; k++) v[k] = fmaf(a[k], d[k], fmaf(b[k], v[k] - mu[k], t[k]));
        store<V>(dx, i, v);
    });
}

// batch_norm_train_bwd
// computes  dx = a dy + b (x - mean) + k, dy through the activation (y null: none)
// shapes    x, y, dy, dx pixels × channels   mean channels   factors (a, b, k) 3 × channels
// grid      x: tiles of 32 groups of V channels, V = 4 where they divide by 4, else 1   y: `split` pixels per block    up to 256
// memory    x, y, dy read once, dx written once, a channel's constants once per block    threads: groups × pixels
// numerics  a difference and two fused multiply-adds
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_train_bwd_f32(float *__restrict__ dx, const float *__restrict__ x, const float *__restrict__ y,
                             const float *__restrict__ dy, const float *__restrict__ mean, const float *__restrict__ factors,
                             BatchNorm p) {
    if (p.channels % 4 == 0) train_bwd<4>(dx, x, y, dy, mean, factors, p);
    else train_bwd<1>(dx, x, y, dy, mean, factors, p);
}

extern "C" __global__ void __launch_bounds__(256)
    batch_norm_train_bwd_bf16(Bf16 *__restrict__ dx, const Bf16 *__restrict__ x, const Bf16 *__restrict__ y,
                             const Bf16 *__restrict__ dy, const float *__restrict__ mean, const float *__restrict__ factors,
                             BatchNorm p) {
    if (p.channels % 4 == 0) train_bwd<4>(dx, x, y, dy, mean, factors, p);
    else train_bwd<1>(dx, x, y, dy, mean, factors, p);
}

// batch_norm_eval_total_bwd
// computes  dbeta = sum dy   dgamma = sum dy (x - mean) / sqrt(var + eps); either may be absent (null)
// shapes    partial splits × 2 × channels, f64   the others `channels`
// grid      x: 8 channels per block                                     8 × 32 threads
// memory    partial read once
// numerics  f64, rounded once
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_eval_total_bwd_f32(float *__restrict__ dgamma, float *__restrict__ dbeta, const double *__restrict__ partial,
                                  const float *__restrict__ var, BatchNorm p) {
    unsigned c = my_channels<1>();
    double sums[2];
    total(sums, partial, p, c);
    if (threadIdx.y > 0 || c >= p.channels) return;
    if (dgamma) dgamma[c] = float(sums[1] / sqrt(var[c] + p.eps));
    if (dbeta) dbeta[c] = float(sums[0]);
}

template <int V, class S>
__device__ void eval_bwd(S *__restrict__ dx, const S *__restrict__ y, const S *__restrict__ dy,
                         const float *__restrict__ var, const float *__restrict__ gamma, BatchNorm p) {
    unsigned c = my_channels<V>();
    Vec<V> v[2];
    load_shared<V, 2>(v, {gamma, var}, c, p.channels);
    if (c >= p.channels) return;
    Vec<V> scale = eval_scale<V>(v[0], v[1], p);
    pixels(p, c, [&](size_t i) {
        Vec<V> d = load_dy<V>(dy, y, i, p);
        for (int k = 0; k < V; k++) d[k] *= scale[k];
        store<V>(dx, i, d);
    });
}

// batch_norm_eval_bwd
// computes  dx = dy · gamma / sqrt(var + eps), dy through the activation (y null: none)
// shapes    y, dy, dx pixels × channels   the others `channels`
// grid      x: tiles of 32 groups of V channels, V = 4 where they divide by 4, else 1   y: `split` pixels per block    up to 256
// memory    y, dy read once, dx written once, a channel's constants once per block threads: groups × pixels
// numerics  two products
extern "C" __global__ void __launch_bounds__(256)
    batch_norm_eval_bwd_f32(float *__restrict__ dx, const float *__restrict__ y, const float *__restrict__ dy,
                            const float *__restrict__ var, const float *__restrict__ gamma, BatchNorm p) {
    if (p.channels % 4 == 0) eval_bwd<4>(dx, y, dy, var, gamma, p);
    else eval_bwd<1>(dx, y, dy, var, gamma, p);
}

extern "C" __global__ void __launch_bounds__(256)
    batch_norm_eval_bwd_bf16(Bf16 *__restrict__ dx, const Bf16 *__restrict__ y, const Bf16 *__restrict__ dy,
                            const float *__restrict__ var, const float *__restrict__ gamma, BatchNorm p) {
    if (p.channels % 4 == 0) eval_bwd<4>(dx, y, dy, var, gamma, p);
    else eval_bwd<1>(dx, y, dy, var, gamma, p);
}
