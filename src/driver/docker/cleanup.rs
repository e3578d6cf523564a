//! Cleanup: containers that this shifter created or was told to replace, and that are no longer needed, are stopped,
//! kept for a while and removed.
//!
//! The actions follow from the current containers and the saved state, so that a cleanup after a crash
//! finishes what the one before began. Containers of others are not touched, unless they were blue.

use crate::driver::docker::container::{Container, State};
use crate::driver::docker::engine::{Engine, EngineError};
use crate::driver::docker::labels::{self, Owner};
use crate::driver::docker::names::{self, Moving, Told};
use crate::driver::docker::strangers;
use bollard::models::{RestartPolicy, RestartPolicyNameEnum};
use std::time::Duration;

/// Digits of the short form of a container's id.
const SHORT_ID: usize = 12;

/// The saved state of a service that decides what stays.
#[derive(Clone, Debug)]
pub struct Keep {
    /// The service, and the rollout under way with its containers, which stay; 0: none.
    pub owner: Owner,
    /// Whether the baseline of that rollout stays too.
    pub baseline: bool,
    /// Ids of the serving containers.
    pub serving: Vec<String>,
    /// Ids of the containers of a green with the whole share, while blue is kept warm: an engine that restarts brings
    /// them back.
    pub promoted: Vec<String>,
    /// Ids of the containers that served before and were replaced: they are stopped, and removed when shifter created
    /// them.
    pub retired: Vec<String>,
    /// Ids of containers that run on without users, for inspection.
    pub kept: Vec<String>,
    /// The name that the serving container must have, if any.
    pub name: Option<String>,
    /// How long the stopped containers of a released green are kept.
    pub keep_green: Duration,
    /// Shortest time for a container to stop before it is killed: its own stop timeout may be longer.
    pub grace: Duration,
    /// Ids of images that shifter fetched for this service and that exceed the number to keep.
    pub images: Vec<String>,
    /// Containers with names that are being changed.
    pub moving: Moving,
    /// Whether this is the first cleanup of a process, which finds what the process before left unfinished.
    pub first: bool,
}

/// The result of a cleanup.
#[derive(Debug, Default)]
pub struct Swept {
    /// One line for each action.
    pub told: Vec<String>,
    /// Problems that still exist.
    pub troubles: Vec<String>,
    /// Ids of images that are no longer on the host.
    pub images: Vec<String>,
    /// The highest rollout number under which another journal created containers of this service.
    pub highest: i64,
    /// Whether another cleanup is needed soon.
    pub again: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
enum CleanupAction {
    /// Stop it.
    Stop(Container),
    /// Remove it.
    Remove(Container),
    /// Give it blue's restart policy: it is blue now.
    Settle(Container, RestartPolicy),
    /// Rename it.
    Rename(Container, String),
    /// Change its restart policy, so that a restart of the engine leaves it stopped.
    StayStopped(Container),
}

/// Runs the cleanup, and reports it.
///
/// # Errors
/// When the engine refuses or does not answer; the next cleanup does the rest.
pub async fn sweep(engine: &Engine, keep: &Keep) -> Result<Swept, EngineError> {
    let all = engine.labelled(&keep.owner.of_the_name()).await?;
    let (ours, strangers): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|one| keep.owner.owns(&one.labels));
    // Before blue is stopped, so that there is always an answer.
    let (named, again) = match names(engine, keep, &ours).await {
        Ok(named) => (named, false),
        Err(error) => {
            let text = format!("the names of what serves could not be settled: {error}");
            let troubles = vec![text];
            (
                Told {
                    troubles,
                    ..Told::default()
                },
                true,
            )
        }
    };
    let (mut told, mut troubles) = (named.done, named.troubles);
    let others = strangers
        .iter()
        .filter(|one| !keep.serving.contains(&one.id));
    let others: Vec<Container> = others.cloned().collect();
    troubles.extend(strangers::told(&keep.owner.service, &others));
    let mut retired = vec![];
    for id in &keep.retired {
        retired.extend(engine.find(id).await?);
    }
    let now = jiff::Timestamp::now();
    for chore in chores(&ours, &retired, keep, now) {
        told.extend(perform(engine, keep, chore).await?);
    }
    // Containers removed meanwhile hold no name any more.
    if let Some(name) = &keep.name {
        let holder = engine.find(name).await?;
        for chore in renames(name, holder, &ours, &keep.serving, &keep.retired) {
            told.extend(perform(engine, keep, chore).await?);
        }
    }
    let images = forget(engine, &keep.images, &mut told).await?;
    Ok(Swept {
        told,
        troubles,
        images,
        highest: strangers::highest(&strangers),
        again,
    })
}

/// Removes surplus images; returns the ids of those that are gone. An image in use stays.
async fn forget(
    engine: &Engine,
    images: &[String],
    told: &mut Vec<String>,
) -> Result<Vec<String>, EngineError> {
    let mut gone = vec![];
    for id in images {
        let name = match engine.image(id).await {
            Ok(image) => image.names.join(", "),
            Err(EngineError::Missing(_)) => String::new(),
            Err(error) => return Err(error),
        };
        match engine.remove_image(id).await {
            Ok(()) => told.push(format!("removed the image {name}: no container uses it, and newer ones are kept (`keep_images` of [docker])")),
            Err(EngineError::Missing(_)) => {}
            // In use, or with another name too; or a proxy in front of the engine denies it.
            Err(EngineError::Refused(..) | EngineError::Taken(_) | EngineError::Denied(_)) => continue,
            Err(error) => return Err(error),
        }
        gone.push(id.clone());
    }
    Ok(gone)
}

/// Gives the serving containers their names, and takes them from a released green.
async fn names(engine: &Engine, keep: &Keep, ours: &[Container]) -> Result<Told, EngineError> {
    let mut known: Vec<String> = ours.iter().map(|one| one.id.clone()).collect();
    known.extend(keep.retired.iter().chain(&keep.serving).cloned());
    let mut all = Told::default();
    for one in ours {
        let serves = keep.serving.contains(&one.id) || keep.promoted.contains(&one.id);
        if serves || keep.owner.made(&one.labels) {
            let told = names::settle(engine, one, serves, &known, keep.first, &keep.moving).await?;
            all.done.extend(told.done);
            all.troubles.extend(told.troubles);
        }
    }
    Ok(all)
}

async fn perform(
    engine: &Engine,
    keep: &Keep,
    chore: CleanupAction,
) -> Result<Option<String>, EngineError> {
    Ok(match chore {
        CleanupAction::Stop(container) => {
            let grace = container.stop_grace(keep.grace);
            engine.stop(&container.id, grace).await?;
            let mut text = format!("stopped {} ({})", container.name, container.image);
            if !keep.owner.owns(&container.labels) {
                text.push_str(&format!(
                    "; shifter did not make it, so it is left: `docker rm {}`",
                    container.name
                ));
            }
            Some(text)
        }
        CleanupAction::Remove(container) => match engine.remove(&container.id).await {
            Ok(()) => Some(format!("removed {} ({})", container.name, container.image)),
            Err(EngineError::Missing(_)) => None,
            Err(error) => return Err(error),
        },
        CleanupAction::Rename(container, name) => {
            engine.rename(&container.id, &name).await?;
            Some(format!("renamed {} to {name}", container.name))
        }
        CleanupAction::Settle(container, policy) => {
            engine.restart_policy(&container.id, policy).await?;
            None
        }
        CleanupAction::StayStopped(container) => {
            let policy = RestartPolicy {
                name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
                maximum_retry_count: None,
            };
            engine.restart_policy(&container.id, policy).await?;
            None
        }
    })
}

/// The actions for the containers of a service, `ours` and those that were `retired`.
fn chores(
    ours: &[Container],
    retired: &[Container],
    keep: &Keep,
    now: jiff::Timestamp,
) -> Vec<CleanupAction> {
    let mut chores = vec![];
    for container in ours {
        let promoted = keep.promoted.contains(&container.id);
        if keep.serving.contains(&container.id) || promoted {
            chores.extend(settled(container, labels::restart_of(&container.labels)));
            continue;
        }
        let owner = &keep.owner;
        let copied = keep.baseline && owner.of_baseline().made(&container.labels);
        let under_way = copied || owner.made(&container.labels) || owner.checks(&container.labels);
        if owner.rollout != 0 && under_way {
            // Promoted, and rolled back while blue was warm: a crash must not be hidden by a restart again.
            let never = RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            };
            chores.extend(settled(container, Some(never)));
            continue;
        }
        // A finished check, or a copy of blue, is not kept for inspection.
        let of_no_use = [labels::CHECK, labels::BASELINE];
        let check = of_no_use
            .iter()
            .any(|label| container.labels.contains_key(*label));
        if keep.kept.contains(&container.id) {
            continue;
        }
        let replaced = check || keep.retired.contains(&container.id);
        match &container.state {
            State::Created => chores.push(CleanupAction::Remove(container.clone())),
            // Its state is unknown: the next cleanup looks again.
            State::Unreadable => {}
            State::Exited {
                restarting: false, ..
            } => {
                if replaced || age(container, now) >= keep.keep_green {
                    chores.push(CleanupAction::Remove(container.clone()));
                }
            }
            _ => {
                chores.push(CleanupAction::Stop(container.clone()));
                if replaced {
                    chores.push(CleanupAction::Remove(container.clone()));
                }
            }
        }
    }
    chores.extend(theirs(ours, retired, keep));
    chores
}

/// The change to a restart policy that a container does not have yet.
fn settled(container: &Container, wanted: Option<RestartPolicy>) -> Option<CleanupAction> {
    let wanted = wanted?;
    let present = match container.restart.as_str() {
        "" => "no",
        present => present,
    };
    (wanted.name?.to_string() != present).then(|| CleanupAction::Settle(container.clone(), wanted))
}

/// The renames that give the serving container its `name`: the container with that name is renamed, when it was blue or
/// is ours.
fn renames(
    name: &str,
    holder: Option<Container>,
    ours: &[Container],
    serving: &[String],
    retired: &[String],
) -> Vec<CleanupAction> {
    let mut ones = ours.iter().filter(|one| serving.contains(&one.id));
    let (Some(one), None) = (ones.next(), ones.next()) else {
        return vec![];
    };
    if one.name == name {
        return vec![];
    }
    let mut chores = vec![];
    if let Some(holder) = holder {
        let known = retired.contains(&holder.id) || ours.iter().any(|own| own.id == holder.id);
        if !known || serving.contains(&holder.id) {
            return vec![];
        }
        // A suffix from its id keeps the new name unique.
        let short = holder.id.get(..SHORT_ID).unwrap_or(&holder.id).to_owned();
        chores.push(CleanupAction::Rename(
            holder,
            format!("{name}-retired-{short}"),
        ));
    }
    chores.push(CleanupAction::Rename(one.clone(), name.to_owned()));
    chores
}

/// The actions for containers that were blue and are not ours: they stay in place, stopped.
fn theirs(ours: &[Container], retired: &[Container], keep: &Keep) -> Vec<CleanupAction> {
    let mut chores = vec![];
    for container in retired {
        let mine = ours.iter().any(|own| own.id == container.id);
        if mine || keep.serving.contains(&container.id) {
            continue;
        }
        if container.restart == RestartPolicyNameEnum::ALWAYS.to_string() {
            chores.push(CleanupAction::StayStopped(container.clone()));
        }
        if !matches!(
            container.state,
            State::Created
                | State::Unreadable
                | State::Exited {
                    restarting: false,
                    ..
                }
        ) {
            chores.push(CleanupAction::Stop(container.clone()));
        }
    }
    chores
}

/// How long ago a container ended; zero when that cannot be read.
fn age(container: &Container, now: jiff::Timestamp) -> Duration {
    let ended = container.finished_at.parse::<jiff::Timestamp>().ok();
    let span = ended.map(|ended| now.duration_since(ended));
    span.and_then(|span| Duration::try_from(span).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T12:00:00Z";

    fn keep() -> Keep {
        Keep {
            owner: Owner {
                instance: "here".to_owned(),
                service: "api".to_owned(),
                rollout: 7,
                baseline: false,
            },
            baseline: false,
            serving: vec!["six".to_owned()],
            promoted: vec![],
            retired: vec![],
            kept: vec![],
            name: None,
            keep_green: Duration::from_secs(3600),
            grace: Duration::from_secs(10),
            images: vec![],
            moving: Moving::default(),
            first: false,
        }
    }

    fn exited() -> State {
        State::Exited {
            code: 0,
            out_of_memory: false,
            restarting: false,
            why: String::new(),
        }
    }

    /// A container of ours from a rollout; it ended half an hour ago, if at all.
    fn ours(id: &str, rollout: i64, state: State) -> Container {
        let owner = Owner {
            rollout,
            ..keep().owner
        };
        Container {
            id: id.to_owned(),
            name: format!("api-{rollout}"),
            image: "api:1".to_owned(),
            started_at: String::new(),
            finished_at: "2026-01-01T11:30:00Z".to_owned(),
            state,
            labels: owner.labels("blue"),
            restart: "no".to_owned(),
            memory: 0,
            stop_timeout: None,
            ports: vec![],
            mode: String::new(),
            starved: false,
            unchecked: false,
            addresses: vec![],
            unread: None,
        }
    }

    fn told(ours: &[Container], retired: &[Container], keep: &Keep) -> Vec<String> {
        chores(ours, retired, keep, NOW.parse().expect("a time"))
            .into_iter()
            .map(|chore| match chore {
                CleanupAction::Stop(container) => format!("stop {}", container.id),
                CleanupAction::Remove(container) => format!("remove {}", container.id),
                CleanupAction::Settle(container, policy) => {
                    format!("settle {} {:?}", container.id, policy.name)
                }
                CleanupAction::Rename(container, name) => format!("rename {} {name}", container.id),
                CleanupAction::StayStopped(container) => format!("stay stopped {}", container.id),
            })
            .collect()
    }

    #[test]
    fn a_baseline_stays_while_it_is_wanted_and_is_kept_for_nobody() {
        let baseline = |rollout, state| Container {
            labels: Owner {
                rollout,
                ..keep().owner.of_baseline()
            }
            .labels("blue"),
            ..ours("copy", rollout, state)
        };
        let wanted = Keep {
            baseline: true,
            ..keep()
        };
        let one = |rollout, state, keep: &Keep| told(&[baseline(rollout, state)], &[], keep);
        assert_eq!(one(7, State::Running, &wanted), Vec::<String>::new());
        let away = ["stop copy", "remove copy"];
        assert_eq!(
            one(7, State::Running, &keep()),
            away,
            "it is wanted no more"
        );
        assert_eq!(one(6, State::Running, &wanted), away, "of another rollout");
        assert_eq!(one(7, exited(), &keep()), ["remove copy"]);
    }

    #[test]
    fn who_serves_and_who_is_rolled_out_stay() {
        let all = [
            ours("six", 6, State::Running),
            ours("seven", 7, State::Running),
        ];
        assert_eq!(told(&all, &[], &keep()), [""; 0]);
        let over = Keep {
            owner: Owner {
                rollout: 0,
                ..keep().owner
            },
            ..keep()
        };
        assert_eq!(told(&all, &[], &over), ["stop seven"]);
    }

    #[test]
    fn a_green_that_was_taken_off_is_kept_for_a_while() {
        let old = [ours("five", 5, exited())];
        assert_eq!(told(&old, &[], &keep()), [""; 0]);
        let short = Keep {
            keep_green: Duration::from_secs(60),
            ..keep()
        };
        assert_eq!(told(&old, &[], &short), ["remove five"]);
        let never_started = [ours("five", 5, State::Created)];
        assert_eq!(told(&never_started, &[], &keep()), ["remove five"]);
    }

    #[test]
    fn who_was_replaced_is_stopped_and_removed_only_when_it_is_ours() {
        let keep = Keep {
            retired: vec!["five".to_owned(), "theirs".to_owned()],
            ..keep()
        };
        let five = ours("five", 5, State::Running);
        let theirs = Container {
            id: "theirs".to_owned(),
            labels: Default::default(),
            restart: "always".to_owned(),
            ..ours("", 0, State::Running)
        };
        assert_eq!(
            told(
                std::slice::from_ref(&five),
                &[five.clone(), theirs.clone()],
                &keep
            ),
            [
                "stop five",
                "remove five",
                "stay stopped theirs",
                "stop theirs"
            ]
        );
        let still = Container {
            state: exited(),
            restart: "no".to_owned(),
            ..theirs
        };
        assert_eq!(told(&[], &[still], &keep), [""; 0], "left where it is");
    }

    #[test]
    fn who_is_kept_to_be_looked_at_runs_on() {
        let five = [ours("five", 5, State::Running)];
        assert_eq!(told(&five, &[], &keep()), ["stop five"]);
        let kept = Keep {
            kept: vec!["five".to_owned()],
            ..keep()
        };
        assert_eq!(told(&five, &[], &kept), [""; 0]);
    }

    #[test]
    fn a_fixed_name_goes_to_who_serves() {
        let blue = |id: &str| Container {
            name: "api".to_owned(),
            ..ours(id, 5, exited())
        };
        let all = [ours("six", 6, State::Running)];
        let six = ["six".to_owned()];
        let renamed = |holder: Option<Container>, retired: &[&str]| {
            let retired: Vec<String> = retired.iter().map(|id| (*id).to_owned()).collect();
            let chores = renames("api", holder, &all, &six, &retired).into_iter();
            let line = |chore| match chore {
                CleanupAction::Rename(container, name) => format!("{} {name}", container.id),
                other => format!("{other:?}"),
            };
            chores.map(line).collect::<Vec<_>>()
        };
        assert_eq!(renamed(None, &[]), ["six api"]);
        let old = ["0123456789abcdef api-retired-0123456789ab", "six api"];
        let holder = Some(blue("0123456789abcdef"));
        assert_eq!(renamed(holder.clone(), &["0123456789abcdef"]), old);
        assert_eq!(
            renamed(holder, &[]),
            [""; 0],
            "a stranger's name is its own"
        );
    }

    #[test]
    fn a_check_that_was_left_behind_goes() {
        let check = |rollout: i64, state: State| {
            let owner = Owner {
                rollout,
                ..keep().owner
            };
            Container {
                labels: owner.labels_of_check(),
                ..ours("check", 0, state)
            }
        };
        assert_eq!(told(&[check(7, State::Running)], &[], &keep()), [""; 0]);
        let left = [check(6, State::Running), check(6, exited())];
        assert_eq!(
            told(&left, &[], &keep()),
            ["stop check", "remove check", "remove check"]
        );
    }

    #[test]
    fn the_new_blue_is_restarted_as_the_old_one_was() {
        let mut six = ours("six", 6, State::Running);
        let policy = RestartPolicy {
            name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
            maximum_retry_count: None,
        };
        six.labels.extend(keep().owner.restart_label(Some(&policy)));
        assert_eq!(
            told(std::slice::from_ref(&six), &[], &keep()),
            ["settle six Some(UNLESS_STOPPED)"]
        );
        six.restart = "unless-stopped".to_owned();
        assert_eq!(told(&[six], &[], &keep()), [""; 0]);
    }
}
