//! `shifter check`: checks the configuration, without a running shifter.

use crate::cli::commands::plan;
use crate::cli::connect;
use crate::cli::output::{self, Format};
use crate::cli::{Global, members};
use crate::config::{Config, Endpoint, PoolSpec, Service};
use crate::core::plan::Step;
use crate::core::weight::Weight;
use crate::daemon::process;
use crate::exit::Exit;
use crate::proxy;
use serde::Serialize;
use std::net::SocketAddr;

/// Options of `shifter check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also see whether the ports are free; a running shifter has them, of course.
    #[arg(long)]
    pub ports: bool,
}

#[derive(Serialize)]
struct Checked {
    file: String,
    ok: bool,
    listen: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    services: Vec<String>,
    taken: Vec<SocketAddr>,
    worries: Vec<String>,
}

#[derive(Serialize)]
struct Faulty<'a> {
    file: &'a str,
    ok: bool,
    line: Option<usize>,
    what: &'a str,
    how: &'a str,
}

/// Runs the command.
pub fn run(global: &Global, args: Args) -> Exit {
    let config = match Config::load(&global.config) {
        Ok(config) => config,
        Err(error) if global.output == Format::Json => {
            let (file, line, what, how) = (error.file(), error.line(), error.what(), error.how());
            let _ = output::facts(
                global.output,
                &Faulty {
                    file,
                    ok: false,
                    line,
                    what,
                    how,
                },
                "",
            );
            return Exit::Usage;
        }
        Err(_) => match process::load(&global.config) {
            Ok(_) => return Exit::Internal,
            Err(exit) => return exit,
        },
    };
    let (taken, why): (Vec<_>, Vec<_>) = if args.ports { taken(&config) } else { vec![] }
        .into_iter()
        .unzip();
    let checked = Checked {
        file: global.config.display().to_string(),
        ok: taken.is_empty(),
        listen: config.proxy.all_listen(),
        admin: config.admin.listen,
        services: config
            .services
            .iter()
            .map(|service| service.name.clone())
            .collect(),
        taken,
        worries: [worries(&config), members::troubles(&config)].concat(),
    };
    let told = output::facts(global.output, &checked, &text(&checked, &config));
    tell_outlooks(global, &config);
    for why in why.iter().chain(&checked.worries) {
        output::narrate(&format!("shifter: {why}"));
    }
    if checked.ok { told } else { Exit::Usage }
}

fn text(checked: &Checked, config: &Config) -> String {
    let addresses = |all: &[SocketAddr]| {
        all.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let admin = checked
        .admin
        .map_or("no TCP".to_owned(), |address| address.to_string());
    let mut text = format!(
        "{} is good: users at {}, admin at {} and {}\n",
        checked.file,
        addresses(&checked.listen),
        admin,
        config.admin.socket.display()
    );
    for service in &config.services {
        text.push_str(&format!("  {}\n", line(service)));
    }
    text
}

/// Prints the outlook of the plans at today's traffic, where a running shifter measures it.
fn tell_outlooks(global: &Global, config: &Config) {
    let Some(view) = connect::ask_if_there(global, async |client| client.status().await) else {
        return;
    };
    for service in &config.services {
        let seen = view.service(&service.name);
        if let Some(line) = seen.and_then(|seen| plan::in_a_line(service, seen)) {
            output::narrate(&format!("shifter: {}: {line}", service.name));
        }
    }
}

fn line(service: &Service) -> String {
    let hosts: Vec<String> = service.hosts.iter().map(ToString::to_string).collect();
    let members = |pool: &PoolSpec| pool.to_string().replace(',', ", ");
    let green = service
        .green
        .as_ref()
        .map_or_else(|| none(service), members);
    let steps: Vec<String> = service
        .plan(None)
        .steps
        .iter()
        .filter(|step| matches!(step, Step::Shift { .. } | Step::Approve))
        .map(|step| match step {
            Step::Shift { weight, .. } => weight.to_string(),
            other => other.to_string(),
        })
        .collect();
    format!(
        "{} for {}: {} {}; blue {}, green {green}",
        service.name,
        hosts.join(", "),
        service.strategy,
        steps.join(" → ") + &kept(service),
        members(&service.blue)
    )
}

/// How to get a green that the file does not name.
fn none(service: &Service) -> String {
    match service.blue {
        PoolSpec::Addresses(_) => "none yet: a rollout needs `green`".to_owned(),
        _ => format!("made by `shifter run {} --image NAME:TAG`", service.name),
    }
}

/// The share that stays on blue during the last share, and the reason.
fn kept(service: &Service) -> String {
    let last = |step: &Step| match step {
        Step::Shift { weight, .. } => Some(weight.rest()),
        _ => None,
    };
    match service.plan(None).steps.iter().rev().find_map(last) {
        Some(kept) if kept > Weight::NONE => {
            format!(" → 100% ({kept} stay on blue as control until then: `holdback`)")
        }
        _ => String::new(),
    }
}

/// Warnings: keys without effect, and the dates of certificates.
fn worries(config: &Config) -> Vec<String> {
    let now = jiff::Timestamp::now().as_second();
    let shown = config.proxy.tls.iter().flat_map(|tls| &tls.certificates);
    let services = config.services.iter().filter_map(|one| one.tls.as_ref());
    let dates = shown
        .chain(services.filter_map(|tls| tls.certificate.as_ref()))
        .filter_map(|certificate| certificate.worry(now))
        .chain(config.services.iter().flat_map(overheard));
    config.doubts().into_iter().chain(dates).collect()
}

/// Warnings on sources that get secrets over an unencrypted connection.
fn overheard(service: &Service) -> impl Iterator<Item = String> {
    let sources = service.sources.iter();
    let sent = sources.filter(|source| source.endpoint().is_some_and(Endpoint::is_overheard));
    sent.map(|source| {
        format!(
            "the source `{}` of `{}` is sent a password, token or secret header without TLS, which others in the network can read: write https:// where it can",
            source.name, service.name
        )
    })
}

/// The addresses that cannot be bound now.
fn taken(config: &Config) -> Vec<(SocketAddr, String)> {
    let all = config
        .proxy
        .all_listen()
        .into_iter()
        .chain(config.admin.listen);
    all.filter_map(|address| {
        let error = proxy::bind(&[address], proxy::Listeners::default()).err()?;
        Some((address, error.to_string()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let text = format!(
            "[proxy]\nlisten = \"{address}\"\n[admin]\nlisten = \"off\"\n[service.a]\nblue = \"127.0.0.1:3001\"\n"
        );
        let config = Config::parse("x.toml", &text).unwrap();
        let found = taken(&config);
        assert_eq!(found[0].0, address);
        assert!(found[0].1.contains("another program"), "{}", found[0].1);
        drop(holder);
        assert_eq!(taken(&config), []);
        assert_eq!(
            line(&config.services[0]),
            "a for *: canary 5% → 50% → 95% → 100% (5% stay on blue as control until then: `holdback`); blue 127.0.0.1:3001, green none yet: a rollout needs `green`"
        );
    }
}
