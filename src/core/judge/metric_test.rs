//! One metric: its processes, its open block, and its counts in a second.

use super::users::{ByUsers, SeenUsers, Spoken, Unit};
use super::{Control, Metric, Policy, Terms};
use crate::core::sequential::{
    AbsoluteTest, Block, FailProcess, HistoryFail, OddsGrid, PassProcess,
};
use crate::core::stats::{Baseline, PoolCounts, QUANTILES, Tick};
use serde::{Deserialize, Serialize};

/// The process that shows within a step that green is good enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::core::judge) enum Pass {
    Concurrent(PassProcess),
    History(AbsoluteTest),
    /// There is nothing to compare with: the metric is not required.
    LeftOut,
}

/// One metric's processes and counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::core::judge) struct MetricTest {
    fail: FailProcess,
    /// Evidence from shares that are too small for a fair comparison: it never convicts, and is no part of the product.
    #[serde(default)]
    small: Option<FailProcess>,
    /// Evidence from steps in which green served alone.
    ///
    /// The evidence of both kinds of step is multiplied. Either factor is a nonnegative supermartingale
    /// under "green is not worse" while its kind of step runs, and stands still while the other kind
    /// does; so in every second at most one factor moves, and the product is a supermartingale too.
    history: Option<HistoryFail>,
    /// Evidence of this step against blue's past, where it may only raise suspicion: no part of the product.
    #[serde(default)]
    suspicion: Option<HistoryFail>,
    pub(in crate::core::judge) pass: Pass,
    /// The test by users, where they are the unit: then `fail` has the evidence of newcomers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::core::judge) users: Option<Box<ByUsers>>,
    open: Block,
    open_good_enough: (u64, u64),
    pub(in crate::core::judge) seen: Block,
    pub(in crate::core::judge) odds: OddsGrid,
    /// Mantel-Haenszel sums over blocks: green bad with blue good, and blue bad with green good.
    pub(in crate::core::judge) crossed: (f64, f64),
}

/// One second of one metric.
pub(in crate::core::judge) struct Seen {
    pub(in crate::core::judge) block: Block,
    /// Bad requests by the PASS limits: blue, green.
    good_enough: (u64, u64),
}

impl Seen {
    /// The counts by the PASS limits, as a block.
    pub(in crate::core::judge) fn good_enough(&self) -> Block {
        let (blue_bad, green_bad) = self.good_enough;
        Block {
            blue_bad,
            green_bad,
            ..self.block
        }
    }
}

impl MetricTest {
    pub(in crate::core::judge) fn new(policy: &Policy, metric: Metric) -> MetricTest {
        let m = metric as usize;
        MetricTest {
            fail: FailProcess::new(
                policy.betting(metric),
                policy.omega0[m],
                policy.delta0_ppm[m],
            ),
            small: None,
            history: None,
            suspicion: None,
            pass: Pass::LeftOut,
            users: (policy.unit == Unit::Users).then(|| Box::new(ByUsers::new(policy, metric))),
            open: Block::default(),
            open_good_enough: (0, 0),
            seen: Block::default(),
            odds: OddsGrid::default(),
            crossed: (0.0, 0.0),
        }
    }

    /// Drops the half-open block, and starts the PASS process anew.
    pub(in crate::core::judge) fn start_step(
        &mut self,
        policy: &Policy,
        metric: Metric,
        last: bool,
        control: &Control,
        terms: Terms,
    ) {
        self.open = Block::default();
        self.open_good_enough = (0, 0);
        if let Some(users) = &mut self.users {
            users.start_step();
        }
        let showing = policy.showing();
        self.pass = match (control, metric, last) {
            (Control::Concurrent, Metric::Err, false) => Pass::Concurrent(PassProcess::new(
                showing,
                policy.pass_omega1,
                policy.pass_delta1_ppm,
            )),
            (Control::Concurrent, Metric::Err, true) => Pass::Concurrent(PassProcess::new(
                showing,
                policy.final_omega1,
                policy.final_delta1_ppm,
            )),
            (Control::Concurrent, _, _) => Pass::Concurrent(PassProcess::new(showing, 1.0, 0)),
            (Control::History(baseline) | Control::Suspicion(baseline), ..) => {
                match metric.tolerated(baseline) {
                    Some(rate) => Pass::History(AbsoluteTest::new(showing, rate)),
                    None => Pass::LeftOut,
                }
            }
        };
        let small = terms.small && metric.level().is_some();
        self.small = small.then(|| {
            FailProcess::new(
                policy.betting(metric),
                policy.omega0[metric as usize],
                policy.delta0_ppm[metric as usize],
            )
        });
        if small && terms.cleared {
            (self.small, self.pass) = (None, Pass::LeftOut);
        }
        let alone = |betting, rate| Some(HistoryFail::new(betting, rate));
        let rate = control.past().and_then(|past| metric.tolerated(past));
        self.suspicion = None;
        match (control, rate, &mut self.history) {
            (Control::Suspicion(_), Some(rate), _) => {
                self.suspicion = alone(policy.suspicion_betting(), rate);
            }
            (Control::History(_), Some(rate), Some(history)) => history.tolerate(rate),
            (Control::History(_), Some(rate), none) => {
                *none = alone(policy.history_betting(), rate)
            }
            _ => {}
        }
    }

    /// Adds a second; a block closes once each pool that serves had a request in it.
    pub(in crate::core::judge) fn tick(&mut self, seen: &Seen) {
        add(&mut self.seen, &seen.block);
        add(&mut self.open, &seen.block);
        self.open_good_enough.0 += seen.good_enough.0;
        self.open_good_enough.1 += seen.good_enough.1;
        let block = self.open;
        match &mut self.pass {
            Pass::LeftOut => return,
            Pass::History(pass) => {
                if block.green == 0 {
                    return;
                }
                pass.block(block.seconds, block.green, block.green_bad);
                // Both exist when a rollout was judged by blue's past before blue could be compared again.
                if let Some(alone) = self.suspicion.as_mut().or(self.history.as_mut()) {
                    alone.block(block.seconds, block.green, block.green_bad);
                }
            }
            Pass::Concurrent(pass) => {
                if block.green == 0 || block.blue == 0 {
                    return;
                }
                let (blue_bad, green_bad) = self.open_good_enough;
                pass.block(&Block {
                    blue_bad,
                    green_bad,
                    ..block
                });
                self.small.as_mut().unwrap_or(&mut self.fail).block(&block);
                self.odds.block(&block);
                self.cross(&block);
            }
        }
        self.open = Block::default();
        self.open_good_enough = (0, 0);
    }

    /// Whether seconds are judged by users: beside blue, where users are the unit.
    pub(in crate::core::judge) fn is_by_users(&self) -> bool {
        self.users.is_some() && matches!(self.pass, Pass::Concurrent(_))
    }

    /// Adds a second beside blue, judged by users.
    pub(in crate::core::judge) fn tick_users(
        &mut self,
        metric: Metric,
        seen: &Seen,
        users: &SeenUsers,
    ) {
        add(&mut self.seen, &seen.block);
        let Some(by) = &mut self.users else { return };
        let told = by.tick(metric, users, &mut self.fail, &mut self.pass);
        for block in told
            .iter()
            .filter(|block| block.blue > 0 && block.green > 0)
        {
            self.odds.block(block);
            self.cross(block);
        }
    }

    fn cross(&mut self, block: &Block) {
        let all = (block.blue + block.green) as f64;
        let good = |requests: u64, bad: u64| (requests - bad) as f64;
        self.crossed.0 += block.green_bad as f64 * good(block.blue, block.blue_bad) / all;
        self.crossed.1 += block.blue_bad as f64 * good(block.green, block.green_bad) / all;
    }

    /// Evidence that green is worse, as a natural logarithm, in nats.
    pub(in crate::core::judge) fn ln_e(&self) -> f64 {
        let fail = self.fail.ln_e();
        let beside = self.users.as_ref().map_or(fail, |users| users.ln_e(fail));
        beside + self.history.as_ref().map_or(0.0, HistoryFail::ln_e)
    }

    /// The counts where users are the unit.
    pub(in crate::core::judge) fn spoken(&self) -> Option<Spoken> {
        let users = self.users.as_ref()?;
        Some(users.spoken(self.fail.ln_e()))
    }

    /// Evidence that green is worse, including that of a small share, in nats.
    pub(in crate::core::judge) fn ln_small(&self) -> f64 {
        self.ln_e() + self.small.as_ref().map_or(0.0, FailProcess::ln_e)
    }

    /// Evidence of this step that green is worse than blue's past, in nats, where that is no evidence of harm.
    pub(in crate::core::judge) fn ln_suspicion(&self) -> f64 {
        self.suspicion.as_ref().map_or(0.0, HistoryFail::ln_e)
    }

    /// Evidence that green is good enough, in nats, where that is required.
    pub(in crate::core::judge) fn ln_e_pass(&self) -> Option<f64> {
        match &self.pass {
            Pass::Concurrent(pass) => Some(pass.ln_e()),
            Pass::History(pass) => Some(pass.ln_e()),
            Pass::LeftOut => None,
        }
    }
}

pub(in crate::core::judge) fn add(sum: &mut Block, more: &Block) {
    sum.seconds += more.seconds;
    sum.blue += more.blue;
    sum.blue_bad += more.blue_bad;
    sum.green += more.green;
    sum.green_bad += more.green_bad;
}

impl Metric {
    /// The share of bad requests that a green serving alone may have, if it is known.
    pub(in crate::core::judge) fn tolerated(self, baseline: &Baseline) -> Option<f64> {
        match self.level() {
            None => Some(baseline.failure_rate),
            Some(level) => baseline.limits.map(|_| 1.0 - QUANTILES[level]),
        }
    }

    /// The counts of this metric in a tick; latency is ignored before green is `warm`.
    pub(in crate::core::judge) fn seen(self, tick: &Tick, warm: bool) -> Seen {
        let Some(level) = self.level() else {
            let (blue, green) = (&tick.blue, &tick.green);
            let (blue_bad, green_bad) = (
                blue.failed.min(blue.requests),
                green.failed.min(green.requests),
            );
            let (blue, green) = (blue.requests, green.requests);
            let block = Block {
                seconds: 1,
                blue,
                blue_bad,
                green,
                green_bad,
            };
            return Seen {
                block,
                good_enough: (blue_bad, green_bad),
            };
        };
        if !warm {
            let block = Block {
                seconds: 1,
                ..Block::default()
            };
            return Seen {
                block,
                good_enough: (0, 0),
            };
        }
        let slow = |pool: &PoolCounts| pool.slow_fail[level].min(pool.timed);
        let too_slow = |pool: &PoolCounts| pool.slow_pass[level].min(pool.timed);
        Seen {
            block: Block {
                seconds: 1,
                blue: tick.blue.timed,
                blue_bad: slow(&tick.blue),
                green: tick.green.timed,
                green_bad: slow(&tick.green),
            },
            good_enough: (too_slow(&tick.blue), too_slow(&tick.green)),
        }
    }
}
