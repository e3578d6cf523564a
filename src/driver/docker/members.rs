//! The members of a pool among the found containers: for unreadable ones the last known state counts,
//! a Compose service is limited to one project, and unhealthy containers get no requests while others are healthy.

use crate::driver::docker::container::{Container, State};
use crate::driver::docker::labels::{COMPOSE_PROJECT, COMPOSE_SERVICE};
use crate::driver::docker::watcher::Selector;

/// The containers `now`; for one that cannot be read, its state from `before`.
pub fn as_last_seen(now: Vec<Container>, before: &[Container]) -> Vec<Container> {
    let known = |now: Container| match &now.unread {
        None => now,
        Some(why) => {
            let same = |old: &&Container| old.id == now.id || old.name == now.name;
            let old = before.iter().find(same).cloned();
            let seen = old.map(|old| Container {
                unread: Some(why.clone()),
                ..old
            });
            seen.unwrap_or(now)
        }
    };
    now.into_iter().map(known).collect()
}

/// The Compose service, if it is named without its project.
fn service_alone(by: &Selector) -> Option<&str> {
    let Selector::Labels(labels) = by else {
        return None;
    };
    let value = |key: &str| {
        labels
            .iter()
            .find_map(|label| label.strip_prefix(key)?.strip_prefix('='))
    };
    match value(COMPOSE_PROJECT) {
        Some(_) => None,
        None => value(COMPOSE_SERVICE),
    }
}

/// The Compose projects of the containers, without duplicates.
pub fn projects(containers: &[Container]) -> Vec<&str> {
    let labels = containers.iter().map(|container| &container.labels);
    let mut projects: Vec<&str> = labels
        .filter_map(|labels| labels.get(COMPOSE_PROJECT).map(String::as_str))
        .collect();
    projects.sort_unstable();
    projects.dedup();
    projects
}

/// The containers of one project, where a Compose service is named without its project and several projects have it.
///
/// `served` is the project that served before: it stays, even while its containers are down. Without one no project is
/// used: users of one project must never see another's data.
pub fn of_one_project(
    by: &Selector,
    mut containers: Vec<Container>,
    served: Option<&str>,
) -> (Vec<Container>, Option<String>) {
    let Some(service) = service_alone(by) else {
        return (containers, None);
    };
    let all = projects(&containers);
    let strangers = all
        .iter()
        .any(|found| served.is_some_and(|served| served != *found));
    let Some(last) = all.last().filter(|_| strangers || all.len() > 1) else {
        return (containers, None);
    };
    let chosen = served.filter(|served| all.contains(served));
    let example = chosen.unwrap_or(last);
    if let (Some(served), None) = (served, chosen) {
        let trouble = format!(
            "`compose = \"{service}\"` finds containers of {} only, and {served} served before: none is taken, for users of one project must not meet the data of another. If the project has another name now, write `compose = \"{example}/{service}\"`",
            all.join(", "),
        );
        return (vec![], Some(trouble));
    }
    let trouble = format!(
        "`compose = \"{service}\"` finds containers of {} projects ({}): {}. Write `compose = \"{example}/{service}\"`",
        all.len(),
        all.join(", "),
        match chosen {
            Some(served) => format!("only those of {served}, which served before, are taken"),
            None => "none is taken, for users of one must not meet the data of another".to_owned(),
        },
    );
    let chosen = chosen.map(str::to_owned);
    containers.retain(|container| container.labels.get(COMPOSE_PROJECT) == chosen.as_ref());
    (containers, Some(trouble))
}

/// The containers that get new requests: all that run; without those that are starting or unhealthy by their own
/// HEALTHCHECK, as long as another one is healthy.
pub fn taking(containers: &[Container]) -> impl Iterator<Item = &Container> {
    let well = containers.iter().any(|one| one.state == State::Running);
    containers
        .iter()
        .filter(move |one| one.state.serves() && (!well || one.state == State::Running))
}

/// The problems of single members, a line each.
pub fn troubles(containers: &[Container]) -> Vec<String> {
    let well = containers.iter().any(|one| one.state == State::Running);
    let line = |one: &Container| {
        let name = &one.name;
        if let Some(why) = &one.unread {
            let then = match one.state {
                State::Unreadable => "it gets no requests",
                _ => "it counts as it was seen before",
            };
            return Some(format!(
                "Docker's answer about the container {name} cannot be read: {why}. {then}; the others are not concerned"
            ));
        }
        if one.starved {
            return Some(format!(
                "the kernel killed a process in {name} for want of memory (OOM), and {name} runs on: give it more, or look why it takes so much"
            ));
        }
        let how = match one.state {
            State::Unhealthy { .. } => "is unhealthy by its own HEALTHCHECK",
            // A member that starts alone is waited for, and is no problem.
            State::Starting if well => "is starting",
            _ => return None,
        };
        let then = match well {
            true => "it gets no new requests while others are well",
            false => "it is asked all the same, because no other one is well",
        };
        Some(format!("{name} {how}: {then}"))
    };
    containers.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, project: &str, state: State) -> Container {
        Container {
            state,
            labels: [(COMPOSE_PROJECT.to_owned(), project.to_owned())].into(),
            unread: None,
            ..Container::unreadable(format!("id of {name}"), name.to_owned(), String::new())
        }
    }

    fn names<'a>(containers: impl IntoIterator<Item = &'a Container>) -> Vec<&'a str> {
        containers
            .into_iter()
            .map(|one| one.name.as_str())
            .collect()
    }

    fn ill() -> State {
        State::Unhealthy {
            said: "refused".to_owned(),
        }
    }

    #[test]
    fn what_cannot_be_read_counts_as_it_was_seen_before() {
        let before = [container("a", "p", State::Running)];
        let unread = |name: &str| {
            Container::unreadable(format!("id of {name}"), name.to_owned(), "why".to_owned())
        };
        let now = as_last_seen(vec![unread("a"), unread("b")], &before);
        assert_eq!(now[0].state, State::Running);
        assert_eq!(now[1].state, State::Unreadable);
        let told = troubles(&now).join("\n");
        assert!(
            told.contains("container a cannot be read: why. it counts"),
            "{told}"
        );
        assert!(
            told.contains("container b cannot be read: why. it gets no"),
            "{told}"
        );
        let again = as_last_seen(vec![before[0].clone()], &now);
        assert_eq!(troubles(&again), [""; 0]);
    }

    #[test]
    fn a_process_that_was_killed_for_memory_is_told_though_its_container_runs() {
        let mut one = container("a", "p", State::Running);
        assert_eq!(troubles(std::slice::from_ref(&one)), [""; 0]);
        one.starved = true;
        let told = troubles(&[one]).join("\n");
        assert!(
            told.contains("killed a process in a for want of memory"),
            "{told}"
        );
    }

    #[test]
    fn a_compose_service_is_that_of_one_project() {
        let alone = Selector::Labels(vec![format!("{COMPOSE_SERVICE}=api")]);
        let both = || {
            vec![
                container("p1", "prod", State::Running),
                container("s1", "staging", State::Running),
            ]
        };
        let (taken, told) = of_one_project(&alone, both(), None);
        assert_eq!(names(&taken), [""; 0], "nothing says which");
        let told = told.expect("a trouble");
        assert!(
            told.contains("prod, staging") && told.contains("none is taken"),
            "{told}"
        );
        let (taken, told) = of_one_project(&alone, both(), Some("prod"));
        assert_eq!(names(&taken), ["p1"]);
        assert!(told.expect("a trouble").contains("\"prod/api\""));
        let mut stopped = both();
        stopped[0].state = State::Created;
        let (taken, _) = of_one_project(&alone, stopped, Some("prod"));
        assert_eq!(names(&taken), ["p1"], "staging never takes over");
        for (by, served) in [
            (
                Selector::Labels(vec![
                    format!("{COMPOSE_SERVICE}=api"),
                    format!("{COMPOSE_PROJECT}=prod"),
                ]),
                None,
            ),
            (Selector::Labels(vec!["app=api".to_owned()]), None),
            (Selector::Names(vec!["p1".to_owned()]), Some("prod")),
        ] {
            let (taken, told) = of_one_project(&by, both(), served);
            assert_eq!((taken.len(), told), (2, None), "{by:?}");
        }
        let only = |n: usize| both()[n..=n].to_vec();
        assert_eq!(of_one_project(&alone, only(0), None).0.len(), 1);
        assert_eq!(of_one_project(&alone, only(0), Some("prod")).1, None);
        // Prod's container is being made anew, or comes up later than staging's after a reboot.
        let (taken, told) = of_one_project(&alone, only(1), Some("prod"));
        assert_eq!(names(&taken), [""; 0]);
        let told = told.expect("a trouble");
        assert!(
            told.contains("prod served before") && told.contains("\"staging/api\""),
            "{told}"
        );
        assert_eq!(of_one_project(&alone, vec![], Some("prod")), (vec![], None));
    }

    #[test]
    fn what_is_not_well_waits_while_another_one_is() {
        let all = |states: &[State]| -> Vec<Container> {
            let named = states.iter().enumerate();
            named
                .map(|(i, state)| container(&format!("m{i}"), "p", state.clone()))
                .collect()
        };
        let cases: [(&[State], &[&str], usize); 5] = [
            (&[State::Running, ill()], &["m0"], 1),
            (&[State::Starting, State::Running], &["m1"], 1),
            (&[State::Starting, ill()], &["m0", "m1"], 1),
            (&[State::Starting], &["m0"], 0),
            (&[State::Paused, State::Unreadable], &[], 0),
        ];
        for (states, expected, told) in cases {
            let all = all(states);
            assert_eq!(names(taking(&all)), expected, "{states:?}");
            assert_eq!(troubles(&all).len(), told, "{states:?}");
        }
    }
}
