// The half of the channels that a label names.                          twin: src/ops/select_half.rs
#include "lae.cuh"

struct SelectHalf {
    unsigned count, image; // values of all pictures, and of one
    unsigned channels;
};

template <int V>
__device__ void half(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ label, SelectHalf p) {
    size_t i = (size_t(blockIdx.x) * blockDim.x + threadIdx.x) * V;
    if (i >= p.count) return;
    bool first = unsigned(i) % p.channels < p.channels / 2, true_picture = label[unsigned(i) / p.image] > 0.5f;
    store<V>(y, i, first == true_picture ? load<V>(x, i) : Vec<V>{});
}

// select_half_fwd, both passes: backward has dx for y and dy for x
// computes  y[n,h,w,c] = x[n,h,w,c] where c < C/2 is label[n] > ½, else 0
// shapes    x, y N·H·W·C   label N
// grid      x: 256 vectors of V channels per block, V = 4 where C/2 divides by 4, else 1       256 threads
// memory    the kept half of x read once, y written once; a label per thread, through L1
// numerics  exact
extern "C" __global__ void __launch_bounds__(256)
    select_half_fwd_f32(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ label, SelectHalf p) {
    if (p.channels % 8 == 0) half<4>(y, x, label, p);
    else half<1>(y, x, label, p);
}
