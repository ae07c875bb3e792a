// exp and tanh with the bits of the host: the same polynomials, in the same order (src/core/real.rs has the reasons).
#pragma once

__device__ inline float exp_f32(float x) {
    x = x > 89.0f ? 89.0f : x;
    x = x < -104.0f ? -104.0f : x;
    const float round = 12582912.0f;
    float shifted = x * 1.44269504f + round;
    float n = shifted - round;
    float r = x - n * 0.6933594f - n * -2.1219444e-4f;
    float p = 1.9875691e-4f;
    p = p * r + 1.3981999e-3f;
    p = p * r + 8.333452e-3f;
    p = p * r + 4.1665796e-2f;
    p = p * r + 1.6666665e-1f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    int k = __float_as_int(shifted) - __float_as_int(round), half = k >> 1;
    return p * __int_as_float((half + 127) << 23) * __int_as_float((k - half + 127) << 23);
}

__device__ inline float tanh_f32(float x) {
    float a = fabsf(x), z = x * x;
    float p = -5.7049887e-3f;
    p = p * z + 2.063909e-2f;
    p = p * z + -5.3739716e-2f;
    p = p * z + 1.3331442e-1f;
    p = p * z + -3.333328e-1f;
    float near = x + x * z * p;
    float far = copysignf(1.0f - 2.0f / (exp_f32(2.0f * a) + 1.0f), x);
    return a < 0.625f ? near : far;
}

__device__ inline float sigmoid_f32(float x) { return 1.0f / (1.0f + exp_f32(-x)); }
