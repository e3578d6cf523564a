//! Files that are in a container but in none of its settings: Compose copies inline configs and secrets from variables
//! into a container after its creation, and so does `docker cp`. A copy of the container has none of them.

use crate::driver::docker::engine::{Engine, call};
use crate::driver::docker::fault::EngineError;
use bollard::models::{ChangeType, ContainerInspectResponse, FilesystemChange};

/// The folders of secrets in Compose and Podman.
const SECRETS: [&str; 2] = ["/run/secrets/", "/var/run/secrets/"];

/// Folders where programs write by themselves, and engines too.
const WRITTEN: [&str; 16] = [
    "/dev/",
    "/home/",
    "/proc/",
    "/root/",
    "/run/",
    "/sys/",
    "/tmp/",
    "/var/",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/.dockerenv",
    "/.cache/",
    "/.npm/",
    "/.config/",
];

/// Highest number of paths in a message.
const NAMED_MAX: usize = 5;

/// Files of a container that its copy will not have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Secrets.
    pub secrets: Vec<String>,
    /// Other files, as far as they do not look like the program's own.
    pub files: Vec<String>,
}

impl Injected {
    /// The message for people; `None`: there are no such files.
    pub fn told(&self) -> Option<String> {
        let all: Vec<&str> = self
            .secrets
            .iter()
            .chain(&self.files)
            .map(String::as_str)
            .collect();
        let more = match all.len() {
            0 => return None,
            n if n > NAMED_MAX => format!(" and {} more", n - NAMED_MAX),
            _ => String::new(),
        };
        let named = all
            .iter()
            .take(NAMED_MAX)
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        Some(format!(
            "blue has {named}{more}, which neither its image nor a mount brings: put in after it was made (`docker cp`, inline `configs` and `secrets` from variables of Compose) or written by it. Green has none of that: mount what the app needs (`file:`), or let Compose start the new version"
        ))
    }
}

impl Engine {
    /// The files in a container that are in none of its settings; empty where the engine gives no answer.
    pub async fn injected(&self, seen: &ContainerInspectResponse) -> Injected {
        let (Ok(docker), Some(id)) = (self.docker().await, &seen.id) else {
            return Injected::default();
        };
        let asked = docker.container_changes(id);
        let changes: Result<_, EngineError> = call("tell what changed in a container", asked).await;
        of(&changes.ok().flatten().unwrap_or_default(), seen)
    }
}

fn of(changes: &[FilesystemChange], seen: &ContainerInspectResponse) -> Injected {
    let mounts = seen.mounts.iter().flatten();
    let mounted: Vec<&str> = mounts
        .filter_map(|mount| mount.destination.as_deref())
        .collect();
    let inside = |path: &str, folder: &str| {
        let rest = path.strip_prefix(folder.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut injected = Injected::default();
    for change in changes
        .iter()
        .filter(|change| change.kind == ChangeType::_1)
    {
        let path = change.path.as_str();
        // A folder alone means nothing, only its content does; the engine created the folders of mounts.
        let folder = changes
            .iter()
            .any(|other| other.path != path && inside(&other.path, path));
        let mount = mounted
            .iter()
            .any(|mount| inside(mount, path) || inside(path, mount));
        if folder || mount {
            continue;
        }
        if SECRETS.iter().any(|place| path.starts_with(place)) {
            injected.secrets.push(path.to_owned());
        } else if !WRITTEN.iter().any(|place| path.starts_with(place)) {
            injected.files.push(path.to_owned());
        }
    }
    injected
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_copied_in_is_told_from_what_an_image_a_mount_or_the_program_brings() {
        let seen = json!({ "Mounts": [{ "Destination": "/data" }, { "Destination": "/run/secrets/mounted" }] });
        let seen = serde_json::from_value(seen).expect("an answer");
        /// Changes of a container, then what is reported: secrets, and other files.
        type Case<'a> = (&'a [(&'a str, u8)], &'a [&'a str], &'a [&'a str]);
        let cases: [Case; 8] = [
            (&[("/app.conf", 1)], &[], &["/app.conf"]),
            (
                &[("/run", 0), ("/run/secrets", 1), ("/run/secrets/sec", 1)],
                &["/run/secrets/sec"],
                &[],
            ),
            (
                &[("/run/secrets", 1), ("/run/secrets/mounted", 1)],
                &[],
                &[],
            ),
            (&[("/data", 1)], &[], &[]),
            (
                &[("/etc", 0), ("/etc/app", 1), ("/etc/app/app.conf", 1)],
                &[],
                &["/etc/app/app.conf"],
            ),
            (
                &[
                    ("/tmp/x", 1),
                    ("/var/log/app.log", 1),
                    ("/run/app.pid", 1),
                    ("/root/.bash_history", 1),
                ],
                &[],
                &[],
            ),
            (&[("/etc/passwd", 0), ("/bin/x", 2)], &[], &[]),
            (&[], &[], &[]),
        ];
        for (changes, secrets, files) in cases {
            let one = |(path, kind): &(&str, u8)| json!({ "Path": path, "Kind": kind });
            let all: Vec<_> = changes.iter().map(one).collect();
            let all: Vec<FilesystemChange> = serde_json::from_value(json!(all)).expect("changes");
            let found = of(&all, &seen);
            assert_eq!(
                (found.secrets.clone(), found.files.clone()),
                (words(secrets), words(files)),
                "{changes:?}"
            );
            let named = secrets
                .iter()
                .chain(files)
                .all(|path| found.told().is_some_and(|text| text.contains(path)));
            assert!(named, "{:?}", found.told());
        }
        let many = Injected {
            files: (0..7).map(|n| format!("/f{n}")).collect(),
            ..Injected::default()
        };
        assert!(
            many.told()
                .is_some_and(|text| text.contains("/f4 and 2 more"))
        );
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}
