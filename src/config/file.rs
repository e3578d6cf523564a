//! The schema of the file, as written: every key, with only its type checked.

use crate::config::answers::RawAnswers;
use crate::config::mirror::RawMirror;
use crate::config::parse::raw::{Many, Scalar, Text, Value};
use crate::config::parse::secret::{RawHeader, RawSecret};
use crate::config::parse::untagged::{Untagged, texts, untagged};
use crate::config::probes::RawProbes;
use crate::config::process::admin::RawAdmin;
use crate::config::process::docker::RawDocker;
use crate::config::process::log::RawLog;
use crate::config::process::proxy::RawProxy;
use crate::config::switchback::RawSwitchback;
use crate::config::unjudged::RawUnjudged;
use crate::config::users::{RawPreview, RawRule, RawSticky};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess};
use std::collections::BTreeMap;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConfig {
    pub(crate) state: Text,
    #[serde(default)]
    pub(crate) proxy: RawProxy,
    #[serde(default)]
    pub(crate) admin: RawAdmin,
    #[serde(default)]
    pub(crate) log: RawLog,
    #[serde(default)]
    pub(crate) docker: RawDocker,
    #[serde(default)]
    pub(crate) service: BTreeMap<Spanned<String>, RawService>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table for each service: [service.api]"
)]
pub(crate) struct RawService {
    pub(crate) hosts: Option<Many>,
    pub(crate) paths: Option<Many>,
    pub(crate) blue: Option<RawPool>,
    pub(crate) green: Option<RawPool>,
    pub(crate) baseline: Option<RawPool>,
    pub(crate) control: Text,
    #[serde(default)]
    pub(crate) copy: RawCopy,
    pub(crate) protocol: Text,
    pub(crate) tls: Value<RawBackendTls>,
    pub(crate) strategy: Text,
    pub(crate) steps: Value<Vec<Spanned<RawStep>>>,
    pub(crate) monitor: Value<Scalar>,
    pub(crate) holdback: Value<f64>,
    pub(crate) challenge: Value<f64>,
    pub(crate) confirm: Value<Scalar>,
    pub(crate) ramp: Value<Scalar>,
    pub(crate) switchback: Value<RawSwitchback>,
    #[serde(default)]
    pub(crate) health: RawHealth,
    pub(crate) warmup: Option<RawWarmup>,
    #[serde(default)]
    pub(crate) smoke: Vec<Spanned<RawSmoke>>,
    #[serde(default)]
    pub(crate) hooks: Vec<Spanned<RawHook>>,
    #[serde(default)]
    pub(crate) sources: Vec<Spanned<RawSource>>,
    pub(crate) probes: Option<RawProbes>,
    pub(crate) sticky: Value<RawSticky>,
    pub(crate) preview: Value<RawPreview>,
    #[serde(default)]
    pub(crate) rules: Vec<Spanned<RawRule>>,
    #[serde(default)]
    pub(crate) unjudged: Vec<Spanned<RawUnjudged>>,
    pub(crate) mirror: Value<RawMirror>,
    #[serde(default)]
    pub(crate) timeouts: RawTimeouts,
    #[serde(default)]
    pub(crate) eject: RawEject,
    #[serde(default)]
    pub(crate) retry_budget: RawRetryBudget,
    pub(crate) confidence: Value<f64>,
    pub(crate) error_margin: Value<Scalar>,
    pub(crate) latency_margin: Value<Scalar>,
    pub(crate) latency: Text,
    pub(crate) latency_grace: Value<Scalar>,
    pub(crate) max_excess_failures: Value<i64>,
    pub(crate) count_4xx: Value<bool>,
    pub(crate) answers: Value<RawAnswers>,
    pub(crate) slo: Value<RawSlo>,
    pub(crate) step_deadline: Value<Scalar>,
    pub(crate) approve_deadline: Value<Scalar>,
    pub(crate) deadline: Value<Scalar>,
    pub(crate) drain: Value<Scalar>,
    pub(crate) keep_blue: Value<Scalar>,
    pub(crate) keep_green: Value<Scalar>,
    pub(crate) on_worse: Text,
    pub(crate) on_inconclusive: Text,
    pub(crate) on_no_data: Text,
    pub(crate) step_requests_min: Value<i64>,
    pub(crate) total_requests_min: Value<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a step: { weight = 5, hold = \"1m\" } or { approve = true }"
)]
pub(crate) struct RawStep {
    pub(crate) weight: Value<f64>,
    pub(crate) hold: Value<Scalar>,
    pub(crate) deadline: Value<Scalar>,
    pub(crate) approve: Value<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: { path = \"/health\" }")]
pub(crate) struct RawHealth {
    pub(crate) path: Text,
    pub(crate) host: Text,
    pub(crate) grpc: Text,
    pub(crate) port: Value<i64>,
    pub(crate) interval: Value<Scalar>,
    pub(crate) timeout: Value<Scalar>,
    pub(crate) rise: Value<i64>,
    pub(crate) fall: Value<i64>,
    pub(crate) min_ready: Value<Scalar>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { paths = [\"/\"], requests = 50 }"
)]
pub(crate) struct RawWarmup {
    pub(crate) paths: Option<Many>,
    pub(crate) requests: Value<i64>,
    pub(crate) concurrency: Value<i64>,
    pub(crate) timeout: Value<Scalar>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a check: { path = \"/health\", expect = 200 }"
)]
pub(crate) struct RawSmoke {
    pub(crate) exec: Option<Many>,
    pub(crate) image: Text,
    pub(crate) command: Option<Many>,
    pub(crate) method: Text,
    pub(crate) path: Text,
    #[serde(default)]
    pub(crate) headers: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(crate) expect: Value<i64>,
    pub(crate) contains: Option<String>,
    pub(crate) timeout: Value<Scalar>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a hook: { at = \"before-start\", exec = [\"./migrate\"] }"
)]
pub(crate) struct RawHook {
    pub(crate) at: Text,
    pub(crate) exec: Option<Many>,
    pub(crate) post: Text,
    pub(crate) timeout: Value<Scalar>,
    pub(crate) optional: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a source: { name = \"checkouts\", exec = [\"./check\"] }"
)]
pub(crate) struct RawSource {
    pub(crate) name: Text,
    pub(crate) prometheus: Text,
    pub(crate) query: Text,
    pub(crate) max: Value<f64>,
    pub(crate) min: Value<f64>,
    pub(crate) margin: Value<Scalar>,
    pub(crate) margin_below: Value<Scalar>,
    pub(crate) get: Text,
    pub(crate) ca: Text,
    #[serde(default)]
    pub(crate) headers: BTreeMap<Spanned<String>, Spanned<RawHeader>>,
    pub(crate) user: Text,
    pub(crate) password: Value<RawSecret>,
    pub(crate) token: Value<RawSecret>,
    pub(crate) exec: Option<Many>,
    pub(crate) every: Value<Scalar>,
    pub(crate) times: Value<i64>,
    pub(crate) timeout: Value<Scalar>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { max_error_rate = \"5%\", max_p99 = \"800ms\" }"
)]
pub(crate) struct RawSlo {
    pub(crate) max_error_rate: Value<Scalar>,
    pub(crate) max_p50: Value<Scalar>,
    pub(crate) max_p90: Value<Scalar>,
    pub(crate) max_p99: Value<Scalar>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { connect = \"1s\", read = \"60s\" }"
)]
pub(crate) struct RawTimeouts {
    pub(crate) connect: Value<Scalar>,
    pub(crate) first_byte: Value<Scalar>,
    pub(crate) read: Value<Scalar>,
    pub(crate) write: Value<Scalar>,
    pub(crate) idle: Value<Scalar>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { failures = 5, for = \"10s\" }"
)]
pub(crate) struct RawEject {
    pub(crate) failures: Value<i64>,
    #[serde(rename = "for")]
    pub(crate) span: Value<Scalar>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { percent = 20, per_second = 10 }"
)]
pub(crate) struct RawRetryBudget {
    pub(crate) percent: Value<i64>,
    pub(crate) per_second: Value<i64>,
}

/// TLS for connections to the members.
#[derive(Debug)]
pub(crate) enum RawBackendTls {
    /// Whether TLS is used.
    Switch(bool),
    /// TLS is used, with these settings.
    Table(RawBackendTlsTable),
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "true, or a table: { ca = \"ca.pem\", server_name = \"api.internal\" }"
)]
pub(crate) struct RawBackendTlsTable {
    pub(crate) ca: Text,
    pub(crate) server_name: Text,
    pub(crate) cert: Text,
    pub(crate) key: Text,
    pub(crate) insecure: Option<bool>,
}

impl<'de> Deserialize<'de> for RawBackendTls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawBackendTls, D::Error> {
        untagged(deserializer)
    }
}

impl<'de> Untagged<'de> for RawBackendTls {
    const EXPECTED: &'static str = "true or a table: { server_name = \"api.internal\" }";

    fn switch<E: Error>(on: bool) -> Result<RawBackendTls, E> {
        Ok(RawBackendTls::Switch(on))
    }

    fn table<A: MapAccess<'de>>(table: A) -> Result<RawBackendTls, A::Error> {
        RawBackendTlsTable::deserialize(MapAccessDeserializer::new(table)).map(RawBackendTls::Table)
    }
}

/// The containers of a pool, or the image of containers to be created.
#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { container = \"api\", port = 3000 } or { image = \"api:1.1\" }"
)]
pub(crate) struct RawContainers {
    pub(crate) container: Option<Many>,
    pub(crate) label: Option<Many>,
    pub(crate) compose: Text,
    pub(crate) swarm: Text,
    pub(crate) port: Value<i64>,
    pub(crate) network: Text,
    pub(crate) image: Text,
}

/// How green is created from blue.
#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { pull = \"missing\", env = { KEY = \"value\" } }"
)]
pub(crate) struct RawCopy {
    pub(crate) pull: Text,
    #[serde(default)]
    pub(crate) env: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(crate) aliases: Option<Many>,
    pub(crate) replicas: Value<i64>,
    pub(crate) naming: Text,
    pub(crate) compose: Option<bool>,
    pub(crate) hostname: Option<bool>,
    pub(crate) names: Option<bool>,
}

/// The members of a pool: addresses, or a table about containers.
#[derive(Debug)]
pub(crate) enum RawPool {
    Addresses(Many),
    Containers(Box<Spanned<RawContainers>>),
}

enum AnyPool {
    One(String),
    Many(Vec<Spanned<String>>),
    Containers(Box<RawContainers>),
}

impl<'de> Deserialize<'de> for RawPool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawPool, D::Error> {
        let value = Spanned::<AnyPool>::deserialize(deserializer)?;
        let span = value.span();
        Ok(match value.into_inner() {
            AnyPool::One(text) => RawPool::Addresses(Many {
                items: vec![Spanned::new(span.clone(), text)],
                span,
            }),
            AnyPool::Many(items) => RawPool::Addresses(Many { span, items }),
            AnyPool::Containers(table) => RawPool::Containers(Box::new(Spanned::new(span, *table))),
        })
    }
}

impl<'de> Deserialize<'de> for AnyPool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AnyPool, D::Error> {
        untagged(deserializer)
    }
}

impl<'de> Untagged<'de> for AnyPool {
    const EXPECTED: &'static str = "text in quotes, or a list of texts";

    fn text<E: Error>(text: &str) -> Result<AnyPool, E> {
        Ok(AnyPool::One(text.to_owned()))
    }

    fn list<A: SeqAccess<'de>>(list: A) -> Result<AnyPool, A::Error> {
        texts(list).map(AnyPool::Many)
    }

    fn table<A: MapAccess<'de>>(table: A) -> Result<AnyPool, A::Error> {
        let table = RawContainers::deserialize(MapAccessDeserializer::new(table))?;
        Ok(AnyPool::Containers(Box::new(table)))
    }
}
