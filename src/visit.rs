//! One HTTP request that shifter itself sends: a health check, a warm-up request, a smoke check or
//! a probe to a member, or a query to another server for what it knows of green.
//!
//! Each has a connection of its own, so that it sees what a first visitor sees. It follows no
//! redirect, uses no proxy, and ends when its caller drops it.

use crate::config::{BackendTls, Protocol};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

/// How to connect to the members of a service: protocol and TLS.
#[derive(Clone)]
pub struct Way {
    protocol: Protocol,
    tls: Option<(BackendTls, TlsConnector)>,
}

/// A request to send.
pub struct Question<'a> {
    /// The method.
    pub method: Method,
    /// The path, with its query.
    pub path: &'a str,
    /// The host that it is for.
    pub host: &'a str,
    /// Further headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl<'a> Question<'a> {
    /// A GET without further headers.
    pub fn get(path: &'a str, host: &'a str) -> Question<'a> {
        Question {
            method: Method::GET,
            path,
            host,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Adds one more header; a name or value that HTTP does not allow is left out.
    pub fn with(mut self, name: &str, value: &str) -> Question<'a> {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            self.headers.insert(name, value);
        }
        self
    }
}

/// An answer; its body is read only as far as the caller asks for it.
pub struct Answer {
    response: Response<Incoming>,
    _line: Line,
}

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The value of the first header of this name; `None` when it is absent or not text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// When the member breaks the body off.
    pub async fn part(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(frame) = self.response.body_mut().frame().await {
            if let Ok(data) = frame.map_err(cause)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Way {
    /// How to connect to members with this protocol and TLS configuration.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(protocol: Protocol, tls: Option<&BackendTls>) -> Result<Way, String> {
        let secure = |tls: &BackendTls| {
            let config = client(tls, protocol).map_err(|error| error.to_string())?;
            Ok::<_, String>((tls.clone(), TlsConnector::from(Arc::new(config))))
        };
        Ok(Way {
            protocol,
            tls: tls.map(secure).transpose()?,
        })
    }

    /// Whether the protocol is HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.protocol == Protocol::H2
    }

    /// Opens a connection, and closes it again.
    ///
    /// # Errors
    /// When there is no connection, or no TLS on it.
    pub async fn knock(&self, addr: SocketAddr) -> io::Result<()> {
        let stream = TcpStream::connect(addr).await?;
        self.secure(stream).await.map(|_| ())
    }

    /// Sends a request on a new connection, and waits for the answer's header.
    ///
    /// # Errors
    /// When there is no connection, no TLS on it, or no answer.
    pub async fn ask(&self, addr: SocketAddr, question: Question<'_>) -> io::Result<Answer> {
        self.ask_on(TcpStream::connect(addr).await?, question).await
    }

    /// Sends a request on an open connection, and waits for the answer's header.
    ///
    /// # Errors
    /// When there is no TLS on it, or no answer; a TLS error is a [`rustls::Error`] inside.
    pub async fn ask_on(&self, stream: TcpStream, question: Question<'_>) -> io::Result<Answer> {
        let io = TokioIo::new(self.secure(stream).await?);
        let (response, line) = match self.protocol {
            Protocol::Http1 => {
                let (mut sender, line) = http1::handshake(io).await.map_err(cause)?;
                let line = Line(tokio::spawn(line).abort_handle());
                let request = question.request(None)?;
                (sender.send_request(request).await, line)
            }
            Protocol::H2 => {
                let executor = TokioExecutor::new();
                let (mut sender, line) = http2::handshake(executor, io).await.map_err(cause)?;
                let line = Line(tokio::spawn(line).abort_handle());
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let request = question.request(Some(scheme))?;
                (sender.send_request(request).await, line)
            }
        };
        Ok(Answer {
            response: response.map_err(cause)?,
            _line: line,
        })
    }

    /// Wraps a connection in TLS where the members speak that.
    async fn secure(&self, stream: TcpStream) -> io::Result<Box<dyn Io>> {
        let _ = stream.set_nodelay(true);
        let Some((tls, connector)) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let named = tls.name_of(stream.peer_addr()?);
        let name = ServerName::try_from(named).map_err(io::Error::other)?;
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

/// The task of a connection, which ends with its caller.
struct Line(AbortHandle);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Question<'_> {
    /// The HTTP request; with a scheme, in the form that HTTP/2 needs.
    fn request(self, scheme: Option<&str>) -> io::Result<Request<Full<Bytes>>> {
        let uri = match scheme {
            Some(scheme) => format!("{scheme}://{}{}", self.host, self.path),
            None => self.path.to_owned(),
        };
        let mut request = Request::builder().method(self.method).uri(uri);
        if scheme.is_none() && !self.headers.contains_key(HOST) {
            request = request.header(HOST, self.host);
        }
        let mut request = request
            .body(Full::new(self.body))
            .map_err(io::Error::other)?;
        request.headers_mut().extend(self.headers);
        Ok(request)
    }
}

/// The innermost cause of an HTTP error, as an I/O error.
fn cause(error: hyper::Error) -> io::Error {
    let mut source = std::error::Error::source(&error);
    let mut said = error.to_string();
    while let Some(inner) = source {
        said = inner.to_string();
        source = inner.source();
    }
    io::Error::other(said)
}

/// The TLS client configuration for connections to members.
fn client(tls: &BackendTls, protocol: Protocol) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = if !tls.verify {
        let anybody = Arc::new(Anybody(provider));
        builder
            .dangerous()
            .with_custom_certificate_verifier(anybody)
    } else if tls.ca.is_empty() {
        builder.with_root_certificates(SYSTEM.clone())
    } else {
        let mut roots = RootCertStore::empty();
        for authority in &tls.ca {
            roots.add(authority.clone())?;
        }
        builder.with_root_certificates(roots)
    };
    let mut config = match &tls.certificate {
        Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::H2 => vec![b"h2".to_vec()],
    };
    Ok(config)
}

/// The root certificates that the system trusts; unreadable ones are left out.
static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});

/// Accepts every certificate, as the configuration asks with `insecure = true`.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
