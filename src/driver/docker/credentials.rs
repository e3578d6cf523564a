//! Credentials for registries, as `docker login` left them, and one repair of how bollard sends them.

use bollard::auth::DockerCredentials;
use docker_credential::DockerCredential;

/// The name under which `docker login` keeps Docker Hub.
const HUB: &str = "https://index.docker.io/v1/";

/// What was left for the registry of this image; `None` when nothing was.
pub fn of(reference: &str) -> Option<DockerCredentials> {
    let registry = registry(reference);
    match docker_credential::get_credential(registry).ok()? {
        DockerCredential::UsernamePassword(username, password) => Some(DockerCredentials {
            username: Some(username),
            password: Some(password),
            serveraddress: Some(registry.to_owned()),
            ..DockerCredentials::default()
        }),
        DockerCredential::IdentityToken(token) => Some(DockerCredentials {
            identitytoken: Some(token),
            serveraddress: Some(registry.to_owned()),
            ..DockerCredentials::default()
        }),
    }
}

/// The registry of an image: what stands before the first slash and looks like a host.
fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

/// bollard encodes credentials with the usual alphabet, engines read the one for URLs.
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
