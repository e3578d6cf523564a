#!/usr/bin/env python3
"""What answers are like besides failures and the first byte (src/core/judge/answers.rs), written a second time from its
definition, on the guard of guard.py.

`answers.py` recomputes every number of answers.json and fails where one differs by more than 1e-9;
`answers.py --write` makes the file anew. Standard library only.
"""

import json
import math
import pathlib
import random
import sys

import guard

FILE = pathlib.Path(__file__).with_name("answers.json")
GRACE = 30  # seconds until latency is judged
COLD = dict(guard.ERRORS, omega0=11.0)  # ten times the odds that are tolerated of failures
SHARE, GROSS, ROUTES = 0.04, 0.05, 0.08
KINDS = ["redirect", "client_error", "gave_up", "last_byte"]


def counts(kind, second):
    """Requests and those of this kind, of blue and of green."""
    table = []
    for pool in second:
        requests, redirects, client_errors, gave_up, timed, late = pool
        table += {
            "redirect": [requests, redirects],
            "client_error": [requests, client_errors],
            "gave_up": [requests + gave_up, gave_up],
            "last_byte": [timed, late],
            "err": [requests, 0],
        }[kind]
    return table


def blocks(kind, seconds, first):
    """Closed blocks with the second in which each is closed; a block has a request of either pool in it."""
    closed, open_block = [], [0] * 5
    for t, second in enumerate(seconds):
        open_block[0] += 1
        if t >= first:
            open_block = [open_block[0]] + [a + b for a, b in zip(open_block[1:], counts(kind, second))]
        if open_block[1] and open_block[3]:
            closed.append((t, open_block))
            open_block = [0] * 5
    return closed


def evidence(part, settings, seconds):
    """ln of the evidence after each second."""
    ln = guard.process([block for _, block in part], settings)[0] if part else []
    after, last, at = [], 0.0, 0
    for t in range(seconds):
        if at < len(part) and part[at][0] == t:
            last, at = ln[at], at + 1
        after.append(last)
    return after


def of_kind(kind, seconds):
    n = len(seconds)
    if kind == "last_byte":
        return evidence(blocks(kind, seconds, GRACE), guard.LATENCY, n)
    closed = blocks(kind, seconds, 0)
    if kind != "gave_up":
        return evidence(closed, guard.ERRORS, n)
    cold = evidence([one for one in closed if one[0] < GRACE], COLD, n)
    warm = evidence([one for one in closed if one[0] >= GRACE], guard.ERRORS, n)
    return [a + b for a, b in zip(cold, warm)]


def whole(kinds, seconds):
    """The average: failures have half of what is compared; what nothing is known of is worth 1."""
    failures = of_kind("err", seconds)
    out = []
    for t in range(len(seconds)):
        rest = 1.0 - GROSS - ROUTES - SHARE
        terms = [GROSS + ROUTES, rest * 0.5, rest * 0.5 * math.exp(failures[t])]
        terms += [SHARE / 4 * math.exp(min(kind[t], 700.0)) for kind in kinds]
        out.append(math.log(math.fsum(terms)))
    return out


def draw(rng, seconds, rate, share, rates):
    """Traffic of so many requests a second; `rates(kind, green, t)` is the chance of each kind."""
    made = []
    for t in range(seconds):
        second = []
        for green in (False, True):
            mean = rate * (share if green else 1 - share)
            requests = sum(rng.random() < mean / 1000 for _ in range(1000))
            some = lambda kind, of: sum(rng.random() < rates(kind, green, t) for _ in range(of))
            redirects, refused = some("redirect", requests), 0
            refused = some("client_error", requests - redirects)
            left = some("gave_up", requests)
            timed = requests - min(requests, 1)
            second.append([requests, redirects, refused, left, timed, some("last_byte", timed)])
        made.append(second)
    return made


def cases():
    rng = random.Random(61)
    usual = {"redirect": 0.02, "client_error": 0.03, "gave_up": 0.01, "last_byte": 0.1}

    def more(kind, rate, first=0):
        return lambda k, green, t: rate if k == kind and green and t >= first else usual[k]

    made = [
        ("alike", draw(rng, 60, 60, 0.5, lambda k, green, t: usual[k])),
        ("404 to half, 50 % of 40/s", draw(rng, 12, 40, 0.5, more("client_error", 0.5))),
        ("redirects to 12 %, 5 % of 100/s", draw(rng, 50, 100, 0.05, more("redirect", 0.12))),
        ("clients leave in the grace", draw(rng, 12, 40, 0.5, more("gave_up", 0.8))),
        ("clients leave after it", draw(rng, 50, 40, 0.5, more("gave_up", 0.2, 20))),
        ("slow after a quick header", draw(rng, 60, 60, 0.5, more("last_byte", 0.45))),
        ("hardly any traffic", draw(rng, 80, 1, 0.5, more("client_error", 0.6))),
    ]
    for name, seconds in made:
        kinds = [of_kind(kind, seconds) for kind in KINDS]
        yield dict(name=name, seconds=seconds, ln_e=kinds, whole=whole(kinds, seconds))


def main():
    if "--write" in sys.argv:
        FILE.write_text(json.dumps(list(cases()), separators=(",", ":")) + "\n")
        return 0
    worst, numbers = 0.0, 0
    for case in json.loads(FILE.read_text()):
        kinds = [of_kind(kind, case["seconds"]) for kind in KINDS]
        pairs = zip(sum(kinds, whole(kinds, case["seconds"])), sum(case["ln_e"], case["whole"]))
        for got, want in pairs:
            worst, numbers = max(worst, abs(got - want)), numbers + 1
    print(f"{numbers} numbers, largest difference {worst:.1e}")
    return 0 if numbers > 0 and worst <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
