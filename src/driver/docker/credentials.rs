//! Registry credentials, as `docker login` stored them, and one fix of how bollard sends them.

use bollard::auth::DockerCredentials;
use docker_credential::{CredentialRetrievalError as Fault, DockerCredential};
use std::path::PathBuf;

/// The key under which `docker login` stores the credentials of Docker Hub.
const HUB: &str = "https://index.docker.io/v1/";

/// The stored credentials for the registry of this image; `None` when there are none.
///
/// # Errors
/// Why stored credentials cannot be used.
pub fn of(reference: &str) -> Result<Option<DockerCredentials>, String> {
    let registry = registry(reference);
    let found = match docker_credential::get_credential(registry) {
        Ok(found) => found,
        Err(Fault::ConfigNotFound | Fault::NoCredentialConfigured) => return Ok(None),
        Err(Fault::ConfigReadError) if !config().is_some_and(|file| file.exists()) => {
            return Ok(None);
        }
        Err(Fault::HelperFailure {
            helper,
            stdout,
            stderr,
        }) => {
            let said = format!("{} {}", stdout.trim(), stderr.trim());
            // The error of a helper without credentials for the registry (github.com/docker/docker-credential-helpers).
            if said.contains("credentials not found") {
                return Ok(None);
            }
            return Err(format!("{helper} says: {}", said.trim()));
        }
        Err(fault) => return Err(fault.to_string().trim().to_owned()),
    };
    let serveraddress = Some(registry.to_owned());
    Ok(Some(match found {
        DockerCredential::UsernamePassword(username, password) => DockerCredentials {
            username: Some(username),
            password: Some(password),
            serveraddress,
            ..DockerCredentials::default()
        },
        DockerCredential::IdentityToken(token) => DockerCredentials {
            identitytoken: Some(token),
            serveraddress,
            ..DockerCredentials::default()
        },
    }))
}

/// The file where credentials were looked for, and whether it exists, in words.
pub fn looked_for() -> String {
    looked_at(config())
}

fn looked_at(file: Option<PathBuf>) -> String {
    match file {
        None => {
            "No file with credentials was looked for, because neither DOCKER_CONFIG nor HOME is set"
                .to_owned()
        }
        Some(file) if file.exists() => {
            format!("{} was looked at for credentials", file.display())
        }
        Some(file) => format!("There is no file {} with credentials", file.display()),
    }
}

/// The file where `docker login` stores them.
fn config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    Some(folder?.join("config.json"))
}

/// Whether an engine's error says that the registry requires (other) credentials.
pub fn wanted(words: &str) -> bool {
    [
        "unauthorized",
        "no basic auth credentials",
        "denied",
        "authentication required",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

/// The registry of an image: the part before the first slash, if it looks like a host.
pub fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

/// bollard encodes credentials in standard Base64; engines expect the alphabet for URLs.
pub fn url_safe(mut request: bollard::BollardRequest) -> bollard::BollardRequest {
    const HEADER: &str = "x-registry-auth";
    let safe = request
        .headers()
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .map(|text| text.replace('+', "-").replace('/', "_"));
    if let Some(value) = safe.and_then(|text| http::HeaderValue::from_str(&text).ok()) {
        request.headers_mut().insert(HEADER, value);
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_credentials_were_looked_for_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.json");
        let there = format!("{} was looked at", file.display());
        let missing = format!("There is no file {}", file.display());
        assert!(looked_at(None).contains("neither DOCKER_CONFIG nor HOME is set"));
        assert!(looked_at(Some(file.clone())).starts_with(&missing));
        std::fs::write(&file, "{}").expect("a file");
        assert!(looked_at(Some(file)).starts_with(&there));
    }

    #[test]
    fn the_shipped_unit_lets_roots_credentials_be_read() {
        let unit = include_str!("../../../config/systemd/shifter.service");
        let said = |line: &str| unit.lines().any(|known| known == line);
        assert!(
            said("Environment=HOME=/root"),
            "systemd gives a service of the system no HOME"
        );
        assert!(said("ProtectHome=read-only"), "\"yes\" hides them");
    }

    #[test]
    fn the_registry_is_told_from_a_folder() {
        let cases = [
            ("api:1.1", HUB),
            ("myorg/api:1.1", HUB),
            ("ghcr.io/myorg/api:1.1", "ghcr.io"),
            ("localhost/api:1.1", "localhost"),
            ("127.0.0.1:5000/api:1.1", "127.0.0.1:5000"),
        ];
        for (reference, expected) in cases {
            assert_eq!(registry(reference), expected);
        }
    }
}
