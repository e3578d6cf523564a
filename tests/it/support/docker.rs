//! A Docker engine of the tests' own, and shifter beside it.
//!
//! `SHIFTER_TEST_ENGINE` says which: `sid` (today's, in a root of its own, see `tests/sid`), `podman` (from there, too) or `installed`.
//! Every test has its own network and a name that no other has; what carries them goes when it ends.

use crate::support::apps::free_port;
use crate::support::shifter::{Home, Shifter};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// An engine, and this test's part of it.
pub struct Engine {
    dir: PathBuf,
    /// The service, the network, and the beginning of each container's name.
    pub name: String,
    /// As `SHIFTER_TEST_ENGINE` has it.
    which: &'static str,
    /// More arguments of a daemon of its own.
    own: Option<&'static str>,
    gone: Arc<AtomicBool>,
}

/// The engine that most tests use: the newest that is here.
static NEWEST: LazyLock<String> = LazyLock::new(|| {
    let said = Command::new("tests/engine").arg("which").output().unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
});

/// What this host has installed.
const INSTALLED: &str = "installed";

/// Podman of `tests/sid`.
const PODMAN: &str = "podman";

/// Where an engine of all tests is.
fn shared_dir(which: &str) -> PathBuf {
    std::env::temp_dir().join(format!("shifter-tests-{which}"))
}

impl Engine {
    /// The engine of all tests; it is started where it does not run.
    pub fn shared() -> Engine {
        Engine::at(shared_dir(&NEWEST), &NEWEST, None)
    }

    /// The one that this host has installed, beside a newer one.
    pub fn installed() -> Engine {
        Engine::at(shared_dir(INSTALLED), INSTALLED, None)
    }

    /// Podman in place of Docker.
    pub fn podman() -> Engine {
        Engine::at(shared_dir(PODMAN), PODMAN, None)
    }

    /// One of its own, to be killed.
    pub fn own(arguments: &'static str) -> Engine {
        let dir = std::env::temp_dir().join(format!("shifter-test-{:08x}", rand::random::<u32>()));
        Engine::at(dir, &NEWEST, Some(arguments))
    }

    fn at(dir: PathBuf, which: &'static str, own: Option<&'static str>) -> Engine {
        let gone = Arc::new(AtomicBool::new(false));
        let engine = Engine {
            dir: dir.clone(),
            name: format!("t{:08x}", rand::random::<u32>()),
            which,
            own,
            gone: gone.clone(),
        };
        engine.start();
        std::thread::spawn(move || {
            while !gone.load(Relaxed) {
                let _ = std::fs::write(dir.join("lease"), "");
                std::thread::sleep(Duration::from_secs(20));
            }
        });
        engine.docker(&["network", "create", &engine.name]);
        engine
    }

    /// What `DOCKER_HOST` is called here.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// The process of the daemon.
    pub fn pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.dir.join("daemon")).unwrap();
        text.trim().parse().unwrap()
    }

    /// Starts the daemon, where it does not run.
    pub fn start(&self) {
        let mut command = Command::new("tests/engine");
        command.arg("start").arg(&self.dir);
        command.env("SHIFTER_TEST_ENGINE", self.which);
        command.env("SHIFTER_TEST_DOCKERD_ARGS", self.own.unwrap_or_default());
        let started = command.output().unwrap();
        let said = String::from_utf8_lossy(&started.stderr);
        assert!(started.status.success(), "{said}");
    }

    /// A program that came with the engine.
    pub fn beside(&self, program: &str) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine"));
        command.arg("beside").arg(&self.dir).arg(program);
        command.env("SHIFTER_TEST_ENGINE", self.which);
        command
    }

    pub fn try_docker(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.arg("-H").arg(self.host()).args(arguments);
        command.output().unwrap()
    }

    /// The Docker command line; it must succeed.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let done = self.try_docker(arguments);
        assert!(
            done.status.success(),
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    /// A container's name here.
    pub fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Starts a container on this test's network, as people do.
    pub fn run(&self, name: &str, image: &str, more: &[&str]) -> String {
        let name = self.named(name);
        let mut arguments = vec!["run", "-d", "--name", &name, "--network", &self.name];
        arguments.extend(more);
        arguments.push(image);
        self.docker(&arguments)
    }

    /// One value of `docker inspect`.
    pub fn inspect(&self, name: &str, format: &str) -> String {
        self.docker(&["inspect", "-f", format, name])
    }

    /// Names of this test's containers: those that run, or all.
    pub fn containers(&self, all: bool) -> Vec<String> {
        let filter = format!("network={}", self.name);
        let mut arguments = vec!["ps", "--format", "{{.Names}}", "--filter", &filter];
        if all {
            arguments.push("-a");
        }
        let text = self.docker(&arguments);
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Where a container listens.
    pub fn address(&self, name: &str) -> std::net::SocketAddr {
        let format = format!(
            "{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}",
            self.name
        );
        let ip = self.inspect(name, &format);
        format!("{ip}:3000").parse().unwrap()
    }

    /// A home whose service is this test's, with blue in the container `blue`; `more` are further keys of it.
    pub fn home(&self, more: &str) -> Home {
        let blue = format!(
            "blue = {{ container = \"{}\", port = 3000 }}",
            self.named("blue")
        );
        self.home_of(&format!("{blue}\n{more}"))
    }

    /// A home whose service has these keys.
    pub fn home_of(&self, keys: &str) -> Home {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::empty(folder, free_port(), free_port());
        self.configure(&home, keys);
        home
    }

    pub fn configure(&self, home: &Home, keys: &str) {
        configure(home, &self.host(), &self.name, keys);
    }

    /// Blue in a container of its own, and shifter before it.
    pub async fn with_blue(&self, more: &str) -> Shifter {
        self.run("blue", "app:blue", &["--restart", "unless-stopped"]);
        self.home(more).serve().await
    }
}

/// Writes the configuration of one service whose containers are at `host`.
pub fn configure(home: &Home, host: &str, service: &str, keys: &str) {
    let text = format!(
        "{}docker.host = \"{host}\"\n\n[service.{service}]\n\
         health = {{ path = \"/health\", interval = \"100ms\", timeout = \"5s\", rise = 1, fall = 2 }}\nholdback = 0\ndrain = \"5s\"\n{keys}\n",
        home.head(),
    );
    std::fs::write(home.config(), text).unwrap();
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.gone.store(true, Relaxed);
        let ours = |filter: String| {
            let listed = self.try_docker(&["ps", "-aq", "--filter", &filter]);
            let ids = String::from_utf8_lossy(&listed.stdout).into_owned();
            for id in ids.lines() {
                let _ = self.try_docker(&["rm", "-f", "-v", id]);
            }
        };
        ours(format!("network={}", self.name));
        ours(format!("name={}", self.name));
        let _ = self.try_docker(&["network", "rm", &self.name]);
        if self.own.is_some() {
            let _ = Command::new("kill").arg(self.pid().to_string()).status();
        }
    }
}
