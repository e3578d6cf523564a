//! Containers for a service of this name from another journal: of a shifter with a lost state, or of
//! another one on this host. They are reported, and left alone.

use crate::driver::docker::container::Container;
use crate::driver::docker::labels;

/// The highest rollout number in their labels: containers created after it have names that none of them has.
pub fn highest(strangers: &[Container]) -> i64 {
    let marks = [labels::ROLLOUT, labels::BASELINE, labels::CHECK];
    let number = |one: &Container| {
        let all = marks
            .iter()
            .filter_map(|mark| one.labels.get(*mark)?.parse().ok());
        all.max().unwrap_or(0)
    };
    strangers.iter().map(number).max().unwrap_or(0)
}

/// The message for people; `None`: there are none.
pub fn told(service: &str, strangers: &[Container]) -> Option<String> {
    if strangers.is_empty() {
        return None;
    }
    let one = |one: &Container| format!("{} ({}, {})", one.name, one.image, one.state);
    let all: Vec<String> = strangers.iter().map(one).collect();
    let runs = strangers.iter().find(|one| one.state.serves());
    let serve = runs.or(strangers.first()).map_or("", |one| &one.name);
    let mut makers: Vec<&str> = strangers
        .iter()
        .filter_map(|one| one.labels.get(labels::INSTANCE))
        .map(String::as_str)
        .collect();
    makers.sort_unstable();
    makers.dedup();
    let makers = match makers.as_slice() {
        [] => String::new(),
        some => format!(" (instance {})", some.join(", ")),
    };
    Some(format!(
        "for a service `{service}` there are containers that another shifter or an earlier state folder made{makers}: {}. They are left alone, and may have users. If another shifter runs on this engine, they are its: give one of the two services another name. If the state folder was lost or moved, bring it back, or let one of them serve: `blue = {{ container = \"{serve}\", port = … }}` in [service.{service}]",
        all.join(", "),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::docker::State;

    fn stranger(name: &str, mark: &str, number: &str, state: State) -> Container {
        Container {
            labels: [(mark, number), (labels::INSTANCE, "there")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            image: "api:1".to_owned(),
            state,
            ..Container::unreadable(format!("id of {name}"), name.to_owned(), String::new())
        }
    }

    #[test]
    fn strangers_are_told_with_what_to_do_and_their_numbers_are_not_used_again() {
        assert_eq!((told("api", &[]), highest(&[])), (None, 0));
        let all = [
            stranger("api-6", labels::ROLLOUT, "6", State::Paused),
            stranger("api-7", labels::ROLLOUT, "7", State::Running),
            stranger("api-11-baseline", labels::BASELINE, "11", State::Created),
            stranger("odd", labels::ROLLOUT, "many", State::Created),
        ];
        assert_eq!(highest(&all), 11);
        let text = told("api", &all).expect("a line");
        for part in [
            "api-6 (api:1, was paused), api-7 (api:1, runs)",
            "container = \"api-7\"",
            "made (instance there)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // They may be what another shifter serves users with.
        assert!(!text.contains("docker rm"), "{text}");
    }
}
