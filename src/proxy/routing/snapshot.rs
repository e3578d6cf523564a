//! What the request path reads: one value, swapped whole when the shared state is published.

use crate::config::{
    Config, Eject, Limits, Protocol, RetryBudget, Rule, Secret, Timed, Trust, Unjudged,
};
use crate::core::answers::AnswerKind;
use crate::core::baseline::Places;
use crate::core::fnv::Fnv;
use crate::core::table::{Color, Ramp};
use crate::core::time::Time;
use crate::core::weight::Weight;
use crate::metrics::{Metrics, PoolMetrics, ServiceMetrics};
use crate::proxy::request::mirror::Mirror;
use crate::proxy::routing::authority::authority;
use crate::proxy::routing::cookie_signature::CookieSigner;
use crate::proxy::routing::newcomers::Newcomers;
use crate::proxy::routing::router::Routes;
use crate::proxy::routing::sticky::{Pin, TrafficSplit};
use crate::proxy::upstream::retry_budget::Spent;
use crate::proxy::upstream::tls::Secure;
use crate::proxy::upstream::upgrade::Dialer;
use crate::store::shared_state::{BackendState, PublishedService, PublishedState};
use crate::store::window::Window;
use crate::visit::Way;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::HttpPeer;
use std::sync::Arc;
use std::time::Duration;

/// The idle time after which TCP keepalive probes a backend.
const ANSWER_IDLE: Duration = Duration::from_secs(15);

/// The interval of TCP keepalive probes, until a backend is given up.
const ANSWER_INTERVAL: Duration = Duration::from_secs(5);

/// The most requests at a time on one connection to an HTTP/2 backend, as its servers usually
/// allow.
const H2_STREAMS: usize = 100;

/// Everything that a request needs to know, as published.
#[derive(Debug)]
pub struct RoutingSnapshot {
    /// Maps host and path to the service.
    pub routes: Routes,
    /// The services, in the order of the table.
    pub services: Vec<Service>,
    /// Settings that hold for all services.
    pub settings: Settings,
}

/// Settings that hold for all services.
#[derive(Debug)]
pub struct Settings {
    /// How often a request that could not be handed over is retried.
    pub retries: u32,
    /// Whether requests and answers carry a `Via` header.
    pub via: bool,
    /// The header of the request id.
    pub request_id: HeaderName,
    /// The header of the request id as Pingora writes it, without an allocation.
    pub request_id_written: Bytes,
    /// Which peers are trusted to set `X-Forwarded-*`.
    pub trust: Trust,
    /// The limits for one client.
    pub limits: Limits,
    /// The port to which clients without TLS are redirected.
    pub redirect: Option<u16>,
    /// The `Strict-Transport-Security` header of answers over TLS.
    pub hsts: Option<HeaderValue>,
}

/// One service as the request path sees it.
pub struct Service {
    /// The name of the service.
    pub name: String,
    /// Green's share of new requests.
    pub weight: Weight,
    /// How the share grows to its weight.
    pub ramp: Option<Ramp>,
    /// In a window of a switchback, blue also serves the requests that were assigned to green.
    pub withheld: bool,
    /// How callers are assigned to points.
    pub line: TrafficSplit,
    /// Counts the requests that are routed by this entry.
    pub window: Arc<Window>,
    /// The members of blue and green; those of a baseline come last in blue's.
    pub pools: [Vec<Upstream>; 2],
    /// The number of blue's members that are not the baseline.
    own: usize,
    /// There is a baseline, and it has places beside this share.
    compared: bool,
    /// After how many failures a member is ejected, and for how long.
    pub eject: Eject,
    /// Latency is the time until the last byte, not until the first.
    pub by_total: bool,
    /// Answers of 400 to 499 are failures.
    pub count_4xx: bool,
    /// The time until the last byte is compared beside latency.
    pub last_byte: bool,
    /// Sizes and content types of answers are compared.
    pub contents: bool,
    /// The retry budget.
    pub budget: RetryBudget,
    spent: Arc<Spent>,
    /// The header by which a request sees green whatever its share.
    pub preview: Option<Preview>,
    /// Rules that override the weight: the first that matches decides.
    pub rules: Vec<Rule>,
    /// Which requests are routed as all others and not judged.
    pub unjudged: Vec<Unjudged>,
    /// The mirror to a green without users.
    pub mirror: Option<Mirror>,
    /// The timeout for an answer's header.
    pub first_byte: Duration,
    /// Pingora's own timeout for reads is longer than that, so that we have to keep the timeout.
    pub reads_longer: bool,
    /// The protocol of the members.
    pub protocol: Protocol,
    /// Opens connections for upgrades.
    pub dialer: Arc<Dialer>,
    /// The names for people of the versions in both pools.
    pub releases: [String; 2],
    metrics: Arc<ServiceMetrics>,
}

/// A header that leads to green.
#[derive(Debug)]
pub struct Preview {
    /// The name of the header.
    pub header: HeaderName,
    token: Secret,
}

impl Preview {
    fn new(spec: &crate::config::Preview) -> Option<Preview> {
        Some(Preview {
            header: spec.header.parse().ok()?,
            token: spec.token.clone(),
        })
    }

    /// Whether a request carries the header with the right token.
    pub fn asked(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(&self.header);
        given.is_some_and(|given| self.token.matches(given.as_bytes()))
    }
}

/// One backend with all that is needed to send it a request.
#[derive(Debug)]
pub struct Upstream {
    /// The state of the backend, which the control plane and the data plane share.
    pub state: Arc<BackendState>,
    /// Pingora's peer, copied for each request.
    pub peer: HttpPeer,
}

impl AsRef<BackendState> for Upstream {
    fn as_ref(&self) -> &BackendState {
        &self.state
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("pools", &self.pools)
            .finish()
    }
}

impl RoutingSnapshot {
    /// The snapshot of a published state; counters of newcomers go on from `old`.
    pub fn new(
        snapshot: &PublishedState,
        metrics: &Metrics,
        old: Option<&RoutingSnapshot>,
    ) -> RoutingSnapshot {
        let config = &snapshot.config;
        let chosen = config.proxy.cookie_secret.as_ref();
        let secret = chosen.map_or(snapshot.key.expose(), |chosen| chosen.expose().as_bytes());
        let services: Vec<Service> = snapshot
            .services
            .iter()
            .filter_map(|published| {
                let name = &published.route.service;
                let known = old.and_then(|old| old.services.iter().find(|s| s.name == *name));
                Service::new(published, config, secret, metrics, known)
            })
            .collect();
        let index = |name: &str| services.iter().position(|service| service.name == name);
        RoutingSnapshot {
            routes: Routes::new(config, index),
            settings: Settings::new(config),
            services,
        }
    }

    /// The index of the service that answers a request.
    pub fn find(&self, request: &RequestHeader) -> Option<usize> {
        let host = authority(request);
        let found = self.routes.find(host, request.uri.path())?;
        Some(found.service)
    }

    /// A snapshot that follows the shared state: before `publish` returns, new requests use the new
    /// one.
    pub fn follow(
        board: &crate::store::SharedState,
        metrics: Arc<Metrics>,
    ) -> Arc<ArcSwap<RoutingSnapshot>> {
        let first = RoutingSnapshot::new(&board.snapshot(), &metrics, None);
        let live = Arc::new(ArcSwap::from_pointee(first));
        let swapped = live.clone();
        board.follow(move |snapshot| {
            let next = RoutingSnapshot::new(snapshot, &metrics, Some(&swapped.load()));
            swapped.store(Arc::new(next));
        });
        live
    }
}

impl Settings {
    fn new(config: &Config) -> Settings {
        let proxy = &config.proxy;
        let default = HeaderName::from_static("x-request-id");
        let request_id = proxy.request_id_header.parse().unwrap_or(default);
        Settings {
            // Pingora reads 0 as "for ever".
            retries: proxy.retries,
            via: proxy.via,
            request_id_written: Bytes::copy_from_slice(request_id.as_str().as_bytes()),
            request_id,
            trust: proxy.trust.clone(),
            limits: proxy.limits.clone(),
            redirect: proxy.tls.as_ref().and_then(|tls| tls.redirect),
            hsts: proxy
                .tls
                .as_ref()
                .and_then(|tls| HeaderValue::from_str(tls.hsts.as_ref()?).ok()),
        }
    }
}

impl Service {
    /// The service of a published entry; `None` when the configuration does not have it any more.
    fn new(
        published: &PublishedService,
        config: &Config,
        secret: &[u8],
        metrics: &Metrics,
        old: Option<&Service>,
    ) -> Option<Service> {
        let route = &published.route;
        let spec = config.service(&route.service)?;
        let timeouts = &spec.timeouts;
        let secure = spec.tls.as_ref().map(Secure::new);
        let member = |state| Upstream::new(spec, secure.as_ref(), state);
        let [blue, green] = &published.pools;
        let pools = [
            blue.iter().chain(&published.baseline).map(member).collect(),
            green.iter().map(member).collect(),
        ];
        Some(Service {
            name: route.service.clone(),
            weight: route.weight,
            ramp: route.ramp,
            withheld: route.withheld,
            line: TrafficSplit {
                pin: Pin::new(spec.sticky.as_ref()),
                member: spec.sticky.as_ref().is_some_and(|sticky| sticky.member),
                salt: route.salt,
                epoch: route.epoch,
                signer: CookieSigner::new(secret, &route.service),
                newcomers: Newcomers::under(route.salt, old.map(|old| &old.line.newcomers)),
            },
            window: published.window.clone(),
            pools,
            own: blue.len(),
            compared: route.places(route.weight).is_some(),
            eject: spec.eject.clone(),
            by_total: spec.judgement.latency == Timed::Total,
            count_4xx: spec.judgement.count_4xx,
            last_byte: spec.policy().compares(AnswerKind::LastByte),
            contents: !spec.judgement.contents.is_off(),
            budget: spec.retry_budget,
            spent: old.map(|old| old.spent.clone()).unwrap_or_default(),
            preview: spec.preview.as_ref().and_then(Preview::new),
            rules: spec.rules.clone(),
            unjudged: spec.unjudged.clone(),
            mirror: mirror(spec, old.and_then(|old| old.mirror.as_ref())),
            first_byte: timeouts.first_byte,
            reads_longer: timeouts.first_byte < timeouts.read,
            protocol: spec.protocol,
            dialer: Arc::new(Dialer {
                timeout: timeouts.connect,
            }),
            releases: Color::BOTH.map(|color| {
                route
                    .pool(color)
                    .map_or_else(String::new, |pool| pool.release.clone())
            }),
            metrics: metrics.service(&route.service),
        })
    }

    /// The Prometheus handles of a pool.
    pub fn metrics(&self, color: Color) -> &PoolMetrics {
        self.metrics.pool(color)
    }

    /// Whether one more request may be retried, which then counts.
    pub fn may_retry(&self, now: Time) -> bool {
        self.spent.take(&self.budget, self.metrics.ended(), now)
    }

    /// All Prometheus handles.
    pub fn all_metrics(&self) -> Arc<ServiceMetrics> {
        self.metrics.clone()
    }

    /// The pool that serves requests meant for this one: in a window of a switchback, blue for
    /// both.
    pub fn serves(&self, color: Color) -> Color {
        if self.withheld { Color::Blue } else { color }
    }

    /// The members of a pool; an [`UpstreamRef`](crate::proxy::routing::failover::UpstreamRef) says
    /// which of them.
    pub fn pool(&self, color: Color) -> &[Upstream] {
        &self.pools[color.index()]
    }

    /// The members of a pool that every request of this colour may be given to: all but the
    /// baseline's, which come last.
    pub fn own(&self, color: Color) -> &[Upstream] {
        let all = self.pool(color);
        match color {
            Color::Blue => all.get(..self.own).unwrap_or(all),
            Color::Green => all,
        }
    }

    /// The members of the baseline, and the number of blue's members before them.
    pub fn baseline(&self) -> (&[Upstream], usize) {
        let all = self.pool(Color::Blue);
        (all.get(self.own..).unwrap_or_default(), self.own)
    }

    /// Whether a caller at `point` belongs to the baseline, beside a green of this share.
    pub fn on_baseline(&self, share: Weight, point: u16) -> bool {
        self.compared && Places::beside(share).is_some_and(|places| places.cover(point))
    }
}

fn mirror(spec: &crate::config::Service, old: Option<&Mirror>) -> Option<Mirror> {
    let wanted = spec.mirror.as_ref()?;
    match Way::new(spec.protocol, spec.tls.as_ref()) {
        Ok(way) => Some(Mirror::new(wanted, way, old)),
        Err(error) => {
            tracing::error!(service = spec.name, %error, "nothing can be copied to green");
            None
        }
    }
}

impl Upstream {
    fn new(
        service: &crate::config::Service,
        secure: Option<&Secure>,
        state: &Arc<BackendState>,
    ) -> Upstream {
        let timeouts = &service.timeouts;
        let mut peer = HttpPeer::new(state.addr, false, String::new());
        // A new generation on the same address never gets a connection of the old one.
        peer.group_key = group_key(&service.name, &state.id);
        let options = &mut peer.options;
        if service.protocol == Protocol::H2 {
            options.set_http_version(2, 2);
            options.max_h2_streams = H2_STREAMS;
        }
        options.connection_timeout = Some(timeouts.connect);
        options.total_connection_timeout = Some(timeouts.connect);
        // Pingora has one timeout for reads of header and body: the longer one, so that nothing is
        // cut too early. A shorter one for the first byte is kept by the client's connection
        // (`TimeoutStream`).
        options.read_timeout = Some(timeouts.read.max(timeouts.first_byte));
        options.write_timeout = Some(timeouts.write);
        options.idle_timeout = Some(timeouts.idle);
        options.tcp_keepalive = Some(TcpKeepalive {
            idle: ANSWER_IDLE,
            interval: ANSWER_INTERVAL,
            count: 3,
            // A backend that takes or acknowledges nothing for this long is given up, whatever
            // Pingora waits for then: after its own timeout for writes it goes on to wait for an
            // answer.
            #[cfg(target_os = "linux")]
            user_timeout: timeouts.write,
        });
        if let Some(secure) = secure {
            secure.dress(&mut peer, state.addr);
        }
        Upstream {
            state: state.clone(),
            peer,
        }
    }

    /// The peer for a request with a body: while that comes, reads from the backend wait for
    /// `patience` or longer.
    pub fn upload_peer(&self, patience: Duration) -> HttpPeer {
        let mut peer = self.peer.clone();
        let read = &mut peer.options.read_timeout;
        *read = (*read).max(Some(patience));
        peer
    }

    /// The peer for an upgrade: a connection of its own, never one from the pool and never kept.
    ///
    /// A tunnel may be silent for hours; TCP keepalive finds out whether the other side lives.
    pub fn upgrade_peer(&self, dialer: &Arc<Dialer>) -> HttpPeer {
        let mut peer = self.peer.clone();
        peer.group_key = !peer.group_key;
        peer.options.idle_timeout = Some(Duration::ZERO);
        peer.options.read_timeout = None;
        peer.options.custom_l4 = Some(dialer.clone());
        // Upgrades exist only in HTTP/1.1.
        peer.options.set_http_version(1, 1);
        peer
    }
}

fn group_key(service: &str, id: &str) -> u64 {
    Fnv::hash(service.as_bytes()).rotate_left(32) ^ Fnv::hash(id.as_bytes())
}
