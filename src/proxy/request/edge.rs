//! What all client connections and requests share: admission, refusals, and the access log.

use crate::config::{AccessFormat, AccessLog};
use crate::metrics::Metrics;
use crate::proxy::access_log::format::{self, Entry};
use crate::proxy::access_log::writer::AccessLogWriter;
use crate::proxy::downstream::acme::{CHALLENGE, Issued};
use crate::proxy::downstream::http1::Rejection;
use crate::proxy::downstream::rejection;
use crate::proxy::downstream::timeout_stream::TimeoutStream;
use crate::proxy::limits::per_address::AddressLimiter;
use crate::proxy::request::context::RequestContext;
use crate::proxy::request::headers;
use crate::proxy::routing::authority::authority;
use crate::proxy::routing::snapshot::Settings;
use arc_swap::ArcSwapOption;
use http::header::{REFERER, USER_AGENT};
use http::{HeaderValue, Version};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a client that is turned away may take to read why.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The edge of the proxy.
pub struct Edge {
    /// Connections and request rates by client address.
    pub limiter: AddressLimiter,
    /// The ACME certificate, where there is one.
    pub issued: ArcSwapOption<Issued>,
    metrics: Arc<Metrics>,
    log: Option<(AccessFormat, AccessLogWriter)>,
    /// Tunnels and streams are also logged when they begin.
    begins: bool,
}

impl Edge {
    /// An edge that writes this access log.
    ///
    /// # Errors
    /// When the log's file cannot be opened.
    pub fn new(metrics: Arc<Metrics>, log: Option<&AccessLog>) -> io::Result<Edge> {
        let start = |log: &AccessLog| {
            let scribe =
                AccessLogWriter::start(log.file.as_deref(), metrics.access_dropped.clone())?;
            Ok::<_, io::Error>((log.format, scribe))
        };
        Ok(Edge {
            limiter: AddressLimiter::default(),
            issued: ArcSwapOption::empty(),
            begins: log.is_some_and(|log| log.begins),
            log: log.map(start).transpose()?,
            metrics,
        })
    }

    /// Reopens the log's file, as log rotation expects.
    pub fn reopen(&self) {
        if let Some((_, scribe)) = &self.log {
            scribe.reopen();
        }
    }

    /// The answer to the challenge of an ACME authority; `None` for other requests.
    pub fn proof(&self, session: &Session) -> Option<String> {
        let token = session.req_header().uri.path().strip_prefix(CHALLENGE)?;
        self.issued.load().as_ref()?.proof(token)
    }

    /// Whether requests are logged.
    fn logs(&self) -> bool {
        self.log.is_some()
    }

    /// Writes a log line about a request; never waits.
    fn tell(&self, entry: &Entry<'_>) {
        if let Some((format, scribe)) = &self.log {
            scribe.write(format::line(*format, entry));
        }
    }

    /// Counts and logs a request that was refused before it could be parsed.
    pub fn unread(&self, client: IpAddr, refusal: Rejection) {
        self.refused(refusal.status);
        if self.logs() {
            self.tell(&Entry {
                status: refusal.status,
                refused: Some(refusal.why),
                ..Entry::of(client)
            });
        }
    }

    /// Tells a client with too many connections so, and waits up to 500 ms until that was read.
    pub async fn turn_away(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        client: IpAddr,
        in_http1: bool,
    ) {
        let refusal = Rejection {
            status: 429,
            why: "too many connections",
        };
        self.unread(client.to_canonical(), refusal);
        if !in_http1 {
            return;
        }
        let told = async {
            stream.write_all(&rejection::bare(refusal.status)).await?;
            stream.shutdown().await?;
            let mut rest = [0; 4_096];
            while stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // A client that does not read it has had the chance.
        let _ = tokio::time::timeout(LAST_WORDS, told).await;
    }

    /// Refuses a client that exceeds the rate limit.
    ///
    /// # Errors
    /// The refusal, with status 429.
    pub fn pace(&self, session: &Session, settings: &Settings) -> Result<()> {
        if let Some(most) = settings.limits.requests_per_address
            && let Some(user) = headers::user(session, &settings.trust)
            && !self.limiter.asks(user, most, Instant::now())
        {
            return Error::e_explain(ErrorType::HTTPStatus(429), "too many requests");
        }
        Ok(())
    }

    /// Counts and logs a request that has ended; `status` is what the client got, 0 for none.
    pub fn ended(
        &self,
        session: &Session,
        record: &RequestContext,
        status: u16,
        error: Option<&Error>,
    ) {
        if let Some(refused) = TimeoutStream::of(session).and_then(TimeoutStream::body_refused) {
            self.refused(refused.status);
        } else if let Some(ErrorType::HTTPStatus(
            status @ 400..=499 | status @ 501 | status @ 505,
        )) = error.map(Error::etype)
        {
            self.refused(*status);
        }
        self.describe(session, record, status, false);
    }

    /// Logs a tunnel or a stream that begins, where that is configured.
    pub fn began(&self, session: &Session, record: &RequestContext, status: u16) {
        if self.begins {
            self.describe(session, record, status, true);
        }
    }

    /// Logs a request that has ended, or a tunnel or a stream that begins.
    fn describe(&self, session: &Session, record: &RequestContext, status: u16, begins: bool) {
        if !self.logs() {
            return;
        }
        let (request, live) = (session.req_header(), record.live());
        let Some(client) = headers::user(session, &live.settings.trust) else {
            return;
        };
        let header = |name| {
            request
                .headers
                .get(name)
                .map_or(&b""[..], HeaderValue::as_bytes)
        };
        let (service, color) = (record.service(), record.color());
        let release = service
            .zip(color)
            .map(|(service, color)| service.releases[color.index()].as_str());
        self.tell(&Entry {
            method: request.method.as_str(),
            target: request.raw_path(),
            version: match request.version {
                Version::HTTP_2 => "HTTP/2.0",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            host: authority(request),
            status,
            service: service.map(|service| service.name.as_str()),
            pool: color,
            release,
            backend: record.member().map(|member| member.state.id.as_str()),
            total: record.age(),
            first_byte: record.first_byte(),
            received: session.body_bytes_read(),
            sent: session.body_bytes_sent(),
            id: record.id.as_ref().map_or(b"", HeaderValue::as_bytes),
            referer: header(REFERER),
            agent: header(USER_AGENT),
            unjudged: record.unjudged,
            reason: record.reason,
            begins,
            ..Entry::of(client)
        });
    }

    /// Counts a refused request.
    fn refused(&self, status: u16) {
        self.metrics.refused(status);
    }
}
