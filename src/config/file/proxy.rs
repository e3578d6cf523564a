//! `[proxy]` as written.

use crate::config::parse::certificate::RawCertificate;
use crate::config::parse::raw::{Many, Scalar, Text, Value};
use crate::config::parse::secret::RawSecret;
use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: [proxy]")]
pub(crate) struct RawProxy {
    pub(crate) listen: Option<Many>,
    pub(crate) threads: Value<i64>,
    pub(crate) max_connections: Value<i64>,
    pub(crate) keepalive_requests: Value<i64>,
    pub(crate) keepalive_idle: Value<Scalar>,
    pub(crate) retries: Value<i64>,
    pub(crate) via: Option<bool>,
    pub(crate) request_id_header: Text,
    pub(crate) cookie_secret: Value<RawSecret>,
    pub(crate) trust_forwarded: Value<bool>,
    pub(crate) trusted_proxies: Option<Many>,
    pub(crate) proxy_protocol: Value<bool>,
    #[serde(default)]
    pub(crate) limits: RawLimits,
    pub(crate) tls: Value<RawTls>,
    #[serde(default)]
    pub(crate) shutdown: RawShutdown,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: [proxy.tls]")]
pub(crate) struct RawTls {
    pub(crate) listen: Option<Many>,
    #[serde(default)]
    pub(crate) certificates: Vec<Spanned<RawCertificate>>,
    pub(crate) acme: Value<RawAcme>,
    pub(crate) client_ca: Text,
    pub(crate) handshake_timeout: Value<Scalar>,
    pub(crate) redirect: Option<bool>,
    pub(crate) redirect_port: Value<i64>,
    pub(crate) hsts: Text,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { names = [\"app.example.com\"], email = \"ops@example.com\" }"
)]
pub(crate) struct RawAcme {
    #[serde(default)]
    pub(crate) names: Vec<Spanned<String>>,
    pub(crate) email: Text,
    pub(crate) directory: Text,
    pub(crate) ca: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { header = \"64KiB\", body = \"10MiB\" }"
)]
pub(crate) struct RawLimits {
    pub(crate) header: Value<Scalar>,
    pub(crate) headers: Value<i64>,
    pub(crate) uri: Value<Scalar>,
    pub(crate) body: Value<Scalar>,
    pub(crate) header_time: Value<Scalar>,
    pub(crate) body_time: Value<Scalar>,
    pub(crate) connections_per_address: Value<i64>,
    pub(crate) requests_per_address: Value<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { lame_duck = \"1s\", deadline = \"8s\" }"
)]
pub(crate) struct RawShutdown {
    pub(crate) lame_duck: Value<Scalar>,
    pub(crate) deadline: Value<Scalar>,
}
