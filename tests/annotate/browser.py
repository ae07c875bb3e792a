#!/usr/bin/env python3
"""The annotation page in a real browser: what is drawn comes out exact to the pixel, and nothing is lost.

    python3 tests/annotate/browser.py [--bin target/debug/lae-engine] [--masks 100] [--kills 10] [--shot FILE.png]

Needs Chromium (on the PATH, or named by CHROMIUM) and nothing else: it is driven over its debugging pipe. Without it the test says
that it was skipped. Trains a tiny run for its queue, in a temporary folder.
"""

import argparse, base64, json, math, os, random, shutil, signal, socket, struct, subprocess, sys, tempfile, time, zlib
import urllib.error, urllib.request

SIDE = 64


class Browser:
    """Chromium by its debugging pipe: one JSON message after another, each ended by a zero byte."""

    def __init__(self, program, folder):
        to_read, self.to = os.pipe()
        self.of, to_write = os.pipe()
        # The browser reads descriptor 3 and writes descriptor 4.
        shell = f"exec 3<&{to_read} 4>&{to_write}; exec \"$@\""
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
                 "--disable-component-update", "--remote-debugging-pipe", f"--user-data-dir={folder}", "--window-size=1366,768", "about:blank"]
        self.process = subprocess.Popen(["bash", "-c", shell, "browser", program, *flags], pass_fds=(to_read, to_write),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.id, self.rest, self.events = 0, b"", []

    def receive(self):
        while b"\0" not in self.rest:
            part = os.read(self.of, 1 << 20)
            if not part:
                raise RuntimeError("the browser ended")
            self.rest += part
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def ask(self, method, session=None, **params):
        self.id += 1
        message = {"id": self.id, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def end(self):
        self.process.kill()
        self.process.wait()


class Tab:
    def __init__(self, browser, address):
        self.b = browser
        self.target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.ask("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=1366, height=768, deviceScaleFactor=1, mobile=False)
        self.go(address)

    def ask(self, method, **params):
        return self.b.ask(method, self.session, **params)

    def go(self, address):
        self.ask("Page.navigate", url=address)

    def js(self, text):
        answer = self.ask("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{text}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, text, seconds=30):
        end = time.time() + seconds
        while True:
            try:
                if self.js(text):
                    return
            except RuntimeError as e:
                if "ended" in str(e):
                    raise
            if time.time() > end:
                state = self.js("[document.getElementById('state')?.title, document.getElementById('banner')?.textContent, document.getElementById('toast')?.textContent].join(' | ')")
                raise AssertionError(f"waited {seconds} s for: {text}\nthe page says: {state}")
            time.sleep(0.03)

    def key(self, key, ctrl=False, shift=False):
        codes = {"Enter": 13, "Escape": 27, "Delete": 46, "ArrowLeft": 37, "ArrowRight": 39}
        code = codes.get(key, ord(key.upper()) if len(key) == 1 else 0)
        text = {} if ctrl or len(key) > 1 else {"text": key}
        more = dict(key=key, windowsVirtualKeyCode=code, modifiers=2 * ctrl + 8 * shift)
        self.ask("Input.dispatchKeyEvent", type="keyDown", **more, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **more)

    def mouse(self, kind, x, y, button="left", shift=False):
        held = {"mousePressed": 1, "mouseMoved": 1, "mouseReleased": 0}[kind] * {"left": 1, "right": 2, "none": 0}[button]
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=held, clickCount=1, modifiers=8 * shift)

    def at(self, x, y):
        """The screen point of a place in the picture, on whole pixels of the screen."""
        scale, ox, oy, left, top = self.place
        return round(left + ox + x * scale), round(top + oy + y * scale)

    def ready(self, number=None):
        which = "" if number is None else f" && at === {number}"
        self.until(f"typeof bitmap !== 'undefined' && bitmap !== null && !loading && !link.reader && (maps.heat || maps.difference){which}")
        # The first mask is made, and the canvas drawn.
        self.until("view.canvas.dataset.scale > 4 && !view.asked")
        self.place = self.js("(() => { const b = view.canvas.getBoundingClientRect(); return [view.scale, view.x, view.y, b.left, b.top]; })()")

    def drag(self, points, button="left"):
        """From the centre of one pixel to that of the next."""
        spots = [self.at(x + 0.5, y + 0.5) for x, y in points]
        self.mouse("mousePressed", *spots[0], button)
        for spot in spots[1:]:
            self.mouse("mouseMoved", *spot, button)
        self.mouse("mouseReleased", *spots[-1], button)

    def corner(self, x, y):
        spot = self.at(x, y)
        self.mouse("mousePressed", *spot)
        self.mouse("mouseReleased", *spot)

    def mask(self):
        return self.js("Array.from(bitmap.on).join('')")

    def shot(self, file):
        time.sleep(0.4)
        data = self.ask("Page.captureScreenshot", format="png")["data"]
        with open(file, "wb") as f:
            f.write(base64.b64decode(data))


# What the tools are said to do, written anew from docs/annotate.md.

class Grid:
    def __init__(self):
        self.on = [[0] * SIDE for _ in range(SIDE)]

    def disc(self, x, y, size, v):
        half = 0 if size % 2 else 0.5
        for py in range(SIDE):
            for px in range(SIDE):
                if (px - x - half) ** 2 + (py - y - half) ** 2 <= size * size / 4:
                    self.on[py][px] = v

    def stroke(self, points, size, v):
        for (x0, y0), (x1, y1) in zip(points[:1] + points, points):
            dx, dy, e = abs(x1 - x0), abs(y1 - y0), abs(x1 - x0) - abs(y1 - y0)
            while True:
                self.disc(x0, y0, size, v)
                if (x0, y0) == (x1, y1):
                    break
                twice = 2 * e
                if twice >= -dy:
                    e, x0 = e - dy, x0 + (1 if x1 > x0 else -1)
                if twice <= dx:
                    e, y0 = e + dx, y0 + (1 if y1 > y0 else -1)

    def rectangle(self, a, b, v):
        for y in range(min(a[1], b[1]), max(a[1], b[1]) + 1):
            for x in range(min(a[0], b[0]), max(a[0], b[0]) + 1):
                self.on[y][x] = v

    def polygon(self, points, v):
        for y in range(SIDE):
            for x in range(SIDE):
                cx, cy, inside = x + 0.5, y + 0.5, False
                for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1]):
                    if (y0 <= cy) != (y1 <= cy) and cx >= x0 + (cy - y0) * (x1 - x0) / (y1 - y0):
                        inside = not inside
                if inside:
                    self.on[y][x] = v

    def fill(self, x, y, v):
        old, todo = self.on[y][x], [(x, y)]
        while todo and old != v:
            x, y = todo.pop()
            if 0 <= x < SIDE and 0 <= y < SIDE and self.on[y][x] == old:
                self.on[y][x] = v
                todo += [(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)]

    def invert(self):
        self.on = [[1 - v for v in row] for row in self.on]

    def text(self):
        return "".join(str(v) for row in self.on for v in row)


def png(file):
    """The pixels of a grey PNG of 8 bits as text of 0 and 1; anything else is an error."""
    data = open(file, "rb").read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", file
    at, packed, kind = 8, b"", None
    while at < len(data):
        n, name = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + n]
        if name == b"IHDR":
            w, h, depth, colour, *_ = struct.unpack(">IIBBBBB", body)
            kind = (w, h, depth, colour)
        elif name == b"IDAT":
            packed += body
        at += 12 + n
    assert kind == (SIDE, SIDE, 8, 0), f"{file}: {kind}"
    raw, rows, before = zlib.decompress(packed), [], bytes(SIDE)
    for y in range(SIDE):
        way, line = raw[y * (SIDE + 1)], bytearray(raw[y * (SIDE + 1) + 1:(y + 1) * (SIDE + 1)])
        for x in range(SIDE):
            a, b, c = (line[x - 1] if x else 0), before[x], (before[x - 1] if x else 0)
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[x] = (line[x] + [0, a, b, (a + b) // 2, paeth][way]) % 256
        rows.append(bytes(line))
        before = bytes(line)
    pixels = b"".join(rows)
    assert set(pixels) <= {0, 255}, f"{file}: grey values {sorted(set(pixels))}"
    return "".join("1" if v else "0" for v in pixels)


class Server:
    def __init__(self, program, run):
        self.program, self.run = program, run
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program, "annotate", self.run, "--by", "anna"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.process.stderr.read()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def masks(self):
        with open(os.path.join(self.run, "masks", "annotations.jsonl")) as f:
            return [json.loads(line) for line in f]


def same(got, expected, what):
    if got != expected:
        rows = [f"{got[y * SIDE:(y + 1) * SIDE]}  {expected[y * SIDE:(y + 1) * SIDE]}" for y in range(SIDE)]
        raise AssertionError(what + ": drawn | expected\n" + "\n".join(rows))


def size_to(tab, size):
    tab.js(f"resize({size})")


def shape(tab, kind, rng):
    """Draws a shape by hand, as a person would; what must come of it."""
    g, p = Grid(), lambda lo=4, hi=SIDE - 5: (rng.randint(lo, hi), rng.randint(lo, hi))
    tab.key("3")
    if kind == "brush":
        tab.key("b")
        for _ in range(rng.randint(1, 3)):
            size, points = rng.randint(3, 13), [p() for _ in range(rng.randint(2, 5))]
            size_to(tab, size)
            tab.drag(points)
            g.stroke(points, size, 1)
        if rng.random() < 0.5:
            tab.key("e")
            size, points = rng.randint(1, 4), [p(), p()]
            size_to(tab, size)
            tab.drag(points)
            g.stroke(points, size, 0)
    elif kind == "polygon":
        tab.key("p")
        middle, points = (rng.randint(20, 44), rng.randint(20, 44)), []
        n = rng.randint(3, 7)
        for i in range(n):
            a, r = 2 * math.pi * (i + rng.random() * 0.6) / n, rng.randint(8, 18)
            points.append((round(middle[0] + r * math.cos(a)), round(middle[1] + r * math.sin(a))))
        for c in points:
            tab.corner(*c)
        tab.key("Enter")
        g.polygon(points, 1)
    elif kind == "rectangle":
        tab.key("r")
        a, b = (rng.randint(2, 28), rng.randint(2, 28)), (rng.randint(34, 60), rng.randint(34, 60))
        tab.drag([a, b])
        g.rectangle(a, b, 1)
        if rng.random() < 0.5:
            a, b = (rng.randint(30, 33), rng.randint(30, 33)), (rng.randint(29, 31), rng.randint(29, 33))
            tab.drag([a, b], "right")
            g.rectangle(a, b, 0)
    elif kind == "fill":
        tab.key("r")
        a, b = (rng.randint(4, 20), rng.randint(4, 20)), (rng.randint(30, 58), rng.randint(30, 58))
        tab.drag([a, b])
        tab.drag([(a[0] + 2, a[1] + 2), (b[0] - 2, b[1] - 2)], "right")
        g.rectangle(a, b, 1)
        g.rectangle((a[0] + 2, a[1] + 2), (b[0] - 2, b[1] - 2), 0)
        spot = (a[0] + 4, a[1] + 4)
        tab.key("f")
        tab.drag([spot])
        g.fill(*spot, 1)
    else:
        tab.key("r")
        a, b = (rng.randint(0, 10), rng.randint(0, 10)), (rng.randint(52, 63), rng.randint(40, 63))
        tab.drag([a, b])
        tab.key("i")
        g.rectangle(a, b, 1)
        g.invert()
    if rng.random() < 0.4:
        # A step too much, taken back; and back and forth again.
        tab.key("b")
        size_to(tab, 9)
        tab.drag([p(), p()])
        tab.key("z", ctrl=True)
        tab.key("z", ctrl=True)
        tab.key("y", ctrl=True)
    return g


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="target/debug/lae-engine")
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shot", help="writes pictures of the page beside this name")
    args = parser.parse_args()
    names = [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    chromium = next((found for n in names if n and (found := shutil.which(n))), None)
    if not chromium:
        print("skipped: the annotation page in a browser (tests/annotate/browser.py): no Chromium on the PATH and none named by CHROMIUM")
        return
    with tempfile.TemporaryDirectory() as folder:
        run = os.path.join(folder, "run")
        more = ["--set", f"size={SIDE}", "--set", "train.epochs=1", "--set", f"data.train_count={max(32, 2 * args.masks + 16)}"]
        train = [args.bin, "train", "--preset", "smoke", "--wait-for-masks", "--annotations", str(args.masks + 4), "--out", run, *more]
        done = subprocess.run(train, capture_output=True, text=True)
        assert done.returncode == 4, done.stderr
        server = Server(args.bin, run)
        browser = Browser(chromium, os.path.join(folder, "profile"))
        try:
            test(args, server, browser, run)
        finally:
            browser.end()
            server.kill()


def test(args, server, browser, run):
    rng = random.Random(args.seed)
    tab = Tab(browser, server.address)
    tab.ready()
    if args.shot:
        tab.shot(args.shot)
    items = tab.js("items.map((i) => i.index)")
    file = lambda k: os.path.join(run, "masks", f"train-{items[k]:06}.png")

    # The first mask is the difference to the original: what the forger changed, closed and filled.
    first = tab.mask()
    assert 0 < first.count("1") < SIDE * SIDE, "a first mask"

    # A reload in the middle of a drawing: it is all there.
    tab.key("3")
    tab.key("b")
    size_to(tab, 7)
    g = Grid()
    for points in ([(10, 10), (30, 12), (25, 40)], [(50, 50)]):
        tab.drag(points)
        g.stroke(points, 7, 1)
    same(tab.mask(), g.text(), "two strokes")
    tab.ask("Page.reload")
    time.sleep(0.3)
    tab.ready(0)
    same(tab.mask(), g.text(), "after a reload")

    # Undo to the beginning and back, step by step.
    tab.key("3")
    states = []
    tab.key("b")
    for _ in range(6):
        states.append(tab.mask())
        tab.drag([(rng.randint(5, 58), rng.randint(5, 58)), (rng.randint(5, 58), rng.randint(5, 58))])
    last = tab.mask()
    for state in reversed(states):
        tab.key("z", ctrl=True)
        same(tab.mask(), state, "undo")
    for state in states[1:] + [last]:
        tab.key("y", ctrl=True)
        same(tab.mask(), state, "redo")

    # A second tab looks on, and hears whose queue this is.
    other = Tab(browser, server.address)
    other.until("typeof link !== 'undefined' && !document.getElementById('banner').hidden")
    words = other.js("document.getElementById('banner').textContent")
    assert "anna has this queue open" in words, words
    assert other.js("document.getElementById('tools').disabled && document.getElementById('accept').disabled")
    before = other.js("bitmap && bitmap.runs().join()")
    other.key("i")
    assert other.js("bitmap && bitmap.runs().join()") == before, "a tab that looks on draws nothing"
    browser.ask("Target.closeTarget", targetId=other.target)
    browser.ask("Target.activateTarget", targetId=tab.target)

    # The server dies; two pictures are drawn and settled meanwhile; it comes back at the same address.
    server.kill()
    tab.until("document.getElementById('state').dataset.state === 'offline'")
    tab.key("3")
    g = shape(tab, "brush", rng)
    same(tab.mask(), g.text(), "drawn while the server was away")
    tab.key("Enter")
    assert tab.js("link.waiting().length") >= 1
    address = server.address
    server.start()
    assert server.address == address, "the address stays"
    tab.until("document.getElementById('state').dataset.state === 'saved' && link.waiting().length === 0")
    same(png(file(0)), g.text(), "after the server came back")

    # Skipped with a reason.
    tab.ready(1)
    tab.key("x")
    tab.key("2")
    tab.until("link.waiting().length === 0 && items[1].outcome === 'skipped'")
    assert server.masks()[-1]["reason"] == "unsure", server.masks()[-1]

    kinds = ["brush", "polygon", "rectangle", "fill", "invert"]
    kills = set(rng.sample(range(args.masks), min(args.kills, args.masks)))
    drawn = {}
    begun = time.time()
    for n in range(args.masks):
        k = n + 2
        tab.until(f"items[{k}].outcome === 'open'")
        if tab.js("at") != k:
            tab.js(f"go({k})")
        tab.ready(k)
        g = shape(tab, kinds[n % len(kinds)], rng)
        same(tab.mask(), g.text(), f"mask {n} ({kinds[n % len(kinds)]})")
        drawn[k] = g.text()
        if n in kills:
            tab.key("Enter")
            time.sleep(rng.random() * 0.03)
            server.kill()
            time.sleep(0.2)
            server.start()
            tab.until("link.waiting().length === 0")
        else:
            tab.key("Enter")
            tab.until("link.waiting().length === 0")
        if args.shot and n == 20:
            tab.ready()
            tab.key("h")
            tab.shot(args.shot.replace(".png", "-later.png"))
            tab.key("h")
            tab.key("?")
            tab.shot(args.shot.replace(".png", "-help.png"))
            tab.key("Escape")
    for k, expected in drawn.items():
        same(png(file(k)), expected, f"the file of mask {k}")
    halves = [f for f in os.listdir(os.path.join(run, "masks")) if f.endswith(".tmp")]
    assert len(halves) <= len(kills), halves
    lines = {a["index"]: a for a in server.masks()}
    assert all(lines[items[k]]["outcome"] == "masked" and lines[items[k]]["by"] == "anna" for k in drawn)
    assert all(lines[items[k]]["seconds"] > 0 for k in drawn)
    outside = [e for e in browser.events if e.get("method") == "Network.requestWillBeSent"
               and not e["params"]["request"]["url"].startswith((server.address, "data:", "blob:"))]
    assert not outside, outside[0]
    wrong = [e["params"] for e in browser.events if e.get("method") == "Runtime.exceptionThrown"
             or (e.get("method") == "Log.entryAdded" and e["params"]["entry"]["source"] in ("security", "javascript"))]
    assert not wrong, wrong[0]
    print(f"{len(drawn)} masks exact to the pixel, {len(kills)} kills of the server, {time.time() - begun:.0f} s; reload, undo, second tab, offline and back: as told")


if __name__ == "__main__":
    sys.exit(main())
