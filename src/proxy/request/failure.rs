//! What an error means for a request in flight: which side failed, whether it is retried, and how
//! it ends for its client.

use crate::core::class::Class;
use crate::proxy::downstream::timeout_stream::TimeoutStream;
use crate::proxy::request::attempt;
use crate::proxy::request::classify::classify;
use crate::proxy::request::context::RequestContext;
use crate::proxy::request::exchange::Exchange;
use crate::proxy::request::headers;
use crate::proxy::request::reply;
use crate::proxy::request::stream_kind::Lasting;
use crate::proxy::request::unprocessed;
use crate::proxy::upstream::deadline::ResponseDeadline;
use crate::proxy::upstream::grpc;
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, RetryType};
use std::io::{self, ErrorKind};
use std::time::Instant;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// gRPC's UNAVAILABLE: the client may retry the call.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// The error of a request that is ended because the version that serves it is drained.
pub(in crate::proxy) fn let_go() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "its version is let go").into_in()
}

/// Interprets an error of an exchange with a backend, and decides whether the request is retried.
pub(in crate::proxy) fn under_way(
    session: &Session,
    error: Box<Error>,
    record: &mut RequestContext,
    reused: bool,
) -> Box<Error> {
    if record.is_let_go() {
        return once(error);
    }
    let late = record
        .deadline
        .as_ref()
        .is_some_and(ResponseDeadline::expired);
    let shut = record.exchange.as_ref().is_some_and(Exchange::lost);
    let expired = TimeoutStream::of(session).is_some_and(TimeoutStream::expired);
    let mut error = if late || shut || expired {
        // The client's connection or the response deadline keeps the time, and the backend exceeded
        // it.
        let lost = record.member().is_some_and(|member| member.state.lost());
        if !lost {
            return once(Error::explain(ErrorType::ReadTimedout, "first byte").into_up());
        }
        if let Some(stream) = TimeoutStream::of(session) {
            stream.relieve();
        }
        Error::explain(ErrorType::ConnectionClosed, "its backend is lost").into_up()
    } else {
        timed(error, record.uploading)
    };
    (record.line, record.deadline) = (None, None);
    let silence = *error.etype() == ErrorType::ReadTimedout
        && *error.esource() == ErrorSource::Upstream
        && session.is_http2();
    if silence && was_free_to_be_silent(session, record) {
        record.outcome = Some(Class::Unknown);
        return once(error);
    }
    if silence && record.uploading {
        // Pingora does not time the parts of a body over HTTP/2: the client was silent.
        return once(Error::explain(ErrorType::ReadTimedout, "request body").into_down());
    }
    let again = asked_again(session, &mut error, record, reused);
    error.set_retry(again);
    error
}

/// Whether the backend of a gRPC call was free to be silent: its stream had begun, or both sides
/// could send.
fn was_free_to_be_silent(session: &Session, record: &RequestContext) -> bool {
    let call = grpc::is(&session.req_header().headers);
    let streams = matches!(record.lasting, Lasting::Call(_))
        && (record.uploading || record.lasting.was_stream(Instant::now()));
    streams || call && record.uploading
}

/// Whether the request is retried.
fn asked_again(
    session: &Session,
    error: &mut Error,
    record: &mut RequestContext,
    reused: bool,
) -> bool {
    let method = &session.req_header().method;
    let whole = !session.as_ref().retry_buffer_truncated();
    let class = classify(Some(&*error), 0);
    let unanswered = session.response_written().is_none() && !record.has_answer();
    let closed = class == Class::Reset && matches!(error.retry, RetryType::ReusedOnly);
    let stale = unanswered && closed && record.was_stale();
    if unanswered
        && whole
        && let Some(how) = unprocessed::said(error)
        && attempt::unprocessed(record, how)
    {
        return true;
    }
    if !stale && whole && unanswered && class == Class::Reset && method.is_safe() {
        // The connection ended while the backend had the request: only a safe method can be
        // retried.
        return attempt::again(record, error, reused);
    }
    if !method.is_idempotent() || !whole {
        return false;
    }
    error.retry.decide_reuse(stale);
    if error.retry() {
        record.again();
    }
    error.retry()
}

fn once(mut error: Box<Error>) -> Box<Error> {
    error.set_retry(false);
    error
}

/// Turns an error into a timeout where the system gave up a backend that took or acknowledged
/// nothing for too long (`TCP_USER_TIMEOUT`): that is no reset.
fn timed(mut error: Box<Error>, uploading: bool) -> Box<Error> {
    if *error.esource() == ErrorSource::Upstream && given_up(&error) {
        error.etype = match uploading {
            true => ErrorType::WriteTimedout,
            false => ErrorType::ReadTimedout,
        };
        error.set_retry(false);
    }
    error
}

fn given_up(error: &Error) -> bool {
    let Some(cause) = &error.cause else {
        return false;
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(cause.as_ref());
    while let Some(one) = cause {
        if let Some(error) = one.downcast_ref::<Box<Error>>() {
            return given_up(error);
        }
        if let Some(error) = one.downcast_ref::<h2::Error>() {
            return error
                .get_io()
                .is_some_and(|error| error.kind() == ErrorKind::TimedOut);
        }
        if let Some(error) = one.downcast_ref::<io::Error>() {
            return error.kind() == ErrorKind::TimedOut;
        }
        cause = one.source();
    }
    false
}

/// Ends a request for its client, as far as that is still possible; returns the status of an answer
/// of our own, if any.
pub(in crate::proxy) async fn tell(
    session: &mut Session,
    error: &Error,
    record: &RequestContext,
) -> Option<u16> {
    let refused = TimeoutStream::of(session).and_then(TimeoutStream::body_refused);
    let status = refused
        .map(|refused| refused.status)
        .or(reply::status(error));
    session.set_keepalive(None);
    let answer = session.response_written();
    let begun = answer.filter(|answer| headers::is_final(answer));
    let call = begun.is_some_and(|answer| grpc::is(&answer.headers));
    // The client may be gone by now: then it does not matter that a write fails.
    match (begun.is_some(), status) {
        (false, Some(status)) => {
            let settings = &record.live().settings;
            let _ = reply::send(session, status, settings, record.id.as_ref(), None).await;
        }
        (true, Some(_)) if call && session.is_http2() => {
            let ended = trailers(words(error, record));
            let _ = session
                .as_downstream_mut()
                .write_response_trailers(ended)
                .await;
        }
        (true, _) if record.is_let_go() => {
            let _ = session.write_response_body(None, true).await;
        }
        _ => {}
    }
    status
}

/// The trailers that end a gRPC call when its backend has not ended it.
fn trailers(words: &'static str) -> HeaderMap {
    let mut ended = HeaderMap::new();
    ended.insert(GRPC_STATUS, UNAVAILABLE);
    ended.insert(GRPC_MESSAGE, HeaderValue::from_static(words));
    ended
}

fn words(error: &Error, record: &RequestContext) -> &'static str {
    match error.etype() {
        _ if record.is_let_go() => "the version that served it is let go",
        ErrorType::ReadTimedout => "nothing came for as long as timeouts.read allows",
        ErrorType::WriteTimedout => "the service took nothing for as long as timeouts.write allows",
        _ => "the service broke off its answer",
    }
}

/// Why a request got no whole answer, in the words of the metrics where they have one; `None` where
/// it got one.
pub(in crate::proxy) fn reason(
    record: &RequestContext,
    class: Class,
    error: Option<&Error>,
) -> Option<&'static str> {
    if record.is_let_go() {
        return Some("let_go");
    }
    let error = error?;
    let timed = *error.etype() == ErrorType::ReadTimedout;
    Some(match (error.etype(), error.esource()) {
        (ErrorType::HTTPStatus(_), _) => "refused",
        (ErrorType::ReadTimedout, ErrorSource::Downstream) => "slow_body",
        (ErrorType::WriteTimedout, ErrorSource::Upstream) => "write_timeout",
        _ if timed && record.has_answer() => "silent",
        _ => class.name(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_gave_up_is_a_timeout() {
        let system = |kind| {
            let cause = io::Error::from(kind);
            Error::because(ErrorType::ReadError, "reading", cause).into_up()
        };
        let kind = |error: Box<Error>, uploading| timed(error, uploading).etype().clone();
        assert_eq!(
            kind(system(ErrorKind::TimedOut), true),
            ErrorType::WriteTimedout
        );
        assert_eq!(
            kind(system(ErrorKind::TimedOut), false),
            ErrorType::ReadTimedout
        );
        let wrapped = Error::because(ErrorType::WriteError, "body", system(ErrorKind::TimedOut));
        assert_eq!(kind(wrapped.into_up(), true), ErrorType::WriteTimedout);
        let reset = system(ErrorKind::ConnectionReset);
        assert_eq!(kind(reset, true), ErrorType::ReadError);
        let mut user = system(ErrorKind::TimedOut);
        user.esource = ErrorSource::Downstream;
        assert_eq!(kind(user, true), ErrorType::ReadError);
    }
}
