//! The context of the Docker command line: shifter uses the same engine as `docker ps`.
//!
//! <https://docs.docker.com/engine/manage-resources/contexts/>: `DOCKER_HOST`, else `DOCKER_CONTEXT`, else what `docker context use` left
//! in `config.json`; a context's endpoint is in a folder that is named by the SHA-256 of its name.

use ring::digest::{SHA256, digest};
use serde_json::Value;
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
    let named = given("DOCKER_CONTEXT").or_else(|| current(&folder));
    match named.as_deref() {
        None | Some(DEFAULT) => Ok(None),
        Some(name) => endpoint(&folder, name).map(Some),
    }
}

fn current(folder: &Path) -> Option<String> {
    let text = std::fs::read(folder.join("config.json")).ok()?;
    let config: Value = serde_json::from_slice(&text).ok()?;
    Some(config.get("currentContext")?.as_str()?.to_owned())
}

fn endpoint(folder: &Path, name: &str) -> Result<String, String> {
    let file = folder
        .join("contexts/meta")
        .join(sha256(name))
        .join("meta.json");
    let text = std::fs::read(&file).map_err(|error| {
        format!(
            "the Docker context `{name}` cannot be read: {}: {error}",
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
        std::fs::write(
            folder.path().join("config.json"),
            r#"{"currentContext":"sid"}"#,
        )
        .expect("a file");
        assert_eq!(current(folder.path()).as_deref(), Some("sid"));
    }
}
