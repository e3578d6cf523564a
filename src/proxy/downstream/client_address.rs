//! The address at the other end of a connection.

use http::HeaderName;
use pingora::proxy::Session;
use std::net::IpAddr;

/// The header by which proxies in front name the client.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: of the connection, or from the PROXY protocol header.
pub fn peer(session: &Session) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip().to_canonical())
}
