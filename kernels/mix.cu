// One channel from three, and back.                                     twin: src/ops/mix.rs
#include "lae.cuh"

struct Mix {
    unsigned pixels;
    float r, g, b;
};

// Three channels of the block's 1024 pixels lie in shared memory as they do in global memory, 768 float4: they move in order,
// and a thread finds its four pixels in three neighbours.

// mix_fwd
// computes  y[p] = r · x[p,0] + g · x[p,1] + b · x[p,2]
// shapes    x pixels × 3   y pixels
// grid      x: 1024 pixels per block                                    256 threads, 4 pixels each
// memory    x read once, y written once; 12 kB shared
// numerics  the host's bits: three products, added in order
extern "C" __global__ void __launch_bounds__(256) mix_fwd_f32(float *__restrict__ y, const float *__restrict__ x, Mix p) {
    __shared__ float4 tile[768];
    size_t first = size_t(blockIdx.x) * 3072, count = size_t(p.pixels) * 3;
    for (unsigned k = threadIdx.x; k < 768; k += 256)
        if (first + 4 * k < count) tile[k] = load4(x, first + 4 * k, unsigned(count));
    __syncthreads();
    size_t i = my_four();
    if (i >= p.pixels) return;
    float4 u = tile[3 * threadIdx.x], v = tile[3 * threadIdx.x + 1], w = tile[3 * threadIdx.x + 2];
    auto sum = [=](float r, float g, float b) { return p.r * r + p.g * g + p.b * b; };
    store4(y, i, p.pixels, {sum(u.x, u.y, u.z), sum(u.w, v.x, v.y), sum(v.z, v.w, w.x), sum(w.y, w.z, w.w)});
}

// mix_bwd
// computes  dx[p,c] = weight[c] · dy[p]
// shapes    dx pixels × 3   dy pixels
// grid      x: 1024 pixels per block                                    256 threads, 4 pixels each
// memory    dy read once, dx written once; 12 kB shared
// numerics  the host's bits: one product
extern "C" __global__ void __launch_bounds__(256) mix_bwd_f32(float *__restrict__ dx, const float *__restrict__ dy, Mix p) {
    __shared__ float4 tile[768];
    size_t first = size_t(blockIdx.x) * 3072, count = size_t(p.pixels) * 3, i = my_four();
    if (i < p.pixels) {
        float4 d = load4(dy, i, p.pixels);
        tile[3 * threadIdx.x] = {p.r * d.x, p.g * d.x, p.b * d.x, p.r * d.y};
        tile[3 * threadIdx.x + 1] = {p.g * d.y, p.b * d.y, p.r * d.z, p.g * d.z};
        tile[3 * threadIdx.x + 2] = {p.b * d.z, p.r * d.w, p.g * d.w, p.b * d.w};
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; k < 768; k += 256)
        if (first + 4 * k < count) store4(dx, first + 4 * k, unsigned(count), tile[k]);
}
