#!/usr/bin/env python3
"""Writes casts.safetensors: numbers in f32, bf16 and f16 as PyTorch converts them, with gradients through a cast.

    python3 tests/golden/casts.py        # needs torch and safetensors; the version in use is written into the file

tests/casts.rs reads the file. Tensors:

    f32            bit patterns: every kind of number, ties between neighbours in bf16 and f16, and some at random
    bf16, f16      the same, by `.to(dtype)`
    wide_bf16, wide_f16   those back in f32
    x, u, v        normal numbers
    dx             d/dx of the sum of x.bfloat16() * u
    dx2            d/dx of the sum of y * u + y * v, y = x.bfloat16(): two gradients meet in a bf16 value
"""

import random
from pathlib import Path

import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
draw = random.Random(20220413)

patterns = []
# Ties of bf16 lie at 0x8000 of the lower half. Upper halves: zeros, subnormals, ordinary numbers, the largest, infinities, NaN.
for upper in [0x0000, 0x0001, 0x0002, 0x007E, 0x007F, 0x0080, 0x0081, 0x3F7F, 0x3F80, 0x3F81, 0x4049,
              0x7F7E, 0x7F7F, 0x7F80, 0x7F81, 0x7FC0, 0x7FFF]:
    for lower in [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]:
        patterns.append(upper << 16 | lower)
# Ties of f16 lie at 0x1000 of the lower 13 bits; below 2^-14 higher, down to 2^-25. Exponents from too small to too large.
for exponent in range(127 - 27, 127 + 18):
    for fraction in [0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF, 0x2000, 0x3000, 0x3001,
                     0x400000, 0x7FE000, 0x7FEFFF, 0x7FF000, 0x7FFFFF]:
        patterns.append(exponent << 23 | fraction)
    if exponent < 127 - 14:
        # The last bit that f16 keeps here is worth 2^-24: half of it, and its neighbours.
        shift = 23 - (exponent - (127 - 24))
        if shift <= 23:
            one, half = 1 << shift, (1 << shift) >> 1
            patterns += [exponent << 23 | at & 0x7FFFFF for at in [half - 1, half, half + 1, one + half]]
patterns += [draw.getrandbits(31) for _ in range(500)]
patterns += [p | 1 << 31 for p in patterns]
bits = torch.tensor([p - (1 << 32) if p >> 31 else p for p in patterns], dtype=torch.int64).to(torch.int32)
f32 = bits.view(torch.float32)


def normal(n):
    return torch.tensor([draw.gauss(0, 1) for _ in range(n)], dtype=torch.float32)


x, u, v = normal(257), normal(257), normal(257)


def gradient(f):
    leaf = x.clone().requires_grad_(True)
    return torch.autograd.grad(f(leaf.bfloat16()), leaf)[0]


tensors = {
    "f32": f32,
    "bf16": f32.to(torch.bfloat16),
    "f16": f32.to(torch.float16),
    "wide_bf16": f32.to(torch.bfloat16).float(),
    "wide_f16": f32.to(torch.float16).float(),
    "x": x,
    "u": u,
    "v": v,
    "dx": gradient(lambda y: (y.float() * u).sum()),
    "dx2": gradient(lambda y: (y.float() * u).sum() + (y.float() * v).sum()),
}
path = Path(__file__).with_name("casts.safetensors")
save_file({name: t.contiguous() for name, t in tensors.items()}, path, {"torch": torch.__version__.split("+")[0]})
print(f"{path.name}: {len(patterns)} numbers, {path.stat().st_size} bytes, torch {torch.__version__}")
