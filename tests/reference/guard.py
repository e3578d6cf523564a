#!/usr/bin/env python3
"""Second implementation of the guard of `core::sequential` (`wealth.rs`), for golden numbers.

    python3 tests/reference/guard.py           # recompute section `guard` of tests/vectors.json, compare to 1e-9
    python3 tests/reference/guard.py --write   # make the section anew

Written from the formulas, not from the Rust code: the hypergeometric normaliser is summed over all
outcomes, runs are searched in the whole history at every block, and wealth is the double sum over stakes.
"""
import json
import math
import pathlib
import random
import sys

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors.json"
RATIOS = [1.3, 2.0, 3.5, 8.0, 30.0, 300.0]
KEPT = 31  # blocks that a grant may reach back to, the last one included
ERRORS = dict(omega0=1.1, delta0_ppm=1000, rho=1.0, burst_low=3.0, burst_high=1.5, persistence=5, mild=None)
LATENCY = dict(omega0=1.0, delta0_ppm=0, rho=0.5, burst_low=3.0, burst_high=1.0, persistence=0, mild=[0.29, 2.0])


def ln_sum(terms):
    top = max(terms)
    return top if math.isinf(top) else top + math.log(sum(math.exp(t - top) for t in terms))


def ln_choose(n, k):
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def ln_z(green, blue, bad, odds):
    outcomes = range(max(0, bad - blue), min(bad, green) + 1)
    return ln_sum([ln_choose(green, x) + ln_choose(blue, bad - x) + x * math.log(odds) for x in outcomes])


def raw_evidence(blocks, omega0, ppm):
    """Log likelihood ratios of each block against each alternative; blue is credited `ppm` bad requests."""
    carry, raw = 0, []
    for _, blue, blue_bad, green, green_bad in blocks:
        carry += ppm * blue
        credited = min(blue_bad + carry // 1_000_000, blue)
        carry %= 1_000_000
        bad = credited + green_bad
        if bad in (0, blue + green):
            raw.append([0.0] * 6)
            continue
        null = ln_z(green, blue, bad, omega0)
        raw.append([green_bad * math.log(r) - ln_z(green, blue, bad, omega0 * r) + null for r in RATIOS])
    return raw


def runs(evidence):
    """Lengths at the end: successive blocks above 0; span that bridges single blocks; blocks above 0 in it."""
    successive = 0
    while successive < len(evidence) and evidence[-1 - successive] > 0:
        successive += 1
    # The run began after the last two successive blocks not above 0.
    start = len(evidence)
    while start > 0 and not (evidence[start - 1] <= 0 and (start == 1 or evidence[start - 2] <= 0)):
        start -= 1
    while start < len(evidence) and evidence[start] <= 0:
        start += 1
    span = evidence[start:]
    return successive, len(span), sum(e > 0 for e in span)


def grant(evidence, base, granted, blocks, largest):
    first = max(0, len(evidence) - min(blocks, KEPT))
    speaking = sorted((i for i in range(first, len(evidence)) if evidence[i] > 0), key=lambda i: -evidence[i])
    others = speaking[largest:]
    if not others:
        return
    budget = len(others) * sum(evidence[i] for i in others)
    for i in others:
        granted[i] = evidence[i]
    for i in sorted(speaking[:largest]):
        more = min(max(min(evidence[others[0]], evidence[i]) - base[i], 0.0), budget)
        budget -= more
        granted[i] = max(granted[i], base[i] + more)


def process(blocks, p):
    """Evidence after each block, and the wealth of each alternative after the last."""
    raw = raw_evidence(blocks, p["omega0"], p["delta0_ppm"])
    stakes, cash, evidence = [], 0.5, []
    base, granted, room = [[] for _ in RATIOS], [[] for _ in RATIOS], [p["burst_low"]] * 6
    for t, (seconds, _, _, green, _) in enumerate(blocks):
        stakes.append(min(cash, 0.5 * seconds / 1800.0))
        cash -= stakes[-1]
        for k in range(6):
            rho, high = p["mild"] if p["mild"] and k == 0 else (p["rho"], p["burst_high"])
            full = high if green >= 5 * seconds else p["burst_low"]
            goes_on = p["persistence"] > 0 and t > 0 and raw[t - 1][k] > 0 and raw[t][k] > 0
            room[k] = min(full, room[k] + rho * (seconds - 1 if goes_on else seconds))
            base[k].append(min(raw[t][k], room[k]))
            room[k] -= max(base[k][-1], 0.0)
            granted[k].append(base[k][-1])
            if p["persistence"] == 0:
                continue
            so_far = [r[k] for r in raw[: t + 1]]
            successive, spanned, speaking = runs(so_far)
            if successive >= p["persistence"]:
                grant(so_far, base[k], granted[k], successive, p["persistence"] - 1)
            if successive > 0 and speaking >= p["persistence"] + 3:
                grant(so_far, base[k], granted[k], spanned, p["persistence"] + 1)
        wealth = []
        for k in range(6):
            terms, ahead = [], 0.0
            for s in range(t, -1, -1):
                ahead += granted[k][s]
                stake = stakes[s] + (0.5 if s == 0 else 0.0)
                terms.append(math.log(stake / 6) + ahead if stake > 0 else -math.inf)
            wealth.append(ln_sum(terms))
        evidence.append(ln_sum([math.log(cash) if cash > 0 else -math.inf] + wealth))
    return evidence, wealth


def draw(rng, seconds, rate, share, blue_errors, green_errors):
    """Blocks of traffic; a block ends when both pools had a request."""
    blocks, open_block = [], [0, 0, 0, 0, 0]
    for t in range(seconds):
        open_block[0] += 1
        for _ in range(sum(rng.random() < rate / 1000 for _ in range(1000))):
            on_green = rng.random() < share
            failed = rng.random() < (green_errors(t) if on_green else blue_errors)
            open_block[3 if on_green else 1] += 1
            open_block[4 if on_green else 2] += failed
        if open_block[1] and open_block[3]:
            blocks.append(open_block)
            open_block = [0, 0, 0, 0, 0]
    return blocks


def cases():
    rng = random.Random(20)

    def burst(*spans):
        return lambda t: 0.9 if any(a <= t < b for a, b in spans) else 0.001

    made = [
        ("20 % errors, 5 % of 400/s", ERRORS, draw(rng, 12, 400, 0.05, 0.001, lambda t: 0.2)),
        ("20 % errors, 50 % of 40/s", ERRORS, draw(rng, 14, 40, 0.5, 0.001, lambda t: 0.2)),
        ("5 % errors, 50 % of 40/s", ERRORS, draw(rng, 45, 40, 0.5, 0.001, lambda t: 0.05)),
        ("a stall over four seconds", ERRORS, draw(rng, 20, 400, 0.05, 0.001, burst((8, 12)))),
        ("a stall, then one failure", ERRORS, [[1, 380, 0, 20, 0]] * 3 + [[1, 380, 0, 20, 20]] * 4 + [[1, 380, 0, 20, 1], [1, 380, 0, 20, 0]]),
        ("two bursts and a second between", ERRORS, draw(rng, 20, 400, 0.05, 0.001, burst((6, 9), (10, 13)))),
        ("three bursts", ERRORS, draw(rng, 24, 400, 0.05, 0.001, burst((6, 9), (10, 13), (14, 17)))),
        ("blocks of several seconds", ERRORS, draw(rng, 60, 5, 0.05, 0.001, lambda t: 0.8)),
        ("a run longer than what is kept", ERRORS, draw(rng, 45, 400, 0.5, 0.02, lambda t: 0.05)),
        ("latency, slower by half", LATENCY, draw(rng, 40, 400, 0.05, 0.5, lambda t: 0.62)),
    ]
    for name, settings, blocks in made:
        evidence, wealth = process(blocks, settings)
        yield dict(name=name, **settings, blocks_dt_nb_xb_ng_xg=blocks, ln_e=evidence, final_ln_m=wealth)


def main():
    text = VECTORS.read_text()
    if "--write" in sys.argv:
        head = text.rstrip()[:-1].split(',"guard":[')[0]
        VECTORS.write_text(head + ',"guard":' + json.dumps(list(cases()), separators=(",", ":")) + "}\n")
        return 0
    worst, numbers = 0.0, 0
    for case in json.loads(text)["guard"]:
        evidence, wealth = process(case["blocks_dt_nb_xb_ng_xg"], case)
        assert len(evidence) == len(case["ln_e"]), case["name"]
        for got, want in zip(evidence + wealth, case["ln_e"] + case["final_ln_m"]):
            worst, numbers = max(worst, abs(got - want)), numbers + 1
    print(f"{numbers} numbers, largest difference {worst:.1e}")
    return 0 if numbers > 0 and worst <= 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
