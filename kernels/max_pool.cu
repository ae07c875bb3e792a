// Max pooling: the largest of each window, the first of equals.         twin: src/ops/max_pool.rs
// Values are all f32 or all bf16, by the kernel's name.
#include "pool.cuh"

template <int V, class S> __device__ void pool(S *__restrict__ y, const S *__restrict__ x, Pool p) {
    Place o;
    if (!Place::of<V>(o, p.y.n, p.y.h, p.y.w, p.y.c)) return;
    Window down(o.h, p.x.h, p), across(o.w, p.x.w, p);
    const S *image = x + size_t(o.n) * p.x.h * p.x.w * p.x.c + o.c;
    Vec<V> best = {};
    bool first = true;
    // No window is empty: it begins in the picture, or in padding of at most half its size.
    unsigned h = down.start;
    do {
        unsigned w = across.start;
        do {
            Vec<V> v = load<V>(image, (size_t(h) * p.x.w + w) * p.x.c);
            for (int k = 0; k < V; k++) best[k] = first || v[k] > best[k] ? v[k] : best[k];
            first = false;
        } while (++w < across.end);
    } while (++h < down.end);
    store<V>(y, ((size_t(o.n) * p.y.h + o.h) * p.y.w + o.w) * p.y.c + o.c, best);
}

// max_pool_fwd
// computes  y[n,h,w,c] = largest x in window (h, w); padding never wins
// shapes    x N·H·W·C   y N·P·Q·C
// grid      x: 256 vectors of V channels of y per block, V = 4 where C divides by 4, else 1    256 threads
// memory    x once where windows do not overlap, else again through L1; y written once
// numerics  exact
// measured  H200: 13.0 µs, 3216 GB/s (vgg.4; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    max_pool_fwd_f32(float *__restrict__ y, const float *__restrict__ x, Pool p) {
    if (p.x.c % 4 == 0) pool<4>(y, x, p);
    else pool<1>(y, x, p);
}

extern "C" __global__ void __launch_bounds__(256)
    max_pool_fwd_bf16(Bf16 *__restrict__ y, const Bf16 *__restrict__ x, Pool p) {
    if (p.x.c % 4 == 0) pool<4>(y, x, p);
    else pool<1>(y, x, p);
}

// A thread owns stride × stride pixels, which hold one whole window and the gap after it.
template <int V, class S>
__device__ void spread(S *__restrict__ dx, const S *__restrict__ x, const S *__restrict__ y, const S *__restrict__ dy, Pool p) {
    unsigned rows = (p.x.h + p.pad + p.stride - 1) / p.stride, columns = (p.x.w + p.pad + p.stride - 1) / p.stride;
    Place o;
    if (!Place::of<V>(o, p.x.n, rows, columns, p.x.c)) return;
    Vec<V> best = {}, left = {};
    if (o.h < p.y.h && o.w < p.y.w) {
        size_t at = ((size_t(o.n) * p.y.h + o.h) * p.y.w + o.w) * p.y.c + o.c;
        best = load<V>(y, at);
        left = load<V>(dy, at);
    }
    size_t image = size_t(o.n) * p.x.h * p.x.w * p.x.c + o.c;
    for (unsigned i = 0; i < p.stride; i++)
        for (unsigned j = 0; j < p.stride; j++) {
            unsigned h = o.h * p.stride + i - p.pad, w = o.w * p.stride + j - p.pad; // in the padding both wrap and exceed H, W
            if (h >= p.x.h || w >= p.x.w) continue;
            size_t at = image + (size_t(h) * p.x.w + w) * p.x.c;
            Vec<V> d = {};
            if (i < p.kernel && j < p.kernel) {
                Vec<V> v = load<V>(x, at);
                for (int k = 0; k < V; k++)
                    if (v[k] == best[k]) {
                        d[k] = left[k];
                        left[k] = 0;
                    }
            }
            store<V>(dx, at, d);
        }
}

// max_pool_bwd, for windows that do not overlap (kernel <= stride)
// computes  dx = dy of the window where x is its first largest value, else 0
// shapes    x, dx N·H·W·C   y, dy N·P·Q·C
// grid      x: 256 vectors of V channels of stride × stride pixels per block, V = 4 where C divides by 4, else 1    256 threads
// memory    x, y, dy read once, dx written once
// numerics  exact
// measured  H200: 29.0 µs, 2606 GB/s (vgg.4; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256, 6) // left to itself, ptxas spills to fit eight blocks
    max_pool_bwd_f32(float *__restrict__ dx, const float *__restrict__ x, const float *__restrict__ y,
                     const float *__restrict__ dy, Pool p) {
    if (p.x.c % 4 == 0) spread<4>(dx, x, y, dy, p);
    else spread<1>(dx, x, y, dy, p);
}

extern "C" __global__ void __launch_bounds__(256, 6) // left to itself, ptxas spills to fit eight blocks
    max_pool_bwd_bf16(Bf16 *__restrict__ dx, const Bf16 *__restrict__ x, const Bf16 *__restrict__ y,
                     const Bf16 *__restrict__ dy, Pool p) {
    if (p.x.c % 4 == 0) spread<4>(dx, x, y, dy, p);
    else spread<1>(dx, x, y, dy, p);
}

template <class S>
__device__ void overlap(S *__restrict__ dx, const S *__restrict__ x, const S *__restrict__ y, const S *__restrict__ dy, Pool p) {
    Place at;
    if (!Place::of<1>(at, p.x.n, p.x.h, p.x.w, p.x.c)) return;
    const S *image = x + size_t(at.n) * p.x.h * p.x.w * p.x.c + at.c;
    float own = widen(image[(size_t(at.h) * p.x.w + at.w) * p.x.c]), sum = 0;
    Holders rows(at.h, p.y.h, p), columns(at.w, p.y.w, p);
    for (unsigned i = rows.begin; i < rows.end; i++)
        for (unsigned j = columns.begin; j < columns.end; j++) {
            size_t o = ((size_t(at.n) * p.y.h + i) * p.y.w + j) * p.y.c + at.c;
            if (own != widen(y[o])) continue;
            // This pixel wins its window unless an equal value comes before it.
            Window down(i, p.x.h, p), across(j, p.x.w, p);
            bool wins = true;
            for (unsigned r = down.start; r <= at.h && wins; r++) {
                unsigned end = r < at.h ? across.end : at.w;
                for (unsigned s = across.start; s < end && wins; s++) wins = widen(image[(size_t(r) * p.x.w + s) * p.x.c]) != own;
            }
            if (wins) sum += widen(dy[o]);
        }
    put(dx[((size_t(at.n) * p.x.h + at.h) * p.x.w + at.w) * p.x.c + at.c], sum);
}

// max_pool_overlap_bwd, for any windows
// computes  dx = sum of dy over the windows in which x is the first largest value
// shapes    x, dx N·H·W·C   y, dy N·P·Q·C
// grid      x: 256 values of dx per block                               256 threads
// memory    x, y, dy once per window that they lie in, through L1; dx written once
// numerics  windows in row order
extern "C" __global__ void __launch_bounds__(256)
    max_pool_overlap_bwd_f32(float *__restrict__ dx, const float *__restrict__ x, const float *__restrict__ y,
                             const float *__restrict__ dy, Pool p) {
    overlap(dx, x, y, dy, p);
}

extern "C" __global__ void __launch_bounds__(256)
    max_pool_overlap_bwd_bf16(Bf16 *__restrict__ dx, const Bf16 *__restrict__ x, const Bf16 *__restrict__ y,
                             const Bf16 *__restrict__ dy, Pool p) {
    overlap(dx, x, y, dy, p);
}
