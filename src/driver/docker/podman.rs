//! Removes what Podman adds to the settings of a container: its own variables, and the names that it gives to anonymous
//! volumes.

use bollard::models::{ContainerConfig, ContainerInspectResponse, HostConfig};

/// The variable that Podman sets in each of its containers, and shows.
const MARK: &str = "container=podman";

/// Length of the name of an anonymous volume: 64 hexadecimal digits.
const NAMELESS: usize = 64;

/// The container as Docker would show it, with only the configured settings.
pub(super) fn as_asked(mut seen: ContainerInspectResponse) -> ContainerInspectResponse {
    if let (Some(config), Some(host)) = (&mut seen.config, &mut seen.host_config)
        && is_podmans(config)
    {
        forget_made_variables(config);
        forget_given_names(config, host);
        // Podman shows 0 where no stop timeout was set.
        config.stop_timeout = config.stop_timeout.filter(|seconds| *seconds != 0);
    }
    seen
}

fn is_podmans(config: &ContainerConfig) -> bool {
    config.env.iter().flatten().any(|entry| entry == MARK)
}

/// `HOSTNAME` is blue's own name: an application with it as its identity would exist twice.
fn forget_made_variables(config: &mut ContainerConfig) {
    let name = config.hostname.clone().unwrap_or_default();
    let made = [MARK.to_owned(), format!("HOSTNAME={name}")];
    if let Some(env) = &mut config.env {
        env.retain(|entry| !made.contains(entry));
    }
}

/// Two containers with a volume by the name that Podman gave it would share it; each needs its own.
fn forget_given_names(config: &mut ContainerConfig, host: &mut HostConfig) {
    let binds = host.binds.take().unwrap_or_default();
    let (nameless, named): (Vec<_>, Vec<_>) = binds.into_iter().partition(|bind| {
        let source = bind.split(':').next().unwrap_or_default();
        source.len() == NAMELESS && source.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    host.binds = Some(named);
    let places = nameless
        .iter()
        .filter_map(|bind| bind.split(':').nth(1))
        .map(str::to_owned);
    config.volumes.get_or_insert_default().extend(places);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn seen(env: &[&str], binds: &[&str]) -> ContainerInspectResponse {
        ContainerInspectResponse {
            config: Some(ContainerConfig {
                hostname: Some("a29f86a6ece5".to_owned()),
                env: words(env),
                ..ContainerConfig::default()
            }),
            host_config: Some(HostConfig {
                binds: words(binds),
                ..HostConfig::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn what_podman_made_itself_is_not_asked_for_again() {
        let id = "b".repeat(NAMELESS);
        let anonymous = format!("{id}:/anon:rprivate,rbind");
        let binds = [anonymous.as_str(), "named:/data:rprivate,rbind"];
        let env = ["A=1", "HOSTNAME=a29f86a6ece5", MARK];
        let asked = as_asked(seen(&env, &binds));
        let config = asked.config.expect("settings");
        assert_eq!(config.env, words(&["A=1"]));
        assert_eq!(config.volumes, words(&["/anon"]));
        let host = asked.host_config.expect("settings of the host");
        assert_eq!(host.binds, words(&["named:/data:rprivate,rbind"]));
    }

    #[test]
    fn what_docker_shows_was_asked_for() {
        let id = "b".repeat(NAMELESS);
        let bind = format!("{id}:/shared");
        let docker = seen(&["HOSTNAME=a29f86a6ece5"], &[&bind]);
        assert_eq!(as_asked(docker.clone()), docker);
    }
}
