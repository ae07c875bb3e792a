// sgd_fwd: one step of gradient descent with momentum and decay.        twin: src/ops/sgd.rs
// computes  u = momentum u + g + decay w   w = w - lr u
// shapes    w, u, g `count` values   lr 1
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    g read once; w, u read and written once
// numerics  the host's order, its bits
// measured  H200: 6.5 µs (512 parameters; docs/gpu-runs.md)
#include "lae.cuh"

struct Sgd {
    unsigned count;
    float momentum, decay;
};

extern "C" __global__ void __launch_bounds__(256)
    sgd_fwd_f32(float *__restrict__ w, float *__restrict__ u, const float *__restrict__ g, const float *__restrict__ lr, Sgd p) {
    size_t i = my_four();
    if (i >= p.count) return;
    float rate = lr[0];
    float4 w4 = load4(w, i, p.count);
    float4 u4 = each(load4(u, i, p.count), load4(g, i, p.count), [=](float u, float g) { return p.momentum * u + g; });
    u4 = each(u4, w4, [=](float u, float w) { return u + p.decay * w; });
    store4(u, i, p.count, u4);
    store4(w, i, p.count, each(w4, u4, [=](float w, float u) { return w - rate * u; }));
}
