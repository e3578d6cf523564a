//! Newcomers given in shuffled blocks: their places, and what these do to the evidence.

use crate::vectors::Check;
use serde::Deserialize;
use serde_json::Value;
use shifter::core::judge::Policy;
use shifter::core::newcomer::newcomer;
use shifter::core::sequential::{ln_choose, ln_lr};

pub(crate) fn check_newcomers(
    check: &mut Check,
    _: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        salt: u64,
        first: u64,
        points: Vec<u16>,
    }
    let case: Case = serde_json::from_value(case)?;
    let number = |more| case.first.wrapping_add(more);
    let got = (0..case.points.len() as u64).map(|more| newcomer(number(more), case.salt));
    check.same("points", got.collect(), case.points);
    Ok(())
}

/// Chances of green's bad requests, with so many bad ones in each block of 20 of which green has so many.
fn shuffled(bad: &[u64], green: u64) -> Vec<f64> {
    let blue = 20 - green;
    bad.iter().fold(vec![1.0], |all, &bad| {
        let mut both = vec![0.0; all.len() + bad.min(green) as usize];
        for x in bad.saturating_sub(blue)..=bad.min(green) {
            let ln = ln_choose(green, x) + ln_choose(blue, bad - x) - ln_choose(20, bad);
            for (before, chance) in all.iter().enumerate() {
                both[before + x as usize] += chance * ln.exp();
            }
        }
        both
    })
}

/// The expected likelihood ratio of a second whose newcomers were given in blocks, where a second adds at most `cap`.
fn expected_in_blocks(bad: &[u64], percent: u64, odds0: f64, ratio: f64, cap: f64) -> f64 {
    let (requests, all) = (20 * bad.len() as u64, bad.iter().sum());
    let green = requests * percent / 100;
    let chances = (0..).zip(shuffled(bad, percent / 5));
    let terms = chances
        .filter(|(_, chance)| *chance > 0.0)
        .map(|(x, chance)| {
            let ln = ln_lr(green, requests - green, all, x, odds0, odds0 * ratio);
            chance * ln.min(cap).exp()
        });
    terms.sum()
}

pub(crate) fn check_blocks(
    check: &mut Check,
    _: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        bad: Vec<u64>,
        percent: u64,
        odds0: f64,
        ratio: f64,
        ln_e: f64,
        ln_e_cap_1: f64,
        ln_e_cap_3: f64,
    }
    let case: Case = serde_json::from_value(case)?;
    let caps = [
        (f64::INFINITY, case.ln_e),
        (1.0, case.ln_e_cap_1),
        (3.0, case.ln_e_cap_3),
    ];
    for (cap, want) in caps {
        let got = expected_in_blocks(&case.bad, case.percent, case.odds0, case.ratio, cap).ln();
        check.number(&format!("cap {cap}"), got, want, (got - want).abs() <= 1e-9);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest expected likelihood ratio over sizes, numbers of bad requests (evenly spread), shares and alternatives.
    fn most_expected(odds0: f64, cap: f64) -> f64 {
        let mut most = 0.0f64;
        for blocks in [2u64, 3, 5, 10] {
            for bad in (1..=2 * blocks).chain([5 * blocks, 10 * blocks, 20 * blocks - 1]) {
                let even = |i: u64| (i + 1) * bad / blocks - i * bad / blocks;
                let spread: Vec<u64> = (0..blocks).map(even).collect();
                for percent in [5, 10, 25, 50] {
                    for ratio in Policy::default().fail_ratios {
                        let expected = expected_in_blocks(&spread, percent, odds0, ratio, cap);
                        most = most.max(expected);
                    }
                }
            }
        }
        most
    }

    /// Blocks make green's bad requests a little more variable than the judge takes them to be where the traffic spreads
    /// them evenly. The tolerated odds of errors make up for it as long as a second may add 3 nats at most; they would
    /// not without the guard. Latency tolerates no odds, so that there something is left.
    #[test]
    fn evenly_spread_errors_gain_nothing_under_the_guard() {
        let policy = Policy::default();
        let guard = policy.burst_low.max(policy.burst_high);
        assert!(most_expected(policy.omega0[0], guard) <= 1.0);
        assert!(most_expected(policy.omega0[0], f64::INFINITY) > 1.01);
        let latency = most_expected(policy.omega0[1], guard);
        assert!((1.0..1.1).contains(&latency), "{latency}");
    }
}
