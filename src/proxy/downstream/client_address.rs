//! The address at the other end of a connection.

use http::HeaderName;
use pingora::proxy::Session;
use std::net::IpAddr;

/// The client, as the proxies in front name it.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the connection, or the one that the PROXY protocol named.
pub fn peer(session: &Session) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip().to_canonical())
}
