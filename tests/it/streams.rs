//! What goes on for long or stands still: streams that are silent or let go, uploads that nobody takes, backends that are lost.

use crate::support::backend::{self, Act, answer};
use crate::support::client::Client;
use crate::support::h2::{Act as Act2, Backend as Backend2, User, get, post, whole};
use crate::support::rig::{RARE_CHECKS, Rig, pools};
use crate::support::{PATIENCE, eventually};
use bytes::Bytes;
use shifter::core::table::Color::{Blue, Green};
use shifter::store::shared_state::Health;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

type Done = std::io::Result<()>;

const H2C: &str = "protocol = \"h2c\"\n";

/// The lines of an access log, once there are so many.
async fn lines(path: &std::path::Path, count: usize) -> Vec<serde_json::Value> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    eventually("the lines are there", || read().lines().count() >= count).await;
    let text = read();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Until 101 is sent a request with an `Upgrade` field is one as any other (RFC 9110, 7.8): its body has its limits.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_its_limits_whatever_the_request_would_upgrade_to() -> Done {
    let taken = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let count = taken.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut part).await {
                count.fetch_add(read, Relaxed);
            }
        }
    });
    let limits = "[proxy.limits]\nbody = \"1KiB\"\nbody_time = \"300ms\"\n";
    let rig = Rig::start(&format!("{limits}{}{RARE_CHECKS}", pools(&[addr], &[]))).await;
    for to in ["foo", "h2c", "websocket"] {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: app\r\nconnection: upgrade\r\nupgrade: {to}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let mut client = Client::connect(rig.addr).await;
        client.send(&head).await;
        client
            .send(&format!("1000\r\n{}\r\n", "x".repeat(4096)))
            .await;
        assert_eq!(client.answer().await?.status, 413, "{to}");
        // Drop by drop.
        let mut client = Client::connect(rig.addr).await;
        client.send(&head).await;
        client.send("1\r\nx\r\n").await;
        assert_eq!(client.answer().await?.status, 408, "{to}");
    }
    assert!(
        taken.load(Relaxed) < 4096,
        "{taken:?} bytes, headers included"
    );
    Ok(())
}

/// Both sides of a call may be silent for as long as `read` says; the end is gRPC's, has a reason, and is nobody's failure.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_call_ends_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let app = Backend2::start(|_| Act2::Echo).await;
    let rig = Rig::start(&format!(
        "{}{H2C}timeouts = {{ first_byte = \"400ms\", read = \"400ms\" }}\n{RARE_CHECKS}\
         [log]\naccess = \"json\"\naccess_begins = true\naccess_file = {log:?}\n",
        pools(&[app.addr], &[])
    ))
    .await;
    let user = User::connect(rig.addr).await;
    let mut call = post("http://app/watch");
    let kind = "application/grpc".parse().unwrap();
    call.headers_mut().insert("content-type", kind);
    let (answer, mut stream) = user.begin(call, false).await;
    stream.send_data(Bytes::from_static(b"one"), false).unwrap();
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    let mut body = answer.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "one");
    let began = Instant::now();
    let end = timeout(PATIENCE, body.data()).await.unwrap();
    assert!(end.is_none(), "an end in order: {end:?}");
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "14");
    let words = trailers["grpc-message"].to_str().unwrap();
    assert!(words.contains("timeouts.read"), "{words}");
    rig.idle().await;
    assert_eq!(rig.errors(Blue, "first_byte_timeout"), 0.0);
    rig.judged_to_be(Blue, 0, 0).await;
    let told = lines(&log, 2).await;
    assert_eq!(told[0]["event"], "begin");
    assert_eq!(told[1]["event"], serde_json::Value::Null);
    assert_eq!(
        (&told[1]["reason"], &told[1]["status"]),
        (&"silent".into(), &200.into())
    );
}

/// A backend of HTTP/1 with an event stream: one event, and one more each time it is told to.
async fn events() -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, next) = (listener.local_addr().unwrap(), Arc::new(Notify::new()));
    let told = next.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut head = vec![];
                while !head.ends_with(b"\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
                        return;
                    }
                }
                let mut event = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                                 transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n";
                while stream.write_all(event.as_bytes()).await.is_ok() {
                    told.notified().await;
                    event = "9\r\ndata: 2\n\n\r\n";
                }
            });
        }
    });
    (addr, next)
}

fn let_go(rig: &Rig) {
    let member = rig.board.snapshot().services[0].pools[Blue.index()][0].clone();
    assert!(member.let_go(Some(Duration::ZERO)));
}

/// Over HTTP/2 a stream of a version that is let go ends with its next message, in order; a silent one is reset. The
/// user's connection stays for others.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_http2_end_with_their_version() {
    for silent in [false, true] {
        let (app, next) = events().await;
        let rig = Rig::app(&[app], &[], "").await;
        let user = User::connect(rig.addr).await;
        let (answer, _) = user.begin(get("http://app/"), true).await;
        let mut body = timeout(PATIENCE, answer)
            .await
            .unwrap()
            .unwrap()
            .into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "data: 1\n\n");
        let began = Instant::now();
        let_go(&rig);
        let end = loop {
            if !silent {
                next.notify_one();
            }
            match timeout(Duration::from_millis(50), body.data()).await {
                // An end in order is an empty last part.
                Ok(Some(Ok(message))) => {
                    assert!(
                        message.is_empty() || message == "data: 2\n\n",
                        "{message:?}"
                    );
                }
                Ok(end) => break end,
                Err(_) => assert!(began.elapsed() < Duration::from_secs(3), "it goes on"),
            }
        };
        assert_eq!(
            end.is_some_and(|end| end.is_err()),
            silent,
            "silent: {silent}"
        );
        rig.idle().await;
        rig.judged_to_be(Blue, 1, 0).await;
        assert!(!user.connection.is_finished());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_end_with_their_version() {
    for silent in [false, true] {
        let app = Backend2::start(|_| Act2::Echo).await;
        let rig = Rig::app(&[app.addr], &[], H2C).await;
        let user = User::connect(rig.addr).await;
        let (answer, mut stream) = user.begin(post("http://app/"), false).await;
        stream.send_data(Bytes::from_static(b"one"), false).unwrap();
        let mut body = timeout(PATIENCE, answer)
            .await
            .unwrap()
            .unwrap()
            .into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "one");
        let began = Instant::now();
        let_go(&rig);
        let end = loop {
            if !silent {
                // It may have ended meanwhile.
                let _ = stream.send_data(Bytes::from_static(b"more"), false);
            }
            match timeout(Duration::from_millis(50), body.data()).await {
                Ok(Some(Ok(message))) => assert_eq!(message, "more"),
                Ok(end) => break end,
                Err(_) => assert!(began.elapsed() < Duration::from_secs(3), "it goes on"),
            }
        };
        assert_eq!(end.is_some(), silent, "silent: {silent}");
        if !silent {
            let trailers = body.trailers().await.unwrap().unwrap();
            assert_eq!(trailers["grpc-status"], "14");
        }
        rig.idle().await;
        assert_eq!(rig.judged(Blue).failed, 0);
    }
}

/// A backend that reads the header of each request and nothing more.
async fn takes_nothing() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = vec![];
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 64];
            let _ = stream.read(&mut head).await;
            held.push(stream);
        }
    });
    addr
}

/// So much that no buffer on the way holds it.
const MUCH: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_its_backend_does_not_take_ends_after_write() -> Done {
    let rig = Rig::app(
        &[takes_nothing().await],
        &[],
        "timeouts = { write = \"1s\" }\n",
    )
    .await;
    let mut stream = TcpStream::connect(rig.addr).await?;
    let head = format!("POST / HTTP/1.1\r\nhost: app\r\ncontent-length: {MUCH}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let (mut reads, mut writes) = stream.into_split();
    let sending = tokio::spawn(async move {
        let _ = writes.write_all(&vec![b'x'; MUCH]).await;
        writes
    });
    let began = Instant::now();
    let mut answer = vec![0; 12];
    timeout(PATIENCE, reads.read_exact(&mut answer))
        .await
        .expect("an answer")?;
    let waited = began.elapsed();
    assert_eq!(answer, b"HTTP/1.1 504");
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    rig.idle().await;
    assert_eq!(
        rig.errors(Blue, "first_byte_timeout"),
        1.0,
        "told as a timeout"
    );
    assert_eq!(rig.errors(Blue, "reset"), 0.0);
    sending.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_leaves_is_noticed_while_the_backend_takes_nothing() {
    let rig = Rig::app(&[takes_nothing().await], &[], "").await;
    let user = User::connect(rig.addr).await;
    let (answer, mut stream) = user.begin(post("http://app/"), false).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let sending = tokio::spawn(async move {
        let part = Bytes::from(vec![b'x'; 64 << 10]);
        for _ in 0..MUCH / part.len() {
            stream.reserve_capacity(part.len());
            while stream.capacity() < part.len() {
                if std::future::poll_fn(|cx| stream.poll_capacity(cx))
                    .await
                    .is_none()
                {
                    return;
                }
            }
            if stream.send_data(part.clone(), false).is_err() {
                return;
            }
            count.fetch_add(part.len(), Relaxed);
        }
    });
    eventually("it is under way", || rig.board.in_flight() == 1).await;
    // Until the buffers are full: nothing was sent for a moment.
    let mut before = 0;
    while before == 0 || sent.load(Relaxed) > before {
        before = sent.load(Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    sending.abort();
    drop(answer);
    user.connection.abort();
    let began = Instant::now();
    rig.idle().await;
    let noticed = began.elapsed();
    assert!(noticed < Duration::from_secs(3), "{noticed:?}");
    assert_eq!(rig.judged(Blue).failed, 0);
}

/// The requests of a green that was cut off and has left: what only reads is answered by blue, the rest has words at once.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_lost_backend() -> Done {
    let blue = backend::Backend::named("blue").await;
    let green = backend::Backend::start(|_| Act::Hang).await;
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    rig.weigh(100);
    let mut reads = Client::connect(rig.addr).await;
    reads.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    let mut writes = Client::connect(rig.addr).await;
    writes
        .send("POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 1\r\n\r\nx")
        .await;
    eventually("both are under way", || green.requests() == 2).await;
    let member = rig.board.snapshot().services[0].pools[Green.index()][0].clone();
    rig.board.set_health(&member, Health::Down);
    rig.publish(|route| (route.green, route.weight) = (None, shifter::core::weight::Weight::NONE));
    let began = Instant::now();
    let answer = reads.answer().await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, "blue"));
    assert_eq!(writes.answer().await?.status, 502);
    let waited = began.elapsed();
    assert!(waited < Duration::from_millis(1_500), "{waited:?}");
    // The connection is as it was.
    assert_eq!(reads.get("/", "").await?.body, "blue");
    Ok(())
}

/// Over HTTP/2 as over HTTP/1, beside a stream that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn over_http2_nobody_waits_for_a_lost_backend() {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let blue = backend::Backend::start(move |head| match head.starts_with("GET /slow") {
        true => Act::After(wait.clone(), answer(200, "blue, slowly")),
        false => Act::ok("blue"),
    })
    .await;
    let green = backend::Backend::start(|_| Act::Hang).await;
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    let user = User::connect(rig.addr).await;
    let (slow, _) = user.begin(get("http://app/slow"), true).await;
    eventually("blue has one", || blue.requests() == 1).await;
    rig.weigh(100);
    let (reads, _) = user.begin(get("http://app/"), true).await;
    let (writes, mut body) = user.begin(post("http://app/"), false).await;
    body.send_data(Bytes::from_static(b"x"), true).unwrap();
    eventually("both are under way", || green.requests() == 2).await;
    let member = rig.board.snapshot().services[0].pools[Green.index()][0].clone();
    rig.board.set_health(&member, Health::Down);
    rig.publish(|route| (route.green, route.weight) = (None, shifter::core::weight::Weight::NONE));
    let began = Instant::now();
    let answer = whole(reads).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "blue"));
    assert_eq!(whole(writes).await.unwrap().status, 502);
    let waited = began.elapsed();
    assert!(waited < Duration::from_millis(1_500), "{waited:?}");
    go.notify_one();
    assert_eq!(whole(slow).await.unwrap().body, "blue, slowly");
}

/// A healthy backend that leaves finishes what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_leaves_well_finishes_what_it_has() -> Done {
    let blue = backend::Backend::named("blue").await;
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let green =
        backend::Backend::start(move |_| Act::After(wait.clone(), answer(200, "green"))).await;
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    rig.weigh(100);
    let mut client = Client::connect(rig.addr).await;
    client.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    eventually("it is under way", || green.requests() == 1).await;
    rig.publish(|route| (route.green, route.weight) = (None, shifter::core::weight::Weight::NONE));
    let early = timeout(Duration::from_millis(1_200), client.answer()).await;
    assert!(early.is_err(), "{early:?}");
    go.notify_one();
    assert_eq!(client.answer().await?.body, "green");
    Ok(())
}

/// An app with a short queue of connections that serves one request after the other, each in 15 ms.
fn one_at_a_time() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(4).unwrap();
    let listener = std::net::TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            std::thread::sleep(Duration::from_millis(15));
            let text = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            let _ = stream.write_all(text.as_bytes());
        }
    });
    addr
}

/// A full queue of connections is no dead backend: it is tried again where there is no other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_tried_again_and_a_closed_door_is_not() -> Done {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(0)?;
    let listener = std::net::TcpListener::from(socket);
    let addr = listener.local_addr()?;
    // The queue holds one; the next one's SYN is dropped.
    let _first = std::net::TcpStream::connect(addr)?;
    let rig = Rig::app(&[addr], &[], "timeouts = { connect = \"1.2s\" }\n").await;
    let mut client = Client::connect(rig.addr).await;
    client
        .send("POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 1\r\n\r\nx")
        .await;
    eventually("the first attempt is over", || {
        rig.errors(Blue, "connect_timeout") == 1.0
    })
    .await;
    listener.set_nonblocking(true)?;
    let _app = backend::Backend::on(TcpListener::from_std(listener)?, |_| Act::ok("at last"));
    assert_eq!(client.answer().await?.body, "at last");
    assert_eq!(rig.errors(Blue, "connect_timeout"), 1.0);

    let rig = Rig::app(&[backend::nobody()], &[], "").await;
    let refused = crate::support::client::get(rig.addr, "/", "").await?;
    assert_eq!(refused.status, 502);
    assert_eq!(rig.errors(Blue, "connect_refused"), 1.0, "once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_at_once_at_an_app_with_a_queue_of_four_are_all_served() {
    let rig = Rig::app(&[one_at_a_time()], &[], "").await;
    let mut users = JoinSet::new();
    for _ in 0..20 {
        users.spawn(crate::support::client::get(rig.addr, "/", ""));
    }
    let answers = users.join_all().await;
    let lost = answers
        .iter()
        .filter(|answer| !matches!(answer, Ok(answer) if answer.status == 200))
        .count();
    assert_eq!(lost, 0, "of 20");
    assert_eq!(rig.judged(Blue).failed, 0);
}
