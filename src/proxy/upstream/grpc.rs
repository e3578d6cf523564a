//! gRPC over HTTP/2: the HTTP status is 200 whatever happened, the outcome is in the trailers.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// The status codes that are the server's fault, as OpenTelemetry's semantic conventions count them:
/// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
///
/// <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>
const SERVER_ERRORS: [&[u8]; 6] = [b"2", b"4", b"12", b"13", b"14", b"15"];

/// Whether headers are those of a gRPC call or its answer.
pub fn is(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let rest = kind.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

/// Whether the call failed by the server's fault, according to the trailers, or to the headers
/// where nothing else follows.
///
/// `None` when they do not say.
pub fn failed(headers: &HeaderMap) -> Option<bool> {
    let status = headers.get("grpc-status")?;
    Some(SERVER_ERRORS.contains(&status.as_bytes()))
}

/// The body of a health check: a `HealthCheckRequest` with the service's name, in gRPC's framing.
///
/// `None` for a name of 126 bytes or more.
///
/// <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>
pub fn health_request(service: &str) -> Option<Vec<u8>> {
    // One length byte is enough: protobuf writes lengths below 128 in one.
    let length = u8::try_from(service.len()).ok().filter(|n| *n < 126)?;
    let mut message = vec![];
    if length > 0 {
        message.extend([0x0a, length]);
        message.extend(service.as_bytes());
    }
    let mut framed = vec![0, 0, 0, 0, message.len() as u8];
    framed.extend(message);
    Some(framed)
}

/// A `HealthCheckResponse` that says SERVING, in gRPC's framing.
pub const SERVING: [u8; 7] = [0, 0, 0, 0, 2, 0x08, 1];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn only_the_servers_faults_are_failures() {
        let codes: Vec<u8> = (0..=16)
            .filter(|code| failed(&headers("grpc-status", &code.to_string())) == Some(true))
            .collect();
        assert_eq!(codes, [2, 4, 12, 13, 14, 15]);
        assert_eq!(failed(&HeaderMap::new()), None);
        assert_eq!(failed(&headers("grpc-status", "nonsense")), Some(false));
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        let grpc = |kind: &str| is(&headers("content-type", kind));
        for yes in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc; x=1",
        ] {
            assert!(grpc(yes), "{yes}");
        }
        for no in ["application/grpc-web", "application/json", "text/plain"] {
            assert!(!grpc(no), "{no}");
        }
        assert!(!is(&HeaderMap::new()));
    }

    #[test]
    fn a_health_request_is_a_framed_message() {
        assert_eq!(health_request("").unwrap(), [0, 0, 0, 0, 0]);
        assert_eq!(
            health_request("ab").unwrap(),
            [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']
        );
        assert_eq!(health_request(&"x".repeat(126)), None);
    }
}
