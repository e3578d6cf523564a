//! Which answers show what a version's answers are like, and what is counted of them.
//!
//! Left out are answers that depend on the request (HEAD, `Range`, conditional requests, pinned
//! clients) or that have no body of their own (204, 205, 206, 304); only 2xx answers that came
//! whole are compared (`core::judge`).

use crate::core::weight::Weight;
use crate::proxy::request::context::RequestContext;
use crate::proxy::request::stream_kind::Lasting;
use crate::store::window::{RequestToken, Window};
use http::header::{CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

/// Counts the size and the content type of a whole answer. It does not allocate.
pub fn count(session: &Session, record: &RequestContext) {
    let Some((window, begun)) = record.compared() else {
        return;
    };
    let Some(response) = session.response_written() else {
        return;
    };
    if asks_for_all(session.req_header()) && has_all(response.status) {
        window.content(begun, session.body_bytes_sent() as u64, kind(response));
    }
}

impl RequestContext {
    /// The window and the request's token, before its end is counted, where its answer shows what
    /// its pool's answers are like: green has a share, chance placed the request, its own pool
    /// answered, and the answer is no stream.
    fn compared(&self) -> Option<(&Window, &RequestToken)> {
        let routed = self.routed.as_ref().filter(|routed| routed.drawn)?;
        let service = &self.live().services[routed.service];
        let own = self.spot().is_some_and(|spot| spot.color == routed.color);
        let whole = matches!(self.lasting, Lasting::No);
        let asked = service.contents && service.weight > Weight::NONE;
        let begun = routed.begun.as_ref().filter(|_| own && whole && asked)?;
        Some((&service.window, begun))
    }
}

/// Whether a whole body is asked for, regardless of what the client has already.
fn asks_for_all(request: &RequestHeader) -> bool {
    let partial = [RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE];
    request.method != Method::HEAD
        && !partial
            .iter()
            .any(|name| request.headers.contains_key(name))
}

fn has_all(status: StatusCode) -> bool {
    status.is_success() && !matches!(status.as_u16(), 204..=206)
}

/// The `Content-Type` as it is; empty for none.
fn kind(response: &ResponseHeader) -> &[u8] {
    let given = response.headers.get(CONTENT_TYPE);
    given.map_or(&[], |value| value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_asks_for_decides_whether_its_answer_is_compared() {
        for (method, header, whole) in [
            ("GET", "accept", true),
            ("POST", "accept", true),
            ("HEAD", "accept", false),
            ("GET", "range", false),
            ("GET", "if-none-match", false),
            ("GET", "if-modified-since", false),
        ] {
            let mut request = RequestHeader::build(method, b"/", None).unwrap();
            request.append_header(header, "x").unwrap();
            assert_eq!(asks_for_all(&request), whole, "{method} {header}");
        }
    }

    #[test]
    fn answers_without_a_whole_body_are_left_out() {
        let whole = [200, 201, 202, 203].map(|status| (status, true));
        let others = [204, 205, 206, 301, 304, 404, 500].map(|status| (status, false));
        for (status, expected) in whole.into_iter().chain(others) {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(has_all(status), expected, "{status}");
        }
    }
}
