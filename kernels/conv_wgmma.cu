// conv2d_wgmma: convolution, and gradient of its input, as one product of matrices on Hopper.
//                                                twin: src/ops/conv_wgmma.rs, chosen beside the tiles of src/ops/conv_launch.rs
// computes  y[n,h,w,k] = Σ_rsc x[n, i·step + base + shift + r·dil, …, c] · w[k, first tap of the phase + (r,s), c] + b[k]
//           with (h, w) = (first + i·stride, …): as fprop and as dgrad fill in the sizes, below
// shapes    x N·H·W·C   w K·taps·C   b K or null   y N·H'·W'·K      contiguous, 16-byte aligned; C and K multiples of 4
// grid      x: at most one block per multiprocessor; each works off tiles of 128 pixels of a phase × 64, 128 or 256 filters, those of
//           one row of tiles first          384 threads: a warp group that copies, two that multiply 64 pixels each
// memory    x once per column of tiles and tap, w once per row of tiles, through L2 by TMA; y written once; 193 kB shared
// numerics  tf32 factors, rounded to nearest, ties to even, on their way to shared memory; sums in f32 along r, s, c; same bits
//           every run
//
// A multiprocessor of Hopper multiplies tf32 matrices at full rate by wgmma alone: four warps start a product of two tiles that both
// lie in shared memory, and go on while it runs. Sums stay in registers, factors never come there. What remains to be done is to
// keep a ring of tiles full, and that is the work of TMA, which needs one thread to say which box of which tensor comes next.
//
// The ring. A stage holds 32 channels of 128 pixels (16 kB) and of 64, 128 or 256 filters (8, 16, 32 kB); eight, six or four stages
// fill 192 kB. Two barriers belong to a stage:
//
//   full     the producer announces the bytes of both tiles, TMA counts them down; consumers wait for it
//   empty    each of the eight warps that multiply arrives when its products no longer read the stage; the producer waits for it
//
// Each passes through its phases in step with the turns around the ring, so a turn's parity tells both sides which phase to wait for.
// The first turn finds `empty` without arrivals: waiting for the parity before the first phase returns at once.
//
//   producer     wait empty ─ announce ─ copy, copy ─ wait empty ─ …                   one thread; 40 registers a thread are enough
//   consumers    wait full ─ 4 products of 8 channels ─ commit ─ wait for those of the stage before ─ arrive at its empty ─ …
//
// One group of products is always under way while the next one is being started, so the tensor cores do not idle. The ring runs on
// across tiles: while consumers store a tile, the producer fills stages of the next one.
//
// Pixels. 128 of them in a row of the product are not a box of the picture: they run over the ends of rows and of pictures. TMA's
// im2col mode counts just so. The map's corners say where windows may begin, its steps are the convolution's stride, and a copy
// names the first pixel and how far its tap lies right and down of where the window begins. Padding, channels beyond C and pixels
// beyond the last picture arrive as zeros.
//
// Gradients. wgmma wants both factors of tf32 with the summed index running along rows: filters as the forward pass has them. For
// dgrad the summed index is the filter's number, so `conv2d_turn` writes w[k,r,s,c] as w'[c,tap,k] first, its taps in the
// order in which the product walks. With a stride of 2, even and odd rows and columns of the result are four phases, each a dense
// convolution with its part of the taps. All phases share one map: they have as many results (a row or column too many is computed
// and dropped), and `shift` moves the window of each to where its first tap lies.
//
// sm_90a
#include "conv.cuh"
#include "wgmma.cuh"

// twin: `Line` of src/ops/conv_wgmma.rs. One axis: result i of phase a lies at first[a] + i·stride of `size`, and its tap t reads the
// source at i·step + base + shift[a] + t·dil.
struct Line {
    int rows, step, base, dil, size, stride;
    int taps[2], first[2], shift[2];
};
// twin: `Params` of src/ops/conv_wgmma.rs: pictures, channels of the source and of the result, both axes.
struct Product {
    int n, c, k;
    Line v, u;
};

constexpr int ROWS = 128;              // pixels of a tile
constexpr int GROUP = 64;              // of these, a warp group's
constexpr int DEPTH = 32;              // channels of a stage: what 128-byte swizzle takes
constexpr int ROW_BYTES = 4 * DEPTH;
constexpr int RING = 192 * 1024;
constexpr int WARPS = 8;               // that multiply

// A choice, not an index: parameters that are indexed would be copied to local memory first.
__device__ inline int of(const int (&phases)[2], int i) { return i ? phases[1] : phases[0]; }

// What a tile number stands for: rows m of the product, columns n, phase (v, u).
struct Task {
    int m, n, v, u;
};
__device__ inline Task task(int tile, int tiles_m, int tiles_n, int phases_u) {
    int row = tile / tiles_n, phase = row / tiles_m;
    return {row - phase * tiles_m, tile - row * tiles_n, phase / phases_u, phase % phases_u};
}
// The place in w' of the first tap of a phase: those of all earlier phases lie before it.
__device__ inline int first_tap(const Line &v, const Line &u, int a, int b) {
    return (a ? v.taps[0] : 0) * (u.taps[0] + u.taps[1]) + of(v.taps, a) * (b ? u.taps[0] : 0);
}

template <int COLUMNS>
__device__ inline void multiply(const TensorMap &x, const TensorMap &w, const float *bias, float *y, const Product &z) {
    constexpr int X_BYTES = ROWS * ROW_BYTES, STAGE = X_BYTES + COLUMNS * ROW_BYTES, STAGES = RING / STAGE;
    extern __shared__ char memory[];
    __shared__ unsigned long long barriers[2 * STAGES];
    unsigned ring = (shared_address(memory) + 1023) & ~1023u;   // a swizzle's pattern repeats from multiples of 1024 on
    unsigned full = shared_address(barriers), empty = full + 8 * STAGES;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) barrier_init(full + 8 * i, 1), barrier_init(empty + 8 * i, WARPS);
        barriers_ready();
    }
    __syncthreads();

    int rows = z.n * z.v.rows * z.u.rows, tiles_m = (rows + ROWS - 1) / ROWS, tiles_n = (z.k + COLUMNS - 1) / COLUMNS;
    int tiles = tiles_m * tiles_n * z.v.stride * z.u.stride, chunks = (z.c + DEPTH - 1) / DEPTH;
    int stage = 0, parity = 0;
    auto advance = [&] {
        if (++stage == STAGES) stage = 0, parity ^= 1;
    };

    if (threadIdx.x < 128) {   // the producer
        registers_give<40>();
        if (threadIdx.x > 0) return;
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            Task t = task(tile, tiles_m, tiles_n, z.u.stride);
            Digits first = digits(t.m * ROWS, z.v.rows, z.u.rows);   // picture, row, column
            int h = first.b * z.v.step + z.v.base, left = first.c * z.u.step + z.u.base;
            int tap = first_tap(z.v, z.u, t.v, t.u);
            for (int r = 0; r < of(z.v.taps, t.v); r++) {
                for (int s = 0; s < of(z.u.taps, t.u); s++, tap++) {
                    int down = of(z.v.shift, t.v) + r * z.v.dil, right = of(z.u.shift, t.u) + s * z.u.dil;
                    for (int c = 0; c < chunks; c++) {
                        unsigned to = ring + stage * STAGE, arrived = full + 8 * stage;
                        barrier_wait(empty + 8 * stage, parity ^ 1);
                        barrier_expect(arrived, STAGE);
                        copy_pixels(to, x, arrived, c * DEPTH, left, h, first.a, right, down);
                        copy_tile(to + X_BYTES, w, arrived, c * DEPTH, tap, t.n * COLUMNS);
                        advance();
                    }
                }
            }
        }
        return;
    }

    registers_take<232>();
    int group = threadIdx.x / 128 - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        Task t = task(tile, tiles_m, tiles_n, z.u.stride);
        int steps = of(z.v.taps, t.v) * of(z.u.taps, t.u) * chunks, before = 0;
        float sum[COLUMNS / 2];
#pragma unroll
        for (int i = 0; i < COLUMNS / 2; i++) sum[i] = 0;
        for (int i = 0; i < steps; i++) {
            unsigned at = ring + stage * STAGE;
            unsigned long long a = descriptor(at + group * GROUP * ROW_BYTES), b = descriptor(at + X_BYTES);
            barrier_wait(full + 8 * stage, parity);
            products_begin();
#pragma unroll
            for (int k = 0; k < ROW_BYTES / 32; k++) product(sum, a + 2 * k, b + 2 * k);
            products_commit();
            products_wait<1>();   // those of the stage before: nothing reads it any more
            if (i > 0 && lane == 0) barrier_arrive(empty + 8 * before);
            before = stage;
            advance();
        }
        products_wait<0>();
        if (steps > 0 && lane == 0) barrier_arrive(empty + 8 * before);

        // Four lanes store 32 neighbouring bytes, which is a sector.
        float *to[2];
        int column = t.n * COLUMNS + lane % 4 * 2;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = t.m * ROWS + group * GROUP + warp * 16 + lane / 4 + 8 * half;
            Digits o = digits(row, z.v.rows, z.u.rows);
            int h = o.b * z.v.stride + of(z.v.first, t.v), left = o.c * z.u.stride + of(z.u.first, t.u);
            bool there = row < rows && h < z.v.size && left < z.u.size;
            to[half] = there ? y + (size_t)((o.a * z.v.size + h) * z.u.size + left) * z.k : nullptr;
        }
#pragma unroll
        for (int j = 0; j < COLUMNS / 8; j++) {
            int k = column + 8 * j;
            if (k >= z.k) break;
            float2 b = bias ? make_float2(bias[k], bias[k + 1]) : make_float2(0, 0);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const float *s = sum + 4 * j + 2 * half;
                if (to[half]) *(float2 *)(to[half] + k) = make_float2(s[0] + b.x, s[1] + b.y);
            }
        }
    }
}

#define PRODUCT(COLUMNS)                                                                                                         \
    extern "C" __global__ void __launch_bounds__(384, 1) conv2d_wgmma_128x##COLUMNS##_tf32(                                      \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, const float *__restrict__ bias,                \
        float *__restrict__ y, const __grid_constant__ Product z) {                                                              \
        multiply<COLUMNS>(x, w, bias, y, z);                                                                                     \
    }
PRODUCT(64)
PRODUCT(128)
PRODUCT(256)
