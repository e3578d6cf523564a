//! The parts of the file against each other: addresses, loops and routes.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::Many;
use crate::config::parse::value::Check;
use crate::config::process::admin::{Admin, RawAdmin};
use crate::config::process::proxy::{Proxy, RawProxy};
use crate::config::service::hosts::Host;
use crate::config::service::pools::{PoolSpec, RawPool};
use crate::config::service::{RawService, Service};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use toml::Spanned;

pub(crate) type Named<'a> = (&'a Spanned<String>, &'a RawService);

/// Checks that no listener uses another's address.
pub(crate) fn listeners_apart(
    (proxy, raw): (&Proxy, &RawProxy),
    (admin, raw_admin): (&Admin, &RawAdmin),
) -> Check<()> {
    let tls = raw.tls.as_ref().map(Spanned::get_ref);
    let all = proxy.all_listen();
    let plain = proxy.listen.len();
    for (i, listen) in all.iter().enumerate() {
        let span = || match i.checked_sub(plain) {
            None => place(&raw.listen, i),
            Some(i) => place(&tls?.listen, i),
        };
        if let Some(other) = all[..i].iter().find(|other| collide(**other, *listen)) {
            return Err(Problem {
                span: span(),
                label: "taken".into(),
                ..Problem::whole(
                    format!(
                        "{listen} and {other} are one port: the second listener could not start"
                    ),
                    "keep the one for all addresses (0.0.0.0 or [::]), or change a port",
                )
            });
        }
        if let Some(admin) = admin.listen
            && collide(admin, *listen)
        {
            return Err(Problem {
                span: raw_admin.listen.as_ref().map(Spanned::span).or_else(span),
                label: "the same port".into(),
                ..Problem::whole(
                    format!(
                        "the admin listener {admin} and the proxy's listener {listen} are one port"
                    ),
                    "give one of them another port: [admin] listen = \"127.0.0.1:9601\"",
                )
            });
        }
    }
    Ok(())
}

/// Checks that no pool is shifter itself: requests would loop for ever.
pub(crate) fn no_loop(
    proxy: &Proxy,
    admin: &Admin,
    services: &[Service],
    named: &[Named<'_>],
) -> Check<()> {
    let own: Vec<SocketAddr> = proxy.all_listen().into_iter().chain(admin.listen).collect();
    let itself = |address: &SocketAddr| {
        own.iter().any(|own| {
            own == address
                || (own.port() == address.port()
                    && own.ip().is_unspecified()
                    && address.ip().is_loopback())
        })
    };
    for (service, (_, raw)) in services.iter().zip(named) {
        let pools = [
            (Some(&service.blue), &raw.blue),
            (service.green.as_ref(), &raw.green),
        ];
        let of = |pool: Option<&PoolSpec>| match pool {
            Some(PoolSpec::Addresses(addresses)) => addresses.clone(),
            _ => vec![],
        };
        let pools = pools.map(|(pool, raw)| (of(pool), raw));
        let baseline = (service.control.addresses().to_vec(), &raw.baseline);
        for (addresses, raw) in pools.into_iter().chain([baseline]) {
            let Some(RawPool::Addresses(raw)) = raw else {
                continue;
            };
            if let Some(i) = addresses.iter().position(itself) {
                return Err(Problem {
                    span: raw.items.get(i).map(Spanned::span),
                    label: "shifter itself".into(),
                    ..Problem::whole(
                        format!(
                            "{} is where shifter itself listens: requests would go in circles",
                            addresses[i]
                        ),
                        "write the address of the application, or change `listen`",
                    )
                });
            }
        }
    }
    Ok(())
}

/// Checks that no request belongs to two services.
pub(crate) fn routes_apart(services: &[Service], named: &[Named<'_>]) -> Check<()> {
    let mut taken: HashMap<(&Host, &str), &str> = HashMap::new();
    for (service, (name, raw)) in services.iter().zip(named) {
        for (h, host) in service.hosts.iter().enumerate() {
            for (p, path) in service.paths.iter().enumerate() {
                if let Some(other) = taken.insert((host, path), &service.name) {
                    let span = place(&raw.paths, p)
                        .or(place(&raw.hosts, h))
                        .unwrap_or(name.span());
                    return Err(Problem::at(
                        span,
                        format!(
                            "host {host} with path {path} is given twice: by `{other}` and by `{}`",
                            service.name
                        ),
                        "the second one",
                        "give each service hosts or paths of its own: paths = [\"/api\"]",
                    ));
                }
            }
        }
    }
    Ok(())
}

fn place(raw: &Option<Many>, at: usize) -> Option<Range<usize>> {
    raw.as_ref()
        .and_then(|many| many.items.get(at))
        .map(Spanned::span)
}

/// Whether a process could not listen on both.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_all_collides_with_each() {
        let a = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(collide(a("0.0.0.0:80"), a("127.0.0.1:80")));
        assert!(!collide(a("127.0.0.2:80"), a("127.0.0.1:80")));
        assert!(!collide(a("0.0.0.0:80"), a("0.0.0.0:81")));
    }
}
