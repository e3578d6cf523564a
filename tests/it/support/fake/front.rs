//! The socket: calls are told from each other, go wrong where a fault says so, and are else answered.

use crate::support::fake::calls;
use crate::support::fake::engine::Engine;
use crate::support::fake::faults::{Call, Fault, Faults};
use crate::support::filter::{shape, versioned};
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

/// The engine's door.
pub struct Front {
    pub socket: PathBuf,
    pub engine: Arc<Engine>,
    pub faults: Arc<Faults>,
    /// The calls that may be made.
    known: Arc<Vec<String>>,
    open: Mutex<Option<AbortHandle>>,
}

impl Front {
    pub fn new(engine: Arc<Engine>, known: Vec<String>) -> Front {
        let front = Front {
            socket: engine.folder.path().join("docker.sock"),
            engine,
            faults: Arc::new(Faults::new()),
            known: Arc::new(known),
            open: Mutex::default(),
        };
        front.open();
        front
    }

    /// Accepts calls.
    pub fn open(&self) {
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).unwrap();
        let (engine, faults, known) =
            (self.engine.clone(), self.faults.clone(), self.known.clone());
        let task = tokio::spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                calls.spawn(serve(stream, engine.clone(), faults.clone(), known.clone()));
                while calls.try_join_next().is_some() {}
            }
        });
        *self.open.lock().unwrap() = Some(task.abort_handle());
    }

    /// Every connection ends, and nobody accepts another one; the socket's file stays, as after a kill.
    pub fn close(&self) {
        if let Some(open) = self.open.lock().unwrap().take() {
            open.abort();
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.close();
    }
}

async fn serve(
    stream: UnixStream,
    engine: Arc<Engine>,
    faults: Arc<Faults>,
    known: Arc<Vec<String>>,
) {
    let service = service_fn(|request| answer(request, &engine, &faults, &known));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A connection that was cut is no fault of the test.
    let _ = connection.with_upgrades().await;
}

/// The shape of a call, the names in its path, and the version of the API that it begins with.
fn read(method: &http::Method, uri: &Uri) -> (String, String, Option<u32>) {
    let (api, path) = versioned(uri.path());
    let shape = shape(&format!("{method} {path}"));
    let (_, rest) = path[1..].split_once('/').unwrap_or_default();
    let name = match rest.rsplit_once('/') {
        Some((name, _)) => name,
        None => rest,
    };
    (shape, name.to_owned(), api)
}

/// What Docker says to a version that it does not know.
fn unknown(api: Option<u32>, (least, newest): (u32, u32)) -> Option<String> {
    let api = api?;
    if api > newest {
        Some(format!(
            "client version 1.{api} is too new. Maximum supported API version is 1.{newest}"
        ))
    } else {
        (api < least).then(|| format!("client version 1.{api} is too old. Minimum supported API version is 1.{least}, please upgrade your client to a newer version"))
    }
}

async fn answer(
    mut request: Request<Incoming>,
    engine: &Arc<Engine>,
    faults: &Arc<Faults>,
    known: &[String],
) -> io::Result<Response<Body>> {
    let (shape, name, api) = read(request.method(), request.uri());
    if api.is_none() && shape != "GET /version" {
        faults.reject(&format!("{shape} without a version"));
        return Ok(calls::refused(400, "this engine wants a version"));
    }
    if let Some(words) = unknown(api, engine.state().apis) {
        return Ok(calls::refused(400, &words));
    }
    if !known.contains(&shape) {
        faults.reject(&shape);
        return Ok(calls::refused(403, "not in SECURITY.md"));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let uri = request.uri().clone();
    let body = to_bytes(Body::new(request.into_body()), usize::MAX).await;
    let body = body.map_err(io::Error::other)?;
    let whom = engine.state().find(&name).map(|one| one.name.clone());
    let fault = faults.of(Call {
        shape: shape.clone(),
        whom: whom.unwrap_or_default(),
        query: uri.query().unwrap_or_default().to_owned(),
        api,
    });
    let gone = || Err(io::Error::other("cut"));
    match fault {
        Some(Fault::Refuse(status, words)) => return Ok(calls::refused(status, words)),
        Some(Fault::Cut) => return gone(),
        Some(Fault::Slow(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
        Some(Fault::Hang) => faults.until_the_rule_changes().await,
        _ => {}
    }
    let asked = calls::Asked {
        shape: &shape,
        name: &name,
        uri: &uri,
        body: &body,
    };
    let said = calls::perform(engine, asked, upgrade).await;
    let said = said.unwrap_or_else(|(status, words)| calls::refused(status, &words));
    match fault {
        Some(Fault::Deaf) => gone(),
        Some(Fault::Stall) => Ok(stalled(said, faults.clone()).await),
        Some(Fault::Twist(from, to)) => {
            let (head, body) = said.into_parts();
            let body = to_bytes(body, usize::MAX).await.map_err(io::Error::other)?;
            let text = String::from_utf8_lossy(&body).replace(from, to);
            Ok(Response::from_parts(head, Body::from(text)))
        }
        _ => Ok(said),
    }
}

/// The header, half of the body, and then nothing but the end.
async fn stalled(said: Response<Body>, faults: Arc<Faults>) -> Response<Body> {
    let (head, body) = said.into_parts();
    // What has no end has no half either.
    let half = to_bytes(body, usize::MAX)
        .now_or_never()
        .and_then(Result::ok);
    let half = half.map_or(Bytes::new(), |all| all.slice(..all.len() / 2));
    let rest = async move {
        faults.until_the_rule_changes().await;
        Err(io::Error::other("cut"))
    };
    let body = stream::iter([Ok(half)]).chain(stream::once(rest));
    Response::from_parts(head, Body::from_stream(body))
}
