//! Requests that a backend of HTTP/2 says it did not begin with: they may be sent again whatever their method, and the
//! backend has not failed (RFC 9113, 6.8 and 8.7).

use pingora::Error;

/// Whether the error is the backend's word that the request was not processed: REFUSED_STREAM, or a GOAWAY without an
/// error that does not cover the stream.
pub(super) fn said(error: &Error) -> bool {
    let Some(cause) = &error.cause else {
        return false;
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(cause.as_ref());
    while let Some(one) = cause {
        if let Some(error) = one.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let ended = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return error.is_remote() && (refused || ended);
        }
        cause = one.source();
    }
    false
}
