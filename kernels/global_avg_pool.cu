// Global average pooling.                                               twin: src/ops/global_avg_pool.rs
// x and dx are f32 or bf16, by the kernel's name; y and dy are f32.
#include "lae.cuh"

struct Gap {
    unsigned pixels, channels, across; // pixels of a picture; blocks along the channels
    unsigned split;                    // pixels per block, backward
};

template <int V, class S> __device__ void mean(float *__restrict__ y, const S *__restrict__ x, Gap p, double *shared) {
    unsigned image = blockIdx.x / p.across, c = ((blockIdx.x % p.across) * blockDim.x + threadIdx.x) * V;
    double sum[V] = {};
    if (c < p.channels) {
        const S *at = x + size_t(image) * p.pixels * p.channels + c;
        Vec<V> s = {};
        stride(threadIdx.y, p.pixels, blockDim.y, [&](unsigned i) {
            Vec<V> v = load<V>(at, size_t(i) * p.channels);
            for (int k = 0; k < V; k++) s[k] += v[k];
        });
        for (int k = 0; k < V; k++) sum[k] = s[k];
    }
    column_sums(sum, shared);
    if (threadIdx.y > 0 || c >= p.channels) return;
    Vec<V> m;
    for (int k = 0; k < V; k++) m[k] = float(sum[k] / p.pixels);
    store<V>(y, size_t(image) * p.channels + c, m);
}

// global_avg_pool_fwd
// computes  y[n,c] = mean over h, w of x
// shapes    x N × pixels × C   y N × C
// grid      x: pictures × tiles of 8 groups of V channels, V = 4 where C divides by 4, else 1  up to 256 threads: groups × pixels
// memory    x read once, y written once; 8 kB shared
// numerics  a thread's pixels in f32, threads by halves in f64
extern "C" __global__ void __launch_bounds__(256, 6)
    global_avg_pool_fwd_f32(float *__restrict__ y, const float *__restrict__ x, Gap p) {
    __shared__ double shared[4 * COLUMN];
    if (p.channels % 4 == 0) mean<4>(y, x, p, shared);
    else mean<1>(y, x, p, shared);
}

extern "C" __global__ void __launch_bounds__(256, 6)
    global_avg_pool_fwd_bf16(float *__restrict__ y, const Bf16 *__restrict__ x, Gap p) {
    __shared__ double shared[4 * COLUMN];
    if (p.channels % 4 == 0) mean<4>(y, x, p, shared);
    else mean<1>(y, x, p, shared);
}

template <int V, class S> __device__ void spread(S *__restrict__ dx, const float *__restrict__ dy, Gap p) {
    unsigned image = blockIdx.x / p.across, c = ((blockIdx.x % p.across) * blockDim.x + threadIdx.x) * V;
    Vec<V> d[1];
    load_shared<V, 1>(d, {dy + size_t(image) * p.channels}, c, p.channels);
    if (c >= p.channels) return;
    for (int k = 0; k < V; k++) d[0][k] /= float(p.pixels);
    unsigned first = blockIdx.y * p.split, n = min(p.split, p.pixels - first);
    S *at = dx + (size_t(image) * p.pixels + first) * p.channels + c;
    stride(threadIdx.y, n, blockDim.y, [=](unsigned i) { store<V>(at, size_t(i) * p.channels, d[0]); });
}

// global_avg_pool_bwd
// computes  dx[n,h,w,c] = dy[n,c] / pixels
// shapes    dy N × C   dx N × pixels × C
// grid      x: pictures × tiles of 32 groups of V channels   y: `split` pixels per block    up to 256 threads: groups × pixels
// memory    dy read once per block, dx written once
// numerics  one quotient
// measured  H200: 11.8 µs, 2849 GB/s (32×16×16×512; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    global_avg_pool_bwd_f32(float *__restrict__ dx, const float *__restrict__ dy, Gap p) {
    if (p.channels % 4 == 0) spread<4>(dx, dy, p);
    else spread<1>(dx, dy, p);
}

extern "C" __global__ void __launch_bounds__(256)
    global_avg_pool_bwd_bf16(Bf16 *__restrict__ dx, const float *__restrict__ dy, Gap p) {
    if (p.channels % 4 == 0) spread<4>(dx, dy, p);
    else spread<1>(dx, dy, p);
}
