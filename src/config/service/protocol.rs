//! `protocol`: what the members speak.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::Text;
use crate::config::parse::value::Check;
use crate::config::service::tls::BackendTls;

/// The protocol of a service's members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, as almost every application has.
    #[default]
    Http1,
    /// HTTP/2 from the first byte on ("prior knowledge"), as gRPC servers do: `h2c`, and by TLS `h2`.
    H2,
}

pub(crate) const PROTOCOLS: [(&str, Protocol); 3] = [
    ("http/1.1", Protocol::Http1),
    ("h2c", Protocol::H2),
    ("h2", Protocol::H2),
];

/// Checks the protocol against TLS: HTTP/2 has one name with TLS and one without.
pub(crate) fn fits_tls(raw: &Text, tls: &Option<BackendTls>) -> Check<()> {
    let Some(raw) = raw else {
        return Ok(());
    };
    let wrong = |what, label, help| Err(Problem::at(raw.span(), what, label, help));
    match (raw.get_ref().as_str(), tls) {
        ("h2", None) => wrong(
            "`protocol` is \"h2\", which is HTTP/2 by TLS, and there is no `tls`",
            "without TLS",
            "write tls = true, or protocol = \"h2c\" for HTTP/2 without TLS",
        ),
        ("h2c", Some(_)) => wrong(
            "`protocol` is \"h2c\", which is HTTP/2 without TLS, and `tls` is on",
            "with TLS",
            "write protocol = \"h2\", or leave `tls` out",
        ),
        _ => Ok(()),
    }
}
