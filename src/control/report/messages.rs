//! The wording of a rollout's changes: one line for an operator at three in the morning.

use crate::control::report::entry::Entry;
use crate::core::judge::Verdict;
use crate::core::plan::Step;
use crate::core::rollout::{Outcome, Phase, Rollout};
use crate::core::time::shown;
use crate::core::weight::Weight;
use crate::store::NoteKind;
use crate::store::saved::PROMOTED;

/// The text as a sentence of its own: with a full stop, where it has no end yet.
pub fn sentence(text: &str) -> String {
    let end = if text.ends_with(['.', '?', '!']) {
        ""
    } else {
        "."
    };
    format!("{text}{end}")
}

/// Describes the change between two states of a rollout; `evidence` is the judge's line, if it has one.
pub fn change(before: &Rollout, after: &Rollout, evidence: Option<&str>) -> Option<Entry> {
    let said = |kind, text: String| Some(Entry::new(kind, text));
    match (before.phase(), after.phase()) {
        (_, Phase::Finished { outcome }) => said(NoteKind::End, ended(outcome)),
        (Phase::RollingBack { .. }, Phase::RollingBack { .. }) => None,
        (_, Phase::RollingBack { outcome }) => {
            let text = going_back(outcome, before.weight());
            // For an unproven outcome only the judge's line has numbers.
            let unproven = matches!(outcome, Outcome::Inconclusive { .. });
            let text = match evidence.filter(|_| unproven) {
                Some(line) => format!("{text} ({line})"),
                None => text,
            };
            said(NoteKind::Verdict, text)
        }
        (Phase::Promoted, Phase::Promoted) => None,
        (_, Phase::Promoted) => {
            let text = match evidence {
                Some(line) => format!("{PROMOTED}: green serves every request ({line})"),
                None => format!("{PROMOTED}: green serves every request"),
            };
            said(NoteKind::Verdict, text)
        }
        (_, Phase::Paused { .. }) if before.weight() != after.weight() => {
            let text = format!(
                "weight {} → {} by hand; the plan is paused, `shifter resume` goes on with it",
                before.weight(),
                after.weight()
            );
            said(NoteKind::Weight, text)
        }
        (Phase::Running { .. }, Phase::Paused { .. }) => said(
            NoteKind::Phase,
            format!(
                "paused at {}; bad news still takes green off",
                after.weight()
            ),
        ),
        (_, Phase::Running { .. }) => step(before, after, evidence),
        _ => None,
    }
}

/// The judge's line on an action; where green `grows` without proof, with the policy that allows it, or that a person
/// does it.
pub fn grounds(verdict: &Verdict, line: String, grows: bool, by_hand: bool) -> String {
    match verdict {
        _ if by_hand => format!("by a person; {line}"),
        Verdict::Inconclusive { .. } | Verdict::NoData if grows => {
            format!("not proven in time, going on as `on_inconclusive` says; {line}")
        }
        Verdict::Fail { .. } | Verdict::Suspect { .. } if grows => {
            format!("going on as `on_worse` says; {line}")
        }
        _ => line,
    }
}

/// Describes the start or end of an equal share.
fn confirmation(before: &Rollout, after: &Rollout, shares: &str, line: &str) -> Option<Entry> {
    let text = match (before.confirming(), after.confirming()) {
        (false, true) => format!(
            "{shares}: green looks slower, and so small a share may be colder: both get about the same for at most {}: {line}",
            shown(after.plan().confirm)
        ),
        (true, false) => format!(
            "{shares}: green was not slower in an equal share; latency is not asked in this share any more: {line}"
        ),
        _ => return None,
    };
    Some(Entry::new(NoteKind::Weight, text))
}

/// Describes the outcome of the judge's verdict, where the plan does not let it end the rollout.
pub fn accusation(before: &Rollout, after: &Rollout) -> Option<Entry> {
    let accused = after.accused()?;
    if before.accused() == Some(accused) {
        return None;
    }
    let reason = accused.reason().unwrap_or_default();
    let asks = matches!(after.phase(), Phase::Paused { .. });
    let text = if asks {
        format!(
            "GREEN IS WORSE, and `on_worse` leaves it to a person: `shifter rollback` goes back, `shifter resume` goes on all the same: {reason}"
        )
    } else {
        format!("WOULD ROLL BACK, but `on_worse` is to report only: {reason}")
    };
    Some(Entry::new(NoteKind::Verdict, text))
}

fn step(before: &Rollout, after: &Rollout, evidence: Option<&str>) -> Option<Entry> {
    let said = |kind, text: String| Some(Entry::new(kind, text));
    // Windows of a switchback are reported at their start and end.
    if before.phase() == after.phase() && before.switching() != after.switching() {
        return None;
    }
    if before.phase() == after.phase() && before.since() == after.since() {
        let shares = format!("weight {} → {}", before.weight(), after.weight());
        let line = evidence.unwrap_or_default();
        return match (before.challenged(), after.challenged()) {
            (false, true) => said(
                NoteKind::Weight,
                format!(
                    "{shares}: green is under suspicion, blue gets a little back to show whether it does better: {line}"
                ),
            ),
            (true, false) => said(
                NoteKind::Weight,
                format!("{shares}: blue did no better: {line}"),
            ),
            _ => confirmation(before, after, &shares, line),
        };
    }
    match after.step()? {
        Step::Start => said(
            NoteKind::Phase,
            "waiting for green to be healthy".to_owned(),
        ),
        Step::Warm => said(
            NoteKind::Phase,
            "green is healthy; warming it up".to_owned(),
        ),
        Step::Smoke => said(
            NoteKind::Phase,
            "checking green before any user sees it".to_owned(),
        ),
        Step::Hooks { at } => said(NoteKind::Phase, format!("running the hooks {}", at.name())),
        Step::Approve => said(
            NoteKind::Phase,
            format!(
                "green is at {}; waiting for `shifter approve`",
                after.weight()
            ),
        ),
        Step::Shift { .. } => {
            let shares = format!("weight {} → {}", before.weight(), after.weight());
            let resumed = matches!(before.phase(), Phase::Paused { .. });
            let shares = match resumed {
                true => format!("{shares}: the share begins anew, with fresh evidence"),
                false => shares,
            };
            let text = match evidence.filter(|_| before.weight() > Weight::NONE && !resumed) {
                Some(line) => format!("{shares}: {line}"),
                None => shares,
            };
            said(NoteKind::Weight, text)
        }
        Step::Retire => None,
    }
}

fn going_back(outcome: &Outcome, from: Weight) -> String {
    let reason = outcome.reason().unwrap_or_default();
    if from == Weight::NONE {
        format!("green is given up, no user saw it: {reason}")
    } else {
        format!("ROLLED BACK: weight {from} → 0%, every new request goes to blue: {reason}")
    }
}

fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Promoted => "done: green is the new blue".to_owned(),
        other => format!(
            "done: blue serves, green is drained ({})",
            other.name().replace('_', " ")
        ),
    }
}
