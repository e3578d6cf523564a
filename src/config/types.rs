//! The checked configuration: code that holds one of these values need not check it again.

use crate::config::control::Control;
use crate::config::copying::Copying;
use crate::config::host::Host;
use crate::config::judgement::Judgement;
use crate::config::mirror::Mirror;
use crate::config::parse::certificate::Certificate;
use crate::config::probes::Probes;
use crate::config::process::admin::Admin;
use crate::config::process::docker::Docker;
use crate::config::process::log::Log;
use crate::config::process::proxy::Proxy;
use crate::config::sources::Source;
use crate::config::unjudged::Unjudged;
use crate::config::users::{Preview, Rule, Sticky};
use crate::core::plan::{Moment, OnWorse, Step, Strategy, Undecided};
use crate::core::switchback::Settings;
use crate::core::table::{Backend, Color, Pool};
use crate::core::weight::Weight;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One configuration file, checked as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The listener for users, and the settings for all services.
    pub proxy: Proxy,
    /// The listeners for people and tools.
    pub admin: Admin,
    /// The settings of log and access log.
    pub log: Log,
    /// The Docker engine, and what shifter may do there.
    pub docker: Docker,
    /// The folder for the journal and the admin socket.
    pub state: PathBuf,
    /// The services, in the order of the file; at least one, unless labels may make containers services.
    pub services: Vec<Service>,
}

/// One thing reachable by host and path, with at most one rollout at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name: `[a-z0-9-]`, 1 to 63 characters.
    pub name: String,
    /// The hosts of the service; at least one.
    pub hosts: Vec<Host>,
    /// The path prefixes of the service, by whole segments, without a `/` at the end; at least one.
    pub paths: Vec<String>,
    /// The version that runs now.
    pub blue: PoolSpec,
    /// The version that is to replace it, when there is one.
    pub green: Option<PoolSpec>,
    /// What green's latency is compared with.
    pub control: Control,
    /// The protocol of its members.
    pub protocol: Protocol,
    /// TLS to the members; `None`: off.
    pub tls: Option<BackendTls>,
    /// How green's containers are created from blue's, where shifter creates them.
    pub copy: Copying,
    /// The strategy, unless the command line names another.
    pub strategy: Strategy,
    /// The shares and approvals of a canary, in order: only `Shift` and `Approve`, rising, the last 100 %.
    pub steps: Vec<Step>,
    /// The watch after a blue-green swap.
    pub monitor: Duration,
    /// The share that stays on blue during the last watch, as a control; `None`: 5 % in a canary, nothing in blue-green.
    pub holdback: Option<Weight>,
    /// The share that blue gets back while a green with the whole share looks worse than blue's past; none: the past
    /// alone decides.
    pub challenge: Weight,
    /// Time in an equal share in which slowness of a small share is confirmed, once more while green leans worse there;
    /// zero: a small share convicts.
    pub confirm: Duration,
    /// Time in which a raised share grows to its weight.
    pub ramp: Duration,
    /// How shifter searches for harm that green does to blue; `None`: it does not.
    pub switchback: Option<Settings>,
    /// How the health of a pool's members is checked.
    pub health: Health,
    /// Warm-up requests before any user sees green.
    pub warmup: Option<Warmup>,
    /// Checks of green before any user sees it.
    pub smoke: Vec<SmokeCheck>,
    /// The user's own commands, at moments of a rollout, in the order of the file.
    pub hooks: Vec<Hook>,
    /// Further sources of evidence about green while it has users.
    pub sources: Vec<Source>,
    /// Shifter's own probe requests to both versions while green has users; `None`: none.
    pub probes: Option<Probes>,
    /// What keeps a user on one colour; `None`: each request is placed by chance.
    pub sticky: Option<Sticky>,
    /// How to see green before it has a share.
    pub preview: Option<Preview>,
    /// Exceptions from the weights, in the order of the file: the first rule that matches decides.
    pub rules: Vec<Rule>,
    /// Requests that are routed as all others and not judged.
    pub unjudged: Vec<Unjudged>,
    /// Mirroring of requests to a green without users; `None`: off.
    pub mirror: Option<Mirror>,
    /// The timeouts of the parts of a request.
    pub timeouts: Timeouts,
    /// When one member is ejected for a while.
    pub eject: Eject,
    /// The limit of retries.
    pub retry_budget: RetryBudget,
    /// The margins of the judge.
    pub judgement: Judgement,
    /// The longest time for each step that is not a share.
    pub step_deadline: Duration,
    /// The longest wait for a person's approval.
    pub approve_deadline: Duration,
    /// The longest time from the start to the promotion; `None` is enough for the steps.
    pub deadline: Option<Duration>,
    /// The longest wait for requests in flight on a released pool.
    pub drain: Duration,
    /// How long blue stays warm after the promotion.
    pub keep_blue: Duration,
    /// How long the stopped containers of a released green are kept.
    pub keep_green: Duration,
    /// When the judge finds green worse.
    pub on_worse: OnWorse,
    /// At a share's deadline with evidence of neither harm nor safety.
    pub on_inconclusive: Undecided,
    /// At a share's deadline with too few requests; never `Promote`.
    pub on_no_data: Undecided,
    /// Green requests in a share below which there is no data.
    pub step_requests_min: u64,
    /// Green requests in the rollout below which the last share has no data.
    pub total_requests_min: u64,
}

/// The members of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolSpec {
    /// At these addresses; at least one.
    Addresses(Vec<SocketAddr>),
    /// In containers that are started and stopped outside of shifter.
    Containers(Containers),
    /// In copies of blue's containers with this image, created by shifter: only green can have this.
    Image(String),
}

impl PoolSpec {
    /// The pool as far as the file alone gives it; a fixed address is its own id.
    pub fn pool(&self) -> Pool {
        match self {
            PoolSpec::Addresses(addresses) => Pool {
                release: self.to_string(),
                backends: addresses
                    .iter()
                    .map(|&addr| Backend {
                        id: addr.to_string(),
                        addr,
                    })
                    .collect(),
            },
            PoolSpec::Containers(_) | PoolSpec::Image(_) => Pool {
                release: self.to_string(),
                backends: vec![],
            },
        }
    }
}

impl std::fmt::Display for PoolSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PoolSpec::Addresses(addresses) => {
                let names: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
                f.write_str(&names.join(","))
            }
            PoolSpec::Containers(containers) => write!(f, "{}", containers.find),
            PoolSpec::Image(image) => f.write_str(image),
        }
    }
}

/// Containers that exist already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containers {
    /// How they are found.
    pub find: Find,
    /// The serving port inside the container.
    pub port: u16,
    /// The network by which they are reached; `None`: their only network.
    pub network: Option<String>,
}

impl Containers {
    /// Whether Swarm starts and stops them.
    pub fn is_swarm(&self) -> bool {
        matches!(self.find, Find::Swarm(_))
    }
}

/// How containers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find {
    /// By name; at least one.
    Names(Vec<String>),
    /// By all of these labels, `name=value` or `name`; at least one.
    Labels(Vec<String>),
    /// The tasks of this Swarm service.
    Swarm(String),
    /// By labels of their own that name this service and this pool.
    Pool(String, Color),
}

impl std::fmt::Display for Find {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Find::Names(all) | Find::Labels(all) => f.write_str(&all.join(",")),
            Find::Swarm(service) => f.write_str(service),
            Find::Pool(service, color) => write!(f, "{service}'s {color} by label"),
        }
    }
}

/// How the health of a pool's members is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The kind of check.
    pub ask: Ask,
    /// The `Host` of our own requests, see [`Service::own_host`].
    pub host: Option<String>,
    /// The port to check, when it is not the serving port.
    pub port: Option<u16>,
    /// The interval of the checks.
    pub interval: Duration,
    /// The longest wait for one answer.
    pub timeout: Duration,
    /// Successful checks in a row that make a member healthy.
    pub rise: u32,
    /// Failed checks in a row that make it unhealthy.
    pub fall: u32,
    /// How long all of green must be healthy without a break before it counts as ready.
    pub min_ready: Duration,
}

/// TLS to a service's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// The name that their certificate must have; `None`: their address.
    pub server_name: Option<String>,
    /// Whether the certificate is verified.
    pub verify: bool,
    /// The accepted authorities; empty: those that the system trusts.
    pub ca: Vec<CertificateDer<'static>>,
    /// The client certificate that shifter presents.
    pub certificate: Option<Certificate>,
}

impl BackendTls {
    /// The name that a member's certificate must have.
    pub fn name_of(&self, addr: SocketAddr) -> String {
        let name = self.server_name.clone();
        name.unwrap_or_else(|| addr.ip().to_canonical().to_string())
    }
}

/// The protocol of a service's members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, as almost every application has.
    #[default]
    Http1,
    /// HTTP/2 from the first byte on ("prior knowledge"), as gRPC servers do: `h2c`, and by TLS `h2`.
    H2,
}

/// The kind of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A connection that is accepted is enough.
    Connect,
    /// A request to this path must be answered with 200 to 399.
    Path(String),
    /// This service of gRPC's health checking protocol must be SERVING; the empty name is the whole server.
    Grpc(String),
}

/// Requests of our own to each member of green, so that no user waits for cold caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warmup {
    /// The paths, requested in turn; at least one.
    pub paths: Vec<String>,
    /// Number of requests to each member, in all.
    pub requests: u32,
    /// Number of requests in flight.
    pub concurrency: u32,
    /// The longest wait for one answer.
    pub timeout: Duration,
}

/// One check of green, hidden from users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmokeCheck {
    /// A request to each member.
    Http(HttpCheck),
    /// A command in each of green's containers; exit status 0 is good.
    Exec {
        /// The program and its arguments; at least one.
        command: Vec<String>,
        /// The longest wait for its end.
        timeout: Duration,
    },
    /// A container of this image on green's network, for each member of green; exit status 0 is good.
    Container {
        /// The image.
        image: String,
        /// The command instead of the image's own; `{green}` is the member's address and port.
        command: Vec<String>,
        /// The longest wait for its end.
        timeout: Duration,
    },
}

impl SmokeCheck {
    /// Whether the check needs the Docker engine.
    pub fn is_in_docker(&self) -> bool {
        matches!(self, SmokeCheck::Exec { .. } | SmokeCheck::Container { .. })
    }
}

/// A request and its required answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The method.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// Headers to send, in the order of their names.
    pub headers: Vec<(String, String)>,
    /// The required status.
    pub expect: u16,
    /// Text that the body must contain.
    pub contains: Option<String>,
    /// The longest wait for the answer.
    pub timeout: Duration,
}

/// A command of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When it runs.
    pub at: Moment,
    /// The command.
    pub what: HookCall,
    /// The longest wait for its end.
    pub timeout: Duration,
    /// Whether the rollout goes on when it fails.
    pub optional: bool,
}

/// The kind of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookCall {
    /// A program on this host with its arguments; at least one. Exit status 0 is good.
    Exec(Vec<String>),
    /// A POST to this address; 200 to 299 is good.
    Post(String),
}

/// The timeouts of the parts of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect to a member.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub first_byte: Duration,
    /// Between two reads from a member.
    pub read: Duration,
    /// Between two writes to a member.
    pub write: Duration,
    /// How long an idle connection to a member is kept.
    pub idle: Duration,
}

/// When one member is ejected for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eject {
    /// Failures in a row; 0 disables ejection.
    pub failures: u32,
    /// How long it is ejected.
    pub span: Duration,
}

/// The limit of retries: the sum of both parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Percentage of the requests of the last ten seconds.
    pub percent: u32,
    /// Retries per second in any case, on average over ten seconds.
    pub per_second: u32,
}
