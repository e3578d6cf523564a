//! Running containers that may be the blue that the configuration misnames: a first version must not be started,
//! unjudged, beside a version that runs already.

use crate::driver::docker::container::Container;
use crate::driver::docker::create::{Raise, RaiseError};
use crate::driver::docker::engine::Engine;
use crate::driver::docker::labels::{self, COMPOSE_SERVICE};
use crate::driver::docker::watcher::Selector;

/// Most edits between a misspelled name and the right one.
const EDITS: usize = 2;

/// Characters of a name for each edit: short names are near to everything.
const LETTERS: usize = 3;

/// Refuses a first version where blue may run under another name.
///
/// # Errors
/// When such containers run, or the engine gives no answer.
pub(super) async fn refuse(engine: &Engine, raise: &Raise) -> Result<(), RaiseError> {
    let Some(blue) = raise.absent.as_ref().filter(|_| raise.like.is_none()) else {
        return Ok(());
    };
    let running = engine.running_on(raise.network.as_deref()).await?;
    let image = Some(raise.image.as_str());
    let found = of(blue, image, &raise.owner.instance, &running);
    let Some(first) = found.first() else {
        return Ok(());
    };
    Err(RaiseError::Lookalikes {
        wanted: wanted(blue),
        service: raise.owner.service.clone(),
        found: told(&found),
        first: first.name.clone(),
    })
}

/// Those of `running` that may be the containers that `blue` selects: they run another tag of `image` (`None`: not
/// compared), or have nearly the name that is selected. Containers of this shifter's own `instance` are known, and single runs of
/// Compose services are no replicas: neither counts.
pub fn of<'a>(
    blue: &Selector,
    image: Option<&str>,
    instance: &str,
    running: &'a [Container],
) -> Vec<&'a Container> {
    let wanted = names(blue);
    let repository = image.map(repository);
    let like = |one: &&Container| {
        let own = one
            .labels
            .get(labels::INSTANCE)
            .is_some_and(|of| of == instance);
        let same = repository.is_some_and(|wanted| repository_of(one) == wanted);
        let service = one.labels.get(COMPOSE_SERVICE).map(String::as_str);
        let named = [Some(one.name.as_str()), service].into_iter().flatten();
        let mut pairs = named.flat_map(|name| wanted.iter().map(move |wanted| (name, *wanted)));
        !own && !labels::one_off(&one.labels) && (same || pairs.any(|(a, b)| near(a, b)))
    };
    running.iter().filter(like).collect()
}

/// The containers in words: `web (web:1), shop-web-1 (web:2)`.
pub fn told(found: &[&Container]) -> String {
    let one = |one: &&Container| format!("{} ({})", one.name, one.image);
    let all: Vec<String> = found.iter().map(one).collect();
    all.join(", ")
}

/// That there is no container as `blue` selects them, in words.
fn wanted(blue: &Selector) -> String {
    match blue {
        Selector::Ids(names) | Selector::Names(names) => {
            format!("no container named {}", names.join(" or "))
        }
        Selector::Labels(labels) => format!("no container with the label {}", labels.join(" and ")),
        Selector::Pool(service, _) => format!("no container labelled for {service}"),
        Selector::Tasks { service, .. } => format!("no task of the Swarm service {service}"),
    }
}

fn names(blue: &Selector) -> Vec<&str> {
    match blue {
        Selector::Names(names) => names.iter().map(String::as_str).collect(),
        Selector::Labels(labels) => {
            let service = labels
                .iter()
                .filter_map(|label| label.strip_prefix(COMPOSE_SERVICE)?.strip_prefix('='));
            service.collect()
        }
        Selector::Tasks { service, .. } => vec![service],
        Selector::Ids(_) | Selector::Pool(..) => vec![],
    }
}

fn near(one: &str, other: &str) -> bool {
    let letters = one.chars().count().min(other.chars().count());
    let edits = strsim::damerau_levenshtein(one, other);
    edits <= EDITS.min(letters / LETTERS)
}

fn repository_of(container: &Container) -> &str {
    repository(&container.image)
}

/// An image's name without its tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    match name.get(last..).and_then(|rest| rest.find(':')) {
        Some(colon) => name.get(..last + colon).unwrap_or(name),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::docker::State;

    fn running(name: &str, image: &str, labels: &[(&str, &str)]) -> Container {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Container {
            image: image.to_owned(),
            state: State::Running,
            labels: labels.collect(),
            ..Container::unreadable(format!("id of {name}"), name.to_owned(), String::new())
        }
    }

    #[test]
    fn a_repository_is_an_image_without_tag_and_digest() {
        for (image, name) in [
            ("web", "web"),
            ("web:1", "web"),
            ("web:1@sha256:00", "web"),
            ("reg:5000/shop/web", "reg:5000/shop/web"),
            ("reg:5000/shop/web:1", "reg:5000/shop/web"),
            ("", ""),
        ] {
            assert_eq!(repository(image), name, "{image}");
        }
    }

    const OWN: (&str, &str) = (labels::INSTANCE, "here");
    const OTHER: (&str, &str) = (labels::INSTANCE, "there");
    const ONCE: (&str, &str) = ("com.docker.compose.oneoff", "True");
    const WEB: (&str, &str) = (COMPOSE_SERVICE, "web");
    const NONE: (&str, &str) = ("", "");

    /// What runs beside a blue that is not there: how blue is named, name, image and label of the other, whether that
    /// may be blue.
    type Case = (
        &'static str,
        &'static str,
        &'static str,
        (&'static str, &'static str),
        bool,
    );
    const CASES: [Case; 12] = [
        // Another tag of the image that is to be started.
        ("wen", "x", "web:1", NONE, true),
        ("app=wbe", "x", "web", NONE, true),
        ("wen", "x", "web:1", OTHER, true),
        // A typing error, two letters swapped.
        ("webs", "web", "a:1", NONE, true),
        ("wbe", "web", "a", NONE, true),
        (
            "com.docker.compose.service=wbe",
            "shop-web-1",
            "a",
            WEB,
            true,
        ),
        // Other containers.
        ("shop", "shop-db", "db:1", NONE, false),
        ("db", "da", "db:1", NONE, false),
        ("api-1", "api-2-x-1", "a", NONE, false),
        ("web", "x", "reg/web:1", NONE, false),
        ("wen", "x", "web:1", OWN, false),
        ("wen", "x", "web:1", ONCE, false),
    ];

    #[test]
    fn a_misspelled_blue_is_found_and_what_merely_runs_beside_it_is_not() {
        let names = |name: &str| Selector::Names(vec![name.to_owned()]);
        for (blue, name, image, label, found) in CASES {
            let blue = match blue.contains('=') {
                true => Selector::Labels(vec![blue.to_owned()]),
                false => names(blue),
            };
            let all = [running(name, image, &[label])];
            let like = of(&blue, Some("web:2"), "here", &all);
            assert_eq!(!like.is_empty(), found, "{blue:?} beside {name}, {image}");
        }
        let all = [running("web", "web:1", &[])];
        assert_eq!(of(&names("shop"), None, "here", &all), [&all[0]; 0]);
    }
}
