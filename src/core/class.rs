//! How one request ended, and which side is at fault.

use serde::{Deserialize, Serialize};

/// How one attempt of a request on a pool ended.
///
/// A pool is judged by what it did itself. What a client caused, and what shifter itself caused,
/// never counts against a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A whole answer below 500 (a 4xx is the client's business unless a policy says otherwise).
    Ok,
    /// A whole answer of 400 to 499, where the service counts those as failures.
    ClientError,
    /// A whole answer of 500 or above.
    ServerError,
    /// The connection was refused, there was no route, or the TLS handshake failed.
    ConnectRefused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The answer, or its next part, did not come in time.
    Timeout,
    /// The pool closed or reset the connection before a whole answer.
    Reset,
    /// The pool answered something that is not HTTP.
    Protocol,
    /// The pool had no backend to send the request to.
    NoBackend,
    /// The client went away, was too slow, or sent nonsense.
    ClientGaveUp,
    /// shifter's own fault, or a task that was dropped: the outcome is unknown.
    Unknown,
}

impl Class {
    /// Every class, in a fixed order: counters are arrays over it.
    pub const ALL: [Class; 11] = [
        Class::Ok,
        Class::ClientError,
        Class::ServerError,
        Class::ConnectRefused,
        Class::ConnectTimeout,
        Class::Timeout,
        Class::Reset,
        Class::Protocol,
        Class::NoBackend,
        Class::ClientGaveUp,
        Class::Unknown,
    ];

    /// Whether the pool failed: `Some(true)` counts against it, `Some(false)` for it, `None` not at all.
    pub const fn failed(self) -> Option<bool> {
        match self {
            Class::Ok => Some(false),
            Class::ClientError
            | Class::ServerError
            | Class::ConnectRefused
            | Class::ConnectTimeout
            | Class::Timeout
            | Class::Reset
            | Class::Protocol
            | Class::NoBackend => Some(true),
            Class::ClientGaveUp | Class::Unknown => None,
        }
    }

    /// Whether it is a failure that came as a whole answer: a backend that answers is reachable.
    pub const fn answered(self) -> bool {
        matches!(self, Class::ClientError | Class::ServerError)
    }

    /// The name in labels, logs and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Ok => "ok",
            Class::ClientError => "client_error",
            Class::ServerError => "server_error",
            Class::ConnectRefused => "connect_refused",
            Class::ConnectTimeout => "connect_timeout",
            Class::Timeout => "first_byte_timeout",
            Class::Reset => "reset",
            Class::Protocol => "protocol",
            Class::NoBackend => "no_backend",
            Class::ClientGaveUp => "client_gave_up",
            Class::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_caused_never_counts_against_a_pool() {
        assert_eq!(Class::ClientGaveUp.failed(), None);
        assert_eq!(Class::Unknown.failed(), None);
        let bad = Class::ALL
            .iter()
            .filter(|class| class.failed() == Some(true))
            .count();
        assert_eq!(bad, 8);
    }
}
