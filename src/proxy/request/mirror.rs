//! Copies of the requests that blue gets, for a green that has no users yet: green's answers are
//! dropped.
//!
//! A copy is made when the client has the whole answer, so that no request waits for it. There is
//! no queue: a copy that cannot be sent at once is dropped and counted. Each has a connection of
//! its own.

use crate::config::Mirror as Spec;
use crate::core::table::Color;
use crate::core::weight::{Weight, point};
use crate::metrics::Compared;
use crate::proxy::request::context::RequestContext;
use crate::proxy::request::headers::{self, MIRROR};
use crate::proxy::routing::authority::authority;
use crate::proxy::routing::failover;
use crate::proxy::routing::snapshot::Service;
use crate::store::Clock;
use crate::visit::{Question, Way};
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::proxy::Session;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Headers that belong to the client's connection, not to the request.
const HOPS: [HeaderName; 9] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Copies the requests of one service.
pub struct Mirror {
    spec: Spec,
    way: Way,
    room: Arc<Semaphore>,
}

/// The answer of blue.
#[derive(Clone, Copy, Debug)]
struct Seen {
    status: u16,
    /// Bytes of the body.
    length: u64,
    first_byte: Duration,
}

impl Mirror {
    /// A mirror with this configuration; copies of `old` that are in flight count.
    pub fn new(spec: &Spec, way: Way, old: Option<&Mirror>) -> Mirror {
        let same = old.filter(|old| old.spec.concurrency == spec.concurrency);
        let fresh = || Arc::new(Semaphore::new(spec.concurrency as usize));
        Mirror {
            room: same.map_or_else(fresh, |old| old.room.clone()),
            spec: spec.clone(),
            way,
        }
    }

    /// Whether a request is in the share that is copied.
    fn drawn(&self) -> bool {
        self.spec.share.covers(point(fastrand::u64(..)))
    }

    /// The request as green would have got it from the client.
    fn copy(
        &self,
        session: &Session,
        record: &RequestContext,
        service: &Service,
        addr: SocketAddr,
    ) -> Option<Copy> {
        let request = session.req_header();
        let (settings, id) = (&record.live().settings, record.id.as_ref());
        let mut copied = request.clone();
        headers::request(session, Some(addr), settings, id, &mut copied).ok()?;
        if let Some(preview) = &service.preview {
            copied.remove_header(&preview.header);
        }
        Some(Copy {
            method: request.method.clone(),
            path: String::from_utf8_lossy(request.raw_path()).into_owned(),
            host: String::from_utf8_lossy(authority(request)).into_owned(),
            headers: self.headers(&copied.headers),
        })
    }

    /// The headers of a request that green gets.
    fn headers(&self, given: &HeaderMap) -> HeaderMap {
        let named = given.get_all(CONNECTION).iter();
        let named: Vec<HeaderName> = named
            .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        let mut headers = given.clone();
        for name in named.iter().chain(&HOPS).chain(&self.spec.strip) {
            headers.remove(name);
        }
        if self.way.is_http2() {
            headers.remove(HOST);
        }
        headers.insert(MIRROR, HeaderValue::from_static("1"));
        headers
    }
}

/// Copies a request that has ended to a green without users, if its service wants that and the
/// request is in the share. It never waits.
pub fn copy(session: &Session, record: &RequestContext, status: u16) {
    let Some(service) = record.service() else {
        return;
    };
    let (Some(mirror), Weight::NONE) = (&service.mirror, service.weight) else {
        return;
    };
    let Some(first_byte) = record.first_byte().filter(|_| {
        let blue = record.spot().is_some_and(|spot| spot.color == Color::Blue);
        blue && only_reads(session, status) && mirror.drawn()
    }) else {
        return;
    };
    let Some(addr) = member(service) else { return };
    let metrics = service.all_metrics();
    let Ok(room) = mirror.room.clone().try_acquire_owned() else {
        metrics.mirror.dropped.inc();
        return;
    };
    let Some(copy) = mirror.copy(session, record, service, addr) else {
        return;
    };
    let seen = Seen {
        status,
        length: session.body_bytes_sent() as u64,
        first_byte,
    };
    let (way, limit) = (mirror.way.clone(), mirror.spec.timeout);
    tokio::spawn(async move {
        let (compared, first_byte) = copy.compare(&way, addr, seen, limit).await;
        metrics
            .mirror
            .compared(compared, seen.first_byte, first_byte);
        drop(room);
    });
}

/// Whether sending the request again changes nothing, and its answer had an end.
fn only_reads(session: &Session, status: u16) -> bool {
    let reads = matches!(session.req_header().method, Method::GET | Method::HEAD);
    let ends = session
        .response_written()
        .is_some_and(|response| !headers::is_stream(response));
    reads && ends && status != 101 && session.body_bytes_read() == 0
}

/// The member of green that gets a copy: one that is not down, doubted, or leaving.
fn member(service: &Service) -> Option<SocketAddr> {
    let spot = failover::within(service, Color::Green, None, Clock::now())?;
    let state = &service.pool(Color::Green).get(spot.member)?.state;
    let stays = state.leaving().borrow().is_none() && !state.doubted();
    stays.then_some(state.addr)
}

/// A copy of a request, to be sent.
struct Copy {
    method: Method,
    path: String,
    host: String,
    headers: HeaderMap,
}

impl Copy {
    /// Compares green's answer with blue's, and measures the time to its first byte.
    async fn compare(
        self,
        way: &Way,
        addr: SocketAddr,
        seen: Seen,
        limit: Duration,
    ) -> (Compared, Option<Duration>) {
        let begun = Instant::now();
        let mut first_byte = None;
        let question = Question {
            method: self.method,
            path: &self.path,
            host: &self.host,
            headers: self.headers,
            body: Bytes::new(),
        };
        let whole = async {
            let mut answer = way.ask(addr, question).await?;
            first_byte = Some(begun.elapsed());
            let mut length = 0;
            while let Some(part) = answer.part().await? {
                length += part.len() as u64;
                if length > seen.length {
                    // The length differs already; the rest says no more.
                    break;
                }
            }
            io::Result::Ok((answer.status(), length))
        };
        let compared = match tokio::time::timeout(limit, whole).await {
            Ok(Ok((status, _))) if status != seen.status => Compared::Status,
            Ok(Ok((_, length))) if length != seen.length => Compared::Length,
            Ok(Ok(_)) => Compared::Same,
            Ok(Err(_)) | Err(_) => Compared::Failed,
        };
        (compared, first_byte)
    }
}
