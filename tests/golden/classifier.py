"""What the twins of the classifiers share: layers that follow the engine, one training step, the file. Read by tests/baselines.

Dropout takes the engine's masks. Weights and inputs are exactly representable in float32. Tensors of a network NAME: NAME.x
(bytes), NAME.label (1: fake), NAME.weight.PARAMETER, NAME.grad.PARAMETER, NAME.after.PARAMETER (running statistics, afterwards),
NAME.eval.logits, NAME.train.logits, NAME.loss, NAME.cam.0 (Grad-CAM, evaluation).
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
SEED, STEP, BATCH = 11, 5, 4


class Dropout(nn.Module):
    def __init__(self, p, name):
        super().__init__()
        self.p, self.of = p, stream(name)

    def forward(self, x):
        return x * dropout_mask(tuple(x.shape), self.p, SEED, self.of, STEP) if self.training else x


class Dense(nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1))


class Of(nn.Module):
    """A function as a layer."""

    def __init__(self, f):
        super().__init__()
        self.forward = f


def project(w):
    """Bayar and Stamm's constraint, as in their training script: the centre to 0, over the sum, the centre to -1."""
    w, (r, s) = w.clone(), (w.shape[2] // 2, w.shape[3] // 2)
    w[:, :, r, s] = 0
    w /= w.sum((2, 3), keepdim=True)
    w[:, :, r, s] = -1
    return w


def exact(values, shape):
    return torch.tensor(values, dtype=torch.float32).double().reshape(shape)


def step(name, seed, net, shape, scale, last, constrained=()):
    """Everything about one training step of `net` on pictures of `shape` (C, H, W), bytes times `scale`; net[last] gives the last maps."""
    draw, net, state = random.Random(seed), net.double(), {}
    for key, t in net.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        if key in constrained:
            of = lambda: draw.uniform(0, 1)
        elif t.dim() > 1:
            bound = (3 / t[0].numel()) ** 0.5
            of = lambda: draw.uniform(-bound, bound)
        elif key.endswith("running_var") or "weight" in key:
            of = lambda: draw.uniform(0.5, 1.5)
        else:
            of = lambda: draw.gauss(0.1, 0.2)
        state[key] = exact([of() for _ in range(t.numel())], t.shape)
        if key in constrained:
            state[key] = project(state[key]).float().double()
    net.load_state_dict(state, strict=False)
    tensors = {f"weight.{key}": t.float() for key, t in state.items()}
    # Pictures with edges and noise: a constant one would leave max pooling and the first least value to ties.
    c, h, w = shape
    value = lambda n, k, i, j: 40 * (n + k) + 2 * i + j + 60 * ((i // 5 + j // 7 + n) % 2) + draw.randrange(24)
    pixels = [value(n, k, i, j) % 256 for n in range(BATCH) for k in range(c) for i in range(h) for j in range(w)]
    pixels = torch.tensor(pixels, dtype=torch.uint8).reshape(BATCH, c, h, w)
    x, label = pixels.double() * scale, torch.tensor([i % 2 for i in range(BATCH)])
    tensors |= {"x": pixels, "label": label.float().reshape(BATCH, 1), "eval.logits": net.eval()(x)}
    tensors["cam.0"] = layers_of(net, x, [net[last]], [0, 1])[0]
    logits = net.train()(x)
    loss = nn.functional.cross_entropy(logits, label)
    loss.backward()
    tensors |= {"train.logits": logits, "loss": loss.reshape(1)}
    # A bias before batch norm is taken off again with the mean: its gradient is rounding.
    tensors |= {f"grad.{key}": p.grad for key, p in net.named_parameters() if p.grad.abs().max() > 1e-12}
    tensors |= {f"after.{key}": b for key, b in net.named_buffers() if not key.endswith("num_batches_tracked")}
    least = min(g.abs().max() for key, g in tensors.items() if key.startswith("grad."))
    count = sum(p.numel() for p in net.parameters())
    print(f"{name}: {count} parameters, loss {loss:.6f}, least of largest gradients {least:.1e}")
    return {f"{name}.{key}": t for key, t in tensors.items()}


def save(file, tensors):
    path = Path(__file__).with_name(file)
    tensors = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
    meta = {"torch": torch.__version__.split("+")[0], "seed": SEED, "step": STEP}
    save_file(tensors, path, {"golden": json.dumps(meta, separators=(",", ":"))})
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes, torch {torch.__version__}")
