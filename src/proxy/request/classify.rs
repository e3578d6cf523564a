//! Classifies errors of Pingora: how a request ended, and which side failed.

use crate::core::class::Class;
use pingora::{Error, ErrorSource, ErrorType};

/// The class of a request's end, from its error, if any, and the status that came.
pub(in crate::proxy) fn classify(error: Option<&Error>, status: u16) -> Class {
    let Some(error) = error else {
        return if status >= 500 {
            Class::ServerError
        } else {
            Class::Ok
        };
    };
    match error.esource() {
        ErrorSource::Upstream => upstream_fault(error.etype()),
        ErrorSource::Downstream => Class::ClientGaveUp,
        ErrorSource::Internal | ErrorSource::Unset => Class::Unknown,
    }
}

fn upstream_fault(kind: &ErrorType) -> Class {
    use ErrorType::*;
    match kind {
        ConnectTimedout | TLSHandshakeTimedout => Class::ConnectTimeout,
        ConnectRefused | ConnectNoRoute | ConnectError => Class::ConnectRefused,
        // No backend there that we may speak to.
        TLSHandshakeFailure | InvalidCert | HandshakeError => Class::ConnectRefused,
        ReadTimedout | WriteTimedout => Class::Timeout,
        ConnectionClosed | ReadError | WriteError => Class::Reset,
        // No local port or no descriptor left: our own failure.
        SocketError | BindError | InternalError => Class::Unknown,
        _ => Class::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(kind: ErrorType, source: ErrorSource) -> Class {
        let mut error = *Error::explain(kind, "test");
        error.esource = source;
        classify(Some(&error), 200)
    }

    #[test]
    fn only_what_the_pool_did_counts_against_it() {
        use ErrorSource::*;
        use ErrorType::*;
        let cases = [
            (ConnectRefused, Class::ConnectRefused),
            (ConnectNoRoute, Class::ConnectRefused),
            (ConnectTimedout, Class::ConnectTimeout),
            (TLSHandshakeFailure, Class::ConnectRefused),
            (TLSHandshakeTimedout, Class::ConnectTimeout),
            (ReadTimedout, Class::Timeout),
            (WriteTimedout, Class::Timeout),
            (ConnectionClosed, Class::Reset),
            (ReadError, Class::Reset),
            (InvalidHTTPHeader, Class::Protocol),
            (SocketError, Class::Unknown),
        ];
        for (kind, expected) in cases {
            assert_eq!(class(kind.clone(), Upstream), expected, "{kind:?}");
            assert_eq!(
                class(kind.clone(), Downstream),
                Class::ClientGaveUp,
                "{kind:?}"
            );
            assert_eq!(class(kind, Internal), Class::Unknown);
        }
        assert_eq!(classify(None, 499), Class::Ok);
        assert_eq!(classify(None, 500), Class::ServerError);
    }
}
