//! The host that a request names.

use http::header::HOST;
use pingora::http::RequestHeader;

/// The host that a request is for: HTTP/2 has it in the pseudo-header `:authority`.
pub fn authority(request: &RequestHeader) -> &[u8] {
    match (request.headers.get(HOST), request.uri.authority()) {
        (Some(host), _) => host.as_bytes(),
        (None, Some(authority)) => authority.as_str().as_bytes(),
        (None, None) => b"",
    }
}
