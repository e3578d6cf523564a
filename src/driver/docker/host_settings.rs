//! Green's settings of the host from blue's: limits, mounts, devices, security are copied; ports, restarts and what the engine hides are not.

use bollard::models::{
    ContainerConfig, DeviceMapping, HostConfig, MountType, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use std::collections::HashMap;

/// Green's settings of the host from blue's; `name` is blue's. What green does not get, or shares, is told in `remarks`.
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
        // What the engine hides by default is the engine's of today; an empty list is what a person can ask for.
        masked_paths: host.masked_paths.clone().filter(Vec::is_empty),
        readonly_paths: host.readonly_paths.clone().filter(Vec::is_empty),
        // Podman shows all three of what was asked for as `--cpus`, and takes one.
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

/// A device as it is asked for: Podman shows no permissions where it gave all.
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

/// Volumes without a name: blue alone has them.
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
