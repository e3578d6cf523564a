//! The controller's Prometheus gauges: the same facts as the view.

use crate::control::service::state::ServiceState;
use crate::core::judge::{Policy, Report, Verdict};
use crate::core::table::Color;
use crate::metrics::{FindingGauges, ServiceMetrics};
use crate::store::shared_state::{BackendState, Health, PublishedService};

/// Sets every gauge of one service.
pub fn expose(metrics: &ServiceMetrics, state: &ServiceState, published: &PublishedService) {
    for color in Color::BOTH {
        let pool = &published.pools[color.index()];
        let up = |backend: &BackendState| backend.health() == Health::Up && !backend.doubted();
        metrics.set_backends(
            color,
            pool.iter()
                .map(|backend| (backend.id.as_str(), up(backend))),
        );
        metrics.set_release(
            color,
            state.route.pool(color).map(|pool| pool.release.as_str()),
        );
    }
    let Some(run) = &state.run else {
        metrics.set_phase(None);
        metrics.set_rollout(None, 0, 0);
        metrics.set_verdict(None);
        return;
    };
    metrics.set_phase(Some(run.trial.rollout().phase_kind()));
    let steps = run.trial.rollout().plan().steps.len();
    let step = run
        .trial
        .rollout()
        .step_index()
        .map_or(steps, |step| step + 1);
    metrics.set_rollout(Some((run.saved.id, &run.saved.strategy)), step, steps);
    metrics.set_verdict(run.trial.verdict().map(Verdict::kind));
    let report = run.trial.judge().report();
    let judged = expose_findings(metrics, &report, run.trial.judge().policy());
    metrics.set_samples(
        judged,
        run.trial.rollout().plan().step_requests_min,
        report.excess_failures,
    );
}

/// Sets the gauges of each metric's finding; returns the requests of blue and green that were judged for failures.
fn expose_findings(metrics: &ServiceMetrics, report: &Report, policy: &Policy) -> [u64; 2] {
    let mut judged = [0; 2];
    for (finding, tolerance) in report.findings.iter().zip(policy.omega0) {
        if finding.metric.level().is_none() {
            judged = [finding.blue_requests, finding.green_requests];
        }
        // Without bad requests of blue the ratio is not finite.
        let none = if finding.green_bad > 0 {
            f64::INFINITY
        } else {
            1.0
        };
        let estimate = finding.odds.unwrap_or(none);
        let gauges = FindingGauges {
            confidence: 1.0 - (-finding.ln_e_fail).exp().min(1.0),
            effect: [
                finding.odds_low,
                estimate,
                finding.odds_high.unwrap_or(f64::INFINITY),
            ],
            tolerance,
        };
        metrics.set_finding(finding.metric.name(), gauges);
    }
    judged
}
