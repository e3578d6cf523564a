//! The processes of containers: how they begin, are checked, end, and begin again by themselves.

use crate::support::fake::app::PROGRAM;
use crate::support::fake::container::{Container, Health, Status};
use crate::support::fake::engine::{Engine, State};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};

/// The first wait before a container is started again; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The only program that is in the images.
fn command(container: &Container, words: &[String]) -> Result<Command, (i64, String)> {
    let (first, rest) = words
        .split_first()
        .ok_or((127, "no command specified".to_owned()))?;
    if first != "/app" {
        let text = format!(
            "OCI runtime create failed: exec: \"{first}\": stat {first}: no such file or directory: unknown"
        );
        return Err((127, text));
    }
    let addresses = container
        .networks
        .values()
        .flatten()
        .map(ToString::to_string);
    let mut command = Command::new(PROGRAM.as_path());
    command
        .args(rest)
        .env_clear()
        .envs(container.env())
        .kill_on_drop(true);
    command.env("BIND", addresses.collect::<Vec<_>>().join(","));
    Ok(command)
}

impl Engine {
    /// The first process of a container; the error is its exit code, and why.
    pub fn spawn(&self, container: &Container, words: &[String]) -> Result<Child, (i64, String)> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_of(&container.id))
            .unwrap();
        let mut command = command(container, words)?;
        // It ends with the test, however that ends.
        command.env("LEASH", "1").stdin(Stdio::piped());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Ok(command.spawn().unwrap())
    }

    /// Runs one more command in a container: what it wrote, and its exit code.
    pub async fn exec(&self, container: &Container, words: &[String]) -> (Vec<u8>, i64) {
        let mut command = match command(container, words) {
            Ok(command) => command,
            Err((code, why)) => return (why.into_bytes(), code),
        };
        let Output {
            status,
            mut stdout,
            stderr,
        } = command.stdin(Stdio::null()).output().await.unwrap();
        stdout.extend(stderr);
        (stdout, i64::from(status.code().unwrap_or(137)))
    }

    pub fn signal(&self, id: &str, signal: &str) {
        let pid = self.state().find(id).ok().and_then(|one| one.pid);
        if let Some(pid) = pid {
            // One that has just ended is no fault.
            let mut kill = std::process::Command::new("kill");
            let _ = kill
                .arg(format!("-{signal}"))
                .arg(pid.to_string())
                .stderr(Stdio::null())
                .status();
        }
    }

    /// Waits for the end of a container that was started, and checks its health until then.
    pub fn watch_over(self: &Arc<Engine>, container: &mut Container, mut child: Child) {
        let (engine, id) = (self.clone(), container.id.clone());
        let checks = container.healthcheck().map(|check| {
            container.health = Some(Health {
                status: "starting".to_owned(),
                ..Health::default()
            });
            tokio::spawn(self.clone().check(id.clone(), check))
        });
        tokio::spawn(async move {
            let _leash = child.stdin.take();
            let how = child.wait().await.unwrap();
            checks.inspect(|checks| checks.abort());
            engine.end(&id, how).await;
        });
    }

    async fn end(self: &Arc<Engine>, id: &str, how: ExitStatus) {
        let wait = {
            let mut state = self.state();
            // While the engine is down it starts nothing.
            let down = state.down;
            let Ok(found) = state.find(id) else { return };
            found.ended(how);
            self.events.tell("die", id, &found.name);
            let again = found.comes_back() && !down;
            if again {
                found.status = Status::Restarting;
            }
            again.then(|| FIRST_WAIT * 2_u32.pow(found.restarts.min(6)))
        };
        self.notify();
        let Some(wait) = wait else { return };
        tokio::time::sleep(wait).await;
        let due = {
            let mut state = self.state();
            let found = state
                .find(id)
                .ok()
                .filter(|one| one.status == Status::Restarting);
            found.map(|one| one.restarts += 1).is_some()
        };
        if due {
            let _ = self.start(id);
        }
    }

    async fn check(
        self: Arc<Engine>,
        id: String,
        (words, interval, retries): (Vec<String>, u64, u64),
    ) {
        loop {
            tokio::time::sleep(Duration::from_nanos(interval)).await;
            if self.state().never_checks {
                return;
            }
            let container = self.state().find(&id).map(|one| one.clone());
            let Ok(container) = container else { return };
            let (output, code) = self.exec(&container, &words).await;
            let mut state = self.state();
            let Ok(found) = state.find(&id) else { return };
            let name = found.name.clone();
            let Some(health) = &mut found.health else {
                return;
            };
            health.checked = true;
            health.streak = if code == 0 { 0 } else { health.streak + 1 };
            (health.code, health.output) = (code, String::from_utf8_lossy(&output).into_owned());
            let status = match health.streak {
                0 => "healthy",
                streak if streak >= retries => "unhealthy",
                _ => health.status.as_str(),
            }
            .to_owned();
            if status != health.status {
                self.events
                    .tell(&format!("health_status: {status}"), &id, &name);
                health.status = status;
            }
        }
    }

    /// The kernel kills a container for want of memory.
    pub fn out_of_memory(&self, name: &str) {
        self.state().find(name).unwrap().out_of_memory = true;
        self.signal(name, "KILL");
    }

    /// `docker kill`.
    pub async fn kill(&self, name: &str) {
        self.state().find(name).unwrap().by_hand = true;
        self.signal(name, "KILL");
        self.ended(name).await;
    }

    /// `docker restart`.
    pub async fn restart(self: &Arc<Engine>, name: &str) {
        self.stop(name, Duration::from_secs(5)).await.unwrap();
        self.start(name).unwrap();
        self.events
            .tell("restart", &self.state().find(name).unwrap().id, name);
    }

    /// `docker rm -f`.
    pub async fn remove_by_force(&self, name: &str) {
        self.kill(name).await;
        self.remove(name).unwrap();
    }

    /// `docker pause`.
    pub fn pause(&self, name: &str) {
        self.signal(name, "STOP");
        let mut state = self.state();
        let found = state.find(name).unwrap();
        found.status = Status::Paused;
        self.events.tell("pause", &found.id, name);
    }

    /// The engine ends; without live-restore its containers do too.
    pub async fn go_down(&self, containers_too: bool) {
        let running = |state: &State| -> Vec<String> {
            let all = state.containers.iter().filter(|one| one.runs());
            all.map(|one| one.id.clone()).collect()
        };
        let ids = {
            let mut state = self.state();
            state.down = true;
            for one in &mut state.containers {
                if one.status == Status::Restarting {
                    one.status = Status::Exited;
                }
            }
            running(&state)
        };
        if containers_too {
            ids.iter().for_each(|id| self.signal(id, "KILL"));
            self.until(|state| running(state).is_empty()).await;
        }
    }

    /// The engine is back, and starts what is to run: the youngest first, so that addresses are permuted.
    pub fn come_up(self: &Arc<Engine>) {
        let due: Vec<String> = {
            let mut state = self.state();
            state.down = false;
            let due = state.containers.iter().rev().filter(|one| one.comes_back());
            due.map(|one| one.id.clone()).collect()
        };
        for id in due {
            self.start(&id).unwrap();
        }
    }
}
