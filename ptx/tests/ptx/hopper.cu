// Products of warp groups and bulk copies (sm_90a), for hopper.rs. Compiled with
//   nvcc -ptx -O3 -lineinfo -fmad=false -std=c++17 -arch=compute_90a hopper.cu
#include <cstdint>

using u32 = uint32_t;
using u64 = uint64_t;

struct alignas(64) TensorMap { char opaque[128]; };

__device__ __forceinline__ u32 shared(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// --- mbarriers -------------------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void mbarrier_init(u64* b, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared(b)), "r"(count) : "memory");
}
__device__ __forceinline__ void expect(u64* b, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared(b)), "r"(bytes) : "memory");
}
__device__ __forceinline__ void arrive(u64* b) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared(b)) : "memory");
}
__device__ __forceinline__ void wait(u64* b, u32 parity) {
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "AGAIN:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
        "@!p bra AGAIN;\n"
        "}\n" ::"r"(shared(b)), "r"(parity) : "memory");
}
__device__ __forceinline__ void fence_init() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// --- bulk copies -----------------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void load(void* to, const TensorMap* map, int x, int y, u64* b) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
                     shared(to)),
                 "l"(map), "r"(x), "r"(y), "r"(shared(b))
                 : "memory");
}
__device__ __forceinline__ void store(const TensorMap* map, int x, int y, const void* from) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map), "r"(x), "r"(y), "r"(shared(from))
                 : "memory");
}
__device__ __forceinline__ void store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
__device__ __forceinline__ void store_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }

// --- products --------------------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> __device__ __forceinline__ void wait_products() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// Keeps the compiler from writing registers of a product behind the fence before it.
template <class T, int N> __device__ __forceinline__ void keep(T (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) {
        if constexpr (sizeof(T) == 4 && T(0.5f) != T(0)) asm volatile("" : "+f"(d[i])::"memory");
        else asm volatile("" : "+r"(d[i])::"memory");
    }
}

// Matrix descriptor: offsets in bytes, swizzle 1 for 128 bytes, 2 for 64, 3 for 32.
__device__ __forceinline__ u64 matrix(const void* p, u32 lead, u32 stride, u32 swizzle) {
    return (u64)((shared(p) & 0x3ffff) >> 4) | (u64)(lead >> 4) << 16 | (u64)(stride >> 4) << 32 | (u64)swizzle << 62;
}

#define L8(i) "%" #i "0, %" #i "1, %" #i "2, %" #i "3, %" #i "4, %" #i "5, %" #i "6, %" #i "7, %" #i "8, %" #i "9"
#define SUMS64                                                                                                                       \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, " L8(1) ", " L8(2) ", " L8(3) ", " L8(4) ", " L8(5) ", %60, %61, %62, %63"
#define SUMS32 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, " L8(1) ", " L8(2) ", %30, %31"
#define F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F16(d, i) F4(d, i), F4(d, i + 4), F4(d, i + 8), F4(d, i + 12)
#define F64(d) F16(d, 0), F16(d, 16), F16(d, 32), F16(d, 48)
#define F32(d) F16(d, 0), F16(d, 16)

__device__ __forceinline__ void product_tf32_n128(float (&d)[64], u64 a, u64 b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 {" SUMS64 "}, %64, %65, 1, 1, 1;" : F64(d) : "l"(a), "l"(b));
}
__device__ __forceinline__ void product_bf16_n64_mn(float (&d)[32], u64 a, u64 b, int scale) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" SUMS32 "}, %32, %33, p, 1, 1, 1, 1;\n}\n"
        : F32(d)
        : "l"(a), "l"(b), "r"(scale));
}
__device__ __forceinline__ void product_bf16_n64_rs(float (&d)[32], const u32 (&a)[4], u64 b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" SUMS32 "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 0;"
                 : F32(d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void product_f16_n8(u32 (&d)[2], u64 a, u64 b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f16.f16.f16 {%0, %1}, %2, %3, 1, -1, 1, 0, 0;" : "+r"(d[0]), "+r"(d[1]) : "l"(a), "l"(b));
}

// C (m × n) = A (m × k) · B (n × k)ᵀ in tf32: a ring of four stages, one warp that copies, two warp groups that multiply.
constexpr int STAGES = 4, TILE_M = 128, TILE_N = 128, TILE_K = 32;

extern "C" __global__ void __launch_bounds__(384) gemm_tf32(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b,
                                                            const __grid_constant__ TensorMap map_c, int k) {
    extern __shared__ char raw[];
    // Swizzles go by addresses: tiles begin at multiples of 1024.
    char* base = raw + ((1024 - (shared(raw) & 1023)) & 1023);
    float* a = (float*)base;
    float* b = a + STAGES * TILE_M * TILE_K;
    u64* full = (u64*)(b + STAGES * TILE_N * TILE_K);
    u64* empty = full + STAGES;
    int m0 = blockIdx.x * TILE_M, n0 = blockIdx.y * TILE_N, group = threadIdx.x / 128, steps = (k + TILE_K - 1) / TILE_K;
    if (threadIdx.x == 0) {
#pragma unroll 1
        for (int s = 0; s < STAGES; s++) {
            mbarrier_init(&full[s], 1);
            mbarrier_init(&empty[s], 2);
        }
        fence_init();
    }
    __syncthreads();
    if (group == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == 0) {
#pragma unroll 1
            for (int i = 0; i < steps; i++) {
                int s = i % STAGES;
                wait(&empty[s], (i / STAGES & 1) ^ 1);
                expect(&full[s], (TILE_M + TILE_N) * TILE_K * 4);
                load(a + s * TILE_M * TILE_K, &map_a, i * TILE_K, m0, &full[s]);
                load(b + s * TILE_N * TILE_K, &map_b, i * TILE_K, n0, &full[s]);
            }
        }
        return;
    }
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    float d[64];
#pragma unroll
    for (int i = 0; i < 64; i++) d[i] = 0;
    keep(d);
#pragma unroll 1
    for (int i = 0; i < steps; i++) {
        int s = i % STAGES;
        wait(&full[s], i / STAGES & 1);
        u64 da = matrix(a + (s * TILE_M + (group - 1) * 64) * TILE_K, 16, 1024, 1), db = matrix(b + s * TILE_N * TILE_K, 16, 1024, 1);
        fence();
#pragma unroll
        for (int j = 0; j < 4; j++) product_tf32_n128(d, da + 2 * j, db + 2 * j);
        commit();
        wait_products<0>();
        if (threadIdx.x % 128 == 0) arrive(&empty[s]);
    }
    // Both groups are past their last product: the stages can hold the result, 32 columns to a box.
    asm volatile("bar.sync 1, 256;" ::: "memory");
    float* c = a + (group - 1) * 64 * TILE_N;
    int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 64; i++) {
        int row = warp * 16 + lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
        c[(column / 32 * 64 + row) * 32 + column % 32] = d[i];
    }
    fence_async();
    asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
    if (threadIdx.x % 128 == 0) {
        for (int j = 0; j < TILE_N / 32; j++) store(&map_c, n0 + j * 32, m0 + (group - 1) * 64, c + j * 64 * 32);
        store_commit();
        store_read();
    }
}

// C (64 × 64) = Aᵀ · B with A (k × 64) and B (k × 64) as they lie: both along M and N. k is a multiple of 16.
extern "C" __global__ void __launch_bounds__(128) gemm_bf16_mn(const __grid_constant__ TensorMap map_a, const __grid_constant__ TensorMap map_b, float* c,
                                                              int k) {
    __shared__ alignas(1024) unsigned short a[16 * 64], b[16 * 64];
    __shared__ u64 full;
    if (threadIdx.x == 0) {
        mbarrier_init(&full, 1);
        fence_async();
    }
    __syncthreads();
    float d[32];
#pragma unroll
    for (int i = 0; i < 32; i++) d[i] = 1e30f;
    keep(d);
#pragma unroll 1
    for (int i = 0; i < k / 16; i++) {
        if (threadIdx.x == 0) {
            expect(&full, 4096);
            load(a, &map_a, 0, i * 16, &full);
            load(b, &map_b, 0, i * 16, &full);
        }
        wait(&full, i & 1);
        fence();
        product_bf16_n64_mn(d, matrix(a, 2048, 1024, 1), matrix(b, 2048, 1024, 1), i > 0);
        commit();
        wait_products<0>();
        __syncthreads();
    }
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 32; i++) c[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
}

// C (64 × 64) = A (64 × 16) · B (64 × 16)ᵀ: A from registers, B written by the threads, without a swizzle.
extern "C" __global__ void __launch_bounds__(128) product_rs(const u32* a, const u32* b, float* c) {
    __shared__ alignas(128) u32 tile[64 * 8];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    // Core matrices of 8 rows and 16 bytes: those of the first half of k, then those of the second.
    for (int i = threadIdx.x; i < 64 * 8; i += 128) {
        int row = i / 8, word = i % 8;
        tile[word / 4 * 256 + row / 8 * 32 + row % 8 * 4 + word % 4] = b[i];
    }
    fence_async();
    __syncthreads();
    u32 f[4];
    float d[32];
#pragma unroll
    for (int i = 0; i < 4; i++) f[i] = a[(warp * 16 + lane / 4 + i % 2 * 8) * 8 + lane % 4 + i / 2 * 4];
#pragma unroll
    for (int i = 0; i < 32; i++) d[i] = 0;
    keep(d);
    keep(f);
    fence();
    product_bf16_n64_rs(d, f, matrix(tile, 1024, 128, 0));
    commit();
    wait_products<0>();
#pragma unroll
    for (int i = 0; i < 32; i++) c[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
}

// C (64 × 8) = −A (64 × 16) · B (8 × 16)ᵀ + C in f16, rows of 32 bytes with the swizzle of 32; A and B come and C goes as runs of bytes.
extern "C" __global__ void __launch_bounds__(128) product_f16(const u32* a, const u32* b, u32* c) {
    __shared__ alignas(1024) u32 x[64 * 8], y[8 * 8], z[64 * 4];
    __shared__ u64 full;
    if (threadIdx.x == 0) {
        mbarrier_init(&full, 1);
        fence_async();
        expect(&full, 64 * 32 + 8 * 32);
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared(x)), "l"(a), "r"(64 * 32),
                     "r"(shared(&full))
                     : "memory");
        asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared(y)), "l"(b), "r"(8 * 32),
                     "r"(shared(&full))
                     : "memory");
    }
    __syncthreads();
    wait(&full, 0);
    u32 d[2] = {0x3c003c00, 0x3c003c00};
    keep(d);
    fence();
    product_f16_n8(d, matrix(x, 16, 256, 3), matrix(y, 16, 256, 3));
    commit();
    wait_products<0>();
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    z[(warp * 16 + lane / 4) * 4 + lane % 4] = d[0];
    z[(warp * 16 + lane / 4 + 8) * 4 + lane % 4] = d[1];
    fence_async();
    __syncthreads();
    if (threadIdx.x == 0) {
        asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(c), "r"(shared(z)), "r"(64 * 16) : "memory");
        store_commit();
        store_read();
    }
}
