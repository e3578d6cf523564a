//! The version of the engine's API: the newest that both sides know, named in every call.
//!
//! bollard 0.21 gets a version and does not send it (`findings/bollard_sends_no_api_version.sh`), and an engine answers
//! a call without a version with its newest one, which may be newer than the models that parse the answers. So the
//! version is put into the path of each request here, whatever transport it uses: a socket, TCP, TLS; also for a stream
//! of events or a connection that is upgraded for a command. Only the query for the version itself has none.
//! <https://docs.docker.com/reference/api/engine/#versioned-api-and-sdk>

use crate::driver::docker::context;
use crate::driver::docker::credentials;
use crate::driver::docker::engine::call;
use crate::driver::docker::fault::{EngineError, said};
use bollard::models::SystemVersion;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use http::Uri;
use http::uri::PathAndQuery;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The oldest version that is tested: that of Docker 20.10 and Podman 4.
const OLDEST: Api = Api(41);

/// The API version at the beginning of a call's path: `1.N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Api(usize);

impl Api {
    /// The newest version with answers that can be parsed.
    fn newest() -> Api {
        Api(API_DEFAULT_VERSION.minor_version)
    }

    fn read(text: Option<&str>) -> Option<Api> {
        text?.strip_prefix("1.")?.parse().ok().map(Api)
    }

    /// The call with the version in front of its path.
    fn named_in(self, mut request: BollardRequest) -> BollardRequest {
        let mut parts = request.uri().clone().into_parts();
        let path = parts
            .path_and_query
            .as_ref()
            .map_or("/", PathAndQuery::as_str);
        let versioned = PathAndQuery::try_from(format!("/v{self}{path}"));
        // A valid path stays valid with a prefix.
        if let Ok(path) = versioned {
            parts.path_and_query = Some(path);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        request
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// The negotiated version, and the engine that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// Its name and version: `Docker 28.5.2`.
    pub engine: String,
    /// The API version in use.
    pub api: Api,
}

impl Spoken {
    /// The negotiation's result: the newest version that both sides know.
    fn with(seen: &SystemVersion) -> Result<Spoken, EngineError> {
        let engine = name(seen);
        let words = |why: String| Err(EngineError::Version(why));
        let (Some(its), least) = (
            Api::read(seen.api_version.as_deref()),
            Api::read(seen.min_api_version.as_deref()),
        ) else {
            let said = seen.api_version.as_deref().unwrap_or("nothing");
            return words(format!(
                "{engine} says `{said}` when asked for the version of its API, and not 1.N. Does DOCKER_HOST name a Docker engine?"
            ));
        };
        if its < OLDEST {
            return words(format!(
                "{engine} knows its API up to version {its}, and shifter needs {OLDEST} (Docker 20.10, Podman 4): use a newer engine"
            ));
        }
        let newest = Api::newest();
        if least.is_some_and(|least| least > newest) {
            let least = seen.min_api_version.as_deref().unwrap_or_default();
            return words(format!(
                "{engine} needs at least version {least} of its API, and this shifter knows it up to {newest}: use a newer shifter"
            ));
        }
        let api = its.min(newest);
        Ok(Spoken { engine, api })
    }
}

/// Podman identifies itself only in its components.
fn name(seen: &SystemVersion) -> String {
    let mut components = seen.components.iter().flatten();
    let podman = components.any(|one| one.name.contains("Podman"));
    let version = seen.version.as_deref().unwrap_or("of an unknown version");
    format!("{} {version}", if podman { "Podman" } else { "Docker" })
}

/// The connection to an engine: the one at `host`, else the one that the command line uses ([`context::host`]).
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    host: Option<String>,
    spoken: Arc<Mutex<Option<Spoken>>>,
}

impl Line {
    pub(super) fn new(host: Option<String>) -> Line {
        Line {
            host,
            spoken: Arc::default(),
        }
    }

    /// The last negotiated version.
    pub(super) fn spoken(&self) -> Option<Spoken> {
        let spoken = self.spoken.lock();
        spoken.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client for one call; each call makes one connection anyway, and a socket that was missing may exist now.
    pub(super) async fn docker(&self) -> Result<Docker, EngineError> {
        let api = match self.spoken() {
            Some(spoken) => spoken.api,
            None => self.agree().await?.api,
        };
        let modifier = move |request| api.named_in(credentials::url_safe(request));
        Ok(self.plain()?.with_request_modifier(modifier))
    }

    /// Negotiates the version with the engine that answers now: after a loss it may be another one.
    pub(super) async fn agree(&self) -> Result<Spoken, EngineError> {
        self.set(None);
        let docker = self.plain()?;
        let seen = call("tell its version", docker.version()).await;
        let seen = seen.map_err(|error| self.located(error))?;
        let spoken = Spoken::with(&seen)?;
        self.set(Some(spoken.clone()));
        Ok(spoken)
    }

    fn set(&self, spoken: Option<Spoken>) {
        *self.spoken.lock().unwrap_or_else(PoisonError::into_inner) = spoken;
    }

    /// The engine's address; `None`: the default one.
    fn host(&self) -> Result<Option<String>, EngineError> {
        match &self.host {
            Some(host) => Ok(Some(host.clone())),
            None => context::host().map_err(EngineError::Unreachable),
        }
    }

    /// The error with the address that does not answer.
    fn located(&self, error: EngineError) -> EngineError {
        match (error, self.host()) {
            (EngineError::Unreachable(why), Ok(Some(host))) if !why.contains(&host) => {
                EngineError::Unreachable(format!("{host}: {why}"))
            }
            (error, _) => error,
        }
    }

    fn plain(&self) -> Result<Docker, EngineError> {
        let docker = match &self.host()? {
            Some(host) => Docker::connect_with_host(host),
            None => Docker::connect_with_local_defaults(),
        };
        docker.map_err(|error| said("answer", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::SystemVersionComponents;

    fn seen(api: &str, least: &str) -> SystemVersion {
        SystemVersion {
            version: Some("1.2.3".to_owned()),
            api_version: Some(api.to_owned()).filter(|api| !api.is_empty()),
            min_api_version: Some(least.to_owned()),
            ..SystemVersion::default()
        }
    }

    #[test]
    fn the_newest_that_both_know_is_spoken() {
        let newest = Api::newest().to_string();
        for (api, least, spoken) in [
            ("1.41", "1.12", "1.41"),
            ("1.51", "1.24", "1.51"),
            ("1.99", "1.44", newest.as_str()),
            ("1.44", "", "1.44"),
        ] {
            let agreed = Spoken::with(&seen(api, least)).expect("an agreement");
            assert_eq!(agreed.api.to_string(), spoken, "{api}, at least {least}");
            assert_eq!(agreed.engine, "Docker 1.2.3");
        }
    }

    #[test]
    fn what_cannot_be_spoken_is_told_with_what_to_do() {
        for (api, least, words) in [
            ("1.40", "1.12", "use a newer engine"),
            ("1.9", "1.0", "up to version 1.9"),
            ("1.150", "1.149", "use a newer shifter"),
            ("", "", "says `nothing`"),
            ("2.0", "", "says `2.0`"),
        ] {
            let refused = Spoken::with(&seen(api, least)).expect_err("a refusal");
            assert!(refused.to_string().contains(words), "{api}: {refused}");
        }
    }

    #[test]
    fn podman_is_called_podman() {
        let engine = SystemVersionComponents {
            name: "Podman Engine".to_owned(),
            version: "5.8.6".to_owned(),
            details: None,
        };
        let seen = SystemVersion {
            components: Some(vec![engine]),
            ..seen("1.41", "1.24")
        };
        assert_eq!(name(&seen), "Podman 1.2.3");
    }
}
