// Nearest upsampling by a whole factor.                                 twin: src/ops/nearest.rs
#include "lae.cuh"

struct Nearest {
    unsigned pixels, width, channels; // of x, all pictures
    unsigned factor;
};

// Place of a thread: V channels of a pixel of x, and the first of the factor × factor pixels of y that the pixel becomes.
template <int V> struct Place {
    size_t x, y;
    bool inside;
    __device__ Place(Nearest p) {
        size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
        inside = i < size_t(p.pixels) * (p.channels / V);
        unsigned groups = p.channels / V, pixel = unsigned(i) / groups, row = pixel / p.width, column = pixel - row * p.width;
        x = i * V;
        y = (size_t(row) * p.factor * p.width + column) * p.factor * p.channels + (unsigned(i) - pixel * groups) * V;
    }
    // From one row of y to the next.
    __device__ static size_t line(Nearest p) { return size_t(p.factor) * p.width * p.channels; }
};

template <int V> __device__ void copy(float *__restrict__ y, const float *__restrict__ x, Nearest p) {
    Place<V> at(p);
    if (!at.inside) return;
    Vec<V> v = load<V>(x, at.x);
    for (unsigned i = 0; i < p.factor; i++)
        for (unsigned j = 0; j < p.factor; j++) store<V>(y, at.y + i * at.line(p) + j * p.channels, v);
}

// nearest_fwd
// computes  y[n, f·h + i, f·w + j, c] = x[n,h,w,c] for i, j < f
// shapes    x N·H·W·C   y N·fH·fW·C
// grid      x: 256 vectors of V channels of x per block, V = 4 where C divides by 4, else 1    256 threads
// memory    x read once, y written once
// numerics  exact
extern "C" __global__ void __launch_bounds__(256)
    nearest_fwd_f32(float *__restrict__ y, const float *__restrict__ x, Nearest p) {
    if (p.channels % 4 == 0) copy<4>(y, x, p);
    else copy<1>(y, x, p);
}

template <int V> __device__ void gather(float *__restrict__ dx, const float *__restrict__ dy, Nearest p) {
    Place<V> at(p);
    if (!at.inside) return;
    Vec<V> sum = {};
    for (unsigned i = 0; i < p.factor; i++)
        for (unsigned j = 0; j < p.factor; j++) {
            Vec<V> d = load<V>(dy, at.y + i * at.line(p) + j * p.channels);
            for (int k = 0; k < V; k++) sum[k] += d[k];
        }
    store<V>(dx, at.x, sum);
}

// nearest_bwd
// computes  dx[n,h,w,c] = sum over i, j < f of dy[n, f·h + i, f·w + j, c]
// shapes    dx N·H·W·C   dy N·fH·fW·C
// grid      x: 256 vectors of V channels of dx per block, V = 4 where C divides by 4, else 1   256 threads
// memory    dy read once, dx written once
// numerics  the host's bits: pixels in row order
extern "C" __global__ void __launch_bounds__(256, 6) // left to itself, ptxas spills to fit eight blocks
    nearest_bwd_f32(float *__restrict__ dx, const float *__restrict__ dy, Nearest p) {
    if (p.channels % 4 == 0) gather<4>(dx, dy, p);
    else gather<1>(dx, dy, p);
}
