//! What goes wrong with the engine, in words that say what to do.

use bollard::errors::Error;
use std::error::Error as _;
use std::time::Duration;
use thiserror::Error;

/// The longest wait for an answer; bollard's own limit covers the header only.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// Why the engine did not do what it was asked.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Nobody answers.
    #[error("Docker cannot be reached: {0}. Is dockerd running, and does `docker ps` show it?")]
    Unreachable(String),
    /// It is there, and we may not.
    #[error(
        "no permission for Docker's socket: {0}. Run shifter in the group that owns the socket (`usermod -aG docker USER`, or `--group-add` in a container)"
    )]
    Forbidden(String),
    /// A proxy before the engine lets only some calls through.
    #[error(
        "what stands before Docker forbids to {0}: allow that call there, or set `access` of [docker] to what it allows"
    )]
    Denied(&'static str),
    /// No version of its API is known to both sides.
    #[error("{0}")]
    Version(String),
    /// No answer in time.
    #[error("Docker did not answer within {seconds} s when asked to {what}")]
    Late {
        /// How long we waited.
        seconds: u64,
        /// For what.
        what: &'static str,
    },
    /// What was named is not there.
    #[error("{0}")]
    Missing(String),
    /// The name is in use.
    #[error("{0}")]
    Taken(String),
    /// What `docker login` left cannot be used.
    #[error(
        "the credentials for {registry} cannot be read: {why}. `docker login {registry}` as the user that runs shifter writes them anew; DOCKER_CONFIG says where they are"
    )]
    Credentials {
        /// For which registry.
        registry: String,
        /// What is wrong with them.
        why: String,
    },
    /// The registry does not give the image to whoever we said we are.
    #[error(
        "{words}. {looked_for}: log in as the user that runs shifter, `docker login {registry}`; DOCKER_CONFIG names the folder of config.json"
    )]
    Unauthorized {
        /// The registry.
        registry: String,
        /// The engine's words.
        words: String,
        /// Where credentials were looked for.
        looked_for: String,
    },
    /// An answer that does not have the form that the engine's documentation gives.
    #[error("Docker's answer when asked to {0} cannot be read: {1}")]
    Unreadable(&'static str, String),
    /// The engine refuses; its own words.
    #[error("Docker could not {0}: {1}")]
    Refused(&'static str, String),
}

/// What an error means to people.
pub(super) fn said(what: &'static str, error: &Error) -> EngineError {
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => match status_code {
            403 => EngineError::Denied(what),
            400 if message.contains("HTTP request to an HTTPS server") => EngineError::Unreachable(
                "it speaks TLS, and was asked without: set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH (the folder of ca.pem, cert.pem and key.pem)".to_owned(),
            ),
            404 => EngineError::Missing(message.clone()),
            409 if message.contains("is already in use") => EngineError::Taken(message.clone()),
            _ => EngineError::Refused(what, message.clone()),
        },
        Error::DockerStreamError { error } => EngineError::Refused(what, error.clone()),
        Error::RequestTimeoutError => EngineError::Late {
            seconds: CALL.as_secs(),
            what,
        },
        Error::JsonDataError { message, .. } => EngineError::Unreadable(what, message.clone()),
        Error::UnsupportedURISchemeError { uri } => EngineError::Unreachable(format!(
            "`{uri}` is no address that shifter can ask: unix:///PATH, tcp://HOST:PORT (with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH by TLS), https://HOST:PORT. For ssh: `ssh -L /tmp/docker.sock:/var/run/docker.sock HOST`, and unix:///tmp/docker.sock"
        )),
        other => {
            let text = deepest(other);
            if text.contains("Permission denied") {
                EngineError::Forbidden(text)
            } else {
                EngineError::Unreachable(text)
            }
        }
    }
}

/// The innermost cause: the outer ones only say that something failed.
fn deepest(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_behind_tls_is_told_with_the_variables_that_it_wants() {
        let answer = |status_code, message: &str| Error::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        };
        let tls = answer(400, "Client sent an HTTP request to an HTTPS server.\n");
        let text = said("answer", &tls).to_string();
        assert!(
            text.contains("DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"),
            "{text}"
        );
        let text = said("answer", &answer(400, "bad parameter")).to_string();
        assert!(text.contains("bad parameter"), "{text}");
    }
}
