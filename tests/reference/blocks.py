"""Assignment in shuffled blocks, and what it does to the evidence: an independent second implementation.

    python3 tests/reference/blocks.py            the tables of the documentation (some minutes)
    python3 tests/reference/blocks.py check      every pattern of two and three blocks, and seconds that cut blocks
    python3 tests/reference/blocks.py vectors    rewrites the sections `newcomers` and `shuffled_blocks` of tests/vectors.json

The judge compares green's bad requests of a second with a hypergeometric distribution of all N requests. The truth is a sum of
the blocks' own distributions. E[LR] of one second is computed exactly, for equal versions, with the guard (a second adds at
most `cap` nats) and without it (cap = inf).

Without the guard the even spread is the worst pattern: E[r^X] of a block is Z_m / C(B, m), where Z_m are the coefficients of the
real-rooted polynomial (1 + rt)^g (1 + t)^(B - g), so by Newton's inequalities it is log-concave in the number m of bad requests.
"""
import itertools
import json
import math
import pathlib
import sys
from collections import Counter

BLOCK = 20
RUN = 5
RATIOS = (1.3, 2.0, 3.5, 8.0, 30.0, 300.0)
M64 = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


# The chooser.

def mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & M64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & M64
    return x ^ (x >> 31)


def shuffled(key, place, size):
    """Swaps k with one of 0..=k for k = 1.., and says where each element comes to stand."""
    inverse = list(range(size))
    for lane in range(size // 5):
        fraction = mix((key + GAMMA * (place + lane)) & M64)
        for k in range(5 * lane, 5 * lane + 5):
            other, fraction = divmod(fraction * (k + 1), 1 << 64)
            inverse[k], inverse[other] = inverse[other], k
    order = [0] * size
    for stratum, at in enumerate(inverse):
        order[at] = stratum
    return order


def newcomer(n, salt):
    key = mix((salt + GAMMA) & M64)
    block, at = divmod(n, BLOCK)
    run, part = divmod(block, RUN)
    stratum = shuffled(key, 4 * block, BLOCK)[at]
    fifth = shuffled(key, (1 << 62) + BLOCK * run + stratum, RUN)[part]
    within = mix((key + GAMMA * ((2 << 62) + n)) & M64) * 100 >> 64
    return (stratum * RUN + fifth) * 100 + within


# The evidence.

def ln_choose(n, k):
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def ln_sum(values):
    top = max(values)
    return top + math.log(math.fsum(math.exp(v - top) for v in values))


def cached(function):
    known = {}

    def asked(*key):
        if key not in known:
            known[key] = function(*key)
        return known[key]
    return asked


@cached
def ln_z(green, blue, bad, odds):
    """Logarithm of the normaliser of Fisher's noncentral hypergeometric distribution."""
    span = range(max(0, bad - blue), min(green, bad) + 1)
    return ln_sum([ln_choose(green, x) + ln_choose(blue, bad - x) + x * math.log(odds) for x in span])


@cached
def cell(size, bad, green):
    """Chances of green's number of bad ones, for 0.. of them."""
    total = ln_choose(size, bad)
    span = range(0, min(green, bad) + 1)
    return [math.exp(ln_choose(green, x) + ln_choose(size - green, bad - x) - total) if bad - x <= size - green else 0.0 for x in span]


def together(one, other):
    both = [0.0] * (len(one) + len(other) - 1)
    for i, p in enumerate(one):
        for j, q in enumerate(other):
            both[i + j] += p * q
    return both


@cached
def times(bad, green, blocks):
    return [1.0] if blocks == 0 else together(times(bad, green, blocks - 1), cell(BLOCK, bad, green))


def truth(bad, percent):
    """Chances of green's number of bad ones, with so many bad ones in each block."""
    whole, rest = divmod(percent, RUN)
    all_of_them = [1.0]
    if rest == 0:
        for one, blocks in sorted(Counter(bad).items()):
            all_of_them = together(all_of_them, times(one, whole, blocks))
        return all_of_them
    for start in range(0, len(bad), RUN):
        run, mixture = bad[start:start + RUN], Counter()
        chosen = list(itertools.combinations(range(RUN), rest))
        for more in chosen:
            one = [1.0]
            for i, m in enumerate(run):
                one = together(one, cell(BLOCK, m, whole + (i in more)))
            for x, p in enumerate(one):
                mixture[x] += p / len(chosen)
        all_of_them = together(all_of_them, [mixture[x] for x in range(max(mixture) + 1)])
    return all_of_them


def even(blocks, bad):
    low, more = divmod(bad, blocks)
    return [low + ((i * more) // blocks != ((i + 1) * more) // blocks) for i in range(blocks)]


def ln_expected(bad, percent, odds0, ratio, cap=math.inf, power=1.0):
    """ln E[min(LR, e^cap)^power] of odds0 * ratio against odds0, for equal versions with so many bad ones in each block."""
    n, m = BLOCK * len(bad), sum(bad)
    green = n * percent // 100
    norm = ln_z(green, n - green, m, odds0 * ratio) - ln_z(green, n - green, m, odds0)
    terms = [math.log(p) + power * min(cap, x * math.log(ratio) - norm) for x, p in enumerate(truth(bad, percent)) if p > 0.0]
    return ln_sum(terms)


def sizes(percent):
    return (2, 3, 4, 5, 7, 10, 15) if percent % RUN == 0 else (5, 10, 15)


def numbers(blocks):
    return sorted({*range(1, 2 * blocks + 2), *range(1, BLOCK * blocks, max(1, blocks // 3)), BLOCK * blocks - 1})


def worst(percent, odds0, ratio, cap):
    """The largest ln E over sizes up to 300 requests a second and numbers of bad ones, evenly spread."""
    return max((ln_expected(even(blocks, bad), percent, odds0, ratio, cap), BLOCK * blocks, bad)
               for blocks in sizes(percent) for bad in numbers(blocks))


def largest_power(percent, odds0, cap):
    """The largest power up to 1 with E[min(LR, e^cap)^power] <= 1 for every ratio: what is left of alpha's exponent."""
    power = 1.0
    for ratio in RATIOS:
        for blocks in sizes(percent):
            for bad in numbers(blocks):
                spread = even(blocks, bad)
                while power > 0.5 and ln_expected(spread, percent, odds0, ratio, cap, power) > 1e-9:
                    power -= 0.002
    return power


def tables():
    shares = (1, 2, 5, 7, 10, 25, 50)
    for odds0 in (1.1, 1.0, 1.02, 1.05):
        for cap in (math.inf, 5.0, 3.0, 1.0):
            print(f'\ntolerated odds {odds0}, a second adds at most {cap} nats: largest ln E[LR] of a second, equal versions, evenly spread')
            print('share ', *(f'{ratio:>20}' for ratio in RATIOS))
            for percent in shares:
                row = [worst(percent, odds0, ratio, cap) for ratio in RATIOS]
                print(f'{percent:4d} %', *(f'{v:+10.5f} {f"({bad}/{n})":>9}' for v, n, bad in row), flush=True)
            print('largest power that gains nothing:', *(f'{p} %: {largest_power(p, odds0, cap):.3f}' for p in (1, 5, 10, 25, 50)), flush=True)


def parts(n, first):
    """Requests of each block in a second of n that begins at this place of a block."""
    out, room = [], BLOCK - first
    while n > 0:
        out.append(min(n, room))
        n, room = n - out[-1], BLOCK
    return out


def cut(n, first, bad, percent, odds0, cap):
    """E[min(LR, e^cap)] for each ratio, in a second that cuts blocks: over green's number of requests, too."""
    green, joint = percent // RUN, {(0, 0): 1.0}
    for size, m in zip(parts(n, first), bad):
        after = Counter()
        for k in range(max(0, green - (BLOCK - size)), min(green, size) + 1):
            chance = math.exp(ln_choose(size, k) + ln_choose(BLOCK - size, green - k) - ln_choose(BLOCK, green))
            for (a, b), p in joint.items():
                for x, q in enumerate(cell(size, m, k)):
                    after[a + k, b + x] += p * chance * q
        joint = after
    m = sum(bad)
    for ratio in RATIOS:
        total = 0.0
        for (a, x), p in joint.items():
            ln = 0.0 if a in (0, n) else x * math.log(ratio) - ln_z(a, n - a, m, odds0 * ratio) + ln_z(a, n - a, m, odds0)
            total += p * math.exp(min(cap, ln))
        yield total


def check():
    for odds0, cap in itertools.product((1.1, 1.0), (1.0, 3.0)):
        for percent in (5, 10, 25, 50):
            uneven, evenly = -math.inf, -math.inf
            for blocks in (2, 3):
                for bad in itertools.combinations_with_replacement(range(BLOCK + 1), blocks):
                    if 0 < sum(bad) < BLOCK * blocks:
                        value = max(ln_expected(list(bad), percent, odds0, ratio, cap) for ratio in RATIOS)
                        if max(bad) - min(bad) <= 1:
                            evenly = max(evenly, value)
                        else:
                            uneven = max(uneven, value)
            print(f'odds {odds0}, cap {cap}, {percent} %: all patterns of 2 and 3 blocks: evenly {evenly:+.5f}, unevenly {uneven:+.5f}', flush=True)
    for odds0, cap in ((1.1, 3.0), (1.0, 3.0)):
        for percent in (5, 25, 50):
            found = (-math.inf,)
            for n in (2, 3, 4, 6, 8, 10, 15, 20, 25, 30):
                for first in range(BLOCK):
                    for bad in itertools.product(*(range(size + 1) for size in parts(n, first))):
                        if len(bad) > 1 and 0 < sum(bad) < n:
                            found = max(found, (math.log(max(cut(n, first, bad, percent, odds0, cap))), n, first, bad))
            print(f'odds {odds0}, cap {cap}, {percent} %: seconds of 2 to 30 that cut blocks: {found}', flush=True)


def vectors():
    path = pathlib.Path(__file__).parent.parent / 'vectors.json'
    newcomers = [dict(salt=salt, first=first, points=[newcomer((first + i) & M64, salt) for i in range(45)])
                 for salt, first in ((0, 0), (7, 93), (0xDEADBEEF0BADF00D, 12345678901), (M64, M64 - 20))]
    expected = [dict(bad=even(b, m), percent=p, odds0=o, ratio=r, ln_e=ln_expected(even(b, m), p, o, r),
                     ln_e_cap_1=ln_expected(even(b, m), p, o, r, 1.0), ln_e_cap_3=ln_expected(even(b, m), p, o, r, 3.0))
                for b, m, p in ((2, 2, 50), (2, 3, 5), (4, 9, 10), (10, 100, 50), (15, 15, 5), (15, 20, 25), (7, 133, 35))
                for o in (1.0, 1.1) for r in (1.3, 8.0, 300.0)]
    text = path.read_text().rstrip()
    for name, cases in (('newcomers', newcomers), ('shuffled_blocks', expected)):
        at = text.find(f',"{name}":')
        text = (text[:at] + '}' if at >= 0 else text)
        text = f'{text[:-1]},"{name}":{json.dumps(cases, separators=(",", ":"))}}}'
    path.write_text(text + '\n' if path.read_text().endswith('\n') else text)


if __name__ == '__main__':
    {'': tables, 'check': check, 'vectors': vectors}[''.join(sys.argv[1:2])]()
