//! Every Prometheus family: name, help, labels.
//!
//! All label sets of a service are created, at zero, when the service is: `increase()` then sees the
//! first event, and nothing that a client sends can create a series. Hot paths hold their handles.
//! The judge never reads these numbers: it has its own counts. Prometheus is for people.

mod families;
mod mirror;
mod service;

pub use mirror::{Compared, MirrorCounts, MirrorMetrics};
pub use service::{FindingGauges, METRICS, PoolMetrics, ServiceMetrics};

use families::{Families, FamiliesRef};
use prometheus::{
    Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

const CONNECTIONS: &str = "Open connections of users.";
const TLS_FAILURES: &str = "TLS handshakes of clients that failed: not in time, no common version, or no client certificate.";
const CERTIFICATE: &str = "When a certificate that users see expires, in seconds of Unix time.";
const UNROUTED: &str = "Requests whose host and path belong to no service.";
const REFUSED: &str =
    "Requests and connections that were not taken: no valid HTTP, too large, too many.";
const ACCESS_DROPPED: &str =
    "Lines of the access log that were lost: the disk or the reader is too slow.";
const CONTROLLER_UP: &str = "Whether the controller runs; traffic goes on without it.";
const DOCKER_CONNECTED: &str =
    "Whether Docker answers, or is not used; nothing advances without it.";
const STATE_WRITABLE: &str = "Whether decisions can be recorded; weights do not grow without it.";
const VERSION: &str = "Version of the routing table in force.";
const RELOAD_OK: &str = "Whether the last attempt to reload the configuration succeeded.";
const RELOAD_AT: &str = "When the configuration in force was loaded.";

/// The statuses of refused requests.
const REFUSALS: [u16; 9] = [400, 405, 408, 413, 414, 429, 431, 501, 505];

/// All families of this process.
pub struct Metrics {
    registry: Registry,
    families: FamiliesRef,
    services: Mutex<HashMap<String, Arc<ServiceMetrics>>>,
    /// Open client connections.
    pub connections: IntGauge,
    /// Requests that match no service.
    pub unrouted: IntCounter,
    /// TLS handshakes that failed.
    pub tls_failures: IntCounter,
    certificates: GaugeVec,
    /// Lines of the access log that were dropped.
    pub access_dropped: IntCounter,
    refused: IntCounterVec,
    /// 1 while the controller runs.
    pub controller_up: IntGauge,
    /// 1 while decisions can be recorded.
    pub state_writable: IntGauge,
    /// 1 while it is known what Docker runs, or when Docker is not watched.
    pub docker_connected: IntGauge,
    version: IntGauge,
    reloads: IntCounterVec,
    reload_ok: IntGauge,
    reload_at: Gauge,
}

impl Metrics {
    /// New metrics: every family, in a registry of its own.
    ///
    /// # Errors
    /// When two families have the same name, which is a bug in this file.
    pub fn new() -> prometheus::Result<Metrics> {
        let r = &Registry::new();
        let process = prometheus::process_collector::ProcessCollector::for_self();
        r.register(Box::new(process))?;
        let build = IntGaugeVec::new(
            Opts::new("shifter_build_info", "The running program; always 1."),
            &["version"],
        )?;
        r.register(Box::new(build.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let reloads = IntCounterVec::new(
            Opts::new(
                "shifter_config_reloads_total",
                "Attempts to reload the configuration.",
            ),
            &["result"],
        )?;
        r.register(Box::new(reloads.clone()))?;
        for result in ["success", "failure"] {
            reloads.with_label_values(&[result]);
        }
        let expiry = Opts::new("shifter_certificate_expiry_timestamp_seconds", CERTIFICATE);
        let certificates = GaugeVec::new(expiry, &["cert", "name"])?;
        r.register(Box::new(certificates.clone()))?;
        let refused = IntCounterVec::new(
            Opts::new("shifter_http_refused_requests_total", REFUSED),
            &["code"],
        )?;
        r.register(Box::new(refused.clone()))?;
        for code in REFUSALS {
            refused.with_label_values(&[&code.to_string()]);
        }
        let metrics = Metrics {
            registry: r.clone(),
            families: Families::register(r)?,
            services: Mutex::default(),
            connections: gauge(r, "shifter_connections", CONNECTIONS)?,
            unrouted: counter(r, "shifter_http_unrouted_requests_total", UNROUTED)?,
            tls_failures: counter(r, "shifter_tls_handshake_failures_total", TLS_FAILURES)?,
            certificates,
            access_dropped: counter(r, "shifter_access_log_dropped_lines_total", ACCESS_DROPPED)?,
            refused,
            controller_up: gauge(r, "shifter_controller_up", CONTROLLER_UP)?,
            docker_connected: gauge(r, "shifter_docker_connected", DOCKER_CONNECTED)?,
            state_writable: gauge(r, "shifter_state_writable", STATE_WRITABLE)?,
            version: gauge(r, "shifter_routing_version", VERSION)?,
            reloads,
            reload_ok: gauge(r, "shifter_config_last_reload_successful", RELOAD_OK)?,
            reload_at: moment(
                r,
                "shifter_config_last_reload_success_timestamp_seconds",
                RELOAD_AT,
            )?,
        };
        metrics.reload_ok.set(1);
        metrics.docker_connected.set(1);
        metrics.reload_at.set(unix_now());
        Ok(metrics)
    }

    /// The metric handles of a service; all its label sets exist from now on.
    pub fn service(&self, name: &str) -> Arc<ServiceMetrics> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let create = || Arc::new(ServiceMetrics::new(name, &self.families));
        services
            .entry(name.to_owned())
            .or_insert_with(create)
            .clone()
    }

    /// Removes a service's series.
    pub fn forget(&self, name: &str) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if services.remove(name).is_some() {
            self.families.forget(name);
        }
    }

    /// Counts a refused request; a status that is not used for refusals counts as 400.
    pub fn refused(&self, status: u16) {
        let known = REFUSALS.contains(&status);
        let code = if known { status } else { REFUSALS[0] };
        self.refused.with_label_values(&[&code.to_string()]).inc();
    }

    /// Sets the version of the table in force.
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

    /// Sets until when the certificates are valid: file, first name, Unix time in seconds.
    pub fn set_certificates<'a>(&self, all: impl Iterator<Item = (String, &'a str, i64)>) {
        self.certificates.reset();
        for (file, name, ends) in all {
            let labels = [file.as_str(), name];
            self.certificates
                .with_label_values(&labels)
                .set(ends as f64);
        }
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory cannot fail; a family that cannot be encoded is left out.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn gauge(r: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    r.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counter(r: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    r.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn moment(r: &Registry, name: &str, help: &str) -> prometheus::Result<Gauge> {
    let gauge = Gauge::new(name, help)?;
    r.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

pub(crate) fn unix_now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::class::Class;
    use crate::core::table::Color;

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
            service
                .pool(Color::Green)
                .streamed(status, class, 0.01, Some(0.01));
            service.pool(Color::Green).judged(class);
            service.pool(Color::Blue).failed_attempt(class);
        }
        assert_eq!(series(&metrics), before);
        // Twice each; 500 to 504 have labels of their own.
        for (code, count) in [("other", 2 * (65_536 - 500)), ("5xx", 2 * 95)] {
            let line = format!("{{code=\"{code}\",pool=\"green\",service=\"api\"}} {count}\n");
            assert!(metrics.render().contains(&line), "{line}");
        }
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
