//! Errors of the API, as RFC 9457 problem documents.

use crate::control::CommandError;
use axum::Json;
use axum::http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The prefix of every problem type.
const PREFIX: &str = "urn:shifter:problem:";

/// One refused request; nothing was changed by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:shifter:problem:` and a name that never changes.
    #[serde(rename = "type")]
    pub kind: String,
    /// The problem type in words, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong this time, and what to do next.
    pub detail: String,
    /// The rollout that is in the way, when one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<i64>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        name: &str,
        title: &str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem {
            kind: format!("{PREFIX}{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            rollout: None,
        }
    }

    /// The name of the problem type, without the common prefix.
    pub fn name(&self) -> &str {
        self.kind.strip_prefix(PREFIX).unwrap_or(&self.kind)
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "The request cannot be read",
            detail,
        )
    }

    pub(crate) fn bad_body(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem::new(
            status,
            "bad-body",
            "The body is not what this route takes",
            detail,
        )
    }

    pub(crate) fn no_such_rollout(id: i64) -> Problem {
        let detail =
            format!("there is no rollout {id}; `shifter history` lists those that there are");
        Problem::new(
            StatusCode::NOT_FOUND,
            "no-such-rollout",
            "No such rollout",
            detail,
        )
    }

    pub(crate) fn not_ready(detail: &str) -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-ready",
            "Not ready for traffic",
            detail,
        )
    }

    pub(crate) fn forbidden(name: &str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, name, "Not allowed here", detail)
    }

    pub(crate) fn unauthorized(detail: &str) -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "token",
            "The token is missing or wrong",
            detail,
        )
    }
}

impl From<CommandError> for Problem {
    fn from(refusal: CommandError) -> Problem {
        let detail = refusal.to_string();
        let problem = |status, name, title| Problem::new(status, name, title, detail.clone());
        match refusal {
            CommandError::NoSuchService { .. } => {
                problem(StatusCode::NOT_FOUND, "no-such-service", "No such service")
            }
            CommandError::WhichService { .. } => {
                problem(StatusCode::BAD_REQUEST, "which-service", "Which service?")
            }
            CommandError::Busy { rollout, .. } => Problem {
                rollout: Some(rollout),
                ..problem(StatusCode::CONFLICT, "busy", "A rollout is under way")
            },
            CommandError::NotNow(_) => {
                problem(StatusCode::CONFLICT, "not-now", "It makes no sense now")
            }
            CommandError::Unrecorded(_) => problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "unrecorded",
                "The state cannot be recorded",
            ),
            CommandError::Configuration(_) => problem(
                StatusCode::UNPROCESSABLE_ENTITY,
                "configuration",
                "The configuration is wrong",
            ),
            CommandError::Gone => problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "gone",
                "The controller does not answer",
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"shifter\""),
            );
        }
        response
    }
}

/// The answer for a path that is no route.
pub(crate) async fn no_such_route(uri: axum::http::Uri) -> Problem {
    let detail = format!(
        "there is nothing at {}; /openapi.json lists the routes",
        uri.path()
    );
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-route",
        "No such route",
        detail,
    )
}

/// The answer for a route that does not take this method.
pub(crate) async fn wrong_method(method: axum::http::Method, uri: axum::http::Uri) -> Response {
    let other = if method == axum::http::Method::POST {
        "GET"
    } else {
        "POST or GET"
    };
    let detail = format!(
        "{} does not take {method}; try {other} (the Allow header says which)",
        uri.path()
    );
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "Wrong method",
        detail,
    );
    let mut response = problem.into_response();
    // The router fills in the methods that the route takes.
    response.headers_mut().remove(ALLOW);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_status_and_a_name_of_its_own() {
        let known = || "`a`, `b`".to_owned();
        let refusals = [
            (
                CommandError::NoSuchService {
                    name: "x".into(),
                    known: known(),
                },
                404,
                "no-such-service",
            ),
            (
                CommandError::WhichService { known: known() },
                400,
                "which-service",
            ),
            (
                CommandError::Busy {
                    service: "a".into(),
                    rollout: 7,
                },
                409,
                "busy",
            ),
            (CommandError::NotNow("not now".into()), 409, "not-now"),
            (
                CommandError::Unrecorded("disk full".into()),
                503,
                "unrecorded",
            ),
            (
                CommandError::Configuration("line 3".into()),
                422,
                "configuration",
            ),
            (CommandError::Gone, 503, "gone"),
        ];
        for (refusal, status, name) in refusals {
            let text = refusal.to_string();
            let problem = Problem::from(refusal.clone());
            assert_eq!(
                (problem.status, problem.name(), problem.detail.as_str()),
                (status, name, text.as_str())
            );
            assert_eq!(
                problem.rollout.is_some(),
                matches!(refusal, CommandError::Busy { .. })
            );
        }
    }
}
