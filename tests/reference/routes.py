#!/usr/bin/env python3
"""Evidence by route group, written a second time from its definition (src/core/judge/routes.rs), without grants for
what lasts (`persistence = 0`): those are in guard.py.

`routes.py` recomputes every number of routes.json and fails where one differs by more than 1e-9;
`routes.py --write` makes the file anew. Standard library only.
"""

import json
import math
import pathlib
import random
import sys

PLACES = 20
OMEGA0, DELTA_PPM = 1.10, 1000
RATIOS = [1.3, 2.0, 3.5, 8.0, 30.0, 300.0]
STAKE, HORIZON = 0.5, 1800.0
RHO, LOW, HIGH, RPS = 0.5, 3.0, 1.0, 5.0
FILE = pathlib.Path(__file__).with_name("routes.json")


def likelihood_ratio(blue, blue_bad, green, green_bad, ratio):
    """How much better odds of OMEGA0 * ratio explain the table than OMEGA0, by whole sums of integers."""
    bad = blue_bad + green_bad
    if bad == 0 or bad == blue + green:
        return 1.0
    outcomes = range(max(0, bad - blue), min(bad, green) + 1)
    ways = {x: math.comb(green, x) * math.comb(blue, bad - x) for x in outcomes}

    def chance(odds):
        # Logarithms of each term: the numbers of ways are too large for floats.
        logs = {x: math.log(n) + x * math.log(odds) for x, n in ways.items()}
        top = max(logs.values())
        return logs[green_bad] - top - math.log(math.fsum(math.exp(log - top) for log in logs.values()))

    return math.exp(chance(OMEGA0 * ratio) - chance(OMEGA0))


class Route:
    def __init__(self):
        self.cash, self.wealth = 1.0 - STAKE, [STAKE / 6] * 6
        self.room, self.carry = [LOW] * 6, 0
        self.open, self.seen, self.past = [0] * 5, [0] * 4, [0, 0]

    def count(self, counts):
        for at, more in enumerate(counts):
            self.open[at + 1] += more
            self.seen[at] += more

    def second(self, beside):
        self.open[0] += 1
        seconds, blue, blue_bad, green, green_bad = self.open
        if not beside:
            self.open = [0] * 5
        elif blue and green:
            self.open = [0] * 5
            self.carry += DELTA_PPM * blue
            due, self.carry = divmod(self.carry, 1_000_000)
            self.bet(seconds, blue, min(blue, blue_bad + due), green, green_bad)

    def bet(self, seconds, blue, blue_bad, green, green_bad):
        stake = min(self.cash, (1 - STAKE) * seconds / HORIZON)
        self.cash -= stake
        cap = HIGH if green >= RPS * seconds else LOW
        for k, ratio in enumerate(RATIOS):
            room = min(cap, self.room[k] + RHO * seconds)
            gain = min(room, math.log(likelihood_ratio(blue, blue_bad, green, green_bad, ratio)))
            self.room[k] = room - max(0.0, gain)
            self.wealth[k] = (self.wealth[k] + stake / 6) * math.exp(gain)

    def evidence(self):
        return self.cash + math.fsum(self.wealth)

    def lean(self):
        blue, blue_bad, green, green_bad = self.seen
        if green_bad < 3 or 2 * green_bad < green:
            return 1.0
        blue += self.past[0]
        blue_bad = min(blue, blue_bad + self.past[1] + DELTA_PPM * blue // 1_000_000)
        return math.fsum(likelihood_ratio(blue, blue_bad, green, green_bad, r) for r in RATIOS) / 6


def run(case):
    routes = [Route() for _ in range(PLACES + 1)]
    for at, (_, requests, failed) in enumerate(case["past"]):
        routes[at].past = [requests, failed]
    marks, known = [], len(case["past"])
    for second in case["seconds"]:
        known += len(second["new"])
        for at, *counts in second["counts"]:
            routes[at].count(counts)
        # A place begins with its group; the rest is there from the start.
        for route in routes[:known] + routes[PLACES:]:
            route.second(second["beside"])
        mean = math.fsum(route.evidence() for route in routes) / len(routes)
        asked = [route for route in routes if route.seen[2]]
        worst = max((max(r.evidence(), r.lean()) for r in asked), default=1.0)
        marks.append([math.log(mean), math.log(worst / max(1, len(asked)))])
    return marks


def made(seed, seconds, errors, past, share):
    rng = random.Random(seed)
    routes = len(errors)
    case = {"past": [[f"GET /{at}", *one] for at, one in enumerate(past)], "seconds": []}
    known = len(past)
    for at in range(seconds):
        new, counts = [], []
        for route in range(routes):
            pool = [0] * 4
            for _ in range(rng.choice([0, 0, 1, 2, 5 if route == 0 else 1])):
                green = rng.random() < share
                failed = rng.random() < errors[route][green]
                pool[2 * green] += 1
                pool[2 * green + 1] += failed
            if any(pool):
                while known <= route:
                    new.append(f"GET /{known}")
                    known += 1
                counts.append([route, *pool])
        case["seconds"].append({"beside": at % 50 < 45, "new": new, "counts": counts})
    return case


def cases():
    healthy = [(0.02, 0.02)] * 5
    broken = [(0.0, 0.0)] * 4 + [(0.0, 1.0)]
    worse = [(0.05, 0.4), (0.3, 0.3), (0.0, 0.0)]
    return [
        made(1, 120, healthy, [(100, 2)] * 5, 0.5),
        made(2, 40, broken, [(50, 0)] * 5, 0.3),
        made(3, 90, worse, [], 0.5),
        made(4, 60, broken, [(2000, 1)], 0.05),
    ]


def main():
    if "--write" in sys.argv[1:]:
        all_cases = cases()
        for case in all_cases:
            case["ln_mean_and_ln_lean"] = run(case)
        FILE.write_text(json.dumps(all_cases) + "\n")
    worst = 0.0
    for case in json.loads(FILE.read_text()):
        again = run(case)
        assert len(again) == len(case["ln_mean_and_ln_lean"])
        for mine, known in zip(again, case["ln_mean_and_ln_lean"]):
            worst = max(worst, *(abs(a - b) for a, b in zip(mine, known)))
    print(f"largest difference {worst:.1e}")
    return 0 if worst <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
