// softsign, both passes.                                              twin: examples/04_new_op.rs
// The PTX beside this file is made from it, in this folder, by
//
//     nvcc -ptx -O3 -lineinfo -fmad=false -arch=compute_80 -o 04_new_op.ptx 04_new_op.cu
//     sed -i 's/^\.version .*/.version 8.0/; s|"/.*/|"|' 04_new_op.ptx
//
// nvcc stamps its own version, however old the instructions are; 8.0 is read by every driver since CUDA 12.0. The second half of
// the second line takes the folder's path out.

// example_softsign_fwd
// computes  y = x / (1 + |x|)
// shapes    x, y any shape, as `count` values
// grid      x: 256 values per block                                     256 threads, a value each
// memory    x read once, y written once
// numerics  a sum and a quotient, each rounded once: the host's bits
extern "C" __global__ void __launch_bounds__(256)
    example_softsign_fwd_f32(float *__restrict__ y, const float *__restrict__ x, unsigned count) {
    unsigned i = blockIdx.x * 256 + threadIdx.x;
    if (i < count) y[i] = x[i] / (1 + fabsf(x[i]));
}

// example_softsign_bwd
// computes  dx = dy / (1 + |x|)²
// shapes    x, dy, dx any shape, as `count` values
// grid      x: 256 values per block                                     256 threads, a value each
// memory    x, dy read once, dx written once
// numerics  a sum, a product and a quotient, each rounded once: the host's bits
extern "C" __global__ void __launch_bounds__(256)
    example_softsign_bwd_f32(float *__restrict__ dx, const float *__restrict__ x, const float *__restrict__ dy, unsigned count) {
    unsigned i = blockIdx.x * 256 + threadIdx.x;
    if (i < count) {
        float d = 1 + fabsf(x[i]);
        dx[i] = dy[i] / (d * d);
    }
}
