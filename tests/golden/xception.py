#!/usr/bin/env python3
"""Writes xception.safetensors: a training step of a narrow XceptionNet in PyTorch, float64, for tests/baselines/xception.rs.

    python3 tests/golden/xception.py     # needs torch and safetensors

The network is written here a second time, after the PyTorch version that FaceForensics++ fine-tunes (ondyari/FaceForensics,
classification/network/xception.py), with torch's own layers and its names of parameters. WIDTH scales all channel counts, which
are rounded to fours; MIDDLE blocks of the middle flow. Weights and pictures are exactly representable in float32 (pictures are
bytes / 256).

Tensors: x (bytes), label, weight.NAME, grad.NAME, after.NAME (running statistics after the step), eval.logits, train.logits,
loss, cam.0 (Grad-CAM of the fake logit, in evaluation). In the metadata: the names of the whole network's parameters, with 1000
classes, and their shapes.
"""

import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from grad_cam import layers_of
from safetensors.torch import save_file
from torch import nn

torch.set_num_threads(1)
draw = random.Random(20170407)
WIDTH, MIDDLE, SIDE, BATCH = 1 / 32, 2, 64, 4


class Separable(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv1 = nn.Conv2d(i, i, 3, 1, 1, groups=i, bias=False)
        self.pointwise = nn.Conv2d(i, o, 1, bias=False)

    def forward(self, x):
        return self.pointwise(self.conv1(x))


class Block(nn.Module):
    def __init__(self, i, widths, halves, first=True):
        super().__init__()
        rep, of = [], i
        for o in widths:
            rep += [nn.ReLU(), Separable(of, o), nn.BatchNorm2d(o)]
            of = o
        rep = rep if first else rep[1:]
        self.skip = None
        if halves:
            rep.append(nn.MaxPool2d(3, 2, 1))
            self.skip, self.skipbn = nn.Conv2d(i, of, 1, 2, bias=False), nn.BatchNorm2d(of)
        self.rep = nn.Sequential(*rep)

    def forward(self, x):
        return self.rep(x) + (x if self.skip is None else self.skipbn(self.skip(x)))


class Xception(nn.Module):
    def __init__(self, width, middle, classes):
        super().__init__()
        w = lambda c: 4 * max(1, round(c * width / 4))
        self.conv1, self.bn1 = nn.Conv2d(3, w(32), 3, 2, bias=False), nn.BatchNorm2d(w(32))
        self.conv2, self.bn2 = nn.Conv2d(w(32), w(64), 3, bias=False), nn.BatchNorm2d(w(64))
        self.block1 = Block(w(64), [w(128)] * 2, True, first=False)
        self.block2 = Block(w(128), [w(256)] * 2, True)
        self.block3 = Block(w(256), [w(728)] * 2, True)
        self.middle = [f"block{4 + i}" for i in range(middle)]
        for name in self.middle:
            setattr(self, name, Block(w(728), [w(728)] * 3, False))
        self.block12 = Block(w(728), [w(728), w(1024)], True)
        self.conv3, self.bn3 = Separable(w(1024), w(1536)), nn.BatchNorm2d(w(1536))
        self.conv4, self.bn4 = Separable(w(1536), w(2048)), nn.BatchNorm2d(w(2048))
        self.last = nn.ReLU()
        self.fc = nn.Linear(w(2048), classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        for name in ["block1", "block2", "block3", *self.middle, "block12"]:
            x = getattr(self, name)(x)
        x = F.relu(self.bn3(self.conv3(x)))
        x = self.last(self.bn4(self.conv4(x)))
        return self.fc(x.mean((2, 3)))


net = Xception(WIDTH, MIDDLE, 2).double()
state = {}
for name, t in net.state_dict().items():
    if name.endswith("num_batches_tracked"):
        continue
    if t.dim() > 1:
        deviation = (2 / t[0].numel()) ** 0.5
        of = lambda: draw.gauss(0, deviation)
    elif name.endswith("running_var") or "weight" in name:
        of = lambda: draw.uniform(0.5, 1.5)
    else:
        of = lambda: draw.gauss(0, 0.2)
    state[name] = torch.tensor([of() for _ in range(t.numel())], dtype=torch.float32).double().reshape(t.shape)
net.load_state_dict(state, strict=False)
tensors = {f"weight.{name}": t.float() for name, t in state.items()}

pixels = torch.tensor([draw.randrange(256) for _ in range(BATCH * 3 * SIDE * SIDE)], dtype=torch.uint8)
pixels = pixels.reshape(BATCH, 3, SIDE, SIDE)
x, label = 2 * (pixels.double() / 256) - 1, torch.tensor([i % 2 for i in range(BATCH)])
tensors |= {"x": pixels, "label": label.double().reshape(BATCH, 1)}
tensors["eval.logits"] = net.eval()(x)
tensors["cam.0"] = layers_of(net, x, [net.last], [0, 1])[0]
logits = net.train()(x)
loss = F.cross_entropy(logits, label)
loss.backward()
tensors |= {"train.logits": logits, "loss": loss.reshape(1)}
tensors |= {f"grad.{name}": p.grad for name, p in net.named_parameters()}
tensors |= {f"after.{name}": b for name, b in net.named_buffers() if not name.endswith("num_batches_tracked")}

with torch.device("meta"):
    whole = Xception(1, 8, 1000)
names = {n: list(t.shape) for n, t in whole.state_dict().items() if not n.endswith("num_batches_tracked")}
counts = [sum(p.numel() for p in n.parameters()) for n in (whole, net)]
path = Path(__file__).with_name("xception.safetensors")
tensors = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
meta = {"torch": torch.__version__.split("+")[0], "width": WIDTH, "middle": MIDDLE, "side": SIDE, "batch": BATCH, "names": names}
save_file(tensors, path, {"golden": json.dumps(meta, separators=(",", ":"))})
size = path.stat().st_size
print(f"{path.name}: {len(tensors)} tensors, {counts} parameters, loss {loss:.6f}, {size} bytes, torch {torch.__version__}")
