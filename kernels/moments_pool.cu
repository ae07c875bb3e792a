// Mean, least, greatest value and variance of each channel.             twin: src/ops/moments_pool.rs
#include "lae.cuh"

struct Moments {
    unsigned pixels, channels, across; // pixels of a picture; blocks along the channels
    unsigned split;                    // pixels per block, backward
};

// A value and its pixel.
struct Found {
    float value;
    unsigned at;
    // The less of both, the first of equals.
    __device__ void meet(Found o) {
        if (o.value < value || (o.value == value && o.at < at)) *this = o;
    }
};

template <int V>
__device__ void statistics(float *__restrict__ y, float *__restrict__ places, const float *__restrict__ x, Moments p,
                           double *shared) {
    unsigned image = blockIdx.x / p.across, c = ((blockIdx.x % p.across) * blockDim.x + threadIdx.x) * V;
    double sums[2 * V] = {};
    Found found[2 * V]; // of x, and of -x: the greatest is the least of these
    for (int k = 0; k < 2 * V; k++) found[k] = {INFINITY, ~0u};
    if (c < p.channels && threadIdx.y < p.pixels) {
        const float *at = x + size_t(image) * p.pixels * p.channels + c;
        Vec<V> shift = load<V>(at, size_t(threadIdx.y) * p.channels), s = {}, q = {};
        for (int k = 0; k < V; k++) {
            found[k] = {shift[k], threadIdx.y};
            found[V + k] = {-shift[k], threadIdx.y};
        }
        unsigned n = 1;
        stride(threadIdx.y + blockDim.y, p.pixels, blockDim.y, [&](unsigned i) {
            Vec<V> v = load<V>(at, size_t(i) * p.channels);
            for (int k = 0; k < V; k++) {
                float d = v[k] - shift[k];
                s[k] += d;
                q[k] = fmaf(d, d, q[k]);
                found[k].meet({v[k], i});
                found[V + k].meet({-v[k], i});
            }
            n++;
        });
        for (int k = 0; k < V; k++) {
            double a = shift[k], d = s[k];
            sums[k] = d + n * a;
            sums[V + k] = q[k] + a * (2 * d + n * a);
        }
    }
    column_sums(sums, shared);
    // The same tree for what was found: values in one half of the buffer, places in the other.
    float *values = reinterpret_cast<float *>(shared);
    unsigned *pixels = reinterpret_cast<unsigned *>(values + 2 * V * COLUMN), t = threadIdx.y * blockDim.x + threadIdx.x;
    auto put = [&] {
        for (int k = 0; k < 2 * V; k++) {
            values[k * COLUMN + t] = found[k].value;
            pixels[k * COLUMN + t] = found[k].at;
        }
    };
    __syncthreads();
    put();
    for (unsigned rows = blockDim.y; rows > 1;) {
        unsigned half = (rows + 1) / 2, other = t + half * blockDim.x;
        __syncthreads();
        if (threadIdx.y + half < rows) {
            for (int k = 0; k < 2 * V; k++) found[k].meet({values[k * COLUMN + other], pixels[k * COLUMN + other]});
            put();
        }
        rows = half;
    }
    if (threadIdx.y > 0 || c >= p.channels) return;
    Vec<V> out[4], where[2];
    for (int k = 0; k < V; k++) {
        double mean = sums[k] / p.pixels;
        out[0][k] = float(mean);
        out[1][k] = found[k].value;
        out[2][k] = -found[V + k].value;
        out[3][k] = float(fmax(sums[V + k] / p.pixels - mean * mean, 0.0));
        where[0][k] = float(found[k].at);
        where[1][k] = float(found[V + k].at);
    }
    for (int i = 0; i < 4; i++) store<V>(y, size_t(4 * image + i) * p.channels + c, out[i]);
    for (int i = 0; i < 2; i++) store<V>(places, size_t(2 * image + i) * p.channels + c, where[i]);
}

// moments_pool_fwd
// computes  y[n,:,c] = mean, least, greatest, variance of x over h, w; places = pixels of first least and greatest
// shapes    x N × pixels × C   y N × 4 × C   places N × 2 × C
// grid      x: pictures × tiles of 8 groups of V channels, V = 4 where C divides by 4, else 1  up to 256 threads: groups × pixels
// memory    x read once, y and places written once; 17 kB shared
// numerics  less a thread's first pixel in f32, which is put back in f64, so a large mean costs no digits; threads by halves
extern "C" __global__ void __launch_bounds__(256)
    moments_pool_fwd_f32(float *__restrict__ y, float *__restrict__ places, const float *__restrict__ x, Moments p) {
    __shared__ double shared[8 * COLUMN];
    if (p.channels % 4 == 0) statistics<4>(y, places, x, p, shared);
    else statistics<1>(y, places, x, p, shared);
}

template <int V>
__device__ void spread(float *__restrict__ dx, const float *__restrict__ x, const float *__restrict__ y,
                       const float *__restrict__ places, const float *__restrict__ dy, Moments p) {
    unsigned image = blockIdx.x / p.across, c = ((blockIdx.x % p.across) * blockDim.x + threadIdx.x) * V, C = p.channels;
    const float *d = dy + size_t(4 * image) * C, *where = places + size_t(2 * image) * C;
    Vec<V> v[7]; // dmean, dleast, dgreatest, dvariance, mean, and the two places
    load_shared<V, 7>(v, {d, d + C, d + 2 * C, d + 3 * C, y + size_t(4 * image) * C, where, where + C}, c, C);
    if (c >= C) return;
    for (int k = 0; k < V; k++) {
        v[0][k] /= float(p.pixels);
        v[3][k] = (v[3][k] + v[3][k]) / float(p.pixels);
    }
    unsigned first = blockIdx.y * p.split, n = min(p.split, p.pixels - first);
    stride(threadIdx.y, n, blockDim.y, [&](unsigned i) {
        size_t at = (size_t(image) * p.pixels + first + i) * C + c;
        float pixel = float(first + i);
        Vec<V> own = load<V>(x, at);
        for (int k = 0; k < V; k++) {
            float g = v[0][k] + v[3][k] * (own[k] - v[4][k]);
            if (pixel == v[5][k]) g += v[1][k];
            if (pixel == v[6][k]) g += v[2][k];
            own[k] = g;
        }
        store<V>(dx, at, own);
    });
}

// moments_pool_bwd
// computes  dx = dmean / n + 2 dvariance (x - mean) / n, and dleast, dgreatest at their places
// shapes    x, dx N × pixels × C   y, dy N × 4 × C   places N × 2 × C
// grid      x: pictures × tiles of 32 groups of V channels   y: `split` pixels per block    up to 256 threads: groups × pixels
// memory    x read once, dx written once; of a channel seven values per block
// numerics  f32, term by term
extern "C" __global__ void __launch_bounds__(256)
    moments_pool_bwd_f32(float *__restrict__ dx, const float *__restrict__ x, const float *__restrict__ y,
                         const float *__restrict__ places, const float *__restrict__ dy, Moments p) {
    if (p.channels % 4 == 0) spread<4>(dx, x, y, places, dy, p);
    else spread<1>(dx, x, y, places, dy, p);
}
