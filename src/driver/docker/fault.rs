//! Errors of the engine, worded with what to do.

use bollard::errors::Error;
use std::error::Error as _;
use std::time::Duration;
use thiserror::Error;

/// The timeout of a call; bollard's own limit covers the header only.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// Why a call to the engine failed.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The engine does not answer.
    #[error("Docker cannot be reached: {0}. Is dockerd running, and does `docker ps` show it?")]
    Unreachable(String),
    /// The engine is there, but permission is missing.
    #[error(
        "no permission for Docker's socket: {0}. Run shifter in the group that owns the socket (`usermod -aG docker USER`, or `--group-add` in a container)"
    )]
    Forbidden(String),
    /// A proxy in front of the engine denies the call.
    #[error(
        "the proxy in front of Docker's socket denied the call to {0}: allow that call there, or set `access` of [docker] to what it allows"
    )]
    Denied(&'static str),
    /// There is no API version that both sides know.
    #[error("{0}")]
    Version(String),
    /// The call timed out.
    #[error("Docker did not answer within {seconds} s when asked to {what}")]
    Late {
        /// The timeout in seconds.
        seconds: u64,
        /// The call.
        what: &'static str,
    },
    /// The named object does not exist.
    #[error("{0}")]
    Missing(String),
    /// The name is in use.
    #[error("{0}")]
    Taken(String),
    /// The credentials that `docker login` stored cannot be used.
    #[error(
        "the credentials for {registry} cannot be read: {why}. `docker login {registry}` as the user that runs shifter writes them anew; DOCKER_CONFIG says where they are"
    )]
    Credentials {
        /// The registry of the credentials.
        registry: String,
        /// What is wrong with them.
        why: String,
    },
    /// The registry denies the image to these credentials.
    #[error(
        "{words}. {looked_for}: log in as the user that runs shifter, `docker login {registry}`; DOCKER_CONFIG names the folder of config.json"
    )]
    Unauthorized {
        /// The registry.
        registry: String,
        /// The engine's error text.
        words: String,
        /// Where credentials were looked for.
        looked_for: String,
    },
    /// An answer in another format than the documented one.
    #[error("Docker's answer when asked to {0} cannot be read: {1}")]
    Unreadable(&'static str, String),
    /// The engine refuses; its error text.
    #[error("Docker could not {0}: {1}")]
    Refused(&'static str, String),
}

/// The error for people, from bollard's error.
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
