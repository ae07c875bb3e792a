#!/usr/bin/env python3
"""Writes ops.safetensors: what PyTorch computes, in float64, for the operations of src/ops.

    python3 tests/golden/ops.py          # needs torch and safetensors; the version in use is written into the file

tests/golden.rs reads the file, so running this script is needed only to add a case. Everything is stored in torch's layout
(pictures N,C,H,W; filters O,I,H,W; matrices O,I): the test converts, which checks the layouts that the ops document. All inputs are
exactly representable in float32, so that one file serves both precisions. The same script gives the same bytes every time.

A case is {op, label, params, inputs: [tensor], wants: [index], u, outputs: [[index, tensor]], updated: [[index, tensor]],
grads: [[index, tensor]]}: index counts inputs or outputs of the op, u is the upstream gradient of output 0.
"""

import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from philox import dropout_mask, stream
from safetensors.torch import save_file

torch.set_num_threads(1)
draw = random.Random(20220413)
tensors, cases = {}, []


def exact(values, *shape):
    return torch.tensor(values, dtype=torch.float32).double().reshape(shape)


def normal(*shape, scale=1.0, away=0.0):
    """Standard normal numbers, at least `away` from zero."""
    n = torch.Size(shape).numel()
    values = [draw.gauss(0, 1) * scale for _ in range(n)]
    return exact([v + away * (1 if v > 0 else -1) for v in values], *shape)


def positive(*shape):
    return exact([draw.uniform(0.5, 1.5) for _ in range(torch.Size(shape).numel())], *shape)


def distinct(*shape):
    """Numbers at least 1/16 apart: no window of a pooling has two largest ones."""
    n = torch.Size(shape).numel()
    values = [(i - n / 2) / 16 for i in range(n)]
    draw.shuffle(values)
    return exact(values, *shape)


def store(name, t):
    """Keep a tensor for the file, in the smallest type that loses nothing."""
    t = t.detach().contiguous().clone()
    if t.dtype == torch.bool:
        t = t.to(torch.uint8)
    elif torch.equal(t.float().double(), t):
        t = t.float()
    tensors[name] = t
    return name


def add(op, label, params, inputs, function, wants=None, updated=None, shared=None):
    """Run `function` on the inputs, differentiate <u, output 0>, and store all of it."""
    key = len(cases)
    inputs = [t.clone() for t in inputs]
    names = [(shared or {}).get(i) or store(f"{key}.x{i}", t) for i, t in enumerate(inputs)]
    wants = list(range(len(inputs))) if wants is None else wants
    for i in wants:
        inputs[i].requires_grad_(True)
    out = function(*[t.double() if t.dtype == torch.bool else t for t in inputs])
    out = out if isinstance(out, tuple) else (out,)
    u = normal(*out[0].shape)
    grads = torch.autograd.grad(out[0], [inputs[i] for i in wants], u) if wants else []
    cases.append({
        "op": op,
        "label": label,
        "params": params,
        "inputs": names,
        "wants": wants,
        "u": store(f"{key}.u", u),
        "outputs": [[i, store(f"{key}.y{i}", y)] for i, y in enumerate(out)],
        # Buffers that the function changed in place.
        "updated": [[i, store(f"{key}.updated{i}", inputs[i])] for i in updated or []],
        "grads": [[i, store(f"{key}.dx{i}", g)] for i, g in zip(wants, grads)],
    })


# Convolutions -------------------------------------------------------------------------------------------------------------------

def conv2d(label, x, k, kernel, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1, bias=True):
    inputs = [normal(*x), normal(k, x[1] // groups, *kernel)] + ([normal(k)] if bias else [])
    params = {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups}
    add("conv2d", label, params, inputs, lambda x, w, b=None: F.conv2d(x, w, b, stride, pad, dilation, groups))


conv2d("4x4, stride 2, pad 1", (2, 2, 8, 6), 4, (4, 4), (2, 2), (1, 1))
conv2d("3x3, pad 1", (1, 3, 5, 7), 4, (3, 3), pad=(1, 1))
conv2d("3x3, stride 2, odd", (1, 3, 7, 9), 5, (3, 3), (2, 2), (1, 1), bias=False)
conv2d("1x1", (2, 5, 3, 3), 4, (1, 1))
conv2d("rectangular 1x7", (1, 2, 4, 9), 4, (1, 7), pad=(0, 3), bias=False)
conv2d("rectangular 5x3, all sizes unequal", (1, 2, 10, 11), 3, (5, 3), (3, 2), (2, 1), (1, 2))
conv2d("dilation 2", (1, 3, 7, 8), 2, (3, 3), pad=(2, 2), dilation=(2, 2))
conv2d("groups 2", (1, 4, 5, 5), 6, (3, 3), pad=(1, 1), groups=2)
conv2d("depthwise", (1, 6, 7, 6), 6, (3, 3), (2, 2), (1, 1), groups=6, bias=False)
conv2d("depthwise, two filters each", (1, 3, 5, 5), 6, (3, 3), pad=(1, 1), groups=3)
conv2d("padding beyond the kernel", (1, 3, 2, 2), 2, (2, 2), pad=(3, 3))


def conv_transpose2d(label, x, c, kernel, stride, pad, bias=True):
    inputs = [normal(*x), normal(x[1], c, kernel, kernel)] + ([normal(c)] if bias else [])
    params = {"stride": stride, "pad": pad}
    add("conv_transpose2d", label, params, inputs, lambda x, w, b=None: F.conv_transpose2d(x, w, b, stride, pad))


conv_transpose2d("4/1/0 from one pixel", (2, 5, 1, 1), 3, 4, 1, 0)
conv_transpose2d("4/1/0", (1, 3, 3, 2), 4, 4, 1, 0)
conv_transpose2d("4/2/1", (2, 3, 3, 4), 2, 4, 2, 1)
conv_transpose2d("4/2/1 without bias", (1, 9, 3, 2), 2, 4, 2, 1, bias=False)
conv_transpose2d("3/2/1", (2, 3, 4, 3), 2, 3, 2, 1)
conv_transpose2d("3/2/0", (1, 2, 3, 4), 3, 3, 2, 0)
conv_transpose2d("5/3/2", (1, 2, 3, 3), 2, 5, 3, 2)

add("linear", "rows", {}, [normal(3, 7), normal(5, 7), normal(5)], F.linear)
add("linear", "one output, no bias", {}, [normal(4, 33), normal(1, 33)], F.linear)
# The engine reads a picture channels innermost.
add("linear", "pictures", {}, [normal(2, 4, 2, 3), normal(3, 24), normal(3)],
    lambda x, w, b: F.linear(x.permute(0, 2, 3, 1).flatten(1), w, b))

# Normalisation, activations, pooling, resizing ----------------------------------------------------------------------------------

def batch_norm(label, x, mean=0.0, eps=1e-5, momentum=0.1):
    c = x[1]
    inputs = lambda: [normal(*x) + mean, positive(c), normal(c), normal(c), positive(c)]
    params = {"eps": eps, "momentum": momentum}
    add("batch_norm_train", label, params, inputs(),
        lambda x, g, b, m, v: F.batch_norm(x, m, v, g, b, training=True, momentum=momentum, eps=eps), [0, 1, 2], [3, 4])
    add("batch_norm_eval", label, params, inputs(),
        lambda x, g, b, m, v: F.batch_norm(x, m, v, g, b, training=False, eps=eps), [0, 1, 2])


batch_norm("small", (2, 3, 3, 5))
batch_norm("more than one block", (3, 1, 10, 9))
batch_norm("vectors", (7, 4, 1, 1))
batch_norm("mean 8", (2, 2, 4, 4), 8.0)

for name, function in [("relu", F.relu), ("leaky_relu", lambda x: F.leaky_relu(x, 0.2)), ("tanh", torch.tanh),
                       ("sigmoid", torch.sigmoid)]:
    add(name, "normal", {"slope": 0.2}, [normal(2, 2, 5, 4, away=0.01)], function)
    add(name, "wide", {"slope": 0.2}, [normal(1, 2, 3, 5, scale=20.0, away=0.01)], function)


def max_pool(label, x, kernel, stride, pad=0, ceil=False, values=distinct):
    params = {"kernel": kernel, "stride": stride, "pad": pad, "ceil": ceil}
    add("max_pool", label, params, [values(*x)], lambda x: F.max_pool2d(x, kernel, stride, pad, ceil_mode=ceil))


max_pool("2/2", (2, 3, 6, 4), 2, 2)
max_pool("2/2 odd", (1, 2, 5, 7), 2, 2)
max_pool("2/2 odd, ceil", (1, 2, 5, 7), 2, 2, ceil=True)
max_pool("3/2 ceil", (2, 2, 6, 7), 3, 2, ceil=True)
max_pool("3/2/1", (2, 2, 6, 7), 3, 2, 1)
max_pool("3/2/1 ceil", (1, 3, 6, 8), 3, 2, 1, True)
max_pool("3/1/1 overlapping, with ties", (1, 3, 5, 5), 3, 1, 1, values=lambda *x: normal(*x).round().clamp_min(0))
max_pool("2/3/1 ceil, window that would start outside", (1, 2, 5, 6), 2, 3, 1, True)

add("global_avg_pool", "5x7", {}, [normal(2, 3, 5, 7)], lambda x: x.mean((2, 3), keepdim=True))
add("global_avg_pool", "one pixel", {}, [normal(2, 3, 1, 1)], lambda x: F.adaptive_avg_pool2d(x, 1))


def bilinear(label, x, h, w, corners):
    params = {"h": h, "w": w, "align_corners": corners}
    add("bilinear", f"{label}{', corners' if corners else ''}", params, [normal(*x)],
        lambda x: F.interpolate(x, (h, w), mode="bilinear", align_corners=corners))


for corners in [False, True]:
    bilinear("up", (2, 1, 4, 3), 9, 8, corners)
    bilinear("up by 4", (1, 1, 4, 4), 16, 16, corners)
    bilinear("down", (1, 3, 7, 9), 3, 4, corners)
    bilinear("one row", (1, 1, 1, 5), 4, 3, corners)
    bilinear("to one column", (1, 2, 3, 5), 4, 1, corners)

# Losses -------------------------------------------------------------------------------------------------------------------------

def latent(z, label, squared=False):
    """Equations 3 and 4 as printed, 2/d times the sum over each half; or with squared distances."""
    d = z.shape[1]
    a_true = 2 / d * z[:, : d // 2].abs().sum(1)
    a_fake = 2 / d * z[:, d // 2:].abs().sum(1)
    l = label[:, 0]
    distance = torch.square if squared else torch.abs
    return (distance(a_true - l) + distance(a_fake - (1 - l))).mean(), torch.stack([a_true, a_fake], 1)


for n, d in [(5, 6), (3, 32)]:
    label = exact([i % 2 for i in range(n)], n, 1)
    add("latent_loss", f"{n}x{d}", {}, [normal(n, d, away=0.05), label], latent, [0])

picture = (3, 2, 5, 4)
add("l1", "pictures", {}, [distinct(*picture), normal(*picture)], lambda a, b: (a - b).abs().mean())
add("mse", "pictures", {}, [normal(*picture), normal(*picture)], F.mse_loss)
add("sse", "pictures", {}, [normal(*picture), normal(*picture)], lambda a, b: (a - b).square().sum() / picture[0])

bce = F.binary_cross_entropy_with_logits
for scale in [1.0, 30.0]:
    add("bce_logits", f"targets, scale {scale:g}", {}, [normal(4, 3, scale=scale), exact([i % 3 / 2 for i in range(12)], 4, 3)],
        bce, [0])
for target in [0.0, 1.0]:
    add("bce_logits", f"constant {target:g}", {"target": target}, [normal(5, 1, scale=4.0)],
        lambda x: bce(x, torch.full_like(x, target)))
for n, c, scale in [(5, 2, 1.0), (4, 7, 1.0), (3, 5, 40.0)]:
    label = exact([draw.randrange(c) for _ in range(n)], n, 1)
    add("cross_entropy", f"{n}x{c}, scale {scale:g}", {}, [normal(n, c, scale=scale), label],
        lambda x, l: F.cross_entropy(x, l[:, 0].long()), [0])

# Fused CAM attention: the naive composition, one full-size map per unit, as the paper writes it ---------------------------------

def cam(f, w, b, mask, select, norm, corners):
    n, k, h, _ = f.shape
    z = f.mean((2, 3)) @ w.T + b
    fake = range(w.shape[0] // 2, w.shape[0])
    maps = [torch.einsum("k,nkij->nij", w[c], f) for c in fake]                     # eq. 7
    m = sum(z[:, c].abs()[:, None, None] * one for c, one in zip(fake, maps))       # eq. 8
    if norm == "weight":
        m = m / (sum(z[:, c].abs() for c in fake)[:, None, None] + 1e-6)
    if norm == "minmax":
        lo, hi = m.amin((1, 2), keepdim=True), m.amax((1, 2), keepdim=True)
        m = (m - lo) / (hi - lo + 1e-6)
    full = F.interpolate(m[:, None], mask.shape[2:], mode="bilinear", align_corners=corners)
    each = (full - mask).square().mean((1, 2, 3))                                   # eq. 9
    return (each * select[:, 0]).sum() / select.sum(), m[:, None]


f = normal(2, 2, 16, 16).abs()
mask = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
mask[0, 0, 9:40, 20:51] = True
mask[1, 0, 33:60, 2:30] = True
inputs = [f, normal(6, 2), normal(6), mask, torch.ones(2, 1).double()]
shared = {i: store(f"cam.x{i}", t) for i, t in enumerate(inputs)}
for norm in ["none", "weight", "minmax"]:
    for corners in [False, True]:
        add("cam_attention", f"{norm}{', corners' if corners else ''}", {"norm": norm, "align_corners": corners}, inputs,
            lambda f, w, b, g, s: cam(f, w, b, g, s, norm, corners), [0, 1, 2], shared=shared)

# Optimisers: the weights after each of several steps ----------------------------------------------------------------------------

def optimiser(op, label, params, make, steps=5, n=23):
    key, w = len(cases), normal(n)
    start, grads, path = store(f"{key}.w", w), normal(steps, n), []
    w = w.clone().requires_grad_(True)
    o = make([w])
    for g in grads:
        w.grad = g.clone()
        o.step()
        path.append(w.detach().clone())
    cases.append({"op": op, "label": label, "params": params, "start": start, "steps": store(f"{key}.g", grads),
                  "path": store(f"{key}.path", torch.stack(path))})


for lr, betas in [(1e-3, (0.9, 0.999)), (0.1, (0.5, 0.999))]:
    optimiser("adam", f"lr {lr:g}", {"lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": 1e-8},
              lambda p: torch.optim.Adam(p, lr, betas, 1e-8))
for momentum, decay in [(0.0, 0.0), (0.9, 0.0), (0.0, 0.25), (0.9, 5e-4)]:
    optimiser("sgd", f"momentum {momentum:g}, decay {decay:g}", {"lr": 0.125, "momentum": momentum, "weight_decay": decay},
              lambda p: torch.optim.SGD(p, 0.125, momentum, weight_decay=decay))

# What came later stands here, so that the numbers drawn above stay what they were -------------------------------------------------

batch_norm("Keras's constants", (2, 3, 4, 5), eps=1e-3, momentum=0.01)

# Flattened in torch's own order: the matrix as O,C,H,W is O,H,W,C in the engine.
add("linear", "pictures, matrix per pixel", {}, [normal(2, 4, 2, 3), normal(3, 4, 2, 3), normal(3)],
    lambda x, w, b: F.linear(x.flatten(1), w.flatten(1), b))

for p, of, step, x in [(0.5, "net.3", 0, (3, 7)), (0.35, "net.3", 41, (2, 3, 4, 5)), (0.5, "net.8", 2**23 + 1, (2, 3, 4, 5))]:
    mask = dropout_mask(x, p, 9, stream(of), step)
    add("dropout", f"{p} {of} step {step}", {"p": p, "seed": 9, "stream": of}, [normal(*x), exact([step], 1)],
        lambda x, _: x * mask, [0])

for n, d in [(5, 6), (3, 32)]:
    label = exact([i % 2 for i in range(n)], n, 1)
    add("latent_loss", f"{n}x{d} squared", {"squared": True}, [normal(n, d, away=0.05), label],
        lambda z, label: latent(z, label, squared=True), [0])

for size, alpha, beta, k, x in [(5, 1e-4, 0.75, 1.0, (2, 12, 3, 4)), (5, 0.5, 0.75, 2.0, (1, 7, 3, 5)), (3, 2.0, 0.5, 1.0, (2, 2, 3, 3))]:
    add("lrn", f"{size}, {alpha:g}, {beta:g}", {"size": size, "alpha": alpha, "beta": beta, "k": k}, [normal(*x, scale=3.0)],
        lambda x: F.local_response_norm(x, size, alpha, beta, k))


def avg_pool(label, x, kernel, stride, pad=0, ceil=False):
    params = {"kernel": kernel, "stride": stride, "pad": pad, "ceil": ceil}
    add("avg_pool", label, params, [normal(*x)],
        lambda x: F.avg_pool2d(x, kernel, stride, pad, ceil_mode=ceil, count_include_pad=False))


avg_pool("2/2", (2, 3, 6, 4), 2, 2)
avg_pool("3/2", (1, 2, 7, 8), 3, 2)
avg_pool("3/2 ceil", (2, 2, 6, 7), 3, 2, ceil=True)
avg_pool("3/2/1 ceil", (1, 3, 6, 8), 3, 2, 1, True)
avg_pool("3/1/1", (1, 4, 5, 5), 3, 1, 1)

for x, mean in [((2, 3, 5, 7), 0.0), ((2, 4, 3, 6), 1000.0), ((3, 2, 1, 1), 0.0)]:
    add("moments_pool", f"mean {mean:g}", {}, [distinct(*x) + mean], lambda x: torch.cat(
        [x.mean((2, 3)), x.amin((2, 3)), x.amax((2, 3)), x.var((2, 3), unbiased=False)], 1))
conv2d("depthwise 3x3, dilation 2, fours", (2, 4, 9, 7), 4, (3, 3), pad=(2, 2), dilation=(2, 2), groups=4)
conv2d("depthwise 5x5, fours", (1, 8, 6, 7), 8, (5, 5), pad=(2, 2), groups=8, bias=False)
for temperature, x in [(1.0, (2, 7, 3, 5)), (0.25, (1, 81, 2, 3)), (9.0, (3, 4, 1, 1))]:
    add("softmax", f"temperature {temperature:g}", {"temperature": temperature}, [normal(*x)],
        lambda x: F.softmax(x / temperature, dim=1))
for factor, x in [(2, (2, 3, 4, 5)), (3, (1, 4, 2, 3))]:
    add("nearest", f"by {factor}", {"factor": factor}, [normal(*x)], lambda x: F.interpolate(x, scale_factor=factor))
for n, c in [(3, 6), (2, 8)]:
    label = exact([i % 2 for i in range(n)], n, 1)
    halves = lambda l: torch.cat([l.repeat(1, c // 2), 1 - l.repeat(1, c // 2)], 1)[:, :, None, None]
    add("select_half", f"{n}x{c}", {}, [normal(n, c, 2, 3), label], lambda x, l: x * halves(l), [0])
for weights in [[0.299, 0.587, 0.114], [0.0, 1.0, 0.0]]:
    add("mix", f"{weights}", {"weights": weights}, [normal(2, 3, 4, 5)],
        lambda x: torch.einsum("nchw,c->nhw", x, torch.tensor(weights, dtype=torch.float64))[:, None])

path = Path(__file__).with_name("ops.safetensors")
# One metadata entry: the format does not order several.
save_file(tensors, path, {"golden": json.dumps({"torch": torch.__version__.split("+")[0], "cases": cases}, separators=(",", ":"))})
print(f"{path.name}: {len(cases)} cases, {len(tensors)} tensors, {path.stat().st_size} bytes, torch {torch.__version__}")
