//! Fisher's noncentral hypergeometric distribution: the evidence of one two-by-two table on the odds.

use statrs::function::gamma::ln_gamma;

thread_local! {
    /// Logarithms of the factorials that a second of usual traffic needs; each is expensive.
    static LN_FACTORIALS: Box<[f64]> =
        (0..8_192_u32).map(|n| ln_gamma(f64::from(n) + 1.0)).collect();
}

/// Natural logarithm of "n choose k".
pub fn ln_choose(n: u64, k: u64) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

fn ln_factorial(n: u64) -> f64 {
    let place = usize::try_from(n).unwrap_or(usize::MAX);
    match LN_FACTORIALS.with(|all| all.get(place).copied()) {
        _ if n < 2 => 0.0,
        Some(known) => known,
        None => ln_gamma(n as f64 + 1.0),
    }
}

/// `n ln x`; most of the time nothing was bad, and a logarithm is expensive.
pub fn times_ln(n: u64, x: f64) -> f64 {
    if n == 0 { 0.0 } else { n as f64 * x.ln() }
}

/// `ln(e^a + e^b + ...)` without overflow.
pub fn ln_sum(terms: &[f64]) -> f64 {
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top.is_finite() {
        top + terms
            .iter()
            .map(|term| (term - top).exp())
            .sum::<f64>()
            .ln()
    } else {
        top
    }
}

/// The margins of one two-by-two table, with the part that all odds ratios share computed once.
#[derive(Clone, Copy, Debug)]
pub struct TwoByTwo {
    green: u64,
    blue: u64,
    bad: u64,
    low: u64,
    high: u64,
    ln_low: f64,
}

impl TwoByTwo {
    /// With no more possible outcomes than this the sum starts at the lowest one: nothing overflows,
    /// and the factorials are computed once for all odds ratios.
    const NARROW: u64 = 32;

    /// A table in which `bad` of `green + blue` requests were bad, in either pool.
    pub fn new(green: u64, blue: u64, bad: u64) -> TwoByTwo {
        let (low, high) = (bad.saturating_sub(blue), bad.min(green));
        let ln_low = ln_choose(green, low) + ln_choose(blue, bad - low);
        TwoByTwo {
            green,
            blue,
            bad,
            low,
            high,
            ln_low,
        }
    }

    /// Whether the split carries evidence: some requests were bad, but not all.
    pub fn informs(&self) -> bool {
        self.bad > 0 && self.bad < self.green + self.blue
    }

    /// `ln sum_x C(green, x) C(blue, bad - x) odds^x`, the normaliser of the distribution.
    pub fn ln_z(&self, odds: f64) -> f64 {
        if self.high - self.low <= Self::NARROW {
            let sum = 1.0 + self.upward(odds, self.low);
            if sum.is_finite() {
                return self.ln_low + times_ln(self.low, odds) + sum.ln();
            }
        }
        let mode = self.mode(odds);
        let sum = 1.0 + self.upward(odds, mode) + self.downward(odds, mode);
        let ln_mode = ln_choose(self.green, mode) + ln_choose(self.blue, self.bad - mode);
        ln_mode + times_ln(mode, odds) + sum.ln()
    }

    /// The most likely outcome (Liao and Rosen 2001).
    fn mode(&self, odds: f64) -> u64 {
        let (green, blue, bad) = (self.green as f64, self.blue as f64, self.bad as f64);
        let a = odds - 1.0;
        let b = bad - blue - (green + bad + 2.0) * odds;
        let c = (green + 1.0) * (bad + 1.0) * odds;
        let mode = (-2.0 * c / (b - (b * b - 4.0 * a * c).max(0.0).sqrt())).floor();
        (mode.max(0.0) as u64).clamp(self.low, self.high)
    }

    /// The terms above outcome `from`, as multiples of its own, until they no longer count.
    fn upward(&self, odds: f64, from: u64) -> f64 {
        let (green, bad) = (self.green as f64, self.bad as f64);
        let rest = self.blue as f64 - bad;
        let (mut sum, mut term, mut x) = (0.0, 1.0, from as f64);
        for _ in from..self.high {
            term *= odds * (green - x) * (bad - x) / ((x + 1.0) * (rest + x + 1.0));
            x += 1.0;
            sum += term;
            if term < 1e-17 * (1.0 + sum) {
                break;
            }
        }
        sum
    }

    /// The terms below outcome `from`, as multiples of its own, until they no longer count.
    fn downward(&self, odds: f64, from: u64) -> f64 {
        let (green, bad) = (self.green as f64, self.bad as f64);
        let rest = self.blue as f64 - bad;
        let (mut sum, mut term, mut x) = (0.0, 1.0, from as f64);
        for _ in self.low..from {
            term *= x * (rest + x) / (odds * (green - x + 1.0) * (bad - x + 1.0));
            x -= 1.0;
            sum += term;
            if term < 1e-17 * (1.0 + sum) {
                break;
            }
        }
        sum
    }
}

/// The natural logarithm of the normaliser of Fisher's noncentral hypergeometric distribution.
pub fn ln_z(green: u64, blue: u64, bad: u64, odds: f64) -> f64 {
    TwoByTwo::new(green, blue, bad).ln_z(odds)
}

/// Log likelihood ratio, in nats: how much better odds ratio `odds` explains `green_bad` than `odds0` does, given the
/// margins.
pub fn ln_lr(green: u64, blue: u64, bad: u64, green_bad: u64, odds0: f64, odds: f64) -> f64 {
    let table = TwoByTwo::new(green, blue, bad);
    if table.informs() {
        green_bad as f64 * (odds.ln() - odds0.ln()) - (table.ln_z(odds) - table.ln_z(odds0))
    } else {
        0.0
    }
}
