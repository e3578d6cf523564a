//! TLS with clients: the choice of the certificate, the handshake, and the protocol after it.

use crate::config::Tls;
use crate::metrics::Metrics;
use crate::proxy::downstream::acme::Issued;
use crate::proxy::downstream::protocol_detection::{PREFACE, Spoken};
use crate::proxy::request::edge::Edge;
use crate::store::SharedState;
use arc_swap::ArcSwap;
use pingora::protocols::tls::SslDigest;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ProtocolVersion, RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The answer to a client that speaks HTTP without TLS here, usually by mistake of a port.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nserver: shifter\r\nconnection: close\r\n\
content-type: text/plain; charset=utf-8\r\ncontent-length: 52\r\n\r\nThis port speaks TLS: the address begins with https.";

/// The configuration that handshakes use.
pub struct Terms {
    spec: Tls,
    server: Arc<ServerConfig>,
}

impl Terms {
    fn new(spec: &Tls, issued: Option<Arc<Issued>>) -> Result<Terms, rustls::Error> {
        Ok(Terms {
            spec: spec.clone(),
            server: Arc::new(server(spec, issued)?),
        })
    }
}

/// Makes terms, and keeps the ACME client while its configuration stays the same.
struct Maker {
    edge: Arc<Edge>,
    folder: PathBuf,
    runtime: tokio::runtime::Handle,
}

impl Maker {
    fn make(&self, spec: &Tls) -> io::Result<Terms> {
        let before = self.edge.issued.load_full();
        let issued = match &spec.acme {
            None => None,
            Some(acme) => match before.filter(|issued| issued.spec() == acme) {
                None => Some(Arc::new(Issued::begin(acme, &self.folder, &self.runtime)?)),
                same => same,
            },
        };
        let terms = Terms::new(spec, issued.clone()).map_err(io::Error::other)?;
        self.edge.issued.store(issued);
        Ok(terms)
    }
}

/// Terms that follow the shared state: handshakes that begin after a `publish` use them, and no
/// connection is cut.
///
/// # Errors
/// When the initial terms cannot be used.
pub fn follow(
    spec: &Tls,
    state: &Path,
    board: &SharedState,
    edge: &Arc<Edge>,
    metrics: &Arc<Metrics>,
) -> io::Result<Arc<ArcSwap<Terms>>> {
    let maker = Maker {
        edge: edge.clone(),
        folder: state.join("acme"),
        runtime: tokio::runtime::Handle::current(),
    };
    let first = maker.make(spec)?;
    tell(spec, metrics);
    let terms = Arc::new(ArcSwap::from_pointee(first));
    let (swapped, metrics) = (terms.clone(), metrics.clone());
    board.follow(move |snapshot| {
        let Some(spec) = &snapshot.config.proxy.tls else {
            return;
        };
        if swapped.load().spec == *spec {
            return;
        }
        match maker.make(spec) {
            Ok(next) => {
                tell(spec, &metrics);
                swapped.store(Arc::new(next));
            }
            Err(error) => log::error!("the certificates before stay in use: {error}"),
        }
    });
    Ok(terms)
}

/// Reports until when the certificates are valid: in the metrics, and in the log when that is soon.
fn tell(spec: &Tls, metrics: &Metrics) {
    let now = jiff::Timestamp::now().as_second();
    let ends = spec.certificates.iter().map(|certificate| {
        let file = certificate.file.to_string_lossy().into_owned();
        (file, certificate.name(), certificate.ends)
    });
    metrics.set_certificates(ends);
    for worry in spec.certificates.iter().filter_map(|one| one.worry(now)) {
        log::warn!("{worry}");
    }
}

/// A connection after its handshake; bytes that were read to detect the protocol are read again.
pub struct Tunnel {
    pub(in crate::proxy) stream: TlsStream<TcpStream>,
    ahead: [u8; PREFACE.len()],
    from: u8,
    to: u8,
}

impl Tunnel {
    /// The TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        self.stream.get_ref().0
    }

    /// The negotiated TLS version, in Pingora's form.
    pub fn digest(&self) -> SslDigest {
        let version = match self.stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        SslDigest::new("", version, None, None, vec![])
    }

    /// Whether HTTP/2 was negotiated.
    pub fn is_http2(&self) -> bool {
        is_http2(&self.stream)
    }

    pub(in crate::proxy) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let ahead = &self.ahead[self.from.into()..self.to.into()];
        if ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = ahead.len().min(buf.remaining());
        buf.put_slice(&ahead[..count]);
        // At most the length of the preface.
        self.from += count as u8;
        Poll::Ready(Ok(()))
    }
}

fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// Does the handshake and waits for the first bytes; `None` when the client does not get that far
/// in time.
pub async fn meet(
    terms: &Terms,
    stream: TcpStream,
    idle: Duration,
    words: Duration,
    metrics: &Metrics,
) -> Option<(Box<Tunnel>, Spoken)> {
    let shaken = timeout(terms.spec.handshake_timeout, shake(terms, stream)).await;
    let stream = match shaken {
        Ok(Ok(stream)) => stream?,
        failed => {
            metrics.tls_failures.inc();
            match failed {
                Ok(Err(error)) => log::debug!("no TLS with a user: {error}"),
                _ => log::debug!("no TLS with a user in time"),
            }
            return None;
        }
    };
    let http2 = is_http2(&stream);
    let mut tunnel = Box::new(Tunnel {
        stream,
        ahead: [0; PREFACE.len()],
        from: 0,
        to: 0,
    });
    let read = tunnel.stream.read(&mut tunnel.ahead);
    let mut read = timeout(idle, read).await.ok()?.ok().filter(|n| *n > 0)?;
    if http2 && read < PREFACE.len() {
        let rest = tunnel.stream.read_exact(&mut tunnel.ahead[read..]);
        read += timeout(words, rest).await.ok()?.ok()?;
    }
    tunnel.to = read as u8;
    match http2 {
        true if tunnel.ahead != *PREFACE => None,
        true => Some((tunnel, Spoken::Http2)),
        false => Some((tunnel, Spoken::Http1)),
    }
}

/// The handshake; `None` for a client that closes without sending anything, as health checks of
/// load balancers do.
async fn shake(terms: &Terms, mut stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first[0].is_ascii_uppercase() {
        stream.write_all(PLAIN).await?;
        // Closing with unread bytes would discard the answer (RFC 9112, 9.6).
        let mut said = [0; 512];
        stream.shutdown().await?;
        while stream.read(&mut said).await? > 0 {}
        return Err(io::Error::new(ErrorKind::InvalidData, "HTTP without TLS"));
    }
    TlsAcceptor::from(terms.server.clone())
        .accept(stream)
        .await
        .map(Some)
}

/// The configuration of the server: TLS 1.2 and 1.3 with the ciphers that have no known weakness;
/// HTTP/2 before HTTP/1.1.
fn server(spec: &Tls, issued: Option<Arc<Issued>>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = if spec.client_ca.is_empty() {
        builder.with_no_client_auth()
    } else {
        let roots = Arc::new(roots(&spec.client_ca)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        builder.with_client_cert_verifier(verifier)
    };
    let mut server = builder.with_cert_resolver(Arc::new(Chooser::new(spec, issued)?));
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions are kept by the client. Each configuration has a new key: no old session bypasses an
    // authority that was removed.
    server.ticketer = ring::Ticketer::new()?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(server)
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    Ok(roots)
}

/// Chooses the certificate for a client.
#[derive(Debug)]
struct Chooser {
    /// By name, and by `.example.com` for `*.example.com`; several where there is one for each kind
    /// of key.
    named: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// The ACME certificate: for its own names, or for all others where there are no files.
    issued: Option<Arc<Issued>>,
    /// The certificate for all other names.
    first: Option<Arc<CertifiedKey>>,
}

impl Chooser {
    fn new(spec: &Tls, issued: Option<Arc<Issued>>) -> Result<Chooser, rustls::Error> {
        let (mut named, mut first) = (HashMap::<_, Vec<_>>::new(), None);
        for certificate in &spec.certificates {
            let signer = Arc::new(certificate.signer()?);
            first.get_or_insert_with(|| signer.clone());
            for name in &certificate.names {
                let name = name.strip_prefix('*').unwrap_or(name);
                named
                    .entry(name.to_owned())
                    .or_default()
                    .push(signer.clone());
            }
        }
        Ok(Chooser {
            named,
            issued,
            first,
        })
    }

    /// The certificates for a name, an exact one before a wildcard; `*` is one label (RFC 9525, 6.3).
    fn find(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let name = name.to_ascii_lowercase();
        let exact = self.named.get(&name);
        exact.or_else(|| self.named.get(&name[name.find('.')?..]))
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| self.find(name));
        let fits = |certified: &&Arc<CertifiedKey>| {
            let schemes = hello.signature_schemes();
            certified.key.choose_scheme(schemes).is_some()
        };
        if let Some(chosen) = found.and_then(|all| all.iter().find(fits).or(all.first())) {
            return Some(chosen.clone());
        }
        let name = hello.server_name();
        match (&self.issued, &self.first) {
            (Some(issued), first)
                if first.is_none() || name.is_some_and(|name| issued.is_for(name)) =>
            {
                issued.certificate(hello).or_else(|| first.clone())
            }
            (_, first) => first.clone(),
        }
    }
}
