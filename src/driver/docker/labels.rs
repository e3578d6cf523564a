//! Labels of containers, which mark their owner. They are set at creation and cannot be changed,
//! so colour, weight and phase are not among them.

use crate::core::table::Color;
use bollard::models::{RestartPolicy, RestartPolicyNameEnum};
use std::collections::{BTreeMap, HashMap};

/// Marks a container that shifter created.
pub const MANAGED: &str = "com.example.shifter.managed";
/// The journal that created it: two shifters on one host leave each other's containers alone.
pub const INSTANCE: &str = "com.example.shifter.instance";
/// The service that it was created for.
pub const SERVICE: &str = "com.example.shifter.service";
/// The rollout that created it.
pub const ROLLOUT: &str = "com.example.shifter.rollout";
/// The rollout that created it to check its green: it is never green itself.
pub const CHECK: &str = "com.example.shifter.check";
/// The rollout that created it as its baseline: a copy of blue, which is never green.
pub const BASELINE: &str = "com.example.shifter.baseline";
/// The container with the settings that were copied.
pub const PREDECESSOR: &str = "com.example.shifter.predecessor";
/// The restart policy that it gets when it is promoted: until then a crash is not hidden by a restart.
pub const RESTART: &str = "com.example.shifter.restart";
/// The names that it answers to on its networks when it is promoted, as JSON by network.
const NAMES: &str = "com.example.shifter.names";
/// The one of those names that was only its predecessor's container name: each container has its own, so no client
/// needs the old one.
const NAME: &str = "com.example.shifter.name";

/// The user's label on a container to be served: the service. Its further labels are
/// `shifter.pool` (blue, or green), `.port`, `.hosts`, `.paths`, `.health` and `.network`.
pub const DISCOVERED: &str = "shifter.service";

/// The pool of a container that the user labelled; `None`: one that a rollout created from it.
pub fn pool_of(labels: &HashMap<String, String>) -> Option<Color> {
    if labels.contains_key(MANAGED) {
        return None;
    }
    match labels.get("shifter.pool").map(String::as_str) {
        Some("green") => Some(Color::Green),
        _ => Some(Color::Blue),
    }
}

/// Prefixes of labels that belong to one container and are never copied to another.
///
/// A copy with Compose's labels counts as one more replica, and the next `docker compose up` removes it.
const PERSONAL: [&str; 5] = [
    "PODMAN_SYSTEMD_UNIT",
    "com.docker.compose.",
    "com.docker.swarm.",
    "com.docker.stack.",
    "com.example.shifter.",
];

/// Prefixes of labels by which other proxies on the host find containers: they would send users to green past the
/// weights.
///
/// Traefik, caddy-docker-proxy, EasyHAProxy, GoDoxy, nginx-proxy's companion, Pangolin, TSDProxy, DockFlare, Sablier.
const ROUTED: [&str; 11] = [
    "traefik.",
    "caddy.",
    "caddy_",
    "easyhaproxy.",
    "proxy.",
    "com.github.nginx-proxy.",
    "com.github.jrcs.letsencrypt_nginx_proxy_companion.",
    "pangolin.",
    "tsdproxy.",
    "dockflare.",
    "sablier.",
];

/// Variables by which nginx-proxy and its companion find containers; their other variables have no effect without
/// these.
const ROUTED_BY_VARIABLE: [&str; 3] = [
    "VIRTUAL_HOST",
    "VIRTUAL_HOST_MULTIPORTS",
    "LETSENCRYPT_HOST",
];

/// Prefixes of labels by which schedulers run jobs in a container: two copies would run each job twice.
const SCHEDULED: [&str; 3] = ["ofelia.", "deck-chores.", "cronado."];

/// Compose's label on a container of `docker compose run`: no replica of its service.
const ONE_OFF: &str = "com.docker.compose.oneoff";
/// The Compose project of a container.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
/// The Compose service of a container.
pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";

/// Whether a container is a single run of a Compose service (`docker compose run`), and no replica.
pub fn one_off(labels: &HashMap<String, String>) -> bool {
    labels
        .get(ONE_OFF)
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The owner mark of a container, with its purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The name of the journal.
    pub instance: String,
    /// The service.
    pub service: String,
    /// The number of the rollout.
    pub rollout: i64,
    /// Whether it is the baseline, not green.
    pub baseline: bool,
}

impl Owner {
    /// The owner mark of this rollout's baseline.
    pub fn of_baseline(&self) -> Owner {
        Owner {
            baseline: true,
            ..self.clone()
        }
    }

    /// The label that names the rollout.
    const fn mark(&self) -> &'static str {
        if self.baseline { BASELINE } else { ROLLOUT }
    }

    /// The labels of a container that is created in place of `predecessor`.
    pub fn labels(&self, predecessor: &str) -> HashMap<String, String> {
        [
            (MANAGED, "true".to_owned()),
            (INSTANCE, self.instance.clone()),
            (SERVICE, self.service.clone()),
            (self.mark(), self.rollout.to_string()),
            (PREDECESSOR, predecessor.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The labels of a container that checks green.
    pub fn labels_of_check(&self) -> HashMap<String, String> {
        [
            (MANAGED, "true".to_owned()),
            (INSTANCE, self.instance.clone()),
            (SERVICE, self.service.clone()),
            (CHECK, self.rollout.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Whether a container with these labels checks the green of this rollout.
    pub fn checks(&self, labels: &HashMap<String, String>) -> bool {
        self.owns(labels) && labels.get(CHECK) == Some(&self.rollout.to_string())
    }

    /// The label with the restart policy after its promotion.
    pub fn restart_label(&self, policy: Option<&RestartPolicy>) -> Option<(String, String)> {
        let policy = policy?;
        let name = policy.name?.to_string();
        let value = match policy.maximum_retry_count {
            Some(most) if most > 0 => format!("{name}:{most}"),
            _ => name,
        };
        Some((RESTART.to_owned(), value))
    }

    /// The label selector for the containers of this rollout.
    pub fn selector(&self) -> Vec<String> {
        let mut labels = self.of_the_service();
        labels.push(format!("{}={}", self.mark(), self.rollout));
        labels
    }

    /// The label selector for all containers created for this service.
    pub fn of_the_service(&self) -> Vec<String> {
        vec![
            format!("{MANAGED}=true"),
            format!("{INSTANCE}={}", self.instance),
            format!("{SERVICE}={}", self.service),
        ]
    }

    /// The label selector for all containers that any shifter created for a service of this name.
    pub fn of_the_name(&self) -> Vec<String> {
        vec![
            format!("{MANAGED}=true"),
            format!("{SERVICE}={}", self.service),
        ]
    }

    /// Whether a container with these labels was created by this rollout.
    pub fn made(&self, labels: &HashMap<String, String>) -> bool {
        let rollout = self.rollout.to_string();
        self.owns(labels) && labels.get(self.mark()) == Some(&rollout)
    }

    /// Whether a container with these labels was created by this shifter for this service.
    pub fn owns(&self, labels: &HashMap<String, String>) -> bool {
        let is = |name: &str, value: &str| labels.get(name).is_some_and(|found| found == value);
        is(MANAGED, "true") && is(INSTANCE, &self.instance) && is(SERVICE, &self.service)
    }
}

/// The restart policy of a container of ours after its promotion.
pub fn restart_of(labels: &HashMap<String, String>) -> Option<RestartPolicy> {
    let value = labels.get(RESTART)?;
    let (name, most) = match value.split_once(':') {
        Some((name, most)) => (name, most.parse().ok()),
        None => (value.as_str(), None),
    };
    Some(RestartPolicy {
        name: Some(name.parse::<RestartPolicyNameEnum>().ok()?),
        maximum_retry_count: most,
    })
}

/// The labels with the names of a container after its promotion; `name` is its predecessor's.
pub fn naming(names: &BTreeMap<String, Vec<String>>, name: &str) -> Vec<(String, String)> {
    match serde_json::to_string(names) {
        Ok(json) if !names.is_empty() => {
            vec![(NAMES.to_owned(), json), (NAME.to_owned(), name.to_owned())]
        }
        _ => vec![],
    }
}

/// The names of a container of ours on its networks after its promotion.
pub fn names(labels: &HashMap<String, String>) -> BTreeMap<String, Vec<String>> {
    let json = labels.get(NAMES).map(String::as_str).unwrap_or_default();
    serde_json::from_str(json).unwrap_or_default()
}

/// Whether one of these names was set by the user, and not by the engine alone.
pub fn given(labels: &HashMap<String, String>, names: &[String]) -> bool {
    names.iter().any(|name| labels.get(NAME) != Some(name))
}

/// Whether a label of blue belongs to that one container and is never copied.
pub fn personal(name: &str) -> bool {
    PERSONAL.iter().any(|start| name.starts_with(start))
}

/// Whether another proxy would route to a container by this label.
pub fn routed(name: &str) -> bool {
    name == "caddy" || ROUTED.iter().any(|start| name.starts_with(start))
}

/// Whether another proxy would route to a container by this variable.
pub fn routed_by_variable(name: &str) -> bool {
    ROUTED_BY_VARIABLE.contains(&name)
}

/// Whether a scheduler would run jobs in a container by this label.
pub fn scheduled(name: &str) -> bool {
    SCHEDULED.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(instance: &str, rollout: i64) -> Owner {
        Owner {
            instance: instance.to_owned(),
            service: "api".to_owned(),
            rollout,
            baseline: false,
        }
    }

    #[test]
    fn own_is_what_this_journal_knows_of_this_service() {
        let labels = owner("a", 7).labels("0123");
        assert!(owner("a", 8).owns(&labels), "of an earlier rollout too");
        assert!(!owner("b", 7).owns(&labels), "another shifter's");
        let other = Owner {
            service: "web".to_owned(),
            ..owner("a", 7)
        };
        assert!(!other.owns(&labels));
        assert!(!owner("a", 7).owns(&HashMap::new()));
    }

    #[test]
    fn a_restart_policy_survives_its_label() {
        for (name, most) in [
            ("unless-stopped", None),
            ("on-failure", Some(3)),
            ("no", None),
        ] {
            let policy = RestartPolicy {
                name: name.parse().ok(),
                maximum_retry_count: most,
            };
            let labels = owner("a", 7)
                .restart_label(Some(&policy))
                .into_iter()
                .collect();
            assert_eq!(restart_of(&labels), Some(policy));
        }
        assert_eq!(restart_of(&HashMap::new()), None);
    }

    #[test]
    fn what_names_one_container_is_not_copied() {
        for name in [
            "com.docker.compose.project",
            "com.docker.swarm.task.id",
            MANAGED,
        ] {
            assert!(personal(name), "{name}");
        }
        for name in ["traefik.enable", "caddy", "caddy_0.reverse_proxy"] {
            assert!(routed(name), "{name}");
        }
        assert!(scheduled("ofelia.job-exec.nightly.schedule"));
        for name in ["org.opencontainers.image.title", "team", "caddyshack"] {
            assert!(
                !personal(name) && !routed(name) && !scheduled(name),
                "{name}"
            );
        }
        assert!(routed_by_variable("VIRTUAL_HOST"));
        assert!(!routed_by_variable("VIRTUAL_ENV"), "Python's own");
    }

    #[test]
    fn a_single_run_of_compose_is_no_replica() {
        let labelled = |value: &str| [(ONE_OFF.to_owned(), value.to_owned())].into();
        assert!(one_off(&labelled("True")) && one_off(&labelled("true")));
        assert!(!one_off(&labelled("False")) && !one_off(&HashMap::new()));
    }
}
