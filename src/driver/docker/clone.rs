//! Green's settings from blue's: what people gave blue on the command line, on top of another image.
//!
//! `docker inspect` shows settings and image defaults as one. What equals the default of blue's image is
//! therefore left out, or green would run with the old version's defaults.

use crate::driver::docker::labels::{Owner, personal};
use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HealthConfig,
    HostConfig, ImageConfig, NetworkingConfig, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use std::collections::{BTreeMap, HashMap};
use thiserror::Error;

/// Digits of a container's id that Docker uses as its name on the network and as its host name.
const SHORT_ID: usize = 12;

/// What is to be different in green.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The image, by tag or digest.
    pub image: String,
    /// The container's name.
    pub name: String,
    /// Variables set anew or added.
    pub env: BTreeMap<String, String>,
    /// Names on the network that green may have; blue's are never taken over.
    pub aliases: Vec<String>,
}

/// A container to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// What is sent to create it.
    pub body: ContainerCreateBody,
    /// Networks to join after it was created and before it is started: one can be named at creation.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// What people should know: one line each.
    pub remarks: Vec<String>,
}

/// Why blue cannot be copied. Nothing was created.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CloneError {
    /// The engine left out what is needed.
    #[error("the engine does not tell the {0} of `{1}`; is this Docker?")]
    Incomplete(&'static str, String),
    /// Both versions would want the same ports of the host.
    #[error(
        "`{0}` runs in the host's network: a second version could not listen beside it. Run it on a network of its own (docker network create), without --network host"
    )]
    HostNetwork(String),
    /// It lives in another container's network.
    #[error(
        "`{0}` lives in the network of `{1}`, which cannot be shared with a second version. Give it a network of its own"
    )]
    ForeignNetwork(String, String),
    /// It would be gone when it stops.
    #[error(
        "`{0}` was started with --rm: when it stops it is gone, and there is nothing to go back to. Start it without --rm"
    )]
    AutoRemove(String),
    /// Swarm replaces what is stopped by hand.
    #[error(
        "`{0}` is a task of a Swarm service: name the services instead, shifter routes between them"
    )]
    SwarmTask(String),
    /// Compose would take it for a replica too many, or recreate the old one.
    #[error(
        "`{0}` belongs to the Compose project `{1}`: let Compose start the new version and name both, or allow a copy with `compose = true` in [service.NAME.copy]"
    )]
    Compose(String, String),
}

/// What green is to be: blue's settings on `changes.image`.
///
/// `image` is the configuration of the image that blue runs, by its id.
///
/// # Errors
/// When a second container like blue could not work beside it.
pub fn clone(
    blue: &ContainerInspectResponse,
    image: &ImageConfig,
    changes: &Changes,
    owner: &Owner,
    compose_clone: bool,
) -> Result<Spec, CloneError> {
    let name = name_of(blue);
    let (id, config, host) = settings(blue, &name)?;
    refuse(&name, config, host, compose_clone)?;
    let mut remarks = vec![];
    let short = id.get(..SHORT_ID).unwrap_or(&id).to_owned();
    let mut networks = endpoints(blue, &short, changes, &mut remarks);
    let first = first_network(host, &networks);
    let at_creation = networks.remove(&first).map(|endpoint| NetworkingConfig {
        endpoints_config: Some(HashMap::from([(first, endpoint)])),
    });
    let (entrypoint, cmd) = command(config, image);
    let body = ContainerCreateBody {
        image: Some(changes.image.clone()),
        env: Some(env(config, image, &changes.env)),
        labels: Some(labels(
            config,
            image,
            owner,
            &id,
            host.restart_policy.as_ref(),
        )),
        entrypoint,
        cmd,
        healthcheck: healthcheck(config.healthcheck.as_ref(), image.healthcheck.as_ref()),
        hostname: config.hostname.clone().filter(|host| *host != short),
        domainname: config.domainname.clone().filter(|name| !name.is_empty()),
        user: other(&config.user, &image.user),
        working_dir: other(&config.working_dir, &image.working_dir),
        stop_signal: other(&config.stop_signal, &image.stop_signal),
        // Podman says 0 where nothing was set.
        stop_timeout: config.stop_timeout.filter(|seconds| *seconds > 0),
        exposed_ports: without(&config.exposed_ports, &image.exposed_ports),
        volumes: without(&config.volumes, &image.volumes),
        shell: other(&config.shell, &image.shell),
        tty: config.tty,
        open_stdin: config.open_stdin,
        host_config: Some(host_settings(&name, host, &mut remarks)),
        networking_config: at_creation,
        ..ContainerCreateBody::default()
    };
    remarks.extend(anonymous(config));
    Ok(Spec {
        name: changes.name.clone(),
        body,
        networks,
        remarks,
    })
}

/// What of blue is copied.
fn settings<'a>(
    blue: &'a ContainerInspectResponse,
    name: &str,
) -> Result<(String, &'a ContainerConfig, &'a HostConfig), CloneError> {
    let missing = |what| CloneError::Incomplete(what, name.to_owned());
    let id = blue.id.clone().ok_or_else(|| missing("id"))?;
    let config = blue.config.as_ref().ok_or_else(|| missing("settings"))?;
    let host = blue.host_config.as_ref();
    Ok((id, config, host.ok_or_else(|| missing("host settings"))?))
}

/// A container's name without the slash that the engine puts before it.
pub fn name_of(container: &ContainerInspectResponse) -> String {
    let name = container.name.as_deref().unwrap_or_default();
    name.trim_start_matches('/').to_owned()
}

fn refuse(
    name: &str,
    config: &ContainerConfig,
    host: &HostConfig,
    compose_clone: bool,
) -> Result<(), CloneError> {
    let name = name.to_owned();
    let label = |key: &str| config.labels.as_ref().and_then(|labels| labels.get(key));
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
    if label("com.docker.swarm.task.id").is_some() {
        return Err(CloneError::SwarmTask(name));
    }
    match label("com.docker.compose.project") {
        Some(project) if !compose_clone => Err(CloneError::Compose(name, project.clone())),
        _ => Ok(()),
    }
}

/// Blue's networks, without what names blue on them.
fn endpoints(
    blue: &ContainerInspectResponse,
    short: &str,
    changes: &Changes,
    remarks: &mut Vec<String>,
) -> BTreeMap<String, EndpointSettings> {
    let networks = blue
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.clone())
        .unwrap_or_default();
    let mut endpoints = BTreeMap::new();
    for (network, endpoint) in networks {
        let own = |alias: &&String| alias.as_str() != short;
        let dropped: Vec<_> = endpoint
            .aliases
            .iter()
            .flatten()
            .filter(own)
            .cloned()
            .collect();
        if !dropped.is_empty() {
            remarks.push(format!(
                "green does not answer to {} on `{network}`: half of those who ask there would get it, whatever its weight",
                dropped.join(", ")
            ));
        }
        let aliases =
            (!changes.aliases.is_empty() && network != "bridge").then(|| changes.aliases.clone());
        let endpoint = EndpointSettings {
            aliases,
            driver_opts: endpoint.driver_opts,
            ..EndpointSettings::default()
        };
        endpoints.insert(network, endpoint);
    }
    endpoints
}

/// The network to name at creation: older engines take one only.
fn first_network(host: &HostConfig, networks: &BTreeMap<String, EndpointSettings>) -> String {
    let mode = host.network_mode.clone().unwrap_or_default();
    if networks.contains_key(&mode) {
        mode
    } else {
        networks.keys().next().cloned().unwrap_or(mode)
    }
}

/// Entrypoint and command: what was overridden stays, what was the image's is the new image's.
fn command(
    config: &ContainerConfig,
    image: &ImageConfig,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let some = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    let (entrypoint, cmd) = (some(&config.entrypoint), some(&config.cmd));
    if entrypoint != some(&image.entrypoint) {
        // None where the image has one was asked for: `[""]` says so again.
        let reset = || Some(vec![String::new()]);
        return (entrypoint.or_else(reset), cmd);
    }
    if cmd == some(&image.cmd) {
        return (None, None);
    }
    match cmd {
        // `--entrypoint X` without a command looks like this; alone it would get the new image's command.
        None => (entrypoint, None),
        cmd => (None, cmd),
    }
}

fn env(
    config: &ContainerConfig,
    image: &ImageConfig,
    changes: &BTreeMap<String, String>,
) -> Vec<String> {
    let changed = |entry: &String| {
        let name = entry.split('=').next().unwrap_or_default();
        changes.contains_key(name)
    };
    let mut env = without(&config.env, &image.env).unwrap_or_default();
    env.retain(|entry| !changed(entry));
    env.extend(
        changes
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    env
}

fn labels(
    config: &ContainerConfig,
    image: &ImageConfig,
    owner: &Owner,
    predecessor: &str,
    restart: Option<&RestartPolicy>,
) -> HashMap<String, String> {
    let default = |name: &String| image.labels.as_ref().and_then(|labels| labels.get(name));
    let own = config.labels.iter().flatten();
    let mut labels: HashMap<String, String> = own
        .filter(|(name, value)| !personal(name) && default(name) != Some(*value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    labels.extend(owner.labels(predecessor));
    labels.extend(owner.restart_label(restart));
    labels
}

/// The engine merges a health check with the image's field by field, so each is looked at by itself.
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

fn host_settings(name: &str, host: &HostConfig, remarks: &mut Vec<String>) -> HostConfig {
    let ports = host.port_bindings.as_ref().map_or(0, HashMap::len);
    if ports > 0 || host.publish_all_ports == Some(true) {
        remarks.push(format!(
            "green publishes no ports of the host; those of `{name}` belong to shifter or to nobody"
        ));
    }
    for volume in shared(host) {
        remarks.push(format!("both versions write to {volume}"));
    }
    HostConfig {
        port_bindings: None,
        publish_all_ports: None,
        container_id_file: None,
        auto_remove: Some(false),
        links: host
            .links
            .as_ref()
            .map(|links| links.iter().map(|link| relinked(link)).collect()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        ulimits: host
            .ulimits
            .as_ref()
            .map(|limits| limits.iter().map(as_asked).collect()),
        ..host.clone()
    }
}

/// A limit as it is asked for: Podman shows `RLIMIT_NOFILE` and takes `nofile`.
fn as_asked(limit: &ResourcesUlimits) -> ResourcesUlimits {
    let name = limit
        .name
        .as_deref()
        .map(|name| match name.strip_prefix("RLIMIT_") {
            Some(name) => name.to_ascii_lowercase(),
            None => name.to_owned(),
        });
    ResourcesUlimits {
        name,
        ..limit.clone()
    }
}

/// Volumes without a name: nobody but blue has them.
fn anonymous(config: &ContainerConfig) -> Option<String> {
    let volumes = config.volumes.as_ref().filter(|list| !list.is_empty())?;
    Some(format!(
        "green gets fresh, empty volumes where blue has anonymous ones: {}",
        volumes.join(", ")
    ))
}

/// A link as it is asked for: the engine shows `/other:/blue/alias`.
fn relinked(link: &str) -> String {
    let (other, alias) = link.split_once(':').unwrap_or((link, link));
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    format!("{}:{alias}", other.trim_start_matches('/'))
}

/// Volumes and folders that both versions may write to.
fn shared(host: &HostConfig) -> Vec<String> {
    let read_only = |bind: &&String| {
        let options = bind.rsplit(':').next().unwrap_or_default();
        !options.split(',').any(|option| option == "ro")
    };
    let binds = host.binds.iter().flatten().filter(read_only).cloned();
    let mounts = host.mounts.iter().flatten();
    let mounts = mounts
        .filter(|mount| mount.read_only != Some(true))
        .filter_map(|mount| {
            Some(format!(
                "{}:{}",
                mount.source.as_ref()?,
                mount.target.as_ref()?
            ))
        });
    binds.chain(mounts).collect()
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
    use bollard::models::NetworkSettings;
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
        let told = spec.remarks.join("\n");
        for part in [
            "does not answer to api on `front`",
            "both versions write to data:/data",
            "publishes no ports",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("conf:/etc/app"), "{told}");
    }

    /// Entrypoint and command of the container, and what must be sent for the same arguments.
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
