//! Requests that an HTTP/2 backend says it did not begin to process: they may be sent again
//! whatever their method, and the backend has not failed (RFC 9113, 6.8 and 8.7).

use pingora::Error;

/// How a backend says that it did not process a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprocessed {
    /// REFUSED_STREAM: it has too many requests.
    Refused,
    /// GOAWAY without an error, which does not cover the stream: it ends the connection in order.
    Leaving,
}

/// How the backend said that the request was not processed; `None` for any other error.
pub(in crate::proxy) fn said(error: &Error) -> Option<Unprocessed> {
    let cause = error.cause.as_ref()?;
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(cause.as_ref());
    while let Some(one) = cause {
        if let Some(error) = one.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let leaving = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return match error.is_remote() {
                true if refused => Some(Unprocessed::Refused),
                true if leaving => Some(Unprocessed::Leaving),
                _ => None,
            };
        }
        cause = one.source();
    }
    None
}
