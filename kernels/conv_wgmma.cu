// conv2d_wgmma: convolution, and gradient of its input, as one product of matrices on Hopper.
//                                                twin: src/ops/conv_wgmma.rs, chosen beside the tiles of src/ops/conv_launch.rs
// computes  y[n,h,w,k] = Σ_rsc x[n, i·step + base + shift + r·dil, …, c] · w[k, first tap of the phase + (r,s), c] + b[k]
//           with (h, w) = (first + i·stride, …): as fprop and as dgrad fill in the sizes, below
// shapes    x N·H·W·C   w K·taps·C   b K or null   y N·H'·W'·K      contiguous, 16-byte aligned; C and K multiples of 4, in bf16 of 8
// grid      x: at most one block per multiprocessor; each works off tiles of 64 or 128 filters × 128 to 512 pixels of a phase, as the
//           name says, those of the same pixels first          384 threads: a warp group that copies, two that multiply
// memory    x once per row of tiles and tap, w once per column of tiles, through L2 by TMA; y written once; 217 kB shared
// numerics  tf32 factors, rounded to nearest, ties to even, on their way to shared memory, or bf16 in memory; sums in f32 along
//           r, s, c; y f32, or bf16 rounded once, to nearest, ties to even; same bits every run
//
// A multiprocessor of Hopper multiplies tf32 matrices at full rate by wgmma alone: four warps start a product of two tiles that both
// lie in shared memory, and go on while it runs. Sums stay in registers, factors never come there. What remains to be done is to
// keep a ring of tiles full, and that is the work of TMA, which needs one thread to say which box of which tensor comes next.
//
// The ring. A stage holds 32 channels of a tile's filters and of its pixels, 128 bytes of each. Two barriers belong to a stage:
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
// Filters times pixels, not pixels times filters. A product has 64 rows and up to 256 columns, and reads both tiles from shared memory
// anew: 128 bytes a cycle, which TMA's writes share. Cycles of a stage, by the products and by the bytes:
//
//   tile, filters × pixels      128×256   128×128    64×512    64×256      64 filters as columns, 128 pixels as rows
//   products                       1024       512      1024       512       256
//   bytes / 128                    1024       640      1216       704       448
//   stages in 216 kB                  4         6         3         5
//
// In bf16 a stage has 64 channels and a product 16; `multiply` takes the type, and bytes and cycles of a stage stay as they are.
//
// With pixels along the columns, layers of 64 filters keep wide products, too: each warp group takes pixels of its own. With 128
// filters each takes 64 of them. And a warp's store is four pixels × 8 neighbouring filters: whole sectors of 32 bytes, without a way
// through shared memory, which the ring fills anyway. Eight filters in bf16 are half a sector; a thread has eight more, so threads of
// two neighbouring filters exchange one value of each pixel. Then one of them has both filters of the first eight, the other both of
// the second, and a warp's store is four pixels × 16 filters of two bytes.
//
// Pixels. A tile's, one after the other, are not a box of the picture: they run over the ends of rows and of pictures. TMA's
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

constexpr int BYTES = 128;             // of a row of a tile, which is what the swizzle takes: 32 channels in tf32, 64 in bf16
constexpr int GROUP = 64;              // filters of a warp group
constexpr int WARPS = 8;               // that multiply
constexpr int RING = 216 * 1024;

// A choice, not an index: parameters that are indexed would be copied to local memory first.
__device__ inline int of(const int (&phases)[2], int i) { return i ? phases[1] : phases[0]; }

// What a tile number stands for: filters, pixels, phase (v, u).
struct Task {
    int k, m, v, u;
};
__device__ inline Task task(int tile, int tiles_k, int tiles_m, int phases_u) {
    int row = tile / tiles_k, phase = row / tiles_m;
    return {tile - row * tiles_k, row - phase * tiles_m, phase / phases_u, phase % phases_u};
}
// The place in w' of the first tap of a phase: those of all earlier phases lie before it.
__device__ inline int first_tap(const Line &v, const Line &u, int a, int b) {
    return (a ? v.taps[0] : 0) * (u.taps[0] + u.taps[1]) + of(v.taps, a) * (b ? u.taps[0] : 0);
}

template <class Type, int FILTERS, int PIXELS>
__device__ inline void multiply(const TensorMap &x, const TensorMap &w, const float *bias, typename Type::Value *y, const Product &z) {
    constexpr int DEPTH = BYTES / sizeof(typename Type::Value);   // channels of a stage
    constexpr bool SHARE = FILTERS == GROUP;                    // the warp groups share the pixels, else the filters
    constexpr int COLUMNS = SHARE ? PIXELS / 2 : PIXELS;        // of a warp group's product
    constexpr int W_BYTES = FILTERS * BYTES, STAGE = W_BYTES + PIXELS * BYTES, STAGES = RING / STAGE;
    extern __shared__ char memory[];
    __shared__ unsigned long long barriers[2 * STAGES];
    unsigned ring = (shared_address(memory) + 1023) & ~1023u;   // a swizzle's pattern repeats from multiples of 1024 on
    unsigned full = shared_address(barriers), empty = full + 8 * STAGES;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) barrier_init(full + 8 * i, 1), barrier_init(empty + 8 * i, WARPS);
        barriers_ready();
    }
    __syncthreads();

    int pixels = z.n * z.v.rows * z.u.rows, tiles_m = (pixels + PIXELS - 1) / PIXELS, tiles_k = (z.k + FILTERS - 1) / FILTERS;
    int tiles = tiles_m * tiles_k * z.v.stride * z.u.stride, chunks = (z.c + DEPTH - 1) / DEPTH;
    int stage = 0, parity = 0;
    auto advance = [&] {
        if (++stage == STAGES) stage = 0, parity ^= 1;
    };

    if (threadIdx.x < 128) {   // the producer
        registers_give<40>();
        if (threadIdx.x > 0) return;
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            Task t = task(tile, tiles_k, tiles_m, z.u.stride);
            Digits first = digits(t.m * PIXELS, z.v.rows, z.u.rows);   // picture, row, column
            int h = first.b * z.v.step + z.v.base, left = first.c * z.u.step + z.u.base;
            int tap = first_tap(z.v, z.u, t.v, t.u);
            for (int r = 0; r < of(z.v.taps, t.v); r++) {
                for (int s = 0; s < of(z.u.taps, t.u); s++, tap++) {
                    int down = of(z.v.shift, t.v) + r * z.v.dil, right = of(z.u.shift, t.u) + s * z.u.dil;
                    for (int c = 0; c < chunks; c++) {
                        unsigned to = ring + stage * STAGE, arrived = full + 8 * stage;
                        barrier_wait(empty + 8 * stage, parity ^ 1);
                        barrier_expect(arrived, STAGE);
                        copy_tile(to, w, arrived, c * DEPTH, tap, t.k * FILTERS);
                        copy_pixels(to + W_BYTES, x, arrived, c * DEPTH, left, h, first.a, right, down);
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
        Task t = task(tile, tiles_k, tiles_m, z.u.stride);
        int steps = of(z.v.taps, t.v) * of(z.u.taps, t.u) * chunks, before = 0;
        float sum[COLUMNS / 2];
#pragma unroll
        for (int i = 0; i < COLUMNS / 2; i++) sum[i] = 0;
        for (int i = 0; i < steps; i++) {
            unsigned at = ring + stage * STAGE;
            unsigned long long a = descriptor(at + (SHARE ? 0 : group * GROUP * BYTES));
            unsigned long long b = descriptor(at + W_BYTES + (SHARE ? group * COLUMNS * BYTES : 0));
            barrier_wait(full + 8 * stage, parity);
            products_begin();
#pragma unroll
            for (int k = 0; k < BYTES / 32; k++) product(Type{}, sum, a + 2 * k, b + 2 * k);
            products_commit();
            products_wait<1>();   // those of the stage before: nothing reads it any more
            if (i > 0 && lane == 0) barrier_arrive(empty + 8 * before);
            before = stage;
            advance();
        }
        products_wait<0>();
        if (steps > 0 && lane == 0) barrier_arrive(empty + 8 * before);

        // Of each eight columns a thread has two pixels, and two filters, eight apart, in each.
        int k = t.k * FILTERS + (SHARE ? 0 : group * GROUP) + warp * 16 + lane / 4;
        int first = t.m * PIXELS + (SHARE ? group * COLUMNS : 0) + lane % 4 * 2;
        bool there[2] = {k < z.k, k + 8 < z.k};
        float b[2] = {bias && there[0] ? bias[k] : 0, bias && there[1] ? bias[k + 8] : 0};
        // All lanes come here, as lanes of neighbouring filters exchange values; they have the same pixels.
        auto store = [&](bool inside, int place, const float *s) {
            float low = s[0] + b[0], high = s[2] + b[1];
            typename Type::Value *to = y + (unsigned)place * (unsigned)z.k + k;
            if constexpr (sizeof(*y) == 4) {
                if (inside && there[0]) to[0] = low;
                if (inside && there[1]) to[8] = high;
            } else {
                bool odd = lane & 4;
                float other = __shfl_xor_sync(~0u, odd ? low : high, 4);
                unsigned both = odd ? pair(other, high) : pair(low, other);
                if (inside && (odd ? there[1] : there[0])) *(unsigned *)(to + (odd ? 7 : 0)) = both;
            }
        };
        if (z.v.stride * z.u.stride == 1) {   // pixels of the product are those of the result
            int left = pixels - first;
#pragma unroll
            for (int i = 0; i < COLUMNS / 4; i++) {
                int column = i / 2 * 8 + i % 2;
                store(column < left, first + column, sum + i / 2 * 4 + i % 2);
            }
        } else {
            Digits o[2] = {digits(first, z.v.rows, z.u.rows), digits(first + 1, z.v.rows, z.u.rows)};
            Digits eight = digits(8, z.v.rows, z.u.rows);
#pragma unroll
            for (int i = 0; i < COLUMNS / 4; i++) {
                Digits &at = o[i % 2];
                int h = at.b * z.v.stride + of(z.v.first, t.v), left = at.c * z.u.stride + of(z.u.first, t.u);
                bool inside = at.a < z.n && h < z.v.size && left < z.u.size;
                store(inside, (at.a * z.v.size + h) * z.u.size + left, sum + i / 2 * 4 + i % 2);
                add(at, eight, z.v.rows, z.u.rows);
            }
        }
    }
}

#define PRODUCT(FILTERS, PIXELS, TYPE, NAME)                                                                                     \
    extern "C" __global__ void __launch_bounds__(384, 1) conv2d_wgmma_##FILTERS##x##PIXELS##_##NAME(                             \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w, const float *__restrict__ bias,                \
        TYPE::Value *__restrict__ y, const __grid_constant__ Product z) {                                                        \
        multiply<TYPE, FILTERS, PIXELS>(x, w, bias, y, z);                                                                       \
    }
PRODUCT(128, 256, Tf32, tf32)
PRODUCT(128, 128, Tf32, tf32)
PRODUCT(64, 512, Tf32, tf32)
PRODUCT(64, 256, Tf32, tf32)
PRODUCT(128, 256, Bf16, bf16)
PRODUCT(128, 128, Bf16, bf16)
PRODUCT(64, 512, Bf16, bf16)
PRODUCT(64, 256, Bf16, bf16)
