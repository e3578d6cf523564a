#!/usr/bin/env python3
"""Evidence by users, computed a second time: the section `user_process` of tests/vectors.json.

    python3 tests/reference/users.py tests/vectors.json            compares, to 1e-9
    python3 tests/reference/users.py tests/vectors.json --write    writes the section anew

Two-by-two tables by whole numbers (math.comb) and fractions instead of logarithms of factorials, so that nothing is
shared with the code in src/core/sequential but the formulas: Fisher's noncentral hypergeometric likelihood ratios,
wealth over six alternatives with a guard against bursts, and the average with the process of newcomers.
"""

import json
import math
import random
import sys
from fractions import Fraction

RATIOS = [1.3, 2.0, 3.5, 8.0, 30.0, 300.0]
STAKE, HORIZON, RHO, LOW, HIGH, BUSY = 0.5, 1800.0, 0.5, 3.0, 1.0, 5.0


def z(green, blue, bad, odds):
    """The normaliser, exactly; odds is a Fraction."""
    low, high = max(0, bad - blue), min(bad, green)
    return sum(
        math.comb(green, x) * math.comb(blue, bad - x) * odds**x
        for x in range(low, high + 1)
    )


def ln_fraction(value):
    return math.log(value.numerator) - math.log(value.denominator)


def ln_lrs(blue, blue_bad, green, green_bad, odds0):
    bad = blue_bad + green_bad
    if bad == 0 or bad == blue + green:
        return [0.0] * 6
    base = Fraction(odds0)
    null = z(green, blue, bad, base)
    out = []
    for ratio in RATIOS:
        ratio = Fraction(ratio)
        likelihood = ratio**green_bad * null / z(green, blue, bad, base * ratio)
        out.append(ln_fraction(likelihood))
    return out


class Process:
    """Wealth against "green is not worse"."""

    def __init__(self, odds0, ppm):
        self.odds0, self.ppm, self.carry = odds0, ppm, 0
        self.cash = 1.0 - STAKE
        self.wealth = [STAKE / 6.0] * 6
        self.room = [LOW] * 6

    def take(self, seconds, pace_blue, pace_green, strata):
        self.carry += self.ppm * pace_blue
        credit, self.carry = divmod(self.carry, 1_000_000)
        gains = [0.0] * 6
        for blue, blue_bad, green, green_bad in strata:
            blue_bad = min(blue_bad + credit, blue)
            credit = 0
            more = ln_lrs(blue, blue_bad, green, green_bad, self.odds0)
            gains = [a + b for a, b in zip(gains, more)]
        stake = min(self.cash, (1.0 - STAKE) * seconds / HORIZON)
        self.cash -= stake
        cap = HIGH if pace_green >= BUSY * seconds else LOW
        for k in range(6):
            room = min(cap, self.room[k] + RHO * seconds)
            gain = min(gains[k], room)
            self.room[k] = room - max(gain, 0.0)
            self.wealth[k] = (self.wealth[k] + stake / 6.0) * math.exp(gain)

    def e(self):
        return self.cash + sum(self.wealth)


def run(case):
    """ln e after each second: of pinned users, and of their average with newcomers."""
    pinned = Process(case["omega0"], case["delta0_ppm"])
    fresh = Process(case["omega0"], case["delta0_ppm"])
    ln_e, ln_average = [], []
    for second in case["seconds"]:
        pace, never, on_blue, newcomers = second
        pinned.take(1, pace[0], pace[1], [never, on_blue])
        if newcomers[0] > 0 and newcomers[2] > 0:
            fresh.take(1, newcomers[0], newcomers[2], [newcomers])
        ln_e.append(math.log(pinned.e()))
        ln_average.append(math.log((pinned.e() + fresh.e()) / 2.0))
    return ln_e, ln_average


def line(rng, weight, groups, chance, worse, pace):
    """Seconds of failures on a line: two groups of points at risk, which fail by chance."""
    at_risk = [list(group) for group in groups]
    seconds = []
    for _ in range(40):
        row = []
        for group in at_risk:
            blue = sum(rng.random() < chance for _ in range(min(group[0], 400)))
            green = sum(rng.random() < chance * worse for _ in range(min(group[1], 400)))
            row.append([group[0], blue, group[1], green])
            group[0] -= blue
            group[1] -= green
        blue = rng.randint(10, 40)
        green = rng.randint(1, 6)
        newcomers = [blue, int(rng.random() < 0.1), green, int(rng.random() < 0.1 * worse)]
        seconds.append([pace, *row, newcomers])
    return seconds


def cases():
    rng = random.Random(15)
    errors = {"omega0": 1.1, "delta0_ppm": 1000}
    yield {
        "name": "first share, green fails five times as often",
        **errors,
        "seconds": line(rng, 500, [(9_500, 500), (0, 0)], 0.0005, 5.0, [400, 21]),
    }
    yield {
        "name": "second share, two groups, equal",
        **errors,
        "seconds": line(rng, 5_000, [(4_980, 4_950), (31, 29)], 0.001, 1.0, [180, 190]),
    }
    yield {
        "name": "few users at 50 %, green fails always",
        **errors,
        "seconds": [[[3, 2], [5_000, 0, 5_000 - at, 1], [0, 0, 0, 0], [0, 0, 0, 0]] for at in range(10)],
    }
    latency = []
    for at in range(30):
        block = [0, 0, 0, 0]
        if at % 3 == 2:
            green = rng.randint(1, 4)
            blue = 40 - green
            slow = sum(rng.random() < 0.5 for _ in range(blue))
            block = [blue, slow, green, sum(rng.random() < 0.8 for _ in range(green))]
        latency.append([[90, 5], block, [0, 0, 0, 0], [20, 9, 2, 1]])
    yield {"name": "slow at the median", "omega0": 1.0, "delta0_ppm": 0, "seconds": latency}


def main():
    path, write = sys.argv[1], "--write" in sys.argv
    with open(path) as file:
        text = file.read()
    vectors = json.loads(text)
    if write:
        section = []
        for case in cases():
            case["ln_e"], case["ln_average"] = run(case)
            section.append(case)
        vectors["user_process"] = section
        with open(path, "w") as file:
            json.dump(vectors, file, separators=(",", ":"))
        return 0
    worst = 0.0
    for case in vectors["user_process"]:
        for name, values in zip(("ln_e", "ln_average"), run(case)):
            assert len(values) == len(case[name])
            worst = max([worst] + [abs(a - b) for a, b in zip(values, case[name])])
    print(f"{len(vectors['user_process'])} cases, largest difference {worst:.1e}")
    return 0 if worst <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
