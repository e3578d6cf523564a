//! Authorities, certificates, and pipes that put TLS on either side of what speaks without.

use crate::support::PATIENCE;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Who signs.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

/// Not before January of the first year, not after January of the second.
pub const NOW: (i32, i32) = (2020, 4000);
pub const OVER: (i32, i32) = (2020, 2021);

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn sign(&self, names: &[&str]) -> Pair {
        self.sign_for(names, NOW)
    }

    pub fn sign_for(&self, names: &[&str], years: (i32, i32)) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        Pair {
            cert: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// What a user needs who trusts this authority; `own` is shown to who asks for it.
    pub fn client(&self, own: Option<&Pair>, alpn: &str) -> ClientConfig {
        self.client_of(rustls::ALL_VERSIONS, own, alpn)
    }

    pub fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Pair>,
        alpn: &str,
    ) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match own {
            Some(own) => builder
                .with_client_auth_cert(own.chain(), own.key())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config
    }
}

impl Pair {
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        let chain = CertificateDer::pem_slice_iter(self.cert.as_bytes());
        chain.map(Result::unwrap).collect()
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), &self.cert).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), &self.key).unwrap();
    }
}

/// Writes an authority's certificate, and says where.
pub fn write(folder: &Path, name: &str, authority: &Authority) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, authority.pem()).unwrap();
    path
}

/// A connection after its handshake.
pub async fn connect(
    addr: SocketAddr,
    name: &str,
    config: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
    timeout(PATIENCE, shaken)
        .await
        .expect("a handshake in time")
}

/// The certificate that a user sees who asks for this name.
pub async fn shown(addr: SocketAddr, name: &str, config: ClientConfig) -> CertificateDer<'static> {
    let stream = connect(addr, name, config).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

/// What listens, and ends when this is dropped.
pub struct Pipe {
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes connections without TLS and goes on to `addr` with it: for users who know none.
pub async fn outward(addr: SocketAddr, name: &'static str, config: ClientConfig) -> Pipe {
    let config = Arc::new(config);
    pipe(move |mut near: TcpStream| {
        let config = config.clone();
        async move {
            let name = ServerName::try_from(name).unwrap();
            let far = TcpStream::connect(addr).await?;
            far.set_nodelay(true)?;
            let mut far = TlsConnector::from(config).connect(name, far).await?;
            tokio::io::copy_bidirectional(&mut near, &mut far).await?;
            Ok(())
        }
    })
    .await
}

/// Takes connections with TLS and goes on to `addr` without: for backends that know none.
///
/// With `clients` only who has a certificate of that authority comes in.
pub async fn inward(addr: SocketAddr, own: &Pair, alpn: &str, clients: Option<&Authority>) -> Pipe {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(clients.roots(), provider)
                .build()
                .unwrap(),
        ),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(own.chain(), own.key()).unwrap();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let config = Arc::new(config);
    pipe(move |near: TcpStream| {
        let config = config.clone();
        async move {
            let mut near = TlsAcceptor::from(config).accept(near).await?;
            let mut far = TcpStream::connect(addr).await?;
            far.set_nodelay(true)?;
            tokio::io::copy_bidirectional(&mut near, &mut far).await?;
            Ok(())
        }
    })
    .await
}

async fn pipe<F: Future<Output = io::Result<()>> + Send + 'static>(
    converse: impl Fn(TcpStream) -> F + Send + 'static,
) -> Pipe {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            connections.spawn(converse(stream));
            while connections.try_join_next().is_some() {}
        }
    });
    Pipe { addr, task }
}
