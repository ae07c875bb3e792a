// Convolutions as matrix products that are never written out: result[m][n] = Σ_k a[m][k] · b[n][k].
//
//           m                      n                     k
//   fprop   pixel of y             filter                tap r, tap s, channel of x
//   dgrad   pixel of one phase     channel of x          tap r, tap s, filter
//   wgrad   filter                 tap r, tap s, channel  pixel of y
//
// A block computes a tile of the result. All threads copy DEPTH values of k of both operands into shared memory, asynchronously
// and STAGES − 1 steps ahead; zero padding and ragged edges are copies of size zero. Three parts are exchanged freely:
//
//   sources   what a tile of an operand is gathered from: Pixels, Filters, Channels, Gradients, Patches
//   layouts   how it lies in shared memory: Along (k runs along a row) or Across (k runs from row to row)
//   engines   who multiplies: Simt (f32 fma) or Tensor (mma.sync in tf32, or in three tf32 terms)
#pragma once
#include "conv.cuh"

constexpr int DEPTH = 16;   // values of k per step: one row of an Along tile is 64 bytes
constexpr int STAGES = 3;   // tiles in flight; 128×128 tiles then fill the 48 kB that need no permission

// ---------------------------------------------------------------------------------------------------------------- instructions

// V values from global to shared memory, or V zeros. `from` must be a valid address even then. Through L1 (.ca): the next taps of
// a filter read nearly the same pixels again.
template <int V> __device__ inline void copy_async(float *to, const float *from, bool there) {
    unsigned shared = (unsigned)__cvta_generic_to_shared(to);
    size_t global = __cvta_generic_to_global(from);
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                 ::"r"(shared), "l"(global), "n"(4 * V), "r"(there ? 4 * V : 0) : "memory");
}
__device__ inline void copies_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most N of this thread's latest groups of copies are still under way.
template <int N> __device__ inline void copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// The nearest value with 10 bits of fraction, ties away from zero.
__device__ inline unsigned tf32(float x) {
    unsigned y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}
// Four 8×4 matrices of 32-bit values: lane l names row l % 8 of matrix l / 8 and receives value l % 4 of row l / 4 of each.
__device__ inline void ldmatrix(unsigned (&f)[4], const float *row) {
    unsigned shared = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3]) : "r"(shared) : "memory");
}
// d += a (16×8) · b (8×8)
__device__ inline void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// --------------------------------------------------------------------------------------------------------------------- layouts
// `at(row, k)` is the place of a value; both layouts move chunks of 4 values about (XOR) so that no access below, by copies,
// by float4 or by fragments of the tensor cores, meets a bank twice.
// `index<T>(t, i)` is the row of the i-th of the T rows that thread t of ROWS / T owns in Simt.

// One row of DEPTH values per row of the operand.
template <int R> struct Along {
    static constexpr int ROWS = R, SIZE = R * DEPTH;
    static constexpr bool NEIGHBOURS = false;
    static __device__ int at(unsigned row, unsigned k) {
        return row * DEPTH + ((k / 4 ^ (row / 2 & 3)) * 4 + k % 4);
    }
    template <int T> static __device__ int index(unsigned t, unsigned i) {
        return t + R / T * i;
    }
    // Values k = 4g … 4g + 3 of a thread's rows.
    template <int T> static __device__ void load(float (&f)[T][4], const float *tile, unsigned t, unsigned g) {
        const float *own = tile + at(t, 4 * g);   // the XOR in `at` repeats every eight rows: other rows lie at fixed distances
#pragma unroll
        for (int i = 0; i < T; i++) {
            float4 v = *(const float4 *)(R / T % 8 == 0 ? own + R / T * i * DEPTH : tile + at(index<T>(t, i), 4 * g));
            f[i][0] = v.x, f[i][1] = v.y, f[i][2] = v.z, f[i][3] = v.w;
        }
    }
    // Rows base … base + 15 by k = 8g … 8g + 7 as four 8×4 matrices, in the order in which mma wants them.
    //   register                    0                 1                 2                 3
    //   FIRST: one first operand    rows 0-7, k 0-3   rows 8-15, k 0-3  rows 0-7, k 4-7   rows 8-15, k 4-7
    //   else: two second operands   rows 0-7, k 0-3   rows 0-7, k 4-7   rows 8-15, k 0-3  rows 8-15, k 4-7
    template <bool FIRST>
    static __device__ void fragment(unsigned (&f)[4], const float *tile, unsigned base, unsigned g, unsigned lane) {
        ldmatrix(f, tile + base * DEPTH +
                        at(FIRST ? lane % 16 : lane % 8 + lane / 16 * 8, 8 * g + (FIRST ? lane / 16 : lane / 8 % 2) * 4));
    }
};

// One row of the tile per value of k.
template <int R> struct Across {
    static constexpr int ROWS = R, WIDTH = (R + 3) / 4 * 4, SIZE = WIDTH * DEPTH;
    static constexpr bool NEIGHBOURS = R % 4 == 0;
    static __device__ int at(unsigned row, unsigned k) {
        return k * WIDTH + ((row / 4 ^ (WIDTH % 32 == 0 ? 2 * (k & 3) : 0)) * 4 + row % 4);
    }
    template <int T> static __device__ int index(unsigned t, unsigned i) {
        return T % 4 == 0 ? (i / 4 * (R / T) + t) * 4 + i % 4 : t * T + i;
    }
    template <int T> static __device__ void load(float (&f)[T][4], const float *tile, unsigned t, unsigned g) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            if constexpr (T % 4 == 0) {
#pragma unroll
                for (int i = 0; i < T; i += 4) {
                    float4 v = *(const float4 *)(tile + at(index<T>(t, i), 4 * g + e));
                    f[i][e] = v.x, f[i + 1][e] = v.y, f[i + 2][e] = v.z, f[i + 3][e] = v.w;
                }
            } else {
#pragma unroll
                for (int i = 0; i < T; i++) f[i][e] = tile[at(index<T>(t, i), 4 * g + e)];
            }
        }
    }
    template <bool FIRST>
    static __device__ void fragment(unsigned (&f)[4], const float *tile, unsigned base, unsigned g, unsigned lane) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int eight = FIRST ? i % 2 : i / 2, four = FIRST ? i / 2 : i % 2;
            f[i] = __float_as_uint(tile[at(base + lane / 4 + 8 * eight, 8 * g + lane % 4 + 4 * four)]);
        }
    }
};

// --------------------------------------------------------------------------------------------------------------------- sources
// `copy` starts the copies of the next DEPTH values of k.

// How threads share an Along tile: neighbours along k.
template <int R, int THREADS, int V> struct AlongShare {
    using Layout = Along<R>;
    static constexpr int STRIDE = THREADS * V / DEPTH, COUNT = (R + STRIDE - 1) / STRIDE;
    static __device__ int row(int i) {
        return threadIdx.x / (DEPTH / V) + i * STRIDE;
    }
    static __device__ int k() {
        return threadIdx.x % (DEPTH / V) * V;
    }
    static __device__ bool mine(int i) {
        return R % STRIDE == 0 || row(i) < R;
    }
};

// How threads share an Across tile: neighbours along the rows of the operand.
template <int R, int THREADS, int V> struct AcrossShare {
    using Layout = Across<R>;
    static constexpr int CHUNKS = Layout::WIDTH / V, COUNT = (DEPTH * CHUNKS + THREADS - 1) / THREADS;
    static __device__ int row(int i) {
        return (threadIdx.x + i * THREADS) % CHUNKS * V;
    }
    static __device__ int k(int i) {
        return (threadIdx.x + i * THREADS) / CHUNKS;
    }
    static __device__ bool mine(int i) {
        return DEPTH * CHUNKS % THREADS == 0 || k(i) < DEPTH;
    }
};

// One axis of a dense convolution: result i reads source i·step + base + tap·dir, of `size`, for taps 0 … taps − 1.
// Result i is number first + i·stride of its picture, tap t is number phase + t·stride of its filter.
struct Axis {
    int rows, step, base, dir, size, taps, first, phase, stride;
};
// fprop: y from x.
__device__ inline Axis forwards(int y, int x, int kernel, int stride, int pad, int dil) {
    return {y, stride, -pad, dil, x, kernel, 0, 0, 1};
}
// dgrad: x from y. Row h is reached by the taps r with p·stride = h + pad − r·dil: those of one residue, the phase (h + pad)
// mod stride, so each phase is a dense convolution of its own. dil is 1, or stride is.
__device__ inline Axis backwards(int phase, int x, int y, int kernel, int stride, int pad, int dil) {
    int first = (phase + stride - pad % stride) % stride;
    int rows = (max(x - first, 0) + stride - 1) / stride, taps = (max(kernel - phase, 0) + stride - 1) / stride;
    return {rows, 1, (first + pad) / stride, -dil, y, taps, first, phase, stride};
}

// Rows are pixels of the result, k = (tap r, tap s, channel).
template <int R, int THREADS, int V> struct Pixels : AlongShare<R, THREADS, V> {
    using Share = AlongShare<R, THREADS, V>;
    const float *src;
    Axis vertical, horizontal;
    int channels;
    Digits tap, step;
    int h[Share::COUNT], w[Share::COUNT], base[Share::COUNT];

    __device__ Pixels(const float *src, Axis v, Axis u, int channels, int first, int rows)
        : src(src), vertical(v), horizontal(u), channels(channels), tap(digits(Share::k(), u.taps, channels)),
          step(digits(DEPTH, u.taps, channels)) {
        Digits o = digits(first + Share::row(0), v.rows, u.rows), next = digits(Share::STRIDE, v.rows, u.rows);
#pragma unroll
        for (int i = 0; i < Share::COUNT; i++) {
            h[i] = o.b * v.step + v.base, w[i] = o.c * u.step + u.base;
            base[i] = ((o.a * v.size + h[i]) * u.size + w[i]) * channels;
            if (first + Share::row(i) >= rows) h[i] = -(1 << 28);   // padding, whatever the tap
            add(o, next, v.rows, u.rows);
        }
    }
    __device__ void copy(float *tile) {
        int dh = tap.a * vertical.dir, dw = tap.b * horizontal.dir, offset = (dh * horizontal.size + dw) * channels + tap.c;
#pragma unroll
        for (int i = 0; i < Share::COUNT; i++) {
            bool there = tap.a < vertical.taps && inside(h[i] + dh, vertical.size) && inside(w[i] + dw, horizontal.size);
            if (Share::mine(i))
                copy_async<V>(tile + Share::Layout::at(Share::row(i), Share::k()),
                              src + (there ? (unsigned)(base[i] + offset) : 0), there);
        }
        add(tap, step, horizontal.taps, channels);
    }
};

// fprop: rows are filters, k = (tap r, tap s, channel), which is how they lie in memory.
template <int R, int THREADS, int V> struct Filters : AlongShare<R, THREADS, V> {
    using Share = AlongShare<R, THREADS, V>;
    const float *w;
    int first, rows, depth, k = Share::k();

    __device__ Filters(const float *w, int first, int rows, int depth) : w(w), first(first), rows(rows), depth(depth) {}
    __device__ void copy(float *tile) {
#pragma unroll
        for (int i = 0; i < Share::COUNT; i++) {
            bool there = first + Share::row(i) < rows && k < depth;
            if (Share::mine(i))
                copy_async<V>(tile + Share::Layout::at(Share::row(i), Share::k()),
                              w + (there ? (unsigned)((first + Share::row(i)) * depth + k) : 0), there);
        }
        k += DEPTH;
    }
};

// dgrad: rows are channels of x, k = (tap r, tap s, filter).
template <int R, int THREADS, int V> struct Channels : AcrossShare<R, THREADS, V> {
    using Share = AcrossShare<R, THREADS, V>;
    const float *w;
    Axis vertical, horizontal;
    int first;
    Conv z;
    Digits step, tap[Share::COUNT];

    __device__ Channels(const float *w, Axis v, Axis u, int first, const Conv &z)
        : w(w), vertical(v), horizontal(u), first(first), z(z), step(digits(DEPTH, u.taps, z.k)) {
#pragma unroll
        for (int i = 0; i < Share::COUNT; i++) tap[i] = digits(Share::k(i), u.taps, z.k);
    }
    __device__ void copy(float *tile) {
#pragma unroll
        for (int i = 0; i < Share::COUNT; i++) {
            int r = vertical.phase + tap[i].a * vertical.stride, s = horizontal.phase + tap[i].b * horizontal.stride;
            bool there = tap[i].a < vertical.taps && first + Share::row(i) < z.c;
            int from = ((tap[i].c * z.r + r) * z.s + s) * z.c + first + Share::row(i);
            if (Share::mine(i))
                copy_async<V>(tile + Share::Layout::at(Share::row(i), Share::k(i)), w + (there ? (unsigned)from : 0), there);
            add(tap[i], step, horizontal.taps, z.k);
        }
    }
};

// wgrad: rows are filters, k = pixel of y.
template <int R, int THREADS, int V> struct Gradients : AcrossShare<R, THREADS, V> {
    using Share = AcrossShare<R, THREADS, V>;
    const float *dy;
    int first, rows, pixel, end;

    __device__ Gradients(const float *dy, int first, int rows, int from, int end)
        : dy(dy), first(first), rows(rows), pixel(from), end(end) {}
    __device__ void copy(float *tile) {
#pragma unroll
        for (int i = 0; i < Share::COUNT; i++) {
            bool there = pixel + Share::k(i) < end && first + Share::row(i) < rows;
            int from = (pixel + Share::k(i)) * rows + first + Share::row(i);
            if (Share::mine(i))
                copy_async<V>(tile + Share::Layout::at(Share::row(i), Share::k(i)), dy + (there ? (unsigned)from : 0), there);
        }
        pixel += DEPTH;
    }
};

// wgrad: rows are (tap r, tap s, channel), k = pixel of y.
template <int R, int THREADS, int V> struct Patches : AcrossShare<R, THREADS, V> {
    using Share = AcrossShare<R, THREADS, V>;
    static_assert(THREADS % Share::CHUNKS == 0, "a thread stays with its rows");
    const float *x;
    const Conv &z;
    int dh, dw, channel, pixel, end;
    bool row_there;
    Digits step, o[Share::COUNT];

    __device__ Patches(const float *x, int first, int from, int end, const Conv &z)
        : x(x), z(z), pixel(from), end(end), step(digits(DEPTH, z.p, z.q)) {
        Digits tap = digits(first + Share::row(0), z.s, z.c);
        dh = tap.a * z.dil_h - z.pad_h, dw = tap.b * z.dil_w - z.pad_w, channel = tap.c, row_there = tap.a < z.r;
#pragma unroll
        for (int i = 0; i < Share::COUNT; i++) o[i] = digits(from + Share::k(i), z.p, z.q);
    }
    __device__ void copy(float *tile) {
#pragma unroll
        for (int i = 0; i < Share::COUNT; i++) {
            int h = o[i].b * z.stride_h + dh, w = o[i].c * z.stride_w + dw;
            bool there = row_there && pixel + Share::k(i) < end && inside(h, z.h) && inside(w, z.w);
            int from = ((o[i].a * z.h + h) * z.w + w) * z.c + channel;
            if (Share::mine(i))
                copy_async<V>(tile + Share::Layout::at(Share::row(i), Share::k(i)), x + (there ? (unsigned)from : 0), there);
            add(o[i], step, z.p, z.q);
        }
        pixel += DEPTH;
    }
};

// --------------------------------------------------------------------------------------------------------------------- engines

// Where results go: row m at y + offset(m), n-th value of it at n; bias[n mod period] is added.
struct Result {
    float *y;
    const float *bias;
    int period, first_m, first_n, rows, columns;
    __device__ float bias_of(int n) const {
        return bias ? bias[(unsigned)n % (unsigned)period] : 0;   // past the last column it is not used
    }
};

// `step` of an engine multiplies one tile. A LATE engine starts the copies of a later tile between its loads of fragments and its
// products: the copies hide the latency of the loads, but cost registers. In f32 LATE is slower.

// f32 fma: a thread owns TM × TN results.
template <int TM, int TN> struct Simt {
    static constexpr bool LATE = false;
    template <class A, class B> struct On {
        static constexpr unsigned X = B::ROWS / TN, WARPS = X / 8 > 0 ? X / 8 : 1;
        // Where the threads of a block are 8 or 16 wide (EIGHT), the lanes of a warp lie in 4 rows of 8:
        //
        //   y 0    0  2  4  6  8 10 12 14
        //   y 1    1  3  5  7  9 11 13 15
        //   y 2   16 18 20 22 24 26 28 30
        //   y 3   17 19 21 23 25 27 29 31
        //
        // A 16-byte load from shared memory takes two passes through the banks instead of four if lanes 2i and 2i + 1 read the
        // same address, or lanes i and i + 2 in each four. Loads of B have the first property (lanes above each other share x),
        // loads of A the second (lanes side by side share y). Twelve threads in a row (X == 12) would meet banks twice in that
        // order: there three warps of 4 columns × 8 rows lie side by side.
        static constexpr bool EIGHT = X == 8 || X == 16;
        unsigned x = EIGHT     ? threadIdx.x / 2 % 8 + threadIdx.x / 32 % WARPS * 8
                     : X == 12 ? threadIdx.x / 32 * 4 + threadIdx.x % 4
                               : threadIdx.x % X;
        unsigned y = EIGHT     ? threadIdx.x % 2 + threadIdx.x / 16 % 2 * 2 + threadIdx.x / 32 / WARPS * 4
                     : X == 12 ? threadIdx.x / 4 % 8
                               : threadIdx.x / X;
        float sum[TM][TN] = {};

        // RAGGED: skips the values of k beyond `depth`, which are zeros. Only the `scalar` kernels do: where channels come in
        // fours they mostly come in sixteens, and the branch costs more than it saves (without it gradients are 3 to 5 % faster,
        // fprop 1 to 2 % slower).
        template <bool RAGGED, class Copies> __device__ void step(const float *a, const float *b, int depth, Copies) {
#pragma unroll
            for (int g = 0; g < DEPTH / 4; g++) {
                if (RAGGED && 4 * g >= depth) break;
                float fa[TM][4], fb[TN][4];
                A::template load<TM>(fa, a, y, g);
                B::template load<TN>(fb, b, x, g);
#pragma unroll
                for (int e = 0; e < 4; e++)
#pragma unroll
                    for (int j = 0; j < TN; j++)
#pragma unroll
                        for (int i = 0; i < TM; i++) sum[i][j] = fmaf(fa[i][e], fb[j][e], sum[i][j]);
            }
        }
        template <int V, class Offset> __device__ void store(const Result &to, Offset offset) {
            float bias[TN];
#pragma unroll
            for (int j = 0; j < TN; j++) bias[j] = to.bias_of(to.first_n + B::template index<TN>(x, j));
#pragma unroll
            for (int i = 0; i < TM; i++) {
                int m = to.first_m + A::template index<TM>(y, i);
                if (m >= to.rows) continue;
                float *row = to.y + offset(m);
#pragma unroll
                for (int j = 0; j < TN; j++) {
                    int n = to.first_n + B::template index<TN>(x, j);
                    if constexpr (V == 4 && B::NEIGHBOURS && TN % 4 == 0) {
                        if (j % 4 != 0 || n >= to.columns) continue;
                        const float *s = sum[i] + j, *b = bias + j;
                        *(float4 *)(row + n) = make_float4(s[0] + b[0], s[1] + b[1], s[2] + b[2], s[3] + b[3]);
                    } else {
                        if (n < to.columns) row[n] = sum[i][j] + bias[j];
                    }
                }
            }
        }
    };
};

// Tensor cores: a warp owns WM × WN results. With one term, each warp rounds the factors that it reads to tf32; rounding each
// factor once, in shared memory, would double the traffic of shared memory. With three terms, a factor is the sum of two tf32
// values, big and small, and all products but small · small are added: 21 bits of fraction.
template <int WM, int WN, int TERMS> struct Tensor {
    static constexpr bool LATE = true;
    template <class A, class B> struct On {
        unsigned lane = threadIdx.x % 32;
        unsigned m = threadIdx.x / 32 / (B::ROWS / WN) * WM, n = threadIdx.x / 32 % (B::ROWS / WN) * WN;
        float sum[WM / 16][WN / 8][4] = {};

        // Rounds to tf32; with three terms, `small` is what rounding took.
        static __device__ void round(unsigned (&big)[4], unsigned (&small)[4]) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float x = __uint_as_float(big[i]);
                big[i] = tf32(x);
                if constexpr (TERMS == 3) small[i] = tf32(x - __uint_as_float(big[i]));
            }
        }
        template <bool, class Copies> __device__ void step(const float *a, const float *b, int, Copies copies) {
#pragma unroll
            for (int g = 0; g < DEPTH / 8; g++) {
                unsigned fa[WM / 16][4], fb[WN / 16][4], small_a[WM / 16][4], small_b[WN / 16][4];
#pragma unroll
                for (int i = 0; i < WM / 16; i++) {
                    A::template fragment<true>(fa[i], a, m + 16 * i, g, lane);
                    round(fa[i], small_a[i]);
                }
#pragma unroll
                for (int j = 0; j < WN / 16; j++) {
                    B::template fragment<false>(fb[j], b, n + 16 * j, g, lane);
                    round(fb[j], small_b[j]);
                }
                if (g == 0) copies();
#pragma unroll
                for (int i = 0; i < WM / 16; i++)
#pragma unroll
                    for (int j = 0; j < WN / 8; j++) {
                        unsigned big[2] = {fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]};
                        if constexpr (TERMS == 3) {
                            unsigned small[2] = {small_b[j / 2][j % 2 * 2], small_b[j / 2][j % 2 * 2 + 1]};
                            mma(sum[i][j], small_a[i], big);
                            mma(sum[i][j], fa[i], small);
                        }
                        mma(sum[i][j], fa[i], big);
                    }
            }
        }
        template <int V, class Offset> __device__ void store(const Result &to, Offset offset) {
            int first = to.first_n + n + lane % 4 * 2;
            float2 bias[WN / 8];
#pragma unroll
            for (int j = 0; j < WN / 8; j++) bias[j] = make_float2(to.bias_of(first + 8 * j), to.bias_of(first + 8 * j + 1));
#pragma unroll
            for (int i = 0; i < WM / 16; i++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    int row = to.first_m + m + 16 * i + lane / 4 + 8 * half;
                    if (row >= to.rows) continue;
                    float *y = to.y + offset(row);
#pragma unroll
                    for (int j = 0; j < WN / 8; j++) {
                        const float *s = sum[i][j] + 2 * half;
                        if (first + 8 * j < to.columns)
                            *(float2 *)(y + first + 8 * j) = make_float2(s[0] + bias[j].x, s[1] + bias[j].y);
                    }
                }
        }
    };
};

// -------------------------------------------------------------------------------------------------------------------- the loop

template <class Engine, int V, bool LATE, class A, class B, class Offset>
__device__ inline void multiply(A a, B b, int depth, const Result &to, Offset offset) {
    static_assert(!LATE || Engine::LATE, "somebody must start the copies");
    __shared__ __align__(16) float tiles_a[STAGES][A::Layout::SIZE];
    __shared__ __align__(16) float tiles_b[STAGES][B::Layout::SIZE];
    typename Engine::template On<typename A::Layout, typename B::Layout> engine;
    int steps = (depth + DEPTH - 1) / DEPTH;
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < steps) a.copy(tiles_a[i]), b.copy(tiles_b[i]);
        copies_commit();
    }
    int now = 0, next = STAGES - 1;   // the tile that is multiplied, the tile that is filled
    for (int i = 0; i < steps; i++) {
        copies_wait<STAGES - 2>();
        __syncthreads();   // the copies of all threads into `now` have arrived, and no thread still reads `next`
        if constexpr (!LATE) {
            if (i + STAGES - 1 < steps) a.copy(tiles_a[next]), b.copy(tiles_b[next]);
            copies_commit();
        }
        engine.template step<V == 1>(tiles_a[now], tiles_b[now], depth - i * DEPTH, [&] {
            if constexpr (LATE) {
                // After the last steps these copies write zeros that no thread reads. A branch around them would keep the
                // compiler from moving products between them.
                a.copy(tiles_a[next]), b.copy(tiles_b[next]);
                copies_commit();
            }
        });
        now = now == STAGES - 1 ? 0 : now + 1;
        next = next == STAGES - 1 ? 0 : next + 1;
    }
    engine.template store<V>(to, offset);
}

// ---------------------------------------------------------------------------------------------------------------- three passes
// blockIdx.x counts tiles, those of one row of the result first: neighbouring blocks share what they gather.

template <class Engine, int BM, int BN, int THREADS, int V>
__device__ inline void fprop(const float *x, const float *w, const float *bias, float *y, const Conv &z) {
    int rows = z.n * z.p * z.q, depth = z.r * z.s * z.c, tiles_n = (z.k + BN - 1) / BN;
    int m = blockIdx.x / tiles_n * BM, n = blockIdx.x % tiles_n * BN;
    Axis v = forwards(z.p, z.h, z.r, z.stride_h, z.pad_h, z.dil_h), u = forwards(z.q, z.w, z.s, z.stride_w, z.pad_w, z.dil_w);
    multiply<Engine, V, Engine::LATE>(Pixels<BM, THREADS, V>(x, v, u, z.c, m, rows), Filters<BN, THREADS, V>(w, n, z.k, depth),
                                      depth, Result{y, bias, z.bias, m, n, rows, z.k}, [&](int m) { return m * z.k; });
}

// blockIdx.y counts phases.
template <class Engine, int BM, int BN, int THREADS, int V>
__device__ inline void dgrad(const float *dy, const float *w, const float *bias, float *dx, const Conv &z) {
    Axis v = backwards(blockIdx.y / z.stride_w, z.h, z.p, z.r, z.stride_h, z.pad_h, z.dil_h);
    Axis u = backwards(blockIdx.y % z.stride_w, z.w, z.q, z.s, z.stride_w, z.pad_w, z.dil_w);
    int rows = z.n * v.rows * u.rows, depth = v.taps * u.taps * z.k, tiles_n = (z.c + BN - 1) / BN;
    int m = blockIdx.x / tiles_n * BM, n = blockIdx.x % tiles_n * BN;
    if (m >= rows) return;   // phases differ in size by a row and a column
    v.taps = max(v.taps, 1), u.taps = max(u.taps, 1);   // without taps, depth is 0 and only the bias is written
    multiply<Engine, V, Engine::LATE>(Pixels<BM, THREADS, V>(dy, v, u, z.k, m, rows),
                                      Channels<BN, THREADS, BN % 4 == 0 ? V : 1>(w, v, u, n, z), depth,
                                      Result{dx, bias, z.bias, m, n, rows, z.c}, [&](int m) {
        if (v.stride * u.stride == 1) return m * z.c;
        Digits o = digits(m, v.rows, u.rows);
        return ((o.a * z.h + v.first + o.b * v.stride) * z.w + u.first + o.c * u.stride) * z.c;
    });
}

// blockIdx.y counts splits of the pixels; dw is [split][K][R][S][C].
template <class Engine, int BM, int BN, int THREADS, int V>
__device__ inline void wgrad(const float *x, const float *dy, float *dw, const Conv &z) {
    int columns = z.r * z.s * z.c, tiles_n = (columns + BN - 1) / BN;
    int m = blockIdx.x / tiles_n * BM, n = blockIdx.x % tiles_n * BN;
    int from = blockIdx.y * z.span, end = min(from + z.span, z.n * z.p * z.q);
    // Not LATE: with the copies between loads and products, ptxas runs out of registers.
    multiply<Engine, V, false>(Gradients<BM, THREADS, V>(dy, m, z.k, from, end), Patches<BN, THREADS, V>(x, n, from, end, z),
                               end - from, Result{dw + blockIdx.y * z.k * columns, nullptr, 1, m, n, z.k, columns},
                               [&](int m) { return m * columns; });
}
