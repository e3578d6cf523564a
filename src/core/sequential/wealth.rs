//! How evidence becomes wealth, and the guard against bursts.
//!
//! Wealth is spread over six alternatives. A block has a *raw* log likelihood ratio for each of them; the
//! guard *grants* a part of it. A pool that pauses for up to three seconds has nothing to do with its
//! release, and its blocks are not independent as the null takes them to be; so a block that speaks
//! against green is granted only an allowance from a bucket (`burst_low`, `burst_high`), which refills by
//! `rho` a second. What is above the allowance is withheld, and with `persistence` it may be granted
//! later, when the evidence lasts longer than a pause can:
//!
//! - A *run* is a series of successive blocks that speak for the alternative. Within a run the bucket
//!   refills only by what a block lasts beyond a second: a burst has one allowance.
//! - From `persistence` (5) successive blocks on, all but the four largest count in full. Three seconds
//!   touch at most four seconds of the clock, so a pause alone never gets there, however hard it fails.
//! - The same holds where single blocks that speak for green interrupt the run, from eight blocks on and
//!   without the six largest: two bursts close to each other do not get there.
//! - Of the largest, each counts at most as much as the largest of the others, and together they gain at
//!   most as much as the others sum up to, times the number of the others. So one failure by chance
//!   right after a pause does not set the pause free.
//!
//! **Validity.** Let `r(u)` be the raw and `g(u, t)` the granted evidence of block `u` at time `t`, and `q(s)`
//! the stake that is bet from block `s` on. Wealth is `sum over s <= t of q(s) exp(sum over s <= u <= t of
//! g(u, t))`. Without a guard it is the same with `r(u)` for `g(u, t)`: a sum of nonnegative supermartingales
//! under "green is not worse", as the stakes do not depend on data. The guard keeps `g(u, t) <= r(u)` for
//! every block by itself: an allowance and a release are at most the block's own raw evidence, and evidence
//! for green counts in full at once. Therefore every stake, early or late, has at most what it would have
//! without a guard, and so has their sum, at every moment. By Ville's inequality the larger process reaches
//! `1 / alpha` with a probability of at most `alpha`, so the smaller one does, too. It need not be a
//! supermartingale itself: what was withheld may be granted later. The stakes are kept apart for as long as a
//! block can still be granted more, because evidence from before a stake must not multiply it.
//!
//! Where the null holds without independence (bursts, drift), the guard is what keeps false alarms rare; that
//! is shown by simulation only.

use super::kernel::ln_sum;
use serde::{Deserialize, Serialize};

/// Number of alternatives that are bet on.
const SIX: usize = 6;

/// How wealth is bet against "green is not worse".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Betting {
    /// Alternatives, as multiples of the tolerated odds.
    pub ratios: [f64; 6],
    /// Share of the wealth that is bet from the start, 0 to 1.
    pub initial_stake: f64,
    /// Seconds over which the rest is bet: this finds harm that begins late.
    pub horizon: f64,
    /// Evidence (in nats) that a second may add in the long run.
    pub rho: f64,
    /// Highest evidence (in nats) that a burst may add, at low traffic.
    pub burst_low: f64,
    /// Highest evidence (in nats) that a burst may add, at high traffic.
    pub burst_high: f64,
    /// Green requests per second from which traffic is high.
    pub burst_rps: f64,
    /// `rho` and `burst_high` (in nats) of the first alternative, where they differ.
    #[serde(default)]
    pub mild: Option<(f64, f64)>,
    /// Successive blocks from which withheld evidence is granted; 0: never, and the bucket refills within runs.
    #[serde(default)]
    pub persistence: usize,
}

impl Betting {
    /// The size of an alternative's bucket and its refill per second, in nats.
    fn bucket(&self, alternative: usize, busy: bool) -> (f64, f64) {
        let (rho, high) = match self.mild {
            Some(mild) if alternative == 0 => mild,
            _ => (self.rho, self.burst_high),
        };
        (if busy { high } else { self.burst_low }, rho)
    }
}

/// A block that may still be granted more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Recent {
    /// Natural logarithm of the stake that each alternative has from this block on; `None` when all is bet.
    ln_stake: Option<f64>,
    raw: [f64; SIX],
    /// The part of `raw` that came from the bucket.
    base: [f64; SIX],
    granted: [f64; SIX],
}

/// Successive blocks that speak for one alternative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// Successive blocks without one between them that speaks against the alternative.
    successive: usize,
    /// Blocks for the alternative, with single ones between them that speak against it.
    speaking: usize,
    /// Number of blocks counted in `speaking`, with those between them and after them.
    spanned: usize,
}

impl Run {
    fn take(&mut self, speaks: bool) {
        if speaks {
            self.successive += 1;
            self.speaking += 1;
            self.spanned += 1;
        } else if self.successive > 0 {
            self.successive = 0;
            self.spanned += 1;
        } else {
            *self = Run::default();
        }
    }
}

/// Wealth spread over six alternatives, with the guard against bursts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Wealth {
    betting: Betting,
    cash: f64,
    ln_wealth: [f64; SIX],
    room: [f64; SIX],
    #[serde(default)]
    runs: [Run; SIX],
    /// Blocks of open runs, the oldest first.
    #[serde(default)]
    recent: Vec<Recent>,
    /// Natural logarithm of the wealth before the oldest of them.
    #[serde(default)]
    ln_before: [f64; SIX],
}

impl Wealth {
    /// Highest number of blocks that are kept; older ones are granted no more.
    const KEPT: usize = 30;

    pub(super) fn new(betting: Betting) -> Wealth {
        let ln_wealth = [(betting.initial_stake / SIX as f64).ln(); SIX];
        Wealth {
            betting,
            cash: 1.0 - betting.initial_stake,
            ln_wealth,
            room: [betting.burst_low; SIX],
            runs: [Run::default(); SIX],
            recent: Vec::new(),
            ln_before: ln_wealth,
        }
    }

    /// Takes the raw evidence of one block with this length in seconds and this number of green requests.
    pub(super) fn bet(&mut self, seconds: f64, green: u64, raw: [f64; SIX]) {
        let b = &self.betting;
        let stake = self.cash.min((1.0 - b.initial_stake) * seconds / b.horizon);
        self.cash -= stake;
        let ln_stake = (stake > 0.0).then(|| (stake / SIX as f64).ln());
        let busy = green as f64 >= b.burst_rps * seconds;
        let mut base = [0.0; SIX];
        for k in 0..SIX {
            let (full, rho) = self.betting.bucket(k, busy);
            let goes_on = self.guarded() && self.runs[k].successive > 0 && raw[k] > 0.0;
            let refilled = if goes_on { seconds - 1.0 } else { seconds };
            let room = full.min(self.room[k] + rho * refilled);
            base[k] = raw[k].min(room);
            self.room[k] = room - base[k].max(0.0);
            self.ln_wealth[k] = grown(self.ln_wealth[k], ln_stake, base[k]);
        }
        if self.guarded() {
            self.recent.push(Recent {
                ln_stake,
                raw,
                base,
                granted: base,
            });
            for (k, raw) in raw.into_iter().enumerate() {
                self.runs[k].take(raw > 0.0);
                self.release(k);
            }
            self.settle();
        }
    }

    fn guarded(&self) -> bool {
        self.betting.persistence > 0
    }

    /// Grants the evidence that outlasts a pause.
    fn release(&mut self, k: usize) {
        let (run, blocks) = (self.runs[k], self.betting.persistence);
        let mut released = false;
        if run.successive >= blocks {
            released |= self.grant(k, run.successive, blocks - 1);
        }
        if run.successive > 0 && run.speaking >= blocks + 3 {
            released |= self.grant(k, run.spanned, blocks + 1);
        }
        if released {
            self.ln_wealth[k] = self.recent.iter().fold(self.ln_before[k], |ln, block| {
                grown(ln, block.ln_stake, block.granted[k])
            });
        }
    }

    /// Grants the evidence of the last blocks, apart from the largest ones; returns whether there was any.
    fn grant(&mut self, k: usize, blocks: usize, largest: usize) -> bool {
        let first = self.recent.len().saturating_sub(blocks);
        let mut speaking: Vec<usize> = (first..self.recent.len())
            .filter(|i| self.recent[*i].raw[k] > 0.0)
            .collect();
        speaking.sort_by(|a, b| self.recent[*b].raw[k].total_cmp(&self.recent[*a].raw[k]));
        let (largest, others) = speaking.split_at(largest.min(speaking.len()));
        let Some(&next) = others.first() else {
            return false;
        };
        let level = self.recent[next].raw[k];
        let sum: f64 = others.iter().map(|i| self.recent[*i].raw[k]).sum();
        let mut left = sum * others.len() as f64;
        for i in others {
            self.recent[*i].granted[k] = self.recent[*i].raw[k];
        }
        let mut largest = largest.to_vec();
        largest.sort_unstable();
        for i in largest {
            let block = &mut self.recent[i];
            let more = (level.min(block.raw[k]) - block.base[k]).clamp(0.0, left);
            left -= more;
            block.granted[k] = block.granted[k].max(block.base[k] + more);
        }
        true
    }

    /// Drops blocks that are in no run any more.
    fn settle(&mut self) {
        let open = self.runs.iter().map(|run| run.spanned).max().unwrap_or(0);
        let old = self.recent.len().saturating_sub(open.min(Self::KEPT));
        if old == self.recent.len() {
            self.recent.clear();
            self.ln_before = self.ln_wealth;
            return;
        }
        for block in self.recent.drain(..old) {
            for (ln, granted) in self.ln_before.iter_mut().zip(block.granted) {
                *ln = grown(*ln, block.ln_stake, granted);
            }
        }
    }

    pub(super) fn ratios(&self) -> &[f64; SIX] {
        &self.betting.ratios
    }

    pub(super) fn ln_e(&self) -> f64 {
        let [a, b, c, d, e, f] = self.ln_wealth;
        ln_sum(&[self.cash.max(0.0).ln(), a, b, c, d, e, f])
    }

    pub(super) fn cash(&self) -> f64 {
        self.cash
    }

    pub(super) fn ln_wealth(&self) -> &[f64; SIX] {
        &self.ln_wealth
    }

    pub(super) fn room(&self) -> &[f64; SIX] {
        &self.room
    }
}

/// The wealth after a stake was added and this much evidence was granted.
fn grown(ln_wealth: f64, ln_stake: Option<f64>, granted: f64) -> f64 {
    match ln_stake {
        Some(ln_stake) => ln_sum(&[ln_wealth, ln_stake]) + granted,
        None => ln_wealth + granted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GUARDED: Betting = Betting {
        ratios: [1.3, 2.0, 3.5, 8.0, 30.0, 300.0],
        initial_stake: 0.5,
        horizon: 1_800.0,
        rho: 1.0,
        burst_low: 3.0,
        burst_high: 1.5,
        burst_rps: 5.0,
        mild: None,
        persistence: 5,
    };

    /// No guard at all: the raw evidence.
    const FREE: Betting = Betting {
        rho: 1e300,
        burst_low: 1e300,
        burst_high: 1e300,
        persistence: 0,
        ..GUARDED
    };

    fn both() -> [Wealth; 2] {
        [Wealth::new(GUARDED), Wealth::new(FREE)]
    }

    /// Seconds, green's requests, and evidence that often lasts.
    fn blocks() -> impl Strategy<Value = Vec<(u64, u64, [f64; SIX])>> {
        let lasting = (1usize..14, prop::array::uniform6(-3.0f64..6.0), 0.0f64..2.0);
        let stretch = lasting.prop_flat_map(|(blocks, level, spread)| {
            let noise = prop::array::uniform6(-1.0f64..1.0);
            prop::collection::vec((1u64..4, 0u64..40, noise), blocks).prop_map(move |drawn| {
                let raw = |noise: [f64; SIX]| std::array::from_fn(|k| level[k] + spread * noise[k]);
                drawn
                    .into_iter()
                    .map(|(s, g, noise)| (s, g, raw(noise)))
                    .collect::<Vec<_>>()
            })
        });
        prop::collection::vec(stretch, 1..12).prop_map(|stretches| stretches.concat())
    }

    proptest! {
        /// The argument of validity: at no moment has an alternative more than without the guard.
        #[test]
        fn the_guard_never_has_more_than_the_evidence_is_worth(blocks in blocks()) {
            let [mut guarded, mut free] = both();
            for (seconds, green, raw) in blocks {
                guarded.bet(seconds as f64, green, raw);
                free.bet(seconds as f64, green, raw);
                for (k, (had, worth)) in guarded.ln_wealth.iter().zip(free.ln_wealth).enumerate() {
                    prop_assert!(*had <= worth + 1e-9, "{}: {} of {}", k, had, worth);
                }
                prop_assert!(guarded.ln_e() <= free.ln_e() + 1e-9);
                prop_assert!(guarded.recent.len() <= Wealth::KEPT);
                for block in &guarded.recent {
                    for k in 0..SIX {
                        prop_assert!(block.granted[k] <= block.raw[k] + 1e-12);
                        prop_assert!(block.granted[k] >= block.base[k]);
                    }
                }
            }
        }

        /// A pause touches four seconds; what surrounds it does not speak against green.
        #[test]
        fn a_pause_has_one_allowance(
            before in 0usize..30, green in 0u64..500,
            pause in prop::collection::vec(prop::array::uniform6(0.0f64..300.0), 1..=4),
        ) {
            let mut wealth = Wealth::new(GUARDED);
            let (calm, start) = ([-0.01; SIX], wealth.ln_e());
            for _ in 0..before {
                wealth.bet(1.0, green, calm);
            }
            for raw in pause {
                wealth.bet(1.0, green, raw);
                prop_assert!(wealth.ln_e() <= start + GUARDED.burst_low);
            }
            for _ in 0..30 {
                wealth.bet(1.0, green, calm);
                prop_assert!(wealth.ln_e() <= start + GUARDED.burst_low);
            }
        }
    }

    /// With late stakes: each has exactly its value without the guard.
    #[test]
    fn what_lasts_counts_in_full() {
        let [mut guarded, mut free] = both();
        for block in 1..=60 {
            guarded.bet(1.0, 25, [2.5; SIX]);
            free.bet(1.0, 25, [2.5; SIX]);
            let apart = free.ln_e() - guarded.ln_e();
            match block {
                1..=4 => assert!(apart > 0.5, "{block}: {apart}"),
                5..=7 => assert!(apart > -1e-9, "{block}: {apart}"),
                _ => assert!(apart.abs() < 1e-9, "{block}: {apart}"),
            }
        }
    }

    #[test]
    fn the_largest_blocks_count_as_much_as_what_lasts() {
        let mut wealth = Wealth::new(GUARDED);
        for raw in [1.0, 50.0, 60.0, 70.0, 80.0] {
            wealth.bet(1.0, 25, [raw; SIX]);
        }
        let granted: Vec<f64> = wealth.recent.iter().map(|block| block.granted[0]).collect();
        // The allowance was 1.5: a nat went to the first block and half a nat to the second; a nat more is left to grant.
        assert_eq!(granted, [1.0, 1.0, 0.5, 0.0, 0.0]);
        wealth.bet(1.0, 25, [2.0; SIX]);
        let granted: Vec<f64> = wealth.recent.iter().map(|block| block.granted[0]).collect();
        assert_eq!(granted, [1.0, 2.0, 2.0, 2.0, 0.5, 2.0]);
    }

    #[test]
    fn two_bursts_close_to_each_other_have_two_allowances() {
        let mut wealth = Wealth::new(GUARDED);
        for raw in [40.0, 40.0, 40.0, -0.5, 40.0, 40.0, 40.0, -0.5, -0.5] {
            wealth.bet(1.0, 25, [raw; SIX]);
        }
        assert!(wealth.recent.is_empty(), "the run is over");
        assert!(wealth.ln_e() < 2.0 * 1.5, "{}", wealth.ln_e());
    }

    /// One block between bad ones does not end lasting harm.
    #[test]
    fn what_lasts_with_gaps_is_found_later() {
        let [mut wealth, mut plain] = [
            GUARDED,
            Betting {
                persistence: 0,
                ..GUARDED
            },
        ]
        .map(Wealth::new);
        for block in 0..12 {
            let raw = if block % 3 == 2 { -0.2 } else { 4.0 };
            wealth.bet(1.0, 25, [raw; SIX]);
            plain.bet(1.0, 25, [raw; SIX]);
        }
        assert!(
            wealth.ln_e() > plain.ln_e() + 5.0,
            "{} {}",
            wealth.ln_e(),
            plain.ln_e()
        );
    }

    #[test]
    fn wealth_of_the_last_release_is_read() {
        let old = Wealth::new(Betting {
            persistence: 0,
            ..GUARDED
        });
        let mut text = serde_json::to_value(&old).unwrap();
        for key in ["runs", "recent", "ln_before"] {
            text.as_object_mut().unwrap().remove(key);
        }
        for key in ["mild", "persistence"] {
            text["betting"].as_object_mut().unwrap().remove(key);
        }
        let mut read: Wealth = serde_json::from_value(text).unwrap();
        let mut old = old;
        for raw in [1.0, 2.0, -1.0, 5.0] {
            read.bet(1.0, 25, [raw; SIX]);
            old.bet(1.0, 25, [raw; SIX]);
        }
        assert_eq!(read.ln_e().to_bits(), old.ln_e().to_bits());
    }
}
