//! Cleanup: when containers and images that are no longer needed are removed, and what is remembered of it.

use crate::control::api::message::Message;
use crate::control::effects::Effects;
use crate::control::report::entry::Entry;
use crate::control::service::state::ServiceState;
use crate::control::tasks::context::TaskContext;
use crate::core::table::Color;
use crate::driver::docker::Engine;
use crate::driver::docker::cleanup::{self, Keep, Swept};
use crate::store::NoteKind;
use crate::store::saved::{Fetched, Kept};
use std::time::{Duration, Instant};

/// How often to check whether a cleanup is due.
const SWEEP: Duration = Duration::from_secs(60);

/// How long after a failed cleanup the next one starts.
const AGAIN: Duration = Duration::from_secs(5);

/// How long the end of the process waits for a last cleanup.
const LAST_SWEEP: Duration = Duration::from_secs(10);

/// Whether a cleanup of the service is to start now.
pub(in crate::control) fn due(state: &ServiceState, context: &TaskContext, now: Instant) -> bool {
    let seen = &state.docker;
    let late = seen.next_sweep.is_none_or(|next| now >= next);
    state.is_docker()
        && (seen.sweep_due || late)
        && seen.sweeping.is_none()
        && state.sighted(context)
        && !seen.restart_due
}

/// Stops and removes what is no longer needed, in the background.
///
/// `images` are the ids of images to remove.
pub(in crate::control) fn start(
    state: &mut ServiceState,
    images: Vec<String>,
    context: &TaskContext,
    now: Instant,
) {
    let Some(mailbox) = context.mailbox() else {
        return;
    };
    let keep = keep(state, images, context);
    let (engine, service) = (context.engine.clone(), state.route.service.clone());
    let task = tokio::spawn(async move {
        let result = cleanup::sweep(&engine, &keep)
            .await
            .map_err(|error| error.to_string());
        let retired = keep.retired;
        let swept = Message::Swept {
            service,
            retired,
            result,
        };
        let _ = mailbox.send(swept).await;
    });
    let seen = &mut state.docker;
    seen.sweeping = Some(task.abort_handle());
    (seen.sweep_due, seen.next_sweep) = (false, Some(now + SWEEP));
}

/// The last cleanup before the process ends, where it takes no longer than [`LAST_SWEEP`].
pub(in crate::control) async fn last(engine: &Engine, keep: &Keep) -> Result<Swept, String> {
    match tokio::time::timeout(LAST_SWEEP, cleanup::sweep(engine, keep)).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("there was no time left".to_owned()),
    }
}

/// Keeps a released green running for `keep_green`: a person wants to inspect it.
pub(in crate::control) fn keep_running(state: &mut ServiceState, now: jiff::Timestamp) -> Effects {
    let until = now + state.settings.keep_green;
    let green = state.docker.containers[Color::Green.index()].iter();
    let kept = green.flatten().map(|container| Kept {
        id: container.id.clone(),
        until: until.to_string(),
    });
    state.saved.kept = kept.collect();
    Effects {
        save: true,
        ..Effects::default()
    }
}

/// What the cleanup of a service must keep.
pub(in crate::control) fn keep(
    state: &ServiceState,
    images: Vec<String>,
    context: &TaskContext,
) -> Keep {
    let rollout = state.run.as_ref().map_or(0, |run| run.saved.id);
    Keep {
        owner: context.owner(&state.route.service, rollout),
        baseline: state.has_baseline(),
        serving: state.serving(),
        promoted: state.promoted_containers(),
        retired: state.saved.retired.clone(),
        kept: still_kept(&state.saved.kept, jiff::Timestamp::now()),
        name: state.settings.fixed_name().map(str::to_owned),
        keep_green: state.settings.keep_green,
        grace: state.settings.drain,
        images,
        moving: state.docker.moving.clone(),
        first: !state.docker.swept,
    }
}

/// Ids of images that were fetched for a service and exceed the number to keep; none during its rollout.
pub(in crate::control) fn too_many_images(
    services: &[ServiceState],
    own: usize,
    keep: usize,
) -> Vec<String> {
    if services[own].run.is_some() {
        return vec![];
    }
    let lists: Vec<&[Fetched]> = services
        .iter()
        .map(|state| state.saved.fetched.as_slice())
        .collect();
    too_many(&lists, own, keep)
}

/// An image was fetched for a service.
pub(in crate::control) fn fetched(state: &mut ServiceState, fetched: Fetched) -> Effects {
    state.saved.fetched.retain(|one| one.id != fetched.id);
    state.saved.fetched.push(fetched);
    Effects {
        save: true,
        ..Effects::default()
    }
}

/// Takes the result of a cleanup that was to stop the containers `retired`; those replaced since its start wait for the
/// next one.
pub(in crate::control) fn ended(
    state: &mut ServiceState,
    retired: &[String],
    result: Result<Swept, String>,
    now: Instant,
) -> Effects {
    let seen = &mut state.docker;
    seen.sweeping = None;
    let swept = match result {
        Ok(swept) => swept,
        Err(why) => {
            // The transfer of a name may be incomplete.
            (seen.next_sweep, seen.swept) = (Some(now + AGAIN), false);
            let text = format!("not everything could be cleared away, and is tried again: {why}");
            return Entry::of_service(NoteKind::Trouble, text).into();
        }
    };
    let line = |text| Entry::of_service(NoteKind::Containers, text);
    let mut entries: Vec<Entry> = swept.told.into_iter().map(line).collect();
    seen.swept = true;
    let troubles = seen.unswept.fresh(swept.troubles).into_iter();
    entries.extend(troubles.map(|text| Entry::of_service(NoteKind::Trouble, text)));
    seen.highest = seen.highest.max(swept.highest);
    if swept.again {
        (seen.next_sweep, seen.swept) = (Some(now + AGAIN), false);
    }
    let saved = &mut state.saved;
    let before = (saved.retired.len(), saved.fetched.len());
    saved.retired.retain(|id| !retired.contains(id));
    saved.fetched.retain(|one| !swept.images.contains(&one.id));
    Effects {
        entries,
        save: (saved.retired.len(), saved.fetched.len()) != before,
        ..Effects::default()
    }
}

/// The ids of the images fetched for the service `own`, without the last `keep` and without those that another service
/// keeps.
fn too_many(lists: &[&[Fetched]], own: usize, keep: usize) -> Vec<String> {
    let last = |list: &[Fetched]| list[list.len().saturating_sub(keep)..].to_vec();
    let kept: Vec<Fetched> = lists.iter().flat_map(|list| last(list)).collect();
    let old = lists[own]
        .iter()
        .filter(|one| !kept.iter().any(|kept| kept.id == one.id));
    old.map(|one| one.id.clone()).collect()
}

/// Ids of containers that are still to be kept at this time.
fn still_kept(all: &[Kept], now: jiff::Timestamp) -> Vec<String> {
    let lasts = |kept: &&Kept| {
        let until = kept.until.parse::<jiff::Timestamp>();
        until.is_ok_and(|until| now < until)
    };
    let still = all.iter().filter(lasts);
    still.map(|kept| kept.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::fixture::{ADDRESSES, CONTAINERS, Fixture, running};

    #[test]
    fn the_last_images_of_each_service_are_kept() {
        let list = |ids: &[&str]| -> Vec<Fetched> {
            let one = |id: &&str| Fetched {
                id: (*id).to_owned(),
                image: format!("app:{id}"),
            };
            ids.iter().map(one).collect()
        };
        let (api, web) = (list(&["1", "2", "3", "4"]), list(&["2"]));
        let lists = [api.as_slice(), web.as_slice()];
        assert_eq!(too_many(&lists, 0, 2), ["1"], "the other service has 2");
        assert_eq!(too_many(&lists[..1], 0, 2), ["1", "2"]);
        assert_eq!(too_many(&lists, 1, 2), [""; 0]);
        assert_eq!(too_many(&lists, 0, 9), [""; 0]);
    }

    #[test]
    fn a_green_is_kept_for_its_time() {
        let now = "2026-01-01T12:00:00Z".parse().expect("a time");
        let cases = [
            ("2026-01-01T12:00:01Z", 1),
            ("2026-01-01T12:00:00Z", 0),
            ("soon", 0),
        ];
        for (until, kept) in cases {
            let all = [Kept {
                id: "five".to_owned(),
                until: until.to_owned(),
            }];
            assert_eq!(still_kept(&all, now).len(), kept, "{until}");
        }
    }

    fn seen() -> Fixture {
        let mut fixture = Fixture::at_rest(CONTAINERS);
        fixture.state.docker.containers[0] = Some(vec![running("one")]);
        fixture
    }

    #[test]
    fn a_cleanup_starts_when_it_is_due_and_its_containers_are_known() {
        let now = Instant::now();
        type Change = fn(&mut ServiceState, Instant);
        let cases: [(&str, Change, bool); 6] = [
            ("the first time", |_, _| {}, true),
            (
                "later",
                |state, now| state.docker.next_sweep = Some(now + SWEEP),
                false,
            ),
            (
                "asked for",
                |state, now| {
                    (state.docker.next_sweep, state.docker.sweep_due) = (Some(now + SWEEP), true);
                },
                true,
            ),
            (
                "its time has come",
                |state, now| state.docker.next_sweep = Some(now),
                true,
            ),
            (
                "a rollout waits for its containers",
                |state, _| state.docker.restart_due = true,
                false,
            ),
            (
                "blue was not seen",
                |state, _| state.docker.containers[0] = None,
                false,
            ),
        ];
        for (what, change, expected) in cases {
            let mut fixture = seen();
            change(&mut fixture.state, now);
            assert_eq!(
                due(&fixture.state, &fixture.context, now),
                expected,
                "{what}"
            );
        }
        let addresses = Fixture::at_rest(ADDRESSES);
        assert!(!due(&addresses.state, &addresses.context, now));
    }

    #[test]
    fn a_cleanup_is_told_and_what_is_gone_is_forgotten() {
        let now = Instant::now();
        let mut fixture = seen();
        let state = &mut fixture.state;
        state.saved.retired = vec!["old".to_owned(), "since".to_owned()];
        let image = |id: &str| Fetched {
            id: id.to_owned(),
            image: String::new(),
        };
        state.saved.fetched = vec![image("i1"), image("i2")];
        let swept = Swept {
            told: vec!["app-1 removed".to_owned()],
            troubles: vec!["app-2 is in use".to_owned()],
            images: vec!["i1".to_owned()],
            highest: 9,
            again: false,
        };
        let effects = ended(state, &["old".to_owned()], Ok(swept), now);
        let told = [
            Entry::of_service(NoteKind::Containers, "app-1 removed"),
            Entry::of_service(NoteKind::Trouble, "app-2 is in use"),
        ];
        assert_eq!(
            (effects.entries.as_slice(), effects.save),
            (&told[..], true)
        );
        assert_eq!(state.saved.retired, ["since"], "retired meanwhile");
        assert_eq!(state.saved.fetched, [image("i2")]);
        assert_eq!((state.docker.highest, state.docker.swept), (9, true));
        let again = Swept {
            troubles: vec!["app-2 is in use".to_owned()],
            highest: 3,
            again: true,
            ..Swept::default()
        };
        let effects = ended(state, &[], Ok(again), now);
        assert_eq!(effects, Effects::default(), "told once, nothing to record");
        assert_eq!((state.docker.highest, state.docker.swept), (9, false));
        assert_eq!(state.docker.next_sweep, Some(now + AGAIN));
    }

    #[test]
    fn a_failed_cleanup_is_tried_again_and_forgets_nothing() {
        let now = Instant::now();
        let mut fixture = seen();
        fixture.state.saved.retired = vec!["old".to_owned()];
        fixture.state.docker.swept = true;
        let failed = Err("no space".to_owned());
        let effects = ended(&mut fixture.state, &["old".to_owned()], failed, now);
        assert!(!effects.save && effects.entries[0].text.ends_with("tried again: no space"));
        assert_eq!(fixture.state.saved.retired, ["old"]);
        assert_eq!(fixture.state.docker.next_sweep, Some(now + AGAIN));
        assert!(
            !fixture.state.docker.swept,
            "the next one looks at everything"
        );
    }

    #[test]
    fn an_image_that_is_fetched_again_is_the_newest() {
        let mut fixture = seen();
        let image = |id: &str| Fetched {
            id: id.to_owned(),
            image: "app:2".to_owned(),
        };
        for (id, all) in [
            ("a", vec!["a"]),
            ("b", vec!["a", "b"]),
            ("a", vec!["b", "a"]),
        ] {
            assert!(fetched(&mut fixture.state, image(id)).save);
            let known = fixture
                .state
                .saved
                .fetched
                .iter()
                .map(|one| one.id.as_str());
            assert_eq!(known.collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn no_image_is_removed_during_a_rollout() {
        let mut services = [Fixture::starting(CONTAINERS).state];
        let ids = ["1", "2", "3"].map(|id| Fetched {
            id: id.to_owned(),
            image: String::new(),
        });
        services[0].saved.fetched = ids.to_vec();
        assert_eq!(too_many_images(&services, 0, 1), [""; 0]);
        services[0].run = None;
        assert_eq!(too_many_images(&services, 0, 1), ["1", "2"]);
    }
}
