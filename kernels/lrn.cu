// Local response normalisation across channels.                         twin: src/ops/lrn.rs
//
// A block has tiles of up to 32 groups of V channels of as many pixels as it has rows of threads. A pixel's row in shared memory
// holds the tile and the `reach` groups on each side that its windows see, with zeros beyond the first and the last channel.
#include "lae.cuh"
#include "math.cuh"

struct Lrn {
    unsigned pixels, channels, across; // blocks along the channels
    unsigned half, reach;              // channels on each side of a window, and the groups that hold them
    float k, scale, beta, pull;        // scale = alpha / size, pull = 2 scale beta
};

// This thread's row of pixels, and the place of its block's first group in it. Groups g of a row with a halo of h groups are
// numbered from 0, the first of the halo: the thread's own is threadIdx.x + h.
template <int V> struct Row {
    unsigned pixel;
    int first;
    Lrn p;
    __device__ Row(Lrn p) : p(p) {
        pixel = blockIdx.x / p.across * blockDim.y + threadIdx.y;
        first = blockIdx.x % p.across * blockDim.x;
    }
    __device__ int channel(unsigned g, unsigned halo) const { return (first + int(g) - int(halo)) * V; }
    __device__ bool holds(int c) const { return pixel < p.pixels && c >= 0 && c < int(p.channels); }
    __device__ size_t at(int c) const { return size_t(pixel) * p.channels + c; }
};

// row[g] = v, a four in one access: the compiler would store computed values one by one, and four lanes meet in a bank.
template <int V> __device__ void put(float *row, unsigned g, Vec<V> v) {
    if constexpr (V == 4) {
        unsigned to = unsigned(__cvta_generic_to_shared(row + g * V));
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};"
                     ::"r"(to), "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3]) : "memory");
    } else {
        row[g] = v[0];
    }
}

// row = x of this thread's pixel, with a halo.
template <int V> __device__ void stage(float *row, const float *__restrict__ x, Row<V> r, unsigned halo) {
    for (unsigned g = threadIdx.x; g < blockDim.x + 2 * halo; g += blockDim.x) {
        int c = r.channel(g, halo);
        Vec<V> v = {};
        if (r.holds(c)) v = load<V>(x, r.at(c));
        put<V>(row, g, v);
    }
}

// sum[k] = f of the channels of the window of channel k of group g, added up in order.
template <int V, class F> __device__ Vec<V> window(const float *row, unsigned g, Lrn p, F f) {
    Vec<V> sum = {};
    for (int q = -int(p.reach); q <= int(p.reach); q++) {
        Vec<V> v = load<V>(row, (g + q) * V);
        for (int e = 0; e < V; e++) {
            float term = f(v[e]);
            for (int k = 0; k < V; k++)
                if (abs(q * V + e - k) <= int(p.half)) sum[k] += term;
        }
    }
    return sum;
}

// s of the channels of group g, from the values of a row.
template <int V> __device__ Vec<V> base(const float *row, unsigned g, Lrn p) {
    Vec<V> s = window<V>(row, g, p, [](float x) { return x * x; });
    for (int k = 0; k < V; k++) s[k] = p.k + p.scale * s[k];
    return s;
}

// v s^-beta; the usual exponent by two roots.
template <int V> __device__ Vec<V> scaled(Vec<V> v, Vec<V> s, float beta) {
    if (beta == 0.75f)
        for (int k = 0; k < V; k++) v[k] *= 1 / (sqrtf(s[k]) * sqrtf(sqrtf(s[k])));
    else
        for (int k = 0; k < V; k++) v[k] *= exp_f32(-beta * logf(s[k]));
    return v;
}

template <int V> __device__ void normalise(float *__restrict__ y, const float *__restrict__ x, Lrn p, float *shared) {
    Row<V> r(p);
    float *row = shared + threadIdx.y * (blockDim.x + 2 * p.reach) * V;
    stage<V>(row, x, r, p.reach);
    __syncthreads();
    unsigned g = threadIdx.x + p.reach;
    int c = r.channel(g, p.reach);
    if (!r.holds(c)) return;
    store<V>(y, r.at(c), scaled<V>(load<V>(row, g * V), base<V>(row, g, p), p.beta));
}

// lrn_fwd
// computes  y[c] = x[c] s[c]^-beta, s[c] = k + scale sum of x[j]² over |j - c| <= half
// shapes    x, y pixels × channels
// grid      x: tiles of 32 groups of V channels, V = 4 where they divide by 4, else 1, × rows of pixels     up to 256 threads
// memory    x and y once, and of more than one tile the halos again; (groups + 2 reach) V values of shared memory a pixel
// numerics  a window's squares in f32, channels in order; s^-3/4 by two roots and a quotient, other powers by exp and log
extern "C" __global__ void __launch_bounds__(256)
    lrn_fwd_f32(float *__restrict__ y, const float *__restrict__ x, Lrn p) {
    extern __shared__ __align__(16) float shared[];
    if (p.channels % 4 == 0) normalise<4>(y, x, p, shared);
    else normalise<1>(y, x, p, shared);
}

template <int V>
__device__ void derive(float *__restrict__ dx, const float *__restrict__ x, const float *__restrict__ dy, Lrn p, float *shared) {
    Row<V> r(p);
    unsigned wide = (blockDim.x + 4 * p.reach) * V, narrow = (blockDim.x + 2 * p.reach) * V;
    float *xs = shared + threadIdx.y * (wide + narrow), *ts = xs + wide;
    stage<V>(xs, x, r, 2 * p.reach);
    __syncthreads();
    // a = dy s^-beta of group g; ts = a x / s.
    auto term = [&](unsigned g) {
        int c = r.channel(g, p.reach);
        if (!r.holds(c)) {
            put<V>(ts, g, {});
            return Vec<V>{};
        }
        Vec<V> v = load<V>(xs, (g + p.reach) * V), s = base<V>(xs, g + p.reach, p);
        Vec<V> a = scaled<V>(load<V>(dy, r.at(c)), s, p.beta);
        for (int k = 0; k < V; k++) v[k] = a[k] * v[k] / s[k];
        put<V>(ts, g, v);
        return a;
    };
    unsigned g = threadIdx.x + p.reach;
    Vec<V> a = term(g);
    for (unsigned h = threadIdx.x; h < 2 * p.reach; h += blockDim.x) term(h < p.reach ? h : h + blockDim.x);
    __syncthreads();
    int c = r.channel(g, p.reach);
    if (!r.holds(c)) return;
    Vec<V> v = load<V>(xs, (g + p.reach) * V), sum = window<V>(ts, g, p, [](float t) { return t; });
    for (int k = 0; k < V; k++) a[k] -= p.pull * v[k] * sum[k];
    store<V>(dx, r.at(c), a);
}

// lrn_bwd
// computes  dx[c] = dy[c] s[c]^-beta - pull x[c] sum of dy[j] x[j] s[j]^(-beta-1) over |j - c| <= half
// shapes    x, dx, dy pixels × channels
// grid      as lrn_fwd
// memory    x, dy and dx once, and of more than one tile the halos again; (2 groups + 6 reach) V values of shared memory a pixel
// numerics  both windows in f32, channels in order
extern "C" __global__ void __launch_bounds__(256)
    lrn_bwd_f32(float *__restrict__ dx, const float *__restrict__ x, const float *__restrict__ dy, Lrn p) {
    extern __shared__ __align__(16) float shared[];
    if (p.channels % 4 == 0) derive<4>(dx, x, dy, p, shared);
    else derive<1>(dx, x, dy, p, shared);
}
