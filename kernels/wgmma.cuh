// Instructions of sm_90a: barriers in shared memory that count bytes, copies of tiles by the tensor memory accelerator (TMA), and
// matrix products of a warp group whose factors lie in shared memory.
//
// Three parties work on one memory, each at its own time, and all order between them is in this file's names:
//
//   threads     read and write through the generic proxy
//   copies      run by themselves from `copy_tile` on; the barrier that they name counts their bytes
//   products    run by themselves from `products_commit` on, until `products_wait`
//
// A copy or a product sees what threads wrote only behind a proxy fence; here threads write no tile, so that the one fence is the
// barriers' own (`barriers_ready`).
#pragma once

// A tensor as TMA sees it, made by the driver: base address, sizes, the box that a copy takes. Passed by value, 64-byte aligned.
struct alignas(64) TensorMap {
    char opaque[128];
};

// Addresses in shared memory are 32 bits wide.
__device__ inline unsigned shared_address(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

// ------------------------------------------------------------------------------------------------------------------- barriers
// A barrier's phase ends when `count` arrivals have come and the bytes that were announced have, too. Phases alternate between
// parity 0 and 1; `barrier_wait(b, parity)` returns when the current phase is no longer the one of that parity.

__device__ inline void barrier_init(unsigned barrier, unsigned count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}
// TMA sees the barriers that this thread has made. Other threads still need __syncthreads.
__device__ inline void barriers_ready() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void barrier_arrive(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Arrives, and announces bytes that copies will bring.
__device__ inline void barrier_expect(unsigned barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ inline void barrier_wait(unsigned barrier, unsigned parity) {
    unsigned over;
    do {
        asm volatile("{\n\t.reg .pred p;\n\t"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
                     "selp.u32 %0, 1, 0, p;\n\t}"
                     : "=r"(over) : "r"(barrier), "r"(parity) : "memory");
    } while (!over);
}

// --------------------------------------------------------------------------------------------------------------------- copies
// Bytes of a box that lie outside of the tensor arrive as zeros, and count.

// The box whose first element is (x, y, z).
__device__ inline void copy_tile(unsigned to, const TensorMap &map, unsigned barrier, int x, int y, int z) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
                 ::"r"(to), "l"(&map), "r"(barrier), "r"(x), "r"(y), "r"(z) : "memory");
}
// Channels from c on of a run of pixels: from (w, h, n) through the box of the map's corners, row by row and picture by picture,
// each moved right and down by (dw, dh).
__device__ inline void copy_pixels(unsigned to, const TensorMap &map, unsigned barrier, int c, int w, int h, int n,
                                   unsigned short dw, unsigned short dh) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};"
                 ::"r"(to), "l"(&map), "r"(barrier), "r"(c), "r"(w), "r"(h), "r"(n), "h"(dw), "h"(dh) : "memory");
}

// ------------------------------------------------------------------------------------------------------------------- products
// A factor is a tile of rows of 128 bytes, its 16-byte chunks exchanged within eight rows as TMA's 128-byte swizzle leaves them.

// What a product knows of a tile at that address, a multiple of 1024: rows of 128 bytes, groups of eight rows 1024 bytes apart,
// 128-byte swizzle. Adding 2 moves along the rows by 32 bytes, which the hardware exchanges like the copy did.
__device__ inline unsigned long long descriptor(unsigned address) {
    return (unsigned long long)((address & 0x3FFFF) >> 4) | 1ull << 16 | (unsigned long long)(1024 >> 4) << 32 | 1ull << 62;
}
// The same of a factor that lies across: a row of 128 bytes has 64 of its rows (or columns) for one k, the next row those for the next
// k, and the next 64 begin `further` bytes on (if a factor has no more than 64, `descriptor` says the same). Adding 128 moves along k
// by 16.
__device__ inline unsigned long long descriptor_across(unsigned address, unsigned further) {
    return (unsigned long long)((address & 0x3FFFF) >> 4) | (unsigned long long)(further >> 4) << 16 |
           (unsigned long long)(1024 >> 4) << 32 | 1ull << 62;
}
// Sums that threads have written may be added to from here on.
__device__ inline void products_begin() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ inline void products_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Waits until at most N of the latest groups of products are still under way.
template <int N> __device__ inline void products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Registers of a thread from here on: what a warp group gives back, another one may take.
template <int N> __device__ inline void registers_give() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> __device__ inline void registers_take() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

// Types of factors: values of a row of 128 bytes.
struct Tf32 {
    using Value = float;
};
struct Bf16 {
    using Value = unsigned short;
};
// Two sums as two bf16, `low` first in memory: to nearest, ties to even.
__device__ inline unsigned pair(float low, float high) {
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}
// Both factors in bf16, across.
struct Bf16Across {};

// sum (64×N) += a (64×k) · bᵀ (N×k) by four warps, k being 32 bytes. Of the sums a thread has two of each eight columns in two rows:
// warp w, lane l hold sum[4j + 2h + e] = row 16w + l / 4 + 8h, column 8j + l % 4 · 2 + e.
#define TEN(T) "%" #T "0, %" #T "1, %" #T "2, %" #T "3, %" #T "4, %" #T "5, %" #T "6, %" #T "7, %" #T "8, %" #T "9, "
#define FOUR(I) "+f"(sum[I]), "+f"(sum[I + 1]), "+f"(sum[I + 2]), "+f"(sum[I + 3])
#define SIXTEEN(I) FOUR(I), FOUR(I + 4), FOUR(I + 8), FOUR(I + 12)
#define PRODUCT_OF(TYPE, N, SHAPE, LIST, A, B, FLAGS, ...)                                                                                              \
    __device__ inline void product(TYPE, float (&sum)[N / 2], unsigned long long a, unsigned long long b) {                      \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #N SHAPE " {" LIST "}, " A ", " B ", 1, 1, 1" FLAGS ";"                 \
                     : __VA_ARGS__ : "l"(a), "l"(b));                                                                            \
    }
// For 16 bits the flags say of each factor whether it has k along its rows or lies across.
#define PRODUCT(N, LIST, A, B, ...)                                                                                              \
    PRODUCT_OF(Tf32, N, "k8.f32.tf32.tf32", LIST, A, B, "", __VA_ARGS__)                                                         \
    PRODUCT_OF(Bf16, N, "k16.f32.bf16.bf16", LIST, A, B, ", 0, 0", __VA_ARGS__)                                                  \
    PRODUCT_OF(Bf16Across, N, "k16.f32.bf16.bf16", LIST, A, B, ", 1, 1", __VA_ARGS__)
PRODUCT(128, TEN() TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) "%60, %61, %62, %63", "%64", "%65",
        SIXTEEN(0), SIXTEEN(16), SIXTEEN(32), SIXTEEN(48))
PRODUCT(256, TEN() TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9) TEN(10) TEN(11)
        "%120, %121, %122, %123, %124, %125, %126, %127", "%128", "%129",
        SIXTEEN(0), SIXTEEN(16), SIXTEEN(32), SIXTEEN(48), SIXTEEN(64), SIXTEEN(80), SIXTEEN(96), SIXTEEN(112))
#undef TEN
#undef FOUR
#undef SIXTEEN
#undef PRODUCT
#undef PRODUCT_OF
