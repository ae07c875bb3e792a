// CUB's own sort of a block, for tests/programs.rs: nvcc -ptx -arch=sm_80 -std=c++17 -I .../cccl cub_sort.cu -o cub_sort.ptx
#include <cub/block/block_radix_sort.cuh>

extern "C" __global__ void cub_sort(unsigned *keys, unsigned *values)
{
    using Sort = cub::BlockRadixSort<unsigned, 64, 2, unsigned>;
    __shared__ Sort::TempStorage storage;
    unsigned key[2], value[2];
    for (int i = 0; i < 2; i++) {
        key[i] = keys[2 * threadIdx.x + i];
        value[i] = values[2 * threadIdx.x + i];
    }
    Sort(storage).Sort(key, value);
    for (int i = 0; i < 2; i++) {
        keys[2 * threadIdx.x + i] = key[i];
        values[2 * threadIdx.x + i] = value[i];
    }
}
