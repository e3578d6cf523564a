//! Extractors for the parts of a request, with a problem document where a part cannot be read.

use crate::admin::problem::Problem;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use futures::StreamExt;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The most bytes of a body: bodies here are a few words of JSON.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;

/// The longest wait for a body: a slow client must not hold a connection for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A JSON body; no body at all counts as `{}`.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<JsonBody<T>, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(body).await?;
        if bytes.is_empty() {
            return parse(b"{}");
        }
        if !is_json(&parts.headers) {
            let detail = "send the body as `Content-Type: application/json`";
            return Err(Problem::bad_body(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                detail,
            ));
        }
        parse(&bytes)
    }
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let reading = async {
        let mut bytes = Vec::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                Problem::bad_request(format!("the body cannot be read: {error}"))
            })?;
            if bytes.len() + chunk.len() > BODY_BYTES_MAX {
                let detail =
                    "the body is larger than 64 KiB; what this route takes is a few words of JSON";
                return Err(Problem::bad_body(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(BODY_TIMEOUT, reading)
        .await
        .unwrap_or_else(|_| {
            let detail = "the body did not arrive within 10 seconds";
            Err(Problem::bad_body(StatusCode::REQUEST_TIMEOUT, detail))
        })
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let (Some(one), None) = (given.next(), given.next()) else {
        return false;
    };
    let media = one
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    media.trim().eq_ignore_ascii_case("application/json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<JsonBody<T>, Problem> {
    // A list would be taken for an object's values in their order: what it meant is a guess.
    let object = bytes.trim_ascii_start().starts_with(b"{");
    if !object && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        let detail = "the body is to be a JSON object: { ... }";
        return Err(Problem::bad_body(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    serde_json::from_slice(bytes)
        .map(JsonBody)
        .map_err(|error| {
            let status = match error.classify() {
                serde_json::error::Category::Data => StatusCode::UNPROCESSABLE_ENTITY,
                _ => StatusCode::BAD_REQUEST,
            };
            Problem::bad_body(status, error.to_string())
        })
}

/// The parameters in the path.
pub(crate) struct Segment<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segment<T>, Problem> {
        let Path(value) = Path::from_request_parts(parts, state)
            .await
            .map_err(|rejection: PathRejection| Problem::bad_request(rejection.body_text()))?;
        Ok(Segment(value))
    }
}

/// The query parameters.
pub(crate) struct Search<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Search<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Search<T>, Problem> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection: QueryRejection| Problem::bad_request(rejection.body_text()))?;
        Ok(Search(value))
    }
}
