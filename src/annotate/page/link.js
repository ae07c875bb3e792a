// What goes to the server. Work is kept in this browser until the server has it on disk: a reload, a killed server or a second tab
// loses nothing.
class Link {
  // `base`: the address with its token. `tell(state, words)`: saved, saving, offline, reader or failed.
  constructor(base, tell) {
    this.base = base;
    this.tell = tell;
    this.tab = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
    this.by = "";
    this.reader = true;
    this.busy = false;
    this.timer = null;
    this.memory = new Map();
    addEventListener("pagehide", () => {
      const body = new Blob([JSON.stringify({ tab: this.tab })], { type: "application/json" });
      if (!this.reader) navigator.sendBeacon(this.base + "api/release", body);
    });
  }

  key(index, slot) {
    return `lae${this.base}${index}:${slot}`;
  }

  // What waits for the server: of each picture at most its outcome ("settle") and a drawing ("draft").
  waiting() {
    const out = [];
    const take = (key, text) => {
      if (key.startsWith("lae" + this.base)) out.push({ key, ...JSON.parse(text) });
    };
    for (let i = 0; i < localStorage.length; i++) take(localStorage.key(i), localStorage.getItem(localStorage.key(i)));
    for (const [key, text] of this.memory) take(key, text);
    return out.sort((a, b) => a.when - b.when || (a.slot === "settle" ? -1 : 1));
  }

  found(index, slot) {
    const text = this.memory.get(this.key(index, slot)) ?? localStorage.getItem(this.key(index, slot));
    return text === null || text === undefined ? null : JSON.parse(text);
  }

  forget(key) {
    localStorage.removeItem(key);
    this.memory.delete(key);
  }

  // Keeps `body` for api/WHAT/INDEX until the server has it, and sends it after `delay` ms.
  keep(what, index, body, delay) {
    const slot = what === "draft" ? "draft" : "settle";
    if (what === "mask") this.forget(this.key(index, "draft"));
    const text = JSON.stringify({ what, index, slot, when: Date.now(), id: crypto.getRandomValues(new Uint32Array(2)).join("-"), body });
    this.memory.delete(this.key(index, slot));
    try {
      localStorage.setItem(this.key(index, slot), text);
    } catch {
      this.memory.set(this.key(index, slot), text);
    }
    this.tell("saving", "");
    this.send(delay);
  }

  send(delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), delay);
  }

  // The answer as JSON with its status; null where the server is gone.
  async ask(method, path, body) {
    try {
      const options = { method, cache: "no-store" };
      if (body) Object.assign(options, { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
      const answer = await fetch(this.base + path, options);
      return { status: answer.status, ...(await answer.json()) };
    } catch {
      return null;
    }
  }

  // Asks for the right to write. The page looks on where somebody else has it.
  async lease() {
    const answer = await this.ask("POST", "api/lease", { tab: this.tab, by: this.by });
    if (answer === null) return this.offline();
    const was = this.reader;
    this.reader = answer.status !== 200;
    if (this.reader) this.tell("reader", answer.error);
    else if (was || this.waiting().length) await this.flush();
    else this.tell("saved", "");
  }

  offline() {
    const n = this.waiting().length, kept = this.memory.size ? " Do not close this tab: its storage is full." : "";
    this.tell("offline", `The server is away. ${n ? `${n} ${n > 1 ? "changes wait" : "change waits"} in this browser.` : ""}${kept}`);
  }

  async flush() {
    if (this.busy || this.reader) return;
    this.busy = true;
    try {
      for (let all = this.waiting(); all.length; all = this.waiting()) {
        const { key, what, index, id, body } = all[0];
        const method = ["draft", "mask"].includes(what) ? "PUT" : "POST";
        const answer = await this.ask(method, `api/${what}/${index}`, { ...body, tab: this.tab });
        if (answer === null) return this.offline();
        if (answer.status === 409) {
          // A server that began anew knows no tab yet.
          const again = await this.ask("POST", "api/lease", { tab: this.tab, by: this.by });
          if (again === null) return this.offline();
          if (again.status === 200) continue;
          this.reader = true;
          return this.tell("reader", again.error);
        }
        if (answer.status === 200) {
          const now = this.memory.get(key) ?? localStorage.getItem(key);
          if (now && JSON.parse(now).id === id) this.forget(key);
          this.settled?.(what, index, answer.revision);
        } else if (answer.status >= 500) {
          this.tell("failed", answer.error);
          return this.send(5000);
        } else {
          // Not taken: the drawing is kept as a draft, the outcome is not.
          this.forget(key);
          this.refused?.(what, index, answer.error);
          if (what === "mask") this.keep("draft", index, { w: body.w, h: body.h, runs: body.runs }, 0);
        }
      }
      this.tell("saved", "");
    } finally {
      this.busy = false;
    }
  }
}
