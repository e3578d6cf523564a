//! Headers that a proxy adds or takes away on the way, in both directions.

use crate::proxy::balance::dice;
use crate::proxy::clocked::Clocked;
use crate::proxy::live::Settings;
use http::header::{CONTENT_TYPE, FORWARDED, HOST, TRANSFER_ENCODING, VIA};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

/// The largest header of a request; Pingora alone takes 1 MiB.
const HEADER_MAX: usize = 64 * 1024;

// Names that are known when this is compiled are not parsed for each request.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROXY: HeaderName = HeaderName::from_static("proxy");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The longest request id that is kept.
const ID_MAX: usize = 128;

/// Refuses what must not be forwarded, as an error with the status of the answer.
pub fn gate(session: &Session) -> Result<()> {
    let request = session.req_header();
    let refuse = |status, why| Error::e_explain(ErrorType::HTTPStatus(status), why);
    if matches!(request.method, Method::TRACE | Method::CONNECT) {
        return refuse(405, "method");
    }
    if session
        .as_http1()
        .is_some_and(|http1| http1.get_headers_raw_bytes().len() > HEADER_MAX)
    {
        return refuse(431, "header size");
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version == Version::HTTP_11 => return refuse(400, "no host"),
        (Some(_), Some(_)) => return refuse(400, "several hosts"),
        _ => {}
    }
    // Pingora would forward `gzip, chunked` as `chunked`, and the payload would be taken for plain.
    let chunked = |value: &HeaderValue| {
        value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    };
    if !request
        .headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .all(chunked)
    {
        return refuse(501, "transfer coding");
    }
    Ok(())
}

/// The id of a request: its own when it is sane, else a new one.
pub fn request_id(session: &Session, name: &HeaderName) -> HeaderValue {
    let sane = |id: &&HeaderValue| {
        (1..=ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    match session.req_header().headers.get(name).filter(sane) {
        Some(id) => id.clone(),
        None => fresh_id(),
    }
}

fn fresh_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let random = (u128::from(dice()) << 64) | u128::from(dice());
    let mut text = [0; 32];
    for (at, digit) in text.iter_mut().enumerate() {
        *digit = DIGITS[(random >> (4 * at)) as usize & 15];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"))
}

/// Completes the request for a backend.
pub fn request(
    session: &Session,
    settings: &Settings,
    id: Option<&HeaderValue>,
    request: &mut RequestHeader,
) -> Result<()> {
    let trusted = settings.trust_forwarded;
    if !trusted {
        request.remove_header(&FORWARDED_FOR);
        request.remove_header(&FORWARDED);
    }
    // Known as httpoxy: CGI programs take it for the environment variable HTTP_PROXY.
    request.remove_header(&PROXY);
    if let Some(client) = Clocked::of(session).and_then(|clocked| clocked.client.clone()) {
        request.append_header("X-Forwarded-For", client)?;
    }
    if !trusted || !request.headers.contains_key(&FORWARDED_PROTO) {
        request.insert_header("X-Forwarded-Proto", HeaderValue::from_static("http"))?;
    }
    if !trusted || !request.headers.contains_key(&FORWARDED_HOST) {
        match session.req_header().headers.get(HOST) {
            Some(host) => request.insert_header("X-Forwarded-Host", host.clone())?,
            None => {
                request.remove_header(&FORWARDED_HOST);
            }
        }
    }
    if let Some(id) = id {
        request.insert_header(settings.request_id_written.clone(), id.clone())?;
    }
    if settings.via {
        let came = if session.req_header().version == Version::HTTP_10 {
            "1.0 shifter"
        } else {
            "1.1 shifter"
        };
        request.append_header(VIA, HeaderValue::from_static(came))?;
    }
    Ok(())
}

/// Completes the answer for a user.
pub fn response(
    settings: &Settings,
    id: Option<&HeaderValue>,
    response: &mut ResponseHeader,
) -> Result<()> {
    if let Some(id) = id {
        response.insert_header(settings.request_id_written.clone(), id.clone())?;
    }
    if settings.via {
        response.append_header(VIA, HeaderValue::from_static("1.1 shifter"))?;
    }
    Ok(())
}

/// Takes away what a backend said about its own connection.
pub fn strip_hop_by_hop(response: &mut ResponseHeader) {
    response.remove_header(&KEEP_ALIVE);
    response.remove_header(&PROXY_CONNECTION);
}

/// Whether an answer goes on for as long as it likes: it is judged by its header.
pub fn is_stream(response: &ResponseHeader) -> bool {
    response.status == StatusCode::OK
        && response.headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let stream = b"text/event-stream";
            kind.as_bytes()
                .get(..stream.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(stream))
        })
}
