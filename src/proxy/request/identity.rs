//! Whether a backend is still the same one, as the request path sees it: `core::identity` has the
//! rules.

use crate::core::time::Time;
use crate::proxy::request::context::RequestContext;
use crate::store::Clock;
use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::Digest;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::{Error, ErrorType, Result};
use std::time::{Instant, SystemTime};

/// Opens no connection: a request gets one that was kept from before, or none.
#[derive(Debug)]
pub struct NoNewConnection;

#[async_trait]
impl Connect for NoNewConnection {
    async fn connect(&self, _addr: &SocketAddr) -> Result<Stream> {
        Error::e_explain(ErrorType::ConnectRefused, "the address may be another's")
    }
}

/// Notes that no connection was accepted, where the error says so: the address may be another
/// backend's by now.
pub fn noted(record: &RequestContext, error: &Error) {
    use ErrorType::{ConnectNoRoute, ConnectRefused, ConnectTimedout};
    let refused = matches!(
        error.etype(),
        ConnectRefused | ConnectNoRoute | ConnectTimedout
    );
    if let Some(member) = record.member().filter(|_| refused) {
        let now = Clock::now();
        member.state.identify(|identity| identity.refused(now));
    }
}

/// Whether a request may be sent on a connection to its backend, which may have changed while that
/// was made.
pub fn admits(record: &mut RequestContext, reused: bool, digest: Option<&Digest>) -> bool {
    record.connected = None;
    let doubted = match record.member().map(|member| &member.state) {
        Some(state) if state.gone() => return false,
        Some(state) if state.doubted() => state.clone(),
        _ => return true,
    };
    record.connected = digest.filter(|_| reused).and_then(made);
    let made = record.connected;
    made.is_some_and(|made| doubted.identify(|identity| identity.trusts(made)))
}

/// Notes that the backend of a request has answered.
pub fn answered(record: &RequestContext) {
    let Some(state) = record.member().map(|member| &member.state) else {
        return;
    };
    if !state.doubted() {
        return;
    }
    // A kept connection existed when the request was sent on it.
    let kept = || record.asked.map(Clock::at);
    if let Some(connected) = record.connected.or_else(kept) {
        state.identify(|identity| identity.answered(connected));
    }
}

/// When a connection was made, on the process's clock.
fn made(digest: &Digest) -> Option<Time> {
    let timing = digest.timing_digest.first()?.as_ref()?;
    let known = timing.established_ts > SystemTime::UNIX_EPOCH;
    let age = timing.established_ts.elapsed().ok().filter(|_| known)?;
    Some(Clock::at(Instant::now().checked_sub(age)?))
}
