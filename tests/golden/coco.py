"""Run-length encodings by pycocotools: `python3 tests/golden/coco.py` writes coco.json beside this file (needs numpy and pycocotools)."""

import json
import pathlib

import numpy as np
from pycocotools import mask as coco

rng = np.random.default_rng(7)
rows = []
for h, w, share in [(1, 1, 0.0), (1, 1, 1.0), (3, 5, 0.5), (8, 6, 0.0), (8, 6, 1.0), (17, 23, 0.1), (31, 9, 0.9), (40, 40, 0.5), (150, 7, 0.01)]:
    rows.append((rng.random((h, w)) < share).astype(np.uint8))
disc = np.hypot(*(np.mgrid[:64, :90] - np.array([30, 50])[:, None, None])) <= 21
rows.append(disc.astype(np.uint8))
# Long runs: several characters a length, and differences below zero.
long = np.zeros((40, 160), np.uint8)
long[5:38, 20:26] = 1
long[10:14, 100:150] = 1
rows.append(long)


def plain(m):
    counts, last, n = [], 0, 0
    for v in m.flatten(order="F"):
        if v != last:
            counts.append(n)
            last, n = v, 0
        n += 1
    return counts + [n]


out = []
for m in rows:
    text = coco.encode(np.asfortranarray(m))
    h, w = m.shape
    counts = plain(m)
    # pycocotools makes the same text of the plain lengths, and the same pixels of the text.
    assert coco.frPyObjects({"size": [h, w], "counts": counts}, h, w)["counts"] == text["counts"]
    assert (coco.decode(text) == m).all()
    out.append({"w": w, "h": h, "on": "".join(map(str, m.flatten())), "counts": counts, "text": text["counts"].decode()})
file = pathlib.Path(__file__).with_name("coco.json")
file.write_text(json.dumps(out, separators=(",", ":")) + "\n")
