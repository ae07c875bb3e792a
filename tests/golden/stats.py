#!/usr/bin/env python3
"""Writes stats.safetensors: a training step of StatsNet, Stats-2L, an eighth as wide, in PyTorch, float64, for tests/baselines.

    python3 tests/golden/stats.py        # needs torch and safetensors
"""

import torch
from classifier import Dense, Dropout, Of, save, step
from torch import nn

# Rahmouni et al. 2017 (github.com/NicoRahm/CGvsPhoto, model.py): mean, min, max, variance of each channel, in this order.
statistics = Of(lambda x: torch.cat([x.mean((2, 3)), x.amin((2, 3)), x.amax((2, 3)), x.var((2, 3), unbiased=False)], 1))
net = nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), statistics,
    Dense(32, 128), nn.ReLU(), Dropout(0.35, "stats.7"), Dense(128, 2),
)
save("stats.safetensors", step("stats", 3, net, (3, 24, 20), 1 / 256, 3))
