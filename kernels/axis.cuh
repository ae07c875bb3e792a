// One axis of a bilinear resize, in whole numbers.                     twin: struct Axis of src/ops/bilinear.rs
//
// Output o reads the input at (o·step + base)/den, held inside 0 .. len − 1. With a whole numerator the pixel that it falls on
// and the distance from it are exact, and no rounding can move a sample across a pixel's edge.
#pragma once

struct Axis {
    int len, out;         // pixels of the input and of the output
    int step, base, den;  // position of output o in the input: (o·step + base) / den
    float inv;            // 1 / den
};

// What an output reads: input i0 with weight 1 − l and input i1 with weight l.
struct Tap {
    int i0, i1;
    float l;
};

// den times the position of output o.
__device__ __forceinline__ int position(const Axis &a, int o) { return min(max(o * a.step + a.base, 0), (a.len - 1) * a.den); }

__device__ __forceinline__ Tap tap(const Axis &a, int o) {
    int at = position(a, o), i0 = at / a.den;
    return {i0, min(i0 + 1, a.len - 1), (float)(at - i0 * a.den) / (float)a.den};
}

// Outputs first .. last − 1 are those that read input i with a weight above zero.
struct Readers {
    int first, last;
};

// The first output at or above den times a position.
__device__ __forceinline__ int reach(const Axis &a, int at) { return (max(at - a.base, 0) + a.step - 1) / a.step; }

__device__ __forceinline__ Readers readers(const Axis &a, int i) {
    if (a.step == 0) return {0, i == 0 ? a.out : 0};  // everything reads the first pixel
    int first = i == 0 ? 0 : reach(a, (i - 1) * a.den + 1);
    int last = i == a.len - 1 ? a.out : reach(a, (i + 1) * a.den);
    return {min(first, a.out), min(last, a.out)};
}

// Outputs first .. last − 1 are those whose first input is i: they lie at i or between i and i + 1. Every output starts once.
__device__ __forceinline__ Readers starts(const Axis &a, int i) {
    if (a.step == 0) return {0, i == 0 ? a.out : 0};
    int first = i == 0 ? 0 : reach(a, i * a.den), last = i == a.len - 1 ? a.out : reach(a, (i + 1) * a.den);
    return {min(first, a.out), min(last, a.out)};
}

// den times the weight with which output o, one of i's readers, reads input i.
__device__ __forceinline__ float weight(const Axis &a, int o, int i) { return (float)(a.den - abs(position(a, o) - i * a.den)); }
