"""The engine's counter-based random numbers (src/core/rng.rs), so that PyTorch drops the values that the engine drops."""

import torch

MASK = 0xFFFFFFFF


def philox(key, counter):
    """Ten rounds of Philox 4x32 on integers or on int64 tensors of words; tensors stay exact because products are split in two."""
    (k0, k1), (c0, c1, c2, c3) = key, counter

    def product(m, c):
        """High and low word of m · c."""
        low, high = m * (c & 0xFFFF), m * (c >> 16)
        return (high + (low >> 16)) >> 16 & MASK, (low + ((high & 0xFFFF) << 16)) & MASK

    for _ in range(10):
        (hi0, lo0), (hi1, lo1) = product(0xD2511F53, c0), product(0xCD9E8D57, c2)
        c0, c1, c2, c3 = hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


assert philox((0xA4093822, 0x299F31D0), (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)) == (
    0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)  # the published known answer


def stream(name):
    """FNV-1a."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def key(seed, of):
    wrap = lambda z: z & 0xFFFFFFFFFFFFFFFF
    z = wrap(seed + (of << 32 | of >> 32) + 0x9E3779B97F4A7C15) ^ of
    z = wrap((z ^ z >> 30) * 0xBF58476D1CE4E5B9)
    z = wrap((z ^ z >> 27) * 0x94D049BB133111EB)
    z ^= z >> 31
    return z & MASK, z >> 32 & MASK


def dropout_mask(shape, p, seed, of, step):
    """0 or 1 / (1 - p) for each value of a picture N,C,H,W, or of rows N,C; the engine counts values in the order N,H,W,C."""
    nhwc = (shape[0], *shape[2:], shape[1])
    n = torch.Size(nhwc).numel()
    zero = torch.zeros((n + 3) // 4, dtype=torch.int64)
    words = philox(key(seed, of), (torch.arange((n + 3) // 4), zero, zero + step, zero))
    draws = torch.stack(words, 1).flatten()[:n] >> 8
    threshold = round(p * 2**24)
    mask = (draws >= threshold).double() / (1 - threshold / 2**24)
    return mask.reshape(nhwc).movedim(-1, 1)
