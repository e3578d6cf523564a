//! Green's endpoints on blue's networks: settings of an endpoint are copied, blue's own identity is not.

use crate::driver::docker::clone::Changes;
use bollard::models::{ContainerInspectResponse, EndpointSettings, HostConfig};
use std::collections::BTreeMap;

/// Blue's networks with the settings of green's endpoints, by name; `own` are names that the engine assigns to blue by
/// itself, or that are reported elsewhere.
///
/// Settings that green does not get are reported in `remarks`, a line each.
pub(super) fn endpoints(
    blue: &ContainerInspectResponse,
    own: &[&str],
    changes: &Changes,
    remarks: &mut Vec<String>,
) -> BTreeMap<String, EndpointSettings> {
    let networks = blue
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.clone())
        .unwrap_or_default();
    networks
        .into_iter()
        .map(|(network, endpoint)| {
            let copied = endpoint_of(&network, endpoint, own, changes, remarks);
            (network, copied)
        })
        .collect()
}

/// Each field of an endpoint is named here: a new field in the engine's models does not compile until it is handled.
fn endpoint_of(
    network: &str,
    blue: EndpointSettings,
    own: &[&str],
    changes: &Changes,
    remarks: &mut Vec<String>,
) -> EndpointSettings {
    let EndpointSettings {
        // Settings: copied.
        links,
        driver_opts,
        gw_priority,
        // Blue's identity: left out, and reported where it was set explicitly.
        aliases,
        ipam_config,
        // Set by the engine: never sent.
        mac_address: _,
        network_id: _,
        endpoint_id: _,
        gateway: _,
        ip_address: _,
        ip_prefix_len: _,
        ipv6_gateway: _,
        global_ipv6_address: _,
        global_ipv6_prefix_len: _,
        dns_names: _,
    } = blue;
    let names = aliases.into_iter().flatten();
    let names: Vec<String> = names
        .filter(|alias| !own.contains(&alias.as_str()))
        .collect();
    if !names.is_empty() {
        let names = names.join(", ");
        remarks.push(match changes.names {
            true => format!("green answers to {names} on `{network}` from its promotion on: before that, half of what asks there would get it, whatever its weight"),
            false => format!(
                "green does not answer to {names} on `{network}`: after the promotion, when blue is stopped, nothing does. Let callers on `{network}` ask shifter, or set `names` of [service.NAME.copy] to true"
            ),
        });
    }
    let fixed = ipam_config.into_iter().flat_map(|fixed| {
        let own = fixed.link_local_ips.into_iter().flatten();
        own.chain(fixed.ipv4_address).chain(fixed.ipv6_address)
    });
    let fixed: Vec<String> = fixed.filter(|address| !address.is_empty()).collect();
    if !fixed.is_empty() {
        remarks.push(format!(
            "green gets another address on `{network}`: {} stays blue's",
            fixed.join(", ")
        ));
    }
    EndpointSettings {
        aliases: (!changes.aliases.is_empty() && network != "bridge")
            .then(|| changes.aliases.clone()),
        links,
        driver_opts,
        gw_priority: gw_priority.filter(|priority| *priority != 0),
        ..EndpointSettings::default()
    }
}

/// The network to name at creation: older engines take one only.
pub(super) fn first_network(
    host: &HostConfig,
    networks: &BTreeMap<String, EndpointSettings>,
) -> String {
    let mode = host.network_mode.clone().unwrap_or_default();
    if networks.contains_key(&mode) {
        mode
    } else {
        networks.keys().next().cloned().unwrap_or(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::{EndpointIpamConfig, NetworkSettings};

    #[test]
    fn settings_of_an_endpoint_are_copied_and_blues_identity_is_not() {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let endpoint = EndpointSettings {
            links: words(&["db:store"]),
            gw_priority: Some(7),
            driver_opts: Some([("com.docker.network.x".to_owned(), "1".to_owned())].into()),
            aliases: words(&["backend", "0123456789ab"]),
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some("10.0.0.9".to_owned()),
                ..EndpointIpamConfig::default()
            }),
            ip_address: Some("10.0.0.9".to_owned()),
            mac_address: Some("02:42:0a:00:00:09".to_owned()),
            ..EndpointSettings::default()
        };
        let blue = ContainerInspectResponse {
            network_settings: Some(NetworkSettings {
                networks: Some([("web".to_owned(), endpoint.clone())].into()),
                ..NetworkSettings::default()
            }),
            ..ContainerInspectResponse::default()
        };
        let mut remarks = vec![];
        let copied = endpoints(&blue, &["0123456789ab"], &Changes::default(), &mut remarks);
        let expected = EndpointSettings {
            links: endpoint.links,
            gw_priority: Some(7),
            driver_opts: endpoint.driver_opts,
            ..EndpointSettings::default()
        };
        assert_eq!(copied.get("web"), Some(&expected));
        let told = remarks.join("\n");
        assert!(
            told.contains("does not answer to backend on `web`"),
            "{told}"
        );
        assert!(told.contains("10.0.0.9 stays blue's"), "{told}");
        assert_eq!(remarks.len(), 2, "{told}");
    }
}
