//! Certificates by ACME (RFC 8555), renewed automatically; proven by HTTP-01 (8.3).

use crate::config::Acme;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "acme")]
use {
    futures::StreamExt,
    rustls::pki_types::CertificateDer,
    rustls::server::ResolvesServerCert,
    rustls::{ClientConfig, RootCertStore},
    rustls_acme::caches::DirCache,
    rustls_acme::{AcmeConfig, EventOk, ResolvesServerCertAcme, UseChallenge},
    std::io,
    tokio::task::JoinHandle,
};

/// The path prefix of an HTTP-01 challenge; the token follows it.
pub const CHALLENGE: &str = "/.well-known/acme-challenge/";

/// The ACME client and its certificate; it talks with the authority for as long as this lives.
#[derive(Debug)]
pub struct Issued {
    spec: Acme,
    #[cfg(feature = "acme")]
    resolver: Arc<ResolvesServerCertAcme>,
    #[cfg(feature = "acme")]
    talk: JoinHandle<()>,
}

impl Issued {
    /// The configuration that this was started with.
    pub fn spec(&self) -> &Acme {
        &self.spec
    }

    /// Whether a certificate for this name is requested.
    pub fn is_for(&self, name: &str) -> bool {
        let mut names = self.spec.names.iter();
        names.any(|own| own.eq_ignore_ascii_case(name))
    }
}

#[cfg(feature = "acme")]
impl Issued {
    /// Starts the ACME client on this runtime; certificates from before are in the folder.
    ///
    /// # Errors
    /// When the folder cannot be created, or an authority's certificate cannot be used.
    pub fn begin(
        spec: &Acme,
        folder: &Path,
        runtime: &tokio::runtime::Handle,
    ) -> io::Result<Issued> {
        private(folder)?;
        let contact = spec.email.iter().map(|email| format!("mailto:{email}"));
        let client = client(&spec.ca).map_err(io::Error::other)?;
        let mut state = AcmeConfig::new_with_client_config(&spec.names, Arc::new(client))
            .contact(contact)
            .directory(&spec.directory)
            .cache(DirCache::new(folder.to_owned()))
            .challenge_type(UseChallenge::Http01)
            .state();
        let names = spec.names.join(", ");
        let resolver = state.resolver();
        let talk = runtime.spawn(async move {
            while let Some(event) = state.next().await {
                match event {
                    Ok(EventOk::DeployedNewCert) => log::info!("a new certificate for {names} is in use"),
                    Ok(EventOk::DeployedCachedCert) => log::info!("the stored certificate for {names} is in use"),
                    Ok(EventOk::CertCacheStore | EventOk::AccountCacheStore) => {}
                    Err(error) => log::warn!(
                        "no new certificate for {names} yet: {error}; it is tried again. Does port 80 of these names lead here?"
                    ),
                }
            }
        });
        Ok(Issued {
            spec: spec.clone(),
            resolver,
            talk,
        })
    }

    /// The certificate, once there is one.
    pub fn certificate(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.resolver.resolve(hello)
    }

    /// The answer to an HTTP-01 challenge with this token; `None` when the token is not the
    /// authority's.
    pub fn proof(&self, token: &str) -> Option<String> {
        self.resolver.get_http_01_key_auth(token)
    }
}

#[cfg(feature = "acme")]
impl Drop for Issued {
    fn drop(&mut self) {
        self.talk.abort();
    }
}

#[cfg(not(feature = "acme"))]
impl Issued {
    /// Not part of this build; the check of the configuration reports that before.
    ///
    /// # Errors
    /// Always.
    pub fn begin(_: &Acme, _: &Path, _: &tokio::runtime::Handle) -> std::io::Result<Issued> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// Always `None` in this build.
    pub fn certificate(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }

    /// Always `None` in this build.
    pub fn proof(&self, _: &str) -> Option<String> {
        None
    }
}

/// Creates a folder that only its owner can enter: there are private keys in it.
#[cfg(feature = "acme")]
fn private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!(
                "{} cannot be made for certificates: {error}",
                folder.display()
            ),
        )
    })
}

#[cfg(feature = "acme")]
fn client(authorities: &[CertificateDer<'static>]) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    if authorities.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
