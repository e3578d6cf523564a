//! The position of the n-th newcomer of a service on the line 0..10 000: random, in shuffled blocks.
//!
//! The judge's evidence rests on one thing: that chance alone says which version gets a request
//! ([`core::sequential`](crate::core::sequential)). A draw for each request would do; but of 20 requests a share of
//! 5 % would then have none in one of three cases. So chance shuffles blocks:
//!
//! - Each block of 20 newcomers gets the 20 strata of the line (5 % each) in a random order.
//! - In each run of 5 blocks a stratum gives its fifths (1 % of the line each) in a random order of their own.
//! - Within a fifth the place is a draw.
//!
//! So a share of `k` times 5 % has exactly `k` of each block, 1 to 3 of any 40 consecutive newcomers where
//! `k` is 1; a share of 1 % has one of each run, and 1 to 3 of any 200. Whatever repeats itself in the traffic
//! (a page of 34 requests, a poller, one client at night) meets an order that it cannot be in step with. This
//! is restricted randomisation by permuted blocks, as clinical trials use it (Zelen 1974; Rosenberger and
//! Lachin, "Randomization in Clinical Trials", 2016, chapter 3).
//!
//! All of it is a pure function of the number and the salt: workers share one counter, and keep the order of the
//! present block beside it so that it is dealt once and not 20 times (`proxy/newcomers.rs`). A rollout can be
//! replayed from its salt. The draws are those of SplitMix64 (Steele, Lea, Flood 2014), which has random access to its
//! outputs; digits of the factorial number system (Lehmer 1960) are
//! taken of them by multiplication, so each order of a block has its chance up to a factor of 1 ± 2⁻⁴⁰.
//!
//! # What the judge may assume
//!
//! Let the requests of a block be fixed: which are bad does not depend on where any of them goes. That holds
//! where both versions are alike, also for clients that send the next request when the answer is there.
//!
//! - Within a block the bad ones on green are hypergeometric, exactly. The blocks are independent.
//! - Over many blocks the judge compares with one hypergeometric distribution of all requests of a second. Where
//!   the bad ones are spread as chance would (or in bursts), it is exact again (or the truth varies less). Where
//!   they are spread *more evenly* than chance would, the truth varies more, though by little: for `K` blocks of
//!   `B = 20` with a share `p_b` of bad ones in block `b`, green's bad ones have the variance
//!   `w (1 - w) B² / (B - 1) Σ p_b (1 - p_b)`, which by concavity is at most `(N - 1) / (N - K) < 20 / 19` times
//!   that of the hypergeometric of all `N = K B`.
//! - At shares of `k` times 5 % each is at most as variable as draws would be: permutations are negatively associated
//!   (Joag-Dev and Proschan 1983), so green's bad ones are smaller in convex order than a binomial variable (Shao 2000).
//!
//! The effect on the evidence is described, with figures, in [`core::sequential`](crate::core::sequential).

use crate::core::weight::Weight;

/// Number of newcomers in a block.
pub const BLOCK: u64 = STRATA;

/// Number of parts of the line that a block is dealt: 5 % each.
const STRATA: u64 = 20;

/// Number of parts of a stratum, and of the blocks in which they are dealt: 1 % of the line each.
const FIFTHS: u64 = 5;

/// Number of newcomers after which each hundredth of the line was dealt once.
const RUN: u64 = STRATA * FIFTHS;

/// Number of points in a hundredth of the line.
const WIDTH: u64 = Weight::FULL as u64 / RUN;

/// Kinds of draws (orders of strata, orders of fifths, places within a fifth): each kind has draws of its own.
const ORDERS: u64 = 0;
const PARTS: u64 = 1 << 62;
const PLACES: u64 = 2 << 62;

/// Digits that are taken of one draw: the product of five radices up to 20 is below 2²¹, so a digit's chance is
/// off by a factor of at most 1 ± 2⁻⁴³.
const DIGITS: usize = 5;

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64: every input bit reaches every output bit.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The start of a salt's draws.
const fn key(salt: u64) -> u64 {
    mix(salt.wrapping_add(GAMMA))
}

/// The draw at this index of a kind: 64 bits.
const fn draw(key: u64, kind: u64, place: u64) -> u64 {
    mix(key.wrapping_add(GAMMA.wrapping_mul(kind.wrapping_add(place))))
}

/// The leading digit of a fraction in this radix; `fraction` keeps the rest.
const fn digit(fraction: &mut u64, radix: u64) -> u64 {
    let wide = *fraction as u128 * radix as u128;
    *fraction = wide as u64;
    (wide >> 64) as u64
}

/// A random permutation of 0..`SIZE`, by position: swaps `k` with one of 0..=`k`, for `k` from 1 on.
///
/// `SIZE` is a multiple of [`DIGITS`], and `first` the index of the first draw of this order.
const fn shuffle<const SIZE: usize>(key: u64, kind: u64, first: u64) -> [u8; SIZE] {
    let (mut from, mut lane) = ([0u8; SIZE], 0);
    while lane < SIZE / DIGITS {
        let mut fraction = draw(key, kind, first.wrapping_add(lane as u64));
        let mut k = lane * DIGITS;
        while k < (lane + 1) * DIGITS {
            let other = digit(&mut fraction, k as u64 + 1) as usize;
            from[k] = from[other];
            from[other] = k as u8;
            k += 1;
        }
        lane += 1;
    }
    inverse(from)
}

const fn inverse<const SIZE: usize>(from: [u8; SIZE]) -> [u8; SIZE] {
    let (mut order, mut to) = ([0u8; SIZE], 0);
    while to < SIZE {
        order[from[to] as usize] = to as u8;
        to += 1;
    }
    order
}

/// Number of orders of the fifths: 5!.
const FIFTH_ORDERS: usize = 120;

/// All orders of the fifths, by the digits of the factorial number system as one number; a place has three bits.
///
/// Multiplication of a draw by 120 takes the same digits as multiplications by 2, 3, 4 and 5 one after the other.
const FIFTH: [u16; FIFTH_ORDERS] = {
    let (mut all, mut one) = ([0; FIFTH_ORDERS], 0);
    while one < FIFTH_ORDERS {
        let (mut from, mut k) = ([0u8; FIFTHS as usize], 1);
        let (mut rest, mut below) = (one, FIFTH_ORDERS);
        while k < FIFTHS as usize {
            below /= k + 1;
            let other = rest / below;
            rest %= below;
            from[k] = from[other];
            from[other] = k as u8;
            k += 1;
        }
        let order = inverse(from);
        k = 0;
        while k < FIFTHS as usize {
            all[one] |= (order[k] as u16) << (3 * k);
            k += 1;
        }
        one += 1;
    }
    all
};

const fn first_of_block(block: u64) -> u64 {
    block.wrapping_mul(STRATA / DIGITS as u64)
}

const fn first_of_stratum(run: u64, stratum: u64) -> u64 {
    run.wrapping_mul(STRATA).wrapping_add(stratum)
}

/// The point at this place within a hundredth.
const fn point(hundredth: u64, place: u64) -> u16 {
    let within = ((place as u128 * WIDTH as u128) >> 64) as u64;
    (hundredth * WIDTH + within) as u16
}

/// The position of the `n`-th newcomer under this salt, 0..10 000.
///
/// After 2⁶⁴ newcomers the numbering starts anew, and one block is short.
pub const fn newcomer(n: u64, salt: u64) -> u16 {
    let places = Places::new(salt);
    let order = places.order(n / STRATA);
    places.within(n, order[(n % STRATA) as usize])
}

/// The positions under one salt.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    key: u64,
}

impl Places {
    /// The positions under this salt.
    pub const fn new(salt: u64) -> Places {
        Places { key: key(salt) }
    }

    /// The positions of a block's newcomers, as [`newcomer`] gives them.
    pub fn block(&self, block: u64) -> [u16; BLOCK as usize] {
        let (order, first) = (self.order(block), block.wrapping_mul(BLOCK));
        let (run, turn) = (block / FIFTHS, block % FIFTHS);
        let n = |at: usize| first.wrapping_add(at as u64);
        std::array::from_fn(|at| self.position(run, turn, order[at], n(at)))
    }

    /// The stratum of each newcomer of a block.
    const fn order(&self, block: u64) -> [u8; STRATA as usize] {
        shuffle(self.key, ORDERS, first_of_block(block))
    }

    /// The position of the `n`-th newcomer in a known stratum.
    const fn within(&self, n: u64, stratum: u8) -> u16 {
        self.position(n / RUN, n / STRATA % FIFTHS, stratum, n)
    }

    /// The position in a known stratum, for a known run and the block's turn in it.
    const fn position(&self, run: u64, turn: u64, stratum: u8, n: u64) -> u16 {
        let stratum = stratum as u64;
        let mut fraction = draw(self.key, PARTS, first_of_stratum(run, stratum));
        let order = FIFTH[digit(&mut fraction, FIFTH_ORDERS as u64) as usize];
        let fifth = (order >> (3 * turn) & 7) as u64;
        point(stratum * FIFTHS + fifth, draw(self.key, PLACES, n))
    }
}

/// Newcomers in sequence, with the points of [`newcomer`], for simulations, where each nanosecond counts.
#[derive(Clone, Debug)]
pub struct Newcomers {
    places: Places,
    next: u64,
    /// The block with a known order.
    block: Option<u64>,
    order: [u8; STRATA as usize],
}

impl Newcomers {
    /// Starts with the first newcomer under this salt.
    pub fn new(salt: u64) -> Newcomers {
        Newcomers::since(0, salt)
    }

    /// Starts with the `n`-th newcomer.
    pub fn since(n: u64, salt: u64) -> Newcomers {
        Newcomers {
            places: Places::new(salt),
            next: n,
            block: None,
            order: [0; STRATA as usize],
        }
    }

    /// How many of the next `arrived` newcomers belong to green at this share.
    ///
    /// Whole blocks and runs are not computed where the share has the same number of each.
    pub fn on_green(&mut self, arrived: u64, share: Weight) -> u64 {
        let points = u64::from(share.as_basis_points());
        let even = match points {
            _ if points.is_multiple_of(WIDTH * FIFTHS) => Some(STRATA),
            _ if points.is_multiple_of(WIDTH) => Some(RUN),
            _ => None,
        };
        let (mut left, mut green) = (arrived, 0);
        while left > 0 {
            if let Some(size) = even
                && self.next.is_multiple_of(size)
                && left >= size
            {
                let most = (u64::MAX - self.next) / size;
                let times = (left / size).min(most);
                if times > 0 {
                    green += times * size * points / u64::from(Weight::FULL);
                    self.next += times * size;
                    left -= times * size;
                    continue;
                }
            }
            green += u64::from(self.covered(points));
            left -= 1;
        }
        green
    }

    /// Whether the next newcomer stands below this point.
    fn covered(&mut self, points: u64) -> bool {
        let n = self.number();
        let stratum = self.stratum(n);
        let edge = points / (WIDTH * FIFTHS);
        if u64::from(stratum) != edge || points.is_multiple_of(WIDTH * FIFTHS) {
            return u64::from(stratum) < edge;
        }
        u64::from(self.places.within(n, stratum)) < points
    }

    fn number(&mut self) -> u64 {
        let n = self.next;
        self.next = n.wrapping_add(1);
        n
    }

    fn stratum(&mut self, n: u64) -> u8 {
        let block = n / STRATA;
        if self.block != Some(block) {
            self.block = Some(block);
            self.order = self.places.order(block);
        }
        self.order[(n % STRATA) as usize]
    }
}

impl Iterator for Newcomers {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let n = self.number();
        let stratum = self.stratum(n);
        Some(self.places.within(n, stratum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALTS: [u64; 4] = [0, 1, 0xDEAD_BEEF_0BAD_F00D, u64::MAX];

    fn covered(first: u64, many: u64, salt: u64, share: Weight) -> usize {
        (0..many)
            .filter(|more| share.covers(newcomer(first.wrapping_add(*more), salt)))
            .count()
    }

    #[test]
    fn a_small_share_has_one_to_three_of_any_window() {
        for (percent, window) in [(5, 40), (1, 200)] {
            let share = Weight::percent(percent).unwrap();
            for salt in SALTS {
                for first in 0..5_000 {
                    let green = covered(first, window, salt, share);
                    assert!(
                        (1..=3).contains(&green),
                        "{share} salt {salt} first {first}: {green}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_end_of_the_numbers_is_one_short_block() {
        let five = Weight::percent(5).unwrap();
        for salt in 0..200 {
            for before in 0..60 {
                let green = covered(0u64.wrapping_sub(before), 40, salt, five);
                assert!(green <= 4, "salt {salt} {before} before: {green}");
            }
            let all = Newcomers::since(u64::MAX - 150, salt).take(400);
            let alone = (0..400).map(|more| newcomer((u64::MAX - 150).wrapping_add(more), salt));
            assert!(all.eq(alone));
            for share in [1, 100, 500, 5_000] {
                let share = Weight::basis_points(share).unwrap();
                let mut fast = Newcomers::since(u64::MAX - 150, salt);
                let slow = covered(u64::MAX - 150, 400, salt, share);
                assert_eq!(fast.on_green(400, share), slow as u64);
            }
        }
    }

    #[test]
    fn newcomers_meet_every_weight_within_a_point_in_ten_thousand() {
        for points in [1u16, 5, 100, 500, 5_000, 9_500, 9_999] {
            let weight = Weight::basis_points(points).unwrap();
            let share = covered(0, 100_000, 7, weight) as f64 / 100_000.0;
            let within = if points.is_multiple_of(100) {
                1e-9
            } else {
                0.0001
            };
            assert!((share - weight.ratio()).abs() < within, "{weight}: {share}");
        }
    }

    /// Pearson's statistic of counts that are equally likely.
    fn chi_squared(counts: &[u32]) -> f64 {
        let mean = counts.iter().map(|&n| f64::from(n)).sum::<f64>() / counts.len() as f64;
        let far = |&n: &u32| (f64::from(n) - mean).powi(2) / mean;
        counts.iter().map(far).sum()
    }

    /// Whether the statistic is consistent with chance, within five standard deviations.
    fn like_chance(counts: &[u32]) -> bool {
        let free = (counts.len() - 1) as f64;
        (chi_squared(counts) - free).abs() < 5.0 * (2.0 * free).sqrt()
    }

    #[test]
    fn any_two_of_a_block_stand_in_any_two_strata_alike() {
        let blocks: Vec<[u8; 20]> = (0..40_000)
            .map(|b| shuffle(key(b % 3), ORDERS, first_of_block(b)))
            .collect();
        for (i, j) in [(0, 1), (0, 19), (4, 5), (9, 10), (18, 19), (3, 16)] {
            let mut counts = vec![0; 400];
            for order in &blocks {
                counts[usize::from(order[i]) * 20 + usize::from(order[j])] += 1;
            }
            let distinct: Vec<u32> = (0..400)
                .filter(|c| c % 21 != 0)
                .map(|c| counts[c])
                .collect();
            assert_eq!((0..20).map(|c| counts[c * 21]).sum::<u32>(), 0);
            assert!(
                like_chance(&distinct),
                "{i} {j}: {}",
                chi_squared(&distinct)
            );
        }
    }

    #[test]
    fn every_order_of_the_fifths_is_as_likely() {
        let mut counts = vec![0; 3_125];
        for run in 0..60_000 {
            let order: [u8; 5] = shuffle(key(run % 7), PARTS, run);
            counts[order.iter().fold(0, |all, &one| all * 5 + usize::from(one))] += 1;
        }
        counts.retain(|&count| count > 0);
        assert_eq!(counts.len(), 120);
        assert!(like_chance(&counts), "{}", chi_squared(&counts));
    }

    #[test]
    fn a_block_says_nothing_about_the_next() {
        let mut counts = vec![0; 400];
        let mut orders = (0..40_000).map(|b| shuffle::<20>(key(9), ORDERS, first_of_block(b)));
        let mut before = orders.next().unwrap();
        for order in orders {
            counts[usize::from(before[19]) * 20 + usize::from(order[0])] += 1;
            before = order;
        }
        assert!(like_chance(&counts), "{}", chi_squared(&counts));
    }

    /// One request of every `k` is counted: green gets its share of these, and no more evenly than by chance.
    #[test]
    fn what_repeats_itself_is_split_as_by_chance() {
        for percent in [5u16, 50] {
            let share = Weight::percent(percent).unwrap();
            let mut beyond = 0;
            for period in 2..=400 {
                let (times, p) = (2_000u64, share.ratio());
                let green = (0..times).filter(|at| share.covers(newcomer(at * period, period)));
                let far = green.count() as f64 - times as f64 * p;
                // At most as far as independent draws: of 399, one in a thousand is beyond 3.3 standard deviations.
                beyond += usize::from(far.abs() > 3.3 * (times as f64 * p * (1.0 - p)).sqrt());
            }
            assert!(beyond <= 3, "{percent} %: {beyond} of 399 periods");
        }
    }

    /// Neither salt nor number may leave a trace in the other's order.
    #[test]
    fn two_services_with_one_client_are_not_in_step() {
        let half = Weight::percent(50).unwrap();
        for (one, other) in [(1, 2), (0, u64::MAX), (7, 7 << 32), (GAMMA, 0)] {
            let mut counts = [0u32; 4];
            let pairs = Newcomers::new(one).zip(Newcomers::new(other));
            for (a, b) in pairs.take(100_000) {
                counts[2 * usize::from(half.covers(a)) + usize::from(half.covers(b))] += 1;
            }
            assert!(
                counts.iter().all(|n| n.abs_diff(25_000) < 600),
                "{one} {other}: {counts:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn one_by_one_and_one_after_the_other_are_the_same(
            first in prop_oneof![0u64..1_000, any::<u64>()], salt in any::<u64>(), many in 1usize..300,
        ) {
            let fast: Vec<u16> = Newcomers::since(first, salt).take(many).collect();
            for (more, point) in (0..).zip(fast) {
                prop_assert_eq!(point, newcomer(first.wrapping_add(more), salt));
            }
        }

        #[test]
        fn a_count_is_that_of_the_points(
            first in any::<u64>(), salt in any::<u64>(), many in prop::collection::vec((0u64..500, 0u16..=10_000), 1..8),
            round in prop_oneof![Just(1u16), Just(100), Just(500)],
        ) {
            let (mut counted, mut points) = (Newcomers::since(first, salt), Newcomers::since(first, salt));
            for (arrived, share) in many {
                let share = Weight::basis_points(share / round * round).unwrap();
                let green = points.by_ref().take(arrived as usize).filter(|&point| share.covers(point)).count();
                prop_assert_eq!(counted.on_green(arrived, share), green as u64, "{}", share);
            }
        }

        #[test]
        fn a_share_has_its_part_of_every_block(block in 0u64..u64::MAX / 100, salt in any::<u64>(), percent in 0u16..=100) {
            let share = Weight::percent(percent).unwrap();
            let green = covered(block * 100, 100, salt, share);
            prop_assert_eq!(green, usize::from(percent));
            if percent % 5 == 0 {
                prop_assert_eq!(covered(block * 20, 20, salt, share), usize::from(percent / 5));
            }
        }
    }
}
