// Writes occupancy.csv: blocks per SM as cuda_occupancy.h of the CUDA runtime (13.0) computes them, with all of L1 that can be as shared
// memory. g++ -I CUDA/include occupancy.cpp && ./a.out; the columns: architecture, threads, registers, shared bytes, blocks.
#include <cstdio>
#include <cstdlib>
#include "cuda_occupancy.h"
int main() {
  struct Arch { int major, minor, threads, shared; } archs[] = {{8,0,2048,164},{8,6,1536,100},{8,9,1536,100},{9,0,2048,228}};
  int block[] = {32, 64, 96, 128, 160, 192, 256, 288, 320, 384, 512, 640, 768, 1000, 1024};
  int regs[] = {16, 24, 32, 33, 40, 48, 56, 63, 64, 65, 72, 80, 96, 97, 128, 160, 168, 255};
  int shared[] = {0, 1, 1024, 8704, 16384, 24576, 30720, 36864, 49152, 50000, 65536, 90000, 101376, 131072, 166912, 232448};
  unsigned i = 0;
  for (auto a : archs) for (int b : block) for (int r : regs) for (int s : shared) {
    if (a.threads && ++i * 2654435761u % 13 != 0) continue;   // one in 13 is enough
    cudaOccDeviceProp p; cudaOccFuncAttributes f; cudaOccDeviceState st;
    p.computeMajor = a.major; p.computeMinor = a.minor; p.maxThreadsPerBlock = 1024; p.maxThreadsPerMultiprocessor = a.threads;
    p.regsPerBlock = 65536; p.regsPerMultiprocessor = 65536; p.warpSize = 32; p.sharedMemPerBlock = 49152;
    p.sharedMemPerMultiprocessor = a.shared * 1024; p.numSms = 100; p.sharedMemPerBlockOptin = (a.shared - 1) * 1024; p.reservedSharedMemPerBlock = 1024;
    f.maxThreadsPerBlock = 1024; f.numRegs = r; f.sharedSizeBytes = 0; f.partitionedGCConfig = PARTITIONED_GC_OFF;
    f.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN; f.maxDynamicSharedSizeBytes = (a.shared - 1) * 1024; f.numBlockBarriers = 1;
    st.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
    cudaOccResult out;
    cudaOccError e = cudaOccMaxActiveBlocksPerMultiprocessor(&out, &p, &f, &st, b, s);
    if (e != CUDA_OCC_SUCCESS) { fprintf(stderr, "%d %d %d %d: error %d\n", a.major*10+a.minor, b, r, s, e); continue; }
    printf("%d,%d,%d,%d,%d\n", a.major * 10 + a.minor, b, r, s, out.activeBlocksPerMultiprocessor);
  }
}
