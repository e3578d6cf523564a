#!/usr/bin/env python3
"""What answers are like, computed a second time: the section `contents` of tests/vectors.json.

    python3 tests/reference/contents.py            recomputes the section, compares to 1e-9
    python3 tests/reference/contents.py --write    writes the section anew

From the definition (src/core/judge/contents.rs), without grants for what lasts (`persistence = 0`): those are in
guard.py. Tables by whole numbers (math.comb) and fractions, so that nothing is shared with the code but the formulas.
Standard library only.
"""

import json
import math
import pathlib
import random
import sys
from fractions import Fraction

FILE = pathlib.Path(__file__).resolve().parent.parent / "vectors.json"
PLACES, TOLERATED = 20, 2
RATIOS = [Fraction(13, 10), Fraction(2), Fraction(7, 2), Fraction(8), Fraction(30), Fraction(300)]
STAKE, HORIZON = 0.5, 1800.0
RHO, LOW, HIGH, RPS = 0.5, 3.0, 1.0, 5.0
# Pairs of neighbouring buckets, and pairs shifted by one; no bodies stand alone.
PARTITIONS = {
    "size": [
        [[0]] + [[b for b in (n, n + 1) if b < 16] for n in range(1, 16, 2)],
        [[0], [1]] + [[n, n + 1] for n in range(2, 16, 2)],
    ],
    "type": [[[kind] for kind in range(10)]],
}


def likelihood_ratio(blue, blue_bad, green, green_bad, ratio):
    bad = blue_bad + green_bad
    if bad == 0 or bad == blue + green:
        return Fraction(1)

    def whole(odds):
        first, last = max(0, bad - blue), min(bad, green)
        return sum(math.comb(green, x) * math.comb(blue, bad - x) * odds**x for x in range(first, last + 1))

    return ratio**green_bad * whole(Fraction(TOLERATED)) / whole(TOLERATED * ratio)


class Process:
    def __init__(self):
        self.cash, self.wealth, self.room = 1.0 - STAKE, [STAKE / 6] * 6, [LOW] * 6

    def block(self, seconds, blue, blue_bad, green, green_bad):
        stake = min(self.cash, (1 - STAKE) * seconds / HORIZON)
        self.cash -= stake
        cap = HIGH if green >= RPS * seconds else LOW
        for k, ratio in enumerate(RATIOS):
            lr = likelihood_ratio(blue, blue_bad, green, green_bad, ratio)
            room = min(cap, self.room[k] + RHO * seconds)
            gain = min(room, math.log(lr.numerator) - math.log(lr.denominator))
            self.room[k] = room - max(0.0, gain)
            self.wealth[k] = (self.wealth[k] + stake / 6) * math.exp(gain)

    def evidence(self):
        return self.cash + math.fsum(self.wealth)


class Aspect:
    def __init__(self, what):
        self.partitions = PARTITIONS[what]
        self.processes = [[None] * len(partition) for partition in self.partitions]
        self.open, self.seconds, self.most = {}, 0, 1.0

    def second(self):
        self.seconds += 1
        blue, green = (sum(counts[pool] for counts in self.open.values()) for pool in (0, 1))
        if not blue or not green:
            return
        for partition, processes in zip(self.partitions, self.processes):
            for at, category in enumerate(partition):
                like = [sum(self.open.get(b, (0, 0))[pool] for b in category) for pool in (0, 1)]
                if processes[at] is None and not any(like):
                    continue
                processes[at] = processes[at] or Process()
                processes[at].block(self.seconds, blue, like[0], green, like[1])
        self.open, self.seconds = {}, 0
        self.most = max(self.most, self.evidence())

    def evidence(self):
        means = []
        for processes in self.processes:
            worth = [1.0 if process is None else process.evidence() for process in processes]
            means.append(math.fsum(worth) / len(worth))
        return min(means)


def run(case):
    groups, marks = [], []
    judged = case["judged"]
    for second in case["seconds"]:
        if second["starts"]:
            for aspect in (aspect for group in groups for aspect in group.values()):
                aspect.open, aspect.seconds = {}, 0
        for _ in second["counted"].get("new", []):
            groups.append({what: Aspect(what) for what in PARTITIONS})
        for what, key in (("size", "sizes"), ("type", "types")):
            for place, at, blue, green in second["counted"].get(key, []):
                counts = groups[place][what].open
                before = counts.get(at, (0, 0))
                counts[at] = (before[0] + blue, before[1] + green)
        for aspect in (aspect for group in groups for aspect in group.values()):
            aspect.second()
        worth = [group[what].evidence() for group in groups for what in judged]
        mean = (math.fsum(worth) + PLACES * len(judged) - len(worth)) / (PLACES * len(judged))
        marks.append(math.log(mean))
    told = []
    for place, group in enumerate(groups):
        for what, aspect in group.items():
            ln_e = math.log(aspect.most) - math.log(PLACES * 2)
            if ln_e >= math.log(100):
                told.append([place, what, ln_e])
    return marks, told


def made(name, judged, seed, seconds, groups, share, rate):
    """`groups` has for each a list of (weight of blue, weight of green, bucket, type)."""
    rng = random.Random(seed)
    case = {"name": name, "judged": judged, "seconds": []}
    known, kinds = 0, {}
    for at in range(seconds):
        counted, sizes, types = {}, {}, {}
        for place, answers in enumerate(groups):
            for _ in range(rng.choice([0, rate // 2, rate, 2 * rate])):
                green = rng.random() < share
                weights = [one[1 if green else 0] for one in answers]
                _, _, bucket, kind = rng.choices(answers, weights)[0]
                while known <= place:
                    counted.setdefault("new", []).append(f"GET /{known}")
                    known += 1
                if kind and (place, kind) not in kinds:
                    kinds[place, kind] = 1 + sum(1 for group, _ in kinds if group == place)
                    counted.setdefault("new_types", []).append([place, kind])
                for counts, key in ((sizes, bucket), (types, kinds.get((place, kind), 0))):
                    pair = counts.setdefault((place, key), [0, 0])
                    pair[green] += 1
        for key, counts in (("sizes", sizes), ("types", types)):
            counted[key] = [[*one, *pair] for one, pair in sorted(counts.items())]
        case["seconds"].append({"starts": at % 20 == 19, "counted": counted})
    return case


def cases():
    page = [(1, 1, 8, "text/html")]
    mixed = [(4, 4, 3, "text/html"), (3, 3, 8, "application/json"), (2, 2, 11, ""), (1, 1, 15, "image/png")]
    empty = [(1, 0, 8, "text/html"), (0, 1, 0, "text/html")]
    other = [(1, 0, 5, "application/json"), (0, 1, 5, "text/html")]
    half = [(1, 0, 8, "text/html"), (0, 1, 7, "text/html")]
    rarely = [(9, 6, 9, "text/html"), (1, 4, 0, "")]
    return [
        made("alike", ["size", "type"], 1, 60, [mixed, page, mixed], 0.5, 4),
        made("empty on green", ["size"], 2, 60, [mixed, empty], 0.5, 2),
        made("empty on few", ["size", "type"], 3, 40, [empty, page], 0.05, 20),
        made("another type", ["type"], 4, 30, [page, other], 0.3, 3),
        made("half as large", ["size"], 5, 60, [half], 0.5, 4),
        made("sometimes empty", ["size", "type"], 6, 90, [rarely], 0.5, 6),
    ]


def main():
    vectors = json.loads(FILE.read_text())
    if "--write" in sys.argv[1:]:
        section = cases()
        for case in section:
            case["ln_e"], case["told"] = run(case)
        vectors["contents"] = section
        FILE.write_text(json.dumps(vectors, separators=(",", ":")) + "\n")
    worst = 0.0
    for case in vectors["contents"]:
        marks, told = run(case)
        assert len(marks) == len(case["ln_e"])
        assert [one[:2] for one in told] == [one[:2] for one in case["told"]]
        pairs = [*zip(marks, case["ln_e"]), *zip((one[2] for one in told), (one[2] for one in case["told"]))]
        worst = max(worst, *(abs(mine - known) for mine, known in pairs))
        print(case["name"], "ln e", round(marks[-1], 2), "told", [one[:2] for one in told])
    print(f"{len(vectors['contents'])} cases, largest difference {worst:.1e}")
    return 0 if worst <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
