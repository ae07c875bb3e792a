// The fused attention loss of src/ops/cam_attention/, which has the equations. Ten short kernels, and in none of them a picture
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
    unsigned band, bands;           // rows of a map that one block of the error kernel works on, and how many such blocks
    unsigned vec;                   // 4: pointers and channels allow float4, else 1
    unsigned whole, own;            // shared memory has room for a map (error), for a map and its gradient (norm)
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

// Ways to combine two values, each with the value that changes no other.
struct Sum {
    static constexpr double none = 0;
    static __device__ __forceinline__ double of(double a, double b) { return a + b; }
};
struct Sum32 {
    static __device__ __forceinline__ float of(float a, float b) { return a + b; }
};
struct Least {
    static constexpr float none = INFINITY;
    static __device__ __forceinline__ float of(float a, float b) { return fminf(a, b); }
};
struct Most {
    static constexpr float none = -INFINITY;
    static __device__ __forceinline__ float of(float a, float b) { return fmaxf(a, b); }
};
struct First {
    static constexpr unsigned none = ~0u;
    static __device__ __forceinline__ unsigned of(unsigned a, unsigned b) { return min(a, b); }
};

template <typename F, typename T> __device__ __forceinline__ T butterfly(T x, unsigned lanes = 32) {
    #pragma unroll
    for (unsigned far = lanes / 2; far > 0; far /= 2) x = F::of(x, __shfl_xor_sync(~0u, x, far));
    return x;
}

// Combines x over all threads of a block and gives every thread the result: the lanes of each warp by a butterfly, then the
// warps. Contains a __syncthreads(). Every call in a kernel has a CALL number, and with it shared memory, of its own, so that no
// call has to wait for the readers of the one before; hence never in a loop.
template <int CALL, typename F, typename T> __device__ __forceinline__ T together(T x) {
    __shared__ T warp[32];
    unsigned t = threadIdx.y * blockDim.x + threadIdx.x, lane = t % 32;
    x = butterfly<F>(x);
    if (lane == 0) warp[t / 32] = x;
    __syncthreads();
    return butterfly<F>(lane < blockDim.x * blockDim.y / 32 ? warp[lane] : F::none);
}

// What a norm needs to know of a whole map.
struct Stats {
    float lo, hi;
    double mean, deviation;
};

__device__ __forceinline__ float rectified(float x, const Cam &c) { return c.relu ? fmaxf(x, 0) : x; }

// The statistics of a map, by all `threads` of a block. Thread t reads pixels t, t + threads, … of m: where m lies in shared
// memory, the pixels that thread t wrote itself, so that no barrier is needed before.
__device__ __forceinline__ Stats stats(const float *m, unsigned t, unsigned threads, const Cam &c) {
    Stats s = {Least::none, Most::none, 0, 0};
    if (c.norm == Minmax || c.norm == ReluMax) {
        for (unsigned p = t; p < c.pixels; p += threads) {
            float x = rectified(m[p], c);
            s.lo = fminf(s.lo, x), s.hi = fmaxf(s.hi, x);
        }
        s.lo = together<0, Least>(s.lo), s.hi = together<1, Most>(s.hi);
    }
    if (c.norm == Sigmoid) {
        double sum = 0, squares = 0;
        for (unsigned p = t; p < c.pixels; p += threads) sum += rectified(m[p], c);
        s.mean = together<2, Sum>(sum) / c.pixels;
        for (unsigned p = t; p < c.pixels; p += threads) {
            double x = rectified(m[p], c) - s.mean;
            squares += x * x;
        }
        s.deviation = sqrt(together<3, Sum>(squares) / c.pixels);
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

// cam_attention_mean_fwd: the average of each channel.                 twin: src/ops/cam_attention/
// computes  g[n,k] = 1/hw Σ_p f[n,p,k]
// shapes    f N·h·w·K   g N·K      contiguous
// grid      x: 32 channels, or 128 where K % 4 == 0   y: pictures      32×16 threads, a channel (or four) of every 16th pixel
// memory    f read once, coalesced along K; 10 kB shared
// numerics  pixels ascending in each of 16 threads, which are then added in order: same bits every run
extern "C" __global__ void __launch_bounds__(512)
    cam_attention_mean_fwd_f32(float *__restrict__ g, const float *__restrict__ f, Cam c) {
    float scale = 1.0f / c.pixels;
    if (c.vec == 4) pool<float4>(g, f, nullptr, scale, c);
    else pool<float>(g, f, nullptr, scale, c);
}

// cam_attention_map_bwd: gradient of the class vector.                 twin: src/ops/cam_attention/
// computes  q[n,k] = Σ_p d[n,p] f[n,p,k]
// shapes    f N·h·w·K   d N·h·w   q N·K      contiguous
// grid      x: 32 channels, or 128 where K % 4 == 0   y: pictures      32×16 threads, a channel (or four) of every 16th pixel
// memory    f read once, coalesced along K; 10 kB shared
// numerics  pixels ascending in each of 16 threads, which are then added in order: same bits every run
extern "C" __global__ void __launch_bounds__(512)
    cam_attention_map_bwd_f32(float *__restrict__ q, const float *__restrict__ f, const float *__restrict__ d, Cam c) {
    if (c.vec == 4) pool<float4>(q, f, d, 1, c);
    else pool<float>(q, f, d, 1, c);
}

// Products of rows first .. first + 4 of a `count`×k matrix with a vector, by a warp: lane i < 4 returns that of row first + i.
// Rows past the end repeat the last one.
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
        sum[i] = butterfly<Sum32>(sum[i]);
        if (lane == i) mine = sum[i];
    }
    return mine;
}

__device__ __forceinline__ float dots(const float *matrix, unsigned first, unsigned count, const float *v, const Cam &c) {
    return c.vec == 4 ? dots<float4>(matrix, first, count, v, c.k) : dots<float>(matrix, first, count, v, c.k);
}

// cam_attention_head_fwd: the latent code, and its class vector.       twin: src/ops/cam_attention/
// computes  z[n,c] = Σ_k W[c,k] g[n,k] + b[c]      v[n,k] = 1/σ Σ_c α(z[n,c]) W[c,k]      σ = Σ_c |α| + ε by weight, else 1
// shapes    g N·K   W D·K   b D   z N·D   v N·K      contiguous
// grid      x: pictures                  512 threads: first a warp to four units, then a thread to a channel
// memory    W read once per picture, its weighing half twice, through L2; `units` floats shared
// numerics  lanes along k, then a butterfly; v by units ascending; σ in f64: same bits every run
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
    if (c.norm == ByWeight) total = (float)(together<4, Sum>(sigma) + 1e-6);
    __syncthreads();
    w += (size_t)c.first * c.k;
    for (unsigned k = t; k < c.k; k += 512) {
        float sum = 0;
        for (unsigned i = 0; i < c.units; i++) sum = fmaf(weights[i], w[(size_t)i * c.k + k], sum);
        v[k] = sum / total;
    }
}

// cam_attention_map_fwd: the class map.                                twin: src/ops/cam_attention/
// computes  m[n,p] = Σ_k v[n,k] f[n,p,k]
// shapes    f N·h·w·K   v N·K   m N·h·w      contiguous
// grid      x: 32 pixels   y: pictures                                 256 threads, a warp to four pixels
// memory    f read once, v once per block; K floats shared; float4 where K % 4 == 0
// numerics  lanes along k, then a butterfly: same bits every run
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

// cam_attention_error_fwd: norm, upsampling, error and its gradient.   twin: src/ops/cam_attention/
// computes  map = norm(m)      e = U map Uᵀ − G      error[n,band] = φ/(PΦ) Σ e² over the pixels that start in the band's rows
//           dmap = 2φ/(PΦ) Uᵀ e U      below[n,band] = what these pixels give to the first row of the next band
// shapes    m, map, dmap N·h·w   G N·rows·columns   φ N   error N·bands, f64   below N·bands·w      contiguous
// grid      x: bands of `band` rows i of the map   y: pictures         threads x: columns q of the mask, up to 256   y: rows i
// memory    G read once, m once per band (large maps: and the band's rows again); h·w floats shared, or (`band` + 1)·w where they
//           do not fit, and 2·`band`·columns
// numerics  e, e² down a column and dmap in f32, the rest of the sum in f64; rows from the top, columns by 16 lanes and a
//           butterfly: same bits every run
//
// A thread works on the pixels of one column between row i of the map and the next, and keeps apart what they give to either row.
// Then a gather: sixteen lanes to a cell of dmap sum over the columns that read it. What a band gives to a row of another block
// waits in `below` for cam_attention_loss_fwd.
extern "C" __global__ void __launch_bounds__(512, 2)
    cam_attention_error_fwd_f32(float *__restrict__ map, float *__restrict__ dmap, double *__restrict__ error,
                                float *__restrict__ below, const float *__restrict__ m, const float *__restrict__ mask,
                                const float *__restrict__ select, Cam c) {
    extern __shared__ float shared[];
    unsigned t = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y, n = blockIdx.y;
    unsigned top = blockIdx.x * c.band, count = min(c.band, c.h - top), share = n * c.bands + blockIdx.x;
    unsigned offset = n * c.pixels + top * c.w;   // of the band in maps

    // Normalised rows of the map, from row `first` on: all, or those that the band's pixels read. Then two rows of `columns` for
    // each row i of the band: what its pixels give to i and to i + 1.
    unsigned first = c.whole ? 0 : top, rows = c.whole ? c.h : min(count + 1, c.h - top);
    float *small = shared, *gives = shared + (c.whole ? c.h : c.band + 1) * c.w;
    const float *raw = m + (size_t)n * c.pixels;
    if (c.whole) {
        for (unsigned p = t; p < c.pixels; p += threads) small[p] = raw[p];
        raw = small;
    }
    Stats s = stats(raw, t, threads, c);
    for (unsigned p = t; p < rows * c.w; p += threads) {
        float x = normalise(raw[first * c.w + p], s, c);
        unsigned i = first * c.w + p - top * c.w;
        small[p] = x;
        if (i < count * c.w) map[offset + i] = x;
    }
    __shared__ float phi;
    double chosen = 0;
    for (unsigned a = t; a < c.n; a += threads) {
        float x = select[a];
        chosen += x;
        if (a == n) phi = x;
    }
    chosen = together<5, Sum>(chosen);   // a __syncthreads(): from here on all threads may read `small` and `phi`, written above
    if (phi == 0 || chosen == 0) {
        for (unsigned j = t; j < count * c.w; j += threads) dmap[offset + j] = 0;
        for (unsigned j = t; j < c.w; j += threads) below[share * c.w + j] = 0;
        if (t == 0) error[share] = 0;
        return;
    }

    double squares = 0, scale = phi / (c.divisor * chosen);
    int i = top + threadIdx.y;
    if (threadIdx.y < count) {
        Readers down = starts(c.y, i);
        const float *here = small + (i - first) * c.w, *next = small + (min(i + 1, (int)c.h - 1) - first) * c.w;
        for (unsigned q = threadIdx.x; q < c.columns; q += blockDim.x) {
            Tap a = tap(c.x, q);
            float far = 1 - a.l;
            float upper = fmaf(a.l, here[a.i1], far * here[a.i0]), lower = fmaf(a.l, next[a.i1], far * next[a.i0]);
            const float *g = mask + ((size_t)n * c.rows + down.first) * c.columns + q;
            float own = 0, mine = 0, others = 0;
            for (int p = down.first; p < down.last; p++, g += c.columns) {
                float near = (float)(c.y.den - (position(c.y, p) - i * c.y.den)) * c.y.inv;
                float e = fmaf(near, upper, (1 - near) * lower) - *g;
                mine = fmaf(near, e, mine), others = fmaf(1 - near, e, others), own = fmaf(e, e, own);
            }
            gives[2 * threadIdx.y * c.columns + q] = mine;
            gives[(2 * threadIdx.y + 1) * c.columns + q] = others;
            squares += own;
        }
    }
    squares = together<6, Sum>(squares);   // a __syncthreads(): from here on all threads may read `gives`, written above
    if (t == 0) error[share] = scale * squares;
    float kappa = (float)(2 * scale);
    unsigned cells = (top + count < c.h ? count + 1 : count) * c.w;
    for (unsigned from = 0; from < cells; from += threads / 16) {   // as often for every lane: `butterfly` needs all
        unsigned mine = from + t / 16, cell = min(mine, cells - 1), r = cell / c.w, j = cell - r * c.w;
        Readers across = readers(c.x, j);
        const float *lower = gives + 2 * r * c.columns, *upper = lower - c.columns;   // shares of pixels below row r, above it
        float sum = 0;
        for (int q = across.first + t % 16; q < across.last; q += 16) {
            float column = (r < count ? lower[q] : 0) + (r > 0 ? upper[q] : 0);
            sum = fmaf(weight(c.x, q, j), column, sum);
        }
        sum = butterfly<Sum32>(sum, 16);
        if (t % 16 == 0 && mine == cell) small[cell] = kappa * (c.x.inv * sum);   // over the map, which no thread reads any more
    }
    __syncthreads();
    for (unsigned i = t; i < count * c.w; i += threads) dmap[offset + i] = small[i];
    for (unsigned j = t; j < c.w; j += threads) below[share * c.w + j] = top + count < c.h ? small[count * c.w + j] : 0;
}

// cam_attention_loss_fwd: the bands put together.                      twin: src/ops/cam_attention/
// computes  loss = Σ error      dmap[n, first row of band b] += below[n, b − 1]
// shapes    loss 1   dmap N·h·w   error N·bands, f64   below N·bands·w      contiguous
// grid      x: pictures; the first block adds up the loss as well      256 threads
// memory    everything read once
// numerics  f64, every 256th value in a thread, then lanes by a butterfly, then warps by another: same bits every run
extern "C" __global__ void __launch_bounds__(256)
    cam_attention_loss_fwd_f32(float *__restrict__ loss, float *__restrict__ dmap, const double *__restrict__ error,
                               const float *__restrict__ below, Cam c) {
    dmap += (size_t)blockIdx.x * c.pixels, below += (size_t)blockIdx.x * c.bands * c.w;
    for (unsigned i = threadIdx.x; i < (c.bands - 1) * c.w; i += 256) {
        unsigned b = i / c.w;
        dmap[(b + 1) * c.band * c.w + (i - b * c.w)] += below[i];
    }
    if (blockIdx.x > 0) return;
    double sum = 0;
    for (unsigned i = threadIdx.x; i < c.n * c.bands; i += 256) sum += error[i];
    sum = together<15, Sum>(sum);
    if (threadIdx.x == 0) *loss = (float)sum;
}

// cam_attention_norm_bwd: back through the norm.                       twin: src/ops/cam_attention/
// computes  d = dL/dm from dy · dmap = dL/dmap
// shapes    m, map, dmap, d N·h·w   dy 1      contiguous
// grid      x: pictures                                                256 threads, every 256th pixel each
// memory    m, map, dmap read once, d written once; 2·h·w floats shared, in which a thread keeps its own pixels. Where they do
//           not fit, m is read again and d holds dmap meanwhile
// numerics  sums in f64, of every 256th value in a thread, then lanes by a butterfly, then warps by another: same bits every run.
//           Minimum and maximum are the first of equals, as on the host
extern "C" __global__ void __launch_bounds__(256, 1)
    cam_attention_norm_bwd_f32(float *__restrict__ d, const float *__restrict__ m, const float *__restrict__ map,
                               const float *__restrict__ dmap, const float *__restrict__ dy, Cam c) {
    extern __shared__ float shared[];
    unsigned t = threadIdx.x;
    size_t offset = (size_t)blockIdx.x * c.pixels;
    d += offset, m += offset, map += offset, dmap += offset;
    float scale = *dy, *g = c.own ? shared + c.pixels : d;   // dmap · dy
    const float *x = c.own ? shared : m;
    for (unsigned p = t; p < c.pixels; p += 256) {
        if (c.own) shared[p] = m[p];
        g[p] = dmap[p] * scale;
    }
    Stats s = stats(x, t, 256, c);

    // d = slope · dmap at every pixel, and what a norm's own statistics add: at the first minimum and maximum, or everywhere.
    double s1 = 0, s2 = 0;
    unsigned lowest = First::none, highest = First::none;
    float range = 1, at_lo = 0, at_hi = 0;
    double spread = 0, wide = s.deviation + 1e-6;
    if (c.norm == Minmax || c.norm == ReluMax) {
        range = c.norm == Minmax ? s.hi - s.lo + EPS : fmaxf(s.hi, 0) + EPS;
        for (unsigned p = t; p < c.pixels; p += 256) {
            s1 += g[p], s2 += g[p] * map[p];
            if (rectified(x[p], c) == s.lo) lowest = min(lowest, p);
            if (rectified(x[p], c) == s.hi) highest = min(highest, p);
        }
        s1 = together<7, Sum>(s1), s2 = together<8, Sum>(s2);
        lowest = together<9, First>(lowest), highest = together<10, First>(highest);
        if (!c.stopgrad) {
            at_hi = -(float)s2 / range;
            if (c.norm == Minmax) at_lo = (float)(s2 - s1) / range;
            else if (s.hi <= 0) at_hi = 0;
        }
    } else if (c.norm == Sigmoid) {
        for (unsigned p = t; p < c.pixels; p += 256) {
            float y = map[p];
            g[p] = g[p] * y * (1 - y) * (float)c.temperature;
            s1 += g[p], s2 += g[p] * (rectified(x[p], c) - s.mean) / wide;
        }
        s1 = together<11, Sum>(s1) / c.pixels, s2 = together<12, Sum>(s2);
        spread = s.deviation > 0 ? s2 / (wide * c.pixels * s.deviation) : 0;
    }
    for (unsigned p = t; p < c.pixels; p += 256) {
        float dx = g[p], y = c.norm == SigmoidRaw ? map[p] : 0;
        switch (c.norm) {
        case Minmax:
        case ReluMax:
            dx = c.norm == Minmax || x[p] > 0 ? dx / range : 0;
            if (p == lowest) dx += at_lo;
            if (p == highest) dx += at_hi;
            break;
        case Sigmoid: dx = (float)((dx - s1) / wide - spread * (rectified(x[p], c) - s.mean)); break;
        case SigmoidRaw: dx = dx * y * (1 - y) * (float)c.temperature; break;
        default: break;
        }
        d[p] = c.relu && !(x[p] > 0) ? 0 : dx;
    }
}

// cam_attention_head_bwd: from the class vector to the latent code.    twin: src/ops/cam_attention/
// computes  u_c = Σ_k W[c,k] q[n,k]      a[n,c] = α_c/σ      s[n,c] = dα_c/dz_c · (u_c/σ − sign(α_c) Σ_c α_c u_c/σ²)
//           v[n,k] = Σ_c a[n,c] W[c,k]      r[n,k] = 1/hw Σ_c s[n,c] W[c,k]      the last term of s: by weight only
// shapes    q, v, r N·K   W D·K   z, a, s N·D      contiguous; a and s are 0 outside the weighing units
// grid      x: pictures                  512 threads: first a warp to four units, then a thread to a channel
// memory    the weighing half of W read twice per picture, through L2; 2·`units` floats shared
// numerics  lanes along k, then a butterfly; sums over units in f64, v and r by units ascending: same bits every run
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
        sigma = (float)(together<13, Sum>(total) + 1e-6);
        through = (float)(-together<14, Sum>(product) / ((double)sigma * sigma));
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
    __shared__ V rows[2][32];
    __shared__ float pixel[64];
    unsigned wide = c.k / (sizeof(V) / 4), k = blockIdx.x * 32 + threadIdx.x, n = blockIdx.z, first = blockIdx.y * 64;
    unsigned t = threadIdx.y * 32 + threadIdx.x;
    if (threadIdx.y < 2 && k < wide) rows[threadIdx.y][threadIdx.x] = ((const V *)((threadIdx.y ? r : v) + (size_t)n * c.k))[k];
    if (t < 64 && first + t < c.pixels) pixel[t] = d[n * c.pixels + first + t];
    __syncthreads();
    if (k >= wide) return;
    V along = rows[0][threadIdx.x], mean = rows[1][threadIdx.x];
    V *out = (V *)(df + (size_t)n * c.pixels * c.k) + k;
    #pragma unroll
    for (unsigned i = 0; i < 8; i++) {
        unsigned p = i * 8 + threadIdx.y;
        if (first + p < c.pixels) out[(size_t)(first + p) * wide] = madd(pixel[p], along, mean);
    }
}

// cam_attention_features_bwd: gradient of the features.                twin: src/ops/cam_attention/
// computes  df[n,p,k] = v[n,k] d[n,p] + r[n,k]
// shapes    df N·h·w·K   d N·h·w   v, r N·K      contiguous
// grid      x: 32 channels, or 128 where K % 4 == 0   y: 64 pixels   z: pictures    32×8 threads, 8 pixels each
// memory    df written once; the rest is small and read once per block; 1.8 kB shared
// numerics  one fused multiply-add
extern "C" __global__ void __launch_bounds__(256)
    cam_attention_features_bwd_f32(float *__restrict__ df, const float *__restrict__ d, const float *__restrict__ v,
                                   const float *__restrict__ r, Cam c) {
    if (c.vec == 4) outer<float4>(df, d, v, r, c);
    else outer<float>(df, d, v, r, c);
}

// cam_attention_weight_bwd: gradient of the head.                      twin: src/ops/cam_attention/
// computes  dW[c,k] = Σ_n a[n,c] q[n,k] + s[n,c] g[n,k]      db[c] = Σ_n s[n,c]
// shapes    a, s N·D   q, g N·K   dW D·K   db D      contiguous; dW or db may be null
// grid      x: 128 channels   y: 4 units                               128 threads, 4 values of dW each
// memory    q, g read once per four units from L2, dW and db written once
// numerics  pictures ascending, fused multiply-add: same bits every run
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
