//! The view of one service: what the status API shows of it.

use crate::control::api::view::{BackendView, PoolView, RolloutView, ServiceView};
use crate::control::service::readiness;
use crate::control::service::state::ServiceState;
use crate::core::stats::{Histogram, SpanStats};
use crate::core::table::Color;
use crate::core::time::Time;
use crate::store::shared_state::{BackendState, Health, PublishedService};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl ServiceState {
    /// The view of the service.
    ///
    /// `upgraded` counts the open upgraded connections of blue and green.
    pub fn view(
        &self,
        published: Option<&Arc<PublishedService>>,
        upgraded: [i64; 2],
        now: Time,
    ) -> ServiceView {
        let pool = |color: Color| {
            let backends = published.map(|published| published.pools[color.index()].as_slice());
            PoolView {
                upgraded: upgraded[color.index()],
                ..self.pool_view(color, backends.unwrap_or_default())
            }
        };
        let green = published.map_or(&[][..], |published| &published.pools[Color::Green.index()]);
        let seen = self.run.as_ref().map(|run| &run.step_spans);
        let total = seen.map_or(0, |spans| spans[0].requests + spans[1].requests);
        ServiceView {
            name: self.route.service.clone(),
            hosts: self
                .settings
                .hosts
                .iter()
                .map(ToString::to_string)
                .collect(),
            weight_percent: self.route.share(now).ratio() * 100.0,
            observed_percent: seen
                .filter(|_| total > 0)
                .map(|spans| spans[1].requests as f64 * 100.0 / total as f64),
            blue: pool(Color::Blue),
            green: self.route.green.as_ref().map(|_| pool(Color::Green)),
            baseline: self.baseline_view(published.map(|published| &**published)),
            mirror: None,
            advice: self.usual.advice(),
            green_configured: self.settings.green.is_some() || self.is_docker(),
            rollout: self
                .run
                .as_ref()
                .map(|run| RolloutView {
                    waits: readiness::missing(self, green, now),
                    ..run.view(now)
                })
                .or_else(|| self.last.clone()),
        }
    }

    /// The view of one backend, without the name of its container.
    pub(in crate::control) fn backend_view(backend: &BackendState) -> BackendView {
        BackendView {
            id: backend.id.clone(),
            container: None,
            address: backend.addr.to_string(),
            health: match backend.health() {
                _ if backend.doubted() => "doubted",
                Health::Up => "up",
                Health::Down => "down",
                Health::Unknown => "unknown",
            }
            .to_owned(),
            reason: backend.ill().filter(|_| backend.health() == Health::Down),
            in_flight: backend.in_flight.load(Relaxed),
        }
    }

    fn pool_view(&self, color: Color, backends: &[Arc<BackendState>]) -> PoolView {
        let mut span = SpanStats::default();
        for second in &self.recent {
            span.merge(&second[color.index()]);
        }
        let quantile = |q: f64| (span.latency.count() > 0).then(|| span.latency.quantile(q));
        PoolView {
            release: self
                .route
                .pool(color)
                .map(|pool| pool.release.clone())
                .unwrap_or_default(),
            backends: backends
                .iter()
                .map(|backend| BackendView {
                    container: self.container_of(color, &backend.id),
                    ..ServiceState::backend_view(backend)
                })
                .collect(),
            in_flight: backends
                .iter()
                .map(|backend| backend.in_flight.load(Relaxed))
                .sum(),
            requests_per_second: span.requests as f64 / self.recent.len().max(1) as f64,
            failed_percent: span.failure_rate() * 100.0,
            p50_ms: quantile(0.50),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            ..PoolView::default()
        }
    }

    /// The view of the baseline, while there is one.
    pub(in crate::control) fn baseline_view(
        &self,
        published: Option<&PublishedService>,
    ) -> Option<PoolView> {
        let (pool, run) = (self.route.baseline.as_ref()?, self.run.as_ref()?);
        let mut times = Histogram::default();
        for second in &run.baseline.recent {
            times.merge(second);
        }
        let quantile = |q: f64| (times.count() > 0).then(|| times.quantile(q));
        let states = published.map(|published| published.baseline.as_slice());
        let states = states.unwrap_or_default();
        let backends: Vec<_> = states
            .iter()
            .map(|state| ServiceState::backend_view(state))
            .collect();
        Some(PoolView {
            release: pool.release.clone(),
            in_flight: backends.iter().map(|backend| backend.in_flight).sum(),
            backends,
            requests_per_second: times.count() as f64 / run.baseline.recent.len().max(1) as f64,
            p50_ms: quantile(0.50),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            ..PoolView::default()
        })
    }
}
