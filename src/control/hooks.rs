//! Hooks: commands of people's own at moments of a rollout.
//!
//! A hook may run twice, when shifter ends in the middle of one: it must be safe to repeat.

use crate::config::{Hook, HookCall};
use crate::control::controller::Controller;
use crate::control::handle::Mail;
use crate::core::plan::Moment;
use std::process::Stdio;
use std::time::Duration;

/// Bytes of a program's output that are told.
const OUTPUT_MAX: usize = 1_000;

/// What a hook is told.
#[derive(Clone, Debug, serde::Serialize)]
struct Facts {
    service: String,
    rollout: i64,
    at: &'static str,
    /// The version that ran before.
    from: String,
    /// The version that is to replace it.
    to: String,
}

impl Controller {
    /// Runs the hooks of a moment, one after the other; the rollout is told when all have ended.
    pub(super) fn run_hooks(&mut self, i: usize, at: Moment) {
        let ward = &self.wards[i];
        let (Some(run), Some(own)) = (&ward.run, self.own.upgrade()) else {
            return;
        };
        let all = run.settings.hooks.iter();
        let hooks: Vec<Hook> = all.filter(|hook| hook.at == at).cloned().collect();
        if hooks.is_empty() {
            return;
        }
        let facts = Facts {
            service: ward.route.service.clone(),
            rollout: run.saved.id,
            at: at.name(),
            from: run.saved.from.clone(),
            to: run.saved.to.clone(),
        };
        tokio::spawn(async move {
            let (rollout, service) = (facts.rollout, facts.service.clone());
            let mut result = Ok(());
            for hook in &hooks {
                let (what, kind) = (name(hook), "hook");
                let done = call(hook, &facts).await;
                let text = match &done {
                    Ok(()) => format!("hook {} {what}: done", facts.at),
                    Err(why) if hook.optional => {
                        format!(
                            "hook {} {what}: {why}; it is optional, so that nothing follows",
                            facts.at
                        )
                    }
                    Err(why) => format!("hook {} {what}: {why}", facts.at),
                };
                let (service, said) = (service.clone(), text.clone());
                let _ = own
                    .send(Mail::Said {
                        service,
                        rollout,
                        kind,
                        text: said,
                    })
                    .await;
                if done.is_err() && !hook.optional {
                    result = Err(text);
                    break;
                }
            }
            let _ = own.send(Mail::Hooked { rollout, result }).await;
        });
    }
}

fn name(hook: &Hook) -> String {
    match &hook.what {
        HookCall::Exec(command) => format!("`{}`", command.join(" ")),
        HookCall::Post(address) => format!("POST {address}"),
    }
}

async fn call(hook: &Hook, facts: &Facts) -> Result<(), String> {
    match &hook.what {
        HookCall::Exec(command) => exec(command, facts, hook.timeout).await,
        HookCall::Post(address) => post(address, facts, hook.timeout).await,
    }
}

async fn exec(command: &[String], facts: &Facts, limit: Duration) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .env("SHIFTER_SERVICE", &facts.service)
        .env("SHIFTER_ROLLOUT", facts.rollout.to_string())
        .env("SHIFTER_AT", facts.at)
        .env("SHIFTER_FROM", &facts.from)
        .env("SHIFTER_TO", &facts.to)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("could not be run: {error}"))?;
    let ended = tokio::time::timeout(limit, child.wait_with_output()).await;
    let output = ended
        .map_err(|_| format!("did not end within {} s and was killed", limit.as_secs()))?
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(OUTPUT_MAX)..]).into_owned();
    Err(format!("{}: {}", output.status, text.trim()))
}

async fn post(address: &str, facts: &Facts, limit: Duration) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(limit)
        .build()
        .map_err(|error| error.to_string())?;
    let body = serde_json::to_string(facts).unwrap_or_default();
    let request = client
        .post(address)
        .header("content-type", "application/json")
        .body(body);
    let answer = request.send().await.map_err(|error| error.to_string())?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(format!("got {}", answer.status()))
    }
}
