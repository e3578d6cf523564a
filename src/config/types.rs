//! The checked configuration: whoever holds one of these values need not check it again.

use crate::config::acme::Acme;
use crate::config::certificate::Certificate;
use crate::config::control::Control;
use crate::config::copying::Copying;
use crate::config::host::Host;
use crate::config::judgement::Judgement;
use crate::config::mirror::Mirror;
use crate::config::probes::Probes;
use crate::config::secret::Secret;
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
    /// The listener for users, and what holds for all services.
    pub proxy: Proxy,
    /// Where people and tools ask.
    pub admin: Admin,
    /// What is told on standard error.
    pub log: Log,
    /// Which Docker engine, and what we may do there.
    pub docker: Docker,
    /// The folder for the journal and the admin socket.
    pub state: PathBuf,
    /// The services, in the order of the file; at least one, unless containers may be services by their labels.
    pub services: Vec<Service>,
}

/// The listener for users, and what holds for all services.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// The addresses that users reach; at least one.
    pub listen: Vec<SocketAddr>,
    /// Threads that move requests; 0 is one for each core.
    pub threads: usize,
    /// Open connections of users; those above it wait.
    pub max_connections: usize,
    /// Requests on one connection before it is closed, so that load balancers in front spread anew.
    pub keepalive_requests: u32,
    /// How long a user's idle connection is kept.
    pub keepalive_idle: Duration,
    /// How often a request that a backend could not take, or that only reads and died with it, is tried again.
    pub retries: u32,
    /// Whether requests and answers carry a `Via` header.
    pub via: bool,
    /// The header that carries the request id, made when it is absent.
    pub request_id_header: String,
    /// What sticky cookies are signed with; `None`: a key of this shifter's own.
    pub cookie_secret: Option<Secret>,
    /// Whose `X-Forwarded-*` are believed: only of proxies in front.
    pub trust: Trust,
    /// Whether those who are trusted begin each connection with the PROXY protocol.
    pub proxy_protocol: bool,
    /// What is taken from one user.
    pub limits: Limits,
    /// How users are met with TLS; `None`: they are not.
    pub tls: Option<Tls>,
    /// How the process ends.
    pub shutdown: Shutdown,
}

/// How users are met with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The addresses that they reach by TLS; at least one.
    pub listen: Vec<SocketAddr>,
    /// Chosen by the name that a user asks for, the first where none fits; at least one, or `acme`.
    pub certificates: Vec<Certificate>,
    /// How one more certificate is had, for names that none of the others is for.
    pub acme: Option<Acme>,
    /// Users must have a certificate of one of these authorities; none: of nobody.
    pub client_ca: Vec<CertificateDer<'static>>,
    /// The longest time for a handshake.
    pub handshake_timeout: Duration,
    /// Whether who comes without TLS is sent to `https`, and to which port.
    pub redirect: Option<u16>,
    /// The `Strict-Transport-Security` of answers.
    pub hsts: Option<String>,
}

impl Proxy {
    /// Every address that users reach, those without TLS first.
    pub fn all_listen(&self) -> Vec<SocketAddr> {
        let tls = self.tls.iter().flat_map(|tls| &tls.listen);
        self.listen.iter().chain(tls).copied().collect()
    }
}

/// Who is believed about the users that it speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Who connects is the user.
    Nobody,
    /// Whoever connects: there is no other way to reach shifter.
    Everybody,
    /// Proxies with an address in one of these networks; at least one.
    Named(Vec<IpNet>),
}

impl Trust {
    /// Whether this address is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Trust::Nobody => false,
            Trust::Everybody => true,
            Trust::Named(networks) => networks.iter().any(|network| network.contains(&address)),
        }
    }
}

/// What is taken from one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's header; more is answered with 431.
    pub header: usize,
    /// Fields of a header; more is answered with 431.
    pub headers: usize,
    /// Bytes of a request's target; more is answered with 414.
    pub uri: usize,
    /// Bytes of a request's body; more is answered with 413. `None`: any.
    pub body: Option<u64>,
    /// From the first byte of a header to its last.
    pub header_time: Duration,
    /// How long a body may keep us waiting in all, beyond a second for each KiB of it; more is answered with 408.
    pub body_time: Duration,
    /// Connections of one address at a time; more are answered with 429. `None`: any.
    pub connections_per_address: Option<u32>,
    /// Requests of one address in a second; more are answered with 429. `None`: any.
    pub requests_per_address: Option<u32>,
}

/// How the process ends on SIGTERM.
#[derive(Clone, Debug, PartialEq)]
pub struct Shutdown {
    /// Still accepting, answering `Connection: close`.
    pub lame_duck: Duration,
    /// The longest wait for requests in flight after that.
    pub deadline: Duration,
}

/// Where people and tools ask.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// The TCP address for reading, metrics and (with the token) verbs; `None` when off.
    pub listen: Option<SocketAddr>,
    /// The unix socket for everything.
    pub socket: PathBuf,
    /// What a verb over TCP must carry; without it TCP is read-only.
    pub token: Option<Secret>,
    /// Further names (in lower case) by which the TCP address is asked: in DNS, or of a proxy in front.
    pub hosts: Vec<String>,
}

/// What is told: on standard error, and about each request.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// The least important message that is shown.
    pub level: LogLevel,
    /// A line for each request; `None`: none.
    pub access: Option<AccessLog>,
}

/// Where a line for each request goes, and how it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The shape of the lines.
    pub format: AccessFormat,
    /// The file, reopened on SIGHUP and SIGUSR1; `None`: standard output.
    pub file: Option<PathBuf>,
    /// Tunnels and streams have a line at their beginning, too.
    pub begins: bool,
}

/// The shape of lines about requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object on each line.
    Json,
    /// As Apache and nginx write it.
    Combined,
}

/// The shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what may soon.
    Warn,
    /// And what a rollout does.
    Info,
    /// And why.
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

/// Which Docker engine, and what we may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// `unix://` or `tcp://`; `None`: what the Docker command line asks: `DOCKER_HOST`, `DOCKER_CONTEXT`, the context in use, the local engine.
    pub host: Option<String>,
    /// The most that is done there.
    pub access: Access,
    /// Whether containers with the label `shifter.service` are services too.
    pub discovery: bool,
    /// How many of the images that shifter fetched for a service are kept, beside those in use.
    pub keep_images: usize,
}

/// The most that is done at the Docker engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// The engine is never asked.
    RouteOnly,
    /// It is asked, and nothing is changed there.
    Discover,
    /// Containers are made, started and stopped.
    Manage,
}

impl Access {
    /// What it means, for people.
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
    /// The hosts that it answers for; at least one.
    pub hosts: Vec<Host>,
    /// The path prefixes that it answers for, by whole segments, without a `/` at the end; at least one.
    pub paths: Vec<String>,
    /// The version that runs now.
    pub blue: PoolSpec,
    /// The version that is to replace it, when there is one.
    pub green: Option<PoolSpec>,
    /// What green's latency is compared with.
    pub control: Control,
    /// What its members speak.
    pub protocol: Protocol,
    /// How the members are met with TLS; `None`: they are not.
    pub tls: Option<BackendTls>,
    /// How green's containers are made from blue's, where shifter makes them.
    pub copy: Copying,
    /// The recipe, unless the command line names another.
    pub strategy: Strategy,
    /// The shares and approvals of a canary, in order: only `Shift` and `Approve`, rising, the last 100 %.
    pub steps: Vec<Step>,
    /// The watch after a blue-green swap.
    pub monitor: Duration,
    /// The share that stays on blue during the last watch, as a control; `None`: 5 % in a canary, nothing in blue-green.
    pub holdback: Option<Weight>,
    /// The share that blue gets back while a green that has everything looks worse than blue's past; none: the past alone decides.
    pub challenge: Weight,
    /// Time in an equal share in which slowness of a small share is confirmed, once more while green leans worse there; zero: a small share convicts.
    pub confirm: Duration,
    /// Time in which a raised share grows to its weight.
    pub ramp: Duration,
    /// How it is looked for harm that green does to blue; `None`: it is not.
    pub switchback: Option<Settings>,
    /// How a pool's members are seen to be well.
    pub health: Health,
    /// Requests of our own before any user sees green.
    pub warmup: Option<Warmup>,
    /// Checks of green before any user sees it.
    pub smoke: Vec<SmokeCheck>,
    /// Commands of people's own, at moments of a rollout, in the order of the file.
    pub hooks: Vec<Hook>,
    /// What else is asked about green while it has users.
    pub sources: Vec<Source>,
    /// Requests of our own to both versions while green has users; `None`: none.
    pub probes: Option<Probes>,
    /// What keeps a user on one colour; `None` is a choice for each request.
    pub sticky: Option<Sticky>,
    /// Who may see green before it has a share.
    pub preview: Option<Preview>,
    /// Who goes elsewhere than the weights say, in the order of the file: the first that fits decides.
    pub rules: Vec<Rule>,
    /// What is routed as all is and not judged.
    pub unjudged: Vec<Unjudged>,
    /// What is copied to a green without users; `None`: nothing.
    pub mirror: Option<Mirror>,
    /// How long each part of a request may take.
    pub timeouts: Timeouts,
    /// When one member is left out for a while.
    pub eject: Eject,
    /// How often requests may be tried again.
    pub retry_budget: RetryBudget,
    /// The margins of the judge.
    pub judgement: Judgement,
    /// The longest time for each step that is not a share.
    pub step_deadline: Duration,
    /// The longest wait for a person's approval.
    pub approve_deadline: Duration,
    /// The longest time from the start to the promotion; `None` is enough for the steps.
    pub deadline: Option<Duration>,
    /// The longest wait for requests in flight on a pool that was let go.
    pub drain: Duration,
    /// How long blue stays warm after the promotion.
    pub keep_blue: Duration,
    /// How long the stopped containers of a green that was taken off are kept.
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

/// Where the members of a pool are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolSpec {
    /// At these addresses; at least one.
    Addresses(Vec<SocketAddr>),
    /// In containers that somebody else starts and stops.
    Containers(Containers),
    /// In copies of blue's containers on this image, made by shifter: only green can be this.
    Image(String),
}

impl PoolSpec {
    /// The pool as far as the file alone says it; a fixed address is its own id.
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

/// Containers that are there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containers {
    /// Which ones.
    pub find: Find,
    /// The port inside the container that serves.
    pub port: u16,
    /// The network on which they are reached; `None`: the only one that they have.
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
    /// Those that have all of these labels, `name=value` or `name`; at least one.
    Labels(Vec<String>),
    /// The tasks of this Swarm service.
    Swarm(String),
    /// Those whose own labels say that they are this pool of this service.
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

/// How a pool's members are seen to be well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub ask: Ask,
    /// The host that our own requests carry, see [`Service::own_host`].
    pub host: Option<String>,
    /// The port to ask, when it is not the one that serves.
    pub port: Option<u16>,
    /// From one check to the next.
    pub interval: Duration,
    /// The longest wait for one answer.
    pub timeout: Duration,
    /// Good checks in a row that make a member well.
    pub rise: u32,
    /// Bad checks in a row that make it ill.
    pub fall: u32,
    /// How long all of green must be well without a break before it counts as ready.
    pub min_ready: Duration,
}

/// How a service's members are met with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// The name that their certificate must have; `None`: their address.
    pub server_name: Option<String>,
    /// Whether the certificate is looked at.
    pub verify: bool,
    /// Who may have signed it; none: whom the system trusts.
    pub ca: Vec<CertificateDer<'static>>,
    /// What we show them.
    pub certificate: Option<Certificate>,
}

impl BackendTls {
    /// The name that a member's certificate must have.
    pub fn name_of(&self, addr: SocketAddr) -> String {
        let name = self.server_name.clone();
        name.unwrap_or_else(|| addr.ip().to_canonical().to_string())
    }
}

/// What a service's members speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, as almost every app does.
    #[default]
    Http1,
    /// HTTP/2 from the first byte on ("prior knowledge"), as gRPC servers do: `h2c`, and by TLS `h2`.
    H2,
}

/// What is asked to see whether a member is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// That it accepts a connection is enough.
    Connect,
    /// This path must answer 200 to 399.
    Path(String),
    /// This service of gRPC's health checking protocol must be SERVING; the empty name is the whole server.
    Grpc(String),
}

/// Requests of our own to each member of green, so that no user pays for cold caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warmup {
    /// Asked in turn; at least one.
    pub paths: Vec<String>,
    /// How many, in all, to each member.
    pub requests: u32,
    /// How many at a time.
    pub concurrency: u32,
    /// The longest wait for one answer.
    pub timeout: Duration,
}

/// One check of green, out of sight of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmokeCheck {
    /// A request to each member.
    Http(HttpCheck),
    /// A command in each of green's containers; 0 is good.
    Exec {
        /// The program and its arguments; at least one.
        command: Vec<String>,
        /// The longest wait for its end.
        timeout: Duration,
    },
    /// A container of this image on green's network, for each member of green; exit code 0 is good.
    Container {
        /// The image.
        image: String,
        /// What it runs, instead of the image's own; `{green}` is the member's address and port.
        command: Vec<String>,
        /// The longest wait for its end.
        timeout: Duration,
    },
}

impl SmokeCheck {
    /// Whether something is run at the Docker engine for it.
    pub fn is_in_docker(&self) -> bool {
        matches!(self, SmokeCheck::Exec { .. } | SmokeCheck::Container { .. })
    }
}

/// A request and the answer that must come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The method.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// Headers to send, in the order of their names.
    pub headers: Vec<(String, String)>,
    /// The status that must come.
    pub expect: u16,
    /// Text that the body must contain.
    pub contains: Option<String>,
    /// The longest wait for the answer.
    pub timeout: Duration,
}

/// A command of people's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When it runs.
    pub at: Moment,
    /// What it is.
    pub what: HookCall,
    /// The longest wait for its end.
    pub timeout: Duration,
    /// Whether the rollout goes on when it fails.
    pub optional: bool,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookCall {
    /// A program on this host with its arguments; at least one. 0 is good.
    Exec(Vec<String>),
    /// A POST to this address; 200 to 299 is good.
    Post(String),
}

/// How long each part of a request may take.
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

/// When one member is left out for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eject {
    /// Failures in a row; 0 is never.
    pub failures: u32,
    /// For how long.
    pub span: Duration,
}

/// How often requests may be tried again; the two together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Of the requests of the last ten seconds.
    pub percent: u32,
    /// In any case, on average over ten seconds.
    pub per_second: u32,
}
