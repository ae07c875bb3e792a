#!/usr/bin/env python3
"""Regenerates a square of each photograph by another program's inpainting: `python3 docs/photographs/forge_opencv.py IN_DIR OUT_DIR`.

Writes OUT/png and OUT/jpg, the same pictures saved without loss and as one JPEG of quality 90, genuine and forged alike; each is a data
set for `lae-engine eval RUN --data OUT/jpg`: test/ holds the genuine pictures and OpenCV's Telea, unseen/ its Navier-Stokes fill and the
harmonic fill of this script, all with regions of 5, 10, 25 and 50 % of the short side, with masks and a manifest. The same photographs
give the same bytes. Needs numpy, scipy and opencv-python-headless.
"""
import hashlib
import json
import pathlib
import sys

import cv2
import numpy as np
from scipy.fft import dstn, idstn

SHARES, FORGERS = (5, 10, 25, 50), ("telea", "ns", "harmonic")


def read(path):
    """Pixels as they are stored, whatever the EXIF orientation says."""
    return cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def hole(name, w, h, share):
    """x, y, side: a square whose centre lies in the central half of the picture."""
    side = max(16, round(min(w, h) * share / 100))
    u, v = (int.from_bytes(hashlib.sha256(f"{name} {share} {i}".encode()).digest()[:6], "big") / 2**48 for i in "xy")
    x, y = round(w * (0.25 + 0.5 * u) - side / 2), round(h * (0.25 + 0.5 * v) - side / 2)
    return min(max(x, 1), w - side - 1), min(max(y, 1), h - side - 1), side


def harmonic(image, x, y, s):
    """The solution of Laplace's equation in the hole with the pixels around it as boundary values."""
    out, k = image.copy(), np.arange(1, s + 1)
    e = 2 * np.cos(np.pi * k / (s + 1)) - 2
    for c in range(3):
        a, f = image[..., c].astype(np.float64), np.zeros((s, s))
        f[0] -= a[y - 1, x:x + s]
        f[-1] -= a[y + s, x:x + s]
        f[:, 0] -= a[y:y + s, x - 1]
        f[:, -1] -= a[y:y + s, x + s]
        u = idstn(dstn(f, type=1) / (e[:, None] + e[None, :]), type=1)
        out[y:y + s, x:x + s, c] = np.clip(np.rint(u), 0, 255)
    return out


def forge(image, forger, x, y, s):
    """The whole picture with the hole filled; the fillers see it with 64 pixels around."""
    h, w = image.shape[:2]
    x0, y0, x1, y1 = max(0, x - 64), max(0, y - 64), min(w, x + s + 64), min(h, y + s + 64)
    part, (x, y) = np.ascontiguousarray(image[y0:y1, x0:x1]), (x - x0, y - y0)
    if forger == "harmonic":
        part = harmonic(part, x, y, s)
    else:
        mask = np.zeros(part.shape[:2], np.uint8)
        mask[y:y + s, x:x + s] = 255
        part = cv2.inpaint(part, mask, 3, cv2.INPAINT_TELEA if forger == "telea" else cv2.INPAINT_NS)
    out = image.copy()
    out[y0:y1, x0:x1] = part
    return out


class Set:
    """A data set of one format, as it grows."""

    def __init__(self, folder, ending, options):
        self.folder, self.ending, self.options, self.lines = folder, ending, options, []

    def save(self, image, split, label, method, group, stem, mask=None, side=None):
        def write(what, pixels, ending, options):
            path = f"{split}/{what}/{stem}.{ending}"
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(self.folder / path), pixels, options):
                sys.exit(f"cannot write {self.folder / path}")
            return path

        line = {"path": write(label, image, self.ending, self.options), "label": label, "method": method, "group": group, "split": split}
        if mask is not None:
            line |= {"mask": write("mask", mask, "png", PNG), "side": side}
        self.lines.append(json.dumps(line | {"fingerprinted": False}))

    def close(self):
        (self.folder / "manifest.jsonl").write_text("".join(line + "\n" for line in self.lines))


PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


def main():
    if len(sys.argv) != 3 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    source, out = map(pathlib.Path, sys.argv[1:])
    sets = [Set(out / "png", "png", PNG), Set(out / "jpg", "jpg", [cv2.IMWRITE_JPEG_QUALITY, 90])]
    for group, path in enumerate(sorted(source.glob("*.jpg"))):
        image, name = read(path), path.stem
        if image is None:
            print("cannot read", path)
            continue
        h, w = image.shape[:2]
        for s in sets:
            s.save(image, "test", "real", "real", group, name)
        for share in SHARES:
            x, y, side = hole(name, w, h, share)
            mask = np.zeros((h, w), np.uint8)
            mask[y:y + side, x:x + side] = 255
            for forger in FORGERS:
                split, method = ("test", "telea") if forger == "telea" else (f"unseen/opencv-{forger}", f"opencv-{forger}")
                forged = forge(image, forger, x, y, side)
                for s in sets:
                    s.save(forged, split, "fake", method, group, f"{name}_{share}", mask, share / 100)
        print(name, w, h, flush=True)
    for s in sets:
        s.close()


if __name__ == "__main__":
    main()
