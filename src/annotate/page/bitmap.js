// A mask as one byte a pixel, 0 or 1, row by row. Every tool sets whole pixels: no blending, no smoothing.
class Bitmap {
  constructor(w, h) {
    this.w = w;
    this.h = h;
    this.on = new Uint8Array(w * h);
  }

  // Run lengths, off and on by turns, the first off: as the server has them.
  static fromRuns(w, h, runs) {
    const b = new Bitmap(w, h);
    let at = 0;
    runs.forEach((n, i) => {
      if (i % 2) b.on.fill(1, at, at + n);
      at += n;
    });
    return b;
  }

  runs() {
    const out = [];
    let last = 0, n = 0;
    for (const v of this.on) {
      if (v !== last) {
        out.push(n);
        last = v;
        n = 0;
      }
      n++;
    }
    out.push(n);
    return out;
  }

  area() {
    let n = 0;
    for (const v of this.on) n += v;
    return n;
  }

  copy() {
    const b = new Bitmap(this.w, this.h);
    b.on.set(this.on);
    return b;
  }

  // Pixels x0 <= x < x1 of row y, as far as they lie inside.
  span(y, x0, x1, v) {
    if (y < 0 || y >= this.h) return;
    x0 = Math.max(0, x0);
    x1 = Math.min(this.w, x1);
    if (x1 > x0) this.on.fill(v, y * this.w + x0, y * this.w + x1);
  }

  // A disc of `size` pixels across: those whose centre is at most size / 2 from its middle. The middle is the centre of pixel
  // (x, y) for an odd size, and that pixel's lower right corner for an even one.
  disc(x, y, size, v) {
    const r = size / 2, half = size % 2 ? 0 : 0.5;
    for (let dy = -Math.ceil(r); dy <= Math.ceil(r) + 1; dy++) {
      const reach = r * r - (dy - half) * (dy - half);
      if (reach < 0) continue;
      const s = Math.sqrt(reach);
      this.span(y + dy, x + Math.ceil(half - s), x + Math.floor(half + s) + 1, v);
    }
  }

  // Discs along the straight line from one pixel to another (Bresenham).
  stroke(x0, y0, x1, y1, size, v) {
    const dx = Math.abs(x1 - x0), dy = -Math.abs(y1 - y0), sx = x0 < x1 ? 1 : -1, sy = y0 < y1 ? 1 : -1;
    let e = dx + dy;
    for (;;) {
      this.disc(x0, y0, size, v);
      if (x0 === x1 && y0 === y1) return;
      const twice = 2 * e;
      if (twice >= dy) {
        e += dy;
        x0 += sx;
      }
      if (twice <= dx) {
        e += dx;
        y0 += sy;
      }
    }
  }

  // Both corners are inside.
  rectangle(x0, y0, x1, y1, v) {
    for (let y = Math.max(0, Math.min(y0, y1)); y <= Math.min(this.h - 1, Math.max(y0, y1)); y++)
      this.span(y, Math.min(x0, x1), Math.max(x0, x1) + 1, v);
  }

  // A pixel counts where its centre is inside (even-odd). Points are corners of pixels.
  polygon(points, v) {
    for (let y = 0; y < this.h; y++) {
      const c = y + 0.5, xs = [];
      points.forEach(([x0, y0], i) => {
        const [x1, y1] = points[(i + 1) % points.length];
        if ((y0 <= c) !== (y1 <= c)) xs.push(x0 + ((c - y0) * (x1 - x0)) / (y1 - y0));
      });
      xs.sort((a, b) => a - b);
      for (let i = 0; i + 1 < xs.length; i += 2) this.span(y, Math.ceil(xs[i] - 0.5), Math.ceil(xs[i + 1] - 0.5), v);
    }
  }

  // The pixels like (x, y) that are joined to it along edges.
  flood(x, y, v) {
    if (x < 0 || y < 0 || x >= this.w || y >= this.h || this.on[y * this.w + x] === v) return;
    const { w, h, on } = this, stack = [y * w + x];
    on[y * w + x] = v;
    while (stack.length) {
      const i = stack.pop(), px = i % w, py = (i - px) / w;
      for (const [inside, j] of [[px > 0, i - 1], [px + 1 < w, i + 1], [py > 0, i - w], [py + 1 < h, i + w]])
        if (inside && on[j] !== v) {
          on[j] = v;
          stack.push(j);
        }
    }
  }

  invert() {
    for (let i = 0; i < this.on.length; i++) this.on[i] ^= 1;
  }

  // Turns on whatever is enclosed: off, and not joined to the border through pixels that are off.
  fillHoles() {
    const outside = new Bitmap(this.w + 2, this.h + 2);
    for (let y = 0; y < this.h; y++) outside.on.set(this.on.subarray(y * this.w, (y + 1) * this.w), (y + 1) * (this.w + 2) + 1);
    outside.flood(0, 0, 1);
    for (let y = 0; y < this.h; y++)
      for (let x = 0; x < this.w; x++) if (!outside.on[(y + 1) * (this.w + 2) + x + 1]) this.on[y * this.w + x] = 1;
  }

  // Each pixel becomes the largest (v = 1) or smallest (v = 0) of the square of 2r + 1 pixels around it, cut at the border.
  spread(r, v) {
    const { w, h } = this;
    const pass = (from, to, n, lines, step, jump) => {
      for (let l = 0; l < lines; l++)
        for (let i = 0, last = -Infinity, next = 0; i < n; i++) {
          for (; next <= i + r && next < n; next++) if (from[l * jump + next * step] === v) last = next;
          to[l * jump + i * step] = last >= i - r ? v : 1 - v;
        }
    };
    const across = new Uint8Array(w * h);
    pass(this.on, across, w, h, 1, w);
    pass(across, this.on, h, w, w, 1);
  }

  // Above a threshold, closed over gaps of 2r pixels, enclosed parts filled.
  static above(w, h, grey, threshold, r) {
    const b = new Bitmap(w, h);
    for (let i = 0; i < grey.length; i++) b.on[i] = grey[i] > threshold ? 1 : 0;
    if (r > 0) {
      b.spread(r, 1);
      b.spread(r, 0);
      b.fillHoles();
    }
    return b;
  }
}
