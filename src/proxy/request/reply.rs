//! Answers of our own: a status, one line for people, the request's id, and no internal details.

use crate::proxy::downstream::rejection::sentence;
use crate::proxy::request::headers::by_tls;
use crate::proxy::routing::snapshot::Settings;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, SERVER,
    STRICT_TRANSPORT_SECURITY,
};
use http::{HeaderValue, Method};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, Result};

/// Sends an answer; the session decides whether the connection is kept.
///
/// # Errors
/// When the client is gone.
pub async fn send(
    session: &mut Session,
    status: u16,
    settings: &Settings,
    id: Option<&HeaderValue>,
    location: Option<HeaderValue>,
) -> Result<()> {
    let said = id.and_then(|id| id.to_str().ok()).unwrap_or("-");
    let body = Bytes::from(format!("{}\nrequest id: {said}\n", sentence(status)));
    let mut header = ResponseHeader::build(status, Some(8))?;
    header.insert_header(SERVER, HeaderValue::from_static("shifter"))?;
    header.insert_header(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    )?;
    header.insert_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))?;
    header.insert_header(CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    if let Some(id) = id {
        header.insert_header(settings.request_id.clone(), id.clone())?;
    }
    if let Some(hsts) = settings.hsts.as_ref().filter(|_| by_tls(session)) {
        header.insert_header(STRICT_TRANSPORT_SECURITY, hsts.clone())?;
    }
    if let Some(location) = location {
        header.insert_header(LOCATION, location)?;
    }
    match status {
        405 => header.insert_header(
            ALLOW,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        )?,
        503 => header.insert_header(RETRY_AFTER, HeaderValue::from_static("1"))?,
        _ => {}
    }
    let bodiless = session.req_header().method == Method::HEAD;
    session
        .write_response_header(Box::new(header), bodiless)
        .await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// Answers the challenge of an ACME authority (RFC 8555, 8.3).
///
/// # Errors
/// When the client is gone.
pub async fn proof(session: &mut Session, proof: String) -> Result<()> {
    let mut header = ResponseHeader::build(200, Some(2))?;
    header.insert_header(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    )?;
    header.insert_header(CONTENT_LENGTH, HeaderValue::from(proof.len()))?;
    session
        .write_response_header(Box::new(header), false)
        .await?;
    session
        .write_response_body(Some(Bytes::from(proof)), true)
        .await
}

/// The status of the answer to an error, or `None` when the client is gone.
pub fn status(error: &Error) -> Option<u16> {
    use ErrorType::*;
    match (error.etype(), error.esource()) {
        (HTTPStatus(status), _) => Some(*status),
        (ReadTimedout | WriteTimedout | ConnectTimedout, ErrorSource::Upstream) => Some(504),
        (_, ErrorSource::Upstream) => Some(502),
        (WriteError | ReadError | ConnectionClosed | WriteTimedout, ErrorSource::Downstream) => {
            None
        }
        (ReadTimedout, ErrorSource::Downstream) => Some(408),
        (_, ErrorSource::Downstream) => Some(400),
        (_, ErrorSource::Internal | ErrorSource::Unset) => Some(500),
    }
}
