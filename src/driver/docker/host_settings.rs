//! Green's host configuration from blue's: limits, mounts, devices and security are copied; ports, restart policy and
//! the paths that the engine hides are not.

use bollard::models::{
    ContainerConfig, DeviceMapping, HostConfig, MountType, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use std::collections::HashMap;

/// Green's host configuration from blue's; `name` is blue's. What green does not get, or shares, is reported in
/// `remarks`.
pub(super) fn host_settings(
    name: &str,
    host: &HostConfig,
    remarks: &mut Vec<String>,
) -> HostConfig {
    let ports = host.port_bindings.as_ref().map_or(0, HashMap::len);
    if ports > 0 || host.publish_all_ports == Some(true) {
        remarks.push(format!(
            "green publishes no ports of the host; those of `{name}` belong to shifter or to nobody"
        ));
    }
    let by_cpus = host.nano_cpus.is_some_and(|cpus| cpus > 0);
    for volume in shared(host) {
        remarks.push(format!("both versions write to {volume}"));
    }
    HostConfig {
        port_bindings: None,
        publish_all_ports: None,
        container_id_file: None,
        auto_remove: Some(false),
        // The engine's defaults for hidden paths may change; only an empty list can be a setting of the user.
        masked_paths: host.masked_paths.clone().filter(Vec::is_empty),
        readonly_paths: host.readonly_paths.clone().filter(Vec::is_empty),
        // Podman shows all three forms of a `--cpus` setting, and accepts one.
        cpu_period: host.cpu_period.filter(|_| !by_cpus),
        cpu_quota: host.cpu_quota.filter(|_| !by_cpus),
        devices: host
            .devices
            .as_ref()
            .map(|devices| devices.iter().map(as_permitted).collect()),
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

/// A device in the form of a create call: Podman shows no permissions where all were given.
fn as_permitted(device: &DeviceMapping) -> DeviceMapping {
    let given = device.cgroup_permissions.clone();
    DeviceMapping {
        cgroup_permissions: given.map(|given| {
            if given.is_empty() {
                "rwm".to_owned()
            } else {
                given
            }
        }),
        ..device.clone()
    }
}

/// A limit in the form of a create call: Podman shows `RLIMIT_NOFILE` and accepts `nofile`.
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

/// Anonymous volumes: only blue has them.
pub(super) fn anonymous(config: &ContainerConfig, host: &HostConfig) -> Option<String> {
    let mounts = host.mounts.iter().flatten().filter(|mount| {
        let volume = mount.typ == Some(MountType::VOLUME);
        volume && mount.source.as_ref().is_none_or(String::is_empty)
    });
    let mut places: Vec<&str> = mounts.filter_map(|mount| mount.target.as_deref()).collect();
    places.extend(config.volumes.iter().flatten().map(String::as_str));
    (!places.is_empty()).then(|| {
        format!(
            "green gets fresh, empty volumes where blue has anonymous ones: {}",
            places.join(", ")
        )
    })
}

/// A link in the form of a create call: the engine shows `/other:/blue/alias`.
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
        .filter(|mount| mount.read_only != Some(true) && mount.typ != Some(MountType::IMAGE))
        .filter_map(|mount| {
            Some(format!(
                "{}:{}",
                mount.source.as_ref()?,
                mount.target.as_ref()?
            ))
        });
    binds.chain(mounts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::Mount;
    use serde_json::json;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    fn copied(host: &HostConfig) -> HostConfig {
        host_settings("api", host, &mut vec![])
    }

    #[test]
    fn what_the_engine_hides_by_default_is_that_of_today() {
        let hidden = |paths: Option<Vec<String>>| HostConfig {
            masked_paths: paths.clone(),
            readonly_paths: paths,
            ..HostConfig::default()
        };
        let both = |host: HostConfig| (host.masked_paths, host.readonly_paths);
        assert_eq!(both(copied(&hidden(words(&["/proc/kcore"])))), (None, None));
        let none = words(&[]);
        assert_eq!(
            both(copied(&hidden(none.clone()))),
            (none.clone(), none),
            "as --security-opt systempaths=unconfined asks"
        );
    }

    #[test]
    fn limits_and_devices_of_podman_are_asked_for_as_it_takes_them() {
        let host: HostConfig = serde_json::from_value(json!({
            "NanoCpus": 1_500_000_000, "CpuPeriod": 100_000, "CpuQuota": 150_000,
            "Devices": [{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "" }],
        }))
        .expect("settings");
        let green = copied(&host);
        assert_eq!(
            (green.nano_cpus, green.cpu_period, green.cpu_quota),
            (host.nano_cpus, None, None)
        );
        let devices = green.devices.expect("a device");
        assert_eq!(devices[0].cgroup_permissions.as_deref(), Some("rwm"));
        let by_quota = HostConfig {
            nano_cpus: Some(0),
            ..host
        };
        assert_eq!(copied(&by_quota).cpu_quota, Some(150_000));
    }

    #[test]
    fn anonymous_volumes_are_told_however_they_were_asked_for() {
        let mount = |source: Option<&str>| Mount {
            typ: Some(MountType::VOLUME),
            source: source.map(str::to_owned),
            target: Some("/cache".to_owned()),
            ..Mount::default()
        };
        let with = |mounts| HostConfig {
            mounts: Some(mounts),
            ..HostConfig::default()
        };
        let told = |config: &ContainerConfig, host: &HostConfig| {
            anonymous(config, host).unwrap_or_default()
        };
        let plain = ContainerConfig::default();
        assert!(told(&plain, &with(vec![mount(None)])).contains("/cache"));
        assert!(told(&plain, &with(vec![mount(Some(""))])).contains("/cache"));
        assert_eq!(told(&plain, &with(vec![mount(Some("data"))])), "");
        let asked = ContainerConfig {
            volumes: words(&["/data"]),
            ..plain
        };
        assert!(told(&asked, &HostConfig::default()).contains("/data"));
    }

    #[test]
    fn an_image_as_a_mount_is_written_to_by_nobody() {
        let mount = |typ| Mount {
            typ: Some(typ),
            source: Some("api:1".to_owned()),
            target: Some("/img".to_owned()),
            ..Mount::default()
        };
        let host = |typ| HostConfig {
            mounts: Some(vec![mount(typ)]),
            ..HostConfig::default()
        };
        assert_eq!(shared(&host(MountType::IMAGE)), [""; 0]);
        assert_eq!(shared(&host(MountType::VOLUME)), ["api:1:/img"]);
    }
}
