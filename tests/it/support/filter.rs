//! What stands before an engine: it lets calls through, answers them itself, or holds them up.
//!
//! Every call of ours is one connection, so that a call can be told by the first line of each.

use crate::support::docker::Engine;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The engine answers.
    Pass,
    /// This status, and this message as Docker would write it.
    Answer(u16, &'static str),
    /// Nobody answers.
    Hang,
}

type Rule = Arc<Mutex<Box<dyn Fn(&str) -> Fate + Send>>>;

/// A socket before an engine.
pub struct Filter {
    socket: PathBuf,
    rule: Rule,
    calls: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Filter {
    /// Lets through what `rule` says, of calls like `GET /containers/{}/json`.
    pub fn before(engine: &Engine, rule: impl Fn(&str) -> Fate + Send + 'static) -> Filter {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let filter = Filter {
            socket,
            rule: Arc::new(Mutex::new(Box::new(rule))),
            calls: Arc::default(),
            _folder: folder,
        };
        let (rule, calls, behind) = (filter.rule.clone(), filter.calls.clone(), engine.socket());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, behind.clone(), rule.clone(), calls.clone()));
            }
        });
        filter
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Another rule from now on.
    pub fn now(&self, rule: impl Fn(&str) -> Fate + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// Every call so far, each once.
    pub fn calls(&self) -> Vec<String> {
        let mut calls = self.calls.lock().unwrap().clone();
        calls.sort();
        calls.dedup();
        calls
    }
}

async fn serve(
    client: UnixStream,
    behind: PathBuf,
    rule: Rule,
    calls: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut client = BufReader::new(client);
    let mut head = String::new();
    // Some only connect, to see whether somebody is there.
    if client.read_line(&mut head).await.ok()? == 0 {
        return None;
    }
    let call = shape(&head);
    calls.lock().unwrap().push(call.clone());
    let fate = rule.lock().unwrap()(&call);
    match fate {
        Fate::Pass => {
            let mut engine = UnixStream::connect(behind).await.ok()?;
            engine.write_all(head.as_bytes()).await.ok()?;
            tokio::io::copy_bidirectional(&mut client, &mut engine)
                .await
                .ok()?;
        }
        Fate::Answer(status, message) => {
            let body = format!("{{\"message\":\"{message}\"}}");
            let text = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            // All of the question first: who is answered early may see a broken pipe.
            let mut rest = [0; 65_536];
            let read = client.read(&mut rest);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(20), read).await;
            client.write_all(text.as_bytes()).await.ok()?;
            client.shutdown().await.ok()?;
        }
        Fate::Hang => std::future::pending().await,
    }
    Some(())
}

/// The calls that SECURITY.md names, in its table: of a level, and of those below it.
pub fn named(level: &str) -> Vec<String> {
    let text = std::fs::read_to_string("SECURITY.md").unwrap();
    let mut calls: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter(|(_, rest)| rest.starts_with("discover") || rest.starts_with(level))
        .map(|(call, _)| call.to_owned())
        .collect();
    calls.sort();
    calls
}

/// A path without the version of the API that it begins with, and that version's `N` of `1.N`.
pub fn versioned(path: &str) -> (Option<u32>, &str) {
    let split = path.strip_prefix("/v1.").and_then(|rest| {
        let at = rest.find('/')?;
        Some((rest[..at].parse().ok()?, &rest[at..]))
    });
    split.map_or((None, path), |(api, path)| (Some(api), path))
}

/// A call without its names, and without the version of the API: `POST /containers/{}/start`.
pub fn shape(line: &str) -> String {
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let (_, path) = versioned(path.split('?').next().unwrap_or_default());
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let path = match parts.as_slice() {
        ["images", .., "json"] => "images/{}/json".to_owned(),
        [kind, "json"] => format!("{kind}/json"),
        [kind, "create"] => format!("{kind}/create"),
        [kind, _, rest @ ..] => [&[*kind, "{}"], rest].concat().join("/"),
        parts => parts.join("/"),
    };
    format!("{method} /{path}")
}
