"""Grad-CAM by torch's autograd, for the twins: for each layer A of a network, sum over k of mean over p of d(score)/dA_k(p), times A_k.

The score is the sum over j of weights[j] * net(x)[:, j], the same for every picture. Stretching and averaging are the engine's own.
"""

import torch


def layers_of(net, x, layers, weights, values=None):
    """A list of N×1×h×w, one of each of the modules `layers`; `values` of the output of `net` if that is not what is weighed."""
    seen, hooks = {}, []
    for layer in layers:
        hooks.append(layer.register_forward_hook(lambda module, _, out: seen.__setitem__(module, out)))
    out = net(x)
    for hook in hooks:
        hook.remove()
    values = out if values is None else values(out)
    score = (values * torch.tensor(weights, dtype=torch.float64)).sum()
    grads = torch.autograd.grad(score, [seen[layer] for layer in layers])
    return [(g.mean((2, 3), keepdim=True) * seen[layer]).sum(1, keepdim=True) for layer, g in zip(layers, grads)]
