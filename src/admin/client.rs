//! The client of the API over the unix socket, which every command uses.

use crate::admin::body::{
    Done, Notes, Nothing, OneRollout, OneService, Recording, RollbackRequest, RolloutRecord,
    Rollouts, RoutingTable, RunRequest, WeightRequest,
};
use crate::admin::problem::Problem;
use crate::control::drill::DrillReport;
use crate::control::view::{ServiceView, View};
use crate::core::analysis::RecordedLine;
use crate::core::table::Table;
use crate::core::weight::Weight;
use crate::exit::Exit;
use crate::store::journal::Note;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// The timeout of a query, which is answered at once.
const ASKING: Duration = Duration::from_secs(10);

/// The timeout of an order, which may wait: a drill for traffic, a run for the superseded rollout
/// to drain.
const ORDERING: Duration = Duration::from_secs(15 * 60);

/// The most bytes of one event, which is one line of narration.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Why a request to the API failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nothing answers on the socket.
    #[error("no shifter answers on {}: {source}. {}", socket.display(), remedy(source))]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The order or the question was refused; nothing was changed.
    #[error("{}", problem.detail)]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The reason.
        problem: Box<Problem>,
    },
    /// The answer cannot be understood.
    #[error("the shifter on {} gave an answer that makes no sense: {what}. `shifter status` says its version; this is {}", socket.display(), env!("CARGO_PKG_VERSION"))]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "The socket belongs to another user: ask as that user (or with sudo)"
        }
        io::ErrorKind::TimedOut => "It may be stopped or overloaded: look at its log",
        _ => "Start one with `shifter serve`, or name the socket of a running one with --socket",
    }
}

impl ClientError {
    /// The code that a command ends with.
    pub fn exit(&self) -> Exit {
        match self {
            ClientError::Unreachable { .. } => Exit::Unreachable,
            ClientError::Refused { problem, .. } if problem.name() == "busy" => Exit::Busy,
            ClientError::Refused {
                status: 400..=499, ..
            } => Exit::Usage,
            ClientError::Refused { status: 503, .. } => Exit::Unreachable,
            ClientError::Refused { .. } | ClientError::Broken { .. } => Exit::Internal,
        }
    }

    /// The problem document when the request was refused; asking again is no use then.
    pub fn refused(&self) -> Option<&Problem> {
        match self {
            ClientError::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }
}

/// A client of a running shifter.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    http: reqwest::Client,
}

impl Client {
    /// A client of the shifter on this socket; nothing is sent yet.
    ///
    /// # Errors
    /// When the socket's path cannot be used at all.
    pub fn new(socket: &Path) -> Result<Client, ClientError> {
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .user_agent(concat!("shifter/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| unreachable(socket, &error))?;
        Ok(Client {
            socket: socket.to_owned(),
            http,
        })
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The status of all services.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn status(&self) -> Result<View, ClientError> {
        self.get("/v1/status").await
    }

    /// The status of one service; `None` for the only one.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn service(&self, service: Option<&str>) -> Result<ServiceView, ClientError> {
        let one: OneService = self
            .get(&format!("/v1/services/{}", segment(service)))
            .await?;
        Ok(one.service)
    }

    /// The routing table in force.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn table(&self) -> Result<Table, ClientError> {
        let answer: RoutingTable = self.get("/v1/table").await?;
        Ok(answer.table)
    }

    /// Starts a rollout.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn run(
        &self,
        service: Option<&str>,
        request: &RunRequest,
    ) -> Result<Done, ClientError> {
        self.post(&format!("/v1/services/{}/run", segment(service)), request)
            .await
    }

    /// Sends `promote`, `approve`, `pause`, `resume`, `abort`, `rollback` or `drill`.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn verb(&self, service: Option<&str>, verb: &str) -> Result<Done, ClientError> {
        self.post(
            &format!("/v1/services/{}/{verb}", segment(service)),
            &Nothing {},
        )
        .await
    }

    /// Rolls back to blue; with `keep`, green's containers run on for a while, for inspection.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn rollback(&self, service: Option<&str>, keep: bool) -> Result<Done, ClientError> {
        let path = format!("/v1/services/{}/rollback", segment(service));
        self.post(&path, &RollbackRequest { keep }).await
    }

    /// Sets green's share.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn set_weight(
        &self,
        service: Option<&str>,
        weight: Weight,
    ) -> Result<Done, ClientError> {
        let body = WeightRequest {
            percent: weight.ratio() * 100.0,
        };
        self.post(&format!("/v1/services/{}/weight", segment(service)), &body)
            .await
    }

    /// Makes the server reload its configuration.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn reload(&self) -> Result<Done, ClientError> {
        self.post("/v1/reload", &Nothing {}).await
    }

    /// Rehearses a rollback; returns once it was measured.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn drill(&self, service: Option<&str>) -> Result<DrillReport, ClientError> {
        let done = self.verb(service, "drill").await?;
        done.drill
            .ok_or_else(|| self.broken("a drill without a report".to_owned()))
    }

    /// The newest rollouts, newest first.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn rollouts(
        &self,
        service: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RolloutRecord>, ClientError> {
        let service = service.map_or(String::new(), |name| format!("&service={}", escaped(name)));
        let answer: Rollouts = self
            .get(&format!("/v1/rollouts?limit={limit}{service}"))
            .await?;
        Ok(answer.rollouts)
    }

    /// One rollout.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn rollout(&self, id: i64) -> Result<RolloutRecord, ClientError> {
        let answer: OneRollout = self.get(&format!("/v1/rollouts/{id}")).await?;
        Ok(answer.rollout)
    }

    /// The notes of a rollout with numbers above `after`, oldest first.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn notes(&self, after: i64, rollout: i64) -> Result<Vec<Note>, ClientError> {
        let mut all: Vec<Note> = vec![];
        loop {
            let after = all.last().map_or(after, |note| note.seq);
            let path = format!("/v1/rollouts/{rollout}/notes?after={after}");
            let answer: Notes = self.get(&path).await?;
            if answer.notes.is_empty() {
                return Ok(all);
            }
            all.extend(answer.notes);
        }
    }

    /// The recorded input of the judge in a rollout.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn seconds(&self, rollout: i64) -> Result<Vec<RecordedLine>, ClientError> {
        let answer: Recording = self.get(&format!("/v1/rollouts/{rollout}/seconds")).await?;
        Ok(answer.lines)
    }

    /// A stream of events after a number or from now on, of one rollout or of all.
    ///
    /// # Errors
    /// When the shifter cannot be reached, refuses, or its answer cannot be read.
    pub async fn events(
        &self,
        after: Option<i64>,
        rollout: Option<i64>,
    ) -> Result<Events, ClientError> {
        let pairs = [("after", after), ("rollout", rollout)];
        let pairs: Vec<String> = pairs
            .iter()
            .filter_map(|(key, value)| value.map(|value| format!("{key}={value}")))
            .collect();
        let request = self
            .http
            .get(url(&format!("/v1/events?{}", pairs.join("&"))));
        let sent = tokio::time::timeout(ASKING, request.send()).await;
        let response = self.answered(sent.map_err(|_| self.late())?).await?;
        Ok(Events {
            client: self.clone(),
            response,
            pending: vec![],
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.ask(self.http.get(url(path)).timeout(ASKING)).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.ask(self.http.post(url(path)).timeout(ORDERING).json(body))
            .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, ClientError> {
        let response = self.answered(request.send().await).await?;
        let bytes = response
            .bytes()
            .await
            .map_err(|error| unreachable(&self.socket, &error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.broken(error.to_string()))
    }

    async fn answered(
        &self,
        sent: Result<reqwest::Response, reqwest::Error>,
    ) -> Result<reqwest::Response, ClientError> {
        let response = sent.map_err(|error| unreachable(&self.socket, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response
            .bytes()
            .await
            .map_err(|error| unreachable(&self.socket, &error))?;
        match serde_json::from_slice(&bytes) {
            Ok(problem) => Err(ClientError::Refused {
                status: status.as_u16(),
                problem: Box::new(problem),
            }),
            Err(_) => Err(self.broken(format!("status {status} without a reason"))),
        }
    }

    fn broken(&self, what: String) -> ClientError {
        ClientError::Broken {
            socket: self.socket.clone(),
            what,
        }
    }

    fn late(&self) -> ClientError {
        ClientError::Unreachable {
            socket: self.socket.clone(),
            source: io::ErrorKind::TimedOut.into(),
        }
    }
}

/// A stream of notes as they come.
#[derive(Debug)]
pub struct Events {
    client: Client,
    response: reqwest::Response,
    pending: Vec<u8>,
}

impl Events {
    /// The next note; `None` when the server has ended the stream. Safe to drop and call again.
    ///
    /// # Errors
    /// When the connection fails, or a line of it cannot be read.
    pub async fn next(&mut self) -> Result<Option<Note>, ClientError> {
        loop {
            while let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = self.pending.drain(..end + 2).collect();
                if let Some(note) = self.read(&event)? {
                    return Ok(Some(note));
                }
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.pending.extend_from_slice(&bytes),
                Ok(None) => return Ok(None),
                Err(error) => return Err(unreachable(&self.client.socket, &error)),
            }
            if self.pending.len() > EVENT_BYTES_MAX {
                return Err(self.client.broken("an event without an end".to_owned()));
            }
        }
    }

    fn read(&self, event: &[u8]) -> Result<Option<Note>, ClientError> {
        let text = String::from_utf8_lossy(event);
        let data: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .collect();
        if data.is_empty() {
            return Ok(None);
        }
        let note = serde_json::from_str(&data.join("\n"));
        note.map(Some)
            .map_err(|error| self.client.broken(error.to_string()))
    }
}

fn url(path: &str) -> String {
    format!("http://localhost{path}")
}

fn segment(service: Option<&str>) -> String {
    service.map_or("-".to_owned(), escaped)
}

/// Percent-encodes a name for a URL: people type what they like.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn unreachable(socket: &Path, error: &reqwest::Error) -> ClientError {
    let socket = socket.to_owned();
    if error.is_timeout() {
        return ClientError::Unreachable {
            socket,
            source: io::ErrorKind::TimedOut.into(),
        };
    }
    let mut source: Option<&dyn std::error::Error> = Some(error);
    let mut text = error.to_string();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            let source = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            return ClientError::Unreachable { socket, source };
        }
        text = cause.to_string();
        source = cause.source();
    }
    ClientError::Unreachable {
        socket,
        source: io::Error::other(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    #[test]
    fn every_failure_ends_with_the_documented_code() {
        let refused = |status: StatusCode, name: &str| ClientError::Refused {
            status: status.as_u16(),
            problem: Box::new(Problem::new(status, name, "", "no")),
        };
        let socket = PathBuf::from("/s");
        let cases = [
            (
                ClientError::Unreachable {
                    socket: socket.clone(),
                    source: io::ErrorKind::NotFound.into(),
                },
                7,
            ),
            (refused(StatusCode::CONFLICT, "busy"), 8),
            (refused(StatusCode::CONFLICT, "not-now"), 2),
            (refused(StatusCode::NOT_FOUND, "no-such-service"), 2),
            (
                refused(StatusCode::UNPROCESSABLE_ENTITY, "configuration"),
                2,
            ),
            (refused(StatusCode::SERVICE_UNAVAILABLE, "unrecorded"), 7),
            (
                ClientError::Broken {
                    socket,
                    what: "x".into(),
                },
                1,
            ),
        ];
        for (error, code) in cases {
            assert_eq!(error.exit().code(), code, "{error}");
        }
    }

    #[test]
    fn a_name_from_the_command_line_stays_one_segment() {
        assert_eq!(escaped("api-1"), "api-1");
        assert_eq!(escaped("../reload?x#ü"), "..%2Freload%3Fx%23%C3%BC");
        assert_eq!(segment(None), "-");
    }

    #[tokio::test]
    async fn nobody_there_is_told_with_the_socket_and_a_remedy() {
        let client = Client::new(Path::new("/nonexistent/shifter.sock")).unwrap();
        let error = client.status().await.unwrap_err();
        assert_eq!(error.exit(), Exit::Unreachable);
        let text = error.to_string();
        assert!(
            text.contains("/nonexistent/shifter.sock") && text.contains("shifter serve"),
            "{text}"
        );
        assert!(text.contains("No such file"), "{text}");
    }
}
