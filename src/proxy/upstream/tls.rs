//! TLS with backends, as Pingora's peers carry it.

use crate::config::BackendTls;
use crate::core::fnv::Fnv;
use crate::store::Clock;
use pingora::Error;
use pingora::upstreams::peer::{HttpPeer, Scheme};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Milliseconds from one log line about members without TLS to the next.
const PAUSE: u64 = 10_000;

/// The TLS settings that the peers of one service share.
pub struct Secure {
    spec: BackendTls,
    ca: Option<Arc<[WrappedX509]>>,
    certificate: Option<Arc<CertKey>>,
    fingerprint: u64,
}

impl Secure {
    /// From certificates that were parsed before: anything that is not X.509 does not come this
    /// far.
    pub fn new(spec: &BackendTls) -> Secure {
        let ca = spec
            .ca
            .iter()
            .map(|one| WrappedX509::new(one.to_vec(), parse_x509));
        let certificate = spec.certificate.as_ref().map(|own| {
            let chain = own.chain.iter().map(|one| one.to_vec()).collect();
            Arc::new(CertKey::new(chain, own.key.secret_der().to_vec()))
        });
        let own = spec.certificate.iter().flat_map(|own| &own.chain);
        let fingerprint = spec.ca.iter().chain(own).fold(1, |sum: u64, one| {
            sum.rotate_left(5) ^ Fnv::hash(one.as_ref())
        });
        Secure {
            ca: (!spec.ca.is_empty()).then(|| ca.collect()),
            certificate,
            fingerprint,
            spec: spec.clone(),
        }
    }

    /// Makes a peer use TLS.
    ///
    /// Pingora reuses connections whatever authority they were verified by: the group key tells
    /// them apart. It verifies nothing where there is no server name, which is never so here.
    pub fn dress(&self, peer: &mut HttpPeer, addr: SocketAddr) {
        peer.scheme = Scheme::HTTPS;
        peer.sni = self.spec.name_of(addr);
        peer.group_key ^= self.fingerprint;
        peer.client_cert_key = self.certificate.clone();
        peer.options.ca = self.ca.clone();
        peer.options.verify_cert = self.spec.verify;
        peer.options.verify_hostname = self.spec.verify;
    }
}

/// Logs that TLS with a member fails, which is a fault of some configuration; not for each request.
pub fn tell(service: &str, member: &str, error: &Error) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let (now, next) = (Clock::now().0, NEXT.load(Relaxed));
    let mine = || NEXT.compare_exchange(next, now + PAUSE, Relaxed, Relaxed);
    if now < next || mine().is_err() {
        return;
    }
    let why = error.context.as_ref().map(|why| why.as_str());
    let why = why.unwrap_or("the handshake failed");
    log::warn!(
        "`{service}`: no TLS with the backend {member}: {why}; see `tls` of [service.{service}]"
    );
}
