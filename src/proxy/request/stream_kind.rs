//! Answers that go on for as long as both sides like: their lifetime is no request's duration.

use crate::proxy::request::headers;
use crate::proxy::upstream::grpc;
use pingora::http::ResponseHeader;
use std::time::{Duration, Instant};

/// A gRPC answer that ends more than this after its header is a stream: servers send the header of
/// a unary call together with its one message.
///
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>
const UNARY_MAX: Duration = Duration::from_secs(10);

/// Whether an answer may be a stream.
#[derive(Clone, Copy, Debug, Default)]
pub enum Lasting {
    /// The answer is no stream.
    #[default]
    No,
    /// A gRPC call, with the time of its answer's header: only its end shows whether it was a
    /// stream.
    Call(Instant),
    /// Server-sent events.
    Events,
}

impl Lasting {
    /// The kind of an answer, as far as its header shows it.
    pub fn of(response: &ResponseHeader, now: Instant) -> Lasting {
        if headers::is_stream(response) {
            Lasting::Events
        } else if grpc::is(&response.headers) {
            Lasting::Call(now)
        } else {
            Lasting::No
        }
    }

    /// From when on it is a stream for certain, where that is not so from the header on.
    ///
    /// A call is a stream at once when its request goes on after its answer has begun.
    pub fn known_from(self, uploading: bool) -> Option<Instant> {
        match self {
            Lasting::Call(since) if !uploading => Some(since + UNARY_MAX),
            Lasting::No | Lasting::Call(_) | Lasting::Events => None,
        }
    }

    /// Whether an answer that ends now was a stream.
    pub fn was_stream(self, now: Instant) -> bool {
        match self {
            Lasting::No => false,
            Lasting::Call(since) => now.saturating_duration_since(since) > UNARY_MAX,
            Lasting::Events => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_known_by_their_kind_and_calls_by_their_life() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        for (status, kind, short, long) in [
            (200, "text/event-stream", true, true),
            (200, "Text/Event-Stream; charset=utf-8", true, true),
            (500, "text/event-stream", false, false),
            (200, "text/html", false, false),
            (200, "application/grpc", false, true),
            (200, "application/grpc+proto", false, true),
            (200, "application/grpc-web", false, false),
        ] {
            let mut response = ResponseHeader::build(status, None).unwrap();
            response.insert_header("content-type", kind).unwrap();
            let lasting = Lasting::of(&response, start);
            let streams = (lasting.was_stream(later(9)), lasting.was_stream(later(11)));
            assert_eq!(streams, (short, long), "{status} {kind}");
        }
        let bare = ResponseHeader::build(200, None).unwrap();
        assert!(!Lasting::of(&bare, start).was_stream(later(1_000)));
    }
}
