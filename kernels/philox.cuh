// Counter-based random numbers: (key, counter) to four words. The host's bits; see src/core/rng.rs.
#pragma once

// Ten rounds of Philox 4x32.
__device__ inline uint4 philox(unsigned k0, unsigned k1, uint4 c) {
    for (int round = 0; round < 10; round++) {
        unsigned hi0 = __umulhi(0xD2511F53u, c.x), lo0 = 0xD2511F53u * c.x;
        unsigned hi1 = __umulhi(0xCD9E8D57u, c.z), lo1 = 0xCD9E8D57u * c.z;
        c = {hi1 ^ c.y ^ k0, lo1, hi0 ^ c.w ^ k1, lo0};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}
