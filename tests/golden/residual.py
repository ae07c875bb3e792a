#!/usr/bin/env python3
"""Writes residual.safetensors: a training step of ResidualNet in PyTorch, float64, for tests/baselines/residual.rs.

    python3 tests/golden/residual.py         # needs torch and safetensors

The network is written here a second time, with torch's own layers. Its weights are the hand-crafted start (the patterns in
another way than src/models/residual.rs has them) with a little noise, so that no two gradients are alike. Pictures are smooth:
their residuals are a few grey levels, where softmax is neither flat nor 0 and 1. Weights and pictures are exactly
representable in float32.

Tensors: x (bytes / 256), label (1 true), start.NAME (the hand-crafted weights), weight.NAME, grad.NAME, shares (the 162),
logits, loss, cam.0 and cam.1 (Grad-CAM of the fake logit, of either branch).
"""

import itertools
import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from grad_cam import layers_of
from safetensors.torch import save_file
from torch import nn

torch.set_num_threads(1)
draw = random.Random(17031)
Q, TAU, SIDE, BATCH = 3.0, 1.0, 24, 4


class Histogram(nn.Sequential):
    def __init__(self, kernel):
        super().__init__(nn.Conv2d(1, 4, kernel, bias=False), nn.Conv2d(4, 81, 1))
        self.marks = nn.Softmax(1)

    def forward(self, x):
        return self.marks(self[1](self[0](x)) / (TAU * Q * Q)).mean((2, 3))


class Twin(nn.Module):
    def __init__(self):
        super().__init__()
        self.along, self.across, self.head = Histogram((1, 7)), Histogram((4, 4)), nn.Linear(162, 2)

    def forward(self, rgb):
        luma = 255 * (0.299 * rgb[:, 0:1] + 0.587 * rgb[:, 1:2] + 0.114 * rgb[:, 2:3])
        self.shares = torch.cat([self.along(luma), self.across(luma)], 1)
        return self.head(self.shares)


net = Twin().double()
third = torch.tensor([1.0, -3, 3, -1]).double()
# Patterns in the engine's order: the first value changes fastest.
patterns = torch.tensor([p[::-1] for p in itertools.product([-1.0, 0, 1], repeat=4)]).double() * Q
with torch.no_grad():
    for branch in [net.along, net.across]:
        branch[0].weight.zero_()
        branch[1].weight.copy_(2 * patterns[:, :, None, None])
        branch[1].bias.copy_(-patterns.square().sum(1))
    for k in range(4):
        net.along[0].weight[k, 0, 0, k:k + 4] = third
        net.across[0].weight[k, 0, k] = third

NAMES = {"along.0": "0.0.0", "along.1": "0.0.1", "across.0": "0.1.0", "across.1": "0.1.1", "head": "1"}


def name(torchs):
    row, what = torchs.rsplit(".", 1)
    return f"{NAMES[row]}.{what}"


tensors = {f"start.{name(n)}": p.detach().float() for n, p in net.named_parameters() if "head" not in n}
with torch.no_grad():
    for n, p in net.named_parameters():
        noise = torch.tensor([draw.gauss(0, 1) for _ in range(p.numel())]).double().reshape(p.shape)
        p.copy_((noise if "head" in n else p + 0.05 * noise).float().double())
tensors |= {f"weight.{name(n)}": p.detach().float() for n, p in net.named_parameters()}

pixels = torch.tensor([[[[int(96 + 20 * n + 2 * c + y + x // 2 + draw.gauss(0, 1.2)) for x in range(SIDE)] for y in range(SIDE)]
                        for c in range(3)] for n in range(BATCH)], dtype=torch.uint8)
label = torch.tensor([i % 2 for i in range(BATCH)])
logits = net(pixels.double() / 256)
loss = F.cross_entropy(logits, 1 - label)
loss.backward()
tensors |= {"x": pixels, "label": label.double().reshape(BATCH, 1)}
for i, cam in enumerate(layers_of(net, pixels.double() / 256, [net.along.marks, net.across.marks], [0, 1])):
    tensors[f"cam.{i}"] = cam
tensors |= {"shares": net.shares, "logits": logits, "loss": loss.reshape(1)}
tensors |= {f"grad.{name(n)}": p.grad for n, p in net.named_parameters()}

path = Path(__file__).with_name("residual.safetensors")
meta = {"torch": torch.__version__.split("+")[0], "side": SIDE, "batch": BATCH}
tensors = {n: t.detach().contiguous().clone() for n, t in tensors.items()}
save_file(tensors, path, {"golden": json.dumps(meta, separators=(",", ":"))})
count = sum(p.numel() for p in net.parameters())
print(f"{path.name}: {len(tensors)} tensors, {count} parameters, loss {loss:.6f}, {path.stat().st_size} bytes")
