// What was done to a mask, step by step: of each step the rows that it changed, before and after, as runs.
class History {
  constructor(limit = 100) {
    this.limit = limit;
    this.steps = [];
    this.at = 0;
  }

  // The step from `before` (bytes of a mask) to what `bitmap` is now. False if nothing changed.
  record(bitmap, before) {
    const { w, h, on } = bitmap;
    const differs = (y) => {
      for (let i = y * w; i < (y + 1) * w; i++) if (on[i] !== before[i]) return true;
      return false;
    };
    let y0 = 0, y1 = h;
    while (y0 < h && !differs(y0)) y0++;
    if (y0 === h) return false;
    while (!differs(y1 - 1)) y1--;
    const part = (bytes) => {
      const b = new Bitmap(w, y1 - y0);
      b.on.set(bytes.subarray(y0 * w, y1 * w));
      return Uint32Array.from(b.runs());
    };
    this.steps.length = this.at;
    this.steps.push({ y0, y1, before: part(before), after: part(on) });
    if (this.steps.length > this.limit) this.steps.shift();
    this.at = this.steps.length;
    return true;
  }

  put(bitmap, step, runs) {
    bitmap.on.set(Bitmap.fromRuns(bitmap.w, step.y1 - step.y0, runs).on, step.y0 * bitmap.w);
  }

  undo(bitmap) {
    if (!this.at) return false;
    const step = this.steps[--this.at];
    this.put(bitmap, step, step.before);
    return true;
  }

  redo(bitmap) {
    if (this.at === this.steps.length) return false;
    const step = this.steps[this.at++];
    this.put(bitmap, step, step.after);
    return true;
  }
}
