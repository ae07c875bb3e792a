// The activations, applied to each value alone. Derivatives are written in terms of the output, so that backward needs no input.
//                                                                      twin: src/ops/activation.rs
// computes  relu        y = x > 0 ? x : 0, 0 for NaN           dx = y > 0 ? dy : 0
//           leaky_relu  y = x · (x > 0 ? 1 : slope)            dx = dy · (y > 0 ? 1 : slope)
//           tanh        y = tanh x                             dx = (1 - y²) · dy
//           sigmoid     y = 1 / (1 + e⁻ˣ)                      dx = y · (1 - y) · dy
// shapes    x, y, dy, dx any shape, as `count` values; all f32 or all bf16, by the kernel's name
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    fwd: x read once, y written once   bwd: y, dy read once, dx written once
// numerics  the host's bits: its order of operations, its polynomials for tanh (2 ulp) and the exponential; f32, bf16 rounded once
// measured  H200: relu 6.1 and 11.1 µs, 2738 and 2277 GB/s (encoder.1); leaky_relu 6.1 and 11.0 µs, 2740 and 2283 GB/s (dcgan.1);
//           tanh 4.4 and 7.3 µs, 716 and 650 GB/s (decoder.13); docs/gpu-runs.md
#include "lae.cuh"
#include "math.cuh"

template <class S> __device__ void relu_fwd(S *y, const S *x, unsigned count) {
    map(y, x, count, [](float x) { return x > 0 ? x : 0; });
}
template <class S> __device__ void relu_bwd(S *dx, const S *y, const S *dy, unsigned count) {
    map(dx, y, dy, count, [](float y, float dy) { return y > 0 ? dy : 0; });
}

struct LeakyRelu {
    unsigned count;
    float slope;
};
template <class S> __device__ void leaky_relu_fwd(S *y, const S *x, LeakyRelu p) {
    map(y, x, p.count, [=](float x) { return x * (x > 0 ? 1 : p.slope); });
}
template <class S> __device__ void leaky_relu_bwd(S *dx, const S *y, const S *dy, LeakyRelu p) {
    map(dx, y, dy, p.count, [=](float y, float dy) { return dy * (y > 0 ? 1 : p.slope); });
}

template <class S> __device__ void tanh_fwd(S *y, const S *x, unsigned count) {
    map(y, x, count, [](float x) { return tanh_f32(x); });
}
template <class S> __device__ void tanh_bwd(S *dx, const S *y, const S *dy, unsigned count) {
    map(dx, y, dy, count, [](float y, float dy) { return (1 - y * y) * dy; });
}

template <class S> __device__ void sigmoid_fwd(S *y, const S *x, unsigned count) {
    map(y, x, count, [](float x) { return sigmoid_f32(x); });
}
template <class S> __device__ void sigmoid_bwd(S *dx, const S *y, const S *dy, unsigned count) {
    map(dx, y, dy, count, [](float y, float dy) { return y * (1 - y) * dy; });
}

extern "C" __global__ void __launch_bounds__(256)
    relu_fwd_f32(float *__restrict__ y, const float *__restrict__ x, unsigned count) {
    relu_fwd(y, x, count);
}
extern "C" __global__ void __launch_bounds__(256)
    relu_bwd_f32(float *__restrict__ dx, const float *__restrict__ y, const float *__restrict__ dy, unsigned count) {
    relu_bwd(dx, y, dy, count);
}

extern "C" __global__ void __launch_bounds__(256)
    relu_fwd_bf16(Bf16 *__restrict__ y, const Bf16 *__restrict__ x, unsigned count) {
    relu_fwd(y, x, count);
}
extern "C" __global__ void __launch_bounds__(256)
    relu_bwd_bf16(Bf16 *__restrict__ dx, const Bf16 *__restrict__ y, const Bf16 *__restrict__ dy, unsigned count) {
    relu_bwd(dx, y, dy, count);
}

extern "C" __global__ void __launch_bounds__(256)
    leaky_relu_fwd_f32(float *__restrict__ y, const float *__restrict__ x, LeakyRelu p) {
    leaky_relu_fwd(y, x, p);
}
extern "C" __global__ void __launch_bounds__(256)
    leaky_relu_bwd_f32(float *__restrict__ dx, const float *__restrict__ y, const float *__restrict__ dy, LeakyRelu p) {
    leaky_relu_bwd(dx, y, dy, p);
}

extern "C" __global__ void __launch_bounds__(256)
    leaky_relu_fwd_bf16(Bf16 *__restrict__ y, const Bf16 *__restrict__ x, LeakyRelu p) {
    leaky_relu_fwd(y, x, p);
}
extern "C" __global__ void __launch_bounds__(256)
    leaky_relu_bwd_bf16(Bf16 *__restrict__ dx, const Bf16 *__restrict__ y, const Bf16 *__restrict__ dy, LeakyRelu p) {
    leaky_relu_bwd(dx, y, dy, p);
}

extern "C" __global__ void __launch_bounds__(256)
    tanh_fwd_f32(float *__restrict__ y, const float *__restrict__ x, unsigned count) {
    tanh_fwd(y, x, count);
}
extern "C" __global__ void __launch_bounds__(256)
    tanh_bwd_f32(float *__restrict__ dx, const float *__restrict__ y, const float *__restrict__ dy, unsigned count) {
    tanh_bwd(dx, y, dy, count);
}

extern "C" __global__ void __launch_bounds__(256)
    tanh_fwd_bf16(Bf16 *__restrict__ y, const Bf16 *__restrict__ x, unsigned count) {
    tanh_fwd(y, x, count);
}
extern "C" __global__ void __launch_bounds__(256)
    tanh_bwd_bf16(Bf16 *__restrict__ dx, const Bf16 *__restrict__ y, const Bf16 *__restrict__ dy, unsigned count) {
    tanh_bwd(dx, y, dy, count);
}

extern "C" __global__ void __launch_bounds__(256)
    sigmoid_fwd_f32(float *__restrict__ y, const float *__restrict__ x, unsigned count) {
    sigmoid_fwd(y, x, count);
}
extern "C" __global__ void __launch_bounds__(256)
    sigmoid_bwd_f32(float *__restrict__ dx, const float *__restrict__ y, const float *__restrict__ dy, unsigned count) {
    sigmoid_bwd(dx, y, dy, count);
}

extern "C" __global__ void __launch_bounds__(256)
    sigmoid_fwd_bf16(Bf16 *__restrict__ y, const Bf16 *__restrict__ x, unsigned count) {
    sigmoid_fwd(y, x, count);
}
extern "C" __global__ void __launch_bounds__(256)
    sigmoid_bwd_bf16(Bf16 *__restrict__ dx, const Bf16 *__restrict__ y, const Bf16 *__restrict__ dy, unsigned count) {
    sigmoid_bwd(dx, y, dy, count);
}
