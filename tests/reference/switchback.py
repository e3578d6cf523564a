#!/usr/bin/env python3
"""The switchback's bet, written a second time: recomputes the section `switchback` of tests/vectors.json.

    python3 tests/reference/switchback.py          compares; exits 1 where they differ by more than 1e-9
    python3 tests/reference/switchback.py --write  writes the section anew

For each pair of windows and each metric: z is the difference between blue with green and blue without, in standard
deviations, or nothing where it is not worth it; the wealth on each bet b is multiplied by 1 + b tanh(z / 2).
"""
import json, math, os, random, sys

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors.json")
WEIGHTS, BETS = [0.5, 0.15, 0.15, 0.20], [0.8, 0.98]
LEAST, LEVELS, SPREAD = [10, 30, 30, 100], [0.5, 0.9, 0.99], [1.2533, 1.7094, 3.7335]
RATIO, MILLIS, ERROR_RATIO, ERROR_SHARE = 0.10, 1.0, 1.10, 0.001


def quantile(buckets, q):
    """Geometric interpolation in buckets of an eighth octave from 1/32 ms."""
    target, below = q * sum(n for _, n in buckets), 0.0
    for i, n in sorted(buckets):
        if n and below + n >= target:
            return 2 ** ((i + (target - below) / n) / 8) / 32
        below += n
    return 2 ** 22 / 32


def difference(metric, a, b):
    if metric == 0:
        n, m = a["requests"], b["requests"]
        if min(n, m) < LEAST[0]:
            return None
        p, q = a["failed"] / n, b["failed"] / m
        if not (p > ERROR_RATIO * q + ERROR_SHARE or q > ERROR_RATIO * p + ERROR_SHARE):
            return None
        pooled = (a["failed"] + b["failed"] + 0.5) / (n + m + 1)
        return (p - q) / math.sqrt(pooled * max(1 - pooled, 1e-9) * (1 / n + 1 / m))
    n, m = (sum(c for _, c in w["buckets"]) for w in (a, b))
    if min(n, m) < LEAST[metric]:
        return None
    level = LEVELS[metric - 1]
    p, q = quantile(a["buckets"], level), quantile(b["buckets"], level)
    if not (p > (1 + RATIO) * q + MILLIS or q > (1 + RATIO) * p + MILLIS):
        return None
    both = {}
    for i, c in a["buckets"] + b["buckets"]:
        both[i] = both.get(i, 0) + c
    both = list(both.items())
    sigma = max(math.log(quantile(both, 0.9) / quantile(both, 0.5)) / 1.2816, 0.05)
    return math.log(p / q) / (SPREAD[metric - 1] * sigma * math.sqrt(1 / n + 1 / m))


def evidence(pairs):
    wealth, out = [[1.0] * len(BETS) for _ in WEIGHTS], []
    for pair in pairs:
        for metric in range(4):
            z = difference(metric, pair["with"], pair["without"])
            if z is not None:
                wealth[metric] = [w * (1 + b * math.tanh(z / 2)) for w, b in zip(wealth[metric], BETS)]
        out.append(math.log(sum(v * sum(w) / len(BETS) for v, w in zip(WEIGHTS, wealth))))
    return out


def window(rnd, requests, millis, failing, spread):
    buckets, failed = {}, 0
    for _ in range(requests):
        if rnd.random() < failing:
            failed += 1
            continue
        i = int(8 * math.log2(32 * millis * math.exp(rnd.gauss(0, spread))))
        buckets[i] = buckets.get(i, 0) + 1
    return {"requests": requests, "failed": failed, "buckets": sorted(buckets.items())}


def cases():
    rnd = random.Random(15)
    kinds = [("six times slower", 175, (16, 0.001), (103, 0.001)), ("a fifth slower", 350, (40, 0.001), (48, 0.001)),
             ("more errors", 175, (40, 0.001), (40, 0.03)), ("the same", 175, (40, 0.02), (40, 0.02)),
             ("better with green", 175, (40, 0.01), (30, 0.0)), ("hardly a request", 12, (40, 0.0), (400, 0.5))]
    for name, n, without, with_ in kinds:
        pairs = [{"with": window(rnd, n, *with_, 0.5), "without": window(rnd, n + rnd.randrange(n), *without, 0.5)} for _ in range(5)]
        yield {"name": name, "pairs": pairs, "ln_e": evidence(pairs)}


def main():
    with open(FILE) as f:
        vectors = json.load(f)
    if "--write" in sys.argv:
        vectors["switchback"] = list(cases())
        with open(FILE, "w") as f:
            json.dump(vectors, f, separators=(",", ":"))
            f.write("\n")
        return
    worst = max(abs(a - b) for case in vectors["switchback"] for a, b in zip(evidence(case["pairs"]), case["ln_e"]))
    print(f"{len(vectors['switchback'])} cases, largest difference {worst:.1e}")
    sys.exit(worst > 1e-9)


main()
