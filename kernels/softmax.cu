// Softmax over the channels of a pixel; tiles of pixels in shared memory, a warp per pixel.  twin: src/ops/softmax.rs
#include "lae.cuh"
#include "math.cuh"

struct Softmax {
    unsigned rows, channels;
    unsigned tile; // pixels of a block; divides by 4
    float scale;   // 1 / temperature
};

extern __shared__ float4 shared[];

// The pixels of this block, contiguous from a multiple of 16 bytes: they move as float4 whatever the channels are.
struct Tile {
    size_t first;
    unsigned rows, count;
    __device__ Tile(Softmax p) : first(size_t(blockIdx.x) * p.tile * p.channels) {
        rows = min(p.tile, p.rows - blockIdx.x * p.tile);
        count = rows * p.channels;
    }
    __device__ void load(float *to, const float *__restrict__ x) const {
        for (unsigned i = 4 * threadIdx.x; i < count; i += 1024)
            *reinterpret_cast<float4 *>(to + i) = load4(x + first, i, count);
    }
    __device__ void store(float *__restrict__ y, const float *from) const {
        for (unsigned i = 4 * threadIdx.x; i < count; i += 1024)
            store4(y + first, i, count, *reinterpret_cast<const float4 *>(from + i));
    }
};

// softmax_fwd
// computes  y[r,c] = e^((x[r,c] - top) / τ) / sum over c of the same, top the largest of the row
// shapes    x, y rows × C
// grid      x: `tile` rows per block, at most 32                        256 threads, a warp per row
// memory    x read once, y written once; 4 · tile · C bytes shared
// numerics  the host's exponential; every 32nd channel to a lane, lanes by halves
extern "C" __global__ void __launch_bounds__(256)
    softmax_fwd_f32(float *__restrict__ y, const float *__restrict__ x, Softmax p) {
    float *all = reinterpret_cast<float *>(shared);
    Tile tile(p);
    tile.load(all, x);
    __syncthreads();
    for (unsigned r = threadIdx.x / 32; r < tile.rows; r += 8) {
        float *row = all + r * p.channels, top = -INFINITY, sum = 0;
        for (unsigned c = threadIdx.x % 32; c < p.channels; c += 32) top = fmaxf(top, row[c]);
        top = warp_max(top);
        for (unsigned c = threadIdx.x % 32; c < p.channels; c += 32) sum += row[c] = exp_f32((row[c] - top) * p.scale);
        sum = __shfl_sync(~0u, warp_sum(sum), 0);
        for (unsigned c = threadIdx.x % 32; c < p.channels; c += 32) row[c] /= sum;
    }
    __syncthreads();
    tile.store(y, all);
}

// softmax_bwd
// computes  dx[r,c] = y[r,c] · (dy[r,c] - sum over c of y · dy) / τ
// shapes    y, dy, dx rows × C
// grid      x: `tile` rows per block, at most 32                        256 threads, a warp per row
// memory    y, dy read once, dx written once; 8 · tile · C bytes shared
// numerics  every 32nd channel to a lane, lanes by halves
extern "C" __global__ void __launch_bounds__(256)
    softmax_bwd_f32(float *__restrict__ dx, const float *__restrict__ y, const float *__restrict__ dy, Softmax p) {
    float *ys = reinterpret_cast<float *>(shared), *ds = ys + p.tile * p.channels;
    Tile tile(p);
    tile.load(ys, y);
    tile.load(ds, dy);
    __syncthreads();
    for (unsigned r = threadIdx.x / 32; r < tile.rows; r += 8) {
        float *row = ys + r * p.channels, *d = ds + r * p.channels, sum = 0;
        for (unsigned c = threadIdx.x % 32; c < p.channels; c += 32) sum += row[c] * d[c];
        sum = __shfl_sync(~0u, warp_sum(sum), 0);
        for (unsigned c = threadIdx.x % 32; c < p.channels; c += 32) row[c] = row[c] * (d[c] - sum) * p.scale;
    }
    __syncthreads();
    tile.store(dx, ys);
}
