// Calls through addresses, as nvcc writes them: function pointers, virtual functions, recursion, structs by value.
// calls.ptx is made from this file:
//   nvcc -ptx -arch=sm_90 -O3 -lineinfo -std=c++17 calls.cu -o calls.ptx

using Function = float (*)(float);
__device__ __noinline__ float plus(float x) { return x + 1; }
__device__ __noinline__ float twice(float x) { return x * 2; }
__device__ __noinline__ float square(float x) { return x * x; }
__device__ Function table[3] = {plus, twice, square};

extern "C" __global__ void pointers(float* y, int n) {
    Function f = table[threadIdx.x % 3];
    float x = threadIdx.x;
    for (int k = 0; k < n; ++k) x = f(x);
    y[threadIdx.x] = x;
}

struct Base {
    __device__ virtual float of(float) = 0;
};
struct Sum : Base {
    float a;
    __device__ Sum(float a) : a(a) {}
    __device__ float of(float x) override { return x + a; }
};
struct Product : Base {
    float a;
    __device__ Product(float a) : a(a) {}
    __device__ float of(float x) override { return x * a; }
};
__device__ __noinline__ float use(Base* b, float x) { return b->of(x); }

extern "C" __global__ void virtuals(float* y) {
    Sum s(3);
    Product p(5);
    Base* b = threadIdx.x & 1 ? (Base*)&s : (Base*)&p;
    y[threadIdx.x] = use(b, threadIdx.x);
}

__device__ __noinline__ int ackermann(int m, int n) {
    return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

extern "C" __global__ void recursion(int* y) { y[threadIdx.x] = ackermann(2, threadIdx.x % 4); }

struct Five {
    int a[5];
    int sum;
};
__device__ __noinline__ Five add(Five s, int k) {
    s.a[k % 5] += k;
    s.sum += k;
    return s;
}

extern "C" __global__ void structs(int* y) {
    Five s = {};
    s = add(s, threadIdx.x);
    s = add(s, threadIdx.x + 1);
    y[threadIdx.x] = s.sum * 100 + s.a[(threadIdx.x + 1) % 5];
}

__constant__ int constants[4] = {1, 2, 3, 4};
__device__ int* third = &constants[2];
__device__ const char* message = "hello";

extern "C" __global__ void addresses(int* y) { y[threadIdx.x] = *third * 1000 + message[threadIdx.x % 5]; }

extern "C" __global__ void __cluster_dims__(2, 1, 1) clusters(int* y) {
    if (blockIdx.x == 0) y[threadIdx.x] = 5;
}

extern "C" __global__ void textures(cudaTextureObject_t t, float* y) { y[threadIdx.x] = tex2D<float>(t, 1, 2); }
