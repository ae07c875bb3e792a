// Average pooling over the pixels of each window that lie in the picture. twin: src/ops/avg_pool.rs
#include "pool.cuh"

template <int V> __device__ void average(float *__restrict__ y, const float *__restrict__ x, Pool p) {
    Place o;
    if (!Place::of<V>(o, p.y.n, p.y.h, p.y.w, p.y.c)) return;
    Window down(o.h, p.x.h, p), across(o.w, p.x.w, p);
    const float *image = x + size_t(o.n) * p.x.h * p.x.w * p.x.c + o.c;
    Vec<V> sum = {};
    for (unsigned h = down.start; h < down.end; h++)
        for (unsigned w = across.start; w < across.end; w++) {
            Vec<V> v = load<V>(image, (size_t(h) * p.x.w + w) * p.x.c);
            for (int k = 0; k < V; k++) sum[k] += v[k];
        }
    float pixels = (down.end - down.start) * (across.end - across.start);
    for (int k = 0; k < V; k++) sum[k] /= pixels;
    store<V>(y, ((size_t(o.n) * p.y.h + o.h) * p.y.w + o.w) * p.y.c + o.c, sum);
}

// avg_pool_fwd
// computes  y[n,h,w,c] = mean of x over the pixels of window (h, w) inside the picture
// shapes    x N·H·W·C   y N·P·Q·C
// grid      x: 256 vectors of V channels of y per block, V = 4 where C divides by 4, else 1    256 threads
// memory    x once where windows do not overlap, else again through L1; y written once
// numerics  sum in f32, pixels in row order; one quotient
extern "C" __global__ void __launch_bounds__(256, 5) // left to itself, ptxas spills to fit eight blocks
    avg_pool_fwd_f32(float *__restrict__ y, const float *__restrict__ x, Pool p) {
    if (p.x.c % 4 == 0) average<4>(y, x, p);
    else average<1>(y, x, p);
}

template <int V> __device__ void spread(float *__restrict__ dx, const float *__restrict__ dy, Pool p) {
    Place at;
    if (!Place::of<V>(at, p.x.n, p.x.h, p.x.w, p.x.c)) return;
    Holders rows(at.h, p.y.h, p), columns(at.w, p.y.w, p);
    const float *image = dy + size_t(at.n) * p.y.h * p.y.w * p.y.c + at.c;
    Vec<V> sum = {};
    for (unsigned i = rows.begin; i < rows.end; i++)
        for (unsigned j = columns.begin; j < columns.end; j++) {
            Window down(i, p.x.h, p), across(j, p.x.w, p);
            float pixels = (down.end - down.start) * (across.end - across.start);
            Vec<V> d = load<V>(image, (size_t(i) * p.y.w + j) * p.y.c);
            for (int k = 0; k < V; k++) sum[k] += d[k] / pixels;
        }
    store<V>(dx, ((size_t(at.n) * p.x.h + at.h) * p.x.w + at.w) * p.x.c + at.c, sum);
}

// avg_pool_bwd
// computes  dx = sum of dy / pixels over the windows that hold x
// shapes    dx N·H·W·C   dy N·P·Q·C
// grid      x: 256 vectors of V channels of dx per block, V = 4 where C divides by 4, else 1    256 threads
// memory    dy once for every pixel of its window, through L1; dx written once
// numerics  quotients summed in f32, windows in row order
extern "C" __global__ void __launch_bounds__(256, 5) // left to itself, ptxas spills to fit eight blocks
    avg_pool_bwd_f32(float *__restrict__ dx, const float *__restrict__ dy, Pool p) {
    if (p.x.c % 4 == 0) spread<4>(dx, dy, p);
    else spread<1>(dx, dy, p);
}
