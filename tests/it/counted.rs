//! What dashboards and alerts read: the judge's failures are failures there too, and streams are no slow requests.

use crate::support::backend::{Act, Backend, nobody};
use crate::support::client::{Client, get};
use crate::support::rig::Rig;
use crate::support::{PATIENCE, eventually, h2};
use http::Request;
use shifter::core::table::Color::{self, Blue, Green};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::timeout;

type Done = std::io::Result<()>;

fn judged(rig: &Rig, color: Color) -> (f64, f64) {
    let of = |outcome: &str| {
        rig.metric(&format!(
            "shifter_http_judged_requests_total{{outcome=\"{outcome}\",pool=\"{color}\",service=\"app\"}}"
        ))
    };
    (of("success"), of("error"))
}

fn coded(rig: &Rig, code: &str) -> f64 {
    rig.metric(&format!(
        "shifter_http_requests_total{{code=\"{code}\",pool=\"blue\",service=\"app\"}}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rare_status_keeps_its_class() -> Done {
    let statuses = [520, 507, 529, 598, 511, 418, 226];
    let blue = Backend::start(|head| {
        let path = head.split([' ', '/']).nth(2).unwrap();
        Act::status(path.parse().unwrap())
    })
    .await;
    let rig = Rig::app(&[blue.addr], &[], "").await;
    for status in statuses {
        let answer = get(rig.addr, &format!("/{status}"), "").await?;
        assert_eq!(answer.status, status);
    }
    rig.judged_to_be(Blue, 7, 5).await;
    let codes = ["5xx", "4xx", "2xx", "other", "500", "200"];
    let counts = codes.map(|code| coded(&rig, code));
    assert_eq!(counts, [5.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(judged(&rig, Blue), (2.0, 5.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_trailers_is_an_error() {
    let app = h2::Backend::start(|request| match request.uri().path() {
        "/bad" => h2::Act::Say(b"x".to_vec(), vec![("grpc-status", "13")]),
        _ => h2::Act::Say(b"x".to_vec(), vec![("grpc-status", "0")]),
    })
    .await;
    let rig = Rig::app(&[app.addr], &[], "protocol = \"h2c\"\n").await;
    let user = h2::User::connect(rig.addr).await;
    for path in ["/bad", "/good", "/bad"] {
        let call = Request::post(format!("http://app{path}"));
        let call = call.header("content-type", "application/grpc");
        let got = user.send(call.body(()).unwrap(), "hello").await.unwrap();
        assert_eq!(got.status, 200);
    }
    rig.judged_to_be(Blue, 3, 2).await;
    assert_eq!((coded(&rig, "200"), coded(&rig, "500")), (3.0, 0.0));
    assert_eq!(judged(&rig, Blue), (1.0, 2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_is_an_error_and_a_client_that_leaves_is_nothing() -> Done {
    let blue = Backend::start(|head| {
        if head.contains("/cut") {
            Act::Last("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbroken".into())
        } else {
            Act::Hang
        }
    })
    .await;
    let rig = Rig::app(&[blue.addr], &[], "").await;
    assert!(get(rig.addr, "/cut", "").await.is_err());
    let mut client = Client::connect(rig.addr).await;
    client.send("GET /hang HTTP/1.1\r\nhost: app\r\n\r\n").await;
    eventually("it hangs", || blue.requests() == 2).await;
    drop(client);
    eventually("both are over", || {
        coded(&rig, "200") + coded(&rig, "499") == 2.0
    })
    .await;
    assert_eq!(judged(&rig, Blue), (0.0, 1.0));
    Ok(())
}

/// Whoever is rolled back for its failures has them on the dashboard, also when no user met one.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_pool_saved_is_the_first_ones_error() -> Done {
    let blue = Backend::named("blue").await;
    let mut rig = Rig::app(&[blue.addr], &[nobody()], "").await;
    rig.weigh(100);
    assert_eq!(get(rig.addr, "/", "").await?.status, 200);
    rig.judged_to_be(Green, 1, 1).await;
    assert_eq!(judged(&rig, Green), (0.0, 1.0));
    assert_eq!(judged(&rig, Blue), (0.0, 0.0));
    Ok(())
}

/// A backend whose answers go on until they are let go: one event at once, the end then; `/cut` has none.
async fn endless(kind: &'static str) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let go = Arc::new(Notify::new());
    let told = go.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let told = told.clone();
            tokio::spawn(async move {
                let mut head = vec![];
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap() == 0 {
                        return;
                    }
                }
                let event = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
                );
                stream.write_all(event.as_bytes()).await.unwrap();
                told.notified().await;
                if !head.starts_with(b"GET /cut") {
                    let _ = stream.write_all(b"0\r\n\r\n").await;
                }
            });
        }
    });
    (addr, go)
}

/// One answer of this kind ended by its backend, one cut by it, one left by the client; how many are counted as
/// requests with a duration, as streams, and by their first byte.
async fn counted(kind: &'static str) -> (Rig, [f64; 3]) {
    let (blue, go) = endless(kind).await;
    let rig = Rig::app(&[blue], &[], "").await;
    for path in ["/", "/cut", "/left"] {
        let mut client = Client::connect(rig.addr).await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: app\r\n\r\n");
        client.send(&request).await;
        let mut seen = String::new();
        while !seen.contains("data: 1") {
            let mut part = [0; 4096];
            let read = timeout(PATIENCE, client.stream.read(&mut part));
            let count = read.await.expect("the first event at once").unwrap();
            assert!(count > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        if path != "/left" {
            go.notify_one();
            let mut end = vec![];
            while !end.ends_with(b"0\r\n\r\n") {
                let read = timeout(PATIENCE, client.stream.read_buf(&mut end));
                if !matches!(read.await.expect("an end in time"), Ok(1..)) {
                    break;
                }
            }
            assert_eq!(end.is_empty(), path == "/cut", "{end:?}");
        }
    }
    eventually("all three are over", || coded(&rig, "200") == 3.0).await;
    rig.idle().await;
    let both = |name: &str| {
        let of = |outcome: &str| {
            rig.metric(&format!(
                "{name}_count{{outcome=\"{outcome}\",pool=\"blue\",service=\"app\"}}"
            ))
        };
        of("success") + of("error")
    };
    let counts = [
        both("shifter_http_request_duration_seconds"),
        rig.metric("shifter_http_stream_duration_seconds_count{pool=\"blue\",service=\"app\"}"),
        both("shifter_upstream_first_byte_duration_seconds"),
    ];
    (rig, counts)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_stream_is_no_requests_duration() {
    let (rig, counts) = counted("text/event-stream").await;
    assert_eq!(counts, [0.0, 3.0, 3.0]);
    // As the judge has them: by their header.
    assert_eq!(judged(&rig, Blue), (3.0, 0.0));
    rig.judged_to_be(Blue, 3, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_comes_in_parts_is_no_stream() {
    let (rig, counts) = counted("text/html").await;
    assert_eq!(counts, [2.0, 0.0, 2.0]);
    assert_eq!(judged(&rig, Blue), (1.0, 1.0));
}

/// Opens an event stream and reads its first event.
async fn subscribed(rig: &Rig) -> Client {
    let mut client = Client::connect(rig.addr).await;
    client.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    let mut seen = String::new();
    while !seen.contains("data: 1") {
        let mut part = [0; 4096];
        let read = timeout(PATIENCE, client.stream.read(&mut part));
        let count = read.await.expect("the first event at once").unwrap();
        assert!(count > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    client
}

/// A stream that says nothing for long is ended by us, and its backend has failed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_is_no_failure_of_its_backend() {
    let (blue, _go) = endless("text/event-stream").await;
    let more = "timeouts = { first_byte = \"300ms\", read = \"300ms\" }\n[service.app.eject]\nfailures = 1\nfor = \"1h\"\n";
    let rig = Rig::app(&[blue], &[], more).await;
    let mut client = subscribed(&rig).await;
    let mut rest = vec![];
    let ended = timeout(PATIENCE, client.stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "its time is over");
    rig.idle().await;
    assert_eq!(rig.errors(Blue, "first_byte_timeout"), 0.0);
    let state = &rig.board.snapshot().services[0].pools[Blue.index()][0];
    assert!(
        state.usable(shifter::store::Clock::now()),
        "it is not left out"
    );
    assert_eq!(judged(&rig, Blue), (1.0, 0.0));
}

/// Streams of a version that is let go end within the time for that, as tunnels do.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_pool_that_is_let_go_end() {
    let (blue, _go) = endless("text/event-stream").await;
    let rig = Rig::app(&[blue], &[], "").await;
    let mut client = subscribed(&rig).await;
    let member = rig.board.snapshot().services[0].pools[Blue.index()][0].clone();
    assert!(member.let_go(Some(std::time::Duration::ZERO)));
    let mut rest = vec![];
    let ended = timeout(PATIENCE, client.stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "it goes on");
    rig.idle().await;
    assert_eq!(judged(&rig, Blue), (1.0, 0.0), "judged by its header");
}
