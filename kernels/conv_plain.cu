// conv2d_*_plain: any convolution, one thread per result, for the sizes that no tiled kernel takes.   twin: src/host/plain.rs
// computes  fprop  y[n,p,q,k] = Σ_rsc x[n, p·stride−pad+r·dil, …, c] · w[k,r,s,c] + b[k]
//           dgrad  dx[n,h,w,c] = Σ_rsk dy[n,p,q,k] · w[k,r,s,c] over p·stride = h+pad−r·dil, …, + b[c]
//           wgrad  dw[k,r,s,c] = Σ_npq dy[n,p,q,k] · x[n, p·stride−pad+r·dil, …, c]
// shapes    x N·H·W·C   w K·R·S·(C/groups)   y N·P·Q·K      c of a filter counts within its group
// grid      x: 256 results per block   wgrad y: one split of the pixels                          256 threads
// memory    neighbouring threads write, and mostly read, neighbouring channels; all reuse is left to the caches
// numerics  f32 fma in order r, s, channel (wgrad: n, p, q); same bits every run
#include "conv.cuh"

extern "C" __global__ void __launch_bounds__(256)
conv2d_fprop_plain_f32(const float *__restrict__ x, const float *__restrict__ w, const float *__restrict__ bias,
                       float *__restrict__ y, Conv z) {
    unsigned i = blockIdx.x * 256 + threadIdx.x;
    if (i >= (unsigned)(z.n * z.p * z.q) * z.k) return;
    int k = i % z.k, pixel = i / z.k;
    Digits o = digits(pixel, z.p, z.q);
    int cg = z.c / z.groups, group = k / (z.k / z.groups);
    float sum = 0;
    for (int r = 0; r < z.r; r++) {
        int h = o.b * z.stride_h - z.pad_h + r * z.dil_h;
        if (!inside(h, z.h)) continue;
        for (int s = 0; s < z.s; s++) {
            int v = o.c * z.stride_w - z.pad_w + s * z.dil_w;
            if (!inside(v, z.w)) continue;
            const float *xs = x + ((o.a * z.h + h) * z.w + v) * z.c + group * cg;
            const float *ws = w + ((k * z.r + r) * z.s + s) * cg;
            for (int c = 0; c < cg; c++) sum = fmaf(xs[c], ws[c], sum);
        }
    }
    y[i] = bias ? sum + bias[k % z.bias] : sum;
}

extern "C" __global__ void __launch_bounds__(256)
conv2d_dgrad_plain_f32(const float *__restrict__ dy, const float *__restrict__ w, const float *__restrict__ bias,
                       float *__restrict__ dx, Conv z) {
    unsigned i = blockIdx.x * 256 + threadIdx.x;
    if (i >= (unsigned)(z.n * z.h * z.w) * z.c) return;
    int c = i % z.c, pixel = i / z.c;
    Digits o = digits(pixel, z.h, z.w);
    int cg = z.c / z.groups, kg = z.k / z.groups, first = c / cg * kg;
    float sum = 0;
    for (int r = 0; r < z.r; r++) {
        int h = o.b + z.pad_h - r * z.dil_h;
        if (h < 0 || h % z.stride_h != 0 || h / z.stride_h >= z.p) continue;
        for (int s = 0; s < z.s; s++) {
            int v = o.c + z.pad_w - s * z.dil_w;
            if (v < 0 || v % z.stride_w != 0 || v / z.stride_w >= z.q) continue;
            const float *ds = dy + ((o.a * z.p + h / z.stride_h) * z.q + v / z.stride_w) * z.k + first;
            const float *ws = w + ((first * z.r + r) * z.s + s) * cg + c % cg;
            for (int k = 0; k < kg; k++) sum = fmaf(ds[k], ws[k * z.r * z.s * cg], sum);
        }
    }
    dx[i] = bias ? sum + bias[c % z.bias] : sum;
}

// Writes dw if there is one split, else partial sums [split][K][R][S][C/groups] for `sum_splits`.
extern "C" __global__ void __launch_bounds__(256)
conv2d_wgrad_plain_f32(const float *__restrict__ x, const float *__restrict__ dy, float *__restrict__ dw, Conv z) {
    int cg = z.c / z.groups, count = z.k * z.r * z.s * cg;
    int i = blockIdx.x * 256 + threadIdx.x;
    if (i >= count) return;
    int k = i / (z.r * z.s * cg);
    Digits tap = digits(i % (z.r * z.s * cg), z.s, cg);
    int c = k / (z.k / z.groups) * cg + tap.c;
    int from = blockIdx.y * z.span, to = min(from + z.span, z.n * z.p * z.q);
    Digits o = digits(from, z.p, z.q);
    float sum = 0;
    for (int pixel = from; pixel < to; pixel++, add(o, {0, 0, 1}, z.p, z.q)) {
        int h = o.b * z.stride_h - z.pad_h + tap.a * z.dil_h, v = o.c * z.stride_w - z.pad_w + tap.b * z.dil_w;
        if (inside(h, z.h) && inside(v, z.w)) sum = fmaf(dy[pixel * z.k + k], x[((o.a * z.h + h) * z.w + v) * z.c + c], sum);
    }
    dw[blockIdx.y * count + i] = sum;
}
