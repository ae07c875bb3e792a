"""The small pictures of this folder: kinds of files that the `image` crate does not write. python3 make.py (needs pillow 12, numpy)."""
import numpy as np
from PIL import Image

W, H = 48, 40
rng = np.random.default_rng(1)


def frame(k):
    y, x = np.mgrid[0:H, 0:W]
    a = np.stack([x * 5 + 9 * k, y * 6, (x + y) * 2 + 40 * ((x // 8 + y // 8) % 2)], -1) + rng.normal(0, 6, (H, W, 3))
    return Image.fromarray(a.clip(0, 255).astype(np.uint8))


f = [frame(k) for k in range(3)]
f[0].save("baseline.jpg", quality=85, subsampling=2)
f[0].save("progressive.jpg", quality=85, subsampling=2, progressive=True)
f[0].save("restart.jpg", quality=85, subsampling=2, restart_marker_blocks=2)
f[0].save("optimised.jpg", quality=60, subsampling=1, optimize=True)
f[0].convert("L").save("grey.jpg", quality=85, progressive=True)
f[0].convert("CMYK").save("cmyk.jpg", quality=85)
f[0].save("animated.gif", save_all=True, append_images=f[1:])
f[0].save("animated.webp", save_all=True, append_images=f[1:], quality=70)
f[0].save("lossy.webp", quality=70)
f[0].save("lossless.webp", lossless=True)
small = [i.resize((16, 12)) for i in f]
small[0].save("animated.png", save_all=True, append_images=small[1:])
small[0].save("apart.png", save_all=True, append_images=small[1:], default_image=True)
small[0].save("pages.tif", save_all=True, append_images=small[1:], compression="tiff_lzw")
small[0].save("big.tif", big_tiff=True)
