//! Hooks: the user's own commands at moments of a rollout.
//!
//! A hook may run twice, when shifter ends in the middle of one: it must be safe to repeat.

use crate::config::{Hook, HookCall};
use crate::control::api::message::{Message, TaskResult};
use crate::control::service::state::ServiceState;
use crate::control::tasks::context::TaskContext;
use crate::control::tasks::program;
use crate::core::plan::Moment;
use crate::store::NoteKind;
use std::time::Duration;
use tokio::sync::mpsc;

/// The facts passed to a hook.
#[derive(Clone, Debug, serde::Serialize)]
struct HookFacts {
    service: String,
    rollout: i64,
    at: &'static str,
    /// The version that ran before.
    from: String,
    /// The version that is to replace it.
    to: String,
}

/// Runs the hooks of a moment, one after the other; the rollout gets an event when all have ended.
pub(in crate::control) fn start(state: &ServiceState, at: Moment, context: &TaskContext) {
    let (Some(run), Some(mailbox)) = (&state.run, context.mailbox()) else {
        return;
    };
    let all = run.settings.hooks.iter();
    let hooks: Vec<Hook> = all.filter(|hook| hook.at == at).cloned().collect();
    if hooks.is_empty() {
        return;
    }
    let facts = HookFacts {
        service: state.route.service.clone(),
        rollout: run.saved.id,
        at: at.name(),
        from: run.saved.from.clone(),
        to: run.saved.to.clone(),
    };
    tokio::spawn(run_all(hooks, facts, mailbox));
}

/// Runs hooks until one fails that is not optional, and reports each.
async fn run_all(hooks: Vec<Hook>, facts: HookFacts, mailbox: mpsc::Sender<Message>) {
    let rollout = facts.rollout;
    let mut result = Ok(());
    for hook in &hooks {
        let done = call(hook, &facts).await;
        let (at, what) = (facts.at, name(hook));
        let text = match &done {
            Ok(()) => format!("hook {at} {what}: done"),
            Err(why) if hook.optional => {
                format!("hook {at} {what}: {why}; it is optional, so that nothing follows")
            }
            Err(why) => format!("hook {at} {what}: {why}"),
        };
        let said = Message::Said {
            service: facts.service.clone(),
            rollout,
            kind: NoteKind::Hook,
            text: text.clone(),
        };
        let _ = mailbox.send(said).await;
        if done.is_err() && !hook.optional {
            result = Err(text);
            break;
        }
    }
    let _ = mailbox
        .send(Message::Ended {
            rollout,
            result: TaskResult::Hooked(result),
        })
        .await;
}

fn name(hook: &Hook) -> String {
    match &hook.what {
        HookCall::Exec(command) => format!("`{}`", command.join(" ")),
        HookCall::Post(address) => format!("POST {address}"),
    }
}

async fn call(hook: &Hook, facts: &HookFacts) -> Result<(), String> {
    match &hook.what {
        HookCall::Exec(command) => exec(command, facts, hook.timeout).await,
        HookCall::Post(address) => post(address, facts, hook.timeout).await,
    }
}

async fn exec(command: &[String], facts: &HookFacts, limit: Duration) -> Result<(), String> {
    let told = [
        ("SHIFTER_SERVICE", facts.service.clone()),
        ("SHIFTER_ROLLOUT", facts.rollout.to_string()),
        ("SHIFTER_AT", facts.at.to_owned()),
        ("SHIFTER_FROM", facts.from.clone()),
        ("SHIFTER_TO", facts.to.clone()),
    ];
    let (status, text) = program::run(command, &told, limit).await?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{status}: {text}"))
}

async fn post(address: &str, facts: &HookFacts, limit: Duration) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines and the result of hooks of these programs; `true`: optional.
    async fn ran(programs: &[(&str, bool)]) -> (Vec<String>, Result<(), String>) {
        let hook = |(program, optional): &(&str, bool)| Hook {
            at: Moment::BeforeStart,
            what: HookCall::Exec(vec![(*program).to_owned()]),
            timeout: Duration::from_secs(20),
            optional: *optional,
        };
        let facts = HookFacts {
            service: "app".to_owned(),
            rollout: 7,
            at: "before-start",
            from: "1".to_owned(),
            to: "2".to_owned(),
        };
        let (mailbox, mut messages) = mpsc::channel(16);
        run_all(programs.iter().map(hook).collect(), facts, mailbox).await;
        let mut told = vec![];
        while let Some(message) = messages.recv().await {
            match message {
                Message::Said { text, kind, .. } => {
                    assert_eq!(kind, NoteKind::Hook);
                    told.push(text);
                }
                Message::Ended {
                    rollout: 7,
                    result: TaskResult::Hooked(result),
                } => return (told, result),
                _ => panic!("another message"),
            }
        }
        panic!("no result")
    }

    #[tokio::test]
    async fn hooks_run_until_one_fails_that_is_not_optional() {
        for (programs, told, ok) in [
            (vec![("true", false), ("true", true)], 2, true),
            (vec![("false", true), ("true", false)], 2, true),
            (
                vec![("true", false), ("false", false), ("true", false)],
                2,
                false,
            ),
        ] {
            let (lines, result) = ran(&programs).await;
            assert_eq!((lines.len(), result.is_ok()), (told, ok), "{lines:?}");
            if let Err(why) = result {
                assert_eq!(lines.last(), Some(&why), "the reason is what was told");
            }
        }
        let (lines, _) = ran(&[("false", true)]).await;
        assert!(lines[0].starts_with("hook before-start `false`: exit status: 1"));
        assert!(lines[0].ends_with("it is optional, so that nothing follows"));
    }
}
