//! The configuration: one TOML file as checked types.
//!
//! The text is read into raw shapes, which are checked into a [`Config`]: two types for two states, so that no code has to
//! ask whether a value was checked. A file is taken whole or not at all, and the first fault is reported with its place and
//! its fix.
//!
//! One file for each table: its raw shape, its checked type, its defaults, its checks and their tests. What all of them need
//! is in `parse`, tables about the process in `process`, those of a service in `service`; `file` is the whole, `conflicts`
//! compares its parts.

mod conflicts;
mod file;
mod labels;
mod parse;
mod process;
mod service;
mod warnings;

pub use file::Config;
pub use labels::Labelled;
pub use parse::certificate::Certificate;
pub use parse::error::ConfigError;
pub use parse::secret::Secret;
pub(crate) use parse::suggest::nearest;
pub use process::acme::Acme;
pub use process::admin::Admin;
pub use process::docker::{Access, Docker};
pub use process::limits::Limits;
pub use process::log::{AccessFormat, AccessLog, Log, LogFormat, LogLevel};
pub use process::proxy::Proxy;
pub use process::shutdown::Shutdown;
pub use process::tls::Tls;
pub use process::trust::Trust;
pub use service::Service;
pub use service::answers::Answers;
pub use service::conditions::Condition;
pub use service::containers::{Containers, Find};
pub use service::control::Control;
pub use service::copying::{Copying, Naming, Pull};
pub use service::eject::Eject;
pub use service::endpoint::Endpoint;
pub use service::health::{Ask, Health};
pub use service::hooks::{Hook, HookCall};
pub use service::hosts::Host;
pub use service::image::image;
pub use service::judgement::Judgement;
pub use service::latency::Timed;
pub use service::mirror::Mirror;
pub use service::pools::PoolSpec;
pub use service::preview::Preview;
pub use service::probes::Probes;
pub use service::protocol::Protocol;
pub use service::retry_budget::RetryBudget;
pub use service::rules::{Rule, Then};
pub use service::smoke::{HttpCheck, SmokeCheck};
pub use service::sources::{Asked, Source};
pub use service::sticky::{Cookie, Mark, SameSite, Sticky};
pub use service::timeouts::Timeouts;
pub use service::tls::BackendTls;
pub use service::unjudged::Unjudged;
pub use service::warmup::Warmup;
