//! Which networks of a container are near: those that this host, or the container that shifter runs in, is on itself.

use crate::driver::docker::container::Container;

/// With the networks first that this host or container is on itself: the others may lead nowhere.
pub(super) fn first(mut container: Container) -> Container {
    if container.addresses.len() > 1 {
        // Without a list every network is as near as the others.
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
        // Every host has 127.0.0.1, and none is on a network for documentation.
        let found = first(on([("aaa", "192.0.2.3"), ("web", "127.0.0.1")]));
        assert_eq!(found.address(None, 80), "127.0.0.1:80".parse().ok());
        let found = first(on([("aaa", "192.0.2.3"), ("web", "198.51.100.3")]));
        assert_eq!(found.address(None, 80), "192.0.2.3:80".parse().ok());
    }
}
