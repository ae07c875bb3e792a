#!/usr/bin/env python3
"""Writes tests/golden/metrics.json: what scikit-learn says about small seeded samples with many ties.

    pip install numpy scikit-learn
    python tests/golden/metrics.py

EER has no function in scikit-learn: it is the false positive rate at the point of `roc_curve(drop_intermediate=False)` with the
smallest |FNR - FPR|, found with whole numbers so that rounding decides no tie.
"""

import json
import pathlib

import numpy as np
from sklearn import metrics


def detection(name, score, fake):
    called = score >= 0.5
    fpr, tpr, _ = metrics.roc_curve(fake, score, drop_intermediate=False)
    p, n = int(fake.sum()), int((~fake).sum())
    fn, fp = p - np.rint(tpr * p).astype(int), np.rint(fpr * n).astype(int)
    at = int(np.argmin(np.abs(fn * n - fp * p)))
    return {
        "name": name,
        "score": score.tolist(),
        "fake": fake.astype(int).tolist(),
        "accuracy": metrics.accuracy_score(fake, called),
        "recall_real": metrics.recall_score(fake, called, pos_label=0),
        "recall_fake": metrics.recall_score(fake, called, pos_label=1),
        "balanced": metrics.balanced_accuracy_score(fake, called),
        "auc": metrics.roc_auc_score(fake, score),
        "ap": metrics.average_precision_score(fake, score),
        "eer": fp[at] / n,
    }


def localisation(name, m, g):
    lo, hi = float(m.min()), float(m.max())
    m64, half = m.astype(float), lo + 0.5 * (hi - lo)
    iou = lambda over: metrics.jaccard_score(g, over)
    top = m == m.max()
    plus = np.maximum(m64, 0)
    return {
        "name": name,
        "map": m.astype(float).tolist(),
        "mask": g.astype(int).tolist(),
        "auc": metrics.roc_auc_score(g, m),
        "ap": metrics.average_precision_score(g, m),
        "iou_half": iou(m64 >= half),
        "iou_best": max(iou(m >= t) for t in np.unique(m)),
        "energy": plus[g].sum() / plus.sum(),
        "pointing": g[top].mean(),
        "mae": metrics.mean_absolute_error(g.astype(float), m64),
        "mse": metrics.mean_squared_error(g.astype(float), m64),
    }


def main():
    rng = np.random.default_rng(20)
    cases = []
    for name, n, share, steps in [("many ties", 60, 0.5, 8), ("few ties", 80, 0.5, 200), ("rare fakes", 70, 0.1, 20),
                                  ("mostly fakes", 50, 0.9, 10), ("two scores", 30, 0.4, 1), ("two pictures", 2, 0.5, 100)]:
        fake = np.arange(n) < max(1, round(n * share))
        raw = rng.normal(0.5, 0.2, n) + np.where(fake, 0.08, -0.08)
        cases.append(detection(name, np.round(np.clip(raw, 0, 1) * steps) / steps, fake))
    cases.append(detection("backwards", 1 - np.array(cases[0]["score"]), np.array(cases[0]["fake"], bool)))
    cases.append(detection("perfect", np.array([0.1, 0.2, 0.3, 0.8, 0.9]), np.array([0, 0, 0, 1, 1], bool)))

    maps = []
    side = 10
    y, x = np.mgrid[:side, :side]
    for name, steps in [("quarters", 4), ("fine", 1024)]:
        g = (np.hypot(x - 4, y - 5) < 3).ravel()
        # Multiples of a power of two are exact in f32.
        m = np.round((rng.normal(0, 0.5, side * side) + 0.6 * g) * steps) / steps
        maps.append(localisation(name, m.astype(np.float32), g))
    maps.append(localisation("several tops", np.minimum(m, 0.5).astype(np.float32), g))

    out = pathlib.Path(__file__).with_suffix(".json")
    out.write_text(json.dumps({"detection": cases, "localisation": maps}, separators=(",", ":")).replace('{"name', '\n{"name') + "\n")
    print(out, out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
