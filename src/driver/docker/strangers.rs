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
    let names: Vec<&str> = strangers.iter().map(|one| one.name.as_str()).collect();
    Some(format!(
        "for a service `{service}` there are containers that are not in this journal: {}. They are left alone. Was the state folder lost or moved? Then bring it back; or let one of them serve, `blue = {{ container = \"{serve}\", port = … }}` in [service.{service}], and remove those that nobody needs: `docker rm -f {}`. If they are another shifter's, give one of the two services another name",
        all.join(", "),
        names.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::docker::State;

    fn stranger(name: &str, mark: &str, number: &str, state: State) -> Container {
        Container {
            labels: [(mark.to_owned(), number.to_owned())].into(),
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
            "docker rm -f api-6 api-7 api-11-baseline odd",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
