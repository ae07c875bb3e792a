// Bilinear resize and its gradient. Positions are whole numbers, see axis.cuh.
// Values are all f32 or all bf16, by the kernel's name.
#include "axis.cuh"
#include "bf16.cuh"
#include "vec4.cuh"

struct Bilinear {
    Axis y, x;     // down and across
    unsigned c;    // channels
    unsigned vec;  // 4: pointers and channels allow float4, else 1
};

// (1 − l)·a + l·b
template <typename V> __device__ __forceinline__ V mix(float l, V a, V b) { return madd(l, b, (1 - l) * a); }

// Threads run along a row of the output, `c` groups of channels to a pixel; each walks down four rows, so that what it reads
// across is worked out once.
template <typename S> __device__ __forceinline__ void resize(S *y, const S *x, const Bilinear &z, unsigned c) {
    unsigned at = blockIdx.x * 32 + threadIdx.x;
    if (at >= z.x.out * c) return;
    Tap across = tap(z.x, at / c);
    unsigned row = z.x.len * c, left = across.i0 * c + at % c, right = across.i1 * c + at % c;
    x += (size_t)blockIdx.z * z.y.len * row;
    y += (size_t)blockIdx.z * z.y.out * z.x.out * c + at;
    #pragma unroll
    for (unsigned i = 0; i < 4; i++) {
        unsigned p = blockIdx.y * 32 + i * 8 + threadIdx.y;
        if (p >= z.y.out) return;
        Tap down = tap(z.y, p);
        const S *top = x + (size_t)down.i0 * row, *bottom = x + (size_t)down.i1 * row;
        auto a = mix(down.l, widen(top[left]), widen(bottom[left])), b = mix(down.l, widen(top[right]), widen(bottom[right]));
        put(y[(size_t)p * z.x.out * c], mix(across.l, a, b));
    }
}

// bilinear_fwd: bilinear resize.                                       twin: src/ops/bilinear.rs
// computes  y[n,p,q,c] = (1−l)·((1−k)·x[n,i0,j0,c] + k·x[n,i0,j1,c]) + l·((1−k)·x[n,i1,j0,c] + k·x[n,i1,j1,c])
// shapes    x N·H·W·C   y N·P·Q·C      contiguous, C innermost
// grid      x: 32 values (or float4) of a row   y: 32 rows   z: pictures    32×8 threads, 4 rows each
// memory    y written once, x read once from DRAM and up to four times from L1; float4 along C where C % 4 == 0
// numerics  positions exact, l and k correctly rounded; down first, then across
// measured  H200: 7.3 µs, 758 GB/s (4×256×256×3 to 224×224; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    bilinear_fwd_f32(float *__restrict__ y, const float *__restrict__ x, Bilinear z) {
    if (z.vec == 4) resize((float4 *)y, (const float4 *)x, z, z.c / 4);
    else resize(y, x, z, z.c);
}

extern "C" __global__ void __launch_bounds__(256)
    bilinear_fwd_bf16(Bf16 *__restrict__ y, const Bf16 *__restrict__ x, Bilinear z) {
    if (z.vec == 4) resize((Bf16x4 *)y, (const Bf16x4 *)x, z, z.c / 4);
    else resize(y, x, z, z.c);
}

template <typename S> __device__ __forceinline__ void gather(S *dx, const S *dy, const Bilinear &z, unsigned c) {
    using V = decltype(widen(*dy));
    unsigned at = blockIdx.x * 32 + threadIdx.x, i = blockIdx.y * 8 + threadIdx.y;
    if (at >= z.x.len * c || i >= z.y.len) return;
    unsigned j = at / c, row = z.x.out * c;
    Readers down = readers(z.y, i), across = readers(z.x, j);
    dy += (size_t)blockIdx.z * z.y.out * row + at % c;
    V sum = {};
    for (int p = down.first; p < down.last; p++) {
        V line = {};
        for (int q = across.first; q < across.last; q++) line = madd(weight(z.x, q, j), widen(dy[(size_t)p * row + q * c]), line);
        sum = madd(weight(z.y, p, i), line, sum);
    }
    put(dx[((size_t)blockIdx.z * z.y.len + i) * z.x.len * c + at], z.y.inv * z.x.inv * sum);
}

// bilinear_bwd: gradient of a resize, every input pixel gathering from the outputs that read it.    twin: src/ops/bilinear.rs
// computes  dx[n,i,j,c] = Σ_p Σ_q a[p,i] b[q,j] dy[n,p,q,c]      a, b: the weights of the forward pass
// shapes    dy N·P·Q·C   dx N·H·W·C      contiguous, C innermost
// grid      x: 32 values (or float4) of a row   y: 8 rows   z: pictures     32×8 threads, 1 value each
// memory    dx written once, dy read once from DRAM and four times from L1; float4 along C where C % 4 == 0
// numerics  whole-numbered weights, scaled at the end; rows from the top, in each from the left: same bits every run
// measured  H200: 19.5 µs, 445 GB/s (4×256×256×3 to 224×224; docs/gpu-runs.md)
extern "C" __global__ void __launch_bounds__(256)
    bilinear_bwd_f32(float *__restrict__ dx, const float *__restrict__ dy, Bilinear z) {
    if (z.vec == 4) gather((float4 *)dx, (const float4 *)dy, z, z.c / 4);
    else gather(dx, dy, z, z.c);
}

extern "C" __global__ void __launch_bounds__(256)
    bilinear_bwd_bf16(Bf16 *__restrict__ dx, const Bf16 *__restrict__ dy, Bilinear z) {
    if (z.vec == 4) gather((Bf16x4 *)dx, (const Bf16x4 *)dy, z, z.c / 4);
    else gather(dx, dy, z, z.c);
}

// One axis of `before × axis × after` values.
struct Along {
    Axis axis;
    unsigned before, after;
};

// bilinear_axis_bwd: gradient of a resize along one axis.              twin: src/ops/bilinear.rs
// computes  dx[b,i,r] = Σ_p a[p,i] dy[b,p,r]      a: the weights of the forward pass
// shapes    dy B·P·R   dx B·H·R      contiguous; rows of a picture: B = N, R = Q·C, columns: B = N·H, R = C
// grid      x: 256 values of dx                                        256 threads, 1 value each
// memory    dx written once, dy read once from DRAM and twice from L1
// numerics  whole-numbered weights, scaled at the end; sum from the first reader on: same bits every run
//
// Where a picture grew a lot, a pixel has many readers in both directions: first down, then across, it sums rows + columns of
// them in place of rows · columns.
extern "C" __global__ void __launch_bounds__(256)
    bilinear_axis_bwd_f32(float *__restrict__ dx, const float *__restrict__ dy, Along z) {
    unsigned at = blockIdx.x * 256 + threadIdx.x;
    if (at >= z.before * z.axis.len * z.after) return;
    unsigned r = at % z.after, i = at / z.after % z.axis.len, b = at / z.after / z.axis.len;
    dy += (size_t)b * z.axis.out * z.after + r;
    Readers from = readers(z.axis, i);
    float sum = 0;
    for (int p = from.first; p < from.last; p++) sum = fmaf(weight(z.axis, p, i), dy[(size_t)p * z.after], sum);
    dx[at] = z.axis.inv * sum;
}
