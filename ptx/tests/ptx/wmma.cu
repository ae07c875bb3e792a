// Matrix products by nvcuda::wmma, one warp to a tile of D = A·B + C. wmma.ptx is made from this file:
//   nvcc -ptx -arch=sm_80 -O3 -fmad=false -std=c++17 wmma.cu -o wmma.ptx
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
using namespace nvcuda::wmma;
using row = row_major;
using col = col_major;

// The type of an element in memory.
template <class T> struct Stored { using type = T; };
template <> struct Stored<precision::tf32> { using type = float; };

// The element (i, j) of a matrix with this leading dimension.
template <class L, class T> __device__ T* at(T* p, int i, int j, int ld) {
    return std::is_same<L, row>::value ? p + i * ld + j : p + j * ld + i;
}

template <class F> __device__ void round(F& f) {}
template <class U, class L> __device__ void round(fragment<U, 16, 16, 8, precision::tf32, L>& f) {
    for (int i = 0; i < f.num_elements; i++) f.x[i] = __float_to_tf32(f.x[i]);
}

template <int M, int N, int K, class T, class S, class LA, class LB, class LC>
__device__ void product(int k, const typename Stored<T>::type* A, int lda, const typename Stored<T>::type* B, int ldb, S* C, int ldc) {
    fragment<matrix_a, M, N, K, T, LA> a;
    fragment<matrix_b, M, N, K, T, LB> b;
    fragment<accumulator, M, N, K, S> c;
    constexpr layout_t layout = std::is_same<LC, row>::value ? mem_row_major : mem_col_major;
    int i = blockIdx.y * M, j = blockIdx.x * N;
    load_matrix_sync(c, at<LC>(C, i, j, ldc), ldc, layout);
#pragma unroll 1
    for (int l = 0; l < k; l += K) {
        load_matrix_sync(a, at<LA>(A, i, l, lda), lda);
        load_matrix_sync(b, at<LB>(B, l, j, ldb), ldb);
        round(a);
        round(b);
        mma_sync(c, a, b, c);
    }
    store_matrix_sync(at<LC>(C, i, j, ldc), c, ldc, layout);
}

#define PRODUCT(NAME, M, N, K, T, S, LA, LB, LC)                                                                            \
    extern "C" __global__ void NAME(int k, const Stored<T>::type* A, int lda, const Stored<T>::type* B, int ldb, S* C, int ldc) { \
        product<M, N, K, T, S, LA, LB, LC>(k, A, lda, B, ldb, C, ldc);                                                      \
    }

PRODUCT(f16_f32_m16n16_rrr, 16, 16, 16, half, float, row, row, row)
PRODUCT(f16_f32_m16n16_rcc, 16, 16, 16, half, float, row, col, col)
PRODUCT(f16_f32_m16n16_crr, 16, 16, 16, half, float, col, row, row)
PRODUCT(f16_f32_m16n16_ccc, 16, 16, 16, half, float, col, col, col)
PRODUCT(f16_f32_m8n32_rrr, 8, 32, 16, half, float, row, row, row)
PRODUCT(f16_f32_m8n32_rcc, 8, 32, 16, half, float, row, col, col)
PRODUCT(f16_f32_m8n32_crr, 8, 32, 16, half, float, col, row, row)
PRODUCT(f16_f32_m8n32_ccc, 8, 32, 16, half, float, col, col, col)
PRODUCT(f16_f32_m32n8_rrr, 32, 8, 16, half, float, row, row, row)
PRODUCT(f16_f32_m32n8_rcc, 32, 8, 16, half, float, row, col, col)
PRODUCT(f16_f32_m32n8_crr, 32, 8, 16, half, float, col, row, row)
PRODUCT(f16_f32_m32n8_ccc, 32, 8, 16, half, float, col, col, col)
PRODUCT(f16_f16_m16n16_rcr, 16, 16, 16, half, half, row, col, row)
PRODUCT(f16_f16_m16n16_crc, 16, 16, 16, half, half, col, row, col)
PRODUCT(f16_f16_m8n32_rrr, 8, 32, 16, half, half, row, row, row)
PRODUCT(f16_f16_m8n32_ccc, 8, 32, 16, half, half, col, col, col)
PRODUCT(f16_f16_m32n8_rrr, 32, 8, 16, half, half, row, row, row)
PRODUCT(f16_f16_m32n8_ccc, 32, 8, 16, half, half, col, col, col)
PRODUCT(bf16_f32_m16n16_rrr, 16, 16, 16, __nv_bfloat16, float, row, row, row)
PRODUCT(bf16_f32_m16n16_ccc, 16, 16, 16, __nv_bfloat16, float, col, col, col)
PRODUCT(bf16_f32_m8n32_rcr, 8, 32, 16, __nv_bfloat16, float, row, col, row)
PRODUCT(bf16_f32_m8n32_crc, 8, 32, 16, __nv_bfloat16, float, col, row, col)
PRODUCT(bf16_f32_m32n8_rcr, 32, 8, 16, __nv_bfloat16, float, row, col, row)
PRODUCT(bf16_f32_m32n8_crc, 32, 8, 16, __nv_bfloat16, float, col, row, col)
PRODUCT(tf32_f32_m16n16_rrr, 16, 16, 8, precision::tf32, float, row, row, row)
PRODUCT(tf32_f32_m16n16_rcc, 16, 16, 8, precision::tf32, float, row, col, col)
PRODUCT(tf32_f32_m16n16_crc, 16, 16, 8, precision::tf32, float, col, row, col)
PRODUCT(tf32_f32_m16n16_ccr, 16, 16, 8, precision::tf32, float, col, col, row)

// D = 2·(A + 1)·B, 16×16×16, through shared memory: tiles padded to rows of 24 halves, D staged, and every element of the fragments of A and of
// the sum changed in place.
extern "C" __global__ void staged(const half* A, const half* B, float* D) {
    __shared__ __align__(32) half a[16 * 24], b[16 * 24];
    __shared__ __align__(32) float d[16 * 24];
    for (int i = threadIdx.x; i < 256; i += 32) {
        a[i / 16 * 24 + i % 16] = A[i];
        b[i / 16 * 24 + i % 16] = B[i];
    }
    __syncwarp();
    fragment<matrix_a, 16, 16, 16, half, row> fa;
    fragment<matrix_b, 16, 16, 16, half, row> fb;
    fragment<accumulator, 16, 16, 16, float> fd;
    load_matrix_sync(fa, a, 24);
    load_matrix_sync(fb, b, 24);
    fill_fragment(fd, 0.f);
    for (int i = 0; i < fa.num_elements; i++) fa.x[i] = fa.x[i] + __float2half(1.f);
    mma_sync(fd, fa, fb, fd);
    for (int i = 0; i < fd.num_elements; i++) fd.x[i] *= 2.f;
    store_matrix_sync(d, fd, 24, mem_row_major);
    __syncwarp();
    for (int i = threadIdx.x; i < 256; i += 32) D[i] = d[i / 16 * 24 + i % 16];
}
