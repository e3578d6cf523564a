//! The state of one request in flight, and how its end is counted.
//!
//! The attempt on the pool that was chosen first is judged (intention to treat): a failure that
//! another pool saved is still a failure of the first, and is counted once.

use crate::core::class::Class;
use crate::core::fault::{self, Fault};
use crate::core::table::Color;
use crate::core::time::Time;
use crate::core::users::Caller;
use crate::proxy::request::classify::classify;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::stream_kind::Lasting;
use crate::proxy::request::tunnel_drain::Tunnel;
use crate::proxy::routing::failover::UpstreamRef;
use crate::proxy::routing::snapshot::{RoutingSnapshot, Service, Upstream};
use crate::proxy::routing::sticky::Assignment;
use crate::proxy::routing::unjudged;
use crate::proxy::upstream::deadline::{ResponseDeadline, SocketHandle};
use crate::store::Clock;
use crate::store::groups::Groups;
use crate::store::window::RequestToken;
use http::HeaderValue;
use pingora::http::RequestHeader;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The status in metrics of a request that its client left before an answer, as in nginx.
const CLIENT_LEFT: u16 = 499;

/// A kept-alive connection that ends within this time after a request was sent on it was closed by
/// its backend before the request came there. A backend in the same network needs microseconds for
/// that; the rest is for a machine that is busy.
const STALE: Duration = Duration::from_millis(20);

/// The state of one request from its header to its end; Pingora's `CTX`.
///
/// It is also the guard of the in-flight counts: it is dropped when a request ends, panics or is
/// cut, and when a WebSocket closes.
pub struct RequestContext {
    live: Arc<RoutingSnapshot>,
    started: Instant,
    pub(in crate::proxy) routed: Option<Routed>,
    /// The backend that has the request now.
    spot: Option<UpstreamRef>,
    /// A part of the request's body is still to come.
    pub uploading: bool,
    /// When the last part of the body had come; `None` for a request without a body.
    uploaded: Option<Instant>,
    /// Microseconds from the start, or from the end of the body, to the answer's header.
    first_byte: Option<u64>,
    /// Attempts that could not be handed over to a backend.
    pub tries: u32,
    /// Attempts that an HTTP/2 backend said it did not begin to process.
    pub unprocessed: u32,
    /// When the request was sent on a kept-alive connection; `None` on a fresh one.
    pub asked: Option<Instant>,
    /// When the connection was made, where that must be known: the backend's address may be another
    /// backend's by now.
    pub connected: Option<Time>,
    /// An attempt was void: its kept-alive connection was closed under it.
    void: bool,
    /// The assignment to tell the caller in a cookie.
    pub tell: Option<Assignment>,
    /// The key that selects the member of a pool that the client stays on, where it does.
    pub home: Option<u64>,
    /// An entry of `unjudged` excludes the request from the judgement.
    pub unjudged: bool,
    /// Only the pool that the request was given to may answer it.
    pub strict: bool,
    /// A handle to the backend's connection, where the client's connection cannot keep the
    /// backend's deadline.
    pub line: Option<SocketHandle>,
    /// The deadline for the answer's header on that connection.
    pub deadline: Option<ResponseDeadline>,
    /// Whether the gRPC call failed, once the backend has said so.
    pub grpc_failed: Option<bool>,
    /// Whether the answer may be a stream.
    pub lasting: Lasting,
    /// The request's id, once it is known.
    pub id: Option<HeaderValue>,
    /// Class and backend of the judged attempt's failure.
    fault: Option<(Class, Option<String>)>,
    /// The class of the request's end, where the error does not give it.
    pub outcome: Option<Class>,
    /// Why shifter or one side ended the request early, for the access log.
    pub reason: Option<&'static str>,
    /// The HTTP/2 exchange, by which the request can be ended from outside.
    pub exchange: Option<Exchange>,
    pub(in crate::proxy) upgraded: bool,
    pub(in crate::proxy) tunnel: Option<Tunnel>,
    ended: bool,
}

/// The service of a request, and the pool that is judged by the request.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Routed {
    pub(in crate::proxy) service: usize,
    pub(in crate::proxy) color: Color,
    /// The request's token in the window, until its end is counted.
    pub(in crate::proxy) begun: Option<RequestToken>,
    /// Chance placed this request itself, not an earlier one of its client.
    pub(in crate::proxy) drawn: bool,
}

impl RequestContext {
    /// The state of a request with a complete header.
    pub fn new(live: Arc<RoutingSnapshot>) -> RequestContext {
        RequestContext {
            live,
            started: Instant::now(),
            routed: None,
            spot: None,
            uploading: false,
            uploaded: None,
            first_byte: None,
            tries: 0,
            unprocessed: 0,
            asked: None,
            connected: None,
            void: false,
            tell: None,
            home: None,
            unjudged: false,
            strict: false,
            line: None,
            deadline: None,
            grpc_failed: None,
            lasting: Lasting::No,
            id: None,
            fault: None,
            outcome: None,
            reason: None,
            exchange: Exchange::here(),
            upgraded: false,
            tunnel: None,
            ended: false,
        }
    }

    /// The snapshot that was in force when the request came.
    pub fn live(&self) -> &Arc<RoutingSnapshot> {
        &self.live
    }

    /// When the request came.
    pub fn started(&self) -> Time {
        Clock::at(self.started)
    }

    /// The service of the request, once it is routed.
    pub fn service(&self) -> Option<&Service> {
        self.live.services.get(self.routed?.service)
    }

    /// The pool and the member that have the request now.
    pub fn spot(&self) -> Option<UpstreamRef> {
        self.spot
    }

    /// The backend that has the request now.
    pub fn member(&self) -> Option<&Upstream> {
        let spot = self.spot?;
        self.service()?.pool(spot.color).get(spot.member)
    }

    /// Counts the request's start on the pool that is to be judged by it; `baseline`: the baseline
    /// has it for blue.
    pub fn route(
        &mut self,
        request: &RequestHeader,
        service: usize,
        (color, baseline): (Color, bool),
        caller: Caller,
    ) {
        let window = &self.live.services[service].window;
        let groups = &window.groups;
        let group = groups.place(request.method.as_str(), request.uri.path());
        if Groups::samples() {
            groups.sample(group, unjudged::agent(request));
        }
        let begun = match baseline {
            true => window.begin_on_baseline(self.started()),
            false => window.begin(color, self.started()),
        };
        let begun = begun.of(group);
        let begun = window.by(begun, caller);
        self.routed = Some(Routed {
            service,
            color,
            begun: Some(begun),
            drawn: !matches!(caller, Caller::Pinned(_)),
        });
    }

    /// Routes the request without judging a pool by it.
    pub fn chosen(&mut self, service: usize, color: Color) {
        self.routed = Some(Routed {
            service,
            color,
            begun: None,
            drawn: false,
        });
    }

    /// Gives the request to a backend; the one before, if any, has it no more.
    pub fn hold(&mut self, spot: UpstreamRef) {
        self.let_go();
        self.spot = Some(spot);
        if let (Some(service), Some(member)) = (self.service(), self.member()) {
            member.state.in_flight.fetch_add(1, Relaxed);
            service.metrics(spot.color).in_flight.inc();
        }
    }

    fn let_go(&mut self) {
        if let (Some(service), Some(member), Some(spot)) =
            (self.service(), self.member(), self.spot)
        {
            member.state.in_flight.fetch_sub(1, Relaxed);
            service.metrics(spot.color).in_flight.dec();
        }
        self.spot = None;
    }

    /// The last part of the request's body is there; the upload time of a slow client is not the
    /// backend's.
    pub fn uploaded(&mut self) {
        self.uploading = false;
        self.uploaded = Some(Instant::now());
    }

    /// Sets the backend's deadline for the answer's header to `wait` from now, where there is a
    /// handle to its connection.
    pub fn expire_after(&mut self, wait: Duration) {
        self.deadline = self.line.as_ref().map(|line| line.shut_after(wait));
    }

    /// Has the connection to the backend shut when that is lost before it answers; over HTTP/1 the client's connection
    /// sees to that.
    pub fn watch_loss(&self, line: Option<&SocketHandle>) {
        if let (Some(exchange), Some(line), Some(member)) = (&self.exchange, line, self.member()) {
            exchange.waits_for(line, &member.state);
        }
    }

    /// The time since the request's header.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The time from the start, or from the end of the body, to the answer's header.
    pub fn first_byte(&self) -> Option<Duration> {
        self.first_byte.map(Duration::from_micros)
    }

    /// The pool that the request was last given to, or was meant for.
    pub fn color(&self) -> Option<Color> {
        self.spot
            .map(|spot| spot.color)
            .or(Some(self.routed?.color))
    }

    /// Whether the answer's header is still to come.
    pub fn waits(&self) -> bool {
        self.first_byte.is_none()
    }

    /// The answer's header is there.
    pub fn answered(&mut self, status: u16) {
        let now = Instant::now();
        let failed = self.refusal(status) != Class::Ok;
        (self.line, self.deadline) = (None, None);
        if let Some(exchange) = &self.exchange {
            exchange.waits_no_more();
        }
        let asked = self.uploaded.unwrap_or(self.started);
        let micros = micros(now.duration_since(asked));
        self.first_byte = Some(micros);
        if let Some(Routed {
            service,
            begun: Some(begun),
            ..
        }) = &mut self.routed
            && !failed
        {
            let service = &self.live.services[*service];
            service.window.header(begun, status);
            if !service.by_total {
                service.window.answered(begun, micros, Clock::at(now));
            }
        }
    }

    /// The answer's header is there, and it is no stream: the time to its last byte is compared.
    pub fn await_last_byte(&mut self) {
        let now = Clock::at(Instant::now());
        if let Some(Routed { service, begun, .. }) = &mut self.routed
            && let Some(begun) = begun
        {
            let service = &self.live.services[*service];
            if service.last_byte {
                service.window.await_last_byte(begun, now);
            }
        }
    }

    /// The class of a whole answer with this status.
    pub fn refusal(&self, status: u16) -> Class {
        let counts = |service: &Service| service.count_4xx && (400..500).contains(&status);
        match self.service() {
            Some(service) if counts(service) => Class::ClientError,
            _ => classify(None, status),
        }
    }

    /// Whether a backend's answer has begun.
    pub fn has_answer(&self) -> bool {
        self.first_byte.is_some()
    }

    /// Whether the connection that has just ended was closed by a backend that had not seen the
    /// request: no failure of the backend. Twice for one request is no accident.
    pub fn was_stale(&self) -> bool {
        !self.void && self.asked.is_some_and(|asked| asked.elapsed() < STALE)
    }

    /// The attempt is void (a kept-alive connection was closed under it); the next one's answer counts.
    pub fn again(&mut self) {
        self.void = true;
        self.first_byte = None;
    }

    /// Counts the end of the judged attempt; a second call changes nothing.
    pub fn charge(&mut self, class: Class, now: Time) {
        let Some(routed) = &mut self.routed else {
            return;
        };
        let Some(mut begun) = routed.begun.take() else {
            return;
        };
        let service = &self.live.services[routed.service];
        let window = &service.window;
        service.metrics(routed.color).judged(class);
        if service.by_total && class == Class::Ok {
            let asked = self.uploaded.unwrap_or(self.started);
            window.answered(&mut begun, micros(asked.elapsed()), now);
        }
        if service.last_byte && matches!(class, Class::Ok | Class::ClientGaveUp) {
            let asked = self.uploaded.unwrap_or(self.started);
            window.last_byte(&mut begun, class, micros(asked.elapsed()), now);
        }
        if class == Class::ClientGaveUp && self.first_byte.is_none() && !self.uploading {
            let asked = self.uploaded.unwrap_or(self.started);
            window.gave_up(&mut begun, micros(asked.elapsed()), now);
        }
        if window.end(begun, class, now) {
            let backend = self.member().map(|member| member.state.id.clone());
            self.fault = Some((class, backend));
        }
    }

    /// Records how, on which route and on which backend the judged attempt failed, if it failed.
    ///
    /// `status` is what the client got.
    pub fn blame(&mut self, request: &RequestHeader, status: u16) {
        let (Some((class, backend)), Some(routed)) = (self.fault.take(), self.routed) else {
            return;
        };
        let how = match class {
            Class::ServerError | Class::ClientError if status >= 400 => status.to_string(),
            Class::ServerError => "grpc error".to_owned(),
            class => class.name().replace('_', " "),
        };
        let route = fault::route(request.method.as_str(), request.uri.path());
        let window = &self.live.services[routed.service].window;
        window.blame(
            routed.color,
            Fault {
                how,
                route,
                backend,
            },
        );
    }

    /// Counts a failed attempt of the pool that had it, and perhaps ejects the backend for a while.
    pub fn failed_attempt(&self, class: Class, now: Time) {
        let Some(service) = self.service() else {
            return;
        };
        let Some(spot) = self.spot else {
            if let Some(routed) = self.routed {
                service.metrics(routed.color).failed_attempt(class);
            }
            return;
        };
        service.metrics(spot.color).failed_attempt(class);
        let ejects = matches!(
            class,
            Class::ConnectRefused | Class::ConnectTimeout | Class::Timeout | Class::Reset
        );
        let Some(member) = self
            .member()
            .filter(|_| ejects && service.eject.failures > 0)
        else {
            return;
        };
        let state = &member.state;
        if state.failures_in_a_row.fetch_add(1, Relaxed) + 1 >= service.eject.failures {
            state.failures_in_a_row.store(0, Relaxed);
            state
                .ejected_until
                .store(now.after(service.eject.span).0, Relaxed);
        }
    }

    /// Counts the request's end, once: in the judge's window and in the metrics.
    ///
    /// `status` is what the client got, 0 for none.
    pub fn end(&mut self, status: u16, class: Class) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let end = Instant::now();
        let now = Clock::at(end);
        self.charge(class, now);
        // A stream that is silent for long is ended by us, which is no failure of its backend.
        let silent = class == Class::Timeout && matches!(self.lasting, Lasting::Events);
        let class = if silent { Class::Ok } else { class };
        let Some(routed) = self.routed else { return };
        let color = self.spot.map_or(routed.color, |spot| spot.color);
        let service = &self.live.services[routed.service];
        match class.failed() {
            Some(true) if !class.answered() => {
                // An attempt that could not be handed over was counted where it happened.
                let counted = matches!(
                    class,
                    Class::ConnectRefused | Class::ConnectTimeout | Class::NoBackend
                );
                if !counted {
                    self.failed_attempt(class, now);
                }
            }
            Some(_) => {
                if let Some(member) = self.member() {
                    let failures = &member.state.failures_in_a_row;
                    // Almost always zero: do not take the cache line from the other cores.
                    if failures.load(Relaxed) > 0 {
                        failures.store(0, Relaxed);
                    }
                }
            }
            None => {}
        }
        let left = status == 0 && class == Class::ClientGaveUp;
        let status = if left { CLIENT_LEFT } else { status };
        if self.unjudged {
            service.metrics(color).unjudged.inc();
        }
        let seconds = end.duration_since(self.started).as_secs_f64();
        let first_byte = self.first_byte.map(|micros| micros as f64 / 1e6);
        let metrics = service.metrics(color);
        if self.lasting.was_stream(end) {
            metrics.streamed(status, class, seconds, first_byte);
        } else {
            metrics.finish(status, class, seconds, first_byte);
        }
    }

    /// Counts the bytes of the request's and of the answer's body.
    pub fn bytes(&self, request: usize, response: usize) {
        let Some(routed) = self.routed else { return };
        let color = self.spot.map_or(routed.color, |spot| spot.color);
        let metrics = self.live.services[routed.service].metrics(color);
        for (counter, bytes) in [
            (&metrics.request_bytes, request),
            (&metrics.response_bytes, response),
        ] {
            if bytes > 0 {
                counter.inc_by(bytes as u64);
            }
        }
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        if !self.ended && self.routed.is_some() {
            let class = match &self.exchange {
                _ if self.is_let_go() => Class::Ok,
                Some(exchange) if exchange.was_left() => Class::ClientGaveUp,
                // A panic, or a task that was cut: how it would have ended is unknown.
                _ => Class::Unknown,
            };
            self.end(0, class);
        }
        if self.upgraded
            && let (Some(service), Some(spot)) = (self.service(), self.spot)
        {
            service.metrics(spot.color).upgraded.dec();
        }
        self.let_go();
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
