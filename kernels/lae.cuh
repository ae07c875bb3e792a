// What all kernels share.
#pragma once

// A shape as the host passes it: n pictures of h x w pixels with c channels, contiguous, channels innermost (NHWC).
struct Shape {
    unsigned n, h, w, c;
};
