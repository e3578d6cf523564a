//! A client's connection on which only one reading of HTTP/1 is possible: see
//! [`http1`](crate::proxy::downstream::http1).
//!
//! A refused header is answered here, since Pingora gives no answer to a connection that fails; a
//! refused body fails the request that is under way.

use crate::proxy::downstream::http1::{HeaderLimits, Http1, Rejection};
use crate::proxy::downstream::min_body_rate::MinBodyRate;
use crate::proxy::downstream::rejection;
use crate::proxy::request::edge::Edge;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a refused client may go on sending: a connection that is closed before everything was
/// read discards the answer.
const LINGER: Duration = Duration::from_secs(1);

const TOO_SLOW: Rejection = Rejection {
    status: 408,
    why: "the body comes too slowly",
};

/// How the requests of a client are validated.
pub struct ValidationConfig {
    /// How large a header may be.
    pub limits: HeaderLimits,
    /// How long a body may keep us waiting.
    pub body_time: Duration,
    /// The address of the client, for the access log.
    pub client: IpAddr,
    /// The edge that counts and logs refusals.
    pub edge: Arc<Edge>,
}

/// Validates the bytes that are read from `S`.
pub struct ValidatingStream<S> {
    stream: S,
    /// `None` where the protocol is not HTTP/1.
    http1: Option<Http1>,
    told: Option<(Arc<Edge>, IpAddr)>,
    body_time: Duration,
    /// The minimum rate of the current body.
    pace: Option<Box<MinBodyRate>>,
    /// A request is being answered: no other answer may be sent in between.
    answering: AtomicBool,
    tunnel: AtomicBool,
    /// Bytes behind a request for an upgrade: their meaning depends on the answer.
    held: Vec<u8>,
    farewell: Option<Farewell>,
}

/// The end of a refused connection.
#[derive(Debug)]
struct Farewell {
    answer: Vec<u8>,
    written: usize,
    shut: bool,
    until: Pin<Box<Sleep>>,
}

impl<S> ValidatingStream<S> {
    /// A connection before its first request.
    pub fn new(stream: S, rules: Option<ValidationConfig>) -> ValidatingStream<S> {
        ValidatingStream {
            stream,
            http1: rules.as_ref().map(|rules| Http1::new(rules.limits)),
            body_time: rules
                .as_ref()
                .map_or(Duration::MAX, |rules| rules.body_time),
            pace: None,
            told: rules.map(|rules| (rules.edge, rules.client)),
            answering: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            held: Vec::new(),
            farewell: None,
        }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The header of a request was read.
    pub fn request_began(&self) {
        self.answering.store(true, Relaxed);
    }

    /// The request was answered, and its connection is kept.
    pub fn request_ended(&self) {
        self.answering.store(false, Relaxed);
    }

    /// From now on the connection carries another protocol.
    pub fn becomes_tunnel(&self) {
        self.tunnel.store(true, Relaxed);
    }

    /// Why the current body is refused.
    pub fn body_refused(&self) -> Option<Rejection> {
        self.http1
            .as_ref()
            .filter(|http1| http1.in_body())?
            .refused()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ValidatingStream<S> {
    /// Reads bytes that were held back, or else from the stream below; returns how many.
    fn poll_any(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        if self.held.is_empty() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            return Poll::Ready(Ok(buf.filled().len() - before));
        }
        let count = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..count]);
        self.held.drain(..count);
        Poll::Ready(Ok(count))
    }

    /// Nothing of the current body has come; ready when it is refused for that.
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let grace = self.body_time;
        let pace = self
            .pace
            .get_or_insert_with(|| Box::new(MinBodyRate::new(grace)));
        ready!(pace.poll_wait(cx));
        if let Some(http1) = &mut self.http1 {
            http1.refuse(TOO_SLOW);
        }
        Poll::Ready(())
    }

    /// Counts bytes that came; the rate is no longer measured when the body has ended.
    fn keep_pace(&mut self, bytes: usize) {
        if !self.http1.as_ref().is_some_and(Http1::in_body) {
            self.pace = None;
        } else if let Some(pace) = &mut self.pace {
            pace.came(bytes, Instant::now());
        }
    }

    /// The result of a read after a refusal.
    fn poll_refused(
        &mut self,
        refusal: Rejection,
        in_body: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Error> {
        let error = || io::Error::new(ErrorKind::InvalidData, refusal.why);
        if in_body {
            return Poll::Ready(error());
        }
        if *self.answering.get_mut() {
            // The request before it gets its answer first; the next poll comes here again.
            return Poll::Pending;
        }
        if let Some((edge, client)) = self.told.take() {
            edge.unread(client, refusal);
        }
        let farewell = self.farewell.get_or_insert_with(|| Farewell {
            answer: rejection::bare(refusal.status),
            written: 0,
            shut: false,
            until: Box::pin(tokio::time::sleep(LINGER)),
        });
        // The result does not matter: this connection is over.
        let _ = ready!(farewell.poll(Pin::new(&mut self.stream), cx));
        Poll::Ready(error())
    }
}

impl Farewell {
    /// Sends the answer, closes our side, and reads until the client has closed its side.
    fn poll<S: AsyncRead + AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.answer.len() {
            match ready!(stream.as_mut().poll_write(cx, &self.answer[self.written..]))? {
                0 => return Poll::Ready(Ok(())),
                written => self.written += written,
            }
        }
        if !self.shut {
            // Flushes first.
            ready!(stream.as_mut().poll_shutdown(cx))?;
            self.shut = true;
        }
        let mut scratch = [0; 4_096];
        loop {
            let mut scratch = ReadBuf::new(&mut scratch);
            ready!(stream.as_mut().poll_read(cx, &mut scratch))?;
            if scratch.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ValidatingStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let Some(http1) = this.http1.as_mut().filter(|_| !*this.tunnel.get_mut()) else {
                return this.poll_any(cx, buf).map_ok(|_| ());
            };
            if let Some(refusal) = http1.refused() {
                let in_body = http1.in_body();
                return this.poll_refused(refusal, in_body, cx).map(Err);
            }
            if http1.waits() {
                if *this.answering.get_mut() {
                    // The next call comes with the answer.
                    return Poll::Pending;
                }
                http1.stays_http();
            }
            let in_body = http1.in_body();
            let before = buf.filled().len();
            let Poll::Ready(read) = this.poll_any(cx, buf)? else {
                if in_body {
                    ready!(this.poll_pace(cx));
                    continue;
                }
                return Poll::Pending;
            };
            let good = match &mut this.http1 {
                Some(http1) => http1.follow(&buf.filled()[before..]),
                None => read,
            };
            this.keep_pace(good);
            if this.http1.as_ref().is_some_and(Http1::waits) {
                let behind = &buf.filled()[before + good..];
                this.held.splice(..0, behind.iter().copied());
            }
            buf.set_filled(before + good);
            // No byte would mean the end of the stream to the reader.
            if good > 0 || read == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ValidatingStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
