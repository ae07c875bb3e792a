// The activations; each derivative is written in terms of the output.   twin: src/ops/activation.rs
#include "lae.cuh"
#include "math.cuh"

// relu_fwd
// computes  y = x > 0 ? x : 0
// shapes    x, y any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    x read once, y written once
// numerics  exact; 0 for NaN, as on the host
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    relu_fwd_f32(float *__restrict__ y, const float *__restrict__ x, unsigned count) {
    map(y, x, count, [](float x) { return x > 0 ? x : 0; });
}

// relu_bwd
// computes  dx = y > 0 ? dy : 0
// shapes    y, dy, dx any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    y, dy read once, dx written once
// numerics  exact
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    relu_bwd_f32(float *__restrict__ dx, const float *__restrict__ y, const float *__restrict__ dy, unsigned count) {
    map(dx, y, dy, count, [](float y, float dy) { return y > 0 ? dy : 0; });
}

struct LeakyRelu {
    unsigned count;
    float slope;
};

// leaky_relu_fwd
// computes  y = x · (x > 0 ? 1 : slope)
// shapes    x, y any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    x read once, y written once
// numerics  one product
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    leaky_relu_fwd_f32(float *__restrict__ y, const float *__restrict__ x, LeakyRelu p) {
    map(y, x, p.count, [=](float x) { return x * (x > 0 ? 1 : p.slope); });
}

// leaky_relu_bwd
// computes  dx = dy · (y > 0 ? 1 : slope)
// shapes    y, dy, dx any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    y, dy read once, dx written once
// numerics  one product
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    leaky_relu_bwd_f32(float *__restrict__ dx, const float *__restrict__ y, const float *__restrict__ dy, LeakyRelu p) {
    map(dx, y, dy, p.count, [=](float y, float dy) { return dy * (y > 0 ? 1 : p.slope); });
}

// tanh_fwd
// computes  y = tanh x
// shapes    x, y any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    x read once, y written once
// numerics  the host's polynomial, its bits; 2 ulp
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    tanh_fwd_f32(float *__restrict__ y, const float *__restrict__ x, unsigned count) {
    map(y, x, count, [](float x) { return tanh_f32(x); });
}

// tanh_bwd
// computes  dx = (1 - y²) · dy
// shapes    y, dy, dx any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    y, dy read once, dx written once
// numerics  the host's order
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    tanh_bwd_f32(float *__restrict__ dx, const float *__restrict__ y, const float *__restrict__ dy, unsigned count) {
    map(dx, y, dy, count, [](float y, float dy) { return (1 - y * y) * dy; });
}

// sigmoid_fwd
// computes  y = 1 / (1 + e⁻ˣ)
// shapes    x, y any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    x read once, y written once
// numerics  the host's exponential, its bits
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    sigmoid_fwd_f32(float *__restrict__ y, const float *__restrict__ x, unsigned count) {
    map(y, x, count, [](float x) { return sigmoid_f32(x); });
}

// sigmoid_bwd
// computes  dx = y · (1 - y) · dy
// shapes    y, dy, dx any shape, as `count` values
// grid      x: 1024 values per block                                    256 threads, 4 values each
// memory    y, dy read once, dx written once
// numerics  the host's order
// measured  docs/gpu-runs.md; counted by `lae-engine kernels`
extern "C" __global__ void __launch_bounds__(256)
    sigmoid_bwd_f32(float *__restrict__ dx, const float *__restrict__ y, const float *__restrict__ dy, unsigned count) {
    map(dx, y, dy, count, [](float y, float dy) { return y * (1 - y) * dy; });
}
