// The picture on the screen: picture, heat map, mask, and where a pixel of the picture lies.
class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.w = this.h = 1;
    this.layers = { picture: null, original: null, heat: null, difference: null };
    this.show = { mask: true, heat: false, difference: false, original: false };
    this.opacity = 0.5;
    this.contrast = 1;
    this.overlay = document.createElement("canvas");
    this.asked = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  resize() {
    const { canvas } = this, d = devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * d));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * d));
    if (this.fitted) this.fit();
    this.draw();
  }

  // Another picture of w × h pixels.
  open(w, h) {
    Object.assign(this, { w, h, layers: { picture: null, original: null, heat: null, difference: null } });
    this.overlay.width = w;
    this.overlay.height = h;
    this.pixels = this.overlay.getContext("2d").createImageData(w, h);
    this.fit();
  }

  fit() {
    const { clientWidth: cw, clientHeight: ch } = this.canvas;
    this.scale = Math.max(0.02, Math.min((cw - 32) / this.w, (ch - 72) / this.h));
    this.x = (cw - this.w * this.scale) / 2;
    this.y = (ch - this.h * this.scale) / 2;
    this.fitted = true;
    this.draw();
  }

  // Scale by `factor`; the point (px, py) of the canvas stays where it is.
  zoom(factor, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    const scale = Math.min(64, Math.max(0.02, this.scale * factor)), f = scale / this.scale;
    this.x = px - (px - this.x) * f;
    this.y = py - (py - this.y) * f;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.fitted = false;
    this.draw();
  }

  // The place of a pointer in the picture: whole numbers are corners of pixels.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left - this.x) / this.scale, (event.clientY - box.top - this.y) / this.scale];
  }

  // The mask as colour: rows y0 to y1.
  paint(bitmap, y0 = 0, y1 = bitmap.h) {
    const data = this.pixels.data;
    for (let i = y0 * bitmap.w; i < y1 * bitmap.w; i++) {
      const v = bitmap.on[i];
      data[4 * i] = 255 * v;
      data[4 * i + 1] = 45 * v;
      data[4 * i + 2] = 120 * v;
      data[4 * i + 3] = 255 * v;
    }
    this.overlay.getContext("2d").putImageData(this.pixels, 0, 0, 0, y0, bitmap.w, y1 - y0);
    this.draw();
  }

  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.render();
    });
  }

  render() {
    const { canvas, layers, show } = this, g = canvas.getContext("2d"), d = devicePixelRatio || 1;
    Object.assign(canvas.dataset, { scale: this.scale, x: this.x, y: this.y });
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, canvas.width, canvas.height);
    g.setTransform(d * this.scale, 0, 0, d * this.scale, d * this.x, d * this.y);
    g.imageSmoothingEnabled = this.scale * d < 2;
    const base = (show.original && layers.original) || layers.picture;
    if (this.contrast !== 1) g.filter = `contrast(${this.contrast})`;
    if (base) g.drawImage(base, 0, 0, this.w, this.h);
    g.filter = "none";
    if (show.difference && layers.difference) g.drawImage(layers.difference, 0, 0);
    if (show.heat && layers.heat) {
      g.globalAlpha = 0.6;
      g.drawImage(layers.heat, 0, 0);
    }
    if (show.mask && !show.original) {
      g.globalAlpha = this.opacity;
      g.imageSmoothingEnabled = false;
      g.drawImage(this.overlay, 0, 0);
    }
    g.globalAlpha = 1;
    this.sketch?.(g, 1 / this.scale);
    g.setTransform(d, 0, 0, d, 0, 0);
    if (this.cursor) {
      const [x, y, r] = this.cursor;
      for (const [colour, width] of [["#000", 3], ["#fff", 1]]) {
        g.beginPath();
        g.arc(x, y, r, 0, 7);
        g.strokeStyle = colour;
        g.lineWidth = width;
        g.stroke();
      }
    }
  }
}

// Grey values of a PNG.
async function greyOf(bitmap) {
  const c = document.createElement("canvas");
  c.width = bitmap.width;
  c.height = bitmap.height;
  const g = c.getContext("2d", { willReadFrequently: true });
  g.drawImage(bitmap, 0, 0);
  const data = g.getImageData(0, 0, c.width, c.height).data, out = new Uint8Array(c.width * c.height);
  for (let i = 0; i < out.length; i++) out[i] = data[4 * i];
  return out;
}

// A map as colours: from blue over green and yellow to red; where `opaque` is false, low values are transparent.
function coloured(grey, w, h, opaque) {
  const c = document.createElement("canvas");
  c.width = w;
  c.height = h;
  const g = c.getContext("2d"), image = g.createImageData(w, h);
  grey.forEach((v, i) => {
    const t = v / 255, ramp = (at) => Math.round(255 * Math.min(1, Math.max(0, 1.5 - Math.abs(4 * t - at))));
    const colour = opaque ? [v, v, v] : [ramp(3), ramp(2), ramp(1)];
    image.data.set([...colour, opaque ? 255 : Math.round(255 * Math.min(1, 1.6 * t))], 4 * i);
  });
  g.putImageData(image, 0, 0);
  return c;
}
