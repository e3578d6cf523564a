//! The admin API from outside: a controller on a journal in memory, asked over a real unix socket and TCP.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

use serde_json::{Value, json};
use shifter::admin::body::RunRequest;
use shifter::admin::{App, BindError, Bound, Client, ClientError, api};
use shifter::config::{Admin, Config, Secret};
use shifter::control::Controller;
use shifter::control::view::{API_VERSION, View};
use shifter::core::plan::Strategy;
use shifter::core::weight::Weight;
use shifter::exit::Exit;
use shifter::metrics::Metrics;
use shifter::store::shared_state::Health;
use shifter::store::{Journal, SharedState};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The longest wait for anything here; passing it is a fault.
const PATIENCE: Duration = Duration::from_secs(20);

// ---- a shifter without traffic

struct World {
    folder: TempDir,
    board: Arc<SharedState>,
    client: Client,
    socket: PathBuf,
    tcp: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
}

struct Setup {
    token: Option<&'static str>,
    services: &'static [&'static str],
}

const ONE: Setup = Setup {
    token: Some(TOKEN),
    services: &["api"],
};

impl World {
    async fn new(setup: Setup) -> World {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shifter.toml");
        let mut text = String::new();
        for (i, service) in setup.services.iter().enumerate() {
            text.push_str(&format!(
                "[service.{service}]\nhosts = [\"{service}.example.com\"]\nblue = \"127.0.0.1:{}\"\ngreen = \"127.0.0.1:{}\"\n",
                3_001 + 2 * i,
                3_002 + 2 * i
            ));
        }
        std::fs::write(&file, text).unwrap();
        let config = Arc::new(Config::load(&file).unwrap());
        let board = Arc::new(SharedState::new(config.clone()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let journal = Journal::in_memory().unwrap();
        let (controller, handle) = Controller::new(
            board.clone(),
            metrics.clone(),
            journal,
            config,
            Some(file),
            vec![],
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        std::thread::spawn(move || runtime.block_on(controller.run()));
        let socket = folder.path().join("run").join("shifter.sock");
        let admin = admin(&socket, setup.token);
        let bound = Bound::bind(&admin).unwrap();
        let tcp = bound.address().unwrap();
        let (stop, stopped) = oneshot::channel();
        let app = App {
            handle,
            metrics,
            board: board.clone(),
        };
        let served = tokio::spawn(bound.serve(app, async {
            let _ = stopped.await;
        }));
        let client = Client::new(&socket).unwrap();
        World {
            folder,
            board,
            client,
            socket,
            tcp,
            stop: Some(stop),
            served,
        }
    }

    /// Green and blue answer the checks, as the data plane would say.
    fn all_healthy(&self) {
        for service in &self.board.snapshot().services {
            for backend in service.pools.iter().flatten() {
                self.board.set_health(backend, Health::Up);
            }
        }
    }

    /// Waits until the status is as it should be.
    async fn until(&self, what: &str, good: impl Fn(&View) -> bool) -> View {
        let started = Instant::now();
        loop {
            let view = self.client.status().await.unwrap();
            if good(&view) {
                return view;
            }
            assert!(started.elapsed() < PATIENCE, "never: {what}; {view:?}");
            tokio::task::yield_now().await;
        }
    }

    /// A rollout at its first share.
    async fn shifting(&self) -> i64 {
        let id = self
            .client
            .run(None, &RunRequest::default())
            .await
            .unwrap()
            .rollout
            .unwrap();
        self.until("green is known", |view| view.services[0].green.is_some())
            .await;
        self.all_healthy();
        self.until("the first share", |view| {
            view.services[0].weight_percent == 5.0
        })
        .await;
        id
    }

    fn tcp(&self) -> Request {
        Request::new(&format!("localhost:{}", self.tcp.port()))
    }

    async fn ask_tcp(&self, request: &Request) -> Answer {
        let stream = TcpStream::connect(self.tcp).await.unwrap();
        exchange(stream, &request.bytes()).await
    }

    async fn ask_socket(&self, request: &Request) -> Answer {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        exchange(stream, &request.bytes()).await
    }

    /// What must not change when something is refused.
    async fn stand(&self) -> Value {
        let view = self.client.status().await.unwrap();
        let rollouts = self.client.rollouts(None, 100).await.unwrap();
        let of = |service: &shifter::control::view::ServiceView| {
            let rollout = service
                .rollout
                .as_ref()
                .map(|rollout| (rollout.id, rollout.phase.clone(), rollout.step));
            json!([service.name, service.weight_percent, rollout])
        };
        json!([
            view.table_version,
            view.services.iter().map(of).collect::<Vec<_>>(),
            rollouts.len()
        ])
    }
}

fn admin(socket: &Path, token: Option<&str>) -> Admin {
    Admin {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        socket: socket.to_owned(),
        token: token.map(Secret::new),
        hosts: vec![],
    }
}

// ---- HTTP by hand: what a browser, a person with curl or an attacker may send

#[derive(Clone)]
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn new(host: &str) -> Request {
        let headers = vec![("Host".to_owned(), host.into())];
        Request {
            method: "GET".into(),
            path: "/v1/status".into(),
            headers,
            body: vec![],
        }
    }

    fn get(mut self, path: &str) -> Request {
        self.path = path.into();
        self
    }

    fn post(mut self, path: &str, body: &[u8]) -> Request {
        self.method = "POST".into();
        self.path = path.into();
        self.body = body.into();
        self.header("Content-Type", "application/json")
    }

    fn method(mut self, method: &str) -> Request {
        self.method = method.into();
        self
    }

    fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.headers.push((name.into(), value.as_ref().into()));
        self
    }

    fn without(mut self, name: &str) -> Request {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend(
            format!(
                "Connection: close\r\nContent-Length: {}\r\n\r\n",
                self.body.len()
            )
            .bytes(),
        );
        bytes.extend(&self.body);
        bytes
    }
}

async fn exchange(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, bytes: &[u8]) -> Answer {
    // A refusal may come before all of a large body was taken; what matters is the answer.
    let _ = stream.write_all(bytes).await;
    let mut all = vec![];
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all))
        .await
        .expect("an answer");
    if all.is_empty() {
        read.unwrap();
    }
    let split = all
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(all[..split].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_ascii_lowercase(),
        body: all[split + 4..].to_vec(),
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// A refusal must be a problem document that says the same as its status.
    fn problem(&self, what: &str) -> Value {
        assert!((400..600).contains(&self.status), "{what}: {}", self.head);
        assert!(
            self.head.contains("content-type: application/problem+json"),
            "{what}: {}",
            self.head
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{what}");
        for key in ["type", "title", "detail"] {
            assert!(
                !problem[key].as_str().unwrap().is_empty(),
                "{what}: {key} of {problem}"
            );
        }
        problem
    }

    fn kind(&self, what: &str) -> String {
        self.problem(what)["type"]
            .as_str()
            .unwrap()
            .rsplit(':')
            .next()
            .unwrap()
            .to_owned()
    }
}

// ---- what is asked every day

#[tokio::test]
async fn a_rollout_is_steered_by_every_verb() {
    let world = World::new(ONE).await;
    let id = world.shifting().await;
    let client = &world.client;
    assert_eq!(client.verb(None, "pause").await.unwrap().rollout, Some(id));
    world
        .until("paused", |view| {
            view.services[0].rollout.as_ref().unwrap().phase == "paused"
        })
        .await;
    client.verb(Some("api"), "resume").await.unwrap();
    world
        .until("going on", |view| {
            view.services[0].rollout.as_ref().unwrap().phase == "shifting"
        })
        .await;
    client
        .set_weight(None, Weight::from_percent(12.5).unwrap())
        .await
        .unwrap();
    world
        .until("12.5 %", |view| view.services[0].weight_percent == 12.5)
        .await;
    let error = client.verb(None, "approve").await.unwrap_err();
    assert_eq!(
        (error.exit(), error.refused().unwrap().name()),
        (Exit::Usage, "not-now")
    );
    client.verb(None, "promote").await.unwrap();
    world
        .until("the last share", |view| {
            view.services[0].weight_percent == 95.0
        })
        .await;
    client.verb(None, "rollback").await.unwrap();
    let view = world.until("back on blue", |view| {
        view.services[0]
            .rollout
            .as_ref()
            .is_some_and(|rollout| rollout.phase == "finished")
    });
    let view = view.await;
    assert_eq!(view.services[0].weight_percent, 0.0);
    assert_eq!(
        view.services[0]
            .rollout
            .as_ref()
            .unwrap()
            .outcome
            .as_deref(),
        Some("stopped")
    );

    let second = client
        .run(
            Some("api"),
            &RunRequest {
                strategy: Some(Strategy::BlueGreen),
                ..RunRequest::default()
            },
        )
        .await
        .unwrap()
        .rollout
        .unwrap();
    assert!(second > id);
    let busy = client.run(None, &RunRequest::default()).await.unwrap_err();
    assert_eq!(
        (busy.exit(), busy.refused().unwrap().rollout),
        (Exit::Busy, Some(second))
    );
    let third = client
        .run(
            None,
            &RunRequest {
                supersede: true,
                ..RunRequest::default()
            },
        )
        .await
        .unwrap()
        .rollout
        .unwrap();
    assert!(third > second);
    client.verb(None, "abort").await.unwrap();

    let rollouts = client.rollouts(Some("api"), 10).await.unwrap();
    assert_eq!(
        rollouts
            .iter()
            .map(|rollout| rollout.id)
            .collect::<Vec<_>>(),
        [third, second, id]
    );
    assert_eq!(client.rollout(second).await.unwrap().strategy, "blue-green");
    assert_eq!(client.rollouts(None, 1).await.unwrap().len(), 1);
    assert!(
        client
            .rollouts(Some("nothing"), 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        !client.seconds(id).await.unwrap().is_empty(),
        "the margins are recorded at the least"
    );
    let told = client.notes(0, id).await.unwrap();
    assert!(
        told.len() > 3 && told.iter().all(|note| note.rollout == id),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_drill_is_measured_and_reload_is_all_or_nothing() {
    let world = World::new(ONE).await;
    let report = world.client.drill(None).await.unwrap();
    assert_eq!(report.green_requests, 0, "nobody asked anything");
    let file = world.folder.path().join("shifter.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    assert!(
        world
            .client
            .reload()
            .await
            .unwrap()
            .text
            .contains("reloaded")
    );
    std::fs::write(&file, format!("{good}nonsense = 1\n")).unwrap();
    let before = world.stand().await;
    let error = world.client.reload().await.unwrap_err();
    assert_eq!(error.exit(), Exit::Usage);
    assert!(
        error.to_string().contains("nonsense") && error.to_string().contains("shifter.toml:5"),
        "{error}"
    );
    assert_eq!(world.stand().await, before);
}

#[tokio::test]
async fn the_status_is_the_same_on_both_ends() {
    let world = World::new(ONE).await;
    world.shifting().await;
    let raw = world.ask_tcp(&world.tcp()).await.json();
    assert_eq!(raw["api_version"], API_VERSION);
    let read: View = serde_json::from_value(raw.clone()).unwrap();
    assert_eq!(
        serde_json::to_value(&read).unwrap(),
        raw,
        "nothing is lost on the way"
    );
    let service = world
        .ask_tcp(&world.tcp().get("/v1/services/-"))
        .await
        .json();
    assert_eq!(
        (&service["name"], &service["api_version"]),
        (&json!("api"), &json!(API_VERSION))
    );
    assert_eq!(world.client.service(Some("api")).await.unwrap().name, "api");
}

#[tokio::test]
async fn with_several_services_one_must_be_named() {
    let world = World::new(Setup {
        services: &["api", "web"],
        ..ONE
    })
    .await;
    let error = world
        .client
        .run(None, &RunRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (error.exit(), error.refused().unwrap().name()),
        (Exit::Usage, "which-service")
    );
    assert!(error.to_string().contains("`api`, `web`"), "{error}");
    assert_eq!(
        world
            .client
            .service(None)
            .await
            .unwrap_err()
            .refused()
            .unwrap()
            .name(),
        "which-service"
    );
    for odd in ["db", "a/../web", "..", "web?x", "", "%2e%2e"] {
        let error = world.client.verb(Some(odd), "promote").await.unwrap_err();
        assert_eq!(error.exit(), Exit::Usage, "{odd:?}: {error}");
    }
    assert!(
        world
            .client
            .run(Some("web"), &RunRequest::default())
            .await
            .unwrap()
            .text
            .contains("web")
    );
}

#[tokio::test]
async fn machines_are_answered_while_the_process_lives() {
    let world = World::new(ONE).await;
    let get = async |path: &str| world.ask_tcp(&world.tcp().get(path)).await;
    let metrics = get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(
        metrics
            .head
            .contains("content-type: text/plain; version=0.0.4"),
        "{}",
        metrics.head
    );
    assert!(
        String::from_utf8(metrics.body)
            .unwrap()
            .contains("shifter_")
    );
    assert_eq!(
        (get("/healthz").await.status, get("/readyz").await.status),
        (200, 200)
    );
    world.board.drain();
    assert_eq!(get("/healthz").await.status, 200);
    let leaving = get("/readyz").await;
    assert_eq!(
        (leaving.status, leaving.kind("draining")),
        (503, "not-ready".to_owned())
    );
    let head = world
        .ask_tcp(&world.tcp().get("/healthz").method("HEAD"))
        .await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

// ---- what nobody should send

#[tokio::test]
async fn garbage_is_refused_with_a_problem_and_changes_nothing() {
    let world = World::new(ONE).await;
    world.shifting().await;
    world.client.verb(None, "pause").await.unwrap();
    let before = world.stand().await;
    let mut tried = 0;
    let deep = "[".repeat(10_000);
    let bodies: [(&str, &[&[u8]]); 3] = [
        (
            "/v1/services/api/weight",
            &[
                b"",
                b"{}",
                b"null",
                b"[]",
                b"\"\"",
                b"0",
                b"true",
                b"{",
                b"}",
                b"{\"percent\"",
                b"{\"percent\":}",
                b"{\"percent\":null}",
                b"[5]",
                b" [5.0]",
                b"{\"percent\":\"5\"}",
                b"{\"percent\":[5]}",
                b"{\"percent\":{}}",
                b"{\"percent\":true}",
                b"{\"percent\":-1}",
                b"{\"percent\":-0.01}",
                b"{\"percent\":100.01}",
                b"{\"percent\":1e999}",
                b"{\"percent\":1e308}",
                b"{\"percent\":NaN}",
                b"{\"percent\":Infinity}",
                b"{\"percent\":0x5}",
                b"{\"percent\":05}",
                b"{\"percent\":5,}",
                b"{\"percent\":5}x",
                b"{\"percent\":5}{}",
                b"{\"percent\":5,\"percent\":6}",
                b"{\"percent\":5,\"more\":1}",
                b"{\"Percent\":5}",
                b"{\"percent \":5}",
                b"{'percent':5}",
                b"percent=5",
                b"<percent>5</percent>",
                b"\xff\xfe",
                b"\x00",
                b"{\"percent\":5\x00}",
                b"\xef\xbb\xbf{\"percent\":5}",
                b"{\"\xff\":5}",
                b"{\"percent\":18446744073709551616}",
                deep.as_bytes(),
            ],
        ),
        (
            "/v1/services/api/run",
            &[
                b"null",
                b"[]",
                b"{\"strategy\":\"\"}",
                b"{\"strategy\":\"Canary\"}",
                b"{\"strategy\":\"bluegreen\"}",
                b"{\"strategy\":1}",
                b"{\"strategy\":{}}",
                b"{\"supersede\":1}",
                b"{\"supersede\":\"true\"}",
                b"{\"supersede\":null}",
                b"{\"force\":true}",
                b"{\"strategy\":\"canary\",\"strategy\":\"canary\"}",
            ],
        ),
        (
            "/v1/services/api/promote",
            &[
                b"null",
                b"[]",
                b"[1]",
                b"{\"x\":1}",
                b"x",
                b"{\"percent\":5}",
                b"\"promote\"",
            ],
        ),
    ];
    for (path, bodies) in bodies {
        for body in bodies {
            let answer = world
                .ask_socket(&Request::new("localhost").post(path, body))
                .await;
            let what = format!(
                "{path} {}",
                String::from_utf8_lossy(&body[..body.len().min(60)])
            );
            assert!(
                matches!(answer.status, 400 | 422),
                "{what}: {}",
                answer.status
            );
            assert_eq!(answer.kind(&what), "bad-body", "{what}");
            tried += 1;
        }
    }
    assert!(tried >= 50, "{tried}");
    assert_eq!(world.stand().await, before);
    println!("{tried} bodies refused");
}

#[tokio::test]
async fn every_other_mistake_is_a_problem_too() {
    let world = World::new(ONE).await;
    world.shifting().await;
    let before = world.stand().await;
    let here = || Request::new("localhost");
    let promote = "/v1/services/api/promote";
    let large = [b"{\"percent\":5".as_slice(), &b" ".repeat(70_000), b"}"].concat();
    let cases = [
        (here().get("/"), 404, "no-such-route"),
        (here().get("/v1/nothing"), 404, "no-such-route"),
        (here().get("/v1/status/"), 404, "no-such-route"),
        (here().get("//v1//status"), 404, "no-such-route"),
        (here().get(promote), 405, "wrong-method"),
        (
            here().get("/v1/status").method("DELETE"),
            405,
            "wrong-method",
        ),
        (here().get(promote).method("PUT"), 405, "wrong-method"),
        (here().get(promote).method("OPTIONS"), 405, "wrong-method"),
        (here().get("/v1/status").method("BREW"), 405, "wrong-method"),
        (
            here().post("/v1/services/db/promote", b""),
            404,
            "no-such-service",
        ),
        (
            here().post("/v1/services/%ff/promote", b""),
            400,
            "bad-request",
        ),
        (
            here().post("/v1/services/a%00b/promote", b""),
            404,
            "no-such-service",
        ),
        (here().get("/v1/services/db"), 404, "no-such-service"),
        (here().get("/v1/rollouts/999"), 404, "no-such-rollout"),
        (here().get("/v1/rollouts/-1"), 404, "no-such-rollout"),
        (
            here().get("/v1/rollouts/999/seconds"),
            404,
            "no-such-rollout",
        ),
        (here().get("/v1/rollouts/x"), 400, "bad-request"),
        (
            here().get("/v1/rollouts/99999999999999999999"),
            400,
            "bad-request",
        ),
        (here().get("/v1/rollouts?limit=-1"), 400, "bad-request"),
        (here().get("/v1/rollouts?limit=x"), 400, "bad-request"),
        (here().get("/v1/rollouts?lmit=5"), 400, "bad-request"),
        (
            here().get("/v1/rollouts?limit=5&limit=6"),
            400,
            "bad-request",
        ),
        (
            here().get("/v1/rollouts/1/notes?after=x"),
            400,
            "bad-request",
        ),
        (here().get("/v1/events?after=x"), 400, "bad-request"),
        (
            here().get("/v1/events").header("Last-Event-ID", "x"),
            400,
            "bad-request",
        ),
        (
            here().get("/v1/events").header("Last-Event-ID", b"\xff"),
            400,
            "bad-request",
        ),
        (
            here().post(promote, b"{}").without("content-type"),
            415,
            "bad-body",
        ),
        (
            here()
                .post(promote, b"{}")
                .without("content-type")
                .header("Content-Type", "text/plain"),
            415,
            "bad-body",
        ),
        (
            here()
                .post(promote, b"{}")
                .header("Content-Type", "text/plain"),
            415,
            "bad-body",
        ),
        (
            here().post("/v1/services/api/weight", &large),
            413,
            "bad-body",
        ),
    ];
    for (request, status, kind) in cases {
        let what = format!("{} {}", request.method, request.path);
        let answer = world.ask_socket(&request).await;
        assert_eq!(
            (answer.status, answer.kind(&what).as_str()),
            (status, kind),
            "{what}"
        );
        if status == 405 {
            assert!(answer.head.contains("\nallow: "), "{what}: {}", answer.head);
        }
    }
    assert_eq!(world.stand().await, before);
}

#[tokio::test]
async fn what_is_no_http_ends_the_connection_and_nothing_else() {
    let world = World::new(ONE).await;
    let floods: [&[u8]; 6] = [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for bytes in floods {
        let mut stream = TcpStream::connect(world.tcp).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = vec![];
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("an end");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{bytes:?}");
    }
    world.client.status().await.unwrap();
}

// ---- the document

/// Every `$ref` in a document leads somewhere.
fn references(value: &serde_json::Value, document: &serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            if let Some(target) = fields.get("$ref").and_then(|target| target.as_str()) {
                let pointer = target.strip_prefix('#').expect("it is of this document");
                assert!(
                    document.pointer(pointer).is_some(),
                    "{target} leads nowhere"
                );
            }
            fields
                .values()
                .for_each(|field| references(field, document));
        }
        serde_json::Value::Array(all) => all.iter().for_each(|one| references(one, document)),
        _ => {}
    }
}

fn told(value: &serde_json::Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}

/// What OpenAPI 3.1 requires of an operation (4.8.10 to 4.8.17).
fn operation(path: &str, operation: &serde_json::Value) {
    let responses = operation["responses"].as_object().unwrap();
    assert!(!responses.is_empty(), "{path}");
    for (code, response) in responses {
        let class = code.as_bytes();
        let known = class.len() == 3
            && (b'1'..=b'5').contains(&class[0])
            && (class[1..].iter().all(u8::is_ascii_digit) || code.ends_with("XX"));
        assert!(known, "{path}: {code}");
        assert!(
            told(&response["description"]),
            "{path} {code} has no description"
        );
        for key in response.as_object().unwrap().keys() {
            let keys = ["description", "headers", "content", "links"];
            assert!(keys.contains(&key.as_str()), "{path} {code}: {key}");
        }
    }
    if !operation["requestBody"].is_null() {
        assert!(operation["requestBody"]["content"].is_object(), "{path}");
    }
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let mut in_path = vec![];
    for parameter in parameters {
        let name = parameter["name"].as_str().unwrap();
        let place = parameter["in"].as_str().unwrap();
        assert!(
            ["path", "query", "header", "cookie"].contains(&place),
            "{path}"
        );
        let typed = parameter["schema"].is_object() || parameter["content"].is_object();
        assert!(typed, "{path}: {name} has no type");
        if place == "path" {
            assert_eq!(parameter["required"], true, "{path}: {name}");
            in_path.push(format!("{{{name}}}"));
        }
    }
    let named = path.split('/').filter(|part| part.starts_with('{'));
    assert!(
        named.eq(in_path.iter().map(String::as_str)),
        "{path}: {in_path:?}"
    );
}

/// Clients are generated from it. Beyond CI: `openapi-spec-validator` and `openapi-python-client` take it, too.
#[test]
fn the_document_is_valid_openapi() {
    let document = serde_json::to_value(api::openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(told(&document["info"]["title"]) && told(&document["info"]["version"]));
    references(&document, &document);
    let mut ids = std::collections::BTreeSet::new();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with('/'), "{path}");
        for (method, described) in item.as_object().unwrap() {
            assert!(
                ["get", "post"].contains(&method.as_str()),
                "{path}: {method}"
            );
            operation(path, described);
            ids.insert(described["operationId"].as_str().unwrap().to_owned());
            operations += 1;
        }
    }
    assert_eq!(ids.len(), operations, "each has a name of its own");
}

// ---- who may

/// Every route that changes something, from the document itself.
fn mutating_routes() -> Vec<String> {
    let document = serde_json::to_value(api::openapi()).unwrap();
    let mut routes = vec![];
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            match method.as_str() {
                "get" => {}
                "post" => routes.push(path.replace("{service}", "api")),
                other => panic!("{other} {path}: a method that this test does not know"),
            }
        }
    }
    routes
}

#[tokio::test]
async fn over_tcp_every_change_needs_the_token_our_host_and_our_origin() {
    let world = World::new(ONE).await;
    world.shifting().await;
    world.client.verb(None, "pause").await.unwrap();
    let before = world.stand().await;
    let host = format!("localhost:{}", world.tcp.port());
    let bearer = format!("Bearer {TOKEN}");
    let routes = mutating_routes();
    assert_eq!(routes.len(), 10, "{routes:?}");
    let mut tried = 0;
    for route in &routes {
        let body: &[u8] = if route.ends_with("/weight") {
            b"{\"percent\":50}"
        } else {
            b"{}"
        };
        let good = Request::new(&host)
            .post(route, body)
            .header("Authorization", &bearer);
        let bare = good.clone().without("authorization");
        let with = |request: &Request, value: &str| request.clone().header("Authorization", value);
        let of = |value: &str| good.clone().without("host").header("Host", value);
        let from = |value: &str| good.clone().header("Origin", value);
        let port = world.tcp.port();
        let refused = [
            (bare.clone(), 401, "token"),
            (with(&bare, "Bearer"), 401, "token"),
            (with(&bare, "Bearer "), 401, "token"),
            (with(&bare, "Bearer wrong"), 401, "token"),
            (with(&bare, &bearer[..bearer.len() - 1]), 401, "token"),
            (with(&bare, &format!("{bearer}0")), 401, "token"),
            (with(&bare, &bearer.to_uppercase()), 401, "token"),
            (with(&bare, &format!("Basic {TOKEN}")), 401, "token"),
            (with(&bare, TOKEN), 401, "token"),
            (
                good.clone().header("Authorization", "Bearer wrong"),
                401,
                "bad-request",
            ),
            (of("evil.example"), 403, "host"),
            (of(&format!("evil.example:{port}")), 403, "host"),
            (of("localhost.evil.example"), 403, "host"),
            (of(&format!("127.0.0.1.evil.example:{port}")), 403, "host"),
            (of("10.0.0.1"), 403, "host"),
            (of(""), 403, "host"),
            (good.clone().without("host"), 400, "bad-request"),
            (
                good.clone().header("Host", "evil.example"),
                400,
                "bad-request",
            ),
            (
                good.clone()
                    .post(&format!("http://evil.example{route}"), body),
                403,
                "host",
            ),
            (from("http://evil.example"), 403, "origin"),
            (from("null"), 403, "origin"),
            (from(""), 403, "origin"),
            (from("http://localhost:1"), 403, "origin"),
            (from("http://localhost"), 403, "origin"),
            (from(&format!("http://{host}.evil.example")), 403, "origin"),
            (from(&format!("file://{host}")), 403, "origin"),
        ];
        for (at, (request, status, kind)) in refused.into_iter().enumerate() {
            let answer = world.ask_tcp(&request).await;
            let what = format!("{route} case {at}");
            assert_eq!(
                (answer.status, answer.kind(&what).as_str()),
                (status, kind),
                "{what}"
            );
            assert_eq!(
                status == 401,
                answer.head.contains("www-authenticate: bearer"),
                "{what}"
            );
            tried += 1;
        }
    }
    assert_eq!(world.stand().await, before);
    println!(
        "{tried} forged requests over {} routes refused",
        routes.len()
    );

    let weight = world
        .tcp()
        .post("/v1/services/api/weight", b"{\"percent\":50}")
        .header("Authorization", &bearer);
    let origin = weight.clone().header("Origin", format!("http://{host}"));
    assert_eq!(
        (
            world.ask_tcp(&weight).await.status,
            world.ask_tcp(&origin).await.status
        ),
        (200, 200)
    );
    world
        .until("50 %", |view| view.services[0].weight_percent == 50.0)
        .await;
}

#[tokio::test]
async fn without_a_token_tcp_is_for_reading_only() {
    let world = World::new(Setup { token: None, ..ONE }).await;
    let before = world.stand().await;
    for route in mutating_routes() {
        for token in [None, Some(""), Some("Bearer "), Some("Bearer null")] {
            let mut request = world.tcp().post(&route, b"{}");
            if let Some(token) = token {
                request = request.header("Authorization", token);
            }
            let answer = world.ask_tcp(&request).await;
            assert_eq!(
                (answer.status, answer.kind(&route).as_str()),
                (403, "read-only"),
                "{route} {token:?}"
            );
        }
    }
    assert_eq!(world.stand().await, before);
    assert_eq!(world.ask_tcp(&world.tcp()).await.status, 200);
}

#[tokio::test]
async fn reading_over_tcp_is_for_our_names_only() {
    let world = World::new(ONE).await;
    for (host, status) in [
        ("127.0.0.1", 200),
        ("[::1]:1", 200),
        ("LOCALHOST", 200),
        ("evil.example", 403),
        ("192.168.0.1", 403),
    ] {
        for path in ["/v1/status", "/metrics", "/v1/rollouts", "/openapi.json"] {
            let answer = world.ask_tcp(&Request::new(host).get(path)).await;
            assert_eq!(answer.status, status, "{host} {path}");
        }
    }
    let page = world.tcp().header("Origin", "http://evil.example");
    assert_eq!(world.ask_tcp(&page).await.kind("a page"), "origin");
}

// ---- what happens, as it happens

#[tokio::test]
async fn events_are_resumed_without_a_gap_or_a_repeat() {
    let world = World::new(ONE).await;
    let mut live = world.client.events(None, None).await.unwrap();
    let id = world.shifting().await;
    let mut told = vec![];
    while told
        .last()
        .is_none_or(|note: &shifter::store::journal::Note| note.kind != "weight")
    {
        told.push(
            tokio::time::timeout(PATIENCE, live.next())
                .await
                .expect("a note")
                .unwrap()
                .unwrap(),
        );
    }
    let known = world.client.notes(0, id).await.unwrap();
    let first = told[0].seq;
    drop(live);
    world.client.verb(None, "pause").await.unwrap();
    world.client.verb(None, "resume").await.unwrap();
    let mut again = world.client.events(Some(first), Some(id)).await.unwrap();
    world.client.verb(None, "abort").await.unwrap();
    let mut resumed = vec![];
    while resumed
        .last()
        .is_none_or(|note: &shifter::store::journal::Note| !note.text.contains("aborted"))
    {
        resumed.push(
            tokio::time::timeout(PATIENCE, again.next())
                .await
                .expect("a note")
                .unwrap()
                .unwrap(),
        );
    }
    let all: Vec<i64> = world
        .client
        .notes(first, id)
        .await
        .unwrap()
        .iter()
        .map(|note| note.seq)
        .collect();
    let seen: Vec<i64> = resumed.iter().map(|note| note.seq).collect();
    assert_eq!(
        seen,
        all[..seen.len()],
        "from the journal and live, each once"
    );
    assert!(
        known
            .iter()
            .filter(|note| note.seq > first)
            .all(|note| seen.contains(&note.seq))
    );
}

#[tokio::test]
async fn events_carry_their_number_and_end_with_the_process() {
    let mut world = World::new(ONE).await;
    world.shifting().await;
    let mut stream = UnixStream::connect(&world.socket).await.unwrap();
    let request = Request::new("localhost")
        .get("/v1/events")
        .header("Last-Event-ID", "1");
    stream.write_all(&request.bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("id: 2") && !text.contains("id:2") {
        let mut buffer = [0; 4_096];
        let n = tokio::time::timeout(PATIENCE, stream.read(&mut buffer))
            .await
            .expect("events")
            .unwrap();
        assert!(n > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    assert!(!text.contains("\"seq\":1,"), "{text}");
    world.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut vec![]))
        .await
        .expect("an end")
        .unwrap();
    tokio::time::timeout(PATIENCE, &mut world.served)
        .await
        .expect("the server ends")
        .unwrap();
    assert!(!world.socket.exists(), "the socket goes with its server");
    let error = world.client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}

// ---- the doors

#[tokio::test]
async fn the_socket_is_private_and_is_taken_over_only_from_the_dead() {
    let world = World::new(ONE).await;
    let mode = std::fs::metadata(&world.socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let error = Bound::bind(&admin(&world.socket, None)).unwrap_err();
    assert!(matches!(error, BindError::Answering { .. }), "{error}");
    world.client.status().await.unwrap();

    let stale = world.folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(stale.exists());
    drop(Bound::bind(&admin(&stale, None)).unwrap());
    assert!(!stale.exists());

    let file = world.folder.path().join("shifter.toml");
    let before = std::fs::read(&file).unwrap();
    let error = Bound::bind(&admin(&file, None)).unwrap_err();
    assert!(matches!(error, BindError::NotASocket { .. }), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let error = Bound::bind(&admin(&file.join("x.sock"), None)).unwrap_err();
    assert!(error.to_string().contains("x.sock"), "{error}");
    let long = world.folder.path().join("x".repeat(200));
    assert!(Bound::bind(&admin(&long, None)).is_err());
    let left: Vec<_> = std::fs::read_dir(world.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().starts_with(".s")),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_taken_port_is_named_and_leaves_no_socket_behind() {
    let world = World::new(ONE).await;
    let socket = world.folder.path().join("other.sock");
    let taken = Admin {
        listen: Some(world.tcp),
        ..admin(&socket, None)
    };
    let error = Bound::bind(&taken).unwrap_err().to_string();
    assert!(
        error.contains(&world.tcp.to_string()) && error.contains("[admin] listen"),
        "{error}"
    );
    assert!(!socket.exists());
}

#[tokio::test]
async fn silent_connections_do_not_keep_others_out() {
    let world = World::new(ONE).await;
    let mut silent = vec![];
    for _ in 0..300 {
        silent.push(TcpStream::connect(world.tcp).await.unwrap());
    }
    // TCP is full; the socket has places of its own.
    world.client.status().await.unwrap();
    drop(silent);
    assert_eq!(world.ask_tcp(&world.tcp()).await.status, 200);
}
