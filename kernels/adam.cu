// adam_fwd: one step of Adam over a flat range of the parameters.       twin: src/ops/adam.rs
// computes  m = b1 m + c1 g   v = b2 v + c2 g²   w = w - rate m / (sqrt(v) root + eps)
// shapes    w, m, v, g `count` values   hyper 2: rate, root
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    g read once; w, m, v read and written once
// numerics  the host's order, its bits
// measured  H200: 37.3 µs, 3892 GB/s (5.2 M parameters; docs/gpu-runs.md)
#include "lae.cuh"

struct Adam {
    unsigned count;
    float b1, b2, c1, c2, eps;
};

extern "C" __global__ void __launch_bounds__(256)
    adam_fwd_f32(float *__restrict__ w, float *__restrict__ m, float *__restrict__ v, const float *__restrict__ g,
                 const float *__restrict__ hyper, Adam p) {
    size_t i = my_four();
    if (i >= p.count) return;
    float rate = hyper[0], root = hyper[1];
    float4 g4 = load4(g, i, p.count);
    float4 m4 = each(load4(m, i, p.count), g4, [=](float m, float g) { return p.b1 * m + p.c1 * g; });
    float4 v4 = each(load4(v, i, p.count), g4, [=](float v, float g) { return p.b2 * v + p.c2 * g * g; });
    float4 step = each(m4, v4, [=](float m, float v) { return rate * m / (sqrtf(v) * root + p.eps); });
    float4 w4 = each(load4(w, i, p.count), step, [](float w, float step) { return w - step; });
    store4(w, i, p.count, w4);
    store4(m, i, p.count, m4);
    store4(v, i, p.count, v4);
}
