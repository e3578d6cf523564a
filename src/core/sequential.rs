//! Evidence that may be checked every second: e-processes on two-by-two tables.
//!
//! Within a second the proxy sends each request to green by chance. Given how many requests each pool
//! had and how many were bad in all, the number of bad ones on green follows Fisher's noncentral
//! hypergeometric distribution with the odds ratio as its only parameter: base rates, bursts and ramping
//! weights cancel. Products of likelihood ratios of that distribution are nonnegative supermartingales
//! under "green is not worse", so by Ville's inequality they reach `1 / alpha` with a probability of at
//! most `alpha`, however often the evidence is checked.
//!
//! Chance comes in shuffled blocks of 20 newcomers ([`core::newcomer`](crate::core::newcomer)). The distribution is
//! exact where requests are exchangeable within a second, or within one block. Where bad ones are spread over the
//! blocks more evenly than chance would spread them, the truth varies up to 20/19 times as much, and for equal
//! versions (`tests/reference/blocks.py` has the exact sums):
//!
//! - Errors, `odds0` 1.1: the likelihood ratio of a second, cut at 3 nats, has an expectation below 1 for every
//!   alternative, share and number of bad requests that was summed (e^0.001 where a second of 30 cuts three blocks).
//!   Without the cut it can be above 1: 300 requests with one bad of each 20 have e^1.6 for the alternative 30 at 5 %,
//!   of which nearly all comes from outcomes that practically never happen. What is granted later for lasting evidence
//!   is not cut; that it does no harm in such traffic is shown by simulation only.
//! - Latency, `odds0` 1: at most e^0.08 a second, cut at 3 nats, where the margin gives nothing (two kinds of requests,
//!   with one slow request in a fixed number of them); its power 0.944 gains nothing. So such traffic, without end,
//!   crosses `1 / alpha` with a chance of up to `alpha^0.944` (1.3 % for 1 %) in one process. Tolerated odds from 1.05
//!   on would make up for it.
//!
//! Ville (1939); Turner, Ly, Grünwald, "Generic e-variables for exact sequential k-sample tests"
//! (arXiv 2106.02693); Turner, Grünwald, "Exact anytime-valid confidence intervals for contingency
//! tables" (arXiv 2302.11401); Fog, "Calculation methods for Fisher's noncentral hypergeometric
//! distribution" (2008). All logarithms are natural.

mod kernel;
mod wealth;

pub use kernel::{TwoByTwo, ln_choose, ln_lr, ln_sum, ln_z, times_ln};
pub use wealth::Betting;

use serde::{Deserialize, Serialize};
use wealth::Wealth;

/// Counts of both pools over one stratum: at least a second, with at least one request of each pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Length in seconds.
    pub seconds: u64,
    /// Requests of blue.
    pub blue: u64,
    /// Blue's bad requests.
    pub blue_bad: u64,
    /// Requests of green.
    pub green: u64,
    /// Green's bad requests.
    pub green_bad: u64,
}

/// Log likelihood ratios of `odds0 * ratio` against `odds0`; the null's normaliser is shared.
fn ln_lrs<const N: usize>(block: &Block, odds0: f64, ratios: &[f64; N]) -> [f64; N] {
    let table = TwoByTwo::new(block.green, block.blue, block.blue_bad + block.green_bad);
    if !table.informs() {
        return [0.0; N];
    }
    let null = table.ln_z(odds0);
    ratios.map(|r| times_ln(block.green_bad, r) - (table.ln_z(odds0 * r) - null))
}

/// An absolute margin: a share of blue's requests is credited to blue as bad ones, by integer carry.
///
/// Steady credit is the conservative choice: for Poisson failures the expected e-value stays below 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phantom {
    ppm: u64,
    carry: u64,
}

impl Phantom {
    /// Credits `ppm` bad requests per million.
    pub fn new(ppm: u64) -> Phantom {
        Phantom { ppm, carry: 0 }
    }

    /// Blue's bad requests plus the credit that is due.
    pub fn add(&mut self, blue: u64, blue_bad: u64) -> u64 {
        (blue_bad + self.due(blue)).min(blue)
    }

    /// The credit for `blue` requests.
    fn due(&mut self, blue: u64) -> u64 {
        self.carry += self.ppm * blue;
        let due = self.carry / 1_000_000;
        self.carry %= 1_000_000;
        due
    }

    fn credit(&mut self, block: &Block) -> Block {
        Block {
            blue_bad: self.add(block.blue, block.blue_bad),
            ..*block
        }
    }
}

/// Evidence that green is worse: an e-process against `odds(green) <= odds0 * odds(blue + credit)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailProcess {
    odds0: f64,
    phantom: Phantom,
    wealth: Wealth,
}

impl FailProcess {
    /// Tolerates an odds ratio of `odds0` on top of `delta0_ppm` failures per million requests.
    pub fn new(betting: Betting, odds0: f64, delta0_ppm: u64) -> FailProcess {
        FailProcess {
            odds0,
            phantom: Phantom::new(delta0_ppm),
            wealth: Wealth::new(betting),
        }
    }

    /// Takes one stratum.
    pub fn block(&mut self, block: &Block) {
        let credited = self.phantom.credit(block);
        let increments = ln_lrs(&credited, self.odds0, self.wealth.ratios());
        self.wealth
            .bet(block.seconds as f64, block.green, increments);
    }

    /// Takes several strata of the same time, with their ratios multiplied; `pace` has the time, the requests of blue
    /// that credit is due for, and those of green that make traffic high or low.
    ///
    /// The credit goes to the first stratum: what is bad on blue beside none on green is never evidence of harm.
    /// Returns the log likelihood ratio of each alternative without the guard, in nats.
    pub fn strata<const N: usize>(&mut self, pace: &Block, strata: &[Block; N]) -> [f64; 6] {
        let mut credit = self.phantom.due(pace.blue);
        let mut sum = [0.0; 6];
        for stratum in strata {
            let credited = Block {
                blue_bad: (stratum.blue_bad + std::mem::take(&mut credit)).min(stratum.blue),
                ..*stratum
            };
            let increments = ln_lrs(&credited, self.odds0, self.wealth.ratios());
            sum.iter_mut()
                .zip(increments)
                .for_each(|(sum, more)| *sum += more);
        }
        self.wealth.bet(pace.seconds as f64, pace.green, sum);
        sum
    }

    /// The evidence so far, as a natural logarithm, in nats.
    pub fn ln_e(&self) -> f64 {
        self.wealth.ln_e()
    }

    /// Wealth not bet yet, as a part of the initial wealth.
    pub fn cash(&self) -> f64 {
        self.wealth.cash()
    }

    /// Natural logarithm of the wealth on each alternative, in nats.
    pub fn ln_wealth(&self) -> &[f64; 6] {
        self.wealth.ln_wealth()
    }

    /// The evidence in nats that the guard still grants each alternative now.
    pub fn room(&self) -> &[f64; 6] {
        self.wealth.room()
    }
}

/// Evidence that green is worse than a fixed rate, for a green that serves alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryFail {
    rate: f64,
    wealth: Wealth,
}

impl HistoryFail {
    /// Tolerates a share `rate` of bad requests.
    pub fn new(betting: Betting, rate: f64) -> HistoryFail {
        HistoryFail {
            rate: proper(rate),
            wealth: Wealth::new(betting),
        }
    }

    /// Tolerates another rate from the next block on: it must not depend on the content of that block.
    pub fn tolerate(&mut self, rate: f64) {
        self.rate = proper(rate);
    }

    /// Takes `bad` of `requests` in `seconds` seconds.
    pub fn block(&mut self, seconds: u64, requests: u64, bad: u64) {
        let (p0, bad_f, good) = (self.rate, bad as f64, (requests - bad) as f64);
        let increments = self.wealth.ratios().map(|r| {
            let scale = 1.0 - p0 + r * p0;
            bad_f * (r / scale).ln() - good * scale.ln()
        });
        self.wealth.bet(seconds as f64, requests, increments);
    }

    /// The evidence so far, as a natural logarithm, in nats.
    pub fn ln_e(&self) -> f64 {
        self.wealth.ln_e()
    }
}

/// A rate at which neither outcome is impossible.
fn proper(rate: f64) -> f64 {
    rate.clamp(1e-9, 1.0 - 1e-9)
}

/// How a PASS process gains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Showing {
    /// Alternatives for the odds, as multiples of the margin (below 1: green is better than it).
    pub ratios: [f64; 4],
    /// Alternatives for the absolute rate, as multiples of the margin.
    pub abs_ratios: [f64; 4],
    /// Highest evidence that a second may add, in nats.
    pub cap: f64,
    /// Seconds of a long block that count for the cap.
    pub cap_seconds: f64,
}

impl Showing {
    fn cap(&self, seconds: u64) -> f64 {
        self.cap * (seconds as f64).min(self.cap_seconds)
    }
}

/// Evidence that green's rate of bad requests is below `rate`, whatever blue does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AbsoluteTest {
    showing: Showing,
    rate: f64,
    ln_wealth: [f64; 4],
}

impl AbsoluteTest {
    /// Tests against "`rate` or more of green's requests are bad".
    pub fn new(showing: Showing, rate: f64) -> AbsoluteTest {
        AbsoluteTest {
            showing,
            rate: proper(rate),
            ln_wealth: [-4f64.ln(); 4],
        }
    }

    /// Takes `bad` of `requests` in `seconds` seconds.
    pub fn block(&mut self, seconds: u64, requests: u64, bad: u64) {
        let (cap, p) = (self.showing.cap(seconds), self.rate);
        for (ln_wealth, r) in self.ln_wealth.iter_mut().zip(self.showing.abs_ratios) {
            let good = ((1.0 - r * p) / (1.0 - p)).ln();
            *ln_wealth += cap.min(bad as f64 * r.ln() + (requests - bad) as f64 * good);
        }
    }

    /// The evidence so far, as a natural logarithm, in nats.
    pub fn ln_e(&self) -> f64 {
        ln_sum(&self.ln_wealth)
    }
}

/// Evidence that green is good enough: against `odds(green) >= odds1 * odds(blue + credit)`.
///
/// With a credit, half of the wealth bets that green's own rate is below it: a blue without failures
/// has no odds to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassProcess {
    showing: Showing,
    odds1: f64,
    phantom: Phantom,
    ln_wealth: [f64; 4],
    absolute: Option<AbsoluteTest>,
}

impl PassProcess {
    /// Shows green to be within an odds ratio of `odds1` on top of `delta1_ppm`.
    pub fn new(showing: Showing, odds1: f64, delta1_ppm: u64) -> PassProcess {
        let rate = delta1_ppm as f64 / 1e6;
        PassProcess {
            showing,
            odds1,
            phantom: Phantom::new(delta1_ppm),
            ln_wealth: [-4f64.ln(); 4],
            absolute: (delta1_ppm > 0).then(|| AbsoluteTest::new(showing, rate)),
        }
    }

    /// Takes one stratum.
    pub fn block(&mut self, block: &Block) {
        let cap = self.showing.cap(block.seconds);
        let credited = self.phantom.credit(block);
        let increments = ln_lrs(&credited, self.odds1, &self.showing.ratios);
        for (ln_wealth, ln_lr) in self.ln_wealth.iter_mut().zip(increments) {
            *ln_wealth += ln_lr.min(cap);
        }
        if let Some(absolute) = &mut self.absolute {
            absolute.block(block.seconds, block.green, block.green_bad);
        }
    }

    /// The evidence so far, as a natural logarithm, in nats.
    pub fn ln_e(&self) -> f64 {
        let odds = ln_sum(&self.ln_wealth);
        match &self.absolute {
            Some(absolute) => ln_sum(&[odds, absolute.ln_e()]) - 2f64.ln(),
            None => odds,
        }
    }
}

/// The odds ratios consistent with the data, for display: a confidence sequence on a grid of 57 points, four per
/// octave.
///
/// An odds ratio is left out when the uniform mixture over the grid explains the data `1 / alpha` times better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OddsGrid {
    ln_likelihood: Vec<f64>,
}

impl Default for OddsGrid {
    fn default() -> OddsGrid {
        OddsGrid {
            ln_likelihood: vec![0.0; OddsGrid::POINTS],
        }
    }
}

impl OddsGrid {
    const POINTS: usize = 57;

    /// A grid that takes no data and excludes no odds.
    pub fn off() -> OddsGrid {
        OddsGrid {
            ln_likelihood: vec![],
        }
    }

    /// A point this far (in nats) below the best no longer follows the data. It was excluded long before, and a
    /// confidence sequence may keep excluded what it has once excluded; at high traffic this saves nearly all work.
    const HOPELESS: f64 = 100.0;

    fn odds(point: usize) -> f64 {
        const QUARTERS: [f64; 4] = [
            1.0,
            1.189_207_115_002_721,
            std::f64::consts::SQRT_2,
            1.681_792_830_507_429,
        ];
        QUARTERS[point % 4] * 2f64.powi(point as i32 / 4 - 4)
    }

    /// Takes one stratum.
    pub fn block(&mut self, block: &Block) {
        let table = TwoByTwo::new(block.green, block.blue, block.blue_bad + block.green_bad);
        if !table.informs() || self.ln_likelihood.is_empty() {
            return;
        }
        let floor = self.best().1 - Self::HOPELESS;
        for (point, ln_likelihood) in self.ln_likelihood.iter_mut().enumerate() {
            if *ln_likelihood >= floor {
                let odds = Self::odds(point);
                *ln_likelihood += times_ln(block.green_bad, odds) - table.ln_z(odds);
            } else {
                *ln_likelihood = f64::MIN;
            }
        }
    }

    fn best(&self) -> (usize, f64) {
        let better = |best: (usize, f64), (point, &ln): (usize, &f64)| {
            if ln > best.1 { (point, ln) } else { best }
        };
        self.ln_likelihood
            .iter()
            .enumerate()
            .fold((0, f64::NEG_INFINITY), better)
    }

    /// Lowest and highest odds ratio left at `alpha` (0 and infinity beyond the grid), and the likeliest.
    pub fn interval(&self, alpha: f64) -> (f64, f64, f64) {
        let left = ln_sum(&self.ln_likelihood) - (Self::POINTS as f64).ln() + alpha.ln();
        let inside = |ln: &f64| *ln >= left;
        let low = self.ln_likelihood.iter().position(inside).unwrap_or(0);
        let high = self
            .ln_likelihood
            .iter()
            .rposition(inside)
            .unwrap_or(Self::POINTS - 1);
        (
            if low == 0 { 0.0 } else { Self::odds(low - 1) },
            if high == Self::POINTS - 1 {
                f64::INFINITY
            } else {
                Self::odds(high + 1)
            },
            Self::odds(self.best().0),
        )
    }
}
