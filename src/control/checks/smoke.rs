//! Smoke checks: requests to each backend of green with a required answer, hidden from users.

use crate::config::{BackendTls, HttpCheck, Protocol, Pull, SmokeCheck};
use crate::control::api::message::{Message, TaskResult};
use crate::control::service::state::ServiceState;
use crate::control::tasks::context::TaskContext;
use crate::core::table::Color;
use crate::driver::docker::labels::Owner;
use crate::driver::docker::oneshot::{self, OneShot};
use crate::driver::docker::{Engine, EngineError};
use crate::visit::{Question, Way};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of an answer's body that a check reads.
const BODY_MAX: usize = 1 << 20;

/// The target of the checks: green's addresses, and its containers where it has some.
struct Target {
    /// The `Host` of the requests.
    host: String,
    /// Green's protocol.
    protocol: Protocol,
    /// TLS settings for connections to green.
    tls: Option<BackendTls>,
    /// Green's addresses.
    backends: Vec<SocketAddr>,
    /// Name and id of green's containers.
    containers: Vec<(String, String)>,
    /// The engine of the containers.
    engine: Engine,
    /// The owner mark for a container that checks green.
    owner: Owner,
    /// The network that this container shares with green.
    network: Option<String>,
    /// When the image of this container is fetched.
    pull: Pull,
}

/// Runs the smoke checks against all of green.
pub(in crate::control) fn start(state: &ServiceState, context: &TaskContext) {
    let (Some(run), Some(mailbox)) = (&state.run, context.mailbox()) else {
        return;
    };
    let rollout = run.saved.id;
    let containers = state.docker.containers[Color::Green.index()].iter();
    let containers = containers.flatten();
    let green = Target {
        host: state.settings.own_host(),
        protocol: state.settings.protocol,
        tls: state.settings.tls.clone(),
        backends: state.green_addresses(),
        containers: containers
            .map(|one| (one.name.clone(), one.id.clone()))
            .collect(),
        engine: context.engine.clone(),
        owner: context.owner(&state.route.service, rollout),
        network: state.network_of_green(),
        pull: state.settings.copy.pull,
    };
    let checks = run.settings.smoke.clone();
    tokio::spawn(async move {
        let (result, text) = match smoke(&checks, &green).await {
            Ok(text) => (Ok(()), text),
            Err(text) => (Err(text.clone()), text),
        };
        let smoked = Message::Ended {
            rollout,
            result: TaskResult::Smoked { result, text },
        };
        let _ = mailbox.send(smoked).await;
    });
}

/// Runs every check against all of green; the error names the first that failed and how.
async fn smoke(checks: &[SmokeCheck], green: &Target) -> Result<String, String> {
    let mut passed = 0;
    for check in checks {
        let done = match check {
            SmokeCheck::Http(check) => ask_all(check, green).await,
            SmokeCheck::Exec { command, timeout } => exec(command, *timeout, green).await,
            SmokeCheck::Container {
                image,
                command,
                timeout,
            } => beside(image, command, *timeout, passed, green).await,
        };
        passed += done.map_err(|error| format!("smoke check {error}"))?;
    }
    Ok(format!("smoke checks: {passed} of {passed} passed"))
}

async fn ask_all(check: &HttpCheck, green: &Target) -> Result<usize, String> {
    for backend in &green.backends {
        let asked = ask(check, green, *backend).await;
        asked.map_err(|error| format!("{} {} on {backend}: {error}", check.method, check.path))?;
    }
    Ok(green.backends.len())
}

async fn exec(command: &[String], limit: Duration, green: &Target) -> Result<usize, String> {
    if green.containers.is_empty() {
        return Err("by `exec`: green has no containers".to_owned());
    }
    for (name, id) in &green.containers {
        let what = format!("`{}` in {name}", command.join(" "));
        ended(what, green.engine.exec(id, command, limit).await)?;
    }
    Ok(green.containers.len())
}

/// Runs the check in a container of its own, once for each member of green.
async fn beside(
    image: &str,
    command: &[String],
    limit: Duration,
    number: usize,
    green: &Target,
) -> Result<usize, String> {
    for (i, backend) in green.backends.iter().enumerate() {
        let place = backend.to_string();
        let order = OneShot {
            owner: green.owner.clone(),
            number: number + i,
            image: image.to_owned(),
            command: command
                .iter()
                .map(|word| word.replace("{green}", &place))
                .collect(),
            network: green.network.clone(),
            pull: green.pull,
            limit,
        };
        let what = format!("{image} {} on {backend}", order.command.join(" "));
        ended(what, oneshot::run(&green.engine, &order).await)?;
    }
    Ok(green.backends.len())
}

/// The result of a check from the end of its program.
fn ended(what: String, ran: Result<(i64, String), EngineError>) -> Result<(), String> {
    match ran {
        Ok((0, _)) => Ok(()),
        Ok((code, output)) => Err(format!("{what}: exit code {code}: {}", output.trim())),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

async fn ask(check: &HttpCheck, green: &Target, backend: SocketAddr) -> Result<(), String> {
    let asked = tokio::time::timeout(check.timeout, answered(check, green, backend)).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {} ms", check.timeout.as_millis())))
}

async fn answered(check: &HttpCheck, green: &Target, backend: SocketAddr) -> Result<(), String> {
    let method = http::Method::from_bytes(check.method.as_bytes())
        .map_err(|_| format!("`{}` is no HTTP method", check.method))?;
    let mut question = Question {
        method,
        ..Question::get(&check.path, &green.host)
    };
    question = question.with("x-shifter-probe", "smoke");
    for (name, value) in &check.headers {
        question = question.with(name, value);
    }
    let said = |error: std::io::Error| error.to_string();
    let way = Way::new(green.protocol, green.tls.as_ref())?;
    let mut answer = way.ask(backend, question).await.map_err(said)?;
    if answer.status() != check.expect {
        return Err(format!(
            "expected {}, got {}",
            check.expect,
            answer.status()
        ));
    }
    let Some(wanted) = &check.contains else {
        return Ok(());
    };
    let mut body = Vec::new();
    while let Some(part) = answer.part().await.map_err(said)? {
        body.extend_from_slice(&part);
        if body.len() > BODY_MAX {
            break;
        }
    }
    if String::from_utf8_lossy(&body).contains(wanted.as_str()) {
        Ok(())
    } else {
        Err(format!("the answer does not contain `{wanted}`"))
    }
}
