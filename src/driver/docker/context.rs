//! The context of the Docker command line: shifter uses the same engine as `docker ps`.
//!
//! <https://docs.docker.com/engine/manage-resources/contexts/>: `DOCKER_HOST`, else `DOCKER_CONTEXT`, else what `docker context use` left
//! in `config.json`; a context's endpoint is in a folder that is named by the SHA-256 of its name.

use ring::digest::{SHA256, digest};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The name of the context for the local engine.
const DEFAULT: &str = "default";

/// The engine's address as the command line has it; `None`: the default address.
///
/// # Errors
/// In words, when a named context cannot be read.
pub(super) fn host() -> Result<Option<String>, String> {
    let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(host) = given("DOCKER_HOST") {
        return Ok(Some(host));
    }
    let folder = given("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(given("HOME")?).join(".docker")));
    let Some(folder) = folder else {
        return Ok(None);
    };
    let named = match given("DOCKER_CONTEXT") {
        Some(named) => Some(named),
        None => current(&folder)?,
    };
    match named.as_deref() {
        None | Some(DEFAULT) => Ok(None),
        Some(name) => endpoint(&folder, name).map(Some),
    }
}

/// The context that `docker context use` chose; `None` where there is no file, or it names none.
fn current(folder: &Path) -> Result<Option<String>, String> {
    let file = folder.join("config.json");
    let text = match std::fs::read(&file) {
        Ok(text) => text,
        // As the command line: a file that this user has not, or may not read, chooses nothing.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(&file, &error)),
    };
    let config: Value = serde_json::from_slice(&text).map_err(|error| unreadable(&file, &error))?;
    let named = config.get("currentContext").and_then(Value::as_str);
    Ok(named.map(str::to_owned))
}

/// Another engine than the one that the command line uses must not be asked in its place.
fn unreadable(file: &Path, error: &dyn std::fmt::Display) -> String {
    format!(
        "{} cannot be read, so the chosen Docker context is not known: {error}. Mend the file, or say which engine is meant: DOCKER_HOST, DOCKER_CONTEXT, or `host` of [docker]",
        file.display()
    )
}

fn endpoint(folder: &Path, name: &str) -> Result<String, String> {
    let file = folder
        .join("contexts/meta")
        .join(sha256(name))
        .join("meta.json");
    let text = std::fs::read(&file).map_err(|error| {
        format!(
            "the Docker context `{name}` cannot be read: {}: {error}. `docker context ls` lists those that are there; DOCKER_CONTEXT or `docker context use` chooses one",
            file.display()
        )
    })?;
    let meta: Value = serde_json::from_slice(&text)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let host = meta
        .pointer("/Endpoints/docker/Host")
        .and_then(Value::as_str);
    let host = host.filter(|host| !host.is_empty());
    host.map(str::to_owned)
        .ok_or_else(|| format!("{} names no Docker engine", file.display()))
}

fn sha256(name: &str) -> String {
    let hash = digest(&SHA256, name.as_bytes());
    let digits = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_found_by_the_hash_of_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        // `printf sid | sha256sum`
        let hash = "34b36454cab2e7842c389f7d88ecb7df279e3918cbac07970d4cde496e70f4c8";
        let meta = folder.path().join("contexts/meta").join(hash);
        std::fs::create_dir_all(&meta).expect("a folder");
        let text = r#"{"Name":"sid","Endpoints":{"docker":{"Host":"unix:///run/sid.sock"}}}"#;
        std::fs::write(meta.join("meta.json"), text).expect("a file");
        assert_eq!(
            endpoint(folder.path(), "sid").as_deref(),
            Ok("unix:///run/sid.sock")
        );
        let missing = endpoint(folder.path(), "other").expect_err("none");
        assert!(missing.contains("context `other`"), "{missing}");
        assert!(missing.contains("`docker context ls`"), "{missing}");
        assert_eq!(current(folder.path()), Ok(None));
        for (text, chosen) in [
            (r#"{"currentContext":"sid"}"#, Some("sid")),
            (r#"{"auths":{}}"#, None),
        ] {
            std::fs::write(folder.path().join("config.json"), text).expect("a file");
            assert_eq!(current(folder.path()), Ok(chosen.map(str::to_owned)));
        }
    }

    #[test]
    fn a_broken_file_does_not_lead_to_another_engine() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.json"), "{").expect("a file");
        let why = current(folder.path()).expect_err("no context");
        assert!(
            why.contains("config.json cannot be read") && why.contains("DOCKER_HOST"),
            "{why}"
        );
    }
}
