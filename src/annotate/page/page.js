// The page: queue, tools, keys.
const $ = (id) => document.getElementById(id);
const make = (tag, set = {}, ...children) => {
  const e = Object.assign(document.createElement(tag), set);
  e.append(...children);
  return e;
};

const view = new View($("canvas"));
const link = new Link(location.pathname, told);
const histories = new Map();
const seconds = [];
let items = [], at = -1, bitmap = null, item = null, maps = {}, lastMask = null, drag = null, polygon = [];
let work = fresh();
let tool = "brush", sizes = { brush: 12, eraser: 24 }, space = false, loading = false, turns = 0, lastPlace = null;

function fresh() {
  return { tools: [], first: "none", edits: 0, seconds: 0, last: performance.now(), sure: false, touched: false };
}

// The state of what is being saved, in one word and a sentence.
function told(state, words) {
  $("state").dataset.state = state;
  $("state").lastChild.textContent = { reader: "looking on", failed: "not saved" }[state] || state;
  $("state").title = words;
  const banner = state === "reader" ? `Not editable here: ${words}. This page takes over when that one is closed.` : state === "offline" || state === "failed" ? words : "";
  $("banner").textContent = banner;
  $("banner").hidden = !banner;
  enable();
}

const editable = () => !link.reader && bitmap && !loading;

function enable() {
  const can = editable();
  for (const id of ["tools", "first"]) $(id).disabled = !can;
  for (const id of ["accept"]) $(id).disabled = !can;
  $("skip").disabled = link.reader || !item;
}

let toastTimer = null;
function toast(words, ask = false) {
  $("toast").textContent = words;
  $("toast").className = ask ? "ask" : "";
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => ($("toast").hidden = true), ask ? 8000 : 3500);
}

link.settled = (what, index, revision) => {
  const i = items.find((i) => i.index === index);
  if (i) i.revision = revision;
};
link.refused = async (what, index, why) => {
  toast(`Not saved: ${why}`, true);
  await refresh();
};

// ---- the queue

async function refresh() {
  const answer = await link.ask("GET", "api/queue");
  if (!answer || answer.status !== 200) return false;
  items = answer.items;
  $("run").textContent = answer.run;
  $("run").title = `${answer.run}, lae-engine ${answer.version}`;
  document.title = `${answer.run}: annotate`;
  if (!$("by").value) $("by").value = localStorage.getItem("lae:by") || answer.by;
  link.by = $("by").value;
  for (const { what, index, body } of link.waiting()) {
    const i = items.find((i) => i.index === index);
    if (i) mark(i, what, body);
  }
  list();
  return true;
}

function mark(i, what, body) {
  if (what === "mask") Object.assign(i, { outcome: "masked", draft: false });
  if (what === "skip") Object.assign(i, { outcome: "skipped", reason: body.reason });
  if (what === "reopen") i.outcome = "open";
  if (what === "draft") i.draft = true;
}

function list() {
  const filter = $("filter").value;
  $("list").replaceChildren(
    ...items.map((i, k) => {
      const b = make("button", { title: `${i.picture || i.name}\n${i.outcome}${i.reason ? ": " + i.reason : ""}${i.draft ? ", being drawn" : ""}`, onclick: () => go(k) });
      b.append(make("span", { className: "dot" }), make("span", { className: "n", textContent: k + 1 }), make("span", { className: "name", textContent: i.picture || i.name }));
      if (k === at) b.setAttribute("aria-current", "true");
      return make("li", { className: `${i.outcome} ${i.draft ? "draft" : ""}`, hidden: filter !== "all" && filter !== i.outcome && k !== at }, b);
    }),
  );
  $("list").children[at]?.scrollIntoView({ block: "nearest" });
  const done = items.filter((i) => i.outcome !== "open").length, n = items.length;
  $("bar").style.width = `${(100 * done) / Math.max(1, n)}%`;
  $("progress").setAttribute("aria-valuemax", n);
  $("progress").setAttribute("aria-valuenow", done);
  const known = seconds.length ? seconds : items.map((i) => i.seconds).filter((s) => s > 0);
  const each = known.reduce((a, b) => a + b, 0) / Math.max(1, known.length);
  const left = each * (n - done);
  const words = left < 90 ? `${Math.round(left)} s` : left < 5400 ? `${Math.round(left / 60)} min` : `${(left / 3600).toFixed(1)} h`;
  $("rate").textContent = `${done} of ${n}` + (known.length && done < n ? `, ${each.toFixed(each < 10 ? 1 : 0)} s each, ${words} left` : done === n && n ? ": all settled; train --resume goes on" : "");
}

// Time at this picture; more than a minute without a touch is a pause.
function tick() {
  const now = performance.now();
  work.seconds += Math.min(60, (now - work.last) / 1000);
  work.last = now;
}

async function picture(path) {
  const answer = await fetch(link.base + path, { cache: "no-store" });
  if (!answer.ok) return null;
  return createImageBitmap(await answer.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

async function go(k) {
  if (k < 0 || k >= items.length) return;
  saveDraft();
  const turn = ++turns;
  loading = true;
  at = k;
  item = items[k];
  bitmap = null;
  maps = {};
  polygon = [];
  work = fresh();
  list();
  enable();
  $("facts").textContent = "loading";
  let info = null, image = null;
  try {
    info = await link.ask("GET", `api/item/${item.index}`);
    image = info?.status === 200 && (await picture(`api/picture/${item.index}`));
  } catch {}
  if (turn !== turns) return;
  loading = false;
  view.open(item.w || 1, item.h || 1);
  if (!info || info.status !== 200 || !image) {
    const refused = info && info.status !== 200;
    $("facts").textContent = refused ? info.error : "The server is away: the picture comes when it is back.";
    if (!refused) setTimeout(() => turn === turns && go(k), 1000);
    return enable();
  }
  item.revision = info.revision;
  item.info = info;
  view.layers.picture = image;
  const before = histories.get(item.index);
  const draft = link.found(item.index, "draft"), settle = link.found(item.index, "settle");
  const runs = draft?.body.runs || (settle?.what === "mask" && settle.body.runs) || info.draft || info.mask;
  if (before) {
    bitmap = before.bitmap;
    work = before.work;
    work.last = performance.now();
  } else if (runs) bitmap = Bitmap.fromRuns(item.w, item.h, runs);
  else bitmap = new Bitmap(item.w, item.h);
  if (!before) histories.set(item.index, { bitmap, work, history: new History() });
  forgetOldest();
  view.paint(bitmap);
  why(info);
  enable();
  facts();
  mapsOf(info, turn, !before && !runs && !link.reader);
}

// What goes with the picture, asked for until all of it has come, and the first mask of a picture that nobody has touched.
async function mapsOf(info, turn, untouched) {
  const whole = await loadMaps(info);
  if (turn !== turns) return;
  if (!whole) setTimeout(() => turn === turns && mapsOf(info, turn, untouched), 1000);
  else if (untouched && !work.touched) first(maps.difference ? "difference" : maps.heat ? "heat" : "none", false);
  buttons();
}

// Steps of pictures that were seen long ago go when they would fill the memory; what was drawn is kept elsewhere.
function forgetOldest() {
  let pixels = 0;
  for (const { bitmap } of histories.values()) pixels += bitmap.on.length;
  for (const [index, { bitmap }] of histories) {
    if (pixels < 1.5e8 || index === item.index) break;
    pixels -= bitmap.on.length;
    histories.delete(index);
  }
}

async function loadMaps(info) {
  const of = item, load = async (what) => {
    try {
      const image = await picture(`api/${what}/${of.index}`);
      return image && (await greyOf(image));
    } catch {
      return null;
    }
  };
  const [difference, heat, original] = await Promise.all([
    info.difference === null ? null : load("difference"),
    info.heat === null ? null : load("heat"),
    info.original ? picture(`api/original/${of.index}`).catch(() => null) : null,
  ]);
  if (of !== item) return true;
  maps = { difference, heat };
  view.layers.original = original;
  if (difference) view.layers.difference = coloured(difference, of.w, of.h, true);
  if (heat) view.layers.heat = coloured(heat, of.w, of.h, false);
  view.draw();
  return (info.difference === null || difference) && (info.heat === null || heat) && (!info.original || original);
}

function why(info) {
  const { score, channels } = item.why, body = $("why-body");
  const line = [`No. ${at + 1}`];
  if (score !== null && score !== undefined) line.push(`score ${score.toPrecision(3)}`);
  line.push(`p_fake ${info.p_fake.toFixed(2)}`);
  body.replaceChildren(make("p", { textContent: line.join(", ") }));
  if (item.broken) body.append(make("p", { textContent: item.broken }));
  if (info.trouble) body.append(make("p", { textContent: info.trouble }));
  if (!channels.length) return;
  const most = Math.max(...channels.map((c) => Math.max(c.value, c.mean)), 1e-9);
  const table = make("table", { title: "The channels that speak of forgery: what each says here, beside its mean over all candidates" });
  const row = (tag, ...cells) => make("tr", {}, ...cells.map((c) => make(tag, {}, c)));
  table.append(row("th", "channel", "here", "mean", ""));
  for (const c of channels) table.append(row("td", String(c.channel), c.value.toFixed(2), c.mean.toFixed(2), make("meter", { max: most, value: Math.max(0, c.value) })));
  body.append(table);
}

function facts() {
  if (!bitmap) return;
  const share = (100 * bitmap.area()) / (bitmap.w * bitmap.h);
  const place = lastPlace ? `  ${Math.floor(lastPlace[0])}, ${Math.floor(lastPlace[1])}` : "";
  $("facts").textContent = `${item.w} × ${item.h}  ${Math.round(100 * view.scale)} %  mask ${share.toFixed(share < 1 ? 2 : 1)} %${place}`;
}

// ---- changes

// Does `change` to the mask as one step that can be undone.
function step(name, change) {
  if (!editable()) return;
  work.touched = true;
  const before = bitmap.on.slice();
  change();
  changed(name, before);
}

function changed(name, before) {
  const kept = histories.get(item.index);
  view.paint(bitmap);
  if (!kept.history.record(bitmap, before)) return;
  touch(name);
}

function touch(name) {
  if (name && !work.tools.includes(name)) work.tools.push(name);
  if (name) work.edits++;
  work.sure = false;
  tick();
  facts();
  item.draft = true;
  $("list").children[at].classList.add("draft");
  // In this browser at once, on the server when the hand rests.
  link.keep("draft", item.index, draftBody(), 1000);
  buttons();
}

const draftBody = () => ({ w: bitmap.w, h: bitmap.h, runs: bitmap.runs() });

function saveDraft() {
  if (item && bitmap && link.found(item.index, "draft")) link.send(0);
}

function undo(back) {
  if (!editable()) return;
  const { history } = histories.get(item.index);
  if (back ? history.undo(bitmap) : history.redo(bitmap)) {
    view.paint(bitmap);
    touch(null);
  }
}

// A first mask, in place of what is there. `own`: the annotator asked for it.
function first(source, own = true) {
  if (!editable()) return;
  work.first = { difference: "difference", heat: "heat map", last: "last mask", none: "none" }[source];
  item.first = source;
  if (maps[source]) {
    $("cut").value = item.cut?.[source] ?? item.info[source];
    $("cut-out").value = $("cut").value;
  }
  const before = bitmap.on.slice();
  put(source);
  if (own) {
    work.touched = true;
    changed(null, before);
    touchFirst();
  } else view.paint(bitmap);
  facts();
  buttons();
}

function touchFirst() {
  work.sure = false;
  link.keep("draft", item.index, draftBody(), 1000);
  item.draft = true;
}

function put(source) {
  const { w, h } = bitmap;
  if (source === "none") bitmap.on.fill(0);
  else if (source === "last") {
    if (lastMask && lastMask.w === w && lastMask.h === h) bitmap.on.set(lastMask.on);
    else toast("The last mask belongs to a picture of another size.");
  } else if (maps[source]) bitmap.on.set(Bitmap.above(w, h, maps[source], Number($("cut").value), source === "difference" ? Math.max(1, Math.round(Math.min(w, h) / 128)) : 0).on);
}

let cutBefore = null;
$("cut").oninput = () => {
  if (!editable() || !maps[item.first]) return;
  cutBefore ??= bitmap.on.slice();
  item.cut = { ...item.cut, [item.first]: Number($("cut").value) };
  $("cut-out").value = $("cut").value;
  put(item.first);
  view.paint(bitmap);
  facts();
};
$("cut").onchange = () => {
  if (!cutBefore) return;
  const before = cutBefore;
  cutBefore = null;
  if (work.edits) toast("The first mask took the place of your strokes: Ctrl+Z brings them back.");
  changed(null, before);
  touchFirst();
};

function accept() {
  if (!editable()) return;
  closePolygon();
  tick();
  const area = bitmap.area(), share = area / (bitmap.w * bitmap.h);
  if (!area) return toast("The mask is empty: mark the forged pixels, or skip the picture (X) and say why.", true);
  if ((share < 0.001 || share > 0.9) && !work.sure) {
    work.sure = true;
    return toast(share > 0.9 ? `The mask covers ${Math.round(100 * share)} % of the picture. Enter again if all of that is forged; I inverts.` : `The mask covers only ${(100 * share).toFixed(3)} % of the picture. Enter again if that is all.`, true);
  }
  const body = { ...draftBody(), revision: item.revision, seconds: work.seconds, tools: work.tools, first: work.first, edits: work.edits, sure: work.sure };
  link.keep("mask", item.index, body, 0);
  lastMask = bitmap.copy();
  settle("mask", body);
}

function settle(what, body) {
  mark(item, what, body);
  if (work.seconds > 0) seconds.push(work.seconds);
  item.seconds = work.seconds;
  histories.get(item.index) && (histories.get(item.index).work = fresh());
  work = fresh();
  next();
}

function next() {
  for (let d = 1; d <= items.length; d++) {
    const k = (at + d) % items.length;
    if (items[k].outcome === "open") return go(k);
  }
  list();
  toast("Every picture is settled.");
}

// ---- skipping

const REASONS = ["not fake", "unsure", "bad picture"];
$("reasons").append(...REASONS.map((r, i) => make("button", { onclick: () => skip(r) }, make("kbd", { textContent: i + 1 }), ` ${r}`)));

function askSkip() {
  if (link.reader || !item) return;
  $("reason").value = "";
  $("skip-dialog").showModal();
}

function skip(reason) {
  reason = reason.trim();
  if (!reason) return $("reason").focus();
  $("skip-dialog").close();
  tick();
  const body = { revision: item.revision, seconds: work.seconds, reason };
  link.keep("skip", item.index, body, 0);
  settle("skip", body);
}

$("skip-dialog").onkeydown = (e) => {
  if (e.target !== $("reason") && "123".includes(e.key)) skip(REASONS[e.key - 1]);
  else if (e.key === "Enter" && e.target === $("reason")) skip($("reason").value);
  else return;
  e.preventDefault();
  e.stopPropagation();
};
$("skip-cancel").onclick = () => $("skip-dialog").close();
$("skip-do").onclick = () => skip($("reason").value);
$("skip").onclick = askSkip;
$("accept").onclick = accept;

// ---- drawing

const pixel = (e) => view.place(e).map(Math.floor);
const corner = (e) => view.place(e).map(Math.round);
const size = () => sizes[tool === "eraser" ? "eraser" : "brush"];

view.sketch = (g, unit) => {
  g.lineWidth = 1.5 * unit;
  g.strokeStyle = "#fff";
  g.setLineDash([5 * unit, 4 * unit]);
  if (drag?.kind === "rectangle") {
    const [[x0, y0], [x1, y1]] = [drag.from, drag.to];
    g.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0) + 1, Math.abs(y1 - y0) + 1);
  }
  if (polygon.length) {
    g.beginPath();
    for (const p of [...polygon, ...(lastPlace ? [lastPlace] : [])]) g.lineTo(...p);
    g.stroke();
    g.setLineDash([]);
    g.fillStyle = "#fff";
    for (const [x, y] of polygon) g.fillRect(x - 3 * unit, y - 3 * unit, 6 * unit, 6 * unit);
  }
  g.setLineDash([]);
};

function ring(e) {
  const round = tool === "brush" || tool === "eraser", box = view.canvas.getBoundingClientRect();
  view.cursor = e && round && !space ? [e.clientX - box.left, e.clientY - box.top, Math.max(2, (size() * view.scale) / 2)] : null;
  view.draw();
}

const canvas = view.canvas;
let anchor = null;
canvas.onpointerdown = (e) => {
  canvas.focus();
  canvas.setPointerCapture(e.pointerId);
  tick();
  if (space || e.button === 1) return (drag = { kind: "pan", x: e.clientX, y: e.clientY });
  if (!editable() || (e.button !== 0 && e.button !== 2)) return;
  work.touched = true;
  // The right button draws the opposite.
  const v = (tool === "eraser") !== (e.button === 2) ? 0 : 1, p = pixel(e);
  if (tool === "polygon") {
    const c = corner(e), [first] = polygon;
    if (e.button === 2) polygon.pop();
    else if (polygon.length > 2 && Math.hypot(c[0] - first[0], c[1] - first[1]) * view.scale < 8) closePolygon();
    else polygon.push(c);
    return view.draw();
  }
  if (tool === "fill") return step("fill", () => bitmap.flood(...p, v));
  const before = bitmap.on.slice();
  if (tool === "rectangle") drag = { kind: "rectangle", from: p, to: p, v, before };
  else {
    drag = { kind: "stroke", last: p, v, before };
    bitmap.stroke(...(e.shiftKey && anchor?.item === item ? anchor.at : p), ...p, size(), v);
    view.paint(bitmap);
  }
};

canvas.onpointermove = (e) => {
  lastPlace = view.place(e);
  ring(e);
  facts();
  if (!drag) return;
  if (drag.kind === "pan") {
    view.pan(e.clientX - drag.x, e.clientY - drag.y);
    Object.assign(drag, { x: e.clientX, y: e.clientY });
  } else if (drag.kind === "rectangle") drag.to = pixel(e);
  else {
    for (const c of e.getCoalescedEvents?.().length ? e.getCoalescedEvents() : [e]) {
      const p = pixel(c);
      bitmap.stroke(...drag.last, ...p, size(), drag.v);
      drag.last = p;
    }
    view.paint(bitmap);
  }
};

canvas.onpointerup = canvas.onpointercancel = (e) => {
  const d = drag;
  drag = null;
  if (!d || d.kind === "pan") return;
  if (d.kind === "rectangle") {
    if (e.type === "pointerup") bitmap.rectangle(...d.from, ...d.to, d.v);
  } else anchor = { item, at: d.last };
  changed(d.kind === "rectangle" ? "rectangle" : d.v ? "brush" : "eraser", d.before);
};
canvas.onpointerleave = () => {
  lastPlace = null;
  ring(null);
};
canvas.oncontextmenu = (e) => e.preventDefault();
canvas.addEventListener("wheel", (e) => {
  e.preventDefault();
  const box = canvas.getBoundingClientRect();
  view.zoom(Math.exp(-e.deltaY * 0.0015), e.clientX - box.left, e.clientY - box.top);
  facts();
}, { passive: false });

function closePolygon() {
  const points = polygon;
  polygon = [];
  if (points.length > 2) step("polygon", () => bitmap.polygon(points, 1));
  view.draw();
  return points.length > 2;
}

// ---- buttons and keys

function choose(name) {
  polygon = [];
  tool = name;
  canvas.style.cursor = name === "brush" || name === "eraser" ? "none" : "crosshair";
  $("size").value = size();
  $("size-out").value = size();
  buttons();
}

function resize(n) {
  sizes[tool === "eraser" ? "eraser" : "brush"] = Math.max(1, Math.min(400, n));
  $("size").value = size();
  $("size-out").value = size();
  ring(null);
}

function toggle(what) {
  view.show[what] = !view.show[what];
  view.draw();
  buttons();
}

function cut(by) {
  $("cut").value = Number($("cut").value) + by;
  $("cut").oninput();
  $("cut").onchange();
}

const ACTIONS = [
  // id, group, label, keys, what it does, pressed
  ["brush", "tool", "Brush", "B", () => choose("brush"), () => tool === "brush"],
  ["eraser", "tool", "Eraser", "E", () => choose("eraser"), () => tool === "eraser"],
  ["polygon", "tool", "Polygon", "P", () => choose("polygon"), () => tool === "polygon"],
  ["rectangle", "tool", "Rectangle", "R", () => choose("rectangle"), () => tool === "rectangle"],
  ["fill", "tool", "Fill", "F", () => choose("fill"), () => tool === "fill"],
  ["holes", "tool", "Fill holes", "J", () => step("fill holes", () => bitmap.fillHoles())],
  ["invert", "edit", "Invert", "I", () => step("invert", () => bitmap.invert())],
  ["clear", "edit", "Clear", "Delete", () => step("clear", () => bitmap.on.fill(0))],
  ["undo", "edit", "Undo", "Ctrl+Z", () => undo(true)],
  ["redo", "edit", "Redo", "Ctrl+Y", () => undo(false)],
  ["difference-first", "first", "Difference", "1", () => maps.difference && first("difference"), () => item?.first === "difference", () => maps.difference],
  ["heat-first", "first", "Heat map", "2", () => maps.heat && first("heat"), () => item?.first === "heat", () => maps.heat],
  ["last-first", "first", "Last mask", "V", () => lastMask && first("last"), () => item?.first === "last", () => lastMask],
  ["none-first", "first", "Empty", "3", () => first("none"), () => item?.first === "none"],
  ["heat", "view", "Heat map", "H", () => toggle("heat"), () => view.show.heat, () => maps.heat],
  ["mask", "view", "Mask", "M", () => toggle("mask"), () => view.show.mask],
  ["difference", "view", "Difference", "D", () => toggle("difference"), () => view.show.difference, () => maps.difference],
  ["original", "view", "Original", "O", () => toggle("original"), () => view.show.original, () => view.layers.original],
  ["fit", "view", "Fit", "0", () => view.fit()],
  ["full", "view", "100 %", "9", () => view.zoom(1 / view.scale)],
];

for (const [id, group, label, key, act] of ACTIONS)
  $(`${group}-buttons`).append(make("button", { id: `do-${id}`, onclick: act }, `${label} `, make("kbd", { textContent: key })));

function buttons() {
  for (const [id, , , , , pressed, there] of ACTIONS) {
    const b = $(`do-${id}`);
    if (pressed) b.setAttribute("aria-pressed", String(Boolean(pressed())));
    if (there) b.disabled = !there();
  }
  const kept = item && histories.get(item.index);
  $("do-undo").disabled = !kept || !kept.history.at;
  $("do-redo").disabled = !kept || kept.history.at === kept.history.steps.length;
  $("cut").disabled = !maps[item?.first];
}

const MORE = [
  ["[  ]", "smaller, larger brush (Shift: by ten)"],
  [",  .", "cut the first mask lower, higher (Shift: by ten)"],
  ["Shift+click", "straight stroke from the end of the last"],
  ["right button", "draw the opposite; takes a polygon's last corner back"],
  ["Enter", "close the polygon; else accept the mask, go to the next open picture"],
  ["Esc", "give the polygon up"],
  ["X", "skip the picture, with a reason"],
  ["←  →", "picture before, picture after"],
  ["wheel, +  -", "zoom at the pointer, at the middle"],
  ["Space+drag", "pan (also the middle button; Shift+arrows)"],
  ["N", "open a settled picture again"],
  ["?", "these keys"],
];
$("keys").append(...[...ACTIONS.map(([, g, label, key]) => [key, g === "first" ? `first mask: ${label.toLowerCase()}` : g === "view" && !["Fit", "100 %"].includes(label) ? `show: ${label.toLowerCase()}` : label.toLowerCase()]), ...MORE].map(([k, words]) => make("div", {}, make("span", {}, make("kbd", { textContent: k })), make("span", { textContent: words }))));

function reopen() {
  if (link.reader || !item || item.outcome === "open") return;
  link.keep("reopen", item.index, { revision: item.revision }, 0);
  mark(item, "reopen", {});
  list();
}

const KEYS = {
  "[": () => resize(size() - 1), "]": () => resize(size() + 1), "{": () => resize(size() - 10), "}": () => resize(size() + 10),
  ",": () => cut(-1), ".": () => cut(1), "<": () => cut(-10), ">": () => cut(10), ";": () => cut(-10), ":": () => cut(10),
  Enter: () => polygon.length > 2 ? closePolygon() : accept(),
  Escape: () => ((polygon = []), view.draw()),
  x: askSkip, n: reopen, u: () => undo(true), Backspace: () => KEYS.delete(),
  ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), ArrowUp: () => go(at - 1), ArrowDown: () => go(at + 1),
  "+": () => view.zoom(1.25), "=": () => view.zoom(1.25), "-": () => view.zoom(0.8),
  "?": () => $("help").showModal(),
};
for (const [, , , key, act] of ACTIONS) if (!key.includes("+")) KEYS[key.toLowerCase()] = act;

addEventListener("keydown", (e) => {
  if (document.querySelector("dialog[open]") || (e.target.matches("input:not([type=range]), select") && e.key !== "Escape")) return;
  const ctrl = e.ctrlKey || e.metaKey, key = e.key.length === 1 ? e.key.toLowerCase() : e.key;
  let act = null;
  if (ctrl) act = { z: () => undo(!e.shiftKey), y: () => undo(false), s: saveDraft }[key];
  else if (e.altKey) return;
  else if (e.key === " ") act = () => (space = true);
  else if (e.shiftKey && key.startsWith("Arrow")) act = () => view.pan(...{ ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[key]);
  else if (key === "o" && e.repeat) act = () => {};
  else act = KEYS[key] || KEYS[key.toLowerCase()];
  if (!act || (e.target.matches("input[type=range]") && key.startsWith("Arrow"))) return;
  // Enter and Space on a focused button press that button.
  if (["Enter", " "].includes(e.key) && e.target.matches("button, summary")) return;
  e.preventDefault();
  act();
});
addEventListener("keyup", (e) => {
  if (e.key === " ") space = false;
});
addEventListener("blur", () => (space = false));
for (const b of document.querySelectorAll("aside .grid button")) b.addEventListener("pointerup", () => setTimeout(() => canvas.focus()));

$("size").oninput = () => resize(Number($("size").value));
$("opacity").oninput = () => {
  view.opacity = Number($("opacity").value) / 100;
  $("opacity-out").value = $("opacity").value;
  view.draw();
};
$("contrast").oninput = () => {
  view.contrast = Number($("contrast").value) / 100;
  $("contrast-out").value = $("contrast").value;
  view.draw();
};
$("filter").onchange = list;
$("help-button").onclick = () => $("help").showModal();
$("help-close").onclick = () => $("help").close();
$("by").onchange = () => {
  link.by = $("by").value.trim();
  localStorage.setItem("lae:by", link.by);
  link.lease();
};

async function begin() {
  if (!(await refresh())) {
    told("offline", "The server does not answer.");
    return setTimeout(begin, 2000);
  }
  await link.lease();
  choose("brush");
  const open = items.findIndex((i) => i.outcome === "open");
  if (items.length) await go(open < 0 ? 0 : open);
  setInterval(async () => {
    const was = link.reader;
    await link.lease();
    // What another tab did in the meantime.
    if (was && !link.reader) {
      await refresh();
      histories.clear();
      go(Math.max(0, at));
    }
  }, 3000);
}
begin();
