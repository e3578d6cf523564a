//! The reminders of `shifter plan`: state that does not move from one version to the other with the requests.

use crate::cli::output::tame;
use crate::config::{Ask, Config, PoolSpec, Service};
use crate::control::view::ServiceView;
use crate::core::baseline::Places;
use crate::core::plan::{Plan, Step};
use crate::core::table::Color;
use crate::core::time::span;
use crate::driver::docker::watcher::{self, WatchTarget};
use crate::driver::docker::{Engine, pools};
use bollard::models::{ContainerInspectResponse, MountPoint};

/// Parts of variable names that indicate sessions stored outside the process.
const STORES: [&str; 5] = ["REDIS", "VALKEY", "MEMCACHE", "SESSION", "DATABASE"];

/// Blue's containers in full, as far as they can be seen: by the names from a running shifter, else from the file.
pub(super) fn containers(
    config: &Config,
    service: &Service,
    view: Option<&ServiceView>,
) -> Vec<ContainerInspectResponse> {
    if !matches!(service.blue, PoolSpec::Containers(_)) {
        return vec![];
    }
    let engine = Engine::new(config.docker.host.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return vec![] };
    runtime.block_on(async {
        let known = view.map(|view| view.blue.backends.iter());
        let mut names: Vec<String> = known
            .into_iter()
            .flatten()
            .filter_map(|backend| backend.container.clone())
            .collect();
        if names.is_empty() {
            names = by_file(&engine, service).await;
        }
        let mut seen = vec![];
        for name in names {
            seen.extend(engine.inspect(&name).await);
        }
        seen
    })
}

async fn by_file(engine: &Engine, service: &Service) -> Vec<String> {
    let places = pools::places(service, &[], None).into_iter().flatten();
    let wants: Vec<WatchTarget> = places
        .flatten()
        .take(1)
        .map(|place| WatchTarget {
            service: service.name.clone(),
            color: Color::Blue,
            by: place.by,
        })
        .collect();
    let found = watcher::look(engine, &wants).await.unwrap_or_default();
    let containers = found.into_iter().flat_map(|found| found.containers);
    let running = containers.filter(|container| container.state.serves());
    running.map(|container| container.name).collect()
}

/// The list; `open` is the number of upgraded connections on blue, when a running shifter reports it.
pub(super) fn items(
    service: &Service,
    plan: &Plan,
    open: Option<i64>,
    blue: &[ContainerInspectResponse],
) -> Vec<String> {
    let mut items = vec![sockets(open, plan)];
    items.extend(blue.first().map(volumes).into_iter().flatten());
    items.push(sessions(service, blue));
    if service.hooks.is_empty() {
        items.push(
            "no hooks: a change of the database must suit both versions while both run (expand first, contract after the promotion)"
                .to_owned(),
        );
    }
    let limit: i64 = blue.iter().filter_map(memory).sum();
    if limit > 0 {
        let megabytes = limit / 1_000_000;
        items.push(format!(
            "two versions at once may take 2 × {megabytes} MB of memory"
        ));
    }
    items.extend(baseline(plan, limit));
    let unchecked = blue.iter().any(|container| {
        let config = container.config.as_ref();
        config.is_none_or(|config| config.healthcheck.is_none())
    });
    if unchecked && service.health.ask == Ask::Connect {
        items.push(
            "neither a HEALTHCHECK nor `health = { path = … }`: green counts as well as soon as it accepts connections"
                .to_owned(),
        );
    }
    items
}

/// The costs of a baseline: memory, and users on a cold copy.
fn baseline(plan: &Plan, limit: i64) -> Option<String> {
    let shares = plan.steps.iter().filter_map(|step| match step {
        Step::Shift { weight, .. } => Some(Places::beside(*weight)?.share()),
        _ => None,
    });
    let most = shares.max().filter(|_| plan.baseline)?;
    let memory = match limit {
        1.. => format!(" ({} MB of memory more)", limit / 1_000_000),
        _ => String::new(),
    };
    Some(format!(
        "control = \"baseline\": one more copy of blue{memory} runs until the rollout ends, and at most {most} of the users are served by that cold copy"
    ))
}

fn sockets(open: Option<i64>, plan: &Plan) -> String {
    let stay = span((plan.keep_blue + plan.drain).as_secs_f64());
    match open {
        None => "open WebSockets are not known: start shifter, which counts them".to_owned(),
        Some(0) => "no WebSocket is open now".to_owned(),
        Some(open) => format!(
            "{open} WebSockets or other upgraded connections are open on blue: they stay there until they end, at most {stay} after the promotion; new ones go by weight"
        ),
    }
}

/// A line for each place on disk that outlives a request.
fn volumes(blue: &ContainerInspectResponse) -> Vec<String> {
    let anonymous = |mount: &MountPoint| {
        let named = blue.host_config.as_ref().is_some_and(|host| {
            let name = mount.name.as_deref().unwrap_or_default();
            let binds = host.binds.iter().flatten();
            let mounts = host.mounts.iter().flatten();
            binds
                .clone()
                .any(|bind| bind.split(':').next() == Some(name))
                || mounts
                    .clone()
                    .any(|other| other.source.as_deref() == Some(name))
        });
        mount.typ.as_deref() == Some("volume") && !named
    };
    let mut lines = vec![];
    for mount in blue.mounts.iter().flatten() {
        let place = tame(mount.destination.as_deref().unwrap_or_default());
        let source = match mount.typ.as_deref() {
            Some("volume") => mount.name.as_deref(),
            Some("tmpfs") => continue,
            _ => mount.source.as_deref(),
        };
        let source = tame(source.unwrap_or_default());
        lines.push(match (anonymous(mount), mount.rw) {
            (true, _) => format!("{place} is an anonymous volume: green starts with an empty one"),
            (_, Some(false)) => format!("{place} ({source}) is read by both versions"),
            _ => format!(
                "{place} ({source}) is written by both versions while both run: can each read what the other writes?"
            ),
        });
    }
    if lines.is_empty() {
        lines.push("no volumes: nothing on disk goes from blue to green".to_owned());
    }
    lines
}

fn sessions(service: &Service, blue: &[ContainerInspectResponse]) -> String {
    if service.sticky.is_some() {
        return "users stay with a version until a rollback or the promotion: sessions in memory end there".to_owned();
    }
    let variables = blue.iter().flat_map(|container| {
        let config = container.config.as_ref();
        config
            .into_iter()
            .flat_map(|config| config.env.iter().flatten())
    });
    let mut names = variables.map(|entry| entry.split('=').next().unwrap_or_default());
    let store = names.find(|name| {
        let name = name.to_ascii_uppercase();
        STORES.iter().any(|store| name.contains(store))
    });
    match store {
        Some(name) => format!("no stickiness; {} suggests that sessions are kept outside", tame(name)),
        None => "no stickiness, and no variable that names a store for sessions: who is logged in may lose that between the versions (`sticky`, or a store outside)".to_owned(),
    }
}

fn memory(container: &ContainerInspectResponse) -> Option<i64> {
    container.host_config.as_ref()?.memory
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(more: &str) -> Service {
        let text = format!("[service.a]\nblue = {{ container = \"a1\", port = 1 }}\n{more}");
        let mut config = Config::parse("x.toml", &text).expect("a configuration");
        config.services.remove(0)
    }

    fn blue(env: &[&str]) -> ContainerInspectResponse {
        let seen = json!({
            "Config": { "Env": env },
            "HostConfig": { "Binds": ["data:/data", "/etc/api:/config:ro"], "Memory": 512_000_000 },
            "Mounts": [
                { "Type": "volume", "Name": "data", "Destination": "/data", "RW": true },
                { "Type": "bind", "Source": "/etc/api", "Destination": "/config", "RW": false },
                { "Type": "volume", "Name": "0123456789abcdef", "Destination": "/scratch", "RW": true },
            ]
        });
        serde_json::from_value(seen).expect("an answer")
    }

    fn said(service: &Service, open: Option<i64>, env: &[&str]) -> String {
        items(service, &service.plan(None), open, &[blue(env)]).join("\n")
    }

    #[test]
    fn what_lives_in_blue_is_listed() {
        let text = said(&service(""), Some(412), &["PATH=/bin"]);
        for part in [
            "412 WebSockets",
            "10 min",
            "/data (data) is written by both",
            "/config (/etc/api) is read by both",
            "/scratch is an anonymous volume",
            "no variable that names a store",
            "no hooks",
            "2 × 512 MB",
            "neither a HEALTHCHECK",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn what_a_baseline_costs_is_said() {
        let text = said(&service("control = \"baseline\"\n"), None, &[]);
        let cost = "one more copy of blue (512 MB of memory more) runs until the rollout ends, and at most 5% of the users";
        assert!(text.contains(cost), "{text}");
        assert!(!said(&service(""), None, &[]).contains("copy of blue"));
    }

    #[test]
    fn what_is_taken_care_of_is_not_asked_for() {
        let cared = service(
            "sticky = { cookie = \"pin\" }\nhealth = { path = \"/health\" }\nhooks = [{ at = \"before-start\", exec = [\"true\"] }]\n",
        );
        let text = said(&cared, Some(0), &[]);
        assert!(text.contains("users stay with a version"), "{text}");
        assert!(
            !text.contains("no hooks") && !text.contains("HEALTHCHECK"),
            "{text}"
        );
        let text = said(&service(""), None, &["REDIS_URL=redis://secret"]);
        assert!(
            text.contains("REDIS_URL suggests") && !text.contains("secret"),
            "{text}"
        );
        assert!(text.contains("not known"), "{text}");
    }
}
