#!/usr/bin/env python3
"""A training step and a forward pass of the baselines in PyTorch: the peer of `cargo bench --bench step -- --detector NAME`.

    pip install torch==2.15.0
    python benches/baselines.py --detector meso --size 256 --batch 4 --threads 2

Networks, losses and optimisers as in src/models and src/detectors, preset `paper`; channels last, fused Adam, random data. Prints the
median of --steps steps and of as many forward passes (evaluation, no gradients), each after one that is not counted.
"""
import argparse
import time

import torch
import torch.nn.functional as F
from torch import nn


class Of(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


class Branches(nn.ModuleList):
    def forward(self, x):
        return torch.cat([branch(x) for branch in self], 1)


def luma(scale):
    w = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1) * scale
    return Of(lambda x: (x * w).sum(1, keepdim=True))


def suppress(size):
    pool, lrn = nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)
    features = nn.Sequential(
        Of(lambda x: 255 * x[:, 1:2]), nn.Conv2d(1, 12, 5, bias=False), nn.Conv2d(12, 64, 7, 2, 3), nn.ReLU(), pool, lrn,
        nn.Conv2d(64, 48, 5, 1, 2), nn.ReLU(), pool, lrn, nn.Flatten())
    wide = features(torch.zeros(1, 3, size, size)).shape[1]
    return nn.Sequential(features, nn.Linear(wide, 4096), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU(),
                         nn.Dropout(0.5), nn.Linear(4096, 2))


def residual(size):
    histogram = lambda kernel: nn.Sequential(nn.Conv2d(1, 4, kernel, bias=False), nn.Conv2d(4, 81, 1), nn.Softmax(1),
                                             nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(luma(255), Branches([histogram((1, 7)), histogram((4, 4))]), nn.Linear(162, 2))


def stats(size):
    def moments(x):
        variance, mean = torch.var_mean(x, (2, 3), unbiased=False)
        return torch.cat([mean, x.amin((2, 3)), x.amax((2, 3)), variance], 1)
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), Of(moments),
                         nn.Linear(256, 1024), nn.ReLU(), nn.Dropout(0.35), nn.Linear(1024, 2))


def meso(size):
    conv = lambda i, o, k, d=1: nn.Conv2d(i, o, k, padding="same", dilation=d)
    norm = lambda c: nn.BatchNorm2d(c, eps=1e-3, momentum=0.01)
    wide = lambda i, n, d: nn.Sequential(conv(i, n, 1), nn.ReLU(), conv(n, n, 3, d), nn.ReLU())
    inception = lambda i, a, b, c, d: Branches([nn.Sequential(conv(i, a, 1), nn.ReLU()), wide(i, b, 1), wide(i, c, 2), wide(i, d, 3)])
    return nn.Sequential(
        inception(3, 1, 4, 4, 2), norm(11), nn.MaxPool2d(2), inception(11, 2, 4, 4, 2), norm(12), nn.MaxPool2d(2),
        conv(12, 16, 5), nn.ReLU(), norm(16), nn.MaxPool2d(2), conv(16, 16, 5), nn.ReLU(), norm(16), nn.MaxPool2d(4),
        nn.Dropout(0.5), nn.Flatten(), nn.Linear(16 * (size // 32) ** 2, 16), nn.LeakyReLU(0.1), nn.Dropout(0.5), nn.Linear(16, 1))


class Block(nn.Module):
    def __init__(self, i, widths, halves, first=True):
        super().__init__()
        rep, of = [], i
        for o in widths:
            rep += [nn.ReLU(), nn.Conv2d(of, of, 3, 1, 1, groups=of, bias=False), nn.Conv2d(of, o, 1, bias=False), nn.BatchNorm2d(o)]
            of = o
        rep = rep if first else rep[1:]
        rep += [nn.MaxPool2d(3, 2, 1)] if halves else []
        self.skip = nn.Sequential(nn.Conv2d(i, of, 1, 2, bias=False), nn.BatchNorm2d(of)) if halves else nn.Identity()
        self.rep = nn.Sequential(*rep)

    def forward(self, x):
        return self.rep(x) + self.skip(x)


def xception(size):
    conv = lambda i, o, s: [nn.Conv2d(i, o, 3, s, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
    last = lambda i, o: [nn.Conv2d(i, i, 3, 1, 1, groups=i, bias=False), nn.Conv2d(i, o, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
    return nn.Sequential(
        Of(lambda x: 2 * x - 1), *conv(3, 32, 2), *conv(32, 64, 1), Block(64, [128] * 2, True, first=False), Block(128, [256] * 2, True),
        Block(256, [728] * 2, True), *[Block(728, [728] * 3, False) for _ in range(8)], Block(728, [728, 1024], True),
        *last(1024, 1536), *last(1536, 2048), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 2))


class Transfer(nn.Module):
    def __init__(self, w=8):
        super().__init__()
        down = lambda i, o: nn.Conv2d(i, o, 3, 2, 1)
        self.encoder = nn.Sequential(
            nn.Conv2d(3, w, 3, 1, 1), nn.ReLU(), down(w, 2 * w), nn.BatchNorm2d(2 * w), nn.ReLU(), down(2 * w, 4 * w),
            nn.BatchNorm2d(4 * w), nn.ReLU(), down(4 * w, 8 * w), nn.BatchNorm2d(8 * w), nn.ReLU(), down(8 * w, 16 * w), nn.ReLU())
        rows = []
        for times in [8, 4, 2, 1]:
            rows += [nn.Upsample(scale_factor=2), nn.Conv2d(2 * times * w, times * w, 3, 1, 1), nn.BatchNorm2d(times * w), nn.ReLU()]
        self.decoder = nn.Sequential(*rows, nn.Conv2d(w, 3, 3, 1, 1), nn.Tanh())

    def activations(self, h):
        mean = h.mean((2, 3))
        half = mean.shape[1] // 2
        return mean[:, :half].mean(1), mean[:, half:].mean(1)

    def forward(self, x):
        return torch.stack(self.activations(self.encoder(2 * x - 1)), 1)

    def loss(self, x, true):
        x = 2 * x - 1
        h = self.encoder(x)
        a, b = self.activations(h)
        half = h.shape[1] // 2
        kept = torch.cat([h[:, :half] * true.reshape(-1, 1, 1, 1), h[:, half:] * (1 - true).reshape(-1, 1, 1, 1)], 1)
        return ((a - true).abs() + (b - 1 + true).abs()).mean() + 0.1 * (self.decoder(kept) - x).abs().mean()


p = argparse.ArgumentParser()
p.add_argument("--detector", required=True)
p.add_argument("--size", type=int, default=256)
p.add_argument("--batch", type=int, default=4)
p.add_argument("--threads", type=int, default=0)
p.add_argument("--steps", type=int, default=7)
a = p.parse_args()
if a.threads:
    torch.set_num_threads(a.threads)
torch.manual_seed(0)
net = Transfer() if a.detector == "transfer" else globals()[a.detector](a.size)
net = net.to(memory_format=torch.channels_last)
if a.detector == "suppress":
    filters, middle = net[0][1].weight, (slice(None), slice(None), 2, 2)


def project():
    with torch.no_grad():
        filters[middle] = 0
        filters.div_(filters.sum((2, 3), keepdim=True))
        filters[middle] = -1


adam = torch.optim.Adam(net.parameters(), 1e-4, fused=True)
x = torch.rand(a.batch, 3, a.size, a.size).to(memory_format=torch.channels_last)
true = (torch.arange(a.batch) < a.batch // 2).float()


def loss():
    if a.detector == "transfer":
        return net.loss(x, true)
    out = net(x)
    return (torch.sigmoid(out[:, 0]) - true).square().mean() if a.detector == "meso" else F.cross_entropy(out, (1 - true).long())


def step():
    adam.zero_grad(set_to_none=True)
    loss().backward()
    adam.step()
    if a.detector == "suppress":
        project()


def forward():
    with torch.inference_mode():
        net(x)


def median(f):
    times = []
    for _ in range(a.steps + 1):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[a.steps // 2]


net.train()
s = median(step)
net.eval()
f = median(forward)
count = sum(q.numel() for q in net.parameters())
what = f"torch {torch.__version__}, {a.detector}; size {a.size} batch {a.batch} threads {torch.get_num_threads()}"
print(f"{what}: {1e3 * s:.1f} ms/step, {1e3 * f:.1f} ms/forward ({a.steps} steps, {count} parameters)")
