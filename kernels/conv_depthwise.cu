// Depthwise convolutions: as many groups as channels, a filter of R × S taps for each.           twin: src/ops/conv_depthwise.rs
//
// A block owns a tile of columns × a tile of channels and walks down the rows of a strip, part of a picture's rows. What it
// reads goes once through a ring of rows in shared memory, where all taps of all columns find it. A thread owns V channels of a
// column.
#include "conv.cuh"
#include "lae.cuh"

// One axis: tap t of result o reads place (o·up + base + t·dil)/down of the source, where that is a whole number. Places count
// from `skip` before the picture, so that none is negative. fprop steps `up` by its stride; its transpose, dgrad, has the taps
// in reverse.
struct Axis {
    int len, out, taps, up, base, dil, down, skip;
    __device__ int first(int o) const { return (o * up + base + down - 1) / down; }
    __device__ int end(int o) const { return (o * up + base + (taps - 1) * dil) / down + 1; }
};

struct Depthwise {
    Axis rows, columns;
    int channels, width;                // of the picture; results side by side in a tile
    int column_tiles, channel_tiles;
    int height, strips, units;          // rows of a strip, strips of a picture, strips of all pictures
    int per_block;                      // strips that a block adds up (wgrad)
    int ring, span;                     // rows of the ring and places of a row
    int tap0, tap_step;                 // the filter's tap that tap 0 is, and the step to the next
};

// The block's tile.
struct Corner {
    int strip, column, channel;
    __device__ Corner(const Depthwise &p, int wide) {
        Digits at = digits(blockIdx.x, p.column_tiles, p.channel_tiles);
        strip = at.a, column = at.b * p.width, channel = at.c * wide;
    }
};

// Brings places first .. end − 1 of the source's rows into the ring, of which those below `from` are there. All threads come
// here.
template <int V>
__device__ void fill(float *ring, const float *image, const Depthwise &p, int from, int end, int column, bool mine) {
    __syncthreads(); // the rows that go are read no more
    for (int u = from; u < end; u++) {
        int h = u - p.rows.skip;
        float *to = ring + ((u % p.ring) * p.span * blockDim.x + threadIdx.x) * V;
        for (int v = threadIdx.y; v < p.span && mine; v += blockDim.y) {
            int w = column + v - p.columns.skip;
            Vec<V> a = {};
            if (inside(h, p.rows.len) && inside(w, p.columns.len))
                a = load<V>(image, (size_t(h) * p.columns.len + w) * p.channels);
            *reinterpret_cast<Vec<V> *>(to + v * blockDim.x * V) = a;
        }
    }
    __syncthreads();
}

// K: taps of a side where they are known, so that filters stay in registers; 0: any. DOWN: whether places are divided.
template <int V, int K, bool DOWN>
__device__ void gather(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ w,
                       const float *__restrict__ bias, const Depthwise &p, float *shared) {
    int wide = blockDim.x * V, R = K ? K : p.rows.taps, S = K ? K : p.columns.taps, area = R * S, odd = area | 1;
    Corner at(p, wide);
    int c = at.channel + threadIdx.x * V, q = at.column + threadIdx.y, picture = at.strip / p.strips;
    int thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
    bool mine = c < p.channels, writes = mine && q < p.columns.out;
    float *filters = shared, *ring = shared + (wide * odd + 3) / 4 * 4;
    for (int i = thread; i < min(wide, p.channels - at.channel) * area; i += threads)
        filters[i / area * odd + i % area] = w[at.channel * area + i];
    __syncthreads();
    auto tap = [&](int t, int k) { return filters[(threadIdx.x * V + k) * odd + p.tap0 + t * p.tap_step]; };
    Vec<V> own[K ? K * K : 1], b = {};
    if (mine) {
        for (int k = 0; k < V && bias; k++) b[k] = bias[c + k];
        for (int t = 0; t < K * K; t++)
            for (int k = 0; k < V; k++) own[t][k] = tap(t, k);
    }
    const float *image = x + size_t(picture) * p.rows.len * p.columns.len * p.channels + c;
    int left = p.columns.first(at.column), top = at.strip % p.strips * p.height, next = 0;
    for (int o = top; o < min(top + p.height, p.rows.out); o++) {
        int first = p.rows.first(o), end = p.rows.end(o), slot = first % p.ring;
        fill<V>(ring, image, p, max(first, next), end, left, mine);
        next = end;
        if (!writes) continue;
        Vec<V> sum = {};
#pragma unroll
        for (int r = 0; r < R; r++) {
            int u = o * p.rows.up + p.rows.base + r * p.rows.dil;
            if (DOWN && u % p.rows.down) continue;
            int row = slot + (DOWN ? u / p.rows.down : u) - first;
            if (row >= p.ring) row -= p.ring;
#pragma unroll
            for (int s = 0; s < S; s++) {
                int v = q * p.columns.up + p.columns.base + s * p.columns.dil;
                if (DOWN && v % p.columns.down) continue;
                v = (DOWN ? v / p.columns.down : v) - left;
                Vec<V> a = *reinterpret_cast<Vec<V> *>(ring + ((row * p.span + v) * blockDim.x + threadIdx.x) * V);
                for (int k = 0; k < V; k++) sum[k] = fmaf(a[k], K ? own[r * S + s][k] : tap(r * S + s, k), sum[k]);
            }
        }
        for (int k = 0; k < V; k++) sum[k] += b[k];
        store<V>(y, ((size_t(picture) * p.rows.out + o) * p.columns.out + q) * p.channels + c, sum);
    }
}

template <int V, bool DOWN>
__device__ void gather(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ w,
                       const float *__restrict__ bias, const Depthwise &p, float *shared) {
    if (p.rows.taps == 3 && p.columns.taps == 3) gather<V, 3, DOWN>(y, x, w, bias, p, shared);
    else gather<V, 0, DOWN>(y, x, w, bias, p, shared);
}

// conv_depthwise_fprop
// computes  y[n,p,q,c] = Σ_rs x[n, p·stride−pad+r·dil, …, c] · w[c,r,s] + b[c]
// shapes    x N·H·W·C   w C·R·S   b C or none   y N·P·Q·C
// grid      x: strips × tiles of columns × tiles of channels      up to 256 threads: groups of V channels × columns, V = 4 or 1
// memory    x read once, but for taps that reach into the next tile or strip; w once per block; y written once
// numerics  f32 fma along r, s, then the bias
extern "C" __global__ void __launch_bounds__(256, 3) // left to itself, ptxas spills to fit four blocks
    conv_depthwise_fprop_f32(const float *__restrict__ x, const float *__restrict__ w, const float *__restrict__ bias,
                             float *__restrict__ y, Depthwise p) {
    extern __shared__ __align__(16) float shared[];
    if (p.channels % 4 == 0) gather<4, false>(y, x, w, bias, p, shared);
    else gather<1, false>(y, x, w, bias, p, shared);
}

// conv_depthwise_dgrad, for a stride above 1 (else it is conv_depthwise_fprop with the taps in reverse)
// computes  dx[n,h,w,c] = Σ_rs dy[n,p,q,c] · w[c,r,s] over p·stride = h+pad−r·dil, …, + b[c]
// shapes    dy N·P·Q·C   w C·R·S   b C or none   dx N·H·W·C
// grid      x: strips × tiles of columns × tiles of channels      up to 256 threads: groups of V channels × columns, V = 4 or 1
// memory    dy read once, but for taps that reach into the next tile or strip; w once per block; dx written once
// numerics  f32 fma along r, s from the last tap to the first, then the bias
extern "C" __global__ void __launch_bounds__(256, 2) // left to itself, ptxas spills
    conv_depthwise_dgrad_f32(const float *__restrict__ dy, const float *__restrict__ w, const float *__restrict__ bias,
                             float *__restrict__ dx, Depthwise p) {
    extern __shared__ __align__(16) float shared[];
    if (p.channels % 4 == 0) gather<4, true>(dx, dy, w, bias, p, shared);
    else gather<1, true>(dx, dy, w, bias, p, shared);
}

template <int V, int K>
__device__ void sums(float *__restrict__ dw, const float *__restrict__ x, const float *__restrict__ dy, const Depthwise &p,
                     float *shared) {
    constexpr int area = K * K;
    int wide = blockDim.x * V, thread = threadIdx.y * blockDim.x + threadIdx.x;
    Corner at(p, wide);
    int c = at.channel + threadIdx.x * V, q = at.column + threadIdx.y, left = p.columns.first(at.column);
    bool mine = c < p.channels, reads = mine && q < p.columns.out;
    Vec<V> sum[area] = {};
    for (int strip = at.strip * p.per_block; strip < min((at.strip + 1) * p.per_block, p.units); strip++) {
        int picture = strip / p.strips, top = strip % p.strips * p.height, next = 0;
        const float *image = x + size_t(picture) * p.rows.len * p.columns.len * p.channels + c;
        for (int o = top; o < min(top + p.height, p.rows.out); o++) {
            int first = p.rows.first(o), end = p.rows.end(o), slot = first % p.ring;
            fill<V>(shared, image, p, max(first, next), end, left, mine);
            next = end;
            if (!reads) continue;
            Vec<V> d = load<V>(dy, ((size_t(picture) * p.rows.out + o) * p.columns.out + q) * p.channels + c);
#pragma unroll
            for (int r = 0; r < K; r++) {
                int row = slot + r * p.rows.dil;
                if (row >= p.ring) row -= p.ring;
#pragma unroll
                for (int s = 0; s < K; s++) {
                    int v = threadIdx.y * p.columns.up + s * p.columns.dil;
                    Vec<V> a = *reinterpret_cast<Vec<V> *>(shared + ((row * p.span + v) * blockDim.x + threadIdx.x) * V);
                    for (int k = 0; k < V; k++) sum[r * K + s][k] = fmaf(d[k], a[k], sum[r * K + s][k]);
                }
            }
        }
    }
    // The ring becomes the sums of all threads, tap by tap, and behind them those of the block: channels × taps.
    Vec<V> *all = reinterpret_cast<Vec<V> *>(shared);
    float *block = shared + blockDim.y * wide;
#pragma unroll
    for (int t = 0; t < area; t++) {
        __syncthreads();
        all[thread] = sum[t];
        for (int rows = blockDim.y; rows > 1;) {
            int half = (rows + 1) / 2;
            __syncthreads();
            if (threadIdx.y + half < rows) {
                Vec<V> more = all[thread + half * blockDim.x];
                for (int k = 0; k < V; k++) sum[t][k] += more[k];
                all[thread] = sum[t];
            }
            rows = half;
        }
        for (int k = 0; k < V && threadIdx.y == 0; k++) block[(threadIdx.x * V + k) * area + t] = sum[t][k];
    }
    __syncthreads();
    dw += (size_t(at.strip) * p.column_tiles + at.column / p.width) * p.channels * area + at.channel * area;
    for (int i = thread; i < min(wide, p.channels - at.channel) * area; i += blockDim.x * blockDim.y) dw[i] = block[i];
}

// conv_depthwise_wgrad_K, for K × K taps
// computes  dw[part][c,r,s] = Σ_npq dy[n,p,q,c] · x[n, p·stride−pad+r·dil, …, c]; `sum_splits` adds the parts
// shapes    x N·H·W·C   dy N·P·Q·C   dw parts × C·R·S, or C·R·S where there is one part
// grid      x: `per_block` strips × tiles of columns × of channels    up to 256 threads: groups of V channels × columns
// memory    x read once, but for taps that reach into the next tile or strip, dy once; a part written once
// numerics  f32 fma of a thread's column along n, p; columns by halves
extern "C" __global__ void __launch_bounds__(256, 3) // left to itself, ptxas spills to fit four blocks
    conv_depthwise_wgrad_3_f32(const float *__restrict__ x, const float *__restrict__ dy, float *__restrict__ dw, Depthwise p) {
    extern __shared__ __align__(16) float shared[];
    if (p.channels % 4 == 0) sums<4, 3>(dw, x, dy, p, shared);
    else sums<1, 3>(dw, x, dy, p, shared);
}
extern "C" __global__ void __launch_bounds__(256)
    conv_depthwise_wgrad_5_f32(const float *__restrict__ x, const float *__restrict__ dy, float *__restrict__ dw, Depthwise p) {
    extern __shared__ __align__(16) float shared[];
    if (p.channels % 4 == 0) sums<4, 5>(dw, x, dy, p, shared);
    else sums<1, 5>(dw, x, dy, p, shared);
}
