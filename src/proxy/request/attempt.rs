//! The choice of a backend for a request: the first one, and another one when that could not take
//! it.

use crate::core::class::Class;
use crate::metrics::Metrics;
use crate::proxy::request::classify::classify;
use crate::proxy::request::context::RequestContext;
use crate::proxy::request::unprocessed::Unprocessed;
use crate::proxy::routing::connection_memory::Visit;
use crate::proxy::routing::decision::decide;
use crate::proxy::routing::failover::{self, UpstreamRef};
use crate::proxy::routing::snapshot::RoutingSnapshot;
use crate::proxy::routing::sticky::Pin;
use crate::store::Clock;
use pingora::Error;
use pingora::http::RequestHeader;

/// The maximum number of further attempts of a request that no backend has begun with.
///
/// Each connection may be at its end: where a server closes them after 20 requests and 8 come at once, four of ten attempts
/// meet a GOAWAY. An attempt costs the backend nothing. Pingora's own limit is 16 attempts.
const UNPROCESSED_MAX: u32 = 15;

/// Chooses service, colour and backend, once for the whole request; the error is the status of our
/// answer.
///
/// `visit` is called only where a cookie pins clients: it returns what the connection remembers.
///
/// # Errors
/// 404 when no service answers, 503 when none of its backends can.
pub fn first<'a>(
    record: &mut RequestContext,
    request: &RequestHeader,
    visit: impl FnOnce(&RoutingSnapshot) -> Option<Visit<'a>>,
    metrics: &Metrics,
) -> Result<UpstreamRef, u16> {
    let live = record.live().clone();
    let Some(at) = live.find(request) else {
        metrics.unrouted.inc();
        return Err(404);
    };
    let now = record.started();
    let service = &live.services[at];
    let visit = match service.line.pin {
        Pin::Cookie(..) => visit(&live),
        Pin::None | Pin::Header(_) => None,
    };
    let decision = decide(service, request, visit, now);
    let (color, spot) = (decision.color, decision.spot);
    (record.tell, record.home) = (decision.tell(), decision.home);
    record.strict = decision.strict;
    record.unjudged = decision.unjudged.is_some();
    if decision.counts() {
        let caller = decision.caller(&service.line.pin);
        record.route(request, at, (color, decision.baseline), caller);
    } else {
        record.chosen(at, color);
    }
    if spot.is_none_or(|spot| spot.color != decision.serves) {
        record.charge(Class::NoBackend, now);
        record.failed_attempt(Class::NoBackend, now);
    }
    spot.ok_or(503)
}

/// Sends a request that its backend has not begun to process once more, to it or to another one;
/// whether it may.
///
/// No backend is charged. The end of a connection hits all requests on it at once, and costs the
/// backend nothing: it takes nothing from the retry budget. A refusal by a backend with too many
/// requests does.
pub fn unprocessed(record: &mut RequestContext, how: Unprocessed) -> bool {
    let now = Clock::now();
    let (Some(service), Some(spot)) = (record.service(), record.spot()) else {
        return false;
    };
    if record.live().settings.retries == 0 || record.unprocessed >= UNPROCESSED_MAX {
        return false;
    }
    if how == Unprocessed::Refused && !service.may_retry(now) {
        return false;
    }
    service.metrics(spot.color).retries.inc();
    let next = failover::second(service, spot, record.strict, record.home, now)
        .filter(|next| next.color == spot.color);
    record.again();
    record.unprocessed += 1;
    record.hold(next.unwrap_or(spot));
    true
}

/// Charges a failed attempt, and sends the request to another backend where one can take it and the
/// retry budget allows it; whether it did.
///
/// `same`: where there is no other, the same backend may have it once more, on another connection.
pub fn again(record: &mut RequestContext, error: &Error, same: bool) -> bool {
    let (now, class) = (Clock::now(), classify(Some(error), 0));
    record.charge(class, now);
    record.failed_attempt(class, now);
    if record.tries >= record.live().settings.retries {
        return false;
    }
    let (Some(service), Some(failed)) = (record.service(), record.spot()) else {
        return false;
    };
    let other = failover::second(service, failed, record.strict, record.home, now);
    let Some(next) = other.or(same.then_some(failed)) else {
        return false;
    };
    let metrics = service.metrics(failed.color);
    if !service.may_retry(now) {
        metrics.retries_refused.inc();
        return false;
    }
    metrics.retries.inc();
    record.tries += 1;
    record.hold(next);
    true
}
