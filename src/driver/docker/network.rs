//! Networks: the calls about them, and the address that an engine would assign there.

use crate::driver::docker::engine::{Engine, call};
use crate::driver::docker::fault::EngineError;
use bollard::models::{
    EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest, NetworkInspect,
};
use bollard::query_parameters::InspectNetworkOptions;
use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

impl Engine {
    /// A network, with its containers on this host.
    ///
    /// # Errors
    /// When there is none of this name, or the engine gives no answer.
    pub async fn network(&self, name: &str) -> Result<NetworkInspect, EngineError> {
        let docker = self.docker().await?;
        let asked = docker.inspect_network(name, None::<InspectNetworkOptions>);
        call("look at a network", asked).await
    }

    /// Connects a container to a network.
    ///
    /// # Errors
    /// When the engine refuses: the container is on that network already.
    pub async fn connect(
        &self,
        id: &str,
        network: &str,
        endpoint: EndpointSettings,
    ) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let request = NetworkConnectRequest {
            container: id.to_owned(),
            endpoint_config: Some(endpoint),
        };
        let asked = docker.connect_network(network, request);
        call("connect a network", asked).await
    }

    /// Disconnects a container from a network.
    ///
    /// # Errors
    /// When the engine refuses: the container is not on that network.
    pub async fn disconnect(&self, id: &str, network: &str) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let request = NetworkDisconnectRequest {
            container: id.to_owned(),
            force: None,
        };
        let asked = docker.disconnect_network(network, request);
        call("disconnect a network", asked).await
    }
}

/// Whether a container that leaves the network and joins it again gets its `address` again: engines assign the lowest
/// free one, so all below it must be taken.
pub(super) fn keeps(network: &NetworkInspect, address: Ipv4Addr) -> bool {
    let configs = network.ipam.iter().flat_map(|ipam| &ipam.config).flatten();
    let own = configs.filter_map(|config| {
        let subnet: Ipv4Net = config.subnet.as_ref()?.parse().ok()?;
        subnet.contains(&address).then_some((config, subnet))
    });
    let mut own = own;
    let Some((config, subnet)) = own.next() else {
        return false;
    };
    let range = config.ip_range.as_ref();
    let range: Ipv4Net = range.and_then(|range| range.parse().ok()).unwrap_or(subnet);
    let fixed = config.auxiliary_addresses.iter().flatten();
    let fixed = fixed.map(|(_, address)| address).chain(&config.gateway);
    let endpoints = network.containers.iter().flatten();
    let given = endpoints.filter_map(|(_, endpoint)| endpoint.ipv4_address.as_ref());
    let taken: BTreeSet<Ipv4Addr> = fixed.chain(given).filter_map(|text| bare(text)).collect();
    let first = range
        .network()
        .max(Ipv4Addr::from_bits(subnet.network().to_bits() + 1));
    let below = first.to_bits()..address.to_bits();
    range.contains(&address)
        && below
            .map(Ipv4Addr::from_bits)
            .all(|one| taken.contains(&one))
}

/// An address, given with or without a prefix length.
fn bare(text: &str) -> Option<Ipv4Addr> {
    let address = text.split('/').next()?;
    address.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_address_is_kept_where_all_below_it_are_taken() {
        let network = |ipam: serde_json::Value, given: &[&str]| -> NetworkInspect {
            let one = |(n, ip): (usize, &&str)| (n.to_string(), json!({ "IPv4Address": ip }));
            let all: serde_json::Map<_, _> = given.iter().enumerate().map(one).collect();
            let text = json!({ "IPAM": { "Config": [ipam] }, "Containers": all });
            serde_json::from_value(text).expect("a network")
        };
        let plain = || json!({ "Subnet": "10.1.0.0/16", "Gateway": "10.1.0.1" });
        let range =
            || json!({ "Subnet": "10.1.0.0/16", "IPRange": "10.1.5.0/24", "Gateway": "10.1.0.1" });
        let fixed = || json!({ "Subnet": "10.1.0.0/16", "Gateway": "10.1.0.1", "AuxiliaryAddresses": { "router": "10.1.0.2" } });
        let cases = [
            (plain(), vec!["10.1.0.2/16"], "10.1.0.2", true),
            (
                plain(),
                vec!["10.1.0.2/16", "10.1.0.3/16"],
                "10.1.0.3",
                true,
            ),
            (plain(), vec!["10.1.0.3/16"], "10.1.0.3", false),
            (fixed(), vec!["10.1.0.3/16"], "10.1.0.3", true),
            (range(), vec!["10.1.5.0/16"], "10.1.5.0", true),
            (range(), vec!["10.1.5.1/16"], "10.1.5.1", false),
            (range(), vec!["10.1.0.2/16"], "10.1.0.2", false),
            (plain(), vec!["10.2.0.2/16"], "10.2.0.2", false),
        ];
        for (ipam, given, address, kept) in cases {
            let told = format!("{ipam} {given:?} {address}");
            let address = address.parse().expect("an address");
            assert_eq!(keeps(&network(ipam, &given), address), kept, "{told}");
        }
        assert!(!keeps(&NetworkInspect::default(), Ipv4Addr::LOCALHOST));
    }
}
