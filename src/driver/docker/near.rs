//! The near networks of a container: those that this host, or the container that shifter runs in, is on itself.

use crate::driver::docker::container::Container;

/// Moves the networks that this host or container is on to the front: the others may be unreachable.
pub(super) fn first(mut container: Container) -> Container {
    if container.addresses.len() > 1 {
        // Without a list every network counts as equally near.
        let own: Vec<ipnet::IpNet> = if_addrs::get_if_addrs()
            .unwrap_or_default()
            .iter()
            .filter_map(|interface| match &interface.addr {
                if_addrs::IfAddr::V4(v4) => {
                    Some(ipnet::Ipv4Net::with_netmask(v4.ip, v4.netmask).ok()?.into())
                }
                if_addrs::IfAddr::V6(v6) => {
                    Some(ipnet::Ipv6Net::with_netmask(v6.ip, v6.netmask).ok()?.into())
                }
            })
            .collect();
        container.prefer(|ip| own.iter().any(|net| net.contains(&ip)));
    }
    container
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_networks_the_one_that_this_host_is_on_comes_first() {
        let on = |addresses: [(&str, &str); 2]| Container {
            addresses: addresses
                .map(|(name, ip)| (name.to_owned(), ip.parse().expect("an address")))
                .into(),
            ..Container::unreadable("one".to_owned(), "one".to_owned(), String::new())
        };
        let own = if_addrs::get_if_addrs().unwrap_or_default();
        // Without a network there is nothing near.
        if let Some(own) = own
            .iter()
            .map(if_addrs::Interface::ip)
            .find(std::net::IpAddr::is_ipv4)
        {
            let near = own.to_string();
            let found = first(on([("aaa", "198.51.100.3"), ("web", &near)]));
            assert_eq!(found.address(None, 80).map(|addr| addr.ip()), Some(own));
        }
        let found = first(on([("aaa", "203.0.113.3"), ("web", "198.51.100.3")]));
        assert_eq!(found.address(None, 80), "203.0.113.3:80".parse().ok());
    }
}
