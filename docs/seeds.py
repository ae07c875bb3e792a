#!/usr/bin/env python3
"""Table of several runs: mean over seeds with a 95 % interval (Student's t), from their report.json. Needs Python alone.

    for seed in 0 1 2 3 4; do for trace in none checkerboard; do for select in active random; do
        lae-engine train --config docs/shrunk.toml --seed $seed --fingerprint $trace --select $select --out runs/$trace-$seed-$select
    done; done; done
    python3 docs/seeds.py runs

Stage 1 does not depend on the choice of pictures, so it is counted once for each seed. Differences are taken within a seed.
"""
import json
import math
import sys
from pathlib import Path

T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}  # 97.5 % quantiles by degrees of freedom


def interval(values, sign=False):
    """Mean [low, high] in per cent, or the value alone where there is one."""
    n, mean = len(values), sum(values) / len(values)
    number = "{:+.1f}" if sign else "{:.1f}"
    if n < 2:
        return number.format(100 * mean)
    half = T[n - 1] * math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return " ".join([number, f"[{number}, {number}]"]).format(*(100 * v for v in (mean, mean - half, mean + half)))


def row(name, *cells):
    print("| " + " | ".join([name, *cells]) + " |")


def name(d):
    return " ".join(filter(None, [d["split"], d["method"], d["note"]]))


def figures(row, stage):
    """What the weights of that stage reach on a test set."""
    return next(m["figures"] for m in row["models"] if m["stage"] == stage)


def main(folder):
    runs = {}
    for path in sorted(Path(folder).glob("*-*-*/report.json")):
        trace, seed, select = path.parent.name.split("-")
        runs.setdefault(trace, {}).setdefault(select, {})[int(seed)] = json.loads(path.read_text())
    for trace, arms in runs.items():
        seeds = sorted(set.intersection(*(set(a) for a in arms.values())))
        active, random = arms["active"], arms["random"]
        first = active[seeds[0]]
        print(f"\ntrace: {trace}, seeds {', '.join(map(str, seeds))}\n")
        row("accuracy, %", "stage 1", "stage 2, active", "change", "stage 2, random", "active − random")
        row("---", "---", "---", "---", "---", "---")
        for i, d in enumerate(first["detection"]):
            get = lambda arm, stage: [figures(arm[s]["detection"][i], stage)["accuracy"]["value"] for s in seeds]
            one, two, other = get(active, "stage 1"), get(active, "stage 2"), get(random, "stage 2")
            assert one == get(random, "stage 1"), "stage 1 differs between the arms"
            less = lambda a, b: [x - y for x, y in zip(a, b)]
            row(name(d), interval(one), interval(two), interval(less(two, one), True), interval(other),
                interval(less(two, other), True))
        for key, title in (("iou_half", "IoU at 0.5, %"), ("auc", "pixel AUC, %")):
            print()
            row(title, "constant map", "stage 1", "stage 2, active", "stage 2, random", "active − constant")
            row("---", "---", "---", "---", "---", "---")
            for i, l in enumerate(first["localisation"]):
                get = lambda arm, stage: [figures(arm[s]["localisation"][i], stage)[key]["value"] for s in seeds]
                constant = [active[s]["localisation"][i]["constant"][key]["value"] for s in seeds]
                two = get(active, "stage 2")
                row(name(l), interval(constant), interval(get(active, "stage 1")), interval(two),
                    interval(get(random, "stage 2")), interval([x - y for x, y in zip(two, constant)], True))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
