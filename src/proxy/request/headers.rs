//! Headers that a proxy adds or removes on the way, in both directions.

use crate::config::{Limits, Trust};
use crate::proxy::downstream::client_address::{FORWARDED_FOR, peer};
use crate::proxy::downstream::grammar::{decimal, is_host, is_target};
use crate::proxy::downstream::timeout_stream::TimeoutStream;
use crate::proxy::routing::authority::authority;
use crate::proxy::routing::snapshot::Settings;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST,
    PROXY_AUTHENTICATE, STRICT_TRANSPORT_SECURITY, TE, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use std::net::{IpAddr, SocketAddr};

// Header names that are known when this is compiled are not parsed for each request.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const PROXY: HeaderName = HeaderName::from_static("proxy");
/// Tells green that a request is a copy, and that its answer is dropped.
pub const MIRROR: HeaderName = HeaderName::from_static("x-shifter-mirror");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers of HTTP itself that must not come a second time, spelt with `_`.
const DOUBLED: [&str; 5] = [
    "content-length",
    "content-type",
    "host",
    "proxy",
    "transfer-encoding",
];

/// The prefix of the names by which proxies say where a request came from and what was asked for.
const CLAIMED: &str = "x-forwarded-";

/// Further names that applications and frameworks trust as a proxy's; SECURITY.md lists them for
/// people.
const CLAIMS: [&str; 18] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-original-host",
    "x-original-url",
    "x-originating-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];

/// Whether only a proxy may set a header of this name (in lower case).
fn is_claim(name: &str) -> bool {
    // Nearly all other names are ruled out by their first letter.
    matches!(name.as_bytes().first(), Some(b'c' | b'f' | b't' | b'x'))
        && (name.starts_with(CLAIMED) || CLAIMS.contains(&name))
}

/// The maximum length of a request id that is kept, in bytes.
const ID_MAX: usize = 128;

/// Refuses a request that must not be forwarded, as an error with the status of the answer.
///
/// # Errors
/// The refusal, with its status.
pub fn gate(session: &Session, limits: &Limits) -> Result<()> {
    let request = session.req_header();
    let refuse = |status, why| Error::e_explain(ErrorType::HTTPStatus(status), why);
    if matches!(request.method, Method::TRACE | Method::CONNECT) {
        return refuse(405, "method");
    }
    // Over HTTP/1, `http1` has checked most of this, and more.
    let fields = request
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    if request.headers.len() > limits.headers || fields.sum::<usize>() > limits.header {
        return refuse(431, "header size");
    }
    if request.raw_path().len() > limits.uri {
        return refuse(414, "target size");
    }
    // `http1` parses HTTP/1 only, and a request that came over HTTP/2 may have to be sent in
    // HTTP/1.
    if session.is_http2() {
        if !is_target(request.raw_path(), request.method.as_str().as_bytes()) {
            return refuse(400, "target");
        }
        if !is_host(authority(request)) {
            return refuse(400, "host");
        }
    }
    // `Authorization` and `Cookie` are for the backend (RFC 9110, 7.6.1 forbids `Connection` to
    // name them), and Pingora would remove them.
    if connection_names(&request.headers).any(|name| name == AUTHORIZATION || name == COOKIE) {
        return refuse(400, "connection takes who the user is");
    }
    let Some(length) = said_length(request) else {
        return refuse(400, "length");
    };
    if limits.body.is_some_and(|most| length > most) {
        return refuse(413, "body size");
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version == Version::HTTP_11 => return refuse(400, "no host"),
        (Some(_), Some(_)) => return refuse(400, "several hosts"),
        _ => {}
    }
    if !is_chunked_or_plain(request) {
        return refuse(501, "transfer coding");
    }
    Ok(())
}

/// Whether a request has no transfer coding but `chunked`: Pingora would forward `gzip, chunked` as `chunked`, and the
/// payload would be taken for plain.
fn is_chunked_or_plain(request: &RequestHeader) -> bool {
    let mut codings = request.headers.get_all(TRANSFER_ENCODING).iter();
    codings.all(|value| {
        let value = value.as_bytes().trim_ascii();
        value.eq_ignore_ascii_case(b"chunked")
    })
}

/// The body length that a request declares, 0 for none; `None` where it is no number, or there are
/// several.
fn said_length(request: &RequestHeader) -> Option<u64> {
    let mut lengths = request.headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Some(0),
        (Some(length), None) => decimal(length.as_bytes()),
        (Some(_), Some(_)) => None,
    }
}

fn host(request: &RequestHeader) -> Option<HeaderValue> {
    match request.headers.get(HOST) {
        Some(host) => Some(host.clone()),
        None => HeaderValue::from_str(request.uri.authority()?.as_str()).ok(),
    }
}

/// The client's address, as a header value.
fn client(session: &Session) -> Option<HeaderValue> {
    if let Some(stream) = TimeoutStream::of(session) {
        return stream.client.clone();
    }
    HeaderValue::from_str(&peer(session)?.to_string()).ok()
}

/// The client's address: behind trusted proxies, the last one that is not a trusted proxy's own.
pub fn user(session: &Session, trust: &Trust) -> Option<IpAddr> {
    let mut user = peer(session)?;
    if !trust.trusts(user) {
        return Some(user);
    }
    let lines = session.req_header().headers.get_all(FORWARDED_FOR);
    let lines: Vec<&str> = lines.iter().filter_map(|line| line.to_str().ok()).collect();
    for said in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = address(said.trim()) else {
            break;
        };
        user = address;
        // Where every peer is trusted, only the peer itself is known to be a proxy.
        if *trust == Trust::Everybody || !trust.trusts(user) {
            break;
        }
    }
    Some(user)
}

/// Parses an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or
/// `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let alone = bare.parse::<IpAddr>().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    Some(alone.or_else(with_port)?.to_canonical())
}

/// Removes headers that a CGI program cannot tell from those that shifter writes
/// (`X_Forwarded_For`).
fn remove_doubles(request: &mut RequestHeader, own: &HeaderName) {
    let doubles: Vec<HeaderName> = request
        .headers
        .keys()
        .filter(|name| {
            let spelt = name.as_str();
            spelt.contains('_') && {
                let meant = spelt.replace('_', "-");
                meant == own.as_str() || is_claim(&meant) || DOUBLED.contains(&meant.as_str())
            }
        })
        .cloned()
        .collect();
    for name in doubles {
        request.remove_header(&name);
    }
}

/// Removes headers that only a proxy may set.
fn remove_claims(request: &mut RequestHeader) {
    let claims = request
        .headers
        .keys()
        .filter(|name| is_claim(name.as_str()));
    let claims: Vec<HeaderName> = claims.cloned().collect();
    for name in claims {
        request.remove_header(&name);
    }
}

/// Whether the client came over TLS.
pub fn by_tls(session: &Session) -> bool {
    session
        .digest()
        .is_some_and(|digest| digest.ssl_digest.is_some())
}

/// Whether the client came over TLS, to us or to a trusted proxy in front.
pub fn by_https(session: &Session, settings: &Settings) -> bool {
    let said = || {
        let proto = session.req_header().headers.get(FORWARDED_PROTO);
        proto.is_some_and(|proto| proto.as_bytes() == b"https")
    };
    let trusted = || peer(session).is_some_and(|peer| settings.trust.trusts(peer));
    by_tls(session) || (said() && trusted())
}

/// Where to redirect a client that came without TLS and should not; `None` for one that may stay.
///
/// The host is the one that the client sent, and goes back to the same client only.
pub fn redirect(session: &Session, settings: &Settings) -> Option<HeaderValue> {
    let port = settings.redirect?;
    let request = session.req_header();
    if by_https(session, settings) {
        return None;
    }
    let authority = Authority::try_from(authority(request)).ok()?;
    let path = request
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let (host, path) = (
        authority.host(),
        if path.starts_with('/') { path } else { "/" },
    );
    let target = match port {
        443 => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    HeaderValue::try_from(target).ok()
}

/// Joins `Cookie` headers for a backend that speaks HTTP/1: HTTP/2 may bring them in pieces (RFC
/// 9113, 8.2.3).
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let mut pieces = request.headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (pieces.next(), pieces.next()) else {
        return Ok(());
    };
    let mut all = first.as_bytes().to_vec();
    for piece in std::iter::once(second).chain(pieces) {
        all.extend(b"; ");
        all.extend(piece.as_bytes());
    }
    request.remove_header(&COOKIE);
    request.insert_header(COOKIE, all)
}

/// The id of a request: the one that it carries when that is sane, else a new one.
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
    let random = (u128::from(fastrand::u64(..)) << 64) | u128::from(fastrand::u64(..));
    let mut text = [0; 32];
    for (at, digit) in text.iter_mut().enumerate() {
        *digit = DIGITS[(random >> (4 * at)) as usize & 15];
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-"))
}

/// Completes the headers of a request for a backend.
///
/// # Errors
/// When a header cannot be written; the request is not sent then.
pub fn request(
    session: &Session,
    backend: Option<SocketAddr>,
    settings: &Settings,
    id: Option<&HeaderValue>,
    request: &mut RequestHeader,
) -> Result<()> {
    if session.is_http2() && request.version != Version::HTTP_2 {
        join_cookies(request)?;
    }
    // HTTP/1.0 may come without a host, HTTP/1.1 may not go without one (RFC 9112, 3.2).
    if request.uri.authority().is_none()
        && !request.headers.contains_key(&HOST)
        && let Some(backend) = backend
    {
        request.insert_header(HOST, backend.to_string())?;
    }
    let trusted = peer(session).is_some_and(|peer| settings.trust.trusts(peer));
    remove_doubles(request, &settings.request_id);
    if !trusted {
        remove_claims(request);
    }
    // Known as httpoxy: CGI programs take it for the environment variable HTTP_PROXY.
    request.remove_header(&PROXY);
    request.remove_header(&MIRROR);
    if let Some(client) = client(session) {
        request.append_header("X-Forwarded-For", client)?;
    }
    if (!trusted || !request.headers.contains_key(&REAL_IP))
        && let Some(user) = user(session, &settings.trust)
    {
        request.insert_header("X-Real-IP", user.to_string())?;
    }
    if !trusted || !request.headers.contains_key(&FORWARDED_PROTO) {
        let scheme = if by_tls(session) { "https" } else { "http" };
        request.insert_header("X-Forwarded-Proto", HeaderValue::from_static(scheme))?;
    }
    if !trusted || !request.headers.contains_key(&FORWARDED_HOST) {
        match host(session.req_header()) {
            Some(host) => request.insert_header("X-Forwarded-Host", host)?,
            None => {
                request.remove_header(&FORWARDED_HOST);
            }
        }
    }
    if let Some(id) = id {
        request.insert_header(settings.request_id_written.clone(), id.clone())?;
    }
    if settings.via {
        let came = match session.req_header().version {
            Version::HTTP_10 => "1.0 shifter",
            Version::HTTP_2 => "2.0 shifter",
            _ => "1.1 shifter",
        };
        request.append_header(VIA, HeaderValue::from_static(came))?;
    }
    Ok(())
}

/// Completes the headers of an answer for a client.
///
/// # Errors
/// When a header cannot be written.
pub fn response(
    session: &Session,
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
    if let Some(hsts) = &settings.hsts
        && by_tls(session)
        && !response.headers.contains_key(STRICT_TRANSPORT_SECURITY)
    {
        response.insert_header(STRICT_TRANSPORT_SECURITY, hsts.clone())?;
    }
    Ok(())
}

/// Removes what a backend said about its own connection (RFC 9110, 7.6.1).
///
/// Not `Connection` itself, which Pingora replaces, and nothing of an accepted upgrade.
pub fn strip_hop_by_hop(response: &mut ResponseHeader) {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let kept = [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, CONNECTION];
    let named: Vec<HeaderName> = connection_names(&response.headers)
        .filter(|name| !kept.contains(name))
        .collect();
    // A client that must upgrade is told to which protocol.
    let upgrade = response.status == StatusCode::UPGRADE_REQUIRED;
    for name in named.iter().filter(|name| !(upgrade && **name == UPGRADE)) {
        response.remove_header(name);
    }
    if !upgrade {
        response.remove_header(&UPGRADE);
    }
    response.remove_header(&TE);
    response.remove_header(&KEEP_ALIVE);
    response.remove_header(&PROXY_CONNECTION);
    response.remove_header(&PROXY_AUTHENTICATE);
}

/// The fields that `Connection` names, which are for the next hop only.
fn connection_names(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let lines = headers.get_all(CONNECTION).into_iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}

/// Whether the header is final: nothing but a body may follow.
pub fn is_final(response: &ResponseHeader) -> bool {
    !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS
}

/// Whether shared caches may keep an answer, so that a cookie of one client must not be in it (RFC
/// 9111, 7.3): it is marked as public, or only confirms what a cache has.
pub fn is_shared(response: &ResponseHeader) -> bool {
    let public = |value: &HeaderValue| {
        let mut parts = value.as_bytes().split(|&byte| byte == b',' || byte == b'=');
        parts.any(|part| {
            let part = part.trim_ascii();
            [&b"public"[..], b"immutable", b"s-maxage"]
                .iter()
                .any(|word| part.eq_ignore_ascii_case(word))
        })
    };
    response.status == StatusCode::NOT_MODIFIED
        || response.headers.get_all(CACHE_CONTROL).iter().any(public)
}

/// Whether an answer is a stream of server-sent events, which has no set end: it is judged by its
/// header.
pub fn is_stream(response: &ResponseHeader) -> bool {
    response.status == StatusCode::OK
        && response.headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let stream = b"text/event-stream";
            kind.as_bytes()
                .get(..stream.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(stream))
        })
}
