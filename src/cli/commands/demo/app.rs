//! A small web app that misbehaves on demand: for the demo, the tests and the benchmarks.

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use rand::RngExt;
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// The behaviour of the app; everything can be changed while it runs.
#[derive(Debug)]
pub struct App {
    version: String,
    started: Instant,
    start_delay: Duration,
    /// Share of answers with status 500, in parts per million.
    pub error_ppm: AtomicU32,
    /// Whether only requests under `/checkout` fail so.
    pub checkout_only: AtomicBool,
    /// Share of answers that break off, in parts per million.
    pub broken_ppm: AtomicU32,
    /// Milliseconds from the first request in which every answer takes `tail_us` longer: cold caches.
    pub cold_ms: AtomicU64,
    /// The time of the first request.
    first: OnceLock<Instant>,
    /// Typical time to answer, in microseconds; 0 answers at once.
    pub latency_us: AtomicU64,
    /// Spread of the time to answer: sigma of a log-normal distribution, in millionths.
    pub spread_ppm: AtomicU32,
    /// Share of answers that take `tail_us` longer, in parts per million.
    pub tail_ppm: AtomicU32,
    /// Extra time of these answers, in microseconds.
    pub tail_us: AtomicU64,
    /// Whether requests are accepted and never answered.
    pub hangs: AtomicBool,
    /// The status of good answers; 302 leads to `/login`. An invalid status means 200.
    pub status: AtomicU16,
    /// Whether good answers have no body.
    pub empty: AtomicBool,
    /// Microseconds from the header of a good answer to its body.
    pub body_us: AtomicU64,
    /// Requests served.
    pub served: AtomicU64,
    /// Requests of `/slow` in flight.
    pub slow: AtomicU64,
}

impl App {
    /// A healthy app that answers at once.
    pub fn new(version: &str, start_delay: Duration) -> Arc<App> {
        Arc::new(App {
            version: version.to_owned(),
            started: Instant::now(),
            start_delay,
            error_ppm: AtomicU32::new(0),
            checkout_only: AtomicBool::new(false),
            broken_ppm: AtomicU32::new(0),
            cold_ms: AtomicU64::new(0),
            first: OnceLock::new(),
            latency_us: AtomicU64::new(0),
            spread_ppm: AtomicU32::new(250_000),
            tail_ppm: AtomicU32::new(0),
            tail_us: AtomicU64::new(0),
            hangs: AtomicBool::new(false),
            status: AtomicU16::new(200),
            empty: AtomicBool::new(false),
            body_us: AtomicU64::new(0),
            served: AtomicU64::new(0),
            slow: AtomicU64::new(0),
        })
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self: Arc<App>, listener: TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }

    fn router(self: Arc<App>) -> Router {
        Router::new()
            .route("/health", get(health))
            .route("/slow", get(slow))
            .route("/bytes", get(bytes))
            .fallback(answer)
            .with_state(self)
    }

    fn warm(&self) -> bool {
        self.started.elapsed() >= self.start_delay
    }

    fn delay(&self) -> Duration {
        let typical = self.latency_us.load(Relaxed);
        let since = self.first.get_or_init(Instant::now).elapsed();
        if since < Duration::from_millis(self.cold_ms.load(Relaxed)) {
            return Duration::from_micros(typical + self.tail_us.load(Relaxed));
        }
        if typical == 0 && self.tail_ppm.load(Relaxed) == 0 {
            return Duration::ZERO;
        }
        let mut random = rand::rng();
        // A log-normal spread, by the sum of twelve uniforms: real services look like this.
        let sigma = f64::from(self.spread_ppm.load(Relaxed)) / 1e6;
        let normal: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let mut micros = typical as f64 * (sigma * normal).exp();
        if random.random_range(0..1_000_000) < self.tail_ppm.load(Relaxed) {
            micros += self.tail_us.load(Relaxed) as f64;
        }
        Duration::from_micros(micros as u64)
    }

    fn fails(&self, path: &str) -> bool {
        let ppm = self.error_ppm.load(Relaxed);
        let may = !self.checkout_only.load(Relaxed) || path.starts_with("/checkout");
        may && happens(ppm)
    }

    fn good(&self) -> Response {
        let status = StatusCode::from_u16(self.status.load(Relaxed)).unwrap_or(StatusCode::OK);
        let text = match self.empty.load(Relaxed) {
            true => String::new(),
            false => format!("hello from {}\n", self.version),
        };
        let late = Duration::from_micros(self.body_us.load(Relaxed));
        let body = match late.is_zero() {
            true => Body::from(text),
            false => Body::from_stream(stream::once(async move {
                tokio::time::sleep(late).await;
                Ok::<_, std::io::Error>(text)
            })),
        };
        let mut response = self.reply(status, body);
        if status == StatusCode::FOUND {
            let login = HeaderValue::from_static("/login");
            response.headers_mut().insert(LOCATION, login);
        }
        response
    }

    fn reply(&self, status: StatusCode, body: impl Into<Body>) -> Response {
        let mut response = (status, body.into()).into_response();
        if let Ok(version) = HeaderValue::from_str(&self.version) {
            response
                .headers_mut()
                .insert(HeaderName::from_static("x-app-version"), version);
        }
        response
    }
}

fn happens(ppm: u32) -> bool {
    ppm > 0 && rand::rng().random_range(0..1_000_000) < ppm
}

async fn answer(State(app): State<Arc<App>>, uri: Uri) -> Response {
    app.served.fetch_add(1, Relaxed);
    if app.hangs.load(Relaxed) {
        std::future::pending::<()>().await;
    }
    let delay = app.delay();
    if delay > Duration::ZERO {
        tokio::time::sleep(delay).await;
    }
    if happens(app.broken_ppm.load(Relaxed)) {
        let broken = stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("broken off"))]);
        return app.reply(StatusCode::OK, Body::from_stream(broken));
    }
    if app.fails(uri.path()) {
        return app.reply(StatusCode::INTERNAL_SERVER_ERROR, "something broke\n");
    }
    app.good()
}

async fn health(State(app): State<Arc<App>>) -> Response {
    if app.hangs.load(Relaxed) {
        std::future::pending::<()>().await;
    }
    if app.warm() {
        app.reply(StatusCode::OK, "ok\n")
    } else {
        app.reply(StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

async fn slow(State(app): State<Arc<App>>, Query(Slow { ms }): Query<Slow>) -> Response {
    app.served.fetch_add(1, Relaxed);
    app.slow.fetch_add(1, Relaxed);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    app.slow.fetch_sub(1, Relaxed);
    app.reply(StatusCode::OK, format!("slow hello from {}\n", app.version))
}

#[derive(Deserialize)]
struct Bytes {
    n: usize,
}

async fn bytes(State(app): State<Arc<App>>, Query(Bytes { n }): Query<Bytes>) -> Response {
    app.served.fetch_add(1, Relaxed);
    app.reply(StatusCode::OK, vec![b'x'; n.min(64 << 20)])
}
