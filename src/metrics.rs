//! Every Prometheus family: name, help, labels.
//!
//! All label sets of a service are created, at zero, when the service is: `increase()` then sees the
//! first event, and nothing that a client sends can create a series. Hot paths hold their handles.
//! The judge never reads these numbers: it has its own counts. Prometheus is for people.

use crate::core::class::Class;
use crate::core::plan::Strategy;
use crate::core::rollout::Outcome;
use crate::core::table::Color;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Seconds; wide enough for a fast cache and a slow report, fine enough to see p99 double.
const SECONDS: [f64; 22] = [
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.35,
    0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0,
];

/// Seconds of a whole rollout: 15 s to 8 h.
const ROLLOUT_SECONDS: [f64; 10] = [
    15.0, 30.0, 60.0, 150.0, 300.0, 900.0, 1_800.0, 3_600.0, 10_800.0, 28_800.0,
];

/// Seconds from a rollback's decision until every new request goes to blue.
const ROLLBACK_SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Status codes with a label of their own; every other one is `other`.
const CODES: [u16; 35] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409,
    410, 412, 413, 414, 416, 422, 425, 426, 429, 431, 499, 500, 501, 502, 503, 504,
];

/// The phases of a rollout, as a state set.
pub const PHASES: [&str; 9] = [
    "idle",
    "starting",
    "warming",
    "smoke_testing",
    "shifting",
    "awaiting_approval",
    "paused",
    "promoted",
    "rolling_back",
];

/// What the judge may say, as a state set.
pub const VERDICTS: [&str; 4] = ["pass", "fail", "inconclusive", "no_data"];

/// What is judged.
pub const METRICS: [&str; 4] = ["err", "p50", "p90", "p99"];

/// The three ends of an interval.
const BOUNDS: [&str; 3] = ["lower", "estimate", "upper"];

/// All families of this process.
pub struct Metrics {
    registry: Registry,
    families: FamiliesRef,
    services: Mutex<HashMap<String, Arc<ServiceMetrics>>>,
    /// Connections of users that are open.
    pub connections: IntGauge,
    /// Requests that no service answers for.
    pub unrouted: IntCounter,
    /// 1 while the controller runs.
    pub controller_up: IntGauge,
    /// 1 while what is decided can be recorded.
    pub state_writable: IntGauge,
    version: IntGauge,
    reloads: IntCounterVec,
    reload_ok: IntGauge,
    reload_at: Gauge,
}

struct Families {
    requests: IntCounterVec,
    duration: HistogramVec,
    first_byte: HistogramVec,
    in_flight: IntGaugeVec,
    upgraded: IntGaugeVec,
    upstream_errors: IntCounterVec,
    retries: IntCounterVec,
    request_bytes: IntCounterVec,
    response_bytes: IntCounterVec,
    client_gave_up: IntCounterVec,
    backend_up: IntGaugeVec,
    pool_info: IntGaugeVec,
    weight: GaugeVec,
    phase: IntGaugeVec,
    info: IntGaugeVec,
    step: IntGaugeVec,
    steps: IntGaugeVec,
    phase_start: GaugeVec,
    rollouts: IntCounterVec,
    rollout_duration: HistogramVec,
    rollback_duration: HistogramVec,
    verdict: IntGaugeVec,
    confidence: GaugeVec,
    effect: GaugeVec,
    tolerance: GaugeVec,
    samples: IntGaugeVec,
    required: IntGaugeVec,
    evaluations: IntCounterVec,
    excess: GaugeVec,
}

/// One pool's handles.
pub struct PoolMetrics {
    codes: Vec<IntCounter>,
    other: IntCounter,
    duration: [Histogram; 2],
    first_byte: [Histogram; 2],
    errors: Vec<Option<IntCounter>>,
    /// Requests under way.
    pub in_flight: IntGauge,
    /// WebSockets and other upgraded connections that are open.
    pub upgraded: IntGauge,
    /// Requests that were tried again after this pool failed them.
    pub retries: IntCounter,
    /// Bytes of request bodies.
    pub request_bytes: IntCounter,
    /// Bytes of response bodies.
    pub response_bytes: IntCounter,
    /// Requests whose client went away.
    pub client_gave_up: IntCounter,
}

impl PoolMetrics {
    /// Counts a finished request: status sent, how it ended, seconds in all and to the first byte.
    pub fn finish(&self, status: u16, class: Class, seconds: f64, first_byte: Option<f64>) {
        match CODES.binary_search(&status) {
            Ok(at) => self.codes[at].inc(),
            Err(_) => self.other.inc(),
        }
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

/// One service's handles.
pub struct ServiceMetrics {
    name: String,
    families: FamiliesRef,
    /// Blue's and green's.
    pub pools: [PoolMetrics; 2],
    evaluations: [IntCounter; 4],
}

type FamiliesRef = Arc<Families>;

/// What the judge found about one metric, for [`ServiceMetrics::set_finding`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FindingGauges {
    /// Chance, in 0..=1, that the evidence so far is no accident.
    pub confidence: f64,
    /// Odds ratio of green against blue: lower, estimate, upper.
    pub effect: [f64; 3],
    /// The odds ratio that is tolerated.
    pub tolerance: f64,
}

impl Metrics {
    /// A registry of its own with every family in it.
    ///
    /// # Errors
    /// When two families have the same name: a fault in this file.
    pub fn new() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        let build = int_gauges(
            &registry,
            "shifter_build_info",
            "The running program; always 1.",
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let unrouted = IntCounter::new(
            "shifter_http_unrouted_requests_total",
            "Requests whose host and path belong to no service.",
        )?;
        registry.register(Box::new(unrouted.clone()))?;
        let reloads = counters(
            &registry,
            "shifter_config_reloads_total",
            "Attempts to reload the configuration.",
            &["result"],
        )?;
        for result in ["success", "failure"] {
            reloads.with_label_values(&[result]);
        }
        let reload_at = Gauge::new(
            "shifter_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was loaded.",
        )?;
        registry.register(Box::new(reload_at.clone()))?;
        reload_at.set(unix_now());
        let reload_ok = gauge(
            "shifter_config_last_reload_successful",
            "Whether the last attempt to reload the configuration succeeded.",
        )?;
        reload_ok.set(1);
        Ok(Metrics {
            connections: gauge("shifter_connections", "Open connections of users.")?,
            controller_up: gauge(
                "shifter_controller_up",
                "Whether the controller runs; traffic goes on without it.",
            )?,
            state_writable: gauge(
                "shifter_state_writable",
                "Whether decisions can be recorded; weights do not grow without it.",
            )?,
            version: gauge(
                "shifter_routing_version",
                "Version of the routing table in force.",
            )?,
            registry: registry.clone(),
            families,
            services: Mutex::default(),
            unrouted,
            reloads,
            reload_ok,
            reload_at,
        })
    }

    /// A service's handles; all its label sets exist from now on.
    pub fn service(&self, name: &str) -> Arc<ServiceMetrics> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let create = || Arc::new(ServiceMetrics::new(name, &self.families));
        services
            .entry(name.to_owned())
            .or_insert_with(create)
            .clone()
    }

    /// Takes a service's series away.
    pub fn forget(&self, name: &str) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if services.remove(name).is_some() {
            self.families.forget(name);
        }
    }

    /// The version of the table in force.
    pub fn routing_version(&self, version: u64) {
        self.version.set(i64::try_from(version).unwrap_or(i64::MAX));
    }

    /// Counts an attempt to reload the configuration.
    pub fn config_reloaded(&self, ok: bool) {
        self.reloads
            .with_label_values(&[if ok { "success" } else { "failure" }])
            .inc();
        self.reload_ok.set(i64::from(ok));
        if ok {
            self.reload_at.set(unix_now());
        }
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory cannot fail; a family that cannot be encoded is left out.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl ServiceMetrics {
    fn new(name: &str, families: &FamiliesRef) -> ServiceMetrics {
        let pools = Color::BOTH.map(|color| PoolMetrics::new(name, color, families));
        for phase in PHASES {
            families
                .phase
                .with_label_values(&[name, phase])
                .set(i64::from(phase == "idle"));
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
        for outcome in Outcome::NAMES {
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
        for verdict in VERDICTS {
            families.verdict.with_label_values(&[name, verdict]);
        }
        let evaluations =
            VERDICTS.map(|verdict| families.evaluations.with_label_values(&[name, verdict]));
        let metrics = ServiceMetrics {
            name: name.to_owned(),
            families: families.clone(),
            pools,
            evaluations,
        };
        metrics.set_weight(0.0);
        metrics
    }

    /// The handles of a colour.
    pub fn pool(&self, color: Color) -> &PoolMetrics {
        &self.pools[color.index()]
    }

    /// Green's share as set, 0 to 1.
    pub fn set_weight(&self, green: f64) {
        for (color, share) in [(Color::Blue, 1.0 - green), (Color::Green, green)] {
            self.families
                .weight
                .with_label_values(&[&self.name, color.name()])
                .set(share);
        }
    }

    /// The phase under way, as a state set; its start is noted when it is another one than before.
    pub fn set_phase(&self, phase: &str) {
        for known in PHASES {
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

    /// The rollout under way: number and strategy; `None` between rollouts.
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

    /// A rollout's end.
    pub fn rollout_ended(&self, strategy: &str, outcome: &str, seconds: f64) {
        self.families
            .rollouts
            .with_label_values(&[&self.name, strategy, outcome])
            .inc();
        self.families
            .rollout_duration
            .with_label_values(&[&self.name, outcome])
            .observe(seconds);
    }

    /// How long a rollback took from its decision until every new request went to blue.
    pub fn rolled_back_in(&self, seconds: f64) {
        self.families
            .rollback_duration
            .with_label_values(&[&self.name])
            .observe(seconds);
    }

    /// What the judge says, as a state set; `None` while it is not asked.
    pub fn set_verdict(&self, verdict: Option<&str>) {
        for known in VERDICTS {
            let on = i64::from(Some(known) == verdict);
            self.families
                .verdict
                .with_label_values(&[&self.name, known])
                .set(on);
        }
    }

    /// Counts one judgement.
    pub fn evaluated(&self, verdict: &str) {
        if let Some(at) = VERDICTS.iter().position(|known| *known == verdict) {
            self.evaluations[at].inc();
        }
    }

    /// What the judge found about one metric.
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

    /// Requests judged in this rollout, those that the step needs, and green's excess failures.
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

    /// The backends of a pool and whether active checks find them well; others of this pool are gone.
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

    /// What people call the version in a pool; `None` when there is no such pool now.
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
            let transport = class.failed() == Some(true) && *class != Class::ServerError;
            transport.then(|| {
                families
                    .upstream_errors
                    .with_label_values(&[service, color.name(), class.name()])
            })
        });
        families.samples.with_label_values(&labels);
        PoolMetrics {
            codes: CODES.iter().map(|code| coded(&code.to_string())).collect(),
            other: coded("other"),
            duration: timed(&families.duration),
            first_byte: timed(&families.first_byte),
            errors: reasons.collect(),
            in_flight: families.in_flight.with_label_values(&labels),
            upgraded: families.upgraded.with_label_values(&labels),
            retries: families.retries.with_label_values(&labels),
            request_bytes: families.request_bytes.with_label_values(&labels),
            response_bytes: families.response_bytes.with_label_values(&labels),
            client_gave_up: families.client_gave_up.with_label_values(&labels),
        }
    }
}

impl Families {
    fn register(r: &Registry) -> prometheus::Result<FamiliesRef> {
        let pool = ["service", "pool"];
        let metric = ["service", "metric"];
        Ok(Arc::new(Families {
            requests: counters(
                r,
                "shifter_http_requests_total",
                "Requests answered, by the status that users got.",
                &["service", "pool", "code"],
            )?,
            duration: histograms(
                r,
                "shifter_http_request_duration_seconds",
                "Time from the request's header to the end of the answer.",
                &["service", "pool", "outcome"],
                &SECONDS,
            )?,
            first_byte: histograms(
                r,
                "shifter_upstream_first_byte_duration_seconds",
                "Time from the request's header to the answer's header: what is judged.",
                &["service", "pool", "outcome"],
                &SECONDS,
            )?,
            in_flight: int_gauges(
                r,
                "shifter_http_requests_in_flight",
                "Requests under way, upgraded connections included.",
                &pool,
            )?,
            upgraded: int_gauges(
                r,
                "shifter_upgraded_connections",
                "WebSockets and other upgraded connections that are open.",
                &pool,
            )?,
            upstream_errors: counters(
                r,
                "shifter_upstream_errors_total",
                "Attempts that a pool failed below HTTP, also when another one saved the request.",
                &["service", "pool", "reason"],
            )?,
            retries: counters(
                r,
                "shifter_upstream_retries_total",
                "Requests tried again after this pool failed them.",
                &pool,
            )?,
            request_bytes: counters(
                r,
                "shifter_http_request_bytes_total",
                "Bytes of request bodies.",
                &pool,
            )?,
            response_bytes: counters(
                r,
                "shifter_http_response_bytes_total",
                "Bytes of response bodies.",
                &pool,
            )?,
            client_gave_up: counters(
                r,
                "shifter_http_client_gave_up_total",
                "Requests whose client went away or sent nonsense; never held against a pool.",
                &pool,
            )?,
            backend_up: int_gauges(
                r,
                "shifter_backend_up",
                "Whether active checks find the backend well.",
                &["service", "pool", "backend"],
            )?,
            pool_info: int_gauges(
                r,
                "shifter_pool_info",
                "The version in a pool; always 1.",
                &["service", "pool", "version"],
            )?,
            weight: gauges(
                r,
                "shifter_pool_weight_ratio",
                "Share of new requests as set.",
                &pool,
            )?,
            phase: int_gauges(
                r,
                "shifter_rollout_phase",
                "The phase under way, as a state set.",
                &["service", "phase"],
            )?,
            info: int_gauges(
                r,
                "shifter_rollout_info",
                "The rollout under way; always 1.",
                &["service", "rollout", "strategy"],
            )?,
            step: int_gauges(
                r,
                "shifter_rollout_step",
                "The step under way, counted from 1; 0 between rollouts.",
                &["service"],
            )?,
            steps: int_gauges(
                r,
                "shifter_rollout_steps",
                "Steps of the plan; 0 between rollouts.",
                &["service"],
            )?,
            phase_start: gauges(
                r,
                "shifter_rollout_phase_start_timestamp_seconds",
                "When the phase under way began.",
                &["service"],
            )?,
            rollouts: counters(
                r,
                "shifter_rollouts_total",
                "Rollouts that ended.",
                &["service", "strategy", "result"],
            )?,
            rollout_duration: histograms(
                r,
                "shifter_rollout_duration_seconds",
                "Time from a rollout's start to its end.",
                &["service", "result"],
                &ROLLOUT_SECONDS,
            )?,
            rollback_duration: histograms(
                r,
                "shifter_rollback_duration_seconds",
                "Time from a rollback's decision until every new request went to blue.",
                &["service"],
                &ROLLBACK_SECONDS,
            )?,
            verdict: int_gauges(
                r,
                "shifter_analysis_verdict",
                "What the judge says, as a state set.",
                &["service", "verdict"],
            )?,
            confidence: gauges(
                r,
                "shifter_analysis_regression_confidence_ratio",
                "Confidence that green is worse: 1 minus the anytime-valid p-value.",
                &metric,
            )?,
            effect: gauges(
                r,
                "shifter_analysis_effect_ratio",
                "Odds of a bad request on green against blue, with an anytime-valid interval.",
                &["service", "metric", "bound"],
            )?,
            tolerance: gauges(
                r,
                "shifter_analysis_tolerance_ratio",
                "The odds ratio that is tolerated.",
                &metric,
            )?,
            samples: int_gauges(
                r,
                "shifter_analysis_samples",
                "Requests judged in this rollout.",
                &pool,
            )?,
            required: int_gauges(
                r,
                "shifter_analysis_required_samples",
                "Green requests below which a step has no data.",
                &["service"],
            )?,
            evaluations: counters(
                r,
                "shifter_analysis_evaluations_total",
                "Judgements, one a second while green has a share.",
                &["service", "verdict"],
            )?,
            excess: gauges(
                r,
                "shifter_analysis_excess_failures",
                "Failed requests that green cost beyond blue's rate.",
                &["service"],
            )?,
        }))
    }

    fn forget(&self, service: &str) {
        for family in [
            &self.requests,
            &self.upstream_errors,
            &self.retries,
            &self.request_bytes,
        ] {
            drop_series(family, service);
        }
        for family in [
            &self.response_bytes,
            &self.client_gave_up,
            &self.rollouts,
            &self.evaluations,
        ] {
            drop_series(family, service);
        }
        for family in [
            &self.duration,
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
        ] {
            drop_series(family, service);
        }
        for family in [
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
fn drop_series<T: prometheus::core::MetricVecBuilder>(
    family: &prometheus::core::MetricVec<T>,
    service: &str,
) {
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

/// The values of one label over the series whose other labels are given.
fn labels_of(family: &IntGaugeVec, with: &[(&str, &str)], wanted: &str) -> Vec<String> {
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

fn counters(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntCounterVec> {
    let family = IntCounterVec::new(Opts::new(name, help), labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}

fn int_gauges(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> prometheus::Result<IntGaugeVec> {
    let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}

fn gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
    let family = GaugeVec::new(Opts::new(name, help), labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}

fn histograms(
    r: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: &[f64],
) -> prometheus::Result<HistogramVec> {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let family = HistogramVec::new(options, labels)?;
    r.register(Box::new(family.clone()))?;
    Ok(family)
}

fn unix_now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metrics: &Metrics) -> usize {
        metrics
            .render()
            .lines()
            .filter(|line| line.contains("service=\"api\""))
            .count()
    }

    #[test]
    fn nothing_that_a_client_sends_creates_a_series() {
        let metrics = Metrics::new().unwrap();
        let service = metrics.service("api");
        let before = series(&metrics);
        for status in 0..=u16::MAX {
            let class = Class::ALL[status as usize % Class::ALL.len()];
            service
                .pool(Color::Green)
                .finish(status, class, 0.01, Some(0.01));
            service.pool(Color::Blue).failed_attempt(class);
        }
        assert_eq!(series(&metrics), before);
        assert!(
            metrics
                .render()
                .contains("{code=\"other\",pool=\"green\",service=\"api\"} 65501")
        );
    }

    #[test]
    fn a_forgotten_service_leaves_nothing_behind() {
        let metrics = Metrics::new().unwrap();
        let service = metrics.service("api");
        service.set_backends(Color::Blue, [("127.0.0.1:1", true)].into_iter());
        service.set_release(Color::Blue, Some("1.0"));
        service.set_rollout(Some((1, "canary")), 1, 5);
        assert!(series(&metrics) > 100);
        metrics.forget("api");
        assert_eq!(series(&metrics), 0);
    }

    #[test]
    fn a_pool_has_the_backends_and_the_release_that_it_has_now() {
        let metrics = Metrics::new().unwrap();
        let service = metrics.service("api");
        service.set_backends(Color::Blue, [("a", true), ("b", false)].into_iter());
        service.set_backends(Color::Blue, [("b", true)].into_iter());
        service.set_release(Color::Blue, Some("1.0"));
        service.set_release(Color::Blue, Some("1.1"));
        let text = metrics.render();
        assert!(!text.contains("backend=\"a\""));
        assert!(text.contains("backend=\"b\",pool=\"blue\",service=\"api\"} 1"));
        assert!(!text.contains("version=\"1.0\""));
    }
}
