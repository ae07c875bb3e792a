// Filters that foretell their centre.                                   twin: src/ops/project_filter.rs
#include "lae.cuh"

struct Filter {
    unsigned slices, taps, channels; // filters × channels; rows × columns
};

// project_filter_fwd
// computes  w = w / (sum of the others) except at the centre, which becomes -1; a sum below 1e-6 is moved by 1e-6 away from 0
// shapes    w filters × taps × channels
// grid      x: 256 slices per block                                     256 threads
// memory    w read twice, written once: a few kilobytes
// numerics  sum in f32, taps in order; one quotient each
extern "C" __global__ void __launch_bounds__(256)
    project_filter_fwd_f32(float *__restrict__ w, Filter p) {
    unsigned slice = blockIdx.x * blockDim.x + threadIdx.x;
    if (slice >= p.slices) return;
    unsigned filter = slice / p.channels, centre = p.taps / 2;
    w += size_t(filter) * p.taps * p.channels + (slice - filter * p.channels);
    float sum = 0;
    for (unsigned i = 0; i < p.taps; i++)
        if (i != centre) sum += w[size_t(i) * p.channels];
    if (fabsf(sum) < 1e-6f) sum += sum < 0 ? -1e-6f : 1e-6f;
    for (unsigned i = 0; i < p.taps; i++) w[size_t(i) * p.channels] = i == centre ? -1 : w[size_t(i) * p.channels] / sum;
}
