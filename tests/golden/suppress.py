#!/usr/bin/env python3
"""Writes suppress.safetensors: training steps of SuppressNet, a quarter as wide, and of MISLnet, an eighth as wide, in PyTorch,
float64, for tests/baselines; and filters before and after the constraint.

    python3 tests/golden/suppress.py     # needs torch and safetensors
"""

import random

from classifier import Dense, Dropout, exact, project, save, step
from torch import nn


def conv(i, o, k, stride, pad):
    return nn.Conv2d(i, o, k, stride, pad)


def pool():
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def suppressnet(after, fc=16):
    """Bayar and Stamm 2016, at 32 pixels."""
    lrn = lambda: nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)
    rows = [nn.Conv2d(1, 3, 5, bias=False)]
    for c in [conv(3, 16, 7, 2, 3), conv(16, 12, 5, 1, 2)]:
        rows += [c, nn.ReLU()] + ([pool(), lrn()] if after else [lrn(), pool()])
    return nn.Sequential(*rows, Dense(12 * 3 * 3, fc), nn.ReLU(), Dropout(0.5, "suppress.11"),
                         Dense(fc, fc), nn.ReLU(), Dropout(0.5, "suppress.14"), Dense(fc, 2))


def mislnet():
    """Bayar and Stamm 2018 (github.com/LuminolT/constrained-conv-TIFS2018, caffe_scripts), at 56 pixels."""
    rows = [nn.Conv2d(1, 1, 5, bias=False)]
    for c, p in [(conv(1, 12, 7, 2, 3), pool()), (conv(12, 8, 5, 1, 2), pool()), (conv(8, 8, 5, 1, 2), pool()),
                 (conv(8, 16, 1, 1, 0), nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False))]:
        rows += [c, nn.BatchNorm2d(c.out_channels), nn.Tanh(), p]
    return nn.Sequential(*rows, Dense(16, 25), nn.Tanh(), Dense(25, 25), nn.Tanh(), Dense(25, 2))


first = ["0.weight"]
tensors = step("after_pool", 1, suppressnet(True), (1, 32, 32), 1.0, 6, first)
tensors |= step("before_pool", 2, suppressnet(False), (1, 32, 32), 1.0, 6, first)
tensors |= step("mislnet", 3, mislnet(), (1, 56, 56), 1.0, 15, first)
draw = random.Random(4)
raw = exact([draw.uniform(-0.5, 1) for _ in range(5 * 3 * 25)], (5, 3, 5, 5))
tensors |= {"filters.raw": raw, "filters.projected": project(raw)}
save("suppress.safetensors", tensors)
