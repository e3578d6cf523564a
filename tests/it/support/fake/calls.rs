//! The calls that are answered: each from its JSON to what the engine does, and back.

use crate::support::fake::container::Container;
use crate::support::fake::engine::{Engine, Refusal, State};
use crate::support::fake::{events, image};
use axum::body::Body;
use axum::extract::Query;
use bytes::Bytes;
use futures::stream;
use http::{Response, Uri};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::broadcast::error::RecvError;

type Answer = Result<Response<Body>, Refusal>;

/// A stream of standard error in what the engine sends, as docs.docker.com says under "Attach to a container".
const STDERR: u8 = 2;

/// A call as it came.
pub struct Asked<'a> {
    pub shape: &'a str,
    /// The container, image or network in its path.
    pub name: &'a str,
    pub uri: &'a Uri,
    pub body: &'a Bytes,
}

impl Asked<'_> {
    fn json(&self) -> Value {
        serde_json::from_slice(self.body).unwrap_or_default()
    }

    fn query(&self, name: &str) -> String {
        let query = Query::<HashMap<String, String>>::try_from_uri(self.uri).unwrap();
        query.get(name).cloned().unwrap_or_default()
    }

    fn filters(&self) -> Value {
        serde_json::from_str(&self.query("filters")).unwrap_or_default()
    }
}

/// Does what is asked.
pub async fn perform(engine: &Arc<Engine>, asked: Asked<'_>, upgrade: OnUpgrade) -> Answer {
    let name = asked.name;
    match asked.shape {
        "GET /_ping" => Ok(Response::new(Body::from("OK"))),
        "GET /version" => {
            let (least, newest) = engine.state().apis;
            Ok(json(
                200,
                &json!({ "Version": "1.2.3", "ApiVersion": format!("1.{newest}"), "MinAPIVersion": format!("1.{least}") }),
            ))
        }
        "GET /info" => Ok(json(200, &info())),
        "GET /events" => Ok(tell(engine, asked.filters())),
        "GET /containers/json" => Ok(json(200, &list(&engine.state(), &asked))),
        "GET /containers/{}/json" => Ok(json(200, &engine.state().find(name)?.inspect())),
        "GET /containers/{}/stats" => {
            // A small app that does nothing: what is taken is judged in `core::usage`, and on a real engine in `faults`.
            engine.state().find(name)?;
            Ok(json(
                200,
                &json!({ "memory_stats": { "usage": 1 << 20 }, "cpu_stats": { "cpu_usage": { "total_usage": 0 } } }),
            ))
        }
        "GET /containers/{}/logs" => log(engine, name, &asked.query("tail")),
        "GET /images/{}/json" => look(&engine.state(), name),
        "POST /images/create" => fetch(engine, &asked),
        "POST /containers/create" => {
            let id = engine.create(&asked.query("name"), &asked.json())?;
            Ok(json(201, &json!({ "Id": id, "Warnings": [] })))
        }
        "POST /networks/{}/connect" => {
            let body = asked.json();
            let container = body["Container"].as_str().unwrap_or_default();
            let aliases = &body["EndpointConfig"]["Aliases"];
            let aliases = serde_json::from_value(aliases.clone()).unwrap_or_default();
            engine
                .connect(name, container, aliases)
                .map(|()| empty(200))
        }
        "POST /networks/{}/disconnect" => {
            let body = asked.json();
            let container = body["Container"].as_str().unwrap_or_default();
            engine.disconnect(name, container).map(|()| empty(200))
        }
        "POST /containers/{}/start" => engine.start(name).map(done),
        "POST /containers/{}/stop" => {
            let grace = asked.query("t").parse().unwrap_or(10);
            engine
                .stop(name, Duration::from_secs(grace))
                .await
                .map(done)
        }
        "POST /containers/{}/update" => {
            engine
                .state()
                .find(name)?
                .set_restart_policy(&asked.json()["RestartPolicy"]);
            Ok(json(200, &json!({ "Warnings": null })))
        }
        "POST /containers/{}/rename" => engine
            .rename(name, &asked.query("name"))
            .map(|()| empty(204)),
        "POST /containers/{}/wait" => wait(engine, name).await,
        "GET /networks/{}" => engine.network(name).map(|seen| json(200, &seen)),
        "GET /containers/{}/changes" => {
            let all = engine.state().find(name)?.files.clone();
            let one = |path: &String| json!({ "Path": path, "Kind": 1 });
            Ok(json(200, &all.iter().map(one).collect()))
        }
        "DELETE /images/{}" => forget(&mut engine.state(), name),
        "DELETE /containers/{}" => engine.remove(name).map(|()| empty(204)),
        "POST /containers/{}/exec" => prepare(engine, name, &asked.json()),
        "POST /exec/{}/start" => run(engine, name, upgrade).await,
        "GET /exec/{}/json" => {
            let code = engine.state().execs.get(name).map(|exec| exec.2);
            let code = code.ok_or_else(|| (404, format!("No such exec instance: {name}")))?;
            Ok(json(
                200,
                &json!({ "ID": name, "Running": false, "ExitCode": code }),
            ))
        }
        other => panic!("{other} is in SECURITY.md: this engine must have it too"),
    }
}

/// Removes an image that no container uses.
fn forget(state: &mut State, name: &str) -> Answer {
    let missing = || (404, format!("No such image: {name}"));
    let image = image::find(name).ok_or_else(missing)?;
    if state.containers.iter().any(|one| one.image() == image.id()) {
        let text = format!(
            "conflict: unable to delete {name} (must be forced) - image is being used by stopped container"
        );
        return Err((409, text));
    }
    // Only what was fetched can go: the others belong to the tests.
    let gone = state
        .fetched
        .remove(image.name)
        .then(|| json(200, &json!([{ "Deleted": image.id() }])));
    gone.ok_or_else(missing)
}

pub fn json(status: u16, body: &Value) -> Response<Body> {
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    response.body(Body::from(body.to_string())).unwrap()
}

/// Docker's way to say no.
pub fn refused(status: u16, words: &str) -> Response<Body> {
    json(status, &json!({ "message": words }))
}

fn empty(status: u16) -> Response<Body> {
    Response::builder()
        .status(status)
        .body(Body::empty())
        .unwrap()
}

/// 304: it was so already.
fn done(changed: bool) -> Response<Body> {
    empty(if changed { 204 } else { 304 })
}

/// The engine runs here, with this host's memory.
fn info() -> Value {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kilobytes: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    json!({ "MemTotal": kilobytes * 1024, "LiveRestoreEnabled": true, "OSType": "linux", "Architecture": "x86_64", "DockerRootDir": "/" })
}

fn tell(engine: &Engine, filters: Value) -> Response<Body> {
    let listener = engine.events.listen();
    let lines = stream::unfold((listener, filters), |(mut listener, filters)| async {
        loop {
            match listener.recv().await {
                Ok(event) if events::wanted(&event, &filters) => {
                    let line = Ok::<_, io::Error>(Bytes::from(format!("{event}\n")));
                    return Some((line, (listener, filters)));
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Response::new(Body::from_stream(lines))
}

fn list(state: &State, asked: &Asked) -> Value {
    let all = asked.query("all") == "true";
    let labels: Vec<String> =
        serde_json::from_value(asked.filters()["label"].clone()).unwrap_or_default();
    let networks: Vec<String> =
        serde_json::from_value(asked.filters()["network"].clone()).unwrap_or_default();
    let on = |one: &Container| {
        networks.is_empty() || networks.iter().any(|name| one.networks.contains_key(name))
    };
    let known = state.listed.as_ref().unwrap_or(&state.containers);
    let meant = known
        .iter()
        .rev()
        .filter(|one| (all || one.runs()) && one.labelled(&labels) && on(one));
    meant.map(Container::summary).collect()
}

fn look(state: &State, name: &str) -> Answer {
    let found =
        image::find(name).filter(|image| !image.remote || state.fetched.contains(image.name));
    let image = found.ok_or_else(|| (404, format!("No such image: {name}")))?;
    let (tags, size) = (json!([image.name]), 1 << 20);
    let mut seen = json!({ "Id": image.id(), "RepoTags": tags, "Config": image.config(), "Size": size, "Os": "linux" });
    seen["Architecture"] = json!(image.architecture);
    Ok(json(200, &seen))
}

fn fetch(engine: &Engine, asked: &Asked) -> Answer {
    let (from, tag) = (asked.query("fromImage"), asked.query("tag"));
    let reference = format!("{from}:{tag}");
    if from.contains("registry.invalid/") {
        return Err((
            500,
            "Get \"https://registry.invalid/v2/\": dial tcp: lookup registry.invalid: no such host"
                .to_owned(),
        ));
    }
    let missing = || {
        (
            404,
            format!("manifest for {reference} not found: manifest unknown: manifest unknown"),
        )
    };
    let image = image::find(&reference).ok_or_else(missing)?;
    let mut lines = vec![
        json!({ "status": format!("Pulling from {from}"), "id": tag }),
        json!({ "status": "Downloading", "progressDetail": { "current": 512, "total": 1024 }, "id": "0123456789ab" }),
    ];
    if image.name == "app:damaged" {
        let why = "filesystem layer verification failed";
        lines.push(json!({ "errorDetail": { "message": why }, "error": why }));
    } else {
        engine.state().fetched.insert(image.name);
        lines.push(json!({ "status": "Download complete", "id": "0123456789ab" }));
    }
    let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    Ok(Response::new(Body::from(text)))
}

/// The frame that says which stream these bytes are of, and how many.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![STDERR, 0, 0, 0];
    frame.extend((bytes.len() as u32).to_be_bytes());
    frame.extend(bytes);
    frame
}

fn log(engine: &Engine, name: &str, tail: &str) -> Answer {
    let id = engine.state().find(name)?.id.clone();
    let text = std::fs::read_to_string(engine.log_of(&id)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines
        .len()
        .saturating_sub(tail.parse().unwrap_or(usize::MAX));
    let frames = lines[skipped..]
        .iter()
        .flat_map(|line| framed(format!("{line}\n").as_bytes()));
    Ok(Response::new(Body::from(frames.collect::<Vec<u8>>())))
}

/// Its exit code, when it has ended.
async fn wait(engine: &Engine, name: &str) -> Answer {
    let id = engine.state().find(name)?.id.clone();
    engine.ended(&id).await;
    let code = engine.state().find(&id)?.exit_code;
    Ok(json(200, &json!({ "StatusCode": code })))
}

fn prepare(engine: &Engine, name: &str, config: &Value) -> Answer {
    let mut state = engine.state();
    let found = state.find(name)?;
    if !found.runs() {
        return Err((409, format!("Container {name} is not running")));
    }
    let (container, id) = (found.id.clone(), format!("{:064x}", rand::random::<u128>()));
    let words = serde_json::from_value(config["Cmd"].clone()).unwrap_or_default();
    state.execs.insert(id.clone(), (container, words, 0));
    Ok(json(201, &json!({ "Id": id })))
}

async fn run(engine: &Arc<Engine>, exec: &str, upgrade: OnUpgrade) -> Answer {
    let (container, words) = {
        let mut state = engine.state();
        let missing = || (404, format!("No such exec instance: {exec}"));
        let (container, words, _) = state.execs.get(exec).cloned().ok_or_else(missing)?;
        (state.find(&container)?.clone(), words)
    };
    let (output, code) = engine.exec(&container, &words).await;
    if let Some(exec) = engine.state().execs.get_mut(exec) {
        exec.2 = code;
    }
    let lingers = engine.state().lingers;
    tokio::spawn(async move {
        if let Ok(stream) = upgrade.await {
            let mut stream = TokioIo::new(stream);
            let _ = stream.write_all(&framed(&output)).await;
            if lingers {
                return std::future::pending().await;
            }
            let _ = stream.shutdown().await;
        }
    });
    let response = Response::builder()
        .status(101)
        .header("connection", "Upgrade");
    Ok(response
        .header("upgrade", "tcp")
        .body(Body::empty())
        .unwrap())
}
