//! The metric handles of one service: hot paths hold them, so that nothing is looked up by name.

use crate::core::class::Class;
use crate::core::judge::VerdictKind;
use crate::core::outcome::OutcomeKind;
use crate::core::phase::PhaseKind;
use crate::core::plan::Strategy;
use crate::core::table::Color;
use crate::metrics::families::{Families, FamiliesRef, drop_series, labels_of};
use crate::metrics::mirror::MirrorMetrics;
use crate::metrics::unix_now;
use prometheus::{Histogram, HistogramVec, IntCounter, IntGauge};

/// Status codes with a label of their own.
const CODES: [u16; 35] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409,
    410, 412, 413, 414, 416, 422, 425, 426, 429, 431, 499, 500, 501, 502, 503, 504,
];

/// Labels of all other statuses, by the first digit (RFC 9110, 15), so that `code=~"5.."` has all
/// of 500 to 599; statuses without a class come last.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// The index in [`CLASSES`] of a status without a label of its own.
fn class_of(status: u16) -> usize {
    match status {
        100..600 => usize::from(status / 100 - 1),
        _ => CLASSES.len() - 1,
    }
}

/// The phase of a service without a rollout.
const IDLE: &str = "idle";

/// The phases of a service, as a state set. A rollout that is over is none.
fn phases() -> impl Iterator<Item = &'static str> {
    let under_way = PhaseKind::ALL.iter().copied();
    let under_way = under_way.filter(|kind| *kind != PhaseKind::Finished);
    [IDLE].into_iter().chain(under_way.map(PhaseKind::name))
}

/// The metrics that are judged.
pub const METRICS: [&str; 4] = ["err", "p50", "p90", "p99"];

/// Labels of an interval: its bounds and the estimate.
const BOUNDS: [&str; 3] = ["lower", "estimate", "upper"];

/// The metric handles of one pool.
pub struct PoolMetrics {
    codes: Vec<IntCounter>,
    classes: [IntCounter; 6],
    judged: [IntCounter; 2],
    stream: Histogram,
    duration: [Histogram; 2],
    first_byte: [Histogram; 2],
    errors: Vec<Option<IntCounter>>,
    /// Requests in flight.
    pub in_flight: IntGauge,
    /// Open WebSockets and other upgraded connections.
    pub upgraded: IntGauge,
    /// Upgraded connections that were closed because the pool was drained.
    pub upgraded_closed: IntCounter,
    /// Requests that were retried after this pool failed them.
    pub retries: IntCounter,
    /// Requests that were not retried because the retry budget was spent.
    pub retries_refused: IntCounter,
    /// Requests that are excluded from the judgement.
    pub unjudged: IntCounter,
    /// Bytes of request bodies.
    pub request_bytes: IntCounter,
    /// Bytes of response bodies.
    pub response_bytes: IntCounter,
    /// Requests that ended because the client left.
    pub client_gave_up: IntCounter,
}

impl PoolMetrics {
    /// Requests that have ended since the start.
    pub fn ended(&self) -> u64 {
        let all = self.codes.iter().chain(&self.classes);
        all.map(IntCounter::get).sum()
    }

    fn coded(&self, status: u16) {
        match CODES.binary_search(&status) {
            Ok(at) => self.codes[at].inc(),
            Err(_) => self.classes[class_of(status)].inc(),
        }
    }

    /// Counts a request by the class that the judge gives it; a request that its client gave up
    /// does not count.
    pub fn judged(&self, class: Class) {
        if let Some(failed) = class.failed() {
            self.judged[usize::from(failed)].inc();
        }
    }

    /// Counts a stream that ended: its duration in seconds, and the time to its first byte, for
    /// which it was judged.
    pub fn streamed(&self, status: u16, class: Class, seconds: f64, first_byte: Option<f64>) {
        self.coded(status);
        if class == Class::ClientGaveUp {
            self.client_gave_up.inc();
        }
        self.stream.observe(seconds);
        if let Some(first_byte) = first_byte {
            let failed = class.failed() == Some(true);
            self.first_byte[usize::from(failed)].observe(first_byte);
        }
    }

    /// Counts a finished request: status sent, class, seconds in all and to the first byte.
    pub fn finish(&self, status: u16, class: Class, seconds: f64, first_byte: Option<f64>) {
        self.coded(status);
        let Some(failed) = class.failed() else {
            if class == Class::ClientGaveUp {
                self.client_gave_up.inc();
            }
            return;
        };
        let outcome = usize::from(failed);
        self.duration[outcome].observe(seconds);
        if let Some(first_byte) = first_byte {
            self.first_byte[outcome].observe(first_byte);
        }
    }

    /// Counts a failed attempt by its reason; a whole answer of 500 or above is no transport error.
    pub fn failed_attempt(&self, class: Class) {
        if let Some(Some(counter)) = self.errors.get(class as usize) {
            counter.inc();
        }
    }
}

/// The metric handles of one service.
pub struct ServiceMetrics {
    name: String,
    families: FamiliesRef,
    /// The handles of blue and green.
    pub pools: [PoolMetrics; 2],
    /// Copies for a green that has no users yet.
    pub mirror: MirrorMetrics,
    /// Indexed by `VerdictKind as usize`.
    evaluations: Vec<IntCounter>,
}

/// The judge's finding about one metric, for [`ServiceMetrics::set_finding`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FindingGauges {
    /// Probability, in 0..=1, that the evidence so far is not due to chance.
    pub confidence: f64,
    /// Odds ratio of green against blue: lower, estimate, upper.
    pub effect: [f64; 3],
    /// The tolerated odds ratio.
    pub tolerance: f64,
}

impl ServiceMetrics {
    pub(super) fn new(name: &str, families: &FamiliesRef) -> ServiceMetrics {
        let pools = Color::BOTH.map(|color| PoolMetrics::new(name, color, families));
        for phase in phases() {
            families
                .phase
                .with_label_values(&[name, phase])
                .set(i64::from(phase == IDLE));
        }
        families
            .phase_start
            .with_label_values(&[name])
            .set(unix_now());
        families.step.with_label_values(&[name]);
        families.steps.with_label_values(&[name]);
        families.required.with_label_values(&[name]);
        families.excess.with_label_values(&[name]);
        families.rollback_duration.with_label_values(&[name]);
        for outcome in OutcomeKind::ALL.iter().map(|kind| kind.name()) {
            families
                .rollout_duration
                .with_label_values(&[name, outcome]);
            for strategy in Strategy::ALL {
                families
                    .rollouts
                    .with_label_values(&[name, strategy.name(), outcome]);
            }
        }
        for metric in METRICS {
            families.confidence.with_label_values(&[name, metric]);
            families.tolerance.with_label_values(&[name, metric]);
            for bound in BOUNDS {
                families.effect.with_label_values(&[name, metric, bound]);
            }
        }
        for verdict in VerdictKind::ALL {
            families.verdict.with_label_values(&[name, verdict.name()]);
        }
        let evaluations = VerdictKind::ALL.iter().map(|verdict| {
            families
                .evaluations
                .with_label_values(&[name, verdict.name()])
        });
        let evaluations = evaluations.collect();
        let metrics = ServiceMetrics {
            name: name.to_owned(),
            families: families.clone(),
            pools,
            mirror: MirrorMetrics::new(name, families),
            evaluations,
        };
        metrics.set_weight(0.0);
        metrics
    }

    /// The handles of the pool of a colour.
    pub fn pool(&self, color: Color) -> &PoolMetrics {
        &self.pools[color.index()]
    }

    /// Requests that have ended since the start.
    pub fn ended(&self) -> u64 {
        self.pools.iter().map(PoolMetrics::ended).sum()
    }

    /// Sets green's share as configured or ordered, 0 to 1.
    pub fn set_weight(&self, green: f64) {
        for (color, share) in [(Color::Blue, 1.0 - green), (Color::Green, green)] {
            self.families
                .weight
                .with_label_values(&[&self.name, color.name()])
                .set(share);
        }
    }

    /// Sets the phase under way, as a state set; `None` between rollouts. Notes its start when it differs from the phase
    /// before.
    pub fn set_phase(&self, phase: Option<PhaseKind>) {
        let phase = phase.map_or(IDLE, PhaseKind::name);
        for known in phases() {
            let gauge = self.families.phase.with_label_values(&[&self.name, known]);
            let on = i64::from(known == phase);
            if on == 1 && gauge.get() == 0 {
                self.families
                    .phase_start
                    .with_label_values(&[&self.name])
                    .set(unix_now());
            }
            gauge.set(on);
        }
    }

    /// Sets the rollout under way, by number and strategy; `None` between rollouts.
    pub fn set_rollout(&self, rollout: Option<(i64, &str)>, step: usize, steps: usize) {
        let info = &self.families.info;
        drop_series(info, &self.name);
        if let Some((id, strategy)) = rollout {
            info.with_label_values(&[&self.name, &id.to_string(), strategy])
                .set(1);
        }
        self.families
            .step
            .with_label_values(&[&self.name])
            .set(step as i64);
        self.families
            .steps
            .with_label_values(&[&self.name])
            .set(steps as i64);
    }

    /// Counts the end of a rollout and its duration in seconds.
    pub fn rollout_ended(&self, strategy: &str, outcome: OutcomeKind, seconds: f64) {
        let outcome = outcome.name();
        self.families
            .rollouts
            .with_label_values(&[&self.name, strategy, outcome])
            .inc();
        self.families
            .rollout_duration
            .with_label_values(&[&self.name, outcome])
            .observe(seconds);
    }

    /// Records the seconds that a rollback took from its decision until every new request went to
    /// blue.
    pub fn rolled_back_in(&self, seconds: f64) {
        self.families
            .rollback_duration
            .with_label_values(&[&self.name])
            .observe(seconds);
    }

    /// Sets the judge's verdict, as a state set; `None` while nothing is judged.
    pub fn set_verdict(&self, verdict: Option<VerdictKind>) {
        for known in VerdictKind::ALL {
            let on = i64::from(Some(*known) == verdict);
            self.families
                .verdict
                .with_label_values(&[self.name.as_str(), known.name()])
                .set(on);
        }
    }

    /// Counts one evaluation by its verdict.
    pub fn evaluated(&self, verdict: VerdictKind) {
        if let Some(counter) = self.evaluations.get(verdict as usize) {
            counter.inc();
        }
    }

    /// Sets the judge's finding about one metric.
    pub fn set_finding(&self, metric: &str, finding: FindingGauges) {
        let (name, families) = (self.name.as_str(), &self.families);
        families
            .confidence
            .with_label_values(&[name, metric])
            .set(finding.confidence);
        families
            .tolerance
            .with_label_values(&[name, metric])
            .set(finding.tolerance);
        for (bound, value) in BOUNDS.iter().zip(finding.effect) {
            families
                .effect
                .with_label_values(&[name, metric, bound])
                .set(value);
        }
    }

    /// Sets the requests judged in this rollout, the number that the step needs, and green's excess
    /// failures.
    pub fn set_samples(&self, judged: [u64; 2], required: u64, excess: f64) {
        for color in Color::BOTH {
            let count = i64::try_from(judged[color.index()]).unwrap_or(i64::MAX);
            self.families
                .samples
                .with_label_values(&[&self.name, color.name()])
                .set(count);
        }
        let required = i64::try_from(required).unwrap_or(i64::MAX);
        self.families
            .required
            .with_label_values(&[&self.name])
            .set(required);
        self.families
            .excess
            .with_label_values(&[&self.name])
            .set(excess);
    }

    /// Sets the backends of a pool and whether their active checks pass; removes other backends of
    /// this pool.
    pub fn set_backends<'a>(&self, color: Color, backends: impl Iterator<Item = (&'a str, bool)>) {
        let up = &self.families.backend_up;
        let wanted: Vec<(&str, bool)> = backends.collect();
        for label in labels_of(
            up,
            &[("service", &self.name), ("pool", color.name())],
            "backend",
        ) {
            if !wanted.iter().any(|(id, _)| *id == label) {
                let _ = up.remove_label_values(&[&self.name, color.name(), &label]);
            }
        }
        for (id, healthy) in wanted {
            up.with_label_values(&[&self.name, color.name(), id])
                .set(i64::from(healthy));
        }
    }

    /// Sets the version name for people in a pool; `None` when there is no such pool now.
    pub fn set_release(&self, color: Color, release: Option<&str>) {
        let info = &self.families.pool_info;
        for label in labels_of(
            info,
            &[("service", &self.name), ("pool", color.name())],
            "version",
        ) {
            if Some(label.as_str()) != release {
                let _ = info.remove_label_values(&[&self.name, color.name(), &label]);
            }
        }
        if let Some(release) = release {
            info.with_label_values(&[&self.name, color.name(), release])
                .set(1);
        }
    }
}

impl PoolMetrics {
    fn new(service: &str, color: Color, families: &Families) -> PoolMetrics {
        let labels = [service, color.name()];
        let coded = |code: &str| {
            families
                .requests
                .with_label_values(&[service, color.name(), code])
        };
        let timed = |family: &HistogramVec| {
            ["success", "error"]
                .map(|outcome| family.with_label_values(&[service, color.name(), outcome]))
        };
        let reasons = Class::ALL.iter().map(|class| {
            let transport = class.failed() == Some(true) && !class.answered();
            transport.then(|| {
                families
                    .upstream_errors
                    .with_label_values(&[service, color.name(), class.name()])
            })
        });
        families.samples.with_label_values(&labels);
        PoolMetrics {
            codes: CODES.iter().map(|code| coded(&code.to_string())).collect(),
            classes: CLASSES.map(coded),
            judged: ["success", "error"].map(|outcome| {
                families
                    .judged
                    .with_label_values(&[service, color.name(), outcome])
            }),
            stream: families.stream.with_label_values(&labels),
            duration: timed(&families.duration),
            first_byte: timed(&families.first_byte),
            errors: reasons.collect(),
            in_flight: families.in_flight.with_label_values(&labels),
            upgraded: families.upgraded.with_label_values(&labels),
            upgraded_closed: families.upgraded_closed.with_label_values(&labels),
            retries: families.retries.with_label_values(&labels),
            retries_refused: families.retries_refused.with_label_values(&labels),
            unjudged: families.unjudged.with_label_values(&labels),
            request_bytes: families.request_bytes.with_label_values(&labels),
            response_bytes: families.response_bytes.with_label_values(&labels),
            client_gave_up: families.client_gave_up.with_label_values(&labels),
        }
    }
}
