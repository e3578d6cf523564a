//! The judge's settings: margins, error probabilities and betting.

use super::{ContentPolicy, Metric, Slo, Unit};
use crate::core::analysis::EvidenceKinds;
use crate::core::answers::Hearing;
use crate::core::sequential::{Betting, Showing};
use crate::core::stats::Margin;
use serde::{Deserialize, Serialize};

/// The judge's settings. The defaults were chosen by simulation; most people change none of them.
///
/// Lists over metrics are in the order errors, p50, p90, p99.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Chance of a false rollback that is accepted: FAIL at evidence `1 / alpha`.
    pub alpha: f64,
    /// Chance of a false promotion that is accepted: PASS at evidence `1 / alpha_pass` for every metric.
    pub alpha_pass: f64,
    /// Evidence of harm (an e-value) above which green is never promoted.
    pub amber: f64,
    /// Evidence against blue's past from which blue is compared again.
    pub suspicion: f64,
    /// Weight of each metric in the evidence of harm; they add up to 1. A metric with weight 0 is not required for PASS
    /// either.
    pub weights: [f64; 4],
    /// Odds ratio that is tolerated before green counts as worse.
    pub omega0: [f64; 4],
    /// Share of requests, in parts per million, that is tolerated on top.
    pub delta0_ppm: [u64; 4],
    /// Alternatives that are bet on, as multiples of `omega0`.
    pub fail_ratios: [f64; 6],
    /// Share of the wealth that is bet from the first second, 0 to 1.
    pub initial_stake: f64,
    /// Seconds over which the rest is bet: about the planned length of a rollout.
    pub horizon_s: f64,
    /// Evidence (in nats) that one second may add in the long run.
    pub rho: f64,
    /// `rho` for errors, with `persistence`, in nats.
    pub error_rho: f64,
    /// `rho` for the mildest alternative of latency, in nats: a pool that wanders by itself looks like it.
    #[serde(default = "plain_rho")]
    pub mild_rho: f64,
    /// `rho` while green serves alone and is compared with the past, in nats.
    pub history_rho: f64,
    /// `rho` where the comparison with the past only raises suspicion, in nats.
    pub suspicion_rho: f64,
    /// Evidence (in nats) that one burst may add below `burst_rps`.
    pub burst_low: f64,
    /// Evidence (in nats) that one burst may add from `burst_rps` on.
    pub burst_high: f64,
    /// Evidence (in nats) that one burst of errors may add, with `persistence`.
    pub error_burst: f64,
    /// Evidence (in nats) that one burst may add to the mildest alternative of latency.
    #[serde(default = "plain_burst")]
    pub mild_burst: f64,
    /// Successive seconds from which errors count beyond what bursts may add, apart from the worst of them
    /// (`core::sequential`); 0: never. A pause of up to three seconds touches four.
    #[serde(default)]
    pub persistence: usize,
    /// Green requests per second from which one second is strong evidence.
    pub burst_rps: f64,
    /// Alternatives for PASS, as multiples of the margin.
    pub pass_ratios: [f64; 4],
    /// Alternatives for green's own rate, as multiples of the margin.
    pub abs_ratios: [f64; 4],
    /// Evidence (in nats) for PASS that one second may add.
    pub pass_cap: f64,
    /// Seconds of a long block that count for `pass_cap`.
    pub pass_dt_max: f64,
    /// Odds ratio of errors within which green is good enough.
    pub pass_omega1: f64,
    /// Share of requests, in parts per million, on top of `pass_omega1`.
    pub pass_delta1_ppm: u64,
    /// `pass_omega1` of the last step.
    pub final_omega1: f64,
    /// `pass_delta1_ppm` of the last step.
    pub final_delta1_ppm: u64,
    /// Latency above blue's that counts as worse.
    pub lat_fail: Margin,
    /// Latency above blue's within which green is good enough.
    pub lat_pass: Margin,
    /// `lat_pass` of the last step.
    pub lat_pass_final: Margin,
    /// Seconds at the start in which latency is not judged, so that caches may fill.
    pub warmup_s: u64,
    /// Harm cap: FAIL when green's failed requests beyond blue's rate exceed this number.
    pub max_excess_failures: Option<u64>,
    /// Share of blue's requests in a step that fail, from which missing proof is no reason to promote green.
    #[serde(default = "never_gross")]
    pub gross_failures: f64,
    /// Absolute limits of green.
    pub slo: Slo,
    /// Weight of the absolute limits in the evidence of harm, split evenly, where there are some; the comparisons have
    /// the rest.
    pub slo_share: f64,
    /// Latency waits for `warmup_s` in each share that is raised, not in the first alone.
    #[serde(default)]
    pub warms_up_each_share: bool,
    /// Share of all requests from which latency is compared fairly, 0 to 0.5: slowness in a smaller share never
    /// convicts and is confirmed in an equal share. 0: every share is fair.
    #[serde(default)]
    pub fair_share: f64,
    /// Evidence of harm in a small share, slowness included, from which an equal share confirms it.
    #[serde(default = "never")]
    pub confirm: f64,
    /// Weight of gross slowness (requests above ten times blue's median) in the evidence of harm.
    #[serde(default)]
    pub gross_share: f64,
    /// The unit of evidence of harm.
    #[serde(skip_serializing_if = "Unit::is_requests")]
    pub unit: Unit,
    /// Weight of route groups in the evidence of harm, split evenly; all else has the rest. Older recordings have no
    /// such weight.
    #[serde(default)]
    pub routes_share: f64,
    /// Evidence of one route, divided by the number of routes, above which green is never promoted; 0 disables the
    /// check.
    #[serde(default)]
    pub routes_amber: f64,
    /// Kinds of evidence that are gathered under this policy; the oldest recordings name no kinds.
    #[serde(default)]
    pub evidence: EvidenceKinds,
    /// Weight of the further comparisons of answers in the evidence of harm, a quarter for each kind; older recordings
    /// have no such weight.
    #[serde(default)]
    pub answers_share: f64,
    /// What a difference in each kind of [`crate::core::answers::AnswerKind::ALL`] leads to.
    pub answers: [Hearing; 4],
    /// What differences in sizes and content types lead to. Older recordings did not compare them.
    #[serde(default)]
    pub contents: ContentPolicy,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            alpha: 0.01,
            alpha_pass: 0.05,
            amber: 1.5,
            suspicion: 10.0,
            weights: [0.5, 0.15, 0.15, 0.20],
            omega0: [1.10, 1.0, 1.0, 1.0],
            delta0_ppm: [1_000, 0, 0, 0],
            fail_ratios: [1.3, 2.0, 3.5, 8.0, 30.0, 300.0],
            initial_stake: 0.5,
            horizon_s: 1_800.0,
            rho: 0.5,
            error_rho: 1.0,
            mild_rho: 0.29,
            history_rho: 0.25,
            suspicion_rho: 0.5,
            burst_low: 3.0,
            burst_high: 1.0,
            error_burst: 1.5,
            mild_burst: 2.0,
            persistence: 5,
            burst_rps: 5.0,
            pass_ratios: [0.8, 0.5, 0.2, 0.05],
            abs_ratios: [0.7, 0.4, 0.15, 0.03],
            pass_cap: 0.2,
            pass_dt_max: 5.0,
            pass_omega1: 1.5,
            pass_delta1_ppm: 10_000,
            final_omega1: 1.25,
            final_delta1_ppm: 3_000,
            lat_fail: Margin::of(0.10, 1.0),
            lat_pass: Margin::of(0.50, 10.0),
            lat_pass_final: Margin::of(0.25, 5.0),
            warmup_s: 30,
            max_excess_failures: None,
            gross_failures: 0.1,
            slo: Slo::default(),
            slo_share: 0.25,
            warms_up_each_share: true,
            fair_share: 0.5,
            confirm: 10.0,
            gross_share: 0.05,
            unit: Unit::Requests,
            routes_share: 0.08,
            routes_amber: 5.0,
            evidence: EvidenceKinds::all(),
            answers_share: 0.04,
            answers: [Hearing::Judge; 4],
            contents: ContentPolicy::REPORT,
        }
    }
}

/// The threshold of policies recorded before there was an equal share: never reached.
fn never() -> f64 {
    f64::MAX
}

/// `rho` and `burst_high` of every policy that was recorded before the mildest alternative had values of its own.
fn plain_rho() -> f64 {
    0.5
}

fn plain_burst() -> f64 {
    1.0
}

/// The threshold of policies recorded before gross failure of blue was detected: never reached.
fn never_gross() -> f64 {
    Policy::NEVER_GROSS
}

impl Policy {
    /// `gross_failures` of a service that counts failures caused by its clients: never reached.
    pub const NEVER_GROSS: f64 = 2.0;

    /// This policy with the request as the unit of evidence.
    pub fn by_requests(&self) -> Policy {
        // Answers to newcomers are a part of all requests that represents the rest poorly.
        let answers_share = match self.unit {
            Unit::Requests => self.answers_share,
            Unit::Users => 0.0,
        };
        Policy {
            unit: Unit::Requests,
            answers_share,
            ..self.clone()
        }
    }

    /// Natural logarithm of the evidence of harm at which green fails, in nats.
    pub fn ln_limit(&self) -> f64 {
        -self.alpha.ln()
    }

    /// Natural logarithm of the evidence that every metric needs for PASS, in nats.
    pub fn ln_pass(&self) -> f64 {
        -self.alpha_pass.ln()
    }

    /// The weight of `limits` absolute limits in the evidence of harm.
    pub(super) fn rails_share(&self, limits: usize) -> f64 {
        if limits == 0 { 0.0 } else { self.slo_share }
    }

    /// How wealth is bet while blue serves beside green.
    ///
    /// Errors that last count in full. Latency has no such grant: a pool that wanders is slow for minutes, too.
    pub fn betting(&self, metric: Metric) -> Betting {
        let plain = self.bursts();
        match metric {
            Metric::Err if self.persistence > 0 => Betting {
                rho: self.error_rho,
                burst_high: self.error_burst,
                persistence: self.persistence,
                ..plain
            },
            Metric::Err => plain,
            _ => Betting {
                mild: Some((self.mild_rho, self.mild_burst)),
                ..plain
            },
        }
    }

    /// The guard without grants for lasting harm.
    fn bursts(&self) -> Betting {
        Betting {
            ratios: self.fail_ratios,
            initial_stake: self.initial_stake,
            horizon: self.horizon_s,
            rho: self.rho,
            burst_low: self.burst_low,
            burst_high: self.burst_high,
            burst_rps: self.burst_rps,
            mild: None,
            persistence: 0,
        }
    }

    /// How wealth is bet while green serves alone.
    pub fn history_betting(&self) -> Betting {
        Betting {
            rho: self.history_rho,
            ..self.bursts()
        }
    }

    /// How wealth is bet while green serves alone and blue can be compared again: a burst may raise suspicion.
    pub fn suspicion_betting(&self) -> Betting {
        Betting {
            rho: self.suspicion_rho,
            burst_high: self.burst_low,
            ..self.bursts()
        }
    }

    /// How PASS gains.
    pub fn showing(&self) -> Showing {
        Showing {
            ratios: self.pass_ratios,
            abs_ratios: self.abs_ratios,
            cap: self.pass_cap,
            cap_seconds: self.pass_dt_max,
        }
    }
}
