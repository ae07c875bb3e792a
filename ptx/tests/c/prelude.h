// What the random programs stand on, for nvcc and for the host's C compiler. No operation here has undefined behaviour, whatever
// its operands: sums wrap in unsigned types, divisors are checked, counts are masked, floats are in range before they become integers.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int8_t i8;
typedef uint8_t u8;
typedef int16_t i16;
typedef uint16_t u16;
typedef int32_t i32;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;
typedef __int128 i128;
typedef unsigned __int128 u128;
typedef float f32;
typedef double f64;

#ifdef __CUDACC__
#define FN static __device__
#define APART static __device__ __noinline__
#else
#define FN static inline
#define APART static __attribute__((noinline))
#endif

// Division that is always defined; the least number over -1, too.
#define UNSIGNED(T) \
    FN T div_##T(T a, T b) { return b == 0 ? (T)~a : (T)(a / b); } \
    FN T rem_##T(T a, T b) { return b == 0 ? a : (T)(a % b); }
#define SIGNED(T, U) \
    FN T div_##T(T a, T b) { return b == 0 || b == -1 ? (T)(0 - (U)a) : (T)(a / b); } \
    FN T rem_##T(T a, T b) { return b == 0 || b == -1 ? (T)0 : (T)(a % b); }
#define BOTH(T, U) \
    UNSIGNED(U) SIGNED(T, U) \
    FN T least_##T(T a, T b) { return a < b ? a : b; } \
    FN U least_##U(U a, U b) { return a < b ? a : b; } \
    FN T most_##T(T a, T b) { return a > b ? a : b; } \
    FN U most_##U(U a, U b) { return a > b ? a : b; }
BOTH(i8, u8) BOTH(i16, u16) BOTH(i32, u32) BOTH(i64, u64) BOTH(i128, u128)

// A float that is in range as an integer; NaN is not.
#define FROM(T, low, high) \
    FN T T##_of_f32(f32 x) { return x >= (f32)(low) && x < (f32)(high) ? (T)x : (T)7; } \
    FN T T##_of_f64(f64 x) { return x >= (f64)(low) && x < (f64)(high) ? (T)x : (T)7; }
FROM(i8, -128, 128) FROM(u8, 0, 256) FROM(i16, -32768, 32768) FROM(u16, 0, 65536)
FROM(i32, -2147483648.0, 2147483648.0) FROM(u32, 0, 4294967296.0)
FROM(i64, -9223372036854775808.0, 9223372036854775808.0) FROM(u64, 0, 18446744073709551616.0)

#ifdef __CUDACC__
FN u32 ones(u32 x) { return __popc(x); }
FN u32 ones64(u64 x) { return __popcll(x); }
FN u32 zeros(u32 x) { return __clz(x); }
FN u32 zeros64(u64 x) { return __clzll(x); }
FN u32 reversed(u32 x) { return __brev(x); }
FN u64 reversed64(u64 x) { return __brevll(x); }
FN u32 low_one(u32 x) { return __ffs(x); }
FN u64 high(u64 a, u64 b) { return __umul64hi(a, b); }
FN i64 high_signed(i64 a, i64 b) { return __mul64hi(a, b); }
FN i32 high32(i32 a, i32 b) { return __mulhi(a, b); }
FN u32 bytes(u32 a, u32 b, u32 s) { return __byte_perm(a, b, s); }
FN u32 funnel(u32 a, u32 b, u32 n) { return __funnelshift_l(a, b, n); }
FN u32 funnel_right(u32 a, u32 b, u32 n) { return __funnelshift_rc(a, b, n); }
FN u32 distance(i32 a, i32 b, u32 c) { return __sad(a, b, c); }
FN i32 product24(i32 a, i32 b) { return __mul24(a, b); }
FN i32 bytes_dot(i32 a, i32 b, i32 c) { return __dp4a(a, b, c); }
FN u32 of_f32(f32 x) { return __float_as_uint(x); }
FN f32 as_f32(u32 x) { return __uint_as_float(x); }
FN u64 of_f64(f64 x) { return __double_as_longlong(x); }
FN f64 as_f64(u64 x) { return __longlong_as_double(x); }
#else
FN u32 ones64(u64 x) { u32 n = 0; for (; x; x >>= 1) n += x & 1; return n; }
FN u32 ones(u32 x) { return ones64(x); }
FN u32 zeros64(u64 x) { u32 n = 0; for (u64 bit = 1ull << 63; bit && !(x & bit); bit >>= 1) n++; return n; }
FN u32 zeros(u32 x) { return zeros64(x) - 32; }
FN u64 reversed64(u64 x) { u64 y = 0; for (int i = 0; i < 64; i++) y |= (x >> i & 1) << (63 - i); return y; }
FN u32 reversed(u32 x) { return reversed64(x) >> 32; }
FN u32 low_one(u32 x) { for (u32 i = 0; i < 32; i++) if (x >> i & 1) return i + 1; return 0; }
FN u64 high(u64 a, u64 b) { return (u128)a * b >> 64; }
FN i64 high_signed(i64 a, i64 b) { return (i128)a * b >> 64; }
FN i32 high32(i32 a, i32 b) { return (i64)a * b >> 32; }
FN u32 bytes(u32 a, u32 b, u32 s) {
    u64 all = (u64)b << 32 | a;
    u32 d = 0;
    for (int i = 0; i < 4; i++) d |= (u32)(all >> 8 * (s >> 4 * i & 7) & 0xff) << 8 * i;
    return d;
}
FN u32 funnel(u32 a, u32 b, u32 n) { return ((u64)b << 32 | a) << (n & 31) >> 32; }
FN u32 funnel_right(u32 a, u32 b, u32 n) { return ((u64)b << 32 | a) >> (n < 32 ? n : 32); }
FN u32 distance(i32 a, i32 b, u32 c) { return c + (u32)(a < b ? (i64)b - a : (i64)a - b); }
FN i32 product24(i32 a, i32 b) { return (i32)(u32)((i64)((i32)((u32)a << 8) >> 8) * ((i32)((u32)b << 8) >> 8)); }
FN i32 bytes_dot(i32 a, i32 b, i32 c) {
    u32 d = c;
    for (int i = 0; i < 4; i++) d += (u32)((i8)(a >> 8 * i) * (i8)(b >> 8 * i));
    return (i32)d;
}
FN u32 of_f32(f32 x) { u32 y; memcpy(&y, &x, 4); return y; }
FN f32 as_f32(u32 x) { f32 y; memcpy(&y, &x, 4); return y; }
FN u64 of_f64(f64 x) { u64 y; memcpy(&y, &x, 8); return y; }
FN f64 as_f64(u64 x) { f64 y; memcpy(&y, &x, 8); return y; }
#endif

// A result is one NaN, whichever it was: its sign and payload are a machine's own.
FN u64 bits_f32(f32 x) { return x == x ? of_f32(x) : 0x7fc00000u; }
FN u64 bits_f64(f64 x) { return x == x ? of_f64(x) : 0x7ff8000000000000ull; }
// The sign of a NaN is no machine's business either.
FN f32 sign_f32(f32 x, f32 y) { return copysignf(x, y == y ? y : 1.0f); }
FN f64 sign_f64(f64 x, f64 y) { return copysign(x, y == y ? y : 1.0); }

typedef struct { i32 a; u8 b; i64 c; f32 d; u16 e[3]; } S;
typedef struct { u16 a; S s; i8 b[5]; f64 c; } N;
