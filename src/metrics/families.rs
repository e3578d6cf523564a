//! The Prometheus families of one service: name, help and labels of each, in one place.

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The definition of a family.
struct Spec {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
}

/// Buckets of durations, in seconds: wide enough for a fast cache and a slow report, fine enough to
/// see p99 double.
const SECONDS: [f64; 22] = [
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.35,
    0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0,
];

/// Buckets of stream lifetimes, in seconds: 1 s to a day.
const STREAM_SECONDS: [f64; 10] = [
    1.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 10_800.0, 28_800.0, 86_400.0,
];

/// Buckets of rollout durations, in seconds: 15 s to 8 h.
const ROLLOUT_SECONDS: [f64; 10] = [
    15.0, 30.0, 60.0, 150.0, 300.0, 900.0, 1_800.0, 3_600.0, 10_800.0, 28_800.0,
];

/// Buckets, in seconds, for the time from a rollback's decision until every new request goes to
/// blue.
const ROLLBACK_SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

const REQUESTS: Spec = Spec {
    name: "shifter_http_requests_total",
    help: "Requests answered, by the status that users got; a rare one by its class, such as 5xx.",
    labels: &["service", "pool", "code"],
};
const JUDGED: Spec = Spec {
    name: "shifter_http_judged_requests_total",
    help: "Requests as the judge counts them: by the pool that got them first, also when the other one saved them; without those whose client gave up.",
    labels: &["service", "pool", "outcome"],
};
const DURATION: Spec = Spec {
    name: "shifter_http_request_duration_seconds",
    help: "Time from the request's header to the end of the answer, streams left out.",
    labels: &["service", "pool", "outcome"],
};
const STREAM: Spec = Spec {
    name: "shifter_http_stream_duration_seconds",
    help: "How long streams lived, whichever side ended them: server-sent events, and gRPC calls of more than 10 s after their header.",
    labels: &["service", "pool"],
};
const FIRST_BYTE: Spec = Spec {
    name: "shifter_upstream_first_byte_duration_seconds",
    help: "Time from the request's header to the answer's header: what is judged.",
    labels: &["service", "pool", "outcome"],
};
const IN_FLIGHT: Spec = Spec {
    name: "shifter_http_requests_in_flight",
    help: "Requests under way, upgraded connections included.",
    labels: &["service", "pool"],
};
const UPGRADED: Spec = Spec {
    name: "shifter_upgraded_connections",
    help: "WebSockets and other upgraded connections that are open.",
    labels: &["service", "pool"],
};
const UPGRADED_CLOSED: Spec = Spec {
    name: "shifter_upgraded_connections_closed_total",
    help: "WebSockets and other upgraded connections that were closed because their pool was let go.",
    labels: &["service", "pool"],
};
const UPSTREAM_ERRORS: Spec = Spec {
    name: "shifter_upstream_errors_total",
    help: "Attempts that a pool failed below HTTP, also when another one saved the request.",
    labels: &["service", "pool", "reason"],
};
const RETRIES: Spec = Spec {
    name: "shifter_upstream_retries_total",
    help: "Requests tried again after this pool failed them.",
    labels: &["service", "pool"],
};
const RETRIES_REFUSED: Spec = Spec {
    name: "shifter_upstream_retries_refused_total",
    help: "Requests not tried again after this pool failed them, because the retry budget was spent.",
    labels: &["service", "pool"],
};
const UNJUDGED: Spec = Spec {
    name: "shifter_unjudged_requests_total",
    help: "Requests that an entry of `unjudged` keeps out of the judgement; they are in all other metrics.",
    labels: &["service", "pool"],
};
const MIRRORED: Spec = Spec {
    name: "shifter_mirror_requests_total",
    help: "Requests of blue copied to a green without users, by how its answer compares with blue's; dropped are those without room.",
    labels: &["service", "result"],
};
const MIRROR_FIRST_BYTE: Spec = Spec {
    name: "shifter_mirror_first_byte_seconds_total",
    help: "Time to the first byte of all answers that were compared, together.",
    labels: &["service", "pool"],
};
const REQUEST_BYTES: Spec = Spec {
    name: "shifter_http_request_bytes_total",
    help: "Bytes of request bodies.",
    labels: &["service", "pool"],
};
const RESPONSE_BYTES: Spec = Spec {
    name: "shifter_http_response_bytes_total",
    help: "Bytes of response bodies.",
    labels: &["service", "pool"],
};
const CLIENT_GAVE_UP: Spec = Spec {
    name: "shifter_http_client_gave_up_total",
    help: "Requests whose client went away or sent nonsense; never held against a pool.",
    labels: &["service", "pool"],
};
const BACKEND_UP: Spec = Spec {
    name: "shifter_backend_up",
    help: "Whether active checks find the backend well.",
    labels: &["service", "pool", "backend"],
};
const POOL_INFO: Spec = Spec {
    name: "shifter_pool_info",
    help: "The version in a pool; always 1.",
    labels: &["service", "pool", "version"],
};
const WEIGHT: Spec = Spec {
    name: "shifter_pool_weight_ratio",
    help: "Share of new requests as set.",
    labels: &["service", "pool"],
};
const PHASE: Spec = Spec {
    name: "shifter_rollout_phase",
    help: "The phase under way, as a state set.",
    labels: &["service", "phase"],
};
const INFO: Spec = Spec {
    name: "shifter_rollout_info",
    help: "The rollout under way; always 1.",
    labels: &["service", "rollout", "strategy"],
};
const STEP: Spec = Spec {
    name: "shifter_rollout_step",
    help: "The step under way, counted from 1; 0 between rollouts.",
    labels: &["service"],
};
const STEPS: Spec = Spec {
    name: "shifter_rollout_steps",
    help: "Steps of the plan; 0 between rollouts.",
    labels: &["service"],
};
const PHASE_START: Spec = Spec {
    name: "shifter_rollout_phase_start_timestamp_seconds",
    help: "When the phase under way began.",
    labels: &["service"],
};
const ROLLOUTS: Spec = Spec {
    name: "shifter_rollouts_total",
    help: "Rollouts that ended.",
    labels: &["service", "strategy", "result"],
};
const ROLLOUT_DURATION: Spec = Spec {
    name: "shifter_rollout_duration_seconds",
    help: "Time from a rollout's start to its end.",
    labels: &["service", "result"],
};
const ROLLBACK_DURATION: Spec = Spec {
    name: "shifter_rollback_duration_seconds",
    help: "Time from a rollback's decision until every new request went to blue.",
    labels: &["service"],
};
const VERDICT: Spec = Spec {
    name: "shifter_analysis_verdict",
    help: "What the judge says, as a state set.",
    labels: &["service", "verdict"],
};
const CONFIDENCE: Spec = Spec {
    name: "shifter_analysis_regression_confidence_ratio",
    help: "Confidence that green is worse: 1 minus the anytime-valid p-value.",
    labels: &["service", "metric"],
};
const EFFECT: Spec = Spec {
    name: "shifter_analysis_effect_ratio",
    help: "Odds of a bad request on green against blue, with an anytime-valid interval.",
    labels: &["service", "metric", "bound"],
};
const TOLERANCE: Spec = Spec {
    name: "shifter_analysis_tolerance_ratio",
    help: "The odds ratio that is tolerated.",
    labels: &["service", "metric"],
};
const SAMPLES: Spec = Spec {
    name: "shifter_analysis_samples",
    help: "Requests judged in this rollout.",
    labels: &["service", "pool"],
};
const REQUIRED: Spec = Spec {
    name: "shifter_analysis_required_samples",
    help: "Green requests below which a step has no data.",
    labels: &["service"],
};
const EVALUATIONS: Spec = Spec {
    name: "shifter_analysis_evaluations_total",
    help: "Judgements, one a second while green has a share.",
    labels: &["service", "verdict"],
};
const EXCESS: Spec = Spec {
    name: "shifter_analysis_excess_failures",
    help: "Failed requests that green cost beyond blue's rate.",
    labels: &["service"],
};

/// The families with series for each service.
pub(super) struct Families {
    pub(super) requests: IntCounterVec,
    pub(super) judged: IntCounterVec,
    pub(super) duration: HistogramVec,
    pub(super) stream: HistogramVec,
    pub(super) first_byte: HistogramVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) upgraded: IntGaugeVec,
    pub(super) upgraded_closed: IntCounterVec,
    pub(super) upstream_errors: IntCounterVec,
    pub(super) retries: IntCounterVec,
    pub(super) retries_refused: IntCounterVec,
    pub(super) unjudged: IntCounterVec,
    pub(super) mirrored: IntCounterVec,
    pub(super) mirror_first_byte: CounterVec,
    pub(super) request_bytes: IntCounterVec,
    pub(super) response_bytes: IntCounterVec,
    pub(super) client_gave_up: IntCounterVec,
    pub(super) backend_up: IntGaugeVec,
    pub(super) pool_info: IntGaugeVec,
    pub(super) weight: GaugeVec,
    pub(super) phase: IntGaugeVec,
    pub(super) info: IntGaugeVec,
    pub(super) step: IntGaugeVec,
    pub(super) steps: IntGaugeVec,
    pub(super) phase_start: GaugeVec,
    pub(super) rollouts: IntCounterVec,
    pub(super) rollout_duration: HistogramVec,
    pub(super) rollback_duration: HistogramVec,
    pub(super) verdict: IntGaugeVec,
    pub(super) confidence: GaugeVec,
    pub(super) effect: GaugeVec,
    pub(super) tolerance: GaugeVec,
    pub(super) samples: IntGaugeVec,
    pub(super) required: IntGaugeVec,
    pub(super) evaluations: IntCounterVec,
    pub(super) excess: GaugeVec,
}

/// The families, shared by the handles of all services.
pub(super) type FamiliesRef = Arc<Families>;

impl Families {
    /// Registers every family in a registry.
    pub(super) fn register(r: &Registry) -> prometheus::Result<FamiliesRef> {
        Ok(Arc::new(Families {
            requests: counters(r, &REQUESTS)?,
            judged: counters(r, &JUDGED)?,
            duration: histograms(r, &DURATION, &SECONDS)?,
            stream: histograms(r, &STREAM, &STREAM_SECONDS)?,
            first_byte: histograms(r, &FIRST_BYTE, &SECONDS)?,
            in_flight: int_gauges(r, &IN_FLIGHT)?,
            upgraded: int_gauges(r, &UPGRADED)?,
            upgraded_closed: counters(r, &UPGRADED_CLOSED)?,
            upstream_errors: counters(r, &UPSTREAM_ERRORS)?,
            retries: counters(r, &RETRIES)?,
            retries_refused: counters(r, &RETRIES_REFUSED)?,
            unjudged: counters(r, &UNJUDGED)?,
            mirrored: counters(r, &MIRRORED)?,
            mirror_first_byte: sums(r, &MIRROR_FIRST_BYTE)?,
            request_bytes: counters(r, &REQUEST_BYTES)?,
            response_bytes: counters(r, &RESPONSE_BYTES)?,
            client_gave_up: counters(r, &CLIENT_GAVE_UP)?,
            backend_up: int_gauges(r, &BACKEND_UP)?,
            pool_info: int_gauges(r, &POOL_INFO)?,
            weight: gauges(r, &WEIGHT)?,
            phase: int_gauges(r, &PHASE)?,
            info: int_gauges(r, &INFO)?,
            step: int_gauges(r, &STEP)?,
            steps: int_gauges(r, &STEPS)?,
            phase_start: gauges(r, &PHASE_START)?,
            rollouts: counters(r, &ROLLOUTS)?,
            rollout_duration: histograms(r, &ROLLOUT_DURATION, &ROLLOUT_SECONDS)?,
            rollback_duration: histograms(r, &ROLLBACK_DURATION, &ROLLBACK_SECONDS)?,
            verdict: int_gauges(r, &VERDICT)?,
            confidence: gauges(r, &CONFIDENCE)?,
            effect: gauges(r, &EFFECT)?,
            tolerance: gauges(r, &TOLERANCE)?,
            samples: int_gauges(r, &SAMPLES)?,
            required: int_gauges(r, &REQUIRED)?,
            evaluations: counters(r, &EVALUATIONS)?,
            excess: gauges(r, &EXCESS)?,
        }))
    }

    /// Removes a service's series from all families.
    pub(super) fn forget(&self, service: &str) {
        for family in [
            &self.requests,
            &self.judged,
            &self.upstream_errors,
            &self.upgraded_closed,
            &self.retries,
            &self.retries_refused,
            &self.mirrored,
            &self.request_bytes,
            &self.unjudged,
            &self.response_bytes,
            &self.client_gave_up,
            &self.rollouts,
            &self.evaluations,
        ] {
            drop_series(family, service);
        }
        drop_series(&self.mirror_first_byte, service);
        for family in [
            &self.duration,
            &self.stream,
            &self.first_byte,
            &self.rollout_duration,
            &self.rollback_duration,
        ] {
            drop_series(family, service);
        }
        for family in [
            &self.weight,
            &self.phase_start,
            &self.confidence,
            &self.effect,
            &self.tolerance,
            &self.excess,
        ] {
            drop_series(family, service);
        }
        for family in [
            &self.in_flight,
            &self.upgraded,
            &self.backend_up,
            &self.pool_info,
            &self.phase,
            &self.info,
            &self.step,
            &self.steps,
            &self.verdict,
            &self.samples,
            &self.required,
        ] {
            drop_series(family, service);
        }
    }
}

/// Removes a service's series from a family.
pub(super) fn drop_series<T: MetricVecBuilder>(family: &MetricVec<T>, service: &str) {
    for collected in family.collect() {
        for metric in collected.get_metric() {
            let labels: HashMap<&str, &str> = metric
                .get_label()
                .iter()
                .map(|pair| (pair.name(), pair.value()))
                .collect();
            if labels.get("service") == Some(&service) {
                let _ = family.remove(&labels);
            }
        }
    }
}

/// The values of the label `wanted` over the series that have the labels `with`.
pub(super) fn labels_of(family: &IntGaugeVec, with: &[(&str, &str)], wanted: &str) -> Vec<String> {
    let mut values = vec![];
    for collected in family.collect() {
        for metric in collected.get_metric() {
            let labels = metric.get_label();
            let all = with.iter().all(|(name, value)| {
                labels
                    .iter()
                    .any(|pair| pair.name() == *name && pair.value() == *value)
            });
            let value = labels.iter().find(|pair| pair.name() == wanted);
            values.extend(value.filter(|_| all).map(|pair| pair.value().to_owned()));
        }
    }
    values
}

fn counters(r: &Registry, spec: &Spec) -> prometheus::Result<IntCounterVec> {
    let family = IntCounterVec::new(Opts::new(spec.name, spec.help), spec.labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}

fn sums(r: &Registry, spec: &Spec) -> prometheus::Result<CounterVec> {
    let family = CounterVec::new(Opts::new(spec.name, spec.help), spec.labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}

fn int_gauges(r: &Registry, spec: &Spec) -> prometheus::Result<IntGaugeVec> {
    let family = IntGaugeVec::new(Opts::new(spec.name, spec.help), spec.labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}

fn gauges(r: &Registry, spec: &Spec) -> prometheus::Result<GaugeVec> {
    let family = GaugeVec::new(Opts::new(spec.name, spec.help), spec.labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}

fn histograms(r: &Registry, spec: &Spec, buckets: &[f64]) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::new(spec.name, spec.help).buckets(buckets.to_vec());
    let family = HistogramVec::new(options, spec.labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}
