//! The checked configuration: code that holds one of these values need not check it again.

use crate::config::acme::Acme;
use crate::config::control::Control;
use crate::config::copying::Copying;
use crate::config::host::Host;
use crate::config::judgement::Judgement;
use crate::config::mirror::Mirror;
use crate::config::parse::certificate::Certificate;
use crate::config::parse::secret::Secret;
use crate::config::probes::Probes;
use crate::config::sources::Source;
use crate::config::unjudged::Unjudged;
use crate::config::users::{Preview, Rule, Sticky};
use crate::core::plan::{Moment, OnWorse, Step, Strategy, Undecided};
use crate::core::switchback::Settings;
use crate::core::table::{Backend, Color, Pool};
use crate::core::weight::Weight;
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use std::net::{IpAddr, SocketAddr};
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

/// The listener for users, and the settings for all services.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// The addresses of the listener without TLS; at least one.
    pub listen: Vec<SocketAddr>,
    /// Worker threads for requests; 0 is one for each core.
    pub threads: usize,
    /// Open connections of clients; further ones wait.
    pub max_connections: usize,
    /// Requests on one connection before it is closed, so that load balancers in front redistribute.
    pub keepalive_requests: u32,
    /// How long a client's idle connection is kept.
    pub keepalive_idle: Duration,
    /// Number of retries of a request that a backend could not take, or that only reads and died with it.
    pub retries: u32,
    /// Whether requests and answers carry a `Via` header.
    pub via: bool,
    /// The header with the request id, which is generated when absent.
    pub request_id_header: String,
    /// The secret that signs sticky cookies; `None`: a key of this shifter's own.
    pub cookie_secret: Option<Secret>,
    /// The clients with trusted `X-Forwarded-*` headers: only proxies in front.
    pub trust: Trust,
    /// Whether trusted proxies begin each connection with the PROXY protocol.
    pub proxy_protocol: bool,
    /// The limits for one client.
    pub limits: Limits,
    /// TLS for clients; `None`: off.
    pub tls: Option<Tls>,
    /// How the process ends.
    pub shutdown: Shutdown,
}

/// TLS for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The addresses of the TLS listener; at least one.
    pub listen: Vec<SocketAddr>,
    /// Chosen by the server name (SNI) of the client, the first where none matches; at least one, or `acme`.
    pub certificates: Vec<Certificate>,
    /// How one more certificate is obtained, for names that no other certificate covers.
    pub acme: Option<Acme>,
    /// Clients must present a certificate of one of these authorities; empty: none is required.
    pub client_ca: Vec<CertificateDer<'static>>,
    /// The longest time for a handshake.
    pub handshake_timeout: Duration,
    /// The `https` port that clients without TLS are redirected to; `None`: they are not.
    pub redirect: Option<u16>,
    /// The `Strict-Transport-Security` of answers.
    pub hsts: Option<String>,
}

impl Proxy {
    /// All addresses of the listeners for users, those without TLS first.
    pub fn all_listen(&self) -> Vec<SocketAddr> {
        let tls = self.tls.iter().flat_map(|tls| &tls.listen);
        self.listen.iter().chain(tls).copied().collect()
    }
}

/// Which connecting clients are trusted about the client address they forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// None: the connecting client is the user.
    Nobody,
    /// All: shifter cannot be reached in another way.
    Everybody,
    /// Proxies with an address in one of these networks; at least one.
    Named(Vec<IpNet>),
}

impl Trust {
    /// Whether a proxy at this address is trusted.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Trust::Nobody => false,
            Trust::Everybody => true,
            Trust::Named(networks) => networks.iter().any(|network| network.contains(&address)),
        }
    }
}

/// The limits for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's header; a larger one is answered with 431.
    pub header: usize,
    /// Fields of a header; more are answered with 431.
    pub headers: usize,
    /// Bytes of a request's target; a longer one is answered with 414.
    pub uri: usize,
    /// Bytes of a request's body; a larger one is answered with 413. `None`: no limit.
    pub body: Option<u64>,
    /// Timeout from the first byte of a header to its last.
    pub header_time: Duration,
    /// Total wait for a body, beyond one second for each KiB of it; a slower one is answered with 408.
    pub body_time: Duration,
    /// Concurrent connections of one address; more are answered with 429. `None`: no limit.
    pub connections_per_address: Option<u32>,
    /// Requests of one address per second; more are answered with 429. `None`: no limit.
    pub requests_per_address: Option<u32>,
}

/// How the process ends on SIGTERM.
#[derive(Clone, Debug, PartialEq)]
pub struct Shutdown {
    /// Time in which it still accepts connections, and answers with `Connection: close`.
    pub lame_duck: Duration,
    /// The longest wait for requests in flight after that.
    pub deadline: Duration,
}

/// The listeners for people and tools.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// The TCP address for reading, metrics and (with the token) commands; `None` when off.
    pub listen: Option<SocketAddr>,
    /// The unix socket for all requests.
    pub socket: PathBuf,
    /// The token that a command over TCP must carry; without it TCP is read-only.
    pub token: Option<Secret>,
    /// Further names (in lower case) by which clients reach the TCP address: in DNS, or of a proxy in front.
    pub hosts: Vec<String>,
}

/// The log on standard error, and the access log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// The least important level that is shown.
    pub level: LogLevel,
    /// The access log, with a line for each request; `None`: off.
    pub access: Option<AccessLog>,
}

/// The access log's file and format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The format of the lines.
    pub format: AccessFormat,
    /// The file, reopened on SIGHUP and SIGUSR1; `None`: standard output.
    pub file: Option<PathBuf>,
    /// Whether upgraded connections and streams also have a line when they begin.
    pub begins: bool,
}

/// The format of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object on each line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// The log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// Also what may fail soon.
    Warn,
    /// Also the progress of rollouts.
    Info,
    /// Also the reasons.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The name in filters.
    pub const fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// The Docker engine, and what shifter may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// `unix://` or `tcp://`; `None`: as the Docker command line: `DOCKER_HOST`, `DOCKER_CONTEXT`, the context in use,
    /// the local engine.
    pub host: Option<String>,
    /// The highest access that shifter uses.
    pub access: Access,
    /// Whether containers with the label `shifter.service` are services too.
    pub discovery: bool,
    /// Number of images that are kept of those that shifter fetched for a service, beside those in use.
    pub keep_images: usize,
}

/// What shifter may do at the Docker engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// No access: the engine is never queried.
    RouteOnly,
    /// Read only: the engine is queried, and nothing is changed there.
    Discover,
    /// Containers are created, started and stopped.
    Manage,
}

impl Access {
    /// An explanation for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Access::RouteOnly => "Docker is not asked (route-only)",
            Access::Discover => "Docker is asked, nothing is changed there (discover)",
            Access::Manage => "containers are made, started and stopped in Docker (manage)",
        }
    }

    /// The name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Access::RouteOnly => "route-only",
            Access::Discover => "discover",
            Access::Manage => "manage",
        }
    }
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
