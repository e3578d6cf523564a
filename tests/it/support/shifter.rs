//! The real program as a process: a configuration in a folder of its own, free ports, signals, orders.

use crate::support::PATIENCE;
use crate::support::apps::{Running, free_port};
use shifter::admin::body::RunRequest;
use shifter::admin::client::{Client, ClientError};
use shifter::control::view::{ServiceView, View};
use shifter::core::plan::Strategy;
use shifter::core::weight::Weight;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What stays when the process goes: the folder, the addresses, the configuration.
#[derive(Clone)]
pub struct Home {
    pub folder: Arc<TempDir>,
    pub proxy: SocketAddr,
    pub admin: SocketAddr,
    pub client: Client,
    state: PathBuf,
}

/// A running shifter; it is killed when dropped.
pub struct Shifter {
    pub home: Home,
    pub child: Child,
}

/// Steps that pass as soon as a judge has anything to say: for tests that are not about the judge.
pub const QUICK: &str = "steps = [{ weight = 5, hold = \"1s\", deadline = \"1s\" }, { weight = 50, hold = \"1s\", deadline = \"1s\" }, { weight = 100, hold = \"1s\", deadline = \"1s\" }]\n";

/// Steps that stay until somebody says otherwise.
pub const STILL: &str = "steps = [{ weight = 5, hold = \"1h\", deadline = \"1h\" }, { weight = 50, hold = \"1h\", deadline = \"1h\" }, { weight = 100, hold = \"1h\", deadline = \"1h\" }]\nmonitor = \"1h\"\n";

/// A machine with two busy cores is no slow version: latency is not what these tests are about.
pub const PATIENT: &str = "latency_margin = \"1000% + 10s\"\nlatency_grace = \"0s\"\nstep_requests_min = 1\ntotal_requests_min = 1\n";

impl Home {
    /// A home with one service `app`; `more` are further keys of it, or tables.
    pub fn new(blue: &Running, green: &Running, more: &str) -> Home {
        Home::at(tempfile::tempdir().unwrap(), blue.addr, green.addr, more)
    }

    pub fn at(folder: TempDir, blue: SocketAddr, green: SocketAddr, more: &str) -> Home {
        let home = Home::empty(folder, free_port(), free_port());
        home.configure(blue, green, more);
        home
    }

    /// A home without a configuration.
    pub fn empty(folder: TempDir, proxy: SocketAddr, admin: SocketAddr) -> Home {
        let state = folder.path().join("state");
        let client = Client::new(&state.join("shifter.sock")).unwrap();
        Home {
            proxy,
            admin,
            client,
            state,
            folder: Arc::new(folder),
        }
    }

    /// The state is kept in another folder.
    pub fn state_in(mut self, state: PathBuf) -> Home {
        let text = std::fs::read_to_string(self.config()).unwrap();
        let first = format!("state = \"{}\"\nproxy.", state.display());
        let (_, rest) = text.split_once("\nproxy.").unwrap();
        std::fs::write(self.config(), first + rest).unwrap();
        self.client = Client::new(&state.join("shifter.sock")).unwrap();
        self.state = state;
        self
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("shifter.toml")
    }

    pub fn state(&self) -> &PathBuf {
        &self.state
    }

    /// Writes the configuration.
    pub fn configure(&self, blue: SocketAddr, green: SocketAddr, more: &str) {
        std::fs::write(self.config(), self.text(blue, green, more)).unwrap();
    }

    /// The configuration's text.
    pub fn text(&self, blue: SocketAddr, green: SocketAddr, more: &str) -> String {
        format!(
            "{}\n[service.app]\nblue = \"{blue}\"\ngreen = \"{green}\"\n\
             health = {{ path = \"/health\", interval = \"50ms\", timeout = \"5s\", rise = 1, fall = 2 }}\nholdback = 0\n{more}\n",
            self.head(),
        )
    }

    /// What the configuration says of the process.
    pub fn head(&self) -> String {
        format!(
            "state = \"{}\"\n\
             proxy.listen = \"{}\"\nproxy.keepalive_requests = 1000000000\n\
             proxy.shutdown = {{ lame_duck = \"300ms\", deadline = \"5s\" }}\n\
             admin.listen = \"{}\"\nlog.level = \"warn\"\n",
            self.state.display(),
            self.proxy,
            self.admin,
        )
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shifter"));
        command
            .args(arguments)
            .env_remove("SHIFTER_CRASH_AT")
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(self.append("out"))
            .stderr(self.append("log"));
        command
    }

    fn append(&self, name: &str) -> std::fs::File {
        let path = self.folder.path().join(name);
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap()
    }

    /// What the process said on standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What it said on standard output.
    pub fn out(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// Starts it, and does not wait.
    pub fn spawn(&self, command: &mut Command) -> Shifter {
        Shifter {
            home: self.clone(),
            child: command.spawn().unwrap(),
        }
    }

    /// `shifter serve`, once it answers.
    pub async fn serve(&self) -> Shifter {
        let mut shifter = self.spawn(&mut self.command(&["serve"]));
        shifter.answers().await;
        shifter
    }

    // ---- orders

    pub async fn view(&self) -> View {
        self.client
            .status()
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    pub async fn service(&self) -> ServiceView {
        self.view().await.services.remove(0)
    }

    pub async fn run(&self, strategy: Strategy) -> i64 {
        self.client
            .run(
                None,
                &RunRequest {
                    strategy: Some(strategy),
                    ..RunRequest::default()
                },
            )
            .await
            .unwrap()
            .rollout
            .unwrap()
    }

    /// Starts a rollout to an image.
    pub async fn run_image(&self, image: &str) -> Result<i64, ClientError> {
        self.run_as(None, image).await
    }

    /// The same, by a strategy.
    pub async fn run_as(
        &self,
        strategy: Option<Strategy>,
        image: &str,
    ) -> Result<i64, ClientError> {
        let request = RunRequest {
            strategy,
            image: Some(image.to_owned()),
            ..RunRequest::default()
        };
        let done = self.client.run(None, &request).await?;
        Ok(done.rollout.unwrap())
    }

    /// The narration so far, a line each.
    pub async fn notes(&self) -> String {
        let service = self.service().await;
        let rollout = service.rollout.map_or(0, |rollout| rollout.id);
        let notes = self.client.notes(0, rollout).await.unwrap();
        notes
            .iter()
            .map(|note| format!("{}: {}\n", note.kind, note.text))
            .collect()
    }

    pub async fn verb(&self, verb: &str) -> Result<String, ClientError> {
        self.client.verb(None, verb).await.map(|done| done.text)
    }

    pub async fn weigh(&self, percent: u16) {
        self.client
            .set_weight(None, Weight::percent(percent).unwrap())
            .await
            .unwrap();
    }

    /// Waits until the service is as wanted.
    pub async fn until(&self, what: &str, holds: impl Fn(&ServiceView) -> bool) -> ServiceView {
        self.until_within(PATIENCE, what, holds).await
    }

    pub async fn until_within(
        &self,
        patience: Duration,
        what: &str,
        holds: impl Fn(&ServiceView) -> bool,
    ) -> ServiceView {
        let deadline = Instant::now() + patience;
        loop {
            let service = self.service().await;
            if holds(&service) {
                return service;
            }
            assert!(
                Instant::now() < deadline,
                "never came true: {what}\n{}\n{}",
                serde_json::to_string_pretty(&service).unwrap(),
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a phase.
    pub async fn phase(&self, phase: &str) -> ServiceView {
        self.until(phase, |service| phase_of(service) == phase)
            .await
    }

    /// Waits for a share of the plan.
    pub async fn share(&self, percent: f64) -> ServiceView {
        self.until(&format!("{percent} %"), |service| {
            service.weight_percent == percent
        })
        .await
    }

    /// The first series that begins so, as Prometheus would read it.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no series {series} in\n{text}"))
            .parse()
            .unwrap()
    }

    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.admin);
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }
}

/// The phase of the rollout under way or last.
pub fn phase_of(service: &ServiceView) -> &str {
    service
        .rollout
        .as_ref()
        .map_or("", |rollout| rollout.phase.as_str())
}

/// The outcome of the rollout, once it is known.
pub fn outcome_of(service: &ServiceView) -> &str {
    service
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.outcome.as_deref())
        .unwrap_or("")
}

impl std::ops::Deref for Shifter {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl Shifter {
    /// Waits until the API answers.
    pub async fn answers(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.client.status().await.is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{ended:?}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for the end; how it ended, and how long that took.
    pub async fn ended(&mut self) -> (ExitStatus, Duration) {
        self.ended_within(PATIENCE).await
    }

    pub async fn ended_within(&mut self, patience: Duration) -> (ExitStatus, Duration) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, start.elapsed());
            }
            assert!(
                start.elapsed() < patience,
                "it does not end:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status()
        .unwrap();
    assert!(sent.success());
}

impl Drop for Shifter {
    fn drop(&mut self) {
        self.kill();
        // A panic in any request or in the controller is a fault, whatever the test is about.
        let log = self.home.log();
        if !std::thread::panicking() {
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}
