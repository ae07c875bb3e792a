// What the convolution kernels share: the sizes as the host passes them, and numbers with carries.
#pragma once

// twin: `Params` of src/ops/conv_launch.rs. Letters as in src/host/sizes.rs: x N·H·W·C, w K·R·S·(C/groups), y N·P·Q·K, with
//   y[n,p,q,k] = Σ_rsc x[n, p·stride_h − pad_h + r·dil_h, q·stride_w − pad_w + s·dil_w, c] · w[k,r,s,c]
struct Conv {
    int n, h, w, c, k, r, s, p, q;
    int stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, groups;
    int bias;   // values in the bias: channel j of the result gets bias[j mod `bias`]
    int span;   // wgrad: pixels of y that one split adds up
};

// A number in mixed radix, such as (row, column, channel): c and b each stay below a limit, a is free. `digits` divides once;
// from then on `add` carries, so that loops over rows, columns and channels do not divide.
struct Digits {
    int a, b, c;
};
__device__ inline Digits digits(unsigned value, unsigned b_limit, unsigned c_limit) {
    unsigned high = value / c_limit, top = high / b_limit;   // unsigned division is the cheaper one, and % would divide again
    return {(int)top, (int)(high - top * b_limit), (int)(value - high * c_limit)};
}
__device__ inline void add(Digits &x, Digits step, int b_limit, int c_limit) {
    x.c += step.c;
    if (x.c >= c_limit) x.c -= c_limit, x.b++;
    x.b += step.b;
    if (x.b >= b_limit) x.b -= b_limit, x.a++;
    x.a += step.a;
}

// 0 <= i < n in one comparison.
__device__ inline bool inside(int i, int n) {
    return (unsigned)i < (unsigned)n;
}
