//! From raw data to a [`Config`]: each part by itself, then the parts against each other.

use crate::config::docker::need;
use crate::config::file::{RawConfig, RawPool, RawService};
use crate::config::host::Host;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::Many;
use crate::config::parse::value::Check;
use crate::config::process::admin::admin;
use crate::config::process::docker;
use crate::config::process::log::log;
use crate::config::process::proxy::proxy;
use crate::config::process::state::state;
use crate::config::service;
use crate::config::types::{Config, PoolSpec, Service};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;

type Named<'a> = (&'a Spanned<String>, &'a RawService);

/// Checks everything; relative paths are relative to `dir`.
pub(crate) fn check(raw: &RawConfig, dir: &Path) -> Check<Config> {
    let state = state(&raw.state, dir)?;
    let proxy = proxy(&raw.proxy, dir)?;
    let admin = admin(&raw.admin, dir, &state)?;
    let log = log(&raw.log, dir)?;
    let mut named: Vec<Named<'_>> = raw.service.iter().collect();
    named.sort_by_key(|(name, _)| name.span().start);
    if named.is_empty() && raw.docker.discovery != Some(true) {
        return Err(Problem::whole(
            "there is no service: nothing would be served",
            "add one:\n[service.api]\nblue = [\"127.0.0.1:3001\"]\ngreen = [\"127.0.0.1:3002\"]",
        ));
    }
    let services: Vec<Service> = named
        .iter()
        .map(|(name, raw)| service::service(name, raw, dir))
        .collect::<Check<_>>()?;
    let needs: Vec<_> = services.iter().map(need).collect();
    let docker = docker::docker(&raw.docker, &needs)?;
    let config = Config {
        docker,
        proxy,
        admin,
        log,
        state,
        services,
    };
    listeners_apart(raw, &config)?;
    no_loop(&config, &named)?;
    routes_apart(&config, &named)?;
    Ok(config)
}

/// Checks that no listener uses another's address.
fn listeners_apart(raw: &RawConfig, config: &Config) -> Check<()> {
    let tls = raw.proxy.tls.as_ref().map(Spanned::get_ref);
    let all = config.proxy.all_listen();
    let plain = config.proxy.listen.len();
    for (i, listen) in all.iter().enumerate() {
        let span = || match i.checked_sub(plain) {
            None => place(&raw.proxy.listen, i),
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
        if let Some(admin) = config.admin.listen
            && collide(admin, *listen)
        {
            return Err(Problem {
                span: raw.admin.listen.as_ref().map(Spanned::span).or_else(span),
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
fn no_loop(config: &Config, named: &[Named<'_>]) -> Check<()> {
    let own: Vec<SocketAddr> = config
        .proxy
        .all_listen()
        .into_iter()
        .chain(config.admin.listen)
        .collect();
    let itself = |address: &SocketAddr| {
        own.iter().any(|own| {
            own == address
                || (own.port() == address.port()
                    && own.ip().is_unspecified()
                    && address.ip().is_loopback())
        })
    };
    for (service, (_, raw)) in config.services.iter().zip(named) {
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
fn routes_apart(config: &Config, named: &[Named<'_>]) -> Check<()> {
    let mut taken: HashMap<(&Host, &str), &str> = HashMap::new();
    for (service, (name, raw)) in config.services.iter().zip(named) {
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
