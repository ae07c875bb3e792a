// conv2d_wgmma_wgrad: gradient of a convolution's filters, or its partial sums, as one product of matrices on Hopper.
//                                                                               twin: src/ops/conv_wgmma_wgrad.rs
// computes  dw[split][k,r,s,c] = Σ_npq dy[n,p,q,k] · x[n, p·step + base + r·dil, …, c]      over the `span` pixels npq of the split;
//           `sum_splits` adds the splits
// shapes    x N·H·W·C   dy N·P·Q·K   dw splits·K·R·S·C      contiguous, 16-byte aligned; C and K multiples of 8
// grid      x: at most one block per multiprocessor; each works off tiles of 64 or 128 filters × 512 or 256 columns of a split, as
//           the name says, those of the same pixels first          384 threads: a warp group that copies, two that multiply
// memory    dy once per column of tiles, x once per row of tiles and tap, through L2 by TMA; dw written once; 217 kB shared
// numerics  bf16 factors; sums in f32 along n, p, q; same bits every run
//
// The summed index is the pixel, and neither factor has pixels along its rows: dy[n,p,q,k] and x[…, c] both have channels there. In 16
// bits wgmma takes factors that lie so (`descriptor_across`), in tf32 it does not: there filter gradients stay on mma.sync, which
// reads its factors through registers and can turn them on the way.
//
// The ring is that of kernels/conv_wgmma.cu: full and empty barriers, one thread that copies, eight warps that multiply. A stage holds
// 64 pixels. A box of it has 64 channels of each, 128 bytes a pixel: 64 filters of dy, which the summed pixels are a dense range of, or
// 64 channels of x under one tap, which TMA's im2col mode finds.
//
// Columns. A filter has R·S·C values, and a tile takes groups of 64 of them: (tap, 64 channels), counted on from one tap to the next.
// Groups are boxes of their own, so a tile of four may have channels of several taps. With fewer than 64 channels the rest of a box
// arrives as zeros, and so do groups behind the last one.
//
//   tile, filters × columns     128×256   64×512
//   products                       1024     1024      cycles of a stage, as in kernels/conv_wgmma.cu
//   bytes / 128                    1024     1216
//   stages in 216 kB                  4        3
//
// Pixels. A split's begin at a multiple of 64, so that no stage has pixels of two; behind the last pixel of all both factors are zeros.
//
// sm_90a
#include "conv.cuh"
#include "wgmma.cuh"

// twin: `Params` of src/ops/conv_wgmma_wgrad.rs. Axes v and u: pixel i reads the source at i·step + base + tap·dil.
struct Filters {
    int n, p, q, c, k, r, s;
    int step_v, base_v, dil_v;
    int step_u, base_u, dil_u;
    int span, splits;
};

constexpr int WIDE = 64;               // channels of a box
constexpr int PIXELS = 64;             // of a stage
constexpr int BOX = PIXELS * WIDE * 2;
constexpr int GROUP = 64;              // filters of a product
constexpr int COLUMNS = 256;           // of a product
constexpr int WARPS = 8;               // that multiply
constexpr int RING = 216 * 1024;

// Two neighbours at once. Written as an assignment of float2, the compiler splits the first pair of a row into two stores of four
// bytes, and each of them touches all eight sectors of a warp's rows: 9/8 of the traffic.
__device__ inline void store_pair(float *to, float first, float second) {
    asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)), "f"(first), "f"(second) : "memory");
}

// Groups of columns in order: the tap, and the first of its channels.
struct Columns {
    int r, s, c;
};
__device__ inline Columns columns(int group, const Filters &z) {
    int chunks = (z.c + WIDE - 1) / WIDE;
    Digits d = digits(group, z.s, chunks);
    return {d.a, d.b, d.c * WIDE};
}
__device__ inline void advance(Columns &at, const Filters &z) {
    if ((at.c += WIDE) < z.c) return;
    at.c = 0;
    if (++at.s == z.s) at.s = 0, at.r++;
}

template <int FILTERS, int GROUPS> __device__ inline void wgrad(const TensorMap &x, const TensorMap &dy, float *dw, const Filters &z) {
    constexpr bool SHARE = FILTERS == GROUP;   // the warp groups share the columns, else the filters
    constexpr int OWN = COLUMNS / WIDE;        // groups of columns of a warp group's product
    constexpr int BOXES = FILTERS / WIDE + GROUPS, STAGE = BOXES * BOX, STAGES = RING / STAGE;
    extern __shared__ char memory[];
    __shared__ unsigned long long barriers[2 * STAGES];
    unsigned ring = (shared_address(memory) + 1023) & ~1023u;   // a swizzle's pattern repeats from multiples of 1024 on
    unsigned full = shared_address(barriers), empty = full + 8 * STAGES;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) barrier_init(full + 8 * i, 1), barrier_init(empty + 8 * i, WARPS);
        barriers_ready();
    }
    __syncthreads();

    int groups = z.r * z.s * ((z.c + WIDE - 1) / WIDE);
    int tiles_k = (z.k + FILTERS - 1) / FILTERS, tiles = tiles_k * ((groups + GROUPS - 1) / GROUPS), tasks = tiles * z.splits;
    int pixels = z.n * z.p * z.q;
    int stage = 0, parity = 0;
    auto next = [&] {
        if (++stage == STAGES) stage = 0, parity ^= 1;
    };

    if (threadIdx.x < 128) {   // the producer
        registers_give<40>();
        if (threadIdx.x > 0) return;
        Digits stage_pixels = digits(PIXELS, z.p, z.q);
        for (int task = blockIdx.x; task < tasks; task += gridDim.x) {
            int split = task / tiles, tile = task - split * tiles, column = tile / tiles_k, k = (tile - column * tiles_k) * FILTERS;
            int pixel = split * z.span, end = min(pixel + z.span, pixels);
            Digits at = digits(pixel, z.p, z.q);
            Columns begin = columns(column * GROUPS, z);
            for (; pixel < end; pixel += PIXELS) {
                unsigned to = ring + stage * STAGE, arrived = full + 8 * stage;
                int h = at.b * z.step_v + z.base_v, left = at.c * z.step_u + z.base_u;
                barrier_wait(empty + 8 * stage, parity ^ 1);
                barrier_expect(arrived, STAGE);
#pragma unroll
                for (int f = 0; f < FILTERS / WIDE; f++, to += BOX) copy_tile(to, dy, arrived, k + f * WIDE, pixel, 0);
                Columns from = begin;
#pragma unroll 1
                for (int g = 0; g < GROUPS; g++, to += BOX) {
                    bool there = from.r < z.r;   // behind the last group: channels behind the last
                    copy_pixels(to, x, arrived, there ? from.c : z.c, left, h, at.a, from.s * z.dil_u, there ? from.r * z.dil_v : 0);
                    advance(from, z);
                }
                add(at, stage_pixels, z.p, z.q);
                next();
            }
        }
        return;
    }

    registers_take<232>();
    int group = threadIdx.x / 128 - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
    for (int task = blockIdx.x; task < tasks; task += gridDim.x) {
        int split = task / tiles, tile = task - split * tiles, column = tile / tiles_k, k = (tile - column * tiles_k) * FILTERS;
        int first = split * z.span, steps = (min(z.span, pixels - first) + PIXELS - 1) / PIXELS, before = 0;
        float sum[COLUMNS / 2];
#pragma unroll
        for (int i = 0; i < COLUMNS / 2; i++) sum[i] = 0;
        for (int i = 0; i < steps; i++) {
            unsigned at = ring + stage * STAGE;
            unsigned long long a = descriptor(at + (SHARE ? 0 : group * BOX));   // across, too: 64 filters fill a row
            unsigned long long b = descriptor_across(at + FILTERS / WIDE * BOX + (SHARE ? group * OWN * BOX : 0), BOX);
            barrier_wait(full + 8 * stage, parity);
            products_begin();
#pragma unroll
            for (int p = 0; p < PIXELS / 16; p++) product(Bf16Across{}, sum, a + 128 * p, b + 128 * p);
            products_commit();
            products_wait<1>();   // those of the stage before: nothing reads it any more
            if (i > 0 && lane == 0) barrier_arrive(empty + 8 * before);
            before = stage;
            next();
        }
        products_wait<0>();
        if (lane == 0) barrier_arrive(empty + 8 * before);

        // Of each eight columns a thread has two neighbours, and of filters two, eight apart.
        k += (SHARE ? 0 : group * GROUP) + warp * 16 + lane / 4;
        int one = z.r * z.s * z.c;   // values of a filter
        float *to = dw + (size_t)split * z.k * one + lane % 4 * 2;
        Columns c = columns(column * GROUPS + (SHARE ? group * OWN : 0), z);
#pragma unroll
        for (int g = 0; g < OWN; g++) {
            int place = (c.r * z.s + c.s) * z.c + c.c;
#pragma unroll
            for (int j = 0; j < WIDE / 8; j++) {
                const float *s = sum + (g * WIDE / 8 + j) * 4;
                if (c.r < z.r && c.c + 8 * j < z.c) {
                    float *here = to + place + 8 * j;
                    if (k < z.k) store_pair(here + (size_t)k * one, s[0], s[1]);
                    if (k + 8 < z.k) store_pair(here + (size_t)(k + 8) * one, s[2], s[3]);
                }
            }
            advance(c, z);
        }
    }
}

#define WGRAD(FILTERS, COLUMNS)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(384, 1) conv2d_wgmma_wgrad_##FILTERS##x##COLUMNS##_bf16(                        \
        const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap dy, float *__restrict__ dw,                       \
        const __grid_constant__ Filters z) {                                                                                     \
        wgrad<FILTERS, COLUMNS / WIDE>(x, dy, dw, z);                                                                            \
    }
WGRAD(128, 256)
WGRAD(64, 512)
