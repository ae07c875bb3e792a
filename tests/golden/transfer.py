#!/usr/bin/env python3
"""Writes transfer.safetensors: training steps of ForensicTransfer in PyTorch, float64, for tests/baselines/transfer.rs.

    python3 tests/golden/transfer.py         # needs torch and safetensors

The network is written here a second time, with torch's own layers, at a quarter of the width: once as the default is, once
with the residual beside the picture (prefix `residual/`). Weights and pictures are exactly representable in float32.

Tensors: x (bytes / 256), label (1 true), weight.NAME, grad.NAME, after.NAME (running statistics after the step),
eval.activations, cam.0 (Grad-CAM of the second of them), activations (true, fake), loss, act (the activation loss), rec (the
reconstruction loss), output (the first picture).
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
draw = random.Random(181202510)
WIDTH, SIDE, BATCH, GAMMA = 2, 32, 4, 0.1


def encoder(c, w):
    down = lambda i, o: nn.Conv2d(i, o, 3, 2, 1)
    return nn.Sequential(
        nn.Conv2d(c, w, 3, 1, 1), nn.ReLU(),
        down(w, 2 * w), nn.BatchNorm2d(2 * w), nn.ReLU(),
        down(2 * w, 4 * w), nn.BatchNorm2d(4 * w), nn.ReLU(),
        down(4 * w, 8 * w), nn.BatchNorm2d(8 * w), nn.ReLU(),
        down(8 * w, 16 * w), nn.ReLU())


def decoder(c, w):
    rows = []
    for times in [8, 4, 2, 1]:
        rows += [nn.Upsample(scale_factor=2), nn.Conv2d(2 * times * w, times * w, 3, 1, 1), nn.BatchNorm2d(times * w), nn.ReLU()]
    return nn.Sequential(*rows, nn.Conv2d(w, c, 3, 1, 1), nn.Tanh())


def third(x):
    """Third derivatives along rows and down columns, added; zeros beyond the edges, the pixel is the third of the four."""
    k = torch.tensor([1.0, -3, 3, -1]).double()
    of = lambda k, pad: F.conv2d(F.pad(x.flatten(0, 1)[:, None], pad), k).reshape(x.shape)
    return of(k.reshape(1, 1, 1, 4), (2, 1, 0, 0)) + of(k.reshape(1, 1, 4, 1), (0, 0, 2, 1))


tensors = {}


def step(prefix, channels):
    net = nn.ModuleDict({"encoder": encoder(channels, WIDTH), "decoder": decoder(channels, WIDTH)}).double()
    state = {}
    for name, t in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if t.dim() > 1:
            of = lambda: draw.gauss(0, (2 / t[0].numel()) ** 0.5)
        elif name.endswith("running_var") or "weight" in name:
            of = lambda: draw.uniform(0.5, 1.5)
        else:
            of = lambda: draw.gauss(0, 0.2)
        state[name] = torch.tensor([of() for _ in range(t.numel())], dtype=torch.float32).double().reshape(t.shape)
    net.load_state_dict(state, strict=False)
    pixels = torch.tensor([draw.randrange(256) for _ in range(BATCH * 3 * SIDE * SIDE)], dtype=torch.uint8)
    pixels = pixels.reshape(BATCH, 3, SIDE, SIDE)
    label = torch.tensor([i % 2 for i in range(BATCH)]).double().reshape(BATCH, 1)
    x = 2 * pixels.double() / 256 - 1
    if channels == 6:
        x = torch.cat([x, torch.tanh(8 * third(x))], 1)

    def activations(h):
        half = h.shape[1] // 2
        return torch.stack([h[:, :half].abs().mean((1, 2, 3)), h[:, half:].abs().mean((1, 2, 3))], 1)

    evaluated = activations(net.eval()["encoder"](x))
    # h has passed a ReLU: without |.| the score is the same, and has a slope at 0, too.
    halves = lambda h: torch.stack([part.mean((1, 2, 3)) for part in h.chunk(2, 1)], 1)
    cam = layers_of(net["encoder"], x, [net["encoder"][-1]], [0, 1], halves)[0]
    net.train()
    h = net["encoder"](x)
    a = activations(h)
    fake = 1 - label[:, 0]
    act = ((a[:, 1] - fake).abs() + (a[:, 0] - (1 - fake)).abs()).mean()
    kept = torch.stack([torch.cat([one[:16 * WIDTH // 2], 0 * one[16 * WIDTH // 2:]]) if l else
                        torch.cat([0 * one[:16 * WIDTH // 2], one[16 * WIDTH // 2:]]) for one, l in zip(h, label[:, 0])])
    output = net["decoder"](kept)
    rec = (output - x).abs().mean()
    loss = act + GAMMA * rec
    loss.backward()
    found = {f"weight.{n}": t.float() for n, t in state.items()}
    found |= {"x": pixels, "label": label, "eval.activations": evaluated, "cam.0": cam, "activations": a, "output": output[:1]}
    found |= {"act": act.reshape(1), "rec": rec.reshape(1), "loss": loss.reshape(1)}
    found |= {f"grad.{n}": p.grad for n, p in net.named_parameters()}
    found |= {f"after.{n}": b for n, b in net.named_buffers() if not n.endswith("num_batches_tracked")}
    if prefix:  # the rest of the network is the same: the gradients of what meets the six channels will do
        kept = ("grad.encoder.0.", "grad.decoder.16.")
        found = {n: t for n, t in found.items() if not n.startswith("grad.") or n.startswith(kept)}
    tensors.update({prefix + n: t.detach().contiguous().clone() for n, t in found.items()})
    print(f"{channels} channels: {sum(p.numel() for p in net.parameters())} parameters, loss {loss:.6f}")


step("", 3)
step("residual/", 6)
path = Path(__file__).with_name("transfer.safetensors")
meta = {"torch": torch.__version__.split("+")[0], "side": SIDE, "batch": BATCH}
save_file(tensors, path, {"golden": json.dumps(meta, separators=(",", ":"))})
print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes, torch {torch.__version__}")
