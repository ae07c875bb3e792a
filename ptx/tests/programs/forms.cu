// Programs of ordinary CUDA C++ for tests/programs.rs, compiled once:
//   nvcc -ptx -arch=sm_80 -std=c++17 -I .../cccl forms.cu -o forms.ptx       (and -arch=sm_90 -o forms90.ptx)
#include <cooperative_groups.h>
#include <cstdio>
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/std/atomic>
#include <cuda_fp8.h>

#pragma nv_diag_suppress static_var_with_dynamic_init
namespace cg = cooperative_groups;
using device_ref = cuda::atomic_ref<unsigned, cuda::thread_scope_device>;
using block_ref = cuda::atomic_ref<unsigned, cuda::thread_scope_block>;

// Counts in shared memory, then into global memory; the last block to finish leaves the number of samples in bins[16].
extern "C" __global__ void histogram(const unsigned char *samples, unsigned n, unsigned *bins, unsigned *done)
{
    __shared__ unsigned local[16];
    if (threadIdx.x < 16)
        local[threadIdx.x] = 0;
    __syncthreads();
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        block_ref(local[samples[i] & 15]).fetch_add(1, cuda::memory_order_relaxed);
    __syncthreads();
    if (threadIdx.x < 16)
        device_ref(bins[threadIdx.x]).fetch_add(local[threadIdx.x], cuda::memory_order_relaxed);
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned before = device_ref(*done).fetch_add(1, cuda::memory_order_acq_rel);
        if (before == gridDim.x - 1) {
            unsigned sum = 0;
            for (int b = 0; b < 16; b++)
                sum += device_ref(bins[b]).load(cuda::memory_order_relaxed);
            bins[16] = sum;
        }
    }
}

// Four bits at a time, one block of 128: lanes with the same digit are ranked by match, warps by a scan.
extern "C" __global__ void radix_sort(unsigned *keys)
{
    __shared__ unsigned sorted[128], counts[16][4], total[16];
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    unsigned key = keys[threadIdx.x];
    for (int shift = 0; shift < 32; shift += 4) {
        unsigned digit = key >> shift & 15;
        if (lane < 16)
            counts[lane][warp] = 0;
        unsigned same = __match_any_sync(~0u, digit);
        unsigned rank = __popc(same & ((1u << lane) - 1));
        if (rank == 0)
            counts[digit][warp] = __popc(same);
        __syncthreads();
        if (threadIdx.x < 16) {
            unsigned sum = 0;
            for (int w = 0; w < 4; w++) {
                unsigned c = counts[threadIdx.x][w];
                counts[threadIdx.x][w] = sum;
                sum += c;
            }
            unsigned below = sum;
            for (int d = 1; d < 16; d *= 2) {
                unsigned up = __shfl_up_sync(0xffff, below, d);
                if (lane >= d)
                    below += up;
            }
            total[threadIdx.x] = below - sum;
        }
        __syncthreads();
        sorted[total[digit] + counts[digit][warp] + rank] = key;
        __syncthreads();
        key = sorted[threadIdx.x];
    }
    keys[threadIdx.x] = key;
}

extern "C" __global__ void divide(const unsigned __int128 *a, const unsigned __int128 *b, unsigned __int128 *q, __int128 *r, __int128 *p)
{
    int i = threadIdx.x;
    q[i] = a[i] / b[i];
    r[i] = (__int128)a[i] % (__int128)b[i];
    p[i] = (__int128)a[i] * (__int128)b[i];
}

// codes: both formats of each float; halves: each of the 256 codes of both formats.
extern "C" __global__ void eight_bits(const float *x, unsigned char *codes, unsigned short *halves)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    codes[2 * i] = __nv_cvt_float_to_fp8(x[i], __NV_SATFINITE, __NV_E4M3);
    codes[2 * i + 1] = __nv_cvt_float_to_fp8(x[i], __NV_SATFINITE, __NV_E5M2);
    halves[2 * i] = __half_raw(__nv_cvt_fp8_to_halfraw(i, __NV_E4M3)).x;
    halves[2 * i + 1] = __half_raw(__nv_cvt_fp8_to_halfraw(i, __NV_E5M2)).x;
}

// Sums of the blocks, then of these sums: all threads meet in between.
extern "C" __global__ void grid_sum(const float *x, unsigned n, float *partial, float *sum)
{
    __shared__ float tile[128];
    cg::grid_group grid = cg::this_grid();
    cg::thread_block block = cg::this_thread_block();
    float t = 0;
    for (unsigned i = grid.thread_rank(); i < n; i += grid.size())
        t += x[i];
    tile[threadIdx.x] = t;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        block.sync();
        if (threadIdx.x < half)
            tile[threadIdx.x] += tile[threadIdx.x + half];
    }
    if (threadIdx.x == 0)
        partial[blockIdx.x] = tile[0];
    grid.sync();
    if (grid.thread_rank() == 0) {
        float s = 0;
        for (unsigned b = 0; b < gridDim.x; b++)
            s += partial[b];
        *sum = s;
    }
}

// Groups of 64 threads, whose barriers lie in the part of shared memory that is the system's.
extern "C" __global__ void wide_tiles(int *x)
{
    __shared__ cg::block_tile_memory<256> memory;
    auto block = cg::this_thread_block(memory);
    auto tile = cg::tiled_partition<64>(block);
    __shared__ int tiles[4][64];
    int *mine = tiles[tile.meta_group_rank()];
    mine[tile.thread_rank()] = x[block.thread_rank()];
    tile.sync();
    x[block.thread_rank()] = mine[63 - tile.thread_rank()] + tile.shfl(tile.meta_group_rank(), 5);
}

// Copies tiles ahead of their use, which an mbarrier tells.
extern "C" __global__ void staged(const float *x, float *y, int tiles)
{
    __shared__ alignas(16) float stage[2][256];
    __shared__ cuda::barrier<cuda::thread_scope_block> full[2];
    if (threadIdx.x < 2)
        init(&full[threadIdx.x], blockDim.x);
    __syncthreads();
    auto begin = [&](int t) {
        cuda::memcpy_async(&stage[t % 2][4 * threadIdx.x], &x[256 * t + 4 * threadIdx.x], cuda::aligned_size_t<16>(16), full[t % 2]);
    };
    begin(0);
    float sum = 0;
    for (int t = 0; t < tiles; t++) {
        if (t + 1 < tiles)
            begin(t + 1);
        full[t % 2].arrive_and_wait();
        for (int i = 0; i < 4; i++)
            sum += stage[t % 2][255 - 4 * threadIdx.x - i] * (i + 1);
        __syncthreads();
    }
    y[threadIdx.x] = sum;
}

extern "C" __global__ void tells(const int *x)
{
    if (x[threadIdx.x] > 2)
        printf("x[%d] = %+05d (%s, %.3g)\n", threadIdx.x, x[threadIdx.x], x[threadIdx.x] % 2 ? "odd" : "even", x[threadIdx.x] / 7.0);
}

// A list that threads build from memory of their own.
struct Node {
    int value;
    Node *next;
};
extern "C" __global__ void lists(int n, int *sums)
{
    Node *list = nullptr;
    for (int i = 0; i < n; i++)
        list = new Node{i * (int)threadIdx.x, list};
    int sum = 0;
    while (list) {
        Node *next = list->next;
        sum += list->value;
        delete list;
        list = next;
    }
    sums[threadIdx.x] = sum;
}
