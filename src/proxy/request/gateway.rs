//! What happens to a request at each of Pingora's callbacks.

use crate::config::Protocol;
use crate::core::class::Class;
use crate::metrics::Metrics;
use crate::proxy::downstream::timeout_stream::{TimeoutStream, WRITE_STALL};
use crate::proxy::request::attempt;
use crate::proxy::request::classify::classify;
use crate::proxy::request::content;
use crate::proxy::request::context::RequestContext;
use crate::proxy::request::edge::Edge;
use crate::proxy::request::failure;
use crate::proxy::request::headers;
use crate::proxy::request::identity;
use crate::proxy::request::mirror;
use crate::proxy::request::reply;
use crate::proxy::request::stream_kind::Lasting;
use crate::proxy::request::tunnel_drain::User;
use crate::proxy::routing::connection_memory::Visit;
use crate::proxy::routing::snapshot::RoutingSnapshot;
use crate::proxy::upstream::deadline::SocketHandle;
use crate::proxy::upstream::grpc;
use crate::proxy::upstream::tls;
use crate::store::{Clock, SharedState};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{EXPECT, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest wait for the next part of a request's body.
const CLIENT_READ: Duration = Duration::from_secs(60);

/// How much longer the backend is waited for while a body comes: the client's timeout ends first.
const UPLOAD_SLACK: Duration = Duration::from_secs(10);

/// The data plane as Pingora calls it.
pub struct Gateway {
    live: Arc<ArcSwap<RoutingSnapshot>>,
    board: Arc<SharedState>,
    metrics: Arc<Metrics>,
    edge: Arc<Edge>,
}

impl Gateway {
    /// A gateway that follows the shared state.
    pub fn new(board: Arc<SharedState>, metrics: Arc<Metrics>, edge: Arc<Edge>) -> Gateway {
        Gateway {
            live: RoutingSnapshot::follow(&board, metrics.clone()),
            board,
            metrics,
            edge,
        }
    }

    /// The state that every connection shares.
    pub fn edge(&self) -> &Arc<Edge> {
        &self.edge
    }

    /// Sends an answer of our own and keeps the connection.
    async fn refuse(session: &mut Session, context: &RequestContext, status: u16) -> Result<bool> {
        let settings = &context.live().settings;
        reply::send(session, status, settings, context.id.as_ref(), None).await?;
        Ok(true)
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new(self.live.load_full())
    }

    /// No modules: the default is a compression module that is off.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<()> {
        if let Some(stream) = TimeoutStream::of(session) {
            stream.request_began();
        }
        let settings = &context.live().settings;
        if self.board.draining() {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            // No timeout of Pingora's: the connection times itself.
            session.set_keepalive(Some(0));
        }
        session.set_read_timeout(Some(CLIENT_READ));
        if session.is_http2() {
            // A client that takes nothing must not hold a backend for ever; over HTTP/1
            // `TimeoutStream` sees to it.
            session.set_write_timeout(Some(WRITE_STALL));
        }
        // Without this, the first of two pipelined requests is answered with 400.
        session.set_pipelining_enabled(true);
        let id = headers::request_id(session, &settings.request_id);
        context.id = Some(id);
        headers::gate(session, &context.live().settings.limits)?;
        self.edge.pace(session, &context.live().settings)
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<bool> {
        if let Some(proof) = self.edge.proof(session) {
            reply::proof(session, proof).await?;
            return Ok(true);
        }
        let (live, id) = (context.live(), context.id.as_ref());
        if let Some(location) = headers::redirect(session, &live.settings)
            && live.find(session.req_header()).is_some()
        {
            reply::send(session, 308, &live.settings, id, Some(location)).await?;
            return Ok(true);
        }
        let now = context.started();
        let visit = |live: &RoutingSnapshot| Visit::of(session, &live.settings, now);
        match attempt::first(context, session.req_header(), visit, &self.metrics) {
            Ok(spot) => context.hold(spot),
            Err(status) => return Gateway::refuse(session, context, status).await,
        }
        let tunnel = session.is_upgrade_req();
        context.uploading = !session.as_downstream_mut().is_body_empty();
        // A client that waits for `100 Continue` before it sends the body waits for the backend.
        let waits = !context.uploading || session.req_header().headers.contains_key(EXPECT);
        if let Some(service) = context.service()
            && waits
            && (service.reads_longer || context.uploading || tunnel)
            && let Some(stream) = TimeoutStream::of(session)
        {
            stream.answer_within(Some(service.first_byte));
        }
        Ok(false)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        let (Some(service), Some(member)) = (context.service(), context.member()) else {
            return Error::e_explain(ErrorType::HTTPStatus(503), "no backend");
        };
        let mut peer = if session.is_upgrade_req() {
            member.upgrade_peer(&service.dialer)
        } else if context.uploading && !grpc::is(&session.req_header().headers) {
            member.upload_peer(CLIENT_READ + UPLOAD_SLACK)
        } else {
            member.peer.clone()
        };
        if member.state.doubted() {
            peer.options.custom_l4 = Some(Arc::new(identity::NoNewConnection));
        }
        Ok(Box::new(peer))
    }

    /// A connection that was begun while its backend left may have reached the backend that has the
    /// address now.
    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        fd: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        context: &mut RequestContext,
    ) -> Result<()> {
        context.asked = reused.then(Instant::now);
        if let (Some(stream), Some(member)) = (TimeoutStream::of(session), context.member()) {
            stream.waits_for(&member.state);
        }
        if identity::admits(context, reused, digest) {
            if let Some(service) = context.service()
                && session.is_http2()
                && service.protocol == Protocol::Http1
            {
                let (first_byte, longer) = (service.first_byte, service.reads_longer);
                let line = SocketHandle::to_backend(fd);
                context.watch_loss(line.as_ref());
                if longer || context.uploading {
                    context.line = line;
                }
                if longer && !context.uploading {
                    context.expire_after(first_byte);
                }
            }
            return Ok(());
        }
        let error = Error::explain(ErrorType::ConnectRefused, "the backend has left meanwhile");
        Err(self.fail_to_connect(session, peer, context, error))
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        context: &mut RequestContext,
        error: Box<Error>,
    ) -> Box<Error> {
        let mut error = error.into_up();
        if *error.etype() == ErrorType::TLSHandshakeFailure
            && let (Some(service), Some(member)) = (context.service(), context.member())
        {
            tls::tell(&service.name, &member.state.id, &error);
        }
        identity::noted(context, &error);
        // A full accept queue may have room a moment later; a backend that refuses has no queue.
        let full = *error.etype() == ErrorType::ConnectTimedout;
        let again = attempt::again(context, &error, full);
        error.set_retry(again);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut RequestContext,
        reused: bool,
    ) -> Box<Error> {
        failure::under_way(session, error, context, reused)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut RequestContext,
    ) -> Result<()> {
        // No `.await` here: it would bring Pingora's upgrade bug back (see `upgrade`).
        // An empty last frame of HTTP/2 would be a last chunk, and Pingora adds one of its own: the
        // backend would read that as the beginning of the next request.
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        if session.is_http2() && context.is_let_go() {
            // An error of the client's side: Pingora takes another one for the backend's, and goes
            // on to wait for an answer.
            return Err(failure::let_go().into_down());
        }
        if !context.uploading || context.upgraded {
            return Ok(());
        }
        let most = context.live().settings.limits.body;
        if most.is_some_and(|most| session.body_bytes_read() as u64 > most) {
            return Err(Error::explain(ErrorType::HTTPStatus(413), "body size").into_down());
        }
        if end {
            context.uploaded();
        }
        let wait = context.service().map(|service| service.first_byte);
        if context.waits()
            && let Some(stream) = TimeoutStream::of(session)
        {
            stream.answer_within(wait.filter(|_| end));
        }
        if end
            && context.waits()
            && let Some(wait) = wait
        {
            context.expire_after(wait);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        if let Some(preview) = context
            .service()
            .and_then(|service| service.preview.as_ref())
        {
            request.remove_header(&preview.header);
        }
        let backend = context.member().map(|member| member.state.addr);
        headers::request(
            session,
            backend,
            &context.live().settings,
            context.id.as_ref(),
            request,
        )
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        if !headers::is_final(response) {
            return Ok(());
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS && !session.is_upgrade_req() {
            // Pingora refuses it only when client and backend were told different things.
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "101 unasked").into_up());
        }
        if let Some(stream) = TimeoutStream::of(session) {
            stream.waits_no_more();
            stream.answer_within(None);
        }
        identity::answered(context);
        context.answered(response.status.as_u16());
        context.lasting = Lasting::of(response, Instant::now());
        if grpc::is(&response.headers) {
            context.grpc_failed = grpc::failed(&response.headers);
        }
        headers::strip_hop_by_hop(response);
        match context.lasting {
            Lasting::Events => context.charge(Class::Ok, Clock::now()),
            Lasting::No | Lasting::Call(_) => context.await_last_byte(),
        }
        let two_way = matches!(context.lasting, Lasting::Call(_)) && context.uploading;
        if two_way || matches!(context.lasting, Lasting::Events) {
            self.edge.began(session, context, response.status.as_u16());
        }
        if !matches!(context.lasting, Lasting::No) {
            let user = User::of(session, context.exchange.as_ref());
            context.streams(user, context.lasting.known_from(context.uploading));
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut RequestContext,
    ) -> Result<()> {
        if !headers::is_final(response) {
            return Ok(());
        }
        // Only here: before, Pingora has yet to refuse a 101 without a request for an upgrade.
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            if let Some(stream) = TimeoutStream::of(session) {
                stream.becomes_tunnel();
            }
            context.upgraded(User::of(session, None));
            self.edge.began(session, context, 101);
            // A tunnel may be silent for hours.
            session.set_read_timeout(None);
        }
        if self.board.draining() {
            session.set_keepalive(None);
        }
        if let (Some(place), Some(service)) = (context.tell, context.service())
            && !headers::is_shared(response)
        {
            let secure = headers::by_https(session, &context.live().settings);
            if let Some(cookie) = service.line.cookie(place.point, place.home, secure) {
                response.append_header(SET_COOKIE, cookie)?;
            }
        }
        headers::response(
            session,
            &context.live().settings,
            context.id.as_ref(),
            response,
        )
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut RequestContext,
    ) -> FailToProxy {
        let status = failure::tell(session, error, context).await;
        FailToProxy {
            error_code: status.unwrap_or(0),
            can_reuse_downstream: false,
        }
    }

    /// Over HTTP/2, the next message ends a stream of a version that is drained.
    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        end: bool,
        context: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        match !end && session.is_http2() && context.is_let_go() {
            true => Err(failure::let_go()),
            false => Ok(None),
        }
    }

    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        context: &mut RequestContext,
    ) -> Result<()> {
        if let Some(failed) = grpc::failed(trailers) {
            context.grpc_failed = Some(failed);
        }
        Ok(())
    }

    async fn logging(
        &self,
        session: &mut Session,
        error: Option<&Error>,
        context: &mut RequestContext,
    ) {
        let status = session
            .response_written()
            .map_or(0, |response| response.status.as_u16());
        let class = match error {
            // Our own 503 is not an answer of a backend.
            None if context.spot().is_none() => Class::NoBackend,
            None if context.grpc_failed == Some(true) => Class::ServerError,
            None => context.refusal(status),
            Some(_) if context.is_let_go() => Class::Ok,
            Some(error) => context
                .outcome
                .unwrap_or_else(|| classify(Some(error), status)),
        };
        context.reason = failure::reason(context, class, error);
        if error.is_none() {
            content::count(session, context);
        }
        context.end(status, class);
        context.blame(session.req_header(), status);
        context.bytes(session.body_bytes_read(), session.body_bytes_sent());
        self.edge.ended(session, context, status, error);
        if error.is_none() {
            mirror::copy(session, context, status);
        }
    }

    /// A client that left is counted, and not logged: a flood of such lines would be of no use.
    fn suppress_error_log(
        &self,
        _session: &Session,
        _record: &RequestContext,
        error: &Error,
    ) -> bool {
        *error.esource() == ErrorSource::Downstream
            || matches!(error.etype(), ErrorType::HTTPStatus(_))
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _record: &RequestContext,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
