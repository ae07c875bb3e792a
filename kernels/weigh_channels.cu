// Weighted sums of channels, a warp per pixel.                          twin: src/ops/weigh_channels.rs
#include "lae.cuh"

struct WeighChannels {
    unsigned pixels, image; // of all pictures; of one
    unsigned channels;
};

template <int V>
__device__ void weigh(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ a, WeighChannels p) {
    unsigned pixel = blockIdx.x * 8 + threadIdx.x / 32;
    if (pixel >= p.pixels) return;
    x += size_t(pixel) * p.channels;
    a += size_t(pixel / p.image) * p.channels;
    float sum = 0;
    for (unsigned c = threadIdx.x % 32 * V; c < p.channels; c += 32 * V) {
        Vec<V> v = load<V>(x, c), w = load<V>(a, c);
        for (int k = 0; k < V; k++) sum = fmaf(w[k], v[k], sum);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) y[pixel] = sum;
}

// weigh_channels_fwd
// computes  y[n,p] = sum over c of a[n,c] · x[n,p,c]
// shapes    x N × pixels × C   a N × C   y N × pixels
// grid      x: 8 pixels per block                                       256 threads, a warp per pixel
// memory    x read once, a once per pixel (from the cache), y written once
// numerics  every 32nd group of V channels to a lane, V = 4 where C divides by 4, else 1; lanes by halves, all in f32
extern "C" __global__ void __launch_bounds__(256)
    weigh_channels_fwd_f32(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ a, WeighChannels p) {
    if (p.channels % 4 == 0) weigh<4>(y, x, a, p);
    else weigh<1>(y, x, a, p);
}
