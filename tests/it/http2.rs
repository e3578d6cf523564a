//! HTTP/2 without TLS, down and up, and gRPC: what is routed, what is counted, what users see.

use crate::support::backend::{self, answer};
use crate::support::client::Client;
use crate::support::frames::{Unprocessed, answers_only};
use crate::support::h2::{Act, Backend, User, get, post, whole};
use crate::support::nginx::Nginx;
use crate::support::rig::{Judged, RARE_CHECKS, Rig, pools};
use crate::support::{PATIENCE, eventually};
use bytes::Bytes;
use http::Request;
use shifter::core::table::Color::{Blue, Green};
use shifter::store::shared_state::Health;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const H2C: &str = "protocol = \"h2c\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_http1_gets_what_an_http1_user_would_have_sent() {
    let app = backend::Backend::named("app").await;
    let rig = Rig::start(&format!(
        "[service.app]\nhosts = [\"www.example.com\"]\nblue = \"{}\"\n{RARE_CHECKS}",
        app.addr
    ))
    .await;
    let user = User::connect(rig.addr).await;
    let request = Request::get("http://www.example.com/path?q=1")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-forwarded-for", "6.6.6.6");
    let got = user.ask(request.body(()).unwrap()).await.unwrap();
    assert_eq!((got.status, got.body.as_str()), (200, "app"));
    assert!(!got.header("x-request-id").is_empty());
    let head = app.heads().remove(0);
    assert!(head.starts_with("GET /path?q=1 HTTP/1.1\r\n"), "{head}");
    let lines: Vec<String> = head.lines().map(str::to_ascii_lowercase).collect();
    for line in [
        "host: www.example.com",
        "cookie: a=1; b=2",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: www.example.com",
        "x-forwarded-proto: http",
    ] {
        assert_eq!(
            lines.iter().filter(|l| *l == line).count(),
            1,
            "{line}: {head}"
        );
    }
    let other = user.ask(get("http://example.org/")).await.unwrap();
    assert_eq!(other.status, 404);
    let posted = user
        .send(post("http://www.example.com/"), "body")
        .await
        .unwrap();
    assert_eq!(posted.status, 200);
    rig.judged_to_be(Blue, 2, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_a_connection_is_routed_by_itself() {
    let (blue, green) = (
        backend::Backend::named("blue").await,
        backend::Backend::named("green").await,
    );
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    rig.weigh(50);
    let user = Arc::new(User::connect(rig.addr).await);
    let mut asked = JoinSet::new();
    for _ in 0..400 {
        let user = user.clone();
        asked.spawn(async move { user.ask(get("http://app/")).await.unwrap().body });
    }
    let bodies = timeout(PATIENCE, asked.join_all()).await.unwrap();
    let green = bodies.iter().filter(|body| *body == "green").count();
    assert!((195..=205).contains(&green), "{green} of 400");
    rig.judged_to_be(Green, green as u64, 0).await;
    rig.idle().await;
}

/// One connection has many requests: each has its own time.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_has_its_time_and_not_more() {
    let slow = backend::Backend::start(|head| {
        if head.contains("/parts") {
            // The header comes in time; the body, told to be longer, takes longer.
            backend::Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\npart".to_owned())
        } else if head.contains("/quick") {
            backend::Act::ok("quick")
        } else {
            backend::Act::Hang
        }
    })
    .await;
    let limits = "timeouts = { first_byte = \"300ms\", read = \"60s\" }\n";
    let rig = Rig::app(&[slow.addr], &[], limits).await;
    let user = User::connect(rig.addr).await;
    let (parts, _) = user.begin(get("http://app/parts"), true).await;
    let mut body = timeout(PATIENCE, parts).await.unwrap().unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "part");

    assert_eq!(user.ask(get("http://app/")).await.unwrap().status, 504);
    assert_eq!(
        user.send(post("http://app/"), "body").await.unwrap().status,
        504
    );
    assert_eq!(
        user.ask(get("http://app/quick")).await.unwrap().body,
        "quick"
    );
    rig.judged_to_be(Blue, 3, 2).await;
    assert_eq!(rig.errors(Blue, "first_byte_timeout"), 2.0);

    let rest = timeout(Duration::from_millis(600), body.data()).await;
    assert!(rest.is_err(), "a gap in the body may be longer: {rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_leaves_is_no_failure_of_the_backend() {
    let app = backend::Backend::start(|_| backend::Act::Hang).await;
    let rig = Rig::app(&[app.addr], &[], "").await;
    let user = User::connect(rig.addr).await;
    let (answer, stream) = user.begin(get("http://app/"), true).await;
    eventually("it is under way", || rig.board.in_flight() == 1).await;
    drop((answer, stream));
    rig.idle().await;
    let quick = rig.judged(Blue);
    assert_eq!(quick.failed, 0, "{quick:?}");
    assert!(
        !user.connection.is_finished(),
        "the connection is for others as well"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_bytes_may_come_in_pieces() {
    let app = backend::Backend::named("app").await;
    let rig = Rig::app(&[app.addr], &[], "").await;
    let mut stream = TcpStream::connect(rig.addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    for piece in [
        &b"P"[..],
        b"RI * HT",
        b"TP/2.0\r\n\r\nSM\r\n\r",
        b"\n",
        &settings,
    ] {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut frame = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut frame))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(frame[3], 4, "SETTINGS: {frame:?}");

    // A method that begins with the same letter is HTTP/1, however slowly it comes.
    let mut client = Client::connect(rig.addr).await;
    client.send("P").await;
    client
        .send("UT / HTTP/1.1\r\nhost: app\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.unwrap().body, "app");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_is_judged_by_its_status() {
    let statuses = Arc::new(AtomicUsize::new(0));
    let asked = statuses.clone();
    let app = Backend::start(move |request| {
        asked.fetch_add(1, Relaxed);
        match request.uri().path() {
            "/unavailable" => Act::Say(b"x".to_vec(), vec![("grpc-status", "14")]),
            "/only-trailers" => Act::Header(vec![("grpc-status", "13"), ("grpc-message", "no")]),
            "/not-found" => Act::Say(b"x".to_vec(), vec![("grpc-status", "5")]),
            _ => Act::Echo,
        }
    })
    .await;
    let rig = Rig::app(&[app.addr], &[], H2C).await;
    let user = User::connect(rig.addr).await;
    let call = |path: &str| {
        let request = Request::post(format!("http://app{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        user.send(request.body(()).unwrap(), "hello")
    };
    let good = call("/echo").await.unwrap();
    assert_eq!((good.status, good.body.as_str()), (200, "hello"));
    assert_eq!(good.trailer("grpc-status"), "0");
    assert_eq!(
        call("/unavailable").await.unwrap().trailer("grpc-status"),
        "14"
    );
    assert_eq!(
        call("/only-trailers").await.unwrap().header("grpc-status"),
        "13"
    );
    assert_eq!(
        call("/not-found").await.unwrap().trailer("grpc-status"),
        "5"
    );
    assert_eq!(statuses.load(Relaxed), 4);
    rig.judged_to_be(Blue, 4, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_grpc_stream_flow_at_once() {
    let app = Backend::start(|_| Act::Echo).await;
    let rig = Rig::app(&[app.addr], &[], H2C).await;
    let user = User::connect(rig.addr).await;
    let (answer, mut stream) = user.begin(post("http://app/"), false).await;
    stream
        .send_data(Bytes::from_static(b"first"), false)
        .unwrap();
    let mut body = timeout(PATIENCE, answer)
        .await
        .unwrap()
        .unwrap()
        .into_body();
    for part in ["first", "second", "third"] {
        if part != "first" {
            stream
                .send_data(Bytes::from_static(part.as_bytes()), false)
                .unwrap();
        }
        let got = timeout(PATIENCE, body.data())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(got, part);
        body.flow_control().release_capacity(got.len()).unwrap();
    }
    stream.send_data(Bytes::new(), true).unwrap();
    assert!(timeout(PATIENCE, body.data()).await.unwrap().is_none());
    assert!(
        body.trailers()
            .await
            .unwrap()
            .unwrap()
            .contains_key("grpc-status")
    );
    rig.judged_to_be(Blue, 1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_http2_serves_http1_users_and_is_replaced_like_any_other() {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let mut rig = Rig::app(&[blue.addr], &[green.addr], H2C).await;
    let mut client = Client::connect(rig.addr).await;
    assert_eq!(client.get("/", "").await.unwrap().body, "blue");
    rig.weigh(100);
    assert_eq!(client.get("/", "").await.unwrap().body, "green");
    drop(green);
    assert_eq!(
        client.get("/", "").await.unwrap().body,
        "blue",
        "what only reads is saved by blue"
    );
    let judged = rig.judged(Green);
    assert!(judged.failed <= 1, "{judged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_servers_say_themselves_how_they_are() {
    let ask = |body: &'static [u8], path: &'static str| {
        Backend::start(move |request| {
            assert_eq!(request.uri().path(), path);
            Act::Say(body.to_vec(), vec![("grpc-status", "0")])
        })
    };
    let check = "/grpc.health.v1.Health/Check";
    let well = ask(b"\0\0\0\0\x02\x08\x01", check).await;
    let ill = ask(b"\0\0\0\0\x02\x08\x02", check).await;
    let health = "health = { grpc = \"greeter\", interval = \"10ms\", rise = 1, fall = 1 }\n";
    let rig = Rig::start(&format!(
        "{}{H2C}{health}",
        pools(&[well.addr], &[ill.addr])
    ))
    .await;
    let of = |color: usize| {
        let snapshot = rig.board.snapshot();
        snapshot.service("app").unwrap().pools[color][0].health()
    };
    eventually("one is well", || of(0) == Health::Up).await;
    eventually("the other is not", || of(1) == Health::Down).await;
    let got = User::connect(rig.addr).await.ask(get("http://app/x")).await;
    assert!(got.is_ok(), "who is well serves: {got:?}");
}

/// GOAWAY first, the end of the connection when its last answer is whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_requests_of_a_connection() {
    let allowed = Arc::new(tokio::sync::Notify::new());
    let wait = allowed.clone();
    let app =
        backend::Backend::start(move |_| backend::Act::After(wait.clone(), answer(200, "at last")))
            .await;
    let mut rig = Rig::app(&[app.addr], &[], "").await;
    let user = User::connect(rig.addr).await;
    let (pending, _) = user.begin(get("http://app/"), true).await;
    eventually("it is under way", || app.requests() == 1).await;
    let stop = tokio::spawn(rig.proxy.take().unwrap().stop());
    eventually("the doors close", || {
        std::net::TcpStream::connect(rig.addr).is_err()
    })
    .await;
    allowed.notify_one();
    assert_eq!(whole(pending).await.unwrap().body, "at last");
    let stopped = timeout(PATIENCE, stop).await.unwrap().unwrap();
    assert_eq!((stopped.finished, stopped.cut), (1, 0));
    timeout(PATIENCE, user.connection)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(
        rig.judged(Blue),
        Judged {
            requests: 1,
            failed: 0
        }
    );
}

/// What a backend has not begun with is asked again whatever its method, and nothing has failed (RFC 9113, 6.8 and 8.7).
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_begun_with_is_asked_again() {
    for how in [Unprocessed::Refused, Unprocessed::GoAway] {
        let addr = answers_only(1, how).await;
        let more = format!("{H2C}retry_budget = {{ percent = 100, per_second = 100 }}\n");
        let rig = Rig::app(&[addr], &[], &more).await;
        let user = User::connect(rig.addr).await;
        for n in 0..6 {
            let got = match n % 2 {
                0 => user.send(post("http://app/"), "a call").await,
                _ => user.ask(get("http://app/")).await,
            };
            assert_eq!(got.unwrap().status, 200, "{how:?}");
        }
        rig.idle().await;
        rig.judged_to_be(Blue, 6, 0).await;
        assert_eq!(rig.errors(Blue, "protocol"), 0.0, "{how:?}");
        assert_eq!(rig.errors(Blue, "reset"), 0.0, "{how:?}");
    }
}

/// A good green was rolled back because its server ends connections sooner than blue's.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_its_connections_loses_hardly_a_call() {
    let (blue, green) = (backend::nobody(), backend::nobody());
    let server = |listen, requests: u32| async move {
        let http = format!(
            "server {{ listen {listen} http2; keepalive_requests {requests}; location / {{ return 200 nginx; }} }}"
        );
        Nginx::start(listen, &http).await
    };
    let _servers = (server(blue, 1_000_000).await, server(green, 20).await);
    let mut rig = Rig::app(&[blue], &[green], H2C).await;
    rig.weigh(50);
    let mut users = JoinSet::new();
    for _ in 0..16 {
        let addr = rig.addr;
        users.spawn(async move {
            let user = User::connect(addr).await;
            let mut failed = 0;
            for _ in 0..120 {
                let got = user.send(post("http://app/"), "a call").await;
                failed += usize::from(!got.is_ok_and(|got| got.status == 200));
            }
            failed
        });
    }
    let failed: usize = users.join_all().await.into_iter().sum();
    rig.idle().await;
    // None on a quiet machine. On a busy one 3 to 6: probably calls on connections that were reset before their GOAWAY was
    // read, which may have been processed. With one attempt more, taken from the budget, it was 11 to 19.
    assert!(failed <= 9, "{failed} of 1,920");
    assert_eq!(rig.judged(Blue).failed, 0);
    assert!(rig.judged(Green).failed <= 9, "{:?}", rig.judged(Green));
}
