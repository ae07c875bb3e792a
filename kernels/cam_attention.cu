// The fused attention loss of src/ops/cam_attention.rs, which has the equations. Nine short kernels, and in none of them a picture
// of the masks' size: each pixel of the upsampled map lives in a register, from four values of the small map to its share of the
// loss and of the small map's gradient.
//
// A picture's features are read three times (mean, map, gradient of the class vector) and their gradient is written once; all
// else is a map of h·w values, a vector of k channels or one of d units.
#include "axis.cuh"
#include "math.cuh"
#include "vec4.cuh"

enum Weight : unsigned { Abs, Signed, Sign };
enum Norm : unsigned { None, ByWeight, Minmax, ReluMax, Sigmoid, SigmoidRaw };

struct Cam {
    double temperature, divisor;    // divisor: of the squared error of a picture
    unsigned n, h, w, k;            // features n·h·w·k
    unsigned pixels;                // of a map: h·w
    unsigned d, first, units;       // the head has d units, of which first .. first + units weigh into the map
    unsigned rows, columns;         // of the masks
    unsigned vec;                   // 4: pointers and channels allow float4, else 1
    Weight weight;
    Norm norm;
    unsigned relu, stopgrad, detach;
    Axis y, x;                      // from the map to the masks
};

constexpr float EPS = 1e-6f;

__device__ __forceinline__ float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f; }

// The weight of a unit in the map, and its derivative.
__device__ __forceinline__ float alpha(float z, const Cam &c) {
    return c.weight == Abs ? fabsf(z) : c.weight == Signed ? z : sign(z);
}
__device__ __forceinline__ float dalpha(float z, const Cam &c) {
    return c.weight == Abs ? sign(z) : c.weight == Signed ? 1.0f : 0.0f;
}

__device__ __forceinline__ double add(double a, double b) { return a + b; }
__device__ __forceinline__ float smaller(float a, float b) { return fminf(a, b); }
__device__ __forceinline__ float larger(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ unsigned earlier(unsigned a, unsigned b) { return min(a, b); }

// x of all threads of a block put together, known to all of them: lanes by a butterfly, then warps in order. Each CALL of a kernel
// has memory of its own, so that none waits for the readers of another; in no loop.
template <int CALL, typename T> __device__ __forceinline__ T together(T (*f)(T, T), T x) {
    __shared__ T warp[32];
    #pragma unroll
    for (unsigned far = 16; far > 0; far /= 2) x = f(x, __shfl_xor_sync(~0u, x, far));
    if (threadIdx.x % 32 == 0) warp[threadIdx.x / 32] = x;
    __syncthreads();
    x = warp[0];
    for (unsigned i = 1; i < blockDim.x / 32; i++) x = f(x, warp[i]);
    return x;
}

// What a norm needs to know of a whole map.
struct Stats {
    float lo, hi;
    double mean, deviation;
};

__device__ __forceinline__ float rectified(float x, const Cam &c) { return c.relu ? fmaxf(x, 0) : x; }

__device__ __forceinline__ Stats stats(const float *m, const Cam &c) {
    Stats s = {INFINITY, -INFINITY, 0, 0};
    if (c.norm == Minmax || c.norm == ReluMax) {
        for (unsigned p = threadIdx.x; p < c.pixels; p += blockDim.x) {
            float x = rectified(m[p], c);
            s.lo = fminf(s.lo, x), s.hi = fmaxf(s.hi, x);
        }
        s.lo = together<0>(smaller, s.lo), s.hi = together<1>(larger, s.hi);
    }
    if (c.norm == Sigmoid) {
        double sum = 0, squares = 0;
        for (unsigned p = threadIdx.x; p < c.pixels; p += blockDim.x) sum += rectified(m[p], c);
        s.mean = together<2>(add, sum) / c.pixels;
        for (unsigned p = threadIdx.x; p < c.pixels; p += blockDim.x) {
            double x = rectified(m[p], c) - s.mean;
            squares += x * x;
        }
        s.deviation = sqrt(together<3>(add, squares) / c.pixels);
    }
    return s;
}

__device__ __forceinline__ float normalise(float x, const Stats &s, const Cam &c) {
    x = rectified(x, c);
    switch (c.norm) {
    case Minmax: return (x - s.lo) / (s.hi - s.lo + EPS);
    case ReluMax: return fmaxf(x, 0) / (fmaxf(s.hi, 0) + EPS);
    case Sigmoid: return sigmoid_f32((float)(c.temperature * (x - s.mean) / (s.deviation + 1e-6)));
    case SigmoidRaw: return sigmoid_f32((float)c.temperature * x);
    default: return x;
    }
}

// Sum over the pixels of a picture, with weights `d` if there are any: a thread owns one or four channels of every 16th pixel.
template <typename V>
__device__ __forceinline__ void pool(float *out, const float *f, const float *d, float scale, const Cam &c) {
    __shared__ V part[16][32];
    unsigned wide = c.k / (sizeof(V) / 4), k = blockIdx.x * 32 + threadIdx.x;
    const V *x = (const V *)(f + (size_t)blockIdx.y * c.pixels * c.k) + k;
    V sum = {};
    if (k < wide) {
        for (unsigned p = threadIdx.y; p < c.pixels; p += 16) {
            sum = madd(d ? d[blockIdx.y * c.pixels + p] : 1.0f, x[(size_t)p * wide], sum);
        }
    }
    part[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || k >= wide) return;
    for (unsigned i = 1; i < 16; i++) sum = sum + part[i][threadIdx.x];
    ((V *)(out + (size_t)blockIdx.y * c.k))[k] = scale * sum;
}

// cam_attention_mean_fwd: the average of each channel.                 twin: src/ops/cam_attention.rs
// computes  g[n,k] = 1/hw Σ_p f[n,p,k]
// shapes    f N·h·w·K   g N·K      contiguous
// grid      x: 32 channels, or 128 where K % 4 == 0   y: pictures      32×16 threads, a channel (or four) of every 16th pixel
// memory    f read once, coalesced along K; 10 kB shared
// numerics  pixels ascending in each of 16 threads, which are then added in order: same bits every run
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(512)
    cam_attention_mean_fwd_f32(float *__restrict__ g, const float *__restrict__ f, Cam c) {
    float scale = 1.0f / c.pixels;
    if (c.vec == 4) pool<float4>(g, f, nullptr, scale, c);
    else pool<float>(g, f, nullptr, scale, c);
}

// cam_attention_map_bwd: gradient of the class vector.                 twin: src/ops/cam_attention.rs
// computes  q[n,k] = Σ_p d[n,p] f[n,p,k]
// shapes    f N·h·w·K   d N·h·w   q N·K      contiguous
// grid      x: 32 channels, or 128 where K % 4 == 0   y: pictures      32×16 threads, a channel (or four) of every 16th pixel
// memory    f read once, coalesced along K; 10 kB shared
// numerics  pixels ascending in each of 16 threads, which are then added in order: same bits every run
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(512)
    cam_attention_map_bwd_f32(float *__restrict__ q, const float *__restrict__ f, const float *__restrict__ d, Cam c) {
    if (c.vec == 4) pool<float4>(q, f, d, 1, c);
    else pool<float>(q, f, d, 1, c);
}

__device__ __forceinline__ float inner(float a, float b, float sum) { return fmaf(a, b, sum); }
__device__ __forceinline__ float inner(float4 a, float4 b, float sum) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

// Products of rows first .. first + 4 of a `count`×k matrix with a vector, by a warp: its first four lanes have one each. Rows past
// the end repeat the last one.
template <typename V>
__device__ __forceinline__ float dots(const float *matrix, unsigned first, unsigned count, const float *v, unsigned k) {
    unsigned lane = threadIdx.x % 32;
    const V *row[4];
    float sum[4] = {};
    #pragma unroll
    for (unsigned i = 0; i < 4; i++) row[i] = (const V *)(matrix + (size_t)min(first + i, count - 1) * k);
    #pragma unroll 2
    for (unsigned j = lane; j < k / (sizeof(V) / 4); j += 32) {
        V x = ((const V *)v)[j];
        #pragma unroll
        for (unsigned i = 0; i < 4; i++) sum[i] = inner(row[i][j], x, sum[i]);
    }
    float mine = 0;
    #pragma unroll
    for (unsigned i = 0; i < 4; i++) {
        #pragma unroll
        for (unsigned far = 16; far > 0; far /= 2) sum[i] += __shfl_xor_sync(~0u, sum[i], far);
        if (lane == i) mine = sum[i];
    }
    return mine;
}

__device__ __forceinline__ float dots(const float *matrix, unsigned first, unsigned count, const float *v, const Cam &c) {
    return c.vec == 4 ? dots<float4>(matrix, first, count, v, c.k) : dots<float>(matrix, first, count, v, c.k);
}

// cam_attention_head_fwd: the latent code, and its class vector.       twin: src/ops/cam_attention.rs
// computes  z[n,c] = Σ_k W[c,k] g[n,k] + b[c]      v[n,k] = 1/σ Σ_c α(z[n,c]) W[c,k]      σ = Σ_c |α| + ε by weight, else 1
// shapes    g N·K   W D·K   b D   z N·D   v N·K      contiguous
// grid      x: pictures                  512 threads: first a warp to four units, then a thread to a channel
// memory    W read once per picture, its weighing half twice, through L2; `units` floats shared
// numerics  lanes along k, then a butterfly; v by units ascending; σ in f64: same bits every run
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(512, 1)
    cam_attention_head_fwd_f32(float *__restrict__ z, float *__restrict__ v, const float *__restrict__ g,
                               const float *__restrict__ w, const float *__restrict__ b, Cam c) {
    extern __shared__ float weights[];
    unsigned lane = threadIdx.x % 32, t = threadIdx.x;
    z += (size_t)blockIdx.x * c.d, v += (size_t)blockIdx.x * c.k, g += (size_t)blockIdx.x * c.k;
    double sigma = 0;
    for (unsigned first = t / 32 * 4; first < c.d; first += 64) {
        float x = dots(w, first, c.d, g, c);
        unsigned unit = first + lane;
        if (lane < 4 && unit < c.d) {
            z[unit] = x += b[unit];
            if (unit - c.first < c.units) {
                weights[unit - c.first] = x = alpha(x, c);
                sigma += fabsf(x);
            }
        }
    }
    float total = 1;
    if (c.norm == ByWeight) total = (float)(together<4>(add, sigma) + 1e-6);
    __syncthreads();
    w += (size_t)c.first * c.k;
    for (unsigned k = t; k < c.k; k += 512) {
        float sum = 0;
        for (unsigned i = 0; i < c.units; i++) sum = fmaf(weights[i], w[(size_t)i * c.k + k], sum);
        v[k] = sum / total;
    }
}

// cam_attention_map_fwd: the class map.                                twin: src/ops/cam_attention.rs
// computes  m[n,p] = Σ_k v[n,k] f[n,p,k]
// shapes    f N·h·w·K   v N·K   m N·h·w      contiguous
// grid      x: 32 pixels   y: pictures                                 256 threads, a warp to four pixels
// memory    f read once, v once per block; K floats shared; float4 where K % 4 == 0
// numerics  lanes along k, then a butterfly: same bits every run
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256, 4) // left to itself, ptxas spills to fit six blocks
    cam_attention_map_fwd_f32(float *__restrict__ m, const float *__restrict__ f, const float *__restrict__ v, Cam c) {
    extern __shared__ __align__(16) float vector[];
    unsigned lane = threadIdx.x % 32, first = blockIdx.x * 32 + threadIdx.x / 32 * 4;
    for (unsigned k = threadIdx.x; k < c.k; k += 256) vector[k] = v[(size_t)blockIdx.y * c.k + k];
    __syncthreads();
    if (first >= c.pixels) return;
    float x = dots(f + (size_t)blockIdx.y * c.pixels * c.k, first, c.pixels, vector, c);
    if (lane < 4 && first + lane < c.pixels) m[blockIdx.y * c.pixels + first + lane] = x;
}

// cam_attention_error_fwd: norm, upsampling, error and its gradient.   twin: src/ops/cam_attention.rs
// computes  map = norm(m)      e = U map Uᵀ − G      error[n,i] = φ/(PΦ) Σ e² over the rows that start at row i of the map
//           dmap = 2φ/(PΦ) Uᵀ e U
// shapes    m, map, dmap N·h·w   G N·rows·columns   φ N   error N·h (f64; sum_fwd adds them to the loss)      contiguous
// grid      x: rows i of the map   y: pictures       64 to 256 threads, each down a column of the mask's rows that read row i
// memory    G read twice (once from L2), m once per row of the map; 3w + columns floats shared
// numerics  e, e² down a column and dmap in f32, the rest of the sum in f64; rows from the top, columns by lanes and a
//           butterfly: same bits every run
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
//
// A gather: row i of dmap belongs to this block alone, which sums what every pixel that reads it gives. A pixel between rows i
// and i + 1 is therefore worked out twice, by two blocks, and counts for the loss in the first.
extern "C" __global__ void __launch_bounds__(256)
    cam_attention_error_fwd_f32(float *__restrict__ map, float *__restrict__ dmap, double *__restrict__ error,
                                const float *__restrict__ m, const float *__restrict__ mask,
                                const float *__restrict__ select, Cam c) {
    extern __shared__ float shared[];
    float *above = shared, *here = shared + c.w, *below = shared + 2 * c.w, *column = shared + 3 * c.w;
    unsigned t = threadIdx.x, lane = t % 32, n = blockIdx.y, offset = (n * c.h + blockIdx.x) * c.w;
    int i = blockIdx.x;
    m += (size_t)n * c.pixels;

    Stats s = stats(m, c);
    for (unsigned j = t; j < c.w; j += blockDim.x) {
        above[j] = normalise(m[max(i - 1, 0) * c.w + j], s, c);
        map[offset + j] = here[j] = normalise(m[i * c.w + j], s, c);
        below[j] = normalise(m[min(i + 1, (int)c.h - 1) * c.w + j], s, c);
    }
    double chosen = 0, phi = select[n];
    for (unsigned a = t; a < c.n; a += blockDim.x) chosen += select[a];
    chosen = together<5>(add, chosen);
    if (phi == 0 || chosen == 0) {
        for (unsigned j = t; j < c.w; j += blockDim.x) dmap[offset + j] = 0;
        if (t == 0) error[n * c.h + i] = 0;
        return;
    }

    double squares = 0;
    Readers down = readers(c.y, i);
    for (unsigned q = t; q < c.columns; q += blockDim.x) {
        Tap a = tap(c.x, q);
        float far = 1 - a.l, top = fmaf(a.l, above[a.i1], far * above[a.i0]);
        float middle = fmaf(a.l, here[a.i1], far * here[a.i0]), bottom = fmaf(a.l, below[a.i1], far * below[a.i0]);
        const float *g = mask + ((size_t)n * c.rows + down.first) * c.columns + q;
        float sum = 0, own = 0;
        for (int p = down.first; p < down.last; p++, g += c.columns) {
            int from = position(c.y, p) - i * c.y.den;
            float near = (float)(c.y.den - abs(from)) * c.y.inv;
            float e = fmaf(near, middle, (1 - near) * (from < 0 ? top : bottom)) - *g;
            sum = fmaf(near, e, sum);
            if (from >= 0) own = fmaf(e, e, own);
        }
        column[q] = sum;
        squares += own;
    }
    squares = together<6>(add, squares);
    if (t == 0) error[n * c.h + i] = phi * squares / (c.divisor * chosen);
    float kappa = (float)(2 * phi / (c.divisor * chosen));
    for (unsigned j = t / 32; j < c.w; j += blockDim.x / 32) {
        Readers across = readers(c.x, j);
        float sum = 0;
        for (int q = across.first + lane; q < across.last; q += 32) sum = fmaf(weight(c.x, q, j), column[q], sum);
        #pragma unroll
        for (unsigned far = 16; far > 0; far /= 2) sum += __shfl_xor_sync(~0u, sum, far);
        if (lane == 0) dmap[offset + j] = kappa * (c.x.inv * sum);
    }
}

// cam_attention_norm_bwd: back through the norm.                       twin: src/ops/cam_attention.rs
// computes  d = dL/dm from dy · dmap = dL/dmap
// shapes    m, map, dmap, d N·h·w   dy 1      contiguous
// grid      x: pictures                                                256 threads, every 256th pixel each
// memory    m, map, dmap read up to three times, from L1 after the first; d written once
// numerics  sums in f64, of every 256th value in a thread, then lanes by a butterfly and warps in order: same bits every run.
//           Minimum and maximum are the first of equals, as on the host
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256, 1)
    cam_attention_norm_bwd_f32(float *__restrict__ d, const float *__restrict__ m, const float *__restrict__ map,
                               const float *__restrict__ dmap, const float *__restrict__ dy, Cam c) {
    unsigned t = threadIdx.x;
    size_t offset = (size_t)blockIdx.x * c.pixels;
    d += offset, m += offset, map += offset, dmap += offset;
    Stats s = stats(m, c);
    float scale = *dy;

    // d = slope · dmap at every pixel, and what a norm's own statistics add: at the first minimum and maximum, or everywhere.
    double s1 = 0, s2 = 0;
    unsigned lowest = ~0u, highest = ~0u;
    float range = 1, at_lo = 0, at_hi = 0;
    double spread = 0, wide = s.deviation + 1e-6;
    if (c.norm == Minmax || c.norm == ReluMax) {
        range = c.norm == Minmax ? s.hi - s.lo + EPS : fmaxf(s.hi, 0) + EPS;
        for (unsigned p = t; p < c.pixels; p += 256) {
            float x = rectified(m[p], c), g = dmap[p] * scale;
            s1 += g, s2 += g * map[p];
            if (x == s.lo) lowest = min(lowest, p);
            if (x == s.hi) highest = min(highest, p);
        }
        s1 = together<7>(add, s1), s2 = together<8>(add, s2);
        lowest = together<9>(earlier, lowest), highest = together<10>(earlier, highest);
        if (!c.stopgrad) {
            at_hi = -(float)s2 / range;
            if (c.norm == Minmax) at_lo = (float)(s2 - s1) / range;
            else if (s.hi <= 0) at_hi = 0;
        }
    } else if (c.norm == Sigmoid) {
        for (unsigned p = t; p < c.pixels; p += 256) {
            float g = dmap[p] * scale * map[p] * (1 - map[p]) * (float)c.temperature;
            s1 += g, s2 += g * (rectified(m[p], c) - s.mean) / wide;
        }
        s1 = together<11>(add, s1) / c.pixels, s2 = together<12>(add, s2);
        spread = s.deviation > 0 ? s2 / (wide * c.pixels * s.deviation) : 0;
    }
    for (unsigned p = t; p < c.pixels; p += 256) {
        float g = dmap[p] * scale;
        switch (c.norm) {
        case Minmax:
        case ReluMax:
            g = c.norm == Minmax || m[p] > 0 ? g / range : 0;
            if (p == lowest) g += at_lo;
            if (p == highest) g += at_hi;
            break;
        case Sigmoid:
            g = g * map[p] * (1 - map[p]) * (float)c.temperature;
            g = (float)((g - s1) / wide - spread * (rectified(m[p], c) - s.mean));
            break;
        case SigmoidRaw: g = g * map[p] * (1 - map[p]) * (float)c.temperature; break;
        default: break;
        }
        d[p] = c.relu && !(m[p] > 0) ? 0 : g;
    }
}

// cam_attention_head_bwd: from the class vector to the latent code.    twin: src/ops/cam_attention.rs
// computes  u_c = Σ_k W[c,k] q[n,k]      a[n,c] = α_c/σ      s[n,c] = dα_c/dz_c · (u_c/σ − sign(α_c) Σ_c α_c u_c/σ²)
//           v[n,k] = Σ_c a[n,c] W[c,k]      r[n,k] = 1/hw Σ_c s[n,c] W[c,k]      the last term of s: by weight only
// shapes    q, v, r N·K   W D·K   z, a, s N·D      contiguous; a and s are 0 outside the weighing units
// grid      x: pictures                  512 threads: first a warp to four units, then a thread to a channel
// memory    the weighing half of W read twice per picture, through L2; 2·`units` floats shared
// numerics  lanes along k, then a butterfly; sums over units in f64, v and r by units ascending: same bits every run
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(512, 1)
    cam_attention_head_bwd_f32(float *__restrict__ v, float *__restrict__ r, float *__restrict__ a, float *__restrict__ s,
                               const float *__restrict__ q, const float *__restrict__ z, const float *__restrict__ w, Cam c) {
    extern __shared__ float shared[];
    float *weights = shared, *slopes = shared + c.units;
    unsigned lane = threadIdx.x % 32, t = threadIdx.x;
    v += (size_t)blockIdx.x * c.k, r += (size_t)blockIdx.x * c.k, q += (size_t)blockIdx.x * c.k;
    a += (size_t)blockIdx.x * c.d, s += (size_t)blockIdx.x * c.d, z += (size_t)blockIdx.x * c.d + c.first;
    w += (size_t)c.first * c.k;
    for (unsigned first = t / 32 * 4; first < c.units; first += 64) {
        float u = dots(w, first, c.units, q, c);
        if (lane < 4 && first + lane < c.units) slopes[first + lane] = u;
    }
    __syncthreads();
    float sigma = 1, through = 0;
    if (c.norm == ByWeight) {
        double total = 0, product = 0;
        for (unsigned i = t; i < c.units; i += 512) {
            total += fabsf(alpha(z[i], c));
            product += (double)alpha(z[i], c) * slopes[i];
        }
        sigma = (float)(together<13>(add, total) + 1e-6);
        through = (float)(-together<14>(add, product) / ((double)sigma * sigma));
    }
    for (unsigned i = t; i < c.units; i += 512) {
        float x = alpha(z[i], c);
        weights[i] = x / sigma;
        slopes[i] = c.detach ? 0 : dalpha(z[i], c) * fmaf(through, sign(x), slopes[i] / sigma);
    }
    __syncthreads();
    for (unsigned i = t; i < c.d; i += 512) {
        bool weighs = i - c.first < c.units;
        a[i] = weighs ? weights[i - c.first] : 0;
        s[i] = weighs ? slopes[i - c.first] : 0;
    }
    float inverse = 1.0f / c.pixels;
    for (unsigned k = t; k < c.k; k += 512) {
        float along = 0, mean = 0;
        for (unsigned i = 0; i < c.units; i++) {
            float x = w[(size_t)i * c.k + k];
            along = fmaf(weights[i], x, along), mean = fmaf(slopes[i], x, mean);
        }
        v[k] = along, r[k] = mean * inverse;
    }
}

template <typename V>
__device__ __forceinline__ void outer(float *df, const float *d, const float *v, const float *r, const Cam &c) {
    unsigned wide = c.k / (sizeof(V) / 4), k = blockIdx.x * 32 + threadIdx.x, n = blockIdx.z;
    if (k >= wide) return;
    V along = ((const V *)(v + (size_t)n * c.k))[k], mean = ((const V *)(r + (size_t)n * c.k))[k];
    V *out = (V *)(df + (size_t)n * c.pixels * c.k) + k;
    #pragma unroll
    for (unsigned i = 0; i < 8; i++) {
        unsigned p = blockIdx.y * 64 + i * 8 + threadIdx.y;
        if (p < c.pixels) out[(size_t)p * wide] = madd(d[n * c.pixels + p], along, mean);
    }
}

// cam_attention_features_bwd: gradient of the features.                twin: src/ops/cam_attention.rs
// computes  df[n,p,k] = v[n,k] d[n,p] + r[n,k]
// shapes    df N·h·w·K   d N·h·w   v, r N·K      contiguous
// grid      x: 32 channels, or 128 where K % 4 == 0   y: 64 pixels   z: pictures    32×8 threads, 8 pixels each
// memory    df written once; the rest is small and read once per block
// numerics  one fused multiply-add
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    cam_attention_features_bwd_f32(float *__restrict__ df, const float *__restrict__ d, const float *__restrict__ v,
                                   const float *__restrict__ r, Cam c) {
    if (c.vec == 4) outer<float4>(df, d, v, r, c);
    else outer<float>(df, d, v, r, c);
}

// cam_attention_weight_bwd: gradient of the head.                      twin: src/ops/cam_attention.rs
// computes  dW[c,k] = Σ_n a[n,c] q[n,k] + s[n,c] g[n,k]      db[c] = Σ_n s[n,c]
// shapes    a, s N·D   q, g N·K   dW D·K   db D      contiguous; dW or db may be null
// grid      x: 128 channels   y: 4 units                               128 threads, 4 values of dW each
// memory    q, g read once per four units from L2, dW and db written once
// numerics  pictures ascending, fused multiply-add: same bits every run
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(128)
    cam_attention_weight_bwd_f32(float *__restrict__ dw, float *__restrict__ db, const float *__restrict__ a,
                                 const float *__restrict__ s, const float *__restrict__ q, const float *__restrict__ g, Cam c) {
    unsigned k = blockIdx.x * 128 + threadIdx.x, first = blockIdx.y * 4;
    if (dw && k < c.k) {
        float sum[4] = {};
        for (unsigned n = 0; n < c.n; n++) {
            float x = q[(size_t)n * c.k + k], y = g[(size_t)n * c.k + k];
            #pragma unroll
            for (unsigned i = 0; i < 4; i++) {
                unsigned unit = n * c.d + min(first + i, c.d - 1);
                sum[i] = fmaf(s[unit], y, fmaf(a[unit], x, sum[i]));
            }
        }
        #pragma unroll
        for (unsigned i = 0; i < 4; i++) {
            if (i % 2 == 0 && first + i >= c.d) break;   // the number of units is even
            dw[(size_t)(first + i) * c.k + k] = sum[i];
        }
    }
    if (db && blockIdx.x == 0 && threadIdx.x < 4 && first + threadIdx.x < c.d) {
        float sum = 0;
        for (unsigned n = 0; n < c.n; n++) sum += s[n * c.d + first + threadIdx.x];
        db[first + threadIdx.x] = sum;
    }
}
