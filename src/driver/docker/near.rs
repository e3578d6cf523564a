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
