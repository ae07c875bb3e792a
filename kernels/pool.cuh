// What poolings over square windows share: sizes, windows, and which pixel a thread has.
#pragma once
#include "lae.cuh"

struct Pool {
    Shape x, y;
    unsigned kernel, stride, pad;
};

// The part start..end of window `o` that lies inside 0..len.
struct Window {
    unsigned start, end;
    __device__ Window(unsigned o, unsigned len, Pool p) {
        unsigned from = o * p.stride; // counted from the padding's edge
        start = from > p.pad ? from - p.pad : 0;
        end = min(from + p.kernel - p.pad, len);
    }
};

// The windows begin..end of `windows` that hold place `i`: those that start at or before it and end behind it.
struct Holders {
    unsigned begin, end;
    __device__ Holders(unsigned i, unsigned windows, Pool p) {
        i += p.pad;
        begin = i < p.kernel ? 0 : (i - p.kernel) / p.stride + 1;
        end = min(i / p.stride + 1, windows);
    }
};

// Place of a thread: V channels from c of pixel (h, w) of picture n.
struct Place {
    unsigned n, h, w, c;
    // Thread i of a grid over n pictures of h × w places with c channels.
    template <int V> __device__ static bool of(Place &at, unsigned n, unsigned h, unsigned w, unsigned c) {
        size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
        if (i >= size_t(n) * h * w * (c / V)) return false;
        unsigned r = unsigned(i), q = r / (c / V);
        at.c = (r - q * (c / V)) * V;
        r = q / w;
        at.w = q - r * w;
        at.n = r / h;
        at.h = r - at.n * h;
        return true;
    }
};
