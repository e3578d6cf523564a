//! Green's settings from blue's: the settings given to blue on the command line, on top of another image.
//!
//! `docker inspect` shows settings and image defaults together. Values equal to the defaults of blue's image are
//! therefore left out, or green would run with the old version's defaults.

use crate::driver::docker::container::stop_timeout;
use crate::driver::docker::endpoints::{endpoints, first_network};
use crate::driver::docker::host_settings::{anonymous, host_settings};
use crate::driver::docker::labels::{self, COMPOSE_PROJECT, Owner};
use crate::driver::docker::names;
use crate::driver::docker::podman;
use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HealthConfig,
    HostConfig, ImageConfig, NetworkingConfig,
};
use std::collections::{BTreeMap, HashMap};
use thiserror::Error;

/// Digits of a container's id that Docker uses as its name on the network and as its host name.
const SHORT_ID: usize = 12;

/// The differences between green and blue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The image, by tag or digest.
    pub image: String,
    /// The container's name.
    pub name: String,
    /// Variables that are replaced or added.
    pub env: BTreeMap<String, String>,
    /// Names on the network that green has from its start.
    pub aliases: Vec<String>,
    /// Whether green has blue's host name.
    pub hostname: bool,
    /// Whether green answers to blue's names from its promotion on.
    pub names: bool,
}

/// A container to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// The body of the create call.
    pub body: ContainerCreateBody,
    /// The platform of its image, where that is not the engine's own.
    pub platform: Option<String>,
    /// Networks to join after creation and before the start: the create call takes one.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// Remarks for people: one line each.
    pub remarks: Vec<String>,
}

/// Why blue cannot be copied. Nothing was created.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CloneError {
    /// The engine's answer lacks a needed part.
    #[error("the engine does not tell the {0} of `{1}`; is this Docker?")]
    Incomplete(&'static str, String),
    /// Both versions would want the same ports of the host.
    #[error(
        "`{0}` runs in the host's network: a second version could not listen beside it. Run it on a network of its own (docker network create), without --network host"
    )]
    HostNetwork(String),
    /// It uses another container's network.
    #[error(
        "`{0}` lives in the network of `{1}`, which cannot be shared with a second version. Give it a network of its own"
    )]
    ForeignNetwork(String, String),
    /// It is removed when it stops.
    #[error(
        "`{0}` was started with --rm: when it stops it is gone, and there is nothing to go back to. Start it without --rm"
    )]
    AutoRemove(String),
    /// Swarm replaces a task that is stopped by hand.
    #[error(
        "`{0}` is a task of a Swarm service: name the services instead, shifter routes between them"
    )]
    SwarmTask(String),
    /// Compose would count green as a surplus replica, or recreate the old container.
    #[error(
        "`{0}` belongs to the Compose project `{1}`: let Compose start the new version and name both, or allow a copy with `compose = true` in [service.NAME.copy]"
    )]
    Compose(String, String),
}

/// The specification of green: blue's settings on `changes.image`.
///
/// `image` is the configuration of blue's image, found by its id.
///
/// # Errors
/// When a second container like blue could not run beside it.
pub fn clone(
    blue: &ContainerInspectResponse,
    image: &ImageConfig,
    changes: &Changes,
    owner: &Owner,
    compose_clone: bool,
) -> Result<Spec, CloneError> {
    let blue = &podman::as_asked(blue.clone());
    let copied = Blue::of(blue)?;
    refuse(&copied, compose_clone)?;
    let mut remarks = vec![];
    let inherited = match changes.names && !owner.baseline {
        true => names::inherited(blue, copied.lost_hostname(changes), &changes.aliases),
        false => names::Names::new(),
    };
    let mut networks = endpoints(blue, &copied.own_names(), changes, &mut remarks);
    let first = first_network(copied.host, &networks);
    let at_creation = networks.remove(&first).map(|endpoint| NetworkingConfig {
        endpoints_config: Some(HashMap::from([(first, endpoint)])),
    });
    let mut body = ContainerCreateBody {
        networking_config: at_creation,
        ..body(&copied, image, changes, owner, &mut remarks)
    };
    let named = labels::naming(&inherited, &copied.name);
    body.labels.get_or_insert_default().extend(named);
    remarks.extend(anonymous(copied.config, copied.host));
    remarks.extend(brought_by_compose(&copied));
    Ok(Spec {
        name: changes.name.clone(),
        platform: None,
        body,
        networks,
        remarks,
    })
}

/// Each field of the engine's create call is named here: a new field in the engine's models does not compile until it
/// is handled.
fn body(
    blue: &Blue<'_>,
    image: &ImageConfig,
    changes: &Changes,
    owner: &Owner,
    remarks: &mut Vec<String>,
) -> ContainerCreateBody {
    let (config, host) = (blue.config, blue.host);
    let (entrypoint, cmd) = command(config, image);
    ContainerCreateBody {
        image: Some(changes.image.clone()),
        env: Some(env(blue, image, &changes.env, remarks)),
        labels: Some(labels(blue, image, owner, remarks)),
        entrypoint,
        cmd,
        healthcheck: healthcheck(config.healthcheck.as_ref(), image.healthcheck.as_ref()),
        hostname: hostname(blue, changes, remarks),
        domainname: config.domainname.clone().filter(|name| !name.is_empty()),
        user: other(&config.user, &image.user),
        working_dir: other(&config.working_dir, &image.working_dir),
        stop_signal: other(&config.stop_signal, &image.stop_signal),
        stop_timeout: stop_timeout(config),
        exposed_ports: without(&config.exposed_ports, &image.exposed_ports),
        volumes: without(&config.volumes, &image.volumes),
        shell: other(&config.shell, &image.shell),
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        network_disabled: config.network_disabled.filter(|disabled| *disabled),
        host_config: Some(host_settings(&blue.name, host, remarks)),
        // Set by the caller.
        networking_config: None,
        // Belongs to the terminal that blue was started from.
        attach_stdin: None,
        attach_stdout: None,
        attach_stderr: None,
        // From the image: the engine takes them from there.
        args_escaped: None,
        on_build: None,
    }
}

/// The host name, where it was set explicitly. Engines resolve it on the networks of the container (moby since 25 by
/// its `DNSNames`, before and Podman by `Aliases`), so green would get half of these requests, whatever its weight.
fn hostname(blue: &Blue<'_>, changes: &Changes, remarks: &mut Vec<String>) -> Option<String> {
    let chosen = blue.chosen_hostname()?.to_owned();
    // In the host's namespace it cannot be set.
    if blue.host.uts_mode.as_deref() == Some("host") {
        return None;
    }
    if changes.hostname {
        return Some(chosen);
    }
    let later = if changes.names {
        "; it answers to it from its promotion on"
    } else {
        ""
    };
    remarks.push(format!(
        "green does not get the host name {chosen}: what asks the network for it would get green, whatever its weight{later}. Where the app itself needs it: `hostname = true` in [service.NAME.copy]"
    ));
    None
}

/// The settings of blue that are copied.
struct Blue<'a> {
    name: String,
    id: &'a str,
    config: &'a ContainerConfig,
    host: &'a HostConfig,
}

impl<'a> Blue<'a> {
    fn of(blue: &'a ContainerInspectResponse) -> Result<Blue<'a>, CloneError> {
        let name = name_of(blue);
        let missing = |what| CloneError::Incomplete(what, name.clone());
        let id = blue.id.as_deref().ok_or_else(|| missing("id"))?;
        let config = blue.config.as_ref().ok_or_else(|| missing("settings"))?;
        let host = blue.host_config.as_ref();
        let host = host.ok_or_else(|| missing("host settings"))?;
        Ok(Blue {
            name,
            id,
            config,
            host,
        })
    }

    /// The host name, where it is not the engine's default.
    fn chosen_hostname(&self) -> Option<&str> {
        let name = self.config.hostname.as_deref()?;
        (!name.is_empty() && name != self.short_id()).then_some(name)
    }

    /// The explicit host name that green does not get at its creation.
    fn lost_hostname(&self, changes: &Changes) -> Option<&str> {
        self.chosen_hostname()
            .filter(|_| !changes.hostname && self.host.uts_mode.as_deref() != Some("host"))
    }

    /// The names on a network that the engine assigns by itself, and the host name.
    fn own_names(&self) -> Vec<&str> {
        let chosen = self.chosen_hostname();
        std::iter::once(self.short_id()).chain(chosen).collect()
    }

    fn short_id(&self) -> &str {
        self.id.get(..SHORT_ID).unwrap_or(self.id)
    }

    fn label(&self, key: &str) -> Option<&String> {
        self.config.labels.as_ref()?.get(key)
    }
}

/// A container's name without the slash that the engine puts before it.
pub fn name_of(container: &ContainerInspectResponse) -> String {
    let name = container.name.as_deref().unwrap_or_default();
    name.trim_start_matches('/').to_owned()
}

fn refuse(blue: &Blue<'_>, compose_clone: bool) -> Result<(), CloneError> {
    let (name, host) = (blue.name.clone(), blue.host);
    let network = host.network_mode.as_deref().unwrap_or_default();
    if let Some(other) = network.strip_prefix("container:") {
        return Err(CloneError::ForeignNetwork(name, other.to_owned()));
    }
    if network == "host" {
        return Err(CloneError::HostNetwork(name));
    }
    if host.auto_remove == Some(true) {
        return Err(CloneError::AutoRemove(name));
    }
    if blue.label("com.docker.swarm.task.id").is_some() {
        return Err(CloneError::SwarmTask(name));
    }
    match blue.label(COMPOSE_PROJECT) {
        Some(project) if !compose_clone => Err(CloneError::Compose(name, project.clone())),
        _ => Ok(()),
    }
}

/// Entrypoint and command: overridden values stay, values of the old image become those of the new one.
fn command(
    config: &ContainerConfig,
    image: &ImageConfig,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let some = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    let (entrypoint, cmd) = (some(&config.entrypoint), some(&config.cmd));
    if entrypoint != some(&image.entrypoint) {
        // Blue was created with an empty one although its image has one: `[""]` requests that again.
        let reset = || Some(vec![String::new()]);
        return (entrypoint.or_else(reset), cmd);
    }
    if cmd == some(&image.cmd) {
        return (None, None);
    }
    match cmd {
        // The result of `--entrypoint X` without a command; sent alone it would get the new image's command.
        None => (entrypoint, None),
        cmd => (None, cmd),
    }
}

fn env(
    blue: &Blue<'_>,
    image: &ImageConfig,
    changes: &BTreeMap<String, String>,
    remarks: &mut Vec<String>,
) -> Vec<String> {
    let name = |entry: &String| entry.split('=').next().unwrap_or_default().to_owned();
    let mut env = without(&blue.config.env, &image.env).unwrap_or_default();
    env.retain(|entry| !changes.contains_key(&name(entry)));
    let (routed, mut env): (Vec<_>, Vec<_>) = env
        .into_iter()
        .partition(|entry| labels::routed_by_variable(&name(entry)));
    remarks.extend(not_routed("variables", routed.iter().map(name)));
    env.extend(
        changes
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    env
}

fn labels(
    blue: &Blue<'_>,
    image: &ImageConfig,
    owner: &Owner,
    remarks: &mut Vec<String>,
) -> HashMap<String, String> {
    let default = |name: &String| image.labels.as_ref().and_then(|labels| labels.get(name));
    let own: Vec<_> = blue
        .config
        .labels
        .iter()
        .flatten()
        .filter(|(name, value)| !labels::personal(name) && default(name) != Some(*value))
        .collect();
    let names = |which: fn(&str) -> bool| {
        let names = own.iter().map(|(name, _)| (*name).clone());
        names.filter(move |name| which(name))
    };
    remarks.extend(not_routed("labels", names(labels::routed)));
    let jobs = listed(names(labels::scheduled));
    remarks.extend((!jobs.is_empty()).then(|| {
        format!("green does not get the labels {jobs}: a scheduler would run each job in both versions. After the promotion no container has them: give the jobs a container of their own")
    }));
    let mut labels: HashMap<String, String> = own
        .iter()
        .filter(|(name, _)| !labels::routed(name) && !labels::scheduled(name))
        .map(|(name, value)| ((*name).clone(), (*value).clone()))
        .collect();
    labels.extend(owner.labels(blue.id));
    labels.extend(owner.restart_label(blue.host.restart_policy.as_ref()));
    labels
}

/// The labels that green does not get so that no other proxy on the host routes to it; `None` where blue has no such
/// labels.
fn not_routed(kind: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let names = listed(names);
    (!names.is_empty()).then(|| {
        format!("green does not get the {kind} {names}: another proxy would send users to it past the weights. Let that proxy route to shifter")
    })
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.join(", ")
}

/// Files that Compose copies into a container after its creation are no settings: `docker inspect` does not show them.
fn brought_by_compose(blue: &Blue<'_>) -> Option<String> {
    blue.label(COMPOSE_PROJECT)?;
    Some("inline `configs` and `secrets` from variables are copied into a container by Compose itself: green has none of them. Where the app needs such files, mount them (`file:`), or let Compose start the new version".to_owned())
}

/// The engine merges a health check with the image's field by field, so each field is compared by itself.
fn healthcheck(
    container: Option<&HealthConfig>,
    image: Option<&HealthConfig>,
) -> Option<HealthConfig> {
    let container = container?;
    let Some(image) = image else {
        return Some(container.clone());
    };
    let number = |mine: Option<i64>, default| mine.filter(|_| mine != default);
    let own = HealthConfig {
        test: other(&container.test, &image.test),
        interval: number(container.interval, image.interval),
        timeout: number(container.timeout, image.timeout),
        retries: number(container.retries, image.retries),
        start_period: number(container.start_period, image.start_period),
        start_interval: number(container.start_interval, image.start_interval),
    };
    (own != HealthConfig::default()).then_some(own)
}

/// The container's value where it is not the image's default.
fn other<T: Clone + PartialEq>(container: &Option<T>, image: &Option<T>) -> Option<T> {
    container.clone().filter(|_| container != image)
}

/// The container's entries that are not the image's; `None` where nothing is left.
fn without(container: &Option<Vec<String>>, image: &Option<Vec<String>>) -> Option<Vec<String>> {
    let default = |entry: &&String| image.iter().flatten().any(|default| default == *entry);
    let own = container.iter().flatten().filter(|entry| !default(entry));
    let own: Vec<String> = own.cloned().collect();
    (!own.is_empty()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::{
        NetworkSettings, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
    };
    use serde_json::json;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn list(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn image() -> ImageConfig {
        ImageConfig {
            env: list(&["PATH=/bin", "VERSION=1.0"]),
            entrypoint: list(&["/entry"]),
            cmd: list(&["serve"]),
            labels: Some([("version".to_owned(), "1.0".to_owned())].into()),
            working_dir: Some("/app".to_owned()),
            ..ImageConfig::default()
        }
    }

    fn blue(config: ContainerConfig, host: HostConfig) -> ContainerInspectResponse {
        let endpoint = EndpointSettings {
            aliases: list(&["api", "0123456789ab"]),
            ip_address: Some("10.0.0.9".to_owned()),
            mac_address: Some("02:42:0a:00:00:09".to_owned()),
            ..EndpointSettings::default()
        };
        let networks = ["front", "back"].map(|name| (name.to_owned(), endpoint.clone()));
        ContainerInspectResponse {
            id: Some(ID.to_owned()),
            name: Some("/api".to_owned()),
            config: Some(config),
            host_config: Some(host),
            network_settings: Some(NetworkSettings {
                networks: Some(networks.into()),
                ..NetworkSettings::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    fn config() -> ContainerConfig {
        ContainerConfig {
            hostname: Some("0123456789ab".to_owned()),
            env: list(&["KEY=secret", "PATH=/bin", "VERSION=1.0"]),
            entrypoint: image().entrypoint,
            cmd: image().cmd,
            working_dir: Some("/app".to_owned()),
            labels: Some(
                [
                    ("version", "1.0"),
                    ("team", "web"),
                    ("traefik.enable", "true"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ),
            ..ContainerConfig::default()
        }
    }

    fn host() -> HostConfig {
        HostConfig {
            network_mode: Some("front".to_owned()),
            memory: Some(1 << 28),
            cap_drop: list(&["ALL"]),
            binds: list(&["data:/data", "conf:/etc/app:ro"]),
            port_bindings: Some([("3000/tcp".to_owned(), None)].into()),
            links: list(&["/db:/api/store"]),
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::UNLESS_STOPPED),
                maximum_retry_count: None,
            }),
            ..HostConfig::default()
        }
    }

    fn changes() -> Changes {
        Changes {
            image: "app:1.1".to_owned(),
            name: "api-7".to_owned(),
            names: true,
            ..Changes::default()
        }
    }

    fn owner() -> Owner {
        Owner {
            instance: "here".to_owned(),
            service: "api".to_owned(),
            rollout: 7,
            baseline: false,
        }
    }

    fn cloned(config: ContainerConfig, host: HostConfig, changes: &Changes) -> Spec {
        clone(&blue(config, host), &image(), changes, &owner(), false).expect("a copy")
    }

    #[test]
    fn limits_of_podman_are_asked_for_as_it_takes_them() {
        let limits = ["nofile", "RLIMIT_NPROC"].map(|name| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(1),
            hard: Some(2),
        });
        let host = HostConfig {
            ulimits: Some(limits.to_vec()),
            ..host()
        };
        let spec = cloned(config(), host, &changes());
        let asked = spec.body.host_config.and_then(|host| host.ulimits);
        let asked = asked.expect("limits");
        let names: Vec<_> = asked.iter().map(|limit| limit.name.as_deref()).collect();
        assert_eq!(names, [Some("nofile"), Some("nproc")]);
        assert_eq!((asked[1].soft, asked[1].hard), (Some(1), Some(2)));
    }

    #[test]
    fn what_other_proxies_and_schedulers_go_by_is_left_out_and_told() {
        let labels = [("caddy", "x.org"), ("ofelia.job", "a"), ("team", "web")];
        let config = ContainerConfig {
            env: list(&["VIRTUAL_HOST=x.org", "LETSENCRYPT_HOST=x.org", "KEY=1"]),
            labels: Some(
                labels
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            ),
            ..config()
        };
        let spec = cloned(config, host(), &changes());
        assert_eq!(spec.body.env, list(&["KEY=1"]));
        let kept = spec.body.labels.as_ref().expect("labels");
        assert!(kept.contains_key("team"));
        let told = spec.remarks.join("\n");
        for left in ["caddy", "ofelia.job"] {
            assert!(!kept.contains_key(left), "{left}");
            assert!(told.contains(left), "{left}: {told}");
        }
        for left in ["VIRTUAL_HOST", "LETSENCRYPT_HOST"] {
            assert!(told.contains(left), "{left}: {told}");
        }
    }

    #[test]
    fn what_people_gave_is_kept_and_what_the_image_gave_is_the_new_images() {
        let spec = cloned(config(), host(), &changes());
        let body = &spec.body;
        assert_eq!(body.image.as_deref(), Some("app:1.1"));
        assert_eq!(
            body.env,
            list(&["KEY=secret"]),
            "VERSION comes with the image"
        );
        assert_eq!((&body.entrypoint, &body.cmd), (&None, &None));
        assert_eq!((&body.hostname, &body.working_dir), (&None, &None));
        let labels = body.labels.as_ref().expect("labels");
        assert_eq!(labels.get("team").map(String::as_str), Some("web"));
        assert!(!labels.contains_key("version") && !labels.contains_key("traefik.enable"));
        assert!(owner().owns(labels));
        let host = body.host_config.as_ref().expect("host settings");
        assert_eq!(
            (host.memory, &host.cap_drop),
            (Some(1 << 28), &list(&["ALL"]))
        );
        assert_eq!(host.port_bindings, None);
        assert_eq!(host.links, list(&["db:store"]));
        let policy =
            |policy: &Option<RestartPolicy>| policy.as_ref().and_then(|policy| policy.name);
        assert_eq!(
            policy(&host.restart_policy),
            Some(RestartPolicyNameEnum::NO)
        );
        assert_eq!(
            policy(&crate::driver::docker::labels::restart_of(labels)),
            Some(RestartPolicyNameEnum::UNLESS_STOPPED)
        );
    }

    #[test]
    fn green_is_on_blues_networks_and_has_none_of_its_names() {
        let mut with_alias = changes();
        with_alias.aliases = vec!["api-green".to_owned()];
        let spec = cloned(config(), host(), &with_alias);
        let first = spec.body.networking_config.expect("a network");
        let first = first.endpoints_config.expect("an endpoint");
        assert_eq!(first.keys().collect::<Vec<_>>(), ["front"]);
        assert_eq!(spec.networks.keys().collect::<Vec<_>>(), ["back"]);
        for endpoint in first.values().chain(spec.networks.values()) {
            assert_eq!(endpoint.aliases, list(&["api-green"]));
            assert_eq!(
                (&endpoint.ip_address, &endpoint.mac_address),
                (&None, &None)
            );
        }
        let labels = spec.body.labels.unwrap_or_default();
        let later = crate::driver::docker::labels::names(&labels);
        assert_eq!(later["front"], ["api"]);
        assert_eq!(later.len(), 2, "{later:?}");
        let told = spec.remarks.join("\n");
        for part in [
            "answers to api on `front` from its promotion on",
            "both versions write to data:/data",
            "publishes no ports",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("conf:/etc/app"), "{told}");
    }

    /// Entrypoint and command of the container, and the values to send for the same arguments.
    #[test]
    fn entrypoint_and_command_follow_what_was_overridden() {
        let serve = list(&["serve"]);
        let entry = list(&["/entry"]);
        let (own, debug) = (list(&["/own"]), list(&["debug"]));
        let cases = [
            (&entry, &serve, &None, &None),
            (&entry, &debug, &None, &debug),
            (&entry, &None, &entry, &None),
            (&own, &debug, &own, &debug),
            (&own, &None, &own, &None),
            (&None, &debug, &list(&[""]), &debug),
        ];
        for (entrypoint, cmd, sent_entrypoint, sent_cmd) in cases {
            let config = ContainerConfig {
                entrypoint: entrypoint.clone(),
                cmd: cmd.clone(),
                ..config()
            };
            let body = cloned(config, host(), &changes()).body;
            assert_eq!((&body.entrypoint, &body.cmd), (sent_entrypoint, sent_cmd));
        }
    }

    #[test]
    fn variables_are_replaced_by_name() {
        let mut changes = changes();
        changes.env = [
            ("KEY".to_owned(), "new".to_owned()),
            ("MORE".to_owned(), "1".to_owned()),
        ]
        .into();
        let body = cloned(config(), host(), &changes).body;
        assert_eq!(body.env, list(&["KEY=new", "MORE=1"]));
    }

    #[test]
    fn a_chosen_host_name_is_told_and_left_with_blue() {
        let named = || ContainerConfig {
            hostname: Some("shared".to_owned()),
            ..config()
        };
        let with = |config, host, hostname| {
            let changes = Changes {
                hostname,
                ..changes()
            };
            let spec = cloned(config, host, &changes);
            let told = spec.remarks.join("\n").contains("the host name shared");
            let later = labels::names(&spec.body.labels.unwrap_or_default());
            let later = later["front"].iter().any(|name| name == "shared");
            (spec.body.hostname, told, later)
        };
        let shared = Some("shared".to_owned());
        let of_the_host = || HostConfig {
            uts_mode: Some("host".to_owned()),
            ..host()
        };
        assert_eq!(with(named(), host(), false), (None, true, true));
        assert_eq!(with(named(), host(), true), (shared, false, false));
        assert_eq!(with(named(), of_the_host(), false), (None, false, false));
        assert_eq!(with(config(), host(), false), (None, false, false));
    }

    #[test]
    fn variables_that_podman_made_are_not_blues() {
        let config = ContainerConfig {
            env: list(&["KEY=1", "HOSTNAME=0123456789ab", "container=podman"]),
            stop_timeout: Some(0),
            ..config()
        };
        let body = cloned(config.clone(), host(), &changes()).body;
        assert_eq!((body.env, body.stop_timeout), (list(&["KEY=1"]), None));
        let own = ContainerConfig {
            env: list(&["HOSTNAME=chosen"]),
            ..config
        };
        let body = cloned(own, host(), &changes()).body;
        assert_eq!(body.env, list(&["HOSTNAME=chosen"]));
        assert_eq!(
            body.stop_timeout,
            Some(0),
            "on Docker somebody asked for it"
        );
    }

    #[test]
    fn a_health_check_is_looked_at_field_by_field() {
        let check = |test: &[&str], interval| HealthConfig {
            test: list(test),
            interval: Some(interval),
            ..HealthConfig::default()
        };
        let image = check(&["CMD", "/check"], 5);
        assert_eq!(healthcheck(Some(&image), Some(&image)), None);
        let slower = healthcheck(Some(&check(&["CMD", "/check"], 9)), Some(&image));
        assert_eq!(
            slower,
            Some(HealthConfig {
                interval: Some(9),
                ..HealthConfig::default()
            })
        );
        let none = check(&["NONE"], 5);
        assert_eq!(
            healthcheck(Some(&none), Some(&image)).and_then(|own| own.test),
            list(&["NONE"])
        );
        assert_eq!(healthcheck(Some(&none), None), Some(none));
        assert_eq!(healthcheck(None, Some(&image)), None);
    }

    #[test]
    fn what_could_not_work_beside_blue_is_refused_with_a_way_out() {
        let labelled = |name: &str| ContainerConfig {
            labels: Some([(name.to_owned(), "shop".to_owned())].into()),
            ..config()
        };
        let networked = |mode: &str| HostConfig {
            network_mode: Some(mode.to_owned()),
            ..host()
        };
        let gone = HostConfig {
            auto_remove: Some(true),
            ..host()
        };
        let cases = [
            (config(), networked("host"), "network of its own"),
            (config(), networked("container:abc"), "of `abc`"),
            (config(), gone, "--rm"),
            (labelled("com.docker.swarm.task.id"), host(), "Swarm"),
            (
                labelled("com.docker.compose.project"),
                host(),
                "compose = true",
            ),
        ];
        for (config, host, way_out) in cases {
            let refused = clone(&blue(config, host), &image(), &changes(), &owner(), false);
            let text = refused.expect_err(way_out).to_string();
            assert!(text.contains("`api`") && text.contains(way_out), "{text}");
        }
        let allowed = blue(labelled("com.docker.compose.project"), host());
        let spec = clone(&allowed, &image(), &changes(), &owner(), true).expect("allowed");
        let labels = spec.body.labels.expect("labels");
        assert!(
            !labels.contains_key("com.docker.compose.project"),
            "one replica too many"
        );
    }

    #[test]
    fn what_the_engine_leaves_out_is_an_error_and_no_panic() {
        let nothing: ContainerInspectResponse = serde_json::from_value(json!({})).expect("empty");
        let refused = clone(&nothing, &image(), &changes(), &owner(), false);
        assert!(matches!(refused, Err(CloneError::Incomplete("id", _))));
        let bare = ContainerInspectResponse {
            network_settings: None,
            ..blue(ContainerConfig::default(), HostConfig::default())
        };
        let spec =
            clone(&bare, &ImageConfig::default(), &changes(), &owner(), false).expect("a copy");
        assert_eq!(
            (spec.networks.len(), spec.body.networking_config),
            (0, None)
        );
    }
}
