#!/usr/bin/env python3
"""Writes meso.safetensors: a training step of MesoInception-4 in PyTorch, float64, for tests/baselines/meso.rs.

    python3 tests/golden/meso.py         # needs torch and safetensors

The network is written here a second time, from the authors' Keras code (github.com/DariusAf/MesoNet, classifiers.py), with torch's
own layers. Dropout takes the engine's masks. Weights and pictures are exactly representable in float32 (pictures are bytes / 256).

Tensors: x (bytes), label, weight.NAME, grad.NAME, after.NAME (running statistics after the step), eval.logit, train.logit,
loss, cam.0 (Grad-CAM of minus the logit, in evaluation).
"""

import json
import random
from pathlib import Path

import torch
from grad_cam import layers_of
from philox import dropout_mask, stream
from safetensors.torch import save_file
from torch import nn

torch.set_num_threads(1)
draw = random.Random(20180952)  # no channel of this draw is dead or always on, which would leave a gradient to rounding
SEED, STEP, SIDE, BATCH = 11, 5, 64, 4


class Branches(nn.ModuleList):
    def forward(self, x):
        return torch.cat([branch(x) for branch in self], 1)


class Dropout(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.of = stream(name)

    def forward(self, x):
        return x * dropout_mask(tuple(x.shape), 0.5, SEED, self.of, STEP) if self.training else x


class Dense(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1))


def conv(i, o, k, d=1):
    return nn.Conv2d(i, o, k, padding="same", dilation=d)


def inception(i, a, b, c, d):
    wide = lambda n, rate: nn.Sequential(conv(i, n, 1), nn.ReLU(), conv(n, n, 3, rate), nn.ReLU())
    return Branches([nn.Sequential(conv(i, a, 1), nn.ReLU()), wide(b, 1), wide(c, 2), wide(d, 3)])


def norm(c):
    return nn.BatchNorm2d(c, eps=1e-3, momentum=0.01)


net = nn.Sequential(
    inception(3, 1, 4, 4, 2), norm(11), nn.MaxPool2d(2),
    inception(11, 2, 4, 4, 2), norm(12), nn.MaxPool2d(2),
    conv(12, 16, 5), nn.ReLU(), norm(16), nn.MaxPool2d(2),
    conv(16, 16, 5), nn.ReLU(), norm(16), nn.MaxPool2d(4),
    Dropout("meso.14"), Dense(16 * (SIDE // 32) ** 2, 16), nn.LeakyReLU(0.1),
    Dropout("meso.17"), Dense(16, 1),
).double()

state = {}
for name, t in net.state_dict().items():
    if name.endswith("num_batches_tracked"):
        continue
    if t.dim() > 1:
        area = t[0, 0].numel()
        bound = (6 / (area * (t.shape[0] + t.shape[1]))) ** 0.5
        of = lambda: draw.uniform(-bound, bound)
    elif name.endswith("running_var") or "weight" in name:
        of = lambda: draw.uniform(0.5, 1.5)
    else:
        of = lambda: draw.gauss(0, 0.2)
    state[name] = torch.tensor([of() for _ in range(t.numel())], dtype=torch.float32).double().reshape(t.shape)
net.load_state_dict(state, strict=False)
tensors = {f"weight.{name}": t.float() for name, t in state.items()}

pixels = torch.tensor([draw.randrange(256) for _ in range(BATCH * 3 * SIDE * SIDE)], dtype=torch.uint8).reshape(BATCH, 3, SIDE, SIDE)
x, label = pixels.double() / 256, torch.tensor([i % 2 for i in range(BATCH)]).double().reshape(BATCH, 1)
tensors |= {"x": pixels, "label": label}
tensors["eval.logit"] = net.eval()(x)
tensors["cam.0"] = layers_of(net, x, [net[12]], [-1])[0]
logit = net.train()(x)
loss = (torch.sigmoid(logit) - label).square().mean()
loss.backward()
tensors |= {"train.logit": logit, "loss": loss.reshape(1)}
tensors |= {f"grad.{name}": p.grad for name, p in net.named_parameters()}
tensors |= {f"after.{name}": b for name, b in net.named_buffers() if not name.endswith("num_batches_tracked")}

path = Path(__file__).with_name("meso.safetensors")
tensors = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
meta = {"torch": torch.__version__.split("+")[0], "seed": SEED, "step": STEP, "side": SIDE, "batch": BATCH}
save_file(tensors, path, {"golden": json.dumps(meta, separators=(",", ":"))})
count = sum(p.numel() for p in net.parameters())
print(f"{path.name}: {len(tensors)} tensors, {count} parameters, loss {loss:.6f}, {path.stat().st_size} bytes, torch {torch.__version__}")
