//! The shapes of the file, as written: every key, nothing checked but its type.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use toml::Spanned;

/// A key's value with its place, when the key is there.
pub(crate) type Value<T> = Option<Spanned<T>>;
/// Text with its place, when the key is there.
pub(crate) type Text = Value<String>;

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
    pub(crate) trust_forwarded: Option<bool>,
    #[serde(default)]
    pub(crate) shutdown: RawShutdown,
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: [admin]")]
pub(crate) struct RawAdmin {
    pub(crate) listen: Text,
    pub(crate) socket: Text,
    pub(crate) token: Value<RawSecret>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: [log]")]
pub(crate) struct RawLog {
    pub(crate) format: Text,
    pub(crate) level: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: [docker]")]
pub(crate) struct RawDocker {
    pub(crate) host: Text,
    pub(crate) access: Text,
    pub(crate) discovery: Option<bool>,
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
    #[serde(default)]
    pub(crate) copy: RawCopy,
    pub(crate) strategy: Text,
    pub(crate) steps: Value<Vec<Spanned<RawStep>>>,
    pub(crate) monitor: Value<Scalar>,
    pub(crate) holdback: Value<f64>,
    #[serde(default)]
    pub(crate) health: RawHealth,
    pub(crate) warmup: Option<RawWarmup>,
    #[serde(default)]
    pub(crate) smoke: Vec<Spanned<RawSmoke>>,
    #[serde(default)]
    pub(crate) hooks: Vec<Spanned<RawHook>>,
    pub(crate) sticky: Value<RawSticky>,
    pub(crate) preview: Value<RawPreview>,
    #[serde(default)]
    pub(crate) timeouts: RawTimeouts,
    #[serde(default)]
    pub(crate) eject: RawEject,
    pub(crate) confidence: Value<f64>,
    pub(crate) error_margin: Value<Scalar>,
    pub(crate) latency_margin: Value<Scalar>,
    pub(crate) latency_grace: Value<Scalar>,
    pub(crate) max_excess_failures: Value<i64>,
    pub(crate) step_deadline: Value<Scalar>,
    pub(crate) approve_deadline: Value<Scalar>,
    pub(crate) deadline: Value<Scalar>,
    pub(crate) drain: Value<Scalar>,
    pub(crate) keep_blue: Value<Scalar>,
    pub(crate) keep_green: Value<Scalar>,
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
    expecting = "a table: { cookie = \"shifter\" } or { header = \"x-user-id\" }"
)]
pub(crate) struct RawSticky {
    pub(crate) cookie: Text,
    pub(crate) header: Text,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { token = { env = \"SHIFTER_PREVIEW\" } }"
)]
pub(crate) struct RawPreview {
    pub(crate) header: Text,
    pub(crate) token: Value<RawSecret>,
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

/// Where a secret comes from.
#[derive(Debug)]
pub(crate) enum RawSecret {
    /// A table: a file or a variable.
    From(RawSource),
    /// The secret itself, which has no place here; the text is not kept.
    Literal,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { file = \"...\" } or { env = \"...\" }"
)]
pub(crate) struct RawSource {
    pub(crate) file: Text,
    pub(crate) env: Text,
}

impl<'de> Deserialize<'de> for RawSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawSecret, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = RawSecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table: { file = \"...\" } or { env = \"...\" }")
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<RawSecret, E> {
                Ok(RawSecret::Literal)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<RawSecret, E> {
                Ok(RawSecret::Literal)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawSecret, A::Error> {
                RawSource::deserialize(MapAccessDeserializer::new(map)).map(RawSecret::From)
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

/// Members of a pool that are containers, or the image of containers to be made.
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

/// How green is made from blue.
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
}

/// Where a pool's members are: addresses, or a table about containers.
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
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = AnyPool;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes, or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<AnyPool, E> {
                Ok(AnyPool::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<AnyPool, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(AnyPool::Many(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AnyPool, A::Error> {
                RawContainers::deserialize(MapAccessDeserializer::new(map))
                    .map(|table| AnyPool::Containers(Box::new(table)))
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

/// One text or a list of texts.
#[derive(Debug)]
pub(crate) struct Many {
    pub(crate) span: std::ops::Range<usize>,
    pub(crate) items: Vec<Spanned<String>>,
}

enum OneOrMany {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Many, D::Error> {
        let value = Spanned::<OneOrMany>::deserialize(deserializer)?;
        let span = value.span();
        let items = match value.into_inner() {
            OneOrMany::One(text) => vec![Spanned::new(span.clone(), text)],
            OneOrMany::Many(items) => items,
        };
        Ok(Many { span, items })
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMany, D::Error> {
        struct Shape;
        impl<'de> Visitor<'de> for Shape {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes, or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(OneOrMany::Many(items))
            }
        }
        deserializer.deserialize_any(Shape)
    }
}

/// Text, or a bare number as text: the checks tell better than a type error that a unit is missing.
#[derive(Debug)]
pub(crate) struct Scalar(pub(crate) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        struct Shape;
        impl Visitor<'_> for Shape {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes, with a unit")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
        }
        deserializer.deserialize_any(Shape)
    }
}
