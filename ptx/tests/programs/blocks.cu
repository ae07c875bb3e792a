// Kernels whose blocks wait for each other. nvcc -ptx -arch=sm_80 -lineinfo -fmad=false blocks.cu -o blocks.ptx
// The planted bugs are kernels of their own: the parameter BUG chooses them.

// Every block adds its part of x, then all meet, then every block reads what all have added.
template <int BUG>
__device__ void grid_barrier(unsigned* counter) {
    __syncthreads();
    if (threadIdx.x == 0) {
        if (BUG != 1) __threadfence();
        unsigned want = BUG == 2 ? gridDim.x + 1 : gridDim.x;
        atomicAdd(counter, 1);
        while (*(volatile unsigned*)counter < want) {}
        if (BUG != 3) __threadfence();
    }
    __syncthreads();
}

template <int BUG>
__device__ void grid_sum(const int* x, int* part, int* y, unsigned* counter) {
    __shared__ int sum;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    atomicAdd(&sum, x[blockIdx.x * blockDim.x + threadIdx.x]);
    __syncthreads();
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
    grid_barrier<BUG>(counter);
    if (threadIdx.x == 0) {
        int all = 0;
        for (int i = 0; i < gridDim.x; i++) all += part[i];
        y[blockIdx.x] = all;
    }
}
extern "C" __global__ void grid_sum_right(const int* x, int* part, int* y, unsigned* c) { grid_sum<0>(x, part, y, c); }
extern "C" __global__ void grid_sum_no_release(const int* x, int* part, int* y, unsigned* c) { grid_sum<1>(x, part, y, c); }
extern "C" __global__ void grid_sum_one_too_many(const int* x, int* part, int* y, unsigned* c) { grid_sum<2>(x, part, y, c); }
extern "C" __global__ void grid_sum_no_acquire(const int* x, int* part, int* y, unsigned* c) { grid_sum<3>(x, part, y, c); }

// An inclusive scan in one pass: a block looks back at the sums of those before it (Merrill and Garland, 2016).
enum { NOTHING = 0, PART = 1, PREFIX = 2 };
template <int BUG>
__device__ void look_back(const int* x, int* y, volatile unsigned long long* state, unsigned* ticket) {
    __shared__ int warp_sum[32];
    __shared__ int before;
    __shared__ unsigned number;
    if (threadIdx.x == 0) number = BUG == 1 ? gridDim.x - 1 - atomicAdd(ticket, 1) : atomicAdd(ticket, 1);
    __syncthreads();
    unsigned b = number, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int v = x[b * blockDim.x + threadIdx.x], s = v;
    for (int d = 1; d < 32; d *= 2) {
        int up = __shfl_up_sync(~0u, s, d);
        if (lane >= d) s += up;
    }
    if (lane == 31) warp_sum[warp] = s;
    __syncthreads();
    for (int w = 0; w < warp; w++) s += warp_sum[w];
    if (threadIdx.x == blockDim.x - 1) {
        state[b] = ((unsigned long long)(b == 0 ? PREFIX : PART) << 32) | (unsigned)s;
        int sum = 0;
        for (int k = (int)b - 1; k >= 0;) {
            unsigned long long got = state[k];
            unsigned what = got >> 32;
            if (what == NOTHING) continue;
            sum += (int)got;
            if (what == PREFIX) break;
            k--;
        }
        if (b > 0) state[b] = ((unsigned long long)PREFIX << 32) | (unsigned)(sum + s);
        before = sum;
    }
    if (BUG != 2) __syncthreads();
    y[b * blockDim.x + threadIdx.x] = before + s;
}
extern "C" __global__ void look_back_right(const int* x, int* y, unsigned long long* s, unsigned* t) { look_back<0>(x, y, s, t); }
extern "C" __global__ void look_back_falling(const int* x, int* y, unsigned long long* s, unsigned* t) { look_back<1>(x, y, s, t); }
extern "C" __global__ void look_back_no_barrier(const int* x, int* y, unsigned long long* s, unsigned* t) { look_back<2>(x, y, s, t); }

// C += A B in slices of k: the blocks of a tile add one after the other, in order, by a semaphore. Pointers come in a struct.
struct Product {
    const float *a, *b;
    float* c;
    int* semaphore;
    int m, n, k;
};
template <int BUG>
__device__ void split_k(Product p) {
    __shared__ float as[16][17], bs[16][17];
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    int tile = blockIdx.y * gridDim.x + blockIdx.x, slice = blockIdx.z, slices = gridDim.z, depth = p.k / slices;
    float sum = 0;
    for (int k = slice * depth; k < (slice + 1) * depth; k += 16) {
        as[ty][tx] = p.a[(blockIdx.y * 16 + ty) * p.k + k + tx];
        bs[ty][tx] = p.b[(k + ty) * p.n + blockIdx.x * 16 + tx];
        __syncthreads();
        for (int i = 0; i < 16; i++) sum = fmaf(as[ty][i], bs[i][tx], sum);
        __syncthreads();
    }
    int state = 0;
    while (true) {
        if (threadIdx.x == 0) asm volatile("ld.global.acquire.gpu.b32 %0, [%1];" : "=r"(state) : "l"(p.semaphore + tile) : "memory");
        if (!__syncthreads_or(threadIdx.x == 0 && state != (BUG == 1 ? slice + 1 : slice))) break;
    }
    float* c = p.c + (blockIdx.y * 16 + ty) * p.n + blockIdx.x * 16 + tx;
    *c = slice == 0 ? sum : *c + sum;
    if (BUG != 2) __syncthreads();
    int next = slice + 1 == slices ? 0 : slice + 1;
    if (threadIdx.x == 0) {
        if (BUG == 3)
            asm volatile("st.global.relaxed.gpu.b32 [%0], %1;" ::"l"(p.semaphore + tile), "r"(next) : "memory");
        else
            asm volatile("st.global.release.gpu.b32 [%0], %1;" ::"l"(p.semaphore + tile), "r"(next) : "memory");
    }
}
extern "C" __global__ void split_k_right(Product p) { split_k<0>(p); }
extern "C" __global__ void split_k_waits_for_ever(Product p) { split_k<1>(p); }
extern "C" __global__ void split_k_no_barrier(Product p) { split_k<2>(p); }
extern "C" __global__ void split_k_relaxed(Product p) { split_k<3>(p); }

// A lock that threads of all blocks take, one lane at a time.
template <int BUG>
__device__ void locked(int* lock, int* count) {
    for (int i = 0; i < 32; i++) {
        if (threadIdx.x % 32 != i) continue;
        while (atomicCAS(lock, 0, 1) != 0) __nanosleep(100);
        if (BUG != 1) __threadfence();
        *count += 1;
        if (BUG != 1) __threadfence();
        if (BUG != 2) atomicExch(lock, 0);
    }
}
extern "C" __global__ void locked_right(int* lock, int* count) { locked<0>(lock, count); }
extern "C" __global__ void locked_no_fence(int* lock, int* count) { locked<1>(lock, count); }
extern "C" __global__ void locked_for_ever(int* lock, int* count) { locked<2>(lock, count); }
