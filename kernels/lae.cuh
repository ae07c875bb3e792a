// What all kernels share: streams of values four at a time, sums in a fixed order, tiles of channels.
#pragma once
#include "bf16.cuh"

// A shape as the host passes it: n pictures of h x w pixels with c channels, contiguous, channels innermost (NHWC).
struct Shape {
    unsigned n, h, w, c;
};

// ---- Streams. A thread works on four neighbours; every buffer begins at a multiple of 16 bytes, so whole fours move as one
// float4 and only the last one to three values of a buffer move singly. Launched by `Call::elements`.

// Where this thread's four values begin.
__device__ inline size_t my_four() { return 4 * (size_t(blockIdx.x) * blockDim.x + threadIdx.x); }

// x[i..i+4], with zeros from `count` on. Needs i < count.
__device__ inline float4 load4(const float *__restrict__ x, size_t i, unsigned count) {
    if (count - i >= 4) return *reinterpret_cast<const float4 *>(x + i);
    return {x[i], count - i > 1 ? x[i + 1] : 0, count - i > 2 ? x[i + 2] : 0, 0};
}

// y[i..i+4] = v, up to `count`.
__device__ inline void store4(float *__restrict__ y, size_t i, unsigned count, float4 v) {
    if (count - i >= 4) {
        *reinterpret_cast<float4 *>(y + i) = v;
        return;
    }
    y[i] = v.x;
    if (count - i > 1) y[i + 1] = v.y;
    if (count - i > 2) y[i + 2] = v.z;
}

// The same for bf16, four of which move as eight bytes.
__device__ inline float4 load4(const Bf16 *__restrict__ x, size_t i, unsigned count) {
    if (count - i >= 4) return widen(*reinterpret_cast<const Bf16x4 *>(x + i));
    return {widen(x[i]), count - i > 1 ? widen(x[i + 1]) : 0, count - i > 2 ? widen(x[i + 2]) : 0, 0};
}
__device__ inline void store4(Bf16 *__restrict__ y, size_t i, unsigned count, float4 v) {
    if (count - i >= 4) {
        put(*reinterpret_cast<Bf16x4 *>(y + i), v);
        return;
    }
    put(y[i], v.x);
    if (count - i > 1) put(y[i + 1], v.y);
    if (count - i > 2) put(y[i + 2], v.z);
}

// f on each of the four.
template <class F> __device__ float4 each(float4 a, F f) { return {f(a.x), f(a.y), f(a.z), f(a.w)}; }
template <class F> __device__ float4 each(float4 a, float4 b, F f) {
    return {f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w)};
}

// y[i] = f(x[i])
template <class S, class F> __device__ void map(S *__restrict__ y, const S *__restrict__ x, unsigned count, F f) {
    size_t i = my_four();
    if (i < count) store4(y, i, count, each(load4(x, i, count), f));
}

// y[i] = f(a[i], b[i])
template <class S, class F>
__device__ void map(S *__restrict__ y, const S *__restrict__ a, const S *__restrict__ b, unsigned count, F f) {
    size_t i = my_four();
    if (i < count) store4(y, i, count, each(load4(a, i, count), load4(b, i, count), f));
}

// f(i) for i = first, first + step, ... below n. Four at a time, so that their loads do not wait for one another.
template <class F> __device__ void stride(unsigned first, unsigned n, unsigned step, F f) {
    unsigned i = first;
    for (; i < n && n - i > 3 * step; i += 4 * step) {
        f(i);
        f(i + step);
        f(i + 2 * step);
        f(i + 3 * step);
    }
#pragma unroll 1
    for (; i < n; i += step) f(i);
}

// ---- Sums. The order depends on sizes alone. Few terms are added in f32, the rest in f64.

// Sum over a warp, by halves. Lane 0 returns the sum.
template <class T> __device__ T warp_sum(T v) {
    for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(~0u, v, d);
    return v;
}

// The largest of a warp, on every lane.
__device__ inline float warp_max(float v) {
    for (int d = 16; d > 0; d /= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, d));
    return v;
}

// Sum over a block of 256 threads: each warp by halves, then the eight warps in order. Thread 0 returns the sum. Once per kernel,
// as the shared memory is not guarded against a second call.
__device__ inline double block_sum(double v) {
    __shared__ double warps[8];
    v = warp_sum(v);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0)
        for (int i = 1; i < 8; i++) v += warps[i];
    return v;
}

// partial[block] = this block's share of the sum of `terms(i)`, which gives terms i..i+4; terms from `count` on are ignored. The
// kernel sum_fwd_f32 adds the shares. Blocks of 256 threads.
template <class F> __device__ void sum_terms(double *__restrict__ partial, unsigned count, F terms) {
    double sum = 0;
    for (size_t i = my_four(); i < count; i += 4 * size_t(gridDim.x) * blockDim.x) {
        float4 t = terms(i);
        float y = count - i > 1 ? t.y : 0, z = count - i > 2 ? t.z : 0, w = count - i > 3 ? t.w : 0;
        sum += (t.x + y) + (z + w);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Sums of N quantities over the rows (threadIdx.y) of a block of at most 256 threads, by halves. The threads of row 0 return the
// sums, and `shared`, of N · COLUMN values, keeps quantity k of thread x of row 0 at k · COLUMN + x. COLUMN is 256 threads and 4
// more, so that reading four quantities of four threads meets no bank twice.
constexpr unsigned COLUMN = 260;
template <int N> __device__ void column_sums(double (&v)[N], double *shared) {
    unsigned t = threadIdx.y * blockDim.x + threadIdx.x;
    for (int k = 0; k < N; k++) shared[k * COLUMN + t] = v[k];
    for (unsigned rows = blockDim.y; rows > 1;) {
        unsigned half = (rows + 1) / 2;
        __syncthreads();
        if (threadIdx.y + half < rows)
            for (int k = 0; k < N; k++) shared[k * COLUMN + t] += shared[k * COLUMN + t + half * blockDim.x];
        rows = half;
    }
    for (int k = 0; k < N; k++) v[k] = shared[k * COLUMN + t];
}

// ---- Tiles of channels. A thread owns V neighbouring channels (4 where the channels divide by 4, else 1) and walks over pixels,
// so that constants of a channel are loaded once. Neighbouring threads own neighbouring channels. See `device::tiles`.

template <int V> struct alignas(4 * V) Vec {
    float v[V];
    __device__ float &operator[](int k) { return v[k]; }
    __device__ float operator[](int k) const { return v[k]; }
};

// The V values at x[i]; i is a multiple of V.
template <int V> __device__ Vec<V> load(const float *__restrict__ x, size_t i) {
    return *reinterpret_cast<const Vec<V> *>(x + i);
}
template <int V> __device__ void store(float *__restrict__ y, size_t i, Vec<V> v) { *reinterpret_cast<Vec<V> *>(y + i) = v; }

template <int V> __device__ Vec<V> load(const Bf16 *__restrict__ x, size_t i) {
    if constexpr (V == 1) return {{widen(x[i])}};
    else {
        float4 v = widen(*reinterpret_cast<const Bf16x4 *>(x + i));
        return {{v.x, v.y, v.z, v.w}};
    }
}
template <int V> __device__ void store(Bf16 *__restrict__ y, size_t i, Vec<V> v) {
    if constexpr (V == 1) put(y[i], v[0]);
    else put(*reinterpret_cast<Bf16x4 *>(y + i), float4{v[0], v[1], v[2], v[3]});
}

// from[k][c..c+V] for N vectors of `channels`, read by row 0 and handed to the other rows, so that a block reads them once. All
// threads of the block come here, once per kernel.
template <int V, int N>
__device__ void load_shared(Vec<V> (&v)[N], const float *const (&from)[N], unsigned c, unsigned channels) {
    __shared__ Vec<V> shared[N][32];
    if (threadIdx.y == 0 && c < channels)
        for (int k = 0; k < N; k++) shared[k][threadIdx.x] = load<V>(from[k], c);
    __syncthreads();
    if (c < channels)
        for (int k = 0; k < N; k++) v[k] = shared[k][threadIdx.x];
}
