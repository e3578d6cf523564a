//! What happens to a request at each of Pingora's turning points.

use crate::core::class::Class;
use crate::metrics::Metrics;
use crate::proxy::choice::{self, Spot};
use crate::proxy::clocked::Clocked;
use crate::proxy::live::{Live, Preview};
use crate::proxy::record::{Record, classify};
use crate::proxy::{forward, reply, route};
use crate::store::{Board, Clock};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http::header::{EXPECT, HOST, SET_COOKIE};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for the next part of a request's body.
const CLIENT_READ: Duration = Duration::from_secs(60);

/// So much longer the backend is waited for while a body comes: the user's time is over first.
const UPLOAD_SLACK: Duration = Duration::from_secs(10);

/// The data plane as Pingora calls it.
pub struct Gateway {
    live: Arc<ArcSwap<Live>>,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
}

impl Gateway {
    /// Charges a failed attempt, and gives the request to another backend where one can take it.
    fn elsewhere(record: &mut Record, class: Class) -> bool {
        let now = Clock::now();
        record.charge(class, now);
        record.failed_attempt(class, now);
        if record.tries >= record.live().settings.retries {
            return false;
        }
        let (Some(service), Some(failed)) = (record.service(), record.spot()) else {
            return false;
        };
        let Some(next) = choice::second(service, failed, now) else {
            return false;
        };
        service.metrics(failed.color).retries.inc();
        record.tries += 1;
        record.hold(next);
        true
    }

    /// A gateway that follows the board.
    pub fn new(board: Arc<Board>, metrics: Arc<Metrics>) -> Gateway {
        Gateway {
            live: Live::follow(&board, metrics.clone()),
            board,
            metrics,
        }
    }

    /// Sends an answer of our own and keeps the connection.
    async fn refuse(session: &mut Session, record: &Record, status: u16) -> Result<bool> {
        let name = &record.live().settings.request_id;
        reply::send(session, status, record.id.as_ref().map(|id| (name, id))).await?;
        Ok(true)
    }

    /// Chooses service, colour and backend, once for the whole request.
    fn route(&self, session: &Session, record: &mut Record) -> Result<Spot, u16> {
        let request = session.req_header();
        let live = record.live().clone();
        let host = request
            .headers
            .get(HOST)
            .map_or(&b""[..], |host| host.as_bytes());
        let Some(at) = live.routes.find(host, request.uri.path()) else {
            self.metrics.unrouted.inc();
            return Err(404);
        };
        let service = &live.services[at];
        let asked = |preview: &Preview| preview.asked(&request.headers);
        if service.preview.as_ref().is_some_and(asked)
            && let Some(spot) = choice::preview(service, record.started())
        {
            record.preview(at);
            return Ok(spot);
        }
        let place = service.line.place(&request.headers);
        record.tell = place.tell.then_some(place.point);
        let color = route::color(service.weight, place.point);
        record.route(at, color);
        let now = record.started();
        let spot = choice::first(service, color, now);
        if spot.is_none_or(|spot| spot.color != color) {
            record.charge(Class::NoBackend, now);
            record.failed_attempt(Class::NoBackend, now);
        }
        spot.ok_or(503)
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Record;

    fn new_ctx(&self) -> Record {
        Record::new(self.live.load_full())
    }

    /// None: the default is a compression module that is off.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, record: &mut Record) -> Result<()> {
        if let Some(clocked) = Clocked::of(session) {
            clocked.answer_within(None);
        }
        let settings = &record.live().settings;
        if self.board.draining() {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            // No timeout of Pingora's: the connection times itself.
            session.set_keepalive(Some(0));
        }
        session.set_read_timeout(Some(CLIENT_READ));
        // Without it the first of two pipelined requests is answered with 400.
        session.set_pipelining_enabled(true);
        let id = forward::request_id(session, &settings.request_id);
        record.id = Some(id);
        forward::gate(session)
    }

    async fn request_filter(&self, session: &mut Session, record: &mut Record) -> Result<bool> {
        match self.route(session, record) {
            Ok(spot) => record.hold(spot),
            Err(status) => return Gateway::refuse(session, record, status).await,
        }
        let tunnel = session.is_upgrade_req();
        record.uploading = !tunnel && !session.as_downstream_mut().is_body_empty();
        // A user who waits for a word before sending the body waits for the backend.
        let waits = !record.uploading || session.req_header().headers.contains_key(EXPECT);
        if let Some(service) = record.service()
            && waits
            && (service.reads_longer || record.uploading || tunnel)
            && let Some(clocked) = Clocked::of(session)
        {
            clocked.answer_within(Some(service.first_byte));
        }
        Ok(false)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        record: &mut Record,
    ) -> Result<Box<HttpPeer>> {
        let (Some(service), Some(member)) = (record.service(), record.member()) else {
            return Error::e_explain(ErrorType::HTTPStatus(503), "no backend");
        };
        Ok(Box::new(if session.is_upgrade_req() {
            member.upgrade_peer(&service.dialer)
        } else if record.uploading {
            member.upload_peer(CLIENT_READ + UPLOAD_SLACK)
        } else {
            member.peer.clone()
        }))
    }

    /// A connection that was begun while its backend left may have reached whoever has the address now.
    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        record: &mut Record,
    ) -> Result<()> {
        if !record.member().is_some_and(|member| member.state.gone()) {
            return Ok(());
        }
        let error = Error::explain(ErrorType::ConnectRefused, "the backend has left meanwhile");
        Err(self.fail_to_connect(session, peer, record, error))
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        record: &mut Record,
        error: Box<Error>,
    ) -> Box<Error> {
        let mut error = error.into_up();
        let class = classify(Some(&error), 0);
        let again = Gateway::elsewhere(record, class);
        error.set_retry(again);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        record: &mut Record,
        reused: bool,
    ) -> Box<Error> {
        if Clocked::of(session).is_some_and(Clocked::expired) {
            // The user's connection keeps the time, the backend let it pass.
            let mut late = Error::explain(ErrorType::ReadTimedout, "first byte").into_up();
            late.set_retry(false);
            return late;
        }
        let method = &session.req_header().method;
        let whole = !session.as_ref().retry_buffer_truncated();
        let class = classify(Some(&error), 0);
        let unanswered = session.response_written().is_none() && !record.has_answer();
        if !reused && whole && unanswered && class == Class::Reset && method.is_safe() {
            // It died with the request in its hands: what only reads can be asked of another one.
            error.set_retry(Gateway::elsewhere(record, class));
            return error;
        }
        if method.is_idempotent() && whole {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
        if error.retry() {
            record.again();
        }
        error
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        end: bool,
        record: &mut Record,
    ) -> Result<()> {
        // No `.await` here: it would bring Pingora's upgrade bug back (see `upgrade`).
        if !record.uploading {
            return Ok(());
        }
        if end {
            record.uploaded();
        }
        let wait = record.service().map(|service| service.first_byte);
        if record.waits()
            && let Some(clocked) = Clocked::of(session)
        {
            clocked.answer_within(wait.filter(|_| end));
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        record: &mut Record,
    ) -> Result<()> {
        if let Some(preview) = record
            .service()
            .and_then(|service| service.preview.as_ref())
        {
            request.remove_header(&preview.header);
        }
        forward::request(
            session,
            &record.live().settings,
            record.id.as_ref(),
            request,
        )
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        record: &mut Record,
    ) -> Result<()> {
        if !is_final(response) {
            return Ok(());
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS && !session.is_upgrade_req() {
            // Pingora refuses it only when client and backend were told different things.
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "101 unasked").into_up());
        }
        if let Some(clocked) = Clocked::of(session) {
            clocked.answer_within(None);
        }
        record.answered(response.status.as_u16());
        forward::strip_hop_by_hop(response);
        if forward::is_stream(response) {
            record.charge(Class::Ok, Clock::now());
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        record: &mut Record,
    ) -> Result<()> {
        if !is_final(response) {
            return Ok(());
        }
        // Only here: before, Pingora has yet to refuse a 101 that nobody asked for.
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            record.upgraded();
            // A tunnel may be silent for hours.
            session.set_read_timeout(None);
        }
        if self.board.draining() {
            session.set_keepalive(None);
        }
        if let Some(point) = record.tell
            && let Some(cookie) = record
                .service()
                .and_then(|service| service.line.cookie(point))
        {
            response.append_header(SET_COOKIE, cookie)?;
        }
        forward::response(&record.live().settings, record.id.as_ref(), response)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        record: &mut Record,
    ) -> FailToProxy {
        let status = reply::status(error);
        session.set_keepalive(None);
        let written = session.response_written().is_some_and(is_final);
        if let (Some(status), false) = (status, written) {
            // The client may be gone by now: then nobody needs the answer.
            let _ = Gateway::refuse(session, record, status).await;
        }
        FailToProxy {
            error_code: status.unwrap_or(0),
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, record: &mut Record) {
        let status = session
            .response_written()
            .map_or(0, |response| response.status.as_u16());
        let class = match error {
            // Our own 503 is no answer of a backend.
            None if record.spot().is_none() => Class::NoBackend,
            error => classify(error, status),
        };
        record.end(status, class);
        record.bytes(session.body_bytes_read(), session.body_bytes_sent());
    }

    /// A client that left is its own business and is counted; a flood of such lines helps nobody.
    fn suppress_error_log(&self, _session: &Session, _record: &Record, error: &Error) -> bool {
        *error.esource() == ErrorSource::Downstream
            || matches!(error.etype(), ErrorType::HTTPStatus(_))
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _record: &Record,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// Whether nothing but a body may follow.
fn is_final(response: &ResponseHeader) -> bool {
    !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS
}
